package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buildsmith/store"
)

// startRequest decides on a start that somebody asked for by name.
func (i *Intake) startRequest(ctx context.Context, p *pending) (decision, error) {
	r := &p.event.Request
	var stored store.Project
	var ok bool
	if err := i.Store.View(func(tx *store.Tx) (err error) {
		if stored, ok, err = tx.ProjectByName(r.Project); err != nil || ok {
			return err
		}
		stored, ok, err = projectByRepo(tx, r.Project)
		return err
	}); err != nil {
		return nil, err
	}
	if !ok {
		return nothing("there is no project %q; a repository becomes one by its first push", r.Project), nil
	}
	forge, err := i.forge(stored.Repo)
	if err != nil {
		return nothing("forge %s is no longer configured", stored.Repo.Forge), nil // no time will help
	}
	var t store.Trigger
	var reason string
	if number := pullNumber.FindStringSubmatch(r.Version); number != nil {
		project, _ := i.project(stored)
		t, reason, err = i.pullVersion(ctx, forge, stored.Repo, project, number[1])
	} else {
		t, reason, err = i.version(ctx, forge, stored.Repo, r.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for %s of %s: %w", cmp.Or(r.Version, "the newest commit"), stored.Repo.Name, err)
	}
	if reason != "" {
		return nothing("%s", reason), nil
	}
	t.Actor, t.Initiator, t.Delivery = store.Account{Login: r.By}, initiatorOf(r.By), p.delivery.Seq
	alone := len(i.known(stored.Repo)) == 1
	return func(tx *store.Tx) (verdict, error) {
		now, ok, err := tx.ProjectByName(stored.Name)
		if err != nil || !ok {
			return verdict{}, errors.Join(err, store.ErrNotFound)
		}
		if why, err := closedRepo(tx, now.Repo); err != nil || why != "" {
			return verdict{reason: why}, err
		}
		project, _ := i.project(now)
		settings := project.Settings
		settings.Overrides = r.Variables
		if r.Buildspec != "" {
			settings.Buildspec, settings.Required = r.Buildspec, true
		}
		b, err := i.submit(tx, now, &project.Rules, store.Build{Check: checkName(now.Name, alone), Trigger: t, Settings: settings, AskedBy: r.By})
		return verdict{builds: []string{b.ID}}, err
	}, nil
}

// initiatorOf is who asked, as one word: CODEBUILD_INITIATOR is the name of a user.
func initiatorOf(by string) string {
	if fields := strings.Fields(by); len(fields) > 0 {
		return fields[len(fields)-1]
	}
	return "api"
}

// pullNumber is a version that names a pull request.
var pullNumber = regexp.MustCompile(`^pr/([1-9][0-9]{0,8})$`)

// pullVersion gives the trigger of a pull request that somebody asked for by its number, or says why there is none. That of somebody
// who may not write is built as a fork's.
func (i *Intake) pullVersion(ctx context.Context, forge Forge, r store.Repo, project Project, digits string) (t store.Trigger, reason string, err error) {
	number, err := strconv.Atoi(digits)
	if err != nil {
		return t, "", err
	}
	pr, err := forge.PullRequest(ctx, r, number)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return t, fmt.Sprintf("%s has no pull request %d", r.Name, number), nil
	case err != nil:
		return t, "", err
	case !store.ValidHash(pr.Head) || !store.ValidRef(pr.HeadRef) || !store.ValidRef(pr.BaseRef):
		return t, fmt.Sprintf("pull request %d has no valid head or base", number), nil
	}
	t = i.pullTrigger(r, &pr, "")
	t.Automatic = false
	list := []candidate{{project: project, skip: "what it changes is not asked"}}
	if err := i.guard(ctx, r, &pr, list); err != nil {
		return t, "", err
	}
	t.Fork = t.Fork || list[0].strange
	return t, "", nil
}

// version gives the trigger of a commit that somebody asked for by a branch, a tag or its hash, or says why there is none. A
// commit that is not known to belong to the repository is taken for a fork's.
func (i *Intake) version(ctx context.Context, forge Forge, r store.Repo, version string) (t store.Trigger, reason string, err error) {
	commit, err := forge.Commit(ctx, r, version)
	if errors.Is(err, store.ErrNotFound) {
		return t, fmt.Sprintf("%s has no branch, tag or commit %q", r.Name, version), nil
	}
	if err != nil {
		return t, "", err
	}
	own := version == "" // the newest of the default branch
	if !own {
		if own, err = i.builtHere(r, commit.Hash); err != nil {
			return t, "", err
		}
	}
	if !own {
		if own, err = forge.Owns(ctx, r, version, commit.Hash); err != nil && !errors.Is(err, store.ErrNotFound) {
			return t, "", err
		}
	}
	t = store.Trigger{Commit: commit.Hash, SourceVersion: cmp.Or(version, commit.Hash), Fork: !own, Title: firstLine(commit.Message)}
	if own {
		t.HeadRef, err = i.refOf(ctx, forge, r, version, commit.Hash)
	}
	return t, "", err
}

// refOf is the branch or tag that somebody named whose newest commit is the given one; empty if it was named by its hash. Which
// secrets and caches a build gets can depend on it.
func (i *Intake) refOf(ctx context.Context, forge Forge, r store.Repo, version, commit string) (string, error) {
	names := []string{"refs/heads/" + version, "refs/tags/" + version}
	switch {
	case version == "" && r.DefaultBranch == "":
		return "", nil
	case version == "":
		return "refs/heads/" + r.DefaultBranch, nil
	case strings.HasPrefix(version, "refs/"):
		names = []string{version}
	case store.ValidHash(version):
		return "", nil
	}
	for _, name := range names {
		if !store.ValidRef(name) {
			continue
		}
		c, err := forge.Commit(ctx, r, name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
		if err == nil && c.Hash == commit {
			return name, nil
		}
	}
	return "", nil
}

// builtHere reports whether a commit was built because of an event that shows that it belongs to the repository: a push, or
// a pull request from the repository itself.
func (i *Intake) builtHere(r store.Repo, commit string) (built bool, err error) {
	err = i.Store.View(func(tx *store.Tx) error {
		builds, _, err := tx.OfCommit(r, commit)
		built = slices.ContainsFunc(builds, func(b store.Build) bool { return b.Trigger.Event != "" && !b.Trigger.Fork })
		return err
	})
	return built, err
}

// projectByRepo finds the only project of a repository by the repository's name.
func projectByRepo(tx *store.Tx, name string) (found store.Project, ok bool, err error) {
	list, err := tx.Projects()
	for _, p := range list {
		if p.Repo.Name == name {
			if ok {
				return found, false, err // several: the project must be named
			}
			found, ok = p, true
		}
	}
	return found, ok, err
}

// retryRequest decides on a build that somebody with the admin token wants repeated.
func (i *Intake) retryRequest(p *pending) (decision, error) {
	return func(tx *store.Tx) (verdict, error) { return i.rerunOne(tx, p, p.event.Request.Build, false) }, nil
}
