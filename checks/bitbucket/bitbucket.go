// Package bitbucket is what we say to and ask of Bitbucket, Cloud and Data Center: build statuses, Code Insights, comments, commits,
// permissions, webhooks, and credentials for clones.
//
// A Host speaks to one Bitbucket with the credentials that the configuration has for its repositories. Each has a number, and plays the
// part that an installation of an App plays elsewhere. What both kinds of Bitbucket have in common is here; what they do differently is
// behind api.
package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// Config says which Bitbucket this is, and what we may do there.
type Config struct {
	Name        string // the forge's name in the store
	Web         string // where people see it, no slash at the end: https://bitbucket.org; of a Data Center with its context path
	API         string // https://api.bitbucket.org/2.0; of a Data Center <Web>/rest
	DataCenter  bool
	Credentials []Credential                // the first whose Repositories have a name is for it
	People      map[string]store.Permission // by account id: they are not asked for
	Hook        string                      // address that webhooks deliver to; without one none is made
	OtherHooks  []string                    // addresses of deliveries of this server that belong to other forges
	HookSecret  string                      // what signs deliveries
	Page        string                      // beginning of the addresses of our pages: <url>/builds/
	Transport   http.RoundTripper           // http.DefaultTransport if it is nil
	Log         *slog.Logger
	Now         func() time.Time // time.Now; what Bitbucket says of waiting is held against it
	// Refused is told what Bitbucket refused for want of a right: the endpoint, and the scope where it is named; at most once in a while of
	// the same. It may be nil.
	Refused func(installation int64, text string)
}

// A Host speaks to one Bitbucket. Its methods may be called at the same time.
type Host struct {
	Config
	api         api
	base, web   *url.URL
	client      *http.Client
	credentials []*credential

	limits   checks.Limits // by number of the credential
	clock    checks.Clock
	refusals checks.Refusals
	hooked   hooked
	asked    asked
	known    known

	// Requests counts requests, Failures those that were not answered by success, Writes those that change something, HeldBack those that
	// were not made because Bitbucket had asked to wait.
	Requests, Failures, Writes, HeldBack atomic.Int64

	remaining sync.Map // number of a credential => requests left in this hour
}

var (
	_ checks.Publisher = (*Host)(nil)
	_ checks.Lister    = (*Host)(nil)
)

// requestTime is how long one request may take.
const requestTime = 30 * time.Second

// maxSecret is how many characters the secret of a webhook has at most.
const maxSecret = 128

// New gives a Host. It fails if an address is none, or a credential is incomplete, for nothing, or for the same as another.
func New(c Config) (*Host, error) {
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Web, c.API = strings.TrimSuffix(c.Web, "/"), strings.TrimSuffix(c.API, "/")
	h := &Host{Config: c}
	var err error
	if h.web, err = address(c.Web); err != nil {
		return nil, fmt.Errorf("the address of Bitbucket: %w", err)
	}
	if h.base, err = address(c.API); err != nil {
		return nil, fmt.Errorf("the address of Bitbucket's API: %w", err)
	}
	switch {
	case c.Hook != "" && c.HookSecret == "":
		return nil, fmt.Errorf("webhooks of %s need a secret: what is not signed is not taken", c.Name)
	case len(c.HookSecret) > maxSecret:
		return nil, fmt.Errorf("the webhook secret of %s has more than %d characters, which Bitbucket does not take", c.Name, maxSecret)
	}
	h.client = &http.Client{Transport: c.Transport, Timeout: requestTime, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // see exchange
	}}
	h.limits.Of, h.limits.Now = "Bitbucket limits the requests of credential", func() time.Time { return h.Now() }
	h.api = newAPI(h)
	seen := map[int64]string{}
	for _, one := range c.Credentials {
		made, err := newCredential(h, one)
		if err != nil {
			return nil, err
		}
		if other, ok := seen[made.number]; ok {
			return nil, fmt.Errorf("two credentials of %s are for %s: leave one out", c.Name, other)
		}
		seen[made.number] = made.title()
		h.credentials = append(h.credentials, made)
	}
	h.share()
	return h, nil
}

// address is an absolute address over HTTP without anything that does not belong into a configured one.
func address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is no address") // the error has the text, and that may have a password
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it must be https://HOST, with a path at most")
	}
	return u, nil
}

// Account implements checks.Publisher.
func (h *Host) Account(r store.Repo) string {
	if c, err := h.of(r); err == nil {
		return fmt.Sprint(c.account)
	}
	return fmt.Sprint(cmp.Or(r.Installation, h.Installation(r.Name)))
}

// Habits implements checks.Publisher.
func (h *Host) Habits() checks.Habits { return h.api.habits() }

// Has implements checks.Publisher.
func (h *Host) Has(kind checks.Kind) bool { return kind != checks.KindDeployment }

// Remaining gives how many requests each credential has left, where Bitbucket told.
func (h *Host) Remaining() map[int64]int {
	left := map[int64]int{}
	h.remaining.Range(func(key, value any) bool {
		left[key.(int64)] = value.(int)
		return true
	})
	return left
}

// CloneURL is the address that git clones a repository from, without credentials.
func (h *Host) CloneURL(name string) string { return h.api.cloneURL(name) }

// Links gives the addresses of a commit and of a pull request, to which the hash or the number is added.
func (h *Host) Links(r store.Repo) (commit, pull string) { return h.api.links(r.Name) }

// CloneHeader gives the HTTP header that lets git read a repository, and a func that does nothing: the credential is the
// configuration's, and stays valid.
func (h *Host) CloneHeader(ctx context.Context, r store.Repo) (header string, revoke func(), err error) {
	c, err := h.of(r)
	if err != nil {
		return "", nil, err
	}
	token, err := c.token(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("a token to clone %s: %w", r.Name, err)
	}
	if h.api.cloneUser(c) == "" {
		return "Authorization: Bearer " + token, func() {}, nil
	}
	return "Authorization: Basic " + basicOf(h.api.cloneUser(c), token), func() {}, nil
}

// host is that of the address where people see it: store.Repo.Host.
func (h *Host) host() string { return h.web.Host }

// escape makes a path of names that may hold anything.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

// clip shortens text to n characters.
func clip(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
