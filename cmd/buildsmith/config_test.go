package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// load loads a configuration whose DIR stands for a directory with a key and a secret.
func load(t *testing.T, text string) (*Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"key.pem": "key\n", "secret": "s3cret\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(path)
	return c, dir, err
}

func TestDefaults(t *testing.T) {
	c, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	s := c.settings()
	if c.Listen != "127.0.0.1:8080" || c.URL != "http://127.0.0.1:8080" || !*c.LocalForge || c.Slots < 1 || *c.Warm != 1 || c.Checks != "phases" {
		t.Errorf("%+v", c)
	}
	if s.Image != defaultImage || s.Timeout != time.Hour || s.QueueTimeout != 8*time.Hour || s.Memory < 1<<28 || s.Disk != 20<<30 || s.LogLimit != 1<<30 ||
		s.Processes != 4096 || s.Network != store.NetworkFull || s.Required || s.Sudo {
		t.Errorf("%+v", s)
	}
}

func TestWholeConfig(t *testing.T) {
	t.Setenv("BUILDSMITH_TEST_SECRET", "from the environment")
	c, _, err := load(t, `
listen: 0.0.0.0:443
url: https://ci.example.org/
data: DIR/data
reserve: 4GiB
tls: {certificate: DIR/key.pem, key: DIR/key.pem}
github:
  app-id: 42
  private-key: {file: DIR/key.pem}
  webhook-secrets: [{env: BUILDSMITH_TEST_SECRET}, {file: DIR/secret}]
  url: https://github.example.org
local-forge: true
max-push: 100M
checks: build
slots: 3
warm: 0
pull: always
docker: {host: "unix:///run/docker.sock", runtime: runsc}
registries: {registry.example.org: {username: bot, password: {file: DIR/secret}}}
ca-bundle: DIR/key.pem
proxy: {http: "http://proxy:3128", https: "http://proxy:3128", no: example.org}
retention: {builds: 30d, logs: 20d, artifacts: 12h, mirrors: 1d, images: 2d}
region: eu-west-1
account: "111122223333"
builds: {image: debian, timeout: 30m, queue-timeout: 2h, memory: 1.5GiB, cpus: 1.5, processes: 100, disk: 5G, log-limit: 10MiB, network: none, sudo: true, concurrency: 2, findings: true}
projects:
  - name: shop
    repository: octo/shop
    buildspec: ci/build.yml
    image: golang
    variables: {B: "2", A: "1"}
    sudo: false
    concurrency: 0
  - {name: tools, forge: local, repository: tools, timeout: 5m, findings: false}
log: {level: debug, format: json}
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.URL != "https://ci.example.org" || c.Reserve != 4<<30 || c.MaxPush != 100<<20 || time.Duration(c.Retention.Artifacts) != 12*time.Hour {
		t.Errorf("%+v", c)
	}
	if secret, err := c.GitHub.WebhookSecrets[0].read(); secret != "from the environment" || err != nil {
		t.Errorf("%q %v", secret, err)
	}
	if secret, err := c.GitHub.WebhookSecrets[1].read(); secret != "s3cret" || err != nil {
		t.Errorf("%q %v", secret, err)
	}
	s := c.projectSettings(&c.Projects[0])
	if s.Image != "golang" || s.Buildspec != "ci/build.yml" || !s.Required || s.Sudo || s.Memory != 3<<29 || s.Timeout != 30*time.Minute || s.Network != store.NetworkNone {
		t.Errorf("%+v", s)
	}
	if len(s.Variables) != 2 || s.Variables[0].Name != "A" || c.Projects[0].Forge != "github" {
		t.Errorf("%+v %+v", s.Variables, c.Projects[0])
	}
	if s.Concurrency != 0 || !s.Findings || s.BaseSpec {
		t.Errorf("%+v", s)
	}
	if s = c.projectSettings(&c.Projects[1]); s.Concurrency != 2 || s.Findings || s.BaseSpec {
		t.Errorf("%+v", s)
	}
	if s = c.projectSettings(&c.Projects[1]); s.Timeout != 5*time.Minute || !s.Sudo {
		t.Errorf("%+v", s)
	}
	if api, host := apiOf(c.GitHub.URL); api != "https://github.example.org/api/v3" || host != "github.example.org" {
		t.Errorf("%s %s", api, host)
	}
	if got := strings.Join(c.Proxy.environment(), " "); got != "HTTP_PROXY=http://proxy:3128 http_proxy=http://proxy:3128 HTTPS_PROXY=http://proxy:3128 https_proxy=http://proxy:3128 NO_PROXY=example.org no_proxy=example.org" {
		t.Error(got)
	}
}

var knownKeys = regexp.MustCompile(`; known here: ([a-z-]+), [a-z, -]+`)

func TestConfigProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"unknown keys": {"listn: x\ngithub:\n  appid: 1\nprojects:\n  - {nam: x}\n", []string{
			`FILE:1: unknown key "listn"; known here: listen, ...`,
			`FILE:3: unknown key "appid"; known here: app-id, ...`,
			`FILE:5: unknown key "nam"; known here: name, ...`}},
		"wrong types": {"slots: many\nreserve: lots\nretention: {builds: soon}\nlocal-forge: [x]\n", []string{
			`FILE:1: "many" is a text where a whole number belongs`,
			`FILE:2: "lots" is no size; write a number of bytes, or one such as 512MiB or 20GiB`,
			`FILE:3: "soon" is no time span; write one such as 90s, 60m, 8h or 30d`,
			`FILE:4: "" is a list where true or false belongs`}},
		"YAML":     {"a: b: c\n", []string{"FILE:1: mapping values are not allowed in this context"}},
		"twice":    {"slots: 1\nslots: 2\n", []string{`FILE:2: mapping key "slots" already defined at line 1`}},
		"a secret": {"github: {app-id: 1, private-key: abc, webhook-secrets: [{file: DIR/secret}]}\n", []string{"FILE:1: a secret does not belong here; write {file: PATH} or {env: NAME}"}},
		"addresses": {"listen: nowhere\nurl: ci.example.org\ndata: relative\n", []string{
			`FILE: data: "relative" is no absolute path`,
			`FILE: listen: "nowhere" is no address; write host:port, such as 127.0.0.1:8080`,
			`FILE: url: "ci.example.org" is no address; write http:// or https:// and a host, without a path`}},
		"a path in the address": {"url: https://example.org/ci\n", []string{`FILE: url: "https://example.org/ci" is no address; write http:// or https:// and a host, without a path`}},
		"half of TLS":           {"tls: {certificate: DIR/key.pem}\n", []string{"FILE: tls: certificate and key belong together"}},
		"missing files": {"tls: {certificate: /none/a, key: /none/b}\nca-bundle: /none/c\n", []string{
			"FILE: ca-bundle: open /none/c: no such file or directory", "FILE: tls.certificate: open /none/a: no such file or directory",
			"FILE: tls.key: open /none/b: no such file or directory"}},
		"GitHub": {"github: {}\n", []string{
			"FILE: github.app-id: missing; it stands on the App's page", "FILE: github.private-key: missing; write {file: PATH} or {env: NAME}",
			"FILE: github.webhook-secrets: missing; list the webhook's secret, and for a while the one before"}},
		"secrets": {"github: {app-id: 1, private-key: {file: DIR/empty}, webhook-secrets: [{env: BUILDSMITH_TEST_UNSET}, {file: DIR/secret, env: X}]}\n", []string{
			"FILE: github.private-key: DIR/empty is empty", "FILE: github.webhook-secrets[0]: the environment variable BUILDSMITH_TEST_UNSET is not set",
			"FILE: github.webhook-secrets[1]: file and env stand both; keep one"}},
		"deliveries": {"github: {app-id: 1, private-key: {file: DIR/secret}, deliveries: mail}\n", []string{
			`FILE: github.deliveries: "mail" is none of webhook, poll`,
			"FILE: github.webhook-secrets: missing; list the webhook's secret, and for a while the one before"}},
		"no forge": {"local-forge: false\n", []string{"FILE: no forge is configured: github and forges are missing and local-forge is off"}},
		"words": {"checks: all\npull: sometimes\nlog: {level: loud, format: xml}\nslots: -1\nwarm: 500\n", []string{
			`FILE: checks: "all" is none of phases, build`, `FILE: log.format: "xml" is none of text, json`, `FILE: log.level: "loud" is none of debug, info, warn, error`,
			`FILE: pull: "sometimes" is none of missing, always, never`, "FILE: slots: -1 is not between 1 and 1000", "FILE: warm: 500 is not between 0 and 100"}},
		"builds": {"builds: {timeout: 48h, memory: 1MiB, cpus: -1, processes: 3, concurrency: -1, network: half}\n", []string{
			"FILE: builds.concurrency: -1 is no number of builds; write how many of the project may run at a time, or 0 for any number", "FILE: builds.cpus: -1 is no number of cores", "FILE: builds.memory: 1048576 bytes are less than 16MiB", `FILE: builds.network: "half" is none of full, none`,
			"FILE: builds.processes: 3 is less than 16", "FILE: builds.timeout: 48h0m0s is not between 1s and 36h"}},
		"variables": {"projects:\n  - name: shop\n    repository: r\n    variables:\n      A: {typ: x}\n      B: [x]\n      C: {type: PARAMETER_STORE}\n      D: {type: {}, value: d}\n", []string{
			`FILE:5: "typ" does not belong to a variable; write a text, or {type: PARAMETER_STORE, value: NAME}`,
			`FILE:6: a variable is a text, or {type: PARAMETER_STORE, value: NAME}`, `FILE:7: a variable is a text, or {type: PARAMETER_STORE, value: NAME}`,
			`FILE:8: "type" does not belong to a variable; write a text, or {type: PARAMETER_STORE, value: NAME}`}},
		"what builds leave": {"builds: {cache: maybe}\nprojects:\n  - {name: shop, repository: r, cache: some, secondary-artifacts: [docs, a-b], variables: {A: {type: VAULT, value: x}}}\n", []string{
			`FILE: builds.cache: "maybe" is none of on, off, forks`, `FILE: projects.shop.cache: "some" is none of on, off, forks`,
			`FILE: projects.shop.secondary-artifacts: "a-b" is no artifact identifier; use letters, digits and _, fewer than 128`,
			`FILE: projects.shop.variables.A: the type "VAULT" is none of PARAMETER_STORE, SECRETS_MANAGER`}},
		"registries": {"registries: {r.example.org: {}}\n", []string{
			"FILE: registries.r.example.org.password: missing; write {file: PATH} or {env: NAME}", "FILE: registries.r.example.org.username: missing"}},
		"projects": {"projects:\n  - {name: a, repository: r}\n  - {name: shop, forge: github, repository: r}\n  - {name: shop, forge: gitlab}\n  - {name: other, repository: r, variables: {A-B: c, CODEBUILD_X: d}}\n", []string{
			`FILE: projects.other.variables: "A-B" is no name of a variable, or is reserved`, `FILE: projects.other.variables: "CODEBUILD_X" is no name of a variable, or is reserved`,
			`FILE: projects.shop.forge: "gitlab" is none of github, local`,
			"FILE: projects.shop.repository: missing; write the repository's name, such as owner/repo", "FILE: projects.shop: the name stands twice",
			`FILE: projects[0].name: "a" is no name of a project; write 2 to 150 letters, digits, - and _`}},
	} {
		_, dir, err := load(t, tt.text)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.Join(dir, "config.yml"), "FILE"), dir, "DIR")
		got = knownKeys.ReplaceAllString(got, "; known here: $1, ...") // all of them are the README's
		if want := strings.Join(tt.want, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	if _, err := loadConfig("/none/config.yml"); err == nil || err.Error() != "open /none/config.yml: no such file or directory" {
		t.Errorf("%v", err)
	}
	if _, err := loadConfig(""); err != nil {
		t.Error(err)
	}
}

func TestSizesAndSpans(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "17": 17, "1K": 1 << 10, "2 MiB": 2 << 20, "1.5GiB": 3 << 29, "3GB": 3 << 30, "1T": 1 << 40} {
		if got, err := parseSize(text); got != want || err != nil {
			t.Errorf("parseSize(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1X", "1KiBB", "9999999999T", "GiB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "90s": 90 * time.Second, "0d": 0} {
		if got, err := parseDuration(text); got != want || err != nil {
			t.Errorf("parseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "1.5d", "5", "99999999d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %v", text, got)
		}
	}
}
