package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestTreeSize has links put where directories were while it looks: it never looks where they lead.
func TestTreeSize(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(outside, string(rune('a'+i))), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	if err := errors.Join(os.Mkdir(a, 0o700), os.Symlink(outside, b), os.WriteFile(filepath.Join(a, "file"), make([]byte, 100_000), 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for ctx.Err() == nil {
			_ = errors.Join(os.Rename(a, c), os.Rename(b, a), os.Rename(a, b), os.Rename(c, a))
		}
	})
	for range 3000 {
		if n, err := treeSize(t.Context(), dir); n > 1<<20 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	cancel()
	swapping.Wait()
	if n, err := treeSize(t.Context(), dir); n < 100_000 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, err := treeSize(t.Context(), b); n != 0 || err != nil {
		t.Errorf("a link to elsewhere has %d bytes, %v", n, err)
	}
}
