package githubtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"
)

func TestPullRequestEdits(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	release := must[string](t)(s.Commit(shopRepo, "release", Change{Files: map[string]string{"r": "1"}}))
	s.commit("feature", map[string]string{"x": "1"})
	number, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature", Title: "Old", User: "mona"})
	if err != nil {
		t.Fatal(err)
	}
	s.SetHook(b.url)
	p := b.delivered1(t, "pull_request")(s.ChangeBase(shopRepo, number, "release"))
	expect(t, p, map[string]any{"action": "edited", "changes.base.ref.from": "main", "changes.base.sha.from": s.sha, "pull_request.base.ref": "release",
		"pull_request.base.sha": release, "sender.login": "mona"})
	p = b.delivered1(t, "pull_request")(s.Retitle(shopRepo, number, "New"))
	expect(t, p, map[string]any{"action": "edited", "changes.title.from": "Old", "pull_request.title": "New", "changes.base": nil})
	p = b.delivered1(t, "pull_request")(s.Label(shopRepo, number, "octo", "safe to test"))
	expect(t, p, map[string]any{"action": "labeled", "label.name": "safe to test", "pull_request.labels.0.name": "safe to test", "sender.login": "octo"})
	p = b.delivered1(t, "pull_request")(s.SetDraft(shopRepo, number, true))
	expect(t, p, map[string]any{"action": "converted_to_draft", "pull_request.draft": true, "pull_request.labels.0.name": "safe to test"})
	p = b.delivered1(t, "pull_request")(s.SetDraft(shopRepo, number, false))
	expect(t, p, map[string]any{"action": "ready_for_review", "pull_request.draft": false})
	p = b.delivered1(t, "pull_request")(s.Unlabel(shopRepo, number, "octo", "safe to test"))
	expect(t, p, map[string]any{"action": "unlabeled", "label.name": "safe to test", "pull_request.labels": "[]"})
	p = b.delivered1(t, "pull_request")(s.ClosePullRequest(shopRepo, number, true))
	merged := mustGit(t, must[string](t)(s.RepoDir(shopRepo)), "rev-parse", "refs/heads/release")
	expect(t, p, map[string]any{"action": "closed", "pull_request.merged": true, "pull_request.merge_commit_sha": merged})

	for what, err := range map[string]error{
		"a base of what is closed":  second(s.ChangeBase(shopRepo, number, "main")),
		"a draft of what is closed": second(s.SetDraft(shopRepo, number, true)),
		"a label that is not there": second(s.Unlabel(shopRepo, number, "octo", "x")),
		"a label without a name":    second(s.Label(shopRepo, number, "octo", "")),
		"no pull request":           second(s.Retitle(shopRepo, 99, "x")),
	} {
		if err == nil {
			t.Error(what)
		}
	}
}

func TestCommentEdits(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.commit("feature", map[string]string{"x": "1"})
	number, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature"})
	if err != nil {
		t.Fatal(err)
	}
	s.SetHook(b.url)
	comment, d, err := s.Comment(shopRepo, number, "dependabot[bot]", "/test")
	p := b.delivered1(t, "issue_comment")(d, err)
	expect(t, p, map[string]any{"action": "created", "comment.user.type": "Bot", "comment.performed_via_github_app.slug": "dependabot", "sender.type": "Bot"})
	p = b.delivered1(t, "issue_comment")(s.EditComment(comment.ID, "octo", "/test all"))
	expect(t, p, map[string]any{"action": "edited", "changes.body.from": "/test", "comment.body": "/test all", "sender.login": "octo"})
	p = b.delivered1(t, "issue_comment")(s.DeleteComment(comment.ID, "octo"))
	expect(t, p, map[string]any{"action": "deleted", "comment.id": comment.ID})
	if list := s.Comments(shopRepo, number); len(list) != 0 {
		t.Errorf("there are %+v", list)
	}
	if _, err := s.EditComment(comment.ID, "octo", "x"); err == nil {
		t.Error("a comment that is gone was edited")
	}
}

// TestButtons checks that a button can be pressed only where GitHub shows one.
func TestButtons(t *testing.T) {
	s := newShop(t, Options{})
	actions := []*github.CheckRunAction{{Label: "Re-run clean", Description: "Without caches", Identifier: "rerun_clean"}}
	run := s.run(github.CreateCheckRunOptions{Name: "buildsmith", Actions: actions})
	if _, err := s.RequestAction(run.GetID(), "octo", "rerun_clean"); err == nil || !strings.Contains(err.Error(), "is not completed") {
		t.Errorf("a button of what runs: %v", err)
	}
	done := github.UpdateCheckRunOptions{Name: "buildsmith", Conclusion: str("failure")}
	if _, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", run.GetID(), done); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RequestAction(run.GetID(), "octo", "rerun_failed"); err == nil || !strings.Contains(err.Error(), `has no button "rerun_failed"`) {
		t.Errorf("a button that is not there: %v", err)
	}
	if _, err := s.RequestAction(run.GetID(), "octo", "rerun_clean"); err != nil {
		t.Error(err)
	}
	one := fmt.Sprintf("/repos/octo/shop/check-runs/%d", run.GetID())
	for what, action := range map[string]string{
		"label":       `{"label": "` + strings.Repeat("x", 21) + `", "description": "d", "identifier": "i"}`,
		"description": `{"label": "l", "description": "` + strings.Repeat("x", 41) + `", "identifier": "i"}`,
		"identifier":  `{"label": "l", "description": "d", "identifier": "` + strings.Repeat("x", 21) + `"}`,
	} {
		got, _ := s.do(s.inst.Client(), "PATCH", one, `{"actions": [`+action+`]}`)
		if violations := fmt.Sprint(s.TakeViolations()); got != 422 || !strings.Contains(violations, what) {
			t.Errorf("a long %s: %d %s", what, got, violations)
		}
	}
}

func TestRoles(t *testing.T) {
	s := newShop(t, Options{})
	if err := s.DefineRole("release manager", "write"); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]string{"admin": "admin", "maintain": "write", "write": "write", "triage": "read", "read": "read", "release manager": "write"} {
		if err := s.SetPermission(shopRepo, "mona", role); err != nil {
			t.Fatal(err)
		}
		got, body := s.do(s.inst.Client(), "GET", "/repos/octo/shop/collaborators/mona/permission", "")
		var level struct {
			Permission string
			RoleName   string `json:"role_name"`
		}
		if err := json.Unmarshal([]byte(body), &level); err != nil || got != 200 || level.Permission != want || level.RoleName != role {
			t.Errorf("%s: %d %+v %v", role, got, level, err)
		}
	}
	if err := s.SetPermission(shopRepo, "mona", "release manger"); err == nil {
		t.Error("a role that nobody made")
	}
	for name, base := range map[string]string{"write": "read", "x": "admin", "y": "z"} {
		if err := s.DefineRole(name, base); err == nil {
			t.Errorf("%s of %s", name, base)
		}
	}
}

// TestMostStatuses checks how many statuses a commit may have of one context.
func TestMostStatuses(t *testing.T) {
	s := newShop(t, Options{})
	post := func(context string) int {
		got, _ := s.do(s.inst.Client(), "POST", "/repos/octo/shop/statuses/"+s.sha, `{"state": "pending", "context": "`+context+`"}`)
		return got
	}
	s.mu.Lock()
	for range mostStatuses - 1 {
		s.statuses = append(s.statuses, &CommitStatus{repo: s.repoLocked(shopRepo).id, SHA: s.sha, Context: "buildsmith"})
	}
	s.mu.Unlock()
	if got := post("buildsmith"); got != 201 {
		t.Errorf("the last one that may be: %d", got)
	}
	if got := post("other"); got != 201 {
		t.Errorf("one of another context: %d", got)
	}
	if got := post("buildsmith"); got != 422 {
		t.Errorf("one too many: %d", got)
	}
	if violations := s.TakeViolations(); len(violations) != 1 || !strings.Contains(violations[0].What, "1000 statuses") {
		t.Errorf("the violations are %v", violations)
	}
}
