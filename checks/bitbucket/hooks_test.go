package bitbucket_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
)

const hookAddress = "https://ci.example.org/webhook/bitbucket"

func hooked(b *bench, c *bitbucket.Config) { c.Hook, c.HookSecret = hookAddress, "first" }

// ensure has the webhooks made, and gives how many requests changed something.
func (b *bench) ensure(h *bitbucket.Host) int64 {
	b.Helper()
	before := h.Writes.Load()
	b.must(h.EnsureHooks(b.Context()))
	return h.Writes.Load() - before
}

// TestCloudHooks makes a webhook, mends it, and leaves those of others alone.
func TestCloudHooks(t *testing.T) {
	b := newBench(t, hooked)
	theirs, err := b.hub.AddHook("octo/shop", bitbuckettest.Hook{Name: "buildsmith", URL: "https://staging.example.org/webhook/bitbucket", Active: true, Events: []string{"repo:push"}})
	b.must(err)
	if n := b.ensure(b.host); n != 1 {
		t.Errorf("%d changes", n)
	}
	want := []string{"pullrequest:comment_created", "pullrequest:created", "pullrequest:fulfilled", "pullrequest:rejected", "pullrequest:updated", "repo:push", "repo:updated"}
	own := func() bitbuckettest.Hook {
		t.Helper()
		list := b.hub.Hooks("octo/shop")
		if len(list) != 2 || list[0].UUID != theirs.UUID || list[0].URL != theirs.URL {
			t.Fatalf("%+v", list)
		}
		h := list[1]
		if h.Name != "buildsmith" || h.URL != hookAddress || !h.Active || !slices.Equal(slices.Sorted(slices.Values(h.Events)), want) {
			t.Errorf("%+v", h)
		}
		return h
	}
	if h := own(); h.Secret != "first" {
		t.Errorf("%+v", h)
	}
	if n := b.ensure(b.host); n != 0 {
		t.Errorf("%d changes of what is as it should be", n)
	}
	if got := b.host.Hooked(); len(got) != 1 || got["octo/shop"] != nil {
		t.Errorf("%v", got)
	}
	id := own().UUID
	// After a start the secret is told once: nobody can read what it was.
	c := b.host.Config
	c.HookSecret = "second"
	next, err := bitbucket.New(c)
	b.must(err)
	if n, again := b.ensure(next), b.ensure(next); n != 1 || again != 0 {
		t.Errorf("%d changes, and then %d", n, again)
	}
	if h := own(); h.Secret != "second" || h.UUID != id {
		t.Errorf("%+v", h)
	}
}

// TestCloudHooksMended finds webhooks of ours in every bad shape.
func TestCloudHooksMended(t *testing.T) {
	for name, hooks := range map[string][]bitbuckettest.Hook{
		"switched off":   {{Name: "buildsmith", URL: hookAddress, Secret: "first", Events: []string{"repo:push"}}},
		"made by hand":   {{Name: "by hand", URL: hookAddress, Active: true, Events: []string{"repo:push"}}},
		"an old address": {{Name: "buildsmith", URL: "http://ci.example.org:8080/webhook/old", Active: true, Events: []string{"repo:push"}}},
		"too many":       {{Name: "buildsmith", URL: "https://ci.example.org/webhook/old", Active: true, Events: []string{"repo:push"}}, {Name: "buildsmith", URL: hookAddress, Active: true, Events: []string{"repo:push"}}, {Name: "x", URL: hookAddress, Events: []string{"repo:push"}}},
	} {
		b := newBench(t, hooked)
		for _, h := range hooks {
			_, err := b.hub.AddHook("octo/shop", h)
			b.must(err)
		}
		if n := b.ensure(b.host); int(n) != len(hooks) {
			t.Errorf("%s: %d changes", name, n)
		}
		if list := b.hub.Hooks("octo/shop"); len(list) != 1 || list[0].URL != hookAddress || !list[0].Active || list[0].Secret != "first" || len(list[0].Events) != 7 || list[0].Name != "buildsmith" {
			t.Errorf("%s: %+v", name, list)
		}
		if n := b.ensure(b.host); n != 0 {
			t.Errorf("%s: %d changes of what is as it should be", name, n)
		}
	}
}

// TestCloudHooksFail names the repository and the right, and makes the others all the same.
func TestCloudHooksFail(t *testing.T) {
	var poor bitbuckettest.Token
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		hooked(b, c)
		_, err := b.hub.AddRepo("octo/another", bitbuckettest.RepoOptions{Private: true})
		b.must(err)
		poor, err = b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: "octo/another", Scopes: []string{"repository", "pullrequest"}})
		b.must(err)
		c.Credentials = append(c.Credentials, bitbucket.Credential{Repositories: []string{"octo/another"}, Token: poor.Value}, bitbucket.Credential{Repositories: []string{"octo/gone"}, Token: poor.Value})
	})
	err := b.host.EnsureHooks(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "the webhook of octo/gone: not found: GET /repositories/octo/gone: status 404, ") || !strings.Contains(err.Error(), "\nthe webhook of octo/another: GET /repositories/octo/…/hooks: status 403, ") || !strings.Contains(err.Error(), "it takes the scope webhook") ||
		!strings.HasSuffix(err.Error(), "give the credential the scope webhook, and the scopes of its events: repository and pullrequest, or make the webhook by hand, to "+hookAddress) {
		t.Errorf("%v", err)
	}
	if got := b.host.Hooked(); len(got) != 2 || got["octo/shop"] != nil || got["octo/another"] == nil || len(b.hub.Hooks("octo/shop")) != 1 {
		t.Errorf("%v", got)
	}
	if told := b.refusals(); len(told) != 1 || !strings.HasPrefix(told[0], "GET /repositories/octo/…/hooks: status 403, ") {
		t.Errorf("%q", told)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.host.EnsureHooks(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	none := newBench(t, nil)
	if err := none.host.EnsureHooks(t.Context()); err != nil || len(none.hub.Requests()) != 0 {
		t.Errorf("without an address: %v", err)
	}
}

// TestCloudHooksWait leaves the other repositories of a credential alone that has to wait.
func TestCloudHooksWait(t *testing.T) {
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		hooked(b, c)
		for n := range 5 {
			_, err := b.hub.AddRepo(fmt.Sprintf("octo/r%d", n), bitbuckettest.RepoOptions{})
			b.must(err)
		}
		token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.WorkspaceToken, Workspace: "octo"})
		b.must(err)
		c.Credentials = []bitbucket.Credential{{Repositories: []string{"octo/*"}, Token: token.Value}}
	})
	b.must(b.hub.Inject(bitbuckettest.RateLimit(0).At("GET", "/hooks")))
	var wait *checks.WaitError
	if err := b.host.EnsureHooks(t.Context()); !errors.As(err, &wait) || b.hub.Count("GET", "/repositories/{workspace}/{repo_slug}/hooks") != 1 {
		t.Errorf("%v", err)
	}
	if got := b.host.Hooked(); len(got) != 6 || got["octo/r3"] == nil {
		t.Errorf("%v", got)
	}
}
