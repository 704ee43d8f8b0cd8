package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// A desk is an intake under test. Its forge answers what the test sets; its deliveries are Events as JSON.
type desk struct {
	t      *testing.T
	store  *store.Store
	intake *Intake
	forge  *forge
	clock  *clock
	n      int
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// forge is the far side of the interface: what a forge would say.
type forge struct {
	mu          sync.Mutex
	pulls       map[int]store.PullRequest
	permissions map[string]store.Permission
	commits     map[string]store.Commit
	noSpec      map[string]bool   // commits without a buildspec
	nearMiss    map[string]bool   // commits with a buildspec.yaml
	blobs       map[string]string // the buildspec by commit, where it matters
	foreign     map[string]bool   // commits of forks
	unmoved     error             // of reactions
	down        error
	asked       []string
	reactions   []store.Reaction
}

func (f *forge) ask(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	return f.down
}

func (f *forge) PullRequest(_ context.Context, _ store.Repo, number int) (store.PullRequest, error) {
	if err := f.ask("pull request %d", number); err != nil {
		return store.PullRequest{}, err
	}
	pr, ok := f.pulls[number]
	if !ok {
		return pr, store.ErrNotFound
	}
	return pr, nil
}

func (f *forge) Permission(_ context.Context, _ store.Repo, who store.Account) (store.Permission, error) {
	return f.permissions[who.Login], f.ask("permission of %s", who.Login)
}

func (f *forge) Commit(_ context.Context, _ store.Repo, version string) (store.Commit, error) {
	if err := f.ask("commit %.7s", version); err != nil {
		return store.Commit{}, err
	}
	c, ok := f.commits[version]
	if !ok {
		return c, store.ErrNotFound
	}
	return c, nil
}

func (f *forge) FileID(_ context.Context, _ store.Repo, commit, path string) (string, error) {
	there := !f.noSpec[commit]
	if path == "buildspec.yaml" {
		there = f.nearMiss[commit]
	}
	id := ""
	if there {
		id = "blob " + f.blobs[commit]
	}
	return id, f.ask("%s in %.7s", path, commit)
}

func (f *forge) Owns(_ context.Context, _ store.Repo, version, commit string) (bool, error) {
	return !f.foreign[commit], f.ask("whose is %.7s", commit)
}

func (f *forge) Acknowledge(_ context.Context, _ store.Repo, _ store.Comment, with store.Reaction) error {
	f.mu.Lock()
	f.reactions = append(f.reactions, with)
	f.mu.Unlock()
	return errors.Join(f.ask("react %s", with), f.unmoved)
}

var (
	repo  = store.Repo{Forge: "test", Host: "forge.example.org", ID: "7", Name: "octo/shop", DefaultBranch: "main"}
	alice = store.Account{ID: "1", Login: "alice"}
	eve   = store.Account{ID: "2", Login: "eve"}
)

func hash(c byte) string { return strings.Repeat(string(c), 40) }

func newDesk(t *testing.T, projects ...Project) *desk {
	t.Helper()
	c := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	s, err := store.Open(t.TempDir(), store.Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := &forge{
		pulls: map[int]store.PullRequest{}, permissions: map[string]store.Permission{"alice": store.PermissionWrite, "eve": store.PermissionRead},
		commits: map[string]store.Commit{}, noSpec: map[string]bool{}, foreign: map[string]bool{},
	}
	source := Source{
		Name: "test", Host: "forge.example.org", Forge: f,
		Verify: func(h http.Header) (func([]byte) error, error) {
			switch h.Get("Signature") {
			case "":
				return nil, errors.New("missing")
			case "none configured":
				return nil, ErrNoSecret
			}
			return func([]byte) error {
				if h.Get("Signature") != "good" {
					return errors.New("wrong")
				}
				return nil
			}, nil
		},
		Identify: func(h http.Header) (string, string) { return h.Get("Id"), h.Get("Event") },
		Decode: func(event string, body []byte) (e Event, err error) {
			switch event {
			case "panic":
				panic("on purpose")
			case "garbage":
				return e, errors.New("the payload is not what the forge describes")
			}
			return e, json.Unmarshal(body, &e)
		},
	}
	i := New(Config{Store: s, Sources: []Source{source}, Projects: func(store.Repo) []Project { return projects },
		Settings: store.Settings{Image: "standard"}, Commands: DefaultCommands, Log: slog.New(slog.DiscardHandler)})
	return &desk{t: t, store: s, intake: i, forge: f, clock: c}
}

// post sends a delivery and gives the status of the answer and its body.
func (d *desk) post(path, id, event, signature string, body []byte) (int, string) {
	d.t.Helper()
	e := echo.New()
	d.intake.Register(e)
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	for name, value := range map[string]string{"Content-Type": "application/json; charset=utf-8", "Id": id, "Event": event, "Signature": signature, "User-Agent": "Hookshot/abc x"} {
		r.Header.Set(name, value)
	}
	if strings.HasPrefix(event, "form") {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return w.Code, string(text)
}

// deliver stores an event and runs the loop until it has been decided on.
func (d *desk) deliver(e Event) store.Delivery {
	d.t.Helper()
	return d.settle(d.send(e))
}

func (d *desk) send(e Event) uint64 {
	d.t.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		d.t.Fatal(err)
	}
	d.n++
	return d.sendRaw("event", body)
}

func (d *desk) sendRaw(event string, body []byte) uint64 {
	d.t.Helper()
	d.n++
	status, text := d.post("/webhook/test", fmt.Sprint("id-", d.n), event, "good", body)
	var answer struct{ Delivery uint64 }
	if err := json.Unmarshal([]byte(text), &answer); status != http.StatusAccepted || err != nil {
		d.t.Fatalf("%d %s", status, text)
	}
	return answer.Delivery
}

func (d *desk) delivery(seq uint64) (delivery store.Delivery) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) (err error) { delivery, _, err = tx.Delivery(seq); return err }); err != nil {
		d.t.Fatal(err)
	}
	return delivery
}

// settle runs the loop until a delivery has been decided on or put off.
func (d *desk) settle(seq uint64) store.Delivery {
	d.t.Helper()
	before := d.delivery(seq).Tries
	d.loop(func() bool { got := d.delivery(seq); return !got.Pending() || got.Tries > before })
	return d.delivery(seq)
}

// loop runs the loop until something holds.
func (d *desk) loop(until func() bool) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.intake.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for range 1000 {
		if until() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.t.Fatal("it did not come to that")
}

func (d *desk) builds() (list []store.Build) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) (err error) { list, err = tx.Builds("", 0, 100); return err }); err != nil {
		d.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

func (d *desk) notices() (list []store.Notice) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) error {
		subjects, err := tx.Unsaid()
		for _, s := range subjects {
			if s.Notice != nil {
				list = append(list, *s.Notice)
			}
		}
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	return list
}

func (d *desk) replies() (list []store.Reply) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) error {
		subjects, err := tx.Unsaid()
		for _, s := range subjects {
			if s.Reply != nil {
				list = append(list, *s.Reply)
			}
		}
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b store.Reply) int { return a.Created.Compare(b.Created) })
	return list
}

func (d *desk) end(id string, status store.Status) {
	d.t.Helper()
	if _, err := d.store.ChangeBuild(id, func(b *store.Build) error { b.End(status, d.store.Now()); return nil }); err != nil {
		d.t.Fatal(err)
	}
}

func push(ref, after, message string) Event {
	return Event{Kind: Push, Repo: repo, Sender: alice, Summary: "push", Push: PushEvent{Ref: ref, Before: hash('0'), After: after, Message: message}}
}

func pulled(number int, head string, author store.Account, from string) store.PullRequest {
	return store.PullRequest{Number: number, Open: true, Title: "A change", Author: author, Head: head, HeadRef: "refs/heads/feature", HeadRepo: from, BaseRef: "refs/heads/main"}
}

func pullEvent(pr store.PullRequest) Event {
	return Event{Kind: PullRequest, Repo: repo, Sender: pr.Author, Event: store.EventPullRequestCreated, PullRequest: pr, Summary: "pull request"}
}

// commented numbers comments.
var commented atomic.Int64

func comment(body string, by store.Account) Event {
	return Event{Kind: Comment, Repo: repo, Sender: by, Comment: store.Comment{ID: commented.Add(1), PullRequest: 12, Body: body, Author: by}}
}

func TestAnswers(t *testing.T) {
	d := newDesk(t)
	for _, tt := range []struct {
		name, path, id, event, signature string
		body                             []byte
		status                           int
		want                             string
	}{
		{"good", "/webhook/test", "1", "push", "good", []byte("{}"), 202, `{"delivery":1}`},
		{"again", "/webhook/test", "1", "push", "good", []byte("{}"), 202, `{"delivery":1,"duplicate":true}`},
		{"unsigned", "/webhook/test", "2", "push", "", []byte("{}"), 401, `{"error":"the signature is missing or wrong"}`},
		{"forged", "/webhook/test", "2", "push", "bad", []byte("{}"), 401, `{"error":"the signature is missing or wrong"}`},
		{"no secret", "/webhook/test", "2", "push", "none configured", []byte("{}"), 503, `{"error":"no webhook secret is configured; deliveries are not taken unsigned"}`},
		{"unknown forge", "/webhook/other", "2", "push", "good", []byte("{}"), 404, `{"error":"no forge of that name is configured here"}`},
		{"the API's", "/webhook/buildsmith", "2", "start", "good", []byte("{}"), 404, `{"error":"no forge of that name is configured here"}`},
		{"no id", "/webhook/test", "", "push", "good", []byte("{}"), 400, `{"error":"the headers name no delivery or no event"}`},
		{"no event", "/webhook/test", "3", "", "good", []byte("{}"), 400, `{"error":"the headers name no delivery or no event"}`},
		{"form", "/webhook/test", "4", "form", "good", []byte("payload={}"), 415, `{"error":"the content type is not application/json; set it in the webhook's settings"}`},
		{"too large", "/webhook/test", "5", "push", "good", make([]byte, maxDelivery+1), 413, `{"error":"a delivery may have 26214400 bytes"}`},
	} {
		status, body := d.post(tt.path, tt.id, tt.event, tt.signature, tt.body)
		if status != tt.status || strings.TrimSpace(body) != tt.want {
			t.Errorf("%s: %d %s, want %d %s", tt.name, status, body, tt.status, tt.want)
		}
	}
	if a, du, u := d.intake.Accepted.Load(), d.intake.Duplicates.Load(), d.intake.Unsigned.Load(); a != 1 || du != 1 || u != 2 {
		t.Errorf("counted %d accepted, %d duplicate, %d unsigned", a, du, u)
	}
}

func TestRelyFullDiskTakesNothingIn(t *testing.T) {
	d := newDesk(t)
	s, err := store.Open(t.TempDir(), store.Options{Reserve: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d.intake.Store = s
	status, body := d.post("/webhook/test", "1", "push", "good", []byte("{}"))
	if status != 503 || !strings.Contains(body, "the disk of this server is nearly full; send the delivery again later") {
		t.Errorf("%d %s", status, body)
	}
}

// TestStoreGone answers that a delivery could not be stored, or read, as what it is: something for later.
func TestStoreGone(t *testing.T) {
	d := newDesk(t)
	d.store.Close()
	status, body := d.post("/webhook/test", "1", "push", "good", []byte("{}"))
	if status != 503 || !strings.Contains(body, "the delivery could not be stored; send it again later") {
		t.Errorf("%d %s", status, body)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/webhook/test", iotest.ErrReader(errors.New("cut off")))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Signature", "good")
	e := echo.New()
	d.intake.Register(e)
	if e.ServeHTTP(w, r); w.Code != 400 || !strings.Contains(w.Body.String(), "the body could not be read to its end") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestForgeGone decides on what came before a forge was taken out of the configuration.
func TestForgeGone(t *testing.T) {
	d := newDesk(t)
	seq := d.send(push("refs/heads/main", hash('a'), ""))
	d.intake = New(Config{Store: d.store, Projects: d.intake.Projects, Log: slog.New(slog.DiscardHandler)})
	if got := d.settle(seq); got.Reason != "forge test is no longer configured" || len(got.Builds) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPush(t *testing.T) {
	d := newDesk(t)
	got := d.deliver(push("refs/heads/main", hash('a'), "Fix\u202e \x1bit\n\nbody"))
	builds := d.builds()
	if len(builds) != 1 || !slices.Equal(got.Builds, []string{builds[0].ID}) || got.Reason != "" || got.Repo != "octo/shop" || got.Summary != "push" {
		t.Fatalf("%+v\n%+v", got, builds)
	}
	b := builds[0]
	want := store.Trigger{Event: "PUSH", Automatic: true, Commit: hash('a'), SourceVersion: hash('a'), HeadRef: "refs/heads/main", Prev: hash('0'),
		Title: "Fix it", Actor: alice, Initiator: "Hookshot/abc", Delivery: got.Seq}
	if b.Trigger != want {
		t.Errorf("trigger %+v\nwant    %+v", b.Trigger, want)
	}
	if b.Check != "buildsmith" || b.Settings.Image != "standard" || b.Project != "octo-shop" {
		t.Errorf("%+v", b)
	}
}

func TestPushesThatBuildNothing(t *testing.T) {
	d := newDesk(t)
	d.forge.noSpec[hash('e')] = true
	d.forge.noSpec[hash('f')], d.forge.nearMiss = true, map[string]bool{hash('f'): true}
	for _, tt := range []struct {
		event Event
		want  string
	}{
		{push("refs/heads/main", hash('e'), ""), "there is no buildspec.yml in commit eeeeeeeeeeee"},
		{push("refs/heads/main", hash('f'), ""), "there is no buildspec.yml in commit ffffffffffff: buildspec.yaml is there, but the name is buildspec.yml"},
		{push("refs/heads/gh-readonly-queue/main/pr-1", hash('a'), ""), "a branch of the merge queue is built for its merge group"},
		{push("refs/notes/x", hash('a'), ""), "refs/notes/x is neither a branch nor a tag"},
		{push("refs/heads/a..b", hash('a'), ""), `"refs/heads/a..b" at "` + hash('a') + `" is no valid ref or commit`},
		{push("refs/heads/main", "--upload-pack=x", ""), `"refs/heads/main" at "--upload-pack=x" is no valid ref or commit`},
		{pullEvent(pulled(12, "main", alice, repo.ID)), "pull request 12 has no valid head or base"},
		{push("refs/heads/main", "", ""), "branch main was deleted; builds stopped in the queue: 0"},
		{Event{Kind: Nothing, Repo: repo, Reason: "stars start nothing"}, "stars start nothing"},
		{Event{Kind: Ping}, "the webhook works"},
	} {
		if got := d.deliver(tt.event); got.Reason != tt.want || len(got.Builds) != 0 || got.Pending() {
			t.Errorf("%+v, want %q", got, tt.want)
		}
	}
	if len(d.builds())+len(d.notices()) != 0 {
		t.Errorf("%v %v", d.builds(), d.notices())
	}
}

func TestUnreadableDeliveries(t *testing.T) {
	d := newDesk(t)
	for event, want := range map[string]string{
		"garbage": "the payload is not what the forge describes",
		"panic":   "the delivery could not be read",
	} {
		if got := d.settle(d.sendRaw(event, fmt.Appendf(nil, "{%q: 1}", event))); got.Reason != want || got.Pending() {
			t.Errorf("%+v, want %q", got, want)
		}
	}
}

// TestReplay sends bodies again under another id, which is not signed.
func TestReplay(t *testing.T) {
	d := newDesk(t)
	e := push("refs/heads/main", hash('a'), "")
	first := d.deliver(e)
	for range 2 { // the second is a replay of a replay
		again := d.deliver(e)
		if !strings.HasPrefix(again.Reason, "the same as delivery ") || !slices.Equal(again.Builds, first.Builds) || len(d.builds()) != 1 {
			t.Errorf("%+v, %d builds", again, len(d.builds()))
		}
	}
	b := d.builds()[0]
	d.end(b.ID, store.Succeeded)
	button := Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: b.ID}
	second := d.deliver(button)
	d.end(second.Builds[0], store.Succeeded)
	if again := d.deliver(button); !slices.Equal(again.Builds, second.Builds) || len(d.builds()) != 2 {
		t.Errorf("%+v, %d builds", again, len(d.builds()))
	}
}

func TestTagsAndDeletions(t *testing.T) {
	d := newDesk(t)
	d.intake.Rules.Supersede = SupersedeOff
	d.deliver(push("refs/tags/v1", hash('a'), "release [skip ci]")) // a tag is never skipped
	d.deliver(push("refs/heads/old", hash('b'), ""))
	d.deliver(push("refs/heads/old", hash('c'), ""))
	running := d.builds()[1]
	if claims, err := d.store.Claim(2, func(*store.Build) string { return "" }); err != nil || len(claims) != 2 {
		t.Fatal(claims, err)
	}
	got := d.deliver(push("refs/heads/old", "", ""))
	if got.Reason != "branch old was deleted; builds stopped in the queue: 1" {
		t.Errorf("%+v", got)
	}
	builds := d.builds()
	if builds[0].Trigger.HeadRef != "refs/tags/v1" || builds[0].Done() || builds[1].ID != running.ID || builds[1].Done() || builds[2].Status != store.Stopped {
		t.Errorf("%+v", builds)
	}
	if h := builds[2].Headline(); h.Message != "Stopped by the deletion of branch old." {
		t.Errorf("%+v", h)
	}
}

func TestSkippedPush(t *testing.T) {
	d := newDesk(t)
	got := d.deliver(push("refs/heads/main", hash('a'), "docs [skip ci]"))
	notices := d.notices()
	if len(d.builds()) != 0 || len(notices) != 1 || got.Reason != "The message of commit aaaaaaaaaaaa says [skip ci]." {
		t.Fatalf("%+v %+v", got, notices)
	}
	n := notices[0]
	if n.Conclusion != store.SkippedNotice || n.Check != "buildsmith" || n.Trigger.Commit != hash('a') {
		t.Errorf("%+v", n)
	}
	// Whoever asks for it gets it built.
	got = d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: n.ID})
	if builds := d.builds(); len(builds) != 1 || len(got.Builds) != 1 || builds[0].Trigger.Automatic || builds[0].AskedBy != "alice" {
		t.Errorf("%+v %+v", got, builds)
	}
}

func TestPullRequest(t *testing.T) {
	d := newDesk(t)
	d.forge.commits[hash('a')] = store.Commit{Hash: hash('a'), Message: "Change"}
	got := d.deliver(pullEvent(pulled(12, hash('a'), alice, repo.ID)))
	builds := d.builds()
	if len(builds) != 1 || len(got.Builds) != 1 {
		t.Fatalf("%+v %+v", got, builds)
	}
	tr := builds[0].Trigger
	if tr.Event != "PULL_REQUEST_CREATED" || tr.SourceVersion != "pr/12" || tr.HeadRef != "refs/heads/feature" || tr.BaseRef != "refs/heads/main" || tr.Fork || tr.Prev != "" {
		t.Errorf("%+v", tr)
	}
}

// TestOneAutomaticBuildForACommit has push and pull request of one commit, in both orders.
func TestOneAutomaticBuildForACommit(t *testing.T) {
	branch := func(c byte) Event { return push("refs/heads/feature", hash(c), "") }
	pull := func(c byte) Event { return pullEvent(pulled(12, hash(c), alice, repo.ID)) }
	d := newDesk(t)
	first := d.deliver(branch('a'))
	d.forge.asked = nil
	second := d.deliver(pull('a'))
	if len(d.builds()) != 1 || !slices.Equal(first.Builds, second.Builds) || second.Reason != "Commit aaaaaaaaaaaa has an automatic build already, number 1." {
		t.Errorf("push first: %+v", second)
	}
	if len(d.forge.asked) > 0 {
		t.Errorf("asked for nothing: %v", d.forge.asked)
	}
	d.deliver(pull('b'))
	if second = d.deliver(branch('b')); len(d.builds()) != 2 || len(second.Builds) != 1 {
		t.Errorf("pull request first: %+v", second)
	}
	// The same commit on another branch, or once more on this one, is a push of its own.
	d.deliver(push("refs/heads/main", hash('a'), ""))
	again := branch('a')
	again.Push.Before = hash('c')
	d.deliver(again)
	d.deliver(push("refs/tags/v1", hash('a'), ""))
	if n := len(d.builds()); n != 5 {
		t.Errorf("%d builds, want 5", n)
	}
}

func TestStrangers(t *testing.T) {
	for name, tt := range map[string]struct {
		pr  store.PullRequest
		why string
	}{
		"another repository": {pulled(12, hash('a'), alice, "8"), "it comes from another repository"},
		"gone repository":    {pulled(12, hash('a'), alice, ""), "it comes from another repository"},
		"reader":             {pulled(12, hash('a'), eve, repo.ID), "its author eve has no write access"},
		"nobody":             {pulled(12, hash('a'), store.Account{ID: "9", Login: "mallory"}, repo.ID), "its author mallory has no write access"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.forge.pulls[12] = tt.pr
			got := d.deliver(pullEvent(tt.pr))
			notices := d.notices()
			if len(d.builds()) != 0 || len(notices) != 1 || got.Reason != "Pull request 12 was not built: "+tt.why+"." {
				t.Fatalf("%+v %+v", got, notices)
			}
			n := notices[0]
			if n.Conclusion != store.ActionRequired || n.Title != "Approval needed" || !strings.HasPrefix(n.Reason, got.Reason) {
				t.Errorf("%+v", n)
			}
			// A re-run by button and by comment are refused the same way, even to somebody with write access.
			d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: n.ID})
			d.deliver(Event{Kind: RerunCommit, Repo: repo, Sender: alice, Commit: hash('a')})
			d.deliver(comment("/test", alice))
			d.deliver(comment("/rerun", alice))
			if notices := d.notices(); len(d.builds()) != 0 || len(notices) != 3 {
				t.Errorf("%d builds, %d notices", len(d.builds()), len(notices))
			}
			// One refusal is said in words, with what to write instead.
			if replies := d.replies(); len(replies) != 1 || !replies[0].Refusal || replies[0].To != alice ||
				replies[0].Body != "Pull request 12 waits for approval: "+tt.why+". Look at commit aaaaaaaaaaaa, and then comment: `/buildsmith approve "+hash('a')+"`" {
				t.Errorf("%+v", replies)
			}
			if !slices.Equal(d.forge.reactions, []store.Reaction{store.ReactionRefused, store.ReactionRefused}) {
				t.Errorf("reactions %v", d.forge.reactions)
			}
		})
	}
}

func TestComments(t *testing.T) {
	bot := store.Account{ID: "3", Login: "robot", Bot: true}
	for _, tt := range []struct {
		name     string
		body     string
		by       store.Account
		change   func(*desk)
		want     string // the reason
		builds   int
		reaction store.Reaction
	}{
		{"test", "/test", alice, nil, "", 2, store.ReactionAccepted},
		{"test by name", "/test octo-shop", alice, nil, "", 2, store.ReactionAccepted},
		{"test all", "/test all", alice, nil, "", 2, store.ReactionAccepted},
		{"unknown target", "/test none", alice, nil, "There is no project none here. There are: octo-shop.", 1, store.ReactionAccepted},
		{"rerun of a failure", "/rerun", alice, func(d *desk) { d.end(d.builds()[0].ID, store.Failed) }, "", 2, store.ReactionAccepted},
		{"rerun of a timeout", "/rerun", alice, func(d *desk) { d.end(d.builds()[0].ID, store.TimedOut) }, "", 2, store.ReactionAccepted},
		{"rerun of a success", "/rerun", alice, func(d *desk) { d.end(d.builds()[0].ID, store.Succeeded) },
			"There is nothing to re-run. /buildsmith test builds the newest commit once more.", 1, store.ReactionAccepted},
		{"rerun while it runs", "/rerun", alice, nil, "Build 1 of octo-shop is still under way.", 1, store.ReactionAccepted},
		{"two commands", "/test\n/rerun", alice, nil, "Build 2 of octo-shop is still under way.", 2, store.ReactionAccepted},
		{"no right", "/test", eve, nil, "test needs write access to this repository; eve has read access.", 1, store.ReactionRefused},
		{"unknown verb", "/buildsmith dance", alice, nil, "dance is no command.", 1, store.ReactionRefused},
		{"no command", "looks good", alice, nil, "the comment holds no command", 1, ""},
		{"bot", "/test", bot, nil, "commands of bots are not taken; commands.bots lists those whose are", 1, ""},
		{"closed", "/test", alice, func(d *desk) { pr := d.forge.pulls[12]; pr.Open = false; d.forge.pulls[12] = pr }, "Pull request 12 is closed.", 1, store.ReactionRefused},
		{"gone", "/test", alice, func(d *desk) { delete(d.forge.pulls, 12) }, "Pull request 12 is gone.", 1, store.ReactionRefused},
		{"no buildspec", "/test", alice, func(d *desk) { d.forge.noSpec[hash('a')] = true }, "There is no buildspec.yml in commit aaaaaaaaaaaa.", 1, store.ReactionRefused},
		{"new head", "/rerun", alice, func(d *desk) { d.forge.pulls[12] = pulled(12, hash('b'), alice, repo.ID) }, "There is nothing to re-run. /buildsmith test builds the newest commit once more.", 1, store.ReactionAccepted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t)
			d.forge.pulls[12] = pulled(12, hash('a'), alice, repo.ID)
			d.deliver(pullEvent(d.forge.pulls[12]))
			if tt.change != nil {
				tt.change(d)
			}
			got := d.deliver(comment(tt.body, tt.by))
			if got.Reason != tt.want || len(d.builds()) != tt.builds {
				t.Errorf("%q and %d builds, want %q and %d", got.Reason, len(d.builds()), tt.want, tt.builds)
			}
			var want []store.Reaction
			if tt.reaction != "" {
				want = []store.Reaction{tt.reaction}
			}
			if !slices.Equal(d.forge.reactions, want) {
				t.Errorf("reactions %v, want %v", d.forge.reactions, want)
			}
			if tt.builds == 2 {
				b := d.builds()[1]
				if b.Trigger.Automatic || b.AskedBy != "alice" || b.Trigger.Commit != hash('a') {
					t.Errorf("%+v", b)
				}
				if strings.HasPrefix(tt.name, "rerun") != (b.RerunOf != "") {
					t.Errorf("re-run of %q", b.RerunOf)
				}
			}
		})
	}
}

func TestRerequests(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	first := d.builds()[0]
	button := func(by store.Account, id string) store.Delivery {
		return d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: by, ExternalID: id})
	}
	if got := button(alice, first.ID); got.Reason != "build 1 of octo-shop is still under way" {
		t.Errorf("%+v", got)
	}
	d.end(first.ID, store.Succeeded)
	if got := button(eve, first.ID); got.Reason != "eve has no write access, which a re-run needs" {
		t.Errorf("%+v", got)
	}
	if got := button(alice, "none"); got.Reason != "the build of this check is not known here, or no longer" {
		t.Errorf("%+v", got)
	}
	other := repo
	other.ID = "8"
	if got := d.deliver(Event{Kind: RerunCheck, Repo: other, Sender: alice, ExternalID: first.ID}); got.Reason != "the check belongs to another repository" {
		t.Errorf("%+v", got)
	}
	got := button(alice, first.ID)
	second := d.builds()[1]
	if !slices.Equal(got.Builds, []string{second.ID}) || second.RerunOf != first.ID || second.Trigger.Commit != hash('a') || second.AskedBy != "alice" {
		t.Errorf("%+v %+v", got, second)
	}
	d.end(second.ID, store.Failed)
	got = d.deliver(Event{Kind: RerunCommit, Repo: repo, Sender: alice, Commit: hash('a')})
	if third := d.builds()[2]; !slices.Equal(got.Builds, []string{third.ID}) || third.RerunOf != second.ID {
		t.Errorf("%+v", got)
	}
	if got := d.deliver(Event{Kind: RerunCommit, Repo: repo, Sender: alice, Commit: hash('b')}); got.Reason != "commit bbbbbbbbbbbb has no build here" {
		t.Errorf("%+v", got)
	}
}

func TestConfiguredProjects(t *testing.T) {
	d := newDesk(t, Project{Name: "unit", Settings: store.Settings{Image: "one", Required: true}}, Project{Name: "deploy", Settings: store.Settings{Image: "two", Required: true}})
	d.forge.noSpec[hash('a')] = true // whatever: a configured project has one
	got := d.deliver(push("refs/heads/main", hash('a'), ""))
	builds := d.builds()
	if len(builds) != 2 || len(got.Builds) != 2 || builds[0].Check != "buildsmith (unit)" || builds[1].Check != "buildsmith (deploy)" || builds[1].Settings.Image != "two" {
		t.Fatalf("%+v", builds)
	}
	d.forge.pulls[12] = pulled(12, hash('a'), alice, repo.ID)
	d.deliver(comment("/test deploy", alice))
	if builds = d.builds(); len(builds) != 3 || builds[2].Project != "deploy" {
		t.Errorf("%+v", builds)
	}
	d.end(builds[2].ID, store.Failed)
	// A re-run takes the settings of today.
	d.intake.Projects = func(store.Repo) []Project {
		return []Project{{Name: "unit"}, {Name: "deploy", Settings: store.Settings{Image: "three"}}}
	}
	d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: builds[2].ID})
	if builds = d.builds(); len(builds) != 4 || builds[3].Settings.Image != "three" {
		t.Errorf("%+v", builds)
	}
}

// TestForgeIsDown has look-ups fail: the delivery waits, others of its repository wait behind it, other repositories do not.
func TestForgeIsDown(t *testing.T) {
	d := newDesk(t)
	d.forge.down = errors.New("GET /repos/octo/shop: 502")
	first := d.send(push("refs/heads/main", hash('a'), "Begin"))
	second := d.send(push("refs/heads/main", hash('b'), "Begin"))
	deleted := push("refs/heads/x", "", "")
	deleted.Repo.ID = "8"
	other := d.send(deleted)
	got := d.settle(first)
	if got.Tries != 1 || got.Problem != "looking for buildspec.yml: GET /repos/octo/shop: 502" || !got.Next.Equal(d.store.Now().Add(firstRetry)) || got.Repo != "octo/shop" {
		t.Errorf("%+v", got)
	}
	if got := d.settle(other); got.Pending() {
		t.Errorf("another repository waits: %+v", got)
	}
	if got := d.delivery(second); !got.Pending() || got.Tries != 0 {
		t.Errorf("the second delivery went before the first: %+v", got)
	}
	d.forge.mu.Lock()
	d.forge.down = nil
	d.forge.mu.Unlock()
	d.clock.advance(firstRetry)
	d.loop(func() bool { got := d.delivery(second); return !got.Pending() })
	builds := d.builds()
	if len(builds) != 2 || builds[0].Trigger.Commit != hash('a') || builds[1].Trigger.Commit != hash('b') {
		t.Errorf("%+v", builds)
	}
	if got := d.delivery(first); got.Problem != "" || got.Pending() {
		t.Errorf("%+v", got)
	}
}

func TestGivingUp(t *testing.T) {
	d := newDesk(t)
	d.forge.down = errors.New("502")
	seq := d.send(push("refs/heads/main", hash('a'), "Begin"))
	if err := d.store.Update(func(tx *store.Tx) error {
		delivery, _, err := tx.Delivery(seq)
		delivery.Tries = maxAttempts - 1
		return errors.Join(err, tx.SetDelivery(&delivery))
	}); err != nil {
		t.Fatal(err)
	}
	if got := d.settle(seq); got.Pending() || got.Reason != "given up: looking for buildspec.yml: 502" {
		t.Errorf("%+v", got)
	}
}

func (d *desk) request(event string, r store.Request) store.Delivery {
	d.t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		d.t.Fatal(err)
	}
	d.n++
	delivery := store.Delivery{Forge: store.ForgeAPI, ID: fmt.Sprint("request-", d.n), Event: event}
	if _, err := d.store.Accept(&delivery, body); err != nil {
		d.t.Fatal(err)
	}
	return d.settle(delivery.Seq)
}

func TestRequests(t *testing.T) {
	d := newDesk(t)
	d.forge.commits["main"] = store.Commit{Hash: hash('c'), Message: "Newest\n"}
	d.forge.commits[""] = store.Commit{Hash: hash('d')}
	if got := d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: "main", By: "admin"}); got.Reason != `there is no project "octo-shop"; a repository becomes one by its first push` {
		t.Errorf("%+v", got)
	}
	d.deliver(push("refs/heads/main", hash('a'), ""))
	for _, tt := range []struct {
		request store.Request
		reason  string
		commit  string
		version string
	}{
		{store.Request{Project: "octo-shop", Version: "main", By: "admin"}, "", hash('c'), "main"},
		{store.Request{Project: "octo/shop", By: "admin"}, "", hash('d'), hash('d')},
		{store.Request{Project: "octo-shop", Version: "gone", By: "admin"}, `octo/shop has no branch, tag or commit "gone"`, "", ""},
	} {
		before := len(d.builds())
		got := d.request(store.RequestStart, tt.request)
		builds := d.builds()
		if got.Reason != tt.reason || (len(builds) > before) != (tt.reason == "") {
			t.Fatalf("%+v: %+v", tt.request, got)
		}
		if tt.reason == "" {
			if b := builds[len(builds)-1]; b.Trigger.Commit != tt.commit || b.Trigger.SourceVersion != tt.version || b.Trigger.Automatic || b.AskedBy != "admin" || b.Trigger.Event != "" {
				t.Errorf("%+v", b)
			}
		}
	}
	first := d.builds()[0]
	if got := d.request(store.RequestRetry, store.Request{Build: first.ID, By: "admin"}); got.Reason != "build 1 of octo-shop is still under way" {
		t.Errorf("%+v", got)
	}
	d.end(first.ID, store.Succeeded)
	got := d.request(store.RequestRetry, store.Request{Build: first.ID, By: "admin"})
	if len(got.Builds) != 1 {
		t.Fatalf("%+v", got)
	}
	if b, err := d.store.Build(got.Builds[0]); err != nil || b.RerunOf != first.ID {
		t.Errorf("%+v %v", b, err)
	}
	if got := d.request("dance", store.Request{}); got.Reason != `there is no request "dance"` {
		t.Errorf("%+v", got)
	}
}

// TestUnsignedBodiesAreNotRead has somebody send a body without a signature: it is refused before any of it is read.
func TestUnsignedBodiesAreNotRead(t *testing.T) {
	d := newDesk(t)
	for signature, want := range map[string]int{"": 401, "none configured": 503} {
		body := &counting{}
		r := httptest.NewRequest(http.MethodPost, "/webhook/test", body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Signature", signature)
		w := httptest.NewRecorder()
		e := echo.New()
		d.intake.Register(e)
		if e.ServeHTTP(w, r); w.Code != want || body.read > 0 {
			t.Errorf("signature %q: %d after %d bytes, want %d after none", signature, w.Code, body.read, want)
		}
	}
}

// A counting body counts what is read of it; it never ends.
type counting struct{ read int }

func (c *counting) Read(p []byte) (int, error) { c.read += len(p); return len(p), nil }

// TestBodiesAreBounded has many large bodies on their way at a time, none of which ends: further ones are refused at once,
// small ones are not, and all is as before when they have gone.
func TestBodiesAreBounded(t *testing.T) {
	d := newDesk(t)
	e := echo.New()
	d.intake.Register(e)
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	for n := range largeBodies / maxDelivery {
		sending.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhook/test", readerFunc(func([]byte) (int, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			}))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Signature", "forged")
			if n%2 == 0 {
				r.ContentLength = maxDelivery // else it is not known
			}
			e.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for d.intake.bodies.used.Load() < largeBodies/maxDelivery*maxDelivery {
		time.Sleep(time.Millisecond)
	}
	large := bytes.Repeat([]byte(" "), largeBodies%maxDelivery+1)
	r := httptest.NewRequest(http.MethodPost, "/webhook/test", bytes.NewReader(large))
	for name, value := range map[string]string{"Content-Type": "application/json", "Signature": "good", "Id": "1", "Event": "push"} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	if e.ServeHTTP(w, r); w.Code != 503 || w.Header().Get("Retry-After") != "10" || !strings.Contains(w.Body.String(), "too many large deliveries come at a time; send the delivery again later") {
		t.Errorf("a large delivery among many: %d %v %s", w.Code, w.Header(), w.Body)
	}
	if status, body := d.post("/webhook/test", "2", "push", "good", []byte("{}")); status != 202 {
		t.Errorf("a small delivery among many that are large: %d %s", status, body)
	}
	cancel()
	sending.Wait()
	if status, body := d.post("/webhook/test", "1", "push", "good", large); status != 202 || d.intake.bodies.used.Load() != 0 {
		t.Errorf("afterwards: %d %s, %d bytes taken", status, body, d.intake.bodies.used.Load())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestStartOfAPullRequest builds a pull request that is asked for by its number as what it is: one of a fork is a fork's.
func TestStartOfAPullRequest(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	d.forge.pulls[7], d.forge.pulls[8] = pulled(7, hash('e'), eve, "666"), pulled(8, hash('c'), alice, repo.ID)
	odd := pulled(9, hash('c'), alice, repo.ID)
	odd.HeadRef = "refs/heads/a..b"
	d.forge.pulls[9] = odd
	for _, tt := range []struct {
		version, commit string
		fork            bool
		number          int
		reason          string
	}{
		{"pr/7", hash('e'), true, 7, ""},
		{"pr/8", hash('c'), false, 8, ""},
		{"pr/9", "", false, 0, "pull request 9 has no valid head or base"},
		{"pr/10", "", false, 0, "octo/shop has no pull request 10"},
		{"pr/+7", "", false, 0, `octo/shop has no branch, tag or commit "pr/+7"`},
	} {
		before := len(d.builds())
		got := d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: tt.version, By: "admin"})
		list := d.builds()
		if got.Reason != tt.reason || len(list)-before != len(got.Builds) || (tt.reason == "") != (len(got.Builds) == 1) {
			t.Errorf("%s: %+v", tt.version, got)
			continue
		}
		if tt.reason != "" {
			continue
		}
		want := store.Trigger{Commit: tt.commit, SourceVersion: tt.version, HeadRef: "refs/heads/feature", BaseRef: "refs/heads/main", PullRequest: tt.number,
			Fork: tt.fork, Title: "A change", Actor: store.Account{Login: "admin"}, Initiator: "admin", Delivery: got.Seq}
		if b := list[len(list)-1]; b.Trigger != want || b.AskedBy != "admin" {
			t.Errorf("%s: trigger %+v\nwant %+v", tt.version, b.Trigger, want)
		}
	}
}

// TestStartOfACommit takes a commit that is not known to belong to the repository for a fork's.
func TestStartOfACommit(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	d.deliver(push("refs/heads/gone", hash('b'), ""))
	for _, c := range "abcde" {
		d.forge.commits[hash(byte(c))] = store.Commit{Hash: hash(byte(c))}
	}
	d.forge.commits["pull/7/head"], d.forge.commits[""] = store.Commit{Hash: hash('e')}, store.Commit{Hash: hash('d')}
	// The branch of b is gone since; d and e are nobody's that the forge knows of.
	d.forge.foreign = map[string]bool{hash('b'): true, hash('d'): true, hash('e'): true}
	for version, fork := range map[string]bool{hash('a'): false, hash('b'): false, hash('c'): false, hash('e'): true, "pull/7/head": true, "": false} {
		got := d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: version, By: "admin"})
		if len(got.Builds) != 1 {
			t.Fatalf("%q: %+v", version, got)
		}
		if b, err := d.store.Build(got.Builds[0]); err != nil || b.Trigger.Fork != fork || b.Trigger.Event != "" {
			t.Errorf("%q: %+v %v, want fork %v", version, b.Trigger, err, fork)
		}
	}
	// What was built as a fork's commit does not become ours by that.
	if got := d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: hash('e'), By: "admin"}); len(got.Builds) == 1 {
		if b, err := d.store.Build(got.Builds[0]); err != nil || !b.Trigger.Fork {
			t.Errorf("again: %+v %v", b.Trigger, err)
		}
	}
}

// TestStartOfARef knows the branch or tag that somebody named, on which secrets and caches depend, and takes what the start gives.
func TestStartOfARef(t *testing.T) {
	d := newDesk(t)
	first := push("refs/heads/main", hash('a'), "")
	first.Repo.DefaultBranch = "main"
	d.deliver(first)
	for version, c := range map[string]string{"": "a", "main": "a", "refs/heads/main": "a", "v1": "b", "refs/tags/v1": "b", "both": "c", "refs/heads/both": "d", "refs/tags/both": "c"} {
		d.forge.commits[version] = store.Commit{Hash: hash(c[0])}
	}
	d.forge.commits[hash('a')] = store.Commit{Hash: hash('a')}
	for version, want := range map[string]string{
		"": "refs/heads/main", "main": "refs/heads/main", "refs/heads/main": "refs/heads/main", "v1": "refs/tags/v1", "both": "refs/tags/both", hash('a'): "",
	} {
		request := store.Request{Project: "octo-shop", Version: version, By: "admin", Buildspec: "ci/x.yml",
			Variables: []store.Variable{{Name: "K", Value: "ci/k", Type: store.SecretsManager}}}
		got := d.request(store.RequestStart, request)
		if len(got.Builds) != 1 {
			t.Fatalf("%q: %+v", version, got)
		}
		b, err := d.store.Build(got.Builds[0])
		if err != nil || b.Trigger.HeadRef != want || b.Trigger.Fork {
			t.Errorf("%q: %+v %v, want %q", version, b.Trigger, err, want)
		}
		if s := b.Settings; s.Buildspec != "ci/x.yml" || !s.Required || !slices.Equal(s.Overrides, request.Variables) {
			t.Errorf("%+v", s)
		}
	}
}

// TestRequestsDoNotWaitForOthers has one request that cannot be looked up: those for other projects go on, and so does one
// for a forge that is no longer configured.
func TestRequestsDoNotWaitForOthers(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	first := d.builds()[0]
	d.end(first.ID, store.Failed)
	gone := store.Repo{Forge: "gone", Host: "gone.example.org", ID: "99", Name: "old/repo"}
	if err := d.store.Update(func(tx *store.Tx) error { _, err := tx.Project(gone, ""); return err }); err != nil {
		t.Fatal(err)
	}
	d.forge.down = errors.New("502")
	if got := d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: "main", By: "admin"}); !got.Pending() ||
		got.Problem != "looking for main of octo/shop: 502" {
		t.Errorf("%+v", got)
	}
	if got := d.request(store.RequestRetry, store.Request{Build: first.ID, By: "admin"}); len(got.Builds) != 1 {
		t.Errorf("a retry waits behind a start: %+v", got)
	}
	if got := d.request(store.RequestStart, store.Request{Project: "old-repo", By: "admin"}); got.Pending() || got.Reason != "forge gone is no longer configured" {
		t.Errorf("%+v", got)
	}
}

// TestManyOfOneRepository has more deliveries of a repository that cannot be looked up than memory holds: another
// repository's is decided on, and when the forge answers again they are, in their order.
func TestManyOfOneRepository(t *testing.T) {
	d := newDesk(t)
	d.forge.down = errors.New("502")
	const many = maxKeptOfKey + 2*pageSize + 5
	for n := range many {
		body, err := json.Marshal(push(fmt.Sprint("refs/heads/b", n), fmt.Sprintf("%040x", n+1), ""))
		if err != nil {
			t.Fatal(err)
		}
		if accepted, err := d.store.Accept(&store.Delivery{Forge: "test", Host: "forge.example.org", ID: fmt.Sprint("many-", n), Event: "event"}, body); !accepted || err != nil {
			t.Fatal(accepted, err)
		}
	}
	deleted := push("refs/heads/x", "", "")
	deleted.Repo.ID = "8"
	if got := d.settle(d.send(deleted)); got.Pending() {
		t.Errorf("another repository waits: %+v", got)
	}
	d.forge.mu.Lock()
	d.forge.down = nil
	d.forge.mu.Unlock()
	d.clock.advance(lastRetry)
	d.loop(func() bool { got := d.delivery(many); return !got.Pending() })
	var list []store.Build
	if err := d.store.View(func(tx *store.Tx) (err error) { list, err = tx.Builds("", 0, 2*many); return err }); err != nil || len(list) != many {
		t.Fatal(len(list), err)
	}
	for n, b := range slices.Backward(list) {
		if want := fmt.Sprintf("%040x", many-n); b.Trigger.Commit != want {
			t.Fatalf("build %d is of %s, want %s", many-n, b.Trigger.Commit, want)
		}
	}
}

// TestClockSetBack has the clock set back while a delivery waits: it does not wait for all that time.
func TestClockSetBack(t *testing.T) {
	d := newDesk(t)
	d.forge.down = errors.New("502")
	seq := d.send(push("refs/heads/main", hash('a'), ""))
	d.settle(seq)
	d.clock.advance(-24 * time.Hour)
	d.forge.mu.Lock()
	d.forge.down = nil
	d.forge.mu.Unlock()
	if got := d.settle(seq); got.Pending() {
		t.Errorf("%+v", got)
	}
}

// TestBodyNotReadable has the disk fail for a while: the delivery waits, and is decided on later.
func TestBodyNotReadable(t *testing.T) {
	d := newDesk(t)
	var noise strings.Builder // that does not pack
	for n := range 20_000 {
		fmt.Fprintf(&noise, "%x ", n*n*7919)
	}
	seq := d.send(push("refs/heads/main", hash('a'), noise.String()))
	path := filepath.Join(d.store.Dir(), "bodies", d.delivery(seq).File)
	if err := errors.Join(os.Rename(path, path+".away"), os.Mkdir(path, 0o700)); err != nil { // reading it gives EISDIR
		t.Fatal(err)
	}
	if got := d.settle(seq); !got.Pending() || !strings.HasPrefix(got.Problem, "reading delivery 1: ") {
		t.Errorf("%+v", got)
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+".away", path)); err != nil {
		t.Fatal(err)
	}
	d.clock.advance(lastRetry)
	if got := d.settle(seq); len(got.Builds) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestNameIsTaken configures a project whose name another repository's has already: it gets another name, and its own
// settings all the same.
func TestNameIsTaken(t *testing.T) {
	d := newDesk(t, Project{Name: "app", Settings: store.Settings{Image: "configured"}})
	other := repo
	other.ID, other.Name = "1", "octo/old"
	if err := d.store.Update(func(tx *store.Tx) error { _, err := tx.Project(other, "app"); return err }); err != nil {
		t.Fatal(err)
	}
	d.deliver(push("refs/heads/feature", hash('a'), ""))
	first := d.builds()[0]
	if first.Project != "app-2" || first.Settings.Image != "configured" {
		t.Fatalf("%+v", first)
	}
	d.forge.commits["main"] = store.Commit{Hash: hash('a')}
	d.request(store.RequestStart, store.Request{Project: first.Project, Version: "main", By: "admin"})
	d.end(first.ID, store.Failed)
	d.request(store.RequestRetry, store.Request{Build: first.ID, By: "admin"})
	list := d.builds()
	if len(list) != 3 || list[1].Settings.Image != "configured" || list[2].Settings.Image != "configured" {
		t.Errorf("%+v", list)
	}
	// Its commit is known to have an automatic build.
	d.forge.asked = nil
	if got := d.deliver(pullEvent(pulled(12, hash('a'), alice, repo.ID))); len(d.builds()) != 3 || len(got.Builds) != 1 || len(d.forge.asked) > 0 {
		t.Errorf("%+v after asking %v", got, d.forge.asked)
	}
}

// TestReactionIsRefused has the forge refuse to answer a comment, as in a locked conversation: the command is obeyed. A
// failure that will pass is waited for.
func TestReactionIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		refusal error
		by      store.Account
		builds  int
	}{
		"locked":              {fmt.Errorf("403: %w", fs.ErrPermission), alice, 1},
		"gone":                {fmt.Errorf("404: %w", store.ErrNotFound), alice, 1},
		"locked for a reader": {fmt.Errorf("403: %w", fs.ErrPermission), eve, 0},
		"down":                {errors.New("502"), alice, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.forge.pulls[12] = pulled(12, hash('a'), alice, repo.ID)
			d.forge.unmoved = tt.refusal
			if got := d.deliver(comment("/test", tt.by)); got.Pending() || len(d.builds()) != tt.builds {
				t.Errorf("%d builds, %+v", len(d.builds()), got)
			}
		})
	}
}
