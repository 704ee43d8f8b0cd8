package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/agent"
	"buildsmith/runner/runnertest"
	"buildsmith/store"
)

// TestStartIsBrokenOff breaks off the start of sandboxes at several moments: what Remove has removed does not come later.
func TestStartIsBrokenOff(t *testing.T) {
	d := newDocker(t, nil)
	if err := d.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(d.Data, "run", "broken")
	if err := errors.Join(os.MkdirAll(base+"/source", 0o755), os.MkdirAll(base+"/objects", 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Prepare(base + "/exchange"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			id := fmt.Sprintf("broken%d-%d", os.Getpid(), i)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Millisecond)
			defer cancel()
			_ = d.Start(ctx, runner.Spec{ID: id, Image: runnertest.BusyboxImage, Exchange: base + "/exchange", Source: base + "/source", Objects: base + "/objects",
				Memory: 64 << 20, Network: store.NetworkNone})
			if err := d.Remove(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	time.Sleep(time.Second) // for what the engine might still be doing
	if ids, err := d.List(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("left behind: %v %v", ids, err)
		for _, id := range ids {
			d.Remove(t.Context(), id)
		}
	}
}
