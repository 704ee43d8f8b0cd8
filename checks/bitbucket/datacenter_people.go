package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"buildsmith/store"
)

// dcLevels are the permissions of Data Center, as the program has them.
var dcLevels = map[string]store.Permission{
	"REPO_READ": store.PermissionRead, "REPO_WRITE": store.PermissionWrite, "REPO_ADMIN": store.PermissionAdmin,
	"PROJECT_READ": store.PermissionRead, "PROJECT_WRITE": store.PermissionWrite, "PROJECT_ADMIN": store.PermissionAdmin,
}

// Rights that questions about people take.
const (
	repoAdmin    = "REPO_ADMIN"
	projectAdmin = "PROJECT_ADMIN"
	licensedUser = "the permission LICENSED_USER, which a personal token has"
)

// Questions about people that are about no repository.
const (
	usersPath   = "/api/latest/users"
	membersPath = "/api/latest/admin/groups/more-members"
)

// A survey finds out what somebody may do. Data Center does not tell it in one answer: it is the most of what the repository and its
// project give to the person, to groups that the person is in, and to everybody.
type survey struct {
	d       *dataCenter
	repo    store.Repo
	who     store.Account
	at      place
	found   store.Permission
	groups  map[string]store.Permission // what each gives
	refused []string                    // what could not be asked: right and endpoint
}

// permission gives what is known for certain. Where that is not enough to write, and something that could give more cannot be asked, the
// error wraps store.ErrForbidden and says which rights are missing.
func (d *dataCenter) permission(ctx context.Context, r store.Repo, who store.Account) (store.Permission, error) {
	if who.Login == "" {
		return store.PermissionNone, nil
	}
	at, err := d.identifyNow(ctx, r)
	if err != nil {
		return store.PermissionNone, err
	}
	if at.owner != "" && at.owner == who.ID {
		return store.PermissionAdmin, nil
	}
	s := &survey{d: d, repo: r, who: who, at: at, groups: map[string]store.Permission{}}
	if at.public {
		s.found = store.PermissionRead
	}
	for _, step := range []func(context.Context) error{s.ofRepository, s.ofProject, s.groupsOfRepository, s.groupsOfProject, s.ofEverybody, s.ofGroups} {
		if s.found == store.PermissionAdmin {
			break
		}
		if err := step(ctx); err != nil {
			return store.PermissionNone, fmt.Errorf("what %s may do in %s: %w", who.Login, at.name, err)
		}
	}
	if s.found >= store.PermissionWrite || len(s.refused) == 0 {
		return s.found, nil
	}
	slices.Sort(s.refused)
	err = fmt.Errorf("%w what %s may do in %s: the token lacks %s; give it what is missing, or name the person under people in the configuration", store.ErrForbidden,
		who.Login, at.name, strings.Join(slices.Compact(s.refused), ", and "))
	if c, ofErr := d.h.of(r); ofErr == nil {
		d.h.refused(c, err.Error())
	}
	return store.PermissionNone, err
}

// note keeps that a question was refused for want of a right. Other errors are given back.
func (s *survey) note(err error, right string, where func(*place) string) error {
	if !denied(err) && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	s.refused = append(s.refused, fmt.Sprintf("%s for GET %s", right, pattern(where(&s.at))))
	return nil
}

func (s *survey) ofRepository(ctx context.Context) error {
	return s.users(ctx, inRepo("api", "/permissions/users"), repoAdmin)
}

func (s *survey) ofProject(ctx context.Context) error {
	return s.users(ctx, inProject("api", "/permissions/users"), projectAdmin)
}

func (s *survey) groupsOfRepository(ctx context.Context) error {
	return s.listGroups(ctx, inRepo("api", "/permissions/groups"), repoAdmin)
}

func (s *survey) groupsOfProject(ctx context.Context) error {
	return s.listGroups(ctx, inProject("api", "/permissions/groups"), projectAdmin)
}

// users looks for the person among those that are named themselves. The filter finds names that only begin alike as well, and a name may
// be somebody else's by now: ids are compared.
func (s *survey) users(ctx context.Context, where func(*place) string, right string) error {
	type named struct {
		User       dcUser
		Permission string
	}
	q := dcRequest{where: where, query: url.Values{"filter": {s.who.Login}}, quiet: true}
	err := walk(ctx, s.d, s.repo, q, dcManyThings, func(n named) bool {
		if n.User.account().ID == s.who.ID {
			s.found = max(s.found, dcLevels[n.Permission])
		}
		return true
	})
	return s.note(err, right, where)
}

func (s *survey) listGroups(ctx context.Context, where func(*place) string, right string) error {
	type named struct {
		Group      struct{ Name string }
		Permission string
	}
	err := walk(ctx, s.d, s.repo, dcRequest{where: where, quiet: true}, dcManyThings, func(n named) bool {
		s.groups[n.Group.Name] = max(s.groups[n.Group.Name], dcLevels[n.Permission])
		return true
	})
	return s.note(err, right, where)
}

// ofEverybody asks what the project gives to all licensed users, and then whether the person is one: the user of a token is not.
func (s *survey) ofEverybody(ctx context.Context) error {
	for _, p := range []string{"PROJECT_ADMIN", "PROJECT_WRITE"} {
		if dcLevels[p] <= s.found {
			return nil
		}
		where := inProject("api", "/permissions/"+p+"/all")
		var all struct{ Permitted bool }
		if err := s.d.ask(ctx, s.repo, dcRequest{where: where, quiet: true}, &all); err != nil {
			return s.note(err, projectAdmin, where)
		}
		if !all.Permitted {
			continue
		}
		q := dcRequest{where: anywhere(usersPath), query: url.Values{"filter": {s.who.Login}}, quiet: true}
		err := walk(ctx, s.d, s.repo, q, dcManyThings, func(u dcUser) bool {
			if u.account().ID == s.who.ID && u.Active && u.Type == "NORMAL" {
				s.found = max(s.found, dcLevels[p])
			}
			return true
		})
		return s.note(err, licensedUser, q.where)
	}
	return nil
}

// ofGroups looks for the person in the groups that give more than was found, those first that give most. One that was deleted has
// nobody.
func (s *survey) ofGroups(ctx context.Context) error {
	names := make([]string, 0, len(s.groups))
	for name := range s.groups {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if s.groups[a] != s.groups[b] {
			return int(s.groups[b] - s.groups[a])
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		if name == "" || s.groups[name] <= s.found {
			continue
		}
		q := dcRequest{where: anywhere(membersPath), query: url.Values{"context": {name}, "filter": {s.who.Login}}, quiet: true}
		err := walk(ctx, s.d, s.repo, q, dcManyThings, func(u dcUser) bool {
			if u.account().ID == s.who.ID {
				s.found = max(s.found, s.groups[name])
			}
			return true
		})
		if errors.Is(err, store.ErrNotFound) || denied(err) && s.groups[name] < store.PermissionWrite {
			continue
		}
		if err := s.note(err, licensedUser, q.where); err != nil {
			return err
		}
	}
	return nil
}
