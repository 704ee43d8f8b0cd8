package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// A Manifest is what an App is made from at GitHub.
// https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
type Manifest struct {
	Name string
	URL  string // where this server is reached, without a slash at the end
	Hook string // where deliveries go; NoHook if they are fetched
	// OldServer is for an Enterprise Server that does not know merge queues.
	OldServer bool
}

// NoHook is where the deliveries of an App go that fetches them: GitHub wants an address, and nobody can ever own this one.
const NoHook = "https://buildsmith.invalid/webhook/github"

// MaxName is how many characters the name of an App may have.
const MaxName = 34

// JSON is the manifest as GitHub takes it.
func (m Manifest) JSON() string {
	text, err := json.Marshal(map[string]any{
		"name": m.Name, "url": m.URL, "description": "Runs buildspec.yml files on a machine of our own.", "public": false,
		"hook_attributes": map[string]any{"url": m.Hook, "active": true},
		"redirect_url":    m.URL + "/setup/github/callback", "setup_url": m.URL + "/setup/github/installed", "setup_on_update": true,
		"request_oauth_on_install": false, "default_permissions": permissions(m.OldServer), "default_events": subscriptions(m.OldServer),
	})
	if err != nil {
		panic(err) // texts and booleans alone
	}
	return string(text)
}

// Register is the address of the page of GitHub at web that takes a manifest, for an organisation or, without one, for
// whoever is logged in there.
func Register(web, organization, state string) string {
	path := "/settings/apps/new"
	if organization != "" {
		path = "/organizations/" + url.PathEscape(organization) + path
	}
	return web + path + "?state=" + url.QueryEscape(state)
}

// Install is the address of the page of GitHub at web where the App of a slug is installed.
func Install(web, slug string) string { return Page(web, slug) + "/installations/new" }

// Page is the address of the App's own page.
func Page(web, slug string) string {
	if web == "https://github.com" || strings.HasSuffix(web, ".ghe.com") {
		return web + "/apps/" + slug
	}
	return web + "/github-apps/" + slug
}

// A Made is an App that was made from a manifest. Its secrets must never be shown.
type Made struct {
	ID            int64
	Slug          string
	Name          string
	Owner         string // login
	PEM           string
	WebhookSecret string // empty if GitHub made none
	ClientID      string
	ClientSecret  string
}

var (
	codeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,200}$`)
	slugForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,99}$`)
)

// Convert exchanges the code that GitHub gave the browser for the App. A code works once, and for an hour. api is the address
// of GitHub's API. No error holds what GitHub answered.
func Convert(ctx context.Context, transport http.RoundTripper, api, code string) (Made, error) {
	if !codeForm.MatchString(code) {
		return Made{}, errors.New("this is no code of GitHub's")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(api, "/")+"/app-manifests/"+code+"/conversions", nil)
	if err != nil {
		return Made{}, fmt.Errorf("asking GitHub for the App: %w", err)
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	client := http.Client{Transport: transport, Timeout: requestTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the address holds the code
		}
		return Made{}, fmt.Errorf("asking GitHub for the App: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound {
		return Made{}, errors.New("GitHub does not know the code: it was used before, or it is older than an hour")
	}
	if answer.StatusCode != http.StatusCreated {
		return Made{}, fmt.Errorf("asking GitHub for the App: status %d", answer.StatusCode)
	}
	var app struct {
		ID            int64
		Slug, Name    string
		Owner         struct{ Login string }
		PEM           string
		WebhookSecret *string `json:"webhook_secret"`
		ClientID      string  `json:"client_id"`
		ClientSecret  string  `json:"client_secret"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&app); err != nil {
		return Made{}, errors.New("asking GitHub for the App: the answer is no JSON")
	}
	if app.ID <= 0 || !slugForm.MatchString(app.Slug) || app.PEM == "" {
		return Made{}, errors.New("asking GitHub for the App: the answer names no App with a key")
	}
	m := Made{ID: app.ID, Slug: app.Slug, Name: app.Name, Owner: app.Owner.Login, PEM: app.PEM, ClientID: app.ClientID, ClientSecret: app.ClientSecret}
	if app.WebhookSecret != nil {
		m.WebhookSecret = *app.WebhookSecret
	}
	return m, nil
}
