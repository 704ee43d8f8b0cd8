package checks

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"buildsmith/store"
)

// How much of what reports have much of a check shows, in characters or as the name says. The page of a report has all of it.
const (
	shownName    = 200 // of a report, a test or a file
	shownProblem = 300
	shownMessage = 1500 // of a test, in the summary
	shownLines   = 12   // of the same
	shownNote    = 2000 // of a test, in its annotation
	shownNames   = 5    // tests of a list of names
	shownReason  = 4000 // why a build or phase ended

	minSections = 4000 // for the sections of reports, whatever else the summary holds
)

// cut shortens text to n characters.
func cut(s string, n int) string {
	if len(s) <= n || utf8.RuneCountInString(s) <= n {
		return s
	}
	for i := range s {
		if n--; n == 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// Percent is a part of a whole for people. Only the whole is 100.0 %, and only nothing 0.0 %.
func Percent(p float64) string {
	switch {
	case p >= 100:
		return "100.0 %"
	case p > 0 && p < 0.1:
		return "0.1 %"
	}
	return fmt.Sprintf("%.1f %%", math.Floor(max(p, 0)*10+1e-6)/10)
}

// Points is a difference of percentages for people.
func Points(d float64) string {
	if d = math.Round(d*10) / 10; d == 0 {
		return "±0"
	}
	return fmt.Sprintf("%+.1f", d)
}

// NewlyFailing reports whether a case of a report failed that did not fail before.
func NewlyFailing(r *store.ReportSummary, c *store.TestCase) bool {
	return r.Change != nil && c.Failed() && slices.Contains(r.Change.NewlyFailing, c.FullName())
}

// failingOf are the failing cases that a build keeps of a report, those first that did not fail before.
func failingOf(r *store.ReportSummary) []*store.TestCase {
	var news, others []*store.TestCase
	for i := range r.Failing {
		c := &r.Failing[i]
		if NewlyFailing(r, c) {
			news = append(news, c)
		} else {
			others = append(others, c)
		}
	}
	return append(news, others...)
}

// testsFailed counts the tests of all reports of a build, empty if none failed.
func testsFailed(b *store.Build) string {
	total, failed, newly := 0, 0, 0
	for i := range b.Reports {
		r := &b.Reports[i]
		total += r.Counts.Total
		failed += r.Counts.Failed + r.Counts.Error
		if r.Change != nil {
			newly += r.Change.NewlyFailingCount
		}
	}
	if failed == 0 {
		return ""
	}
	s := fmt.Sprintf("%d of %d tests failed", failed, total)
	if newly > 0 {
		s += fmt.Sprintf(", %d newly", newly)
	}
	return s
}

// reportTable lists the reports of a build. The change of each is against another build, whose page url gives.
func reportTable(s *strings.Builder, b *store.Build, page string, url func(build string) string) {
	if len(b.Reports) == 0 {
		return
	}
	tests := slices.ContainsFunc(b.Reports, func(r store.ReportSummary) bool { return r.Type != store.ReportCoverage })
	coverage := slices.ContainsFunc(b.Reports, func(r store.ReportSummary) bool { return r.Type == store.ReportCoverage })
	change := slices.ContainsFunc(b.Reports, func(r store.ReportSummary) bool { return r.Change != nil })
	row := func(report, result string, counts [4]string, lines, changed string) {
		cells := []string{report, result}
		if tests {
			cells = append(cells, counts[:]...)
		}
		if coverage {
			cells = append(cells, lines)
		}
		if change {
			cells = append(cells, changed)
		}
		s.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	s.WriteString("\n### Reports\n\n")
	row("Report", "Result", [4]string{"Tests", "Failed", "Skipped", "Duration"}, "Lines covered", "Change")
	row("---", "---", [4]string{"---", "---", "---", "---"}, "---", "---")
	for i := range b.Reports {
		r := &b.Reports[i]
		var counts [4]string
		lines := ""
		if r.Type == store.ReportCoverage {
			lines = linesCovered(r)
		} else {
			c := r.Counts
			counts = [4]string{strconv.Itoa(c.Total), strconv.Itoa(c.Failed + c.Error), strconv.Itoa(c.Skipped), duration(r.Duration)}
		}
		row(fmt.Sprintf("[%s](%s)", code(cut(Plain(r.Group), shownName)), reportPage(page, i)), r.Status, counts, lines, changed(r, url))
	}
}

// reportPage is the page of the build's report of that index.
func reportPage(page string, index int) string { return Below(page, "reports/"+strconv.Itoa(index)) }

// linesCovered says how many lines a coverage report counts as covered, and how that has changed: "81.2 % (+0.4)".
func linesCovered(r *store.ReportSummary) string {
	p, ok := r.Coverage.LinePercent()
	if !ok {
		return "no lines"
	}
	s := Percent(p)
	if c := r.Change; c != nil && c.LinesKnown {
		s += " (" + Points(p-c.LinesBefore) + ")"
	}
	return s
}

// changed says how a report differs from an earlier build's.
func changed(r *store.ReportSummary, url func(build string) string) string {
	c := r.Change
	if c == nil {
		return ""
	}
	s := ""
	if r.Type != store.ReportCoverage {
		if s = Differences(c); s == "" {
			s = "none"
		}
		s += " "
	}
	s += fmt.Sprintf("versus [#%d](%s)", c.Number, url(c.Build))
	if c.Ref != "" {
		s += " of " + code(cut(Plain(c.Ref), shownName))
	}
	return s
}

// Differences counts the tests that differ from those of an earlier build: "1 newly failing, 2 fixed". It is empty if none do.
func Differences(c *store.ReportChange) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{c.NewlyFailingCount, "newly failing"}, {c.FixedCount, "fixed"}, {c.SlowerCount, "slower"}, {c.Added, "added"}, {c.Removed, "removed"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

// reportSections tell of each report what its row does not: what is wrong with it, the tests that failed, and those that do so
// no longer or take longer. All of it has at most room characters, which the reports share alike.
func reportSections(b *store.Build, page string, room int) string {
	var telling []int
	for i := range b.Reports {
		r := &b.Reports[i]
		if len(r.Problems) > 0 || len(r.Failing) > 0 || r.Change != nil && len(r.Change.Fixed)+len(r.Change.Slower) > 0 {
			telling = append(telling, i)
		}
	}
	var all strings.Builder
	for n, i := range telling {
		s := reportSection(&b.Reports[i], reportPage(page, i), room/(len(telling)-n))
		room -= utf8.RuneCountInString(s)
		all.WriteString(s)
	}
	return all.String()
}

// A sheet is text of a length that is not exceeded.
type sheet struct {
	strings.Builder
	room int // characters
}

// add adds text, unless there is no room for it.
func (s *sheet) add(text string) bool {
	n := utf8.RuneCountInString(text)
	if n > s.room {
		return false
	}
	s.room -= n
	s.WriteString(text)
	return true
}

func reportSection(r *store.ReportSummary, link string, room int) string {
	more := func(n int, what string) string {
		return fmt.Sprintf("\nand %d more %s on [its page](%s).\n", n, what, link)
	}
	// What says that there is more has its room from the beginning.
	s := sheet{room: room - 2*utf8.RuneCountInString(more(math.MaxInt, "failing tests"))}
	if !s.add("\n### " + code(cut(Plain(r.Group), shownName)) + "\n\n") {
		return ""
	}
	for i, p := range r.Problems {
		if !s.add("- " + text(cut(Plain(p), shownProblem)) + "\n") {
			s.WriteString(more(len(r.Problems)-i, "problems"))
			break
		}
	}
	failing := failingOf(r)
	shown := 0
	for _, c := range failing {
		if !s.add(failedTest(r, c)) {
			break
		}
		shown++
	}
	if all := max(r.Counts.Failed+r.Counts.Error, len(failing)); all > shown {
		s.WriteString(more(all-shown, "failing tests"))
	}
	if c := r.Change; c != nil {
		s.add(nameList("Fixed", c.Fixed, c.FixedCount))
		s.add(nameList("Slower", c.Slower, c.SlowerCount))
	}
	return s.String()
}

// failedTest is a test that failed, with its place and the first lines of why.
func failedTest(r *store.ReportSummary, c *store.TestCase) string {
	s := "\n" + code(cut(Plain(c.FullName()), shownName))
	if NewlyFailing(r, c) {
		s += " **newly failing**"
	}
	if c.File != "" {
		place := cut(Plain(c.File), shownName)
		if c.Line > 0 {
			place += ":" + strconv.Itoa(c.Line)
		}
		s += " at " + code(place)
	}
	s += "\n\n"
	message := strings.TrimRight(strings.Trim(Plain(c.Message), "\n"), " \t\n")
	if message == "" {
		return s
	}
	lines := strings.SplitN(cut(message, shownMessage), "\n", shownLines+1)
	if len(lines) > shownLines {
		lines[shownLines] = "…"
	}
	return s + block(lines)
}

// nameList names the first tests of a list.
func nameList(word string, names []string, count int) string {
	if len(names) == 0 {
		return ""
	}
	var list []string
	for _, n := range names[:min(len(names), shownNames)] {
		list = append(list, code(cut(Plain(n), shownName)))
	}
	s := "\n" + word + ": " + strings.Join(list, ", ")
	if more := max(count, len(names)) - len(list); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s + ".\n"
}
