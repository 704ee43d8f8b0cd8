package githubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"

	"github.com/getkin/kin-openapi/openapi3"
)

// A Violation is a request that GitHub would refuse or overlook in part, or an answer of the server that GitHub would not
// give.
type Violation = forgetest.Violation

// Violations returns what was found so far. New fails the test for each that is left when it ends.
func (s *Server) Violations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// TakeViolations returns what was found so far and forgets it: for tests of what happens after one.
func (s *Server) TakeViolations() []Violation {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.violations
	s.violations = nil
	return taken
}

func (s *Server) violateLocked(r *http.Request, path, format string, args ...any) {
	s.violations = append(s.violations, Violation{At: s.now(), Method: r.Method, Path: path, What: fmt.Sprintf(format, args...)})
}

// checkRequestLocked notes and returns whatever is wrong with a request.
func (s *Server) checkRequestLocked(r *http.Request, path string, body []byte, found *route, params map[string]string) []string {
	if found == nil {
		s.violateLocked(r, path, "the description of GitHub's API, as far as operations lists it, has no such operation")
		return nil
	}
	wrong := check(r, body, found, params)
	if v := r.Header.Get("X-Github-Api-Version"); v != "" && v != "2022-11-28" && v != "2026-03-10" {
		wrong = append(wrong, fmt.Sprintf("there is no API version %q", v))
	}
	for _, what := range wrong {
		s.violateLocked(r, path, "%s", what)
	}
	return wrong
}

// withRoot gives the root of the tree a name, which it has not, but the description wants one.
func withRoot(params map[string]string) map[string]string {
	if path, given := params["path"]; given && path == "" {
		params = maps.Clone(params)
		params["path"] = "."
	}
	return params
}

// check says what is wrong with a request for an operation: against the description first, and then against what the
// description leaves out.
func check(r *http.Request, body []byte, found *route, params map[string]string) []string {
	var wrong []string
	if b := found.kin.Operation.RequestBody; b != nil && !b.Value.Required && string(bytes.TrimSpace(body)) == "null" {
		body = nil // what ghinstallation sends for a token without conditions, and GitHub takes
	}
	wrong = append(wrong, forgetest.CheckRequest(r, body, found.kin, withRoot(params))...)
	operation := found.kin.Operation
	if len(body) == 0 || operation.RequestBody == nil {
		return wrong
	}
	var v any
	if json.Unmarshal(body, &v) != nil {
		return wrong // said above
	}
	if media := operation.RequestBody.Value.Content["application/json"]; media != nil {
		wrong = append(wrong, checkValue(media.Schema.Value, v, "")...)
	}
	if rule := rules[found.method+" "+found.path]; rule != nil {
		if o, isObject := v.(object); isObject {
			wrong = append(wrong, rule(o)...)
		}
	}
	return wrong
}

var wholeSeconds = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$`)

// checkValue finds keys that the schema does not have, which GitHub silently ignores, and times with fractions of seconds,
// which is not the form that GitHub documents.
func checkValue(schema *openapi3.Schema, v any, where string) []string {
	var wrong []string
	switch v := v.(type) {
	case object:
		known := properties(schema)
		if len(known) == 0 {
			return nil // anything goes
		}
		for key, value := range v {
			property, isKnown := known[key]
			if !isKnown {
				wrong = append(wrong, fmt.Sprintf("there is no key %s", where+key))
				continue
			}
			wrong = append(wrong, checkValue(property, value, where+key+".")...)
		}
	case []any:
		if schema.Items == nil {
			return nil
		}
		for i, value := range v {
			wrong = append(wrong, checkValue(schema.Items.Value, value, fmt.Sprintf("%s%d.", where, i))...)
		}
	case string:
		if schema.Format == "date-time" && !wholeSeconds.MatchString(v) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, not a time in whole seconds", strings.TrimSuffix(where, "."), v))
		}
	}
	slices.Sort(wrong)
	return wrong
}

// properties returns the keys of a schema and of those that it is composed of.
func properties(schema *openapi3.Schema) map[string]*openapi3.Schema {
	all := map[string]*openapi3.Schema{}
	for _, refs := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf} {
		for _, ref := range refs {
			for name, property := range properties(ref.Value) {
				all[name] = property
			}
		}
	}
	for name, ref := range schema.Properties {
		all[name] = ref.Value
	}
	return all
}

// rules are what GitHub demands of bodies beyond its description.
var rules = map[string]func(object) []string{
	"POST " + inRepo + "/check-runs": func(o object) []string {
		return append(checkRunRules(o), textRule(o, "name", 1, 100)...)
	},
	"PATCH " + aRun: func(o object) []string {
		if _, given := o["name"]; given {
			return append(checkRunRules(o), textRule(o, "name", 1, 100)...)
		}
		return checkRunRules(o)
	},
	"POST " + inRepo + "/issues/{issue_number}/comments": func(o object) []string { return textRule(o, "body", 1, 65536) },
	"PATCH " + aComment: func(o object) []string { return textRule(o, "body", 1, 65536) },
	"POST " + inRepo + "/statuses/{sha}": func(o object) []string {
		return append(textRule(o, "description", 0, 140), addressRule(o, "target_url")...)
	},
}

// textRule limits the length of a text, in characters.
func textRule(o object, key string, least, most int) []string {
	text, _ := o[key].(string)
	if n := runeCount(text); n < least || n > most {
		return []string{fmt.Sprintf("%s has %d characters, not %d to %d", key, n, least, most)}
	}
	return nil
}

func addressRule(o object, key string) []string {
	text, _ := o[key].(string)
	if u, err := url.Parse(text); text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return []string{fmt.Sprintf("%s is no address: %q", key, text)}
	}
	return nil
}

func checkRunRules(o object) []string {
	wrong := addressRule(o, "details_url")
	status, _ := o["status"].(string)
	conclusion, _ := o["conclusion"].(string)
	if status == "completed" && conclusion == "" {
		wrong = append(wrong, "status is completed, without a conclusion")
	}
	if conclusion == "stale" || slices.Contains([]string{"waiting", "requested", "pending"}, status) {
		wrong = append(wrong, fmt.Sprintf("status %q and conclusion %q cannot be set by an app", status, conclusion))
	}
	if _, given := o["completed_at"]; given && conclusion == "" {
		wrong = append(wrong, "completed_at without a conclusion")
	}
	output, _ := o["output"].(object)
	wrong = append(wrong, textRule(output, "summary", 0, 65535)...)
	wrong = append(wrong, textRule(output, "text", 0, 65535)...)
	annotations, _ := output["annotations"].([]any)
	if len(annotations) > 50 {
		wrong = append(wrong, fmt.Sprintf("%d annotations in one request, not 50 at most", len(annotations)))
	}
	for i, a := range annotations {
		annotation, _ := a.(object)
		for _, what := range annotationRules(annotation) {
			wrong = append(wrong, fmt.Sprintf("annotation %d: %s", i, what))
		}
	}
	return wrong
}

// largestMessage is the size of the largest message and of the largest raw details of an annotation.
const largestMessage = 64 << 10

func annotationRules(o object) []string {
	wrong := textRule(o, "title", 0, 255)
	path, _ := o["path"].(string)
	if path == "" || strings.HasPrefix(path, "/") || slices.Contains(strings.Split(path, "/"), "..") {
		wrong = append(wrong, fmt.Sprintf("%q is no path in the repository", path))
	}
	start, _ := o["start_line"].(float64)
	end, _ := o["end_line"].(float64)
	if start < 1 || end < start {
		wrong = append(wrong, fmt.Sprintf("lines %v to %v", o["start_line"], o["end_line"]))
	}
	if (o["start_column"] != nil || o["end_column"] != nil) && start != end {
		wrong = append(wrong, "columns in more than one line")
	}
	for _, key := range []string{"message", "raw_details"} {
		if text, _ := o[key].(string); len(text) > largestMessage {
			wrong = append(wrong, fmt.Sprintf("%s has %d bytes, not %d at most", key, len(text), largestMessage))
		}
	}
	if message, _ := o["message"].(string); message == "" {
		wrong = append(wrong, "message is empty")
	}
	return wrong
}

// excused are the differences from the description where it is the description that is wrong.
var excused = []*regexp.Regexp{
	// The head repository of a pull request is null once it is deleted.
	regexp.MustCompile(`/pulls(/\{pull_number\})?: .*\bhead\.repo: Value is not nullable`),
	// The account of an installation is a user or an enterprise; in the list it would have to be both.
	regexp.MustCompile(`^/app/installations: .*\baccount\.(name|slug|created_at|updated_at): property`),
}

// checkAnswerLocked notes whatever is wrong with an answer of the server.
func (s *Server) checkAnswerLocked(r *http.Request, found *route, params map[string]string, a *answer) {
	if a.raw != nil {
		return // a file or a hash as it is; the description has no schema for that
	}
	var body []byte
	var contentType string
	if a.body != nil {
		body, _ = json.Marshal(a.body)
		contentType = "application/json; charset=utf-8"
	}
	for _, what := range forgetest.CheckAnswer(r, found.kin, withRoot(params), a.status, contentType, body) {
		if slices.ContainsFunc(excused, func(e *regexp.Regexp) bool { return e.MatchString(found.path + ": " + what) }) {
			continue
		}
		s.violateLocked(r, found.path, "the answer with status %d of the fake itself: %s", a.status, what)
	}
}
