package store

import (
	"testing"
	"time"
)

func TestSeen(t *testing.T) {
	s, err := Open(t.TempDir(), Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Accept(&Delivery{Forge: "github", Host: "github.com", ID: "a", Event: "push"}, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := s.View(func(tx *Tx) error {
		for id, want := range map[[3]string]bool{
			{"github", "github.com", "a"}: true, {"github", "github.com", "b"}: false, {"github", "other", "a"}: false, {"local", "github.com", "a"}: false,
		} {
			if tx.Seen(id[0], id[1], id[2]) != want {
				t.Errorf("%v: %v", id, !want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestHookState(t *testing.T) {
	s, err := Open(t.TempDir(), Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, change := range []func(*HookState){func(h *HookState) { h.Ping = at }, func(h *HookState) { h.Secret, h.Used = 1, at }} {
		if err := s.Update(func(tx *Tx) error { return tx.ChangeHook("github", "github.com", change) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.View(func(tx *Tx) error {
		h, err := tx.Hook("github", "github.com")
		if want := (HookState{Ping: at, Secret: 1, Used: at}); h != want {
			t.Errorf("%+v, want %+v", h, want)
		}
		if h, err := tx.Hook("github", "other"); h != (HookState{}) || err != nil {
			t.Errorf("%+v %v", h, err)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
