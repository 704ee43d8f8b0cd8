package report

import (
	"buildsmith/store"
)

// A caseList keeps cases within MaxCases and MaxText. In between it holds up to twice as many, so that cutting it is
// rare.
type caseList struct {
	list    []store.TestCase
	size    int // of the text of list
	dropped int
}

func textSize(c *store.TestCase) int {
	return len(c.Name) + len(c.Prefix) + len(c.Message) + len(c.File)
}

// add tidies what a file says of a case and appends it.
func (l *caseList) add(c store.TestCase) {
	c.Name = tidyName(c.Name)
	if c.Name == "" {
		c.Name = "(no name)"
	}
	c.Prefix = tidyName(c.Prefix)
	c.Message = tidyMessage(c.Message)
	l.push(c)
}

// push appends a case that is tidy.
func (l *caseList) push(c store.TestCase) {
	if n := len(l.list); n > 0 && l.list[n-1].Prefix == c.Prefix {
		c.Prefix = l.list[n-1].Prefix // one string for all cases of a class
	}
	l.list = append(l.list, c)
	l.size += textSize(&c)
	if len(l.list) >= 2*MaxCases || l.size >= 2*MaxText {
		l.trim()
	}
}

// trim drops what is beyond the limits: first the last cases that did not fail, then the last ones that did.
func (l *caseList) trim() {
	if len(l.list) <= MaxCases && l.size <= MaxText {
		return
	}
	keep := make([]bool, len(l.list))
	n, size, full := 0, 0, false
	for _, failed := range []bool{true, false} {
		for i := range l.list {
			c := &l.list[i]
			if c.Failed() != failed {
				continue
			}
			if full = full || n == MaxCases || size+textSize(c) > MaxText; full {
				break
			}
			keep[i] = true
			n++
			size += textSize(c)
		}
	}
	kept := l.list[:0]
	for i, c := range l.list {
		if keep[i] {
			kept = append(kept, c)
		}
	}
	l.dropped += len(l.list) - len(kept)
	clear(l.list[len(kept):])
	l.list, l.size = kept, size
}
