package checks

import (
	"errors"
	"slices"
	"testing"

	"buildsmith/store"
)

// notice makes a notice of the check buildsmith.
func (o *office) notice(commit, conclusion string) (n store.Notice) {
	o.t.Helper()
	if err := o.store.Update(func(tx *store.Tx) error {
		p, err := tx.Project(store.Repo{Forge: "test", ID: "1", Name: "o/r"}, "")
		if err == nil {
			n, err = tx.AddNotice(p, store.Notice{Check: "buildsmith", Conclusion: conclusion, Trigger: store.Trigger{Commit: commit}})
		}
		return err
	}); err != nil {
		o.t.Fatal(err)
	}
	return n
}

// TestLateSkipIsNotMade has the forge fail while it is told of a skip, and the commit be built meanwhile: the skip, which branch
// protection takes for success, is not made after the check of the build. If it was made after all, it is left where it is.
func TestLateSkipIsNotMade(t *testing.T) {
	for name, made := range map[string]bool{"not made": false, "made, the answer lost": true} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.board.lose = made
			o.board.fail = func(_ string, r *Report) error {
				if r.Conclusion == Skipped && !made {
					return errors.New("502")
				}
				return nil
			}
			o.start()
			n := o.notice("c", store.SkippedNotice)
			o.spoke(1)
			b := o.submit("c")
			o.change(b.ID, func(b *store.Build) { b.End(store.Failed, begin) })
			want := map[string]string{b.ID: "completed failure"}
			if made {
				want[n.ID] = "completed skipped"
			}
			o.shows(want)
			o.board.mu.Lock()
			o.board.fail = nil
			o.board.mu.Unlock()
			o.advance(lastPause)
			o.silent()
			o.shows(want)
			creates := slices.DeleteFunc(o.board.said(), func(s string) bool { return s[:6] != "create" })
			if last := creates[len(creates)-1]; last == "create buildsmith completed skipped" {
				t.Errorf("%v", creates)
			}
			if told := o.told(n.ID)["buildsmith"]; !made && (!told.GivenUp || told.Problem != "refused: gone: "+overtaken) {
				t.Errorf("%+v", told)
			}
		})
	}
}

// TestLateBuildIsNotMade has a build succeed of which the forge could not be told at all, and the one that repeats it fail: the
// forge shows the one that came last.
func TestLateBuildIsNotMade(t *testing.T) {
	o := newOffice(t)
	first := o.submit("c")
	o.board.fail = func(_ string, r *Report) error {
		if r.ExternalID == first.ID {
			return errors.New("502")
		}
		return nil
	}
	o.start()
	o.spoke(1)
	o.change(first.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	second := o.submit("c")
	o.change(second.ID, func(b *store.Build) { b.End(store.Failed, begin) })
	o.shows(map[string]string{second.ID: "completed failure"})
	o.board.mu.Lock()
	o.board.fail = nil
	o.board.mu.Unlock()
	o.advance(lastPause)
	o.silent()
	o.shows(map[string]string{second.ID: "completed failure"})
	// A check that was told before stays told.
	third := o.submit("d")
	o.shows(map[string]string{second.ID: "completed failure", third.ID: "queued"})
	fourth := o.submit("d")
	o.change(third.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.shows(map[string]string{second.ID: "completed failure", third.ID: "completed success", fourth.ID: "queued"})
}
