package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/cache"
)

// exchange puts an archive where a container would have left it.
func exchange(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cache.tar.zst")
	must(t, os.WriteFile(name, []byte(content), 0o666))
	return name
}

// TestKeep keeps an archive, and restores it from there.
func TestKeep(t *testing.T) {
	source := t.TempDir()
	plant(t, source, map[string]string{"m/a": "b"})
	archive, stats := pack(t, source, "m")
	now := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	s := &cache.Store{Dir: filepath.Join(t.TempDir(), "caches"), Now: func() time.Time { return now }}
	name := exchange(t, string(archive))
	m := cache.Meta{Key: "k", Version: version, Files: stats.Files, Bytes: stats.Bytes, Size: 12345, Created: now.AddDate(5, 0, 0)}
	e, err := s.Keep("github/1", cache.Default, name, m, int64(len(archive)))
	must(t, err)
	if e.Size != int64(len(archive)) || !e.Created.Equal(now) || e.Scope != cache.Default || e.Key != "k" {
		t.Errorf("kept %+v", e)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the archive is still there: %v", err)
	}
	for _, suffix := range []string{".json", ".tar.zst"} {
		info, err := os.Stat(filepath.Join(e.Dir, e.ID+suffix))
		must(t, err)
		if info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) || !info.ModTime().Equal(now) {
			t.Errorf("%s has %v of %v", suffix, info.Mode(), info.ModTime())
		}
	}
	mount, err := s.Mount("github/1", cache.Default)
	must(t, err)
	found, ok := cache.Choose(mount, version, "k", nil)
	if !ok || found.ID != e.ID || found.Meta != e.Meta {
		t.Fatalf("Choose is %+v, want %+v", found, e)
	}
	root := t.TempDir()
	_, err = cache.Restore(t.Context(), found, root, cache.RestoreOptions{Root: root})
	must(t, err)
	wantSame(t, "restored", read(t, root), map[string]string{"m/": "", "m/a": "b"})
	if got := len(read(t, e.Dir)); got != 2 {
		t.Errorf("the scope has %d files", got)
	}
	mount, err = s.MountAll("github/2")
	must(t, err)
	if _, ok := cache.Choose(mount, version, "k", nil); ok {
		t.Error("another project has it too")
	}
}

// TestKeepOnce keeps what has a key once for each scope and version, and the last of what has none.
func TestKeepOnce(t *testing.T) {
	s := &cache.Store{Dir: t.TempDir()}
	keep := func(scope, version, key, content string) error {
		_, err := s.Keep("p", scope, exchange(t, cache.Magic+content), cache.Meta{Key: key, Version: version}, 0)
		return err
	}
	other := cache.Version([]string{"x"})
	must(t, keep(cache.Default, version, "k", "first"))
	must(t, keep(otherScope, version, "k", "first"))
	must(t, keep(cache.Default, other, "k", "first"))
	err := keep(cache.Default, version, "k", "second")
	if !errors.Is(err, cache.ErrExists) || err.Error() != "there is a cache with this key already, and it is not overwritten" {
		t.Errorf("kept twice: %v", err)
	}
	for _, content := range []string{"1", "2", "3"} {
		must(t, keep(cache.Default, version, "", content))
		must(t, keep(cache.Default, other, "", content))
	}
	dir, err := s.MountAll("p")
	must(t, err)
	for key, want := range map[string]string{"k": cache.Magic + "first", "": cache.Magic + "3"} {
		e, ok := cache.Choose(dir, version, key, nil)
		content, _ := os.ReadFile(filepath.Join(e.Dir, e.ID+".tar.zst"))
		if !ok || string(content) != want {
			t.Errorf("the cache %q holds %q, want %q", key, content, want)
		}
	}
	if _, n, err := s.Size(); err != nil || n != 5 {
		t.Errorf("there are %d caches, %v", n, err)
	}
}

// TestKeepHostile takes nothing that the agent would not have left.
func TestKeepHostile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(secret, []byte(cache.Magic+"secret"), 0o600))
	const refused = "the archive of the cache was damaged by the build: "
	good := cache.Meta{Key: "k", Version: version}
	tests := []struct {
		name  string
		make  func(name string) error
		meta  cache.Meta
		scope string
		want  string
	}{
		{"a link", func(name string) error { return os.Symlink(secret, name) }, good, "", refused + "too many levels of symbolic links"},
		{"a hard link", func(name string) error { return os.Link(secret, name) }, good, "", refused + "it has another name"},
		{"a FIFO", func(name string) error { return syscall.Mkfifo(name, 0o666) }, good, "", refused + "it is no regular file"},
		{"a directory", func(name string) error { return os.Mkdir(name, 0o777) }, good, "", refused + "it is no regular file"},
		{"nothing", func(string) error { return nil }, good, "", refused + "no such file or directory"},
		{"empty", func(name string) error { return os.WriteFile(name, nil, 0o666) }, good, "", refused + "it does not begin as one"},
		{"too short", func(name string) error { return os.WriteFile(name, []byte(cache.Magic[:7]), 0o666) }, good, "", refused + "it does not begin as one"},
		{"no archive", func(name string) error { return os.WriteFile(name, []byte("#!/bin/sh\necho\n"), 0o666) }, good, "", refused + "it does not begin as one"},
		{"too large", func(name string) error { return os.WriteFile(name, []byte(cache.Magic+strings.Repeat("x", 93)), 0o666) }, good, "", "the cache has 101 bytes, packed; it may have 100"},
		{"no version", nil, cache.Meta{Key: "k"}, "", `the version of the cache's paths is ""; it has 16 hexadecimal digits`},
		{"a version that leads out", nil, cache.Meta{Key: "k", Version: "../../../../../x"}, "", `the version of the cache's paths is "../../../../../x"; it has 16 hexadecimal digits`},
		{"a key with a line feed", nil, cache.Meta{Key: "k\n", Version: version}, "", `the cache key "k\n" has characters that cannot be printed`},
		{"negative", nil, cache.Meta{Key: "k", Version: version, Files: -1}, "", "a count of the cache is negative"},
		{"a scope that leads out", nil, good, "../x", `"../x" is no scope of caches`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			top := t.TempDir()
			s := &cache.Store{Dir: filepath.Join(top, "caches")}
			name := filepath.Join(top, "archive")
			if tt.make == nil {
				tt.make = func(name string) error { return os.WriteFile(name, []byte(cache.Magic), 0o666) }
			}
			must(t, tt.make(name))
			if tt.scope == "" {
				tt.scope = otherScope
			}
			_, err := s.Keep("p", tt.scope, name, tt.meta, 100)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
			if _, n, err := s.Size(); n != 0 || err != nil {
				t.Errorf("there are %d caches, %v", n, err)
			}
		})
	}
	if content, err := os.ReadFile(secret); err != nil || string(content) != cache.Magic+"secret" {
		t.Errorf("the secret is %q, %v", content, err)
	}
}

// TestKeepElsewhere keeps an archive of another file system, and one that cannot be removed.
func TestKeepElsewhere(t *testing.T) {
	there, err := os.MkdirTemp("/dev/shm", "cache")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(there)
	s := &cache.Store{Dir: t.TempDir()}
	if err := os.Link(there, filepath.Join(s.Dir, "x")); !errors.Is(err, syscall.EXDEV) {
		t.Skipf("it is the same file system: %v", err)
	}
	name := filepath.Join(there, "archive")
	content := cache.Magic + strings.Repeat("x", 100_000)
	must(t, os.WriteFile(name, []byte(content), 0o666))
	e, err := s.Keep("p", cache.Default, name, cache.Meta{Key: "k", Version: version}, 0)
	must(t, err)
	got, err := os.ReadFile(filepath.Join(e.Dir, e.ID+".tar.zst"))
	if err != nil || string(got) != content || e.Size != int64(len(content)) {
		t.Errorf("it holds %d bytes, %v", len(got), err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the archive is still there: %v", err)
	}
	if n := len(read(t, e.Dir)); n != 2 {
		t.Errorf("the scope has %d files", n)
	}
}

// TestKeepTogether keeps one key many times at once, and rolling caches, while others sweep and choose.
func TestKeepTogether(t *testing.T) {
	s := &cache.Store{Dir: t.TempDir()}
	mount, err := s.MountAll("p")
	must(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	kept := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := s.Keep("p", cache.Default, exchange(t, fmt.Sprint(cache.Magic, i)), cache.Meta{Key: "k", Version: version}, 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				kept++
			} else if !errors.Is(err, cache.ErrExists) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := s.Keep("p", cache.Default, exchange(t, fmt.Sprint(cache.Magic, i)), cache.Meta{Version: version}, 0); err != nil {
				t.Error(err)
			}
			if _, ok := cache.Choose(mount, version, "", nil); !ok {
				t.Error("there is no rolling cache")
			}
		})
		wg.Go(func() {
			if _, err := s.Sweep(cache.Limits{Size: 1 << 30, Age: time.Hour}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, n, err := s.Size(); kept != 1 || n != 2 || err != nil {
		t.Errorf("kept %d times, %d caches, %v", kept, n, err)
	}
	if files := read(t, filepath.Join(mount, cache.Default)); len(files) != 4 {
		t.Errorf("the scope has %v", files)
	}
}

// TestKeepCrash looks at the disk as it is after each step of Keep, as if the server died there.
func TestKeepCrash(t *testing.T) {
	source := t.TempDir()
	plant(t, source, map[string]string{"m/a": "new"})
	fresh, _ := pack(t, source, "m")
	plant(t, source, map[string]string{"m/a": "old!"})
	old, _ := pack(t, source, "m")
	for _, key := range []string{"k", ""} {
		top := t.TempDir()
		s := &cache.Store{Dir: filepath.Join(top, "caches")}
		if key == "" {
			_, err := s.Keep("p", cache.Default, exchange(t, string(old)), cache.Meta{Version: version}, 0)
			must(t, err)
		}
		states := map[string]string{}
		s.At(func(step string) {
			states[step] = filepath.Join(top, step)
			must(t, os.CopyFS(states[step], os.DirFS(s.Dir)))
		})
		_, err := s.Keep("p", cache.Default, exchange(t, string(fresh)), cache.Meta{Key: key, Version: version}, 0)
		must(t, err)
		if len(states) != 3 {
			t.Fatalf("there are %d steps", len(states))
		}
		for step, dir := range states {
			s := &cache.Store{Dir: dir}
			restored := func() string {
				mount, err := s.Mount("p", cache.Default)
				must(t, err)
				e, ok := cache.Choose(mount, version, key, nil)
				if !ok {
					return ""
				}
				root := t.TempDir()
				_, err = cache.Restore(t.Context(), e, root, cache.RestoreOptions{Root: root})
				must(t, err)
				return read(t, root)["m/a"]
			}
			want := map[string]string{"k": "", "": "old!"}[key]
			if step == "described" {
				want = "new"
			}
			if got := restored(); got != want {
				t.Errorf("%q, %s: it holds %q, want %q", key, step, got, want)
			}
			_, err := s.Sweep(cache.Limits{})
			must(t, err)
			if got := restored(); got != want {
				t.Errorf("%q, %s: swept at once, it holds %q, want %q", key, step, got, want)
			}
			_, err = s.Keep("p", cache.Default, exchange(t, string(fresh)), cache.Meta{Key: key, Version: version}, 0)
			if step == "described" && key != "" {
				if !errors.Is(err, cache.ErrExists) {
					t.Errorf("%q, %s: kept again: %v", key, step, err)
				}
			} else {
				must(t, err)
			}
			if got := restored(); got != "new" {
				t.Errorf("%q, %s: kept again, it holds %q", key, step, got)
			}
			s.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
			_, err = s.Sweep(cache.Limits{})
			must(t, err)
			if got := restored(); got != "new" {
				t.Errorf("%q, %s: swept later, it holds %q", key, step, got)
			}
			mount, err := s.Mount("p", cache.Default)
			must(t, err)
			if files := read(t, mount); len(files) != 2 {
				t.Errorf("%q, %s: left are %v", key, step, files)
			}
		}
	}
}

// TestDropUse drops one cache, and notes the use of another.
func TestDropUse(t *testing.T) {
	s := &cache.Store{Dir: t.TempDir()}
	now := time.Now().Round(time.Second)
	a := put(t, s, "p", otherScope, version, "a", now.Add(-time.Hour))
	b := put(t, s, "p", otherScope, version, "b", now.Add(-time.Hour))
	s.Now = func() time.Time { return now }
	must(t, s.Drop("p", otherScope, a.ID))
	must(t, s.Drop("p", otherScope, a.ID))
	must(t, s.Use("p", otherScope, a.ID))
	must(t, s.Use("p", otherScope, b.ID))
	if _, ok := cache.Choose(a.Dir, version, "a", nil); ok {
		t.Error("the dropped one is still there")
	}
	info, err := os.Stat(filepath.Join(b.Dir, b.ID+".json"))
	if err != nil || !info.ModTime().Equal(now) {
		t.Errorf("used at %v, %v", info, err)
	}
	for _, id := range []string{"", "x", "../" + b.ID, b.ID + "/../" + b.ID, strings.Repeat("g", 32), b.ID + "-", b.ID + "-x"} {
		want := fmt.Sprintf("%q is no cache", id)
		if len(id) > 80 {
			want = fmt.Sprintf("%q is no cache", id[:80])
		}
		if err := errors.Join(s.Drop("p", otherScope, id), s.Use("p", otherScope, id)); err == nil || err.Error() != want+"\n"+want {
			t.Errorf("%q: %v", id, err)
		}
	}
	if err := s.Drop("p", "..", b.ID); err == nil || err.Error() != `".." is no scope of caches` {
		t.Error(err)
	}
	if _, ok := cache.Choose(a.Dir, version, "b", nil); !ok {
		t.Error("the other one is gone")
	}
}

// TestSweep removes what is old, then what was used longest ago.
func TestSweep(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	hours := func(n int) time.Time { return now.Add(-time.Duration(n) * time.Hour) }
	var size int64
	// Each is put in the hour of its name before now, and has the same size.
	fill := func() *cache.Store {
		s := &cache.Store{Dir: t.TempDir(), Now: func() time.Time { return now }}
		for i, at := range []int{1, 2, 3, 4} {
			put(t, s, "p", []string{cache.Default, otherScope}[i%2], version, fmt.Sprint("p", at), hours(at))
			put(t, s, "q", cache.Default, version, fmt.Sprint("q", at), hours(at).Add(-time.Minute))
		}
		s.Now = func() time.Time { return now }
		total, n, err := s.Size()
		if err != nil || n != 8 || total%8 != 0 {
			t.Fatalf("%d bytes in %d caches, %v", total, n, err)
		}
		size = total / 8
		return s
	}
	left := func(s *cache.Store) string {
		var keys []string
		for _, project := range []string{"p", "q"} {
			dir, err := s.MountAll(project)
			must(t, err)
			for i := range 5 {
				if _, ok := cache.Choose(dir, version, fmt.Sprint(project, i), nil); ok {
					keys = append(keys, fmt.Sprint(project, i))
				}
			}
		}
		return strings.Join(keys, " ")
	}
	fill()
	tests := []struct {
		name   string
		limits cache.Limits
		use    string
		want   string
	}{
		{"no limits", cache.Limits{}, "", "p1 p2 p3 p4 q1 q2 q3 q4"},
		{"age", cache.Limits{Age: 2*time.Hour + 30*time.Minute}, "", "p1 p2 q1 q2"},
		{"used lately", cache.Limits{Age: 2*time.Hour + 30*time.Minute}, "p4", "p1 p2 p4 q1 q2"},
		{"size", cache.Limits{Size: 5 * size}, "", "p1 p2 p3 q1 q2"},
		{"just the size", cache.Limits{Size: 8 * size}, "", "p1 p2 p3 p4 q1 q2 q3 q4"},
		{"one byte less", cache.Limits{Size: 8*size - 1}, "", "p1 p2 p3 p4 q1 q2 q3"},
		{"a project's size", cache.Limits{ProjectSize: 2 * size}, "", "p1 p2 q1 q2"},
		{"a project's size, used", cache.Limits{ProjectSize: 2 * size}, "p4", "p1 p4 q1 q2"},
		{"all", cache.Limits{ProjectSize: 3 * size, Size: 5*size + 1, Age: 3*time.Hour + 30*time.Second}, "", "p1 p2 p3 q1 q2"},
		{"nothing fits", cache.Limits{Size: 1}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := fill()
			if tt.use != "" {
				dir, err := s.MountAll("p")
				must(t, err)
				e, _ := cache.Choose(dir, version, tt.use, nil)
				must(t, s.Use("p", e.Scope, e.ID))
			}
			swept, err := s.Sweep(tt.limits)
			must(t, err)
			if got := left(s); got != tt.want {
				t.Errorf("left are %s, want %s", got, tt.want)
			}
			n := 8 - len(strings.Fields(tt.want))
			if swept.Entries != n || swept.Bytes != int64(n)*size || swept.Files != 0 {
				t.Errorf("swept %+v, want %d", swept, n)
			}
		})
	}
}

// TestSweepLeftovers removes what is part of no cache, when nobody can be about to make one of it.
func TestSweepLeftovers(t *testing.T) {
	s := &cache.Store{Dir: t.TempDir()}
	if swept, err := (&cache.Store{Dir: filepath.Join(s.Dir, "missing")}).Sweep(cache.Limits{}); err != nil || swept != (cache.Swept{}) {
		t.Errorf("swept what is missing: %+v, %v", swept, err)
	}
	e := put(t, s, "p", cache.Default, version, "k", time.Now())
	lost := put(t, s, "p", cache.Default, version, "lost", time.Now())
	must(t, os.Remove(filepath.Join(lost.Dir, lost.ID+".tar.zst")))
	nameless := put(t, s, "p", cache.Default, version, "nameless", time.Now())
	must(t, os.Remove(filepath.Join(lost.Dir, nameless.ID+".json")))
	empty, err := s.Mount("empty", cache.Default)
	must(t, err)
	plant(t, e.Dir, map[string]string{"x.part": "1234", lost.ID + ".json.part": "12", "y.json": "{}", "link": "->" + s.Dir})
	must(t, os.WriteFile(filepath.Join(s.Dir, "mine"), nil, 0o600))
	before := read(t, s.Dir)
	swept, err := s.Sweep(cache.Limits{Age: time.Hour})
	must(t, err)
	wantSame(t, "at once", read(t, s.Dir), before)
	if swept != (cache.Swept{}) {
		t.Errorf("swept %+v at once", swept)
	}
	s.Now = func() time.Time { return time.Now().Add(61 * time.Minute) }
	swept, err = s.Sweep(cache.Limits{})
	must(t, err)
	if swept.Files != 6 || swept.Entries != 0 || swept.Bytes == 0 {
		t.Errorf("swept %+v", swept)
	}
	if got := read(t, e.Dir); len(got) != 2 {
		t.Errorf("left are %v", got)
	}
	for _, dir := range []string{empty, filepath.Dir(empty)} {
		_, err := os.Stat(dir)
		if dir == empty && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "mine")); err != nil {
		t.Error(err)
	}
	for range 2 {
		_, err = s.Sweep(cache.Limits{Size: 1})
		must(t, err)
	}
	if n, entries, err := s.Size(); n != 0 || entries != 0 || err != nil {
		t.Errorf("left are %d bytes in %d caches, %v", n, entries, err)
	}
}

// TestSweepWhileRestoring removes caches that are being restored. Each is restored whole, or was gone before.
func TestSweepWhileRestoring(t *testing.T) {
	source := t.TempDir()
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprintf("m/%d/f", i)] = strings.Repeat("x", 1000*i)
	}
	plant(t, source, files)
	archive, stats := pack(t, source, "m")
	s := &cache.Store{Dir: t.TempDir()}
	mount, err := s.MountAll("p")
	must(t, err)
	for range 15 {
		_, err := s.Keep("p", otherScope, exchange(t, string(archive)), cache.Meta{Version: version}, 0)
		must(t, err)
		e, ok := cache.Choose(mount, version, "", nil)
		if !ok {
			t.Fatal("there is no cache")
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			root := t.TempDir()
			got, err := cache.Restore(t.Context(), e, root, cache.RestoreOptions{Root: root})
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			if err != nil || got.Files != stats.Files {
				t.Errorf("%+v, %v", got, err)
			}
		})
		wg.Go(func() {
			if _, err := s.Sweep(cache.Limits{Size: 1}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
}

// TestArchiveIsZstd is what Keep looks at.
func TestArchiveIsZstd(t *testing.T) {
	if archive := small(t); !bytes.HasPrefix(archive, []byte(cache.Magic)) {
		t.Errorf("an archive begins with %x", archive[:12])
	}
}
