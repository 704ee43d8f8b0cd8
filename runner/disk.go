package runner

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/store"
)

// The disk a build uses is looked at this often, and less often where looking takes long.
const (
	diskInterval = 2 * time.Second
	diskShare    = 20 // at most one part in so many of the time is spent on looking
)

// watchDisk ends a build that uses more of the disk than it may. When little is left it ends a build that uses much, and when
// next to nothing is left the youngest, whatever it seems to use: files that have no name any more cannot be counted.
func (w *work) watchDisk(ctx context.Context, limit int64) {
	for pause, room := diskInterval, int64(0); w.awaitLook(ctx, pause, room); {
		begun := time.Now()
		used, err := treeSize(ctx, w.r.sandboxDir(w.sandbox))
		if errors.Is(err, errTooDeep) {
			w.kill(ctx, failed("", agent.CodeClient, "The build made a tree of directories deeper than a path can be."))
			return
		}
		if layer, err := w.r.Sandbox.Usage(ctx, w.sandbox); err == nil {
			used += layer
		}
		if ctx.Err() != nil {
			return
		}
		if limit > 0 && used > limit {
			w.kill(ctx, failed("", agent.CodeClient, "The build used %s of disk; its limit is %s.", size(used), size(limit)))
			return
		}
		if disk, err := w.r.Store.Disk(); err == nil {
			switch {
			case disk.Free < disk.Reserve/2 && used > disk.Reserve/2:
				w.kill(ctx, failed("", agent.CodeClient, "The disk of the build host is nearly full, and this build used %s of it.", size(used)))
				return
			case disk.Free < disk.Reserve/4 && w.youngest():
				w.kill(ctx, fault("", errors.New("The disk of the build host is nearly full, and this build was the last to begin.")))
				return
			}
		}
		pause, room = max(diskInterval, diskShare*time.Since(begun)), limit-used
	}
}

// awaitLook waits until it is time to look again: after a pause, or before if the disk has lost half of the room that the
// build had left, whoever took it. It reports false if ctx was done first.
func (w *work) awaitLook(ctx context.Context, pause time.Duration, room int64) bool {
	before, err := w.r.Store.Disk()
	for end := time.Now().Add(pause); time.Now().Before(end); {
		if !sleep(ctx, min(diskInterval, time.Until(end))) {
			return false
		}
		if now, failed := w.r.Store.Disk(); err == nil && failed == nil && room > 0 && before.Free-now.Free > room/2 {
			return true
		}
	}
	return ctx.Err() == nil
}

// youngest reports whether no build that runs was begun later.
func (w *work) youngest() bool {
	var last store.Build
	err := w.r.Store.View(func(tx *store.Tx) error {
		running, err := tx.RunningBuilds()
		for _, b := range running {
			if b.Claimed.After(last.Claimed) {
				last = b
			}
		}
		return err
	})
	return err == nil && last.ID == w.id
}

// sleep waits; it reports false if ctx was done first.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// errTooDeep says that a tree cannot be looked at: it has paths longer than the kernel takes.
var errTooDeep = errors.New("too deep")

// treeSize is how much of the disk a tree takes. It looks at names only: nothing a container made is opened.
func treeSize(ctx context.Context, dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, syscall.ENAMETOOLONG) {
			return errTooDeep
		}
		if err != nil {
			return nil // it goes on changing
		}
		if info, err := e.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				total += stat.Blocks*512 + 512
			}
		} else if errors.Is(err, syscall.ENAMETOOLONG) {
			return errTooDeep
		}
		return ctx.Err()
	})
	return total, err
}
