package checks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// TestRelyRestartStillReports stops the reporter, has builds begin and end meanwhile, and starts another: the forge shows them as they
// are, each check once.
func TestRelyRestartStillReports(t *testing.T) {
	o := newOffice(t)
	o.start()
	first := o.submit("c")
	o.shows(map[string]string{first.ID: "queued"})
	o.stop()
	o.change(first.ID, func(b *store.Build) { b.End(store.Failed, begin) })
	second := o.submit("d")
	o.start()
	o.shows(map[string]string{first.ID: "completed failure", second.ID: "queued"})
	o.silent()
	created := 0
	for _, line := range o.board.said() {
		if strings.HasPrefix(line, "create") {
			created++
		}
	}
	if created != 2 {
		t.Errorf("%d checks were created: %q", created, o.board.said())
	}
}

// TestRelySkippedIsNoError tells each way in which a commit may end apart: what was left out is no failure, what the author got wrong is
// one with a line, and what we got wrong says so.
func TestRelySkippedIsNoError(t *testing.T) {
	for status, want := range map[store.Status]string{
		store.Succeeded: Success, store.Failed: Failure, store.TimedOut: TimedOut, store.Stopped: Cancelled, store.Fault: Failure,
	} {
		b := &store.Build{ID: "b", Check: "buildsmith", Created: begin, Claimed: begin, Trigger: store.Trigger{Commit: "c"}}
		b.End(status, begin)
		r := Render(b, options)[0]
		if r.Conclusion != want || status == store.Fault != (r.Title == "Internal error") {
			t.Errorf("%s is a %s %q, want %s", status, r.Conclusion, r.Title, want)
		}
	}
	for notice, want := range map[string]string{store.SkippedNotice: Skipped, store.ActionRequired: ActionRequired} {
		r := RenderNotice(&store.Notice{ID: "n", Check: "buildsmith", Conclusion: notice, Title: "t", Reason: "because of this"}, options)
		if r.Conclusion != want || !strings.Contains(r.Summary, "because of this") {
			t.Errorf("%s is a %s: %q", notice, r.Conclusion, r.Summary)
		}
	}
	b := &store.Build{ID: "b", Check: "buildsmith", Created: begin, Claimed: begin, Spec: "ci/build.yml", Trigger: store.Trigger{Commit: "c"},
		Problems: []store.Problem{{Line: 3, Column: 5, Message: "phases.biuld: no such phase"}}}
	b.End(store.Failed, begin)
	r := Render(b, options)[0]
	if r.Conclusion != Failure || len(r.Annotations) != 1 || r.Annotations[0].Path != "ci/build.yml" || r.Annotations[0].Line != 3 {
		t.Errorf("%s with %+v", r.Conclusion, r.Annotations)
	}
}

// TestRelyOneCommentAtMost builds twenty commits of a pull request: without the setting there is no comment, with it there is one, which
// changes in its place and links each build.
func TestRelyOneCommentAtMost(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		t.Run(fmt.Sprint(wanted), func(t *testing.T) {
			o := newOffice(t)
			o.options.SummaryComment = wanted
			o.board.pace, o.board.burst = time.Millisecond, 100
			o.start()
			for n := range 20 {
				b := o.submitBuild(store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: fmt.Sprintf("%040d", n), PullRequest: 3, Automatic: true}})
				o.change(b.ID, func(b *store.Build) { b.End(store.Succeeded, begin) })
				time.Sleep(5 * time.Millisecond)
				o.advance(updateEvery)
				o.silent()
			}
			created := 0
			for _, line := range o.board.said() {
				if strings.HasPrefix(line, "comment create") {
					created++
				}
			}
			text, n := o.comment()
			if want := map[bool]int{true: 1}[wanted]; n != want || created != want || wanted && !strings.Contains(text, "[#20](https://ci.example.org/builds/") {
				t.Errorf("%d comments, %d created, want %d: %s", n, created, want, text)
			}
		})
	}
}

// TestRelyFailureIsInTheCheck reads what broke without following a link: the command, its exit status and the end of what it printed.
func TestRelyFailureIsInTheCheck(t *testing.T) {
	r := Render(failedBuild(), options)[0]
	for _, want := range []string{"make test \\| tee log", "exit status 3", "--- FAIL: TestX"} {
		if !strings.Contains(r.Summary, want) {
			t.Errorf("the check lacks %q:\n%s", want, r.Summary)
		}
	}
	if r.URL != "https://ci.example.org/builds/b1?k=key" {
		t.Errorf("the check leads to %s", r.URL)
	}
}
