package bitbuckettest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// text returns a text of a length.
func text(n int) string { return strings.Repeat("x", n) }

// annotations returns a body with a number of annotations.
func annotations(n int, more string) string {
	one := `{"message": "m", "severity": "LOW"` + more + `}`
	return `{"annotations": [` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
}

// TestDataCenterLimits sends what Data Center takes just so, and what it does not take any more.
func TestDataCenterLimits(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"}) // the oldest addresses take no other
	pull := s.pull("feature")
	comment := s.comment(pull, "ada", "hello")
	var (
		builds   = "POST " + s.api + "/commits/" + s.sha + "/builds"
		legacy   = "POST /build-status/1.0/commits/" + s.sha
		report   = "PUT " + s.insights("r")
		notes    = "POST " + s.insights("r") + "/annotations"
		comments = fmt.Sprintf("POST %s/pull-requests/%d/comments", s.api, pull)
		edit     = fmt.Sprintf("PUT %s/pull-requests/%d/comments/%d", s.api, pull, comment)
		hooks    = "POST " + s.api + "/webhooks"
	)
	s.must(report, `{"title": "a report"}`, http.StatusOK)
	build := func(more string) string {
		return `{"key": "k", "state": "SUCCESSFUL", "url": "https://ci.example.org/b/1"` + more + `}`
	}
	hook := func(more string) string {
		return `{"name": "n", "url": "https://ci.example.org/hook", "events": ["pr:opened"]` + more + `}`
	}
	for _, test := range []struct {
		name, request, body string
		wrong               string // part of the violation; empty if there is none
	}{
		{"a build", builds, build(""), ""},
		{"all of a build", builds, build(`, "name": "n", "description": "d", "buildNumber": "7", "duration": 5, "lastUpdated": 1700000000000,
			"parent": "p", "ref": "refs/heads/main", "testResults": {"successful": 1, "failed": 0, "skipped": 2}`), ""},
		{"a long key", builds, `{"key": "` + text(255) + `", "state": "FAILED", "url": "https://ci.example.org"}`, ""},
		{"a key too long", builds, `{"key": "` + text(256) + `", "state": "FAILED", "url": "https://ci.example.org"}`, "key: maximum string length is 255"},
		{"an empty key", builds, `{"key": "", "state": "FAILED", "url": "https://ci.example.org"}`, "key: minimum string length is 1"},
		{"no key", builds, `{"state": "FAILED", "url": "https://ci.example.org"}`, `property "key" is missing`},
		{"no state", builds, `{"key": "k", "url": "https://ci.example.org"}`, `property "state" is missing`},
		{"no url", builds, `{"key": "k", "state": "FAILED"}`, `property "url" is missing`},
		{"a long url", builds, `{"key": "k", "state": "FAILED", "url": "https://ci.example.org/` + text(450-23) + `"}`, ""},
		{"a url too long", builds, `{"key": "k", "state": "FAILED", "url": "https://ci.example.org/` + text(451-23) + `"}`, "url: maximum string length is 450"},
		{"a relative url", builds, `{"key": "k", "state": "FAILED", "url": "/b/1"}`, `url is no address: "/b/1"`},
		{"a long name", builds, build(`, "name": "` + text(255) + `"`), ""},
		{"a name too long", builds, build(`, "name": "` + text(256) + `"`), "name: maximum string length is 255"},
		{"a description too long", builds, build(`, "description": "` + text(256) + `"`), "description: maximum string length is 255"},
		{"a null", builds, build(`, "description": null`), "description: Value is not nullable"},
		{"the state of Cloud", builds, `{"key": "k", "state": "STOPPED", "url": "https://ci.example.org"}`, "state: value is not one of the allowed values"},
		{"a cancelled build", builds, `{"key": "k", "state": "CANCELLED", "url": "https://ci.example.org"}`, ""},
		{"an unknown key", builds, build(`, "refname": "main"`), `property "refname" is unsupported`},
		{"a short ref", builds, build(`, "ref": "main"`), "ref: string doesn't match"},
		{"a negative duration", builds, build(`, "duration": -1`), "duration: number must be at least 0"},
		{"no json", builds, `{`, "failed to decode request body"},
		{"a short hash", "POST " + s.api + "/commits/" + s.sha[:12] + "/builds", build(""), `doesn't match the regular expression "^[0-9a-f]{40}$"`},

		{"an old build", legacy, build(`, "name": "n", "description": "d"`), ""},
		{"an old cancelled build", legacy, `{"key": "k", "state": "CANCELLED", "url": "https://ci.example.org"}`, "state: value is not one of the allowed values"},
		{"an old build with a ref", legacy, build(`, "ref": "refs/heads/main"`), `property "ref" is unsupported`},
		{"an old description too long", legacy, build(`, "description": "` + text(256) + `"`), "description: maximum string length is 255"},
		{"an old url too long", legacy, `{"key": "k", "state": "FAILED", "url": "https://ci.example.org/` + text(451-23) + `"}`, "url: maximum string length is 450"},

		{"all of a report", report, `{"title": "t", "details": "d", "result": "PASS", "reporter": "r", "link": "https://ci.example.org", "logoUrl": "https://ci.example.org/l",
			"data": [{"title": "a", "type": "BOOLEAN", "value": true}, {"title": "b", "type": "DATE", "value": 1700000000000},
				{"title": "c", "type": "DURATION", "value": 5}, {"title": "d", "type": "LINK", "value": {"linktext": "l", "href": "https://ci.example.org"}},
				{"title": "e", "type": "NUMBER", "value": 7}, {"title": "f", "type": "PERCENTAGE", "value": 99.5}]}`, ""},
		{"text in a report", report, `{"title": "t", "data": [{"title": "a", "type": "TEXT", "value": "b"}]}`, ""},
		{"no title", report, `{"details": "d"}`, `property "title" is missing`},
		{"a title too long", report, `{"title": "` + text(451) + `"}`, "title: maximum string length is 450"},
		{"details too long", report, `{"title": "t", "details": "` + text(2001) + `"}`, "details: maximum string length is 2000"},
		{"a reporter too long", report, `{"title": "t", "reporter": "` + text(451) + `"}`, "reporter: maximum string length is 450"},
		{"the result of Cloud", report, `{"title": "t", "result": "PASSED"}`, "result: value is not one of the allowed values"},
		{"the kind of Cloud", report, `{"title": "t", "report_type": "TEST"}`, `property "report_type" is unsupported`},
		{"seven data", report, `{"title": "t", "data": [` + strings.TrimSuffix(strings.Repeat(`{"title": "a", "type": "NUMBER", "value": 1},`, 7), ",") + `]}`, "data: maximum number of items is 6"},
		{"a wrong type of data", report, `{"title": "t", "data": [{"title": "a", "type": "COLOUR", "value": "red"}]}`, "data.0.type: value is not one of the allowed values"},
		{"a number in words", report, `{"title": "t", "data": [{"title": "a", "type": "NUMBER", "value": "one"}]}`, "data 0: one is no value of the type NUMBER"},
		{"more than all", report, `{"title": "t", "data": [{"title": "a", "type": "PERCENTAGE", "value": 101}]}`, "data 0: 101 is no value of the type PERCENTAGE"},
		{"a yes in words", report, `{"title": "t", "data": [{"title": "a", "type": "BOOLEAN", "value": "yes"}]}`, "data 0: yes is no value of the type BOOLEAN"},
		{"a text of numbers", report, `{"title": "t", "data": [{"title": "a", "type": "TEXT", "value": 1}]}`, "data 0: 1 is no value of the type TEXT"},
		{"a link of text", report, `{"title": "t", "data": [{"title": "a", "type": "LINK", "value": "https://ci.example.org"}]}`, "data 0: https://ci.example.org is no value of the type LINK"},
		{"a relative link", report, `{"title": "t", "link": "/b/1"}`, "link is no address"},
		{"a relative logo", report, `{"title": "t", "logoUrl": "/l"}`, "logoUrl is no address"},
		{"a report's key too long", "PUT " + s.insights(text(256)), `{"title": "t"}`, "maximum string length is 255"},

		{"all of an annotation", notes, annotations(1, `, "externalId": "e", "type": "BUG", "path": "a.go", "line": 1, "link": "https://ci.example.org"`), ""},
		{"no annotations", notes, `{"annotations": []}`, "annotations: minimum number of items is 1"},
		{"too many annotations", notes, annotations(1001, ""), "annotations: maximum number of items is 1000"},
		{"no message", notes, `{"annotations": [{"severity": "LOW"}]}`, `property "message" is missing`},
		{"no severity", notes, `{"annotations": [{"message": "m"}]}`, `property "severity" is missing`},
		{"a message too long", notes, `{"annotations": [{"severity": "LOW", "message": "` + text(2001) + `"}]}`, "message: maximum string length is 2000"},
		{"the severity of Cloud", notes, `{"annotations": [{"message": "m", "severity": "CRITICAL"}]}`, "severity: value is not one of the allowed values"},
		{"a wrong type", notes, annotations(1, `, "type": "SMELL"`), "type: value is not one of the allowed values"},
		{"an id too long", notes, annotations(1, `, "externalId": "`+text(450)+`"`), "externalId: maximum string length is 449"},
		{"the id of Cloud", notes, annotations(1, `, "external_id": "e"`), `property "external_id" is unsupported`},
		{"line 0", notes, annotations(1, `, "path": "a.go", "line": 0`), ""},
		{"a negative line", notes, annotations(1, `, "path": "a.go", "line": -1`), "line: number must be at least 0"},
		{"a line of nothing", notes, annotations(1, `, "line": 3`), "annotation 0: line 3 of no file"},
		{"an absolute path", notes, annotations(1, `, "path": "/a.go"`), `annotation 0: "/a.go" is no path in the repository`},
		{"a path outside", notes, annotations(1, `, "path": "a/../../b"`), `annotation 0: "a/../../b" is no path in the repository`},
		{"an annotation's relative link", notes, annotations(1, `, "link": "b"`), `annotation 0: link is no address: "b"`},

		{"a long comment", comments, `{"text": "` + text(32768) + `"}`, ""},
		{"a comment too long", comments, `{"text": "` + text(32769) + `"}`, "text: maximum string length is 32768"},
		{"an empty comment", comments, `{"text": ""}`, "text: minimum string length is 1"},
		{"a blank comment", comments, `{"text": " \n"}`, "text is blank"},
		{"the comment of Cloud", comments, `{"content": {"raw": "hello"}}`, `property "content" is unsupported`},
		{"an edit without a version", edit, `{"text": "again"}`, `property "version" is missing`},
		{"an emoticon", fmt.Sprintf("PUT %s/eyes", s.reactions(pull, comment)), "", ""},
		{"an unknown emoticon", fmt.Sprintf("PUT %s/hooray", s.reactions(pull, comment)), "", "value is not one of the allowed values"},

		{"a hook", hooks, hook(`, "active": true, "sslVerificationRequired": true, "configuration": {"secret": "s"}`), ""},
		{"a hook without events", hooks, `{"name": "n", "url": "https://ci.example.org", "events": []}`, "events: minimum number of items is 1"},
		{"a hook with the events of Cloud", hooks, `{"name": "n", "url": "https://ci.example.org", "events": ["repo:push"]}`, "events.0: value is not one of the allowed values"},
		{"a hook with a secret beside", hooks, hook(`, "secret": "s"`), `property "secret" is unsupported`},
		{"a hook with more configuration", hooks, hook(`, "configuration": {"token": "s"}`), `property "token" is unsupported`},
		{"a hook to nowhere", hooks, `{"name": "n", "url": "ci", "events": ["pr:opened"]}`, `url is no address: "ci"`},
		{"a hook without a name", hooks, `{"url": "https://ci.example.org", "events": ["pr:opened"]}`, `property "name" is missing`},

		{"an unknown query", "GET " + s.api + "/branches?q=main", "", `there is no query parameter "q"`},
		{"pages of Cloud", "GET " + s.api + "/branches?pagelen=100", "", `there is no query parameter "pagelen"`},
		{"a page too long", "GET " + s.api + "/branches?limit=1001", "", "number must be at most 1000"},
		{"the state of a pull request of Cloud", "GET " + s.api + "/pull-requests?state=SUPERSEDED", "", "value is not one of the allowed values"},
		{"pull requests of a short branch", "GET " + s.api + "/pull-requests?at=main", "", `doesn't match the regular expression "^refs/heads/."`},
		{"nothing", "GET " + s.api + "/nothing", "", "has no such operation"},
		{"the API of Cloud", "GET /2.0/repositories/octo/hello", "", "has no such operation"},
		{"a slash in a segment", "GET " + s.api + "/commits/refs%2Fheads%2Fmain", "", "has no such operation"},
		{"a body that is not asked for", "DELETE " + s.api + "/webhooks/4711", "{}", "request body not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, answer := s.request(test.request, test.body)
			seen := s.TakeViolations()
			if test.wrong == "" {
				if status >= 300 || len(seen) > 0 {
					t.Errorf("%s answers %d %v, violations %v", test.request, status, answer, seen)
				}
				return
			}
			if status < 400 || status >= 500 {
				t.Errorf("%s answers %d", test.request, status)
			}
			if len(seen) == 0 || !strings.Contains(fmt.Sprint(seen), test.wrong) {
				t.Errorf("violations %v, want one with %q", seen, test.wrong)
			}
		})
	}
}

// TestDataCenterAnnotationsInTotal fills a report up: what goes beyond is refused as a whole.
func TestDataCenterAnnotationsInTotal(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	s.must("PUT "+s.insights("r"), `{"title": "t"}`, http.StatusOK)
	notes := s.insights("r") + "/annotations"
	s.must("POST "+notes, annotations(990, ""), http.StatusNoContent)
	s.must("POST "+notes, annotations(11, ""), http.StatusBadRequest)
	if seen := s.TakeViolations(); len(seen) != 1 || !strings.Contains(seen[0].What, "has 990 annotations, and 11 more are over 1000") {
		t.Errorf("violations %v", seen)
	}
	s.must("POST "+notes, annotations(10, ""), http.StatusNoContent)
	if got := s.must("GET "+notes, "", http.StatusOK); got["totalCount"] != 1000.0 {
		t.Errorf("there are %v annotations", got["totalCount"])
	}
	s.must("DELETE "+notes, "", http.StatusNoContent)
	if got := s.must("GET "+notes, "", http.StatusOK); got["totalCount"] != 0.0 {
		t.Errorf("there are %v annotations after they were deleted", got["totalCount"])
	}
}
