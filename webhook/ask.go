package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buildsmith/store"
)

// comment decides on the commands of a comment on a pull request.
func (i *Intake) comment(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	commands := parseCommands(e.Comment.Body)
	if len(commands) == 0 {
		return nothing("the comment holds no command"), nil
	}
	if e.Comment.Author.Bot {
		return nothing("commands of bots are not taken"), nil
	}
	forge, err := i.forge(e.Repo)
	if err != nil {
		return nil, err
	}
	permission, err := forge.Permission(ctx, e.Repo, e.Comment.Author)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("asking what %s may do: %w", e.Comment.Author.Login, err)
	}
	refuse := func(format string, args ...any) (decision, error) {
		if err := i.acknowledge(ctx, forge, p, store.ReactionRefused); err != nil {
			return nil, err
		}
		return nothing(format, args...), nil
	}
	if permission < store.PermissionWrite {
		return refuse("%s has no write access, which commands need", e.Comment.Author.Login)
	}
	for _, c := range commands {
		if c.verb != "test" && c.verb != "rerun" {
			return refuse("the command %q is not known; test and rerun are", c.verb)
		}
	}
	pr, err := forge.PullRequest(ctx, e.Repo, e.Comment.PullRequest)
	if errors.Is(err, store.ErrNotFound) {
		return refuse("pull request %d is gone", e.Comment.PullRequest)
	}
	if err != nil {
		return nil, fmt.Errorf("looking at pull request %d: %w", e.Comment.PullRequest, err)
	}
	if !pr.Open {
		return refuse("pull request %d is closed", pr.Number)
	}
	if !store.ValidHash(pr.Head) || !store.ValidRef(pr.HeadRef) || !store.ValidRef(pr.BaseRef) {
		return refuse("pull request %d has no valid head or base", pr.Number)
	}
	projects, reason, err := i.projects(ctx, e.Repo, pr.Head)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return refuse("%s", reason)
	}
	t := pullRequestTrigger(e.Repo, &pr, store.EventPullRequestUpdated)
	stranger, err := i.stranger(ctx, e.Repo, &pr)
	if err != nil {
		return nil, err
	}
	if stranger != "" {
		if d, err := refuse(""); err != nil {
			return d, err
		}
		return i.held(p, projects, t, stranger), nil
	}
	if err := i.acknowledge(ctx, forge, p, store.ReactionAccepted); err != nil {
		return nil, err
	}
	return i.commanded(p, commands, projects, t), nil
}

// acknowledge answers a comment by a reaction. It is decoration: one that the forge will never take is done without.
func (i *Intake) acknowledge(ctx context.Context, forge Forge, p *pending, with store.Reaction) error {
	err := forge.Acknowledge(ctx, p.event.Repo, p.event.Comment, with)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, fs.ErrPermission):
		i.Log.Warn("a comment is not answered by a reaction", "delivery", p.delivery.Seq, "repo", p.event.Repo.Name, "err", err)
	case err != nil:
		return fmt.Errorf("answering the comment: %w", err)
	}
	i.Store.At("comment acknowledged")
	return nil
}

// commanded does what commands ask for, in their order.
func (i *Intake) commanded(p *pending, commands []command, projects []Project, t store.Trigger) decision {
	e := &p.event
	t.Automatic, t.Actor, t.Initiator, t.Delivery = false, e.Sender, initiator(p.delivery), p.delivery.Seq
	return func(tx *store.Tx) (v verdict, err error) {
		var reasons []string
		for _, c := range commands {
			unmatched := slices.Clone(c.targets)
			for _, project := range projects {
				stored, err := tx.Project(e.Repo, project.Name)
				if err != nil {
					return v, err
				}
				if len(c.targets) > 0 && !slices.Contains(c.targets, stored.Name) && !slices.Contains(c.targets, "all") {
					continue
				}
				unmatched = slices.DeleteFunc(unmatched, func(t string) bool { return t == stored.Name || t == "all" })
				b, why, err := i.obey(tx, p, c, stored, project, t, len(projects) == 1)
				if err != nil {
					return v, err
				}
				if why != "" {
					reasons = append(reasons, why)
				} else {
					v.builds = append(v.builds, b.ID)
				}
			}
			for _, name := range unmatched {
				reasons = append(reasons, fmt.Sprintf("There is no project %s.", name))
			}
		}
		v.reason = strings.Join(reasons, " ")
		return v, nil
	}
}

// obey does one command for one project, or says why not.
func (i *Intake) obey(tx *store.Tx, p *pending, c command, stored store.Project, project Project, t store.Trigger, alone bool) (store.Build, string, error) {
	if c.verb == "test" {
		b, err := tx.Submit(stored, store.Build{Check: checkName(stored.Name, alone), Trigger: t, Settings: project.Settings, AskedBy: p.event.Sender.Login})
		return b, "", err
	}
	latest, ok, err := i.latest(tx, stored, t.Commit)
	switch {
	case err != nil:
		return latest, "", err
	case !ok:
		return latest, fmt.Sprintf("%s has no build of commit %.12s; use /test.", stored.Name, t.Commit), nil
	case !latest.Done():
		return latest, fmt.Sprintf("Build %d of %s is still under way.", latest.Number, stored.Name), nil
	case latest.Status == store.Succeeded:
		return latest, fmt.Sprintf("There is nothing to re-run: build %d of %s succeeded; use /test.", latest.Number, stored.Name), nil
	}
	b, err := i.rerunOf(tx, p, latest)
	return b, "", err
}

// latest is the newest build of a commit in a project.
func (i *Intake) latest(tx *store.Tx, p store.Project, commit string) (latest store.Build, ok bool, err error) {
	builds, _, err := tx.OfCommit(p.Repo, commit)
	for _, b := range builds {
		if b.ProjectKey == p.Key {
			latest, ok = b, true
		}
	}
	return latest, ok, err
}

// rerequest decides on a click on one of the forge's buttons.
func (i *Intake) rerequest(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	forge, err := i.forge(e.Repo)
	if err != nil {
		return nil, err
	}
	permission, err := forge.Permission(ctx, e.Repo, e.Sender)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("asking what %s may do: %w", e.Sender.Login, err)
	}
	if permission < store.PermissionWrite {
		return nothing("%s has no write access, which a re-run needs", e.Sender.Login), nil
	}
	if e.Kind == RerunCheck {
		return func(tx *store.Tx) (verdict, error) { return i.rerunOne(tx, p, e.ExternalID) }, nil
	}
	return func(tx *store.Tx) (verdict, error) { return i.rerunCommit(tx, p) }, nil
}

// rerunOne repeats a build, or builds what a notice said was not built.
func (i *Intake) rerunOne(tx *store.Tx, p *pending, id string) (verdict, error) {
	e := &p.event
	n, ok, err := tx.Notice(id)
	if err != nil {
		return verdict{}, err
	}
	if ok {
		if e.Repo.ID != "" && n.Repo.Key() != e.Repo.Key() {
			return verdict{reason: "the check belongs to another repository"}, nil
		}
		if n.Conclusion == store.ActionRequired {
			return i.refuseAgain(tx, n)
		}
		b, err := i.fromNotice(tx, p, n)
		return verdict{builds: []string{b.ID}}, err
	}
	b, err := tx.Build(id)
	if errors.Is(err, store.ErrNotFound) {
		return verdict{reason: "the build of this check is not known here, or no longer"}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	if e.Repo.ID != "" && b.Repo.Key() != e.Repo.Key() {
		return verdict{reason: "the check belongs to another repository"}, nil
	}
	if !b.Done() {
		return verdict{reason: fmt.Sprintf("build %d of %s is still under way", b.Number, b.Project), builds: []string{b.ID}}, nil
	}
	again, err := i.rerunOf(tx, p, b)
	return verdict{builds: []string{again.ID}}, err
}

// refuseAgain answers a re-run of what waits for approval as the first time.
func (i *Intake) refuseAgain(tx *store.Tx, n store.Notice) (verdict, error) {
	stored, ok, err := tx.ProjectByName(n.Project)
	if err != nil || !ok {
		return verdict{}, errors.Join(err, fmt.Errorf("project %s: %w", n.Project, store.ErrNotFound))
	}
	_, err = tx.AddNotice(stored, n)
	return verdict{reason: n.Reason}, err
}

// rerunCommit repeats the newest build of each project of a commit.
func (i *Intake) rerunCommit(tx *store.Tx, p *pending) (v verdict, err error) {
	e := &p.event
	builds, notices, err := tx.OfCommit(e.Repo, e.Commit)
	if err != nil {
		return v, err
	}
	newest := map[string]string{} // project key => id
	var order []string
	for _, n := range notices {
		if _, seen := newest[n.ProjectKey]; !seen {
			order = append(order, n.ProjectKey)
		}
		newest[n.ProjectKey] = n.ID
	}
	for _, b := range builds {
		if _, seen := newest[b.ProjectKey]; !seen {
			order = append(order, b.ProjectKey)
		}
		newest[b.ProjectKey] = b.ID
	}
	var reasons []string
	for _, key := range order {
		one, err := i.rerunOne(tx, p, newest[key])
		if err != nil {
			return v, err
		}
		v.builds = append(v.builds, one.builds...)
		if one.reason != "" {
			reasons = append(reasons, one.reason)
		}
	}
	if len(order) == 0 {
		reasons = append(reasons, fmt.Sprintf("commit %.12s has no build here", e.Commit))
	}
	v.reason = strings.Join(reasons, "; ")
	return v, nil
}

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
		t, reason, err = pullVersion(ctx, forge, stored.Repo, number[1])
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
		settings := i.settings(now, i.Settings)
		settings.Overrides = r.Variables
		if r.Buildspec != "" {
			settings.Buildspec, settings.Required = r.Buildspec, true
		}
		b, err := tx.Submit(now, store.Build{Check: checkName(now.Name, alone), Trigger: t, Settings: settings, AskedBy: r.By})
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

// pullVersion gives the trigger of a pull request that somebody asked for by its number, or says why there is none.
func pullVersion(ctx context.Context, forge Forge, r store.Repo, digits string) (t store.Trigger, reason string, err error) {
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
	t = pullRequestTrigger(r, &pr, "")
	t.Automatic = false
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
	return func(tx *store.Tx) (verdict, error) { return i.rerunOne(tx, p, p.event.Request.Build) }, nil
}
