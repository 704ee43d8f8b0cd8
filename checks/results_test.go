package checks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"buildsmith/store"
)

// reported is the failed build with reports: of tests, of coverage, and one that is incomplete.
func reported() *store.Build {
	b := failedBuild()
	change := &store.ReportChange{Build: "b0", Number: 6, Ref: "main", NewlyFailing: []string{"shop.Cart.rounds"}, NewlyFailingCount: 1,
		Fixed: []string{"shop.Cart.empty"}, FixedCount: 1, Slower: []string{"a", "b", "c", "d", "e", "f"}, SlowerCount: 9, Added: 4}
	b.Reports = []store.ReportSummary{
		{Group: "shop-unit", Type: store.ReportTest, Status: store.ReportFailed, Counts: store.CaseCounts{Total: 120, Succeeded: 115, Failed: 2, Error: 1, Skipped: 2},
			Duration: 4100 * time.Millisecond, Change: change, Failing: []store.TestCase{
				{Name: "old", Status: store.CaseFailed, Message: "expected 1\ngot 2\n", File: "cart_test.go", Line: 7},
				{Prefix: "shop.Cart", Name: "rounds", Status: store.CaseError, Message: "\n  panic: ``` \x1b[31mred\x1b[0m\n", File: "./test/cart_test.go", Line: 42},
				{Name: "nowhere", Status: store.CaseFailed}}},
		{Group: "cover", Type: store.ReportCoverage, Status: store.ReportSucceeded, Coverage: store.Coverage{LinesCovered: 812, LinesMissed: 188}, Files: 9,
			Change: &store.ReportChange{Build: "b0", Number: 6, Ref: "main", LinesBefore: 80.8, LinesKnown: true}},
		{Group: "e2e", Type: store.ReportTest, Status: store.ReportIncomplete, Problems: []string{"no file matches out/*.xml"}},
	}
	return b
}

func TestRenderReports(t *testing.T) {
	reports := Render(reported(), options)
	own := reports[0]
	if want := "Failed in BUILD: exit status 3; 3 of 120 tests failed, 1 newly"; own.Title != want {
		t.Errorf("title %q, want %q", own.Title, want)
	}
	for _, want := range []string{
		"| POST_BUILD | not run | |\n\n### Reports\n\n" +
			"| Report | Result | Tests | Failed | Skipped | Duration | Lines covered | Change |\n" +
			"| --- | --- | --- | --- | --- | --- | --- | --- |\n" +
			"| [`shop-unit`](https://ci.example.org/builds/b1/reports/0?k=key) | FAILED | 120 | 3 | 2 | 4.1 s |  | 1 newly failing, 1 fixed, 9 slower, 4 added versus [#6](https://ci.example.org/builds/b0?k=key) of `main` |\n" +
			"| [`cover`](https://ci.example.org/builds/b1/reports/1?k=key) | SUCCEEDED |  |  |  |  | 81.2 % (+0.4) | versus [#6](https://ci.example.org/builds/b0?k=key) of `main` |\n" +
			"| [`e2e`](https://ci.example.org/builds/b1/reports/2?k=key) | INCOMPLETE | 0 | 0 | 0 | 0.0 s |  |  |\n",
		"\n### `shop-unit`\n\n" +
			"\n`shop.Cart.rounds` **newly failing** at `./test/cart_test.go:42`\n\n````text\n  panic: ``` red\n````\n" +
			"\n`old` at `cart_test.go:7`\n\n```text\nexpected 1\ngot 2\n```\n" +
			"\n`nowhere`\n\n" +
			"\nFixed: `shop.Cart.empty`.\n" +
			"\nSlower: `a`, `b`, `c`, `d`, `e` and 4 more.\n" +
			"\n### `e2e`\n\n- no file matches out/\\*.xml\n" +
			"\n### Artifacts\n",
	} {
		if !strings.Contains(own.Summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, own.Summary)
		}
	}
	want := []Annotation{
		{Path: "test/cart_test.go", Line: 42, Level: LevelFailure, Title: "shop.Cart.rounds, newly failing", Message: "panic: ``` red"},
		{Path: "cart_test.go", Line: 7, Level: LevelFailure, Title: "old", Message: "expected 1\ngot 2"},
	}
	if !slices.Equal(own.Annotations, want) {
		t.Errorf("annotations %+v, want %+v", own.Annotations, want)
	}
	plain := Render(failedBuild(), options)
	for i, r := range reports[1:] {
		if r.Digest() != plain[i+1].Digest() {
			t.Errorf("the check %s of a phase has changed", r.Name)
		}
	}
}

func TestRenderReportsOfOtherBuilds(t *testing.T) {
	b := reported()
	b.Ended = time.Time{}
	if r := Render(b, options)[0]; r.Title != "Running" || len(r.Annotations) > 0 {
		t.Errorf("of a build that runs: %q, %d annotations", r.Title, len(r.Annotations))
	}
	for status, want := range map[store.Status]string{store.Succeeded: "Succeeded in 1 min 20 s; 3 of 120 tests failed, 1 newly", store.Fault: "Internal error in BUILD", store.Stopped: "Stopped in BUILD"} {
		b := reported()
		b.Status, b.Failure = status, nil
		if r := Render(b, options)[0]; r.Title != want {
			t.Errorf("%s: title %q, want %q", status, r.Title, want)
		}
	}
	b = failedBuild()
	b.Reports = []store.ReportSummary{{Group: "unit", Status: store.ReportSucceeded, Counts: store.CaseCounts{Total: 3, Succeeded: 3}, Change: &store.ReportChange{Number: 1}}}
	if r := Render(b, options)[0]; r.Title != "Failed in BUILD: exit status 3" || !strings.Contains(r.Summary, "| SUCCEEDED | 3 | 0 | 0 | 0.0 s | none versus [#1]") ||
		strings.Contains(r.Summary, "Lines covered") || strings.Contains(r.Summary, "### `unit`") {
		t.Errorf("%s\n%s", r.Title, r.Summary)
	}
	b.Secondary = []store.Artifacts{{ID: "docs", Name: "ma`nual|1", Files: 3, Size: 2000, SHA256: "123"}}
	b.Artifacts = nil
	if s := Render(b, options)[0].Summary; !strings.Contains(s, "### Artifacts\n\n\n| Secondary artifacts | Files | Size | SHA-256 |\n|---|---|---|---|\n"+
		"| [``docs: ma`nual¦1.zip``](https://ci.example.org/builds/b1/secondary/docs/artifacts.zip?k=key) | 3 | 2.0 kB | `123` |\n") {
		t.Error(s)
	}
}

// many is a build with as much in its reports as a build can keep.
func many(text string) *store.Build {
	b := reported()
	b.Reports = nil
	for range store.MaxReports {
		r := store.ReportSummary{Group: text, Type: store.ReportTest, Status: store.ReportFailed, Counts: store.CaseCounts{Total: 100_000, Failed: 99_999},
			Change: &store.ReportChange{Build: "b0", Number: 6, Ref: text}}
		for range store.MaxReportProblems {
			r.Problems = append(r.Problems, text)
		}
		for i := range store.MaxFailing {
			r.Failing = append(r.Failing, store.TestCase{Name: text, Prefix: text, Status: store.CaseFailed, Message: text, File: text, Line: i})
		}
		for range store.MaxChanged {
			r.Change.NewlyFailing, r.Change.Fixed, r.Change.Slower = append(r.Change.NewlyFailing, text+"."+text), append(r.Change.Fixed, text), append(r.Change.Slower, text)
		}
		b.Reports = append(b.Reports, r)
	}
	return b
}

func TestManyReports(t *testing.T) {
	b := many("a test of a name")
	s := Render(b, options)[0].Summary
	if n := utf8.RuneCountInString(s); n > maxSummary || n < maxSummary*9/10 {
		t.Errorf("%d characters", n)
	}
	if !strings.HasSuffix(s, "\n[Log and details](https://ci.example.org/builds/b1?k=key)\n") || strings.Count(s, "more failing tests on [its page]") != store.MaxReports {
		t.Errorf("%s", s[len(s)-2000:])
	}
	b.Reports = b.Reports[:1]
	b.Reports[0].Failing[0].Message = strings.Repeat("line\n", 50)
	s = Render(b, options)[0].Summary
	if want := strings.Repeat("line\n", shownLines) + "…\n```\n"; !strings.Contains(s, want) || !strings.Contains(s, "\nand 99899 more failing tests on [its page](https://ci.example.org/builds/b1/reports/0?k=key).\n") {
		t.Errorf("the summary lacks %q:\n%s", want, s)
	}
}

// TestManyAnnotations holds a check to what it may have: problems of the buildspec first, then failures, then what is less.
func TestManyAnnotations(t *testing.T) {
	b := many("x")
	b.Reports = b.Reports[:1]
	for i := range b.Reports[0].Failing {
		b.Reports[0].Failing[i].Line = i + 1
	}
	failing := len(b.Reports[0].Failing)
	for i := range 500 {
		b.Findings = append(b.Findings, store.Finding{Path: "main.c", Line: i + 1, Level: []string{store.FindingNotice, store.FindingWarning, store.FindingError, "?"}[i%4], Message: "odd", Tool: "gcc"})
	}
	b.Spec, b.Problems = "buildspec.yml", []store.Problem{{Line: 3, Message: "unknown key", Warning: true}}
	r := Render(b, options)[0]
	if len(r.Annotations) != maxAnnotations || r.Annotations[0].Path != "buildspec.yml" || r.Annotations[1].Path != "x" ||
		r.Annotations[failing+1] != (Annotation{Path: "main.c", Line: 3, Level: LevelFailure, Title: "gcc", Message: "odd"}) ||
		r.Annotations[failing+126].Level != LevelWarning || r.Annotations[failing+251].Level != LevelNotice {
		t.Errorf("%d annotations: %+v", len(r.Annotations), r.Annotations[:2])
	}
	if want := fmt.Sprintf("\n%d more remarks on lines have no annotation: a check has 500 at most.\n", failing+1+500-500); !strings.Contains(r.Summary, want) {
		t.Errorf("the summary lacks %q", want)
	}
}

// TestHostileReports holds what tests are called and what they print to do something in a check.
func TestHostileReports(t *testing.T) {
	for _, hostile := range []string{
		"</details><img src=x onerror=alert(1)>", "[x](http://evil) ![x](http://evil)", "@octocat", "```\n# owned\n```", "`````` ` ``", "a|b\n\n|c|", "\x1b]8;;http://evil\x07x\x1b[31m\x00",
		"\u202egpj.exe\u2066", "\r\n\r\n## owned\r\n", strings.Repeat("ü`\n", 5000), strings.Repeat("`", 5000), "\xff\xfe", "", " ", "\n",
	} {
		b := many(hostile)
		b.Reports = b.Reports[:3]
		r := Render(b, options)[0]
		if n := utf8.RuneCountInString(r.Summary); n > maxSummary || !utf8.ValidString(r.Summary) || strings.ContainsAny(r.Summary, "\x1b\x00\u202e\u2066\r") {
			t.Errorf("%.20q: the summary has %d characters, or some that it must not have", hostile, n)
		}
		fence, rows := "", 0
		for line := range strings.Lines(r.Summary) {
			line = strings.TrimSuffix(line, "\n")
			switch {
			case fence != "":
				if line == fence {
					fence = ""
				}
				continue
			case strings.HasPrefix(line, "```") && strings.HasSuffix(line, "text"):
				fence = strings.TrimSuffix(line, "text")
				continue
			case strings.HasPrefix(line, "| ["):
				rows++
			}
			outside := outsideCode(line)
			if strings.ContainsAny(outside, "<>@`") || strings.Contains(strings.ReplaceAll(outside, "\\[", ""), "](http://evil)") || strings.HasPrefix(line, "## ") || strings.HasPrefix(line, "# ") {
				t.Errorf("%.20q: the line %.300q", hostile, line)
			}
		}
		if fence != "" || rows != 4 {
			t.Errorf("%.20q: %d rows, fence %q left open:\n%s", hostile, rows, fence, r.Summary)
		}
	}
}

// outsideCode is what a line of Markdown has outside of code spans and of escapes.
func outsideCode(line string) string {
	var out strings.Builder
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '@':
			if strings.HasPrefix(line[i+1:], "\u200d") {
				continue
			}
			out.WriteByte('@')
		case '`':
			n := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
			end := -1
			for k := i + n; k < len(line); {
				if line[k] != '`' {
					k++
					continue
				}
				run := len(line[k:]) - len(strings.TrimLeft(line[k:], "`"))
				if run == n {
					end = k + run
					break
				}
				k += run
			}
			if end < 0 {
				out.WriteByte('`')
				continue
			}
			i = end - 1
		default:
			out.WriteByte(line[i])
		}
	}
	return strings.NewReplacer("&lt;", "", "&gt;", "").Replace(out.String())
}

func TestPlaces(t *testing.T) {
	for _, tt := range []struct {
		file string
		line int
		want string
	}{
		{"a_test.go", 3, "a_test.go:3"}, {"./b//c.js", 1, "b/c.js:1"}, {"ü/ö ä.py", 9, "ü/ö ä.py:9"},
		{"", 3, ":0"}, {".", 3, ":0"}, {"a.go", 0, ":0"}, {"a.go", -1, ":0"}, {"a.go", 1 << 40, ":0"}, {"/etc/passwd", 1, ":0"}, {"../x", 1, ":0"}, {"a/../../x", 1, ":0"},
		{"a\nb", 1, ":0"}, {"a\x1b[1m", 1, ":0"}, {"a\u202eb", 1, ":0"}, {`a\b`, 1, ":0"}, {"a\xff", 1, ":0"}, {strings.Repeat("x", 2000), 1, ":0"},
	} {
		file, line := PlaceOf(&store.TestCase{File: tt.file, Line: tt.line})
		if got := fmt.Sprintf("%s:%d", file, line); got != tt.want {
			t.Errorf("PlaceOf(%.20q, %d) = %s, want %s", tt.file, tt.line, got, tt.want)
		}
	}
}

func TestPercents(t *testing.T) {
	for p, want := range map[float64]string{0: "0.0 %", 0.01: "0.1 %", 81.25: "81.2 %", 99.99: "99.9 %", 100: "100.0 %", 14.3: "14.3 %", -1: "0.0 %"} {
		if got := Percent(p); got != want {
			t.Errorf("Percent(%v) = %q, want %q", p, got, want)
		}
	}
	for d, want := range map[float64]string{0: "±0", 0.04: "±0", -0.04: "±0", 0.4: "+0.4", -12.34: "-12.3"} {
		if got := Points(d); got != want {
			t.Errorf("Points(%v) = %q, want %q", d, got, want)
		}
	}
	for in, want := range map[string]string{"abc": "abc", "abcd": "ab…", "üüüü": "üü…", "": ""} {
		if got := cut(in, 3); got != want {
			t.Errorf("cut(%q) = %q, want %q", in, got, want)
		}
	}
}
