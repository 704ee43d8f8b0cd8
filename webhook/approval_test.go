package webhook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// strange gives a desk with a stranger's pull request that waits. Beside alice, who writes, there are eve, its author, who reads,
// root, an admin, and others by the names of their roles.
func strange(t *testing.T, projects ...Project) *desk {
	t.Helper()
	d := newDesk(t, projects...)
	for _, role := range []store.Permission{store.PermissionTriage, store.PermissionMaintain} {
		d.forge.permissions[roleWord(role)] = role
	}
	d.forge.permissions["root"] = store.PermissionAdmin
	d.forge.permissions["mallory"] = store.PermissionNone
	d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestCreated)
	if n := d.notices(); len(n) == 0 || n[0].Conclusion != store.ActionRequired || len(d.builds()) != 0 {
		t.Fatalf("%+v", n)
	}
	return d
}

func (d *desk) says(by store.Account, body string) (store.Delivery, string) {
	d.t.Helper()
	d.clock.advance(time.Second)
	before := len(d.replies())
	e := comment(body, by)
	e.Comment.ID = int64(100 + d.n)
	e.Comment.Created = d.clock.Now()
	got := d.deliver(e)
	replies := d.replies()
	if len(replies) == before {
		return got, ""
	}
	return got, replies[len(replies)-1].Body
}

func TestApprove(t *testing.T) {
	who := func(login string) store.Account { return store.Account{ID: "of " + login, Login: login} }
	line := "`/buildsmith approve " + hash('a') + "`"
	for _, tt := range []struct {
		name  string
		by    store.Account
		body  string
		rules Rules
		reply string // empty: it is approved
	}{
		{"a writer", alice, "/approve " + hash('a'), Rules{}, ""},
		{"ok-to-test", alice, "/ok-to-test aaaaaaa", Rules{}, ""},
		{"CodeBuild's word", alice, "/codebuild_run(" + hash('a') + ")", Rules{}, ""},
		{"capitals", alice, "/approve AAAAAAA", Rules{}, ""},
		{"a maintainer", who("maintain"), "/approve aaaaaaa", Rules{}, ""},
		{"an admin", admin, "/approve aaaaaaa", Rules{}, ""},
		{"triage", who("triage"), "/approve aaaaaaa", Rules{}, "`approve` needs write, maintain or admin access to this repository; `triage` has triage access."},
		{"the author", eve, "/approve aaaaaaa", Rules{Approvers: []store.Permission{store.PermissionRead}}, "`eve` is the author of the pull request, whose commits somebody else has to approve."},
		{"nobody", who("mallory"), "/approve aaaaaaa", Rules{}, "`approve` needs read access to this repository; `mallory` has no access."},
		{"a role that is configured", who("triage"), "/approve aaaaaaa", Rules{Approvers: []store.Permission{store.PermissionTriage}}, ""},
		{"a role that is not", alice, "/approve aaaaaaa", Rules{Approvers: []store.Permission{store.PermissionAdmin}}, "`approve` needs admin access to this repository; `alice` has write access."},
		{"another commit", alice, "/approve bbbbbbb", Rules{}, "Commit bbbbbbb is not the newest of this pull request any longer. Look at what was pushed since, and then comment: " + line},
		{"no commit", alice, "/approve", Rules{}, "An approval names the commit that was looked at. That of the newest is: " + line},
		{"no commit, allowed", alice, "/approve", Rules{AnyHash: true}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := strange(t)
			d.intake.Rules = tt.rules
			got, reply := d.says(tt.by, tt.body)
			builds := d.builds()
			if reply != tt.reply || len(builds) != map[bool]int{true: 1}[tt.reply == ""] {
				t.Fatalf("%q and %d builds, want %q\n%+v", reply, len(builds), tt.reply, got)
			}
			want := store.ReactionAccepted
			if tt.reply != "" {
				want = store.ReactionRefused
			}
			if !slices.Equal(d.forge.reactions, []store.Reaction{want}) {
				t.Errorf("reactions %v", d.forge.reactions)
			}
			if tt.reply != "" {
				return
			}
			b := builds[0]
			if b.Trigger.Commit != hash('a') || !b.Trigger.Fork || b.Trigger.Approval == nil || b.Trigger.Approval.By != tt.by || b.Check != "buildsmith" || b.Trigger.Event != store.EventPullRequestCreated {
				t.Errorf("%+v", b)
			}
			if len(b.Notes) != 1 || b.Notes[0] != "Commit aaaaaaaaaaaa was approved by "+tt.by.Login+". It has no secrets and writes no cache." {
				t.Errorf("%q", b.Notes)
			}
		})
	}
}

// TestRelyApprovalIsForOneCommit pushes after the approval, and between what was looked at and the approval.
func TestRelyApprovalIsForOneCommit(t *testing.T) {
	d := strange(t)
	d.says(alice, "/approve "+hash('a'))
	d.pull(pulled(12, hash('b'), eve, fork), store.EventPullRequestUpdated)
	if n := d.notices(); len(d.builds()) != 1 || n[len(n)-1].Trigger.Commit != hash('b') && n[0].Trigger.Commit != hash('b') {
		t.Fatalf("%d builds, %+v", len(d.builds()), n)
	}
	// The attacker pushes just before the approval: the head that the forge has now counts.
	d.forge.pulls[12] = pulled(12, hash('c'), eve, fork)
	if _, reply := d.says(alice, "/approve "+hash('b')); len(d.builds()) != 1 || !strings.HasPrefix(reply, "Commit bbbbbbbbbbbb is not the newest") {
		t.Errorf("%q, %d builds", reply, len(d.builds()))
	}
	// Without a hash, a head that was not seen before the comment was made is not approved.
	d.intake.Rules.AnyHash = true
	d.forge.pulls[12] = pulled(12, hash('d'), eve, fork)
	d.clock.advance(2 * time.Hour)
	if _, reply := d.says(alice, "/approve"); len(d.builds()) != 1 || !strings.HasPrefix(reply, "The newest commit was seen here only after your comment.") {
		t.Errorf("%q, %d builds", reply, len(d.builds()))
	}
	// An approval that comes before the event of its commit holds when that comes.
	d.says(admin, "/approve "+hash('d'))
	d.pull(pulled(12, hash('d'), eve, fork), store.EventPullRequestUpdated)
	if b := d.builds(); len(b) != 2 || b[1].Trigger.Commit != hash('d') || b[1].Trigger.Approval == nil {
		t.Errorf("%+v", b)
	}
}

// TestApprovalOfAnOlderHead has a forge that answers with how a pull request was before: that its newer head was seen long ago approves
// no other one.
func TestApprovalOfAnOlderHead(t *testing.T) {
	d := strange(t)
	d.intake.Rules.AnyHash = true
	older, newer := pulled(12, hash('b'), eve, fork), pulled(12, hash('c'), eve, fork)
	older.Updated, newer.Updated = d.store.Now(), d.store.Now().Add(time.Minute)
	d.pull(newer, store.EventPullRequestUpdated)
	d.forge.pulls[12] = older
	d.clock.advance(2 * time.Hour)
	if _, reply := d.says(alice, "/approve"); len(d.builds()) != 0 || !strings.HasPrefix(reply, "The newest commit was seen here only after your comment.") {
		t.Errorf("%q, %d builds", reply, len(d.builds()))
	}
	d.pull(older, store.EventPullRequestUpdated)
	if b := d.builds(); len(b) != 0 {
		t.Errorf("%+v", b)
	}
}

// TestApproveOnThePage lets whoever has the admin token build what waits, as what was approved; the next commit waits anew.
func TestApproveOnThePage(t *testing.T) {
	d := strange(t)
	got := d.request(store.RequestRetry, store.Request{Build: d.notices()[0].ID, By: "an administrator"})
	b := d.builds()
	if len(b) != 1 || len(got.Builds) != 1 || b[0].Trigger.Approval == nil || b[0].Trigger.Approval.By.Login != "an administrator" || b[0].AskedBy != "an administrator" {
		t.Fatalf("%+v\n%+v", got, b)
	}
	if n := b[0].Notes; len(n) == 0 || n[len(n)-1] != "Commit aaaaaaaaaaaa was approved by an administrator. It has no secrets and writes no cache." {
		t.Errorf("%q", n)
	}
	d.pull(pulled(12, hash('b'), eve, fork), store.EventPullRequestUpdated)
	if n := d.notices(); len(d.builds()) != 1 || n[len(n)-1].Conclusion != store.ActionRequired || n[len(n)-1].Trigger.Commit != hash('b') {
		t.Errorf("%+v", n)
	}
	// It can be taken back as any other.
	d.forge.pulls[12] = pulled(12, hash('b'), eve, fork)
	if _, reply := d.says(alice, "/revoke"); !strings.HasPrefix(reply, "Approvals taken back: 1;") {
		t.Error(reply)
	}
}

func TestApproveButton(t *testing.T) {
	press := func(d *desk, by store.Account, id, commit string) store.Delivery {
		d.t.Helper()
		return d.deliver(Event{Kind: Button, Repo: repo, Sender: by, ExternalID: id, Commit: commit, Action: store.ButtonApprove, Summary: fmt.Sprint(d.n)})
	}
	for name, tt := range map[string]struct {
		by     store.Account
		commit string
		change func(*desk, *store.Notice)
		reason string
	}{
		"a writer":      {alice, hash('a'), nil, "alice approved commit aaaaaaaaaaaa of pull request 12"},
		"a reader":      {store.Account{ID: "9", Login: "triage"}, hash('a'), nil, "approve needs write, maintain or admin access to this repository; triage has triage access."},
		"the author":    {eve, hash('a'), nil, "eve is the author of the pull request, whose commits somebody else has to approve."},
		"moved on":      {alice, hash('a'), func(d *desk, _ *store.Notice) { d.forge.pulls[12] = pulled(12, hash('b'), eve, fork) }, "commit aaaaaaaaaaaa is not the head of pull request 12 any longer; look at what was pushed since"},
		"another check": {alice, hash('b'), nil, "the check is of commit aaaaaaaaaaaa, not of bbbbbbbbbbbb"},
		"closed": {alice, hash('a'), func(d *desk, _ *store.Notice) {
			pr := d.forge.pulls[12]
			pr.Open = false
			d.forge.pulls[12] = pr
		}, "pull request 12 is closed"},
		"gone":    {alice, hash('a'), func(d *desk, _ *store.Notice) { delete(d.forge.pulls, 12) }, "pull request 12 is gone"},
		"unknown": {alice, hash('a'), func(_ *desk, n *store.Notice) { n.ID = "none" }, "the check does not wait for an approval, or is not known here any longer"},
	} {
		t.Run(name, func(t *testing.T) {
			d := strange(t)
			n := d.notices()[0]
			if tt.change != nil {
				tt.change(d, &n)
			}
			got := press(d, tt.by, n.ID, tt.commit)
			if got.Reason != tt.reason || len(d.builds()) != map[bool]int{true: 1}[name == "a writer"] {
				t.Errorf("%+v, %d builds", got, len(d.builds()))
			}
		})
	}
}

func TestButtons(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	first := d.builds()[0]
	d.end(first.ID, store.Failed)
	press := func(by store.Account, action string) store.Delivery {
		t.Helper()
		return d.deliver(Event{Kind: Button, Repo: repo, Sender: by, ExternalID: first.ID, Commit: hash('a'), Action: action, Summary: fmt.Sprint(d.n)})
	}
	if got := press(eve, store.ButtonRerun); got.Reason != "eve has no write access, which a re-run needs" {
		t.Errorf("%+v", got)
	}
	if got := press(alice, "deploy"); got.Reason != `there is no button "deploy"` {
		t.Errorf("%+v", got)
	}
	press(alice, store.ButtonRerun)
	press(alice, store.ButtonClean)
	b := d.builds()
	if len(b) != 3 || b[1].RerunOf != first.ID || b[1].Settings.Cache != "" || b[2].RerunOf != first.ID || b[2].Settings.Cache != store.CacheOff {
		t.Errorf("%+v", b)
	}
}

func TestRevoke(t *testing.T) {
	d := strange(t)
	if _, reply := d.says(alice, "/revoke"); reply != "No commit of this pull request is approved." {
		t.Errorf("%q", reply)
	}
	d.says(alice, "/approve "+hash('a'))
	if _, reply := d.says(eve, "/revoke"); reply != "`revoke` needs write access to this repository; `eve` has read access." {
		t.Errorf("%q", reply)
	}
	if _, reply := d.says(alice, "/revoke 7777777"); reply != "No commit of this pull request is approved whose hash begins so." {
		t.Errorf("%q", reply)
	}
	// While it is approved its author may ask for more.
	d.clock.advance(refusalEvery)
	if d.says(eve, "/test"); len(d.builds()) != 2 {
		t.Errorf("%d builds", len(d.builds()))
	}
	if _, reply := d.says(alice, "/revoke aaaaaaa"); reply != "Approvals taken back: 1; builds stopped: 2." {
		t.Errorf("%q", reply)
	}
	b := d.builds()[0]
	if b.Status != store.Stopped || b.Headline().Message != "Stopped by alice, who took the approval back." {
		t.Errorf("%+v", b)
	}
	// Its check waits again, with a button.
	if list := d.notices(); len(list) != 1 || list[0].Conclusion != store.ActionRequired || list[0].Check != "buildsmith" ||
		!strings.HasPrefix(list[0].Reason, "Pull request 12 is not built: the approval of commit aaaaaaaaaaaa was taken back. Its commands") {
		t.Errorf("%+v", list)
	}
	// Nothing starts it again: no button, no comment, no event.
	d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: b.ID})
	d.says(alice, "/test")
	d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestReopen)
	if len(d.builds()) != 2 {
		t.Errorf("%d builds", len(d.builds()))
	}
	// Approved again it is built.
	if d.says(alice, "/approve "+hash('a')); len(d.builds()) != 3 || d.builds()[2].Trigger.Approval == nil {
		t.Errorf("%d builds", len(d.builds()))
	}
}

func TestApprovalPolicies(t *testing.T) {
	own, others := pulled(12, hash('a'), alice, repo.ID), pulled(12, hash('a'), eve, fork)
	for name, tt := range map[string]struct {
		policy string
		pr     store.PullRequest
		held   bool
	}{
		"forks, own":      {ApprovalForks, own, false},
		"forks, a fork":   {ApprovalForks, others, true},
		"all, own":        {ApprovalAll, own, true},
		"all, a fork":     {ApprovalAll, others, true},
		"off, a fork":     {ApprovalDisabled, others, false},
		"default, a fork": {"", others, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.intake.Rules.Approval = tt.policy
			d.pull(tt.pr, store.EventPullRequestCreated)
			builds := d.builds()
			if (len(builds) == 0) != tt.held || (len(d.notices()) == 1) != tt.held {
				t.Fatalf("%d builds, %+v", len(builds), d.notices())
			}
			// Whatever the policy, a fork's commit is one.
			if !tt.held && builds[0].Trigger.Fork != (tt.pr.HeadRepo != repo.ID) {
				t.Errorf("%+v", builds[0].Trigger)
			}
		})
	}
}

// TestSkippedAndStrange has the button of a check that filters skipped ask for approval first, if the commit is a stranger's.
func TestSkippedAndStrange(t *testing.T) {
	d := newDesk(t, Project{Name: "app", Filters: filters(t, group("EVENT", "PUSH"))})
	d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestCreated)
	n := d.notices()[0]
	if n.Conclusion != store.SkippedNotice {
		t.Fatalf("%+v", n)
	}
	d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: n.ID})
	list := d.notices()
	i := slices.IndexFunc(list, func(n store.Notice) bool { return n.Conclusion == store.ActionRequired })
	if len(d.builds()) != 0 || i < 0 || !strings.HasPrefix(list[i].Reason, "Pull request 12 was not built. Its commands would run") {
		t.Fatalf("%d builds, %+v", len(d.builds()), list)
	}
	if d.says(alice, "/approve aaaaaaa"); len(d.builds()) != 1 {
		t.Error("it is not built once it is approved")
	}
}

// TestStrangersCannotSkip has strangers ask for no build, and take the buildspec away: their checks wait, for a skipped one would
// pass where it is required.
func TestStrangersCannotSkip(t *testing.T) {
	for name, change := range map[string]func(*desk){
		"skip token":   func(d *desk) { d.forge.commits[hash('a')] = store.Commit{Hash: hash('a'), Message: "x [skip ci]"} },
		"no buildspec": func(d *desk) { d.forge.noSpec[hash('a')] = true },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.deliver(push("refs/heads/main", hash('1'), "")) // it is a project
			change(d)
			d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestCreated)
			if n := d.notices(); len(n) != 1 || n[0].Conclusion != store.ActionRequired {
				t.Fatalf("%+v", n)
			}
			if d.says(alice, "/approve aaaaaaa"); len(d.builds()) != 2 {
				t.Error("it is not built once it is approved")
			}
		})
	}
}

// TestChangedBuildspecIsNoted says before an approval, and of the build, that the pull request changes what is run.
func TestChangedBuildspecIsNoted(t *testing.T) {
	d := newDesk(t)
	d.forge.blobs = map[string]string{hash('a'): "other"}
	pr := pulled(12, hash('a'), eve, fork)
	pr.Base = hash('1')
	d.pull(pr, store.EventPullRequestCreated)
	if n := d.notices(); !strings.Contains(n[0].Reason, " This pull request changes buildspec.yml, which says what the build does. Its commands ") ||
		!strings.HasSuffix(n[0].Reason, ": /buildsmith approve "+hash('a')) { // which people copy to its end
		t.Errorf("%q", n[0].Reason)
	}
	d.says(alice, "/approve aaaaaaa")
	if b := d.builds(); len(b) != 1 || len(b[0].Notes) != 2 || b[0].Notes[0] != "This pull request changes buildspec.yml, which says what the build does." {
		t.Errorf("%+v", b)
	}
	d.forge.blobs = nil
	pr = pulled(13, hash('b'), eve, fork)
	pr.Base = hash('1')
	d.pull(pr, store.EventPullRequestCreated)
	for _, n := range d.notices() {
		if n.Trigger.PullRequest == 13 && strings.Contains(n.Reason, "changes") {
			t.Errorf("%q", n.Reason)
		}
	}
}

// TestChangedBuildspecOfATrustedFork notes it of a fork's build that nobody had to approve, too.
func TestChangedBuildspecOfATrustedFork(t *testing.T) {
	d := newDesk(t)
	d.intake.Rules.Approval = ApprovalDisabled
	d.forge.blobs = map[string]string{hash('a'): "other"}
	pr := pulled(12, hash('a'), eve, fork)
	pr.Base = hash('1')
	d.pull(pr, store.EventPullRequestCreated)
	if b := d.builds(); len(b) != 1 || len(b[0].Notes) != 1 || b[0].Notes[0] != "This pull request changes buildspec.yml, which says what the build does." {
		t.Errorf("%+v", b)
	}
}

// TestStricterPolicy has the build of a fork made while nobody asked for approvals: once the project asks, it is not repeated without
// one, but by the administrator.
func TestStricterPolicy(t *testing.T) {
	d := newDesk(t)
	d.intake.Rules.Approval = ApprovalDisabled
	d.pull(pulled(12, hash('a'), eve, fork), store.EventPullRequestCreated)
	b := d.builds()[0]
	d.end(b.ID, store.Failed)
	d.intake.Rules.Approval = ApprovalForks
	got := d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: b.ID})
	if n := d.notices(); got.Reason != "commit aaaaaaaaaaaa is not approved, or not any longer" || len(d.builds()) != 1 || len(n) != 1 || n[0].Conclusion != store.ActionRequired {
		t.Errorf("%+v %+v", got, n)
	}
	if d.request(store.RequestRetry, store.Request{Build: b.ID, By: "admin"}); len(d.builds()) != 2 {
		t.Error("the administrator's retry builds nothing")
	}
}
