package bitbucket

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

const (
	testToken = "ATCTT3x-a-token"
	testUUID  = "0f9c8a7b-1111-4222-8333-444455556666"
	testHash  = "0123456789abcdef0123456789abcdef01234567"
)

var shop = store.Repo{Forge: "bitbucket", Host: "bitbucket.org", ID: testUUID, Name: "octo/shop"}

// A scripted server answers as a test has it, and remembers what it was asked.
type scripted struct {
	*httptest.Server
	host *Host
	log  bytes.Buffer

	mu    sync.Mutex
	asked []string // method, path and query
	auth  []string
	now   time.Time
}

func (s *scripted) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// script serves a Host; configure may change its configuration.
func script(t *testing.T, serve http.HandlerFunc, configure func(*Config)) *scripted {
	t.Helper()
	s := &scripted{now: time.Now()}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked, s.auth = append(s.asked, r.Method+" "+r.URL.RequestURI()), append(s.auth, r.Header.Get("Authorization"))
		s.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(s.Close)
	c := Config{Name: "bitbucket", Web: s.URL, API: s.URL + "/2.0", Credentials: []Credential{{Repositories: []string{"octo/shop"}, Token: testToken}},
		Log: slog.New(slog.NewTextHandler(&s.log, nil)), Now: func() time.Time { return s.now }}
	if configure != nil {
		configure(&c)
	}
	var err error
	if s.host, err = New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scripted) ask(ctx context.Context, v any) error {
	return s.host.do(ctx, s.host.credentials[0], http.MethodGet, "/repositories/octo/shop/x", nil, v)
}

// TestRedirects follows one within the API, with method and body, and gives no other host the token.
func TestRedirects(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	var body, to string
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/moved") {
			text, _ := io.ReadAll(r.Body)
			body = r.Method + " " + string(text) + " " + r.Header.Get("Authorization")
			w.Write([]byte("{}"))
			return
		}
		http.Redirect(w, r, to, http.StatusMovedPermanently)
	}, nil)
	c := s.host.credentials[0]
	to = "/2.0/repositories/octo/moved"
	if err := s.host.do(t.Context(), c, http.MethodPost, "/repositories/octo/shop/x", map[string]int{"a": 1}, nil); err != nil || body != `POST {"a":1} Bearer `+testToken {
		t.Errorf("%q %v", body, err)
	}
	for name, tt := range map[string]struct{ to, want string }{
		"another host":   {other.URL + "/2.0/x", "Bitbucket sends the request on to " + other.URL + ", which gets no token"},
		"another scheme": {strings.Replace(s.URL, "http:", "https:", 1) + "/2.0/x", "which gets no token"},
		"beside the API": {"/login", "which gets no token"},
		"up":             {"/2.0/../x", "which gets no token"},
		"in circles":     {"/2.0/y", "Bitbucket sends the request on more than 3 times"},
	} {
		to = tt.to
		if err := s.ask(t.Context(), nil); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), testToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(elsewhere) > 0 {
		t.Errorf("another host was asked: %q", elsewhere)
	}
}

// TestNextPages follows addresses of further pages within the API, a hundred at most, and no other.
func TestNextPages(t *testing.T) {
	next := ""
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/endless"):
			fmt.Fprintf(w, `{"values":[1],"next":"http://%s/2.0/endless?page=2"}`, r.Host)
		case r.URL.Query().Get("page") == "":
			fmt.Fprintf(w, `{"values":[1,2],"next":%q}`, next)
		default:
			fmt.Fprint(w, `{"values":[3]}`)
		}
	}, nil)
	c := s.host.credentials[0]
	next = s.URL + "/2.0/x?page=2"
	if all, part, err := list[int](t.Context(), s.host, c, "/x", maxPages); err != nil || part || fmt.Sprint(all) != "[1 2 3]" {
		t.Errorf("%v %v %v", all, part, err)
	}
	before := len(s.requests())
	if all, part, err := list[int](t.Context(), s.host, c, "/endless", maxPages); err != nil || !part || len(all) != maxPages || len(s.requests())-before != maxPages {
		t.Errorf("%d of them, part %v, %v", len(all), part, err)
	}
	for _, next = range []string{"http://other.example.org/2.0/x?page=2", "//other.example.org/2.0/x", "http://" + "user@" + strings.TrimPrefix(s.URL, "http://") + "/2.0/x?page=2", "/1.0/x", "/2.0/../x", "/2.0/%2e%2e/x", "::"} {
		before := len(s.requests())
		if _, _, err := list[int](t.Context(), s.host, c, "/x", maxPages); err == nil || !strings.HasPrefix(err.Error(), "the next page: Bitbucket ") || len(s.requests()) != before+1 {
			t.Errorf("next %s: %v", next, err)
		}
	}
}

// TestLargeAnswers reads a megabyte and no more; a list is asked for in smaller pages then, and a file is another one in each commit.
func TestLargeAnswers(t *testing.T) {
	large := strings.Repeat("x", maxAnswer)
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/src/"):
			io.WriteString(w, large+large[:len(large)*strings.Count(r.URL.Path, "larger")])
		case r.URL.Query().Get("pagelen") == "100":
			fmt.Fprintf(w, `{"values":["%s"]}`, large)
		default:
			fmt.Fprint(w, `{"values":["small"]}`)
		}
	}, nil)
	if all, _, err := each[string](t.Context(), s.host, s.host.credentials[0], "/x", map[string][]string{}, 100, maxPages); err != nil || len(all) != 1 || all[0] != "small" {
		t.Errorf("%v %v", all, err)
	}
	if got := s.requests(); len(got) != 2 || got[1] != "GET /2.0/x?pagelen=20" {
		t.Errorf("asked %q", got)
	}
	if id, err := s.host.FileID(t.Context(), shop, testHash, "large"); err != nil || len(id) != 64 {
		t.Errorf("%q %v", id, err)
	}
	one, err := s.host.FileID(t.Context(), shop, testHash, "larger")
	other, err2 := s.host.FileID(t.Context(), shop, strings.Repeat("a", 40), "larger")
	if err != nil || err2 != nil || one == "" || one == other || !strings.Contains(s.log.String(), "the answer has more than 1048576 bytes") {
		t.Errorf("%q %q %v %v", one, other, err, err2)
	}
}

// TestErrors gives each kind of answer, and what becomes of it.
func TestErrors(t *testing.T) {
	var status int
	var body string
	header := map[string]string{}
	var told []string
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}, func(c *Config) {
		c.Refused = func(installation int64, text string) { told = append(told, text) }
	})
	for _, tt := range []struct {
		name, body string
		status     int
		want       string
		told       bool
		asked      int
	}{
		{"nothing", "", 404, "not found: GET /repositories/octo/shop/x: status 404", false, 1},
		{"gone", `{"type":"error","error":{"message":"This API is no longer supported."}}`, 410, "not found: GET /repositories/octo/shop/x: status 410, This API is no longer supported.", true, 1},
		{"a scope is missing", `{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes.","detail":{"required":["webhook","Evil <b>"],"granted":["repository"]}}}`, 403,
			"GET /repositories/octo/shop/x: status 403, Your credentials lack one or more required privilege scopes.; it takes the scope webhook", true, 1},
		{"a rule is broken", `{"type":"error","error":{"message":"key","fields":{"key":["too long"]},"detail":"too long"}}`, 400, "GET /repositories/octo/shop/x: status 400, key: too long (key)", false, 1},
		{"the token is bad", `{"type":"error","error":{"message":"Token is invalid or not supported for this endpoint."}}`, 401,
			"GET /repositories/octo/shop/x: status 401, Token is invalid or not supported for this endpoint.; the token has expired, was revoked, or is of another kind", true, 1},
		{"a bad day", "<html>", 502, "GET /repositories/octo/shop/x: status 502", false, 3},
		{"says our token", `{"type":"error","error":{"message":"no ` + testToken + ` here\nand more"}}`, 400, "GET /repositories/octo/shop/x: status 400, no … here", false, 1},
		{"controls", `{"type":"error","error":{"message":"a\u001b[31mb\u202ec"}}`, 400, "GET /repositories/octo/shop/x: status 400, abc", false, 1},
	} {
		status, body, told = tt.status, tt.body, nil
		before := len(s.requests())
		err := s.ask(t.Context(), nil)
		if err == nil || err.Error() != tt.want || statusOf(err) != tt.status || errors.Is(err, store.ErrNotFound) != (tt.status == 404 || tt.status == 410) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if asked := len(s.requests()) - before; asked != tt.asked {
			t.Errorf("%s: asked %d times", tt.name, asked)
		}
		if got := fmt.Sprint(told); tt.told != (len(told) == 1) || tt.told && !strings.HasSuffix(tt.want, told[0]) {
			t.Errorf("%s: told %s", tt.name, got)
		}
	}
	// The same again is not told at once.
	status, body, told = 403, "", nil
	s.ask(t.Context(), nil)
	s.ask(t.Context(), nil)
	if len(told) != 1 || told[0] != "GET /repositories/octo/shop/x: status 403" {
		t.Errorf("told %q", told)
	}
	status, body = 200, "[]"
	if err := s.ask(t.Context(), &struct{}{}); err == nil || !strings.HasPrefix(err.Error(), "GET /repositories/octo/shop/x: the answer is not what Bitbucket describes: ") {
		t.Errorf("%v", err)
	}
	// Limits.
	status, body, header["Retry-After"] = 429, "", "90"
	var wait *checks.WaitError
	if err := s.ask(t.Context(), nil); !errors.As(err, &wait) || wait.Until.Sub(s.now) != 90*time.Second {
		t.Errorf("%v", err)
	}
	before := len(s.requests())
	want := fmt.Sprintf("Bitbucket limits the requests of credential %d; not before ", s.host.credentials[0].number)
	if err := s.ask(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), want) || len(s.requests()) != before || s.host.HeldBack.Load() != 1 || len(s.host.Limited()) != 1 {
		t.Errorf("%v", err)
	}
	s.now = s.now.Add(91 * time.Second)
	status, body = 200, "{}"
	delete(header, "Retry-After")
	header["X-Ratelimit-Remaining"] = "812"
	if err := s.ask(t.Context(), nil); err != nil || s.host.Remaining()[s.host.credentials[0].number] != 812 || len(s.host.Limited()) != 0 {
		t.Errorf("%v %v", err, s.host.Remaining())
	}
	if skew, ok := s.host.Skew(); !ok || skew.Abs() > 10*time.Second {
		t.Errorf("skew %v %v", skew, ok)
	}
	header["Date"] = time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	status = 401
	if err := s.ask(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "(this machine's clock is 1h0m") {
		t.Errorf("%v", err)
	}
	if skew, _ := s.host.Skew(); skew.Round(time.Minute) != time.Hour {
		t.Errorf("skew %v", skew)
	}
	if requests, failures := s.host.Requests.Load(), s.host.Failures.Load(); requests != int64(len(s.requests())) || failures < 10 || s.host.Writes.Load() != 0 {
		t.Errorf("%d requests, %d failures, %d writes", requests, failures, s.host.Writes.Load())
	}
}

// TestLimitsAreACredentials has one credential wait, and others not.
func TestLimitsAreACredentials(t *testing.T) {
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer one" {
			w.WriteHeader(429)
		}
	}, func(c *Config) {
		c.Credentials = []Credential{{Repositories: []string{"octo/shop"}, Token: "one"}, {Repositories: []string{"octo/site"}, Token: "two"}}
	})
	one, two := s.host.credentials[0], s.host.credentials[1]
	var wait *checks.WaitError
	for _, pause := range []time.Duration{time.Minute, 2 * time.Minute} { // Bitbucket does not say how long
		if err := s.host.do(t.Context(), one, http.MethodGet, "/x", nil, nil); !errors.As(err, &wait) || wait.Until.Sub(s.now) != pause {
			t.Errorf("%v, want to wait %v", err, pause)
		}
		if err := s.host.do(t.Context(), two, http.MethodGet, "/x", nil, nil); err != nil {
			t.Error(err)
		}
		if limited := s.host.Limited(); len(limited) != 1 || limited[one.number].IsZero() {
			t.Errorf("%v", limited)
		}
		s.now = s.now.Add(pause)
	}
	if a, b := s.host.Account(store.Repo{Name: "octo/shop"}), s.host.Account(store.Repo{Name: "octo/site"}); a == b || a != fmt.Sprint(one.number) {
		t.Errorf("accounts %s and %s", a, b)
	}
}

// TestSkew tells how far the clocks are apart.
func TestSkew(t *testing.T) {
	for hours, want := range map[int]string{-1: "this machine's clock is 1h0m0s ahead of Bitbucket's", 1: "this machine's clock is 1h0m0s behind Bitbucket's", 0: ""} {
		s := script(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(time.Duration(hours)*time.Hour).UTC().Format(http.TimeFormat))
			fmt.Fprintf(w, `{"uuid":"{%s}","full_name":"octo/shop"}`, testUUID)
		}, nil)
		found := ""
		for _, f := range s.host.Examine(t.Context()) {
			if strings.Contains(f.Text, "clock") {
				found += f.Text
			}
		}
		if got := strings.ReplaceAll(strings.ReplaceAll(found, "59m59s", "1h0m0s"), "1h0m1s", "1h0m0s"); got != want {
			t.Errorf("%d hours: %q, want %q", hours, found, want)
		}
	}
}

// TestPattern takes what changes out of paths.
func TestPattern(t *testing.T) {
	for path, want := range map[string]string{
		"/repositories/octo/%7B" + testUUID + "%7D/commit/" + testHash + "/statuses/build":                  "/repositories/octo/…/commit/…/statuses/build",
		"/repositories/octo/shop/pullrequests/7/comments/12?fields=id":                                      "/repositories/octo/shop/pullrequests/…/comments/…",
		"/repositories/octo/shop/commit/" + testHash + "/reports/bs-0123456789abcdef01234567-x/annotations": "/repositories/octo/shop/commit/…/reports/…/annotations",
		"/api/latest/projects/OCTO/repos/shop/commits/" + testHash + "/builds":                              "/api/latest/projects/OCTO/repos/shop/commits/…/builds",
	} {
		if got := pattern(path); got != want {
			t.Errorf("pattern(%s) = %s, want %s", path, got, want)
		}
	}
}

// TestConsumer has a consumer's token asked for once, kept until shortly before it expires, asked for anew when it is refused, and never
// told anybody.
func TestConsumer(t *testing.T) {
	given, good, fail := 0, "", 0
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/site/oauth2/access_token" {
			if r.Header.Get("Authorization") != "Bearer "+good {
				w.WriteHeader(401)
			}
			return
		}
		r.ParseForm()
		if key, secret, _ := r.BasicAuth(); key != "thekey" || secret != "thesecret" || r.Method != http.MethodPost || r.PostForm.Get("grant_type") != "client_credentials" || fail != 0 {
			w.WriteHeader(max(fail, 400))
			io.WriteString(w, `{"error_description":"thesecret is wrong"}`)
			return
		}
		given++
		good = fmt.Sprint("token", given)
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":7200,"token_type":"bearer"}`, good)
	}, func(c *Config) {
		c.Credentials = []Credential{{Repositories: []string{"octo/*"}, Consumer: Consumer{"thekey", "thesecret"}}}
	})
	for range 3 {
		if err := s.ask(t.Context(), nil); err != nil || given != 1 {
			t.Fatalf("%v after %d tokens", err, given)
		}
	}
	s.now = s.now.Add(time.Hour + 54*time.Minute)
	if err := s.ask(t.Context(), nil); err != nil || given != 1 {
		t.Errorf("%v after %d tokens", err, given)
	}
	s.now = s.now.Add(2 * time.Minute) // four minutes are left
	if err := s.ask(t.Context(), nil); err != nil || given != 2 {
		t.Errorf("%v after %d tokens", err, given)
	}
	good = "another" // somebody has revoked it
	if err := s.ask(t.Context(), nil); err != nil || given != 3 {
		t.Errorf("%v after %d tokens", err, given)
	}
	if header, revoke, err := s.host.CloneHeader(t.Context(), shop); err != nil || header != "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("x-token-auth:token3")) {
		t.Errorf("%q %v", header, err)
	} else {
		revoke()
	}
	var wait *checks.WaitError
	for _, tt := range []struct {
		status int
		want   string
	}{
		{400, "POST /site/oauth2/access_token: status 400, Bitbucket does not know the consumer of octo/*, or has it expired: look at its key and secret, and whether it is private"},
		{503, "Bitbucket gives no token for the consumer: status 503"},
		{429, "Bitbucket gives no token for the consumer: status 429; not before "},
	} {
		s.now, fail = s.now.Add(3*time.Hour), tt.status
		if err := s.ask(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), tt.want) || errors.As(err, &wait) != (tt.status == 429) || strings.Contains(err.Error(), "thesecret") {
			t.Errorf("%d: %v", tt.status, err)
		}
	}
	before := len(s.requests())
	if err := s.ask(t.Context(), nil); !errors.As(err, &wait) || len(s.requests()) != before {
		t.Errorf("asked before its time: %v", err)
	}
	for _, request := range s.requests() {
		if strings.Contains(request, "token1") || strings.Contains(request, "thesecret") || strings.Contains(request, "thekey") {
			t.Errorf("a secret in an address: %s", request)
		}
	}
}

// TestCutConnections has a question asked again that was not answered, and a change not: whoever makes it knows how.
func TestCutConnections(t *testing.T) {
	cut := 0
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		if cut--; cut >= 0 {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "{}")
	}, nil)
	cut = 2
	if err := s.ask(t.Context(), nil); err != nil {
		t.Error(err)
	}
	cut = 1
	if err := s.host.do(t.Context(), s.host.credentials[0], http.MethodPost, "/x", nil, nil); err == nil || !strings.HasPrefix(err.Error(), "POST /x: ") || strings.Contains(err.Error(), "http://") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.ask(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestPathsStayBelow refuses what would lead out of the API.
func TestPathsStayBelow(t *testing.T) {
	s := script(t, func(http.ResponseWriter, *http.Request) {}, nil)
	for _, path := range []string{"/../admin", "/x/../../y", "/x/%2E%2e/y", "@evil.example.org/x"} {
		if err := s.host.do(t.Context(), s.host.credentials[0], http.MethodGet, path, nil, nil); err == nil || !strings.HasSuffix(err.Error(), " is no path below Bitbucket's API") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got := s.requests(); len(got) > 0 {
		t.Errorf("asked %q", got)
	}
}
