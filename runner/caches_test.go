package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/cache"
	"buildsmith/store"
)

// TestWhoReadsWhoseCache builds what may and may not see what other builds saved: the default branch, another branch, a pull
// request of the repository itself, another repository's commit.
func TestWhoReadsWhoseCache(t *testing.T) {
	b := newBench(t, nil)
	b.config.Caches, b.config.CacheLimits = filepath.Join(t.TempDir(), "caches"), cache.Limits{Size: 1 << 20}
	b.start()
	spec := func(key string) string {
		return fmt.Sprintf("version: 0.2\nphases: {build: {commands: ['cat kept 2>/dev/null || echo nothing', 'echo \"$CODEBUILD_BUILD_NUMBER\" > kept']}}\ncache: {key: '%s', paths: [kept]}\n", key)
	}
	build := func(key, ref string, change func(*store.Build)) store.Build {
		t.Helper()
		return b.done(b.submitTo(store.Repo{Forge: "local", Host: "ci.example.org", ID: "shop", Name: "shop", DefaultBranch: "main"}, func(x *store.Build) {
			x.Trigger.HeadRef, x.Settings.Buildspec = ref, spec(key)
			if change != nil {
				change(x)
			}
		}).ID)
	}
	read := func(x store.Build) string {
		return strings.TrimSpace(b.printed(x.ID))
	}
	fork := func(x *store.Build) { x.Trigger.Fork, x.Trigger.PullRequest = true, 7 }
	allowed := func(x *store.Build) { fork(x); x.Settings.Cache = store.CacheForks }
	for _, tt := range []struct {
		name, key, ref string
		change         func(*store.Build)
		want           string // what it reads: the number of the build that saved it, or nothing
	}{
		{"a branch saves", "k", "refs/heads/feature", nil, "nothing"},
		{"the default branch does not see it", "k", "refs/heads/main", nil, "nothing"},
		{"the default branch sees its own", "k", "refs/heads/main", nil, "2"},
		{"a branch sees the default branch's first", "k", "refs/heads/other", nil, "2"},
		{"a pull request of the same name is no build of the branch", "p", "refs/heads/main", func(x *store.Build) { x.Trigger.PullRequest = 3 }, "nothing"},
		{"so the default branch does not see it", "p", "refs/heads/main", nil, "nothing"},
		{"a fork sees nothing", "k", "refs/heads/main", fork, "nothing"},
		{"a fork that is allowed to", "k", "refs/heads/main", allowed, "2"},
		{"it saves nothing", "f", "refs/heads/x", allowed, "nothing"},
		{"so nobody finds it", "f", "refs/heads/x", nil, "nothing"},
		{"another branch does not find what this one saved", "f", "refs/heads/y", nil, "nothing"},
		{"nor does a tag", "f", "refs/tags/x", nil, "nothing"},
		{"the branch itself does", "f", "refs/heads/x", nil, "10"},
		{"nor does it find what a branch saved", "f", "refs/heads/x", allowed, "nothing"},
		{"a project without caches", "k", "refs/heads/main", func(x *store.Build) { x.Settings.Cache = store.CacheOff }, "nothing"},
		{"without a key the last counts", "", "refs/heads/main", nil, "nothing"},
		{"each replaces it", "", "refs/heads/main", nil, "16"},
		{"and again", "", "refs/heads/main", nil, "17"},
	} {
		x := build(tt.key, tt.ref, tt.change)
		if got := read(x); got != tt.want || x.Status != store.Succeeded {
			t.Errorf("%s: read %q, want %q; %s\n%s", tt.name, got, tt.want, x.Status, b.log(x.ID))
		}
	}
	if x := build("k", "refs/heads/main", nil); !strings.Contains(b.log(x.ID), "Cache: there is one of the key k already") {
		t.Error(b.log(x.ID))
	}
	// A damaged one is a warning, and is gone: the next build saves another.
	archives, err := filepath.Glob(filepath.Join(b.config.Caches, "*", "default", "*.tar.zst"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("%q %v", archives, err)
	}
	for _, name := range archives {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := len(text) / 2; i < len(text)/2+8; i++ {
			text[i] ^= 0xff
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if x := build("k", "refs/heads/feature", nil); x.Status != store.Succeeded || !strings.Contains(b.log(x.ID), "Unable to download cache: the cache is damaged") {
		t.Errorf("%s\n%s", x.Status, b.log(x.ID)) // a branch may not remove what the default branch saved
	}
	if x := build("k", "refs/heads/main", nil); !strings.Contains(b.log(x.ID), "Unable to download cache: the cache is damaged") || !strings.Contains(b.log(x.ID), "Cache: saved k") {
		t.Error(b.log(x.ID))
	}
	if x := build("k", "refs/heads/main", nil); read(x) != "21" {
		t.Errorf("read %q\n%s", read(x), b.log(x.ID))
	}
}

// TestFullDiskTakesCaches has a disk that is nearly full: what caches hold goes, until builds can begin or nothing is left.
func TestFullDiskTakesCaches(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Options{Reserve: 1 << 60})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := newBench(t, nil)
	b.store, b.config.Store = s, s
	b.config.Caches = filepath.Join(t.TempDir(), "caches")
	kept := &cache.Store{Dir: b.config.Caches}
	if err := os.MkdirAll(b.config.Caches, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		name := filepath.Join(t.TempDir(), "archive")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		source := t.TempDir()
		if err := os.WriteFile(filepath.Join(source, "x"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := cache.Pack(t.Context(), f, source, []string{"x"}, cache.PackOptions{}); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := kept.Keep("shop", cache.Default, name, cache.Meta{Key: fmt.Sprint("k", i), Version: cache.Version([]string{"x"})}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, n, err := kept.Size(); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [echo]}}\n")
	b.submit(nil)
	b.start()
	for end := time.Now().Add(50 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, n, err := kept.Size()
		if err != nil || time.Now().After(end) {
			t.Fatalf("%d caches are left, %v", n, err)
		}
		if n == 0 {
			return
		}
	}
}
