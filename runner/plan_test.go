package runner

import (
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/store"

	"github.com/google/uuid"
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
		ID: "0190b3f2-0000-7000-8000-000000000001", ProjectKey: "github/github.com/7", Number: 12, Project: "octo-hello", Created: time.UnixMilli(1_760_000_000_123), Claimed: time.Unix(1_760_000_001, 0),
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
		"CODEBUILD_CI=true", "CODEBUILD_CONTAINER_NAME=default",
		"CODEBUILD_KMS_KEY_ID=arn:aws:kms:local:000000000000:alias/aws/s3",
		"CODEBUILD_LOG_PATH=0190b3f2-0000-7000-8000-000000000001",
		"CODEBUILD_PROJECT_ARN=arn:aws:codebuild:local:000000000000:project/octo-hello",
		"CODEBUILD_PROJECT_UUID=" + uuid.NewSHA1(uuid.NameSpaceURL, []byte("github/github.com/7")).String(),
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
		"pull request merged": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.PullRequest, b.Trigger.SourceVersion, b.Trigger.Prev = store.EventPullRequestMerged, 7, "pr/7", ""
			b.Trigger.HeadRef, b.Trigger.BaseRef, b.Trigger.BaseCommit = "refs/heads/change", "refs/heads/main", strings.Repeat("c", 40)
		}, []string{
			"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=pr/7",
			"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_BASE_REF=refs/heads/main", "CODEBUILD_WEBHOOK_EVENT=PULL_REQUEST_MERGED",
			"CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/change", "CODEBUILD_WEBHOOK_PREV_COMMIT=", "CODEBUILD_WEBHOOK_TRIGGER=pr/7",
		}},
		"pull request closed": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.PullRequest, b.Trigger.SourceVersion, b.Trigger.Prev = store.EventPullRequestClosed, 7, "pr/7", ""
			b.Trigger.HeadRef, b.Trigger.BaseRef = "refs/heads/change", "refs/heads/main"
		}, []string{
			"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=pr/7",
			"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_BASE_REF=refs/heads/main", "CODEBUILD_WEBHOOK_EVENT=PULL_REQUEST_CLOSED",
			"CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/change", "CODEBUILD_WEBHOOK_PREV_COMMIT=", "CODEBUILD_WEBHOOK_TRIGGER=pr/7",
		}},
		"release": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.SourceVersion, b.Trigger.HeadRef, b.Trigger.Prev = store.EventReleased, "v2.0/rc", "refs/tags/v2.0/rc", ""
		}, []string{
			"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=v2.0/rc",
			"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_EVENT=RELEASED", "CODEBUILD_WEBHOOK_HEAD_REF=refs/tags/v2.0/rc",
			"CODEBUILD_WEBHOOK_TRIGGER=tag/v2.0/rc",
		}},
		"prerelease": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.SourceVersion, b.Trigger.HeadRef, b.Trigger.Prev = store.EventPrereleased, "v2", "refs/tags/v2", ""
		}, []string{
			"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=v2",
			"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_EVENT=PRERELEASED", "CODEBUILD_WEBHOOK_HEAD_REF=refs/tags/v2",
			"CODEBUILD_WEBHOOK_TRIGGER=tag/v2",
		}},
		"merge group": {func(b *store.Build) {
			b.Trigger.MergeGroup, b.Trigger.BaseRef, b.Trigger.BaseCommit = true, "refs/heads/main", strings.Repeat("c", 40)
			b.Trigger.HeadRef = "refs/heads/gh-readonly-queue/main/pr-7-" + strings.Repeat("c", 40)
		}, []string{
			"CODEBUILD_INITIATOR=GitHub-Hookshot/044aadd", "CODEBUILD_SOURCE_VERSION=" + a,
			"CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID=4", "CODEBUILD_WEBHOOK_EVENT=PUSH",
			"CODEBUILD_WEBHOOK_HEAD_REF=refs/heads/gh-readonly-queue/main/pr-7-" + strings.Repeat("c", 40),
			"CODEBUILD_WEBHOOK_PREV_COMMIT=" + strings.Repeat("b", 40), "CODEBUILD_WEBHOOK_TRIGGER=branch/gh-readonly-queue/main/pr-7-" + strings.Repeat("c", 40),
		}},
		"started by somebody": {func(b *store.Build) {
			b.Trigger.Event, b.Trigger.Initiator, b.Trigger.SourceVersion = "", "admin", "main"
		},
			[]string{"CODEBUILD_INITIATOR=admin", "CODEBUILD_SOURCE_VERSION=main"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := planned()
			tt.change(b)
			job, _, _ := plan(spec, b, place, "buildspec.yml", nil)
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
	b.Settings.Overrides = []store.Variable{{Name: "B", Value: "start"}}
	everywhere := place
	everywhere.Region, everywhere.Account = "eu-north-1", "123456789012"
	everywhere.Proxy = []store.Variable{{Name: "A", Value: "proxy"}, {Name: "http_proxy", Value: "proxy"}, {Name: "https_proxy", Value: "proxy"}}
	everywhere.Extra = []store.Variable{{Name: "C", Value: "extra"}}
	everywhere.Public = func(b *store.Build) string { return "http://public/" + b.ID[:8] }
	job, _, _ := plan(spec, b, everywhere, "buildspec.yml", nil)
	for _, want := range []string{
		"A=spec", "B=start", "C=extra", "CODEBUILD_CI=true", "HOME=/root", "http_proxy=spec", "https_proxy=proxy", "AWS_REGION=eu-north-1",
		"CODEBUILD_PUBLIC_BUILD_URL=http://public/0190b3f2",
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
	if _, lines, _ := plan(spec, b, place, "buildspec.yml", nil); slices.Contains(lines, warning) {
		t.Error("warned of nothing")
	}
	b.Settings.Variables = []store.Variable{{Name: "PASSWORD", Value: "sesame"}}
	job, lines, _ := plan(spec, b, place, "buildspec.yml", nil)
	if strings.Contains(strings.Join(job.Env, "\n"), "sesame") || !slices.Contains(lines, warning) {
		t.Errorf("%q\n%q", job.Env, lines)
	}
}

// TestPlan looks at the rest of the job, and at what the log says of it.
func TestPlan(t *testing.T) {
	spec := parsed(t, `
version: 0.1
run-as: builder
env:
  shell: bash
  parameter-store: {PASSWORD: /ci/password}
  exported-variables: [A, A, AWS_REGION, PASSWORD]
  git-credential-helper: yes
proxy: {logs: yes}
phases:
  install:
    runtime-versions: {nodejs: 20}
    run-as: root
    commands: [one, two]
  build:
    on-failure: RETRY-2-timed out
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
  s3-prefix: releases
  secondary-artifacts: {docs: {files: ['*']}}
cache: {paths: ['x/**/*'], key: 'k-$A', fallback-keys: [k-], action: save}
`)
	job, lines, skeleton := plan(spec, planned(), place, "ci/buildspec.yml", map[string]string{"PASSWORD": "sesame"})
	want := []string{
		"CODEBUILD_SRC_DIR=/codebuild/output/src1/src/github.com/octo/hello",
		"YAML location is ci/buildspec.yml",
		"Processing environment variables",
		"Skipping install of runtimes. Runtime version selection is not supported by this build image.",
		"Moving to directory /codebuild/output/src1/src/github.com/octo/hello",
		"proxy is passed over: artifacts and logs do not leave this machine through a proxy",
		"Warning: env.exported-variables: AWS_REGION is not exported: names that begin with AWS_ never are",
		"Warning: env.exported-variables: PASSWORD is not exported: it is a secret",
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
	if want := []string{"INSTALL root  one,two ", "PRE_BUILD builder   ", "BUILD builder RETRY three four", "POST_BUILD builder CONTINUE five "}; !slices.Equal(phases, want) {
		t.Errorf("%q", phases)
	}
	u := job.Uploads
	if len(u) != 2 || u[1].ID != "docs" || u[1].Unknown {
		t.Fatalf("%+v", u)
	}
	if u := u[0]; !slices.Equal(u.Files, []string{"**/*"}) || !slices.Equal(u.Exclude, []string{"*.o"}) || u.Name != "out" || u.Prefix != "releases" ||
		u.BaseDirectory != "dist" || !u.DiscardPaths || u.Limit != 2000 {
		t.Errorf("%+v", u)
	}
	if r := job.Phases[2].Retry; r != "timed out" {
		t.Errorf("retries on %q", r)
	}
	if c := job.Cache; c == nil || c.Restore || !c.Save || c.Key != "k-$A" || c.Limit != 2000 {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(job.Exported, []string{"A"}) || len(job.Reports) != 1 || job.Reports[0].Group != "unit" || job.Reports[0].Format != "JUNITXML" {
		t.Errorf("%q %+v", job.Exported, job.Reports)
	}
	if !slices.Contains(job.Env, "PASSWORD=sesame") || !slices.Equal(job.Secrets, []string{"sesame"}) {
		t.Errorf("%q %q", job.Env, job.Secrets)
	}
	forever := planned()
	forever.Settings.Timeout = 0
	if job, _, _ := plan(spec, forever, place, "", nil); !job.Deadline.IsZero() {
		t.Error(job.Deadline)
	}
}

// TestSettingsOfTheProject has what a project or a fork does without.
func TestSettingsOfTheProject(t *testing.T) {
	spec := parsed(t, `
version: 0.2
env: {parameter-store: {PASSWORD: /ci/password}, secrets-manager: {KEY: 'k:v'}}
phases: {build: {on-failure: RETRY-1, commands: [a]}}
artifacts: {files: ['*'], secondary-artifacts: {docs: {files: ['*']}, other: {files: ['*']}}}
cache: {paths: ['x/**/*']}
`)
	for name, tt := range map[string]struct {
		change func(*store.Build)
		line   string
		check  func(agent.Job) bool
	}{
		"nothing": {func(*store.Build) {}, "No runtime version selected in buildspec.", func(j agent.Job) bool {
			return len(j.Uploads) == 3 && j.Cache != nil && j.Cache.Save && j.Phases[2].OnFailure == "RETRY" && slices.Contains(j.Env, "PASSWORD=sesame")
		}},
		"no artifacts": {func(b *store.Build) { b.Settings.NoArtifacts = true }, "The artifacts block is passed over: the project keeps no artifacts",
			func(j agent.Job) bool { return len(j.Uploads) == 0 }},
		"secondary": {func(b *store.Build) { b.Settings.SecondaryArtifacts = []string{"docs"} }, "Registering with agent",
			func(j agent.Job) bool { return !j.Uploads[1].Unknown && j.Uploads[2].Unknown }},
		"no cache": {func(b *store.Build) { b.Settings.Cache = store.CacheOff }, "The cache block is passed over: the project keeps no cache",
			func(j agent.Job) bool { return j.Cache == nil }},
		"retried": {func(b *store.Build) { b.Retries = 1 }, "Registering with agent", func(j agent.Job) bool { return j.Phases[2].OnFailure == "" }},
		"fork": {func(b *store.Build) { b.Trigger.Fork = true }, "The cache block is passed over: the commit comes from another repository",
			func(j agent.Job) bool {
				return j.Cache == nil && !strings.Contains(strings.Join(j.Env, " "), "PASSWORD") && len(j.Secrets) == 0
			}},
		"fork's secrets": {func(b *store.Build) { b.Trigger.Fork = true },
			"Warning: the secrets of env.parameter-store and env.secrets-manager are not set: the commit comes from another repository",
			func(j agent.Job) bool { return len(j.Secrets) == 0 }},
		"fork with a cache": {func(b *store.Build) { b.Trigger.Fork, b.Settings.Cache = true, store.CacheForks }, "Registering with agent",
			func(j agent.Job) bool { return j.Cache != nil && j.Cache.Restore && !j.Cache.Save }},
		"AWS": {func(b *store.Build) {
			b.Settings.Variables = []store.Variable{{Name: "AWS_SECRET_ACCESS_KEY", Value: "aws-secret"}, {Name: "PLAIN", Value: "plain"}}
		}, "Registering with agent", func(j agent.Job) bool {
			return slices.Contains(j.Secrets, "aws-secret") && !slices.Contains(j.Secrets, "plain")
		}},
		"typed": {func(b *store.Build) {
			b.Settings.Variables = []store.Variable{{Name: "PASSWORD", Value: "plain now"}}
			b.Settings.Overrides = []store.Variable{{Name: "KEY", Value: "/x", Type: store.ParameterStore}}
		}, "Registering with agent", func(j agent.Job) bool {
			return slices.Contains(j.Env, "PASSWORD=plain now") && slices.Contains(j.Env, "KEY=key") && slices.Equal(j.Secrets, []string{"key"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := planned()
			tt.change(b)
			job, lines, _ := plan(spec, b, place, "buildspec.yml", map[string]string{"PASSWORD": "sesame", "KEY": "key"})
			if !slices.Contains(lines, tt.line) || !tt.check(job) {
				t.Errorf("%q\n%+v", lines, job)
			}
		})
	}
	job, _, _ := plan(spec, planned(), place, "", nil)
	if p := allowed(spec, &job); p.Retries != 1 || !slices.Equal(p.Artifacts, []string{"", "docs", "other"}) || p.Cache == "" || p.Reports != 0 {
		t.Errorf("%+v", p)
	}
	none := parsed(t, `{version: 0.2, phases: {build: {commands: [a]}}, cache: {key: k}}`)
	if _, lines, _ := plan(none, planned(), place, "", nil); !slices.Contains(lines, "Unable to initialize cache download: no paths specified to be cached") {
		t.Errorf("%q", lines)
	}
}

func TestUnsupported(t *testing.T) {
	for text, want := range map[string]string{
		`{version: 0.2, phases: {build: {commands: [a]}}}`:                         "",
		`{version: 0.2, batch: {build-list: [{identifier: a, buildspec: a.yml}]}}`: "phases: missing; this file carries a batch only, and this is a plain build",
	} {
		if got := unsupported(parsed(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
