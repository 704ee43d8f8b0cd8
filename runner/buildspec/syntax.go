package buildspec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const emptyFile = "the file is empty; the smallest buildspec is `version: 0.2` and `phases`"

// document gives the root mapping, or nil and a problem.
func (p *parser) document() *yaml.Node {
	at := func(n *yaml.Node, code, format string, args ...any) *yaml.Node {
		p.problemf(n, code, "", format, args...)
		return nil
	}
	start := &yaml.Node{Line: 1, Column: 1}
	if len(p.text) > MaxSize {
		return at(start, codeLimit, "the file has more than %d bytes, the most that a buildspec may have", MaxSize)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(p.text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return at(start, codeYAML, emptyFile)
	} else if err != nil {
		p.syntax(err)
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return at(&yaml.Node{Line: max(second.Line, 1), Column: 1}, codeYAML, "a second YAML document begins here; a buildspec is one document")
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return at(start, codeYAML, emptyFile)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return at(root, codeYAML, "the file is %s; a buildspec is a map that begins with `version: 0.2`", describe(root))
	}
	return root
}

var (
	yamlLine      = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	ofYAMLsParser = regexp.MustCompile(`^did not find expected (<|'-'|key|',' or|node content)`)
)

// syntax turns an error of the YAML library into a problem. The library counts lines from 0 in messages of its parser
// and from 1 in those of its scanner, and leaves a first line out.
func (p *parser) syntax(err error) {
	text := err.Error()
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if m[1] != "" {
			line, _ = strconv.Atoi(m[1])
			if ofYAMLsParser.MatchString(text) {
				line++
			}
		}
	}
	lines := strings.Split(string(p.text), "\n")
	line = min(line, len(lines))
	fit := ""
	switch {
	case strings.HasPrefix(text, "found a tab character"):
		line = tabbed(lines, line)
	case strings.HasPrefix(text, "did not find expected '-' indicator"), strings.HasPrefix(text, "did not find expected key"):
		// The library names the line where the list or map begins, not the one that does not fit into it.
		if n := misfit(lines, line); n > 0 {
			line, fit = n, "; the line is indented like none above it"
		}
	}
	source := lines[line-1]
	column := len(source) - len(strings.TrimLeft(source, " \t")) + 1
	message := fmt.Sprintf("%s at line %d", text, line)
	switch {
	case strings.HasPrefix(text, "found character that cannot start any token"):
		if tab := strings.IndexByte(source[:column-1], '\t'); tab >= 0 {
			column = tab + 1
			message += "; a tab stands in the indentation, use spaces"
		} else if i := strings.Index(source, "-\t"); i == column-1 {
			column = i + 2
			message += "; a tab stands after the dash, use a space"
		} else if i := strings.IndexAny(source, "@`%"); i >= 0 {
			column = i + 1
			message += fmt.Sprintf("; put the text that begins with %c between single quotes", source[i])
		}
	case strings.HasPrefix(text, "found a tab character"):
		if tab := strings.IndexByte(source, '\t'); tab >= 0 {
			column = tab + 1
		}
		message += "; indent with spaces"
	case leadingSign(source) != "" && (strings.HasPrefix(text, "did not find expected alphabetic") || strings.HasPrefix(text, "did not find expected ',' or")):
		message += leadingSign(source)
	case strings.HasPrefix(text, "did not find expected alphabetic"):
		if i := strings.IndexAny(source, "*&"); i >= 0 {
			column = i + 1
			message += fmt.Sprintf("; put the text that begins with %c between single quotes", source[i])
		}
	case strings.HasPrefix(text, "did not find expected '-' indicator") && fit == "":
		message += notAnItem(lines, line)
	case strings.HasPrefix(text, "mapping values are not allowed"):
		message += colonHint(lines, line)
	case strings.HasPrefix(text, "could not find expected ':'"):
		if hint := colonHint(lines, line); hint != generalColon {
			message += hint
		} else {
			message += "; the line is neither `key: value` nor an item, put `- ` before a command"
		}
	case strings.HasPrefix(text, "found unexpected end of stream"):
		message += "; a quote or a bracket that is opened is not closed"
	case strings.HasPrefix(text, "unknown anchor"):
		if name := strings.Split(text, "'"); len(name) > 1 {
			for i, l := range lines {
				if at := strings.Index(l, "*"+name[1]); at >= 0 {
					line, column = i+1, at+1
					message = fmt.Sprintf("%s at line %d; put a text that begins with * between single quotes", text, line)
					break
				}
			}
		}
	}
	p.add(Problem{Line: line, Column: column, Code: codeYAML, Message: clip(message + fit)})
}

// tabbed is the first line from line on that has a tab in its indentation, or line if none has.
func tabbed(lines []string, line int) int {
	for i := line - 1; i < len(lines); i++ {
		if strings.Contains(lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " \t"))], "\t") {
			return i + 1
		}
	}
	return line
}

var blockScalar = regexp.MustCompile(`(^|[\s:-])[|>][-+0-9]*\s*(#.*)?$`)

// misfit is the first line from line on whose indentation goes back to one that no line above has, or 0. It does not look
// into block scalars, but at what ends them.
func misfit(lines []string, line int) int {
	indents := []int{0}
	inScalar, least, content := false, 0, -1 // of a block scalar: the indentation of its header's line, and of its text
	for i, l := range lines {
		text := strings.TrimRight(l, " \t\r")
		indent := len(text) - len(strings.TrimLeft(text, " "))
		if text == "" || text[indent] == '#' && !inScalar {
			continue
		}
		if inScalar && content < 0 && indent > least {
			content = indent
		}
		if inScalar && content >= 0 && indent >= content {
			continue
		}
		back := inScalar && content >= 0 // the text of a scalar has ended
		inScalar, content = false, -1
		for indents[len(indents)-1] > indent {
			indents = indents[:len(indents)-1]
			back = true
		}
		if indents[len(indents)-1] < indent {
			if back && i+1 >= line {
				return i + 1
			}
			indents = append(indents, indent)
		}
		if blockScalar.MatchString(text) {
			inScalar, least = true, indent
		}
	}
	return 0
}

// clip keeps a message readable that quotes the file.
func clip(message string) string {
	if r := []rune(message); len(r) > 400 {
		return string(r[:399]) + "…"
	}
	return message
}

var item = regexp.MustCompile(`^(\s*)-\s+(\S.*)$`)

const generalColon = "; put a text that contains a colon and a blank between single quotes"

// colonHint says how to write a text that has a colon and a blank, which makes a map of it, given the line of the map's
// error. If the text is an item of a list, that is shown as it should be.
func colonHint(lines []string, line int) string {
	source := strings.TrimRight(lines[line-1], " \t\r")
	if m := item.FindStringSubmatch(source); m != nil {
		if strings.Contains(m[2], ": ") {
			return "; a colon and a blank make a map of it, write: - " + quote(m[2])
		}
		return generalColon
	}
	// A line without a dash may go on from an item above, which is then one text over several lines.
	indent := len(source) - len(strings.TrimLeft(source, " "))
	for i := line - 2; i >= 0 && i > line-50; i-- {
		m := item.FindStringSubmatch(strings.TrimRight(lines[i], " \t\r"))
		if m == nil {
			continue
		}
		if len(m[1]) < indent && strings.Contains(m[2], ": ") {
			return fmt.Sprintf("; the item that begins at line %d has a colon and a blank, which make a map of it; begin it with `- |` and put the command below, indented", i+1)
		}
		break
	}
	return generalColon
}

// notAnItem says what is wrong with a line in a list that is no item: a command that begins with a bracket or a quote that
// YAML closes before the command ends.
func notAnItem(lines []string, line int) string {
	for _, at := range []int{line, line - 1} {
		if at < 1 || at > len(lines) {
			continue
		}
		if hint := leadingSign(lines[at-1]); hint != "" {
			return hint
		}
	}
	return "; put `- ` before each item of a list, and indent all items alike"
}

// leadingSign says how to write an item that begins with a bracket or a quote, if a line is one.
func leadingSign(line string) string {
	m := item.FindStringSubmatch(strings.TrimRight(line, " \t\r"))
	if m == nil || !strings.ContainsAny(m[2][:1], `{["'`) {
		return ""
	}
	return fmt.Sprintf("; YAML takes the %c at the beginning of a text for itself, write: - %s", m[2][0], quote(m[2]))
}
