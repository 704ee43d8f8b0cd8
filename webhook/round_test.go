package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
)

func numbered(n int) store.Repo {
	r := repo
	r.ID, r.Name = fmt.Sprintf("r%03d", n), fmt.Sprintf("octo/r%03d", n)
	return r
}

// TestManyRepositories are looked at in turn, those first whose last look is longest ago. One that cannot be looked at keeps no other
// from it.
func TestManyRepositories(t *testing.T) {
	d, s := newShowing(t)
	s.list = []store.Repo{{Forge: "other", ID: "1"}, {Forge: "test"}}
	for n := range 2*maxLooked + 10 {
		s.list = append(s.list, numbered(n), numbered(n))
		s.fail[numbered(n).ID] = map[bool]error{true: errors.New("500")}[n == 3 || n == 5]
	}
	rounds := []string{}
	for range 3 {
		s.looked = nil
		swept := d.look()
		rounds = append(rounds, fmt.Sprintf("%d %s %s %v", len(s.looked), s.looked[0], s.looked[len(s.looked)-1], swept.Err))
	}
	if want := []string{"60 r000 r059 2 of 60 repositories could not be looked at: looking at octo/r003: 500", "60 r060 r119 <nil>",
		"60 r120 r049 2 of 60 repositories could not be looked at: looking at octo/r003: 500"}; !slices.Equal(rounds, want) {
		t.Errorf("%q\nwant %q", rounds, want)
	}
	if err := d.store.View(func(tx *store.Tx) error {
		failed, err := tx.Look(numbered(3))
		if failed.Problem != "looking at octo/r003: 500" || !failed.First.IsZero() || failed.Tried.IsZero() {
			t.Errorf("%+v", failed)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestLooksPerHour has a forge that counts: four repositories of one installation are looked at twice in an hour each, and one of
// another eight times.
func TestLooksPerHour(t *testing.T) {
	d, s := newShowing(t)
	s.looks, s.list = 8, nil
	for n := range 5 {
		r := numbered(n)
		r.Installation = int64(1 + n/4)
		s.list = append(s.list, r)
	}
	count := map[string]int{}
	for range 60 {
		s.looked = nil
		d.look()
		for _, id := range s.looked {
			count[id]++
		}
	}
	if got := fmt.Sprint(count); got != "map[r000:2 r001:2 r002:2 r003:2 r004:8]" {
		t.Error(got)
	}
}

// TestLimitedLook ends a round when the forge takes no more requests. What was found until then is built, and the next round begins
// where this one ended.
func TestLimitedLook(t *testing.T) {
	d, s := newShowing(t)
	s.list = nil
	for n := range 4 {
		s.list = append(s.list, numbered(n))
	}
	d.look()
	until := d.store.Now().Add(45 * time.Minute)
	for n := range 4 {
		s.standing[numbered(n).ID] = Standing{Refs: map[string]string{mainRef: hash('a')}}
	}
	d.forge.commits[hash('a')] = store.Commit{Hash: hash('a')}
	s.looked, s.fail[numbered(2).ID] = nil, fmt.Errorf("429: %w", limited{until})
	swept := d.look()
	if want := "looking at octo/r002: 429: limited; repositories that are left for the next look: 2"; swept.Err == nil || swept.Err.Error() != want || swept.some ||
		pauseAfter(swept.Err, 1, time.Minute, d.store.Now()) != until.Sub(d.store.Now()) || swept.Fetched != 2 || fmt.Sprint(s.looked) != "[r000 r001 r002]" {
		t.Errorf("%+v, looked at %v", swept, s.looked)
	}
	s.looked, s.fail = nil, map[string]error{}
	if swept := d.look(); swept.Err != nil || swept.Fetched != 2 || fmt.Sprint(s.looked) != "[r002 r003 r000 r001]" || len(d.builds()) != 4 {
		t.Errorf("%+v, looked at %v", swept, s.looked)
	}
}

// TestRepositoryIsGone remembers that the forge has a repository no longer, and that it has it again.
func TestRepositoryIsGone(t *testing.T) {
	d, s := newShowing(t)
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	d.deliver(push(mainRef, hash('a'), ""))
	d.look()
	gone := func() (gone bool) {
		if err := d.store.View(func(tx *store.Tx) error {
			state, err := tx.RepoState(repo.Key())
			gone = state.Gone
			return err
		}); err != nil {
			t.Error(err)
		}
		return gone
	}
	s.fail[repo.ID] = fmt.Errorf("GET /repositories/octo/shop: 404: %w", store.ErrNotFound)
	if swept := d.look(); swept.Err == nil || !gone() {
		t.Errorf("%+v, gone %v", swept, gone())
	}
	delete(s.fail, repo.ID)
	if swept := d.look(); swept.Err != nil || gone() {
		t.Errorf("%+v, gone %v", swept, gone())
	}
}

// TestMuchFound makes some hundred deliveries in one round and leaves the rest to the next.
func TestMuchFound(t *testing.T) {
	d, s := newShowing(t)
	d.look()
	refs := map[string]string{}
	for n := range maxFound + 7 {
		refs[fmt.Sprintf("refs/tags/v%d", n)] = hash('a')
	}
	s.at(Standing{Refs: refs})
	for _, want := range []Sweep{{Missed: maxFound + 7, Fetched: maxFound, Left: 7}, {Missed: 7, Fetched: 7}, {}} {
		d.clock.advance(time.Minute)
		if swept := d.intake.SweepNow(t.Context(), "test"); swept.Err != nil || swept.Missed != want.Missed || swept.Fetched != want.Fetched || swept.Left != want.Left {
			t.Errorf("%+v, want %+v", swept, want)
		}
	}
}

// TestLooksThatFail say why.
func TestLooksThatFail(t *testing.T) {
	d, s := newShowing(t)
	s.listFail = errors.New("401")
	if swept := d.look(); swept.Err == nil || swept.Err.Error() != "asking for the repositories: 401" || swept.some {
		t.Error(swept.Err)
	}
	s.listFail = nil
	pr := pulled(12, hash('a'), alice, repo.ID)
	s.at(Standing{Pulls: []store.PullRequest{pr}})
	d.look()
	s.at(Standing{})
	d.forge.down = errors.New("503")
	if swept := d.look(); swept.Err == nil || swept.Err.Error() != "1 of 1 repositories could not be looked at: looking at octo/shop: looking at pull request 12: 503" {
		t.Error(swept.Err)
	}
	d.forge.down = nil
	ctx, cancel := context.WithCancel(t.Context())
	d.intake.SweepEvery = time.Hour
	delete(d.forge.pulls, 12)
	done := make(chan Sweep)
	go func() { done <- d.intake.SweepNow(ctx, "test") }()
	cancel()
	if swept := <-done; !errors.Is(swept.Err, context.Canceled) || swept.Fetched != 0 {
		t.Errorf("%+v", swept)
	}
	full, err := store.Open(t.TempDir(), store.Options{Now: d.clock.Now, Reserve: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	d.intake.Store, d.intake.SweepEvery = full, time.Millisecond
	d.intake.SweepNow(t.Context(), "test")
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	if swept := d.intake.SweepNow(t.Context(), "test"); swept.Err == nil || swept.Err.Error() != "the disk of this server is nearly full" || swept.Left != 1 || swept.Fetched != 0 {
		t.Errorf("%+v", swept)
	}
}

// TestFoundIsOurs takes no delivery whose event is one of ours, from whomever.
func TestFoundIsOurs(t *testing.T) {
	d, l := newLogged(t, true)
	for _, event := range []string{foundPush, foundPullRequest, foundComment, "found:"} {
		status, body := d.post("/webhook/test", "1", event, "good", []byte("{}"))
		if want := `{"error":"events that begin with found: are the server's own"}`; status != http.StatusBadRequest || strings.TrimSpace(body) != want {
			t.Errorf("%s: %d %s", event, status, body)
		}
	}
	l.send("x", 1, d.store.Now().Add(-time.Minute), false)
	l.sent[0].Event = foundPush
	source := *d.intake.source("test")
	source.Identify = func(http.Header) (string, string) { return "x", foundPush }
	d.intake.AddSource(source)
	var log bytes.Buffer
	d.intake.Log = slog.New(slog.NewTextHandler(&log, nil))
	d.intake.SweepNow(t.Context(), "test")
	if d.newest() != 0 || !strings.Contains(log.String(), "a delivery in the forge's log cannot be read") {
		t.Errorf("%d deliveries\n%s", d.newest(), log.String())
	}
	for body, want := range map[string]string{
		"[": "what was found is not what the server writes: unexpected end of JSON input",
		`{"Repo": {"Forge": "other"}, "Ref": "refs/heads/main"}`:                "what was found is not what its delivery says",
		`{"Repo": {"Forge": "test"}, "Comment": {"ID": 5}}`:                     "what was found is not what its delivery says",
		`{"Repo": {"Forge": "test"}, "PullRequest": {}, "Event": "X", "Ref":1}`: "what was found is not what the server writes: json: cannot unmarshal number into Go struct field finding.Ref of type string",
	} {
		if _, err := decodeFinding(store.Delivery{Forge: "test", Event: foundPush}, []byte(body)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// TestPeriods is how often forges are looked at.
func TestPeriods(t *testing.T) {
	d, s := newShowing(t)
	l := &logged{forge: d.forge}
	for _, tt := range []struct {
		forge Forge
		fetch bool
		every time.Duration
		want  time.Duration
	}{
		{s, false, 0, sweepEvery}, {s, true, 0, lookEvery}, {s, true, time.Second, time.Second}, {s, false, time.Second, time.Second},
		{l, true, 0, fetchEvery}, {l, false, 0, sweepEvery}, {l, true, time.Second, fetchEvery},
	} {
		d.intake.SweepEvery = tt.every
		if got := d.intake.periodOf(&Source{Forge: tt.forge, Fetch: tt.fetch}); got != tt.want {
			t.Errorf("%T, fetch %v, every %v: %v, want %v", tt.forge, tt.fetch, tt.every, got, tt.want)
		}
	}
}

// TestRecoverLooks looks again and again, though one repository cannot be looked at.
func TestRecoverLooks(t *testing.T) {
	d, s := newShowing(t)
	s.list = append(s.list, numbered(1))
	s.fail[numbered(1).ID] = errors.New("403")
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.intake.Recover(ctx) })
	running.Go(func() { d.intake.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for n, c := range []byte("abcdefabcdef") { // more looks than pauses that grow would allow
		if n > 0 {
			s.at(Standing{Refs: map[string]string{mainRef: fmt.Sprintf("%c%039d", c, n)}})
		}
		for limit := time.Now().Add(10 * time.Second); d.refs()[mainRef] != s.standing[repo.ID].Refs[mainRef]; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("change %d was not found", n)
			}
			d.clock.advance(time.Second)
		}
	}
	if n := len(d.builds()); n != 11 {
		t.Errorf("%d builds", n)
	}
}
