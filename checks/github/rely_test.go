package github_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// TestRelyResultArrives has GitHub be down, cut connections and lose answers just when a build ends: its check is completed all the
// same, and there once.
func TestRelyResultArrives(t *testing.T) {
	for name, fault := range map[string]githubtest.Fault{
		"down": githubtest.Fault{Status: 502}.For(4), "answers are lost": githubtest.Fault{Lost: true}.For(3), "limited": githubtest.SecondaryLimit(429, 2*time.Second).For(2),
	} {
		t.Run(name, func(t *testing.T) {
			hub, app, repo, sha := newApp(t)
			d := newDesk(t, hub, app, repo, checks.Options{})
			b := d.submit(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: sha}})
			d.silent()
			if err := hub.Inject(fault.At("", "check-runs")); err != nil {
				t.Fatal(err)
			}
			d.change(b.ID, func(b *store.Build) { b.End(store.Failed, d.store.Now()) })
			d.silent()
			if runs := hub.CheckRuns("octo/shop", sha); len(runs) != 1 || runs[0].Status != checks.Completed || runs[0].Conclusion != checks.Failure {
				t.Errorf("%+v", runs)
			}
		})
	}
}

// TestRelyPullRequestIsNoticed shows a check as soon as there is a build, long before anything has run.
func TestRelyPullRequestIsNoticed(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	d := newDesk(t, hub, app, repo, checks.Options{})
	d.submit(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: sha, PullRequest: 1}})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	run, err := hub.AwaitCheckRun(ctx, "octo/shop", sha, "buildsmith", func(r githubtest.CheckRun) bool { return r.Status == checks.Queued })
	if err != nil || run.DetailsURL == "" {
		t.Errorf("%+v %v", run, err)
	}
}

// TestRelyTokensAreFresh lets every token expire between two uses, for a job that takes longer than a token lives: reports and clones go
// on, and each clone has a token of its own.
func TestRelyTokensAreFresh(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	r := report(sha)
	remote, err := app.Create(t.Context(), repo, r)
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string]bool{}
	for _, status := range []string{checks.InProgress, checks.Completed} {
		hub.Expire()
		next := *r
		if next.Status = status; status == checks.Completed {
			next.Conclusion, next.Completed = checks.Success, r.Started.Add(3*time.Hour)
		}
		if err := app.Update(t.Context(), repo, remote, &next, r); err != nil {
			t.Fatal(err)
		}
		hub.Expire()
		header, revoke, err := app.CloneHeader(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		headers[header] = true
		revoke()
	}
	if run, _ := hub.CheckRun("octo/shop", sha, "buildsmith"); run.Conclusion != checks.Success || len(headers) != 2 {
		t.Errorf("%+v with %d tokens for clones", run, len(headers))
	}
	if strings.Contains(repo.CloneURL, "@") {
		t.Errorf("the address has a credential: %s", repo.CloneURL)
	}
}
