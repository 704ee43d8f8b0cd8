package webhook

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"buildsmith/store"
)

// A candidate is a project that an event concerns, and what is to become of it.
type candidate struct {
	project Project
	skip    string // why it is not built, a sentence; empty if it may be
	ofSkip  bool   // the commit itself asks for that, or gives no choice: see become
	hold    string // why it waits for approval, after "it was not built: "; empty if it need not
	note    string // what people should know of the build
	strange bool   // it is of somebody who may not write: it has no secrets, approved or not
	covered bool   // a build stood for the commit when it was looked at, so that nothing was asked of it
	found   bool   // its event was found by looking: what was built of it and stopped is not built again
}

// errUncovered says that a decision is to be prepared once more: whether a commit may be built was not asked.
var errUncovered = errors.New("the build that stood for the commit was stopped just now")

// projectsOf gives the projects of a repository: the configured ones, or the repository itself. A repository that was renamed keeps
// those that the configuration has under its former name. One that took the name of another, which a project was made for, does
// not get that project; the reason says so.
func (i *Intake) projectsOf(r store.Repo) (list []Project, reason string, err error) {
	configured := i.Projects(r)
	err = i.Store.View(func(tx *store.Tx) error {
		if len(configured) == 0 {
			list, err = i.formerly(tx, r)
			return err
		}
		for _, p := range configured {
			if !p.Bound {
				why, err := taken(tx, r, p.Name)
				if err != nil {
					return err
				}
				if why != "" {
					reason = why
					continue
				}
			}
			list = append(list, p)
		}
		return nil
	})
	if len(configured) == 0 && len(list) == 0 {
		list = []Project{{Settings: i.Settings, Rules: i.Rules}}
	}
	return list, reason, err
}

// formerly gives the projects that are configured under a former name of a repository.
func (i *Intake) formerly(tx *store.Tx, r store.Repo) (list []Project, err error) {
	known, err := tx.ProjectsOf(r, math.MaxInt)
	for _, k := range known {
		if !k.Configured || k.As == r.Name {
			continue
		}
		former := r
		former.Name = k.As
		for _, p := range i.Projects(former) {
			if projectKey(r, p.Name) == k.Key {
				list = append(list, p)
			}
		}
	}
	return list, err
}

// taken says that a project was made for another repository, which had this one's name then and is there still; empty if it was not.
func taken(tx *store.Tx, r store.Repo, name string) (string, error) {
	all, err := tx.Projects()
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if !p.Configured || p.Repo.Forge != r.Forge || p.Repo.Host != r.Host || p.Repo.ID == r.ID || !strings.EqualFold(p.As, r.Name) || p.Key != projectKey(p.Repo, name) {
			continue
		}
		state, err := tx.RepoState(p.Repo.Key())
		if err != nil {
			return "", err
		}
		if !state.Gone {
			return fmt.Sprintf("project %s is that of repository %s, which had this name and is called %s now; write repository-id: %s if it is to be this one's",
				name, p.Repo.ID, p.Repo.Name, r.ID), nil
		}
	}
	return "", nil
}

// specName is the buildspec of a project that is not configured.
const specName = "buildspec.yml"

// nearMiss is a name that people give it.
const nearMiss = "buildspec.yaml"

// candidates gives the projects of a repository that a commit concerns. A repository that is its own project and has no buildspec
// in the commit, which lies in the repository at, is none, and the reason says so; unless it was one before: branch protection may wait for its check.
func (i *Intake) candidates(ctx context.Context, r, at store.Repo, commit string) (list []candidate, reason string, err error) {
	projects, reason, err := i.projectsOf(r)
	if err != nil {
		return nil, "", err
	}
	for _, p := range projects {
		list = append(list, candidate{project: p})
	}
	if len(list) != 1 || list[0].project.Name != "" {
		return list, reason, nil
	}
	forge, err := i.forge(r)
	if err != nil {
		return nil, "", err
	}
	id, err := forge.FileID(ctx, at, commit, specName)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, "", fmt.Errorf("looking for %s: %w", specName, err)
	}
	if id != "" {
		return list, "", nil
	}
	reason = fmt.Sprintf("there is no %s in commit %.12s", specName, commit)
	if near, err := forge.FileID(ctx, at, commit, nearMiss); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, "", fmt.Errorf("looking for %s: %w", nearMiss, err)
	} else if near != "" {
		reason += ": " + nearMiss + " is there, but the name is " + specName
	}
	known := false
	if err := i.Store.View(func(tx *store.Tx) (err error) {
		_, known, err = tx.ProjectByKey(r.Key())
		return err
	}); err != nil {
		return nil, "", err
	}
	if !known {
		return nil, reason, nil
	}
	list[0].skip, list[0].ofSkip = "There is"+strings.TrimPrefix(reason, "there is")+".", true
	return list, "", nil
}

// known are the projects of a repository without a look at the commit: for a build that is asked for by name.
func (i *Intake) known(r store.Repo) []Project {
	list, _, err := i.projectsOf(r)
	if err != nil || len(list) == 0 {
		return []Project{{Settings: i.Settings, Rules: i.Rules}}
	}
	return list
}

// project is a stored project as it is configured now; ok is false if it is not configured any longer.
func (i *Intake) project(p store.Project) (project Project, ok bool) {
	for _, project := range i.known(p.Repo) {
		if projectKey(p.Repo, project.Name) == p.Key {
			return project, true
		}
	}
	return Project{Settings: i.Settings, Rules: i.Rules}, false
}

// projectKey is the key of the project that a repository has by a name of the configuration, or by itself. Names do not tell
// projects apart: where one is taken, the store gives another.
func projectKey(r store.Repo, name string) string {
	if name == "" {
		return r.Key()
	}
	return r.Key() + "/" + name
}

// checkName is the name of a project's check run. It is what branch protection knows.
func checkName(project string, alone bool) string {
	if alone {
		return "buildsmith"
	}
	return "buildsmith (" + project + ")"
}

// filter marks the candidates that their filters keep from being built.
func filter(ctx context.Context, list []candidate, s *Subject) error {
	if files := s.Files; files != nil { // for all projects together
		var once []string
		var asked bool
		s.Files = func(ctx context.Context) (list []string, err error) {
			if !asked {
				if once, err = files(ctx); err != nil {
					return nil, err
				}
				asked = true
			}
			return once, nil
		}
	}
	for n := range list {
		c := &list[n]
		if c.skip != "" && !c.ofSkip {
			continue
		}
		v, err := c.project.Filters.Decide(ctx, s)
		if err != nil {
			return fmt.Errorf("looking at the filters of the project: %w", err)
		}
		if !v.Build {
			c.skip, c.ofSkip = v.Reason, false
		}
	}
	return nil
}

// An event, once everything about it has been asked: its candidates and how loud their skips are.
type prepared struct {
	list    []candidate
	trigger store.Trigger
	speaks  bool // what is not built gets a check that says so
	pull    *store.PullRequest
	prefix  string // of the reason that people read
}

// settle makes the builds of an event: one for each project whose commit has none for the same reason. What is not built gets a
// check with the reason.
func (i *Intake) settle(p *pending, q prepared) decision {
	e := &p.event
	t := q.trigger
	t.Actor, t.Initiator, t.Delivery, t.At = e.Sender, initiator(p.delivery), p.delivery.Seq, e.At
	return func(tx *store.Tx) (v verdict, err error) {
		t.Late = p.late
		reasons := []string{}
		if q.prefix != "" {
			reasons = append(reasons, q.prefix)
		}
		speaks := q.speaks
		if q.pull != nil {
			now, err := tx.SeePull(e.Repo, q.pull)
			if err = errors.Join(err, tx.DecidePull(e.Repo, q.pull)); err != nil {
				return v, err
			}
			if ofChange(t.Event) && !now.Open {
				v.reason = fmt.Sprintf("pull request %d has been closed since", q.pull.Number)
				return v, nil
			}
		} else if speaks && t.Event == store.EventPush && !t.MergeGroup {
			// An open pull request's own event tells of it: a skip here would stand for a moment where a build belongs.
			open, err := tx.OfOpenPull(e.Repo, t.HeadRef)
			if err != nil {
				return v, err
			}
			speaks = !open
		}
		used := map[string]bool{}
		for _, c := range q.list {
			stored, err := tx.Project(e.Repo, c.project.Name)
			if err != nil {
				return v, err
			}
			check := checkName(stored.Name, len(q.list) == 1)
			used[check] = true
			c.found = e.Found && t.Event != store.EventPullRequestReopen
			id, why, err := i.become(tx, stored, check, c, t, speaks)
			if err != nil {
				return v, err
			}
			if id != "" {
				v.builds = append(v.builds, id)
			}
			if why != "" && !slices.Contains(reasons, why) {
				reasons = append(reasons, why)
			}
		}
		if speaks {
			if err := i.answerRetired(tx, e.Repo, t, used); err != nil {
				return v, err
			}
		}
		v.reason = strings.Join(reasons, " ")
		return v, nil
	}
}

// become does what is to become of a candidate, and gives its build, or why it has none of its own.
func (i *Intake) become(tx *store.Tx, p store.Project, check string, c candidate, t store.Trigger, speaks bool) (id, why string, err error) {
	builds, notices, err := tx.OfCommit(p.Repo, t.Commit)
	if err != nil {
		return "", "", err
	}
	if b := covering(builds, p, t); b != nil {
		if t.PullRequest > 0 { // what is told of the pull request may be of another commit now
			if err := tx.Unsay(b.ID); err != nil {
				return "", "", err
			}
		}
		return b.ID, fmt.Sprintf("Commit %.12s has an automatic build already, number %d.", t.Commit, b.Number), nil
	}
	if c.covered {
		return "", "", errUncovered
	}
	for n := range builds {
		if c.found && t.PullRequest > 0 && standsFor(&builds[n], p, t) {
			return "", fmt.Sprintf("Commit %.12s was built before, by number %d, which was stopped.", t.Commit, builds[n].Number), nil
		}
	}
	t.Fork = t.Fork || c.strange
	notice := store.Notice{Check: check, Trigger: t, Settings: c.project.Settings}
	if c.note != "" {
		notice.Notes = []string{c.note}
	}
	if c.hold != "" && c.ofSkip {
		c.skip = "" // a stranger has no say in it: a skip would let the commit pass where the check is required
	}
	if c.skip != "" {
		notice.Conclusion, notice.Title, notice.Held = store.SkippedNotice, "Skipped", c.hold != ""
		notice.Reason = c.skip + " Re-run this check to build it all the same."
		// A check that says more than this skip stays: branch protection looks at the newest.
		if speaks && !answered(builds, notices, p, check) {
			_, err = tx.AddNotice(p, notice)
		}
		return "", c.skip, err
	}
	if c.hold != "" {
		if t.Approval, err = tx.Approval(p.Repo, t.PullRequest, t.Commit); err != nil {
			return "", "", err
		}
	}
	if c.hold != "" && t.Approval == nil {
		why = fmt.Sprintf("Pull request %d was not built: %s.", t.PullRequest, c.hold)
		notice.Conclusion, notice.Title, notice.Held = store.ActionRequired, "Approval needed", true
		said := why
		if c.note != "" {
			said += " " + c.note
		}
		notice.Reason = i.worded(held(said, &c.project.Rules, t.Commit))
		if awaits(builds, notices, p, t.PullRequest) == nil {
			_, err = tx.AddNotice(p, notice)
		}
		return "", why, err
	}
	b := store.Build{Check: check, Trigger: t, Settings: c.project.Settings, Notes: notice.Notes}
	if t.Approval != nil {
		b.Notes = append(b.Notes, approvedBy(&t))
	}
	b, err = i.submit(tx, p, &c.project.Rules, b)
	return b.ID, "", err
}

func approvedBy(t *store.Trigger) string {
	note := fmt.Sprintf("Commit %.12s was approved by %s.", t.Approval.Commit, t.Approval.By.Login)
	if t.Fork {
		note += " It has no secrets and writes no cache."
	}
	return note
}

// held is what the check of a pull request that waits says.
func held(why string, r *Rules, commit string) string {
	return fmt.Sprintf("%s Its commands would run on this server's machine, so somebody with %s access has to look at them first, and then press the "+
		"button of this check or comment: /buildsmith approve %s", why, r.approverWords(), commit)
}

// worded puts the word that commands begin with here into a text that is written with the usual one.
func (i *Intake) worded(text string) string {
	return strings.ReplaceAll(text, "/"+DefaultCommands.Prefix+" ", "/"+i.Commands.Prefix+" ")
}

// covering is the automatic build that stands for an event already, nil if there is none: a pull request's commit is built once,
// whether its push or its event came first. One that was stopped stands for nothing.
func covering(builds []store.Build, p store.Project, t store.Trigger) *store.Build {
	for n := range builds {
		if b := &builds[n]; b.Stop == nil && standsFor(b, p, t) {
			return b
		}
	}
	return nil
}

// standsFor reports whether a build of a commit stands for an event of it, unless it was stopped.
func standsFor(b *store.Build, p store.Project, t store.Trigger) bool {
	if !ofChange(t.Event) || b.ProjectKey != p.Key || !b.Trigger.Automatic || b.Trigger.MergeGroup != t.MergeGroup || !ofChange(b.Trigger.Event) {
		return false
	}
	pull := b.Trigger.PullRequest > 0
	switch {
	case t.PullRequest > 0:
		return !strings.HasPrefix(b.Trigger.HeadRef, "refs/tags/") && (!pull || b.Trigger.BaseRef == t.BaseRef)
	case t.MergeGroup:
		return true
	}
	return pull && b.Trigger.HeadRef == t.HeadRef && !b.Trigger.Fork
}

// answered reports whether a commit has a build of a project, or its check was answered.
func answered(builds []store.Build, notices []store.Notice, p store.Project, check string) bool {
	return slices.ContainsFunc(builds, func(b store.Build) bool { return b.ProjectKey == p.Key && b.Check == check }) ||
		slices.ContainsFunc(notices, func(n store.Notice) bool { return n.ProjectKey == p.Key && n.Check == check })
}

// awaits gives the newest notice of a commit in a project, if it says that a pull request waits for approval, and waits still; nil if
// not. Pull requests may have a commit in common, and each waits for an approval of its own.
func awaits(builds []store.Build, notices []store.Notice, p store.Project, pull int) *store.Notice {
	n := latestNotice(notices, p, pull)
	if n == nil || n.Conclusion != store.ActionRequired || covering(builds, p, n.Trigger) != nil ||
		slices.ContainsFunc(builds, func(b store.Build) bool {
			return b.ProjectKey == p.Key && b.Trigger.PullRequest == pull && b.Created.After(n.Created)
		}) {
		return nil
	}
	return n
}

// latestNotice is the newest notice of a commit in a project that is of a pull request; nil if there is none.
func latestNotice(notices []store.Notice, p store.Project, pull int) *store.Notice {
	var latest *store.Notice
	for n := range notices {
		if notices[n].ProjectKey == p.Key && notices[n].Trigger.PullRequest == pull && !notices[n].Retired {
			latest = &notices[n]
		}
	}
	return latest
}

// answerRetired says of each check that the repository once had, and that no project of this event has, that it is not run:
// branch protection that still asks for it must not wait for ever.
func (i *Intake) answerRetired(tx *store.Tx, r store.Repo, t store.Trigger, used map[string]bool) error {
	state, err := tx.RepoState(r.Key())
	if err != nil {
		return err
	}
	for check, key := range state.Checks {
		if used[check] {
			continue
		}
		project, ok, err := tx.ProjectByKey(key)
		if err != nil {
			return err
		}
		builds, notices, err := tx.OfCommit(r, t.Commit)
		if err != nil {
			return err
		}
		if !ok || answered(builds, notices, project, check) {
			continue
		}
		if _, err := tx.AddNotice(project, store.Notice{Check: check, Trigger: t, Conclusion: store.SkippedNotice, Title: "No project has this check any more",
			Reason:  fmt.Sprintf("The check %q was that of project %s, which was renamed or removed, or is not the repository's only one any more. Take it out of the branch's required checks.", check, project.Name),
			Retired: true}); err != nil {
			return err
		}
	}
	return nil
}

// stopLine stops the builds of a line of a repository for which of says yes, and gives how many: see store.OpenBuilds.
func stopLine(tx *store.Tx, r store.Repo, line, by string, of func(*store.Build) bool) (n int, err error) {
	list, err := tx.OpenBuilds(r, line)
	if err != nil {
		return 0, err
	}
	return stopAll(tx, list, by, of)
}

// stopEvery stops the builds of all repositories for which of says yes, and gives how many.
func stopEvery(tx *store.Tx, by string, of func(*store.Build) bool) (n int, err error) {
	queued, err := tx.QueuedBuilds(-1)
	if err != nil {
		return 0, err
	}
	running, err := tx.RunningBuilds()
	if err != nil {
		return 0, err
	}
	return stopAll(tx, append(queued, running...), by, of)
}

func stopAll(tx *store.Tx, list []store.Build, by string, of func(*store.Build) bool) (n int, err error) {
	for _, b := range list {
		if b.Stop != nil || b.Done() || !of(&b) {
			continue
		}
		if _, err := tx.RequestStop(b.ID, by); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
