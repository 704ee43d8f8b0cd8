package bitbucket_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// A bench is a fake Bitbucket Cloud and a Host that speaks to it.
type bench struct {
	*testing.T
	hub   *bitbuckettest.Server
	host  *bitbucket.Host
	repo  store.Repo
	token bitbuckettest.Token
	sha   string // of main
	log   *safeBuffer

	mu   sync.Mutex
	told []string // what Bitbucket refused
}

// A safeBuffer is written to by many.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const spec = "version: 0.2\nphases:\n  build:\n    commands: [\"true\"]\n"

// newBench makes octo/shop with a commit, and a repository access token for it; what is different may be set.
func newBench(t *testing.T, change func(b *bench, c *bitbucket.Config)) *bench {
	t.Helper()
	b := &bench{T: t, hub: bitbuckettest.New(t, bitbuckettest.Options{}), log: &safeBuffer{}}
	made, err := b.hub.AddRepo("octo/shop", bitbuckettest.RepoOptions{Private: true})
	b.must(err)
	b.sha = b.commit("octo/shop", "main", "Begin\n\nbody", map[string]string{"buildspec.yml": spec, "dir/file": "x"})
	b.token, err = b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: "octo/shop"})
	b.must(err)
	c := bitbucket.Config{Name: "bitbucket", Web: b.hub.URL(), API: b.hub.URL() + "/2.0", Page: "https://ci.example.org/builds/",
		Credentials: []bitbucket.Credential{{Repositories: []string{"octo/shop"}, Token: b.token.Value}},
		Log:         slog.New(slog.NewTextHandler(b.log, nil)),
		Refused: func(_ int64, text string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, text)
		}}
	if change != nil {
		change(b, &c)
	}
	b.host, err = bitbucket.New(c)
	b.must(err)
	b.repo = store.Repo{Forge: "bitbucket", Host: strings.TrimPrefix(b.hub.URL(), "http://"), ID: made.UUID, Name: "octo/shop", Installation: b.host.Installation("octo/shop")}
	// Nobody but Bitbucket may see a token.
	t.Cleanup(func() {
		for _, token := range b.hub.Tokens() {
			if strings.Contains(b.log.String(), token.Value) || strings.Contains(strings.Join(b.refusals(), " "), token.Value) {
				t.Errorf("a token in what was logged or told")
			}
			for _, r := range b.hub.Requests() {
				if strings.Contains(r.Path, token.Value) || strings.Contains(r.Body, token.Value) {
					t.Errorf("a token in %s %s", r.Method, r.Path)
				}
			}
		}
	})
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) refusals() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.told)
}

func (b *bench) commit(repo, branch, message string, files map[string]string) string {
	b.Helper()
	sha, err := b.hub.Commit(repo, branch, bitbuckettest.Change{Message: message, Files: files})
	b.must(err)
	return sha
}

// fork makes a public fork of octo/shop.
func (b *bench) fork() string {
	b.Helper()
	fork, err := b.hub.AddFork("octo/shop", "stranger")
	b.must(err)
	_, err = b.hub.SetVisibility(fork, false)
	b.must(err)
	return fork
}

// withScopes gives the Host another token, with some scopes.
func withScopes(scopes ...string) func(*bench, *bitbucket.Config) {
	return func(b *bench, c *bitbucket.Config) {
		token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: "octo/shop", Scopes: scopes})
		b.must(err)
		c.Credentials[0].Token = token.Value
	}
}
