package githubtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// A Token is an installation token that the server has issued.
type Token struct {
	Value        string            `json:"value"`
	Installation int64             `json:"installation"`
	Repositories []int64           `json:"repositories"` // nil: all of the installation
	Permissions  map[string]string `json:"permissions"`
	Issued       time.Time         `json:"issued"`
	Expires      time.Time         `json:"expires"`
	Revoked      bool              `json:"revoked"`
	Requests     int               `json:"requests"` // that were made with it, to the API or to git
}

// tokenLife is how long an installation token holds.
const tokenLife = time.Hour

// An access is who may call an operation.
type access int

const (
	byAnyone access = iota // with or without a token
	byApp                  // with a JWT of the app
	byToken                // with an installation token that has a permission
)

// allows reports whether a level of permission, read or write, includes another.
func allows(have, want string) bool {
	return have == want || have == "write" && want == "read"
}

// authenticateLocked finds out who makes a request. The answer is set if the request must not go on.
//
// An installation token that does not cover a repository is refused even for reading a public one, and so is a request
// without a token. GitHub would answer these reads, but a bot that makes them has taken the wrong token.
func (s *Server) authenticateLocked(r *http.Request, op *operation) (*Token, *answer) {
	scheme, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		credential = ""
	}
	switch op.access {
	case byApp:
		return nil, s.checkJWTLocked(scheme, credential)
	case byToken:
		if credential == "" {
			return nil, problem(http.StatusUnauthorized, "Requires authentication")
		}
		return s.useTokenLocked(credential)
	}
	if credential == "" {
		return nil, nil
	}
	return s.useTokenLocked(credential)
}

// checkJWTLocked verifies the token that the app signs itself, and returns what GitHub says to a wrong one.
func (s *Server) checkJWTLocked(scheme, credential string) *answer {
	refuse := func(message string) *answer { return problem(http.StatusUnauthorized, message) }
	if !strings.EqualFold(scheme, "bearer") {
		return refuse("A JSON web token could not be decoded")
	}
	var claims jwt.MapClaims
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber())
	_, err := parser.ParseWithClaims(credential, &claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil })
	if err != nil {
		return refuse("A JSON web token could not be decoded")
	}
	now := s.now()
	exp, err := claimTime(claims["exp"])
	switch {
	case err != nil || !exp.After(now):
		return refuse("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case exp.After(now.Add(10*time.Minute + time.Second)): // claims have whole seconds
		return refuse("'Expiration time' claim ('exp') is too far in the future")
	}
	if iat, err := claimTime(claims["iat"]); err != nil || iat.After(now) {
		return refuse("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	if iss := fmt.Sprint(claims["iss"]); iss != strconv.FormatInt(s.appID, 10) && iss != s.clientID() {
		return problem(http.StatusNotFound, "Integration not found")
	}
	return nil
}

func claimTime(claim any) (time.Time, error) {
	n, ok := claim.(json.Number)
	if !ok {
		return time.Time{}, errors.New("there is no such claim")
	}
	seconds, err := n.Int64()
	return time.Unix(seconds, 0), err
}

// tokenLocked returns the token of a value if it can be used now.
func (s *Server) tokenLocked(value string) *Token {
	t := s.tokens[value]
	if t == nil || t.Revoked || !s.now().Before(t.Expires) || s.installations[t.Installation] == nil {
		return nil
	}
	return t
}

func (s *Server) useTokenLocked(value string) (*Token, *answer) {
	t := s.tokenLocked(value)
	if t == nil {
		return nil, problem(http.StatusUnauthorized, "Bad credentials")
	}
	if !s.installations[t.Installation].suspended.IsZero() {
		return nil, problem(http.StatusForbidden, "This installation has been suspended")
	}
	t.Requests++
	return t, nil
}

// coversLocked reports whether a token reaches a repository.
func (s *Server) coversLocked(t *Token, r *repo) bool {
	inst := s.installations[t.Installation]
	return inst != nil && inst.repos[r.id] && (t.Repositories == nil || slices.Contains(t.Repositories, r.id))
}

// authorizeLocked checks that a token may do something in a repository. The permission is written as "checks:write"; one
// of several, separated by spaces, is enough.
func (s *Server) authorizeLocked(t *Token, r *repo, permission string) *answer {
	if !s.coversLocked(t, r) {
		if r.private {
			return problem(http.StatusNotFound, "Not Found")
		}
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	if !t.may(permission) {
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	return nil
}

func (t *Token) may(permission string) bool {
	for p := range strings.FieldsSeq(permission) {
		name, level, _ := strings.Cut(p, ":")
		if name == "metadata" || allows(t.Permissions[name], level) {
			return true
		}
	}
	return permission == ""
}

// createToken is POST /app/installations/{installation_id}/access_tokens.
func (s *Server) createToken(c *call) *answer {
	inst := s.installations[c.number("installation_id")]
	if inst == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	if !inst.suspended.IsZero() {
		return problem(http.StatusForbidden, "This installation has been suspended")
	}
	var in struct {
		Repositories  []string          `json:"repositories"`
		RepositoryIDs []int64           `json:"repository_ids"`
		Permissions   map[string]string `json:"permissions"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	now := s.now().Truncate(time.Second)
	t := &Token{Installation: inst.id, Permissions: maps.Clone(s.permissions), Issued: now, Expires: now.Add(tokenLife)}
	if len(in.Permissions) > 0 {
		for name, level := range in.Permissions {
			if !allows(s.permissions[name], level) {
				return problem(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			}
		}
		t.Permissions = in.Permissions
		t.Permissions["metadata"] = "read"
	}
	ids := in.RepositoryIDs
	for _, name := range in.Repositories {
		r := s.repoLocked(inst.account + "/" + name)
		if r == nil {
			ids = append(ids, 0)
			continue
		}
		ids = append(ids, r.id)
	}
	for _, id := range ids {
		if !inst.repos[id] {
			return problem(http.StatusUnprocessableEntity,
				"There is at least one repository that does not exist or is not accessible to the parent installation.")
		}
	}
	t.Repositories = ids
	// The form that GitHub has been giving out since 2026: longer than the 40 characters of before, and with dots.
	t.Value = fmt.Sprintf("ghs_%d_%s.%s.%s", s.appID, randomText(27), randomText(90), randomText(64))
	s.tokens[t.Value] = t
	s.tokenOrder = append(s.tokenOrder, t)

	body := object{"token": t.Value, "expires_at": stamp(t.Expires), "permissions": t.Permissions, "repository_selection": "selected"}
	if ids != nil {
		list := []object{}
		for _, id := range ids {
			list = append(list, s.repoJSON(s.repos[id]))
		}
		body["repositories"] = list
	}
	return &answer{status: http.StatusCreated, body: body}
}

// revokeToken is DELETE /installation/token.
func (s *Server) revokeToken(c *call) *answer {
	c.token.Revoked = true
	return &answer{status: http.StatusNoContent}
}
