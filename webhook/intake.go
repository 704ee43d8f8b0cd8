package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"buildsmith/store"
)

const (
	maxQueue   = 1000 // deliveries in memory
	maxWorkers = 8    // repositories at a time

	lookupTime  = 30 * time.Second // for all questions of one try
	firstRetry  = 5 * time.Second
	lastRetry   = 10 * time.Minute
	maxAttempts = 150 // tries of one delivery: about a day
)

// A pending delivery waits in memory for its turn.
type pending struct {
	delivery store.Delivery
	event    Event
	problem  string // why it could not be decoded
}

// key names what must be kept in order.
func (p *pending) key() string {
	if p.event.Repo.ID == "" {
		return p.delivery.Forge
	}
	return p.event.Repo.Key()
}

// Run decides on deliveries until ctx is done. It returns when nothing it started is left.
func (i *Intake) Run(ctx context.Context) error {
	l := &loop{intake: i, queues: map[string][]*pending{}, working: map[string]bool{}, done: make(chan string)}
	news, stop := i.Store.Watch()
	defer stop()
	for {
		if err := l.fetch(); err != nil {
			i.Log.Error("reading deliveries", "err", err)
		}
		wait := l.dispatch(ctx)
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

// A loop is the state of Run. Its goroutine alone uses it.
type loop struct {
	intake  *Intake
	queues  map[string][]*pending // by repository, oldest first
	working map[string]bool       // repositories whose first delivery is being decided
	queued  int
	last    uint64 // number of the newest delivery fetched
	done    chan string
}

// fetch takes new deliveries into the queues, as many as there is room for.
func (l *loop) fetch() error {
	if l.queued >= maxQueue {
		return nil
	}
	var list []store.Delivery
	if err := l.intake.Store.View(func(tx *store.Tx) (err error) {
		list, err = tx.PendingDeliveries(l.last, maxQueue-l.queued)
		return err
	}); err != nil {
		return err
	}
	for _, d := range list {
		p := l.intake.decode(d)
		l.queues[p.key()] = append(l.queues[p.key()], p)
		l.last = d.Seq
		l.queued++
	}
	return nil
}

// dispatch starts what is due, and returns how long to wait for what is not.
func (l *loop) dispatch(ctx context.Context) time.Duration {
	wait := time.Hour
	now := l.intake.Store.Now()
	for key, queue := range l.queues {
		if l.working[key] || len(l.working) >= maxWorkers {
			continue
		}
		if due := queue[0].delivery.Next.Sub(now); due > 0 {
			wait = min(wait, due)
			continue
		}
		l.working[key] = true
		go func() {
			l.intake.handle(ctx, queue[0])
			l.done <- key
		}()
	}
	return wait
}

// finished takes the first delivery of a queue out, if it has been decided on.
func (l *loop) finished(key string) {
	delete(l.working, key)
	queue := l.queues[key]
	if queue[0].delivery.Pending() {
		return
	}
	l.queued--
	if len(queue) == 1 {
		delete(l.queues, key)
		return
	}
	l.queues[key] = queue[1:]
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
	if err != nil {
		p.problem = err.Error()
		return p
	}
	if d.Forge == store.ForgeAPI {
		p.event, err = decodeRequest(d.Event, body)
	} else if source := i.sources[d.Forge]; source == nil {
		err = fmt.Errorf("forge %s is no longer configured", d.Forge)
	} else {
		p.event, err = source.Decode(d.Event, body)
	}
	if err != nil {
		p.problem = err.Error()
	}
	return p
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
	asking, cancel := context.WithTimeout(ctx, lookupTime)
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
		v, replayed, err := replay(tx, &d, &p.event)
		if err == nil && !replayed {
			v, err = decide(tx)
		}
		if err != nil {
			return err
		}
		if p.event.Repo.ID != "" {
			if _, err := tx.Repo(p.event.Repo); err != nil {
				return err
			}
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
	replayed = e.Kind != RerunCheck && e.Kind != RerunCommit
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
	source := i.sources[r.Forge]
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
		return i.push(ctx, p)
	case PullRequest:
		return i.pullRequest(ctx, p)
	case Comment:
		return i.comment(ctx, p)
	case RerunCheck, RerunCommit:
		return i.rerequest(ctx, p)
	case Start:
		return i.startRequest(ctx, p)
	case Retry:
		return i.retryRequest(p)
	}
	return nothing("%s", e.Reason), nil
}

// specName is the buildspec of a project that is not configured.
const specName = "buildspec.yml"

// projects gives the projects of a repository that a commit concerns: the configured ones, or the repository itself if
// the commit has a buildspec. The reason says why there is none.
func (i *Intake) projects(ctx context.Context, r store.Repo, commit string) (list []Project, reason string, err error) {
	if list = i.Projects(r); len(list) > 0 {
		return list, "", nil
	}
	forge, err := i.forge(r)
	if err != nil {
		return nil, "", err
	}
	there, err := forge.HasFile(ctx, r, commit, specName)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, "", fmt.Errorf("looking for %s: %w", specName, err)
	}
	if !there {
		return nil, fmt.Sprintf("there is no %s in commit %.12s", specName, commit), nil
	}
	return []Project{{Settings: i.Settings}}, "", nil
}

// known are the projects of a repository without a look at the commit: for a build that is asked for by name.
func (i *Intake) known(r store.Repo) []Project {
	if list := i.Projects(r); len(list) > 0 {
		return list
	}
	return []Project{{Settings: i.Settings}}
}

// checkName is the name of a project's check run. It is what branch protection knows.
func checkName(project string, alone bool) string {
	if alone {
		return "buildsmith"
	}
	return "buildsmith (" + project + ")"
}
