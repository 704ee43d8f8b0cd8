package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newSecretSite is a site that keeps secrets.
func newSecretSite(t *testing.T) *site {
	t.Helper()
	return newSite(t, func(c *Config) { c.Secrets = must(c.Store.OpenSecrets("")) })
}

func TestAPISecrets(t *testing.T) {
	s := newSecretSite(t)
	s.submit(privateRepo) // octo/shop
	if got := s.api("GET", "/api/secrets", ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("no secrets are %s", got.body)
	}
	var set SecretSet
	s.api("PUT", "/api/secrets/ci/registry", `{"value": "hunter2-one", "projects": ["octo/shop", "octo/none", "octo-shop", "github:octo/*"], "refs": ["refs/heads/main"]}`).decode(t, &set)
	if set.Name != "ci/registry" || len(set.Projects) != 4 || !cmp.Equal(set.Refs, []string{"refs/heads/main"}) || !cmp.Equal(set.Unmatched, []string{"octo-shop", "octo/none"}) ||
		len(set.Versions) != 1 || set.Versions[0].Number != 1 || !cmp.Equal(set.Versions[0].Stages, []string{"AWSCURRENT"}) || set.Created.IsZero() {
		t.Errorf("set: %+v", set)
	}
	set = SecretSet{}
	got := s.api("PUT", "/api/secrets//ci%2Fregistry", `{"value": "hunter2-\u00e9\n\"two\""}`)
	if got.decode(t, &set); len(set.Versions) != 2 || len(set.Projects) != 4 || set.Refs == nil || strings.Contains(got.body, "hunter2") {
		t.Errorf("set again: %s", got.body)
	}
	first := set.Versions[1].ID
	for path, want := range map[string]string{
		"ci/registry": "hunter2-é\n\"two\"", "ci%2Fregistry": "hunter2-é\n\"two\"", "/ci/registry": "hunter2-é\n\"two\"",
		"ci/registry?version=1": "hunter2-one", "ci/registry?version=" + first: "hunter2-one", "ci/registry?stage=AWSPREVIOUS": "hunter2-one", "ci/registry?version=1&stage=AWSPREVIOUS": "hunter2-one",
	} {
		var v SecretValue
		if got := s.api("GET", "/api/secrets/"+path, ""); got.StatusCode != 200 || got.Header.Get("Cache-Control") != "private, no-store" {
			t.Errorf("GET %s: %d %s", path, got.StatusCode, got.body)
		} else if got.decode(t, &v); v.Value != want || v.Name != "ci/registry" || v.ID == "" || v.Number == 0 {
			t.Errorf("GET %s: %+v", path, v)
		}
	}
	// Rules alone; an empty list of refs takes the rule away, none leaves it.
	s.api("PUT", "/api/secrets/ci/registry", `{"projects": ["*"]}`).decode(t, &set)
	if !cmp.Equal(set.Projects, []string{"*"}) || len(set.Refs) != 1 || len(set.Versions) != 2 {
		t.Errorf("with other rules: %+v", set)
	}
	set = SecretSet{}
	if s.api("PUT", "/api/secrets/ci/registry", `{"refs": []}`).decode(t, &set); set.Refs != nil || set.Unmatched != nil {
		t.Errorf("without a rule for refs: %+v", set)
	}
	s.api("PUT", "/api/secrets/a", `{"value": "`+strings.Repeat(`\u00e9`, 32<<10)+`", "stage": "canary", "projects": ["*"]}`).decode(t, &set)
	if !cmp.Equal(set.Versions[0].Stages, []string{"AWSCURRENT", "canary"}) {
		t.Errorf("the largest: %+v", set)
	}
	var list []Secret
	got = s.api("GET", "/api/secrets", "")
	if got.decode(t, &list); len(list) != 2 || list[0].Name != "a" || len(list[1].Versions) != 2 || strings.Contains(got.body, "hunter2") {
		t.Errorf("the list: %s", got.body)
	}
	var key SecretKey
	if got := s.api("POST", "/api/secrets-key", ""); got.StatusCode != 200 {
		t.Errorf("replacing the key: %s", got.body)
	} else if got.decode(t, &key); key.Values != 3 {
		t.Errorf("%d values", key.Values)
	}
	if got := s.api("DELETE", "/api/secrets/ci/registry", ""); got.StatusCode != 200 || strings.TrimSpace(got.body) != "{}" {
		t.Errorf("removing: %s", got.body)
	}
	said := s.log.String()
	for _, line := range []string{
		`level=INFO msg="set a secret" secret=ci/registry version=1 projects="[github:octo/* octo-shop octo/none octo/shop]" refs=[refs/heads/main] address=127.0.0.1`,
		`level=INFO msg="set a secret" secret=ci/registry version=2`, `level=INFO msg="read a secret" secret=ci/registry version=1 address=127.0.0.1`,
		`level=INFO msg="changed who may read a secret" secret=ci/registry projects=[*] refs=[refs/heads/main]`, `level=INFO msg="removed a secret" secret=ci/registry address=127.0.0.1`,
		`level=INFO msg="replaced the key of the secrets" values=3 address=127.0.0.1`,
	} {
		if !strings.Contains(said, line) {
			t.Errorf("the log lacks %s", line)
		}
	}
	if strings.Contains(said, "hunter2") || !strings.Contains(said, "time=") {
		t.Errorf("the log is %s", said)
	}
	s.ask(request{method: "GET", path: "/api/secrets/a", header: map[string]string{"Authorization": "Bearer " + adminToken, "X-Forwarded-For": "192.0.2.1"}})
	if !strings.Contains(s.log.String(), "forwarded=192.0.2.1") {
		t.Error("the log lacks where a proxy says that a request came from")
	}
}

// TestAPISecretErrors reads every refusal; neither they nor the log repeat what was sent.
func TestAPISecretErrors(t *testing.T) {
	s := newSecretSite(t)
	s.api("PUT", "/api/secrets/there", `{"value": "hunter2", "projects": ["*"]}`)
	const shape = `the request is not understood; send {"value": "...", "projects": ["..."], "refs": ["..."], "stage": "..."}; what stays as it is may be left out`
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "new", `{"value": "hunter2"}`, 400, "new is new: say which projects may read it, such as owner/repo, or * for every project"},
		{"PUT", "new", `{"value": "", "projects": ["*"]}`, 400, "new: the value is empty"},
		{"PUT", "new", `{"value": "hunter2\u0000", "projects": ["*"]}`, 400, "new: the value holds a NUL byte, which no variable can: encode it, for example by base64"},
		{"PUT", "new", `{"projects": ["*"]}`, 404, "there is no such secret; `buildsmith secret list` shows those that there are"},
		{"PUT", "there", `{"projects": []}`, 400, "there: no project may read it: name one, such as owner/repo, or * for every project"},
		{"PUT", "there", `{"refs": ["main"]}`, 400, `there: "main" is no pattern of refs: write full names, such as refs/heads/main, refs/tags/v* or refs/heads/release/**`},
		{"PUT", "there", `{"stage": "x"}`, 400, "a stage is that of a new version: send a value too"},
		{"PUT", "there", `{"value": "x", "stage": "AWSPREVIOUS"}`, 400, "there: AWSPREVIOUS moves by itself, to the version that was current before"},
		{"PUT", "a%20b", `{"value": "hunter2", "projects": ["*"]}`, 400, `"a b" is no name of a secret: write letters, digits and _+=.@- between single slashes, such as ci/registry/password`},
		{"PUT", "", `{}`, 400, `"" is no name of a secret`},
		{"PUT", "there", `{"value": 42424242}`, 400, shape},
		{"PUT", "there", `{"hunter2": 1}`, 400, shape},
		{"PUT", "there", `hunter2`, 400, shape},
		{"PUT", "there", ``, 400, shape},
		{"PUT", "there", `{"value": "` + strings.Repeat("x", 64<<10+1) + `"}`, 400, "there: the value has more than 65536 bytes, the most that a secret may have"},
		{"PUT", "there", `{"value": "` + strings.Repeat("x", maxSecretForm) + `"}`, 400, "the request is too large: a value has at most 65536 bytes"},
		{"GET", "none", "", 404, "there is no such secret; `buildsmith secret list` shows those that there are"},
		{"GET", "there?version=2", "", 404, "the secret has no such version; `buildsmith secret list` shows those that there are"},
		{"GET", "there?version=0", "", 404, "the secret has no such version"},
		{"GET", "there?version=abc", "", 404, "the secret has no such version"},
		{"GET", "there?stage=AWSPREVIOUS", "", 404, "the secret has no such version"},
		{"GET", "a:b", "", 400, `"a:b" is no name of a secret`},
		{"DELETE", "none", "", 404, "there is no such secret"},
		{"DELETE", "a%00b", "", 400, `"a\x00b" is no name of a secret`},
	} {
		got := s.api(tt.method, "/api/secrets/"+tt.path, tt.body)
		var answer struct{ Error string }
		if got.decode(t, &answer); got.StatusCode != tt.status || !strings.HasPrefix(answer.Error, tt.want) {
			t.Errorf("%s %s %.40s: status %d, %q\nwant %d, %q", tt.method, tt.path, tt.body, got.StatusCode, answer.Error, tt.status, tt.want)
		}
		if said := s.log.String() + got.body; strings.Contains(said, "hunter2") || strings.Contains(said, "42424242") {
			t.Errorf("%s %s %.40s: told %s", tt.method, tt.path, tt.body, said)
		}
	}
	// Only the admin token opens any of it: not a link, not a session, which a foreign page could make a browser use.
	for _, r := range []struct{ method, path string }{{"GET", "/api/secrets"}, {"PUT", "/api/secrets/x"}, {"GET", "/api/secrets/there"}, {"DELETE", "/api/secrets/there"}, {"POST", "/api/secrets-key"}} {
		for name, got := range map[string]answer{
			"nothing":   s.ask(request{method: r.method, path: r.path, body: "{}"}),
			"a session": s.ask(request{method: r.method, path: r.path, body: "{}", cookie: s.web.access.newSession()}),
		} {
			if got.StatusCode != http.StatusUnauthorized || strings.Contains(got.body, "hunter2") {
				t.Errorf("%s %s with %s: %d %s", r.method, r.path, name, got.StatusCode, got.body)
			}
		}
		s.web.access.fails.seen = map[string]failure{}
	}
	var v SecretValue
	if s.api("GET", "/api/secrets/there", "").decode(t, &v); v.Value != "hunter2" || v.Number != 1 {
		t.Errorf("what was refused has changed it: %+v", v)
	}
	// Faults: a key that cannot be written, a store that does not answer, no secrets at all.
	if err := os.MkdirAll(filepath.Join(s.store.Dir(), "secrets.key.tmp", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := s.api("POST", "/api/secrets-key", ""); got.StatusCode != 500 || !strings.Contains(got.body, "replacing the key of the secrets: ") || !strings.Contains(s.log.String(), `level=ERROR msg="replacing the key of the secrets" err=`) {
		t.Errorf("status %d, %s", got.StatusCode, got.body)
	}
	s.store.Close()
	for _, r := range []struct{ method, path, body string }{{"GET", "", ""}, {"GET", "/there", ""}, {"PUT", "/there", `{"value": "hunter2"}`}, {"DELETE", "/there", ""}} {
		if got := s.api(r.method, "/api/secrets"+r.path, r.body); got.StatusCode != 500 || !strings.Contains(got.body, "the server could not answer; its log says why") {
			t.Errorf("%s %s of a closed store: %d %s", r.method, r.path, got.StatusCode, got.body)
		}
	}
	none := newSite(t)
	for _, path := range []string{"/api/secrets", "/api/secrets/x"} {
		if got := none.api("GET", path, ""); got.StatusCode != 404 || !strings.Contains(got.body, "this server keeps no secrets") {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
}

func TestSecretErrorIsOurs(t *testing.T) {
	if err := errors.New("broken"); secretError(err) != err || secretError(nil) != nil {
		t.Error("an error of ours has become another")
	}
	var r SecretRequest
	text := must(json.Marshal(r))
	if string(text) != `{"refs":null}` {
		t.Errorf("nothing to change is %s", text)
	}
	list := unmatched([]string{"*", "x"}, nil)
	if fmt.Sprint(list) != "[x]" {
		t.Error(list)
	}
}
