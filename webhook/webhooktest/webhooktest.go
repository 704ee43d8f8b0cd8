// Package webhooktest is a stage for samples of what a forge sends: a real intake takes them by HTTP and decides on them, and golden
// files hold what becomes of them.
package webhooktest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
)

// A Sample is a payload of an event as a forge sends it.
type Sample struct {
	Name  string // of the event, and which one of it
	Event string
	Body  []byte
}

// Kinds are the names of what deliveries mean.
var Kinds = map[webhook.Kind]string{
	webhook.Nothing: "nothing", webhook.Ping: "ping", webhook.Push: "push", webhook.PullRequest: "pull request", webhook.Comment: "comment",
	webhook.RerunCheck: "re-run check", webhook.RerunCommit: "re-run commit", webhook.MergeGroup: "merge group", webhook.MergeGroupGone: "merge group gone",
	webhook.Release: "release", webhook.Button: "button", webhook.RepoChanged: "repository changed", webhook.InstallationChanged: "installation changed",
}

// Sign is the signature of a body by a secret, as GitHub and Bitbucket write it.
func Sign(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
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

// Complete gives shortened hashes zeros for what they lack.
func (openForge) Complete(_ context.Context, _ store.Repo, pr *store.PullRequest) error {
	for _, hash := range []*string{&pr.Head, &pr.Base, &pr.Merged} {
		if *hash != "" && len(*hash) < 40 {
			*hash += strings.Repeat("0", 40-len(*hash))
		}
	}
	return nil
}

// Decide sends samples by HTTP to the address of a source, each with the headers that header gives for it, and gives what has been
// decided on them, in their order. The source's Forge is one where everything is there and everybody may do everything. Every sample
// has to be taken, and nothing may go wrong.
func Decide(t *testing.T, source webhook.Source, samples []Sample, header func(n int, s Sample) map[string]string) []store.Delivery {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log := &record{}
	source.Forge = openForge{}
	intake := webhook.New(webhook.Config{
		Store: s, Log: slog.New(slog.NewTextHandler(log, nil)), Settings: store.Settings{Image: "standard"},
		Sources:  []webhook.Source{source},
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
		send(t, server.URL+"/webhook/"+source.Name, sample, header(n, sample))
	}
	settle(t, s, intake)
	list := make([]store.Delivery, len(samples))
	for n, sample := range samples {
		if err := s.View(func(tx *store.Tx) (err error) { list[n], _, err = tx.Delivery(uint64(n + 1)); return err }); err != nil || list[n].Event != sample.Event {
			t.Fatalf("delivery %d of %s: %+v, %v", n+1, sample.Name, list[n], err)
		}
	}
	if strings.Contains(log.String(), "panic") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log says\n%s", log)
	}
	return list
}

// send makes a delivery, which has to be taken.
func send(t *testing.T, address string, s Sample, header map[string]string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, bytes.NewReader(s.Body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		r.Header.Set(name, value)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusAccepted || strings.Contains(string(text), "duplicate") {
		t.Fatalf("%s: %s %s, %v", s.Name, answer.Status, text, err)
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

// Golden holds what becomes of samples against a golden file, which update writes anew.
func Golden(t *testing.T, path, got string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("what becomes of samples (-want +got); -update writes %s anew\n%s", path, diff)
	}
}

// Line joins what there is to tell of a sample.
func Line(columns ...string) string {
	var some []string
	for _, text := range columns {
		if text != "" {
			some = append(some, text)
		}
	}
	return fmt.Sprintln(strings.Join(some, " | "))
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
