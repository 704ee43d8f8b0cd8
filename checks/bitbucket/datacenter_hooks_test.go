package bitbucket_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
)

const hookURL = "https://ci.example.org/webhook/bitbucket"

// centerEvents are those that a webhook has.
var centerEvents = []string{"pr:comment:added", "pr:comment:edited", "pr:declined", "pr:deleted", "pr:from_ref_updated", "pr:merged", "pr:modified", "pr:opened", "repo:modified", "repo:refs_changed"}

// asLine is how a webhook stands, in a line.
func asLine(h bitbuckettest.Hook) string {
	events := slices.Sorted(slices.Values(h.Events))
	line := []string{h.Name, h.URL, "secret " + h.Secret}
	if h.Active {
		line = append(line, "active")
	}
	if h.VerifySSL {
		line = append(line, "strict")
	}
	if !slices.Equal(events, centerEvents) {
		line = append(line, events...)
	}
	return strings.Join(line, ", ")
}

// TestCenterHooks makes webhooks, mends them, and removes what is too many.
func TestCenterHooks(t *testing.T) {
	t.Parallel()
	setup := centerSetup{hook: hookURL, secret: "first"}
	ofProject(&setup)
	c := newCenter(t, setup)
	_, err := c.hub.AddRepo("octo/shop", bitbuckettest.RepoOptions{})
	c.must(err)
	add := func(h bitbuckettest.Hook) {
		t.Helper()
		_, err := c.hub.AddHook("octo/shop", h)
		c.must(err)
	}
	add(bitbuckettest.Hook{Name: "mine", URL: "https://chat.example.org/hook", Active: true, Events: []string{"pr:opened"}})
	add(bitbuckettest.Hook{Name: "buildsmith", URL: "https://ci.example.org/old", Active: true, Events: []string{"pr:opened"}})
	add(bitbuckettest.Hook{Name: "x", URL: hookURL, Events: []string{"repo:forked"}})
	add(bitbuckettest.Hook{Name: "buildsmith", URL: "https://other.example.org/webhook/bitbucket", Active: true, Events: []string{"pr:opened"}})
	look := func(wantHello, wantShop []string) {
		t.Helper()
		for name, want := range map[string][]string{"octo/hello": wantHello, "octo/shop": wantShop} {
			var got []string
			for _, h := range c.hub.Hooks(name) {
				got = append(got, asLine(h))
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s has %q, want %q", name, got, want)
			}
		}
	}
	c.must(c.EnsureHooks(t.Context()))
	const own, chat, other = "buildsmith, " + hookURL + ", secret ", "mine, https://chat.example.org/hook, secret , active, pr:opened", "buildsmith, https://other.example.org/webhook/bitbucket, secret , active, pr:opened"
	look([]string{own + "first, active, strict"}, []string{own + "first, active, strict", chat, other})
	for _, name := range []string{"OCTO/hello", "OCTO/shop"} {
		if err, ok := c.Hooked()[name]; err != nil || !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	changes := func() (n int) {
		for _, r := range c.hub.Requests() {
			if r.Method != http.MethodGet {
				n++
			}
		}
		return n
	}
	before := changes()
	c.must(c.EnsureHooks(t.Context()))
	if made := changes() - before; made != 0 {
		t.Errorf("what is well was changed %d times", made)
	}
	// Another secret, after a restart.
	setup.secret = "second"
	c.start(setup)
	c.must(c.EnsureHooks(t.Context()))
	look([]string{own + "second, active, strict"}, []string{own + "second, active, strict", chat, other})
}

// TestCenterHooksDenied names the right that is missing.
func TestCenterHooksDenied(t *testing.T) {
	t.Parallel()
	for name, as401 := range map[string]bool{"told by a 403": false, "told by a 401": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := centerSetup{hook: hookURL, secret: "secret", token: bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_WRITE"}}}
			setup.options.DataCenter.DeniedAs401 = as401
			c := newCenter(t, setup)
			err := c.EnsureHooks(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), "the webhook of OCTO/hello: GET /api/latest/projects/OCTO/repos/hello/webhooks: status 403, ") ||
				!strings.HasSuffix(err.Error(), "; give the credential the permission REPO_ADMIN, or make the webhook by hand, to "+hookURL) || c.Hooked()["OCTO/hello"] == nil {
				t.Errorf("got %v", err)
			}
			if said := c.said(); len(said) != 1 || !strings.Contains(said[0], "/webhooks: status 403") {
				t.Errorf("told: %q", said)
			}
		})
	}
}

// ofTokens leaves out how the webhooks stand.
func ofTokens(list []bitbucket.Finding) []bitbucket.Finding {
	return slices.DeleteFunc(list, func(f bitbucket.Finding) bool {
		return strings.HasPrefix(f.Text, "no webhook delivers to ") || strings.HasPrefix(f.Text, "its webhooks cannot be seen: ")
	})
}

// TestCenterExamine says what each kind of token lacks, and what does not work then.
func TestCenterExamine(t *testing.T) {
	t.Parallel()
	const (
		hooks   = " lacks REPO_ADMIN, which GET /api/latest/projects/OCTO/repos/hello/webhooks takes in OCTO/hello; without it webhooks must be made by hand"
		people  = " lacks REPO_ADMIN, which GET /api/latest/projects/OCTO/repos/hello/permissions/users takes in OCTO/hello; without it what people may do is not known where the repository gives it: name them under people in the configuration"
		project = " lacks PROJECT_ADMIN, which GET /api/latest/projects/OCTO/permissions/users takes in OCTO/hello; without it what people may do is not known where the project gives it: name them under people in the configuration"
		groups  = " lacks the permission LICENSED_USER, which a personal token has, which GET /api/latest/admin/groups/more-members takes in OCTO/hello; without it what people may do is not known where a group gives it: name them under people in the configuration"
	)
	repository := func(scope string) bitbuckettest.TokenOptions {
		return bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{scope}}
	}
	for name, tt := range map[string]struct {
		token   bitbuckettest.TokenOptions
		version string
		fault   *bitbuckettest.Fault
		problem bool     // of those that are found
		want    []string // the ends of the texts of the token, in this order
	}{
		"all": {bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops"}, "9.4.2", nil, false, []string{"Data Center 9.4, as ops, with every right that is needed"}},
		"old": {bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops"}, "7.20.1", nil, false,
			[]string{"Data Center 7.20 is older than 7.21, the oldest that was tried", "Data Center 7.20, as ops, with every right that is needed"}},
		"of the repository": {repository("REPO_ADMIN"), "", nil, false, []string{project, groups}},
		"read alone":        {repository("REPO_READ"), "", nil, false, []string{hooks, people, project, groups}},
		"in trouble": {repository("REPO_ADMIN"), "", &bitbuckettest.Fault{Path: "/application-properties", Status: 503, Times: -1}, true,
			[]string{"GET /api/latest/application-properties: status 503"}},
		"no version": {repository("REPO_ADMIN"), "", &bitbuckettest.Fault{Path: "/application-properties", Status: 200, Body: `{"version":"x\u001b[31m"}`}, true,
			[]string{`Bitbucket says that its version is "x", which is none`}},
		"a stranger": {repository("REPO_ADMIN"), "", &bitbuckettest.Fault{Path: "/application-properties", Status: 200, Body: `{"version":"8.1.0"}`}, true,
			[]string{"Bitbucket does not know whose the token is: it has expired, was revoked, or is of another kind"}},
		"pull requests in trouble": {bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops"}, "", &bitbuckettest.Fault{Path: "/pull-requests", Status: 500, Times: -1}, true,
			[]string{"GET /api/latest/projects/OCTO/repos/hello/pull-requests: status 500"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := centerSetup{hook: hookURL, secret: "secret", token: tt.token}
			setup.options.DataCenter.Version = tt.version
			c := newCenter(t, setup)
			c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
			if tt.fault != nil {
				c.must(c.hub.Inject(*tt.fault))
			}
			list := ofTokens(c.Examine(t.Context()))
			if len(list) != 1+len(tt.want) || list[0].Text != "an HTTP access token; repositories: 1" {
				t.Fatalf("found %+v", list)
			}
			for n, want := range tt.want {
				f := list[n+1]
				if !strings.HasSuffix(f.Text, want) || f.Problem != tt.problem || f.Installation != c.repo.Installation || f.About != "OCTO/hello" {
					t.Errorf("found %+v, want %s", f, want)
				}
			}
			for _, said := range c.said() { // that it may not look at webhooks is told as whenever it looks
				if !tt.problem && !strings.Contains(said, "/webhooks: ") {
					t.Errorf("a look is no use of what is missing: %s", said)
				}
			}
		})
	}

	// A token that is worth nothing any more.
	c := newCenter(t, centerSetup{hook: hookURL, secret: "secret"})
	c.must(c.hub.Revoke(c.token))
	list := ofTokens(c.Examine(t.Context()))
	if len(list) != 3 || !strings.Contains(list[1].Text, "the token has expired, was revoked, or is of another kind") || !list[1].Problem || !list[2].Problem {
		t.Errorf("revoked: %+v", list)
	}

	// A name for git that is not that of the token.
	setup := centerSetup{hook: hookURL, secret: "secret", token: bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops"}, username: "root"}
	c = newCenter(t, setup)
	c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
	list = ofTokens(c.Examine(t.Context()))
	if len(list) != 3 || list[0].Text != "an HTTP access token of root; repositories: 1" || !list[1].Problem ||
		list[1].Text != "the username is root in the configuration, and the token is that of ops: git needs the one that it is of" {
		t.Errorf("of another: %+v", list)
	}
}
