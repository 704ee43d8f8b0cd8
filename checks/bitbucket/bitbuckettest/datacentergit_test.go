package bitbuckettest

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/checks/forgetest"
)

// TestDataCenterGit clones and pushes with the credentials that there are.
func TestDataCenterGit(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{DataCenter: DataCenterOptions{Context: "/bitbucket"}})
	if err := s.SetPermission(centerRepo, "ada", "read"); err != nil {
		t.Fatal(err)
	}
	token := func(kind, user string, scopes ...string) string {
		return s.newToken(TokenOptions{Kind: kind, Repo: centerRepo, Project: "OCTO", User: user, Scopes: scopes})
	}
	ada, owner := token(PersonalToken, "ada"), token(PersonalToken, "octo")
	reads := token(RepositoryToken, "", "REPO_READ")
	for name, test := range map[string]struct {
		user, password string
		fetch, push    bool
	}{
		"repository":           {"x-token-auth", s.token, true, true},
		"repository, to read":  {"x-token-auth", reads, true, false},
		"repository by a name": {"octo", s.token, false, false},
		"project":              {"x-token-auth", token(ProjectToken, "", "PROJECT_READ", "REPO_WRITE"), true, true},
		"reader":               {"ada", ada, true, false},
		"reader as a token":    {"x-token-auth", ada, false, false},
		"another's name":       {"octo", ada, false, false},
		"owner":                {"octo", owner, true, true},
		"owner, to read":       {"octo", token(PersonalToken, "octo", "REPO_READ"), true, false},
		"stranger":             {"sam", token(PersonalToken, "sam"), false, false},
		"guess":                {"x-token-auth", "guessed", false, false},
		"of Cloud":             {"x-bitbucket-api-token-auth", s.token, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			from := strings.Replace(s.CloneURL(centerRepo), "://", "://"+url.UserPassword(test.user, test.password).String()+"@", 1)
			dir := t.TempDir()
			out, err := gitIn(t, dir, "clone", "--quiet", from, "c")
			if (err == nil) != test.fetch {
				t.Fatalf("cloning: %v\n%s", err, out)
			}
			if !test.fetch {
				return
			}
			work := filepath.Join(dir, "c")
			branch := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			if out, err := gitIn(t, work, "commit", "--quiet", "--allow-empty", "-m", name); err != nil {
				t.Fatalf("committing: %v\n%s", err, out)
			}
			if out, err := gitIn(t, work, "push", "--quiet", "origin", "HEAD:refs/heads/"+branch); (err == nil) != test.push {
				t.Errorf("pushing: %v\n%s", err, out)
			}
		})
	}
	accesses := s.GitAccesses()
	if len(accesses) == 0 || accesses[0].Repository != centerRepo {
		t.Errorf("the accesses are %+v", accesses)
	}
	if out, err := gitIn(t, t.TempDir(), "ls-remote", strings.Replace(s.CloneURL(centerRepo), "/bitbucket", "", 1)); err == nil {
		t.Errorf("beside the context there is a repository: %s", out)
	}
	if seen := s.TakeViolations(); len(seen) == 0 {
		t.Error("git beside the context is no violation")
	}
}

// TestDataCenterGitBearer sends tokens in a header.
func TestDataCenterGitBearer(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{DataCenter: DataCenterOptions{BearerOnly: true}})
	header := func(token string) string { return "http.extraHeader=Authorization: Bearer " + token }
	for _, token := range []string{s.token, s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})} {
		if out, err := gitIn(t, t.TempDir(), "-c", header(token), "ls-remote", s.CloneURL(centerRepo)); err != nil {
			t.Errorf("with a token: %v\n%s", err, out)
		}
	}
	if out, err := gitIn(t, t.TempDir(), "-c", header("guessed"), "ls-remote", s.CloneURL(centerRepo)); err == nil {
		t.Errorf("with a guess there is %s", out)
	}
	from := strings.Replace(s.CloneURL(centerRepo), "://", "://x-token-auth:"+s.token+"@", 1)
	if out, err := gitIn(t, t.TempDir(), "ls-remote", from); err == nil {
		t.Errorf("with a password there is %s", out)
	}
}

// TestDataCenterPullRefs fetches the heads of pull requests, which cannot be pushed to.
func TestDataCenterPullRefs(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	if _, err := s.AddFork(centerRepo, "~ada"); err != nil {
		t.Fatal(err)
	}
	head, err := s.Commit("~ada/hello", "theirs", Change{Files: map[string]string{"t": "t"}})
	if err != nil {
		t.Fatal(err)
	}
	number, _, err := s.OpenPullRequest(centerRepo, PullRequest{Head: "~ada:theirs"})
	if err != nil || number != 1 {
		t.Fatal(number, err)
	}
	from := strings.Replace(s.CloneURL(centerRepo), "://", "://x-token-auth:"+s.token+"@", 1)
	dir := t.TempDir()
	if out, err := gitIn(t, dir, "init", "--quiet"); err != nil {
		t.Fatal(err, out)
	}
	if out, err := gitIn(t, dir, "fetch", "--quiet", from, "refs/pull-requests/1/from"); err != nil {
		t.Fatalf("fetching the head: %v\n%s", err, out)
	}
	if got, _ := forgetest.Resolve(dir, "FETCH_HEAD"); got != head {
		t.Errorf("the head is %s, want %s", got, head)
	}
	if out, err := gitIn(t, dir, "push", "--quiet", from, "FETCH_HEAD:refs/pull-requests/2/from"); err == nil {
		t.Errorf("the head of a pull request was pushed: %s", out)
	}
}

// TestDataCenterPushesAreTold pushes to two branches at once, one of them that of a pull request.
func TestDataCenterPushesAreTold(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{DeliverPushes: true}), newListener(t)
	if _, err := s.Push(centerRepo, "main"); err != nil {
		t.Fatal(err)
	}
	s.pull("feature")
	if _, err := s.Push(centerRepo, "feature"); err != nil {
		t.Fatal(err)
	}
	s.listen(l)
	from := strings.Replace(s.CloneURL(centerRepo), "://", "://octo:"+s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})+"@", 1)
	dir := t.TempDir()
	for _, args := range [][]string{{"clone", "--quiet", from, "."}, {"commit", "--quiet", "--allow-empty", "-m", "again"},
		{"push", "--quiet", "--force", "origin", "HEAD:refs/heads/main", "HEAD:refs/heads/feature"}} {
		if out, err := gitIn(t, dir, args...); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	if err := s.Await(soon(t), func() bool { return len(s.Deliveries()) == 2 }); err != nil {
		t.Fatal(err, s.Deliveries())
	}
	requests, payloads := l.heard(t)
	if requests[0].Header.Get("X-Event-Key") != "repo:refs_changed" || requests[1].Header.Get("X-Event-Key") != "pr:from_ref_updated" {
		t.Fatalf("it was told %v", payloads)
	}
	expect(t, payloads[0], map[string]any{"actor.name": "octo", "changes.0.ref.displayId": "feature", "changes.1.ref.displayId": "main", "changes.#": 2})
	expect(t, payloads[1], map[string]any{"pullRequest.fromRef.latestCommit": at(payloads[0], "changes.0.toHash"), "previousFromHash": at(payloads[0], "changes.0.fromHash")})
}

// TestDataCenterFaults loses an answer after the work was done, and refuses a request before.
func TestDataCenterFaults(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	if err := s.Inject(RateLimit(0).At("GET", "^/api/latest/")); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.request("GET "+s.api, ""); status != http.StatusTooManyRequests {
		t.Errorf("the first request answers %d", status)
	}
	s.must("GET "+s.api, "", http.StatusOK)
}
