package report

import (
	"cmp"
	"slices"
	"time"

	"buildsmith/store"
)

// A case counts as slower if it takes as much longer, and as many times as long.
const (
	slowerBy    = time.Second
	slowerTimes = 1.5
)

// outcomes is what became of the cases of one full name. Tools give a name to several cases, for one row of data each,
// and in any order, so that only their numbers compare.
type outcomes struct {
	all, succeeded, failing int
	duration                time.Duration // of those that succeeded
}

// outcomesOf are the outcomes of each name, and the names in the order of the report.
func outcomesOf(r *store.Report) (map[string]outcomes, []string) {
	of := make(map[string]outcomes, len(r.Cases))
	var names []string
	for i := range r.Cases {
		c := &r.Cases[i]
		name := c.FullName()
		o, ok := of[name]
		if !ok {
			names = append(names, name)
		}
		o.all++
		if c.Failed() {
			o.failing++
		}
		if c.Status == store.CaseSucceeded {
			o.succeeded++
			o.duration = sum(o.duration, c.Duration)
		}
		of[name] = o
	}
	return of, names
}

// Compare tells how a report differs from that of the same group in an earlier build. Which build that is the caller
// adds.
//
// A name is newly failing if more cases of it fail than did before; that is so for a case that is new. It is fixed if
// fewer fail, and more succeed. It is slower if all of its cases succeeded in both, and take longer together by at least
// a second and at least half as long again. Each name counts once. The lists are in the order of the report, but Slower
// has the greatest difference first.
func Compare(before, after *store.Report) store.ReportChange {
	var change store.ReportChange
	was, names := outcomesOf(before)
	is, newNames := outcomesOf(after)
	for _, name := range names {
		change.Removed += max(0, was[name].all-is[name].all)
	}
	type slow struct {
		name string
		by   time.Duration
	}
	var slower []slow
	for _, name := range newNames {
		b, a := was[name], is[name]
		change.Added += max(0, a.all-b.all)
		switch {
		case a.failing > b.failing:
			change.NewlyFailingCount++
			change.NewlyFailing = appendName(change.NewlyFailing, name)
		case a.failing < b.failing && a.succeeded > b.succeeded:
			change.FixedCount++
			change.Fixed = appendName(change.Fixed, name)
		case b.succeeded == b.all && a.succeeded == a.all && a.all == b.all:
			by := a.duration - b.duration
			if by >= slowerBy && float64(a.duration) >= slowerTimes*float64(b.duration) {
				slower = append(slower, slow{name, by})
			}
		}
	}
	slices.SortStableFunc(slower, func(a, b slow) int { return cmp.Compare(b.by, a.by) })
	change.SlowerCount = len(slower)
	for _, s := range slower {
		change.Slower = appendName(change.Slower, s.name)
	}
	change.LinesBefore, change.LinesKnown = total(before).LinePercent()
	return change
}

func appendName(names []string, name string) []string {
	if len(names) == store.MaxChanged {
		return names
	}
	return append(names, name)
}
