package main

import (
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/checks"
	"buildsmith/store"
)

func TestReportSettings(t *testing.T) {
	c, _, err := load(t, `
statuses: beside
status-context: ci/$CODEBUILD_WEBHOOK_TRIGGER
summary-comment: true
region: eu-west-1
checks: build
projects:
  - {name: shop, repository: shop, environment: {name: production, branch: refs/heads/live, url: "https://shop.example.org/"}}
  - {name: docs, repository: docs}
`)
	if err != nil {
		t.Fatal(err)
	}
	if o, want := c.reportOptions(), (checks.Options{Statuses: checks.StatusesBeside, StatusContext: "ci/$CODEBUILD_WEBHOOK_TRIGGER", Region: "eu-west-1", SummaryComment: true}); o.URL != nil ||
		o.Statuses != want.Statuses || o.StatusContext != want.StatusContext || o.Region != want.Region || !o.SummaryComment || o.Phases {
		t.Errorf("%+v, want %+v", o, want)
	}
	if e := c.projectSettings(&c.Projects[0]).Environment; e == nil || *e != (store.Environment{Name: "production", Branch: "live", URL: "https://shop.example.org/"}) {
		t.Errorf("%+v", e)
	}
	if e := c.projectSettings(&c.Projects[1]).Environment; e != nil {
		t.Errorf("%+v", e)
	}
	standard, err := loadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	if o := standard.reportOptions(); o.Statuses != checks.StatusesOff || o.StatusContext != "" || o.SummaryComment || !o.Phases {
		t.Errorf("%+v", o)
	}
	for text, want := range map[string]string{
		"statuses: on\n": `FILE: statuses: "on" is none of off, beside, instead`,
		"status-context: $HOME\n": `FILE: status-context: $HOME is none of AWS_REGION, BUILDSMITH_PROJECT, CODEBUILD_BUILD_ID, CODEBUILD_BUILD_NUMBER, CODEBUILD_INITIATOR, ` +
			`CODEBUILD_WEBHOOK_BASE_REF, CODEBUILD_WEBHOOK_EVENT, CODEBUILD_WEBHOOK_HEAD_REF, CODEBUILD_WEBHOOK_TRIGGER`,
		"status-context: " + strings.Repeat("x", 101) + "\n": "FILE: status-context: a context has at most 100 characters on one line",
		"projects: [{name: shop, repository: r, environment: {branch: a..b, url: nowhere}}]\n": `FILE: projects.shop.environment.branch: "a..b" is no name of a branch` + "\n" +
			`FILE: projects.shop.environment.name: "" is no name of an environment; write one such as production` + "\n" +
			`FILE: projects.shop.environment.url: "nowhere" is no address; write http:// or https:// and a host`,
	} {
		_, dir, err := load(t, text)
		if err == nil {
			t.Errorf("%s: accepted", text)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), filepath.Join(dir, "config.yml"), "FILE"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
}
