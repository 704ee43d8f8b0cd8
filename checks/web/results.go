package web

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// How much of what a build's reports, secondary artifacts and variables have its page shows.
const (
	shownFailing   = 5    // tests
	shownSecondary = 12   // secondary artifacts
	shownTheirs    = 5    // files of each
	shownExported  = 40   // variables
	shownName      = 500  // characters of a name
	shownValue     = 1000 // characters of a variable
	shownMessage   = 6000 // characters of why a test did not succeed
)

// A reportRow is a report as the page of its build shows it.
type reportRow struct {
	*store.ReportSummary
	Index   int
	Name    string
	State   state
	Result  string
	Changes string // "1 newly failing, 2 fixed"
	Against string // "#6 of main"
}

func reportState(status string) state {
	switch status {
	case store.ReportSucceeded:
		return state{"succeeded", "Succeeded"}
	case store.ReportFailed:
		return state{"failed", "Failed"}
	case store.ReportIncomplete:
		return state{"timedout", "Incomplete"}
	}
	return state{"pending", "Unknown"}
}

func reportRowOf(r *store.ReportSummary, index int) reportRow {
	row := reportRow{ReportSummary: r, Index: index, Name: shown(r.Group, shownName), State: reportState(r.Status)}
	row.Result = countText(r.Counts)
	if r.Type == store.ReportCoverage {
		row.Result = percentText(r.Coverage.LinePercent())
	}
	if c := r.Change; c != nil {
		row.Against = fmt.Sprintf("#%d", c.Number)
		if c.Ref != "" {
			row.Against += " of " + shown(c.Ref, shownName)
		}
		row.Changes = changeText(r)
	}
	return row
}

// countText is how many tests failed, or how many there are.
func countText(c store.CaseCounts) string {
	if failed := c.Failed + c.Error; failed > 0 {
		return fmt.Sprintf("%d of %d failed", failed, c.Total)
	}
	return plural(c.Total, "test", "tests")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func percentText(percent float64, ok bool) string {
	if !ok {
		return "no lines"
	}
	return checks.Percent(percent)
}

// changeText is how a report differs from the one before.
func changeText(r *store.ReportSummary) string {
	c := r.Change
	if r.Type == store.ReportCoverage {
		percent, ok := r.Coverage.LinePercent()
		if !ok || !c.LinesKnown {
			return ""
		}
		return checks.Points(percent - c.LinesBefore)
	}
	if text := checks.Differences(c); text != "" {
		return text
	}
	return "no change"
}

// shown is what somebody else wrote, without what could deceive its reader, and not too long.
func shown(text string, most int) string {
	text = strings.TrimSpace(checks.Plain(text))
	if len(text) > most {
		if runes := []rune(text); len(runes) > most {
			text = string(runes[:most]) + "…"
		}
	}
	return text
}

// A caseView is a test as pages show it.
type caseView struct {
	Prefix, Name       string
	State              state
	New, Fixed, Slower bool // against the build compared with
	Place, URL         string
	Took               string
	First, Message     string // the message's first line; all of it, if it has more
}

func caseState(status string) state {
	switch status {
	case store.CaseSucceeded:
		return state{"succeeded", "Succeeded"}
	case store.CaseFailed:
		return state{"failed", "Failed"}
	case store.CaseError:
		return state{"failed", "Error"}
	case store.CaseSkipped:
		return state{"stopped", "Skipped"}
	}
	return state{"pending", "Unknown"}
}

func caseViewOf(b *store.Build, c *store.TestCase, l Links) caseView {
	v := caseView{Prefix: shown(c.Prefix, shownName), Name: shown(c.Name, shownName), State: caseState(c.Status), Took: brief(c.Duration)}
	if c.File != "" {
		v.Place = shown(c.File, shownName)
		if c.Line > 0 {
			v.Place += ":" + strconv.Itoa(c.Line)
		}
		if file, line := checks.PlaceOf(c); file != "" {
			v.URL = l.line(b.Trigger.Commit, file, line)
		}
	}
	message := shown(c.Message, shownMessage)
	first, rest, _ := strings.Cut(message, "\n")
	v.First = shown(first, 200)
	if rest != "" || v.First != first {
		v.Message = message
	}
	return v
}

// escapePath escapes the names of a path for an address.
func escapePath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// brief is how long a test took; empty if nobody knows.
func brief(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return length(d)
}

// An exportedView is an exported variable as pages show it.
type exportedView struct{ Name, Value string }

// results gathers what a build left beside its primary artifacts.
func (w *Web) results(d *buildData) {
	b := d.Build
	for i := range b.Reports {
		r := &b.Reports[i]
		if i < store.MaxReports {
			d.Reports = append(d.Reports, reportRowOf(r, i))
		}
		d.Tests += r.Counts.Total
		d.TestsFailed += r.Counts.Failed + r.Counts.Error
	}
	d.failing(b)
	for i := range b.Secondary[:min(len(b.Secondary), shownSecondary)] {
		d.Secondary = append(d.Secondary, w.artifactsView(d.visit, &b.Secondary[i], shownTheirs))
	}
	d.MoreSecondary = len(b.Secondary) - len(d.Secondary)
	for _, v := range b.Exported[:min(len(b.Exported), shownExported)] {
		d.Exported = append(d.Exported, exportedView{shown(v.Name, shownName), shown(v.Value, shownValue)})
	}
	d.MoreExported = len(b.Exported) - len(d.Exported)
	d.RawReports = b.ReportFiles != nil && w.kept(b.ID, store.ReportFiles)
}

// failing takes the first tests that failed, those first that did not fail before.
func (d *buildData) failing(b *store.Build) {
	for _, newly := range []bool{true, false} {
		for i := range b.Reports {
			r := &b.Reports[i]
			for k := range r.Failing {
				if checks.NewlyFailing(r, &r.Failing[k]) != newly {
					continue
				}
				if len(d.Failing) == shownFailing {
					return
				}
				v := caseViewOf(b, &r.Failing[k], d.links)
				v.New = newly
				d.Failing = append(d.Failing, v)
			}
		}
	}
}

// MoreFailing are the failing tests that the page of the build does not show.
func (d *buildData) MoreFailing() int { return max(0, d.TestsFailed-len(d.Failing)) }

// kept reports whether artifacts of a build are still there.
func (w *Web) kept(build, id string) bool {
	f, err := w.Store.OpenArtifacts(build, id)
	return err == nil && errors.Join(f.Close()) == nil
}

// An artifactsView is artifacts with their first files, or a page of them.
type artifactsView struct {
	*store.Artifacts
	visit *visit
	Gone  bool // no longer kept
	List  []store.Artifact
	More  int
	Next  int // where the next page of the list begins
}

// artifactsView shows the first files of artifacts.
func (w *Web) artifactsView(v *visit, a *store.Artifacts, most int) *artifactsView {
	list := a.First[:min(len(a.First), most)]
	return &artifactsView{Artifacts: a, visit: v, Gone: !w.kept(v.build.ID, a.ID), List: list, More: a.Files - len(list)}
}

// Path is the address of the archive or the list, and carries the visitor's k on.
func (a *artifactsView) Path(sub string, query ...any) string {
	return a.visit.path(artifactsPath(a.ID)+sub, query...)
}

// File is the address of one of the files.
func (a *artifactsView) File(name string) string { return a.Path("artifacts/" + escapePath(name)) }

// Title names the artifacts.
func (a *artifactsView) Title() string {
	if a.ID == "" {
		return "Artifacts"
	}
	return "Artifacts: " + a.ID
}

// artifactsPath is where the pages of artifacts lie below their build's. Those of a secondary artifact lie apart, for the
// primary ones may have files of any name.
func artifactsPath(id string) string {
	if id == "" {
		return ""
	}
	return "secondary/" + url.PathEscape(id) + "/"
}
