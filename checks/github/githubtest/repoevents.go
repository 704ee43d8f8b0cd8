package githubtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tell builds a payload under the lock and sends it without, to the installation that build gives: nothing is sent if that
// is nil, or suspended.
func (s *Server) tell(event string, build func() (*installation, object, error)) (Delivery, error) {
	s.mu.Lock()
	inst, payload, err := build()
	silent := inst == nil || !inst.suspended.IsZero()
	s.mu.Unlock()
	if err != nil || silent {
		return Delivery{}, err
	}
	return s.Deliver(event, payload, DeliverOptions{})
}

// aboutRepo changes a repository and tells the app what was done.
func (s *Server) aboutRepo(fullName, action string, change func(*repo) (more object, err error)) (Delivery, error) {
	return s.deliver("repository", func() (*repo, object, error) {
		r, err := s.namedRepoLocked(fullName)
		if err != nil {
			return nil, nil, err
		}
		sender := r.owner
		more, err := change(r)
		if err != nil {
			return nil, nil, err
		}
		return r, s.payloadLocked(r, sender, with(object{"action": action}, more)), nil
	})
}

// Rename gives a repository another name below the same owner and tells the app. Requests for the old one are redirected.
func (s *Server) Rename(fullName, name string) (Delivery, error) {
	return s.aboutRepo(fullName, "renamed", func(r *repo) (object, error) {
		old := r.name
		return object{"changes": object{"repository": object{"name": object{"from": old}}}}, s.moveLocked(r, r.owner, name)
	})
}

// Transfer gives a repository to another account and tells the app. Whether the app may see it there is up to that account:
// it may if the app is installed there. Requests for the old name are redirected.
func (s *Server) Transfer(fullName, owner string) (Delivery, error) {
	return s.aboutRepo(fullName, "transferred", func(r *repo) (object, error) {
		from := object{"user": s.userJSON(r.owner)}
		if s.userLocked(r.owner).kind == "Organization" {
			from = object{"organization": s.organizationJSON(r.owner)}
		}
		if err := s.moveLocked(r, owner, r.name); err != nil {
			return nil, err
		}
		r.roles[s.userLocked(owner).login] = "admin"
		for _, inst := range s.installations {
			delete(inst.repos, r.id)
			if strings.EqualFold(inst.account, owner) {
				inst.repos[r.id] = true
			}
		}
		return object{"changes": object{"owner": object{"from": from}}}, nil
	})
}

// moveLocked gives a repository another owner or name.
func (s *Server) moveLocked(r *repo, owner, name string) error {
	if full := owner + "/" + name; !nameForm.MatchString(owner) || !nameForm.MatchString(name) || s.repoLocked(full) != nil {
		return fmt.Errorf("moving %s to %s: %w", r.fullName(), full, fs.ErrExist)
	}
	from := s.repoDir(r)
	s.renamed[strings.ToLower(r.fullName())] = r.id
	r.owner, r.name = s.userLocked(owner).login, name
	to := s.repoDir(r)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// SetArchived archives a repository, or ends that, and tells the app. An archived repository can be read only.
func (s *Server) SetArchived(fullName string, archived bool) (Delivery, error) {
	action := "unarchived"
	if archived {
		action = "archived"
	}
	return s.aboutRepo(fullName, action, func(r *repo) (object, error) {
		r.archived = archived
		return nil, nil
	})
}

// SetVisibility makes a repository a private or a public one and tells the app.
func (s *Server) SetVisibility(fullName string, private bool) (Delivery, error) {
	action := "publicized"
	if private {
		action = "privatized"
	}
	return s.aboutRepo(fullName, action, func(r *repo) (object, error) {
		r.private = private
		return nil, nil
	})
}

// Delete deletes a repository and tells the app, as the last thing that it hears of it.
func (s *Server) Delete(fullName string) (Delivery, error) {
	return s.tell("repository", func() (*installation, object, error) {
		r, err := s.namedRepoLocked(fullName)
		if err != nil {
			return nil, nil, err
		}
		inst := s.installationLocked(r)
		payload := s.payloadLocked(r, r.owner, object{"action": "deleted"})
		return inst, payload, s.deleteRepoLocked(r)
	})
}

// DeleteBranch deletes a branch and tells the app.
func (s *Server) DeleteBranch(fullName, branch string) (Delivery, error) {
	return s.deleteRef(fullName, "refs/heads/"+branch)
}

// DeleteTag deletes a tag and tells the app.
func (s *Server) DeleteTag(fullName, tag string) (Delivery, error) {
	return s.deleteRef(fullName, "refs/tags/"+tag)
}

func (s *Server) deleteRef(fullName, ref string) (Delivery, error) {
	if err := s.SetRef(fullName, ref, ""); err != nil {
		return Delivery{}, err
	}
	return s.Push(fullName, ref)
}

// ForcePush moves a branch to another commit, which need not follow the one before, and tells the app.
func (s *Server) ForcePush(fullName, branch, sha string) (Delivery, error) {
	if err := s.SetRef(fullName, "refs/heads/"+branch, sha); err != nil {
		return Delivery{}, err
	}
	return s.Push(fullName, branch)
}
