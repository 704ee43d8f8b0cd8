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
	namedTxtar = regexp.MustCompile("`([a-z-]+)\\.txtar`")
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
	paths, err := filepath.Glob("../../testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		scripts[strings.TrimSuffix(filepath.Base(path), ".txtar")] = true
	}
	return tests, scripts
}

// TestDocsNameTests holds docs/github.md and docs/security.md to the tests that there are: what they name exists, each line of their tables
// of promises names one, and every test of a promise or of an attack stands there.
func TestDocsNameTests(t *testing.T) {
	tests, scripts := testsOfTheTree(t)
	named := map[string]bool{}
	for path, section := range map[string]string{"docs/github.md": "\n## What you can rely on\n", "docs/security.md": "\n## Attacks and their tests\n"} {
		text := document(t, path)
		for _, name := range namedTest.FindAllString(text, -1) {
			if named[name] = true; !tests[name] {
				t.Errorf("%s names %s, which there is not", path, name)
			}
		}
		for _, m := range namedTxtar.FindAllStringSubmatch(text, -1) {
			if !scripts[m[1]] {
				t.Errorf("%s names the script %s.txtar, which there is not", path, m[1])
			}
		}
		_, table, _ := strings.Cut(text, section)
		table, _, _ = strings.Cut(table, "\n## ")
		rows := 0
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, "| ") && !strings.HasSuffix(line, "| Test |\n") {
				if rows++; !namedTest.MatchString(line[strings.LastIndex(strings.TrimSuffix(line, " |\n"), " | "):]) {
					t.Errorf("%s: no test proves %s", path, line)
				}
			}
		}
		if rows < 25 {
			t.Errorf("%s: %d rows below %q", path, rows, section)
		}
	}
	for name := range tests {
		if (strings.HasPrefix(name, "TestRely") || strings.HasPrefix(name, "TestAttack")) && !named[name] {
			t.Errorf("neither docs/github.md nor docs/security.md names %s", name)
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
	text := document(t, "docs/github.md")
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
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			typ := t.Field(i).Type
			for typ.Kind() == reflect.Pointer {
				typ = typ.Elem()
			}
			switch {
			case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[Secret]():
				walk(typ, prefix+key+".")
			default:
				want["`"+prefix+key+"`"] = "setting"
			}
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
	counts := map[string]int{}
	for _, part := range slices.Sorted(maps.Keys(want)) {
		if counts[want[part]]++; !strings.Contains(text, part) {
			t.Errorf("docs/github.md lacks the %s %s", want[part], part)
		}
	}
	for what, least := range map[string]int{"event": 11, "command": 9, "filter": 12, "setting": 24} {
		if counts[what] < least {
			t.Errorf("%d of the kind %s were looked for, there are %d at least", counts[what], what, least)
		}
	}
}
