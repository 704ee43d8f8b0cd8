package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"buildsmith/checks"
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
	err = fmt.Errorf("%w what %s may do in %s: the credential needs the scope repository:admin (read:permission:bitbucket of an API token), or name the person's account id %s under people: %w",
		store.ErrForbidden, clip(checks.Plain(who.Login), 60), r.Name, who.ID, notMissing(second))
	a.refused(c, fmt.Sprintf("%v; without the scope repository:admin nobody's permission can be asked for: name people's account ids under people", notMissing(first)))
	return store.PermissionNone, err
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
