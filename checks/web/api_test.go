package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

func TestAPIBuilds(t *testing.T) {
	s := newSite(t)
	d := newDemo(s)
	s.web.SetURL("https://ci.example.org")
	var all BuildList
	s.api("GET", "/api/builds", "").decode(t, &all)
	if len(all.Builds) != 10 || all.Next != 0 || all.Builds[1].ID != d.queued.ID || all.Builds[0].Phases != nil {
		t.Errorf("%d builds, next %d", len(all.Builds), all.Next)
	}
	var seen []string
	for before := ""; ; {
		var list BuildList
		s.api("GET", "/api/builds?limit=3"+before, "").decode(t, &list)
		for _, b := range list.Builds {
			seen = append(seen, b.ID)
		}
		if list.Next == 0 {
			break
		}
		before = "&before=" + json.Number(must(json.Marshal(list.Next))).String()
	}
	if len(seen) != 10 {
		t.Errorf("%d builds by threes", len(seen))
	}
	var shop BuildList
	s.api("GET", "/api/builds?project=octo-shop", "").decode(t, &shop)
	if len(shop.Builds) != 5 {
		t.Errorf("%d builds of octo-shop", len(shop.Builds))
	}

	var got Build
	s.api("GET", "/api/builds/"+d.failed.ID, "").decode(t, &got)
	b := s.build(d.failed.ID)
	if got.URL != "https://ci.example.org/builds/"+b.ID+"?k="+s.key(b) || got.Status != "FAILED" || got.Phase != "BUILD" || !got.Done ||
		got.CodeBuildID != "octo-shop:"+b.ID || got.Source.PullRequest != 31 || len(got.Phases) != len(b.Phases) || got.Failure.Exit != 1 ||
		len(got.Failure.Tail) != 30 || !got.Ended.Equal(b.Ended) || got.Phases[6].Commands[0].Text != "npm test" {
		t.Errorf("the build is %+v", got)
	}
	var queued map[string]any
	s.api("GET", "/api/builds/"+d.queued.ID, "").decode(t, &queued)
	for _, name := range []string{"started", "ended", "failure", "artifacts"} {
		if v, there := queued[name]; there {
			t.Errorf("a queued build has %s: %v", name, v)
		}
	}
	for _, id := range []string{b.ID, strings.ToUpper(b.ID), b.ID[:8], b.ID[:13], "octo-shop:" + b.ID, "octo-shop%3A" + b.ID, "octo-shop%23" + "4"} {
		var same Build
		a := s.api("GET", "/api/builds/"+id, "")
		if a.decode(t, &same); same.ID != b.ID {
			t.Errorf("%s is build %s: %s", id, same.ID, a.body)
		}
	}
	if got := s.api("GET", "/api/builds/"+b.ID[:8]+"/log?from=4", ""); got.StatusCode != 200 || !strings.Contains(got.body, "npm test") || got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the log: status %d", got.StatusCode)
	}
	var files []Artifact
	s.api("GET", "/api/builds/"+d.succeeded.ID+"/artifacts", "").decode(t, &files)
	if len(files) != 6 || files[5].Link != "dist" || files[5].URL != "" {
		t.Fatalf("the artifacts are %+v", files)
	}
	u := must(url.Parse(files[3].URL))
	if got := s.ask(request{path: u.RequestURI()}); u.Host != "ci.example.org" || got.StatusCode != 200 || len(got.body) != 12 {
		t.Errorf("%s: status %d, %d bytes", u, got.StatusCode, len(got.body))
	}
	if got := s.api("GET", "/api/builds/"+d.succeeded.ID+"/artifacts.zip", ""); got.StatusCode != 200 || !strings.HasPrefix(got.body, "PK") {
		t.Errorf("the archive: status %d", got.StatusCode)
	}
	s.web.SetURL("")
	s.api("GET", "/api/builds/"+b.ID, "").decode(t, &got)
	if !strings.HasPrefix(got.URL, s.url+"/builds/") {
		t.Errorf("without a URL the page is %s", got.URL)
	}
}

func TestAPILists(t *testing.T) {
	s := newSite(t)
	d := newDemo(s)
	s.update(func(tx *store.Tx) error { return tx.SetObstacle("the disk is full") })
	var projects []Project
	s.api("GET", "/api/projects", "").decode(t, &projects)
	for i := range projects {
		projects[i].Badge, _, _ = strings.Cut(projects[i].Badge, "k=")
	}
	if want := []Project{{"octo-shop", "octo/shop", "github", true, "main", 5, s.url + "/badge/github/octo/shop.svg?"},
		{"octo-docs", "octo/docs", "github", false, "main", 3, s.url + "/badge/github/octo/docs.svg"},
		{"tools", "tools", "local", false, "", 2, s.url + "/badge/local/tools.svg?"}}; !cmp.Equal(projects, want) {
		t.Error(cmp.Diff(want, projects))
	}
	var queue Queue
	s.api("GET", "/api/queue", "").decode(t, &queue)
	if queue.Obstacle != "the disk is full" || queue.Waiting != 2 || len(queue.Queued) != 2 || queue.Queued[0].ID != d.queued.ID || len(queue.Running) != 1 || !queue.Queued[0].Queued {
		t.Errorf("the queue is %+v", queue)
	}
	var list DeliveryList
	s.api("GET", "/api/deliveries?limit=3", "").decode(t, &list)
	if len(list.Deliveries) != 3 || list.Next != 2 || list.Deliveries[1].Builds[0] != d.failed.ID || list.Deliveries[2].Tries != 3 || list.Deliveries[2].NextTry.IsZero() {
		t.Errorf("deliveries: %+v", list)
	}
	list = DeliveryList{}
	s.api("GET", "/api/deliveries?before=2", "").decode(t, &list)
	if len(list.Deliveries) != 1 || list.Next != 0 || !strings.Contains(list.Deliveries[0].Reason, "no buildspec.yml") {
		t.Errorf("deliveries before 2: %+v", list)
	}
	empty := newSite(t)
	for path, want := range map[string]string{"/api/builds": `{"builds":[]}`, "/api/projects": `[]`, "/api/deliveries": `{"deliveries":[]}`, "/api/queue": `{"waiting":0,"queued":[],"running":[]}`} {
		if got := empty.api("GET", path, ""); strings.TrimSpace(got.body) != want {
			t.Errorf("GET %s of an empty server: %s", path, got.body)
		}
	}
}

func TestAPIErrors(t *testing.T) {
	s := newSite(t)
	d := newDemo(s)
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/builds?limit=501", "", 400, "limit=501 is too many: ask for at most 500 at a time and go on with before"},
		{"GET", "/api/builds?limit=many", "", 400, `limit="many" is not a number; leave it out or give one`},
		{"GET", "/api/builds?before=-1", "", 400, `before="-1" is not a number`},
		{"GET", "/api/builds?project=nothing", "", 404, `there is no project "nothing"; there are: octo-shop, octo-docs, tools`},
		{"GET", "/api/deliveries?before=x", "", 400, "is not a number"},
		{"GET", "/api/builds/abc", "", 404, `there is no build "abc"; name one by its id, by at least 6 characters of it, as project:id or as project#number`},
		{"GET", "/api/builds/00000000-0000-0000-0000-000000000000", "", 404, "there is no build"},
		{"GET", "/api/builds/other:" + d.failed.ID, "", 404, "there is no build"},
		{"GET", "/api/builds/octo-shop:" + d.failed.ID[:8], "", 404, "there is no build"},
		{"GET", "/api/builds/octo-shop%2399", "", 404, "there is no build"},
		{"GET", "/api/builds/octo-shop%23x", "", 404, "there is no build"},
		{"GET", "/api/builds/nothing%231", "", 404, `there is no project "nothing"; there are`},
		{"GET", "/api/builds/" + d.failed.ID + "/log?from=x", "", 400, "is not a number"},
		{"GET", "/api/builds/" + d.failed.ID + "/artifacts", "", 404, "The build left none of that name, or they are no longer kept."},
		{"GET", "/api/builds/" + d.failed.ID + "/artifacts.zip", "", 404, "no longer kept"},
		{"GET", "/api/builds/" + d.failed.ID + "/checks", "", 404, "this server does not keep what forges were told; look at the forge"},
		{"POST", "/api/builds/" + d.failed.ID + "/stop", "", 409, "the build is over (FAILED): there is nothing to stop"},
		{"POST", "/api/builds/" + d.running.ID + "/retry", "", 409, "the build is not over yet: stop it first, or wait for its end"},
		{"POST", "/api/builds/nothing/retry", "", 404, "there is no build"},
		{"POST", "/api/builds", "", 400, "the request is not understood: EOF; send"},
		{"POST", "/api/builds", "{", 400, "the request is not understood: unexpected EOF"},
		{"POST", "/api/builds", `{"projekt": "x"}`, 400, `unknown field "projekt"; send {"project": "...", "version": "...", `},
		{"POST", "/api/builds", `{}`, 400, "no project is named; send"},
		{"POST", "/api/builds", `{"project": "nothing"}`, 404, `there is no project "nothing"`},
		{"POST", "/api/builds", `{"project": "` + strings.Repeat("x", maxForm) + `"}`, 400, "too large"},
		{"GET", "/api/backup", "", 501, "this server makes no backups"},
		{"GET", "/api/nothing", "", 404, "there is no such address in the API"},
		{"PUT", "/api/queue", "", 404, "there is no such address in the API"},
	} {
		got := s.api(test.method, test.path, test.body)
		var answer struct{ Error string }
		if got.StatusCode != test.status && !(test.method == "PUT" && got.StatusCode == 405) {
			t.Errorf("%s %s %.40s: status %d, want %d: %s", test.method, test.path, test.body, got.StatusCode, test.status, got.body)
			continue
		}
		if test.method == "PUT" {
			continue
		}
		if got.decode(t, &answer); !strings.Contains(answer.Error, test.want) {
			t.Errorf("%s %s %.40s: %q, want %q", test.method, test.path, test.body, answer.Error, test.want)
		}
	}
	got := s.ask(request{path: "/api/queue"})
	if want := "send the admin token: \\\"Authorization: Bearer <token>\\\"; it is in the file admin.token of the server's data directory"; !strings.Contains(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(got.body), want) ||
		got.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("without a token: %s, %v", got.body, got.Header)
	}
	for _, header := range []string{"Basic " + adminToken, "Bearer", "Bearer x", adminToken} {
		if got := s.ask(request{path: "/api/queue", header: map[string]string{"Authorization": header}}); got.StatusCode != 401 {
			t.Errorf("Authorization: %.10s: status %d", header, got.StatusCode)
		}
	}
	s.store.Close()
	if got := s.api("GET", "/api/queue", ""); got.StatusCode != 500 || !strings.Contains(got.body, "the server could not answer; its log says why") {
		t.Errorf("with the store closed: status %d, %s", got.StatusCode, got.body)
	}
}

func TestOnly(t *testing.T) {
	if id, err := only("abcdef", []string{"abcdef01"}); id != "abcdef01" || err != nil {
		t.Errorf("%s, %v", id, err)
	}
	_, err := only("abcdef", []string{"abcdef01", "abcdef02"})
	var p problem
	if want := `"abcdef" is the beginning of several ids: abcdef01, abcdef02; give more of the one you mean`; !errors.As(err, &p) || p.Status != 409 || p.Text != want {
		t.Errorf("%v", err)
	}
	if _, err := only("abcdef", nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestAPIStop(t *testing.T) {
	s := newSite(t)
	queued, running := s.submit(privateRepo), s.submit(privateRepo, claim)
	var b Build
	s.api("POST", "/api/builds/"+queued.ID+"/stop", "").decode(t, &b)
	if b.Status != "STOPPED" || !b.Done {
		t.Errorf("a queued build: %+v", b)
	}
	for range 2 {
		got := s.api("POST", "/api/builds/"+running.ID+"/stop", "")
		if got.decode(t, &b); got.StatusCode != 200 || !b.Stopping || b.Done {
			t.Errorf("a running build: %+v", b)
		}
	}
	if stop := s.build(running.ID).Stop; stop == nil || stop.By != somebody {
		t.Errorf("stopped by %+v", stop)
	}
}

func TestAPIStartAndRetry(t *testing.T) {
	s := newSite(t)
	done, n := s.submit(privateRepo, end(store.Failed)), s.notice(privateRepo, store.ActionRequired)
	started := s.submit(privateRepo, end(store.Succeeded))
	var asked []store.Request
	reason := ""
	stop := s.decide(func(d store.Delivery, r store.Request) ([]string, string) {
		asked = append(asked, r)
		if d.Forge != store.ForgeAPI || d.Event == store.RequestStart && r.Project == "" {
			t.Errorf("delivery %+v", d)
		}
		if reason != "" {
			return nil, reason
		}
		return []string{started.ID}, ""
	})
	defer stop()
	for _, test := range []struct {
		path, body string
		want       store.Request
	}{
		{"/api/builds", `{"project": "octo-shop", "version": "pr/12"}`, store.Request{Project: "octo-shop", Version: "pr/12", By: somebody}},
		{"/api/builds", `{"project": "octo-shop"}`, store.Request{Project: "octo-shop", By: somebody}},
		{"/api/builds/octo-shop%231/retry", "", store.Request{Build: done.ID, By: somebody}},
		{"/api/builds/" + n.ID + "/retry", "", store.Request{Build: n.ID, By: somebody}},
	} {
		asked = nil
		got := s.api("POST", test.path, test.body)
		var answer Started
		if got.decode(t, &answer); got.StatusCode != 201 || len(answer.Builds) != 1 || answer.Builds[0] != started.ID || answer.Delivery == 0 {
			t.Errorf("POST %s: status %d, %s", test.path, got.StatusCode, got.body)
		}
		if !cmp.Equal(asked, []store.Request{test.want}) {
			t.Errorf("POST %s asked for %+v", test.path, asked)
		}
	}
	for _, path := range []string{"/builds/" + done.ID + "/retry", "/builds/" + n.ID + "/retry"} {
		if got := s.post(path, nil); got.StatusCode != 303 || got.Header.Get("Location") != "/builds/"+started.ID {
			t.Errorf("POST %s: status %d to %s", path, got.StatusCode, got.Header.Get("Location"))
		}
	}
	running := s.submit(privateRepo, claim)
	if got := s.post("/builds/"+running.ID+"/retry", nil); got.StatusCode != 409 || !strings.Contains(got.body, "Stop it first") {
		t.Errorf("retrying a running build: status %d", got.StatusCode)
	}
	reason = "the commit is <gone>"
	if got := s.api("POST", "/api/builds/"+done.ID+"/retry", ""); got.StatusCode != 409 || !strings.Contains(got.body, "the commit is ") {
		t.Errorf("refused: status %d, %s", got.StatusCode, got.body)
	}
	if got := s.post("/builds/"+done.ID+"/retry", nil); got.StatusCode != 409 || !strings.Contains(got.body, "the commit is &lt;gone&gt;") {
		t.Errorf("refused on the page: status %d, %s", got.StatusCode, got.body)
	}
}

func TestARequestThatNobodyDecidesOn(t *testing.T) {
	s := newSite(t)
	s.submit(privateRepo)
	d, err := s.web.request(t.Context(), store.RequestStart, store.Request{Project: "octo-shop"}, time.Millisecond)
	if err != nil || !d.Pending() || d.Seq == 0 {
		t.Errorf("delivery %+v, %v", d, err)
	}
	time.AfterFunc(100*time.Millisecond, s.web.Close)
	got := s.api("POST", "/api/builds", `{"project": "octo-shop"}`)
	var answer Started
	if got.decode(t, &answer); got.StatusCode != 202 || answer.Delivery != d.Seq+1 || len(answer.Builds) != 0 {
		t.Errorf("status %d, %s", got.StatusCode, got.body)
	}
}

func TestBackup(t *testing.T) {
	broken := error(nil)
	s := newSite(t, func(c *Config) {
		c.Backup = func(w io.Writer) error {
			io.WriteString(w, strings.Repeat("x", 100_000))
			return broken
		}
	})
	got := s.api("GET", "/api/backup", "")
	if got.StatusCode != 200 || len(got.body) != 100_000 || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment; filename=buildsmith-") {
		t.Errorf("status %d, %d bytes, %v", got.StatusCode, len(got.body), got.Header)
	}
	broken = errors.New("the disk is gone")
	q := must(http.NewRequest("GET", s.url+"/api/backup", nil))
	q.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := http.DefaultClient.Do(q)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
	}
	if err == nil {
		t.Errorf("a backup that broke off looks complete")
	}
}

func TestReports(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Checks = demoReports })
	b := s.submit(privateRepo, end(store.Failed))
	var list []Check
	s.api("GET", "/api/builds/"+b.ID+"/checks", "").decode(t, &list)
	if !cmp.Equal(list, demoReports(b)) {
		t.Error(cmp.Diff(demoReports(b), list))
	}
	if page := s.get("/builds/" + b.ID); !strings.Contains(page.body, "Checks as the forge is told them") || !strings.Contains(page.body, "&lt;b&gt;npm test") {
		t.Errorf("the page does not show them")
	}
	running := s.submit(privateRepo, claim)
	if got := s.api("GET", "/api/builds/"+running.ID+"/checks", ""); strings.TrimSpace(got.body) != "[]" {
		t.Errorf("no reports: %s", got.body)
	}
}

// TestProjectsByRepository asks for projects by the name of their repository.
func TestProjectsByRepository(t *testing.T) {
	s := newSite(t)
	if got := s.api("GET", "/api/builds?project=x", ""); got.StatusCode != 404 || !strings.Contains(got.body, `there is no project \"x\", nor any other: a repository becomes one by its first push`) {
		t.Errorf("without any: %d %s", got.StatusCode, got.body)
	}
	newDemo(s)
	var list BuildList
	s.api("GET", "/api/builds?project=octo/docs", "").decode(t, &list)
	if len(list.Builds) != 3 || list.Builds[0].Project != "octo-docs" {
		t.Errorf("%+v", list)
	}
	var b Build
	s.api("GET", "/api/builds/octo%2Fdocs%231", "").decode(t, &b)
	if b.Project != "octo-docs" || b.Number != 1 {
		t.Errorf("%+v", b)
	}
	s.update(func(tx *store.Tx) error {
		_, err := tx.Project(projectOf(t, tx, "octo-docs").Repo, "manual")
		return err
	})
	if got := s.api("GET", "/api/builds?project=octo/docs", ""); got.StatusCode != 409 || !strings.Contains(got.body, "octo/docs has several projects; name one of them: octo-docs, manual") {
		t.Errorf("with two: %d %s", got.StatusCode, got.body)
	}
	s.update(func(tx *store.Tx) error {
		r := projectOf(t, tx, "tools").Repo
		for i := range 25 {
			if _, err := tx.Project(r, fmt.Sprintf("extra%02d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if got := s.api("GET", "/api/builds?project=x", ""); !strings.Contains(got.body, "extra15, 9 others") {
		t.Errorf("with many: %s", got.body)
	}
}

// projectOf is a project that is there.
func projectOf(t *testing.T, tx *store.Tx, name string) store.Project {
	p, ok, err := tx.ProjectByName(name)
	if !ok || err != nil {
		t.Errorf("project %s: %v", name, err)
	}
	return p
}
