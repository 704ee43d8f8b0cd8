package runner

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/store"
)

// A Place is what builds are told of where they run.
type Place struct {
	Region  string                      // of CODEBUILD_BUILD_ARN and AWS_REGION; "local" if empty
	Account string                      // of the same; zeros if empty
	URL     func(*store.Build) string   // the build's page
	Proxy   []store.Variable            // variables that every build begins with
	Extra   func(*store.Build) []string // further NAME=value
}

// plan turns a buildspec into the job of a build. It also gives the lines for the log that come before the job's, and the
// phases that have commands. It is a function of its arguments.
func plan(spec *buildspec.Spec, b *store.Build, place Place, specName string) (job agent.Job, lines, skeleton []string) {
	dir := agent.SourceDir + "/" + sourcePath(b.Repo)
	job = agent.Job{
		Build:    b.ID,
		Dir:      dir,
		Shell:    spec.Env.Shell,
		Env:      environment(spec, b, place, dir),
		Fresh:    spec.Version == "0.1",
		Deadline: b.Claimed.Add(b.Settings.Timeout),
		LogLimit: b.Settings.LogLimit,
	}
	if b.Settings.Timeout <= 0 {
		job.Deadline = time.Time{}
	}
	var counts []string
	for _, p := range spec.Phases {
		phase := agent.Phase{Name: p.Name, RunAs: p.RunAs, OnFailure: p.OnFailure.Action}
		if phase.RunAs == "" {
			phase.RunAs = spec.RunAs
		}
		if p.OnFailure.Action == buildspec.Retry {
			phase.OnFailure = ""
		}
		for _, c := range p.Commands {
			phase.Commands = append(phase.Commands, c.Text)
		}
		for _, c := range p.Finally {
			phase.Finally = append(phase.Finally, c.Text)
		}
		if n := len(p.Commands) + len(p.Finally); n > 0 {
			skeleton = append(skeleton, p.Name)
			counts = append(counts, fmt.Sprintf(" %s: %d commands", p.Name, n))
		}
		job.Phases = append(job.Phases, phase)
	}
	if a := spec.Artifacts; a != nil {
		job.Upload = &agent.Artifacts{
			Files: a.Files, Exclude: a.ExcludePaths, Name: a.Name, BaseDirectory: a.BaseDirectory,
			DiscardPaths: a.DiscardPaths, EnableSymlinks: a.EnableSymlinks, Limit: b.Settings.Disk,
		}
	}
	lines = append(lines, "CODEBUILD_SRC_DIR="+dir, "YAML location is "+specName, "Processing environment variables")
	if withheld(b) {
		lines = append(lines, "Warning: the project's variables are not set: the commit comes from another repository")
	}
	if len(spec.Phases[0].Runtimes) == 0 {
		lines = append(lines, "No runtime version selected in buildspec.")
	} else {
		lines = append(lines, "Skipping install of runtimes. Runtime version selection is not supported by this build image.")
	}
	lines = append(lines, "Moving to directory "+dir)
	lines = append(lines, notYet(spec)...)
	lines = append(lines, "Registering with agent", fmt.Sprintf("Phases found in YAML: %d", len(counts)))
	return job, append(lines, counts...), skeleton
}

// notYet names what the buildspec asks for and this release passes over.
func notYet(spec *buildspec.Spec) []string {
	var lines []string
	if spec.Cache == nil {
		lines = append(lines, "Cache is not defined in the buildspec")
	} else {
		lines = append(lines, "Warning: cache is passed over: nothing is restored or saved")
	}
	if len(spec.Reports) > 0 {
		lines = append(lines, "Warning: reports are passed over: no test report is made")
	}
	if len(spec.Env.Exported) > 0 {
		lines = append(lines, "Warning: env.exported-variables is passed over: nothing is exported")
	}
	if spec.Env.GitCredentialHelper {
		lines = append(lines, "Warning: env.git-credential-helper is passed over: the build's git has no credentials")
	}
	if spec.Artifacts != nil && len(spec.Artifacts.Secondary) > 0 {
		lines = append(lines, "Warning: artifacts.secondary-artifacts is passed over: the primary artifacts alone are kept")
	}
	for _, p := range spec.Phases {
		if p.OnFailure.Action == buildspec.Retry {
			lines = append(lines, "Warning: on-failure RETRY of "+p.Name+" is passed over: the default transitions hold")
		}
	}
	return lines
}

// unsupported says what the buildspec asks for without which its commands cannot do their work; empty if nothing.
func unsupported(spec *buildspec.Spec) string {
	switch {
	case spec.NoPhases:
		return "phases: missing; this file carries a batch only, and this is a plain build"
	case len(spec.Env.ParameterStore) > 0:
		return fmt.Sprintf("env.parameter-store.%s: Parameter does not exist: this server has no parameter store", spec.Env.ParameterStore[0].Name)
	case len(spec.Env.SecretsManager) > 0:
		return fmt.Sprintf("env.secrets-manager.%s: Secret does not exist: this server has no secrets manager", spec.Env.SecretsManager[0].Name)
	}
	return ""
}

// environment is what a build's commands find set, beside what the image sets. Later entries beat earlier ones: the
// buildspec's, the project's unless they are withheld, and what CodeBuild sets, which nobody can change.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
func environment(spec *buildspec.Spec, b *store.Build, place Place, dir string) []string {
	region, account := place.Region, place.Account
	if region == "" {
		region = "local"
	}
	if account == "" {
		account = "000000000000"
	}
	e := &environ{at: map[string]int{}}
	for _, v := range place.Proxy {
		e.set(v.Name, v.Value)
	}
	e.set("AWS_DEFAULT_REGION", region)
	e.set("AWS_REGION", region)
	for _, v := range spec.Env.Variables {
		e.set(v.Name, v.Value)
	}
	if !withheld(b) {
		for _, v := range b.Settings.Variables {
			e.set(v.Name, v.Value)
		}
	}
	arn := "arn:aws:codebuild:" + region + ":" + account + ":"
	t := &b.Trigger
	e.set("CODEBUILD_BATCH_BUILD_IDENTIFIER", "")
	e.set("CODEBUILD_BUILD_ARN", arn+"build/"+b.CodeBuildID())
	e.set("CODEBUILD_BUILD_ID", b.CodeBuildID())
	e.set("CODEBUILD_BUILD_IMAGE", b.Settings.Image)
	e.set("CODEBUILD_BUILD_NUMBER", strconv.Itoa(b.Number))
	e.set("CODEBUILD_BUILD_SUCCEEDING", "1")
	e.set("CODEBUILD_BUILD_URL", place.URL(b))
	e.set("CODEBUILD_CI", "true")
	e.set("CODEBUILD_INITIATOR", t.Initiator)
	e.set("CODEBUILD_KMS_KEY_ID", "arn:aws:kms:"+region+":"+account+":alias/aws/s3")
	e.set("CODEBUILD_LOG_PATH", b.ID)
	e.set("CODEBUILD_PROJECT_ARN", arn+"project/"+b.Project)
	e.set("CODEBUILD_RESOLVED_SOURCE_VERSION", t.Commit)
	e.set("CODEBUILD_SOURCE_REPO_URL", b.Repo.CloneURL)
	e.set("CODEBUILD_SOURCE_VERSION", t.SourceVersion)
	e.set("CODEBUILD_SRC_DIR", dir)
	e.set("CODEBUILD_START_TIME", strconv.FormatInt(b.Created.UnixMilli(), 10))
	e.set("HOME", "/root")
	if t.Event != "" {
		e.set("CODEBUILD_WEBHOOK_ACTOR_ACCOUNT_ID", t.Actor.ID)
		e.set("CODEBUILD_WEBHOOK_EVENT", t.Event)
		e.set("CODEBUILD_WEBHOOK_HEAD_REF", t.HeadRef)
		e.set("CODEBUILD_WEBHOOK_PREV_COMMIT", t.Prev)
		e.set("CODEBUILD_WEBHOOK_TRIGGER", webhookTrigger(t))
		if t.BaseRef != "" {
			e.set("CODEBUILD_WEBHOOK_BASE_REF", t.BaseRef)
		}
	}
	if place.Extra != nil {
		for _, v := range place.Extra(b) {
			name, value, _ := strings.Cut(v, "=")
			e.set(name, value)
		}
	}
	return e.list
}

// withheld reports whether a build does without its project's variables: one of another repository's commit, which could
// print them. Nothing tells which of them are secrets.
func withheld(b *store.Build) bool { return b.Trigger.Fork && len(b.Settings.Variables) > 0 }

// webhookTrigger is CODEBUILD_WEBHOOK_TRIGGER: pr/<n>, branch/<name> or tag/<name>.
func webhookTrigger(t *store.Trigger) string {
	if t.PullRequest > 0 {
		return "pr/" + strconv.Itoa(t.PullRequest)
	}
	if tag, ok := strings.CutPrefix(t.HeadRef, "refs/tags/"); ok {
		return "tag/" + tag
	}
	return "branch/" + strings.TrimPrefix(t.HeadRef, "refs/heads/")
}

// An environ is a list of NAME=value in which each name stands once.
type environ struct {
	list []string
	at   map[string]int
}

func (e *environ) set(name, value string) {
	if i, twice := e.at[name]; twice {
		e.list[i] = name + "=" + value
		return
	}
	e.at[name] = len(e.list)
	e.list = append(e.list, name+"="+value)
}
