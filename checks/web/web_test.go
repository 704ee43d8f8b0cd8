package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

const adminToken = "0123456789abcdef0123456789abcdef0123456789abcdef"

// A site is a server with a store of its own.
type site struct {
	*testing.T
	store *store.Store
	web   *Web
	url   string
	log   *bytes.Buffer
}

func newSite(t *testing.T, change ...func(*Config)) *site {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	s := &site{T: t, store: st, log: &bytes.Buffer{}}
	c := Config{Store: st, AdminToken: adminToken, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(&lockedWriter{w: s.log}, nil)), Links: links}
	for _, fn := range change {
		fn(&c)
	}
	s.web = New(c)
	e := echo.New()
	s.web.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	t.Cleanup(s.web.Close)
	s.url = server.URL
	return s
}

func (s *site) update(fn func(*store.Tx) error) {
	s.Helper()
	if err := s.store.Update(fn); err != nil {
		s.Fatal(err)
	}
}

var (
	privateRepo = store.Repo{Forge: "github", Host: "github.com", ID: "7", Name: "octo/shop", WebURL: "https://github.com/octo/shop", Private: true, DefaultBranch: "main"}
	publicRepo  = store.Repo{Forge: "github", Host: "github.com", ID: "8", Name: "octo/docs", WebURL: "https://github.com/octo/docs", DefaultBranch: "main"}
	localRepo   = store.Repo{Forge: "local", Host: "localhost", ID: "tools", Name: "tools"}
)

const commit = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"

// submit makes a build; change sets what else is to be known of it.
func (s *site) submit(r store.Repo, change ...func(*store.Build)) (b store.Build) {
	s.Helper()
	s.update(func(tx *store.Tx) error {
		if _, err := tx.Repo(r); err != nil {
			return err
		}
		p, err := tx.Project(r, "")
		if err != nil {
			return err
		}
		b, err = tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{
			Event: store.EventPush, Automatic: true, Commit: commit, SourceVersion: commit, HeadRef: "refs/heads/main",
			Title: "Round prices of carts up", Actor: store.Account{Login: "alice"}}})
		return err
	})
	if len(change) > 0 {
		s.change(b.ID, change...)
		b = s.build(b.ID)
	}
	return b
}

func (s *site) change(id string, change ...func(*store.Build)) {
	s.Helper()
	for _, fn := range change {
		if _, err := s.store.ChangeBuild(id, func(b *store.Build) error { fn(b); return nil }); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *site) build(id string) store.Build {
	s.Helper()
	b, err := s.store.Build(id)
	if err != nil {
		s.Fatal(err)
	}
	return b
}

// claim and end take a build through its life.
func claim(b *store.Build) {
	b.Claimed = b.Created.Add(time.Second)
	b.Leave(store.PhaseQueued, b.Claimed, store.Succeeded, "", "")
	b.Enter(store.PhaseProvisioning, b.Claimed)
}

func end(status store.Status) func(*store.Build) {
	return func(b *store.Build) {
		if b.Claimed.IsZero() {
			claim(b)
		}
		b.End(status, b.Claimed.Add(72*time.Second))
	}
}

// print appends to the log of a build.
func (s *site) print(id, text string) {
	s.Helper()
	f, err := s.store.OpenLog(id)
	if err != nil {
		s.Fatal(err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	f.Close()
	if err != nil {
		s.Fatal(err)
	}
	w, err := s.store.AppendLog(id, size)
	if err != nil {
		s.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte(text)); err != nil {
		s.Fatal(err)
	}
}

func (s *site) key(b store.Build) string {
	s.Helper()
	k, err := s.store.LinkKey(b.ID, b.Repo)
	if err != nil {
		s.Fatal(err)
	}
	return k
}

func (s *site) notice(r store.Repo, conclusion string) (n store.Notice) {
	s.Helper()
	s.update(func(tx *store.Tx) error {
		if _, err := tx.Repo(r); err != nil {
			return err
		}
		p, err := tx.Project(r, "")
		if err != nil {
			return err
		}
		n, err = tx.AddNotice(p, store.Notice{Check: "buildsmith", Conclusion: conclusion, Title: "Approval needed",
			Trigger: store.Trigger{Commit: commit, PullRequest: 12, BaseRef: "refs/heads/main", Title: "Add a shop window", Fork: true},
			Reason:  "Pull request 12 was not built: it comes from another repository."})
		return err
	})
	return n
}

// A request is what a test asks a site for.
type request struct {
	method, path string
	form         url.Values
	body         string
	header       map[string]string
	cookie       string
}

type answer struct {
	*http.Response
	body string
}

// ask makes a request and follows no redirect.
func (s *site) ask(r request) answer {
	s.Helper()
	var body io.Reader = strings.NewReader(r.body)
	if r.form != nil {
		body = strings.NewReader(r.form.Encode())
	}
	if r.method == "" {
		r.method = http.MethodGet
	}
	q, err := http.NewRequest(r.method, s.url+r.path, body)
	if err != nil {
		s.Fatal(err)
	}
	if r.form != nil {
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range r.header {
		q.Header.Set(name, value)
	}
	if r.cookie != "" {
		q.AddCookie(&http.Cookie{Name: cookieName, Value: r.cookie})
	}
	client := http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return answer{response, string(text)}
}

// get asks for a page as the administrator.
func (s *site) get(path string) answer {
	s.Helper()
	return s.ask(request{path: path, cookie: s.web.access.newSession()})
}

// post sends a form as the administrator.
func (s *site) post(path string, form url.Values) answer {
	s.Helper()
	session := s.web.access.newSession()
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrf", s.web.access.csrf(session))
	return s.ask(request{method: http.MethodPost, path: path, form: form, cookie: session})
}

// api asks the API with the admin token.
func (s *site) api(method, path, body string) answer {
	s.Helper()
	return s.ask(request{method: method, path: path, body: body, header: map[string]string{"Authorization": "Bearer " + adminToken}})
}

func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v in %.500s", err, a.body)
	}
}

// decide is the intake: it handles the deliveries that are pending, as reply says.
func (s *site) decide(reply func(store.Delivery, store.Request) (builds []string, reason string)) (stop func()) {
	news, leave := s.store.Watch()
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			case <-news:
			}
			var pending []store.Delivery
			err := s.store.View(func(tx *store.Tx) (err error) {
				pending, err = tx.PendingDeliveries(0, 10)
				return err
			})
			for _, d := range pending {
				body, failed := s.store.Body(&d)
				var r store.Request
				err = errors.Join(err, failed, json.Unmarshal(body, &r))
				d.Handled = s.store.Now()
				d.Builds, d.Reason = reply(d, r)
				err = errors.Join(err, s.store.Update(func(tx *store.Tx) error { return tx.SetDelivery(&d) }))
			}
			if err != nil {
				s.Error(err)
			}
		}
	}()
	return func() {
		leave()
		close(over)
		<-done
	}
}

func lines(n int, format string) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, format+"\n", i+1)
	}
	return text.String()
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(text)
}
