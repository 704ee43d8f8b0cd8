package github_test

import (
	"errors"
	"strings"
	"testing"

	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// TestABadMoment has GitHub fail twice: a question is asked again, and so is a token for a clone. What is refused is not.
func TestABadMoment(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	inject := func(f githubtest.Fault) {
		t.Helper()
		if err := hub.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	inject(githubtest.Fault{Status: 502}.At("GET", "contents").For(2))
	if id, err := app.FileID(t.Context(), repo, sha, "buildspec.yml"); id == "" || err != nil {
		t.Errorf("%q %v", id, err)
	}
	inject(githubtest.Fault{Status: 502}.At("POST", "access_tokens").For(2))
	if token, _, err := app.CloneToken(t.Context(), repo); token == "" || err != nil {
		t.Errorf("%v", err)
	}
	// A third failure is told.
	inject(githubtest.Fault{Status: 502}.At("GET", "contents").For(3))
	if _, err := app.FileID(t.Context(), repo, sha, "buildspec.yml"); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("%v", err)
	}
	before := len(hub.Requests())
	if _, err := app.Commit(t.Context(), repo, "none"); !errors.Is(err, store.ErrNotFound) || len(hub.Requests()) != before+1 {
		t.Errorf("%v after %d requests", err, len(hub.Requests())-before)
	}
}
