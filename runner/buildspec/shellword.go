package buildspec

import (
	"fmt"
	"strings"
)

func (r *shellReader) fail(sure bool, format string, args ...any) {
	r.failAt(r.line, sure, format, args...)
}

// failAt ends the reading: readShell returns it as its error.
func (r *shellReader) failAt(line int, sure bool, format string, args ...any) {
	panic(&shellError{fmt.Sprintf(format, args...), line, sure && !r.doubt})
}

// redirection reads one, if one stands here.
func (r *shellReader) redirection(c *command) bool {
	r.blank()
	start := r.at
	for r.peek(0) >= '0' && r.peek(0) <= '9' {
		r.at++
	}
	rest := r.text[r.at:]
	operator := ""
	for _, o := range []string{"&>>", "&>", "<<<", "<<-", "<<", "<>", "<&", ">>", ">&", ">|", "<", ">"} {
		if strings.HasPrefix(rest, o) {
			operator = o
			break
		}
	}
	process := (operator == "<" || operator == ">") && strings.HasPrefix(rest[1:], "(")
	if operator == "" || process || operator[0] == '&' && r.at > start {
		r.at = start
		return false
	}
	descriptor := r.text[start:r.at]
	r.at += len(operator)
	switch operator {
	case "&>", "&>>", "<<<":
		r.onlyBash(operator)
	}
	r.blank()
	if r.at >= len(r.text) || r.peek(0) == '\n' {
		r.fail(false, "%s without a file", operator)
	}
	line := r.line
	w := r.word()
	if operator == "<<" || operator == "<<-" {
		r.here = append(r.here, hereDocument{w.text, operator == "<<-", line})
	}
	if operator[0] != '<' && (descriptor == "" || descriptor == "1") && (operator != ">&" || w.text != "1" && w.text != "2") {
		c.redirected = true
	}
	return true
}

// word reads a word, which is not empty.
func (r *shellReader) word() word {
	defer r.deeper()()
	w := word{line: r.line}
	var text strings.Builder
	start := r.at
	for r.at < len(r.text) {
		c := r.text[r.at]
		switch {
		case strings.IndexByte(" \t\r\n;&|)", c) >= 0:
			return r.end(w, &text, start)
		case c == '(':
			if !r.bracket(&w, &text, start) {
				return r.end(w, &text, start)
			}
		case c == '<' || c == '>':
			if r.peek(1) != '(' {
				return r.end(w, &text, start)
			}
			r.onlyBash(string(c) + "(")
			w.process = true
			r.at += 2
			r.substitution(&w, ")")
			text.WriteString("$()")
		case c == '\\':
			if r.peek(1) == '\n' {
				r.line++
			} else if r.at+1 < len(r.text) {
				text.WriteByte(r.text[r.at+1])
			}
			r.at = min(r.at+2, len(r.text))
			w.quoted = true
		case c == '\'':
			text.WriteString(r.single())
			w.quoted = true
		case c == '"':
			r.double(&w, &text)
			w.quoted = true
		case c == '`':
			r.backticks(&w, &text)
		case c == '$':
			r.dollar(&w, &text, false)
		default:
			text.WriteByte(c)
			r.at++
		}
	}
	return r.end(w, &text, start)
}

func (r *shellReader) end(w word, text *strings.Builder, start int) word {
	if r.at == start {
		r.fail(false, "unexpected %q", rune(r.peek(0)))
	}
	w.text = text.String()
	if raw := r.text[start:r.at]; !w.quoted && len(w.variables) == 0 && len(w.subs) == 0 && braces(raw) {
		r.bash = append(r.bash, bashism{"{a,b}", w.line})
	}
	return w
}

// braces reports whether a word is one that Bash expands: {a,b} or {1..9}.
func braces(text string) bool {
	open := strings.IndexByte(text, '{')
	if open < 0 {
		return false
	}
	inner, _, closed := strings.Cut(text[open+1:], "}")
	return closed && (strings.Contains(inner, ",") || strings.Contains(inner, "..")) && !strings.ContainsAny(inner, `"'{`)
}

// bracket reads an opening bracket within a word: that of an array, or of one of Bash's patterns.
func (r *shellReader) bracket(w *word, text *strings.Builder, start int) bool {
	raw := r.text[start:r.at]
	switch {
	case strings.HasSuffix(raw, "=") && !w.quoted && validName(strings.TrimSuffix(strings.TrimSuffix(raw, "="), "+")):
		r.onlyBash("an array")
		r.at++
		for r.newlines(); r.peek(0) != ')'; r.newlines() {
			if r.at >= len(r.text) {
				r.failAt(w.line, true, "( is not ended by )")
			}
			inner := r.word()
			w.variables = append(w.variables, inner.variables...)
			w.subs = append(w.subs, inner.subs...)
		}
		r.at++
		text.WriteString("()")
		return true
	case raw != "" && strings.IndexByte("?*+@!", raw[len(raw)-1]) >= 0:
		r.onlyBash(raw[len(raw)-1:] + "(")
		r.doubt = true // quotes in the pattern are not looked at
		for depth := 0; r.at < len(r.text); r.at++ {
			switch r.text[r.at] {
			case '(':
				depth++
			case ')':
				if depth--; depth == 0 {
					r.at++
					return true
				}
			case '\n':
				r.fail(false, "( is not ended")
			}
		}
		r.fail(false, "( is not ended")
	}
	return false
}

// single reads what stands between single quotes.
func (r *shellReader) single() string {
	line := r.line
	end := strings.IndexByte(r.text[r.at+1:], '\'')
	if end < 0 {
		r.failAt(line, true, "the quote ' is not closed")
	}
	inner := r.text[r.at+1 : r.at+1+end]
	r.line += strings.Count(inner, "\n")
	r.at += end + 2
	return inner
}

// double reads what stands between double quotes.
func (r *shellReader) double(w *word, text *strings.Builder) {
	line := r.line
	for r.at++; r.at < len(r.text); {
		switch c := r.text[r.at]; c {
		case '"':
			r.at++
			return
		case '\\':
			if r.peek(1) == '\n' {
				r.line++
			} else if r.at+1 < len(r.text) {
				text.WriteByte(r.text[r.at+1])
			}
			r.at = min(r.at+2, len(r.text))
		case '`':
			r.backticks(w, text)
		case '$':
			r.dollar(w, text, true)
		default:
			if c == '\n' {
				r.line++
			}
			text.WriteByte(c)
			r.at++
		}
	}
	r.failAt(line, true, `the quote " is not closed`)
}

// backticks reads a command substitution of the old kind.
func (r *shellReader) backticks(w *word, text *strings.Builder) {
	line := r.line
	var inner strings.Builder
	for r.at++; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '`':
			r.at++
			nested := &shellReader{text: inner.String(), line: line, depth: r.depth + 1, doubt: true}
			if nested.depth > maxShellDepth {
				r.fail(false, "nested too deep")
			}
			w.subs = append(w.subs, nested.list(nil))
			r.bash = append(r.bash, nested.bash...)
			text.WriteString("$()")
			return
		case c == '\\' && strings.IndexByte("$`\\", r.peek(1)) >= 0 && r.at+1 < len(r.text):
			r.at++
			inner.WriteByte(r.text[r.at])
		default:
			if c == '\n' {
				r.line++
			}
			inner.WriteByte(c)
		}
	}
	r.failAt(line, true, "the backtick is not closed")
}

// substitution reads the statements of a command substitution and its end.
func (r *shellReader) substitution(w *word, end string) {
	line := r.line
	here := r.here // those of the line outside
	r.here = nil
	list := r.list(nil)
	if r.peek(0) != ')' {
		if r.at >= len(r.text) {
			r.failAt(line, true, "$( is not ended by %s", end)
		}
		r.fail(false, "unexpected %q", rune(r.peek(0)))
	}
	r.at++
	r.here = here
	w.subs = append(w.subs, list)
}

// dollar reads an expansion.
func (r *shellReader) dollar(w *word, text *strings.Builder, inDouble bool) {
	next := r.peek(1)
	switch {
	case next == '(' && r.peek(2) == '(' && r.isArithmetic():
		r.at++
		r.arithmetic()
		text.WriteString("$(())")
	case next == '(':
		r.doubt = r.doubt || r.peek(2) == '(' // which may be arithmetic all the same
		r.at += 2
		r.substitution(w, ")")
		text.WriteString("$()")
	case next == '{':
		r.parameter(w, text, inDouble)
	case next == '\'' && !inDouble:
		r.onlyBash("$'")
		line := r.line
		for r.at += 2; r.peek(0) != '\''; r.at++ {
			if r.at >= len(r.text) {
				r.failAt(line, true, "the quote $' is not closed")
			}
			if r.peek(0) == '\\' {
				r.at++
			}
			if r.peek(0) == '\n' {
				r.line++
			}
		}
		r.at++
		w.quoted = true
	case next == '_' || next >= 'a' && next <= 'z' || next >= 'A' && next <= 'Z':
		end := r.at + 2
		for end < len(r.text) && validName(r.text[r.at+1:end+1]) {
			end++
		}
		w.variables = append(w.variables, r.text[r.at+1:end])
		text.WriteString(r.text[r.at:end])
		r.at = end
	case next == '?':
		w.variables = append(w.variables, "?")
		text.WriteString("$?")
		r.at += 2
	case next != 0 && strings.IndexByte("@*#-$!0123456789", next) >= 0:
		text.WriteString(r.text[r.at : r.at+2])
		r.at += 2
	default:
		text.WriteByte('$')
		r.at++
	}
}

// parameter reads ${...}.
func (r *shellReader) parameter(w *word, text *strings.Builder, inDouble bool) {
	defer r.deeper()()
	line, start := r.line, r.at
	r.at += 2
	if r.peek(0) == '#' || r.peek(0) == '!' {
		r.at++
	}
	begin := r.at
	for r.at < len(r.text) && validName(r.text[begin:r.at+1]) {
		r.at++
	}
	name := r.text[begin:r.at]
	w.variables = append(w.variables, name)
	switch rest := r.text[r.at:]; {
	case strings.HasPrefix(rest, ","), strings.HasPrefix(rest, "^"):
		r.onlyBash("${" + name + rest[:1] + rest[:1] + "}")
	case strings.HasPrefix(rest, "/"):
		r.onlyBash("${" + name + "/…}")
	case strings.HasPrefix(rest, "["):
		r.onlyBash("an array")
	case strings.HasPrefix(r.text[start:], "${!"):
		r.onlyBash("${!" + name + "}")
	case len(rest) > 1 && rest[0] == ':' && strings.IndexByte("0123456789 $", rest[1]) >= 0:
		r.onlyBash("${" + name + ":…}")
	}
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case '}':
			r.at++
			text.WriteString(r.text[start:r.at])
			return
		case '\\':
			r.at = min(r.at+2, len(r.text))
		case '\'':
			if inDouble { // where it is a plain character to POSIX, and a quote to Bash
				r.doubt = true
				r.at++
			} else {
				r.single()
			}
		case '"':
			var inner strings.Builder
			r.double(w, &inner)
		case '`':
			var inner strings.Builder
			r.backticks(w, &inner)
		case '$':
			var inner strings.Builder
			r.dollar(w, &inner, false)
		default:
			if c == '\n' {
				r.line++
			}
			r.at++
		}
	}
	r.failAt(line, false, "${ is not ended by }")
}

// isArithmetic reports whether $(( here is arithmetic: it ends with two brackets that stand together.
func (r *shellReader) isArithmetic() bool {
	depth := 0
	for i := r.at + 1; i < len(r.text); i++ {
		switch r.text[i] {
		case '(':
			depth++
		case ')':
			depth--
			if depth == 1 && i+1 < len(r.text) && r.text[i+1] == ')' {
				return true
			}
			if depth <= 1 {
				return false
			}
		case '\n':
			return false
		}
	}
	return false
}

// arithmetic skips (( )). Where it ends is a guess if brackets do not match.
func (r *shellReader) arithmetic() {
	r.doubt = true
	line, depth := r.line, 0
	for ; r.at < len(r.text); r.at++ {
		switch r.text[r.at] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				r.at++
				return
			}
		case '\n':
			r.line++
		}
	}
	r.failAt(line, false, "(( is not ended by ))")
}

// test skips what stands in [[ ]], where operators are no operators of the shell.
func (r *shellReader) test(c *command) {
	doubt := r.doubt
	r.doubt = true
	for {
		r.newlines()
		if r.at >= len(r.text) {
			r.failAt(c.line, false, "[[ is not ended by ]]")
		}
		if r.reserved("]]") != "" {
			r.at += 2
			r.doubt = doubt
			return
		}
		if strings.IndexByte(";&|()<>", r.peek(0)) >= 0 {
			r.at++
			continue
		}
		start := r.at
		c.words = append(c.words, r.word())
		if r.at == start {
			r.at++
		}
	}
}
