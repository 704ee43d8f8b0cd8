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
)

// start runs the program until the test ends, and returns its address and its screen.
func start(t *testing.T, data string, args ...string) (address string, out *forgetest.Screen, stop func()) {
	t.Helper()
	return forgetest.Program(run).Start(t, data, args...)
}

// call runs the program as a client.
func call(t *testing.T, want int, args ...string) string {
	t.Helper()
	return forgetest.Program(run).Call(t, want, args...)
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	forgetest.WaitFor(t, what, holds)
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	forgetest.MustGit(t, dir, args...)
}

func TestServe(t *testing.T) {
	got := make(chan string, 20)
	bot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Header.Get("X-Event-Key")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer bot.Close()
	data := t.TempDir()
	at, out, stop := start(t, data, "-hook", bot.URL, "-private")
	do := func(args ...string) string {
		t.Helper()
		return call(t, 0, append([]string{"do", "-at", at}, args...)...)
	}
	get := func(args ...string) string {
		t.Helper()
		return call(t, 0, append([]string{"get", "-at", at}, args...)...)
	}
	waitFor(t, "the words to begin with", func() bool { return strings.Contains(out.String(), "git clone") })
	token, err := os.ReadFile(filepath.Join(data, "token"))
	if err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, at) || !strings.Contains(text, filepath.Join(data, "webhook.secret")) || strings.Contains(text, strings.TrimSpace(string(token))) {
		t.Errorf("the screen shows %s", text)
	}

	// Clone as the screen says, and push.
	_, rest, _ := strings.Cut(out.String(), "git clone ")
	address, _, _ := strings.Cut(rest, "\n")
	work := filepath.Join(t.TempDir(), "work")
	git(t, ".", "clone", "--quiet", address, work)
	if _, err := os.Stat(filepath.Join(work, "buildspec.yml")); err != nil {
		t.Error(err)
	}
	git(t, work, "commit", "--quiet", "--allow-empty", "--message=empty")
	git(t, work, "push", "--quiet", "origin", "HEAD")
	if event := <-got; event != "repo:push" {
		t.Errorf("the bot got %s", event)
	}
	waitFor(t, "the delivery on the screen", func() bool { return strings.Contains(out.String(), "repo:push: OK (202)") })

	// The client.
	var app struct{ URL, Flavor, Token, Kind string }
	if err := json.Unmarshal([]byte(get("app")), &app); err != nil || app.URL != at || app.Flavor != "cloud" || app.Token != strings.TrimSpace(string(token)) || app.Kind != "workspace" {
		t.Errorf("the app is %+v, %v", app, err)
	}
	var made struct{ SHA string }
	if err := json.Unmarshal([]byte(do("commit", "repo=octo/hello", "branch=topic", `files:={"a": "1"}`)), &made); err != nil || len(made.SHA) != 40 {
		t.Errorf("the commit is %+v, %v", made, err)
	}
	for _, args := range [][]string{{"push", "repo=octo/hello", "ref=topic"}, {"pull-request", "repo=octo/hello", "head=topic"},
		{"comment", "repo=octo/hello", "number:=1", "user=mona", "body=Why?"}} {
		if text := do(args...); !strings.Contains(text, `"status_code": 202`) {
			t.Errorf("%q: %s", args, text)
		}
	}
	if text := get("comments", "repo=octo/hello", "number=1"); !strings.Contains(text, `"Why?"`) {
		t.Errorf("the comments: %s", text)
	}
	status := func(credential string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", at+"/2.0/repositories/octo/hello/commit/"+made.SHA+"/statuses/build",
			strings.NewReader(`{"type": "build", "key": "k", "state": "STOPPED", "url": "https://ci.example.org", "name": "n", "description": "d"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+credential)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := status(app.Token); got != http.StatusCreated {
		t.Errorf("the status: %d", got)
	}
	var states []map[string]string
	err = json.Unmarshal([]byte(get("states", "repo=octo/hello", "sha="+made.SHA)), &states)
	if err != nil || len(states) != 1 || states[0]["name"] != "n" || states[0]["state"] != "STOPPED" || states[0]["title"] != "d" || states[0]["key"] != "k" {
		t.Errorf("the states are %v, %v", states, err)
	}
	waitFor(t, "the status on the screen", func() bool { return strings.Contains(out.String(), "status   octo/hello "+made.SHA[:7]) })
	var other struct{ Token string }
	if err := json.Unmarshal([]byte(do("token", "kind=repository", "repo=octo/hello", "scopes=webhook account")), &other); err != nil || status(other.Token) != http.StatusForbidden {
		t.Errorf("a token without the scope: %+v, %v", other, err)
	}
	do("revoke", "token="+other.Token)
	if got := status(other.Token); got != http.StatusUnauthorized {
		t.Errorf("a token that is revoked: %d", got)
	}
	do("lose", "count:=1")
	if text := do("retitle", "repo=octo/hello", "number:=1", "title=New"); !strings.Contains(text, `"status": "lost"`) {
		t.Errorf("the lost delivery: %s", text)
	}
	if text := call(t, 1, "do", "-at", at, "push", "repo=octo/none", "ref=main"); !strings.Contains(text, "octo/none") {
		t.Errorf("a push to nothing: %s", text)
	}
	if resp, err := http.Get(at + "/2.0/nonsense"); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("nonsense: %v, %v", resp, err)
	}
	waitFor(t, "the violation on the screen", func() bool { return strings.Contains(out.String(), "WRONG    GET /nonsense: ") })
	stop()
	if !strings.Contains(out.String(), "1 requests were not what Bitbucket takes.") {
		t.Errorf("the last words: %s", out)
	}

	// The repository is there the next time.
	at, _, _ = start(t, data)
	var user struct{ Token string }
	if err := json.Unmarshal([]byte(call(t, 0, "do", "-at", at, "user", "user=octo")), &user); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	git(t, ".", "clone", "--quiet", strings.Replace(at, "http://", "http://octo:"+user.Token+"@", 1)+"/octo/hello.git", again)
	git(t, again, "merge-base", "--is-ancestor", "HEAD~1", "HEAD")
}

func TestWrongUse(t *testing.T) {
	for want, args := range map[string][]string{
		"not a loopback address":     {"-listen", "0.0.0.0:3998"},
		"there is no argument":       {"serve"},
		"there is no flavour \"x\"":  {"-flavor", "x", "-listen", "127.0.0.1:0", "-data", t.TempDir()},
		"is no name of a repository": {"-repo", "octo", "-listen", "127.0.0.1:0", "-data", t.TempDir()},
		"is not KEY=TEXT":            {"do", "push", "repo"},
		"what to do is not said":     {"do"},
		"what to get is not said":    {"get"},
		"connection refused":         {"get", "-at", "http://127.0.0.1:1", "app"},
	} {
		if got := call(t, 1, args...); !strings.Contains(got, want) {
			t.Errorf("fakebitbucket %q: %s, want %s", args, got, want)
		}
	}
	if got := call(t, 0, "--help"); !strings.Contains(got, "fakebitbucket do  [-at URL] ACTION") {
		t.Errorf("--help: %s", got)
	}
	call(t, 2, "get", "-help")
}
