package main

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"buildsmith/checks/github"
	"buildsmith/checks/local"
	"buildsmith/store"
	"buildsmith/webhook"
	frombitbucket "buildsmith/webhook/bitbucket"
)

// ForgeSettings are the forges beside GitHub and the built-in one.
type ForgeSettings struct {
	Bitbucket []Bitbucket `yaml:"bitbucket"`
}

// Bitbucket is a Bitbucket, Cloud or Data Center.
type Bitbucket struct {
	Name           string            `yaml:"name"`
	URL            string            `yaml:"url"`
	API            string            `yaml:"api"`
	Kind           string            `yaml:"kind"`
	Deliveries     string            `yaml:"deliveries"`
	Hooks          string            `yaml:"hooks"`
	WebhookSecrets []Secret          `yaml:"webhook-secrets"`
	Credentials    []Credential      `yaml:"credentials"`
	People         map[string]string `yaml:"people"`
}

// A Credential is how repositories of a Bitbucket are reached: a token, or an OAuth consumer.
type Credential struct {
	Repositories []string  `yaml:"repositories"`
	Project      string    `yaml:"project"`
	Token        Secret    `yaml:"token"`
	Email        string    `yaml:"email"`
	Username     string    `yaml:"username"`
	Consumer     *Consumer `yaml:"consumer"`
}

// A Consumer is an OAuth consumer of Bitbucket Cloud.
type Consumer struct {
	Key    string `yaml:"key"`
	Secret Secret `yaml:"secret"`
}

// Kinds of Bitbucket.
const (
	kindCloud      = "cloud"
	kindDataCenter = "data-center"
)

// Who makes webhooks.
const (
	hooksCreate = "create" // the server
	hooksManual = "manual" // people
)

// cloudHost is where Bitbucket Cloud is.
const cloudHost = "bitbucket.org"

// people's rights at Bitbucket.
var peopleRights = map[string]store.Permission{"none": store.PermissionNone, "read": store.PermissionRead, "write": store.PermissionWrite, "admin": store.PermissionAdmin}

// fill sets what is not said. own is the address of this server.
func (b *Bitbucket) fill(first bool, own string) {
	if first {
		setDefault(&b.Name, "bitbucket")
	}
	setDefault(&b.URL, "https://"+cloudHost)
	b.URL = strings.TrimSuffix(b.URL, "/")
	host := ""
	if u, err := url.Parse(b.URL); err == nil {
		host = u.Host
	}
	kind := kindDataCenter
	if host == cloudHost {
		kind = kindCloud
	}
	setDefault(&b.Kind, kind)
	api := b.URL + "/rest"
	switch {
	case host == cloudHost:
		api = "https://api." + cloudHost + "/2.0"
	case b.Kind == kindCloud:
		api = b.URL + "/2.0"
	}
	setDefault(&b.API, api)
	b.API = strings.TrimSuffix(b.API, "/")
	deliveries := byWebhook
	if b.Kind == kindCloud && unreachable(own) || ownAddress(own) {
		deliveries = byPoll
	}
	setDefault(&b.Deliveries, deliveries)
	setDefault(&b.Hooks, hooksCreate)
}

// ownAddress reports whether an address is reached from this machine alone.
func ownAddress(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

var (
	forgeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)
	// repositoriesForm is the name of a repository, or of all of a workspace, project or person.
	repositoriesForm = regexp.MustCompile(`^~?[A-Za-z0-9_][A-Za-z0-9_.-]*/(\*|[A-Za-z0-9_.-]+)$`)
)

// check gives what is wrong with the forges to the function.
func (f *ForgeSettings) check(wrong func(string, ...any), secret func(string, Secret)) {
	seen := map[string]bool{github.Name: true, local.Name: true, store.ForgeAPI: true}
	for n := range f.Bitbucket {
		b := &f.Bitbucket[n]
		key := fmt.Sprintf("forges.bitbucket[%d]", n)
		switch {
		case b.Name == "":
			wrong("%s.name: missing; each Bitbucket beside the first needs one, such as bitbucket-work", key)
		case !forgeName.MatchString(b.Name):
			wrong("%s.name: %q is no name of a forge; write small letters, digits and -, such as bitbucket-work", key, b.Name)
		case seen[b.Name]:
			wrong("%s.name: %q is the name of another forge", key, b.Name)
		}
		seen[b.Name] = true
		b.check(key, wrong, secret)
	}
}

func (b *Bitbucket) check(key string, wrong func(string, ...any), secret func(string, Secret)) {
	address := func(name, text string) {
		if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			wrong("%s.%s: %q is no address; write https://, a host, and the path below which Bitbucket lies", key, name, text)
		}
	}
	address("url", b.URL)
	address("api", b.API)
	oneOf := func(name, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			wrong("%s.%s: %q is none of %s", key, name, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("kind", b.Kind, kindCloud, kindDataCenter)
	oneOf("deliveries", b.Deliveries, byWebhook, byPoll)
	oneOf("hooks", b.Hooks, hooksCreate, hooksManual)
	if b.Hooks == hooksManual && b.Deliveries == byWebhook && len(b.WebhookSecrets) == 0 {
		wrong("%s.webhook-secrets: missing; list the secret that you gave the webhooks", key)
	}
	for n, s := range b.WebhookSecrets {
		at := fmt.Sprintf("%s.webhook-secrets[%d]", key, n)
		secret(at, s)
		if text, err := s.read(); err == nil && len(text) > maxHookSecret {
			wrong("%s: it has %d characters; Bitbucket takes %d", at, len(text), maxHookSecret)
		}
	}
	if len(b.Credentials) == 0 {
		wrong("%s.credentials: missing; list a token and the repositories that it is for", key)
	}
	for n := range b.Credentials {
		b.Credentials[n].check(fmt.Sprintf("%s.credentials[%d]", key, n), b.Kind, wrong, secret)
	}
	for id, right := range b.People {
		if _, ok := peopleRights[right]; !ok {
			wrong("%s.people.%s: %q is none of %s", key, id, right, strings.Join(slices.Sorted(maps.Keys(peopleRights)), ", "))
		}
	}
}

// maxHookSecret is how many characters the secret of a webhook may have.
const maxHookSecret = 128

func (c *Credential) check(key, kind string, wrong func(string, ...any), secret func(string, Secret)) {
	if len(c.Repositories) == 0 {
		wrong("%s.repositories: missing; write names such as workspace/repository or workspace/*", key)
	}
	for _, name := range c.Repositories {
		if !repositoriesForm.MatchString(name) {
			wrong("%s.repositories: %q is no repository; write workspace/repository, KEY/repository, or * in place of the repository", key, name)
		}
	}
	cloud := kind == kindCloud
	switch {
	case c.Token.given() && c.Consumer != nil:
		wrong("%s: token and consumer stand both; keep one", key)
	case c.Consumer != nil && !cloud:
		wrong("%s.consumer: a Data Center takes tokens alone", key)
	case c.Consumer != nil:
		if c.Consumer.Key == "" {
			wrong("%s.consumer.key: missing; it stands on the page of the workspace's OAuth consumers", key)
		}
		secret(key+".consumer.secret", c.Consumer.Secret)
	default:
		secret(key+".token", c.Token)
	}
	if c.Email != "" && (!cloud || c.Consumer != nil) {
		wrong("%s.email: it belongs to the API token of a user of Bitbucket Cloud", key)
	}
	if c.Username != "" && cloud {
		wrong("%s.username: it belongs to the token of a person at a Data Center", key)
	}
	if c.Project != "" && !cloud {
		wrong("%s.project: at a Data Center the project stands in repositories, as KEY/*", key)
	}
}

// neverTold says which events of filters a forge never tells of.
func (c *Config) neverTold(forge string, filters *webhook.Filters) (warnings []string) {
	for n := range c.Forges.Bitbucket {
		b := &c.Forges.Bitbucket[n]
		if b.Name != forge {
			continue
		}
		for _, event := range filters.Unknown(frombitbucket.Events(b.Kind == kindDataCenter)) {
			warnings = append(warnings, fmt.Sprintf("%s never comes from %s", event, forge))
		}
	}
	return warnings
}

// defaultForge is the forge of a configured project that names none.
func (c *Config) defaultForge(p *ProjectSettings) string {
	if len(c.Forges.Bitbucket) > 0 {
		if c.GitHub != nil || len(c.Forges.Bitbucket) > 1 {
			return "" // it has to be said
		}
		return c.Forges.Bitbucket[0].Name
	}
	if c.GitHub != nil || strings.Contains(p.Repository, "/") { // which no name at the built-in forge has
		return github.Name
	}
	return local.Name
}

// forgeNames are the forges that a project can be at.
func (c *Config) forgeNames() []string {
	names := []string{github.Name, local.Name}
	for n := range c.Forges.Bitbucket {
		names = append(names, c.Forges.Bitbucket[n].Name)
	}
	return names
}
