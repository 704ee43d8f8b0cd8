// Package github is what we say to and ask of GitHub, as a GitHub App: check runs, reactions, permissions, commits, and
// credentials for clones.
//
// Each installation has a client of its own, since go-github keeps the state of rate limits with the client, and a
// transport that shares nothing with others, since ghinstallation writes into what is shared. Where go-github's types
// cannot read what GitHub sends, requests are made with structs of our own.
package github

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v60/github"
)

// Name is the forge's name in the store.
const Name = "github"

// Config says which App this is, and where GitHub is.
type Config struct {
	AppID     int64
	Key       []byte // the App's private key, PEM
	API       string // https://api.github.com, or https://HOST/api/v3 of an Enterprise Server
	Web       string // https://github.com
	Transport http.RoundTripper
	Log       *slog.Logger
	Now       func() time.Time // time.Now; what GitHub says of waiting is held against it
	// Refused is told what GitHub refused an installation, at most once in a while of the same. It may be nil.
	Refused func(installation int64, text string)
}

// An App speaks for the GitHub App. Its methods may be called at the same time.
type App struct {
	Config
	base *url.URL

	mu      sync.Mutex
	clients map[int64]*github.Client
	slug    string         // the App's name in its addresses, once it was asked for
	own     *github.Client // for the App itself

	limits   checks.Limits // by installation
	clock    checks.Clock
	refusals checks.Refusals
	log      firstPage

	answers answers // of GETs, for as long as they hold
	// Requests counts requests, Failures those that were not answered by success, Writes those that change something, Unchanged
	// those whose answer was known, HeldBack those that were not made because GitHub had asked to wait.
	Requests, Failures, Writes, Unchanged, HeldBack atomic.Int64

	remaining sync.Map // installation => requests left in this hour
}

var (
	_ checks.Publisher = (*App)(nil)
	_ checks.Lister    = (*App)(nil)
)

// New gives the App. It fails if the key is none.
func New(c Config) (*App, error) {
	base, err := url.Parse(strings.TrimSuffix(c.API, "/") + "/")
	if err != nil {
		return nil, fmt.Errorf("the address of GitHub's API: %w", err)
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if _, err := jwt.ParseRSAPrivateKeyFromPEM(c.Key); err != nil {
		return nil, fmt.Errorf("the App's private key is no RSA key in PEM form: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &App{Config: c, base: base, clients: map[int64]*github.Client{}}
	a.limits.Of, a.limits.Now = "GitHub limits the requests of installation", func() time.Time { return a.Now() }
	return a, nil
}

// requestTime is how long one request may take.
const requestTime = 30 * time.Second

// counted is a transport that counts, and remembers what is left of the hour's requests.
type counted struct {
	app          *App
	installation int64
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.app.Requests.Add(1)
	if r.Method != http.MethodGet {
		c.app.Writes.Add(1)
	}
	answer, err := c.app.Transport.RoundTrip(r)
	if err != nil || answer.StatusCode >= 400 {
		c.app.Failures.Add(1)
	}
	if err == nil {
		if left, err := strconv.Atoi(answer.Header.Get("X-Ratelimit-Remaining")); err == nil && c.installation != 0 {
			c.app.remaining.Store(c.installation, left)
		}
		c.app.notice(c.installation, r, answer)
	}
	return answer, err
}

// Remaining gives how many requests each installation has left in this hour, where GitHub told.
func (a *App) Remaining() map[int64]int {
	left := map[int64]int{}
	a.remaining.Range(func(key, value any) bool {
		left[key.(int64)] = value.(int)
		return true
	})
	return left
}

// Limited gives the installations of which GitHub takes no requests now, with the time when it will.
func (a *App) Limited() map[int64]time.Time { return a.limits.All() }

// asApp gives a transport that signs requests as the App. It is new each time: see the package comment.
func (a *App) asApp(installation int64) (*ghinstallation.AppsTransport, error) {
	t, err := ghinstallation.NewAppsTransport(counted{a, installation}, a.AppID, a.Key)
	if err != nil {
		return nil, err
	}
	t.BaseURL = strings.TrimSuffix(a.API, "/")
	return t, nil
}

// client gives the client of an installation.
func (a *App) client(installation int64) (*github.Client, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[installation]; c != nil {
		return c, nil
	}
	app, err := a.asApp(installation)
	if err != nil {
		return nil, err
	}
	t := ghinstallation.NewFromAppsTransport(app, installation)
	t.BaseURL = strings.TrimSuffix(a.API, "/")
	c := a.newClient(t)
	a.clients[installation] = c
	return c, nil
}

func (a *App) newClient(t http.RoundTripper) *github.Client {
	c := github.NewClient(&http.Client{Transport: t, Timeout: requestTime, CheckRedirect: func(next *http.Request, _ []*http.Request) error {
		// The transport adds the token to whatever it sends.
		if next.URL.Host != a.base.Host || next.URL.Scheme != a.base.Scheme {
			return fmt.Errorf("GitHub redirects to %s, which gets no token", next.URL.Host)
		}
		return nil
	}})
	c.BaseURL = a.base
	return c
}

// forget drops the client of an installation, and its token with it.
func (a *App) forget(installation int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.clients, installation)
}

// CloneToken makes a token that lets git read one repository and do nothing else. GitHub lets it expire after an hour.
// https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app
func (a *App) CloneToken(ctx context.Context, r store.Repo) (token string, expires time.Time, err error) {
	id, err := strconv.ParseInt(r.ID, 10, 64)
	if err != nil {
		return "", expires, fmt.Errorf("repository id %q: %w", r.ID, err)
	}
	app, err := a.asApp(0)
	if err != nil {
		return "", expires, err
	}
	client := a.newClient(app)
	var made struct {
		Token   string
		Expires time.Time `json:"expires_at"`
	}
	if err := again(ctx, func() error {
		request, err := client.NewRequest(http.MethodPost, fmt.Sprintf("app/installations/%d/access_tokens", r.Installation), map[string]any{
			"repository_ids": []int64{id}, "permissions": map[string]string{"contents": "read", "metadata": "read"}})
		if err != nil {
			return err
		}
		_, err = client.Do(ctx, request, &made)
		return a.tellApart(err)
	}); err != nil {
		return "", expires, fmt.Errorf("a token to clone %s: %w", r.Name, err)
	}
	return made.Token, made.Expires, nil
}

// Revoke makes a token of CloneToken worthless. It works on when ctx is done, for a while.
func (a *App) Revoke(ctx context.Context, r store.Repo, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
	defer cancel()
	client := a.newClient(bearer{token, counted{a, 0}})
	if _, err := client.Apps.RevokeInstallationToken(ctx); err != nil {
		a.Log.Warn("revoking a clone token", "repo", r.Name, "err", a.tellApart(err))
	}
}

// CloneHeader gives the HTTP header that lets git read one repository and do nothing else, and a func that makes it
// worthless.
func (a *App) CloneHeader(ctx context.Context, r store.Repo) (header string, revoke func(), err error) {
	token, _, err := a.CloneToken(ctx, r)
	if err != nil {
		return "", nil, err
	}
	header = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+token))
	return header, func() { a.Revoke(ctx, r, token) }, nil
}

// bearer authorises requests by a token.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "token "+b.token)
	return b.next.RoundTrip(r)
}

// escape makes a path of names that may hold anything.
func escape(path string) string {
	var b bytes.Buffer
	for i, part := range strings.Split(path, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(url.PathEscape(part))
	}
	return b.String()
}
