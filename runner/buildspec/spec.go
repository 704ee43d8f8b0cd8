package buildspec

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buildsmith/runner/glob"

	"gopkg.in/yaml.v3"
)

func (p *parser) spec(root *yaml.Node) *Spec {
	var spec Spec
	old := false
	known := topKeys
	if version(root) == "0.1" {
		old = true
		known = append(slices.Clone(topKeys), "environment_variables")
	}
	top := map[string]entry{}
	var stray []entry // phases that lost their indentation
	for _, e := range p.entries(root, "") {
		switch {
		case slices.Contains(known, e.name):
			top[e.name] = e
		case e.name == "environment_variables":
			p.warnf(e.key, e.name, "belongs to version 0.1, ignored; in 0.2 write env: {variables: {...}}")
		case isPhase(e.name):
			stray = append(stray, e)
		default:
			p.warnf(e.key, e.name, "%s", unknown(e.name, topKeys))
		}
	}
	spec.Version = p.version(root, top)
	spec.RunAs = p.scalar(top["run-as"], "run-as")
	if e, ok := top["env"]; ok {
		spec.Env = p.env(e)
	}
	if e, ok := top["environment_variables"]; ok && old {
		block := p.block(e.value, "environment_variables", []string{"plaintext"})
		spec.Env.Variables = append(spec.Env.Variables, p.variables(block["plaintext"], "environment_variables.plaintext")...)
	}
	if e, ok := top["proxy"]; ok {
		for name, e := range p.block(e.value, "proxy", proxyKeys) {
			p.flag(e, "proxy."+name)
		}
	}
	_, spec.Batch = top["batch"]
	p.phases(&spec, root, top, stray)
	if e, ok := top["reports"]; ok {
		spec.Reports = p.reports(e)
	}
	if e, ok := top["artifacts"]; ok {
		artifacts := p.artifacts(e, "artifacts", "", old)
		spec.Artifacts = &artifacts
	}
	if e, ok := top["cache"]; ok {
		spec.Cache = p.cache(e)
	}
	if old {
		for _, name := range []string{"env", "batch", "reports", "cache", "proxy", "run-as"} {
			if e, ok := top[name]; ok {
				p.warnf(e.key, name, "is not documented for version 0.1; it is read as in 0.2")
			}
		}
	}
	return &spec
}

// version looks for the version before anything else is read, since it decides which keys are known.
func version(root *yaml.Node) string {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "version" {
			return root.Content[i+1].Value
		}
	}
	return ""
}

func (p *parser) version(root *yaml.Node, top map[string]entry) string {
	e, ok := top["version"]
	if !ok || isNull(e.value) || e.value.Kind == yaml.ScalarNode && e.value.Value == "" {
		at := root
		if ok {
			at = e.key
		}
		p.errorf(at, "version", "missing (wrong number of container tags, expected 1); write `version: 0.2` as the first line")
		return ""
	}
	text := p.scalar(e, "version")
	if text != "" && text != "0.1" && text != "0.2" {
		p.errorf(e.value, "version", "%q at line %d is no version of the format; write 0.2", text, e.value.Line)
	}
	return text
}

func (p *parser) env(e entry) Env {
	block := p.block(e.value, "env", envKeys)
	env := Env{
		Shell:               p.oneOf(block["shell"], "env.shell", false, shells...),
		Variables:           p.variables(block["variables"], "env.variables"),
		ParameterStore:      p.variables(block["parameter-store"], "env.parameter-store"),
		SecretsManager:      p.variables(block["secrets-manager"], "env.secrets-manager"),
		Exported:            p.texts(block["exported-variables"], "env.exported-variables"),
		GitCredentialHelper: p.flag(block["git-credential-helper"], "env.git-credential-helper"),
	}
	first := map[string]string{}
	for _, m := range []struct {
		path      string
		variables []Variable
	}{{"env.variables", env.Variables}, {"env.parameter-store", env.ParameterStore}, {"env.secrets-manager", env.SecretsManager}} {
		for _, v := range m.variables {
			if before, twice := first[v.Name]; twice {
				p.add(Problem{Line: v.Line, Column: 1, Path: m.path + "." + v.Name,
					Message: fmt.Sprintf("%s.%s: the name also stands in %s; keep one", m.path, v.Name, before)})
			}
			first[v.Name] = m.path
		}
	}
	for _, name := range env.Exported {
		if !validName(name) {
			p.errorf(block["exported-variables"].value, "env.exported-variables", "%q is no name of a variable", name)
		}
	}
	return env
}

// phases fills the four phases, whatever their order in the file.
func (p *parser) phases(spec *Spec, root *yaml.Node, top map[string]entry, stray []entry) {
	for _, n := range phaseNames {
		spec.Phases = append(spec.Phases, Phase{Name: n.phase})
	}
	e, ok := top["phases"]
	for _, s := range stray {
		if ok && isNull(e.value) {
			p.errorf(s.key, s.name, "%s at line %d is a phase, but stands beside phases; indent it by two spaces more", s.name, s.key.Line)
		} else {
			p.warnf(s.key, s.name, "is a phase, but stands outside of phases; ignored. Move it into phases")
		}
	}
	switch {
	case !ok && spec.Batch:
		spec.NoPhases = true
		return
	case !ok:
		p.errorf(root, "phases", "missing; write `phases:` with at least one of install, pre_build, build, post_build")
		return
	case isNull(e.value):
		if len(stray) == 0 {
			p.errorf(e.key, "phases", "is empty at line %d; write at least one of install, pre_build, build, post_build", e.key.Line)
		}
		return
	}
	for _, e := range p.entries(e.value, "phases") {
		i := slices.IndexFunc(phaseNames, func(n struct{ key, phase string }) bool { return n.key == e.name })
		if i < 0 {
			known := []string{"install", "pre_build", "build", "post_build"}
			p.warnf(e.key, "phases."+e.name, "%s", strings.Replace(unknown(e.name, known), "unknown key", "unknown phase", 1))
			continue
		}
		spec.Phases[i] = p.phase(e, "phases."+e.name, spec.Phases[i].Name)
	}
}

func (p *parser) phase(e entry, path, name string) Phase {
	phase := Phase{Name: name}
	known := phaseKeys
	if name == Install {
		known = append(slices.Clone(phaseKeys), "runtime-versions")
	}
	block := map[string]entry{}
	for _, e := range p.entries(e.value, path) {
		switch {
		case slices.Contains(known, e.name):
			block[e.name] = e
		case e.name == "steps":
			p.errorf(e.key, path+".steps", "GitHub Actions steps are not supported at line %d; write their commands as `commands`", e.key.Line)
		case e.name == "runtime-versions":
			p.warnf(e.key, path+".runtime-versions", "is read in install only; ignored")
		default:
			p.warnf(e.key, join(path, e.name), "%s", unknown(e.name, known))
		}
	}
	phase.RunAs = p.scalar(block["run-as"], path+".run-as")
	phase.OnFailure = p.onFailure(block["on-failure"], path+".on-failure")
	phase.Commands = p.commands(block["commands"], path+".commands", "Commands")
	phase.Finally = p.commands(block["finally"], path+".finally", "Finally")
	if e, ok := block["runtime-versions"]; ok {
		phase.Runtimes = p.variablesLoose(e, path+".runtime-versions")
		if len(p.entries(e.value, path+".runtime-versions")) == 0 {
			p.errorf(e.key, path+".runtime-versions", "is empty at line %d; name at least one runtime, or leave the key out", e.key.Line)
		}
	}
	_, commands := block["commands"]
	_, finally := block["finally"]
	if name != Install && !commands && !finally {
		p.warnf(e.key, path, "has no commands; nothing runs")
	}
	return phase
}

// variablesLoose is a map of texts whose keys are names of anything.
func (p *parser) variablesLoose(e entry, path string) []Variable {
	var variables []Variable
	for _, v := range p.entries(e.value, path) {
		variables = append(variables, Variable{Name: v.name, Value: p.scalar(v, join(path, v.name)), Line: v.key.Line})
	}
	return variables
}

func (p *parser) commands(e entry, path, word string) []Command {
	switch {
	case e.value == nil:
		return nil
	case isNull(e.value):
		p.warnf(e.key, path, "is empty; nothing runs")
		return nil
	case e.value.Kind == yaml.ScalarNode:
		p.warnf(e.value, path, "is one text instead of a list; put `- ` before it")
		if strings.TrimSpace(e.value.Value) == "" {
			return nil
		}
		return []Command{{e.value.Value, e.value.Line}}
	case e.value.Kind != yaml.SequenceNode:
		p.errorf(e.value, path, "expected a list of commands, found %s at line %d; put `- ` before each command", describe(e.value), e.value.Line)
		return nil
	}
	var commands []Command
	for i, item := range e.value.Content {
		item = p.resolve(item)
		switch {
		case isNull(item):
		case item.Kind == yaml.ScalarNode:
			if strings.TrimSpace(item.Value) != "" {
				commands = append(commands, Command{strings.ReplaceAll(item.Value, "\r\n", "\n"), item.Line})
			}
		default:
			message := fmt.Sprintf("Expected %s[%d] to be of string type: found subkeys instead at line %d", word, i, item.Line)
			if quoted := quote(p.source(item)); item.Kind == yaml.MappingNode && quoted != "" {
				message += "; a colon and a blank make a map of it, write: - " + quoted
			} else {
				message += "; put the whole command between single quotes"
			}
			p.errorf(item, path, "%s", message)
		}
	}
	return commands
}

// source is the text of a node that lies on one line, up to the end of the line.
func (p *parser) source(n *yaml.Node) string {
	last := n
	for len(last.Content) > 0 {
		last = last.Content[len(last.Content)-1]
	}
	if n.Style&yaml.FlowStyle != 0 || last.Line != n.Line {
		return ""
	}
	lines := strings.Split(string(p.text), "\n")
	if n.Line > len(lines) || n.Column-1 > len(lines[n.Line-1]) {
		return ""
	}
	return strings.TrimSpace(lines[n.Line-1][n.Column-1:])
}

// quote is a text between single quotes as YAML writes it.
func quote(text string) string {
	if text == "" {
		return ""
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

var retry = regexp.MustCompile(`^(?i:RETRY)(?:-(.*))?$`)
var retryCount = regexp.MustCompile(`^([0-9]+)(?:-(.+))?$`)

// defaultRetries is how often RETRY without a count starts a new build.
const defaultRetries = 3

func (p *parser) onFailure(e entry, path string) OnFailure {
	text := p.scalar(e, path)
	switch strings.ToUpper(text) {
	case "":
		return OnFailure{}
	case Abort, Continue:
		return OnFailure{Action: strings.ToUpper(text)}
	}
	m := retry.FindStringSubmatch(text)
	if m == nil {
		p.errorf(e.value, path, "%q at line %d is none of ABORT, CONTINUE, RETRY, RETRY-<count>, RETRY-<regex>, RETRY-<count>-<regex>", text, e.value.Line)
		return OnFailure{}
	}
	on := OnFailure{Action: Retry, Count: defaultRetries, Pattern: m[1]}
	if c := retryCount.FindStringSubmatch(m[1]); c != nil {
		on.Pattern = c[2]
		if n, err := strconv.Atoi(c[1]); err != nil || n > 100 {
			p.errorf(e.value, path, "the count %s at line %d is above 100", c[1], e.value.Line)
		} else {
			on.Count = n
		}
	}
	if _, err := regexp.Compile(on.Pattern); err != nil {
		p.errorf(e.value, path, "%q at line %d is no regular expression: %v", on.Pattern, e.value.Line, err)
	}
	return on
}

// patterns is a list of file patterns, which must be given if required is set.
func (p *parser) patterns(block map[string]entry, at *yaml.Node, path, key string, required bool) []string {
	e, ok := block[key]
	texts := p.texts(e, path+"."+key)
	if required && !ok {
		p.errorf(at, path+"."+key, "missing at line %d; name at least one file or pattern, such as '**/*'", at.Line)
	} else if required && len(texts) == 0 && e.value.Kind != yaml.MappingNode {
		p.errorf(e.key, path+"."+key, "is empty at line %d; name at least one file or pattern, such as '**/*'", e.key.Line)
	}
	for _, text := range texts {
		if _, err := glob.Compile(text); err != nil {
			p.errorf(e.value, path+"."+key, "%v", err)
		}
	}
	return texts
}

func (p *parser) artifacts(e entry, path, id string, old bool) Artifacts {
	known := artifactKeys
	if id != "" {
		known = slices.DeleteFunc(slices.Clone(artifactKeys), func(k string) bool { return k == "secondary-artifacts" })
	}
	block := p.block(e.value, path, known)
	a := Artifacts{
		ID:             id,
		Files:          p.patterns(block, e.key, path, "files", true),
		Name:           p.scalar(block["name"], path+".name"),
		DiscardPaths:   p.flag(block["discard-paths"], path+".discard-paths"),
		BaseDirectory:  p.scalar(block["base-directory"], path+".base-directory"),
		ExcludePaths:   p.patterns(block, e.key, path, "exclude-paths", false),
		EnableSymlinks: p.flag(block["enable-symlinks"], path+".enable-symlinks"),
		S3Prefix:       p.scalar(block["s3-prefix"], path+".s3-prefix"),
		Line:           e.key.Line,
	}
	if t, ok := block["type"]; ok && !old {
		p.warnf(t.key, path+".type", "belongs to version 0.1; ignored")
	}
	if s, ok := block["secondary-artifacts"]; ok {
		for _, e := range p.entries(s.value, path+".secondary-artifacts") {
			at := path + ".secondary-artifacts." + e.name
			if !validArtifactID(e.name) {
				p.errorf(e.key, at, "%q is no artifact identifier; use letters, digits and _, fewer than 128", e.name)
			}
			a.Secondary = append(a.Secondary, p.artifacts(e, at, e.name, old))
		}
	}
	return a
}

func validArtifactID(id string) bool {
	return len(id) < 128 && validName("_"+id)
}

func (p *parser) reports(e entry) []ReportGroup {
	var groups []ReportGroup
	for _, e := range p.entries(e.value, "reports") {
		path := "reports." + e.name
		block := p.block(e.value, path, reportKeys)
		g := ReportGroup{
			Name:          e.name,
			Files:         p.patterns(block, e.key, path, "files", true),
			Format:        p.oneOf(block["file-format"], path+".file-format", true, reportFormats...),
			BaseDirectory: p.scalar(block["base-directory"], path+".base-directory"),
			DiscardPaths:  p.flag(block["discard-paths"], path+".discard-paths"),
			Line:          e.key.Line,
		}
		if g.Format == "" {
			g.Format = "JUNITXML"
		}
		groups = append(groups, g)
	}
	return groups
}

// maxFallbackKeys is AWS's limit.
const maxFallbackKeys = 5

func (p *parser) cache(e entry) *Cache {
	block := p.block(e.value, "cache", cacheKeys)
	c := &Cache{
		Paths:        p.patterns(block, e.key, "cache", "paths", false),
		Key:          p.scalar(block["key"], "cache.key"),
		FallbackKeys: p.texts(block["fallback-keys"], "cache.fallback-keys"),
		Action:       p.oneOf(block["action"], "cache.action", true, "restore", "save"),
		Line:         e.key.Line,
	}
	if n := len(c.FallbackKeys); n > maxFallbackKeys {
		p.errorf(block["fallback-keys"].value, "cache.fallback-keys", "%d keys at line %d; at most %d are allowed", n, block["fallback-keys"].value.Line, maxFallbackKeys)
	}
	if f, ok := block["fallback-keys"]; ok && c.Key == "" {
		p.warnf(f.key, "cache.fallback-keys", "is ignored without key")
	}
	if len(c.Paths) == 0 {
		p.warnf(e.key, "cache.paths", "missing; nothing is cached")
	}
	return c
}
