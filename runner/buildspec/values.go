package buildspec

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buildsmith/runner/glob"

	"gopkg.in/yaml.v3"
)

// scalar is the source text of a value, empty for null.
func (p *parser) scalar(e entry, path string) string {
	if !e.given() {
		return ""
	}
	if e.value.Kind != yaml.ScalarNode {
		p.problemf(e.value, codeKind, path, "expected a text, found %s at line %d", describe(e.value), e.value.Line)
		return ""
	}
	return p.plain(e.value, path)
}

// plain is the text of a scalar, which goes into the environment or the arguments of a process.
func (p *parser) plain(n *yaml.Node, path string) string {
	if strings.IndexByte(n.Value, 0) >= 0 {
		p.problemf(n, codeValue, path, "the text at line %d has a NUL byte, which no command and no variable can have", n.Line)
		return ""
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		p.problemf(n, codeTag, path, "%s begins a tag of YAML and is not part of the text; put the text between single quotes", shorten(n.Tag))
	}
	return n.Value
}

// oneOf is a scalar that must be one of values, compared without regard to case if fold is set, and given in their form.
func (p *parser) oneOf(e entry, path string, fold bool, values ...string) string {
	text := strings.TrimSpace(p.scalar(e, path))
	if text == "" {
		return ""
	}
	for _, v := range values {
		if text == v || fold && strings.EqualFold(text, v) {
			return v
		}
	}
	hint := ""
	if near := nearest(text, values); near != "" && fold {
		hint = "; did you mean " + near + "?"
	}
	p.problemf(e.value, codeValue, path, "%q at line %d is none of %s%s", shorten(text), e.value.Line, strings.Join(values, ", "), hint)
	return ""
}

// flag is yes or no in any of YAML's words.
func (p *parser) flag(e entry, path string) bool {
	switch text := strings.TrimSpace(p.scalar(e, path)); strings.ToLower(text) {
	case "yes", "true", "on":
		return true
	case "", "no", "false", "off":
		return false
	default:
		p.problemf(e.value, codeValue, path, "%q at line %d is neither yes nor no", shorten(text), e.value.Line)
		return false
	}
}

// number is a whole number from least to most, and 0 after a problem.
func (p *parser) number(e entry, path string, least, most int) int {
	text := strings.TrimSpace(p.scalar(e, path))
	n, err := strconv.Atoi(text)
	switch {
	case e.value.Kind != yaml.ScalarNode:
	case err != nil || strings.Trim(text, "0123456789") != "" || n < least:
		p.problemf(e.value, codeValue, path, "%q at line %d is no number from %d on", shorten(text), e.value.Line, least)
	case n > most:
		p.problemf(e.value, codeLimit, path, "%d at line %d is more than %d", n, e.value.Line, most)
	default:
		return n
	}
	return 0
}

// items gives the nodes of a list that are not null; one text stands for a list of one.
func (p *parser) items(e entry, path string) []*yaml.Node {
	if !e.given() {
		return nil
	}
	if e.value.Kind == yaml.ScalarNode {
		return []*yaml.Node{e.value}
	}
	if e.value.Kind != yaml.SequenceNode {
		p.problemf(e.value, codeKind, path, "expected a list of texts, found %s at line %d", describe(e.value), e.value.Line)
		return nil
	}
	var items []*yaml.Node
	for i, item := range e.value.Content {
		item = p.resolve(item)
		if isNull(item) {
			continue
		}
		if item.Kind != yaml.ScalarNode {
			p.problemf(item, codeKind, path, "expected a text as item %d, found %s at line %d", i, describe(item), item.Line)
			continue
		}
		items = append(items, item)
	}
	return items
}

// texts is a list of texts; one text stands for a list of one.
func (p *parser) texts(e entry, path string) []string {
	var texts []string
	for _, item := range p.items(e, path) {
		texts = append(texts, p.plain(item, path))
	}
	return texts
}

// atLeastOne is a list of texts that has to name something once the key is there.
func (p *parser) atLeastOne(e entry, path, what string) []string {
	if e.key == nil {
		return nil
	}
	var texts []string
	for _, item := range p.items(e, path) {
		if text := p.plain(item, path); strings.TrimSpace(text) == "" {
			p.problemf(item, codeValue, path, "an empty text at line %d; name a %s, or leave it out", item.Line, what)
		} else {
			texts = append(texts, text)
		}
	}
	if len(texts) == 0 && !p.has(path) {
		p.problemf(e.key, codeMissing, path, "is empty at line %d; name at least one %s, or leave the key out", e.key.Line, what)
	}
	return texts
}

// has reports whether there is an error of a path.
func (p *parser) has(path string) bool {
	return slices.ContainsFunc(p.problems, func(q Problem) bool { return q.Path == path && !q.Warning })
}

// patterns is a list of file patterns, which must be given if required is set.
func (p *parser) patterns(b block, at *yaml.Node, key string, required bool) []string {
	e, path := b.at(key)
	items := p.items(e, path)
	if required && (p.has(b.path) || p.has(path)) { // told already
	} else if required && e.key == nil {
		p.problemf(at, codeMissing, path, "missing at line %d; name at least one file or pattern, such as '**/*'", at.Line)
	} else if required && len(items) == 0 && e.value.Kind != yaml.MappingNode {
		p.problemf(e.key, codeMissing, path, "is empty at line %d; name at least one file or pattern, such as '**/*'", e.key.Line)
	}
	var texts []string
	for _, item := range items {
		if _, err := glob.Compile(item.Value); err != nil {
			wrong, hint, found := strings.Cut(err.Error(), "; ")
			if found {
				hint = "; " + hint
			}
			p.problemf(item, codeValue, path, "%s at line %d%s", shorten(wrong), item.Line, shorten(hint))
		}
		texts = append(texts, p.plain(item, path))
	}
	return texts
}

// names is a map from names of environment variables to texts.
func (p *parser) names(e entry, path string) []Variable {
	var variables []Variable
	for _, v := range p.named(e, path) {
		variables = append(variables, Variable{Name: v.name, Value: p.scalar(v, join(path, v.name)), Line: v.key.Line})
	}
	return variables
}

// named gives the entries of a map whose keys are names of environment variables that a file may set.
func (p *parser) named(e entry, path string) []entry {
	if e.value == nil {
		return nil
	}
	var entries []entry
	for _, v := range p.entries(e.value, path) {
		at := join(path, v.name)
		switch {
		case !validName(v.name):
			p.problemf(v.key, codeValue, at, "%q at line %d is no name of a variable; use letters, digits and _, not a digit first", shorten(v.name), v.key.Line)
			continue
		case strings.HasPrefix(v.name, "CODEBUILD_"):
			p.problemf(v.key, codeReserved, at, "names that begin with CODEBUILD_ are reserved; ignored")
			continue
		}
		if p.index != nil {
			p.index[at] = v
		}
		entries = append(entries, v)
	}
	return entries
}

// reference checks what secrets-manager names: secret-id[:json-key[:version-stage[:version-id]]].
func (p *parser) reference(e entry, path string) string {
	text := p.scalar(e, path)
	fields := strings.Split(text, ":")
	id, rest := fields[0], fields[1:]
	if id == "arn" && len(fields) > 1 {
		if len(fields) < 7 || fields[6] == "" {
			p.problemf(e.value, codeValue, path, "%q at line %d is no ARN of a secret; write arn:aws:secretsmanager:<region>:<account>:secret:<name>", shorten(text), e.value.Line)
			return text
		}
		id, rest = strings.Join(fields[:7], ":"), fields[7:]
	}
	switch {
	case p.has(path):
	case strings.TrimSpace(id) == "":
		p.problemf(e.key, codeMissing, path, "names no secret at line %d; write secret-id[:json-key[:version-stage[:version-id]]]", e.key.Line)
	case len(rest) > 3:
		p.problemf(e.value, codeValue, path, "%q at line %d has %d fields after the secret's id, and three are the most: json-key, version-stage, version-id", shorten(text), e.value.Line, len(rest))
	case len(rest) == 3 && rest[1] != "" && rest[2] != "":
		p.problemf(e.value, codeConflict, path, "version-stage %q and version-id %q exclude each other at line %d; leave one empty, such as %s:%s::%s",
			shorten(rest[1]), shorten(rest[2]), e.value.Line, shorten(id), shorten(rest[0]), shorten(rest[2]))
	}
	return text
}

// user is the name of a Linux user, or its number.
func (p *parser) user(e entry, path string) string {
	text := strings.TrimSpace(p.scalar(e, path))
	if text != "" && !userName.MatchString(text) {
		p.problemf(e.value, codeValue, path, "%q at line %d is no name of a user", shorten(text), e.value.Line)
		return ""
	}
	return text
}

var userName = regexp.MustCompile(userPattern)
