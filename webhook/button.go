package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"buildsmith/store"
)

// pressed decides on a click on one of the forge's buttons, or one of ours on a check. The click shows who pressed, not that he may.
func (i *Intake) pressed(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	forge, err := i.forge(e.Repo)
	if err != nil {
		return nil, err
	}
	permission, err := forge.Permission(ctx, e.Repo, e.Sender)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrForbidden) {
		return nil, fmt.Errorf("asking what %s may do: %w", e.Sender.Login, err)
	}
	if e.Kind == Button && e.Action == store.ButtonApprove {
		return i.approveButton(ctx, p, forge, permission)
	}
	if permission < store.PermissionWrite {
		return nothing("%s has no write access, which a re-run needs", e.Sender.Login), nil
	}
	switch {
	case e.Kind == RerunCommit:
		return func(tx *store.Tx) (verdict, error) { return i.rerunCommit(tx, p) }, nil
	case e.Kind == Button && e.Action != store.ButtonRerun && e.Action != store.ButtonClean:
		return nothing("there is no button %.30q", e.Action), nil
	}
	clean := e.Kind == Button && e.Action == store.ButtonClean
	return func(tx *store.Tx) (verdict, error) { return i.rerunOne(tx, p, e.ExternalID, clean) }, nil
}

// approveButton approves the commit of a check that waits, if it is still the head of its pull request.
func (i *Intake) approveButton(ctx context.Context, p *pending, forge Forge, permission store.Permission) (decision, error) {
	e := &p.event
	var n store.Notice
	var ok bool
	if err := i.Store.View(func(tx *store.Tx) (err error) {
		n, ok, err = tx.Notice(e.ExternalID)
		return err
	}); err != nil {
		return nil, err
	}
	switch {
	case !ok || n.Trigger.PullRequest == 0 || n.Conclusion != store.ActionRequired:
		return nothing("the check does not wait for an approval, or is not known here any longer"), nil
	case n.Repo.Key() != e.Repo.Key():
		return nothing("the check belongs to another repository"), nil
	case n.Trigger.Commit != e.Commit:
		return nothing("the check is of commit %.12s, not of %.12s", n.Trigger.Commit, e.Commit), nil
	}
	pr, err := forge.PullRequest(ctx, e.Repo, n.Trigger.PullRequest)
	if errors.Is(err, store.ErrNotFound) {
		return nothing("pull request %d is gone", n.Trigger.PullRequest), nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at pull request %d: %w", n.Trigger.PullRequest, err)
	}
	if !pr.Open {
		return nothing("pull request %d is closed", pr.Number), nil
	}
	if pr.Head != e.Commit {
		return nothing("commit %.12s is not the head of pull request %d any longer; look at what was pushed since", e.Commit, pr.Number), nil
	}
	if why := mayNotApprove(candidatesOf(i.known(e.Repo)), &pr, e.Sender, permission); why != "" {
		return nothing("%s", strings.ReplaceAll(why, "`", "")), nil
	}
	return func(tx *store.Tx) (verdict, error) {
		return i.approve(tx, p, &pr, 0)
	}, nil
}

// mayNotApprove says why somebody may not approve a pull request, in a sentence; empty if he may. What is approved holds for every
// project of the repository, so that every one must allow it.
func mayNotApprove(list []candidate, pr *store.PullRequest, who store.Account, permission store.Permission) string {
	if who.ID == pr.Author.ID && permission < store.PermissionAdmin {
		return fmt.Sprintf("`%s` is the author of the pull request, whose commits somebody else has to approve.", who.Login)
	}
	if len(list) == 0 {
		list = []candidate{{}}
	}
	for _, c := range list {
		if !c.project.Rules.mayApprove(permission) {
			return fmt.Sprintf("`approve` needs %s access to this repository; `%s` has %s access.", c.project.Rules.approverWords(), who.Login, roleWord(permission))
		}
	}
	return ""
}

// approve records the approval of the head of a pull request and makes the builds that waited for it.
func (i *Intake) approve(tx *store.Tx, p *pending, pr *store.PullRequest, comment int64) (v verdict, err error) {
	e := &p.event
	if err := tx.Approve(e.Repo, store.Approval{PullRequest: pr.Number, Commit: pr.Head, By: e.Sender, Comment: comment, At: i.Store.Now()}); err != nil {
		return v, err
	}
	approval, err := tx.Approval(e.Repo, pr.Number, pr.Head)
	if err != nil {
		return v, err
	}
	builds, notices, err := tx.OfCommit(e.Repo, pr.Head)
	if err != nil {
		return v, err
	}
	done := map[string]bool{}
	for _, n := range notices {
		project, ok, err := tx.ProjectByKey(n.ProjectKey)
		if err != nil {
			return v, err
		}
		if !ok || done[n.ProjectKey] {
			continue
		}
		done[n.ProjectKey] = true
		n := awaits(builds, notices, project, pr.Number)
		if n == nil {
			continue
		}
		configured, _ := i.project(project)
		t := n.Trigger
		t.Approval, t.Actor, t.Initiator, t.Delivery = approval, e.Sender, initiator(p.delivery), p.delivery.Seq
		b, err := i.submit(tx, project, &configured.Rules, store.Build{Check: n.Check, Trigger: t, Settings: configured.Settings,
			Notes: append(n.Notes, approvedBy(&t))})
		if err != nil {
			return v, err
		}
		v.builds = append(v.builds, b.ID)
	}
	v.reason = fmt.Sprintf("%s approved commit %.12s of pull request %d", e.Sender.Login, pr.Head, pr.Number)
	return v, nil
}

// rerunOne repeats a build, or builds what a notice said was not built.
func (i *Intake) rerunOne(tx *store.Tx, p *pending, id string, clean bool) (verdict, error) {
	e := &p.event
	n, ok, err := tx.Notice(id)
	if err != nil {
		return verdict{}, err
	}
	if ok {
		if e.Repo.ID != "" && n.Repo.Key() != e.Repo.Key() {
			return verdict{reason: "the check belongs to another repository"}, nil
		}
		return i.fromNotice(tx, p, n)
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
	if !clean {
		// A build has several checks, and the forge tells of each of those that people have run again at once.
		open, err := openBuild(tx, b.Repo, b.Trigger.Commit, func(o *store.Build) bool { return o.RerunOf == b.ID })
		if err != nil {
			return verdict{}, err
		}
		if open != nil {
			return verdict{reason: fmt.Sprintf("build %d of %s repeats it already", open.Number, open.Project), builds: []string{open.ID}}, nil
		}
	}
	again, why, err := i.rerunOf(tx, p, b, clean)
	if err != nil || why != "" {
		return verdict{reason: why}, err
	}
	return verdict{builds: []string{again.ID}}, nil
}

// openBuild is a build of a commit that is not over and of which of says yes; nil if there is none.
func openBuild(tx *store.Tx, r store.Repo, commit string, of func(*store.Build) bool) (*store.Build, error) {
	builds, _, err := tx.OfCommit(r, commit)
	for n := range builds {
		if b := &builds[n]; !b.Done() && b.Stop == nil && of(b) {
			return b, err
		}
	}
	return nil, err
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
		if n.Retired {
			continue
		}
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
		one, err := i.rerunOne(tx, p, newest[key], false)
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

// rerunOf makes the build that repeats another one: the same commit and trigger, the project's settings as they are now, without
// its cache if it is to be clean. What was approved must be so still.
func (i *Intake) rerunOf(tx *store.Tx, p *pending, b store.Build, clean bool) (again store.Build, why string, err error) {
	stored, ok, err := tx.ProjectByName(b.Project)
	if err == nil && !ok {
		err = fmt.Errorf("project %s: %w", b.Project, store.ErrNotFound)
	}
	if err != nil {
		return b, "", err
	}
	if why, err := closedRepo(tx, stored.Repo); err != nil || why != "" {
		return b, why, err
	}
	project, configured := i.project(stored)
	// What was built of a stranger before the project asked for approvals needs one now; the administrator gives it by asking.
	strict := b.Trigger.Fork && b.Trigger.PullRequest > 0 && project.Rules.Approval != ApprovalDisabled && p.event.Kind != Retry
	if b.Trigger.Approval != nil || strict {
		approval, err := tx.Approval(b.Repo, b.Trigger.PullRequest, b.Trigger.Commit)
		if err != nil {
			return b, "", err
		}
		if approval == nil {
			why := fmt.Sprintf("commit %.12s is not approved, or not any longer", b.Trigger.Commit)
			return b, why, i.heldAgain(tx, stored, &b, why)
		}
	}
	t := b.Trigger
	t.Automatic, t.Delivery = false, p.delivery.Seq
	settings := project.Settings
	if !configured {
		settings = b.Settings
	}
	if clean {
		settings.Cache = store.CacheOff
	}
	again, err = i.submit(tx, stored, &project.Rules, store.Build{Check: b.Check, Trigger: t, Settings: settings, RerunOf: b.ID, AskedBy: p.event.Sender.Login, Notes: b.Notes})
	return again, "", err
}

// heldAgain has the check of a build say that its commit waits for approval, as before it had one.
func (i *Intake) heldAgain(tx *store.Tx, p store.Project, b *store.Build, why string) error {
	project, _ := i.project(p)
	t := b.Trigger
	t.Approval = nil
	why = fmt.Sprintf("Pull request %d is not built: %s.", t.PullRequest, why)
	_, err := tx.AddNotice(p, store.Notice{Check: b.Check, Trigger: t, Settings: project.Settings, Conclusion: store.ActionRequired, Title: "Approval needed",
		Reason: i.worded(held(why, &project.Rules, t.Commit)), Held: true})
	return err
}

// fromNotice makes the build that a notice said there was none of, unless that waits for approval still. Whoever has the admin
// token approves by asking: he looked at the commit's own page, and may start any commit anyway.
func (i *Intake) fromNotice(tx *store.Tx, p *pending, n store.Notice) (verdict, error) {
	stored, ok, err := tx.ProjectByKey(n.ProjectKey)
	if err == nil && !ok {
		err = fmt.Errorf("project %s: %w", n.Project, store.ErrNotFound)
	}
	if err != nil {
		return verdict{}, err
	}
	if why, err := closedRepo(tx, stored.Repo); err != nil || why != "" {
		return verdict{reason: why}, err
	}
	if n.Retired {
		_, err = tx.AddNotice(stored, n) // a check that is run again stands open until it is answered
		return verdict{reason: n.Reason}, err
	}
	open, err := openBuild(tx, n.Repo, n.Trigger.Commit, func(b *store.Build) bool {
		return b.ProjectKey == n.ProjectKey && b.Check == n.Check && b.Trigger.PullRequest == n.Trigger.PullRequest
	})
	if err != nil {
		return verdict{}, err
	}
	if open != nil {
		return verdict{reason: fmt.Sprintf("build %d of %s is under way", open.Number, open.Project), builds: []string{open.ID}}, nil
	}
	t := n.Trigger
	project, configured := i.project(stored)
	if n.Held {
		if t.Approval, err = tx.Approval(n.Repo, t.PullRequest, t.Commit); err != nil {
			return verdict{}, err
		}
		if t.Approval == nil && p.event.Kind == Retry {
			t.Approval = &store.Approval{PullRequest: t.PullRequest, Commit: t.Commit, By: p.event.Sender, At: i.Store.Now()}
			if err := tx.Approve(n.Repo, *t.Approval); err != nil {
				return verdict{}, err
			}
			n.Notes = append(n.Notes, approvedBy(&t))
		}
		if t.Approval == nil {
			if n.Conclusion != store.ActionRequired {
				n.Conclusion, n.Title = store.ActionRequired, "Approval needed"
				n.Reason = i.worded(held(fmt.Sprintf("Pull request %d was not built.", t.PullRequest), &project.Rules, t.Commit))
			}
			_, err = tx.AddNotice(stored, n)
			return verdict{reason: n.Reason}, err
		}
	}
	t.Automatic, t.Delivery = false, p.delivery.Seq
	if !configured {
		project.Settings = n.Settings
	}
	b, err := i.submit(tx, stored, &project.Rules, store.Build{Check: n.Check, Trigger: t, Settings: project.Settings, AskedBy: p.event.Sender.Login, Notes: n.Notes})
	return verdict{builds: []string{b.ID}}, err
}

// closedRepo says why nothing is built of a repository; empty if it may be.
func closedRepo(tx *store.Tx, r store.Repo) (string, error) {
	state, err := tx.RepoState(r.Key())
	switch {
	case err != nil:
		return "", err
	case state.Gone:
		return fmt.Sprintf("%s is gone, or may not be seen from here any longer", r.Name), nil
	case state.Archived:
		return fmt.Sprintf("%s is archived", r.Name), nil
	}
	return "", nil
}
