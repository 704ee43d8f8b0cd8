package store

import (
	"slices"
	"time"
)

// A Status is how a build, or one of its phases, stands: CodeBuild's words.
type Status string

// The statuses. Failed is the author's failure, Fault is ours.
const (
	InProgress Status = "IN_PROGRESS"
	Succeeded  Status = "SUCCEEDED"
	Failed     Status = "FAILED"
	Fault      Status = "FAULT"
	TimedOut   Status = "TIMED_OUT"
	Stopped    Status = "STOPPED"
)

// Phases of a build, in their order: CodeBuild's words.
const (
	PhaseSubmitted       = "SUBMITTED"
	PhaseQueued          = "QUEUED"
	PhaseProvisioning    = "PROVISIONING"
	PhaseDownloadSource  = "DOWNLOAD_SOURCE"
	PhaseInstall         = "INSTALL"
	PhasePreBuild        = "PRE_BUILD"
	PhaseBuild           = "BUILD"
	PhasePostBuild       = "POST_BUILD"
	PhaseUploadArtifacts = "UPLOAD_ARTIFACTS"
	PhaseFinalizing      = "FINALIZING"
	PhaseCompleted       = "COMPLETED"
)

// CommandPhases are the phases that run an author's commands.
var CommandPhases = []string{PhaseInstall, PhasePreBuild, PhaseBuild, PhasePostBuild}

// A Build is one run of a buildspec: what was asked for, how it stands, and what became of it. JSON of it is what the
// store keeps: fields are added, never renamed.
type Build struct {
	ID         string // a UUID
	Seq        uint64 // rises from build to build, over all projects
	Project    string // the project's name
	ProjectKey string
	Number     int    // within the project, from 1
	Check      string // name of its check run
	Repo       Repo
	Trigger    Trigger
	Settings   Settings

	RerunOf  string `json:",omitempty"` // the build that this one repeats
	RerunBy  string `json:",omitempty"` // the build that repeated this one by itself, after a fault or as on-failure asks
	AskedBy  string `json:",omitempty"` // the person who asked for just this build
	Attempts int    `json:",omitempty"` // how many builds before this one ended in a fault and were repeated by themselves

	Status  Status
	Created time.Time
	Claimed time.Time // zero while it waits in the queue
	Ended   time.Time // zero until it is over

	Phases    []Phase
	Skeleton  []string   `json:",omitempty"` // the phases that have commands, once the buildspec is known
	Problems  []Problem  `json:",omitempty"` // of the buildspec
	Spec      string     `json:",omitempty"` // where the buildspec was found, relative to the source
	Failure   *Failure   `json:",omitempty"`
	Artifacts *Artifacts `json:",omitempty"`

	Secondary   []Artifacts     `json:",omitempty"` // secondary artifacts, in the order of the buildspec
	Reports     []ReportSummary `json:",omitempty"` // in the order of the buildspec
	ReportFiles *Artifacts      `json:",omitempty"` // what they were made from
	Exported    []Variable      `json:",omitempty"` // env.exported-variables with their values
	Planned     *Planned        `json:",omitempty"` // what its job allows, once there is one
	Retries     int             `json:",omitempty"` // how many builds before this one were repeated by on-failure: RETRY
	Notes       []string        `json:",omitempty"` // what people should know of it before they trust it, a sentence each
	Findings    []Finding       `json:",omitempty"` // what compilers and linters said in its log, once it is over
	TookName    bool            `json:",omitempty"` // its repository has a name that another one had, which is there still
	Priority    int             `json:",omitempty"` // builds with a higher one leave the queue first

	Stop    *Stop    `json:",omitempty"` // somebody asked for its end
	Outcome *Outcome `json:",omitempty"` // what the agent told of its end; not the build's until that is over
	Log     Log
	Sandbox Sandbox
}

// Done reports whether the build is over: its status will not change again.
func (b *Build) Done() bool { return !b.Ended.IsZero() }

// Queued reports whether the build waits for a slot.
func (b *Build) Queued() bool { return b.Claimed.IsZero() && !b.Done() }

// CodeBuildID is the build's id in CodeBuild's form.
func (b *Build) CodeBuildID() string { return b.Project + ":" + b.ID }

// Phase is the record of a phase, nil if it has not begun.
func (b *Build) Phase(kind string) *Phase {
	i := slices.IndexFunc(b.Phases, func(p Phase) bool { return p.Type == kind })
	if i < 0 {
		return nil
	}
	return &b.Phases[i]
}

// Enter records that a phase begins. A phase that has begun already stays as it is.
func (b *Build) Enter(kind string, at time.Time) *Phase {
	if p := b.Phase(kind); p != nil {
		return p
	}
	b.Phases = append(b.Phases, Phase{Type: kind, Status: InProgress, Start: at})
	return &b.Phases[len(b.Phases)-1]
}

// Leave records the end of a phase.
func (b *Build) Leave(kind string, at time.Time, status Status, code, message string) {
	p := b.Enter(kind, at)
	p.Status, p.End, p.Code, p.Message = status, at, code, message
}

// Headline is the first phase that did not succeed, nil if all did.
func (b *Build) Headline() *Phase {
	for i := range b.Phases {
		if s := b.Phases[i].Status; s != Succeeded && s != InProgress && s != "" {
			return &b.Phases[i]
		}
	}
	return nil
}

// A Phase is the record of one phase that has begun.
type Phase struct {
	Type     string
	Status   Status
	Start    time.Time
	End      time.Time // zero while it runs
	Code     string    `json:",omitempty"` // of its context, such as COMMAND_EXECUTION_ERROR
	Message  string    `json:",omitempty"`
	Line     int       `json:",omitempty"` // of the log where it begins, from 1
	Commands []Command `json:",omitempty"` // the first MaxCommands
}

// MaxCommands is how many commands of a phase are recorded one by one.
const MaxCommands = 200

// A Command is the record of one command that has begun.
type Command struct {
	Text    string
	Finally bool `json:",omitempty"`
	Start   time.Time
	End     time.Time // zero while it runs
	Exit    int       `json:",omitempty"`
	Line    int       // of the log where it begins, from 1
}

// A Problem is something wrong in a buildspec.
type Problem struct {
	Line, Column int
	Message      string
	Warning      bool `json:",omitempty"`
}

// A Finding is what a compiler or linter said of a line of a file.
type Finding struct {
	Path    string // relative to the source
	Line    int
	Column  int    `json:",omitempty"` // 0 if not known
	Level   string // FindingError, FindingWarning or FindingNotice
	Message string
	Tool    string `json:",omitempty"` // gcc, go vet, eslint, ...
}

// Levels of a finding.
const (
	FindingError   = "error"
	FindingWarning = "warning"
	FindingNotice  = "notice"
)

// A Failure is the first command that failed.
type Failure struct {
	Phase   string
	Command string
	Exit    int
	Tail    []string // the last lines of its output
	Line    int      // of the log where its output begins, from 1
}

// Artifacts are the files a build left, in one archive. It lies in the store, and a manifest beside it.
type Artifacts struct {
	ID      string `json:",omitempty"` // of a secondary artifact
	Name    string // of the archive, without .zip
	Prefix  string `json:",omitempty"` // s3-prefix of the buildspec
	Files   int
	Size    int64 // of the archive, bytes
	Content int64 `json:",omitempty"` // bytes of all files
	SHA256  string
	First   []Artifact // the first few of the manifest
}

// An Artifact is one file among artifacts.
type Artifact struct {
	Name   string
	Size   int64
	SHA256 string
	Mode   uint32 `json:",omitempty"` // permission bits
	Link   string `json:",omitempty"` // target of a symbolic link
}

// Stop says who asked for a build's end and when.
type Stop struct {
	By string
	At time.Time
}

// An Outcome is what an agent told last.
type Outcome struct {
	Result string // the build's status, in the agent's words
	Packed bool   // there are artifacts to take
	Name   string `json:",omitempty"` // of the artifacts

	Archives []PackedArchive `json:",omitempty"` // the archives to take, where Packed and Name say nothing
	Reports  []PackedReport  `json:",omitempty"` // what the files of the archive ReportFiles are
	Cache    *PackedCache    `json:",omitempty"` // a cache to keep
	Retry    bool            `json:",omitempty"` // on-failure asks for a new build
}

// Planned is what a build may leave, as its buildspec and settings have it. An agent that tells of more is not believed.
type Planned struct {
	Retries   int      `json:",omitempty"` // how many builds on-failure: RETRY may add
	Artifacts []string `json:",omitempty"` // identifiers of artifacts, empty for the primary ones
	Reports   int      `json:",omitempty"` // report groups
	Cache     string   `json:",omitempty"` // version of the paths of the cache that may be saved
}

// A PackedArchive is a part of the agent's archive file that is an archive by itself.
type PackedArchive struct {
	ID     string `json:",omitempty"`
	Name   string
	Prefix string `json:",omitempty"`
	Offset int64
	Size   int64
}

// A PackedReport is a report group with the number of its files, which lie below its index in the archive.
type PackedReport struct {
	Group   string
	Format  string
	Problem string `json:",omitempty"` // why files of it are missing
}

// A PackedCache is a cache that the agent packed.
type PackedCache struct {
	Key     string
	Version string // of the paths
	Files   int
	Size    int64 // bytes, before it was packed
}

// Log says how far the log and the events behind it have been read. What the log holds beyond Size is read again after
// a restart.
type Log struct {
	Size   int64 // bytes
	Events int64 // offset in the exchange directory's events
	Next   int64 // number of the next event
}

// Sandbox says where a build runs.
type Sandbox struct {
	ID    string `json:",omitempty"`
	Inode uint64 `json:",omitempty"` // of events in its exchange directory
	Job   bool   `json:",omitempty"` // its agent may have the job: from here on its source tree belongs to the build
}

// A Repo is a repository of a forge.
type Repo struct {
	Forge         string // github, local
	Host          string // github.com
	ID            string // the forge's own, which stays when the name changes
	Name          string // owner/repo
	CloneURL      string
	WebURL        string `json:",omitempty"`
	DefaultBranch string `json:",omitempty"`
	Private       bool   `json:",omitempty"`
	Installation  int64  `json:",omitempty"` // what it is reached by: see Installation
}

// Key names a repository for ever.
func (r Repo) Key() string { return r.Forge + "/" + r.Host + "/" + r.ID }

// An Account is a person, or a program, at a forge.
type Account struct {
	ID    string
	Login string
	Bot   bool `json:",omitempty"`
}

// Names of webhook events, CodeBuild's words for CODEBUILD_WEBHOOK_EVENT.
const (
	EventPush               = "PUSH"
	EventPullRequestCreated = "PULL_REQUEST_CREATED"
	EventPullRequestUpdated = "PULL_REQUEST_UPDATED"
	EventPullRequestReopen  = "PULL_REQUEST_REOPENED"
	EventPullRequestMerged  = "PULL_REQUEST_MERGED"
	EventPullRequestClosed  = "PULL_REQUEST_CLOSED"
	EventReleased           = "RELEASED"
	EventPrereleased        = "PRERELEASED"
)

// A Trigger is why a build exists, and what it builds.
type Trigger struct {
	Event         string // of the forge; empty for a build somebody asked for
	Automatic     bool   // no person asked for just this build
	Commit        string // the full hash that is built
	SourceVersion string // as asked for: a hash, a branch, pr/12
	HeadRef       string `json:",omitempty"` // refs/heads/... or refs/tags/...
	BaseRef       string `json:",omitempty"` // of a pull request
	Prev          string `json:",omitempty"` // the hash before a push, zeros for a new ref
	PullRequest   int    `json:",omitempty"`
	HeadName      string `json:",omitempty"` // of a pull request: see PullRequest.HeadName
	Fork          bool   `json:",omitempty"` // the commit comes from another repository, or from somebody without write access: no secrets, no cache writes
	Title         string `json:",omitempty"` // first line of the commit message or title of the pull request
	Actor         Account
	Initiator     string // for CODEBUILD_INITIATOR
	Delivery      uint64 `json:",omitempty"` // Seq of the delivery that caused it

	At         time.Time // when it happened at the forge, by its clock; zero if it does not tell
	BaseCommit string    `json:",omitempty"` // of a pull request: the hash its base branch had
	MergeGroup bool      `json:",omitempty"` // the commit is a merge queue's: HeadRef is its branch, BaseRef where it is to go
	Approval   *Approval `json:",omitempty"` // who let the commit of a stranger be built
	Late       bool      `json:",omitempty"` // a push that seems to be older than one of its ref that was decided on before: it makes no build worthless
}

// Settings are how a build is run: what its project and the server's configuration say at the time it was made.
type Settings struct {
	Buildspec    string `json:",omitempty"` // path in the source; empty for buildspec.yml
	Required     bool   `json:",omitempty"` // the project was configured: without a buildspec the build fails
	Image        string
	Variables    []Variable    `json:",omitempty"`
	Timeout      time.Duration // of the build, from its claim
	QueueTimeout time.Duration
	Memory       int64   // bytes
	CPUs         float64 // cores
	Processes    int64
	Disk         int64  // bytes of work tree, container layer and artifacts, each
	LogLimit     int64  // bytes
	Network      string // NetworkFull or NetworkNone
	Sudo         bool   `json:",omitempty"` // programs may gain privileges, as sudo does

	Overrides          []Variable `json:",omitempty"` // of whoever started the build; they beat Variables
	NoArtifacts        bool       `json:",omitempty"` // the artifacts block is passed over
	SecondaryArtifacts []string   `json:",omitempty"` // the identifiers that may be used; empty for any
	Cache              string     `json:",omitempty"` // CacheOff, CacheForks, or empty: builds of forks have none

	BaseSpec    bool         `json:",omitempty"` // a pull request's buildspec is read from Trigger.BaseCommit, not from its head
	Findings    bool         `json:",omitempty"` // what compilers and linters say becomes annotations
	Bound       bool         `json:",omitempty"` // the project is configured for the repository by its id, not by its name
	Concurrency int          `json:",omitempty"` // builds of the project that may run at a time; 0 for any number
	Environment *Environment `json:",omitempty"` // where the project's builds deploy to
}

// An Environment is where builds deploy to: one that succeeds for the branch is a deployment at the forge.
type Environment struct {
	Name   string
	Branch string `json:",omitempty"` // without refs/heads/; empty for the default branch
	URL    string `json:",omitempty"` // where people see what was deployed
}

// Who has a cache, beside the project's own commits.
const (
	CacheOff   = "off"   // nobody
	CacheForks = "forks" // other repositories' commits too: they read what the default branch saved
)

// What a build may reach.
const (
	NetworkFull = "full" // everything but the host, its neighbours and the metadata addresses
	NetworkNone = "none"
)

// A Variable is an environment variable of a project or a build.
type Variable struct {
	Name, Value string
	Type        string `json:",omitempty"` // empty for a plain value, or what Value names: ParameterStore, SecretsManager
}

// Types of variables, CodeBuild's words.
const (
	ParameterStore = "PARAMETER_STORE"
	SecretsManager = "SECRETS_MANAGER"
)

// A Notice is what a forge is told about a commit that was not built: it waits for approval, or was skipped.
type Notice struct {
	ID         string // a UUID
	Project    string
	ProjectKey string
	Check      string
	Repo       Repo
	Trigger    Trigger // of the build that there is not
	Settings   Settings
	Conclusion string // ActionRequired or Skipped
	Title      string
	Reason     string   // a few sentences
	Notes      []string `json:",omitempty"` // those of its build, if there comes to be one
	Created    time.Time
	Held       bool `json:",omitempty"` // the commit is a stranger's: it is not built before it is approved
	Retired    bool `json:",omitempty"` // no project has the check any more: it cannot be run
}

// Conclusions of a notice, GitHub's words.
const (
	ActionRequired = "action_required"
	SkippedNotice  = "skipped"
)
