package bitbucket_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// allOf is a personal token of somebody who administers the project, with the rights that are given.
func allOf(c *centerSetup, scopes ...string) {
	c.token = bitbuckettest.TokenOptions{Kind: bitbuckettest.PersonalToken, User: "ops", Scopes: scopes}
	c.username = "ops"
}

// TestCenterPermission gives people roles in every way that there is.
func TestCenterPermission(t *testing.T) {
	t.Parallel()
	setup := centerSetup{}
	allOf(&setup, "PROJECT_ADMIN", "REPO_ADMIN")
	c := newCenter(t, setup)
	c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
	for name, role := range map[string]string{"reader": "read", "writer": "write", "admin": "admin", "both": "read", "annabel": "admin"} {
		c.must(c.hub.SetPermission(centerRepo, name, role))
	}
	c.must(c.hub.SetProjectPermission("OCTO", "of-project", "write"))
	c.must(c.hub.SetProjectPermission("OCTO", "both", "admin"))
	c.hub.SetGroup("devs", "dev", "reader")
	c.hub.SetGroup("leads", "lead", "dev")
	c.hub.SetGroup("guests", "guest")
	c.must(c.hub.SetGroupPermission(centerRepo, "devs", "write"))
	c.must(c.hub.SetGroupPermission(centerRepo, "guests", "read"))
	c.must(c.hub.SetProjectGroupPermission("OCTO", "leads", "admin"))
	for name, want := range map[string]store.Permission{
		"writer": store.PermissionWrite, "admin": store.PermissionAdmin, "both": store.PermissionAdmin, "of-project": store.PermissionWrite,
		"reader": store.PermissionWrite, "dev": store.PermissionAdmin, "lead": store.PermissionAdmin, "guest": store.PermissionRead,
		"nobody": store.PermissionNone, "ann": store.PermissionNone, // whose name is the beginning of another's
	} {
		got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser(name)))
		if err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", name, got, err, want)
		}
	}

	// The name of somebody who may is worth nothing with another id, and nobody has no name.
	admin := accountOf(c.hub.AddUser("admin"))
	for _, who := range []store.Account{{ID: "424242", Login: "admin"}, {Login: "admin"}, {ID: admin.ID}, {}} {
		if got, err := c.Permission(t.Context(), c.repo, who); err != nil || got != store.PermissionNone {
			t.Errorf("%+v: %v %v", who, got, err)
		}
	}
	if said := c.said(); len(said) > 0 {
		t.Errorf("refused: %q", said)
	}

	// What the project gives to everybody, people have; the user of a token is not one of them.
	c.must(c.hub.SetProjectDefault("OCTO", "write"))
	if got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser("nobody"))); err != nil || got != store.PermissionWrite {
		t.Errorf("everybody may write: %v %v", got, err)
	}
	bot, err := c.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.ProjectToken, Project: "OCTO"})
	c.must(err)
	if got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser(bot.User))); err != nil || got != store.PermissionNone {
		t.Errorf("the user of a token: %v %v", got, err)
	}
}

// TestCenterPermissionPages has more people whose names begin alike than are on a page.
func TestCenterPermissionPages(t *testing.T) {
	t.Parallel()
	setup := centerSetup{}
	allOf(&setup, "PROJECT_ADMIN", "REPO_ADMIN")
	c := newCenter(t, setup)
	c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
	for n := range 1005 {
		c.must(c.hub.SetPermission(centerRepo, fmt.Sprintf("sam%04d", n), "read"))
	}
	c.must(c.hub.SetPermission(centerRepo, "zoe-sam", "write"))
	c.must(c.hub.SetPermission(centerRepo, "zoe-sam-sam", "admin"))
	sam := c.hub.AddUser("zoe-sam")
	if got, err := c.Permission(t.Context(), c.repo, accountOf(sam)); err != nil || got != store.PermissionWrite {
		t.Errorf("%v %v", got, err)
	}
	sam.Name = "sam" // was renamed since, and is found by the id on the second page
	if got, err := c.Permission(t.Context(), c.repo, accountOf(sam)); err != nil || got != store.PermissionWrite {
		t.Errorf("renamed: %v %v", got, err)
	}
	pages := 0
	for _, r := range c.hub.Requests() {
		if strings.Contains(r.Path, "repos/hello/permissions/users?") && strings.Contains(r.Path, "start=1000") {
			pages++
		}
	}
	if pages != 1 {
		t.Errorf("the second page was asked for %d times", pages)
	}
}

// TestCenterOwner has somebody's own repository, which its owner administers without any grant.
func TestCenterOwner(t *testing.T) {
	t.Parallel()
	setup := centerSetup{repos: []string{"~ops/*", "OCTO/*"}}
	allOf(&setup, "PROJECT_ADMIN", "REPO_ADMIN")
	c := newCenter(t, setup)
	_, err := c.hub.AddRepo("~ops/tools", bitbuckettest.RepoOptions{Private: true})
	c.must(err)
	ops := accountOf(c.hub.AddUser("ops"))
	r := c.the("~ops/tools")
	if got, err := c.Permission(t.Context(), r, ops); err != nil || got != store.PermissionAdmin {
		t.Errorf("the owner: %v %v", got, err)
	}
	if got, err := c.Permission(t.Context(), r, accountOf(c.hub.AddUser("eve"))); err != nil || got != store.PermissionNone {
		t.Errorf("another: %v %v", got, err)
	}
	// A public repository can be read by everybody.
	_, err = c.hub.SetVisibility("~ops/tools", false)
	c.must(err)
	c.start(setup)
	if got, err := c.Permission(t.Context(), r, accountOf(c.hub.AddUser("eve"))); err != nil || got != store.PermissionRead {
		t.Errorf("another, of a public one: %v %v", got, err)
	}
}

// TestCenterPermissionDenied takes rights away one by one. What is not known is never taken for none, and never for more.
func TestCenterPermissionDenied(t *testing.T) {
	t.Parallel()
	const (
		ofRepo    = "REPO_ADMIN for GET /api/latest/projects/OCTO/repos/hello/permissions/users"
		ofProject = "PROJECT_ADMIN for GET /api/latest/projects/OCTO/permissions/users"
		members   = "the permission LICENSED_USER, which a personal token has for GET /api/latest/admin/groups/more-members"
	)
	repository := bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo}
	project := bitbuckettest.TokenOptions{Kind: bitbuckettest.ProjectToken, Project: "OCTO"}
	for name, tt := range map[string]struct {
		token    bitbuckettest.TokenOptions
		scope    string
		as401    bool
		known    []string // whose permission is known all the same
		lacks    []string
		lacksNot []string
	}{
		"read alone":                {repository, "REPO_READ", false, nil, []string{ofRepo, ofProject}, nil},
		"read alone, told by a 401": {repository, "REPO_READ", true, nil, []string{ofRepo, ofProject}, nil},
		"the repository alone":      {repository, "REPO_ADMIN", false, []string{"writer"}, []string{ofProject, members}, []string{ofRepo}},
		"no person's token":         {project, "PROJECT_ADMIN", false, []string{"writer", "of-project"}, []string{members}, []string{ofRepo, ofProject}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := centerSetup{token: tt.token, people: map[string]store.Permission{}}
			setup.token.Scopes = []string{tt.scope}
			setup.options.DataCenter.DeniedAs401 = tt.as401
			c := newCenter(t, setup)
			c.must(c.hub.SetPermission(centerRepo, "writer", "write"))
			c.must(c.hub.SetProjectPermission("OCTO", "of-project", "write"))
			c.hub.SetGroup("devs", "dev")
			c.must(c.hub.SetGroupPermission(centerRepo, "devs", "write"))
			for _, who := range []string{"writer", "of-project", "dev", "nobody"} {
				got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser(who)))
				if slices.Contains(tt.known, who) {
					if err != nil || got != store.PermissionWrite {
						t.Errorf("%s: %v %v", who, got, err)
					}
					continue
				}
				if !errors.Is(err, store.ErrForbidden) || got != store.PermissionNone {
					t.Fatalf("%s: %v %v", who, got, err)
				}
				said := c.said()
				for _, text := range []string{err.Error(), said[len(said)-1]} {
					if !strings.HasPrefix(text, "not allowed to ask what "+who+" may do in OCTO/hello: the token lacks ") || !strings.HasSuffix(text, "or name the person under people in the configuration") {
						t.Errorf("%s: %s", who, text)
					}
					for _, lack := range tt.lacks {
						if !strings.Contains(text, lack) {
							t.Errorf("%s: %s, which does not say %s", who, text, lack)
						}
					}
					for _, lack := range tt.lacksNot {
						if strings.Contains(text, lack) {
							t.Errorf("%s: %s, which says %s", who, text, lack)
						}
					}
				}
			}
		})
	}
}

// TestCenterPeople asks nobody for whom the configuration names.
func TestCenterPeople(t *testing.T) {
	t.Parallel()
	people := map[string]store.Permission{}
	c := newCenter(t, centerSetup{people: people, token: bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}}})
	ada := accountOf(c.hub.AddUser("ada"))
	people[ada.ID] = store.PermissionMaintain
	if got, err := c.Permission(t.Context(), c.repo, ada); err != nil || got != store.PermissionMaintain || len(c.hub.Requests()) > 0 {
		t.Errorf("%v %v", got, err)
	}
}

// TestCenterPermissionLater has Bitbucket in trouble, which is no answer: it is asked again later.
func TestCenterPermissionLater(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	c.must(c.hub.Inject(bitbuckettest.Fault{Method: http.MethodGet, Path: "/permissions/", Status: http.StatusBadGateway}.For(-1)))
	if got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser("ada"))); err == nil || errors.Is(err, store.ErrForbidden) || got != store.PermissionNone ||
		!strings.HasPrefix(err.Error(), "what ada may do in OCTO/hello: GET /api/latest/projects/OCTO/repos/hello/permissions/users: status 502") {
		t.Errorf("%v %v", got, err)
	}
}

// TestCenterEverybody gives what everybody has to people who may sign in, and to nobody else.
func TestCenterEverybody(t *testing.T) {
	t.Parallel()
	for was, is := range map[string]string{`"x"`: `"x"`, `"type":"NORMAL"`: `"type":"SERVICE"`, `"active":true`: `"active":false`} {
		setup := centerSetup{transport: bend(func(r *http.Request, status int, _ http.Header, body []byte) (int, []byte) {
			return status, bytes.ReplaceAll(body, []byte(was), []byte(is))
		})}
		allOf(&setup, "PROJECT_ADMIN", "REPO_ADMIN")
		c := newCenter(t, setup)
		c.must(c.hub.SetProjectPermission("OCTO", "ops", "admin"))
		c.must(c.hub.SetProjectDefault("OCTO", "admin"))
		want := store.PermissionNone
		if was == is {
			want = store.PermissionAdmin
		}
		if got, err := c.Permission(t.Context(), c.repo, accountOf(c.hub.AddUser("ada"))); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", is, got, err, want)
		}
	}
}
