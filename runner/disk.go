package runner

import (
	"context"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"buildsmith/runner/agent"
)

// The disk a build uses is looked at this often, and less often where looking takes long.
const (
	diskInterval = 2 * time.Second
	diskShare    = 20 // at most one part in so many of the time is spent on looking
)

// watchDisk ends a build that uses more of the disk than it may, or much when little is left.
func (w *work) watchDisk(ctx context.Context, limit int64) {
	pause := diskInterval
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		begun := time.Now()
		used := treeSize(ctx, w.r.sandboxDir(w.sandbox))
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
		if disk, err := w.r.Store.Disk(); err == nil && disk.Free < disk.Reserve/2 && used > disk.Reserve/2 {
			w.kill(ctx, failed("", agent.CodeClient, "The disk of the build host is nearly full, and this build used %s of it.", size(used)))
			return
		}
		pause = max(diskInterval, diskShare*time.Since(begun))
	}
}

// treeSize is how much of the disk a tree takes. It looks at names only: nothing a container made is opened.
func treeSize(ctx context.Context, dir string) (total int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it goes on changing
		}
		if info, err := e.Info(); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				total += stat.Blocks*512 + 512
			}
		}
		return ctx.Err()
	})
	return total
}
