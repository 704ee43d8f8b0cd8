package github_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// A desk is a reporter that tells the fake GitHub.
type desk struct {
	t     *testing.T
	hub   *githubtest.Server
	store *store.Store
	repo  store.Repo
}

func newDesk(t *testing.T, hub *githubtest.Server, app checks.Publisher, repo store.Repo, o checks.Options) *desk {
	t.Helper()
	clock := fastClock{time.Now(), 50}
	s, err := store.Open(t.TempDir(), store.Options{Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	o.URL = func(id string, _ store.Repo) string { return "https://ci.example.org/builds/" + id }
	reporter := checks.New(checks.Config{Store: s, Publishers: map[string]checks.Publisher{"github": app}, Options: o, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { reporter.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); s.Close() })
	return &desk{t, hub, s, repo}
}

func (d *desk) update(fn func(tx *store.Tx) error) {
	d.t.Helper()
	if err := d.store.Update(fn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) submit(b store.Build) store.Build {
	d.t.Helper()
	d.update(func(tx *store.Tx) error {
		p, err := tx.Project(d.repo, "")
		if err == nil {
			b, err = tx.Submit(p, b)
		}
		return err
	})
	return b
}

func (d *desk) change(id string, fn func(*store.Build)) {
	d.t.Helper()
	if _, err := d.store.ChangeBuild(id, func(b *store.Build) error { fn(b); return nil }); err != nil {
		d.t.Fatal(err)
	}
}

// silent waits until everything is told.
func (d *desk) silent() {
	d.t.Helper()
	for range 1500 {
		var left []store.Subject
		if err := d.store.Update(func(tx *store.Tx) (err error) { left, err = tx.Unsaid(); return err }); err != nil { // which wakes the reporter
			d.t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.t.Fatal("there is still something to tell")
}

// TestEverythingIsTold builds a branch and a pull request with every kind of report, renames the repository in between, and loses the
// answers of what is created.
func TestEverythingIsTold(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	number := pull(t, hub)
	for _, path := range []string{"comments", "deployments$"} {
		if err := hub.Inject(githubtest.Fault{Lost: true}.At("POST", path)); err != nil {
			t.Fatal(err)
		}
	}
	d := newDesk(t, hub, app, repo, checks.Options{Statuses: checks.StatusesBeside, SummaryComment: true})
	deployed := d.submit(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: sha, HeadRef: "refs/heads/main"},
		Settings: store.Settings{Environment: &store.Environment{Name: "production", Branch: "main", URL: "https://shop.example.org"}}})
	proposed := d.submit(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: sha, PullRequest: number, Automatic: true}})
	var reply store.Reply
	d.update(func(tx *store.Tx) (err error) {
		reply, err = tx.AddReply(store.Reply{Repo: repo, PullRequest: number, Body: "It is being built."})
		return err
	})
	d.change(deployed.ID, func(b *store.Build) { b.Claimed = d.store.Now() })
	d.silent()
	if err := hub.RenameRepo("octo/shop", "store"); err != nil {
		t.Fatal(err)
	}
	d.update(func(tx *store.Tx) error {
		now := repo
		now.Name = "octo/store"
		_, err := tx.Repo(now)
		return err
	})
	for _, id := range []string{deployed.ID, proposed.ID} {
		d.change(id, func(b *store.Build) {
			for i := range 120 {
				b.Findings = append(b.Findings, store.Finding{Path: "main.c", Line: i + 1, Level: store.FindingWarning, Message: fmt.Sprint("odd ", i), Tool: "gcc"})
			}
			b.End(store.Succeeded, d.store.Now())
		})
	}
	d.silent()

	for _, id := range []string{deployed.ID, proposed.ID} {
		n := 0
		for _, run := range hub.CheckRuns("octo/store", sha) {
			if run.ExternalID == id {
				n++
				if run.Conclusion != "success" || len(run.Annotations) != 120 || len(run.Actions) != 1 {
					t.Errorf("%s: %s, %d annotations, %v", id, run.Conclusion, len(run.Annotations), run.Actions)
				}
			}
		}
		if n != 1 {
			t.Errorf("%s has %d checks", id, n)
		}
	}
	statuses := hub.Statuses("octo/store", sha)
	if last := statuses[len(statuses)-1]; last.State != "success" || last.Context != "buildsmith" || last.TargetURL != "https://ci.example.org/builds/"+proposed.ID || len(statuses) > 5 {
		t.Errorf("%+v", statuses)
	}
	deployments := hub.Deployments("octo/store")
	if len(deployments) != 1 || deployments[0].Statuses[len(deployments[0].Statuses)-1].State != "success" {
		t.Errorf("%+v", deployments)
	}
	comments := hub.Comments("octo/store", number)
	replies, summaries := 0, 0
	for _, c := range comments {
		if strings.HasSuffix(c.Body, "<!-- buildsmith:reply "+reply.ID+" -->") {
			replies++
		}
		if strings.HasSuffix(c.Body, "<!-- buildsmith:summary -->") {
			summaries++
			if !strings.Contains(c.Body, "| `buildsmith` | [#2](https://ci.example.org/builds/"+proposed.ID+"): Succeeded in ") {
				t.Errorf("%s", c.Body)
			}
		}
	}
	if replies != 1 || summaries != 1 || len(comments) != 2 {
		t.Errorf("%d replies, %d summaries, %d comments", replies, summaries, len(comments))
	}
}

// TestCommentIsDeleted has somebody delete the summary comment twice: it is made once more.
func TestCommentIsDeleted(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	number := pull(t, hub)
	d := newDesk(t, hub, app, repo, checks.Options{SummaryComment: true})
	b := d.submit(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: sha, PullRequest: number, Automatic: true}})
	d.silent()
	// The fake has no button to delete a comment: GitHub says that it is gone.
	gone := githubtest.Fault{Status: 404, Body: `{"message": "Not Found"}`}.At("PATCH", "issues/comments")
	if err := hub.Inject(gone.For(2)); err != nil {
		t.Fatal(err)
	}
	d.change(b.ID, func(b *store.Build) { b.Claimed = d.store.Now() })
	d.silent()
	d.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, d.store.Now()) })
	d.silent()
	var told store.Told
	d.update(func(tx *store.Tx) (err error) {
		told, err = tx.Told(store.PullID(repo, number), "comment\x00summary")
		return err
	})
	if !told.Recreated || !told.GivenUp {
		t.Errorf("%+v", told)
	}
}
