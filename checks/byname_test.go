package checks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
)

// A wall is a forge that knows what it is told by commit, kind and name alone: one more of the same takes its place.
type wall struct {
	mu     sync.Mutex
	shown  map[string]Report // by commit and key
	random *rand.Rand
	bad    bool // it fails now and then, before it did what it was told or after
}

func (w *wall) put(r *Report) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bad && w.random.IntN(5) == 0 {
		return errors.New("503")
	}
	w.shown[r.Commit+"|"+r.Key()] = *r
	if w.bad && w.random.IntN(5) == 0 {
		return errors.New("connection reset")
	}
	return nil
}

func (w *wall) Create(_ context.Context, _ store.Repo, r *Report) (string, error) {
	if err := w.put(r); err != nil {
		return "", err
	}
	return r.Key(), nil
}
func (w *wall) Update(_ context.Context, _ store.Repo, remote string, r, _ *Report) error {
	if remote != r.Key() {
		return fmt.Errorf("%w: %q is told as %q", ErrRefused, remote, r.Key())
	}
	return w.put(r)
}
func (w *wall) Find(context.Context, store.Repo, *Report) (string, error) { return "", nil }
func (w *wall) Has(kind Kind) bool                                        { return kind != KindDeployment && kind != KindComment }
func (w *wall) Account(store.Repo) string                                 { return "1" }
func (w *wall) Habits() Habits                                            { return Habits{ByName: true} }

func (w *wall) all() map[string]Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]Report{}
	for key, r := range w.shown {
		all[key] = r
	}
	return all
}

// byName is an office at a wall.
func byName(o *office, w *wall) {
	ctx, cancel := context.WithCancel(context.Background())
	r := New(Config{Store: o.store, Publishers: map[string]Publisher{"test": w}, Options: o.options, Log: slog.New(slog.DiscardHandler)})
	o.reporter = r
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	o.stop = func() { cancel(); running.Wait(); o.stop = func() {} }
}

// quiet waits until nothing is left to say, letting time pass.
func (o *office) quiet() {
	o.t.Helper()
	for range 600 {
		o.advance(lastPause / 4)
		time.Sleep(2 * time.Millisecond)
		var left []store.Subject
		if err := o.store.View(func(tx *store.Tx) (err error) { left, err = tx.Unsaid(); return err }); err != nil {
			o.t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
	}
	o.t.Fatal("there is still something to say")
}

// TestByNameShowsTheNewest has builds and notices of one commit come, go on and end in any order, with a forge that fails, restarts and
// settings that change: in the end what people see of each check is that of the newest, and nothing runs for ever.
func TestByNameShowsTheNewest(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { byNameRound(t, uint64(seed)) })
	}
}

func byNameRound(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 7))
	o := newOffice(t)
	w := &wall{shown: map[string]Report{}, random: rand.New(rand.NewPCG(seed, 8)), bad: true}
	long := strings.Repeat("shop ", 30)
	names := []string{"buildsmith", "buildsmith (docs)", long + "one", long + "two"}
	contexts := []string{"", "", "ci/$CODEBUILD_WEBHOOK_TRIGGER"}
	settings := func() {
		o.options.Phases = random.IntN(4) > 0
		o.options.Statuses = []string{StatusesOff, StatusesBeside, StatusesInstead}[random.IntN(3)]
	}
	settings()
	o.options.StatusContext = contexts[random.IntN(len(contexts))]
	changes := random.IntN(3) == 0
	byName(o, w)
	var open []string
	newest, ended := map[string]string{}, map[string]string{} // by check: of all, and of builds
	triggers := []store.Trigger{{HeadRef: "refs/heads/main"}, {PullRequest: 3, HeadRef: "refs/heads/topic"}}
	phases := []string{store.PhaseInstall, store.PhaseBuild, store.PhasePostBuild}
	end := func(at int) {
		o.change(open[at], func(b *store.Build) {
			for n := range b.Phases {
				if p := &b.Phases[n]; p.End.IsZero() {
					b.Leave(p.Type, o.store.Now(), []store.Status{store.Succeeded, store.Failed}[random.IntN(2)], "", "")
				}
			}
			b.End([]store.Status{store.Succeeded, store.Failed, store.Stopped, store.Fault, store.TimedOut}[random.IntN(5)], o.store.Now())
		})
		open = append(open[:at], open[at+1:]...)
	}
	for range 40 {
		o.advance(time.Duration(1+random.IntN(20)) * time.Second)
		time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
		check, trigger := names[random.IntN(len(names))], triggers[random.IntN(2)]
		trigger.Commit = "c"
		switch op := random.IntN(10); {
		case op < 2:
			b := o.submitBuild(store.Build{Check: check, Trigger: trigger})
			newest[check], ended[check] = b.ID, b.ID
			open = append(open, b.ID)
		case op == 2:
			if err := o.store.Update(func(tx *store.Tx) error {
				p, err := tx.Project(store.Repo{Forge: "test", ID: "1", Name: "o/r"}, "")
				if err != nil {
					return err
				}
				n, err := tx.AddNotice(p, store.Notice{Check: check, Conclusion: []string{store.SkippedNotice, store.ActionRequired}[random.IntN(2)], Trigger: trigger})
				newest[check] = n.ID
				return err
			}); err != nil {
				t.Fatal(err)
			}
		case op == 3 && random.IntN(2) == 0:
			o.stop()
			if changes {
				settings()
			}
			byName(o, w)
		case op < 8 && len(open) > 0:
			o.change(open[random.IntN(len(open))], func(b *store.Build) {
				switch {
				case b.Claimed.IsZero():
					b.Claimed = o.store.Now()
				case b.Skeleton == nil:
					b.Skeleton = append([]string{}, phases[random.IntN(3):]...)
				default:
					b.Enter(b.Skeleton[random.IntN(len(b.Skeleton))], o.store.Now())
				}
			})
		case len(open) > 0:
			end(random.IntN(len(open)))
		}
	}
	for len(open) > 0 {
		end(random.IntN(len(open)))
	}
	w.mu.Lock()
	w.bad = false
	w.mu.Unlock()
	o.quiet()
	shown := w.all()
	for key, r := range shown {
		if r.Status != Completed {
			t.Errorf("%q stays %s: %+v", key, r.Status, r)
		}
	}
	for _, check := range names {
		name := checkName(check)
		if newest[check] == "" {
			continue
		}
		own, there := shown["c|"+name]
		status, beside := shown["c|status\x00"+name]
		stale := there && own.ExternalID != newest[check] && own.Conclusion != Success && own.Conclusion != Cancelled && own.Conclusion != Skipped
		if !changes && o.options.Statuses != StatusesInstead && own.ExternalID != newest[check] || stale && (o.options.Statuses != StatusesInstead || newest[check] == ended[check]) {
			t.Errorf("%q shows %s %s, and the newest is %s", name, own.ExternalID, own.Conclusion, newest[check])
		}
		if !changes && o.options.Statuses != StatusesOff && o.options.StatusContext == "" && (!beside || status.ExternalID != newest[check]) {
			t.Errorf("status %q shows %s, and the newest is %s", name, status.ExternalID, newest[check])
		}
		if ended[check] == "" {
			continue
		}
		if report := shown["c|report\x00"+name]; report.ExternalID != ended[check] {
			t.Errorf("the report of %q is that of %s, and the newest build is %s", name, report.ExternalID, ended[check])
		}
		for _, phase := range phases {
			r, there := shown["c|"+checkName(check+" / "+phaseWord(phase))]
			if there && !strings.HasPrefix(r.ExternalID, ended[check]) && r.Conclusion != Success && r.Conclusion != Cancelled {
				t.Errorf("%q shows %s %s, and the newest build is %s", r.Name, r.ExternalID, r.Conclusion, ended[check])
			}
		}
	}
}

// TestPhaseThatTheLastBuildLacks has a phase fail, and the build be repeated without it: what failed does not stay.
func TestPhaseThatTheLastBuildLacks(t *testing.T) {
	o := newOffice(t)
	w := &wall{shown: map[string]Report{}}
	o.options.Phases = true
	byName(o, w)
	first := o.submit("c")
	o.change(first.ID, func(b *store.Build) {
		b.Claimed, b.Skeleton = begin, []string{store.PhaseInstall, store.PhaseBuild}
		b.Enter(store.PhaseInstall, begin)
		b.Leave(store.PhaseInstall, begin, store.Failed, "", "wrong")
		b.End(store.Failed, begin)
	})
	o.quiet()
	if got := w.all()["c|buildsmith / install"]; got.Conclusion != Failure {
		t.Fatalf("%+v", got)
	}
	second := o.submit("c")
	o.change(second.ID, func(b *store.Build) { b.Claimed, b.Skeleton = begin, []string{store.PhaseBuild} })
	o.quiet()
	o.change(second.ID, func(b *store.Build) {
		b.Enter(store.PhaseBuild, begin)
		b.Leave(store.PhaseBuild, begin, store.Succeeded, "", "")
		b.End(store.Succeeded, begin)
	})
	o.quiet()
	shown := w.all()
	if got := shown["c|buildsmith / install"]; got.Conclusion != Cancelled || got.Title != "Not part of build #2, which came later" || !strings.Contains(got.URL, second.ID) {
		t.Errorf("%+v", got)
	}
	if got := shown["c|buildsmith / build"]; got.Conclusion != Success || !strings.HasPrefix(got.ExternalID, second.ID) {
		t.Errorf("%+v", got)
	}
}

// TestStatusOfItsOwnContext has a push and a pull request build one commit, with statuses that are called after what made them: both come
// to their end.
func TestStatusOfItsOwnContext(t *testing.T) {
	o := newOffice(t)
	o.options.Statuses, o.options.StatusContext = StatusesInstead, "ci/$CODEBUILD_WEBHOOK_TRIGGER"
	o.start()
	push := o.submitBuild(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: "c", HeadRef: "refs/heads/main"}})
	o.silent()
	pull := o.submitBuild(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: "c", PullRequest: 3}})
	for _, b := range []store.Build{push, pull} {
		o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	}
	o.silent()
	for id, context := range map[string]string{push.ID: "ci/branch/main", pull.ID: "ci/pr/3"} {
		if told := o.told(id)["status\x00"+context]; told.Status != Completed {
			t.Errorf("%s: %+v", context, told)
		}
	}
}

// TestStatusesTurnedOff turns statuses off while a build has one: it is brought to its end.
func TestStatusesTurnedOff(t *testing.T) {
	o := newOffice(t)
	o.options.Statuses = StatusesBeside
	o.start()
	b := o.submit("c")
	o.silent()
	o.stop()
	o.options.Statuses = StatusesOff
	o.start()
	o.change(b.ID, func(b *store.Build) { b.End(store.Failed, begin) })
	o.silent()
	if told := o.told(b.ID)["status\x00buildsmith"]; told.Status != Completed {
		t.Errorf("%+v", told)
	}
}

// Unfinished implements Lister.
func (w *wall) Unfinished(_ context.Context, _ store.Repo, commit string) (list []Unfinished, err error) {
	for key, r := range w.all() {
		if strings.HasPrefix(key, commit+"|") && r.Status != Completed {
			list = append(list, Unfinished{Remote: r.Key(), Name: r.Name, ExternalID: r.ExternalID, Started: r.Started})
		}
	}
	return list, nil
}

// TestOrphanWhosePlaceIsTaken has a build take the place of a check that nobody finishes, before that is told lost.
func TestOrphanWhosePlaceIsTaken(t *testing.T) {
	o := newOffice(t)
	w := &wall{shown: map[string]Report{}}
	w.shown["c|buildsmith"] = Report{Name: "buildsmith", Commit: "c", ExternalID: "newer", Status: InProgress}
	r := New(Config{Store: o.store, Publishers: map[string]Publisher{"test": w}, Options: o.options, Log: slog.New(slog.DiscardHandler)})
	r.adopt(store.Repo{Forge: "test", ID: "1"}, "c", Unfinished{Remote: "buildsmith", Name: "buildsmith", ExternalID: "lost"})
	r.bury(t.Context(), w, r.orphans[0])
	if got := w.shown["c|buildsmith"]; got.ExternalID != "newer" || len(r.orphans) != 0 {
		t.Errorf("%+v, %d left", got, len(r.orphans))
	}
	r.adopt(store.Repo{Forge: "test", ID: "1"}, "c", Unfinished{Remote: "buildsmith", Name: "buildsmith", ExternalID: "newer"})
	r.bury(t.Context(), w, r.orphans[0])
	if got := w.shown["c|buildsmith"]; got.Conclusion != Cancelled || got.Title != "Lost" || len(r.orphans) != 0 {
		t.Errorf("%+v, %d left", got, len(r.orphans))
	}
}
