package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	for text, want := range map[string][]string{
		"    calc_test.go:21: Sub(3, 1) = 1":                                {"calc_test.go:21"},
		"calc/calc.go:12:5: undefined: x":                                   {"calc/calc.go:12"},
		"tests/test_a.py:3: AssertionError":                                 {"tests/test_a.py:3"},
		"  File \"/src/my tests/test a.py\", line 12, in test_x":            {"/src/my tests/test a.py:12"},
		"at Object.<anonymous> (/src/a.test.js:10:5)":                       {"/src/a.test.js:10"},
		"at async Promise.all (index 0)\n at file:///src/a.mjs:1:2":         {"file:///src/a.mjs:1"},
		"webpack:///./src/a.ts:7:1":                                         {"./src/a.ts:7"},
		"http://localhost:3000/src/a.js:7:1":                                nil,
		"at com.example.FooTest.testBar(FooTest.java:25)":                   {"FooTest.java:25 com.example.FooTest.testBar"},
		"at java.base/java.lang.Thread.run(Thread.java:1583)":               {"Thread.java:1583 java.base/java.lang.Thread.run"},
		"at app//com.example.FooTest.reads a list(FooTest.kt:18)":           {"FooTest.kt:18 list"},
		"   at A.B() in C:\\agent\\src\\A B.cs:line 9":                      {`C:\agent\src\A B.cs:9`},
		"   at A.B() in /src/tests/A.cs:line 9\n   at C.D() in E.cs:line 1": {"/src/tests/A.cs:9", "E.cs:1"},
		"D:\\a\\x.cpp:12: error":                                            {`D:\a\x.cpp:12`},
		"./spec/a_spec.rb:5:in `block'":                                     {"./spec/a_spec.rb:5"},
		"thread 'main' panicked at src/lib.rs:10:5:\nboom":                  {"src/lib.rs:10"},
		"panicked at 'boom', src/lib.rs:10:5":                               {"src/lib.rs:10"},
		"❯ src/größe.test.ts:14:17":                                         {"src/größe.test.ts:14"},
		"[src/a.js:1]":                                                      {"src/a.js:1"},
		"test/foo_test.exs:5: FooTest.\"test x\"/1":                         {"test/foo_test.exs:5"},
		"example.com:80 and 10.0.0.1:443 and v1.2.3:4":                      nil,
		"see a.go: 12 and a.go:x and a.go:0 and .go:3":                      nil,
		"a.go:99999999999999999999":                                         nil,
		"12:30:45 a.go:7":                                                   {"a.go:7"},
	} {
		var got []string
		for p := range places(text) {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s:%d %s", p.path, p.line, p.frame)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("places(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestBelow(t *testing.T) {
	src := NewSource([]string{"/base/src/", "/base", `C:\agent\src`, "relative", "/", ""}, nil)
	for path, want := range map[string]string{
		"a.go":                     "a.go",
		"./a//b/./c.go":            "a/b/c.go",
		`a\b.cs`:                   "a/b.cs",
		"/base/src/a.go":           "a.go",
		"/base/src//a.go":          "a.go",
		"/base/other/a.go":         "other/a.go",
		"/baseshop/a.go":           "",
		"/base/src":                "src",
		"/base/src/":               "",
		"/etc/passwd":              "",
		"../a.go":                  "",
		"a/../../b.go":             "",
		"a/../b.go":                "",
		"/base/src/../../etc/x":    "",
		`..\a.cs`:                  "",
		"file:///base/src/a.js":    "a.js",
		"file:a.feature":           "a.feature",
		`C:\agent\src\x\y.cs`:      "x/y.cs",
		`C:\other\y.cs`:            "",
		"C:y.cs":                   "",
		"/base/src/C:/y.cs":        "",
		"a\x00b.go":                "",
		"a\nb.go":                  "",
		"a\xffb.go":                "",
		"a\u202eb.go":              "",
		"":                         "",
		".":                        "",
		"/":                        "",
		strings.Repeat("a", 1_001): "",
	} {
		got, ok := src.below(path)
		if got != want || ok != (want != "") {
			t.Errorf("below(%q) = %q, %v, want %q", path, got, ok, want)
		}
	}
	if got, ok := (*Source)(nil).below("/base/src/a.go"); ok {
		t.Errorf("below without a source took %q", got)
	}
}

var tree = []string{
	"main.go", "calc/calc_test.go", "shop/calc/calc_test.go", "shop/cart/cart.go", "shop/cart/a.test.js", "tests/test_a.py",
	"src/test/java/com/example/FooTest.java", "src/main/java/com/example/Foo.java", "lib/src/main/java/org/other/Foo.java",
	"a/index.js", "b/index.js", "web/node_modules/x/x.js",
}

func TestSourceFile(t *testing.T) {
	src := NewSource([]string{root}, tree)
	for _, tt := range []struct{ path, hint, want string }{
		{"main.go", "", "main.go"},
		{root + "/main.go", "", "main.go"},
		{"gone.go", "", ""},
		{"cart/cart.go", "", "shop/cart/cart.go"},
		{"cart.go", "", "shop/cart/cart.go"},
		{"calc_test.go", "", ""},
		{"calc_test.go", "example.com/m/calc", "calc/calc_test.go"},
		{"calc_test.go", "example.com/m/shop/calc", "shop/calc/calc_test.go"},
		{"calc_test.go", "example.com/m/recalc", ""},
		{"index.js", "", ""},
		{"t/main.go", "", ""},
		{"ain.go", "", ""},
		{"/elsewhere/main.go", "", ""},
	} {
		if got := src.file(tt.path, tt.hint); got != tt.want {
			t.Errorf("file(%q, %q) = %q, want %q", tt.path, tt.hint, got, tt.want)
		}
	}
	many := make([]string, 0, 2*maxAlike)
	for i := range 2 * maxAlike {
		many = append(many, fmt.Sprintf("d%d/index.js", i))
	}
	if got := NewSource(nil, many).file("d1/index.js", ""); got != "d1/index.js" {
		t.Errorf("of many alike the one named is %q", got)
	}
	if got := NewSource(nil, many).file("index.js", "d1"); got != "" {
		t.Errorf("of too many alike one is taken: %q", got)
	}
}

func TestSourceFind(t *testing.T) {
	known, unknown := NewSource([]string{root}, tree), NewSource([]string{root}, nil)
	for _, tt := range []struct {
		src              *Source
		text, hint, only string
		want             string
	}{
		{unknown, "    calc_test.go:21: x", "example.com/m/calc", "", "calc_test.go:21"},
		{known, "    calc_test.go:21: x", "example.com/m/calc", "", "calc/calc_test.go:21"},
		{known, "    calc_test.go:21: x", "", "", ":0"},
		{known, "at org.junit.Assert.fail(Assert.java:5)\nat com.example.FooTest.bar(FooTest.java:25)", "", "", "src/test/java/com/example/FooTest.java:25"},
		{known, "at com.example.Foo.bar(Foo.java:3)", "", "", "src/main/java/com/example/Foo.java:3"},
		{known, "at Foo.bar(Foo.java:3)", "", "", ":0"},
		{unknown, "at com.example.FooTest.bar(FooTest.java:25)", "", "", ":0"},
		{known, "web/node_modules/x/x.js:1:1\nshop/cart/a.test.js:2:1", "", "", "shop/cart/a.test.js:2"},
		{known, "shop/cart/cart.go:1\ntests/test_a.py:2", "", "tests/test_a.py", "tests/test_a.py:2"},
		{known, "/usr/lib/python3/unittest.py:1\nFile \"" + root + "/tests/test_a.py\", line 9", "", "", "tests/test_a.py:9"},
		{unknown, "vendor/a/a.go:1", "", "", ":0"},
		{nil, "at com.example.FooTest.bar(FooTest.java:25) a/b.go:1", "", "", "a/b.go:1"},
		{known, strings.Repeat("gone.go:1 ", maxTried-1) + "main.go:1", "", "", "main.go:1"},
		{known, strings.Repeat("gone.go:1 ", maxTried) + "main.go:1", "", "", ":0"},
		{known, strings.Repeat("12:30 ", maxColons-1) + "main.go:1", "", "", "main.go:1"},
		{known, strings.Repeat("12:30 ", maxColons) + "main.go:1", "", "", ":0"},
	} {
		file, line := tt.src.find(tt.text, tt.hint, tt.only)
		if got := fmt.Sprintf("%s:%d", file, line); got != tt.want {
			t.Errorf("find(%.80q, %q, %q) = %s, want %s", tt.text, tt.hint, tt.only, got, tt.want)
		}
	}
}

func TestCovered(t *testing.T) {
	known, unknown := NewSource([]string{root}, tree), NewSource([]string{root}, nil)
	for _, tt := range []struct {
		src   *Source
		path  string
		bases []string
		want  string
	}{
		{nil, "/a/b.go", nil, "/a/b.go"},
		{nil, "../b.go", nil, "../b.go"},
		{nil, "./b.go", nil, "b.go"},
		{unknown, root + "/a/b.go", nil, "a/b.go"},
		{unknown, "/elsewhere/b.go", nil, "/elsewhere/b.go"},
		{unknown, `C:\x\b.cs`, nil, `C:\x\b.cs`},
		{unknown, "b.py", []string{root + "/pkg"}, "pkg/b.py"},
		{unknown, "b.py", []string{root}, "b.py"},
		{unknown, "b.py", []string{root + "/pkg", root + "/other"}, "b.py"},
		{unknown, "b.py", []string{"/elsewhere"}, "b.py"},
		{unknown, "/elsewhere/b.py", []string{root}, "/elsewhere/b.py"},
		{known, "cart.go", []string{root + "/calc", root + "/shop/cart"}, "shop/cart/cart.go"},
		{known, "com/example/Foo.java", nil, "src/main/java/com/example/Foo.java"},
		{known, "com/example/Gone.java", nil, "com/example/Gone.java"},
		{known, "calc_test.go", nil, "calc_test.go"},
		{known, "a\x00b", nil, "a\ufffdb"},
	} {
		if got := tt.src.covered(tt.path, tt.bases); got != tt.want {
			t.Errorf("covered(%q, %q) = %q, want %q", tt.path, tt.bases, got, tt.want)
		}
	}
}

// TestCasePlaces reads places of cases through Parse, where the tree is known.
func TestCasePlaces(t *testing.T) {
	src := NewSource([]string{root}, tree)
	for name, tt := range map[string]struct{ format, text, want string }{
		"go": {"JUNITXML", `<testsuites><testsuite><testcase classname="example.com/m/shop/calc" name="a"><failure message="Failed">
			calc_test.go:4: bad</failure></testcase></testsuite></testsuites>`, "shop/calc/calc_test.go:4"},
		"surefire": {"JUNITXML", `<testsuite><testcase classname="com.example.FooTest" name="a"><error message="x">
			at com.example.FooTest.a(FooTest.java:7)</error></testcase></testsuite>`, "src/test/java/com/example/FooTest.java:7"},
		"attribute":              {"JUNITXML", `<testsuite><testcase name="a" file="cart/cart.go" line="3"/></testsuite>`, "shop/cart/cart.go:3"},
		"attribute of the suite": {"JUNITXML", `<testsuite file="main.go"><testcase name="a" line="3"/></testsuite>`, "main.go:0"},
		"attribute elsewhere":    {"JUNITXML", `<testsuite><testcase name="a" file="/x/main.go" line="3"/></testsuite>`, ":0"},
		"attribute elsewhere, text here": {"JUNITXML", `<testsuite><testcase name="a" file="/x/main.go" line="3"><failure>main.go:5</failure></testcase></testsuite>`,
			"main.go:5"},
		"attribute and other text": {"JUNITXML", `<testsuite><testcase name="a" file="main.go" line="3"><failure>tests/test_a.py:5</failure></testcase></testsuite>`,
			"main.go:3"},
		"message":        {"JUNITXML", `<testsuite><testcase name="a"><failure message="main.go:6: bad"/></testcase></testsuite>`, "main.go:6"},
		"huge line":      {"JUNITXML", `<testsuite><testcase name="a" file="main.go" line="99999999999"/></testsuite>`, "main.go:0"},
		"line of nobody": {"JUNITXML", `<testsuite><testcase name="a" line="3"/></testsuite>`, ":0"},
		"class path": {"CUCUMBERJSON", `[{"uri": "classpath:com/example/Foo.java", "elements": [{"name": "a", "line": 2}]}]`,
			"src/main/java/com/example/Foo.java:2"},
		"testng": {"TESTNGXML", `<testng-results><suite><test><class name="com.example.FooTest"><test-method name="a" status="FAIL"><exception class="x"><full-stacktrace>
			at com.example.FooTest.a(FooTest.java:7)</full-stacktrace></exception></test-method></class></test></suite></testng-results>`,
			"src/test/java/com/example/FooTest.java:7"},
	} {
		c := mustParse(t, tt.format, tt.text, src)
		if got := fmt.Sprintf("%s:%d", c.Cases[0].File, c.Cases[0].Line); len(c.Cases) != 1 || got != tt.want {
			t.Errorf("%s: the place is %s, want %s", name, got, tt.want)
		}
	}
}
