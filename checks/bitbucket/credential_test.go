package bitbucket

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"buildsmith/store"
)

func TestNewRefuses(t *testing.T) {
	good := Credential{Repositories: []string{"octo/shop"}, Token: "t"}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no API":              {func(c *Config) { c.API = "" }, "the address of Bitbucket's API: it must be https://HOST, with a path at most"},
		"an API with a token": {func(c *Config) { c.API = "https://x:hunter2@api.bitbucket.org/2.0" }, "the address of Bitbucket's API: it must be https://HOST, with a path at most"},
		"no address":          {func(c *Config) { c.Web = "https://x:hunter2@[" }, "the address of Bitbucket: it is no address"},
		"a query":             {func(c *Config) { c.Web = "https://bitbucket.org?token=x" }, "the address of Bitbucket: it must be https://HOST, with a path at most"},
		"for nothing":         {func(c *Config) { c.Credentials[0].Repositories = nil }, "a credential of bitbucket is for no repository"},
		"no token":            {func(c *Config) { c.Credentials[0].Token = "" }, "the credential of bitbucket for octo/shop needs a token or a consumer"},
		"both":                {func(c *Config) { c.Credentials[0].Consumer.Key = "k" }, "the credential of bitbucket for octo/shop needs a token or a consumer"},
		"half a consumer":     {func(c *Config) { c.Credentials[0].Token, c.Credentials[0].Consumer.Key = "", "k" }, "the consumer of bitbucket for octo/shop needs a key and a secret"},
		"a line break":        {func(c *Config) { c.Credentials[0].Token = "hunter2\nX-Evil: 1" }, "the credential of bitbucket for octo/shop has a line break"},
		"no name":             {func(c *Config) { c.Credentials[0].Repositories = []string{"octo"} }, `a credential of bitbucket is for "octo", which is neither WORKSPACE/REPOSITORY nor WORKSPACE/*`},
		"up":                  {func(c *Config) { c.Credentials[0].Repositories = []string{"octo/.."} }, `a credential of bitbucket is for "octo/..", which is neither WORKSPACE/REPOSITORY nor WORKSPACE/*`},
		"everything":          {func(c *Config) { c.Credentials[0].Repositories = []string{"*/*"} }, `a credential of bitbucket is for "*/*", which is neither WORKSPACE/REPOSITORY nor WORKSPACE/*`},
		"no secret":           {func(c *Config) { c.Hook = "https://ci.example.org/webhook/bitbucket" }, "webhooks of bitbucket need a secret: what is not signed is not taken"},
		"a long secret":       {func(c *Config) { c.HookSecret = strings.Repeat("x", 129) }, "the webhook secret of bitbucket has more than 128 characters, which Bitbucket does not take"},
		"twice":               {func(c *Config) { c.Credentials = append(c.Credentials, good) }, "two credentials of bitbucket are for octo/shop: leave one out"},
	} {
		c := Config{Name: "bitbucket", Web: "https://bitbucket.org", API: "https://api.bitbucket.org/2.0", Credentials: []Credential{good}}
		tt.change(&c)
		if _, err := New(c); err == nil || err.Error() != tt.want || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

// TestInstallations gives every credential a number, which stays with what it is for, and finds that of a repository.
func TestInstallations(t *testing.T) {
	c := Config{Name: "bitbucket", Web: "https://bitbucket.org", API: "https://api.bitbucket.org/2.0", Credentials: []Credential{
		{Repositories: []string{"octo/shop", "octo/site"}, Token: "one"},
		{Repositories: []string{"octo/*"}, Project: "WEB", Email: "me@example.org", Token: "two"},
		{Repositories: []string{"octo/*"}, Project: "APP", Token: "three"},
		{Repositories: []string{"other/x"}, Username: "me", Token: "four"},
	}}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	list := h.Installations()
	for n, want := range []store.Installation{
		{Account: "octo/shop and 1 more", Selection: "selected"}, {Account: "octo/* of project WEB", Selection: "all"}, {Account: "octo/* of project APP", Selection: "all"}, {Account: "other/x", Selection: "selected"},
	} {
		if got := list[n]; got.Account != want.Account || got.Selection != want.Selection || got.Forge != "bitbucket" || got.Host != "bitbucket.org" || got.ID <= 0 || got.ID >= 1<<53 || got.Updated.IsZero() {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	for name, want := range map[string]int64{"octo/shop": list[0].ID, "OCTO/Site": list[0].ID, "octo/new": list[1].ID, "other/x": list[3].ID, "other/y": 0, "shop": 0} {
		if got := h.Installation(name); got != want {
			t.Errorf("Installation(%s) = %d, want %d", name, got, want)
		}
	}
	// One that was seen in another project's list belongs there.
	h.known.reached(store.Repo{Name: "octo/app", Installation: list[2].ID})
	if got := h.Installation("octo/app"); got != list[2].ID {
		t.Errorf("Installation(octo/app) = %d", got)
	}
	// Another token, another order of names and other capitals change nothing.
	c.Credentials[0].Token, c.Credentials[0].Repositories = "new", []string{"octo/Site", "octo/shop"}
	again, err := New(c)
	if err != nil || again.Installations()[0].ID != list[0].ID {
		t.Errorf("%v %v", again.Installations(), err)
	}
	// A fork's commits are asked for with the target's credential.
	fork := store.Repo{Name: "stranger/shop", Installation: list[0].ID}
	if found, err := h.of(fork); err != nil || found.Token != "one" || h.Account(fork) != h.Account(store.Repo{Name: "octo/shop"}) {
		t.Errorf("%v", err)
	}
	if _, err := h.of(store.Repo{Name: "stranger/shop"}); err == nil || err.Error() != "no credential of bitbucket is for stranger/shop: add it to the repositories of one" {
		t.Errorf("%v", err)
	}
	for name, want := range map[string]string{"octo/shop": "x-token-auth:one", "octo/new": "x-bitbucket-api-token-auth:two", "other/x": "me:four"} {
		header, revoke, err := h.CloneHeader(t.Context(), store.Repo{Name: name})
		if err != nil || header != "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(want)) {
			t.Errorf("%s: %q %v", name, header, err)
		}
		revoke()
	}
	if url := h.CloneURL("octo/shop"); url != "https://bitbucket.org/octo/shop.git" {
		t.Errorf("clone from %s", url)
	}
	if commit, pull := h.Links(shop); commit != "https://bitbucket.org/octo/shop/commits/" || pull != "https://bitbucket.org/octo/shop/pull-requests/" {
		t.Errorf("%s %s", commit, pull)
	}
}

// TestHowTokensGo sends a person's API token with the e-mail address, and any other as a Bearer token.
func TestHowTokensGo(t *testing.T) {
	s := script(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) {
		c.Credentials = []Credential{{Repositories: []string{"octo/shop"}, Token: "one"}, {Repositories: []string{"octo/site"}, Token: "two", Email: "me@example.org"}}
	})
	for _, c := range s.host.credentials {
		if err := s.host.do(t.Context(), c, http.MethodGet, "/x", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("me@example.org:two")); s.auth[0] != "Bearer one" || s.auth[1] != want {
		t.Errorf("%q", s.auth)
	}
}
