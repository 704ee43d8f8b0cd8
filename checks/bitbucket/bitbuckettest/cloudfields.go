package bitbuckettest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// A partial is a flavour whose answers can be had in part: the query says which fields.
type partial interface {
	// fields describes the parameter, which every operation has.
	fields() *openapi3.Parameter
	// pick gives those fields of an answer that a query asks for.
	pick(a *answer, fields string) *answer
}

// fields is a list of names of fields, with dots for what is below: no other way to name them is needed here.
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#partial-response
func (cloud) fields() *openapi3.Parameter {
	return openapi3.NewQueryParameter("fields").WithSchema(openapi3.NewStringSchema().WithPattern(`^[a-z_]+([.][a-z_]+)*(,[a-z_]+([.][a-z_]+)*)*$`))
}

func (cloud) pick(a *answer, fields string) *answer {
	if fields == "" || a.raw != nil || a.body == nil || a.status >= 300 {
		return a
	}
	text, err := json.Marshal(a.body)
	if err != nil {
		return a
	}
	var whole any
	if json.Unmarshal(text, &whole) != nil {
		return a
	}
	var paths [][]string
	for path := range strings.SplitSeq(fields, ",") {
		paths = append(paths, strings.Split(path, "."))
	}
	part := *a
	part.body = pickPaths(whole, paths)
	return &part
}

// pickPaths gives what paths name of a value, of each value of a list.
func pickPaths(whole any, paths [][]string) any {
	switch v := whole.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = pickPaths(v[i], paths)
		}
		return list
	case object:
		part := object{}
		for name, value := range v {
			var below [][]string
			named := slices.ContainsFunc(paths, func(path []string) bool { return len(path) == 1 && path[0] == name })
			for _, path := range paths {
				if len(path) > 1 && path[0] == name {
					below = append(below, path[1:])
				}
			}
			switch {
			case named:
				part[name] = value
			case len(below) > 0:
				part[name] = pickPaths(value, below)
			}
		}
		return part
	}
	return whole
}
