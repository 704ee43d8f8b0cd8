package webhook

import (
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
)

// opened gives a desk with a pull request of alice's that was built.
func opened(t *testing.T, projects ...Project) *desk {
	t.Helper()
	d := newDesk(t, projects...)
	d.forge.permissions["root"] = store.PermissionAdmin
	d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
	return d
}

func TestVariablesOfComments(t *testing.T) {
	app := Project{Name: "app", Rules: Rules{Overridable: []string{"STAGE", "SPEED"}}}
	for body, want := range map[string]string{
		"/test STAGE=prod SPEED=\"very fast\"": "",
		"/test OTHER=1":                        "`OTHER` cannot be set by a comment; these can: `STAGE`, `SPEED`.",
		"/test CODEBUILD_BUILD_ID=1":           "`CODEBUILD_BUILD_ID` is no variable that a build can be given.",
	} {
		d := opened(t, app)
		_, reply := d.says(alice, body)
		b := d.builds()
		if reply != want || len(b) != map[bool]int{true: 2, false: 1}[want == ""] {
			t.Errorf("%q: %q, %d builds", body, reply, len(b))
		}
		if v := []store.Variable{{Name: "STAGE", Value: "prod"}, {Name: "SPEED", Value: "very fast"}}; want == "" && !slices.Equal(b[1].Settings.Overrides, v) {
			t.Errorf("%+v", b[1].Settings.Overrides)
		}
	}
	d := opened(t)
	if _, reply := d.says(alice, "/test STAGE=prod"); reply != "`STAGE` cannot be set by a comment: the project declares no variable as overridable." {
		t.Errorf("%q", reply)
	}
}

func TestTargets(t *testing.T) {
	d := opened(t, Project{Name: "unit"}, Project{Name: "deploy"})
	for _, b := range d.builds() {
		d.end(b.ID, store.Succeeded)
	}
	projects := func() (names []string) {
		for _, b := range d.builds()[2:] {
			names = append(names, b.Project)
		}
		return names
	}
	d.says(alice, "/test deploy")
	d.says(alice, "/rerun")      // deploy is under way
	d.says(alice, "/rerun unit") // though it succeeded
	if got, want := projects(), []string{"deploy", "unit"}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for _, b := range d.builds()[2:] {
		d.end(b.ID, map[string]store.Status{"deploy": store.Failed, "unit": store.Succeeded}[b.Project])
	}
	d.says(alice, "/rerun") // what failed
	if got, want := projects(), []string{"deploy", "unit", "deploy"}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	d.end(d.builds()[4].ID, store.Succeeded)
	d.says(alice, "/rerun all")
	if got, want := projects(), []string{"deploy", "unit", "deploy", "unit", "deploy"}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	if _, reply := d.says(alice, "/cancel unit"); reply != "" || d.builds()[5].Status != store.Stopped || d.builds()[6].Done() {
		t.Errorf("%q %+v", reply, d.builds()[5])
	}
}

func TestCancel(t *testing.T) {
	d := opened(t)
	d.forge.pulls[12] = pulled(12, hash('a'), eve, repo.ID)
	if _, reply := d.says(store.Account{ID: "55", Login: "eve"}, "/cancel"); !strings.HasPrefix(reply, "`cancel` needs write access to this repository, or to be the author of the pull request; `eve` has read access.") {
		t.Errorf("%q", reply) // who has her name is not her
	}
	if _, reply := d.says(eve, "/cancel"); reply != "" || d.builds()[0].Status != store.Stopped || d.builds()[0].Headline().Message != "Stopped by eve." {
		t.Errorf("%q %+v", reply, d.builds()[0])
	}
	if _, reply := d.says(eve, "/cancel"); reply != "No build of this pull request waits or runs." {
		t.Errorf("%q", reply)
	}
}

func TestStatus(t *testing.T) {
	d := opened(t, Project{Name: "unit"}, Project{Name: "docs", Filters: filters(t, group("EVENT", "PUSH"))}, Project{Name: "deploy"})
	d.end(d.builds()[0].ID, store.Failed)
	got, reply := d.says(eve, "/status")
	if want := "`unit` build 1 of commit aaaaaaaaaaaa: FAILED in 0s.\n`docs` was not built: skipped.\n`deploy` build 1 of commit aaaaaaaaaaaa: QUEUED."; reply != want || len(got.Builds) != 0 {
		t.Errorf("%q, want %q", reply, want)
	}
	// It answers when the pull request is closed, too; nothing else does.
	pr := d.forge.pulls[12]
	pr.Open, pr.Head = false, hash('b')
	d.forge.pulls[12] = pr
	if _, reply := d.says(eve, "/status"); !strings.HasPrefix(reply, "`unit` has no build of commit bbbbbbbbbbbb.\n") {
		t.Errorf("%q", reply)
	}
	if _, reply := d.says(alice, "/test"); reply != "Pull request 12 is closed." {
		t.Errorf("%q", reply)
	}
	e := strange(t)
	if _, reply := e.says(alice, "/status"); reply != "`octo-shop` waits for the approval of commit aaaaaaaaaaaa." {
		t.Errorf("%q", reply)
	}
	f := newDesk(t)
	f.forge.pulls[12] = pulled(12, hash('a'), alice, repo.ID)
	f.forge.noSpec[hash('a')] = true
	if _, reply := f.says(alice, "/status"); reply != "Nothing is built here: there is no buildspec.yml in commit aaaaaaaaaaaa." {
		t.Errorf("%q", reply)
	}
	if _, reply := f.says(alice, "/test"); reply != "Nothing can be built: there is no buildspec.yml in commit aaaaaaaaaaaa." {
		t.Errorf("%q", reply)
	}
}

func TestHelp(t *testing.T) {
	d := opened(t)
	for _, tt := range []struct {
		by  store.Account
		may string // test rerun cancel approve revoke status help
	}{
		{alice, "yes yes yes no yes yes yes"}, // it is her pull request
		{eve, "no no no no no yes yes"},
		{admin, "yes yes yes yes yes yes yes"},
	} {
		_, reply := d.says(tt.by, "/help")
		var may []string
		for line := range strings.Lines(reply) {
			if strings.HasPrefix(line, "| `/buildsmith ") {
				fields := strings.Split(strings.TrimSpace(line), " | ")
				may = append(may, strings.TrimSuffix(fields[len(fields)-1], " |"))
			}
		}
		if strings.Join(may, " ") != tt.may {
			t.Errorf("%s may %v, want %s\n%s", tt.by.Login, may, tt.may, reply)
		}
	}
	d.intake.Commands = Commands{Prefix: "ci"}
	if _, reply := d.says(alice, "/ci help"); !strings.Contains(reply, "| `/ci test [PROJECT...]") || strings.Contains(reply, "buildsmith") || strings.Contains(reply, "verbs work alone") {
		t.Errorf("%s", reply)
	}
	if _, reply := d.says(alice, "/ci frobnicate"); !strings.HasPrefix(reply, "`frobnicate` is no command.\n\n| Command") {
		t.Errorf("%s", reply)
	}
}

// TestRefusalsAreShort refuses somebody often: words once an hour and pull request, a reaction each time.
func TestRefusalsAreShort(t *testing.T) {
	d := opened(t)
	for range 3 {
		d.says(eve, "/test")
	}
	if n := len(d.replies()); n != 1 || len(d.forge.reactions) != 3 {
		t.Errorf("%d replies, reactions %v", n, d.forge.reactions)
	}
	if _, reply := d.says(store.Account{ID: "10", Login: "mallory"}, "/test"); reply != "`test` needs read access to this repository; `mallory` has no access." {
		t.Errorf("%q", reply)
	}
	d.clock.advance(refusalEvery)
	if _, reply := d.says(eve, "/test"); reply == "" {
		t.Error("no words after an hour")
	}
}

func TestBotsThatAreListed(t *testing.T) {
	d := opened(t)
	robot := store.Account{ID: "3", Login: "robot[bot]", Bot: true}
	d.forge.permissions[robot.Login] = store.PermissionWrite
	if d.says(robot, "/test"); len(d.builds()) != 1 {
		t.Error("a bot's command was taken")
	}
	d.intake.Commands.Bots = []string{"Robot[bot]"}
	if d.says(robot, "/test"); len(d.builds()) != 2 {
		t.Error("a listed bot's command was not taken")
	}
}

// TestCommandsOfOneComment obeys one command of a comment and refuses another.
func TestCommandsOfOneComment(t *testing.T) {
	d := opened(t)
	got, reply := d.says(eve, "/test\n/status")
	if len(got.Builds) != 0 || len(d.forge.reactions) != 1 || d.forge.reactions[0] != store.ReactionAccepted {
		t.Errorf("%+v %v", got, d.forge.reactions)
	}
	var bodies []string
	for _, r := range d.replies() {
		bodies = append(bodies, r.Body)
	}
	slices.Sort(bodies)
	if want := []string{"`octo-shop` build 1 of commit aaaaaaaaaaaa: QUEUED.", "`test` needs write access to this repository; `eve` has read access."}; !slices.Equal(bodies, want) {
		t.Errorf("%q after %q", bodies, reply)
	}
}
