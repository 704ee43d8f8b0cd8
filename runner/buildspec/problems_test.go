package buildspec

import (
	"fmt"
	"strings"
	"testing"
)

const phases = "phases: {build: {commands: [a]}}\n"

// TestMoreProblems has the rest of the messages about everything but batch.
func TestMoreProblems(t *testing.T) {
	item := func(text string) string {
		return "version: 0.2\nphases:\n  build:\n    commands:\n      - " + strings.ReplaceAll(text, "\n", "\n        ") + "\n"
	}
	env := func(text string) string {
		return "version: 0.2\nenv:\n  secrets-manager:\n    S: " + text + "\n" + phases
	}
	testProblems(t, []badFile{
		// YAML.
		{"tab after the dash", "version: 0.2\nphases:\n  build:\n    commands:\n      -\techo\n",
			"5:8: found character that cannot start any token at line 5; a tab stands after the dash, use a space"},
		{"tab deeper", "version: 0.2\nphases:\n  build:\n    commands:\n      - a\n\t  - b\n",
			"6:1: found a tab character that violates indentation at line 6; indent with spaces"},
		{"quote not closed", "version: 0.2\nphases:\n  build:\n    commands:\n      - \"echo\n",
			"5:9: found unexpected end of stream at line 5; the quote \" at the beginning of the text is not closed"},
		{"two colons in an item", item("echo a: b: c"),
			"5:9: mapping values are not allowed in this context at line 5; a colon and a blank make a map of it, write: - 'echo a: b: c'"},
		{"colon in an item of two lines", item("echo a: b &&\necho c"),
			"5:9: could not find expected ':' at line 5; a colon and a blank make a map of it; begin the item with `- |` and put the command below, indented"},
		{"indentation", "version: 0.2\nphases:\n  build:\n    run-as: a\n     commands: [b]\n",
			"5:6: mapping values are not allowed in this context at line 5; put a text that contains a colon and a blank between single quotes"},
		{"item that is indented otherwise", "version: 0.2\nphases:\n  build:\n    commands:\n      - a\n     - b\n",
			"6:6: did not find expected key at line 6; the line is indented like none above it"},
		{"leading bracket", item(`{a} b`),
			"5:9: did not find expected '-' indicator at line 5; YAML takes the { at the beginning of a text for itself, write: - '{a} b'"},
		{"leading quote", item(`"a" b`),
			`5:9: did not find expected '-' indicator at line 5; YAML takes the " at the beginning of a text for itself, write: - '"a" b'`},
		{"item without a dash", "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        a\n       b\n",
			"7:8: did not find expected '-' indicator at line 7; the line is indented like none above it"},
		{"alias as a key", "version: 0.2\nx: &x run-as\n*x : a\n" + phases,
			"2:1: warning: x: unknown key, ignored; known here: version, run-as, env, proxy, batch, phases, reports, artifacts, cache"},
		{"trouble in a second document", "version: 0.2\n" + phases + "---\na: b: c\n",
			"4:1: mapping values are not allowed in this context at line 4; put a text that contains a colon and a blank between single quotes"},
		{"nothing but a null", "~\n", "1:1: " + emptyFile},
		{"line that is nothing", "version: 0.2\nphases:\n  build:\n    commands:\n      - a\n      b\n",
			"6:7: could not find expected ':' at line 6; the line is neither `key: value` nor an item, put `- ` before a command"},
		{"text in a list", "version: 0.2\nphases:\n  build:\n    commands:\n      - a\n      b: c\n",
			"6:7: did not find expected '-' indicator at line 6; put `- ` before each item of a list, and indent all items alike"},
		{"a very long item", item("a: b: " + strings.Repeat("x", 1000)),
			"5:9: mapping values are not allowed in this context at line 5; a colon and a blank make a map of it, write: - 'a: b: " + strings.Repeat("x", 287) + "…"},
		{"tag", item("!Sub echo"), "5:9: warning: phases.build.commands: !Sub begins a tag of YAML and is not part of the text; put the text between single quotes"},
		{"negation", item("! grep it's"), "5:9: warning: phases.build.commands: YAML keeps the ! at line 5 for itself, and the command runs without it; write: - '! grep it''s'"},
		{"NUL", item(`"a\0b"`), "5:9: phases.build.commands: the text at line 5 has a NUL byte, which no command and no variable can have"},

		// Commands.
		{"map of two lines", item("echo a: b\necho c: d"),
			"5:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; a colon and a blank make a map of it; begin the item with `- |` and put the command below, indented"},
		{"map that goes on", item("echo a: b\n  and more"),
			"5:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; a colon and a blank make a map of it; begin the item with `- |` and put the command below, indented"},
		{"map with a block", item("run: |\n  echo a"),
			"5:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; a colon and a blank make a map of it; begin the item with `- |` and put the command below, indented"},
		{"map in finally", "version: 0.2\nphases:\n  build:\n    commands: [a]\n    finally:\n      - echo a: b # why\n      # a comment\n",
			"6:9: phases.build.finally: Expected Finally[0] to be of string type: found subkeys instead at line 6, value of the key tag on line 5 might be empty; a colon and a blank make a map of it, write: - 'echo a: b # why'"},
		{"map before Windows' line end", "version: 0.2\r\nphases:\r\n  build:\r\n    commands:\r\n      - echo a: b\r\n",
			"5:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; a colon and a blank make a map of it, write: - 'echo a: b'"},
		{"empty list", "version: 0.2\nphases: {build: {commands: [], finally: []}}",
			"2:18: warning: phases.build.commands: is empty; nothing runs\n2:32: warning: phases.build.finally: is empty; nothing runs"},
		{"blank text", "version: 0.2\nphases: {build: {commands: ' '}}", "2:28: warning: phases.build.commands: is one text instead of a list; put `- ` before it"},
		{"phases without one", "version: 0.2\nphases: {}\n", "2:1: phases: is empty at line 2; write at least one of install, pre_build, build, post_build"},
		{"phases as a list", "version: 0.2\nphases: [a]\n", "2:9: phases: expected a map of keys, found a list at line 2"},
		{"nearly ABORT", "version: 0.2\nphases: {build: {on-failure: ABRT, commands: [a]}}",
			`2:30: phases.build.on-failure: "ABRT" at line 2 is none of ABORT, CONTINUE, RETRY, RETRY-<count>, RETRY-<regex>, RETRY-<count>-<regex>; did you mean ABORT?`},
		{"user", "version: 0.2\nrun-as: a b\nphases: {build: {run-as: -x, commands: [a]}}",
			`2:9: run-as: "a b" at line 2 is no name of a user` + "\n" + `3:26: phases.build.run-as: "-x" at line 3 is no name of a user`},
		{"runtimes", "version: 0.2\nphases: {install: {runtime-versions: {go: , nodejs: '>= 18', java: [a]}}}",
			`2:39: phases.install.runtime-versions.go: "" at line 2 is no version; write one such as 3.12, 18.x, latest or "$VERSION"` + "\n" +
				`2:45: phases.install.runtime-versions.nodejs: ">= 18" at line 2 is no version; write one such as 3.12, 18.x, latest or "$VERSION"` + "\n" +
				`2:68: phases.install.runtime-versions.java: expected a text, found a list at line 2`},
		{"runtimes as a text", "version: 0.2\nphases: {install: {runtime-versions: go}}",
			"2:38: phases.install.runtime-versions: expected a map of keys, found a text at line 2"},

		// Values.
		{"shell of Windows", "version: 0.2\nenv: {shell: powershell.exe}\n" + phases,
			`2:14: env.shell: "powershell.exe" at line 2 is a shell of Windows, which this program does not build on; write one of sh, /bin/sh, bash, /bin/bash`},
		{"parameter", "version: 0.2\nenv: {parameter-store: {A: }}\n" + phases, "2:25: env.parameter-store.A: names no parameter at line 2; write its name"},
		{"secret without an id", env("':key'"), "4:5: env.secrets-manager.S: names no secret at line 4; write secret-id[:json-key[:version-stage[:version-id]]]"},
		{"secret as a map", env("{a: b}"), "4:8: env.secrets-manager.S: expected a text, found a map at line 4"},
		{"E04 stage and id", env("db:user:AWSCURRENT:3f2a"),
			`4:8: env.secrets-manager.S: version-stage "AWSCURRENT" and version-id "3f2a" exclude each other at line 4; leave one empty, such as db:user::3f2a`},
		{"too many fields", env("db:user:AWSCURRENT::x"),
			`4:8: env.secrets-manager.S: "db:user:AWSCURRENT::x" at line 4 has 4 fields after the secret's id, and three are the most: json-key, version-stage, version-id`},
		{"ARN", env("arn:aws:secretsmanager:eu-west-1:1:secret"),
			`4:8: env.secrets-manager.S: "arn:aws:secretsmanager:eu-west-1:1:secret" at line 4 is no ARN of a secret; write arn:aws:secretsmanager:<region>:<account>:secret:<name>`},
		{"report format", "version: 0.2\nreports: {u: {files: a, file-format: JUNITXLM}}\n" + phases,
			`2:38: reports.u.file-format: "JUNITXLM" at line 2 is none of JUNITXML, CUCUMBERJSON, NUNITXML, NUNIT3XML, TESTNGXML, VISUALSTUDIOTRX, CLOVERXML, COBERTURAXML, JACOCOXML, SIMPLECOV, LCOV, LCOVINFO; did you mean JUNITXML?`},
		{"report group", "version: 0.2\nreports: {a b: {files: a}}\n" + phases,
			`2:11: reports.a b: "a b" at line 2 is no name of a report group; use letters, digits, - and _, an ARN, or a variable`},
		{"empty pattern", "version: 0.2\nartifacts: {files: ['']}\n" + phases, "2:21: artifacts.files: the pattern is empty at line 2"},
		{"cache as a text", "version: 0.2\ncache: a\n" + phases, "2:8: cache: expected a map of keys, found a text at line 2"},
		{"51 report groups", "version: 0.2\nreports:\n" + many(51, "  g%d: {files: a}\n") + phases, "2:1: reports: 51 report groups at line 2; at most 50 are allowed"},
		{"13 artifacts", "version: 0.2\nartifacts:\n  files: a\n  secondary-artifacts:\n" + many(13, "    a%d: {files: a}\n") + phases,
			"4:3: artifacts.secondary-artifacts: 13 artifacts at line 4; at most 12 are allowed"},
		{"nested secondary artifacts", "version: 0.2\nartifacts: {files: a, secondary-artifacts: {b: {files: a, secondary-artifacts: {}}}}\n" + phases,
			"2:59: warning: artifacts.secondary-artifacts.b.secondary-artifacts: unknown key, ignored; known here: files, base-directory, exclude-paths, discard-paths, enable-symlinks, name, s3-prefix"},

		// What would only follow from another problem.
		{"report as a text", "version: 0.2\nreports: {unit: x}\n" + phases, "2:17: reports.unit: expected a map of keys, found a text at line 2"},
		{"artifacts as a text", "version: 0.2\nartifacts: x\n" + phases, "2:12: artifacts: expected a map of keys, found a text at line 2"},
		{"files of maps", "version: 0.2\nartifacts: {files: [{a: b}, {c: d}]}\n" + phases, "2:21: artifacts.files: expected a text as item 0, found a map at line 2\n" +
			"2:29: artifacts.files: expected a text as item 1, found a map at line 2"},
		{"phase as a list", "version: 0.2\nphases: {build: [a]}\n", "2:17: phases.build: expected a map of keys, found a list at line 2"},

		// Blocks that are empty, or in the wrong place.
		{"empty blocks", "version: 0.2\nenv:\nproxy:\nreports: ~\nartifacts:\n  # files: a\ncache:\n" + phases,
			"2:1: warning: env: is empty; nothing is set\n3:1: warning: proxy: is empty; nothing is sent through a proxy\n4:1: warning: reports: is empty; nothing is reported\n" +
				"5:1: warning: artifacts: is empty; nothing is kept\n7:1: warning: cache: is empty; nothing is cached"},
		{"empty block of 0.1", "version: 0.1\nenvironment_variables:\n" + phases, "2:1: warning: environment_variables: is empty; nothing is set"},
		{"blocks below phases", "version: 0.2\nphases:\n  build: {commands: [a], cache: {paths: a}}\n  artifacts: {files: a}\n  reports: {}\n  env: {}\n",
			"3:26: warning: phases.build.cache: belongs further left, to the top level beside phases; here it is ignored\n" +
				"4:3: warning: phases.artifacts: belongs further left, to the top level beside phases; here it is ignored\n" +
				"5:3: warning: phases.reports: belongs further left, to the top level beside phases; here it is ignored\n" +
				"6:3: warning: phases.env: belongs further left, to the top level beside phases; here it is ignored"},
		{"runtime docker", "version: 0.2\nphases: {install: {runtime-versions: {docker: 18}}}\n",
			"2:39: warning: phases.install.runtime-versions.docker: is deprecated and does nothing; leave it out"},

		// Version 0.1.
		{"newer keys of a phase", "version: 0.1\nphases: {build: {commands: [a], finally: [b], run-as: c}}\nartifacts: {files: a, name: b, type: zip}\n",
			"2:33: warning: phases.build.finally: is not documented for version 0.1; it is read as in 0.2\n" +
				"2:47: warning: phases.build.run-as: is not documented for version 0.1; it is read as in 0.2\n" +
				"3:23: warning: artifacts.name: is not documented for version 0.1; it is read as in 0.2"},
		{"one name in both blocks", "version: 0.1\nenvironment_variables: {plaintext: {A: a}}\nenv: {variables: {A: b}}\n" + phases,
			"3:1: env.variables.A: the name at line 3 also stands in environment_variables.plaintext, at line 2; keep one\n" +
				"3:1: warning: env: is not documented for version 0.1; it is read as in 0.2"},
		{"unknown key of 0.1", "version: 0.1\nenvironment_variables: {plain: {A: a}}\n" + phases,
			"2:25: warning: environment_variables.plain: unknown key, ignored; known here: plaintext"},
	})
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// TestReferences has the references of env.secrets-manager that are right.
func TestReferences(t *testing.T) {
	for _, text := range []string{"db", "db:", "db:user", "db::", "db::AWSPREVIOUS", "db:user:AWSPREVIOUS", "db:user:AWSPREVIOUS:", "db:user::3f2a", "db:::3f2a", "a/b-c_d",
		"arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC:user",
		"arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbC:user::3f2a", "arn"} {
		spec, problems := mustParse(t, "version: 0.2\nenv: {secrets-manager: {S: '"+text+"'}}\n"+phases)
		if len(problems) > 0 || spec.Env.SecretsManager[0].Value != text {
			t.Errorf("%s: %v, %+v", text, problems, spec.Env.SecretsManager)
		}
	}
}

func TestRuntimeVersions(t *testing.T) {
	for _, text := range []string{"3.12", "18.x", "latest", "$RUBY_V", "${RUBY_V}", "openjdk11", "corretto17", "6.0", "1"} {
		spec, problems := mustParse(t, "version: 0.2\nphases: {install: {runtime-versions: {go: '"+text+"'}}}")
		if len(problems) > 0 || spec.Phases[0].Runtimes[0].Value != text {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

func TestFlags(t *testing.T) {
	for text, want := range map[string]bool{"yes": true, "YES": true, "'Yes'": true, "true": true, `"TRUE"`: true, "on": true, "On": true, "no": false, "'NO'": false, "false": false, "False": false,
		"off": false, "": false, "~": false, "' yes '": true} {
		spec, problems := mustParse(t, "version: 0.2\nenv:\n  git-credential-helper: "+text+"\nproxy:\n  logs: "+text+"\n"+phases)
		if len(problems) > 0 || spec.Env.GitCredentialHelper != want || spec.Proxy != want || spec.ProxyLogs != want || spec.ProxyArtifacts {
			t.Errorf("%s: %v, %+v", text, problems, spec)
		}
	}
}

// TestLists has what counts for a list.
func TestLists(t *testing.T) {
	spec, problems := mustParse(t, "version: 0.2\nenv: {exported-variables: [A, ~, B, A, '']}\ncache: {key: k, paths: a/*, fallback-keys: b}\n"+
		"phases:\n  build:\n    commands:\n      - # nothing\n      -\n      - ~\n      - ' '\n      - 1\n      - \"a\\r\\nb\"\n")
	if len(problems) > 0 {
		t.Error(texts(problems))
	}
	if got := fmt.Sprint(spec.Env.Exported, spec.Cache.Paths, spec.Cache.FallbackKeys, spec.Phases[2].Commands); got != "[A B] [a/*] [b] [{1 11} {a\nb 12}]" {
		t.Error(got)
	}
}
