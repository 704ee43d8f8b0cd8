package buildspec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
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
	if m := keyLine.FindStringSubmatch(root.Value); m != nil && m[1] == "version" {
		return at(root, codeYAML, "the file is a text, since a blank is missing behind the colon; write: version: %s", shorten(m[2]))
	}
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
// and from 1 in those of its scanner, and leaves a first line out. It names the line where the list, the map or the text
// begins that it could not read to its end, which is often not the one that is wrong.
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
	add := func(line, column int, hint string) {
		p.add(Problem{Line: line, Column: column, Code: codeYAML, Message: clip(fmt.Sprintf("%s at line %d%s", text, line, hint))})
	}
	if strings.HasPrefix(text, "found a tab character") {
		line = tabbed(lines, line)
		add(line, max(strings.IndexByte(lines[line-1], '\t'), 0)+1, "; indent with spaces")
		return
	}
	source := lines[line-1]
	column := len(source) - len(strings.TrimLeft(source, " \t")) + 1
	unstarted := strings.HasPrefix(text, "found character that cannot start any token")
	if unstarted {
		if tab := strings.IndexByte(source[:column-1], '\t'); tab >= 0 {
			add(line, tab+1, "; a tab stands in the indentation, use spaces")
			return
		} else if i := strings.Index(source, "-\t"); i == column-1 {
			add(line, i+2, "; a tab stands after the dash, use a space")
			return
		}
	}
	if strings.HasPrefix(text, "unknown anchor") {
		if name := strings.Split(text, "'"); len(name) > 1 {
			for i, l := range lines {
				at := strings.Index(l, "*"+name[1])
				if at < 0 {
					continue
				}
				if item := itemAt(lines, i); item != nil && item.hint() != "" {
					add(i+1, item.column, item.hint())
				} else {
					add(i+1, at+1, "; put a text that begins with * between single quotes")
				}
				return
			}
		}
	}
	noted := detected(lines, line, err)
	if item := culprit(lines, noted); item != nil {
		add(item.line, item.column, item.hint())
		return
	}
	hint := ""
	list := strings.HasPrefix(text, "did not find expected '-' indicator")
	switch {
	case list, strings.HasPrefix(text, "did not find expected key"):
		begin := line
		line = noted
		if n := misfit(lines, begin); n > 0 && n <= noted {
			line, hint = n, "; the line is indented like none above it"
		} else if list && itemLine.MatchString(lines[noted-1]) {
			hint = fmt.Sprintf("; the item is indented deeper than the one at line %d, indent all items of a list alike", begin)
		} else if list {
			hint = "; put `- ` before each item of a list, and indent all items alike"
		}
		source = lines[line-1]
		column = len(source) - len(strings.TrimLeft(source, " \t")) + 1
	case unstarted:
		if i := strings.IndexAny(source, "@`%"); i >= 0 {
			column = i + 1
			hint = fmt.Sprintf("; put the text that begins with %c between single quotes", source[i])
		}
	case strings.HasPrefix(text, "did not find expected alphabetic"):
		if i := strings.IndexAny(source, "*&"); i >= 0 {
			column = i + 1
			hint = fmt.Sprintf("; put the text that begins with %c between single quotes", source[i])
		}
	case strings.HasPrefix(text, "mapping values are not allowed"), strings.HasPrefix(text, "could not find expected ':'"):
		if n, key, value := unspaced(lines, noted); n > 0 {
			line, column = n, strings.Index(lines[n-1], key)+1
			hint = fmt.Sprintf("; a blank is missing behind a colon, write: %s: %s", key, value)
		} else if l := strings.TrimSpace(source); dashed.MatchString(l) {
			hint = "; a blank is missing after -, write: - " + l[1:]
		} else if strings.HasPrefix(text, "mapping") {
			hint = generalColon
		} else {
			hint = "; the line is neither `key: value` nor an item, put `- ` before a command"
		}
	case strings.HasPrefix(text, "found unexpected end of stream"):
		hint = "; a quote or a bracket that is opened is not closed"
	}
	add(line, column, hint)
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

const generalColon = "; put a text that contains a colon and a blank between single quotes"

var keyLine = regexp.MustCompile(`^\s*([a-z_0-9-]+):([^\s:].*)$`)

// isKey reports whether a name is that of a key of the format, wherever.
func isKey(name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return k.name() == name })
}

// unspaced finds the first line up to one that has a key of the format with its value right behind the colon.
func unspaced(lines []string, until int) (line int, name, value string) {
	for i, l := range lines[:until] {
		if m := keyLine.FindStringSubmatch(strings.TrimRight(l, " \t\r")); m != nil && isKey(m[1]) {
			return i + 1, m[1], m[2]
		}
	}
	return 0, "", ""
}
