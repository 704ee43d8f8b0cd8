package report

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"buildsmith/store"
)

// TestTooLarge reads files that are one byte too large, and one that is as large as it may be.
func TestTooLarge(t *testing.T) {
	xs := strings.Repeat("x", 1000)
	for _, tt := range []struct{ format, head, fill, tail string }{
		{"JUNITXML", `<testsuite><testcase name="a"><system-out>`, xs, `</system-out></testcase></testsuite>`},
		{"CUCUMBERJSON", `[{"name": "`, xs, `"}]`},
		{"LCOV", "SF:a\n#", xs, "\nend_of_record\n"},
	} {
		n := (MaxFile + 1 - len(tt.head) - len(tt.tail)) / len(tt.fill)
		pad := MaxFile + 1 - len(tt.head) - len(tt.tail) - n*len(tt.fill)
		r := io.MultiReader(strings.NewReader(tt.head), &repeated{text: tt.fill, n: n}, strings.NewReader(tt.tail),
			strings.NewReader(strings.Repeat("\n", pad)))
		_, err := Parse(tt.format, "x", r, nil)
		if err == nil || err.Error() != "x: is larger than 50 MiB" {
			t.Errorf("Parse(%q) of %q... = %v, want that it is too large", tt.format, tt.head, err)
		}
	}
	r := io.MultiReader(strings.NewReader("<testsuite/>"), &repeated{text: strings.Repeat("\n", 4), n: (MaxFile - 12) / 4})
	if _, err := Parse("JUNITXML", "x", r, nil); err != nil {
		t.Errorf("Parse of a file of %d bytes = %v", MaxFile, err)
	}
}

// repeated reads as text, n times.
type repeated struct {
	text string
	n    int
	rest string
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if r.rest == "" {
			if r.n == 0 {
				if n == 0 {
					return 0, io.EOF
				}
				return n, nil
			}
			r.n--
			r.rest = r.text
		}
		m := copy(p[n:], r.rest)
		r.rest = r.rest[m:]
		n += m
	}
	return n, nil
}

// check fails the test if a content breaks a promise that holds whatever the file was.
func check(t *testing.T, c Content) {
	t.Helper()
	text := func(what, s string, most int, lines bool) {
		if !utf8.ValidString(s) {
			t.Errorf("%s %q is no UTF-8", what, s)
		}
		if n := utf8.RuneCountInString(s); n > most {
			t.Errorf("%s has %d characters, more than %d", what, n, most)
		}
		if again := tidy(s, most, lines); !lines && strings.TrimSpace(s) == s && again != s {
			t.Errorf("%s %q is not tidy: %q", what, s, again)
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && !(lines && (r == '\n' || r == '\t')) || r == 0x7f }) {
			t.Errorf("%s %q has control characters", what, s)
		}
	}
	if len(c.Cases) > MaxCases || len(c.Coverage) > MaxCovered {
		t.Errorf("%d cases and %d files", len(c.Cases), len(c.Coverage))
	}
	size := 0
	for _, one := range c.Cases {
		size += textSize(&one)
		text("name", one.Name, MaxName, false)
		text("prefix", one.Prefix, MaxName, false)
		text("message", one.Message, MaxMessage, true)
		text("file", one.File, MaxName, false)
		switch one.Status {
		case store.CaseSucceeded, store.CaseFailed, store.CaseError, store.CaseSkipped, store.CaseUnknown:
		default:
			t.Errorf("status %q", one.Status)
		}
		if one.Name == "" {
			t.Error("a case has no name")
		}
		if one.Duration < 0 || one.Duration > maxDuration {
			t.Errorf("duration %v", one.Duration)
		}
		if one.File == "" && one.Line != 0 || one.Line < 0 || one.Line > maxLineNumber {
			t.Errorf("place %q:%d", one.File, one.Line)
		}
		if absolute(one.File) || strings.Contains("/"+one.File+"/", "/../") || strings.Contains(one.File, `\`) {
			t.Errorf("file %q is not within the source", one.File)
		}
	}
	if size > MaxText {
		t.Errorf("text of %d bytes", size)
	}
	for i, f := range c.Coverage {
		text("path", f.Path, MaxName, false)
		if f.LinesCovered < 0 || f.LinesMissed < 0 || f.BranchesCovered < 0 || f.BranchesMissed < 0 {
			t.Errorf("coverage %+v", f)
		}
		if i > 0 && c.Coverage[i-1].Path >= f.Path {
			t.Errorf("coverage of %q after %q", f.Path, c.Coverage[i-1].Path)
		}
	}
}

// TestHostile reads files that are made to cost much: none may, and none may break a promise.
func TestHostile(t *testing.T) {
	src := NewSource([]string{root}, nil)
	long := strings.Repeat("é\x1b<&amp;", 1<<18)
	for name, tt := range map[string]struct{ format, text string }{
		"long name":       {"JUNITXML", `<testsuite><testcase name="` + strings.ReplaceAll(long, "<", "(") + `"/></testsuite>`},
		"long message":    {"JUNITXML", `<testsuite><testcase name="a"><failure><![CDATA[` + long + `]]></failure></testcase></testsuite>`},
		"many attributes": {"JUNITXML", `<testsuite ` + strings.Repeat(`a="b" `, 1<<18) + `><testcase name="a"/></testsuite>`},
		"many names":      {"JUNITXML", `<testsuite>` + manyNames(20_000) + `<testcase name="a"/></testsuite>`},
		"many failures":   {"JUNITXML", `<testsuite><testcase name="a">` + strings.Repeat(`<failure message="b"/>`, 1<<16) + `</testcase></testsuite>`},
		"many colons":     {"JUNITXML", `<testsuite><testcase name="a"><failure>` + strings.Repeat("a/b.go:1:", 1<<18) + `</failure></testcase></testsuite>`},
		"long path":       {"JUNITXML", `<testsuite><testcase name="a" file="` + strings.Repeat("a/", 1<<18) + `"/></testsuite>`},
		"long number":     {"JUNITXML", `<testsuite><testcase name="a" time="` + strings.Repeat("9", 1<<18) + `"/></testsuite>`},
		"long reference":  {"JUNITXML", `<testsuite><testcase name="&#` + strings.Repeat("9", 1<<18) + `;&#x110000;&#xd800;&#0;&bomb;"/></testsuite>`},
		"huge counts":     {"CLOVERXML", `<coverage><project><file name="a"><metrics statements="99999999999999999999" coveredstatements="-1" conditionals="1e300" coveredconditionals="NaN"/></file></project></coverage>`},
		"huge lines":      {"COBERTURAXML", `<coverage><packages><class filename="a"><lines><line number="99999999999999" hits="1"/><line number="-1" hits="1"/><line number="2" hits="1" branch="true" condition-coverage="(99999999999/1)"/></lines></class></packages></coverage>`},
		"huge branches":   {"JACOCOXML", `<report><package name=""><sourcefile name=""><line nr="1" mb="2147483647" cb="2147483647"/></sourcefile></package></report>`},
		"long key":        {"SIMPLECOV", `{"coverage": {"` + strings.Repeat("a", 1<<18) + `": {"lines": [1e999, -1, 1]}}}`},
		"long string":     {"CUCUMBERJSON", `[{"name": "` + strings.Repeat(`\ud83d\udd11\ud800x`, 1<<15) + `", "elements": [{"name": "\u0000\u202e", "line": -1e99}]}]`},
		"long line":       {"LCOV", "SF:a\nDA:1,1" + strings.Repeat("1", 1<<18) + "\nBRDA:1," + strings.Repeat(",", 1<<18) + "\nend_of_record"},
		"many records":    {"LCOV", "SF:a\n" + manyLines(50_000) + "end_of_record\n" + strings.Repeat("SF:a\nDA:1,1\nend_of_record\n", 50_000)},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			c, err := Parse(tt.format, "x", strings.NewReader(tt.text), src)
			if err != nil {
				t.Fatal(err)
			}
			check(t, c)
			if len(c.Cases)+len(c.Coverage) == 0 {
				t.Error("Parse found nothing")
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("Parse took %v", took)
			}
		})
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "<n%d a%d='1'/>", i, i)
	}
	return b.String()
}

func manyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "DA:%d,0\n", i+1)
	}
	return b.String()
}

// TestBombs reads the known attacks on readers of XML. What refuses them is that there is no definition to expand.
func TestBombs(t *testing.T) {
	for name, text := range map[string]string{
		"laughs": `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;">` +
			`<!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;">]><testsuite><testcase name="&lol3;"/></testsuite>`,
		"file":      `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite><testcase name="a"><failure>&x;</failure></testcase></testsuite>`,
		"parameter": `<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd" [ %x; ]><testsuite/>`,
	} {
		c, err := Parse("JUNITXML", "x", strings.NewReader(text), nil)
		if err == nil || !strings.Contains(err.Error(), "has a document type definition, which is refused") || len(c.Cases) > 0 {
			t.Errorf("%s: Parse = %+v, %v", name, c, err)
		}
	}
	c := mustParse(t, "JUNITXML", `<!DOCTYPE testsuite SYSTEM "file:///etc/passwd"><testsuite><testcase name="&passwd;"/></testsuite>`, nil)
	if c.Cases[0].Name != "&passwd;" {
		t.Errorf("an entity that nothing defines reads as %q", c.Cases[0].Name)
	}
}

// TestLargeAttribute reads an attribute of 100 MB: it is refused without being held.
func TestLargeAttribute(t *testing.T) {
	r := io.MultiReader(strings.NewReader(`<testsuite><testcase name="`), &repeated{text: "xxxxxxxxxx", n: 10_000_000},
		strings.NewReader(`"/></testsuite>`))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Parse("JUNITXML", "x", r, nil); err == nil || err.Error() != "x: is larger than 50 MiB" {
		t.Errorf("Parse = %v", err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("Parse took %d bytes of memory", n)
	}
}
