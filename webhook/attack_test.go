package webhook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// TestApprovalsOfOneCommit has two pull requests of one commit, to two branches: an approval is of one of them, builds that one, and
// taking it back stops what it allowed.
func TestApprovalsOfOneCommit(t *testing.T) {
	d := strange(t)
	second := pulled(13, hash('a'), eve, fork)
	second.BaseRef = "refs/heads/release"
	d.pull(second, store.EventPullRequestCreated)
	if n := d.notices(); len(n) != 2 || len(d.builds()) != 0 {
		t.Fatalf("%d builds, %+v", len(d.builds()), n)
	}
	on13 := func(body string) {
		t.Helper()
		d.clock.advance(time.Second)
		e := comment(body, alice)
		e.Comment.ID, e.Comment.PullRequest, e.Comment.Created = int64(100+d.n), 13, d.clock.Now()
		d.deliver(e)
	}
	on13("/approve " + hash('a'))
	b := d.builds()
	if len(b) != 1 || b[0].Trigger.PullRequest != 13 || b[0].Trigger.BaseRef != "refs/heads/release" || b[0].Trigger.Approval.PullRequest != 13 {
		t.Fatalf("%+v", b)
	}
	// The other waits still: it is built when it is approved itself.
	if _, reply := d.says(alice, "/status"); reply != "`octo-shop` waits for the approval of commit aaaaaaaaaaaa." {
		t.Errorf("%q", reply)
	}
	if _, reply := d.says(alice, "/rerun all"); !strings.HasPrefix(reply, "Pull request 12 waits for approval") || len(d.builds()) != 1 {
		t.Errorf("%q", reply)
	}
	on13("/revoke")
	if b := d.builds()[0]; b.Status != store.Stopped {
		t.Errorf("%+v", b)
	}
	d.says(alice, "/approve "+hash('a'))
	if b := d.builds(); len(b) != 2 || b[1].Trigger.PullRequest != 12 || b[1].Trigger.BaseRef != "refs/heads/main" {
		t.Errorf("%+v", b)
	}
}

// TestOneRerunForManyChecks presses "Re-run failed checks": the forge tells of the check of the build and of those of its phases, each
// by itself, and one build comes of it.
func TestOneRerunForManyChecks(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	first := d.builds()[0]
	d.end(first.ID, store.Failed)
	press := func(id string) store.Delivery {
		return d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: id, Summary: fmt.Sprint(d.n)})
	}
	press(first.ID)
	if got := press(first.ID); got.Reason != "build 2 of octo-shop repeats it already" || len(got.Builds) != 1 || len(d.builds()) != 2 {
		t.Errorf("%+v, %d builds", got, len(d.builds()))
	}
	// When that is over, it is repeated once more.
	d.end(d.builds()[1].ID, store.Failed)
	if press(first.ID); len(d.builds()) != 3 {
		t.Errorf("%d builds", len(d.builds()))
	}

	d.deliver(push("refs/heads/x", hash('b'), "x [skip ci]"))
	n := d.notices()[0]
	press(n.ID)
	if got := press(n.ID); got.Reason != "build 4 of octo-shop is under way" || len(d.builds()) != 4 {
		t.Errorf("%+v, %d builds", got, len(d.builds()))
	}
}
