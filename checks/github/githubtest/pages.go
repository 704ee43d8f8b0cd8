package githubtest

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

// A manifest is what an app is made from.
type manifest struct {
	Name           string            `json:"name"`
	URL            string            `json:"url"`
	Description    string            `json:"description"`
	HookAttributes *hookAttributes   `json:"hook_attributes"`
	RedirectURL    string            `json:"redirect_url"`
	CallbackURLs   []string          `json:"callback_urls"`
	SetupURL       string            `json:"setup_url"`
	SetupOnUpdate  bool              `json:"setup_on_update"`
	RequestOAuth   bool              `json:"request_oauth_on_install"`
	Public         bool              `json:"public"`
	Permissions    map[string]string `json:"default_permissions"`
	Events         []string          `json:"default_events"`
}

type hookAttributes struct {
	URL    string `json:"url"`
	Active *bool  `json:"active"`
}

// eventPermissions are the permissions that let an app subscribe to an event.
var eventPermissions = map[string][]string{
	"push": {"contents"}, "pull_request": {"pull_requests"}, "issue_comment": {"issues", "pull_requests"}, "merge_group": {"merge_queues"},
	"repository": {"metadata"}, "check_run": {"checks"}, "check_suite": {"checks"}, "release": {"contents"}, "create": {"contents"}, "delete": {"contents"},
}

// levels are the permissions of repositories that the server knows, and whether they can be written.
var levels = map[string]bool{"metadata": false, "contents": true, "checks": true, "pull_requests": true, "issues": true, "statuses": true,
	"merge_queues": true, "deployments": true, "members": true}

// wrongs says what GitHub would not take of a manifest.
func (m *manifest) wrongs(old bool) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	address := func(key, text string, required bool) *url.URL {
		u, err := url.Parse(text)
		if text == "" && !required {
			return nil
		}
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			say("%s %q is no address", key, text)
			return nil
		}
		return u
	}
	if m.Name == "" || len([]rune(m.Name)) > 34 {
		say("Name has 1 to 34 characters")
	}
	address("url", m.URL, true)
	address("redirect_url", m.RedirectURL, true)
	address("setup_url", m.SetupURL, false)
	if m.HookAttributes == nil {
		say("hook_attributes are missing")
	} else if u := address("hook_attributes.url", m.HookAttributes.URL, true); u != nil {
		switch host := u.Hostname(); {
		case host == "localhost", strings.HasPrefix(host, "127."), host == "::1", host == "0.0.0.0":
			say("Hook url is not supported because it isn't reachable over the public Internet (%s)", host)
		}
	}
	for name, level := range m.Permissions {
		write, known := levels[name]
		switch {
		case !known, old && name == "merge_queues":
			say("Default permission records resource is not included in the list: %s", name)
		case level != "read" && (level != "write" || !write):
			say("Default permission %s cannot be %q", name, level)
		}
	}
	for _, event := range m.Events {
		needs, known := eventPermissions[event]
		if !known || old && event == "merge_group" {
			say("Default events unsupported: %s", event)
		} else if !slices.ContainsFunc(needs, func(p string) bool { return m.Permissions[p] != "" }) {
			say("Default events are not supported by permissions: %s", event)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// sites are what the server keeps for its pages.
type sites struct {
	forms    map[string]*registration // that were shown, by what their button sends
	setupURL string
	old      bool // does not know merge queues
	silent   bool // makes no secret for the webhook of an app
}

type registration struct {
	manifest manifest
	state    string
	owner    string
}

// OldServer makes the server one that does not know merge queues.
func (s *Server) OldServer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sites.old = true
}

// WithoutSecret has the server make no secret for the webhook of the next app.
func (s *Server) WithoutSecret() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sites.silent = true
}

// HookURL returns where deliveries go.
func (s *Server) HookURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hook
}

var sitePage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head><body>
<h1>{{.Title}}</h1>
{{range .Problems}}<p class="error">{{.}}</p>{{end}}
{{if .Form}}<form method="post" action="{{.Action}}"><input type="hidden" name="form" value="{{.Form}}"><button id="go">{{.Button}}</button></form>{{end}}
</body></html>
`))

type siteData struct {
	Title, Action, Form, Button string
	Problems                    []string
}

func showSite(w http.ResponseWriter, status int, d siteData) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	w.WriteHeader(status)
	_ = sitePage.Execute(w, d) // the reader may have gone
}

// servePage answers what people do in a browser, and reports whether the address is such a one: making an app from a
// manifest, and installing it.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) bool {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	match := func(pattern ...string) bool {
		for i, p := range pattern {
			if len(parts) != len(pattern) || p != "*" && p != parts[i] {
				return false
			}
		}
		return true
	}
	switch {
	case match("settings", "apps", "new") && r.Method == http.MethodPost:
		s.registerPage(w, r, "octo")
	case match("organizations", "*", "settings", "apps", "new") && r.Method == http.MethodPost:
		s.registerPage(w, r, parts[1])
	case match("settings", "apps", "create") && r.Method == http.MethodPost:
		s.createApp(w, r)
	case (parts[0] == "apps" || parts[0] == "github-apps") && match("*", "*", "installations", "new"):
		s.installPage(w, r, parts[1])
	default:
		return false
	}
	return true
}

// registerPage shows what an app would be made from, with a button that makes it.
func (s *Server) registerPage(w http.ResponseWriter, r *http.Request, owner string) {
	var m manifest
	d := json.NewDecoder(strings.NewReader(r.FormValue("manifest")))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		showSite(w, http.StatusUnprocessableEntity, siteData{Title: "Invalid GitHub App configuration", Problems: []string{err.Error()}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if wrong := m.wrongs(s.sites.old); len(wrong) > 0 {
		showSite(w, http.StatusUnprocessableEntity, siteData{Title: "Invalid GitHub App configuration", Problems: wrong})
		return
	}
	form := forgetest.RandomHex(16)
	if s.sites.forms == nil {
		s.sites.forms = map[string]*registration{}
	}
	s.sites.forms[form] = &registration{m, r.URL.Query().Get("state"), owner}
	showSite(w, http.StatusOK, siteData{Title: "Create GitHub App for " + owner, Action: "/settings/apps/create", Form: form, Button: "Create GitHub App"})
}

// createApp makes the app and leads the browser back with the code.
func (s *Server) createApp(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	reg := s.sites.forms[r.FormValue("form")]
	if reg == nil {
		s.mu.Unlock()
		http.Error(w, "there is no such form", http.StatusUnprocessableEntity)
		return
	}
	delete(s.sites.forms, r.FormValue("form"))
	s.slug = strings.ReplaceAll(strings.ToLower(reg.manifest.Name), " ", "-")
	s.hook, s.permissions, s.sites.setupURL = reg.manifest.HookAttributes.URL, maps.Clone(reg.manifest.Permissions), reg.manifest.SetupURL
	s.secret = forgetest.RandomHex(20)
	if s.sites.silent {
		s.secret = ""
	}
	code := forgetest.RandomHex(20)
	s.codes[code] = true
	s.mu.Unlock()
	to, err := url.Parse(reg.manifest.RedirectURL)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	to.RawQuery = url.Values{"code": {code}, "state": {reg.state}}.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// installPage installs the app in all repositories of the first account that has some, by a button, and leads the browser to
// the app's page for that.
func (s *Server) installPage(w http.ResponseWriter, r *http.Request, slug string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slug != s.slug {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		showSite(w, http.StatusOK, siteData{Title: "Install " + slug, Action: r.URL.Path, Form: "install", Button: "Install"})
		return
	}
	var inst *installation
	for _, id := range slices.Sorted(maps.Keys(s.repos)) {
		if repo := s.repos[id]; inst == nil || inst.account == repo.owner {
			inst = s.installLocked(repo)
		}
	}
	if inst == nil || s.sites.setupURL == "" {
		showSite(w, http.StatusOK, siteData{Title: "Installed"})
		return
	}
	http.Redirect(w, r, s.sites.setupURL+"?"+url.Values{"installation_id": {strconv.FormatInt(inst.id, 10)}, "setup_action": {"install"}}.Encode(), http.StatusFound)
}
