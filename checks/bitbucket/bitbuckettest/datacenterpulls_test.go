package bitbuckettest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/forgetest"
)

func TestDataCenterPullRequests(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newCenter(t, Options{Now: c.now})
	one := s.pull("one")
	c.add(time.Minute)
	two := s.pull("two")
	c.add(time.Minute)
	base := s.commit("release", nil)
	if _, err := s.AddFork(centerRepo, "~ada"); err != nil {
		t.Fatal(err)
	}
	head, err := s.Commit("~ada/hello", "theirs", Change{Files: map[string]string{"t": "t"}})
	if err != nil {
		t.Fatal(err)
	}
	three, _, err := s.OpenPullRequest(centerRepo, PullRequest{Head: "~ada:theirs", Base: "release", Title: "Theirs", Body: "About it", Draft: true})
	if err != nil {
		t.Fatal(err)
	}
	c.add(time.Minute)
	if _, err := s.ClosePullRequest(centerRepo, one, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ClosePullRequest(centerRepo, two, false); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string][]string{"": {"3"}, "?state=ALL": {"3", "2", "1"}, "?state=ALL&order=OLDEST": {"1", "2", "3"}, "?state=MERGED": {"1"}, "?state=DECLINED": {"2"},
		"?state=ALL&at=refs/heads/release": {"3"}, "?state=ALL&at=refs/heads/one&direction=OUTGOING": {"1"}, "?state=ALL&direction=OUTGOING": {"2", "1"}, "?at=refs/heads/main": nil} {
		if got := texts(s.must("GET "+s.api+"/pull-requests"+query, "", http.StatusOK), "id"); !slices.Equal(got, want) {
			t.Errorf("the pull requests%s are %v, want %v", query, got, want)
		}
	}
	got := s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, three), "", http.StatusOK)
	for key, want := range map[string]any{"id": 3.0, "version": 0.0, "state": "OPEN", "open": true, "closed": false, "draft": true, "title": "Theirs", "description": "About it",
		"fromRef.id": "refs/heads/theirs", "fromRef.displayId": "theirs", "fromRef.latestCommit": head, "fromRef.repository.project.key": "~ADA",
		"fromRef.repository.origin.slug": "hello", "toRef.id": "refs/heads/release", "toRef.repository.slug": "hello", "toRef.repository.project.key": "OCTO",
		"author.user.name": "ada", "closedDate": nil, "properties": nil} {
		if at(got, key) != want {
			t.Errorf("%s is %v, want %v", key, at(got, key), want)
		}
	}
	if at(got, "fromRef.repository.id") == at(got, "toRef.repository.id") {
		t.Error("the fork is the repository")
	}
	if at(got, "toRef.latestCommit") != base {
		t.Errorf("the target is %v, want %s", at(got, "toRef.latestCommit"), base)
	}
	base = s.commit("release", map[string]string{"more": "more"})
	if got := s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, three), "", http.StatusOK); at(got, "toRef.latestCommit") != base {
		t.Errorf("the target is %v after it has moved, want %s", at(got, "toRef.latestCommit"), base)
	}
	merged := s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, one), "", http.StatusOK)
	commit, _ := at(merged, "properties.mergeCommit.id").(string)
	if s.must("GET "+s.api+"/commits/main", "", http.StatusOK)["id"] != commit || merged["closed"] != true || merged["version"] != 1.0 || merged["closedDate"] == nil {
		t.Errorf("the merged one is %v", merged)
	}
	problemOf(t, s.must("GET "+s.api+"/pull-requests/9", "", http.StatusNotFound))

	// The head of each is in the repository that it goes into, wherever it comes from, and moves with it.
	dir, err := s.RepoDir(centerRepo)
	if err != nil {
		t.Fatal(err)
	}
	ref := fmt.Sprintf("refs/pull-requests/%d/from", three)
	if sha, _ := forgetest.Resolve(dir, ref); sha != head {
		t.Errorf("%s is %s, want %s", ref, sha, head)
	}
	next, err := s.Commit("~ada/hello", "theirs", Change{Parent: s.sha, Files: map[string]string{"u": "u"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SynchronizePullRequest(centerRepo, three); err != nil {
		t.Fatal(err)
	}
	if sha, _ := forgetest.Resolve(dir, ref); sha != next {
		t.Errorf("%s is %s after a forced push, want %s", ref, sha, next)
	}

	// A fork that is gone leaves what was known of it.
	fork := at(got, "fromRef.repository.id")
	if err := s.DeleteFork(centerRepo, three); err != nil {
		t.Fatal(err)
	}
	got = s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, three), "", http.StatusOK)
	if at(got, "fromRef.repository.id") != fork || at(got, "fromRef.latestCommit") != next {
		t.Errorf("without the fork it comes from %v", got["fromRef"])
	}
	if _, err := s.DeletePullRequest(centerRepo, three); err != nil {
		t.Fatal(err)
	}
	problemOf(t, s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, three), "", http.StatusNotFound))
	if got := texts(s.must("GET "+s.api+"/pull-requests?state=ALL", "", http.StatusOK), "id"); !slices.Equal(got, []string{"2", "1"}) {
		t.Errorf("after one was deleted there are %v", got)
	}
}

func TestDataCenterComments(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newCenter(t, Options{Now: c.now})
	pull := s.pull("feature")
	comments := fmt.Sprintf("%s/pull-requests/%d/comments", s.api, pull)
	c.add(time.Minute)
	theirs := s.comment(pull, "ada", "/build")
	c.add(time.Minute)
	mine := s.must("POST "+comments, `{"text": "[//]: # (buildsmith:summary)\nhello"}`, http.StatusCreated)
	one := fmt.Sprintf("%s/%v", comments, mine["id"])
	for key, want := range map[string]any{"version": 0.0, "text": "[//]: # (buildsmith:summary)\nhello", "author.type": "SERVICE", "permittedOperations.editable": true} {
		if at(mine, key) != want {
			t.Errorf("%s of the comment is %v, want %v", key, at(mine, key), want)
		}
	}
	c.add(time.Minute)
	if got := s.must("PUT "+one, `{"text": "again", "version": 0}`, http.StatusOK); got["version"] != 1.0 || got["text"] != "again" || got["updatedDate"] == mine["updatedDate"] ||
		got["createdDate"] != mine["createdDate"] {
		t.Errorf("after an edit it is %v", got)
	}
	if message := problemOf(t, s.must("PUT "+one, `{"text": "late", "version": 0}`, http.StatusConflict)); !strings.Contains(message, "it has version 1, not 0") {
		t.Errorf("of an old version it says %q", message)
	}
	problemOf(t, s.must("PUT "+one, `{"text": "guess", "version": 7}`, http.StatusConflict))
	if seen := s.TakeViolations(); len(seen) != 1 || !strings.Contains(seen[0].What, "never had version 7") {
		t.Errorf("of a version that never was, the violations are %v", seen)
	}
	if got := s.must("GET "+one, "", http.StatusOK); got["text"] != "again" {
		t.Errorf("a late edit has changed it to %v", got)
	}
	if message := problemOf(t, s.must(fmt.Sprintf("PUT %s/%d", comments, theirs), `{"text": "mine", "version": 0}`, http.StatusForbidden)); !strings.Contains(message, "author") {
		t.Errorf("of another's comment it says %q", message)
	}

	reply := s.must("POST "+comments, fmt.Sprintf(`{"text": "on it", "parent": {"id": %d}}`, theirs), http.StatusCreated)
	problemOf(t, s.must("POST "+comments, `{"text": "to whom", "parent": {"id": 1}}`, http.StatusNotFound))
	s.must("PUT "+s.reactions(pull, theirs)+"/eyes", "", http.StatusOK)
	reaction := s.must("PUT "+s.reactions(pull, theirs)+"/eyes", "", http.StatusOK)
	if at(reaction, "emoticon.shortcut") != "eyes" || at(reaction, "emoticon.value") != "👀" || at(reaction, "user.name") != at(mine, "author.name") {
		t.Errorf("the reaction is %v", reaction)
	}
	s.must("PUT "+s.reactions(pull, theirs)+"/thumbsup", "", http.StatusOK)

	activities := s.must(fmt.Sprintf("GET %s/pull-requests/%d/activities", s.api, pull), "", http.StatusOK)
	if got := texts(activities, "action"); !slices.Equal(got, []string{"COMMENTED", "COMMENTED", "OPENED"}) {
		t.Errorf("what happened is %v", got)
	}
	if got := texts(activities, "comment.text"); !slices.Equal(got, []string{"again", "/build", "<nil>"}) {
		t.Errorf("what was said is %v", got)
	}
	if at(activities, "values.1.comment.comments.0.id") != reply["id"] {
		t.Errorf("the reply is not in %v", at(activities, "values.1.comment"))
	}
	reactions := at(activities, "values.1.comment.properties.reactions").([]any)
	if len(reactions) != 2 || at(reactions, "0.emoticon.shortcut") != "eyes" || len(at(reactions, "0.users").([]any)) != 1 {
		t.Errorf("the reactions are %v", reactions)
	}
	token := s.token
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})
	both := s.must("PUT "+s.reactions(pull, theirs)+"/eyes", "", http.StatusOK)
	if at(both, "comment.properties.reactions.0.users.1.name") != "octo" {
		t.Errorf("the reactions of two are %v", at(both, "comment.properties"))
	}
	s.must("DELETE "+s.reactions(pull, theirs)+"/eyes", "", http.StatusNoContent)
	s.token = token
	s.must("DELETE "+s.reactions(pull, theirs)+"/eyes", "", http.StatusNoContent)
	if got := s.Comments(centerRepo, pull)[0]; len(got.Reactions) != 1 || got.Reactions[0].Emoticon != "thumbsup" {
		t.Errorf("the reactions are %v", got.Reactions)
	}
	problemOf(t, s.must("PUT "+s.reactions(pull, 1)+"/eyes", "", http.StatusNotFound))

	problemOf(t, s.must(fmt.Sprintf("DELETE %s/%d?version=0", comments, theirs), "", http.StatusConflict)) // it has a reply
	problemOf(t, s.must("DELETE "+one+"?version=0", "", http.StatusConflict))
	s.must("DELETE "+one+"?version=1", "", http.StatusNoContent)
	problemOf(t, s.must("GET "+one, "", http.StatusNotFound))
	problemOf(t, s.must(fmt.Sprintf("GET %s/pull-requests/9/comments/%d", s.api, theirs), "", http.StatusNotFound))

	s.token = s.newToken(TokenOptions{Kind: RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}})
	problemOf(t, s.must(fmt.Sprintf("DELETE %s/%v?version=0", comments, reply["id"]), "", http.StatusForbidden))
	if _, err := s.ClosePullRequest(centerRepo, pull, true); err != nil {
		t.Fatal(err)
	}
	last := s.must(fmt.Sprintf("GET %s/pull-requests/%d/activities?limit=1", s.api, pull), "", http.StatusOK)
	if at(last, "values.0.action") != "MERGED" || at(last, "values.0.commit.id") == nil || last["isLastPage"] != false {
		t.Errorf("the last that happened is %v", last)
	}
}
