package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"buildsmith/runner/agent"
	"buildsmith/runner/cache"
	"buildsmith/store"
)

// scope is where a build's cache is kept: what other branches saved never reaches a build of the default branch.
func scope(b *store.Build) string {
	if t := &b.Trigger; !t.Fork && t.PullRequest == 0 && b.Repo.DefaultBranch != "" && t.HeadRef == "refs/heads/"+b.Repo.DefaultBranch {
		return cache.Default
	}
	return cache.Other
}

// cacheMount is the directory of caches that a build may read, empty if it has none. Another repository's commit reads what
// the default branch saved, if the project allows that.
func (r *Runner) cacheMount(b *store.Build) string {
	fork := b.Trigger.Fork
	if r.caches == nil || b.Settings.Cache == store.CacheOff || fork && b.Settings.Cache != store.CacheForks {
		return ""
	}
	dir, err := r.caches.Mount(b.ProjectKey, !fork && scope(b) != cache.Default)
	if err != nil {
		r.Log.Warn("a build goes without its cache", "build", b.ID, "err", err)
		return ""
	}
	return dir
}

// keepCache keeps the cache that the agent packed. What is wrong with it is a warning in the log and does not matter to the
// build.
func (f *follower) keepCache() {
	c := f.outcome.Cache
	if c == nil || f.r.caches == nil || f.b.Trigger.Fork {
		return
	}
	name := filepath.Join(f.r.exchangeDir(f.b.Sandbox.ID), agent.CacheName)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return // it was taken before the server died
	}
	_, err := f.r.caches.Keep(f.b.ProjectKey, scope(&f.b), name, cache.Meta{Key: c.Key, Version: c.Version, Files: c.Files, Bytes: c.Size}, f.b.Settings.Disk)
	switch {
	case err == nil, errors.Is(err, cache.ErrExists):
		return
	}
	f.log.Warn("keeping a cache", "err", err)
	if err := f.logf("Unable to upload cache: %v", err); err != nil {
		f.log.Warn("writing to a log", "err", err)
	}
}

// toldScope is the scope that an agent named; the sandbox of a build that sees one scope alone has it without a name.
func toldScope(name string) string {
	if name == "" {
		return cache.Default
	}
	return name
}

// useCache records that a build has restored a cache: what is not used goes first. Another repository's commit changes nothing
// here.
func (f *follower) useCache(from, id string) {
	if f.r.caches == nil || f.b.Trigger.Fork {
		return
	}
	if err := f.r.caches.Use(f.b.ProjectKey, toldScope(from), id); err != nil {
		f.log.Warn("recording the use of a cache", "err", fmt.Errorf("%s: %w", id, err))
	}
}

// dropCache removes a cache that the agent found damaged, if it is one that the build could have made itself.
func (f *follower) dropCache(from, id string) {
	if f.r.caches == nil || f.b.Trigger.Fork || toldScope(from) != scope(&f.b) {
		return
	}
	if err := f.r.caches.Drop(f.b.ProjectKey, toldScope(from), id); err != nil {
		f.log.Warn("removing a damaged cache", "err", fmt.Errorf("%s: %w", id, err))
	}
}

// sweepCaches removes the caches that are beyond the limits.
func (r *Runner) sweepCaches() {
	if r.caches == nil {
		return
	}
	swept, err := r.caches.Sweep(r.CacheLimits)
	if err != nil {
		r.Log.Warn("removing caches", "err", err)
	}
	if swept.Entries > 0 {
		r.Log.Info("removed caches that were not used", "caches", swept.Entries, "bytes", swept.Bytes)
	}
}

// shrinkCaches removes half of what caches hold: what they save is worth less than the builds that a full disk keeps waiting. It is
// called again while the disk is full.
func (r *Runner) shrinkCaches() {
	if r.caches == nil {
		return
	}
	bytes, entries, err := r.caches.Size()
	if err == nil && entries > 0 {
		var swept cache.Swept
		swept, err = r.caches.Sweep(cache.Limits{Size: max(1, bytes/2), Age: r.CacheLimits.Age})
		r.Log.Info("removed caches, since the disk is nearly full", "caches", swept.Entries, "bytes", swept.Bytes)
	}
	if err != nil {
		r.Log.Warn("removing caches", "err", err)
	}
}
