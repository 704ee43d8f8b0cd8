package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// refs finds the refs that are new, moved or gone.
func (r *round) refs(repo store.Repo, known map[string]string, standing *Standing) (list []*finding) {
	for ref, hash := range standing.Refs {
		if known[ref] != hash {
			list = append(list, &finding{Repo: repo, At: r.at, Ref: ref, Before: known[ref], After: hash})
		}
	}
	for ref, hash := range known {
		if standing.Refs[ref] == "" && !standing.Part {
			list = append(list, &finding{Repo: repo, At: r.at, Ref: ref, Before: hash})
		}
	}
	slices.SortFunc(list, func(a, b *finding) int { return strings.Compare(a.Ref, b.Ref) })
	return list
}

// pulls finds the open pull requests that are new, or not as they were, and gives those that are open here and not among them.
func (r *round) pulls(tx *store.Tx, repo store.Repo, standing *Standing) (list []*finding, closed []store.Pull, err error) {
	open := map[int]bool{}
	for _, number := range standing.Unread {
		open[number] = true
	}
	for n := range standing.Pulls {
		pr := &standing.Pulls[n]
		open[pr.Number] = true
		known, _, err := tx.Pull(repo, pr.Number)
		if err != nil {
			return nil, nil, err
		}
		if known.Decided.Same(pr.State()) {
			continue
		}
		f := &finding{Repo: repo, At: r.at, PullRequest: pr, Event: store.EventPullRequestUpdated, decided: known.Decided}
		switch {
		case known.Decided == store.PullState{}:
			f.Event = store.EventPullRequestCreated
		case !known.Decided.Open:
			f.Event = store.EventPullRequestReopen
		}
		list = append(list, f)
	}
	if standing.Part {
		return list, nil, nil
	}
	all, err := tx.OpenPulls(repo)
	for _, p := range all {
		if ended := p.Decided != (store.PullState{}) && !p.Decided.Open; !ended && !open[p.Number] && len(closed) < maxAsked {
			closed = append(closed, p)
		}
	}
	return list, closed, err
}

// ended finds what became of pull requests that are open here.
func (r *round) ended(ctx context.Context, repo store.Repo, closed []store.Pull) (list []*finding, err error) {
	for _, known := range closed {
		pr, err := r.source.Forge.PullRequest(ctx, repo, known.Number)
		switch {
		case errors.Is(err, store.ErrNotFound):
			pr = store.PullRequest{Number: known.Number, Head: known.Head, HeadRef: known.HeadRef, HeadRepo: repo.ID, BaseRef: known.BaseRef, Draft: known.Draft}
			if known.Fork {
				pr.HeadRepo = ""
			}
		case err != nil:
			return nil, fmt.Errorf("looking at pull request %d: %w", known.Number, err)
		case pr.Open: // it was opened again just now
			continue
		}
		pr.Head = cmp.Or(pr.Head, known.Head) // the forge may not know it any more
		f := &finding{Repo: repo, At: r.at, PullRequest: &pr, Event: store.EventPullRequestClosed, decided: known.Decided}
		if pr.Merged != "" {
			f.Event = store.EventPullRequestMerged
		}
		list = append(list, f)
	}
	return list, nil
}

// comments finds the commands in the comments on pull requests that changed since the last look. An error leaves those for the next
// look that were not read.
func (r *round) comments(ctx context.Context, s *seen, standing *Standing) (list []*finding, err error) {
	last := s.look
	s.look.Pulls = map[int]store.PullLook{}
	for number, of := range last.Pulls {
		if standing.Part || slices.Contains(standing.Unread, number) {
			s.look.Pulls[number] = of
		}
	}
	var changed []*store.PullRequest
	for n := range standing.Pulls {
		pr := &standing.Pulls[n]
		of, ok := last.Pulls[pr.Number]
		if !ok {
			of = store.PullLook{At: last.Last}
		}
		s.look.Pulls[pr.Number] = of
		if pr.Updated.IsZero() || pr.Updated.After(of.Updated) {
			changed = append(changed, pr)
		}
	}
	slices.SortStableFunc(changed, func(a, b *store.PullRequest) int {
		return s.look.Pulls[a.Number].At.Compare(s.look.Pulls[b.Number].At)
	})
	read, failed := 0, error(nil)
	for n, pr := range changed {
		if n == maxTalks || read >= maxComments {
			break
		}
		since := s.look.Pulls[pr.Number].At.Add(-overlap)
		if since.Before(last.First) {
			since = last.First
		}
		comments, err := r.looker.Comments(ctx, s.repo, pr.Number, since)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("reading the comments on pull request %d: %w", pr.Number, err)
			if limited := interface{ RetryAt() time.Time }(nil); errors.As(err, &limited) || ctx.Err() != nil {
				return list, err
			}
			failed = cmp.Or(failed, err) // those on others are read all the same
			continue
		}
		read += len(comments)
		for _, c := range comments {
			c.PullRequest = pr.Number
			if c.ID != 0 && (c.Created.IsZero() || !c.Created.Before(since)) && len(r.intake.Commands.parse(c.Body)) > 0 {
				list = append(list, &finding{Repo: s.repo, At: r.at, Comment: &c})
			}
		}
		s.look.Pulls[pr.Number] = store.PullLook{Updated: pr.Updated, At: r.at}
	}
	return list, failed
}
