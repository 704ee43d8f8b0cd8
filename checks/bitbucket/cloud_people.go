package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"buildsmith/store"
)

var accountID = regexp.MustCompile(`^[A-Za-z0-9:_-]{1,128}$`)

// permission implements api: what a person may do by any grant, and if we may not ask for that, what the person was granted in person.
// Both take a right over the repository that a token need not have.
func (a cloud) permission(ctx context.Context, r store.Repo, who store.Account) (store.Permission, error) {
	if !accountID.MatchString(who.ID) {
		return store.PermissionNone, nil
	}
	c, err := a.of(r)
	if err != nil {
		return store.PermissionNone, err
	}
	owner, repo, _ := strings.Cut(a.path(r), "/")
	query := url.Values{"q": {"user.account_id=" + quoted(who.ID)}}
	var effective struct{ Values []cloudPermission }
	_, first := a.send(ctx, c, request{method: http.MethodGet, quiet: true,
		path: "/workspaces/" + owner + "/permissions/repositories/" + repo + "?" + query.Encode()}, &effective)
	if first == nil {
		for _, p := range effective.Values {
			if p.User.AccountID == who.ID {
				return p.permission(), nil
			}
		}
		return store.PermissionNone, nil
	}
	if !unaskable(first) {
		return store.PermissionNone, first
	}
	var explicit cloudPermission
	_, second := a.send(ctx, c, request{method: http.MethodGet, quiet: true,
		path: "/repositories/" + a.path(r) + "/permissions-config/users/" + url.PathEscape(who.ID)}, &explicit)
	switch {
	case second == nil && explicit.User.AccountID == who.ID:
		return explicit.permission(), nil
	case second == nil:
		return store.PermissionNone, nil
	case !unaskable(second):
		return store.PermissionNone, second
	}
	right := "repository:admin"
	if c.Email != "" {
		right = "admin:repository:bitbucket"
	}
	a.refused(c, fmt.Sprintf("%v; without the scope %s nobody's permission can be asked for: name account ids under people", notMissing(second), right))
	return store.PermissionNone, fmt.Errorf("%w: the credential for %s lacks the scope %s; give it that, or name the account id %s under people: %w",
		store.ErrForbidden, c.title(), right, who.ID, notMissing(second))
}

// unaskable reports whether an error says that we may not ask, or that there is nothing to ask.
func unaskable(err error) bool {
	switch statusOf(err) {
	case http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// notMissing is an error that does not say that something is missing, which is another thing to those who ask for a permission.
func notMissing(err error) error {
	var failed *failure
	if errors.As(err, &failed) {
		return failed
	}
	return err
}

// A cloudPermission is what somebody may do as Cloud sends it.
type cloudPermission struct {
	Permission string
	User       cloudUser
}

func (p *cloudPermission) permission() store.Permission {
	switch p.Permission {
	case "admin":
		return store.PermissionAdmin
	case "write":
		return store.PermissionWrite
	case "read":
		return store.PermissionRead
	}
	return store.PermissionNone
}
