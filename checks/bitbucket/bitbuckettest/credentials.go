package bitbuckettest

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// The kinds of tokens.
const (
	RepositoryToken = "repository"   // an access token of one repository, of both flavours
	ProjectToken    = "project"      // an access token of a project, of both flavours
	WorkspaceToken  = "workspace"    // an access token of a workspace, of Cloud
	UserToken       = "user"         // an API token of a user, of Cloud: with the user's e-mail address
	PersonalToken   = "personal"     // an HTTP access token of a user, of Data Center
	OAuthConsumer   = "oauth"        // a consumer of a workspace, of Cloud: its key and secret are exchanged for access tokens
	AppPassword     = "app-password" // of Cloud, which takes none of these any more
	oauthAccess     = "oauth access"
)

// A Token is a credential.
type Token struct {
	Kind    string    `json:"kind"`
	Value   string    `json:"token"`  // the token; of a consumer, its secret
	Key     string    `json:"key"`    // of a consumer
	User    string    `json:"user"`   // who acts by it
	Email   string    `json:"email"`  // that a user token is sent with
	Scopes  []string  `json:"scopes"` // in words of the flavour
	Reach   string    `json:"reach"`  // octo/shop, a project OCTO or a workspace octo; empty for what the user can reach
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked"`
	Used    int       `json:"used"` // how many requests came with it
}

// TokenOptions of a new token. Which of Repo, Project, Workspace and Email counts depends on the kind.
type TokenOptions struct {
	Kind      string   `json:"kind"`
	Scopes    []string `json:"scopes"` // nil for all there are
	Repo      string   `json:"repo"`
	Project   string   `json:"project"`
	Workspace string   `json:"workspace"`
	User      string   `json:"user"` // of a user or personal token; the name in the e-mail address
	Email     string   `json:"email"`
}

// AddToken makes a token, with a user of its own unless it is one of a user.
func (s *Server) AddToken(o TokenOptions) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &Token{Kind: o.Kind, Value: "ATCTT3x" + forgetest.RandomHex(24), Scopes: slices.Clone(o.Scopes)}
	kinds := []string{RepositoryToken, ProjectToken, PersonalToken}
	if s.name == Cloud {
		kinds = []string{RepositoryToken, ProjectToken, WorkspaceToken, UserToken, OAuthConsumer, AppPassword}
	}
	if !slices.Contains(kinds, o.Kind) {
		return Token{}, fmt.Errorf("there are no tokens of the kind %q; there are %q", o.Kind, kinds)
	}
	switch o.Kind {
	case RepositoryToken:
		r, err := s.namedRepoLocked(o.Repo)
		if err != nil {
			return Token{}, err
		}
		t.Reach = r.name()
	case ProjectToken:
		t.Reach = strings.ToUpper(o.Project)
	case WorkspaceToken, OAuthConsumer:
		t.Reach = strings.ToLower(o.Workspace)
	case UserToken, PersonalToken, AppPassword:
		name, _, _ := strings.Cut(o.Email, "@")
		u := s.userLocked(cmp.Or(o.User, name))
		u.Email = cmp.Or(o.Email, u.Email)
		t.User, t.Email = u.Name, u.Email
	}
	if t.User == "" && t.Reach == "" {
		return Token{}, fmt.Errorf("a token of the kind %s is for a repository, a project, a workspace or a user, and none is given", o.Kind)
	}
	if t.User == "" {
		bot := s.userLocked("bot-" + forgetest.RandomHex(4))
		bot.Bot = true
		t.User = bot.Name
	}
	if o.Kind == OAuthConsumer {
		t.Key = forgetest.RandomHex(9)
	}
	if t.Scopes == nil {
		t.Scopes = allScopes(s.name, o.Kind)
	}
	s.tokens = append(s.tokens, t)
	return *t, nil
}

// allScopes are all that a token of a kind can have.
func allScopes(f Flavor, kind string) []string {
	switch {
	case f == DataCenter && kind == RepositoryToken:
		return []string{"REPO_ADMIN"}
	case f == DataCenter:
		return []string{"PROJECT_ADMIN", "REPO_ADMIN"}
	case kind == UserToken:
		return slices.Clone(granularScopes)
	}
	return slices.Clone(classicScopes)
}

// Revoke makes a token worth nothing, and the access tokens that a consumer has had.
func (s *Server) Revoke(value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokenLocked(value)
	if t == nil {
		return fmt.Errorf("the token: %w", fs.ErrNotExist)
	}
	for _, other := range s.tokens {
		if other == t || t.Key != "" && other.Key == t.Key {
			other.Revoked = true
		}
	}
	return nil
}

// Expire lets the access tokens that consumers have had expire now, or another token that is named.
func (s *Server) Expire(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if slices.Contains(values, t.Value) || len(values) == 0 && t.Kind == oauthAccess {
			t.Expires = s.now()
		}
	}
}

// tokenLocked returns a token that is still good.
func (s *Server) tokenLocked(value string) *Token {
	for _, t := range s.tokens {
		if t.Value == value && !t.Revoked && (t.Expires.IsZero() || s.now().Before(t.Expires)) {
			return t
		}
	}
	return nil
}

// reachesLocked reports whether a token, nil for none, reaches a repository at least to read it.
func (s *Server) reachesLocked(t *Token, r *repo) bool {
	if t == nil {
		return !r.private
	}
	return s.tokenRoleLocked(t, r) != "none"
}

// tokenRoleLocked returns the role that a token can have in a repository at most, its scopes apart.
func (s *Server) tokenRoleLocked(t *Token, r *repo) string {
	switch {
	case t.Reach == "":
		role := s.roleLocked(r, t.User)
		if role == "none" && !r.private {
			return "read"
		}
		return role
	case strings.EqualFold(t.Reach, r.name()), strings.EqualFold(t.Reach, r.workspace) && t.Kind != ProjectToken, t.Kind == ProjectToken && strings.EqualFold(t.Reach, r.project):
		return "admin"
	case !r.private:
		return "read"
	}
	return "none"
}
