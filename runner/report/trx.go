package report

import (
	"strings"

	"buildsmith/store"
)

// trx reads the results of vstest and mstest. The classes of the tests stand behind the results; until they are read a
// case has the id of its test for a prefix.
//
//	<TestRun>
//	  <Results>
//	    <UnitTestResult testId testName outcome duration>
//	      <Output><ErrorInfo><Message/><StackTrace/></ErrorInfo></Output>
//	      <InnerResults><UnitTestResult/></InnerResults>
//	  <TestDefinitions>
//	    <UnitTest id><TestMethod className name/></UnitTest>
func trx(p *parser, x *xmlReader) {
	classes := make(map[string]string)
	x.each(func(name string) {
		switch name {
		case "Results":
			p.trxResults(x)
		case "TestDefinitions":
			x.each(func(string) {
				id := tidyName(x.attr("id"))
				x.each(func(name string) {
					if name == "TestMethod" && len(classes) < 2*MaxCases {
						// Old versions write the name of the assembly behind that of the class.
						class, _, _ := strings.Cut(x.attr("className"), ",")
						classes[id] = tidyName(class)
					}
				})
			})
		}
	})
	for i := range p.cases.list {
		c := &p.cases.list[i]
		p.cases.size -= textSize(c)
		c.Prefix = classes[c.Prefix]
		if name, ok := strings.CutPrefix(c.Name, c.Prefix+"."); ok && c.Prefix != "" && name != "" {
			c.Name = name
		}
		p.cases.size += textSize(c)
	}
}

// trxResults reads the results in an element and returns their number.
func (p *parser) trxResults(x *xmlReader) int {
	n := 0
	x.each(func(name string) {
		switch name {
		case "UnitTestResult":
			p.trxResult(x)
			n++
		case "TestResultAggregation", "InnerResults": // ordered tests
			n += p.trxResults(x)
		}
	})
	return n
}

// trxResult reads a result. One with inner results, those of the rows of data, is a case only if it has none.
func (p *parser) trxResult(x *xmlReader) {
	c := store.TestCase{Name: x.attr("testName"), Prefix: x.attr("testId"), Duration: clock(x.attr("duration"))}
	outcome := x.attr("outcome")
	inner := 0
	var message, stack string
	x.each(func(name string) {
		switch name {
		case "InnerResults":
			inner += p.trxResults(x)
		case "Output":
			x.each(func(name string) {
				if name != "ErrorInfo" {
					return
				}
				x.each(func(name string) {
					switch name {
					case "Message":
						message = x.textOf()
					case "StackTrace":
						stack = x.textOf()
					}
				})
			})
		}
	})
	if inner > 0 {
		return
	}
	switch outcome {
	case "Passed":
		c.Status = store.CaseSucceeded
	case "Failed":
		c.Status = store.CaseFailed
	case "Error", "Timeout", "Aborted":
		c.Status = store.CaseError
	case "NotExecuted", "NotRunnable":
		c.Status = store.CaseSkipped
	case "":
		c.Status = store.CaseUnknown
		if message != "" {
			c.Status = store.CaseFailed
		}
	default:
		c.Status = store.CaseUnknown
	}
	if c.Status != store.CaseSucceeded {
		c.Message = message
	}
	if c.Failed() {
		c.File, c.Line = p.located("", 0, stack, "")
	}
	p.add(c)
}
