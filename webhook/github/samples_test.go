package github_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/checks/github/githubtest"
	"buildsmith/webhook"
	"buildsmith/webhook/github"
	"buildsmith/webhook/webhooktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

type sample = webhooktest.Sample

// published are all payloads that GitHub publishes.
func published(t testing.TB) (list []sample) {
	t.Helper()
	githubtest.Require(t)
	events, err := githubtest.ExampleEvents()
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range events {
		examples, err := githubtest.Examples(event)
		if err != nil {
			t.Fatal(err)
		}
		for n, body := range examples {
			list = append(list, sample{Name: fmt.Sprintf("%s/%d", event, n), Event: event, Body: body})
		}
	}
	return list
}

// example is a published payload of an event with an action, to be changed.
func example(t testing.TB, event, action string) map[string]any {
	t.Helper()
	examples, err := githubtest.Examples(event)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range examples {
		var o map[string]any
		if err := json.Unmarshal(body, &o); err != nil {
			t.Fatal(err)
		}
		if got, _ := o["action"].(string); got == action {
			return o
		}
	}
	t.Fatalf("there is no example of %s %s", event, action)
	return nil
}

// set sets what a path of keys leads to.
func set(o map[string]any, path string, value any) {
	for {
		key, rest, more := strings.Cut(path, ".")
		if !more {
			o[key] = value
			return
		}
		next, _ := o[key].(map[string]any)
		if next == nil {
			next = map[string]any{}
			o[key] = next
		}
		o, path = next, rest
	}
}

// changed are payloads that GitHub sends and does not publish, made of some that it does.
func changed(t testing.TB) (list []sample) {
	t.Helper()
	const first, second = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	for _, m := range []struct {
		name, event, action string
		set                 map[string]any
	}{
		{"fork", "pull_request", "opened", map[string]any{"pull_request.head.repo.id": 99, "pull_request.head.sha": first}},
		{"fork that is gone", "pull_request", "synchronize", map[string]any{"pull_request.head.repo": nil, "pull_request.head.sha": second}},
		{"branch moved", "push", "", map[string]any{"ref": "refs/heads/changes", "before": first, "after": second, "created": false, "deleted": false,
			"forced": false, "head_commit": map[string]any{"id": second, "message": "More"}}},
		{"branch moved by force", "push", "", map[string]any{"ref": "refs/heads/changes", "before": second, "after": first, "created": false, "deleted": false,
			"forced": true, "head_commit": map[string]any{"id": first, "message": "Less"}}},
		{"comment on a pull request", "issue_comment", "created", map[string]any{"issue.pull_request": map[string]any{"url": "https://api.github.com/x"},
			"comment.body": "/test"}},
		{"properties that are lists", "push", "", map[string]any{"ref": "refs/heads/lists", "after": second, "deleted": false,
			"repository.custom_properties": map[string]any{"teams": []string{"a", "b"}, "ready": true}}},
		{"merge group is gone", "merge_group", "checks_requested", map[string]any{"action": "destroyed", "reason": "invalidated"}},
		{"unknown action", "pull_request", "opened", map[string]any{"action": "danced"}},
		{"action of another type", "pull_request", "opened", map[string]any{"action": nil}},
		{"keys that are unknown", "push", "", map[string]any{"ref": "refs/heads/keys", "quantum": map[string]any{"entangled": true}}},
	} {
		o := example(t, m.event, m.action)
		for path, value := range m.set {
			set(o, path, value)
		}
		body, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, sample{Name: "changed/" + m.name, Event: m.event, Body: body})
	}
	unknown, err := json.Marshal(example(t, "push", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(list, sample{Name: "changed/unknown event", Event: "teleport", Body: unknown})
}

// TestSamples sends each payload that GitHub publishes, and some that it does not, by HTTP and signed, and holds what becomes
// of it against a golden file.
func TestSamples(t *testing.T) {
	samples := append(published(t), changed(t)...)
	if len(samples) < 329 {
		t.Fatalf("there are %d samples", len(samples))
	}
	source := webhook.Source{Name: github.Name, Host: config.Host, Verify: config.Verify, Identify: github.Identify, Decode: config.Decode}
	decided := webhooktest.Decide(t, source, samples, func(n int, s sample) map[string]string {
		return map[string]string{"X-GitHub-Event": s.Event, "X-GitHub-Delivery": fmt.Sprint("sample-", n),
			"X-Hub-Signature-256": webhooktest.Sign("new secret", string(s.Body)), "X-GitHub-Hook-Installation-Target-ID": fmt.Sprint(config.AppID)}
	})
	var text strings.Builder
	for n, sample := range samples {
		d := decided[n]
		event, err := config.Decode(sample.Event, sample.Body)
		var p struct{ Action string }
		if err := json.Unmarshal(sample.Body, &p); err != nil {
			t.Fatal(err)
		}
		kind, known := webhooktest.Kinds[event.Kind]
		if err != nil || !known || d.Problem != "" || strings.Contains(d.Reason, "could not be read") || strings.Contains(d.Reason, "not what GitHub describes") {
			t.Errorf("%s is not read: %q, %q, %v", sample.Name, d.Reason, d.Problem, err)
		}
		text.WriteString(sample.Name + ": " + webhooktest.Line(p.Action, kind, d.Summary, d.Repo, fmt.Sprintf("%d builds", len(d.Builds)), d.Reason))
	}
	webhooktest.Golden(t, filepath.Join("testdata", "samples.golden"), text.String(), *update)
}
