// Package runner takes queued builds to their end, and picks them up again after a restart.
//
// A build's truth lies in its exchange directory, which the agent writes, and in the store. Run owns one goroutine for
// each build that has a slot; the goroutine keeps nothing in memory that it cannot read again, so that a server that dies
// at any instant goes on where it was. A build goes through these steps, and each may be begun again:
//
//	claim     the store gives it a slot
//	prepare   its directories are made and its sandbox gets an id; both are recorded
//	begin     the sandbox is started while the source is checked out; the buildspec becomes a job, which is handed over
//	follow    events are read into the store: log, phases, commands
//	finish    artifacts are taken, the result is recorded; what is left is removed when everybody knows
//
// There are two kinds of failure. The author's ends a build FAILED; ours ends it FAULT and is repeated once, by itself, as
// a new build.
package runner

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/cache"
	"buildsmith/runner/secret"
	"buildsmith/store"
)

// Config is what a Runner works with.
type Config struct {
	Store   *store.Store
	Sandbox Sandbox
	Source  Source
	Place   Place
	Log     *slog.Logger

	Secrets *secret.Secrets // where builds get theirs; nil for none

	// Credential gives what lets git in a build read the build's repository and do nothing else, for an hour at most, and what
	// makes it worthless; nil if its forge has no such thing. It may be nil.
	Credential func(context.Context, store.Repo) (c *agent.Credential, revoke func(), err error)

	Caches      string       // where the caches of builds are kept, on the file system of Dir; empty for no caches
	CacheLimits cache.Limits // of all caches together

	Program string // names the agents: a sandbox that waits with another one is not used

	Dir   string // where the directories of sandboxes are made; the Docker daemon must see it at the same path
	Slots int    // builds at a time
	Warm  int    // sandboxes to keep waiting for builds like those that ran last; 0 for none
}

// A Runner runs builds. Its fields are not for use after New.
type Runner struct {
	Config
	builds    sync.WaitGroup
	begun     time.Time     // nothing in Dir that is older belongs to this process
	caches    *cache.Store  // nil for none
	reporting chan struct{} // held while a report is made
	warm      warmer
}

// New gives a runner of builds. Run starts it.
func New(c Config) *Runner {
	if c.Secrets == nil {
		c.Secrets = &secret.Secrets{Config: secret.Config{Log: c.Log}}
	}
	r := &Runner{Config: c, reporting: make(chan struct{}, 1)}
	if c.Caches != "" {
		r.caches = &cache.Store{Dir: c.Caches}
	}
	r.warm.r, r.warm.call = r, make(chan struct{}, 1)
	return r
}

// How often Run looks around without being called.
const (
	tick       = 10 * time.Second
	retryStore = 5 * time.Second
)

// Run runs builds until ctx is done. It then leaves the containers alone, returns when nothing it started is left, and a
// later Run goes on with them. An error means that it could not begin.
func (r *Runner) Run(ctx context.Context) error {
	for _, dir := range []string{r.Dir, r.Caches} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("starting the runner: %w", err)
		}
	}
	r.begun = time.Now()
	news, stop := r.Store.Watch()
	defer stop()
	defer r.builds.Wait()
	if err := r.resume(ctx); err != nil {
		return fmt.Errorf("starting the runner: %w", err)
	}
	r.builds.Go(func() { r.collect(ctx) })
	r.builds.Go(func() { r.warm.run(ctx) })
	for {
		next := r.claim(ctx)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-news:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// resume goes on with the builds that have a slot.
func (r *Runner) resume(ctx context.Context) error {
	var running []store.Build
	err := r.Store.View(func(tx *store.Tx) (err error) {
		running, err = tx.RunningBuilds()
		return err
	})
	for _, b := range running {
		r.Log.Info("going on with a build", "build", b.ID, "repo", b.Repo.Name)
		r.start(ctx, b, false)
	}
	return err
}

// claim starts queued builds, as many as may begin, and returns how long to wait at most before it is called again.
func (r *Runner) claim(ctx context.Context) time.Duration {
	wait := tick
	if next, err := r.Store.ExpireQueued(); err != nil {
		r.Log.Error("looking at the queue", "err", err)
	} else if d := next.Sub(r.Store.Now()); !next.IsZero() && d < wait {
		wait = max(d, time.Millisecond)
	}
	if r.idle() {
		return wait
	}
	obstacle := r.obstacle(ctx)
	r.tellObstacle(obstacle)
	if obstacle != "" {
		return min(wait, retryStore)
	}
	claims, err := r.Store.Claim(r.Slots, r.profile)
	if err != nil {
		r.Log.Error("claiming builds", "err", err)
		return retryStore
	}
	for _, c := range claims {
		r.start(ctx, c.Build, c.Warm)
	}
	return wait
}

// idle reports whether there is nothing to claim.
func (r *Runner) idle() (idle bool) {
	_ = r.Store.View(func(tx *store.Tx) error {
		queued, running := tx.QueueLength()
		idle = queued == 0 || running >= r.Slots
		return nil
	})
	return idle
}

// obstacle says what keeps builds from beginning, empty if nothing does.
func (r *Runner) obstacle(ctx context.Context) string {
	disk, err := r.Store.Disk()
	if err != nil {
		return err.Error()
	}
	if disk.Low() {
		r.shrinkCaches()
		return fmt.Sprintf("The disk of the build host is nearly full: %s of %s are free, %s are kept free. Nothing new begins.",
			size(disk.Free), size(disk.Total), size(disk.Reserve))
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.Sandbox.Ready(ctx); err != nil {
		return "No sandbox can be started: " + err.Error()
	}
	return ""
}

func (r *Runner) tellObstacle(text string) {
	var before string
	_ = r.Store.View(func(tx *store.Tx) error {
		before = tx.Obstacle()
		return nil
	})
	if before == text {
		return
	}
	if text != "" {
		r.Log.Warn("no build can begin", "err", text)
	} else {
		r.Log.Info("builds can begin again")
	}
	if err := r.Store.Update(func(tx *store.Tx) error { return tx.SetObstacle(text) }); err != nil {
		r.Log.Error("recording why no build begins", "err", err)
	}
}

// start gives a build its goroutine.
func (r *Runner) start(ctx context.Context, b store.Build, warm bool) {
	r.builds.Go(func() { r.run(ctx, b, warm) })
}

// run takes a build to its end. When the store fails it, it begins again from what the store has, as after a restart.
func (r *Runner) run(ctx context.Context, b store.Build, warm bool) {
	log := r.Log.With("build", b.ID, "repo", b.Repo.Name)
	for {
		w := &work{r: r, b: b, log: log, warm: warm}
		err := w.do(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		log.Error("a build cannot go on now", "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryStore):
		}
		again, err := r.Store.Build(b.ID)
		if err != nil {
			log.Error("reading a build again", "err", err)
			continue
		}
		if b, warm = again, false; b.Done() {
			return
		}
	}
}

// newSandbox makes the directories of a sandbox.
func (r *Runner) newSandbox() (store.Sandbox, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return store.Sandbox{}, err
	}
	s := store.Sandbox{ID: hex.EncodeToString(id[:])}
	err := os.MkdirAll(r.sourceDir(s.ID), 0o755)
	if err == nil {
		s.Inode, err = prepare(r.exchangeDir(s.ID))
	}
	return s, err
}

// Directories of a sandbox.
func (r *Runner) sandboxDir(id string) string  { return filepath.Join(r.Dir, id) }
func (r *Runner) exchangeDir(id string) string { return filepath.Join(r.Dir, id, "exchange") }
func (r *Runner) sourceDir(id string) string   { return filepath.Join(r.Dir, id, "source") }

// spec is what a build's sandbox is started with.
func (r *Runner) spec(b *store.Build, id, objects string) Spec {
	s := &b.Settings
	shared, own := r.cacheMounts(b)
	return Spec{
		ID: id, Image: s.Image,
		Exchange: r.exchangeDir(id), Source: r.sourceDir(id), Objects: objects, Cache: shared, OwnCache: own,
		Memory: s.Memory, CPUs: s.CPUs, Processes: s.Processes, Network: s.Network, Sudo: s.Sudo && !b.Trigger.Fork, Fork: b.Trigger.Fork,
	}
}

// removeSandbox removes what a sandbox leaves. It works on when ctx is done, for a while.
func (r *Runner) removeSandbox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := r.Sandbox.Remove(ctx, id); err != nil {
		return fmt.Errorf("removing sandbox %s: %w", id, err)
	}
	r.Store.At("container removed")
	dir := r.sandboxDir(id)
	if err := agent.RemoveTree(dir); err == nil {
		return nil
	} else if !errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return r.Sandbox.RemoveDir(ctx, dir)
}

// collectInterval is how often leftovers are looked for; the first time is at the start.
const collectInterval = 10 * time.Minute

// collect removes sandboxes and directories that belong to nothing.
func (r *Runner) collect(ctx context.Context) {
	for {
		if err := r.collectOnce(ctx); err != nil && ctx.Err() == nil {
			r.Log.Warn("removing what builds left", "err", err)
		}
		r.sweepCaches()
		select {
		case <-ctx.Done():
			return
		case <-time.After(collectInterval):
		}
	}
}

func (r *Runner) collectOnce(ctx context.Context) error {
	// Listed before the store is asked, so that what is made meanwhile is not taken for a leftover.
	ids, err := r.Sandbox.List(ctx)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && (info.ModTime().Before(r.begun) || time.Since(info.ModTime()) > time.Minute) {
			ids = append(ids, e.Name())
		}
	}
	used := map[string]bool{}
	if err := r.Store.View(func(tx *store.Tx) error {
		running, err := tx.RunningBuilds()
		if err != nil {
			return err
		}
		for _, b := range running {
			used[b.Sandbox.ID] = true
		}
		waiting, err := tx.WaitingSandboxes()
		for _, w := range waiting {
			used[w.ID] = true
		}
		return err
	}); err != nil {
		return err
	}
	for _, id := range ids {
		if used[id] || r.warm.making(id) {
			continue
		}
		used[id] = true
		r.Log.Info("removing a sandbox that belongs to nothing", "sandbox", id)
		err = errors.Join(err, r.removeSandbox(ctx, id))
	}
	return err
}

// size is a number of bytes for people to read.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	digits := 0
	if f < 10 {
		digits = 2
	} else if f < 100 {
		digits = 1
	}
	text := strconv.FormatFloat(f, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return fmt.Sprintf("%s %ciB", text, units[i])
}
