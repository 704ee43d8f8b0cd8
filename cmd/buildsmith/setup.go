package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"buildsmith/checks/github"
	"buildsmith/checks/web"
)

// A setup is set-up in one click: a page, whose address serve prints once, that makes a GitHub App and stores it.
type setup struct {
	server *server
	token  string

	mu sync.Mutex // held while an App is being stored: there is one at most
}

// newSetup gives set-up, with an address to print while there is no App.
func newSetup(s *server) *setup {
	u := &setup{server: s}
	if !u.done() && len(s.config.Forges.Bitbucket) == 0 {
		u.token = randomHex(16)
	}
	return u
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// address is what serve prints; empty when there is nothing to set up.
func (u *setup) address() string {
	if u.token == "" {
		return ""
	}
	return u.server.config.URL + "/setup?token=" + u.token
}

func (u *setup) done() bool { return u.server.hubNow() != nil }

// pages is set-up as the pages know it.
func (u *setup) pages() *web.Setup {
	return &web.Setup{Token: u.token, Done: u.done, Name: "buildsmith-" + randomHex(3), Fetch: unreachable(u.server.config.URL),
		Manifest: u.manifest, Finish: u.finish, Installed: u.server.confirmInstallation}
}

// unreachable reports whether GitHub most likely cannot reach an address: it is a private one, or has no certificate.
func unreachable(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return true
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	if ip == nil {
		return !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".localhost")
	}
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
}

var (
	appName      = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._-]*$`)
	organization = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?$`)
)

// manifest gives what GitHub makes the App from.
func (u *setup) manifest(c web.SetupChoice, state string) (web.SetupForm, error) {
	if err := checkChoice(c); err != nil {
		return web.SetupForm{}, err
	}
	base := u.server.config.URL
	hook := base + "/webhook/github"
	if c.Fetch {
		hook = github.NoHook
	} else if parsed, err := url.Parse(base); err != nil || ownHost(parsed.Hostname()) {
		return web.SetupForm{}, web.SetupError{Text: fmt.Sprintf("GitHub takes no address such as %s for deliveries. Let this server ask GitHub, or set url in its configuration.", base)}
	}
	m := github.Manifest{Name: c.Name, URL: base, Hook: hook, OldServer: c.OldServer}
	return web.SetupForm{Action: github.Register(c.URL, c.Organization, state), Manifest: m.JSON()}, nil
}

// ownHost reports whether a host is this machine, whoever asks.
func ownHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// checkChoice looks at what people chose. Our token and the App's key go to the address of GitHub.
func checkChoice(c web.SetupChoice) error {
	parsed, err := url.Parse(c.URL)
	switch {
	case len([]rune(c.Name)) > github.MaxName || !appName.MatchString(c.Name):
		return web.SetupError{Text: fmt.Sprintf("The name has 1 to %d letters, digits, spaces, dots, - and _.", github.MaxName)}
	case c.Organization != "" && !organization.MatchString(c.Organization):
		return web.SetupError{Text: "That is no name of an organisation: write it as in its address at GitHub."}
	case err != nil || parsed.Host == "" || parsed.Path != "" || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.User != nil || parsed.Scheme != "https" && parsed.Scheme != "http":
		return web.SetupError{Text: "GitHub’s address is https:// and a host, without a path: https://github.com, or that of your Enterprise Server."}
	case parsed.Scheme == "http" && !ownHost(parsed.Hostname()):
		return web.SetupError{Text: "GitHub’s address begins with https://. The App’s private key comes from there."}
	}
	return nil
}

// finish exchanges the code that GitHub gave for the App, stores it, and has the server serve GitHub from now on.
func (u *setup) finish(ctx context.Context, c web.SetupChoice, code string) (install string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.server
	if u.done() {
		return "", web.SetupError{Text: "There is an App already."}
	}
	transport, err := s.config.transport()
	if err != nil {
		return "", err
	}
	api, _ := apiOf(c.URL)
	made, err := github.Convert(ctx, transport, api, code)
	if err != nil {
		s.log.Warn("setting up GitHub", "err", err)
		return "", web.SetupError{Text: "The App may be at GitHub, but its key could not be had: " + err.Error() + ". Delete the App at GitHub, and begin again from /setup."}
	}
	// From here on whoever asks does not matter: what GitHub gave, it gives once.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTime)
	defer cancel()
	deliveries := byWebhook
	if c.Fetch {
		deliveries = byPoll
	}
	a := &storedApp{AppID: made.ID, Slug: made.Slug, Name: made.Name, Owner: made.Owner, ClientID: made.ClientID, URL: c.URL, Deliveries: deliveries,
		Created: time.Now().UTC().Truncate(time.Second)}
	// GitHub may have made no secret; the webhook gets ours then.
	secrets := appSecrets{key: made.PEM, webhook: []string{cmp.Or(made.WebhookSecret, randomHex(32))}, client: made.ClientSecret}
	if err := saveApp(s.config.Data, a, secrets); err != nil {
		s.log.Error("storing the App", "err", err)
		return "", web.SetupError{Text: "The App is at GitHub, but this server could not store it; its log says why. Delete the App at GitHub, and begin again from /setup."}
	}
	h, err := openHub(s.config, s.log, s.refused)
	if err != nil {
		return "", fmt.Errorf("opening the stored App: %w", err)
	}
	s.connect(ctx, h)
	s.log.Info("GitHub is set up", "app", made.ID, "name", made.Slug, "url", c.URL, "deliveries", deliveries)
	return github.Install(c.URL, made.Slug), nil
}
