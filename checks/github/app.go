package github

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/google/go-github/v60/github"
)

// An Identity is the App as GitHub has it.
type Identity struct {
	ID          int64
	Slug        string
	Name        string
	Owner       string // login
	Permissions map[string]string
	Events      []string
}

// ownClient gives the client that speaks for the App itself, not for an installation.
func (a *App) ownClient() (*github.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.own == nil {
		t, err := a.asApp(0)
		if err != nil {
			return nil, err
		}
		a.own = a.newClient(t) // its transport makes no tokens of installations, and so changes nothing
	}
	return a.own, nil
}

// ask makes a request for the App itself. The answer's body has been read.
func (a *App) ask(ctx context.Context, method, path string, header map[string]string, body, v any) (*github.Response, error) {
	c, err := a.ownClient()
	if err != nil {
		return nil, err
	}
	request, err := c.NewRequest(method, path, body)
	if err != nil {
		return nil, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := c.BareDo(ctx, request)
	if answer != nil {
		defer answer.Body.Close()
	}
	if err != nil {
		if answer != nil && answer.StatusCode == http.StatusUnauthorized {
			if skew := checks.ClockSkew(answer.Response.Header); skew != "" {
				return answer, fmt.Errorf("%w (%s)", a.tellApart(err), skew)
			}
		}
		return answer, a.tellApart(err)
	}
	if v == nil {
		return answer, nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(v); err != nil {
		return answer, fmt.Errorf("%s %s: the answer is not what GitHub describes: %w", method, path, err)
	}
	return answer, nil
}

// Identity asks GitHub who the App is.
func (a *App) Identity(ctx context.Context) (Identity, error) {
	var app struct {
		ID          int64
		Slug, Name  string
		Owner       struct{ Login string }
		Permissions map[string]string
		Events      []string
	}
	if _, err := a.ask(ctx, http.MethodGet, "app", nil, nil, &app); err != nil {
		return Identity{}, fmt.Errorf("asking GitHub for the App: %w", err)
	}
	return Identity{app.ID, app.Slug, app.Name, app.Owner.Login, app.Permissions, app.Events}, nil
}

// installation is an installation as GitHub sends it.
type installation struct {
	ID          int64
	Account     struct{ Login, Slug string }
	Selection   string `json:"repository_selection"`
	Permissions map[string]string
	Events      []string
	SuspendedAt *time.Time `json:"suspended_at"`
}

func (i *installation) installation(host string, now time.Time) store.Installation {
	account := i.Account.Login
	if account == "" {
		account = i.Account.Slug // of an enterprise
	}
	return store.Installation{Forge: Name, Host: host, ID: i.ID, Account: account, Selection: i.Selection, Granted: i.Permissions, Events: i.Events,
		Suspended: i.SuspendedAt != nil, Updated: now}
}

// host is that of the address where people see GitHub.
func (a *App) host() string {
	_, host, _ := strings.Cut(a.Web, "://")
	return host
}

// maxInstallations bounds how many installations are read.
const maxInstallations = 10_000

// Installations asks GitHub for all installations of the App.
func (a *App) Installations(ctx context.Context) ([]store.Installation, error) {
	var all []store.Installation
	for page := 1; len(all) < maxInstallations; page++ {
		var list []installation
		if _, err := a.ask(ctx, http.MethodGet, fmt.Sprintf("app/installations?per_page=100&page=%d", page), nil, nil, &list); err != nil {
			return nil, fmt.Errorf("asking GitHub for the installations: %w", err)
		}
		for n := range list {
			all = append(all, list[n].installation(a.host(), time.Now()))
		}
		if len(list) < 100 {
			break
		}
	}
	return all, nil
}

// Installation asks GitHub for one installation. The error wraps store.ErrNotFound if it is none of the App's.
func (a *App) Installation(ctx context.Context, id int64) (store.Installation, error) {
	var i installation
	if _, err := a.ask(ctx, http.MethodGet, fmt.Sprintf("app/installations/%d", id), nil, nil, &i); err != nil {
		return store.Installation{}, fmt.Errorf("asking GitHub for installation %d: %w", id, err)
	}
	return i.installation(a.host(), time.Now()), nil
}

// A Hook is the App's webhook as GitHub has it.
type Hook struct {
	URL    string
	Secret bool // there is one; GitHub does not tell which
}

// Hook asks GitHub for the App's webhook.
func (a *App) Hook(ctx context.Context) (Hook, error) {
	var config struct{ URL, Secret string }
	if _, err := a.ask(ctx, http.MethodGet, "app/hook/config", nil, nil, &config); err != nil {
		return Hook{}, fmt.Errorf("asking GitHub for the webhook: %w", err)
	}
	return Hook{config.URL, config.Secret != ""}, nil
}

// SetHookSecret has GitHub sign deliveries with a secret from now on.
func (a *App) SetHookSecret(ctx context.Context, secret string) error {
	if _, err := a.ask(ctx, http.MethodPatch, "app/hook/config", nil, map[string]string{"secret": secret}, nil); err != nil {
		return fmt.Errorf("giving GitHub the webhook's secret: %w", err)
	}
	return nil
}

// Skew is how far this machine's clock was ahead of GitHub's when it last answered; ok is false before it has.
func (a *App) Skew() (skew time.Duration, ok bool) { return a.clock.Skew() }

// notice takes from an answer what people should know of it, and tells it.
func (a *App) notice(installation int64, r *http.Request, answer *http.Response) {
	a.clock.Note(answer.Header)
	if a.Refused == nil || installation == 0 || !forbidden(r, answer) {
		return
	}
	if text := refusalText(r, answer); a.refusals.News(installation, text) {
		a.Refused(installation, text)
	}
}

// forbidden reports whether an answer says that GitHub does not let the App do something. That there is no such file or person
// is an answer like others, and limits pass by themselves.
func forbidden(r *http.Request, answer *http.Response) bool {
	switch answer.StatusCode {
	case http.StatusForbidden:
		return answer.Header.Get("Retry-After") == "" && answer.Header.Get("X-Ratelimit-Remaining") != "0"
	case http.StatusNotFound, http.StatusUnprocessableEntity:
		return r.Method != http.MethodGet
	}
	return false
}

var changing = regexp.MustCompile(`/([0-9a-f]{40,64}|[0-9]+)(/|$)`)

// maxRefusal bounds what is read of a refusal, and how much of it is told.
const maxRefusal = 16 << 10

// refusalText says what was refused, in words that are the same for requests of one kind.
func refusalText(r *http.Request, answer *http.Response) string {
	body, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal)) // whoever asked reads it again, with the same error
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), answer.Body), answer.Body}
	_, path, found := strings.Cut(r.URL.Path, "/api/v3")
	if !found {
		path = r.URL.Path
	}
	path = changing.ReplaceAllString(path, "/…$2")
	text := fmt.Sprintf("%s %s: status %d", r.Method, path, answer.StatusCode)
	var said struct{ Message string }
	if json.Unmarshal(body, &said) == nil && said.Message != "" && !strings.Contains(r.URL.Path, "/access_tokens") {
		said.Message, _, _ = strings.Cut(said.Message, "\n")
		text += ", " + strings.ToValidUTF8(said.Message[:min(len(said.Message), 200)], "")
	}
	if needs := answer.Header.Get("X-Accepted-Github-Permissions"); needs != "" && answer.StatusCode == http.StatusForbidden {
		text += fmt.Sprintf("; it takes the permission %.100s", needs)
	}
	return text
}
