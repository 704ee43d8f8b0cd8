package buildspec

import (
	"slices"
	"strings"
)

// interpreters run a program that they read.
var interpreters = []string{"sh", "bash", "dash", "zsh", "ksh", "python", "python3", "perl", "ruby", "node"}

// pipes tells of pipelines whose first command may fail unseen: a download that a shell runs, and what tee writes down.
func (r *run) pipes() {
	safe := false
	r.every(func(c *command, in spot) {
		p, at := in.pipeline, in.at
		name, args := c.name()
		if name == "set" && has(args, "pipefail") {
			safe = true
		}
		if slices.Contains(interpreters, name) {
			download := ""
			if at > 0 && !safe {
				download = p.commands[0].download()
			}
			for _, w := range args {
				for _, sub := range w.subs {
					everyCommand(sub, true, func(c *command, _ spot) {
						if download == "" {
							download = c.download()
						}
					})
				}
			}
			if download != "" {
				r.tell(c.line, codePipedShell, "if %s fails, %s runs half a program, or none, and succeeds; download into a file first, then run that", download, name)
			}
		}
		if name == "tee" && at > 0 && !safe && at == len(p.commands)-1 {
			if first := p.commands[0]; first.mayFail() && first.download() == "" {
				r.tell(first.line, codePipedStatus, "if %s fails, tee hides it: the status of a pipeline is that of its last command; write set -o pipefail before it, with env: {shell: bash}", first.shown())
			}
		}
	})
}

func (c *command) download() string {
	if name, _ := c.name(); name == "curl" || name == "wget" {
		return name
	}
	return ""
}

// harmless are programs whose failure nobody misses: they tell something, or set something in the shell.
var harmless = []string{"", ":", "[", "alias", "break", "cat", "continue", "date", "declare", "df", "echo", "env", "exit", "export", "false", "free", "hash", "hostname",
	"id", "jobs", "kill", "local", "ls", "nproc", "printenv", "printf", "pwd", "readonly", "return", "set", "shift", "shopt", "sleep", "test", "times", "trap", "true",
	"type", "typeset", "ulimit", "umask", "unalias", "uname", "unset", "uptime", "wait", "which", "whoami"}

// mayFail reports whether the failure of a command means something.
func (c *command) mayFail() bool {
	if c.kind != simpleCommand {
		return c.kind != functionCommand && c.kind != testCommand
	}
	if c.assigns() {
		return slices.ContainsFunc(c.words, func(w word) bool { return len(w.subs) > 0 })
	}
	name, args := c.name()
	if len(args) == 1 && slices.Contains([]string{"--version", "-version", "-v", "-V", "version", "--help"}, args[0].text) {
		return false
	}
	return !slices.Contains(harmless, name)
}

// canFail reports whether the failure of a statement means something that its author has not provided for.
func canFail(s *statement) bool {
	if s.or || s.background {
		return false
	}
	return slices.ContainsFunc(s.parts, func(p *pipeline) bool { return !p.negated && p.commands[len(p.commands)-1].mayFail() })
}

// hidden tells of a command whose failure is lost, since others come after it.
func (r *run) hidden() {
	if c, _ := hiddenIn(r.script.list, true, false); c != nil {
		r.tell(c.line, codeHidden, "if %s fails, this command goes on, and only the status of its last line counts; begin it with set -e", c.shown())
	}
}

// hiddenIn gives the first command of a list whose failure is lost; seen says whether the status of the list's last
// statement is asked for, and errexit whether set -e holds, then and at the end.
func hiddenIn(list []*statement, seen, errexit bool) (*command, bool) {
	for i, s := range list {
		errexit = errexit || s.setsErrexit()
		next := i + 1
		asked := seen && i == len(list)-1 || next < len(list) && list[next].asksStatus()
		if errexit || s.or || s.background {
			continue
		}
		for _, p := range s.parts {
			c := p.commands[len(p.commands)-1]
			switch c.kind {
			case ifCommand, groupCommand, caseCommand, loopCommand:
				for _, body := range c.bodies {
					if lost, _ := hiddenIn(body, asked && c.kind != loopCommand, false); lost != nil {
						return lost, false
					}
				}
			default:
				if !asked && !p.negated && c.mayFail() {
					return c, false
				}
			}
		}
	}
	return nil, errexit
}

func (s *statement) setsErrexit() bool {
	name, args := s.parts[0].commands[0].name()
	if name != "set" {
		return false
	}
	for i, a := range args {
		if strings.HasPrefix(a.text, "-") && !strings.HasPrefix(a.text, "--") && strings.Contains(a.text, "e") || a.text == "errexit" && i > 0 {
			return true
		}
	}
	return false
}

// asksStatus reports whether a statement looks at the status of the one before.
func (s *statement) asksStatus() bool {
	found := false
	everyCommand([]*statement{s}, false, func(c *command, _ spot) {
		found = found || slices.ContainsFunc(c.words, func(w word) bool { return slices.Contains(w.variables, "?") })
	})
	return found
}
