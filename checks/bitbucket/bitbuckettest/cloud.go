package bitbuckettest

import (
	_ "embed"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// cloud is Bitbucket Cloud.
type cloud struct{}

//go:embed cloud.yaml
var cloudDescription []byte

func (cloud) host() forgetest.Host {
	return forgetest.Host{Name: "Bitbucket", Email: "noreply@bitbucket.org", Hidden: "refs/pull-requests"}
}

func (cloud) base() string        { return "/2.0" }
func (cloud) description() []byte { return cloudDescription }
func (cloud) published() string   { return "bitbucket-cloud.swagger2.json" }
func (cloud) attempts() int       { return 3 }
func (cloud) largest() int        { return 256 << 10 }
func (cloud) reopens() bool       { return false }

func (cloud) fullName(r *repo) string  { return r.name() }
func (cloud) clonePath(r *repo) string { return "/" + r.name() + ".git" }

// gitPath takes /<workspace>/<slug>.git/... apart.
func (cloud) gitPath(path string) (name, action string, ok bool) {
	workspace, rest, found := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	slug, action, more := strings.Cut(rest, "/")
	return workspace + "/" + strings.TrimSuffix(slug, ".git"), action, found && more
}

func (cloud) repoName(params map[string]string) string {
	if params["repo_slug"] == "" {
		return ""
	}
	return params["workspace"] + "/" + params["repo_slug"]
}

// limited says that what concerns repositories is counted, but for the text of files, which has a limit of its own.
func (cloud) limited(path string) bool {
	return strings.HasPrefix(path, "/repositories/") && !strings.Contains(path, "/src/")
}

func (f cloud) canonical(escaped string) string { return escaped }

// unreachable hides what there is from those who may not see it.
func (f cloud) unreachable(_ *Token, _ *repo, name string) *answer {
	return f.refusal(http.StatusNotFound, "You may not have access to this repository or it no longer exists in this workspace: "+name)
}

func (cloud) refusal(status int, message string) *answer {
	return &answer{status: status, body: object{"type": "error", "error": object{"message": message}}}
}

// moved does nothing: Cloud has no refs for pull requests.
func (cloud) moved(*Server, *pull) error { return nil }

// authenticate takes access tokens as Bearer and API tokens with the e-mail address as Basic.
func (f cloud) authenticate(s *Server, r *http.Request) (*Token, *answer) {
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	email, password, basic := r.BasicAuth()
	var t *Token
	switch {
	case r.Header.Get("Authorization") == "":
		return nil, nil
	case strings.EqualFold(kind, "Bearer"):
		if t = s.tokenLocked(value); t != nil && !slices.Contains([]string{RepositoryToken, ProjectToken, WorkspaceToken, oauthAccess}, t.Kind) {
			t = nil
		}
	case basic:
		if t = s.tokenLocked(password); t != nil && (t.Kind != UserToken || !strings.EqualFold(t.Email, email)) {
			t = nil // app passwords are gone
		}
	}
	if t == nil {
		return nil, f.refusal(http.StatusUnauthorized, "Token is invalid, expired, or not supported for this endpoint.")
	}
	return t, nil
}

// gitToken wants the user x-token-auth with access tokens, and with the API token of a user either his name or
// x-bitbucket-api-token-auth.
func (cloud) gitToken(s *Server, user, password string) *Token {
	t := s.tokenLocked(password)
	switch {
	case t == nil:
		return nil
	case slices.Contains([]string{RepositoryToken, ProjectToken, WorkspaceToken, oauthAccess}, t.Kind) && user == "x-token-auth":
		return t
	case t.Kind == UserToken && (user == "x-bitbucket-api-token-auth" || strings.EqualFold(user, t.User)):
		return t
	}
	return nil
}

func (cloud) mayGit(t *Token, push bool) bool {
	if push {
		return t.mayCloud("repository:write")
	}
	return t.mayCloud("repository")
}

// The scopes of access tokens and consumers, and those of API tokens.
var (
	classicScopes  = []string{"account", "repository", "repository:write", "repository:admin", "pullrequest", "pullrequest:write", "webhook"}
	granularScopes = []string{"read:user:bitbucket", "read:workspace:bitbucket", "read:repository:bitbucket", "write:repository:bitbucket",
		"admin:repository:bitbucket", "read:pullrequest:bitbucket", "write:pullrequest:bitbucket", "read:webhook:bitbucket",
		"write:webhook:bitbucket", "delete:webhook:bitbucket"}
)

// granular are the scopes of API tokens that stand for one of access tokens, which none of them implies.
var granular = map[string]string{
	"account":            "read:user:bitbucket",
	"repository":         "read:repository:bitbucket",
	"repository:write":   "write:repository:bitbucket",
	"repository:admin":   "admin:repository:bitbucket",
	"pullrequest":        "read:pullrequest:bitbucket",
	"pullrequest:answer": "write:pullrequest:bitbucket",
	"webhook":            "read:webhook:bitbucket",
	"webhook:change":     "write:webhook:bitbucket",
	"webhook:delete":     "delete:webhook:bitbucket",
}

// classic are the scopes of access tokens for which operations here have a finer name, because API tokens have one.
var classic = map[string]string{"pullrequest:answer": "pullrequest", "webhook:change": "webhook", "webhook:delete": "webhook"}

// implied are the scopes that come with one of an access token.
var implied = map[string][]string{
	"repository:write":  {"repository"},
	"repository:admin":  {},
	"pullrequest":       {"repository"},
	"pullrequest:write": {"pullrequest", "repository:write", "repository"},
}

// wants is what the kind of a token calls a scope.
func (t *Token) wants(scope string) string {
	if t.Kind == UserToken {
		return granular[scope]
	}
	if name := classic[scope]; name != "" {
		return name
	}
	return scope
}

// mayCloud reports whether a token has a scope.
func (t *Token) mayCloud(scope string) bool {
	want := t.wants(scope)
	for _, has := range t.Scopes {
		if has == want || t.Kind != UserToken && slices.Contains(implied[has], want) {
			return true
		}
	}
	return false
}

// authorize wants the scope of an operation, and of whoever changes something the role. Without a token public repositories
// can be read.
func (f cloud) authorize(s *Server, t *Token, o *operation, r *repo) *answer {
	if o.scope == "" {
		return nil
	}
	if t == nil {
		if r != nil && o.method == http.MethodGet && (o.scope == "repository" || o.scope == "pullrequest") {
			return nil
		}
		return f.refusal(http.StatusUnauthorized, "This resource requires authentication.")
	}
	if !t.mayCloud(o.scope) {
		granted := append([]string{}, t.Scopes...)
		return &answer{status: http.StatusForbidden, header: map[string]string{"X-OAuth-Scopes": strings.Join(granted, ", "), "X-Accepted-OAuth-Scopes": t.wants(o.scope)},
			body: object{"type": "error", "error": object{"message": "Your credentials lack one or more required privilege scopes.",
				"detail": object{"required": []string{t.wants(o.scope)}, "granted": granted}}}}
	}
	least := "none"
	switch {
	case r == nil:
	case o.scope == "repository:admin" || strings.HasPrefix(o.scope, "webhook"):
		least = "admin"
	case o.method != http.MethodGet && strings.HasPrefix(o.scope, "repository"):
		least = "write"
	}
	if r != nil && !atLeast(s.tokenRoleLocked(t, r), least) {
		return f.refusal(http.StatusForbidden, "Your access level does not allow this: "+least+" is needed.")
	}
	return nil
}

// hookHeaders are those of a delivery.
func (cloud) hookHeaders(h Hook, d Delivery) map[string]string {
	return map[string]string{"User-Agent": "Bitbucket-Webhooks/2.0", "X-Event-Key": d.Event, "X-Hook-UUID": h.UUID, "X-Request-UUID": d.GUID,
		"X-Attempt-Number": strconv.Itoa(d.Attempt), "X-Event-Time": d.At.UTC().Format(time.RFC1123)}
}

// accessTokenPath is where a consumer gets an access token.
const accessTokenPath = "/site/oauth2/access_token"

// accessTokenLasts is how long such a token is good.
const accessTokenLasts = 2 * time.Hour

// outside gives consumers their access tokens.
func (f cloud) outside(s *Server, w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != accessTokenPath {
		return false
	}
	if s.faults.For(r.Context(), s.weather, r.Method, r.URL.Path).Refuse(w) {
		return true
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	parsed := r.ParseForm()
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(status int, kind, description string) {
		write(w, &answer{status: status, body: object{"error": kind, "error_description": description}})
	}
	key, secret, basic := r.BasicAuth()
	if !basic {
		key, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if r.Method != http.MethodPost || parsed != nil || r.URL.RawQuery != "" {
		s.violateLocked(r, r.URL.Path, "an access token is asked for by POST with a form, and without a query")
		refuse(http.StatusBadRequest, "invalid_request", "Required parameter is missing: grant_type")
		return true
	}
	entry := Request{At: s.now(), Method: r.Method, Path: r.URL.Path, Operation: accessTokenPath, Token: key, Status: http.StatusOK}
	defer func() { s.requests = append(s.requests, entry); s.wakeLocked() }()
	consumer := s.tokenLocked(secret)
	if consumer == nil || consumer.Kind != OAuthConsumer || consumer.Key != key {
		entry.Status = http.StatusUnauthorized
		refuse(entry.Status, "unauthorized_client", "Client credentials are missing or invalid.")
		return true
	}
	if grant := r.PostForm.Get("grant_type"); grant != "client_credentials" {
		entry.Status = http.StatusBadRequest
		s.violateLocked(r, r.URL.Path, "grant_type is %q, not client_credentials", grant)
		refuse(entry.Status, "unsupported_grant_type", "Unsupported grant type: "+grant)
		return true
	}
	t := &Token{Kind: oauthAccess, Value: forgetest.RandomHex(40) + "=", Key: consumer.Key, User: consumer.User, Scopes: consumer.Scopes, Reach: consumer.Reach,
		Expires: s.now().Add(accessTokenLasts)}
	s.tokens = append(s.tokens, t)
	write(w, ok(object{"access_token": t.Value, "scopes": strings.Join(t.Scopes, " "), "expires_in": int(accessTokenLasts.Seconds()), "token_type": "bearer",
		"refresh_token": forgetest.RandomHex(10), "state": "client_credentials"}))
	return true
}
