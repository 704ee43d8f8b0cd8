package checks

import (
	"cmp"
	"fmt"

	"buildsmith/store"
)

// deployment is the deployment that a build is, if it is one: a build that has begun, of the branch that its project's environment
// names. What comes from elsewhere deploys nothing.
func deployment(b *store.Build, o Options) (Report, bool) {
	e, t := b.Settings.Environment, &b.Trigger
	if e == nil || e.Name == "" || b.Claimed.IsZero() || t.Fork || t.PullRequest != 0 || t.MergeGroup {
		return Report{}, false
	}
	branch := cmp.Or(e.Branch, b.Repo.DefaultBranch)
	if branch == "" || t.HeadRef != "refs/heads/"+branch {
		return Report{}, false
	}
	r := Report{Kind: KindDeployment, Name: e.Name, ExternalID: b.ID, Commit: t.Commit, Ref: t.HeadRef, URL: o.URL(b.ID, b.Repo), Environment: e, Started: b.Claimed,
		Status: InProgress, Title: fmt.Sprintf("Build #%d of %s", b.Number, b.Project)}
	if b.Done() {
		_, r.Conclusion = buildState(b)
		if b.Status == store.Fault || b.Status == store.Stopped {
			r.Conclusion = Errored
		}
		r.Status, r.Completed = Completed, b.Ended
		r.Title += ": " + title(b)
	}
	return r, true
}
