package buildspec

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// A run is a command of the buildspec that is being looked at.
type run struct {
	*linter
	phase   *Phase
	path    string // of the list that it stands in
	command Command
	column  int      // at which it begins
	text    []string // of the command, line by line, once somebody asks
	script  *script
	last    bool // no command of the build comes after it
}

// commands looks at the commands of all phases.
func (l *linter) commands() {
	var all []*run
	for i := range l.spec.Phases {
		phase := &l.spec.Phases[i]
		path := "phases." + phaseNames[i].key
		for _, list := range []struct {
			name     string
			commands []Command
		}{{"commands", phase.Commands}, {"finally", phase.Finally}} {
			for i, c := range list.commands {
				r := &run{linter: l, phase: phase, path: path + "." + list.name, command: c}
				if n := l.value(fmt.Sprintf("%s[%d]", r.path, i)); n != nil {
					r.column = n.Column
				}
				all = append(all, r)
			}
		}
	}
	for i, r := range all {
		r.last = i == len(all)-1
		s, err := readShell(r.command.Text)
		if err != nil {
			if err.sure {
				r.tell(err.line, codeQuote, "no shell can read this: %s; a command begins and ends in one item", err.message)
			}
			continue
		}
		r.script = s
		r.lost()
		r.bash()
		r.hidden()
		r.exits()
		r.status()
		r.pipes()
		r.every(func(c *command, in spot) {
			r.installs(c)
			r.sudo(c)
			r.printed(c, in)
		})
	}
	l.unguarded(all)
	l.images(all)
}

// tell reports a problem of a line of the command, counted from 0. Only in a | block a line of the text is one of the
// file's; elsewhere the problem stands where the command begins.
func (r *run) tell(line int, code, format string, args ...any) {
	if len(r.problems) >= maxProblems {
		return
	}
	at := r.command.Line
	if r.text == nil {
		r.text = strings.Split(r.command.Text, "\n")
	}
	text := r.text
	if blockHeader.MatchString(r.line(at)) && line < len(text) && strings.TrimSpace(r.line(at+1+line)) == strings.TrimSpace(text[line]) {
		at += 1 + line
		r.begins[at] = r.command.Line
	}
	source := r.line(at)
	n := &yaml.Node{Line: at, Column: 1 + len(source) - len(strings.TrimLeft(source, " \t"))}
	if dashes := len(source) - len(strings.TrimLeft(source, " \t-")); at == r.command.Line && r.column-1 > dashes {
		n.Column = r.column // not the first of its line
	}
	r.problemf(n, code, r.path, format, args...)
}

var blockHeader = regexp.MustCompile(`\|[-+0-9]*\s*(#.*)?$`)

// A spot is where a simple or compound command stands in a script.
type spot struct {
	pipeline *pipeline
	at       int  // in the pipeline
	captured bool // its output goes into a command substitution
}

// every calls fn for every command of the script, also for those in substitutions and functions.
func (r *run) every(fn func(c *command, in spot)) { everyCommand(r.script.list, false, fn) }

func everyCommand(list []*statement, captured bool, fn func(c *command, in spot)) {
	for _, s := range list {
		for _, p := range s.parts {
			for i, c := range p.commands {
				fn(c, spot{p, i, captured})
				for _, w := range c.words {
					for _, sub := range w.subs {
						everyCommand(sub, true, fn)
					}
				}
				for _, inner := range slices.Concat(c.conditions, c.bodies) {
					everyCommand(inner, captured, fn)
				}
			}
		}
	}
}

// name gives the name of the program that a simple command runs, without what stands before it, and its arguments.
func (c *command) name() (string, []word) {
	if c.kind != simpleCommand {
		return "", nil
	}
	words := c.words
	for len(words) > 0 && isAssignment(words[0]) {
		words = words[1:]
	}
	for len(words) > 0 {
		switch words[0].text {
		case "sudo", "env", "nice", "time", "nohup", "exec", "command", "timeout", "npx", "xargs":
			rest := words[1:]
			for len(rest) > 0 {
				option := strings.HasPrefix(rest[0].text, "-")
				if !option && !isAssignment(rest[0]) && (words[0].text != "timeout" || !startsWithDigit(rest[0].text)) {
					break
				}
				if option && len(rest) > 1 && slices.Contains([]string{"-s", "-k", "-n", "-u", "-g", "-I", "-P", "-L"}, rest[0].text) {
					rest = rest[1:] // its value
				}
				rest = rest[1:]
			}
			if len(rest) == 0 {
				return words[0].text, words[1:]
			}
			words = rest
			continue
		}
		name := words[0].text
		return name[strings.LastIndexByte(name, '/')+1:], words[1:]
	}
	return "", nil
}

func startsWithDigit(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }

func isAssignment(w word) bool {
	name, _, found := strings.Cut(w.text, "=")
	return found && validName(strings.TrimSuffix(name, "+"))
}

// assigns reports whether a command does nothing but set variables.
func (c *command) assigns() bool {
	return c.kind == simpleCommand && len(c.words) > 0 && !slices.ContainsFunc(c.words, func(w word) bool { return !isAssignment(w) })
}

// has reports whether an argument is one of texts.
func has(args []word, texts ...string) bool {
	return slices.ContainsFunc(args, func(w word) bool { return slices.Contains(texts, w.text) })
}

// shown is a command as a message names it.
func (c *command) shown() string {
	var words []string
	for _, w := range c.words {
		words = append(words, w.text)
	}
	if text := strings.Join(words, " "); text != "" {
		if r := []rune(strings.ReplaceAll(text, "\n", " ")); len(r) > 40 {
			return string(r[:39]) + "…"
		}
		return strings.ReplaceAll(text, "\n", " ")
	}
	return "a command"
}

// lost tells of a command that only changes its own shell.
func (r *run) lost() {
	gone := map[string]bool{"set": true, "shopt": true, "alias": true, "umask": true, "ulimit": true, "trap": true}
	if r.spec.Version == "0.1" {
		for _, name := range []string{"cd", "export", "unset", "pushd", "popd"} {
			gone[name] = true
		}
	}
	what := ""
	for _, s := range r.script.list {
		for _, p := range s.parts {
			for _, c := range p.commands {
				name, args := c.name()
				switch {
				case c.kind == functionCommand:
					what = "the function"
				case c.assigns() && r.spec.Version == "0.1":
					what = c.shown()
				case gone[name] && len(args) > 0 || name == "cd" && gone[name]:
					what = c.shown()
				default:
					return
				}
			}
		}
	}
	if what != "" && !r.last {
		r.tell(0, codeLost, "%s is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it", what)
	}
}

// bash tells of what sh does not understand.
func (r *run) bash() {
	if strings.HasSuffix(r.spec.Env.Shell, "bash") {
		return
	}
	found := slices.Clone(r.script.bash)
	r.every(func(c *command, _ spot) {
		switch name, args := c.name(); name {
		case "source", "shopt", "declare", "typeset", "mapfile", "readarray", "pushd", "popd":
			found = append(found, bashism{name, c.line})
		case "set":
			if has(args, "pipefail") {
				found = append(found, bashism{"pipefail", c.line})
			}
		case "[", "test":
			if has(args, "==") {
				found = append(found, bashism{"== in [ ]", c.line})
			}
		}
	})
	if len(found) == 0 {
		return
	}
	slices.SortStableFunc(found, func(a, b bashism) int { return cmp.Compare(a.line, b.line) })
	var names []string
	for _, b := range found {
		if !slices.Contains(names, b.what) && len(names) < 4 {
			names = append(names, b.what)
		}
	}
	r.tell(found[0].line, codeBash, "%s needs Bash, and sh, which runs the commands, is often another shell; write env: {shell: bash}", strings.Join(names, ", "))
}

// exits tells of an exit 0 at the end of a command that is meant to end the build.
func (r *run) exits() {
	if r.last || len(r.script.list) == 0 {
		return
	}
	s := r.script.list[len(r.script.list)-1]
	c := s.parts[len(s.parts)-1].commands[0]
	var exit *command
	switch {
	case len(s.parts) > 1 && !s.or && s.parts[len(s.parts)-2].commands[0].tests() && isExit0(c):
		exit = c
	case c.kind == ifCommand && len(s.parts) == 1:
		for _, body := range c.bodies {
			last := body[max(len(body)-1, 0):]
			if len(last) == 1 && isExit0(last[0].parts[0].commands[0]) && !slices.ContainsFunc(body[:len(body)-1], canFail) {
				exit = last[0].parts[0].commands[0]
			}
		}
	}
	if exit != nil {
		r.tell(exit.line, codeExit, "exit 0 ends this command alone, and the build goes on with the next; put what it should skip into the same command")
	}
}

func (c *command) tests() bool {
	name, _ := c.name()
	return c.kind == testCommand || name == "[" || name == "test"
}

func isExit0(c *command) bool {
	name, args := c.name()
	return name == "exit" && len(args) == 1 && args[0].text == "0"
}

// status tells of $? where no command has run yet.
func (r *run) status() {
	list := r.script.list
	for len(list) > 0 {
		c := list[0].parts[0].commands[0]
		if slices.ContainsFunc(c.words, func(w word) bool { return slices.Contains(w.variables, "?") }) {
			r.tell(c.line, codeStatus, "$? is not the status of the command before, which ran in a shell of its own; put both into one command")
			return
		}
		switch {
		case len(c.conditions) > 0:
			list = c.conditions[0]
		case c.kind == groupCommand && len(c.bodies) > 0:
			list = c.bodies[0]
		default:
			return
		}
	}
}

// installs tells of a package manager that waits for an answer.
func (r *run) installs(c *command) {
	name, args := c.name()
	if !slices.Contains([]string{"apt-get", "apt", "yum", "dnf", "microdnf"}, name) || !has(args, "install", "upgrade", "dist-upgrade", "remove") {
		return
	}
	for _, a := range args {
		long := strings.HasPrefix(a.text, "--")
		switch {
		case len(a.variables) > 0, a.text == "--yes", a.text == "--assume-yes", a.text == "--assumeyes", strings.HasPrefix(a.text, "-qq"), a.text == "--help":
			return
		case !long && strings.HasPrefix(a.text, "-") && strings.Contains(a.text, "y"):
			return
		}
	}
	r.tell(c.line, codeAsks, "%s asks whether to go on, and nobody answers; write %s -y", c.shown(), name)
}

// sudo tells of sudo in a phase that runs as root.
func (r *run) sudo(c *command) {
	user := r.phase.RunAs
	if user == "" {
		user = r.spec.RunAs
	}
	if user != "" && user != "root" && user != "0" || len(c.words) == 0 || c.words[0].text != "sudo" {
		return
	}
	r.tell(c.line, codeSudo, "%s: commands run as root, and few images have sudo; leave it out", c.shown())
}

// printed tells of a secret that a command writes into the log.
func (r *run) printed(c *command, in spot) {
	name, args := c.name()
	if name != "echo" && name != "printf" && name != "printenv" || c.redirected || in.captured || in.at < len(in.pipeline.commands)-1 {
		return
	}
	for _, v := range slices.Concat(r.spec.Env.ParameterStore, r.spec.Env.SecretsManager) {
		if slices.ContainsFunc(args, func(w word) bool {
			return slices.Contains(w.variables, v.Name) || name == "printenv" && w.text == v.Name
		}) {
			r.tell(c.line, codePrinted, "%s prints the secret %s, of which the log hides only the exact text; leave it out", name, v.Name)
			return
		}
	}
}
