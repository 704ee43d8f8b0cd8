// Package report reads the files that test and coverage tools write, and makes the reports of a build of them.
//
// A report group of a buildspec names files of one format. Parse reads one file to a Content: the cases of a test
// format, or the covered source files of a coverage format. A Builder merges the contents of a
// group to the store.Report that is kept; Summarize and Compare make what a build shows of it.
//
// The files come out of a build and are hostile until read: every reader here takes its file as a stream, through
// readers of XML and JSON that keep no more of an element than a bounded part of its attributes and text, whatever the
// file holds. The readers of the standard library hold a whole attribute, text or list of attributes in memory, many
// times the size of the file in the worst case. Nothing outside the file is ever read, and what a document type
// declares is refused.
//
// All strings that leave the package are valid UTF-8 without control characters (messages have line ends and tabs) and
// have bounded lengths; they are not escaped for HTML.
package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"buildsmith/store"
)

// Limits of what is read and kept.
const (
	MaxFile     = 50 << 20 // bytes of one file
	MaxCases    = 200_000  // cases of one report, those that failed kept first
	MaxText     = 64 << 20 // bytes of all names and messages of one report, likewise
	MaxCovered  = 50_000   // source files of one coverage report
	MaxName     = 1_000    // characters of a name, a prefix, a path and a problem
	MaxMessage  = 5_000    // characters of a message
	maxDepth    = 200      // elements, objects or lists within each other
	maxValue    = 64 << 10 // bytes of an attribute or text that are looked at
	maxLines    = 16 << 20 // lines of source that the coverage files of one report tell of singly
	maxBranches = 4 << 20  // branches likewise
)

// A Content is what one file says: cases or covered files, as its format is.
type Content struct {
	Cases    []store.TestCase
	Coverage []store.FileCoverage
	Dropped  int // cases or covered files beyond MaxCases, MaxText or MaxCovered

	// records has, for each element of Coverage, the lines and branches it was counted from. They are what lets a
	// Builder count a source file that several files speak of by its lines, instead of taking the best of the files.
	records []*record
}

// A format is how one format of the buildspec is read; it has one of xml, json and text.
type format struct {
	kind  string // store.ReportTest or store.ReportCoverage
	title string // in sentences
	roots []string
	xml   func(*parser, *xmlReader)
	json  func(*parser, *jsonReader)
	text  func(*parser) error
}

// formatOf is the reader of a format; the name is that of the buildspec, in any case.
func formatOf(name string) (f format, ok bool) {
	const test, coverage = store.ReportTest, store.ReportCoverage
	switch strings.ToUpper(name) {
	case "JUNITXML":
		f = format{kind: test, title: "JUnit XML", roots: []string{"testsuites", "testsuite", "testrun"}, xml: junit}
	case "NUNITXML":
		f = format{kind: test, title: "NUnit 2 XML", roots: []string{"test-results"}, xml: nunit2}
	case "NUNIT3XML":
		f = format{kind: test, title: "NUnit 3 XML", roots: []string{"test-run"}, xml: nunit3}
	case "TESTNGXML":
		f = format{kind: test, title: "TestNG XML", roots: []string{"testng-results"}, xml: testng}
	case "VISUALSTUDIOTRX":
		f = format{kind: test, title: "Visual Studio TRX", roots: []string{"TestRun"}, xml: trx}
	case "CUCUMBERJSON":
		f = format{kind: test, title: "Cucumber JSON", json: cucumber}
	case "CLOVERXML":
		f = format{kind: coverage, title: "Clover XML", roots: []string{"coverage"}, xml: clover}
	case "COBERTURAXML":
		f = format{kind: coverage, title: "Cobertura XML", roots: []string{"coverage"}, xml: cobertura}
	case "JACOCOXML":
		f = format{kind: coverage, title: "JaCoCo XML", roots: []string{"report"}, xml: jacoco}
	case "SIMPLECOV":
		f = format{kind: coverage, title: "SimpleCov result", json: simplecov}
	case "LCOV", "LCOVINFO":
		f = format{kind: coverage, title: "LCOV", text: lcov}
	default:
		return f, false
	}
	return f, true
}

// formatOfRoot is the format whose files have the root element, "" if it is none or more than one.
func formatOfRoot(root string) string {
	switch root {
	case "testsuites", "testsuite", "testrun":
		return "JUNITXML"
	case "test-results":
		return "NUNITXML"
	case "test-run":
		return "NUNIT3XML"
	case "testng-results":
		return "TESTNGXML"
	case "TestRun":
		return "VISUALSTUDIOTRX"
	case "report":
		return "JACOCOXML"
	}
	return ""
}

// Type is the type of the reports of a format: store.ReportTest, store.ReportCoverage, or "" if there is no such format.
func Type(format string) string {
	f, _ := formatOf(format)
	return f.kind
}

// A problem is what is wrong with a file, in words for the author of the build.
type problem struct {
	line int // 0 if it is about the whole file
	text string
}

func (p *problem) Error() string { return p.text }

// A parser is one call of Parse.
type parser struct {
	src   *Source
	in    *input
	cases caseList
	files fileList

	stopped func() bool // whether reading ended with an error, so that what was being read is not whole
}

// add adds a case, unless it is not whole: what would tell that it failed may be missing.
func (p *parser) add(c store.TestCase) {
	if !p.stopped() {
		p.cases.add(c)
	}
}

// addFile adds the coverage of a source file, unless it is not whole.
func (p *parser) addFile(r *record) {
	if !p.stopped() {
		p.files.add(r)
	}
}

// Parse reads a file of a format, as the buildspec calls it. The name is the file's for the error, which says what is
// wrong with the file in a sentence for the author of the build and begins with the name and, where it is known, the
// line. src, which may be nil, tells which of the paths in the file are those of the source.
//
// With an error the Content is what stands whole before it.
func Parse(format, name string, r io.Reader, src *Source) (Content, error) {
	f, ok := formatOf(format)
	if !ok {
		return Content{}, fmt.Errorf("%s: %q is no format of reports", tidyName(name), tidyName(format))
	}
	p := &parser{src: src}
	err := p.parse(f, r)
	p.cases.trim()
	c := Content{Cases: p.cases.list, Dropped: p.cases.dropped + p.files.dropped}
	c.Coverage, c.records = p.files.counted()
	return c, named(tidyName(name), err)
}

// named is an error with the name of its file and, if it is a problem in it, the line.
func named(name string, err error) error {
	var wrong *problem
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &wrong):
		return fmt.Errorf("%s: cannot be read: %w", name, err)
	case wrong.line > 0:
		return fmt.Errorf("%s:%d: %s", name, wrong.line, tidyName(wrong.text))
	}
	return fmt.Errorf("%s: %s", name, tidyName(wrong.text))
}

func (p *parser) parse(f format, r io.Reader) error {
	var err error
	if p.in, err = newInput(r, f.xml != nil); err != nil {
		return err
	}
	switch {
	case f.xml != nil:
		return p.parseXML(f)
	case f.json != nil:
		return p.parseJSON(f)
	}
	return f.text(p)
}

func (p *parser) parseXML(f format) error {
	x := newXMLReader(p.in)
	if !x.next() {
		return x.err
	}
	if !slices.Contains(f.roots, x.name) {
		of := ""
		if other := formatOfRoot(x.name); other != "" {
			of = ", as " + other + " has it"
		}
		return &problem{text: fmt.Sprintf("no %s: the root element is <%s>%s", f.title, short(x.name), of)}
	}
	p.files.fail = x.fail
	p.stopped = func() bool { return x.err != nil }
	f.xml(p, x)
	for x.next() {
		// What the format's reader left, to the end: the file may be cut off there.
	}
	return x.err
}

func (p *parser) parseJSON(f format) error {
	j := newJSONReader(p.in)
	p.files.fail = j.fail
	p.stopped = func() bool { return j.err != nil }
	f.json(p, j)
	j.finish()
	return j.err
}
