package bitbucket_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

func TestCloudCommit(t *testing.T) {
	b := newBench(t, nil)
	feature := b.commit("octo/shop", "feature/a#1%", "Feature", map[string]string{"f": "1"})
	b.must(b.hub.SetRef("octo/shop", "refs/tags/v1.0", b.sha))
	b.must(b.hub.SetRef("octo/shop", "refs/heads/deadbeef", feature))
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "feature/a#1%", Base: "main", Title: "T", User: "dev"})
	b.must(err)
	for version, want := range map[string]string{
		"": b.sha, "main": b.sha, "heads/main": b.sha, "refs/heads/main": b.sha, "v1.0": b.sha, "tags/v1.0": b.sha, "refs/tags/v1.0": b.sha,
		b.sha: b.sha, b.sha[:7]: b.sha, b.sha[:12]: b.sha, "feature/a#1%": feature, "deadbeef": feature, fmt.Sprintf("pr/%d", number): feature,
		"none": "", "refs/heads/none": "", "refs/tags/main": "", "../../x": "", "a..b": "", strings.Repeat("a", 40): "", "abcdef0": "", "pr/99": "", "pr/x": "",
	} {
		got, err := b.host.Commit(t.Context(), b.repo, version)
		if want == "" {
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Commit(%q) = %+v %v, want none", version, got, err)
			}
		} else if err != nil || got.Hash != want {
			t.Errorf("Commit(%q) = %+v %v, want %s", version, got, err, want)
		}
	}
	if c, err := b.host.Commit(t.Context(), b.repo, "main"); c.Message != "Begin\n\nbody" && c.Message != "Begin\n\nbody\n" {
		t.Errorf("%q %v", c.Message, err)
	}
	// A repository is found by its id after it was renamed, and by its name where nobody knows the id.
	_, err = b.hub.Rename("octo/shop", "store")
	b.must(err)
	if c, err := b.host.Commit(t.Context(), b.repo, "main"); err != nil || c.Hash != b.sha {
		t.Errorf("after it was renamed: %+v %v", c, err)
	}
	unknown := b.repo
	unknown.ID, unknown.Name = "", "octo/store"
	if c, err := b.host.Commit(t.Context(), unknown, "main"); err != nil || c.Hash != b.sha {
		t.Errorf("by its name: %+v %v", c, err)
	}
}

func TestCloudFileID(t *testing.T) {
	b := newBench(t, nil)
	next := b.commit("octo/shop", "main", "Next", map[string]string{"buildspec.yml": spec + "# x\n", "same": spec, "listing.json": `{"pagelen":10,"values":[],"version":0.2}`})
	id := func(commit, path string) string {
		t.Helper()
		got, err := b.host.FileID(t.Context(), b.repo, commit, path)
		if err != nil {
			t.Errorf("%s in %.7s: %v", path, commit, err)
		}
		return got
	}
	first, second, same := id(b.sha, "buildspec.yml"), id(next, "buildspec.yml"), id(next, "same")
	if len(first) != 64 || first == second || same != first {
		t.Errorf("%s %s %s", first, second, same)
	}
	if got := id(b.sha, "none.yml") + id(b.sha, "dir") + id(b.sha, "dir/none") + id(b.sha, "a/../../b"); got != "" {
		t.Errorf("what is not there is %q", got)
	}
	if got := id(next, "listing.json"); got == "" {
		t.Error("a file that looks like a list of a directory is not there")
	}
	if id(b.sha, "dir/file") == "" {
		t.Error("a file in a directory is not there")
	}
	if got, err := b.host.FileID(t.Context(), b.repo, strings.Repeat("a", 40), "buildspec.yml"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a commit that is not there: %q %v", got, err)
	}
}

func TestCloudOwns(t *testing.T) {
	b := newBench(t, nil)
	second := b.commit("octo/shop", "main", "Second", map[string]string{"f": "1"})
	side := b.commit("octo/shop", "side", "Side", map[string]string{"f": "2"})
	tagged := b.commit("octo/shop", "gone", "Tagged", map[string]string{"f": "3"})
	b.must(b.hub.SetRef("octo/shop", "refs/tags/v1", tagged))
	b.must(b.hub.SetRef("octo/shop", "refs/heads/gone", ""))
	fork := b.fork()
	evil := b.commit(fork, "evil", "Evil", map[string]string{"f": "4"})
	_, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "stranger:evil", Base: "main", Title: "T", User: "stranger"})
	b.must(err)
	for _, tt := range []struct {
		name, version, commit string
		want                  bool
	}{
		{"a branch's", "side", side, true}, {"by its hash", side, side, true}, {"an older one of main", b.sha, b.sha, true}, {"main's", "", second, true},
		{"a tag's", "v1", tagged, true}, {"a tag's by its hash", tagged, tagged, true}, {"a fork's by its hash", evil, evil, false}, {"a fork's by a branch", "side", evil, false},
		{"nobody's", strings.Repeat("a", 40), strings.Repeat("a", 40), false},
	} {
		if got, err := b.host.Owns(t.Context(), b.repo, tt.version, tt.commit); err != nil || got != tt.want {
			t.Errorf("%s: %v %v", tt.name, got, err)
		}
	}
	if _, err := b.host.Owns(t.Context(), b.repo, "main", "abc"); err == nil || err.Error() != `"abc" is no full hash of a commit` {
		t.Errorf("%v", err)
	}
}

// TestCloudPullRequest reads pull requests, whose hashes Bitbucket shortens, in all their states.
func TestCloudPullRequest(t *testing.T) {
	b := newBench(t, nil)
	dev := b.hub.AddUser("dev")
	head := b.commit("octo/shop", "feature", "Feature", map[string]string{"f": "1"})
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "feature", Base: "main", Title: "A title", User: "dev", Draft: true})
	b.must(err)
	want := store.PullRequest{Number: number, Open: true, Title: "A title", Author: store.Account{ID: dev.AccountID, Login: "dev"}, Head: head, HeadRef: "refs/heads/feature",
		HeadRepo: b.repo.ID, BaseRef: "refs/heads/main", Base: b.sha, Draft: true}
	check := func(name string, number int) {
		t.Helper()
		got, err := b.host.PullRequest(t.Context(), b.repo, number)
		if err == nil && (got.Updated.IsZero() || time.Since(got.Updated) > time.Hour) {
			t.Errorf("%s: updated %v", name, got.Updated)
		}
		got.Updated = time.Time{}
		if err != nil || got != want {
			t.Errorf("%s:\n%+v %v, want\n%+v", name, got, err, want)
		}
	}
	check("a draft", number)
	_, err = b.hub.SetDraft("octo/shop", number, false)
	b.must(err)
	want.Draft = false
	check("no draft", number)
	_, err = b.hub.ClosePullRequest("octo/shop", number, true)
	b.must(err)
	merge, err := b.host.Commit(t.Context(), b.repo, "main")
	b.must(err)
	want.Open, want.Merged = false, merge.Hash
	check("merged", number)

	fork := b.fork()
	from, err := b.hub.Repo(fork)
	b.must(err)
	evil := b.commit(fork, "evil", "Evil", map[string]string{"f": "4"})
	base, err := b.host.Commit(t.Context(), b.repo, "main")
	b.must(err)
	number, _, err = b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "stranger:evil", Base: "main", Title: "T", User: "stranger"})
	b.must(err)
	stranger, err := b.hub.User("stranger")
	b.must(err)
	want = store.PullRequest{Number: number, Open: true, Title: "T", Author: store.Account{ID: stranger.AccountID, Login: "stranger"}, Head: evil, HeadRef: "refs/heads/evil",
		HeadRepo: from.UUID, HeadName: fork, BaseRef: "refs/heads/main", Base: base.Hash}
	check("of a fork", number)
	if c, err := b.host.Commit(t.Context(), b.repo, fmt.Sprintf("pr/%d", number)); err != nil || c.Hash != evil {
		t.Errorf("%+v %v", c, err)
	}
	_, err = b.hub.ClosePullRequest("octo/shop", number, false)
	b.must(err)
	want.Open = false
	check("declined", number)
	b.must(b.hub.DeleteFork("octo/shop", number))
	want.HeadRepo, want.HeadName = "", ""
	check("of a fork that is gone", number)

	if _, err := b.host.PullRequest(t.Context(), b.repo, 99); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestCloudComplete gives full hashes to what a delivery has shortened: of a private fork as far as it can be read.
func TestCloudComplete(t *testing.T) {
	b := newBench(t, nil)
	head := b.commit("octo/shop", "feature", "Feature", map[string]string{"f": "1"})
	fork := b.fork()
	from, err := b.hub.Repo(fork)
	b.must(err)
	evil := b.commit(fork, "evil", "Evil", map[string]string{"f": "4"})

	// The branch says what the newest commit is. Where it has moved on, the hash does.
	h, err := bitbucket.New(b.host.Config)
	b.must(err)
	for _, tt := range []struct {
		ref, head, full  string
		branches, hashes int
	}{{"refs/heads/feature", head[:12], head, 1, 0}, {"refs/heads/main", b.sha[:12], b.sha, 1, 0}, {"refs/heads/feature", b.sha[:11], b.sha, 1, 1}, {"refs/heads/gone", b.sha[:10], b.sha, 1, 1}} {
		branches, hashes := b.hub.Count("GET", "/repositories/{workspace}/{repo_slug}/refs/branches/{name}"), b.hub.Count("GET", "/repositories/{workspace}/{repo_slug}/commit/{commit}")
		pr := store.PullRequest{Number: 1, Head: tt.head, HeadRef: tt.ref, HeadRepo: b.repo.ID}
		if err := h.Complete(t.Context(), b.repo, &pr); err != nil || pr.Head != tt.full {
			t.Errorf("%s in %s: %+v %v", tt.head, tt.ref, pr, err)
		}
		branches, hashes = b.hub.Count("GET", "/repositories/{workspace}/{repo_slug}/refs/branches/{name}")-branches, b.hub.Count("GET", "/repositories/{workspace}/{repo_slug}/commit/{commit}")-hashes
		if branches != tt.branches || hashes != tt.hashes {
			t.Errorf("%s in %s: %d questions for branches, %d for hashes", tt.head, tt.ref, branches, hashes)
		}
	}

	pr := store.PullRequest{Number: 1, Head: head[:12], HeadRepo: b.repo.ID, Base: b.sha[:12], Merged: ""}
	if err := b.host.Complete(t.Context(), b.repo, &pr); err != nil || pr.Head != head || pr.Base != b.sha || pr.Merged != "" {
		t.Errorf("%+v %v", pr, err)
	}
	before := len(b.hub.Requests())
	pr.Head, pr.Base = head[:12], b.sha[:12]
	if err := b.host.Complete(t.Context(), b.repo, &pr); err != nil || pr.Head != head || len(b.hub.Requests()) != before {
		t.Errorf("asked again for what a hash is: %+v %v", pr, err)
	}
	_, err = b.hub.SetVisibility(fork, true)
	b.must(err)
	pr = store.PullRequest{Number: 7, Head: evil[:12], HeadRepo: from.UUID, HeadName: fork, Base: strings.Repeat("a", 12), Merged: strings.Repeat("b", 12)}
	if err := b.host.Complete(t.Context(), b.repo, &pr); !errors.Is(err, store.ErrNotFound) || !strings.HasPrefix(err.Error(), "the newest commit of pull request 7: ") {
		t.Errorf("of a fork that cannot be read: %+v %v", pr, err)
	}
	// Bitbucket may say so in another way, which is nobody's mistake.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 403}.At("GET", "/repositories/stranger/")))
	if err := b.host.Complete(t.Context(), b.repo, &pr); !errors.Is(err, store.ErrNotFound) || len(b.refusals()) != 0 {
		t.Errorf("of a fork that may not be read: %+v %v, told %q", pr, err, b.refusals())
	}
	// The repository itself shows the commits of its pull requests.
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "stranger:evil", Base: "main", Title: "T", User: "stranger"})
	b.must(err)
	if got, err := b.host.PullRequest(t.Context(), b.repo, number); err != nil || got.Head != evil || got.HeadRepo != from.UUID || got.HeadName != "" {
		t.Errorf("of a fork that cannot be read: %+v %v", got, err)
	}
	_, err = b.hub.SetVisibility(fork, false)
	b.must(err)
	if err := b.host.Complete(t.Context(), b.repo, &pr); err != nil || pr.Head != evil || pr.Base != "" || pr.Merged != "" {
		t.Errorf("of a fork: %+v %v", pr, err)
	}
	for _, bad := range []string{"", "x", "../../user", "ABCDEF012345", "abc"} {
		pr := store.PullRequest{Number: 3, Head: bad}
		if err := b.host.Complete(t.Context(), b.repo, &pr); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestCloudPermission asks what people may do: by any grant, else by that to them in person, and says what is missing where neither
// may be asked.
func TestCloudPermission(t *testing.T) {
	people := map[string]store.Permission{"712020:named": store.PermissionMaintain}
	b := newBench(t, func(b *bench, c *bitbucket.Config) { c.People = people })
	account := func(name, role string) store.Account {
		u := b.hub.AddUser(name)
		b.must(b.hub.SetPermission("octo/shop", name, role))
		return store.Account{ID: u.AccountID, Login: name}
	}
	reader, writer, admin, nobody := account("reader", "read"), account("writer", "write"), account("admin", "admin"), account("nobody", "none")
	b.hub.AddUser("member")
	b.hub.SetGroup("devs", "member")
	b.must(b.hub.SetGroupPermission("octo/shop", "devs", "write"))
	m, err := b.hub.User("member")
	b.must(err)
	member := store.Account{ID: m.AccountID, Login: "member"}
	check := func(h *bitbucket.Host, who store.Account, want store.Permission) {
		t.Helper()
		if got, err := h.Permission(t.Context(), b.repo, who); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", who.Login, got, err, want)
		}
	}
	for _, tt := range []struct {
		who  store.Account
		want store.Permission
	}{
		{reader, store.PermissionRead}, {writer, store.PermissionWrite}, {admin, store.PermissionAdmin}, {nobody, store.PermissionNone}, {member, store.PermissionWrite},
		{store.Account{ID: "712020:named"}, store.PermissionMaintain}, {store.Account{}, store.PermissionNone}, {store.Account{ID: `x" OR user.account_id="` + admin.ID}, store.PermissionNone},
		{store.Account{ID: "reader", Login: "reader"}, store.PermissionNone}, // that is a name
	} {
		check(b.host, tt.who, tt.want)
	}
	// The first endpoint is gone one day.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 410, Body: `{"type":"error","error":{"message":"gone"}}`}.At("GET", "/workspaces/").For(2)))
	check(b.host, writer, store.PermissionWrite)
	if _, err := b.host.Permission(t.Context(), b.repo, member); !errors.Is(err, store.ErrForbidden) {
		t.Errorf("a grant to a group cannot be seen: %v", err)
	}
	// A bad day is no answer.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 502}.At("GET", "/workspaces/").For(3)))
	if _, err := b.host.Permission(t.Context(), b.repo, writer); err == nil || errors.Is(err, store.ErrForbidden) {
		t.Errorf("%v", err)
	}

	// Without the scope.
	poor := newBench(t, func(b *bench, c *bitbucket.Config) {
		withScopes("repository:write", "pullrequest:write")(b, c)
		c.People = people
	})
	check(poor.host, store.Account{ID: "712020:named"}, store.PermissionMaintain)
	_, err = poor.host.Permission(t.Context(), poor.repo, writer)
	want := "not allowed to ask: the credential for octo/shop lacks the scope repository:admin; give it that, or name the account id " + writer.ID + " under people: GET /repositories/octo/…/permissions-config/users/"
	if !errors.Is(err, store.ErrForbidden) || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "it takes the scope repository:admin") {
		t.Errorf("%v", err)
	}
	told := poor.refusals()
	if len(told) != 1 || !strings.Contains(told[0], "permissions-config/users/") || !strings.HasSuffix(told[0], "without the scope repository:admin nobody's permission can be asked for: name account ids under people") {
		t.Errorf("told %q", told)
	}
}

// TestCloudRepositories lists what credentials are for: by name, by workspace and by project, each once, and what can be read in spite
// of what cannot.
func TestCloudRepositories(t *testing.T) {
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		for _, name := range []string{"octo/web1", "octo/web2", "octo/app"} {
			_, err := b.hub.AddRepo(name, bitbuckettest.RepoOptions{Private: true, Project: map[bool]string{true: "WEB", false: "APP"}[strings.Contains(name, "web")]})
			b.must(err)
		}
		consumer, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.OAuthConsumer, Workspace: "octo"})
		b.must(err)
		api, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.UserToken, Email: "me@example.org"})
		b.must(err)
		b.must(b.hub.SetPermission("octo/app", "me", "admin"))
		c.Credentials = append(c.Credentials,
			bitbucket.Credential{Repositories: []string{"octo/*"}, Project: "WEB", Consumer: bitbucket.Consumer{Key: consumer.Key, Secret: consumer.Value}},
			bitbucket.Credential{Repositories: []string{"octo/app", "octo/none", "octo/shop"}, Token: api.Value, Email: "me@example.org"})
	})
	list, err := b.host.Repositories(t.Context())
	b.must(err)
	var names []string
	numbers := map[int64]bool{}
	for _, r := range list {
		names = append(names, r.Name)
		numbers[r.Installation] = true
		if r.Forge != "bitbucket" || r.Host != b.repo.Host || len(r.ID) != 36 || !r.Private || r.CloneURL != b.hub.CloneURL(r.Name) || r.WebURL != b.hub.URL()+"/"+r.Name || r.Installation != b.host.Installation(r.Name) {
			t.Errorf("%+v", r)
		}
	}
	if fmt.Sprint(names) != "[octo/app octo/shop octo/web1 octo/web2]" || len(numbers) != 3 {
		t.Errorf("%v by %d credentials", names, len(numbers))
	}
	if shop := list[1]; shop.ID != b.repo.ID || shop.DefaultBranch != "main" || shop.Installation != b.repo.Installation {
		t.Errorf("%+v", shop)
	}
	if unread := b.host.Unread(); len(unread) != 1 || !errors.Is(unread["octo/none"], store.ErrNotFound) {
		t.Errorf("%v", unread)
	}
	// Each can be read with its credential, and cloned.
	for _, r := range list {
		if _, err := b.host.FileID(t.Context(), r, strings.Repeat("a", 40), "x"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	// If nothing can be read it is an error.
	for _, token := range b.hub.Tokens() {
		b.hub.Revoke(token.Value) // one that has been revoked already is none
	}
	if list, err := b.host.Repositories(t.Context()); err == nil || len(list) > 0 || !strings.Contains(err.Error(), "octo/shop: GET /repositories/octo/shop: status 401") {
		t.Errorf("%v %v", list, err)
	}
}

// TestCloudLook shows how a repository stands, by two requests if it is small.
func TestCloudLook(t *testing.T) {
	b := newBench(t, nil)
	fork := b.fork()
	evil := b.commit(fork, "evil", "Evil", map[string]string{"f": "4"})
	head := b.commit("octo/shop", "feature", "Feature", map[string]string{"f": "1"})
	b.must(b.hub.SetRef("octo/shop", "refs/tags/v1", b.sha))
	for _, branch := range []string{"feature", "closed"} {
		if branch == "closed" {
			b.commit("octo/shop", branch, "Closed", map[string]string{"f": "2"})
		}
		number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: branch, Base: "main", Title: branch, User: "dev"})
		b.must(err)
		if branch == "closed" {
			_, err = b.hub.ClosePullRequest("octo/shop", number, false)
			b.must(err)
		}
	}
	before := len(b.hub.Requests())
	s, err := b.host.Look(t.Context(), b.repo)
	b.must(err)
	if asked := len(b.hub.Requests()) - before; asked != 2 {
		t.Errorf("asked %d times", asked)
	}
	if len(s.Refs) != 4 || s.Refs["refs/heads/main"] != b.sha || s.Refs["refs/heads/feature"] != head || s.Refs["refs/tags/v1"] != b.sha || s.Part {
		t.Errorf("%+v", s)
	}
	if len(s.Pulls) != 1 || s.Pulls[0].Head != head || s.Pulls[0].Base != b.sha || s.Pulls[0].Title != "feature" || !s.Pulls[0].Open {
		t.Errorf("%+v", s.Pulls)
	}
	_, _, err = b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "stranger:evil", Base: "main", Title: "T", User: "stranger"})
	b.must(err)
	for n, want := range []int{3, 2} { // a fork's hash is asked for once
		before = len(b.hub.Requests())
		if s, err = b.host.Look(t.Context(), b.repo); err != nil || len(s.Pulls) != 2 || !slices.ContainsFunc(s.Pulls, func(p store.PullRequest) bool { return p.Head == evil && p.HeadName == fork }) {
			t.Errorf("%+v %v", s.Pulls, err)
		}
		if asked := len(b.hub.Requests()) - before; asked != want {
			t.Errorf("look %d asked %d times", n, asked)
		}
	}
	// One of a fork that cannot be read is asked for once, and one that the repository shows itself is found.
	private, err := b.hub.AddFork("octo/shop", "hidden")
	b.must(err)
	secret := b.commit(private, "topic", "Secret", map[string]string{"f": "5"})
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "hidden:topic", Base: "main", Title: "T", User: "hidden"})
	b.must(err)
	for n, want := range []int{5, 2} {
		before = len(b.hub.Requests())
		if s, err = b.host.Look(t.Context(), b.repo); err != nil || len(s.Pulls) != 3 || !slices.ContainsFunc(s.Pulls, func(p store.PullRequest) bool { return p.Head == secret && p.HeadName == "" }) {
			t.Errorf("%+v %v", s.Pulls, err)
		}
		if asked := len(b.hub.Requests()) - before; asked != want {
			t.Errorf("look %d asked %d times", n, asked)
		}
	}
	other, err := bitbucket.New(b.host.Config) // which does not know what it was
	b.must(err)
	b.must(b.hub.DeleteFork("octo/shop", number))
	for n, want := range []int{4, 2} {
		before = len(b.hub.Requests())
		if s, err := other.Look(t.Context(), b.repo); err != nil || len(s.Pulls) != 2 || !s.Part {
			t.Errorf("%+v %v", s, err)
		}
		if asked := len(b.hub.Requests()) - before; asked != want {
			t.Errorf("look %d after the fork was gone asked %d times", n, asked)
		}
	}
	if s, err = b.host.Look(t.Context(), b.repo); err != nil || len(s.Pulls) != 3 || s.Part {
		t.Errorf("%+v %v", s, err)
	}
	// Many refs come in pages, and too many in part.
	for n := range 250 {
		b.must(b.hub.SetRef("octo/shop", fmt.Sprintf("refs/heads/many/%d", n), b.sha))
	}
	if s, err = b.host.Look(t.Context(), b.repo); err != nil || len(s.Refs) != 254 || s.Part {
		t.Errorf("%d refs, %v", len(s.Refs), err)
	}
}

// TestCloudComments gives the comments of others since a time, oldest first.
func TestCloudComments(t *testing.T) {
	b := newBench(t, nil)
	b.commit("octo/shop", "feature", "Feature", map[string]string{"f": "1"})
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "feature", Base: "main", Title: "T", User: "dev"})
	b.must(err)
	var since time.Time
	for n, body := range []string{"one", "two", "ours\n\n[//]: # (buildsmith:summary)", "three", "deleted"} {
		c, _, err := b.hub.Comment("octo/shop", number, "dev", body)
		b.must(err)
		if n == 1 {
			since = c.Created
		}
		if body == "deleted" {
			_, err = b.hub.DeleteComment(c.ID, "dev")
			b.must(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	for _, tt := range []struct {
		since time.Time
		want  string
	}{{time.Time{}, "one two three"}, {since, "two three"}, {time.Now().Add(time.Hour), ""}} {
		list, err := b.host.Comments(t.Context(), b.repo, number, tt.since)
		b.must(err)
		var bodies []string
		for _, c := range list {
			bodies = append(bodies, c.Body)
			if dev, _ := b.hub.User("dev"); c.ID == 0 || c.PullRequest != number || c.Author != (store.Account{ID: dev.AccountID, Login: "dev"}) || c.Created.IsZero() {
				t.Errorf("%+v", c)
			}
		}
		if got := strings.Join(bodies, " "); got != tt.want {
			t.Errorf("since %v: %s, want %s", tt.since, got, tt.want)
		}
	}
	if err := b.host.Acknowledge(t.Context(), b.repo, store.Comment{}, store.ReactionAccepted); err != nil {
		t.Error(err)
	}
}
