package bitbuckettest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// body changes a body at some keys; nil leaves a key out.
func body(t *testing.T, base string, changes map[string]any) string {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(base), &o); err != nil {
		t.Fatal(err)
	}
	for key, value := range changes {
		if value == nil {
			delete(o, key)
		} else {
			o[key] = value
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// null is the null of JSON, as a value of body.
var null = json.RawMessage("null")

func TestCloudStatuses(t *testing.T) {
	s := newShop(t, Options{})
	path := shopPath + "/commit/" + s.sha + "/statuses/build"
	good := `{"type": "build", "key": "bs-1", "state": "INPROGRESS", "url": "https://ci.example.org/1", "name": "build", "description": "Running", "refname": "main"}`
	expect(t, s.want(201, "POST", path, good), map[string]any{"key": "bs-1", "state": "INPROGRESS", "refname": "main", "commit.hash": s.sha})
	s.want(201, "POST", shopPath+"/commit/"+s.sha[:12]+"/statuses/build", body(t, good, map[string]any{"key": strings.Repeat("k", 40)}))
	s.want(201, "POST", path, body(t, good, map[string]any{"state": "SUCCESSFUL"})) // the same key overwrites
	expect(t, s.want(200, "PUT", path+"/bs-1", `{"type": "build", "state": "STOPPED", "description": "Stopped"}`), map[string]any{"state": "STOPPED", "name": "build"})
	expect(t, s.want(200, "GET", path+"/bs-1", ""), map[string]any{"state": "STOPPED"})
	expect(t, s.want(200, "GET", shopPath+"/commit/"+s.sha+"/statuses", ""), map[string]any{"values.#": 2})
	want := State{Name: "build", State: "STOPPED", Title: "Stopped", Key: "bs-1", URL: "https://ci.example.org/1"}
	if states := s.States(shopRepo, s.sha); len(states) != 2 || states[0] != want {
		t.Errorf("the states are %+v", states)
	}
	s.want(404, "GET", path+"/none", "")
	s.want(404, "POST", shopPath+"/commit/0123456789ab/statuses/build", good)
	for words, changes := range map[string]map[string]any{
		"url has braces":              {"url": "https://ci.example.org/{uuid}"},
		"no absolute address":         {"url": "/builds/1"},
		"maximum string length is 40": {"key": strings.Repeat("k", 41)},
		`"url" is missing`:            {"url": nil},
		`"state" is missing`:          {"state": nil},
		`"key" is missing`:            {"key": nil},
		`"type" is missing`:           {"type": nil},
		`"colour" is unsupported`:     {"colour": "green"},
		"state: value is not one of":  {"state": "CANCELLED"},
		"description: Value is not":   {"description": null},
	} {
		s.wantViolation(400, words, "POST", path, body(t, good, changes))
	}
	s.wantViolation(400, "cannot be changed", "PUT", path+"/bs-1", body(t, good, map[string]any{"key": "other"}))
}

func TestCloudReports(t *testing.T) {
	s := newShop(t, Options{})
	path := shopPath + "/commit/" + s.sha + "/reports/bs-1"
	good := `{"title": "Build", "details": "2 of 3", "report_type": "TEST", "result": "FAILED", "reporter": "buildsmith", "link": "https://ci.example.org/1",
		"data": [{"title": "Phases", "type": "TEXT", "value": "2 of 3"}, {"title": "Took", "type": "DURATION", "value": 1200}, {"title": "Log", "type": "LINK", "value": {"text": "log", "href": "https://ci.example.org/1"}}]}`
	annotation := func(id string) object {
		return object{"external_id": id, "annotation_type": "BUG", "summary": "broken", "path": "a.go", "line": 1, "severity": "HIGH", "result": "FAILED"}
	}
	annotations := func(from, n int) string {
		var list []object
		for i := range n {
			list = append(list, annotation(fmt.Sprint("a", from+i)))
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	s.want(404, "GET", path, "")
	s.want(404, "POST", path+"/annotations", annotations(0, 1))
	expect(t, s.want(200, "PUT", path, good), map[string]any{"external_id": "bs-1", "result": "FAILED", "data.#": 3})
	s.want(200, "POST", path+"/annotations", annotations(0, 100))
	s.want(200, "POST", path+"/annotations", annotations(50, 100)) // half of them again
	s.want(200, "PUT", path, body(t, good, map[string]any{"result": "PASSED"}))
	expect(t, s.want(200, "GET", path+"/annotations?pagelen=100", ""), map[string]any{"size": 150, "values.#": 100})
	reports := s.Reports(shopRepo, s.sha)
	if len(reports) != 1 || reports[0].Result != "PASSED" || len(reports[0].Annotations) != 150 {
		t.Fatalf("the reports are %+v", reports)
	}
	for i := range 8 {
		s.want(200, "POST", path+"/annotations", annotations(150+i*100, 100))
	}
	s.wantViolation(400, "1050 annotations, not 1000", "POST", path+"/annotations", annotations(950, 100))
	eleven := make([]object, 11)
	for i := range eleven {
		eleven[i] = object{"title": "x", "type": "NUMBER", "value": i}
	}
	for words, changes := range map[string]map[string]any{
		"data: maximum number of items is 10": {"data": eleven},
		"data 0: yes is not of the type":      {"data": []object{{"title": "x", "type": "BOOLEAN", "value": "yes"}}},
		"data 0: 101 is not of the type":      {"data": []object{{"title": "x", "type": "PERCENTAGE", "value": 101}}},
		"result: value is not one of":         {"result": "PASS"},
		"report_type":                         {"report_type": "LINT"},
		`"title" is missing`:                  {"title": nil},
		"maximum string length is 2000":       {"details": strings.Repeat("x", 2001)},
		"link is no absolute address":         {"link": "ci.example.org"},
		"unsupported":                         {"logoUrl": "https://ci.example.org"},
		"logo_url: Value is not nullable":     {"logo_url": null},
	} {
		s.wantViolation(400, words, "PUT", path, body(t, good, changes))
	}
	for words, changes := range map[string]map[string]any{
		"line: number must be at least 1": {"line": 0},
		"severity: value is not one of":   {"severity": "INFO"},
		`"summary" is missing`:            {"summary": nil},
		"is no path in the repository":    {"path": "../a.go"},
		"maximum string length is 450":    {"summary": strings.Repeat("x", 451)},
		"path: Value is not nullable":     {"path": null},
	} {
		text, err := json.Marshal(annotation("one"))
		if err != nil {
			t.Fatal(err)
		}
		s.wantViolation(400, words, "POST", path+"/annotations", "["+body(t, string(text), changes)+"]")
	}
	s.wantViolation(400, "maximum number of items is 100", "POST", path+"/annotations", annotations(0, 101))
	s.wantViolation(400, "minimum number of items is 1", "POST", path+"/annotations", "[]")
	s.wantViolation(400, `"a0" comes twice`, "POST", path+"/annotations", strings.Replace(annotations(0, 2), "a1", "a0", 1))
	s.want(204, "DELETE", path, "")
	s.want(404, "GET", path, "")
}

func TestCloudHooks(t *testing.T) {
	s := newShop(t, Options{})
	good := `{"description": "buildsmith", "url": "https://ci.example.org/webhook/bitbucket", "active": true, "secret": "s", "events": ["repo:push", "pullrequest:created"]}`
	made := s.want(201, "POST", shopPath+"/hooks", good)
	expect(t, made, map[string]any{"secret_set": true, "secret": nil, "active": true, "subject.full_name": shopRepo})
	id, _ := made["uuid"].(string)
	path := shopPath + "/hooks/" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(id)
	expect(t, s.want(200, "GET", shopPath+"/hooks", ""), map[string]any{"values.#": 2, "values.1.uuid": id})
	expect(t, s.want(200, "PUT", path, body(t, good, map[string]any{"secret": nil, "active": false})), map[string]any{"active": false, "secret_set": true})
	if hooks := s.Hooks(shopRepo); len(hooks) != 2 || hooks[1].Secret != "s" || hooks[1].Active {
		t.Errorf("the hooks are %+v", hooks)
	}
	for words, changes := range map[string]map[string]any{
		"maximum string length is 128": {"secret": strings.Repeat("s", 129)},
		"is not one of":                {"events": []string{"repo:pushed"}},
		"no absolute address":          {"url": "ci"},
		"duplicate items":              {"events": []string{"repo:push", "repo:push"}},
		"secret: Value is not":         {"secret": null},
		`"skip" is unsupported`:        {"skip": true},
	} {
		s.wantViolation(400, words, "POST", shopPath+"/hooks", body(t, good, changes))
	}
	s.want(204, "DELETE", path, "")
	s.want(404, "GET", path, "")
	s.want(404, "DELETE", path, "")
}

func TestCloudComments(t *testing.T) {
	s := newShop(t, Options{})
	s.commit("topic", Change{Files: map[string]string{"a": "1"}})
	if _, _, err := s.OpenPullRequest(shopRepo, PullRequest{Head: "topic"}); err != nil {
		t.Fatal(err)
	}
	first, d, err := s.Comment(shopRepo, 1, "mona", "/retry")
	s.must(d, err)
	expect(t, payload(t, d), map[string]any{"actor.nickname": "mona", "comment.user.nickname": "mona", "comment.content.raw": "/retry", "pullrequest.author.nickname": "octo", "pullrequest.id": 1})
	s.bot.take()
	path := shopPath + "/pullrequests/1/comments"
	o := s.want(201, "POST", path, fmt.Sprintf(`{"content": {"raw": "Done."}, "parent": {"id": %d}}`, first.ID))
	expect(t, o, map[string]any{"content.raw": "Done.", "user.type": "app_user", "parent.id": int(first.ID)})
	own := fmt.Sprintf("%s/%.0f", path, o["id"])
	if err := s.Await(t.Context(), func() bool { return len(s.Deliveries()) == 4 }); err != nil {
		t.Fatal(err)
	}
	if got := s.bot.take(); len(got) != 1 || got[0].Header.Get("X-Event-Key") != "pullrequest:comment_created" {
		t.Errorf("of its own comment the bot is told %v", got)
	}
	expect(t, s.want(200, "PUT", own, `{"content": {"raw": "Done again."}}`), map[string]any{"content.raw": "Done again."})
	s.want(403, "PUT", fmt.Sprintf("%s/%d", path, first.ID), `{"content": {"raw": "x"}}`)
	expect(t, s.want(200, "GET", path+"?pagelen=1", ""), map[string]any{"size": 2, "values.0.content.raw": "/retry"})
	s.want(404, "POST", path, `{"content": {"raw": "x"}, "parent": {"id": 77}}`)
	s.want(404, "POST", shopPath+"/pullrequests/9/comments", `{"content": {"raw": "x"}}`)
	s.wantViolation(400, "maximum string length is 30000", "POST", path, fmt.Sprintf(`{"content": {"raw": "%s"}}`, strings.Repeat("x", 30001)))
	s.wantViolation(400, `"content" is missing`, "POST", path, `{}`)
	s.wantViolation(400, "nullable", "POST", path, `{"content": {"raw": "x"}, "parent": null}`)
	s.wantViolation(400, `"text" is unsupported`, "POST", path, `{"content": {"raw": "x"}, "text": "x"}`)

	s.must(s.EditComment(first.ID, "mona", "/retry all"))
	expect(t, payload(t, s.must(s.DeleteComment(first.ID, "mona"))), map[string]any{"comment.deleted": true, "comment.content.raw": ""})
	expect(t, s.want(200, "GET", path, ""), map[string]any{"values.0.deleted": true, "values.0.content.raw": ""})
	if list := s.Comments(shopRepo, 1); len(list) != 1 || list[0].Body != "Done again." {
		t.Errorf("the comments are %+v", list)
	}
	s.want(204, "DELETE", own, "")
	s.want(404, "GET", own, "")
}
