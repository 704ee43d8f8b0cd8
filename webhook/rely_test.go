package webhook

import (
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
)

// answered are the checks that a commit has, each with what became of it: "built", or why it was not.
func (d *desk) answered(commit string) (list []string) {
	d.t.Helper()
	for _, b := range d.builds() {
		if b.Trigger.Commit == commit {
			list = append(list, b.Check+": built")
		}
	}
	for _, n := range d.notices() {
		if n.Trigger.Commit != commit {
			continue
		}
		if n.Title == "" || n.Reason == "" {
			d.t.Errorf("the check %s gives no reason: %+v", n.Check, n)
		}
		list = append(list, n.Check+": "+n.Conclusion)
	}
	slices.Sort(list)
	return list
}

// TestRelyRequiredCheckNeverWaits has commits that are not built for every reason there is: each of the checks that branch protection may
// ask for is answered all the same.
func TestRelyRequiredCheckNeverWaits(t *testing.T) {
	const built, skipped, waits = ": built", ": " + store.SkippedNotice, ": " + store.ActionRequired
	onMain := func() []Project {
		return []Project{{Name: "app", Filters: filters(t, group("EVENT", "PUSH", "HEAD_REF", "^refs/heads/main$"))}}
	}
	for name, tt := range map[string]struct {
		projects []Project
		act      func(d *desk)
		want     []string
	}{
		"the filters of a push": {onMain(), func(d *desk) { d.deliver(push("refs/heads/topic", hash('a'), "")) }, []string{"buildsmith" + skipped}},
		"the filters of a pull request": {onMain(), func(d *desk) { d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated) },
			[]string{"buildsmith" + skipped}},
		"the filters of a merge queue": {onMain(), func(d *desk) { d.deliver(mergeQueue(hash('a'))) }, []string{"buildsmith" + skipped}},
		"a skip token":                 {nil, func(d *desk) { d.deliver(push("refs/heads/main", hash('a'), "docs [skip ci]")) }, []string{"buildsmith" + skipped}},
		"a draft": {nil, func(d *desk) {
			d.intake.Rules.NoDrafts = true
			pr := pulled(12, hash('a'), alice, repo.ID)
			pr.Draft = true
			d.pull(pr, store.EventPullRequestCreated)
		}, []string{"buildsmith" + skipped}},
		"a stranger": {nil, func(d *desk) { d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestCreated) }, []string{"buildsmith" + waits}},
		"a stranger, and several projects": {[]Project{{Name: "app"}, {Name: "docs", Filters: filters(t, group("EVENT", "PUSH"))}},
			func(d *desk) { d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestCreated) },
			[]string{"buildsmith (app)" + waits, "buildsmith (docs)" + skipped}},
		"one of several projects": {append(onMain(), Project{Name: "docs"}), func(d *desk) { d.deliver(push("refs/heads/topic", hash('a'), "")) },
			[]string{"buildsmith (app)" + skipped, "buildsmith (docs)" + built}},
		"no buildspec any more": {nil, func(d *desk) {
			d.deliver(push("refs/heads/main", hash('b'), ""))
			d.forge.noSpec[hash('a')] = true
			d.deliver(push("refs/heads/main", hash('a'), ""))
		}, []string{"buildsmith" + skipped}},
		"a project that is no more": {[]Project{{Name: "app"}, {Name: "docs"}}, func(d *desk) {
			d.deliver(push("refs/heads/main", hash('b'), ""))
			d.intake.Projects = func(store.Repo) []Project { return []Project{{Name: "app"}, {Name: "site"}} }
			d.deliver(push("refs/heads/main", hash('a'), ""))
		}, []string{"buildsmith (app)" + built, "buildsmith (docs)" + skipped, "buildsmith (site)" + built}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, tt.projects...)
			tt.act(d)
			if got := d.answered(hash('a')); !slices.Equal(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestRelyMergeQueueIsAnswered has a merge queue wait for the checks that the pull request has: they are all there, whatever the
// filters say, and what was for a group that is gone takes no slot.
func TestRelyMergeQueueIsAnswered(t *testing.T) {
	for name, projects := range map[string][]Project{
		"the repository itself": nil,
		"projects":              {{Name: "app"}, {Name: "docs"}},
		"filters that pass none": {{Name: "app", Filters: filters(t, group("EVENT", "PULL_REQUEST_CREATED"))},
			{Name: "docs", Filters: filters(t, group("EVENT", "PUSH", "HEAD_REF", "^refs/heads/docs$"))}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, projects...)
			d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
			d.deliver(mergeQueue(hash('b')))
			checks := func(commit string) (list []string) {
				for _, c := range d.answered(commit) {
					check, _, _ := strings.Cut(c, ": ")
					list = append(list, check)
				}
				return list
			}
			if want := checks(hash('a')); len(want) == 0 || !slices.Equal(checks(hash('b')), want) {
				t.Errorf("the pull request has the checks %q, the merge queue %q", want, checks(hash('b')))
			}
			gone := mergeQueue(hash('b'))
			gone.Kind, gone.Reason = MergeGroupGone, "dequeued"
			d.deliver(gone)
			for _, b := range d.builds() {
				if b.Trigger.MergeGroup && b.Status != store.Stopped {
					t.Errorf("build %d of the group that is gone is %s", b.Number, b.Status)
				}
			}
		})
	}
}

// TestRelyRerunRepeatsWhatFailed has one of two projects end in each way there is: what was not the author's success is repeated, the
// other is not, and if there is nothing to repeat, that is said.
func TestRelyRerunRepeatsWhatFailed(t *testing.T) {
	for status, again := range map[store.Status]bool{
		store.Failed: true, store.TimedOut: true, store.Fault: true, store.Stopped: true, store.Succeeded: false,
	} {
		t.Run(string(status), func(t *testing.T) {
			d := opened(t, Project{Name: "unit"}, Project{Name: "deploy"})
			d.end(d.builds()[0].ID, status)
			d.end(d.builds()[1].ID, store.Succeeded)
			_, reply := d.says(alice, "/retest")
			var repeated []string
			for _, b := range d.builds()[2:] {
				repeated = append(repeated, b.Project+" of "+b.RerunOf)
			}
			if want := "unit of " + d.builds()[0].ID; again && (reply != "" || !slices.Equal(repeated, []string{want})) {
				t.Errorf("repeated %q and said %q, want %q", repeated, reply, want)
			}
			if want := "There is nothing to re-run. `/buildsmith test` builds the newest commit once more."; !again && (reply != want || len(repeated) > 0) {
				t.Errorf("repeated %q and said %q, want %q", repeated, reply, want)
			}
		})
	}
}

// TestRelyApprovalModesArePerProject has one project that holds nothing, and one that holds everything, of one pull request.
func TestRelyApprovalModesArePerProject(t *testing.T) {
	for name, pr := range map[string]store.PullRequest{"a writer's": pulled(12, hash('a'), alice, repo.ID), "a stranger's": pulled(12, hash('a'), eve, fork)} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, Project{Name: "unit", Rules: Rules{Approval: ApprovalDisabled}}, Project{Name: "deploy", Rules: Rules{Approval: ApprovalAll}})
			d.pull(pr, store.EventPullRequestCreated)
			want := []string{"buildsmith (deploy): " + store.ActionRequired, "buildsmith (unit): built"}
			if got := d.answered(hash('a')); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// TestRelyClosingApprovesNothing has a stranger close a pull request, which waits for approval, before and after asking for more: nothing
// of it is built, whatever the project's filters take.
func TestRelyClosingApprovesNothing(t *testing.T) {
	for name, project := range map[string][]Project{
		"without filters": nil,
		"with filters":    {{Name: "app", Filters: filters(t, group("EVENT", "PULL_REQUEST_CREATED, PULL_REQUEST_REOPENED, PULL_REQUEST_CLOSED, PULL_REQUEST_MERGED"))}},
	} {
		t.Run(name, func(t *testing.T) {
			d := strange(t, project...)
			pr := d.forge.pulls[12]
			pr.Open = false
			d.pull(pr, store.EventPullRequestClosed)
			d.says(eve, "/test")
			d.says(alice, "/approve "+hash('a')) // of what is closed
			pr.Open = true
			d.pull(pr, store.EventPullRequestReopen)
			if b := d.builds(); len(b) != 0 {
				t.Errorf("%+v", b)
			}
		})
	}
}
