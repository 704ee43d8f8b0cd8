package buildspec

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxSize is the most bytes a buildspec may have.
const MaxSize = 1 << 20

// maxNodes bounds what aliases can blow a small file up to.
const maxNodes = 200_000

// Parse reads a buildspec. It returns every problem it finds, sorted by place; the Spec is nil if one of them is an
// error. It never fails otherwise, whatever the bytes.
func Parse(text []byte) (*Spec, []Problem) {
	p := &parser{text: text}
	var spec *Spec
	if root := p.document(); root != nil {
		spec = p.spec(root)
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if p.failed && Errors(p.problems) == 0 {
		p.problems[maxProblems-1] = Problem{Line: 1, Column: 1, Message: "errors stand behind more than 200 warnings; mend those first"}
	}
	if p.failed {
		return nil, p.problems
	}
	return spec, p.problems
}

type parser struct {
	text     []byte
	problems []Problem
	failed   bool // a problem was an error, told or not
	nodes    int
	merging  []*yaml.Node // the maps whose entries are being collected
}

func (p *parser) errorf(n *yaml.Node, path, format string, args ...any) {
	p.report(n, path, false, fmt.Sprintf(format, args...))
}

func (p *parser) warnf(n *yaml.Node, path, format string, args ...any) {
	p.report(n, path, true, fmt.Sprintf(format, args...))
}

func (p *parser) report(n *yaml.Node, path string, warning bool, message string) {
	if path != "" {
		message = path + ": " + message
	}
	p.add(Problem{Line: n.Line, Column: n.Column, Path: path, Message: message, Warning: warning})
}

// maxProblems is how many problems are told; whoever has that many mends a few first.
const maxProblems = 200

func (p *parser) add(problem Problem) {
	if len(p.problems) < maxProblems && !slices.Contains(p.problems, problem) { // an anchor's problem is found at each of its aliases
		p.problems = append(p.problems, problem)
	}
	p.failed = p.failed || !problem.Warning
}

// document gives the root mapping, or nil and a problem.
func (p *parser) document() *yaml.Node {
	whole := func(format string, args ...any) *yaml.Node {
		p.add(Problem{Line: 1, Column: 1, Message: fmt.Sprintf(format, args...)})
		return nil
	}
	if len(p.text) > MaxSize {
		return whole("the file has more than %d bytes, the most that a buildspec may have", MaxSize)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(p.text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return whole("the file is empty; the smallest buildspec is `version: 0.2` and `phases`")
	} else if err != nil {
		p.syntax(err)
		return nil
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		p.add(Problem{Line: max(second.Line, 1), Column: 1, Message: "a second YAML document begins here; a buildspec is one document"})
		return nil
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 {
		return whole("the file is empty; the smallest buildspec is `version: 0.2` and `phases`")
	}
	root := doc.Content[0]
	if isNull(root) {
		return whole("the file is empty; the smallest buildspec is `version: 0.2` and `phases`")
	}
	if root.Kind != yaml.MappingNode {
		p.add(Problem{Line: root.Line, Column: root.Column, Message: fmt.Sprintf("the file is %s; a buildspec is a map that begins with `version: 0.2`", describe(root))})
		return nil
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
	source := lines[line-1]
	column := len(source) - len(strings.TrimLeft(source, " \t")) + 1
	message := fmt.Sprintf("%s at line %d", text, line)
	switch {
	case strings.HasPrefix(text, "found character that cannot start any token"):
		if tab := strings.IndexByte(source[:column-1], '\t'); tab >= 0 {
			column = tab + 1
			message += "; a tab stands in the indentation, use spaces"
		} else if i := strings.IndexAny(source, "@`%"); i >= 0 {
			column = i + 1
			message += fmt.Sprintf("; put the text that begins with %c between single quotes", source[i])
		}
	case strings.HasPrefix(text, "did not find expected alphabetic"):
		if i := strings.IndexAny(source, "*&"); i >= 0 {
			column = i + 1
			message += fmt.Sprintf("; put the text that begins with %c between single quotes", source[i])
		}
	case strings.HasPrefix(text, "mapping values are not allowed"):
		message += "; put a text that contains a colon and a blank between single quotes"
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
	p.add(Problem{Line: line, Column: column, Message: message})
}

// resolve follows aliases and counts what is visited, so that a file of aliases upon aliases ends.
func (p *parser) resolve(n *yaml.Node) *yaml.Node {
	p.nodes++
	for hops := 0; n.Kind == yaml.AliasNode && hops < 100; hops++ {
		n = n.Alias
	}
	if p.nodes == maxNodes {
		p.errorf(n, "aliases", "the file unfolds to more than %d values", maxNodes)
	}
	if p.nodes >= maxNodes {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line, Column: n.Column}
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func describe(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "empty"
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	return "a text"
}

// An entry is a key of a mapping with its value.
type entry struct {
	name       string
	key, value *yaml.Node
}

// entries gives the entries of a mapping in the file's order, those merged by << last. A value that is no mapping, and a
// key that stands twice, is an error. Null is an empty mapping.
func (p *parser) entries(n *yaml.Node, path string) []entry {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.errorf(n, path, "expected a map of keys, found %s at line %d", describe(n), n.Line)
		return nil
	}
	if slices.Contains(p.merging, n) {
		p.errorf(n, path, "the map at line %d merges itself", n.Line)
		return nil
	}
	p.merging = append(p.merging, n)
	defer func() { p.merging = p.merging[:len(p.merging)-1] }()
	var own, merged []entry
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], p.resolve(n.Content[i+1])
		if key.Kind == yaml.AliasNode {
			key = p.resolve(key)
		}
		if key.Kind != yaml.ScalarNode {
			p.errorf(key, path, "a key is %s; write a text", describe(key))
			continue
		}
		if key.Tag == "!!merge" {
			sources := []*yaml.Node{value}
			if value.Kind == yaml.SequenceNode {
				sources = value.Content
			}
			for _, source := range sources {
				if p.nodes < maxNodes {
					merged = append(merged, p.entries(p.resolve(source), path+".<<")...)
				}
			}
			continue
		}
		if first, twice := seen[key.Value]; twice {
			p.errorf(key, join(path, key.Value), "the key stands twice, at line %d and line %d; keep one", first.Line, key.Line)
			continue
		}
		seen[key.Value] = key
		own = append(own, entry{key.Value, key, value})
	}
	for _, e := range merged {
		if _, twice := seen[e.name]; !twice {
			seen[e.name] = e.key
			own = append(own, e)
		}
	}
	return own
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// block reads a mapping whose keys are fixed; what is unknown is warned of and left out.
func (p *parser) block(n *yaml.Node, path string, known []string) map[string]entry {
	block := map[string]entry{}
	for _, e := range p.entries(n, path) {
		if !slices.Contains(known, e.name) {
			p.warnf(e.key, join(path, e.name), "%s", unknown(e.name, known))
			continue
		}
		block[e.name] = e
	}
	return block
}

// scalar is the source text of a value, empty for null.
func (p *parser) scalar(e entry, path string) string {
	if e.value == nil {
		return ""
	}
	if isNull(e.value) {
		return ""
	}
	if e.value.Kind != yaml.ScalarNode {
		p.errorf(e.value, path, "expected a text, found %s at line %d", describe(e.value), e.value.Line)
		return ""
	}
	return e.value.Value
}

// oneOf is a scalar that must be one of values, compared without regard to case if fold is set, and given in their form.
func (p *parser) oneOf(e entry, path string, fold bool, values ...string) string {
	text := p.scalar(e, path)
	if text == "" {
		return ""
	}
	for _, v := range values {
		if text == v || fold && strings.EqualFold(text, v) {
			return v
		}
	}
	p.errorf(e.value, path, "%q at line %d is none of %s", text, e.value.Line, strings.Join(values, ", "))
	return ""
}

// flag is yes or no in any of YAML's words.
func (p *parser) flag(e entry, path string) bool {
	switch text := p.scalar(e, path); strings.ToLower(text) {
	case "yes", "true", "on":
		return true
	case "", "no", "false", "off":
		return false
	default:
		p.errorf(e.value, path, "%q at line %d is neither yes nor no", text, e.value.Line)
		return false
	}
}

// texts is a list of texts; one text stands for a list of one.
func (p *parser) texts(e entry, path string) []string {
	if e.value == nil || isNull(e.value) {
		return nil
	}
	if e.value.Kind == yaml.ScalarNode {
		return []string{e.value.Value}
	}
	if e.value.Kind != yaml.SequenceNode {
		p.errorf(e.value, path, "expected a list of texts, found %s at line %d", describe(e.value), e.value.Line)
		return nil
	}
	var texts []string
	for i, item := range e.value.Content {
		item = p.resolve(item)
		if isNull(item) {
			continue
		}
		if item.Kind != yaml.ScalarNode {
			p.errorf(item, path, "expected a text as item %d, found %s at line %d", i, describe(item), item.Line)
			continue
		}
		texts = append(texts, item.Value)
	}
	return texts
}

// variables is a map from names of environment variables to texts.
func (p *parser) variables(e entry, path string) []Variable {
	if e.value == nil {
		return nil
	}
	var variables []Variable
	for _, v := range p.entries(e.value, path) {
		at := join(path, v.name)
		switch {
		case !validName(v.name):
			p.errorf(v.key, at, "%q is no name of a variable; use letters, digits and _, not a digit first", v.name)
			continue
		case strings.HasPrefix(v.name, "CODEBUILD_"):
			p.warnf(v.key, at, "names that begin with CODEBUILD_ are reserved; ignored")
			continue
		}
		variables = append(variables, Variable{Name: v.name, Value: p.scalar(v, at), Line: v.key.Line})
	}
	return variables
}
