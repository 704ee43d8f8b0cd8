package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
)

// TestForgeDefaults has one Bitbucket of each kind, and says what nobody wrote.
func TestForgeDefaults(t *testing.T) {
	c, _, err := load(t, `
url: https://ci.example.org
forges:
  bitbucket:
  - credentials: [{repositories: [acme/shop], token: {file: DIR/secret}}]
  - name: dc
    url: https://git.example.org/bitbucket/
    credentials: [{repositories: ["SHOP/*", "~alice/tools"], token: {file: DIR/secret}, username: alice}]
    people: {"7": admin}
projects:
- {name: shop, forge: dc, repository: SHOP/web}
`)
	if err != nil {
		t.Fatal(err)
	}
	cloud, dc := c.Forges.Bitbucket[0], c.Forges.Bitbucket[1]
	if cloud.Name != "bitbucket" || cloud.URL != "https://bitbucket.org" || cloud.API != "https://api.bitbucket.org/2.0" || cloud.Kind != kindCloud || cloud.Deliveries != byWebhook || cloud.Hooks != hooksCreate {
		t.Errorf("%+v", cloud)
	}
	if dc.URL != "https://git.example.org/bitbucket" || dc.API != "https://git.example.org/bitbucket/rest" || dc.Kind != kindDataCenter || dc.Deliveries != byWebhook {
		t.Errorf("%+v", dc)
	}
	if *c.LocalForge {
		t.Error("the built-in forge is on beside another")
	}
	if list := c.configured(repoAt("dc", "1", "shop/web")); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

// TestForgeDeliveries has repositories looked at where nothing can be delivered: Cloud reaches no private address, and nobody this
// machine's own.
func TestForgeDeliveries(t *testing.T) {
	for _, tt := range []struct{ url, kind, want string }{
		{"https://ci.example.org", kindCloud, byWebhook},
		{"http://ci.example.org", kindCloud, byPoll},
		{"https://10.0.0.1", kindCloud, byPoll},
		{"http://127.0.0.1:8080", kindCloud, byPoll},
		{"http://10.0.0.1", kindDataCenter, byWebhook},
		{"http://ci.internal", kindDataCenter, byWebhook},
		{"http://localhost:8080", kindDataCenter, byPoll},
		{"http://127.0.0.1:8080", kindDataCenter, byPoll},
	} {
		b := Bitbucket{Kind: tt.kind, URL: "https://git.example.org"}
		if b.fill(true, tt.url); b.Deliveries != tt.want {
			t.Errorf("%s at %s: %s", tt.kind, tt.url, b.Deliveries)
		}
	}
}

// TestForgeOfProjects finds the forge of a project that names none.
func TestForgeOfProjects(t *testing.T) {
	const one = "forges: {bitbucket: [{name: bucket, credentials: [{repositories: [acme/shop], token: {file: DIR/secret}}]}]}\n"
	const project = "projects: [{name: shop, repository: acme/shop}]\n"
	c, _, err := load(t, one+project)
	if err != nil || c.Projects[0].Forge != "bucket" {
		t.Errorf("%+v %v", c, err)
	}
	_, _, err = load(t, one+project+"github: {app-id: 1, private-key: {file: DIR/key.pem}, webhook-secrets: [{file: DIR/secret}]}\n")
	if err == nil || !strings.HasSuffix(err.Error(), ": projects.shop.forge: missing, and more than one forge is configured; write one of github, local, bucket") {
		t.Error(err)
	}
	_, _, err = load(t, one+"projects: [{name: shop, forge: gitlab, repository: acme/shop}]\n")
	if err == nil || !strings.HasSuffix(err.Error(), `: projects.shop.forge: "gitlab" is none of github, local, bucket`) {
		t.Error(err)
	}
}

// TestForgeFilters warns of events that a Bitbucket never tells of.
func TestForgeFilters(t *testing.T) {
	c, _, err := load(t, `
forges: {bitbucket: [{credentials: [{repositories: [acme/shop], token: {file: DIR/secret}}]}]}
projects:
- {name: shop, repository: acme/shop, filter-groups: [[{type: EVENT, pattern: "PUSH, RELEASED, PULL_REQUEST_REOPENED"}], [{type: EVENT, pattern: RELEASED}]]}
- {name: all, repository: acme/shop, filter-groups: [[{type: EVENT, pattern: PULL_REQUEST_MERGED}]]}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := "projects.shop: RELEASED never comes from bitbucket\nprojects.shop: PULL_REQUEST_REOPENED never comes from bitbucket"
	if got := strings.Join(c.filterWarnings(), "\n"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestForgeProblems(t *testing.T) {
	_, dir, err := load(t, `
forges:
  bitbucket:
  - name: github
    url: https://bitbucket.org?x
    kind: server
    deliveries: never
    hooks: some
    people: {a: owner}
  - credentials:
    - {token: {file: DIR/secret}, consumer: {key: k}}
    - {repositories: [shop, "*/x", acme/shop], consumer: {}}
  - name: dc
    url: https://git.example.org
    api: ftp://git.example.org
    hooks: manual
    deliveries: webhook
    credentials:
    - {repositories: ["KEY/*"], consumer: {key: k, secret: {file: DIR/secret}}, email: a@example.org, project: X}
  - name: cloud
    webhook-secrets: [{file: DIR/long}]
    credentials: [{repositories: [acme/shop], token: {file: DIR/gone}, username: u}]
`)
	if err == nil {
		t.Fatal("accepted")
	}
	got := strings.ReplaceAll(strings.ReplaceAll(err.Error(), filepath.Join(dir, "config.yml"), "FILE"), dir, "DIR")
	want := strings.Join([]string{
		`FILE: forges.bitbucket[0].credentials: missing; list a token and the repositories that it is for`,
		`FILE: forges.bitbucket[0].deliveries: "never" is none of webhook, poll`,
		`FILE: forges.bitbucket[0].hooks: "some" is none of create, manual`,
		`FILE: forges.bitbucket[0].kind: "server" is none of cloud, data-center`,
		`FILE: forges.bitbucket[0].name: "github" is the name of another forge`,
		`FILE: forges.bitbucket[0].people.a: "owner" is none of admin, none, read, write`,
		`FILE: forges.bitbucket[0].url: "https://bitbucket.org?x" is no address; write https://, a host, and the path below which Bitbucket lies`,
		`FILE: forges.bitbucket[1].credentials[0].repositories: missing; write names such as workspace/repository or workspace/*`,
		`FILE: forges.bitbucket[1].credentials[0]: token and consumer stand both; keep one`,
		`FILE: forges.bitbucket[1].credentials[1].consumer.key: missing; it stands on the page of the workspace's OAuth consumers`,
		`FILE: forges.bitbucket[1].credentials[1].consumer.secret: missing; write {file: PATH} or {env: NAME}`,
		`FILE: forges.bitbucket[1].credentials[1].repositories: "*/x" is no repository; write workspace/repository, KEY/repository, or * in place of the repository`,
		`FILE: forges.bitbucket[1].credentials[1].repositories: "shop" is no repository; write workspace/repository, KEY/repository, or * in place of the repository`,
		`FILE: forges.bitbucket[1].name: missing; each Bitbucket beside the first needs one, such as bitbucket-work`,
		`FILE: forges.bitbucket[2].api: "ftp://git.example.org" is no address; write https://, a host, and the path below which Bitbucket lies`,
		`FILE: forges.bitbucket[2].credentials[0].consumer: a Data Center takes tokens alone`,
		`FILE: forges.bitbucket[2].credentials[0].email: it belongs to the API token of a user of Bitbucket Cloud`,
		`FILE: forges.bitbucket[2].credentials[0].project: at a Data Center the project stands in repositories, as KEY/*`,
		`FILE: forges.bitbucket[2].webhook-secrets: missing; list the secret that you gave the webhooks`,
		`FILE: forges.bitbucket[3].credentials[0].token: open DIR/gone: no such file or directory`,
		`FILE: forges.bitbucket[3].credentials[0].username: it belongs to the token of a person at a Data Center`,
		`FILE: forges.bitbucket[3].webhook-secrets[0]: open DIR/long: no such file or directory`,
	}, "\n")
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, []byte(strings.Repeat("x", 129)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = load(t, "forges: {bitbucket: [{webhook-secrets: [{file: "+long+"}], credentials: [{repositories: [acme/shop], token: {file: DIR/secret}}]}]}")
	if err == nil || !strings.HasSuffix(err.Error(), "forges.bitbucket[0].webhook-secrets[0]: it has 129 characters; Bitbucket takes 128") {
		t.Error(err)
	}
}

// TestHookSecrets makes the secret of webhooks once, for the server's user alone, and takes those that are written.
func TestHookSecrets(t *testing.T) {
	data := t.TempDir()
	b := Bitbucket{Name: "bucket"}
	first, err := b.hookSecrets(data)
	if err != nil || len(first) != 1 || len(first[0]) != 64 {
		t.Fatalf("%v %v", first, err)
	}
	path := filepath.Join(data, "forges", "bucket.secret")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if again, err := b.hookSecrets(data); err != nil || !slices.Equal(again, first) {
		t.Errorf("%v %v", again, err)
	}
	if err := os.WriteFile(path, []byte("new\n"+first[0]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := b.hookSecrets(data); err != nil || !slices.Equal(list, []string{"new", first[0]}) {
		t.Errorf("%v %v", list, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.hookSecrets(data); err == nil || !strings.HasPrefix(err.Error(), "the webhooks' secret: ") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.WebhookSecrets = []Secret{{File: file}}
	if list, err := b.hookSecrets(data); err != nil || !slices.Equal(list, []string{"mine"}) {
		t.Errorf("%v %v", list, err)
	}
	b.WebhookSecrets = []Secret{{File: file + "gone"}}
	if _, err := b.hookSecrets(data); err == nil || !strings.HasPrefix(err.Error(), "webhook-secrets[0]: open ") {
		t.Error(err)
	}
}

func repoAt(forge, id, name string) store.Repo { return store.Repo{Forge: forge, ID: id, Name: name} }
