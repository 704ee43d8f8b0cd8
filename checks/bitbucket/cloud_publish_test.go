package bitbucket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// TestCloudStatuses tells checks and statuses: one of each name, which a later build takes over.
func TestCloudStatuses(t *testing.T) {
	b := newBench(t, nil)
	check := checks.Report{Name: "buildsmith", ExternalID: "b1", Commit: b.sha, URL: "https://ci.example.org/builds/b1?key={x}", Status: checks.Queued, Title: "Queued\n\x1b[31m since " + strings.Repeat("é", 400), Ref: "refs/heads/main"}
	phase := checks.Report{Name: "buildsmith / build", ExternalID: "b1/BUILD", Commit: b.sha, URL: "https://ci.example.org/builds/b1", Status: checks.InProgress, Title: "Running"}
	status := checks.Report{Kind: checks.KindStatus, Name: "buildsmith", ExternalID: "b1", Commit: b.sha, URL: "https://ci.example.org/builds/b1", Status: checks.Completed, Conclusion: checks.Errored, Title: "Internal error"}
	remotes := map[string]bool{}
	for _, r := range []*checks.Report{&check, &phase, &status} {
		remote, err := b.host.Create(t.Context(), b.repo, r)
		b.must(err)
		remotes[remote] = true
	}
	if len(remotes) != 3 {
		t.Errorf("%v", remotes)
	}
	list := b.hub.Statuses("octo/shop", b.sha)
	if len(list) != 3 || list[0].State != "INPROGRESS" || list[0].URL != "https://ci.example.org/builds/b1?key=%7Bx%7D" || list[0].Ref != "main" || !strings.HasPrefix(list[0].Description, "Queued since é") ||
		len([]rune(list[0].Description)) != 255 || list[1].Name != "buildsmith / build" || list[2].State != "FAILED" || list[2].Ref != "" {
		t.Errorf("%+v", list)
	}
	// The end, and then a second build of the same commit.
	check.Status, check.Conclusion, check.Title = checks.Completed, checks.Success, "Succeeded"
	b.must(b.host.Update(t.Context(), b.repo, list[0].Key, &check, nil))
	again := check
	again.ExternalID, again.URL, again.Conclusion = "b2", "https://ci.example.org/builds/b2", checks.Cancelled
	remote, err := b.host.Create(t.Context(), b.repo, &again)
	b.must(err)
	list = b.hub.Statuses("octo/shop", b.sha)
	if len(list) != 3 || remote != list[0].Key || list[0].State != "STOPPED" || list[0].URL != again.URL {
		t.Errorf("%+v", list)
	}
	if found, err := b.host.Find(t.Context(), b.repo, &check); found != "" || err != nil {
		t.Errorf("%q %v", found, err)
	}
	for _, kind := range []checks.Kind{checks.KindCheck, checks.KindStatus, checks.KindComment, checks.KindReport} {
		if !b.host.Has(kind) {
			t.Errorf("has no %q", kind)
		}
	}
	if _, err := b.host.Create(t.Context(), b.repo, &checks.Report{Kind: checks.KindDeployment}); b.host.Has(checks.KindDeployment) || !errors.Is(err, checks.ErrRefused) {
		t.Errorf("a deployment: %v", err)
	}
	if h := b.host.Habits(); !h.ByName || h.Hourly > 500 || h.Annotations != 100 || h.Interval <= 0 {
		t.Errorf("%+v", h)
	}
	// A commit that is not there, and a repository that is gone, will never take a status.
	check.Commit = strings.Repeat("a", 40)
	if _, err := b.host.Create(t.Context(), b.repo, &check); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("%v", err)
	}
	gone := b.repo
	gone.ID = "0f9c8a7b-1111-4222-8333-444455556666"
	check.Commit = b.sha
	if _, err := b.host.Create(t.Context(), gone, &check); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("%v", err)
	}
	// A rule that is broken.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 400, Body: `{"type":"error","error":{"message":"bad"}}`}.At("POST", "statuses/build")))
	if _, err := b.host.Create(t.Context(), b.repo, &check); !errors.Is(err, checks.ErrRefused) || !strings.Contains(err.Error(), "status 400, bad") {
		t.Errorf("%v", err)
	}
	// A right that is missing may be given yet.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 403, Body: `{"type":"error","error":{"message":"no"}}`}.At("POST", "statuses/build")))
	if _, err := b.host.Create(t.Context(), b.repo, &check); err == nil || errors.Is(err, checks.ErrRefused) {
		t.Errorf("%v", err)
	}
	if told := b.refusals(); len(told) != 1 || told[0] != "POST /repositories/octo/…/commit/…/statuses/build: status 403, no" {
		t.Errorf("%q", told)
	}
}

// TestCloudUnfinished gives the statuses of ours that are under way, by the addresses of their pages.
func TestCloudUnfinished(t *testing.T) {
	b := newBench(t, nil)
	for name, r := range map[string]checks.Report{
		"ours":   {ExternalID: "b1", URL: "https://ci.example.org/builds/b1?key=x", Status: checks.InProgress},
		"done":   {ExternalID: "b2", URL: "https://ci.example.org/builds/b2", Status: checks.Completed, Conclusion: checks.Success},
		"theirs": {ExternalID: "b3", URL: "https://other.example.org/builds/b3", Status: checks.InProgress},
	} {
		r.Name, r.Commit, r.Title = name, b.sha, "x"
		_, err := b.host.Create(t.Context(), b.repo, &r)
		b.must(err)
	}
	before := len(b.hub.Requests())
	list, err := b.host.Unfinished(t.Context(), b.repo, b.sha)
	if err != nil || len(list) != 1 || list[0].Name != "ours" || list[0].ExternalID != "b1" || list[0].Remote == "" || time.Since(list[0].Started) > time.Minute || len(b.hub.Requests()) != before+1 {
		t.Errorf("%+v %v", list, err)
	}
	// What is told of it then takes its place, without an address of its own.
	b.must(b.host.Update(t.Context(), b.repo, list[0].Remote, &checks.Report{Name: "ours", ExternalID: "b1", Commit: b.sha, Status: checks.Completed, Conclusion: checks.Cancelled, Title: "Lost"}, nil))
	if all := b.hub.Statuses("octo/shop", b.sha); len(all) != 3 {
		t.Errorf("%+v", all)
	}
	if list, err := b.host.Unfinished(t.Context(), b.repo, b.sha); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := b.host.Unfinished(t.Context(), b.repo, strings.Repeat("a", 40)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestCloudOrphans has statuses of two commits with one key whose builds the store knows nothing of: both are told stopped.
func TestCloudOrphans(t *testing.T) {
	b := newBench(t, nil)
	second := b.commit("octo/shop", "main", "Second", map[string]string{"f": "1"})
	s, err := store.Open(t.TempDir(), store.Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	b.must(err)
	defer s.Close()
	for n, sha := range []string{b.sha, second} {
		b.must(s.Update(func(tx *store.Tx) error {
			p, err := tx.Project(b.repo, "")
			if err == nil {
				_, err = tx.Submit(p, store.Build{Check: "other", Trigger: store.Trigger{Commit: sha}})
			}
			return err
		}))
		_, err := b.host.Create(t.Context(), b.repo, &checks.Report{Name: "lost", ExternalID: "x", Commit: sha, URL: fmt.Sprintf("https://ci.example.org/builds/gone%d", n), Status: checks.InProgress, Title: "x"})
		b.must(err)
	}
	reporter := checks.New(checks.Config{Store: s, Publishers: map[string]checks.Publisher{"bitbucket": b.host}, Log: slog.New(slog.DiscardHandler),
		Options: checks.Options{URL: func(id string, _ store.Repo) string { return "https://ci.example.org/builds/" + id }}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { reporter.Run(ctx) })
	for _, sha := range []string{b.sha, second} {
		if got, err := b.hub.AwaitStatus(ctx, "octo/shop", sha, func(s bitbuckettest.Status) bool { return s.Name == "lost" && s.State == "STOPPED" }); err != nil || got.Description != "Lost" || !strings.HasPrefix(got.URL, "https://ci.example.org/builds/gone") {
			t.Errorf("%+v %v", got, err)
		}
	}
}

// TestCloudReports makes a report with its annotations, and replaces it by that of a later build, none of the earlier ones left.
func TestCloudReports(t *testing.T) {
	b := newBench(t, nil)
	percent := 50.0
	report := checks.Report{Kind: checks.KindReport, Name: "buildsmith", ExternalID: "b1", Commit: b.sha, URL: "https://ci.example.org/builds/b1", Status: checks.Completed, Conclusion: checks.Failure,
		Title: "buildsmith #1: failed", Summary: "build: failed\npost_build: not run",
		Figures: []checks.Figure{{Title: "Phases passed", Text: "1 of 2"}, {Title: "Duration", Duration: 3 * time.Second}, {Title: "Covered", Percent: &percent}, {Title: "Artifacts", Text: "2 files", URL: "https://ci.example.org/builds/b1/artifacts.zip"}}}
	for n := range 1200 {
		report.Annotations = append(report.Annotations, checks.Annotation{Path: "a.go", Line: 1 + n%7, Level: checks.LevelFailure, Title: "t", Message: fmt.Sprint("m", n%11)})
	}
	remote, err := b.host.Create(t.Context(), b.repo, &report)
	b.must(err)
	list := b.hub.Reports("octo/shop", b.sha)
	if len(list) != 1 || list[0].ID != remote || list[0].Result != "FAILED" || list[0].Type != "TEST" || list[0].Reporter != "buildsmith" || list[0].Title != report.Title || list[0].Details != report.Summary ||
		list[0].Link != report.URL || len(list[0].Data) != 4 || len(list[0].Annotations) != 1000 {
		t.Errorf("%+v", list)
	}
	if n := b.hub.Count("POST", "/repositories/{workspace}/{repo_slug}/commit/{commit}/reports/{reportId}/annotations"); n != 10 {
		t.Errorf("%d requests with annotations", n)
	}
	// Again, as when an answer was lost: the same is there.
	b.must(b.host.Update(t.Context(), b.repo, remote, &report, nil))
	if list = b.hub.Reports("octo/shop", b.sha); len(list) != 1 || len(list[0].Annotations) != 1000 {
		t.Errorf("%d reports", len(list))
	}
	later := report
	later.ExternalID, later.Conclusion, later.Annotations = "b2", checks.Success, report.Annotations[:3]
	if again, err := b.host.Create(t.Context(), b.repo, &later); err != nil || again != remote {
		t.Errorf("%q %v", again, err)
	}
	if list = b.hub.Reports("octo/shop", b.sha); len(list) != 1 || list[0].Result != "PASSED" || len(list[0].Annotations) != 3 {
		t.Errorf("%+v", list)
	}
	later.Annotations = nil
	b.must(b.host.Update(t.Context(), b.repo, remote, &later, nil))
	if list = b.hub.Reports("octo/shop", b.sha); len(list) != 1 || len(list[0].Annotations) != 0 {
		t.Errorf("%+v", list)
	}
	later.Summary = "" // of a build without phases; Bitbucket takes no report without words
	b.must(b.host.Update(t.Context(), b.repo, remote, &later, nil))
	if list = b.hub.Reports("octo/shop", b.sha); len(list) != 1 || list[0].Details != later.Title {
		t.Errorf("%+v", list)
	}
	// Annotations that Bitbucket refuses are left out, those of other requests are not.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 400, Body: `{"type":"error","error":{"message":"bad path"}}`}.At("POST", "annotations")))
	later.Annotations = report.Annotations[:150]
	b.must(b.host.Update(t.Context(), b.repo, remote, &later, nil))
	if list = b.hub.Reports("octo/shop", b.sha); len(list) != 1 || len(list[0].Annotations) != 50 || !strings.Contains(b.log.String(), "Bitbucket refuses annotations") || !strings.Contains(b.log.String(), "bad path") {
		t.Errorf("%d annotations", len(list[0].Annotations))
	}
	// It can be done without.
	b.must(b.hub.Inject(bitbuckettest.Fault{Status: 403}.At("PUT", "/reports/")))
	if err := b.host.Update(t.Context(), b.repo, remote, &later, nil); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("%v", err)
	}
}

func (b *bench) pull() int {
	b.Helper()
	b.commit("octo/shop", "feature", "Feature", map[string]string{"f": "1"})
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "feature", Base: "main", Title: "T", User: "dev"})
	b.must(err)
	return number
}

// TestCloudSummary makes one comment, finds it again by its mark, and changes it. That of somebody else with the mark is none of ours,
// whether we know who we are or not.
func TestCloudSummary(t *testing.T) {
	b := newBench(t, nil)
	number := b.pull()
	const mark = "[//]: # (buildsmith:summary)"
	theirs, _, err := b.hub.Comment("octo/shop", number, "dev", "Trust me\n\n"+mark)
	b.must(err)
	summary := &checks.Report{Kind: checks.KindComment, Name: checks.SummaryName, ExternalID: fmt.Sprint(number), PullRequest: number, Commit: b.sha, Status: checks.InProgress, Summary: "Builds of `abc`:\n\n| a | b |"}
	// Nobody knows yet who we are: the oldest with the mark may be ours. It is not, and then another is made.
	found, err := b.host.Find(t.Context(), b.repo, summary)
	if err != nil || found != fmt.Sprint(theirs.ID) {
		t.Fatalf("%q %v", found, err)
	}
	if err := b.host.Update(t.Context(), b.repo, found, summary, nil); !errors.Is(err, checks.ErrGone) || !errors.Is(err, checks.ErrRefused) {
		t.Fatalf("%v", err)
	}
	if found, err := b.host.Find(t.Context(), b.repo, summary); err != nil || found != "" {
		t.Fatalf("%q %v", found, err)
	}
	made, err := b.host.Create(t.Context(), b.repo, summary)
	b.must(err)
	asked := len(b.hub.Requests())
	if found, err := b.host.Find(t.Context(), b.repo, summary); err != nil || found != made || len(b.hub.Requests()) != asked+1 {
		t.Errorf("%q %v, made %s", found, err, made)
	}
	summary.Summary = strings.Repeat("é", 40_000)
	b.must(b.host.Update(t.Context(), b.repo, made, summary, nil))
	list := b.hub.Comments("octo/shop", number)
	if len(list) != 2 || list[0].Body != "Trust me\n\n"+mark || len([]rune(list[1].Body)) != 30_000 || !strings.HasSuffix(list[1].Body, "…\n\n"+mark) {
		t.Errorf("%d comments", len(list))
	}
	// After a restart we know who we are as soon as we have changed it.
	h, err := bitbucket.New(b.host.Config)
	b.must(err)
	summary.Summary = "again"
	b.must(h.Update(t.Context(), b.repo, made, summary, nil))
	if found, err := h.Find(t.Context(), b.repo, summary); err != nil || found != made {
		t.Errorf("%q %v", found, err)
	}
	if list, err := h.Comments(t.Context(), b.repo, number, time.Time{}); err != nil || len(list) != 0 { // theirs has our mark
		t.Errorf("%+v %v", list, err)
	}
	// Somebody deletes it.
	if _, err := b.hub.DeleteComment(b.hub.Comments("octo/shop", number)[1].ID, "dev"); err != nil {
		t.Fatal(err)
	}
	if err := h.Update(t.Context(), b.repo, made, summary, nil); !errors.Is(err, checks.ErrGone) || !errors.Is(err, checks.ErrRefused) {
		t.Errorf("%v", err)
	}
	if err := h.Update(t.Context(), b.repo, "x", summary, nil); !errors.Is(err, checks.ErrGone) {
		t.Errorf("%v", err)
	}
	if found, err := h.Find(t.Context(), b.repo, summary); err != nil || found != "" {
		t.Errorf("%q %v", found, err)
	}
}

// TestCloudReplies answers a comment below it, once, and beside it if it is gone.
func TestCloudReplies(t *testing.T) {
	b := newBench(t, nil)
	number := b.pull()
	asked, _, err := b.hub.Comment("octo/shop", number, "dev", "/help")
	b.must(err)
	reply := &checks.Report{Kind: checks.KindComment, Name: checks.ReplyName, ExternalID: "r1", PullRequest: number, InReplyTo: asked.ID, Status: checks.Completed, Conclusion: checks.Success, Summary: "Help"}
	made, err := b.host.Create(t.Context(), b.repo, reply)
	b.must(err)
	list := b.hub.Comments("octo/shop", number)
	if len(list) != 2 || list[1].Parent != asked.ID || list[1].Body != "Help\n\n[//]: # (buildsmith:reply r1)" || fmt.Sprint(list[1].ID) != made {
		t.Errorf("%+v", list)
	}
	if found, err := b.host.Find(t.Context(), b.repo, reply); err != nil || found != made {
		t.Errorf("%q %v", found, err)
	}
	before := len(b.hub.Requests())
	if err := b.host.Update(t.Context(), b.repo, made, reply, nil); err != nil || len(b.hub.Requests()) != before {
		t.Errorf("a reply is changed: %v", err)
	}
	other := *reply
	other.ExternalID = "r2"
	if found, err := b.host.Find(t.Context(), b.repo, &other); err != nil || found != "" {
		t.Errorf("%q %v", found, err)
	}
	_, err = b.hub.DeleteComment(asked.ID, "dev")
	b.must(err)
	_, err = b.host.Create(t.Context(), b.repo, &other)
	b.must(err)
	if list := b.hub.Comments("octo/shop", number); len(list) != 2 || list[1].Parent != 0 || !strings.HasSuffix(list[1].Body, "reply r2)") {
		t.Errorf("%+v", list)
	}
	other.PullRequest = 99
	if _, err := b.host.Create(t.Context(), b.repo, &other); !errors.Is(err, checks.ErrRefused) {
		t.Errorf("%v", err)
	}
}

// TestWhoWeAre asks for the account of a person's API token, whose comments without a mark are ours as well.
func TestWhoWeAre(t *testing.T) {
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.UserToken, Email: "me@example.org"})
		b.must(err)
		b.must(b.hub.SetPermission("octo/shop", "me", "admin"))
		c.Credentials[0].Token, c.Credentials[0].Email = token.Value, "me@example.org"
	})
	number := b.pull()
	summary := &checks.Report{Kind: checks.KindComment, Name: checks.SummaryName, PullRequest: number, Summary: "x"}
	_, _, err := b.hub.Comment("octo/shop", number, "dev", "x\n\n[//]: # (buildsmith:summary)")
	b.must(err)
	_, _, err = b.hub.Comment("octo/shop", number, "me", "by hand")
	b.must(err)
	_, _, err = b.hub.Comment("octo/shop", number, "dev", "for you")
	b.must(err)
	if found, err := b.host.Find(t.Context(), b.repo, summary); err != nil || found != "" {
		t.Errorf("%q %v", found, err)
	}
	list, err := b.host.Comments(t.Context(), b.repo, number, time.Time{})
	if err != nil || len(list) != 1 || list[0].Body != "for you" {
		t.Errorf("%+v %v", list, err)
	}
	if n := b.hub.Count("GET", "/user"); n != 1 {
		t.Errorf("asked %d times who we are", n)
	}
}

// TestCloudClone reads refs by git with each kind of credential.
func TestCloudClone(t *testing.T) {
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		consumer, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.OAuthConsumer, Workspace: "octo"})
		b.must(err)
		api, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.UserToken, Email: "me@example.org"})
		b.must(err)
		for _, name := range []string{"octo/byconsumer", "octo/bytoken", "octo/byname"} {
			_, err := b.hub.AddRepo(name, bitbuckettest.RepoOptions{Private: true})
			b.must(err)
			b.must(b.hub.SetPermission(name, "me", "read"))
		}
		c.Credentials = append(c.Credentials, bitbucket.Credential{Repositories: []string{"octo/byconsumer"}, Consumer: bitbucket.Consumer{Key: consumer.Key, Secret: consumer.Value}},
			bitbucket.Credential{Repositories: []string{"octo/bytoken"}, Token: api.Value, Email: "me@example.org"},
			bitbucket.Credential{Repositories: []string{"octo/byname"}, Token: api.Value, Email: "me@example.org", Username: "me"})
	})
	for _, name := range []string{"octo/shop", "octo/byconsumer", "octo/bytoken", "octo/byname"} {
		header, revoke, err := b.host.CloneHeader(t.Context(), store.Repo{Name: name})
		b.must(err)
		request, err := http.NewRequest(http.MethodGet, b.host.CloneURL(name)+"/info/refs?service=git-upload-pack", nil)
		b.must(err)
		key, value, _ := strings.Cut(header, ": ")
		request.Header.Set(key, value)
		answer, err := http.DefaultClient.Do(request)
		b.must(err)
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		revoke()
		if answer.StatusCode != 200 {
			t.Errorf("%s: %s %s", name, answer.Status, body)
		}
	}
}

// TestSummariesHaveNoHTML renders what people have named: Bitbucket would show tags and comments of HTML as they are, or refuse them.
func TestSummariesHaveNoHTML(t *testing.T) {
	var builds []store.Build
	for n, name := range []string{"<b>bold</b>", "a <!-- b -->", "x | y", "[//]: # (buildsmith:summary)", "\n<script>"} {
		builds = append(builds, store.Build{ID: fmt.Sprint("b", n), Number: n, Check: name, Trigger: store.Trigger{Commit: strings.Repeat("a", 40), PullRequest: 1}, Status: store.Failed, Created: time.Now(), Ended: time.Now()})
	}
	notices := []store.Notice{{ID: "n", Check: "<i>", Title: "<u>why</u> <!-- -->", Conclusion: store.ActionRequired, Trigger: store.Trigger{PullRequest: 1}}}
	r := checks.RenderSummary(1, strings.Repeat("a", 40), builds, notices, checks.Options{URL: func(id string, _ store.Repo) string { return "https://ci.example.org/builds/" + id }})
	spans := regexp.MustCompile("(`+)[^`].*?[^`]?(`+)")
	if left := spans.ReplaceAllString(r.Summary, ""); strings.ContainsAny(left, "<>") || len(left) == len(r.Summary) {
		t.Errorf("%s\n\nof\n\n%s", left, r.Summary)
	}
	for line := range strings.Lines(r.Summary) {
		if strings.HasPrefix(line, store.CommentMark) {
			t.Errorf("somebody's mark: %q", line)
		}
	}
}
