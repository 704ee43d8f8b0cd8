package web

import (
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// A Build is a build in the API. Fields are added, never renamed.
type Build struct {
	ID          string     `json:"id"`
	CodeBuildID string     `json:"codeBuildId"` // project:id
	Seq         uint64     `json:"seq"`         // rises from build to build, over all projects
	Project     string     `json:"project"`
	Number      int        `json:"number"`          // within the project, from 1
	URL         string     `json:"url"`             // of its page, with the key that opens it
	Status      string     `json:"status"`          // IN_PROGRESS, SUCCEEDED, FAILED, FAULT, TIMED_OUT or STOPPED
	Phase       string     `json:"phase,omitempty"` // under way, or the first that did not succeed
	Queued      bool       `json:"queued,omitempty"`
	Stopping    bool       `json:"stopping,omitempty"`
	Done        bool       `json:"done"`
	Repository  string     `json:"repository"` // owner/repo
	Forge       string     `json:"forge"`
	Source      Source     `json:"source"`
	RerunOf     string     `json:"rerunOf,omitempty"` // id of the build that it repeats
	RerunBy     string     `json:"rerunBy,omitempty"` // id of the build that repeats it by itself
	Created     time.Time  `json:"created"`
	Started     time.Time  `json:"started,omitzero"`
	Ended       time.Time  `json:"ended,omitzero"`
	Phases      []Phase    `json:"phases,omitempty"` // not in lists
	Failure     *Failure   `json:"failure,omitempty"`
	Problems    []Problem  `json:"problems,omitempty"` // of the buildspec
	Artifacts   *Artifacts `json:"artifacts,omitempty"`
	LogBytes    int64      `json:"logBytes"`

	Secondary []Artifacts        `json:"secondaryArtifacts,omitempty"`
	Reports   []Report           `json:"reports,omitempty"`                      // not in lists
	Exported  []ExportedVariable `json:"exportedEnvironmentVariables,omitempty"` // not in lists

	WaitsFor string `json:"waitsFor,omitempty"` // of a build in the queue; not in lists but the queue's
}

// A Source is what is built, and why.
type Source struct {
	Commit      string `json:"commit"`
	Version     string `json:"version"` // as asked for: a hash, a branch, pr/12
	Ref         string `json:"ref,omitempty"`
	PullRequest int    `json:"pullRequest,omitempty"`
	Fork        bool   `json:"fork,omitempty"`
	Event       string `json:"event,omitempty"`
	Title       string `json:"title,omitempty"`
	Actor       string `json:"actor,omitempty"`
	AskedBy     string `json:"askedBy,omitempty"`
}

// A Phase is one phase of a build.
type Phase struct {
	Type     string    `json:"type"`
	Status   string    `json:"status,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Code     string    `json:"code,omitempty"`
	Message  string    `json:"message,omitempty"`
	Line     int       `json:"line,omitempty"` // of the log
	Commands []Command `json:"commands,omitempty"`
}

// A Command is one command of a phase.
type Command struct {
	Text    string    `json:"text"`
	Finally bool      `json:"finally,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Exit    int       `json:"exit"`
	Line    int       `json:"line,omitempty"` // of the log
}

// A Failure is the first command that failed.
type Failure struct {
	Phase   string   `json:"phase"`
	Command string   `json:"command"`
	Exit    int      `json:"exit"`
	Line    int      `json:"line"` // of the log, where its output begins
	Tail    []string `json:"tail"` // the last lines of its output
}

// A Problem is something wrong in a buildspec.
type Problem struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

// Artifacts are the files that a build left, as one archive.
type Artifacts struct {
	Name   string `json:"name"` // of the archive, without .zip
	Files  int    `json:"files"`
	Size   int64  `json:"size"` // of the archive
	SHA256 string `json:"sha256"`
	URL    string `json:"url"` // to download the archive

	ID     string `json:"artifactIdentifier,omitempty"` // of secondary artifacts
	Prefix string `json:"s3Prefix,omitempty"`           // as the buildspec has it
}

func artifactsOf(a *store.Artifacts, page string) Artifacts {
	return Artifacts{Name: a.Name, Files: a.Files, Size: a.Size, SHA256: a.SHA256, URL: checks.Below(page, artifactsPath(a.ID)+"artifacts.zip"),
		ID: a.ID, Prefix: a.Prefix}
}

// An Artifact is one of those files.
type Artifact struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"`
	Mode   uint32 `json:"mode,omitempty"` // permission bits
	Link   string `json:"link,omitempty"` // target of a symbolic link
	URL    string `json:"url,omitempty"`  // to download it
}

// A BuildList is builds, newest first.
type BuildList struct {
	Builds []Build `json:"builds"`
	Next   uint64  `json:"next,omitempty"` // the before of the list that follows; missing if there is none
}

// A Project is a project.
type Project struct {
	Name          string `json:"name"`
	Repository    string `json:"repository"`
	Forge         string `json:"forge"`
	Private       bool   `json:"private,omitempty"`
	DefaultBranch string `json:"defaultBranch,omitempty"`
	Builds        int    `json:"builds"` // how many there were
	Badge         string `json:"badge"`  // address of the picture that tells how the default branch stands
}

// A Delivery is what a forge sent, or somebody asked for, and what became of it.
type Delivery struct {
	Seq        uint64    `json:"seq"`
	Forge      string    `json:"forge"`
	ID         string    `json:"id"` // the forge's, which it lists the delivery by
	Event      string    `json:"event"`
	Repository string    `json:"repository,omitempty"`
	Summary    string    `json:"summary,omitempty"`
	Received   time.Time `json:"received"`
	Handled    time.Time `json:"handled,omitzero"` // missing while nobody has decided
	Reason     string    `json:"reason,omitempty"` // why there is no build, or what was done besides
	Builds     []string  `json:"builds,omitempty"` // ids
	Tries      int       `json:"tries,omitempty"`
	Problem    string    `json:"problem,omitempty"` // why the last try failed
	NextTry    time.Time `json:"nextTry,omitzero"`
}

// A DeliveryList is deliveries, newest first.
type DeliveryList struct {
	Deliveries []Delivery `json:"deliveries"`
	Next       uint64     `json:"next,omitempty"` // the before of the list that follows; missing if there is none
}

// A Queue is the builds that wait, in the order in which they leave it, and those that run.
type Queue struct {
	Obstacle string  `json:"obstacle,omitempty"` // why no build can begin
	Waiting  int     `json:"waiting"`            // how many wait; Queued has the first 200
	Queued   []Build `json:"queued"`
	Running  []Build `json:"running"`
}

// A StartRequest asks for a build.
type StartRequest struct {
	Project string `json:"project"`           // its name
	Version string `json:"version,omitempty"` // a branch, a tag, a commit, pr/12; empty for the default branch

	Variables []Variable `json:"environmentVariablesOverride,omitempty"` // they beat the project's
	Buildspec string     `json:"buildspecOverride,omitempty"`            // a path in the source, or the text of one
}

// A Variable is an environment variable, as CodeBuild's API has it.
// https://docs.aws.amazon.com/codebuild/latest/APIReference/API_EnvironmentVariable.html
type Variable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Type  string `json:"type,omitempty"` // PLAINTEXT if empty, PARAMETER_STORE or SECRETS_MANAGER: then the value names it
}

// Started is what became of asking for a build.
type Started struct {
	Builds   []string `json:"builds"`   // ids
	Delivery uint64   `json:"delivery"` // the request, as the list of deliveries has it
}

// An apiError is every answer that is no success.
type apiError struct {
	Error string `json:"error"`
}

// buildOf gives a build as the API does. Details are what lists leave out.
func buildOf(b *store.Build, url string, details bool) Build {
	v := Build{
		ID: b.ID, CodeBuildID: b.CodeBuildID(), Seq: b.Seq, Project: b.Project, Number: b.Number, URL: url, Status: string(b.Status),
		Queued: b.Queued(), Stopping: b.Stop != nil && !b.Done(), Done: b.Done(), Repository: b.Repo.Name, Forge: b.Repo.Forge,
		Source: Source{Commit: b.Trigger.Commit, Version: b.Trigger.SourceVersion, Ref: b.Trigger.HeadRef, PullRequest: b.Trigger.PullRequest,
			Fork: b.Trigger.Fork, Event: b.Trigger.Event, Title: b.Trigger.Title, Actor: b.Trigger.Actor.Login, AskedBy: b.AskedBy},
		RerunOf: b.RerunOf, RerunBy: b.RerunBy, Created: b.Created, Started: b.Claimed, Ended: b.Ended, LogBytes: b.Log.Size,
	}
	if p := current(b); p != nil {
		v.Phase = p.Type
	}
	if b.Artifacts != nil {
		a := artifactsOf(b.Artifacts, url)
		v.Artifacts = &a
	}
	for i := range b.Secondary {
		v.Secondary = append(v.Secondary, artifactsOf(&b.Secondary[i], url))
	}
	if !details {
		return v
	}
	for _, p := range b.Phases {
		phase := Phase{p.Type, string(p.Status), p.Start, p.End, p.Code, p.Message, p.Line, nil}
		for _, c := range p.Commands {
			phase.Commands = append(phase.Commands, Command{c.Text, c.Finally, c.Start, c.End, c.Exit, c.Line})
		}
		v.Phases = append(v.Phases, phase)
	}
	if f := b.Failure; f != nil {
		v.Failure = &Failure{f.Phase, f.Command, f.Exit, f.Line, append([]string{}, f.Tail...)}
	}
	for _, p := range b.Problems {
		v.Problems = append(v.Problems, Problem{p.Line, p.Column, p.Message, p.Warning})
	}
	for i := range b.Reports {
		v.Reports = append(v.Reports, reportOf(&b.Reports[i], i, url))
	}
	for _, e := range b.Exported {
		v.Exported = append(v.Exported, ExportedVariable{e.Name, e.Value})
	}
	return v
}

func apiDelivery(d store.Delivery) Delivery {
	return Delivery{Seq: d.Seq, Forge: d.Forge, ID: d.ID, Event: d.Event, Repository: d.Repo, Summary: d.Summary, Received: d.Received,
		Handled: d.Handled, Reason: d.Reason, Builds: d.Builds, Tries: d.Tries, Problem: d.Problem, NextTry: d.Next}
}
