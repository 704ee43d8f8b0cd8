package main

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"buildsmith/runner/docker"
	"buildsmith/store"
)

// check gives everything that is wrong.
func (c *Config) check() problems {
	var p problems
	wrong := func(format string, args ...any) {
		where := c.path
		if where == "" {
			where = "configuration"
		}
		p = append(p, where+": "+fmt.Sprintf(format, args...))
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		wrong("listen: %q is no address; write host:port, such as 127.0.0.1:8080", c.Listen)
	}
	if !filepath.IsAbs(c.Data) {
		wrong("data: %q is no absolute path", c.Data)
	}
	checkURL := func(key, text string) {
		if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			wrong("%s: %q is no address; write http:// or https:// and a host, without a path", key, text)
		}
	}
	checkURL("url", c.URL)
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		wrong("tls: certificate and key belong together")
	}
	readable := func(key, path string) {
		if path == "" {
			return
		}
		f, err := os.Open(path)
		if err != nil {
			wrong("%s: %v", key, err)
			return
		}
		f.Close()
	}
	readable("tls.certificate", c.TLS.Certificate)
	readable("tls.key", c.TLS.Key)
	readable("ca-bundle", c.CABundle)
	secret := func(key string, s Secret) {
		switch {
		case !s.given():
			wrong("%s: missing; write {file: PATH} or {env: NAME}", key)
		case s.File != "" && s.Env != "":
			wrong("%s: file and env stand both; keep one", key)
		default:
			if _, err := s.read(); err != nil {
				wrong("%s: %v", key, err)
			}
		}
	}
	if g := c.GitHub; g != nil {
		if g.AppID <= 0 {
			wrong("github.app-id: missing; it stands on the App's page")
		}
		secret("github.private-key", g.PrivateKey)
		if len(g.WebhookSecrets) == 0 && g.Deliveries != byPoll {
			wrong("github.webhook-secrets: missing; list the webhook's secret, and for a while the one before")
		}
		for i, s := range g.WebhookSecrets {
			secret(fmt.Sprintf("github.webhook-secrets[%d]", i), s)
		}
		checkURL("github.url", g.URL)
		if g.Deliveries != byWebhook && g.Deliveries != byPoll {
			wrong("github.deliveries: %q is none of webhook, poll", g.Deliveries)
		}
	} else if app, err := loadApp(c.Data); err != nil {
		wrong("%v", err)
	} else if app == nil && !*c.LocalForge && len(c.Forges.Bitbucket) == 0 {
		wrong("no forge is configured: github and forges are missing and local-forge is off")
	}
	c.Forges.check(wrong, secret)
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			wrong("%s: %q is none of %s", key, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("checks", c.Checks, "phases", "build")
	oneOf("pull", c.Pull, docker.PullMissing, docker.PullAlways, docker.PullNever)
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	if c.Slots < 1 || c.Slots > 1000 {
		wrong("slots: %d is not between 1 and 1000", c.Slots)
	}
	if *c.Warm < 0 || *c.Warm > 100 {
		wrong("warm: %d is not between 0 and 100", *c.Warm)
	}
	for host, r := range c.Registries {
		if r.Username == "" {
			wrong("registries.%s.username: missing", host)
		}
		secret("registries."+host+".password", r.Password)
	}
	c.checkReports(wrong)
	c.Secrets.check(wrong)
	c.checkBuilds("builds", &c.Builds, wrong)
	c.DecisionSettings.check("", wrong)
	c.Commands.check(wrong)
	seen := map[string]bool{}
	for i := range c.Projects {
		project := &c.Projects[i]
		key := fmt.Sprintf("projects[%d]", i)
		if !projectName.MatchString(project.Name) {
			wrong("%s.name: %q is no name of a project; write 2 to 150 letters, digits, - and _", key, project.Name)
		} else if key = "projects." + project.Name; seen[project.Name] {
			wrong("%s: the name stands twice", key)
		}
		seen[project.Name] = true
		if project.Repository == "" && project.RepositoryID == "" {
			wrong("%s.repository: missing; write the repository's name, such as owner/repo", key)
		}
		switch names := c.forgeNames(); {
		case project.Forge == "":
			wrong("%s.forge: missing, and more than one forge is configured; write one of %s", key, strings.Join(names, ", "))
		case !slices.Contains(names, project.Forge):
			wrong("%s.forge: %q is none of %s", key, project.Forge, strings.Join(names, ", "))
		case project.Forge == "local" && !*c.LocalForge:
			wrong("%s.forge: the built-in forge is off", key)
		}
		project.Environment.check(key, wrong)
		for name, v := range project.Variables {
			if v.Type != "" && v.Type != store.ParameterStore && v.Type != store.SecretsManager {
				wrong("%s.variables.%s: the type %q is none of %s, %s", key, name, v.Type, store.ParameterStore, store.SecretsManager)
			}
			if !store.ValidVariable(name) {
				wrong("%s.variables: %q is no name of a variable, or is reserved", key, name)
			}
		}
		for _, id := range project.SecondaryArtifacts {
			if !store.ValidIdentifier(id) {
				wrong("%s.secondary-artifacts: %q is no artifact identifier; use letters, digits and _, fewer than 128", key, id)
			}
		}
		filters, warnings, list := project.FilterGroups.compile(c.path, key+".filter-groups")
		project.filters, project.filterWarnings, p = filters, append(warnings, c.neverTold(project.Forge, filters)...), append(p, list...)
		c.checkBuilds(key, &project.BuildSettings, wrong)
		project.DecisionSettings.check(key+".", wrong)
		for _, name := range project.Overridable {
			if !store.ValidVariable(name) {
				wrong("%s.overridable: %q is no name of a variable, or is reserved", key, name)
			} else if project.Variables[name].Type != "" {
				wrong("%s.overridable: %s is a secret, which no comment may set", key, name)
			}
		}
	}
	slices.Sort(p)
	return p
}

var projectName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{1,149}$`)

// Bounds of what a build may be given.
const (
	minMemory  = 16 << 20
	minTimeout = time.Second
	maxTimeout = 36 * time.Hour
)

// checkBuilds checks what stands; what does not stand comes from elsewhere.
func (c *Config) checkBuilds(key string, b *BuildSettings, wrong func(string, ...any)) {
	if t := time.Duration(b.Timeout); t != 0 && (t < minTimeout || t > maxTimeout) {
		wrong("%s.timeout: %v is not between 1s and 36h", key, t)
	}
	if b.Memory != 0 && b.Memory < minMemory {
		wrong("%s.memory: %d bytes are less than 16MiB", key, b.Memory)
	}
	if b.CPUs < 0 || b.CPUs > 1024 {
		wrong("%s.cpus: %v is no number of cores", key, b.CPUs)
	}
	if b.Processes < 0 || b.Processes > 0 && b.Processes < 16 {
		wrong("%s.processes: %d is less than 16", key, b.Processes)
	}
	if b.Concurrency != nil && *b.Concurrency < 0 {
		wrong("%s.concurrency: %d is no number of builds; write how many of the project may run at a time, or 0 for any number", key, *b.Concurrency)
	}
	if b.Cache != "" && b.Cache != cacheOn && b.Cache != store.CacheOff && b.Cache != store.CacheForks {
		wrong("%s.cache: %q is none of on, off, forks", key, b.Cache)
	}
	if b.Network != "" && b.Network != store.NetworkFull && b.Network != store.NetworkNone {
		wrong("%s.network: %q is none of full, none", key, b.Network)
	}
}
