package report

import (
	"fmt"
	"strings"
	"time"

	"buildsmith/store"
)

// cucumber reads the JSON of the Cucumbers: features, elements of which the scenarios are the cases. Keys come in any
// order; the JVM's writes the elements of a feature before its name.
//
//	[{"uri", "name", "elements": [{"type": "scenario", "name", "line", "before": [{"result"}], "after": [{"result"}],
//	  "steps": [{"keyword", "name", "line", "result": {"status", "duration", "error_message"}}]}]}]
func cucumber(p *parser, j *jsonReader) {
	if kind := j.kind(); kind != '[' {
		if kind == '{' {
			j.fail("no Cucumber JSON: it is an object, not a list of features; what the message formatter writes is not read")
		} else {
			j.unexpected()
		}
		return
	}
	j.array(func() { p.feature(j) })
}

func (p *parser) feature(j *jsonReader) {
	var name, uri string
	var scenarios caseList
	var background steps
	j.object(func(key string) {
		switch key {
		case "name":
			name = j.text()
		case "uri":
			uri = j.text()
		case "elements":
			j.array(func() { background = p.scenario(j, background, &scenarios) })
		}
	})
	// classpath: is the JVM's way to name a feature that it found among its classes.
	file := p.src.file(strings.TrimPrefix(uri, "classpath:"), "")
	prefix := tidyName(name)
	for _, c := range scenarios.list {
		c.Prefix = prefix
		if c.File = file; file == "" {
			c.Line = 0
		}
		p.cases.push(c)
	}
	p.cases.dropped += scenarios.dropped
}

// scenario reads one element of a feature. The steps of a background, which some Cucumbers write as an element before
// each scenario, count as those of the scenario that follows.
func (p *parser) scenario(j *jsonReader, background steps, scenarios *caseList) (next steps) {
	var c store.TestCase
	var s steps
	kind, keyword := "", ""
	j.object(func(key string) {
		switch key {
		case "type":
			kind = j.text()
		case "keyword":
			keyword = j.text()
		case "name":
			c.Name = j.text()
		case "line":
			c.Line = clampCount(j.number())
		case "before", "after":
			j.array(func() { s.read(j) })
		case "steps":
			j.array(func() { s.read(j) })
		}
	})
	if p.stopped() {
		return s
	}
	if kind == "background" || kind == "" && keyword == "Background" {
		return s
	}
	if background.rank > s.rank {
		s.rank, s.message, s.line = background.rank, background.message, background.line
	}
	s.duration += background.duration
	c.Status = s.rank.status()
	c.Message = s.message
	c.Duration = spent(s.duration, time.Nanosecond)
	if s.line > 0 && c.Failed() {
		c.Line = s.line
	}
	if c.Line > maxLineNumber {
		c.Line = 0
	}
	scenarios.add(c)
	return steps{}
}

// A rank orders what can become of a step, the worst last.
type rank int

const (
	passed rank = iota
	skipped
	pending
	unknown
	undefined
	ambiguous
	failed
)

func (r rank) status() string {
	switch r {
	case passed:
		return store.CaseSucceeded
	case skipped, pending:
		return store.CaseSkipped
	case undefined, ambiguous:
		return store.CaseError
	case failed:
		return store.CaseFailed
	}
	return store.CaseUnknown
}

// steps is what became of the steps and hooks of a scenario: the worst of them, and the time of all.
type steps struct {
	rank     rank
	message  string
	line     int
	duration float64 // nanoseconds
}

// read reads a step or a hook.
func (s *steps) read(j *jsonReader) {
	var keyword, name, status, message string
	line := 0
	j.object(func(key string) {
		switch key {
		case "keyword":
			keyword = j.text()
		case "name":
			name = j.text()
		case "line":
			line = clampCount(j.number())
		case "result":
			j.object(func(key string) {
				switch key {
				case "status":
					status = j.text()
				case "duration":
					if d := j.number(); d > 0 {
						s.duration += d
					}
				case "error_message":
					message = j.text()
				}
			})
		case "before", "after":
			j.array(func() { s.read(j) })
		}
	})
	var r rank
	step := short(strings.TrimSpace(keyword) + " " + name)
	switch strings.ToLower(status) {
	case "passed", "":
	case "skipped":
		r = skipped
	case "pending":
		r = pending
		if message == "" {
			message = fmt.Sprintf("The step %q is pending.", step)
		}
	case "undefined":
		r = undefined
		if message == "" {
			message = fmt.Sprintf("The step %q is not defined.", step)
		}
	case "ambiguous":
		r = ambiguous
		if message == "" {
			message = fmt.Sprintf("The step %q is ambiguous.", step)
		}
	case "failed":
		r = failed
	default:
		r = unknown
	}
	if r > s.rank {
		s.rank, s.message, s.line = r, message, line
	}
}
