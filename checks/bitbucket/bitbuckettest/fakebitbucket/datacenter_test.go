package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeDataCenter runs a Data Center of a version, below a path.
func TestServeDataCenter(t *testing.T) {
	got := make(chan string, 20)
	bot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Header.Get("X-Event-Key") + " " + string(body)
	}))
	defer bot.Close()
	at, out, _ := start(t, t.TempDir(), "-flavor", "data-center", "-version", "7.21.0", "-context", "/bitbucket", "-breaker", "1", "-hook", bot.URL, "-private")
	waitFor(t, "the words to begin with", func() bool { return strings.Contains(out.String(), "git clone") })
	if !strings.Contains(out.String(), "Bitbucket (data-center) is at "+at+"/bitbucket.") {
		t.Errorf("the screen shows %s", out)
	}
	_, rest, _ := strings.Cut(out.String(), "git clone ")
	address, _, _ := strings.Cut(rest, "\n")
	work := filepath.Join(t.TempDir(), "work")
	git(t, ".", "clone", "--quiet", address, work)
	git(t, work, "commit", "--quiet", "--allow-empty", "--message=empty")
	git(t, work, "push", "--quiet", "origin", "HEAD", "HEAD:refs/heads/topic")
	if event := <-got; !strings.HasPrefix(event, "repo:refs_changed ") || strings.Contains(event, "toCommit") || !strings.Contains(event, at+"/bitbucket/scm/octo/hello.git") {
		t.Errorf("the bot got %s", event)
	}
	var app struct{ URL, Web, API, Flavor, Token, Kind string }
	if err := json.Unmarshal([]byte(call(t, 0, "get", "-at", at, "app")), &app); err != nil || app.URL != at || app.Web != at+"/bitbucket" || app.API != at+"/bitbucket/rest" ||
		app.Flavor != "data-center" || app.Kind != "project" {
		t.Errorf("the app is %+v, %v", app, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", app.API+"/api/latest/projects/OCTO/repos/hello", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+app.Token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-AUSERNAME") == "" {
		t.Errorf("the repository is %d %v", resp.StatusCode, resp.Header)
	}
	for _, args := range [][]string{{"project-default", "project=OCTO", "role=read"}, {"licensed", "user=octo", "licensed:=false"}, {"pull-request", "repo=octo/hello", "head=topic"},
		{"delete-pull-request", "repo=octo/hello", "number:=1"}, {"ping"}} {
		call(t, 0, append([]string{"do", "-at", at}, args...)...)
	}
	for _, want := range []string{"pr:opened ", "pr:deleted ", `diagnostics:ping {"test":true}`} {
		if event := <-got; !strings.HasPrefix(event, want) {
			t.Errorf("the bot got %s, want %s", event, want)
		}
	}
	bot.Close()
	for _, want := range []string{"failed to connect", "skipped"} {
		call(t, 0, "do", "-at", at, "commit", "repo=octo/hello", "branch=main")
		if text := call(t, 0, "do", "-at", at, "push", "repo=octo/hello", "ref=main"); !strings.Contains(text, want) {
			t.Errorf("the delivery is %s, want %s", text, want)
		}
	}
	if text := call(t, 1, "-flavor", "data-center", "-version", "new", "-listen", "127.0.0.1:0", "-data", t.TempDir()); !strings.Contains(text, "is no version such as 8.19.0") {
		t.Errorf("of no version it says %s", text)
	}
}
