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

// TestHashesThatBeginAlike has a stranger push a second commit whose hash begins as that of the first does, which a reviewer has looked
// at: a short hash names neither.
func TestHashesThatBeginAlike(t *testing.T) {
	d := newDesk(t)
	seen, evil := "abcdef1"+strings.Repeat("0", 33), "abcdef1"+strings.Repeat("f", 33)
	d.pull(pulled(12, seen, eve, fork), store.EventPullRequestCreated)
	d.pull(pulled(12, evil, eve, fork), store.EventPullRequestUpdated)
	if _, reply := d.says(alice, "/approve abcdef1"); len(d.builds()) != 0 || reply != "More than one commit's hash begins with abcdef1. Name the whole of the one that you looked at; the newest of this pull request is "+evil+"." {
		t.Errorf("%q, %d builds", reply, len(d.builds()))
	}
	d.clock.advance(refusalEvery)
	if _, reply := d.says(alice, "/approve "+seen); len(d.builds()) != 0 || !strings.HasPrefix(reply, "Commit abcdef100000 is not the newest") {
		t.Errorf("%q, %d builds", reply, len(d.builds()))
	}
	if d.says(alice, "/approve "+evil); len(d.builds()) != 1 {
		t.Errorf("%d builds", len(d.builds()))
	}
}

// TestRerunIsOfThePullRequest has the head of a pull request be a commit that a tag and a branch were built for, too: its comments repeat
// its own builds.
func TestRerunIsOfThePullRequest(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	d.deliver(push("refs/tags/v1", hash('a'), ""))
	main, tag := d.builds()[0], d.builds()[1]
	d.end(main.ID, store.Failed)
	d.end(tag.ID, store.Failed)
	pr := pulled(12, hash('a'), eve, fork)
	pr.BaseRef = "refs/heads/old"
	d.pull(pr, store.EventPullRequestCreated) // the branch's build stands for it
	d.says(alice, "/approve "+hash('a'))
	if _, reply := d.says(eve, "/rerun all"); len(d.builds()) != 2 || !strings.HasPrefix(reply, "`octo-shop` has no build of commit aaaaaaaaaaaa") {
		t.Fatalf("%q %d builds", reply, len(d.builds()))
	}
	d.says(alice, "/rerun")
	if b := d.builds(); len(b) != 3 || b[2].RerunOf != main.ID {
		t.Errorf("%+v", b)
	}
}

// TestVariablesByTheNameOfTheStore names a project as the store does, and sets a variable that it does not declare.
func TestVariablesByTheNameOfTheStore(t *testing.T) {
	project := Project{Name: "unit"}
	d := newDesk(t, project)
	other := repo
	other.ID, other.Name = "8", "octo/other"
	if err := d.store.Update(func(tx *store.Tx) error { _, err := tx.Project(other, "unit"); return err }); err != nil {
		t.Fatal(err) // the name is taken
	}
	d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
	name := d.builds()[0].Project
	if name == "unit" {
		t.Fatal("the project has the name of another one")
	}
	if _, reply := d.says(alice, "/test "+name+" LD_PRELOAD=x"); len(d.builds()) != 1 || reply != "`LD_PRELOAD` cannot be set by a comment: the project declares no variable as overridable." {
		t.Errorf("%q, %d builds", reply, len(d.builds()))
	}
}
