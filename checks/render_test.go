package checks

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"buildsmith/store"
)

var (
	begin   = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	options = Options{Phases: true, URL: func(id string, r store.Repo) string { return "https://ci.example.org/builds/" + id + "?k=key" }}
)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

// failedBuild is a build whose second command of BUILD failed.
func failedBuild() *store.Build {
	b := &store.Build{ID: "b1", Check: "buildsmith", Project: "shop", Number: 7, Created: at(0), Claimed: at(1), Status: store.InProgress,
		Trigger: store.Trigger{Commit: strings.Repeat("a", 40)}, Skeleton: []string{store.PhaseInstall, store.PhaseBuild, store.PhasePostBuild}, Spec: "buildspec.yml"}
	b.Leave(store.PhaseSubmitted, at(0), store.Succeeded, "", "")
	b.Enter(store.PhaseInstall, at(2)).Commands = []store.Command{{Text: "npm ci", Start: at(2), End: at(5)}}
	b.Leave(store.PhaseInstall, at(5), store.Succeeded, "", "")
	b.Enter(store.PhaseBuild, at(5)).Commands = []store.Command{{Text: "make", Start: at(5), End: at(70)}, {Text: "make test | tee log", Start: at(70), End: at(71), Exit: 3}}
	b.Leave(store.PhaseBuild, at(71), store.Failed, "COMMAND_EXECUTION_ERROR", "Error while executing command: make test | tee log. Reason: exit status 3")
	b.Failure = &store.Failure{Phase: store.PhaseBuild, Command: "make test | tee log", Exit: 3, Tail: []string{"--- FAIL: TestX", "\x1b[31mred\x1b[0m <b>@team</b> ```"}}
	b.Artifacts = &store.Artifacts{Name: "shop", Files: 25, Size: 123456, SHA256: "abc", First: []store.Artifact{{Name: "out/a (1).txt", Size: 12, SHA256: "def"}}}
	b.End(store.Failed, at(80))
	return b
}

func names(reports []Report) []string {
	var s []string
	for _, r := range reports {
		s = append(s, fmt.Sprintf("%s: %s %s %q", r.Name, r.Status, r.Conclusion, r.Title))
	}
	return s
}

func TestRenderFailure(t *testing.T) {
	reports := Render(failedBuild(), options)
	want := []string{
		`buildsmith: completed failure "Failed in BUILD: exit status 3"`,
		`buildsmith / install: completed success "Succeeded in 3.0 s"`,
		`buildsmith / build: completed failure "Failed in 1 min 6 s"`,
		`buildsmith / post_build: completed cancelled "Not run"`,
	}
	if got := names(reports); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	own := reports[0]
	if own.ExternalID != "b1" || reports[2].ExternalID != "b1/BUILD" || own.URL != "https://ci.example.org/builds/b1?k=key" || !own.Completed.Equal(at(80)) {
		t.Errorf("%+v", own)
	}
	for _, want := range []string{
		"BUILD: Error while executing command: make test \\| tee log. Reason: exit status 3\n",
		"| Phase | Status | Duration |\n|---|---|---|\n| SUBMITTED | SUCCEEDED | 0.0 s |\n| INSTALL | SUCCEEDED | 3.0 s |\n| BUILD | FAILED | 1 min 6 s |\n| POST_BUILD | not run | |\n",
		"### The command that failed\n\n```text\nmake test | tee log\n```\n\n\nended with exit status 3 in BUILD. The last lines of its output:\n\n````text\n--- FAIL: TestX\nred <b>@team</b> ```\n````\n",
		"[All 25 files as `shop.zip`](https://ci.example.org/builds/b1/artifacts.zip?k=key), 123.5 kB, SHA-256 `abc`",
		"| [out/a (1).txt](https://ci.example.org/builds/b1/artifacts/out/a%20%281%29.txt?k=key) | 12 B | `def` |\n\nand 24 more.",
		"[Log and details](https://ci.example.org/builds/b1?k=key)",
	} {
		if !strings.Contains(own.Summary, want) {
			t.Errorf("the summary lacks %q:\n%s", want, own.Summary)
		}
	}
	if s := reports[2].Summary; !strings.Contains(s, "| `make test ¦ tee log` | 3 | 1.0 s |") || !strings.Contains(s, "--- FAIL: TestX") {
		t.Errorf("the phase's summary:\n%s", s)
	}
	if s := reports[3].Summary; !strings.HasPrefix(s, "The build ended before this phase: BUILD: Error while") {
		t.Error(s)
	}
	if one := Render(failedBuild(), Options{URL: options.URL}); len(one) != 1 {
		t.Errorf("%d reports without phases", len(one))
	}
}

func TestRenderStates(t *testing.T) {
	queued := &store.Build{ID: "b", Check: "buildsmith (x)", Created: at(0), Status: store.InProgress}
	queued.Enter(store.PhaseQueued, at(0))
	running := *queued
	running.Phases = slices.Clone(queued.Phases)
	running.Claimed, running.Skeleton = at(1), []string{store.PhaseInstall, store.PhaseBuild}
	running.Leave(store.PhaseQueued, at(1), store.Succeeded, "", "")
	running.Leave(store.PhaseInstall, at(3), store.Succeeded, "", "")
	running.Enter(store.PhaseBuild, at(3))
	ended := func(status store.Status, message string) *store.Build {
		b := running
		b.Phases = slices.Clone(running.Phases)
		b.Leave(store.PhaseBuild, at(4), status, "", message)
		b.RerunBy = "next"
		b.End(status, at(4))
		return &b
	}
	for _, tt := range []struct {
		build *store.Build
		want  []string
		text  string
	}{
		{queued, []string{`buildsmith (x): queued  "Waiting for a slot"`}, "The build waits for a free slot."},
		{&running, []string{`buildsmith (x): in_progress  "Running"`, `buildsmith (x) / install: completed success "Succeeded in 0.0 s"`,
			`buildsmith (x) / build: in_progress  "Running"`}, "| BUILD | IN_PROGRESS |  |"},
		{ended(store.Stopped, "Stopped by octocat."), []string{`buildsmith (x): completed cancelled "Stopped in BUILD"`,
			`buildsmith (x) / install: completed success "Succeeded in 0.0 s"`, `buildsmith (x) / build: completed cancelled "Stopped in 1.0 s"`}, "BUILD: Stopped by octocat."},
		{ended(store.TimedOut, "Build has timed out."), []string{`buildsmith (x): completed timed_out "Timed out in BUILD"`,
			`buildsmith (x) / install: completed success "Succeeded in 0.0 s"`, `buildsmith (x) / build: completed timed_out "Timed out in 1.0 s"`}, "BUILD: Build has timed out."},
		{ended(store.Fault, "the container is gone"), []string{`buildsmith (x): completed failure "Internal error in BUILD"`,
			`buildsmith (x) / install: completed success "Succeeded in 0.0 s"`, `buildsmith (x) / build: completed failure "Internal error in 1.0 s"`},
			"This is a fault of the build server, not of the commit. The build is being repeated."},
		{ended(store.Succeeded, ""), []string{`buildsmith (x): completed success "Succeeded in 4.0 s"`,
			`buildsmith (x) / install: completed success "Succeeded in 0.0 s"`, `buildsmith (x) / build: completed success "Succeeded in 1.0 s"`}, "| BUILD | SUCCEEDED | 1.0 s |"},
	} {
		reports := Render(tt.build, options)
		if got := names(reports); !slices.Equal(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if !strings.Contains(reports[0].Summary, tt.text) {
			t.Errorf("the summary lacks %q:\n%s", tt.text, reports[0].Summary)
		}
		for _, r := range Render(tt.build, options) {
			if i := slices.IndexFunc(reports, func(o Report) bool { return o.Name == r.Name }); reports[i].Digest() != r.Digest() {
				t.Errorf("%s: two digests of one report", r.Name)
			}
		}
	}
}

func TestRenderProblems(t *testing.T) {
	b := &store.Build{ID: "b", Check: "buildsmith", Created: at(0), Spec: "ci/build.yml", Problems: []store.Problem{
		{Line: 5, Column: 9, Message: "phases.build.commands: Expected Commands[0] to be of string type"}, {Line: 7, Column: 1, Message: "unknown key", Warning: true}}}
	b.Leave(store.PhaseDownloadSource, at(1), store.Failed, "YAML_FILE_ERROR", "ci/build.yml:5:9: wrong")
	b.End(store.Failed, at(1))
	r := Render(b, options)[0]
	want := []Annotation{{Path: "ci/build.yml", Line: 5, Column: 9, Level: LevelFailure, Title: "buildspec", Message: b.Problems[0].Message},
		{Path: "ci/build.yml", Line: 7, Column: 1, Level: LevelWarning, Title: "buildspec", Message: "unknown key"}}
	if !slices.Equal(r.Annotations, want) {
		t.Errorf("%+v", r.Annotations)
	}
	if r.Title != "Failed in DOWNLOAD_SOURCE" || !strings.Contains(r.Summary, "- `ci/build.yml` line 7: warning: unknown key\n") {
		t.Errorf("%s\n%s", r.Title, r.Summary)
	}
	b.Spec = "the project's buildspec"
	if r := Render(b, options)[0]; len(r.Annotations) > 0 {
		t.Error("annotations on a file that there is not")
	}
	// The buildspec of the base has other lines than the commit that is reported on.
	b.Spec, b.Settings.BaseSpec, b.Trigger.PullRequest = "ci/build.yml", true, 12
	if got := Render(b, options)[0]; len(got.Annotations) != 0 || !strings.Contains(got.Summary, "ci/build.yml") {
		t.Errorf("%+v", got)
	}
}

func TestRenderNotice(t *testing.T) {
	n := &store.Notice{ID: "n1", Check: "buildsmith", Conclusion: store.ActionRequired, Title: "Approval needed", Reason: "Pull request 12 <b>", Created: at(3)}
	r := RenderNotice(n, options)
	if r.ExternalID != "n1" || r.Conclusion != ActionRequired || r.Status != Completed || r.Summary != "Pull request 12 &lt;b&gt;" || r.URL == "" {
		t.Errorf("%+v", r)
	}
}

// TestHostileText holds what builds put into reports to do something there.
func TestHostileText(t *testing.T) {
	for in, want := range map[string]string{
		"[x](http://evil)":              "\\[x\\](http:\u200d//evil)",
		"![x](http://evil)":             "\\!\\[x\\](http:\u200d//evil)",
		"<img src=x>":                   "&lt;img src=x&gt;",
		"@octocat":                      "@\u200doctocat",
		"a|b`c`*d*_e_#f~g":              "a\\|b\\`c\\`\\*d\\*\\_e\\_\\#\u200df\\~g",
		"line\nbreak":                   "line break",
		"see www.evil.org gh-1":         "see www\u200d.evil.org gh\u200d-1",
		"- list":                        `\- list`,
		"12. list":                      `12\. list`,
		"&lt;b&gt; $HOME":               `&amp;lt;b&amp;gt; \$HOME`,
		"\x1b]8;;http://evil\x07x\x1b]": "x",
		"\x1b[31mred\x1b[0m\x07\x00":    "red",
		"10%\r50%\r100%":                "100%",
		"\u009b31mc1":                   "31mc1",
	} {
		if got := text(in); got != want {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"a`b": "``a`b``", "``": "``` `` ```", "": "`  `", "a\nb|c": "`a ⏎ b¦c`"} {
		if got := code(in); got != want {
			t.Errorf("code(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLongSummary(t *testing.T) {
	b := failedBuild()
	b.Failure.Tail = slices.Repeat([]string{strings.Repeat("ü", 2000)}, 50)
	for _, r := range Render(b, options) {
		if n := utf8.RuneCountInString(r.Summary); n > maxSummary || !utf8.ValidString(r.Summary) {
			t.Errorf("%s: %d characters", r.Name, n)
		}
	}
	if s := Render(b, options)[0].Summary; !strings.HasSuffix(s, "… cut: the page behind this check has all of it.") {
		t.Errorf("%.100s", s[len(s)-100:])
	}
}

func TestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "0 s", 1234 * time.Millisecond: "1.2 s", 42 * time.Second: "42 s", 62 * time.Second: "1 min 2 s", 3700 * time.Second: "1 h 1 min"} {
		if got := duration(d); got != want {
			t.Errorf("duration(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 2_500_000: "2.5 MB", 20_000_000_000: "20.00 GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
