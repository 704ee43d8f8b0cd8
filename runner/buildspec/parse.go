package buildspec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxSize is the most bytes a buildspec may have.
const MaxSize = 1 << 20

// maxNodes bounds what aliases can blow a small file up to.
const maxNodes = 200_000

// Parse reads a buildspec for a plain build. It returns every problem it finds, sorted by place, without the warnings that
// comments of the file silence; the Spec is nil if one of the problems is an error. It never fails otherwise, whatever the
// bytes. Errors of the block batch, which a plain build ignores, are warnings, and the Spec then has no Batch.
func Parse(text []byte) (*Spec, []Problem) { return parse(&parser{text: text}) }

// ParseBatch is Parse for a batch build, and for those who judge the whole file: errors of the block batch are errors.
func ParseBatch(text []byte) (*Spec, []Problem) { return parse(&parser{text: text, strict: true}) }

func parse(p *parser) (*Spec, []Problem) {
	text, spec := p.text, p.parse()
	if bytesHaveIgnore(text) {
		p.problems = readIgnores(text).silence(p.problems)
	}
	return spec, p.problems
}

type parser struct {
	text     []byte
	problems []Problem
	strict   bool // errors of the block batch are errors
	failed   bool // a problem was an error, told or not
	nodes    int
	lines    []string         // of text, once somebody asks
	merging  []*yaml.Node     // the maps whose entries are being collected
	index    map[string]entry // if not nil, it takes what stands at each path
}

func (p *parser) parse() *Spec {
	var spec *Spec
	if root := p.document(); root != nil {
		spec = p.spec(root)
	}
	Sorted(p.problems)
	if p.failed && Errors(p.problems) == 0 {
		p.problems[maxProblems-1] = Problem{Line: 1, Column: 1, Code: codeLimit, Message: "errors stand behind more than 200 warnings; mend those first"}
	}
	if p.failed {
		return nil
	}
	return spec
}

// Sorted sorts problems by their places, in place, and gives them.
func Sorted(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return problems
}

// problemf reports a problem of the value or key n. Its code says whether it is an error.
func (p *parser) problemf(n *yaml.Node, code, path, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = shorten(path) + ": " + message
	}
	p.add(Problem{Line: n.Line, Column: n.Column, Path: path, Code: code, Message: message, Warning: !isError(code)})
}

// maxProblems is how many problems are told; whoever has that many mends a few first.
const maxProblems = 200

func (p *parser) add(problem Problem) {
	if len(p.problems) < maxProblems && !slices.Contains(p.problems, problem) { // an anchor's problem is found at each of its aliases
		p.problems = append(p.problems, problem)
	}
	p.failed = p.failed || !problem.Warning
}

// resolve follows aliases and counts what is visited, so that a file of aliases upon aliases ends.
func (p *parser) resolve(n *yaml.Node) *yaml.Node {
	p.nodes++
	for hops := 0; n.Kind == yaml.AliasNode && hops < 100; hops++ {
		n = n.Alias
	}
	if p.nodes == maxNodes {
		p.problemf(n, codeLimit, "aliases", "the file unfolds to more than %d values", maxNodes)
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

// An entry is a key of a mapping with its value. The zero entry is the absence of a key.
type entry struct {
	name       string
	key, value *yaml.Node
}

// given reports whether the key stands in the file with a value that is not null.
func (e entry) given() bool { return e.value != nil && !isNull(e.value) }

// entries gives the entries of a mapping in the file's order, those merged by << last. A value that is no mapping, and a
// key that stands twice, is an error. Null is an empty mapping.
func (p *parser) entries(n *yaml.Node, path string) []entry {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.problemf(n, codeKind, path, "expected a map of keys, found %s at line %d", describe(n), n.Line)
		return nil
	}
	if slices.Contains(p.merging, n) {
		p.problemf(n, codeYAML, path, "the map at line %d merges itself", n.Line)
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
			p.problemf(key, codeKind, path, "a key is %s at line %d; write a text", describe(key), key.Line)
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
			p.problemf(key, codeConflict, join(path, key.Value), "the key stands twice, at line %d and line %d; keep one", first.Line, key.Line)
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

// A block is the keys of a mapping whose keys are fixed, by their names.
type block struct {
	path string
	keys map[string]entry
}

// at is a key of the block and its path.
func (b block) at(name string) (e entry, path string) { return b.keys[name], b.path + "." + name }

// block reads a mapping whose keys are those of the table below row. What is unknown is warned of and left out.
func (p *parser) block(n *yaml.Node, path, row string) block {
	return p.blockOf(n, path, tables[row])
}

func (p *parser) blockOf(n *yaml.Node, path string, t table) block {
	b := block{path, map[string]entry{}}
	for _, e := range p.entries(n, path) {
		at := join(path, e.name)
		k, known := t.rows[e.name]
		switch {
		case !known && belongsToTop(path, e.name):
			p.problemf(e.key, codeUnknown, at, misplaced)
		case !known:
			p.problemf(e.key, codeUnknown, at, "%s", unknown(e.name, t.names))
		case k.kind == refused && e.name == "steps":
			p.problemf(e.key, codeRefused, at, "%s at line %d; write their commands as `commands`", k.about, e.key.Line)
		case k.kind == refused:
			p.problemf(e.key, codeRefused, at, "%s at line %d; leave it out", k.about, e.key.Line)
		case k.kind == ignored:
			p.problemf(e.key, codeNoEffect, at, "%s", k.about)
		default:
			b.keys[e.name] = e
			if p.index != nil {
				p.index[at] = e
			}
		}
	}
	return b
}

const misplaced = "belongs further left, to the top level beside phases; here it is ignored"

// belongsToTop reports whether a key that nobody knows below phases is one of the file's blocks.
func belongsToTop(path, name string) bool {
	k, known := tables[""].rows[name]
	return known && (k.kind == aBlock || k.kind == aBlocks || name == "version") && (path == "phases" || strings.HasPrefix(path, "phases."))
}

// isError reports whether a code is that of an error.
func isError(code string) bool { return strings.HasPrefix(code, "BS0") }
