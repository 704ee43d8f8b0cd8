package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"buildsmith/webhook"

	"gopkg.in/yaml.v3"
)

// A filtered is a project whose filters can be tried.
type filtered struct {
	name   string
	key    string // where its filter groups stand in the file
	groups FilterGroups
}

// awsProject is a project as AWS prints it. What else it has is passed over.
type awsProject struct {
	Name    string     `yaml:"name"`
	Webhook awsWebhook `yaml:"webhook"`
}

type awsWebhook struct {
	FilterGroups FilterGroups `yaml:"filterGroups"`
	BranchFilter string       `yaml:"branchFilter"`
}

// readFilters reads the filters of a project out of a file: a configuration, or what AWS prints. name is the file's, in what
// is wrong.
func readFilters(name string, text []byte, project string) (*webhook.Filters, []string, error) {
	projects, err := filteredProjects(name, text)
	if err != nil {
		return nil, nil, err
	}
	p, err := chosen(name, projects, project)
	if err != nil {
		return nil, nil, err
	}
	filters, warnings, wrong := p.groups.compile(name, p.key)
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	return filters, warnings, nil
}

// filteredProjects gives the projects of a file. A file without any that names filter groups alone is one without a name.
func filteredProjects(name string, text []byte) ([]filtered, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, explain(name, err)
	}
	if document.Kind != yaml.DocumentNode {
		return nil, fmt.Errorf("%s is empty", name)
	}
	root := document.Content[0]
	if root.Kind == yaml.SequenceNode {
		var groups FilterGroups
		if err := root.Decode(&groups); err != nil {
			return nil, explain(name, err)
		}
		return []filtered{{key: "filterGroups", groups: groups}}, nil
	}
	var aws struct {
		awsProject `yaml:",inline"`
		awsWebhook `yaml:",inline"`
		Projects   []awsProject `yaml:"projects"`
	}
	list := valueOf(root, "projects")
	switch {
	case valueOf(root, "filterGroups") != nil, valueOf(root, "webhook") != nil:
	case list != nil && slices.ContainsFunc(list.Content, func(n *yaml.Node) bool { return valueOf(n, "webhook") != nil || valueOf(n, "arn") != nil }):
	default:
		return configuredProjects(name, text)
	}
	if err := root.Decode(&aws); err != nil {
		return nil, explain(name, err)
	}
	if list == nil {
		one := aws.awsProject
		if valueOf(root, "webhook") == nil {
			one.Webhook = aws.awsWebhook
		}
		aws.Projects = []awsProject{one}
	}
	var projects []filtered
	for _, p := range aws.Projects {
		if p.Webhook.BranchFilter != "" && len(p.Webhook.FilterGroups) == 0 {
			return nil, fmt.Errorf("%s: the webhook has a branchFilter, CodeBuild's older form; write a group of EVENT and HEAD_REF instead", name)
		}
		projects = append(projects, filtered{name: p.Name, key: "filterGroups", groups: p.Webhook.FilterGroups})
	}
	return projects, nil
}

// configuredProjects gives the projects of a configuration, of which nothing but the form is checked: its files and secrets
// are the server's.
func configuredProjects(name string, text []byte) ([]filtered, error) {
	c := &Config{path: name}
	if err := c.decode(text); err != nil {
		return nil, err
	}
	var projects []filtered
	for _, p := range c.Projects {
		projects = append(projects, filtered{name: p.Name, key: "projects." + p.Name + ".filter-groups", groups: p.FilterGroups})
	}
	return projects, nil
}

// chosen gives the project of a name; without a name the only one that has filters, or the only one.
func chosen(file string, projects []filtered, name string) (filtered, error) {
	var names []string
	var candidates []filtered
	for _, p := range projects {
		if names = append(names, p.name); p.name == name && name != "" {
			return p, nil
		}
		if len(p.groups) > 0 {
			candidates = append(candidates, p)
		}
	}
	switch {
	case len(projects) == 0:
		return filtered{}, fmt.Errorf("%s has no project", file)
	case name != "" && slices.Equal(names, []string{""}):
		return filtered{}, errors.New("--project is for files that name projects; leave it out")
	case name != "":
		return filtered{}, fmt.Errorf("%s has no project %s; it has %s", file, name, strings.Join(names, ", "))
	case len(candidates) == 1:
		return candidates[0], nil
	case len(projects) == 1:
		return projects[0], nil
	case len(candidates) == 0:
		return filtered{}, fmt.Errorf("no project of %s has filters; name one with --project: %s", file, strings.Join(names, ", "))
	}
	names = nil
	for _, p := range candidates {
		names = append(names, p.name)
	}
	return filtered{}, fmt.Errorf("several projects of %s have filters; name one with --project: %s", file, strings.Join(names, ", "))
}

// valueOf gives the value of a key of a map, nil if it has none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n = target(n); n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return target(n.Content[i+1])
		}
	}
	return nil
}
