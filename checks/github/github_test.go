package github_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// newApp gives the App of a fake GitHub with one private repository, which has one commit.
func newApp(t *testing.T) (*githubtest.Server, *github.App, store.Repo, string) {
	t.Helper()
	hub := githubtest.New(t, githubtest.Options{})
	id, err := hub.AddRepo("octo/shop", githubtest.RepoOptions{Private: true, Properties: map[string]any{"teams": []string{"a", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	sha, err := hub.Commit("octo/shop", "main", githubtest.Change{Message: "Begin\n\nbody", Files: map[string]string{"buildspec.yml": "version: 0.2\n", "dir/a b.txt": "x"}})
	if err != nil {
		t.Fatal(err)
	}
	app, err := github.New(github.Config{AppID: hub.AppID(), Key: hub.PEM(), API: hub.URL() + "/api/v3", Web: hub.URL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	repo := store.Repo{Forge: "github", Host: "github.example.org", ID: strconv.FormatInt(id, 10), Name: "octo/shop", Installation: hub.Installation("octo"), Private: true}
	return hub, app, repo, sha
}

func report(sha string) *checks.Report {
	at := time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	return &checks.Report{Name: "buildsmith", ExternalID: "b1", Commit: sha, URL: "https://ci.example.org/builds/b1?k=x", Status: checks.Queued,
		Started: at, Title: "Waiting", Summary: "waits"}
}

func TestNew(t *testing.T) {
	if _, err := github.New(github.Config{Key: []byte("no key"), API: "https://api.github.com"}); err == nil || !strings.HasPrefix(err.Error(), "the App's private key is no RSA key in PEM form") {
		t.Errorf("New = %v", err)
	}
}

func TestReports(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	r := report(sha)
	remote, err := app.Create(t.Context(), repo, r)
	if err != nil {
		t.Fatal(err)
	}
	r.Status = checks.InProgress
	if err := app.Update(t.Context(), repo, remote, r, nil); err != nil {
		t.Fatal(err)
	}
	told := *r
	r.Status, r.Conclusion, r.Completed, r.Title, r.Summary = checks.Completed, checks.Failure, r.Started.Add(time.Minute), "Failed", strings.Repeat("ü", 65535)
	for i := range 120 {
		r.Annotations = append(r.Annotations, checks.Annotation{Path: "buildspec.yml", Line: i + 1, Column: 3, Level: []string{checks.LevelFailure, checks.LevelNotice}[i%2], Title: "buildspec", Message: fmt.Sprint("problem ", i)})
	}
	if err := app.Update(t.Context(), repo, remote, r, &told); err != nil {
		t.Fatal(err)
	}
	run, ok := hub.CheckRun("octo/shop", sha, "buildsmith")
	if !ok || run.Conclusion != "failure" || run.ExternalID != "b1" || run.DetailsURL != r.URL || run.Title != "Failed" || len(run.Annotations) != 120 || run.Path() != "queued in_progress failure" {
		t.Errorf("%+v %s", run, run.Path())
	}
	// What the forge has of annotations is not sent again.
	told = *r
	if err := app.Update(t.Context(), repo, remote, r, &told); err != nil {
		t.Fatal(err)
	}
	if run, _ = hub.CheckRun("octo/shop", sha, "buildsmith"); len(run.Annotations) != 120 {
		t.Errorf("%d annotations after an update", len(run.Annotations))
	}
}

func TestCreateWithManyAnnotations(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	r := report(sha)
	r.Status, r.Conclusion, r.Completed = checks.Completed, checks.Failure, r.Started
	for i := range 60 {
		r.Annotations = append(r.Annotations, checks.Annotation{Path: "buildspec.yml", Line: i + 1, Level: checks.LevelWarning, Message: "x"})
	}
	if _, err := app.Create(t.Context(), repo, r); err != nil {
		t.Fatal(err)
	}
	if run, _ := hub.CheckRun("octo/shop", sha, "buildsmith"); len(run.Annotations) != 60 {
		t.Errorf("%d annotations", len(run.Annotations))
	}
}

func TestFind(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	if remote, err := app.Find(t.Context(), repo, report(sha)); err != nil || remote != "" {
		t.Errorf("%q %v", remote, err)
	}
	if _, err := hub.AddCheckRun("octo/shop", githubtest.CheckRun{HeadSHA: sha, Name: "buildsmith", ExternalID: "b1", Status: "queued", AppID: 1}); err != nil {
		t.Fatal(err)
	}
	if remote, err := app.Find(t.Context(), repo, report(sha)); err != nil || remote != "" {
		t.Errorf("found another App's check %q %v", remote, err)
	}
	var want string
	for i := range 103 { // more than one page
		r := report(sha)
		r.ExternalID = fmt.Sprint("b", i)
		remote, err := app.Create(t.Context(), repo, r)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			want = remote
		}
	}
	if remote, err := app.Find(t.Context(), repo, report(sha)); err != nil || remote != want {
		t.Errorf("found %q, want %q: %v", remote, want, err)
	}
}

func TestRefused(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	gone := repo
	gone.Name = "octo/gone"
	if _, err := app.Create(t.Context(), gone, report(sha)); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("a repository that is gone: %v", err)
	}
	if _, err := app.Create(t.Context(), repo, report(strings.Repeat("1", 40))); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("a commit that is gone: %v", err)
	}
	if err := app.Update(t.Context(), repo, "999", report(sha), nil); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("a check that is gone: %v", err)
	}
	hub.Uninstall("octo")
	other, err := github.New(app.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Create(t.Context(), repo, report(sha)); !errors.Is(err, checks.ErrRefused) || !strings.Contains(err.Error(), "the App is no longer installed there") {
		t.Errorf("an installation that is gone: %v", err)
	}
}

func TestSuspended(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	hub.Suspend("octo", true)
	_, err := app.Create(t.Context(), repo, report(sha))
	if err == nil || errors.Is(err, checks.ErrRefused) || !strings.Contains(err.Error(), "GitHub gives no token for the installation: status 403") {
		t.Errorf("%v", err)
	}
	hub.Suspend("octo", false)
	if _, err := app.Create(t.Context(), repo, report(sha)); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	reset := time.Now().Add(20 * time.Minute).Truncate(time.Second)
	for name, tt := range map[string]struct {
		fault githubtest.Fault
		until time.Time
	}{
		"primary":       {githubtest.PrimaryLimit(reset), reset},
		"secondary 403": {githubtest.SecondaryLimit(403, 90*time.Second), time.Now().Add(90 * time.Second)},
		"secondary 429": {githubtest.SecondaryLimit(429, 90*time.Second), time.Now().Add(90 * time.Second)},
		"429 alone":     {githubtest.Fault{Status: 429}, time.Now().Add(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			hub, app, repo, sha := newApp(t)
			if err := hub.Inject(tt.fault.At("POST", "check-runs")); err != nil {
				t.Fatal(err)
			}
			_, err := app.Create(t.Context(), repo, report(sha))
			var wait *checks.WaitError
			if !errors.As(err, &wait) || wait.Until.Sub(tt.until).Abs() > 5*time.Second {
				t.Errorf("%v, want to wait until %v", err, tt.until)
			}
		})
	}
}

func TestServerIsDown(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	if err := hub.Inject(githubtest.Fault{Status: 502}.At("POST", "check-runs")); err != nil {
		t.Fatal(err)
	}
	var wait *checks.WaitError
	if _, err := app.Create(t.Context(), repo, report(sha)); err == nil || errors.Is(err, checks.ErrRefused) || errors.As(err, &wait) {
		t.Errorf("%v", err)
	}
	if err := hub.Inject(githubtest.Fault{Lost: true}.At("POST", "check-runs")); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Create(t.Context(), repo, report(sha)); err == nil {
		t.Error("an answer that was lost is a success")
	}
	if remote, err := app.Find(t.Context(), repo, report(sha)); err != nil || remote == "" {
		t.Errorf("the check whose answer was lost: %q %v", remote, err)
	}
	if app.Requests.Load() == 0 || app.Failures.Load() != 2 {
		t.Errorf("%d requests, %d failures", app.Requests.Load(), app.Failures.Load())
	}
}

// TestRelyBadCredentialsAreRenewed has GitHub refuse a token that the client still holds for good: it is renewed, and the request made again.
func TestRelyBadCredentialsAreRenewed(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	if _, err := app.Create(t.Context(), repo, report(sha)); err != nil {
		t.Fatal(err)
	}
	hub.Expire()
	r := report(sha)
	r.ExternalID = "b2"
	if _, err := app.Create(t.Context(), repo, r); err != nil {
		t.Error(err)
	}
}

func TestQuestions(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	ctx := t.Context()
	for who, role := range map[string]string{"ann": "admin", "mia": "maintain", "wil": "write", "tri": "triage", "rea": "read"} {
		hub.AddUser(who)
		if err := hub.SetPermission("octo/shop", who, role); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hub.Commit("octo/shop", "feature/ä", githubtest.Change{Message: "Change"}); err != nil {
		t.Fatal(err)
	}
	number, _, err := hub.OpenPullRequest("octo/shop", githubtest.PullRequest{User: "wil", Title: "A change", Head: "feature/ä"})
	if err != nil {
		t.Fatal(err)
	}
	pr, err := app.PullRequest(ctx, repo, number)
	if err != nil || !pr.Open || pr.Title != "A change" || pr.Author.Login != "wil" || pr.HeadRef != "refs/heads/feature/ä" || pr.BaseRef != "refs/heads/main" || pr.HeadRepo != repo.ID || !store.ValidHash(pr.Head) {
		t.Errorf("%+v %v", pr, err)
	}
	if _, err := app.PullRequest(ctx, repo, 99); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}

	ask := func(login, id string) store.Permission {
		t.Helper()
		p, err := app.Permission(ctx, repo, store.Account{Login: login, ID: id})
		if err != nil {
			t.Errorf("%s: %v", login, err)
		}
		return p
	}
	if p := ask("wil", pr.Author.ID); p != store.PermissionWrite {
		t.Errorf("wil may %v", p)
	}
	// Another account that took over the name is another account.
	if p := ask("wil", "1"); p != store.PermissionNone {
		t.Errorf("somebody called wil may %v", p)
	}
	if p := ask("nobody-at-all", "5"); p != store.PermissionNone {
		t.Errorf("nobody may %v", p)
	}
	if p := ask("", "5"); p != store.PermissionNone {
		t.Errorf("no name may %v", p)
	}

	for version, want := range map[string]string{"main": sha, "": sha, sha: sha, sha[:8]: sha, "feature/ä": pr.Head, fmt.Sprint("pr/", number): pr.Head} {
		if c, err := app.Commit(ctx, repo, version); err != nil || c.Hash != want {
			t.Errorf("Commit(%q) = %+v, %v", version, c, err)
		}
	}
	if c, _ := app.Commit(ctx, repo, "main"); c.Message != "Begin\n\nbody" {
		t.Errorf("message %q", c.Message)
	}
	for _, version := range []string{"none", "a..b", "x y", strings.Repeat("1", 40), "pr/99", "../../x"} {
		if c, err := app.Commit(ctx, repo, version); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Commit(%q) = %+v, %v", version, c, err)
		}
	}
	for path, want := range map[string]bool{"buildspec.yml": true, "dir/a b.txt": true, "none": false, "dir/none": false, "dir": false} {
		if id, err := app.FileID(ctx, repo, sha, path); err != nil || (id != "") != want {
			t.Errorf("FileID(%q) = %q, %v", path, id, err)
		}
	}

	comment, _, err := hub.Comment("octo/shop", number, "wil", "/test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := app.Acknowledge(ctx, repo, store.Comment{ID: comment.ID, PullRequest: number}, store.ReactionAccepted); err != nil {
			t.Error(err)
		}
	}
	if list := hub.Reactions(comment.ID); len(list) != 1 || list[0].Content != "eyes" {
		t.Errorf("reactions %+v", list)
	}
	if err := app.Acknowledge(ctx, repo, store.Comment{ID: 12345}, store.ReactionAccepted); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	// A refusal is told, and a bad moment is waited out.
	for name, tt := range map[string]struct {
		fault githubtest.Fault
		want  string
	}{
		"locked":    {githubtest.Fault{Status: 403, Body: `{"message": "Unable to create reaction because issue is locked."}`}, "issue is locked"},
		"blocked":   {githubtest.Fault{Status: 422, Body: `{"message": "Validation Failed"}`}, "Validation Failed"},
		"primary":   {githubtest.PrimaryLimit(time.Now().Add(time.Minute)), "not before"},
		"secondary": {githubtest.SecondaryLimit(403, time.Minute), "not before"},
		"down":      {githubtest.Fault{Status: 502}, ""},
	} {
		app, err := github.New(app.Config) // which knows nothing of a limit
		if err != nil {
			t.Fatal(err)
		}
		if err := hub.Inject(tt.fault.At("POST", "reactions")); err != nil {
			t.Fatal(err)
		}
		err = app.Acknowledge(ctx, repo, store.Comment{ID: comment.ID}, store.ReactionRefused)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOwns tells the commits of a repository from those that GitHub has of its forks.
func TestOwns(t *testing.T) {
	hub, app, repo, first := newApp(t)
	repo.DefaultBranch = "main"
	commit := func(name, branch string) string {
		t.Helper()
		sha, err := hub.Commit(name, branch, githubtest.Change{Message: name + " " + branch})
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	branch, old := commit("octo/shop", "feature/ä"), commit("octo/shop", "side")
	commit("octo/shop", "side")
	tagged := commit("octo/shop", "release")
	if err := errors.Join(hub.SetRef("octo/shop", "refs/tags/v1", tagged), hub.SetRef("octo/shop", "refs/heads/release", "")); err != nil {
		t.Fatal(err)
	}
	newest := commit("octo/shop", "main")
	fork, err := hub.AddFork("octo/shop", "eve")
	if err != nil {
		t.Fatal(err)
	}
	theirs := commit(fork, "evil")
	if _, _, err := hub.OpenPullRequest("octo/shop", githubtest.PullRequest{User: "eve", Head: "eve:evil"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		version, commit string
		want            bool
	}{
		{newest, newest, true},
		{first, first, true},
		{first[:8], first, true},
		{branch, branch, true},
		{"feature/ä", branch, true},
		{"refs/heads/feature/ä", branch, true},
		{"v1", tagged, true},
		{"refs/tags/v1", tagged, true},
		{tagged, tagged, false}, // a tag alone leads to it
		{old, old, false},       // a branch leads to it, which is not its head
		{theirs, theirs, false},
		{theirs[:8], theirs, false},
		{"refs/pull/1/head", theirs, false},
		{"main", theirs, false},
	} {
		if c, err := app.Commit(t.Context(), repo, tt.version); err != nil || c.Hash != tt.commit && tt.version != "main" {
			t.Fatalf("Commit(%q) = %+v, %v", tt.version, c, err)
		}
		for _, known := range []string{"main", ""} {
			repo.DefaultBranch = known
			if own, err := app.Owns(t.Context(), repo, tt.version, tt.commit); err != nil || own != tt.want {
				t.Errorf("Owns(%q, %.8s) = %v, %v, want %v", tt.version, tt.commit, own, err, tt.want)
			}
		}
	}
	if own, err := app.Owns(t.Context(), repo, "--x", "--x"); own || err == nil {
		t.Errorf("no hash: %v %v", own, err)
	}
	if own, err := app.Owns(t.Context(), repo, strings.Repeat("1", 40), strings.Repeat("1", 40)); own || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no commit: %v %v", own, err)
	}
	if err := hub.Inject(githubtest.Fault{Status: 502}.At("GET", "compare").For(3)); err != nil {
		t.Fatal(err)
	}
	if own, err := app.Owns(t.Context(), repo, theirs, theirs); own || err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("GitHub is down: %v %v", own, err)
	}
}

// TestCloneToken has a token for one repository and for reading alone, which is worthless after use.
func TestCloneToken(t *testing.T) {
	hub, app, repo, _ := newApp(t)
	header, revoke, err := app.CloneHeader(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	encoded, ok := strings.CutPrefix(header, "Authorization: Basic ")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || !strings.HasPrefix(string(plain), "x-access-token:") {
		t.Fatalf("header %q", header)
	}
	tokens := hub.Tokens()
	token := tokens[len(tokens)-1]
	id, _ := strconv.ParseInt(repo.ID, 10, 64)
	if !slices.Equal(token.Repositories, []int64{id}) || len(token.Permissions) != 2 || token.Permissions["contents"] != "read" || token.Permissions["metadata"] != "read" {
		t.Errorf("token for %v with %v", token.Repositories, token.Permissions)
	}
	get := func() int {
		request, err := http.NewRequest(http.MethodGet, hub.CloneURL("octo/shop")+"/info/refs?service=git-upload-pack", nil)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Set(name, value)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if status := get(); status != 200 {
		t.Errorf("cloning gets %d", status)
	}
	revoke()
	if status := get(); status == 200 {
		t.Error("the token works after it was revoked")
	}
	if _, _, err := app.CloneHeader(t.Context(), store.Repo{ID: "x", Name: "o/r"}); err == nil || !strings.Contains(err.Error(), `repository id "x"`) {
		t.Error(err)
	}
	hub.Uninstall("octo")
	if _, _, err := app.CloneHeader(t.Context(), repo); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// TestRedirect has GitHub send the client elsewhere: a token does not follow.
func TestRedirect(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	if err := hub.Inject(githubtest.Fault{Status: 302, Header: map[string]string{"Location": "http://evil.example.org/x"}}.At("GET", "contents")); err != nil {
		t.Fatal(err)
	}
	if _, err := app.FileID(t.Context(), repo, sha, "buildspec.yml"); err == nil || !strings.Contains(err.Error(), "GitHub redirects to evil.example.org, which gets no token") {
		t.Errorf("%v", err)
	}
}

// TestInstallationsAreApart uses several installations at a time, which must not mix up their tokens.
func TestInstallationsAreApart(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	repos, shas := []store.Repo{repo}, []string{sha}
	for i := range 5 {
		name := fmt.Sprintf("org%d/r", i)
		id, err := hub.AddRepo(name, githubtest.RepoOptions{Private: true})
		if err != nil {
			t.Fatal(err)
		}
		sha, err := hub.Commit(name, "main", githubtest.Change{Message: "x"})
		if err != nil {
			t.Fatal(err)
		}
		r := repo
		r.ID, r.Name, r.Installation = strconv.FormatInt(id, 10), name, hub.Installation(fmt.Sprint("org", i))
		repos, shas = append(repos, r), append(shas, sha)
	}
	var wg sync.WaitGroup
	for range 4 {
		for i, r := range repos {
			wg.Go(func() {
				if _, err := app.Create(context.WithoutCancel(t.Context()), r, report(shas[i])); err != nil {
					t.Errorf("%s: %v", r.Name, err)
				}
			})
		}
	}
	wg.Wait()
	if left := app.Remaining(); len(left) != len(repos) {
		t.Errorf("what is left is known of %d installations", len(left))
	}
	if app.Account(repos[0]) == app.Account(repos[1]) {
		t.Error("two installations share an account")
	}
}

// TestRefusedAnnotations holds what builds write of their tests to keep a check from ending.
func TestRefusedAnnotations(t *testing.T) {
	hub, app, repo, sha := newApp(t)
	r := report(sha)
	r.Annotations = []checks.Annotation{{Path: "a_test.go", Line: 1, Level: checks.LevelFailure, Title: strings.Repeat("ü", 300), Message: strings.Repeat("ü", 50_000)}}
	remote, err := app.Create(t.Context(), repo, r)
	if err != nil {
		t.Fatal(err)
	}
	if run, _ := hub.CheckRun("octo/shop", sha, "buildsmith"); len(run.Annotations) != 1 {
		t.Errorf("a long message: %d annotations", len(run.Annotations))
	}
	told := *r
	r.Annotations = append(r.Annotations, checks.Annotation{Path: "b_test.go", Line: 1, Level: checks.LevelWarning, Message: "x"})
	r.Status, r.Conclusion, r.Completed = checks.Completed, checks.Failure, r.Started.Add(time.Minute)
	refusal := githubtest.Fault{Status: 422, Body: `{"message": "Invalid request"}`}
	if err := hub.Inject(refusal.At("PATCH", "check-runs")); err != nil {
		t.Fatal(err)
	}
	if err := app.Update(t.Context(), repo, remote, r, &told); err != nil {
		t.Errorf("an update: %v", err)
	}
	if run, _ := hub.CheckRun("octo/shop", sha, "buildsmith"); run.Conclusion != checks.Failure || len(run.Annotations) != 1 {
		t.Errorf("conclusion %q, %d annotations", run.Conclusion, len(run.Annotations))
	}
	r.Name, r.ExternalID = "another", "b2"
	if err := hub.Inject(refusal.At("POST", "check-runs")); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Create(t.Context(), repo, r); err != nil {
		t.Errorf("a create: %v", err)
	}
	if run, _ := hub.CheckRun("octo/shop", sha, "another"); run.Conclusion != checks.Failure || len(run.Annotations) != 0 {
		t.Errorf("the created one: conclusion %q, %d annotations", run.Conclusion, len(run.Annotations))
	}
}
