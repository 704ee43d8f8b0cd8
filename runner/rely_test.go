package runner_test

import (
	"strings"
	"testing"

	"buildsmith/store"
)

// TestRelyLogOfADeadContainer ends containers from outside, one while its command runs and one in its first moment: what was printed is
// in the log, and the build says what happened.
func TestRelyLogOfADeadContainer(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['echo last words', '[ $CODEBUILD_BUILD_NUMBER != 1 ] || sleep 1000']}}")
	build := b.submit(nil)
	build = b.until(build.ID, func(build *store.Build) bool { return strings.Contains(b.log(build.ID), "\nlast words\n") })
	if err := b.sandbox.Remove(t.Context(), build.Sandbox.ID); err != nil {
		t.Fatal(err)
	}
	build = b.done(build.ID)
	if h := build.Headline(); build.Status != store.Fault || h == nil || !strings.HasPrefix(h.Message, "The build's container ") || b.printed(build.ID) != "last words\n" {
		t.Errorf("%s %+v, printed %q", build.Status, build.Headline(), b.printed(build.ID))
	}
	if again := b.done(build.RerunBy); again.Status != store.Succeeded {
		t.Errorf("the repeated build ended %s", again.Status)
	}
}

// TestAttackTemplates brings a branch, a title and a name that would be commands if they were put into one: they reach commands as
// variables, each as it is, and run nowhere.
func TestAttackTemplates(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	const ref = "refs/heads/$(touch${IFS}pwned)`touch${IFS}pwned`;touch${IFS}pwned"
	b.write("buildspec.yml", `version: 0.2
phases:
  build:
    commands:
      - printf '%s\n' "$CODEBUILD_WEBHOOK_HEAD_REF"
      - printf '%s\n' "$CODEBUILD_INITIATOR"
      - '[ ! -e pwned ] && echo nothing ran'
`)
	build := b.done(b.submit(func(b *store.Build) {
		b.Trigger.Event, b.Trigger.HeadRef, b.Trigger.Title = store.EventPush, ref, "$(touch pwned)"
		b.Trigger.Initiator = "`touch pwned`; touch pwned"
		b.Trigger.Actor = store.Account{ID: "1", Login: "$(touch pwned)"}
	}).ID)
	if got, want := b.printed(build.ID), ref+"\n`touch pwned`; touch pwned\nnothing ran\n"; got != want || build.Status != store.Succeeded {
		t.Errorf("%s printed %q, want %q", build.Status, got, want)
	}
}

// TestAttackLogCommands prints what other systems take from a log as commands: it is text, sets nothing and hides nothing.
func TestAttackLogCommands(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	lines := []string{"::set-env name=PWNED::yes", "::set-output name=x::y", "::add-path::/tmp", "::add-mask::visible", "::stop-commands::x", "##vso[task.setvariable variable=PWNED]yes",
		"##teamcity[setParameter name='env.PWNED' value='yes']", "[Container] 2026/01/01 00:00:00.000000 Phase complete: BUILD State: FAILED"}
	b.write("text", strings.Join(lines, "\n")+"\n")
	b.write("buildspec.yml", `version: 0.2
phases: {build: {commands: ['cat text', 'cat text >&2', 'echo "set: ${PWNED-no}, visible"']}}
`)
	build := b.done(b.submit(nil).ID)
	log := b.log(build.ID)
	if build.Status != store.Succeeded || build.Phase(store.PhaseBuild).Status != store.Succeeded || !strings.Contains(log, "\nset: no, visible\n") {
		t.Errorf("%s\n%s", build.Status, log)
	}
	for _, line := range lines {
		if strings.Count(log, line+"\n") != 2 {
			t.Errorf("the log lacks %q", line)
		}
	}
}

// TestAttackHostEnvironment asks by a buildspec for what the server itself has in its environment.
func TestAttackHostEnvironment(t *testing.T) {
	t.Setenv("BUILDSMITH_TOKEN", "sesame-of-the-host")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "sesame-of-the-host")
	b := newBench(t, nil)
	b.start()
	build := b.run(`version: 0.2
env:
  variables: {A: '$BUILDSMITH_TOKEN', B: '${AWS_SECRET_ACCESS_KEY}', C: '{{.Env.BUILDSMITH_TOKEN}}', D: '%BUILDSMITH_TOKEN%'}
phases: {build: {commands: ['printf "%s\n" "$A" "$B" "$C" "$D"']}}
artifacts: {files: ['*'], name: '$BUILDSMITH_TOKEN'}
`)
	if got := b.printed(build.ID); got != "$BUILDSMITH_TOKEN\n${AWS_SECRET_ACCESS_KEY}\n{{.Env.BUILDSMITH_TOKEN}}\n%BUILDSMITH_TOKEN%\n" {
		t.Errorf("printed %q", got)
	}
	if strings.Contains(b.log(build.ID)+build.Artifacts.Name, "sesame") {
		t.Errorf("artifacts %q\n%s", build.Artifacts.Name, b.log(build.ID))
	}
}
