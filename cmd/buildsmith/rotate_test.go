package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// TestRotatedSecret gives a webhook a new secret, takes the former ones for a while, and forgets them.
func TestRotatedSecret(t *testing.T) {
	hub := githubtest.New(t, githubtest.Options{})
	d := newDesk(t, hub, "")
	d.setup = newSetup(d.server)
	if err := d.rotateSecret(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "the webhook's secrets are those of the configuration; list a new one first") {
		t.Error(err)
	}
	d.config.GitHub = nil
	first := hub.WebhookSecret()
	if err := saveApp(d.config.Data, &storedApp{AppID: hub.AppID(), Slug: "x", URL: hub.URL(), Deliveries: byWebhook}, appSecrets{key: string(hub.PEM()), webhook: []string{first}, client: "x"}); err != nil {
		t.Fatal(err)
	}
	h, err := openHub(d.config, d.log, d.refused)
	if err != nil {
		t.Fatal(err)
	}
	d.github.Store(h)
	d.intake.AddSource(h.source())
	hub.SetHook(d.web.URL + "/webhook/github")
	ping := func(secret string, want int) {
		t.Helper()
		got, err := hub.Deliver("ping", map[string]string{"zen": secret}, githubtest.DeliverOptions{Secret: secret})
		if err != nil || got.StatusCode != want {
			t.Errorf("%s: %d %v", secret, got.StatusCode, err)
		}
	}
	stored := func() int {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(appDir(d.config.Data), "webhook.secret"))
		if err != nil {
			t.Fatal(err)
		}
		return len(strings.Fields(string(text)))
	}
	ping(first, http.StatusAccepted)
	if err := d.rotateSecret(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := hub.WebhookSecret()
	if second == first || len(second) != 64 || stored() != 2 {
		t.Errorf("%q after %q, %d stored", second, first, stored())
	}
	ping(first, http.StatusAccepted)
	ping(second, http.StatusAccepted)
	ping("another", http.StatusUnauthorized)
	if got := d.forges()[0].Secret; !strings.HasPrefix(got, "number 1 of 2 signed the last delivery, ") || !strings.HasSuffix(got, "since the start they signed 1, 1") {
		t.Error(got)
	}

	// One that GitHub does not take changes nothing of what is good.
	if err := hub.Inject(githubtest.Fault{Method: http.MethodPatch, Path: "/app/hook/config", Status: http.StatusInternalServerError}); err != nil {
		t.Fatal(err)
	}
	if err := d.rotateSecret(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "the former secret stays in use: giving GitHub the webhook's secret: ") {
		t.Error(err)
	}
	ping(second, http.StatusAccepted)

	// They are forgotten when the newest is in use and they have been silent for a week.
	if err := d.hubNow().refresh(t.Context(), d.server); err != nil {
		t.Fatal(err)
	}
	if stored() != 3 {
		t.Errorf("%d stored", stored())
	}
	if err := d.rotateSecret(t.Context()); err != nil {
		t.Fatal(err)
	}
	ping(hub.WebhookSecret(), http.StatusAccepted)
	a, err := loadApp(d.config.Data)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := loadAppSecrets(d.config.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rotated, former time.Duration
		want            int
	}{{time.Hour, silence * 2, 4}, {silence + time.Hour, time.Hour, 4}, {silence + time.Hour, silence + time.Hour, 1}} {
		a.Rotated = d.store.Now().Add(-tt.rotated)
		if err := saveApp(d.config.Data, a, secrets); err != nil {
			t.Fatal(err)
		}
		if err := d.store.Update(func(tx *store.Tx) error {
			return tx.ChangeHook(github.Name, d.hubNow().host, func(state *store.HookState) {
				state.Secret, state.Used, state.Former = 0, d.store.Now(), d.store.Now().Add(-tt.former)
			})
		}); err != nil {
			t.Fatal(err)
		}
		if err := d.forgetSecrets(); err != nil || stored() != tt.want {
			t.Errorf("%v, %v: %d stored, want %d: %v", tt.rotated, tt.former, stored(), tt.want, err)
		}
	}
	ping(first, http.StatusUnauthorized)
	ping(hub.WebhookSecret(), http.StatusAccepted)
}
