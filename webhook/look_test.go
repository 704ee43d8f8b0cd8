package webhook

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
)

// A showing forge shows how its repositories stand, by their ids.
type showing struct {
	*forge
	mu       sync.Mutex
	list     []store.Repo
	listFail error
	standing map[string]Standing
	fail     map[string]error
	comments map[int][]store.Comment
	mute     error // of comments
	looked   []string
	looks    int // in an hour
	since    map[int][]time.Time
}

func (s *showing) LooksPerHour() int { return s.looks }

func (s *showing) Repositories(context.Context) ([]store.Repo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list, s.listFail
}

func (s *showing) Look(_ context.Context, r store.Repo) (Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = append(s.looked, r.ID)
	standing := s.standing[r.ID]
	standing.Refs, standing.Pulls = maps.Clone(standing.Refs), slices.Clone(standing.Pulls)
	return standing, s.fail[r.ID]
}

func (s *showing) Comments(_ context.Context, _ store.Repo, number int, since time.Time) (list []store.Comment, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since[number] = append(s.since[number], since)
	for _, c := range s.comments[number] {
		if !c.Created.Before(since) {
			list = append(list, c)
		}
	}
	return list, s.mute
}

// at has the repository stand so.
func (s *showing) at(standing Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.standing[repo.ID] = standing
	s.forge.mu.Lock()
	defer s.forge.mu.Unlock()
	for _, hash := range standing.Refs {
		if _, ok := s.forge.commits[hash]; !ok {
			s.forge.commits[hash] = store.Commit{Hash: hash, Message: "Message of " + hash[:4]}
		}
	}
	for _, pr := range standing.Pulls {
		s.forge.pulls[pr.Number] = pr
	}
}

// newShowing gives a desk whose forge is looked at, with one repository.
func newShowing(t *testing.T, projects ...Project) (*desk, *showing) {
	t.Helper()
	d := newDesk(t, projects...)
	s := &showing{forge: d.forge, list: []store.Repo{repo}, standing: map[string]Standing{}, fail: map[string]error{}, comments: map[int][]store.Comment{}, since: map[int][]time.Time{}}
	source := *d.intake.source("test")
	source.Forge = s
	d.intake.AddSource(source)
	d.intake.SweepEvery = time.Millisecond
	return d, s
}

// look looks once and decides on what was found.
func (d *desk) look() Sweep {
	d.t.Helper()
	d.clock.advance(time.Minute)
	swept := d.intake.SweepNow(d.t.Context(), "test")
	d.drain()
	return swept
}

// found looks and gives the deliveries that were made.
func (d *desk) found() (list []store.Delivery) {
	d.t.Helper()
	before := d.newest()
	if swept := d.look(); swept.Err != nil || swept.Missed != swept.Fetched || swept.Left != 0 {
		d.t.Errorf("%+v", swept)
	}
	for seq := before + 1; seq <= d.newest(); seq++ {
		list = append(list, d.delivery(seq))
	}
	return list
}

func (d *desk) newest() (seq uint64) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) error {
		list, err := tx.Deliveries(0, 1)
		for _, delivery := range list {
			seq = delivery.Seq
		}
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	return seq
}

// drain runs the loop until all deliveries have been decided on.
func (d *desk) drain() {
	d.t.Helper()
	waiting := func() (n int) {
		if err := d.store.View(func(tx *store.Tx) error { n, _ = tx.Backlog(); return nil }); err != nil {
			d.t.Error(err)
		}
		return n
	}
	if waiting() > 0 {
		d.loop(func() bool { return waiting() == 0 })
	}
}

func (d *desk) commits() (list []string) {
	d.t.Helper()
	for _, b := range d.builds() {
		list = append(list, b.Trigger.Commit[:1])
	}
	return list
}

func (d *desk) refs() (refs map[string]string) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) (err error) { refs, err = tx.RefsOf(repo); return err }); err != nil {
		d.t.Fatal(err)
	}
	return refs
}

const (
	mainRef = "refs/heads/main"
	topic   = "refs/heads/topic"
)

// TestLook builds nothing of what was there at the first look, and then what no delivery told of, as what it is.
func TestLook(t *testing.T) {
	d, s := newShowing(t)
	s.list[0].Installation = 3
	s.at(Standing{Refs: map[string]string{mainRef: hash('a'), "refs/tags/v0": hash('9')}})
	if list := d.found(); len(list) != 0 || len(d.builds()) != 0 {
		t.Fatalf("the first look: %+v", list)
	}
	s.at(Standing{Refs: map[string]string{mainRef: hash('b'), "refs/tags/v1": hash('b'), "refs/tags/v0": hash('9'), "refs/notes/x": hash('1'), "refs/heads/odd": "no hash"}})
	list := d.found()
	builds := d.builds()
	if len(list) != 2 || len(builds) != 2 {
		t.Fatalf("%+v\n%+v", list, builds)
	}
	got := list[0]
	if got.Event != "found:push" || got.Forge != "test" || got.Host != repo.Host || got.Repo != repo.Name || got.RepoKey != repo.Key() || got.Summary != "push to branch main, found by looking" ||
		got.Reason != "" || !slices.Equal(got.Builds, []string{builds[0].ID}) || got.ID != "found:7/refs/heads/main/aaaaaaaaaaaa-bbbbbbbbbbbb/20260501T120200.000Z" {
		t.Errorf("%+v", got)
	}
	want := store.Trigger{Event: "PUSH", Automatic: true, Commit: hash('b'), SourceVersion: hash('b'), HeadRef: mainRef, Prev: hash('a'), Title: "Message of bbbb", Initiator: "test", Delivery: got.Seq}
	if builds[0].Trigger != want {
		t.Errorf("trigger %+v\nwant    %+v", builds[0].Trigger, want)
	}
	if tag := builds[1].Trigger; tag.HeadRef != "refs/tags/v1" || tag.Prev != strings.Repeat("0", 40) {
		t.Errorf("%+v", tag)
	}
	if list := d.found(); len(list) != 0 {
		t.Errorf("found again: %+v", list)
	}
	if last, missed := d.intake.Swept("test"); last.Missed != 0 || missed.Missed != 2 || missed.Fetched != 2 || d.intake.Fetched.Load() != 2 {
		t.Errorf("%+v %+v, %d fetched", last, missed, d.intake.Fetched.Load())
	}
	if err := d.store.View(func(tx *store.Tx) error {
		hook, err := tx.Hook("test", repo.Host)
		if !hook.Looked.Equal(d.store.Now()) {
			t.Errorf("looked %v", hook.Looked)
		}
		if i, heard, _ := tx.Installation("test", repo.Host, 3); heard {
			t.Errorf("a delivery that nobody sent is taken for one: %+v", i)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestFoundPushes decides on changes of refs that no delivery told of.
func TestFoundPushes(t *testing.T) {
	before := map[string]string{mainRef: hash('a'), topic: hash('a')}
	for name, tt := range map[string]struct {
		change  func(d *desk, s *showing)
		now     Standing
		reasons []string
		builds  string
		refs    map[string]string
	}{
		"nothing": {nil, Standing{Refs: before}, nil, "[]", before},
		"gone": {nil, Standing{Refs: map[string]string{mainRef: hash('a')}}, []string{"branch topic was deleted; builds stopped in the queue: 0"}, "[]",
			map[string]string{mainRef: hash('a')}},
		"not among those that were asked for": {nil, Standing{Refs: map[string]string{mainRef: hash('b')}, Part: true}, []string{""}, "[b]",
			map[string]string{mainRef: hash('b'), topic: hash('a')}},
		"a skip token": {func(d *desk, s *showing) {
			s.commits[hash('b')] = store.Commit{Hash: hash('b'), Message: "x [skip ci]"}
		}, Standing{Refs: map[string]string{mainRef: hash('b'), topic: hash('a')}}, []string{"The message of commit bbbbbbbbbbbb says [skip ci]."}, "[]",
			map[string]string{mainRef: hash('b'), topic: hash('a')}},
		"told by a delivery": {func(d *desk, _ *showing) {
			e := push(mainRef, hash('b'), "")
			e.Push.Before = hash('a')
			d.deliver(e)
		}, Standing{Refs: map[string]string{mainRef: hash('b'), topic: hash('a')}}, nil, "[b]", map[string]string{mainRef: hash('b'), topic: hash('a')}},
		"moved on after a delivery": {func(d *desk, _ *showing) {
			e := push(mainRef, hash('b'), "")
			e.Push.Before = hash('a')
			d.deliver(e)
		}, Standing{Refs: map[string]string{mainRef: hash('c'), topic: hash('a')}}, []string{""}, "[b c]", map[string]string{mainRef: hash('c'), topic: hash('a')}},
		"back to what was built": {func(d *desk, _ *showing) {
			for _, c := range []byte("bc") {
				e := push(mainRef, hash(c), "")
				e.Push.Before = hash(c - 1)
				d.deliver(e)
			}
		}, Standing{Refs: map[string]string{mainRef: hash('b'), topic: hash('a')}}, []string{"commit bbbbbbbbbbbb of branch main was decided on before"}, "[b c]",
			map[string]string{mainRef: hash('b'), topic: hash('a')}},
	} {
		t.Run(name, func(t *testing.T) {
			d, s := newShowing(t)
			s.at(Standing{Refs: before})
			d.look()
			if tt.change != nil {
				tt.change(d, s)
			}
			s.at(tt.now)
			var reasons []string
			for _, got := range d.found() {
				reasons = append(reasons, got.Reason)
			}
			if !slices.Equal(reasons, tt.reasons) || fmt.Sprint(d.commits()) != tt.builds || !maps.Equal(d.refs(), tt.refs) {
				t.Errorf("%q, builds %v, refs %v", reasons, d.commits(), d.refs())
			}
			if list := d.found(); len(list) != 0 {
				t.Errorf("found again: %+v", list)
			}
		})
	}
	t.Run("back to what was stopped", func(t *testing.T) {
		d, s := newShowing(t)
		s.at(Standing{Refs: before})
		d.look()
		for _, c := range []byte("bc") {
			e := push(topic, hash(c), "")
			e.Push.Before = map[byte]string{'b': hash('a'), 'c': hash('b')}[c]
			d.deliver(e)
		}
		s.at(Standing{Refs: map[string]string{mainRef: hash('a'), topic: hash('b')}})
		if d.look(); fmt.Sprint(d.commits()) != "[b c b]" || d.builds()[2].Stop != nil || d.builds()[1].Stop == nil {
			t.Errorf("builds %v", d.commits())
		}
	})
	d, s := newShowing(t)
	s.at(Standing{Refs: before})
	d.look()
	s.standing[repo.ID] = Standing{Refs: map[string]string{mainRef: hash('b'), topic: hash('a')}} // and the commit is gone
	if list := d.found(); len(list) != 1 || list[0].Reason != "commit bbbbbbbbbbbb is gone" {
		t.Errorf("%+v", list)
	}
	if list := d.found(); len(list) != 0 {
		t.Errorf("found again: %+v", list)
	}
}

// TestPushBeforeTheFirstLook keeps what deliveries told: what happened since is found by the first look already.
func TestPushBeforeTheFirstLook(t *testing.T) {
	d, s := newShowing(t)
	var before string
	for n := range 30 { // more than is remembered of what it was before
		e := push("refs/tags/latest", fmt.Sprintf("%040d", n+1), "")
		e.Push.Before, before = before, e.Push.After
		d.deliver(e)
	}
	d.forge.commits[hash('5')] = store.Commit{Hash: hash('5')}
	s.at(Standing{Refs: map[string]string{"refs/tags/latest": hash('5')}})
	if list := d.found(); len(list) != 1 || list[0].Reason != "" || len(d.builds()) != 31 {
		t.Errorf("%+v, builds %v", list, d.commits())
	}
	d, s = newShowing(t)
	d.deliver(push(mainRef, hash('a'), ""))
	d.deliver(pullEvent(pulled(12, hash('c'), alice, repo.ID)))
	now := pulled(12, hash('d'), alice, repo.ID)
	s.at(Standing{Refs: map[string]string{mainRef: hash('b'), topic: hash('e')}, Pulls: []store.PullRequest{now, pulled(13, hash('f'), alice, repo.ID)}})
	if list := d.found(); len(list) != 2 || fmt.Sprint(d.commits()) != "[a c b d]" {
		t.Errorf("%+v, %v", list, d.commits())
	}
}

// TestLateDeliveries come after their pushes were found: they build nothing, once each, also after a restart.
func TestLateDeliveries(t *testing.T) {
	d, s := newShowing(t)
	d.intake.Rules.Supersede = SupersedeOff
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	d.look()
	s.at(Standing{Refs: map[string]string{mainRef: hash('c')}})
	d.look()
	first := d.builds()[0]
	moved := func(before, after byte) Event {
		e := push(mainRef, hash(after), fmt.Sprint("delivery ", d.n))
		e.Push.Before = hash(before)
		return e
	}
	again := New(d.intake.Config)
	again.AddSource(*d.intake.source("test"))
	d.intake = again
	if got := d.deliver(moved('a', 'b')); len(got.Builds) != 1 { // it was never built
		t.Errorf("%+v", got)
	}
	if got := d.deliver(moved('b', 'c')); got.Reason != "found before, when the repository was looked at" || !slices.Equal(got.Builds, []string{first.ID}) {
		t.Errorf("%+v", got)
	}
	if list := d.found(); len(list) != 0 || d.refs()[mainRef] != hash('c') {
		t.Errorf("%+v %v", list, d.refs())
	}
	// What is pushed again is another push.
	d.deliver(moved('c', 'd'))
	if got := d.deliver(moved('d', 'c')); len(got.Builds) != 1 || got.Builds[0] == first.ID {
		t.Errorf("%+v", got)
	}
	// So is what comes very late.
	s.at(Standing{Refs: map[string]string{mainRef: hash('e')}})
	d.look()
	d.clock.advance(store.LateTime)
	if got := d.deliver(moved('d', 'e')); got.Reason != "" {
		t.Errorf("%+v", got)
	}
	if got := fmt.Sprint(d.commits()); got != "[c b d c e e]" {
		t.Errorf("builds %v", got)
	}
	// What seems to be late stops nothing, and a deletion of something else neither.
	d.intake.Rules.Supersede = SupersedeAll
	early := push(mainRef, hash('9'), "")
	early.Push.Before = hash('b')
	if got := d.deliver(early); len(got.Builds) != 1 || d.builds()[5].Stop != nil {
		t.Errorf("%+v", got)
	} else if b := d.builds()[6]; !b.Trigger.Late || b.Stop != nil {
		t.Errorf("%+v", b)
	}
	elsewhere := push(mainRef, "", "")
	elsewhere.Push.Before = hash('8')
	if got := d.deliver(elsewhere); got.Reason != "branch main was deleted before it came to be at eeeeeeeeeeee" || d.builds()[5].Stop != nil {
		t.Errorf("%+v", got)
	}
	// A branch that was found and deleted does not come again by the delivery of what was found.
	s.at(Standing{Refs: map[string]string{mainRef: hash('f')}})
	d.look()
	deleted := push(mainRef, "", "")
	deleted.Push.Before = hash('f')
	d.deliver(deleted)
	if got := d.deliver(moved('e', 'f')); got.Reason != "found before, when the repository was looked at" {
		t.Errorf("%+v", got)
	}
}

// TestPushAfterFound has a push follow what was found, by a clock of the forge that is late: the newer commit's build stays.
func TestPushAfterFound(t *testing.T) {
	d, s := newShowing(t)
	s.at(Standing{Refs: map[string]string{topic: hash('a')}})
	d.look()
	s.at(Standing{Refs: map[string]string{topic: hash('b')}})
	d.look()
	e := push(topic, hash('c'), "")
	e.Push.Before, e.At = hash('b'), d.store.Now().Add(-time.Hour)
	d.deliver(e)
	if b := d.builds(); len(b) != 2 || b[0].Stop == nil || b[1].Stop != nil {
		t.Errorf("%+v", b)
	}
}

// TestSettle has a delivery come between the look and what is made of it: it is no difference. One that is fetched need not be waited for.
func TestSettle(t *testing.T) {
	d, s := newShowing(t)
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	d.look()
	s.at(Standing{Refs: map[string]string{mainRef: hash('b')}})
	d.intake.SweepEvery = time.Second
	done := make(chan Sweep)
	go func() { done <- d.intake.SweepNow(t.Context(), "test") }()
	e := push(mainRef, hash('b'), "")
	e.Push.Before = hash('a')
	d.deliver(e)
	if swept := <-done; swept.Err != nil || swept.Missed != 0 || len(d.builds()) != 1 {
		t.Errorf("%+v, %d builds", swept, len(d.builds()))
	}
	source := *d.intake.source("test")
	source.Fetch = true
	d.intake.AddSource(source)
	d.intake.SweepEvery = time.Hour
	s.at(Standing{Refs: map[string]string{mainRef: hash('c')}})
	if list := d.found(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

// TestFoundOnce has what was found wait to be decided on: the next look does not find it again.
func TestFoundOnce(t *testing.T) {
	d, s := newShowing(t)
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	d.look()
	pr := pulled(12, hash('c'), alice, repo.ID)
	pr.Updated = d.store.Now()
	s.comments[12] = []store.Comment{{ID: 9, Body: "/status", Author: alice, Created: d.store.Now().Add(time.Second)}}
	s.at(Standing{Refs: map[string]string{mainRef: hash('b')}, Pulls: []store.PullRequest{pr}})
	for _, want := range []int{3, 0} {
		d.clock.advance(time.Minute)
		if swept := d.intake.SweepNow(t.Context(), "test"); swept.Err != nil || swept.Missed != want {
			t.Errorf("%+v, want %d", swept, want)
		}
	}
	// What came meanwhile by the webhook is decided on once, and what moved on is left to the next look.
	e := push(topic, hash('e'), "")
	d.drain()
	d.deliver(e)
	s.at(Standing{Refs: map[string]string{mainRef: hash('c'), topic: hash('f')}, Pulls: []store.PullRequest{pr}})
	d.clock.advance(time.Minute)
	forward := push(topic, hash('1'), "")
	forward.Push.Before = hash('e')
	told := push(mainRef, hash('c'), "")
	told.Push.Before = hash('b')
	seqs := []uint64{d.send(told), d.send(forward)} // which nobody has decided on yet
	before := d.newest()
	d.intake.SweepNow(t.Context(), "test")
	d.drain()
	if got, want := []string{d.delivery(before + 1).Reason, d.delivery(before + 2).Reason},
		[]string{"a delivery told of branch main meanwhile", "branch topic has moved since the repository was looked at"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := d.delivery(seqs[0]); len(got.Builds) != 1 {
		t.Errorf("%+v", got)
	}
}
