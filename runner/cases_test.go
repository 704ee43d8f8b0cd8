package runner_test

import (
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
)

// cases are buildspecs with what becomes of them. The numbers are those of the reference the format was studied by. Phases
// are DOWNLOAD_SOURCE to UPLOAD_ARTIFACTS: S succeeded, F failed, - not run. Output is what the commands printed, lines
// separated by a slash; nil for whatever it is.
var cases = []struct {
	name      string
	spec      string
	phases    string
	output    string
	artifacts string // names, separated by blanks
	message   string // of the first phase that failed; a part of it
}{
	{"C01", `{version: 0.2, phases: {build: {commands: [echo hi]}}}`, "SSSSSS", "hi", "", ""},
	{"C02", `{phases: {build: {commands: [echo hi]}}}`, "F-----", "", "", "wrong number of container tags, expected 1"},
	{"C03", `{version: "0.2", phases: {build: {commands: [echo hi]}}}`, "SSSSSS", "hi", "", ""},
	{"C04", `{version: 0.3, phases: {build: {commands: [echo hi]}}}`, "F-----", "", "", `"0.3"`},
	{"C05", `{version: 0.2, artifacts: {files: ['**/*']}}`, "F-----", "", "", "phases: missing"},
	{"C06", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo \"status: green\"\n", "F-----", "", "",
		"Expected Commands[0] to be of string type: found subkeys instead"},
	{"C07", "version: 0.2\nphases:\n  build:\n    commands:\n      - 'echo \"status: green\"'\n", "SSSSSS", "status: green", "", ""},
	{"C08", "version: 0.2\nphases:\n  build:\n    commands:\n      - test -e missing || { echo absent; true; }\n", "SSSSSS", "absent", "", ""},
	{"C09", "version: 0.2\nphases:\n  build:\n    commands:\n      - { echo absent; true; }\n", "F-----", "", "", "found subkeys instead"},
	{"C10", "version: 0.2\nphases:\n\tbuild:\n    commands: [echo hi]\n", "F-----", "", "", "found character that cannot start any token at line 3"},
	{"C12", "version: 0.2\nphases:\n  pre_build:\n    commands:\n  build: {commands: [echo hi]}\n", "SSSSSS", "hi", "", ""},
	{"C14", `{version: 0.2, phases: {test: {commands: [echo never]}, build: {commands: [echo built]}}}`, "SSSSSS", "built", "", ""},
	{"C15", "version: 0.2\nphases:\nbuild:\n  commands: [echo built]\n", "F-----", "", "", "indent it"},
	{"C16", `{version: 0.2, phases: {post_build: {commands: [echo 4]}, build: {commands: [echo 3]}, install: {commands: [echo 1]}}}`,
		"SSSSSS", "1/3/4", "", ""},
	{"C18", "version: 0.2\nx-common: &base\n  commands: [echo shared]\nphases:\n  pre_build: *base\n  build:\n    <<: *base\n    finally: [echo fin]\n",
		"SSSSSS", "shared/shared/fin", "", ""},
	{"C19", `{"version": "0.2", "phases": {"build": {"commands": ["echo json"]}}}`, "SSSSSS", "json", "", ""},
	{"C20", `{version: 0.2, env: {variables: {A: 1.20, B: yes, C: 0755, D: "", E: 1e3}}, phases: {build: {commands: ['echo "$A,$B,$C,$D,$E"']}}}`,
		"SSSSSS", "1.20,yes,0755,,1e3", "", ""},
	{"C21", `{version: 0.2, phases: {install: {runtime-versions: {}}, build: {commands: [echo hi]}}}`, "F-----", "", "", "runtime-versions: is empty"},
	{"C23", `{version: 0.2, env: {shell: zsh}, phases: {build: {commands: [echo hi]}}}`, "F-----", "", "", `"zsh"`},
	{"C24", `{version: 0.2, phases: {build: {on-failure: IGNORE, commands: [echo hi]}}}`, "F-----", "", "", `"IGNORE"`},
	{"C25", `{version: 0.2, phases: {build: {on-failure: RETRY-101, commands: [echo hi]}}}`, "F-----", "", "", "above 100"},
	{"C26", `{version: 0.2, phases: {build: {commands: [echo hi]}}, artifacts: {secondary-artifacts: {docs: {files: ['**/*'], base-directory: dist-docs}}}}`,
		"F-----", "", "", "artifacts.files: missing"},
	{"C27", `{version: 0.2, phases: {build: {commands: [echo hi]}}, cache: {key: a, fallback-keys: [b, c, d, e, f, g], paths: ['node_modules/**/*']}}`,
		"F-----", "", "", "at most 5"},
	{"C29", `{version: 0.2, env: {variables: {CODEBUILD_BUILD_SUCCEEDING: "7"}}, phases: {build: {commands: ['echo "$CODEBUILD_BUILD_SUCCEEDING"']}}}`,
		"SSSSSS", "1", "", ""},
	{"C30", `{version: 0.2, phases: {build: {steps: [{name: Greet, run: echo hi}]}}}`, "F-----", "", "", "steps are not supported"},

	{"C31", `{version: 0.2, phases: {pre_build: {commands: [cd dist, 'basename "$(pwd)"']}, build: {commands: ['basename "$(pwd)"', cd css]}, post_build: {commands: [ls]}}, artifacts: {files: [README.md]}}`,
		"SSSSSS", "dist/dist/site.css", "README.md", ""},
	{"C32", `{version: 0.2, phases: {pre_build: {commands: [TAG=v9]}, build: {commands: ['echo "$TAG"', 'sh -c "echo child \$TAG"']}}}`,
		"SSSSSS", "v9/child v9", "", ""},
	{"C34", "version: 0.2\nphases:\n  build:\n    commands:\n      - set -e\n      - |\n        false\n        echo reached\n", "SSSSSS", "reached", "", ""},
	{"C35", "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        set -e\n        echo start\n        false\n        echo unreachable\n      - echo next\n",
		"SSSFSS", "start", "", "exit status 1"},
	{"C36", "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        ls no-such-file 2>/dev/null\n        echo done\n", "SSSSSS", "done", "", ""},
	{"C37", "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        echo begin\n        false\n", "SSSFSS", "begin", "", "exit status 1"},
	{"C39", `{version: 0.2, phases: {build: {commands: [exit 3, echo no]}, post_build: {commands: ['echo "$CODEBUILD_BUILD_SUCCEEDING"']}}}`,
		"SSSFSS", "0", "", "Error while executing command: exit 3. Reason: exit status 3"},
	{"C40", `{version: 0.2, phases: {build: {commands: ['false | cat', echo passed]}}}`, "SSSSSS", "passed", "", ""},
	{"C41", `{version: 0.2, phases: {build: {commands: ['[[ -d dist ]] 2>/dev/null && echo yes']}}}`, "SSSFSS", "", "", "exit status 127"},
	{"C42", `{version: 0.2, env: {shell: bash}, phases: {build: {commands: ['[[ -d dist ]] && echo yes']}}}`, "SSSSSS", "yes", "", ""},
	{"C43", `{version: 0.1, phases: {build: {commands: [cd dist, X=5, 'echo "[$X]"', ls README.md]}}}`, "SSSSSS", "[]/README.md", "", ""},
	{"C45", `{version: 0.2, environment_variables: {plaintext: {GREETING: salut}}, phases: {build: {commands: ['echo "[$GREETING]"']}}}`, "SSSSSS", "[]", "", ""},
	{"C46", `{version: 0.2, env: {variables: {PATH: "$PATH:/opt/x"}}, phases: {build: {commands: ['echo "$PATH"', ls 2>/dev/null]}}}`,
		"SSSFSS", "$PATH:/opt/x", "", "exit status 127"},
	{"C48", `{version: 0.2, phases: {build: {commands: ["exec 2>/dev/null; echo 'oops", echo next]}}}`, "SSSFSS", "*", "", "exit status 2"},
	{"C49", "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        N=\"it's\n        two\"\n      - 'echo \"$N\" | wc -l | tr -d \" \"'\n", "SSSSSS", "2", "", ""},

	{"C51", `{version: 0.2, phases: {pre_build: {commands: ['false']}, build: {commands: [echo b]}, post_build: {commands: [echo p]}}, artifacts: {files: [README.md]}}`,
		"SSF---", "", "", "exit status 1"},
	{"C52", `{version: 0.2, phases: {build: {commands: [echo b, 'false', echo no]}, post_build: {commands: ['echo "ok=$CODEBUILD_BUILD_SUCCEEDING"']}}, artifacts: {files: [README.md]}}`,
		"SSSFSS", "b/ok=0", "README.md", "exit status 1"},
	{"C54", `{version: 0.2, phases: {install: {on-failure: CONTINUE, commands: ['false', echo skipped]}, build: {commands: ['echo "ok=$CODEBUILD_BUILD_SUCCEEDING"']}}}`,
		"SFSSSS", "ok=0", "", "exit status 1"},
	{"C55", `{version: 0.2, phases: {build: {commands: [echo 1, 'false', echo 3], finally: [echo f1, echo f2]}, post_build: {commands: [echo p]}}}`,
		"SSSFSS", "1/f1/f2/p", "", "exit status 1"},
	{"C57", `{version: 0.2, phases: {build: {commands: ['cd dist && false'], finally: ['basename "$(pwd)"']}}}`, "SSSFSS", "dist", "", "exit status 1"},
	{"C58", `{version: 0.2, phases: {build: {commands: ['false']}, post_build: {commands: ['test "$CODEBUILD_BUILD_SUCCEEDING" = "1" || exit 1', echo deploy]}}}`,
		"SSSFFS", "", "", "exit status 1"},
	{"C61", `{version: 0.2, phases: {build: {on-failure: 'RETRY-3-timed out', commands: [exit 9]}, post_build: {commands: [echo p]}}}`,
		"SSSFSS", "p", "", "exit status 9"},
	{"C63", `{version: 0.2, phases: {build: {on-failure: CONTINUE, commands: ['false']}, post_build: {on-failure: ABORT, commands: [echo p, 'false']}}, artifacts: {files: [README.md]}}`,
		"SSSFF-", "p", "", "exit status 1"},

	{"C64", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['target/*.jar']}}`, "SSSSSF", "b", "", "no matching artifact paths found"},
	{"C66", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['**/*'], base-directory: 'dist*', discard-paths: yes}}`,
		"SSSSSS", "b", "app.js app.js.map index.html site.css", ""},
	{"C67", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['*/site.css'], base-directory: dist}}`, "SSSSSS", "b", "css/site.css", ""},
	{"C69", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['**/*'], base-directory: out}}`,
		"SSSSSF", "b", "", "no matching base directory path found for out"},
	{"C70", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: [dist]}}`, "SSSSSF", "b", "", "no matching artifact paths found"},
	{"E01", `{version: 0.2, env: {variables: {V: a, W: a}}, phases: {build: {commands: ['echo "$V $W"']}}}`, "SSSSSS", "project a", "", ""},
}

// TestCases runs every case by the real agent in real shells.
func TestCases(t *testing.T) {
	b := newBench(t, nil)
	for _, name := range []string{".hidden", "README.md", "lock.json", "dist/app.js", "dist/app.js.map", "dist/css/site.css",
		"dist-docs/index.html", "test/junit.xml", "tools/ok.sh"} {
		b.write(name, name+"\n")
	}
	b.config.Slots = 4
	b.start()
	ids := make([]string, len(cases))
	for i, c := range cases {
		ids[i] = b.submit(func(b *store.Build) {
			b.Settings.Buildspec = c.spec + "\n"
			b.Settings.Variables = []store.Variable{{Name: "V", Value: "project"}}
		}).ID
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			build := b.done(ids[i])
			if got := letters(&build); got != c.phases {
				t.Errorf("phases %s, want %s", got, c.phases)
			}
			want := store.Succeeded
			if strings.Contains(c.phases, "F") {
				want = store.Failed
			}
			if build.Status != want {
				t.Errorf("%s, want %s", build.Status, want)
			}
			got := strings.ReplaceAll(strings.TrimSuffix(commandOutput(b, &build), "\n"), "\n", "/")
			if got != c.output && c.output != "*" {
				t.Errorf("printed %q, want %q\n%s", got, c.output, b.log(build.ID))
			}
			var names []string
			if build.Artifacts != nil {
				for _, a := range build.Artifacts.First {
					names = append(names, a.Name)
				}
			}
			if slices.Sort(names); strings.Join(names, " ") != c.artifacts {
				t.Errorf("artifacts %q, want %q", names, c.artifacts)
			}
			if h := build.Headline(); c.message != "" && (h == nil || !strings.Contains(h.Message, c.message)) {
				t.Errorf("%+v, want %q", h, c.message)
			}
		})
	}
}

// commandOutput is what the commands of a build printed. The agent's own lines repeat the text of commands, whose further
// lines have no mark.
func commandOutput(b *bench, build *store.Build) string {
	text := b.log(build.ID)
	for _, p := range build.Phases {
		for _, c := range p.Commands {
			if strings.Contains(c.Text, "\n") {
				text = strings.ReplaceAll(text, c.Text, "…")
			}
		}
	}
	if i := strings.Index(text, "Phase complete: DOWNLOAD_SOURCE"); i >= 0 {
		text = text[i:]
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "[Container] ") && !strings.HasPrefix(line, "Phase complete: DOWNLOAD_SOURCE") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
