package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/labstack/echo/v4"
)

// A desk is the part of a server that hears of GitHub and decides. Its clock is an hour ahead of GitHub's, so that nothing
// there is new.
type desk struct {
	*server
	t   *testing.T
	hub *githubtest.Server
	web *httptest.Server
}

func newDesk(t *testing.T, hub *githubtest.Server, more string) *desk {
	t.Helper()
	dir := t.TempDir()
	d := &desk{server: &server{log: slog.New(slog.DiscardHandler)}, t: t, hub: hub}
	e := echo.New()
	e.GET("/healthz", d.healthz)
	d.web = httptest.NewServer(e)
	t.Cleanup(d.web.Close)
	for name, text := range map[string]string{"key": string(hub.PEM()), "secret": hub.WebhookSecret(), "config.yml": fmt.Sprintf(
		"data: %[1]s/data\nurl: %[2]s\ngithub:\n  app-id: %[3]d\n  url: %[4]s\n  private-key: {file: %[1]s/key}\n  webhook-secrets: [{file: %[1]s/secret}]\n%[5]s",
		dir, d.web.URL, hub.AppID(), hub.URL(), more)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if d.config, err = loadConfig(filepath.Join(dir, "config.yml")); err != nil {
		t.Fatal(err)
	}
	if d.store, err = store.Open(d.config.Data, store.Options{NoSync: true, Reserve: 1, Now: func() time.Time { return time.Now().Add(time.Hour) }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.store.Close() })
	h, err := openHub(d.config, d.log, d.refused)
	if err != nil {
		t.Fatal(err)
	}
	d.github.Store(h)
	d.intake = webhook.New(webhook.Config{Store: d.store, Sources: []webhook.Source{h.source()}, Projects: d.config.configured, Settings: d.config.settings(), Log: d.log})
	d.reporter = checks.New(checks.Config{Store: d.store, Log: d.log})
	d.intake.Register(e)
	return d
}

// decide has the server decide on all that it has.
func (d *desk) decide() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.intake.Run(ctx) })
	defer running.Wait()
	defer cancel()
	for range 2000 {
		pending := 0
		if err := d.store.View(func(tx *store.Tx) error { pending, _ = tx.Backlog(); return nil }); err != nil {
			d.t.Fatal(err)
		}
		if pending == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.t.Fatal("deliveries stay undecided")
}

// built are the builds by what they are of, oldest first.
func (d *desk) built() (list []string) {
	d.t.Helper()
	if err := d.store.View(func(tx *store.Tx) error {
		builds, err := tx.Builds("", 0, 100)
		for _, b := range builds {
			list = append(list, fmt.Sprintf("%s %s %s", b.Trigger.Event, b.Trigger.HeadRef, b.Trigger.Title))
		}
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	slices.Reverse(list)
	return list
}

// onceEach sorts builds and takes the cause from those of pull requests' branches: of a push and its pull request the one that comes
// first is built, and what is delivered again comes in any order.
func onceEach(list []string) []string {
	list = slices.Clone(list)
	for n, text := range list {
		if strings.Contains(text, "refs/heads/topic") {
			list[n] = "refs/heads/topic"
		}
	}
	slices.Sort(list)
	return list
}

// aDay is what happens at GitHub while a server is up or not.
func aDay(t *testing.T, hub *githubtest.Server) {
	t.Helper()
	if _, err := hub.AddRepo("octo/shop", githubtest.RepoOptions{}); err != nil {
		t.Fatal(err)
	}
	push := func(branch, message string) {
		t.Helper()
		if _, err := hub.Commit("octo/shop", branch, githubtest.Change{Message: message, Files: map[string]string{"buildspec.yml": "version: 0.2\n# " + message}}); err != nil {
			t.Fatal(err)
		}
		if _, err := hub.Push("octo/shop", branch); err != nil {
			t.Fatal(err)
		}
	}
	push("main", "first")
	push("main", "second")
	push("topic", "on a branch")
	if _, _, err := hub.OpenPullRequest("octo/shop", githubtest.PullRequest{User: "octo", Head: "topic", Base: "main", Title: "Topic"}); err != nil {
		t.Fatal(err)
	}
	push("main", "third")
	push("main", "left out [skip ci]")
}

// TestRelyServerWasDownCommitIsBuilt ends with the builds of one that was up, whether GitHub reaches it again, or never, or fetches were
// configured; and with each once.
func TestRelyServerWasDownCommitIsBuilt(t *testing.T) {
	up := newDesk(t, githubtest.New(t, githubtest.Options{}), "")
	up.hub.SetHook(up.web.URL + "/webhook/github")
	aDay(t, up.hub)
	up.decide()
	want := up.built()
	if len(want) < 4 {
		t.Fatalf("%q", want)
	}
	for name, tt := range map[string]struct {
		more string
		back bool
	}{
		"back": {"", true}, "never reached": {"", false}, "fetching": {"  deliveries: poll\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, githubtest.New(t, githubtest.Options{}), tt.more)
			d.hub.SetHook(d.web.URL + "/down")
			aDay(t, d.hub)
			if tt.back {
				d.hub.SetHook(d.web.URL + "/webhook/github")
			}
			attempts := func() int { return len(d.hub.Deliveries()) }
			for range 3 {
				before := attempts()
				swept := d.intake.SweepNow(t.Context(), github.Name)
				if swept.Err != nil {
					t.Fatal(swept.Err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				for attempts() < before+swept.Asked && ctx.Err() == nil {
					time.Sleep(5 * time.Millisecond)
				}
				cancel()
				d.decide()
			}
			got, all := onceEach(d.built()), onceEach(want)
			if !slices.Equal(got, all) {
				t.Errorf("%q, want %q", got, all)
			}
			if swept := d.intake.SweepNow(t.Context(), github.Name); swept.Missed != 0 {
				t.Errorf("still missed: %+v", swept)
			}
			if fetched := d.intake.Fetched.Load() > 0; fetched == tt.back {
				t.Errorf("fetched: %v", fetched)
			}
		})
	}
}

// TestRelyMissingPermissionIsShown is how pages show the App, from what GitHub tells.
func TestRelyMissingPermissionIsShown(t *testing.T) {
	hub := githubtest.New(t, githubtest.Options{})
	d := newDesk(t, hub, "")
	hub.SetHook(d.web.URL + "/webhook/github")
	aDay(t, hub)
	if _, err := hub.Ping(); err != nil {
		t.Fatal(err)
	}
	d.decide()
	d.resync(t.Context())
	f := d.forges()[0]
	if f.AppID != hub.AppID() || f.App != "buildsmith" || f.Deliveries != byWebhook || f.HookURL != d.web.URL+"/webhook/github" || f.LastPing.IsZero() ||
		f.Sweep.At.IsZero() || f.Sweep.Error != "" || !strings.HasPrefix(f.Secret, "in use, last ") || f.Install != hub.URL()+"/github-apps/buildsmith/installations/new" {
		t.Errorf("%+v", f)
	}
	for _, p := range f.Problems {
		if !p.Note {
			t.Errorf("%s", p.Text)
		}
	}
	if len(f.Installations) != 1 || f.Installations[0].Account != "octo" || f.Installations[0].LastDelivery.IsZero() || f.Installations[0].Bad() || f.Installations[0].Remaining == nil {
		t.Errorf("%+v", f.Installations)
	}
	has := func(part string) {
		t.Helper()
		d.resync(t.Context())
		f := d.forges()[0]
		texts := f.Sweep.Error + f.Secret
		for _, p := range f.Problems {
			texts += p.Text + "\n"
		}
		for _, i := range f.Installations {
			for _, p := range i.Problems {
				texts += p.Text + "\n"
			}
			texts += i.LastError + fmt.Sprint(i.Removed)
		}
		if !strings.Contains(texts, part) {
			t.Errorf("%s: not in %s", part, texts)
		}
	}
	hub.SetHook("https://old.example.org/webhook/github")
	has("GitHub delivers to https://old.example.org/webhook/github, and this server is at " + d.web.URL + "/webhook/github; change")
	hub.SetHook("")
	has("GitHub delivers to nothing, and")
	hub.Suspend("octo", true)
	has("suspended: GitHub tells nothing of it and takes nothing for it")
	id := hub.Installation("octo")
	if _, err := d.hubNow().app.FileID(t.Context(), store.Repo{Name: "octo/shop", Installation: id, ID: "1"}, "main", "x"); err == nil {
		t.Log("a token that was made before serves on")
	}
	d.refused(github.Name, d.hubNow().host, id, "POST /x: status 403")
	has("POST /x: status 403")
	hub.Uninstall("octo")
	has("true")
	if err := hub.Inject(githubtest.Fault{Path: "/app$", Times: -1, Status: 500}); err != nil {
		t.Fatal(err)
	}
	has("GitHub could not be asked: asking GitHub for the App: ")
	hub.ClearFaults()
	if err := hub.Inject(githubtest.Fault{Path: "/app$", Status: 401, Header: map[string]string{"Date": time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}); err != nil {
		t.Fatal(err)
	}
	if err := d.hubNow().refresh(t.Context(), d.server); err == nil || !strings.Contains(err.Error(), "this machine's clock is 1h0m") {
		t.Error(err)
	}
}

// TestSecretInUse says which of several secrets signs.
func TestSecretInUse(t *testing.T) {
	hub := githubtest.New(t, githubtest.Options{})
	d := newDesk(t, hub, "")
	d.hubNow().secrets = []string{"the new secret", hub.WebhookSecret()}
	h := d.hubNow()
	if got := h.secretInUse(store.HookState{}); got != "no delivery has been signed yet" {
		t.Error(got)
	}
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	if got := h.secretInUse(store.HookState{Secret: 1, Used: at}); !strings.HasPrefix(got, "number 2 of 2 signed the last delivery, 2026-05-01 12:00 UTC") {
		t.Error(got)
	}
	h.deliveries, h.secrets = byPoll, nil
	if got := h.secretInUse(store.HookState{}); got != "" {
		t.Error(got)
	}
}

// TestStoredApp keeps an App, whole or not at all.
func TestStoredApp(t *testing.T) {
	data := t.TempDir()
	if a, err := loadApp(data); a != nil || err != nil {
		t.Errorf("%+v %v", a, err)
	}
	if h, err := openHub(&Config{Data: data}, nil, nil); h != nil || err != nil {
		t.Errorf("%+v %v", h, err)
	}
	a := &storedApp{AppID: 7, Slug: "shop", Name: "Shop", URL: "https://github.com", Deliveries: byPoll, Created: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	for range 2 {
		if err := saveApp(data, a, appSecrets{key: "KEY\nof lines", webhook: []string{"new", "old"}, client: "client"}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadApp(data)
	if err != nil || *got != *a {
		t.Errorf("%+v %v", got, err)
	}
	secrets, err := loadAppSecrets(data)
	if err != nil || secrets.key != "KEY\nof lines" || !slices.Equal(secrets.webhook, []string{"new", "old"}) || secrets.client != "client" {
		t.Errorf("%+v %v", secrets, err)
	}
	entries, err := os.ReadDir(appDir(data))
	if err != nil || len(entries) != 4 {
		t.Errorf("%v %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
	}
	if err := os.Remove(filepath.Join(appDir(data), "app.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := openHub(&Config{Data: data}, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "the stored App: open ") {
		t.Error(err)
	}
	file := filepath.Join(appDir(data), "app.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadApp(data); err == nil || err.Error() != "the stored App: "+file+" is damaged; restore it, or remove the directory to set up another" {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(data, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := saveApp(filepath.Join(data, "file"), a, appSecrets{}); err == nil || !strings.HasPrefix(err.Error(), "storing the App: ") {
		t.Error(err)
	}
}

// TestUnreachable guesses whether GitHub reaches an address.
func TestUnreachable(t *testing.T) {
	for address, want := range map[string]bool{
		"https://ci.example.org": false, "https://203.0.113.7": false, "http://ci.example.org": true, "https://localhost:8080": true,
		"https://10.1.2.3": true, "https://192.168.0.2:8443": true, "https://[::1]": true, "https://ci": true, "https://ci.local": true, "::": true,
	} {
		if got := unreachable(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// TestDoctorOfForge has GitHub looked at as it is well and as it is not.
func TestDoctorOfForge(t *testing.T) {
	look := func(t *testing.T, options githubtest.Options, more string, change func(*desk)) string {
		t.Helper()
		hub := githubtest.New(t, options)
		d := newDesk(t, hub, more)
		hub.SetHook(d.web.URL + "/webhook/github")
		if _, err := hub.AddRepo("octo/shop", githubtest.RepoOptions{}); err != nil {
			t.Fatal(err)
		}
		change(d)
		var out bytes.Buffer
		doc := &doctor{out: &out}
		doc.forges(t.Context(), d.config)
		if wrong := strings.Count("\n"+out.String(), "\nwrong"); doc.wrong != wrong {
			t.Errorf("%d wrong, %d said", doc.wrong, wrong)
		}
		return out.String()
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]string{}
	for _, n := range github.Needs {
		all[n.Name] = n.Level
	}
	for name, tt := range map[string]struct {
		options githubtest.Options
		more    string
		change  func(*desk)
		want    []string
		not     string
	}{
		"well": {githubtest.Options{Permissions: all}, "", func(d *desk) { _, err := d.hub.Ping(); must(err) }, []string{
			"ok     github         App buildsmith (4711) of octo-apps at 127.0.0.1:",
			"ok     clock          this machine's clock agrees with GitHub's\n",
			"ok     webhook        GitHub delivers to http://127.0.0.1:",
			"ok     deliveries     the last, of 2",
			"ok     address        http://127.0.0.1:",
			" octo: ",
		}, "wrong"},
		"poll": {githubtest.Options{}, "  deliveries: poll\n", func(d *desk) { d.hub.SetHook(github.NoHook); _, err := d.hub.Ping(); must(err) }, []string{
			"ok     webhook        none is needed: deliveries are fetched every 10s\n", "ok     deliveries     GitHub's log of them can be read; the last is of 2"}, "wrong"},
		"elsewhere": {githubtest.Options{}, "", func(d *desk) { d.hub.SetHook("https://old.example.org/webhook/github") }, []string{
			"wrong  webhook        GitHub delivers to https://old.example.org/webhook/github, and this server is at http://127.0.0.1:",
			"note   deliveries     GitHub had nothing to deliver within a day\n"}, "ok     webhook"},
		"no secret": {githubtest.Options{}, "", func(d *desk) { must(d.hubNow().app.SetHookSecret(t.Context(), "")) }, []string{
			"wrong  webhook        the webhook has no secret at GitHub, and what is not signed is not taken; set it in the App's settings\n"}, "ok     webhook"},
		"not taken": {githubtest.Options{}, "", func(d *desk) { d.hub.SetHook(d.web.URL + "/webhook/other"); _, err := d.hub.Ping(); must(err) }, []string{
			"wrong  deliveries     the last, ping of 2"}, "ok     deliveries"},
		"permissions": {githubtest.Options{Permissions: map[string]string{"metadata": "read", "contents": "read", "checks": "read", "pull_requests": "write"}}, "", func(d *desk) {}, []string{
			"wrong  app            permission checks: write is needed, read is granted; without it no check can be made\n",
			"note   app            permission issues: read is needed, not granted; without it commands in comments are not heard\n",
			"wrong  installation   octo: permission checks: write is needed, read is granted; without it no check can be made\n",
		}, "nothing is missing"},
		"suspended": {githubtest.Options{}, "", func(d *desk) { d.hub.Suspend("octo", true) }, []string{
			"wrong  installation   octo: suspended: GitHub tells nothing of it and takes nothing for it; whoever suspended it"}, "nothing is missing"},
		"nowhere": {githubtest.Options{}, "", func(d *desk) { d.hub.Uninstall("octo") }, []string{
			"note   installations  the App is installed nowhere; install it at http://127.0.0.1:"}, "wrong"},
		"another key": {githubtest.Options{}, "", func(d *desk) {
			must(d.hub.Inject(githubtest.Fault{Path: "/app$", Status: 401, Body: `{"message":"A JSON web token could not be decoded"}`,
				Header: map[string]string{"Date": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}))
		}, []string{
			"wrong  github         asking GitHub for the App: ", "A JSON web token could not be decoded",
			"wrong  clock          this machine's clock is 1h0m0s behind GitHub's, which refuses the App for that; set the clock, best by NTP\n"}, "installation"},
		"log refused": {githubtest.Options{}, "", func(d *desk) { must(d.hub.Inject(githubtest.Fault{Path: "/deliveries", Status: 500})) }, []string{
			"wrong  deliveries     asking GitHub what it delivered: "}, "ok     deliveries"},
		"list refused": {githubtest.Options{}, "", func(d *desk) { must(d.hub.Inject(githubtest.Fault{Path: "/app/installations", Status: 500})) }, []string{
			"wrong  installations  asking GitHub for the installations: "}, "ok     installation"},
		"hook refused": {githubtest.Options{}, "", func(d *desk) { must(d.hub.Inject(githubtest.Fault{Path: "/app/hook/config", Status: 500})) }, []string{
			"wrong  webhook        asking GitHub for the webhook: "}, "ok     webhook"},
		"down here": {githubtest.Options{}, "", func(d *desk) { d.web.Close() }, []string{
			"note   address        http://127.0.0.1:"}, "ok     address"},
		"down": {githubtest.Options{}, "", func(d *desk) { d.config.URL = "https://ci.invalid" }, []string{
			"wrong  address        https://ci.invalid does not answer, asked from here: "}, "ok     address"},
		"something else": {githubtest.Options{}, "", func(d *desk) { d.config.URL = d.web.URL + "/other" }, []string{
			"something else answers there: status 404\n"}, "ok     address"},
		"no key": {githubtest.Options{}, "", func(d *desk) { d.config.GitHub.PrivateKey.File += ".gone" }, []string{
			"wrong  github         github.private-key: "}, "ok"},
		"none": {githubtest.Options{}, "", func(d *desk) { d.config.GitHub = nil }, []string{
			"note   github         there is no App; buildsmith serve prints an address at which one is set up\n"}, "wrong"},
		"stored": {githubtest.Options{}, "", func(d *desk) {
			d.config.GitHub = nil
			must(saveApp(d.config.Data, &storedApp{AppID: d.hub.AppID(), Slug: "x", URL: d.hub.URL(), Deliveries: byPoll}, appSecrets{key: string(d.hub.PEM()), webhook: []string{"x"}, client: "x"}))
		}, []string{"ok     github         App buildsmith (4711) of octo-apps at 127.0.0.1:", "ok     webhook        none is needed"}, "wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			out := look(t, tt.options, tt.more, tt.change)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%s\nwant %s", out, want)
				}
			}
			if strings.Contains(out, tt.not) && tt.not != "" {
				t.Errorf("%s\nhas %s", out, tt.not)
			}
		})
	}
}

// TestDoctorOfEngine warns of an old one.
func TestDoctorOfEngine(t *testing.T) {
	for version, want := range map[string]string{
		"20.10.24+dfsg1": "note   docker         engine 20.10.24+dfsg1 is older than 29.5.1, which closes CVE-2026-41567: do not run docker cp on containers of builds; this server never does\n",
		"29.5.1":         "",
	} {
		var out bytes.Buffer
		(&doctor{out: &out}).engineVersion(version)
		if out.String() != want {
			t.Errorf("%s: %s", version, out.String())
		}
	}
}
