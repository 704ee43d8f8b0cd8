package bitbucket_test

import (
	"fmt"
	"testing"
	"time"

	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
)

// TestIdleHour has a server with many repositories in which nothing happens: it makes less than a third of the requests that Cloud takes in
// an hour, also when somebody has everything asked anew again and again.
func TestIdleHour(t *testing.T) {
	for _, named := range []bool{true, false} {
		for _, count := range []int{1, 12} {
			now := time.Now()
			b := newBench(t, func(b *bench, c *bitbucket.Config) {
				hooked(b, c)
				c.Now = func() time.Time { return now }
				names := []string{"octo/shop"}
				for n := range count - 1 {
					name := fmt.Sprintf("octo/r%d", n)
					_, err := b.hub.AddRepo(name, bitbuckettest.RepoOptions{})
					b.must(err)
					names = append(names, name)
				}
				token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.WorkspaceToken, Workspace: "octo"})
				b.must(err)
				if !named {
					names = []string{"octo/*"}
				}
				c.Credentials = []bitbucket.Credential{{Repositories: names, Token: token.Value}}
			})
			b.must(b.host.EnsureHooks(t.Context()))
			begun, looks := b.host.Requests.Load(), 0
			for range 6 {
				now = now.Add(10 * time.Minute)
				b.host.Examine(t.Context())
				b.must(b.host.EnsureHooks(t.Context()))
				list, err := b.host.Repositories(t.Context())
				b.must(err)
				if len(list) != count {
					t.Fatalf("%d repositories", len(list))
				}
				for _, r := range list {
					if looks++; looks <= b.host.LooksPerHour() {
						_, err := b.host.Look(t.Context(), r)
						b.must(err)
					}
				}
			}
			made := b.host.Requests.Load() - begun
			t.Logf("%d repositories, named %v: %d requests in an hour", count, named, made)
			if made > 1000/3 {
				t.Errorf("%d repositories, named %v: %d requests in an hour", count, named, made)
			}
			// Five times the button, within a minute.
			begun = b.host.Requests.Load()
			for range 5 {
				now = now.Add(12 * time.Second)
				b.host.AskAnew()
				b.host.Examine(t.Context())
				b.must(b.host.EnsureHooks(t.Context()))
			}
			if made := b.host.Requests.Load() - begun; made > 300 {
				t.Errorf("%d repositories, named %v: %d requests when asked anew five times", count, named, made)
			}
		}
	}
}

// TestAskAnew sees at once that a webhook was removed, and who has a name now.
func TestAskAnew(t *testing.T) {
	now := time.Now()
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		hooked(b, c)
		c.Now = func() time.Time { return now }
		names := []string{"octo/shop", "octo/soon"}
		for n := range 12 {
			name := fmt.Sprintf("octo/r%d", n)
			_, err := b.hub.AddRepo(name, bitbuckettest.RepoOptions{})
			b.must(err)
			names = append(names, name)
		}
		token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.WorkspaceToken, Workspace: "octo"})
		b.must(err)
		c.Credentials = []bitbucket.Credential{{Repositories: names, Token: token.Value}}
	})
	if err := b.host.EnsureHooks(t.Context()); err == nil {
		t.Error("nobody misses octo/soon")
	}
	_, err := b.hub.AddRepo("octo/soon", bitbuckettest.RepoOptions{})
	b.must(err)
	now = now.Add(5 * time.Minute)
	if err := b.host.EnsureHooks(t.Context()); err == nil || len(b.hub.Hooks("octo/soon")) != 0 {
		t.Errorf("a name that was nobody's is asked for at once: %v", err)
	}
	b.host.AskAnew()
	b.must(b.host.EnsureHooks(t.Context()))
	if len(b.hub.Hooks("octo/soon")) != 1 {
		t.Error("nobody was asked anew")
	}
}

// TestAccountsAreShared has two credentials of one person wait together, and look at half as many repositories each.
func TestAccountsAreShared(t *testing.T) {
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		hooked(b, c)
		_, err := b.hub.AddRepo("octo/another", bitbuckettest.RepoOptions{})
		b.must(err)
		token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.WorkspaceToken, Workspace: "octo"})
		b.must(err)
		c.Credentials = []bitbucket.Credential{{Repositories: []string{"octo/shop"}, Token: token.Value}, {Repositories: []string{"octo/another"}, Token: token.Value}}
	})
	if n := b.host.LooksPerHour(); n != 40 {
		t.Errorf("%d looks", n)
	}
	other := b.repo
	other.Name, other.Installation = "octo/another", b.host.Installation("octo/another")
	if b.repo.Installation == other.Installation || b.host.Account(b.repo) != b.host.Account(other) {
		t.Errorf("%s and %s", b.host.Account(b.repo), b.host.Account(other))
	}
	b.must(b.hub.Inject(bitbuckettest.RateLimit(time.Minute)))
	b.host.Look(t.Context(), b.repo)
	before := len(b.hub.Requests())
	b.host.Look(t.Context(), other)
	if n := len(b.hub.Requests()) - before; n != 0 || len(b.host.Limited()) != 2 {
		t.Errorf("%d requests of an account that is to wait; limited: %v", n, b.host.Limited())
	}
}
