package main

import (
	"errors"
	"fmt"
	"strconv"

	"buildsmith/webhook"

	"gopkg.in/yaml.v3"
)

// FilterGroups say which events build a project: a list of groups, each a list of filters with CodeBuild's keys.
type FilterGroups []FilterGroup

// A FilterGroup is a group, and where it stands.
type FilterGroup struct {
	line    int
	filters []webhook.Filter
	lines   []int // of each filter
}

const filterForm = "write lists of filters such as {type: EVENT, pattern: PUSH} into a list"

// UnmarshalYAML reads filter groups, also as AWS prints them.
func (g *FilterGroups) UnmarshalYAML(n *yaml.Node) error {
	var wrong yaml.TypeError
	say := func(err error) {
		if typed := (*yaml.TypeError)(nil); errors.As(err, &typed) {
			wrong.Errors = append(wrong.Errors, typed.Errors...)
		}
	}
	*g = nil
	if n.Kind != yaml.SequenceNode {
		return at(n, "filter groups are a list of lists; %s", filterForm)
	}
	for _, list := range n.Content {
		list = target(list)
		group := FilterGroup{line: list.Line}
		if list.Kind != yaml.SequenceNode {
			say(at(list, "a filter group is a list of filters; %s", filterForm))
			continue
		}
		for _, item := range list.Content {
			filter, err := readFilter(target(item))
			say(err)
			group.filters, group.lines = append(group.filters, filter), append(group.lines, item.Line)
		}
		*g = append(*g, group)
	}
	if len(wrong.Errors) > 0 {
		return &wrong
	}
	return nil
}

// target is the node that an alias stands for, or the node itself.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func readFilter(n *yaml.Node) (f webhook.Filter, err error) {
	if n.Kind != yaml.MappingNode {
		return f, at(n, "a filter has the keys type, pattern, exclude-matched-pattern; %s", filterForm)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], target(n.Content[i+1])
		name := key.Value
		if name == "excludeMatchedPattern" {
			name = "exclude-matched-pattern"
		}
		switch {
		case seen[name]:
			return f, at(key, "%s stands twice in a filter", name)
		case name != "type" && name != "pattern" && name != "exclude-matched-pattern":
			return f, at(key, "%q does not belong to a filter; known here: type, pattern, exclude-matched-pattern", name)
		case value.Kind != yaml.ScalarNode || value.Tag == "!!null":
			return f, at(key, "%s of a filter is a text", name)
		}
		seen[name] = true
		switch name {
		case "type":
			f.Type = value.Value
		case "pattern":
			f.Pattern = value.Value
		default:
			if value.Decode(&f.Exclude) != nil {
				return f, at(key, "exclude-matched-pattern is true or false, not %q", value.Value)
			}
		}
	}
	return f, nil
}

// compile makes filter groups ready; path and key say where they stand, in what is wrong.
func (g FilterGroups) compile(path, key string) (*webhook.Filters, []string, problems) {
	groups := make([][]webhook.Filter, len(g))
	for i := range g {
		groups[i] = g[i].filters
	}
	filters, warnings, err := webhook.CompileFilters(groups)
	var wrong webhook.FilterErrors
	errors.As(err, &wrong)
	var list problems
	for _, e := range wrong {
		where, line := key, g[0].line
		if e.Group > 0 {
			group := g[e.Group-1]
			where, line = where+"["+strconv.Itoa(e.Group-1)+"]", group.line
			if e.Filter > 0 {
				where, line = where+"["+strconv.Itoa(e.Filter-1)+"]", group.lines[e.Filter-1]
			}
		}
		list = append(list, fmt.Sprintf("%s:%d: %s: %s", path, line, where, e.Problem))
	}
	return filters, warnings, list
}

// filterWarnings are what is hardly meant in the filters of all projects.
func (c *Config) filterWarnings() []string {
	var list []string
	for i := range c.Projects {
		for _, text := range c.Projects[i].filterWarnings {
			list = append(list, "projects."+c.Projects[i].Name+": "+text)
		}
	}
	return list
}
