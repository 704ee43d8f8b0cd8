package buildspec

import (
	"slices"
	"strings"
)

// Codes of problems. They are stable: a code is never given to another rule, and a rule that goes takes its code along.
// docs/lints.md has a section for each.
const (
	// Errors: the build does not start.
	codeYAML     = "BS001"
	codeKind     = "BS002"
	codeValue    = "BS003"
	codeMissing  = "BS004"
	codeConflict = "BS005"
	codeDangling = "BS006"
	codeLimit    = "BS007"
	codeRefused  = "BS008"
	codeCommand  = "BS009"

	// Warnings: the build runs, but something in the file does nothing, or not what it seems to.
	codeUnknown  = "BS101"
	codePhase    = "BS102"
	codeNothing  = "BS103"
	codeList     = "BS104"
	codeReserved = "BS105"
	codeVersion  = "BS106"
	codeNoEffect = "BS107"
	codeIgnore   = "BS108"
	codeTag      = "BS109"

	// Lints: what is valid, runs, and has surprised people.
	codeHidden      = "BS201"
	codeLost        = "BS202"
	codeUnguarded   = "BS203"
	codeBash        = "BS204"
	codeUnpinned    = "BS205"
	codeLiteral     = "BS206"
	codeSecret      = "BS207"
	codeDocker      = "BS208"
	codePrinted     = "BS209"
	codeCachePath   = "BS210"
	codeDirectory   = "BS211"
	codeRetry       = "BS212"
	codePipedShell  = "BS213"
	codePipedStatus = "BS214"
	codeAsks        = "BS215"
	codeExit        = "BS216"
	codeStatus      = "BS217"
	codeSudo        = "BS218"
	codeQuote       = "BS219"
	codeExport      = "BS220"
)

// A Rule is what a code stands for. docs/lints.md has a section for each, with an example of what is wrong and of what is
// right.
type Rule struct {
	Code  string
	Title string
	Why   string // what happens, in a sentence or two
}

// Level is error, warning or lint: an error keeps the build from starting, a warning does not, and a lint is told by
// those who ask for it.
func (r Rule) Level() string {
	switch {
	case isError(r.Code):
		return "error"
	case strings.HasPrefix(r.Code, "BS1"), r.Code == codeDocker: // which was a lint once, and has kept its code
		return "warning"
	}
	return "lint"
}

// Rules are all codes, in their order.
func Rules() []Rule { return slices.Clone(rules) }

var rules = []Rule{
	{codeYAML, "The file is not YAML, or no buildspec",
		"The text cannot be read as YAML, is empty, is a list, or holds a second document. A tab in the indentation and a text that begins with one of YAML's signs are the usual causes."},
	{codeKind, "A map, a list or a text where something else belongs",
		"A key wants a text, a list of texts or a map of keys, and finds another."},
	{codeValue, "A value that the key does not take",
		"The value is none of those that the key knows, or is not of its form: a version, a shell, a yes or no, a name of a variable, a pattern, a reference to a secret."},
	{codeMissing, "Something required is missing",
		"A key has to be there, or has to name something: version, phases, files of artifacts and reports, identifier of a task, parallelism."},
	{codeConflict, "Two things that exclude each other",
		"A key or a name stands twice, or two keys contradict each other. Taking one of them silently would lose the other."},
	{codeDangling, "A task that depends on what cannot be",
		"A task of a build-graph waits for a task that is not there, or tasks wait for one another in a circle, so that none of them ever starts."},
	{codeLimit, "Too much",
		"The file, a list or a batch is larger than what is allowed: 1 MiB, 5 fallback keys, 12 secondary artifacts, 50 report groups, 1000 builds of a batch."},
	{codeRefused, "A key that is refused",
		"The key is known, and cannot be done here. Passing it over would skip work or change what the build means, so that the build does not start."},
	{codeCommand, "A command that YAML takes for a map or a list",
		"A colon and a blank within a plain text make a map of it, a bracket or a brace at its beginning a list or a map, a second dash a list. Quotes inside of the text do not help: the whole of it has to stand between quotes."},

	{codeUnknown, "An unknown key",
		"The key means nothing in its place and is ignored. Most are misspelt, or stand one level too high or too low."},
	{codePhase, "A phase that never runs",
		"Only install, pre_build, build and post_build below phases are run, in this order. What stands under another name, or outside of phases, is ignored."},
	{codeNothing, "A phase without commands",
		"The phase or the list is there, and nothing runs."},
	{codeList, "One thing instead of a list",
		"CodeBuild's documentation asks for a list of commands, and of tasks. A text, or a task, is taken for a list of one here."},
	{codeReserved, "A reserved name",
		"Names that begin with CODEBUILD_ belong to CodeBuild. The entry is ignored, and the variable has the value that every build has."},
	{codeVersion, "A key of the other version",
		"The key belongs to the other version of the format. In 0.2 the keys of 0.1 are ignored; in 0.1 the keys of 0.2 are read, though no documentation says that they are."},
	{codeNoEffect, "A key without effect where it stands",
		"The key is known, and does nothing in this place, without another key, or without anything below it."},
	{codeIgnore, "A comment that silences nothing",
		"A comment buildsmith:ignore names no code, one that is not that of a warning, or one that does not occur on its line any more."},
	{codeTag, "An exclamation mark that YAML keeps",
		"A plain text that begins with an exclamation mark has a tag of YAML there. The command runs without it, which makes a negation its contrary."},

	{codeHidden, "A failure in the middle goes unseen",
		"A command of several lines, or with semicolons, succeeds if its last part does. What fails before goes unseen, and the build passes."},
	{codeLost, "What a command sets ends with it",
		"Each command runs in a shell process of its own. Directory and exported variables go on to the next, but options, functions, aliases and traps do not; in version 0.1 nothing does."},
	{codeUnguarded, "post_build publishes a broken build",
		"post_build runs after a build that failed, too. A command there that pushes or deploys does so with whatever is left, unless it tests CODEBUILD_BUILD_SUCCEEDING, a command before it fails if that is 0, or build has on-failure: ABORT."},
	{codeBash, "Bash in a shell that is not Bash",
		"Commands run in sh unless env.shell says otherwise, and in Debian, Ubuntu and Alpine that is not Bash: [[, arrays, source, pipefail and the like fail there, or mean something else."},
	{codeUnpinned, "An image without a version",
		"An image without a tag, or with latest, is another one after its next release. A build that passed yesterday fails today, and nothing in the repository has changed."},
	{codeLiteral, "A variable that is not expanded",
		"Values of variables are taken as they stand: $OTHER, $(command), backticks and ~ stay what they are. PATH: $PATH:/x leaves no program to be found."},
	{codeSecret, "A secret in plain text",
		"The value looks like a key, a token or a password. Whoever can read the repository can read it, now and in its history, and the log does not hide it."},
	{codeDocker, "The runtime docker",
		"runtime-versions: docker is of images that are no longer there, and does nothing."},
	{codePrinted, "A secret is printed",
		"The log hides a secret where it stands exactly as it is stored. Cut, joined, quoted or encoded it is there for everybody who may read the log."},
	{codeCachePath, "A directory among the paths of the cache",
		"CodeBuild's documentation has patterns of files as paths. A cache in S3 takes nothing for the name of a directory alone; here it means everything below."},
	{codeDirectory, "A directory among files",
		"Patterns match files. The name of a directory matches none, and if no other pattern does either, the upload fails and the build with it."},
	{codeRetry, "RETRY without a count",
		"Without a count the whole build is started again up to three times. If it fails for a reason that stays, it takes four times as long to say so."},
	{codePipedShell, "A download that is run as it comes",
		"If the download breaks off, the shell runs the half that has come, or nothing, and succeeds: the status of a pipeline is that of its last command."},
	{codePipedStatus, "tee hides a failure",
		"The status of a pipeline is that of its last command, and tee succeeds whatever it writes down."},
	{codeAsks, "An installation that asks a question",
		"Package managers ask whether to go on. Nobody answers in a build, and they give up."},
	{codeExit, "exit 0 that ends nothing",
		"exit ends the shell of its own command alone. With 0 the build goes on with the next command, as it would have without."},
	{codeStatus, "$? of another command",
		"Each command runs in a shell process of its own. At its beginning $? is 0, however the command before ended; and had that failed, this one would not run."},
	{codeSudo, "sudo where everything is root",
		"Commands run as root unless run-as says otherwise, and few images have sudo."},
	{codeQuote, "A command that no shell can read",
		"A quote or a bracket is not closed, or if, for and the like have no end. Each item is a command by itself: what begins in one cannot end in the next. A blank and a # within a plain text begin a comment of YAML, which takes the rest of the line, closing quotes included."},
	{codeExport, "An exported variable that is refused",
		"Secrets, and names that begin with AWS_, are never exported."},
}
