package github_test

import (
	"bytes"
	"cmp"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"buildsmith/checks"
	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// TestAttackTokenInErrors has GitHub fail in every way while the log is at its most talkative: no token, no signature of the App and
// nothing of its key is in an error, in what is told of an installation or in the log.
func TestAttackTokenInErrors(t *testing.T) {
	for name, fault := range map[string]githubtest.Fault{
		"401": {Status: 401}, "403": {Status: 403}, "404": {Status: 404}, "422": {Status: 422}, "500": {Status: 500}, "lost": {Lost: true}, "no answer": {Status: 200, Body: "<html>"},
		"elsewhere": {Status: 302, Header: map[string]string{"Location": "https://evil.example.org/x"}}, "nowhere": {Status: 301},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHearing(t)
			for _, path := range []string{"/repos/", "."} { // tokens can be had, and cannot
				if err := h.hub.Inject(fault.At("", path).For(-1)); err != nil {
					t.Fatal(err)
				}
				h.use()
				h.hub.ClearFaults()
				h.use()
			}
			h.hub.Uninstall("octo")
			h.hub.Expire()
			h.use()
			h.judge()
		})
	}
}

// A hearing is an App all of whose words are written down, beside the credentials that it sent.
type hearing struct {
	t    *testing.T
	hub  *githubtest.Server
	app  *github.App
	repo store.Repo
	sha  string

	mu   sync.Mutex
	said bytes.Buffer
	sent map[string]bool
}

func newHearing(t *testing.T) *hearing {
	t.Helper()
	h := &hearing{t: t, sent: map[string]bool{}}
	h.hub, _, h.repo, h.sha = newApp(t)
	h.app = lent(t, h.hub, func(c *github.Config) {
		c.Log = slog.New(slog.NewTextHandler(writer(h.say), &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
		c.Refused = func(_ int64, text string) { h.say(text) }
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			h.mu.Lock()
			h.sent[credential] = true
			h.mu.Unlock()
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	return h
}

func (h *hearing) say(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said.WriteString(text + "\n")
}

// use asks and tells GitHub a thing of each kind.
func (h *hearing) use() {
	ctx := h.t.Context()
	r := report(h.sha)
	remote, created := h.app.Create(ctx, h.repo, r)
	r.Status = checks.InProgress
	_, file := h.app.FileID(ctx, h.repo, h.sha, "buildspec.yml")
	_, identity := h.app.Identity(ctx)
	header, revoke, clone := h.app.CloneHeader(ctx, h.repo)
	if clone == nil {
		h.mu.Lock()
		h.sent[header[strings.LastIndexByte(header, ' ')+1:]] = true
		h.mu.Unlock()
		revoke()
	}
	for _, err := range []error{created, h.app.Update(ctx, h.repo, cmp.Or(remote, "1"), r, nil), file, identity, clone} {
		if err != nil {
			h.say(err.Error())
		}
	}
}

// judge fails the test if a credential was said.
func (h *hearing) judge() {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	text := h.said.String()
	if strings.Count(text, "\n") < 8 || len(h.sent) < 3 {
		h.t.Errorf("too little happened: %d credentials\n%s", len(h.sent), text)
	}
	secrets := map[string]string{}
	for credential := range h.sent {
		secrets[credential] = "a credential that was sent"
	}
	for _, token := range h.hub.Tokens() {
		secrets[token.Value] = "a token"
	}
	for line := range strings.Lines(string(h.hub.PEM())) {
		if !strings.HasPrefix(line, "-----") {
			secrets[strings.TrimSpace(line)] = "a line of the key"
		}
	}
	for secret, what := range secrets {
		if len(secret) > 8 && strings.Contains(text, secret) {
			h.t.Errorf("%s was told:\n%s", what, text)
		}
	}
}

type writer func(string)

func (w writer) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }

// TestAttackNextPage has the log of deliveries name a page at another host, and a way out of the API: only the cursor is believed.
func TestAttackNextPage(t *testing.T) {
	hub, _, _, _ := newApp(t)
	if _, err := hub.Ping(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	app := lent(t, hub, func(c *github.Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != strings.TrimPrefix(hub.URL(), "http://") || !strings.HasPrefix(r.URL.Path, "/api/v3/app/hook/deliveries") {
				t.Errorf("asked for %s", r.URL)
			}
			answer, err := http.DefaultTransport.RoundTrip(r)
			if asked++; err == nil && asked == 1 {
				answer.Header.Set("Link", `<http://evil.example.org/api/v3/../../admin?cursor=../../../v1%0d%0aX:y>; rel="next"`)
			}
			return answer, err
		})
	})
	_, _ = app.Deliveries(t.Context(), hub.Deliveries()[0].At.Add(-3600e9))
	if asked < 2 {
		t.Errorf("%d pages were asked for", asked)
	}
}
