package bitbucket_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// aCheck is the check of a build.
func (c *center) aCheck(name, status, conclusion string) *checks.Report {
	r := &checks.Report{Name: name, ExternalID: "build-1", Commit: c.sha, URL: "https://ci.example.org/builds/build-1", Status: status, Conclusion: conclusion,
		Started: time.Now().Add(-time.Minute), Title: "Title of " + status}
	if status == checks.Completed {
		r.Completed = r.Started.Add(90 * time.Second)
	}
	return r
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCenterStatus tells every state of a check, and of a status of the same name beside it.
func TestCenterStatus(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{token: bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}}})
	for _, tt := range []struct{ status, conclusion, want string }{
		{checks.Queued, "", "INPROGRESS"}, {checks.InProgress, "", "INPROGRESS"}, {checks.Completed, checks.Success, "SUCCESSFUL"}, {checks.Completed, checks.Failure, "FAILED"},
		{checks.Completed, checks.TimedOut, "FAILED"}, {checks.Completed, checks.Errored, "FAILED"}, {checks.Completed, checks.Cancelled, "CANCELLED"},
		{checks.Completed, checks.Skipped, "CANCELLED"}, {checks.Completed, checks.ActionRequired, "CANCELLED"},
	} {
		report := c.aCheck("buildsmith", tt.status, tt.conclusion)
		remote, err := c.Create(t.Context(), c.repo, report)
		c.must(err)
		list := c.hub.Statuses(centerRepo, c.sha)
		if len(list) != 1 {
			t.Fatalf("%d statuses", len(list))
		}
		got := list[0]
		want := bitbuckettest.Status{Repository: got.Repository, SHA: c.sha, Key: remote, State: tt.want, Name: "buildsmith", Description: report.Title, URL: report.URL, Parent: remote,
			Created: got.Created, Updated: got.Updated, User: got.User}
		if tt.status == checks.Completed {
			want.Duration = 90_000
		}
		if is, should := asJSON(t, got), asJSON(t, want); is != should {
			t.Errorf("%s %s: got %s, want %s", tt.status, tt.conclusion, is, should)
		}
		if again, err := c.Find(t.Context(), c.repo, report); err != nil || again != "" {
			t.Errorf("found %q %v", again, err)
		}
		c.must(c.Update(t.Context(), c.repo, remote, report, nil))
	}
	beside := c.aCheck("buildsmith", checks.Queued, "")
	beside.Kind = checks.KindStatus
	_, err := c.Create(t.Context(), c.repo, beside)
	c.must(err)
	if list := c.hub.Statuses(centerRepo, c.sha); len(list) != 2 {
		t.Errorf("a check and a status of one name are %d", len(list))
	}
	if h := c.Habits(); !h.ByName || h.Hourly != 0 || h.Burst != 20 || h.Annotations != 1000 || h.Interval <= 0 || !c.Has(checks.KindCheck) || c.Has(checks.KindDeployment) {
		t.Errorf("habits: %+v", h)
	}
}

// TestCenterLimits tells what is too long, too much or not of this world. Nothing of it breaks a rule of Bitbucket's: a violation fails
// the test.
func TestCenterLimits(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{})
	number, _ := c.pull("topic", "ada")
	for _, name := range []string{strings.Repeat("n", 3000), strings.Repeat("😀", 300), "\x1b[31mred\x1b[0m\x00\n\u202e name", strings.Repeat("é", 255), "", "a / build"} {
		report := c.aCheck(name, checks.Completed, checks.Failure)
		report.Title, report.Ref = name, "refs/heads/"+strings.Repeat("r", 400)
		key, err := c.Create(t.Context(), c.repo, report)
		c.must(err)
		for _, s := range c.hub.Statuses(centerRepo, c.sha) {
			if s.Key == key && (s.Name == "" || strings.ContainsAny(s.Name+s.Description, "\x1b\x00\n\u202e")) {
				t.Errorf("status of %q: %+v", name, s)
			}
		}
		percent := 120.0
		big := &checks.Report{Kind: checks.KindReport, Name: name, ExternalID: "build-1", Commit: c.sha, URL: report.URL, Status: checks.Completed, Conclusion: checks.Failure, Title: name,
			Summary: strings.Repeat("details "+name+"\n", 100), Figures: []checks.Figure{{Title: "Percent" + name, Percent: &percent}, {Title: "Text", Text: name + "."}, {Title: "None"},
				{Title: "Took", Duration: 90 * time.Second}, {Title: "Link", Text: name, URL: "https://ci.example.org/builds/{x}"}, {Title: "Six", Text: "6"}, {Title: "Seven", Text: "7"}}}
		for n := range 1200 {
			big.Annotations = append(big.Annotations, checks.Annotation{Path: "src/a b.go", Line: n / 2, Level: []string{checks.LevelFailure, checks.LevelWarning, checks.LevelNotice}[n%3],
				Title: name, Message: strings.Repeat("m"+name, 20)})
		}
		big.Annotations = append([]checks.Annotation{{Message: "of no file", Line: 7}, {Path: "x"}, {Path: "x", Line: -1}}, big.Annotations...)
		key, err = c.Create(t.Context(), c.repo, big)
		c.must(err)
		for _, r := range c.hub.Reports(centerRepo, c.sha) {
			if r.ID == key && (len(r.Data) != 6 || len(r.Annotations) != 1000 || r.Title == "") {
				t.Errorf("report %q: %d data, %d annotations", r.Title, len(r.Data), len(r.Annotations))
			}
		}
	}
	_, err := c.Create(t.Context(), c.repo, &checks.Report{Kind: checks.KindComment, Name: checks.SummaryName, PullRequest: number, Summary: strings.Repeat("long ", 20_000)})
	c.must(err)
	long := c.aCheck("long", checks.Queued, "")
	long.URL += strings.Repeat("x", 500)
	if _, err := c.Create(t.Context(), c.repo, long); !errors.Is(err, checks.ErrRefused) || !strings.Contains(err.Error(), "the address of the page has more than the 450 characters that Bitbucket takes") {
		t.Errorf("a long address: %v", err)
	}
}

// TestCenterReport replaces a report, and what an earlier build remarked with it.
func TestCenterReport(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{token: bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}}})
	percent := 87.5
	report := &checks.Report{Kind: checks.KindReport, Name: "buildsmith", ExternalID: "build-1", Commit: c.sha, URL: "https://ci.example.org/builds/build-1", Status: checks.Completed,
		Conclusion: checks.Failure, Title: "buildsmith #1: Failed", Summary: "Build: failed", Figures: []checks.Figure{{Title: "Phases passed", Text: "1 of 3"},
			{Title: "Duration", Duration: 1500 * time.Millisecond}, {Title: "Lines covered", Percent: &percent}, {Title: "Artifacts", Text: "3 files", URL: "https://ci.example.org/builds/build-1/artifacts.zip"}},
		Annotations: []checks.Annotation{{Path: "src/a b.go", Line: 3, Level: checks.LevelFailure, Title: "TestIt", Message: "it broke"},
			{Path: "src/a b.go", Line: 4, Level: checks.LevelWarning, Title: "vet", Message: "odd"}, {Path: "src/a b.go", Line: 4, Level: checks.LevelNotice, Title: "vet", Message: "odd"}}}
	remote, err := c.Create(t.Context(), c.repo, report)
	c.must(err)
	got := c.hub.Reports(centerRepo, c.sha)
	if len(got) != 1 || got[0].ID != remote || got[0].Title != report.Title || got[0].Details != "Build: failed" || got[0].Result != "FAIL" || got[0].Reporter != "buildsmith" || got[0].Link != report.URL {
		t.Fatalf("got %+v", got)
	}
	if data := fmt.Sprint(got[0].Data); data != "[map[title:Phases passed type:TEXT value:1 of 3] map[title:Duration type:DURATION value:1500] map[title:Lines covered type:PERCENTAGE value:87.5] "+
		"map[title:Artifacts type:LINK value:map[href:https://ci.example.org/builds/build-1/artifacts.zip linktext:3 files]]]" {
		t.Errorf("data: %s", data)
	}
	var remarks []string
	ids := map[string]bool{}
	for _, a := range got[0].Annotations {
		remarks = append(remarks, fmt.Sprint(a.Path, " ", a.Line, " ", a.Severity, " ", a.Type, " ", a.Summary))
		ids[a.ExternalID] = true
	}
	if !slices.Equal(remarks, []string{"src/a b.go 3 HIGH BUG TestIt: it broke", "src/a b.go 4 MEDIUM CODE_SMELL vet: odd", "src/a b.go 4 LOW CODE_SMELL vet: odd"}) || len(ids) != 3 {
		t.Errorf("annotations: %q", remarks)
	}

	// The next build of the name passes, with another remark; and once more, since the answer was lost.
	report.Conclusion, report.Annotations = checks.Success, []checks.Annotation{{Path: "b.go", Line: 1, Level: checks.LevelNotice, Message: "new"}}
	c.must(c.hub.Inject(bitbuckettest.Fault{Method: http.MethodPost, Path: "/annotations", Lost: true}))
	if err := c.Update(t.Context(), c.repo, remote, report, nil); err == nil {
		t.Error("a lost answer was one")
	}
	c.must(c.Update(t.Context(), c.repo, remote, report, nil))
	got = c.hub.Reports(centerRepo, c.sha)
	if len(got) != 1 || got[0].Result != "PASS" || len(got[0].Annotations) != 1 || got[0].Annotations[0].Path != "b.go" || got[0].Annotations[0].Summary != "new" {
		t.Errorf("after the next build: %+v", got)
	}
	report.Conclusion, report.Annotations = checks.Cancelled, nil
	c.must(c.Update(t.Context(), c.repo, remote, report, nil))
	if got = c.hub.Reports(centerRepo, c.sha); got[0].Result != "" || len(got[0].Annotations) != 0 {
		t.Errorf("without remarks: %+v", got)
	}

	// Annotations that are refused keep the report from nothing.
	report.Annotations = []checks.Annotation{{Path: "b.go", Line: 1, Message: "new"}}
	c.must(c.hub.Inject(bitbuckettest.Fault{Method: http.MethodPost, Path: "/annotations", Status: http.StatusBadRequest, Body: `{"errors":[{"message":"no"}]}`}))
	c.must(c.Update(t.Context(), c.repo, remote, report, nil))
	if !strings.Contains(c.log.String(), "Bitbucket refuses the annotations of a report; it has none") {
		t.Errorf("the log is %s", c.log.String())
	}
}

// TestCenterErrors has Bitbucket refuse a status in each way that there is.
func TestCenterErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   bitbuckettest.Fault
		refused bool // for ever
		wait    time.Duration
		text    string
	}{
		"a rule is broken": {bitbuckettest.Fault{Status: 400, Body: `{"errors":[{"context":"key","message":"key is too long","exceptionName":"x"},{"message":"url is wrong"}]}`}, true, 0,
			"POST /api/latest/projects/OCTO/repos/hello/commits/…/builds: status 400, key is too long; url is wrong"},
		"no such token": {bitbuckettest.Fault{Status: 401, Body: `{"errors":[{"message":"Authentication failed.","exceptionName":"com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException"}]}`}, false, 0,
			"status 401, Authentication failed.; the token has expired, was revoked, or is of another kind"},
		"no right": {bitbuckettest.Fault{Status: 403, Body: `{"errors":[{"message":"You are not permitted to do this"}]}`}, false, 0, "status 403, You are not permitted to do this"},
		"no right, told by a 401": {bitbuckettest.Fault{Status: 401, Body: `{"errors":[{"message":"You are not permitted to access this resource","exceptionName":"com.atlassian.bitbucket.AuthorisationException"}]}`}, false, 0,
			"status 403, You are not permitted to access this resource"},
		"gone":             {bitbuckettest.Fault{Status: 404, Body: `{"errors":[{"message":"Commit 'x' does not exist"}]}`}, true, 0, "status 404, Commit 'x' does not exist"},
		"too many":         {bitbuckettest.Fault{Status: 429, Header: map[string]string{"Retry-After": "77"}}, false, 77 * time.Second, "status 429"},
		"in trouble":       {bitbuckettest.Fault{Status: 503, Body: "<html>"}, false, 0, "status 503"},
		"cut off":          {bitbuckettest.Fault{Cut: true}, false, 0, "POST /api/latest/projects/OCTO/repos/hello/commits/…/builds: "},
		"with the token":   {bitbuckettest.Fault{Status: 400, Body: `{"errors":[{"message":"no TOKEN no"}]}`}, true, 0, "no … no"},
		"no JSON at all":   {bitbuckettest.Fault{Status: 400, Body: "\x1b[31mred"}, true, 0, "status 400"},
		"errors of a kind": {bitbuckettest.Fault{Status: 409, Body: `{"errors":"many"}`}, false, 0, "status 409"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			c := newCenter(t, centerSetup{now: clock.now})
			tt.fault.Method, tt.fault.Path, tt.fault.Body = http.MethodPost, "/builds", strings.Replace(tt.fault.Body, "TOKEN", c.token, 1)
			c.must(c.hub.Inject(tt.fault))
			_, err := c.Create(t.Context(), c.repo, c.aCheck("buildsmith", checks.Queued, ""))
			if err == nil || errors.Is(err, checks.ErrRefused) != tt.refused || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), c.token) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("got %v, want %s", err, tt.text)
			}
			var wait *checks.WaitError
			if errors.As(err, &wait) != (tt.wait > 0) || wait != nil && wait.Until.Sub(clock.now()) != tt.wait {
				t.Errorf("got %v, want to wait %v", err, tt.wait)
			}
			if tt.wait > 0 {
				before := len(c.hub.Requests())
				if _, err := c.Create(t.Context(), c.repo, c.aCheck("buildsmith", checks.Queued, "")); !errors.As(err, &wait) || len(c.hub.Requests()) > before {
					t.Errorf("asked before its time: %v", err)
				}
				clock.pass(tt.wait)
			}
			_, err = c.Create(t.Context(), c.repo, c.aCheck("buildsmith", checks.Queued, ""))
			c.must(err)
		})
	}
}

// An upgrade is a transport to a server that is older than it is until it is upgraded.
type upgrade struct{ done atomic.Bool }

func (u *upgrade) RoundTrip(r *http.Request) (*http.Response, error) {
	if u.done.Load() {
		return http.DefaultTransport.RoundTrip(r)
	}
	answer := func(status int, body string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"X-Ausername": {"ops"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/application-properties"):
		return answer(http.StatusOK, `{"version":"7.13.2"}`), nil
	case strings.HasSuffix(r.URL.Path, "/builds"):
		return answer(http.StatusNotFound, "<html>null for uri"), nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestCenterOldStatus has a server that is older than the address of build statuses, and then no longer.
func TestCenterOldStatus(t *testing.T) {
	t.Parallel()
	clock, server := newClock(), &upgrade{}
	setup := centerSetup{now: clock.now, transport: server}
	allOf(&setup, "REPO_READ")
	c := newCenter(t, setup)
	c.must(c.hub.SetPermission(centerRepo, "ops", "read"))
	operations := func() (list []string) {
		for _, r := range c.hub.Requests() {
			if r.Method != http.MethodGet {
				list = append(list, r.Path[:min(len(r.Path), 20)])
			}
		}
		return list
	}
	for n, tt := range []struct{ status, conclusion, want string }{
		{checks.Queued, "", "INPROGRESS"}, {checks.Completed, checks.Success, "SUCCESSFUL"}, {checks.Completed, checks.Cancelled, "FAILED"}, {checks.Completed, checks.Skipped, "SUCCESSFUL"},
		{checks.Completed, checks.ActionRequired, "INPROGRESS"}, {checks.Completed, checks.Failure, "FAILED"},
	} {
		report := c.aCheck("buildsmith", tt.status, tt.conclusion)
		_, err := c.Create(t.Context(), c.repo, report)
		c.must(err)
		got := c.hub.Statuses(centerRepo, c.sha)
		if len(got) != 1 || got[0].State != tt.want || got[0].Name != "buildsmith" || got[0].Description != report.Title || got[0].URL != report.URL || got[0].Parent != "" || got[0].Duration != 0 {
			t.Errorf("%d: got %+v, want %s", n, got, tt.want)
		}
	}
	if said := operations(); len(said) != 6 || slices.Contains(said, "/api/latest/projects") {
		t.Errorf("told at %q", said)
	}
	server.done.Store(true)
	clock.pass(59 * time.Minute)
	_, err := c.Create(t.Context(), c.repo, c.aCheck("buildsmith", checks.Completed, checks.Cancelled))
	c.must(err)
	if got := c.hub.Statuses(centerRepo, c.sha); got[0].State != "FAILED" {
		t.Errorf("within the hour: %+v", got)
	}
	clock.pass(2 * time.Minute)
	_, err = c.Create(t.Context(), c.repo, c.aCheck("buildsmith", checks.Completed, checks.Cancelled))
	c.must(err)
	if got := c.hub.Statuses(centerRepo, c.sha); got[len(got)-1].State != "CANCELLED" {
		t.Errorf("after the upgrade: %+v", got)
	}
	// A commit that is not there is not taken for an address that is not there.
	report := c.aCheck("buildsmith", checks.Queued, "")
	report.Commit = strings.Repeat("0", 40)
	if _, err := c.Create(t.Context(), c.repo, report); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("of a commit that is not there: %v", err)
	}
}

// TestCenterUnfinished finds what an earlier state of the server had begun.
func TestCenterUnfinished(t *testing.T) {
	t.Parallel()
	setup := centerSetup{}
	allOf(&setup, "REPO_READ")
	c := newCenter(t, setup)
	c.must(c.hub.SetPermission(centerRepo, "ops", "read"))
	begun := c.aCheck("buildsmith", checks.InProgress, "")
	remote, err := c.Create(t.Context(), c.repo, begun)
	c.must(err)
	_, err = c.Create(t.Context(), c.repo, c.aCheck("done", checks.Completed, checks.Success))
	c.must(err)
	foreign := c.aCheck("foreign", checks.InProgress, "")
	foreign.URL = "https://other.example.org/builds/7"
	_, err = c.Create(t.Context(), c.repo, foreign)
	c.must(err)
	list, err := c.Unfinished(t.Context(), c.repo, c.sha)
	c.must(err)
	if len(list) != 1 || list[0].Remote != remote || list[0].Name != "buildsmith" || list[0].ExternalID != "build-1" || time.Since(list[0].Started).Abs() > time.Hour {
		t.Fatalf("got %+v", list)
	}
	// It is told lost by its key, without an address of its own.
	c.must(c.Update(t.Context(), c.repo, remote, &checks.Report{Name: "buildsmith", ExternalID: "build-1", Commit: c.sha, Status: checks.Completed, Conclusion: checks.Cancelled, Title: "Lost"}, nil))
	if list, err := c.Unfinished(t.Context(), c.repo, c.sha); err != nil || len(list) != 0 {
		t.Errorf("after it was told: %+v %v", list, err)
	}

	// The token of a repository may not ask, and goes without.
	c = newCenter(t, centerSetup{})
	if list, err := c.Unfinished(t.Context(), c.repo, c.sha); err != nil || len(list) != 0 || len(c.said()) > 0 {
		t.Errorf("without the right: %+v %v %q", list, err, c.said())
	}
}

// TestCenterSummary makes a comment, finds it again, and changes it though somebody else did so too.
func TestCenterSummary(t *testing.T) {
	t.Parallel()
	c := newCenter(t, centerSetup{token: bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_READ"}}})
	number, _ := c.pull("topic", "ada")
	_, _, err := c.hub.Comment(centerRepo, number, "eve", "Mine.\n\n[//]: # (buildsmith:summary)")
	c.must(err)
	report := &checks.Report{Kind: checks.KindComment, Name: checks.SummaryName, ExternalID: "1", PullRequest: number, Commit: c.sha, Status: checks.Completed, Summary: "| Check | Result |"}
	if found, err := c.Find(t.Context(), c.repo, report); err != nil || found != "" {
		t.Fatalf("found %q %v", found, err)
	}
	remote, err := c.Create(t.Context(), c.repo, report)
	c.must(err)
	c.start(centerSetup{})
	if found, err := c.Find(t.Context(), c.repo, report); err != nil || found != remote {
		t.Fatalf("found %q %v, want %s", found, err, remote)
	}
	ours := func() bitbuckettest.Comment {
		t.Helper()
		list := c.hub.Comments(centerRepo, number)
		return list[len(list)-1]
	}
	if got := ours(); got.Body != "| Check | Result |\n\n[//]: # (buildsmith:summary)" {
		t.Errorf("got %q", got.Body)
	}
	report.Summary = "changed"
	c.must(c.Update(t.Context(), c.repo, remote, report, nil))
	c.must(c.Update(t.Context(), c.repo, remote, report, nil)) // says the same, and changes nothing
	if got := ours(); !strings.HasPrefix(got.Body, "changed\n") || got.Version != 1 {
		t.Errorf("got %+v", got)
	}
	// Somebody was faster, once and then again.
	conflict := bitbuckettest.Fault{Method: http.MethodPut, Path: "/comments/", Status: http.StatusConflict, Body: `{"errors":[{"message":"out of date"}]}`}
	c.must(c.hub.Inject(conflict))
	report.Summary = "changed again"
	c.must(c.Update(t.Context(), c.repo, remote, report, nil))
	if got := ours(); !strings.HasPrefix(got.Body, "changed again\n") {
		t.Errorf("got %+v", got)
	}
	c.must(c.hub.Inject(conflict.For(2)))
	report.Summary = "changed once more"
	if err := c.Update(t.Context(), c.repo, remote, report, nil); !errors.Is(err, checks.ErrRefused) || !strings.Contains(err.Error(), "status 409, out of date") {
		t.Errorf("got %v", err)
	}
	_, err = c.hub.DeleteComment(ours().ID, "ada")
	c.must(err)
	if err := c.Update(t.Context(), c.repo, remote, report, nil); !errors.Is(err, checks.ErrGone) || !errors.Is(err, checks.ErrRefused) {
		t.Errorf("a comment that was deleted: %v", err)
	}

	// An answer stands below what it answers, and for itself if that is gone.
	asked, _, err := c.hub.Comment(centerRepo, number, "ada", "/rebuild")
	c.must(err)
	c.must(c.reply(number, asked.ID))
	if got := ours(); got.Parent != asked.ID || got.Body != "Done.\n\n[//]: # (buildsmith:reply reply-1)" {
		t.Errorf("the answer: %+v", got)
	}
	c.must(c.reply(number, 424242))
	if got := ours(); got.Parent != 0 || !strings.HasPrefix(got.Body, "Done.") {
		t.Errorf("the answer to nothing: %+v", got)
	}
	if err := c.reply(99, 0); !errors.Is(err, checks.ErrRefused) || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("on no pull request: %v", err)
	}
}
