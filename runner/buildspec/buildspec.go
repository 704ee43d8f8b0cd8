// Package buildspec is the meaning of buildspec.yml, the file format of AWS CodeBuild.
//
// Parse reads a file and gives its Spec, or every problem in it at once, each with line, column and the code of its rule.
// ParseBatch does so for a batch build.
// Lint looks in a valid file for what has surprised people, and Schema is the format as a
// JSON Schema. All keys stand in one table (keys.go), all rules in another (codes.go). The source of both is the build
// specification reference, https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html. Where it is silent,
// this package chooses:
//
//   - Text is the source text of a scalar, never its resolved number or boolean: 1.20 stays 1.20, yes stays yes.
//     A null where text is wanted is the empty text. A text with a NUL byte is an error.
//   - Yes and no are also true, false, on, off, in any case, between quotes or not.
//   - A key that stands twice is an error, since the last one winning silently loses whole phases.
//   - Unknown keys are ignored with a warning that names the nearest known key; steps is an error, because ignoring
//     it would skip work.
//   - A list of texts may be one text, with a warning for commands alone. A null item or a blank command is nothing.
//   - A name of env that begins with CODEBUILD_ is ignored with a warning. One name in two maps of env is an error.
//   - Keys newer than version 0.1 mean the same in a file of that version, with a warning.
//   - A plain text behind an exclamation mark loses it, as YAML has it, with a warning.
//   - A reference to a secret is checked for its form. Whether the secret is there is not a matter of this package.
//   - A file has at most 50 report groups, not AWS's 5 of a project, and 12 secondary artifacts as in AWS. A batch has at
//     most 1000 builds.
//   - An empty block env, proxy, reports, artifacts or cache is none, with a warning.
//   - A plain build ignores the block batch, errors and all, which then are warnings.
//   - A file needs phases unless all tasks of its batch name other buildspecs.
//   - Comments of the form "# buildsmith:ignore BS101" silence warnings, never errors.
package buildspec

import "fmt"

// Names of the phases that hold commands, in the order in which they run.
const (
	Install   = "INSTALL"
	PreBuild  = "PRE_BUILD"
	Build     = "BUILD"
	PostBuild = "POST_BUILD"
)

// A Spec is a valid buildspec.
type Spec struct {
	Version   string // 0.1 or 0.2
	RunAs     string // user of all phases that name none, empty for root
	Env       Env
	Proxy     bool    // the block proxy asks for something: one of the next two
	Phases    []Phase // Install, PreBuild, Build, PostBuild, always all four and in this order
	Reports   []ReportGroup
	Artifacts *Artifacts // nil without the block
	Cache     *Cache     // nil without the block
	Batch     *Batch     // nil without the block, and in Parse if the block has errors; a plain build ignores it

	ProxyArtifacts bool // proxy.upload-artifacts
	ProxyLogs      bool // proxy.logs

	NoPhases bool // has no phases block: fit for a batch only, whose tasks all name other files
}

// Env is the block env.
type Env struct {
	Shell               string     // empty (the image's sh), or sh, /bin/sh, bash, /bin/bash
	Variables           []Variable // in the order of the file
	ParameterStore      []Variable // Value is the parameter's name
	SecretsManager      []Variable // Value is the reference
	Exported            []string   // names to publish with the result
	GitCredentialHelper bool
}

// A Variable is a name and what stands behind it, which is never expanded.
type Variable struct {
	Name  string
	Value string
	Line  int
}

// A Phase is one of the four phases that hold commands. An absent phase is empty.
type Phase struct {
	Name      string
	RunAs     string // empty: the Spec's
	OnFailure OnFailure
	Commands  []Command
	Finally   []Command
	Runtimes  []Variable // of install: runtime-versions, in the order of the file
}

// A Command is one item of commands or finally, run in a shell process of its own.
type Command struct {
	Text string
	Line int
}

// What happens when a phase fails.
const (
	Abort    = "ABORT"    // end the build
	Continue = "CONTINUE" // go on with the next phase; the build fails all the same
	Retry    = "RETRY"    // a new build, if the message matches
)

// OnFailure is the key on-failure. The zero value is its absence: CodeBuild's default transitions.
type OnFailure struct {
	Action  string // empty, Abort, Continue or Retry
	Count   int    // of Retry: how many new builds at most, 0 to 100
	Pattern string // of Retry: a regular expression that the error must match
}

// Artifacts says which files leave the build.
type Artifacts struct {
	ID             string   // of a secondary artifact, else empty
	Files          []string // patterns, as package glob reads them
	Name           string   // expanded by the build's shell; empty: the project's name
	DiscardPaths   bool
	BaseDirectory  string // a directory or a pattern; empty: the source directory
	ExcludePaths   []string
	EnableSymlinks bool
	S3Prefix       string
	Secondary      []Artifacts
	Line           int
}

// A ReportGroup is an entry of reports.
type ReportGroup struct {
	Name          string // or an ARN, or a variable
	Files         []string
	Format        string // upper case
	BaseDirectory string
	DiscardPaths  bool
	Line          int
}

// Cache is the block cache.
type Cache struct {
	Paths        []string
	Key          string
	FallbackKeys []string
	Action       string // empty (both), restore or save
	Line         int
}

// A Problem is something wrong in a buildspec: an error, which keeps the build from starting, or a warning.
type Problem struct {
	Line    int // from 1
	Column  int // from 1
	Path    string
	Message string // begins with Path, ends with what to write instead where that is known
	Warning bool
	Code    string // of a Rule; see docs/lints.md
}

// String is line:column: message, with the word warning where it is one.
func (p Problem) String() string {
	if p.Warning {
		return fmt.Sprintf("%d:%d: warning: %s", p.Line, p.Column, p.Message)
	}
	return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Message)
}

// Errors is how many of the problems are errors.
func Errors(problems []Problem) int {
	n := 0
	for _, p := range problems {
		if !p.Warning {
			n++
		}
	}
	return n
}
