package forgetest

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Screen is what a program prints, while it prints.
type Screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write prints.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String is what was printed so far.
func (s *Screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// WaitFor waits until something is true, for a while.
func WaitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for range 2000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waiting in vain for %s", what)
}

// A Program is the program of a fake, with its exit status.
type Program func(ctx context.Context, args []string, stdout, stderr io.Writer) int

// Start runs the program on any free address until the test ends or stop is called, and returns the address and the screen.
func (run Program) Start(t testing.TB, data string, args ...string) (address string, out *Screen, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out = &Screen{}
	file := filepath.Join(t.TempDir(), "address")
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"-listen", "127.0.0.1:0", "-data", data, "-address-file", file}, args...), out, out)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if status := <-ended; status != 0 {
			t.Errorf("the program ended with %d: %s", status, out)
		}
	})
	t.Cleanup(stop)
	WaitFor(t, "the address", func() bool {
		text, err := os.ReadFile(file)
		address = strings.TrimSpace(string(text))
		return err == nil
	})
	return address, out, stop
}

// Call runs the program to its end, such as a client, wants an exit status, and returns what it printed.
func (run Program) Call(t testing.TB, want int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := run(t.Context(), args, &out, &out); got != want {
		t.Errorf("%q: %d, want %d: %s", args, got, want, &out)
	}
	return out.String()
}

// MustGit runs git as a person does, apart from all configuration of the machine, and wants it to succeed.
func MustGit(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "credential.helper="}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}
