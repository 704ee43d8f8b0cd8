package bitbuckettest

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// dcLicensed is what some operations ask for that are about no repository: a user who counts for the license. The users
// behind the tokens of projects and repositories do not.
const dcLicensed = "LICENSED_USER"

// SetLicensed says whether a user counts for the license; all people do until they are said not to. Only Data Center asks.
func (s *Server) SetLicensed(user string, licensed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, is := s.flavor.(*dataCenter)
	if !is {
		return errNotCloud
	}
	d.unlicensed[strings.ToLower(s.userLocked(user).Name)] = !licensed
	return nil
}

// errNotCloud says that only Data Center has what is asked for.
var errNotCloud = errors.New("Bitbucket Cloud has no such thing")

// authenticate takes a token as a bearer's, and a personal one as the password of its user too.
func (d *dataCenter) authenticate(s *Server, r *http.Request) (*Token, *answer) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, nil
	}
	var t *Token
	if scheme, value, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "bearer") {
		t = s.tokenLocked(value)
	} else if user, password, given := r.BasicAuth(); given {
		if t = d.gitToken(s, user, password); t != nil && (t.Kind != PersonalToken || user == "") {
			t = nil
		}
	}
	if t == nil {
		return nil, d.refusal(http.StatusUnauthorized, "Authentication failed. Please check your credentials and try again.")
	}
	return t, nil
}

// gitToken takes the token of a project or a repository with the user x-token-auth, and a personal one with its user. Any is
// taken from a bearer.
func (d *dataCenter) gitToken(s *Server, user, password string) *Token {
	t := s.tokenLocked(password)
	switch {
	case t == nil, user == "":
		return t
	case t.Kind == PersonalToken && strings.EqualFold(user, t.User), t.Kind != PersonalToken && user == "x-token-auth" && !d.options.BearerOnly:
		return t
	}
	return nil
}

// dcLevels are the levels of permissions, from the smallest, in the order of roles.
var dcLevels = []string{"NONE", "READ", "WRITE", "ADMIN"}

// dcLevel takes a permission such as REPO_READ apart.
func dcLevel(permission string) (scope string, level int) {
	scope, name, _ := strings.Cut(permission, "_")
	return scope, slices.Index(dcLevels, name)
}

// dcPermission is a role as a permission in a repository or a project.
func dcPermission(scope, role string) string {
	return scope + "_" + dcLevels[slices.Index(roles, role)]
}

// scoped reports whether one of the permissions of a token includes a permission. What it may do in a project it may do in
// the repositories of it.
func scoped(t *Token, permission string) bool {
	scope, level := dcLevel(permission)
	return slices.ContainsFunc(t.Scopes, func(has string) bool {
		hasScope, hasLevel := dcLevel(has)
		return hasLevel >= level && (hasScope == scope || hasScope == "PROJECT")
	})
}

// may reports whether a token has a permission in a repository: by its own permissions and by those of its user.
func (d *dataCenter) may(s *Server, t *Token, r *repo, permission string) bool {
	_, level := dcLevel(permission)
	return t != nil && scoped(t, permission) && slices.Index(roles, s.tokenRoleLocked(t, r)) >= level
}

// mayProject reports whether a token administers a project.
func (d *dataCenter) mayProject(s *Server, t *Token, key string) bool {
	switch {
	case t.Kind == ProjectToken:
		return strings.EqualFold(t.Reach, key)
	case t.Kind != PersonalToken:
		return false
	}
	return strings.EqualFold(strings.TrimPrefix(key, "~"), t.User) || s.projectLocked(key).permissions.of(s, t.User) == "admin"
}

func (d *dataCenter) mayGit(t *Token, push bool) bool {
	if push {
		return scoped(t, "REPO_WRITE")
	}
	return scoped(t, "REPO_READ")
}

// licensed reports whether the user of a token counts for the license.
func (d *dataCenter) licensed(s *Server, t *Token) bool {
	return !s.userLocked(t.User).Bot && !d.unlicensed[strings.ToLower(t.User)]
}

func (d *dataCenter) authorize(s *Server, t *Token, o *operation, r *repo) *answer {
	switch {
	case o.scope == "":
		return nil
	case t == nil:
		return d.anonymous()
	case o.scope == dcLicensed && !d.licensed(s, t), o.scope != dcLicensed && !scoped(t, o.scope), r != nil && !d.may(s, t, r, o.scope):
		return d.denied(o.scope)
	}
	return nil
}

// unreachable refuses what is about a repository that is not there or that a token, nil for none, does not reach. Data Center
// does not hide what there is from those who have a token.
func (d *dataCenter) unreachable(t *Token, r *repo, name string) *answer {
	switch {
	case t == nil:
		return d.anonymous()
	case r == nil:
		return dcProblem(http.StatusNotFound, "repository.NoSuchRepositoryException", "Repository %s does not exist.", name)
	}
	return d.denied("REPO_READ")
}

func (d *dataCenter) anonymous() *answer {
	return dcProblem(http.StatusUnauthorized, "AuthorisationException", "You are not permitted to access this resource")
}

// denied says that a credential has not the permission that it takes.
func (d *dataCenter) denied(permission string) *answer {
	status := http.StatusForbidden
	if d.options.DeniedAs401 {
		status = http.StatusUnauthorized
	}
	return dcProblem(status, "AuthorisationException", "You are not permitted to access this resource: it takes %s", permission)
}

// dcExceptions are the names that go with refusals that all flavours have.
var dcExceptions = map[int]string{
	http.StatusBadRequest:      "validation.ArgumentValidationException",
	http.StatusUnauthorized:    "auth.IncorrectPasswordAuthenticationException",
	http.StatusNotFound:        "com.sun.jersey.api.NotFoundException",
	http.StatusTooManyRequests: "internal.ratelimit.RateLimitExceededException",
}

func (d *dataCenter) refusal(status int, message string) *answer {
	a := dcProblem(status, dcExceptions[status], "%s", message)
	if status == http.StatusTooManyRequests {
		a.header = map[string]string{"Retry-After": strconv.Itoa(dcRetryAfter), "X-Ratelimit-Remaining": "0"}
	}
	return a
}

// dcRetryAfter is how many seconds a request that is one too many is to wait.
const dcRetryAfter = 2
