package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestBuildIDs(t *testing.T) {
	s, _ := newStore(t)
	var all []string
	for i := range 20 {
		all = append(all, submit(t, s, fmt.Sprint(i)).ID)
	}
	slices.Sort(all)
	view(t, s, func(tx *Tx) error {
		if got := tx.BuildIDs("", 100); !slices.Equal(got, all) {
			t.Errorf("all ids: %v, want %v", got, all)
		}
		if got := tx.BuildIDs("", 3); !slices.Equal(got, all[:3]) {
			t.Errorf("three ids: %v", got)
		}
		if got := tx.BuildIDs(all[7][:13], 100); !slices.Equal(got, all[7:8]) {
			t.Errorf("ids that begin with %s: %v", all[7][:13], got)
		}
		if got := tx.BuildIDs("x", 100); len(got) != 0 {
			t.Errorf("ids that begin with x: %v", got)
		}
		return nil
	})
}

func TestLineOffset(t *testing.T) {
	s, _ := newStore(t)
	var text strings.Builder
	starts := []int64{0}
	for i := range 2*indexStep + 10 {
		fmt.Fprintf(&text, "line %d %s\n", i+1, strings.Repeat("x", i%100*(i%7/6*2000)))
		starts = append(starts, int64(text.Len()))
	}
	text.WriteString("no end")
	w := must[*LogWriter](t)(s.AppendLog("b", 0))
	defer w.Close()
	if _, err := w.Write([]byte(text.String())); err != nil {
		t.Fatal(err)
	}
	for i, want := range starts {
		if got, err := s.LineOffset("b", i+1); err != nil || got != want {
			t.Fatalf("line %d begins at %d, %v, want %d", i+1, got, err, want)
		}
	}
	for line, want := range map[int]int64{-1: 0, 0: 0, len(starts) + 1: int64(text.Len()), 1 << 40: int64(text.Len())} {
		if got, err := s.LineOffset("b", line); err != nil || got != want {
			t.Errorf("line %d begins at %d, %v, want %d", line, got, err, want)
		}
	}
	if got, err := s.LineOffset("none", 5); err != nil || got != 0 {
		t.Errorf("a line of an empty log begins at %d, %v", got, err)
	}
}
