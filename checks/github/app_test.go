package github_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// lent is an App whose requests a test may look at and answer.
func lent(t *testing.T, hub *githubtest.Server, change func(*github.Config)) *github.App {
	t.Helper()
	c := github.Config{AppID: hub.AppID(), Key: hub.PEM(), API: hub.URL() + "/api/v3", Web: hub.URL(), Log: slog.New(slog.DiscardHandler)}
	change(&c)
	app, err := github.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// TestTheAppItself asks who the App is, where its webhook leads, and where it is installed.
func TestTheAppItself(t *testing.T) {
	hub, app, repo, _ := newApp(t)
	hub.SetHook("https://ci.example.org/webhook/github")
	identity, err := app.Identity(t.Context())
	if err != nil || identity.ID != hub.AppID() || identity.Slug != "buildsmith" || identity.Permissions["checks"] != "write" || !slices.Contains(identity.Events, "push") {
		t.Errorf("%+v %v", identity, err)
	}
	hook, err := app.Hook(t.Context())
	if err != nil || hook != (github.Hook{URL: "https://ci.example.org/webhook/github", Secret: true}) {
		t.Errorf("%+v %v", hook, err)
	}
	if err := app.SetHookSecret(t.Context(), "a new secret of the webhook"); err != nil || hub.WebhookSecret() != "a new secret of the webhook" {
		t.Errorf("%q %v", hub.WebhookSecret(), err)
	}
	for n := range 104 { // more than a page
		if _, err := hub.AddRepo(fmt.Sprintf("owner-%d/r", n), githubtest.RepoOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	hub.Suspend("owner-7", true)
	list, err := app.Installations(t.Context())
	if err != nil || len(list) != 105 {
		t.Fatalf("%d %v", len(list), err)
	}
	for _, i := range list {
		if i.Suspended != (i.Account == "owner-7") || i.ID == 0 || i.Granted["contents"] != "read" || i.Selection != "selected" || i.Updated.IsZero() {
			t.Errorf("%+v", i)
		}
	}
	one, err := app.Installation(t.Context(), repo.Installation)
	if err != nil || one.Account != "octo" || one.Forge != "github" {
		t.Errorf("%+v %v", one, err)
	}
	if _, err := app.Installation(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "asking GitHub for installation 1") {
		t.Error(err)
	}
	if skew, ok := app.Skew(); !ok || skew.Abs() > 2*time.Second {
		t.Errorf("%v %v", skew, ok)
	}
}

// TestMissing tells what is not granted.
func TestMissing(t *testing.T) {
	all := map[string]string{}
	for _, n := range github.Needs {
		all[n.Name] = n.Level
	}
	if list := github.Missing(all, github.Events); len(list) > 0 {
		t.Errorf("%v", list)
	}
	all["contents"], all["checks"] = "write", "read"
	delete(all, "deployments")
	list := github.Missing(all, []string{"push", "issue_comment", "repository"})
	want := []github.Lack{
		{Text: "permission checks: write is needed, read is granted; without it no check can be made", Required: true},
		{Text: "permission deployments: write is needed, not granted; without it projects cannot record deployments"},
		{Text: "event pull_request: not subscribed to; without it nothing is built of it", Required: true},
		{Text: "event merge_group: not subscribed to; without it merge queues are not built"},
		{Text: "event release: not subscribed to; without it releases are not built"},
	}
	if !slices.Equal(list, want) {
		t.Errorf("%+v", list)
	}
}

// TestRefusals tells what an installation is not let do, once in a while, and no more.
func TestRefusals(t *testing.T) {
	hub, _, repo, sha := newApp(t)
	var mu sync.Mutex
	var told []string
	app := lent(t, hub, func(c *github.Config) {
		c.Refused = func(installation int64, text string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(installation, " ", text))
		}
	})
	if _, err := app.FileID(t.Context(), repo, sha, "none"); err != nil { // that there is no such file is no refusal
		t.Fatal(err)
	}
	if err := hub.Inject(githubtest.Fault{Method: http.MethodPost, Path: "/repos/octo/shop/check-runs", Times: 2, Status: http.StatusForbidden,
		Header: map[string]string{"X-Accepted-GitHub-Permissions": "checks=write"}, Body: `{"message":"Resource not accessible by integration"}`}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := app.Create(t.Context(), repo, report(sha)); err == nil || !strings.Contains(err.Error(), "Resource not accessible by integration") {
			t.Errorf("%v", err)
		}
	}
	if _, err := app.Create(t.Context(), repo, report(strings.Repeat("1", 40))); err == nil {
		t.Error("a check of no commit was made")
	}
	mu.Lock()
	defer mu.Unlock()
	want := fmt.Sprint(repo.Installation, " POST /repos/octo/shop/check-runs: status 403, Resource not accessible by integration; it takes the permission checks=write")
	if len(told) != 2 || told[0] != want || !strings.Contains(told[1], "POST /repos/octo/shop/check-runs: status 422, ") {
		t.Errorf("%q", told)
	}
}

// TestDeliveryLog reads GitHub's log by its pages, asks for another attempt, and fetches what was sent.
func TestDeliveryLog(t *testing.T) {
	hub, _, _, _ := newApp(t)
	unchanged := 0
	app := lent(t, hub, func(c *github.Config) {
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err == nil && answer.StatusCode == http.StatusNotModified {
				unchanged++
			}
			return answer, err
		})
	})
	begun := time.Now().Add(-time.Minute)
	if _, err := hub.Push("octo/shop", "main"); err != nil { // nobody takes it
		t.Fatal(err)
	}
	for range 104 { // more than a page
		if _, err := hub.Ping(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time the first page is as it was
		list, err := app.Deliveries(t.Context(), begun)
		if err != nil || len(list) != 105 {
			t.Fatalf("%d %v", len(list), err)
		}
		last := list[104]
		if last.Event != "push" || last.Delivered || last.ID == "" || list[0].Attempt <= last.Attempt {
			t.Errorf("%+v", last)
		}
	}
	if unchanged != 1 {
		t.Errorf("GitHub said %d times that nothing is new", unchanged)
	}
	if list, err := app.Deliveries(t.Context(), time.Now().Add(time.Hour)); err != nil || len(list) > 0 {
		t.Errorf("%d %v", len(list), err)
	}
	list, err := app.Deliveries(t.Context(), begun)
	if err != nil {
		t.Fatal(err)
	}
	push := list[104]
	header, body, err := app.Fetch(t.Context(), push)
	if err != nil || header.Get("X-GitHub-Event") != "push" || header.Get("X-GitHub-Delivery") != push.ID || !strings.Contains(string(body), `"full_name":"octo/shop"`) {
		t.Errorf("%v %s %v", header, body, err)
	}
	if err := app.Redeliver(t.Context(), push); err != nil {
		t.Error(err)
	}
	gone := store.Sent{Attempt: 1, ID: "x"}
	if err := app.Redeliver(t.Context(), gone); err == nil || !strings.HasPrefix(err.Error(), "asking GitHub to deliver x again") {
		t.Error(err)
	}
	if _, _, err := app.Fetch(t.Context(), gone); err == nil || !strings.HasPrefix(err.Error(), "fetching delivery x") {
		t.Error(err)
	}
	other := push
	other.ID = "other" // an attempt of another delivery
	if _, _, err := app.Fetch(t.Context(), other); err == nil || !strings.HasPrefix(err.Error(), "fetching delivery other: GitHub does not have what it sent") {
		t.Error(err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestManifest is taken by GitHub, and by an old Enterprise Server without merge queues.
func TestManifest(t *testing.T) {
	m := github.Manifest{Name: "shop", URL: "https://ci.example.org", Hook: github.NoHook}
	if text := m.JSON(); !strings.Contains(text, `"merge_queues":"read"`) || !strings.Contains(text, `"merge_group"`) || !strings.Contains(text, `"deployments":"write"`) {
		t.Error(text)
	}
	hub := githubtest.New(t, githubtest.Options{})
	page := func(m github.Manifest) int {
		t.Helper()
		answer, err := http.PostForm(github.Register(hub.URL(), "", "s"), url.Values{"manifest": {m.JSON()}})
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if status := page(m); status != http.StatusOK {
		t.Errorf("GitHub answers %d", status)
	}
	hub.OldServer()
	if status := page(m); status != http.StatusUnprocessableEntity {
		t.Errorf("an old server answers %d", status)
	}
	m.OldServer = true
	if status := page(m); status != http.StatusOK {
		t.Errorf("an old server answers %d without merge queues", status)
	}
	if text := m.JSON(); strings.Contains(text, "merge") {
		t.Error(text)
	}
	for _, tt := range []struct{ got, want string }{
		{github.Register("https://github.com", "", "a&b"), "https://github.com/settings/apps/new?state=a%26b"},
		{github.Register("https://github.example.org", "acme", "s"), "https://github.example.org/organizations/acme/settings/apps/new?state=s"},
		{github.Install("https://github.com", "shop"), "https://github.com/apps/shop/installations/new"},
		{github.Install("https://github.example.org", "shop"), "https://github.example.org/github-apps/shop/installations/new"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

// TestConvert exchanges a code for the App, once.
func TestConvert(t *testing.T) {
	hub, _, _, _ := newApp(t)
	api, code := hub.URL()+"/api/v3", hub.ManifestCode()
	made, err := github.Convert(t.Context(), http.DefaultTransport, api, code)
	if err != nil || made.ID != hub.AppID() || made.PEM != string(hub.PEM()) || made.WebhookSecret != hub.WebhookSecret() || made.ClientSecret == "" || made.Owner == "" {
		t.Errorf("%d %q %v", made.ID, made.Slug, err)
	}
	for code, want := range map[string]string{
		code:      "GitHub does not know the code: it was used before, or it is older than an hour",
		"a/../b":  "this is no code of GitHub's",
		"":        "this is no code of GitHub's",
		"unknown": "GitHub does not know the code: it was used before, or it is older than an hour",
	} {
		if _, err := github.Convert(t.Context(), http.DefaultTransport, api, code); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", code, err, want)
		}
	}
	for body, want := range map[string]string{
		"{": "asking GitHub for the App: the answer is no JSON", `{"id":7,"slug":"../x","pem":"x"}`: "asking GitHub for the App: the answer names no App with a key",
	} {
		if err := hub.Inject(githubtest.Fault{Method: http.MethodPost, Path: "/app-manifests/c/conversions", Times: 1, Status: http.StatusCreated, Body: body}); err != nil {
			t.Fatal(err)
		}
		if _, err := github.Convert(t.Context(), http.DefaultTransport, api, "c"); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
	if _, err := github.Convert(t.Context(), http.DefaultTransport, "http://127.0.0.1:1", "secret-code"); err == nil || strings.Contains(err.Error(), "secret-code") {
		t.Error(err)
	}
}
