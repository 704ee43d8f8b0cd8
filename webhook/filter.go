package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"buildsmith/store"

	"github.com/dlclark/regexp2"
)

// Filter groups say which events build a project. They are CodeBuild's: a group passes if all its filters pass, and an event
// builds if any group passes.
// https://docs.aws.amazon.com/codebuild/latest/APIReference/API_WebhookFilter.html

// A Filter is one condition of a group.
type Filter struct {
	Type    string // one of the Filter constants
	Pattern string // a regular expression that is searched for; of EVENT, names of events between commas
	Exclude bool   // the filter passes if the pattern does not match
}

// Types of filters. All but FilterAllFiles are CodeBuild's.
const (
	FilterEvent        = "EVENT"
	FilterActor        = "ACTOR_ACCOUNT_ID"
	FilterHeadRef      = "HEAD_REF"
	FilterBaseRef      = "BASE_REF"
	FilterFile         = "FILE_PATH"     // any changed file
	FilterAllFiles     = "FILE_PATH_ALL" // all changed files, of which there is one
	FilterMessage      = "COMMIT_MESSAGE"
	FilterTag          = "TAG_NAME"
	FilterRelease      = "RELEASE_NAME"
	FilterRepository   = "REPOSITORY_NAME"
	FilterOrganization = "ORGANIZATION_NAME"
	FilterWorkflow     = "WORKFLOW_NAME"
)

// eventWorkflowJob is CodeBuild's word for a job of GitHub Actions that waits for a runner.
const eventWorkflowJob = "WORKFLOW_JOB_QUEUED"

var (
	pullRequestEvents = []string{store.EventPullRequestCreated, store.EventPullRequestUpdated, store.EventPullRequestReopen, store.EventPullRequestMerged, store.EventPullRequestClosed}
	releaseEvents     = []string{store.EventReleased, store.EventPrereleased}
	commitEvents      = append([]string{store.EventPush}, pullRequestEvents...)
	filterEvents      = slices.Concat(commitEvents, releaseEvents, []string{eventWorkflowJob})
)

// A filterType is what filters of a type look at.
type filterType struct {
	name     string
	events   []string // those that have it; nil for all
	identity bool     // part of it is somebody or something else, so that a pattern should match all of it
}

// filterTypes are all types, in the order in which people are told of them.
var filterTypes = []filterType{
	{name: FilterEvent},
	{name: FilterActor, identity: true},
	{name: FilterHeadRef, events: commitEvents, identity: true},
	{name: FilterBaseRef, events: pullRequestEvents, identity: true},
	{name: FilterFile, events: commitEvents},
	{name: FilterAllFiles, events: commitEvents},
	{name: FilterMessage, events: commitEvents},
	{name: FilterTag, events: releaseEvents},
	{name: FilterRelease, events: releaseEvents},
	{name: FilterRepository, identity: true},
	{name: FilterOrganization, identity: true},
	{name: FilterWorkflow, events: []string{eventWorkflowJob}},
}

// Limits. CodeBuild documents none for patterns and groups.
const (
	maxGroups  = 100
	maxFilters = 100 // of a group
	maxPattern = 16 << 10
	maxText    = 256 << 10 // bytes that are searched
	// matchTime is how long one text is searched for one pattern, decideTime how long all searches of one decision take.
	matchTime  = 500 * time.Millisecond
	decideTime = 5 * time.Second
)

// Filters are filter groups that are ready to decide. A nil one is no filters. It may be used by several goroutines.
type Filters struct{ groups [][]compiledFilter }

type compiledFilter struct {
	Filter
	events  []string        // of EVENT
	pattern *regexp2.Regexp // of the others
}

// files reports whether the filter looks at changed files, for which somebody may have to be asked.
func (c *compiledFilter) files() bool { return c.Type == FilterFile || c.Type == FilterAllFiles }

// A FilterError is something that is wrong with a filter.
type FilterError struct {
	Group, Filter int // from 1 on; no Filter if it concerns the whole group, and no Group if it concerns all
	Problem       string
}

func (e FilterError) Error() string {
	if place := filterPlace(e.Group, e.Filter); place != "" {
		return place + ": " + e.Problem
	}
	return e.Problem
}

func filterPlace(group, filter int) string {
	switch {
	case group == 0:
		return ""
	case filter == 0:
		return fmt.Sprintf("group %d", group)
	}
	return fmt.Sprintf("group %d, filter %d", group, filter)
}

// FilterErrors are everything that is wrong with filter groups.
type FilterErrors []FilterError

func (e FilterErrors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// CompileFilters makes filter groups ready. No groups give nil. The error is a FilterErrors and holds everything that is
// wrong; the warnings tell, each with its place, of what is valid and hardly meant.
func CompileFilters(groups [][]Filter) (f *Filters, warnings []string, err error) {
	if len(groups) == 0 {
		return nil, nil, nil
	}
	if len(groups) > maxGroups {
		return nil, nil, FilterErrors{{Problem: fmt.Sprintf("%d filter groups are more than %d", len(groups), maxGroups)}}
	}
	f = &Filters{}
	var wrong FilterErrors
	for g, group := range groups {
		if len(group) > maxFilters {
			wrong = append(wrong, FilterError{g + 1, 0, fmt.Sprintf("%d filters are more than %d", len(group), maxFilters)})
			continue
		}
		if !slices.ContainsFunc(group, func(f Filter) bool { return f.Type == FilterEvent }) {
			wrong = append(wrong, FilterError{g + 1, 0, "the group has no filter of the type EVENT, which every group needs"})
		}
		list := make([]compiledFilter, len(group))
		for i, filter := range group {
			if list[i], err = compileFilter(filter); err != nil {
				wrong = append(wrong, FilterError{g + 1, i + 1, err.Error()})
			}
		}
		f.groups = append(f.groups, list)
		for i := range list {
			for _, text := range list[i].doubts(list) {
				warnings = append(warnings, filterPlace(g+1, i+1)+": "+text)
			}
		}
	}
	if len(wrong) > 0 {
		return nil, nil, wrong
	}
	return f, warnings, nil
}

func compileFilter(f Filter) (c compiledFilter, err error) {
	c.Filter = f
	known := slices.ContainsFunc(filterTypes, func(t filterType) bool { return t.name == f.Type })
	switch {
	case f.Type == "":
		return c, fmt.Errorf("the type is missing; known are %s", strings.Join(typeNames(), ", "))
	case !known:
		return c, fmt.Errorf("%.100q is no type of filters; known are %s", f.Type, strings.Join(typeNames(), ", "))
	case f.Pattern == "":
		return c, fmt.Errorf("the pattern of %s is missing", f.Type)
	case len(f.Pattern) > maxPattern:
		return c, fmt.Errorf("the pattern of %s has %d bytes, which are more than %d", f.Type, len(f.Pattern), maxPattern)
	case !utf8.ValidString(f.Pattern):
		return c, fmt.Errorf("the pattern of %s is not UTF-8", f.Type)
	case f.Type == FilterEvent:
		c.events, err = eventList(f.Pattern)
		return c, err
	}
	if letter := unknownEscape(f.Pattern); letter != "" {
		return c, fmt.Errorf("the pattern of %s has %s, which means nothing here", f.Type, letter)
	}
	// The mode makes \d, \w and \s those of ASCII, as they are in Java, and $ the very end.
	if c.pattern, err = regexp2.Compile(f.Pattern, regexp2.RE2); err != nil {
		return c, fmt.Errorf("the pattern of %s is no regular expression: %s", f.Type, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	c.pattern.MatchTimeout = matchTime
	return c, nil
}

func typeNames() []string {
	names := make([]string, len(filterTypes))
	for i := range filterTypes {
		names[i] = filterTypes[i].name
	}
	return names
}

// eventList reads the pattern of an EVENT filter.
func eventList(pattern string) (events []string, err error) {
	for name := range strings.SplitSeq(pattern, ",") {
		name = strings.TrimSpace(name)
		switch {
		case name == "":
			return nil, errors.New("the pattern of EVENT has nothing between two commas, or at an end")
		case !slices.Contains(filterEvents, name):
			return nil, fmt.Errorf("%.100q is no event; known are %s", name, strings.Join(filterEvents, ", "))
		}
		events = append(events, name)
	}
	return events, nil
}

// knownEscapes are the letters that mean something behind a backslash. The engine takes others for themselves, so that Java's
// \Qtext\E would match what it does not say.
const knownEscapes = "aAbBcdDefGknpPrsStuvwWxzZ"

// unknownEscape gives the first escape of a pattern that means nothing, empty if there is none.
func unknownEscape(pattern string) string {
	for i := 0; i+1 < len(pattern); i++ {
		if pattern[i] != '\\' {
			continue
		}
		i++
		if c := pattern[i]; (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') && !strings.ContainsRune(knownEscapes, rune(c)) {
			return pattern[i-1 : i+1]
		}
	}
	return ""
}
