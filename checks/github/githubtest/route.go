package githubtest

import (
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/routers"
)

// A route is an operation and how to recognise its path. The router of kin-openapi is not used because a parameter of its
// paths ends at a slash, where GitHub's file paths and refs go on.
type route struct {
	operation
	kin      *routers.Route
	segments []segment
}

// A segment is the part of a path between two slashes: a literal or a parameter, which may span several.
type segment struct {
	text  string
	param bool
	multi bool
}

func newRoute(o operation, kin *routers.Route) route {
	r := route{operation: o, kin: kin}
	for part := range strings.SplitSeq(strings.TrimPrefix(o.path, "/"), "/") {
		name, isParam := strings.CutPrefix(part, "{")
		if !isParam {
			r.segments = append(r.segments, segment{text: part})
			continue
		}
		s := segment{text: strings.TrimSuffix(name, "}"), param: true}
		if p := kin.Operation.Parameters.GetByInAndName("path", s.text); p != nil {
			s.multi, _ = p.Extensions["x-multi-segment"].(bool)
		}
		r.segments = append(r.segments, s)
	}
	return r
}

// sortRoutes puts the routes with more literals first: the check runs of a ref come before a ref that ends in
// "/check-runs".
func sortRoutes(routes []route) {
	literals := func(r route) (n int) {
		for _, s := range r.segments {
			if !s.param {
				n++
			}
		}
		return n
	}
	slices.SortStableFunc(routes, func(a, b route) int { return literals(b) - literals(a) })
}

// find returns the route of a request and its parameters. The path is the escaped one, without the base path.
func (c *Contract) find(method, escaped string) (*route, map[string]string) {
	var parts []string
	for part := range strings.SplitSeq(strings.TrimPrefix(escaped, "/"), "/") {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return nil, nil
		}
		parts = append(parts, plain)
	}
	for i := range c.routes {
		r := &c.routes[i]
		if r.method != method {
			continue
		}
		params := map[string]string{}
		if match(r.segments, parts, params) {
			return r, params
		}
	}
	return nil, nil
}

// match reports whether the parts of a path fit the segments, and leaves the parameters in params.
func match(segments []segment, parts []string, params map[string]string) bool {
	if len(segments) == 0 || len(parts) == 0 {
		return len(segments) == len(parts)
	}
	s := segments[0]
	if !s.param {
		return s.text == parts[0] && match(segments[1:], parts[1:], params)
	}
	if !s.multi {
		params[s.text] = parts[0]
		return parts[0] != "" && match(segments[1:], parts[1:], params)
	}
	for n := len(parts); n > 0; n-- {
		if match(segments[1:], parts[n:], params) {
			params[s.text] = strings.Join(parts[:n], "/")
			return params[s.text] != "" || s.text == "path" // contents/ is the root of the tree
		}
	}
	return false
}
