package githubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// accountLocked returns the installation at an account.
func (s *Server) accountLocked(account string) (*installation, error) {
	for _, inst := range s.installations {
		if strings.EqualFold(inst.account, account) {
			return inst, nil
		}
	}
	return nil, fmt.Errorf("the app is not installed at %s: %w", account, fs.ErrNotExist)
}

// briefly lists repositories as events about installations have them: with no more than their names.
func (s *Server) briefly(ids map[int64]bool) []object {
	list := []object{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if r := s.repos[id]; r != nil && ids[id] {
			list = append(list, object{"id": r.id, "node_id": nodeID("R", r.id), "name": r.name, "full_name": r.fullName(), "private": r.private})
		}
	}
	return list
}

// installationPayload is an event about an installation, in which all of it is described.
func (s *Server) installationPayload(inst *installation, action string, more object) object {
	// The events have no client_id.
	described := s.installationJSON(inst)
	delete(described, "client_id")
	return with(object{"action": action, "installation": described, "sender": s.userJSON(inst.account)}, more)
}

// Install installs the app at an account, in all of its repositories or in some, and tells the app.
func (s *Server) Install(account string, repositories ...string) (Delivery, error) {
	return s.tell("installation", func() (*installation, object, error) {
		if _, err := s.accountLocked(account); err == nil {
			return nil, nil, fmt.Errorf("installing the app at %s: %w", account, fs.ErrExist)
		}
		var chosen []*repo
		for _, r := range s.repos {
			if strings.EqualFold(r.owner, account) && (len(repositories) == 0 || slices.Contains(repositories, r.fullName())) {
				chosen = append(chosen, r)
			}
		}
		if len(chosen) == 0 || len(repositories) > len(chosen) {
			return nil, nil, fmt.Errorf("installing the app at %s: it has not all of the repositories %q: %w", account, repositories, fs.ErrNotExist)
		}
		var inst *installation
		for _, r := range chosen {
			inst = s.installLocked(r)
		}
		return inst, s.installationPayload(inst, "created", object{"repositories": s.briefly(inst.repos), "requester": s.userJSON(account)}), nil
	})
}

// RemoveInstallation removes the app from an account and tells the app.
func (s *Server) RemoveInstallation(account string) (Delivery, error) {
	return s.tell("installation", func() (*installation, object, error) {
		inst, err := s.accountLocked(account)
		if err != nil {
			return nil, nil, err
		}
		payload := s.installationPayload(inst, "deleted", object{"repositories": s.briefly(inst.repos)})
		delete(s.installations, inst.id)
		return &installation{}, payload, nil // of a suspended one, too
	})
}

// SetSuspended suspends the installation at an account, or ends its suspension, and tells the app, which hears of nothing
// else meanwhile.
func (s *Server) SetSuspended(account string, suspended bool) (Delivery, error) {
	return s.tell("installation", func() (*installation, object, error) {
		inst, err := s.accountLocked(account)
		if err != nil {
			return nil, nil, err
		}
		if inst.suspended.IsZero() != suspended {
			return nil, nil, fmt.Errorf("the installation at %s is suspended: %t already", account, suspended)
		}
		action := "unsuspend"
		s.suspendLocked(inst, suspended)
		if suspended {
			action = "suspend"
		}
		return &installation{}, s.installationPayload(inst, action, nil), nil // it hears of the suspension itself
	})
}

// AcceptPermissions grants the app other permissions, as its owners asked for and an account accepts, and tells the app.
func (s *Server) AcceptPermissions(account string, permissions map[string]string) (Delivery, error) {
	return s.tell("installation", func() (*installation, object, error) {
		inst, err := s.accountLocked(account)
		if err != nil {
			return nil, nil, err
		}
		s.permissions = maps.Clone(permissions)
		return inst, s.installationPayload(inst, "new_permissions_accepted", nil), nil
	})
}

// AddToInstallation lets the app see repositories of an account where it is installed, and tells the app.
func (s *Server) AddToInstallation(account string, repositories ...string) (Delivery, error) {
	return s.selectRepos(account, "added", repositories)
}

// RemoveFromInstallation ends that the app sees repositories of an account, and tells the app.
func (s *Server) RemoveFromInstallation(account string, repositories ...string) (Delivery, error) {
	return s.selectRepos(account, "removed", repositories)
}

func (s *Server) selectRepos(account, action string, repositories []string) (Delivery, error) {
	return s.tell("installation_repositories", func() (*installation, object, error) {
		inst, err := s.accountLocked(account)
		if err != nil {
			return nil, nil, err
		}
		changed := map[int64]bool{}
		for _, name := range repositories {
			r, err := s.namedRepoLocked(name)
			if err != nil {
				return nil, nil, err
			}
			if !strings.EqualFold(r.owner, account) || inst.repos[r.id] == (action == "added") {
				return nil, nil, fmt.Errorf("%s cannot be %s: it is not of %s, or nothing would change", name, action, account)
			}
			changed[r.id] = true
		}
		if len(changed) == 0 {
			return nil, nil, errors.New("no repositories are named")
		}
		for id := range changed {
			if inst.repos[id] = true; action == "removed" {
				delete(inst.repos, id)
			}
		}
		lists := object{"repositories_added": []object{}, "repositories_removed": []object{}, "repository_selection": "selected", "requester": nil}
		lists["repositories_"+action] = s.briefly(changed)
		return inst, s.installationPayload(inst, action, lists), nil
	})
}

// RenameAccount gives a user or an organization another login and tells the app. Its repositories get other names, and
// requests for the old ones are redirected.
func (s *Server) RenameAccount(account, login string) (Delivery, error) {
	return s.tell("installation_target", func() (*installation, object, error) {
		inst, err := s.accountLocked(account)
		if err != nil {
			return nil, nil, err
		}
		if !nameForm.MatchString(login) || s.findUserLocked(login) != nil {
			return nil, nil, fmt.Errorf("renaming %s to %s: %w", account, login, fs.ErrExist)
		}
		u := s.userLocked(account)
		old := u.login
		delete(s.users, strings.ToLower(old))
		u.login = login
		s.users[strings.ToLower(login)] = u
		inst.account = login
		s.renameInLocked(old, login)
		for _, r := range s.repos {
			if role, found := r.roles[old]; found {
				delete(r.roles, old)
				r.roles[login] = role
			}
			if r.owner == old {
				if err := s.moveLocked(r, login, r.name); err != nil {
					return nil, nil, err
				}
			}
		}
		described := s.userJSON(login)
		if u.kind == "Organization" {
			described = s.organizationJSON(login)
		}
		described["html_url"], described["avatar_url"] = s.url+"/"+login, fmt.Sprintf("%s/avatars/u/%d?v=4", s.url, u.id)
		return inst, object{"action": "renamed", "account": described, "changes": object{"login": object{"from": old}}, "target_type": u.kind,
			"installation": object{"id": inst.id, "node_id": nodeID("INST", inst.id)}, "sender": s.userJSON(login)}, nil
	})
}

// renameInLocked writes a new login wherever the old one stands, but for the roles and the names of repositories.
func (s *Server) renameInLocked(old, login string) {
	change := func(at *string) {
		if *at == old {
			*at = login
		}
	}
	for _, u := range s.users {
		for n := range u.members {
			change(&u.members[n])
		}
	}
	for _, r := range s.repos {
		for _, i := range r.issues {
			change(&i.user)
			if i.pull != nil {
				change(&i.pull.headOwner)
				change(&i.pull.mergedBy)
			}
		}
	}
	for _, c := range s.comments {
		change(&c.User)
	}
	for _, x := range s.reactions {
		change(&x.User)
	}
}
