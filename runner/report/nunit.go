package report

import (
	"strings"
	"time"

	"buildsmith/store"
)

// nunit2 reads the XML of NUnit 2: test-case elements within suites.
//
//	<test-results>
//	  <test-suite type name><results>
//	    <test-case name executed result time><failure><message/><stack-trace/></failure><reason><message/></reason>
func nunit2(p *parser, x *xmlReader) { p.nunit2Suite(x, "") }

func (p *parser) nunit2Suite(x *xmlReader, path string) {
	x.each(func(name string) {
		switch name {
		case "test-suite":
			below := path
			part := x.attr("name")
			if partOfName(x.attr("type"), part) && len(path)+len(part) < MaxName {
				below = strings.TrimPrefix(path+"."+part, ".")
			}
			p.nunit2Suite(x, below)
		case "results":
			p.nunit2Suite(x, path)
		case "test-case":
			p.nunit2Case(x, path)
		}
	})
}

// partOfName reports whether a suite of NUnit 2 is a part of the names of its cases: a namespace or a fixture, not an
// assembly or the cases of one method.
func partOfName(kind, name string) bool {
	switch kind {
	case "Assembly", "Project", "Test Project", "ParameterizedTest", "ParameterizedMethod", "GenericMethod", "Theory":
		return false
	}
	lower := strings.ToLower(name)
	return name != "" && !strings.ContainsAny(name, `/\`) && !strings.HasSuffix(lower, ".dll") &&
		!strings.HasSuffix(lower, ".exe") && !strings.HasSuffix(lower, ".nunit")
}

func (p *parser) nunit2Case(x *xmlReader, path string) {
	c := store.TestCase{Name: x.attr("name"), Prefix: path, Duration: seconds(x.attr("time"))}
	c.Name = strings.TrimPrefix(c.Name, path+".")
	result, success, executed := x.attr("result"), x.attr("success"), x.attr("executed")
	if result == "" { // before NUnit 2.5
		switch {
		case strings.EqualFold(executed, "false"):
			result = "Ignored"
		case strings.EqualFold(success, "true"):
			result = "Success"
		case strings.EqualFold(success, "false"):
			result = "Failure"
		}
	}
	switch result {
	case "Success":
		c.Status = store.CaseSucceeded
	case "Failure":
		c.Status = store.CaseFailed
	case "Error", "Cancelled":
		c.Status = store.CaseError
	case "Ignored", "Skipped", "NotRunnable":
		c.Status = store.CaseSkipped
	default:
		c.Status = store.CaseUnknown
	}
	p.nunitCase(x, c)
}

// nunit3 reads the XML of NUnit 3: test-case elements at any depth of test-suite elements.
//
//	<test-run>
//	  <test-suite>
//	    <test-case name fullname classname result label duration><failure><message/><stack-trace/></failure>
func nunit3(p *parser, x *xmlReader) {
	x.each(func(name string) {
		switch name {
		case "test-suite":
			nunit3(p, x)
		case "test-case":
			p.nunit3Case(x)
		}
	})
}

func (p *parser) nunit3Case(x *xmlReader) {
	c := store.TestCase{Name: x.attr("name"), Prefix: x.attr("classname"), Duration: seconds(x.attr("duration"))}
	// The full name tells the arguments of a fixture, which the class does not.
	if full := x.attr("fullname"); full != "" {
		if rest, ok := strings.CutPrefix(full, c.Prefix+"."); ok && c.Prefix != "" {
			c.Name = rest
		} else if fixture, ok := strings.CutSuffix(full, "."+c.Name); ok && c.Name != "" {
			c.Prefix = fixture
		} else {
			c.Name, c.Prefix = full, ""
		}
	}
	label := x.attr("label")
	switch x.attr("result") {
	case "Passed", "Warning":
		c.Status = store.CaseSucceeded
	case "Failed":
		c.Status = store.CaseFailed
		switch label {
		case "Error", "Invalid", "Cancelled":
			c.Status = store.CaseError
		}
	case "Skipped":
		c.Status = store.CaseSkipped
	default:
		c.Status = store.CaseUnknown
	}
	p.nunitCase(x, c)
}

// nunitCase reads what both versions have in a case.
func (p *parser) nunitCase(x *xmlReader, c store.TestCase) {
	var message, stack string
	x.each(func(name string) {
		switch name {
		case "failure", "reason":
			x.each(func(name string) {
				switch name {
				case "message":
					message = x.textOf()
				case "stack-trace":
					stack = x.textOf()
				}
			})
		}
	})
	if c.Status != store.CaseSucceeded {
		c.Message = message
	}
	c.File, c.Line = p.located("", 0, stack, c.Prefix)
	p.add(c)
}

// testng reads testng-results.xml. A method that configures a test is a case only if it failed: the tests it was to
// prepare are skipped then, and nothing else would tell.
//
//	<testng-results><suite><test>
//	  <class name>
//	    <test-method name status duration-ms is-config><exception><message/><full-stacktrace/></exception>
func testng(p *parser, x *xmlReader) { p.testngClass(x, "") }

func (p *parser) testngClass(x *xmlReader, class string) {
	x.each(func(name string) {
		switch name {
		case "suite", "test":
			p.testngClass(x, class)
		case "class":
			p.testngClass(x, x.attr("name"))
		case "test-method":
			p.testngMethod(x, class)
		}
	})
}

func (p *parser) testngMethod(x *xmlReader, class string) {
	c := store.TestCase{Name: x.attr("name"), Prefix: class}
	c.Duration = spent(decimal(x.attr("duration-ms")), time.Millisecond)
	config := strings.EqualFold(x.attr("is-config"), "true")
	switch strings.ToUpper(x.attr("status")) {
	case "PASS":
		c.Status = store.CaseSucceeded
	case "FAIL":
		c.Status = store.CaseFailed
		if config {
			c.Status = store.CaseError
		}
	case "SKIP":
		c.Status = store.CaseSkipped
	default:
		c.Status = store.CaseUnknown
	}
	if config && !c.Failed() {
		return
	}
	var message, stack, exception string
	x.each(func(name string) {
		if name != "exception" {
			return
		}
		exception = x.attr("class")
		x.each(func(name string) {
			switch name {
			case "message":
				message = x.textOf()
			case "full-stacktrace", "short-stacktrace":
				stack = x.textOf()
			}
		})
	})
	if c.Status != store.CaseSucceeded {
		// The message stands indented in a line of its own.
		if c.Message = strings.TrimSpace(message); c.Message == "" {
			c.Message = exception
		}
	}
	if c.Failed() {
		c.File, c.Line = p.located("", 0, stack, class)
	}
	p.add(c)
}
