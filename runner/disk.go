package runner

import (
	"context"
	"errors"
	"os"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/store"

	"golang.org/x/sys/unix"
)

// The disk a build uses is looked at this often, and less often where looking takes long.
const (
	diskInterval = 2 * time.Second
	diskShare    = 20 // one part in so many of the time is spent on looking, if that lets it look often enough
	maxDiskPause = time.Minute
)

// watchDisk ends a build that uses more of the disk than it may. When little is left it ends a build that uses much, and when
// next to nothing is left the youngest, whatever it seems to use: files that have no name any more cannot be counted.
func (w *work) watchDisk(ctx context.Context, limit int64) {
	for pause, room := diskInterval, int64(0); w.awaitLook(ctx, pause, room); {
		begun := time.Now()
		used, err := treeSize(ctx, w.r.sandboxDir(w.sandbox))
		if errors.Is(err, errTooDeep) {
			w.kill(ctx, failed("", agent.CodeClient, "The build made more than %d directories in one another.", maxDepth))
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
		pause, room = min(max(diskInterval, diskShare*time.Since(begun)), maxDiskPause), limit-used
	}
}

// awaitLook waits until it is time to look again: after a pause, or before if the disk is nearly full, or has lost half of the
// room that the build had left, whoever took it. It reports false if ctx was done first.
func (w *work) awaitLook(ctx context.Context, pause time.Duration, room int64) bool {
	before, err := w.r.Store.Disk()
	for end := time.Now().Add(pause); time.Now().Before(end); {
		if !sleep(ctx, min(diskInterval, time.Until(end))) {
			return false
		}
		now, failed := w.r.Store.Disk()
		if err == nil && failed == nil && (now.Free < now.Reserve/2 || room > 0 && before.Free-now.Free > room/2) {
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

// errTooDeep says that a tree has more than maxDepth directories in one another: each is held open while it is looked at.
var errTooDeep = errors.New("too deep")

const maxDepth = 1000

// treeSize is how much of the disk a tree takes. It opens directories alone, and from one to the next, since a container can put
// a link where a directory was: nothing outside of the tree is looked at.
func treeSize(ctx context.Context, dir string) (int64, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil // it is gone
	}
	return directorySize(ctx, fd, 0)
}

// directorySize is treeSize of an open directory, which it closes.
func directorySize(ctx context.Context, fd, depth int) (total int64, err error) {
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	if depth > maxDepth {
		return 0, errTooDeep
	}
	for ctx.Err() == nil {
		names, err := f.Readdirnames(1000)
		for _, name := range names {
			var stat unix.Stat_t
			if unix.Fstatat(fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // it goes on changing
			}
			total += stat.Blocks*512 + 512
			if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
			below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			size, err := directorySize(ctx, below, depth+1)
			if total += size; err != nil {
				return total, err
			}
		}
		if err != nil { // the end, or it cannot be read
			return total, nil
		}
	}
	return total, ctx.Err()
}
