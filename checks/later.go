package checks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// later gives the other builds and notices of the same check that came after a subject. A commit status has no number: the last
// one told is the one that counts.
func later(s store.Subject, builds []store.Build, notices []store.Notice) (after []store.Subject) {
	check, made, id := "", time.Time{}, s.ID()
	if s.Build != nil {
		check, made = s.Build.Check, s.Build.Created
	} else {
		check, made = s.Notice.Check, s.Notice.Created
	}
	for i := range builds {
		o := &builds[i]
		if o.Check == check && (s.Build != nil && o.Seq > s.Build.Seq || s.Build == nil && !o.Created.Before(made)) {
			after = append(after, store.Subject{Build: o})
		}
	}
	for i := range notices {
		if n := &notices[i]; n.Check == check && n.ID != id && n.Created.After(made) {
			after = append(after, store.Subject{Notice: n})
		}
	}
	return after
}

func isBuild(s store.Subject) bool { return s.Build != nil }

// ahead adds the checks that a build or notice has at the forge, or is about to have, by what was told of it. The newest check of a
// name is what branch protection looks at: an older build's or notice's must not be made after it.
func ahead(checks map[string]bool, all map[string]store.Told) map[string]bool {
	for key, told := range all {
		if told.Remote != "" || told.Creating && !told.GivenUp {
			if checks == nil {
				checks = map[string]bool{}
			}
			checks[key] = true
		}
	}
	return checks
}

// taken reports whether a report has its place from a later build or notice, so that it is not told any more. A status has the place of
// its context, which may be another for each build. Where checks are known by their names, those of phases and what came of a build have
// it from builds alone: a notice has neither.
func taken(file *dossier, report *Report, byName, instead bool) bool {
	switch {
	case report.Kind == KindStatus:
		return file.ahead[report.Key()] || slices.Contains(file.coming, report.Name)
	case !byName || report.Kind == KindDeployment || len(file.after) == 0:
		return false
	case report.Phase || report.Kind == KindReport || instead && !file.ahead[report.Key()]:
		return slices.ContainsFunc(file.after, isBuild)
	}
	return true
}

// A former is an earlier build of a check, with what was told of it.
type former struct {
	build *store.Build
	told  map[string]store.Told
}

// before gives the builds of the same check that came before a build.
func (d *reading) before(b *store.Build, builds []store.Build) (past []former, err error) {
	for i := range builds {
		o := &builds[i]
		if o.Check != b.Check || o.Seq >= b.Seq {
			continue
		}
		told, err := d.toldOf(o.ID)
		if err != nil {
			return nil, err
		}
		past = append(past, former{o, told})
	}
	return past, nil
}

// retired gives checks of a former build that neither the last one has nor anybody else is going to replace: one of a phase that the last
// one lacks would run or have failed for ever. mine is what the last one has.
func (f *former) retired(last *dossier, mine map[string]bool, o Options) (reports []Report) {
	for name, told := range f.told {
		if strings.Contains(name, "\x00") || mine[name] || told.GivenUp || told.Remote == "" && !told.Creating {
			continue
		}
		report := Report{Phase: true, Name: name, ExternalID: f.build.ID, Commit: f.build.Trigger.Commit, URL: o.URL(last.ID(), last.repo), Status: Completed, Conclusion: Cancelled,
			Started: f.build.Created, Completed: last.Build.Ended, Title: fmt.Sprintf("Not part of build #%d, which came later", last.Build.Number)}
		var shown Report
		harmless := len(told.Report) > 0 && json.Unmarshal(told.Report, &shown) == nil && shown.Status == Completed && (shown.Conclusion == Success || shown.Conclusion == Cancelled)
		if !harmless {
			reports = append(reports, report)
		}
	}
	slices.SortFunc(reports, func(a, b Report) int { return strings.Compare(a.Name, b.Name) })
	return reports
}

// unended are the contexts of statuses that a forge was told of and not that they are over.
func unended(told map[string]store.Told) (contexts []string) {
	for key, one := range told {
		if context, ok := strings.CutPrefix(key, string(KindStatus)+"\x00"); ok && (one.Remote != "" || one.Creating) && one.Status != Completed && !one.GivenUp {
			contexts = append(contexts, context)
		}
	}
	slices.Sort(contexts)
	return contexts
}

// formerStatuses gives a status in the contexts that it was begun with under other settings, if it has another one now or none: what has
// been begun is brought to its end.
func formerStatuses(told map[string]store.Told, now []Report, status Report) (reports []Report) {
	for _, context := range unended(told) {
		status.Name = context
		if !slices.ContainsFunc(now, func(r Report) bool { return r.Key() == status.Key() }) {
			reports = append(reports, status)
		}
	}
	return reports
}
