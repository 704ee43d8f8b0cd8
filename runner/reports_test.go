package runner

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"buildsmith/store"
)

// TestSummariesFit shortens summaries of every size to what a build's record may hold, the numbers last.
func TestSummariesFit(t *testing.T) {
	long := strings.Repeat("<ü>", 600)
	big := func() *store.ReportSummary {
		s := &store.ReportSummary{Group: long, Counts: store.CaseCounts{Total: 9, Failed: 9}, Change: &store.ReportChange{Build: "b", FixedCount: 7}}
		for range store.MaxFailing {
			s.Failing = append(s.Failing, store.TestCase{Name: long, Prefix: long, Message: long, Status: store.CaseFailed})
			s.Change.Fixed = append(s.Change.Fixed, long)
		}
		for range store.MaxReportProblems {
			s.Problems = append(s.Problems, long)
		}
		return s
	}
	last := 1 << 30
	for _, room := range []int{10 << 20, 500 << 10, 100 << 10, 30 << 10, 4 << 10} {
		s := big()
		n := fit(s, room)
		text, err := json.Marshal(s)
		if err != nil || len(text) != n || n > room || n > last {
			t.Errorf("room for %d: told %d, has %d, %v", room, n, len(text), err)
		}
		if !utf8.Valid(text) || strings.Contains(string(text), `\ufffd`) || s.Counts.Failed != 9 || s.Change.FixedCount != 7 || s.Change.Build != "b" {
			t.Errorf("room for %d: %.500s", room, text)
		}
		last = n
	}
	small := &store.ReportSummary{Group: "unit", Failing: []store.TestCase{{Name: "a", Message: "why"}}}
	if n := fit(small, 4<<10); n > 1000 || small.Failing[0].Message != "why" {
		t.Errorf("%d %+v", n, small)
	}
}
