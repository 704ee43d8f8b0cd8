package cache_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"buildsmith/runner/cache"
)

// small packs a few files of every kind.
func small(t testing.TB) []byte {
	t.Helper()
	root := t.TempDir()
	plant(t, root, map[string]string{"m/file": "text", "m/d/other": "more text", "m/empty/": "", "m/link": "->file"})
	must(t, os.Link(filepath.Join(root, "m/file"), filepath.Join(root, "m/d/file2")))
	archive, _ := pack(t, root, "m")
	return archive
}

// TestBroken restores archives that are cut, changed or put together wrongly. Either all comes back as it was, or nothing.
func TestBroken(t *testing.T) {
	good := small(t)
	root, abs := t.TempDir(), t.TempDir()
	if _, err := unpack(t, good, root, abs); err != nil {
		t.Fatal(err)
	}
	want := without(snapshot(t, root), ".")

	root = t.TempDir()
	plant(t, root, map[string]string{"m/d/here": "before", "m/file": "mine"})
	dates(t, rand.New(rand.NewPCG(1, 2)), root)
	before, beforeAbs := snapshot(t, root), snapshot(t, abs)
	broken := func(what string, archive []byte, kinds ...error) {
		t.Helper()
		_, err := unpack(t, archive, root, abs)
		if err == nil {
			t.Fatalf("%s: no error", what)
		}
		for _, kind := range kinds {
			if !errors.Is(err, kind) {
				t.Fatalf("%s: %v, want %v", what, err, kind)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %v", what, err)
		}
		wantSame(t, what, snapshot(t, root), before)
		wantSame(t, what, snapshot(t, abs), beforeAbs)
	}
	for n := range good {
		broken(fmt.Sprintf("the first %d bytes", n), good[:n], cache.ErrDamaged)
	}
	for n := range good {
		for _, bit := range []byte{1, 1 << (n % 8)} {
			changed := bytes.Clone(good)
			changed[n] ^= bit
			clean := t.TempDir()
			if _, err := unpack(t, changed, clean, abs); err == nil {
				wantSame(t, fmt.Sprintf("byte %d changed by %d", n, bit), without(snapshot(t, clean), "."), want)
			} else {
				broken(fmt.Sprintf("byte %d changed by %d", n, bit), changed, cache.ErrDamaged)
			}
			os.Remove(clean)
		}
	}
	content := strings.Repeat("x", 3000)
	broken("twice", append(bytes.Clone(good), good...), cache.ErrDamaged)
	broken("a byte behind", append(bytes.Clone(good), 0), cache.ErrDamaged)
	broken("an empty frame behind", append(bytes.Clone(good), frame(t, []byte{0})...), cache.ErrDamaged)
	broken("a frame too large", frame(t, make([]byte, cache.MaxFrame+1)), cache.ErrDamaged)
	broken("a frame without checksum", frame(t, stream(t, regular("src/a", "b"), end(1)), zstd.WithEncoderCRC(false)), cache.ErrDamaged)
	broken("no end", frame(t, stream(t, regular("src/a", "b"))), cache.ErrDamaged)
	broken("an end too early", frame(t, stream(t, end(0), regular("src/a", "b"))), cache.ErrDamaged)
	broken("a wrong count", frame(t, stream(t, regular("src/a", "b"), end(2))), cache.ErrDamaged)
	broken("no count", frame(t, stream(t, regular("src/a", "b"), regular("end", ""))), cache.ErrDamaged)
	broken("a lost frame", append(frame(t, stream(t, regular("src/a", content))[:3584]), frame(t, stream(t, end(2)))...), cache.ErrDamaged)
	broken("noise", frame(t, bytes.Repeat([]byte("noise"), 1000)), cache.ErrDamaged)
	broken("a link to nothing", forge(t, hardlink("src/a", "src/b")), cache.ErrDamaged)
	broken("a link after its file", forge(t, regular("src/b", "b"), hardlink("src/a", "src/b")), cache.ErrDamaged)
	broken("a symbolic link to nothing", forge(t, symlink("src/a", "")), cache.ErrDamaged)
	broken("a device", forge(t, forged{Header: tar.Header{Name: "src/a", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}), cache.ErrDamaged)
	broken("a FIFO", forge(t, forged{Header: tar.Header{Name: "src/a", Typeflag: tar.TypeFifo}}), cache.ErrDamaged)
	broken("a time that is none", forge(t, forged{Header: tar.Header{Name: "src/a", Typeflag: tar.TypeReg, Devmajor: 1 << 15}}), cache.ErrDamaged)
	huge := regular("src/a", "")
	huge.Size = 1 << 60
	broken("a huge file", forge(t, huge))
	huge.Size = 200 << 20
	broken("a large file that is not there", forge(t, regular("src/c", "c"), huge), cache.ErrDamaged)
	huge.Size = 300
	broken("a small file that is not there", frame(t, stream(t, huge)[:512]), cache.ErrDamaged)
	long := regular("src/"+strings.Repeat("a/", 3000)+"b", "b")
	broken("a long name", forge(t, long), cache.ErrDamaged)
	var many []forged
	for i := range 300 {
		many = append(many, regular(fmt.Sprintf("src/many/%d", i), content))
	}
	broken("many files and a wrong name", forge(t, append(many, regular("src/../x", ""))...), cache.ErrDamaged)
	broken("a name that no file system takes", forge(t, append(many, regular("src/"+strings.Repeat("a", 300), ""))...), syscall.ENAMETOOLONG)
	for _, name := range []string{"src/", "abs/", "src/a/", "src/a//"} {
		broken(fmt.Sprintf("a directory %q", name), forge(t, directory(name)), cache.ErrDamaged)
	}
	for _, name := range []string{"src", "src/.", "src/..", "src/../x", "src/a/../../x", "src//x", "src/./x", "../x", "/x", "/src/x", "abs", "abs/../x",
		"abs//x", "x", "end/x", "src/a/..", "srcx", "abs/a/./b"} {
		broken(fmt.Sprintf("a file %q", name), forge(t, regular("src/good", "x"), regular(name, "y")), cache.ErrDamaged)
		broken(fmt.Sprintf("a link to %q", name), forge(t, hardlink("src/a", name), regular(name, "y")), cache.ErrDamaged)
	}
}

// TestBomb restores an archive of few bytes that holds endless headers.
func TestBomb(t *testing.T) {
	h := regular("src/a", "")
	h.PAXRecords = map[string]string{"comment": strings.Repeat("a", 1<<20-100)}
	raw := stream(t, h)
	archive := bytes.Repeat(frame(t, bytes.Repeat(raw[:len(raw)-1024], 5)), 200)
	root := t.TempDir()
	_, err := cache.Unpack(t.Context(), bytes.NewReader(archive), root, cache.RestoreOptions{Root: root, Limit: 1 << 20, Entries: 100})
	if want := "the cache is damaged: it becomes too large"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	if left := read(t, root); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
}

// TestInTheWay restores where links, files and directories stand in the way. Nothing is made through a link, and nothing is
// changed that was there.
func TestInTheWay(t *testing.T) {
	outside := t.TempDir()
	plant(t, outside, map[string]string{"secret": "s", "dir/file": "f"})
	untouched := snapshot(t, outside)
	tests := []struct {
		name    string
		there   map[string]string
		archive []forged
		want    map[string]string
		kept    int
	}{
		{"a link to a directory", map[string]string{"m": "->" + outside}, []forged{directory("src/m"), directory("src/m/dir"), regular("src/m/new", "n"), regular("src/m/dir/new", "n")},
			map[string]string{"m": "->" + outside}, 3},
		{"a link deep down", map[string]string{"m/a/b": "->" + outside + "/dir"}, []forged{regular("src/m/a/b/c/d", "n"), regular("src/m/a/e", "n")},
			map[string]string{"m/": "", "m/a/": "", "m/a/b": "->" + outside + "/dir", "m/a/e": "n"}, 1},
		{"a link to a file", map[string]string{"m": "->" + outside + "/secret"}, []forged{regular("src/m", "n")}, map[string]string{"m": "->" + outside + "/secret"}, 1},
		{"a link to nothing", map[string]string{"m": "->" + outside + "/new"}, []forged{regular("src/m", "n")}, map[string]string{"m": "->" + outside + "/new"}, 1},
		{"a link of links", map[string]string{"l": "->" + outside, "m": "->l/dir"}, []forged{regular("src/m/x", "n")}, map[string]string{"l": "->" + outside, "m": "->l/dir"}, 1},
		{"a file", map[string]string{"m": "mine"}, []forged{directory("src/m"), regular("src/m/x", "n"), symlink("src/m/y", "x")}, map[string]string{"m": "mine"}, 2},
		{"a directory", map[string]string{"m/mine": "mine"}, []forged{regular("src/m", "n")}, map[string]string{"m/": "", "m/mine": "mine"}, 1},
		{"a directory where a link was", map[string]string{"m/mine": "mine"}, []forged{symlink("src/m", outside)}, map[string]string{"m/": "", "m/mine": "mine"}, 1},
		{"the archive's own link", nil, []forged{symlink("src/m", outside), regular("src/m/x", "n")}, nil, -1},
		{"the archive's own link and directory", nil, []forged{symlink("src/m", outside), directory("src/m"), regular("src/m/x", "n")}, nil, -1},
		{"a hard link to what is there", map[string]string{"m": "mine"}, []forged{hardlink("src/n", "src/m"), regular("src/m", "cached")}, map[string]string{"m": "mine", "n": "cached"}, 1},
		{"hard links below a link", map[string]string{"m": "->" + outside}, []forged{hardlink("src/m/secret", "src/x"), hardlink("src/y", "src/x"), regular("src/x", "cached")},
			map[string]string{"m": "->" + outside, "x": "cached", "y": "cached"}, 1},
		{"a hard link to a link", map[string]string{"m": "->" + outside + "/secret"}, []forged{hardlink("src/n", "src/m"), regular("src/m", "cached")},
			map[string]string{"m": "->" + outside + "/secret", "n": "cached"}, 1},
		{"the same twice", nil, []forged{regular("src/m", "first"), regular("src/m", "second")}, nil, -1},
		{"where nothing is restored", nil, []forged{regular("abs/proc/x", "n"), regular("abs/own/x", "n"), directory("abs/dev"), regular("abs/owner", "n")}, map[string]string{"owner": "n"}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, prefix := range []string{"src/", "abs/"} {
				root := t.TempDir()
				plant(t, root, tt.there)
				var archive []forged
				for _, f := range tt.archive {
					f.Name = prefix + f.Name[4:]
					if f.Typeflag == tar.TypeLink {
						f.Linkname = prefix + f.Linkname[4:]
					}
					archive = append(archive, f)
				}
				if tt.name == "where nothing is restored" && prefix == "src/" {
					continue
				}
				stats, err := cache.Unpack(t.Context(), bytes.NewReader(forge(t, archive...)), root, cache.RestoreOptions{Root: root, Except: []string{"/own"}})
				must(t, err)
				if tt.kept >= 0 {
					wantSame(t, prefix, read(t, root), tt.want)
					if stats.Kept != tt.kept {
						t.Errorf("kept %d, want %d", stats.Kept, tt.kept)
					}
				}
				wantSame(t, "outside", snapshot(t, outside), untouched)
			}
		})
	}
}

// TestRestoreErrors reads what errors say.
func TestRestoreErrors(t *testing.T) {
	root := t.TempDir()
	archive := small(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	reader := func(r interface{ Read([]byte) (int, error) }) func() (cache.Stats, error) {
		return func() (cache.Stats, error) {
			return cache.Unpack(t.Context(), r, root, cache.RestoreOptions{Root: root})
		}
	}
	restore := func(e cache.Entry, o cache.RestoreOptions) func() (cache.Stats, error) {
		o.Root = root
		return func() (cache.Stats, error) { return cache.Restore(t.Context(), e, root, o) }
	}
	e := entry(t, archive)
	short, gone, link := e, e, entry(t, archive)
	short.Size++
	gone.ID = strings.Repeat("1", 32)
	link.ID = strings.Repeat("2", 32)
	must(t, os.Symlink(e.ID+".tar.zst", filepath.Join(link.Dir, link.ID+".tar.zst")))
	tests := []struct {
		name string
		do   func() (cache.Stats, error)
		want string
		kind error
	}{
		{"gone", restore(gone, cache.RestoreOptions{}), "opening the cache: open " + gone.Dir + "/" + gone.ID + ".tar.zst: no such file or directory", fs.ErrNotExist},
		{"another size", restore(short, cache.RestoreOptions{}), fmt.Sprintf("the cache is damaged: its file has %d bytes instead of %d", len(archive), len(archive)+1), cache.ErrDamaged},
		{"a link", restore(link, cache.RestoreOptions{}), "opening the cache: open " + link.Dir + "/" + link.ID + ".tar.zst: too many levels of symbolic links", syscall.ELOOP},
		{"too many", restore(e, cache.RestoreOptions{Entries: 3}), "the cache has more than 3 files and directories, which is the limit", nil},
		{"too large", restore(e, cache.RestoreOptions{Limit: 5}), "the cache has more than 5 bytes, which is the limit", nil},
		{"cut", reader(bytes.NewReader(archive[:100])), "the cache is damaged: it ends too early", cache.ErrDamaged},
		{"unreadable", reader(iotest.ErrReader(syscall.EIO)), "reading the cache: input/output error", syscall.EIO},
		{"cancelled", func() (cache.Stats, error) {
			return cache.Restore(ctx, e, root, cache.RestoreOptions{Root: root})
		}, "context canceled", context.Canceled},
		{"no root", func() (cache.Stats, error) {
			return cache.Restore(t.Context(), e, filepath.Join(root, "missing"), cache.RestoreOptions{Root: root})
		}, "opening " + root + "/missing: no such file or directory", fs.ErrNotExist},
		{"a name", reader(bytes.NewReader(forge(t, regular("src/../x", "")))), `the cache is damaged: the name "src/../x" is none that Pack writes`, cache.ErrDamaged},
		{"a long component", reader(bytes.NewReader(forge(t, regular("src/"+strings.Repeat("x", 256), "")))), "making " + root + "/" + strings.Repeat("x", 256) + ": file name too long", syscall.ENAMETOOLONG},
		{"a lost hard link", reader(bytes.NewReader(forge(t, hardlink("src/x", "src/y")))), "the cache is damaged: the file of a hard link is missing", cache.ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := snapshot(t, root)
			stats, err := tt.do()
			if err == nil || err.Error() != tt.want || tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Errorf("error is %v, want %s", err, tt.want)
			}
			if stats.Files != 0 {
				t.Errorf("stats are %+v", stats)
			}
			wantSame(t, "after the error", snapshot(t, root), before)
		})
	}
}

// TestCancelRestore cancels in the middle.
func TestCancelRestore(t *testing.T) {
	source := t.TempDir()
	r := rand.NewChaCha8([32]byte{})
	files := map[string]string{"m/large": ""}
	for i := range 300 {
		content := make([]byte, 50_000)
		r.Read(content)
		files[fmt.Sprintf("m/%d/%d", i%10, i)] = string(content)
		if i < 100 {
			files["m/large"] += string(content)
		}
	}
	plant(t, source, files)
	archive, _ := pack(t, source, "m")
	for _, part := range []int{1, 2, 3} {
		root := t.TempDir()
		before := snapshot(t, root)
		ctx, cancel := context.WithCancel(t.Context())
		reader := &slowly{Reader: bytes.NewReader(archive), at: len(archive) * part / 4, do: cancel}
		if _, err := cache.Unpack(ctx, reader, root, cache.RestoreOptions{Root: root}); !errors.Is(err, context.Canceled) {
			t.Errorf("after %d bytes: %v", reader.at, err)
		}
		wantSame(t, "cancelled", snapshot(t, root), before)
	}
}

// A slowly does something when a number of bytes was read.
type slowly struct {
	*bytes.Reader
	at int
	do func()
}

func (s *slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if s.at -= n; s.at <= 0 && s.do != nil {
		s.do()
		s.do = nil
		time.Sleep(5 * time.Millisecond) // others go on
	}
	return n, err
}

// A late is a context that is cancelled as soon as something is true.
type late struct {
	context.Context
	is func() bool
}

func (l late) Err() error {
	if l.is() {
		return context.Canceled
	}
	return nil
}

// TestCancelLate cancels when directories have their modes already, which keep others than root from removing what is in them.
func TestCancelLate(t *testing.T) {
	locked := directory("src/m")
	locked.Mode = 0o500
	root := t.TempDir()
	before := snapshot(t, root)
	ctx := late{t.Context(), func() bool {
		info, err := os.Stat(filepath.Join(root, "m"))
		return err == nil && info.Mode().Perm() == 0o500
	}}
	archive := forge(t, locked, directory("src/m/d"), regular("src/m/d/f", "x"), regular("src/m/g", "x"))
	if _, err := cache.Unpack(ctx, bytes.NewReader(archive), root, cache.RestoreOptions{Root: root}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantSame(t, "cancelled", snapshot(t, root), before)
}

// TestTwoFileSystems restores hard links that cannot be any: they become copies.
func TestTwoFileSystems(t *testing.T) {
	abs, err := os.MkdirTemp("/dev/shm", "cache")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(abs)
	root := t.TempDir()
	large := strings.Repeat("0123456789", cache.LargeFile/10+1)
	private := regular("src/f", "text")
	private.Mode = 0o640
	stats, err := unpack(t, forge(t, hardlink("abs/f", "src/f"), hardlink("abs/g", "src/f"), private, hardlink("abs/large", "src/large"), regular("src/large", large)), root, abs)
	must(t, err)
	wantSame(t, "here", read(t, root), map[string]string{"f": "text", "large": large})
	wantSame(t, "there", read(t, abs), map[string]string{"f": "text", "g": "text", "large": large})
	info, err := os.Stat(filepath.Join(abs, "g"))
	if err != nil || info.Mode() != 0o640 || info.ModTime().Unix() != 0 {
		t.Errorf("the copy has %v of %v, %v", info.Mode(), info.ModTime(), err)
	}
	if stats.Files != 5 {
		t.Errorf("restored %+v", stats)
	}
	bad := forge(t, hardlink("abs/x", "src/x"), regular("src/x", "x"), regular("src/../y", ""))
	if _, err := unpack(t, bad, root, abs); !errors.Is(err, cache.ErrDamaged) {
		t.Error(err)
	}
	if n := len(read(t, root)) + len(read(t, abs)); n != 5 {
		t.Errorf("there are %d files after an error", n)
	}
}

// TestFull restores to a file system that has no room.
func TestFull(t *testing.T) {
	root := t.TempDir()
	if err := syscall.Mount("none", root, "tmpfs", 0, "size=3m,nr_inodes=200"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	defer syscall.Unmount(root, syscall.MNT_DETACH)
	source := t.TempDir()
	var many, large []forged
	for i := range 300 {
		many = append(many, regular(fmt.Sprintf("src/d%d/f", i), "x"))
		large = append(large, regular(fmt.Sprintf("src/d/%d", i), strings.Repeat("0123", 10000)))
	}
	plant(t, source, map[string]string{"m/large": strings.Repeat("x", 4<<20)})
	one, _ := pack(t, source, "m")
	for what, archive := range map[string][]byte{"many": forge(t, many...), "bytes": forge(t, large...), "one": one} {
		before := snapshot(t, root)
		_, err := unpack(t, archive, root, source)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), root) {
			t.Errorf("%s: %v", what, err)
		}
		wantSame(t, what, snapshot(t, root), before)
	}
}

// TestDescriptors restores many directories with few descriptors, and one far down.
func TestDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	few := limit
	few.Cur = 600
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	var entries []forged
	for i := range 2000 {
		entries = append(entries, regular(fmt.Sprintf("src/%d/%d/%d/f", i%7, i%300, i), "x"))
	}
	deep := "src/" + strings.Repeat("d/", 2000) + "f"
	entries = append(entries, regular(deep, "x"))
	root := t.TempDir()
	stats, err := unpack(t, forge(t, entries...), root, root)
	if err != nil || stats.Files != 2001 {
		t.Errorf("%+v, %v", stats, err)
	}
	clean := t.TempDir()
	before := snapshot(t, clean)
	if _, err := unpack(t, forge(t, append(entries, regular("x", ""))...), clean, clean); !errors.Is(err, cache.ErrDamaged) {
		t.Error(err)
	}
	wantSame(t, "after an error", snapshot(t, clean), before)
}

// TestReadFrames reads an archive whose frames have nothing to do with its entries.
func TestReadFrames(t *testing.T) {
	raw := stream(t, regular("src/a", strings.Repeat("a", 5000)), regular("src/b", "b"), end(2))
	var archive []byte
	for len(raw) > 0 {
		n := min(len(raw), 700)
		archive, raw = append(archive, frame(t, raw[:n])...), raw[n:]
	}
	root := t.TempDir()
	if _, err := cache.Unpack(t.Context(), iotest.OneByteReader(bytes.NewReader(archive)), root, cache.RestoreOptions{Root: root}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, root); len(got["a"]) != 5000 || got["b"] != "b" {
		t.Errorf("restored %v", got)
	}
}

// FuzzRestore restores bytes, as an archive and as the tar stream of one. Nothing is made outside, and after an error there is
// nothing new.
func FuzzRestore(f *testing.F) {
	f.Add(small(f), false)
	f.Add(stream(f, directory("src/d"), hardlink("src/d/g", "src/d/f"), regular("src/d/f", "text"), symlink("src/l", "../../x"), regular("src/l/y", "z"), regular("abs/a/b", "c"), end(6)), true)
	f.Add(stream(f, regular("src/file/below", "x"), regular("src/link/below", "x"), directory("src/dir"), end(3)), true)
	f.Add(stream(f, regular("src/../x", "y"), symlink("abs/..", "/"), end(2)), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		if raw {
			data = frame(t, data)
		}
		top, err := os.MkdirTemp("", "fuzz")
		must(t, err)
		defer os.RemoveAll(top)
		plant(t, top, map[string]string{"root/file": "f", "root/dir/file": "g", "outside/secret": "s", "abs/": "", "root/link": "->../outside"})
		before := snapshot(t, top)
		_, err = cache.Unpack(t.Context(), bytes.NewReader(data), filepath.Join(top, "root"), cache.RestoreOptions{Root: filepath.Join(top, "abs"), Limit: 1 << 20, Entries: 1000})
		after := snapshot(t, top)
		if err != nil {
			wantSame(t, "after an error", after, before)
			return
		}
		for name, what := range before {
			if what[0] != 'd' && after[name] != what {
				t.Errorf("%s was %q and is %q", name, what, after[name])
			}
		}
		for name := range after {
			if _, there := before[name]; !there && !strings.HasPrefix(name, "root/") && !strings.HasPrefix(name, "abs/") {
				t.Errorf("%s was made", name)
			}
		}
	})
}
