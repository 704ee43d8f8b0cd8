package githubtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"
)

// control makes a request to the control addresses and returns the answer, which must have a status.
func (s *shop) control(status int, method, path, body string) any {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+"/_control/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != status {
		s.t.Errorf("%s %s %s: %s %s", method, path, body, resp.Status, text)
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		s.t.Errorf("%s %s: %v: %s", method, path, err, text)
	}
	return v
}

func TestControl(t *testing.T) {
	s, b := newShop(t, Options{Control: true}), newBot(t)
	post := func(path, body string) any { t.Helper(); return s.control(200, "POST", path, body) }
	get := func(path string) any { t.Helper(); return s.control(200, "GET", path, "") }
	is := func(v any, path, want string) {
		t.Helper()
		if got, _ := json.Marshal(at(v, path)); strings.Trim(string(got), `"`) != want {
			t.Errorf("%s is %s, want %s: %v", path, got, want, v)
		}
	}
	post("hook", `{"url": "`+b.url+`"}`)
	post("organization", `{"organization": "acme", "members": ["mona"]}`)
	is(post("repo", `{"repo": "acme/site", "private": true, "custom_properties": {"a": ["b"]}}`), "clone_url", s.URL()+"/acme/site.git")
	is(post("user", `{"user": "mona"}`), "token", s.AddUser("mona"))
	post("permission", `{"repo": "acme/site", "user": "mona", "role": "write"}`)
	sha := at(post("commit", `{"repo": "acme/site", "branch": "main", "files": {"buildspec.yml": "version: 0.2"}, "author": "mona"}`), "sha").(string)
	is(post("push", `{"repo": "acme/site", "ref": "main"}`), "delivery.status_code", "202")
	is(post("fork", `{"repo": "acme/site", "owner": "stranger"}`), "repo", "stranger/site")
	post("commit", `{"repo": "stranger/site", "branch": "fix", "files": {"x": "1"}}`)
	is(post("pull-request", `{"repo": "acme/site", "head": "stranger:fix"}`), "number", "1")
	post("commit", `{"repo": "stranger/site", "branch": "fix", "files": {"x": "2"}}`)
	is(post("synchronize", `{"repo": "acme/site", "number": 1}`), "delivery.action", "synchronize")
	is(post("close", `{"repo": "acme/site", "number": 1}`), "delivery.action", "closed")
	is(post("reopen", `{"repo": "acme/site", "number": 1}`), "delivery.action", "reopened")
	is(post("comment", `{"repo": "acme/site", "number": 1, "user": "mona", "body": "/test"}`), "comment.user", "mona")
	is(post("issue", `{"repo": "acme/site", "user": "mona", "title": "T"}`), "number", "2")
	is(get("comments?repo=acme/site&number=1"), "0.body", "/test")
	id := at(get("comments?repo=acme/site&number=1"), "0.id").(json.Number).String()
	is(get("reactions?comment="+id), "0", "null")
	is(get("comments?repo=acme/site&number=1"), "0.reactions", "[]")

	// A check run, for which somebody waits.
	_, inst, _ := s.clients(s.Installation("acme"))
	waiting := make(chan any)
	go func() {
		waiting <- s.control(200, "GET", "check-runs?repo=acme/site&sha="+sha+"&name=buildsmith&wait=5s", "")
	}()
	run, _, err := inst.Checks.CreateCheckRun(t.Context(), "acme", "site", github.CreateCheckRunOptions{Name: "buildsmith", HeadSHA: sha})
	if err != nil {
		t.Fatal(err)
	}
	s.control(504, "GET", "check-runs?repo=acme/site&sha="+sha+"&wait=10ms", "")
	if _, _, err := inst.Checks.UpdateCheckRun(t.Context(), "acme", "site", run.GetID(), github.UpdateCheckRunOptions{Name: "buildsmith", Conclusion: str("success"),
		Actions: []*github.CheckRunAction{{Label: "l", Description: "d", Identifier: "i"}}}); err != nil {
		t.Fatal(err)
	}
	runs := <-waiting
	is(runs, "0.conclusion", "success")
	is(runs, "0.history.0.status", "queued")
	is(get("check-runs?repo=acme/site&name=none"), "0", "null")
	runID := at(runs, "0.id").(json.Number).String()
	is(post("rerequest", `{"check_run": `+runID+`, "user": "mona"}`), "delivery.event", "check_run")
	is(post("request-action", `{"check_run": `+runID+`, "user": "mona", "identifier": "i"}`), "delivery.action", "requested_action")
	is(post("rerequest-suite", `{"suite": `+at(runs, "0.suite_id").(json.Number).String()+`, "user": "mona"}`), "delivery.event", "check_suite")
	is(post("ping", ""), "delivery.event", "ping")
	is(post("deliver", `{"event": "push", "payload": {"ref": "x"}, "unsigned": true, "guid": "g"}`), "delivery.guid", "g")
	if r, body, _ := b.last(t); r.Header.Get("X-Hub-Signature-256") != "" || string(body) != `{"ref": "x"}` {
		t.Errorf("unsigned is %v: %s", r.Header, body)
	}
	is(post("replay", `{"guid": "g", "as": "h"}`), "delivery.guid", "h")
	if _, body, _ := b.last(t); string(body) != `{"ref": "x"}` {
		t.Errorf("the replay says %s", body)
	}

	post("fault", `{"path": "/app$", "status": 503, "delay": "1ms", "header": {"Retry-After": "7"}}`)
	if got, _ := s.do(s.app.Client(), "GET", "/app", ""); got != 503 {
		t.Errorf("the fault did not meet its request: %d", got)
	}
	is(post("clear-faults", ""), "cleared", "0")
	s.do(s.inst.Client(), "GET", "/nonsense", "")
	is(get("violations"), "0.path", "/nonsense")
	s.TakeViolations()
	is(get("requests"), "0.operation", "/app/installations/{installation_id}/access_tokens")
	is(get("tokens"), "0.permissions.checks", "write")
	is(get("deliveries"), "0.event", "push")
	is(get("git"), "0", "null")
	is(get("statuses?repo=acme/site&sha="+sha), "0", "null")
	is(get("app"), "app_id", "4711")

	post("private", `{"repo": "acme/site", "private": false}`)
	post("suspend", `{"account": "acme", "suspended": true}`)
	post("expire", "{}")
	post("ref", `{"repo": "acme/site", "ref": "refs/tags/v1", "sha": "`+sha+`"}`)
	post("rename-repo", `{"repo": "acme/site", "name": "page"}`)
	post("delete-repo", `{"repo": "stranger/site"}`)

	s.control(404, "POST", "push", `{"repo": "acme/none", "ref": "main"}`)
	s.control(404, "POST", "nonsense", `{}`)
	s.control(404, "GET", "nonsense", "")
	s.control(404, "DELETE", "push", "")
	s.control(400, "POST", "push", `{"repository": "acme/site"}`)
	s.control(400, "POST", "push", `{`)
	s.control(400, "POST", "fault", `{"delay": "long"}`)
	s.control(400, "GET", "check-runs?wait=long", "")
	s.control(400, "GET", "comments?repo=acme/site", "")
	resp, err := http.PostForm(s.URL()+"/_control/ping", url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Errorf("a form: %s", resp.Status)
	}
}

func TestControlClosed(t *testing.T) {
	s := newShop(t, Options{})
	resp, err := http.Get(s.URL() + "/_control/app")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the control addresses answer with %s", resp.Status)
	}
	if got := s.TakeViolations(); len(got) != 1 || got[0].Path != "/_control/app" {
		t.Errorf("the violations are %v", got)
	}
}
