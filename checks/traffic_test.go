package checks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// prepare changes the account of the repository.
func (o *office) prepare(fn func(a *account)) {
	o.reporter.mu.Lock()
	defer o.reporter.mu.Unlock()
	fn(o.reporter.account(o.board, store.Repo{Forge: "test", ID: "1"}))
}

// TestSoftCap has an installation with 400 writes within the hour: what is final goes out, the rest waits and is told as it is then.
func TestSoftCap(t *testing.T) {
	o := newOffice(t)
	o.board.pace, o.board.burst = time.Millisecond, 100
	o.start()
	o.prepare(func(a *account) { a.wrote(begin, softCap, phasesCap) })
	b, waiting := o.submit("c"), o.submit("d")
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.shows(map[string]string{b.ID: "completed success"})
	o.advance(59 * time.Minute)
	o.change(waiting.ID, func(b *store.Build) { b.Claimed = begin })
	time.Sleep(30 * time.Millisecond)
	o.shows(map[string]string{b.ID: "completed success"})
	o.advance(time.Minute)
	o.shows(map[string]string{b.ID: "completed success", waiting.ID: "in_progress"})
	// The first build may have been looked at before it ended.
	if n := o.reporter.HeldBack.Load(); n != 1 && n != 2 {
		t.Errorf("%d reports were held back", n)
	}
}

// TestSingle has more than 300 writes in an hour while one build runs: its phases are brought to their end, a new build has one
// check, for good, and one that comes an hour later has all.
func TestSingle(t *testing.T) {
	o := newOffice(t)
	o.board.pace, o.board.burst = time.Millisecond, 100
	o.start()
	phases := func(b *store.Build) {
		b.Claimed, b.Skeleton = begin, []string{store.PhaseBuild, store.PhasePostBuild}
		b.Enter(store.PhaseBuild, begin)
	}
	first := o.submit("c")
	o.change(first.ID, phases)
	o.shows(map[string]string{first.ID: "in_progress", first.ID + "/BUILD": "in_progress", first.ID + "/POST_BUILD": "queued"})
	o.silent()
	o.prepare(func(a *account) { a.wrote(begin, phasesCap, phasesCap) })
	if got := o.reporter.Single(); !slices.Equal(got, []string{"test 1"}) {
		t.Errorf("single: %v", got)
	}
	second := o.submit("d")
	o.change(second.ID, phases)
	o.change(first.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	want := map[string]string{first.ID: "completed success", first.ID + "/BUILD": "completed cancelled", first.ID + "/POST_BUILD": "completed cancelled", second.ID: "in_progress"}
	o.shows(want)
	o.silent()
	if told := o.told(second.ID)["buildsmith / build"]; !told.GivenUp || told.Problem != "too many requests in an hour: builds have one check each for now" {
		t.Errorf("%+v", told)
	}
	o.advance(time.Hour + time.Minute)
	if got := o.reporter.Single(); len(got) != 0 {
		t.Errorf("single after an hour: %v", got)
	}
	third := o.submit("e")
	o.change(third.ID, phases)
	o.change(second.ID, func(b *store.Build) { b.End(store.Failed, begin) })
	want[second.ID] = "completed failure"
	want[third.ID], want[third.ID+"/BUILD"], want[third.ID+"/POST_BUILD"] = "in_progress", "in_progress", "queued"
	o.shows(want)
	o.silent()
}

// TestPhasesTurnedOff turns checks of phases off while they are there: they are brought to their end.
func TestPhasesTurnedOff(t *testing.T) {
	o := newOffice(t)
	o.start()
	b := o.submit("c")
	o.change(b.ID, func(b *store.Build) {
		b.Claimed, b.Skeleton = begin, []string{store.PhaseBuild}
		b.Enter(store.PhaseBuild, begin)
	})
	o.silent()
	o.stop()
	o.options.Phases = false
	o.start()
	other := o.submit("d")
	for _, id := range []string{b.ID, other.ID} {
		o.change(id, func(b *store.Build) { b.Skeleton = []string{store.PhaseBuild}; b.End(store.Failed, begin) })
	}
	o.shows(map[string]string{b.ID: "completed failure", b.ID + "/BUILD": "completed cancelled", other.ID: "completed failure"})
	o.silent()
}

func TestOrder(t *testing.T) {
	notice := store.Subject{Notice: &store.Notice{}}
	build, reply := store.Subject{Build: &store.Build{}}, store.Subject{Reply: &store.Reply{}}
	for _, tt := range []struct {
		subject store.Subject
		report  Report
		told    store.Told
		instead bool
		want    int
	}{
		{build, Report{Status: Completed, Conclusion: Failure}, store.Told{}, false, rankEnd},
		{build, Report{Kind: KindStatus, Status: Completed}, store.Told{}, true, rankEnd},
		{build, Report{Kind: KindStatus, Status: Completed}, store.Told{}, false, rankFinal},
		{build, Report{Phase: true, Status: Completed}, store.Told{}, false, rankFinal},
		{build, Report{Kind: KindDeployment, Status: Completed}, store.Told{}, false, rankFinal},
		{notice, Report{Status: Completed, Conclusion: Skipped}, store.Told{}, false, rankFinal},
		{notice, Report{Status: Completed, Conclusion: ActionRequired}, store.Told{}, false, rankReply},
		{reply, Report{Kind: KindComment, Status: Completed}, store.Told{}, false, rankReply},
		{build, Report{Status: Queued}, store.Told{}, false, rankNew},
		{build, Report{Status: InProgress}, store.Told{Remote: "1"}, false, rankChange},
	} {
		l := letter{subject: tt.subject, report: tt.report, told: tt.told, rank: rankChange}
		if l.setRank(tt.instead); l.rank != tt.want {
			t.Errorf("%+v: rank %d, want %d", tt.report, l.rank, tt.want)
		}
	}
	for n, want := range map[int]int{0: 1, 1: 1, 50: 1, 51: 2, 500: 10} {
		l := letter{report: Report{Annotations: make([]Annotation, n)}}
		if got := l.cost(50); got != want {
			t.Errorf("%d annotations cost %d, want %d", n, got, want)
		}
	}
	if l := (letter{report: Report{Kind: KindDeployment}}); l.cost(50) != 2 {
		t.Errorf("a deployment costs %d", l.cost(50))
	}
}

// TestPresentName has a repository renamed and moved to another installation while it is built.
func TestPresentName(t *testing.T) {
	o := newOffice(t)
	o.start()
	b := o.submit("c")
	o.silent()
	if err := o.store.Update(func(tx *store.Tx) error {
		_, err := tx.Repo(store.Repo{Forge: "test", ID: "1", Name: "new/name", Installation: 7})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.silent()
	o.board.mu.Lock()
	defer o.board.mu.Unlock()
	if got, want := o.board.repos, []string{"o/r 0", "new/name 7"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestGoneRepository has a repository go while it is built, and another whose App was uninstalled: the end is given up at once, with
// the reason, and what is not final waits for it to come back.
func TestGoneRepository(t *testing.T) {
	for reason, change := range map[string]func(tx *store.Tx, r store.Repo, gone bool) error{
		"the repository was deleted, or may not be seen from here any longer": func(tx *store.Tx, r store.Repo, gone bool) error {
			return tx.ChangeRepo(r.Key(), func(s *store.RepoState) { s.Gone = gone })
		},
		"what it was reached by is gone: the App was uninstalled, or the credential is not configured any longer": func(tx *store.Tx, r store.Repo, gone bool) error {
			return tx.ChangeInstallation(r.Forge, r.Host, r.Installation, func(i *store.Installation) { i.Removed = gone })
		},
	} {
		o := newOffice(t)
		o.start()
		lost, kept := o.submit("c"), o.submit("d")
		o.silent()
		said := len(o.board.said())
		set := func(gone bool) {
			t.Helper()
			if err := o.store.Update(func(tx *store.Tx) error { return change(tx, lost.Repo, gone) }); err != nil {
				t.Fatal(err)
			}
		}
		set(true)
		o.change(kept.ID, func(b *store.Build) { b.Claimed = begin })
		o.change(lost.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
		for range 100 {
			if o.told(lost.ID)["buildsmith"].GivenUp {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if told := o.told(lost.ID)["buildsmith"]; !told.GivenUp || told.Problem != reason || len(o.board.said()) != said {
			t.Errorf("%+v\n%v", told, o.board.said())
		}
		set(false)
		o.shows(map[string]string{lost.ID: "queued", kept.ID: "in_progress"})
		o.silent()
	}
}

// TestNoticeIsGivenUp has a forge refuse for more than a day.
func TestNoticeIsGivenUp(t *testing.T) {
	o := newOffice(t)
	o.board.fail = func(string, *Report) error { return fmt.Errorf("502") }
	var reply store.Reply
	if err := o.store.Update(func(tx *store.Tx) (err error) {
		reply, err = tx.AddReply(store.Reply{Repo: store.Repo{Forge: "test", ID: "1", Name: "o/r"}, PullRequest: 3, Body: "Hello."})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	o.advance(giveUp + time.Hour)
	o.start()
	o.silent()
	if told := o.told(reply.ID)["comment\x00reply"]; !told.GivenUp || !strings.Contains(told.Problem, "502") {
		t.Errorf("%+v", told)
	}
}
