package checks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// told gives what is recorded below an id.
func (o *office) told(id string) (all map[string]store.Told) {
	o.t.Helper()
	if err := o.store.View(func(tx *store.Tx) (err error) { all, err = tx.AllTold(id); return err }); err != nil {
		o.t.Fatal(err)
	}
	return all
}

func TestStatusesBeside(t *testing.T) {
	o := newOffice(t)
	o.options.Statuses = StatusesBeside
	o.start()
	b := o.submit("c")
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.Claimed = begin })
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.Enter(store.PhaseBuild, begin) })
	o.advance(updateEvery)
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.End(store.Fault, begin.Add(time.Second)) })
	o.silent()
	told := o.told(b.ID)
	if len(told) != 2 || told["buildsmith"].Remote == told["status\x00buildsmith"].Remote {
		t.Fatalf("%+v", told)
	}
	var statuses, checks []string
	for _, line := range o.board.said() {
		if strings.HasPrefix(line, "status ") {
			statuses = append(statuses, strings.TrimPrefix(line, "status "))
		} else {
			checks = append(checks, line)
		}
	}
	// The phase that began changes the check and not the status.
	if want := []string{"create buildsmith queued", "update buildsmith in_progress", "update buildsmith completed error"}; !slices.Equal(statuses, want) {
		t.Errorf("statuses %q, want %q", statuses, want)
	}
	if want := []string{"create buildsmith queued", "update buildsmith in_progress", "update buildsmith in_progress", "update buildsmith completed failure"}; !slices.Equal(checks, want) {
		t.Errorf("checks %q, want %q", checks, want)
	}
	list, err := ToldReports(o.store, b.ID)
	if err != nil || len(list) != 1 || list[0].Kind != KindCheck {
		t.Errorf("the page shows %v %v", names(list), err)
	}
}

// TestStatusesInstead turns statuses on while a build runs: its check is brought to its end, and the next build has none.
func TestStatusesInstead(t *testing.T) {
	o := newOffice(t)
	o.start()
	first := o.submit("c")
	o.silent()
	o.stop()
	o.options.Statuses = StatusesInstead
	o.start()
	o.change(first.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.silent()
	if told := o.told(first.ID); told["buildsmith"].Status != Completed || told["status\x00buildsmith"].Status != Completed {
		t.Errorf("%+v", told)
	}
	second := o.submit("d")
	o.change(second.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.silent()
	if told := o.told(second.ID); len(told) != 1 || told["status\x00buildsmith"].Status != Completed {
		t.Errorf("%+v", told)
	}
	o.stop()
	o.board.lacks = KindStatus // such as the built-in forge
	o.start()
	third := o.submit("e")
	o.silent()
	if told := o.told(third.ID); len(told) != 1 || told["buildsmith"].Status != Queued {
		t.Errorf("%+v", told)
	}
}

// TestLaterStatusCounts ends a build after another of its commit has begun: its status stays unsaid, for the last one told counts.
func TestLaterStatusCounts(t *testing.T) {
	o := newOffice(t)
	o.options.Statuses = StatusesBeside
	o.start()
	first := o.submit("c")
	o.silent()
	second := o.submit("c")
	o.change(first.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.silent()
	if told := o.told(first.ID); told["buildsmith"].Status != Completed || told["status\x00buildsmith"].Status != Queued {
		t.Errorf("%+v", told)
	}
	if told := o.told(second.ID); told["status\x00buildsmith"].Status != Queued {
		t.Errorf("%+v", told)
	}
}

func TestStatusText(t *testing.T) {
	b := failedBuild()
	b.Trigger.HeadRef, b.Trigger.Event = "refs/heads/main", store.EventPush
	second := failedBuild()
	second.Check, second.Trigger.PullRequest = "buildsmith (docs)", 12
	for _, tt := range []struct {
		build         *store.Build
		context, want string
	}{
		{b, "", "buildsmith: Failed in BUILD: exit status 3"},
		{second, "", "buildsmith (docs): Failed in BUILD: exit status 3"},
		{b, ContextCodeBuild, "AWS CodeBuild eu-west-1 (shop): Build failed for project shop"},
		{b, "ci/$CODEBUILD_WEBHOOK_TRIGGER", "ci/branch/main: Failed in BUILD: exit status 3"},
		{second, "ci/${CODEBUILD_WEBHOOK_TRIGGER}", "ci/pr/12 (docs): Failed in BUILD: exit status 3"},
		{second, "$BUILDSMITH_PROJECT $AWS_REGION", "shop eu-west-1: Failed in BUILD: exit status 3"},
		{second, "$CODEBUILD_BUILD_ID", "shop:b1: Failed in BUILD: exit status 3"},
		{b, "$CODEBUILD_INITIATOR", "buildsmith: Failed in BUILD: exit status 3"}, // nothing is no context
	} {
		r := buildStatus(tt.build, Options{URL: options.URL, StatusContext: tt.context, Region: "eu-west-1"})
		if got := r.Name + ": " + r.Title; got != tt.want || r.Conclusion != Failure || r.URL == "" {
			t.Errorf("%q: %q, want %q", tt.context, got, tt.want)
		}
	}
	codebuild := Options{URL: options.URL, StatusContext: ContextCodeBuild}
	for status, want := range map[store.Status]string{store.Succeeded: "completed success Build succeeded for project shop", store.Stopped: "completed error Build failed for project shop",
		store.Fault: "completed error Build failed for project shop", store.TimedOut: "completed timed_out Build failed for project shop"} {
		b := failedBuild()
		b.Status = status
		if r := buildStatus(b, codebuild); fmt.Sprint(r.Status, " ", r.Conclusion, " ", r.Title) != want || r.Name != "AWS CodeBuild local (shop)" {
			t.Errorf("%s: %+v", status, r)
		}
	}
	queued, running := failedBuild(), failedBuild()
	for _, b := range []*store.Build{queued, running} {
		b.Status, b.Ended = store.InProgress, time.Time{}
	}
	queued.Claimed = time.Time{}
	one, other := buildStatus(queued, codebuild), buildStatus(running, codebuild)
	if one.Title != "Build started for project shop" || one.Digest() != other.Digest() {
		t.Errorf("%+v %+v", one, other)
	}
	n := &store.Notice{ID: "n", Check: "buildsmith", Project: "shop", Conclusion: store.SkippedNotice, Title: "Skipped", Reason: "The commit says [skip ci]."}
	if r := noticeStatus(n, Options{URL: options.URL}); r.Kind != KindStatus || r.Conclusion != Skipped || r.Title != "The commit says [skip ci]." || r.Summary != "" {
		t.Errorf("%+v", r)
	}
	n.Conclusion, n.Title, n.Trigger.PullRequest = store.ActionRequired, "Approval needed", 3
	if r := noticeStatus(n, Options{URL: options.URL}); r.Conclusion != ActionRequired || r.Title != "Approval needed" || r.Actions != nil {
		t.Errorf("%+v", r)
	}
	if got := UnknownVariables("$A ${CODEBUILD_INITIATOR} ${B}"); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("%v", got)
	}
}

func TestDeployments(t *testing.T) {
	build := func(change func(*store.Build)) *store.Build {
		b := failedBuild()
		b.Status, b.Repo.DefaultBranch = store.Succeeded, "main"
		b.Trigger.HeadRef, b.Settings.Environment = "refs/heads/main", &store.Environment{Name: "production", URL: "https://shop.example.org"}
		if change != nil {
			change(b)
		}
		return b
	}
	for name, tt := range map[string]struct {
		build *store.Build
		want  string // empty: none
	}{
		"succeeded":    {build(nil), "completed success Build #7 of shop: Succeeded in 1 min 20 s"},
		"failed":       {build(func(b *store.Build) { b.Status = store.Failed }), "completed failure Build #7 of shop: Failed in BUILD: exit status 3"},
		"fault":        {build(func(b *store.Build) { b.Status = store.Fault }), "completed error Build #7 of shop: Internal error in BUILD"},
		"running":      {build(func(b *store.Build) { b.Status, b.Ended = store.InProgress, time.Time{} }), "in_progress  Build #7 of shop"},
		"queued":       {build(func(b *store.Build) { b.Claimed, b.Ended = time.Time{}, time.Time{} }), ""},
		"fork":         {build(func(b *store.Build) { b.Trigger.Fork = true }), ""},
		"pull request": {build(func(b *store.Build) { b.Trigger.PullRequest = 3 }), ""},
		"merge queue":  {build(func(b *store.Build) { b.Trigger.MergeGroup = true }), ""},
		"other branch": {build(func(b *store.Build) { b.Trigger.HeadRef = "refs/heads/next" }), ""},
		"tag":          {build(func(b *store.Build) { b.Trigger.HeadRef = "refs/tags/main" }), ""},
		"its branch":   {build(func(b *store.Build) { b.Trigger.HeadRef, b.Settings.Environment.Branch = "refs/heads/next", "next" }), "completed success Build #7 of shop: Succeeded in 1 min 20 s"},
		"no branch":    {build(func(b *store.Build) { b.Repo.DefaultBranch, b.Trigger.HeadRef = "", "refs/heads/" }), ""},
		"no setting":   {build(func(b *store.Build) { b.Settings.Environment = nil }), ""},
	} {
		r, ok := deployment(tt.build, options)
		if got := fmt.Sprint(r.Status, " ", r.Conclusion, " ", r.Title); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: %v %q, want %q", name, ok, got, tt.want)
		}
	}
	o := newOffice(t)
	o.start()
	b := o.submitBuild(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: "c", HeadRef: "refs/heads/main"},
		Settings: store.Settings{Environment: &store.Environment{Name: "production", Branch: "main"}}})
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.Claimed = begin })
	o.silent()
	o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
	o.silent()
	if told := o.told(b.ID); len(told) != 2 || told["deployment\x00production"].Status != Completed {
		t.Errorf("%+v", told)
	}
}

// TestReplyOnce loses the answer to a reply: it is found, and not sent again.
func TestReplyOnce(t *testing.T) {
	o := newOffice(t)
	o.board.lose = true
	o.start()
	var reply store.Reply
	if err := o.store.Update(func(tx *store.Tx) (err error) {
		reply, err = tx.AddReply(store.Reply{Repo: store.Repo{Forge: "test", ID: "1", Name: "o/r"}, PullRequest: 3, Body: "Hello."})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	o.spoke(1)
	time.Sleep(20 * time.Millisecond)
	o.advance(firstPause)
	o.silent()
	want := []string{"comment create reply completed success", "comment find reply completed success", "comment update reply completed success"}
	if said := o.board.said(); !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
	if told := o.told(reply.ID); told["comment\x00reply"].Remote == "" {
		t.Errorf("%+v", told)
	}
}

func (o *office) comment() (text string, n int) {
	o.board.mu.Lock()
	defer o.board.mu.Unlock()
	for _, c := range o.board.checks {
		if c.Kind == KindComment {
			text, n = c.Summary, n+1
		}
	}
	return text, n
}

func TestSummaryComment(t *testing.T) {
	o := newOffice(t)
	o.options.SummaryComment = true
	o.start()
	of := func(check, commit string, automatic bool) store.Build {
		return o.submitBuild(store.Build{Check: check, Trigger: store.Trigger{Commit: commit, PullRequest: 3, Automatic: automatic}})
	}
	holds := func(want ...string) {
		t.Helper()
		time.Sleep(20 * time.Millisecond)
		o.advance(updateEvery) // what was told a moment ago is told again now
		o.silent()
		text, n := o.comment()
		if n != 1 {
			t.Fatalf("%d comments", n)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("the comment lacks %q:\n%s", w, text)
			}
		}
	}
	first, docs := of("buildsmith", "aaaa", true), of("buildsmith (docs)", "aaaa", true)
	holds("Builds of `aaaa`", "| `buildsmith` | [#1](https://ci.example.org/builds/"+first.ID+"?k=key): Waiting for a slot |", "| `buildsmith (docs)` | [#2]")
	o.change(first.ID, func(b *store.Build) { b.End(store.Succeeded, begin.Add(time.Second)) })
	holds("| `buildsmith` | [#1]", "Succeeded in 1.0 s |")

	// A push: the comment is about the new commit, and an older build that ends later changes nothing.
	o.advance(time.Minute)
	next := of("buildsmith", "bbbb", true)
	holds("Builds of `bbbb`")
	o.change(docs.ID, func(b *store.Build) { b.End(store.Failed, begin.Add(time.Second)) })
	holds("Builds of `bbbb`")
	// Repeating an old build changes nothing either, and a restart neither.
	o.advance(time.Minute)
	of("buildsmith", "aaaa", false)
	holds("Builds of `bbbb`")
	o.stop()
	o.start()
	o.change(next.ID, func(b *store.Build) { b.End(store.Succeeded, begin.Add(time.Hour)) })
	holds("Builds of `bbbb`", "[#3]", "Succeeded in ")

	// Where the newest commit was seen, it is what counts.
	if err := o.store.Update(func(tx *store.Tx) error {
		_, err := tx.SeePull(next.Repo, &store.PullRequest{Number: 3, Open: true, Head: "aaaa"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	again := of("buildsmith", "aaaa", false)
	holds("Builds of `aaaa`", "| `buildsmith` | [#5]", "| `buildsmith (docs)` | [#2]")

	// Somebody deletes it: it is made once more. Somebody deletes it again.
	id := store.PullID(next.Repo, 3)
	before := o.told(id)["comment\x00summary"].Remote
	o.board.mu.Lock()
	o.board.fail = func(op string, r *Report) error {
		if r.Kind == KindComment && op == "update" {
			delete(o.board.checks, before)
			return fmt.Errorf("%w: %w", ErrRefused, ErrGone)
		}
		return nil
	}
	o.board.mu.Unlock()
	o.change(again.ID, func(b *store.Build) { b.Claimed = begin })
	holds("Running")
	after := o.told(id)["comment\x00summary"]
	if after.Remote == before || !after.Recreated || after.GivenUp {
		t.Errorf("%+v", after)
	}
	before = after.Remote
	o.change(again.ID, func(b *store.Build) { b.End(store.Succeeded, begin.Add(time.Hour)) })
	o.silent()
	if _, n := o.comment(); n != 0 || !o.told(id)["comment\x00summary"].GivenUp {
		t.Errorf("%d comments; %+v", n, o.told(id)["comment\x00summary"])
	}
}

// TestSummaryOfOtherEvents has a push build the commit of a pull request that was seen, and a store that has lost what it told: the
// comment that is there is taken.
func TestSummaryOfOtherEvents(t *testing.T) {
	o := newOffice(t)
	o.options.SummaryComment = true
	o.start()
	if err := o.store.Update(func(tx *store.Tx) error {
		_, err := tx.SeePull(store.Repo{Forge: "test", ID: "1"}, &store.PullRequest{Number: 8, Open: true, Head: "cccc"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b := o.submit("cccc")
	o.silent()
	if text, n := o.comment(); n != 1 || !strings.Contains(text, "Builds of `cccc`") {
		t.Errorf("%d comments: %s", n, text)
	}
	if err := o.store.Update(func(tx *store.Tx) error {
		return errors.Join(tx.SetTold(store.PullID(b.Repo, 8), "comment\x00summary", store.Told{}), tx.Unsay(b.ID))
	}); err != nil {
		t.Fatal(err)
	}
	o.silent()
	if _, n := o.comment(); n != 1 {
		t.Errorf("%d comments", n)
	}
}

func TestSummaryOfNotices(t *testing.T) {
	n := store.Notice{ID: "n", Check: "buildsmith", Conclusion: store.ActionRequired, Title: "Approval needed", Created: at(5)}
	b := *failedBuild()
	b.Status = store.Succeeded
	r := RenderSummary(3, "cccc", nil, []store.Notice{n}, options)
	if r.Status != Completed || r.Conclusion != Failure || !strings.Contains(r.Summary, "| `buildsmith` | [Approval needed](https://ci.example.org/builds/n?k=key) |") {
		t.Errorf("%+v", r)
	}
	b.Created = at(9) // after the approval
	r = RenderSummary(3, "cccc", []store.Build{b}, []store.Notice{n}, options)
	if r.Conclusion != Success || strings.Contains(r.Summary, "Approval") || !r.Started.Equal(at(5)) {
		t.Errorf("%+v", r)
	}
	text, err := json.Marshal(r)
	if err != nil || strings.Contains(string(text), "Phase") {
		t.Errorf("%s %v", text, err)
	}
}
