package webhook

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/store"
)

// A Subject is what filters look at. A text is empty if the event has none.
type Subject struct {
	Event            string   // CodeBuild's word
	Also             []string // further events that it counts as
	Actor            string   // the forge's id of who caused it
	HeadRef          string   // refs/heads/... or refs/tags/...
	BaseRef          string   // refs/heads/...
	TagName          string   // of a release
	ReleaseName      string   // its title
	RepositoryName   string   // without its owner
	OrganizationName string
	WorkflowName     string
	Message          *string // of the head commit, nil if the event has none
	// Files gives all changed files. It is nil if the event has none, and is called at most once, and only if what filters
	// of other types say does not decide.
	Files func(context.Context) ([]string, error)
}

// A Verdict is what filters say of a subject.
type Verdict struct {
	Build  bool
	Group  int            // that passed, from 1 on; 0 for none
	Groups []GroupVerdict // of each group; none without filters
	Reason string         // a sentence for people: which group passed, or what kept each from passing
}

// A GroupVerdict is what a group says.
type GroupVerdict struct {
	Passed  bool
	Filters []FilterVerdict
}

// A FilterVerdict is what a filter says.
type FilterVerdict struct {
	Filter
	Passed bool
	Unseen bool   // it was not tried, because it could change nothing
	Why    string // HEAD_REF "refs/heads/maintenance" does not match ^refs/heads/main$
}

// Decide says whether an event builds. Without filters a push builds, and a pull request that was opened, changed or opened
// again. A filter whose subject the event does not have does not pass, or passes if it excludes; one whose search takes too
// long never passes. The error is that of Files.
func (f *Filters) Decide(ctx context.Context, s *Subject) (Verdict, error) {
	if f == nil || len(f.groups) == 0 {
		return unfiltered(s), nil
	}
	t := &trial{subject: s}
	v := Verdict{Groups: make([]GroupVerdict, len(f.groups))}
	// Changed files come last, since it may take requests to know them.
	var open []int
	for g, group := range f.groups {
		list := make([]FilterVerdict, len(group))
		passed, complete := true, true
		for i := range group {
			c := &group[i]
			if c.files() && s.Files != nil {
				list[i], complete = FilterVerdict{Filter: c.Filter, Unseen: true}, false
				continue
			}
			list[i] = t.try(c)
			passed = passed && list[i].Passed
		}
		v.Groups[g] = GroupVerdict{Passed: passed && complete, Filters: list}
		switch {
		case passed && complete && !v.Build:
			v.Build, v.Group = true, g+1
		case passed && !complete:
			open = append(open, g)
		}
	}
	if !v.Build && len(open) > 0 {
		files, err := s.Files(ctx)
		if err != nil {
			return Verdict{}, fmt.Errorf("looking at the changed files: %w", err)
		}
		for _, g := range open {
			passed := true
			for i := range f.groups[g] {
				if c := &f.groups[g][i]; c.files() {
					v.Groups[g].Filters[i] = t.tryFiles(c, files)
				}
				passed = passed && v.Groups[g].Filters[i].Passed
			}
			if v.Groups[g].Passed = passed; passed && !v.Build {
				v.Build, v.Group = true, g+1
			}
		}
	}
	v.explain()
	return v, nil
}

// unfilteredEvents are those that build without filters. CodeBuild leaves out the reopened pull request, whose check would
// then be missing.
var unfilteredEvents = []string{store.EventPush, store.EventPullRequestCreated, store.EventPullRequestUpdated, store.EventPullRequestReopen}

func unfiltered(s *Subject) Verdict {
	if slices.ContainsFunc(s.names(), func(name string) bool { return slices.Contains(unfilteredEvents, name) }) {
		return Verdict{Build: true, Reason: fmt.Sprintf("There are no filters, and without them %s builds.", s.Event)}
	}
	return Verdict{Reason: fmt.Sprintf("There are no filters, and without them only %s build, not %s.", strings.Join(unfilteredEvents, ", "), s.Event)}
}

// names are all events that the subject counts as.
func (s *Subject) names() []string { return append([]string{s.Event}, s.Also...) }

// text gives what filters of a type look at, and whether the event has it.
func (s *Subject) text(kind string) (string, bool) {
	if kind == FilterMessage {
		if s.Message == nil {
			return "", false
		}
		return strings.TrimRight(*s.Message, "\r\n"), true // so that $ is the message's end, whoever told it
	}
	text := map[string]string{
		FilterActor: s.Actor, FilterHeadRef: s.HeadRef, FilterBaseRef: s.BaseRef, FilterTag: s.TagName, FilterRelease: s.ReleaseName,
		FilterRepository: s.RepositoryName, FilterOrganization: s.OrganizationName, FilterWorkflow: s.WorkflowName,
	}[kind]
	return text, text != ""
}

// A trial is one decision.
type trial struct {
	subject *Subject
	spent   time.Duration // on searches; what it takes to know the files does not count
}

// try tries a filter that does not look at files, or does for an event that has none.
func (t *trial) try(c *compiledFilter) FilterVerdict {
	if c.Type == FilterEvent {
		return t.tryEvent(c)
	}
	text, has := t.subject.text(c.Type)
	if !has {
		return FilterVerdict{Filter: c.Filter, Passed: c.Exclude, Why: "the event has no " + c.Type}
	}
	found, overrun := t.search(c, text)
	if overrun != "" {
		return FilterVerdict{Filter: c.Filter, Why: fmt.Sprintf("%s %s: %s", c.Type, shown(text), overrun)}
	}
	return FilterVerdict{Filter: c.Filter, Passed: found != c.Exclude, Why: fmt.Sprintf("%s %s %s", c.Type, shown(text), c.relation(found))}
}

func (t *trial) tryEvent(c *compiledFilter) FilterVerdict {
	name, found := t.subject.Event, false
	for _, n := range t.subject.names() {
		if slices.Contains(c.events, n) {
			name, found = n, true
			break
		}
	}
	why := fmt.Sprintf("EVENT %s is not", name)
	if found {
		why = fmt.Sprintf("EVENT %s is", name)
	}
	if why += " among"; c.Exclude {
		why += " the excluded"
	}
	return FilterVerdict{Filter: c.Filter, Passed: found != c.Exclude, Why: why + " " + strings.Join(c.events, ", ")}
}

// tryFiles tries a filter on changed files. FILE_PATH looks for one that matches, FILE_PATH_ALL for one that does not.
func (t *trial) tryFiles(c *compiledFilter, files []string) FilterVerdict {
	all := c.Type == FilterAllFiles
	v := FilterVerdict{Filter: c.Filter, Passed: c.Exclude, Why: "no file was changed"}
	if len(files) == 0 {
		return v
	}
	for _, file := range files {
		found, overrun := t.search(c, file)
		if overrun != "" {
			return FilterVerdict{Filter: c.Filter, Why: fmt.Sprintf("%s %s: %s", c.Type, shown(file), overrun)}
		}
		if found != all {
			v.Passed = found != c.Exclude
			v.Why = fmt.Sprintf("%s %s %s", c.Type, shown(file), c.relation(found))
			return v
		}
	}
	v.Passed = all != c.Exclude
	if v.Why = fmt.Sprintf("none of the changed files (%d) %s", len(files), c.relation(true)); all {
		v.Why = fmt.Sprintf("each of the changed files (%d) %s", len(files), c.relation(true))
	}
	return v
}

// relation says how a text and the filter's pattern stand to each other.
func (c *compiledFilter) relation(found bool) string {
	verb := "does not match "
	if found {
		verb = "matches "
	}
	if c.Exclude {
		verb += "the excluded "
	}
	return verb + clip(c.Pattern, 200)
}

// shown is a text as people are shown it.
func shown(text string) string {
	if len(text) > 200 {
		return strconv.Quote(clip(text, 200)) + "..."
	}
	return strconv.Quote(text)
}

// search looks for the filter's pattern in a text; overrun says why there is no telling.
func (t *trial) search(c *compiledFilter, text string) (found bool, overrun string) {
	if len(text) > maxText {
		return false, fmt.Sprintf("it has more than %d bytes and is not searched for %s", maxText, clip(c.Pattern, 200))
	}
	if t.spent > decideTime {
		return false, fmt.Sprintf("the filters took longer than %v together before it was searched for %s", decideTime, clip(c.Pattern, 200))
	}
	start := time.Now()
	found, err := c.pattern.MatchString(text)
	t.spent += time.Since(start)
	if err != nil {
		return false, fmt.Sprintf("searching it for %s took longer than %v", clip(c.Pattern, 200), matchTime)
	}
	return found, ""
}

// maxTold is how many groups a reason tells of.
const maxTold = 10

// explain gives the filters that were not tried and the whole verdict their reasons.
func (v *Verdict) explain() {
	var why []string
	for g := range v.Groups {
		group := &v.Groups[g]
		failed := slices.IndexFunc(group.Filters, func(f FilterVerdict) bool { return !f.Passed && !f.Unseen })
		for i := range group.Filters {
			if f := &group.Filters[i]; f.Unseen && failed >= 0 {
				f.Why = fmt.Sprintf("not tried: filter %d of the group does not pass", failed+1)
			} else if f.Unseen {
				f.Why = fmt.Sprintf("not tried: group %d passes without looking at files", v.Group)
			}
		}
		if failed >= 0 && g < maxTold {
			why = append(why, fmt.Sprintf("in group %d %s", g+1, group.Filters[failed].Why))
		}
	}
	if v.Build {
		v.Reason = fmt.Sprintf("Filter group %d passes.", v.Group)
		return
	}
	if n := len(v.Groups) - maxTold; n > 0 {
		why = append(why, fmt.Sprintf("and %d more", n))
	}
	v.Reason = fmt.Sprintf("No filter group passes: %s.", strings.Join(why, "; "))
}
