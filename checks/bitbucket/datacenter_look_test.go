package bitbucket_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

func TestCenterLook(t *testing.T) {
	t.Parallel()
	setup := centerSetup{}
	ofProject(&setup)
	c := newCenter(t, setup)
	number, topic := c.pull("topic", "ada")
	done, _ := c.pull("done", "ada")
	_, err := c.hub.ClosePullRequest(centerRepo, done, false)
	c.must(err)
	fork, err := c.hub.AddFork(centerRepo, "~grace")
	c.must(err)
	fix := c.push(fork, "fix", map[string]string{"fix": "it\n"})
	forked, _, err := c.hub.OpenPullRequest(centerRepo, bitbuckettest.PullRequest{Head: "~grace:fix", Base: "main", User: "grace", Title: "Fix"})
	c.must(err)
	c.must(c.hub.SetRef(centerRepo, "refs/tags/v1", c.sha))
	s, err := c.Look(t.Context(), c.repo)
	c.must(err)
	if len(s.Refs) != 4 || s.Refs["refs/heads/main"] != c.sha || s.Refs["refs/heads/topic"] != topic || s.Refs["refs/tags/v1"] != c.sha || s.Part {
		t.Errorf("refs: %v", s.Refs)
	}
	slices.SortFunc(s.Pulls, func(a, b store.PullRequest) int { return a.Number - b.Number })
	if len(s.Pulls) != 2 || s.Pulls[0].Number != number || s.Pulls[0].Head != topic || s.Pulls[1].Number != forked || s.Pulls[1].Head != fix || !s.Pulls[1].Open ||
		s.Pulls[1].HeadRepo != c.the(fork).ID {
		t.Errorf("pull requests: %+v", s.Pulls)
	}

	// An empty repository has none of it.
	_, err = c.hub.AddRepo("octo/empty", bitbuckettest.RepoOptions{Private: true})
	c.must(err)
	if s, err := c.Look(t.Context(), c.the("octo/empty")); err != nil || len(s.Refs)+len(s.Pulls) != 0 || s.Part {
		t.Errorf("empty: %+v %v", s, err)
	}
	if _, err := c.Host.Commit(t.Context(), c.the("octo/empty"), ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the newest commit of an empty repository: %v", err)
	}
}

// TestCenterLongPages has pull requests and comments so long that a page of them is more than is read.
func TestCenterLongPages(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	long := strings.Repeat("x", 32_000)
	for n := range 40 {
		branch := fmt.Sprint("topic", n)
		c.push(centerRepo, branch, map[string]string{branch: "new\n"})
		_, _, err := c.hub.OpenPullRequest(centerRepo, bitbuckettest.PullRequest{Head: branch, Base: "main", User: "ada", Title: "Add", Body: long})
		c.must(err)
		_, _, err = c.hub.Comment(centerRepo, 1, "ada", long)
		c.must(err)
	}
	s, err := c.Look(t.Context(), c.repo)
	if err != nil || len(s.Pulls) != 40 || s.Part {
		t.Errorf("%d pull requests, %v", len(s.Pulls), err)
	}
	if list, err := c.Host.Comments(t.Context(), c.repo, 1, time.Time{}); err != nil || len(list) != 40 {
		t.Errorf("%d comments, %v", len(list), err)
	}
	// A thread that is too long alone keeps nothing else from being read.
	first, _, err := c.hub.Comment(centerRepo, 2, "ada", "first")
	c.must(err)
	huge, _, err := c.hub.Comment(centerRepo, 2, "eve", long)
	c.must(err)
	for range 40 {
		_, _, err := c.hub.ReplyTo(centerRepo, 2, huge.ID, "eve", long)
		c.must(err)
	}
	last, _, err := c.hub.Comment(centerRepo, 2, "ada", "last")
	c.must(err)
	list, err := c.Host.Comments(t.Context(), c.repo, 2, time.Time{})
	if err != nil || len(list) != 2 || list[0].ID != first.ID || list[1].ID != last.ID {
		t.Errorf("beside a huge thread: %+v %v", list, err)
	}
}

// TestCenterComments lists what others wrote, answers included, since a time.
func TestCenterComments(t *testing.T) {
	t.Parallel()
	clock := newClock()
	setup := centerSetup{}
	setup.options.Now = clock.now
	c := newCenter(t, setup)
	number, _ := c.pull("topic", "ada")
	said := func(parent int64, user, body string) int64 {
		t.Helper()
		clock.pass(time.Minute)
		var made bitbuckettest.Comment
		var err error
		if parent == 0 {
			made, _, err = c.hub.Comment(centerRepo, number, user, body)
		} else {
			made, _, err = c.hub.ReplyTo(centerRepo, number, parent, user, body)
		}
		c.must(err)
		return made.ID
	}
	first := said(0, "ada", "/rebuild")
	second := said(0, "grace", "no")
	clock.pass(time.Hour)
	since := clock.now()
	answer := said(first, "grace", "/stop") // to a comment of an hour ago
	deep := said(answer, "ada", "/rebuild please")
	c.must(c.reply(number, first))
	said(0, "eve", "[//]: # (buildsmith:summary)")
	all, err := c.Host.Comments(t.Context(), c.repo, number, time.Time{})
	c.must(err)
	var ids []int64
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	if !slices.Equal(ids, []int64{first, second, answer, deep}) {
		t.Errorf("comments %v", ids)
	}
	if one := all[2]; one.Body != "/stop" || one.Author != accountOf(c.hub.AddUser("grace")) || one.PullRequest != number || one.Created.Before(since) {
		t.Errorf("got %+v", one)
	}
	late, err := c.Host.Comments(t.Context(), c.repo, number, since)
	if err != nil || len(late) != 2 || late[0].ID != answer || late[1].ID != deep {
		t.Errorf("since: %+v %v", late, err)
	}
	if _, err := c.Host.Comments(t.Context(), c.repo, 99, since); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of no pull request: %v", err)
	}
}

// reply has the Host answer a comment.
func (c *center) reply(number int, to int64) error {
	_, err := c.Create(c.t.Context(), c.repo, &checks.Report{Kind: checks.KindComment, Name: checks.ReplyName, ExternalID: "reply-1", PullRequest: number, InReplyTo: to, Summary: "Done."})
	return err
}

func TestCenterAcknowledge(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{token: bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}}})
	number, _ := c.pull("topic", "ada")
	made, _, err := c.hub.Comment(centerRepo, number, "ada", "/rebuild")
	c.must(err)
	comment := store.Comment{ID: made.ID, PullRequest: number}
	for _, with := range []store.Reaction{store.ReactionAccepted, store.ReactionAccepted, store.ReactionRefused} {
		c.must(c.Acknowledge(t.Context(), c.repo, comment, with))
	}
	var emoticons []string
	for _, r := range c.hub.Comments(centerRepo, number)[0].Reactions {
		emoticons = append(emoticons, r.Emoticon)
	}
	slices.Sort(emoticons)
	if !slices.Equal(emoticons, []string{"eyes", "thumbsdown"}) {
		t.Errorf("reactions: %q", emoticons)
	}
	// Servers without reactions have no such address.
	c.must(c.hub.Inject(bitbuckettest.Fault{Method: http.MethodPut, Path: "/comment-likes/", Status: http.StatusNotFound, Body: "<html>"}))
	c.must(c.Acknowledge(t.Context(), c.repo, comment, store.ReactionAccepted))
	if err := c.Acknowledge(t.Context(), c.repo, comment, "heart"); err == nil {
		t.Error("a reaction that there is not was given")
	}
}
