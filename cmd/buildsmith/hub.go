package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github"
	"buildsmith/checks/web"
	"buildsmith/store"
	"buildsmith/webhook"
	fromgithub "buildsmith/webhook/github"
)

// Ways in which deliveries come.
const (
	byWebhook = "webhook"
	byPoll    = "poll"
)

// A hub is GitHub with our App: as configured, or as set-up stored it.
type hub struct {
	app        *github.App
	id         int64
	web        string // where people see GitHub: https://github.com
	host       string
	deliveries string // byWebhook or byPoll
	secrets    []string
	stored     bool // by set-up

	matched []atomic.Int64 // how many deliveries each secret signed
	last    atomic.Int64   // which one signed the last, from 1
	lastAt  atomic.Int64   // when, in Unix seconds
	former  atomic.Int64   // when another than the first last signed

	mu       sync.Mutex
	identity github.Identity
	hook     github.Hook
	read     time.Time // when GitHub last told of the two
	err      error     // why it did not, the last time
}

// openHub gives GitHub as it is configured, or as set-up stored it; nil if it is neither. refused is told what GitHub refuses.
func openHub(c *Config, log *slog.Logger, refused func(forge, host string, installation int64, text string)) (*hub, error) {
	h := &hub{}
	var key string
	if g := c.GitHub; g != nil {
		h.id, h.web, h.deliveries = g.AppID, g.URL, g.Deliveries
		var err error
		if key, err = g.PrivateKey.read(); err != nil {
			return nil, fmt.Errorf("github.private-key: %w", err)
		}
		for _, secret := range g.WebhookSecrets {
			text, err := secret.read()
			if err != nil {
				return nil, fmt.Errorf("github.webhook-secrets: %w", err)
			}
			h.secrets = append(h.secrets, text)
		}
	} else {
		a, err := loadApp(c.Data)
		if a == nil || err != nil {
			return nil, err
		}
		secrets, err := loadAppSecrets(c.Data)
		if err != nil {
			return nil, err
		}
		h.id, h.web, h.deliveries, h.stored = a.AppID, a.URL, a.Deliveries, true
		key, h.secrets = secrets.key, secrets.webhook
	}
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	var api string
	api, h.host = apiOf(h.web)
	h.matched = make([]atomic.Int64, len(h.secrets))
	if h.app, err = github.New(github.Config{AppID: h.id, Key: []byte(key), API: api, Web: h.web, Transport: transport, Log: log,
		Refused: func(installation int64, text string) { refused(github.Name, h.host, installation, text) }}); err != nil {
		return nil, fmt.Errorf("github: %w", err)
	}
	return h, nil
}

// source is GitHub as intake knows it.
func (h *hub) source() webhook.Source {
	from := fromgithub.Config{Host: h.host, Web: h.web, AppID: h.id, Secrets: h.secrets, Matched: func(n int) {
		h.matched[n].Add(1)
		h.last.Store(int64(n) + 1)
		h.lastAt.Store(time.Now().Unix())
		if n > 0 {
			h.former.Store(time.Now().Unix())
		}
	}}
	return webhook.Source{Name: github.Name, Host: h.host, Verify: from.Verify, Identify: fromgithub.Identify, Decode: from.Decode, Forge: h.app,
		Fetch: h.deliveries == byPoll}
}

// hubNow is GitHub as it is now; nil without it.
func (s *server) hubNow() *hub { return s.github.Load() }

// name implements member.
func (h *hub) name() string { return github.Name }

// publisher implements member.
func (h *hub) publisher() checks.Publisher { return h.app }

// plain implements member.
func (h *hub) plain() bool { return strings.HasPrefix(h.web, "http://") }

// connect has a server that runs begin to serve GitHub.
func (s *server) connect(ctx context.Context, h *hub) {
	if h.plain() {
		s.mirrors.AllowPlain()
	}
	s.github.Store(h)
	h.refresh(ctx, s)
	s.intake.AddSource(h.source())
	s.reporter.AddPublisher(github.Name, h.app)
}

// refreshTime is how long it may take to ask GitHub for everything.
const refreshTime = time.Minute

// refresh implements member: GitHub is asked for the App, its webhook and its installations. A webhook of a stored App that has no secret
// gets ours.
func (h *hub) refresh(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	identity, err := h.app.Identity(ctx)
	var hook github.Hook
	var list []store.Installation
	if err == nil {
		hook, err = h.app.Hook(ctx)
	}
	if err == nil && h.stored && !hook.Secret && len(h.secrets) > 0 {
		if err = h.app.SetHookSecret(ctx, h.secrets[0]); err == nil {
			hook.Secret = true
			s.log.Info("the webhook at GitHub had no secret, and has one now")
		}
	}
	if err == nil {
		list, err = h.app.Installations(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; err != nil {
		return err
	}
	h.identity, h.hook, h.read = identity, hook, s.store.Now()
	return h.keep(s, list)
}

// keep records what was read of the installations, and which secrets signed deliveries.
func (h *hub) keep(s *server, list []store.Installation) error {
	return s.store.Update(func(tx *store.Tx) error {
		if err := keepInstallations(tx, github.Name, h.host, list); err != nil {
			return err
		}
		return tx.ChangeHook(github.Name, h.host, func(state *store.HookState) {
			if at := h.lastAt.Load(); at > state.Used.Unix() {
				state.Secret, state.Used = int(h.last.Load())-1, time.Unix(at, 0)
			}
			if at := h.former.Load(); at > state.Former.Unix() {
				state.Former = time.Unix(at, 0)
			}
		})
	})
}

// maxSkew is how far this machine's clock may be from GitHub's: the App's signatures hold for as long.
const maxSkew = 30 * time.Second

// skewText says how far this machine's clock is from GitHub's.
func skewText(skew time.Duration) string {
	side := "ahead of"
	if skew < 0 {
		side = "behind"
	}
	return fmt.Sprintf("this machine's clock is %v %s GitHub's, which refuses the App for that; set the clock, best by NTP", skew.Abs().Round(10*time.Second), side)
}

// lacks gives what is not granted, as pages and doctor say it.
func lacks(granted map[string]string, events []string) []web.Lack {
	var list []web.Lack
	for _, l := range github.Missing(granted, events) {
		list = append(list, web.Lack{Text: l.Text, Note: !l.Required})
	}
	return list
}

// appLacks is what is wrong with the App itself, by what GitHub tells of it.
func appLacks(c *Config, h *hub, identity github.Identity, hook github.Hook) []web.Lack {
	list := lacks(identity.Permissions, identity.Events)
	if skew, ok := h.app.Skew(); ok && skew.Abs() > maxSkew {
		list = append(list, web.Lack{Text: skewText(skew)})
	}
	return append(list, hookLacks(c, h, hook)...)
}

// hookLacks is what is wrong with the webhook, by what GitHub tells of it.
func hookLacks(c *Config, h *hub, hook github.Hook) []web.Lack {
	var list []web.Lack
	if h.deliveries == byPoll {
		return nil
	}
	if want := c.URL + "/webhook/github"; hook.URL != want {
		list = append(list, web.Lack{Text: fmt.Sprintf("GitHub delivers to %s, and this server is at %s; change the webhook's URL in the App's settings, or url in the configuration", orNothing(hook.URL), want)})
	}
	if !hook.Secret {
		list = append(list, web.Lack{Text: "the webhook has no secret at GitHub, and what is not signed is not taken; set it in the App's settings"})
	}
	return list
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}

// secretInUse says which of the webhook's secrets signs deliveries.
func (h *hub) secretInUse(state store.HookState) string {
	n, at := int(h.last.Load()), time.Unix(h.lastAt.Load(), 0)
	if n == 0 && !state.Used.IsZero() && state.Secret < len(h.secrets) {
		n, at = state.Secret+1, state.Used
	}
	switch {
	case n == 0 && h.deliveries == byPoll:
		return "" // none comes
	case n == 0:
		return "no delivery has been signed yet"
	case len(h.secrets) == 1:
		return "in use, last " + at.UTC().Format("2006-01-02 15:04 UTC")
	}
	var counts []string
	for i := range h.matched {
		counts = append(counts, fmt.Sprint(h.matched[i].Load()))
	}
	return fmt.Sprintf("number %d of %d signed the last delivery, %s; since the start they signed %s", n, len(h.secrets), at.UTC().Format("2006-01-02 15:04 UTC"), strings.Join(counts, ", "))
}

// page implements member.
func (h *hub) page(s *server) web.Forge {
	h.mu.Lock()
	identity, hook, read, failed := h.identity, h.hook, h.read, h.err
	h.mu.Unlock()
	f := web.Forge{Kind: "GitHub", Name: github.Name, Host: h.host, AppID: h.id, App: identity.Name, Rotates: h.stored && h.deliveries == byWebhook, Deliveries: h.deliveries, HookURL: hook.URL, Read: read}
	if identity.Slug != "" {
		f.URL, f.Install = github.Page(h.web, identity.Slug), github.Install(h.web, identity.Slug)
	}
	if skew, ok := h.app.Skew(); ok {
		f.Skew = skew.Seconds()
	}
	if failed != nil {
		f.Problems = append(f.Problems, web.Lack{Text: "GitHub could not be asked: " + failed.Error()})
	}
	if !read.IsZero() {
		f.Problems = append(f.Problems, appLacks(s.config, h, identity, hook)...)
	}
	f.Sweep = s.swept(github.Name, h.deliveries)
	left := h.app.Remaining()
	var state store.HookState
	state, f.Installations = s.reached(github.Name, h.host, func(i store.Installation) web.Installation { return installationOf(i, left) })
	f.LastPing, f.Secret = state.Ping, h.secretInUse(state)
	return f
}

// installationOf is an installation of the App, with what it lacks.
func installationOf(i store.Installation, left map[int64]int) web.Installation {
	w := reachedBy(i, left)
	if i.Suspended {
		w.Problems = append(w.Problems, web.Lack{Text: "suspended: GitHub tells nothing of it and takes nothing for it; whoever suspended it can lift that in the account's settings"})
	}
	if !i.Updated.IsZero() && !i.Removed {
		w.Problems = append(w.Problems, lacks(i.Granted, i.Events)...)
	}
	return w
}

// links implements member.
func (h *hub) links(r store.Repo) web.Links {
	page := h.web + "/" + r.Name
	return web.Links{Commit: page + "/commit/{commit}", Pull: page + "/pull/{number}", File: page + "/blob/{commit}/{path}", Line: "#L{line}"}
}

// traffic implements member.
func (h *hub) traffic() traffic {
	return traffic{Requests: h.app.Requests.Load(), Failures: h.app.Failures.Load(), Writes: h.app.Writes.Load(), Unchanged: h.app.Unchanged.Load(),
		HeldBack: h.app.HeldBack.Load(), Limited: h.app.Limited(), Remaining: h.app.Remaining()}
}

// confirmInstallation asks GitHub for an installation that somebody named, and records it.
func (s *server) confirmInstallation(ctx context.Context, id int64) (account string, err error) {
	h := s.hubNow()
	if h == nil {
		return "", errors.New("there is no App")
	}
	i, err := h.app.Installation(ctx, id)
	if err != nil {
		return "", err
	}
	return i.Account, s.store.Update(func(tx *store.Tx) error { return keepInstallation(tx, i) })
}
