package bitbucket_test

import (
	"os"
	"strings"
	"testing"
)

// TestDocsOfCost counts the requests that are made though nothing happens, and holds docs/bitbucket.md to it.
func TestDocsOfCost(t *testing.T) {
	b := newBench(t, hooked)
	b.must(b.host.EnsureHooks(t.Context()))
	cost := func(what string, fn func() error) int {
		t.Helper()
		before := b.host.Requests.Load()
		if err := fn(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return int(b.host.Requests.Load() - before)
	}
	list := cost("the list", func() error { _, err := b.host.Repositories(t.Context()); return err })
	look := cost("a look", func() error { _, err := b.host.Look(t.Context(), b.repo); return err })
	hooks := cost("webhooks", func() error { return b.host.EnsureHooks(t.Context()) }) - list
	rights := cost("rights", func() error { b.host.Examine(t.Context()); return nil }) - list
	if list != 1 || look != 2 || hooks != 1 || rights != 4 {
		t.Errorf("the list takes %d requests, a look %d, webhooks %d, rights %d", list, look, hooks, rights)
	}
	center := newCenter(t, centerSetup{})
	if _, err := center.Repositories(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := center.Requests.Load()
	if _, err := center.Look(t.Context(), center.repo); err != nil {
		t.Fatal(err)
	}
	if n := center.Requests.Load() - before; n != 3 {
		t.Errorf("a look at a Data Center takes %d requests", n)
	}
	text, err := os.ReadFile("../../docs/bitbucket.md")
	if err != nil {
		t.Fatal(err)
	}
	// One repository, every ten minutes: the list twice, a look, its webhooks, the rights; or a look every minute.
	hour, polled := 6*(2*list+look+hooks+rights+list), 60*(list+look)+6*(list+rights)
	if hour != 60 || polled != 210 || b.host.LooksPerHour() != 80 {
		t.Errorf("%d in an hour, or %d; %d looks", hour, polled, b.host.LooksPerHour())
	}
	for _, said := range []string{"\n| the list of repositories | 1 ", "\n| a look, of each repository | 2,", "\n| webhooks, of each repository | 1 |", "\n| rights, of each credential | 4 |",
		"That is 60 in an hour for one repository, or 210 with `poll`.", "its look takes 3", "get 80 looks in an hour, 120 with `poll`"} {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), strings.TrimSpace(said)) {
			t.Errorf("docs/bitbucket.md does not say %q", said)
		}
	}
}
