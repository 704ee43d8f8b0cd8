package bitbucket_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// A bend is a transport that changes answers: it stands for versions and states of a server that the fake has not.
type bend func(r *http.Request, status int, header http.Header, body []byte) (int, []byte)

func (b bend) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	answer.StatusCode, body = b(r, answer.StatusCode, answer.Header, body)
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer.Header.Del("Content-Length")
	return answer, nil
}

// TestCenterOddAnswers has Bitbucket answer with something that was not asked for. It is believed nowhere.
func TestCenterOddAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path, body string
		ask        func(c *center) error
		want       string
	}{
		"another pull request": {"/pull-requests/1$", `{"id":2,"state":"OPEN","toRef":{"repository":{"id":REPO}}}`, pullOne, "Bitbucket answers with pull request 2 where 1 was asked for"},
		"another repository's": {"/pull-requests/1$", `{"id":1,"state":"OPEN","toRef":{"repository":{"id":424242}}}`, pullOne,
			"pull request 1 of OCTO/hello goes to another repository, which has that name now: not found"},
		"no pull request":   {"/pull-requests/1$", `[]`, pullOne, "GET /api/latest/projects/OCTO/repos/hello/pull-requests/…: the answer is not what Bitbucket describes: "},
		"another commit":    {"/commits/", `{"id":"` + strings.Repeat("ab", 20) + `"}`, commitOf(strings.Repeat("cd", 20)), "Bitbucket answers with commit \"" + strings.Repeat("ab", 20) + "\" where " + strings.Repeat("cd", 20) + " was asked for"},
		"half a commit":     {"/commits", `{"values":[{"id":"abcd"}]}`, commitOf("main"), `Bitbucket names no commit for "refs/heads/main"`},
		"no newest commit":  {"/commits", `{"values":[]}`, commitOf(""), "the default branch has no commit: not found"},
		"no repository":     {"/repos/hello$", `{"slug":"hello"}`, commitOf("main"), "Bitbucket answers with no repository where OCTO/hello was asked for"},
		"a path for a name": {"/repos/hello$", `{"id":REPO,"slug":"..","project":{"key":"OCTO"}}`, commitOf("main"), "Bitbucket answers with no repository where OCTO/hello was asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCenter(t, centerSetup{})
			c.must(c.hub.Inject(bitbuckettest.Fault{Path: tt.path, Status: 200, Times: -1, Body: strings.ReplaceAll(tt.body, "REPO", c.repo.ID)}))
			if err := tt.ask(c); err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.HasSuffix(tt.want, "not found") != errors.Is(err, store.ErrNotFound) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func pullOne(c *center) error {
	_, err := c.PullRequest(c.t.Context(), c.repo, 1)
	return err
}

func commitOf(version string) func(*center) error {
	return func(c *center) error {
		_, err := c.Host.Commit(c.t.Context(), c.repo, version)
		return err
	}
}

// TestCenterArchived leaves out what is archived, and says so of what is named.
func TestCenterArchived(t *testing.T) {
	t.Parallel()
	archived := bend(func(r *http.Request, status int, _ http.Header, body []byte) (int, []byte) {
		return status, bytes.ReplaceAll(body, []byte(`"archived":false`), []byte(`"archived":true`))
	})
	setup := centerSetup{transport: archived}
	ofProject(&setup)
	c := newCenter(t, setup)
	if repos, err := c.Repositories(t.Context()); err != nil || len(repos) != 0 {
		t.Errorf("of a project: %+v %v", repos, err)
	}
	setup.repos = []string{"OCTO/hello"}
	c.start(setup)
	if repos, err := c.Repositories(t.Context()); len(repos) != 0 || err == nil || err.Error() != "OCTO/hello: OCTO/hello is archived: nothing in it changes any more" {
		t.Errorf("by name: %+v %v", repos, err)
	}
}

// TestCenterSelf finds out who we are: by the id in the header, or else by the name there, if somebody may look for it.
func TestCenterSelf(t *testing.T) {
	t.Parallel()
	nameless := bend(func(r *http.Request, status int, header http.Header, body []byte) (int, []byte) {
		header.Del("X-Auserid")
		if name := header.Get("X-Ausername"); name != "" {
			header.Set("X-Ausername", strings.ReplaceAll(name, "o", "%6F")) // some versions escape it
		}
		return status, body
	})
	for name, tt := range map[string]struct {
		token bitbuckettest.TokenOptions
		found bool
	}{
		"of a person":     {bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops"}, true},
		"of a repository": {bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCenter(t, centerSetup{transport: nameless, token: tt.token})
			c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
			c.hub.AddUser("ops2") // of whom the filter speaks as well
			number, _ := c.pull("topic", "ada")
			_, _, err := c.hub.Comment(centerRepo, number, "eve", "Mine.\n\n[//]: # (buildsmith:summary)")
			c.must(err)
			report := &checks.Report{Kind: checks.KindComment, Name: checks.SummaryName, ExternalID: "1", PullRequest: number, Status: checks.Completed, Summary: "text"}
			remote, err := c.Create(t.Context(), c.repo, report)
			c.must(err)
			c.start(centerSetup{transport: nameless})
			found, err := c.Find(t.Context(), c.repo, report)
			c.must(err)
			if tt.found != (found == remote) {
				t.Errorf("found %q, ours is %q", found, remote)
			}
			if !tt.found { // the first with the mark is not ours, and it is told that we may not change it
				if err := c.Update(t.Context(), c.repo, found, report, nil); !errors.Is(err, checks.ErrGone) {
					t.Errorf("another's comment: %v", err)
				}
				if found, err := c.Find(t.Context(), c.repo, report); err != nil || found != remote {
					t.Errorf("found %q %v then, ours is %q", found, err, remote)
				}
			}
		})
	}
}

// TestCenterMuch has more branches, pull requests and comments than are read: what is there is there, and it is said that it is not all.
func TestCenterMuch(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("ab", 20)
	var repo string
	many := bend(func(r *http.Request, status int, _ http.Header, body []byte) (int, []byte) {
		var start, limit int
		fmt.Sscan(r.URL.Query().Get("start"), &start)
		fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		var entry func(n int) any
		switch {
		case strings.HasSuffix(r.URL.Path, "/branches"):
			entry = func(n int) any {
				return map[string]any{"id": fmt.Sprint("refs/heads/b", n), "latestCommit": hash}
			}
		case strings.HasSuffix(r.URL.Path, "/pull-requests"):
			entry = func(n int) any {
				return map[string]any{"id": n + 1, "state": "OPEN", "toRef": map[string]any{"repository": map[string]any{"id": json.Number(repo)}}}
			}
		case strings.HasSuffix(r.URL.Path, "/activities"):
			entry = func(n int) any {
				return map[string]any{"action": "COMMENTED", "comment": map[string]any{"id": 1_000_000 - n, "text": "x"}}
			}
		default:
			return status, body
		}
		page := map[string]any{"isLastPage": false, "nextPageStart": start + limit}
		var values []any
		for n := range limit {
			values = append(values, entry(start+n))
		}
		page["values"] = values
		text, err := json.Marshal(page)
		if err != nil {
			t.Error(err)
		}
		return http.StatusOK, text
	})
	c := newCenter(t, centerSetup{transport: many})
	repo = c.repo.ID
	s, err := c.Look(t.Context(), c.repo)
	if err != nil || len(s.Refs) != 20_000 || len(s.Pulls) != 5000 || !s.Part || s.Refs["refs/heads/b0"] != hash {
		t.Errorf("%d refs, %d pull requests, part %v, %v", len(s.Refs), len(s.Pulls), s.Part, err)
	}
	list, err := c.Host.Comments(t.Context(), c.repo, 1, time.Time{})
	if err != nil || len(list) != 5000 || list[4999].ID != 1_000_000 || !strings.Contains(c.log.String(), "a pull request has more comments than are read") {
		t.Errorf("%d comments, %v", len(list), err)
	}
}
