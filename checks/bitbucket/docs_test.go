package bitbucket

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/checks"
)

// rowsOf are the rows of docs/bitbucket.md below the row that begins with these words, each with its cells.
func rowsOf(t *testing.T, head string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/bitbucket.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n| "+head)
	if !found {
		t.Fatalf("docs/bitbucket.md has no table of %q", head)
	}
	lines := strings.Split(table, "\n")[2:]
	for _, line := range lines {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for n := range cells {
			cells[n] = strings.TrimSpace(cells[n])
		}
		rows = append(rows, cells)
	}
	return rows
}

// TestDocsOfStates holds the table of states to what is told.
func TestDocsOfStates(t *testing.T) {
	told := 0
	for _, row := range rowsOf(t, "Check |") {
		for _, word := range strings.Split(row[0], ", ") {
			r := &checks.Report{Status: checks.Completed, Conclusion: word}
			if word == checks.Queued || word == checks.InProgress {
				r = &checks.Report{Status: word}
			}
			told++
			if got, want := []string{cloudState(r), dcState(r), dcOldState(r)}, row[1:4]; "`"+strings.Join(got, "` `")+"`" != strings.Join(want, " ") {
				t.Errorf("%s is told as %q, docs/bitbucket.md has %q", word, got, want)
			}
		}
	}
	if told != 9 {
		t.Errorf("%d statuses and conclusions stand in docs/bitbucket.md", told)
	}
}

// TestDocsOfLimits holds the tables of limits to the code.
func TestDocsOfLimits(t *testing.T) {
	want := map[string][2]int{
		"key": {maxKey, maxKey}, "name of a status, its description": {maxName, dcMaxText}, "address of a status": {0, dcMaxURL}, "title of a report": {maxTitle, dcMaxTitle},
		"details of a report, text of an annotation": {maxDetails, dcMaxDetails}, "figures": {maxFigures, dcMaxData},
		"annotations in a request": {cloud{}.habits().Annotations, newDataCenter(nil).habits().Annotations}, "comment": {maxComment, maxComment},
	}
	rows := rowsOf(t, "Characters or number")
	for _, row := range rows {
		limits, ok := want[row[0]]
		for n, limit := range limits {
			text := ""
			if limit > 0 {
				text = fmt.Sprint(limit)
			}
			if !ok || row[1+n] != text {
				t.Errorf("%s: %q, want %q", row[0], row[1+n], text)
			}
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d limits, want %d", len(rows), len(want))
	}
	numbers := map[int]string{1: "one", 5: "five", 10: "ten", 20: "twenty"}
	hourly := func(n int) string {
		if n == 0 {
			return "never"
		}
		return fmt.Sprintf("above %d writes in an hour", n)
	}
	traffic := rowsOf(t, "Traffic |")
	for n, habits := range []checks.Habits{cloud{}.habits(), newDataCenter(nil).habits()} {
		pace := numbers[int(time.Second/habits.Interval)] + " a second, " + numbers[habits.Burst] + " after a rest"
		for line, want := range []string{pace, hourly(habits.Phases), hourly(habits.Hourly)} {
			if got := traffic[line][1+n]; got != want {
				t.Errorf("%s: %q, want %q", traffic[line][0], got, want)
			}
		}
	}
}

// TestDocsOfRights holds the tables of scopes and rights to what Examine asks for, and the marks of events to what webhooks have.
func TestDocsOfRights(t *testing.T) {
	rows := rowsOf(t, "Cloud: access token")
	if len(rows) != len(cloudNeeds) {
		t.Fatalf("%d scopes, want %d", len(rows), len(cloudNeeds))
	}
	for n, need := range cloudNeeds {
		if row := rows[n]; row[0] != "`"+need.scope+"`" || !strings.HasPrefix(row[1], "`"+need.granular+"`") || row[2] != need.lost {
			t.Errorf("%q, want %s, %s: %s", row, need.scope, need.granular, need.lost)
		}
	}
	rights := rowsOf(t, "Data Center | Without it")
	for _, need := range newDataCenter(nil).needs() {
		if !slices.ContainsFunc(rights, func(row []string) bool { return strings.Contains(need.right, strings.Trim(row[0], "`")) }) {
			t.Errorf("docs/bitbucket.md lacks the right %s", need.right)
		}
	}
	var marked []string
	for _, row := range rowsOf(t, "Cloud | Data Center | What becomes of it") {
		for _, cell := range row[:2] {
			for _, event := range strings.Split(cell, ", ") {
				if name, ok := strings.CutSuffix(event, "*"); ok {
					marked = append(marked, strings.Trim(name, "`"))
				}
			}
		}
	}
	want := append(slices.Clone(cloud{}.events()), newDataCenter(nil).events()...)
	slices.Sort(want)
	if slices.Sort(marked); !slices.Equal(marked, want) {
		t.Errorf("marked are %q, want %q", marked, want)
	}
}
