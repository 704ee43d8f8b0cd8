package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// demoForges are forges of each kind, with all that can be said of one.
func demoForges(at time.Time) []Forge {
	left := 4321
	return []Forge{{
		Name: "github", Host: "github.com", AppID: 7, App: "Shop <Builder>", URL: "https://github.com/apps/shop", Install: "https://github.com/apps/shop/installations/new",
		Deliveries: "webhook", HookURL: "https://ci.example.org/webhook/github", Secret: "in use, last today", Rotates: true, LastPing: at, Skew: -0.25, Read: at,
		Sweep:    Sweep{At: at, Missed: 3, Asked: 2, Fetched: 1, Left: 4, Gone: 5, Error: "it broke"},
		Problems: []Lack{{Text: "the clock is off"}, {Text: "merge queues are not built", Note: true}},
		Installations: []Installation{
			{ID: 1, Account: "octo", Selection: "all", LastDelivery: at, Remaining: &left},
			{ID: 2, Account: "acme", Problems: []Lack{{Text: "permission checks: write is needed"}}, LastError: "POST /x: status 403", LastErrorAt: at},
			{ID: 3, Account: "idle", Suspended: true},
			{ID: 4, Account: "old", Removed: true, Problems: []Lack{{Text: "x"}}},
			{ID: 5, Account: "less", Problems: []Lack{{Text: "permission issues: read", Note: true}}},
		},
	}, {Kind: "GitHub", Name: "github", Host: "github.example.org", AppID: 8, Deliveries: "poll"},
		{Kind: "Bitbucket Cloud", Name: "work", Host: "bitbucket.org", URL: "https://bitbucket.org", Deliveries: "poll", Installations: []Installation{{ID: 9, Account: "acme/*",
			Problems: []Lack{{Text: "webhooks: GET /repositories/…/hooks: the scope webhook is missing"}}}}},
		{Kind: "Bitbucket Data Center", Name: "dc", Host: "git.example.org", Deliveries: "webhook", HookURL: "https://ci.example.org/webhook/dc", Sweep: Sweep{At: at, Missed: 2, Fetched: 2}}}
}

func TestForgesPage(t *testing.T) {
	s := newSite(t)
	says(t, s.get("/forges"), []string{"No App at a forge", "The configuration names none."}, "Set up GitHub", "Resync")
	s = newSite(t, func(c *Config) { c.Setup = &Setup{Done: func() bool { return false }} })
	says(t, s.get("/forges"), []string{"No App at a forge", `<a class="button" href="/setup">Set up GitHub</a>`})

	at, resyncs := time.Now().Add(-5*time.Minute), 0
	var rotated error
	list := demoForges(at)
	s = newSite(t, func(c *Config) {
		c.Forges = &Forges{List: func() []Forge { return list }, Resync: func(context.Context) { resyncs++ }, Rotate: func(context.Context) error { return rotated }}
	})
	page := s.get("/forges")
	says(t, page, []string{
		"Shop &lt;Builder&gt;", "App 7 at github.com", "the clock is off", "merge queues are not built", "come to https://ci.example.org/webhook/github", "in use, last today",
		"3 missed, 2 asked for again, 1 fetched, 5 gone, 4 left for the next look; it broke", "-0.2 s against the forge’s", "all repositories", "4321 requests left in this hour",
		"permission checks: write is needed", "POST /x: status 403", "No delivery yet", "Complete", "Lacks rights", "Suspended", "Removed", "Some missing",
		"Bitbucket Cloud, work", "acme/*", "the scope webhook is missing", "do not come: repositories are looked at every minute", "not looked at yet", "Credentials",
		"Bitbucket Data Center, dc", "come to https://ci.example.org/webhook/dc", "Not asked yet", "2 missed, 2 found by looking",
		"are fetched every ten seconds", "not read yet", "none yet", "Not installed anywhere",
	}, "<Builder>", `href="https://github.example.org`)

	if answer := s.api(http.MethodGet, "/api/forges", ""); answer.StatusCode != http.StatusOK || !strings.Contains(answer.body, `"requests_remaining":4321`) || !strings.Contains(answer.body, `"missed":3`) || resyncs != 0 {
		t.Errorf("%d %s", answer.StatusCode, answer.body)
	}
	if answer := s.post("/forges/resync", url.Values{}); answer.StatusCode != http.StatusSeeOther || resyncs != 1 {
		t.Errorf("%d, %d resyncs", answer.StatusCode, resyncs)
	}
	if answer := s.api(http.MethodPost, "/api/forges/resync", ""); answer.StatusCode != http.StatusOK || resyncs != 2 {
		t.Errorf("%d, %d resyncs", answer.StatusCode, resyncs)
	}
	says(t, page, []string{"Make a new one"})
	if answer := s.post("/forges/rotate", url.Values{}); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("a new secret: %d", answer.StatusCode)
	}
	rotated = errors.New("the former secret stays in use: GitHub says no")
	if answer := s.post("/forges/rotate", url.Values{}); answer.StatusCode != http.StatusBadGateway || !strings.Contains(answer.body, "The webhook has no new secret") || !strings.Contains(answer.body, "the former secret stays in use: GitHub says no") {
		t.Errorf("a new secret that GitHub refuses: %d %s", answer.StatusCode, answer.body)
	}
	if answer := s.ask(request{method: http.MethodPost, path: "/forges/rotate"}); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a stranger's new secret: %d", answer.StatusCode)
	}
	for _, path := range []string{"/forges", "/setup"} {
		if answer := s.ask(request{path: path}); answer.StatusCode == http.StatusOK || strings.Contains(answer.body, "octo") {
			t.Errorf("a stranger at %s: %d %s", path, answer.StatusCode, answer.body)
		}
	}
	if answer := s.ask(request{method: http.MethodPost, path: "/forges/resync"}); answer.StatusCode != http.StatusForbidden || resyncs != 2 {
		t.Errorf("a stranger's resync: %d, %d", answer.StatusCode, resyncs)
	}
}

// TestSetupState holds the administrator's way through set-up, and how long a try lives.
func TestSetupState(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := newSite(t, func(c *Config) { c.Setup = &Setup{Token: "token", Done: func() bool { return false }} })
	w := s.web
	w.begin("s1", pendingSetup{"b1", SetupChoice{Name: "one"}, s.store.Now()})
	if _, err := w.take("s1", "b2"); err == nil {
		t.Error("another browser took the try")
	}
	if _, err := w.take("s1", ""); err == nil {
		t.Error("no browser took the try")
	}
	if c, err := w.take("s1", "b1"); err != nil || c.Name != "one" {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := w.take("s1", "b1"); err == nil {
		t.Error("a state works twice")
	}
	w.begin("old", pendingSetup{"b1", SetupChoice{}, s.store.Now().Add(-setupTime - time.Second)})
	if _, err := w.take("old", "b1"); err == nil {
		t.Error("a state works after an hour")
	}
	w.begin("old", pendingSetup{"b1", SetupChoice{}, now})
	for n := range maxPending + 5 {
		w.begin(strings.Repeat("x", n+1), pendingSetup{"b1", SetupChoice{}, s.store.Now()})
	}
	if n := len(w.setup.pending); n > maxPending {
		t.Errorf("%d tries are kept", n)
	}
	// The administrator needs no token.
	says(t, s.get("/setup"), []string{"Set up GitHub", `name="deliveries" value="poll"`})
	if answer := s.ask(request{path: "/setup"}); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("a stranger: %d", answer.StatusCode)
	}
}

// TestSetupPolicy lets the form lead to the forge, and no other page lead anywhere.
func TestSetupPolicy(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Setup = &Setup{Done: func() bool { return false }, Manifest: func(c SetupChoice, state string) (SetupForm, error) {
			return SetupForm{Action: c.URL + "/settings/apps/new?state=" + state, Manifest: `{"name":"<x>"}`}, nil
		}}
	})
	if policy := s.get("/setup").Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self';") {
		t.Error(policy)
	}
	answer := s.post("/setup", url.Values{"name": {"shop"}, "url": {"https://github.example.org/"}, "owner": {"person"}, "old": {"1"}})
	says(t, answer, []string{"Make the App at github.example.org", "{&#34;name&#34;:&#34;&lt;x&gt;&#34;}"}, "Try without merge queues")
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://github.example.org;") || !strings.Contains(policy, "default-src 'none'") {
		t.Error(policy)
	}
	if cookie := answer.Header.Get("Set-Cookie"); !strings.Contains(cookie, "SameSite=Lax") || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "Path=/setup") {
		t.Error(cookie)
	}
	answer = s.post("/setup", url.Values{"name": {"shop"}, "url": {"https://github.example.org"}})
	says(t, answer, []string{"Try without merge queues"})
}
