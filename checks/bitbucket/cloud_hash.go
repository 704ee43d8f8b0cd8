package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"buildsmith/store"
)

// complete implements api. The commits of a fork are asked for there, and in the repository itself if the fork cannot be read: it shows
// those of its pull requests as well, and is asked for everything then.
func (a cloud) complete(ctx context.Context, r store.Repo, pr *store.PullRequest) error {
	hash, err := a.newest(ctx, r, pr)
	// What was found before holds when a fork is gone, but for this pull request alone: whoever has a fork can make a commit there whose
	// hash begins like another's.
	own := fmt.Sprintf("%s/%d", r.ID, pr.Number)
	if known, ok := a.known.full(own, pr.Head); ok && errors.Is(err, store.ErrNotFound) {
		hash, err = known, nil
	}
	var missing error
	switch {
	case errors.Is(err, store.ErrNotFound): // what it was merged as may matter all the same
		missing = fmt.Errorf("the newest commit of pull request %d: %w", pr.Number, err)
	case err != nil:
		return fmt.Errorf("the newest commit of pull request %d: %w", pr.Number, err)
	default:
		if hash != pr.Head {
			a.known.resolved(own, pr.Head, hash)
		}
		pr.Head = hash
	}
	// The commits of the base branch and of the merge may be gone, which matters to nobody.
	for _, of := range []*string{&pr.Base, &pr.Merged} {
		if *of == "" {
			continue
		}
		hash, err := a.own(ctx, r, pr.BaseRef, *of)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("the commits of pull request %d: %w", pr.Number, err)
		}
		*of = hash
	}
	return missing
}

var shortHash = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// newest gives the full hash of a pull request's newest commit. Of a fork its branch is asked for each time: whoever has one can make two
// commits whose hashes begin alike, and show one here and the other to those who approve it.
func (a cloud) newest(ctx context.Context, r store.Repo, pr *store.PullRequest) (string, error) {
	if pr.HeadRepo == r.ID {
		return a.own(ctx, r, pr.HeadRef, pr.Head)
	}
	if pr.HeadName == "" || store.ValidHash(pr.Head) {
		return a.resolve(ctx, r, pr.Head)
	}
	fork := headOf(r, pr)
	hash, _, err := a.tip(ctx, fork, pr.HeadRef, pr.Head)
	if err == nil && hash == "" {
		hash, err = a.resolve(ctx, fork, pr.Head)
	}
	if err == nil {
		a.known.resolved(fork.ID, pr.Head, hash)
	} else if errors.Is(err, store.ErrNotFound) {
		if hash, err = a.resolve(ctx, r, pr.Head); err == nil {
			pr.HeadName = ""
		}
	}
	return hash, err
}

// tip gives the newest commit of a branch, and the hash of it if that is what a shortened one stands for. Both are empty if there is no such
// branch.
func (a cloud) tip(ctx context.Context, r store.Repo, ref, short string) (hash, newest string, err error) {
	branch, ok := strings.CutPrefix(ref, "refs/heads/")
	if !ok || !store.ValidRef(ref) || !shortHash.MatchString(short) {
		return "", "", nil
	}
	c, err := a.ref(ctx, r, "heads/"+branch)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", "", err
	}
	if c.Hash != "" && strings.HasPrefix(c.Hash, short) {
		hash = c.Hash
	}
	return hash, c.Hash, nil
}

// own gives the full hash of a shortened one that is said to be of a branch of the repository. Cloud gives commits of forks by their
// hashes as well, and whoever has a fork can make one whose hash begins like another's: the branch is asked for first, and what is not its
// newest commit must lead to it, or belong to the repository otherwise.
func (a cloud) own(ctx context.Context, r store.Repo, ref, short string) (string, error) {
	if hash, ok := a.known.full(r.ID, short); ok || store.ValidHash(short) {
		return cmp.Or(hash, short), nil
	}
	hash, newest, err := a.tip(ctx, r, ref, short)
	if err != nil {
		return "", err
	}
	if hash == "" {
		if hash, err = a.resolve(ctx, r, short); err != nil {
			return "", err
		}
		belongs, err := a.leads(ctx, r, hash, newest)
		if err == nil && !belongs {
			belongs, err = a.owns(ctx, r, hash, hash)
		}
		if err != nil {
			return "", err
		}
		if !belongs {
			a.known.missed(r.ID, short, a.Now())
			return "", fmt.Errorf("no branch or tag of %s is known to lead to commit %s: %w", r.Name, hash, store.ErrNotFound)
		}
	}
	a.known.resolved(r.ID, short, hash)
	return hash, nil
}

// leads reports whether a commit is among those before another, or that one itself. Nothing leads to none.
func (a cloud) leads(ctx context.Context, r store.Repo, commit, to string) (bool, error) {
	if to == "" {
		return false, nil
	}
	base, err := a.commitAt(ctx, r, "/merge-base/"+commit+".."+to) // by hashes: a branch may be called anything
	if errors.Is(err, store.ErrNotFound) {                         // they have nothing in common
		return false, nil
	}
	return base.Hash == commit, err
}

// resolve gives the full hash of a commit that a repository shows for a shortened one, be it its own or a fork's.
func (a cloud) resolve(ctx context.Context, r store.Repo, short string) (string, error) {
	if store.ValidHash(short) {
		return short, nil
	}
	if !shortHash.MatchString(short) {
		return "", fmt.Errorf("%.80q is no hash of a commit: %w", short, store.ErrNotFound)
	}
	found, err := a.commitAt(ctx, r, "/commit/"+short)
	if errors.Is(err, store.ErrNotFound) {
		a.known.missed(r.ID, short, a.Now())
	}
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(found.Hash, short) {
		return "", fmt.Errorf("Bitbucket gives commit %s for %s", found.Hash, short)
	}
	return found.Hash, nil
}
