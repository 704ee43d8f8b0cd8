package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
)

// logged is a forge that remembers what it sent.
type logged struct {
	*forge
	mu      sync.Mutex
	sent    []Sent // newest first
	bodies  map[string]Event
	asked   []string
	fetched []string
	since   []time.Time
	fail    error
	gone    map[string]bool
}

func (l *logged) Deliveries(_ context.Context, since time.Time) ([]Sent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = append(l.since, since)
	var list []Sent
	for _, s := range l.sent {
		if !s.At.Before(since) {
			list = append(list, s)
		}
	}
	return list, l.fail
}

func (l *logged) Redeliver(_ context.Context, s Sent) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone[s.ID] {
		return fmt.Errorf("asking: %w", store.ErrNotFound)
	}
	l.asked = append(l.asked, s.ID)
	return nil
}

func (l *logged) Fetch(_ context.Context, s Sent) (http.Header, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone[s.ID] {
		return nil, nil, fmt.Errorf("fetching: %w", store.ErrNotFound)
	}
	l.fetched = append(l.fetched, s.ID)
	body, err := json.Marshal(l.bodies[s.ID])
	return http.Header{"Event": {"push"}, "Id": {s.ID}}, body, err
}

// newLogged gives a desk whose forge remembers, fetching or not.
func newLogged(t *testing.T, fetch bool) (*desk, *logged) {
	t.Helper()
	d := newDesk(t)
	l := &logged{forge: d.forge, bodies: map[string]Event{}, gone: map[string]bool{}}
	s := *d.intake.source("test")
	s.Forge, s.Fetch = l, fetch
	d.intake.AddSource(s)
	return d, l
}

// send has the forge try to deliver.
func (l *logged) send(id string, attempt int64, at time.Time, delivered bool) {
	l.sent = append([]Sent{{Attempt: attempt, ID: id, Event: "push", At: at, Delivered: delivered}}, l.sent...)
	l.bodies[id] = push("refs/heads/main", hash('a'), "text "+id)
}

// TestMissedDeliveries asks again for what was never answered, and for nothing else; what fails once more is fetched.
func TestMissedDeliveries(t *testing.T) {
	d, l := newLogged(t, false)
	now := d.intake.Store.Now()
	ago := func(m time.Duration) time.Time { return now.Add(-m * time.Minute) }
	l.send("twice", 1, ago(300), false)
	l.send("old", 2, ago(200), false)
	l.send("well", 3, ago(100), false)
	l.send("well", 4, ago(90), true)
	l.send("here", 5, ago(80), false)
	l.send("twice", 6, ago(70), false)
	l.send("gone", 7, ago(60), false)
	l.send("young", 8, now.Add(-time.Second), false)
	l.gone["gone"] = true
	if _, err := d.store.Accept(&store.Delivery{Forge: "test", Host: "forge.example.org", ID: "here", Event: "push"}, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	swept := d.intake.SweepNow(t.Context(), "test")
	if swept.Err != nil || swept.Missed != 3 || swept.Asked != 1 || swept.Fetched != 1 || swept.Gone != 1 || swept.Left != 0 {
		t.Errorf("%+v", swept)
	}
	if fmt.Sprint(l.asked, l.fetched) != "[old] [twice]" {
		t.Errorf("asked for %v, fetched %v", l.asked, l.fetched)
	}
	if last, missed := d.intake.Swept("test"); last.Missed != 3 || missed.Missed != 3 {
		t.Errorf("%+v %+v", last, missed)
	}
	// The next look finds the one that failed again, and the one that came meanwhile.
	l.send("old", 9, ago(1), false)
	d.clock.advance(10 * time.Minute)
	swept = d.intake.SweepNow(t.Context(), "test")
	if swept.Err != nil || fmt.Sprint(l.asked, l.fetched) != "[old young] [twice old]" {
		t.Errorf("%+v: asked for %v, fetched %v", swept, l.asked, l.fetched)
	}
	if n := d.intake.Fetched.Load(); n != 2 {
		t.Errorf("%d fetched", n)
	}
	if err := d.store.View(func(tx *store.Tx) error {
		state, err := tx.Hook("test", "forge.example.org")
		if !state.Looked.Equal(d.store.Now()) {
			t.Errorf("looked %v", state.Looked)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestSweepEvery looks as often as it is told, and leaves alone what is younger than that.
func TestSweepEvery(t *testing.T) {
	d, l := newLogged(t, false)
	d.intake.SweepEvery = 20 * time.Millisecond
	now := d.intake.Store.Now()
	l.send("young", 1, now.Add(-time.Millisecond), false)
	l.send("old enough", 2, now.Add(-time.Second), false)
	if d.intake.SweepNow(t.Context(), "test"); fmt.Sprint(l.asked) != "[old enough]" {
		t.Errorf("asked for %v", l.asked)
	}
	d.clock.advance(time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	var running sync.WaitGroup
	running.Go(func() { d.intake.Recover(ctx) })
	first, _ := d.intake.Swept("test")
	d.clock.advance(time.Second)
	for looks := 0; looks < 3 && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if last, _ := d.intake.Swept("test"); last.At.After(first.At) {
			first, looks = last, looks+1
			d.clock.advance(time.Second)
		}
	}
	if ctx.Err() != nil {
		t.Error("it does not look again")
	}
	cancel()
	running.Wait()
	if !slices.Contains(l.asked, "young") {
		t.Errorf("asked for %v", l.asked)
	}
}

// TestManyMissedDeliveries asks for fifty at a time, the oldest first, and goes on.
func TestManyMissedDeliveries(t *testing.T) {
	for _, fetch := range []bool{false, true} {
		d, l := newLogged(t, fetch)
		begun := d.intake.Store.Now().Add(-24 * time.Hour)
		for n := range 120 {
			l.send(fmt.Sprintf("d%03d", n), int64(n+1), begun.Add(time.Duration(n)*time.Minute), false)
		}
		for _, want := range []Sweep{{Missed: 120, Left: 70}, {Missed: 70, Left: 20}, {Missed: 20}} {
			swept := d.intake.SweepNow(t.Context(), "test")
			if swept.Err != nil || swept.Missed != want.Missed || swept.Left != want.Left {
				t.Fatalf("fetch %v: %+v, want %+v", fetch, swept, want)
			}
			for i := range l.asked { // which come now
				id := l.asked[i]
				if _, err := d.store.Accept(&store.Delivery{Forge: "test", Host: "forge.example.org", ID: id, Event: "push"}, []byte(`"`+id+`"`)); err != nil {
					t.Fatal(err)
				}
			}
		}
		order := l.asked
		if fetch {
			order = l.fetched
		}
		if len(order) != 120 || order[0] != "d000" || order[119] != "d119" {
			t.Errorf("fetch %v: %d: %v", fetch, len(order), order)
		}
	}
}

// TestFetchedDeliveries has no webhook: all is fetched once, whatever came by the webhook before, and decided on.
func TestFetchedDeliveries(t *testing.T) {
	d, l := newLogged(t, true)
	now := d.intake.Store.Now()
	l.send("p1", 1, now.Add(-48*time.Hour), false)
	l.send("p2", 2, now.Add(-time.Second), false)
	body, err := json.Marshal(l.bodies["p2"])
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := d.post("/webhook/test", "p2", "push", "good", body); status != http.StatusAccepted {
		t.Fatal(status)
	}
	for range 3 {
		if swept := d.intake.SweepNow(t.Context(), "test"); swept.Err != nil {
			t.Fatal(swept.Err)
		}
	}
	if fmt.Sprint(l.fetched) != "[p1]" || len(l.asked) > 0 {
		t.Errorf("fetched %v, asked for %v", l.fetched, l.asked)
	}
	// Only what may be new is read again.
	if last := l.since[len(l.since)-1]; last.Before(now.Add(-overlap-time.Minute)) || !l.since[0].Before(now.Add(-7*24*time.Hour)) {
		t.Errorf("read since %v", l.since)
	}
	d.loop(func() bool {
		pending := 0
		_ = d.store.View(func(tx *store.Tx) error { pending, _ = tx.Backlog(); return nil })
		return pending == 0
	})
}

type limited struct{ until time.Time }

func (limited) Error() string        { return "limited" }
func (l limited) RetryAt() time.Time { return l.until }

// TestPauses are those after looks that failed.
func TestPauses(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		err      error
		failures int
		want     time.Duration
	}{
		{errors.New("x"), 1, 10 * time.Second},
		{errors.New("x"), 3, 40 * time.Second},
		{errors.New("x"), 50, lastSweepPause},
		{fmt.Errorf("wrapped: %w", limited{now.Add(45 * time.Minute)}), 1, 45 * time.Minute},
		{limited{now.Add(45 * time.Hour)}, 1, 2 * time.Hour},
		{limited{now.Add(-time.Hour)}, 1, 10 * time.Second},
	} {
		if got := pauseAfter(tt.err, tt.failures, fetchEvery, now); got != tt.want {
			t.Errorf("%v, %d: %v, want %v", tt.err, tt.failures, got, tt.want)
		}
	}
}

// TestSweepsThatFail say why.
func TestSweepsThatFail(t *testing.T) {
	d, l := newLogged(t, true)
	if swept := d.intake.SweepNow(t.Context(), "none"); swept.Err == nil || swept.Err.Error() != "forge none is not configured" {
		t.Error(swept.Err)
	}
	d.intake.AddSource(Source{Name: "mute", Forge: d.forge})
	if swept := d.intake.SweepNow(t.Context(), "mute"); swept.Err == nil || swept.Err.Error() != "forge mute keeps no log of deliveries" {
		t.Error(swept.Err)
	}
	l.send("p", 1, d.store.Now(), false)
	l.fail = errors.New("forge is down")
	if swept := d.intake.SweepNow(t.Context(), "test"); !errors.Is(swept.Err, l.fail) || len(l.fetched) > 0 {
		t.Error(swept.Err)
	}
	if last, _ := d.intake.Swept("test"); last.Err == nil {
		t.Errorf("%+v", last)
	}
}

// TestAddSource adds a forge to an intake that runs: its deliveries are taken, and its log is read.
func TestAddSource(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.intake.Recover(ctx) }()
	if status, answer := d.post("/webhook/late", "1", "push", "good", []byte("{}")); status != http.StatusNotFound {
		t.Errorf("%d %s", status, answer)
	}
	l := &logged{forge: d.forge, bodies: map[string]Event{}}
	l.send("x", 1, d.store.Now().Add(-time.Minute), false)
	s := *d.intake.source("test")
	s.Name, s.Forge, s.Fetch = "late", l, true
	d.intake.AddSource(s)
	if status, answer := d.post("/webhook/late", "1", "push", "good", []byte("{}")); status != http.StatusAccepted {
		t.Errorf("%d %s", status, answer)
	}
	for limit := time.Now().Add(10 * time.Second); d.intake.Fetched.Load() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the log was not read")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHeard records whom deliveries are from, and pings.
func TestHeard(t *testing.T) {
	d := newDesk(t)
	e := push("refs/heads/main", hash('a'), "x")
	e.Repo.Installation = 7
	d.settle(d.send(e))
	d.settle(d.send(Event{Kind: Ping, Summary: "ping"}))
	if err := d.store.View(func(tx *store.Tx) error {
		i, ok, err := tx.Installation("test", "forge.example.org", 7)
		if owner, _, _ := strings.Cut(e.Repo.Name, "/"); !ok || i.LastDelivery.IsZero() || i.Account != owner {
			t.Errorf("%+v", i)
		}
		state, failed := tx.Hook("test", "forge.example.org")
		if state.Ping.IsZero() {
			t.Errorf("%+v", state)
		}
		return errors.Join(err, failed)
	}); err != nil {
		t.Error(err)
	}
}
