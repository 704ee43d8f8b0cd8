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
	// Create makes what a report is at the forge, such as a check, and returns the forge's id of it: with an error too, if the check is there all the same.
	Create(ctx context.Context, r store.Repo, report *Report) (remote string, err error)
	// Update changes a check. Annotations that the forge has of it are not to be told again: told is the report that it
	// acknowledged last, nil if nobody knows.
	Update(ctx context.Context, r store.Repo, remote string, report, told *Report) error
	// Find looks for a check of the report's commit, name and external id: one whose creation was not acknowledged. It
	// returns an empty id if there is none.
	Find(ctx context.Context, r store.Repo, report *Report) (remote string, err error)
	// Has reports whether the forge has a place for reports of a kind. Others are not made.
	Has(kind Kind) bool
	// Account names what shares one budget of requests, such as the installation of an App.
	Account(r store.Repo) string
	// Habits are how the forge takes reports.
	Habits() Habits
}

// Habits are how a forge takes reports. The zero value is that of one that minds nothing.
type Habits struct {
	Interval time.Duration // to leave between two requests of an account
	Burst    int           // how many may come at once after a rest
	// Hourly is how many requests of an account that change something there are in an hour, beside those that are final. Phases is how
	// many of them leave room for checks of phases.
	Hourly, Phases int
	// Annotations is how many of them a request takes.
	Annotations int
	// ByName says that a check of a commit is known by its name alone: that of a later build takes the place of an earlier one's.
	ByName bool
}

// A Reacher is a Publisher that knows what a repository is reached by now: the configuration says so, and may be another since the
// repository was seen.
type Reacher interface {
	// Installation is the number of what a repository is reached by; 0 for nothing.
	Installation(repo string) int64
}

// ErrRefused says that a forge will never take a report.
var ErrRefused = errors.New("refused")

// ErrGone says that a forge no longer has what is to be updated. It comes with ErrRefused.
var ErrGone = errors.New("gone")

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
	// requestTime is how long a report may take. With many annotations it is several requests.
	requestTime = time.Minute

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
	orphans  []letter
	held     map[string]bool // the letters that wait for the hour's budget
	wake     chan struct{}

	// Told counts what forges acknowledged, Failures what they did not, HeldBack those that had to wait for the hour's budget.
	Told, Failures, HeldBack atomic.Int64
	lag                      atomic.Int64 // nanoseconds from the last end of a build to its acknowledged report
}

// New gives a reporter. Run starts it.
func New(c Config) *Reporter {
	return &Reporter{Config: c, accounts: map[string]*account{}, held: map[string]bool{}, wake: make(chan struct{}, 1)}
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
	r.nudge()
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
	r.nudge()
	return err
}

// Lag is how long the last final report took from the end of its build.
func (r *Reporter) Lag() time.Duration { return time.Duration(r.lag.Load()) }

// account gives the account of a repository. The caller holds mu.
func (r *Reporter) account(publisher Publisher, repo store.Repo) *account {
	key := repo.Forge + " " + publisher.Account(repo)
	a := r.accounts[key]
	if a == nil {
		a = &account{}
		r.accounts[key] = a
	}
	return a
}

// Single gives the accounts whose builds get one check each for now, because there were too many requests.
func (r *Reporter) Single() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for key, a := range r.accounts {
		if a.single(r.Store.Now()) {
			list = append(list, key)
		}
	}
	slices.Sort(list)
	return list
}

// Run tells forges what they do not know until ctx is done. It returns when nothing it started is left.
func (r *Reporter) Run(ctx context.Context) error {
	news, stop := r.Store.Watch()
	defer stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { r.findOrphans(ctx) })
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

// look finds what is to be told and starts what may go now. It returns how long to wait for what may not.
func (r *Reporter) look(ctx context.Context, sending *sync.WaitGroup) (time.Duration, error) {
	// Held from here on: an account that is not busy then has recorded all that it told, and letters sees it.
	r.mu.Lock()
	defer r.mu.Unlock()
	letters, settled, silent, wait, err := r.letters()
	if err != nil {
		return firstPause, err
	}
	if len(silent)+len(settled) > 0 {
		if err := r.Store.Update(func(tx *store.Tx) error {
			for _, s := range settled {
				if err := tx.SetTold(s.id, s.key, s.told); err != nil {
					return err
				}
			}
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
	letters = append(letters, r.orphans...)
	slices.SortStableFunc(letters, func(a, b letter) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		return a.order.Compare(b.order)
	})
	now := r.Store.Now()
	for _, l := range letters {
		publisher := r.Publishers[l.repo.Forge]
		a := r.account(publisher, l.repo)
		if a.busy {
			continue // it calls when it is done
		}
		habits := publisher.Habits()
		if pause := a.full(now, habits.Hourly); pause > 0 && l.report.Status != Completed {
			if key := l.id + "\x00" + l.report.Key(); !r.held[key] {
				r.held[key] = true
				r.HeldBack.Add(1)
			}
			wait = min(wait, pause)
			continue
		}
		if pause := a.take(now, habits.Interval, habits.Burst, l.rank == rankEnd); pause > 0 {
			wait = min(wait, pause)
			continue
		}
		a.busy = true
		delete(r.held, l.id+"\x00"+l.report.Key())
		if habits.Hourly > 0 {
			a.wrote(now, l.cost(habits.Annotations), habits.Phases)
		}
		sending.Go(func() {
			tell := r.send
			if l.orphan {
				tell = r.bury
			}
			until := tell(ctx, publisher, l)
			r.mu.Lock()
			a.busy, a.until = false, until
			r.mu.Unlock()
			r.nudge()
		})
	}
	return wait, nil
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
		if b := l.subject.Build; b != nil && l.rank == rankEnd {
			r.lag.Store(int64(max(0, now.Sub(b.Ended))))
		}
	case errors.As(err, &wait):
		until = wait.Until
		if latest := now.Add(longestPause); until.After(latest) {
			until = latest
		}
		told.Problem, told.Next = err.Error(), until
		r.failed(&l, err)
	case errors.Is(err, ErrGone) && l.report.Kind == KindComment && !told.Recreated:
		// Somebody has deleted it. It is made once more, and no third time.
		told.Remote, told.Creating, told.Recreated, told.Problem = "", true, true, err.Error()
		r.failed(&l, err)
	case errors.Is(err, ErrRefused):
		// What is told next may be taken all the same, and of a build that goes on there is more to tell.
		told.Problem, told.Refused, told.At, told.Creating = err.Error(), l.report.Digest(), now, false
		told.Tries, told.Next, told.GivenUp = 0, time.Time{}, l.report.Status == Completed || errors.Is(err, ErrGone)
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
		if l.report.Status == Completed && now.Sub(l.report.Completed) > giveUp {
			told.GivenUp = true
		}
		r.failed(&l, err)
	}
	if err := r.Store.Update(func(tx *store.Tx) error { return tx.SetTold(l.id, l.report.Key(), told) }); err != nil {
		r.Log.Error("recording what a forge was told", "build", l.id, "err", err)
		return now.Add(firstPause)
	}
	return until
}

func (r *Reporter) failed(l *letter, err error) {
	r.Failures.Add(1)
	r.Log.Warn("telling a forge", "build", l.id, "repo", l.repo.Name, "check", l.report.Name, "err", err)
}

// tell creates or updates a check. That a check is being created is recorded before: if the answer is lost, the next try
// looks for the check first.
func (r *Reporter) tell(ctx context.Context, publisher Publisher, l *letter, told *store.Told) error {
	// A summary is looked for in any case: a store that was restored knows of none.
	if told.Remote == "" && (told.Creating || l.report.Kind == KindComment && l.report.Name == SummaryName) {
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
		if l.rank == rankEnd {
			r.Store.At("before the end is told")
		}
		return publisher.Update(ctx, l.repo, told.Remote, &l.report, last)
	}
	if l.late {
		return fmt.Errorf("%w: %w: %s", ErrRefused, ErrGone, overtaken)
	}
	told.Creating = true
	if err := r.Store.Update(func(tx *store.Tx) error { return tx.SetTold(l.id, l.report.Key(), *told) }); err != nil {
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
