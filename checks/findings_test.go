package checks

import (
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
)

// TestFindings has findings of all kinds, and some whose place cannot be one.
func TestFindings(t *testing.T) {
	b := failedBuild()
	b.Findings = []store.Finding{
		{Path: "./a.go", Line: 3, Column: 7, Level: store.FindingWarning, Message: " unused\x1b[31m ", Tool: "go vet"},
		{Path: "b.go", Line: 1, Level: store.FindingError, Message: "no", Column: -5},
		{Path: "c.go", Line: 2, Level: store.FindingNotice, Message: "hm"},
		{Path: "../../etc/passwd", Line: 1, Level: store.FindingError, Message: "x"},
		{Path: "/etc/passwd", Line: 1, Level: store.FindingError, Message: "x"},
		{Path: "d.go", Line: 0, Level: store.FindingError, Message: "x"},
		{Path: "d.go", Line: 1, Level: store.FindingError, Message: " "},
		{Path: "d\n.go", Line: 1, Level: store.FindingError, Message: "x"},
	}
	want := []Annotation{
		{Path: "b.go", Line: 1, Level: LevelFailure, Message: "no"},
		{Path: "a.go", Line: 3, Column: 7, Level: LevelWarning, Title: "go vet", Message: "unused"},
		{Path: "c.go", Line: 2, Level: LevelNotice, Message: "hm"},
	}
	if got := Render(b, options)[0].Annotations; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	b = failedBuild()
	b.Notes = []string{"It uses the secrets of @octocat.", "Second\nline."}
	if s := Render(b, options)[0].Summary; !strings.HasPrefix(s, "**Note:** It uses the secrets of @\u200doctocat.\n\n**Note:** Second line.\n\nBUILD: ") {
		t.Error(s[:200])
	}
}

// TestButtons holds the buttons to GitHub's limits, and to the checks that have them.
func TestButtons(t *testing.T) {
	succeeded := failedBuild()
	succeeded.Status = store.Succeeded
	notice := &store.Notice{ID: "n", Check: "buildsmith", Conclusion: store.ActionRequired, Trigger: store.Trigger{PullRequest: 7}}
	waiting := RenderNotice(notice, options)
	skipped := RenderNotice(&store.Notice{ID: "n", Check: "buildsmith", Conclusion: store.SkippedNotice, Trigger: store.Trigger{PullRequest: 7}}, options)
	branch := RenderNotice(&store.Notice{ID: "n", Check: "buildsmith", Conclusion: store.ActionRequired}, options)
	queued := &store.Build{ID: "q", Check: "buildsmith", Status: store.InProgress}
	for name, tt := range map[string]struct {
		report Report
		want   string
	}{
		"failed":               {Render(failedBuild(), options)[0], "rerun_failed rerun_clean"},
		"succeeded":            {Render(succeeded, options)[0], "rerun_clean"},
		"queued":               {Render(queued, options)[0], ""},
		"phase":                {Render(failedBuild(), options)[1], ""},
		"waiting for approval": {waiting, "approve"},
		"skipped":              {skipped, ""},
		"no pull request":      {branch, ""},
	} {
		var got []string
		for _, a := range tt.report.Actions {
			got = append(got, a.Identifier)
			if len(a.Label) > 20 || len(a.Description) > 40 || len(a.Identifier) > 20 || a.Label == "" || a.Description == "" {
				t.Errorf("%s: %+v is too long or empty", name, a)
			}
		}
		if strings.Join(got, " ") != tt.want || len(got) > 3 {
			t.Errorf("%s: %v, want %s", name, got, tt.want)
		}
	}
}

// TestLongNames has a project with the longest name there is: its checks have names of at most 100 characters, each its own and
// always the same.
func TestLongNames(t *testing.T) {
	b := failedBuild()
	b.Check = "buildsmith (" + strings.Repeat("x", 150) + ")"
	seen := map[string]bool{}
	for range 2 {
		for _, r := range Render(b, Options{Phases: true, Statuses: StatusesBeside, URL: options.URL}) {
			if n := len([]rune(r.Name)); n > maxName {
				t.Errorf("%d characters: %s", n, r.Name)
			}
			seen[r.Key()] = true
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d names: %v", len(seen), seen)
	}
	if checkName("buildsmith") != "buildsmith" {
		t.Error("a short name is changed")
	}
}
