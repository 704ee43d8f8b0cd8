package buildspec

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// outline is a list of statements in one line: programs, what they are in, and what joins them.
func outline(list []*statement) string {
	var statements []string
	for _, s := range list {
		var parts []string
		for _, p := range s.parts {
			var commands []string
			for _, c := range p.commands {
				text := c.shown()
				switch c.kind {
				case groupCommand:
					text = "{}"
				case ifCommand:
					text = "if"
				case loopCommand:
					text = "loop"
				case caseCommand:
					text = "case"
				case functionCommand:
					text = "function"
				case testCommand:
					text = "test"
				}
				for _, inner := range slices.Concat(c.conditions, c.bodies) {
					text += "(" + outline(inner) + ")"
				}
				for _, w := range c.words {
					for _, sub := range w.subs {
						text += "$(" + outline(sub) + ")"
					}
				}
				if c.redirected {
					text += ">"
				}
				commands = append(commands, text)
			}
			text := strings.Join(commands, "|")
			if p.negated {
				text = "!" + text
			}
			parts = append(parts, text)
		}
		text := strings.Join(parts, "&&")
		if s.or {
			text = strings.Join(parts, "||")
		}
		if s.background {
			text += "&"
		}
		statements = append(statements, text)
	}
	return strings.Join(statements, "; ")
}

func TestReadShell(t *testing.T) {
	for _, tt := range []struct{ text, want, bash string }{
		{"a", "a", ""},
		{"a b 'c d' \"e $f\" g\\ h", "a b c d e $f g h", ""},
		{"a; b\nc & d", "a; b; c&; d", ""},
		{"a && b || c", "a||b||c", ""},
		{"a &&\n\n# why\n b", "a&&b", ""},
		{"! a | b |\nc", "!a|b|c", ""},
		{"a \\\n  b # c\nd", "a b; d", ""},
		{"a#b", "a#b", ""},
		{"a > b 2>&1 >&2 < c >> d", "a>", ""},
		{"a 2> b >&2", "a", ""},
		{"> a", "a command>", ""},
		{"<a || b", "a command||b", ""},
		{"cat <<A <<-'B' | c\nx ) ' \"\nA\n\ty `\n\tB\nd", "cat|c; d", ""},
		{"cat <<A\nnever ends", "cat", ""},
		{"if a; then b; elif c; then d; else e; fi > f", "if(a)(c)(b)(d)(e)>", ""},
		{"while read x; do a; done < f", "loop(read x)(a)", ""},
		{"until a\ndo\nb\ndone", "loop(a)(b)", ""},
		{"for x in a \"$b\" *; do c; done", "loop(c)", ""},
		{"for x\ndo c; done", "loop(c)", ""},
		{"for (( i=0; i<3; i++ )); do a; done", "loop(a)", "for (("},
		{"select x in a; do b; done", "loop(b)", ""},
		{"case $x in a|b) c ;; (d) e;; *) f; esac", "case(c)(e)(f)", ""},
		{"case x in\n  # one\n  a) ;;\n  *)\n    b\n    ;;&\nesac", "case()(b)", ""},
		{"f() { a; b; }; f", "function({}(a; b)); f", ""},
		{"function f { a; }", "function({}(a))", "function"},
		{"function f() ( a )", "function({}(a))", "function"},
		{"(a; b) | { c; }", "{}(a; b)|{}(c)", ""},
		{"a=$(b \"$(c)\") d `e \\`f\\``", "a=$() d $()$(b $()$(c))$(e $()$(f))", ""},
		{"echo $((1 + (2*3))) $((a); b) $( (a) )", "echo $(()) $() $()$({}(a); b)$({}(a))", ""},
		{"echo ${a:-'}'} ${b:-\"}\"} ${c:-$(d)} ${e:-`f`} ${g%\\}} ${#h} ${j:-\n}", "", ""},
		{"echo $1 $@ $? $$ a$ \"$\" $'it\\'s\n'", "echo $1 $@ $? $$ a$ $ ", "$'"},
		{"echo \"a \\\" b \\\n c `d \\\"e\\\"` \n\"", "echo a \" b  c $()  $(d \"e\")", ""},
		{"[[ a =~ ^(b|c)$ && -n $d || ( e < f ) ]] && g", "test&&g", "[["},
		{"(( a > 1 )) || b", "test||b", "(("},
		{"(( a =\n1 ))", "test", "(("},
		{"a=(1 \"2 3\" $(b)\n# four\n4) c", "a=() c$(b)", "an array"},
		{"ls !(a|(b)) *.@(x|y)", "ls ! *.@", "!( @("},
		{"diff <(a) >(b)", "diff $() $()$(a)$(b)", "<( >("},
		{"read a <<< $b", "read a", "<<<"},
		{"a |& b &> c &>> d", "a|b>", "|& &> &>>"},
		{"A=1 B=2 c", "A=1 B=2 c", ""},
		{"echo {a,b} {1..3} {a} {} x{,y} '{a,b}' {\"a\",b}", "echo {a,b} {1..3} {a} {} x{,y} {a,b} {a…", "{a,b} {a,b} {a,b}"},
		{"a\r\nb\r\n", "a; b", ""},
	} {
		s, err := readShell(tt.text)
		if err != nil {
			t.Errorf("%q: line %d: %s", tt.text, err.line, err.message)
			continue
		}
		if got := outline(s.list); got != tt.want && tt.want != "" {
			t.Errorf("%q is %q, want %q", tt.text, got, tt.want)
		}
		var bash []string
		for _, b := range s.bash {
			bash = append(bash, b.what)
		}
		if diff := cmp.Diff(tt.bash, strings.Join(bash, " ")); diff != "" {
			t.Errorf("%q: of Bash (-want +got)\n%s", tt.text, diff)
		}
		if out, err := exec.Command("bash", "-O", "extglob", "-n", "-c", strings.ReplaceAll(tt.text, "\r", "")).CombinedOutput(); err != nil {
			t.Errorf("%q: Bash says %s", tt.text, out)
		}
	}
}

// TestUnreadableShell has what no shell reads, what this reader is not sure of, and that a real one agrees where it is.
func TestUnreadableShell(t *testing.T) {
	for _, tt := range []struct {
		text string
		sure bool
		line int
	}{
		{"a\nb 'c\n", true, 1},
		{"a \"b\n$(c)", true, 0},
		{"a `b", true, 0},
		{"a $(b", true, 0},
		{"a $'b\n", true, 0},
		{"if a\nthen b", true, 0},
		{"a\nwhile b; do c", true, 1},
		{"{ a", true, 0},
		{"( a", true, 0},
		{"case a in\nb) c;;", true, 0},
		{"case a in b", true, 0},
		{"a=( b", true, 0},
		{"[[ a", false, 0},
		{"`a $(b`", false, 0},
		{"echo \"${a:-it's}", false, 0},
		{"fi", true, 0},
		{"done", true, 0},
		{"a\n}", true, 1},
		{"a $(fi)", false, 0},
		{"if a; then b; done", false, 0},
		{"a )", false, 0},
		{";;", false, 0},
		{"a ;; b", false, 0},
		{"a &;", false, 0},
		{"| a", false, 0},
		{"a >", false, 0},
		{"a ${b", false, 0},
		{"((a", false, 0},
		{"ls @(a", false, 0},
		{"ls @(a\n)", false, 0},
		{"{ a ) }", false, 0},
		{"a $(b }", true, 0},
		{strings.Repeat("(", 1000), false, 0},
		{strings.Repeat("${a:-", 1000), false, 0},
		{strings.Repeat("a() ", 1000), false, 0},
		{strings.Repeat("$(", 1000), false, 0},
		{"a=" + strings.Repeat("(a=", 1000), false, 0},
	} {
		_, err := readShell(tt.text)
		if err == nil {
			t.Errorf("%.50q is read", tt.text)
			continue
		}
		if err.sure != tt.sure || err.line != tt.line {
			t.Errorf("%.50q: line %d: %s, sure %v", tt.text, err.line, err.message, err.sure)
		}
		if len(tt.text) < 100 && tt.text[0] != '`' {
			if exec.Command("bash", "-n", "-c", tt.text).Run() == nil {
				t.Errorf("%q: Bash reads it", tt.text)
			}
		}
	}
}

// FuzzShell looks for texts that a real shell reads and this reader is sure that none does.
func FuzzShell(f *testing.F) {
	for _, text := range []string{"a `b` $(c) ${d:-'e'} \"f\"", "if a; then b; fi", "case a in b) c;; esac", "cat <<A\nb\nA\n", "a=(b c)", "[[ a =~ (b) ]]", "f() { a; }", "echo $((1))", "for ((;;)); do a; done"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && (r < ' ' || r > '~') }) {
			return
		}
		if _, err := readShell(text); err != nil && err.sure {
			if exec.Command("bash", "-O", "extglob", "-n", "-c", text).Run() == nil {
				t.Errorf("line %d: %s", err.line, err.message)
			}
		}
	})
}
