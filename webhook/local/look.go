package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	lookEvery  = time.Minute // how often repositories are looked at for pushes that nobody told of
	firstPause = 5 * time.Second
	lastPause  = 10 * time.Minute
)

// A sight is what is known of a repository beside its refs in the store.
type sight struct {
	pushes int    // under way: they compare the refs themselves when they are done
	mark   string // of the refs as they were compared last
	tries  int    // comparisons that failed since
	next   time.Time
}

func (f *Forge) sightLocked(name string) *sight {
	s := f.seen[name]
	if s == nil {
		s = &sight{}
		f.seen[name] = s
	}
	return s
}

// pushing records that a push begins, or ends.
func (f *Forge) pushing(name string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sightLocked(name).pushes += n
}

// mark changes when a ref of a repository does: it is made of what the file system says of the files that refs lie in, each
// of which Git replaces by another. It takes no process.
func (f *Forge) mark(name string) string {
	sum := sha256.New()
	add := func(path string, info fs.FileInfo, err error) {
		if err != nil {
			fmt.Fprintln(sum, path, "-")
			return
		}
		stat, _ := info.Sys().(*syscall.Stat_t)
		fmt.Fprintln(sum, path, info.Size(), info.ModTime().UnixNano(), stat.Ino)
	}
	packed := filepath.Join(f.path(name), "packed-refs")
	info, err := os.Lstat(packed)
	add(packed, info, err)
	_ = filepath.WalkDir(filepath.Join(f.path(name), "refs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // what cannot be read is seen when the refs are
		}
		info, err := e.Info()
		add(path, info, err)
		return nil
	})
	return string(sum.Sum(nil))
}

// saw records what came of a comparison.
func (f *Forge) saw(name, mark string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.sightLocked(name)
	if err == nil {
		s.mark, s.tries, s.next = mark, 0, time.Time{}
		return
	}
	s.mark = ""
	s.next = time.Now().Add(min(firstPause<<min(s.tries, 10), lastPause))
	s.tries++
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// due reports whether a repository is to be compared now.
func (f *Forge) due(name string) bool {
	f.mu.Lock()
	s := *f.sightLocked(name)
	f.mu.Unlock()
	return s.pushes == 0 && !time.Now().Before(s.next) && (s.mark == "" || s.mark != f.mark(name))
}

// forget drops what is known of repositories that are there no longer.
func (f *Forge) forget(there map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.seen, func(name string, s *sight) bool { return s.pushes == 0 && !there[name] })
}

// look compares repositories, now and then, until ctx is done.
func (f *Forge) look(ctx context.Context) {
	for {
		if err := f.ReconcileAll(ctx); err != nil && ctx.Err() == nil {
			f.Log.Error("comparing refs", "err", err)
		}
		for wait := lookEvery; wait > 0; {
			timer := time.NewTimer(min(wait, f.pause()))
			began := time.Now()
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
				wait = 0
			case <-f.wake: // there may be less to wait for
				wait -= time.Since(began)
			}
			timer.Stop()
		}
	}
}

// pause is how long until the first of the comparisons that failed is due.
func (f *Forge) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	pause := lookEvery
	for _, s := range f.seen {
		if s.tries > 0 && s.pushes == 0 {
			pause = min(pause, max(time.Until(s.next), time.Second))
		}
	}
	return pause
}

// tidy removes what pushes left that were broken off by the end of their server: locks that nobody holds, and objects that
// no ref will ever need. Nothing else uses the repositories yet.
func (f *Forge) tidy() error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".git")
		if !ok || !valid(name) || !e.IsDir() {
			continue
		}
		failed := filepath.WalkDir(f.path(name), func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(f.path(name), path)
			switch dir := filepath.Dir(rel); {
			case err != nil:
				return err
			case e.IsDir() && dir == "objects" && strings.HasPrefix(e.Name(), "tmp_objdir-"):
				if err := os.RemoveAll(path); err != nil {
					return err
				}
				return fs.SkipDir
			case e.IsDir() && dir == "objects" && len(e.Name()) == 2:
				return fs.SkipDir // objects alone
			case e.Type().IsRegular() && strings.HasSuffix(e.Name(), ".lock"):
				return os.Remove(path)
			}
			return nil
		})
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("tidying up repository %s: %w", name, failed))
		}
	}
	return err
}
