package buildspec

import (
	"regexp"
	"slices"
	"strings"
)

// deploys are programs that publish something, and the arguments with which they do.
var deploys = map[string][]string{
	"docker": {"push"}, "podman": {"push"}, "npm": {"publish"}, "yarn": {"publish"}, "pnpm": {"publish"}, "kubectl": {"apply", "create", "replace", "rollout", "set"},
	"helm": {"install", "upgrade", "push"}, "terraform": {"apply"}, "cdk": {"deploy"}, "sam": {"deploy"}, "serverless": {"deploy"}, "sls": {"deploy"},
	"twine": {"upload"}, "mvn": {"deploy"}, "mvnw": {"deploy"}, "gradle": {"publish"}, "gradlew": {"publish"}, "git": {"push"}, "eb": {"deploy"}, "gem": {"push"},
	"cargo": {"publish"}, "poetry": {"publish"}, "firebase": {"deploy"}, "goreleaser": {"release"}, "pulumi": {"up"}, "gh": {"release"},
	"aws": {"sync", "cp", "mv", "update-service", "update-function-code", "deploy", "update-stack", "create-stack", "create-deployment", "create-invalidation", "publish-version", "put-image"},
}

// unguarded tells of a post_build that publishes what a failed build has left. A test of CODEBUILD_BUILD_SUCCEEDING guards
// its own command. It guards the commands of the list that come after it if its own fails when the build has failed.
func (l *linter) unguarded(all []*run) {
	build := l.spec.Phases[2]
	if len(build.Commands) == 0 || build.OnFailure.Action == Abort {
		return
	}
	names := []string{succeeding} // of variables with its value
	ended := ""                   // the list whose further commands do not run after a failure
	for _, r := range all {
		if r.phase.Name != PostBuild || r.path == ended {
			continue
		}
		if r.script == nil {
			if strings.Contains(r.command.Text, succeeding) { // nobody knows
				ended = r.path
			}
			continue
		}
		var publishes *command
		asks := false
		r.every(func(c *command, _ spot) {
			name, args := c.name()
			if publishes == nil && (has(args, deploys[name]...) && !has(args, "--help", "--dry-run") || deployScript.MatchString(name)) {
				publishes = c
			}
			for _, w := range c.words {
				if name, _, found := strings.Cut(w.text, "="); found && isAssignment(w) && mentions(w, names) {
					names = append(names, name)
				}
			}
			asks = asks || r.asks(c, names) != asksNothing
		})
		if asks && r.fails(names) {
			ended = r.path
		}
		if publishes != nil && !asks {
			r.tell(publishes.line, codeUnguarded, "%s runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it", publishes.shown())
			return
		}
	}
}

var deployScript = regexp.MustCompile(`^(.*[-_])?(deploy|publish|release)([-_].*)?\.(sh|bash|py)$`)

const succeeding = "CODEBUILD_BUILD_SUCCEEDING"

func mentions(w word, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(w.variables, name) })
}

// What a command asks about the build.
const (
	asksNothing = iota
	asksSomething
	asksForFailure // it succeeds if the build has failed
)

// asks is what a command asks about the variables that say whether the build succeeds.
func (r *run) asks(c *command, names []string) int {
	name, args := c.name()
	asked := func(w word) bool { return mentions(w, names) }
	switch {
	case slices.Contains(interpreters, name): // a program within the command may ask
		if slices.ContainsFunc(args, func(w word) bool { return strings.Contains(w.text, succeeding) }) {
			return asksSomething
		}
	case c.kind == testCommand && len(c.words) == 0: // (( )), whose words are not known
		if strings.Contains(r.command.Text, succeeding) {
			return asksSomething
		}
	case c.kind == caseCommand && slices.ContainsFunc(c.words, asked):
		return asksSomething
	case c.tests() && slices.ContainsFunc(c.words, asked):
		equal := has(c.words, "=", "==", "-eq")
		if equal && has(c.words, "0") || !equal && has(c.words, "!=", "-ne") && has(c.words, "1") {
			return asksForFailure
		}
		return asksSomething
	}
	for _, condition := range c.conditions {
		found := false
		everyCommand(condition, false, func(c *command, _ spot) { found = found || slices.ContainsFunc(c.words, asked) })
		if found {
			return asksSomething
		}
	}
	return asksNothing
}

// fails reports whether a command that asks about the build fails if that has failed: it exits, or it ends with the
// question and what depends on it.
func (r *run) fails(names []string) bool {
	exits := false
	r.every(func(c *command, _ spot) {
		name, args := c.name()
		exits = exits || name == "exit" && (len(args) == 0 || args[0].text != "0") || name == "false"
	})
	if exits {
		return true
	}
	last := r.script.list[len(r.script.list)-1]
	first := last.parts[0]
	if last.or || last.background || len(first.commands) > 1 {
		return false
	}
	c := first.commands[0]
	answer := r.asks(c, names)
	return (c.tests() || slices.Contains(interpreters, firstName(c))) && answer != asksNothing && (answer == asksForFailure) == first.negated
}

func firstName(c *command) string {
	name, _ := c.name()
	return name
}
