package buildspec

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Print gives the canonical text of a Spec: parsing it gives the Spec again, but for lines. Keys stand in the order of the
// format's description, commands of several lines as blocks; what the Spec does not hold, such as comments, is gone.
func Print(s *Spec) []byte {
	var top mapping
	top.add("version", plain(s.Version))
	top.optional("run-as", s.RunAs)
	variables := "variables"
	if s.Version == "0.1" { // which has a block of its own for them
		var old mapping
		old.variables("plaintext", s.Env.Variables)
		top.block("environment_variables", old)
		variables = ""
	}
	top.block("env", printEnv(&s.Env, variables))
	var proxy mapping
	proxy.flag("upload-artifacts", s.ProxyArtifacts)
	proxy.flag("logs", s.ProxyLogs)
	top.block("proxy", proxy)
	if s.Batch != nil {
		top.add("batch", printBatch(s.Batch).node())
	}
	if !s.NoPhases {
		top.add("phases", printPhases(s.Phases))
	}
	if len(s.Reports) > 0 {
		var reports mapping
		for _, r := range s.Reports {
			var m mapping
			m.list("files", r.Files)
			m.text("file-format", r.Format)
			m.optional("base-directory", r.BaseDirectory)
			m.flag("discard-paths", r.DiscardPaths)
			reports.add(r.Name, m.node())
		}
		top.block("reports", reports)
	}
	if s.Artifacts != nil {
		top.add("artifacts", printArtifacts(s.Artifacts).node())
	}
	if c := s.Cache; c != nil {
		var m mapping
		m.list("paths", c.Paths)
		m.optional("key", c.Key)
		m.list("fallback-keys", c.FallbackKeys)
		m.optional("action", c.Action)
		top.add("cache", m.node())
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top.node()); err != nil {
		panic(fmt.Sprintf("buildspec: printing nodes of our own: %v", err)) // a mistake in this file: nothing is written anywhere
	}
	encoder.Close()
	return out.Bytes()
}

func printEnv(e *Env, variables string) mapping {
	var m mapping
	m.optional("shell", e.Shell)
	if variables != "" {
		m.variables(variables, e.Variables)
	}
	m.variables("parameter-store", e.ParameterStore)
	m.variables("secrets-manager", e.SecretsManager)
	m.list("exported-variables", e.Exported)
	m.flag("git-credential-helper", e.GitCredentialHelper)
	return m
}

// printPhases gives the phases that hold something. Those of a file whose phases are all empty are written as one.
func printPhases(phases []Phase) *yaml.Node {
	var m mapping
	for i, p := range phases {
		var phase mapping
		phase.optional("run-as", p.RunAs)
		if on := p.OnFailure; on.Action == Retry {
			text := Retry + "-" + strconv.Itoa(on.Count)
			if on.Pattern != "" {
				text += "-" + on.Pattern
			}
			phase.text("on-failure", text)
		} else {
			phase.optional("on-failure", on.Action)
		}
		phase.variables("runtime-versions", p.Runtimes)
		phase.commands("commands", p.Commands)
		phase.commands("finally", p.Finally)
		m.block(phaseNames[i].key, phase)
	}
	if len(m.content) == 0 {
		m.add("build", (&mapping{}).node())
	}
	return m.node()
}

func printArtifacts(a *Artifacts) *mapping {
	var m mapping
	m.list("files", a.Files)
	m.optional("base-directory", a.BaseDirectory)
	m.list("exclude-paths", a.ExcludePaths)
	m.flag("discard-paths", a.DiscardPaths)
	m.flag("enable-symlinks", a.EnableSymlinks)
	m.optional("name", a.Name)
	m.optional("s3-prefix", a.S3Prefix)
	if len(a.Secondary) > 0 {
		var secondary mapping
		for i := range a.Secondary {
			secondary.add(a.Secondary[i].ID, printArtifacts(&a.Secondary[i]).node())
		}
		m.block("secondary-artifacts", secondary)
	}
	return &m
}

func printBatch(b *Batch) *mapping {
	var m mapping
	m.flag("fast-fail", b.FastFail)
	switch {
	case b.Matrix != nil:
		m.add(BuildMatrix, printMatrix(b.Matrix))
	case b.Fanout != nil:
		var fanout mapping
		fanout.add("parallelism", plain(strconv.Itoa(b.Fanout.Parallelism)))
		fanout.flag("ignore-failure", b.Fanout.IgnoreFailure)
		m.block(BuildFanout, fanout)
	default:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, t := range b.List {
			list.Content = append(list.Content, printTask(&t))
		}
		m.add(b.Type, list)
	}
	return &m
}

func printTask(t *Task) *yaml.Node {
	var m, env mapping
	m.text("identifier", t.Identifier)
	m.optional("buildspec", t.Buildspec)
	m.list("depend-on", t.DependOn)
	m.flag("ignore-failure", t.IgnoreFailure)
	m.flag("debug-session", t.DebugSession)
	env.optional("compute-type", t.Env.ComputeType)
	env.optional("fleet", t.Env.Fleet)
	env.optional("image", t.Env.Image)
	env.optional("type", t.Env.Type)
	env.flag("privileged-mode", t.Env.PrivilegedMode)
	env.variables("variables", t.Env.Variables)
	m.block("env", env)
	return m.node()
}

func printMatrix(x *Matrix) *yaml.Node {
	var m, static, staticEnv, dynamic, env, variables mapping
	static.flag("ignore-failure", x.IgnoreFailure)
	staticEnv.optional("type", x.Type)
	staticEnv.flag("privileged-mode", x.PrivilegedMode)
	static.block("env", staticEnv)
	m.block("static", static)
	dynamic.list("buildspec", x.Buildspecs)
	env.list("compute-type", x.ComputeTypes)
	env.list("image", x.Images)
	for _, v := range x.Variables {
		variables.list(v.Name, v.Values)
	}
	env.block("variables", variables)
	dynamic.block("env", env)
	m.block("dynamic", dynamic)
	return m.node()
}

// A mapping is a map that is being written. What is empty is left out, but for what add and text are given.
type mapping struct{ content []*yaml.Node }

func (m *mapping) node() *yaml.Node { return &yaml.Node{Kind: yaml.MappingNode, Content: m.content} }

func (m *mapping) add(key string, value *yaml.Node) {
	n := scalarNode(key)
	if n.Style == yaml.LiteralStyle { // which a key cannot be
		n.Style = yaml.DoubleQuotedStyle
	}
	m.content = append(m.content, n, value)
}

func (m *mapping) text(key, value string) { m.add(key, scalarNode(value)) }

func (m *mapping) optional(key, value string) {
	if value != "" {
		m.text(key, value)
	}
}

func (m *mapping) flag(key string, value bool) {
	if value {
		m.add(key, plain("yes"))
	}
}

func (m *mapping) block(key string, b mapping) {
	if len(b.content) > 0 {
		m.add(key, b.node())
	}
}

func (m *mapping) variables(key string, variables []Variable) {
	var b mapping
	for _, v := range variables {
		b.text(v.Name, v.Value)
	}
	m.block(key, b)
}

func (m *mapping) list(key string, texts []string) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range texts {
		list.Content = append(list.Content, scalarNode(t))
	}
	if len(texts) > 0 {
		m.add(key, list)
	}
}

func (m *mapping) commands(key string, commands []Command) {
	var texts []string
	for _, c := range commands {
		texts = append(texts, c.Text)
	}
	m.list(key, texts)
}

// plain is a scalar that is written as it stands.
func plain(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
}

// scalarNode is a scalar whose text comes back as it is: a block where lines allow it, plain or between single quotes
// where it is plain ASCII, and with escapes otherwise.
func scalarNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	switch {
	case text == "<<": // which the library leaves without quotes
		n.Style = yaml.DoubleQuotedStyle
	case strings.ContainsFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff')
	}):
		n.Style = yaml.DoubleQuotedStyle
	case strings.Contains(text, "\n"):
		n.Style = yaml.DoubleQuotedStyle
		first, _, _ := strings.Cut(text, "\n")
		if strings.TrimSpace(first) != "" && strings.TrimLeft(first, " \t") == first {
			n.Style = yaml.LiteralStyle
		}
	}
	return n
}
