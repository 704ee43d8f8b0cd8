package report

import (
	"math"
	"slices"
	"time"

	"buildsmith/store"
)

// Limits of lists in a report that only a broken build exceeds.
const (
	maxFileNames = 10_000
	maxProblems  = 1_000
)

// Limits of what a build keeps of the cases that failed: a build is read and written as a whole, and often.
const (
	maxFailingMessage = 1_000     // characters of one
	maxFailingText    = 256 << 10 // bytes of all of a report
)

// A Builder makes a report of files one by one, in memory that does not grow with their number.
type Builder struct {
	report   store.Report
	cases    caseList
	files    fileList
	problems int
	read     int
}

// NewBuilder begins the report of a group.
func NewBuilder(group, format string) *Builder {
	return &Builder{report: store.Report{Group: group, Type: Type(format), Format: format}}
}

// Add adds the content of a file.
//
// A source file that several files tell of counts once. A line of it is covered if one of them covers it. Where one of
// them tells only numbers, the best of them counts.
func (b *Builder) Add(name string, c Content) {
	b.read++
	if len(b.report.Files) < maxFileNames {
		b.report.Files = append(b.report.Files, tidyName(name))
	}
	b.cases.dropped += c.Dropped
	for _, one := range c.Cases {
		b.cases.push(one)
	}
	for i, f := range c.Coverage {
		if i < len(c.records) {
			own := *c.records[i]
			own.marks, own.branches = slices.Clone(own.marks), slices.Clone(own.branches)
			b.files.add(&own)
		} else {
			b.files.add(numbered(f))
		}
	}
}

// Problem adds a sentence on a file that is missing or cannot be read.
func (b *Builder) Problem(text string) {
	b.problems++
	if len(b.report.Problems) < maxProblems {
		b.report.Problems = append(b.report.Problems, tidyName(text))
	}
}

// Report is the report of what was added. Nothing may be added after it.
func (b *Builder) Report() store.Report {
	if b.read == 0 && b.problems == 0 {
		b.Problem("No file of the report was found.")
	}
	r := b.report
	b.cases.trim()
	r.Cases = b.cases.list
	r.Coverage, _ = b.files.counted()
	r.Dropped = b.cases.dropped + b.files.dropped
	r.Status = store.ReportSucceeded
	for i := range r.Cases {
		if r.Cases[i].Failed() {
			r.Status = store.ReportFailed
			break
		}
	}
	if b.problems > 0 {
		r.Status = store.ReportIncomplete
	}
	return r
}

// Summarize makes what a build keeps of a report. The counts are those of the cases that the report has. Of the cases
// that failed the first store.MaxFailing are there, with the beginnings of their messages, and fewer if their text is
// very long.
func Summarize(r *store.Report) store.ReportSummary {
	s := store.ReportSummary{Group: r.Group, Type: r.Type, Format: r.Format, Status: r.Status}
	s.Problems = append(s.Problems, r.Problems[:min(len(r.Problems), store.MaxReportProblems)]...)
	size := 0
	for i := range r.Cases {
		c := r.Cases[i]
		s.Counts.Total++
		switch c.Status {
		case store.CaseSucceeded:
			s.Counts.Succeeded++
		case store.CaseFailed:
			s.Counts.Failed++
		case store.CaseError:
			s.Counts.Error++
		case store.CaseSkipped:
			s.Counts.Skipped++
		default:
			s.Counts.Unknown++
		}
		s.Duration = sum(s.Duration, c.Duration)
		if c.Failed() && len(s.Failing) < store.MaxFailing && size < maxFailingText {
			c.Message = tidy(c.Message, maxFailingMessage, true)
			size += textSize(&c)
			s.Failing = append(s.Failing, c)
		}
	}
	s.Coverage = total(r)
	if r.Type == store.ReportCoverage {
		s.Files = len(r.Coverage)
	}
	return s
}

// sum is a and b together, or the longest duration there is.
func sum(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// total is the coverage of all files. Nothing overflows: a file tells at most 32 bits of a line or of itself, and there are
// at most MaxCovered files and maxBranches branches.
func total(r *store.Report) store.Coverage {
	var c store.Coverage
	for _, f := range r.Coverage {
		c.LinesCovered += f.LinesCovered
		c.LinesMissed += f.LinesMissed
		c.BranchesCovered += f.BranchesCovered
		c.BranchesMissed += f.BranchesMissed
	}
	return c
}
