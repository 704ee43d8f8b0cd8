package githubtest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"buildsmith/checks/forgetest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiling guards the compiler of payloadSchemas.
var compiling sync.Mutex

var payloadSchemas = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	data, err := WebhookSchema()
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	// GitHub's templates begin with a slash in the braces, which is not standard.
	c.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: func(any) error { return nil }})
	return c, c.AddResource("https://schema.invalid/webhooks.json", doc)
})

// checkPayload holds a payload against the schema of its event, and lets go-github read it.
func checkPayload(t *testing.T, r *http.Request, body []byte, payload object) {
	t.Helper()
	c, err := payloadSchemas()
	if err != nil {
		t.Fatal(err)
	}
	event := r.Header.Get("X-Github-Event")
	name := event + "$event"
	if action, found := payload["action"].(string); found {
		name = event + "$" + action
	}
	compiling.Lock()
	schema, err := c.Compile("https://schema.invalid/webhooks.json#/definitions/" + name)
	compiling.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	// The schema of a ping, alone, does not know this event.
	known := bytes.Replace(body, []byte(`"merge_group",`), nil, 1)
	if event != "ping" {
		known = body
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(known))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("the payload of %s: %v", name, err)
	}
	if _, err := github.ParseWebHook(event, body); err != nil {
		t.Errorf("go-github reads %s: %v", name, err)
	}
}

// at follows keys into an object.
func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch o := v.(type) {
		case object:
			v = o[key]
		case []any:
			var i int
			fmt.Sscan(key, &i)
			if i >= len(o) {
				return nil
			}
			v = o[i]
		}
	}
	return v
}

// expect compares parts of a payload.
func expect(t *testing.T, payload object, want map[string]any) {
	t.Helper()
	for path, value := range want {
		if diff := cmp.Diff(fmt.Sprint(value), fmt.Sprint(at(payload, path))); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// delivered1 checks an honest delivery and returns its payload.
func (b *bot) delivered1(t *testing.T, event string) func(Delivery, error) object {
	return func(d Delivery, err error) object {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r, body, payload := b.last(t)
		if d.StatusCode != http.StatusAccepted || d.Status != "OK" || d.AnswerBody != "noted" || d.GUID == "" || d.GUID != r.Header.Get("X-Github-Delivery") {
			t.Errorf("the delivery is %+v", d)
		}
		if r.Header.Get("X-Github-Event") != event {
			t.Errorf("the event is %s, want %s", r.Header.Get("X-Github-Event"), event)
		}
		checkPayload(t, r, body, payload)
		return payload
	}
}

func TestPushEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	// The first commit was never told of.
	p := b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	expect(t, p, map[string]any{"ref": "refs/heads/main", "before": forgetest.ZeroHash, "after": s.sha, "created": true, "deleted": false, "forced": false,
		"head_commit.id": s.sha, "commits.0.added": "[buildspec.yml src/a.go]", "pusher.name": "octo", "sender.login": "octo",
		"repository.full_name": shopRepo, "repository.private": true, "installation.id": s.Installation("octo"),
		"repository.clone_url": s.URL() + "/octo/shop.git", "repository.default_branch": "main"})
	if _, err := s.Push(shopRepo, "main"); err == nil {
		t.Error("nothing was pushed twice")
	}

	second := must[string](t)(s.Commit(shopRepo, "main", Change{Message: "Second\n\nwith more", Author: "mona", Files: map[string]string{"src/a.go": "package b", "ü b": "x"},
		Remove: []string{"buildspec.yml"}}))
	third := must[string](t)(s.Commit(shopRepo, "main", Change{Files: map[string]string{"third": "3"}}))
	p = b.delivered1(t, "push")(s.Push(shopRepo, "refs/heads/main"))
	expect(t, p, map[string]any{"before": s.sha, "after": third, "created": false, "forced": false, "commits.0.id": second,
		"commits.0.message": "Second\n\nwith more", "commits.0.added": "[ü b]", "commits.0.modified": "[src/a.go]", "commits.0.removed": "[buildspec.yml]",
		"commits.0.author.username": "mona", "commits.1.id": third, "head_commit.id": third})
	if n := len(p["commits"].([]any)); n != 2 {
		t.Errorf("%d commits", n)
	}

	forced := must[string](t)(s.Commit(shopRepo, "main", Change{Parent: s.sha, Files: map[string]string{"other": "way"}}))
	p = b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	expect(t, p, map[string]any{"before": third, "after": forced, "forced": true, "commits.0.id": forced})

	branch := s.commit("feature/x", map[string]string{"f": "1"})
	p = b.delivered1(t, "push")(s.Push(shopRepo, "feature/x"))
	expect(t, p, map[string]any{"ref": "refs/heads/feature/x", "before": forgetest.ZeroHash, "created": true, "commits.0.id": branch, "base_ref": nil})
	if n := len(p["commits"].([]any)); n != 1 {
		t.Errorf("%d commits on a new branch", n)
	}

	if err := s.SetRef(shopRepo, "refs/heads/feature/x", ""); err != nil {
		t.Fatal(err)
	}
	p = b.delivered1(t, "push")(s.Push(shopRepo, "feature/x"))
	expect(t, p, map[string]any{"before": branch, "after": forgetest.ZeroHash, "deleted": true, "created": false, "head_commit": nil, "commits": "[]"})

	dir := must[string](t)(s.RepoDir(shopRepo))
	mustGit(t, dir, "tag", "-a", "-m", "first", "v1", forced)
	tag := mustGit(t, dir, "rev-parse", "v1")
	p = b.delivered1(t, "push")(s.Push(shopRepo, "refs/tags/v1"))
	expect(t, p, map[string]any{"ref": "refs/tags/v1", "after": tag, "head_commit.id": forced, "commits": "[]"})

	if _, err := s.Push(shopRepo, "none"); err == nil {
		t.Error("a push to no branch")
	}
	if _, err := s.Push("octo/none", "main"); err == nil {
		t.Error("a push to no repository")
	}
}

func TestPullRequestEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	fork := must[string](t)(s.AddFork(shopRepo, "stranger"))
	head := must[string](t)(s.Commit(fork, "fix", Change{Author: "stranger", Files: map[string]string{"src/a.go": "package fixed"}}))
	// The app is not installed in the fork.
	if d, err := s.Push(fork, "fix"); err != nil || d.GUID != "" || b.count() != 1 {
		t.Errorf("a push to the fork was delivered: %+v, %v", d, err)
	}
	number, d, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "stranger:fix", Title: "Fix", Draft: true})
	p := b.delivered1(t, "pull_request")(d, err)
	repo := must[*github.Repository](t)(first(s.inst.Repositories.Get(t.Context(), "octo", "shop")))
	expect(t, p, map[string]any{"action": "opened", "number": number, "pull_request.head.sha": head, "pull_request.head.ref": "fix", "pull_request.base.ref": "main",
		"pull_request.base.sha": s.sha, "pull_request.head.repo.full_name": "stranger/shop", "pull_request.head.repo.fork": true,
		"pull_request.base.repo.id": repo.GetID(), "pull_request.user.login": "stranger", "pull_request.author_association": "NONE", "pull_request.draft": true,
		"pull_request.merged": false, "pull_request.changed_files": 1, "sender.login": "stranger"})
	dir := must[string](t)(s.RepoDir(shopRepo))
	if got := mustGit(t, dir, "rev-parse", "refs/pull/1/head"); got != head {
		t.Errorf("refs/pull/1/head is %s", got)
	}
	if got := mustGit(t, dir, "rev-parse", "refs/pull/1/merge^2"); got != head {
		t.Errorf("the test merge has %s", got)
	}

	if _, err := s.SynchronizePullRequest(shopRepo, number); err == nil {
		t.Error("nothing was pushed, and it is synchronized")
	}
	next := must[string](t)(s.Commit(fork, "fix", Change{Files: map[string]string{"more": "x"}}))
	p = b.delivered1(t, "pull_request")(s.SynchronizePullRequest(shopRepo, number))
	expect(t, p, map[string]any{"action": "synchronize", "before": head, "after": next, "pull_request.head.sha": next, "pull_request.commits": 2})

	p = b.delivered1(t, "pull_request")(s.ClosePullRequest(shopRepo, number, false))
	expect(t, p, map[string]any{"action": "closed", "pull_request.merged": false, "pull_request.state": "closed"})
	if _, err := s.ClosePullRequest(shopRepo, number, false); err == nil {
		t.Error("it was closed twice")
	}
	if _, err := s.SynchronizePullRequest(shopRepo, number); err == nil {
		t.Error("it was synchronized while it was closed")
	}
	p = b.delivered1(t, "pull_request")(s.ReopenPullRequest(shopRepo, number))
	expect(t, p, map[string]any{"action": "reopened", "pull_request.state": "open", "pull_request.closed_at": nil})

	// A head that is gone.
	if err := s.DeleteRepo(fork); err != nil {
		t.Fatal(err)
	}
	p = b.delivered1(t, "pull_request")(s.ClosePullRequest(shopRepo, number, true))
	expect(t, p, map[string]any{"action": "closed", "pull_request.merged": true, "pull_request.merged_by.login": "octo", "pull_request.head.repo": nil,
		"pull_request.head.sha": next})
	if _, err := s.ReopenPullRequest(shopRepo, number); err == nil {
		t.Error("it was reopened after the merge")
	}
	p = b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	expect(t, p, map[string]any{"before": s.sha, "forced": false})

	// Conflicts leave no test merge.
	base := must[string](t)(s.Commit(shopRepo, "main", Change{Files: map[string]string{"c": "main\n"}}))
	must[string](t)(s.Commit(shopRepo, "clash", Change{Parent: s.sha, Files: map[string]string{"c": "clash\n"}}))
	number, d, err = s.OpenPullRequest(shopRepo, PullRequest{Head: "clash"})
	p = b.delivered1(t, "pull_request")(d, err)
	expect(t, p, map[string]any{"pull_request.mergeable": false, "pull_request.merge_commit_sha": nil, "pull_request.base.sha": base})
	if _, err := s.ClosePullRequest(shopRepo, number, true); err == nil {
		t.Error("it was merged in spite of conflicts")
	}
	for _, in := range []PullRequest{{Head: "none"}, {Head: "nobody:x"}, {Head: "clash", Base: "none"}} {
		if _, _, err := s.OpenPullRequest(shopRepo, in); err == nil {
			t.Errorf("%+v was opened", in)
		}
	}
}

func TestCommentEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.AddOrganization("acme", "mona")
	must[int64](t)(s.AddRepo("acme/site", RepoOptions{Properties: object{"teams": []string{"a", "b"}}}))
	must[string](t)(s.Commit("acme/site", "main", Change{Files: map[string]string{"x": "1"}}))
	must[string](t)(s.Commit("acme/site", "feature", Change{Files: map[string]string{"x": "2"}}))
	number, _, err := s.OpenPullRequest("acme/site", PullRequest{Head: "feature", User: "mona"})
	if err != nil {
		t.Fatal(err)
	}
	s.SetHook(b.url)
	comment, d, err := s.Comment("acme/site", number, "mona", "/test")
	if err != nil {
		t.Fatal(err)
	}
	r, body, p := b.last(t)
	expect(t, p, map[string]any{"action": "created", "issue.number": number, "issue.pull_request.url": s.URL() + "/api/v3/repos/acme/site/pulls/1",
		"issue.state": "open", "comment.id": comment.ID, "comment.body": "/test", "comment.user.login": "mona", "comment.author_association": "MEMBER",
		"comment.performed_via_github_app": nil, "organization.login": "acme", "repository.owner.type": "Organization",
		"repository.custom_properties.teams": "[a b]"})
	if d.Repository == 0 || d.Installation != s.Installation("acme") || d.Action != "created" {
		t.Errorf("the delivery is %+v", d)
	}
	// It is the custom property that go-github stumbles over.
	if _, err := github.ParseWebHook("issue_comment", body); err == nil {
		t.Error("go-github reads properties that are lists")
	}
	body = bytes.ReplaceAll(body, []byte(`"custom_properties":{"teams":["a","b"]}`), []byte(`"custom_properties":{}`))
	checkPayload(t, r, body, p)

	plain := must[int](t)(s.OpenIssue("acme/site", "passer-by", "A question"))
	if _, _, err := s.Comment("acme/site", plain, "passer-by", "/test"); err != nil {
		t.Fatal(err)
	}
	_, _, p = b.last(t)
	expect(t, p, map[string]any{"issue.pull_request": nil, "comment.author_association": "NONE", "sender.login": "passer-by"})
	if _, _, err := s.Comment("acme/site", 99, "mona", "x"); err == nil {
		t.Error("a comment on nothing")
	}
}

func TestCheckEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	run := s.run(github.CreateCheckRunOptions{Name: "buildsmith", ExternalID: str("b1"), DetailsURL: str("https://ci.example.org")})
	if _, err := s.Rerequest(run.GetID(), "octo"); err == nil {
		t.Error("what runs was asked for again")
	}
	if _, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", run.GetID(), github.UpdateCheckRunOptions{Name: "buildsmith", Conclusion: str("failure"),
		Actions: []*github.CheckRunAction{{Label: "l", Description: "d", Identifier: "rerun_clean"}}}); err != nil {
		t.Fatal(err)
	}
	p := b.delivered1(t, "check_run")(s.Rerequest(run.GetID(), "mona"))
	expect(t, p, map[string]any{"action": "rerequested", "check_run.id": run.GetID(), "check_run.external_id": "b1", "check_run.head_sha": s.sha,
		"check_run.app.id": 4711, "check_run.check_suite.id": run.GetCheckSuite().GetID(), "sender.login": "mona"})
	p = b.delivered1(t, "check_run")(s.RequestAction(run.GetID(), "mona", "rerun_clean"))
	expect(t, p, map[string]any{"action": "requested_action", "requested_action.identifier": "rerun_clean"})
	p = b.delivered1(t, "check_suite")(s.RerequestSuite(run.GetCheckSuite().GetID(), "mona"))
	expect(t, p, map[string]any{"action": "rerequested", "check_suite.head_sha": s.sha, "check_suite.app.id": 4711, "check_suite.head_branch": "main"})
	b.delivered1(t, "ping")(s.Ping())
	if _, err := s.Rerequest(1, "mona"); err == nil {
		t.Error("no check run was asked for again")
	}
	if _, err := s.RerequestSuite(1, "mona"); err == nil {
		t.Error("no suite was asked for again")
	}
}

// TestEcho checks the events that a bot causes itself.
func TestEcho(t *testing.T) {
	s, b := newShop(t, Options{Echo: true}), newBot(t)
	s.commit("feature", map[string]string{"x": "2"})
	number, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature"})
	if err != nil {
		t.Fatal(err)
	}
	s.SetHook(b.url)
	run := s.run(github.CreateCheckRunOptions{Name: "x", DetailsURL: str("https://ci.example.org")})
	if _, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", run.GetID(), github.UpdateCheckRunOptions{Name: "x", Conclusion: str("success")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.inst.Issues.CreateComment(t.Context(), "octo", "shop", number, &github.IssueComment{Body: str("Done.")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.inst.Checks.ReRequestCheckRun(t.Context(), "octo", "shop", run.GetID()); err != nil {
		t.Fatal(err)
	}
	if err := s.Await(soon(t), func() bool { return len(s.Deliveries()) == 5 }); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range s.Deliveries()[1:] {
		got = append(got, d.Event+" "+d.Action)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"check_run completed", "check_run created", "check_run rerequested", "issue_comment created"}, got); diff != "" {
		t.Errorf("the events: %s", diff)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range b.got {
		checkPayload(t, r, b.body[i], jsonOf(b.body[i]).(object))
	}
}
