package githubtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"
)

// newHub returns a server whose own answers are checked too.
func newHub(t *testing.T, o Options) *Server {
	t.Helper()
	o.checkAnswers = true
	return New(t, o)
}

// A shop is a server with one repository, and the clients of a bot.
type shop struct {
	*Server
	t     *testing.T
	sha   string         // of the first commit on main
	app   *github.Client // as the app
	inst  *github.Client // as the installation
	instT *ghinstallation.Transport
}

const shopRepo = "octo/shop"

// newShop also lets the test run beside others: each has a server of its own.
func newShop(t *testing.T, o Options) *shop {
	t.Helper()
	t.Parallel()
	s := &shop{Server: newHub(t, o), t: t}
	if _, err := s.AddRepo(shopRepo, RepoOptions{Private: true}); err != nil {
		t.Fatal(err)
	}
	s.sha = s.commit("main", map[string]string{"buildspec.yml": "version: 0.2\n", "src/a.go": "package a\n"})
	s.app, s.inst, s.instT = s.clients(s.Installation("octo"))
	return s
}

// clients returns clients made as a bot makes them: go-github on top of ghinstallation.
func (s *shop) clients(installation int64) (app, inst *github.Client, t *ghinstallation.Transport) {
	s.t.Helper()
	api := s.URL() + "/api/v3"
	appT, err := ghinstallation.NewAppsTransport(http.DefaultTransport, s.AppID(), s.PEM())
	if err != nil {
		s.t.Fatal(err)
	}
	appT.BaseURL = api
	t, err = ghinstallation.New(http.DefaultTransport, s.AppID(), installation, s.PEM())
	if err != nil {
		s.t.Fatal(err)
	}
	t.BaseURL = api
	return s.client(&http.Client{Transport: appT}), s.client(&http.Client{Transport: t}), t
}

func (s *shop) client(hc *http.Client) *github.Client {
	s.t.Helper()
	c, err := github.NewClient(hc).WithEnterpriseURLs(s.URL(), s.URL())
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *shop) commit(branch string, files map[string]string) string {
	s.t.Helper()
	sha, err := s.Commit(shopRepo, branch, Change{Files: files})
	if err != nil {
		s.t.Fatal(err)
	}
	return sha
}

// run creates a check run as the app.
func (s *shop) run(o github.CreateCheckRunOptions) *github.CheckRun {
	s.t.Helper()
	if o.HeadSHA == "" {
		o.HeadSHA = s.sha
	}
	run, _, err := s.inst.Checks.CreateCheckRun(s.t.Context(), "octo", "shop", o)
	if err != nil {
		s.t.Fatal(err)
	}
	return run
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// status returns the status that an error of go-github or ghinstallation stands for.
func status(err error) int {
	var response *github.ErrorResponse
	var http *ghinstallation.HTTPError
	var limited *github.RateLimitError
	var abused *github.AbuseRateLimitError
	switch {
	case errors.As(err, &response):
		return response.Response.StatusCode
	case errors.As(err, &limited):
		return limited.Response.StatusCode
	case errors.As(err, &abused):
		return abused.Response.StatusCode
	case errors.As(err, &http) && http.Response != nil:
		http.Response.Body.Close()
		return http.Response.StatusCode
	}
	return 0
}

// A bot is what receives deliveries in a test.
type bot struct {
	url    string
	answer int

	mu   sync.Mutex
	got  []*http.Request
	body [][]byte
}

func newBot(t *testing.T) *bot {
	b := &bot{answer: http.StatusAccepted}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.got, b.body = append(b.got, r), append(b.body, body)
		status := b.answer
		b.mu.Unlock()
		w.WriteHeader(status)
		io.WriteString(w, "noted")
	}))
	t.Cleanup(server.Close)
	b.url = server.URL + "/webhook/github"
	return b
}

// last returns the last delivery, with its payload decoded.
func (b *bot) last(t *testing.T) (*http.Request, []byte, object) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) == 0 {
		t.Fatal("the bot got nothing")
	}
	body := b.body[len(b.body)-1]
	var payload object
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&payload); err != nil {
		t.Fatal(err)
	}
	return b.got[len(b.got)-1], body, payload
}

func (b *bot) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.got)
}

// gitIn runs git as a person would.
func gitIn(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ASKPASS=true")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := gitIn(t, dir, args...)
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return out
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// soon is a context that ends before the test gets boring.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
