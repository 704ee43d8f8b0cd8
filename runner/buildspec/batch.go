package buildspec

import (
	"fmt"
	"strings"
)

// MaxTasks is the most builds that one batch may start.
const MaxTasks = 1000

// The batch types, as a file writes them.
const (
	BuildList   = "build-list"
	BuildGraph  = "build-graph"
	BuildMatrix = "build-matrix"
	BuildFanout = "build-fanout"
)

// A Batch is the block batch: how one file becomes several builds. A plain build ignores it. Type says which of List,
// Matrix and Fanout holds the tasks; the others are zero.
type Batch struct {
	Type     string // BuildList, BuildGraph, BuildMatrix or BuildFanout
	FastFail bool   // a task that fails, and may not, stops the others
	List     []Task // of BuildList and BuildGraph, in the order of the file; dependencies name tasks of the list, without a cycle
	Matrix   *Matrix
	Fanout   *Fanout
	Line     int
}

// A Task is one build of a batch.
type Task struct {
	Identifier    string // CODEBUILD_BATCH_BUILD_IDENTIFIER, unique in the batch
	Title         string // what sets a build of a matrix or a shard apart from its siblings, for people; else empty
	Buildspec     string // a path in the source, or the text of a buildspec; empty: the file that holds the batch
	DependOn      []string
	IgnoreFailure bool // the task's failure is not the batch's
	DebugSession  bool
	Env           TaskEnv
	Shard, Shards int // of a fanout: the number of the shard, from 0, and how many there are; else 0, 0
	Line          int
}

// TaskEnv is what a task changes in the environment of its build. What is empty stays as the project has it.
type TaskEnv struct {
	ComputeType    string // never together with Fleet
	Fleet          string
	Image          string
	Type           string
	PrivilegedMode bool
	Variables      []Variable
}

// A Matrix is the Cartesian product of lists, one build for each combination. An empty list is no factor.
type Matrix struct {
	IgnoreFailure  bool
	Type           string
	PrivilegedMode bool
	Buildspecs     []string
	ComputeTypes   []string
	Images         []string
	Variables      []Choice
}

// A Choice is a variable of a matrix and the values it takes, at least one.
type Choice struct {
	Name   string
	Values []string
	Line   int
}

// A Fanout is one build that runs in shards.
type Fanout struct {
	Parallelism   int // the number of shards, 1 to MaxTasks
	IgnoreFailure bool
}

// Tasks gives the builds of a batch: the tasks of a list or a graph as they stand; of a matrix build_0, build_1 and so on
// in the order of the product, buildspec outermost, then compute type, image, and the variables in the order of the file,
// the last of which changes fastest; of a fanout shard_0, shard_1 and so on. There are at most MaxTasks. The tasks share no
// memory with the batch that a caller would change.
func (b *Batch) Tasks() []Task {
	switch {
	case b.Matrix != nil:
		return b.Matrix.tasks(b.Line)
	case b.Fanout != nil:
		return b.Fanout.tasks(b.Line)
	}
	tasks := make([]Task, 0, min(len(b.List), MaxTasks))
	for _, t := range b.List[:min(len(b.List), MaxTasks)] {
		t.DependOn = append([]string(nil), t.DependOn...)
		t.Env.Variables = append([]Variable(nil), t.Env.Variables...)
		tasks = append(tasks, t)
	}
	return tasks
}

// A factor is one list of a matrix, and what each of its values does to a task.
type factor struct {
	name   string
	values []string
	set    func(t *Task, value string)
}

func (m *Matrix) factors() []factor {
	factors := []factor{
		{"buildspec", m.Buildspecs, func(t *Task, v string) { t.Buildspec = v }},
		{"compute-type", m.ComputeTypes, func(t *Task, v string) { t.Env.ComputeType = v }},
		{"image", m.Images, func(t *Task, v string) { t.Env.Image = v }},
	}
	for _, c := range m.Variables {
		factors = append(factors, factor{c.Name, c.Values, func(t *Task, v string) {
			t.Env.Variables = append(t.Env.Variables, Variable{Name: c.Name, Value: v, Line: c.Line})
		}})
	}
	product := factors[:0]
	for _, f := range factors {
		if len(f.values) > 0 {
			product = append(product, f)
		}
	}
	return product
}

// size is the number of builds, or a number above MaxTasks if it is that.
func (m *Matrix) size() int {
	n := 1
	for _, f := range m.factors() {
		if n *= len(f.values); n > MaxTasks { // before it can overflow: a list has at most maxNodes values
			return MaxTasks + 1
		}
	}
	return n
}

func (m *Matrix) tasks(line int) []Task {
	factors := m.factors()
	tasks := make([]Task, min(m.size(), MaxTasks))
	for n := range tasks {
		t := &tasks[n]
		*t = Task{
			Identifier: fmt.Sprintf("build_%d", n), IgnoreFailure: m.IgnoreFailure, Line: line,
			Env: TaskEnv{Type: m.Type, PrivilegedMode: m.PrivilegedMode},
		}
		// n is a number whose digits say which value of each factor the build has, the last factor's digit being the lowest.
		digits := make([]int, len(factors))
		for i, rest := len(factors)-1, n; i >= 0; i-- {
			digits[i] = rest % len(factors[i].values)
			rest /= len(factors[i].values)
		}
		var title []string
		for i, f := range factors {
			value := f.values[digits[i]]
			f.set(t, value)
			title = append(title, f.name+" "+firstLine(value))
		}
		t.Title = strings.Join(title, ", ")
	}
	return tasks
}

// firstLine is the part of a text that a title can show.
func firstLine(text string) string {
	line, rest, _ := strings.Cut(text, "\n")
	if r := []rune(line); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	if rest != "" {
		return line + "…"
	}
	return line
}

func (f *Fanout) tasks(line int) []Task {
	var tasks []Task
	shards := min(f.Parallelism, MaxTasks)
	for n := range shards {
		tasks = append(tasks, Task{
			Identifier: fmt.Sprintf("shard_%d", n), Title: fmt.Sprintf("shard %d of %d", n+1, shards),
			IgnoreFailure: f.IgnoreFailure, Shard: n, Shards: shards, Line: line,
		})
	}
	return tasks
}
