package githubtest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"
)

// TestViolations sends what GitHub would refuse or overlook, and looks for the reason among the violations.
func TestViolations(t *testing.T) {
	s := newShop(t, Options{})
	run := s.run(github.CreateCheckRunOptions{Name: "x"})
	runs, one := "/repos/octo/shop/check-runs", fmt.Sprintf("/repos/octo/shop/check-runs/%d", run.GetID())
	create := func(more string) string { return `{"name": "x", "head_sha": "` + s.sha + `"` + more + `}` }
	annotation := func(more string) string {
		return `{"output": {"title": "t", "summary": "s", "annotations": [{"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"` + more + `}]}}`
	}
	many := strings.TrimSuffix(strings.Repeat(`{"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"},`, 51), ",")
	long := func(n int) string { return strings.Repeat("ü", n) }
	for _, test := range []struct{ name, method, path, body, want string }{
		{"no head", "POST", runs, `{"name": "x"}`, "head_sha"},
		{"no name", "POST", runs, `{"head_sha": "` + s.sha + `"}`, "name"},
		{"empty name", "PATCH", one, `{"name": ""}`, "name has 0 characters"},
		{"long name", "PATCH", one, `{"name": "` + long(101) + `"}`, "name has 101 characters"},
		{"conclusion", "PATCH", one, `{"conclusion": "passed"}`, "conclusion"},
		{"stale", "PATCH", one, `{"conclusion": "stale"}`, "cannot be set by an app"},
		{"status of Actions", "PATCH", one, `{"status": "waiting"}`, "cannot be set by an app"},
		{"completed", "POST", runs, create(`, "status": "completed"`), "without a conclusion"},
		{"completed_at", "POST", runs, create(`, "completed_at": "2026-01-02T03:04:05Z"`), "completed_at without a conclusion"},
		{"unknown key", "POST", runs, create(`, "headSha": "x"`), "there is no key headSha"},
		{"unknown key within", "PATCH", one, `{"output": {"summary": "s", "heading": "h"}}`, "there is no key output.heading"},
		{"unknown key in a list", "PATCH", one, annotation(`, "line": 1`), "there is no key output.annotations.0.line"},
		{"nanoseconds", "POST", runs, create(`, "started_at": "2026-01-02T03:04:05.123Z"`), "whole seconds"},
		{"no time", "POST", runs, create(`, "started_at": "yesterday"`), "started_at"},
		{"no summary", "PATCH", one, `{"output": {"title": "t"}}`, "summary"},
		{"long summary", "PATCH", one, `{"output": {"summary": "` + long(65536) + `"}}`, "summary has 65536 characters"},
		{"long text", "PATCH", one, `{"output": {"summary": "s", "text": "` + long(65536) + `"}}`, "text has 65536 characters"},
		{"many annotations", "PATCH", one, `{"output": {"summary": "s", "annotations": [` + many + `]}}`, "51 annotations"},
		{"long title", "PATCH", one, annotation(`, "title": "` + long(256) + `"`), "title has 256 characters"},
		{"columns", "PATCH", one, strings.Replace(annotation(`, "start_column": 1`), `"end_line": 1`, `"end_line": 2`, 1), "columns in more than one line"},
		{"lines", "PATCH", one, strings.Replace(annotation(""), `"end_line": 1`, `"end_line": 0`, 1), "lines 1 to 0"},
		{"absolute path", "PATCH", one, strings.Replace(annotation(""), `"a"`, `"/a"`, 1), "no path in the repository"},
		{"label", "PATCH", one, `{"actions": [{"label": "` + strings.Repeat("x", 21) + `", "description": "d", "identifier": "i"}]}`, "label"},
		{"four actions", "PATCH", one, `{"actions": [` + strings.TrimSuffix(strings.Repeat(`{"label": "l", "description": "d", "identifier": "i"},`, 4), ",") + `]}`, "actions"},
		{"details_url", "PATCH", one, `{"details_url": "/builds/1"}`, "no address"},
		{"no JSON", "PATCH", one, `{`, "request body"},
		{"a list", "PATCH", one, `[]`, "request body"},
		{"no body", "PATCH", one, "", "request body"},
		{"a body", "POST", one + "/rerequest", `{}`, "request body not allowed"},
		{"no number", "PATCH", runs + "/x", `{}`, "check_run_id"},
		{"query", "GET", one + "?verbose=1", "", `no query parameter "verbose"`},
		{"query value", "GET", "/repos/octo/shop/commits/main/check-runs?filter=newest", "", "filter"},
		{"long comment", "POST", "/repos/octo/shop/issues/1/comments", `{"body": "` + strings.Repeat("x", 65537) + `"}`, "body has 65537 characters"},
		{"empty comment", "POST", "/repos/octo/shop/issues/1/comments", `{"body": ""}`, "body has 0 characters"},
		{"state", "POST", "/repos/octo/shop/statuses/" + s.sha, `{"state": "ok"}`, "state"},
		{"description", "POST", "/repos/octo/shop/statuses/" + s.sha, `{"state": "error", "description": "` + long(141) + `"}`, "description has 141 characters"},
		{"unknown path", "GET", "/user", "", "no such operation"},
		{"unknown method", "DELETE", one, "", "no such operation"},
	} {
		got, _ := s.do(s.inst.Client(), test.method, test.path, test.body)
		if got != 422 && got != 404 {
			t.Errorf("%s: answered with %d", test.name, got)
		}
		violations := s.TakeViolations()
		if len(violations) == 0 || !strings.Contains(fmt.Sprint(violations), test.want) {
			t.Errorf("%s: %v, want %s", test.name, violations, test.want)
		}
		for _, v := range violations {
			if v.Method != test.method || !strings.HasPrefix(test.path, v.Path) || strings.Contains(v.What, "\n") {
				t.Errorf("%s: the violation is %q", test.name, v)
			}
		}
	}
	if held, _ := s.CheckRun(shopRepo, s.sha, "x"); len(held.History) != 1 {
		t.Errorf("something was done: %+v", held.History)
	}

	// What is just so allowed is no violation.
	for _, body := range []string{create(`, "started_at": "2026-01-02T03:04:05+01:00"`), create(`, "conclusion": "success"`),
		create(`, "output": {"title": "t", "summary": "` + long(65535) + `"}`)} {
		if got, answer := s.do(s.inst.Client(), "POST", runs, body); got != 201 {
			t.Errorf("%.90s: %d %s", body, got, answer)
		}
	}
}

func TestContentType(t *testing.T) {
	s := newShop(t, Options{})
	r, _ := http.NewRequest("POST", s.URL()+"/api/v3/repos/octo/shop/check-runs", strings.NewReader(`{"name": "x", "head_sha": "`+s.sha+`"}`))
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("X-Github-Api-Version", "2020-01-01")
	resp, err := s.inst.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := fmt.Sprint(s.TakeViolations())
	if resp.StatusCode != 422 || !strings.Contains(got, "text/plain") || !strings.Contains(got, "2020-01-01") {
		t.Errorf("%s: %s", resp.Status, got)
	}
}

// TestGoGithubGaps holds what go-github does by itself against the contract: the violations that a bot runs into.
func TestGoGithubGaps(t *testing.T) {
	s := newShop(t, Options{})
	run := s.run(github.CreateCheckRunOptions{Name: "x"})
	s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", run.GetID(), github.UpdateCheckRunOptions{Status: str("in_progress")})
	if got := fmt.Sprint(s.TakeViolations()); !strings.Contains(got, "name has 0 characters") {
		t.Errorf("an update without a name: %s", got)
	}
	s.inst.Checks.CreateCheckRun(t.Context(), "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.sha,
		StartedAt: &github.Timestamp{Time: s.now()}})
	if got := fmt.Sprint(s.TakeViolations()); !strings.Contains(got, "whole seconds") {
		t.Errorf("a time as it is: %s", got)
	}
}

// fakeT counts what a test would report.
type fakeT struct {
	testing.TB
	cleanups []func()
	errors   []string
}

func (f *fakeT) Helper()          {}
func (f *fakeT) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }
func (f *fakeT) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func TestNewFailsTest(t *testing.T) {
	Require(t)
	f := &fakeT{TB: t}
	s := New(f, Options{})
	if _, err := http.Get(s.URL() + "/api/v3/nonsense"); err != nil {
		t.Fatal(err)
	}
	for _, c := range f.cleanups {
		c()
	}
	if len(f.errors) != 1 || !strings.Contains(f.errors[0], "GET /nonsense") {
		t.Errorf("the test would report %q", f.errors)
	}
}
