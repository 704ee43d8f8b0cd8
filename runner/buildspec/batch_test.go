package buildspec

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBatchProblems(t *testing.T) {
	file := func(batch string) string { return "version: 0.2\nbatch:\n" + batch + phases }
	testProblems(t, []badFile{
		{"empty", "version: 0.2\nbatch:\n" + phases, "2:1: batch: has no builds at line 2; write one of build-list, build-graph, build-matrix, build-fanout"},
		{"fast-fail alone", file("  fast-fail: yes\n"), "2:1: batch: has no builds at line 2; write one of build-list, build-graph, build-matrix, build-fanout"},
		{"a text", "version: 0.2\nbatch: all\n" + phases, "2:8: batch: expected a map of keys, found a text at line 2"},
		{"unknown key", file("  build-lists: []\n  build-fanout: {parallelism: 2}\n"), "3:3: warning: batch.build-lists: unknown key, ignored; did you mean build-list?"},
		{"fast-fail", file("  fast-fail: maybe\n  build-fanout: {parallelism: 2}\n"), `3:14: batch.fast-fail: "maybe" at line 3 is neither yes nor no`},
		{"B09 two types", file("  build-list: [{identifier: a}]\n  build-fanout: {}\n"),
			"4:3: batch: build-list and build-fanout at line 4 exclude each other; write one of build-list, build-graph, build-matrix, build-fanout\n" +
				"4:3: batch.build-fanout.parallelism: missing at line 4; write the number of shards: parallelism: 3"},
		{"two lists", file("  build-list: [{identifier: a}]\n  build-graph: [{identifier: a}]\n"),
			"4:3: batch: build-list and build-graph at line 4 exclude each other; write one of build-list, build-graph, build-matrix, build-fanout"},

		{"empty list", file("  build-list: []\n"), "3:3: batch.build-list: is empty at line 3; name at least one task: - identifier: a-name"},
		{"null list", file("  build-graph:\n"), "3:3: batch.build-graph: is empty at line 3; name at least one task: - identifier: a-name"},
		{"list as text", file("  build-list: a\n"), "3:15: batch.build-list: expected a list of tasks, found a text at line 3"},
		{"task as text", file("  build-list: [a, {identifier: b}]\n"), "3:16: batch.build-list[0]: expected a task, a map with an identifier, found a text at line 3"},
		{"B12 same identifier", file("  build-list:\n    - identifier: a\n    - identifier: a\n"),
			`5:19: batch.build-list[1].identifier: "a" at line 5 is the identifier of the task at line 4 already`},
		{"no identifier", file("  build-list:\n    - buildspec: a.yml\n    - identifier:\n"),
			"4:7: batch.build-list[0].identifier: missing at line 4; give the task a name: identifier: a-name\n" +
				"5:7: batch.build-list[1].identifier: missing at line 5; give the task a name: identifier: a-name"},
		{"identifier", file("  build-list:\n    - identifier: a b\n    - identifier: [a]\n    - identifier: " + strings.Repeat("x", 129) + "\n"),
			`4:19: batch.build-list[0].identifier: "a b" at line 4 is no identifier; use letters, digits, -, _ and ., at most 128` + "\n" +
				`5:19: batch.build-list[1].identifier: expected a text, found a list at line 5` + "\n" +
				`6:19: batch.build-list[2].identifier: "` + strings.Repeat("x", 99) + `…" at line 6 is no identifier; use letters, digits, -, _ and ., at most 128`},
		{"fleet and compute-type", file("  build-list:\n    - identifier: a\n      env: {fleet: f, compute-type: c}\n"),
			"5:13: batch.build-list[0].env.fleet: fleet and compute-type exclude each other at line 5; keep one"},
		{"keys of a task", file("  build-list:\n    - {identifier: a, ignore_failure: yes, debug-session: x, env: {images: a, variables: {A-B: c, CODEBUILD_X: y}}}\n"),
			`4:23: warning: batch.build-list[0].ignore_failure: unknown key, ignored; did you mean ignore-failure?` + "\n" +
				`4:59: batch.build-list[0].debug-session: "x" at line 4 is neither yes nor no` + "\n" +
				`4:68: warning: batch.build-list[0].env.images: unknown key, ignored; did you mean image?` + "\n" +
				`4:91: batch.build-list[0].env.variables.A-B: "A-B" at line 4 is no name of a variable; use letters, digits and _, not a digit first` + "\n" +
				`4:99: warning: batch.build-list[0].env.variables.CODEBUILD_X: names that begin with CODEBUILD_ are reserved; ignored`},
		{"depend-on in a list", file("  build-list:\n    - identifier: a\n      depend-on: [b]\n"),
			"5:7: warning: batch.build-list[0].depend-on: has no effect in build-list, ignored; tasks of a build-graph can wait for others"},
		{"too many tasks", file("  build-list:\n" + many(1001, "    - identifier: t%d\n")), "3:3: batch.build-list: 1001 tasks at line 3; at most 1000 are allowed"},

		{"one task as a map", file("  build-list: {identifier: a}\n"), "3:15: warning: batch.build-list: is one task instead of a list; put `- ` before it"},
		{"unknown task", file("  build-graph:\n    - identifier: compile\n    - identifier: b\n      depend-on: [compil, x]\n"),
			`6:18: batch.build-graph[1].depend-on: "compil" at line 6 is no task of the graph; did you mean compile?` + "\n" +
				`6:18: batch.build-graph[1].depend-on: "x" at line 6 is no task of the graph; the tasks are compile, b`},
		{"cycle", file("  build-graph:\n    - {identifier: z, depend-on: b}\n    - {identifier: a}\n    - {identifier: b, depend-on: [a, c]}\n    - {identifier: c, depend-on: [d]}\n    - {identifier: d, depend-on: [b]}\n"),
			"6:34: batch.build-graph: tasks wait for one another at line 6: b → c → d → b"},
		{"two cycles", file("  build-graph:\n    - {identifier: a, depend-on: a}\n    - {identifier: b, depend-on: c}\n    - {identifier: c, depend-on: b}\n"),
			"4:34: batch.build-graph: tasks wait for one another at line 4: a → a\n5:34: batch.build-graph: tasks wait for one another at line 5: b → c → b"},

		{"no parallelism", file("  build-fanout: {ignore-failure: no}\n"), "3:3: batch.build-fanout.parallelism: missing at line 3; write the number of shards: parallelism: 3"},
		{"null fanout", file("  build-fanout:\n"), "3:3: batch.build-fanout.parallelism: missing at line 3; write the number of shards: parallelism: 3"},
		{"fanout as text", file("  build-fanout: 3\n"), "3:17: batch.build-fanout: expected a map of keys, found a text at line 3"},
		{"parallelism 0", file("  build-fanout: {parallelism: 0}\n"), `3:31: batch.build-fanout.parallelism: "0" at line 3 is no number from 1 on`},
		{"parallelism -1", file("  build-fanout: {parallelism: -1}\n"), `3:31: batch.build-fanout.parallelism: "-1" at line 3 is no number from 1 on`},
		{"parallelism 2.0", file("  build-fanout: {parallelism: 2.0}\n"), `3:31: batch.build-fanout.parallelism: "2.0" at line 3 is no number from 1 on`},
		{"parallelism as a list", file("  build-fanout: {parallelism: [2]}\n"), `3:31: batch.build-fanout.parallelism: expected a text, found a list at line 3`},
		{"parallelism 1001", file("  build-fanout: {parallelism: 1001}\n"), `3:31: batch.build-fanout.parallelism: 1001 at line 3 is more than 1000`},

		{"empty matrix", file("  build-matrix: {static: {ignore-failure: yes}}\n"),
			"3:3: batch.build-matrix.dynamic: has nothing to combine at line 3; write dynamic with a list of buildspec, env.compute-type, env.image or values of env.variables"},
		{"null matrix", file("  build-matrix:\n"),
			"3:3: batch.build-matrix.dynamic: has nothing to combine at line 3; write dynamic with a list of buildspec, env.compute-type, env.image or values of env.variables"},
		{"empty lists", file("  build-matrix:\n    dynamic:\n      buildspec: []\n      env: {image: , compute-type: [''], variables: {A: [], B: }}\n"),
			"5:7: batch.build-matrix.dynamic.buildspec: is empty at line 5; name at least one buildspec, or leave the key out\n" +
				"6:13: batch.build-matrix.dynamic.env.image: is empty at line 6; name at least one image, or leave the key out\n" +
				"6:37: batch.build-matrix.dynamic.env.compute-type: an empty text at line 6; name a compute type, or leave it out\n" +
				"6:54: batch.build-matrix.dynamic.env.variables.A: is empty at line 6; name at least one value\n" +
				"6:61: batch.build-matrix.dynamic.env.variables.B: is empty at line 6; name at least one value"},
		{"debug-session in a matrix", file("  build-matrix:\n    debug-session: no\n    static: {debug-session: yes}\n    dynamic: {debug-session: yes, env: {image: a}}\n"),
			"4:5: batch.build-matrix.debug-session: is not possible in a matrix at line 4; leave it out\n" +
				"5:14: batch.build-matrix.static.debug-session: is not possible in a matrix at line 5; leave it out\n" +
				"6:15: batch.build-matrix.dynamic.debug-session: is not possible in a matrix at line 6; leave it out"},
		{"the other half of a matrix", file("  build-matrix:\n    static: {buildspec: a.yml, env: {image: a, x: y}}\n    dynamic: {ignore-failure: yes, env: {image: a, type: b}}\n"),
			"4:14: warning: batch.build-matrix.static.buildspec: belongs to dynamic of the matrix, not to static; ignored\n" +
				"4:38: warning: batch.build-matrix.static.env.image: belongs to dynamic of the matrix, not to static; ignored\n" +
				"4:48: warning: batch.build-matrix.static.env.x: unknown key, ignored; known here: type, privileged-mode\n" +
				"5:15: warning: batch.build-matrix.dynamic.ignore-failure: belongs to static of the matrix, not to dynamic; ignored\n" +
				"5:52: warning: batch.build-matrix.dynamic.env.type: belongs to static of the matrix, not to dynamic; ignored"},
		{"too large a matrix", file("  build-matrix:\n    dynamic:\n      env:\n        variables:\n          A: [" + strings.Repeat("a, ", 32) + "]\n          B: [" + strings.Repeat("b, ", 32) + "]\n"),
			"3:3: batch.build-matrix: more than 1000 builds at line 3; leave combinations out"},

		{"task of this file without phases", "version: 0.2\nbatch: {build-list: [{identifier: a, buildspec: a.yml}, {identifier: b}]}\n",
			"1:1: phases: missing, though the task \"b\" of batch runs this file; write `phases:` with at least one of install, pre_build, build, post_build, or give it a buildspec"},
		{"matrix of this file without phases", "version: 0.2\nbatch: {build-matrix: {dynamic: {env: {image: a}}}}\n",
			"1:1: phases: missing, though build-matrix of batch runs this file; write `phases:` with at least one of install, pre_build, build, post_build, or give it a buildspec"},
		{"fanout without phases", "version: 0.2\nbatch: {build-fanout: {parallelism: 2}}\n",
			"1:1: phases: missing, though build-fanout of batch runs this file; write `phases:` with at least one of install, pre_build, build, post_build, or give it a buildspec"},
		{"version 0.1", "version: 0.1\nbatch: {build-fanout: {parallelism: 2}}\n" + phases,
			"2:1: warning: batch: is not documented for version 0.1; it is read as in 0.2"},
	})
}

// TestPlainBuildsIgnoreBatch has errors in batch, for which a plain build starts all the same.
func TestPlainBuildsIgnoreBatch(t *testing.T) {
	file := func(batch string) string { return "version: 0.2\nbatch:\n" + batch }
	const ignored = " (a plain build ignores it)"
	for _, tt := range []struct {
		name, text, want string
		valid            bool
	}{
		{"right", file("  build-fanout: {parallelism: 2}\n") + phases, "", true},
		{"warning", file("  build-list: {identifier: a}\n") + phases, "3:15: warning: batch.build-list: is one task instead of a list; put `- ` before it", true},
		{"two errors", file("  build-list:\n    - identifier: a b\n    - {}\n") + phases,
			`4:19: warning: batch.build-list[0].identifier: "a b" at line 4 is no identifier; use letters, digits, -, _ and ., at most 128` + ignored + "\n" +
				"5:7: warning: batch.build-list[1].identifier: missing at line 5; give the task a name: identifier: a-name" + ignored, true},
		{"null", file("") + phases, "2:1: warning: batch: has no builds at line 2; write one of build-list, build-graph, build-matrix, build-fanout" + ignored, true},
		{"an error elsewhere", file("  build-fanout: {parallelism: 0}\n") + "env: {shell: fish}\n" + phases,
			`3:31: warning: batch.build-fanout.parallelism: "0" at line 3 is no number from 1 on` + ignored + "\n" + `4:14: env.shell: "fish" at line 4 is none of sh, /bin/sh, bash, /bin/bash`, false},
		{"no phases", file("  build-list: [{identifier: a b, buildspec: c.yml}]\n"),
			"1:1: phases: missing; write `phases:` with at least one of install, pre_build, build, post_build\n" +
				`3:29: warning: batch.build-list[0].identifier: "a b" at line 3 is no identifier; use letters, digits, -, _ and ., at most 128` + ignored, false},
		{"a merge of itself", file("  build-list: [&a {identifier: a, <<: *a}]\n") + phases, "3:16: warning: batch.build-list[0].<<: the map at line 3 merges itself" + ignored, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec, problems := Parse([]byte(tt.text))
			if diff := cmp.Diff(tt.want, texts(problems)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if (spec != nil) != tt.valid || tt.valid != (Errors(problems) == 0) {
				t.Errorf("%d errors, spec %+v", Errors(problems), spec)
			}
			whole, _ := ParseBatch([]byte(tt.text))
			if wrong := strings.Contains(tt.want, ignored) || !tt.valid; (whole == nil) != wrong {
				t.Errorf("the spec of a batch build is %+v", whole)
			}
			if spec != nil && (spec.Batch != nil) != (whole != nil) {
				t.Errorf("batch %+v", spec.Batch)
			}
			for _, p := range Lint([]byte(tt.text), spec) {
				t.Errorf("a lint: %s", p)
			}
		})
	}
}

// TestManyBatchWarnings has errors of batch behind more warnings than are told.
func TestManyBatchWarnings(t *testing.T) {
	text := "version: 0.2\nbatch:\n" + many(500, "  x%d: 1\n") + "  build-fanout: {parallelism: 0}\n" + phases
	if spec, problems := Parse([]byte(text)); spec == nil || spec.Batch != nil || Errors(problems) != 0 {
		t.Errorf("spec %+v, %d errors", spec, Errors(problems))
	}
	if spec, problems := ParseBatch([]byte(text)); spec != nil || Errors(problems) != 1 {
		t.Errorf("spec %+v of a batch build, %d errors", spec, Errors(problems))
	}
}

// batchOf parses a file with the batch and no problems.
func batchOf(t *testing.T, text string) *Batch {
	t.Helper()
	spec, problems := mustParse(t, "version: 0.2\n"+text)
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	return spec.Batch
}

// short is a task in one line.
func short(task Task) string {
	line := task.Identifier
	for _, text := range []string{task.Title, task.Buildspec, strings.Join(task.DependOn, "+"), task.Env.ComputeType, task.Env.Fleet, task.Env.Image, task.Env.Type} {
		line += "|" + text
	}
	for _, v := range task.Env.Variables {
		line += " " + v.Name + "=" + v.Value
	}
	for name, set := range map[string]bool{"ignored": task.IgnoreFailure, "debug": task.DebugSession, "privileged": task.Env.PrivilegedMode} {
		if set {
			line += " " + name
		}
	}
	if task.Shards > 0 {
		line += fmt.Sprintf(" %d/%d", task.Shard, task.Shards)
	}
	return line
}

func TestTasks(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"B01", "batch:\n  build-list:\n    - identifier: good\n      env: {variables: {RC: \"0\"}}\n    - identifier: flaky\n      env: {variables: {RC: \"1\"}}\n      ignore-failure: true\nphases: {build: {commands: [exit $RC]}}",
			[]string{"good||||||| RC=0", "flaky||||||| RC=1 ignored"}},
		{"B04", "batch:\n  build-graph:\n    - identifier: compile\n    - identifier: unit\n      depend-on: [compile]\n    - identifier: package\n      depend-on: [compile, unit, unit]\nphases: {build: {commands: [a]}}",
			[]string{"compile|||||||", "unit|||compile||||", "package|||compile+unit||||"}},
		{"B06", "batch:\n  build-matrix:\n    static: {ignore-failure: false, env: {privileged-mode: false}}\n    dynamic:\n      buildspec: [one.yml, two.yml]\n      env:\n        image: [img-a, img-b]\n        variables: {LEVEL: [low, mid, high]}\n",
			[]string{
				"build_0|buildspec one.yml, image img-a, LEVEL low|one.yml||||img-a| LEVEL=low", "build_1|buildspec one.yml, image img-a, LEVEL mid|one.yml||||img-a| LEVEL=mid",
				"build_2|buildspec one.yml, image img-a, LEVEL high|one.yml||||img-a| LEVEL=high", "build_3|buildspec one.yml, image img-b, LEVEL low|one.yml||||img-b| LEVEL=low",
				"build_4|buildspec one.yml, image img-b, LEVEL mid|one.yml||||img-b| LEVEL=mid", "build_5|buildspec one.yml, image img-b, LEVEL high|one.yml||||img-b| LEVEL=high",
				"build_6|buildspec two.yml, image img-a, LEVEL low|two.yml||||img-a| LEVEL=low", "build_7|buildspec two.yml, image img-a, LEVEL mid|two.yml||||img-a| LEVEL=mid",
				"build_8|buildspec two.yml, image img-a, LEVEL high|two.yml||||img-a| LEVEL=high", "build_9|buildspec two.yml, image img-b, LEVEL low|two.yml||||img-b| LEVEL=low",
				"build_10|buildspec two.yml, image img-b, LEVEL mid|two.yml||||img-b| LEVEL=mid", "build_11|buildspec two.yml, image img-b, LEVEL high|two.yml||||img-b| LEVEL=high",
			}},
		{"scalars for lists", "batch:\n  build-matrix:\n    static: {ignore-failure: yes, env: {type: LINUX_CONTAINER, privileged-mode: on}}\n    dynamic: {env: {compute-type: SMALL, variables: {A: 1.10, B: [yes, ~, \"x\\ny\"]}}}\n" + phases,
			[]string{"build_0|compute-type SMALL, A 1.10, B yes|||SMALL|||LINUX_CONTAINER A=1.10 B=yes ignored privileged",
				"build_1|compute-type SMALL, A 1.10, B x…|||SMALL|||LINUX_CONTAINER A=1.10 B=x\ny ignored privileged"}},
		{"B07", "batch: {build-fanout: {parallelism: 3, ignore-failure: yes}}\n" + phases,
			[]string{"shard_0|shard 1 of 3|||||| ignored 0/3", "shard_1|shard 2 of 3|||||| ignored 1/3", "shard_2|shard 3 of 3|||||| ignored 2/3"}},
		{"one task alone", "batch: {build-list: [{identifier: a, debug-session: yes, buildspec: \"version: 0.2\\nphases: {}\", env: {fleet: f}}]}\n",
			[]string{"a||version: 0.2\nphases: {}|||f|| debug"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			batch := batchOf(t, tt.text)
			var got []string
			for _, task := range batch.Tasks() {
				line := short(task)
				if strings.HasSuffix(line, "privileged ignored") {
					line = strings.TrimSuffix(line, "privileged ignored") + "ignored privileged"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestTasksAreTheCallers changes what Tasks gives.
func TestTasksAreTheCallers(t *testing.T) {
	batch := batchOf(t, "batch: {build-graph: [{identifier: a}, {identifier: b, depend-on: a, env: {variables: {A: b}}}]}\n"+phases)
	tasks := batch.Tasks()
	tasks[1].DependOn[0], tasks[1].Env.Variables[0].Value = "x", "x"
	if batch.List[1].DependOn[0] != "a" || batch.List[1].Env.Variables[0].Value != "b" {
		t.Error("the batch has changed")
	}
}

// TestTasksAreBounded has batches that no file can make.
func TestTasksAreBounded(t *testing.T) {
	values := make([]string, 1200)
	matrix := &Matrix{Images: values, ComputeTypes: values, Buildspecs: values}
	for _, b := range []*Batch{{Matrix: matrix}, {Fanout: &Fanout{Parallelism: 1 << 40}}, {List: make([]Task, 1200)}} {
		if n := len(b.Tasks()); n != MaxTasks {
			t.Errorf("%d tasks", n)
		}
	}
	if n := len((&Batch{Matrix: &Matrix{}}).Tasks()); n != 1 {
		t.Errorf("%d tasks of an empty product", n)
	}
	if title := firstLine(strings.Repeat("é", 70)); title != strings.Repeat("é", 59)+"…" {
		t.Error(title)
	}
}

// TestLargeGraph has a chain of tasks in the worst order, whose check is to take no time.
func TestLargeGraph(t *testing.T) {
	var text strings.Builder
	text.WriteString("batch:\n  build-graph:\n")
	for i := range MaxTasks - 1 {
		fmt.Fprintf(&text, "    - {identifier: t%d, depend-on: t%d}\n", i, i+1)
	}
	fmt.Fprintf(&text, "    - identifier: t%d\n", MaxTasks-1)
	if n := len(batchOf(t, text.String()+phases).Tasks()); n != MaxTasks {
		t.Errorf("%d tasks", n)
	}
}
