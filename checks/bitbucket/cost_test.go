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
	perHour := b.host.LooksPerHour()
	named := func(n int, polled bool) int { // requests in an hour for repositories that a credential names
		rounds, hooked := 6, 6*n*(list+hooks)
		if polled {
			rounds, hooked = 60, 0
		}
		return rounds*n*list + min(rounds*n, perHour)*look + hooked + 6*(n*list+rights)
	}
	if named(1, false) != 60 || named(1, true) != 210 || named(10, true) > 1000 || named(11, true) <= 1000 || named(28, false) > 1000 || named(29, false) <= 1000 || perHour != 150 {
		t.Errorf("%d in an hour, or %d", named(1, false), named(1, true))
	}
	for _, said := range []string{"\n| the list of repositories | 1 ", "\n| a look, of each repository | 2,", "\n| webhooks, of each repository | 1 |", "\n| rights, of each credential | 4 |",
		"That is 60 in an hour for one repository, or 210 with `poll`.", "its look takes 3"} {
		if !strings.Contains(strings.Join(strings.Fields(string(text)), " "), strings.TrimSpace(said)) {
			t.Errorf("docs/bitbucket.md does not say %q", said)
		}
	}
}
