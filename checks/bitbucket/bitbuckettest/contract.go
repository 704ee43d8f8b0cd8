package bitbuckettest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"

	"buildsmith/checks/forgetest"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// A Violation is a request that Bitbucket would refuse or overlook in part, or an answer or payload of the server that
// Bitbucket would not give.
type Violation = forgetest.Violation

// A contract is the operations that there are, and the descriptions that say what they take.
type contract struct {
	operations []operation
	own        *openapi3.T
	published  *openapi3.T // nil if it is not present
}

// contractsVariable names the directory of the published descriptions; else they are in shared/contracts beside the checkout.
const contractsVariable = "BUILDSMITH_CONTRACTS"

func newContract(f flavor) (*contract, error) {
	own, err := openapi3.NewLoader().LoadFromData(f.description())
	if err != nil {
		return nil, err
	}
	own.Servers = openapi3.Servers{{URL: f.base()}}
	c := &contract{own: own, operations: f.operations()}
	for i := range c.operations {
		o := &c.operations[i]
		item := own.Paths.Value(o.path)
		if item == nil || item.GetOperation(o.method) == nil {
			return nil, fmt.Errorf("it has no %s %s", o.method, o.path)
		}
		if f, ok := f.(partial); ok {
			item.GetOperation(o.method).AddParameter(f.fields())
		}
		o.pattern = forgetest.NewPattern(o.path, func(name string) bool { return name == "path" || name == "name" })
	}
	slices.SortStableFunc(c.operations, func(a, b operation) int { return b.pattern.Literals() - a.pattern.Literals() })
	if f.published() == "" {
		return c, nil
	}
	c.published, err = readPublished(f.published())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return c, err
}

// readPublished reads a published description, in Swagger 2.0. Without it, it says fs.ErrNotExist.
func readPublished(name string) (*openapi3.T, error) {
	dir := os.Getenv(contractsVariable)
	if dir == "" {
		root, err := checkout()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(filepath.Dir(root), "shared", "contracts")
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	var old openapi2.T
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	doc, err := openapi2conv.ToV3(&old)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if err := openapi3.NewLoader().ResolveRefsIn(doc, nil); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return doc, nil
}

// checkout finds the directory of go.mod above the working directory, or else above this source file.
func checkout() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		starts = append(starts, filepath.Dir(file))
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("go.mod is in none of the directories above %q: %w", starts, fs.ErrNotExist)
}

// find returns the operation of a request and its parameters. The path is the escaped one, without the base path.
func (c *contract) find(method, escaped string) (*operation, map[string]string) {
	parts, ok := forgetest.Segments(escaped)
	if !ok {
		return nil, nil
	}
	for i := range c.operations {
		o := &c.operations[i]
		if o.method != method {
			continue
		}
		if params, ok := o.pattern.Match(parts); ok {
			return o, params
		}
	}
	return nil, nil
}

// route is an operation as a description has it; nil if it has not.
func route(doc *openapi3.T, base string, o *operation) *routers.Route {
	item := doc.Paths.Value(o.path)
	if item == nil || item.GetOperation(o.method) == nil {
		return nil
	}
	return &routers.Route{Spec: doc, Server: &openapi3.Server{URL: base}, Path: o.path, PathItem: item, Method: o.method, Operation: item.GetOperation(o.method)}
}

// withRoot gives the root of the tree a name, which it has not, but descriptions want one.
func withRoot(params map[string]string) map[string]string {
	if path, given := params["path"]; given && path == "" {
		params = maps.Clone(params)
		params["path"] = "."
	}
	return params
}

// checkRequestLocked notes and returns whatever is wrong with a request.
func (s *Server) checkRequestLocked(r *http.Request, path string, body []byte, found *operation, params map[string]string) []string {
	if found == nil {
		s.violateLocked(r, path, "the description of Bitbucket's API has no such operation")
		return nil
	}
	params = withRoot(params)
	wrong := forgetest.CheckRequest(r, body, route(s.contract.own, s.flavor.base(), found), params)
	if len(wrong) == 0 && s.contract.published != nil {
		if published := route(s.contract.published, s.flavor.base(), found); published != nil && published.Operation.RequestBody != nil {
			wrong = s.checkPublished(r, body, published, params)
		}
	}
	if found.rule != nil {
		var v any
		if json.Unmarshal(body, &v) == nil {
			wrong = append(wrong, found.rule(v)...)
		}
	}
	for _, what := range wrong {
		s.violateLocked(r, path, "%s", what)
	}
	return wrong
}

// excused are the differences from the published description where it is that which is wrong.
var excused = []*regexp.Regexp{
	// Everything has a type, says the description, but its own examples leave it out of comments and reports. Where it is
	// needed our own description says so.
	regexp.MustCompile(`property "type" is missing`),
	// The value of a field of a report is an object, says the description, but the examples have numbers and texts.
	regexp.MustCompile(`^data\.\d+\.value: value must be an object`),
}

// excusedAnswers are such differences of answers.
var excusedAnswers = append(slices.Clone(excused),
	// What there is not is null, says the documentation.
	regexp.MustCompile(`(^|\.)(parent|refname): Value is not nullable`),
	// A text has the type rendered in the examples, which the description has no place for.
	regexp.MustCompile(`(^|\.)content: property "type" is unsupported`),
)

func excuse(by []*regexp.Regexp, what string) bool {
	return slices.ContainsFunc(by, func(e *regexp.Regexp) bool { return e.MatchString(what) })
}

// checkPublished holds a body against the published description. Its query parameters do not name paging, and some of its
// paths no parameters, so that only the body counts.
func (s *Server) checkPublished(r *http.Request, body []byte, published *routers.Route, params map[string]string) []string {
	clone := r.Clone(r.Context())
	clone.URL.RawQuery = ""
	operation := *published.Operation
	operation.Parameters = nil
	item := *published.PathItem
	item.Parameters = nil
	only := *published
	only.Operation, only.PathItem = &operation, &item
	var wrong []string
	for _, what := range forgetest.CheckRequest(clone, body, &only, params) {
		if !excuse(excused, what) {
			wrong = append(wrong, "the published description: "+what)
		}
	}
	return wrong
}

// checkAnswerLocked notes whatever is wrong with an answer of the server.
func (s *Server) checkAnswerLocked(r *http.Request, found *operation, params map[string]string, a *answer) {
	if a.raw != nil {
		return // a file as it is
	}
	var body []byte
	var contentType string
	if a.body != nil {
		body, _ = json.Marshal(a.body)
		contentType = "application/json"
	}
	params = withRoot(params)
	for _, what := range forgetest.CheckAnswer(r, route(s.contract.own, s.flavor.base(), found), params, a.status, contentType, body) {
		s.violateLocked(r, found.path, "the answer with status %d of the fake itself: %s", a.status, what)
	}
	if s.contract.published == nil {
		return
	}
	published := route(s.contract.published, s.flavor.base(), found)
	if published == nil || a.status >= 300 {
		return
	}
	for _, what := range forgetest.CheckAnswer(r, published, params, a.status, contentType, body) {
		if !excuse(excusedAnswers, what) {
			s.violateLocked(r, found.path, "the answer with status %d of the fake itself, by the published description: %s", a.status, what)
		}
	}
}

// checkPayloadLocked notes whatever is wrong with the payload of an event: the description has a schema for each, by the key
// with a dot for the colons.
func (s *Server) checkPayloadLocked(key string, payload object) {
	note := func(format string, args ...any) {
		s.violations = append(s.violations, Violation{At: s.now(), Method: "event", Path: key, What: fmt.Sprintf(format, args...)})
	}
	schema := s.contract.own.Components.Schemas["event."+string(bytes.ReplaceAll([]byte(key), []byte(":"), []byte(".")))]
	if schema == nil {
		note("the description has no such event; it has %q", slices.Sorted(maps.Keys(s.contract.own.Components.Schemas)))
		return
	}
	var v any
	body, err := json.Marshal(payload)
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err == nil {
		err = schema.Value.VisitJSON(v, openapi3.MultiErrors())
	}
	if err != nil {
		note("the payload of the fake itself: %v", err)
	}
}
