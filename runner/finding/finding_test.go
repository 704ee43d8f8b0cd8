package finding

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const root = "/codebuild/output/src/src/github.com/octo/shop"

func read(t testing.TB, log string, files []string) []Finding {
	t.Helper()
	r := New(root)
	if err := r.Read(strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	return r.Findings(files)
}

func TestRead(t *testing.T) {
	for name, tt := range map[string]struct {
		log  string
		want []Finding
	}{
		"gcc": {"gcc -c main.c\nmain.c: In function 'main':\nmain.c:3:9: error: 'x' undeclared (first use in this function)\n    3 |         x = 1;\n      |         ^\n" +
			"src/a.c:12:1: warning: control reaches end of non-void function [-Wreturn-type]\nsrc/a.c:2:6: note: declared here\nmain.c:1:10: fatal error: none.h: No such file or directory\n", []Finding{
			{"main.c", 3, 9, Error, "'x' undeclared (first use in this function)", "gcc"},
			{"main.c", 1, 10, Error, "none.h: No such file or directory", "gcc"},
			{"src/a.c", 12, 1, Warning, "control reaches end of non-void function [-Wreturn-type]", "gcc"},
			{"src/a.c", 2, 6, Notice, "declared here", "gcc"}}},
		"clang in colours": {"\x1b[1mmain.cpp:3:5: \x1b[0m\x1b[0;1;31merror: \x1b[0m\x1b[1muse of undeclared identifier 'x'\x1b[0m\r\n", []Finding{
			{"main.cpp", 3, 5, Error, "use of undeclared identifier 'x'", "gcc"}}},
		"a link of a terminal": {"\x1b]8;;file:///x\x1b\\a.c:1:2: error: no\x1b]8;;\x07 more\n", []Finding{{"a.c", 1, 2, Error, "no more", "gcc"}}},
		"written over":         {" 10% compiling\r 50% compiling\ra.c:1:2: error: no\n", []Finding{{"a.c", 1, 2, Error, "no", "gcc"}}},
		"an absolute path":     {root + "/src/./a.c:1:2: error: no\n" + root + "//b.c:1:2: error: no\n", []Finding{{"src/a.c", 1, 2, Error, "no", "gcc"}, {"b.c", 1, 2, Error, "no", "gcc"}}},
		"paths elsewhere":      {"/usr/include/stdio.h:1:2: error: no\n../a.c:1:2: error: no\nsrc/../../a.c:1:2: error: no\n" + root + "/../a.c:1:2: error: no\n~/a.c:1:2: error: no\n", nil},
		"no column, other languages": {"lib/a.rb:7: warning: unused variable\nsrc/Main.java:5: error: ';' expected\napp.py:3: error: Name \"x\" is not defined  [name-defined]\n", []Finding{
			{"src/Main.java", 5, 0, Error, "';' expected", "javac"}, {"app.py", 3, 0, Error, "Name \"x\" is not defined  [name-defined]", "mypy"},
			{"lib/a.rb", 7, 0, Warning, "unused variable", ""}}},
		"go build": {"# buildsmith/store\nstore/a.go:3:5: undefined: y\n./b.go:7:2: declared and not used: z\n", []Finding{
			{"store/a.go", 3, 5, Error, "undefined: y", "go"}, {"b.go", 7, 2, Error, "declared and not used: z", "go"}}},
		"go vet": {"# octo/shop\n# [octo/shop]\nvet: ./main.go:5:2: undefined: x\nmain.go:9:2: fmt.Printf format %d has arg s of wrong type string\n", []Finding{
			{"main.go", 5, 2, Error, "undefined: x", "go vet"}, {"main.go", 9, 2, Error, "fmt.Printf format %d has arg s of wrong type string", "go"}}},
		"go, what only logs": {"main.go:12: starting\n    main_test.go:5: got 1\n\t/usr/lib/go/src/testing.go:12 +0x1b\n2026/01/01 12:00:00 main.go:3: up\n", nil},
		"golangci-lint": {"store/a.go:10:6: func `x` is unused (unused)\n", []Finding{
			{"store/a.go", 10, 6, Error, "func `x` is unused (unused)", "golangci-lint"}}},
		"eslint, stylish": {"\n" + root + "/src/app.js\n   1:10  error    'x' is defined but never used      no-unused-vars\n  12:5   warning  Unexpected console statement  no-console\n\nlib/b.js\n  3:1  error  Parsing error: Unexpected token\n\n✖ 3 problems (2 errors, 1 warning)\n  4:1  error  not of a file  x\n", []Finding{
			{"src/app.js", 1, 10, Error, "'x' is defined but never used (no-unused-vars)", "eslint"},
			{"lib/b.js", 3, 1, Error, "Parsing error: Unexpected token", "eslint"},
			{"src/app.js", 12, 5, Warning, "Unexpected console statement (no-console)", "eslint"}}},
		"eslint, unix": {root + "/src/app.js:1:10: 'x' is never used. [Error/no-unused-vars]\nsrc/app.js:2:1: Unexpected var. [Warning/no-var]\n", []Finding{
			{"src/app.js", 1, 10, Error, "'x' is never used. [Error/no-unused-vars]", "eslint"},
			{"src/app.js", 2, 1, Warning, "Unexpected var. [Warning/no-var]", "eslint"}}},
		"tsc": {"src/a.ts(12,5): error TS2322: Type 'string' is not assignable to type 'number'.\nProgram.cs(3,1): warning CS0168: unused\n", []Finding{
			{"src/a.ts", 12, 5, Error, "TS2322: Type 'string' is not assignable to type 'number'.", "tsc"}, {"Program.cs", 3, 1, Warning, "CS0168: unused", ""}}},
		"tsc, pretty": {"\x1b[96msrc/a.ts\x1b[0m:\x1b[93m12\x1b[0m:\x1b[93m5\x1b[0m - \x1b[91merror\x1b[0m\x1b[90m TS2322: \x1b[0mType 'string' is wrong.\n", []Finding{
			{"src/a.ts", 12, 5, Error, "TS2322: Type 'string' is wrong.", "tsc"}}},
		"rustc": {"error[E0308]: mismatched types\n  --> src/main.rs:2:18\n   |\n2  |     let x: i32 = \"\";\nwarning: unused variable: `y`\n --> src/lib.rs:7:9\n  |\nerror: could not compile `shop` (bin \"shop\") due to 1 previous error\n\n\n\n --> src/no.rs:1:1\n", []Finding{
			{"src/main.rs", 2, 18, Error, "mismatched types (E0308)", "rustc"}, {"src/lib.rs", 7, 9, Warning, "unused variable: `y`", "rustc"}}},
		"pytest": {"=== FAILURES ===\n____________ TestCart.test_total ____________\n\n    def test_total(self):\n>       assert total() == 2\nE       assert 1 == 2\n\ntests/test_cart.py:12: AssertionError\n" +
			"  tests/test_old.py:3: DeprecationWarning: old\n=== short test summary info ===\nFAILED tests/test_cart.py::TestCart::test_total - assert 1 == 2 and more of it\nFAILED tests/test_x.py::test_y[1-2] - ValueError: no\nERROR tests/test_z.py\n", []Finding{
			{"tests/test_cart.py", 12, 0, Error, "TestCart.test_total: assert 1 == 2 and more of it", "pytest"},
			{"tests/test_x.py", 1, 0, Error, "test_y[1-2]: ValueError: no", "pytest"},
			{"tests/test_z.py", 1, 0, Error, "failed", "pytest"},
			{"tests/test_old.py", 3, 0, Warning, "DeprecationWarning: old", "pytest"}}},
		"flake8":             {"app.py:1:80: E501 line too long (82 > 79 characters)\n", []Finding{{"app.py", 1, 80, Warning, "E501 line too long (82 > 79 characters)", ""}}},
		"twice":              {"a.c:1:2: error: no\na.c:1:2: error: no\n./a.c:1:2: error: no\n", []Finding{{"a.c", 1, 2, Error, "no", "gcc"}}},
		"masked":             {"a.c:1:2: error: the password *** is wrong\n", []Finding{{"a.c", 1, 2, Error, "the password *** is wrong", "gcc"}}},
		"no end":             {"a.c:1:2: error: no", []Finding{{"a.c", 1, 2, Error, "no", "gcc"}}},
		"Makefile":           {"Makefile.inc:3: warning: overriding recipe for target 'x'\n", []Finding{{"Makefile.inc", 3, 0, Warning, "overriding recipe for target 'x'", ""}}},
		"times, addresses":   {"12:30:45: error: no\nhttp://host.example:80: error: no\nmake: *** [Makefile:12: all] Error 2\nmake: x.c:1: error: no\nERROR: 1:2: error: no\n", nil},
		"control characters": {"a\x00.c:1:2: error: n\x00o\u202e!\n", []Finding{{"a.c", 1, 2, Error, "no!", "gcc"}}},
		"numbers":            {"a.c:0:2: error: no\na.c:99999999:2: error: no\na.c:99999999999999999999:2: error: no\na.c:-1: error: no\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(t, tt.log, nil); !cmp.Equal(got, tt.want) {
				t.Error(cmp.Diff(tt.want, got))
			}
		})
	}
}

// TestFiles leaves out what the source does not have, and finds what a tool named from a directory of it.
func TestFiles(t *testing.T) {
	files := []string{"src/cart/price.c", "src/a.c", "lib/a.c", "main.c", "web/app.js", "Makefile"}
	for named, want := range map[string]string{
		"main.c": "main.c", "price.c": "src/cart/price.c", "cart/price.c": "src/cart/price.c", "a.c": "", "src/a.c": "src/a.c", "none.c": "",
		"rice.c": "", "art/price.c": "", "Makefile": "Makefile", "src": "", "pp.js": "",
	} {
		got := read(t, named+":1:2: error: no\n", files)
		if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Path != want) {
			t.Errorf("%s: %+v, want %q", named, got, want)
		}
	}
	if got := read(t, "price.c:1:2: error: no\ncart/price.c:1:2: error: no\n", files); len(got) != 1 {
		t.Errorf("two names of one file: %+v", got)
	}
	if got := read(t, "main.c:1:2: error: no\n", []string{}); len(got) != 0 {
		t.Errorf("a source without files: %+v", got)
	}
}

func TestBounds(t *testing.T) {
	var log strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&log, "a.c:%d:1: warning: w\n", i+1)
	}
	log.WriteString("a.c:7:1: error: the one that matters " + strings.Repeat("é", 3_000) + "\n")
	got := read(t, log.String(), []string{"a.c"})
	if len(got) != Max || got[0].Level != Error || !strings.HasPrefix(got[0].Message, "the one that matters é") || got[1].Line != 1 {
		t.Fatalf("%d findings, the first %+v", len(got), got[0])
	}
	if n := utf8.RuneCountInString(got[0].Message); n != MaxMessage {
		t.Errorf("a message of %d runes", n)
	}
	log.Reset()
	for i := range Max {
		fmt.Fprintf(&log, "a.c:%d:1: error: %s\n", i+1, strings.Repeat("é", MaxMessage))
	}
	if got := read(t, log.String(), nil); len(got) < 60 || len(got) > 70 {
		t.Errorf("%d findings of 2 kB each", len(got))
	}
	long := strings.Repeat("x", 10<<20) + "\na.c:1:2: error: after a long line\n"
	if got := read(t, long, nil); len(got) != 1 || got[0].Message != "after a long line" {
		t.Errorf("after a long line: %+v", got)
	}
}

// TestHostileLogs gives each log that could make a careless reader slow little time.
func TestHostileLogs(t *testing.T) {
	const size = 8 << 20
	for _, piece := range []string{":1", "a:1:", "\x1b[", "\x1b]", "\r", "(", "a.c:1:2: error: ", "error: x\n", "FAILED a.py::", "___", "a.c:1:2: error: x\n", " - ", "[Error/", "\n", "a.js\n 1:2  error  x\n", "./", "../"} {
		start := time.Now()
		read(t, strings.Repeat(piece, size/len(piece)), []string{"a.c", "a.js"})
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("8 MiB of %q took %v", piece, took)
		}
	}
}

// A faulty reader gives some text and then fails.
type faulty struct{ io.Reader }

func (f faulty) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err == io.EOF {
		err = io.ErrClosedPipe
	}
	return n, err
}

func TestReadError(t *testing.T) {
	r := New(root)
	if err := r.Read(faulty{strings.NewReader("a.c:1:2: error: no\n")}); err != io.ErrClosedPipe {
		t.Errorf("error %v", err)
	}
	if got := r.Findings(nil); len(got) != 1 {
		t.Errorf("what was read before: %+v", got)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"a.c:1:2: error: no\n", "src/app.js\n  1:2  error  x  y\n", "error[E1]: x\n --> a.rs:1:2\n", "a.ts(1,2): error TS1: x\n",
		"____ t ____\na.py:1: AssertionError\nFAILED a.py::t - x\n", "\x1b[1ma.c:1:2: \x1b[0merror: x\r\n", "vet: ./x.go:1:2: y\n", "../a.c:1:2: error: x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, log string) {
		got := read(t, log, nil)
		if len(got) > Max {
			t.Errorf("%d findings", len(got))
		}
		for i, one := range got {
			if !filepath.IsLocal(one.Path) || filepath.Clean(one.Path) != one.Path || strings.ContainsFunc(one.Path, unicode.IsControl) || !utf8.ValidString(one.Path) {
				t.Errorf("path %q", one.Path)
			}
			if one.Line < 1 || one.Column < 0 || one.Message == "" || utf8.RuneCountInString(one.Message) > MaxMessage || strings.ContainsFunc(one.Message, unicode.IsControl) || !utf8.ValidString(one.Message) {
				t.Errorf("finding %+v", one)
			}
			if weight(one.Level) < 0 || i > 0 && weight(got[i-1].Level) > weight(one.Level) {
				t.Errorf("level %q", one.Level)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	log := strings.Repeat("[INFO] Downloading from central: https://repo.example.org/maven2/org/a/b/1.0/b-1.0.pom (12 kB at 1.2 MB/s)\n"+
		"ok  \tocto/shop/store\t0.123s\nsrc/a.c:12:1: warning: control reaches end of non-void function [-Wreturn-type]\n   12 | }\n", 1<<14)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		read(b, log, nil)
	}
}
