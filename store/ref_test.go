package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRefMoves has the moves of a ref told in any order: what came before what is known leaves it as it is.
func TestRefMoves(t *testing.T) {
	type move struct{ before, after string }
	for name, tt := range map[string]struct {
		moves []move
		want  string
	}{
		"in their order":             {[]move{{"", "a"}, {"a", "b"}, {"b", "c"}}, "c"},
		"the last first":             {[]move{{"b", "c"}, {"a", "b"}, {"", "a"}}, "c"},
		"the first late":             {[]move{{"a", "b"}, {"", "a"}, {"b", "c"}}, "c"},
		"one in between late":        {[]move{{"", "a"}, {"b", "c"}, {"a", "b"}}, "c"},
		"one missing":                {[]move{{"", "a"}, {"b", "c"}}, "c"},
		"back to what it was":        {[]move{{"", "a"}, {"a", "b"}, {"b", "a"}}, "a"},
		"and on from there":          {[]move{{"", "a"}, {"a", "b"}, {"b", "a"}, {"a", "c"}}, "c"},
		"deleted":                    {[]move{{"", "a"}, {"a", "b"}, {"b", ""}}, ""},
		"deleted, after one missing": {[]move{{"", "a"}, {"b", ""}}, "a"},
		"deleted and made again":     {[]move{{"x", "a"}, {"a", ""}, {"", "b"}, {"b", "c"}}, "c"},
		"told twice":                 {[]move{{"", "a"}, {"a", "b"}, {"", "a"}, {"a", "b"}}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			var f Ref
			for _, m := range tt.moves {
				f.Move(m.before, m.after)
			}
			if f.Hash != tt.want {
				t.Errorf("it is at %q, want %q: %+v", f.Hash, tt.want, f)
			}
		})
	}
	var f Ref
	for n := range 3 * maxPast {
		f.Move(f.Hash, fmt.Sprint(n))
	}
	if len(f.Past) != maxPast || f.Past[maxPast-1] != fmt.Sprint(3*maxPast-2) {
		t.Errorf("%q", f.Past)
	}
}

// TestRefs remembers refs, those that are gone as long as a delivery of what was found may be under way.
func TestRefs(t *testing.T) {
	s, c := newStore(t)
	one, other := Repo{Forge: "f", Host: "h", ID: "1"}, Repo{Forge: "f", Host: "h", ID: "11"}
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	begun := s.Now()
	update(t, s, func(tx *Tx) error {
		for ref, f := range map[string]Ref{
			"refs/heads/main":  {Hash: a},
			"refs/heads/gone":  {Past: []string{"", a}},
			"refs/heads/found": {Past: []string{"", b}, Found: []FoundRef{{Hash: b, At: begun}}},
			"refs/tags/v1":     {Hash: b, Found: []FoundRef{{Hash: a, At: begun.Add(-LateTime)}, {Hash: b, At: begun}}},
		} {
			if err := tx.SetRef(one, ref, f); err != nil {
				return err
			}
		}
		return tx.SetRef(other, "refs/heads/other", Ref{Hash: a})
	})
	view(t, s, func(tx *Tx) error {
		refs, err := tx.RefsOf(one)
		if want := map[string]string{"refs/heads/main": a, "refs/tags/v1": b}; !maps.Equal(refs, want) {
			t.Errorf("%v, want %v", refs, want)
		}
		if tx.bucket(bucketForgeRefs).Get(refKey(one, "refs/heads/gone")) != nil {
			t.Error("a ref that is gone was not removed")
		}
		f, failed := tx.Ref(one, "refs/tags/v1")
		if failed != nil || len(f.Found) != 1 || !f.At.Equal(begun) {
			t.Errorf("%+v %v", f, failed)
		}
		for _, tt := range []struct {
			hash string
			came time.Time
			want bool
		}{{a, begun, false}, {b, begun.Add(LateTime), false}, {b, begun.Add(time.Hour), true}, {b, begun.Add(time.Hour), false}} {
			if got := f.Late(tt.hash, tt.came); got != tt.want {
				t.Errorf("%.1s at %v: late %v", tt.hash, tt.came, got)
			}
		}
		return err
	})
	c.advance(LateTime)
	must[Swept](t)(s.Sweep(Retention{}))
	view(t, s, func(tx *Tx) error {
		if tx.bucket(bucketForgeRefs).Get(refKey(one, "refs/heads/found")) != nil {
			t.Error("a ref that is gone was not swept")
		}
		refs, err := tx.RefsOf(one)
		if len(refs) != 2 {
			t.Errorf("%v", refs)
		}
		return err
	})
}

// TestLooks remembers looks, and forgets repositories that nobody looks at or tells of any longer, with their refs.
func TestLooks(t *testing.T) {
	s, c := newStore(t)
	looked, left, told := Repo{ID: "1"}, Repo{ID: "2"}, Repo{ID: "3"}
	set := func(l Look, repos ...Repo) {
		t.Helper()
		update(t, s, func(tx *Tx) error {
			for _, r := range repos {
				if err := tx.SetLook(r, l); err != nil {
					return err
				}
			}
			return nil
		})
	}
	refs := func(r Repo) (n int) {
		view(t, s, func(tx *Tx) error {
			all, err := tx.RefsOf(r)
			n = len(all)
			return err
		})
		return n
	}
	first := Look{First: s.Now(), Tried: s.Now(), Pulls: map[int]PullLook{12: {At: s.Now()}}}
	set(first, looked, left, told)
	update(t, s, func(tx *Tx) error {
		for _, r := range []Repo{looked, left, told} {
			if err := tx.SetRef(r, "refs/heads/main", Ref{Hash: "a"}); err != nil {
				return err
			}
		}
		return nil
	})
	c.advance(keepLooks)
	set(Look{First: first.First, Tried: s.Now()}, looked)
	update(t, s, func(tx *Tx) error { return tx.SetRef(told, "refs/heads/main", Ref{Hash: "b"}) })
	must[Swept](t)(s.Sweep(Retention{}))
	if refs(left) != 1 {
		t.Error("it was swept too early")
	}
	c.advance(time.Second)
	must[Swept](t)(s.Sweep(Retention{}))
	if got := []int{refs(looked), refs(left), refs(told)}; !slices.Equal(got, []int{1, 0, 1}) {
		t.Errorf("%v refs are left", got)
	}
	view(t, s, func(tx *Tx) error {
		gone, err := tx.Look(left)
		if err != nil || !gone.First.IsZero() {
			t.Errorf("%+v %v", gone, err)
		}
		kept, err := tx.Look(told)
		if !kept.First.Equal(first.First) || !kept.Pulls[12].At.Equal(first.First) {
			t.Errorf("%+v", kept)
		}
		return err
	})
}

// TestSeenComments remembers for a month which comments were obeyed, each in its own repository.
func TestSeenComments(t *testing.T) {
	s, c := newStore(t)
	one, other := Repo{ID: "1"}, Repo{ID: "2"}
	see := func(r Repo, id int64) (seen bool) {
		t.Helper()
		update(t, s, func(tx *Tx) (err error) { seen, err = tx.SeeComment(r, id); return err })
		return seen
	}
	for _, tt := range []struct {
		repo Repo
		id   int64
		want bool
	}{{one, 5, false}, {one, 5, true}, {other, 5, false}, {one, 55, false}, {one, 0, false}, {one, 0, false}} {
		if got := see(tt.repo, tt.id); got != tt.want {
			t.Errorf("comment %d of %s: %v", tt.id, tt.repo.ID, got)
		}
	}
	c.advance(keepComments)
	must[Swept](t)(s.Sweep(Retention{}))
	if !see(one, 5) {
		t.Error("it was forgotten too early")
	}
	c.advance(time.Second)
	must[Swept](t)(s.Sweep(Retention{}))
	if see(one, 5) {
		t.Error("it was not forgotten")
	}
}

// TestDecidedPulls remembers how a pull request was when it was decided on, beside how it was seen.
func TestDecidedPulls(t *testing.T) {
	s, _ := newStore(t)
	r := Repo{ID: "1"}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	pr := PullRequest{Number: 12, Open: true, Head: a, HeadRef: "refs/heads/x", BaseRef: "refs/heads/main", HeadRepo: "1", Updated: at}
	seen := func(pr PullRequest) func(*Tx) error {
		return func(tx *Tx) error { _, err := tx.SeePull(r, &pr); return err }
	}
	decided := func(pr PullRequest) func(*Tx) error { return func(tx *Tx) error { return tx.DecidePull(r, &pr) } }
	newer, older := pr, pr
	newer.Head, newer.Updated = b, at.Add(time.Minute)
	older.Head, older.Updated = strings.Repeat("c", 40), at.Add(-time.Minute)
	for n, tt := range []struct {
		do   func(*Tx) error
		want PullState
	}{{seen(pr), PullState{}}, {decided(pr), pr.State()}, {decided(older), pr.State()}, {seen(newer), pr.State()}, {decided(pr), pr.State()}, {decided(newer), newer.State()}} {
		update(t, s, tt.do)
		view(t, s, func(tx *Tx) error {
			p, _, err := tx.Pull(r, 12)
			if p.Decided != tt.want {
				t.Errorf("%d: %+v, want %+v", n, p.Decided, tt.want)
			}
			open, failed := tx.OpenPulls(r)
			if failed != nil || len(open) != 1 || open[0].Number != 12 {
				t.Errorf("%d: %+v %v", n, open, failed)
			}
			return err
		})
	}
	closed := newer
	closed.Open, closed.Updated = false, at.Add(time.Hour)
	update(t, s, seen(closed))
	view(t, s, func(tx *Tx) error {
		open, err := tx.OpenPulls(r)
		if len(open) != 0 {
			t.Errorf("%+v", open)
		}
		return err
	})
	for _, tt := range []struct {
		short, full PullState
		want        bool
	}{
		{PullState{Head: a[:12]}, PullState{Head: a}, true}, {PullState{Head: a}, PullState{Head: a}, true}, {PullState{Head: b[:12]}, PullState{Head: a}, false},
		{PullState{}, PullState{Head: a}, false}, {PullState{Head: a[:12], Draft: true}, PullState{Head: a}, false}, {PullState{Head: a, BaseRef: "x"}, PullState{Head: a}, false},
	} {
		if got := tt.short.Same(tt.full); got != tt.want {
			t.Errorf("%+v of %+v: %v", tt.short, tt.full, got)
		}
	}
}
