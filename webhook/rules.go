package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"buildsmith/store"
)

// Rules say how the deliveries of a project are decided on. The zero value is what a project has without configuration.
type Rules struct {
	// Approval says whose pull requests wait for somebody to approve their commit; ApprovalForks if empty.
	Approval string
	// Approvers are the roles that may approve; write, maintain and admin if there are none.
	Approvers []store.Permission
	// AnyHash lets an approval name no commit, if the head was seen here before the comment was made.
	AnyHash bool
	// NoDrafts keeps pull requests that are drafts from being built.
	NoDrafts bool
	// NoSkipTokens passes over [skip ci] and its like.
	NoSkipTokens bool
	// Supersede says whose older builds are stopped by a newer commit; SupersedeOn if empty.
	Supersede string
	// Overridable are the variables that a comment may set.
	Overridable []string
	Priorities  Priorities
}

// Whose pull requests wait for approval: CodeBuild's words.
// https://docs.aws.amazon.com/codebuild/latest/APIReference/API_PullRequestBuildPolicy.html
const (
	ApprovalDisabled = "DISABLED"
	ApprovalForks    = "FORK_PULL_REQUESTS" // and authors without write access
	ApprovalAll      = "ALL_PULL_REQUESTS"
)

// Whose older builds are stopped by a newer commit. Those of tags and merge groups never are.
const (
	SupersedeOff = "off"
	SupersedeOn  = "on"  // of pull requests and of branches but the default branch
	SupersedeAll = "all" // of the default branch too
)

// Priorities order the queue: builds with a higher number first.
type Priorities struct {
	DefaultBranch, PullRequest, Rerun int
}

// Roles are CodeBuild's words for the roles of people at GitHub and Bitbucket.
var Roles = map[string]store.Permission{
	"GITHUB_READ": store.PermissionRead, "GITHUB_TRIAGE": store.PermissionTriage, "GITHUB_WRITE": store.PermissionWrite,
	"GITHUB_MAINTAIN": store.PermissionMaintain, "GITHUB_ADMIN": store.PermissionAdmin,
	"BITBUCKET_READ": store.PermissionRead, "BITBUCKET_WRITE": store.PermissionWrite, "BITBUCKET_ADMIN": store.PermissionAdmin,
}

// roleWord is a permission for people.
func roleWord(p store.Permission) string {
	return [...]string{"no", "read", "triage", "write", "maintain", "admin"}[p]
}

var standardApprovers = []store.Permission{store.PermissionWrite, store.PermissionMaintain, store.PermissionAdmin}

func (r *Rules) approvers() []store.Permission {
	if len(r.Approvers) == 0 {
		return standardApprovers
	}
	return r.Approvers
}

// mayApprove reports whether somebody with a permission may approve.
func (r *Rules) mayApprove(p store.Permission) bool { return slices.Contains(r.approvers(), p) }

// approverWords names the roles that may approve.
func (r *Rules) approverWords() string {
	var words []string
	for _, p := range r.approvers() {
		words = append(words, roleWord(p))
	}
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// priority is that of a build.
func (r *Rules) priority(b *store.Build, p store.Project) int {
	switch {
	case b.AskedBy != "":
		return r.Priorities.Rerun
	case b.Trigger.PullRequest > 0:
		return r.Priorities.PullRequest
	case p.Repo.DefaultBranch != "" && b.Trigger.HeadRef == "refs/heads/"+p.Repo.DefaultBranch:
		return r.Priorities.DefaultBranch
	}
	return 0
}

// supersedes reports whether a build makes an older one of the same project worthless: a newer commit of the same pull request or
// branch.
func (r *Rules) supersedes(newer, older *store.Build, p store.Project) bool {
	a, b := &newer.Trigger, &older.Trigger
	if r.Supersede == SupersedeOff || older.ProjectKey != newer.ProjectKey || older.ID == newer.ID || a.Event == "" || b.Event == "" ||
		a.MergeGroup || b.MergeGroup || a.Commit == b.Commit && a.BaseRef == b.BaseRef {
		return false
	}
	if !ofChange(a.Event) || !ofChange(b.Event) {
		return false
	}
	if a.PullRequest > 0 && a.PullRequest == b.PullRequest {
		return true
	}
	return !a.Fork && !b.Fork && a.HeadRef == b.HeadRef && a.Commit != b.Commit && r.ofBranch(newer, p)
}

// ofBranch reports whether a build is of a branch whose older builds are stopped.
func (r *Rules) ofBranch(b *store.Build, p store.Project) bool {
	ref := b.Trigger.HeadRef
	return strings.HasPrefix(ref, "refs/heads/") && !b.Trigger.MergeGroup &&
		(r.Supersede == SupersedeAll || p.Repo.DefaultBranch == "" || ref != "refs/heads/"+p.Repo.DefaultBranch)
}

// ofChange reports whether an event is that of a new commit, and not of the end of a pull request or of a release.
func ofChange(event string) bool {
	switch event {
	case store.EventPush, store.EventPullRequestCreated, store.EventPullRequestUpdated, store.EventPullRequestReopen:
		return true
	}
	return false
}

// happened is when a build's event happened, as well as it is known.
func happened(b *store.Build) int64 {
	if b.Trigger.At.IsZero() {
		return b.Created.Unix()
	}
	return b.Trigger.At.Unix()
}

// later reports whether the event of a build happened after that of another. Of two within a second the commit that the ref had before
// tells, and of two of which the forge does not tell when both happened.
func later(b, than *store.Build) bool {
	at, other := happened(b), happened(than)
	untold := b.Trigger.At.IsZero() || than.Trigger.At.IsZero()
	if at == other || untold && (follows(b, than) || follows(than, b)) {
		return follows(b, than)
	}
	return at > other
}

// follows reports whether the commit of a build took the place of that of another.
func follows(b, than *store.Build) bool {
	return b.Trigger.Prev != "" && b.Trigger.Prev == than.Trigger.Commit && than.Trigger.Prev != b.Trigger.Commit
}

// submit makes a build, takes back what was said instead of it, and stops what it supersedes; or stops it, if a newer commit
// has a build already: deliveries may come late.
func (i *Intake) submit(tx *store.Tx, p store.Project, r *Rules, b store.Build) (store.Build, error) {
	b.Priority = r.priority(&b, p)
	took, err := tx.TookName(p.Repo)
	if err != nil {
		return b, err
	}
	if took.ID != "" && !b.Settings.Bound {
		b.Notes = append(slices.Clip(b.Notes), fmt.Sprintf("The name %s was that of repository %s, which is called %s now: secrets that are given to the name are not given to this repository. "+
			"If they are meant for it, configure a project with repository-id: %s.", p.Repo.Name, took.ID, took.Name, p.Repo.ID))
	}
	b, err = tx.Submit(p, b)
	if err != nil {
		return b, err
	}
	_, notices, err := tx.OfCommit(p.Repo, b.Trigger.Commit)
	if err != nil {
		return b, err
	}
	for _, n := range notices {
		if n.Check == b.Check {
			if err := tx.Withdraw(n); err != nil {
				return b, err
			}
		}
	}
	return b, i.supersede(tx, p, r, &b)
}

// Why a build is stopped whose ref has moved on, for people.
const (
	ofNewer    = ", which is of a newer commit" // behind the build that is
	ofDeletion = "the deletion of "             // before the ref
)

// outdated reports whether a build was stopped because its ref had moved on.
func outdated(b *store.Build) bool {
	return b.Stop != nil && (strings.HasSuffix(b.Stop.By, ofNewer) || strings.HasPrefix(b.Stop.By, ofDeletion))
}

func (i *Intake) supersede(tx *store.Tx, p store.Project, r *Rules, b *store.Build) error {
	if r.Supersede == SupersedeOff || b.Trigger.Late { // which of them is newer is not known for sure
		return nil
	}
	var others []store.Build
	if b.Trigger.PullRequest > 0 {
		list, err := tx.OpenBuilds(p.Repo, store.PullLine(b.Trigger.PullRequest))
		if err != nil {
			return err
		}
		others = list
	}
	if !b.Trigger.Fork && r.ofBranch(b, p) {
		list, err := tx.OpenBuilds(p.Repo, b.Trigger.HeadRef)
		if err != nil {
			return err
		}
		others = append(others, list...)
	}
	by := func(newer *store.Build) string {
		return fmt.Sprintf("build %d%s", newer.Number, ofNewer)
	}
	for _, other := range others {
		if !r.supersedes(b, &other, p) || other.Stop != nil {
			continue
		}
		older, newer := &other, b
		if later(&other, b) {
			older, newer = b, &other
		}
		open, err := tx.OpenAt(p.Repo, older.Trigger.Commit)
		if err != nil {
			return err
		}
		// What moved on is not known to have, before its own event comes.
		if slices.ContainsFunc(open, func(o store.Pull) bool {
			return o.Number != b.Trigger.PullRequest && (o.Fork || b.Trigger.Fork || o.HeadRef != b.Trigger.HeadRef)
		}) {
			continue // another pull request has this commit, and the build stands for it too
		}
		if _, err := tx.RequestStop(older.ID, by(newer)); errors.Is(err, store.ErrDone) {
			continue // it is of both lines
		} else if err != nil {
			return err
		}
		if older == b {
			return nil
		}
	}
	return nil
}
