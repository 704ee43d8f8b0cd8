package githubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-github/v60/github"
)

// TestAnswers makes one good request for every operation there is. The hub checks each answer against the description and
// would have violations otherwise.
func TestAnswers(t *testing.T) {
	s := newShop(t, Options{Permissions: map[string]string{"metadata": "read", "contents": "read", "checks": "write", "pull_requests": "write",
		"issues": "write", "statuses": "write", "deployments": "write", "members": "read"}})
	s.SetHook(newBot(t).url)
	s.AddOrganization("acme", "mona")
	s.SetPermission(shopRepo, "mona", "maintain")
	second := s.commit("feature", map[string]string{"src/a.go": "package a // changed\n", "new": "new\n"})
	number, d, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "feature", User: "mona", Body: "Please."})
	if err != nil || d.StatusCode != http.StatusAccepted {
		t.Fatalf("opening a pull request: %+v, %v", d, err)
	}
	comment, _, err := s.Comment(shopRepo, number, "mona", "/test")
	if err != nil {
		t.Fatal(err)
	}
	run := s.run(github.CreateCheckRunOptions{Name: "buildsmith", HeadSHA: second, Status: github.String("completed"), Conclusion: github.String("failure"),
		Output: &github.CheckRunOutput{Title: github.String("T"), Summary: github.String("S"), Annotations: []*github.CheckRunAnnotation{
			{Path: github.String("src/a.go"), StartLine: github.Int(1), EndLine: github.Int(1), AnnotationLevel: github.String("failure"), Message: github.String("no")}}}})

	in := "/repos/octo/shop"
	cases := []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/app", "", 200},
		{"POST", "/app-manifests/" + s.ManifestCode() + "/conversions", "", 201},
		{"GET", "/app/installations", "", 200},
		{"GET", fmt.Sprintf("/app/installations/%d", s.Installation("octo")), "", 200},
		{"POST", fmt.Sprintf("/app/installations/%d/access_tokens", s.Installation("octo")), `{"repositories": ["shop"], "permissions": {"contents": "read"}}`, 201},
		{"GET", "/app/hook/config", "", 200},
		{"PATCH", "/app/hook/config", `{"content_type": "json"}`, 200},
		{"GET", "/app/hook/deliveries?per_page=1", "", 200},
		{"GET", fmt.Sprintf("/app/hook/deliveries/%d", d.ID), "", 200},
		{"POST", fmt.Sprintf("/app/hook/deliveries/%d/attempts", d.ID), "", 202},
		{"GET", "/installation/repositories", "", 200},
		{"GET", "/rate_limit", "", 200},
		{"GET", "/orgs/acme/members/mona", "", 204},
		{"GET", in, "", 200},
		{"GET", in + "/installation", "", 200},
		{"GET", in + "/collaborators/mona/permission", "", 200},
		{"GET", in + "/contents/buildspec.yml", "", 200},
		{"GET", in + "/contents/src?ref=feature", "", 200},
		{"GET", in + "/contents/", "", 200},
		{"GET", in + "/compare/main...feature", "", 200},
		{"GET", in + "/commits/heads/feature", "", 200},
		{"GET", in + "/commits/feature/check-runs?check_name=buildsmith&app_id=4711&filter=all&status=completed", "", 200},
		{"GET", in + "/commits/" + second + "/check-suites?check_name=buildsmith", "", 200},
		{"POST", in + "/statuses/" + second, `{"state": "success", "context": "buildsmith", "target_url": "https://ci.example.org/1", "description": "fine"}`, 201},
		{"GET", in + "/commits/feature/statuses", "", 200},
		{"GET", in + "/commits/" + second + "/branches-where-head", "", 200},
		{"GET", in + "/commits/" + second + "/pulls", "", 200},
		{"POST", in + "/deployments", `{"ref": "` + second + `", "auto_merge": false, "required_contexts": [], "payload": {"build": "1"}}`, 201},
		{"GET", in + "/deployments?environment=production&sha=" + second, "", 200},
		{"POST", fmt.Sprintf("%s/deployments/%d/statuses", in, firstID["deployment"]), `{"state": "success", "log_url": "https://ci.example.org/1", "environment_url": "https://example.org"}`, 201},
		{"GET", fmt.Sprintf("%s/deployments/%d/statuses", in, firstID["deployment"]), "", 200},
		{"POST", in + "/check-runs", `{"name": "x", "head_sha": "` + second + `"}`, 201},
		{"GET", fmt.Sprintf("%s/check-runs/%d", in, run.GetID()), "", 200},
		{"PATCH", fmt.Sprintf("%s/check-runs/%d", in, run.GetID()), `{"external_id": "7"}`, 200},
		{"GET", fmt.Sprintf("%s/check-runs/%d/annotations", in, run.GetID()), "", 200},
		{"POST", fmt.Sprintf("%s/check-runs/%d/rerequest", in, run.GetID()), "", 201},
		{"POST", in + "/check-suites", `{"head_sha": "` + second + `"}`, 200},
		{"POST", in + "/check-suites", `{"head_sha": "` + s.sha + `"}`, 201},
		{"GET", fmt.Sprintf("%s/check-suites/%d", in, run.GetCheckSuite().GetID()), "", 200},
		{"GET", fmt.Sprintf("%s/check-suites/%d/check-runs", in, run.GetCheckSuite().GetID()), "", 200},
		{"POST", fmt.Sprintf("%s/check-suites/%d/rerequest", in, run.GetCheckSuite().GetID()), "", 201},
		{"GET", in + "/pulls?state=all&head=octo:feature", "", 200},
		{"GET", fmt.Sprintf("%s/pulls/%d", in, number), "", 200},
		{"GET", fmt.Sprintf("%s/pulls/%d/files", in, number), "", 200},
		{"GET", fmt.Sprintf("%s/issues/%d/comments", in, number), "", 200},
		{"POST", fmt.Sprintf("%s/issues/%d/comments", in, number), `{"body": "Done."}`, 201},
		{"GET", fmt.Sprintf("%s/issues/comments/%d", in, comment.ID), "", 200},
		{"PATCH", fmt.Sprintf("%s/issues/comments/%d", in, comment.ID+1), `{"body": "Done!"}`, 200},
		{"POST", fmt.Sprintf("%s/issues/comments/%d/reactions", in, comment.ID), `{"content": "eyes"}`, 201},
		{"POST", fmt.Sprintf("%s/issues/comments/%d/reactions", in, comment.ID), `{"content": "eyes"}`, 200},
		{"GET", fmt.Sprintf("%s/issues/comments/%d/reactions?content=eyes", in, comment.ID), "", 200},
		{"DELETE", "/installation/token", "", 204},
	}
	byOperation := map[string]operation{}
	for _, o := range operations() {
		byOperation[o.method+" "+o.path] = o
	}
	for _, c := range cases {
		found, _ := s.contract.find(c.method, strings.SplitN(c.path, "?", 2)[0])
		if found == nil {
			t.Errorf("%s %s is no operation", c.method, c.path)
			continue
		}
		delete(byOperation, found.method+" "+found.path)
		client := s.inst
		if found.access == byApp {
			client = s.app
		}
		got, answer := s.do(client.Client(), c.method, c.path, c.body)
		if got != c.status {
			t.Errorf("%s %s: %d, want %d: %s", c.method, c.path, got, c.status, answer)
		}
	}
	for name := range byOperation {
		t.Errorf("%s is not tried", name)
	}
}

// do makes a request without the help of go-github.
func (s *shop) do(client *http.Client, method, path, body string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+"/api/v3"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// TestAnswersAreChecked makes sure that TestAnswers would notice something.
func TestAnswersAreChecked(t *testing.T) {
	s := newShop(t, Options{})
	found, params := s.contract.find("GET", "/repos/octo/shop")
	r, _ := http.NewRequest("GET", s.URL()+"/api/v3/repos/octo/shop", nil)
	s.mu.Lock()
	o := s.repoJSON(s.repoLocked(shopRepo))
	delete(o, "full_name")
	o["size"] = "large"
	s.checkAnswerLocked(r, found, params, ok(o))
	s.mu.Unlock()
	all := fmt.Sprint(s.TakeViolations())
	for _, want := range []string{"full_name", "size", "subscribers_count"} {
		if !strings.Contains(all, want) {
			t.Errorf("nothing is said of %s: %s", want, all)
		}
	}
}

// TestDeletedHead checks the one answer that is not as described: see checkAnswerLocked.
func TestDeletedHead(t *testing.T) {
	s := newShop(t, Options{})
	fork := must[string](t)(s.AddFork(shopRepo, "stranger"))
	must[string](t)(s.Commit(fork, "fix", Change{Files: map[string]string{"x": "y"}}))
	number, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "stranger:fix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRepo(fork); err != nil {
		t.Fatal(err)
	}
	got, _, err := s.inst.PullRequests.Get(t.Context(), "octo", "shop", number)
	if err != nil {
		t.Fatal(err)
	}
	if got.GetHead().Repo != nil || got.GetHead().GetRef() != "fix" || got.GetHead().GetUser().GetLogin() != "stranger" {
		t.Errorf("head is %+v", got.GetHead())
	}
	if _, err := s.SynchronizePullRequest(shopRepo, number); err == nil {
		t.Error("a pull request was synchronized without its head")
	}
}

func TestContents(t *testing.T) {
	s := newShop(t, Options{})
	s.commit("main", map[string]string{"dir with space/ü.txt": "text\n", "big": strings.Repeat("x", 2<<20)})
	file, _, _, err := s.inst.Repositories.GetContents(t.Context(), "octo", "shop", "dir with space/ü.txt", &github.RepositoryContentGetOptions{Ref: "heads/main"})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := file.GetContent(); text != "text\n" || err != nil {
		t.Errorf("the file holds %q, %v", text, err)
	}
	_, dir, _, err := s.inst.Repositories.GetContents(t.Context(), "octo", "shop", "", nil)
	if err != nil || len(dir) != 4 || dir[2].GetName() != "dir with space" || dir[2].GetType() != "dir" {
		t.Errorf("the root holds %v, %v", dir, err)
	}
	for path, want := range map[string]int{"none": 404, "src/none": 404, "buildspec.yml/x": 404, "*": 404} {
		_, _, _, err := s.inst.Repositories.GetContents(t.Context(), "octo", "shop", path, nil)
		if status(err) != want {
			t.Errorf("%s: %v, want %d", path, err, want)
		}
	}
	for _, ref := range []string{"none", "main~1", "-x", "main..main"} {
		_, _, _, err := s.inst.Repositories.GetContents(t.Context(), "octo", "shop", "big", &github.RepositoryContentGetOptions{Ref: ref})
		if status(err) != 404 {
			t.Errorf("ref %s: %v", ref, err)
		}
	}

	// The raw form has files of any size, the other one not.
	r, _ := http.NewRequest("GET", s.URL()+"/api/v3/repos/octo/shop/contents/big", nil)
	r.Header.Set("Accept", "application/vnd.github.raw")
	var raw bytes.Buffer
	if _, err := s.inst.Do(t.Context(), r, &raw); err != nil || raw.Len() != 2<<20 {
		t.Errorf("the raw file has %d bytes, %v", raw.Len(), err)
	}
	_, body := s.do(s.inst.Client(), "GET", "/repos/octo/shop/contents/big", "")
	var big struct{ Encoding, Content string }
	if err := json.Unmarshal([]byte(body), &big); err != nil || big.Encoding != "none" || big.Content != "" {
		t.Errorf("the big file comes as %q with %d bytes, %v", big.Encoding, len(big.Content), err)
	}
}

func TestRenamed(t *testing.T) {
	s := newShop(t, Options{TemporaryRedirects: true}) // by which go-github can create something, too
	id := must[*github.Repository](t)(first(s.inst.Repositories.Get(t.Context(), "octo", "shop"))).GetID()
	if err := s.RenameRepo(shopRepo, "store"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"shop", "store"} { // the old one by a redirect
		if got := must[*github.Repository](t)(first(s.inst.Repositories.Get(t.Context(), "octo", name))); got.GetFullName() != "octo/store" {
			t.Errorf("%s is %s", name, got.GetFullName())
		}
	}
	if got := must[*github.Repository](t)(first(s.inst.Repositories.GetByID(t.Context(), id))); got.GetFullName() != "octo/store" {
		t.Errorf("%d is %s", id, got.GetFullName())
	}
	run, _, err := s.inst.Checks.CreateCheckRun(t.Context(), "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.sha})
	if err != nil || run.GetName() != "x" {
		t.Errorf("creating a check run by the old name: %v, %v", run, err)
	}
	if _, _, err := s.inst.Repositories.GetByID(t.Context(), 1); status(err) != 404 {
		t.Errorf("a repository that is not: %v", err)
	}
}

func TestConditional(t *testing.T) {
	s := newShop(t, Options{})
	r, _ := http.NewRequest("GET", s.URL()+"/api/v3/repos/octo/shop/contents/buildspec.yml", nil)
	resp, err := s.inst.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r, _ = http.NewRequest("GET", r.URL.String(), nil)
	r.Header.Set("If-None-Match", resp.Header.Get("Etag"))
	resp, err = s.inst.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotModified {
		t.Errorf("the same again: %s", resp.Status)
	}
}

// first drops the response between a value and an error.
func first[T any](v T, _ *github.Response, err error) (T, error) { return v, err }
