package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"buildsmith/runner/cache"
)

// maxCached is how many files and directories a cache may have.
const maxCached = 2_000_000

// notCached is what is the agent's own.
var notCached = []string{filepath.Dir(ProgramPath), StateDir, ToolsDir}

// context is done when the build is cut, and after end, which frees what it holds.
func (b *build) context() (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-b.cut:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		watcher.Wait()
	}
}

// restoreCache brings back what an earlier build kept. Whatever goes wrong, the build goes on without it.
func (b *build) restoreCache() error {
	c := b.job.Cache
	if c == nil || b.shell.find(b.job.Shell) != nil { // without a shell the first phase fails, and says why
		return nil
	}
	key, fallback, err := b.cacheKeys(c)
	switch {
	case err != nil:
	case cache.CheckKey(key) != nil:
		err = cache.CheckKey(key)
	case key == "" && c.Key != "":
		err = fmt.Errorf("the key %s expands to nothing", c.Key)
	case b.log.mask.text(key) != key:
		err = fmt.Errorf("the key %s holds a secret", c.Key)
	}
	if err != nil {
		b.keyless = true
		return b.withoutCache("Unable to initialize cache download", err)
	}
	b.key = key
	ctx, end := b.context()
	defer end()
	var entry cache.Entry
	var stats cache.Stats
	for tries := 0; ; tries++ {
		var found bool
		entry, found = cache.Choose(CacheDir, cache.Version(c.Paths), key, fallback)
		switch {
		case !c.Restore:
			return nil
		case !found && key == "":
			b.log.Logf("Cache: there is none yet")
			return nil
		case !found:
			b.log.Logf("Cache: there is none for the key %s", key)
			return nil
		}
		stats, err = cache.Restore(ctx, entry, b.job.Dir, cache.RestoreOptions{Limit: c.Limit, Entries: maxCached, Except: notCached, Logf: b.log.Logf})
		if !errors.Is(err, fs.ErrNotExist) || tries == 3 {
			break
		}
		// A newer one took its place.
	}
	if err != nil {
		if errors.Is(err, cache.ErrDamaged) {
			b.broken = true
			b.log.event(Event{Kind: Broken, ID: entry.ID, Detail: entry.Scope})
		}
		return b.withoutCache("Unable to download cache", err)
	}
	b.log.event(Event{Kind: Restored, ID: entry.ID, Detail: entry.Scope})
	b.log.Logf("Cache: restored %s: %s", or(entry.Key, "the last one"), cacheStats(stats))
	return nil
}

// cacheKeys lets the build's shell expand the keys.
func (b *build) cacheKeys(c *Cache) (key string, fallback []string, err error) {
	if key, err = b.expand("cache.key", c.Key); err != nil {
		return "", nil, err
	}
	for _, text := range c.Fallback {
		f, err := b.expand("cache.fallback-keys", text)
		if err != nil {
			return "", nil, err
		}
		fallback = append(fallback, f)
	}
	return key, fallback, nil
}

// withoutCache prints why there is no cache. What it returns ends the build only if the build has been cut.
func (b *build) withoutCache(what string, err error) error {
	if b.isCut() || errors.Is(err, errCut) {
		return errCut
	}
	b.log.Logf("%s: %v", what, err)
	return nil
}

// saveCache packs what the next build is to find.
func (b *build) saveCache() error {
	c := b.job.Cache
	switch {
	case c == nil || !c.Save || b.keyless:
		return nil
	case b.key != "" && !b.broken: // it may have been restored, or saved by another build meanwhile
		if _, found := cache.Choose(CacheDir, cache.Version(c.Paths), b.key, nil); found {
			b.log.Logf("Cache: there is one of the key %s already", b.key)
			return nil
		}
	}
	const failed = "Unable to upload cache"
	name := filepath.Join(b.dir, CacheName)
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return b.withoutCache(failed, err)
	}
	defer out.Close()
	ctx, end := b.context()
	defer end()
	stats, err := cache.Pack(ctx, out, b.job.Dir, c.Paths, cache.PackOptions{Limit: c.Limit, Entries: maxCached, Except: notCached, Logf: b.log.Logf})
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		_ = os.Remove(name)
		return b.withoutCache(failed, err)
	}
	b.log.event(Event{Kind: Caching, Message: b.key, Detail: cache.Version(c.Paths), Files: stats.Files, Size: stats.Bytes})
	b.log.Logf("Cache: saved %s: %s", or(b.key, "what the next build finds"), cacheStats(stats))
	return nil
}

func cacheStats(s cache.Stats) string {
	text := fmt.Sprintf("%d files, %d bytes, packed %d bytes, in %.2f s", s.Files, s.Bytes, s.Packed, s.Took.Round(10*time.Millisecond).Seconds())
	if s.Kept > 0 {
		text += fmt.Sprintf("; %d stay as they are, since they were there", s.Kept)
	}
	return text
}
