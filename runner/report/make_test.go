package report

import "buildsmith/store"

// A File is the content of one file of a report group.
type File struct {
	Name    string // relative to the source directory
	Content Content
}

// Make merges the files of a report group. problems has a sentence for each file that is missing or cannot be read; a
// file that was read in part may be in both. The report is INCOMPLETE if there is any problem or no file at all, else
// FAILED if a case failed or had an error, else SUCCEEDED.
func Make(group, format string, files []File, problems []string) store.Report {
	b := NewBuilder(group, format)
	for _, f := range files {
		b.Add(f.Name, f.Content)
	}
	for _, text := range problems {
		b.Problem(text)
	}
	return b.Report()
}
