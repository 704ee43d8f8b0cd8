package githubtest

import (
	"bytes"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/cgi"
	"os"
	"slices"
	"strings"
	"time"
)

// A GitAccess is a request of git over HTTP. A fetch makes two or more: one for the refs, one for what it lacks.
type GitAccess struct {
	At         time.Time `json:"at"`
	Repository string    `json:"repository"`
	Service    string    `json:"service"` // git-upload-pack for fetching, git-receive-pack for pushing
	Discovery  bool      `json:"discovery"`
	User       string    `json:"user"`     // of the authorization; empty if there was none
	Password   string    `json:"password"` // the token
	Header     string    `json:"header"`   // the authorization as it came
	Status     int       `json:"status"`   // 200 if it was let through
}

// serveGit serves /<owner>/<repo>.git by git's own program. Public repositories can be read without a token, by which
// GitHub's behaviour is meant; any token that is sent has to be right.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request) {
	owner, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	name, action, _ := strings.Cut(rest, "/")
	service := r.URL.Query().Get("service")
	if action != "info/refs" {
		service = action
	}
	method := http.MethodPost
	if action == "info/refs" {
		method = http.MethodGet
	}
	if service != "git-upload-pack" && service != "git-receive-pack" || r.Method != method {
		s.nothingHere(w, r)
		return
	}
	fault := s.faultFor(r.Context(), r.Method, r.URL.Path)
	if fault.Status != 0 {
		for name, value := range fault.Header {
			w.Header().Set(name, value)
		}
		http.Error(w, fault.Body, fault.Status)
		return
	}
	if fault.Lost || fault.Cut {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	user, password, _ := r.BasicAuth()
	entry := GitAccess{At: s.now(), Repository: owner + "/" + strings.TrimSuffix(name, ".git"), Service: service, Discovery: action == "info/refs",
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
		s.runBackend(w, r, dir, action, pusher)
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

// runBackend lets git answer.
func (s *Server) runBackend(w http.ResponseWriter, r *http.Request, dir, action, login string) {
	out := r.Clone(r.Context())
	if r.ContentLength < 0 { // a program of the CGI has to be told the length
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusBadRequest)
			return
		}
		out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	out.URL.Path = "/" + action
	out.Header.Del("Authorization") // it is decided on, and not for git to know
	env := []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"HOME=" + os.DevNull, "PATH=" + os.Getenv("PATH"), "REMOTE_USER=" + login}
	if v := r.Header.Get("Git-Protocol"); v != "" {
		env = append(env, "GIT_PROTOCOL="+v)
	}
	handler := &cgi.Handler{Path: s.backend, Root: "/", Env: env, Stderr: io.Discard, Logger: log.New(io.Discard, "", 0)}
	handler.ServeHTTP(w, out)
}

// receive takes a push and, if the server is to tell the app, finds out what it changed.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, found *repo, dir, action, login string) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.runBackend(w, r, dir, action, login)
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
	refs, err := listRefs(s.repoDir(r))
	if err != nil {
		s.mu.Unlock()
		return
	}
	changed := changedRefs(r.refs, refs)
	if tags := slices.DeleteFunc(slices.Clone(changed), func(ref string) bool { return !isTag(ref) }); len(tags) > mostTags {
		for _, tag := range tags {
			setRef(r.refs, tag, refs[tag])
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

// changedRefs returns the refs that differ, sorted.
func changedRefs(before, after map[string]string) []string {
	all := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(ref string) bool { return before[ref] == after[ref] })
}

// setRef notes what a ref holds; no hash means that it is gone.
func setRef(refs map[string]string, ref, hash string) {
	if hash == "" {
		delete(refs, ref)
	} else {
		refs[ref] = hash
	}
}

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
