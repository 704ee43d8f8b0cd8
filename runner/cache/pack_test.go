package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"buildsmith/runner/cache"
)

// TestPatterns packs what the forms of patterns mean, and restores it.
func TestPatterns(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	root := filepath.Join(top, "src")
	plant(t, root, map[string]string{
		"a/f": "1", "a/sub/g": "2", "a/empty/": "", "p/x/node_modules/m/f": "3", "p/y/node_modules/n": "4", "p/y/node_modules/none/": "", "p/z/src": "5",
		"away": "->../home", "inside": "->a", "p/w/node_modules": "->../../a", "file": "6",
	})
	plant(t, top, map[string]string{"home/.m2/r/jar": "7", "home/none/": "", "secret/s": "8"})
	tests := []struct {
		patterns []string
		src, abs string // the names, without the directories on the way
	}{
		{[]string{"a/*"}, "a/ a/f", ""},
		{[]string{"a"}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"a/"}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"./a//."}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"a/**"}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"a/**/*"}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"a/sub/../**/**/*"}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"a/**/g"}, "a/ a/sub/ a/sub/g", ""},
		{[]string{"file"}, "file", ""},
		{[]string{"file/"}, "file", ""},
		{[]string{"p/*/node_modules"}, "p/ p/w/ p/w/node_modules p/x/ p/x/node_modules/ p/x/node_modules/m/ p/x/node_modules/m/f p/y/ p/y/node_modules/ p/y/node_modules/n p/y/node_modules/none/", ""},
		{[]string{"**/node_modules/**/*"}, "p/ p/x/ p/x/node_modules/ p/x/node_modules/m/ p/x/node_modules/m/f p/y/ p/y/node_modules/ p/y/node_modules/n p/y/node_modules/none/", ""},
		{[]string{"inside"}, "a/ a/empty/ a/f a/sub/ a/sub/g inside", ""},
		{[]string{"inside/*"}, "a/ a/f", ""},
		{[]string{"away/**/*"}, "", "home/ home/.m2/ home/.m2/r/ home/.m2/r/jar home/none/"},
		{[]string{"../home/.m2"}, "", "home/ home/.m2/ home/.m2/r/ home/.m2/r/jar"},
		{[]string{top + "/home/.m2/"}, "", "home/ home/.m2/ home/.m2/r/ home/.m2/r/jar"},
		{[]string{top + "/src/a/**/*"}, "a/ a/empty/ a/f a/sub/ a/sub/g", ""},
		{[]string{"../src/file", "file", root + "/file"}, "file", ""},
		{[]string{top + "/*/file"}, "file", ""},
		{[]string{top + "/**/s", top + "/**/jar"}, "", "home/ home/.m2/ home/.m2/r/ home/.m2/r/jar"},
		{[]string{"*", "missing"}, "away file inside", ""},
		{[]string{".."}, "a/ a/empty/ a/f a/sub/ a/sub/g away file inside p/ p/w/ p/w/node_modules p/x/ p/x/node_modules/ p/x/node_modules/m/ p/x/node_modules/m/f p/y/ p/y/node_modules/ p/y/node_modules/n p/y/node_modules/none/ p/z/ p/z/src",
			"home/ home/.m2/ home/.m2/r/ home/.m2/r/jar home/none/"},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(strings.Join(tt.patterns, " "), top, ""), func(t *testing.T) {
			var out bytes.Buffer
			_, err := cache.Pack(t.Context(), &out, root, tt.patterns, cache.PackOptions{Except: []string{top + "/secret", top + "/nowhere"}})
			must(t, err)
			newRoot, newAbs := t.TempDir(), t.TempDir()
			_, err = unpack(t, out.Bytes(), newRoot, newAbs)
			must(t, err)
			names := func(dir string) string {
				var names []string
				if _, err := os.Stat(dir); err == nil {
					for name := range read(t, dir) {
						names = append(names, name)
					}
				}
				slices.Sort(names)
				return strings.Join(names, " ")
			}
			if got := names(newRoot); got != tt.src {
				t.Errorf("below the source directory:\n%s\nwant\n%s", got, tt.src)
			}
			if got := names(filepath.Join(newAbs, top)); got != tt.abs {
				t.Errorf("elsewhere:\n%s\nwant\n%s", got, tt.abs)
			}
		})
	}
}

// TestPackErrors reads what errors and notes say.
func TestPackErrors(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"m/a": "12345", "m/b": "67890"})
	must(t, os.Link(filepath.Join(root, "m/a"), filepath.Join(root, "m/a2")))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name     string
		ctx      context.Context
		root     string
		w        io.Writer
		patterns []string
		o        cache.PackOptions
		want     string
		notes    []string
		kind     error
	}{
		{name: "a wrong pattern", patterns: []string{"m", "[a"}, want: `cache.paths: pattern "[a": the class in "[a" is not closed; write \[ for a plain bracket`},
		{name: "an empty pattern", patterns: []string{" "}, want: "cache.paths: the pattern is empty"},
		{name: "nothing", patterns: []string{"x/**/*", "y"}, want: "cache.paths: nothing there to save", kind: cache.ErrNothing, notes: []string{"cache.paths: x/**/* adds nothing", "cache.paths: y adds nothing"}},
		{name: "no patterns", want: "cache.paths: nothing there to save", kind: cache.ErrNothing},
		{name: "too large", patterns: []string{"m"}, o: cache.PackOptions{Limit: 9}, want: "cache.paths: they match more than 9 bytes, which is the limit"},
		{name: "just the size", patterns: []string{"m"}, o: cache.PackOptions{Limit: 10, Entries: 4}},
		{name: "too many", patterns: []string{"m"}, o: cache.PackOptions{Entries: 3}, want: "cache.paths: they match more than 3 files and directories, which is the limit"},
		{name: "never saved", patterns: []string{"/proc/self/status", "/dev", "/sys/**/*", "m/a"}, notes: []string{"cache.paths: /proc/self/status adds nothing", "Skipping /dev: it is never saved",
			"cache.paths: /dev adds nothing", "Skipping /sys: it is never saved", "cache.paths: /sys/**/* adds nothing"}},
		{name: "no root", root: root + "/x", patterns: []string{"m"}, want: "looking for what to save: lstat " + root + "/x: no such file or directory"},
		{name: "no room", w: full{}, patterns: []string{"m"}, want: "writing the cache: no space left on device", kind: syscall.ENOSPC},
		{name: "cancelled", ctx: cancelled, patterns: []string{"m"}, want: "context canceled", kind: context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			if tt.root == "" {
				tt.root = root
			}
			if tt.w == nil {
				tt.w = io.Discard
			}
			var notes []string
			tt.o.Logf = func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
			_, err := cache.Pack(tt.ctx, tt.w, tt.root, tt.patterns, tt.o)
			if got := fmt.Sprint(err); tt.want != "" && got != tt.want || tt.want == "" && err != nil || tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
			if !slices.Equal(notes, tt.notes) {
				t.Errorf("notes are %q, want %q", notes, tt.notes)
			}
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// A meanwhile does something when the first bytes are written.
type meanwhile struct {
	bytes.Buffer
	do func()
}

func (m *meanwhile) Write(b []byte) (int, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return m.Buffer.Write(b)
}

// TestPackWhileChanging changes the files while they are packed. What is whole comes back.
func TestPackWhileChanging(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"m/z/gone": "1", "m/z/hard": "2", "m/z/link": "3", "m/z/fifo": "4", "m/z/grown": "5", "m/z/dir": "6", "m/z/last": "7", "m/z/more": "8"})
	must(t, os.Link(filepath.Join(root, "m/z/hard"), filepath.Join(root, "m/z/hard2")))
	// So much comes before them that none of them is read yet.
	plant(t, root, map[string]string{"m/large": "begin", "m/zlarge": ""})
	must(t, os.Truncate(filepath.Join(root, "m/large"), 40<<20))
	must(t, os.Truncate(filepath.Join(root, "m/zlarge"), 2<<20))
	for i := range 40 {
		name := fmt.Sprintf("m/p%d", i)
		plant(t, root, map[string]string{name: ""})
		must(t, os.Truncate(filepath.Join(root, name), cache.LargeFile-1))
	}
	at := func(name string) string { return filepath.Join(root, "m", name) }
	var notes []string
	out := meanwhile{do: func() {
		must(t, errors.Join(os.Truncate(at("large"), 100), os.Remove(at("zlarge")), os.Remove(at("z/gone")), os.Remove(at("z/hard")), os.Remove(at("z/link")), os.Symlink("last", at("z/link")),
			os.Remove(at("z/fifo")), syscall.Mkfifo(at("z/fifo"), 0o600), os.Truncate(at("z/grown"), 10<<20), os.Remove(at("z/dir")), os.Mkdir(at("z/dir"), 0o700), os.WriteFile(at("z/more"), []byte("more"), 0o600)))
	}}
	packed, err := cache.Pack(t.Context(), &out, root, []string{"m"}, cache.PackOptions{
		Logf: func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }})
	must(t, err)
	slices.Sort(notes)
	want := []string{
		"Skipping " + at("z/dir") + ": it changed while it was saved",
		"Skipping " + at("z/fifo") + ": it changed while it was saved",
		"Skipping " + at("z/gone") + ": no such file or directory",
		"Skipping " + at("z/grown") + ": it changed while it was saved",
		"Skipping " + at("z/hard") + ": no such file or directory",
		"Skipping " + at("z/link") + ": too many levels of symbolic links",
		"Skipping " + at("zlarge") + ": no such file or directory",
		at("large") + " became shorter while it was read; its end is filled with zeros",
	}
	slices.Sort(want)
	if !slices.Equal(notes, want) {
		t.Errorf("notes are %q,\nwant %q", notes, want)
	}
	got := t.TempDir()
	restored, err := unpack(t, out.Bytes(), got, got)
	if err != nil || restored.Files != packed.Files || packed.Files != 43 {
		t.Fatalf("packed %+v, restored %+v, %v", packed, restored, err)
	}
	files := read(t, got)
	if large := files["m/large"]; len(large) != 40<<20 || !strings.HasPrefix(large, "begin\x00") {
		t.Errorf("the large file has %d bytes", len(large))
	}
	if files["m/z/last"] != "7" || files["m/z/more"] != "more" {
		t.Errorf("others are %q and %q", files["m/z/last"], files["m/z/more"])
	}

	// The limit holds for what files have become.
	must(t, os.Truncate(at("z/last"), cache.LargeFile))
	out = meanwhile{do: func() { must(t, os.Truncate(at("z/last"), 1<<30)) }}
	_, err = cache.Pack(t.Context(), &out, root, []string{"m/p*", "m/z/last"}, cache.PackOptions{Limit: 50 << 20})
	if want := "cache.paths: they match more than 52428800 bytes, which is the limit"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// TestCancelPack cancels in the middle, and when the other end is gone. Nothing stays behind that holds a file.
func TestCancelPack(t *testing.T) {
	root := t.TempDir()
	plant(t, root, map[string]string{"m/large": ""})
	must(t, os.Truncate(filepath.Join(root, "m/large"), 100<<20))
	before := descriptors(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := cache.Pack(ctx, &meanwhile{do: cancel}, root, []string{"m"}, cache.PackOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := cache.Pack(t.Context(), full{}, root, []string{"m"}, cache.PackOptions{}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors are open, before there were %d", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(files)
}

// TestManyNames packs a file with more names than there is room for in a frame.
func TestManyNames(t *testing.T) {
	root := t.TempDir()
	name := strings.Repeat("x", 200)
	plant(t, root, map[string]string{"m/first": "text"})
	for i := range 6000 {
		must(t, os.Link(filepath.Join(root, "m/first"), filepath.Join(root, "m", fmt.Sprint(name, i))))
	}
	archive, packed := pack(t, root, "m")
	got := t.TempDir()
	restored, err := unpack(t, archive, got, got)
	if err != nil || restored.Files != 6001 || packed.Files != 6001 || packed.Bytes != 4 {
		t.Errorf("packed %+v, restored %+v, %v", packed, restored, err)
	}
	if !sameFile(t, filepath.Join(got, "m/first"), filepath.Join(got, "m", name+"5999")) {
		t.Error("they are not one file")
	}
}

// TestNotes logs no more than some lines.
func TestNotes(t *testing.T) {
	root := t.TempDir()
	for i := range 50 {
		must(t, syscall.Mkfifo(filepath.Join(root, fmt.Sprintf("f%02d", i)), 0o600))
	}
	plant(t, root, map[string]string{"file": ""})
	var notes []string
	_, err := cache.Pack(t.Context(), io.Discard, root, []string{"."}, cache.PackOptions{Logf: func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }})
	must(t, err)
	if len(notes) != cache.MaxNotes+1 || notes[cache.MaxNotes] != "30 more were passed over" {
		t.Errorf("notes are %q", notes)
	}
}
