package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"buildsmith/checks/github"
	"buildsmith/checks/web"
	"buildsmith/runner/docker"
)

// engineVersion warns of an engine in which copying files out of a container can run what the container brought.
func (d *doctor) engineVersion(version string) {
	if docker.Older(version, docker.Safe) {
		d.note("docker", "engine %s is older than %s, which closes CVE-2026-41567: do not run docker cp on containers of builds; this server never does", version, docker.Safe)
	}
}

// lookTime is how long the forge and the server's own address may take to answer.
const lookTime = 20 * time.Second

// forges looks at what the forges are reached by, at what it may do, and at whether deliveries come.
func (d *doctor) forges(ctx context.Context, c *Config) {
	d.github(ctx, c)
	for n := range c.Forges.Bitbucket {
		d.bitbucket(ctx, c, &c.Forges.Bitbucket[n])
	}
}

// bitbucket looks at a Bitbucket. It makes and changes nothing there.
func (d *doctor) bitbucket(ctx context.Context, c *Config, config *Bitbucket) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	// The secret is for webhooks that are made, and none is here.
	b, err := openBucket(c, config, []string{randomHex(32)}, slog.New(slog.DiscardHandler), func(string, string, int64, string) {})
	if err != nil {
		d.bad(config.Name, "%v", err)
		return
	}
	for _, f := range b.host.Examine(ctx) {
		say := d.well
		switch {
		case f.Problem:
			say = d.bad
		case f.Note:
			say = d.note
		}
		say(config.Name, "%s: %s", f.About, f.Text)
	}
	switch {
	case config.Deliveries == byPoll:
		d.well(config.Name, "webhooks: none are needed; the repositories are looked at every minute")
	case config.Hooks == hooksManual:
		d.note(config.Name, "webhooks: people make them, for %s, with the secret of webhook-secrets", b.address)
	}
	d.address(ctx, c, config.Deliveries, b.kind())
}

// github looks at the App, at what it may do, and at whether deliveries come.
func (d *doctor) github(ctx context.Context, c *Config) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	h, err := openHub(c, slog.New(slog.DiscardHandler), func(string, string, int64, string) {})
	if err != nil {
		d.bad("github", "%v", err)
		return
	}
	if h == nil && len(c.Forges.Bitbucket) > 0 {
		return
	}
	if h == nil {
		d.note("github", "there is no App; buildsmith serve prints an address at which one is set up")
		return
	}
	identity, err := h.app.Identity(ctx)
	if err != nil {
		d.bad("github", "%v", err)
		d.clock(h)
		return
	}
	d.well("github", "App %s (%d) of %s at %s", identity.Slug, identity.ID, identity.Owner, h.host)
	d.clock(h)
	hook, err := h.app.Hook(ctx)
	if err != nil {
		d.bad("webhook", "%v", err)
	} else {
		d.webhook(c, h, identity, hook)
	}
	d.deliveries(ctx, c, h)
	d.address(ctx, c, h.deliveries, "GitHub")
	d.installations(ctx, h, identity)
}

// clock compares this machine's with GitHub's.
func (d *doctor) clock(h *hub) {
	switch skew, ok := h.app.Skew(); {
	case !ok:
	case skew.Abs() > maxSkew:
		d.bad("clock", "%s", skewText(skew))
	default:
		d.well("clock", "this machine's clock agrees with GitHub's")
	}
}

// lack tells of something that is not as it should be.
func (d *doctor) lack(what, prefix string, l web.Lack) {
	if l.Note {
		d.note(what, "%s%s", prefix, l.Text)
		return
	}
	d.bad(what, "%s%s", prefix, l.Text)
}

// webhook tells where deliveries go, and what the App itself lacks.
func (d *doctor) webhook(c *Config, h *hub, identity github.Identity, hook github.Hook) {
	before := d.wrong
	for _, l := range hookLacks(c, h, hook) {
		d.lack("webhook", "", l)
	}
	if d.wrong == before {
		if h.deliveries == byPoll {
			d.well("webhook", "none is needed: deliveries are fetched every %v", 10*time.Second)
		} else {
			d.well("webhook", "GitHub delivers to %s, signed", hook.URL)
		}
	}
	missing := lacks(identity.Permissions, identity.Events)
	for _, l := range missing {
		d.lack("app", "", l)
	}
	if len(missing) == 0 {
		d.well("app", "it asks for all permissions and events that are used")
	}
}

// deliveries tells how the last one fared, and which secret signed it.
func (d *doctor) deliveries(ctx context.Context, c *Config, h *hub) {
	sent, err := h.app.Deliveries(ctx, time.Now().Add(-24*time.Hour))
	switch {
	case err != nil:
		d.bad("deliveries", "%v", err)
	case len(sent) == 0:
		d.note("deliveries", "GitHub had nothing to deliver within a day")
	case h.deliveries == byPoll:
		d.well("deliveries", "GitHub's log of them can be read; the last is of %s", sent[0].At.UTC().Format("2006-01-02 15:04 UTC"))
	case sent[0].Delivered:
		d.well("deliveries", "the last, of %s, was taken", sent[0].At.UTC().Format("2006-01-02 15:04 UTC"))
	default:
		d.bad("deliveries", "the last, %s of %s, was not taken; GitHub shows the answer in the App's settings under Advanced", sent[0].Event, sent[0].At.UTC().Format("2006-01-02 15:04 UTC"))
	}
	var forges []web.Forge
	asking, cancel := context.WithTimeout(ctx, lookTime/4)
	defer cancel()
	if err := (&client{server: c.URL, data: c.Data}).get(asking, "/api/forges", &forges); err == nil && len(forges) > 0 && forges[0].Secret != "" {
		d.well("secret", "%s", forges[0].Secret)
	}
}

// address asks the server at the address that people and the forge use.
func (d *doctor) address(ctx context.Context, c *Config, deliveries, forge string) {
	err := d.healthy(ctx, c)
	parsed, _ := url.Parse(c.URL)
	switch {
	case err == nil:
		d.well("address", "%s answers, asked from here; whether %s reaches it too, its deliveries show", c.URL, forge)
	case deliveries == byPoll || parsed != nil && ownHost(parsed.Hostname()):
		d.note("address", "%s does not answer, asked from here: %v", c.URL, err)
	default:
		d.bad("address", "%s does not answer, asked from here: %v; start the server, and look at DNS, firewall and proxy", c.URL, err)
	}
}

func (d *doctor) healthy(ctx context.Context, c *Config) error {
	transport, err := c.transport()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime/4)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 100))
	if err == nil && (answer.StatusCode != http.StatusOK || string(text) != "ok\n") {
		err = fmt.Errorf("something else answers there: status %d", answer.StatusCode)
	}
	return err
}

// installations looks at each.
func (d *doctor) installations(ctx context.Context, h *hub, identity github.Identity) {
	list, err := h.app.Installations(ctx)
	if err != nil {
		d.bad("installations", "%v", err)
		return
	}
	if len(list) == 0 {
		d.note("installations", "the App is installed nowhere; install it at %s", github.Install(h.web, identity.Slug))
	}
	for _, i := range list {
		w := installationOf(i, nil)
		for _, l := range w.Problems {
			d.lack("installation", i.Account+": ", l)
		}
		if len(w.Problems) == 0 {
			d.well("installation", "%s: %s repositories, nothing is missing", i.Account, i.Selection)
		}
	}
}
