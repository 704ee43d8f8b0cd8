package report

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// of makes a report of cases written as "name status seconds", with P, F, E, S and U for the statuses.
func of(text ...string) *store.Report {
	r := &store.Report{Type: store.ReportTest}
	for _, one := range text {
		f := strings.Fields(one)
		c := store.TestCase{Name: f[0], Prefix: "p"}
		c.Status = map[string]string{"P": store.CaseSucceeded, "F": store.CaseFailed, "E": store.CaseError, "S": store.CaseSkipped, "U": store.CaseUnknown}[f[1]]
		if len(f) > 2 {
			c.Duration, _ = time.ParseDuration(f[2])
		}
		r.Cases = append(r.Cases, c)
	}
	return r
}

func TestCompare(t *testing.T) {
	list := func(s string) []string { return strings.Fields(s) }
	for _, tt := range []struct {
		name                string
		before, after       []string
		failing, fixed, slo string
		added, removed      int
	}{
		{"nothing", nil, nil, "", "", "", 0, 0},
		{"same", list2("a P", "b F", "c S"), list2("a P", "b F", "c S"), "", "", "", 0, 0},
		{"fails now", list2("a P", "b S", "c U"), list2("c F", "a E", "b F"), "p.c p.a p.b", "", "", 0, 0},
		{"fails otherwise", list2("a F"), list2("a E"), "", "", "", 0, 0},
		{"new and failing", nil, list2("a F", "b P"), "p.a", "", "", 2, 0},
		{"fixed", list2("a F", "b E", "c F", "d F", "e F"), list2("a P", "b P", "c S", "d U"), "", "p.a p.b", "", 0, 1},
		{"gone", list2("a F", "b P"), nil, "", "", "", 0, 2},
		{"slower", list2("a P 1s", "b P 1s", "c P 10s", "d P 100ms", "e P 0s", "f P 2s", "g P 2s"),
			list2("a P 2s", "b P 1900ms", "c P 12s", "d P 900ms", "e P 1s", "f P 3s", "g P 60s"), "", "", "p.g p.a p.e p.f", 0, 0},
		{"slower to fail", list2("a P 1s", "b F 1s", "c S"), list2("a F 9s", "b P 9s", "c P 9s"), "p.a", "p.b", "", 0, 0},
		{"new and slow", nil, list2("a P 9s"), "", "", "", 1, 0},
		{"alike in another order", list2("a P 1s", "a F", "a P 9s"), list2("a F", "a P 9s", "a P 1s"), "", "", "", 0, 0},
		{"alike, one more fails", list2("a P", "a F", "a P"), list2("a F", "a P", "a F"), "p.a", "", "", 0, 0},
		{"alike, one is fixed", list2("a F", "a F"), list2("a F", "a P"), "", "p.a", "", 0, 0},
		{"alike, the one that failed is gone", list2("a P", "a F"), list2("a P"), "", "", "", 0, 1},
		{"alike, a new one fails", list2("a P"), list2("a P", "a F"), "p.a", "", "", 1, 0},
		{"alike, slower together", list2("a P 1s", "a P 1s"), list2("a P 2s", "a P 2s"), "", "", "p.a", 0, 0},
		{"alike, more of them", list2("a P 1s"), list2("a P 1s", "a P 2s"), "", "", "", 1, 0},
	} {
		got := Compare(of(tt.before...), of(tt.after...))
		want := store.ReportChange{NewlyFailing: list(tt.failing), Fixed: list(tt.fixed), Slower: list(tt.slo), Added: tt.added, Removed: tt.removed}
		want.NewlyFailingCount, want.FixedCount, want.SlowerCount = len(want.NewlyFailing), len(want.Fixed), len(want.Slower)
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, want)
		}
	}
}

func list2(s ...string) []string { return s }

func TestCompareBounds(t *testing.T) {
	var before, after []string
	for i := range 300 {
		status := []string{"P F", "F P", "P P"}[i%3]
		was, is, _ := strings.Cut(status, " ")
		before = append(before, fmt.Sprintf("t%03d %s 1s", i, was))
		after = append(after, fmt.Sprintf("t%03d %s 9s", i, is))
	}
	c := Compare(of(before...), of(after...))
	if len(c.NewlyFailing) != store.MaxChanged || len(c.Fixed) != store.MaxChanged || len(c.Slower) != store.MaxChanged ||
		c.NewlyFailingCount != 100 || c.FixedCount != 100 || c.SlowerCount != 100 {
		t.Errorf("the lists have %d, %d and %d names of %d, %d and %d", len(c.NewlyFailing), len(c.Fixed), len(c.Slower),
			c.NewlyFailingCount, c.FixedCount, c.SlowerCount)
	}
	if c.NewlyFailing[0] != "p.t000" || c.Fixed[0] != "p.t001" || c.Slower[0] != "p.t002" || c.Slower[49] != "p.t149" {
		t.Errorf("the lists begin with %s, %s and %s", c.NewlyFailing[0], c.Fixed[0], c.Slower[0])
	}
}

func TestCompareCoverage(t *testing.T) {
	cover := func(covered, missed int) *store.Report {
		return &store.Report{Type: store.ReportCoverage, Coverage: []store.FileCoverage{
			{Path: "a", Coverage: store.Coverage{LinesCovered: covered}}, {Path: "b", Coverage: store.Coverage{LinesMissed: missed}}}}
	}
	if got, want := Compare(cover(3, 1), cover(1, 1)), (store.ReportChange{LinesBefore: 75, LinesKnown: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("Compare = %+v, want %+v", got, want)
	}
	if got := Compare(cover(0, 0), cover(1, 1)); got.LinesKnown {
		t.Errorf("Compare with a report without lines = %+v", got)
	}
}
