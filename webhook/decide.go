package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"buildsmith/store"
)

// push decides on a change of a ref.
func (i *Intake) push(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	switch {
	case e.Push.After == "":
		return i.deleted(p), nil
	case strings.HasPrefix(e.Push.Ref, "refs/heads/gh-readonly-queue/"):
		return nothing("a branch of the merge queue is not built"), nil
	case !strings.HasPrefix(e.Push.Ref, "refs/heads/") && !strings.HasPrefix(e.Push.Ref, "refs/tags/"):
		return nothing("%s is neither a branch nor a tag", e.Push.Ref), nil
	case !store.ValidRef(e.Push.Ref) || !store.ValidHash(e.Push.After):
		return nothing("%q at %q is no valid ref or commit", e.Push.Ref, e.Push.After), nil
	}
	projects, reason, err := i.projects(ctx, e.Repo, e.Push.After)
	if err != nil || reason != "" {
		return nothing("%s", reason), err
	}
	t := store.Trigger{
		Event: store.EventPush, Automatic: true, Commit: e.Push.After, SourceVersion: e.Push.After,
		HeadRef: e.Push.Ref, Prev: e.Push.Before, Title: firstLine(e.Push.Message),
	}
	token := ""
	if strings.HasPrefix(e.Push.Ref, "refs/heads/") {
		token = skips(e.Push.Message)
	}
	return i.automatic(p, projects, t, token), nil
}

// deleted stops what waits to be built for a ref that is gone.
func (i *Intake) deleted(p *pending) decision {
	e := &p.event
	return func(tx *store.Tx) (verdict, error) {
		queued, err := tx.QueuedBuilds(-1)
		if err != nil {
			return verdict{}, err
		}
		n := 0
		for _, b := range queued {
			if b.Repo.Key() == e.Repo.Key() && b.Trigger.Event == store.EventPush && b.Trigger.HeadRef == e.Push.Ref {
				if _, err := tx.RequestStop(b.ID, "the deletion of "+shortRef(e.Push.Ref)); err != nil {
					return verdict{}, err
				}
				n++
			}
		}
		return verdict{reason: fmt.Sprintf("%s was deleted; builds stopped in the queue: %d", shortRef(e.Push.Ref), n)}, nil
	}
}

func shortRef(ref string) string {
	if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		return "tag " + tag
	}
	return "branch " + strings.TrimPrefix(ref, "refs/heads/")
}

func firstLine(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) { // they could make it look like another
			return -1
		}
		return r
	}, line)
	return clip(strings.TrimSpace(line), 200)
}

// automatic makes the builds of a push or pull request: one for each project whose commit has none for the same reason.
func (i *Intake) automatic(p *pending, projects []Project, t store.Trigger, skip string) decision {
	e := &p.event
	t.Actor, t.Initiator, t.Delivery = e.Sender, initiator(p.delivery), p.delivery.Seq
	return func(tx *store.Tx) (v verdict, err error) {
		var reasons []string
		for _, project := range projects {
			stored, err := tx.Project(e.Repo, project.Name)
			if err != nil {
				return v, err
			}
			check := checkName(stored.Name, len(projects) == 1)
			if id, why, err := i.covered(tx, stored, t); err != nil {
				return v, err
			} else if id != "" {
				v.builds = append(v.builds, id)
				reasons = append(reasons, why)
				continue
			}
			if skip != "" {
				reason := fmt.Sprintf("The message of commit %.12s says %s.", t.Commit, skip)
				if _, err := tx.AddNotice(stored, store.Notice{Check: check, Trigger: t, Settings: project.Settings,
					Conclusion: store.SkippedNotice, Title: "Skipped", Reason: reason + " Re-run this check to build it all the same."}); err != nil {
					return v, err
				}
				reasons = append(reasons, reason)
				continue
			}
			b, err := tx.Submit(stored, store.Build{Check: check, Trigger: t, Settings: project.Settings})
			if err != nil {
				return v, err
			}
			v.builds = append(v.builds, b.ID)
		}
		v.reason = strings.Join(reasons, " ")
		return v, nil
	}
}

// covered gives the automatic build that stands for this event already: a pull request's commit is built once, whether its
// push or its event came first.
func (i *Intake) covered(tx *store.Tx, p store.Project, t store.Trigger) (id, why string, err error) {
	builds, _, err := tx.OfCommit(p.Repo, t.Commit)
	if err != nil {
		return "", "", err
	}
	for _, b := range builds {
		if b.ProjectKey != p.Key || !b.Trigger.Automatic {
			continue
		}
		pull := b.Trigger.PullRequest > 0
		if t.PullRequest > 0 || pull && b.Trigger.HeadRef == t.HeadRef && !b.Trigger.Fork {
			return b.ID, fmt.Sprintf("Commit %.12s has an automatic build already, number %d.", t.Commit, b.Number), nil
		}
	}
	return "", "", nil
}

// initiator is CODEBUILD_INITIATOR of a build that a delivery caused: the forge's name for itself, as GitHub-Hookshot/044aadd.
func initiator(d store.Delivery) string {
	if word, _, _ := strings.Cut(d.UserAgent, " "); word != "" {
		return word
	}
	return d.Forge
}

// pullRequest decides on a pull request that was opened, changed or opened again.
func (i *Intake) pullRequest(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	pr := &e.PullRequest
	if !store.ValidHash(pr.Head) || !store.ValidRef(pr.HeadRef) || !store.ValidRef(pr.BaseRef) {
		return nothing("pull request %d has no valid head or base", pr.Number), nil
	}
	t := pullRequestTrigger(e.Repo, pr, e.Event)
	if covered, err := i.allCovered(e.Repo, t); err != nil {
		return nil, err
	} else if covered {
		return i.automatic(p, i.known(e.Repo), t, ""), nil
	}
	projects, reason, err := i.projects(ctx, e.Repo, pr.Head)
	if err != nil || reason != "" {
		return nothing("%s", reason), err
	}
	stranger, err := i.stranger(ctx, e.Repo, pr)
	if err != nil {
		return nil, err
	}
	if stranger != "" {
		return i.held(p, projects, t, stranger), nil
	}
	forge, err := i.forge(e.Repo)
	if err != nil {
		return nil, err
	}
	commit, err := forge.Commit(ctx, e.Repo, pr.Head)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("looking at commit %s: %w", pr.Head, err)
	}
	return i.automatic(p, projects, t, skips(commit.Message)), nil
}

// allCovered reports whether every project of a repository has an automatic build of a commit, so that nothing must be asked.
func (i *Intake) allCovered(r store.Repo, t store.Trigger) (covered bool, err error) {
	err = i.Store.View(func(tx *store.Tx) error {
		builds, _, err := tx.OfCommit(r, t.Commit)
		for _, project := range i.known(r) {
			covered = slices.ContainsFunc(builds, func(b store.Build) bool {
				return b.Trigger.Automatic && b.ProjectKey == projectKey(r, project.Name)
			})
			if !covered {
				break
			}
		}
		return err
	})
	return covered, err
}

func pullRequestTrigger(r store.Repo, pr *store.PullRequest, event string) store.Trigger {
	return store.Trigger{
		Event: event, Automatic: true, Commit: pr.Head, SourceVersion: fmt.Sprintf("pr/%d", pr.Number), HeadRef: pr.HeadRef,
		BaseRef: pr.BaseRef, PullRequest: pr.Number, Fork: pr.HeadRepo != r.ID, Title: firstLine(pr.Title),
	}
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
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("asking what %s may do: %w", pr.Author.Login, err)
	}
	if permission < store.PermissionWrite {
		return fmt.Sprintf("its author %s has no write access", pr.Author.Login), nil
	}
	return "", nil
}

// held records that a pull request of a stranger waits.
func (i *Intake) held(p *pending, projects []Project, t store.Trigger, why string) decision {
	e := &p.event
	t.Actor, t.Initiator, t.Delivery = e.Sender, initiator(p.delivery), p.delivery.Seq
	return func(tx *store.Tx) (verdict, error) {
		reason := fmt.Sprintf("Pull request %d was not built: %s.", t.PullRequest, why)
		for _, project := range projects {
			stored, err := tx.Project(e.Repo, project.Name)
			if err != nil {
				return verdict{}, err
			}
			if _, err := tx.AddNotice(stored, store.Notice{Check: checkName(stored.Name, len(projects) == 1), Trigger: t,
				Settings: project.Settings, Conclusion: store.ActionRequired, Title: "Approval needed",
				Reason: reason + " Its commands would run on this server's machine, so somebody with write access has to look at them first."}); err != nil {
				return verdict{}, err
			}
		}
		return verdict{reason: reason}, nil
	}
}

// rerunOf makes the build that repeats another one: the same commit and trigger, the project's settings as they are now.
func (i *Intake) rerunOf(tx *store.Tx, p *pending, b store.Build) (store.Build, error) {
	stored, ok, err := tx.ProjectByName(b.Project)
	if err == nil && !ok {
		err = fmt.Errorf("project %s: %w", b.Project, store.ErrNotFound)
	}
	if err != nil {
		return b, err
	}
	t := b.Trigger
	t.Automatic, t.Delivery = false, p.delivery.Seq
	return tx.Submit(stored, store.Build{Check: b.Check, Trigger: t, Settings: i.settings(stored, b.Settings), RerunOf: b.ID, AskedBy: p.event.Sender.Login})
}

// projectKey is the key of the project that a repository has by a name of the configuration, or by itself. Names do not tell
// projects apart: where one is taken, the store gives another.
func projectKey(r store.Repo, name string) string {
	if name == "" {
		return r.Key()
	}
	return r.Key() + "/" + name
}

// settings are those of a project now; those given if it is configured no longer.
func (i *Intake) settings(p store.Project, before store.Settings) store.Settings {
	for _, project := range i.known(p.Repo) {
		if projectKey(p.Repo, project.Name) == p.Key {
			return project.Settings
		}
	}
	return before
}

// fromNotice makes the build that a notice said there was none of.
func (i *Intake) fromNotice(tx *store.Tx, p *pending, n store.Notice) (store.Build, error) {
	stored, ok, err := tx.ProjectByName(n.Project)
	if err == nil && !ok {
		err = fmt.Errorf("project %s: %w", n.Project, store.ErrNotFound)
	}
	if err != nil {
		return store.Build{}, err
	}
	t := n.Trigger
	t.Automatic, t.Delivery = false, p.delivery.Seq
	return tx.Submit(stored, store.Build{Check: n.Check, Trigger: t, Settings: i.settings(stored, n.Settings), AskedBy: p.event.Sender.Login})
}
