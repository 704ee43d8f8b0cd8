package buildspec

import (
	"strings"
	"testing"
	"time"
)

// TestItems has items of lists that YAML does not read as texts, each between others that are right: what is said about
// them names their line, and shows how to write them.
func TestItems(t *testing.T) {
	colon := func(text string) string { return "; a colon and a blank make a map of it, write: - " + quote(text) }
	sign := func(text string) string {
		return "; YAML takes the " + text[:1] + " at the beginning of a text for itself, write: - " + quote(text)
	}
	const (
		block    = "; begin the item with `- |` and put the command below, indented"
		key      = "did not find expected key"
		ended    = "found unexpected end of stream"
		colons   = "mapping values are not allowed in this context"
		dash     = "did not find expected '-' indicator"
		name     = "did not find expected alphabetic or numeric character"
		start    = "found character that cannot start any token"
		comment  = "did not find expected comment or line break"
		colonDot = "could not find expected ':'"
	)
	for _, tt := range []struct{ text, problem, hint string }{
		{`curl -d '{"a": "b"}' http://x`, ended, colon(`curl -d '{"a": "b"}' http://x`)},
		{`printf '[{"name": "c", "imageUri": "%s"}]' $X > f.json`, key, colon(`printf '[{"name": "c", "imageUri": "%s"}]' $X > f.json`)},
		{`git commit -m "feat: 'x'"`, ended, colon(`git commit -m "feat: 'x'"`)},
		{`echo "a: 'b' c"`, key, colon(`echo "a: 'b' c"`)},
		{`echo "x: [1] y"`, key, colon(`echo "x: [1] y"`)},
		{`echo "x: [1 y"`, "did not find expected ',' or ']'", colon(`echo "x: [1 y"`)},
		{`echo 'x: {y'`, "did not find expected ',' or '}'", colon(`echo 'x: {y'`)},
		{`echo "a: | b"`, comment, colon(`echo "a: | b"`)},
		{`echo "a: > b"`, comment, colon(`echo "a: > b"`)},
		{`echo "a: !x"`, "did not find expected whitespace or line break", colon(`echo "a: !x"`)},
		{`echo "a: *x"`, name, colon(`echo "a: *x"`)},
		{`echo "a: &x"`, name, colon(`echo "a: &x"`)},
		{`echo a: *x`, "unknown anchor 'x' referenced", colon(`echo a: *x`)},
		{`echo "a: %s"`, start, colon(`echo "a: %s"`)},
		{`echo "a: @x"`, start, colon(`echo "a: @x"`)},
		{"echo \"a: `x`\"", start, colon("echo \"a: `x`\"")},
		{`echo a: b: c`, colons, colon(`echo a: b: c`)},
		{`echo "é: 'b' c"`, key, colon(`echo "é: 'b' c"`)},
		{"docker run \\\n  -e \"a: 'b' c\" x", colons, "; a colon and a blank make a map of it" + block},
		{"echo a: b &&\n  echo c", colonDot, "; a colon and a blank make a map of it" + block},
		{"echo a: 'b' c &&\n  # why\n  echo c", colonDot, "; a colon and a blank make a map of it" + block},

		{`"$HOME/x.sh" arg`, dash, sign(`"$HOME/x.sh" arg`)},
		{`"a" || b`, comment, sign(`"a" || b`)},
		{`'it's' x`, dash, sign(`'it's' x`)},
		{`"a: b" c`, dash, sign(`"a: b" c`)},
		{`"a: b": "c" d`, key, sign(`"a: b": "c" d`)},
		{`|| x`, comment, sign(`|| x`)},
		{`> file`, comment, sign(`> file`)},
		{`[[ -f a ]] && b`, name, sign(`[[ -f a ]] && b`)},
		{`{a} b`, dash, sign(`{a} b`)},
		{`%x`, start, sign(`%x`)},
		{`@x`, start, sign(`@x`)},
		{"`x`", start, sign("`x`")},
		{`*.sh`, name, sign(`*.sh`)},
		{`*sh`, "unknown anchor 'sh' referenced", sign(`*sh`)},
		{`&x.y& z`, name, sign(`&x.y& z`)},
		{"\"a\n  b\" c", dash, "; YAML takes the \" at the beginning of a text for itself" + block},
	} {
		for _, after := range []string{"", "      - echo \"x\" && ls\n      - |\n        - a: 'b' c\n", "      - 'it''s'\n"} {
			text := "version: 0.2\nphases:\n  pre_build:\n    finally:\n      - |\n        - a: 'b' c\n      - \"a: b\"\n      - a\n        b\n  build:\n    commands:\n      - \"a: b\n         c\"\n      - make # a: 'b' c\n      - " +
				strings.ReplaceAll(tt.text, "\n", "\n      ") + "\n" + after
			spec, problems := Parse([]byte(text))
			got := texts(problems)
			// What follows decides what the library says: only the place and the hint are ours.
			if place := "15:9: "; spec != nil || len(problems) != 1 || !strings.HasPrefix(got, place) || !strings.HasSuffix(got, " at line 15"+tt.hint) || after == "" && got != place+tt.problem+" at line 15"+tt.hint {
				t.Errorf("%s, with %q after it:\n%s\nwant\n15:9: %s at line 15%s", tt.text, after, got, tt.problem, tt.hint)
			}
		}
	}
}

// TestMoreItems has what is wrong with lists otherwise.
func TestMoreItems(t *testing.T) {
	commands := func(text string) string { return "version: 0.2\nphases:\n  build:\n    commands:\n" + text }
	const found = "phases.build.commands: Expected Commands[0] to be of string type: found subkeys instead at line 5, value of the key tag on line 4 might be empty; "
	testProblems(t, []badFile{
		{"deeper after a comment", commands("      - a\n      # c\n        - b\n"),
			"7:9: did not find expected '-' indicator at line 7; the item is indented deeper than the one at line 5, indent all items of a list alike"},
		{"quote not closed", commands("      - a\n      - \"b\n      - echo \"c\"\n"),
			"6:9: did not find expected '-' indicator at line 6; the quote \" at the beginning of the text is not closed"},
		{"two dashes", commands("      - - echo a\n"), "5:9: " + found + "a second dash makes a list of it, write: - echo a"},
		{"list in a list", commands("      - - echo a\n        - echo b\n"), "5:9: " + found + "a second dash makes a list of it; put one dash before each command, and indent all alike"},
		{"no blank after the dash", commands("      -echo a\n"), "5:7: warning: phases.build.commands: is one text instead of a list, since a blank is missing after -; write: - echo a"},
		{"no blank after two dashes", commands("      -echo a\n      -echo b\n"), "5:7: warning: phases.build.commands: is one text instead of a list, since a blank is missing after -; write: - echo a"},
		{"no blank after the dash of an alias", "version: 0.2\nx-a: &a -a\nphases: {build: {commands: *a}}\n",
			"2:6: warning: phases.build.commands: is one text instead of a list, since a blank is missing after -; write: - a\n" +
				"2:1: warning: x-a: unknown key, ignored; known here: version, run-as, env, proxy, batch, phases, reports, artifacts, cache"},
		{"an option", commands("      --echo a\n"), "5:7: warning: phases.build.commands: is one text instead of a list; put `- ` before it"},
		{"no blank after a later dash", commands("      - echo a\n      -echo b\n"), "6:7: could not find expected ':' at line 6; a blank is missing after -, write: - echo b"},
		{"no blank behind the version's colon", "version:0.2\nphases:\n  build:\n    commands: [a]\n",
			"1:1: mapping values are not allowed in this context at line 1; a blank is missing behind a colon, write: version: 0.2"},
		{"nothing but the version", "version:0.2\n", "1:1: the file is a text, since a blank is missing behind the colon; write: version: 0.2"},
		{"no blank behind another colon", "version: 0.2\nphases:\n  build:\n    run-as:root\n    commands: [a]\n",
			"4:5: mapping values are not allowed in this context at line 4; a blank is missing behind a colon, write: run-as: root"},
		{"item that is a map", "version: 0.2\nbatch:\n  build-list:\n    - identifier: a\n      env: {x: [a}\n" + phases, "5:7: did not find expected ',' or ']' at line 5"},
		{"map that cannot be read", "version: 0.2\nbatch:\n  build-list:\n    - identifier: 'a' b\n" + phases, "4:5: did not find expected key at line 4"},
		{"item within an item", "version: 0.2\nbatch:\n  build-graph:\n    - identifier: a\n      depend-on:\n        - \"b\" c\n" + phases,
			`6:11: did not find expected '-' indicator at line 6; YAML takes the " at the beginning of a text for itself, write: - '"b" c'`},
	})
}

// TestManyItems has large files with an error at their end, which are to take no time.
func TestManyItems(t *testing.T) {
	for name, text := range map[string]string{
		"items":   strings.Repeat("      - echo a\n", 20_000) + "      - echo \"a: 'b' c\"\n",
		"nested":  strings.Repeat("- ", 5000) + "\"a\" b\n",
		"deeper":  deeper(1000) + "\"a\" b\n",
		"key":     strings.Repeat("      - echo a\n", 20_000) + "      b\n",
		"flow":    "      - [" + strings.Repeat("a, ", 100_000) + "\n",
		"block":   "      - |\n" + strings.Repeat("        a\n", 30_000) + "       b\n",
		"ends":    "      - a:\n" + strings.Repeat("          - b\n", 25_000) + "         'c' d\n",
		"unequal": strings.Repeat("      - a\n        b\n", 15_000) + "      - \"a\" b\n",
	} {
		begin := time.Now()
		if spec, problems := Parse([]byte("version: 0.2\nphases:\n  build:\n    commands:\n" + text)); spec != nil || len(problems) != 1 || len(problems[0].Message) > 1000 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%s takes %v", name, took)
		}
	}
}

func deeper(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "- a:\n")
	}
	return b.String() + strings.Repeat(" ", n) + "- "
}
