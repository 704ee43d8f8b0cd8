package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/checks/github/githubtest"
	"buildsmith/checks/web"
	"buildsmith/runner/runnertest"

	"github.com/chromedp/chromedp"
)

// A stand is a server that nothing is configured of, and a GitHub beside it.
type stand struct {
	t      *testing.T
	hub    *githubtest.Server
	bin    string
	data   string
	config string
	url    string
	server *process
}

func newStand(t *testing.T, o githubtest.Options, more string) *stand {
	t.Helper()
	runnertest.NeedDocker(t, runnertest.DebianImage)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{t: t, hub: githubtest.New(t, o), bin: buildPrograms(t), data: t.TempDir(), url: "http://127.0.0.1:" + port, config: filepath.Join(t.TempDir(), "config.yml")}
	if err := os.WriteFile(s.config, fmt.Appendf(nil, "listen: 127.0.0.1:%s\ndata: %s\nwarm: 0\nbuilds: {image: %s}\n%s", port, s.data, runnertest.DebianImage, more), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() {
		s.server.end(syscall.SIGTERM)
		removeContainers(s.data)
		if strings.Contains(s.server.output.String(), "DATA RACE") || t.Failed() {
			t.Logf("[server]\n%s", s.server.output)
		}
	})
	return s
}

func (s *stand) start() {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, "buildsmith"), "serve", "--config", s.config)
	cmd.Env = append(os.Environ(), "BUILDSMITH_AGENT="+filepath.Join(s.bin, "buildsmith-static"), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	var err error
	if s.server, err = startProcess(cmd); err != nil {
		s.t.Fatal(err)
	}
	s.soon("the server does not answer", func() bool {
		answer, err := http.Get(s.url + "/healthz")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && strings.Contains(s.server.output.String(), "msg=serving")
	})
}

func (s *stand) soon(what string, holds func() bool) {
	s.t.Helper()
	for limit := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) || !s.server.alive() {
			s.t.Fatalf("%s\n%s", what, s.server.output)
		}
	}
}

var printed = regexp.MustCompile(`(?m)^To build what is at GitHub, open (\S+)$`)

// address is what the server printed for set-up.
func (s *stand) address() string {
	s.t.Helper()
	m := printed.FindStringSubmatch(s.server.output.String())
	if m == nil {
		s.t.Fatalf("no address was printed:\n%s", s.server.output)
	}
	if strings.Count(s.server.output.String(), m[1]) != 1 {
		s.t.Error("the address is in the log as well, which others may read")
	}
	return m[1]
}

// A visitor is a browser without a screen.
type visitor struct {
	*stand
	client http.Client
}

func (s *stand) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{s, http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// do gives the status of an answer, where it leads, and its text.
func (v *visitor) do(answer *http.Response, err error) (int, string, string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header.Get("Location"), string(text)
}

func (v *visitor) get(address string) (int, string, string) {
	v.t.Helper()
	return v.do(v.client.Get(address))
}

func (v *visitor) post(address string, form url.Values) (int, string, string) {
	v.t.Helper()
	return v.do(v.client.PostForm(address, form))
}

var (
	csrfField     = regexp.MustCompile(`name="csrf" value="([^"]+)"`)
	manifestField = regexp.MustCompile(`action="([^"]+)"><input type="hidden" name="manifest" value="([^"]*)"`)
)

// begin goes from the printed address to the page that leads to GitHub, and gives the state of the try.
func (v *visitor) begin(more url.Values) (action, manifest, state string) {
	v.t.Helper()
	status, _, page := v.get(v.url + "/setup")
	csrf := csrfField.FindStringSubmatch(page)
	if status != http.StatusOK || csrf == nil {
		v.t.Fatalf("%d %s", status, page)
	}
	form := url.Values{"csrf": {csrf[1]}, "owner": {"person"}, "deliveries": {"poll"}, "name": {"shop-builder"}, "url": {v.hub.URL()}}
	for key, list := range more {
		form[key] = list
	}
	status, _, page = v.post(v.url+"/setup", form)
	m := manifestField.FindStringSubmatch(page)
	if status != http.StatusOK || m == nil {
		v.t.Fatalf("%d %s", status, page)
	}
	unescape := strings.NewReplacer("&amp;", "&", "&#34;", `"`, "&#43;", "+")
	parsed, err := url.Parse(unescape.Replace(m[1]))
	if err != nil {
		v.t.Fatal(err)
	}
	return parsed.String(), unescape.Replace(m[2]), parsed.Query().Get("state")
}

// api gives what an address of the API answers.
func (s *stand) api(method, path string, v any) {
	s.t.Helper()
	c := &client{server: s.url, data: s.data}
	if err := c.do(s.t.Context(), method, path, nil, v); err != nil {
		s.t.Fatal(err)
	}
}

// TestSetUp has nothing configured, and clicks: the printed address, go on, create, install. Then a push gets its green check.
func TestSetUp(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		runnertest.Missing(t, "Chromium")
	}
	s := newStand(t, githubtest.Options{}, "")
	s.hub.WithoutSecret()
	if _, err := s.hub.AddRepo("octo/shop", githubtest.RepoOptions{Private: true, NotInstalled: true}); err != nil {
		t.Fatal(err)
	}
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900))...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithErrorf(t.Logf))
	defer cancel()
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as the first context it is used with
		t.Fatal(err)
	}
	do := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		timed, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := chromedp.Do(timed, actions...); err != nil {
			t.Fatal(err)
		}
	}
	where := func() string {
		t.Helper()
		at, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href"))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	wait := func(ending string) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); !strings.Contains(where(), ending); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(limit) {
				text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
				t.Fatalf("the browser is at %s, not at %s:\n%s", where(), ending, text)
			}
		}
	}
	picture := func(name string) { picture(t, ctx, name) }
	do(chromedp.Navigate(s.address()))
	if at := where(); at != s.url+"/setup" {
		t.Errorf("the token stays in the address: %s", at)
	}
	picture("setup")
	do(chromedp.SetValue("#url", s.hub.URL()), chromedp.Click("button.main"), chromedp.WaitVisible("input[name=manifest] + button"))
	picture("manifest")
	do(chromedp.Click("input[name=manifest] + button"))
	wait("/settings/apps/new")
	do(chromedp.Click("#go"))
	wait("/installations/new")
	do(chromedp.Click("#go"))
	wait("/setup/github/installed")
	picture("installed")
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.querySelector('h1').innerText"))
	if err != nil || text != "Installed for octo" {
		t.Errorf("%q %v", text, err)
	}

	sha, err := s.hub.Commit("octo/shop", "main", githubtest.Change{Message: "Begin", Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [echo hello]}}\n"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.hub.Push("octo/shop", "main"); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run, err := s.hub.AwaitCheckRun(waiting, "octo/shop", sha, "buildsmith", githubtest.Completed)
	if err != nil || run.Conclusion != "success" {
		t.Fatalf("%+v %v", run, err)
	}
	if hook := s.hub.HookURL(); hook != "https://buildsmith.invalid/webhook/github" {
		t.Errorf("deliveries go to %s", hook)
	}
	if s.hub.WebhookSecret() == "" {
		t.Error("the webhook has no secret")
	}

	var forges []web.Forge
	s.api(http.MethodPost, "/api/forges/resync", &forges)
	if len(forges) != 1 || len(forges[0].Installations) != 1 || forges[0].Deliveries != "poll" || forges[0].Sweep.Error != "" || forges[0].Installations[0].LastDelivery.IsZero() {
		t.Errorf("%+v", forges)
	}
	token, err := os.ReadFile(filepath.Join(s.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	do(chromedp.Navigate(s.url+"/login?return_to=/forges"), chromedp.SetValue("#token", strings.TrimSpace(string(token))), chromedp.Click("button.main"))
	do(chromedp.WaitVisible("main.forges .installations"))
	picture("forges")

	s.secretsStayHidden(s.url+"/forges", s.url+"/setup", s.url+"/setup/github/callback")
	// Another start uses the App, and has nothing to set up.
	s.server.end(syscall.SIGTERM)
	s.start()
	if strings.Contains(s.server.output.String(), "/setup?token") {
		t.Errorf("a second set-up is offered:\n%s", s.server.output)
	}
	sha, err = s.hub.Commit("octo/shop", "main", githubtest.Change{Message: "Go on"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.hub.Push("octo/shop", "main"); err != nil {
		t.Fatal(err)
	}
	waiting, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if run, err := s.hub.AwaitCheckRun(waiting, "octo/shop", sha, "buildsmith", githubtest.Completed); err != nil || run.Conclusion != "success" {
		t.Fatalf("%+v %v", run, err)
	}
}

// picture makes a picture of the page in the directory BUILDSMITH_SCREENSHOTS, for people to look at.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("BUILDSMITH_SCREENSHOTS")
	if dir == "" {
		return
	}
	image, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), image, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secretsStayHidden looks for the App's secrets in pages and the log, and at who may read their files.
func (s *stand) secretsStayHidden(pages ...string) {
	s.t.Helper()
	dir := filepath.Join(s.data, "github")
	var secrets []string
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			s.t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		text, _ := os.ReadFile(path)
		switch e.Name() {
		case "app.pem":
			secrets = append(secrets, strings.Split(string(text), "\n")[3])
		case "webhook.secret", "client.secret":
			secrets = append(secrets, strings.TrimSpace(string(text)))
		case "app.json":
			if strings.Contains(string(text), "secret") || strings.Contains(string(text), "PRIVATE") {
				s.t.Errorf("app.json holds a secret: %s", text)
			}
		}
		return nil
	}); err != nil || len(secrets) != 3 {
		s.t.Fatalf("%d secrets: %v", len(secrets), err)
	}
	seen := s.server.output.String()
	token, err := os.ReadFile(filepath.Join(s.data, "admin.token"))
	if err != nil {
		s.t.Fatal(err)
	}
	v := s.visitor()
	v.post(s.url+"/login", url.Values{"token": {strings.TrimSpace(string(token))}})
	for _, page := range pages {
		_, _, text := v.get(page)
		seen += text
	}
	for _, secret := range secrets {
		if len(secret) < 20 || strings.Contains(seen, secret) {
			s.t.Errorf("a secret is seen: %q", secret)
		}
	}
}

// TestSetUpAttacks tries what somebody else could try while an App is set up, and after.
func TestSetUpAttacks(t *testing.T) {
	s := newStand(t, githubtest.Options{}, "")
	v, other := s.visitor(), s.visitor()
	refused := func(what string, status int, text string, want int, part string) {
		t.Helper()
		if status != want || !strings.Contains(text, part) {
			t.Errorf("%s: %d, want %d and %q:\n%s", what, status, want, part, text)
		}
	}
	status, to, _ := other.get(s.url + "/setup")
	if status != http.StatusSeeOther || to != "/login?return_to=%2Fsetup" {
		t.Errorf("without a token: %d %s", status, to)
	}
	status, _, text := other.get(s.url + "/setup?token=" + strings.Repeat("0", 32))
	refused("a guessed token", status, text, http.StatusForbidden, "This link cannot set up anything")
	status, _, text = other.post(s.url+"/setup", url.Values{"name": {"x"}, "url": {s.hub.URL()}})
	refused("a form without a cookie", status, text, http.StatusForbidden, "Nothing was done")
	address := s.address()
	if answer, err := other.client.Head(address); err != nil || answer.StatusCode != http.StatusOK || len(answer.Cookies()) > 0 {
		t.Errorf("a look at the address: %v %v", answer, err)
	}
	if status, to, _ = v.get(address); status != http.StatusSeeOther || to != "/setup" {
		t.Fatalf("the printed address: %d %s", status, to)
	}
	status, _, text = other.get(address)
	refused("the token again", status, text, http.StatusForbidden, "It was used before")
	for range 10 {
		status, _, text = other.get(s.url + "/setup?token=x")
	}
	refused("many tokens", status, text, http.StatusTooManyRequests, "Too many tries")

	status, _, page := v.get(s.url + "/setup")
	csrf := csrfField.FindStringSubmatch(page)[1]
	for name, tt := range map[string]struct {
		form url.Values
		want string
	}{
		"no name":            {url.Values{"name": {" "}}, "The name has 1 to 34 letters"},
		"a name with markup": {url.Values{"name": {"<b>x</b>"}}, "The name has 1 to 34 letters"},
		"no organisation":    {url.Values{"owner": {"organization"}}, "Name the organisation."},
		"a path":             {url.Values{"owner": {"organization"}, "organization": {"a/../b"}}, "That is no name of an organisation"},
		"no address":         {url.Values{"url": {"javascript:alert(1)"}}, "GitHub’s address is https:// and a host"},
		"a person in it":     {url.Values{"url": {"https://a@b"}}, "GitHub’s address is https:// and a host"},
		"without TLS":        {url.Values{"url": {"http://github.example.org"}}, "GitHub’s address begins with https://"},
		"a hook at home":     {url.Values{"deliveries": {"webhook"}}, "GitHub takes no address such as " + s.url},
	} {
		form := url.Values{"csrf": {csrf}, "name": {"x"}, "url": {s.hub.URL()}, "deliveries": {"poll"}}
		for key, list := range tt.form {
			form[key] = list
		}
		status, _, text := v.post(s.url+"/setup", form)
		refused(name, status, text, http.StatusBadRequest, tt.want)
	}
	status, _, text = v.post(s.url+"/setup", url.Values{"csrf": {"x"}, "name": {"x"}, "url": {s.hub.URL()}})
	refused("a forged form", status, text, http.StatusForbidden, "Nothing was done")

	action, manifest, state := v.begin(nil)
	if want := s.hub.URL() + "/settings/apps/new?state=" + state; action != want || len(state) != 64 {
		t.Errorf("%s, want %s", action, want)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(manifest), &m); err != nil || m["public"] != false || m["name"] != "shop-builder" {
		t.Errorf("%s: %v", manifest, err)
	}
	if action, _, _ := v.begin(url.Values{"owner": {"organization"}, "organization": {"acme"}}); !strings.HasPrefix(action, s.hub.URL()+"/organizations/acme/settings/apps/new?state=") {
		t.Error(action)
	}
	callback := func(v *visitor, state, code string) (int, string, string) {
		return v.get(s.url + "/setup/github/callback?" + url.Values{"state": {state}, "code": {code}}.Encode())
	}
	code := s.hub.ManifestCode()
	for what, try := range map[string]func() (int, string, string){
		"a forged state":  func() (int, string, string) { return callback(v, strings.Repeat("a", 64), code) },
		"no state":        func() (int, string, string) { return callback(v, "", code) },
		"another browser": func() (int, string, string) { return callback(other, state, code) },
	} {
		status, _, text := try()
		refused(what, status, text, http.StatusForbidden, "Nothing was set up")
	}
	status, _, text = callback(v, state, "../installations")
	refused("a code that is a path", status, text, http.StatusBadGateway, "this is no code of GitHub")
	status, _, text = callback(v, state, code)
	refused("a state again", status, text, http.StatusForbidden, "Nothing was set up")
	_, _, state = v.begin(nil)
	status, _, text = callback(v, state, strings.Repeat("b", 40))
	refused("a code of nobody", status, text, http.StatusBadGateway, "GitHub does not know the code")
	s.hub.TakeViolations()
	if _, err := os.Stat(filepath.Join(s.data, "github", "app.json")); err == nil {
		t.Fatal("an App was stored")
	}
	_, _, state = v.begin(nil)
	_, _, second := v.begin(nil)
	status, to, text = callback(v, state, code)
	if want := s.hub.URL() + "/github-apps/buildsmith/installations/new"; status != http.StatusSeeOther || to != want {
		t.Fatalf("%d %q, want %s\n%s", status, to, want, text)
	}

	// Nobody can set up another.
	before, err := os.ReadFile(filepath.Join(s.data, "github", "app.json"))
	if err != nil {
		t.Fatal(err)
	}
	status, _, text = callback(v, second, s.hub.ManifestCode())
	refused("a second App", status, text, http.StatusNotFound, "Set-up is over")
	status, _, text = v.get(s.url + "/setup")
	refused("the page after", status, text, http.StatusNotFound, "Set-up is over")
	status, _, text = v.get(address)
	refused("the address after", status, text, http.StatusNotFound, "Set-up is over")
	status, _, text = v.post(s.url+"/setup", url.Values{"csrf": {csrf}, "name": {"x"}, "url": {s.hub.URL()}})
	refused("the form after", status, text, http.StatusNotFound, "Set-up is over")
	if after, err := os.ReadFile(filepath.Join(s.data, "github", "app.json")); err != nil || string(after) != string(before) {
		t.Errorf("%s %v", after, err)
	}

	// An installation that anybody names is looked at for nobody but whoever set up, and GitHub is asked.
	asked := func() (n int) {
		for _, r := range s.hub.Requests() {
			if r.Operation == "/app/installations/{installation_id}" {
				n++
			}
		}
		return n
	}
	status, _, text = other.get(s.url + "/setup/github/installed?installation_id=50000001")
	refused("an installation that a stranger names", status, text, http.StatusOK, "Thank you")
	if n := asked(); n != 0 {
		t.Errorf("GitHub was asked %d times", n)
	}
	status, _, text = v.get(s.url + "/setup/github/installed?installation_id=99")
	refused("an installation of nobody", status, text, http.StatusNotFound, "There is no such installation")
	if n := asked(); n != 1 {
		t.Errorf("GitHub was asked %d times", n)
	}
	s.secretsStayHidden(s.url+"/forges", s.url+"/setup")
	if strings.Count(s.server.output.String(), address) != 1 { // printed, and not in the log too, which others may read
		t.Errorf("the address of set-up stands elsewhere:\n%s", s.server.output)
	}
}
