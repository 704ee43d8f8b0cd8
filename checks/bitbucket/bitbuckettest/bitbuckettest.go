// Package bitbuckettest is a Bitbucket to test against: a server with the part of Bitbucket Cloud or of Bitbucket Data Center
// that a CI bot sees. It is no mock: it keeps repositories (real ones, served by git's own git http-backend), users and
// their permissions, pull requests, comments, build statuses, reports and the tokens that a bot may be given, it enforces
// the tokens and their scopes, and it sends webhooks to the hooks that are registered, signed with their secrets.
//
// Every request is checked against a description of exactly the addresses that there are, written from the documentation,
// and, of Bitbucket Cloud, against the published description too where that is present (contract.go). A request that
// Bitbucket would refuse or overlook in part is a Violation and fails the test, whatever the test was about. So is a request
// for something that is not there. The answers and payloads of the server are checked in the same way in its own tests.
//
// What both flavours have in common, the model, is in files without a flavour in their names; what they do in their own way
// is behind the interface flavor, in the files cloud*.go and datacenter*.go.
//
// In a test:
//
//	bucket := bitbuckettest.New(t, bitbuckettest.Options{Flavor: bitbuckettest.Cloud})
//	bucket.AddRepo("octo/shop", bitbuckettest.RepoOptions{Private: true})
//	token, err := bucket.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: "octo/shop"})
//	sha, err := bucket.Commit("octo/shop", "main", bitbuckettest.Change{Files: map[string]string{"buildspec.yml": text}})
//	bucket.AddHook("octo/shop", bitbuckettest.Hook{URL: bot.URL + "/webhook/bitbucket", Secret: "secret", Active: true, Events: events})
//	delivery, err := bucket.Push("octo/shop", "main")    // the bot is told, and has answered
//	status, err := bucket.AwaitStatus(ctx, "octo/shop", sha, func(s bitbuckettest.Status) bool { return s.Done() })
//
// Repositories are named workspace/slug on both flavours; on Data Center the workspace is the key of the project, in any
// case, or ~user.
//
// Methods that change something do it as the people and programs would that change it at Bitbucket; those that hooks would
// be told of deliver the event before they return and give back how the bot answered. What was requested, fetched and
// delivered can be read at any time.
//
// The command fakebitbucket runs a Server as a program, for people and for scripts; see there for the addresses below
// /_control/ that drive it.
package bitbuckettest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks/forgetest"
)

// A Flavor is one of the two products of the name.
type Flavor string

// The flavours.
const (
	Cloud      Flavor = "cloud"
	DataCenter Flavor = "data-center"
)

// Options of a Server; the zero value is a Bitbucket Cloud fit for tests.
type Options struct {
	Flavor      Flavor           // Cloud
	URL         string           // where the server is reached, without a slash at the end; New finds one
	Dir         string           // where the repositories go; a temporary directory if empty
	Now         func() time.Time // time.Now
	HookTimeout time.Duration    // how long to wait for the answer to a delivery; 10 s
	RetryAfter  time.Duration    // how long to wait before a delivery is attempted again; 10 ms
	Limit       int              // requests an hour of one user or token for repositories; 1000, on Data Center none

	// DataCenter are options that only that flavour has.
	DataCenter DataCenterOptions

	// DeliverPushes delivers what is pushed by git over HTTP: the push, and the pull requests that it moves.
	DeliverPushes bool

	// Reported is called with each build status that was made or changed. It must not call the server.
	Reported func(Status)

	// Delivered is called with each delivery, after it was answered. It must not call the server.
	Delivered func(Delivery)

	// Control opens the addresses below /_control/, by which other processes drive the server.
	Control bool

	checkAnswers bool // check the answers too
}

// A Server is a Bitbucket. It is an http.Handler, and its methods may be called at the same time.
type Server struct {
	flavor       flavor
	name         Flavor
	contract     *contract
	url          string
	dir          string
	temporary    bool
	now          func() time.Time
	pushes       bool
	control      bool
	checkAnswers bool
	limit        int
	retryAfter   time.Duration
	hookTimeout  time.Duration
	reported     func(Status)
	delivered    func(Delivery)
	client       *http.Client
	backend      forgetest.Backend
	faults       forgetest.Faults
	weather      *forgetest.Weather
	breaker      *breaker
	news         forgetest.News
	ctx          context.Context // of deliveries; ends with Close
	cancel       context.CancelFunc
	background   sync.WaitGroup // deliveries that nobody waits for
	receiving    sync.Mutex     // held by a push over HTTP, so that what it changed is known

	mu         sync.Mutex // guards all below
	ids        map[string]int64
	users      map[string]*User // by name in small letters
	groups     map[string][]string
	projects   map[string]*project // by key in small letters
	repos      []*repo
	tokens     []*Token
	comments   []*Comment
	statuses   []*Status
	reports    []*Report
	hooks      []*Hook
	lose       int // how many deliveries to come are lost
	deliveries []*Delivery
	requests   []Request
	accesses   []GitAccess
	violations []Violation
	used       map[string][]time.Time // when a user or token made the requests that are limited
}

// object is a JSON object.
type object = map[string]any

// NewServer returns a server that is to be served at Options.URL by the caller, who closes it in the end.
func NewServer(o Options) (*Server, error) {
	if o.URL == "" {
		return nil, errors.New("the address of the server is not given")
	}
	f, err := newFlavor(cmp.Or(o.Flavor, Cloud), o)
	if err != nil {
		return nil, err
	}
	contract, err := newContract(f)
	if err != nil {
		return nil, fmt.Errorf("reading the description of Bitbucket's API: %w", err)
	}
	backend, err := forgetest.NewBackend()
	if err != nil {
		return nil, err
	}
	s := &Server{
		flavor: f, name: cmp.Or(o.Flavor, Cloud), contract: contract, url: strings.TrimSuffix(o.URL, "/"), dir: o.Dir, now: o.Now, pushes: o.DeliverPushes,
		control: o.Control, checkAnswers: o.checkAnswers, limit: cmp.Or(o.Limit, 1000), retryAfter: cmp.Or(o.RetryAfter, 10*time.Millisecond),
		hookTimeout: cmp.Or(o.HookTimeout, 10*time.Second), reported: o.Reported, delivered: o.Delivered,
		client:  &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		backend: backend, ids: map[string]int64{}, users: map[string]*User{}, groups: map[string][]string{}, projects: map[string]*project{},
		used: map[string][]time.Time{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.dir == "" {
		s.temporary = true
		if s.dir, err = os.MkdirTemp("", "bitbuckettest-"); err != nil {
			return nil, fmt.Errorf("making a directory for repositories: %w", err)
		}
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, fmt.Errorf("looking for the directory of the repositories: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.breaker = newBreaker(o.DataCenter.Breaker)
	s.weather = forgetest.NewWeather(requestMishaps, s.now, s.later, s.ctx.Done())
	return s, nil
}

// Close ends what is still being delivered and removes the repositories, unless they lie in a directory that was given.
func (s *Server) Close() {
	s.cancel()
	s.background.Wait()
	s.client.CloseIdleConnections()
	if s.temporary {
		os.RemoveAll(s.dir) // what is left is in the temporary directory
	}
}

// New returns a server that listens on the loopback address until the test ends. The violations that it has then seen fail
// the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	listener := httptest.NewUnstartedServer(nil)
	if o.URL == "" {
		o.URL = "http://" + listener.Listener.Addr().String()
	}
	s, err := NewServer(o)
	if err != nil {
		listener.Close()
		t.Fatal(err)
	}
	listener.Config.Handler = s
	listener.Start()
	t.Cleanup(func() {
		listener.CloseClientConnections()
		listener.Close()
		s.Close()
		for _, v := range s.Violations() {
			t.Errorf("the bot broke the contract: %s", v)
		}
	})
	return s
}

// URL returns the address of the server. The API of Cloud is below /2.0 there, that of Data Center below /rest.
func (s *Server) URL() string { return s.url }

// Flavor returns which one it is.
func (s *Server) Flavor() Flavor { return s.name }

// later runs something that Close waits for, such as a delivery that an answer must not wait for.
func (s *Server) later(f func()) {
	if s.ctx.Err() == nil {
		s.background.Go(f)
	}
}

// wakeLocked wakes all who wait for something to happen.
func (s *Server) wakeLocked() { s.news.Wake() }

// Await waits until something is true that depends on what happens to the server, or the context ends.
func (s *Server) Await(ctx context.Context, holds func() bool) error { return s.news.Await(ctx, holds) }

// nextIDLocked returns the next number of a kind of thing; each kind begins elsewhere, so that numbers of different kinds are
// not mistaken for one another.
func (s *Server) nextIDLocked(kind string) int64 {
	if s.ids[kind] == 0 {
		s.ids[kind] = int64(len(s.ids)+1) * 1000
	}
	s.ids[kind]++
	return s.ids[kind]
}
