package checks

import (
	"cmp"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"buildsmith/store"
)

// maxAnnotations is how many annotations the check of a build has at most: ten requests of GitHub's.
const maxAnnotations = 500

// annotations are those of the buildspec, and once the build is over those of tests that failed and of what compilers and linters
// said, failures first: the list only grows at its end, for a forge adds to what it has. More are those for which there is no
// room.
func annotations(b *store.Build) (list []Annotation, more int) {
	ofBase := b.Settings.BaseSpec && b.Trigger.PullRequest > 0 // the lines are not those of the commit
	if b.Spec != "" && b.Spec != "the project's buildspec" && !ofBase {
		for _, p := range b.Problems {
			level := LevelFailure
			if p.Warning {
				level = LevelWarning
			}
			list = append(list, Annotation{Path: b.Spec, Line: max(p.Line, 1), Column: p.Column, Level: level, Title: "buildspec", Message: p.Message})
		}
	}
	if b.Done() {
		rest := append(testAnnotations(b), findingAnnotations(b)...)
		slices.SortStableFunc(rest, func(a, b Annotation) int { return cmp.Compare(weight(a.Level), weight(b.Level)) })
		list = append(list, rest...)
	}
	kept := min(len(list), maxAnnotations)
	return list[:kept], len(list) - kept
}

func weight(level string) int {
	return slices.Index([]string{LevelFailure, LevelWarning, LevelNotice}, level)
}

// testAnnotations are the annotations of the failing tests that name a place in the source.
func testAnnotations(b *store.Build) (list []Annotation) {
	for i := range b.Reports {
		r := &b.Reports[i]
		for _, c := range failingOf(r) {
			file, line := PlaceOf(c)
			if file == "" {
				continue
			}
			title := cut(strings.Join(strings.Fields(Plain(c.FullName())), " "), shownName)
			if title == "" {
				title = "A test without a name"
			}
			if NewlyFailing(r, c) {
				title += ", newly failing"
			}
			message := cut(strings.TrimSpace(Plain(c.Message)), shownNote)
			if message == "" {
				message = "The test failed."
			}
			list = append(list, Annotation{Path: file, Line: line, Level: LevelFailure, Title: title, Message: message})
		}
	}
	return list
}

// levels of findings as those of annotations.
var levels = map[string]string{store.FindingError: LevelFailure, store.FindingWarning: LevelWarning, store.FindingNotice: LevelNotice}

// findingAnnotations are the annotations of what compilers and linters said. A build prints what it likes: only a place that can
// be one becomes an annotation.
func findingAnnotations(b *store.Build) (list []Annotation) {
	for _, f := range b.Findings {
		file, line := place(f.Path, f.Line)
		message := cut(strings.TrimSpace(Plain(f.Message)), shownNote)
		if file == "" || message == "" {
			continue
		}
		column := f.Column
		if column < 0 || column > maxLine {
			column = 0
		}
		list = append(list, Annotation{Path: file, Line: line, Column: column, Level: cmp.Or(levels[f.Level], LevelNotice),
			Title: cut(strings.Join(strings.Fields(Plain(f.Tool)), " "), shownName), Message: message})
	}
	return list
}

// PlaceOf is where a test failed: a path below the source directory and a line. It is empty if the report names no such place;
// what reports say of files is not trusted to be one.
func PlaceOf(c *store.TestCase) (file string, line int) { return place(c.File, c.Line) }

// maxLine is the highest line or column that is believed.
const maxLine = 10_000_000

// place is a path below the source directory and a line, empty if they are none.
func place(name string, line int) (file string, at int) {
	const maxPath = 1000
	file = path.Clean(name)
	if line < 1 || line > maxLine || file == "." || len(file) > maxPath || !filepath.IsLocal(file) || Plain(file) != file ||
		strings.ContainsAny(file, "\n\t\\") || !utf8.ValidString(file) {
		return "", 0
	}
	return file, line
}
