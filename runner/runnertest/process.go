package runnertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"buildsmith/runner"
)

// NoSuchImage is the name of an image that no sandbox has.
const NoSuchImage = "buildsmith-test-there-is-no-such-image:latest"

// Processes is a sandbox whose agents are processes of this machine that see its files with a layer of their own above
// them. The zero value is not ready: use NewProcesses.
type Processes struct {
	dir string

	mu        sync.Mutex
	sandboxes map[string]*process
	Starts    int // how many were started
}

type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	exit  runner.Exit
}

// NewProcesses gives a sandbox that keeps what it needs below dir.
func NewProcesses(dir string) *Processes {
	return &Processes{dir: dir, sandboxes: map[string]*process{}}
}

var _ runner.Sandbox = (*Processes)(nil)

// Ready implements runner.Sandbox.
func (p *Processes) Ready(context.Context) error { return nil }

// Pull implements runner.Sandbox.
func (p *Processes) Pull(_ context.Context, image string) (bool, error) {
	if image == NoSuchImage {
		return false, fmt.Errorf("image %s: %w", image, runner.ErrImage)
	}
	return false, nil
}

// Start implements runner.Sandbox.
func (p *Processes) Start(_ context.Context, s runner.Spec) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Image == NoSuchImage {
		return fmt.Errorf("image %s: %w", s.Image, runner.ErrImage)
	}
	if p.sandboxes[s.ID] != nil {
		return nil
	}
	scratch := filepath.Join(p.dir, s.ID)
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	cmd := AgentCommand(scratch, s.Exchange, s.Source, s.Objects, s.Cache, s.OwnCache, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
	if err := cmd.Start(); err != nil {
		return err
	}
	p.Starts++
	one := &process{cmd: cmd, ended: make(chan struct{})}
	p.sandboxes[s.ID] = one
	go func() {
		defer close(one.ended)
		cmd.Wait()
		one.exit = runner.Exit{Status: cmd.ProcessState.ExitCode(), Detail: cmd.ProcessState.String()}
	}()
	return nil
}

func (p *Processes) get(id string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sandboxes[id]
}

// Stop implements runner.Sandbox.
func (p *Processes) Stop(_ context.Context, id string) error {
	one := p.get(id)
	if one == nil {
		return nil
	}
	if err := one.cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Wait implements runner.Sandbox.
func (p *Processes) Wait(ctx context.Context, id string) (runner.Exit, error) {
	one := p.get(id)
	if one == nil {
		return runner.Exit{Gone: true}, nil
	}
	select {
	case <-one.ended:
		return one.exit, nil
	case <-ctx.Done():
		return runner.Exit{}, ctx.Err()
	}
}

// Remove implements runner.Sandbox.
func (p *Processes) Remove(_ context.Context, id string) error {
	one := p.get(id)
	if one == nil {
		return nil
	}
	one.cmd.Process.Kill()
	<-one.ended
	p.mu.Lock()
	delete(p.sandboxes, id)
	p.mu.Unlock()
	return os.RemoveAll(filepath.Join(p.dir, id))
}

// List implements runner.Sandbox.
func (p *Processes) List(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.sandboxes {
		ids = append(ids, id)
	}
	return ids, nil
}

// Usage implements runner.Sandbox. What is written here goes to memory, which nobody counts.
func (p *Processes) Usage(context.Context, string) (int64, error) { return 0, nil }

// RemoveDir implements runner.Sandbox.
func (p *Processes) RemoveDir(_ context.Context, dir string) error { return os.RemoveAll(dir) }
