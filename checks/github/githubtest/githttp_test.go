package githubtest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"
)

// address is the clone URL of a repository with a user and a password in it.
func (s *shop) address(repo, user, password string) string {
	if user == "" {
		return s.CloneURL(repo)
	}
	return strings.Replace(s.CloneURL(repo), "http://", "http://"+user+":"+password+"@", 1)
}

func TestGitAccess(t *testing.T) {
	s := newShop(t, Options{})
	open := must[int64](t)(s.AddRepo("octo/open", RepoOptions{}))
	must[string](t)(s.Commit("octo/open", "main", Change{Files: map[string]string{"x": "1"}}))
	reader, writer := s.AddUser("reader"), s.AddUser("writer")
	s.SetPermission(shopRepo, "reader", "read")
	s.SetPermission(shopRepo, "writer", "write")
	all, _ := s.token(nil)
	contents, _ := s.token(&github.InstallationTokenOptions{Repositories: []string{"shop"}, Permissions: &github.InstallationPermissions{Contents: str("read")}})
	checks, _ := s.token(&github.InstallationTokenOptions{Permissions: &github.InstallationPermissions{Checks: str("write")}})
	other, _ := s.token(&github.InstallationTokenOptions{RepositoryIDs: []int64{open}})
	revoked, client := s.token(nil)
	if _, err := client.Apps.RevokeInstallationToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		repo, user, password string
		status               int // 0 for allowed
	}{
		"no token":          {"octo/shop", "", "", 401},
		"all":               {"octo/shop", "x-access-token", all.GetToken(), 0},
		"contents":          {"octo/shop", "x-access-token", contents.GetToken(), 0},
		"contents of other": {"octo/open", "x-access-token", contents.GetToken(), 403},
		"checks only":       {"octo/shop", "x-access-token", checks.GetToken(), 403},
		"other repository":  {"octo/shop", "x-access-token", other.GetToken(), 404},
		"revoked":           {"octo/shop", "x-access-token", revoked.GetToken(), 401},
		"other user name":   {"octo/shop", "git", all.GetToken(), 401},
		"wrong":             {"octo/shop", "x-access-token", "ghs_wrong", 401},
		"public":            {"octo/open", "", "", 0},
		"public, wrong":     {"octo/open", "x-access-token", "ghs_wrong", 401},
		"none":              {"octo/none", "x-access-token", all.GetToken(), 404},
		"reader":            {"octo/shop", "reader", reader, 0},
		"stranger":          {"octo/shop", "stranger", s.AddUser("stranger"), 404},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(s.GitAccesses())
			// As a header, git sends it at once; from the address, it would only be sent when asked for.
			args := []string{"ls-remote", s.CloneURL(test.repo)}
			if test.user != "" {
				basic := base64.StdEncoding.EncodeToString([]byte(test.user + ":" + test.password))
				args = append([]string{"-c", "http.extraHeader=Authorization: Basic " + basic}, args...)
			}
			out, err := gitIn(t, ".", args...)
			if (err == nil) != (test.status == 0) {
				t.Errorf("%v: %s", err, out)
			}
			first := s.GitAccesses()[before]
			if first.Status != cmp.Or(test.status, 200) || first.User != test.user || strings.HasPrefix(first.Header, "Basic ") != (test.user != "") || first.Password != test.password || first.Repository != test.repo ||
				first.Service != "git-upload-pack" || !first.Discovery {
				t.Errorf("the log has %+v", first)
			}
		})
	}

	// Pushing needs write.
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", s.address("octo/shop", "writer", writer), work)
	writeFile(t, work, "new", "text")
	mustGit(t, work, "add", "new")
	mustGit(t, work, "commit", "--quiet", "--message=new")
	for name, from := range map[string]string{"reader": s.address("octo/shop", "reader", reader), "app": s.address("octo/shop", "x-access-token", all.GetToken())} {
		if out, err := gitIn(t, work, "push", "--quiet", from, "HEAD:main"); err == nil {
			t.Errorf("the %s could push: %s", name, out)
		}
	}
	mustGit(t, work, "push", "--quiet", "origin", "HEAD:main")
	if out, err := gitIn(t, work, "push", "--quiet", "origin", "HEAD:refs/pull/7/head"); err == nil {
		t.Errorf("the ref of a pull request could be pushed: %s", out)
	}
	dir := must[string](t)(s.RepoDir(shopRepo))
	if got, want := mustGit(t, dir, "rev-parse", "main"), mustGit(t, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("main is %s, want %s", got, want)
	}
	// Any commit can be fetched by its hash, and the old name of a repository leads to it.
	if err := s.RenameRepo(shopRepo, "store"); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "fetch", "--quiet", "--filter=blob:none", s.address("octo/shop", "writer", writer), s.sha)
}

// TestDeliverPushes checks what a push over HTTP sets off.
func TestDeliverPushes(t *testing.T) {
	s, b := newShop(t, Options{DeliverPushes: true}), newBot(t)
	password := s.AddUser("octo")
	work := filepath.Join(t.TempDir(), "work")
	mustGit(t, ".", "clone", "--quiet", s.address("octo/shop", "octo", password), work)
	s.SetHook(b.url)
	if _, err := s.Push(shopRepo, "main"); err != nil {
		t.Fatal(err)
	}
	push := func(deliveries int, args ...string) []string {
		t.Helper()
		seen := len(s.Deliveries())
		mustGit(t, work, append([]string{"-c", "http.postBuffer=65536", "push", "--quiet", "--force", "origin"}, args...)...)
		if err := s.Await(soon(t), func() bool { return len(s.Deliveries()) >= seen+deliveries }); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range s.Deliveries()[seen:] {
			p := jsonOf(d.Payload).(object)
			got = append(got, fmt.Sprint(d.Event, " ", d.Action, p["ref"]))
		}
		return got
	}
	writeFile(t, work, "new", randomText(200_000)) // more than git sends in one piece
	mustGit(t, work, "add", "new")
	mustGit(t, work, "commit", "--quiet", "--message=new")
	if got := push(1, "HEAD:refs/heads/feature"); !slices.Equal(got, []string{"push refs/heads/feature"}) {
		t.Errorf("a new branch: %q", got)
	}
	_, _, p := b.last(t)
	expect(t, p, map[string]any{"pusher.name": "octo", "created": true, "commits.0.added": "[new]"})
	if _, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature"}); err != nil {
		t.Fatal(err)
	}
	mustGit(t, work, "commit", "--quiet", "--amend", "--message=newer")
	if got := push(3, "HEAD:refs/heads/feature", "HEAD:refs/tags/v1"); !slices.Equal(got, []string{"push refs/heads/feature", "pull_request synchronize<nil>", "push refs/tags/v1"}) {
		t.Errorf("a branch with a pull request and a tag: %q", got)
	}
	// Of many tags at once nothing is told.
	if got := push(1, "HEAD:refs/tags/a", "HEAD:refs/tags/b", "HEAD:refs/tags/c", "HEAD:refs/tags/d", ":refs/heads/feature"); !slices.Equal(got, []string{"push refs/heads/feature"}) {
		t.Errorf("many tags: %q", got)
	}
	if _, err := s.Push(shopRepo, "refs/tags/a"); err == nil {
		t.Error("the tags are told later")
	}
}
