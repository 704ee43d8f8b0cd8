package runner

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/store"
)

// A warmer keeps sandboxes waiting for builds like those that ran last. Starting a container takes a while; handing a job
// to an agent that waits does not. A waiting sandbox serves one build or none.
type warmer struct {
	r    *Runner
	call chan struct{} // wanted has something new

	mu    sync.Mutex
	want  []store.Build // the last build of each profile, newest first
	under string        // the sandbox being made
}

// warmFor is how long a sandbox waits. Its agent ends itself a minute later.
const warmFor = 9 * time.Minute

// warmInterval is how often waiting sandboxes are looked after.
const warmInterval = 15 * time.Second

// profile says which waiting sandboxes a build can take: those started with the same settings and the same objects.
func (r *Runner) profile(b *store.Build) string {
	if r.Warm <= 0 || b.Trigger.Fork {
		return ""
	}
	s := r.spec(b, "", "")
	return strings.Join([]string{b.Repo.Key(), s.Image, s.Cache, s.OwnCache, r.Program, s.Network, fmt.Sprint(s.Memory, s.CPUs, s.Processes, s.Sudo)}, "|")
}

// wanted says that a build like this one may come again.
func (m *warmer) wanted(b store.Build) {
	profile := m.r.profile(&b)
	if profile == "" || b.Status == store.Fault {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := []store.Build{b}
	for _, other := range m.want {
		if m.r.profile(&other) != profile && len(kept) < m.r.Warm {
			kept = append(kept, other)
		}
	}
	m.want = kept
	select {
	case m.call <- struct{}{}:
	default:
	}
}

// making reports whether a sandbox is being made to wait.
func (m *warmer) making(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.under == id
}

// run looks after waiting sandboxes until ctx is done; then it removes them: an idle machine keeps nothing.
func (m *warmer) run(ctx context.Context) {
	if m.r.Warm <= 0 {
		m.clear(ctx) // an earlier server may have kept some
		return
	}
	for {
		if err := m.look(ctx); err != nil && ctx.Err() == nil {
			m.r.Log.Warn("keeping a sandbox waiting", "err", err)
		}
		select {
		case <-ctx.Done():
			m.clear(ctx)
			return
		case <-m.call:
		case <-time.After(warmInterval):
		}
	}
}

// look removes what has waited for too long and makes what is wanted and missing.
func (m *warmer) look(ctx context.Context) error {
	waiting, busy, err := m.state()
	if err != nil {
		return err
	}
	m.mu.Lock()
	want := append([]store.Build{}, m.want...)
	m.mu.Unlock()
	wanted, there := map[string]bool{}, map[string]bool{}
	for _, b := range want {
		wanted[m.r.profile(&b)] = true
	}
	for _, w := range waiting {
		if m.r.Store.Now().Sub(w.Made) > warmFor || len(want) > 0 && !wanted[w.Profile] {
			if err := m.withdraw(ctx, w.ID); err != nil {
				return err
			}
			continue
		}
		there[w.Profile] = true
	}
	if busy {
		return nil // builds have the machine now
	}
	for _, b := range want {
		if profile := m.r.profile(&b); !there[profile] && m.r.Store.Now().Sub(b.Ended) < warmFor {
			if err := m.make(ctx, b, profile); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *warmer) state() (waiting []store.WaitingSandbox, busy bool, err error) {
	err = m.r.Store.View(func(tx *store.Tx) (err error) {
		queued, running := tx.QueueLength()
		busy = queued+running > 0
		waiting, err = tx.WaitingSandboxes()
		return err
	})
	return waiting, busy, err
}

// make starts a sandbox for a build like b.
func (m *warmer) make(ctx context.Context, b store.Build, profile string) error {
	tree, err := m.r.Source.Open(ctx, &b)
	if err != nil {
		return err
	}
	defer tree.Close() // the build that takes the sandbox opens it again
	sandbox, err := m.r.newSandbox()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.under = sandbox.ID
	m.mu.Unlock()
	err = m.r.Sandbox.Start(ctx, m.r.spec(&b, sandbox.ID, tree.Objects()))
	if err == nil {
		err = m.greeted(ctx, sandbox)
	}
	if err == nil {
		err = m.r.Store.Update(func(tx *store.Tx) error {
			return tx.OfferSandbox(store.WaitingSandbox{Sandbox: sandbox, Profile: profile, Made: m.r.Store.Now()})
		})
		m.r.Store.At("sandbox waits")
	}
	if err != nil {
		_ = m.r.removeSandbox(ctx, sandbox.ID)
	}
	m.mu.Lock()
	m.under = ""
	m.mu.Unlock()
	return err
}

// greeted waits until the agent is there.
func (m *warmer) greeted(ctx context.Context, s store.Sandbox) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	story, err := agent.Open(m.r.exchangeDir(s.ID), s.Inode, agent.Mark{}, 0)
	if err != nil {
		return err
	}
	defer story.Close()
	_, err = story.Next(ctx)
	return err
}

// withdraw removes a sandbox that no build has taken.
func (m *warmer) withdraw(ctx context.Context, id string) error {
	var ours bool
	if err := m.r.Store.Update(func(tx *store.Tx) (err error) {
		ours, err = tx.WithdrawSandbox(id)
		return err
	}); err != nil || !ours {
		return err
	}
	return m.r.removeSandbox(ctx, id)
}

// clear removes all waiting sandboxes.
func (m *warmer) clear(ctx context.Context) {
	waiting, _, err := m.state()
	for _, w := range waiting {
		if err == nil {
			err = m.withdraw(ctx, w.ID)
		}
	}
	if err != nil {
		m.r.Log.Warn("removing waiting sandboxes", "err", err)
	}
}
