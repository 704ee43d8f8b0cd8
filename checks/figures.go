package checks

import (
	"fmt"
	"strings"

	"buildsmith/store"
)

// figures is the report of a build that is over, for a forge whose checks have no room for what came of it. Its Summary is plain text.
func figures(b *store.Build, own Report) Report {
	r := Report{Kind: KindReport, Name: own.Name, ExternalID: b.ID, Commit: own.Commit, URL: own.URL, Status: own.Status, Conclusion: own.Conclusion,
		Started: own.Started, Completed: own.Completed, Title: fmt.Sprintf("%s #%d: %s", own.Name, b.Number, own.Title), Annotations: own.Annotations}
	passed, names := 0, []string{}
	for _, phase := range b.Skeleton {
		word := "not run"
		if p := b.Phase(phase); p != nil && !p.End.IsZero() {
			word = statusWord(p.Status) + " in " + duration(p.End.Sub(p.Start))
			if p.Status == store.Succeeded {
				passed++
			}
		}
		names = append(names, phaseWord(phase)+": "+word)
	}
	if len(names) > 0 {
		r.Figures = append(r.Figures, Figure{Title: "Phases passed", Text: fmt.Sprintf("%d of %d", passed, len(names))})
	}
	r.Figures = append(r.Figures, Figure{Title: "Duration", Duration: b.Ended.Sub(b.Created)})
	tests, covered := store.CaseCounts{}, store.Coverage{}
	for i := range b.Reports {
		c := b.Reports[i].Counts
		tests.Total, tests.Succeeded, tests.Failed, tests.Error, tests.Skipped = tests.Total+c.Total, tests.Succeeded+c.Succeeded, tests.Failed+c.Failed, tests.Error+c.Error, tests.Skipped+c.Skipped
		covered.LinesCovered, covered.LinesMissed = covered.LinesCovered+b.Reports[i].Coverage.LinesCovered, covered.LinesMissed+b.Reports[i].Coverage.LinesMissed
	}
	if tests.Total > 0 {
		text := fmt.Sprintf("%d of %d passed", tests.Succeeded, tests.Total)
		if failed := tests.Failed + tests.Error; failed > 0 {
			text += fmt.Sprintf(", %d failed", failed)
		}
		r.Figures = append(r.Figures, Figure{Title: "Tests", Text: text})
	}
	if percent, ok := covered.LinePercent(); ok {
		r.Figures = append(r.Figures, Figure{Title: "Lines covered", Percent: &percent})
	}
	if a := b.Artifacts; a != nil && a.Files > 0 {
		r.Figures = append(r.Figures, Figure{Title: "Artifacts", Text: fmt.Sprintf("%d files", a.Files), URL: Below(own.URL, "artifacts.zip")})
	}
	if f := b.Failure; f != nil {
		names = append(names, fmt.Sprintf("Failed with exit status %d: %s", f.Exit, cut(strings.Join(strings.Fields(Plain(f.Command)), " "), shownNote)))
	}
	r.Summary = strings.Join(names, "\n")
	return r
}
