package github_test

import (
	"bytes"
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
	hub, _, repo, sha := newApp(t)
	var mu sync.Mutex
	var log bytes.Buffer
	say := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		log.WriteString(text + "\n")
	}
	sent := map[string]bool{} // what was sent in Authorization
	app := lent(t, hub, func(c *github.Config) {
		c.Log = slog.New(slog.NewTextHandler(writer(say), &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
		c.Refused = func(_ int64, text string) { say(text) }
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			sent[credential] = true
			mu.Unlock()
			return http.DefaultTransport.RoundTrip(r)
		})
	})
	use := func(t *testing.T) {
		r := report(sha)
		remote, err := app.Create(t.Context(), repo, r)
		if err == nil {
			r.Status = checks.InProgress
			err = app.Update(t.Context(), repo, remote, r, nil)
		}
		if err != nil {
			say(err.Error())
		}
		if _, err := app.FileID(t.Context(), repo, sha, "buildspec.yml"); err != nil {
			say(err.Error())
		}
		if _, err := app.Permission(t.Context(), repo, store.Account{ID: "1", Login: "octo"}); err != nil {
			say(err.Error())
		}
		if _, revoke, err := app.CloneHeader(t.Context(), repo); err != nil {
			say(err.Error())
		} else {
			revoke()
		}
		if _, err := app.Identity(t.Context()); err != nil {
			say(err.Error())
		}
	}
	for name, fault := range map[string]githubtest.Fault{
		"401": {Status: 401}, "403": {Status: 403}, "404": {Status: 404}, "422": {Status: 422}, "500": {Status: 500}, "lost": {Lost: true},
		"elsewhere": {Status: 302, Header: map[string]string{"Location": "https://evil.example.org/x"}}, "nowhere": {Status: 301},
	} {
		t.Run(name, func(t *testing.T) {
			if err := hub.Inject(fault.At("", ".").For(-1)); err != nil {
				t.Fatal(err)
			}
			use(t)
			hub.ClearFaults()
			if err := hub.Inject(fault.At("", "/repos/").For(-1)); err != nil { // tokens can be had
				t.Fatal(err)
			}
			use(t)
			hub.ClearFaults()
			use(t)
		})
	}
	hub.Uninstall("octo")
	hub.Expire()
	use(t)
	mu.Lock()
	defer mu.Unlock()
	text := log.String()
	if strings.Count(text, "\n") < 30 || len(sent) < 3 {
		t.Fatalf("too little happened: %d credentials\n%s", len(sent), text)
	}
	secrets := map[string]string{}
	for credential := range sent {
		secrets[credential] = "a credential that was sent"
	}
	for _, token := range hub.Tokens() {
		secrets[token.Value] = "a token"
	}
	for line := range strings.Lines(string(hub.PEM())) {
		secrets[strings.TrimSpace(line)] = "a line of the key"
	}
	for secret, what := range secrets {
		if len(secret) > 8 && strings.Contains(text, secret) {
			t.Errorf("%s was told:\n%s", what, text)
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
