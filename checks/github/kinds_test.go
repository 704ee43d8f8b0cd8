package github_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

func TestActions(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	r := report(sha)
	r.Status, r.Conclusion, r.Completed = checks.Completed, checks.Failure, r.Started
	r.Actions = []checks.Action{{Label: "Again", Description: "Build this commit again", Identifier: "again"}}
	if _, err := app.Create(t.Context(), repo, r); err != nil {
		t.Fatal(err)
	}
	if run, _ := hub.CheckRun("octo/shop", sha, "buildsmith"); len(run.Actions) != 1 || run.Actions[0].Identifier != "again" {
		t.Errorf("%+v", run.Actions)
	}
}

func TestStatuses(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	for _, tt := range []struct{ status, conclusion, want string }{
		{checks.Queued, "", "pending"},
		{checks.InProgress, "", "pending"},
		{checks.Completed, checks.Success, "success"},
		{checks.Completed, checks.Skipped, "success"},
		{checks.Completed, checks.ActionRequired, "pending"},
		{checks.Completed, checks.Failure, "failure"},
		{checks.Completed, checks.TimedOut, "failure"},
		{checks.Completed, checks.Errored, "error"},
	} {
		r := &checks.Report{Kind: checks.KindStatus, Name: "AWS CodeBuild eu-west-1 (shop)", ExternalID: "b1", Commit: sha, URL: "https://ci.example.org/b1",
			Status: tt.status, Conclusion: tt.conclusion, Title: strings.Repeat("ü", 200)}
		remote, err := app.Create(t.Context(), repo, r)
		if err == nil {
			err = app.Update(t.Context(), repo, remote, r, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		list := hub.Statuses("octo/shop", sha)
		last := list[len(list)-1]
		if last.State != tt.want || last.Context != r.Name || last.TargetURL != r.URL || last.Description != strings.Repeat("ü", 139)+"…" {
			t.Errorf("%s %s: %+v", tt.status, tt.conclusion, last)
		}
	}
	if found, err := app.Find(t.Context(), repo, &checks.Report{Kind: checks.KindStatus}); found != "" || err != nil {
		t.Errorf("%q %v", found, err)
	}
}

// TestNotPermitted has an App that may do nothing but checks: what else it would tell is refused for good.
func TestNotPermitted(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	if err := hub.Inject(githubtest.Fault{Status: 403, Body: `{"message": "Resource not accessible by integration"}`}.At("POST", "statuses|comments|deployments").For(-1)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []checks.Kind{checks.KindStatus, checks.KindComment, checks.KindDeployment} {
		r := &checks.Report{Kind: kind, Name: "x", ExternalID: "b1", Commit: sha, PullRequest: 1, Environment: &store.Environment{Name: "staging"}}
		if _, err := app.Create(t.Context(), repo, r); !errors.Is(err, checks.ErrRefused) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func pull(t *testing.T, hub *githubtest.Server) int {
	t.Helper()
	hub.AddUser("wil")
	if err := hub.SetPermission("octo/shop", "wil", "write"); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Commit("octo/shop", "change", githubtest.Change{Message: "Change"}); err != nil {
		t.Fatal(err)
	}
	number, _, err := hub.OpenPullRequest("octo/shop", githubtest.PullRequest{User: "wil", Title: "A change", Head: "change"})
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func TestComments(t *testing.T) {
	hub, app, repo, _ := newApp(t)
	number := pull(t, hub)
	ctx := t.Context()
	reply := &checks.Report{Kind: checks.KindComment, Name: checks.ReplyName, ExternalID: "r1", PullRequest: number, Summary: "Hello."}
	summary := &checks.Report{Kind: checks.KindComment, Name: checks.SummaryName, ExternalID: "p1", PullRequest: number, Summary: strings.Repeat("ü", 70_000)}
	for _, r := range []*checks.Report{reply, summary} {
		// Somebody else's comment has the mark, and one of ours has it where it does not belong.
		if _, _, err := hub.Comment("octo/shop", number, "wil", "x\n\n<!-- buildsmith:"+map[bool]string{true: "reply r1", false: "summary"}[r == reply]+" -->"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := hub.Comment("octo/shop", number, "other[bot]", "x\n\n<!-- buildsmith:"+map[bool]string{true: "reply r1", false: "summary"}[r == reply]+" -->"); err != nil {
			t.Fatal(err)
		}
		if found, err := app.Find(ctx, repo, r); found != "" || err != nil {
			t.Errorf("%s: found %q %v", r.Name, found, err)
		}
	}
	quoting := &checks.Report{Kind: checks.KindComment, Name: checks.ReplyName, ExternalID: "r0", PullRequest: number, Summary: "<!-- buildsmith:reply r1 --> `<!-- buildsmith:summary -->`"}
	if _, err := app.Create(ctx, repo, quoting); err != nil {
		t.Fatal(err)
	}
	for range 100 { // more than one page
		if _, _, err := hub.Comment("octo/shop", number, "wil", "talk"); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*checks.Report{reply, summary} {
		if found, err := app.Find(ctx, repo, r); found != "" || err != nil {
			t.Errorf("%s: found %q %v", r.Name, found, err)
		}
		remote, err := app.Create(ctx, repo, r)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := app.Find(ctx, repo, r); found != remote || err != nil {
			t.Errorf("%s: found %q, want %q: %v", r.Name, found, remote, err)
		}
	}
	if n := hub.Count(http.MethodGet, "/app"); n != 1 {
		t.Errorf("asked %d times for the App's name", n)
	}
	remote, _ := app.Find(ctx, repo, summary)
	summary.Summary = "Now."
	if err := app.Update(ctx, repo, remote, summary, nil); err != nil {
		t.Fatal(err)
	}
	if err := app.Update(ctx, repo, remote, reply, nil); err != nil { // which changes nothing
		t.Fatal(err)
	}
	list := hub.Comments("octo/shop", number)
	if last := list[len(list)-1]; last.Body != "Now.\n\n<!-- buildsmith:summary -->" || last.User != "buildsmith[bot]" {
		t.Errorf("%+v", last)
	}
	if last := list[len(list)-2]; last.Body != "Hello.\n\n<!-- buildsmith:reply r1 -->" {
		t.Errorf("%+v", last)
	}
	if err := app.Update(ctx, repo, "12345", summary, nil); !errors.Is(err, checks.ErrGone) || !errors.Is(err, checks.ErrRefused) {
		t.Errorf("a comment that is gone: %v", err)
	}
}

func TestDeploymentsOfBuilds(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	ctx := t.Context()
	r := &checks.Report{Kind: checks.KindDeployment, Name: "staging", ExternalID: "b1", Commit: sha, URL: "https://ci.example.org/b1", Status: checks.InProgress,
		Title: strings.Repeat("d", 200), Environment: &store.Environment{Name: "staging", URL: "https://staging.example.org"}}
	if found, err := app.Find(ctx, repo, r); found != "" || err != nil {
		t.Errorf("%q %v", found, err)
	}
	if err := hub.Inject(githubtest.Fault{Status: 502}.At("POST", "deployments/.*/statuses")); err != nil {
		t.Fatal(err)
	}
	remote, err := app.Create(ctx, repo, r)
	if err == nil || remote == "" {
		t.Fatalf("the deployment is there, its status is not: %q %v", remote, err)
	}
	if found, err := app.Find(ctx, repo, r); found != remote || err != nil {
		t.Errorf("found %q, want %q: %v", found, remote, err)
	}
	for _, want := range []struct{ status, conclusion string }{{checks.InProgress, ""}, {checks.Completed, checks.Success}, {checks.Completed, checks.Failure}, {checks.Completed, checks.Errored}} {
		r.Status, r.Conclusion = want.status, want.conclusion
		if err := app.Update(ctx, repo, remote, r, nil); err != nil {
			t.Fatal(err)
		}
	}
	list := hub.Deployments("octo/shop")
	if len(list) != 1 || list[0].SHA != sha || list[0].Environment != "staging" {
		t.Fatalf("%+v", list)
	}
	var states []string
	for _, s := range list[0].Statuses {
		states = append(states, s.State)
		if s.LogURL != r.URL || s.EnvironmentURL != "https://staging.example.org" {
			t.Errorf("%+v", s)
		}
	}
	if got := strings.Join(states, " "); got != "in_progress success failure error" {
		t.Error(got)
	}
}

// TestAnnotationsOnce loses the answer to the second of three requests with annotations: each annotation is there once in the end.
func TestAnnotationsOnce(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	r := report(sha)
	remote, err := app.Create(t.Context(), repo, r)
	if err != nil {
		t.Fatal(err)
	}
	told := *r
	r.Status, r.Conclusion, r.Completed = checks.Completed, checks.Failure, r.Started
	for i := range 130 {
		r.Annotations = append(r.Annotations, checks.Annotation{Path: "a.go", Line: i + 1, Level: checks.LevelWarning, Message: fmt.Sprint(i)})
	}
	lost := githubtest.Fault{Lost: true}.At("PATCH", "check-runs")
	lost.Skip = 1
	if err := hub.Inject(lost); err != nil {
		t.Fatal(err)
	}
	if err := app.Update(t.Context(), repo, remote, r, &told); err == nil {
		t.Fatal("an answer that was lost is a success")
	}
	if err := app.Update(t.Context(), repo, remote, r, &told); err != nil {
		t.Fatal(err)
	}
	run, _ := hub.CheckRun("octo/shop", sha, "buildsmith")
	for i, a := range run.Annotations {
		if a.StartLine != i+1 {
			t.Fatalf("annotation %d is on line %d", i, a.StartLine)
		}
	}
	if len(run.Annotations) != 130 {
		t.Errorf("%d annotations", len(run.Annotations))
	}
}

// TestFailFast has GitHub limit one installation: nothing more is asked of it before its time, and others are asked.
func TestFailFast(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	now := time.Now()
	app.Now = func() time.Time { return now }
	if err := hub.Inject(githubtest.SecondaryLimit(429, 90*time.Second).At("GET", "commits")); err != nil {
		t.Fatal(err)
	}
	var wait *checks.WaitError
	if _, err := app.Commit(t.Context(), repo, "main"); !errors.As(err, &wait) || !wait.Until.Equal(now.Add(90*time.Second)) {
		t.Fatalf("%v", err)
	}
	if list := app.Limited(); len(list) != 1 || !list[repo.Installation].Equal(wait.Until) {
		t.Errorf("%v", list)
	}
	asked := len(hub.Requests())
	_, err := app.Create(t.Context(), repo, report(sha))
	if want := fmt.Sprintf("GitHub limits the requests of installation %d; not before", repo.Installation); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.As(err, &wait) {
		t.Errorf("%v", err)
	}
	if n := len(hub.Requests()); n != asked || app.HeldBack.Load() != 1 {
		t.Errorf("%d requests before the time, %d held back", n-asked, app.HeldBack.Load())
	}
	now = now.Add(91 * time.Second)
	if _, err := app.Commit(t.Context(), repo, "main"); err != nil || len(app.Limited()) != 0 {
		t.Errorf("after the time: %v %v", err, app.Limited())
	}
	now = now.Add(-48 * time.Hour) // somebody sets the clock back
	if _, err := app.Commit(t.Context(), repo, "main"); err != nil {
		t.Error(err)
	}
}

// TestVagueLimits has GitHub refuse without saying until when: each time the pause is twice as long.
func TestVagueLimits(t *testing.T) {
	hub, app, repo, _ := newApp(t)
	now := time.Now()
	app.Now = func() time.Time { return now }
	if err := hub.Inject(githubtest.Fault{Status: 429}.At("GET", "commits").For(3)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		var wait *checks.WaitError
		if _, err := app.Commit(t.Context(), repo, "main"); !errors.As(err, &wait) || wait.Until.Sub(now) != want {
			t.Fatalf("%v, want to wait %v", err, want)
		}
		now = now.Add(want)
	}
	if _, err := app.Commit(t.Context(), repo, "main"); err != nil {
		t.Fatal(err)
	}
	if err := hub.Inject(githubtest.Fault{Status: 429}.At("GET", "commits")); err != nil {
		t.Fatal(err)
	}
	var wait *checks.WaitError
	if _, err := app.Commit(t.Context(), repo, "main"); !errors.As(err, &wait) || wait.Until.Sub(now) != time.Minute {
		t.Errorf("after a success: %v", err)
	}
}

// TestConditional asks twice: the second answer has no body and costs nothing, and is the same.
func TestConditional(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	for range 3 {
		if c, err := app.Commit(t.Context(), repo, "main"); err != nil || c.Hash != sha || c.Message != "Begin\n\nbody" {
			t.Fatalf("%+v %v", c, err)
		}
	}
	if n := app.Unchanged.Load(); n != 2 {
		t.Errorf("%d answers were known", n)
	}
	next, err := hub.Commit("octo/shop", "main", githubtest.Change{Message: "Next"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := app.Commit(t.Context(), repo, "main"); err != nil || c.Hash != next {
		t.Errorf("%+v %v", c, err)
	}
	if n := app.Unchanged.Load(); n != 2 {
		t.Errorf("%d answers were known", n)
	}
}

// TestRedirects has GitHub send writes on, with each of its statuses: they arrive with method and body, and none leaves the host.
func TestRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			hub, app, repo, sha := newApp(t)
			to := func(path string) map[string]string {
				return map[string]string{"Location": hub.URL() + "/api/v3/repositories/" + repo.ID + path}
			}
			if err := hub.Inject(githubtest.Fault{Status: status, Header: to("/check-runs")}.At("POST", "^/repos/octo/shop/check-runs")); err != nil {
				t.Fatal(err)
			}
			r := report(sha)
			remote, err := app.Create(t.Context(), repo, r)
			if err != nil {
				t.Fatal(err)
			}
			if err := hub.Inject(githubtest.Fault{Status: status, Header: to("/check-runs/" + remote)}.At("PATCH", "^/repos/octo/shop/check-runs")); err != nil {
				t.Fatal(err)
			}
			r.Status = checks.InProgress
			if err := app.Update(t.Context(), repo, remote, r, nil); err != nil {
				t.Fatal(err)
			}
			if run, _ := hub.CheckRun("octo/shop", sha, "buildsmith"); run.Path() != "queued in_progress" {
				t.Errorf("%s", run.Path())
			}
		})
	}
	hub, app, repo, sha := newApp(t)
	for target, want := range map[string]string{
		"https://evil.example.org/x":                     "GitHub redirects to evil.example.org, which gets no token",
		hub.URL() + "/api/v3/repos/octo/shop/check-runs": "GitHub redirects POST /api/v3/repos/octo/shop/check-runs more than 3 times",
	} {
		if err := hub.Inject(githubtest.Fault{Status: 301, Header: map[string]string{"Location": target}}.At("POST", "octo/shop").For(-1)); err != nil {
			t.Fatal(err)
		}
		if _, err := app.Create(t.Context(), repo, report(sha)); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		hub.ClearFaults()
	}
	if err := hub.Inject(githubtest.Fault{Status: 301}.At("POST", "octo/shop")); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Create(t.Context(), repo, report(sha)); err == nil || !strings.HasPrefix(err.Error(), "GitHub redirects POST /api/v3/repos/octo/shop/check-runs: ") {
		t.Errorf("%v", err)
	}
}

// TestSuspendedWaits has a token that is still there when somebody suspends the installation.
func TestSuspendedWaits(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	if _, err := app.Create(t.Context(), repo, report(sha)); err != nil {
		t.Fatal(err)
	}
	hub.Suspend("octo", true)
	var wait *checks.WaitError
	_, err := app.Create(t.Context(), repo, report(sha))
	if !errors.As(err, &wait) || errors.Is(err, checks.ErrRefused) || !strings.Contains(err.Error(), "the installation is suspended") || time.Until(wait.Until) < time.Minute {
		t.Errorf("%v", err)
	}
	hub.Suspend("octo", false)
	if _, err := app.Create(t.Context(), repo, report(sha)); err != nil || len(app.Limited()) != 0 {
		t.Errorf("%v %v", err, app.Limited())
	}
}
