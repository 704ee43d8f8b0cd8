package buildspec

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// An ignore is a code in a comment that silences warnings: "# buildsmith:ignore BS103" those of its line or, if it stands
// on a line of its own, of the next line that is neither empty nor a comment; "# buildsmith:ignore-file BS103" those of the
// whole file. The first line of a command stands for all of it. Several codes may follow, and after them a reason. Errors
// cannot be silenced.
type ignore struct {
	line, column int // of the code
	code         string
	first, last  int // the lines that it silences
	used         bool
}

func (g *ignore) holds(line int) bool { return line >= g.first && line <= g.last }

type ignores struct {
	list     []*ignore
	begins   map[int]int // for a line within a command of several, the line where that begins, whose comments count too
	problems []Problem   // of the comments themselves
}

const ignoreWord = "buildsmith:ignore"

var ignoreComment = regexp.MustCompile(`#[ \t]*buildsmith:ignore(-file)?(?:[ \t]+|$)((?:BS[0-9]+[, \t]*)*)`)

func bytesHaveIgnore(text []byte) bool { return bytes.Contains(text, []byte(ignoreWord)) }

// readIgnores finds the comments. It looks at lines, not at YAML: a comment in a command of several lines counts too.
func readIgnores(text []byte) *ignores {
	found := &ignores{}
	if !bytesHaveIgnore(text) {
		return found
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		m := ignoreComment.FindStringSubmatchIndex(strings.TrimRight(line, " \t\r"))
		if m == nil {
			continue
		}
		column := m[0] + 1
		codes := strings.FieldsFunc(line[m[4]:m[5]], func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
		if len(codes) == 0 {
			found.problemf(i+1, column, "names no code; write # %s BS101", ignoreWord)
		}
		first, last := i+1, i+1
		switch {
		case m[2] >= 0:
			first, last = 1, len(lines)
		case strings.HasPrefix(strings.TrimSpace(line), "#"):
			last = nextLine(lines, i)
		}
		for _, code := range codes {
			at := slices.IndexFunc(rules, func(r Rule) bool { return r.Code == code })
			switch {
			case at < 0:
				found.problemf(i+1, column, "%s is no code of a warning", shorten(code))
			case isError(code):
				found.problemf(i+1, column, "%s is the code of an error, which cannot be silenced", code)
			default:
				found.list = append(found.list, &ignore{line: i + 1, column: column, code: code, first: first, last: last})
			}
		}
	}
	return found
}

// nextLine is the number of the first line below index i that says something.
func nextLine(lines []string, i int) int {
	for n := i + 1; n < len(lines); n++ {
		if text := strings.TrimSpace(lines[n]); text != "" && !strings.HasPrefix(text, "#") {
			return n + 1
		}
	}
	return i + 1
}

func (i *ignores) problemf(line, column int, format string, args ...any) {
	if len(i.problems) < maxProblems {
		i.problems = append(i.problems, Problem{Line: line, Column: column, Code: codeIgnore, Warning: true, Message: "the comment " + ignoreWord + " " + fmt.Sprintf(format, args...)})
	}
}

// silence gives the problems that no comment silences.
func (i *ignores) silence(problems []Problem) []Problem {
	if len(i.list) == 0 {
		return problems
	}
	return slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool {
		silent := false
		for _, g := range i.list {
			begin, within := i.begins[p.Line]
			if p.Warning && p.Code == g.code && (g.holds(p.Line) || within && g.holds(begin)) {
				g.used, silent = true, true
			}
		}
		return silent
	})
}

// useless gives the problems of comments: those that name nothing, and those that have silenced nothing.
func (i *ignores) useless() []Problem {
	for _, g := range i.list {
		if !g.used && g.code != codeIgnore {
			i.problemf(g.line, g.column, "%s silences nothing; take it out", g.code)
		}
	}
	return i.silence(i.problems)
}
