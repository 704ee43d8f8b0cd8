package githubtest

import (
	"slices"

	"buildsmith/checks/forgetest"

	"github.com/getkin/kin-openapi/routers"
)

// A route is an operation and how to recognise its path.
type route struct {
	operation
	kin     *routers.Route
	pattern forgetest.Pattern
}

func newRoute(o operation, kin *routers.Route) route {
	return route{operation: o, kin: kin, pattern: forgetest.NewPattern(o.path, func(name string) bool {
		p := kin.Operation.Parameters.GetByInAndName("path", name)
		if p == nil {
			return false
		}
		multi, _ := p.Extensions["x-multi-segment"].(bool)
		return multi
	})}
}

// sortRoutes puts the routes with more literals first: the check runs of a ref come before a ref that ends in
// "/check-runs".
func sortRoutes(routes []route) {
	slices.SortStableFunc(routes, func(a, b route) int { return b.pattern.Literals() - a.pattern.Literals() })
}

// find returns the route of a request and its parameters. The path is the escaped one, without the base path.
func (c *Contract) find(method, escaped string) (*route, map[string]string) {
	parts, ok := forgetest.Segments(escaped)
	if !ok {
		return nil, nil
	}
	for i := range c.routes {
		r := &c.routes[i]
		if r.method != method {
			continue
		}
		if params, ok := r.pattern.Match(parts); ok {
			return r, params
		}
	}
	return nil, nil
}
