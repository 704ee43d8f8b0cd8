package runner_test

import (
	"testing"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

// TestFindings reads a log when its build is over: what is said of files of the source is kept, and only if that is asked for.
func TestFindings(t *testing.T) {
	b := newBench(t, nil)
	b.write("src/a.c", "x")
	b.write("buildspec.yml", `version: 0.2
phases:
  build:
    commands:
      - 'echo "src/a.c:1:2: warning: unused [-Wunused]"'
      - 'printf "none.c:1:2: error: no such file\n../a.c:1:2: error: no\n"'
      - 'printf "\033[1m$CODEBUILD_SRC_DIR/src/a.c:3:4: \033[31merror: \033[0mundeclared\n"; exit 1'
`)
	b.start()
	on := b.submit(func(b *store.Build) { b.Settings.Findings = true })
	off := b.submit(nil)
	want := []store.Finding{
		{Path: "src/a.c", Line: 3, Column: 4, Level: store.FindingError, Message: "undeclared", Tool: "gcc"},
		{Path: "src/a.c", Line: 1, Column: 2, Level: store.FindingWarning, Message: "unused [-Wunused]", Tool: "gcc"},
	}
	if got := b.done(on.ID); got.Status != store.Failed || !cmp.Equal(got.Findings, want) {
		t.Errorf("%s, %s\n%s", got.Status, cmp.Diff(want, got.Findings), b.log(on.ID))
	}
	if got := b.done(off.ID); got.Findings != nil {
		t.Errorf("findings that nobody asked for: %+v", got.Findings)
	}
}

// TestFindingsOfALongLog reads its beginning and its end.
func TestFindingsOfALongLog(t *testing.T) {
	b := newBench(t, nil)
	b.write("a.c", "x")
	b.write("buildspec.yml", `version: 0.2
phases:
  build:
    commands:
      - 'echo "a.c:1:1: error: first"'
      - 'yes "some text that means nothing to anybody who reads it" | head -c 12000000'
      - 'echo; echo "a.c:2:1: error: in the middle"'
      - 'yes "some text that means nothing to anybody who reads it" | head -c 12000000'
      - 'echo; echo "a.c:3:1: error: last"'
`)
	b.start()
	build := b.done(b.submit(func(b *store.Build) { b.Settings.Findings, b.Settings.LogLimit = true, 64<<20 }).ID)
	var said []string
	for _, f := range build.Findings {
		said = append(said, f.Message)
	}
	if want := []string{"first", "last"}; !cmp.Equal(said, want) || build.Log.Size < 24_000_000 {
		t.Errorf("found %q in a log of %d bytes, want %q", said, build.Log.Size, want)
	}
}

// TestFindingsStayMasked has a compiler print a secret.
func TestFindingsStayMasked(t *testing.T) {
	b := newBench(t, nil)
	b.write("a.c", "x")
	b.write("buildspec.yml", `{version: 0.2, phases: {build: {commands: ['echo "a.c:1:1: error: $AWS_SECRET_ACCESS_KEY"']}}}`)
	b.start()
	build := b.done(b.submit(func(b *store.Build) {
		b.Settings.Findings = true
		b.Settings.Variables = []store.Variable{{Name: "AWS_SECRET_ACCESS_KEY", Value: "s3cret-s3cret"}}
	}).ID)
	if len(build.Findings) != 1 || build.Findings[0].Message != "***" {
		t.Errorf("%+v\n%s", build.Findings, b.log(build.ID))
	}
}
