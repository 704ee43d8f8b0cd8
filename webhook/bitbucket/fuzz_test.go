package bitbucket_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"buildsmith/store"
	"buildsmith/webhook"
	"buildsmith/webhook/bitbucket"
	"buildsmith/webhook/webhooktest"
)

// FuzzDecode checks that no payload of any event makes Decode panic, accept a repository that is another one's address, or let through
// a ref or a hash that is none.
func FuzzDecode(f *testing.F) {
	for _, c := range []bitbucket.Config{cloud, dataCenter} {
		for _, s := range samples(f, c) {
			if len(s.Body) < 50_000 {
				f.Add(c.DataCenter, s.Event, s.Body)
			}
		}
		for _, event := range []string{"", "repo:push", "repo:refs_changed", "pr:opened", "pullrequest:created", "diagnostics:ping", "repo:modified", "PUSH", "push\x00"} {
			for _, body := range []string{"", "null", "[]", "{}", `{"repository": null, "actor": null}`, `{"repository": {"id": -1}}`, `{"old": {}, "new": {}}`,
				`{"repository": {"uuid": "x", "full_name": "a/b"}}`} {
				f.Add(c.DataCenter, event, []byte(body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, ofDataCenter bool, event string, body []byte) {
		c := cloud
		if ofDataCenter {
			c = dataCenter
		}
		e, err := c.Decode(event, body)
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Error("accepted what is no JSON")
		}
		if _, known := webhooktest.Kinds[e.Kind]; !known || e.Kind == webhook.Nothing && e.Reason == "" {
			t.Errorf("a delivery cannot mean %+v", e)
		}
		if e.Repo.ID == "" && e.Kind != webhook.Nothing && e.Kind != webhook.Ping {
			t.Errorf("it means something for no repository: %+v", e)
		}
		if r := e.Repo; r.ID != "" {
			for _, address := range []string{r.CloneURL, r.WebURL} {
				path, ok := strings.CutPrefix(address, c.Web+"/")
				if !ok || strings.ContainsAny(path, " \n@#?%:\\") || strings.Contains("/"+path+"/", "/../") || strings.Contains(path, "//") {
					t.Errorf("repository %+v", r)
				}
			}
			if strings.ContainsAny(r.ID, "{}/ABCDEF") || r.Forge != c.Name || r.Host != c.Host || strings.Count(r.Name, "/") != 1 {
				t.Errorf("repository %+v", r)
			}
		}
		for _, a := range []store.Account{e.Sender, e.PullRequest.Author, e.Comment.Author} {
			if strings.ContainsFunc(a.Login, func(r rune) bool { return !unicode.IsGraphic(r) || r == '`' }) || strings.ContainsAny(a.ID, "\"' /%&") {
				t.Errorf("account %+v", a)
			}
		}
		if e.Kind == webhook.Push {
			for _, p := range append([]webhook.PushEvent{e.Push}, e.Also...) {
				if !store.ValidRef(p.Ref) || !store.ValidHash(p.Before) || p.After != "" && !store.ValidHash(p.After) || p.After != "" && strings.Trim(p.After, "0") == "" {
					t.Errorf("push %+v", p)
				}
			}
		}
		pr := e.PullRequest
		if e.Kind == webhook.PullRequest && pr.Number <= 0 || e.Kind == webhook.Comment && (e.Comment.ID <= 0 || e.Comment.PullRequest <= 0) {
			t.Errorf("numbers %+v", e)
		}
		for _, hash := range []string{pr.Head, pr.Base, pr.Merged} {
			if strings.Trim(hash, "0123456789abcdef") != "" {
				t.Errorf("hash %q", hash)
			}
		}
		for _, ref := range []string{pr.HeadRef, pr.BaseRef} {
			if ref != "" && !store.ValidRef(ref) {
				t.Errorf("ref %q", ref)
			}
		}
	})
}
