package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/google/go-cmp/cmp"
)

func TestDecisionSettings(t *testing.T) {
	c, _, err := load(t, `
pull-requests: {approval: ALL_PULL_REQUESTS, approvers: [GITHUB_ADMIN, GITHUB_MAINTAIN], require-sha: false, buildspec: base, drafts: false}
skip-tokens: false
supersede: all
priorities: {default-branch: 1, pull-request: 2, rerun: 3}
commands: {prefix: ci, bare: false, bots: [renovate]}
projects:
  - name: shop
    forge: local
    repository: Octo/Shop
    pull-requests: {approval: DISABLED, approvers: [GITHUB_WRITE], require-sha: true, buildspec: head, drafts: true}
    skip-tokens: true
    supersede: off
    overridable: [STAGE]
  - {name: tools, repository-id: "7"}
`)
	if err != nil {
		t.Fatal(err)
	}
	server := webhook.Rules{Approval: webhook.ApprovalAll, Approvers: []store.Permission{store.PermissionMaintain, store.PermissionAdmin}, AnyHash: true, NoDrafts: true,
		NoSkipTokens: true, Supersede: webhook.SupersedeAll, Priorities: webhook.Priorities{DefaultBranch: 1, PullRequest: 2, Rerun: 3}}
	if diff := cmp.Diff(server, c.rules(nil)); diff != "" || !c.settings().BaseSpec {
		t.Errorf("(-want +got)\n%s", diff)
	}
	own := webhook.Rules{Approval: webhook.ApprovalDisabled, Approvers: []store.Permission{store.PermissionWrite}, Supersede: webhook.SupersedeOff, Overridable: []string{"STAGE"},
		Priorities: server.Priorities}
	list := c.configured(store.Repo{Forge: "local", ID: "1", Name: "octo/shop"})
	if len(list) != 1 || list[0].Name != "shop" || list[0].Bound || list[0].Settings.BaseSpec {
		t.Fatalf("%+v", list)
	}
	if diff := cmp.Diff(own, list[0].Rules); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// A repository that is named by its id is that one under any name.
	if list = c.configured(store.Repo{Forge: "local", ID: "7", Name: "any"}); len(list) != 1 || list[0].Name != "tools" || !list[0].Bound {
		t.Errorf("%+v", list)
	}
	if list = c.configured(store.Repo{Forge: "github", ID: "7", Name: "octo/shop"}); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	if got := c.Commands.commands(); got.Prefix != "ci" || got.Bare || !slices.Equal(got.Bots, []string{"renovate"}) {
		t.Errorf("%+v", got)
	}
	var none CommandSettings
	if diff := cmp.Diff(webhook.DefaultCommands, none.commands()); diff != "" {
		t.Error(diff)
	}
}

func TestDecisionProblems(t *testing.T) {
	_, dir, err := load(t, `
pull-requests: {approval: SOME, approvers: [GITHUB_WRITE, ADMIN], buildspec: main}
supersede: always
commands: {prefix: a b}
projects:
  - {name: shop, repository: r, supersede: never, overridable: [A-B, TOKEN], variables: {TOKEN: {type: PARAMETER_STORE, value: /x}}}
  - {name: none}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	got := strings.ReplaceAll(err.Error(), filepath.Join(dir, "config.yml"), "FILE")
	want := strings.Join([]string{
		`FILE: commands.prefix: "a b" is no word of a command; write letters, digits and -`,
		"FILE: projects.none.repository: missing; write the repository's name, such as owner/repo",
		`FILE: projects.shop.overridable: "A-B" is no name of a variable, or is reserved`,
		"FILE: projects.shop.overridable: TOKEN is a secret, which no comment may set",
		`FILE: projects.shop.supersede: "never" is none of on, off, all`,
		`FILE: pull-requests.approval: "SOME" is none of DISABLED, FORK_PULL_REQUESTS, ALL_PULL_REQUESTS`,
		`FILE: pull-requests.approvers[1]: "ADMIN" is none of BITBUCKET_ADMIN, BITBUCKET_READ, BITBUCKET_WRITE, GITHUB_ADMIN, GITHUB_MAINTAIN, GITHUB_READ, GITHUB_TRIAGE, GITHUB_WRITE`,
		`FILE: pull-requests.buildspec: "main" is none of head, base`,
		`FILE: supersede: "always" is none of on, off, all`,
	}, "\n")
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
