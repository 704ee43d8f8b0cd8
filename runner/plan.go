package runner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/runner/cache"
	"buildsmith/store"
)

// A Place is what builds are told of where they run.
type Place struct {
	Region  string                    // of CODEBUILD_BUILD_ARN and AWS_REGION; "local" if empty
	Account string                    // of the same; zeros if empty
	URL     func(*store.Build) string // the build's page
	Public  func(*store.Build) string // the page that everybody may see; nil or empty if there is none
	Proxy   []store.Variable          // variables that every build begins with
	Extra   []store.Variable          // variables that beat all others
}

// plan turns a buildspec into the job of a build. It also gives the lines for the log that come before the job's, and the
// phases that have commands. It is a function of its arguments; values are those of the secret variables, by name.
func plan(spec *buildspec.Spec, b *store.Build, place Place, specName string, values map[string]string) (job agent.Job, lines, skeleton []string) {
	dir := agent.SourceDir + "/" + sourcePath(b.Repo)
	variables := variables(spec, b)
	job = agent.Job{
		Build:    b.ID,
		Dir:      dir,
		Shell:    spec.Env.Shell,
		Env:      environment(variables, b, place, dir, values),
		Secrets:  masked(variables, values),
		Fresh:    spec.Version == "0.1",
		Deadline: b.Claimed.Add(b.Settings.Timeout),
		LogLimit: b.Settings.LogLimit,
	}
	if b.Settings.Timeout <= 0 {
		job.Deadline = time.Time{}
	}
	lines = append(lines, "CODEBUILD_SRC_DIR="+dir, "YAML location is "+specName, "Processing environment variables")
	if withheld(b) {
		lines = append(lines, "Warning: the project's variables are not set: the commit comes from another repository")
	}
	if secrets := spec.Env.ParameterStore; b.Trigger.Fork && len(secrets)+len(spec.Env.SecretsManager) > 0 {
		lines = append(lines, "Warning: the secrets of env.parameter-store and env.secrets-manager are not set: the commit comes from another repository")
	}
	if len(spec.Phases[0].Runtimes) == 0 {
		lines = append(lines, "No runtime version selected in buildspec.")
	} else {
		lines = append(lines, "Skipping install of runtimes. Runtime version selection is not supported by this build image.")
	}
	lines = append(lines, "Moving to directory "+dir)
	if spec.Proxy {
		lines = append(lines, "proxy is passed over: artifacts and logs do not leave this machine through a proxy")
	}
	phases, skeleton, counts := planPhases(spec, b)
	job.Phases = phases
	exported, refused := planExports(spec.Env.Exported, variables)
	job.Exported = exported
	lines = append(lines, refused...)
	if job.Uploads = planUploads(spec, b); spec.Artifacts != nil && b.Settings.NoArtifacts {
		lines = append(lines, "The artifacts block is passed over: the project keeps no artifacts")
	}
	for _, r := range spec.Reports {
		job.Reports = append(job.Reports, agent.Reports{Group: r.Name, Format: r.Format, Files: r.Files, BaseDirectory: r.BaseDirectory})
	}
	job.Cache, refused = planCache(spec, b)
	lines = append(lines, refused...)
	lines = append(lines, "Registering with agent", fmt.Sprintf("Phases found in YAML: %d", len(counts)))
	return job, append(lines, counts...), skeleton
}

// planPhases gives the phases of a job, those of them that have commands, and the lines that count them.
func planPhases(spec *buildspec.Spec, b *store.Build) (phases []agent.Phase, skeleton, counts []string) {
	for _, p := range spec.Phases {
		phase := agent.Phase{Name: p.Name, RunAs: p.RunAs, OnFailure: p.OnFailure.Action}
		if phase.RunAs == "" {
			phase.RunAs = spec.RunAs
		}
		if phase.OnFailure == buildspec.Retry {
			if phase.Retry = p.OnFailure.Pattern; b.Retries >= p.OnFailure.Count {
				phase.OnFailure, phase.Retry = "", "" // none is left: as if the key were not there
			}
		}
		for _, c := range p.Commands {
			phase.Commands = append(phase.Commands, c.Text)
		}
		for _, c := range p.Finally {
			phase.Finally = append(phase.Finally, c.Text)
		}
		n := len(p.Commands) + len(p.Finally)
		if n > 0 {
			skeleton = append(skeleton, p.Name)
		}
		if n > 0 || len(p.Runtimes) > 0 {
			counts = append(counts, fmt.Sprintf(" %s: %d commands", p.Name, n))
		}
		phases = append(phases, phase)
	}
	return phases, skeleton, counts
}

// allowed is what the build of a job may leave.
func allowed(spec *buildspec.Spec, job *agent.Job) *store.Planned {
	p := &store.Planned{Retries: retryLimit(spec), Reports: len(job.Reports)}
	for _, u := range job.Uploads {
		if !u.Unknown {
			p.Artifacts = append(p.Artifacts, u.ID)
		}
	}
	if job.Cache != nil && job.Cache.Save {
		p.Cache = cache.Version(job.Cache.Paths)
	}
	return p
}

// retryLimit is how often on-failure can have a build repeated.
func retryLimit(spec *buildspec.Spec) int {
	most := 0
	for _, p := range spec.Phases {
		if p.OnFailure.Action == buildspec.Retry {
			most = max(most, p.OnFailure.Count)
		}
	}
	return most
}

// planExports gives the variables to publish with the result, and warnings of those that cannot be: secrets, and AWS's own.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html#build-spec.env.exported-variables
func planExports(names []string, variables []variable) (exported, lines []string) {
	for _, name := range names {
		secret := slices.ContainsFunc(variables, func(v variable) bool { return v.Name == name && v.Type != "" })
		switch {
		case strings.HasPrefix(name, "AWS_"):
			lines = append(lines, "Warning: env.exported-variables: "+name+" is not exported: names that begin with AWS_ never are")
		case secret:
			lines = append(lines, "Warning: env.exported-variables: "+name+" is not exported: it is a secret")
		case !slices.Contains(exported, name):
			exported = append(exported, name)
		}
	}
	return exported, lines
}

// planUploads gives the artifacts blocks of a job, the primary one first.
func planUploads(spec *buildspec.Spec, b *store.Build) (uploads []agent.Artifacts) {
	a := spec.Artifacts
	if a == nil || b.Settings.NoArtifacts {
		return nil
	}
	for _, a := range append([]buildspec.Artifacts{*a}, a.Secondary...) {
		uploads = append(uploads, agent.Artifacts{
			ID: a.ID, Files: a.Files, Exclude: a.ExcludePaths, Name: a.Name, Prefix: a.S3Prefix, BaseDirectory: a.BaseDirectory,
			DiscardPaths: a.DiscardPaths, EnableSymlinks: a.EnableSymlinks, Limit: b.Settings.Disk,
			Unknown: a.ID != "" && len(b.Settings.SecondaryArtifacts) > 0 && !slices.Contains(b.Settings.SecondaryArtifacts, a.ID),
		})
	}
	return uploads
}

// planCache gives the cache of a job. A fork's build never saves one.
func planCache(spec *buildspec.Spec, b *store.Build) (*agent.Cache, []string) {
	c := spec.Cache
	switch {
	case c == nil:
		return nil, []string{"Cache is not defined in the buildspec"}
	case len(c.Paths) == 0:
		return nil, []string{"Unable to initialize cache download: no paths specified to be cached"}
	case b.Settings.Cache == store.CacheOff:
		return nil, []string{"The cache block is passed over: the project keeps no cache"}
	case b.Trigger.Fork && b.Settings.Cache != store.CacheForks:
		return nil, []string{"The cache block is passed over: the commit comes from another repository"}
	}
	return &agent.Cache{
		Paths: c.Paths, Key: c.Key, Fallback: c.FallbackKeys, Limit: b.Settings.Disk,
		Restore: c.Action != "save", Save: c.Action != "restore" && !b.Trigger.Fork,
	}, nil
}

// unsupported says what the buildspec asks for without which its commands cannot do their work; empty if nothing.
func unsupported(spec *buildspec.Spec) string {
	if spec.NoPhases {
		return "phases: missing; this file carries a batch only, and this is a plain build"
	}
	return ""
}
