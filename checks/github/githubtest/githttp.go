package githubtest

import (
	"net/http"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// A GitAccess is a request of git over HTTP.
type GitAccess = forgetest.GitAccess

// serveGit serves /<owner>/<repo>.git by git's own program. Public repositories can be read without a token, by which
// GitHub's behaviour is meant; any token that is sent has to be right.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	owner, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	name, action, _ := strings.Cut(rest, "/")
	service, discovery := forgetest.Service(r, action)
	if service == "" {
		s.nothingHere(w, r)
		return
	}
	if s.faultFor(r.Context(), r.Method, r.URL.Path).Refuse(w) {
		return
	}
	user, password, _ := r.BasicAuth()
	entry := GitAccess{At: s.now(), Repository: owner + "/" + strings.TrimSuffix(name, ".git"), Service: service, Discovery: discovery,
		User: user, Password: password, Header: r.Header.Get("Authorization")}
	s.mu.Lock()
	found := s.repoLocked(entry.Repository)
	if found == nil {
		found = s.repos[s.renamed[strings.ToLower(entry.Repository)]]
	}
	var pusher, dir string
	entry.Status, pusher = s.gitAccessLocked(found, service, r)
	if entry.Status == http.StatusOK {
		dir = s.repoDir(found)
	}
	s.accesses = append(s.accesses, entry)
	s.mu.Unlock()
	switch {
	case entry.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "Invalid username or token.", entry.Status)
	case entry.Status != http.StatusOK:
		http.Error(w, "Repository not found.", entry.Status)
	case action == "git-receive-pack":
		s.receive(w, r, found, dir, action, pusher)
	default:
		s.backend.Serve(w, r, dir, action, pusher)
	}
}

// nothingHere answers a request for neither the API nor git. It is a violation unless it is a person's who follows a link.
func (s *Server) nothingHere(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.mu.Lock()
		s.violateLocked(r, r.URL.Path, "there is nothing below %s and no repository of git", apiBase)
		s.wakeLocked()
		s.mu.Unlock()
	}
	http.NotFound(w, r)
}

// gitAccessLocked decides on a request of git: 200, 401, 403 or 404. It also returns who pushes.
func (s *Server) gitAccessLocked(r *repo, service string, req *http.Request) (status int, login string) {
	level := "read"
	if service == "git-receive-pack" {
		level = "write"
	}
	user, password, given := req.BasicAuth()
	if !given {
		if r != nil && !r.private && level == "read" {
			return http.StatusOK, ""
		}
		return http.StatusUnauthorized, "" // so that git asks for a password, whether or not there is such a repository
	}
	if token := s.tokenLocked(password); token != nil && user == "x-access-token" {
		token.Requests++
		if r == nil {
			return http.StatusNotFound, ""
		}
		if refused := s.authorizeLocked(token, r, "contents:"+level); refused != nil {
			return refused.status, ""
		}
		return http.StatusOK, s.botName()
	}
	for _, u := range s.users {
		if u.token != password || u.kind != "User" {
			continue
		}
		if r == nil || s.roleLocked(r, u.login) == "none" {
			return http.StatusNotFound, ""
		}
		permission := roles[s.roleLocked(r, u.login)]
		if level == "write" && permission != "write" && permission != "admin" {
			return http.StatusForbidden, ""
		}
		return http.StatusOK, u.login
	}
	return http.StatusUnauthorized, ""
}

// receive takes a push and, if the server is to tell the app, finds out what it changed.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, found *repo, dir, action, login string) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.backend.Serve(w, r, dir, action, login)
	if s.pushes {
		s.mu.Lock()
		full := found.fullName()
		s.mu.Unlock()
		s.later(func() { s.tellPush(full, login) })
	}
}

// mostTags is how many tags a push may have for the app to be told of them; of more, GitHub tells nothing.
const mostTags = 3

// tellPush delivers what differs from what the app was told last: a push for each ref, and for each pull request with a
// head that has moved that it has.
func (s *Server) tellPush(fullName, login string) {
	s.mu.Lock()
	r := s.repoLocked(fullName)
	if r == nil {
		s.mu.Unlock()
		return
	}
	refs, err := forgetest.Refs(s.repoDir(r))
	if err != nil {
		s.mu.Unlock()
		return
	}
	changed := forgetest.ChangedRefs(r.refs, refs)
	if tags := slices.DeleteFunc(slices.Clone(changed), func(ref string) bool { return !isTag(ref) }); len(tags) > mostTags {
		for _, tag := range tags {
			forgetest.SetRef(r.refs, tag, refs[tag])
		}
		changed = slices.DeleteFunc(changed, isTag)
	}
	s.mu.Unlock()
	for _, ref := range changed {
		s.deliver("push", func() (*repo, object, error) {
			payload, err := s.pushPayloadLocked(r, ref, login)
			return r, payload, err
		})
		branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
		if !isBranch || refs[ref] == "" {
			continue
		}
		for _, p := range s.pullsFrom(r, branch) {
			s.SynchronizePullRequest(p.repository, p.number) // fails if the pull request has this head already
		}
	}
}

func isTag(ref string) bool { return strings.HasPrefix(ref, "refs/tags/") }

// A pullName names a pull request.
type pullName struct {
	repository string
	number     int
}

// pullsFrom returns the open pull requests whose head is a branch.
func (s *Server) pullsFrom(head *repo, branch string) []pullName {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []pullName
	for _, r := range s.repos {
		for _, i := range r.issues {
			if p := i.pull; p != nil && i.open && p.headRepo == head.id && p.headRef == branch {
				names = append(names, pullName{r.fullName(), i.number})
			}
		}
	}
	return names
}
