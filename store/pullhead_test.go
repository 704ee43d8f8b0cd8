package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPullHeads finds the pull requests of a commit, in their own repository alone.
func TestPullHeads(t *testing.T) {
	s, _ := newStore(t)
	one, other := Repo{Forge: "github", ID: "1"}, Repo{Forge: "github", ID: "11"}
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	update(t, s, func(tx *Tx) error {
		for _, p := range []struct {
			repo   Repo
			number int
			head   string
		}{{one, 3, a}, {one, 12, a}, {one, 4, b}, {other, 5, a}} {
			if _, err := tx.SeePull(p.repo, &PullRequest{Number: p.number, Head: p.head}); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx *Tx) error {
		numbers, err := tx.PullsAt(one, a)
		if slices.Sort(numbers); !slices.Equal(numbers, []int{3, 12}) {
			t.Errorf("pull requests %v", numbers)
		}
		if head, err := tx.PullHead(one, 4); head != b || err != nil {
			t.Errorf("%q %v", head, err)
		}
		if head, err := tx.PullHead(one, 5); head != "" || err != nil {
			t.Errorf("%q %v", head, err)
		}
		return err
	})
}

// TestSweepPulls forgets what was told of a pull request once nobody has told anything of it for as long as builds are kept.
func TestSweepPulls(t *testing.T) {
	s, c := newStore(t)
	r := Repo{Forge: "github", ID: "1"}
	keep := Retention{Builds: 24 * time.Hour}
	update(t, s, func(tx *Tx) error { return tx.SetTold(PullID(r, 3), "comment", Told{Remote: "7", At: s.Now()}) })
	there := func() (remote string) {
		update(t, s, func(tx *Tx) error {
			told, err := tx.Told(PullID(r, 3), "comment")
			remote = told.Remote
			return err
		})
		return remote
	}
	c.advance(23 * time.Hour)
	if _, err := s.Sweep(keep); err != nil || there() != "7" {
		t.Errorf("%q %v", there(), err)
	}
	c.advance(2 * time.Hour)
	if _, err := s.Sweep(keep); err != nil || there() != "" {
		t.Errorf("%q %v", there(), err)
	}
}

// TestSweepClosedPulls forgets pull requests that were closed long ago, and no open one.
func TestSweepClosedPulls(t *testing.T) {
	s, c := newStore(t)
	r := Repo{Forge: "github", ID: "1"}
	update(t, s, func(tx *Tx) error {
		for number := range 3 {
			if _, err := tx.SeePull(r, &PullRequest{Number: number, Head: "a", Open: number == 1}); err != nil {
				return err
			}
		}
		return nil
	})
	left := func() (numbers []int) {
		if _, err := s.Sweep(Retention{Builds: 24 * time.Hour}); err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx *Tx) (err error) {
			numbers, err = tx.PullsAt(r, "a")
			return err
		})
		return numbers
	}
	if got := left(); len(got) != 3 {
		t.Errorf("pull requests %v", got)
	}
	c.advance(25 * time.Hour)
	if got := left(); !slices.Equal(got, []int{1}) {
		t.Errorf("pull requests %v", got)
	}
}
