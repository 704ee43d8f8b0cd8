package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Types of reports, CodeBuild's words.
const (
	ReportTest     = "TEST"
	ReportCoverage = "CODE_COVERAGE"
)

// Statuses of reports, CodeBuild's words. A report is FAILED if a case of it failed or had an error, and INCOMPLETE if one of
// its files is missing or cannot be read.
const (
	ReportSucceeded  = "SUCCEEDED"
	ReportFailed     = "FAILED"
	ReportIncomplete = "INCOMPLETE"
)

// Statuses of test cases, CodeBuild's words.
const (
	CaseSucceeded = "SUCCEEDED"
	CaseFailed    = "FAILED"
	CaseError     = "ERROR"
	CaseSkipped   = "SKIPPED"
	CaseUnknown   = "UNKNOWN"
)

// A Report is what the files of one report group of a buildspec say, all of it. It lies in a file beside the database;
// the build has its ReportSummary.
type Report struct {
	Group    string // as the buildspec names it, variables expanded
	Type     string // ReportTest or ReportCoverage
	Format   string // JUNITXML, ...
	Status   string
	Files    []string       `json:",omitempty"` // relative to the source directory
	Problems []string       `json:",omitempty"` // files that are missing or cannot be read, a sentence each
	Cases    []TestCase     `json:",omitempty"` // in the order of the files
	Coverage []FileCoverage `json:",omitempty"` // sorted by path
	Dropped  int            `json:",omitempty"` // cases or files beyond what is kept
}

// A TestCase is one test.
type TestCase struct {
	Name     string
	Prefix   string `json:",omitempty"` // of the name: class, suite or feature
	Status   string
	Message  string        `json:",omitempty"` // why it did not succeed
	Duration time.Duration `json:",omitempty"`
	File     string        `json:",omitempty"` // where the format tells: relative to the source directory, if it lies there
	Line     int           `json:",omitempty"` // from 1, 0 if it is not known
}

// Failed reports whether the case failed or had an error.
func (c *TestCase) Failed() bool { return c.Status == CaseFailed || c.Status == CaseError }

// FullName is the name of a case within its report.
func (c *TestCase) FullName() string {
	if c.Prefix == "" {
		return c.Name
	}
	return c.Prefix + "." + c.Name
}

// A FileCoverage says how much of a source file ran.
type FileCoverage struct {
	Path string
	Coverage
}

// Coverage counts lines and branches.
type Coverage struct {
	LinesCovered, LinesMissed       int
	BranchesCovered, BranchesMissed int
}

// LinePercent is the part of the lines that ran, 0 to 100; ok is false without lines.
func (c Coverage) LinePercent() (percent float64, ok bool) {
	return percentOf(c.LinesCovered, c.LinesMissed)
}

// BranchPercent is the part of the branches that ran, 0 to 100; ok is false without branches.
func (c Coverage) BranchPercent() (percent float64, ok bool) {
	return percentOf(c.BranchesCovered, c.BranchesMissed)
}

func percentOf(covered, missed int) (percent float64, ok bool) {
	if covered+missed <= 0 {
		return 0, false
	}
	return 100 * float64(covered) / float64(covered+missed), true
}

// A ReportSummary is what a build keeps of a Report.
type ReportSummary struct {
	Group    string
	Type     string
	Format   string
	Status   string
	Problems []string      `json:",omitempty"` // the first MaxReportProblems
	Counts   CaseCounts    // of ReportTest
	Duration time.Duration `json:",omitempty"` // of all cases together
	Failing  []TestCase    `json:",omitempty"` // the first MaxFailing cases that failed, in the report's order
	Coverage Coverage      // of ReportCoverage, of all files together
	Files    int           `json:",omitempty"` // of ReportCoverage: files of the source
	Change   *ReportChange `json:",omitempty"` // nil if there is nothing to compare with
}

// Limits of what a build keeps of its reports.
const (
	MaxReportProblems = 10
	MaxFailing        = 100
	MaxChanged        = 50 // names in each list of a ReportChange
	MaxReports        = 50 // report groups of a build
)

// CaseCounts counts cases by status.
type CaseCounts struct {
	Total, Succeeded, Failed, Error, Skipped, Unknown int
}

// A ReportChange is how a report differs from the one of the same group in an earlier build.
type ReportChange struct {
	Build  string // the earlier build
	Number int    // of the earlier build
	Ref    string // the branch whose last build it is

	NewlyFailing, Fixed, Slower                []string `json:",omitempty"` // full names, at most MaxChanged each
	NewlyFailingCount, FixedCount, SlowerCount int      `json:",omitempty"` // of all
	Added, Removed                             int      `json:",omitempty"` // cases that there are in one of the two only

	LinesBefore float64 `json:",omitempty"` // of ReportCoverage: percent of lines before; LinesKnown tells whether it was known
	LinesKnown  bool    `json:",omitempty"`
}

func (s *Store) reportPath(build string, index int) string {
	return filepath.Join(s.dir, "reports", build+"."+strconv.Itoa(index)+".json.zst")
}

// KeepReport keeps a report of a build, at its index in Build.Reports. Keeping again replaces what was kept.
func (s *Store) KeepReport(build string, index int, r *Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	packed, err := s.bodies.pack(text)
	if err != nil {
		return err
	}
	if err := writeDurable(s.reportPath(build, index), packed); err != nil {
		return fmt.Errorf("keeping a report: %w", err)
	}
	return nil
}

// maxReportText bounds what a report's file unpacks to.
const maxReportText = 1 << 30

// Report reads a report of a build. The error wraps ErrNotFound if there is none of that index, or no longer.
func (s *Store) Report(build string, index int) (Report, error) {
	var r Report
	f, err := os.Open(s.reportPath(build, index))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("report %d of build %s: %w", index, build, ErrNotFound)
	}
	if err != nil {
		return r, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return r, err
	}
	defer z.Close()
	if err := json.NewDecoder(io.LimitReader(z, maxReportText)).Decode(&r); err != nil {
		return r, fmt.Errorf("reading report %d of build %s: %w", index, build, err)
	}
	return r, nil
}

// reportedKey is where a build stands that has reports to compare with: project key NUL ref NUL, then its number.
func reportedKey(project, ref string) []byte { return []byte(project + "\x00" + ref + "\x00") }

// comparable reports whether later builds compare their reports with those of this one: it is over and built its ref, no pull
// request of it and no other repository's commit.
func (b *Build) comparable() bool {
	t := &b.Trigger
	return b.Done() && len(b.Reports) > 0 && t.HeadRef != "" && t.PullRequest == 0 && !t.Fork
}

// EarlierBuilds are builds of the same project that were made before b, are over, built the ref itself and have reports: the newest
// first, at most max. Builds of its pull requests and of other repositories' commits are not among them.
func (tx *Tx) EarlierBuilds(b *Build, ref string, max int) ([]Build, error) {
	var found []Build
	prefix := reportedKey(b.ProjectKey, ref)
	c := tx.bucket(bucketReported).Cursor()
	back := c.Prev
	if at, _ := c.Seek(append(prefix, number(b.Seq)...)); at == nil {
		back = c.Last
	}
	for key, id := back(); bytes.HasPrefix(key, prefix) && len(found) < max; key, id = c.Prev() {
		e, err := tx.Build(string(id))
		if err != nil {
			return found, err
		}
		found = append(found, e)
	}
	return found, nil
}
