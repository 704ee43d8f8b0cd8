package bitbucket_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// A handClock is set by hand.
type handClock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *handClock { return &handClock{at: time.Now()} }

func (c *handClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// ofProject is a token of the project OCTO, for all of it.
func ofProject(c *centerSetup) {
	c.repos = []string{"OCTO/*"}
	c.token = bitbuckettest.TokenOptions{Kind: bitbuckettest.ProjectToken, Project: "OCTO", Scopes: []string{"PROJECT_ADMIN"}}
}

// take gives another repository the name of the usual one, which has another by now.
func (c *center) take() {
	c.t.Helper()
	_, err := c.hub.AddRepo("octo/second", bitbuckettest.RepoOptions{Private: true})
	c.must(err)
	_, err = c.hub.Rename("octo/second", "hello")
	c.must(err)
}

// TestCenterRenamed asks for a repository by a name that it has no longer: its own things are found, at once and also when another
// repository has taken the name.
func TestCenterRenamed(t *testing.T) {
	t.Parallel()
	clock := newClock()
	setup := centerSetup{now: clock.now}
	ofProject(&setup)
	c := newCenter(t, setup)
	number, sha := c.pull("topic", "ada")
	if _, err := c.PullRequest(t.Context(), c.repo, number); err != nil {
		t.Fatal(err)
	}
	_, err := c.hub.Rename(centerRepo, "greeting")
	c.must(err)
	clock.pass(30 * time.Second)
	// That the list is not to be had does not mean that the repository is gone.
	c.must(c.hub.Inject(bitbuckettest.Fault{Path: "/projects/OCTO/repos$", Status: http.StatusBadGateway, Times: 3}))
	if _, err := c.PullRequest(t.Context(), c.repo, number); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "status 502") {
		t.Fatalf("without the list: %v", err)
	}
	if pr, err := c.PullRequest(t.Context(), c.repo, number); err != nil || pr.Head != sha {
		t.Fatalf("by the old name: %+v %v", pr, err)
	}

	// Another repository takes the name, with a pull request of the same number and somebody who may do all there.
	c.take()
	other := c.push(centerRepo, "main", map[string]string{"x": "y"})
	c.pull("bad", "eve")
	c.must(c.hub.SetPermission(centerRepo, "eve", "admin"))
	clock.pass(2 * time.Minute)
	if pr, err := c.PullRequest(t.Context(), c.repo, number); err != nil || pr.Head != sha {
		t.Errorf("when the name is another's: %+v %v", pr, err)
	}
	if commit, err := c.Host.Commit(t.Context(), c.repo, "main"); err != nil || commit.Hash != c.sha || commit.Hash == other {
		t.Errorf("when the name is another's: %+v %v", commit, err)
	}
	if got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser("eve"))); got != store.PermissionNone {
		t.Errorf("who may do all in the other may do %v here (%v)", got, err)
	}

	// Who takes the name just now gains nothing by what was true a moment ago.
	swapped := c.the("octo/greeting")
	if _, err := c.Host.Commit(t.Context(), swapped, "main"); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"octo/greeting", "away"}, {centerRepo, "greeting"}} {
		_, err := c.hub.Rename(names[0], names[1])
		c.must(err)
	}
	if got, err := c.Permission(t.Context(), swapped, accountOf(c.hub.AddUser("eve"))); got != store.PermissionNone {
		t.Errorf("who may do all in the one that has the name now may do %v here (%v)", got, err)
	}
	for _, names := range [][2]string{{"octo/greeting", "hello"}, {"octo/away", "greeting"}} {
		_, err := c.hub.Rename(names[0], names[1])
		c.must(err)
	}

	// The list has both under the names that they have now.
	repos, err := c.Repositories(t.Context())
	c.must(err)
	found := map[string]string{}
	for _, r := range repos {
		found[r.ID] = r.Name
	}
	if len(repos) != 2 || found[c.repo.ID] != "OCTO/greeting" {
		t.Errorf("repositories: %+v", repos)
	}
}

// TestCenterNameTaken has a credential that is for one name alone. When another repository has it, nothing is asked of that one or told
// to it.
func TestCenterNameTaken(t *testing.T) {
	t.Parallel()
	clock := newClock()
	c := newCenter(t, centerSetup{now: clock.now, token: bitbuckettest.TokenOptions{Kind: bitbuckettest.ProjectToken, Project: "OCTO"}})
	number, _ := c.pull("topic", "ada")
	_, err := c.hub.Rename(centerRepo, "greeting")
	c.must(err)
	if _, err := c.PullRequest(t.Context(), c.repo, number); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the name is nobody's: %v", err)
	}
	c.take()
	c.push(centerRepo, "main", map[string]string{"x": "y"})
	c.pull("bad", "eve")
	clock.pass(2 * time.Minute)
	before := len(c.hub.Requests())
	_, err = c.PullRequest(t.Context(), c.repo, number)
	if want := fmt.Sprintf("OCTO/hello is another repository now, and the one with the id %s is not among those of its credential: not found", c.repo.ID); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for n := range 5 {
		if _, err := c.Host.Commit(t.Context(), c.repo, "main"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if asked := c.hub.Requests()[before:]; len(asked) > 2 {
		t.Errorf("what is not there was looked for again and again: %d requests", len(asked))
	}
	for _, name := range []string{"", "OCTO", "OCTO/", "OCTO/../x", "OCTO/..", "../hello", "OCTO/hello/x", "OCTO/hel lo", "OCTO/hello?x", "OCTO/%2e%2e"} {
		r := c.repo
		r.Name = name
		before := len(c.hub.Requests())
		if _, err := c.Host.Commit(t.Context(), r, "main"); err == nil {
			t.Errorf("%q is taken for a repository", name)
		}
		for _, asked := range c.hub.Requests()[before:] {
			if !strings.Contains(asked.Path, "/projects/OCTO/repos/hello") {
				t.Errorf("%q leads to %s", name, asked.Path)
			}
		}
	}
}

// TestCenterRepositories lists what credentials are for: of a project, of a person, by name.
func TestCenterRepositories(t *testing.T) {
	t.Parallel()
	setup := centerSetup{repos: []string{"octo/*", "~ops/tools", "OCTO/hello", "OTHER/none"}, username: "ops"}
	allOf(&setup, "PROJECT_ADMIN", "REPO_ADMIN")
	setup.options.DataCenter.Context = "/bitbucket"
	c := newCenter(t, setup)
	c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
	for _, name := range []string{"octo/shop", "~ops/tools", "~ops/private"} {
		_, err := c.hub.AddRepo(name, bitbuckettest.RepoOptions{Private: name != "octo/shop"})
		c.must(err)
	}
	repos, err := c.Repositories(t.Context())
	c.must(err)
	host := strings.TrimPrefix(c.hub.URL(), "http://")
	web := c.hub.URL() + "/bitbucket"
	installation := c.Installations()[0].ID
	want := []store.Repo{
		{Name: "OCTO/hello", CloneURL: web + "/scm/octo/hello.git", WebURL: web + "/projects/OCTO/repos/hello", DefaultBranch: "main", Private: true},
		{Name: "OCTO/shop", CloneURL: web + "/scm/octo/shop.git", WebURL: web + "/projects/OCTO/repos/shop"}, // it is empty
		{Name: "~ops/tools", CloneURL: web + "/scm/~ops/tools.git", WebURL: web + "/users/ops/repos/tools", Private: true},
	}
	if len(repos) != len(want) {
		t.Fatalf("got %+v", repos)
	}
	for n := range want {
		want[n].Forge, want[n].Host, want[n].Installation, want[n].ID = "bitbucket", host, installation, c.the(want[n].Name).ID
		if repos[n] != want[n] {
			t.Errorf("got %+v, want %+v", repos[n], want[n])
		}
		if got := c.CloneURL(want[n].Name); got != want[n].CloneURL {
			t.Errorf("it is cloned from %s", got)
		}
		commit, pull := c.Links(want[n])
		if commit != want[n].WebURL+"/commits/" || pull != want[n].WebURL+"/pull-requests/" {
			t.Errorf("links: %s %s", commit, pull)
		}
	}
	if unread := c.Unread(); len(unread) != 1 || !errors.Is(unread["OTHER/none"], store.ErrNotFound) {
		t.Errorf("unread: %v", unread)
	}
}

// TestCenterCloneHeader clones by what the header says, which git takes.
func TestCenterCloneHeader(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		token    bitbuckettest.TokenOptions
		username string
	}{
		"of a repository": {bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}}, ""},
		"of a project":    {bitbuckettest.TokenOptions{Kind: bitbuckettest.ProjectToken, Project: "OCTO", Scopes: []string{"REPO_READ"}}, ""},
		"of a person":     {bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops", Scopes: []string{"REPO_READ"}}, ""},
		"with a name":     {bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops", Scopes: []string{"REPO_READ"}}, "ops"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := centerSetup{token: tt.token, username: tt.username}
			setup.options.DataCenter.Context, setup.options.DataCenter.BearerOnly = "/bitbucket", tt.username == ""
			c := newCenter(t, setup)
			c.must(c.hub.SetPermission(centerRepo, "ops", "read"))
			header, revoke, err := c.CloneHeader(t.Context(), c.repo)
			c.must(err)
			defer revoke()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.CloneURL(c.repo.Name)+"/info/refs?service=git-upload-pack", nil)
			c.must(err)
			key, value, _ := strings.Cut(header, ": ")
			request.Header.Set(key, value)
			answer, err := http.DefaultClient.Do(request)
			c.must(err)
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("git is answered %s", answer.Status)
			}
		})
	}
}
