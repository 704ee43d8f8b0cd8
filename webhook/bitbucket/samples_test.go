package bitbucket_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
	"buildsmith/webhook"
	"buildsmith/webhook/bitbucket"
	"buildsmith/webhook/webhooktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	cloud = bitbucket.Config{Name: "bitbucket", Host: "bitbucket.org", Web: "https://bitbucket.org",
		Secrets: []string{"new secret", "It's a Secret to Everybody"}, Installation: numbered}
	dataCenter = bitbucket.Config{Name: "stash", Host: "git.example.org", Web: "https://git.example.org/bitbucket", DataCenter: true,
		Secrets: []string{"new secret", "It's a Secret to Everybody"}, Installation: numbered}
)

// numbered is the credential of a repository: each has its own.
func numbered(repo string) int64 { return int64(len(repo)) }

// flavour is the name of the directory with a configuration's samples.
func flavour(c bitbucket.Config) string {
	if c.DataCenter {
		return "datacenter"
	}
	return "cloud"
}

// samples are those of a directory of testdata, in which pr-comment-added.x.json is one of pr:comment:added, and some large ones.
func samples(t testing.TB, c bitbucket.Config) (list []webhooktest.Sample) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", flavour(c), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		event, name, ok := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".json"), ".")
		if !ok {
			t.Fatalf("%s names no event", path)
		}
		event = strings.ReplaceAll(event, "-", ":")
		list = append(list, webhooktest.Sample{Name: event + " " + strings.ReplaceAll(name, "_", " "), Event: event, Body: body})
	}
	return append(list, large(t, c))
}

// large is a push that deletes more branches than anybody looks at.
func large(t testing.TB, c bitbucket.Config) webhooktest.Sample {
	t.Helper()
	event, hash := "repo:push", strings.Repeat("a", 40)
	var changes []any
	for n := range 1500 {
		name := fmt.Sprint("b", n)
		if c.DataCenter {
			changes = append(changes, map[string]any{"refId": "refs/heads/" + name, "fromHash": hash, "toHash": strings.Repeat("0", 40), "type": "DELETE"})
		} else {
			changes = append(changes, map[string]any{"old": map[string]any{"type": "branch", "name": name, "target": map[string]any{"hash": hash}}})
		}
	}
	payload := map[string]any{"push": map[string]any{"changes": changes},
		"repository": map[string]any{"uuid": "{bc771cbf-829e-4c4b-b71f-a0eb3ac2b860}", "full_name": "octo/shop"}}
	if c.DataCenter {
		event = "repo:refs_changed"
		payload = map[string]any{"changes": changes, "repository": map[string]any{"id": 84, "slug": "shop", "project": map[string]any{"key": "PROJ"}}}
	}
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return webhooktest.Sample{Name: event + " of a huge list", Event: event, Body: body}
}

// describe tells all of what a delivery means, in lines.
func describe(e *webhook.Event) string {
	var s strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&s, "\t"+format+"\n", args...) }
	at := func(t time.Time) string {
		if t.IsZero() {
			return "no time"
		}
		return t.Format(time.RFC3339Nano)
	}
	who := func(a store.Account) string {
		return strings.TrimSpace(fmt.Sprintf("%q (%s) %s", a.Login, a.ID, map[bool]string{true: "bot"}[a.Bot]))
	}
	line("%s: %q, %s", webhooktest.Kinds[e.Kind], e.Summary, at(e.At))
	if e.Reason != "" {
		line("because %s; unknown %v", e.Reason, e.Unknown)
	}
	if r := e.Repo; r.ID != "" {
		line("%s called %s of %q, branch %q, private %v, credential %d", r.Key(), r.Name, e.Organization, r.DefaultBranch, r.Private, r.Installation)
		line("%s and %s", r.CloneURL, r.WebURL)
	}
	line("by %s", who(e.Sender))
	pushes := append([]webhook.PushEvent{e.Push}, e.Also...)
	for n, p := range pushes {
		if len(pushes) > 10 && n >= 2 && n < len(pushes)-1 {
			continue
		}
		if p.Ref != "" {
			line("%d: %s from %.7s to %.7s %q, truncated %v, files %v", n, p.Ref, p.Before, p.After, p.Message, p.Truncated, p.Files)
		}
	}
	if e.Kind == webhook.PullRequest {
		pr := e.PullRequest
		line("%s of %d %q by %s, vague %v, open %v, draft %v, updated %s", e.Event, pr.Number, pr.Title, who(pr.Author), e.Vague, pr.Open, pr.Draft, at(pr.Updated))
		line("%s of %q called %q at %q to %s at %q, merged as %q", pr.HeadRef, pr.HeadRepo, pr.HeadName, pr.Head, pr.BaseRef, pr.Base, pr.Merged)
	}
	if c := e.Comment; c.ID != 0 {
		line("comment %d on %d by %s at %s: %q", c.ID, c.PullRequest, who(c.Author), at(c.Created), c.Body)
	}
	if e.Change != "" {
		line("%s", e.Change)
	}
	return s.String()
}

// TestSamples sends each sample by HTTP and signed, and holds what it is decoded to against a golden file.
func TestSamples(t *testing.T) {
	for _, c := range []bitbucket.Config{cloud, dataCenter} {
		t.Run(flavour(c), func(t *testing.T) {
			list := samples(t, c)
			if len(list) < 75 {
				t.Fatalf("there are %d samples", len(list))
			}
			seen := map[string]string{}
			source := webhook.Source{Name: c.Name, Host: c.Host, Verify: c.Verify, Hello: c.Hello, Identify: c.Identify, Decode: c.Decode}
			decided := webhooktest.Decide(t, source, list, func(n int, s webhooktest.Sample) map[string]string {
				id := "X-Request-UUID"
				if c.DataCenter {
					id = "X-Request-Id"
				}
				return map[string]string{"X-Event-Key": s.Event, id: fmt.Sprint("sample-", n), "X-Attempt-Number": "1",
					"X-Hub-Signature": webhooktest.Sign("It's a Secret to Everybody", string(s.Body))}
			})
			var text strings.Builder
			for n, sample := range list {
				if other := seen[string(sample.Body)]; other != "" {
					t.Errorf("%s is the same as %s, and is not decided on by itself", sample.Name, other)
				}
				seen[string(sample.Body)] = sample.Name
				d := decided[n]
				event, err := c.Decode(sample.Event, sample.Body)
				if err != nil {
					fmt.Fprintf(&text, "%s\n\tnot read: %v\n", sample.Name, err)
					if d.Reason != err.Error() {
						t.Errorf("%s: %q, want %q", sample.Name, d.Reason, err)
					}
					continue
				}
				if d.Problem != "" || d.Summary != event.Summary || event.Summary == "" || d.Repo != event.Repo.Name || event.Kind == webhook.Nothing && d.Reason != event.Reason {
					t.Errorf("%s: decided %+v of %+v", sample.Name, d, event)
				}
				fmt.Fprintf(&text, "%s\n%s", sample.Name, describe(&event))
			}
			webhooktest.Golden(t, filepath.Join("testdata", flavour(c)+".golden"), text.String(), *update)
		})
	}
}
