package agent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRemoveTree removes what a build could leave: deeper than a path can be and than there are descriptors, links to
// elsewhere, many files.
func TestRemoveTree(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	dir := filepath.Join(t.TempDir(), "tree")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755), os.WriteFile(outside, nil, 0o600), os.Symlink(filepath.Dir(outside), filepath.Join(dir, "a", "link"))); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(dir, "a", strings.Repeat("x", 1+i%200)+string(rune('a'+i/200))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is moved up finds its names taken.
	for _, name := range []string{".moved-1/full", ".moved-2/full"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".moved-3"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Two chains side by side, with names that make their paths too long at once.
	for _, name := range []string{"d", strings.Repeat("e", 255)} {
		fd, err := syscall.Open(filepath.Join(dir, "a", "b"), syscall.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			if err := syscall.Mkdirat(fd, name, 0o755); err != nil {
				t.Fatal(err)
			}
			next, err := syscall.Openat(fd, name, syscall.O_DIRECTORY, 0)
			if err != nil {
				t.Fatal(err)
			}
			syscall.Close(fd)
			fd = next
		}
		syscall.Close(fd)
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	few := syscall.Rlimit{Cur: 100, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	for range 2 { // the second time there is nothing
		if err := RemoveTree(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("what a link led to is gone: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := errors.Join(os.Symlink(filepath.Dir(outside), link), RemoveTree(link)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("what the link led to is gone: %v", err)
	}
}
