package github_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
	"buildsmith/webhook"
	"buildsmith/webhook/github"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A sample is a payload of an event as GitHub sends it.
type sample struct {
	name  string // of the event, and which one of it
	event string
	body  []byte
}

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
			list = append(list, sample{fmt.Sprintf("%s/%d", event, n), event, body})
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
		list = append(list, sample{"changed/" + m.name, m.event, body})
	}
	unknown, err := json.Marshal(example(t, "push", ""))
	if err != nil {
		t.Fatal(err)
	}
	return append(list, sample{"changed/unknown event", "teleport", unknown})
}

// openForge is a forge where each repository has each commit with a buildspec in it, each pull request is open, and each
// person may write.
type openForge struct{}

func (openForge) PullRequest(_ context.Context, r store.Repo, number int) (store.PullRequest, error) {
	return store.PullRequest{Number: number, Open: true, Head: strings.Repeat("3", 40), HeadRef: "refs/heads/changes", BaseRef: "refs/heads/main", HeadRepo: r.ID}, nil
}

func (openForge) Permission(context.Context, store.Repo, store.Account) (store.Permission, error) {
	return store.PermissionWrite, nil
}

func (openForge) Commit(_ context.Context, _ store.Repo, version string) (store.Commit, error) {
	return store.Commit{Hash: version}, nil
}

func (openForge) FileID(_ context.Context, _ store.Repo, _, path string) (string, error) {
	return "id of " + path, nil
}

func (openForge) Owns(context.Context, store.Repo, string, string) (bool, error) { return true, nil }

func (openForge) Acknowledge(context.Context, store.Repo, store.Comment, store.Reaction) error {
	return nil
}

// kinds are the names of what deliveries mean.
var kinds = map[webhook.Kind]string{
	webhook.Nothing: "nothing", webhook.Ping: "ping", webhook.Push: "push", webhook.PullRequest: "pull request", webhook.Comment: "comment",
	webhook.RerunCheck: "re-run check", webhook.RerunCommit: "re-run commit", webhook.MergeGroup: "merge group", webhook.MergeGroupGone: "merge group gone",
	webhook.Release: "release", webhook.Button: "button", webhook.RepoChanged: "repository changed", webhook.InstallationChanged: "installation changed",
}

// TestSamples sends each payload that GitHub publishes, and some that it does not, by HTTP and signed, and holds what becomes
// of it against a golden file.
func TestSamples(t *testing.T) {
	samples := append(published(t), changed(t)...)
	if len(samples) < 329 {
		t.Fatalf("there are %d samples", len(samples))
	}
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log := &record{}
	intake := webhook.New(webhook.Config{
		Store: s, Log: slog.New(slog.NewTextHandler(log, nil)), Settings: store.Settings{Image: "standard"},
		Sources:  []webhook.Source{{Name: github.Name, Host: config.Host, Verify: config.Verify, Identify: github.Identify, Decode: config.Decode, Forge: openForge{}}},
		Projects: func(store.Repo) []webhook.Project { return nil },
		ChangedFiles: func(context.Context, store.Repo, *store.Trigger, string) ([]string, error) {
			return []string{"buildspec.yml"}, nil
		},
	})
	e := echo.New()
	intake.Register(e)
	server := httptest.NewServer(e)
	defer server.Close()
	for n, sample := range samples {
		send(t, server.URL+"/webhook/github", fmt.Sprint("sample-", n), sample)
	}
	settle(t, s, intake)

	var text strings.Builder
	for n, sample := range samples {
		var d store.Delivery
		if err := s.View(func(tx *store.Tx) (err error) { d, _, err = tx.Delivery(uint64(n + 1)); return err }); err != nil || d.Event != sample.event {
			t.Fatalf("delivery %d of %s: %+v, %v", n+1, sample.name, d, err)
		}
		event, err := config.Decode(sample.event, sample.body)
		var p struct{ Action string }
		if err := json.Unmarshal(sample.body, &p); err != nil {
			t.Fatal(err)
		}
		kind, known := kinds[event.Kind]
		if err != nil || !known || d.Problem != "" || strings.Contains(d.Reason, "could not be read") || strings.Contains(d.Reason, "not what GitHub describes") {
			t.Errorf("%s is not read: %q, %q, %v", sample.name, d.Reason, d.Problem, err)
		}
		fmt.Fprintf(&text, "%s: %s\n", sample.name, strings.Join(nonEmpty(p.Action, kind, d.Summary, d.Repo, fmt.Sprintf("%d builds", len(d.Builds)), d.Reason), " | "))
	}
	if strings.Contains(log.String(), "panic") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log says\n%s", log)
	}
	golden := filepath.Join("testdata", "samples.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text.String(), "\n")); diff != "" {
		t.Errorf("what becomes of samples (-want +got); -update writes it anew\n%s", diff)
	}
}

func nonEmpty(list ...string) (some []string) {
	for _, text := range list {
		if text != "" {
			some = append(some, text)
		}
	}
	return some
}

// send makes a delivery, which has to be taken.
func send(t *testing.T, address, id string, s sample) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, bytes.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "X-GitHub-Event": s.event, "X-GitHub-Delivery": id,
		"X-Hub-Signature-256": sign("new secret", string(s.body)), "X-GitHub-Hook-Installation-Target-ID": fmt.Sprint(config.AppID)} {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusAccepted || strings.Contains(string(text), "duplicate") {
		t.Errorf("%s: %s %s, %v", s.name, answer.Status, text, err)
	}
}

// settle runs the loop until all deliveries have been decided on.
func settle(t *testing.T, s *store.Store, intake *webhook.Intake) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { intake.Run(ctx) })
	defer running.Wait()
	defer cancel()
	var left []store.Delivery
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); time.Sleep(20 * time.Millisecond) {
		if err := s.View(func(tx *store.Tx) (err error) { left, err = tx.PendingDeliveries(0, 1); return err }); err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
	}
	t.Fatalf("not all deliveries were decided on: %+v", left)
}

// A record keeps what is logged.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
