package bitbuckettest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks/forgetest"
)

// A clock is a time that tests move.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newClock() *clock { return &clock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

// texts collects what is at a path in each value of a page.
func texts(page object, path string) []string {
	var all []string
	values, _ := page["values"].([]any)
	for _, v := range values {
		all = append(all, fmt.Sprint(at(v, path)))
	}
	return all
}

func TestDataCenterRepository(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	known, err := s.Repo(centerRepo)
	if err != nil || known.Name != "OCTO/hello" {
		t.Errorf("the repository is %+v, %v", known, err)
	}
	for _, path := range []string{s.api, strings.ToLower(s.api), strings.Replace(s.api, "latest", "1.0", 1)} {
		got := s.must("GET "+path, "", http.StatusOK)
		for key, want := range map[string]any{"id": float64(known.ID), "slug": "hello", "public": false, "project.key": "OCTO", "project.type": "NORMAL", "origin": nil,
			"links.clone.0.name": "http", "links.clone.0.href": s.URL() + "/scm/octo/hello.git", "links.self.0.href": s.URL() + "/projects/OCTO/repos/hello/browse"} {
			if at(got, key) != want {
				t.Errorf("%s: %s is %v, want %v", path, key, at(got, key), want)
			}
		}
	}
	message := problemOf(t, s.must("GET /api/latest/projects/OCTO/repos/other", "", http.StatusNotFound))
	if message != "Repository OCTO/other does not exist." {
		t.Errorf("of another repository it says %q", message)
	}
	if s.CloneURL(centerRepo) != s.URL()+"/scm/octo/hello.git" {
		t.Errorf("git is told %s", s.CloneURL(centerRepo))
	}
}

func TestDataCenterPersonalFork(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	fork, err := s.AddFork(centerRepo, "~ada")
	if err != nil || fork != "~ada/hello" {
		t.Fatalf("the fork is %q, %v", fork, err)
	}
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "ada"})
	got := s.must("GET /api/latest/projects/~ada/repos/hello", "", http.StatusOK)
	for key, want := range map[string]any{"project.key": "~ADA", "project.type": "PERSONAL", "project.owner.slug": "ada", "project.owner.name": "ada", "origin.slug": "hello",
		"origin.project.key": "OCTO", "links.clone.0.href": s.URL() + "/scm/~ada/hello.git", "links.self.0.href": s.URL() + "/users/ada/repos/hello/browse"} {
		if at(got, key) != want {
			t.Errorf("%s is %v, want %v", key, at(got, key), want)
		}
	}
	if got["hierarchyId"] != at(got, "origin.hierarchyId") {
		t.Errorf("the fork is of %v, its origin of %v", got["hierarchyId"], at(got, "origin.hierarchyId"))
	}
}

func TestDataCenterPages(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	for i := range 30 {
		if err := s.SetRef(centerRepo, fmt.Sprintf("refs/heads/b%02d", i), s.sha); err != nil {
			t.Fatal(err)
		}
	}
	first := s.must("GET "+s.api+"/branches?orderBy=ALPHABETICAL", "", http.StatusOK)
	if first["size"] != 25.0 || first["limit"] != 25.0 || first["isLastPage"] != false || first["nextPageStart"] != 25.0 || len(first["values"].([]any)) != 25 {
		t.Errorf("the first page is %v", first)
	}
	last := s.must("GET "+s.api+"/branches?orderBy=ALPHABETICAL&start=25", "", http.StatusOK)
	if last["size"] != 6.0 || last["start"] != 25.0 || last["isLastPage"] != true || last["nextPageStart"] != nil {
		t.Errorf("the last page is %v", last)
	}
	all := append(texts(first, "displayId"), texts(last, "displayId")...)
	if len(all) != 31 || !slices.IsSorted(all) || all[30] != "main" {
		t.Errorf("the branches are %v", all)
	}
	beyond := s.must("GET "+s.api+"/branches?start=100&limit=1000", "", http.StatusOK)
	if beyond["size"] != 0.0 || beyond["isLastPage"] != true || len(beyond["values"].([]any)) != 0 {
		t.Errorf("beyond the end is %v", beyond)
	}
}

func TestDataCenterRefs(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newCenter(t, Options{Now: c.now})
	c.add(time.Minute)
	newer := s.commit("feature/One", map[string]string{"one": "1"})
	dir, err := s.RepoDir(centerRepo)
	if err != nil {
		t.Fatal(err)
	}
	host := forgetest.Host{Name: "ada", Email: "ada@example.org"}
	if _, err := host.Git(dir, nil, "tag", "-a", "-m", "one", "v1/a", s.sha); err != nil {
		t.Fatal(err)
	}
	object1, err := host.Git(dir, nil, "rev-parse", "refs/tags/v1/a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetRef(centerRepo, "refs/tags/light", newer); err != nil {
		t.Fatal(err)
	}

	branches := s.must("GET "+s.api+"/branches?details=true", "", http.StatusOK)
	if got := texts(branches, "displayId"); !slices.Equal(got, []string{"feature/One", "main"}) {
		t.Errorf("the branches by time are %v", got)
	}
	if got := texts(branches, "isDefault"); !slices.Equal(got, []string{"false", "true"}) {
		t.Errorf("which is the default: %v", got)
	}
	metadata := at(branches, "values.0.metadata").(object)["com.atlassian.bitbucket.server.bitbucket-branch:latest-commit-metadata"]
	if at(metadata, "id") != newer || at(branches, "values.0.latestCommit") != newer {
		t.Errorf("the details are %v", metadata)
	}
	if got := texts(s.must("GET "+s.api+"/branches?filterText=ONE", "", http.StatusOK), "id"); !slices.Equal(got, []string{"refs/heads/feature/One"}) {
		t.Errorf("the branches with one in it are %v", got)
	}
	tags := s.must("GET "+s.api+"/tags?orderBy=ALPHABETICAL", "", http.StatusOK)
	if got := texts(tags, "displayId"); !slices.Equal(got, []string{"light", "v1/a"}) {
		t.Errorf("the tags are %v", got)
	}
	if got := texts(tags, "latestCommit"); !slices.Equal(got, []string{newer, s.sha}) {
		t.Errorf("the commits of the tags are %v", got)
	}
	if got := texts(tags, "hash"); !slices.Equal(got, []string{"<nil>", strings.TrimSpace(object1)}) {
		t.Errorf("the objects of the tags are %v", got)
	}
	if got := s.must("GET "+s.api+"/tags/v1/a", "", http.StatusOK); got["latestCommit"] != s.sha {
		t.Errorf("a tag with a slash is %v", got)
	}
	problemOf(t, s.must("GET "+s.api+"/tags/v1", "", http.StatusNotFound))
	if got := s.must("GET "+s.api+"/branches/default", "", http.StatusOK); got["displayId"] != "main" || got["latestCommit"] != s.sha || got["isDefault"] != true {
		t.Errorf("the default branch is %v", got)
	}
	if got := s.must("GET "+s.api+"/default-branch", "", http.StatusOK); got["id"] != "refs/heads/main" {
		t.Errorf("the default branch is %v", got)
	}
	info := "GET /branch-utils/latest/projects/OCTO/repos/hello/branches/info/"
	if got := texts(s.must(info+s.sha, "", http.StatusOK), "displayId"); !slices.Equal(got, []string{"feature/One", "main"}) {
		t.Errorf("the branches with the first commit are %v", got)
	}
	if got := texts(s.must(info+newer, "", http.StatusOK), "displayId"); !slices.Equal(got, []string{"feature/One"}) {
		t.Errorf("the branches with the second commit are %v", got)
	}
	problemOf(t, s.must(info+strings.Repeat("1", 40), "", http.StatusNotFound))
}

func TestDataCenterEmptyRepository(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	if _, err := s.AddRepo("octo/empty", RepoOptions{}); err != nil {
		t.Fatal(err)
	}
	s.token = s.newToken(TokenOptions{Kind: ProjectToken, Project: "OCTO"})
	api := strings.Replace(s.api, "hello", "empty", 1)
	for _, path := range []string{"/branches/default", "/default-branch", "/commits", "/raw/a"} {
		problemOf(t, s.must("GET "+api+path, "", http.StatusNotFound))
	}
	if got := s.must("GET "+api+"/branches", "", http.StatusOK); got["size"] != 0.0 {
		t.Errorf("the branches are %v", got)
	}
	if got := texts(s.must("GET /api/latest/projects/octo/repos", "", http.StatusOK), "slug"); !slices.Equal(got, []string{"empty", "hello"}) {
		t.Errorf("the repositories are %v", got)
	}
	problemOf(t, s.must("GET /api/latest/projects/NONE/repos", "", http.StatusNotFound))
}

func TestDataCenterCommits(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	if err := s.SetRef(centerRepo, "refs/tags/v1", s.sha); err != nil {
		t.Fatal(err)
	}
	second, err := s.Commit(centerRepo, "main", Change{Message: "The second", Author: "ada", Files: map[string]string{"b": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{second: second, second[:7]: second, s.sha[:12]: s.sha, "main": second, "v1": s.sha} {
		if got := s.must("GET "+s.api+"/commits/"+name, "", http.StatusOK); got["id"] != want || got["displayId"] != want[:11] {
			t.Errorf("%s is %v, want %s", name, got["id"], want)
		}
	}
	got := s.must("GET "+s.api+"/commits/"+second, "", http.StatusOK)
	if got["message"] != "The second" || at(got, "author.name") != "ada" || at(got, "parents.0.id") != s.sha || at(got, "author.slug") != "ada" {
		t.Errorf("the commit is %v", got)
	}
	for _, name := range []string{"none", strings.Repeat("1", 40), "main~1", "--all", "main@{0}"} {
		message := problemOf(t, s.must("GET "+s.api+"/commits/"+name, "", http.StatusNotFound))
		if !strings.Contains(message, "Commit '"+name+"' does not exist") {
			t.Errorf("of %s it says %q", name, message)
		}
	}
	for query, want := range map[string][]string{"": {second, s.sha}, "?until=refs/heads/main": {second, s.sha}, "?until=v1": {s.sha}, "?since=v1": {second},
		"?until=main&since=main": nil, "?limit=1": {second}} {
		if got := texts(s.must("GET "+s.api+"/commits"+query, "", http.StatusOK), "id"); !slices.Equal(got, want) {
			t.Errorf("the commits%s are %v, want %v", query, got, want)
		}
	}
	problemOf(t, s.must("GET "+s.api+"/commits?since=none", "", http.StatusNotFound))
}

func TestDataCenterRaw(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	s.commit("other", map[string]string{"buildspec.yml": "other\n"})
	for path, want := range map[string]string{"buildspec.yml": "version: 0.2\n", "buildspec.yml?at=other": "other\n", "buildspec.yml?at=" + s.sha: "version: 0.2\n",
		"src/a%20b.go": "package a\n", "buildspec.yml?at=refs/heads/other": "other\n"} {
		resp, got := s.send("GET "+s.api+"/raw/"+path, s.token, "")
		if resp.StatusCode != http.StatusOK || string(got) != want {
			t.Errorf("%s is %d %q, want %q", path, resp.StatusCode, got, want)
		}
	}
	for _, path := range []string{"none", "src", "buildspec.yml?at=none", "buildspec.yml?at=" + strings.Repeat("1", 40)} {
		problemOf(t, s.must("GET "+s.api+"/raw/"+path, "", http.StatusNotFound))
	}
}

func TestDataCenterVersions(t *testing.T) {
	t.Parallel()
	for version, builds := range map[string]int{"7.13.2": http.StatusNotFound, "7.14.0": http.StatusNoContent, "": http.StatusNoContent, "10.0.0-rc1": http.StatusNoContent} {
		t.Run(version, func(t *testing.T) {
			s := newCenter(t, Options{DataCenter: DataCenterOptions{Version: version}})
			resp, data := s.send("GET /api/1.0/application-properties", "", "")
			want := `"version":"` + version + `"`
			if version == "" {
				want = `"version":"8.19.0"`
			}
			if resp.StatusCode != http.StatusOK || !strings.Contains(string(data), want) {
				t.Errorf("the properties are %d %s", resp.StatusCode, data)
			}
			s.must("POST "+s.api+"/commits/"+s.sha+"/builds", `{"key": "k", "state": "FAILED", "url": "https://ci.example.org"}`, builds)
			pull := s.pull("feature")
			_, hasDraft := s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, pull), "", http.StatusOK)["draft"]
			if want := version == "" || version == "10.0.0-rc1"; hasDraft != want {
				t.Errorf("a draft is known: %v, want %v", hasDraft, want)
			}
		})
	}
	for _, version := range []string{"8", "eight", "8.x"} {
		if _, err := NewServer(Options{Flavor: DataCenter, URL: "http://127.0.0.1:1", DataCenter: DataCenterOptions{Version: version}}); err == nil || !strings.Contains(err.Error(), "is no version such as 8.19.0") {
			t.Errorf("version %s: %v", version, err)
		}
	}
}

func TestDataCenterContext(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{DataCenter: DataCenterOptions{Context: "/bitbucket/"}})
	if s.WebURL() != s.URL()+"/bitbucket" || s.CloneURL(centerRepo) != s.URL()+"/bitbucket/scm/octo/hello.git" {
		t.Errorf("it is at %s, the repository at %s", s.WebURL(), s.CloneURL(centerRepo))
	}
	got := s.must("GET "+s.api, "", http.StatusOK)
	if at(got, "links.self.0.href") != s.WebURL()+"/projects/OCTO/repos/hello/browse" || at(got, "links.clone.0.href") != s.CloneURL(centerRepo) {
		t.Errorf("the repository is %v", got)
	}
	resp, err := http.Get(s.URL() + "/rest" + s.api)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if seen := s.TakeViolations(); resp.StatusCode != http.StatusNotFound || len(seen) != 1 || !strings.Contains(seen[0].What, "below /bitbucket/rest") {
		t.Errorf("beside it is %d, violations %v", resp.StatusCode, seen)
	}
	if _, err := NewServer(Options{Flavor: DataCenter, URL: "http://127.0.0.1:1", DataCenter: DataCenterOptions{Context: "bitbucket"}}); err == nil {
		t.Error("a context without a slash was taken")
	}
}
