package webhook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// doubts gives what is valid in a filter and hardly meant. group is the whole group.
func (c *compiledFilter) doubts(group []compiledFilter) (list []string) {
	i := slices.IndexFunc(filterTypes, func(t filterType) bool { return t.name == c.Type })
	if i < 0 {
		return nil // which is an error
	}
	if c.Type == FilterEvent {
		if slices.Contains(c.events, eventWorkflowJob) && !c.Exclude {
			list = append(list, eventWorkflowJob+" never comes: jobs of GitHub Actions are not run here")
		}
		return list
	}
	about := filterTypes[i]
	if events := groupEvents(group); about.events != nil && len(events) > 0 &&
		!slices.ContainsFunc(events, func(e string) bool { return slices.Contains(about.events, e) }) {
		outcome := "never passes"
		if c.Exclude {
			outcome = "always passes"
		}
		list = append(list, fmt.Sprintf("%s comes without %s, so this filter %s", strings.Join(events, ", "), c.Type, outcome))
	}
	if about.identity {
		if open := openEnds(c.Pattern, c.Type == FilterActor); open != "" {
			list = append(list, fmt.Sprintf("%s: the pattern %s is searched for anywhere and has %s, so it matches more than it says; %s",
				c.Type, clip(c.Pattern, 100), open, anchorAdvice(c.Type)))
		}
	}
	return list
}

func anchorAdvice(kind string) string {
	if kind == FilterActor {
		return "write ^(?:...)$ around it, or longer ids pass too"
	}
	return "write ^ before and $ behind it, or .* where anything may follow"
}

// Unknown are the events that the filters name and that are not among those that a forge tells of.
func (f *Filters) Unknown(told []string) (list []string) {
	if f == nil {
		return nil
	}
	for _, group := range f.groups {
		for _, c := range group {
			for _, event := range c.events {
				if !c.Exclude && !slices.Contains(told, event) && !slices.Contains(list, event) {
					list = append(list, event)
				}
			}
		}
	}
	return list
}

// groupEvents are the events that a group can pass for.
func groupEvents(group []compiledFilter) []string {
	var events []string
	for _, name := range filterEvents {
		if !slices.ContainsFunc(group, func(c compiledFilter) bool {
			return c.Type == FilterEvent && slices.Contains(c.events, name) == c.Exclude
		}) {
			events = append(events, name)
		}
	}
	return events
}

// openEnds says at which ends a pattern does not hold on to its text; empty if at none. Unless strict is set, an end that is
// left open visibly, by a slash or .*, is meant.
func openEnds(pattern string, strict bool) string {
	start, end := anchors(pattern, strict, 0)
	switch {
	case !start && !end:
		return "neither ^ nor $"
	case !start:
		return "no ^ at its beginning"
	case !end:
		return "no $ at its end"
	}
	return ""
}

var (
	inlineFlags = regexp.MustCompile(`^\(\?[a-zA-Z-]+\)`)
	groupStart  = regexp.MustCompile(`^\((?:\?(?::|>|[a-zA-Z-]+:|P?<[A-Za-z_]\w*>|'[A-Za-z_]\w*'))?`)
)

// anchors reports whether all alternatives of a pattern begin at the beginning of a text, and end at its end.
func anchors(pattern string, strict bool, depth int) (start, end bool) {
	pattern = strings.TrimPrefix(pattern, inlineFlags.FindString(pattern))
	start, end = true, true
	for _, alternative := range alternatives(pattern) {
		if inner, ok := insideGroup(alternative); ok && depth < 10 {
			s, e := anchors(inner, strict, depth+1)
			start, end = start && s, end && e
			continue
		}
		start = start && (strings.HasPrefix(alternative, "^") || strings.HasPrefix(alternative, `\A`))
		end = end && (endsWith(alternative, "$") || endsWith(alternative, `\z`) || endsWith(alternative, `\Z`) ||
			!strict && (strings.HasSuffix(alternative, "/") || endsWith(alternative, ".*") || endsWith(alternative, ".+")))
	}
	return start, end
}

// endsWith reports whether a pattern ends with a suffix before which no backslash takes its meaning.
func endsWith(pattern, suffix string) bool {
	before, found := strings.CutSuffix(pattern, suffix)
	return found && (len(before)-len(strings.TrimRight(before, `\`)))%2 == 0
}

// insideGroup gives what is between the parentheses of a pattern that is one group and nothing else.
func insideGroup(pattern string) (string, bool) {
	opening := groupStart.FindString(pattern)
	if opening == "" || strings.HasPrefix(pattern, "(?") && opening == "(" { // a look-around
		return "", false
	}
	depth, closed := 0, -1
	outside(pattern, func(i int, c byte) bool {
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				closed = i
			}
		}
		return closed < 0
	})
	if closed != len(pattern)-1 {
		return "", false
	}
	return pattern[len(opening):closed], true
}

// alternatives splits a pattern at each | that is in no group.
func alternatives(pattern string) (list []string) {
	depth, from := 0, 0
	outside(pattern, func(i int, c byte) bool {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			list, from = append(list, pattern[from:i]), i+1
		}
		return true
	})
	return append(list, pattern[from:])
}

// outside calls a func for each byte of a pattern that is neither escaped nor in a class of characters, while it returns true.
func outside(pattern string, do func(i int, c byte) bool) {
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			i++
		case '[':
			i = classEnd(pattern, i)
		default:
			if !do(i, c) {
				return
			}
		}
	}
}

// classEnd gives where the class of characters ends that begins at i.
func classEnd(pattern string, i int) int {
	i++
	if i < len(pattern) && pattern[i] == '^' {
		i++
	}
	for first := i; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\':
			i++
		case strings.HasPrefix(pattern[i:], "[:"):
			if n := strings.Index(pattern[i:], ":]"); n > 0 {
				i += n + 1
			}
		case pattern[i] == ']' && i > first:
			return i
		}
	}
	return len(pattern)
}
