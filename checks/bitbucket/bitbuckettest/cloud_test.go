package bitbuckettest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const shopPath = "/repositories/octo/shop"

func TestCloudRepository(t *testing.T) {
	s := newShop(t, Options{})
	repo, err := s.Repo(shopRepo)
	if err != nil {
		t.Fatal(err)
	}
	o := s.want(200, "GET", shopPath, "")
	expect(t, o, map[string]any{"uuid": "{" + repo.UUID + "}", "full_name": shopRepo, "is_private": true, "project.key": "OCTO", "mainbranch.name": "main"})
	for _, path := range []string{"/repositories/octo/%7B" + repo.UUID + "%7D", "/repositories/%7B%7D/%7B" + repo.UUID + "%7D"} {
		expect(t, s.want(200, "GET", path, ""), map[string]any{"full_name": shopRepo})
	}
	s.want(404, "GET", "/repositories/octo/none", "")
	s.want(200, "GET", "/repositories/octo?q="+url.QueryEscape(`project.key="OCTO"`), "")
	for query, want := range map[string]int{"": 1, "?q=" + url.QueryEscape(`project.key="X"`): 0} {
		expect(t, s.want(200, "GET", "/repositories/octo"+query, ""), map[string]any{"values.#": want})
	}
	s.wantViolation(400, "", "GET", "/repositories/octo?q=name", "")
	s.wantViolation(400, "at most 100", "GET", "/repositories/octo?pagelen=101", "")

	for _, gone := range []string{"/repositories", "/workspaces", "/user/permissions/repositories", "/user/permissions/workspaces"} {
		s.wantViolation(410, "CHANGE-2770", "GET", gone, "")
	}
	s.wantViolation(404, "no such operation", "GET", shopPath+"/issues", "")
	s.wantViolation(404, "no such operation", "PATCH", shopPath, "")
}

func TestCloudCommits(t *testing.T) {
	s := newShop(t, Options{})
	next := s.commit("topic/a", Change{Parent: s.sha, Files: map[string]string{"new.txt": "1"}, Remove: []string{"docs/a b.txt"}})
	s.commit("main", Change{Message: "other", Files: map[string]string{"main.txt": "2"}})
	if err := s.SetRef(shopRepo, "refs/tags/v1", s.sha); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{s.sha, s.sha[:12], "v1"} {
		expect(t, s.want(200, "GET", shopPath+"/commit/"+name, ""), map[string]any{"hash": s.sha, "repository.full_name": shopRepo, "parents.#": 0})
	}
	s.want(404, "GET", shopPath+"/commit/0123456789ab", "")
	s.want(404, "GET", shopPath+"/commit/--help", "")

	expect(t, s.want(200, "GET", shopPath+"/refs", ""), map[string]any{"values.#": 3, "values.0.name": "main", "values.2.type": "tag"})
	expect(t, s.want(200, "GET", shopPath+"/refs/branches?sort=-name", ""), map[string]any{"values.#": 2, "values.0.name": "topic/a"})
	expect(t, s.want(200, "GET", shopPath+"/refs/branches/topic/a", ""), map[string]any{"name": "topic/a", "target.hash": next})
	expect(t, s.want(200, "GET", shopPath+"/refs/tags/v1", ""), map[string]any{"target.hash": s.sha})
	s.want(404, "GET", shopPath+"/refs/branches/none", "")

	// Pages.
	first := s.want(200, "GET", shopPath+"/refs/branches?pagelen=1", "")
	expect(t, first, map[string]any{"values.#": 1, "size": 2, "page": 1, "previous": nil})
	following, _ := first["next"].(string)
	if !strings.HasPrefix(following, s.URL()+"/2.0"+shopPath) {
		t.Fatalf("the next page is %q", following)
	}
	expect(t, s.want(200, "GET", strings.TrimPrefix(following, s.URL()+"/2.0"), ""), map[string]any{"values.#": 1, "values.0.name": "topic/a", "next": nil})

	// Files.
	for path, want := range map[string]string{"buildspec.yml": "version: 0.2\n", "docs/a%20b.txt": "text"} {
		if status, text, _ := s.do("GET", shopPath+"/src/"+s.sha+"/"+path, ""); status != 200 || text != want {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
	expect(t, s.want(200, "GET", shopPath+"/src/"+s.sha+"/docs", ""), map[string]any{"values.0.path": "docs/a b.txt", "values.0.size": 4})
	expect(t, s.want(200, "GET", shopPath+"/src/"+s.sha+"/", ""), map[string]any{"values.#": 2, "values.1.type": "commit_directory"})
	expect(t, s.want(200, "GET", shopPath+"/src/"+s.sha+"/docs/a%20b.txt?format=meta", ""), map[string]any{"size": 4})
	s.want(404, "GET", shopPath+"/src/"+s.sha+"/none", "")
	s.want(404, "GET", shopPath+"/src/"+s.sha+"/docs/%2e%2e/buildspec.yml", "")

	expect(t, s.want(200, "GET", shopPath+"/merge-base/main.."+next[:12], ""), map[string]any{"hash": s.sha})
	s.want(404, "GET", shopPath+"/merge-base/main..none", "")
	s.wantViolation(400, "regular expression", "GET", shopPath+"/merge-base/main", "")
	expect(t, s.want(200, "GET", shopPath+"/diffstat/"+next+"..main", ""), map[string]any{"values.#": 2, "values.0.status": "removed", "values.1.new.path": "new.txt"})
	expect(t, s.want(200, "GET", shopPath+"/diffstat/"+next+"..main?topic=false", ""), map[string]any{"values.#": 3})
	expect(t, s.want(200, "GET", shopPath+"/diffstat/"+s.sha, ""), map[string]any{"values.#": 2, "values.0.status": "added", "values.0.old": nil})
}

func TestCloudScopes(t *testing.T) {
	s := newShop(t, Options{})
	status := fmt.Sprintf(`{"type": "build", "key": "k", "state": "INPROGRESS", "url": "https://ci.example.org/%s"}`, s.sha)
	if _, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "main"}); err != nil {
		t.Fatal(err)
	}
	addresses := []struct{ method, path, body, classic, granular string }{
		{"GET", shopPath, "", "repository", "read:repository:bitbucket"},
		{"GET", "/repositories/octo", "", "repository", "read:repository:bitbucket"},
		{"POST", shopPath + "/commit/" + s.sha + "/statuses/build", status, "repository", "read:repository:bitbucket"},
		{"GET", shopPath + "/pullrequests", "", "pullrequest", "read:pullrequest:bitbucket"},
		{"POST", shopPath + "/pullrequests/1/comments", `{"content": {"raw": "x"}}`, "pullrequest", "write:pullrequest:bitbucket"},
		{"GET", shopPath + "/hooks", "", "webhook", "read:webhook:bitbucket"},
		{"GET", "/workspaces/octo/permissions/repositories/shop", "", "repository:admin", "admin:repository:bitbucket"},
	}
	s.AddUser("octo")
	for _, a := range addresses {
		for _, o := range []TokenOptions{{Kind: RepositoryToken, Repo: shopRepo, Scopes: []string{a.classic}}, {Kind: UserToken, Email: "octo@example.org", Scopes: []string{a.granular}}} {
			s.addToken(o)
			if got, text, _ := s.do(a.method, a.path, a.body); got >= 300 {
				t.Errorf("%s %s with %q: %d %s", a.method, a.path, o.Scopes, got, text)
			}
			o.Scopes = []string{"account"}
			s.addToken(o)
			expect(t, s.want(403, a.method, a.path, a.body), map[string]any{"type": "error", "error.detail.granted.0": "account", "error.detail.required.#": 1,
				"error.message": "Your credentials lack one or more required privilege scopes."})
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/2.0"+shopPath+"/hooks", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.addToken(TokenOptions{Kind: RepositoryToken, Repo: shopRepo, Scopes: []string{"repository", "account"}}).Value)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("X-OAuth-Scopes"); resp.StatusCode != 403 || got != "repository, account" {
		t.Errorf("%d with the scopes %q", resp.StatusCode, got)
	}
	// What implies what: of API tokens, nothing.
	s.addToken(TokenOptions{Kind: RepositoryToken, Repo: shopRepo, Scopes: []string{"pullrequest:write"}})
	s.want(200, "GET", shopPath, "")
	s.addToken(TokenOptions{Kind: UserToken, Email: "octo@example.org", Scopes: []string{"write:repository:bitbucket"}})
	s.want(403, "GET", shopPath, "")
	s.addToken(TokenOptions{Kind: RepositoryToken, Repo: shopRepo, Scopes: []string{"webhook", "repository"}})
	s.want(403, "POST", shopPath+"/hooks", `{"description": "x", "url": "https://ci.example.org", "active": true, "events": ["pullrequest:created"]}`)
}

func TestCloudTokens(t *testing.T) {
	s := newShop(t, Options{})
	if _, err := s.AddRepo("octo/other", RepoOptions{Private: true, Project: "TWO"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddRepo("mona/public", RepoOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetPermission("octo/other", "mona", "read"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		o                   TokenOptions
		shop, other, public int
	}{
		"repository": {TokenOptions{Kind: RepositoryToken, Repo: shopRepo}, 200, 404, 200},
		"project":    {TokenOptions{Kind: ProjectToken, Project: "two"}, 404, 200, 200},
		"workspace":  {TokenOptions{Kind: WorkspaceToken, Workspace: "octo"}, 200, 200, 200},
		"user":       {TokenOptions{Kind: UserToken, Email: "mona@example.org"}, 404, 200, 200},
		"password":   {TokenOptions{Kind: AppPassword, Email: "octo@example.org"}, 401, 401, 401},
	} {
		s.addToken(test.o)
		for path, want := range map[string]int{shopPath: test.shop, "/repositories/octo/other": test.other, "/repositories/mona/public": test.public} {
			if got, text, _ := s.do("GET", path, ""); got != want {
				t.Errorf("%s: %s: %d, want %d: %s", name, path, got, want, text)
			}
		}
	}
	s.token = Token{}
	s.want(404, "GET", shopPath, "")
	s.want(200, "GET", "/repositories/mona/public", "")
	s.want(401, "GET", "/repositories/mona/public/hooks", "")
	s.token = Token{Value: "wrong"}
	s.want(401, "GET", "/repositories/mona/public", "")

	s.addToken(TokenOptions{Kind: UserToken, Email: "mona@example.org"})
	mona, err := s.User("mona")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s.want(200, "GET", "/user", ""), map[string]any{"account_id": mona.AccountID, "nickname": "mona", "username": nil})
	s.want(403, "GET", "/repositories/octo/other/hooks", "") // the role is missing, not the scope
	s.token.Email = "octo@example.org"
	s.want(401, "GET", "/user", "")
	s.addToken(TokenOptions{Kind: RepositoryToken, Repo: shopRepo})
	s.want(403, "GET", "/user", "")
	if err := s.Revoke(s.token.Value); err != nil {
		t.Fatal(err)
	}
	s.want(401, "GET", shopPath, "")
	for _, o := range []TokenOptions{{Kind: "x"}, {Kind: RepositoryToken, Repo: "octo/none"}, {Kind: ProjectToken}, {Kind: PersonalToken, User: "mona"}} {
		if _, err := s.AddToken(o); err == nil {
			t.Errorf("AddToken(%+v) made one", o)
		}
	}
}

func TestCloudConsumer(t *testing.T) {
	now := time.Now()
	s := newShop(t, Options{Now: func() time.Time { return now }})
	consumer := s.addToken(TokenOptions{Kind: OAuthConsumer, Workspace: "octo", Scopes: []string{"repository"}})
	s.want(401, "GET", shopPath, "") // the secret is no token
	get := func(key, secret string, form url.Values) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL()+accessTokenPath, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth(key, secret)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		tokens := s.Tokens()
		return resp.StatusCode, tokens[len(tokens)-1].Value
	}
	grant := url.Values{"grant_type": {"client_credentials"}}
	if status, _ := get(consumer.Key, "wrong", grant); status != 401 {
		t.Errorf("a wrong secret: %d", status)
	}
	if status, _ := get(consumer.Key, consumer.Value, url.Values{"grant_type": {"password"}}); status != 400 || len(s.TakeViolations()) != 1 {
		t.Errorf("a wrong grant: %d", status)
	}
	status, value := get(consumer.Key, consumer.Value, grant)
	s.token = Token{Kind: oauthAccess, Value: value}
	if status != 200 {
		t.Errorf("the token: %d", status)
	}
	s.want(200, "GET", shopPath, "")
	s.want(403, "GET", shopPath+"/pullrequests", "")
	if out, err := gitIn(t, ".", "ls-remote", s.address(shopRepo, "x-token-auth", value)); err != nil {
		t.Errorf("git: %s", out)
	}
	now = now.Add(2*time.Hour + time.Second)
	s.want(401, "GET", shopPath, "")
	_, s.token.Value = get(consumer.Key, consumer.Value, grant)
	s.want(200, "GET", shopPath, "")
	s.Expire()
	s.want(401, "GET", shopPath, "")
	_, s.token.Value = get(consumer.Key, consumer.Value, grant)
	if err := s.Revoke(consumer.Value); err != nil {
		t.Fatal(err)
	}
	s.want(401, "GET", shopPath, "")
}

func TestCloudLimit(t *testing.T) {
	now := time.Now()
	s := newShop(t, Options{Limit: 3, Now: func() time.Time { return now }})
	for range 3 {
		s.want(200, "GET", shopPath, "")
	}
	s.want(429, "GET", shopPath, "")
	s.want(403, "GET", "/user", "")
	s.want(200, "GET", shopPath+"/src/main/buildspec.yml?format=meta", "")
	now = now.Add(time.Hour + time.Second)
	s.want(200, "GET", shopPath, "")
}

func TestCloudPermissions(t *testing.T) {
	s := newShop(t, Options{})
	s.SetGroup("devs", "hubert")
	for _, err := range []error{s.SetPermission(shopRepo, "mona", "write"), s.SetGroupPermission(shopRepo, "devs", "read"), s.SetProjectPermission("OCTO", "lisa", "admin")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetPermission(shopRepo, "mona", "king"); err == nil {
		t.Error("a king was made")
	}
	s.AddUser("nobody")
	for name, want := range map[string]struct{ effective, explicit any }{"mona": {"write", "write"}, "hubert": {"read", nil}, "lisa": {"admin", nil}, "octo": {"admin", nil}, "nobody": {nil, nil}} {
		u, err := s.User(name)
		if err != nil && name != "octo" {
			t.Fatal(err)
		}
		if name == "octo" {
			u = s.AddUser(name)
		}
		q := url.QueryEscape(`user.account_id="` + u.AccountID + `"`)
		expect(t, s.want(200, "GET", "/workspaces/octo/permissions/repositories/shop?q="+q, ""), map[string]any{"values.0.permission": want.effective})
		status, _, o := s.do("GET", shopPath+"/permissions-config/users/"+u.AccountID, "")
		if o["permission"] != want.explicit || (status == 404) != (want.explicit == nil) {
			t.Errorf("%s: %d %v, want %v", name, status, o, want.explicit)
		}
	}
	s.wantViolation(400, "regular expression", "GET", "/workspaces/octo/permissions/repositories/shop?q=user.nickname", "")
	expect(t, s.want(200, "GET", "/workspaces/octo/permissions/repositories/shop?q="+url.QueryEscape(`user.account_id="x"`), ""), map[string]any{"values.#": 0})
}
