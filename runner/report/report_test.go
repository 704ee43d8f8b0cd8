package report

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"buildsmith/store"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// root is where the source lay for the tools that wrote the samples.
const root = "/codebuild/output/src123/src"

// samples are the files of testdata by format.
var samples = []struct{ file, format string }{
	{"junit-pytest.xml", "JUNITXML"},
	{"junit-pytest-xunit1.xml", "JUNITXML"},
	{"junit-surefire.xml", "JUNITXML"},
	{"junit-gradle.xml", "JUNITXML"},
	{"junit-jest.xml", "JUNITXML"},
	{"junit-vitest.xml", "JUNITXML"},
	{"junit-go.xml", "JUNITXML"},
	{"junit-phpunit.xml", "JUNITXML"},
	{"junit-mocha.xml", "JUNITXML"},
	{"junit-rspec.xml", "JUNITXML"},
	{"junit-gtest.xml", "JUNITXML"},
	{"nunit2.xml", "NUNITXML"},
	{"nunit24.xml", "NUNITXML"},
	{"nunit3.xml", "NUNIT3XML"},
	{"testng.xml", "TESTNGXML"},
	{"vstest.trx", "VISUALSTUDIOTRX"},
	{"cucumber-js.json", "CUCUMBERJSON"},
	{"cucumber-ruby.json", "CUCUMBERJSON"},
	{"cucumber-jvm.json", "CUCUMBERJSON"},
	{"clover-phpunit.xml", "CLOVERXML"},
	{"clover-istanbul.xml", "CLOVERXML"},
	{"cobertura-coveragepy.xml", "COBERTURAXML"},
	{"cobertura-java.xml", "COBERTURAXML"},
	{"jacoco-maven.xml", "JACOCOXML"},
	{"simplecov-resultset.json", "SIMPLECOV"},
	{"simplecov-old.json", "SIMPLECOV"},
	{"simplecov-coverage.json", "SIMPLECOV"},
	{"lcov-geninfo.info", "LCOV"},
	{"lcov-istanbul.info", "LCOVINFO"},
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// show writes a content for people.
func show(c Content) string {
	var b strings.Builder
	for _, one := range c.Cases {
		fmt.Fprintf(&b, "%s [%s] [%s] %v", one.Status, one.Prefix, one.Name, one.Duration)
		if one.File != "" {
			fmt.Fprintf(&b, " %s:%d", one.File, one.Line)
		}
		b.WriteString("\n")
		if one.Message != "" {
			b.WriteString("\t" + strings.ReplaceAll(one.Message, "\n", "\n\t") + "\n")
		}
	}
	for _, f := range c.Coverage {
		fmt.Fprintf(&b, "%s lines %d+%d branches %d+%d\n", f.Path, f.LinesCovered, f.LinesMissed, f.BranchesCovered, f.BranchesMissed)
	}
	return b.String()
}

func TestSamples(t *testing.T) {
	src := NewSource([]string{root}, nil)
	for _, tt := range samples {
		t.Run(tt.file, func(t *testing.T) {
			text := sample(t, tt.file)
			c, err := Parse(tt.format, tt.file, bytes.NewReader(text), src)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", tt.file+".golden")
			got := show(c)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("Parse read\n%s\nwant\n%s", got, want)
			}
			// The windows of a slow reader end anywhere.
			slow, err := Parse(tt.format, tt.file, iotest.OneByteReader(bytes.NewReader(text)), src)
			if err != nil || show(slow) != got {
				t.Errorf("byte by byte Parse read\n%s, %v\nwant\n%s", show(slow), err, got)
			}
		})
	}
}

// TestSamplesCutOff cuts the samples in many places: no part of one passes for the whole.
func TestSamplesCutOff(t *testing.T) {
	for _, tt := range samples {
		text := bytes.TrimRight(sample(t, tt.file), "\n")
		for n := 0; n < len(text); n += 1 + len(text)/400 {
			_, err := Parse(tt.format, "x", bytes.NewReader(text[:n]), nil)
			if err == nil && tt.format != "LCOV" && tt.format != "LCOVINFO" {
				t.Fatalf("%s: Parse took the first %d bytes of %d", tt.file, n, len(text))
			}
			if err != nil && n > 20 && !strings.Contains(err.Error(), "in the middle") && !strings.Contains(err.Error(), "no LCOV") &&
				!strings.Contains(err.Error(), "is no ") {
				t.Fatalf("%s: the error of the first %d bytes is %q", tt.file, n, err)
			}
		}
	}
}

func TestType(t *testing.T) {
	for format, want := range map[string]string{
		"JUNITXML": store.ReportTest, "NUNITXML": store.ReportTest, "NUNIT3XML": store.ReportTest, "TESTNGXML": store.ReportTest,
		"VISUALSTUDIOTRX": store.ReportTest, "CUCUMBERJSON": store.ReportTest, "CLOVERXML": store.ReportCoverage,
		"COBERTURAXML": store.ReportCoverage, "JACOCOXML": store.ReportCoverage, "SIMPLECOV": store.ReportCoverage,
		"LCOV": store.ReportCoverage, "LCOVINFO": store.ReportCoverage, "junitxml": store.ReportTest, "": "", "XML": "",
	} {
		if got := Type(format); got != want {
			t.Errorf("Type(%q) = %q, want %q", format, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	deep := func(open string, n int) string { return strings.Repeat(open, n) }
	for _, tt := range []struct{ name, format, text, want string }{
		{"format", "JUNIT", "", `x: "JUNIT" is no format of reports`},
		{"empty", "JUNITXML", "", `x: is empty`},
		{"blank", "LCOV", " \n\n", `x: is empty`},
		{"mark alone", "JUNITXML", "\xef\xbb\xbf", `x: is empty`},
		{"no XML", "JUNITXML", "\nOK: 12 tests\n", `x:2: is no XML: it has "OK: 12 tests" before the first element`},
		{"HTML", "JUNITXML", "<!DOCTYPE html>\n<html></html>", `x: no JUnit XML: the root element is <html>`},
		{"other format", "JUNITXML", "<test-run/>", `x: no JUnit XML: the root element is <test-run>, as NUNIT3XML has it`},
		{"other format", "NUNITXML", "<testsuites/>", `x: no NUnit 2 XML: the root element is <testsuites>, as JUNITXML has it`},
		{"other format", "NUNIT3XML", "<test-results/>", `x: no NUnit 3 XML: the root element is <test-results>, as NUNITXML has it`},
		{"other format", "TESTNGXML", "<testsuite/>", `x: no TestNG XML: the root element is <testsuite>, as JUNITXML has it`},
		{"other format", "VISUALSTUDIOTRX", "<testng-results/>",
			`x: no Visual Studio TRX: the root element is <testng-results>, as TESTNGXML has it`},
		{"other format", "COBERTURAXML", "<report/>", `x: no Cobertura XML: the root element is <report>, as JACOCOXML has it`},
		{"other format", "JACOCOXML", "<TestRun/>", `x: no JaCoCo XML: the root element is <TestRun>, as VISUALSTUDIOTRX has it`},
		{"Cobertura as Clover", "CLOVERXML", "<coverage>\n<packages/></coverage>",
			`x:2: no Clover XML: <coverage> has <packages>, as COBERTURAXML has it`},
		{"Clover as Cobertura", "COBERTURAXML", "<coverage><project/></coverage>",
			`x:1: no Cobertura XML: <coverage> has <project>, as CLOVERXML has it`},
		{"bare coverage", "CLOVERXML", "<coverage/>", `x:1: no Clover XML: there is no <project>`},
		{"bare coverage", "COBERTURAXML", "<coverage/>", `x:1: no Cobertura XML: there is no <packages>`},
		{"cut off", "JUNITXML", "<testsuite>\n<testcase>\n", `x:3: ends in the middle: <testcase> of line 2 is not closed`},
		{"cut off in a tag", "JUNITXML", "<testsuite>\n<testcase name=\"a", `x:2: ends in the middle: <testcase> of line 2 is not closed`},
		{"cut off in a comment", "JUNITXML", "<testsuite><!-- ", `x:1: ends in the middle: <testsuite> of line 1 is not closed`},
		{"cut off before the root", "JUNITXML", "<?xml version='1.0'?>\n", `x:2: ends in the middle`},
		{"cut off in the name", "JUNITXML", "<testsu", `x:1: ends in the middle`},
		{"definition", "JUNITXML", "<?xml version=\"1.0\"?>\n<!DOCTYPE a [\n<!ENTITY b \"c\">]><testsuite/>",
			`x:2: has a document type definition, which is refused`},
		{"definition and id", "JACOCOXML", `<!DOCTYPE report PUBLIC "-//[" "report.dtd" []><report/>`,
			`x:1: has a document type definition, which is refused`},
		{"late declaration", "JUNITXML", `<testsuite><!DOCTYPE x></testsuite>`,
			`x:1: has a document type declaration after its root element began`},
		{"declaration of an element", "JUNITXML", `<testsuite><!ELEMENT x></testsuite>`,
			`x:1: has a <! that begins neither a comment nor CDATA`},
		{"deep", "JUNITXML", deep("<testsuite>", 1_000_000), `x:1: has more than 200 elements within each other`},
		{"wrong end", "JUNITXML", "<testsuite>\n<testcase>\n</testsuite>", `x:3: has </testsuite> where </testcase> should close line 2`},
		{"end alone", "JUNITXML", "</testsuite>", `x:1: has </testsuite> without a beginning`},
		{"end with more", "JUNITXML", "<testsuite></testsuite x>", `x:1: has "x" within the tag </testsuite>`},
		{"second root", "JUNITXML", "<testsuite/>\n<testsuite/>", `x:2: has a second root element, <testsuite>`},
		{"text behind", "JUNITXML", "<testsuite/>\nBUILD FAILED", `x:2: has text after the end of its root element: "BUILD FAILED"`},
		{"CDATA outside", "JUNITXML", "<![CDATA[x]]><testsuite/>", `x:1: has text outside its root element`},
		{"less than", "JUNITXML", "<testsuite>1 < 2</testsuite>", `x:1: has a < that no name follows`},
		{"bare attribute", "JUNITXML", "<testsuite hidden></testsuite>", `x:1: has the attribute "hidden" without a value in <testsuite>`},
		{"bare value", "JUNITXML", "<testsuite tests=1></testsuite>", `x:1: has the attribute "tests" without quotes in <testsuite>`},
		{"stray quote", "JUNITXML", `<testsuite name="a""></testsuite>`, `x:1: has "\"" within the tag <testsuite>`},
		{"long name", "JUNITXML", "<" + deep("a", 300) + "/>", `x:1: has a name of more than 256 bytes in a tag`},
		{"encoding", "JUNITXML", `<?xml version="1.0" encoding="Shift_JIS"?><testsuite/>`,
			`x: is encoded in "Shift_JIS"; UTF-8, UTF-16, ISO-8859-1 and windows-1252 can be read`},

		{"no JSON", "CUCUMBERJSON", "<html>", `x:1: is no JSON: "<html>" is not expected here`},
		{"object", "CUCUMBERJSON", "{}",
			`x:1: no Cucumber JSON: it is an object, not a list of features; what the message formatter writes is not read`},
		{"JSON cut off", "CUCUMBERJSON", "[{\"name\":\n\"a", `x:2: ends in the middle`},
		{"JSON comma", "CUCUMBERJSON", "[{},]", `x:1: is no JSON: "]" is not expected here`},
		{"JSON key", "CUCUMBERJSON", "[{name: 1}]", `x:1: is no JSON: "name: 1}]" is not expected here`},
		{"JSON colon", "CUCUMBERJSON", `[{"name" 1}]`, `x:1: is no JSON: "1}]" is not expected here`},
		{"JSON word", "CUCUMBERJSON", `[nil]`, `x:1: is no JSON: "nil]" is not expected here`},
		{"JSON number", "CUCUMBERJSON", `[1-2]`, `x:1: is no JSON: "1-2" is no number`},
		{"JSON escape", "CUCUMBERJSON", `["\x"]`, `x:1: is no JSON: "\\x\"]" is not expected here`},
		{"JSON code unit", "CUCUMBERJSON", `["\u12g4"]`, `x:1: is no JSON: "\\u12g4\"]" is not expected here`},
		{"JSON behind", "CUCUMBERJSON", "[]\n[]", `x:2: has text after the end of its JSON: "[]"`},
		{"JSON deep", "CUCUMBERJSON", deep("[", 1_000_000), `x:1: has more than 200 objects and lists within each other`},
		{"list", "SIMPLECOV", "[]", `x:1: no SimpleCov result: it is a list, not an object`},
		{"word", "SIMPLECOV", "nothing", `x:1: is no JSON: "nothing" is not expected here`},
		{"no coverage", "SIMPLECOV", `{"result": {"line": 92.4}}`, `x:1: no SimpleCov result: there is no "coverage" in it`},
		{"gem", "SIMPLECOV", `{"timestamp": 1, "files": [{"filename": "a.rb", "coverage": {"lines": [1]}}]}`,
			`x:1: no SimpleCov result: the format of the simplecov-json gem is not read; use .resultset.json or the JSON formatter of SimpleCov itself`},

		{"no LCOV", "LCOV", "TN:\nmode: set\n", `x:2: no LCOV: "mode: set" is no record of it`},
		{"LCOV end", "LCOV", "end_of_record\n", `x:1: has an end_of_record without SF`},
		{"LCOV open", "LCOV", "SF:a\nSF:b\n", `x:2: has a second SF before the end_of_record of "a"`},
		{"LCOV cut off", "LCOV", "TN:\nSF:a\nDA:1,1\n", `x:4: ends in the middle: the record of line 2 has no end_of_record`},
	} {
		t.Run(tt.format+" "+tt.name, func(t *testing.T) {
			_, err := Parse(tt.format, "x", strings.NewReader(tt.text), nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("Parse(%q, %.80q) = %v, want %s", tt.format, tt.text, err, tt.want)
			}
		})
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("the disk is gone")
	for format, text := range map[string]string{"JUNITXML": "<testsuite>", "CUCUMBERJSON": "[", "SIMPLECOV": "{}", "LCOV": "SF:a\n"} {
		for _, head := range []string{"", text} {
			r := io.MultiReader(strings.NewReader(head), iotest.ErrReader(broken))
			_, err := Parse(format, "x", r, nil)
			if !errors.Is(err, broken) || err.Error() != "x: cannot be read: the disk is gone" {
				t.Errorf("Parse(%q) of a broken file after %q = %v", format, head, err)
			}
		}
	}
}

func mustParse(t testing.TB, format, text string, src *Source) Content {
	t.Helper()
	c, err := Parse(format, "x", strings.NewReader(text), src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPartial reads what stands before an error.
func TestPartial(t *testing.T) {
	c, err := Parse("JUNITXML", "x", strings.NewReader(`<testsuite><testcase name="a"/><testcase name="b"`), nil)
	if err == nil || len(c.Cases) != 1 || c.Cases[0].Name != "a" {
		t.Errorf("Parse of a file that is cut off = %+v, %v, want a", c, err)
	}
	c, err = Parse("JUNITXML", "x", strings.NewReader(`<testsuite><testcase name="a"/><testcase name="b">`), nil)
	if err == nil || len(c.Cases) != 1 {
		t.Errorf("Parse took a case that is cut off: %+v, %v", c, err)
	}
	c, err = Parse("CUCUMBERJSON", "x", strings.NewReader(`[{"elements": [{"name": "a"}, {"name": "b"`), nil)
	if err == nil || len(c.Cases) != 1 {
		t.Errorf("Parse took a scenario that is cut off: %+v, %v", c, err)
	}
	c, err = Parse("COBERTURAXML", "x", strings.NewReader(`<coverage><packages><class filename="a"><lines><line number="1"/>`), nil)
	if err == nil || len(c.Coverage) != 0 {
		t.Errorf("Parse took a source file that is cut off: %+v, %v", c, err)
	}
	c, err = Parse("LCOV", "x", strings.NewReader("SF:a\nDA:1,1\nend_of_record\nSF:b\n"), nil)
	if err == nil || len(c.Coverage) != 1 || c.Coverage[0].LinesCovered != 1 {
		t.Errorf("Parse of a file that is cut off = %+v, %v, want a", c, err)
	}
}

func TestEncodings(t *testing.T) {
	utf16 := func(s string, big bool) string {
		var b strings.Builder
		for _, r := range s {
			units := []rune{r}
			if r > 0xffff {
				units = []rune{0xd800 + (r-0x10000)>>10, 0xdc00 + (r-0x10000)&0x3ff}
			}
			for _, u := range units {
				if big {
					b.WriteByte(byte(u >> 8))
				}
				b.WriteByte(byte(u))
				if !big {
					b.WriteByte(byte(u >> 8))
				}
			}
		}
		return b.String()
	}
	const plain = `<testsuite><testcase name="Größe € 🔑"/></testsuite>`
	for name, tt := range map[string]struct{ text, want string }{
		"UTF-8":             {plain, "Größe € 🔑"},
		"UTF-8 with mark":   {"\xef\xbb\xbf" + plain, "Größe € 🔑"},
		"declared UTF-8":    {`<?xml version="1.0" encoding="UTF-8"?>` + plain, "Größe € 🔑"},
		"wrongly UTF-16":    {`<?xml version="1.0" encoding="utf-16"?>` + plain, "Größe € 🔑"},
		"UTF-16 LE":         {"\xff\xfe" + utf16(`<?xml version="1.0" encoding="utf-16"?>`+plain, false), "Größe € 🔑"},
		"UTF-16 BE":         {"\xfe\xff" + utf16(plain, true), "Größe € 🔑"},
		"UTF-16 LE no mark": {utf16(plain, false), "Größe € 🔑"},
		"UTF-16 BE no mark": {utf16(plain, true), "Größe € 🔑"},
		"ISO-8859-1":        {"<?xml version='1.0' encoding='ISO-8859-1'?><testsuite><testcase name='Gr\xf6\xdfe'/></testsuite>", "Größe"},
		"windows-1252":      {"<?xml version='1.0' encoding='Windows-1252'?><testsuite><testcase name='\x80 \x9f'/></testsuite>", "€ Ÿ"},
		"ISO-8859-15":       {"<?xml version='1.0' encoding='iso-8859-15'?><testsuite><testcase name='\xa4\xa6\xa8\xb4\xb8\xbc\xbd\xbe\xe4'/></testsuite>", "€ŠšŽžŒœŸä"},
		"not UTF-8":         {"<testsuite><testcase name='Gr\xf6\xdfe'/></testsuite>", "Gr\ufffd\ufffde"},
		"halves of pairs":   {"\xfe\xff" + utf16("<testsuite><testcase name='a", true) + "\xdc\x00\xd8\x00\x00b" + utf16("'/></testsuite>", true), "a\ufffd\ufffdb"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.text), iotest.OneByteReader(strings.NewReader(tt.text))} {
				c, err := Parse("JUNITXML", "x", r, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(c.Cases) != 1 || c.Cases[0].Name != tt.want {
					t.Errorf("Parse read %+v, want the name %q", c.Cases, tt.want)
				}
			}
		})
	}
	c := mustParse(t, "CUCUMBERJSON", "\xff\xfe"+utf16(`[{"name": "€", "elements": [{"name": "a"}]}]`, false), nil)
	if len(c.Cases) != 1 || c.Cases[0].Prefix != "€" {
		t.Errorf("Parse of JSON in UTF-16 read %+v", c.Cases)
	}
	if _, err := Parse("JUNITXML", "x", strings.NewReader("\xff\xfe<\x00a"), nil); err == nil {
		t.Error("Parse took half a code unit")
	}
}
