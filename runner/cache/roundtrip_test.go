package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"buildsmith/runner/cache"
	"buildsmith/runner/glob"
)

// TestRoundTrip saves and restores every kind of file, below the source directory and elsewhere.
func TestRoundTrip(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, home := filepath.Join(top, "src"), filepath.Join(top, "home")
	large := strings.Repeat("0123456789abcdef", cache.ChunkSize/16*2+1000)
	plant(t, root, map[string]string{
		"m/file": "text", "m/none": "", "m/a/b/c/d/e/deep": "deep", "m/empty/": "", "m/very/empty/": "",
		"m/large": large, "m/exactly": large[:cache.ChunkSize], "m/just": large[:cache.LargeFile], "m/below": large[:cache.LargeFile-1],
		"m/link": "->file", "m/up": "->../../../outside", "m/broken": "->/no/where", "m/dir": "->a",
		"m/.dot/.file": "dots", "m/new\nline": "1", "m/\xff\xfe": "2", "m/grüße": "3", "m/ ": "4", "m/-rf": "5", "m/*": "6", "m/a\\b": "7",
		"m/" + strings.Repeat("n", 255):                                     "long name",
		"m/" + strings.Repeat(strings.Repeat("d", 200)+"/", 9) + "file":     "long path",
		"m/" + strings.Repeat("l", 120):                                     "->" + strings.Repeat("t/", 500),
		"m/" + strings.Repeat(strings.Repeat("e", 100)+"/", 3) + "nothing/": "",
		"other": "not saved",
	})
	plant(t, home, map[string]string{".m2/repository/x.jar": "jar", ".m2/empty/": ""})
	must(t, os.Link(filepath.Join(root, "m/file"), filepath.Join(root, "m/a/file2")))
	must(t, os.Link(filepath.Join(root, "m/file"), filepath.Join(home, ".m2/file3")))
	must(t, os.Link(filepath.Join(root, "m/large"), filepath.Join(root, "m/zlarge")))
	for i, mode := range []uint32{0o600, 0o755, 0o4711, 0o2755, 0o444, 0o000, 0o1777} {
		path := filepath.Join(root, "m", fmt.Sprintf("mode%d", i))
		if mode == 0 && os.Geteuid() != 0 {
			continue // nobody else could read it
		}
		must(t, os.WriteFile(path, []byte(path), 0o600))
		must(t, syscall.Chmod(path, mode))
		if os.Geteuid() == 0 && i < 5 {
			must(t, os.Lchown(path, 1000+i, 3_000_000+i))
			must(t, syscall.Chmod(path, mode))
		}
	}
	must(t, syscall.Chmod(filepath.Join(root, "m/a"), 0o3750))
	must(t, syscall.Chmod(filepath.Join(root, "m/very"), 0o711))
	must(t, syscall.Chmod(filepath.Join(root, "m/empty"), 0o500))
	must(t, syscall.Mkfifo(filepath.Join(root, "m/fifo"), 0o600))
	r := rand.New(rand.NewPCG(3, 4))
	dates(t, r, root)
	dates(t, r, home)
	before := time.Unix(-12345, 678)
	must(t, os.Chtimes(filepath.Join(root, "m/none"), before, before))
	wantSrc := without(snapshot(t, filepath.Join(root, "m")), "fifo")
	wantHome := snapshot(t, filepath.Join(home, ".m2"))

	var notes []string
	var out bytes.Buffer
	packed, err := cache.Pack(t.Context(), &out, root, []string{"m/**/*", filepath.Join(home, ".m2") + "/"}, cache.PackOptions{
		Logf: func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }})
	must(t, err)
	if want := []string{"Skipping " + root + "/m/fifo: it is no file, directory or link"}; !slices.Equal(notes, want) {
		t.Errorf("notes are %q, want %q", notes, want)
	}

	// The same files make the same archive.
	var second bytes.Buffer
	if _, err := cache.Pack(t.Context(), &second, root, []string{home + "/.m2", "m", "m/a/**/*", "m/file"}, cache.PackOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), second.Bytes()) {
		t.Error("another archive of the same files differs")
	}

	// What comes out lies elsewhere.
	newRoot, newAbs := filepath.Join(t.TempDir(), "new"), filepath.Join(t.TempDir(), "abs")
	plant(t, newRoot, map[string]string{"other": "new"})
	must(t, os.Mkdir(newAbs, 0o755))
	e := entry(t, out.Bytes())
	restored, err := cache.Restore(t.Context(), e, newRoot, cache.RestoreOptions{Root: newAbs, Logf: t.Errorf})
	must(t, err)
	gotSrc, gotHome := snapshot(t, filepath.Join(newRoot, "m")), snapshot(t, filepath.Join(newAbs, home, ".m2"))
	wantSame(t, "below the source directory", gotSrc, wantSrc)
	wantSame(t, "elsewhere", gotHome, wantHome)
	if !sameFile(t, filepath.Join(newRoot, "m/file"), filepath.Join(newAbs, home, ".m2/file3")) {
		t.Error("a hard link between the source directory and elsewhere is lost")
	}
	if packed.Files != restored.Files || packed.Bytes != restored.Bytes || restored.Packed != e.Size || restored.Kept != 0 || restored.Took <= 0 {
		t.Errorf("packed %+v, restored %+v", packed, restored)
	}
	if got := read(t, newRoot); got["other"] != "new" {
		t.Errorf("other is %q", got["other"])
	}

	// Restoring again keeps everything.
	before2 := snapshot(t, newRoot)
	again, err := cache.Restore(t.Context(), e, newRoot, cache.RestoreOptions{Root: newAbs, Logf: t.Errorf})
	must(t, err)
	if again.Files != 0 || again.Kept != restored.Files {
		t.Errorf("restored again: %+v", again)
	}
	wantSame(t, "restored again", snapshot(t, newRoot), before2)
}

// TestTar reads an archive with the programs that everyone has.
func TestTar(t *testing.T) {
	for _, program := range []string{"tar", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	root := t.TempDir()
	plant(t, root, map[string]string{"m/a/file": "text", "m/large": strings.Repeat("x", 3*cache.ChunkSize), "m/link": "->a"})
	archive, _ := pack(t, root, "m")
	cmd := exec.Command("bash", "-c", "set -o pipefail; zstd -dc | tar -t")
	cmd.Stdin = bytes.NewReader(archive)
	out, err := cmd.CombinedOutput()
	if want := "src/m\nsrc/m/a\nsrc/m/a/file\nsrc/m/large\nsrc/m/link\nend\n"; err != nil || string(out) != want {
		t.Errorf("tar -t: %v\n%s\nwant\n%s", err, out, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sameFile(t testing.TB, a, b string) bool {
	t.Helper()
	one, err := os.Lstat(a)
	two, err2 := os.Lstat(b)
	must(t, errors.Join(err, err2))
	return os.SameFile(one, two)
}

// dates gives everything below a directory a time of its own.
func dates(t testing.TB, r *rand.Rand, dir string) {
	t.Helper()
	var paths []string
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	slices.Reverse(paths)
	for _, path := range paths {
		when := unix.Timespec{Sec: r.Int64N(2_000_000_000), Nsec: r.Int64N(1_000_000_000)}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// randomTree makes files, links and directories. Links lead to files or nowhere.
func randomTree(t testing.TB, r *rand.Rand, root string, n int) {
	t.Helper()
	dirs := []string{""}
	var files []string
	names := []string{"a", "b", "c", "dd", "e.js", "f.go", ".x", "ü", "a b", "[z]", "q?", strings.Repeat("w", 130)}
	for range n {
		dir := dirs[r.IntN(len(dirs))]
		name := filepath.Join(dir, names[r.IntN(len(names))])
		path := filepath.Join(root, name)
		if _, err := os.Lstat(path); err == nil || len(name) > 2000 {
			continue
		}
		switch k := r.IntN(10); {
		case k < 3:
			must(t, os.Mkdir(path, 0o755))
			dirs = append(dirs, name)
		case k == 3:
			target := "nowhere"
			if len(files) > 0 {
				target = filepath.Join(root, files[r.IntN(len(files))])
			}
			must(t, os.Symlink(target, path))
		case k == 4 && len(files) > 0:
			must(t, os.Link(filepath.Join(root, files[r.IntN(len(files))]), path))
		default:
			content := make([]byte, r.IntN(3000))
			if r.IntN(60) == 0 {
				content = make([]byte, cache.LargeFile+r.IntN(2*cache.ChunkSize))
			}
			for i := range min(len(content), 100) {
				content[i] = byte(r.Uint32())
			}
			must(t, os.WriteFile(path, content, []os.FileMode{0o644, 0o755, 0o600, 0o444}[r.IntN(4)]))
			files = append(files, name)
		}
	}
	dates(t, r, root)
}

// randomPattern makes a pattern of a name that is there.
func randomPattern(r *rand.Rand, names []string) string {
	parts := strings.Split(names[r.IntN(len(names))], "/")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("[", `\[`, "?", `\?`).Replace(part)
		switch r.IntN(6) {
		case 0:
			parts[i] = "*"
		case 1:
			parts[i] = "**"
		}
	}
	switch r.IntN(5) {
	case 0:
		parts = append(parts, "**", "*")
	case 1:
		parts = append(parts, "**")
	case 2:
		parts = append(parts, "")
	}
	return strings.Join(parts, "/")
}

// expected says by other means which names a pattern means: it looks at each name alone.
func expected(t *testing.T, all map[string]string, pattern string, want map[string]bool) {
	p, err := glob.Compile(pattern)
	must(t, err)
	pattern = strings.TrimSuffix(pattern, "/")
	trunk := pattern
	for trunk == "**" || strings.HasSuffix(trunk, "/**") || strings.HasSuffix(trunk, "**/*") {
		trunk = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(trunk, "/*"), "**"), "/")
	}
	last := trunk[strings.LastIndex(trunk, "/")+1:]
	var whole glob.Pattern // of the directories that everything below belongs to
	isWhole := trunk != pattern || !strings.ContainsAny(last, `*?[\`)
	if trunk != "" && isWhole {
		whole, err = glob.Compile(trunk)
		must(t, err)
	}
	for name, what := range all {
		isDir := what[0] == 'd'
		match := !isDir && p.Match(name)
		if isWhole {
			match = match || trunk == ""
			if isDir {
				match = match || whole.Match(name)
			}
			for up := filepath.Dir(name); up != "."; up = filepath.Dir(up) {
				match = match || whole.Match(up)
			}
		}
		if match {
			for ; name != "."; name = filepath.Dir(name) {
				want[name] = true
			}
		}
	}
	delete(want, ".")
}

// TestProperty packs random patterns of random trees. What comes back in an empty directory is what the patterns mean, and in one
// with other files what was there wins.
func TestProperty(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		root, abs := t.TempDir(), t.TempDir()
		randomTree(t, r, root, 10+r.IntN(120))
		all := without(snapshot(t, root), ".")
		if len(all) == 0 {
			continue
		}
		var names, patterns []string
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		want := map[string]bool{}
		for range 1 + r.IntN(3) {
			patterns = append(patterns, randomPattern(r, names))
			expected(t, all, patterns[len(patterns)-1], want)
		}
		var out bytes.Buffer
		packed, err := cache.Pack(t.Context(), &out, root, patterns, cache.PackOptions{})
		if len(want) == 0 {
			if !errors.Is(err, cache.ErrNothing) {
				t.Fatalf("seed %d: Pack(%q) of nothing: %v", seed, patterns, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: Pack(%q): %v", seed, patterns, err)
		}
		got := t.TempDir()
		restored, err := unpack(t, out.Bytes(), got, abs)
		if err != nil || restored.Files != packed.Files {
			t.Fatalf("seed %d: packed %+v, restored %+v, %v", seed, packed, restored, err)
		}
		wantFiles, gotFiles := map[string]string{}, without(snapshot(t, got), ".")
		for name := range want {
			wantFiles[name] = withoutLinks(all[name])
		}
		for name, what := range gotFiles {
			gotFiles[name] = withoutLinks(what)
		}
		wantSame(t, fmt.Sprintf("seed %d: %q", seed, patterns), gotFiles, wantFiles)
		overlay(t, r, out.Bytes(), got)
		if left := read(t, abs); len(left) > 0 {
			t.Fatalf("seed %d: elsewhere is %v", seed, left)
		}
	}
}

// withoutLinks is the description of a file without its other names: not all of them may be packed.
func withoutLinks(what string) string {
	what, _, _ = strings.Cut(what, " [")
	return what
}

// overlay restores an archive, which holds what is in saved, where other things are. Those win. A part of the archive leaves
// everything as it was.
func overlay(t *testing.T, r *rand.Rand, archive []byte, saved string) {
	t.Helper()
	root, abs := t.TempDir(), t.TempDir()
	randomTree(t, r, root, r.IntN(60))
	before, cached := snapshot(t, root), snapshot(t, saved)
	if _, err := unpack(t, archive[:r.IntN(len(archive))], root, abs); !errors.Is(err, cache.ErrDamaged) {
		t.Fatalf("a part of an archive: %v", err)
	}
	wantSame(t, "after a part of an archive", snapshot(t, root), before)
	stats, err := unpack(t, archive, root, abs)
	must(t, err)
	want := map[string]string{}
	for name, what := range before {
		want[name] = withoutLinks(what)
	}
	files := 0
next:
	for name, what := range cached {
		if _, there := before[name]; there {
			continue
		}
		for up := filepath.Dir(name); up != "."; up = filepath.Dir(up) {
			if other, there := before[up]; there && other[0] != 'd' {
				continue next
			}
		}
		want[name] = withoutLinks(what)
		if what[0] != 'd' {
			files++
		}
	}
	after := snapshot(t, root)
	for name, what := range after {
		after[name] = withoutLinks(what)
		if was, there := before[name]; there && was[0] == 'd' {
			delete(after, name) // its time changed
			delete(want, name)
		}
	}
	wantSame(t, "where other things are", after, want)
	if stats.Files != files {
		t.Fatalf("restored %d files, want %d", stats.Files, files)
	}
}
