package store

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkTakeArtifacts makes the zip of 300 MB in 30,000 files from the agent's archive, and prints how long that took
// against `tar | zstd -T0` of the same files, which are on the disk, in pairs: the median of the ratios, least and most.
func BenchmarkTakeArtifacts(b *testing.B) {
	if _, err := exec.LookPath("zstd"); err != nil {
		b.Skip("zstd is missing")
	}
	dir, archive := manyFiles(b, 30_000, 300<<20)
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var ratios []float64
	for b.Loop() {
		begun := time.Now()
		cmd := exec.Command("sh", "-c", "tar -c . | zstd -q -T0 -o /dev/null -f")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		theirs := time.Since(begun)
		begun = time.Now()
		if _, err := s.TakeArtifacts("build", "", "out", bytes.NewReader(archive), 1<<40); err != nil {
			b.Fatal(err)
		}
		ratios = append(ratios, float64(time.Since(begun))/float64(theirs))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "zip/zstd")
	b.ReportMetric(ratios[0], "least")
	b.ReportMetric(ratios[len(ratios)-1], "most")
}

// manyFiles makes files of text below a directory, and a tar archive of them.
func manyFiles(b *testing.B, count int, size int64) (dir string, archive []byte) {
	b.Helper()
	dir = b.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4000)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", r.Uint64()>>(8+r.IntN(48)))
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range count {
		var text []byte
		for n := size / int64(count) / 2 * int64(1+r.IntN(3)) * 2 / 2; int64(len(text)) < n; {
			text = append(text, words[r.IntN(1+r.IntN(len(words)))]...)
		}
		name := fmt.Sprintf("d%d/f%d.txt", i%300, i)
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			b.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return dir, out.Bytes()
}
