package buildspec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mustParse parses a buildspec that has no errors.
func mustParse(t *testing.T, text string) (*Spec, []Problem) {
	t.Helper()
	spec, problems := Parse([]byte(text))
	if spec == nil {
		t.Fatalf("Parse: %v\n%s", problems, text)
	}
	return spec, problems
}

func texts(problems []Problem) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

func TestParse(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "everything.yml"))
	if err != nil {
		t.Fatal(err)
	}
	spec, problems := mustParse(t, string(text))
	if len(problems) > 0 {
		t.Errorf("problems:\n%s", texts(problems))
	}
	want := &Spec{
		Version: "0.2",
		RunAs:   "builder",
		Env: Env{
			Shell:               "bash",
			Variables:           []Variable{{"APP", "shop", 6}, {"LOG_LEVEL", "info", 6}},
			ParameterStore:      []Variable{{"REGISTRY_USER", "/ci/registry/user", 7}},
			SecretsManager:      []Variable{{"REGISTRY_PASS", "ci/registry:password", 9}, {"OLD_KEY", "ci/signing:key:AWSPREVIOUS", 10}},
			Exported:            []string{"IMAGE_TAG"},
			GitCredentialHelper: true,
		},
		Batch: &Batch{Type: BuildGraph, FastFail: true, Line: 14, List: []Task{
			{Identifier: "linux", Env: TaskEnv{ComputeType: "BUILD_GENERAL1_LARGE", PrivilegedMode: true}, Line: 17},
			{Identifier: "smoke", Buildspec: "ci/smoke.yml", DependOn: []string{"linux"}, IgnoreFailure: true, Line: 19},
		}},
		Phases: []Phase{
			{Name: Install, RunAs: "root", Commands: []Command{{"npm ci", 27}}, Runtimes: []Variable{{"nodejs", "20", 26}, {"golang", "1.22", 26}}},
			{Name: PreBuild, OnFailure: OnFailure{Retry, 2, "timed out"}, Commands: []Command{{"./ci/login.sh", 30}}, Finally: []Command{{"rm -f ci/tmp-token", 31}}},
			{Name: Build, OnFailure: OnFailure{Action: Abort}, Commands: []Command{{"set -e\nIMAGE_TAG=\"$(git rev-parse --short HEAD)\"\nmake image TAG=\"$IMAGE_TAG\"\n", 35}}},
			{Name: PostBuild, Commands: []Command{{`[ "$CODEBUILD_BUILD_SUCCEEDING" = 1 ] && make push`, 40}}},
		},
		Reports: []ReportGroup{
			{Name: "unit", Files: []string{"**/*.xml"}, Format: "JUNITXML", BaseDirectory: "out/junit", Line: 42},
			{Name: "cover", Files: []string{"cover.xml"}, Format: "COBERTURAXML", BaseDirectory: "out", Line: 43},
		},
		Artifacts: &Artifacts{
			Files: []string{"**/*"}, BaseDirectory: "out", ExcludePaths: []string{"junit/**/*"}, Name: "$APP-$IMAGE_TAG.zip", Line: 44,
			Secondary: []Artifacts{{ID: "docs", Files: []string{"**/*"}, BaseDirectory: "docs/site", Line: 50}},
		},
		Cache: &Cache{
			Key: "npm-$(codebuild-hash-files package-lock.json)", FallbackKeys: []string{"npm-"},
			Paths: []string{"node_modules/**/*", "/root/.npm/**/*"}, Line: 51,
		},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A badFile is a file and the exact list of what is said about it.
type badFile struct{ name, text, want string }

func TestProblems(t *testing.T) {
	testProblems(t, []badFile{
		{"empty", "", "1:1: the file is empty; the smallest buildspec is `version: 0.2` and `phases`"},
		{"only a comment", "# nothing\n", "1:1: the file is empty; the smallest buildspec is `version: 0.2` and `phases`"},
		{"list", "- a\n", "1:1: the file is a list; a buildspec is a map that begins with `version: 0.2`"},
		{"C02 no version", "phases: {build: {commands: [echo hi]}}",
			"1:1: version: missing (wrong number of container tags, expected 1); write `version: 0.2` as the first line"},
		{"version null", "version:\nphases: {build: {commands: [echo hi]}}",
			"1:1: version: missing (wrong number of container tags, expected 1) at line 1; write `version: 0.2` as the first line"},
		{"C04 unknown version", "version: 0.3\nphases: {build: {commands: [echo hi]}}",
			`1:10: version: "0.3" at line 1 is no version of the format; write 0.2`},
		{"C05 no phases", "version: 0.2\nartifacts: {files: ['**/*']}",
			"1:1: phases: missing; write `phases:` with at least one of install, pre_build, build, post_build"},
		{"empty phases", "version: 0.2\nphases:\n",
			"2:1: phases: is empty at line 2; write at least one of install, pre_build, build, post_build"},
		{"C06 colon and blank", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo \"status: green\"\n",
			`5:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; ` +
				`a colon and a blank make a map of it, write: - 'echo "status: green"'`},
		{"colon with quotes inside", "version: 0.2\nphases:\n  build:\n    commands:\n      - true\n      - echo it's: ok\n",
			`6:9: phases.build.commands: Expected Commands[1] to be of string type: found subkeys instead at line 6, value of the key tag on line 5 might be empty; ` +
				`a colon and a blank make a map of it, write: - 'echo it''s: ok'`},
		{"C09 leading brace", "version: 0.2\nphases:\n  build:\n    commands:\n      - { echo absent; true; }\n",
			"5:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; put the whole command between single quotes"},
		{"nested list", "version: 0.2\nphases: {build: {commands: [[echo a]]}}",
			"2:29: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 2, value of the key tag on line 1 might be empty; put the whole command between single quotes"},
		{"C10 tab", "version: 0.2\nphases:\n\tbuild:\n    commands: [echo hi]\n",
			"3:1: found character that cannot start any token at line 3; a tab stands in the indentation, use spaces"},
		{"leading at", "version: 0.2\nphases:\n  build:\n    commands:\n      - @echo\n",
			"5:9: found character that cannot start any token at line 5; YAML takes the @ at the beginning of a text for itself, write: - '@echo'"},
		{"bad flow list", "version: 0.2\nphases:\n  build:\n    commands: [a, b\n    x: y\n", "4:5: did not find expected ',' or ']' at line 4"},
		{"colons on a line", "version: 0.2\na: b: c\n",
			"2:1: mapping values are not allowed in this context at line 2; put a text that contains a colon and a blank between single quotes"},
		{"leading star", "version: 0.2\nphases:\n  build:\n    commands:\n      - *.sh\n",
			"5:9: did not find expected alphabetic or numeric character at line 5; YAML takes the * at the beginning of a text for itself, write: - '*.sh'"},
		{"unknown anchor", "version: 0.2\nphases:\n  build:\n    commands:\n      - *sh\n",
			"5:9: unknown anchor 'sh' referenced at line 5; YAML takes the * at the beginning of a text for itself, write: - '*sh'"},
		{"C15 lost indentation", "version: 0.2\nphases:\nbuild:\n  commands: [echo built]\n",
			"3:1: build: build at line 3 is a phase, but stands beside phases; indent it by two spaces more"},
		{"stray phase", "version: 0.2\nphases:\n  install: {commands: [echo a]}\nbuild:\n  commands: [echo built]\n",
			"4:1: warning: build: is a phase, but stands outside of phases; ignored. Move it into phases"},
		{"second document", "version: 0.2\nphases: {build: {commands: [a]}}\n---\nversion: 0.2\n",
			"3:1: a second YAML document begins here; a buildspec is one document"},
		{"duplicate key", "version: 0.2\nphases:\n  build: {commands: [a]}\n  build: {commands: [b]}\n",
			"4:3: phases.build: the key stands twice, at line 3 and line 4; keep one"},
		{"C14 unknown phase", "version: 0.2\nphases:\n  test: {commands: [a]}\n  pre-build: {commands: [a]}\n",
			"3:3: warning: phases.test: unknown phase, ignored; known here: install, pre_build, build, post_build\n" +
				"4:3: warning: phases.pre-build: unknown phase, ignored; did you mean pre_build?"},
		{"unknown keys", "version: 0.2\nartifact: {files: [a]}\nphases:\n  build:\n    command: [a]\n    comands: [b]\n    commands: [c]\n",
			"2:1: warning: artifact: unknown key, ignored; did you mean artifacts?\n" +
				"5:5: warning: phases.build.command: unknown key, ignored; did you mean commands?\n" +
				"6:5: warning: phases.build.comands: unknown key, ignored; did you mean commands?"},
		{"C45 old block in 0.2", "version: 0.2\nenvironment_variables: {plaintext: {A: b}}\nphases: {build: {commands: [a]}}",
			"2:1: warning: environment_variables: belongs to version 0.1, ignored; in 0.2 write env: {variables: {...}}"},
		{"C12 empty commands", "version: 0.2\nphases:\n  pre_build:\n    commands:\n  build: {commands: [a]}\n",
			"4:5: warning: phases.pre_build.commands: is empty; nothing runs"},
		{"no commands", "version: 0.2\nphases:\n  build: {on-failure: ABORT}\n  post_build:\n", "3:3: warning: phases.build: has no commands; nothing runs\n" +
			"4:3: warning: phases.post_build: has no commands; nothing runs"},
		{"one text", "version: 0.2\nphases: {build: {commands: echo hi}}",
			"2:28: warning: phases.build.commands: is one text instead of a list; put `- ` before it"},
		{"commands as a map", "version: 0.2\nphases:\n  build:\n    commands:\n      echo: hi\n",
			"5:7: phases.build.commands: expected a list of commands, found a map at line 5; put `- ` before each command"},
		{"C21 empty runtime-versions", "version: 0.2\nphases: {install: {runtime-versions: {}}, build: {commands: [echo hi]}}",
			"2:20: phases.install.runtime-versions: is empty at line 2; name at least one runtime, or leave the key out"},
		{"runtime-versions in build", "version: 0.2\nphases: {build: {runtime-versions: {go: 1}, commands: [echo hi]}}",
			"2:18: warning: phases.build.runtime-versions: is read in install only; ignored"},
		{"C23 bad shell", "version: 0.2\nenv: {shell: zsh}\nphases: {build: {commands: [echo hi]}}",
			`2:14: env.shell: "zsh" at line 2 is none of sh, /bin/sh, bash, /bin/bash`},
		{"C24 bad on-failure", "version: 0.2\nphases: {build: {on-failure: IGNORE, commands: [echo hi]}}",
			`2:30: phases.build.on-failure: "IGNORE" at line 2 is none of ABORT, CONTINUE, RETRY, RETRY-<count>, RETRY-<regex>, RETRY-<count>-<regex>`},
		{"C25 retry count", "version: 0.2\nphases: {build: {on-failure: RETRY-101, commands: [echo hi]}}",
			"2:30: phases.build.on-failure: the count 101 at line 2 is above 100"},
		{"retry regex", "version: 0.2\nphases: {build: {on-failure: 'RETRY-3-(', commands: [echo hi]}}",
			"2:30: phases.build.on-failure: \"(\" at line 2 is no regular expression: error parsing regexp: missing closing ): `(`"},
		{"C26 artifacts without files", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts: {secondary-artifacts: {docs: {files: ['**/*']}}}",
			"3:1: artifacts.files: missing at line 3; name at least one file or pattern, such as '**/*'"},
		{"artifacts with empty files", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts:\n  files:\n",
			"4:3: artifacts.files: is empty at line 4; name at least one file or pattern, such as '**/*'"},
		{"bad pattern", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts:\n  files: ['a[']\n",
			`4:11: artifacts.files: pattern "a[": the class in "a[" is not closed at line 4; write \[ for a plain bracket`},
		{"artifact identifier", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts: {files: [a], secondary-artifacts: {a-b: {files: [c]}}}",
			`3:47: artifacts.secondary-artifacts.a-b: "a-b" at line 3 is no artifact identifier; use letters, digits and _, fewer than 128`},
		{"artifacts type", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts: {type: zip, files: [a]}",
			"3:13: warning: artifacts.type: belongs to version 0.1; ignored"},
		{"files as a map", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts: {files: {a: b}}",
			"3:20: artifacts.files: expected a list of texts, found a map at line 3"},
		{"list in files", "version: 0.2\nphases: {build: {commands: [echo hi]}}\nartifacts: {files: [[a]]}",
			"3:21: artifacts.files: expected a text as item 0, found a list at line 3"},
		{"C27 six fallback keys", "version: 0.2\nphases: {build: {commands: [echo hi]}}\ncache: {key: a, fallback-keys: [b, c, d, e, f, g], paths: ['x/**/*']}",
			"3:32: cache.fallback-keys: 6 keys at line 3; at most 5 are allowed"},
		{"cache without paths", "version: 0.2\nphases: {build: {commands: [echo hi]}}\ncache: {fallback-keys: [b], action: both}",
			"3:1: warning: cache.paths: missing; nothing is cached\n" +
				"3:9: warning: cache.fallback-keys: is ignored without key\n" +
				`3:37: cache.action: "both" at line 3 is none of restore, save`},
		{"C29 reserved name", "version: 0.2\nenv: {variables: {CODEBUILD_BUILD_SUCCEEDING: '7'}}\nphases: {build: {commands: [a]}}",
			"2:19: warning: env.variables.CODEBUILD_BUILD_SUCCEEDING: names that begin with CODEBUILD_ are reserved; ignored"},
		{"bad name", "version: 0.2\nenv: {variables: {1A: b, A-B: c}}\nphases: {build: {commands: [a]}}",
			`2:19: env.variables.1A: "1A" at line 2 is no name of a variable; use letters, digits and _, not a digit first` + "\n" +
				`2:26: env.variables.A-B: "A-B" at line 2 is no name of a variable; use letters, digits and _, not a digit first`},
		{"name in two maps", "version: 0.2\nenv:\n  variables: {A: b}\n  parameter-store:\n    A: /a\nphases: {build: {commands: [a]}}",
			"5:1: env.parameter-store.A: the name at line 5 also stands in env.variables, at line 3; keep one"},
		{"exported name", "version: 0.2\nenv: {exported-variables: [A B]}\nphases: {build: {commands: [a]}}",
			`2:28: env.exported-variables: "A B" at line 2 is no name of a variable; use letters, digits and _, not a digit first`},
		{"variables as a list", "version: 0.2\nenv: {variables: [A]}\nphases: {build: {commands: [a]}}",
			"2:18: env.variables: expected a map of keys, found a list at line 2"},
		{"value as a list", "version: 0.2\nenv: {variables: {A: [b]}}\nphases: {build: {commands: [a]}}",
			"2:22: env.variables.A: expected a text, found a list at line 2"},
		{"flag", "version: 0.2\nenv: {git-credential-helper: maybe}\nphases: {build: {commands: [a]}}",
			`2:30: env.git-credential-helper: "maybe" at line 2 is neither yes nor no`},
		{"report format", "version: 0.2\nreports: {unit: {files: [a], file-format: junit}}\nphases: {build: {commands: [a]}}",
			`2:43: reports.unit.file-format: "junit" at line 2 is none of JUNITXML, CUCUMBERJSON, NUNITXML, NUNIT3XML, TESTNGXML, VISUALSTUDIOTRX, CLOVERXML, COBERTURAXML, JACOCOXML, SIMPLECOV, LCOV, LCOVINFO`},
		{"C30 steps", "version: 0.2\nphases: {build: {steps: [{name: Greet, run: echo hi}]}}",
			"2:18: phases.build.steps: GitHub Actions steps are not supported at line 2; write their commands as `commands`"},
		{"0.1 with newer keys", "version: 0.1\nenv: {variables: {A: b}}\nphases: {build: {commands: [a]}}",
			"2:1: warning: env: is not documented for version 0.1; it is read as in 0.2"},
		{"key that is a list", "version: 0.2\n? [a]\n: b\nphases: {build: {commands: [a]}}", "2:3: a key is a list at line 2; write a text"},
		{"everything at once", "version: 0.9\nenv: {shell: fish}\nphases:\n  build:\n    commands:\n      - a: b\n      - c: d\n",
			`1:10: version: "0.9" at line 1 is no version of the format; write 0.2` + "\n" +
				`2:14: env.shell: "fish" at line 2 is none of sh, /bin/sh, bash, /bin/bash` + "\n" +
				`6:9: phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 6, value of the key tag on line 5 might be empty; a colon and a blank make a map of it, write: - 'a: b'` + "\n" +
				`7:9: phases.build.commands: Expected Commands[1] to be of string type: found subkeys instead at line 7, value of the key tag on line 6 might be empty; a colon and a blank make a map of it, write: - 'c: d'`},
	})
}

func testProblems(t *testing.T, files []badFile) {
	for _, tt := range files {
		t.Run(tt.name, func(t *testing.T) {
			spec, problems := ParseBatch([]byte(tt.text))
			if diff := cmp.Diff(sorted(strings.Split(tt.want, "\n")), sorted(strings.Split(texts(problems), "\n"))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if errors := Errors(problems); (spec == nil) != (errors > 0) {
				t.Errorf("%d errors, but spec is %v", errors, spec)
			}
			for _, p := range problems {
				if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Code == p.Code && (r.Level() == "warning") == p.Warning }) {
					t.Errorf("%s has the code %q", p, p.Code)
				}
			}
		})
	}
}

// sorted is lines as a set; the order of problems has a test of its own.
func sorted(lines []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(lines)))
}

func TestProblemsAreInOrder(t *testing.T) {
	_, problems := Parse([]byte("version: 0.2\nphases:\n  post_build: {commands: {a: b}}\n  build: {commands: {a: b}}\nenv: {shell: fish}\nrun-as: [a]\n"))
	if len(problems) != 4 {
		t.Fatalf("%d problems, want 4:\n%s", len(problems), texts(problems))
	}
	for i, p := range problems[1:] {
		if before := problems[i]; before.Line > p.Line {
			t.Errorf("line %d stands before line %d", before.Line, p.Line)
		}
	}
}

func TestScalarsKeepTheirSourceText(t *testing.T) {
	spec, _ := mustParse(t, "version: 0.2\nenv: {variables: {A: 1.20, B: yes, C: 0755, D: \"\", E: 1e3, F: , G: ~, H: 2001-01-01}}\nphases: {build: {commands: [true, 3.10]}}")
	want := []Variable{{"A", "1.20", 2}, {"B", "yes", 2}, {"C", "0755", 2}, {"D", "", 2}, {"E", "1e3", 2}, {"F", "", 2}, {"G", "", 2}, {"H", "2001-01-01", 2}}
	if diff := cmp.Diff(want, spec.Env.Variables); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]Command{{"true", 3}, {"3.10", 3}}, spec.Phases[2].Commands); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"quoted version":    `version: "0.2"` + "\nphases: {build: {commands: [echo hi]}}",
		"byte order mark":   "\xef\xbb\xbfversion: 0.2\nphases: {build: {commands: [echo hi]}}",
		"leading marker":    "---\nversion: 0.2\nphases: {build: {commands: [echo hi]}}",
		"JSON":              `{"version": "0.2", "phases": {"build": {"commands": ["echo json"]}}}`,
		"JSON with tabs":    "{\n\t\"version\": \"0.2\",\n\t\"phases\": {\"build\": {\"commands\": [\"echo json\"]}}\n}",
		"C08 brace in item": "version: 0.2\nphases:\n  build:\n    commands:\n      - test -e missing || { echo absent; true; }\n",
		"comment item":      "version: 0.2\nphases:\n  build:\n    commands:\n      - # nothing\n      - \"\"\n      - echo\n",
		"install alone":     "version: 0.2\nphases: {install: {runtime-versions: {go: 1}}}",
		"batch alone":       "version: 0.2\nbatch: {build-list: [{identifier: a, buildspec: b.yml}]}",
		"files as text":     "version: 0.2\nphases: {build: {commands: [a]}}\nartifacts: {files: '**/*', discard-paths: No, exclude-paths: a}",
		"format in any case": "version: 0.2\nphases: {build: {commands: [a]}}\n" +
			"reports: {a: {files: [a], file-format: JUnitXml}}\nproxy: {upload-artifacts: yes, logs: off}",
		"0.1": "version: 0.1\nenvironment_variables: {plaintext: {A: b}}\nphases: {build: {commands: [a]}}\nartifacts: {type: zip, files: [a]}",
	} {
		if _, problems := mustParse(t, text); len(problems) > 0 {
			t.Errorf("%s: %s", name, texts(problems))
		}
	}
}

func TestLineEndsOfWindows(t *testing.T) {
	spec, _ := mustParse(t, "version: 0.2\r\nphases:\r\n  build:\r\n    commands:\r\n      - |\r\n        a\r\n        b\r\n")
	if got := spec.Phases[2].Commands[0].Text; got != "a\nb\n" {
		t.Errorf("command is %q", got)
	}
}

func TestAnchorsAndMerge(t *testing.T) {
	spec, problems := mustParse(t, "version: 0.2\nx-common: &base\n  commands: [echo shared]\n  finally: [echo base]\nphases:\n  pre_build: *base\n  build:\n    <<: *base\n    finally: [echo fin]\n")
	if got, want := texts(problems), "2:1: warning: x-common: unknown key, ignored; known here: version, run-as, env, proxy, batch, phases, reports, artifacts, cache"; got != want {
		t.Errorf("problems %q, want %q", got, want)
	}
	if spec.Phases[1].Commands[0].Text != "echo shared" || spec.Phases[2].Commands[0].Text != "echo shared" || spec.Phases[2].Finally[0].Text != "echo fin" {
		t.Errorf("phases: %+v", spec.Phases)
	}
}

func TestOnFailure(t *testing.T) {
	for text, want := range map[string]OnFailure{
		"ABORT":               {Action: Abort},
		"continue":            {Action: Continue},
		"RETRY":               {Retry, 3, ""},
		"Retry-2":             {Retry, 2, ""},
		"RETRY-0":             {Retry, 0, ""},
		"RETRY-100":           {Retry, 100, ""},
		"RETRY-timed-out":     {Retry, 3, "timed-out"},
		"RETRY-2-timed out":   {Retry, 2, "timed out"},
		"retry-10-exit (1|2)": {Retry, 10, "exit (1|2)"},
	} {
		spec, _ := mustParse(t, "version: 0.2\nphases: {build: {on-failure: '"+text+"', commands: [a]}}")
		if got := spec.Phases[2].OnFailure; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// TestBombs feeds files that are small and unfold to much.
func TestBombs(t *testing.T) {
	var laughs bytes.Buffer
	laughs.WriteString("version: 0.2\na0: &a0 [x]\n")
	for i := 1; i < 40; i++ {
		prev := "*a" + string(rune('0'+(i-1)/10)) + string(rune('0'+(i-1)%10))
		if i == 1 {
			prev = "*a0"
		}
		laughs.WriteString("a" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + ": &a" + string(rune('0'+i/10)) + string(rune('0'+i%10)) +
			" {<<: [" + prev + ", " + prev + "]}\n")
	}
	laughs.WriteString("phases: {build: *a39}\n")
	for name, text := range map[string]string{
		"merges":          laughs.String(),
		"merge of itself": "version: 0.2\nphases: &p\n  build: {commands: [a]}\n  <<: *p\n",
		"huge":            "version: 0.2\n" + strings.Repeat("#", MaxSize),
		"deep":            strings.Repeat("[", 20_000),
		"many keys":       "version: 0.2\nphases: {build: {commands: [a]}}\nenv:\n  variables:\n" + strings.Repeat("    A: b\n", 50_000),
	} {
		if spec, problems := Parse([]byte(text)); spec != nil || len(problems) == 0 {
			t.Errorf("%s: accepted", name)
		} else if first := problems[0].String(); len(first) > 300 {
			t.Errorf("%s: a problem of %d bytes", name, len(first))
		}
	}
}

func TestAliasOfItself(t *testing.T) {
	_, problems := mustParse(t, "version: 0.2\nphases: &p\n  build: *p\n")
	if got := texts(problems); !strings.HasPrefix(got, "3:3: warning: phases.build.build: unknown key") {
		t.Error(got)
	}
}

func TestMergeOfItself(t *testing.T) {
	_, problems := Parse([]byte("version: 0.2\nphases: &p\n  build: {commands: [a]}\n  <<: *p\n"))
	if got, want := texts(problems), "2:9: phases.<<: the map at line 2 merges itself"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestManyWarningsDoNotHideAnError(t *testing.T) {
	spec, problems := Parse([]byte("version: 0.2\nphases:\n" + manyPhases(500) + "reports: [a]\n"))
	if spec != nil || len(problems) != 200 || Errors(problems) != 1 {
		t.Errorf("%d problems with %d errors, spec %v", len(problems), Errors(problems), spec)
	}
}

func manyPhases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  p%d: {}\n", i)
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	for _, text := range samples(f) {
		f.Add(text)
	}
	for _, c := range conformance {
		f.Add([]byte(c.text))
	}
	f.Add([]byte("version: 0.2\nphases: &p\n  build: *p\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, problems := ParseBatch(text)
		if (whole == nil) != (Errors(problems) > 0) {
			t.Fatalf("spec %v with %d errors for a batch build", whole, Errors(problems))
		}
		spec, problems := Parse(text)
		if (spec == nil) != (Errors(problems) > 0) {
			t.Fatalf("spec %v with %d errors", spec, Errors(problems))
		}
		if whole != nil && !reflect.DeepEqual(whole, spec) {
			t.Fatalf("the spec of a batch build %v is not that of a plain one %v", whole, spec)
		}
		lines := 1
		for _, end := range []string{"\n", "\r", "\u0085", "\u2028", "\u2029"} { // what YAML holds for the end of a line
			lines += bytes.Count(text, []byte(end))
		}
		for _, p := range append(problems, Lint(text, spec)...) {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Message == "" || p.Code == "" || len(p.Message) > 4000 {
				t.Errorf("problem %+v in a file of %d lines", p, lines)
			}
		}
		if spec == nil {
			return
		}
		if spec.Batch != nil && len(spec.Batch.Tasks()) > MaxTasks {
			t.Error("too many tasks")
		}
		checkPrint(t, spec)
	})
}
