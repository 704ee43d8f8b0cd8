package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/checks/forgetest"
	"buildsmith/checks/github/githubtest"
)

// start runs the program until the test ends, and returns its address and its screen.
func start(t *testing.T, data string, args ...string) (address string, out *forgetest.Screen, stop func()) {
	t.Helper()
	githubtest.Require(t)
	return forgetest.Program(run).Start(t, data, args...)
}

// call runs the program as a client.
func call(t *testing.T, want int, args ...string) string {
	t.Helper()
	return forgetest.Program(run).Call(t, want, args...)
}

func TestServe(t *testing.T) {
	events := make(chan string, 10)
	bot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		events <- r.Header.Get("X-Github-Event")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer bot.Close()
	data := t.TempDir()
	at, out, stop := start(t, data, "-hook", bot.URL, "-private")
	forgetest.WaitFor(t, "the words to begin with", func() bool { return strings.Contains(out.String(), "git clone") })
	for _, want := range []string{"url: " + at, "app-id: 4711", "private-key: {file: " + filepath.Join(data, "app.pem") + "}",
		"webhook-secrets: [{file: " + filepath.Join(data, "webhook.secret") + "}]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the screen does not show %q:\n%s", want, out)
		}
	}
	key, err := os.ReadFile(filepath.Join(data, "app.pem"))
	if err != nil {
		t.Fatal(err)
	}

	// Clone as the screen says, and push.
	_, rest, _ := strings.Cut(out.String(), "git clone ")
	address, _, _ := strings.Cut(rest, "\n")
	work := filepath.Join(t.TempDir(), "work")
	forgetest.MustGit(t, ".", "clone", "--quiet", address, work)
	if _, err := os.Stat(filepath.Join(work, "buildspec.yml")); err != nil {
		t.Error(err)
	}
	forgetest.MustGit(t, work, "commit", "--quiet", "--allow-empty", "--message=empty")
	forgetest.MustGit(t, work, "push", "--quiet", "origin", "HEAD")
	if got := <-events; got != "push" {
		t.Errorf("the bot got %s", got)
	}
	forgetest.WaitFor(t, "the delivery on the screen", func() bool { return strings.Contains(out.String(), "push: OK (202)") })

	// The client.
	var app struct {
		URL string `json:"url"`
		PEM string `json:"private_key"`
	}
	if err := json.Unmarshal([]byte(call(t, 0, "get", "-at", at, "app")), &app); err != nil || app.URL != at || app.PEM != string(key) {
		t.Errorf("the app is %+v, %v", app, err)
	}
	call(t, 0, "do", "-at", at, "issue", "repo=octo/hello", "user=mona", "title=12")
	if got := call(t, 0, "do", "-at", at, "comment", "repo=octo/hello", "number:=1", "user=mona", "body=Why?"); !strings.Contains(got, `"status_code": 202`) {
		t.Errorf("the comment: %s", got)
	}
	if got := call(t, 0, "get", "-at", at, "comments", "repo=octo/hello", "number=1"); !strings.Contains(got, `"Why?"`) {
		t.Errorf("the comments: %s", got)
	}
	if got := call(t, 1, "do", "-at", at, "push", "repo=octo/none", "ref=main"); !strings.Contains(got, "octo/none") {
		t.Errorf("a push to nothing: %s", got)
	}
	if resp, err := http.Get(at + "/api/v3/nonsense"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("nonsense: %v, %v", resp, err)
	}
	forgetest.WaitFor(t, "the violation on the screen", func() bool { return strings.Contains(out.String(), "WRONG    GET /nonsense: ") })
	stop()

	// The key and the repository are there the next time.
	at, _, _ = start(t, data)
	if got := call(t, 0, "get", "-at", at, "app"); !strings.Contains(got, strings.ReplaceAll(string(key), "\n", `\n`)) {
		t.Errorf("the app has another key: %s", got)
	}
	_, password, _ := strings.Cut(call(t, 0, "do", "-at", at, "user", "user=octo"), `"token": "`)
	password, _, _ = strings.Cut(password, `"`)
	again := filepath.Join(t.TempDir(), "again")
	forgetest.MustGit(t, ".", "clone", "--quiet", strings.Replace(at, "http://", "http://octo:"+password+"@", 1)+"/octo/hello.git", again)
	forgetest.MustGit(t, again, "merge-base", "--is-ancestor", "HEAD~1", "HEAD")
}

func TestWrongUse(t *testing.T) {
	for want, args := range map[string][]string{
		"not a loopback address":  {"-listen", "0.0.0.0:3999"},
		"missing port":            {"-listen", "127.0.0.1"},
		"there is no argument":    {"serve"},
		"is not KEY=TEXT":         {"do", "push", "repo"},
		"what to do is not said":  {"do"},
		"what to get is not said": {"get"},
		"writing the request":     {"do", "comment", "number:=one"},
		"connection refused":      {"get", "-at", "http://127.0.0.1:1", "app"},
	} {
		if got := call(t, 1, args...); !strings.Contains(got, want) {
			t.Errorf("fakegithub %q: %s, want %s", args, got, want)
		}
	}
	if got := call(t, 0, "--help"); !strings.Contains(got, "fakegithub do  [-at URL] ACTION") {
		t.Errorf("--help: %s", got)
	}
	call(t, 2, "get", "-help")
}
