package checks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// A pull is a pull request with the builds and notices of a commit of it.
type pull struct {
	number  int
	id      string // store.PullID
	commit  string
	builds  []store.Build
	notices []store.Notice
	head    string     // its newest commit, where that was seen
	told    store.Told // of its comment
}

// pullsOf are the pull requests that a commit belongs to, with what the store has of that commit.
func pullsOf(tx *store.Tx, r store.Repo, commit string, builds []store.Build, notices []store.Notice) ([]pull, error) {
	numbers, err := tx.PullsAt(r, commit)
	if err != nil {
		return nil, err
	}
	for i := range builds {
		numbers = append(numbers, builds[i].Trigger.PullRequest)
	}
	for i := range notices {
		numbers = append(numbers, notices[i].Trigger.PullRequest)
	}
	slices.Sort(numbers)
	var pulls []pull
	for _, n := range slices.Compact(numbers) {
		if n == 0 {
			continue
		}
		p := pull{number: n, id: store.PullID(r, n), commit: commit, builds: builds, notices: notices}
		if p.head, err = tx.PullHead(r, n); err != nil {
			return nil, err
		}
		if p.told, err = tx.Told(p.id, (&Report{Kind: KindComment, Name: SummaryName}).Key()); err != nil {
			return nil, err
		}
		pulls = append(pulls, p)
	}
	return pulls, nil
}

// newest reports whether a comment is about the newest commit of its pull request: the one that was seen last; where none
// was seen, no older one than the comment is about now. A commit is as old as the first build of it, so that repeating
// an old build changes nothing.
func (p *pull) newest(report *Report) bool {
	if p.head != "" {
		return p.head == p.commit
	}
	var last Report
	if len(p.told.Report) == 0 || json.Unmarshal(p.told.Report, &last) != nil {
		return true
	}
	return last.Commit == p.commit || !report.Started.Before(last.Started)
}

// RenderSummary gives the comment of a pull request: how the builds of one commit stand, the last of each check. It changes with
// their states alone.
func RenderSummary(number int, commit string, builds []store.Build, notices []store.Notice, o Options) Report {
	r := Report{Kind: KindComment, Name: SummaryName, ExternalID: fmt.Sprint(number), PullRequest: number, Commit: commit, Status: Completed, Conclusion: Success}
	type row struct {
		made time.Time
		text string
		own  Report
	}
	rows := map[string]row{}
	put := func(name string, made time.Time, text string, own Report) {
		if r.Started.IsZero() || made.Before(r.Started) {
			r.Started = made
		}
		if old, ok := rows[name]; !ok || !made.Before(old.made) {
			rows[name] = row{made, text, own}
		}
	}
	for i := range notices {
		n := &notices[i]
		own := RenderNotice(n, o)
		put(n.Check, n.Created, fmt.Sprintf("| %s | [%s](%s) |\n", code(own.Name), text(own.Title), own.URL), own)
	}
	for i := range builds {
		b := &builds[i]
		own := Report{URL: o.URL(b.ID, b.Repo), Completed: b.Ended}
		own.Status, own.Conclusion = buildState(b)
		s := fmt.Sprintf("| %s | [#%d](%s): %s |\n", code(checkName(b.Check)), b.Number, own.URL, text(title(b)))
		put(b.Check, b.Created, s, own)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "Builds of %s:\n\n| Check | Result |\n|---|---|\n", code(commit[:min(len(commit), 12)]))
	names := make([]string, 0, len(rows))
	for name := range rows {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row := rows[name]
		s.WriteString(row.text)
		switch own := row.own; {
		case own.Status != Completed:
			r.Status = InProgress
		case own.Conclusion != Success && own.Conclusion != Skipped:
			r.Conclusion = Failure
		}
		if row.own.Completed.After(r.Completed) {
			r.Completed = row.own.Completed
		}
	}
	if r.Status != Completed {
		r.Conclusion, r.Completed = "", time.Time{}
	}
	r.Summary = limit(s.String())
	return r
}
