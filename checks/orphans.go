package checks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// An Unfinished is a check of ours at a forge that is not completed there.
type Unfinished struct {
	Remote     string
	Name       string
	ExternalID string
	Started    time.Time
}

// A Lister is a Publisher whose forge can be asked what it has of a commit.
type Lister interface {
	// Unfinished gives the checks of a commit that are ours and not completed, by one request.
	Unfinished(ctx context.Context, r store.Repo, commit string) ([]Unfinished, error)
}

const (
	// orphanBuilds is of how many builds, the last ones, the commits are looked at when the server starts.
	orphanBuilds = 50
	// orphanAge is how old an unfinished check must be to be taken for one that nobody finishes.
	orphanAge = 10 * time.Minute
)

// findOrphans looks for checks that an earlier state of this server had begun and this one knows nothing of, as after a backup was
// restored: the commits of the last builds are asked for once. What it finds is told cancelled.
func (r *Reporter) findOrphans(ctx context.Context) {
	var builds []store.Build
	if err := r.Store.View(func(tx *store.Tx) (err error) { builds, err = tx.Builds("", 0, orphanBuilds); return err }); err != nil {
		r.Log.Error("looking for checks that nobody finishes", "err", err)
		return
	}
	r.mu.Lock()
	publishers := r.Publishers // AddPublisher replaces it
	r.mu.Unlock()
	seen, limited := map[string]bool{}, map[string]bool{}
	for i := range builds {
		repo, commit := builds[i].Repo, builds[i].Trigger.Commit
		publisher := publishers[repo.Forge]
		lister, ok := publisher.(Lister)
		if !ok || seen[repo.Key()+commit] {
			continue
		}
		if seen[repo.Key()+commit] = true; limited[publisher.Account(repo)] {
			continue
		}
		var state store.RepoState
		if err := r.Store.View(func(tx *store.Tx) (err error) { state, err = tx.RepoState(repo.Key()); return err }); err != nil {
			r.Log.Error("looking for checks that nobody finishes", "repo", repo.Name, "err", err)
			return
		}
		if state.Repo.ID != "" && state.Repo.Installation != 0 {
			repo = state.Repo
		}
		list, err := lister.Unfinished(ctx, repo, commit)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if wait := (*WaitError)(nil); errors.As(err, &wait) {
				limited[publisher.Account(repo)] = true
			}
			r.Log.Warn("looking for checks that nobody finishes", "repo", repo.Name, "err", err)
			continue
		}
		for _, u := range list {
			if r.Store.Now().Sub(u.Started) >= orphanAge && !r.known(u.ExternalID) {
				r.adopt(repo, commit, u)
			}
		}
	}
}

// known reports whether a check's id of ours is that of a build or notice, or of a build's phase.
func (r *Reporter) known(externalID string) (known bool) {
	id, _, _ := strings.Cut(externalID, "/")
	if err := r.Store.View(func(tx *store.Tx) error {
		_, err := tx.Build(id)
		if errors.Is(err, store.ErrNotFound) {
			_, known, err = tx.Notice(id)
			return err
		}
		known = true
		return err
	}); err != nil {
		return true // nobody knows
	}
	return known
}

// adopt has a check told that it is lost.
func (r *Reporter) adopt(repo store.Repo, commit string, u Unfinished) {
	now := r.Store.Now()
	r.mu.Lock()
	r.orphans = append(r.orphans, letter{id: u.ExternalID, orphan: true, repo: repo, told: store.Told{Remote: u.Remote}, rank: rankFinal, order: now, report: Report{
		Name: u.Name, ExternalID: u.ExternalID, Commit: commit, Status: Completed, Conclusion: Cancelled, Started: u.Started, Completed: now, Title: "Lost",
		Summary: "The server knows nothing of this build any more. Push again, or ask for a new build.",
	}})
	r.mu.Unlock()
	r.nudge()
}

// nudge has the reporter look again.
func (r *Reporter) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// bury tells of an orphan. It returns the time before which the forge takes nothing more. One that cannot be told now is found again
// when the server starts next.
func (r *Reporter) bury(ctx context.Context, publisher Publisher, l letter) (until time.Time) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	there, err := stillThere(ctx, publisher, &l)
	if err == nil && there {
		err = publisher.Update(ctx, l.repo, l.told.Remote, &l.report, nil)
	}
	var wait *WaitError
	if errors.As(err, &wait) {
		return wait.Until // and then once more
	}
	r.mu.Lock()
	for i := range r.orphans {
		// At some forges a check's id is known only together with its commit.
		if o := &r.orphans[i]; o.told.Remote == l.told.Remote && o.report.Commit == l.report.Commit && o.repo.Key() == l.repo.Key() {
			r.orphans = append(r.orphans[:i], r.orphans[i+1:]...)
			break
		}
	}
	r.mu.Unlock()
	if err != nil {
		r.failed(&l, err)
		return time.Time{}
	}
	if !there {
		return time.Time{}
	}
	r.Told.Add(1)
	r.Log.Info("told that a check is lost", "repo", l.repo.Name, "check", l.report.Name)
	return time.Time{}
}

// stillThere reports whether an orphan is still as it was found: where checks are known by name, a build may have taken its place since.
func stillThere(ctx context.Context, publisher Publisher, l *letter) (bool, error) {
	lister, ok := publisher.(Lister)
	if !ok || !publisher.Habits().ByName {
		return true, nil
	}
	list, err := lister.Unfinished(ctx, l.repo, l.report.Commit)
	return slices.ContainsFunc(list, func(u Unfinished) bool { return u.Remote == l.told.Remote && u.ExternalID == l.report.ExternalID }), err
}
