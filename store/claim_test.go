package store

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// inProject puts a build of a named project into the queue.
func inProject(t testing.TB, s *Store, name string, change func(*Build)) (b Build) {
	t.Helper()
	if err := s.Update(func(tx *Tx) error {
		p, err := tx.Project(repo, name)
		if err != nil {
			return err
		}
		next := Build{Check: "buildsmith", Trigger: Trigger{Commit: "c0"}, Settings: Settings{QueueTimeout: time.Hour}}
		if change != nil {
			change(&next)
		}
		b, err = tx.Submit(p, next)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b
}

func limited(n int) func(*Build)     { return func(b *Build) { b.Settings.Concurrency = n } }
func prioritised(n int) func(*Build) { return func(b *Build) { b.Priority = n } }

// names are the projects and numbers of builds that were claimed, in their order.
func names(claims []Claim) (list []string) {
	for _, c := range claims {
		list = append(list, fmt.Sprintf("%s#%d", c.Build.Project, c.Build.Number))
	}
	return list
}

func endBuild(t *testing.T, s *Store, id string) {
	t.Helper()
	must[Build](t)(s.ChangeBuild(id, func(b *Build) error {
		b.End(Succeeded, s.Now())
		return nil
	}))
}

func TestClaimPriority(t *testing.T) {
	s, _ := newStore(t)
	for _, priority := range []int{0, 5, -3, 5, 0} {
		inProject(t, s, "shop", prioritised(priority))
	}
	if got, want := names(claim(t, s, 3)), []string{"shop#2", "shop#4", "shop#1"}; !slices.Equal(got, want) {
		t.Errorf("claimed %q, want %q", got, want)
	}
	if got, want := names(claim(t, s, 9)), []string{"shop#5", "shop#3"}; !slices.Equal(got, want) {
		t.Errorf("then claimed %q, want %q", got, want)
	}
}

// TestClaimPriorityChanges moves a build that waits already.
func TestClaimPriorityChanges(t *testing.T) {
	s, _ := newStore(t)
	inProject(t, s, "shop", nil)
	last := inProject(t, s, "shop", nil)
	must[Build](t)(s.ChangeBuild(last.ID, func(b *Build) error { b.Priority = 1; return nil }))
	if got := names(claim(t, s, 1)); !slices.Equal(got, []string{"shop#2"}) {
		t.Errorf("claimed %q", got)
	}
}

func TestClaimConcurrency(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for range 3 {
		inProject(t, s, "deploy", limited(1))
	}
	for range 3 {
		inProject(t, s, "shop", limited(2))
	}
	inProject(t, s, "free", nil)
	first := claim(t, s, 9)
	if got, want := names(first), []string{"deploy#1", "shop#1", "shop#2", "free#1"}; !slices.Equal(got, want) {
		t.Fatalf("claimed %q, want %q", got, want)
	}
	// Nothing may begin, though slots are free: nobody is woken for that.
	news, stop := s.Watch()
	defer stop()
	if got := claim(t, s, 9); len(got) != 0 {
		t.Errorf("claimed %q beyond the limits", names(got))
	}
	select {
	case <-news:
		t.Error("a claim of nothing woke the watchers")
	default:
	}
	// Another process knows as much.
	s.Close()
	s = open(t, dir, Options{})
	if got := claim(t, s, 9); len(got) != 0 {
		t.Errorf("after a restart claimed %q beyond the limits", names(got))
	}
	endBuild(t, s, first[0].Build.ID)
	if got := names(claim(t, s, 9)); !slices.Equal(got, []string{"deploy#2"}) {
		t.Errorf("after the end of deploy#1 claimed %q", got)
	}
	endBuild(t, s, first[2].Build.ID)
	if got := names(claim(t, s, 9)); !slices.Equal(got, []string{"shop#3"}) {
		t.Errorf("after the end of shop#2 claimed %q", got)
	}
}

// TestClaimPassesHeldBuilds lets a project that is full hold up nobody, however many of its builds wait and however urgent.
func TestClaimPassesHeldBuilds(t *testing.T) {
	s, _ := newStore(t)
	for range 50 {
		inProject(t, s, "deploy", func(b *Build) { b.Settings.Concurrency, b.Priority = 1, 9 })
	}
	inProject(t, s, "shop", nil)
	inProject(t, s, "docs", nil)
	if got, want := names(claim(t, s, 2)), []string{"deploy#1", "shop#1"}; !slices.Equal(got, want) {
		t.Errorf("claimed %q, want %q", got, want)
	}
}

func TestClaimSuspended(t *testing.T) {
	s, _ := newStore(t)
	suspend := func(is bool) {
		update(t, s, func(tx *Tx) error {
			return tx.ChangeInstallation("github", "github.com", 12, func(i *Installation) { i.Account, i.Suspended = "octo", is })
		})
	}
	suspend(true)
	app := repo
	app.Installation = 12
	update(t, s, func(tx *Tx) error {
		p, err := tx.Project(app, "")
		if err == nil {
			_, err = tx.Submit(p, Build{Check: "buildsmith"})
		}
		return err
	})
	inProject(t, s, "other", nil)
	if got := names(claim(t, s, 9)); !slices.Equal(got, []string{"other#1"}) {
		t.Fatalf("claimed %q", got)
	}
	view(t, s, func(tx *Tx) error {
		list, err := tx.Waiting(10)
		if err != nil || len(list) != 1 || !list[0].Suspended || list[0].Account != "octo" || list[0].Position != 1 {
			t.Errorf("waiting: %+v, %v", list, err)
		}
		return nil
	})
	suspend(false)
	if got := names(claim(t, s, 9)); !slices.Equal(got, []string{"octo-shop#1"}) {
		t.Errorf("no longer suspended: claimed %q", got)
	}
}

func TestWaiting(t *testing.T) {
	s, _ := newStore(t)
	inProject(t, s, "deploy", limited(1))
	claim(t, s, 1)
	inProject(t, s, "deploy", limited(1))
	plain := inProject(t, s, "shop", nil)
	urgent := inProject(t, s, "docs", prioritised(2))
	view(t, s, func(tx *Tx) error {
		list := must[[]Waiting](t)(tx.Waiting(2))
		if len(list) != 2 || list[0].Build.ID != urgent.ID || list[0].Limit != 0 || list[1].Build.Project != "deploy" || list[1].Limit != 1 || list[1].Position != 2 {
			t.Errorf("waiting: %+v", list)
		}
		if w := must[Waiting](t)(tx.Awaits(&plain)); w.Position != 3 || w.Limit != 0 || w.Suspended || w.Build.ID != plain.ID {
			t.Errorf("the last awaits %+v", w)
		}
		running := must[[]Build](t)(tx.RunningBuilds())
		if w := must[Waiting](t)(tx.Awaits(&running[0])); w.Position != 0 {
			t.Errorf("a build that runs has place %d in the queue", w.Position)
		}
		return nil
	})
}

// TestClaimOfAnOlderRelease takes builds that were queued before there were turns.
func TestClaimOfAnOlderRelease(t *testing.T) {
	s, clock := newStore(t)
	inProject(t, s, "shop", limited(1))
	late := inProject(t, s, "docs", prioritised(1))
	update(t, s, func(tx *Tx) error {
		c := tx.bucket(bucketTurns).Cursor()
		for key, _ := c.First(); key != nil; key, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
		}
		return nil
	})
	if got := names(claim(t, s, 1)); !slices.Equal(got, []string{"docs#1"}) {
		t.Errorf("claimed %q", got)
	}
	endBuild(t, s, late.ID)
	clock.advance(2 * time.Hour)
	must[time.Time](t)(s.ExpireQueued())
	if got := claim(t, s, 9); len(got) != 0 {
		t.Errorf("claimed %q, which waited too long", names(got))
	}
}

// TestTurnsAreRemoved leaves nothing behind of builds that have left the queue.
func TestTurnsAreRemoved(t *testing.T) {
	s, _ := newStore(t)
	a, b := inProject(t, s, "shop", nil), inProject(t, s, "shop", nil)
	update(t, s, func(tx *Tx) error { _, err := tx.RequestStop(b.ID, "somebody"); return err })
	if got := claim(t, s, 9); len(got) != 1 || got[0].Build.ID != a.ID {
		t.Fatalf("claimed %q", names(got))
	}
	view(t, s, func(tx *Tx) error {
		if n := tx.bucket(bucketTurns).Stats().KeyN; n != 0 {
			t.Errorf("%d turns are left", n)
		}
		return nil
	})
}

// BenchmarkClaim claims one build of ten thousand, behind which those of a full project wait.
func BenchmarkClaim(b *testing.B) {
	s, err := Open(b.TempDir(), Options{NoSync: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	inProject(b, s, "deploy", limited(1))
	if _, err := s.Claim(1, func(*Build) string { return "p" }); err != nil {
		b.Fatal(err)
	}
	if err := s.Update(func(tx *Tx) error {
		p, err := tx.Project(repo, "deploy")
		if err != nil {
			return err
		}
		for range 10_000 {
			p.Builds++
			if _, err := tx.Submit(p, Build{Check: "buildsmith", Settings: Settings{Concurrency: 1, Image: "debian", QueueTimeout: time.Hour}}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if claims, err := s.Claim(4, func(*Build) string { return "p" }); err != nil || len(claims) > 0 {
			b.Fatalf("%d claims, %v", len(claims), err)
		}
	}
}
