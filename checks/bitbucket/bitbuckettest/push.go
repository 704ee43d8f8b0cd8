package bitbuckettest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// A Change is what a commit does.
type Change = forgetest.Change

// Commit makes a commit on a branch, as if it had been pushed, and returns its hash. Nobody is told: Push does that.
func (s *Server) Commit(repo, branch string, c Change) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(repo)
	if err != nil {
		return "", err
	}
	author := s.userLocked(cmp.Or(c.Author, s.ownerLocked(r).Name))
	sha, err := s.flavor.host().Commit(r.dir, branch, r.branch, c, author.address(), s.now())
	if err != nil {
		return "", fmt.Errorf("in %s: %w", repo, err)
	}
	return sha, nil
}

// SetRef lets a branch or a tag point to a commit or a tag object; an empty hash removes it. Nobody is told: Push does
// that.
func (s *Server) SetRef(repo, ref, hash string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(repo)
	if err != nil {
		return err
	}
	args := []string{"update-ref", ref, hash}
	if hash == "" {
		args = []string{"update-ref", "-d", ref}
	}
	_, err = s.flavor.host().Git(r.dir, nil, args...)
	return err
}

// Push tells the hooks what has happened to branches and tags since they were told last, all in one event, as if they had been
// pushed together. Branches may be named without refs/heads/. Pull requests keep their heads: SynchronizePullRequest tells of
// those.
func (s *Server) Push(repo string, refs ...string) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		r, err := s.namedRepoLocked(repo)
		if err != nil {
			return nil, err
		}
		if len(refs) == 0 {
			return nil, errors.New("what was pushed is not said")
		}
		for i, ref := range refs {
			if !strings.HasPrefix(ref, "refs/") {
				refs[i] = "refs/heads/" + ref
			}
		}
		now, err := forgetest.Refs(r.dir)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			if r.refs[ref] == "" && now[ref] == "" {
				return nil, fmt.Errorf("%s of %s: %w", ref, repo, fs.ErrNotExist)
			}
		}
		e, err := s.pushLocked(r, nil, now, refs)
		return []event{e}, err
	})
}

// DeleteBranch deletes a branch, and tells the hooks.
func (s *Server) DeleteBranch(repo, branch string) (Delivery, error) {
	if err := s.SetRef(repo, "refs/heads/"+branch, ""); err != nil {
		return Delivery{}, err
	}
	return s.Push(repo, "refs/heads/"+branch)
}

// DeleteTag deletes a tag, and tells the hooks.
func (s *Server) DeleteTag(repo, tag string) (Delivery, error) {
	if err := s.SetRef(repo, "refs/tags/"+tag, ""); err != nil {
		return Delivery{}, err
	}
	return s.Push(repo, "refs/tags/"+tag)
}

// pushLocked makes the event of refs that have changed, which hooks know of from now on. Without a user it is the author of
// the first commit that is pushed.
func (s *Server) pushLocked(r *repo, user *User, now map[string]string, refs []string) (event, error) {
	e := event{kind: pushed, repo: r, actor: user}
	for _, ref := range refs {
		if c := (refChange{ref: ref, before: r.refs[ref], after: now[ref]}); c.before != c.after {
			e.changes = append(e.changes, c)
			forgetest.SetRef(r.refs, ref, c.after)
		}
	}
	if len(e.changes) == 0 {
		return e, errors.New("nothing has changed there since the hooks were told last")
	}
	if e.actor == nil {
		e.actor = s.ownerLocked(r)
		if after := e.changes[0].after; after != "" {
			if head, err := forgetest.ReadCommit(r.dir, after); err == nil && s.users[strings.ToLower(head.Author.Name)] != nil {
				e.actor = s.userLocked(head.Author.Name)
			}
		}
	}
	return e, nil
}

// tellPush delivers what differs from what the hooks of a repository were told last: one push, and for each pull request with a
// head that has moved that it has.
func (s *Server) tellPush(r *repo, user *User) {
	now, err := forgetest.Refs(r.dir)
	if err != nil {
		return // the repository is gone
	}
	s.tell(func() ([]event, error) { // an error is that nothing has changed
		e, err := s.pushLocked(r, user, now, forgetest.ChangedRefs(r.refs, now))
		return []event{e}, err
	})
	type name struct {
		repo   string
		number int
	}
	s.mu.Lock()
	var moved []name
	for _, target := range s.repos {
		for _, p := range target.pulls {
			if p.state == stateOpen && p.source == r && now["refs/heads/"+p.sourceBranch] != "" {
				moved = append(moved, name{target.name(), p.id})
			}
		}
	}
	s.mu.Unlock()
	for _, n := range moved {
		s.SynchronizePullRequest(n.repo, n.number) // fails if the pull request has this head already
	}
}

// A GitAccess is a request of git over HTTP.
type GitAccess = forgetest.GitAccess

// serveGit serves repositories by git's own program. Public ones can be read without a token; any token that is sent has to be
// right.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	name, action, ok := s.flavor.gitPath(r.URL.Path)
	service, discovery := forgetest.Service(r, action)
	if !ok || service == "" {
		s.nothingHere(w, r)
		return
	}
	if s.faults.For(r.Context(), s.weather, r.Method, r.URL.Path).Refuse(w) {
		return
	}
	user, password, _ := r.BasicAuth()
	entry := GitAccess{At: s.now(), Repository: name, Service: service, Discovery: discovery, User: user, Password: password, Header: r.Header.Get("Authorization")}
	s.mu.Lock()
	found := s.repoLocked(name)
	var who *User
	entry.Status, who = s.gitAccessLocked(found, service == "git-receive-pack", r)
	s.accesses = append(s.accesses, entry)
	s.wakeLocked()
	s.mu.Unlock()
	switch {
	case entry.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="Bitbucket"`)
		http.Error(w, "Invalid credentials", entry.Status)
	case entry.Status != http.StatusOK:
		http.Error(w, "You may not have access to this repository or it no longer exists in this workspace.", entry.Status)
	case action == "git-receive-pack":
		s.receiving.Lock()
		defer s.receiving.Unlock()
		s.backend.Serve(w, r, found.dir, action, who.Name)
		if s.pushes {
			s.later(func() { s.tellPush(found, who) })
		}
	default:
		login := ""
		if who != nil {
			login = who.Name
		}
		s.backend.Serve(w, r, found.dir, action, login)
	}
}

// gitAccessLocked decides on a request of git: 200, 401, 403 or 404. It also returns who asks.
func (s *Server) gitAccessLocked(r *repo, push bool, req *http.Request) (status int, who *User) {
	user, password, given := req.BasicAuth()
	if scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "bearer") {
		password = token
	}
	if !given && req.Header.Get("Authorization") == "" {
		if r != nil && !r.private && !push {
			return http.StatusOK, nil
		}
		return http.StatusUnauthorized, nil // so that git asks for a password, whether or not there is such a repository
	}
	role := "none"
	if t := s.flavor.gitToken(s, user, password); t != nil {
		t.Used++
		who = s.userLocked(t.User)
		if r != nil && s.flavor.mayGit(t, push) {
			role = s.tokenRoleLocked(t, r)
		}
	} else if u := s.users[strings.ToLower(user)]; u != nil && u.Password == password {
		who = u
		if r != nil {
			role = s.roleLocked(r, u.Name)
			if role == "none" && !r.private {
				role = "read"
			}
		}
	} else {
		return http.StatusUnauthorized, nil
	}
	switch {
	case role == "none":
		return http.StatusNotFound, who
	case push && !atLeast(role, "write"):
		return http.StatusForbidden, who
	}
	return http.StatusOK, who
}

// branchesOf are the branches that hold a commit, sorted.
func branchesOf(dir, sha string) []string {
	out, err := forgetest.Host{}.Git(dir, nil, "for-each-ref", "--format=%(refname:short)", "--contains="+sha, "refs/heads")
	if err != nil {
		return nil
	}
	return slices.Sorted(slices.Values(strings.Fields(out)))
}
