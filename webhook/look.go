package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

const (
	// lookEvery is how often a forge is looked at that delivers nothing, unless Config.SweepEvery is shorter.
	lookEvery = time.Minute
	// maxLooked is how many repositories are looked at in one round.
	maxLooked = 60
	// maxFound is how many deliveries are made in one round.
	maxFound = 500
	// roundTime is how long a round may ask, and repositoryTime what one repository may take of it.
	roundTime      = 3 * time.Minute
	repositoryTime = time.Minute
	// maxTalks is of how many pull requests of a repository comments are read in one look, and maxComments how many comments about.
	maxTalks    = 50
	maxComments = 300
	// maxAsked is of how many pull requests that are no longer open it is asked in one look what became of them.
	maxAsked = 50
)

// A round is one look at the repositories of a forge.
type round struct {
	intake *Intake
	source *Source
	looker Looker
	at     time.Time
	seen   []*seen
}

// What was seen of a repository.
type seen struct {
	repo  store.Repo
	look  store.Look // to be remembered once all that was found is stored
	found []*finding
}

// look looks at the repositories of a forge and makes deliveries of what none told of.
func (i *Intake) look(ctx context.Context, source *Source, looker Looker, result *Sweep) error {
	r := &round{intake: i, source: source, looker: looker, at: result.At}
	asked := r.ask(ctx, result)
	if err := r.settle(ctx); err != nil {
		return errors.Join(asked, err)
	}
	if err := r.store(result); err != nil {
		return errors.Join(asked, err)
	}
	if asked != nil {
		return asked
	}
	return i.Store.Update(func(tx *store.Tx) error {
		return tx.ChangeHook(source.Name, source.Host, func(h *store.HookState) { h.Looked = r.at })
	})
}

// ask looks at the repositories whose turn it is. The error says of how many of them it is not known how they stand.
func (r *round) ask(ctx context.Context, result *Sweep) error {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	all, err := r.looker.Repositories(ctx)
	if err != nil {
		return fmt.Errorf("asking for the repositories: %w", err)
	}
	list, err := r.due(all)
	if err != nil {
		return err
	}
	var first, limit error
	looked, failed, left := 0, 0, 0
	held := map[int64]bool{} // installations with which the forge takes nothing for a while
	for n, repo := range list {
		if held[repo.Installation] {
			left++
			continue
		}
		if looked == maxLooked {
			break
		}
		of, cancel := context.WithTimeout(ctx, repositoryTime)
		err := r.lookAt(of, repo)
		cancel()
		if err == nil {
			looked++
			continue
		}
		err = fmt.Errorf("looking at %s: %w", repo.Name, err)
		if ctx.Err() != nil {
			return fmt.Errorf("%w; repositories that are left for the next look: %d", err, left+min(len(list)-n, maxLooked-looked))
		}
		if limited := interface{ RetryAt() time.Time }(nil); errors.As(err, &limited) {
			held[repo.Installation] = true
			limit = cmp.Or(limit, err)
			left++
			continue
		}
		first = cmp.Or(first, err)
		looked++
		failed++
		if err := r.failed(repo, err); err != nil {
			return err
		}
	}
	switch {
	case left > 0 && !slices.ContainsFunc(all, func(repo store.Repo) bool { return repo.Forge == r.source.Name && !held[repo.Installation] }):
		return fmt.Errorf("%w; repositories that are left for the next look: %d", limit, left)
	case left > 0: // those of other installations are not to wait until the forge takes something again
		result.some = true
		return fmt.Errorf("%d of %d repositories could not be looked at, and %d are left for the next look: %v", failed, looked, left, cmp.Or(first, limit))
	case failed > 0:
		result.some = failed < looked
		return fmt.Errorf("%d of %d repositories could not be looked at: %w", failed, looked, first)
	}
	return nil
}

// due gives the repositories that may be looked at in this round, those first whose last look is longest ago. Where looks are counted,
// those of one installation have to wait for their turn.
func (r *round) due(list []store.Repo) ([]store.Repo, error) {
	tried := map[string]time.Time{}
	list = slices.DeleteFunc(slices.Clone(list), func(repo store.Repo) bool { return repo.Forge != r.source.Name || repo.ID == "" })
	err := r.intake.Store.View(func(tx *store.Tx) error {
		for _, repo := range list {
			look, err := tx.Look(repo)
			if err != nil {
				return err
			}
			tried[repo.Key()] = look.Tried
		}
		return nil
	})
	slices.SortFunc(list, func(a, b store.Repo) int {
		return cmp.Or(tried[a.Key()].Compare(tried[b.Key()]), cmp.Compare(a.Key(), b.Key()))
	})
	list = slices.CompactFunc(list, func(a, b store.Repo) bool { return a.Key() == b.Key() })
	if looks := cmp.Or(r.intake.LooksPerHour, r.looker.LooksPerHour()); looks > 0 {
		of := map[int64]int{}
		for _, repo := range list {
			of[repo.Installation]++
		}
		list = slices.DeleteFunc(list, func(repo store.Repo) bool {
			since := r.at.Sub(tried[repo.Key()])
			return since >= 0 && since < time.Duration(of[repo.Installation])*time.Hour/time.Duration(looks)
		})
	}
	return list, err
}

// failed remembers that a repository could not be looked at, and that it is gone if the forge says so.
func (r *round) failed(repo store.Repo, why error) error {
	return r.intake.Store.Update(func(tx *store.Tx) error {
		look, err := tx.Look(repo)
		if err != nil {
			return err
		}
		look.Tried, look.Problem = r.at, clip(why.Error(), maxReason)
		if err := tx.SetLook(repo, look); err != nil || !errors.Is(why, store.ErrNotFound) {
			return err
		}
		return tx.ChangeRepo(repo.Key(), func(s *store.RepoState) { s.Gone = true })
	})
}

// lookAt looks at a repository.
func (r *round) lookAt(ctx context.Context, repo store.Repo) error {
	standing, err := r.looker.Look(ctx, repo)
	if err != nil {
		return err
	}
	standing = sane(standing)
	s := &seen{repo: repo}
	if s.look, err = r.baseline(repo, &standing); err != nil {
		return err
	}
	var closed []store.Pull
	if err := r.intake.Store.View(func(tx *store.Tx) error {
		refs, err := tx.RefsOf(repo)
		if err != nil {
			return err
		}
		s.found = r.refs(repo, refs, &standing)
		pulls, gone, err := r.pulls(tx, repo, &standing)
		s.found, closed = append(s.found, pulls...), gone
		return err
	}); err != nil {
		return err
	}
	ended, err := r.ended(ctx, repo, closed)
	if err != nil {
		return err
	}
	s.found = append(s.found, ended...)
	talk, err := r.comments(ctx, s, &standing)
	s.found = append(s.found, talk...)
	s.look.Last, s.look.Tried, s.look.Problem = r.at, r.at, ""
	if err != nil {
		s.look.Problem = clip(err.Error(), maxReason)
	}
	r.seen = append(r.seen, s) // what else was found is not to wait for comments that cannot be read
	return err
}

// sane gives what of a standing a repository can have: whole hashes of branches and tags, and open pull requests.
func sane(s Standing) Standing {
	refs := map[string]string{}
	for ref, hash := range s.Refs {
		if memorable(&PushEvent{Ref: ref, After: hash}) && hash != "" {
			refs[ref] = hash
		}
	}
	s.Refs = refs
	s.Pulls = slices.DeleteFunc(slices.Clone(s.Pulls), func(pr store.PullRequest) bool { return !pr.Open || pr.Number <= 0 })
	slices.SortFunc(s.Pulls, func(a, b store.PullRequest) int { return a.Number - b.Number })
	return s
}

// baseline gives what is remembered of the looks at a repository. The first look is remembered as it is, for nothing is built of
// what was there before; but what deliveries told stays.
func (r *round) baseline(repo store.Repo, standing *Standing) (look store.Look, err error) {
	err = r.intake.Store.Update(func(tx *store.Tx) error {
		state, err := tx.RepoState(repo.Key())
		if err != nil {
			return err
		}
		if state.Gone { // it is there again
			if err := tx.ChangeRepo(repo.Key(), func(s *store.RepoState) { s.Gone = false }); err != nil {
				return err
			}
		}
		if look, err = tx.Look(repo); err != nil || !look.First.IsZero() {
			return err
		}
		look = store.Look{First: r.at, Last: r.at, Tried: r.at, Pulls: map[int]store.PullLook{}}
		for ref, hash := range standing.Refs {
			known, err := tx.Ref(repo, ref)
			if err != nil {
				return err
			}
			if known.Past != nil {
				continue
			}
			known.Move("", hash)
			if err := tx.SetRef(repo, ref, known); err != nil {
				return err
			}
		}
		for n := range standing.Pulls {
			pr := &standing.Pulls[n]
			look.Pulls[pr.Number] = store.PullLook{Updated: pr.Updated, At: r.at}
			known, _, err := tx.Pull(repo, pr.Number)
			if err != nil {
				return err
			}
			if known.Decided != (store.PullState{}) {
				continue
			}
			if store.ValidHash(pr.Head) && store.ValidRef(pr.HeadRef) && store.ValidRef(pr.BaseRef) {
				if _, err := tx.SeePull(repo, pr); err != nil {
					return err
				}
			}
			if err := tx.DecidePull(repo, pr); err != nil {
				return err
			}
		}
		return tx.SetLook(repo, look)
	})
	return look, err
}

// settle waits for what is under way, and leaves of what was found what did not come by then.
func (r *round) settle(ctx context.Context) error {
	if err := r.sift(); err != nil || r.source.Fetch || !slices.ContainsFunc(r.seen, func(s *seen) bool { return len(s.found) > 0 }) {
		return err
	}
	timer := time.NewTimer(min(settleTime, cmp.Or(r.intake.SweepEvery, settleTime)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	return r.sift()
}

// sift takes out of what was found what deliveries told meanwhile, and what was found before and waits to be decided on.
func (r *round) sift() error {
	waiting := map[string]bool{}
	return r.intake.Store.View(func(tx *store.Tx) error {
		for after := uint64(0); ; {
			list, err := tx.PendingDeliveries(after, pageSize)
			if err != nil {
				return err
			}
			for _, d := range list {
				if after = d.Seq; d.Forge == r.source.Name && strings.HasPrefix(d.ID, foundPrefix) {
					waiting[d.ID[:strings.LastIndex(d.ID, "/")+1]] = true
				}
			}
			if len(list) < pageSize {
				break
			}
		}
		for _, s := range r.seen {
			var left []*finding
			for _, f := range s.found {
				still, err := f.still(tx)
				if err != nil {
					return err
				}
				if still && !waiting[f.subject()] {
					left = append(left, f)
				}
			}
			s.found = left
		}
		return nil
	})
}

// store makes deliveries of what was found, and then remembers the look. A repository of which something is left is looked at again
// next.
func (r *round) store(result *Sweep) error {
	i := r.intake
	for _, s := range r.seen {
		result.Missed += len(s.found)
	}
	if result.Missed > 0 {
		if disk, err := i.Store.Disk(); err != nil || disk.Low() {
			result.Left = result.Missed
			return errors.Join(errors.New("the disk of this server is nearly full"), err)
		}
	}
	i.Store.At("looked")
	for _, s := range r.seen {
		left := false
		for _, f := range s.found {
			if left = result.Fetched == maxFound; left {
				break
			}
			body, err := json.Marshal(f)
			if err != nil {
				return err
			}
			d := store.Delivery{Forge: r.source.Name, Host: r.source.Host, ID: f.id(), Event: f.event(), Repo: f.Repo.Name, RepoKey: f.Repo.Key()}
			if _, err := i.Store.Accept(&d, body); err != nil {
				return err
			}
			result.Fetched++
			i.Fetched.Add(1)
			i.Store.At("delivery stored")
		}
		if left {
			continue
		}
		if err := i.Store.Update(func(tx *store.Tx) error { return tx.SetLook(s.repo, s.look) }); err != nil {
			return err
		}
		i.Store.At("look remembered")
	}
	result.Left = result.Missed - result.Fetched
	return nil
}
