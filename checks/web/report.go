package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

const (
	// listedCases is how many tests, or files, a page of a report lists: a test has up to 14 elements.
	listedCases = 200

	// maxReports is how many reports are read at a time. A large one takes much memory.
	maxReports = 2

	shownSources   = 20 // files that a report was made from
	shownTroubles  = 50 // files that are missing or cannot be read
	maxQueryLength = 200
)

var (
	errNoReport   = problem{http.StatusNotFound, "There is no such report", "The build has no report of that number, or it is no longer kept."}
	errBusyReport = problem{http.StatusServiceUnavailable, "Too many reports", "Others read large reports just now. Try again in a moment."}
)

// withReport hands on a report of a build, few at a time. A report that is no longer kept is what the build remembers of it.
func (w *Web) withReport(ctx context.Context, b *store.Build, index int, use func(r *store.Report, kept bool) error) error {
	if index >= len(b.Reports) {
		return errNoReport
	}
	late := time.NewTimer(patience / 3)
	defer late.Stop()
	select {
	case w.reports <- struct{}{}:
		defer func() { <-w.reports }()
	case <-late.C:
		return errBusyReport
	case <-ctx.Done():
		return ctx.Err()
	}
	r, err := w.Store.Report(b.ID, index)
	kept := !errors.Is(err, store.ErrNotFound)
	if !kept {
		s := &b.Reports[index]
		r, err = store.Report{Group: s.Group, Type: s.Type, Format: s.Format, Status: s.Status, Problems: s.Problems, Cases: s.Failing}, nil
	}
	if err != nil {
		return err
	}
	return use(&r, kept)
}

// A caseFilter tells which tests somebody wants to see.
type caseFilter struct {
	word, title string
	change      bool // it is about the build compared with, of which names are kept up to a limit
	count       func(r *store.ReportSummary) int
	has         func(m *marks, c *store.TestCase) bool
}

// caseFilters are the filters, in the order of the page.
var caseFilters = []caseFilter{
	{"", "All", false, func(r *store.ReportSummary) int { return r.Counts.Total }, func(*marks, *store.TestCase) bool { return true }},
	{"failing", "Failing", false, func(r *store.ReportSummary) int { return r.Counts.Failed + r.Counts.Error },
		func(_ *marks, c *store.TestCase) bool { return c.Failed() }},
	{"new", "Newly failing", true, func(r *store.ReportSummary) int { return changeOf(r).NewlyFailingCount },
		func(m *marks, c *store.TestCase) bool { return m.isNew(c) }},
	{"fixed", "Fixed", true, func(r *store.ReportSummary) int { return changeOf(r).FixedCount },
		func(m *marks, c *store.TestCase) bool { return m.fixed[c.FullName()] }},
	{"slower", "Slower", true, func(r *store.ReportSummary) int { return changeOf(r).SlowerCount },
		func(m *marks, c *store.TestCase) bool { return m.slower[c.FullName()] }},
	{"skipped", "Skipped", false, func(r *store.ReportSummary) int { return r.Counts.Skipped },
		func(_ *marks, c *store.TestCase) bool { return c.Status == store.CaseSkipped }},
	{"unknown", "Unknown", false, func(r *store.ReportSummary) int { return r.Counts.Unknown },
		func(_ *marks, c *store.TestCase) bool { return rank(c) == 1 }},
	{"succeeded", "Succeeded", false, func(r *store.ReportSummary) int { return r.Counts.Succeeded },
		func(_ *marks, c *store.TestCase) bool { return c.Status == store.CaseSucceeded }},
}

// changeOf is the change of a report, empty if there is nothing to compare with.
func changeOf(r *store.ReportSummary) store.ReportChange {
	if r.Change == nil {
		return store.ReportChange{}
	}
	return *r.Change
}

// caseFilterOf is the filter of a word.
func caseFilterOf(word string) (*caseFilter, error) {
	i := slices.IndexFunc(caseFilters, func(f caseFilter) bool { return f.word == word })
	if i >= 0 {
		return &caseFilters[i], nil
	}
	var words []string
	for _, f := range caseFilters[1:] {
		words = append(words, f.word)
	}
	return nil, problem{http.StatusBadRequest, "There are no such tests", fmt.Sprintf("status=%.40q is not known; leave it out or give one of %s", word, strings.Join(words, ", "))}
}

// marks are the tests that differ from the build compared with, by their names.
type marks struct{ news, fixed, slower map[string]bool }

func marksOf(r *store.ReportSummary) *marks {
	set := func(names []string) map[string]bool {
		m := make(map[string]bool, len(names))
		for _, n := range names {
			m[n] = true
		}
		return m
	}
	c := changeOf(r)
	return &marks{set(c.NewlyFailing), set(c.Fixed), set(c.Slower)}
}

func (m *marks) isNew(c *store.TestCase) bool { return c.Failed() && m.news[c.FullName()] }

// rank orders tests by how much they matter.
func rank(c *store.TestCase) int {
	switch c.Status {
	case store.CaseFailed, store.CaseError:
		return 0
	case store.CaseSkipped:
		return 2
	case store.CaseSucceeded:
		return 3
	}
	return 1
}

// casesOf gives the tests of a report that pass a filter and have a text in their names, in the order of the files.
func casesOf(r *store.Report, f *caseFilter, m *marks, query string) []*store.TestCase {
	query = strings.ToLower(query)
	var list []*store.TestCase
	for i := range r.Cases {
		c := &r.Cases[i]
		if f.has(m, c) && (query == "" || strings.Contains(strings.ToLower(c.FullName()), query)) {
			list = append(list, c)
		}
	}
	return list
}

// A reportData is what the page report shows.
type reportData struct {
	row
	Report reportRow
	visit  *visit

	Kept        bool // all of it is, not only what the build remembers
	Raw         bool // the files that it was made from are kept
	Files       []string
	MoreFiles   int
	Problems    []string
	MoreTrouble int
	Dropped     int
	AgainstURL  string

	Any      bool // there are tests, or files
	Nameless int  // tests that pass the filter, and whose names the build does not remember
	Cases    []caseView
	Coverage []coverageView
	Filters  []filterView
	Shares   []shareView
	Branches string

	Query, Status, Sort string
	After, Matching     int // of the tests, or files, that match: how many come before these, and how many there are
}

// A filterView is a filter as the page offers it.
type filterView struct {
	Title, URL string
	Count      int
	Active     bool
}

// A shareView is a part of the bar of results.
type shareView struct {
	Class    string
	X, Width int // in thousandths
}

// A coverageView is a file of the source as pages show it.
type coverageView struct {
	Name, URL       string
	Lines, Branches string
	Bar             bool // there are lines
	Width           int  // of its bar, in thousandths
	Missed          int  // lines
}

// Path is the address of a page of the build, and carries the visitor's k on.
func (d *reportData) Path(sub string, query ...any) string { return d.visit.path(sub, query...) }

// Key is the visitor's k, for forms.
func (d *reportData) Key() string { return d.visit.key }

// Tests reports whether it is a report of tests.
func (d *reportData) Tests() bool { return d.Report.Type != store.ReportCoverage }

// Duration is how long all tests took together.
func (d *reportData) Duration() string { return brief(d.Report.ReportSummary.Duration) }

// self is the address of this page with another filter, order or beginning.
func (d *reportData) self(status, sort string, after int) string {
	var query []any
	for _, p := range [][2]string{{"status", status}, {"sort", sort}, {"q", d.Query}} {
		if p[1] != "" {
			query = append(query, p[0], p[1])
		}
	}
	if after > 0 {
		query = append(query, "after", after)
	}
	return d.Path("reports/"+strconv.Itoa(d.Report.Index), query...)
}

// Here is the address of this page alone, for forms.
func (d *reportData) Here() string {
	return "/builds/" + url.PathEscape(d.visit.id()) + "/reports/" + strconv.Itoa(d.Report.Index)
}

// Sorted is the address of this page in another order.
func (d *reportData) Sorted(sort string) string { return d.self(d.Status, sort, 0) }

// All is the address of this page without a search.
func (d *reportData) All() string {
	all := *d
	all.Query = ""
	return all.self(d.Status, d.Sort, 0)
}

// From is the number of the first test, or file, on the page.
func (d *reportData) From() int { return min(d.After+1, d.To()) }

// To is the number of the last.
func (d *reportData) To() int { return d.After + len(d.Cases) + len(d.Coverage) }

// Earlier is the address of the page before this, empty if there is none.
func (d *reportData) Earlier() string {
	if d.After == 0 {
		return ""
	}
	return d.self(d.Status, d.Sort, max(0, d.After-listedCases))
}

// Later is the address of the page behind this, empty if there is none.
func (d *reportData) Later() string {
	if d.To() >= d.Matching {
		return ""
	}
	return d.self(d.Status, d.Sort, d.To())
}

// report shows a report of a build: ?status= and ?q= are what of it, ?sort= in which order, and ?after= from where on.
func (w *Web) report(c echo.Context, v *visit) error {
	if v.build == nil {
		return errLink
	}
	index, err := strconv.Atoi(c.Param("n"))
	if err != nil || index < 0 || index >= len(v.build.Reports) {
		return errNoReport
	}
	after, err := number(c, "after")
	if err != nil {
		return err
	}
	d := &reportData{row: w.rowOf(v.build, w.Store.Now()), Report: reportRowOf(&v.build.Reports[index], index), visit: v,
		Query: strings.TrimSpace(c.QueryParam("q")), Status: c.QueryParam("status"), Sort: c.QueryParam("sort"), After: int(min(after, 1<<40))}
	if len(d.Query) > maxQueryLength {
		return problem{http.StatusBadRequest, "That is too long", fmt.Sprintf("Search for at most %d characters.", maxQueryLength)}
	}
	filter, err := caseFilterOf(d.Status)
	if err != nil {
		return err
	}
	if err := w.compared(d); err != nil {
		return err
	}
	d.Raw = v.build.ReportFiles != nil && w.kept(v.build.ID, store.ReportFiles)
	if err := w.withReport(c.Request().Context(), v.build, index, func(r *store.Report, kept bool) error {
		d.Kept = kept
		d.about(r)
		d.Any = len(r.Cases)+len(r.Coverage) > 0
		if d.Tests() {
			d.tests(r, filter)
		} else {
			d.coverage(r)
		}
		return nil
	}); err != nil {
		return err
	}
	return w.render(c, http.StatusOK, v, "report", fmt.Sprintf("%s: %s of %s #%d", d.Report.State.Word, d.Report.Name, d.Build.Project, d.Number), d)
}

// compared finds the page of the build that the report is compared with, if the visitor may see that: the k of one build opens
// no other.
func (w *Web) compared(d *reportData) error {
	if d.Report.Change == nil {
		return nil
	}
	other := &visit{admin: d.visit.admin}
	switch err := w.subject(other, d.Report.Change.Build, ""); {
	case err == nil && other.build != nil && other.build.ProjectKey == d.Build.ProjectKey:
		d.AgainstURL = other.path("")
		return nil
	case err == nil || errors.As(err, new(problem)):
		return nil
	default:
		return err
	}
}

// about tells what a report was made from.
func (d *reportData) about(r *store.Report) {
	for _, f := range r.Files[:min(len(r.Files), shownSources)] {
		d.Files = append(d.Files, shown(f, shownName))
	}
	for _, p := range r.Problems[:min(len(r.Problems), shownTroubles)] {
		d.Problems = append(d.Problems, shown(p, shownValue))
	}
	d.MoreFiles, d.MoreTrouble, d.Dropped = len(r.Files)-len(d.Files), len(r.Problems)-len(d.Problems), r.Dropped
}

// page gives the part of a list that the page shows.
func page[T any](d *reportData, list []T) []T {
	d.Matching = len(list)
	d.After = min(d.After, d.Matching)
	return list[d.After:min(d.After+listedCases, d.Matching)]
}

func (d *reportData) tests(r *store.Report, filter *caseFilter) {
	m := marksOf(d.Report.ReportSummary)
	list := casesOf(r, filter, m, d.Query)
	switch d.Sort {
	case "slowest":
		slices.SortStableFunc(list, func(a, b *store.TestCase) int { return cmp.Compare(b.Duration, a.Duration) })
	case "files":
	default:
		d.Sort = ""
		matters := func(c *store.TestCase) int {
			if m.isNew(c) {
				return -1
			}
			return rank(c)
		}
		slices.SortStableFunc(list, func(a, b *store.TestCase) int { return matters(a) - matters(b) })
	}
	for _, c := range page(d, list) {
		v := caseViewOf(d.Build, c, d.links)
		name := c.FullName()
		v.New, v.Fixed, v.Slower = m.isNew(c), m.fixed[name], m.slower[name]
		d.Cases = append(d.Cases, v)
	}
	if d.Query == "" && filter.change {
		d.Nameless = max(0, filter.count(d.Report.ReportSummary)-len(list))
	}
	for i := range caseFilters {
		f := &caseFilters[i]
		if n := f.count(d.Report.ReportSummary); n > 0 || f == filter || f.word == "" {
			d.Filters = append(d.Filters, filterView{f.title, d.self(f.word, d.Sort, 0), n, f == filter})
		}
	}
	n := d.Report.Counts
	d.share(n.Total, part{"failed", n.Failed + n.Error}, part{"pending", n.Unknown}, part{"stopped", n.Skipped}, part{"succeeded", n.Succeeded})
}

type part struct {
	class string
	n     int
}

// share makes the bar of results. A part that is there can be seen, however small it is.
func (d *reportData) share(whole int, parts ...part) {
	x := 0
	for _, p := range parts {
		if p.n <= 0 || whole <= 0 {
			continue
		}
		width := min(max(1000*p.n/whole, 6), 1000-x)
		d.Shares = append(d.Shares, shareView{p.class, x, width})
		x += width
	}
	if n := len(d.Shares); n > 0 {
		d.Shares[n-1].Width += 1000 - x // what was lost by rounding
	}
}

func (d *reportData) coverage(r *store.Report) {
	query := strings.ToLower(d.Query)
	var list []*store.FileCoverage
	for i := range r.Coverage {
		if f := &r.Coverage[i]; strings.Contains(strings.ToLower(f.Path), query) {
			list = append(list, f)
		}
	}
	switch d.Sort {
	case "name":
	default:
		d.Sort = ""
		slices.SortStableFunc(list, func(a, b *store.FileCoverage) int { return b.LinesMissed - a.LinesMissed })
	}
	for _, f := range page(d, list) {
		v := coverageView{Name: shown(f.Path, shownName), Missed: f.LinesMissed}
		percent, ok := f.LinePercent()
		v.Lines, v.Bar, v.Width = percentText(percent, ok), ok, int(percent*10)
		if percent, ok := f.BranchPercent(); ok {
			v.Branches = checks.Percent(percent)
		}
		if file, _ := checks.PlaceOf(&store.TestCase{File: f.Path, Line: 1}); file != "" {
			v.URL = d.links.file(d.Build.Trigger.Commit, file)
		}
		d.Coverage = append(d.Coverage, v)
	}
	all := d.Report.ReportSummary.Coverage
	if percent, ok := all.BranchPercent(); ok {
		d.Branches = checks.Percent(percent)
	}
	d.share(all.LinesCovered+all.LinesMissed, part{"succeeded", all.LinesCovered}, part{"missed", all.LinesMissed})
}
