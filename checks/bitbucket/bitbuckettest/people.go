package bitbuckettest

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// A User is somebody with an account, or the account of a token.
type User struct {
	Name        string `json:"name"` // Data Center's name and Cloud's nickname; by it methods name the user
	DisplayName string `json:"display_name"`
	Email       string `json:"email"`
	ID          int64  `json:"id"`         // Data Center's
	UUID        string `json:"uuid"`       // Cloud's, without braces
	AccountID   string `json:"account_id"` // Cloud's
	Bot         bool   `json:"bot"`        // the account of a token that acts for itself
	Password    string `json:"password"`   // what git takes as the user's password
}

// address is the user as git names him.
func (u *User) address() string { return fmt.Sprintf("%s <%s>", u.DisplayName, u.Email) }

// AddUser makes sure that there is a user.
func (s *Server) AddUser(name string) User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.userLocked(name)
}

// User returns a user; without one it says fs.ErrNotExist.
func (s *Server) User(name string) (User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[strings.ToLower(name)]; u != nil {
		return *u, nil
	}
	return User{}, fmt.Errorf("the user %s: %w", name, fs.ErrNotExist)
}

// userLocked returns a user, who is made if there is none of that name: somebody always was there first.
func (s *Server) userLocked(name string) *User {
	key := strings.ToLower(name)
	if u := s.users[key]; u != nil {
		return u
	}
	u := &User{Name: name, DisplayName: name, Email: key + "@example.org", ID: s.nextIDLocked("user"), UUID: forgetest.NewGUID(),
		Password: "person-" + forgetest.RandomHex(18)}
	u.AccountID = fmt.Sprintf("712020:%s", forgetest.NewGUID())
	s.users[key] = u
	return u
}

// findUserLocked returns the user with an account id, a uuid with or without braces, or a name.
func (s *Server) findUserLocked(id string) *User {
	bare := strings.Trim(id, "{}")
	for _, u := range s.users {
		if u.AccountID == id || strings.EqualFold(u.UUID, bare) {
			return u
		}
	}
	return s.users[strings.ToLower(id)]
}

// Roles in a repository, the smallest first.
var roles = []string{"none", "read", "write", "admin"}

func checkRole(role string) error {
	if !slices.Contains(roles, role) {
		return fmt.Errorf("there is no role %q; there are %q", role, roles)
	}
	return nil
}

// A project groups repositories; on Data Center each lies in one, on Cloud a workspace has several.
type project struct {
	key         string
	id          int64
	uuid        string
	permissions grants
}

// grants are permissions that were given.
type grants struct {
	users, groups map[string]string // name in small letters => role
	everyone      string            // the role of all people, on Data Center
}

func newGrants() grants { return grants{users: map[string]string{}, groups: map[string]string{}} }

// set gives a permission, or takes it away with the role none.
func set(to map[string]string, name, role string) error {
	if err := checkRole(role); err != nil {
		return err
	}
	if role == "none" {
		delete(to, strings.ToLower(name))
	} else {
		to[strings.ToLower(name)] = role
	}
	return nil
}

// of returns the largest role that is given to a user, as such or as a member of a group.
func (g grants) of(s *Server, name string) string {
	largest := g.users[strings.ToLower(name)]
	if !s.userLocked(name).Bot {
		largest = larger(largest, g.everyone)
	}
	for group, role := range g.groups {
		if slices.ContainsFunc(s.groups[group], func(member string) bool { return strings.EqualFold(member, name) }) {
			largest = larger(largest, role)
		}
	}
	return larger("none", largest)
}

func larger(a, b string) string {
	if slices.Index(roles, b) > slices.Index(roles, a) {
		return b
	}
	return a
}

// projectLocked returns a project, which is made if there is none.
func (s *Server) projectLocked(key string) *project {
	p := s.projects[strings.ToLower(key)]
	if p == nil {
		p = &project{key: strings.ToUpper(key), id: s.nextIDLocked("project"), uuid: forgetest.NewGUID(), permissions: newGrants()}
		if strings.HasPrefix(key, "~") {
			p.key = strings.ToLower(key)
		}
		s.projects[strings.ToLower(key)] = p
	}
	return p
}

// SetPermission gives a user a role in a repository: none, read, write or admin.
func (s *Server) SetPermission(repo, user, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(repo)
	if err != nil {
		return err
	}
	return set(r.permissions.users, s.userLocked(user).Name, role)
}

// SetGroup says who is in a group.
func (s *Server) SetGroup(group string, members ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, member := range members {
		s.userLocked(member)
	}
	s.groups[strings.ToLower(group)] = slices.Clone(members)
}

// SetGroupPermission gives the members of a group a role in a repository.
func (s *Server) SetGroupPermission(repo, group, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(repo)
	if err != nil {
		return err
	}
	return set(r.permissions.groups, group, role)
}

// SetProjectPermission gives a user a role in all repositories of a project.
func (s *Server) SetProjectPermission(key, user, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return set(s.projectLocked(key).permissions.users, s.userLocked(user).Name, role)
}

// SetProjectGroupPermission gives the members of a group a role in all repositories of a project.
func (s *Server) SetProjectGroupPermission(key, group, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return set(s.projectLocked(key).permissions.groups, group, role)
}

// roleLocked returns the effective role of a user in a repository. Whoever the workspace is named after, ~ apart, owns it.
func (s *Server) roleLocked(r *repo, name string) string {
	if strings.EqualFold(strings.TrimPrefix(r.workspace, "~"), name) {
		return "admin"
	}
	return larger(r.permissions.of(s, name), s.projectLocked(r.project).permissions.of(s, name))
}

func atLeast(role, least string) bool { return slices.Index(roles, role) >= slices.Index(roles, least) }
