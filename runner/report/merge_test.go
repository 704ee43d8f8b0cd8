package report

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

func cases(statuses ...string) Content {
	var c Content
	for i, s := range statuses {
		c.Cases = append(c.Cases, store.TestCase{Name: fmt.Sprint("t", i), Status: s, Duration: time.Second})
	}
	return c
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name     string
		files    []File
		problems []string
		want     string
	}{
		{"nothing", nil, nil, store.ReportIncomplete},
		{"no case", []File{{Name: "a"}}, nil, store.ReportSucceeded},
		{"succeeded", []File{{"a", cases(store.CaseSucceeded, store.CaseSkipped, store.CaseUnknown)}}, nil, store.ReportSucceeded},
		{"failed", []File{{"a", cases(store.CaseSucceeded)}, {"b", cases(store.CaseFailed)}}, nil, store.ReportFailed},
		{"error", []File{{"a", cases(store.CaseError)}}, nil, store.ReportFailed},
		{"missing", nil, []string{"No file matches *.xml."}, store.ReportIncomplete},
		{"failed and missing", []File{{"a", cases(store.CaseFailed)}}, []string{"b: is empty"}, store.ReportIncomplete},
	} {
		r := Make("unit", "JUNITXML", tt.files, tt.problems)
		if r.Status != tt.want {
			t.Errorf("%s: the status is %s, want %s", tt.name, r.Status, tt.want)
		}
		if r.Group != "unit" || r.Type != store.ReportTest || r.Format != "JUNITXML" || len(r.Files) != len(tt.files) {
			t.Errorf("%s: the report is %+v", tt.name, r)
		}
		if (r.Status == store.ReportIncomplete) != (len(r.Problems) > 0) {
			t.Errorf("%s: an incomplete report says %q", tt.name, r.Problems)
		}
	}
	if r := Make("g", "LCOV", nil, nil); r.Type != store.ReportCoverage || r.Problems[0] != "No file of the report was found." {
		t.Errorf("a report of nothing is %+v", r)
	}
}

func TestMakeOrder(t *testing.T) {
	r := Make("g", "JUNITXML", []File{{"b", cases(store.CaseFailed, store.CaseSucceeded)}, {"a", cases(store.CaseError)}}, []string{"x\ny"})
	var got []string
	for _, c := range r.Cases {
		got = append(got, c.Name+" "+c.Status)
	}
	if want := []string{"t0 FAILED", "t1 SUCCEEDED", "t0 ERROR"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the cases are %q, want %q", got, want)
	}
	if !reflect.DeepEqual(r.Files, []string{"b", "a"}) || !reflect.DeepEqual(r.Problems, []string{"x y"}) {
		t.Errorf("the report has the files %q and the problems %q", r.Files, r.Problems)
	}
}

// TestKeepsFailed adds more cases than a report may have, those that fail last.
func TestKeepsFailed(t *testing.T) {
	b := NewBuilder("g", "JUNITXML")
	for i := range 25 {
		var c Content
		for j := range 20_000 {
			one := store.TestCase{Name: fmt.Sprint(i, ".", j), Status: store.CaseSucceeded}
			if i >= 24 && j >= 10_000 {
				one.Status = store.CaseFailed
			}
			c.Cases = append(c.Cases, one)
		}
		c.Dropped = 1
		b.Add(fmt.Sprint(i), c)
	}
	r := b.Report()
	if len(r.Cases) != MaxCases || r.Dropped != 500_000-MaxCases+25 {
		t.Errorf("%d cases are kept and %d dropped", len(r.Cases), r.Dropped)
	}
	s := Summarize(&r)
	if s.Counts.Failed != 10_000 || s.Counts.Succeeded != 190_000 || r.Cases[0].Name != "0.0" || r.Cases[189_999].Name != "9.9999" {
		t.Errorf("the counts are %+v, the first case is %s, the last one that succeeded is %s", s.Counts, r.Cases[0].Name, r.Cases[189_999].Name)
	}
}

func TestKeepsText(t *testing.T) {
	b := NewBuilder("g", "JUNITXML")
	message := strings.Repeat("x", 10_000)
	var c Content
	for i := range 10_000 {
		status := store.CaseSkipped
		if i >= 5_000 {
			status = store.CaseFailed
		}
		c.Cases = append(c.Cases, store.TestCase{Name: "a", Message: message, Status: status})
	}
	b.Add("a", c)
	b.Add("b", c)
	r := b.Report()
	size, failed := 0, 0
	for i := range r.Cases {
		size += textSize(&r.Cases[i])
		if r.Cases[i].Failed() {
			failed++
		}
	}
	if size > MaxText || size < MaxText-20_000 || failed != len(r.Cases) || r.Dropped != 20_000-len(r.Cases) {
		t.Errorf("%d cases with %d bytes are kept, %d of them failed, %d are dropped", len(r.Cases), size, failed, r.Dropped)
	}
}

func TestManyFilesAndProblems(t *testing.T) {
	b := NewBuilder("g", "LCOV")
	for i := range 12_000 {
		b.Add(fmt.Sprint(i), Content{})
		b.Problem(fmt.Sprint("problem ", i))
	}
	r := b.Report()
	if len(r.Files) != maxFileNames || len(r.Problems) != maxProblems {
		t.Errorf("%d files and %d problems are kept", len(r.Files), len(r.Problems))
	}
	if s := Summarize(&r); len(s.Problems) != store.MaxReportProblems {
		t.Errorf("%d problems are in the summary", len(s.Problems))
	}
}

func parsed(t *testing.T, format, text string) File {
	t.Helper()
	return File{"x", mustParse(t, format, text, nil)}
}

func TestMergeCoverage(t *testing.T) {
	lcovA := parsed(t, "LCOV", "SF:a\nDA:1,1\nDA:2,0\nDA:3,0\nBRDA:1,0,0,1\nBRDA:1,0,1,0\nend_of_record\nSF:b\nDA:1,1\nend_of_record\n")
	lcovB := parsed(t, "LCOV", "SF:a\nDA:1,0\nDA:2,1\nDA:3,0\nBRDA:1,0,0,0\nBRDA:1,0,1,1\nend_of_record\n")
	numbers := parsed(t, "LCOV", "SF:a\nLF:4\nLH:3\nBRF:2\nBRH:0\nend_of_record\n")
	empty := parsed(t, "LCOV", "SF:a\nend_of_record\n")
	clover := func(ran, statements int, lines string) File {
		return parsed(t, "CLOVERXML", fmt.Sprintf(`<coverage><project><file name="a"><metrics statements="%d" coveredstatements="%d"
			conditionals="2" coveredconditionals="1"/>%s</file></project></coverage>`, statements, ran, lines))
	}
	cobertura := func(hits int, conditions string) File {
		return parsed(t, "COBERTURAXML", fmt.Sprintf(`<coverage><packages><package><classes><class filename="a"><lines>
			<line number="1" hits="%d" branch="true" condition-coverage="%s"/><line number="2" hits="0"/></lines></class></classes></package></packages></coverage>`,
			hits, conditions))
	}
	jacoco := parsed(t, "JACOCOXML", `<report><package name="p"><sourcefile name="A.java"><line nr="3" mi="0" ci="1" mb="1" cb="1"/>
		<counter type="LINE" missed="0" covered="1"/><counter type="BRANCH" missed="1" covered="1"/></sourcefile></package></report>`)
	byHand := File{"x", Content{Coverage: []store.FileCoverage{{Path: "a", Coverage: store.Coverage{LinesCovered: 1, LinesMissed: 1}}}}}
	for _, tt := range []struct {
		name  string
		files []File
		want  string
	}{
		{"one", []File{lcovA}, "a 1+2 1+1, b 1+0 0+0"},
		{"lines add up", []File{lcovA, lcovB}, "a 2+1 2+0, b 1+0 0+0"},
		{"the same twice", []File{lcovA, lcovA}, "a 1+2 1+1, b 1+0 0+0"},
		{"numbers", []File{numbers}, "a 3+1 0+2"},
		{"the best of numbers and lines", []File{lcovA, numbers}, "a 3+1 1+1, b 1+0 0+0"},
		{"the best the other way", []File{numbers, lcovA}, "a 3+1 1+1, b 1+0 0+0"},
		{"one without code", []File{empty, lcovA}, "a 1+2 1+1, b 1+0 0+0"},
		{"clover alone", []File{clover(3, 5, `<line num="1" type="stmt" count="1"/>`)}, "a 3+2 1+1"},
		{"clover twice", []File{clover(1, 2, `<line num="1" type="stmt" count="1"/><line num="2" type="stmt" count="0"/>`),
			clover(1, 2, `<line num="1" type="stmt" count="0"/><line num="2" type="cond" truecount="1" falsecount="0"/>`)}, "a 2+0 1+1"},
		{"clover without metrics", []File{parsed(t, "CLOVERXML", `<coverage><project><file name="a"><line num="1" type="stmt" count="1"/>
			<line num="2" type="method" count="1"/></file></project></coverage>`)}, "a 1+0 0+0"},
		{"clover without lines", []File{clover(1, 4, ""), clover(2, 4, "")}, "a 2+2 1+1"},
		{"clover that covers too much", []File{clover(9, 4, "")}, "a 4+0 1+1"},
		{"cobertura", []File{cobertura(0, "50% (1/2)"), cobertura(2, "100% (2/2)")}, "a 1+1 2+0"},
		{"cobertura with odd conditions", []File{cobertura(1, "50%"), cobertura(1, "(7/2)")}, "a 1+1 2+0"},
		{"jacoco", []File{jacoco, jacoco}, "p/A.java 1+0 1+1"},
		{"by hand", []File{byHand}, "a 1+1 0+0"},
		{"by hand and lines", []File{byHand, lcovA}, "a 1+1 1+1, b 1+0 0+0"},
	} {
		var got []string
		for range 2 { // Make leaves what it is given as it is.
			r := Make("g", "LCOV", tt.files, nil)
			got = got[:0]
			for _, f := range r.Coverage {
				got = append(got, fmt.Sprintf("%s %d+%d %d+%d", f.Path, f.LinesCovered, f.LinesMissed, f.BranchesCovered, f.BranchesMissed))
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("%s: the coverage is %s, want %s", tt.name, strings.Join(got, ", "), tt.want)
			}
		}
	}
}

func TestManyCovered(t *testing.T) {
	var text strings.Builder
	for i := range MaxCovered + 10 {
		fmt.Fprintf(&text, "SF:f%07d\nDA:1,1\nend_of_record\n", i)
	}
	f := parsed(t, "LCOV", text.String())
	if len(f.Content.Coverage) != MaxCovered || f.Content.Dropped != 10 {
		t.Errorf("%d files are kept and %d dropped", len(f.Content.Coverage), f.Content.Dropped)
	}
	r := Make("g", "LCOV", []File{f, parsed(t, "LCOV", "SF:f\nDA:1,1\nend_of_record\n")}, nil)
	if len(r.Coverage) != MaxCovered || r.Dropped != 11 || r.Coverage[0].Path != "f0000000" {
		t.Errorf("%d files are kept and %d dropped", len(r.Coverage), r.Dropped)
	}
}

// manyLined is a record of n lines, every other of which ran.
func manyLined(path string, n int) *record {
	r := newRecord(path)
	r.marks = make([]uint32, n)
	for i := range r.marks {
		r.marks[i] = uint32(i+1)<<1 | uint32(i&1)
	}
	return r
}

// TestManyLines merges more lines than are kept singly: the numbers stay right where a file is told of once.
func TestManyLines(t *testing.T) {
	b := NewBuilder("g", "LCOV")
	b.files.lines = maxLines - 1_000 // of other files
	for i := range 6 {
		c := Content{Coverage: make([]store.FileCoverage, 1), records: []*record{manyLined(fmt.Sprint(i), 300)}}
		b.Add("x", c)
		b.Add("x", c)
	}
	r := b.Report()
	for _, f := range r.Coverage {
		if f.LinesCovered != 150 || f.LinesMissed != 150 {
			t.Errorf("the coverage of %s is %+v", f.Path, f.Coverage)
		}
	}
	if b.files.lines > maxLines || len(r.Coverage) != 6 {
		t.Errorf("%d lines are kept of %d files", b.files.lines, len(r.Coverage))
	}
}

func TestTooManyLines(t *testing.T) {
	var l fileList
	var failure string
	l.fail = func(format string, args ...any) { failure = fmt.Sprintf(format, args...) }
	l.add(manyLined("a", maxLines))
	if failure != "" {
		t.Fatalf("%d lines are refused: %s", maxLines, failure)
	}
	l.add(manyLined("b", 1))
	if want := "tells of more than 16777216 lines or 4194304 branches"; failure != want || len(l.list) != 1 {
		t.Errorf("one more line is refused with %q, want %q", failure, want)
	}

	l, failure = fileList{fail: l.fail}, ""
	r := newRecord("a")
	r.branches = make([]branch, maxBranches)
	r.taken(1, "b", true)
	r.taken(1, "c", true)
	if l.add(r); failure == "" || len(r.branches) != maxBranches+1 {
		t.Errorf("%d branches are taken of %d", len(r.branches), maxBranches)
	}
}

func TestSummarize(t *testing.T) {
	c := cases(store.CaseSucceeded, store.CaseFailed, store.CaseError, store.CaseSkipped, store.CaseUnknown, store.CaseFailed)
	c.Cases[1].Message = strings.Repeat("é", 2_000)
	r := Make("unit", "JUNITXML", []File{{"a", c}}, []string{"b: is empty"})
	s := Summarize(&r)
	if want := (store.CaseCounts{Total: 6, Succeeded: 1, Failed: 2, Error: 1, Skipped: 1, Unknown: 1}); s.Counts != want {
		t.Errorf("the counts are %+v, want %+v", s.Counts, want)
	}
	if s.Group != "unit" || s.Type != store.ReportTest || s.Format != "JUNITXML" || s.Status != store.ReportIncomplete || s.Files != 0 ||
		s.Change != nil || s.Duration != 6*time.Second || !reflect.DeepEqual(s.Problems, []string{"b: is empty"}) {
		t.Errorf("the summary is %+v", s)
	}
	if len(s.Failing) != 3 || s.Failing[0].Name != "t1" || s.Failing[1].Name != "t2" || s.Failing[2].Name != "t5" {
		t.Errorf("failing are %+v", s.Failing)
	}
	if got := s.Failing[0].Message; got != strings.Repeat("é", maxFailingMessage-1)+"…" || len(r.Cases[1].Message) != 4_000 {
		t.Errorf("the message is cut to %d bytes in the summary and %d in the report", len(got), len(r.Cases[1].Message))
	}

	r = store.Report{Type: store.ReportTest}
	for range 1_000 {
		r.Cases = append(r.Cases, store.TestCase{Name: strings.Repeat("x", 4_000), Status: store.CaseFailed, Duration: maxDuration})
	}
	s = Summarize(&r)
	if len(s.Failing) != 66 || s.Duration != math.MaxInt64 {
		t.Errorf("%d long cases are failing, for %v", len(s.Failing), s.Duration)
	}
	for i := range r.Cases {
		r.Cases[i].Name = "x"
	}
	if s = Summarize(&r); len(s.Failing) != store.MaxFailing || s.Counts.Failed != 1_000 {
		t.Errorf("%d cases are failing of %d", len(s.Failing), s.Counts.Failed)
	}

	r = Make("cover", "LCOV", []File{parsed(t, "LCOV", "SF:a\nDA:1,1\nDA:2,0\nend_of_record\nSF:b\nDA:1,1\nBRDA:1,0,0,1\nend_of_record\n")}, nil)
	s = Summarize(&r)
	if want := (store.Coverage{LinesCovered: 2, LinesMissed: 1, BranchesCovered: 1}); s.Coverage != want || s.Files != 2 {
		t.Errorf("the coverage is %+v of %d files, want %+v of 2", s.Coverage, s.Files, want)
	}
}
