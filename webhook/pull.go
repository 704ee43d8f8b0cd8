package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"buildsmith/store"
)

// pullRequest decides on a pull request that was opened, changed, opened again, or closed.
func (i *Intake) pullRequest(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	pr := &e.PullRequest
	if same, err := i.sameAsKnown(e); err != nil {
		return nil, err
	} else if same {
		return nothing("nothing changed of pull request %d that is built", pr.Number), nil
	}
	gone, err := i.complete(ctx, e)
	if gone && !ofChange(e.Event) { // its builds are stopped all the same
		gone, err = i.recallHead(e)
	}
	if err != nil || gone { // should it be there after all, a look will find it
		return nothing("the newest commit of pull request %d is gone, or lies in a repository that cannot be read from here", pr.Number), err
	}
	if !store.ValidHash(pr.Head) || !store.ValidRef(pr.HeadRef) || !store.ValidRef(pr.BaseRef) {
		return unbuilt(e, "pull request %d has no valid head or base", pr.Number), nil
	}
	if !ofChange(e.Event) {
		return i.closed(ctx, p)
	}
	t := i.pullTrigger(e.Repo, pr, e.Event)
	if covered, err := i.allCovered(e.Repo, t); err != nil {
		return nil, err
	} else if covered {
		list := candidatesOf(i.known(e.Repo))
		for n := range list {
			list[n].covered = true
		}
		return i.settle(p, prepared{list: list, trigger: t, pull: pr, speaks: true}), nil
	}
	list, reason, err := i.candidates(ctx, e.Repo, headOf(e.Repo, pr), pr.Head)
	if err != nil {
		return nil, err
	}
	if len(list) > 0 {
		if err := i.review(ctx, e, list); err != nil {
			return nil, err
		}
	}
	return i.settle(p, prepared{list: list, trigger: t, pull: pr, speaks: true, prefix: reason}), nil
}

// unbuilt decides on an event of a pull request of which nothing can be built.
func unbuilt(e *Event, format string, args ...any) decision {
	decide := nothing(format, args...)
	return func(tx *store.Tx) (verdict, error) {
		if err := tx.DecidePull(e.Repo, &e.PullRequest); err != nil {
			return verdict{}, err
		}
		return decide(tx)
	}
}

// complete gives the pull request of an event its full hashes, if its forge shortens them. It reports whether its commit is gone.
func (i *Intake) complete(ctx context.Context, e *Event) (gone bool, err error) {
	forge, err := i.forge(e.Repo)
	if err != nil {
		return false, err
	}
	completer, ok := forge.(Completer)
	if !ok || e.Found { // a look gives full ones
		return false, nil
	}
	err = completer.Complete(ctx, e.Repo, &e.PullRequest)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for the commits of pull request %d: %w", e.PullRequest.Number, err)
	}
	return false, nil
}

// recallHead gives the pull request of an event the newest commit that is remembered of it, if that is the one that the event names by a
// shortened hash, or it names none. It reports whether there is none.
func (i *Intake) recallHead(e *Event) (gone bool, err error) {
	pr := &e.PullRequest
	err = i.Store.View(func(tx *store.Tx) error {
		known, _, err := tx.Pull(e.Repo, pr.Number)
		if gone = known.Head == "" || !strings.HasPrefix(known.Head, pr.Head); !gone {
			pr.Head = known.Head
		}
		return err
	})
	for _, hash := range []*string{&pr.Base, &pr.Merged} {
		if !store.ValidHash(*hash) {
			*hash = ""
		}
	}
	return gone, err
}

// sameAsKnown reports whether an event of which the forge says only that a pull request changed tells nothing new of it that matters
// here.
func (i *Intake) sameAsKnown(e *Event) (same bool, err error) {
	if !e.Vague {
		return false, nil
	}
	pr := &e.PullRequest
	err = i.Store.View(func(tx *store.Tx) error {
		known, ok, err := tx.Pull(e.Repo, pr.Number)
		same = ok && pr.Head != "" && pr.State().Same(known.Decided)
		return err
	})
	return same, err
}

func candidatesOf(projects []Project) []candidate {
	list := make([]candidate, len(projects))
	for n := range projects {
		list[n].project = projects[n]
	}
	return list
}

// review marks the candidates of a pull request that are not to be built, or wait for approval, and notes what people should know
// before they approve.
func (i *Intake) review(ctx context.Context, e *Event, list []candidate) error {
	pr := &e.PullRequest
	for n := range list {
		if c := &list[n]; c.skip == "" && pr.Draft && c.project.Rules.NoDrafts {
			c.skip = fmt.Sprintf("Pull request %d is a draft.", pr.Number)
		}
	}
	forge, err := i.forge(e.Repo)
	if err != nil {
		return err
	}
	commit, err := forge.Commit(ctx, headOf(e.Repo, pr), pr.Head)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("looking at commit %s: %w", pr.Head, err)
	}
	skipByMessage(list, pr.Head, commit.Message)
	s := SubjectOf(e)
	s.Message = &commit.Message
	t := i.pullTrigger(e.Repo, pr, "")
	s.Files = i.files(e.Repo, &t, pr.Base)
	if err := filter(ctx, list, &s); err != nil {
		return err
	}
	return i.guard(ctx, e.Repo, pr, list)
}

// guard marks the candidates that wait until somebody approves the commit, and notes of strangers' commits whether they change the
// buildspec.
func (i *Intake) guard(ctx context.Context, r store.Repo, pr *store.PullRequest, list []candidate) error {
	var stranger string
	var asked bool
	for n := range list {
		c := &list[n]
		if policy := c.project.Rules.Approval; policy != ApprovalDisabled {
			if !asked {
				var err error
				if stranger, err = i.stranger(ctx, r, pr); err != nil {
					return err
				}
				asked = true
			}
			c.strange = stranger != ""
			if c.hold = stranger; c.hold == "" && policy == ApprovalAll {
				c.hold = "this project builds no pull request before somebody has approved its commit"
			}
		}
		builds := c.skip == "" || c.ofSkip && c.hold != ""
		if ofOthers := c.hold != "" || pr.HeadRepo != r.ID; !builds || !ofOthers {
			continue
		}
		var err error
		if c.note, err = i.changesSpec(ctx, r, pr, &c.project); err != nil {
			return err
		}
	}
	return nil
}

// changesSpec says that a pull request changes what its build will do; empty if it does not.
func (i *Intake) changesSpec(ctx context.Context, r store.Repo, pr *store.PullRequest, p *Project) (string, error) {
	name := cmp.Or(p.Settings.Buildspec, specName)
	if !store.ValidHash(pr.Base) || p.Settings.BaseSpec || !store.ValidRef("refs/heads/"+name) {
		return "", nil
	}
	forge, err := i.forge(r)
	if err != nil {
		return "", err
	}
	before, err := forge.FileID(ctx, r, pr.Base, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("looking for %s: %w", name, err)
	}
	after, err := forge.FileID(ctx, headOf(r, pr), pr.Head, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("looking for %s: %w", name, err)
	}
	if before == after {
		return "", nil
	}
	return fmt.Sprintf("This pull request changes %s, which says what the build does.", name), nil
}

// allCovered reports whether every project of a repository has an automatic build of a commit, so that nothing must be asked.
func (i *Intake) allCovered(r store.Repo, t store.Trigger) (covered bool, err error) {
	projects := i.known(r)
	err = i.Store.View(func(tx *store.Tx) error {
		builds, _, err := tx.OfCommit(r, t.Commit)
		for _, project := range projects {
			if covered = covering(builds, store.Project{Key: projectKey(r, project.Name)}, t) != nil; !covered {
				break
			}
		}
		return err
	})
	return covered, err
}

// headOf is the repository that the head of a pull request is asked for in: at some forges a fork's own.
func headOf(r store.Repo, pr *store.PullRequest) store.Repo {
	if pr.HeadName != "" && pr.HeadRepo != r.ID {
		r.ID, r.Name = pr.HeadRepo, pr.HeadName
	}
	return r
}

func (i *Intake) pullTrigger(r store.Repo, pr *store.PullRequest, event string) store.Trigger {
	t := store.Trigger{
		Event: event, Automatic: true, Commit: pr.Head, SourceVersion: fmt.Sprintf("pr/%d", pr.Number), HeadRef: pr.HeadRef,
		BaseRef: pr.BaseRef, BaseCommit: pr.Base, PullRequest: pr.Number, Fork: pr.HeadRepo != r.ID, Title: firstLine(pr.Title),
	}
	if pr.HeadRepo != r.ID { // the repository itself is found by its id, whatever it is called by then
		t.HeadName = pr.HeadName
	}
	if source := i.source(r.Forge); source != nil && source.PullByCommit {
		t.SourceVersion = pr.Head
	}
	return t
}

// stranger says why a pull request starts nothing by itself; empty if it may. What its author may do is asked of the
// forge: what the payload says of it is a hint for people.
func (i *Intake) stranger(ctx context.Context, r store.Repo, pr *store.PullRequest) (string, error) {
	if pr.HeadRepo != r.ID {
		return "it comes from another repository", nil
	}
	forge, err := i.forge(r)
	if err != nil {
		return "", err
	}
	permission, err := forge.Permission(ctx, r, pr.Author)
	if errors.Is(err, store.ErrForbidden) {
		return "", nil // the commit lies in a branch of the repository, where only those who may write put it
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("asking what %s may do: %w", pr.Author.Login, err)
	}
	if permission < store.PermissionWrite {
		return fmt.Sprintf("its author %s has no write access", pr.Author.Login), nil
	}
	return "", nil
}

// approved reports whether the head of a pull request was.
func (i *Intake) approved(r store.Repo, pr *store.PullRequest) (approved bool, err error) {
	err = i.Store.View(func(tx *store.Tx) error {
		approval, err := tx.Approval(r, pr.Number, pr.Head)
		approved = approval != nil
		return err
	})
	return approved, err
}

// closed decides on a pull request that was merged or closed: its builds are stopped. Projects whose filters name such an event
// build what was merged; and what was closed unmerged, if its author may write: whoever closes a pull request of a stranger has not
// approved it.
func (i *Intake) closed(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	pr := &e.PullRequest
	what := fmt.Sprintf("pull request %d was closed", pr.Number)
	t := i.pullTrigger(e.Repo, pr, e.Event)
	projects, reason, err := i.projectsOf(e.Repo)
	if err != nil {
		return nil, err
	}
	list := candidatesOf(projects)
	s := SubjectOf(e)
	head := t
	s.Files = i.files(e.Repo, &head, pr.Base)
	if err := filter(ctx, list, &s); err != nil {
		return nil, err
	}
	if e.Event == store.EventPullRequestMerged {
		what = fmt.Sprintf("pull request %d was merged", pr.Number)
		if store.ValidHash(pr.Merged) { // it is in the repository now
			t.Commit, t.Fork = pr.Merged, false
		}
	}
	if anyBuilds(list) && e.Event == store.EventPullRequestClosed {
		stranger, err := i.stranger(ctx, e.Repo, pr)
		if err != nil {
			return nil, err
		}
		approved, err := i.approved(e.Repo, pr)
		if err != nil {
			return nil, err
		}
		for n := range list {
			c := &list[n]
			switch {
			case c.skip != "":
			case stranger != "":
				c.skip = fmt.Sprintf("Closing builds nothing of pull request %d: %s.", pr.Number, stranger)
			case c.project.Rules.Approval == ApprovalAll && !approved:
				c.skip = fmt.Sprintf("Closing builds nothing of pull request %d: nobody has approved its commit.", pr.Number)
			}
		}
	} else if t.Fork {
		for n := range list {
			list[n].skip = cmp.Or(list[n].skip, "The forge names no commit that it was merged as.")
		}
	}
	return func(tx *store.Tx) (verdict, error) {
		others, err := tx.OpenAt(e.Repo, pr.Head)
		if err != nil {
			return verdict{}, err
		}
		shared := slices.ContainsFunc(others, func(o store.Pull) bool { return o.Number != pr.Number })
		seen, err := tx.SeePull(e.Repo, pr)
		if err = errors.Join(err, tx.DecidePull(e.Repo, pr)); err != nil {
			return verdict{}, err
		}
		if seen.Open {
			return verdict{reason: what + ", and has been opened again since"}, nil
		}
		n, err := stopLine(tx, e.Repo, store.PullLine(pr.Number), "the end of pull request "+fmt.Sprint(pr.Number), func(b *store.Build) bool {
			// A build of a commit that another pull request has stands for that one too.
			return ofChange(b.Trigger.Event) && !(shared && b.Trigger.Commit == pr.Head)
		})
		if err != nil {
			return verdict{}, err
		}
		if !shared { // what stood for this pull request, though it is another's that was closed before
			builds, _, err := tx.OfCommit(e.Repo, pr.Head)
			if err != nil {
				return verdict{}, err
			}
			more, err := stopAll(tx, builds, "the end of pull request "+fmt.Sprint(pr.Number), func(b *store.Build) bool {
				return b.Trigger.PullRequest > 0 && ofChange(b.Trigger.Event)
			})
			if n += more; err != nil {
				return verdict{}, err
			}
		}
		prefix := fmt.Sprintf("%s; builds stopped: %d", what, n)
		if !anyBuilds(list) {
			return verdict{reason: prefix}, nil
		}
		if reason != "" {
			prefix += "; " + reason
		}
		return i.settle(p, prepared{list: list, trigger: t, pull: pr, prefix: prefix + "."})(tx)
	}, nil
}
