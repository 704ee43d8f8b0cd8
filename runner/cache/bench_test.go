package cache_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/cache"
)

// sourceText is the source of Go's own packages and tools, one file after the other.
func sourceText(tb testing.TB) []byte {
	tb.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		tb.Skip(err)
	}
	var text []byte
	err = filepath.WalkDir(filepath.Join(strings.TrimSpace(string(out)), "src"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".go") {
			return err
		}
		content, err := os.ReadFile(path)
		text = append(text, content...)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if len(text) < 20<<20 {
		tb.Skipf("the source of Go has %d bytes only", len(text))
	}
	return text
}

// nodeModules makes a directory like the node_modules of a large application: files in packages, which lie side by side, some
// of them in scopes or in packages of their own, with a few large bundles. It returns the bytes it wrote.
func nodeModules(tb testing.TB, dir string, files int, size int64) int64 {
	tb.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var words []string
	for range 1200 {
		word := make([]byte, 3+r.IntN(10))
		for i := range word {
			word[i] = byte('a' + r.IntN(26))
		}
		words = append(words, string(word))
	}
	// The text is of programs, as it is there.
	source := sourceText(tb)
	text := func(n int) []byte {
		from := r.IntN(len(source) - n)
		return source[from : from+n]
	}
	license := text(1100)
	kinds := []string{".js", ".js", ".js", ".d.ts", ".js.map", ".mjs", ".ts", ".json", ".md"}
	var total int64
	write := func(name string, content []byte, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, content, mode); err != nil {
			tb.Fatal(err)
		}
		when := time.Unix(1_700_000_000+r.Int64N(10_000_000), r.Int64N(1_000_000_000))
		if err := os.Chtimes(path, when, when); err != nil {
			tb.Fatal(err)
		}
		total += int64(len(content))
		files--
	}
	for i := range 12 {
		write(fmt.Sprintf(".cache/bundle-%d.js", i), text(4<<20), 0o644)
	}
	average := float64(size-total) / float64(files)
	for p := 0; files > 0; p++ {
		name := fmt.Sprintf("%s-%d", words[r.IntN(len(words))], p)
		switch p % 7 {
		case 0:
			name = "@" + words[100+p%90] + "/" + name
		case 1:
			name = fmt.Sprintf("%s/node_modules/%s", words[50+r.IntN(40)], name)
		}
		write(name+"/package.json", text(900+r.IntN(900)), 0o644)
		write(name+"/LICENSE", license, 0o644)
		for n := 4 + r.IntN(60); n > 0 && files > 0; n-- {
			sub := []string{"", "lib/", "lib/", "dist/cjs/", "dist/esm/", "dist/esm/internal/", "src/"}[r.IntN(7)]
			mode := os.FileMode(0o644)
			if r.IntN(50) == 0 {
				mode = 0o755
			}
			// The sizes of files are spread over orders of magnitude.
			length := int(average * math.Exp(r.NormFloat64()*1.3-0.85))
			write(fmt.Sprintf("%s/%s%s-%d%s", name, sub, words[r.IntN(len(words))], n, kinds[r.IntN(len(kinds))]), text(min(length, 2<<20)), mode)
		}
	}
	return total
}

// The benchmarks work in a directory of their own, below TMPDIR. On ext4 they tell little for some minutes after many files were
// removed from it: it looks at every inode that was freed lately before it takes one (recently_deleted in fs/ext4/ialloc.c), and
// restoring takes several times as long, for tar as well. A tmpfs has no such memory.

// rounds is how many pairs a benchmark runs.
const rounds = 5

// compare runs pairs of ours and theirs in alternating order and reports the medians of their ratios: of the time that passed, and of
// the processor time, which other programs on the machine disturb less.
func compare(b *testing.B, ours, theirs func(round int)) {
	b.Helper()
	cpu := func() (total float64) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var u syscall.Rusage
			if err := syscall.Getrusage(who, &u); err != nil {
				b.Fatal(err)
			}
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
		}
		return total
	}
	var took, used [2][]float64
	for round := range rounds {
		for i := range 2 {
			who := (i + round) % 2
			syscall.Sync() // what is written later is not part of it
			began, before := time.Now(), cpu()
			[]func(int){ours, theirs}[who](round)
			took[who] = append(took[who], time.Since(began).Seconds())
			used[who] = append(used[who], cpu()-before)
		}
	}
	ratios := func(m [2][]float64) (r []float64) {
		for i := range m[0] {
			r = append(r, m[0][i]/m[1][i])
		}
		return r
	}
	b.ReportMetric(median(ratios(took)), "ratio")
	b.ReportMetric(median(ratios(used)), "cpu-ratio")
	b.ReportMetric(median(took[0]), "s/ours")
	b.ReportMetric(median(took[1]), "s/theirs")
	b.ReportMetric(0, "ns/op")
	b.Logf("time %.2f and %.2f, ratios %.2f; processor %.2f and %.2f, ratios %.2f", took[0], took[1], ratios(took), used[0], used[1], ratios(used))
}

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

func shell(b *testing.B, script string, args ...string) {
	b.Helper()
	out, err := exec.Command("bash", append([]string{"-c", "set -o pipefail; " + script, "bash"}, args...)...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", script, err, out)
	}
}

func benchTree(b *testing.B) (dir string) {
	for _, program := range []string{"bash", "tar", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skip(err)
		}
	}
	dir = b.TempDir()
	b.Logf("%d bytes", nodeModules(b, filepath.Join(dir, "src", "node_modules"), 30_000, 300<<20))
	return dir
}

func packTo(b *testing.B, name, root string) cache.Entry {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	s, err := cache.Pack(b.Context(), f, root, []string{"node_modules/**/*"}, cache.PackOptions{Logf: b.Logf})
	if err := errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	e := cache.Entry{Dir: filepath.Dir(name), ID: strings.TrimSuffix(filepath.Base(name), ".tar.zst")}
	e.Size, e.Files, e.Bytes = s.Packed, s.Files, s.Bytes
	return e
}

// BenchmarkPack compares saving 30,000 files with tar and zstd.
func BenchmarkPack(b *testing.B) {
	dir := benchTree(b)
	root := filepath.Join(dir, "src")
	ours, theirs := filepath.Join(dir, "ours.tar.zst"), filepath.Join(dir, "theirs.tar.zst")
	compare(b, func(int) { packTo(b, ours, root) }, func(int) {
		shell(b, `tar -c -C "$1" node_modules | zstd -T0 -q -f -o "$2"`, root, theirs)
	})
	a, err := os.Stat(ours)
	z, err2 := os.Stat(theirs)
	if err := errors.Join(err, err2); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(a.Size())/float64(z.Size()), "size-ratio")
}

// BenchmarkRestore compares restoring them.
func BenchmarkRestore(b *testing.B) {
	dir := benchTree(b)
	e := packTo(b, filepath.Join(dir, "ours.tar.zst"), filepath.Join(dir, "src"))
	theirs := filepath.Join(dir, "theirs.tar.zst")
	shell(b, `tar -c -C "$1" node_modules | zstd -T0 -q -f -o "$2"`, filepath.Join(dir, "src"), theirs)
	place := func(who string, round int) string {
		path := filepath.Join(dir, fmt.Sprint(who, round))
		if err := os.Mkdir(path, 0o755); err != nil {
			b.Fatal(err)
		}
		return path
	}
	// What was restored stays until the end: some file systems are slow for a while after files were removed.
	compare(b, func(round int) {
		s, err := cache.Restore(b.Context(), e, place("ours", round), cache.RestoreOptions{Logf: b.Logf})
		if err != nil || s.Files != e.Files {
			b.Fatal(s, err)
		}
	}, func(round int) {
		shell(b, `zstd -d -q -c "$1" | tar -x -C "$2"`, theirs, place("theirs", round))
	})
}
