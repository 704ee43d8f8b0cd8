package buildspec

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

func (p *parser) spec(root *yaml.Node) *Spec {
	var spec Spec
	top := block{"", map[string]entry{}}
	old := version(root) == "0.1"
	var stray []entry // phases that lost their indentation
	for _, e := range p.entries(root, "") {
		k, known := tables[""].rows[e.name]
		switch {
		case known && (old || k.since != "0.1"):
			top.keys[e.name] = e
			if p.index != nil {
				p.index[e.name] = e
			}
		case e.name == "environment_variables":
			p.problemf(e.key, codeVersion, e.name, "belongs to version 0.1, ignored; in 0.2 write env: {variables: {...}}")
		case isPhase(e.name):
			stray = append(stray, e)
		default:
			p.problemf(e.key, codeUnknown, e.name, "%s", unknown(e.name, tables[""].names))
		}
	}
	spec.Version = p.version(root, top.keys["version"])
	spec.RunAs = p.user(top.keys["run-as"], "run-as")
	if e, ok := p.filled(top, "env", "set"); ok {
		spec.Env = p.env(e)
	}
	var plain []Variable
	if e, ok := p.filled(top, "environment_variables", "set"); ok {
		plaintext, path := p.block(e.value, "environment_variables", "environment_variables").at("plaintext")
		plain = p.names(plaintext, path)
	}
	p.once(&spec.Env, plain)
	spec.Env.Variables = append(spec.Env.Variables, plain...)
	if e, ok := p.filled(top, "proxy", "sent through a proxy"); ok {
		b := p.block(e.value, "proxy", "proxy")
		spec.ProxyArtifacts = p.flag(b.at("upload-artifacts"))
		spec.ProxyLogs = p.flag(b.at("logs"))
		spec.Proxy = spec.ProxyArtifacts || spec.ProxyLogs
	}
	if e, ok := top.keys["batch"]; ok {
		spec.Batch = p.batchOf(e)
	}
	p.phases(&spec, root, top.keys["phases"], stray)
	if e, ok := p.filled(top, "reports", "reported"); ok {
		spec.Reports = p.reports(e)
	}
	if e, ok := p.filled(top, "artifacts", "kept"); ok {
		artifacts := p.artifacts(e, "artifacts", "", old)
		spec.Artifacts = &artifacts
	}
	if e, ok := p.filled(top, "cache", "cached"); ok {
		spec.Cache = p.cache(e)
	}
	if old {
		p.newer(top, "")
	}
	return &spec
}

// filled is a block of the file, if it is there and not empty: one whose lines are all comments is no mistake that should
// keep a build from starting.
func (p *parser) filled(top block, name, done string) (entry, bool) {
	e, ok := top.keys[name]
	if ok && isNull(e.value) {
		p.problemf(e.key, codeNoEffect, name, "is empty; nothing is %s", done)
		return e, false
	}
	return e, ok
}

// batchOf reads the block batch. In a plain build, which ignores it, its errors become warnings, and it is none then.
func (p *parser) batchOf(e entry) *Batch {
	failed, before := p.failed, len(p.problems)
	p.failed = false
	batch := p.batch(e)
	wrong := p.failed
	p.failed = failed || wrong && (p.strict || p.nodes >= maxNodes)
	if !wrong || p.strict {
		return batch
	}
	for i := range p.problems[before:] {
		if problem := &p.problems[before+i]; !problem.Warning && problem.Path != "aliases" {
			problem.Warning = true
			problem.Message += " (a plain build ignores it)"
		}
	}
	return nil
}

// newer warns of the keys of a block that version 0.1 does not have. They mean in it what they mean in 0.2.
func (p *parser) newer(b block, row string) {
	for _, name := range tables[row].names {
		if e, ok := b.keys[name]; ok && tables[row].rows[name].since == "0.2" {
			p.problemf(e.key, codeVersion, join(b.path, name), "is not documented for version 0.1; it is read as in 0.2")
		}
	}
}

// version looks for the version before anything else is read, since it decides which keys are known.
func version(root *yaml.Node) string {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "version" {
			return strings.TrimSpace(root.Content[i+1].Value)
		}
	}
	return ""
}

func (p *parser) version(root *yaml.Node, e entry) string {
	if !e.given() || e.value.Kind == yaml.ScalarNode && strings.TrimSpace(e.value.Value) == "" {
		const missing, write = "missing (wrong number of container tags, expected 1)", "; write `version: 0.2` as the first line"
		if e.key != nil {
			p.problemf(e.key, codeMissing, "version", "%s at line %d%s", missing, e.key.Line, write)
		} else {
			p.problemf(root, codeMissing, "version", missing+write)
		}
		return ""
	}
	text := strings.TrimSpace(p.scalar(e, "version"))
	if text != "" && text != "0.1" && text != "0.2" {
		p.problemf(e.value, codeValue, "version", "%q at line %d is no version of the format; write 0.2", shorten(text), e.value.Line)
	}
	return text
}

func (p *parser) env(e entry) Env {
	b := p.block(e.value, "env", "env")
	shell, at := b.at("shell")
	var env Env
	if text := strings.ToLower(p.scalar(shell, at)); strings.HasPrefix(text, "powershell") || strings.HasPrefix(text, "pwsh") || strings.HasPrefix(text, "cmd") {
		p.problemf(shell.value, codeValue, at, "%q at line %d is a shell of Windows, which this program does not build on; write one of %s", shorten(text), shell.value.Line, strings.Join(shells, ", "))
	} else {
		env.Shell = p.oneOf(shell, at, false, shells...)
	}
	env.Variables = p.names(b.at("variables"))
	parameters, at := b.at("parameter-store")
	for _, v := range p.named(parameters, at) {
		name := p.scalar(v, join(at, v.name))
		if strings.TrimSpace(name) == "" && !p.has(join(at, v.name)) {
			p.problemf(v.key, codeMissing, join(at, v.name), "names no parameter at line %d; write its name", v.key.Line)
		}
		env.ParameterStore = append(env.ParameterStore, Variable{Name: v.name, Value: name, Line: v.key.Line})
	}
	secrets, at := b.at("secrets-manager")
	for _, v := range p.named(secrets, at) {
		env.SecretsManager = append(env.SecretsManager, Variable{Name: v.name, Value: p.reference(v, join(at, v.name)), Line: v.key.Line})
	}
	env.Exported = p.exported(b)
	env.GitCredentialHelper = p.flag(b.at("git-credential-helper"))
	return env
}

// once tells of names that stand in two of the maps of env.
func (p *parser) once(env *Env, plain []Variable) {
	first := map[string]Variable{}
	in := map[string]string{}
	for _, m := range []struct {
		path      string
		variables []Variable
	}{{"environment_variables.plaintext", plain}, {"env.variables", env.Variables}, {"env.parameter-store", env.ParameterStore}, {"env.secrets-manager", env.SecretsManager}} {
		for _, v := range m.variables {
			if before, twice := first[v.Name]; twice {
				p.problemf(&yaml.Node{Line: v.Line, Column: 1}, codeConflict, join(m.path, v.Name), "the name at line %d also stands in %s, at line %d; keep one", v.Line, in[v.Name], before.Line)
				continue
			}
			first[v.Name], in[v.Name] = v, m.path
		}
	}
}

// exported gives the names whose values are published. That secrets are not, and what AWS reserves, is the plan's matter:
// it knows the project's secrets too.
func (p *parser) exported(b block) []string {
	var names []string
	e, path := b.at("exported-variables")
	for _, item := range p.items(e, path) {
		switch name := p.plain(item, path); {
		case name == "" || slices.Contains(names, name):
		case !validName(name):
			p.problemf(item, codeValue, path, "%q at line %d is no name of a variable; use letters, digits and _, not a digit first", shorten(name), item.Line)
		default:
			names = append(names, name)
		}
	}
	return names
}

// phases fills the four phases, whatever their order in the file.
func (p *parser) phases(spec *Spec, root *yaml.Node, e entry, stray []entry) {
	const write = "write `phases:` with at least one of install, pre_build, build, post_build"
	for _, n := range phaseNames {
		spec.Phases = append(spec.Phases, Phase{Name: n.phase})
	}
	for _, s := range stray {
		if e.key != nil && isNull(e.value) {
			p.problemf(s.key, codeMissing, s.name, "%s at line %d is a phase, but stands beside phases; indent it by two spaces more", s.name, s.key.Line)
		} else {
			p.problemf(s.key, codePhase, s.name, "is a phase, but stands outside of phases; ignored. Move it into phases")
		}
	}
	switch {
	case e.key == nil && spec.Batch != nil:
		if needs := spec.Batch.ofThisFile(); needs != "" {
			p.problemf(root, codeMissing, "phases", "missing, though %s of batch runs this file; %s, or give it a buildspec", needs, write)
		}
		spec.NoPhases = true
		return
	case e.key == nil:
		p.problemf(root, codeMissing, "phases", "missing; %s", write)
		return
	case isNull(e.value):
		if len(stray) == 0 {
			p.problemf(e.key, codeMissing, "phases", "is empty at line %d; write at least one of install, pre_build, build, post_build", e.key.Line)
		}
		return
	}
	for _, e := range p.entries(e.value, "phases") {
		i := slices.IndexFunc(phaseNames, func(n struct{ key, phase string }) bool { return n.key == e.name })
		if belongsToTop("phases", e.name) {
			p.problemf(e.key, codeUnknown, join("phases", e.name), misplaced)
			continue
		}
		if i < 0 {
			p.problemf(e.key, codePhase, join("phases", e.name), "%s", strings.Replace(unknown(e.name, tables["phases"].names), "unknown key", "unknown phase", 1))
			continue
		}
		spec.Phases[i] = p.phase(e, "phases."+e.name, spec.Phases[i].Name, spec.Version == "0.1")
	}
	if e.value.Kind == yaml.MappingNode && len(e.value.Content) == 0 {
		p.problemf(e.key, codeMissing, "phases", "is empty at line %d; write at least one of install, pre_build, build, post_build", e.key.Line)
	}
}

func (p *parser) phase(e entry, path, name string, old bool) Phase {
	row := "phases.*"
	if name == Install {
		row = "phases.install"
	}
	b := p.block(e.value, path, row)
	if p.index != nil {
		p.index[path] = e
	}
	phase := Phase{Name: name}
	phase.RunAs = p.user(b.at("run-as"))
	phase.OnFailure = p.onFailure(b.at("on-failure"))
	commands, at := b.at("commands")
	phase.Commands = p.commands(commands, at, "Commands")
	finally, at := b.at("finally")
	phase.Finally = p.commands(finally, at, "Finally")
	if e, at := b.at("runtime-versions"); e.key != nil {
		phase.Runtimes = p.runtimes(e, at)
	}
	if name != Install && commands.key == nil && finally.key == nil && !p.has(path) && !p.has(path+".steps") {
		p.problemf(e.key, codeNothing, path, "has no commands; nothing runs")
	}
	if old {
		p.newer(b, row)
	}
	return phase
}

// runtimes is a map from names of runtimes to versions.
func (p *parser) runtimes(e entry, path string) []Variable {
	entries := p.entries(e.value, path)
	if len(entries) == 0 && (isNull(e.value) || e.value.Kind == yaml.MappingNode) {
		p.problemf(e.key, codeMissing, path, "is empty at line %d; name at least one runtime, or leave the key out", e.key.Line)
	}
	var runtimes []Variable
	for _, v := range entries {
		at := join(path, v.name)
		text := strings.TrimSpace(p.scalar(v, at))
		if !runtimeVersion.MatchString(text) && !p.has(at) {
			p.problemf(v.key, codeValue, at, "%q at line %d is no version; write one such as 3.12, 18.x, latest or \"$VERSION\"", shorten(text), v.key.Line)
		}
		if v.name == "docker" {
			p.problemf(v.key, codeDocker, at, "is deprecated and does nothing; leave it out")
		}
		runtimes = append(runtimes, Variable{Name: v.name, Value: text, Line: v.key.Line})
	}
	return runtimes
}
