package forgetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Fake is what a program serves.
type Fake interface {
	http.Handler

	// Await waits until something is true that depends on what happens to the fake, or the context ends.
	Await(ctx context.Context, holds func() bool) error

	// Violations are what was found so far.
	Violations() []Violation
}

// A Teller tells people what happens, a line for each thing.
type Teller struct {
	W io.Writer

	mu sync.Mutex // held while a line is written
}

// Say writes a line.
func (t *Teller) Say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.W, format+"\n", args...)
}

// violations tells of violations as they are found.
func (t *Teller) violations(ctx context.Context, fake Fake) {
	seen := 0
	for {
		err := fake.Await(ctx, func() bool { return len(fake.Violations()) > seen })
		for _, v := range fake.Violations()[seen:] {
			t.Say("WRONG    %s", v)
			seen++
		}
		if err != nil {
			return
		}
	}
}

// Serve serves a fake, which is called name, until the context ends, and tells of its violations. Ready is called when it can
// be reached.
func (t *Teller) Serve(ctx context.Context, listener net.Listener, fake Fake, name string, ready func() error) error {
	server := &http.Server{Handler: fake, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := ready(); err != nil {
		return errors.Join(err, server.Close())
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		t.violations(ctx, fake)
	}()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = server.Close()
		<-watched
	}
	if n := len(fake.Violations()); n > 0 && err == nil {
		t.Say("%d requests were not what %s takes.", n, name)
	}
	return err
}

// Hello are the files of a repository to begin with.
var Hello = map[string]string{"buildspec.yml": `version: 0.2
phases:
  build:
    commands:
      - echo "Hello from $(pwd)"
`}

// IsNew reports whether a repository has nothing from an earlier run.
func IsNew(dir string) (bool, error) {
	refs, err := Refs(dir)
	return len(refs) == 0, err
}
