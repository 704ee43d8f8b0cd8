package main

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// TestRelyResyncRepairs has things go wrong behind a server's back: the webhook leads elsewhere, deliveries are missed, an installation is
// suspended and is not. The look that an administrator may ask for tells all of it, and gets back what was missed.
func TestRelyResyncRepairs(t *testing.T) {
	hub := githubtest.New(t, githubtest.Options{})
	d := newDesk(t, hub, "")
	hub.SetHook(d.web.URL + "/down")
	aDay(t, hub)
	if built := d.built(); len(built) != 0 {
		t.Fatalf("%q", built)
	}
	for range 3 { // what is asked for again and not delivered is fetched by the next look
		d.resync(t.Context())
		d.decide()
	}
	if built := d.built(); len(built) < 4 {
		t.Errorf("built %q", built)
	}
	f := d.forges()[0]
	if len(f.Problems) == 0 || !strings.Contains(f.Problems[0].Text, "GitHub delivers to "+d.web.URL+"/down") || f.Sweep.At.IsZero() {
		t.Errorf("%+v", f)
	}
	hub.SetHook(d.web.URL + "/webhook/github")
	hub.Suspend("octo", true)
	d.resync(t.Context())
	suspended := func() (got bool) {
		if err := d.store.View(func(tx *store.Tx) error {
			i, ok, err := tx.Installation(github.Name, d.hubNow().host, hub.Installation("octo"))
			got = ok && i.Suspended
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if !suspended() {
		t.Error("the server does not know that the installation is suspended")
	}
	hub.Suspend("octo", false)
	d.resync(t.Context())
	if suspended() {
		t.Error("the server does not know that it is suspended no longer")
	}
}

// TestAttackVersionDisclosure asks what answers without a token which version answers.
func TestAttackVersionDisclosure(t *testing.T) {
	d := newDesk(t, githubtest.New(t, githubtest.Options{}), "")
	for _, path := range []string{"/healthz", "/webhook/github", "/webhook/none", "/nothing"} {
		answer, err := http.Get(d.web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if path == "/healthz" && (answer.StatusCode != http.StatusOK || string(body) != "ok\n") {
			t.Errorf("%d %q", answer.StatusCode, body)
		}
		told := string(body)
		for name, values := range answer.Header {
			told += name + strings.Join(values, " ")
		}
		for _, word := range []string{version(), "Server", "X-Powered-By", "bbolt", "echo/", "go1."} {
			if word != "" && strings.Contains(strings.ToLower(told), strings.ToLower(word)) {
				t.Errorf("%s tells %q: %s", path, word, told)
			}
		}
	}
}

// TestAttackForgedSignature signs deliveries by what is nearly the secret, and by the secret with GitHub's older hash: none is stored.
func TestAttackForgedSignature(t *testing.T) {
	hub := githubtest.New(t, githubtest.Options{})
	d := newDesk(t, hub, "")
	hub.SetHook(d.web.URL + "/webhook/github")
	secret := hub.WebhookSecret()
	for name, o := range map[string]githubtest.DeliverOptions{
		"another": {Secret: "another"}, "its beginning": {Secret: secret[:len(secret)-1]}, "in capitals": {Secret: strings.ToUpper(secret)}, "with a line end": {Secret: secret + "\n"},
	} {
		got, err := hub.Deliver("ping", map[string]string{"zen": name}, o)
		if err != nil || got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %d %v", name, got.StatusCode, err)
		}
	}
	request, err := http.NewRequest(http.MethodPost, d.web.URL+"/webhook/github", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	old := hmac.New(sha1.New, []byte(secret))
	old.Write([]byte("{}"))
	for name, value := range map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "ping", "X-GitHub-Delivery": "1", "X-Hub-Signature": "sha1=" + hex.EncodeToString(old.Sum(nil))} {
		request.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized || d.intake.Accepted.Load() != 0 || d.intake.Unsigned.Load() != 5 {
		t.Errorf("the older hash: %d; %d deliveries were taken, %d refused", answer.StatusCode, d.intake.Accepted.Load(), d.intake.Unsigned.Load())
	}
}
