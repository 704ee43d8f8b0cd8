package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"buildsmith/store"
)

const (
	pageSize     = 200  // deliveries fetched at a time
	maxKept      = 1000 // deliveries in memory as they were read
	maxKeptOfKey = 10   // those of one repository
	maxWorkers   = 8    // repositories at a time

	lookupTime  = 30 * time.Second // for all questions of one try, for each change that the delivery tells of
	firstRetry  = 5 * time.Second
	lastRetry   = 10 * time.Minute
	longestWait = 2 * time.Hour // for a forge that takes nothing
	maxAttempts = 150           // tries of one delivery: about a day
)

// A pending delivery is one that is being decided on, or has been read and waits in memory for its turn.
type pending struct {
	delivery store.Delivery
	event    Event
	problem  string // why it could not be decoded
	unread   error  // why its body could not be read, which another try may
	late     bool   // set while it is decided on: it seems to be older than what is known of its ref
}

// key names what must be kept in order: a repository, or what somebody asked for by name.
func (p *pending) key() string {
	if p.delivery.Forge == store.ForgeAPI {
		r := &p.event.Request
		return p.delivery.Forge + "/" + r.Project + "/" + r.Build
	}
	if p.event.Repo.ID == "" {
		return cmp.Or(p.delivery.RepoKey, p.delivery.Forge)
	}
	return p.event.Repo.Key()
}

// Run decides on deliveries until ctx is done. It returns when nothing it started is left.
func (i *Intake) Run(ctx context.Context) error {
	l := &loop{intake: i, queues: map[string]*queue{}, done: make(chan string)}
	news, stop := i.Store.Watch()
	defer stop()
	for {
		more, err := l.fetch()
		if err != nil {
			i.Log.Error("reading deliveries", "err", err)
		}
		wait := l.dispatch(ctx)
		if more {
			wait = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			for range l.working {
				<-l.done
			}
			return nil
		case <-news:
		case key := <-l.done:
			l.finished(key)
		case <-timer.C:
		}
		timer.Stop()
	}
}

// A loop is the state of Run. Its goroutine alone uses it, but for the first delivery of a queue while that is decided on.
type loop struct {
	intake  *Intake
	queues  map[string]*queue // by key
	working int               // queues whose first delivery is being decided on
	kept    int               // deliveries in memory as they were read
	last    uint64            // number of the newest delivery fetched
	done    chan string
}

// A queue is what waits under one key. It has all its deliveries, so that they are looked at in order and no other key waits
// for them; but the first few alone as they were read, the others by their numbers.
type queue struct {
	list    []*waiting // oldest first
	kept    int        // how many of them are in memory as they were read
	working bool
}

// A waiting delivery is read again when its turn comes, unless it was kept.
type waiting struct {
	seq  uint64
	next time.Time // not to be tried before
	kept *pending
}

// fetch puts the deliveries that came into their queues. It reports whether there may be more.
func (l *loop) fetch() (more bool, err error) {
	var list []store.Delivery
	if err := l.intake.Store.View(func(tx *store.Tx) (err error) {
		list, err = tx.PendingDeliveries(l.last, pageSize)
		return err
	}); err != nil {
		return false, err
	}
	for _, d := range list {
		p := l.intake.decode(d)
		key := p.key()
		q := l.queues[key]
		if q == nil {
			q = &queue{}
			l.queues[key] = q
		}
		w := &waiting{seq: d.Seq, next: d.Next}
		if l.kept < maxKept && q.kept < maxKeptOfKey && q.kept == len(q.list) {
			w.kept = p
			l.kept++
			q.kept++
		}
		q.list = append(q.list, w)
		l.last = d.Seq
	}
	return len(list) == pageSize, nil
}

// dispatch starts what is due, and returns how long to wait for what is not.
func (l *loop) dispatch(ctx context.Context) time.Duration {
	wait := time.Hour
	now := l.intake.Store.Now()
	for key, q := range l.queues {
		if q.working || l.working >= maxWorkers {
			continue
		}
		// A time further ahead than any pause was set by another clock.
		if due := q.list[0].next.Sub(now); due > 0 && due <= longestWait {
			wait = min(wait, due)
			continue
		}
		q.working = true
		l.working++
		first := q.list[0]
		go func() {
			l.intake.take(ctx, first)
			l.done <- key
		}()
	}
	return wait
}

// finished takes the first delivery of a queue out, if it has been decided on. One that has to wait is read again then.
func (l *loop) finished(key string) {
	q := l.queues[key]
	q.working = false
	l.working--
	first := q.list[0]
	if first.kept != nil {
		first.kept = nil
		l.kept--
		q.kept--
	}
	if !first.next.IsZero() {
		return
	}
	q.list[0] = nil
	if q.list = q.list[1:]; len(q.list) == 0 {
		delete(l.queues, key)
	}
}

// take takes a delivery as far as it goes now, and sets when to try again: never, if it has been decided on.
func (i *Intake) take(ctx context.Context, w *waiting) {
	p := w.kept
	if p == nil {
		d, err := i.waiting(w.seq)
		if err != nil {
			i.Log.Error("reading a delivery", "delivery", w.seq, "err", err)
			w.next = i.Store.Now().Add(firstRetry)
			return
		}
		if !d.Pending() {
			w.next = time.Time{}
			return
		}
		p = i.decode(d)
	}
	i.handle(ctx, p)
	w.next = time.Time{}
	if p.delivery.Pending() {
		w.next = p.delivery.Next
		if w.next.IsZero() { // it was not tried to its end
			w.next = i.Store.Now()
		}
	}
}

// waiting reads a delivery that waits. One that is gone has been decided on.
func (i *Intake) waiting(seq uint64) (d store.Delivery, err error) {
	err = i.Store.View(func(tx *store.Tx) error {
		var ok bool
		if d, ok, err = tx.Delivery(seq); err == nil && !ok {
			d.Handled = i.Store.Now()
		}
		return err
	})
	return d, err
}

// decode reads a delivery. Whatever is in it, it is kept with a reason, if it means nothing.
func (i *Intake) decode(d store.Delivery) (p *pending) {
	p = &pending{delivery: d}
	defer func() {
		if r := recover(); r != nil {
			i.Log.Error("panic while reading a delivery", "delivery", d.Seq, "err", r)
			p.problem = "the delivery could not be read"
		}
	}()
	body, err := i.Store.Body(&d)
	if broken := (*fs.PathError)(nil); errors.As(err, &broken) && !errors.Is(err, fs.ErrNotExist) {
		p.unread = err
		return p
	}
	if err != nil {
		p.problem = err.Error()
		return p
	}
	if d.Forge == store.ForgeAPI {
		p.event, err = decodeRequest(d.Event, body)
	} else if source := i.source(d.Forge); source == nil {
		err = fmt.Errorf("forge %s is no longer configured", d.Forge)
	} else if strings.HasPrefix(d.Event, foundPrefix) {
		if p.event, err = decodeFinding(d, body); err == nil && source.Organization != nil {
			p.event.Organization = source.Organization(p.event.Repo)
		}
	} else {
		p.event, err = source.Decode(d.Event, body)
	}
	if err == nil {
		err = i.knowDefault(&p.event.Repo)
	}
	if err != nil {
		p.problem = err.Error()
	}
	return p
}

// knowDefault gives a repository the default branch that was known of it: not every forge tells it with each event.
func (i *Intake) knowDefault(r *store.Repo) error {
	if r.ID == "" || r.DefaultBranch != "" {
		return nil
	}
	return i.Store.View(func(tx *store.Tx) error {
		state, err := tx.RepoState(r.Key())
		r.DefaultBranch = state.Repo.DefaultBranch
		return err
	})
}

func decodeRequest(event string, body []byte) (Event, error) {
	var r store.Request
	if err := json.Unmarshal(body, &r); err != nil {
		return Event{}, fmt.Errorf("the request is not what the server writes: %w", err)
	}
	e := Event{Request: r, Sender: store.Account{Login: r.By}}
	switch event {
	case store.RequestStart:
		e.Kind, e.Summary = Start, fmt.Sprintf("start of %s %s", r.Project, r.Version)
	case store.RequestRetry:
		e.Kind, e.Summary = Retry, "retry of build "+r.Build
	default:
		return e, fmt.Errorf("there is no request %q", event)
	}
	return e, nil
}

// A verdict is what is decided on a delivery.
type verdict struct {
	reason string
	builds []string
}

// handle takes a delivery as far as it goes now: to a decision, or to the next try.
func (i *Intake) handle(ctx context.Context, p *pending) {
	defer func() {
		if r := recover(); r != nil {
			i.Log.Error("panic while deciding on a delivery", "delivery", p.delivery.Seq, "err", r)
			i.postpone(p, fmt.Errorf("internal error: %v", r))
		}
	}()
	i.Store.At("decoded")
	if p.problem != "" {
		i.decide(p, func(*store.Tx) (verdict, error) { return verdict{reason: p.problem}, nil })
		return
	}
	if p.unread != nil {
		i.postpone(p, p.unread)
		return
	}
	asking, cancel := context.WithTimeout(ctx, lookupTime*time.Duration(1+min(len(p.event.Also), 100)))
	defer cancel()
	decision, err := i.prepare(asking, p)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		i.postpone(p, err)
		return
	}
	i.Store.At("looked up")
	i.decide(p, decision)
}

// A decision is made in one transaction, when all that must be asked has been asked. It may be made more than once.
type decision func(tx *store.Tx) (verdict, error)

// decide records what becomes of a delivery.
func (i *Intake) decide(p *pending, decide decision) {
	var d store.Delivery
	err := i.Store.Update(func(tx *store.Tx) error {
		var ok bool
		var err error
		if d, ok, err = tx.Delivery(p.delivery.Seq); err != nil || !ok || !d.Pending() {
			return err
		}
		if p.event.Repo.ID != "" {
			state, err := tx.Repo(p.event.Repo)
			if err != nil {
				return err
			}
			if state.Gone && p.event.Kind != RepoChanged { // it is there again
				if err := tx.ChangeRepo(p.event.Repo.Key(), func(s *store.RepoState) { s.Gone = false }); err != nil {
					return err
				}
			}
		}
		v, replayed, err := replay(tx, &d, &p.event)
		if err == nil && !replayed {
			v, err = decide(tx)
		}
		if err != nil {
			return err
		}
		if err := heard(tx, &d, &p.event); err != nil {
			return err
		}
		i.describe(&d, p)
		d.Handled, d.Reason, d.Builds, d.Problem = i.Store.Now(), v.reason, v.builds, ""
		return tx.SetDelivery(&d)
	})
	if err != nil {
		i.postpone(p, err)
		return
	}
	p.delivery = d
	if p.event.Unknown {
		i.Unknown.Add(1)
	}
	i.Store.At("decided")
	i.Log.Info("decided on a delivery", "delivery", d.Seq, "forge", d.Forge, "repo", d.Repo, "event", d.Event, "builds", len(d.Builds), "reason", d.Reason)
}

// replay is the verdict on a delivery whose body came before, under another id. A button alone can be pressed twice with
// nothing changed in between: it counts again, unless a build was made of it.
func replay(tx *store.Tx, d *store.Delivery, e *Event) (v verdict, replayed bool, err error) {
	same, ok, err := tx.SameBody(d)
	if err != nil || !ok {
		return verdict{}, false, err
	}
	replayed = e.Kind != RerunCheck && e.Kind != RerunCommit && e.Kind != Button
	for _, id := range same.Builds {
		b, err := tx.Build(id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return verdict{}, false, err
		}
		replayed = replayed || b.Trigger.Delivery == same.Seq
	}
	return verdict{reason: fmt.Sprintf("the same as delivery %d, under another id", same.Seq), builds: same.Builds}, replayed, nil
}

func (i *Intake) describe(d *store.Delivery, p *pending) {
	d.Summary = clip(p.event.Summary, 300)
	if p.event.Repo.ID != "" {
		d.Repo, d.RepoKey = p.event.Repo.Name, p.event.Repo.Key()
	}
}

// postpone records that a delivery is to be tried again, and why it could not be decided on. After about a day of tries it
// is given up, with the reason.
func (i *Intake) postpone(p *pending, why error) {
	d := p.delivery
	i.describe(&d, p)
	d.Tries++
	pause := lastRetry
	if d.Tries < 8 {
		pause = min(firstRetry<<(d.Tries-1), lastRetry)
	}
	d.Next, d.Problem = i.Store.Now().Add(pause), why.Error()
	var limited interface{ RetryAt() time.Time }
	if errors.As(why, &limited) && limited.RetryAt().After(d.Next) { // the forge takes nothing before
		d.Next = limited.RetryAt()
		if latest := i.Store.Now().Add(longestWait); d.Next.After(latest) {
			d.Next = latest
		}
	}
	if d.Tries >= maxAttempts {
		d.Handled, d.Reason = i.Store.Now(), "given up: "+d.Problem
	}
	i.Log.Warn("a delivery has to wait", "delivery", d.Seq, "repo", d.Repo, "next", d.Next, "err", why)
	if err := i.Store.Update(func(tx *store.Tx) error { return tx.SetDelivery(&d) }); err != nil {
		i.Log.Error("recording that a delivery has to wait", "delivery", d.Seq, "err", err)
		d.Handled, d.Reason = time.Time{}, "" // it is still there, and this process tries on
	}
	p.delivery = d
}

// forge gives the forge of a repository.
func (i *Intake) forge(r store.Repo) (Forge, error) {
	source := i.source(r.Forge)
	if source == nil || source.Forge == nil {
		return nil, fmt.Errorf("forge %s is not configured", r.Forge)
	}
	return source.Forge, nil
}

func nothing(format string, args ...any) decision {
	v := verdict{reason: fmt.Sprintf(format, args...)}
	return func(*store.Tx) (verdict, error) { return v, nil }
}

// prepare asks what must be asked and gives the decision.
func (i *Intake) prepare(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	switch e.Kind {
	case Ping:
		return nothing("the webhook works"), nil
	case Push:
		return i.pushes(ctx, p)
	case PullRequest:
		return i.pullRequest(ctx, p)
	case MergeGroup:
		return i.mergeGroup(ctx, p)
	case MergeGroupGone:
		return i.mergeGroupGone(p), nil
	case Release:
		return i.release(ctx, p)
	case RepoChanged:
		return i.repoChanged(p), nil
	case InstallationChanged:
		return i.installationChanged(p), nil
	case Comment:
		return i.comment(ctx, p)
	case RerunCheck, RerunCommit, Button:
		return i.pressed(ctx, p)
	case Start:
		return i.startRequest(ctx, p)
	case Retry:
		return i.retryRequest(p)
	}
	return nothing("%s", e.Reason), nil
}
