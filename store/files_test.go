package store

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func TestLog(t *testing.T) {
	s, _ := newStore(t)
	if lines, total, err := s.Lines("b", 1, 10); err != nil || len(lines) != 0 || total != 0 {
		t.Errorf("a log that there is not: %v %d %v", lines, total, err)
	}
	w := must[*LogWriter](t)(s.AppendLog("b", 0))
	news, stop := s.WatchLog("b")
	fmt.Fprint(w, "one\ntwo\nthr")
	<-news
	stop()
	if w.Size() != 11 || w.Line() != 3 || !w.MidLine() {
		t.Errorf("size %d, line %d", w.Size(), w.Line())
	}
	if lines, total, err := s.Lines("b", 2, 10); err != nil || total != 3 || len(lines) != 2 || string(lines[1].Text) != "thr" || lines[1].Number != 3 {
		t.Errorf("%v %d %v", lines, total, err)
	}
	fmt.Fprint(w, "ee\n")
	w.Close()
	if _, total, _ := s.Lines("b", 1, 10); total != 3 {
		t.Errorf("%d lines, want 3", total)
	}
	// What came after the state was last written is cut off and read again.
	w = must[*LogWriter](t)(s.AppendLog("b", 8))
	if w.Size() != 8 || w.Line() != 3 {
		t.Errorf("size %d, line %d", w.Size(), w.Line())
	}
	fmt.Fprint(w, "drei\n")
	w.Close()
	if lines, total, err := s.Lines("b", 3, 10); err != nil || total != 3 || string(lines[0].Text) != "drei" {
		t.Errorf("%v %d %v", lines, total, err)
	}
	// A machine that lost power may have lost the end of a log.
	w = must[*LogWriter](t)(s.AppendLog("b", 20))
	w.Close()
	if lines, _, err := s.Lines("b", 4, 10); err != nil || len(lines) != 1 || string(lines[0].Text) != "[7 bytes of the log were lost when the machine stopped]" {
		t.Errorf("%v %v", lines, err)
	}
}

func TestLinesOfALongLog(t *testing.T) {
	s, _ := newStore(t)
	w := must[*LogWriter](t)(s.AppendLog("b", 0))
	var text bytes.Buffer
	for i := 1; i <= 12_345; i++ {
		fmt.Fprintf(&text, "line %d\n", i)
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		t.Fatal(err)
	}
	for _, from := range []int{1, 499, 500, 501, 502, 1000, 12_000, 12_345} {
		lines, total, err := s.Lines("b", from, 7)
		if err != nil || total != 12_345 || len(lines) != min(7, 12_345-from+1) {
			t.Fatalf("from %d: %d lines of %d, %v", from, len(lines), total, err)
		}
		for i, l := range lines {
			if want := fmt.Sprint("line ", from+i); string(l.Text) != want || l.Number != from+i {
				t.Errorf("from %d: line %d is %q", from, l.Number, l.Text)
			}
		}
	}
	for _, from := range []int{-5, 0, 12_346, 1 << 40} {
		lines, _, err := s.Lines("b", from, 7)
		if err != nil || from > 0 && len(lines) != 0 || from <= 0 && lines[0].Number != 1 {
			t.Errorf("from %d: %v %v", from, lines, err)
		}
	}
	w.Write(bytes.Repeat([]byte{'x'}, 1<<20))
	w.Write([]byte("\nlast\n"))
	lines, total, err := s.Lines("b", 12_346, 7)
	if err != nil || total != 12_347 || len(lines[0].Text) != maxLine || string(lines[1].Text) != "last" {
		t.Errorf("%d lines, %v", total, err)
	}
}

// archive makes a tar archive of headers with their content.
func archive(t *testing.T, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		switch e := e.(type) {
		case tar.Header:
			if err := w.WriteHeader(&e); err != nil {
				t.Fatal(err)
			}
		case string:
			if _, err := io.WriteString(w, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Close()
	return b.Bytes()
}

func file(name, text string) []any {
	return []any{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: int64(len(text))}, text}
}

func TestTakeArtifacts(t *testing.T) {
	s, _ := newStore(t)
	if _, err := s.Manifest("b", ""); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	entries := slices.Concat(file("a.txt", "hello"), file("dir/b.bin", strings.Repeat("x", 100_000)),
		[]any{tar.Header{Typeflag: tar.TypeSymlink, Name: "dir/link", Linkname: "../a.txt"}})
	for range 2 { // taking again after a crash changes nothing
		a := must[*Artifacts](t)(s.TakeArtifacts("b", "", "shop", bytes.NewReader(archive(t, entries...)), 1<<20))
		if a.Files != 3 || a.Name != "shop" || len(a.SHA256) != 64 || len(a.First) != 3 {
			t.Errorf("%+v", a)
		}
		if info, err := os.Stat(s.artifactsPath("b", "")); err != nil || info.Size() != a.Size {
			t.Errorf("%v %v", info, err)
		}
	}
	list := must[[]Artifact](t)(s.Manifest("b", ""))
	if list[0].Name != "a.txt" || list[0].SHA256 != "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" || list[0].Mode != 0o755 || list[2].Link != "../a.txt" {
		t.Errorf("%+v", list)
	}
	z, err := zip.OpenReader(s.artifactsPath("b", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 3 || z.File[0].Mode().Perm() != 0o755 || z.File[2].Mode().Type() != os.ModeSymlink {
		t.Errorf("%v", z.File)
	}
	r, size, err := s.OpenArtifact("b", "", "dir/b.bin")
	if err != nil || size != 100_000 {
		t.Fatal(size, err)
	}
	if text, err := io.ReadAll(r); err != nil || len(text) != 100_000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	r.Close()
	for _, name := range []string{"none", "dir/link", "dir", ""} {
		if _, _, err := s.OpenArtifact("b", "", name); !errors.Is(err, ErrNotFound) {
			t.Errorf("OpenArtifact(%q) = %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir(), "artifacts", "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// longNames are the names of empty files, more than may be.
func longNames() (entries []any) {
	for i := range maxNames / 4000 * 6 / 5 {
		entries = append(entries, file(fmt.Sprint(i, "/", strings.Repeat("x/", 1990), "x"), "")...)
	}
	return entries
}

func TestTakeHostileArtifacts(t *testing.T) {
	whole := archive(t, file("a", strings.Repeat("x", 1000))...)
	for _, tt := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"absolute", archive(t, file("/etc/passwd", "x")...), `the name "/etc/passwd"`},
		{"climbing", archive(t, file("../x", "x")...), `the name "../x"`},
		{"climbing later", archive(t, file("a/../../x", "x")...), `the name "a/../../x"`},
		{"not clean", archive(t, file("a//x", "x")...), `the name "a//x"`},
		{"long", archive(t, file(strings.Repeat("x/", 3000)+"x", "x")...), `the name "x/x/`},
		{"twice", archive(t, slices.Concat(file("a", "x"), file("a", "y"))...), `"a" stands twice`},
		{"too much", archive(t, slices.Concat(file("a", strings.Repeat("x", 900)), file("b", strings.Repeat("x", 200)))...), "more than 1000 bytes"},
		{"link out", archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "a/b", Linkname: "../../etc"}), `"a/b" links to "../../etc"`},
		{"absolute link", archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/etc"}), `"a" links to "/etc"`},
		{"hard link", archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/passwd"}), `"a" is neither a file nor a link`},
		{"device", archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 1}), `"a" is neither a file nor a link`},
		{"FIFO", archive(t, tar.Header{Typeflag: tar.TypeFifo, Name: "a"}), `"a" is neither a file nor a link`},
		{"directory", archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "a"}), `"a" is neither a file nor a link`},
		{"below a link", archive(t, append([]any{tar.Header{Typeflag: tar.TypeSymlink, Name: "a/b", Linkname: "."}}, file("a/b/c/d", "x")...)...), `"a/b/c/d" lies below a link`},
		{"link above a file", archive(t, append(file("a/b/c", "x"), tar.Header{Typeflag: tar.TypeSymlink, Name: "a/b", Linkname: "."})...), `"a/b/c" lies below a link`},
		{"up again", archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "e", Linkname: "x/y/s/../.."}), `"e" links to "x/y/s/../.."`},
		{"backslashes", archive(t, file(`..\..\x`, "x")...), `the name "..\\..\\x"`},
		{"empty link", archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "e"}), `"e" links to ""`},
		{"names", archive(t, longNames()...), "the names have more than 16777216 bytes"},
		{"cut", whole[:700], "unexpected EOF"},
		{"garbage", bytes.Repeat([]byte("garbage"), 1000), "invalid tar header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := newStore(t)
			_, err := s.TakeArtifacts("b", "", "n", bytes.NewReader(tt.archive), 1000)
			if !errors.Is(err, ErrDamagedArchive) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if entries, _ := os.ReadDir(filepath.Join(s.Dir(), "artifacts")); len(entries) > 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func FuzzTakeArtifacts(f *testing.F) {
	s, err := Open(f.TempDir(), Options{NoSync: true})
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: 1})
	w.Write([]byte("x"))
	w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, archive []byte) {
		a, err := s.TakeArtifacts("b", "", "n", bytes.NewReader(archive), 1<<16)
		if err != nil {
			if !errors.Is(err, ErrDamagedArchive) {
				t.Error(err)
			}
			return
		}
		for _, a := range a.First {
			if !filepath.IsLocal(a.Name) {
				t.Errorf("kept %q", a.Name)
			}
		}
	})
}

func TestSweep(t *testing.T) {
	s, c := newStore(t)
	var ids []string
	finish := func(id string) {
		w := must[*LogWriter](t)(s.AppendLog(id, 0))
		fmt.Fprintln(w, "log")
		w.Close()
		a := must[*Artifacts](t)(s.TakeArtifacts(id, "", "n", bytes.NewReader(archive(t, file("a", "x")...)), 100))
		update(t, s, func(tx *Tx) error { return errors.Join(tx.SetTold(id, "c", Told{}), tx.SetSpec(id, []byte("x"))) })
		must[Build](t)(s.ChangeBuild(id, func(b *Build) error {
			b.Artifacts = a
			b.End(Succeeded, s.Now())
			return nil
		}))
	}
	for range 3 {
		b := submit(t, s, "a")
		ids = append(ids, b.ID)
		finish(b.ID)
	}
	running := submit(t, s, "b")
	small, large := Delivery{Forge: "f", ID: "1"}, Delivery{Forge: "f", ID: "2"}
	must[bool](t)(s.Accept(&small, []byte("x")))
	must[bool](t)(s.Accept(&large, make([]byte, smallBody+1)))
	waiting := Delivery{Forge: "f", ID: "3"}
	must[bool](t)(s.Accept(&waiting, []byte("x")))
	update(t, s, func(tx *Tx) error {
		for _, d := range []Delivery{small, large} {
			d.Handled = s.Now()
			if err := tx.SetDelivery(&d); err != nil {
				return err
			}
		}
		return nil
	})
	exists := func(path string) bool { _, err := os.Stat(path); return err == nil }
	for name := range map[string]bool{"logs/orphan.log": true, "artifacts/orphan.zip": true, "bodies/orphan.zst": true, "logs/young.log": true} {
		path := filepath.Join(s.Dir(), name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(name, "young") {
			old := time.Now().Add(-2 * time.Hour)
			os.Chtimes(path, old, old)
		}
	}
	keep := Retention{Builds: 90 * 24 * time.Hour, Logs: 60 * 24 * time.Hour, Artifacts: 5 * 24 * time.Hour}
	if n := must[Swept](t)(s.Sweep(keep)); n != (Swept{Orphans: 3}) {
		t.Errorf("the first sweep removed %+v", n)
	}
	if !exists(filepath.Join(s.Dir(), "logs", "young.log")) {
		t.Error("a young orphan is gone")
	}
	c.advance(8 * 24 * time.Hour)
	if n := must[Swept](t)(s.Sweep(keep)); n != (Swept{Artifacts: 3, Bodies: 2}) {
		t.Errorf("after 8 days it removed %+v", n)
	}
	if _, err := s.Body(&small); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "the body is no longer kept") {
		t.Error(err)
	}
	if accepted := must[bool](t)(s.Accept(&Delivery{Forge: "f", ID: "1"}, nil)); accepted {
		t.Error("a replay was accepted")
	}
	c.advance(25 * 24 * time.Hour)
	if n := must[Swept](t)(s.Sweep(keep)); n.Deliveries != 2 {
		t.Errorf("after 33 days it removed %+v", n)
	}
	if _, err := s.Body(&waiting); err != nil {
		t.Errorf("a delivery that nobody decided on: %v", err)
	}
	c.advance(60 * 24 * time.Hour)
	if n := must[Swept](t)(s.Sweep(keep)); n.Builds != 3 || n.Logs != 3 {
		t.Errorf("after 93 days it removed %+v", n)
	}
	finish(running.ID)
	c.advance(100 * 24 * time.Hour)
	if n := must[Swept](t)(s.Sweep(keep)); n.Builds != 0 {
		t.Errorf("the newest build of a project was removed: %+v", n)
	}
	view(t, s, func(tx *Tx) error {
		for _, id := range ids {
			if _, err := tx.Build(id); !errors.Is(err, ErrNotFound) || tx.Spec(id) != nil || exists(s.logPath(id)) {
				t.Errorf("build %s: %v", id, err)
			}
			if told := must[map[string]Told](t)(tx.AllTold(id)); len(told) > 0 {
				t.Errorf("%v", told)
			}
		}
		builds, _, err := tx.OfCommit(repo, "a")
		if err != nil || len(builds) > 0 {
			t.Errorf("%v %v", builds, err)
		}
		_, err = tx.Build(running.ID)
		return err
	})
}

func TestBackup(t *testing.T) {
	s, _ := newStore(t)
	b := submit(t, s, "a")
	w := must[*LogWriter](t)(s.AppendLog(b.ID, 0))
	fmt.Fprintln(w, "hello")
	w.Close()
	must[*Artifacts](t)(s.TakeArtifacts(b.ID, "", "n", bytes.NewReader(archive(t, file("a", "x")...)), 100))
	large := Delivery{Forge: "f", ID: "2"}
	must[bool](t)(s.Accept(&large, make([]byte, smallBody+1)))
	token := must[string](t)(AdminToken(s.Dir()))
	if err := os.MkdirAll(filepath.Join(s.Dir(), "git", "x.git", "refs", "heads"), 0o700); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join("git", "x.git", "refs", "heads", "main.lock") // of a push that is under way
	if err := os.WriteFile(filepath.Join(s.Dir(), lock), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	key := must[string](t)(s.LinkKey(b.ID, repo))
	var backup bytes.Buffer
	if err := s.Backup(&backup, "admin.token", "git", "missing"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if err := Restore(dir, bytes.NewReader(backup.Bytes())); err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, Options{})
	if got := must[Build](t)(r.Build(b.ID)); got.Number != 1 {
		t.Errorf("%+v", got)
	}
	if lines, _, err := r.Lines(b.ID, 1, 9); err != nil || len(lines) != 1 || string(lines[0].Text) != "hello" {
		t.Errorf("%v %v", lines, err)
	}
	if list, err := r.Manifest(b.ID, ""); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
	if body, err := r.Body(&large); err != nil || len(body) != smallBody+1 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if got := must[string](t)(AdminToken(dir)); got != token {
		t.Error("the admin token is another one")
	}
	if got := must[string](t)(r.LinkKey(b.ID, repo)); got != key {
		t.Error("links are other ones")
	}
	if info, err := os.Stat(filepath.Join(dir, "git", "x.git", "refs", "heads")); err != nil || !info.IsDir() {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, lock)); err == nil {
		t.Error("a lock was restored")
	}
	if err := Restore(dir, &backup); err == nil || !strings.Contains(err.Error(), "is not empty; name a new directory") {
		t.Errorf("Restore = %v", err)
	}
	archived := func(entries ...[]any) []byte {
		var b bytes.Buffer
		w := must[*zstd.Encoder](t)(zstd.NewWriter(&b))
		w.Write(archive(t, slices.Concat(entries...)...))
		w.Close()
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":  {nil, "restoring: this is no backup of buildsmith"},
		"garbage":  {[]byte("garbage"), "restoring: this is no backup of buildsmith"},
		"another":  {archived(file("README", "")), "restoring: this is no backup of buildsmith"},
		"cut":      {backup.Bytes()[:backup.Len()-20], "restoring: the backup is damaged: "},
		"tomorrow": {archived(file(backupMark, "9")), `restoring: the backup has format "9", this program knows 1`},
		"outside":  {archived(file(backupMark, version), file("a", "b"), file("../x", "")), `restoring: the backup is damaged: entry "../x"`},
		"link": {archived(file(backupMark, version), []any{tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/"}}),
			`restoring: the backup is damaged: entry "x"`},
	} {
		dir := filepath.Join(t.TempDir(), name)
		if err := Restore(dir, bytes.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if entries := must[[]os.DirEntry](t)(os.ReadDir(dir)); len(entries) > 0 {
			t.Errorf("%s: %v is left", name, entries)
		}
	}
}

// TestZipOfSmallAndLargeFiles packs files of all sizes, names and modes: the archive holds them in their order, alike whether they
// were compressed at once or as they were read, and other programs can read it.
func TestZipOfSmallAndLargeFiles(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	r := rand.New(rand.NewPCG(3, 4))
	sizes := []int{0, 1, 100, 1 << 10, smallFile - 1, smallFile, smallFile + 1, 3 * smallFile}
	contents := map[string]string{}
	var names []string
	for i := range 60 {
		name := fmt.Sprintf("d/%03d-ü.txt", i)
		text := make([]byte, sizes[r.IntN(len(sizes))])
		for j := range text {
			text[j] = byte(r.IntN(1 + i))
		}
		names, contents[name] = append(names, name), string(text)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: int64(0o600 + i%8), Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		w.Write(text)
	}
	w.WriteHeader(&tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "d"})
	w.Close()
	taken, err := s.TakeArtifacts("b", "", "out", &archive, 1<<40)
	if err != nil || taken.Files != len(names)+1 {
		t.Fatalf("%+v %v", taken, err)
	}
	manifest, err := s.Manifest("b", "")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(s.artifactsPath("b", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for i, f := range z.File[:len(names)] {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		m := manifest[i]
		if f.Name != names[i] || string(text) != contents[names[i]] || f.Mode() != fs.FileMode(0o600+i%8) || !f.Modified.Equal(packTime) || f.NonUTF8 ||
			m.Name != f.Name || m.Size != int64(len(text)) || m.SHA256 != hex.EncodeToString(sum[:]) || m.Mode != uint32(0o600+i%8) {
			t.Errorf("%d: %q %d bytes %v %v %v; %+v", i, f.Name, len(text), f.Mode(), f.Modified, f.NonUTF8, m)
		}
	}
	if l := z.File[len(names)]; l.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v", l.Mode())
	}
	if out, err := exec.Command("python3", "-c", "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(len(z.namelist()), z.namelist()[0])", s.artifactsPath("b", "")).CombinedOutput(); err == nil {
		if got := strings.TrimSpace(string(out)); got != "61 d/000-ü.txt" {
			t.Errorf("python reads %q", got)
		}
	} else if _, missing := exec.LookPath("python3"); missing == nil {
		t.Errorf("%v\n%s", err, out)
	}
}
