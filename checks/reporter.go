package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"buildsmith/store"
)

// A Publisher tells a forge. Its errors: one that wraps ErrRefused says that the forge will never take the report; a
// *WaitError says when to try again; any other is tried again later.
type Publisher interface {
	// Create makes a check and returns the forge's id of it: with an error too, if the check is there all the same.
	Create(ctx context.Context, r store.Repo, report *Report) (remote string, err error)
	// Update changes a check. Annotations that the forge has of it are not to be told again: told is the report that it
	// acknowledged last, nil if nobody knows.
	Update(ctx context.Context, r store.Repo, remote string, report, told *Report) error
	// Find looks for a check of the report's commit, name and external id: one whose creation was not acknowledged. It
	// returns an empty id if there is none.
	Find(ctx context.Context, r store.Repo, report *Report) (remote string, err error)
	// Account names what shares one budget of requests, such as the installation of an App.
	Account(r store.Repo) string
	// Pace is how long to leave between two requests of an account, and how many may come at once after a rest.
	Pace() (interval time.Duration, burst int)
}

// ErrRefused says that a forge will never take a report.
var ErrRefused = errors.New("refused")

// A WaitError says that a forge takes nothing before a time.
type WaitError struct {
	Until time.Time
	Err   error
}

func (e *WaitError) Error() string {
	return fmt.Sprintf("%v; not before %s", e.Err, e.Until.UTC().Format(time.RFC3339))
}
func (e *WaitError) Unwrap() error { return e.Err }

// RetryAt is the time before which the forge takes nothing.
func (e *WaitError) RetryAt() time.Time { return e.Until }

const (
	// updateEvery is how often a check that runs is updated at most.
	updateEvery = 10 * time.Second
	// requestTime is how long a request may take.
	requestTime = 30 * time.Second

	firstPause = 2 * time.Second
	lastPause  = 5 * time.Minute
	giveUp     = 24 * time.Hour
	// longestPause is how long a forge can have us wait. GitHub's limits end within an hour.
	longestPause = 2 * time.Hour
)

// remaining is how long there is to wait for a time that was set no further ahead than longest. One that is further ahead was
// set before somebody set the clock back: there is nothing to wait for.
func remaining(at, now time.Time, longest time.Duration) time.Duration {
	wait := at.Sub(now)
	if wait < 0 || wait > longest {
		return 0
	}
	return wait
}

// Config is what a Reporter works with.
type Config struct {
	Store      *store.Store
	Publishers map[string]Publisher // by forge
	Options    Options
	Log        *slog.Logger
}

// A Reporter keeps forges told.
type Reporter struct {
	Config

	mu       sync.Mutex
	accounts map[string]*account
	wake     chan struct{}

	// Told counts what forges acknowledged, Failures what they did not.
	Told, Failures atomic.Int64
	lag            atomic.Int64 // nanoseconds from the last end of a build to its acknowledged report
}

// New gives a reporter. Run starts it.
func New(c Config) *Reporter {
	return &Reporter{Config: c, accounts: map[string]*account{}, wake: make(chan struct{}, 1)}
}

// AddPublisher adds a forge while the reporter runs, or replaces the one of its name.
func (r *Reporter) AddPublisher(forge string, p Publisher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.Publishers)
	if all == nil {
		all = map[string]Publisher{}
	}
	all[forge] = p
	r.Publishers = all
	r.lookSoon()
}

// Again has forges told now what had to wait: what failed is not put off any longer.
func (r *Reporter) Again() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.accounts {
		if !a.busy {
			a.until = time.Time{}
		}
	}
	err := r.Store.Update(func(tx *store.Tx) error {
		subjects, err := tx.Unsaid()
		for _, s := range subjects {
			all, err := tx.AllTold(s.ID())
			if err != nil {
				return err
			}
			for name, told := range all {
				if told.Next.IsZero() {
					continue
				}
				told.Next = time.Time{}
				if err := tx.SetTold(s.ID(), name, told); err != nil {
					return err
				}
			}
		}
		return err
	})
	r.lookSoon()
	return err
}

// lookSoon has Run look for what forges do not know.
func (r *Reporter) lookSoon() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Lag is how long the last final report took from the end of its build.
func (r *Reporter) Lag() time.Duration { return time.Duration(r.lag.Load()) }

// An account shares a budget of requests. One goroutine at a time tells its forge.
type account struct {
	busy   bool
	tokens float64
	filled time.Time
	until  time.Time // the forge takes nothing before
}

// take gives how long to wait for the next request; zero if it may go now, which it then does. One that must not wait may
// borrow as much as the budget holds at most: what comes later waits longer for it.
func (a *account) take(now time.Time, interval time.Duration, burst int, borrow bool) time.Duration {
	if wait := remaining(a.until, now, longestPause); wait > 0 {
		return wait
	}
	if interval <= 0 {
		return 0
	}
	if a.filled.IsZero() {
		a.tokens = float64(burst)
	} else {
		a.tokens = min(float64(burst), a.tokens+float64(max(0, now.Sub(a.filled)))/float64(interval))
	}
	a.filled = now
	needed := 1.0
	if borrow {
		needed -= float64(burst)
	}
	if a.tokens < needed {
		return time.Duration((needed - a.tokens) * float64(interval))
	}
	a.tokens--
	return 0
}

// Run tells forges what they do not know until ctx is done. It returns when nothing it started is left.
func (r *Reporter) Run(ctx context.Context) error {
	news, stop := r.Store.Watch()
	defer stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	for {
		wait, err := r.look(ctx, &sending)
		if err != nil {
			r.Log.Error("looking for what forges do not know", "err", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-news:
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// A letter is a report that a forge does not have as it is.
type letter struct {
	subject store.Subject
	repo    store.Repo
	report  Report
	told    store.Told
	rank    int // lower goes first
	order   time.Time
}

// Ranks: the end of a build first, for which people and branch protection wait; then what else is final, then what is not
// there at all, then what has changed.
const (
	rankEnd = iota
	rankFinal
	rankNew
	rankChange
)

// look finds what is to be told and starts what may go now. It returns how long to wait for what may not.
func (r *Reporter) look(ctx context.Context, sending *sync.WaitGroup) (time.Duration, error) {
	// Held from here on: an account that is not busy then has recorded all that it told, and letters sees it.
	r.mu.Lock()
	defer r.mu.Unlock()
	letters, silent, wait, err := r.letters()
	if err != nil {
		return firstPause, err
	}
	if len(silent) > 0 {
		if err := r.Store.Update(func(tx *store.Tx) error {
			for _, s := range silent {
				if err := tx.Said(s); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return firstPause, err
		}
	}
	slices.SortStableFunc(letters, func(a, b letter) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		return a.order.Compare(b.order)
	})
	now := r.Store.Now()
	for _, l := range letters {
		publisher := r.Publishers[l.repo.Forge]
		key := l.repo.Forge + " " + publisher.Account(l.repo)
		a := r.accounts[key]
		if a == nil {
			a = &account{}
			r.accounts[key] = a
		}
		if a.busy {
			continue // it calls when it is done
		}
		interval, burst := publisher.Pace()
		if pause := a.take(now, interval, burst, l.rank == rankEnd); pause > 0 {
			wait = min(wait, pause)
			continue
		}
		a.busy = true
		sending.Go(func() {
			until := r.send(ctx, publisher, l)
			r.mu.Lock()
			a.busy, a.until = false, until
			r.mu.Unlock()
			r.lookSoon()
		})
	}
	return wait, nil
}

// letters gives the reports that differ from what forges were told and may be told now, and the subjects of which there
// is nothing more to tell.
func (r *Reporter) letters() (letters []letter, silent []store.Subject, wait time.Duration, err error) {
	wait = time.Hour
	now := r.Store.Now()
	var subjects []store.Subject
	told := map[string]map[string]store.Told{}
	if err := r.Store.View(func(tx *store.Tx) (err error) {
		if subjects, err = tx.Unsaid(); err != nil {
			return err
		}
		for _, s := range subjects {
			if told[s.ID()], err = tx.AllTold(s.ID()); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, nil, wait, err
	}
	// Rendered outside of the transaction, since links are made by another one.
	for _, s := range subjects {
		repo := repoOf(s)
		if r.Publishers[repo.Forge] == nil {
			continue // until a server is configured for that forge again
		}
		reports := r.render(s)
		left := false
		for _, report := range reports {
			l := letter{subject: s, repo: repo, report: report, told: told[s.ID()][report.Name], rank: rankChange, order: report.Started}
			if digest := report.Digest(); l.told.GivenUp || l.told.Digest == digest || l.told.Refused == digest {
				continue
			}
			left = true
			if pause := l.pause(now); pause > 0 {
				wait = min(wait, pause)
				continue
			}
			switch {
			case report.Status == Completed && s.Build != nil && report.Name == s.Build.Check:
				l.rank, l.order = rankEnd, report.Completed
			case report.Status == Completed:
				l.rank, l.order = rankFinal, report.Completed
			case l.told.Remote == "":
				l.rank = rankNew
			}
			letters = append(letters, l)
		}
		if !left { // whatever changes it makes it unsaid again
			silent = append(silent, s)
		}
	}
	return letters, silent, wait, nil
}

// pause is how long a letter has to wait: what runs is not told of too often, what failed is tried again after a while.
func (l *letter) pause(now time.Time) time.Duration {
	pause := remaining(l.told.Next, now, longestPause)
	if same := l.told.Remote != "" && l.told.Status == l.report.Status; l.report.Status != Completed && (same || l.told.Refused != "") {
		pause = max(pause, remaining(l.told.At.Add(updateEvery), now, updateEvery))
	}
	return pause
}

func repoOf(s store.Subject) store.Repo {
	switch {
	case s.Notice != nil:
		return s.Notice.Repo
	case s.Reply != nil:
		return s.Reply.Repo
	}
	return s.Build.Repo
}

func (r *Reporter) render(s store.Subject) []Report {
	if s.Notice != nil {
		return []Report{RenderNotice(s.Notice, r.Options)}
	}
	if s.Reply != nil {
		return []Report{RenderReply(s.Reply)}
	}
	return Render(s.Build, r.Options)
}

// send tells one report and records what came of it. It returns the time before which the forge takes nothing more.
func (r *Reporter) send(ctx context.Context, publisher Publisher, l letter) (until time.Time) {
	told := l.told
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := r.tell(ctx, publisher, &l, &told)
	now := r.Store.Now()
	var wait *WaitError
	switch {
	case err == nil:
		told.Digest, told.Status, told.At, told.Creating = l.report.Digest(), l.report.Status, now, false
		told.Tries, told.Problem, told.Refused, told.Next = 0, "", "", time.Time{}
		told.Report, _ = json.Marshal(l.report)
		r.Told.Add(1)
		if b := l.subject.Build; b != nil && b.Done() && l.report.Name == b.Check {
			r.lag.Store(int64(max(0, now.Sub(b.Ended))))
		}
	case errors.As(err, &wait):
		until = wait.Until
		if latest := now.Add(longestPause); until.After(latest) {
			until = latest
		}
		told.Problem, told.Next = err.Error(), until
		r.failed(&l, err)
	case errors.Is(err, ErrRefused):
		// What is told next may be taken all the same, and of a build that goes on there is more to tell.
		told.Problem, told.Refused, told.At, told.Creating = err.Error(), l.report.Digest(), now, false
		told.Tries, told.Next, told.GivenUp = 0, time.Time{}, l.report.Status == Completed
		r.failed(&l, err)
	case context.Cause(ctx) == context.Canceled:
		return until // the server stops; nothing is known of what the forge did
	default:
		told.Tries++
		pause := lastPause
		if told.Tries < 8 {
			pause = min(firstPause<<(told.Tries-1), lastPause)
		}
		told.Problem, told.Next = err.Error(), now.Add(pause)
		if b := l.subject.Build; b != nil && b.Done() && now.Sub(b.Ended) > giveUp {
			told.GivenUp = true
		}
		r.failed(&l, err)
	}
	if err := r.Store.Update(func(tx *store.Tx) error { return tx.SetTold(l.subject.ID(), l.report.Name, told) }); err != nil {
		r.Log.Error("recording what a forge was told", "build", l.subject.ID(), "err", err)
		return now.Add(firstPause)
	}
	return until
}

func (r *Reporter) failed(l *letter, err error) {
	r.Failures.Add(1)
	r.Log.Warn("telling a forge", "build", l.subject.ID(), "repo", l.repo.Name, "check", l.report.Name, "err", err)
}

// tell creates or updates a check. That a check is being created is recorded before: if the answer is lost, the next try
// looks for the check first.
func (r *Reporter) tell(ctx context.Context, publisher Publisher, l *letter, told *store.Told) error {
	if told.Remote == "" && told.Creating {
		remote, err := publisher.Find(ctx, l.repo, &l.report)
		if err != nil {
			return err
		}
		told.Remote = remote
	}
	if told.Remote != "" {
		var last *Report
		if len(told.Report) > 0 {
			last = &Report{}
			if err := json.Unmarshal(told.Report, last); err != nil {
				last = nil
			}
		}
		return publisher.Update(ctx, l.repo, told.Remote, &l.report, last)
	}
	told.Creating = true
	if err := r.Store.Update(func(tx *store.Tx) error { return tx.SetTold(l.subject.ID(), l.report.Name, *told) }); err != nil {
		return err
	}
	r.Store.At("before the report")
	remote, err := publisher.Create(ctx, l.repo, &l.report)
	told.Remote = remote
	if err != nil {
		return err
	}
	r.Store.At("check created")
	return nil
}

// ToldReports gives the reports of a build or notice as its forge was last told them.
func ToldReports(s *store.Store, id string) ([]Report, error) {
	var list []Report
	err := s.View(func(tx *store.Tx) error {
		all, err := tx.AllTold(id)
		if err != nil {
			return err
		}
		for _, t := range all {
			var report Report
			if len(t.Report) > 0 && json.Unmarshal(t.Report, &report) == nil {
				list = append(list, report)
			}
		}
		return nil
	})
	// The build's own first, then its phases in the order in which they run.
	slices.SortFunc(list, func(a, b Report) int {
		return phaseOrder(&a) - phaseOrder(&b)
	})
	return list, err
}

func phaseOrder(r *Report) int {
	for i, phase := range store.CommandPhases {
		if len(r.ExternalID) > len(phase) && r.ExternalID[len(r.ExternalID)-len(phase)-1:] == "/"+phase {
			return i + 1
		}
	}
	return 0
}
