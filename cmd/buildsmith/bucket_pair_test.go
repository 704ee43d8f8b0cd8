package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/checks/web"
	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A pair is the part of a server that talks to a Bitbucket Cloud and to a Data Center.
type pair struct {
	*server
	t                 *testing.T
	cloud, dataCenter *bitbuckettest.Server
	dir               string
}

// newPair has tokens with all rights, unless others are given: Cloud's and the Data Center's.
func newPair(t *testing.T, tokens ...bitbuckettest.TokenOptions) *pair {
	t.Helper()
	p := &pair{server: &server{log: slog.New(slog.DiscardHandler)}, t: t, dir: t.TempDir(),
		cloud: bitbuckettest.New(t, bitbuckettest.Options{Flavor: bitbuckettest.Cloud}), dataCenter: bitbuckettest.New(t, bitbuckettest.Options{Flavor: bitbuckettest.DataCenter})}
	if tokens == nil {
		tokens = []bitbuckettest.TokenOptions{{Kind: bitbuckettest.RepositoryToken, Repo: "octo/hello"}, {Kind: bitbuckettest.ProjectToken, Project: "OCTO"}}
	}
	for n, hub := range []*bitbuckettest.Server{p.cloud, p.dataCenter} {
		_, err := hub.AddRepo("octo/hello", bitbuckettest.RepoOptions{})
		p.must(err)
		_, err = hub.Commit("octo/hello", "main", bitbuckettest.Change{Message: "Begin", Files: map[string]string{"a": "1"}})
		p.must(err)
		token, err := hub.AddToken(tokens[n])
		p.must(err)
		p.must(os.WriteFile(filepath.Join(p.dir, fmt.Sprint("token", n)), []byte(token.Value), 0o600))
	}
	e := echo.New()
	e.GET("/healthz", p.healthz)
	address := httptest.NewServer(e)
	t.Cleanup(address.Close)
	p.must(os.WriteFile(filepath.Join(p.dir, "config.yml"), fmt.Appendf(nil, `data: %[1]s/data
url: %[2]s
forges:
  bitbucket:
  - {name: bucket, kind: cloud, url: %[3]q, deliveries: webhook, credentials: [{repositories: [octo/hello], token: {file: %[1]s/token0}}]}
  - {name: work, kind: data-center, url: %[4]q, deliveries: webhook, credentials: [{repositories: [OCTO/hello], token: {file: %[1]s/token1}}]}
`, p.dir, address.URL, p.cloud.WebURL(), p.dataCenter.WebURL()), 0o600))
	p.open()
	e.GET("/metrics", func(c echo.Context) error {
		promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(c.Response(), c.Request())
		return nil
	})
	p.intake.Register(e)
	web.New(web.Config{Store: p.store, AdminToken: "admin", URL: p.config.URL, Log: p.log, Links: p.links, Forges: &web.Forges{List: p.forges, Resync: p.resync}}).Register(e)
	return p
}

func (p *pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// open reads the configuration and makes what a server makes of it.
func (p *pair) open() {
	p.t.Helper()
	var err error
	p.config, err = loadConfig(filepath.Join(p.dir, "config.yml"))
	p.must(err)
	if p.store == nil {
		p.must(os.MkdirAll(p.config.Data, 0o700))
		p.store, err = store.Open(p.config.Data, store.Options{NoSync: true, Reserve: 1})
		p.must(err)
		p.t.Cleanup(func() { p.store.Close() })
	}
	p.buckets, err = openBuckets(p.config, p.log, p.refused)
	p.must(err)
	var sources []webhook.Source
	for _, m := range p.members() {
		sources = append(sources, m.source())
	}
	p.intake = webhook.New(webhook.Config{Store: p.store, Sources: sources, Projects: p.config.configured, Settings: p.config.settings(), Log: p.log})
	p.reporter = checks.New(checks.Config{Store: p.store, Log: p.log})
	p.metrics = newMetrics(p.store, p.intake, p.reporter, p.members)
}

// get asks the server with the admin token.
func (p *pair) get(path string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.config.URL+path, nil)
	p.must(err)
	r.Header.Set("Authorization", "Bearer admin")
	answer, err := http.DefaultClient.Do(r)
	p.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	p.must(err)
	return string(text)
}

// TestBucketPage shows how a Cloud and a Data Center stand: well, and with rights that are missing.
func TestBucketPage(t *testing.T) {
	p := newPair(t)
	for _, m := range p.members() {
		p.must(m.refresh(t.Context(), p.server))
	}
	var shown []web.Forge
	p.must(json.Unmarshal([]byte(p.get("/api/forges")), &shown))
	if len(shown) != 2 || shown[0].Kind != "Bitbucket Cloud" || shown[0].Name != "bucket" || shown[0].URL != p.cloud.WebURL() || shown[0].HookURL != p.config.URL+"/webhook/bucket" ||
		shown[1].Kind != "Bitbucket Data Center" || shown[1].Name != "work" || shown[1].HookURL != p.config.URL+"/webhook/work" {
		t.Fatalf("%+v", shown)
	}
	for _, f := range shown {
		if len(f.Installations) != 1 || len(f.Problems) != 0 || f.Read.IsZero() {
			t.Errorf("%s: %+v", f.Name, f)
			continue
		}
		for _, problem := range f.Installations[0].Problems {
			if !problem.Note {
				t.Errorf("%s: %s", f.Name, problem.Text)
			}
		}
	}

	p = newPair(t, bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: "octo/hello", Scopes: []string{"repository", "pullrequest"}},
		bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: "octo/hello", Scopes: []string{"REPO_READ"}})
	for _, m := range p.members() {
		if err := m.refresh(t.Context(), p.server); err == nil || !strings.Contains(err.Error(), "the webhook of ") {
			t.Errorf("%s: %v", m.name(), err)
		}
	}
	answer := p.get("/api/forges")
	for _, want := range []string{"the scope webhook is missing", "the scope repository:admin is missing", "lacks REPO_ADMIN, which GET", "webhooks must be made by hand"} {
		if !strings.Contains(answer, want) {
			t.Errorf("%q is not in %s", want, answer)
		}
	}
	for n := range 2 {
		token, err := os.ReadFile(filepath.Join(p.dir, fmt.Sprint("token", n)))
		p.must(err)
		if strings.Contains(answer, string(token)) {
			t.Errorf("token %d is shown", n)
		}
	}
}

// TestBucketMetrics tells the two apart.
func TestBucketMetrics(t *testing.T) {
	p := newPair(t)
	for _, m := range p.members() {
		p.must(m.refresh(t.Context(), p.server))
	}
	text := p.get("/metrics")
	for _, want := range []string{`buildsmith_forge_writes_total{forge="bucket"} 1`, `buildsmith_forge_writes_total{forge="work"} 1`,
		`buildsmith_forge_requests_total{forge="bucket",outcome="failure"} 0`, `buildsmith_forge_requests_total{forge="work",outcome="success"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

// TestBucketDoctor is told of good and of bad tokens.
func TestBucketDoctor(t *testing.T) {
	said := func(p *pair) (string, bool) {
		var out bytes.Buffer
		d := &doctor{out: &out}
		for n := range p.config.Forges.Bitbucket {
			d.bitbucket(t.Context(), p.config, &p.config.Forges.Bitbucket[n])
		}
		return out.String(), d.wrong > 0
	}
	p := newPair(t)
	if text, wrong := said(p); wrong || !strings.Contains(text, "octo/hello") || !strings.Contains(text, "OCTO/hello") {
		t.Errorf("%v %s", wrong, text)
	}
	p.must(p.cloud.Revoke(p.cloud.Tokens()[0].Value))
	p.must(p.dataCenter.Revoke(p.dataCenter.Tokens()[0].Value))
	text, wrong := said(p)
	for _, want := range []string{
		"wrong  bucket         octo/hello: it cannot be read: GET /repositories/octo/hello: status 401",
		"wrong  work           OCTO/hello: it cannot be read: GET /api/latest/projects/OCTO/repos/hello: status 401",
		"the token has expired, was revoked, or is of another kind",
	} {
		if !wrong || !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// TestBucketSecrets gives the webhooks another secret by a new first line: what the one before signed is taken as well.
func TestBucketSecrets(t *testing.T) {
	p := newPair(t)
	path := filepath.Join(p.config.Data, "forges", "bucket.secret")
	before, err := os.ReadFile(path)
	p.must(err)
	p.must(os.WriteFile(path, append([]byte("another\n"), before...), 0o600))
	p.open()
	p.must(p.members()[0].refresh(t.Context(), p.server))
	if hooks := p.cloud.Hooks("octo/hello"); len(hooks) != 1 || hooks[0].Secret != "another" {
		t.Errorf("%+v", hooks)
	}
	source := p.members()[0].source()
	body := []byte(`{"a": 1}`)
	for secret, ok := range map[string]bool{"another": true, strings.TrimSpace(string(before)): true, "third": false} {
		signed, err := source.Verify(http.Header{"X-Hub-Signature": {signedBy(secret, body)}})
		p.must(err)
		if err := signed(body); (err == nil) != ok {
			t.Errorf("signed with %.3s…: %v", secret, err)
		}
	}
}

func signedBy(secret string, body []byte) string {
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write(body)
	return "sha256=" + hex.EncodeToString(sum.Sum(nil))
}
