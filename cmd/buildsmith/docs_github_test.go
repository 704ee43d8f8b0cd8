package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var (
	testFunc   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	namedTest  = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	namedTxtar = regexp.MustCompile("`([a-z/-]+)\\.txtar`")
)

// testsOfTheTree are the names of all tests, fuzz tests and scripts.
func testsOfTheTree(t *testing.T) (tests, scripts map[string]bool) {
	t.Helper()
	tests, scripts = map[string]bool{}, map[string]bool{}
	if err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for dir, prefix := range map[string]string{"script": "", "forges": "forges/"} {
		paths, err := filepath.Glob("../../testdata/" + dir + "/*.txtar")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			scripts[prefix+strings.TrimSuffix(filepath.Base(path), ".txtar")] = true
		}
	}
	return tests, scripts
}

// proven are the documents whose tables name tests: each with its table of promises, and how many there are at least.
var proven = []struct {
	path, section string
	promises      int
}{
	{"docs/github.md", "## What you can rely on", 25},
	{"docs/bitbucket.md", "## What you can rely on", 15},
	{"docs/security.md", "## Attacks and their tests", 25},
}

// TestDocsNameTests holds the documents to the tests that there are: what they name exists, each row of a table that has a column for tests
// names one, and every test of a promise or of an attack stands somewhere.
func TestDocsNameTests(t *testing.T) {
	tests, scripts := testsOfTheTree(t)
	named := map[string]bool{}
	for _, doc := range proven {
		text := document(t, doc.path)
		for _, name := range namedTest.FindAllString(text, -1) {
			if named[name] = true; !tests[name] {
				t.Errorf("%s names %s, which there is not", doc.path, name)
			}
		}
		for _, m := range namedTxtar.FindAllStringSubmatch(text, -1) {
			if !scripts[m[1]] {
				t.Errorf("%s names the script %s.txtar, which there is not", doc.path, m[1])
			}
		}
		section, wants, promises := "", false, 0
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			last := strings.TrimSpace(cells[len(cells)-1])
			switch {
			case !strings.HasPrefix(line, "|"):
				if wants = false; strings.HasPrefix(line, "#") {
					section = line
				}
			case last == "Test":
				wants = true
			case wants && !strings.HasPrefix(line, "|---"):
				if !namedTest.MatchString(last) && !namedTxtar.MatchString(last) {
					t.Errorf("%s: no test proves %s", doc.path, line)
				}
				if section == doc.section {
					promises++
				}
			}
		}
		if promises < doc.promises {
			t.Errorf("%s: %d rows below %q", doc.path, promises, doc.section)
		}
	}
	for name := range tests {
		if (strings.HasPrefix(name, "TestRely") || strings.HasPrefix(name, "TestAttack")) && !named[name] {
			t.Errorf("no document names %s", name)
		}
	}
	if len(named) < 150 {
		t.Errorf("%d tests are named", len(named))
	}
}

// keysOfMap are the keys of a composite literal of strings that a Go file gives a variable.
func keysOfMap(t *testing.T, path, variable string) (keys []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../"+path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := func(names []ast.Expr, values []ast.Expr) {
		for i, n := range names {
			if id, ok := n.(*ast.Ident); !ok || id.Name != variable || i >= len(values) {
				continue
			}
			ast.Inspect(values[i], func(n ast.Node) bool {
				if kv, ok := n.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.BasicLit); ok {
						text, err := strconv.Unquote(key.Value)
						if err != nil {
							t.Error(err)
						}
						keys = append(keys, text)
					}
				}
				return true
			})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			named(n.Lhs, n.Rhs)
		case *ast.ValueSpec:
			for _, id := range n.Names {
				named([]ast.Expr{id}, n.Values)
			}
		}
		return true
	})
	return keys
}

// TestDocsOfGitHub holds docs/github.md to what there is: every event that means something, every command, every type of filter, and
// every setting of what is decided and reported.
func TestDocsOfGitHub(t *testing.T) {
	want := map[string]string{} // what stands there, by what it is
	for _, event := range keysOfMap(t, "webhook/github/github.go", "decode") {
		want["| `"+event+"`"] = "event"
		if strings.HasPrefix(event, "installation_") || strings.HasPrefix(event, "check_suite") { // stand behind another
			delete(want, "| `"+event+"`")
			want["`"+event] = "event"
		}
	}
	for _, verb := range keysOfMap(t, "webhook/command.go", "verbs") {
		want["`/"+verb] = "command"
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../webhook/filter.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Filter") && len(spec.Values) == 1 {
			if value, ok := spec.Values[0].(*ast.BasicLit); ok {
				want["`"+strings.Trim(value.Value, `"`)+"`"] = "filter"
			}
		}
		return true
	})
	walk := func(t reflect.Type, prefix string) {
		for _, key := range keysOfSettings(t, prefix) {
			want["`"+key+"`"] = "setting"
		}
	}
	walk(reflect.TypeFor[GitHub](), "github.")
	walk(reflect.TypeFor[DecisionSettings](), "")
	walk(reflect.TypeFor[CommandSettings](), "commands.")
	walk(reflect.TypeFor[PrioritySettings](), "priorities.")
	walk(reflect.TypeFor[EnvironmentSettings](), "projects[].environment.")
	for _, field := range []string{"Checks", "Statuses", "StatusContext", "SummaryComment"} {
		f, ok := reflect.TypeFor[Config]().FieldByName(field)
		if !ok {
			t.Fatalf("the configuration has no %s", field)
		}
		want["`"+f.Tag.Get("yaml")+"`"] = "setting"
	}
	holds(t, "docs/github.md", want, map[string]int{"event": 11, "command": 9, "filter": 12, "setting": 24})
}

// holds fails for each text that a document lacks. want says what each is, least how many of each there are at least.
func holds(t *testing.T, path string, want map[string]string, least map[string]int) {
	t.Helper()
	text, counts := document(t, path), map[string]int{}
	for _, part := range slices.Sorted(maps.Keys(want)) {
		if counts[want[part]]++; !strings.Contains(text, part) {
			t.Errorf("%s lacks the %s %s", path, want[part], part)
		}
	}
	for what, n := range least {
		if counts[what] < n {
			t.Errorf("%d of the kind %s were looked for, there are %d at least", counts[what], what, n)
		}
	}
}

// keysOfSettings are the keys of a part of the configuration, with what stands before each.
func keysOfSettings(t reflect.Type, prefix string) (keys []string) {
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		typ := t.Field(i).Type
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		secret := reflect.TypeFor[Secret]()
		switch {
		case typ.Kind() == reflect.Struct && typ != secret:
			keys = append(keys, keysOfSettings(typ, prefix+key+".")...)
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct && typ.Elem() != secret:
			keys = append(keys, keysOfSettings(typ.Elem(), prefix+key+"[].")...)
		default:
			keys = append(keys, prefix+key)
		}
	}
	return keys
}
