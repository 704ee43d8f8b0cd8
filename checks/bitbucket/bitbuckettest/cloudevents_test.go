package bitbuckettest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSign(t *testing.T) {
	want := "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
	if got := Sign("It's a Secret to Everybody", []byte("Hello World!")); got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestCloudPush(t *testing.T) {
	s := newShop(t, Options{})
	first := payload(t, s.Deliveries()[0])
	expect(t, first, map[string]any{"push.changes.#": 1, "push.changes.0.old": nil, "push.changes.0.created": true, "push.changes.0.closed": false,
		"push.changes.0.new.type": "branch", "push.changes.0.new.name": "main", "push.changes.0.new.target.hash": s.sha, "push.changes.0.commits.#": 1,
		"actor.nickname": "octo", "actor.username": nil, "repository.full_name": shopRepo, "repository.workspace.slug": "octo"})

	last := s.sha
	for i := range 6 {
		last = s.commit("main", Change{Message: fmt.Sprint("change ", i), Files: map[string]string{"n": fmt.Sprint(i)}})
	}
	s.commit("other", Change{})
	git := func(args ...string) {
		t.Helper()
		dir, err := s.RepoDir(shopRepo)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := gitIn(t, dir, args...); err != nil {
			t.Fatalf("git %q: %s", args, out)
		}
	}
	git("tag", "-a", "-m", "one", "v1", s.sha)
	git("tag", "light", s.sha)
	d := s.push("main", "other", "refs/tags/v1", "refs/tags/light")
	o := payload(t, d)
	expect(t, o, map[string]any{"push.changes.#": 4, "push.changes.0.old.target.hash": s.sha, "push.changes.0.new.target.hash": last, "push.changes.0.truncated": true,
		"push.changes.0.commits.#": 5, "push.changes.0.commits.0.hash": last, "push.changes.0.forced": false, "push.changes.1.created": true,
		"push.changes.1.truncated": true, "push.changes.2.new.type": "annotated_tag", "push.changes.2.new.target.hash": s.sha, "push.changes.3.new.type": "tag"})

	back := s.commit("main", Change{Parent: s.sha, Message: "back"})
	expect(t, payload(t, s.push("main")), map[string]any{"push.changes.0.forced": true, "push.changes.0.old.target.hash": last, "push.changes.0.new.target.hash": back})
	expect(t, payload(t, s.must(s.DeleteBranch(shopRepo, "other"))), map[string]any{"push.changes.0.new": nil, "push.changes.0.closed": true, "push.changes.0.old.name": "other"})
	expect(t, payload(t, s.must(s.DeleteTag(shopRepo, "v1"))), map[string]any{"push.changes.0.new": nil, "push.changes.0.old.type": "annotated_tag"})
	for _, ref := range []string{"main", "none"} {
		if _, err := s.Push(shopRepo, ref); err == nil {
			t.Errorf("Push(%s) of nothing", ref)
		}
	}
}

func TestCloudPullRequest(t *testing.T) {
	s := newShop(t, Options{})
	fork, err := s.AddFork(shopRepo, "mona")
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.Commit(fork, "topic", Change{Files: map[string]string{"a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	number, d, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "mona:topic", Title: "A change", Draft: true})
	s.must(d, err)
	about, err := s.Repo(fork)
	if err != nil {
		t.Fatal(err)
	}
	o := payload(t, d)
	expect(t, o, map[string]any{"pullrequest.id": 1, "pullrequest.state": "OPEN", "pullrequest.draft": true, "pullrequest.source.commit.hash": head[:12],
		"pullrequest.source.repository.uuid": "{" + about.UUID + "}", "pullrequest.source.branch.name": "topic", "pullrequest.destination.commit.hash": s.sha[:12],
		"pullrequest.destination.branch.name": "main", "pullrequest.author.nickname": "mona", "pullrequest.merge_commit": nil})
	if d.Event != "pullrequest:created" || number != 1 {
		t.Errorf("the delivery of %d is %s", number, d.Event)
	}
	// The short hash can be looked up in the repository, and what lies there is the fork's.
	expect(t, s.want(200, "GET", shopPath+"/commit/"+head[:12], ""), map[string]any{"hash": head})
	expect(t, s.want(200, "GET", shopPath+"/merge-base/"+head+".."+s.sha, ""), map[string]any{"hash": s.sha})
	if out, err := gitIn(t, t.TempDir(), "fetch", s.address(shopRepo, "x-token-auth", s.token.Value), head); err == nil {
		t.Errorf("git fetches the commit of a fork from the repository: %s", out)
	}
	s.want(201, "POST", shopPath+"/commit/"+head+"/statuses/build", `{"type": "build", "key": "k", "state": "INPROGRESS", "url": "https://ci.example.org"}`)

	next, err := s.Commit(fork, "topic", Change{Files: map[string]string{"a": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		do    func() (Delivery, error)
		event string
		want  map[string]any
	}{
		{func() (Delivery, error) { return s.SynchronizePullRequest(shopRepo, 1) }, "updated", map[string]any{"source.commit.hash": next[:12]}},
		{func() (Delivery, error) { return s.Retitle(shopRepo, 1, "B") }, "updated", map[string]any{"title": "B"}},
		{func() (Delivery, error) { return s.SetDraft(shopRepo, 1, false) }, "updated", map[string]any{"draft": false}},
		{func() (Delivery, error) { return s.ClosePullRequest(shopRepo, 1, true) }, "fulfilled", map[string]any{"state": "MERGED"}},
	} {
		d := s.must(test.do())
		expect(t, payload(t, d)["pullrequest"], test.want)
		if d.Event != "pullrequest:"+test.event {
			t.Errorf("the event is %s, want %s", d.Event, test.event)
		}
	}
	merged := s.want(200, "GET", shopPath+"/pullrequests/1", "")
	if hash, _ := at(merged, "merge_commit.hash").(string); len(hash) != 12 {
		t.Errorf("the merge is %q", hash)
	}
	s.push("main")
	if _, err := s.SynchronizePullRequest(shopRepo, 1); err == nil {
		t.Error("a merged pull request was synchronized")
	}

	// One whose fork goes.
	s.must(second(s.OpenPullRequest(shopRepo, PullRequest{Head: "mona:topic"})))
	if err := s.DeleteFork(shopRepo, 2); err != nil {
		t.Fatal(err)
	}
	expect(t, payload(t, s.must(s.ClosePullRequest(shopRepo, 2, false))), map[string]any{"pullrequest.source.repository": nil, "pullrequest.state": "DECLINED"})
	if _, err := s.ReopenPullRequest(shopRepo, 2); err == nil {
		t.Error("Cloud reopened a pull request")
	}
	s.commit("base", Change{})
	s.must(second(s.OpenPullRequest(shopRepo, PullRequest{Head: "main", Base: "base"})))
	s.commit("base2", Change{})
	expect(t, payload(t, s.must(s.ChangeBase(shopRepo, 3, "base2"))), map[string]any{"pullrequest.destination.branch.name": "base2"})
	expect(t, s.want(200, "GET", shopPath+"/pullrequests", ""), map[string]any{"values.#": 1, "values.0.id": 3})
	expect(t, s.want(200, "GET", shopPath+"/pullrequests?state=MERGED&state=DECLINED", ""), map[string]any{"values.#": 2})
	s.wantViolation(400, "at most 50", "GET", shopPath+"/pullrequests?pagelen=100", "")
	s.want(404, "GET", shopPath+"/pullrequests/9", "")
}

func second(_ int, d Delivery, err error) (Delivery, error) { return d, err }

func TestCloudRepositoryEvents(t *testing.T) {
	s := newShop(t, Options{})
	d := s.must(s.Rename(shopRepo, "store"))
	expect(t, payload(t, d), map[string]any{"changes.full_name.old": shopRepo, "changes.full_name.new": "octo/store", "repository.full_name": "octo/store"})
	s.want(404, "GET", shopPath, "")
	expect(t, payload(t, s.must(s.SetVisibility("octo/store", false))), map[string]any{"repository.is_private": false, "changes.is_private.old": true})
	if d := s.must(s.Delete("octo/store")); d.Event != "repo:deleted" || len(s.Hooks("octo/store")) != 0 {
		t.Errorf("the delivery is %s", d.Event)
	}
	s.want(404, "GET", "/repositories/octo/store", "")
}

func TestCloudDeliveries(t *testing.T) {
	s := newShop(t, Options{HookTimeout: 200 * time.Millisecond})
	s.bot.take()
	s.bot.answer(500, 503)
	s.commit("main", Change{})
	d := s.push("main")
	got := s.bot.take()
	if len(got) != 3 || d.Attempt != 3 {
		t.Fatalf("%d attempts, the last is %d", len(got), d.Attempt)
	}
	for i, r := range got {
		for name, want := range map[string]string{"X-Attempt-Number": fmt.Sprint(i + 1), "X-Request-UUID": d.GUID, "X-Event-Key": "repo:push", "X-Hook-UUID": s.Hooks(shopRepo)[0].UUID,
			"X-Hub-Signature": Sign("secret", d.Payload)} {
			if r.Header.Get(name) != want {
				t.Errorf("attempt %d: %s is %q, want %q", i+1, name, r.Header.Get(name), want)
			}
		}
	}
	s.bot.answer(500, 500, 500)
	s.commit("main", Change{})
	if d, err := s.Push(shopRepo, "main"); err != nil || d.Attempt != 3 || d.StatusCode != 500 || d.Succeeded() {
		t.Errorf("the delivery is %+v, %v", d, err)
	}
	s.bot.take()

	s.Lose(1)
	s.commit("main", Change{})
	if d, err := s.Push(shopRepo, "main"); err != nil || d.Status != "lost" || len(s.bot.take()) != 0 {
		t.Errorf("the lost delivery is %+v, %v", d, err)
	}
	s.commit("main", Change{Message: strings.Repeat("long ", 60<<10)})
	if d, err := s.Push(shopRepo, "main"); err != nil || d.Status != "too large" || len(s.bot.take()) != 0 {
		t.Errorf("the large delivery is %s %d, %v", d.Status, d.StatusCode, err)
	}

	s.commit("main", Change{}) // the push of which still has the large message, of the commit before
	if _, err := s.Push(shopRepo, "main"); err != nil {
		t.Fatal(err)
	}

	// A hook without a secret signs nothing; one that is not active, or wants other events, is told nothing.
	for _, h := range []Hook{{URL: s.bot.URL + "/plain", Active: true, Events: []string{"repo:push"}}, {URL: s.bot.URL + "/off", Events: []string{"repo:push"}},
		{URL: s.bot.URL + "/other", Active: true, Events: []string{"repo:fork"}}} {
		if _, err := s.AddHook(shopRepo, h); err != nil {
			t.Fatal(err)
		}
	}
	s.commit("main", Change{})
	d = s.push("main")
	got = s.bot.take()
	if len(got) != 2 || got[1].URL.Path != "/plain" || got[1].Header.Get("X-Hub-Signature") != "" || got[0].Header.Get("X-Hub-Signature") == "" {
		t.Errorf("the bot got %v", got)
	}
	for name, test := range map[string]struct {
		o    DeliverOptions
		want string
	}{
		"replayed": {DeliverOptions{GUID: d.GUID}, Sign("secret", d.Payload)}, "unsigned": {DeliverOptions{Unsigned: true}, ""},
		"forged": {DeliverOptions{Signature: "sha256=00"}, "sha256=00"}, "other secret": {DeliverOptions{Secret: "x"}, Sign("x", d.Payload)},
	} {
		s.must(s.Deliver(shopRepo, "repo:push", d.Payload, test.o))
		r := s.bot.take()[0]
		if r.Header.Get("X-Hub-Signature") != test.want || test.o.GUID != "" && r.Header.Get("X-Request-UUID") != d.GUID {
			t.Errorf("%s: %v", name, r.Header)
		}
	}
	if _, err := s.Ping(shopRepo); err == nil {
		t.Error("Cloud has no ping")
	}
	s.SetHook("http://127.0.0.1:1")
	s.commit("main", Change{})
	if d, err := s.Push(shopRepo, "main"); err != nil || d.Status != "failed to connect" {
		t.Errorf("to nobody: %+v, %v", d, err)
	}
}

func TestCloudGit(t *testing.T) {
	s := newShop(t, Options{DeliverPushes: true})
	s.AddUser("mona")
	api, err := s.AddToken(TokenOptions{Kind: UserToken, Email: "octo@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	person, err := s.User("octo")
	if err != nil {
		t.Fatal(err)
	}
	mona, err := s.User("mona")
	if err != nil {
		t.Fatal(err)
	}
	reader, err := s.AddToken(TokenOptions{Kind: RepositoryToken, Repo: shopRepo, Scopes: []string{"repository"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		user, password string
		reads, writes  bool
	}{
		{"x-token-auth", s.token.Value, true, true},
		{"x-token-auth", reader.Value, true, false},
		{"octo", s.token.Value, false, false},
		{"x-bitbucket-api-token-auth", api.Value, true, true},
		{"octo", api.Value, true, true},
		{"x-token-auth", api.Value, false, false},
		{"octo", person.Password, true, true},
		{"mona", mona.Password, false, false},
		{"octo", "wrong", false, false},
	} {
		work := filepath.Join(t.TempDir(), "work")
		out, err := gitIn(t, ".", "clone", "--quiet", s.address(shopRepo, test.user, test.password), work)
		if (err == nil) != test.reads {
			t.Errorf("%s reads: %s", test.user, out)
		}
		if err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(work, "buildspec.yml")); err != nil {
			t.Error(err)
		}
		branch := "HEAD:refs/heads/b-" + test.password[len(test.password)-4:]
		if out, err := gitIn(t, work, "push", "--quiet", "origin", branch); (err == nil) != test.writes {
			t.Errorf("%s with %.9s writes: %v %s", test.user, test.password, err, out)
		}
	}
	if out, err := gitIn(t, ".", "ls-remote", s.CloneURL(shopRepo)); err == nil {
		t.Errorf("a private repository without a token: %s", out)
	}
	if accesses := s.GitAccesses(); len(accesses) < 10 || accesses[0].Repository != shopRepo {
		t.Errorf("the accesses are %+v", accesses)
	}

	// A push is delivered, and moves pull requests.
	work := filepath.Join(t.TempDir(), "work")
	if out, err := gitIn(t, ".", "clone", "--quiet", s.address(shopRepo, "octo", person.Password), work); err != nil {
		t.Fatal(out)
	}
	s.commit("topic", Change{})
	if _, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "topic"}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"fetch", "--quiet"}, {"checkout", "--quiet", "topic"}, {"commit", "--quiet", "--allow-empty", "--message=more"}, {"push", "--quiet", "origin", "topic"}} {
		if out, err := gitIn(t, work, args...); err != nil {
			t.Fatalf("git %q: %s", args, out)
		}
	}
	err = s.Await(t.Context(), func() bool { list := s.Deliveries(); return list[len(list)-1].Event == "pullrequest:updated" })
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get(s.URL() + "/nonsense"); err != nil || resp.StatusCode != 404 || len(s.TakeViolations()) != 1 {
		t.Errorf("nonsense: %v, %v", resp, err)
	}
}

func TestFaults(t *testing.T) {
	s := newShop(t, Options{})
	for _, f := range []Fault{{Path: "^/repositories/octo/shop$", Status: 500, Body: "{}"}, RateLimit(3 * time.Second), {Path: "/x/"}} {
		if err := s.Inject(f); err != nil {
			t.Fatal(err)
		}
	}
	s.want(500, "GET", shopPath, "")
	s.want(429, "GET", shopPath, "")
	s.want(200, "GET", shopPath, "")
	if n := s.ClearFaults(); n != 1 {
		t.Errorf("%d faults were left", n)
	}
	if err := s.SetChaos(Chaos{Drop: 1}); err != nil {
		t.Fatal(err)
	}
	s.bot.take()
	s.commit("main", Change{})
	if d, err := s.Push(shopRepo, "main"); err != nil || d.Status != "dropped" || len(s.bot.take()) != 0 || len(s.Mishaps()) != 1 {
		t.Errorf("the delivery is %+v, %v", d, err)
	}
}

// TestReordered checks that a delivery that is held back comes after the next one.
func TestReordered(t *testing.T) {
	s := newShop(t, Options{})
	s.bot.take()
	if err := s.SetChaos(Chaos{Reorder: 1, Repeat: 1, Hold: time.Minute}); err != nil {
		t.Fatal(err)
	}
	s.commit("main", Change{})
	first, err := s.Push(shopRepo, "main")
	if err != nil || first.Status != "held back" {
		t.Fatalf("the first delivery is %+v, %v", first, err)
	}
	s.commit("main", Change{})
	second := s.push("main")
	if err := s.Await(t.Context(), func() bool { return len(s.Deliveries()) == 5 }); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range s.bot.take() {
		order = append(order, r.Header.Get("X-Request-UUID"))
	}
	if want := []string{second.GUID, second.GUID, first.GUID, first.GUID}; !slices.Equal(order, want) {
		t.Errorf("the bot got %q, want %q", order, want)
	}
}

// TestLostAnswer checks the case that a bot must be most careful with: what it asked for was done, and it does not know.
func TestLostAnswer(t *testing.T) {
	s := newShop(t, Options{})
	if err := s.Inject(Fault{Method: "POST", Path: "/statuses/build$", Lost: true}); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL()+"/2.0"+shopPath+"/commit/"+s.sha+"/statuses/build",
		strings.NewReader(`{"type": "build", "key": "k", "state": "FAILED", "url": "https://ci.example.org"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+s.token.Value)
	if resp, err := http.DefaultClient.Do(r); err == nil {
		t.Errorf("the answer is %s", resp.Status)
	}
	status, err := s.AwaitStatus(t.Context(), shopRepo, s.sha, Status.Done)
	if err != nil || status.State != "FAILED" {
		t.Errorf("the status is %+v, %v", status, err)
	}
	requests := s.Requests()
	if last := requests[len(requests)-1]; !last.Lost || last.Status != 0 || s.Count("POST", inCommit+"/statuses/build") != 1 {
		t.Errorf("the log has %+v", last)
	}
}
