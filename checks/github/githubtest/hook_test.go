package githubtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

func TestSignature(t *testing.T) {
	// The vector that GitHub documents.
	got := signatures("It's a Secret to Everybody", []byte("Hello, World!"))["X-Hub-Signature-256"]
	if got != "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" {
		t.Errorf("the signature is %s", got)
	}
}

func TestDeliver(t *testing.T) {
	s, b := newShop(t, Options{WebhookSecret: "secret one"}), newBot(t)
	s.SetHook(b.url)
	valid := func() error {
		r, body, _ := b.last(t)
		return github.ValidateSignature(r.Header.Get("X-Hub-Signature-256"), body, []byte(s.WebhookSecret()))
	}
	d, err := s.Deliver("push", object{"ref": "refs/heads/main"}, DeliverOptions{})
	if err != nil || valid() != nil {
		t.Errorf("an honest delivery: %+v, %v, %v", d, err, valid())
	}
	r, _, _ := b.last(t)
	for name, want := range map[string]string{"Content-Type": "application/json", "X-Github-Hook-Installation-Target-Type": "integration",
		"X-Github-Hook-Installation-Target-Id": "4711", "X-Github-Hook-Id": "420000007", "X-Github-Enterprise-Host": strings.TrimPrefix(s.URL(), "http://")} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(r.Header.Get("User-Agent"), "GitHub-Hookshot/") || !strings.HasPrefix(r.Header.Get("X-Hub-Signature"), "sha1=") {
		t.Errorf("the headers are %v", r.Header)
	}

	again, err := s.Deliver("push", d.Payload, DeliverOptions{GUID: d.GUID})
	if err != nil || again.GUID != d.GUID || again.ID == d.ID || valid() != nil {
		t.Errorf("a replay: %+v, %v, %v", again, err, valid())
	}
	for name, o := range map[string]DeliverOptions{
		"unsigned":     {Unsigned: true},
		"forged":       {Signature: "sha256=" + strings.Repeat("0", 64)},
		"other secret": {Secret: "guessed"},
	} {
		if _, err := s.Deliver("push", object{}, o); err != nil || valid() == nil {
			t.Errorf("%s: %v, %v", name, err, valid())
		}
	}
	if r, _, _ := b.last(t); r.Header.Get("X-Github-Event") != "push" {
		t.Error("the event is missing")
	}
	if _, err := s.Deliver("push", json.RawMessage(`{}`), DeliverOptions{Header: map[string]string{"X-GitHub-Event": "", "X-GitHub-Hook-Installation-Target-ID": "1"}}); err != nil {
		t.Error(err)
	}
	if r, _, _ := b.last(t); r.Header.Get("X-Github-Event") != "" || r.Header.Get("X-Github-Hook-Installation-Target-Id") != "1" || valid() != nil {
		t.Errorf("headers of one's own: %v", r.Header)
	}
	if _, err := s.Deliver("push", func() {}, DeliverOptions{}); err == nil {
		t.Error("a payload that is none")
	}
}

// TestMissedDeliveries does what a bot does after it was down: look for deliveries that failed and ask for them again.
func TestMissedDeliveries(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	missed, err := s.Push(shopRepo, "main") // there is no hook yet
	if err != nil || missed.StatusCode != 0 || missed.Status != "failed to connect to host" {
		t.Errorf("a delivery to nowhere: %+v, %v", missed, err)
	}
	s.SetHook("http://127.0.0.1:1/")
	if d, err := s.Ping(); err != nil || d.Status != "failed to connect to host" {
		t.Errorf("a delivery to nobody: %+v, %v", d, err)
	}
	s.SetHook(b.url)
	b.answer = http.StatusInternalServerError
	if d, err := s.Ping(); err != nil || d.StatusCode != 500 || d.Status != "Invalid HTTP Response: 500" || d.Succeeded() {
		t.Errorf("a delivery that is refused: %+v, %v", d, err)
	}
	b.mu.Lock()
	b.answer = http.StatusAccepted
	b.mu.Unlock()
	if _, err := s.Ping(); err != nil {
		t.Fatal(err)
	}

	list := func(query string) (all []*github.HookDelivery, resp *github.Response) {
		t.Helper()
		r, err := s.app.NewRequest("GET", "app/hook/deliveries?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err = s.app.Do(t.Context(), r, &all); err != nil {
			t.Fatal(err)
		}
		return all, resp
	}
	if all, _ := list("status=success"); len(all) != 1 {
		t.Errorf("%d deliveries succeeded", len(all))
	}
	page, resp := list("status=failure&per_page=2")
	if len(page) != 2 || resp.Cursor == "" {
		t.Fatalf("the first page has %d, and then %q", len(page), resp.Cursor)
	}
	page, resp = list("status=failure&per_page=2&cursor=" + resp.Cursor)
	if len(page) != 1 || resp.Cursor != "" || page[0].GetGUID() != missed.GUID || page[0].GetEvent() != "push" || page[0].GetRepositoryID() == 0 {
		t.Fatalf("the last page is %v, and then %q", page, resp.Cursor)
	}
	whole, _, err := s.app.Apps.GetHookDelivery(t.Context(), page[0].GetID())
	if err != nil || whole.Request.Headers["X-Github-Delivery"] != missed.GUID || !strings.Contains(string(*whole.Request.RawPayload), s.sha) {
		t.Errorf("the delivery is %v, %v", whole, err)
	}
	before := b.count()
	if _, _, err := s.app.Apps.RedeliverHookDelivery(t.Context(), page[0].GetID()); err != nil {
		if _, accepted := err.(*github.AcceptedError); !accepted {
			t.Fatal(err)
		}
	}
	if err := s.Await(soon(t), func() bool { return len(s.Deliveries()) == 5 }); err != nil {
		t.Fatal(err)
	}
	r, body, _ := b.last(t)
	if b.count() != before+1 || r.Header.Get("X-Github-Delivery") != missed.GUID || !strings.Contains(string(body), s.sha) {
		t.Errorf("delivered again is %s: %.100s", r.Header.Get("X-Github-Delivery"), body)
	}
	if d := s.Deliveries()[4]; !d.Redelivery || !d.Succeeded() || d.GUID != missed.GUID || d.ID == missed.ID {
		t.Errorf("the delivery is %+v", d)
	}
	if _, _, err := s.app.Apps.GetHookDelivery(t.Context(), 1); status(err) != 404 {
		t.Errorf("a delivery that is not: %v", err)
	}
}

func TestHookConfig(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	if _, _, err := s.app.Apps.UpdateHookConfig(t.Context(), &github.HookConfig{URL: &b.url, Secret: str("new secret")}); err != nil {
		t.Fatal(err)
	}
	got, _, err := s.app.Apps.GetHookConfig(t.Context())
	if err != nil || got.GetURL() != b.url || strings.Contains(got.GetSecret(), "new") {
		t.Errorf("the configuration is %v, %v", got, err)
	}
	if _, err := s.Ping(); err != nil {
		t.Fatal(err)
	}
	r, body, _ := b.last(t)
	if err := github.ValidateSignature(r.Header.Get("X-Hub-Signature-256"), body, []byte("new secret")); err != nil {
		t.Error(err)
	}
}

func TestManifest(t *testing.T) {
	s := newShop(t, Options{})
	code := s.ManifestCode()
	anyone := s.client(nil)
	got, _, err := anyone.Apps.CompleteAppManifest(t.Context(), code)
	if err != nil || got.GetID() != 4711 || got.GetPEM() != string(s.PEM()) || got.GetWebhookSecret() != s.WebhookSecret() {
		t.Errorf("the app is %v, %v", got, err)
	}
	if _, _, err := anyone.Apps.CompleteAppManifest(t.Context(), code); status(err) != 404 {
		t.Errorf("the code twice: %v", err)
	}
}

// TestSilence checks that the app is told nothing of where it is not installed or is suspended.
func TestSilence(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	s.Suspend("octo", true)
	if d, err := s.Push(shopRepo, "main"); err != nil || d.GUID != "" {
		t.Errorf("a push while suspended: %+v, %v", d, err)
	}
	s.Suspend("octo", false)
	s.Uninstall("octo")
	s.commit("main", map[string]string{"x": "1"})
	if d, err := s.Push(shopRepo, "main"); err != nil || d.GUID != "" || b.count() != 0 {
		t.Errorf("a push after the app was removed: %+v, %v", d, err)
	}
}

func TestSlowBot(t *testing.T) {
	s := newShop(t, Options{HookTimeout: 30 * time.Millisecond})
	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	s.SetHook(slow.URL)
	if d, err := s.Ping(); err != nil || d.Status != "timed out" || d.StatusCode != 0 || d.Succeeded() {
		t.Errorf("a delivery to a slow bot: %+v, %v", d, err)
	}
}
