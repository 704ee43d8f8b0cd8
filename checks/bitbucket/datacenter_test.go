package bitbucket_test

import (
	"bytes"
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

	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// A center is a Data Center with a repository, and a Host that speaks to it.
type center struct {
	*bitbucket.Host
	hub     *bitbuckettest.Server
	t       *testing.T
	repo    store.Repo
	sha     string // of the first commit on main
	token   string
	mu      sync.Mutex
	log     bytes.Buffer
	refused []string
}

// Write keeps what the Host logs.
func (c *center) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Write(p)
}

// A centerSetup is how a center differs from the usual one.
type centerSetup struct {
	options   bitbuckettest.Options
	token     bitbuckettest.TokenOptions // of the repository octo/hello if it is empty
	repos     []string                   // of the credential; OCTO/hello
	people    map[string]store.Permission
	hook      string
	secret    string
	now       func() time.Time
	transport http.RoundTripper
	username  string
}

const centerRepo = "octo/hello"

// newCenter has a server of its own for each test. When the test ends, no token may have been written anywhere.
func newCenter(t *testing.T, in centerSetup) *center {
	t.Helper()
	in.options.Flavor = bitbuckettest.DataCenter
	c := &center{hub: bitbuckettest.New(t, in.options), t: t}
	r, err := c.hub.AddRepo(centerRepo, bitbuckettest.RepoOptions{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	if c.sha, err = c.hub.Commit(centerRepo, "main", bitbuckettest.Change{Message: "Begin", Files: map[string]string{"buildspec.yml": "version: 0.2\n", "src/a b.go": "package a\n"}}); err != nil {
		t.Fatal(err)
	}
	if in.token.Kind == "" {
		in.token = bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_ADMIN"}}
	}
	token, err := c.hub.AddToken(in.token)
	if err != nil {
		t.Fatal(err)
	}
	c.token = token.Value
	c.start(in)
	c.repo = store.Repo{Forge: "bitbucket", ID: strconv.FormatInt(r.ID, 10), Name: "OCTO/hello", Installation: c.Installation("OCTO/hello")}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if text := c.log.String() + strings.Join(c.refused, "\n"); strings.Contains(text, c.token) {
			t.Errorf("the token was written: %s", text)
		}
		for _, r := range c.hub.Requests() {
			if strings.Contains(r.Path, c.token) {
				t.Errorf("the token is in the address %s", r.Path)
			}
		}
	})
	return c
}

// start makes the Host, which knows nothing: as after a restart.
func (c *center) start(in centerSetup) {
	c.t.Helper()
	if in.repos == nil {
		in.repos = []string{"OCTO/hello"}
	}
	web := c.hub.URL() + in.options.DataCenter.Context
	var err error
	c.Host, err = bitbucket.New(bitbucket.Config{
		Name: "bitbucket", Web: web, API: web + "/rest", DataCenter: true, Credentials: []bitbucket.Credential{{Repositories: in.repos, Token: c.token, Username: in.username}},
		People: in.people, Hook: in.hook, HookSecret: in.secret, Page: "https://ci.example.org/builds/", Transport: in.transport,
		Log: slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: in.now,
		Refused: func(_ int64, text string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.refused = append(c.refused, text)
		},
	})
	c.must(err)
}

func (c *center) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// the gives a repository of the server, as the program knows it.
func (c *center) the(name string) store.Repo {
	c.t.Helper()
	r, err := c.hub.Repo(name)
	c.must(err)
	key, slug, _ := strings.Cut(name, "/")
	if key = strings.ToUpper(key); strings.HasPrefix(key, "~") {
		key = strings.ToLower(key)
	}
	return store.Repo{Forge: "bitbucket", ID: strconv.FormatInt(r.ID, 10), Name: key + "/" + slug, Installation: c.Installation(key + "/" + slug)}
}

// push makes a commit on a branch.
func (c *center) push(repo, branch string, files map[string]string) string {
	c.t.Helper()
	sha, err := c.hub.Commit(repo, branch, bitbuckettest.Change{Message: "Change " + branch, Files: files})
	c.must(err)
	return sha
}

// pull opens a pull request from a new branch into main, and gives its number and newest commit.
func (c *center) pull(branch, user string) (int, string) {
	c.t.Helper()
	sha := c.push(centerRepo, branch, map[string]string{branch: "new\n"})
	number, _, err := c.hub.OpenPullRequest(centerRepo, bitbuckettest.PullRequest{Head: branch, Base: "main", User: user, Title: "Add " + branch})
	c.must(err)
	return number, sha
}

// said gives what Config.Refused was told.
func (c *center) said() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.refused)
}

func accountOf(u bitbuckettest.User) store.Account {
	return store.Account{ID: strconv.FormatInt(u.ID, 10), Login: u.Name}
}

// TestCenterPullRequest asks for pull requests of a branch and of a fork, open, merged and declined.
func TestCenterPullRequest(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	ada := c.hub.AddUser("ada")
	number, sha := c.pull("topic", "ada")
	pr, err := c.PullRequest(t.Context(), c.repo, number)
	c.must(err)
	if pr.Updated.IsZero() || time.Since(pr.Updated).Abs() > time.Hour {
		t.Errorf("updated %v", pr.Updated)
	}
	pr.Updated = time.Time{}
	want := store.PullRequest{Number: number, Open: true, Title: "Add topic", Author: accountOf(ada), Head: sha, HeadRef: "refs/heads/topic", HeadRepo: c.repo.ID,
		BaseRef: "refs/heads/main", Base: c.sha}
	if pr != want {
		t.Errorf("got %+v, want %+v", pr, want)
	}

	fork, err := c.hub.AddFork(centerRepo, "~grace")
	c.must(err)
	forked, err := c.hub.Repo(fork)
	c.must(err)
	head := c.push(fork, "fix", map[string]string{"fix": "it\n"})
	other, _, err := c.hub.OpenPullRequest(centerRepo, bitbuckettest.PullRequest{Head: "~grace:fix", Base: "main", User: "grace", Title: "Fix", Draft: true})
	c.must(err)
	pr, err = c.PullRequest(t.Context(), c.repo, other)
	c.must(err)
	if pr.HeadRepo != strconv.FormatInt(forked.ID, 10) || pr.HeadRepo == c.repo.ID || pr.HeadName != "" || pr.Head != head || pr.HeadRef != "refs/heads/fix" || !pr.Draft {
		t.Errorf("of a fork: %+v", pr)
	}
	// The head of the fork can be had from the repository itself.
	if commit, err := c.Host.Commit(t.Context(), c.repo, head); err != nil || commit.Hash != head {
		t.Errorf("the fork's commit: %+v %v", commit, err)
	}
	if commit, err := c.Host.Commit(t.Context(), c.repo, fmt.Sprintf("refs/pull-requests/%d/from", other)); err != nil || commit.Hash != head {
		t.Errorf("the ref of the pull request: %+v %v", commit, err)
	}

	_, err = c.hub.ClosePullRequest(centerRepo, number, true)
	c.must(err)
	_, err = c.hub.ClosePullRequest(centerRepo, other, false)
	c.must(err)
	if pr, err := c.PullRequest(t.Context(), c.repo, number); err != nil || pr.Open || !store.ValidHash(pr.Merged) {
		t.Errorf("merged: %+v %v", pr, err)
	}
	if pr, err := c.PullRequest(t.Context(), c.repo, other); err != nil || pr.Open || pr.Merged != "" {
		t.Errorf("declined: %+v %v", pr, err)
	}
	if _, err := c.PullRequest(t.Context(), c.repo, 99); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("there is no pull request 99: %v", err)
	}

	// The hashes of a delivery are full; one that is not is looked for.
	full := store.PullRequest{Number: 7, Head: sha, Base: c.sha}
	before := len(c.hub.Requests())
	if err := c.Complete(t.Context(), c.repo, &full); err != nil || full.Head != sha || len(c.hub.Requests()) != before {
		t.Errorf("complete: %+v %v", full, err)
	}
	short := store.PullRequest{Number: 7, Head: sha[:12], Base: c.sha[:12]}
	if err := c.Complete(t.Context(), c.repo, &short); err != nil || short.Head != sha || short.Base != c.sha {
		t.Errorf("complete: %+v %v", short, err)
	}
	for _, head := range []string{"", "0123456789ab", "main", "refs/heads/main", "-"} {
		if err := c.Complete(t.Context(), c.repo, &store.PullRequest{Number: 7, Head: head}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the head %q: %v", head, err)
		}
	}
	gone := store.PullRequest{Number: 7, Head: sha, Base: "0123456789ab", Merged: "main"}
	if err := c.Complete(t.Context(), c.repo, &gone); err != nil || gone.Base != "" || gone.Merged != "" {
		t.Errorf("what else is gone: %+v %v", gone, err)
	}
}

func TestCenterCommit(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	number, topic := c.pull("feature/topic", "ada")
	c.must(c.hub.SetRef(centerRepo, "refs/tags/v1", c.sha))
	c.must(c.hub.SetRef(centerRepo, "refs/heads/abcdef", topic))
	for version, want := range map[string]string{
		"": c.sha, "main": c.sha, "refs/heads/main": c.sha, "heads/main": c.sha, "feature/topic": topic, "v1": c.sha, "tags/v1": c.sha, "refs/tags/v1": c.sha,
		topic: topic, topic[:10]: topic, fmt.Sprint("pr/", number): topic, "abcdef": topic,
		"none": "", "pr/99": "", "refs/heads/none": "", strings.Repeat("0", 40): "", "ffff": "", "a..b": "", "../x": "", "main^": "", "pr/x": "", "-x": "",
	} {
		got, err := c.Host.Commit(t.Context(), c.repo, version)
		if want == "" && !errors.Is(err, store.ErrNotFound) || want != "" && (err != nil || got.Hash != want) {
			t.Errorf("Commit(%q) = %+v %v, want %s", version, got, err, want)
		}
		if want == c.sha && got.Message != "Begin" && got.Message != "Begin\n" {
			t.Errorf("Commit(%q) has the message %q", version, got.Message)
		}
	}
}

func TestCenterFileID(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	same := c.push(centerRepo, "same", map[string]string{"other": "x"})
	changed := c.push(centerRepo, "changed", map[string]string{"buildspec.yml": "version: 0.2\nphases: {}\n", "large": strings.Repeat("x", 2<<20)})
	id := func(commit, path string) string {
		t.Helper()
		id, err := c.FileID(t.Context(), c.repo, commit, path)
		c.must(err)
		return id
	}
	if a, b := id(c.sha, "buildspec.yml"), id(same, "buildspec.yml"); a == "" || a != b {
		t.Errorf("the same content is %q and %q", a, b)
	}
	if a, b := id(c.sha, "buildspec.yml"), id(changed, "buildspec.yml"); a == b {
		t.Errorf("other content is %q too", b)
	}
	if id(c.sha, "src/a b.go") == "" {
		t.Error("a name with a blank is not found")
	}
	for _, path := range []string{"none", "src/none", "src"} {
		if got := id(c.sha, path); got != "" {
			t.Errorf("%s is %q", path, got)
		}
	}
	if id(changed, "large") == "" {
		t.Error("a large file is not there")
	}
	if _, err := c.FileID(t.Context(), c.repo, strings.Repeat("0", 40), "buildspec.yml"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a commit that is not there: %v", err)
	}
	if _, err := c.FileID(t.Context(), c.repo, "main", "buildspec.yml"); err == nil {
		t.Error("a branch is taken for a commit")
	}
}

func TestCenterOwns(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	topic := c.push(centerRepo, "topic", map[string]string{"topic": "x"})
	c.push(centerRepo, "topic", map[string]string{"topic": "y"})
	fork, err := c.hub.AddFork(centerRepo, "~grace")
	c.must(err)
	foreign := c.push(fork, "fix", map[string]string{"fix": "it\n"})
	number, _, err := c.hub.OpenPullRequest(centerRepo, bitbuckettest.PullRequest{Head: "~grace:fix", Base: "main", User: "grace", Title: "Fix"})
	c.must(err)
	tagged := c.push(centerRepo, "gone", map[string]string{"gone": "x"})
	c.must(c.hub.SetRef(centerRepo, "refs/tags/v1", tagged))
	_, err = c.hub.Push(centerRepo, "gone")
	c.must(err)
	_, err = c.hub.DeleteBranch(centerRepo, "gone")
	c.must(err)
	for _, tt := range []struct {
		version, commit string
		want            bool
	}{
		{"main", c.sha, true}, {"", c.sha, true}, {c.sha, c.sha, true}, {"topic", topic, true}, {topic[:8], topic, true}, {"v1", tagged, true}, {"refs/tags/v1", tagged, true},
		{tagged, tagged, false}, // only a tag leads to it
		{foreign, foreign, false}, {fmt.Sprintf("refs/pull-requests/%d/from", number), foreign, false}, {fmt.Sprint("pr/", number), foreign, false},
		{"main", strings.Repeat("0", 40), false},
	} {
		if got, err := c.Owns(t.Context(), c.repo, tt.version, tt.commit); err != nil || got != tt.want {
			t.Errorf("Owns(%q, %s) = %v %v, want %v", tt.version, tt.commit, got, err, tt.want)
		}
	}
	if _, err := c.Owns(t.Context(), c.repo, "main", "abc"); err == nil {
		t.Error("a shortened hash is taken for a commit")
	}
}
