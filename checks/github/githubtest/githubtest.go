// Package githubtest is a GitHub to test against: a server with the part of GitHub that a CI bot sees. It is no mock: it
// keeps repositories (real ones, served by git's own git http-backend), users, pull requests, comments, check runs and the
// tokens of a GitHub App, it enforces the tokens, and it sends signed webhooks.
//
// What makes its word worth something is GitHub's own description of its API. Every request is checked against it, and
// against the rules that the description leaves out (validate.go). A request that GitHub would refuse or overlook in part
// is a Violation and fails the test, whatever the test was about. So is a request for something that the description, or
// the part of it that operations lists, does not have. The answers of the server are checked in the same way in its own
// tests. The description comes from npm packages that are pinned in testdata/contracts and not kept with the source:
// `make test` or `npm ci --prefix testdata/contracts` installs them.
//
// The API lies below /api/v3, as it does on GitHub Enterprise Server, and git below /<owner>/<repo>.git, so that a bot
// needs to know nothing but the address. Times, limits and refusals are GitHub's, with three exceptions. A token is
// refused for everything it does not cover, where GitHub would still let it read public repositories. Nor can a public
// repository be read through the API without a token. And the rate limit per minute is not kept; tests provoke it by
// Inject.
//
// In a test:
//
//	hub := githubtest.New(t, githubtest.Options{})
//	hub.AddRepo("octo/shop", githubtest.RepoOptions{Private: true})
//	sha, err := hub.Commit("octo/shop", "main", githubtest.Change{Files: map[string]string{"buildspec.yml": text}})
//	hub.SetHook(bot.URL + "/webhook/github")
//	delivery, err := hub.Push("octo/shop", "main")       // the bot is told, and has answered
//	run, err := hub.AwaitCheckRun(ctx, "octo/shop", sha, "buildsmith", githubtest.Completed)
//
// Inject lets requests to come fail in a way of your own, and SetChaos at random, deliveries too.
//
// Methods that change something do it as the people and programs would that change it at GitHub; those that the app would
// be told of deliver the event before they return and give back how the bot answered. What was requested, issued,
// fetched and delivered can be read at any time.
//
// The command fakegithub runs a Server as a program, for people and for scripts; see there for the addresses below
// /_control/ that drive it.
package githubtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
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

// apiBase is where the API lies.
const apiBase = "/api/v3"

// Options of a Server; the zero value is fit for tests.
type Options struct {
	URL           string            // where the server is reached, without a slash at the end; New finds one
	Dir           string            // where the repositories go; a temporary directory if empty
	AppID         int64             // 4711
	AppSlug       string            // buildsmith
	Key           *rsa.PrivateKey   // one for all servers of the process
	WebhookSecret string            // a random one
	HookURL       string            // where deliveries go; see SetHook
	Permissions   map[string]string // what the app is granted; DefaultPermissions
	Now           func() time.Time  // time.Now; the tokens that the app signs are held against it
	HookTimeout   time.Duration     // how long to wait for the answer to a delivery; 10 s

	// Echo delivers, as GitHub does, the events that the app has caused itself: its check runs and its comments.
	Echo bool

	// DeliverPushes delivers what is pushed by git over HTTP: the push, and the pull requests that it moves.
	DeliverPushes bool

	// TemporaryRedirects answers requests that change something in a repository that has another name now with 307, which
	// clients repeat as they are, instead of 301, of which Go's makes a GET. GitHub does either.
	TemporaryRedirects bool

	// Changed is called with each check run that was created or updated. It must not call the server.
	Changed func(CheckRun)

	// Delivered is called with each delivery, after it was answered. It must not call the server.
	Delivered func(Delivery)

	// Control opens the addresses below /_control/, by which other processes drive the server.
	Control bool

	checkAnswers bool // check the answers too
}

// A Server is a GitHub. It is an http.Handler, and its methods may be called at the same time.
type Server struct {
	contract     *Contract
	url          string
	dir          string
	temporary    bool
	appID        int64
	slug         string
	key          *rsa.PrivateKey
	permissions  map[string]string
	now          func() time.Time
	echo         bool
	pushes       bool
	control      bool
	checkAnswers bool
	temporary307 bool
	changed      func(CheckRun)
	delivered    func(Delivery)
	hookTimeout  time.Duration
	started      time.Time
	client       *http.Client
	backend      forgetest.Backend
	faults       forgetest.Faults
	weather      *forgetest.Weather
	news         forgetest.News
	ctx          context.Context // of deliveries; ends with Close
	cancel       context.CancelFunc
	background   sync.WaitGroup // deliveries that nobody waits for
	receiving    sync.Mutex     // held by a push over HTTP, so that what it changed is known

	mu            sync.Mutex // guards all below
	sites         sites
	hook          string
	secret        string
	ids           ids
	users         map[string]*user // by login in small letters
	repos         map[int64]*repo
	renamed       map[string]int64 // old full name in small letters => id
	installations map[int64]*installation
	tokens        map[string]*Token
	tokenOrder    []*Token
	codes         map[string]bool
	limit         limit
	comments      []*Comment
	reactions     []*Reaction
	statuses      []*CommitStatus
	deployments   []*Deployment
	runs          []*CheckRun
	suites        map[int64]*suite
	deliveries    []*Delivery
	requests      []Request
	accesses      []GitAccess
	violations    []Violation
	groups        []MergeGroup      // in merge queues
	customRoles   map[string]string // name => the role that it is made of
}

// sharedKey makes one key for all servers of a process, because making one takes as long as many a test.
var sharedKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewServer returns a server that is to be served at Options.URL by the caller, who closes it in the end.
func NewServer(o Options) (*Server, error) {
	if o.URL == "" {
		return nil, errors.New("the address of the server is not given")
	}
	contract, err := LoadContract()
	if err != nil {
		return nil, err
	}
	backend, err := forgetest.NewBackend()
	if err != nil {
		return nil, err
	}
	s := &Server{
		contract: contract, url: strings.TrimSuffix(o.URL, "/"), dir: o.Dir, appID: cmp.Or(o.AppID, 4711), slug: cmp.Or(o.AppSlug, "buildsmith"), key: o.Key,
		permissions: maps.Clone(o.Permissions), now: o.Now, echo: o.Echo, pushes: o.DeliverPushes, control: o.Control, checkAnswers: o.checkAnswers, temporary307: o.TemporaryRedirects,
		changed: o.Changed, delivered: o.Delivered,
		hookTimeout: cmp.Or(o.HookTimeout, 10*time.Second), hook: o.HookURL, secret: cmp.Or(o.WebhookSecret, forgetest.RandomHex(20)), client: &http.Client{Transport: &http.Transport{}},
		backend: backend, ids: ids{}, users: map[string]*user{}, repos: map[int64]*repo{},
		renamed: map[string]int64{}, installations: map[int64]*installation{}, tokens: map[string]*Token{}, codes: map[string]bool{},
		suites: map[int64]*suite{}, customRoles: map[string]string{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.started = s.now()
	if s.permissions == nil {
		s.permissions = maps.Clone(DefaultPermissions)
	}
	if s.key == nil {
		if s.key, err = sharedKey(); err != nil {
			return nil, fmt.Errorf("making the key of the app: %w", err)
		}
	}
	if s.dir == "" {
		s.temporary = true
		if s.dir, err = os.MkdirTemp("", "githubtest-"); err != nil {
			return nil, fmt.Errorf("making a directory for repositories: %w", err)
		}
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, fmt.Errorf("looking for the directory of the repositories: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
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
// the test. Without the descriptions of GitHub the test is skipped; or fails, if BUILDSMITH_TEST_ALL is set.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	Require(t)
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

// Require skips a test, or fails it if BUILDSMITH_TEST_ALL is set, when the descriptions of GitHub are not installed.
func Require(t testing.TB) {
	t.Helper()
	_, err := LoadContract()
	if errors.Is(err, ErrNotInstalled) && os.Getenv("BUILDSMITH_TEST_ALL") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// URL returns the address of the server: the API is below /api/v3 there.
func (s *Server) URL() string { return s.url }

// AppID returns the number of the app.
func (s *Server) AppID() int64 { return s.appID }

// WebhookSecret returns the secret that deliveries are signed with.
func (s *Server) WebhookSecret() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secret
}

// ServeHTTP serves the API, git, and the control addresses if they are open.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, apiBase+"/"):
		s.serveAPI(w, r)
	case s.control && strings.HasPrefix(r.URL.Path, forgetest.ControlBase):
		s.serveControl(w, r)
	case !s.servePage(w, r):
		s.serveGit(w, r)
	}
}

// later runs something that Close waits for, such as a delivery that an answer must not wait for.
func (s *Server) later(f func()) {
	if s.ctx.Err() == nil {
		s.background.Go(f)
	}
}

// wakeLocked wakes all who wait for something to happen.
func (s *Server) wakeLocked() { s.news.Wake() }
