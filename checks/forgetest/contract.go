package forgetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// A Violation is a request that the forge would refuse or overlook in part, or an answer of the server that the forge would not
// give.
type Violation struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	What   string    `json:"what"`
}

func (v Violation) String() string { return v.Method + " " + v.Path + ": " + v.What }

func filterOptions() *openapi3filter.Options {
	o := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, MultiError: true, SkipSettingDefaults: true,
		RejectWhenRequestBodyNotSpecified: true}
	o.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
		return fmt.Sprintf("%s: %s", strings.Join(err.JSONPointer(), "."), err.Reason)
	})
	return o
}

func filterInput(r *http.Request, body []byte, route *routers.Route, params map[string]string) *openapi3filter.RequestValidationInput {
	clone := r.Clone(r.Context())
	clone.Body, clone.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return &openapi3filter.RequestValidationInput{Request: clone, PathParams: params, Route: route, Options: filterOptions()}
}

// CheckRequest says what is wrong with a request according to the description of its route, one line for each thing. A query
// parameter that the description does not have and a body that is not sent as JSON are wrong too.
func CheckRequest(r *http.Request, body []byte, route *routers.Route, params map[string]string) []string {
	var wrong []string
	if err := openapi3filter.ValidateRequest(r.Context(), filterInput(r, body, route, params)); err != nil {
		wrong = append(wrong, flatten(err)...)
	}
	for name := range r.URL.Query() {
		if route.Operation.Parameters.GetByInAndName("query", name) == nil {
			wrong = append(wrong, fmt.Sprintf("there is no query parameter %q", name))
		}
	}
	if len(body) == 0 || route.Operation.RequestBody == nil {
		return wrong
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		wrong = append(wrong, fmt.Sprintf("the content type is %q, not application/json", r.Header.Get("Content-Type")))
	}
	return wrong
}

// CheckAnswer says what is wrong with an answer according to the description of its route.
func CheckAnswer(r *http.Request, route *routers.Route, params map[string]string, status int, contentType string, body []byte) []string {
	input := &openapi3filter.ResponseValidationInput{RequestValidationInput: filterInput(r, nil, route, params), Status: status,
		Header: http.Header{"Content-Type": {contentType}}, Options: filterOptions()}
	input.Options.IncludeResponseStatus = status < 300
	input.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(r.Context(), input); err != nil {
		return flatten(err)
	}
	return nil
}

// flatten takes an error of kin-openapi apart into one line for each thing that is wrong.
func flatten(err error) []string {
	var many openapi3.MultiError
	if errors.As(err, &many) && len(many) > 0 {
		var all []string
		for _, one := range many {
			all = append(all, flatten(one)...)
		}
		return all
	}
	return []string{strings.Join(strings.Fields(err.Error()), " ")}
}
