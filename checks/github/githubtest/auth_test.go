package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v60/github"
)

// bearer makes a client with a fixed token.
func bearer(token string) *http.Client {
	return &http.Client{Transport: header{"Authorization", "Bearer " + token}}
}

type header struct{ name, value string }

func (h header) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.name, h.value)
	return http.DefaultTransport.RoundTrip(r)
}

func TestJWT(t *testing.T) {
	s := newShop(t, Options{})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := func(iss any, iat, exp time.Duration) jwt.MapClaims {
		return jwt.MapClaims{"iss": iss, "iat": now.Add(iat).Unix(), "exp": now.Add(exp).Unix()}
	}
	good := claims("4711", -time.Minute, 9*time.Minute)
	for name, test := range map[string]struct {
		claims jwt.MapClaims
		method jwt.SigningMethod
		key    any
		status int
		text   string
	}{
		"good":         {good, jwt.SigningMethodRS256, s.key, 200, `"slug":"buildsmith"`},
		"client id":    {claims(s.clientID(), -time.Minute, time.Minute), jwt.SigningMethodRS256, s.key, 200, ""},
		"other key":    {good, jwt.SigningMethodRS256, other, 401, "could not be decoded"},
		"other method": {good, jwt.SigningMethodRS512, s.key, 401, "could not be decoded"},
		"symmetric":    {good, jwt.SigningMethodHS256, []byte("x"), 401, "could not be decoded"},
		"other app":    {claims("12", -time.Minute, time.Minute), jwt.SigningMethodRS256, s.key, 404, "Integration not found"},
		"expired":      {claims("4711", -time.Hour, -time.Second), jwt.SigningMethodRS256, s.key, 401, "'exp'"},
		"too long":     {claims("4711", -time.Minute, 11*time.Minute), jwt.SigningMethodRS256, s.key, 401, "too far in the future"},
		"from later":   {claims("4711", time.Minute, 5*time.Minute), jwt.SigningMethodRS256, s.key, 401, "'iat'"},
		"no exp":       {jwt.MapClaims{"iss": "4711", "iat": now.Unix()}, jwt.SigningMethodRS256, s.key, 401, "'exp'"},
		"no iat":       {jwt.MapClaims{"iss": "4711", "exp": now.Unix() + 60}, jwt.SigningMethodRS256, s.key, 401, "'iat'"},
	} {
		signed, err := jwt.NewWithClaims(test.method, test.claims).SignedString(test.key)
		if err != nil {
			t.Fatal(err)
		}
		if got, body := s.do(bearer(signed), "GET", "/app", ""); got != test.status || !strings.Contains(body, test.text) {
			t.Errorf("%s: %d %s, want %d with %s", name, got, body, test.status, test.text)
		}
	}
	if got, _ := s.do(http.DefaultClient, "GET", "/app", ""); got != 401 {
		t.Errorf("without a token: %d", got)
	}
}

// token makes an installation token and a client that uses it.
func (s *shop) token(o *github.InstallationTokenOptions) (*github.InstallationToken, *github.Client) {
	s.t.Helper()
	token, _, err := s.app.Apps.CreateInstallationToken(s.t.Context(), s.Installation("octo"), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return token, s.client(bearer(token.GetToken()))
}

func TestTokenScope(t *testing.T) {
	s := newShop(t, Options{})
	must[int64](t)(s.AddRepo("octo/other", RepoOptions{Private: true}))
	must[int64](t)(s.AddRepo("octo/open", RepoOptions{}))
	must[int64](t)(s.AddRepo("rival/secret", RepoOptions{Private: true}))
	repo, _, err := s.inst.Repositories.Get(t.Context(), "octo", "shop")
	if err != nil {
		t.Fatal(err)
	}
	token, limited := s.token(&github.InstallationTokenOptions{RepositoryIDs: []int64{repo.GetID()}, Permissions: &github.InstallationPermissions{
		Contents: github.String("read"), Metadata: github.String("read")}})
	if len(token.GetToken()) <= 40 || !strings.HasPrefix(token.GetToken(), "ghs_4711_") || len(token.Repositories) != 1 {
		t.Errorf("the token is %s for %v", token.GetToken(), token.Repositories)
	}
	if left := time.Until(token.GetExpiresAt().Time); left < 59*time.Minute || left > time.Hour {
		t.Errorf("the token holds for %v", left)
	}
	ctx := t.Context()
	if _, _, err := limited.Repositories.GetCommit(ctx, "octo", "shop", "main", nil); err != nil {
		t.Errorf("reading what the token is for: %v", err)
	}
	_, _, err = limited.Checks.CreateCheckRun(ctx, "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.sha})
	if status(err) != 403 {
		t.Errorf("creating a check run with contents:read: %v", err)
	}
	_, _, err = limited.Checks.ListCheckRunsForRef(ctx, "octo", "shop", "main", nil)
	if status(err) != 403 {
		t.Errorf("listing check runs with contents:read: %v", err)
	}
	for name, want := range map[string]int{"other": 404, "open": 403, "none": 404} {
		if _, _, err := limited.Repositories.Get(ctx, "octo", name); status(err) != want {
			t.Errorf("octo/%s with a token for octo/shop: %v, want %d", name, err, want)
		}
	}
	if _, _, err := s.inst.Repositories.Get(ctx, "rival", "secret"); status(err) != 404 {
		t.Errorf("a repository of another installation: %v", err)
	}
	if list, _, err := limited.Apps.ListRepos(ctx, nil); err != nil || list.GetTotalCount() != 1 {
		t.Errorf("the token is for %v, %v", list, err)
	}
	if list, _, err := s.inst.Apps.ListRepos(ctx, nil); err != nil || list.GetTotalCount() != 3 {
		t.Errorf("the installation has %v, %v", list, err)
	}

	// More than was granted is not given.
	for name, o := range map[string]*github.InstallationTokenOptions{
		"more permissions": {Permissions: &github.InstallationPermissions{Contents: github.String("write")}},
		"other permission": {Permissions: &github.InstallationPermissions{Actions: github.String("read")}},
		"other repository": {RepositoryIDs: []int64{1}},
		"other name":       {Repositories: []string{"secret"}},
	} {
		if _, _, err := s.app.Apps.CreateInstallationToken(ctx, s.Installation("octo"), o); status(err) != 422 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := s.app.Apps.CreateInstallationToken(ctx, 1, nil); status(err) != 404 {
		t.Errorf("no such installation: %v", err)
	}
	if issued := s.Tokens(); len(issued) != 2 || !slices.Equal(issued[1].Repositories, []int64{repo.GetID()}) || issued[1].Permissions["checks"] != "" {
		t.Errorf("the tokens are %+v", issued)
	}
}

func TestTokenEnds(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	s := newShop(t, Options{Now: clock})
	get := func(c *github.Client) int {
		_, _, err := c.Repositories.Get(t.Context(), "octo", "shop")
		return status(err)
	}
	_, revoked := s.token(nil)
	_, expired := s.token(nil)
	_, lasting := s.token(nil)
	if get(revoked) != 0 || get(expired) != 0 {
		t.Error("a new token is refused")
	}
	if _, err := revoked.Apps.RevokeInstallationToken(t.Context()); err != nil {
		t.Error(err)
	}
	if get(revoked) != 401 {
		t.Error("a revoked token is accepted")
	}
	if tokens := s.Tokens(); !tokens[0].Revoked || tokens[0].Requests != 2 || tokens[1].Revoked {
		t.Errorf("the tokens are %+v", tokens)
	}
	s.Suspend("octo", true)
	if get(lasting) != 403 {
		t.Error("a token of a suspended installation is accepted")
	}
	if _, _, err := s.app.Apps.CreateInstallationToken(t.Context(), s.Installation("octo"), nil); status(err) != 403 {
		t.Errorf("a token for a suspended installation: %v", err)
	}
	s.Suspend("octo", false)
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	if get(expired) != 401 {
		t.Error("an expired token is accepted")
	}
	mu.Lock()
	now = now.Add(-time.Hour)
	mu.Unlock()
	s.Expire()
	if get(lasting) != 401 {
		t.Error("a token is accepted after all were ended")
	}
	s.Uninstall("octo")
	if _, _, err := s.app.Apps.CreateInstallationToken(t.Context(), 50_000_001, nil); status(err) != 404 {
		t.Errorf("a token after the app was removed: %v", err)
	}
}

func TestNoToken(t *testing.T) {
	s := newShop(t, Options{})
	must[int64](t)(s.AddRepo("octo/open", RepoOptions{}))
	for name, client := range map[string]*http.Client{"none": http.DefaultClient, "wrong": bearer("ghs_wrong"), "user": bearer(s.AddUser("octo"))} {
		for _, path := range []string{"/repos/octo/shop", "/repos/octo/open", "/repos/octo/none"} {
			if got, body := s.do(client, "GET", path, ""); got != 401 {
				t.Errorf("%s with %s token: %d %s", path, name, got, body)
			}
		}
	}
	if got, _ := s.do(http.DefaultClient, "GET", "/rate_limit", ""); got != 200 {
		t.Errorf("the rate limit without a token: %d", got)
	}
	if got, _ := s.do(s.app.Client(), "GET", "/repos/octo/shop", ""); got != 401 {
		t.Errorf("a repository with the token of the app: %d", got)
	}
}

func TestPermissions(t *testing.T) {
	s := newShop(t, Options{})
	must[int64](t)(s.AddRepo("octo/open", RepoOptions{}))
	s.AddUser("passer-by")
	for _, role := range []string{"admin", "maintain", "write", "triage", "read", "none"} {
		if err := s.SetPermission(shopRepo, role+"-user", role); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetPermission(shopRepo, "x", "king"); err == nil {
		t.Error("there is a role king")
	}
	for _, test := range []struct{ repo, login, want string }{
		{"shop", "octo", "admin"}, {"shop", "admin-user", "admin"}, {"shop", "maintain-user", "write"}, {"shop", "write-user", "write"},
		{"shop", "triage-user", "read"}, {"shop", "read-user", "read"}, {"shop", "none-user", "none"}, {"shop", "passer-by", "none"},
		{"open", "passer-by", "read"}, {"open", "PASSER-BY", "read"},
	} {
		level, _, err := s.inst.Repositories.GetPermissionLevel(t.Context(), "octo", test.repo, test.login)
		if err != nil || level.GetPermission() != test.want {
			t.Errorf("%s in %s: %v, %v, want %s", test.login, test.repo, level.GetPermission(), err, test.want)
		}
	}
	if _, _, err := s.inst.Repositories.GetPermissionLevel(t.Context(), "octo", "shop", "nobody"); status(err) != 404 {
		t.Errorf("a user that is not: %v", err)
	}
}

func TestRateLimit(t *testing.T) {
	s := newShop(t, Options{})
	_, resp, err := s.inst.Repositories.Get(t.Context(), "octo", "shop")
	if err != nil || resp.Rate.Limit != 5000 || resp.Rate.Remaining != 4999 {
		t.Errorf("the rate is %v, %v", resp.Rate, err)
	}
	s.mu.Lock()
	for _, inst := range s.installations {
		inst.limit.used = 5000
	}
	s.mu.Unlock()
	_, _, err = s.inst.Repositories.Get(t.Context(), "octo", "shop")
	if _, limited := err.(*github.RateLimitError); !limited {
		t.Errorf("one request too many: %v", err)
	}
	rate, _, err := s.inst.RateLimit.Get(t.Context())
	if err != nil || rate.Core.Remaining != 0 {
		t.Errorf("the rate limit: %v, %v", rate, err)
	}
	if n := s.Count("GET", "/repos/{owner}/{repo}"); n != 2 {
		t.Error(fmt.Sprint(n, " requests in the log"))
	}
}
