package githubtest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const goodManifest = `{"name":"shop","url":"https://ci.example.org","hook_attributes":{"url":"https://ci.example.org/hook","active":true},"redirect_url":"http://127.0.0.1:1/callback",
	"setup_url":"http://127.0.0.1:1/installed","default_permissions":{"contents":"read","checks":"write","merge_queues":"read"},"default_events":["push","merge_group"]}`

// TestManifestPages takes the manifests that GitHub takes, and leads the browser on.
func TestManifestPages(t *testing.T) {
	s := New(t, Options{})
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(path string, form url.Values) (int, string, string) {
		t.Helper()
		answer, err := client.PostForm(s.URL()+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, answer.Header.Get("Location"), string(text)
	}
	for _, tt := range []struct{ old, new, want string }{
		{`"name":"shop"`, `"name":"` + strings.Repeat("x", 35) + `"`, "Name has 1 to 34 characters"},
		{`"name":"shop"`, `"name":"shop","nam":1`, "unknown field"},
		{"https://ci.example.org/hook", "http://localhost/hook", "reachable over the public Internet (localhost)"},
		{"https://ci.example.org/hook", "http://127.0.0.1:8080/hook", "reachable over the public Internet (127.0.0.1)"},
		{`"url":"https://ci.example.org",`, "", "url &#34;&#34; is no address"},
		{`"contents":"read"`, `"content":"read"`, "not included in the list: content"},
		{`"contents":"read"`, `"contents":"all"`, "Default permission contents cannot be &#34;all&#34;"},
		{`"contents":"read",`, "", "not supported by permissions: push"},
		{`"push",`, `"pushed",`, "Default events unsupported: pushed"},
	} {
		status, _, text := post("/settings/apps/new", url.Values{"manifest": {strings.Replace(goodManifest, tt.old, tt.new, 1)}})
		if status != http.StatusUnprocessableEntity || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d %s", tt.want, status, text)
		}
	}
	if status, _, _ := post("/settings/apps/create", url.Values{"form": {"x"}}); status != http.StatusUnprocessableEntity {
		t.Error(status)
	}
	status, _, text := post("/organizations/acme/settings/apps/new?state=s1", url.Values{"manifest": {goodManifest}})
	_, form, _ := strings.Cut(text, `name="form" value="`)
	form, _, _ = strings.Cut(form, `"`)
	if status != http.StatusOK || !strings.Contains(text, "Create GitHub App for acme") {
		t.Fatalf("%d %s", status, text)
	}
	status, to, _ := post("/settings/apps/create", url.Values{"form": {form}})
	if status != http.StatusFound || !strings.HasPrefix(to, "http://127.0.0.1:1/callback?code=") || !strings.HasSuffix(to, "&state=s1") || s.HookURL() != "https://ci.example.org/hook" {
		t.Errorf("%d %s, deliveries to %s", status, to, s.HookURL())
	}
	if status, _, text := post("/github-apps/shop/installations/new", nil); status != http.StatusOK || !strings.Contains(text, "Installed") {
		t.Errorf("%d %s", status, text)
	}
	if _, err := s.AddRepo("octo/shop", RepoOptions{NotInstalled: true}); err != nil {
		t.Fatal(err)
	}
	if status, to, _ := post("/apps/shop/installations/new", nil); status != http.StatusFound || !strings.HasPrefix(to, "http://127.0.0.1:1/installed?installation_id=") || s.Installation("octo") == 0 {
		t.Errorf("%d %s", status, to)
	}
	if status, _, _ := post("/apps/other/installations/new", nil); status != http.StatusNotFound {
		t.Error(status)
	}
	s.OldServer()
	if status, _, text := post("/settings/apps/new", url.Values{"manifest": {goodManifest}}); status != http.StatusUnprocessableEntity || !strings.Contains(text, "merge_queues") {
		t.Errorf("%d %s", status, text)
	}
}
