package checks

import (
	"slices"
	"testing"
	"time"

	"buildsmith/store"
)

// TestFigures has a build with everything that a figure can be made of, and one that came to nothing.
func TestFigures(t *testing.T) {
	o := Options{Figures: true, URL: func(id string, _ store.Repo) string { return "http://ci/builds/" + id + "?k=1" }}
	b := &store.Build{ID: "b", Check: "buildsmith", Project: "shop", Number: 7, Created: begin, Ended: begin.Add(90 * time.Second), Status: store.Failed,
		Trigger: store.Trigger{Commit: "c"}, Skeleton: []string{store.PhaseInstall, store.PhaseBuild, store.PhasePostBuild},
		Artifacts: &store.Artifacts{Files: 3}, Failure: &store.Failure{Phase: store.PhaseBuild, Command: "make \x1b[31mall\n", Exit: 2},
		Reports: []store.ReportSummary{{Counts: store.CaseCounts{Total: 5, Succeeded: 3, Failed: 1, Error: 1}}, {Coverage: store.Coverage{LinesCovered: 1, LinesMissed: 3}}}}
	b.Phases = []store.Phase{{Type: store.PhaseInstall, Status: store.Succeeded, Start: begin, End: begin.Add(time.Second)},
		{Type: store.PhaseBuild, Status: store.Failed, Start: begin.Add(time.Second), End: begin.Add(90 * time.Second)}}
	list := Render(b, o)
	r := list[len(list)-1]
	percent := 25.0
	want := []Figure{{Title: "Phases passed", Text: "1 of 3"}, {Title: "Duration", Duration: 90 * time.Second}, {Title: "Tests", Text: "3 of 5 passed, 2 failed"},
		{Title: "Lines covered", Percent: &percent}, {Title: "Artifacts", Text: "3 files", URL: "http://ci/builds/b/artifacts.zip?k=1"}}
	same := slices.EqualFunc(r.Figures, want, func(a, b Figure) bool {
		if a.Percent != nil && b.Percent != nil && *a.Percent == *b.Percent {
			a.Percent, b.Percent = nil, nil
		}
		return a == b
	})
	if r.Kind != KindReport || r.Name != "buildsmith" || r.Conclusion != Failure || !same {
		t.Errorf("%+v", r)
	}
	if r.Summary != "install: Succeeded in 1.0 s\nbuild: Failed in 1 min 29 s\npost_build: not run\nFailed with exit status 2: make all" {
		t.Errorf("%q", r.Summary)
	}
	if r.Title != "buildsmith #7: Failed in BUILD: exit status 2; 2 of 5 tests failed" {
		t.Errorf("%q", r.Title)
	}
	empty := &store.Build{ID: "e", Check: "buildsmith", Created: begin, Trigger: store.Trigger{Commit: "c"}}
	for _, r := range Render(empty, o) {
		if r.Kind == KindReport {
			t.Errorf("a build that waits has a report: %+v", r)
		}
	}
}

// TestByName has a forge that knows a check of a commit by its name alone: what an older build says is not told any more, not even its
// end; and the report is made where there is a place for it.
func TestByName(t *testing.T) {
	o := newOffice(t)
	o.board.byName, o.board.reports = true, true
	o.start()
	first := o.submit("c")
	o.shows(map[string]string{first.ID: "queued"})
	second := o.submit("c")
	o.change(second.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.shows(map[string]string{first.ID: "queued", second.ID: "completed success"})
	o.change(first.ID, func(b *store.Build) { b.End(store.Failed, begin) })
	o.silent()
	o.shows(map[string]string{first.ID: "queued", second.ID: "completed success"})
	reports := 0
	for _, line := range o.board.said() {
		if line == "report create buildsmith completed success" {
			reports++
		}
		if line == "report create buildsmith completed failure" {
			t.Error("the older build has a report")
		}
	}
	if reports != 1 {
		t.Errorf("%d reports: %q", reports, o.board.said())
	}
}
