package web

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

func TestAccess(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Backup = func(w io.Writer) error { _, err := io.WriteString(w, "backup"); return err }
		c.Checks = demoReports
	})
	d := newDemo(s)
	private, public, local, reported := d.succeeded, d.invalid, d.timedOut, s.reported()
	withdrawn := s.submit(store.Repo{Forge: "github", Host: "github.com", ID: "9", Name: "octo/was-public"}, end(store.Succeeded))
	s.update(func(tx *store.Tx) error {
		r := withdrawn.Repo
		r.Private = true
		_, err := tx.Repo(r)
		return err
	})

	// What a visitor gets: the status for nobody, for a right k, a wrong k, the cookie, and the bearer token.
	const in, no, login, api = 200, 404, 303, 401
	for _, test := range []struct {
		path                              string
		nobody, key, wrong, admin, bearer int
		of                                *store.Build
	}{
		{"/", login, login, login, in, login, nil},
		{"/builds", login, login, login, in, login, nil},
		{"/queue", login, login, login, in, login, nil},
		{"/deliveries", login, login, login, in, login, nil},
		{"/deliveries/1", login, login, login, in, login, nil},
		{"/deliveries/1/body", login, login, login, in, login, nil},
		{"/builds/ID", no, in, no, in, no, &private},
		{"/builds/ID/lines?chunks=0", no, in, no, in, no, &private},
		{"/builds/ID/search?q=x", no, in, no, in, no, &private},
		{"/builds/ID/events", no, in, no, in, no, &private},
		{"/builds/ID/log.txt", no, in, no, in, no, &private},
		{"/builds/ID/artifacts", no, in, no, in, no, &private},
		{"/builds/ID/artifacts.zip", no, in, no, in, no, &private},
		{"/builds/ID/artifacts/report.xml", no, in, no, in, no, &private},
		{"/builds/ID/reports/0", no, in, no, in, no, &reported},
		{"/builds/ID/reports.zip", no, in, no, in, no, &reported},
		{"/builds/ID/secondary/docs/artifacts", no, in, no, in, no, &reported},
		{"/builds/ID/secondary/docs/artifacts.zip", no, in, no, in, no, &reported},
		{"/builds/ID/secondary/docs/artifacts/index.html", no, in, no, in, no, &reported},
		{"/builds/ID", in, in, in, in, in, &public},
		{"/builds/ID/log.txt", in, in, in, in, in, &public},
		{"/builds/ID/events", in, in, in, in, in, &public},
		{"/builds/ID", no, in, no, in, no, &local},
		{"/builds/ID/log.txt", no, in, no, in, no, &local},
		{"/builds/ID", no, in, no, in, no, &withdrawn},
		{"/builds/00000000-0000-0000-0000-000000000000", no, no, no, no, no, nil},
		{"/builds/nothing", no, no, no, no, no, nil},
		{"/api/builds", api, api, api, api, in, nil},
		{"/api/builds/ID", api, api, api, api, in, &public},
		{"/api/builds/ID/log", api, api, api, api, in, &public},
		{"/api/builds/ID/artifacts", api, api, api, api, in, &private},
		{"/api/builds/ID/artifacts.zip", api, api, api, api, in, &private},
		{"/api/builds/ID/checks", api, api, api, api, in, &private},
		{"/api/builds/ID/reports/0", api, api, api, api, in, &reported},
		{"/api/builds/ID/reports.zip", api, api, api, api, in, &reported},
		{"/api/builds/ID/secondary/docs/artifacts", api, api, api, api, in, &reported},
		{"/api/builds/ID/secondary/docs/artifacts.zip", api, api, api, api, in, &reported},
		{"/api/projects", api, api, api, api, in, nil},
		{"/api/deliveries", api, api, api, api, in, nil},
		{"/api/queue", api, api, api, api, in, nil},
		{"/api/backup", api, api, api, api, in, nil},
		{"/api/nothing", api, api, api, api, no, nil},
	} {
		s.web.access.fails.seen = map[string]failure{}
		path, key := test.path, "anything"
		if test.of != nil {
			path, key = strings.Replace(path, "ID", test.of.ID, 1), s.key(*test.of)
		}
		with := func(k string) string {
			if strings.Contains(path, "?") {
				return path + "&k=" + k
			}
			return path + "?k=" + k
		}
		for _, visitor := range []struct {
			name string
			ask  request
			want int
		}{
			{"nobody", request{path: path}, test.nobody},
			{"a key", request{path: with(key)}, test.key},
			{"a wrong key", request{path: with(strings.Repeat("A", 24))}, test.wrong},
			{"another build's key", request{path: with(s.key(d.failed))}, test.wrong},
			{"a forged cookie", request{path: path, cookie: "99999999999." + s.web.access.mac("form", "99999999999")}, test.nobody},
			{"the token as a cookie", request{path: path, cookie: adminToken}, test.nobody},
			{"the administrator", request{path: path, cookie: s.web.access.newSession()}, test.admin},
			{"a bearer", request{path: path, header: map[string]string{"Authorization": "Bearer " + adminToken}}, test.bearer},
		} {
			if got := s.ask(visitor.ask); got.StatusCode != visitor.want {
				t.Errorf("GET %s as %s: status %d, want %d", test.path, visitor.name, got.StatusCode, visitor.want)
			}
		}
	}
}

func TestActionsAreTheAdministrators(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo)
	session := s.web.access.newSession()
	token := s.web.access.csrf(session)
	for _, path := range []string{"/builds/" + b.ID + "/stop", "/builds/" + b.ID + "/retry", "/builds/" + b.ID + "/revoke", "/logout"} {
		for name, r := range map[string]request{
			"nobody":            {form: url.Values{}},
			"a reader":          {form: url.Values{"k": {s.key(b)}}},
			"without a token":   {form: url.Values{}, cookie: session},
			"a wrong token":     {form: url.Values{"csrf": {"x"}}, cookie: session},
			"another session's": {form: url.Values{"csrf": {s.web.access.csrf("1.x")}}, cookie: session},
			"another site":      {form: url.Values{"csrf": {token}}, cookie: session, header: map[string]string{"Sec-Fetch-Site": "cross-site"}},
			"another origin":    {form: url.Values{"csrf": {token}}, cookie: session, header: map[string]string{"Origin": "https://evil.example"}},
			"a bearer":          {form: url.Values{}, header: map[string]string{"Authorization": "Bearer " + adminToken}},
		} {
			r.method, r.path = http.MethodPost, path
			if got := s.ask(r); got.StatusCode != http.StatusForbidden || !strings.Contains(got.body, "Nothing was done") {
				t.Errorf("POST %s, %s: status %d", path, name, got.StatusCode)
			}
		}
		if got := s.get(path); got.StatusCode != http.StatusMethodNotAllowed && got.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d", path, got.StatusCode)
		}
	}
	if b := s.build(b.ID); b.Stop != nil {
		t.Errorf("the build was stopped")
	}
	if got := s.post("/builds/"+b.ID+"/stop", nil); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/builds/"+b.ID {
		t.Errorf("stopping: status %d to %s", got.StatusCode, got.Header.Get("Location"))
	}
	if b := s.build(b.ID); b.Status != store.Stopped {
		t.Errorf("the build is %s, want stopped", b.Status)
	}
	if got := s.post("/builds/"+b.ID+"/stop", nil); got.StatusCode != http.StatusSeeOther {
		t.Errorf("stopping again: status %d", got.StatusCode)
	}
}

func TestLogin(t *testing.T) {
	s := newSite(t)
	if got := s.ask(request{path: "/queue?x=1"}); got.Header.Get("Location") != "/login?return_to=%2Fqueue%3Fx%3D1" {
		t.Errorf("sent to %s", got.Header.Get("Location"))
	}
	got := s.ask(request{method: http.MethodPost, path: "/login", form: url.Values{"token": {"wrong"}, "return_to": {"/queue"}}})
	if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, "That is not the admin token") || len(got.Cookies()) != 0 {
		t.Errorf("a wrong token: status %d, cookies %v", got.StatusCode, got.Cookies())
	}
	got = s.ask(request{method: http.MethodPost, path: "/login", form: url.Values{"token": {" " + adminToken + "\n"}, "return_to": {"/queue"}}})
	if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/queue" || len(got.Cookies()) != 1 {
		t.Fatalf("logging in: status %d to %q with %v", got.StatusCode, got.Header.Get("Location"), got.Cookies())
	}
	c := got.Cookies()[0]
	if !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || strings.Contains(c.Value, adminToken) {
		t.Errorf("the cookie is %v", c)
	}
	if got := s.ask(request{path: "/queue", cookie: c.Value}); got.StatusCode != http.StatusOK {
		t.Errorf("the cookie opens nothing: status %d", got.StatusCode)
	}
	s.web.SetURL("https://ci.example.org/")
	got = s.ask(request{method: http.MethodPost, path: "/login", form: url.Values{"token": {adminToken}}})
	if c := got.Cookies()[0]; !c.Secure {
		t.Errorf("the cookie of an https server is %v", c)
	}
	if got.Header.Get("Location") != "/" {
		t.Errorf("sent to %q", got.Header.Get("Location"))
	}
	got = s.post("/logout", nil)
	if c := got.Cookies()[0]; c.MaxAge >= 0 || c.Value != "" {
		t.Errorf("logging out leaves the cookie %v", c)
	}

	a := newAccess(adminToken, s.store.Now)
	session := a.newSession()
	a.now = func() time.Time { return s.store.Now().Add(sessionTime + time.Minute) }
	if a.validSession(session) {
		t.Errorf("a session never ends")
	}
	other := newAccess("another token that is long", s.store.Now)
	if other.validSession(session) {
		t.Errorf("a session outlives its token")
	}
	none := newAccess("", s.store.Now)
	if none.isToken("") || none.validSession(none.newSession()) {
		t.Errorf("without an admin token somebody is the administrator")
	}
}

func TestLoginFailuresAreLimited(t *testing.T) {
	s := newSite(t)
	wrong := request{method: http.MethodPost, path: "/login", form: url.Values{"token": {"wrong"}}}
	for range maxFailures {
		if got := s.ask(wrong); got.StatusCode != http.StatusUnauthorized {
			t.Fatalf("status %d", got.StatusCode)
		}
	}
	if got := s.ask(wrong); got.StatusCode != http.StatusTooManyRequests || got.Header.Get("Retry-After") == "" {
		t.Errorf("after %d failures: status %d", maxFailures, got.StatusCode)
	}
	right := request{method: http.MethodPost, path: "/login", form: url.Values{"token": {adminToken}}}
	if got := s.ask(right); got.StatusCode != http.StatusSeeOther { // nobody locks the administrator out
		t.Errorf("the right token after that: status %d", got.StatusCode)
	}
	if got := s.ask(request{path: "/api/queue", header: map[string]string{"Authorization": "Bearer wrong"}}); got.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a wrong bearer after that: status %d", got.StatusCode)
	}
	if got := s.api(http.MethodGet, "/api/queue", ""); got.StatusCode != http.StatusOK {
		t.Errorf("the right bearer after that: status %d", got.StatusCode)
	}
	s.web.access.now = func() time.Time { return s.store.Now().Add(2 * failureWindow) }
	if got := s.ask(wrong); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("some time later: status %d", got.StatusCode)
	}
}

func TestLocalPath(t *testing.T) {
	for to, want := range map[string]string{
		"/queue": "/queue", "/builds?project=a&before=3": "/builds?project=a&before=3", "": "/", "queue": "/",
		"//evil.example": "/", "///evil.example": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "https://evil.example/": "/",
		"javascript:alert(1)": "/", "/\t/evil.example": "/", "/\n/evil.example": "/", "http:/evil.example": "/", "/%zz": "/",
		"//user@evil.example/": "/", "/ok//evil.example": "/ok//evil.example", "/@evil.example": "/@evil.example",
	} {
		if got := localPath(to); got != want {
			t.Errorf("localPath(%q) = %q, want %q", to, got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, end(store.Succeeded))
	s.print(b.ID, "<b>hello</b>\n")
	paths := []string{"/", "/queue", "/login", "/builds/" + b.ID, "/builds/" + b.ID + "/log.txt", "/builds/" + b.ID + "/events",
		"/builds/" + b.ID + "/lines?chunks=0", "/builds/none", "/api/queue", "/api/none", "/assets/none"}
	for _, path := range paths {
		got := s.get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Referrer-Policy":         "no-referrer", "Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex",
		} {
			if got.Header.Get(name) != want {
				t.Errorf("GET %s: %s is %q", path, name, got.Header.Get(name))
			}
		}
	}
	page := s.get("/builds/" + b.ID)
	if regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<script>|src="(https?:)?//`).MatchString(page.body) {
		t.Errorf("the page has what its policy forbids")
	}
	assets := regexp.MustCompile(`/assets/[a-z]+-[0-9a-f]{16}\.(css|js)`).FindAllString(page.body, -1)
	if len(assets) != 2 {
		t.Fatalf("the page refers to %q", assets)
	}
	for _, path := range assets {
		got := s.ask(request{path: path})
		if got.StatusCode != http.StatusOK || got.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/") {
			t.Errorf("GET %s: status %d, %v", path, got.StatusCode, got.Header)
		}
	}
	if got := s.get("/builds/" + b.ID + "/log.txt"); got.Header.Get("Content-Type") != "text/plain; charset=utf-8" || got.body != "<b>hello</b>\n" {
		t.Errorf("the raw log is %q of type %s", got.body, got.Header.Get("Content-Type"))
	}
	if strings.Contains(s.ask(request{path: "/login"}).body, "1.2.3") || !strings.Contains(page.body, "1.2.3") {
		t.Errorf("the version is not the administrator's alone")
	}
}

func TestLinksCarryTheKey(t *testing.T) {
	s := newSite(t)
	d := newDemo(s)
	for _, b := range []store.Build{d.succeeded, d.failed, d.fault} {
		key := s.key(b)
		page := s.ask(request{path: "/builds/" + b.ID + "?k=" + key})
		links := regexp.MustCompile(`(?:href|action)="(/builds/[^"]*|\?[^"]*)"`).FindAllStringSubmatch(page.body, -1)
		if len(links) < 5 {
			t.Errorf("the page has %d links", len(links))
		}
		for _, l := range links {
			if !strings.Contains(l[1], "k=") && !strings.Contains(page.body, `name="k" value="`+key+`"`) {
				t.Errorf("a link without k: %s", l[1])
			}
			if strings.Contains(l[1], "retry") || strings.Contains(l[1], "revoke") {
				t.Errorf("a reader is offered %s", l[1])
			}
		}
	}
	// Whoever reads a build may read the one that repeated it.
	page := s.ask(request{path: "/builds/" + d.fault.ID + "?k=" + s.key(d.fault)})
	next := regexp.MustCompile(`repeated by <a href="([^"]+)"`).FindStringSubmatch(page.body)
	if next == nil {
		t.Fatal("no link to the build that repeated this one")
	}
	if got := s.ask(request{path: strings.ReplaceAll(next[1], "&amp;", "&")}); got.StatusCode != http.StatusOK {
		t.Errorf("that link: status %d", got.StatusCode)
	}
}

func TestRevokedLinks(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, end(store.Succeeded))
	old := s.key(b)
	if got := s.post("/builds/"+b.ID+"/revoke", nil); got.StatusCode != http.StatusSeeOther {
		t.Fatalf("revoking: status %d", got.StatusCode)
	}
	got := s.ask(request{path: "/builds/" + b.ID + "?k=" + old})
	if got.StatusCode != http.StatusNotFound || !strings.Contains(got.body, "This link is not valid") || !strings.Contains(got.body, "follow its details") {
		t.Errorf("an old link: status %d: %s", got.StatusCode, got.body)
	}
	if got := s.ask(request{path: "/builds/" + b.ID + "?k=" + s.key(b)}); got.StatusCode != http.StatusOK {
		t.Errorf("a new link: status %d", got.StatusCode)
	}
	missing := s.ask(request{path: "/builds/00000000-0000-0000-0000-000000000000?k=" + old})
	if missing.StatusCode != got.StatusCode || !strings.Contains(missing.body, "This link is not valid") {
		t.Errorf("a build that there is not is told from one that may not be seen")
	}
}
