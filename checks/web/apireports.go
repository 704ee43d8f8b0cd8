package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// An ExportedVariable is an environment variable that a build exported.
type ExportedVariable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// A Report is what a build keeps of a report: all but its tests or files, but the first tests that failed.
type Report struct {
	Index    int           `json:"index"` // among the build's, from 0
	URL      string        `json:"url"`   // of its page
	Group    string        `json:"group"`
	Type     string        `json:"type"` // TEST or CODE_COVERAGE
	Format   string        `json:"format,omitempty"`
	Status   string        `json:"status"`                        // SUCCEEDED, FAILED or INCOMPLETE
	Problems []string      `json:"problems,omitempty"`            // files that are missing or cannot be read; the first 10
	Tests    *TestSummary  `json:"testSummary,omitempty"`         // of tests
	Coverage *Coverage     `json:"codeCoverageSummary,omitempty"` // of coverage
	Failing  []TestCase    `json:"failing,omitempty"`             // the first 100 tests that failed, with the beginning of their messages
	Change   *ReportChange `json:"change,omitempty"`              // missing if there is nothing to compare with
}

// A TestSummary counts tests.
type TestSummary struct {
	Total    int            `json:"total"`
	Statuses map[string]int `json:"statusCounts"` // SUCCEEDED, FAILED, ERROR, SKIPPED, UNKNOWN
	Duration int64          `json:"durationInNanoSeconds"`
}

// A Coverage counts lines and branches.
type Coverage struct {
	Files           int      `json:"files,omitempty"` // of the source; of a summary
	LinesCovered    int      `json:"linesCovered"`
	LinesMissed     int      `json:"linesMissed"`
	LinePercent     *float64 `json:"lineCoveragePercentage,omitempty"` // missing if there are no lines
	BranchesCovered int      `json:"branchesCovered"`
	BranchesMissed  int      `json:"branchesMissed"`
	BranchPercent   *float64 `json:"branchCoveragePercentage,omitempty"` // missing if there are no branches
}

// A TestCase is one test.
type TestCase struct {
	Name     string `json:"name"`
	Prefix   string `json:"prefix,omitempty"` // of the name: class, suite or feature
	Status   string `json:"status"`           // SUCCEEDED, FAILED, ERROR, SKIPPED or UNKNOWN
	Message  string `json:"message,omitempty"`
	Duration int64  `json:"durationInNanoSeconds"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
}

// A FileCoverage says how much of a file of the source ran.
type FileCoverage struct {
	Path string `json:"filePath"`
	Coverage
}

// A ReportChange is how a report differs from that of the same group in an earlier build. Lists have the first 50 names.
type ReportChange struct {
	Build             string   `json:"build"`  // id of the earlier build
	Number            int      `json:"number"` // of the earlier build
	Ref               string   `json:"ref,omitempty"`
	NewlyFailing      []string `json:"newlyFailing,omitempty"`
	NewlyFailingCount int      `json:"newlyFailingCount"`
	Fixed             []string `json:"fixed,omitempty"`
	FixedCount        int      `json:"fixedCount"`
	Slower            []string `json:"slower,omitempty"`
	SlowerCount       int      `json:"slowerCount"`
	Added             int      `json:"added"`
	Removed           int      `json:"removed"`
	LinesBefore       *float64 `json:"lineCoveragePercentageBefore,omitempty"`
}

// ReportDetails are a report with some of its tests or files.
type ReportDetails struct {
	Report
	Files    []string       `json:"files,omitempty"`     // that it was made from
	Dropped  int            `json:"dropped,omitempty"`   // tests or files beyond what is kept
	Total    int            `json:"total"`               // tests or files that match
	Next     int            `json:"next,omitempty"`      // the offset of those that follow; missing if there are none
	Cases    []TestCase     `json:"testCases,omitempty"` // in the order of the files
	Coverage []FileCoverage `json:"codeCoverages,omitempty"`
}

// How many tests or files an answer has, if it is not asked for a number, and at most.
const (
	defaultCases = 200
	maxCases     = 1000
	// toldMessage is how much of a message a build tells, in characters. The report has all of it.
	toldMessage = 1000
)

func reportOf(r *store.ReportSummary, index int, page string) Report {
	v := Report{Index: index, URL: checks.Below(page, "reports/"+strconv.Itoa(index)), Group: r.Group, Type: r.Type, Format: r.Format, Status: r.Status,
		Problems: r.Problems}
	if r.Type == store.ReportCoverage {
		c := coverageOf(r.Coverage)
		c.Files = r.Files
		v.Coverage = &c
	} else {
		n := r.Counts
		v.Tests = &TestSummary{n.Total, map[string]int{store.CaseSucceeded: n.Succeeded, store.CaseFailed: n.Failed, store.CaseError: n.Error,
			store.CaseSkipped: n.Skipped, store.CaseUnknown: n.Unknown}, int64(r.Duration)}
	}
	for i := range r.Failing {
		c := testCaseOf(&r.Failing[i])
		if runes := []rune(c.Message); len(runes) > toldMessage {
			c.Message = string(runes[:toldMessage])
		}
		v.Failing = append(v.Failing, c)
	}
	if c := r.Change; c != nil {
		v.Change = &ReportChange{Build: c.Build, Number: c.Number, Ref: c.Ref, NewlyFailing: c.NewlyFailing, NewlyFailingCount: c.NewlyFailingCount,
			Fixed: c.Fixed, FixedCount: c.FixedCount, Slower: c.Slower, SlowerCount: c.SlowerCount, Added: c.Added, Removed: c.Removed}
		if c.LinesKnown {
			v.Change.LinesBefore = &c.LinesBefore
		}
	}
	return v
}

func testCaseOf(c *store.TestCase) TestCase {
	return TestCase{c.Name, c.Prefix, c.Status, c.Message, int64(c.Duration), c.File, c.Line}
}

func coverageOf(c store.Coverage) Coverage {
	v := Coverage{LinesCovered: c.LinesCovered, LinesMissed: c.LinesMissed, BranchesCovered: c.BranchesCovered, BranchesMissed: c.BranchesMissed}
	if p, ok := c.LinePercent(); ok {
		v.LinePercent = &p
	}
	if p, ok := c.BranchPercent(); ok {
		v.BranchPercent = &p
	}
	return v
}

// apiReport tells a report with the tests or files from ?offset= on, at most ?limit=; of tests those that ?status= names.
func (w *Web) apiReport(c echo.Context, b *store.Build) error {
	index, err := strconv.Atoi(c.Param("n"))
	if err != nil || index < 0 || index >= len(b.Reports) {
		return problem{http.StatusNotFound, "", fmt.Sprintf("the build has %s, numbered from 0; there is no report %.20q", plural(len(b.Reports), "report", "reports"), c.Param("n"))}
	}
	from, err := number(c, "offset")
	if err != nil {
		return err
	}
	limit, err := number(c, "limit")
	switch {
	case err != nil:
		return err
	case limit > maxCases:
		return problem{http.StatusBadRequest, "", fmt.Sprintf("limit=%d is too many: ask for at most %d at a time and go on with offset", limit, maxCases)}
	case limit == 0:
		limit = defaultCases
	}
	filter, err := caseFilterOf(c.QueryParam("status"))
	if err != nil {
		return err
	}
	key, err := w.Store.LinkKey(b.ID, b.Repo)
	if err != nil {
		return err
	}
	s := &b.Reports[index]
	answer := ReportDetails{Report: reportOf(s, index, w.base(c)+"/builds/"+b.ID+"?k="+key)}
	if err := w.withReport(c.Request().Context(), b, index, func(r *store.Report, kept bool) error {
		if !kept {
			return problem{http.StatusNotFound, "", "the report is no longer kept; the build tells what it remembers of it"}
		}
		answer.Files, answer.Problems, answer.Dropped = r.Files, r.Problems, r.Dropped
		part := func(total int) (int, int) {
			start := int(min(from, uint64(total)))
			end := min(start+int(limit), total)
			if answer.Total = total; end < total {
				answer.Next = end
			}
			return start, end
		}
		if r.Type == store.ReportCoverage {
			start, end := part(len(r.Coverage))
			for _, f := range r.Coverage[start:end] {
				answer.Coverage = append(answer.Coverage, FileCoverage{f.Path, coverageOf(f.Coverage)})
			}
			return nil
		}
		list := casesOf(r, filter, marksOf(s), "")
		start, end := part(len(list))
		for _, c := range list[start:end] {
			answer.Cases = append(answer.Cases, testCaseOf(c))
		}
		return nil
	}); err != nil {
		return err
	}
	answer.Failing = nil // they are among the tests
	return writeJSON(c, http.StatusOK, answer)
}

func (w *Web) apiReportZip(c echo.Context, b *store.Build) error {
	return w.serveZip(c, b, store.ReportFiles)
}

func (w *Web) apiArtifactZip(c echo.Context, b *store.Build) error {
	a := namedArtifacts(c, b)
	if a == nil {
		return errNoArtifacts
	}
	return w.serveZip(c, b, a.ID)
}

func (w *Web) apiArtifacts(c echo.Context, b *store.Build) error {
	a := namedArtifacts(c, b)
	if a == nil {
		return errNoArtifacts
	}
	list, err := w.Store.Manifest(b.ID, a.ID)
	if errors.Is(err, store.ErrNotFound) {
		return errNoArtifacts
	}
	if err != nil {
		return err
	}
	key, err := w.Store.LinkKey(b.ID, b.Repo)
	if err != nil {
		return err
	}
	view := &artifactsView{Artifacts: a, visit: &visit{build: b, key: key}}
	answer := make([]Artifact, len(list))
	for i, f := range list {
		answer[i] = Artifact{f.Name, f.Size, f.SHA256, f.Mode, f.Link, ""}
		if f.Link == "" {
			answer[i].URL = w.base(c) + view.File(f.Name)
		}
	}
	return writeJSON(c, http.StatusOK, answer)
}

// apiChecks tells what the forge was told.
func (w *Web) apiChecks(c echo.Context, b *store.Build) error {
	if w.Checks == nil {
		return problem{http.StatusNotFound, "", "this server does not keep what forges were told; look at the forge"}
	}
	return writeJSON(c, http.StatusOK, append([]Check{}, w.Checks(*b)...))
}
