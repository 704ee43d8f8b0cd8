package bitbuckettest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/forgetest"
)

// A listener is a bot that reads what it is told.
type listener struct{ *bot }

func newListener(t *testing.T) listener { return listener{newBot(t)} }

// heard returns all that was told, and forgets it.
func (l listener) heard(t *testing.T) (requests []*http.Request, payloads []object) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, body := range l.bodies {
		var o object
		if err := json.Unmarshal(body, &o); err != nil {
			t.Fatalf("it was told %q: %v", body, err)
		}
		payloads = append(payloads, o)
	}
	requests, l.got, l.bodies = l.got, nil, nil
	return requests, payloads
}

// only returns the one thing that was told.
func (l listener) only(t *testing.T, event string) (*http.Request, object) {
	t.Helper()
	requests, payloads := l.heard(t)
	if len(requests) != 1 || requests[0].Header.Get("X-Event-Key") != event || event != "diagnostics:ping" && payloads[0]["eventKey"] != event {
		t.Fatalf("it was told %v, want one %s", payloads, event)
	}
	return requests[0], payloads[0]
}

// dcAll are the events that there are here.
var dcAll = []string{"repo:refs_changed", "repo:modified", "pr:opened", "pr:from_ref_updated", "pr:modified", "pr:merged", "pr:declined", "pr:deleted", "pr:comment:added",
	"pr:comment:edited", "pr:comment:deleted"}

// listen registers a hook for all events.
func (s *center) listen(l listener) {
	s.t.Helper()
	if _, err := s.AddHook(centerRepo, Hook{Name: "ci", URL: l.URL, Secret: "secret", Active: true, Events: dcAll}); err != nil {
		s.t.Fatal(err)
	}
}

func TestDataCenterPushEvents(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	s.listen(l)
	first, err := s.Commit(centerRepo, "main", Change{Author: "ada", Message: "First"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Push(centerRepo, "main")
	if err != nil || !d.Succeeded() {
		t.Errorf("the delivery is %+v, %v", d, err)
	}
	r, o := l.only(t, "repo:refs_changed")
	if r.Header.Get("X-Request-Id") != d.GUID || r.Header.Get("X-Hub-Signature") != Sign("secret", d.Payload) || r.Header.Get("X-Hook-Uuid") != "" || r.Header.Get("Authorization") != "" {
		t.Errorf("the headers are %v", r.Header)
	}
	expect(t, o, map[string]any{"actor.name": "ada", "repository.project.key": "OCTO", "repository.slug": "hello", "changes.0.type": "ADD", "changes.0.ref.id": "refs/heads/main",
		"changes.0.ref.displayId": "main", "changes.0.ref.type": "BRANCH", "changes.0.refId": "refs/heads/main", "changes.0.fromHash": forgetest.ZeroHash, "changes.0.toHash": first,
		"changes.1": nil, "commits.0.id": first, "commits.0.message": "First", "toCommit.id": first, "toCommit.parents.0.id": s.sha, "toCommit.parents.0.message": "Change"})

	// Seven commits, of which five are told, together with a tag with an object of its own and a branch that goes.
	tip := first
	for range 7 {
		tip = s.commit("main", nil)
	}
	dir, err := s.RepoDir(centerRepo)
	if err != nil {
		t.Fatal(err)
	}
	host := forgetest.Host{Name: "ada", Email: "ada@example.org"}
	if _, err := host.Git(dir, nil, "tag", "-a", "-m", "one", "v1", tip); err != nil {
		t.Fatal(err)
	}
	refs, err := forgetest.Refs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(centerRepo, "main", "refs/tags/v1"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "repo:refs_changed")
	expect(t, o, map[string]any{"changes.0.type": "UPDATE", "changes.0.fromHash": first, "changes.0.toHash": tip, "changes.1.type": "ADD", "changes.1.ref.id": "refs/tags/v1",
		"changes.1.ref.type": "TAG", "changes.1.ref.displayId": "v1", "changes.1.toHash": refs["refs/tags/v1"], "changes.2": nil, "toCommit": nil})
	if commits := o["commits"].([]any); len(commits) != 5 || at(commits, "0.id") != tip {
		t.Errorf("the commits are %v", commits)
	}

	if _, err := s.DeleteTag(centerRepo, "v1"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "repo:refs_changed")
	expect(t, o, map[string]any{"changes.0.type": "DELETE", "changes.0.fromHash": refs["refs/tags/v1"], "changes.0.toHash": forgetest.ZeroHash, "commits": nil, "toCommit": nil})

	// A forced push, and one that an older server tells of.
	if _, err := s.Commit(centerRepo, "main", Change{Parent: s.sha, Files: map[string]string{"f": "f"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(centerRepo, "main"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "repo:refs_changed")
	expect(t, o, map[string]any{"changes.0.type": "UPDATE", "changes.0.fromHash": tip})
	old := newCenter(t, Options{DataCenter: DataCenterOptions{Version: "7.21.3"}})
	old.listen(l)
	if _, err := old.Push(centerRepo, "main"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "repo:refs_changed")
	expect(t, o, map[string]any{"changes.0.type": "ADD", "commits": nil, "toCommit": nil})
}

func TestDataCenterPullEvents(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	s.listen(l)
	did := func(d Delivery, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pull := s.pull("feature")
	_, o := l.only(t, "pr:opened")
	head := at(o, "pullRequest.fromRef.latestCommit")
	expect(t, o, map[string]any{"actor.name": "ada", "pullRequest.id": 1.0, "pullRequest.state": "OPEN", "pullRequest.draft": false, "pullRequest.toRef.latestCommit": s.sha,
		"pullRequest.fromRef.repository.id": at(o, "pullRequest.toRef.repository.id"), "pullRequest.author.user.name": "ada"})

	next := s.commit("feature", map[string]string{"more": "more"})
	did(s.SynchronizePullRequest(centerRepo, pull))
	_, o = l.only(t, "pr:from_ref_updated")
	expect(t, o, map[string]any{"previousFromHash": head, "pullRequest.fromRef.latestCommit": next, "pullRequest.version": 1.0})

	did(s.Retitle(centerRepo, pull, "Another"))
	_, o = l.only(t, "pr:modified")
	expect(t, o, map[string]any{"previousTitle": "Add feature", "pullRequest.title": "Another", "previousTarget.id": "refs/heads/main", "previousTarget.latestCommit": s.sha,
		"previousDescription": nil, "previousDraft": false})

	release := s.commit("release", map[string]string{"r": "r"})
	did(s.ChangeBase(centerRepo, pull, "release"))
	_, o = l.only(t, "pr:modified")
	expect(t, o, map[string]any{"previousTitle": "Another", "previousTarget.displayId": "main", "previousTarget.latestCommit": s.sha, "pullRequest.toRef.id": "refs/heads/release",
		"pullRequest.toRef.latestCommit": release})

	did(s.SetDraft(centerRepo, pull, true))
	_, o = l.only(t, "pr:modified")
	expect(t, o, map[string]any{"previousDraft": false, "pullRequest.draft": true})

	did(s.ClosePullRequest(centerRepo, pull, false))
	_, o = l.only(t, "pr:declined")
	expect(t, o, map[string]any{"actor.name": "octo", "pullRequest.state": "DECLINED", "pullRequest.open": false, "pullRequest.closed": true, "pullRequest.properties": nil})

	did(s.ReopenPullRequest(centerRepo, pull)) // of which nobody is told
	did(s.ClosePullRequest(centerRepo, pull, true))
	_, o = l.only(t, "pr:merged")
	expect(t, o, map[string]any{"pullRequest.state": "MERGED", "pullRequest.properties.mergeCommit.id": s.must("GET "+s.api+"/commits/release", "", http.StatusOK)["id"]})

	s.commit("other", nil)
	other, _, err := s.OpenPullRequest(centerRepo, PullRequest{Head: "other", Title: "Add other", Body: "About it", User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "pr:opened")
	expect(t, o, map[string]any{"pullRequest.description": "About it"})
	did(s.Retitle(centerRepo, other, "Another other"))
	_, o = l.only(t, "pr:modified")
	expect(t, o, map[string]any{"previousDescription": "About it", "previousTitle": "Add other"})
	did(s.DeletePullRequest(centerRepo, other))
	_, o = l.only(t, "pr:deleted")
	expect(t, o, map[string]any{"pullRequest.id": 2.0, "pullRequest.title": "Another other", "pullRequest.state": "OPEN"})
	if _, err := s.DeletePullRequest(centerRepo, other); err == nil {
		t.Error("what is deleted was deleted again")
	}
}

func TestDataCenterCommentEvents(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	pull := s.pull("feature")
	s.listen(l)
	comment := s.comment(pull, "eve", "/build")
	_, o := l.only(t, "pr:comment:added")
	expect(t, o, map[string]any{"actor.name": "eve", "comment.id": float64(comment), "comment.text": "/build", "comment.author.name": "eve", "comment.version": 0.0,
		"commentParentId": nil, "pullRequest.id": 1.0, "pullRequest.fromRef.displayId": "feature", "comment.permittedOperations": nil})
	reply, _, err := s.ReplyTo(centerRepo, pull, comment, "ada", "why")
	if err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "pr:comment:added")
	expect(t, o, map[string]any{"commentParentId": float64(comment), "comment.id": float64(reply.ID)})
	if _, err := s.EditComment(comment, "eve", "/test"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "pr:comment:edited")
	expect(t, o, map[string]any{"previousComment": "/build", "comment.text": "/test", "comment.version": 1.0, "comment.comments.0.text": "why"})
	if _, err := s.DeleteComment(reply.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "pr:comment:deleted")
	expect(t, o, map[string]any{"comment.id": float64(reply.ID), "commentParentId": float64(comment)})

	// The bot hears itself too.
	s.must("POST "+s.api+"/pull-requests/1/comments", `{"text": "done"}`, http.StatusCreated)
	if err := s.Await(soon(t), func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.got) > 0 }); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "pr:comment:added")
	expect(t, o, map[string]any{"comment.text": "done", "actor.type": "SERVICE"})
}

func TestDataCenterModifiedEvents(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	s.listen(l)
	if _, err := s.SetVisibility(centerRepo, false); err != nil {
		t.Fatal(err)
	}
	_, o := l.only(t, "repo:modified")
	expect(t, o, map[string]any{"old.public": false, "new.public": true, "old.slug": "hello", "new.slug": "hello", "actor.name": "octo"})
	if _, err := s.Rename(centerRepo, "world"); err != nil {
		t.Fatal(err)
	}
	_, o = l.only(t, "repo:modified")
	expect(t, o, map[string]any{"old.slug": "hello", "new.slug": "world", "old.id": at(o, "new.id"), "old.links.clone.0.href": s.URL() + "/scm/octo/hello.git",
		"new.links.clone.0.href": s.URL() + "/scm/octo/world.git", "repository": nil})
	problemOf(t, s.must("GET "+s.api, "", http.StatusNotFound)) // the old name is nobody's
	if d, err := s.Delete("octo/world"); err != nil || d.Event != "" {
		t.Errorf("of a repository that is gone it tells %+v, %v", d, err)
	}
}

// TestDataCenterTellsOnlyWhatIsWanted leaves out events that a hook does not name, and hooks that are off.
func TestDataCenterTellsOnlyWhatIsWanted(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	for _, h := range []Hook{{URL: l.URL, Active: true, Events: []string{"pr:opened"}}, {URL: l.URL, Events: dcAll}, {URL: l.URL, Active: true, Project: "octo", Events: []string{"pr:merged"}}} {
		repo := centerRepo
		if h.Project != "" {
			repo = ""
		}
		if _, err := s.AddHook(repo, h); err != nil {
			t.Fatal(err)
		}
	}
	pull := s.pull("feature")
	r, _ := l.only(t, "pr:opened")
	if r.Header.Get("X-Hub-Signature") != "" {
		t.Error("a hook without a secret has a signature")
	}
	s.comment(pull, "ada", "hello")
	if _, payloads := l.heard(t); payloads != nil {
		t.Errorf("it was told %v", payloads)
	}
	if _, err := s.ClosePullRequest(centerRepo, pull, true); err != nil {
		t.Fatal(err)
	}
	l.only(t, "pr:merged")
}

func TestDataCenterPing(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	s.listen(l)
	d, err := s.Ping(centerRepo)
	if err != nil || string(d.Payload) != `{"test":true}` {
		t.Errorf("the ping is %+v, %v", d, err)
	}
	if r, o := l.only(t, "diagnostics:ping"); r.Header.Get("X-Hub-Signature") != "" || o["test"] != true {
		t.Errorf("the ping is %v, %v", r.Header, o)
	}
}

// TestDataCenterBreaker lets a hook fail until it is skipped, and lets it recover.
func TestDataCenterBreaker(t *testing.T) {
	t.Parallel()
	c := newClock()
	s, l := newCenter(t, Options{Now: c.now, DataCenter: DataCenterOptions{Breaker: 2}}), newListener(t)
	s.listen(l)
	l.answer(http.StatusInternalServerError, http.StatusInternalServerError, http.StatusInternalServerError)
	tell := func() Delivery {
		t.Helper()
		s.commit("main", nil)
		d, err := s.Push(centerRepo, "main")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	var got []string
	for range 3 {
		got = append(got, tell().Status)
	}
	c.add(11 * time.Second)
	got = append(got, tell().Status) // it fails again, and is skipped for longer
	c.add(11 * time.Second)
	got = append(got, tell().Status)
	c.add(11 * time.Second)
	got = append(got, tell().Status, tell().Status)
	failed := "500 Internal Server Error"
	if want := []string{failed, failed, "skipped", failed, "skipped", "OK", "OK"}; !slices.Equal(got, want) {
		t.Errorf("the deliveries are %q, want %q", got, want)
	}
	if n := len(s.Deliveries()); n != 7 {
		t.Errorf("there are %d deliveries: something was attempted again", n)
	}
}

func TestDataCenterHooks(t *testing.T) {
	t.Parallel()
	s, l := newCenter(t, Options{}), newListener(t)
	hooks := s.api + "/webhooks"
	made := s.must("POST "+hooks, `{"name": "ci", "url": "`+l.URL+`", "active": true, "events": ["pr:opened", "repo:refs_changed"], "configuration": {"secret": "first"}, "sslVerificationRequired": false}`,
		http.StatusCreated)
	expect(t, made, map[string]any{"name": "ci", "url": l.URL, "active": true, "events.0": "pr:opened", "configuration.secret": nil, "scopeType": "repository", "sslVerificationRequired": false})
	if strings.Contains(strings.Join(texts(s.must("GET "+hooks, "", http.StatusOK), "configuration"), ""), "first") {
		t.Error("the secret comes back")
	}
	one := hooks + "/" + fmt.Sprint(made["id"])
	if _, err := s.Push(centerRepo, "main"); err != nil {
		t.Fatal(err)
	}
	signed := func(secret string) {
		t.Helper()
		r, _ := l.only(t, "repo:refs_changed")
		deliveries := s.Deliveries()
		if want := Sign(secret, deliveries[len(deliveries)-1].Payload); r.Header.Get("X-Hub-Signature") != want {
			t.Errorf("it is signed %s, want %s", r.Header.Get("X-Hub-Signature"), want)
		}
	}
	signed("first")
	// Without a secret the old one stays.
	s.must("PUT "+one, `{"name": "again", "url": "`+l.URL+`", "events": ["repo:refs_changed"], "credentials": {"username": "u", "password": "p"}}`, http.StatusOK)
	s.commit("main", nil)
	if _, err := s.Push(centerRepo, "main"); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	user, password, _ := l.got[0].BasicAuth()
	l.mu.Unlock()
	if user != "u" || password != "p" {
		t.Errorf("the hook authenticates as %q with %q", user, password)
	}
	signed("first")
	s.must("PUT "+one, `{"name": "again", "url": "`+l.URL+`", "events": ["repo:refs_changed"], "configuration": {"secret": "second"}}`, http.StatusOK)
	s.commit("main", nil)
	if _, err := s.Push(centerRepo, "main"); err != nil {
		t.Fatal(err)
	}
	signed("second")
	expect(t, s.must("GET "+one, "", http.StatusOK), map[string]any{"name": "again", "events.1": nil, "active": true, "sslVerificationRequired": true})
	if got := s.must("GET "+hooks+"?event=pr:opened", "", http.StatusOK); got["size"] != 0.0 {
		t.Errorf("the hooks for pull requests are %v", got)
	}

	result := s.must("POST "+hooks+"/test?url="+l.URL, "", http.StatusOK)
	expect(t, result, map[string]any{"request.url": l.URL, "request.body": `{"test":true}`, "response.statusCode": 200.0})
	if r, _ := l.only(t, "diagnostics:ping"); r.Header.Get("X-Hub-Signature") != "" {
		t.Error("the test is signed")
	}
	s.must("POST "+hooks+"/test?webhookId="+fmt.Sprint(made["id"]), "", http.StatusOK)
	l.only(t, "diagnostics:ping")
	problemOf(t, s.must("POST "+hooks+"/test", "", http.StatusBadRequest))
	problemOf(t, s.must("POST "+hooks+"/test?webhookId=1", "", http.StatusNotFound))

	s.must("DELETE "+one, "", http.StatusNoContent)
	for _, request := range []string{"GET ", "DELETE "} {
		problemOf(t, s.must(request+one, "", http.StatusNotFound))
	}
	problemOf(t, s.must("PUT "+one, `{"name": "n", "url": "`+l.URL+`", "events": ["pr:opened"]}`, http.StatusNotFound))
}

// soon is a context that ends before the test gets boring.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
