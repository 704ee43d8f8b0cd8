package githubtest

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

// cutFormat counts the changes of what cut does, so that what an older one left in the cache is not used.
const cutFormat = 1

// cut reduces an OpenAPI description to some operations and to all that these refer to. Examples are left out: they are
// half of the text, and nothing reads them.
func cut(description []byte, operations []operation) ([]byte, error) {
	var whole struct {
		OpenAPI    string                                `json:"openapi"`
		Info       json.RawMessage                       `json:"info"`
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components map[string]map[string]json.RawMessage `json:"components"`
	}
	if err := json.Unmarshal(description, &whole); err != nil {
		return nil, err
	}
	c := cutter{whole: whole.Components, components: map[string]map[string]any{}}
	paths := map[string]map[string]any{}
	for _, o := range operations {
		raw, ok := whole.Paths[o.path][strings.ToLower(o.method)]
		if !ok {
			return nil, fmt.Errorf("there is no %s %s", o.method, o.path)
		}
		v, err := c.take(raw, false)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.method, o.path, err)
		}
		if paths[o.path] == nil {
			paths[o.path] = map[string]any{}
		}
		paths[o.path][strings.ToLower(o.method)] = v
	}
	return json.Marshal(map[string]any{"openapi": whole.OpenAPI, "info": whole.Info, "paths": paths, "components": c.components})
}

// A cutter collects the components that are referred to.
type cutter struct {
	whole      map[string]map[string]json.RawMessage
	components map[string]map[string]any
}

// take decodes a piece of the description and collects what it refers to.
func (c *cutter) take(raw json.RawMessage, names bool) (any, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	return v, c.walk(v, names)
}

// walk removes the examples below v and collects what is referred to. Below "properties" the keys are names that people
// chose: there, "example" is a property like any other.
func (c *cutter) walk(v any, names bool) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := c.walk(e, false); err != nil {
				return err
			}
		}
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			if !names {
				if k == "example" || k == "examples" {
					delete(v, k)
					continue
				}
				if ref, ok := v[k].(string); ok && k == "$ref" {
					if err := c.follow(ref); err != nil {
						return err
					}
				}
			}
			if err := c.walk(v[k], !names && k == "properties"); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow collects a component such as #/components/schemas/check-run, once.
func (c *cutter) follow(ref string) error {
	parts := strings.Split(ref, "/")
	if len(parts) != 4 || parts[0] != "#" || parts[1] != "components" {
		return fmt.Errorf("cannot follow %s", ref)
	}
	kind, name := parts[2], parts[3]
	if _, ok := c.components[kind][name]; ok {
		return nil
	}
	raw, ok := c.whole[kind][name]
	if !ok {
		return fmt.Errorf("%s leads nowhere", ref)
	}
	if c.components[kind] == nil {
		c.components[kind] = map[string]any{}
	}
	c.components[kind][name] = nil // a component may refer to itself
	v, err := c.take(raw, false)
	if err != nil {
		return err
	}
	c.components[kind][name] = v
	return nil
}
