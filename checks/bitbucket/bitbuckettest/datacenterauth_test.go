package bitbuckettest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDataCenterPermissions asks each kind of thing with tokens of all sorts.
func TestDataCenterPermissions(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	for _, name := range []string{"octo/other", "zoo/hello"} {
		if _, err := s.AddRepo(name, RepoOptions{Private: true}); err != nil {
			t.Fatal(err)
		}
	}
	for user, role := range map[string]string{"ada": "read", "bob": "write", "eve": "admin"} {
		if err := s.SetPermission(centerRepo, user, role); err != nil {
			t.Fatal(err)
		}
	}
	token := func(kind, of string, scopes ...string) string {
		return s.newToken(TokenOptions{Kind: kind, Repo: of, Project: of, User: of, Scopes: scopes})
	}
	const (
		ok200 = http.StatusOK
		no    = http.StatusForbidden
	)
	// What is asked for: the repository, its webhooks, users in the project, and members of a group.
	paths := []string{s.api, s.api + "/webhooks", "/api/latest/projects/OCTO/permissions/users", "/api/latest/users"}
	for name, test := range map[string]struct {
		token string
		want  []int
	}{
		"repository, read":            {token(RepositoryToken, centerRepo, "REPO_READ"), []int{ok200, no, no, no}},
		"repository, write":           {token(RepositoryToken, centerRepo, "REPO_WRITE"), []int{ok200, no, no, no}},
		"repository, admin":           {token(RepositoryToken, centerRepo, "REPO_ADMIN"), []int{ok200, ok200, no, no}},
		"repository, nothing":         {token(RepositoryToken, centerRepo, []string{}...), []int{no, no, no, no}},
		"another repository":          {token(RepositoryToken, "octo/other", "REPO_ADMIN"), []int{no, no, no, no}},
		"project, read":               {token(ProjectToken, "OCTO", "PROJECT_READ"), []int{ok200, no, no, no}},
		"project, repositories admin": {token(ProjectToken, "OCTO", "PROJECT_READ", "REPO_ADMIN"), []int{ok200, ok200, no, no}},
		"project, admin":              {token(ProjectToken, "octo", "PROJECT_ADMIN"), []int{ok200, ok200, ok200, no}},
		"another project":             {token(ProjectToken, "ZOO", "PROJECT_ADMIN"), []int{no, no, no, no}},
		"reader":                      {token(PersonalToken, "ada"), []int{ok200, no, no, ok200}},
		"writer":                      {token(PersonalToken, "bob"), []int{ok200, no, no, ok200}},
		"administrator":               {token(PersonalToken, "eve"), []int{ok200, ok200, no, ok200}},
		"administrator, read":         {token(PersonalToken, "eve", "REPO_READ"), []int{ok200, no, no, ok200}},
		"owner":                       {token(PersonalToken, "octo"), []int{ok200, ok200, ok200, ok200}},
		"stranger":                    {token(PersonalToken, "sam"), []int{no, no, no, ok200}},
	} {
		t.Run(name, func(t *testing.T) {
			for i, path := range paths {
				resp, data := s.send("GET "+path, test.token, "")
				if resp.StatusCode != test.want[i] {
					t.Errorf("%s answers %d %s, want %d", path, resp.StatusCode, data, test.want[i])
				}
			}
		})
	}
	s.token = token(RepositoryToken, centerRepo, "REPO_READ")
	if message := problemOf(t, s.must("GET "+s.api+"/webhooks", "", no)); !strings.Contains(message, "it takes REPO_ADMIN") {
		t.Errorf("it says %q", message)
	}
	builds := s.api + "/commits/" + s.sha + "/builds"
	s.must("POST "+builds, `{"key": "k", "state": "FAILED", "url": "https://ci.example.org"}`, http.StatusNoContent)
	problemOf(t, s.must("DELETE "+builds+"?key=k", "", no))
}

func TestDataCenterAuthentication(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newCenter(t, Options{Now: c.now})
	if resp, data := s.send("GET "+s.api, "", ""); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(data), "You are not permitted to access this resource") {
		t.Errorf("without a token: %d %s", resp.StatusCode, data)
	}
	resp, data := s.send("GET "+s.api, "guessed", "")
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(data), `{"context":null,"exceptionName":"com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException","message":"Authentication failed. Please check your credentials and try again."}`) {
		t.Errorf("with a guess: %d %s", resp.StatusCode, data)
	}
	if resp, _ := s.send("GET /api/latest/application-properties", "guessed", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("what needs no token, with a guess: %d", resp.StatusCode)
	}
	if _, err := s.AddRepo("octo/open", RepoOptions{}); err != nil {
		t.Fatal(err)
	}
	if resp, _ := s.send("GET "+strings.Replace(s.api, "hello", "open", 1), "", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a public repository without a token: %d", resp.StatusCode)
	}
	basic := func(user, token string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.WebURL()+"/rest"+s.api, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(user, token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	personal := s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})
	for _, test := range []struct {
		user, token string
		want        int
	}{{"octo", personal, 200}, {"ada", personal, 401}, {"x-token-auth", s.token, 401}, {"octo", s.token, 401}} {
		if got := basic(test.user, test.token); got != test.want {
			t.Errorf("as %s with a password: %d, want %d", test.user, got, test.want)
		}
	}
	s.Expire(personal)
	if resp, _ := s.send("GET "+s.api, personal, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a token that has expired: %d", resp.StatusCode)
	}
	if err := s.Revoke(s.token); err != nil {
		t.Fatal(err)
	}
	if resp, _ := s.send("GET "+s.api, s.token, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("with a token that is revoked: %d", resp.StatusCode)
	}
}

func TestDataCenterWhoami(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	pull := s.pull("feature")
	for _, token := range []string{s.token, s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})} {
		s.token = token
		resp, _ := s.send("GET /api/latest/application-properties", token, "")
		name := resp.Header.Get("X-AUSERNAME")
		comment := s.must(fmt.Sprintf("POST %s/pull-requests/%d/comments", s.api, pull), `{"text": "hello"}`, http.StatusCreated)
		if name == "" || at(comment, "author.name") != name || fmt.Sprint(at(comment, "author.id")) != resp.Header.Get("X-AUSERID") {
			t.Errorf("the token is of %q, its comment of %v", name, at(comment, "author"))
		}
	}
	if resp, _ := s.send("GET /api/latest/application-properties", "", ""); resp.Header.Get("X-AUSERNAME") != "" {
		t.Errorf("nobody is %q", resp.Header.Get("X-AUSERNAME"))
	}
	if got := s.Comments(centerRepo, pull); len(got) != 2 || got[1].User != "octo" {
		t.Errorf("the comments are %+v", got)
	}
}

func TestDataCenterDeniedAs401(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{DataCenter: DataCenterOptions{DeniedAs401: true}})
	s.token = s.newToken(TokenOptions{Kind: RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}})
	got := s.must("GET "+s.api+"/webhooks", "", http.StatusUnauthorized)
	if at(got, "errors.0.exceptionName") != "com.atlassian.bitbucket.AuthorisationException" {
		t.Errorf("it says %v", got)
	}
}

func TestDataCenterLimitOfRequests(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newCenter(t, Options{Limit: 3, Now: c.now})
	for range 3 {
		s.must("GET "+s.api, "", http.StatusOK)
	}
	resp, data := s.send("GET "+s.api, s.token, "")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "2" || !strings.Contains(string(data), "RateLimitExceededException") {
		t.Errorf("the fourth is %d %v %s", resp.StatusCode, resp.Header, data)
	}
	c.add(2 * time.Hour)
	s.must("GET "+s.api, "", http.StatusOK)

	free := newCenter(t, Options{})
	for range 20 {
		free.must("GET "+free.api, "", http.StatusOK)
	}
}

func TestDataCenterPeople(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	s.SetGroup("devs", "bob", "carol")
	for _, err := range []error{s.SetPermission(centerRepo, "ada", "write"), s.SetPermission(centerRepo, "adam", "read"), s.SetGroupPermission(centerRepo, "devs", "write"),
		s.SetProjectPermission("OCTO", "eve", "admin"), s.SetProjectGroupPermission("OCTO", "staff", "read"), s.SetProjectDefault("OCTO", "read")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	pairs := func(path, who string) []string {
		page := s.must("GET "+path, "", http.StatusOK)
		names, permissions := texts(page, who), texts(page, "permission")
		for i := range names {
			names[i] += " " + permissions[i]
		}
		return names
	}
	project := "/api/latest/projects/OCTO/permissions"
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})
	for _, test := range []struct {
		path, who string
		want      []string
	}{
		{s.api + "/permissions/users", "user.name", []string{"ada REPO_WRITE", "adam REPO_READ"}},
		{s.api + "/permissions/users?filter=ADA", "user.name", []string{"ada REPO_WRITE", "adam REPO_READ"}}, // a part of the name is enough
		{s.api + "/permissions/users?filter=adam", "user.name", []string{"adam REPO_READ"}},
		{s.api + "/permissions/users?filter=bob", "user.name", nil}, // who is only in a group
		{s.api + "/permissions/groups", "group.name", []string{"devs REPO_WRITE"}},
		{s.api + "/permissions/groups?filter=none", "group.name", nil},
		{project + "/users", "user.name", []string{"eve PROJECT_ADMIN", "octo PROJECT_ADMIN"}},
		{project + "/users?filter=eve", "user.name", []string{"eve PROJECT_ADMIN"}},
		{project + "/groups", "group.name", []string{"staff PROJECT_READ"}},
	} {
		if got := pairs(test.path, test.who); !slices.Equal(got, test.want) {
			t.Errorf("%s is %v, want %v", test.path, got, test.want)
		}
	}
	for permission, want := range map[string]bool{"PROJECT_READ": true, "PROJECT_WRITE": false, "PROJECT_ADMIN": false} {
		if got := s.must("GET "+project+"/"+permission+"/all", "", http.StatusOK); got["permitted"] != want {
			t.Errorf("all have %s: %v", permission, got)
		}
	}
	members := "GET /api/latest/admin/groups/more-members?context="
	if got := texts(s.must(members+"devs", "", http.StatusOK), "name"); !slices.Equal(got, []string{"bob", "carol"}) {
		t.Errorf("the group is %v", got)
	}
	if got := texts(s.must(members+"DEVS&filter=bob", "", http.StatusOK), "name"); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("the group with bob is %v", got)
	}
	problemOf(t, s.must(members+"none", "", http.StatusNotFound))
	if got := texts(s.must("GET /api/latest/users?filter=ada", "", http.StatusOK), "name"); !slices.Equal(got, []string{"ada", "adam"}) {
		t.Errorf("the users are %v", got)
	}
	s.AddUser("Grace@Example")
	if got := s.must("GET /api/latest/users/grace_example", "", http.StatusOK); got["name"] != "Grace@Example" || got["type"] != "NORMAL" {
		t.Errorf("the user is %v", got)
	}
	problemOf(t, s.must("GET /api/latest/users/nobody", "", http.StatusNotFound))
	problemOf(t, s.must("GET /api/latest/projects/NONE/permissions/users", "", http.StatusNotFound))

	// Of the members of a group only those learn who count for the license.
	if err := s.SetLicensed("octo", false); err != nil {
		t.Fatal(err)
	}
	if message := problemOf(t, s.must(members+"devs", "", http.StatusForbidden)); !strings.Contains(message, "LICENSED_USER") {
		t.Errorf("it says %q", message)
	}
	if err := s.SetLicensed("octo", true); err != nil {
		t.Fatal(err)
	}
	s.must(members+"devs", "", http.StatusOK)

	// All people read what the project lets all read.
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "stranger"})
	s.must("GET "+s.api, "", http.StatusOK)
	if err := s.SetProjectDefault("OCTO", "none"); err != nil {
		t.Fatal(err)
	}
	s.must("GET "+s.api, "", http.StatusForbidden)
	if s.SetProjectDefault("OCTO", "king") == nil {
		t.Error("there is a role king")
	}
}
