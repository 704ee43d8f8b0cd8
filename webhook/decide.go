package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"buildsmith/store"
)

// queueBranch is where the branches of GitHub's merge queue lie. Their merge groups are built, not their pushes.
const queueBranch = "refs/heads/gh-readonly-queue/"

// pushes decides on all changes that a delivery tells of: each by itself, and all together.
func (i *Intake) pushes(ctx context.Context, p *pending) (decision, error) {
	if len(p.event.Also) == 0 {
		return i.push(ctx, p)
	}
	var all []decision
	var refs []string
	for _, change := range append([]PushEvent{p.event.Push}, p.event.Also...) {
		one := *p
		one.event.Push, one.event.Also = change, nil
		decide, err := i.push(ctx, &one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", shortRef(change.Ref), err)
		}
		all, refs = append(all, decide), append(refs, shortRef(change.Ref))
	}
	return func(tx *store.Tx) (v verdict, err error) {
		var reasons []string
		for n, decide := range all {
			one, err := decide(tx)
			if err != nil {
				return v, err
			}
			v.builds = append(v.builds, one.builds...)
			if one.reason != "" {
				reasons = append(reasons, refs[n]+": "+strings.TrimSuffix(one.reason, "."))
			}
		}
		v.reason = clip(strings.Join(reasons, "; "), maxReason)
		return v, nil
	}, nil
}

// maxReason is how many bytes a reason may have that is made of several.
const maxReason = 2000

// push decides on a change of a ref, and remembers it where forges are looked at.
func (i *Intake) push(ctx context.Context, p *pending) (decision, error) {
	decide, err := i.change(ctx, p)
	if err != nil || !i.looksAt(p.event.Repo.Forge) || !memorable(&p.event.Push) {
		return decide, err
	}
	return i.noting(p, decide), nil
}

// change decides on a change of a ref.
func (i *Intake) change(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	switch {
	case e.Push.After == "":
		return i.deleted(p), nil
	case strings.HasPrefix(e.Push.Ref, queueBranch):
		return nothing("a branch of the merge queue is built for its merge group"), nil
	case !strings.HasPrefix(e.Push.Ref, "refs/heads/") && !strings.HasPrefix(e.Push.Ref, "refs/tags/"):
		return nothing("%s is neither a branch nor a tag", e.Push.Ref), nil
	case !store.ValidRef(e.Push.Ref) || !store.ValidHash(e.Push.After):
		return nothing("%q at %q is no valid ref or commit", e.Push.Ref, e.Push.After), nil
	}
	if e.Push.Message == "" { // the forge may not tell
		if gone, err := i.askMessage(ctx, e); err != nil || gone && e.Found {
			return nothing("commit %.12s is gone", e.Push.After), err
		}
	}
	list, reason, err := i.candidates(ctx, e.Repo, e.Repo, e.Push.After)
	if err != nil {
		return nil, err
	}
	branch := strings.HasPrefix(e.Push.Ref, "refs/heads/")
	if branch {
		skipByMessage(list, e.Push.After, e.Push.Message)
	}
	s := SubjectOf(e)
	s.Message = &e.Push.Message
	if files := i.files(e.Repo, &store.Trigger{Commit: e.Push.After}, e.Push.Before); files != nil {
		s.Files = files // the payload's may not be all
	}
	if err := filter(ctx, list, &s); err != nil {
		return nil, err
	}
	return i.settle(p, prepared{list: list, speaks: branch, prefix: reason, trigger: store.Trigger{
		Event: store.EventPush, Automatic: true, Commit: e.Push.After, SourceVersion: e.Push.After,
		HeadRef: e.Push.Ref, Prev: e.Push.Before, Title: firstLine(e.Push.Message),
	}}), nil
}

// files gives the question for the files that differ between a commit and that of a trigger; nil if nobody can answer it.
func (i *Intake) files(r store.Repo, t *store.Trigger, base string) func(context.Context) ([]string, error) {
	if i.ChangedFiles == nil {
		return nil
	}
	if strings.Trim(base, "0") == "" {
		base = ""
	}
	return func(ctx context.Context) ([]string, error) {
		files, err := i.ChangedFiles(ctx, r, t, base)
		if errors.Is(err, store.ErrNotFound) { // the commit is gone; the build will say so
			return nil, nil
		}
		return files, err
	}
}

// skipByMessage marks the candidates that a message of a commit keeps from being built.
func skipByMessage(list []candidate, commit, message string) {
	token := skips(message)
	for n := range list {
		if c := &list[n]; token != "" && c.skip == "" && !c.project.Rules.NoSkipTokens {
			c.skip, c.ofSkip = fmt.Sprintf("The message of commit %.12s says %s.", commit, token), true
		}
	}
}

// deleted stops what is built for a ref that is gone.
func (i *Intake) deleted(p *pending) decision {
	e := &p.event
	return func(tx *store.Tx) (verdict, error) {
		n, err := stopLine(tx, e.Repo, e.Push.Ref, ofDeletion+shortRef(e.Push.Ref), func(b *store.Build) bool {
			late := !e.At.IsZero() && happened(b) > e.At.Unix() // it was pushed again since
			return b.Queued() && b.Trigger.Event == store.EventPush && !late
		})
		return verdict{reason: fmt.Sprintf("%s was deleted; builds stopped in the queue: %d", shortRef(e.Push.Ref), n)}, err
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

// initiator is CODEBUILD_INITIATOR of a build that a delivery caused: the forge's name for itself, as GitHub-Hookshot/044aadd.
func initiator(d store.Delivery) string {
	if word, _, _ := strings.Cut(d.UserAgent, " "); word != "" {
		return word
	}
	return d.Forge
}

// mergeGroup decides on what a merge queue wants to have checked. It has the checks that its pull requests have: the queue waits
// for them. Who put a pull request there may write.
func (i *Intake) mergeGroup(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	g := &e.MergeGroup
	if !store.ValidHash(g.Head) || !store.ValidRef(g.HeadRef) || !store.ValidRef(g.BaseRef) {
		return nothing("the merge group has no valid head or base"), nil
	}
	list, reason, err := i.candidates(ctx, e.Repo, e.Repo, g.Head)
	if err != nil {
		return nil, err
	}
	s := SubjectOf(e)
	s.Message = &g.Message
	s.Files = i.files(e.Repo, &store.Trigger{Commit: g.Head}, g.Base)
	if err := filter(ctx, list, &s); err != nil {
		return nil, err
	}
	return i.settle(p, prepared{list: list, speaks: true, prefix: reason, trigger: store.Trigger{
		Event: store.EventPush, MergeGroup: true, Automatic: true, Commit: g.Head, SourceVersion: g.Head, HeadRef: g.HeadRef, BaseRef: g.BaseRef,
		BaseCommit: g.Base, Prev: g.Base, Title: firstLine(g.Message),
	}}), nil
}

// mergeGroupGone stops the builds of a merge group that is no longer: it was merged, or fell apart.
func (i *Intake) mergeGroupGone(p *pending) decision {
	e := &p.event
	return func(tx *store.Tx) (verdict, error) {
		n, err := stopLine(tx, e.Repo, e.MergeGroup.HeadRef, "the end of its merge group", func(b *store.Build) bool {
			return b.Trigger.MergeGroup && b.Trigger.Commit == e.MergeGroup.Head
		})
		return verdict{reason: fmt.Sprintf("the merge group is gone (%.40s); builds stopped: %d", e.Reason, n)}, err
	}
}

// release decides on a release that was published. Only projects whose filters name such events build it, and nothing is said of
// the others: its commit has the checks of its branch.
func (i *Intake) release(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	ref := "refs/tags/" + e.Release.Tag
	if !store.ValidRef(ref) {
		return nothing("%.100q is no valid tag", e.Release.Tag), nil
	}
	projects, reason, err := i.projectsOf(e.Repo)
	if err != nil {
		return nil, err
	}
	list := make([]candidate, len(projects))
	for n := range projects {
		list[n].project = projects[n]
	}
	s := SubjectOf(e)
	if err := filter(ctx, list, &s); err != nil {
		return nil, err
	}
	if !anyBuilds(list) {
		return nothing("%s", reasonsOf(list, reason)), nil
	}
	forge, err := i.forge(e.Repo)
	if err != nil {
		return nil, err
	}
	commit, err := forge.Commit(ctx, e.Repo, ref)
	if errors.Is(err, store.ErrNotFound) {
		return nothing("the release's tag %s is gone", e.Release.Tag), nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for tag %s: %w", e.Release.Tag, err)
	}
	return i.settle(p, prepared{list: list, trigger: store.Trigger{
		Event: e.Event, Automatic: true, Commit: commit.Hash, SourceVersion: e.Release.Tag, HeadRef: ref, Title: firstLine(e.Release.Name),
	}}), nil
}

func anyBuilds(list []candidate) bool {
	for _, c := range list {
		if c.skip == "" {
			return true
		}
	}
	return false
}

// reasonsOf says why none of the candidates is built.
func reasonsOf(list []candidate, reason string) string {
	var reasons []string
	if reason != "" {
		reasons = append(reasons, reason)
	}
	seen := map[string]bool{}
	for _, c := range list {
		if c.skip != "" && !seen[c.skip] {
			seen[c.skip] = true
			reasons = append(reasons, c.skip)
		}
	}
	return strings.Join(reasons, " ")
}
