package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"buildsmith/store"
)

const (
	// sweepEvery is Config.SweepEvery unless it is set.
	sweepEvery = 10 * time.Minute
	// fetchEvery is how often it is read when deliveries are fetched.
	fetchEvery = 10 * time.Second
	// lookBack is how far a forge's log is read the first time. GitHub keeps three days, an Enterprise Server seven.
	lookBack = 8 * 24 * time.Hour
	// overlap is how much of what was read before is read again: a log may get an entry late.
	overlap = 10 * time.Minute
	// settleTime is how old an attempt must be, see Config.SweepEvery.
	settleTime = 30 * time.Second
	// maxSweep is how many deliveries are asked for at a time.
	maxSweep = 50
	// sweepTime is how long a look may take.
	sweepTime = 5 * time.Minute
	// lastSweepPause is the longest pause after looks that failed, unless the forge names another.
	lastSweepPause = 10 * time.Minute
)

// A Sweep is what came of a look at a forge's log of deliveries, or at its repositories.
type Sweep struct {
	At      time.Time
	Missed  int // deliveries that the server did not have, or differences that none told of
	Asked   int // of them, those that the forge was asked to send again
	Fetched int // those that were fetched, or of which deliveries were made
	Gone    int // those that the forge no longer has
	Left    int // those for the next look
	Err     error

	some bool // of a look at repositories: the error is of some of them
}

// recovery is how the looks at the forges' logs stand.
type recovery struct {
	sweepMu sync.Mutex
	sweeps  map[string]*sweeper // by forge
}

// A sweeper looks at the log of one forge.
type sweeper struct {
	busy  sync.Mutex // held during a look
	since time.Time  // everything before has been seen to

	mu     sync.Mutex
	last   Sweep
	missed Sweep // the last look that found something
}

func (i *Intake) sweeper(forge string) *sweeper {
	i.sweepMu.Lock()
	defer i.sweepMu.Unlock()
	if i.sweeps == nil {
		i.sweeps = map[string]*sweeper{}
	}
	if i.sweeps[forge] == nil {
		i.sweeps[forge] = &sweeper{}
	}
	return i.sweeps[forge]
}

// Swept gives what came of the last look at a forge's log, and of the last that found something missed.
func (i *Intake) Swept(forge string) (last, missed Sweep) {
	s := i.sweeper(forge)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.missed
}

// Recover looks for deliveries that were missed, or fetches all where forges cannot reach the server, until ctx is done. It
// returns when nothing it started is left.
func (i *Intake) Recover(ctx context.Context) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	begun := map[string]bool{}
	for {
		i.sourcesMu.RLock()
		added, names := i.added, slices.Sorted(maps.Keys(i.sources))
		i.sourcesMu.RUnlock()
		for _, name := range names {
			if recovers(i.source(name)) && !begun[name] {
				begun[name] = true
				loops.Go(func() { i.recoverOf(ctx, name) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-added:
		}
	}
}

// recovers reports whether what was missed of a forge can be got back.
func recovers(source *Source) bool {
	_, remembers := source.Forge.(DeliveryLog)
	_, shows := source.Forge.(Looker)
	return remembers || shows
}

// periodOf is how often a forge is looked at while all is well.
func (i *Intake) periodOf(source *Source) time.Duration {
	every := cmp.Or(i.SweepEvery, sweepEvery)
	if !source.Fetch {
		return every
	}
	if _, ok := source.Forge.(DeliveryLog); ok {
		return fetchEvery
	}
	return min(every, lookEvery)
}

// recoverOf looks at the log of one forge, or at its repositories, again and again.
func (i *Intake) recoverOf(ctx context.Context, name string) {
	failures := 0
	every := cmp.Or(i.SweepEvery, sweepEvery)
	for {
		s := i.SweepNow(ctx, name)
		pause := i.periodOf(i.source(name))
		switch {
		case s.Err != nil && ctx.Err() == nil:
			failures++
			inRow := failures
			if s.some {
				inRow = 1 // the others are not to wait longer
			}
			pause = pauseAfter(s.Err, inRow, pause, i.Store.Now())
			if failures == 1 || pause >= every {
				i.Log.Warn("looking for what was not delivered", "forge", name, "err", s.Err, "next", pause.Round(time.Second))
			}
		default:
			failures = 0
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pauseAfter is how long to wait after looks that failed: longer each time, or until the forge takes requests again.
func pauseAfter(err error, failures int, pause time.Duration, now time.Time) time.Duration {
	for range min(failures-1, 10) {
		pause = min(2*pause, lastSweepPause)
	}
	var later interface{ RetryAt() time.Time }
	if errors.As(err, &later) {
		pause = max(pause, min(later.RetryAt().Sub(now), 2*time.Hour))
	}
	return pause
}

// SweepNow looks at the log of a forge once. Looks of one forge follow one another.
func (i *Intake) SweepNow(ctx context.Context, forge string) Sweep {
	s := i.sweeper(forge)
	s.busy.Lock()
	defer s.busy.Unlock()
	result := Sweep{At: i.Store.Now()}
	source := i.source(forge)
	if source == nil {
		result.Err = fmt.Errorf("forge %s is not configured", forge)
		return result
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	switch asked := source.Forge.(type) {
	case DeliveryLog:
		result.Err = i.sweep(ctx, source, asked, s, &result)
	case Looker:
		result.Err = i.look(ctx, source, asked, &result)
	default:
		result.Err = fmt.Errorf("forge %s keeps no log of deliveries", forge)
		return result
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = result
	if result.Missed > 0 {
		s.missed = result
	}
	if result.Missed > 0 && !source.Fetch {
		i.Log.Info("deliveries were missed", "forge", forge, "missed", result.Missed, "asked", result.Asked, "fetched", result.Fetched, "gone", result.Gone, "left", result.Left)
	}
	return result
}

// A missed delivery is one that was never answered with success, as far as the forge knows.
type missed struct {
	first    Sent // the oldest attempt
	newest   Sent
	attempts int
}

// sweep reads a forge's log and sees to what the server does not have.
func (i *Intake) sweep(ctx context.Context, source *Source, log DeliveryLog, s *sweeper, result *Sweep) error {
	since := s.since
	if since.IsZero() {
		since = result.At.Add(-lookBack)
	}
	sent, err := log.Deliveries(ctx, since)
	if err != nil {
		return err
	}
	list, err := i.missing(source, sent, result.At)
	if err != nil {
		return err
	}
	result.Missed = len(list)
	if len(list) > 0 {
		if disk, err := i.Store.Disk(); err != nil || disk.Low() {
			result.Left = len(list)
			return errors.Join(errors.New("the disk of this server is nearly full"), err)
		}
	}
	var failed error
	for n, m := range list {
		if n == maxSweep {
			result.Left = len(list) - n
			break
		}
		if err := i.regain(ctx, source, log, m, result); err != nil {
			result.Left = len(list) - n
			failed = err
			break
		}
	}
	if failed != nil {
		return failed
	}
	// What was asked for again is looked at again: it may fail once more.
	if result.Left == 0 && result.Asked == 0 && len(sent) > 0 {
		s.since = slices.MaxFunc(sent, func(a, b Sent) int { return a.At.Compare(b.At) }).At.Add(-overlap)
	}
	if source.Fetch && result.Fetched == 0 {
		return nil // written when there is something to write
	}
	return i.Store.Update(func(tx *store.Tx) error {
		return tx.ChangeHook(source.Name, source.Host, func(h *store.HookState) { h.Looked = result.At })
	})
}

// missing gives the deliveries of a log that were never delivered and are not in the store, oldest first.
func (i *Intake) missing(source *Source, sent []Sent, now time.Time) ([]*missed, error) {
	settled := min(settleTime, cmp.Or(i.SweepEvery, settleTime))
	byID, delivered := map[string]*missed{}, map[string]bool{}
	for _, s := range sent {
		delivered[s.ID] = delivered[s.ID] || s.Delivered
		m := byID[s.ID]
		if m == nil {
			m = &missed{first: s, newest: s}
			byID[s.ID] = m
		}
		m.attempts++
		if s.At.Before(m.first.At) {
			m.first = s
		}
		if s.Attempt > m.newest.Attempt {
			m.newest = s
		}
	}
	var list []*missed
	err := i.Store.View(func(tx *store.Tx) error {
		for id, m := range byID {
			young := !source.Fetch && now.Sub(m.newest.At) < settled && now.After(m.newest.At)
			if !delivered[id] && !young && len(id) <= 200 && !tx.Seen(source.Name, source.Host, id) {
				list = append(list, m)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b *missed) int {
		return cmp.Or(a.first.At.Compare(b.first.At), cmp.Compare(a.first.Attempt, b.first.Attempt))
	})
	return list, err
}

// regain gets a delivery that was missed: the forge is asked to send it again, and when that failed too, or the forge cannot
// reach the server, it is fetched.
func (i *Intake) regain(ctx context.Context, source *Source, log DeliveryLog, m *missed, result *Sweep) error {
	if !source.Fetch && m.attempts < 2 {
		err := log.Redeliver(ctx, m.newest)
		if errors.Is(err, store.ErrNotFound) {
			result.Gone++
			return nil
		}
		if err == nil {
			result.Asked++
		}
		return err
	}
	header, body, err := log.Fetch(ctx, m.newest)
	if errors.Is(err, store.ErrNotFound) {
		result.Gone++
		return nil
	}
	if err != nil {
		return err
	}
	if err := i.accept(source, m.newest, header, body); err != nil {
		return err
	}
	result.Fetched++
	return nil
}

// accept stores a delivery that was fetched. One that comes by the webhook as well has the same id.
func (i *Intake) accept(source *Source, s Sent, header http.Header, body []byte) error {
	event := s.Event
	if source.Identify != nil {
		if _, named := source.Identify(header); named != "" {
			event = named
		}
	}
	if event == "" || len(event) > 100 || len(body) > maxDelivery || strings.HasPrefix(event, foundPrefix) {
		i.Log.Warn("a delivery in the forge's log cannot be read", "forge", source.Name, "delivery", s.ID)
		return nil
	}
	d := store.Delivery{Forge: source.Name, Host: source.Host, ID: s.ID, Event: event, UserAgent: clip(header.Get("User-Agent"), 200)}
	accepted, err := i.Store.Accept(&d, body)
	if err == nil && accepted {
		i.Fetched.Add(1)
		i.Store.At("delivery stored")
	}
	return err
}

// heard records whom a delivery is from, and that the webhook works.
func heard(tx *store.Tx, d *store.Delivery, e *Event) error {
	if e.Found { // nothing was delivered
		return nil
	}
	id := e.Repo.Installation
	if e.Installation.ID != 0 {
		id = e.Installation.ID
	}
	if id != 0 {
		if err := tx.ChangeInstallation(d.Forge, d.Host, id, func(i *store.Installation) {
			i.LastDelivery = d.Received
			if owner, _, ok := strings.Cut(e.Repo.Name, "/"); ok && i.Account == "" {
				i.Account = owner
			}
		}); err != nil {
			return err
		}
	}
	if e.Kind == Ping {
		return tx.ChangeHook(d.Forge, d.Host, func(h *store.HookState) { h.Ping = d.Received })
	}
	return nil
}
