package github_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// TestOrphans has checks at the forge whose builds the store knows nothing of, as after a backup was restored: when the server
// starts they are completed. One of another App, one that has just begun and one of a build that is known stay as they are.
func TestOrphans(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var b store.Build
	if err := s.Update(func(tx *store.Tx) error {
		p, err := tx.Project(repo, "")
		if err == nil {
			b, err = tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: sha}})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for name, r := range map[string]struct {
		id      string
		status  string
		started time.Time
	}{
		"lost":         {"gone", checks.InProgress, old},
		"lost / build": {"gone/BUILD", checks.Queued, old},
		"new":          {"gone", checks.InProgress, time.Now()},
		"known":        {b.ID + "/BUILD", checks.InProgress, old},
	} {
		if _, err := app.Create(t.Context(), repo, &checks.Report{Name: name, ExternalID: r.id, Commit: sha, URL: "https://ci.example.org/x", Status: r.status, Started: r.started, Title: "x", Summary: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hub.AddCheckRun("octo/shop", githubtest.CheckRun{HeadSHA: sha, Name: "theirs", Status: "in_progress"}); err != nil {
		t.Fatal(err)
	}
	reporter := checks.New(checks.Config{Store: s, Publishers: map[string]checks.Publisher{"github": app}, Log: slog.New(slog.DiscardHandler),
		Options: checks.Options{URL: func(string, store.Repo) string { return "https://ci.example.org/x" }}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { reporter.Run(ctx) })
	for _, name := range []string{"lost", "lost / build"} {
		run, err := hub.AwaitCheckRun(ctx, "octo/shop", sha, name, githubtest.Completed)
		if err != nil || run.Conclusion != checks.Cancelled || run.Title != "Lost" || run.Summary != "The server knows nothing of this build any more. Push again, or ask for a new build." {
			t.Errorf("%s: %+v %v", name, run, err)
		}
	}
	if _, err := hub.AwaitCheckRun(ctx, "octo/shop", sha, "buildsmith", func(githubtest.CheckRun) bool { return true }); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"new", "known", "theirs"} {
		if run, _ := hub.CheckRun("octo/shop", sha, name); run.Status == checks.Completed {
			t.Errorf("%s: %+v", name, run)
		}
	}
}
