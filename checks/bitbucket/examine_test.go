package bitbucket_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
)

// said are findings in lines.
func said(list []bitbucket.Finding) string {
	var lines []string
	for _, f := range list {
		lines = append(lines, fmt.Sprintf("%s|%v|%v|%s", f.About, f.Problem, f.Note, f.Text))
	}
	return strings.Join(lines, "\n")
}

// TestCloudExamine takes the scopes away one by one, and finds what is missing, the endpoint that refused, and what does not work.
func TestCloudExamine(t *testing.T) {
	all := []string{"repository", "pullrequest", "webhook", "repository:admin"}
	const fine = "octo/shop|false|false|an access token; repositories: 1"
	for _, tt := range []struct {
		hook *bitbuckettest.Hook
		want string
	}{
		{nil, "\nocto/shop|false|true|no webhook delivers to " + hookAddress + "; the server makes it when it starts"},
		{&bitbuckettest.Hook{URL: hookAddress, Secret: "s", Events: []string{"repo:push"}}, "\nocto/shop|false|true|the webhook to " + hookAddress + " is switched off; the server switches it on when it starts"},
		{&bitbuckettest.Hook{URL: hookAddress, Active: true, Events: []string{"repo:push"}}, "\nocto/shop|false|true|the webhook to " + hookAddress + " has no secret; the server gives it one when it starts"},
		{&bitbuckettest.Hook{URL: hookAddress, Active: true, Secret: "s", Events: []string{"repo:push"}}, ""},
	} {
		b := newBench(t, hooked)
		if tt.hook != nil {
			_, err := b.hub.AddHook("octo/shop", *tt.hook)
			b.must(err)
		}
		if got := said(b.host.Examine(t.Context())); got != fine+tt.want || b.host.Writes.Load() != 0 {
			t.Errorf("%s\nwant\n%s", got, fine+tt.want)
		}
	}
	b := newBench(t, hooked)
	b.must(b.host.EnsureHooks(t.Context()))
	if got := said(b.host.Examine(t.Context())); got != fine {
		t.Errorf("%s\nwant\n%s", got, fine)
	}
	for missing, want := range map[string]string{
		"pullrequest":      "octo/shop|true|false|the scope pullrequest is missing (GET /repositories/octo/…/pullrequests: status 403, ",
		"webhook":          "octo/shop|false|true|the scope webhook is missing (GET /repositories/octo/…/hooks: status 403, ",
		"repository:admin": "octo/shop|false|true|the scope repository:admin is missing (GET /workspaces/octo/permissions/repositories/…: status 403, ",
	} {
		var scopes []string
		for _, scope := range all {
			if scope != missing {
				scopes = append(scopes, scope)
			}
		}
		b := newBench(t, withScopes(scopes...))
		got := said(b.host.Examine(t.Context()))
		if strings.Count(got, " is missing (") != 1 || !strings.Contains(got, want) || !strings.Contains(got, "it takes the scope "+missing) || !strings.Contains(got, "|its scopes are "+strings.Join(sorted(scopes), ", ")) {
			t.Errorf("without %s:\n%s", missing, got)
		}
		for _, lost := range map[string][]string{"pullrequest": {"pull requests are not built, and commands in comments are not heard", "; without it comments may not be answered"},
			"webhook": {"webhooks must be made by hand"}, "repository:admin": {"only those under people can give commands"}}[missing] {
			if !strings.Contains(got, lost) {
				t.Errorf("without %s nobody says %q:\n%s", missing, lost, got)
			}
		}
		if told := b.refusals(); len(told) != 0 {
			t.Errorf("without %s: told %q", missing, told)
		}
	}
	b = newBench(t, withScopes("webhook"))
	if got := said(b.host.Examine(t.Context())); !strings.Contains(got, "octo/shop|true|false|it cannot be read: GET /repositories/octo/shop: status 403, ") || !strings.Contains(got, "it takes the scope repository") {
		t.Errorf("without any:\n%s", got)
	}
	if told := b.refusals(); len(told) != 1 || !strings.Contains(told[0], "it takes the scope repository") {
		t.Errorf("told %q", told)
	}
}

func sorted(scopes []string) []string {
	seen := map[string]bool{}
	for _, scope := range scopes {
		seen[scope] = true
		if scope == "pullrequest" {
			seen["repository"] = true
		}
	}
	var list []string
	for _, scope := range []string{"pullrequest", "repository", "repository:admin", "webhook"} {
		if seen[scope] {
			list = append(list, scope)
		}
	}
	return list
}

// TestExamineTells of tokens of other kinds, of what cannot be read, of webhooks, and of a Bitbucket that is not there.
func TestExamineTells(t *testing.T) {
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.UserToken, Email: "me@example.org",
			Scopes: []string{"read:repository:bitbucket", "read:pullrequest:bitbucket"}})
		b.must(err)
		b.must(b.hub.SetPermission("octo/shop", "me", "admin"))
		c.Credentials = []bitbucket.Credential{{Repositories: []string{"octo/shop", "octo/gone"}, Token: token.Value, Email: "me@example.org"}}
		c.Hook, c.HookSecret = hookAddress, "s"
	})
	b.host.EnsureHooks(t.Context())
	got := said(b.host.Examine(t.Context()))
	for _, want := range []string{
		"octo/shop and 1 more|false|false|an API token of me@example.org; repositories: 1",
		"octo/gone|true|false|it cannot be read: not found: GET /repositories/octo/gone: status 404",
		"octo/shop and 1 more|false|true|the scope write:pullrequest:bitbucket is missing; without it comments may not be answered",
		"octo/shop and 1 more|false|true|the scope read:webhook:bitbucket is missing (GET /repositories/octo/…/hooks: status 403",
		"octo/shop and 1 more|false|true|the scope admin:repository:bitbucket is missing (GET /workspaces/octo/permissions",
		"octo/shop|true|false|the webhook of octo/shop: GET /repositories/octo/…/hooks: status 403",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nobody says %q:\n%s", want, got)
		}
	}
	c := b.host.Config
	c.Hook, c.HookSecret, c.Credentials = "", "", nil
	h, err := bitbucket.New(c)
	b.must(err)
	if got := said(h.Examine(t.Context())); !strings.HasSuffix(got, "|true|false|no credential is configured: nothing of this Bitbucket is built") {
		t.Error(got)
	}
	c.Credentials, c.API, c.Log = []bitbucket.Credential{{Repositories: []string{"octo/shop"}, Token: "x"}}, "http://127.0.0.1:1/2.0", slog.New(slog.DiscardHandler)
	if h, err = bitbucket.New(c); err != nil {
		t.Fatal(err)
	}
	if got := said(h.Examine(t.Context())); !strings.Contains(got, "|true|false|http://127.0.0.1:1/2.0 does not answer: octo/shop: GET /repositories/octo/shop: dial tcp") {
		t.Error(got)
	}
	c.API = b.hub.URL() + "/2.0"
	if h, err = bitbucket.New(c); err != nil {
		t.Fatal(err)
	}
	if got := said(h.Examine(t.Context())); !strings.Contains(got, "octo/shop|true|false|it cannot be read: GET /repositories/octo/shop: status 401") {
		t.Error(got)
	}
}
