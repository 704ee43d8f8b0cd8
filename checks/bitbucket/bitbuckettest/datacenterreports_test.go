package bitbuckettest

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestDataCenterBuilds(t *testing.T) {
	t.Parallel()
	var told []Status
	s := newCenter(t, Options{Reported: func(x Status) { told = append(told, x) }})
	builds := s.api + "/commits/" + s.sha + "/builds"
	s.must("POST "+builds, `{"key": "k", "state": "INPROGRESS", "url": "https://ci.example.org/1", "name": "n", "ref": "refs/heads/main", "description": "running"}`, http.StatusNoContent)
	s.must("POST "+builds, `{"key": "other", "state": "CANCELLED", "url": "https://ci.example.org/2", "name": "o"}`, http.StatusNoContent)
	first := s.must("GET "+builds+"?key=k", "", http.StatusOK)
	s.must("POST "+builds, `{"key": "k", "state": "SUCCESSFUL", "url": "https://ci.example.org/1", "name": "n", "description": "done", "duration": 7, "buildNumber": "12",
		"parent": "p", "testResults": {"successful": 3, "failed": 0, "skipped": 1}}`, http.StatusNoContent)
	got := s.must("GET "+builds+"?key=k", "", http.StatusOK)
	for key, want := range map[string]any{"state": "SUCCESSFUL", "description": "done", "duration": 7.0, "buildNumber": "12", "parent": "p", "testResults.successful": 3.0,
		"testResults.skipped": 1.0, "ref": nil, "createdDate": first["createdDate"]} {
		if at(got, key) != want {
			t.Errorf("%s is %v, want %v", key, at(got, key), want)
		}
	}
	want := []State{{Name: "n", State: "SUCCESSFUL", Title: "done", Key: "k", URL: "https://ci.example.org/1"}, {Name: "o", State: "STOPPED", Key: "other", URL: "https://ci.example.org/2"}}
	if got := s.States(centerRepo, s.sha); !reflect.DeepEqual(got, want) {
		t.Errorf("the states are %v, want %v", got, want)
	}
	if len(told) != 3 || told[2].State != "SUCCESSFUL" || told[2].Repository != "OCTO/hello" {
		t.Errorf("it was told %v", told)
	}
	problemOf(t, s.must("GET "+builds+"?key=none", "", http.StatusNotFound))
	problemOf(t, s.must("POST "+strings.Replace(builds, s.sha, strings.Repeat("1", 40), 1), `{"key": "k", "state": "FAILED", "url": "https://ci.example.org"}`, http.StatusNotFound))
	token := s.token
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "ada"})
	if got := s.must("GET /build-status/1.0/commits/"+s.sha, "", http.StatusOK); !slices.Equal(texts(got, "state"), []string{"FAILED", "SUCCESSFUL"}) {
		t.Errorf("where no build is cancelled the builds are %v", got)
	}
	s.token = token
	s.must("DELETE "+builds+"?key=other", "", http.StatusNoContent)
	problemOf(t, s.must("DELETE "+builds+"?key=other", "", http.StatusNotFound))
	if got := s.States(centerRepo, ""); len(got) != 1 {
		t.Errorf("the states are %v", got)
	}
}

func TestDataCenterLegacyBuilds(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{DataCenter: DataCenterOptions{Version: "7.6.0"}})
	legacy := "/build-status/1.0/commits/" + s.sha
	body := `{"key": "k", "state": "FAILED", "url": "https://ci.example.org", "name": "n", "description": "d"}`
	problemOf(t, s.must("POST "+legacy, body, http.StatusForbidden)) // the token of a repository has no user who counts
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "ada"})
	s.must("POST "+legacy, body, http.StatusNoContent)
	got := s.must("GET "+legacy, "", http.StatusOK)
	if at(got, "values.0.key") != "k" || at(got, "values.0.state") != "FAILED" || at(got, "values.0.description") != "d" || got["size"] != 1.0 {
		t.Errorf("the builds are %v", got)
	}
	if got := s.States(centerRepo, s.sha); len(got) != 1 || got[0].State != "FAILED" {
		t.Errorf("the states are %v", got)
	}
	s.must("POST "+legacy, strings.Replace(body, "FAILED", "SUCCESSFUL", 1), http.StatusNoContent)
	if got := s.must("GET "+legacy, "", http.StatusOK); at(got, "values.0.state") != "SUCCESSFUL" || got["size"] != 1.0 {
		t.Errorf("the builds are %v after the same key", got)
	}
	s.must("POST /build-status/1.0/commits/"+strings.Repeat("1", 40), body, http.StatusNoContent)
	if seen := s.TakeViolations(); len(seen) != 1 || !strings.Contains(seen[0].What, "is in no repository") {
		t.Errorf("violations %v", seen)
	}
}

func TestDataCenterReports(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	report := s.insights("build-1")
	problemOf(t, s.must("GET "+report, "", http.StatusNotFound))
	problemOf(t, s.must("POST "+report+"/annotations", annotations(1, ""), http.StatusNotFound)) // the report comes first
	s.must("PUT "+report, `{"title": "t", "details": "d", "result": "FAIL", "reporter": "buildsmith", "link": "https://ci.example.org", "data": [{"title": "a", "type": "NUMBER", "value": 7}]}`, http.StatusOK)
	s.must("POST "+report+"/annotations", annotations(2, `, "path": "src/a b.go", "line": 3, "type": "BUG", "link": "https://ci.example.org/3"`), http.StatusNoContent)
	s.must("POST "+report+"/annotations", annotations(1, `, "externalId": "e"`), http.StatusNoContent)
	s.must("PUT "+report, `{"title": "t", "result": "PASS"}`, http.StatusOK)
	got := s.must("GET "+report, "", http.StatusOK)
	if got["key"] != "build-1" || got["title"] != "t" || got["result"] != "PASS" || got["details"] != nil {
		t.Errorf("the report is %v", got)
	}
	notes := s.must("GET "+report+"/annotations", "", http.StatusOK)
	for key, want := range map[string]any{"totalCount": 3.0, "annotations.0.reportKey": "build-1", "annotations.0.path": "src/a b.go", "annotations.0.line": 3.0, "annotations.0.message": "m",
		"annotations.0.severity": "LOW", "annotations.0.type": "BUG", "annotations.2.externalId": "e", "annotations.2.line": 0.0} {
		if at(notes, key) != want {
			t.Errorf("%s is %v, want %v", key, at(notes, key), want)
		}
	}
	s.must("DELETE "+report+"/annotations?externalId=e", "", http.StatusNoContent)
	if kept := s.Reports(centerRepo, s.sha); len(kept) != 1 || kept[0].ID != "build-1" || len(kept[0].Annotations) != 2 || kept[0].Annotations[0].Summary != "m" {
		t.Errorf("kept is %+v", kept)
	}
	s.must("DELETE "+report, "", http.StatusNoContent)
	s.must("DELETE "+report, "", http.StatusNoContent)
	problemOf(t, s.must("GET "+report+"/annotations", "", http.StatusNotFound))
	problemOf(t, s.must("PUT "+strings.Replace(report, s.sha, strings.Repeat("1", 40), 1), `{"title": "t"}`, http.StatusNotFound))
}
