package githubtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v60/github"
)

func str(s string) *string { return &s }

func annotations(n int) []*github.CheckRunAnnotation {
	var list []*github.CheckRunAnnotation
	for i := range n {
		list = append(list, &github.CheckRunAnnotation{Path: str("src/a.go"), StartLine: github.Int(i + 1), EndLine: github.Int(i + 1),
			AnnotationLevel: str("warning"), Message: str(fmt.Sprint("remark ", i))})
	}
	return list
}

func TestCheckRunLife(t *testing.T) {
	s := newShop(t, Options{})
	run := s.run(github.CreateCheckRunOptions{Name: "buildsmith / build", ExternalID: str("b1"), DetailsURL: str("https://ci.example.org/builds/1"),
		Output: &github.CheckRunOutput{Title: str("Waiting"), Summary: str("…"), Annotations: annotations(50)}})
	if run.GetStatus() != "queued" || run.GetConclusion() != "" || run.GetApp().GetID() != 4711 || run.GetCheckSuite().GetID() == 0 {
		t.Errorf("it begins as %v", run)
	}
	update := func(o github.UpdateCheckRunOptions) *github.CheckRun {
		t.Helper()
		o.Name = "buildsmith / build"
		got, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", run.GetID(), o)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	update(github.UpdateCheckRunOptions{Status: str("in_progress")})
	update(github.UpdateCheckRunOptions{Output: &github.CheckRunOutput{Title: str("Working"), Summary: str("half"), Annotations: annotations(3)}})
	// A conclusion completes the run, whether or not the request says so.
	got := update(github.UpdateCheckRunOptions{Conclusion: str("failure"), Actions: []*github.CheckRunAction{{Label: "Again", Description: "Run it again", Identifier: "again"}}})
	if got.GetStatus() != "completed" || got.GetCompletedAt().IsZero() || got.GetOutput().GetAnnotationsCount() != 53 || got.GetOutput().GetTitle() != "Working" {
		t.Errorf("it ends as %v", got)
	}
	held, found := s.CheckRun(shopRepo, s.sha, "buildsmith / build")
	if !found || held.Path() != "queued in_progress failure" || len(held.History) != 4 || held.ExternalID != "b1" || held.Summary != "half" {
		t.Errorf("the hub holds %+v", held)
	}
	if diff := cmp.Diff([]Action{{"Again", "Run it again", "again"}}, held.Actions); diff != "" {
		t.Errorf("the actions: %s", diff)
	}
	list, resp, err := s.inst.Checks.ListCheckRunAnnotations(t.Context(), "octo", "shop", run.GetID(), &github.ListOptions{PerPage: 40, Page: 2})
	if err != nil || len(list) != 13 || list[12].GetMessage() != "remark 2" || resp.PrevPage != 1 {
		t.Errorf("%d annotations on the second page, %v", len(list), err)
	}
	// Without a conclusion it is open again.
	if got := update(github.UpdateCheckRunOptions{Status: str("in_progress")}); got.GetConclusion() != "" || !got.GetCompletedAt().IsZero() {
		t.Errorf("it is reopened as %v", got)
	}
}

func TestCheckRunRefused(t *testing.T) {
	s := newShop(t, Options{})
	for _, sha := range []string{strings.Repeat("1", 40), "main", s.sha[:10]} {
		_, _, err := s.inst.Checks.CreateCheckRun(t.Context(), "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: sha})
		if status(err) != 422 {
			t.Errorf("head_sha %s: %v", sha, err)
		}
	}
	id := must[int64](t)(s.AddCheckRun(shopRepo, CheckRun{Name: "lint", HeadSHA: s.sha, Status: "in_progress"}))
	if _, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", id, github.UpdateCheckRunOptions{Name: "lint"}); status(err) != 403 {
		t.Errorf("updating the run of another app: %v", err)
	}
	if _, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", 1, github.UpdateCheckRunOptions{Name: "x"}); status(err) != 404 {
		t.Errorf("updating no run: %v", err)
	}
	run := s.run(github.CreateCheckRunOptions{Name: "x"})
	if _, err := s.inst.Checks.ReRequestCheckRun(t.Context(), "octo", "shop", run.GetID()); status(err) != 422 {
		t.Errorf("asking again for what runs: %v", err)
	}
}

func TestListCheckRuns(t *testing.T) {
	s := newShop(t, Options{})
	for i := range 3 {
		s.run(github.CreateCheckRunOptions{Name: "buildsmith", ExternalID: str(fmt.Sprint(i))})
	}
	for i := range 40 {
		s.run(github.CreateCheckRunOptions{Name: fmt.Sprint("phase ", i)})
	}
	must[int64](t)(s.AddCheckRun(shopRepo, CheckRun{Name: "buildsmith", HeadSHA: s.sha, Status: "completed", Conclusion: "success"}))
	list := func(ref string, o github.ListCheckRunsOptions) (names []string, total int, resp *github.Response) {
		t.Helper()
		got, resp, err := s.inst.Checks.ListCheckRunsForRef(t.Context(), "octo", "shop", ref, &o)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range got.CheckRuns {
			names = append(names, run.GetName()+" "+run.GetExternalID())
		}
		return names, got.GetTotal(), resp
	}
	names, _, _ := list("main", github.ListCheckRunsOptions{CheckName: str("buildsmith"), AppID: github.Int64(4711)})
	if diff := cmp.Diff([]string{"buildsmith 2"}, names); diff != "" {
		t.Errorf("the latest of ours: %s", diff)
	}
	names, _, _ = list(s.sha, github.ListCheckRunsOptions{CheckName: str("buildsmith"), AppID: github.Int64(4711), Filter: str("all")})
	if diff := cmp.Diff([]string{"buildsmith 2", "buildsmith 1", "buildsmith 0"}, names); diff != "" {
		t.Errorf("all of ours: %s", diff)
	}
	names, _, _ = list("heads/main", github.ListCheckRunsOptions{CheckName: str("buildsmith")})
	if len(names) != 2 {
		t.Errorf("the latest of all apps: %q", names)
	}
	names, total, resp := list("main", github.ListCheckRunsOptions{})
	if len(names) != 30 || total != 42 || resp.NextPage != 2 || resp.LastPage != 2 {
		t.Errorf("the first page has %d of %d, and then comes %d", len(names), total, resp.NextPage)
	}
	names, _, resp = list("main", github.ListCheckRunsOptions{ListOptions: github.ListOptions{Page: 2}})
	if len(names) != 12 || resp.NextPage != 0 {
		t.Errorf("the second page has %d, and then comes %d", len(names), resp.NextPage)
	}
	if names, _, _ := list("main", github.ListCheckRunsOptions{Status: str("completed")}); len(names) != 1 {
		t.Errorf("completed are %q", names)
	}
}

func TestSuites(t *testing.T) {
	s := newShop(t, Options{})
	second := s.commit("main", map[string]string{"x": "1"})
	first := s.run(github.CreateCheckRunOptions{Name: "a"})
	again := s.run(github.CreateCheckRunOptions{Name: "b"})
	other := s.run(github.CreateCheckRunOptions{Name: "a", HeadSHA: second})
	if first.GetCheckSuite().GetID() != again.GetCheckSuite().GetID() || first.GetCheckSuite().GetID() == other.GetCheckSuite().GetID() {
		t.Errorf("the suites are %d, %d and %d", first.GetCheckSuite().GetID(), again.GetCheckSuite().GetID(), other.GetCheckSuite().GetID())
	}
	state := func(want string) {
		t.Helper()
		got, _, err := s.inst.Checks.GetCheckSuite(t.Context(), "octo", "shop", first.GetCheckSuite().GetID())
		if err != nil || got.GetStatus()+" "+got.GetConclusion() != want {
			t.Errorf("the suite is %s %s, %v, want %s", got.GetStatus(), got.GetConclusion(), err, want)
		}
	}
	end := func(id int64, name, conclusion string) {
		t.Helper()
		if _, _, err := s.inst.Checks.UpdateCheckRun(t.Context(), "octo", "shop", id, github.UpdateCheckRunOptions{Name: name, Conclusion: &conclusion}); err != nil {
			t.Fatal(err)
		}
	}
	state("queued ")
	end(first.GetID(), "a", "failure")
	state("in_progress ")
	end(again.GetID(), "b", "success")
	state("completed failure")
	// A new run takes the place of the old one of its name.
	end(s.run(github.CreateCheckRunOptions{Name: "a"}).GetID(), "a", "neutral")
	state("completed success")
	list, _, err := s.inst.Checks.ListCheckSuitesForRef(t.Context(), "octo", "shop", s.sha, &github.ListCheckSuiteOptions{CheckName: str("none")})
	if err != nil || len(list.CheckSuites) != 0 {
		t.Errorf("suites with a run that is not: %v, %v", list, err)
	}
	if got := s.CheckRuns(shopRepo, ""); len(got) != 4 {
		t.Errorf("%d check runs in the repository", len(got))
	}
}

// TestForkHead checks that the head of a fork's pull request can be reported on in the base repository, where it is on no
// branch and belongs to no pull request.
func TestForkHead(t *testing.T) {
	s := newShop(t, Options{})
	fork := must[string](t)(s.AddFork(shopRepo, "stranger"))
	head := must[string](t)(s.Commit(fork, "fix", Change{Files: map[string]string{"x": "y"}}))
	if _, _, err := s.inst.Checks.CreateCheckRun(t.Context(), "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: head}); status(err) != 422 {
		t.Errorf("before the pull request: %v", err)
	}
	if _, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "stranger:fix"}); err != nil {
		t.Fatal(err)
	}
	run := s.run(github.CreateCheckRunOptions{Name: "x", HeadSHA: head})
	suite, _, err := s.inst.Checks.GetCheckSuite(t.Context(), "octo", "shop", run.GetCheckSuite().GetID())
	if err != nil || suite.HeadBranch != nil || len(run.PullRequests) != 0 {
		t.Errorf("the branch is %v, the pull requests are %v, %v", suite.HeadBranch, run.PullRequests, err)
	}
	// In the same repository both are known.
	own := s.commit("feature", map[string]string{"z": "1"})
	if _, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature"}); err != nil {
		t.Fatal(err)
	}
	run = s.run(github.CreateCheckRunOptions{Name: "x", HeadSHA: own})
	suite, _, err = s.inst.Checks.GetCheckSuite(t.Context(), "octo", "shop", run.GetCheckSuite().GetID())
	if err != nil || suite.GetHeadBranch() != "feature" || len(run.PullRequests) != 1 || run.PullRequests[0].GetNumber() != 2 {
		t.Errorf("the branch is %v, the pull requests are %v, %v", suite.GetHeadBranch(), run.PullRequests, err)
	}
}

func TestAwaitCheckRun(t *testing.T) {
	s := newShop(t, Options{})
	done := make(chan error, 1)
	go func() {
		run, err := s.AwaitCheckRun(soon(t), shopRepo, s.sha, "x", Completed)
		if err == nil && run.Conclusion != "success" {
			err = fmt.Errorf("it is %s", run.Conclusion)
		}
		done <- err
	}()
	s.run(github.CreateCheckRunOptions{Name: "x"})
	s.run(github.CreateCheckRunOptions{Name: "x", Conclusion: str("success"), Status: str("completed")})
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.AwaitCheckRun(ctx, shopRepo, s.sha, "y", Completed); err == nil || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("waiting for what does not come: %v", err)
	}
}

func TestComments(t *testing.T) {
	s := newShop(t, Options{})
	s.commit("feature", map[string]string{"z": "1"})
	number, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature"})
	if err != nil {
		t.Fatal(err)
	}
	plain := must[int](t)(s.OpenIssue(shopRepo, "octo", "A question"))
	ctx := t.Context()
	theirs, _, err := s.Comment(shopRepo, number, "octo", "/test")
	if err != nil {
		t.Fatal(err)
	}
	ours, _, err := s.inst.Issues.CreateComment(ctx, "octo", "shop", number, &github.IssueComment{Body: str("Done.")})
	if err != nil || ours.GetUser().GetLogin() != "buildsmith[bot]" || ours.GetUser().GetType() != "Bot" {
		t.Fatalf("our comment is %v, %v", ours, err)
	}
	if _, _, err := s.inst.Issues.EditComment(ctx, "octo", "shop", ours.GetID(), &github.IssueComment{Body: str("Done!")}); err != nil {
		t.Error(err)
	}
	if _, _, err := s.inst.Issues.EditComment(ctx, "octo", "shop", theirs.ID, &github.IssueComment{Body: str("x")}); status(err) != 403 {
		t.Errorf("editing another's comment: %v", err)
	}
	// issues is read, pull_requests is write.
	if _, _, err := s.inst.Issues.CreateComment(ctx, "octo", "shop", plain, &github.IssueComment{Body: str("x")}); status(err) != 403 {
		t.Errorf("commenting on an issue: %v", err)
	}
	if _, _, err := s.inst.Issues.CreateComment(ctx, "octo", "shop", 99, &github.IssueComment{Body: str("x")}); status(err) != 404 {
		t.Errorf("commenting on nothing: %v", err)
	}
	if got := s.Comments(shopRepo, number); len(got) != 2 || got[0].Body != "/test" || got[1].Body != "Done!" {
		t.Errorf("the comments are %+v", got)
	}
	for range 2 {
		if _, _, err := s.inst.Reactions.CreateIssueCommentReaction(ctx, "octo", "shop", theirs.ID, "eyes"); err != nil {
			t.Error(err)
		}
	}
	if got := s.Reactions(theirs.ID); len(got) != 1 || got[0].Content != "eyes" || got[0].User != "buildsmith[bot]" {
		t.Errorf("the reactions are %+v", got)
	}
	if _, _, err := s.inst.Repositories.CreateStatus(ctx, "octo", "shop", s.sha, &github.RepoStatus{State: str("pending"), Context: str("c")}); err != nil {
		t.Error(err)
	}
	if got := s.Statuses(shopRepo, s.sha); len(got) != 1 || got[0].State != "pending" || got[0].Context != "c" {
		t.Errorf("the statuses are %+v", got)
	}
}
