package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// TestFoundPullRequests decides on pull requests that are new, other, or no longer open, of which no delivery told.
func TestFoundPullRequests(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	change := func(fn func(*store.PullRequest)) store.PullRequest {
		pr := pulled(12, hash('a'), alice, repo.ID)
		pr.Updated = at.Add(time.Hour)
		fn(&pr)
		return pr
	}
	for name, tt := range map[string]struct {
		now     []store.PullRequest
		part    bool
		later   *store.PullRequest // as the forge has it when asked
		drafts  bool
		summary string
		reason  string
		builds  string
		event   string
	}{
		"the same":    {now: []store.PullRequest{change(func(pr *store.PullRequest) { pr.Title = "other" })}, builds: "[]"},
		"a new one":   {now: []store.PullRequest{pulled(12, hash('a'), alice, repo.ID), pulled(13, hash('b'), alice, repo.ID)}, summary: "pull request 13 created, found by looking", builds: "[b]", event: store.EventPullRequestCreated},
		"a new head":  {now: []store.PullRequest{change(func(pr *store.PullRequest) { pr.Head = hash('b') })}, summary: "pull request 12 updated, found by looking", builds: "[b]", event: store.EventPullRequestUpdated},
		"a new base":  {now: []store.PullRequest{change(func(pr *store.PullRequest) { pr.BaseRef = "refs/heads/next" })}, summary: "pull request 12 updated, found by looking", builds: "[a]", event: store.EventPullRequestUpdated},
		"a draft now": {now: []store.PullRequest{change(func(pr *store.PullRequest) { pr.Draft = true })}, drafts: true, summary: "pull request 12 updated, found by looking", reason: "Pull request 12 is a draft.", builds: "[]"},
		"a fork's": {now: []store.PullRequest{change(func(pr *store.PullRequest) { pr.Number, pr.HeadRepo = 13, fork }), change(func(*store.PullRequest) {})},
			summary: "pull request 13 created, found by looking", reason: "Pull request 13 was not built: it comes from another repository. This pull request changes buildspec.yml, which says what the build does.", builds: "[]"},
		"of a repository that is gone": {now: []store.PullRequest{change(func(pr *store.PullRequest) { pr.Head, pr.HeadRepo = "", "" })}, summary: "pull request 12 updated, found by looking",
			reason: "pull request 12 has no valid head or base", builds: "[]"},
		"not among those that were asked for": {part: true, builds: "[]"},
		"merged": {later: new(change(func(pr *store.PullRequest) { pr.Open, pr.Merged = false, hash('m') })), summary: "pull request 12 merged, found by looking",
			reason: "pull request 12 was merged; builds stopped: 0", builds: "[]"},
		"merged, and its branch is gone": {later: new(change(func(pr *store.PullRequest) { pr.Open, pr.Merged, pr.Head = false, hash('m'), "" })), summary: "pull request 12 merged, found by looking",
			reason: "pull request 12 was merged; builds stopped: 0", builds: "[]"},
		"closed": {later: new(change(func(pr *store.PullRequest) { pr.Open = false })), summary: "pull request 12 closed, found by looking",
			reason: "pull request 12 was closed; builds stopped: 0", builds: "[]"},
		"opened again just now": {later: new(change(func(*store.PullRequest) {})), builds: "[]"},
		"gone":                  {summary: "pull request 12 closed, found by looking", reason: "pull request 12 was closed; builds stopped: 0", builds: "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, s := newShowing(t)
			d.intake.Rules.NoDrafts = tt.drafts
			d.forge.blobs = map[string]string{hash('a'): "other"}
			s.at(Standing{Pulls: []store.PullRequest{pulled(12, hash('a'), alice, repo.ID)}})
			d.look()
			delete(d.forge.pulls, 12)
			s.at(Standing{Pulls: tt.now, Part: tt.part})
			if tt.later != nil {
				d.forge.pulls[12] = *tt.later
			}
			list := d.found()
			if len(list) > 1 || (len(list) == 0) != (tt.summary == "") || fmt.Sprint(d.commits()) != tt.builds {
				t.Fatalf("%+v, builds %v", list, d.commits())
			}
			for _, got := range list {
				if got.Event != "found:pull_request" || got.Summary != tt.summary || !strings.HasPrefix(tt.reason, got.Reason) || (got.Reason == "") != (tt.reason == "") {
					t.Errorf("%+v", got)
				}
			}
			for _, b := range d.builds() {
				if b.Trigger.Event != tt.event || b.Trigger.Actor != (store.Account{}) || !b.Trigger.At.Equal(d.forge.pulls[b.Trigger.PullRequest].Updated) {
					t.Errorf("%+v", b.Trigger)
				}
			}
			if list := d.found(); len(list) != 0 {
				t.Errorf("found again: %+v", list)
			}
		})
	}
}

// TestUnreadPull has a stranger's pull request whose commit cannot be read: it is open, and what ended beside it is found all the same.
func TestUnreadPull(t *testing.T) {
	d, s := newShowing(t)
	s.at(Standing{Refs: map[string]string{topic: hash('a')}, Pulls: []store.PullRequest{pulled(12, hash('a'), alice, repo.ID), pulled(13, hash('b'), eve, fork)}})
	d.look()
	s.at(Standing{Unread: []int{13}})
	delete(d.forge.pulls, 12)
	delete(d.forge.pulls, 13)
	var events []string
	for _, found := range d.found() {
		events = append(events, found.Summary)
	}
	if got := strings.Join(events, "; "); got != "deletion of branch topic, found by looking; pull request 12 closed, found by looking" {
		t.Error(got)
	}
}

// A curt forge is looked at and shortens the hashes of its deliveries, of which it gives none in full.
type curt struct{ *showing }

func (curt) Complete(context.Context, store.Repo, *store.PullRequest) error { return store.ErrNotFound }

// TestFoundAfterGone has a pull request whose commit was said to be gone when it was delivered, by a part of the forge that did not know it
// yet: it is found and built, and its end stops the build, though its commit is said to be gone again.
func TestFoundAfterGone(t *testing.T) {
	d, s := newShowing(t)
	d.use(curt{s})
	d.look()
	short := pulled(12, hash('a')[:12], alice, repo.ID)
	short.Base = hash('1')[:12]
	if got := d.deliver(pullEvent(short)); !strings.HasPrefix(got.Reason, "the newest commit of pull request 12 is gone") || len(d.builds()) != 0 {
		t.Errorf("%+v", got)
	}
	s.at(Standing{Pulls: []store.PullRequest{pulled(12, hash('a'), alice, repo.ID)}})
	if list := d.found(); len(list) != 1 || fmt.Sprint(d.commits()) != "[a]" {
		t.Errorf("%+v, builds %v", list, d.commits())
	}
	short.Open, short.Merged = false, hash('m')[:12]
	e := pullEvent(short)
	e.Event = store.EventPullRequestMerged
	if got := d.deliver(e); !strings.HasPrefix(got.Reason, "pull request 12 was merged; builds stopped: 1") || got.Pending() {
		t.Errorf("%+v", got)
	}
	s.at(Standing{})
	if list := d.found(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestFoundReopened builds a pull request again whose builds its end stopped, and nothing that somebody stopped.
func TestFoundReopened(t *testing.T) {
	d, s := newShowing(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	d.look()
	step := func(standing Standing, want string) {
		t.Helper()
		s.at(standing)
		if list := d.found(); len(list) > 1 || fmt.Sprint(d.commits()) != want {
			t.Errorf("%+v, builds %v, want %s", list, d.commits(), want)
		}
	}
	step(Standing{Pulls: []store.PullRequest{pr}}, "[a]")
	pr.Open = false
	d.forge.pulls[12] = pr
	step(Standing{}, "[a]")
	if b := d.builds()[0]; b.Status != store.Stopped {
		t.Errorf("%+v", b)
	}
	pr.Open = true
	step(Standing{Pulls: []store.PullRequest{pr}}, "[a a]")
	d.says(alice, "/cancel")
	pr.Draft = true
	s.at(Standing{Pulls: []store.PullRequest{pr}})
	if list := d.found(); len(list) != 1 || list[0].Reason != "Commit aaaaaaaaaaaa was built before, by number 1, which was stopped." || len(d.builds()) != 2 {
		t.Errorf("%+v, builds %v", list, d.commits())
	}
}

// complete is a forge that shortens hashes in deliveries, and shows full ones.
type complete struct{ *showing }

func (c complete) Complete(context.Context, store.Repo, *store.PullRequest) error {
	return c.ask("complete")
}

// TestFoundHashesAreFull asks for no hash of what was found.
func TestFoundHashesAreFull(t *testing.T) {
	d, s := newShowing(t)
	d.use(complete{s})
	d.look()
	s.at(Standing{Pulls: []store.PullRequest{pulled(12, hash('a'), alice, repo.ID)}})
	if list := d.found(); len(list) != 1 || len(d.builds()) != 1 || slices.Contains(d.forge.asked, "complete") {
		t.Errorf("%+v, asked %q", list, d.forge.asked)
	}
}

// TestFoundForkIsGone finds the end of a pull request once whose repository is gone.
func TestFoundForkIsGone(t *testing.T) {
	d, s := newShowing(t)
	pr := pulled(12, hash('a'), eve, fork)
	s.at(Standing{Pulls: []store.PullRequest{pr}})
	d.look()
	pr.Head, pr.HeadRepo = "", ""
	s.at(Standing{Pulls: []store.PullRequest{pr}})
	if list := d.found(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
	pr.Open = false
	d.forge.pulls[12] = pr
	s.at(Standing{})
	for n := range 2 {
		if list := d.found(); len(list) != 1-n {
			t.Errorf("%+v", list)
		}
	}
}
