package runner

import (
	"archive/zip"
	"context"
	"fmt"
	"strconv"
	"strings"

	"buildsmith/runner/agent"
	"buildsmith/runner/report"
	"buildsmith/store"
)

// maxFailingText is how many bytes of the messages of failed tests a build keeps beside its reports: its record is read and
// written as a whole, and often.
const maxFailingText = 512 << 10

// makeReports reads the files that the agent packed for the build's reports and keeps what they say. What is wrong with a file
// makes its report incomplete; an error is the store's.
func (f *follower) makeReports(ctx context.Context) error {
	archive, err := f.r.Store.OpenArtifacts(f.b.ID, store.ReportFiles)
	if err != nil {
		return err
	}
	defer archive.Close()
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	files, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return fmt.Errorf("reading the files of reports: %w", err)
	}
	src := report.NewSource([]string{agent.SourceDir + "/" + sourcePath(f.b.Repo)}, f.tree.Files(ctx))
	var reports []store.Report
	var summaries []store.ReportSummary
	room := maxFailingText
	for i, packed := range f.outcome.Reports {
		r := makeReport(packed, strconv.Itoa(i)+"/", files.File, src)
		s := report.Summarize(&r)
		for j := range s.Failing {
			if room -= len(s.Failing[j].Message); room < 0 {
				s.Failing[j].Message = ""
			}
		}
		reports, summaries = append(reports, r), append(summaries, s)
	}
	f.compareReports(reports, summaries)
	if err := f.r.Store.KeepReports(f.b.ID, reports); err != nil {
		return err
	}
	return f.change(func(b *store.Build) { b.Reports = summaries })
}

// makeReport reads the files of one group, those below a directory of the archive.
func makeReport(packed store.PackedReport, dir string, files []*zip.File, src *report.Source) store.Report {
	b := report.NewBuilder(packed.Group, packed.Format)
	if packed.Problem != "" {
		b.Problem(packed.Problem)
	}
	for _, file := range files {
		name, ok := strings.CutPrefix(file.Name, dir)
		if !ok || !file.Mode().IsRegular() {
			continue
		}
		in, err := file.Open()
		if err != nil {
			b.Problem(fmt.Sprintf("%s cannot be read: %v", name, err))
			continue
		}
		content, err := report.Parse(packed.Format, name, in, src)
		in.Close()
		if err != nil {
			b.Problem(err.Error())
		}
		if err == nil || len(content.Cases)+len(content.Coverage) > 0 {
			b.Add(name, content)
		}
	}
	return b.Report()
}

// compareReports says how reports differ from those of the last build of the base branch. Without one there is nothing to
// say.
func (f *follower) compareReports(reports []store.Report, summaries []store.ReportSummary) {
	ref := baseRef(&f.b)
	if ref == "" {
		return
	}
	for i := range reports {
		before, earlier, ok := f.lastReport(ref, &reports[i])
		if !ok {
			continue
		}
		change := report.Compare(&before, &reports[i])
		change.Build, change.Number, change.Ref = earlier.ID, earlier.Number, ref
		summaries[i].Change = &change
	}
}

// baseRef is the branch that a build's reports are compared with: a pull request's base, else the default branch.
func baseRef(b *store.Build) string {
	if b.Trigger.BaseRef != "" {
		return b.Trigger.BaseRef
	}
	if b.Repo.DefaultBranch != "" {
		return "refs/heads/" + b.Repo.DefaultBranch
	}
	return b.Trigger.HeadRef
}

// lastReport gives the newest earlier report of the same group that a build of the branch left.
func (f *follower) lastReport(ref string, like *store.Report) (store.Report, store.Build, bool) {
	var earlier store.Build
	index := -1
	err := f.r.Store.View(func(tx *store.Tx) error {
		list, err := tx.EarlierBuilds(&f.b, ref)
		for _, b := range list {
			for i, r := range b.Reports {
				if r.Group == like.Group && r.Type == like.Type {
					earlier, index = b, i
					return err
				}
			}
		}
		return err
	})
	if err != nil || index < 0 {
		if err != nil {
			f.log.Warn("looking for an earlier report", "err", err)
		}
		return store.Report{}, earlier, false
	}
	before, err := f.r.Store.Report(earlier.ID, index)
	if err != nil { // it may be kept no longer
		f.log.Warn("reading an earlier report", "err", err)
		return before, earlier, false
	}
	return before, earlier, true
}
