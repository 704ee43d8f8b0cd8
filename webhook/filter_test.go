package webhook

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

// groupsOf reads filter groups in a short form: " | " between groups, " & " between filters, TYPE~pattern, and TYPE!~pattern
// for one that excludes.
func groupsOf(text string) [][]Filter {
	var groups [][]Filter
	if text == "" {
		return nil
	}
	for group := range strings.SplitSeq(text, " | ") {
		var list []Filter
		for filter := range strings.SplitSeq(group, " & ") {
			kind, pattern, _ := strings.Cut(filter, "~")
			kind, exclude := strings.CutSuffix(kind, "!")
			list = append(list, Filter{kind, pattern, exclude})
		}
		groups = append(groups, list)
	}
	return groups
}

func compiled(t testing.TB, groups string) *Filters {
	t.Helper()
	f, _, err := CompileFilters(groupsOf(groups))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func changed(files ...string) func(context.Context) ([]string, error) {
	return func(context.Context) ([]string, error) { return files, nil }
}

func pushTo(ref string) Subject {
	message := "fix the door"
	return Subject{Event: store.EventPush, Actor: "91234", HeadRef: ref, RepositoryName: "shop", OrganizationName: "octo", Message: &message, Files: changed("docs/a.md", "src/b.go")}
}

func pushSaying(message string) Subject {
	s := pushTo("refs/heads/main")
	s.Message = &message
	return s
}

func pushOf(files ...string) Subject {
	s := pushTo("refs/heads/main")
	s.Files = changed(files...)
	return s
}

func pullRequest(event, base string) Subject {
	return Subject{Event: event, Actor: "1", HeadRef: "refs/heads/feature", BaseRef: base, RepositoryName: "shop", Files: changed("src/b.go")}
}

var (
	released = Subject{Event: store.EventReleased, Actor: "1", TagName: "v1.2", ReleaseName: "Spring", RepositoryName: "shop"}
	inQueue  = Subject{Event: store.EventPullRequestUpdated, Also: []string{store.EventPush}, HeadRef: "refs/heads/gh-readonly-queue/main/pr-7-0a", BaseRef: "refs/heads/main"}
)

func TestDecide(t *testing.T) {
	const main = "refs/heads/main"
	opened := pullRequest(store.EventPullRequestCreated, main)
	for _, tt := range []struct {
		name, groups string
		subject      Subject
		group        int // -1: builds without one
		want         string
	}{
		{"W1 push to main", "EVENT~PUSH & HEAD_REF~^refs/heads/main$", pushTo(main), 1, ""},
		{"W2 push to maintenance", "EVENT~PUSH & HEAD_REF~^refs/heads/main$", pushTo("refs/heads/maintenance"), 0,
			`in group 1 HEAD_REF "refs/heads/maintenance" does not match ^refs/heads/main$`},
		{"W4 a tag", "EVENT~PUSH & HEAD_REF~^refs/tags/v[0-9]+", pushTo("refs/tags/v12"), 1, ""},
		{"W5 skip ci", `EVENT~PUSH & COMMIT_MESSAGE!~\[skip ci\]`, pushSaying("fix [skip ci]"), 0,
			`in group 1 COMMIT_MESSAGE "fix [skip ci]" matches the excluded \[skip ci\]`},
		{"W6 only an older commit says it", `EVENT~PUSH & COMMIT_MESSAGE!~\[skip ci\]`, pushSaying("fix"), 1, ""},
		{"W7 into release", "EVENT~PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED & BASE_REF~^refs/heads/main$", pullRequest(store.EventPullRequestCreated, "refs/heads/release"), 0,
			`in group 1 BASE_REF "refs/heads/release" does not match ^refs/heads/main$`},
		{"W8 one of the files", "EVENT~PUSH & FILE_PATH~^docs/", pushOf("docs/a.md", "src/b.go"), 1, ""},
		{"W10 the second group", "EVENT~PUSH | EVENT~PULL_REQUEST_CREATED", opened, 2, ""},
		// CodeBuild does not build this one; our design does.
		{"W12 no filters, reopened", "", pullRequest(store.EventPullRequestReopen, main), -1, "There are no filters, and without them PULL_REQUEST_REOPENED builds."},
		{"W14 an unanchored id", "EVENT~PUSH & ACTOR_ACCOUNT_ID~123", pushTo(main), 1, ""},

		{"E1 no filters, push", "", pushTo(main), -1, "There are no filters, and without them PUSH builds."},
		{"E1 no filters, opened", "", opened, -1, "There are no filters, and without them PULL_REQUEST_CREATED builds."},
		{"E1 no filters, updated", "", pullRequest(store.EventPullRequestUpdated, main), -1, "There are no filters, and without them PULL_REQUEST_UPDATED builds."},
		{"E1 no filters, merged", "", pullRequest(store.EventPullRequestMerged, main), 0,
			"There are no filters, and without them only PUSH, PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_REOPENED build, not PULL_REQUEST_MERGED."},
		{"E1 no filters, release", "", released, 0,
			"There are no filters, and without them only PUSH, PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_REOPENED build, not RELEASED."},
		{"E1 no filters, merge queue", "", inQueue, -1, "There are no filters, and without them PULL_REQUEST_UPDATED builds."},

		{"E2 every group fails", "EVENT~PUSH | EVENT~PULL_REQUEST_CREATED & HEAD_REF~^refs/heads/x$", opened, 0,
			`in group 1 EVENT PULL_REQUEST_CREATED is not among PUSH; in group 2 HEAD_REF "refs/heads/feature" does not match ^refs/heads/x$`},
		{"E2 the first that passes", "EVENT~RELEASED | EVENT~PUSH | EVENT~PUSH", pushTo(main), 2, ""},
		{"E3 blanks around commas", "EVENT~ PULL_REQUEST_CREATED ,\tPUSH ", pushTo(main), 1, ""},
		{"E3 excluded events", "EVENT!~PULL_REQUEST_CREATED", pushTo(main), 1, ""},
		{"E3 an excluded event", "EVENT!~PUSH, RELEASED", pushTo(main), 0, "in group 1 EVENT PUSH is among the excluded PUSH, RELEASED"},
		{"E4 searched, not anchored", "EVENT~PUSH & HEAD_REF~main", pushTo("refs/heads/maintenance"), 1, ""},
		{"E4 case matters", "EVENT~PUSH & HEAD_REF~Main", pushTo(main), 0, `in group 1 HEAD_REF "refs/heads/main" does not match Main`},
		{"E4 case that does not", "EVENT~PUSH & HEAD_REF~(?i)Main", pushTo(main), 1, ""},
		{"E5 a push has no base", "EVENT~PUSH & BASE_REF~.", pushTo(main), 0, "in group 1 the event has no BASE_REF"},
		{"E5 nor one to exclude", "EVENT~PUSH & BASE_REF!~.", pushTo(main), 1, ""},
		{"E5 no message", "EVENT~PULL_REQUEST_CREATED & COMMIT_MESSAGE~.", opened, 0, "in group 1 the event has no COMMIT_MESSAGE"},
		{"E5 no message to exclude", `EVENT~PULL_REQUEST_CREATED & COMMIT_MESSAGE!~\[skip ci\]`, opened, 1, ""},
		{"E5 no files", "EVENT~RELEASED & FILE_PATH~.", released, 0, "in group 1 the event has no FILE_PATH"},
		{"E5 no files to exclude", "EVENT~RELEASED & FILE_PATH!~. & FILE_PATH_ALL!~.", released, 1, ""},
		{"E6 an actor", "EVENT~PUSH & ACTOR_ACCOUNT_ID~^(?:91234|7)$", pushTo(main), 1, ""},
		{"E6 another actor", "EVENT~PUSH & ACTOR_ACCOUNT_ID~^(?:123|7)$", pushTo(main), 0, `in group 1 ACTOR_ACCOUNT_ID "91234" does not match ^(?:123|7)$`},
		{"E6 an excluded actor", "EVENT~PUSH & ACTOR_ACCOUNT_ID!~^91234$", pushTo(main), 0, `in group 1 ACTOR_ACCOUNT_ID "91234" matches the excluded ^91234$`},
		{"E7 look-ahead", "EVENT~PUSH & HEAD_REF~^refs/heads/(?!main$)", pushTo(main), 0, `in group 1 HEAD_REF "refs/heads/main" does not match ^refs/heads/(?!main$)`},
		{"E7 look-ahead, others", "EVENT~PUSH & HEAD_REF~^refs/heads/(?!main$)", pushTo("refs/heads/maintenance"), 1, ""},
		{"E7 look-behind", "EVENT~PUSH & HEAD_REF~(?<!/)main", pushTo(main), 0, `in group 1 HEAD_REF "refs/heads/main" does not match (?<!/)main`},
		{"E7 back reference", `EVENT~PUSH & COMMIT_MESSAGE~(\w+) \1`, pushSaying("fix the the door"), 1, ""},
		{"E7 digits are ASCII's", `EVENT~PUSH & COMMIT_MESSAGE~^\d+$`, pushSaying("٣"), 0, "in group 1 COMMIT_MESSAGE \"٣\" does not match ^\\d+$"},
		{"E8 the end of a message", "EVENT~PUSH & COMMIT_MESSAGE~door$", pushSaying("fix the door\n"), 1, ""},
		{"E8 of its first line", "EVENT~PUSH & COMMIT_MESSAGE~door$", pushSaying("fix the door\n\nbody"), 0, `in group 1 COMMIT_MESSAGE "fix the door\n\nbody" does not match door$`},
		{"E8 of any line", "EVENT~PUSH & COMMIT_MESSAGE~(?m)door$", pushSaying("fix the door\n\nbody"), 1, ""},
		{"E8 an empty message", "EVENT~PUSH & COMMIT_MESSAGE~^$", pushSaying(""), 1, ""},
		{"E9 no file matches", "EVENT~PUSH & FILE_PATH~^lib/", pushOf("docs/a.md", "src/b.go"), 0, "in group 1 none of the changed files (2) matches ^lib/"},
		{"E9 excluded, one matches", "EVENT~PUSH & FILE_PATH!~^docs/", pushOf("src/b.go", "docs/a.md"), 0, `in group 1 FILE_PATH "docs/a.md" matches the excluded ^docs/`},
		{"E9 excluded, none matches", "EVENT~PUSH & FILE_PATH!~^docs/", pushOf("src/b.go"), 1, ""},
		{"E9 nothing changed", "EVENT~PUSH & FILE_PATH~.", pushOf(), 0, "in group 1 no file was changed"},
		{"E9 nothing changed, excluded", "EVENT~PUSH & FILE_PATH!~.", pushOf(), 1, ""},
		{"E10 all match", "EVENT~PUSH & FILE_PATH_ALL~^docs/", pushOf("docs/a.md", "docs/b.md"), 1, ""},
		{"E10 not all match", "EVENT~PUSH & FILE_PATH_ALL~^docs/", pushOf("docs/a.md", "src/b.go"), 0, `in group 1 FILE_PATH_ALL "src/b.go" does not match ^docs/`},
		{"E10 skip docs-only", "EVENT~PUSH & FILE_PATH_ALL!~^docs/", pushOf("docs/a.md", "docs/b.md"), 0, "in group 1 each of the changed files (2) matches the excluded ^docs/"},
		{"E10 docs and code", "EVENT~PUSH & FILE_PATH_ALL!~^docs/", pushOf("docs/a.md", "src/b.go"), 1, ""},
		{"E10 an empty commit is not docs-only", "EVENT~PUSH & FILE_PATH_ALL!~^docs/", pushOf(), 1, ""},
		{"E10 nor all of anything", "EVENT~PUSH & FILE_PATH_ALL~.", pushOf(), 0, "in group 1 no file was changed"},
		{"E11 a release", `EVENT~RELEASED,PRERELEASED & TAG_NAME~^v\d & RELEASE_NAME~^Spring$`, released, 1, ""},
		{"E11 another tag", `EVENT~RELEASED & TAG_NAME~^v2`, released, 0, `in group 1 TAG_NAME "v1.2" does not match ^v2`},
		{"E11 another title", `EVENT~RELEASED & RELEASE_NAME!~Spring`, released, 0, `in group 1 RELEASE_NAME "Spring" matches the excluded Spring`},
		{"E12 repository", "EVENT~PUSH & REPOSITORY_NAME~^shop$ & ORGANIZATION_NAME~^octo$", pushTo(main), 1, ""},
		{"E12 another organisation", "EVENT~PUSH & ORGANIZATION_NAME~^acme$", pushTo(main), 0, `in group 1 ORGANIZATION_NAME "octo" does not match ^acme$`},
		{"E12 a person's repository", "EVENT~PULL_REQUEST_CREATED & ORGANIZATION_NAME~.", opened, 0, "in group 1 the event has no ORGANIZATION_NAME"},
		{"E12 a job of Actions", "EVENT~WORKFLOW_JOB_QUEUED & WORKFLOW_NAME~^deploy$", Subject{Event: "WORKFLOW_JOB_QUEUED", WorkflowName: "deploy"}, 1, ""},
		{"E13 a merge queue counts as pull request", "EVENT~PULL_REQUEST_UPDATED & BASE_REF~^refs/heads/main$", inQueue, 1, ""},
		{"E13 a merge queue counts as push", "EVENT~PUSH", inQueue, 1, ""},
		{"E13 a merge queue is not opened", "EVENT~PULL_REQUEST_CREATED", inQueue, 0, "in group 1 EVENT PULL_REQUEST_UPDATED is not among PULL_REQUEST_CREATED"},
		{"E13 excluding either excludes it", "EVENT!~PUSH", inQueue, 0, "in group 1 EVENT PUSH is among the excluded PUSH"},
		{"E14 long texts are shortened", "EVENT~PUSH & HEAD_REF~^x$", pushTo("refs/heads/" + strings.Repeat("a", 300)), 0,
			`in group 1 HEAD_REF "refs/heads/` + strings.Repeat("a", 189) + `"... does not match ^x$`},
		{"E14 very long ones are not searched", "EVENT~PUSH & COMMIT_MESSAGE!~x", pushSaying(strings.Repeat("a", maxText+1)), 0,
			`in group 1 COMMIT_MESSAGE "` + strings.Repeat("a", 200) + `"...: it has more than 262144 bytes and is not searched for x`},
		{"E14 many groups", strings.Repeat("EVENT~RELEASED | ", 11) + "EVENT~RELEASED", pushTo(main), 0,
			strings.TrimPrefix(strings.Repeat("; in group N EVENT PUSH is not among RELEASED", 10), "; ") + "; and 2 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := compiled(t, tt.groups).Decide(t.Context(), &tt.subject)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			switch {
			case tt.group > 0:
				want = "Filter group " + string(rune('0'+tt.group)) + " passes."
			case tt.groups != "":
				for n := 1; strings.Contains(want, "group N"); n++ {
					want = strings.Replace(want, "group N", "group "+[]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}[n-1], 1)
				}
				want = "No filter group passes: " + want + "."
			}
			if v.Build != (tt.group != 0) || v.Group != max(tt.group, 0) || v.Reason != want {
				t.Errorf("%v by group %d: %s\nwant group %d: %s", v.Build, v.Group, v.Reason, tt.group, want)
			}
			if len(v.Groups) != len(groupsOf(tt.groups)) {
				t.Errorf("%d groups", len(v.Groups))
			}
			for g, group := range v.Groups {
				passed := !slices.ContainsFunc(group.Filters, func(f FilterVerdict) bool { return !f.Passed })
				if group.Passed != passed || passed && !v.Build {
					t.Errorf("group %d: %+v", g+1, group)
				}
				for _, f := range group.Filters {
					if f.Why == "" {
						t.Errorf("group %d: no reason for %+v", g+1, f)
					}
				}
			}
		})
	}
}

// TestVerdictOfEachFilter has all filters told, with those that were not tried.
func TestVerdictOfEachFilter(t *testing.T) {
	type told struct {
		Passed, Unseen bool
		Why            string
	}
	s := pushOf("docs/a.md")
	for _, tt := range []struct {
		groups string
		want   [][]told
	}{
		{"EVENT~PUSH & HEAD_REF~^x$ & FILE_PATH~^docs/ & ACTOR_ACCOUNT_ID!~^1$ | EVENT~PUSH & FILE_PATH~^src/ | EVENT~PUSH", [][]told{
			{{true, false, "EVENT PUSH is among PUSH"}, {false, false, `HEAD_REF "refs/heads/main" does not match ^x$`},
				{false, true, "not tried: filter 2 of the group does not pass"}, {true, false, `ACTOR_ACCOUNT_ID "91234" does not match the excluded ^1$`}},
			{{true, false, "EVENT PUSH is among PUSH"}, {false, true, "not tried: group 3 passes without looking at files"}},
			{{true, false, "EVENT PUSH is among PUSH"}}}},
		{"EVENT~PUSH & FILE_PATH~^src/ | EVENT~PUSH & FILE_PATH~^docs/ | EVENT~PUSH & FILE_PATH!~^src/", [][]told{
			{{true, false, "EVENT PUSH is among PUSH"}, {false, false, "none of the changed files (1) matches ^src/"}},
			{{true, false, "EVENT PUSH is among PUSH"}, {true, false, `FILE_PATH "docs/a.md" matches ^docs/`}},
			{{true, false, "EVENT PUSH is among PUSH"}, {true, false, "none of the changed files (1) matches the excluded ^src/"}}}},
	} {
		v, err := compiled(t, tt.groups).Decide(t.Context(), &s)
		if err != nil {
			t.Fatal(err)
		}
		var got [][]told
		for _, group := range v.Groups {
			var list []told
			for _, f := range group.Filters {
				list = append(list, told{f.Passed, f.Unseen, f.Why})
			}
			got = append(got, list)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.groups, diff)
		}
	}
}

// TestFilesAreAskedForLast counts how often the changed files are asked for.
func TestFilesAreAskedForLast(t *testing.T) {
	for groups, want := range map[string]int{
		"": 0,
		"EVENT~PUSH & HEAD_REF~^refs/heads/main$":                                           0,
		"EVENT~PUSH & FILE_PATH~a":                                                          1,
		"FILE_PATH~a & EVENT~RELEASED":                                                      0,
		"EVENT~PUSH & FILE_PATH~a | EVENT~PUSH":                                             0,
		"EVENT~PUSH & FILE_PATH~a | EVENT~RELEASED":                                         1,
		"EVENT~PUSH & FILE_PATH~a & FILE_PATH_ALL~b | EVENT~PUSH & FILE_PATH!~[a-z]":        1,
		"EVENT~PUSH & FILE_PATH~none | EVENT~PUSH & FILE_PATH~x | EVENT~PUSH & FILE_PATH~y": 1,
	} {
		n := 0
		s := pushTo("refs/heads/main")
		s.Files = func(context.Context) ([]string, error) { n++; return []string{"a"}, nil }
		if _, err := compiled(t, groups).Decide(t.Context(), &s); err != nil || n != want {
			t.Errorf("%s: asked %d times, %v, want %d", groups, n, err, want)
		}
	}
	asked := errors.New("the forge does not answer")
	s := pushTo("refs/heads/main")
	s.Files = func(context.Context) ([]string, error) { return nil, asked }
	v, err := compiled(t, "EVENT~PUSH & FILE_PATH~a").Decide(t.Context(), &s)
	if !errors.Is(err, asked) || err.Error() != "looking at the changed files: the forge does not answer" || v.Build {
		t.Errorf("%v, %v", v, err)
	}
}

// TestSearchesEnd has patterns that take for ever: the filter does not pass, whether it excludes or not, others are tried, and
// all of them together do not take for ever either.
func TestSearchesEnd(t *testing.T) {
	const bad = "^(a+)+$"
	message := strings.Repeat("a", 40) + "b"
	s := pushSaying(message)
	for _, mark := range []string{"~", "!~"} {
		v, err := compiled(t, "EVENT~PUSH & COMMIT_MESSAGE"+mark+bad+" | EVENT~PUSH").Decide(t.Context(), &s)
		want := `COMMIT_MESSAGE "` + message + `": searching it for ^(a+)+$ took longer than 500ms`
		if err != nil || v.Group != 2 || v.Groups[0].Passed || v.Groups[0].Filters[1].Passed || v.Groups[0].Filters[1].Why != want {
			t.Errorf("%s: %+v, %v", mark, v, err)
		}
	}
	s.Files = changed("x", message)
	v, err := compiled(t, "EVENT~PUSH & FILE_PATH!~"+bad).Decide(t.Context(), &s)
	if want := `No filter group passes: in group 1 FILE_PATH "` + message + `": searching it for ^(a+)+$ took longer than 500ms.`; err != nil || v.Build || v.Reason != want {
		t.Errorf("%+v, %v", v, err)
	}
	many := strings.TrimSuffix(strings.Repeat("EVENT~PUSH & COMMIT_MESSAGE!~"+bad+" | ", 20), " | ")
	start := time.Now()
	v, err = compiled(t, many).Decide(t.Context(), &s)
	if took := time.Since(start); err != nil || v.Build || took > 2*decideTime {
		t.Errorf("%v after %v: %+v", err, took, v)
	}
	if want := `COMMIT_MESSAGE "` + message + `": the filters took longer than 5s together before it was searched for ^(a+)+$`; v.Groups[19].Filters[1].Why != want {
		t.Errorf("%s, want %s", v.Groups[19].Filters[1].Why, want)
	}
}

func TestCompileFilters(t *testing.T) {
	const (
		types  = "EVENT, ACTOR_ACCOUNT_ID, HEAD_REF, BASE_REF, FILE_PATH, FILE_PATH_ALL, COMMIT_MESSAGE, TAG_NAME, RELEASE_NAME, REPOSITORY_NAME, ORGANIZATION_NAME, WORKFLOW_NAME"
		events = "PUSH, PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_REOPENED, PULL_REQUEST_MERGED, PULL_REQUEST_CLOSED, RELEASED, PRERELEASED, WORKFLOW_JOB_QUEUED"
	)
	for _, tt := range []struct {
		name, groups string
		want         []string
	}{
		{"W11 no EVENT", "HEAD_REF~main", []string{"group 1: the group has no filter of the type EVENT, which every group needs"}},
		{"in the second group", "EVENT~PUSH | HEAD_REF~main", []string{"group 2: the group has no filter of the type EVENT, which every group needs"}},
		{"unknown event", "EVENT~PUSH, PULL_REQUEST", []string{`group 1, filter 1: "PULL_REQUEST" is no event; known are ` + events}},
		{"small event", "EVENT~push", []string{`group 1, filter 1: "push" is no event; known are ` + events}},
		{"a comma too many", "EVENT~PUSH,", []string{"group 1, filter 1: the pattern of EVENT has nothing between two commas, or at an end"}},
		{"no type", "EVENT~PUSH & ~x", []string{"group 1, filter 2: the type is missing; known are " + types}},
		{"unknown type", "EVENT~PUSH & BRANCH~x", []string{`group 1, filter 2: "BRANCH" is no type of filters; known are ` + types}},
		{"no pattern", "EVENT~PUSH & HEAD_REF~", []string{"group 1, filter 2: the pattern of HEAD_REF is missing"}},
		{"no expression", "EVENT~PUSH & HEAD_REF~(main", []string{"group 1, filter 2: the pattern of HEAD_REF is no regular expression: missing closing ) in `(main`"}},
		{"nothing to repeat", "EVENT~PUSH & FILE_PATH~*.md", []string{"group 1, filter 2: the pattern of FILE_PATH is no regular expression: missing argument to repetition operator in `*.md`"}},
		{"Java's quotes", `EVENT~PUSH & COMMIT_MESSAGE~\\\Q[skip ci]\E`, []string{`group 1, filter 2: the pattern of COMMIT_MESSAGE has \Q, which means nothing here`}},
		{"Java's possessive quantifiers", "EVENT~PUSH & HEAD_REF~a++", []string{"group 1, filter 2: the pattern of HEAD_REF is no regular expression: invalid nested repetition operator in `a++`"}},
		{"too long", "EVENT~PUSH & HEAD_REF~" + strings.Repeat("a", maxPattern+1), []string{"group 1, filter 2: the pattern of HEAD_REF has 16385 bytes, which are more than 16384"}},
		{"not UTF-8", "EVENT~PUSH & HEAD_REF~\xff", []string{"group 1, filter 2: the pattern of HEAD_REF is not UTF-8"}},
		{"all of it", "EVENT~X & HEAD_REF~( | BASE_REF~[", []string{
			`group 1, filter 1: "X" is no event; known are ` + events,
			"group 1, filter 2: the pattern of HEAD_REF is no regular expression: missing closing ) in `(`",
			"group 2: the group has no filter of the type EVENT, which every group needs",
			"group 2, filter 1: the pattern of BASE_REF is no regular expression: unterminated [] set in `[`"}},
		{"too many groups", strings.Repeat("EVENT~PUSH | ", 100) + "EVENT~PUSH", []string{"101 filter groups are more than 100"}},
		{"too many filters", strings.Repeat("EVENT~PUSH & ", 100) + "EVENT~PUSH", []string{"group 1: 101 filters are more than 100"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, warnings, err := CompileFilters(groupsOf(tt.groups))
			if err == nil || f != nil || warnings != nil {
				t.Fatalf("%v, %q, %v", f, warnings, err)
			}
			if want := strings.Join(tt.want, "\n"); err.Error() != want {
				t.Errorf("%s\nwant %s", err, want)
			}
			if list := (FilterErrors)(nil); !errors.As(err, &list) || len(list) != len(tt.want) {
				t.Errorf("%#v", err)
			}
		})
	}
	if f, warnings, err := CompileFilters([][]Filter{{}}); f != nil || warnings != nil || err == nil || err.Error() != "group 1: the group has no filter of the type EVENT, which every group needs" {
		t.Errorf("an empty group: %v, %q, %v", f, warnings, err)
	}
	if f, warnings, err := CompileFilters(nil); f != nil || warnings != nil || err != nil {
		t.Errorf("no groups: %v, %q, %v", f, warnings, err)
	}
	if f, warnings, err := CompileFilters(groupsOf(`EVENT~PUSH & COMMIT_MESSAGE~\/\_\-\[\p{L}\u00e9`)); f == nil || warnings != nil || err != nil {
		t.Errorf("escapes: %v, %q, %v", f, warnings, err)
	}
}

func TestFilterWarnings(t *testing.T) {
	const (
		ids  = "; write ^(?:...)$ around it, or longer ids pass too"
		refs = "; write ^ before and $ behind it, or .* where anything may follow"
		says = ", so it matches more than it says"
	)
	for groups, want := range map[string]string{
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~123":                "group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern 123 is searched for anywhere and has neither ^ nor $" + says + ids,
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~123|456":            "group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern 123|456 is searched for anywhere and has neither ^ nor $" + says + ids,
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~^123|456$":          "group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern ^123|456$ is searched for anywhere and has neither ^ nor $" + says + ids,
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~^123":               "group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern ^123 is searched for anywhere and has no $ at its end" + says + ids,
		"EVENT~PUSH & ACTOR_ACCOUNT_ID!~123$":              "group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern 123$ is searched for anywhere and has no ^ at its beginning" + says + ids,
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~^123.*":             "group 1, filter 2: ACTOR_ACCOUNT_ID: the pattern ^123.* is searched for anywhere and has no $ at its end" + says + ids,
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~^123$|^456$":        "",
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~^(123|456)$":        "",
		"EVENT~PUSH & ACTOR_ACCOUNT_ID~(?:^1$|^2$)":        "",
		`EVENT~PUSH & ACTOR_ACCOUNT_ID~\A(?:1|2)\z`:        "",
		"EVENT~PUSH & HEAD_REF~main":                       "group 1, filter 2: HEAD_REF: the pattern main is searched for anywhere and has neither ^ nor $" + says + refs,
		"EVENT~PUSH & HEAD_REF~^refs/heads/main":           "group 1, filter 2: HEAD_REF: the pattern ^refs/heads/main is searched for anywhere and has no $ at its end" + says + refs,
		`EVENT~PUSH & HEAD_REF~^refs/heads/main\$`:         `group 1, filter 2: HEAD_REF: the pattern ^refs/heads/main\$ is searched for anywhere and has no $ at its end` + says + refs,
		`EVENT~PUSH & HEAD_REF~^refs/heads/a\.*`:           `group 1, filter 2: HEAD_REF: the pattern ^refs/heads/a\.* is searched for anywhere and has no $ at its end` + says + refs,
		`EVENT~PUSH & HEAD_REF~^refs/heads/[$|(]`:          `group 1, filter 2: HEAD_REF: the pattern ^refs/heads/[$|(] is searched for anywhere and has no $ at its end` + says + refs,
		`EVENT~PUSH & HEAD_REF~^refs/heads/a\\$`:           "",
		"EVENT~PUSH & HEAD_REF~^refs/heads/main$":          "",
		"EVENT~PUSH & HEAD_REF~^refs/heads/release/":       "",
		"EVENT~PUSH & HEAD_REF~^refs/tags/v.*":             "",
		"EVENT~PUSH & HEAD_REF~^refs/(?!heads/x$).+":       "",
		"EVENT~PUSH & HEAD_REF~(?i)^refs/heads/Main$":      "",
		"EVENT~PUSH & HEAD_REF~^refs/heads/[]|[:alpha:]]$": "",
		"EVENT~PUSH & HEAD_REF~((?<n>^a$))":                "",
		"EVENT~PUSH & HEAD_REF~(^a$)(^b$)":                 "group 1, filter 2: HEAD_REF: the pattern (^a$)(^b$) is searched for anywhere and has neither ^ nor $" + says + refs,
		"EVENT~PUSH & HEAD_REF~(?!^a$)":                    "group 1, filter 2: HEAD_REF: the pattern (?!^a$) is searched for anywhere and has neither ^ nor $" + says + refs,
		"EVENT~PULL_REQUEST_CREATED & BASE_REF~main$":      "group 1, filter 2: BASE_REF: the pattern main$ is searched for anywhere and has no ^ at its beginning" + says + refs,
		"EVENT~PUSH & REPOSITORY_NAME~shop":                "group 1, filter 2: REPOSITORY_NAME: the pattern shop is searched for anywhere and has neither ^ nor $" + says + refs,
		"EVENT~PUSH & ORGANIZATION_NAME~^octo":             "group 1, filter 2: ORGANIZATION_NAME: the pattern ^octo is searched for anywhere and has no $ at its end" + says + refs,
		"EVENT~PUSH & COMMIT_MESSAGE~x & FILE_PATH~y":      "",
		"EVENT~PUSH | EVENT~PUSH & BASE_REF~^a$":           "group 2, filter 2: PUSH comes without BASE_REF, so this filter never passes",
		"EVENT~PUSH,RELEASED & BASE_REF!~^a$":              "group 1, filter 2: PUSH, RELEASED comes without BASE_REF, so this filter always passes",
		"EVENT~PUSH,PULL_REQUEST_CREATED & BASE_REF~^a$":   "",
		"EVENT~RELEASED & HEAD_REF~^a$":                    "group 1, filter 2: RELEASED comes without HEAD_REF, so this filter never passes",
		"EVENT~PUSH & TAG_NAME~v":                          "group 1, filter 2: PUSH comes without TAG_NAME, so this filter never passes",
		"EVENT!~RELEASED,PRERELEASED & TAG_NAME~v":         "group 1, filter 2: PUSH, PULL_REQUEST_CREATED, PULL_REQUEST_UPDATED, PULL_REQUEST_REOPENED, PULL_REQUEST_MERGED, PULL_REQUEST_CLOSED, WORKFLOW_JOB_QUEUED comes without TAG_NAME, so this filter never passes",
		"EVENT~WORKFLOW_JOB_QUEUED":                        "group 1, filter 1: WORKFLOW_JOB_QUEUED never comes: jobs of GitHub Actions are not run here",
	} {
		f, warnings, err := CompileFilters(groupsOf(groups))
		if got := strings.Join(warnings, "\n"); err != nil || f == nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", groups, err, got, want)
		}
	}
}

func TestSubjectOf(t *testing.T) {
	repo, sender := store.Repo{Name: "octo/shop"}, store.Account{ID: "7", Login: "ann"}
	message := "fix"
	for name, tt := range map[string]struct {
		event Event
		want  Subject
		files []string
	}{
		"push": {Event{Kind: Push, Repo: repo, Sender: sender, Organization: "octo", Push: PushEvent{Ref: "refs/heads/main", Message: "fix", Files: []string{"a", "b"}}},
			Subject{Event: "PUSH", Actor: "7", HeadRef: "refs/heads/main", RepositoryName: "shop", OrganizationName: "octo", Message: &message}, []string{"a", "b"}},
		"truncated push": {Event{Kind: Push, Repo: repo, Push: PushEvent{Ref: "refs/tags/v1", Files: []string{"a"}, Truncated: true}},
			Subject{Event: "PUSH", HeadRef: "refs/tags/v1", RepositoryName: "shop"}, nil},
		"pull request": {Event{Kind: PullRequest, Repo: store.Repo{Name: "shop"}, Sender: sender, Event: store.EventPullRequestClosed, PullRequest: store.PullRequest{HeadRef: "refs/heads/dev", BaseRef: "refs/heads/main"}},
			Subject{Event: "PULL_REQUEST_CLOSED", Actor: "7", HeadRef: "refs/heads/dev", BaseRef: "refs/heads/main", RepositoryName: "shop"}, nil},
		"merge group": {Event{Kind: MergeGroup, Repo: repo, MergeGroup: MergeGroupEvent{HeadRef: "refs/heads/gh-readonly-queue/main/pr-1-a", BaseRef: "refs/heads/main", Message: "fix"}},
			Subject{Event: "PULL_REQUEST_UPDATED", Also: []string{"PUSH"}, HeadRef: "refs/heads/gh-readonly-queue/main/pr-1-a", BaseRef: "refs/heads/main", RepositoryName: "shop", Message: &message}, nil},
		"release": {Event{Kind: Release, Repo: repo, Sender: sender, Event: store.EventPrereleased, Release: ReleaseEvent{Tag: "v1", Name: "One"}},
			Subject{Event: "PRERELEASED", Actor: "7", TagName: "v1", ReleaseName: "One", RepositoryName: "shop"}, nil},
		"comment": {Event{Kind: Comment, Repo: repo, Sender: sender}, Subject{Actor: "7", RepositoryName: "shop"}, nil},
	} {
		got := SubjectOf(&tt.event)
		var files []string
		if got.Files != nil {
			files, _ = got.Files(t.Context())
		}
		got.Files = nil
		if diff := cmp.Diff(tt.want, got); diff != "" || !slices.Equal(files, tt.files) {
			t.Errorf("%s: %s%q", name, diff, files)
		}
	}
}

// FuzzFilters compiles what it gets and searches: nothing panics, and a decision ends.
func FuzzFilters(f *testing.F) {
	f.Add("EVENT", "PUSH, RELEASED", "HEAD_REF", "^refs/heads/(?!main$)", true, "refs/heads/main")
	f.Add("EVENT", "PUSH", "COMMIT_MESSAGE", "^(a+)+$", false, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")
	f.Add("EVENT", "PUSH", "FILE_PATH_ALL", `(?<a>x{2,}|[[:alpha:]])\k<a>|(?(a)b|c)`, true, "xx\x00")
	f.Add("", "PUSH", "ACTOR_ACCOUNT_ID", `(((a{1000}){1000}){1000})`, true, "7")
	f.Add("EVENT", "PUSH", "TAG_NAME", `\Q[\E]\p{Lu}(?=`, true, "\xff")
	f.Fuzz(func(t *testing.T, type1, pattern1, type2, pattern2 string, exclude bool, text string) {
		start := time.Now()
		filters, warnings, err := CompileFilters([][]Filter{{{type1, pattern1, false}, {type2, pattern2, exclude}}})
		if err != nil {
			if filters != nil || warnings != nil || err.Error() == "" {
				t.Errorf("%v, %q, %v", filters, warnings, err)
			}
			return
		}
		s := Subject{Event: store.EventPush, Actor: text, HeadRef: text, BaseRef: text, TagName: text, ReleaseName: text,
			RepositoryName: text, OrganizationName: text, WorkflowName: text, Message: &text, Files: changed(text, "x")}
		v, err := filters.Decide(t.Context(), &s)
		if err != nil || v.Build != (v.Group == 1) || v.Build != v.Groups[0].Passed || v.Reason == "" {
			t.Errorf("%+v, %v", v, err)
		}
		if took := time.Since(start); took > 2*decideTime {
			t.Errorf("it took %v", took)
		}
	})
}
