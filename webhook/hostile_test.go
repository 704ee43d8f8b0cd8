package webhook

import (
	"errors"
	"fmt"
	"slices"
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

// TestTheCoveringBuildIsStopped stops the build that stands for a stranger's pull request between the look-up and the decision: the
// commit is not built without an approval of its own.
func TestTheCoveringBuildIsStopped(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/x", hash('a'), ""))
	e := pullEvent(pulled(12, hash('a'), eve, fork))
	d.forge.pulls[12] = e.PullRequest
	decision, err := d.intake.prepare(t.Context(), &pending{event: e})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.store.Update(func(tx *store.Tx) error { _, err := tx.RequestStop(d.builds()[0].ID, "alice"); return err }); err != nil {
		t.Fatal(err)
	}
	if err := d.store.Update(func(tx *store.Tx) error { _, err := decision(tx); return err }); !errors.Is(err, errUncovered) || len(d.builds()) != 1 {
		t.Errorf("%v, %d builds", err, len(d.builds()))
	}
	if d.pull(e.PullRequest, store.EventPullRequestCreated); len(d.builds()) != 1 || d.notices()[0].Conclusion != store.ActionRequired {
		t.Errorf("%d builds, %+v", len(d.builds()), d.notices())
	}
}

// TestClosingComesLate delivers that a pull request was closed after it was opened again, and closes one whose commit another one has.
func TestClosingComesLate(t *testing.T) {
	at := time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC)
	send := func(d *desk, number int, event string, open bool, at time.Time) store.Delivery {
		pr := pulled(number, hash('a'), alice, repo.ID)
		pr.Open, pr.Updated = open, at
		d.forge.pulls[number] = pr
		e := pullEvent(pr)
		e.Event, e.At, e.Summary = event, at, fmt.Sprint(d.n)
		return d.deliver(e)
	}
	d := newDesk(t)
	send(d, 12, store.EventPullRequestReopen, true, at.Add(time.Second))
	if got := send(d, 12, store.EventPullRequestClosed, false, at); got.Reason != "pull request 12 was closed, and has been opened again since" || d.builds()[0].Done() {
		t.Errorf("%+v", got)
	}
	if got := send(d, 12, store.EventPullRequestClosed, false, at.Add(2*time.Second)); got.Reason != "pull request 12 was closed; builds stopped: 1" {
		t.Errorf("%+v", got)
	}

	d = newDesk(t)
	send(d, 12, store.EventPullRequestCreated, true, at)
	send(d, 13, store.EventPullRequestCreated, true, at)
	if got := send(d, 12, store.EventPullRequestClosed, false, at.Add(time.Second)); len(d.builds()) != 1 || d.builds()[0].Done() {
		t.Errorf("%+v", got)
	}
	if got := send(d, 13, store.EventPullRequestClosed, false, at.Add(time.Second)); got.Reason != "pull request 13 was closed; builds stopped: 1" || !d.builds()[0].Done() {
		t.Errorf("%+v", got)
	}
}

// TestWhatIsNotSuperseded has builds of one commit, and pushes of one second that come in the wrong order.
func TestWhatIsNotSuperseded(t *testing.T) {
	stopped := func(d *desk) (numbers []int) {
		for _, b := range d.builds() {
			if b.Stop != nil {
				numbers = append(numbers, b.Number)
			}
		}
		return numbers
	}
	d := newDesk(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	d.pull(pr, store.EventPullRequestCreated)
	pr.Number, pr.BaseRef = 13, "refs/heads/release"
	d.pull(pr, store.EventPullRequestCreated)
	if got := stopped(d); got != nil || len(d.builds()) != 2 {
		t.Errorf("one branch to two others: stopped %v of %d", got, len(d.builds()))
	}

	d = newDesk(t)
	other := pulled(12, hash('a'), alice, repo.ID)
	d.pull(other, store.EventPullRequestCreated)
	other.Number, other.HeadRef = 13, "refs/heads/same"
	d.pull(other, store.EventPullRequestCreated)
	d.pull(pulled(12, hash('b'), alice, repo.ID), store.EventPullRequestUpdated)
	if got := stopped(d); got != nil || len(d.builds()) != 2 {
		t.Errorf("a commit of two pull requests: stopped %v of %d", got, len(d.builds()))
	}

	// The push of a branch comes before the event of its pull request.
	d = newDesk(t)
	d.deliver(push("refs/heads/feature", hash('a'), ""))
	d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
	d.deliver(push("refs/heads/feature", hash('b'), ""))
	if got := stopped(d); !slices.Equal(got, []int{1}) {
		t.Errorf("a push before its pull request's event: stopped %v", got)
	}

	d = newDesk(t)
	at := time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC)
	first, second := push("refs/heads/x", hash('a'), ""), push("refs/heads/x", hash('b'), "")
	first.At, second.At, second.Push.Before = at, at, hash('a')
	d.deliver(second)
	d.deliver(first)
	if got := stopped(d); !slices.Equal(got, []int{2}) {
		t.Errorf("two pushes of one second: stopped %v", got)
	}
}

// TestClosedWithoutApproval closes a pull request where each needs an approval.
func TestClosedWithoutApproval(t *testing.T) {
	for _, approved := range []bool{false, true} {
		d := newDesk(t, Project{Name: "app", Rules: Rules{Approval: ApprovalAll}, Filters: filters(t, group("EVENT", "PULL_REQUEST_CREATED, PULL_REQUEST_CLOSED"))})
		d.forge.permissions["root"] = store.PermissionAdmin
		pr := pulled(12, hash('a'), alice, repo.ID)
		d.pull(pr, store.EventPullRequestCreated)
		want := 0
		if approved {
			d.says(admin, "/approve "+hash('a'))
			want = 2
		}
		pr.Open = false
		got := d.pull(pr, store.EventPullRequestClosed)
		if len(d.builds()) != want {
			t.Errorf("approved %v: %+v, %d builds", approved, got, len(d.builds()))
		}
	}
}

// TestApprovedStrangersHaveNoSecrets has the pull request of somebody who may not write come from the repository itself, such as a
// bot's: approved, asked for by a comment, or started by its number, it is built as a fork's. That of somebody who may is not, where
// each waits.
func TestApprovedStrangersHaveNoSecrets(t *testing.T) {
	d := newDesk(t)
	d.forge.permissions["root"] = store.PermissionAdmin
	d.pull(pulled(12, hash('a'), eve, repo.ID), store.EventPullRequestCreated)
	d.says(alice, "/approve "+hash('a'))
	d.says(alice, "/test")
	d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: "pr/12", By: "admin"})
	for _, b := range d.builds() {
		if !b.Trigger.Fork {
			t.Errorf("build %d has secrets: %+v", b.Number, b.Trigger)
		}
	}
	if b := d.builds(); len(b) != 3 || b[0].Notes[0] != "Commit aaaaaaaaaaaa was approved by alice. It has no secrets and writes no cache." {
		t.Errorf("%d builds, %q", len(b), b[0].Notes)
	}

	d = newDesk(t)
	d.intake.Rules.Approval = ApprovalAll
	d.forge.permissions["root"] = store.PermissionAdmin
	d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
	d.says(admin, "/approve "+hash('a'))
	if b := d.builds(); len(b) != 1 || b[0].Trigger.Fork || b[0].Notes[0] != "Commit aaaaaaaaaaaa was approved by root." {
		t.Errorf("%+v", b)
	}
}

// TestRepliesAreFew has somebody who may read ask again and again.
func TestRepliesAreFew(t *testing.T) {
	d := opened(t)
	for range 7 {
		d.says(eve, "/status")
	}
	got, reply := d.says(eve, "/help")
	if n := len(d.replies()); n != maxReplies || reply != "" || got.Reason != "eve has got 5 replies within an hour." {
		t.Errorf("%d replies, %+v", n, got)
	}
	if _, reply := d.says(alice, "/status"); reply == "" {
		t.Error("whoever may write gets no reply")
	}
	d.clock.advance(refusalEvery)
	if _, reply := d.says(eve, "/status"); reply == "" {
		t.Error("no reply after an hour")
	}
}
