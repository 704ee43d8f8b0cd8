package bitbuckettest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// SetProjectDefault gives all people a role in all repositories of a project: none, read, write or admin. Only Data Center has
// such a thing.
func (s *Server) SetProjectDefault(key, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name != DataCenter {
		return errNotCloud
	}
	if err := checkRole(role); err != nil {
		return err
	}
	s.projectLocked(key).permissions.everyone = role
	return nil
}

// matches reports whether the filter of a query is a part of one of the names; an empty one is a part of all.
func matches(c *call, names ...string) bool {
	filter := strings.ToLower(c.query("filter"))
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(strings.ToLower(name), filter) })
}

// people are the users whom a query's filter fits, by name. The users of tokens are not among them.
func (d *dataCenter) people(s *Server, c *call) []*User {
	var list []*User
	for _, key := range slices.Sorted(maps.Keys(s.users)) {
		if u := s.users[key]; !u.Bot && matches(c, u.Name, u.DisplayName, u.Email) {
			list = append(list, u)
		}
	}
	return list
}

// permissionsOfUsers are those that are given to users by name; what comes of groups is not among them.
func (d *dataCenter) permissionsOfUsers(s *Server, c *call, scope string, g grants) *answer {
	list := []object{}
	for _, u := range d.people(s, c) {
		if role := g.users[strings.ToLower(u.Name)]; role != "" {
			list = append(list, object{"user": d.userJSON(s, u), "permission": dcPermission(scope, role)})
		}
	}
	return dcPageOf(c, list)
}

func (d *dataCenter) permissionsOfGroups(c *call, scope string, g grants) *answer {
	list := []object{}
	for _, group := range slices.Sorted(maps.Keys(g.groups)) {
		if matches(c, group) {
			list = append(list, object{"group": object{"name": group}, "permission": dcPermission(scope, g.groups[group])})
		}
	}
	return dcPageOf(c, list)
}

// repoUsers is GET .../repos/{repo}/permissions/users.
func (d *dataCenter) repoUsers(s *Server, c *call) *answer {
	return d.permissionsOfUsers(s, c, "REPO", c.repo.permissions)
}

// repoGroups is GET .../repos/{repo}/permissions/groups.
func (d *dataCenter) repoGroups(s *Server, c *call) *answer {
	return d.permissionsOfGroups(c, "REPO", c.repo.permissions)
}

// projectOf returns the project that the path of a call names, for somebody who administers it.
func (d *dataCenter) projectOf(s *Server, c *call) (*project, *answer) {
	p := s.projects[strings.ToLower(c.params["project"])]
	if p == nil {
		return nil, dcNoProject(c)
	}
	if !d.mayProject(s, c.token, p.key) {
		return nil, d.denied("PROJECT_ADMIN")
	}
	return p, nil
}

// projectUsers is GET .../projects/{project}/permissions/users. Who has made the project is among them.
func (d *dataCenter) projectUsers(s *Server, c *call) *answer {
	p, refused := d.projectOf(s, c)
	if refused != nil {
		return refused
	}
	given := grants{users: maps.Clone(p.permissions.users)}
	if maker := strings.ToLower(p.key); !strings.HasPrefix(maker, "~") && s.users[maker] != nil {
		given.users[maker] = "admin"
	}
	return d.permissionsOfUsers(s, c, "PROJECT", given)
}

// projectGroups is GET .../projects/{project}/permissions/groups.
func (d *dataCenter) projectGroups(s *Server, c *call) *answer {
	p, refused := d.projectOf(s, c)
	if refused != nil {
		return refused
	}
	return d.permissionsOfGroups(c, "PROJECT", p.permissions)
}

// projectDefault is GET .../projects/{project}/permissions/{permission}/all: whether all people have a permission.
func (d *dataCenter) projectDefault(s *Server, c *call) *answer {
	p, refused := d.projectOf(s, c)
	if refused != nil {
		return refused
	}
	_, level := dcLevel(c.params["permission"])
	return ok(object{"permitted": slices.Index(roles, p.permissions.everyone) >= level})
}

// members is GET /api/latest/admin/groups/more-members: who is in a group.
func (d *dataCenter) members(s *Server, c *call) *answer {
	group, known := s.groups[strings.ToLower(c.query("context"))]
	if !known {
		return dcProblem(http.StatusNotFound, "user.NoSuchGroupException", "Group %s does not exist.", c.query("context"))
	}
	list := []object{}
	for _, u := range d.people(s, c) {
		if slices.ContainsFunc(group, func(member string) bool { return strings.EqualFold(member, u.Name) }) {
			list = append(list, d.userJSON(s, u))
		}
	}
	return dcPageOf(c, list)
}

// users is GET /api/latest/users.
func (d *dataCenter) users(s *Server, c *call) *answer {
	list := []object{}
	for _, u := range d.people(s, c) {
		list = append(list, d.userJSON(s, u))
	}
	return dcPageOf(c, list)
}

// getUser is GET /api/latest/users/{user}. It is the slug that names a user there.
func (d *dataCenter) getUser(s *Server, c *call) *answer {
	for _, u := range d.people(s, c) {
		if strings.EqualFold(dcSlug(u.Name), c.params["user"]) {
			return ok(d.userJSON(s, u))
		}
	}
	return dcProblem(http.StatusNotFound, "user.NoSuchUserException", "User %s does not exist.", c.params["user"])
}
