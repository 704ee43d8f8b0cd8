package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

var (
	admin = store.Account{ID: "4", Login: "root"}
	fork  = "8" // id of another repository
)

// filters compiles groups, or fails the test.
func filters(t *testing.T, groups ...[]Filter) *Filters {
	t.Helper()
	f, _, err := CompileFilters(groups)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func group(pairs ...string) (list []Filter) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, Filter{Type: pairs[i], Pattern: pairs[i+1]})
	}
	return list
}

func (d *desk) pull(pr store.PullRequest, event string) store.Delivery {
	d.t.Helper()
	d.forge.pulls[pr.Number] = pr
	e := pullEvent(pr)
	e.Event = event
	e.Summary += fmt.Sprint(d.n) // a body of its own
	return d.deliver(e)
}

func TestFiltersDecide(t *testing.T) {
	only := Project{Name: "app", Filters: filters(t, group("EVENT", "PUSH", "HEAD_REF", "^refs/heads/main$"), group("EVENT", "PULL_REQUEST_CREATED", "FILE_PATH", "^src/"))}
	d := newDesk(t, only)
	d.intake.ChangedFiles = func(_ context.Context, _ store.Repo, of *store.Trigger, base string) ([]string, error) {
		if of.PullRequest != 12 || base != hash('1') || of.Commit != hash('b') {
			t.Errorf("files of %+v %s", of, base)
		}
		return []string{"docs/a.md"}, nil
	}
	got := d.deliver(push("refs/heads/feature", hash('a'), "x"))
	if n := d.notices(); len(d.builds()) != 0 || len(n) != 1 || n[0].Conclusion != store.SkippedNotice || !strings.Contains(n[0].Reason, "refs/heads/feature") || !strings.Contains(got.Reason, "refs/heads/feature") {
		t.Fatalf("%+v %+v", got, n)
	}
	pr := pulled(12, hash('b'), alice, repo.ID)
	pr.Base = hash('1')
	d.pull(pr, store.EventPullRequestCreated)
	if n := d.notices(); len(d.builds()) != 0 || len(n) != 2 {
		t.Fatalf("%+v", n)
	}
	// While the pull request is open, pushes of its branch say nothing by themselves: its event does.
	d.deliver(push("refs/heads/feature", hash('c'), "x"))
	if len(d.notices()) != 2 {
		t.Errorf("%+v", d.notices())
	}
	// A tag whose filters say no says nothing either: its commit has the checks of its branch.
	d.deliver(push("refs/tags/v1", hash('d'), "x"))
	if len(d.notices()) != 2 {
		t.Errorf("%+v", d.notices())
	}
	d.deliver(push("refs/heads/main", hash('e'), "x"))
	if len(d.builds()) != 1 {
		t.Error("main is not built")
	}
	// Files that nobody can tell now are asked for again.
	d.intake.ChangedFiles = func(context.Context, store.Repo, *store.Trigger, string) ([]string, error) {
		return nil, errors.New("502")
	}
	pr = pulled(13, hash('f'), alice, repo.ID)
	if got := d.pull(pr, store.EventPullRequestCreated); !got.Pending() || got.Problem != "looking at the filters of the project: looking at the changed files: 502" {
		t.Errorf("%+v", got)
	}
}

// TestASkipNeverHidesABuild orders a pull request's event before its push.
func TestASkipNeverHidesABuild(t *testing.T) {
	d := newDesk(t, Project{Name: "app", Filters: filters(t, group("EVENT", "PULL_REQUEST_CREATED"))})
	d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
	d.deliver(push("refs/heads/feature", hash('a'), ""))
	d.deliver(push("refs/heads/other", hash('a'), ""))
	if len(d.builds()) != 1 || len(d.notices()) != 0 {
		t.Errorf("%d builds, %+v", len(d.builds()), d.notices())
	}
	// The other way round the skip that nobody was told of is taken back.
	e := newDesk(t, Project{Name: "app", Filters: filters(t, group("EVENT", "PULL_REQUEST_CREATED"))})
	e.deliver(push("refs/heads/feature", hash('a'), ""))
	if len(e.notices()) != 1 {
		t.Fatalf("%+v", e.notices())
	}
	e.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
	if len(e.builds()) != 1 || len(e.notices()) != 0 {
		t.Errorf("%d builds, %+v", len(e.builds()), e.notices())
	}
}

func TestPullRequestIsClosed(t *testing.T) {
	d := newDesk(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	d.pull(pr, store.EventPullRequestCreated)
	pr.Open = false
	got := d.pull(pr, store.EventPullRequestClosed)
	b := d.builds()[0]
	if got.Reason != "pull request 12 was closed; builds stopped: 1" || b.Status != store.Stopped || b.Headline().Message != "Stopped by the end of pull request 12." {
		t.Errorf("%+v %+v", got, b)
	}
	// Opened again, the commit is built: what was stopped stands for nothing.
	pr.Open = true
	d.pull(pr, store.EventPullRequestReopen)
	if len(d.builds()) != 2 {
		t.Errorf("%d builds", len(d.builds()))
	}
}

func TestBuildsOfMergedAndClosed(t *testing.T) {
	both := Project{Name: "app", Filters: filters(t, group("EVENT", "PULL_REQUEST_MERGED, PULL_REQUEST_CLOSED"))}
	for name, tt := range map[string]struct {
		from   string
		author store.Account
		merged string
		event  string
		builds int
		reason string
	}{
		"merged":                    {repo.ID, alice, hash('c'), store.EventPullRequestMerged, 1, "pull request 12 was merged; builds stopped: 0."},
		"merged, a fork's":          {fork, eve, hash('c'), store.EventPullRequestMerged, 1, "pull request 12 was merged; builds stopped: 0."},
		"merged as nobody knows":    {fork, eve, "", store.EventPullRequestMerged, 0, "pull request 12 was merged; builds stopped: 0"},
		"closed":                    {repo.ID, alice, "", store.EventPullRequestClosed, 1, "pull request 12 was closed; builds stopped: 0."},
		"closed, a fork's":          {fork, eve, "", store.EventPullRequestClosed, 0, "pull request 12 was closed; builds stopped: 0"},
		"closed, a reader's branch": {repo.ID, eve, "", store.EventPullRequestClosed, 0, "pull request 12 was closed; builds stopped: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, both)
			pr := pulled(12, hash('a'), tt.author, tt.from)
			pr.Open, pr.Merged = false, tt.merged
			got := d.pull(pr, tt.event)
			builds := d.builds()
			if got.Reason != tt.reason || len(builds) != tt.builds || len(d.notices()) != 0 {
				t.Fatalf("%+v %d builds %+v", got, len(builds), d.notices())
			}
			want := hash('a')
			if tt.merged != "" {
				want = tt.merged
			}
			if len(builds) == 1 && (builds[0].Trigger.Commit != want || builds[0].Trigger.Fork || builds[0].Trigger.Event != tt.event) {
				t.Errorf("%+v", builds[0].Trigger)
			}
		})
	}
}

func TestBaseChanges(t *testing.T) {
	d := newDesk(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	d.pull(pr, store.EventPullRequestCreated)
	pr.BaseRef = "refs/heads/release"
	d.pull(pr, store.EventPullRequestUpdated)
	builds := d.builds()
	if len(builds) != 2 || builds[1].Trigger.BaseRef != "refs/heads/release" || builds[0].Status != store.Stopped {
		t.Errorf("%+v", builds)
	}
}

func TestDrafts(t *testing.T) {
	d := newDesk(t)
	d.intake.Rules.NoDrafts = true
	pr := pulled(12, hash('a'), alice, repo.ID)
	pr.Draft = true
	d.pull(pr, store.EventPullRequestCreated)
	if n := d.notices(); len(d.builds()) != 0 || len(n) != 1 || !strings.HasPrefix(n[0].Reason, "Pull request 12 is a draft.") {
		t.Fatalf("%+v", n)
	}
	pr.Draft = false
	d.pull(pr, store.EventPullRequestUpdated)
	if len(d.builds()) != 1 {
		t.Error("it is not built when it is ready")
	}
}

func TestSkipTokensOff(t *testing.T) {
	d := newDesk(t)
	d.intake.Rules.NoSkipTokens = true
	d.deliver(push("refs/heads/main", hash('a'), "docs [skip ci]"))
	if len(d.builds()) != 1 {
		t.Error("it was skipped")
	}
}

func mergeQueue(head string) Event {
	return Event{Kind: MergeGroup, Repo: repo, Sender: alice, Summary: "merge group",
		MergeGroup: MergeGroupEvent{Head: head, HeadRef: "refs/heads/gh-readonly-queue/main/pr-12-" + head, Base: hash('0'), BaseRef: "refs/heads/main", Message: "Merge [skip ci]"}}
}

// TestMergeGroup builds what a merge queue asks for under the name that pull requests have, and stops it when the group is gone.
func TestMergeGroup(t *testing.T) {
	d := newDesk(t)
	d.deliver(mergeQueue(hash('a')))
	builds := d.builds()
	if len(builds) != 1 || builds[0].Check != "buildsmith" || !builds[0].Trigger.MergeGroup || builds[0].Trigger.Fork || builds[0].Trigger.BaseRef != "refs/heads/main" {
		t.Fatalf("%+v", builds)
	}
	gone := mergeQueue(hash('a'))
	gone.Kind, gone.Reason = MergeGroupGone, "invalidated"
	if got := d.deliver(gone); got.Reason != "the merge group is gone (invalidated); builds stopped: 1" || d.builds()[0].Status != store.Stopped {
		t.Errorf("%+v", got)
	}
	if got := d.deliver(mergeQueue("x")); got.Reason != "the merge group has no valid head or base" {
		t.Errorf("%+v", got)
	}
	// A project that builds pull requests of that base builds the group; another says that it does not.
	e := newDesk(t, Project{Name: "app", Filters: filters(t, group("EVENT", "PULL_REQUEST_UPDATED", "BASE_REF", "^refs/heads/main$"))},
		Project{Name: "docs", Filters: filters(t, group("EVENT", "PULL_REQUEST_UPDATED", "BASE_REF", "^refs/heads/docs$"))})
	e.deliver(mergeQueue(hash('a')))
	if n := e.notices(); len(e.builds()) != 1 || e.builds()[0].Check != "buildsmith (app)" || len(n) != 1 || n[0].Check != "buildsmith (docs)" {
		t.Errorf("%+v %+v", e.builds(), n)
	}
}

func TestRelease(t *testing.T) {
	d := newDesk(t, Project{Name: "app", Filters: filters(t, group("EVENT", "RELEASED", "TAG_NAME", "^v[0-9]+$"))})
	d.forge.commits["refs/tags/v2"] = store.Commit{Hash: hash('a')}
	release := func(tag string) store.Delivery {
		return d.deliver(Event{Kind: Release, Repo: repo, Sender: alice, Event: store.EventReleased, Release: ReleaseEvent{Tag: tag, Name: "Two"}})
	}
	release("v2")
	builds := d.builds()
	if len(builds) != 1 || builds[0].Trigger.HeadRef != "refs/tags/v2" || builds[0].Trigger.SourceVersion != "v2" || builds[0].Trigger.Event != store.EventReleased || builds[0].Trigger.Commit != hash('a') {
		t.Fatalf("%+v", builds)
	}
	for tag, want := range map[string]string{"x": `TAG_NAME "x" does not match`, "v3": "the release's tag v3 is gone", "a..b": `"a..b" is no valid tag`} {
		if got := release(tag); !strings.Contains(got.Reason, want) || len(got.Builds) != 0 || len(d.notices()) != 0 {
			t.Errorf("%s: %+v %+v", tag, got, d.notices())
		}
	}
}

func TestRelyOldCommitsAreStopped(t *testing.T) {
	old := time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC)
	pushed := func(ref string, c byte, at time.Time) Event {
		e := push(ref, hash(c), "")
		e.At = at
		return e
	}
	for name, tt := range map[string]struct {
		rule    string
		events  []Event
		stopped []int // builds, from 1
	}{
		"a branch":           {"", []Event{pushed("refs/heads/x", 'a', old), pushed("refs/heads/x", 'b', old.Add(1e9))}, []int{1}},
		"late":               {"", []Event{pushed("refs/heads/x", 'b', old.Add(1e9)), pushed("refs/heads/x", 'a', old)}, []int{2}},
		"another branch":     {"", []Event{pushed("refs/heads/x", 'a', old), pushed("refs/heads/y", 'b', old)}, nil},
		"the default branch": {"", []Event{pushed("refs/heads/main", 'a', old), pushed("refs/heads/main", 'b', old)}, nil},
		"all":                {SupersedeAll, []Event{pushed("refs/heads/main", 'a', old), pushed("refs/heads/main", 'b', old)}, []int{1}},
		"off":                {SupersedeOff, []Event{pushed("refs/heads/x", 'a', old), pushed("refs/heads/x", 'b', old)}, nil},
		"a tag":              {SupersedeAll, []Event{pushed("refs/tags/x", 'a', old), pushed("refs/tags/x", 'b', old)}, nil},
		"a pull request":     {"", []Event{pullEvent(pulled(12, hash('a'), alice, repo.ID)), pullEvent(pulled(12, hash('b'), alice, repo.ID))}, []int{1}},
		"two pull requests":  {"", []Event{pullEvent(pulled(12, hash('a'), alice, repo.ID)), pullEvent(pulled(13, hash('b'), alice, "7"))}, []int{1}}, // of one branch
		"merge groups":       {SupersedeAll, []Event{mergeQueue(hash('a')), mergeQueue(hash('b'))}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.intake.Rules.Supersede = tt.rule
			for _, e := range tt.events {
				d.deliver(e)
			}
			var stopped []int
			for _, b := range d.builds() {
				if b.Stop != nil {
					stopped = append(stopped, b.Number)
				}
			}
			if !slices.Equal(stopped, tt.stopped) || len(d.builds()) != 2 {
				t.Errorf("stopped %v of %d, want %v", stopped, len(d.builds()), tt.stopped)
			}
		})
	}
}

func TestPriorities(t *testing.T) {
	d := newDesk(t)
	d.intake.Rules.Priorities = Priorities{DefaultBranch: 3, PullRequest: 2, Rerun: 9}
	d.deliver(push("refs/heads/main", hash('a'), ""))
	d.deliver(push("refs/heads/x", hash('b'), ""))
	d.pull(pulled(12, hash('c'), alice, repo.ID), store.EventPullRequestCreated)
	d.deliver(comment("/test", alice))
	var got []int
	for _, b := range d.builds() {
		got = append(got, b.Priority)
	}
	if want := []int{3, 0, 2, 9}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRepositoryChanges(t *testing.T) {
	for change, want := range map[string]struct {
		reason  string
		stopped bool
	}{
		RepoRenamed:    {"the repository was renamed; it is known as octo/store now", false},
		RepoPrivatized: {"the repository was privatized; it is known as octo/store now", false},
		RepoArchived:   {"octo/store: it was archived; builds stopped: 1", true},
		RepoDeleted:    {"octo/store: it was deleted; builds stopped: 1", true},
	} {
		t.Run(change, func(t *testing.T) {
			d := newDesk(t)
			d.deliver(push("refs/heads/main", hash('a'), ""))
			after := repo
			after.Name, after.Private = "octo/store", true
			got := d.deliver(Event{Kind: RepoChanged, Repo: after, Sender: alice, Change: change})
			if got.Reason != want.reason || d.builds()[0].Done() != want.stopped {
				t.Errorf("%+v", got)
			}
			var state store.RepoState
			var project store.Project
			if err := d.store.View(func(tx *store.Tx) (err error) {
				if state, err = tx.RepoState(repo.Key()); err != nil {
					return err
				}
				project, _, err = tx.ProjectByName("octo-shop")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			// Links to what was public are worthless, and the project is the repository's under its new name.
			if state.Epoch != 1 || state.Archived != (change == RepoArchived) || state.Gone != (change == RepoDeleted) || project.Repo.Name != "octo/store" {
				t.Errorf("%+v %+v", state, project)
			}
			d.end2(d.builds()[0].ID)
			d.forge.commits["main"] = store.Commit{Hash: hash('a')}
			started := d.request(store.RequestStart, store.Request{Project: "octo-shop", Version: "main", By: "admin"})
			retried := d.request(store.RequestRetry, store.Request{Build: d.builds()[0].ID, By: "admin"})
			if (len(started.Builds) == 0) != want.stopped || (len(retried.Builds) == 0) != want.stopped {
				t.Errorf("%+v %+v", started, retried)
			}
			if why := map[string]string{RepoArchived: "octo/store is archived", RepoDeleted: "octo/store is gone, or may not be seen from here any longer"}[change]; started.Reason != why || retried.Reason != why {
				t.Errorf("%+v %+v", started, retried)
			}
			d.deliver(Event{Kind: RepoChanged, Repo: after, Sender: alice, Change: RepoUnarchived})
			if err := d.store.View(func(tx *store.Tx) (err error) { state, err = tx.RepoState(repo.Key()); return err }); err != nil || state.Archived || state.Gone {
				t.Errorf("%+v %v", state, err)
			}
		})
	}
}

// end2 ends a build that may have ended.
func (d *desk) end2(id string) {
	d.t.Helper()
	if _, err := d.store.ChangeBuild(id, func(b *store.Build) error { b.End(store.Failed, d.store.Now()); return nil }); err != nil && !errors.Is(err, store.ErrDone) {
		d.t.Fatal(err)
	}
}

func TestInstallationChanges(t *testing.T) {
	d := newDesk(t)
	installed := repo
	installed.Installation = 5
	e := push("refs/heads/main", hash('a'), "")
	e.Repo = installed
	d.deliver(e)
	change := func(what string, i store.Installation, removed ...store.Repo) (store.Delivery, store.Installation) {
		t.Helper()
		i.Forge, i.Host, i.ID = repo.Forge, repo.Host, 5
		got := d.deliver(Event{Kind: InstallationChanged, Sender: alice, Change: what, Installation: i, Removed: removed, Summary: fmt.Sprint(d.n)})
		var now store.Installation
		if err := d.store.View(func(tx *store.Tx) (err error) { now, _, err = tx.Installation(repo.Forge, repo.Host, 5); return err }); err != nil {
			t.Fatal(err)
		}
		return got, now
	}
	granted := map[string]string{"checks": "write"}
	if got, now := change(InstallationCreated, store.Installation{Account: "octo", Granted: granted, Events: []string{"push"}}); got.Reason != "the installation in octo: created; builds stopped: 0" || now.Account != "octo" || now.Granted["checks"] != "write" {
		t.Errorf("%+v %+v", got, now)
	}
	if _, now := change(InstallationSuspended, store.Installation{Account: "octo", Granted: granted}); !now.Suspended || d.builds()[0].Done() {
		t.Errorf("%+v", now)
	}
	if _, now := change(InstallationUnsuspended, store.Installation{Account: "octo", Granted: granted}); now.Suspended {
		t.Errorf("%+v", now)
	}
	if _, now := change(InstallationRenamed, store.Installation{Account: "hexa"}); now.Account != "hexa" || now.Granted["checks"] != "write" {
		t.Errorf("%+v", now)
	}
	if got, _ := change(InstallationRemoved, store.Installation{Account: "hexa"}, repo); got.Reason != "the installation in hexa: removed; builds stopped: 1" {
		t.Errorf("%+v", got)
	}
	e.Push.After = hash('b')
	d.deliver(e)
	if got, now := change(InstallationDeleted, store.Installation{Account: "hexa"}); got.Reason != "the installation in hexa: deleted; builds stopped: 1" || !now.Removed {
		t.Errorf("%+v %+v", got, now)
	}
}

// TestRetiredChecks removes, renames and adds projects: branch protection that asks for a check of old gets an answer.
func TestRetiredChecks(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), "")) // buildsmith
	d.intake.Projects = func(store.Repo) []Project { return []Project{{Name: "unit"}, {Name: "deploy"}} }
	d.deliver(push("refs/heads/main", hash('b'), "")) // and those of two projects
	d.intake.Projects = func(store.Repo) []Project { return []Project{{Name: "test"}, {Name: "deploy"}} }
	d.deliver(push("refs/heads/main", hash('c'), ""))
	var checks []string
	var unit store.Notice
	for _, n := range d.notices() {
		if n.Trigger.Commit == hash('c') {
			checks = append(checks, n.Check)
			if n.Check == "buildsmith (unit)" {
				unit = n
			}
		}
	}
	slices.Sort(checks)
	if want := []string{"buildsmith", "buildsmith (unit)"}; !slices.Equal(checks, want) {
		t.Fatalf("%v, want %v", checks, want)
	}
	if unit.Conclusion != store.SkippedNotice || unit.Title != "No project has this check any more" || !strings.Contains(unit.Reason, "Take it out of the branch's required checks.") {
		t.Errorf("%+v", unit)
	}
	// Run again it is answered again, and builds nothing.
	before := len(d.builds())
	got := d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: unit.ID})
	if len(d.builds()) != before || got.Reason != unit.Reason {
		t.Errorf("%+v", got)
	}
}

// TestABuildspecIsRemoved answers the check of a repository that was a project.
func TestABuildspecIsRemoved(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	d.forge.noSpec[hash('b')] = true
	got := d.deliver(push("refs/heads/main", hash('b'), ""))
	n := d.notices()
	if len(n) != 1 || n[0].Conclusion != store.SkippedNotice || !strings.HasPrefix(n[0].Reason, "There is no buildspec.yml in commit bbbbbbbbbbbb.") || got.Reason != "There is no buildspec.yml in commit bbbbbbbbbbbb." {
		t.Errorf("%+v %+v", got, n)
	}
}

// TestARenameKeepsItsProjects renames a repository, and has another take its name: the configured project, with its variables, is
// not the other's.
func TestARenameKeepsItsProjects(t *testing.T) {
	d := newDesk(t)
	bound := false
	d.intake.Projects = func(r store.Repo) []Project {
		if r.Name == "octo/shop" {
			return []Project{{Name: "app", Settings: store.Settings{Image: "configured"}, Bound: bound}}
		}
		return nil
	}
	d.deliver(push("refs/heads/main", hash('a'), ""))
	renamed := repo
	renamed.Name = "octo/store"
	e := push("refs/heads/main", hash('b'), "")
	e.Repo = renamed
	d.deliver(e)
	if b := d.builds(); len(b) != 2 || b[1].Project != "app" || b[1].Settings.Image != "configured" {
		t.Fatalf("%+v", b)
	}
	squatter := repo
	squatter.ID = "666"
	e = push("refs/heads/main", hash('c'), "")
	e.Repo = squatter
	want := "project app is that of repository 7, which had this name and is called octo/store now; write repository-id: 666 if it is to be this one's"
	if got := d.deliver(e); got.Reason != want || len(d.builds()) != 2 {
		t.Errorf("%+v", got)
	}
	// What names the id is meant.
	bound = true
	e.Push.After = hash('d')
	if got := d.deliver(e); len(got.Builds) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestUnknownEventsAreCounted answers an event that nobody knows like any other, and counts it.
func TestUnknownEventsAreCounted(t *testing.T) {
	d := newDesk(t)
	got := d.deliver(Event{Kind: Nothing, Repo: repo, Unknown: true, Reason: "dance events start nothing"})
	d.deliver(Event{Kind: Nothing, Repo: repo, Reason: "stars start nothing"})
	if got.Reason != "dance events start nothing" || d.intake.Unknown.Load() != 1 {
		t.Errorf("%+v, %d counted", got, d.intake.Unknown.Load())
	}
}

// limit is how a forge says that it takes nothing for a while.
type limit struct{ until time.Time }

func (l limit) Error() string      { return "limited" }
func (l limit) RetryAt() time.Time { return l.until }

// TestALimitedForgeIsNotAsked waits until the forge takes questions again, and never for longer than a forge can mean.
func TestALimitedForgeIsNotAsked(t *testing.T) {
	for pause, want := range map[time.Duration]time.Duration{time.Second: firstRetry, time.Hour: time.Hour, 99 * time.Hour: longestWait} {
		d := newDesk(t)
		d.forge.down = limit{d.clock.Now().Add(pause)}
		got := d.deliver(push("refs/heads/main", hash('a'), ""))
		if wait := got.Next.Sub(d.clock.Now()); !got.Pending() || wait != want {
			t.Errorf("%v: waits %v, want %v", pause, wait, want)
		}
		d.forge.down = nil
		d.clock.advance(want)
		if got := d.settle(got.Seq); len(got.Builds) != 1 {
			t.Errorf("%v: %+v", pause, got)
		}
	}
}

// TestLateEventsOfPullRequests has events of a pull request come in another order than they happened: what happened last holds.
func TestLateEventsOfPullRequests(t *testing.T) {
	at := time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC)
	of := func(head string, open bool, seconds int) store.PullRequest {
		pr := pulled(12, head, alice, repo.ID)
		pr.Open, pr.Updated = open, at.Add(time.Duration(seconds)*time.Second)
		return pr
	}
	d := newDesk(t)
	d.pull(of(hash('a'), false, 9), store.EventPullRequestClosed)
	if got := d.pull(of(hash('a'), true, 1), store.EventPullRequestCreated); got.Reason != "pull request 12 has been closed since" || len(d.builds()) != 0 {
		t.Errorf("%+v", got)
	}
	d = newDesk(t)
	d.pull(of(hash('a'), true, 1), store.EventPullRequestCreated)
	d.pull(of(hash('a'), true, 9), store.EventPullRequestReopen)
	if got := d.pull(of(hash('a'), false, 5), store.EventPullRequestClosed); got.Reason != "pull request 12 was closed, and has been opened again since" || d.builds()[0].Done() {
		t.Errorf("%+v", got)
	}
	// The head that was seen last stays, too.
	d.pull(of(hash('b'), true, 20), store.EventPullRequestUpdated)
	d.pull(of(hash('c'), true, 15), store.EventPullRequestUpdated)
	if err := d.store.View(func(tx *store.Tx) error {
		head, err := tx.PullHead(repo, 12)
		if head != hash('b') {
			t.Errorf("head %s", head)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestADeletionComesLate delivers that a branch was deleted after it was pushed again.
func TestADeletionComesLate(t *testing.T) {
	at := time.Date(2026, 5, 1, 11, 0, 0, 0, time.UTC)
	d := newDesk(t)
	e := push("refs/heads/x", hash('a'), "")
	e.At = at.Add(time.Minute)
	d.deliver(e)
	gone := push("refs/heads/x", "", "")
	gone.At = at
	if got := d.deliver(gone); got.Reason != "branch x was deleted; builds stopped in the queue: 0" || d.builds()[0].Done() {
		t.Errorf("%+v", got)
	}
	gone.At = at.Add(time.Hour)
	if got := d.deliver(gone); got.Reason != "branch x was deleted; builds stopped in the queue: 1" {
		t.Errorf("%+v", got)
	}
}
