package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"buildsmith/checks/forgetest"

	"github.com/google/go-github/v60/github"
)

// TestRepositoryEvents lets a repository go through what people do with one.
func TestRepositoryEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	id := must[*github.Repository](t)(first(s.inst.Repositories.Get(t.Context(), "octo", "shop"))).GetID()
	p := b.delivered1(t, "repository")(s.Rename(shopRepo, "store"))
	expect(t, p, map[string]any{"action": "renamed", "changes.repository.name.from": "shop", "repository.full_name": "octo/store", "repository.id": id})
	if _, err := s.Rename("octo/store", "store"); err == nil {
		t.Error("it was renamed to what it is")
	}
	if _, err := s.Rename("octo/store", "../x"); err == nil {
		t.Error("it was renamed to a path")
	}
	p = b.delivered1(t, "repository")(s.SetVisibility("octo/store", false))
	expect(t, p, map[string]any{"action": "publicized", "repository.private": false})
	p = b.delivered1(t, "repository")(s.SetVisibility("octo/store", true))
	expect(t, p, map[string]any{"action": "privatized", "repository.private": true, "repository.visibility": "private"})

	// What is archived can be read only.
	p = b.delivered1(t, "repository")(s.SetArchived("octo/store", true))
	expect(t, p, map[string]any{"action": "archived", "repository.archived": true})
	_, _, err := s.inst.Checks.CreateCheckRun(t.Context(), "octo", "store", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.sha})
	if status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "Repository was archived so is read-only.") {
		t.Errorf("a check run in an archived repository: %v", err)
	}
	if got := must[*github.Repository](t)(first(s.inst.Repositories.Get(t.Context(), "octo", "store"))); !got.GetArchived() {
		t.Error("it is not archived")
	}
	p = b.delivered1(t, "repository")(s.SetArchived("octo/store", false))
	expect(t, p, map[string]any{"action": "unarchived", "repository.archived": false})

	// A transfer to where the app is, and one to where it is not.
	must[int64](t)(s.AddRepo("acme/site", RepoOptions{}))
	p = b.delivered1(t, "repository")(s.Transfer("octo/store", "acme"))
	expect(t, p, map[string]any{"action": "transferred", "changes.owner.from.user.login": "octo", "repository.full_name": "acme/store", "installation.id": s.Installation("acme")})
	_, acme, _ := s.clients(s.Installation("acme"))
	for _, name := range []string{"octo/shop", "octo/store", "acme/store"} {
		owner, name, _ := strings.Cut(name, "/")
		if got := must[*github.Repository](t)(first(acme.Repositories.Get(t.Context(), owner, name))); got.GetFullName() != "acme/store" || got.GetID() != id {
			t.Errorf("%s/%s is %s", owner, name, got.GetFullName())
		}
	}
	count := b.count()
	if d, err := s.Transfer("acme/store", "nobody"); err != nil || d.GUID != "" || b.count() != count {
		t.Errorf("a transfer to where the app is not: %+v, %v", d, err)
	}
	if _, _, err := acme.Repositories.Get(t.Context(), "nobody", "store"); status(err) != http.StatusNotFound {
		t.Errorf("the app still sees it: %v", err)
	}

	p = b.delivered1(t, "repository")(s.Delete("acme/site"))
	expect(t, p, map[string]any{"action": "deleted", "repository.full_name": "acme/site", "installation.id": s.Installation("acme")})
	if _, _, err := acme.Repositories.Get(t.Context(), "acme", "site"); status(err) != http.StatusNotFound {
		t.Errorf("it is there after it was deleted: %v", err)
	}
	if _, err := s.Delete("acme/site"); err == nil {
		t.Error("it was deleted twice")
	}
}

// TestRedirects checks both ways in which GitHub answers a request that changes something by an old name.
func TestRedirects(t *testing.T) {
	for want, temporary := range map[int]bool{http.StatusMovedPermanently: false, http.StatusTemporaryRedirect: true} {
		t.Run(http.StatusText(want), func(t *testing.T) {
			s := newShop(t, Options{TemporaryRedirects: temporary})
			if err := s.RenameRepo(shopRepo, "store"); err != nil {
				t.Fatal(err)
			}
			client := *s.inst.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			for method, status := range map[string]int{"GET": http.StatusMovedPermanently, "POST": want} {
				r, err := http.NewRequest(method, s.URL()+"/api/v3/repos/octo/shop/commits/"+s.sha+"/check-runs?per_page=5", nil)
				if method == "POST" {
					r, err = http.NewRequest(method, s.URL()+"/api/v3/repos/octo/shop/check-runs", strings.NewReader(`{"name": "x", "head_sha": "`+s.sha+`"}`))
					r.Header.Set("Content-Type", "application/json")
				}
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if to := resp.Header.Get("Location"); resp.StatusCode != status || !strings.Contains(to, "/api/v3/repositories/") || strings.Contains(to, "shop") {
					t.Errorf("%s: %s to %s", method, resp.Status, to)
				}
			}
		})
	}
}

func TestDeletionsAndForce(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	second := s.commit("main", map[string]string{"x": "1"})
	b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	p := b.delivered1(t, "push")(s.ForcePush(shopRepo, "main", s.sha))
	expect(t, p, map[string]any{"forced": true, "before": second, "after": s.sha, "deleted": false})
	s.commit("feature", map[string]string{"y": "1"})
	b.delivered1(t, "push")(s.Push(shopRepo, "feature"))
	p = b.delivered1(t, "push")(s.DeleteBranch(shopRepo, "feature"))
	expect(t, p, map[string]any{"ref": "refs/heads/feature", "deleted": true, "after": forgetest.ZeroHash, "head_commit": nil})
	if err := s.SetRef(shopRepo, "refs/tags/v1", s.sha); err != nil {
		t.Fatal(err)
	}
	b.delivered1(t, "push")(s.Push(shopRepo, "refs/tags/v1"))
	p = b.delivered1(t, "push")(s.DeleteTag(shopRepo, "v1"))
	expect(t, p, map[string]any{"ref": "refs/tags/v1", "deleted": true})
	if _, err := s.DeleteBranch(shopRepo, "none"); err == nil {
		t.Error("no branch was deleted")
	}
}

func TestReleaseEvents(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	for _, test := range []struct {
		tag        string
		prerelease bool
		want       string
	}{
		{"v1.0", false, "push release created release published release released"},
		{"v1.1-rc", true, "push release created release published release prereleased"},
		{"v1.0", false, "release created release published release released"}, // the tag is there
	} {
		list, err := s.Release(shopRepo, test.tag, "First", test.prerelease)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range list {
			got = append(got, strings.TrimSpace(d.Event+" "+d.Action))
			r := &http.Request{Header: d.Header}
			payload := jsonOf(d.Payload).(object)
			checkPayload(t, r, d.Payload, payload)
			if d.Event == "push" {
				expect(t, payload, map[string]any{"ref": "refs/tags/" + test.tag, "head_commit.id": s.sha})
				continue
			}
			expect(t, payload, map[string]any{"release.tag_name": test.tag, "release.name": "First", "release.prerelease": test.prerelease,
				"release.draft": false, "release.target_commitish": "main"})
		}
		if words := strings.Join(got, " "); words != test.want {
			t.Errorf("%s: %s, want %s", test.tag, words, test.want)
		}
	}
	if _, err := s.Release("octo/none", "v1", "", false); err == nil {
		t.Error("a release of no repository")
	}
	must[int64](t)(s.AddRepo("octo/empty", RepoOptions{}))
	if _, err := s.Release("octo/empty", "v1", "", false); err == nil {
		t.Error("a release of nothing")
	}
}

func TestMergeQueue(t *testing.T) {
	s, b := newShop(t, Options{}), newBot(t)
	s.SetHook(b.url)
	b.delivered1(t, "push")(s.Push(shopRepo, "main"))
	var pulls []int
	for _, branch := range []string{"one", "two"} {
		must[string](t)(s.Commit(shopRepo, branch, Change{Parent: s.sha, Files: map[string]string{branch: "1"}}))
		b.delivered1(t, "push")(s.Push(shopRepo, branch))
		number, d, err := s.OpenPullRequest(shopRepo, PullRequest{Head: branch})
		b.delivered1(t, "pull_request")(d, err)
		pulls = append(pulls, number)
	}
	tell := func(list []Delivery, err error) (words []string, payloads []object) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			payload := jsonOf(d.Payload).(object)
			checkPayload(t, &http.Request{Header: d.Header}, d.Payload, payload)
			words, payloads = append(words, strings.TrimSpace(d.Event+" "+d.Action)), append(payloads, payload)
		}
		return words, payloads
	}
	g, list, err := s.MergeGroup(shopRepo, "main", pulls...)
	words, payloads := tell(list, err)
	if !slices.Equal(words, []string{"push", "merge_group checks_requested"}) {
		t.Fatalf("%q", words)
	}
	ref := "refs/heads/gh-readonly-queue/main/pr-2-" + s.sha
	expect(t, payloads[0], map[string]any{"ref": ref, "created": true, "after": g.HeadSHA})
	expect(t, payloads[1], map[string]any{"merge_group.head_ref": ref, "merge_group.head_sha": g.HeadSHA, "merge_group.base_sha": s.sha,
		"merge_group.base_ref": "refs/heads/main", "merge_group.head_commit.id": g.HeadSHA})
	dir := must[string](t)(s.RepoDir(shopRepo))
	if files := mustGit(t, dir, "ls-tree", "--name-only", g.HeadSHA); files != "buildspec.yml\none\nsrc\ntwo" {
		t.Errorf("the group has the files %q", files)
	}
	words, payloads = tell(s.DestroyMergeGroup(shopRepo, g.Ref, "invalidated"))
	if !slices.Equal(words, []string{"merge_group destroyed", "push"}) {
		t.Fatalf("%q", words)
	}
	expect(t, payloads[0], map[string]any{"reason": "invalidated", "merge_group.head_sha": g.HeadSHA})
	expect(t, payloads[1], map[string]any{"ref": g.Ref, "deleted": true})

	g, _, err = s.MergeGroup(shopRepo, "main", pulls...)
	if err != nil {
		t.Fatal(err)
	}
	words, payloads = tell(s.DestroyMergeGroup(shopRepo, g.Ref, "merged"))
	if !slices.Equal(words, []string{"merge_group destroyed", "push", "pull_request closed", "pull_request closed", "push"}) {
		t.Fatalf("%q", words)
	}
	expect(t, payloads[1], map[string]any{"ref": "refs/heads/main", "before": s.sha, "after": g.HeadSHA, "forced": false})
	expect(t, payloads[2], map[string]any{"pull_request.merged": true, "pull_request.merge_commit_sha": g.HeadSHA, "pull_request.state": "closed"})
	pull := must[*github.PullRequest](t)(first(s.inst.PullRequests.Get(t.Context(), "octo", "shop", pulls[0])))
	if !pull.GetMerged() || pull.GetMergeCommitSHA() != g.HeadSHA || pull.GetBase().GetSHA() != s.sha || pull.GetDraft() {
		t.Errorf("the pull request is %v", pull)
	}

	if _, err := s.DestroyMergeGroup(shopRepo, g.Ref, "merged"); err == nil {
		t.Error("it was merged twice")
	}
	if _, err := s.DestroyMergeGroup(shopRepo, g.Ref, "bored"); err == nil {
		t.Error("for no reason")
	}
	for _, numbers := range [][]int{nil, {1}, {9}} { // none, one that is merged, one that is not there
		if _, _, err := s.MergeGroup(shopRepo, "main", numbers...); err == nil {
			t.Errorf("a group of %v", numbers)
		}
	}
	if _, _, err := s.MergeGroup(shopRepo, "none", 1); err == nil {
		t.Error("a group on no branch")
	}
}
