package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/web"
)

// command runs a command line against a server that answers with handler.
func command(t *testing.T, handler http.HandlerFunc, args ...string) (out, messages string, err error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	t.Setenv("BUILDSMITH_TOKEN", "token")
	root := rootCommand()
	var stdout, stderr bytes.Buffer
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(append(args, "--server", server.URL+"/"))
	err = root.ExecuteContext(t.Context())
	return stdout.String(), strings.ReplaceAll(stderr.String(), server.URL, "SERVER"), err
}

// answers gives a handler that answers each path with a text.
func answers(list map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, ok := list[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if strings.Contains(text, `"deliver`) {
			w.WriteHeader(http.StatusAccepted)
		}
		fmt.Fprint(w, text)
	}
}

// TestClientErrors has servers answer what none should; each message says what became of it.
func TestClientErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		answers map[string]string
		args    []string
		want    string
		status  int
	}{
		"no JSON":          {map[string]string{"GET /api/builds": "<html>"}, []string{"list"}, "reading the server's answer: invalid character '<' looking for beginning of value", exitFault},
		"cut":              {map[string]string{"GET /api/builds": `{"builds":[`}, []string{"list"}, "reading the server's answer: unexpected EOF", exitFault},
		"a status alone":   {nil, []string{"list"}, "the server answers 418 I'm a teapot", exitFault},
		"the log's status": {nil, []string{"log", "x"}, "the server answers 418 I'm a teapot", exitFault},
		"following":        {nil, []string{"log", "x", "--follow"}, "the server answers 418 I'm a teapot", exitFault},
		"stop":             {nil, []string{"stop", "x"}, "the server answers 418 I'm a teapot", exitFault},
		"retry":            {nil, []string{"retry", "x"}, "the server answers 418 I'm a teapot", exitFault},
		"backup":           {nil, []string{"backup"}, "the server answers 418 I'm a teapot", exitFault},
		"undecided": {map[string]string{"POST /api/builds": `{"builds":[],"delivery":17}`}, []string{"start", "shop"},
			"the server has not decided yet; its list of deliveries tells what becomes of number 17", exitFault},
		"a build that goes": {map[string]string{"POST /api/builds": `{"builds":["abc"]}`}, []string{"start", "shop"}, "the server answers 418 I'm a teapot", exitFault},
		"checks":            {map[string]string{"GET /api/builds/x": `{"id":"abc"}`}, []string{"show", "x", "--checks"}, "the server answers 418 I'm a teapot", exitFault},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := command(t, answers(tt.answers), tt.args...)
			var with *statusError
			if !errors.As(err, &with) || with.status != tt.status || with.silent || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// TestShowDetails shows everything that is known of a build that did not go well.
func TestShowDetails(t *testing.T) {
	out, _, err := command(t, answers(map[string]string{
		"GET /api/builds/x": `{"id":"abc","project":"shop","number":3,"url":"URL","status":"FAILED","done":true,"source":{"commit":"0123456789abcdef","pullRequest":7,"title":"Title"},
			"created":"2026-01-02T03:04:05Z","ended":"2026-01-02T03:04:07.25Z","rerunOf":"before","rerunBy":"after",
			"phases":[{"type":"BUILD","status":"FAILED","started":"2026-01-02T03:04:05Z","ended":"2026-01-02T03:04:06Z","message":"why"},{"type":"POST_BUILD"}],
			"problems":[{"line":2,"column":3,"message":"wrong"}],"failure":{"phase":"BUILD","exit":5,"command":"make","tail":["one","two"]},
			"artifacts":{"name":"shop","files":2,"size":10,"sha256":"abcd"}}`,
		"GET /api/builds/abc/checks": `[{"name":"buildsmith","status":"completed","conclusion":"failure","title":"Failed"}]`,
	}), "show", "x", "--checks")
	const want = `shop#3  FAILED  pr/7 at 0123456789ab  Title
URL

BUILD  FAILED  1.0 s  why
FAILED after 2.3s
buildspec:2:3: wrong

The command that failed in BUILD with exit status 5:
  make
  | one
  | two

Artifacts: shop.zip, 2 files, 10 bytes, SHA-256 abcd
Repeats before
Repeated by after

check "buildsmith": completed failure: Failed
`
	if out != want || err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestShowWhatABuildWaitsFor(t *testing.T) {
	out, _, err := command(t, answers(map[string]string{
		"GET /api/builds/x": `{"id":"abc","project":"shop","number":3,"url":"URL","status":"IN_PROGRESS","queued":true,"waitsFor":"a build of its project that runs: one may run at a time",
			"source":{"commit":"0123456789abcdef","version":"main","title":"Title"},"created":"2026-01-02T03:04:05Z"}`,
	}), "show", "x")
	if !strings.Contains(out, "\nIt waits for a build of its project that runs: one may run at a time.\n") || err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestListWords(t *testing.T) {
	for want, b := range map[string]*web.Build{
		"QUEUED main":        {Queued: true, Status: "IN_PROGRESS", Source: web.Source{Ref: "refs/heads/main"}},
		"BUILD pr/3":         {Phase: "BUILD", Status: "IN_PROGRESS", Source: web.Source{Ref: "refs/heads/x", PullRequest: 3}},
		"IN_PROGRESS tags/v": {Status: "IN_PROGRESS", Source: web.Source{Ref: "refs/tags/v"}},
		"FAULT 01234567890123456789": {Done: true, Phase: "BUILD", Status: "FAULT",
			Source: web.Source{Version: "01234567890123456789abcdef"}},
	} {
		if got := statusOf(b) + " " + versionOf(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := tookOf(&web.Build{Created: time.Now().Add(-90 * time.Second)}); got != "1m30s" {
		t.Error(got)
	}
}

// TestFollowedLogGoesOn breaks the connection in the middle of a log: what is there already is not asked for again.
func TestFollowedLogGoesOn(t *testing.T) {
	asked := 0
	out, messages, err := command(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/log"):
			fmt.Fprintf(w, `{"id":"x","done":%v,"status":"SUCCEEDED","logBytes":8}`, asked > 2)
		default:
			switch asked++; {
			case asked == 1:
				w.Header().Set("Content-Length", "100")
				fmt.Fprint(w, "one\n")
			case asked == 2:
				w.WriteHeader(http.StatusBadGateway) // the server is started again
			case r.URL.RawQuery == "from=4&follow=1":
				fmt.Fprint(w, "two\n")
			}
		}
	}, "log", "x", "--follow")
	if out != "one\ntwo\n" || messages != "" || err != nil || asked != 3 {
		t.Errorf("%q %q %v, asked %d times", out, messages, err, asked)
	}
}

// TestFollowIsLeft ends the waiting for a build by Ctrl-C.
func TestFollowIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		fmt.Fprint(w, "{}")
	}))
	defer server.Close()
	t.Setenv("BUILDSMITH_TOKEN", "token")
	root := rootCommand()
	root.SetOut(&bytes.Buffer{})
	root.SetArgs([]string{"log", "x", "--follow", "--server", server.URL})
	if err := root.ExecuteContext(ctx); err != nil {
		t.Error(err)
	}
}

// TestBackupIsWholeOrNot breaks a backup off.
func TestBackupIsWholeOrNot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file, []byte("the last one"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := command(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "part")
	}, "backup", "--output", file)
	if err == nil || err.Error() != "writing the backup: unexpected EOF" {
		t.Error(err)
	}
	if text, _ := os.ReadFile(file); string(text) != "the last one" {
		t.Errorf("%q", text)
	}
	if _, err := os.Stat(file + ".part"); err == nil {
		t.Error("a part is left")
	}
}
