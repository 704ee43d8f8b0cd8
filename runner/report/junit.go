package report

import (
	"strings"

	"buildsmith/store"
)

// A junitSuite is what the cases in a testsuite take from it.
type junitSuite struct {
	name   string
	file   string
	pytest bool
}

// junit reads JUnit XML: testcase elements at any depth of testsuites and testsuite elements.
//
//	<testsuite name file>
//	  <testcase name classname time file line>
//	    <failure|error|skipped message>text</…>
func junit(p *parser, x *xmlReader) { p.junitSuite(x, junitSuite{}) }

func (p *parser) junitSuite(x *xmlReader, s junitSuite) {
	if name := x.attr("name"); name != "" {
		s.name = name
		s.pytest = name == "pytest"
	}
	if file := junitFile(x); file != "" {
		s.file = file
	}
	x.each(func(name string) {
		switch name {
		case "testsuites", "testsuite":
			p.junitSuite(x, s)
		case "testcase":
			p.junitCase(x, s)
		}
	})
}

func junitFile(x *xmlReader) string {
	if file := x.attr("file"); file != "" {
		return file
	}
	return x.attr("filepath")
}

func (p *parser) junitCase(x *xmlReader, s junitSuite) {
	c := store.TestCase{
		Name:     x.attr("name"),
		Prefix:   x.attr("classname"),
		Status:   store.CaseSucceeded,
		Duration: seconds(x.attr("time")),
	}
	if c.Prefix == "" {
		c.Prefix = x.attr("class")
	}
	if c.Prefix == "" {
		c.Prefix = s.name
	}
	if c.Prefix == c.Name {
		c.Prefix = "" // jest-junit by default writes the same in both
	}
	// GoogleTest tells only by attributes what did not run.
	for _, how := range []string{x.attr("status"), x.attr("result")} {
		switch strings.ToLower(how) {
		case "notrun", "skipped", "suppressed", "disabled", "ignored":
			c.Status = store.CaseSkipped
		}
	}
	file, line := junitFile(x), lineNumber(x.attr("line"))
	switch {
	case file == "":
		file, line = s.file, 0
	case s.pytest && x.attr("line") != "":
		line++ // pytest counts from 0
	}
	var text string
	x.each(func(name string) {
		message := x.attr("message")
		switch name {
		case "failure", "error":
			if c.Failed() {
				return // the first one counts
			}
			c.Status = store.CaseFailed
			if name == "error" {
				c.Status = store.CaseError
			}
			text = x.textOf()
			c.Message = junitMessage(message, text)
			text = message + "\n" + text
		case "skipped":
			if !c.Failed() {
				c.Status = store.CaseSkipped
				c.Message = junitMessage(message, x.textOf())
			}
		}
	})
	c.File, c.Line = p.located(file, line, text, c.Prefix)
	p.add(c)
}

// junitMessage is the message of a case: the attribute, unless it says no more than the status does.
func junitMessage(message, text string) string {
	switch strings.ToLower(strings.TrimSpace(message)) {
	case "", "failed", "failure", "error", "test failed", "skipped":
		if strings.TrimSpace(text) != "" {
			return text
		}
	}
	return message
}

// located is the place of a case: the file and line that the format tells, or the first place in the text of a failure.
// The line of the failure is closer than that of the case if both are in one file.
func (p *parser) located(file string, line int, text, hint string) (string, int) {
	if file = p.src.file(file, hint); file == "" {
		line = 0
	}
	if text == "" {
		return file, line
	}
	found, at := p.src.find(text, hint, file)
	if found != "" {
		return found, at
	}
	return file, line
}
