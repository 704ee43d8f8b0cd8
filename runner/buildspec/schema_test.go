package buildspec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// TestSchemaFile holds docs/buildspec.schema.json to the table of keys.
func TestSchemaFile(t *testing.T) {
	golden(t, "../../docs/buildspec.schema.json", Schema())
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("buildspec.schema.json", text); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("buildspec.schema.json") // which checks it against the schema of draft 7
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML text as an editor's language server sees it: numbers and booleans resolved, anchors and merges too.
func asJSON(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for name := range v {
				v[name] = plain(v[name])
			}
		case map[any]any:
			m := map[string]any{}
			for name, value := range v {
				m[fmt.Sprint(name)] = plain(value)
			}
			return m
		case []any:
			for i := range v {
				v[i] = plain(v[i])
			}
		case time.Time:
			return v.String()
		}
		return v
	}
	encoded, err := json.Marshal(plain(v))
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What becomes of a file of the reference's conformance cases.
const (
	good  = iota
	bad   // by the parser and by the schema
	wrong // by the parser alone: the structure does not tell
)

// conformance are the cases of the reference that are about parsing, with the numbers that they have there.
var conformance = []struct {
	name, text string
	verdict    int
}{
	{"C01", `{version: 0.2, phases: {build: {commands: [echo hi]}}}`, good},
	{"C02", `{phases: {build: {commands: [echo hi]}}}`, bad},
	{"C03", `{version: "0.2", phases: {build: {commands: [echo hi]}}}`, good},
	{"C04", `{version: 0.3, phases: {build: {commands: [echo hi]}}}`, bad},
	{"C05", `{version: 0.2, artifacts: {files: ['**/*']}}`, bad},
	{"C06", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo \"status: green\"\n", bad},
	{"C07", "version: 0.2\nphases:\n  build:\n    commands:\n      - 'echo \"status: green\"'\n", good},
	{"C08", "version: 0.2\nphases:\n  build:\n    commands:\n      - test -e missing || { echo absent; true; }\n", good},
	{"C09", "version: 0.2\nphases:\n  build:\n    commands:\n      - { echo absent; true; }\n", bad},
	{"C12", "version: 0.2\nphases:\n  pre_build:\n    commands:\n  build: {commands: [echo hi]}\n", good},
	{"C13", `{version: 0.2, phases: {build: {commands: echo hi}}}`, good},
	{"C14", `{version: 0.2, phases: {test: {commands: [echo never]}, build: {commands: [echo built]}}}`, good},
	{"C15", "version: 0.2\nphases:\nbuild:\n  commands: [echo built]\n", bad},
	{"C16", `{version: 0.2, phases: {post_build: {commands: [echo 4]}, build: {commands: [echo 3]}, install: {commands: [echo 1]}}}`, good},
	{"C18", "version: 0.2\nx-common: &base\n  commands: [echo shared]\nphases:\n  pre_build: *base\n  build:\n    <<: *base\n    finally: [echo fin]\n", good},
	{"C19", `{"version": "0.2", "phases": {"build": {"commands": ["echo json"]}}}`, good},
	{"C20", `{version: 0.2, env: {variables: {A: 1.20, B: yes, C: 0755, D: "", E: 1e3}}, phases: {build: {commands: ['echo "$A,$B,$C,$D,$E"']}}}`, good},
	{"C21", `{version: 0.2, phases: {install: {runtime-versions: {}}, build: {commands: [echo hi]}}}`, bad},
	{"C23", `{version: 0.2, env: {shell: zsh}, phases: {build: {commands: [echo hi]}}}`, bad},
	{"C24", `{version: 0.2, phases: {build: {on-failure: IGNORE, commands: [echo hi]}}}`, bad},
	{"C25", `{version: 0.2, phases: {build: {on-failure: RETRY-101, commands: [echo hi]}}}`, bad},
	{"C26", `{version: 0.2, phases: {build: {commands: [echo hi]}}, artifacts: {secondary-artifacts: {docs: {files: ['**/*'], base-directory: dist-docs}}}}`, bad},
	{"C27", `{version: 0.2, phases: {build: {commands: [echo hi]}}, cache: {key: a, fallback-keys: [b, c, d, e, f, g], paths: ['node_modules/**/*']}}`, bad},
	{"C29", `{version: 0.2, env: {variables: {CODEBUILD_BUILD_SUCCEEDING: "7"}}, phases: {build: {commands: ['echo "$CODEBUILD_BUILD_SUCCEEDING"']}}}`, good},
	{"C30", `{version: 0.2, phases: {build: {steps: [{name: Greet, run: echo hi}]}}}`, bad},
	{"C64", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['target/*.jar']}}`, good},
	{"C66", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['**/*'], base-directory: 'dist*', discard-paths: yes}}`, good},
	{"C67", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['*/site.css'], base-directory: dist}}`, good},
	{"C69", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: ['**/*'], base-directory: out}}`, good},
	{"C70", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: [dist]}}`, good},
	{"C72", `{version: 0.2, phases: {build: {commands: [echo b]}}, reports: {unit: {files: ['none.xml']}}}`, good},
	{"C73", `{version: 0.2, phases: {build: {commands: ['false']}}, reports: {unit: {files: ['test/*.xml']}}}`, good},
	{"C76", `{version: 0.2, phases: {build: {commands: [echo b]}}, artifacts: {files: [README.md], secondary-artifacts: {nope: {files: [lock.json]}}}}`, good},
	{"B01", "version: 0.2\nbatch:\n  build-list:\n    - identifier: good\n      env: {variables: {RC: \"0\"}}\n    - identifier: flaky\n      env: {variables: {RC: \"1\"}}\n      ignore-failure: true\nphases: {build: {commands: [exit $RC]}}\n", good},
	{"B03", `{version: 0.2, batch: {fast-fail: true, build-list: [{identifier: good}, {identifier: slow, env: {variables: {T: 600}}}]}, phases: {build: {commands: [sleep $T]}}}`, good},
	{"B04", `{version: 0.2, batch: {build-graph: [{identifier: compile}, {identifier: unit, depend-on: [compile]}, {identifier: package, depend-on: [compile, unit]}]}, phases: {build: {commands: [a]}}}`, good},
	{"B06", `{version: 0.2, batch: {build-matrix: {static: {ignore-failure: false, env: {privileged-mode: false}}, dynamic: {buildspec: [one.yml, two.yml], env: {image: [img-a, img-b], variables: {LEVEL: [low, mid, high]}}}}}}`, good},
	{"B07", `{version: 0.2, batch: {build-fanout: {parallelism: 3}}, phases: {build: {commands: [a]}}}`, good},
	{"B07 zero", `{version: 0.2, batch: {build-fanout: {parallelism: 0}}, phases: {build: {commands: [a]}}}`, bad},
	{"B07 absent", `{version: 0.2, batch: {build-fanout: {}}, phases: {build: {commands: [a]}}}`, bad},
	{"B09", `{version: 0.2, batch: {build-list: [{identifier: a}], build-fanout: {parallelism: 3}}, phases: {build: {commands: [a]}}}`, bad},
	{"B12", `{version: 0.2, batch: {build-list: [{identifier: a}, {identifier: a}]}, phases: {build: {commands: [a]}}}`, wrong},

	{"no identifier", `{version: 0.2, batch: {build-list: [{buildspec: a.yml}]}}`, bad},
	{"identifier", `{version: 0.2, batch: {build-list: [{identifier: a b, buildspec: a.yml}]}}`, bad},
	{"one task", `{version: 0.2, batch: {build-list: {identifier: a, buildspec: a.yml}}}`, good},
	{"no task", `{version: 0.2, batch: {build-graph: []}}`, bad},
	{"fleet and compute type", `{version: 0.2, batch: {build-list: [{identifier: a, buildspec: a.yml, env: {fleet: a, compute-type: b}}]}}`, bad},
	{"empty list of a matrix", `{version: 0.2, batch: {build-matrix: {dynamic: {buildspec: [], env: {image: a}}}}}`, bad},
	{"empty values of a matrix", `{version: 0.2, batch: {build-matrix: {dynamic: {buildspec: a, env: {variables: {A: []}}}}}}`, bad},
	{"debug-session of a matrix", `{version: 0.2, batch: {build-matrix: {static: {debug-session: no}, dynamic: {buildspec: a}}}}`, bad},
	{"scalars of a matrix", `{version: 0.2, batch: {build-matrix: {dynamic: {buildspec: a.yml, env: {variables: {A: 1}}}}}}`, good},
	{"cycle", `{version: 0.2, batch: {build-graph: [{identifier: a, depend-on: a, buildspec: a.yml}]}}`, wrong},
	{"list of a list", `{version: 0.2, batch: {build-list: [{identifier: a, buildspec: a.yml, depend-on: [b]}]}}`, good},
	{"parallelism in quotes", `{version: 0.2, batch: {build-fanout: {parallelism: "3"}}, phases: {build: {commands: [a]}}}`, good},
	{"name in two maps", `{version: 0.2, env: {variables: {A: a}, parameter-store: {A: a}}, phases: {build: {commands: [a]}}}`, wrong},
	{"name of a variable", `{version: 0.2, env: {variables: {A-B: a}}, phases: {build: {commands: [a]}}}`, bad},
	{"value of a variable", `{version: 0.2, env: {variables: {A: [a]}}, phases: {build: {commands: [a]}}}`, bad},
	{"exported", `{version: 0.2, env: {exported-variables: [a b]}, phases: {build: {commands: [a]}}}`, bad},
	{"flags", `{version: 0.2, env: {git-credential-helper: Yes}, proxy: {logs: "OFF", upload-artifacts: }, phases: {build: {commands: [a]}}}`, good},
	{"flag", `{version: 0.2, env: {git-credential-helper: maybe}, phases: {build: {commands: [a]}}}`, bad},
	{"format in any case", `{version: 0.2, reports: {a: {files: [a], file-format: JUnitXml}}, phases: {build: {commands: [a]}}}`, good},
	{"format", `{version: 0.2, reports: {a: {files: [a], file-format: junit}}, phases: {build: {commands: [a]}}}`, bad},
	{"report without files", `{version: 0.2, reports: {a: {}}, phases: {build: {commands: [a]}}}`, bad},
	{"null blocks", `{version: 0.2, env: , proxy: , reports: , artifacts: , cache: , phases: {build: {commands: [a]}}}`, good},
	{"null artifact", `{version: 0.2, artifacts: {files: a, secondary-artifacts: {b: }}, phases: {build: {commands: [a]}}}`, bad},
	{"empty files", `{version: 0.2, artifacts: {files: []}, phases: {build: {commands: [a]}}}`, bad},
	{"null files", `{version: 0.2, artifacts: {files: [~]}, phases: {build: {commands: [a]}}}`, bad},
	{"cache action", `{version: 0.2, cache: {paths: a/*, action: both}, phases: {build: {commands: [a]}}}`, bad},
	{"cache without paths", `{version: 0.2, cache: , phases: {build: {commands: [a]}}}`, good},
	{"secret", `{version: 0.2, env: {secrets-manager: {A: "db::AWSPREVIOUS", B: "db:::1", C: "db", D: "db:a", E: "arn:aws:secretsmanager:r:1:secret:n:key"}}, phases: {build: {commands: [a]}}}`, good},
	{"secret with stage and id", `{version: 0.2, env: {secrets-manager: {A: "db:k:s:i"}}, phases: {build: {commands: [a]}}}`, bad},
	{"secret with too much", `{version: 0.2, env: {secrets-manager: {A: "db:k:s::x"}}, phases: {build: {commands: [a]}}}`, bad},
	{"secret that is none", `{version: 0.2, env: {secrets-manager: {A: }}, phases: {build: {commands: [a]}}}`, bad},
	{"parameter that is none", `{version: 0.2, env: {parameter-store: {A: }}, phases: {build: {commands: [a]}}}`, bad},
	{"runtime", `{version: 0.2, phases: {install: {runtime-versions: {node: 18.x, go: 1.20, ruby: "${V}", docker: 18}}}}`, good},
	{"runtime that is none", `{version: 0.2, phases: {install: {runtime-versions: {node: ">= 18"}}}}`, bad},
	{"user", `{version: 0.2, run-as: node, phases: {build: {run-as: 1000, commands: [a]}}}`, good},
	{"no user", `{version: 0.2, run-as: a b, phases: {build: {commands: [a]}}}`, bad},
	{"retries", `{version: 0.2, phases: {install: {on-failure: Retry-0}, pre_build: {on-failure: RETRY-100-a.*, commands: [a]}, build: {on-failure: "retry-timed out", commands: [a]}, post_build: {on-failure: RETRY, commands: []}}}`, good},
	{"0.1", `{version: 0.1, environment_variables: {plaintext: {A: b}}, phases: {build: {commands: [a]}}, artifacts: {type: zip, files: [a]}}`, good},
	{"nested list", `{version: 0.2, phases: {build: {commands: [[a]]}}}`, bad},
	{"list as a file", `[]`, bad},
	{"thirteen artifacts", "version: 0.2\nartifacts:\n  files: a\n  secondary-artifacts:\n" + many(13, "    a%d: {files: a}\n") + phases, bad},
	{"fifty-one reports", "version: 0.2\nreports:\n" + many(51, "  g%d: {files: a}\n") + phases, bad},
}

// TestConformance has the parser and the schema judge the conformance cases.
func TestConformance(t *testing.T) {
	schema := compileSchema(t)
	for _, tt := range conformance {
		t.Run(tt.name, func(t *testing.T) {
			if spec, problems := ParseBatch([]byte(tt.text)); (spec != nil) != (tt.verdict == good) {
				t.Errorf("the parser: %s", texts(problems))
			} else if spec != nil {
				checkPrint(t, spec)
			}
			if err := schema.Validate(asJSON(t, []byte(tt.text))); (err == nil) == (tt.verdict == bad) {
				t.Errorf("the schema: %v", err)
			}
		})
	}
}

func TestSchemaAcceptsSamples(t *testing.T) {
	schema := compileSchema(t)
	for name, text := range samples(t) {
		if err := schema.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		spec, _ := mustParse(t, string(text))
		if err := schema.Validate(asJSON(t, Print(spec))); err != nil {
			t.Errorf("%s, printed: %v", name, err)
		}
	}
}

// TestSchemaKnowsEveryKey looks for each row of the table in the schema, with its description.
func TestSchemaKnowsEveryKey(t *testing.T) {
	text := string(Schema())
	for _, k := range keys {
		if k.about == "" || !strings.Contains(text, fmt.Sprintf("%q: {", k.name())) {
			t.Errorf("%s is not described", k.path)
		}
		if _, ok := tables[parent(k.path)].rows[k.name()]; !ok {
			t.Errorf("the parser does not know %s", k.path)
		}
	}
}
