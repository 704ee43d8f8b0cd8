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

// scope is where a build's cache is kept. What one branch saved reaches no build of another, which may have other secrets, but
// what the default branch saved reaches all.
func scope(b *store.Build) string {
	if t := &b.Trigger; !t.Fork && t.PullRequest == 0 && b.Repo.DefaultBranch != "" && t.HeadRef == "refs/heads/"+b.Repo.DefaultBranch {
		return cache.Default
	} else if t.PullRequest != 0 { // it has the name of its branch, but is none of its builds
		return cache.ScopeOf("pull request of " + t.HeadRef)
	}
	return cache.ScopeOf(b.Trigger.HeadRef)
}

// cacheMounts are the directories of caches that a build may read: what the default branch saved, and what its own ref did. Another
// repository's commit reads the former, if the project allows that.
func (r *Runner) cacheMounts(b *store.Build) (shared, own string) {
	fork := b.Trigger.Fork
	if r.caches == nil || b.Settings.Cache == store.CacheOff || fork && b.Settings.Cache != store.CacheForks {
		return "", ""
	}
	shared, err := r.caches.Mount(b.ProjectKey, cache.Default)
	if s := scope(b); err == nil && !fork && s != cache.Default {
		own, err = r.caches.Mount(b.ProjectKey, s)
	}
	if err != nil {
		r.Log.Warn("a build goes without its cache", "build", b.ID, "err", err)
		return "", ""
	}
	return shared, own
}

// keepCache keeps the cache that the agent packed. What is wrong with it is a warning in the log and does not matter to the
// build.
func (f *follower) keepCache() {
	c := f.outcome.Cache
	if c == nil || f.r.caches == nil || f.b.Trigger.Fork || f.b.Planned == nil || c.Version != f.b.Planned.Cache {
		return
	}
	name := filepath.Join(f.r.exchangeDir(f.b.Sandbox.ID), agent.CacheName)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return // it was taken before the server died
	}
	_, err := f.r.caches.Keep(f.b.ProjectKey, scope(&f.b), name, cache.Meta{Key: c.Key, Version: c.Version, Files: c.Files, Bytes: c.Size}, f.r.cacheLimit(&f.b))
	switch {
	case err == nil, errors.Is(err, cache.ErrExists):
		return
	}
	f.log.Warn("keeping a cache", "err", err)
	if err := f.logf("Unable to upload cache: %v", err); err != nil {
		f.log.Warn("writing to a log", "err", err)
	}
}

// toldScope is the scope that an agent named by its directory.
func (f *follower) toldScope(name string) string {
	if name == agent.OwnCache {
		return scope(&f.b)
	}
	return cache.Default
}

// maxCacheEvents is how many events about caches of one build are heeded; an agent sends two at most.
const maxCacheEvents = 5

// useCache records that a build has restored a cache: what is not used goes first. Another repository's commit changes nothing
// here.
func (f *follower) useCache(from, id string) {
	if f.cacheEvents++; f.r.caches == nil || f.b.Trigger.Fork || f.cacheEvents > maxCacheEvents {
		return
	}
	if err := f.r.caches.Use(f.b.ProjectKey, f.toldScope(from), id); err != nil {
		f.log.Warn("recording the use of a cache", "err", fmt.Errorf("%.100s: %w", id, err))
	}
}

// dropCache removes a cache that the agent found damaged, if it is one that the build could have made itself.
func (f *follower) dropCache(from, id string) {
	if f.cacheEvents++; f.r.caches == nil || f.b.Trigger.Fork || f.toldScope(from) != scope(&f.b) || f.cacheEvents > maxCacheEvents {
		return
	}
	if err := f.r.caches.Drop(f.b.ProjectKey, f.toldScope(from), id); err != nil {
		f.log.Warn("removing a damaged cache", "err", fmt.Errorf("%.100s: %w", id, err))
	}
}

// cacheLimit is how many bytes one cache of a build may have: a quarter of what its project may.
func (r *Runner) cacheLimit(b *store.Build) int64 {
	limit := b.Settings.Disk
	if most := r.CacheLimits.ProjectSize / 4; most > 0 && (limit <= 0 || most < limit) {
		limit = most
	}
	return limit
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
	if swept.Bytes > 0 {
		r.Log.Info("removed caches that were not used", "caches", swept.Entries, "leftovers", swept.Files, "bytes", swept.Bytes)
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
