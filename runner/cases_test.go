package runner_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildsmith/runner/secret"
	"buildsmith/store"
)

// A testCase is a buildspec with what becomes of it.
type testCase struct {
	name      string
	spec      string
	phases    string // DOWNLOAD_SOURCE to UPLOAD_ARTIFACTS: S succeeded, F failed, - not run
	output    string // what the commands printed, lines separated by a slash; * for whatever it is
	artifacts string // names, separated by blanks
	message   string // of the first phase that failed; a part of it
}

// cases have the numbers of the reference that the format was studied by.
var cases = []testCase{
	// 11.1: parsing and validation
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

	// 11.2: state of the shell
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

	// 11.3: transitions; C60 is TestRetryByCount
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

	// 11.4: artifacts, reports, cache
	{"C64", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['target/*.jar']}}`, "SSSSSF", "b", "", "no matching artifact paths found"},
	{"C66", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['**/*'], base-directory: 'dist*', discard-paths: yes}}`,
		"SSSSSS", "b", "app.js app.js.map index.html site.css", ""},
	{"C67", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['*/site.css'], base-directory: dist}}`, "SSSSSS", "b", "css/site.css", ""},
	{"C69", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['**/*'], base-directory: out}}`,
		"SSSSSF", "b", "", "no matching base directory path found for out"},
	{"C70", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: [dist]}}`, "SSSSSF", "b", "", "no matching artifact paths found"},
	{"C72", `{version: 0.2, phases: {build: {commands: [echo b]}}, reports: {unit: {files: ['none.xml']}}}`, "SSSSSS", "b", "", ""},
	{"C73", `{version: 0.2, phases: {build: {commands: ['false']}}, reports: {unit: {files: ['test/*.xml']}}}`, "SSSFSS", "", "", "exit status 1"},
	{"C76", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: [README.md], secondary-artifacts: {nope: {files: [lock.json]}}}}`,
		"SSSSSF", "b", "README.md", `no secondary artifact "nope"`},

	// 11.6: the environment; E04 is a test of runner/secret, E07 and E08 are TestEnvironment
	{"E01", `{version: 0.2, env: {variables: {U: a, V: a, W: a}}, phases: {build: {commands: ['echo "$U $V $W"']}}}`, "SSSSSS", "start project a", "", ""},
	{"E03", `{version: 0.2, env: {secrets-manager: {P: "db:password"}}, phases: {build: {commands: ['echo "$P"', 'echo "$P" | base64']}}}`,
		"SSSSSS", "***/***=", "", ""},
	{"E06", `{version: 0.2, env: {parameter-store: {P: /no/such}}, phases: {build: {commands: [echo never]}}}`, "F-----", "", "", "env.parameter-store.P: Parameter does not exist"},
	{"E10", `{version: 0.2, run-as: nobody, phases: {install: {run-as: root, commands: [id -un], finally: [id -un]}, build: {commands: ['echo "$(id -un) $HOME"'], finally: [id -un]}}}`,
		"SSSSSS", "root/root/nobody /root/nobody", "", ""},
}

// reportsOf are the statuses of the reports of cases.
var reportsOf = map[string]string{"C72": store.ReportIncomplete, "C73": store.ReportFailed}

// caseSecrets are what the cases find in their stores.
func caseSecrets(t *testing.T) *secret.Secrets {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"db": `{"password": "s3cr3t!"}`, "ci/registry/user": "robot", "ci.registry": `{"password": "hunter2-of-ci"}`, "ci/signing": `{"key": "k3y-of-signing"}`,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := secret.New(t.Context(), secret.Config{Directories: []secret.Directory{{Path: dir, Rules: store.SecretRules{Projects: []string{"*"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// writeCaseTree writes the source of the cases.
func (b *bench) writeCaseTree() {
	b.t.Helper()
	for _, name := range []string{".hidden", "README.md", "lock.json", "dist/app.js", "dist/app.js.map", "dist/css/site.css",
		"dist-docs/index.html", "tools/ok.sh"} {
		b.write(name, name+"\n")
	}
	b.write("test/junit.xml", `<testsuite><testcase classname="shop" name="passes"/><testcase classname="shop" name="fails"><failure message="no"/></testcase></testsuite>`)
}

// TestCases runs every case by the real agent in real shells.
func TestCases(t *testing.T) {
	b := newBench(t, nil)
	b.config.Secrets = caseSecrets(t)
	b.writeCaseTree()
	b.config.Slots = 4
	b.start()
	ids := make([]string, len(cases))
	for i, c := range cases {
		ids[i] = b.submit(func(b *store.Build) {
			b.Settings.Buildspec = c.spec + "\n"
			b.Settings.Variables = []store.Variable{{Name: "U", Value: "project"}, {Name: "V", Value: "project"}}
			b.Settings.Overrides = []store.Variable{{Name: "U", Value: "start"}}
			b.Settings.SecondaryArtifacts = []string{"docs"}
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
			if want := reportsOf[c.name]; want != "" && (len(build.Reports) != 1 || build.Reports[0].Status != want) {
				t.Errorf("reports %+v, want one that is %s", build.Reports, want)
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

// TestRetryByCount is case C60: a build that never succeeds is repeated twice, and the last one goes the usual way.
func TestRetryByCount(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	build := b.run("version: 0.2\nphases: {build: {on-failure: RETRY-2, commands: ['false']}}\n")
	for n, want := range []string{"SSSF--", "SSSF--", "SSSFSS"} {
		if got := letters(&build); got != want || build.Status != store.Failed || build.Retries != n || build.Attempts != 0 {
			t.Errorf("build %d: %s %s, want %s; %d retries", n+1, build.Status, got, want, build.Retries)
		}
		if n < 2 {
			next := b.done(build.RerunBy)
			if next.RerunOf != build.ID || next.Number != build.Number+1 {
				t.Errorf("%+v does not repeat %s", next, build.ID)
			}
			build = next
		}
	}
	if build.RerunBy != "" {
		t.Error("a fourth build was made")
	}
}
