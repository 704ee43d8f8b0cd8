package buildspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

var batchTypes = []string{BuildList, BuildGraph, BuildMatrix, BuildFanout}

// batch reads the block batch. It never gives nil, so that ParseBatch knows a file with a batch for one despite its problems.
func (p *parser) batch(e entry) *Batch {
	b := p.block(e.value, "batch", "batch")
	batch := &Batch{Line: e.key.Line, FastFail: p.flag(b.at("fast-fail"))}
	var given []string
	for _, name := range batchTypes {
		if _, ok := b.keys[name]; ok {
			given = append(given, name)
		}
	}
	one := "one of " + strings.Join(batchTypes, ", ")
	switch {
	case len(given) == 0:
		if isNull(e.value) || e.value.Kind == yaml.MappingNode {
			p.problemf(e.key, codeMissing, "batch", "has no builds at line %d; write %s", e.key.Line, one)
		}
		return batch
	case len(given) > 1:
		second := b.keys[given[1]]
		p.problemf(second.key, codeConflict, "batch", "%s at line %d exclude each other; write %s", strings.Join(given, " and "), second.key.Line, one)
	}
	batch.Type = given[0]
	for _, name := range given { // all of them, for their problems; the first counts
		value, path := b.at(name)
		switch name {
		case BuildMatrix:
			batch.Matrix = p.matrix(value, path)
		case BuildFanout:
			batch.Fanout = p.fanout(value, path)
		default:
			if tasks := p.tasks(value, path, name); name == batch.Type {
				batch.List = tasks
			}
		}
	}
	return batch
}

// ofThisFile names a build of the batch that runs the file which holds the batch; empty if there is none.
func (b *Batch) ofThisFile() string {
	switch {
	case b.Fanout != nil:
		return BuildFanout
	case b.Matrix != nil && len(b.Matrix.Buildspecs) == 0:
		return BuildMatrix
	}
	for _, t := range b.List {
		if t.Buildspec == "" {
			return fmt.Sprintf("the task %q", shorten(t.Identifier))
		}
	}
	return ""
}

// tasks reads build-list and build-graph. One map stands for a list of one.
func (p *parser) tasks(e entry, path, of string) []Task {
	var items []*yaml.Node
	switch {
	case isNull(e.value) || e.value.Kind == yaml.SequenceNode && len(e.value.Content) == 0:
		p.problemf(e.key, codeMissing, path, "is empty at line %d; name at least one task: - identifier: a-name", e.key.Line)
		return nil
	case e.value.Kind == yaml.MappingNode:
		p.problemf(e.value, codeList, path, "is one task instead of a list; put `- ` before it")
		items = []*yaml.Node{e.value}
	case e.value.Kind == yaml.SequenceNode:
		items = e.value.Content
	default:
		p.problemf(e.value, codeKind, path, "expected a list of tasks, found %s at line %d", describe(e.value), e.value.Line)
		return nil
	}
	if len(items) > MaxTasks {
		p.problemf(e.key, codeLimit, path, "%d tasks at line %d; at most %d are allowed", len(items), e.key.Line, MaxTasks)
		return nil
	}
	var tasks []Task
	places := map[string]*yaml.Node{} // of identifiers
	depends := map[string]*yaml.Node{}
	for i, item := range items {
		item = p.resolve(item)
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.Kind != yaml.MappingNode {
			p.problemf(item, codeKind, at, "expected a task, a map with an identifier, found %s at line %d", describe(item), item.Line)
			continue
		}
		t, id, depend := p.task(item, at, of)
		if t.Identifier != "" {
			if first, twice := places[t.Identifier]; twice {
				p.problemf(id, codeConflict, at+".identifier", "%q at line %d is the identifier of the task at line %d already", t.Identifier, id.Line, first.Line)
				continue
			}
			places[t.Identifier], depends[t.Identifier] = id, depend
			tasks = append(tasks, t)
		}
	}
	if of == BuildGraph {
		p.graph(tasks, depends, path)
	}
	return tasks
}

// task reads a task, and gives the nodes of its identifier and of its depend-on.
func (p *parser) task(n *yaml.Node, path, of string) (t Task, id, depend *yaml.Node) {
	b := p.block(n, path, "batch."+of+"[]")
	identifier, at := b.at("identifier")
	t.Identifier = p.scalar(identifier, at)
	switch {
	case p.has(at):
		t.Identifier = ""
	case t.Identifier == "":
		p.problemf(n, codeMissing, at, "missing at line %d; give the task a name: identifier: a-name", n.Line)
	case !validIdentifier.MatchString(t.Identifier):
		p.problemf(identifier.value, codeValue, at, "%q at line %d is no identifier; use letters, digits, -, _ and ., at most 128", shorten(t.Identifier), identifier.value.Line)
		t.Identifier = ""
	}
	t.Line = n.Line
	t.Buildspec = p.scalar(b.at("buildspec"))
	t.IgnoreFailure = p.flag(b.at("ignore-failure"))
	t.DebugSession = p.flag(b.at("debug-session"))
	if e, at := b.at("env"); e.key != nil {
		env := p.block(e.value, at, "batch."+of+"[].env")
		fleet, fleetAt := env.at("fleet")
		t.Env = TaskEnv{
			ComputeType:    p.scalar(env.at("compute-type")),
			Fleet:          p.scalar(fleet, fleetAt),
			Image:          p.scalar(env.at("image")),
			Type:           p.scalar(env.at("type")),
			PrivilegedMode: p.flag(env.at("privileged-mode")),
			Variables:      p.names(env.at("variables")),
		}
		if t.Env.ComputeType != "" && t.Env.Fleet != "" {
			p.problemf(fleet.key, codeConflict, fleetAt, "fleet and compute-type exclude each other at line %d; keep one", fleet.key.Line)
		}
	}
	on, at := b.at("depend-on")
	for _, item := range p.items(on, at) {
		if name := p.plain(item, at); name != "" && !slices.Contains(t.DependOn, name) {
			t.DependOn = append(t.DependOn, name)
		}
	}
	return t, identifier.value, on.value
}

var validIdentifier = regexp.MustCompile(identifierPattern)

// graph checks that dependencies name tasks, and that none waits for itself.
func (p *parser) graph(tasks []Task, depends map[string]*yaml.Node, path string) {
	byName := map[string]*Task{}
	var names []string
	for i := range tasks {
		byName[tasks[i].Identifier] = &tasks[i]
		names = append(names, tasks[i].Identifier)
	}
	sound := true
	for i, t := range tasks {
		for _, on := range t.DependOn {
			if byName[on] == nil {
				sound = false
				hint := "; the tasks are " + shorten(strings.Join(names, ", "))
				if near := nearest(on, names); near != "" {
					hint = "; did you mean " + near + "?"
				}
				p.problemf(depends[t.Identifier], codeDangling, fmt.Sprintf("%s[%d].depend-on", path, i), "%q at line %d is no task of the graph%s", shorten(on), depends[t.Identifier].Line, hint)
			}
		}
	}
	if !sound {
		return
	}
	for _, cycle := range cycles(tasks, byName) {
		p.problemf(depends[cycle[0]], codeDangling, path, "tasks wait for one another at line %d: %s", depends[cycle[0]].Line, shorten(strings.Join(cycle, " → ")))
	}
}

// cycles gives the cycles of a graph in which every task that takes part in one waits, directly or not, for one of them.
// The task at which a cycle begins is its last too.
func cycles(tasks []Task, byName map[string]*Task) [][]string {
	waits := map[string]int{}
	before := map[string][]string{} // the tasks that depend on each
	var free []string
	for _, t := range tasks {
		waits[t.Identifier] = len(t.DependOn)
		for _, on := range t.DependOn {
			before[on] = append(before[on], t.Identifier)
		}
		if len(t.DependOn) == 0 {
			free = append(free, t.Identifier)
		}
	}
	for len(free) > 0 {
		done := free[0]
		free = free[1:]
		for _, id := range before[done] {
			if waits[id]--; waits[id] == 0 {
				free = append(free, id)
			}
		}
	}
	// What still waits waits for another that does, so that going from one to the next ends in a cycle.
	var found [][]string
	visited := map[string]bool{}
	for _, t := range tasks {
		place := map[string]int{}
		var way []string
		for at := t.Identifier; waits[at] > 0 && !visited[at]; {
			visited[at], place[at] = true, len(way)
			way = append(way, at)
			on := byName[at].DependOn
			at = on[slices.IndexFunc(on, func(id string) bool { return waits[id] > 0 })]
			if begin, again := place[at]; again {
				found = append(found, append(slices.Clone(way[begin:]), at))
			}
		}
	}
	return found
}

func (p *parser) fanout(e entry, path string) *Fanout {
	b := p.block(e.value, path, "batch."+BuildFanout)
	f := &Fanout{IgnoreFailure: p.flag(b.at("ignore-failure"))}
	parallelism, at := b.at("parallelism")
	if parallelism.given() {
		f.Parallelism = p.number(parallelism, at, 1, MaxTasks)
	} else if !p.has(path) {
		p.problemf(e.key, codeMissing, at, "missing at line %d; write the number of shards: parallelism: 3", e.key.Line)
	}
	return f
}

func (p *parser) matrix(e entry, path string) *Matrix {
	b := p.block(e.value, path, "batch."+BuildMatrix)
	m := &Matrix{}
	if static, at := b.at("static"); static.key != nil {
		s := p.blockOf(static.value, at, movable("batch."+BuildMatrix+".static"))
		m.IgnoreFailure = p.flag(s.at("ignore-failure"))
		if env, at := s.at("env"); env.key != nil {
			s := p.blockOf(env.value, at, movable("batch."+BuildMatrix+".static.env"))
			m.Type = p.scalar(s.at("type"))
			m.PrivilegedMode = p.flag(s.at("privileged-mode"))
		}
	}
	dynamic, at := b.at("dynamic")
	if dynamic.key != nil {
		d := p.blockOf(dynamic.value, at, movable("batch."+BuildMatrix+".dynamic"))
		buildspec, specAt := d.at("buildspec")
		m.Buildspecs = p.atLeastOne(buildspec, specAt, "buildspec")
		if env, at := d.at("env"); env.key != nil {
			d := p.blockOf(env.value, at, movable("batch."+BuildMatrix+".dynamic.env"))
			compute, computeAt := d.at("compute-type")
			m.ComputeTypes = p.atLeastOne(compute, computeAt, "compute type")
			image, imageAt := d.at("image")
			m.Images = p.atLeastOne(image, imageAt, "image")
			variables, variablesAt := d.at("variables")
			for _, v := range p.named(variables, variablesAt) {
				at := join(variablesAt, v.name)
				values := p.texts(v, at)
				if len(values) == 0 && !p.has(at) {
					p.problemf(v.key, codeMissing, at, "is empty at line %d; name at least one value", v.key.Line)
				}
				m.Variables = append(m.Variables, Choice{v.name, values, v.key.Line})
			}
		}
	}
	switch {
	case p.hasBelow(path):
	case len(m.factors()) == 0:
		p.problemf(e.key, codeMissing, at, "has nothing to combine at line %d; write dynamic with a list of buildspec, env.compute-type, env.image or values of env.variables", e.key.Line)
	case m.size() > MaxTasks:
		p.problemf(e.key, codeLimit, path, "more than %d builds at line %d; leave combinations out", MaxTasks, e.key.Line)
	}
	return m
}

// movable is the table of a block of a matrix, in which a key of its other half has a message of its own.
func movable(row string) table {
	t := tables[row]
	to, from := "dynamic", "static"
	if strings.Contains(row, ".dynamic") {
		to, from = from, to
	}
	rows := map[string]key{}
	for name, k := range tables[strings.Replace(row, "."+from, "."+to, 1)].rows {
		if k.kind != refused {
			rows[name] = key{kind: ignored, about: fmt.Sprintf("belongs to %s of the matrix, not to %s; ignored", to, from)}
		}
	}
	for name, k := range t.rows {
		rows[name] = k
	}
	return table{rows, t.names}
}

// hasBelow reports whether there is an error at a path or below it.
func (p *parser) hasBelow(path string) bool {
	return slices.ContainsFunc(p.problems, func(q Problem) bool {
		return !q.Warning && (q.Path == path || strings.HasPrefix(q.Path, path+"."))
	})
}
