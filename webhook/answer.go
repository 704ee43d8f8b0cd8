package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// acknowledge answers a comment by a reaction. It is decoration: what the forge will not take now is done without, for a command is
// not to wait for it.
func (i *Intake) acknowledge(ctx context.Context, forge Forge, p *pending, with store.Reaction) {
	if err := forge.Acknowledge(ctx, p.event.Repo, p.event.Comment, with); err != nil {
		i.Log.Warn("a comment is not answered by a reaction", "delivery", p.delivery.Seq, "repo", p.event.Repo.Name, "err", err)
	}
	i.Store.At("comment acknowledged")
}

// status is how the builds of the head of a pull request stand.
func (i *Intake) status(tx *store.Tx, r store.Repo, a *asker) (string, error) {
	var lines []string
	shown := *a
	shown.permission = store.PermissionAdmin // whoever may read sees every build that stands for the commit
	for _, c := range a.list {
		stored, err := tx.Project(r, c.project.Name)
		if err != nil {
			return "", err
		}
		builds, notices, err := tx.OfCommit(r, a.pr.Head)
		if err != nil {
			return "", err
		}
		latest, ok, err := latest(tx, r, &shown, stored)
		if err != nil {
			return "", err
		}
		skipped := slices.ContainsFunc(notices, func(n store.Notice) bool { return n.ProjectKey == stored.Key && !n.Retired })
		switch {
		case awaits(builds, notices, stored, a.pr.Number) != nil:
			lines = append(lines, fmt.Sprintf("`%s` waits for the approval of commit %.12s.", stored.Name, a.pr.Head))
		case !ok && skipped:
			lines = append(lines, fmt.Sprintf("`%s` was not built: skipped.", stored.Name))
		case !ok:
			lines = append(lines, fmt.Sprintf("`%s` has no build of commit %.12s.", stored.Name, a.pr.Head))
		default:
			lines = append(lines, fmt.Sprintf("`%s` build %d of commit %.12s: %s.", stored.Name, latest.Number, a.pr.Head, standing(&latest)))
		}
	}
	if len(lines) == 0 {
		return "Nothing is built here: " + a.reason + ".", nil
	}
	return strings.Join(lines, "\n"), nil
}

// standing is how a build stands, in a few words.
func standing(b *store.Build) string {
	switch {
	case b.Queued():
		return "QUEUED"
	case !b.Done():
		return string(b.Status) + " (" + b.Phases[len(b.Phases)-1].Type + ")"
	}
	return fmt.Sprintf("%s in %v", b.Status, b.Ended.Sub(b.Created).Round(time.Second))
}

// help lists the commands, with what somebody may not do struck out.
func (i *Intake) help(a *asker) string {
	const prefix = "/buildsmith "
	var s strings.Builder
	s.WriteString("| Command | What it does | You may |\n|---|---|---|\n")
	writes := a.permission >= store.PermissionWrite
	for _, row := range []struct {
		form, does string
		may        bool
	}{
		{"test [PROJECT...] [NAME=value...]", "builds the newest commit", writes || a.author && a.approved},
		{"rerun [PROJECT...\\|all]", "repeats the builds of the newest commit that failed; with names or `all`, those", writes || a.author && a.approved},
		{"cancel [PROJECT...]", "stops the builds of this pull request", writes || a.author},
		{"approve COMMIT", "lets the commit of a stranger be built", a.permission >= store.PermissionRead && mayNotApprove(a.list, &a.pr, a.account, a.permission) == ""},
		{"revoke [COMMIT]", "takes an approval back and stops its builds", writes},
		{"status", "says how the builds of the newest commit stand", a.permission >= store.PermissionRead},
		{"help", "says this", true},
	} {
		fmt.Fprintf(&s, "| `%s%s` | %s | %s |\n", prefix, row.form, row.does, map[bool]string{true: "yes", false: "no"}[row.may])
	}
	if i.Commands.Bare {
		s.WriteString("\nThe verbs work alone too, such as `/test`; `/retest` is `rerun`, `/ok-to-test` and `/codebuild_run(COMMIT)` are `approve`.")
	}
	return s.String()
}
