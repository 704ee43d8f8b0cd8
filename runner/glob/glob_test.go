package glob

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"file.ext", []string{"file.ext"}, []string{"dir/file.ext", "file.ext/x"}},
		{"./file.ext", []string{"file.ext"}, nil},
		{"dir/*", []string{"dir/a", "dir/.hidden"}, []string{"dir", "dir/sub/a", "a"}},
		{"dir/**/*", []string{"dir/a", "dir/sub/a", "dir/.git/x"}, []string{"dir", "other/a"}},
		{"dir/**", []string{"dir/a", "dir/sub/a"}, []string{"other/a", "dirx/a"}},
		{"**/*", []string{"a", ".a", "x/y/z", ".git/config"}, nil},
		{"**/*.xml", []string{"a.xml", "x/y/z.xml"}, []string{"a.xml/b", "a.txt"}},
		{"**/**/a", []string{"a", "x/a", "x/y/a"}, []string{"b"}},
		{"**/a/**/b", []string{"a/b", "x/a/y/b", "a/a/b/b"}, []string{"a", "b", "b/a"}},
		{"a?c", []string{"abc", "a.c"}, []string{"ac", "a/c"}},
		{"[a-c]x", []string{"ax", "cx"}, []string{"dx", "x"}},
		{"[!a-c]x", []string{"dx"}, []string{"ax", "x"}},
		{"[^a]x", []string{"bx"}, []string{"ax"}},
		{`\[!a]`, []string{"[!a]"}, []string{"b"}},
		{"{a,b}", []string{"{a,b}"}, []string{"a", "b"}},
		{"**.*", []string{"a.b", ".x"}, []string{"d/a.b", "ab"}},
		{"/root/.m2/**/*", []string{"root/.m2/a/b"}, []string{"root/.m3/a"}},
		{"a//b", []string{"a/b"}, nil},
		{"a/../b", []string{"b"}, []string{"a/b"}},
		{"../x", []string{"x"}, []string{"../x"}},
		{"dist", []string{"dist"}, []string{"dist/a"}},
		{"dist/", []string{"dist"}, []string{"dist/a"}},
		{"ünï/*", []string{"ünï/ö"}, nil},
	} {
		p, err := Compile(tt.pattern)
		if err != nil {
			t.Errorf("Compile(%q): %v", tt.pattern, err)
			continue
		}
		for _, name := range tt.yes {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", tt.pattern, name)
			}
		}
		for _, name := range tt.no {
			if p.Match(name) {
				t.Errorf("%q matches %q", tt.pattern, name)
			}
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":         "the pattern is empty",
		"  ":       "the pattern is empty",
		"a\x00b":   "has a NUL byte",
		"src/[ab":  `the class in "[ab" is not closed; write \[ for a plain bracket`,
		"src/[!/x": "is not closed",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile(%q) = %v, want %q", pattern, err, want)
		}
	}
	if (Pattern{}).Match("a") {
		t.Error("the zero pattern matches")
	}
}

func tree(t *testing.T, files ...string) string {
	t.Helper()
	base := t.TempDir()
	for _, name := range files {
		full := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func names(files []File) []string {
	var s []string
	for _, f := range files {
		s = append(s, f.Name)
	}
	return s
}

func mustCompile(t *testing.T, pattern string) Pattern {
	t.Helper()
	p, err := Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFiles(t *testing.T) {
	base := tree(t, "w/.hidden", "w/README.md", "w/dist/app.js", "w/dist/app.js.map", "w/dist/css/site.css",
		"w/dist.txt", "w/test/junit.xml", "beside/x.jar")
	for link, target := range map[string]string{"w/loop": ".", "w/link.js": "dist/app.js", "w/gone": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	w := filepath.Join(base, "w")
	for pattern, want := range map[string][]string{
		"**/*": {".hidden", "README.md", "dist.txt", "dist/app.js", "dist/app.js.map", "dist/css/site.css", "gone", "link.js",
			"loop", "test/junit.xml"},
		"dist/*":        {"dist/app.js", "dist/app.js.map"},
		"*/site.css":    nil,
		"**/site.css":   {"dist/css/site.css"},
		"dist":          nil,
		"loop/dist/*":   {"loop/dist/app.js", "loop/dist/app.js.map"},
		"../beside/*":   {"beside/x.jar"},
		"missing/**/*":  nil,
		"README.md":     {"README.md"},
		"README.md/x":   nil,
		"dist/css/../*": {"dist/app.js", "dist/app.js.map"},
	} {
		if got := names(mustCompile(t, pattern).Files(w)); !slices.Equal(got, want) {
			t.Errorf("Files(%q) = %q, want %q", pattern, got, want)
		}
	}
	abs := mustCompile(t, filepath.Join(w, "dist/*")).Files("/elsewhere")
	if len(abs) != 2 || abs[0].Path != filepath.Join(w, "dist/app.js") || abs[0].Name != abs[0].Path[1:] {
		t.Errorf("absolute pattern: %v", abs)
	}
}

func TestDirs(t *testing.T) {
	base := tree(t, "dist/app.js", "dist-docs/index.html", "dist.txt", "a/out/x", "b/out/y")
	if err := os.Symlink("dist", filepath.Join(base, "alias")); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string][]string{
		".":          {""},
		"dist":       {"dist"},
		"dist*":      {"dist", "dist-docs"},
		"*/out":      {"a/out", "b/out"},
		"al*":        {"alias"},
		"missing":    nil,
		"dist.txt":   nil,
		"dist/../a/": {"a"},
	} {
		var got []string
		for _, dir := range mustCompile(t, pattern).Dirs(base) {
			rel, err := filepath.Rel(base, dir)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimPrefix(rel, "."))
		}
		if !slices.Equal(got, want) {
			t.Errorf("Dirs(%q) = %q, want %q", pattern, got, want)
		}
	}
}

// brute is the meaning of a pattern without any thought of speed: every way to give components to **.
func brute(parts, names []string) bool {
	if len(parts) == 0 {
		return len(names) == 0
	}
	if parts[0] == "**" {
		if len(parts) == 1 {
			return len(names) > 0
		}
		for n := range len(names) + 1 {
			if brute(parts[1:], names[n:]) {
				return true
			}
		}
		return false
	}
	return len(names) > 0 && bruteComponent(parts[0], names[0]) && brute(parts[1:], names[1:])
}

func bruteComponent(part, name string) bool {
	switch {
	case part == "":
		return name == ""
	case part[0] == '*':
		return bruteComponent(part[1:], name) || name != "" && bruteComponent(part, name[1:])
	case name == "":
		return false
	}
	return (part[0] == '?' || part[0] == name[0]) && bruteComponent(part[1:], name[1:])
}

// TestMatchAgainstBruteForce draws patterns and names from a small alphabet, so that many match.
func TestMatchAgainstBruteForce(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(atoms []string, most int) string {
		var parts []string
		for range 1 + random.IntN(most) {
			parts = append(parts, atoms[random.IntN(len(atoms))])
		}
		return strings.Join(parts, "/")
	}
	matched := 0
	for range 200_000 {
		pattern := draw([]string{"a", "b", "ab", "*", "a*", "*b", "?", "**", "*a*b"}, 6)
		name := draw([]string{"a", "b", "ab", "aab", "ba"}, 6)
		p := mustCompile(t, pattern)
		want := brute(p.parts, strings.Split(name, "/"))
		if got := p.Match(name); got != want {
			t.Fatalf("Match(%q, %q) = %v, want %v", pattern, name, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 10_000 {
		t.Fatalf("only %d pairs matched: the drawing is too thin to tell anything", matched)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("**/*.xml", "a/b.xml")
	f.Add("[!a]/{x}/../..", "b")
	f.Add(`\[/[^\]]`, "[/a")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := Compile(pattern)
		if err != nil {
			return
		}
		p.Match(name)
		for _, part := range p.parts {
			if part == "" || part == "." || part == ".." || strings.Contains(part, "/") {
				t.Errorf("Compile(%q) kept the component %q", pattern, part)
			}
		}
	})
}
