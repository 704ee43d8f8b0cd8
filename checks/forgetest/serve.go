package forgetest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
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

// A Backend is git's own program that serves repositories over HTTP.
type Backend struct{ program string }

// NewBackend finds the program.
func NewBackend() (Backend, error) {
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return Backend{}, fmt.Errorf("asking git for its programs: %w", err)
	}
	return Backend{program: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend")}, nil
}

// Service returns the service of git that a request asks for, git-upload-pack for fetching or git-receive-pack for pushing,
// where action is what follows the name of the repository. It is empty if git has no such request.
func Service(r *http.Request, action string) (service string, discovery bool) {
	service, method := action, http.MethodPost
	if action == "info/refs" {
		service, method, discovery = r.URL.Query().Get("service"), http.MethodGet, true
	}
	if service != "git-upload-pack" && service != "git-receive-pack" || r.Method != method {
		return "", false
	}
	return service, discovery
}

// Serve lets git answer a request for the repository in dir. The caller has decided that the user may.
func (b Backend) Serve(w http.ResponseWriter, r *http.Request, dir, action, login string) {
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
	handler := &cgi.Handler{Path: b.program, Root: "/", Env: env, Stderr: io.Discard, Logger: log.New(io.Discard, "", 0)}
	handler.ServeHTTP(w, out)
}
