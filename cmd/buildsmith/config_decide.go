package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"buildsmith/store"
	"buildsmith/webhook"
)

// DecisionSettings say how deliveries are decided on. A project may change them.
type DecisionSettings struct {
	PullRequests PullRequestSettings `yaml:"pull-requests"`
	SkipTokens   *bool               `yaml:"skip-tokens"`
	Supersede    string              `yaml:"supersede"`
}

// PullRequestSettings say which pull requests are built, and by which buildspec.
type PullRequestSettings struct {
	Approval   string   `yaml:"approval"`
	Approvers  []string `yaml:"approvers"`
	RequireSHA *bool    `yaml:"require-sha"`
	Buildspec  string   `yaml:"buildspec"`
	Drafts     *bool    `yaml:"drafts"`
}

// CommandSettings say how commands are written in comments.
type CommandSettings struct {
	Prefix string   `yaml:"prefix"`
	Bare   *bool    `yaml:"bare"`
	Bots   []string `yaml:"bots"`
}

// PrioritySettings order the queue: builds with a higher number first.
type PrioritySettings struct {
	DefaultBranch int `yaml:"default-branch"`
	PullRequest   int `yaml:"pull-request"`
	Rerun         int `yaml:"rerun"`
}

// Where a pull request's buildspec is read.
const (
	specOfHead = "head"
	specOfBase = "base"
)

var commandPrefix = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,30}$`)

// check gives what is wrong to the function.
func (s *CommandSettings) check(wrong func(string, ...any)) {
	if s.Prefix != "" && !commandPrefix.MatchString(s.Prefix) {
		wrong("commands.prefix: %q is no word of a command; write letters, digits and -", s.Prefix)
	}
}

func (s *CommandSettings) commands() webhook.Commands {
	c := webhook.DefaultCommands
	override(&c.Prefix, s.Prefix)
	if s.Bare != nil {
		c.Bare = *s.Bare
	}
	c.Bots = s.Bots
	return c
}

// check gives what is wrong to the function.
func (s *DecisionSettings) check(key string, wrong func(string, ...any)) {
	oneOf := func(name, value string, allowed ...string) {
		if value != "" && !slices.Contains(allowed, value) {
			wrong("%s%s: %q is none of %s", key, name, value, strings.Join(allowed, ", "))
		}
	}
	oneOf("supersede", s.Supersede, webhook.SupersedeOn, webhook.SupersedeOff, webhook.SupersedeAll)
	oneOf("pull-requests.approval", s.PullRequests.Approval, webhook.ApprovalDisabled, webhook.ApprovalForks, webhook.ApprovalAll)
	oneOf("pull-requests.buildspec", s.PullRequests.Buildspec, specOfHead, specOfBase)
	for i, role := range s.PullRequests.Approvers {
		oneOf(fmt.Sprintf("pull-requests.approvers[%d]", i), role, slices.Sorted(maps.Keys(webhook.Roles))...)
	}
}

// rules are the server's, with what a project changes.
func (c *Config) rules(p *ProjectSettings) webhook.Rules {
	r := webhook.Rules{Priorities: webhook.Priorities(c.Priorities)}
	c.DecisionSettings.rule(&r)
	if p != nil {
		p.DecisionSettings.rule(&r)
		r.Overridable = p.Overridable
	}
	return r
}

// rule changes the rules as the settings say.
func (s *DecisionSettings) rule(r *webhook.Rules) {
	override(&r.Supersede, s.Supersede)
	override(&r.Approval, s.PullRequests.Approval)
	if len(s.PullRequests.Approvers) > 0 {
		r.Approvers = nil
		for _, role := range s.PullRequests.Approvers {
			r.Approvers = append(r.Approvers, webhook.Roles[role])
		}
		slices.Sort(r.Approvers)
	}
	if s.SkipTokens != nil {
		r.NoSkipTokens = !*s.SkipTokens
	}
	if s.PullRequests.RequireSHA != nil {
		r.AnyHash = !*s.PullRequests.RequireSHA
	}
	if s.PullRequests.Drafts != nil {
		r.NoDrafts = !*s.PullRequests.Drafts
	}
}

// baseSpec reports whether the buildspec of pull requests is read from the base branch.
func (c *Config) baseSpec(p *ProjectSettings) bool {
	spec := c.PullRequests.Buildspec
	if p != nil {
		override(&spec, p.PullRequests.Buildspec)
	}
	return spec == specOfBase
}

// configured gives the projects that the configuration has for a repository.
func (c *Config) configured(r store.Repo) []webhook.Project {
	var list []webhook.Project
	for i := range c.Projects {
		p := &c.Projects[i]
		bound := p.RepositoryID != ""
		if p.Forge != r.Forge || bound && p.RepositoryID != r.ID || !bound && !strings.EqualFold(p.Repository, r.Name) {
			continue
		}
		list = append(list, webhook.Project{Name: p.Name, Settings: c.projectSettings(p), Filters: p.filters, Rules: c.rules(p), Bound: bound})
	}
	return list
}
