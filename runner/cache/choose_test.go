package cache_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/cache"
)

var version = cache.Version([]string{"node_modules/**/*"})

// otherScope is one of another branch.
var otherScope = cache.ScopeOf("refs/heads/other")

func TestVersion(t *testing.T) {
	a := cache.Version([]string{"a", "b"})
	if b := cache.Version([]string{"b", "a", "b"}); a != b {
		t.Errorf("the order of the paths gives %s and %s", a, b)
	}
	if len(a) != 16 {
		t.Errorf("the version is %q", a)
	}
	for _, other := range [][]string{nil, {"a"}, {"a b"}, {"a", "b", "c"}, {"a\nb"}, {`a","b`}} {
		if cache.Version(other) == a {
			t.Errorf("%q has the version of a and b", other)
		}
	}
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"", "go-1.26 linux", "grün", strings.Repeat("x", 512)} {
		if err := cache.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q): %v", key, err)
		}
	}
	for key, want := range map[string]string{
		strings.Repeat("x", 513): "the cache key has 513 bytes; it may have 512",
		"a\nb":                   `the cache key "a\nb" has characters that cannot be printed`,
		"a\xff":                  `the cache key "a\xff" has characters that cannot be printed`,
		" a":                     `the cache key " a" begins or ends with a space`,
	} {
		if err := cache.CheckKey(key); err == nil || err.Error() != want {
			t.Errorf("CheckKey(%q) = %v, want %s", key, err, want)
		}
	}
}

// put keeps a cache in a store, as if at a time.
func put(t testing.TB, s *cache.Store, project, scope, version, key string, at time.Time) cache.Entry {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "archive")
	must(t, os.WriteFile(archive, []byte(cache.Magic+key), 0o644))
	now := s.Now
	s.Now = func() time.Time { return at }
	defer func() { s.Now = now }()
	e, err := s.Keep(project, scope, archive, cache.Meta{Key: key, Version: version, Files: 1, Bytes: 2}, 0)
	must(t, err)
	return e
}

// TestChoose looks at a project's caches as a sandbox sees them.
func TestChoose(t *testing.T) {
	s := &cache.Store{Dir: t.TempDir()}
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	other := cache.Version([]string{"other"})
	for i, e := range []struct{ scope, version, key string }{
		{cache.Default, version, "npm-1"}, // the first day
		{cache.Default, version, "npm-2"},
		{cache.Default, version, "both"},
		{cache.Default, version, "go-old"},
		{cache.Default, version, ""},
		{cache.Default, other, "npm-9"},
		{otherScope, version, "npm-3"}, // the seventh day
		{otherScope, version, "both"},
		{otherScope, version, "feature"},
		{otherScope, other, ""},
		{cache.Default, version, "go-new"},
		{cache.Default, version, "zz-npm"},
	} {
		put(t, s, "p", e.scope, e.version, e.key, day.AddDate(0, 0, i))
	}
	all, err := s.MountAll("p")
	must(t, err)
	one, err := s.Mount("p", cache.Default)
	must(t, err)
	// What is no cache is passed over.
	plant(t, all, map[string]string{"default/" + strings.Repeat("a", 32) + ".json": "{", "default/x.json": "{}", "other/.json/": "", "file": "", "default/" + strings.Repeat("b", 32) + ".tar.zst": ""})
	tests := []struct {
		name, key  string
		fallback   []string
		wantAll    string // scope/key of what is chosen among all
		wantOne    string // in the default scope alone
		notVersion bool
	}{
		{name: "exact", key: "npm-1", wantAll: "default/npm-1", wantOne: "/npm-1"},
		{name: "exact before newer", key: "npm-1", fallback: []string{"npm-"}, wantAll: "default/npm-1", wantOne: "/npm-1"},
		{name: "default first", key: "both", wantAll: "default/both", wantOne: "/both"},
		{name: "another branch", key: "feature", wantAll: otherScope + "/feature"},
		{name: "the newest of a prefix", key: "npm-7", fallback: []string{"npm-"}, wantAll: otherScope + "/npm-3", wantOne: "/npm-2"},
		{name: "the key is no prefix", key: "npm-", wantAll: ""},
		{name: "the first prefix that any has", key: "x", fallback: []string{"rust-", "go-", "npm-"}, wantAll: "default/go-new", wantOne: "/go-new"},
		{name: "a fallback may be the whole key", key: "x", fallback: []string{"go-old"}, wantAll: "default/go-old", wantOne: "/go-old"},
		{name: "an empty fallback", key: "x", fallback: []string{""}},
		{name: "nothing", key: "x", fallback: []string{"y"}},
		{name: "rolling", wantAll: "default/", wantOne: "/"},
		{name: "rolling has no fallback", fallback: []string{"npm-"}, wantAll: "default/", wantOne: "/"},
		{name: "other paths", key: "npm-1", fallback: []string{"npm-"}, notVersion: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := version
			if tt.notVersion {
				v = cache.Version([]string{"nobody"})
			}
			for dir, want := range map[string]string{all: tt.wantAll, one: tt.wantOne} {
				e, found := cache.Choose(dir, v, tt.key, tt.fallback)
				got := ""
				if found {
					got = e.Scope + "/" + e.Key
				}
				if got != want {
					t.Errorf("Choose(%s) is %q, want %q", dir, got, want)
				}
				if found && (e.Files != 1 || e.Bytes != 2 || e.Size <= 0 || e.Version != v) {
					t.Errorf("the entry is %+v", e)
				}
			}
		})
	}
	if e, found := cache.Choose(filepath.Join(all, "missing"), version, "both", nil); found {
		t.Errorf("Choose of a missing directory is %+v", e)
	}
}

// TestChooseMalformed passes over entries that are not whole.
func TestChooseMalformed(t *testing.T) {
	s := &cache.Store{Dir: t.TempDir()}
	e := put(t, s, "p", cache.Default, version, "k", time.Now())
	meta := filepath.Join(e.Dir, e.ID+".json")
	good, err := os.ReadFile(meta)
	must(t, err)
	choose := func() bool {
		_, found := cache.Choose(e.Dir, version, "k", []string{"k"})
		return found
	}
	if !choose() {
		t.Fatal("it is not found")
	}
	changed := func(f func(*cache.Meta)) string {
		var m cache.Meta
		must(t, json.Unmarshal(good, &m))
		f(&m)
		text, err := json.Marshal(m)
		must(t, err)
		return string(text)
	}
	for what, text := range map[string]string{
		"empty": "", "half": string(good[:len(good)/2]), "null": "null", "a number": "1", "too long": strings.Repeat(" ", 20<<10) + string(good),
		"another size": changed(func(m *cache.Meta) { m.Size++ }), "a negative size": changed(func(m *cache.Meta) { m.Size = -1 }),
		"a key with a line feed": changed(func(m *cache.Meta) { m.Key = "k\n" }), "no version": changed(func(m *cache.Meta) { m.Version = "" }),
	} {
		must(t, os.WriteFile(meta, []byte(text), 0o600))
		if choose() {
			t.Errorf("%s: it is found", what)
		}
	}
	must(t, os.Remove(meta))
	must(t, syscall.Mkfifo(meta, 0o600))
	if choose() {
		t.Error("a FIFO: it is found")
	}
	must(t, os.Remove(meta))
	must(t, os.WriteFile(meta+"x", good, 0o600))
	must(t, os.Symlink(meta+"x", meta))
	if choose() {
		t.Error("a link: it is found")
	}
	must(t, os.Rename(meta+"x", meta))
	if !choose() {
		t.Fatal("it is not found again")
	}
	must(t, os.Remove(filepath.Join(e.Dir, e.ID+".tar.zst")))
	if choose() {
		t.Error("no archive: it is found")
	}
}

// TestHashFiles hashes what patterns match.
func TestHashFiles(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"a/go.sum": "1", "b/go.sum": "2", "c": "3", "link": "->c", "broken": "->nowhere", "dir": "->a", "loop": "->loop"})
	must(t, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	hash := func(want int, patterns ...string) string {
		t.Helper()
		sum, n, err := cache.HashFiles(root, patterns)
		if err != nil || n != want || len(sum) != 64 {
			t.Fatalf("HashFiles(%q) = %s, %d, %v, want %d files", patterns, sum, n, err, want)
		}
		return sum
	}
	one := hash(2, "**/go.sum")
	for _, same := range [][]string{{"b/go.sum", "a/go.sum"}, {"**/go.sum", "a/*"}, {filepath.Join(root, "?/go.sum")}, {"./a//go.sum", "b/../b/go.sum", "nothing"}} {
		if hash(2, same...) != one {
			t.Errorf("%q gives another hash", same)
		}
	}
	if got, want := hash(0, "nothing", "dir", "fifo", "broken", "loop"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("the hash of nothing is %s, want %s", got, want)
	}
	// printf 3 | sha256sum | cut -c1-64 | xxd -r -p | sha256sum
	if got, want := hash(1, "c"), "80903da4e6bbdf96e8ff6fc3966b0cfd355c7e860bdd1caa8e4722d9230e40ac"; got != want {
		t.Errorf("the hash of a file is %s, want %s", got, want)
	}
	if hash(1, "link") != hash(1, "c") {
		t.Error("a link has another hash than its file")
	}
	must(t, os.WriteFile(filepath.Join(root, "b/go.sum"), []byte("12"), 0o600))
	if hash(2, "**/go.sum") == one {
		t.Error("another content gives the same hash")
	}
	plant(t, root, map[string]string{"x/1": "ab", "x/2": "c", "y/1": "a", "y/2": "bc"})
	if hash(2, "x/*") == hash(2, "y/*") {
		t.Error("where a file ends does not matter")
	}
	if _, _, err := cache.HashFiles(root, []string{"a", "[a"}); err == nil || err.Error() != `pattern "[a": the class in "[a" is not closed; write \[ for a plain bracket` {
		t.Errorf("a wrong pattern: %v", err)
	}
	if _, _, err := cache.HashFiles(root, []string{"go.sum/**", strings.Repeat("x", 300)}); err != nil {
		t.Errorf("a long name: %v", err)
	}
}
