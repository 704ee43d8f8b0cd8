package webhook

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// TestAttackCommentForgery has comments of somebody who may write hold words of somebody who may not: quoted, shown as code, hidden,
// or in the middle of a line. None is a command; nor is one by an account that has only the name of another.
func TestAttackCommentForgery(t *testing.T) {
	for name, body := range map[string]string{
		"quoted":             "> /approve " + hash('a') + "\nWhy do you ask?",
		"quoted without gap": ">/approve " + hash('a'),
		"a block of code":    "Please do not write\n```\n/approve " + hash('a') + "\n```",
		"a block of tildes":  "~~~ sh\n/approve " + hash('a') + "\n~~~",
		"never closed":       "```\n/approve " + hash('a'),
		"code":               "`/approve " + hash('a') + "`",
		"indented":           "    /approve " + hash('a'),
		"hidden":             "Hello <!--\n/approve " + hash('a') + "\n-->",
		"hidden to the end":  "Hello <!--\n/approve " + hash('a'),
		"in a sentence":      "You could write /approve " + hash('a'),
		"a list":             "- /approve " + hash('a'),
		"an odd blank":       "\u00a0/approve " + hash('a'),
		"another line end":   "x\u2028/approve " + hash('a'),
		"a wide slash":       "\uff0fapprove " + hash('a'),
	} {
		t.Run(name, func(t *testing.T) {
			d := strange(t)
			if _, reply := d.says(alice, body); reply != "" || len(d.builds()) != 0 || len(d.forge.reactions) != 0 {
				t.Errorf("%q, %d builds, reactions %v", reply, len(d.builds()), d.forge.reactions)
			}
		})
	}
	d := strange(t)
	d.forge.pulls[12] = pulled(12, hash('a'), alice, fork) // it is alice's own, who is no admin
	for _, by := range []store.Account{alice, {ID: "666", Login: "alice", Bot: true}} {
		if d.says(by, "/approve "+hash('a')); len(d.builds()) != 0 {
			t.Errorf("%+v approved", by)
		}
	}
}

// TestAttackReplay sends an approval and a push once more, under ids of their own, which no signature covers: after the approval was
// taken back, and for weeks, though bodies are not kept for so long.
func TestAttackReplay(t *testing.T) {
	d := strange(t)
	approval := comment("/approve "+hash('a'), alice)
	approval.Comment.ID, approval.Comment.Created = 900, d.clock.Now()
	d.deliver(approval)
	if len(d.builds()) != 1 {
		t.Fatalf("%d builds", len(d.builds()))
	}
	d.says(alice, "/revoke "+hash('a'))
	first := push("refs/heads/main", hash('b'), "")
	d.deliver(first)
	before := len(d.builds())
	for range 3 {
		for _, e := range []Event{approval, first} {
			if got := d.deliver(e); !strings.HasPrefix(got.Reason, "the same as delivery ") || len(d.builds()) != before {
				t.Errorf("%+v, %d builds", got, len(d.builds()))
			}
		}
		d.clock.advance(9 * 24 * time.Hour)
		if _, err := d.store.Sweep(store.Retention{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAttackTransferSpoof has another repository take a name, and say so in events of its own: the projects, with their variables and
// secrets, stay those of the repository that had the name, and a check of one is none of the other.
func TestAttackTransferSpoof(t *testing.T) {
	d := newDesk(t)
	d.intake.Projects = func(r store.Repo) []Project {
		if r.Name == "octo/shop" {
			return []Project{{Name: "app", Settings: store.Settings{Image: "configured", Variables: []store.Variable{{Name: "PASSWORD", Value: "sesame"}}}}}
		}
		return nil
	}
	d.deliver(push("refs/heads/main", hash('a'), ""))
	own := d.builds()[0]
	d.end(own.ID, store.Failed)
	evil := repo
	evil.ID, evil.Installation = "666", 66
	for _, change := range []string{RepoRenamed, RepoTransferred, RepoPublicized, RepoDeleted} {
		d.deliver(Event{Kind: RepoChanged, Repo: evil, Sender: eve, Change: change})
	}
	stolen := push("refs/heads/main", hash('b'), "")
	stolen.Repo = evil
	d.deliver(stolen)
	d.deliver(Event{Kind: RerunCheck, Repo: evil, Sender: alice, ExternalID: own.ID})
	d.deliver(Event{Kind: RerunCommit, Repo: evil, Sender: alice, Commit: hash('a')})
	for _, b := range d.builds()[1:] {
		t.Errorf("build %d of %s has %+v", b.Number, b.Repo.ID, b.Settings)
	}
	// The project is still its own, and works.
	next := push("refs/heads/main", hash('c'), "")
	d.deliver(next)
	if b := d.builds(); len(b) != 2 || b[1].Project != "app" || b[1].Repo.ID != repo.ID || b[1].Repo.Installation == 66 || b[1].Settings.Image != "configured" {
		t.Fatalf("%+v", b)
	}
	// Only when the forge says of the repository itself that it was deleted is its name free for one that is made anew.
	d.deliver(Event{Kind: RepoChanged, Repo: repo, Sender: alice, Change: RepoDeleted})
	stolen.Push.After = hash('d')
	d.deliver(stolen)
	if b := d.builds(); len(b) != 3 || b[2].Repo.ID != evil.ID || b[2].Settings.Image != "configured" {
		t.Errorf("%+v", b)
	}
}

// TestAttackAllowListByRegex has accounts, repositories and organisations whose names hold those that filters and lists name.
func TestAttackAllowListByRegex(t *testing.T) {
	f := filters(t, group("EVENT", "PUSH", "ACTOR_ACCOUNT_ID", "^(?:1234)$", "ORGANIZATION_NAME", "^octo$", "REPOSITORY_NAME", "^shop$", "HEAD_REF", "^refs/heads/main$"))
	good := Subject{Event: store.EventPush, Actor: "1234", OrganizationName: "octo", RepositoryName: "shop", HeadRef: "refs/heads/main"}
	passes := func(s Subject) bool {
		t.Helper()
		v, err := f.Decide(t.Context(), &s)
		if err != nil {
			t.Fatal(err)
		}
		return v.Build
	}
	if !passes(good) {
		t.Fatal("who is listed does not pass")
	}
	for name, change := range map[string]func(*Subject){
		"a longer id":              func(s *Subject) { s.Actor = "12345" },
		"an id that ends so":       func(s *Subject) { s.Actor = "91234" },
		"an id and a line":         func(s *Subject) { s.Actor = "1234\n" },
		"evil-octo":                func(s *Subject) { s.OrganizationName = "evil-octo" },
		"octo-good":                func(s *Subject) { s.OrganizationName = "octo-good" },
		"no organisation":          func(s *Subject) { s.OrganizationName = "" },
		"a shop of another's":      func(s *Subject) { s.RepositoryName = "evil-shop" },
		"a branch of several ones": func(s *Subject) { s.HeadRef = "refs/heads/main/x" },
		"a branch with a line":     func(s *Subject) { s.HeadRef = "refs/heads/x\nrefs/heads/main" },
	} {
		s := good
		if change(&s); passes(s) {
			t.Errorf("%s passes", name)
		}
	}
	// What is open at an end is told of when the server starts.
	_, warnings, err := CompileFilters([][]Filter{group("EVENT", "PUSH", "ACTOR_ACCOUNT_ID", "1234"), group("EVENT", "PUSH", "ORGANIZATION_NAME", "^octo")})
	if err != nil || len(warnings) != 2 {
		t.Errorf("%q %v", warnings, err)
	}
	// The list of bots is one of whole names.
	d := opened(t)
	d.intake.Commands.Bots = []string{"bot"}
	for _, login := range []string{"evil-bot", "bot-evil", "bo", "bot[bot]"} {
		robot := store.Account{ID: "3", Login: login, Bot: true}
		d.forge.permissions[login] = store.PermissionWrite
		if d.says(robot, "/test"); len(d.builds()) != 1 {
			t.Fatalf("%s commands", login)
		}
	}
}

// TestAttackReplyMarkdown holds replies to hostile comments to be text: no link, no image, no mention, no HTML of theirs.
func TestAttackReplyMarkdown(t *testing.T) {
	forbidden := regexp.MustCompile(`<[a-zA-Z/!]|\]\(|https?:|@\w|evil`)
	replies := 0
	for _, hostile := range []string{"[x](http://evil.example.org)", "![x](//evil)", "<img/src=x>", "@octocat", "@evil/team", "`", "```", "</details>", "a|b", "http://evil.example.org", "$(id)", "\x1b]8;;x"} {
		for _, line := range []string{
			"/buildsmith " + hostile, "/buildsmith test " + hostile, "/buildsmith test A=" + hostile, "/buildsmith test " + hostile + "=1", "/buildsmith approve " + hostile,
			"/buildsmith revoke " + hostile, "/buildsmith cancel " + hostile, "/buildsmith status " + hostile, "/buildsmith test A=\"" + hostile,
		} {
			d := opened(t)
			_, reply := d.says(alice, line)
			if reply != "" {
				replies++
			}
			if m := forbidden.FindString(reply); m != "" {
				t.Errorf("%q is answered with %q: %s", line, m, reply)
			}
		}
	}
	if replies < 60 {
		t.Errorf("%d replies", replies)
	}
}

// TestAttackTemplates has refs and titles that would be commands or keys if anything were put into a text: they reach a build as what
// they are, and what is no ref builds nothing.
func TestAttackTemplates(t *testing.T) {
	const title = "$(touch /tmp/pwned) ${{ secrets.x }} {{.Secret}} `id`; rm -rf /"
	const branch = "refs/heads/$(id)`id`;{{.X}}${HOME}&&'\""
	d := newDesk(t)
	d.deliver(push(branch, hash('a'), title))
	if b := d.builds(); len(b) != 1 || b[0].Trigger.HeadRef != branch || b[0].Trigger.Title != title {
		t.Fatalf("%+v", b)
	}
	// Settings are the configuration's: nothing of the payload is among them.
	settings, err := json.Marshal(d.builds()[0].Settings)
	if err != nil || strings.Contains(string(settings), "pwned") || strings.Contains(string(settings), "$(id)") {
		t.Errorf("%s %v", settings, err)
	}
	for _, ref := range []string{"--upload-pack=touch /tmp/pwned", "-x", "refs/heads/../../x", "refs/heads/a b", "refs/heads/x\n", "refs/heads/x.lock", "refs/heads/a..b", "refs/heads/~x", "HEAD", ""} {
		d.deliver(push(ref, hash('b'), ""))
	}
	for _, commit := range []string{"--output=/tmp/x", "HEAD", strings.Repeat("g", 40), hash('b') + "\n", hash('b')[:39]} {
		d.deliver(push("refs/heads/main", commit, ""))
	}
	if b := d.builds(); len(b) != 1 {
		t.Errorf("%+v", b[1].Trigger)
	}
}

// TestAttackTakenName has a repository take the name of another one, which was renamed: what is given to the name stays away from it,
// and its builds say so; until the configuration names it by its id, or the other is deleted.
func TestAttackTakenName(t *testing.T) {
	d := newDesk(t)
	d.deliver(push("refs/heads/main", hash('a'), ""))
	renamed, taker := repo, repo
	renamed.Name, taker.ID = "octo/store", "666"
	e := push("refs/heads/main", hash('b'), "")
	e.Repo = renamed
	d.deliver(e)
	build := func(r store.Repo, c byte) store.Build {
		t.Helper()
		e := push("refs/heads/main", hash(c), "")
		e.Repo = r
		d.deliver(e)
		all := d.builds()
		return all[len(all)-1]
	}
	rules := store.SecretRules{Projects: []string{"octo/shop", "test:octo/s*"}}
	b := build(taker, 'c')
	const note = "The name octo/shop was that of repository 7, which is called octo/store now: secrets that are given to the name are not given to this repository. " +
		"If they are meant for it, configure a project with repository-id: 666."
	if rules.Allow(&b) || !slices.Equal(b.Notes, []string{note}) {
		t.Errorf("allowed %v, notes %q", rules.Allow(&b), b.Notes)
	}
	if everybody := (store.SecretRules{Projects: []string{"*"}}); !everybody.Allow(&b) {
		t.Error("what is for every project is not for this one")
	}
	if b := build(renamed, 'd'); !(store.SecretRules{Projects: []string{"octo/store"}}).Allow(&b) || len(b.Notes) != 0 {
		t.Errorf("the one that was renamed: %q", b.Notes)
	}
	d.intake.Settings.Bound = true
	if b := build(taker, 'e'); !rules.Allow(&b) || len(b.Notes) != 0 {
		t.Errorf("named by its id: %q", b.Notes)
	}
	d.intake.Settings.Bound = false
	d.deliver(Event{Kind: RepoChanged, Repo: renamed, Sender: alice, Change: RepoDeleted})
	if b := build(taker, 'f'); !rules.Allow(&b) || len(b.Notes) != 0 {
		t.Errorf("after the other was deleted: %q", b.Notes)
	}
}
