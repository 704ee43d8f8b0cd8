package runner

import (
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/buildspec"
	"buildsmith/store"
)

// parsed is the buildspec of a text.
func parsed(t *testing.T, text string) *buildspec.Spec {
	t.Helper()
	spec, problems := buildspec.Parse([]byte(text))
	if spec == nil {
		t.Fatalf("%v", problems)
	}
	return spec
}

// planned is a build of a push to GitHub.
func planned() *store.Build {
	return &store.Build{
		ID: "0190b3f2-0000-7000-8000-000000000001", Number: 12, Project: "octo-hello", Created: time.UnixMilli(1_760_000_000_123), Claimed: time.Unix(1_760_000_001, 0),
		Repo:     store.Repo{Forge: "github", Host: "github.com", ID: "7", Name: "octo/hello", CloneURL: "https://github.com/octo/hello.git"},
		Settings: store.Settings{Image: "localhost/image:1", Timeout: time.Hour, LogLimit: 1000, Disk: 2000},
		Trigger: store.Trigger{Event: store.EventPush, Commit: strings.Repeat("a", 40), SourceVersion: strings.Repeat("a", 40), HeadRef: "refs/heads/main",
			Prev: strings.Repeat("b", 40), Actor: store.Account{ID: "4", Login: "octocat"}, Initiator: "GitHub-Hookshot/044aadd"},
	}
}

var place = Place{URL: func(b *store.Build) string { return "http://ci.example.org/builds/" + b.ID }}

// TestEnvironment compares the whole of what a build's commands find set.
func TestEnvironment(t *testing.T) {
	spec := parsed(t, "version: 0.2\nenv: {variables: {GREETING: hello}}\nphases: {build: {commands: [env]}}\n")
	a := strings.Repeat("a", 40)
	always := []string{
		"AWS_DEFAULT_REGION=local", "AWS_REGION=local",
		"CODEBUILD_BATCH_BUILD_IDENTIFIER=",
		"CODEBUILD_BUILD_ARN=arn:aws:codebuild:local:000000000000:build/octo-hello:0190b3f2-0000-7000-8000-000000000001",
		"CODEBUILD_BUILD_ID=octo-hello:0190b3f2-0000-7000-8000-000000000001",
		"CODEBUILD_BUILD_IMAGE=localhost/image:1", "CODEBUILD_BUILD_NUMBER=12", "CODEBUILD_BUILD_SUCCEEDING=1",
		"CODEBUILD_BUILD_URL=http://ci.example.org/builds/0190b3f2-0000-7000-8000-000000000001",
		"CODEBUILD_CI=true",
		"CODEBUILD_KMS_KEY_ID=arn:aws:kms:local:000000000000:alias/aws/s3",
		"CODEBUILD_LOG_PATH=0190b3f2-0000-7000-8000-000000000001",
		"CODEBUILD_PROJECT_ARN=arn:aws:codebuild:local:000000000000:project/octo-hello",
		"CODEBUILD_RESOLVED_SOURCE_VERSION=" + a,
		"CODEBUILD_SOURCE_REPO_URL=https://github.com/octo/hello.git",
		"CODEBUILD_SRC_DIR=/codebuild/output/src1/src/github.com/octo/hello",
		"CODEBUILD_START_TIME=1760000000123",
		"GREETING=hello", "HOME=/root",
	}
	push := []string{
		"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=" + a,
		"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_EVENT=PUSH", "CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/main",
		"CODEBUILD_WEBHOOK_PREV_COMMIT=" + strings.Repeat("b", 40), "CODEBUILD_WEBHOOK_TRIGGER=branch/main",
	}
	for name, tt := range map[string]struct {
		change func(b *store.Build)
		more   []string
	}{
		"push": {func(*store.Build) {}, push},
		"pull request": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.PullRequest, b.Trigger.SourceVersion, b.Trigger.Prev = store.EventPullRequestUpdated, 7, "pr/7", ""
			b.Trigger.HeadRef, b.Trigger.BaseRef = "refs/heads/change", "refs/heads/main"
		}, []string{
			"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=pr/7",
			"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_BASE_REF=refs/heads/main", "CODEBUILD_WEBHOOK_EVENT=PULL_REQUEST_UPDATED",
			"CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/change", "CODEBUILD_WEBHOOK_PREV_COMMIT=", "CODEBUILD_WEBHOOK_TRIGGER=pr/7",
		}},
		"started by somebody": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.Initiator, b.Trigger.SourceVersion = "", "admin", "main"
		},
			[]string{"CODEBUILD_INITIATOR=admin", "CODEBUILD_SOURCE_VERSION=main"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := planned()
			tt.change(b)
			job, _, _ := plan(spec, b, place, "buildspec.yml")
			got := slices.Sorted(slices.Values(job.Env))
			if want := slices.Sorted(slices.Values(slices.Concat(always, tt.more))); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestPrecedence has each source of variables beat those before it.
func TestPrecedence(t *testing.T) {
	spec := parsed(t, `{version: 0.2, env: {variables: {A: spec, B: spec, C: spec, CODEBUILD_CI: spec, HOME: spec, http_proxy: spec}}, phases: {build: {commands: [env]}}}`)
	b := planned()
	b.Settings.Variables = []store.Variable{{Name: "B", Value: "project"}, {Name: "C", Value: "project"}}
	everywhere := place
	everywhere.Region, everywhere.Account = "eu-north-1", "123456789012"
	everywhere.Proxy = []store.Variable{{Name: "A", Value: "proxy"}, {Name: "http_proxy", Value: "proxy"}, {Name: "https_proxy", Value: "proxy"}}
	everywhere.Extra = func(*store.Build) []string { return []string{"C=extra"} }
	job, _, _ := plan(spec, b, everywhere, "buildspec.yml")
	for _, want := range []string{
		"A=spec", "B=project", "C=extra", "CODEBUILD_CI=true", "HOME=/root", "http_proxy=spec", "https_proxy=proxy", "AWS_REGION=eu-north-1",
		"CODEBUILD_PROJECT_ARN=arn:aws:codebuild:eu-north-1:123456789012:project/octo-hello",
	} {
		name, _, _ := strings.Cut(want, "=")
		n := 0
		for _, v := range job.Env {
			if strings.HasPrefix(v, name+"=") {
				n++
			}
		}
		if !slices.Contains(job.Env, want) || n != 1 {
			t.Errorf("%s is not there alone: %q", want, job.Env)
		}
	}
}

// TestForkGetsNoVariables keeps the project's variables from a commit of another repository, and says so.
func TestForkGetsNoVariables(t *testing.T) {
	spec := parsed(t, `{version: 0.2, phases: {build: {commands: [env]}}}`)
	b := planned()
	b.Trigger.Fork = true
	const warning = "Warning: the project's variables are not set: the commit comes from another repository"
	if _, lines, _ := plan(spec, b, place, "buildspec.yml"); slices.Contains(lines, warning) {
		t.Error("warned of nothing")
	}
	b.Settings.Variables = []store.Variable{{Name: "PASSWORD", Value: "sesame"}}
	job, lines, _ := plan(spec, b, place, "buildspec.yml")
	if strings.Contains(strings.Join(job.Env, "\n"), "sesame") || !slices.Contains(lines, warning) {
		t.Errorf("%q\n%q", job.Env, lines)
	}
}

// TestPlan looks at the rest of the job, and at what the log says of it.
func TestPlan(t *testing.T) {
	spec := parsed(t, `
version: 0.1
run-as: builder
env: {shell: bash, exported-variables: [A], git-credential-helper: yes}
phases:
  install:
    runtime-versions: {nodejs: 20}
    run-as: root
    commands: [one, two]
  build:
    on-failure: RETRY
    commands: [three]
    finally: [four]
  post_build:
    on-failure: CONTINUE
    commands: [five]
reports: {unit: {files: ['*.xml']}}
artifacts:
  files: ['**/*']
  exclude-paths: ['*.o']
  name: out
  base-directory: dist
  discard-paths: yes
  secondary-artifacts: {docs: {files: ['*']}}
cache: {paths: ['x/**/*']}
`)
	job, lines, skeleton := plan(spec, planned(), place, "ci/buildspec.yml")
	want := []string{
		"CODEBUILD_SRC_DIR=/codebuild/output/src1/src/github.com/octo/hello",
		"YAML location is ci/buildspec.yml",
		"Processing environment variables",
		"Skipping install of runtimes. Runtime version selection is not supported by this build image.",
		"Moving to directory /codebuild/output/src1/src/github.com/octo/hello",
		"Warning: cache is passed over: nothing is restored or saved",
		"Warning: reports are passed over: no test report is made",
		"Warning: env.exported-variables is passed over: nothing is exported",
		"Warning: env.git-credential-helper is passed over: the build's git has no credentials",
		"Warning: artifacts.secondary-artifacts is passed over: the primary artifacts alone are kept",
		"Warning: on-failure RETRY of BUILD is passed over: the default transitions hold",
		"Registering with agent",
		"Phases found in YAML: 3",
		" INSTALL: 2 commands",
		" BUILD: 2 commands",
		" POST_BUILD: 1 commands",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(skeleton, []string{"INSTALL", "BUILD", "POST_BUILD"}) {
		t.Errorf("%q", skeleton)
	}
	if job.Shell != "bash" || !job.Fresh || job.LogLimit != 1000 || !job.Deadline.Equal(planned().Claimed.Add(time.Hour)) {
		t.Errorf("%+v", job)
	}
	var phases []string
	for _, p := range job.Phases {
		phases = append(phases, strings.Join([]string{p.Name, p.RunAs, p.OnFailure, strings.Join(p.Commands, ","), strings.Join(p.Finally, ",")}, " "))
	}
	if want := []string{"INSTALL root  one,two ", "PRE_BUILD builder   ", "BUILD builder  three four", "POST_BUILD builder CONTINUE five "}; !slices.Equal(phases, want) {
		t.Errorf("%q", phases)
	}
	if u := job.Upload; u == nil || !slices.Equal(u.Files, []string{"**/*"}) || !slices.Equal(u.Exclude, []string{"*.o"}) || u.Name != "out" ||
		u.BaseDirectory != "dist" || !u.DiscardPaths || u.Limit != 2000 {
		t.Errorf("%+v", u)
	}
	forever := planned()
	forever.Settings.Timeout = 0
	if job, _, _ := plan(spec, forever, place, ""); !job.Deadline.IsZero() {
		t.Error(job.Deadline)
	}
}

func TestUnsupported(t *testing.T) {
	for text, want := range map[string]string{
		`{version: 0.2, phases: {build: {commands: [a]}}}`:                                     "",
		`{version: 0.2, batch: {build-list: [{identifier: a}]}}`:                               "phases: missing; this file carries a batch only, and this is a plain build",
		`{version: 0.2, env: {parameter-store: {A: /a}}, phases: {build: {commands: [a]}}}`:    "env.parameter-store.A: Parameter does not exist: this server has no parameter store",
		`{version: 0.2, env: {secrets-manager: {B: "b:k"}}, phases: {build: {commands: [a]}}}`: "env.secrets-manager.B: Secret does not exist: this server has no secrets manager",
	} {
		if got := unsupported(parsed(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
