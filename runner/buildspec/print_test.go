package buildspec

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// withoutLines compares Specs by what they mean. Nil and empty lists are the same.
var withoutLines = cmp.Options{
	cmpopts.IgnoreFields(Variable{}, "Line"), cmpopts.IgnoreFields(Command{}, "Line"), cmpopts.IgnoreFields(Artifacts{}, "Line"), cmpopts.IgnoreFields(ReportGroup{}, "Line"),
	cmpopts.IgnoreFields(Cache{}, "Line"), cmpopts.IgnoreFields(Batch{}, "Line"), cmpopts.IgnoreFields(Task{}, "Line"), cmpopts.IgnoreFields(Choice{}, "Line"),
	cmpopts.EquateEmpty(),
}

// TestPrint has the canonical text of a file that uses almost everything.
func TestPrint(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "everything.yml"))
	if err != nil {
		t.Fatal(err)
	}
	spec, _ := mustParse(t, string(text))
	golden(t, filepath.Join("testdata", "everything.printed.yml"), Print(spec))
}

// samples are files that are valid, by their names.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"testdata/*.yml", "../../testdata/buildspecs/*.yml", "../../testdata/sample/buildspec.yml"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = text
		}
	}
	if len(all) < 20 {
		t.Fatalf("%d samples", len(all))
	}
	return all
}

func TestPrintSamples(t *testing.T) {
	for name, text := range samples(t) {
		t.Run(name, func(t *testing.T) {
			spec, _ := mustParse(t, string(text))
			checkPrint(t, spec)
		})
	}
}

// checkPrint prints a Spec and reads it again.
func checkPrint(t testing.TB, spec *Spec) {
	t.Helper()
	printed := Print(spec)
	again, problems := Parse(printed)
	if again == nil {
		t.Fatalf("what is printed is invalid: %s\n%s", texts(problems), printed)
	}
	if diff := cmp.Diff(spec, again, withoutLines); diff != "" {
		t.Fatalf("(-want +got)\n%s\n%s", diff, printed)
	}
	if twice := Print(again); string(twice) != string(printed) {
		t.Fatalf("printed again it is another text:\n%s", cmp.Diff(string(printed), string(twice)))
	}
}

// TestPrintRandom prints Specs of all shapes.
func TestPrintRandom(t *testing.T) {
	n := 600
	if testing.Short() {
		n = 100
	}
	for seed := range uint64(n) {
		g := &generator{rand.New(rand.NewPCG(seed, 1))}
		spec := g.spec()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { checkPrint(t, spec) })
		if t.Failed() {
			return
		}
	}
}

// A generator makes valid Specs.
type generator struct{ *rand.Rand }

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }
func (g *generator) flag() bool              { return g.IntN(2) == 0 }

// text is one of those that YAML makes it hard to write. It is never empty.
func (g *generator) text() string {
	pieces := []string{"a", "yes", "~", "null", "0x1F", "1.20", "1e3", "0755", "echo", " ", "  ", "\n", "\n\n", "\t", ": ", " #", "#", "'", `"`, `\`, "- ", "? ", "|", ">", "&a", "*a", "!", "%", "@", "`",
		"{", "}", "[", "]", ",", "é", "日本", "\u2028", "\u0085", "\u00a0", "\ufeff", "😀", "\x1b", "\x7f", "=", "<<", "---", "...", "$X", "2001-01-01", "\r", "key: value", "\n  indented", "trailing \n", "0b1", ".inf", "1_000", "12:30"}
	var b strings.Builder
	for b.Len() == 0 || g.IntN(3) > 0 {
		b.WriteString(pieces[g.IntN(len(pieces))])
	}
	return b.String()
}

// maybe is a text or nothing.
func (g *generator) maybe() string {
	if g.flag() {
		return ""
	}
	return g.text()
}

func (g *generator) texts(most int) (texts []string) {
	for range g.IntN(most + 1) {
		texts = append(texts, g.text())
	}
	return texts
}

func (g *generator) patterns(least int) []string {
	patterns := []string{"**/*", "dist/**/*", "*.jar", "a b", "!x", "&x", "-", "yes", "{a,b}", "[ab]*", "é"}
	n := least + g.IntN(3)
	return patterns[:n]
}

func (g *generator) variables(prefix string, text func() string) (variables []Variable) {
	for i := range g.IntN(4) {
		variables = append(variables, Variable{Name: fmt.Sprintf("%s%d", prefix, i), Value: text()})
	}
	return variables
}

func (g *generator) commands() (commands []Command) {
	for range g.IntN(4) {
		text := lineEnd.ReplaceAllString(g.text(), "\n")
		if strings.TrimSpace(text) != "" {
			commands = append(commands, Command{Text: text})
		}
	}
	return commands
}

func (g *generator) spec() *Spec {
	s := &Spec{Version: g.one("0.2", "0.2", "0.1"), RunAs: g.one("", "root", "node", "1000")}
	s.Env = Env{
		Shell: g.one("", "sh", "/bin/sh", "bash", "/bin/bash"), Variables: g.variables("V", g.maybe), GitCredentialHelper: g.flag(),
		ParameterStore: g.variables("P", func() string { return "/" + g.text() }), SecretsManager: g.variables("S", func() string { return g.one("db", "db:key", "db::AWSPREVIOUS", "db:::1") }),
	}
	if g.flag() {
		s.Env.Exported = []string{"A", "y", "_"}
	}
	s.ProxyArtifacts, s.ProxyLogs = g.flag(), g.flag()
	s.Proxy = s.ProxyArtifacts || s.ProxyLogs
	for _, n := range phaseNames {
		p := Phase{Name: n.phase, RunAs: g.one("", "root", "a.b"), Commands: g.commands(), Finally: g.commands()}
		p.OnFailure = []OnFailure{{}, {Action: Abort}, {Action: Continue}, {Retry, g.IntN(101), ""}, {Retry, 3, "timed-out: .*"}, {Retry, 7, "5"}, {Retry, 0, "1-"}}[g.IntN(7)]
		if n.phase == Install && g.flag() {
			p.Runtimes = []Variable{{Name: "nodejs", Value: g.one("20", "1.20", "18.x", "latest", "$N", "${N}")}, {Name: g.text(), Value: "1"}}
		}
		s.Phases = append(s.Phases, p)
	}
	for i := range g.IntN(3) {
		s.Reports = append(s.Reports, ReportGroup{Name: [][]string{{"unit", "$GROUP", "<<"}, {"arn:aws:x", "yes", "~"}}[i][g.IntN(3)], Files: g.patterns(1), Format: g.one(reportFormats...), BaseDirectory: g.maybe(), DiscardPaths: g.flag()})
	}
	if g.flag() {
		a := g.artifacts("")
		for i := range g.IntN(3) {
			a.Secondary = append(a.Secondary, g.artifacts(fmt.Sprint(i)))
		}
		s.Artifacts = &a
	}
	if g.flag() {
		s.Cache = &Cache{Paths: g.patterns(0), Key: g.maybe(), FallbackKeys: g.texts(5), Action: g.one("", "save", "restore")}
	}
	if g.flag() {
		s.Batch = g.batch()
		if g.flag() && s.Batch.ofThisFile() == "" {
			s.NoPhases = true
			for i, n := range phaseNames {
				s.Phases[i] = Phase{Name: n.phase}
			}
		}
	}
	return s
}

func (g *generator) artifacts(id string) Artifacts {
	return Artifacts{ID: id, Files: g.patterns(1), Name: g.maybe(), DiscardPaths: g.flag(), BaseDirectory: g.maybe(), ExcludePaths: g.patterns(0), EnableSymlinks: g.flag(), S3Prefix: g.maybe()}
}

func (g *generator) batch() *Batch {
	b := &Batch{Type: g.one(batchTypes...), FastFail: g.flag()}
	switch b.Type {
	case BuildFanout:
		b.Fanout = &Fanout{Parallelism: 1 + g.IntN(MaxTasks), IgnoreFailure: g.flag()}
	case BuildMatrix:
		b.Matrix = &Matrix{IgnoreFailure: g.flag(), Type: g.maybe(), PrivilegedMode: g.flag(), Images: []string{"i" + g.text()}}
		for i := range g.IntN(3) {
			b.Matrix.Variables = append(b.Matrix.Variables, Choice{Name: fmt.Sprintf("M%d", i), Values: append(g.texts(2), "")})
		}
		if g.flag() {
			b.Matrix.Buildspecs, b.Matrix.ComputeTypes = []string{"b" + g.text()}, []string{"yes", "1.20"}
		}
	default:
		for i := range 1 + g.IntN(4) {
			t := Task{Identifier: g.one("t", "1.", "yes", "-", ".")[:1] + fmt.Sprint(i), Buildspec: g.maybe(), IgnoreFailure: g.flag(), DebugSession: g.flag()}
			t.Env = TaskEnv{Image: g.maybe(), Type: g.maybe(), PrivilegedMode: g.flag(), Variables: g.variables("T", g.maybe)}
			if g.flag() {
				t.Env.ComputeType = g.maybe()
			} else {
				t.Env.Fleet = g.maybe()
			}
			if b.Type == BuildGraph && i > 0 && g.flag() {
				t.DependOn = []string{b.List[i-1].Identifier}
			}
			b.List = append(b.List, t)
		}
	}
	return b
}
