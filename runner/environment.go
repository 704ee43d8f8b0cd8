package runner

import (
	"slices"
	"strconv"
	"strings"

	"buildsmith/runner/buildspec"
	"buildsmith/store"

	"github.com/google/uuid"
)

// A variable is one that the build's commands find set, and where it was asked for.
type variable struct {
	store.Variable
	at string // in the buildspec or the settings, for messages
}

// variables are those that a build was given, each name once: a start's beat the project's, which beat the buildspec's. A
// build of another repository's commit has no secrets, and nothing of the project's: nothing tells which of its values are
// secret, and its commands could print them.
func variables(spec *buildspec.Spec, b *store.Build) []variable {
	var list []variable
	at := map[string]int{}
	add := func(where string, v store.Variable) {
		if b.Trigger.Fork && v.Type != "" {
			return
		}
		if i, twice := at[v.Name]; twice {
			list[i] = variable{v, where + v.Name}
			return
		}
		at[v.Name] = len(list)
		list = append(list, variable{v, where + v.Name})
	}
	for _, v := range spec.Env.Variables {
		add("env.variables.", store.Variable{Name: v.Name, Value: v.Value})
	}
	for _, v := range spec.Env.ParameterStore {
		add("env.parameter-store.", store.Variable{Name: v.Name, Value: v.Value, Type: store.ParameterStore})
	}
	for _, v := range spec.Env.SecretsManager {
		add("env.secrets-manager.", store.Variable{Name: v.Name, Value: v.Value, Type: store.SecretsManager})
	}
	if !withheld(b) {
		for _, v := range b.Settings.Variables {
			add("the project's variable ", v)
		}
	}
	for _, v := range b.Settings.Overrides {
		add("the start's variable ", v)
	}
	return list
}

// withheld reports whether a build does without its project's variables: one of another repository's commit.
func withheld(b *store.Build) bool { return b.Trigger.Fork && len(b.Settings.Variables) > 0 }

// credentials are names of variables that AWS gives to builds, whose values are masked wherever they come from.
var credentials = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}

// masked are the values that nobody is to see.
func masked(variables []variable, values map[string]string) []string {
	var secrets []string
	for _, v := range variables {
		switch {
		case v.Type != "":
			secrets = append(secrets, values[v.Name])
		case slices.Contains(credentials, v.Name):
			secrets = append(secrets, v.Value)
		}
	}
	return secrets
}

// environment is what a build's commands find set, beside what the image sets. Later entries beat earlier ones; what CodeBuild
// sets nobody can change.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-env-ref-env-vars.html
func environment(variables []variable, b *store.Build, place Place, dir string, values map[string]string) []string {
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
	for _, v := range variables {
		if v.Type == "" {
			e.set(v.Name, v.Value)
		} else {
			e.set(v.Name, values[v.Name])
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
	e.set("CODEBUILD_CONTAINER_NAME", "default")
	e.set("CODEBUILD_INITIATOR", t.Initiator)
	e.set("CODEBUILD_KMS_KEY_ID", "arn:aws:kms:"+region+":"+account+":alias/aws/s3")
	e.set("CODEBUILD_LOG_PATH", b.ID)
	e.set("CODEBUILD_PROJECT_ARN", arn+"project/"+b.Project)
	e.set("CODEBUILD_PROJECT_UUID", uuid.NewSHA1(uuid.NameSpaceURL, []byte(b.ProjectKey)).String())
	if place.Public != nil {
		if url := place.Public(b); url != "" {
			e.set("CODEBUILD_PUBLIC_BUILD_URL", url)
		}
	}
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
		if t.Event != store.EventReleased && t.Event != store.EventPrereleased { // nothing was there before
			e.set("CODEBUILD_WEBHOOK_PREV_COMMIT", t.Prev)
		}
		e.set("CODEBUILD_WEBHOOK_TRIGGER", webhookTrigger(t))
		if t.BaseRef != "" && t.PullRequest > 0 { // a merge queue's commit is a push
			e.set("CODEBUILD_WEBHOOK_BASE_REF", t.BaseRef)
		}
	}
	for _, v := range place.Extra {
		e.set(v.Name, v.Value)
	}
	return e.list
}

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
