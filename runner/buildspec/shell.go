package buildspec

import "strings"

// What follows reads the shell commands of a buildspec as far as lints need it: POSIX's grammar and what Bash adds to it
// that people write. It never runs anything, and where it does not understand a text, the lints that need it say nothing.

// A script is a command of a buildspec, read as shell.
type script struct {
	list []*statement
	bash []bashism // what only Bash understands, in the order of the text
}

// A bashism is a construct that only Bash understands.
type bashism struct {
	what string
	line int
}

// A statement is a list of pipelines joined by && and ||, up to a semicolon, an ampersand or the end of the line.
type statement struct {
	parts      []*pipeline
	or         bool // one of the joints is ||
	background bool
	line       int // from 0, in the text
}

// A pipeline is commands joined by |.
type pipeline struct {
	commands []*command
	negated  bool
}

// The kinds of commands.
const (
	simpleCommand = iota
	groupCommand  // { list; } and ( list )
	ifCommand     // bodies without their conditions
	loopCommand   // for, while, until, select
	caseCommand
	functionCommand
	testCommand // [[ ]] and (( ))
)

// A command is a simple or a compound one.
type command struct {
	kind       int
	words      []word
	conditions [][]*statement
	bodies     [][]*statement
	redirected bool // its output goes into a file or to another descriptor
	line       int
}

// A word is a word of a simple command.
type word struct {
	text      string // without its quotes; expansions as they stand
	quoted    bool
	variables []string       // what it expands, ? for $?
	subs      [][]*statement // command substitutions
	process   bool           // one of them is a process substitution
	line      int
}

// A shellError is why a text cannot be read. Sure says that no shell can read it either.
type shellError struct {
	message string
	line    int
	sure    bool
}

// readShell reads a command of a buildspec.
func readShell(text string) (s *script, err *shellError) {
	r := &shellReader{text: text}
	defer func() {
		if e := recover(); e != nil {
			failed, ok := e.(*shellError)
			if !ok {
				panic(e) // a mistake here, not the text's
			}
			s, err = nil, failed
		}
	}()
	list := r.list(nil)
	if r.at < len(r.text) {
		r.fail(false, "unexpected %q", rune(r.text[r.at]))
	}
	return &script{list, r.bash}, nil
}

// maxShellDepth bounds how deep compound commands and substitutions may be nested.
const maxShellDepth = 300

type shellReader struct {
	text  string
	at    int
	line  int
	depth int
	here  []hereDocument // whose bodies begin at the end of the line
	doubt bool           // shells read differently what comes next, so that no error is sure
	bash  []bashism
}

type hereDocument struct {
	end  string
	tabs bool // <<-
	line int
}

func (r *shellReader) peek(n int) byte {
	if r.at+n < len(r.text) {
		return r.text[r.at+n]
	}
	return 0
}

func (r *shellReader) onlyBash(what string) {
	r.bash = append(r.bash, bashism{what, r.line})
}

// blank skips blanks, continued lines and a comment.
func (r *shellReader) blank() {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == ' ' || c == '\t' || c == '\r':
			r.at++
		case c == '\\' && r.peek(1) == '\n':
			r.at += 2
			r.line++
		case c == '#':
			for r.at < len(r.text) && r.text[r.at] != '\n' {
				r.at++
			}
		default:
			return
		}
	}
}

// newlines skips what separates statements, and the here-documents that end lines.
func (r *shellReader) newlines() {
	for {
		r.blank()
		if r.peek(0) != '\n' {
			return
		}
		r.newline()
	}
}

func (r *shellReader) newline() {
	r.at++
	r.line++
	for _, h := range r.here {
		for {
			if r.at >= len(r.text) {
				break // a shell takes the end of the text for the end of the document
			}
			line, _, _ := strings.Cut(r.text[r.at:], "\n")
			r.at = min(r.at+len(line)+1, len(r.text))
			r.line++
			if h.tabs {
				line = strings.TrimLeft(line, "\t")
			}
			if strings.TrimSuffix(line, "\r") == h.end {
				break
			}
		}
	}
	r.here = nil
}

// deeper counts how deep the reading is until the function that it gives is called.
func (r *shellReader) deeper() func() {
	if r.depth++; r.depth > maxShellDepth {
		r.fail(false, "nested too deep")
	}
	return func() { r.depth-- }
}

// reserved is the unquoted word that begins here, if it is one of words.
func (r *shellReader) reserved(words ...string) string {
	for _, w := range words {
		rest, found := strings.CutPrefix(r.text[r.at:], w)
		if !found || rest != "" && strings.IndexByte(" \t\r\n;&|()<>", rest[0]) < 0 {
			continue
		}
		if strings.HasPrefix(rest, "<(") || strings.HasPrefix(rest, ">(") {
			continue // a word that goes on
		}
		return w
	}
	return ""
}

// list reads statements up to one of the words, a closing bracket, ;; or the end of the text.
func (r *shellReader) list(until []string) []*statement {
	defer r.deeper()()
	var list []*statement
	for {
		r.newlines()
		if r.at >= len(r.text) || r.peek(0) == ')' || r.peek(0) == ';' || r.reserved(until...) != "" {
			return list
		}
		if w := r.reserved("then", "elif", "else", "fi", "do", "done", "esac", "}"); w != "" {
			r.fail(len(until) == 0 && r.depth == 1, // at the top
				"%s stands without what it belongs to", w)
		}
		s := r.statement()
		list = append(list, s)
		r.blank()
		switch {
		case r.peek(0) == ';' && r.peek(1) != ';' && r.peek(1) != '&':
			r.at++
		case r.peek(0) == '&' && r.peek(1) != '&':
			s.background = true
			r.at++
		case r.peek(0) == '\n', r.at >= len(r.text), r.peek(0) == ')', r.peek(0) == ';':
		default:
			r.fail(false, "unexpected %q", rune(r.peek(0)))
		}
	}
}

func (r *shellReader) statement() *statement {
	s := &statement{line: r.line}
	for {
		s.parts = append(s.parts, r.pipeline())
		r.blank()
		switch {
		case r.peek(0) == '&' && r.peek(1) == '&':
		case r.peek(0) == '|' && r.peek(1) == '|':
			s.or = true
		default:
			return s
		}
		r.at += 2
		r.newlines()
	}
}

func (r *shellReader) pipeline() *pipeline {
	p := &pipeline{}
	for {
		r.blank()
		if r.reserved("!") != "" {
			p.negated = !p.negated
			r.at++
			continue
		}
		p.commands = append(p.commands, r.command())
		r.blank()
		if r.peek(0) != '|' || r.peek(1) == '|' {
			return p
		}
		if r.at++; r.peek(0) == '&' {
			r.onlyBash("|&")
			r.at++
		}
		r.newlines()
	}
}

func (r *shellReader) command() *command {
	defer r.deeper()()
	r.blank()
	c := &command{line: r.line}
	switch w := r.reserved("if", "while", "until", "for", "select", "case", "{", "function", "[["); {
	case w == "if":
		r.ifs(c)
	case w == "while" || w == "until":
		c.kind = loopCommand
		r.at += len(w)
		c.conditions = append(c.conditions, r.list([]string{"do"}))
		r.loopBody(c, w)
	case w == "for" || w == "select":
		r.fors(c, w)
	case w == "case":
		r.cases(c)
	case w == "{":
		c.kind = groupCommand
		r.at++
		c.bodies = append(c.bodies, r.list([]string{"}"}))
		r.closing(c, "{", "}")
	case w == "function":
		r.onlyBash("function")
		r.at += len(w)
		r.blank()
		r.word()
		r.functionBody(c)
		return c
	case w == "[[":
		r.onlyBash("[[")
		c.kind = testCommand
		r.at += len(w)
		r.test(c)
	case r.peek(0) == '(' && r.peek(1) == '(':
		r.onlyBash("((")
		c.kind = testCommand
		r.arithmetic()
	case r.peek(0) == '(':
		c.kind = groupCommand
		r.at++
		c.bodies = append(c.bodies, r.list(nil))
		r.closing(c, "(", ")")
	default:
		r.simple(c)
		return c
	}
	for r.redirection(c) {
	}
	return c
}

// closing reads the word that ends a compound command.
func (r *shellReader) closing(c *command, open, end string) {
	if end == ")" && r.peek(0) == ')' {
		r.at++
		return
	}
	if end != ")" && r.reserved(end) != "" {
		r.at += len(end)
		return
	}
	if r.at >= len(r.text) {
		r.failAt(c.line, true, "%s is not ended by %s", open, end)
	}
	r.fail(false, "unexpected %q", rune(r.peek(0)))
}

func (r *shellReader) ifs(c *command) {
	c.kind = ifCommand
	r.at += len("if")
	for {
		c.conditions = append(c.conditions, r.list([]string{"then"}))
		r.closing(c, "if", "then")
		c.bodies = append(c.bodies, r.list([]string{"elif", "else", "fi"}))
		switch r.reserved("elif", "else") {
		case "elif":
			r.at += len("elif")
			continue
		case "else":
			r.at += len("else")
			c.bodies = append(c.bodies, r.list([]string{"fi"}))
		}
		r.closing(c, "if", "fi")
		return
	}
}

func (r *shellReader) loopBody(c *command, open string) {
	r.newlines()
	r.closing(c, open, "do")
	c.bodies = append(c.bodies, r.list([]string{"done"}))
	r.closing(c, open, "done")
}

func (r *shellReader) fors(c *command, open string) {
	c.kind = loopCommand
	r.at += len(open)
	r.blank()
	if r.peek(0) == '(' && r.peek(1) == '(' {
		r.onlyBash("for ((")
		r.arithmetic()
	} else {
		r.word()
		r.newlines()
		if r.reserved("in") != "" {
			r.at += len("in")
			for r.blank(); r.at < len(r.text) && r.peek(0) != '\n' && r.peek(0) != ';'; r.blank() {
				c.words = append(c.words, r.word())
			}
		}
	}
	r.blank()
	if r.peek(0) == ';' {
		r.at++
	}
	r.loopBody(c, open)
}

func (r *shellReader) cases(c *command) {
	c.kind = caseCommand
	r.at += len("case")
	r.blank()
	c.words = append(c.words, r.word())
	r.newlines()
	r.closing(c, "case", "in")
	for {
		r.newlines()
		if r.at >= len(r.text) || r.reserved("esac") != "" {
			r.closing(c, "case", "esac")
			return
		}
		if r.peek(0) == '(' {
			r.at++
		}
		for r.blank(); r.peek(0) != ')'; r.blank() { // the patterns
			if r.at >= len(r.text) {
				r.failAt(c.line, true, "case is not ended by esac")
			}
			if r.peek(0) == '|' {
				r.at++
				continue
			}
			r.word()
		}
		r.at++
		c.bodies = append(c.bodies, r.list([]string{"esac"}))
		if r.peek(0) == ';' {
			for r.peek(0) == ';' || r.peek(0) == '&' {
				r.at++
			}
		}
	}
}

func (r *shellReader) functionBody(c *command) {
	c.kind = functionCommand
	r.blank()
	if r.peek(0) == '(' && r.peek(1) == ')' {
		r.at += 2
	}
	r.newlines()
	c.bodies = append(c.bodies, []*statement{{parts: []*pipeline{{commands: []*command{r.command()}}}, line: r.line}})
}

// simple reads a simple command, or the definition of a function.
func (r *shellReader) simple(c *command) {
	something := false
	for {
		r.blank()
		if r.redirection(c) {
			something = true
			continue
		}
		if r.at >= len(r.text) || strings.IndexByte("\n;&|()", r.peek(0)) >= 0 {
			if r.peek(0) == '(' && len(c.words) == 1 && r.peek(1) == ')' {
				r.functionBody(c)
				return
			}
			if len(c.words) == 0 && !something {
				r.fail(false, "unexpected %q", rune(r.peek(0)))
			}
			return
		}
		c.words = append(c.words, r.word())
	}
}
