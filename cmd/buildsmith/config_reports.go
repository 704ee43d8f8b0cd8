package main

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"buildsmith/checks"
	"buildsmith/store"
)

// statusesOff is the setting without commit statuses.
const statusesOff = "off"

// EnvironmentSettings say where a project's builds deploy to.
type EnvironmentSettings struct {
	Name   string `yaml:"name"`
	Branch string `yaml:"branch"`
	URL    string `yaml:"url"`
}

// reportOptions are how reports are rendered.
func (c *Config) reportOptions() checks.Options {
	o := checks.Options{Phases: c.Checks == "phases", Statuses: c.Statuses, StatusContext: c.StatusContext, Region: c.Region, SummaryComment: c.SummaryComment}
	if o.Statuses == statusesOff {
		o.Statuses = checks.StatusesOff
	}
	return o
}

// environment is what builds are told of where they deploy to, nil if that is nowhere.
func (e *EnvironmentSettings) environment() *store.Environment {
	if e == nil {
		return nil
	}
	return &store.Environment{Name: e.Name, Branch: strings.TrimPrefix(e.Branch, "refs/heads/"), URL: e.URL}
}

// checkReports checks what forges are told.
func (c *Config) checkReports(wrong func(string, ...any)) {
	if c.Statuses != statusesOff && c.Statuses != checks.StatusesBeside && c.Statuses != checks.StatusesInstead {
		wrong("statuses: %q is none of off, beside, instead", c.Statuses)
	}
	if n := utf8.RuneCountInString(c.StatusContext); n > 100 || checks.Plain(c.StatusContext) != c.StatusContext || strings.Contains(c.StatusContext, "\n") {
		wrong("status-context: a context has at most 100 characters on one line")
	}
	for _, name := range checks.UnknownVariables(c.StatusContext) {
		wrong("status-context: $%s is none of %s", name, strings.Join(checks.ContextVariables, ", "))
	}
}

// check checks where a project deploys to.
func (e *EnvironmentSettings) check(key string, wrong func(string, ...any)) {
	if e == nil {
		return
	}
	if e.Name == "" || utf8.RuneCountInString(e.Name) > 255 || checks.Plain(e.Name) != e.Name || strings.Contains(e.Name, "\n") {
		wrong("%s.environment.name: %q is no name of an environment; write one such as production", key, e.Name)
	}
	if branch := strings.TrimPrefix(e.Branch, "refs/heads/"); branch != "" && !store.ValidRef("refs/heads/"+branch) {
		wrong("%s.environment.branch: %q is no name of a branch", key, e.Branch)
	}
	if u, err := url.Parse(e.URL); e.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		wrong("%s.environment.url: %q is no address; write http:// or https:// and a host", key, e.URL)
	}
}
