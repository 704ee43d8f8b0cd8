package buildspec

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// commands is the list commands or finally of a phase; word is what CodeBuild calls it in its message.
func (p *parser) commands(e entry, path, word string) []Command {
	switch {
	case e.value == nil:
		return nil
	case isNull(e.value):
		p.problemf(e.key, codeNothing, path, "is empty; nothing runs")
		return nil
	case e.value.Kind == yaml.ScalarNode && e.value.Style == 0 && dashed.MatchString(e.value.Value):
		first, _, _ := strings.Cut(e.value.Value, "\n")
		if line := strings.TrimSpace(p.line(e.value.Line)); dashed.MatchString(line) {
			first = line
		}
		p.problemf(e.value, codeList, path, "is one text instead of a list, since a blank is missing after -; write: - %s", shorten(first[1:]))
		return p.command(nil, e.value, path)
	case e.value.Kind == yaml.ScalarNode:
		p.problemf(e.value, codeList, path, "is one text instead of a list; put `- ` before it")
		return p.command(nil, e.value, path)
	case e.value.Kind != yaml.SequenceNode:
		p.problemf(e.value, codeKind, path, "expected a list of commands, found %s at line %d; put `- ` before each command", describe(e.value), e.value.Line)
		return nil
	case len(e.value.Content) == 0:
		p.problemf(e.key, codeNothing, path, "is empty; nothing runs")
		return nil
	}
	var commands []Command
	for i, item := range e.value.Content {
		item = p.resolve(item)
		switch {
		case isNull(item):
		case item.Kind == yaml.ScalarNode:
			commands = p.command(commands, item, path)
		default:
			p.problemf(item, codeCommand, path, "Expected %s[%d] to be of string type: found subkeys instead at line %d, value of the key tag on line %d might be empty; %s", word, i, item.Line, max(item.Line-1, 1), p.asText(item))
		}
	}
	return commands
}

// dashed is an item without a blank behind its dash, which is none.
var dashed = regexp.MustCompile(`^-[^\s-]`)

// command appends an item, unless it is blank. A carriage return at the end of a line, which only a quoted text can
// still have, is no part of a command.
func (p *parser) command(commands []Command, n *yaml.Node, path string) []Command {
	text := p.plain(n, path)
	if strings.Contains(text, "\r\n") {
		text = lineEnd.ReplaceAllString(text, "\n")
	}
	if n.Tag == "!!str" && n.Style == 0 && p.negated(n) {
		p.problemf(n, codeTag, path, "YAML keeps the ! at line %d for itself, and the command runs without it; write: - %s", n.Line, quote("! "+shorten(text)))
	}
	if strings.TrimSpace(text) == "" {
		return commands
	}
	if p.index != nil {
		p.index[fmt.Sprintf("%s[%d]", path, len(commands))] = entry{value: n}
	}
	return append(commands, Command{text, n.Line})
}

var lineEnd = regexp.MustCompile(`\r+\n`)

// negated reports whether a plain scalar stands behind an exclamation mark and a blank, YAML's tag for no tag.
func (p *parser) negated(n *yaml.Node) bool {
	line := p.line(n.Line)
	return n.Column >= 1 && n.Column < len(line) && line[n.Column-1] == '!' && (line[n.Column] == ' ' || line[n.Column] == '\t')
}

// line is a line of the file without its end.
func (p *parser) line(n int) string {
	if p.lines == nil {
		p.lines = strings.Split(string(p.text), "\n")
	}
	if n < 1 || n > len(p.lines) {
		return ""
	}
	return strings.TrimRight(p.lines[n-1], "\r")
}

// asText says how to write a command that has become a map or a list.
func (p *parser) asText(n *yaml.Node) string {
	const general = "put the whole command between single quotes"
	if n.Kind == yaml.SequenceNode && n.Style&yaml.FlowStyle == 0 && len(n.Content) > 0 {
		if first := p.resolve(n.Content[0]); len(n.Content) == 1 && first.Kind == yaml.ScalarNode {
			return "a second dash makes a list of it, write: - " + shorten(first.Value)
		}
		return "a second dash makes a list of it; put one dash before each command, and indent all alike"
	}
	if n.Style&yaml.FlowStyle != 0 || n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return general
	}
	last := n
	for len(last.Content) > 0 {
		last = last.Content[len(last.Content)-1]
	}
	if last.Line == n.Line && last.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		if line := p.line(n.Line); n.Column-1 < len(line) && !p.goesOn(n) {
			return "a colon and a blank make a map of it, write: - " + quote(strings.TrimSpace(line[n.Column-1:]))
		}
	}
	return "a colon and a blank make a map of it; begin the item with `- |` and put the command below, indented"
}

// goesOn reports whether what begins on the line of a node has further lines: the next that is not blank is indented
// deeper than the node's item.
func (p *parser) goesOn(n *yaml.Node) bool {
	for i := n.Line + 1; i <= len(p.lines); i++ {
		line := p.line(i)
		text := strings.TrimLeft(line, " ")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		return len(line)-len(text) >= n.Column-1
	}
	return false
}

// quote is a text between single quotes as YAML writes it.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

var (
	retry      = regexp.MustCompile(`^(?i:RETRY)(?:-(.*))?$`)
	retryCount = regexp.MustCompile(`^([0-9]+)(?:-(.+))?$`)
)

// defaultRetries is how often RETRY without a count starts a new build, maxRetries how often it may at most.
const (
	defaultRetries = 3
	maxRetries     = 100
)

func (p *parser) onFailure(e entry, path string) OnFailure {
	text := strings.TrimSpace(p.scalar(e, path))
	switch strings.ToUpper(text) {
	case "":
		return OnFailure{}
	case Abort, Continue:
		return OnFailure{Action: strings.ToUpper(text)}
	}
	m := retry.FindStringSubmatch(text)
	if m == nil {
		hint := ""
		if near := nearest(text, []string{Abort, Continue, Retry}); near != "" {
			hint = "; did you mean " + near + "?"
		}
		p.problemf(e.value, codeValue, path, "%q at line %d is none of ABORT, CONTINUE, RETRY, RETRY-<count>, RETRY-<regex>, RETRY-<count>-<regex>%s", shorten(text), e.value.Line, hint)
		return OnFailure{}
	}
	on := OnFailure{Action: Retry, Count: defaultRetries, Pattern: m[1]}
	if c := retryCount.FindStringSubmatch(m[1]); c != nil {
		on.Pattern = c[2]
		if n, err := strconv.Atoi(c[1]); err != nil || n > maxRetries {
			p.problemf(e.value, codeValue, path, "the count %s at line %d is above %d", shorten(c[1]), e.value.Line, maxRetries)
		} else {
			on.Count = n
		}
	}
	if _, err := regexp.Compile(on.Pattern); err != nil {
		p.problemf(e.value, codeValue, path, "%q at line %d is no regular expression: %s", shorten(on.Pattern), e.value.Line, shorten(fmt.Sprint(err)))
	}
	return on
}
