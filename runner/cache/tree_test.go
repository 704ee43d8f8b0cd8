package cache_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"buildsmith/runner/cache"
)

// snapshot describes everything below a directory, and the directory itself as ".".
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	same := map[uint64][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		found[name] = fmt.Sprintf("%v %o %d:%d %d.%09d", d.Type(), st.Mode&0o7777, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			found[name] += " -> " + target
			return err
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			found[name] += fmt.Sprintf(" %d %x", len(content), sha256.Sum256(content))
			if st.Nlink > 1 {
				same[st.Ino] = append(same[st.Ino], name)
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range same {
		slices.Sort(names)
		for _, name := range names {
			found[name] += fmt.Sprintf(" %q", names)
		}
	}
	return found
}

// without are the entries of a snapshot that drop does not name.
func without(s map[string]string, drop ...string) map[string]string {
	left := map[string]string{}
	for name, what := range s {
		if !slices.Contains(drop, name) {
			left[name] = what
		}
	}
	return left
}

func wantSame(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// plant makes files: a name that ends in a slash is a directory, a content that begins with -> a symbolic link.
func plant(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = errors.Join(err, os.Symlink(target, path))
		} else if strings.HasSuffix(name, "/") {
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(path, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// read is the opposite, without times.
func read(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			files[name+"/"] = ""
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			files[name] = "->" + target
			return err
		default:
			content, err := os.ReadFile(path)
			files[name] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// pack packs patterns and expects success.
func pack(t testing.TB, root string, patterns ...string) ([]byte, cache.Stats) {
	t.Helper()
	var out bytes.Buffer
	s, err := cache.Pack(t.Context(), &out, root, patterns, cache.PackOptions{Logf: t.Logf})
	if err != nil {
		t.Fatalf("Pack(%q): %v", patterns, err)
	}
	if s.Packed != int64(out.Len()) {
		t.Errorf("Pack counts %d bytes and writes %d", s.Packed, out.Len())
	}
	return out.Bytes(), s
}

// entry puts an archive on the disk.
func entry(t testing.TB, archive []byte) cache.Entry {
	t.Helper()
	e := cache.Entry{Dir: t.TempDir(), ID: strings.Repeat("0", 32)}
	e.Size = int64(len(archive))
	if err := os.WriteFile(filepath.Join(e.Dir, e.ID+".tar.zst"), archive, 0o600); err != nil {
		t.Fatal(err)
	}
	return e
}

// A forged is an entry of an archive that Pack did not write.
type forged struct {
	tar.Header
	content string
}

func regular(name, content string) forged {
	return forged{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, content: content}
}

func directory(name string) forged {
	return forged{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

func symlink(name, target string) forged {
	return forged{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func hardlink(name, target string) forged {
	return forged{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}}
}

func end(entries int) forged {
	return forged{Header: tar.Header{Name: "end", Typeflag: tar.TypeReg, PAXRecords: map[string]string{cache.EndRecord: strconv.Itoa(entries)}}}
}

// stream is the tar stream of entries. A content that is too short stays so.
func stream(t testing.TB, entries ...forged) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, e := range entries {
		w := tar.NewWriter(&out)
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		out.WriteString(e.content)
		out.Write(make([]byte, -len(e.content)&511))
	}
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

// frame is one frame as Pack writes it.
func frame(t testing.TB, raw []byte, o ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, o...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	packed := w.EncodeAll(raw, nil)
	return append(binary.LittleEndian.AppendUint32([]byte(cache.Magic), uint32(len(packed))), packed...)
}

// forge is an archive of entries, and of the entry that ends it.
func forge(t testing.TB, entries ...forged) []byte {
	t.Helper()
	var archive []byte
	for part := range slices.Chunk(stream(t, append(entries, end(len(entries)))...), cache.MaxFrame/2) {
		archive = append(archive, frame(t, part)...)
	}
	return archive
}

// unpack restores an archive below root, and what is absolute below another directory.
func unpack(t testing.TB, archive []byte, root, abs string) (cache.Stats, error) {
	t.Helper()
	return cache.Unpack(t.Context(), bytes.NewReader(archive), root, cache.RestoreOptions{Root: abs, Limit: 256 << 20, Entries: 100_000})
}
