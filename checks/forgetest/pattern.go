package forgetest

import (
	"net/url"
	"strings"
)

// A Pattern recognises the paths of an operation, such as /repos/{owner}/{repo}. The router of kin-openapi is not used because
// a parameter of its paths ends at a slash, where the paths of files and the names of refs go on.
type Pattern []segment

// A segment is the part of a path between two slashes: a literal or a parameter, which may span several.
type segment struct {
	text  string
	param bool
	multi bool
}

// NewPattern reads a path of a description. The parameters for which multi holds may span several segments.
func NewPattern(path string, multi func(name string) bool) Pattern {
	var p Pattern
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		name, isParam := strings.CutPrefix(part, "{")
		if !isParam {
			p = append(p, segment{text: part})
			continue
		}
		name = strings.TrimSuffix(name, "}")
		p = append(p, segment{text: name, param: true, multi: multi(name)})
	}
	return p
}

// Literals is how many segments are no parameters. Of patterns that match, the one with most is meant.
func (p Pattern) Literals() (n int) {
	for _, s := range p {
		if !s.param {
			n++
		}
	}
	return n
}

// Segments takes the escaped path of a request apart.
func Segments(escaped string) (parts []string, ok bool) {
	for part := range strings.SplitSeq(strings.TrimPrefix(escaped, "/"), "/") {
		plain, err := url.PathUnescape(part)
		if err != nil {
			return nil, false
		}
		parts = append(parts, plain)
	}
	return parts, true
}

// Match reports whether the segments of a path fit, and returns the parameters.
func (p Pattern) Match(parts []string) (params map[string]string, ok bool) {
	params = map[string]string{}
	return params, match(p, parts, params)
}

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
