package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// An asker is who wrote a comment, and what he may do.
type asker struct {
	account    store.Account
	permission store.Permission
	unasked    string // why nobody knows the permission, which is none then
	author     bool   // of the pull request
	approved   bool   // the head is
	held       string
	adrift     bool // the head lies in a repository that is gone, at a forge that shortens hashes: nobody can say which commit is meant
	pr         store.PullRequest
	list       []candidate // of the head
	reason     string      // why there is none
}

// comment decides on the commands of a comment on a pull request.
func (i *Intake) comment(ctx context.Context, p *pending) (decision, error) {
	e := &p.event
	commands := i.Commands.parse(e.Comment.Body)
	if len(commands) == 0 {
		const reason = "the comment holds no command"
		if !i.looksAt(e.Repo.Forge) {
			return nothing(reason), nil
		}
		return func(tx *store.Tx) (verdict, error) { // nor does it once it is edited
			_, err := tx.SeeComment(e.Repo, e.Comment.ID)
			return verdict{reason: reason}, err
		}, nil
	}
	if e.Comment.Author.Bot && !slices.ContainsFunc(i.Commands.Bots, func(login string) bool { return strings.EqualFold(login, e.Comment.Author.Login) }) {
		return func(tx *store.Tx) (verdict, error) {
			_, err := tx.SeeComment(e.Repo, e.Comment.ID)
			return verdict{reason: "commands of bots are not taken; commands.bots lists those whose are"}, err
		}, nil
	}
	var seen bool
	if err := i.Store.View(func(tx *store.Tx) error { seen = tx.SeenComment(e.Repo, e.Comment.ID); return nil }); err != nil {
		return nil, err
	}
	if seen {
		return nothing(obeyedBefore), nil
	}
	forge, err := i.forge(e.Repo)
	if err != nil {
		return nil, err
	}
	a, err := i.ask(ctx, forge, e)
	if err != nil {
		return nil, err
	}
	var accepted, refused []command
	for _, c := range commands {
		if c.problem = mayNot(&c, a); c.problem == "" {
			accepted = append(accepted, c)
		} else {
			refused = append(refused, c)
		}
	}
	with := store.ReactionAccepted
	if len(accepted) == 0 {
		with = store.ReactionRefused
	}
	i.acknowledge(ctx, forge, p, with)
	return i.obeyAll(p, a, accepted, refused), nil
}

// obeyedBefore is why nothing comes of a comment that was delivered and found, or delivered twice.
const obeyedBefore = "the comment was obeyed before"

// ask gives what must be known of a comment's pull request and author.
func (i *Intake) ask(ctx context.Context, forge Forge, e *Event) (*asker, error) {
	a := &asker{account: e.Comment.Author}
	var err error
	a.permission, err = forge.Permission(ctx, e.Repo, a.account)
	if errors.Is(err, store.ErrForbidden) {
		a.unasked = err.Error()
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("asking what %s may do: %w", a.account.Login, err)
	}
	a.pr, err = forge.PullRequest(ctx, e.Repo, e.Comment.PullRequest)
	if errors.Is(err, store.ErrNotFound) {
		a.reason = fmt.Sprintf("Pull request %d is gone.", e.Comment.PullRequest)
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at pull request %d: %w", e.Comment.PullRequest, err)
	}
	if !store.ValidHash(a.pr.Head) || !store.ValidRef(a.pr.HeadRef) || !store.ValidRef(a.pr.BaseRef) {
		a.reason = fmt.Sprintf("Pull request %d has no valid head or base.", a.pr.Number)
		return a, nil
	}
	_, shortens := forge.(Completer)
	a.adrift = shortens && a.pr.HeadRepo == ""
	a.author = a.account.ID != "" && a.account.ID == a.pr.Author.ID
	if a.list, a.reason, err = i.candidates(ctx, e.Repo, headOf(e.Repo, &a.pr), a.pr.Head); err != nil {
		return nil, err
	}
	if err := i.guard(ctx, e.Repo, &a.pr, a.list); err != nil {
		return nil, err
	}
	for _, c := range a.list {
		if c.hold != "" {
			a.held = c.hold
		}
	}
	return a, i.Store.View(func(tx *store.Tx) error {
		approval, err := tx.Approval(e.Repo, a.pr.Number, a.pr.Head)
		a.approved = approval != nil
		return err
	})
}

// refusalEvery is how often somebody is told in words that he may not, in one pull request.
const refusalEvery = time.Hour

// maxReplies is how many replies somebody who may not write gets in one pull request within that time: whoever may read may ask.
const maxReplies = 5

// obeyAll does what commands ask for, in their order, and replies where words are needed.
func (i *Intake) obeyAll(p *pending, a *asker, accepted, refused []command) decision {
	e := &p.event
	return func(tx *store.Tx) (v verdict, err error) {
		var said, reasons []string
		if seen, err := tx.SeeComment(e.Repo, e.Comment.ID); err != nil || seen {
			v.reason = obeyedBefore
			return v, err
		}
		if a.pr.Head != "" {
			if _, err := tx.SeePull(e.Repo, &a.pr); err != nil {
				return v, err
			}
		}
		for _, c := range accepted {
			builds, words, refusal, err := i.obey(tx, p, a, c)
			if err != nil {
				return v, err
			}
			v.builds = append(v.builds, builds...)
			if refusal {
				c.problem = words
				refused = append(refused, c)
			} else if words != "" {
				said = append(said, words)
			}
		}
		for _, c := range refused {
			reasons = append(reasons, c.problem)
		}
		var replies, refusals int
		if len(refused) > 0 || a.permission < store.PermissionWrite {
			if replies, refusals, err = tx.RepliesSince(e.Repo, e.Comment.PullRequest, a.account, i.Store.Now().Add(-refusalEvery)); err != nil {
				return v, err
			}
		}
		if len(refused) > 0 {
			if refusals == 0 {
				text := strings.Join(reasons, "\n\n")
				if slices.ContainsFunc(refused, func(c command) bool { return c.verb == verbHelp }) {
					text += "\n\n" + i.help(a)
				}
				if err := i.reply(tx, p, a, text, true); err != nil {
					return v, err
				}
			}
		}
		if len(said) > 0 && a.permission < store.PermissionWrite && replies >= maxReplies {
			reasons = append(reasons, fmt.Sprintf("%s has got %d replies within an hour.", a.account.Login, replies))
		} else if len(said) > 0 {
			if err := i.reply(tx, p, a, strings.Join(said, "\n\n"), false); err != nil {
				return v, err
			}
			reasons = append(reasons, said...)
		}
		v.reason = clip(strings.ReplaceAll(strings.Join(reasons, " "), "`", ""), 500)
		return v, nil
	}
}

func (i *Intake) reply(tx *store.Tx, p *pending, a *asker, text string, refusal bool) error {
	_, err := tx.AddReply(store.Reply{Repo: p.event.Repo, PullRequest: p.event.Comment.PullRequest, To: a.account, Comment: p.event.Comment.ID, Body: i.worded(text), Refusal: refusal})
	return err
}

// obey does one command. What it says is a reply; a refusal if it could not be done for want of a right.
func (i *Intake) obey(tx *store.Tx, p *pending, a *asker, c command) (builds []string, says string, refusal bool, err error) {
	e := &p.event
	switch c.verb {
	case verbHelp:
		return nil, i.help(a), false, nil
	case verbStatus:
		says, err = i.status(tx, e.Repo, a)
		return nil, says, false, err
	case verbApprove:
		if c.hash == "" {
			pull, err := tx.SeePull(e.Repo, &a.pr)
			if err != nil {
				return nil, "", false, err
			}
			if e.Comment.Created.IsZero() || pull.Head != a.pr.Head || !pull.Seen.Before(e.Comment.Created) {
				return nil, fmt.Sprintf("The newest commit was seen here only after your comment. Look at it, and then comment: `/buildsmith approve %s`", a.pr.Head), true, nil
			}
		}
		if others := tx.CommitsLike(e.Repo, c.hash, 3); c.hash != "" && slices.ContainsFunc(others, func(o string) bool { return o != a.pr.Head }) {
			return nil, fmt.Sprintf("More than one commit's hash begins with %s. Name the whole of the one that you looked at; the newest of this pull request is %s.", c.hash, a.pr.Head), true, nil
		}
		v, err := i.approve(tx, p, &a.pr, e.Comment.ID)
		if err == nil && len(v.builds) == 0 {
			says = fmt.Sprintf("Commit %.12s is approved. Nothing waited for it.", a.pr.Head)
		}
		return v.builds, says, false, err
	case verbRevoke:
		says, err = i.revoke(tx, e.Repo, a, c)
		return nil, says, false, err
	case verbCancel:
		says, err = i.cancel(tx, e, a, c)
		return nil, says, false, err
	}
	return i.build(tx, p, a, c)
}

// build does a test or a rerun, for each project that is meant.
func (i *Intake) build(tx *store.Tx, p *pending, a *asker, c command) (builds []string, says string, refusal bool, err error) {
	e := &p.event
	t := i.pullTrigger(e.Repo, &a.pr, store.EventPullRequestUpdated)
	t.Automatic, t.Actor, t.Initiator, t.Delivery = false, e.Sender, initiator(p.delivery), p.delivery.Seq
	if a.held != "" {
		// What was approved when the comment came may be revoked now.
		if t.Approval, err = tx.Approval(e.Repo, a.pr.Number, a.pr.Head); err != nil {
			return nil, "", false, err
		}
		if t.Approval == nil {
			return nil, fmt.Sprintf("The approval of commit %.12s was taken back.", a.pr.Head), true, nil
		}
	}
	var words, names []string
	unmatched := slices.Clone(c.targets)
	all := len(c.targets) == 0 || slices.Contains(c.targets, "all")
	for n := range a.list { // the store may call a project by another name than the configuration
		stored, err := tx.Project(e.Repo, a.list[n].project.Name)
		if err != nil {
			return nil, "", false, err
		}
		if why := mayNotSetIn(&c, &a.list[n].project); why != "" && (all || slices.Contains(c.targets, stored.Name)) {
			return nil, why, true, nil
		}
	}
	nothingFailed := true
	for _, candidate := range a.list {
		stored, err := tx.Project(e.Repo, candidate.project.Name)
		if err != nil {
			return nil, "", false, err
		}
		names = append(names, stored.Name)
		if !all && !slices.Contains(c.targets, stored.Name) {
			continue
		}
		unmatched = slices.DeleteFunc(unmatched, func(t string) bool { return t == stored.Name })
		if c.verb == verbTest {
			settings := candidate.project.Settings
			settings.Overrides = c.options
			t := t
			t.Fork = t.Fork || candidate.strange
			b := store.Build{Check: checkName(stored.Name, len(a.list) == 1), Trigger: t, Settings: settings, AskedBy: e.Sender.Login}
			if t.Approval != nil {
				b.Notes = []string{approvedBy(&t)}
			}
			if b, err = i.submit(tx, stored, &candidate.project.Rules, b); err != nil {
				return nil, "", false, err
			}
			builds = append(builds, b.ID)
			continue
		}
		again, why, failed, err := i.rerun(tx, p, a, stored, len(c.targets) > 0)
		if err != nil {
			return nil, "", false, err
		}
		if again != "" {
			builds = append(builds, again)
		}
		if nothingFailed = nothingFailed && !failed; why != "" {
			words = append(words, why)
		}
	}
	unmatched = slices.DeleteFunc(unmatched, func(t string) bool { return t == "all" })
	for _, name := range unmatched {
		words = append(words, fmt.Sprintf("There is no project `%s` here. There are: `%s`.", name, strings.Join(names, "`, `")))
	}
	if c.verb == verbRerun && len(builds) == 0 && len(c.targets) == 0 && nothingFailed {
		words = append(words, "There is nothing to re-run. `/buildsmith test` builds the newest commit once more.")
	}
	return builds, strings.Join(words, "\n"), false, nil
}

// rerun repeats the newest build of the head of a pull request in a project, if it failed or anyway, or says why it does not.
func (i *Intake) rerun(tx *store.Tx, p *pending, a *asker, project store.Project, anyway bool) (again, why string, failed bool, err error) {
	latest, ok, err := latest(tx, p.event.Repo, a, project)
	switch {
	case err != nil:
		return "", "", false, err
	case !ok && anyway:
		return "", fmt.Sprintf("`%s` has no build of commit %.12s; use `/buildsmith test`.", project.Name, a.pr.Head), false, nil
	case !ok:
		return "", "", false, nil
	case !latest.Done():
		return "", fmt.Sprintf("Build %d of `%s` is still under way.", latest.Number, project.Name), true, nil
	case latest.Status == store.Succeeded && !anyway:
		return "", "", false, nil
	}
	b, why, err := i.rerunOf(tx, p, latest, false)
	if err != nil || why != "" {
		return "", why, true, err
	}
	return b.ID, "", true, nil
}

// latest is the newest build of the head of a pull request in a project: one of the pull request, or of the commit's branch that stands
// for it. What else the commit was built for, such as a tag, a release or a merge queue, is not the pull request's to repeat; nor
// may somebody without write access repeat a branch's build, which has its secrets.
func latest(tx *store.Tx, r store.Repo, a *asker, p store.Project) (latest store.Build, ok bool, err error) {
	builds, _, err := tx.OfCommit(r, a.pr.Head)
	for _, b := range builds {
		own := b.Trigger.PullRequest == a.pr.Number && (b.Trigger.Event == "" || ofChange(b.Trigger.Event)) &&
			(a.permission >= store.PermissionWrite || a.held == "" || b.Trigger.Approval != nil)
		stands := a.permission >= store.PermissionWrite && ofChange(b.Trigger.Event) && !b.Trigger.MergeGroup && !strings.HasPrefix(b.Trigger.HeadRef, "refs/tags/") &&
			(b.Trigger.PullRequest == 0 || b.Trigger.BaseRef == a.pr.BaseRef)
		if b.ProjectKey == p.Key && (own || stands) {
			latest, ok = b, true
		}
	}
	return latest, ok, err
}

// cancel stops the builds of a pull request.
func (i *Intake) cancel(tx *store.Tx, e *Event, a *asker, c command) (says string, err error) {
	all := len(c.targets) == 0 || slices.Contains(c.targets, "all")
	meant := func(b *store.Build) bool { return all || slices.Contains(c.targets, b.Project) }
	n, err := stopLine(tx, e.Repo, store.PullLine(a.pr.Number), a.account.Login, meant)
	if err == nil && a.pr.HeadRepo == e.Repo.ID { // a push of its branch may have been first
		var more int
		more, err = stopLine(tx, e.Repo, a.pr.HeadRef, a.account.Login, func(b *store.Build) bool { return meant(b) && b.Trigger.Commit == a.pr.Head })
		n += more
	}
	if err == nil && n == 0 {
		says = "No build of this pull request waits or runs."
	}
	return says, err
}

// revoke takes approvals back, and stops the builds that they allowed.
func (i *Intake) revoke(tx *store.Tx, r store.Repo, a *asker, c command) (says string, err error) {
	commits, err := tx.RevokeApprovals(r, a.pr.Number, c.hash)
	if err != nil {
		return "", err
	}
	if len(commits) == 0 {
		return "No commit of this pull request is approved" + map[bool]string{true: " whose hash begins so"}[c.hash != ""] + ".", nil
	}
	n, err := stopLine(tx, r, store.PullLine(a.pr.Number), a.account.Login+", who took the approval back", func(b *store.Build) bool {
		return slices.Contains(commits, b.Trigger.Commit) && b.Trigger.Approval != nil
	})
	if err != nil {
		return "", err
	}
	for _, commit := range commits {
		if err := i.withdraw(tx, r, a.pr.Number, commit); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("Approvals taken back: %d; builds stopped: %d.", len(commits), n), nil
}

// withdraw has the checks of a pull request's commit, whose approval was taken back, wait for one again.
func (i *Intake) withdraw(tx *store.Tx, r store.Repo, pull int, commit string) error {
	builds, _, err := tx.OfCommit(r, commit)
	if err != nil {
		return err
	}
	latest := map[string]*store.Build{}
	for n := range builds {
		if builds[n].Trigger.PullRequest == pull {
			latest[builds[n].ProjectKey] = &builds[n]
		}
	}
	for key, b := range latest {
		p, ok, err := tx.ProjectByKey(key)
		if err != nil {
			return err
		}
		if ok && b.Trigger.Approval != nil {
			if err := i.heldAgain(tx, p, b, fmt.Sprintf("the approval of commit %.12s was taken back", commit)); err != nil {
				return err
			}
		}
	}
	return nil
}
