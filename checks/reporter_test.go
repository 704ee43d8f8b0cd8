package checks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
)

// A board is a forge as the reporter sees it.
type board struct {
	mu      sync.Mutex
	checks  map[string]*Report // by remote id
	history []string           // "create name status", "update ...", "find ..."; behind the kind of what is no check
	repos   []string           // name and installation of each request's
	lacks   Kind               // it has no place for these
	fail    func(op string, r *Report) error
	lose    bool // the answer of the next create
	pace    time.Duration
	burst   int // 2
	byName  bool
	reports bool // it has a place for reports
}

func (b *board) did(op string, r *Report) error {
	b.history = append(b.history, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.Kind, op, r.Name, r.Status, r.Conclusion)))
	if b.fail != nil {
		return b.fail(op, r)
	}
	return nil
}

func (b *board) Create(_ context.Context, repo store.Repo, r *Report) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.repos = append(b.repos, fmt.Sprint(repo.Name, " ", repo.Installation))
	if err := b.did("create", r); err != nil {
		return "", err
	}
	id := fmt.Sprint(len(b.history))
	c := *r
	b.checks[id] = &c
	if b.lose {
		b.lose = false
		return "", errors.New("connection reset")
	}
	return id, nil
}

func (b *board) Update(_ context.Context, repo store.Repo, remote string, r, _ *Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.repos = append(b.repos, fmt.Sprint(repo.Name, " ", repo.Installation))
	if err := b.did("update", r); err != nil {
		return err
	}
	c := *r
	b.checks[remote] = &c
	return nil
}

func (b *board) Find(_ context.Context, _ store.Repo, r *Report) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.did("find", r); err != nil {
		return "", err
	}
	for id, c := range b.checks {
		if c.ExternalID == r.ExternalID && c.Key() == r.Key() {
			return id, nil
		}
	}
	return "", nil
}

func (b *board) Has(kind Kind) bool {
	if kind == KindReport {
		return b.reports
	}
	return kind == KindCheck || kind != b.lacks
}
func (b *board) Account(r store.Repo) string { return r.ID }
func (b *board) Habits() Habits {
	if b.pace == 0 {
		return Habits{ByName: b.byName}
	}
	return Habits{Interval: b.pace, Burst: cmp.Or(b.burst, 2), Hourly: softCap, Phases: phasesCap, Annotations: 50, ByName: b.byName}
}

// What the board takes in an hour.
const (
	softCap   = 400
	phasesCap = 300
)

func (b *board) shown() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	shown := map[string]string{}
	for _, c := range b.checks {
		shown[c.ExternalID] = strings.TrimSpace(c.Status + " " + c.Conclusion)
	}
	return shown
}

func (b *board) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.history)
}

// An office is a reporter under test.
type office struct {
	t     *testing.T
	store *store.Store
	board *board
	forge string // whose publisher the reporter has

	options  Options
	reporter *Reporter
	mu       sync.Mutex
	now      time.Time
	stop     func()
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, now: begin, forge: "test", options: options, board: &board{checks: map[string]*Report{}}, stop: func() {}}
	s, err := store.Open(t.TempDir(), store.Options{Now: func() time.Time { o.mu.Lock(); defer o.mu.Unlock(); return o.now }})
	if err != nil {
		t.Fatal(err)
	}
	o.store = s
	t.Cleanup(func() { o.stop(); s.Close() })
	return o
}

func (o *office) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r := New(Config{Store: o.store, Publishers: map[string]Publisher{o.forge: o.board}, Options: o.options, Log: slog.New(slog.DiscardHandler)})
	o.reporter = r
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	o.stop = func() { cancel(); running.Wait(); o.stop = func() {} }
}

// advance moves the time, and has the reporter look.
func (o *office) advance(d time.Duration) {
	o.mu.Lock()
	o.now = o.now.Add(d)
	o.mu.Unlock()
	if err := o.store.Update(func(*store.Tx) error { return nil }); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) submit(commit string) store.Build {
	o.t.Helper()
	return o.submitBuild(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: commit}})
}

func (o *office) submitBuild(wanted store.Build) (b store.Build) {
	o.t.Helper()
	if err := o.store.Update(func(tx *store.Tx) error {
		p, err := tx.Project(store.Repo{Forge: "test", ID: "1", Name: "o/r"}, "")
		if err == nil {
			b, err = tx.Submit(p, wanted)
		}
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	return b
}

func (o *office) change(id string, fn func(*store.Build)) {
	o.t.Helper()
	if _, err := o.store.ChangeBuild(id, func(b *store.Build) error { fn(b); return nil }); err != nil {
		o.t.Fatal(err)
	}
}

// shows waits until the forge shows what it should.
func (o *office) shows(want map[string]string) {
	o.t.Helper()
	for range 400 {
		if maps.Equal(o.board.shown(), want) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	o.t.Fatalf("the forge shows %v, want %v\n%v", o.board.shown(), want, o.board.said())
}

// spoke waits until so much has been said.
func (o *office) spoke(n int) {
	for range 400 {
		if len(o.board.said()) >= n {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// silent waits until there is nothing left to say.
func (o *office) silent() {
	o.t.Helper()
	for range 400 {
		var left []store.Subject
		if err := o.store.View(func(tx *store.Tx) (err error) { left, err = tx.Unsaid(); return err }); err != nil {
			o.t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	o.t.Fatal("there is still something to say")
}

func TestReportsOfABuild(t *testing.T) {
	o := newOffice(t)
	o.start()
	b := o.submit("c")
	o.shows(map[string]string{b.ID: "queued"})
	o.change(b.ID, func(b *store.Build) { b.Claimed = begin })
	o.shows(map[string]string{b.ID: "in_progress"}) // another status is told at once
	o.change(b.ID, func(b *store.Build) {
		b.Skeleton = []string{store.PhaseBuild, store.PhasePostBuild}
		b.Enter(store.PhaseBuild, begin)
	})
	o.shows(map[string]string{b.ID: "in_progress", b.ID + "/BUILD": "in_progress", b.ID + "/POST_BUILD": "queued"})
	o.change(b.ID, func(b *store.Build) {
		b.Leave(store.PhaseBuild, begin, store.Failed, "", "wrong")
		b.End(store.Failed, begin)
	})
	o.shows(map[string]string{b.ID: "completed failure", b.ID + "/BUILD": "completed failure", b.ID + "/POST_BUILD": "completed cancelled"})
	o.silent()
	said := len(o.board.said())
	o.advance(time.Hour)
	time.Sleep(20 * time.Millisecond)
	if n := len(o.board.said()); n != said {
		t.Errorf("%d requests after all was said", n-said)
	}
	told, err := ToldReports(o.store, b.ID)
	if err != nil || len(told) != 3 || told[0].Name != "buildsmith" || told[1].Name != "buildsmith / build" || told[2].Name != "buildsmith / post_build" {
		t.Errorf("%v %v", names(told), err)
	}
}

// TestUpdatesAreCollected changes a running build often: its check is updated once in ten seconds, and at its end at once.
func TestUpdatesAreCollected(t *testing.T) {
	o := newOffice(t)
	b := o.submit("c")
	o.change(b.ID, func(b *store.Build) { b.Claimed = begin })
	o.start()
	o.shows(map[string]string{b.ID: "in_progress"})
	for _, phase := range []string{store.PhaseProvisioning, store.PhaseDownloadSource, store.PhaseInstall} {
		o.change(b.ID, func(b *store.Build) { b.Leave(phase, begin, store.Succeeded, "", "") })
		time.Sleep(10 * time.Millisecond)
	}
	if said := o.board.said(); len(said) != 1 {
		t.Errorf("said %v within ten seconds", said)
	}
	o.advance(updateEvery)
	o.spoke(2)
	if said := o.board.said(); len(said) != 2 || !strings.HasPrefix(said[1], "update") {
		t.Errorf("said %v after ten seconds", said)
	}
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.shows(map[string]string{b.ID: "completed success"})
}

// TestLostAnswer has the forge make a check whose answer does not arrive: it is found, not made again.
func TestLostAnswer(t *testing.T) {
	o := newOffice(t)
	o.board.lose = true
	o.start()
	b := o.submit("c")
	o.shows(map[string]string{b.ID: "queued"})
	o.spoke(1)
	time.Sleep(20 * time.Millisecond)
	o.advance(firstPause)
	o.silent()
	want := []string{"create buildsmith queued", "find buildsmith queued", "update buildsmith queued"}
	if said := o.board.said(); !slices.Equal(said, want) || len(o.board.checks) != 1 {
		t.Errorf("said %v, want %v", said, want)
	}
}

func TestForgeIsDown(t *testing.T) {
	o := newOffice(t)
	down := true
	o.board.fail = func(string, *Report) error {
		if down {
			return errors.New("502")
		}
		return nil
	}
	o.start()
	b := o.submit("c")
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	for i := range 3 {
		o.spoke(i + 1)
		o.advance(firstPause << i)
	}
	o.board.mu.Lock()
	down = false
	o.board.mu.Unlock()
	o.advance(time.Minute)
	o.shows(map[string]string{b.ID: "completed success"})
	o.silent()
}

func TestRefusedIsGivenUp(t *testing.T) {
	o := newOffice(t)
	o.board.fail = func(string, *Report) error { return fmt.Errorf("%w: 404", ErrRefused) }
	o.start()
	b := o.submit("c")
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.silent()
	if err := o.store.Update(func(tx *store.Tx) error { return tx.Unsay(b.ID) }); err != nil {
		t.Fatal(err)
	}
	o.silent()
	if said, want := o.board.said(), []string{"create buildsmith queued", "create buildsmith completed success"}; !slices.Equal(said, want) {
		t.Errorf("said %v, want %v", said, want)
	}
	if err := o.store.View(func(tx *store.Tx) error {
		told, err := tx.Told(b.ID, "buildsmith")
		if !told.GivenUp || told.Problem != "refused: 404" {
			t.Errorf("%+v", told)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedUpdate has the forge refuse one report of a check that runs, as it does for a while after a repository was
// moved: that one is not told again, and the next ones are.
func TestRefusedUpdate(t *testing.T) {
	o := newOffice(t)
	o.start()
	b := o.submit("c")
	o.shows(map[string]string{b.ID: "queued"})
	o.board.mu.Lock()
	o.board.fail = func(_ string, r *Report) error {
		if r.Status == InProgress {
			return fmt.Errorf("%w: 404", ErrRefused)
		}
		return nil
	}
	o.board.mu.Unlock()
	o.change(b.ID, func(b *store.Build) { b.Claimed = begin })
	o.silent()
	o.advance(time.Hour)
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.End(store.Failed, begin) })
	o.shows(map[string]string{b.ID: "completed failure"})
	o.silent()
	want := []string{"create buildsmith queued", "update buildsmith in_progress", "update buildsmith completed failure"}
	if said := o.board.said(); !slices.Equal(said, want) {
		t.Errorf("said %v, want %v", said, want)
	}
}

// TestRateLimit has the forge say when to come back: nothing goes to that account before.
func TestRateLimit(t *testing.T) {
	o := newOffice(t)
	limited := true
	o.board.fail = func(string, *Report) error {
		if limited {
			return &WaitError{Until: begin.Add(time.Hour), Err: errors.New("403 rate limit")}
		}
		return nil
	}
	o.start()
	first := o.submit("c")
	o.spoke(1)
	second := o.submit("d")
	o.advance(59 * time.Minute)
	time.Sleep(30 * time.Millisecond)
	if said := o.board.said(); len(said) != 1 {
		t.Errorf("said %v before the time", said)
	}
	o.board.mu.Lock()
	limited = false
	o.board.mu.Unlock()
	o.advance(time.Minute)
	o.shows(map[string]string{first.ID: "queued", second.ID: "queued"})
}

// TestRelyConclusionsGoFirst has little room for requests: what is final goes before what has only changed.
func TestRelyConclusionsGoFirst(t *testing.T) {
	o := newOffice(t)
	o.board.pace = time.Hour // two at once, then none
	var ids []string
	for i := range 4 {
		ids = append(ids, o.submit(fmt.Sprint(i)).ID)
	}
	for _, id := range ids[2:] {
		o.change(id, func(b *store.Build) { b.End(store.Succeeded, begin) })
	}
	o.start()
	o.shows(map[string]string{ids[2]: "completed success", ids[3]: "completed success"})
	o.advance(2 * time.Hour)
	o.shows(map[string]string{ids[0]: "queued", ids[1]: "queued", ids[2]: "completed success", ids[3]: "completed success"})
}

func TestNoticesAreTold(t *testing.T) {
	o := newOffice(t)
	o.start()
	var n store.Notice
	if err := o.store.Update(func(tx *store.Tx) error {
		p, err := tx.Project(store.Repo{Forge: "test", ID: "1", Name: "o/r"}, "")
		if err == nil {
			n, err = tx.AddNotice(p, store.Notice{Check: "buildsmith", Conclusion: store.SkippedNotice, Trigger: store.Trigger{Commit: "c"}})
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	o.shows(map[string]string{n.ID: "completed skipped"})
	o.silent()
}

// TestForgeAway has a build end while its forge is out of the configuration: it is told when the forge is back.
func TestForgeAway(t *testing.T) {
	o := newOffice(t)
	o.start()
	b := o.submit("c")
	o.shows(map[string]string{b.ID: "queued"})
	o.stop()
	o.forge = "another"
	o.start()
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	time.Sleep(50 * time.Millisecond)
	if said := o.board.said(); len(said) != 1 {
		t.Errorf("said %v to another forge", said)
	}
	o.stop()
	o.forge = "test"
	o.start()
	o.shows(map[string]string{b.ID: "completed success"})
	o.silent()
}

func TestPaceOfAnAccount(t *testing.T) {
	a := &account{}
	now := begin
	for i, want := range []time.Duration{0, 0, time.Second, time.Second} {
		if got := a.take(now, time.Second, 2, false); got != want {
			t.Errorf("request %d waits %v, want %v", i, got, want)
		}
	}
	if got := a.take(now.Add(500*time.Millisecond), time.Second, 2, false); got != 500*time.Millisecond {
		t.Errorf("after half a second: %v", got)
	}
	now = now.Add(10 * time.Second)
	if got := a.take(now, time.Second, 2, false); got != 0 {
		t.Errorf("after a rest: %v", got)
	}
	for i, want := range []time.Duration{0, 0, 0, time.Second} { // one that is left, and two that are borrowed
		if got := a.take(now, time.Second, 2, true); got != want {
			t.Errorf("borrowing %d waits %v, want %v", i, got, want)
		}
	}
	if got := a.take(now, time.Second, 2, false); got != 3*time.Second {
		t.Errorf("after borrowing: %v", got)
	}
}

// TestEndIsTold ends a build when the budget of requests is spent: its own check, which people wait for, is told of at once,
// and those of its phases as the budget allows.
func TestEndIsTold(t *testing.T) {
	o := newOffice(t)
	o.board.pace = time.Minute
	o.start()
	b := o.submit("c")
	o.change(b.ID, func(b *store.Build) {
		b.Claimed, b.Skeleton = begin, []string{store.PhaseInstall, store.PhaseBuild}
		b.Leave(store.PhaseInstall, begin, store.Succeeded, "", "")
		b.Leave(store.PhaseBuild, begin, store.Succeeded, "", "")
	})
	o.spoke(2)
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin.Add(time.Second)) })
	for range 400 {
		if o.board.shown()[b.ID] == "completed success" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if said := o.board.said(); len(said) != 3 || !strings.HasSuffix(said[2], " buildsmith completed success") {
		t.Errorf("said %v", said)
	}
	for range 10 {
		o.advance(time.Minute)
		time.Sleep(10 * time.Millisecond)
	}
	o.shows(map[string]string{b.ID: "completed success", b.ID + "/INSTALL": "completed success", b.ID + "/BUILD": "completed success"})
}

// TestClockSetBack has somebody set the clock back by a day: nothing waits for a day.
func TestClockSetBack(t *testing.T) {
	a := &account{}
	for range 2 {
		a.take(begin, time.Second, 2, false)
	}
	if got := a.take(begin.Add(-24*time.Hour), time.Second, 2, false); got != time.Second {
		t.Errorf("a spent account waits %v", got)
	}
	a.until = begin.Add(time.Hour)
	if got := a.take(begin.Add(-23*time.Hour), time.Second, 2, false); got != 0 {
		t.Errorf("an account that had to wait waits %v", got)
	}

	o := newOffice(t)
	down := true
	o.board.fail = func(string, *Report) error {
		if down {
			return errors.New("502")
		}
		return nil
	}
	o.start()
	b := o.submit("c")
	o.spoke(1)
	time.Sleep(20 * time.Millisecond)
	o.board.mu.Lock()
	down = false
	o.board.mu.Unlock()
	o.advance(-24 * time.Hour)
	o.shows(map[string]string{b.ID: "queued"})
	o.change(b.ID, func(b *store.Build) { b.Claimed = begin })
	o.shows(map[string]string{b.ID: "in_progress"})
	o.advance(-24 * time.Hour) // what is told of seldom was told in the future
	o.change(b.ID, func(b *store.Build) { b.Enter(store.PhaseInstall, begin) })
	o.silent()
	if said := o.board.said(); said[len(said)-1] != "update buildsmith in_progress" {
		t.Errorf("said %v", said)
	}
}
