package buildspec

import (
	"slices"
	"strings"
)

// A kind is the shape of a value.
type kind int

const (
	aText     kind = iota // a scalar, by its source text
	aFlag                 // yes or no
	aNumber               // digits
	aTexts                // a list of texts; one text stands for a list of one
	aCommands             // a list of commands
	aNames                // a map from names of variables to texts
	aChoices              // a map from names of variables to lists of texts
	aVersions             // a map from names of runtimes to texts
	aBlock                // a map with the keys below the path
	aBlocks               // a map from any name to such a map, its keys below the path and .*
	aTasks                // a list of such maps, their keys below the path and []
	refused               // an error where it stands; about says why
	ignored               // a warning where it stands; about says why
)

// A key is a row of the table of all keys: what a buildspec may say, what it means, and what an editor tells of it.
type key struct {
	path     string // .* stands for any name, [] for any item of a list
	kind     kind
	required bool
	values   []string // the only values of a text, of a list's items or of a map's values
	fold     bool     // values may be written in any case
	fallback string   // what its absence means
	pattern  string   // a regular expression of ECMA-262 and of package regexp that texts, items or a map's values match
	min, max int      // of a number, or of the entries of a list or map; 0 for none
	since    string   // 0.2 if version 0.1 does not have it, 0.1 if 0.2 has it no more
	about    string
}

// The patterns of the table. The parser checks the same by code, since a message can say more than that a pattern does
// not match.
const (
	namePattern       = `^[A-Za-z_][A-Za-z0-9_]*$`
	identifierPattern = `^[A-Za-z0-9_.-]{1,128}$`
	userPattern       = `^[^\s:/-][^\s:/]*$`
	runtimePattern    = `^([A-Za-z0-9][A-Za-z0-9._+-]*|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})$`
	referencePattern  = `^(arn:([^:]*:){5}[^:]+|[^:]+)(:[^:]*(:[^:]*:?|::[^:]*)?)?$`
	retryPattern      = `^([Aa][Bb][Oo][Rr][Tt]|[Cc][Oo][Nn][Tt][Ii][Nn][Uu][Ee]|` +
		`[Rr][Ee][Tt][Rr][Yy](-(0*([0-9]{1,2}|100)(-.*)?|[0-9]*[^0-9-].*|-.*|[0-9]+-|))?)?$`
)

// Limits of a file. AWS has five report groups a project, and reports of a pipeline's parts are more than that.
const (
	maxFallbackKeys = 5
	maxSecondary    = 12
	maxReportGroups = 50
)

var (
	shells = []string{"sh", "/bin/sh", "bash", "/bin/bash"}

	// reportFormats are the formats of test and coverage reports. LCOV is an extension: AWS's coverage page names it,
	// its list of values does not.
	reportFormats = []string{"JUNITXML", "CUCUMBERJSON", "NUNITXML", "NUNIT3XML", "TESTNGXML", "VISUALSTUDIOTRX",
		"CLOVERXML", "COBERTURAXML", "JACOCOXML", "SIMPLECOV", "LCOV", "LCOVINFO"}
)

// phaseNames maps the names of a file to those of a build, in the order in which phases run.
var phaseNames = []struct{ key, phase string }{
	{"install", Install}, {"pre_build", PreBuild}, {"build", Build}, {"post_build", PostBuild},
}

func isPhase(key string) bool {
	return slices.ContainsFunc(phaseNames, func(n struct{ key, phase string }) bool { return n.key == key })
}

// keys is the table. The parser's known keys, the JSON Schema and its descriptions are made from it. Keys stand in the
// order in which they are listed and printed.
var keys = slices.Concat(
	[]key{
		{path: "version", kind: aText, required: true, values: []string{"0.2", "0.1"},
			about: "The version of the format. In 0.2 directory and variables carry over from command to command; in 0.1 each command begins in a new shell."},
		{path: "run-as", kind: aText, fallback: "root", pattern: userPattern, since: "0.2",
			about: "The Linux user who runs the commands of all phases that name no other."},
		{path: "env", kind: aBlock, since: "0.2", about: "Variables, secrets and the shell of all commands."},
		{path: "env.shell", kind: aText, values: shells, fallback: "sh", about: "The shell that runs the commands."},
		{path: "env.variables", kind: aNames,
			about: "Variables in plain text, as they stand: $OTHER, ~ and backticks are not expanded. No place for secrets."},
		{path: "env.parameter-store", kind: aNames, pattern: `^[\s\S]*\S[\s\S]*$`,
			about: "Variables whose values are parameters: NAME: name-of-the-parameter. Hidden in the log."},
		{path: "env.secrets-manager", kind: aNames, pattern: referencePattern,
			about: "Variables whose values are secrets: NAME: secret-id[:json-key[:version-stage[:version-id]]]. Version-stage and version-id exclude each other. Hidden in the log."},
		{path: "env.exported-variables", kind: aTexts, pattern: namePattern,
			about: "Names of variables that are published with the result of the build, with the values they have when post_build ends. Not secrets, and not names that begin with AWS_."},
		{path: "env.git-credential-helper", kind: aFlag, fallback: "no", about: "Whether the build's git has the credentials of the source."},
		{path: "proxy", kind: aBlock, since: "0.2", about: "What goes through the proxy that the project's variables name."},
		{path: "proxy.upload-artifacts", kind: aFlag, fallback: "no", about: "Artifacts go through the proxy."},
		{path: "proxy.logs", kind: aFlag, fallback: "no", about: "Logs go through the proxy."},

		{path: "batch", kind: aBlock, since: "0.2",
			about: "Several builds of this file: exactly one of build-list, build-graph, build-matrix and build-fanout. A plain build ignores it."},
		{path: "batch.fast-fail", kind: aFlag, fallback: "no", about: "Whether a task that fails stops those that run, and keeps others from starting."},
		{path: "batch.build-list", kind: aTasks, min: 1, max: MaxTasks, about: "Tasks that all run at the same time."},
		{path: "batch.build-graph", kind: aTasks, min: 1, max: MaxTasks, about: "Tasks that wait for those that they depend on."},
		{path: "batch.build-matrix", kind: aBlock, about: "One build for each combination of the values under dynamic."},
		{path: "batch.build-matrix.static", kind: aBlock, about: "What all builds of the matrix have in common."},
		{path: "batch.build-matrix.static.ignore-failure", kind: aFlag, fallback: "no", about: "Whether builds may fail without the batch failing."},
		{path: "batch.build-matrix.static.env", kind: aBlock, about: "The environment of all builds of the matrix."},
		{path: "batch.build-matrix.static.env.type", kind: aText, about: "The environment type, such as LINUX_CONTAINER."},
		{path: "batch.build-matrix.static.env.privileged-mode", kind: aFlag, fallback: "no", about: "Whether a Docker daemon can run in the build."},
		{path: "batch.build-matrix.dynamic", kind: aBlock, required: true, about: "The lists whose combinations are the builds."},
		{path: "batch.build-matrix.dynamic.buildspec", kind: aTexts, min: 1, about: "Paths of buildspecs."},
		{path: "batch.build-matrix.dynamic.env", kind: aBlock, about: "Lists of environments and of values of variables."},
		{path: "batch.build-matrix.dynamic.env.compute-type", kind: aTexts, min: 1, about: "Compute types, such as BUILD_GENERAL1_SMALL."},
		{path: "batch.build-matrix.dynamic.env.image", kind: aTexts, min: 1, about: "Images."},
		{path: "batch.build-matrix.dynamic.env.variables", kind: aChoices, about: "Variables, each with the list of its values."},
		{path: "batch.build-matrix.debug-session", kind: refused, about: "is not possible in a matrix"},
		{path: "batch.build-matrix.static.debug-session", kind: refused, about: "is not possible in a matrix"},
		{path: "batch.build-matrix.dynamic.debug-session", kind: refused, about: "is not possible in a matrix"},
		{path: "batch.build-fanout", kind: aBlock, about: "Shards of one build, which divide the tests among them with codebuild-tests-run."},
		{path: "batch.build-fanout.parallelism", kind: aNumber, required: true, min: 1, max: MaxTasks, about: "The number of shards."},
		{path: "batch.build-fanout.ignore-failure", kind: aFlag, fallback: "no", about: "Whether shards may fail without the batch failing."},
	},
	under("batch.build-list[]", taskKeys), under("batch.build-graph[]", taskKeys),
	[]key{
		{path: "batch.build-list[].depend-on", kind: ignored, about: "has no effect in build-list, ignored; tasks of a build-graph can wait for others"},
		{path: "batch.build-graph[].depend-on", kind: aTexts, about: "Identifiers of the tasks that are completed before this one starts."},

		{path: "phases", kind: aBlock, about: "The commands. A file may go without if all tasks of its batch name other buildspecs."},
		{path: "phases.install", kind: aBlock, about: "Prepares the environment. If it fails, the build ends."},
		{path: "phases.pre_build", kind: aBlock, about: "What comes before the build, such as signing in to a registry. If it fails, the build ends."},
		{path: "phases.build", kind: aBlock, about: "The build. If it fails, post_build runs all the same, unless on-failure is ABORT."},
		{path: "phases.post_build", kind: aBlock, about: "What comes after the build, also after one that failed: CODEBUILD_BUILD_SUCCEEDING is then 0."},
		{path: "phases.*.run-as", kind: aText, pattern: userPattern, since: "0.2", fallback: "the run-as of the file", about: "The Linux user who runs the commands of this phase."},
		{path: "phases.*.on-failure", kind: aText, pattern: retryPattern, since: "0.2",
			about: "What a failure does: ABORT ends the build, CONTINUE goes on with the next phase, RETRY, RETRY-<count>, RETRY-<regex> and RETRY-<count>-<regex> start the build again, up to 3 times unless there is a count, if the message matches."},
		{path: "phases.install.runtime-versions", kind: aVersions, min: 1, pattern: runtimePattern, since: "0.2",
			about: "Runtimes and their versions: exact, such as 3.12, major with .x, latest, or one variable. An image of your own installs none."},
		{path: "phases.*.runtime-versions", kind: ignored, about: "is read in install only; ignored"},
		{path: "phases.*.commands", kind: aCommands,
			about: "Commands, one at a time and in order, each in a shell process of its own that takes directory and variables over from the one before. The first that fails ends the list."},
		{path: "phases.*.finally", kind: aCommands, since: "0.2", about: "Commands that run after commands, also when one of them failed."},
		{path: "phases.*.steps", kind: refused, about: "GitHub Actions steps are not supported"},

		{path: "reports", kind: aBlocks, max: maxReportGroups, since: "0.2", about: "Test and coverage reports, by the name or the ARN of their report group."},
		{path: "reports.*.files", kind: aTexts, required: true, about: "Files or patterns, such as 'out/**/*.xml', relative to base-directory."},
		{path: "reports.*.file-format", kind: aText, values: reportFormats, fold: true, fallback: "JUNITXML", about: "The format of the files."},
		{path: "reports.*.base-directory", kind: aText, fallback: "the source directory", about: "The directory below which the files lie."},
		{path: "reports.*.discard-paths", kind: aFlag, fallback: "no", about: "Whether the export holds the files without their directories."},

		{path: "artifacts", kind: aBlock, about: "The files that leave the build."},
	},
	under("artifacts", artifactKeys),
	[]key{{path: "artifacts.secondary-artifacts", kind: aBlocks, max: maxSecondary, since: "0.2", about: "Further artifacts, by their identifier."}},
	under("artifacts.secondary-artifacts.*", artifactKeys),
	[]key{
		{path: "cache", kind: aBlock, since: "0.2", about: "The files that later builds find again."},
		{path: "cache.paths", kind: aTexts, about: "Files or patterns, such as 'node_modules/**/*'; absolute ones too. Without them nothing is cached."},
		{path: "cache.key", kind: aText, about: "The name of the cache, expanded by the shell, such as npm-$(codebuild-hash-files package-lock.json). What exists under it is never overwritten. Without it the project has one cache, which each build overwrites."},
		{path: "cache.fallback-keys", kind: aTexts, max: maxFallbackKeys, about: "Beginnings of keys that are tried in order when key has no cache."},
		{path: "cache.action", kind: aText, values: []string{"restore", "save"}, fold: true, fallback: "both", about: "Only restore, or only save."},

		{path: "environment_variables", kind: aBlock, since: "0.1", about: "Variables of version 0.1; in 0.2 they stand in env.variables."},
		{path: "environment_variables.plaintext", kind: aNames, about: "Variables in plain text, as they stand."},
	},
)

var taskKeys = []key{
	{path: "identifier", kind: aText, required: true, pattern: identifierPattern, about: "The name of the task, unique in the batch: CODEBUILD_BATCH_BUILD_IDENTIFIER."},
	{path: "buildspec", kind: aText, fallback: "this file", about: "The path of the task's buildspec."},
	{path: "ignore-failure", kind: aFlag, fallback: "no", about: "Whether the task may fail without the batch failing."},
	{path: "debug-session", kind: aFlag, fallback: "no", about: "Whether somebody may look into the running build."},
	{path: "env", kind: aBlock, about: "What the task changes in the environment of its build."},
	{path: "env.compute-type", kind: aText, about: "The compute type, such as BUILD_GENERAL1_SMALL; not together with fleet."},
	{path: "env.fleet", kind: aText, about: "The fleet; not together with compute-type."},
	{path: "env.image", kind: aText, about: "The image."},
	{path: "env.type", kind: aText, about: "The environment type, such as LINUX_CONTAINER."},
	{path: "env.privileged-mode", kind: aFlag, fallback: "no", about: "Whether a Docker daemon can run in the build."},
	{path: "env.variables", kind: aNames, about: "Variables of this task, beside and before those of the file."},
}

var artifactKeys = []key{
	{path: "files", kind: aTexts, required: true, about: "Files or patterns, such as 'dist/**/*', relative to base-directory. A directory alone matches nothing."},
	{path: "base-directory", kind: aText, fallback: "the source directory", about: "A directory or a pattern of directories, which is not part of the paths in the artifact."},
	{path: "exclude-paths", kind: aTexts, since: "0.2", about: "Files or patterns that stay out, relative to base-directory."},
	{path: "discard-paths", kind: aFlag, fallback: "no", about: "Whether the artifact holds the files without their directories."},
	{path: "enable-symlinks", kind: aFlag, fallback: "no", since: "0.2", about: "Whether links within the artifact stay links."},
	{path: "name", kind: aText, since: "0.2", about: "The name of the artifact, expanded by the shell: $VARIABLE, $(command)."},
	{path: "s3-prefix", kind: aText, since: "0.2", about: "What the path in a bucket begins with."},
	{path: "type", kind: aText, since: "0.1", about: "Of version 0.1, such as zip; ignored."},
}

// under gives rows a place below a path.
func under(path string, rows []key) []key {
	placed := slices.Clone(rows)
	for i := range placed {
		placed[i].path = path + "." + placed[i].path
	}
	return placed
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i]
	}
	return ""
}

// name is the last part of the row's path.
func (k key) name() string { return k.path[strings.LastIndexByte(k.path, '.')+1:] }

// A table is the rows of a block, as the parser uses them.
type table struct {
	rows  map[string]key
	names []string // of what is neither refused, ignored nor of another version, in the order of the table
}

// tables has an entry for each path of the table below which there are keys.
var tables = func() map[string]table {
	all := map[string]table{}
	for _, k := range keys {
		at := parent(k.path)
		t, ok := all[at]
		if !ok {
			t.rows = map[string]key{}
		}
		t.rows[k.name()] = k
		if k.kind != refused && k.kind != ignored && k.since != "0.1" {
			t.names = append(t.names, k.name())
		}
		all[at] = t
	}
	// runtime-versions stands in install alone, beside what all phases have.
	install := table{rows: map[string]key{}, names: slices.Concat(all["phases.*"].names, all["phases.install"].names)}
	for _, t := range []table{all["phases.*"], all["phases.install"]} {
		for name, k := range t.rows {
			install.rows[name] = k
		}
	}
	all["phases.install"] = install
	return all
}()
