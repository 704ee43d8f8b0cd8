package bitbuckettest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

const centerRepo = "octo/hello"

// A center is a Data Center with one repository, and a token of the repository that may do all there.
type center struct {
	*Server
	t     *testing.T
	api   string // the path of the repository below /rest
	sha   string // of the first commit on main
	token string
}

// newCenter also lets the test run beside others: each has a server of its own.
func newCenter(t *testing.T, o Options) *center {
	t.Helper()
	o.Flavor, o.checkAnswers = DataCenter, true
	s := &center{Server: New(t, o), t: t, api: "/api/latest/projects/OCTO/repos/hello"}
	if _, err := s.AddRepo(centerRepo, RepoOptions{Private: true}); err != nil {
		t.Fatal(err)
	}
	s.sha = s.commit("main", map[string]string{"buildspec.yml": "version: 0.2\n", "src/a b.go": "package a\n"})
	s.token = s.newToken(TokenOptions{Kind: RepositoryToken, Repo: centerRepo, Scopes: []string{"REPO_ADMIN"}})
	return s
}

func (s *center) newToken(o TokenOptions) string {
	s.t.Helper()
	token, err := s.AddToken(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return token.Value
}

func (s *center) commit(branch string, files map[string]string) string {
	s.t.Helper()
	sha, err := s.Commit(centerRepo, branch, Change{Files: files})
	if err != nil {
		s.t.Fatal(err)
	}
	return sha
}

// pull opens a pull request from a new branch into main.
func (s *center) pull(branch string) int {
	s.t.Helper()
	s.commit(branch, map[string]string{branch: "new\n"})
	number, _, err := s.OpenPullRequest(centerRepo, PullRequest{Head: branch, Base: "main", User: "ada", Title: "Add " + branch})
	if err != nil {
		s.t.Fatal(err)
	}
	return number
}

func (s *center) comment(pull int, user, body string) int64 {
	s.t.Helper()
	comment, _, err := s.Comment(centerRepo, pull, user, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return comment.ID
}

func (s *center) insights(key string) string {
	return "/insights/latest" + strings.TrimPrefix(s.api, "/api/latest") + "/commits/" + s.sha + "/reports/" + key
}

func (s *center) reactions(pull int, comment int64) string {
	return fmt.Sprintf("/comment-likes/latest%s/pull-requests/%d/comments/%d/reactions", strings.TrimPrefix(s.api, "/api/latest"), pull, comment)
}

// send makes a request, which is a method and a path below /rest, with a token if that is not empty.
func (s *center) send(request, token, body string) (*http.Response, []byte) {
	s.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.WebURL()+"/rest"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, data
}

// request makes a request with the token of the repository. The answer is nil if it is no object.
func (s *center) request(request, body string) (int, object) {
	s.t.Helper()
	resp, data := s.send(request, s.token, body)
	var o object
	d := json.NewDecoder(bytes.NewReader(data))
	if len(data) > 0 && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := d.Decode(&o); err != nil {
			s.t.Fatalf("%s answers %q: %v", request, data, err)
		}
	}
	return resp.StatusCode, o
}

// must makes a request that is to be answered with a status.
func (s *center) must(request, body string, status int) object {
	s.t.Helper()
	got, o := s.request(request, body)
	if got != status {
		s.t.Fatalf("%s answers %d %v, want %d", request, got, o, status)
	}
	return o
}

// problemOf returns the message of a refusal, whose form must be the right one.
func problemOf(t *testing.T, o object) string {
	t.Helper()
	message, _ := at(o, "errors.0.message").(string)
	exception, _ := at(o, "errors.0.exceptionName").(string)
	if message == "" || !strings.HasPrefix(exception, "com.atlassian.") {
		t.Errorf("a refusal says %v", o)
	}
	return message
}

// TestDataCenterDescription makes sure that what is described is there: all of it, and nothing that is open to more than it
// names.
func TestDataCenterDescription(t *testing.T) {
	d, err := newDataCenter(Options{})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(d.description())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Errorf("the description: %v", err)
	}
	there := map[string]bool{}
	for _, o := range d.operations() {
		there[o.method+" "+o.path] = true
		if o.path != "/api/latest/application-properties" && o.scope == "" {
			t.Errorf("%s %s is open to all", o.method, o.path)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !there[method+" "+path] {
				t.Errorf("%s %s is only described", method, path)
			}
			if o.RequestBody != nil {
				closed(t, method+" "+path, o.RequestBody.Value.Content["application/json"].Schema.Value)
			}
		}
	}
	for rule := range dataCenterRules {
		if !there[rule] {
			t.Errorf("there is a rule for %s, which is not there", rule)
		}
	}
	for name, schema := range doc.Components.Schemas {
		if strings.HasPrefix(name, "event.") {
			closed(t, name, schema.Value)
		}
	}
}

// closed looks for objects that may hold more than what is named.
func closed(t *testing.T, where string, s *openapi3.Schema) {
	t.Helper()
	if s.Type.Is("object") && len(s.Properties) > 0 && (s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has) {
		t.Errorf("%s may hold anything", where)
	}
	for name, property := range s.Properties {
		if property.Ref == "" {
			closed(t, where+"."+name, property.Value)
		}
	}
	if s.Items != nil && s.Items.Ref == "" {
		closed(t, where+".0", s.Items.Value)
	}
}

// TestDataCenterPayloadsAreChecked lets the schemas of events find what is wrong.
func TestDataCenterPayloadsAreChecked(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{})
	for key, payload := range map[string]object{"pr:opened": {"eventKey": "pr:opened"}, "diagnostics:ping": {"test": true, "more": 1}, "repo:push": {}} {
		s.mu.Lock()
		s.checkPayloadLocked(key, payload)
		s.mu.Unlock()
		if seen := s.TakeViolations(); len(seen) != 1 || seen[0].Path != key {
			t.Errorf("of a wrong %s it is said %v", key, seen)
		}
	}
}

// TestDataCenterControl drives what only a Data Center has from outside.
func TestDataCenterControl(t *testing.T) {
	t.Parallel()
	s := newCenter(t, Options{Control: true})
	pull := s.pull("feature")
	act := func(name, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(s.URL()+"/_control/"+name, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
	for name, body := range map[string]string{"delete-pull-request": fmt.Sprintf(`{"repo": "octo/hello", "number": %d}`, pull), "project-default": `{"project": "OCTO", "role": "read"}`,
		"licensed": `{"user": "octo", "licensed": false}`} {
		if status, text := act(name, body); status != http.StatusOK {
			t.Errorf("%s answers %d %s", name, status, text)
		}
	}
	if status, text := act("project-default", `{"project": "OCTO", "role": "king"}`); status != http.StatusBadRequest || !strings.Contains(text, "king") {
		t.Errorf("a role that is none answers %d %s", status, text)
	}
	problemOf(t, s.must(fmt.Sprintf("GET %s/pull-requests/%d", s.api, pull), "", http.StatusNotFound))
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "stranger"})
	s.must("GET "+s.api, "", http.StatusOK)
	s.token = s.newToken(TokenOptions{Kind: PersonalToken, User: "octo"})
	s.must("GET /api/latest/users", "", http.StatusForbidden)

	cloud := newShop(t, Options{})
	number, _, err := cloud.OpenPullRequest(shopRepo, PullRequest{Head: "main", Base: "main"})
	if err != nil {
		t.Fatal(err)
	}
	_, deleted := cloud.DeletePullRequest(shopRepo, number)
	for what, err := range map[string]error{"licensed": cloud.SetLicensed("octo", true), "default": cloud.SetProjectDefault("OCTO", "read"), "delete": deleted} {
		if err == nil || !strings.Contains(err.Error(), "Cloud has no such thing") {
			t.Errorf("%s of Cloud: %v", what, err)
		}
	}
}
