package bitbuckettest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A shop is a server with a repository of one commit, a token for it and a bot with a hook.
type shop struct {
	*Server
	t     *testing.T
	sha   string
	token Token
	bot   *bot
}

const shopRepo = "octo/shop"

// cloudEvents are what the bot's hook wants.
var cloudEvents = []string{"repo:push", "repo:updated", "repo:deleted", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected",
	"pullrequest:comment_created", "pullrequest:comment_updated", "pullrequest:comment_deleted"}

func newShop(t *testing.T, o Options) *shop {
	t.Helper()
	o.checkAnswers = true
	s := &shop{Server: New(t, o), t: t, bot: newBot(t)}
	if _, err := s.AddRepo(shopRepo, RepoOptions{Private: true}); err != nil {
		t.Fatal(err)
	}
	s.sha = s.commit("main", Change{Files: map[string]string{"buildspec.yml": "version: 0.2\n", "docs/a b.txt": "text"}})
	s.addToken(TokenOptions{Kind: RepositoryToken, Repo: shopRepo})
	if _, err := s.AddHook(shopRepo, Hook{URL: s.bot.URL, Secret: "secret", Active: true, Events: cloudEvents}); err != nil {
		t.Fatal(err)
	}
	s.push("main")
	return s
}

// addToken makes a token, which requests use from now on.
func (s *shop) addToken(o TokenOptions) Token {
	s.t.Helper()
	token, err := s.AddToken(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.token = token
	return token
}

func (s *shop) commit(branch string, c Change) string {
	s.t.Helper()
	sha, err := s.Commit(shopRepo, branch, c)
	if err != nil {
		s.t.Fatal(err)
	}
	return sha
}

func (s *shop) push(refs ...string) Delivery {
	s.t.Helper()
	return s.must(s.Push(shopRepo, refs...))
}

// must wants an event that was delivered.
func (s *shop) must(d Delivery, err error) Delivery {
	s.t.Helper()
	if err != nil || d.StatusCode != http.StatusOK {
		s.t.Fatalf("the delivery is %+v, %v", d, err)
	}
	return d
}

// do makes a request below the base path, and returns the status, the body and what it says as JSON.
func (s *shop) do(method, path, body string) (int, string, object) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+s.flavor.base()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	switch {
	case s.token.Value == "":
	case s.token.Kind == UserToken || s.token.Kind == AppPassword:
		r.SetBasicAuth(s.token.Email, s.token.Value)
	default:
		r.Header.Set("Authorization", "Bearer "+s.token.Value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var o object
	json.Unmarshal(text, &o) // a list or a text is none
	return resp.StatusCode, string(text), o
}

// want makes a request and wants a status.
func (s *shop) want(status int, method, path, body string) object {
	s.t.Helper()
	got, text, o := s.do(method, path, body)
	if got != status {
		s.t.Errorf("%s %s %.200s: %d, want %d: %.400s", method, path, body, got, status, text)
	}
	return o
}

// wantViolation makes a request that Bitbucket refuses, and that is noted in words that hold some.
func (s *shop) wantViolation(status int, words, method, path, body string) {
	s.t.Helper()
	s.want(status, method, path, body)
	var found bool
	list := s.TakeViolations()
	for _, v := range list {
		found = found || strings.Contains(v.String(), words)
	}
	if !found {
		s.t.Errorf("%s %s %.200s: the violations are %q, want %q", method, path, body, list, words)
	}
}

// at follows keys and indices into JSON, as in "push.changes.0.new".
func at(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case object:
			v = in[key]
		case []any:
			if key == "#" {
				v = float64(len(in))
				continue
			}
			if i := int(key[0] - '0'); i < len(in) {
				v = in[i]
			} else {
				v = nil
			}
		default:
			return nil
		}
	}
	return v
}

// expect compares what is at some places.
func expect(t *testing.T, v any, want map[string]any) {
	t.Helper()
	for path, value := range want {
		if n, isInt := value.(int); isInt {
			value = float64(n)
		}
		if got := at(v, path); got != value {
			t.Errorf("%s is %v, want %v", path, got, value)
		}
	}
}

func payload(t *testing.T, d Delivery) object {
	t.Helper()
	var o object
	if err := json.Unmarshal(d.Payload, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// A bot takes deliveries.
type bot struct {
	*httptest.Server
	mu     sync.Mutex
	status []int // of the next answers; 200 after them
	got    []*http.Request
	bodies [][]byte
}

func newBot(t *testing.T) *bot {
	b := &bot{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got, b.bodies = append(b.got, r), append(b.bodies, body.Bytes())
		if len(b.status) > 0 {
			w.WriteHeader(b.status[0])
			b.status = b.status[1:]
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// take returns the requests so far, and forgets them.
func (b *bot) take() []*http.Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got, b.bodies = nil, nil
	return got
}

// answer lets the next deliveries be answered with some statuses.
func (b *bot) answer(status ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
}

func gitIn(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "credential.helper="}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// address is where git finds a repository with a user and a password.
func (s *shop) address(repo, user, password string) string {
	return strings.Replace(s.CloneURL(repo), "://", "://"+user+":"+password+"@", 1)
}
