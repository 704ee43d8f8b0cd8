package runner_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/runnertest"
	"buildsmith/runner/source"
	"buildsmith/store"
)

func TestMain(m *testing.M) {
	runnertest.Main()
	status := m.Run()
	runnertest.RemoveProgram()
	os.Exit(status)
}

// A bench is a runner under test, with a sandbox of processes and a directory as the source of every build.
type bench struct {
	t       *testing.T
	store   *store.Store
	sandbox *runnertest.Processes
	config  runner.Config
	dir     string // the source
	stop    func() // ends the runner
}

// newBench makes a runner that has not been started. points is told each point that the flow passes.
func newBench(t *testing.T, points func(string)) *bench {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{At: points})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b := &bench{t: t, store: s, sandbox: runnertest.NewProcesses(t.TempDir()), dir: t.TempDir()}
	b.config = runner.Config{
		Store:   s,
		Sandbox: b.sandbox,
		Source:  runner.DirSource{Dir: b.dir, Scratch: t.TempDir()},
		Place:   runner.Place{URL: func(b *store.Build) string { return "http://ci.example.org/builds/" + b.ID }},
		Log:     slog.New(slog.DiscardHandler),
		Dir:     filepath.Join(s.Dir(), "run"),
		Slots:   2,
	}
	b.stop = func() {}
	t.Cleanup(func() { b.stop() })
	return b
}

// start starts the runner; stop ends it.
func (b *bench) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	r := runner.New(b.config)
	wg.Go(func() {
		if err := r.Run(ctx); err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	b.stop = func() {
		cancel()
		wg.Wait()
		b.stop = func() {}
	}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
		b.t.Fatal(err)
	}
}

var testRepo = store.Repo{Forge: "local", Host: "ci.example.org", ID: "shop", Name: "shop", CloneURL: "http://ci.example.org/git/shop.git"}

func settings() store.Settings {
	return store.Settings{Image: "none", Timeout: time.Minute, QueueTimeout: time.Hour, LogLimit: 10 << 20, Disk: 1 << 30, Network: store.NetworkFull}
}

func (b *bench) submit(change func(*store.Build)) store.Build {
	b.t.Helper()
	return b.submitTo(testRepo, change)
}

func (b *bench) submitTo(repo store.Repo, change func(*store.Build)) store.Build {
	b.t.Helper()
	build := store.Build{
		Check:    "buildsmith",
		Trigger:  store.Trigger{Commit: strings.Repeat("a", 40), SourceVersion: "main", Initiator: "test"},
		Settings: settings(),
	}
	if change != nil {
		change(&build)
	}
	err := b.store.Update(func(tx *store.Tx) error {
		p, err := tx.Project(repo, "")
		if err == nil {
			build, err = tx.Submit(p, build)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return build
}

// until waits until a build is as it should be.
func (b *bench) until(id string, ok func(*store.Build) bool) store.Build {
	b.t.Helper()
	news, stop := b.store.Watch()
	defer stop()
	late := time.After(60 * time.Second)
	for {
		build, err := b.store.Build(id)
		if err != nil {
			b.t.Fatal(err)
		}
		if ok(&build) {
			return build
		}
		select {
		case <-news:
		case <-late:
			b.t.Fatalf("build %s is %s, phases %s\n%s", id, build.Status, phasesOf(&build), b.log(id))
		}
	}
}

func (b *bench) done(id string) store.Build {
	b.t.Helper()
	return b.until(id, (*store.Build).Done)
}

// run takes a buildspec to its end.
func (b *bench) run(spec string) store.Build {
	b.t.Helper()
	b.write("buildspec.yml", spec)
	return b.done(b.submit(nil).ID)
}

func (b *bench) log(id string) string {
	r, err := b.store.OpenLog(id)
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// printed is what the commands printed.
func (b *bench) printed(id string) string {
	var lines []string
	for line := range strings.Lines(b.log(id)) {
		if !strings.HasPrefix(line, "[Container] ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// letters are the phases as the case table of the format writes them: S succeeded, F failed, - not run.
func letters(build *store.Build) string {
	var b strings.Builder
	for _, name := range []string{store.PhaseDownloadSource, store.PhaseInstall, store.PhasePreBuild, store.PhaseBuild, store.PhasePostBuild, store.PhaseUploadArtifacts} {
		p := build.Phase(name)
		switch {
		case p == nil:
			b.WriteByte('-')
		default:
			b.WriteByte(p.Status[0])
		}
	}
	return b.String()
}

func phasesOf(build *store.Build) string {
	var list []string
	for _, p := range build.Phases {
		list = append(list, fmt.Sprint(p.Type, " ", p.Status))
	}
	return strings.Join(list, ", ")
}

func TestBuild(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("README.md", "read me\n")
	build := b.run(`version: 0.2
env: {variables: {GREETING: hello}}
phases:
  build:
    commands:
      - echo "$GREETING from $CODEBUILD_BUILD_NUMBER"
      - basename "$(pwd)"
artifacts: {files: [README.md]}
`)
	if build.Status != store.Succeeded || build.Number != 1 {
		t.Fatalf("%s\n%s", build.Status, b.log(build.ID))
	}
	if got, want := b.printed(build.ID), "hello from 1\nshop\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	want := "SUBMITTED SUCCEEDED, QUEUED SUCCEEDED, PROVISIONING SUCCEEDED, DOWNLOAD_SOURCE SUCCEEDED, INSTALL SUCCEEDED, " +
		"PRE_BUILD SUCCEEDED, BUILD SUCCEEDED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED, FINALIZING SUCCEEDED, COMPLETED "
	if got := phasesOf(&build); got != want {
		t.Errorf("phases %s, want %s", got, want)
	}
	if got := build.Skeleton; len(got) != 1 || got[0] != "BUILD" {
		t.Errorf("skeleton %v", got)
	}
	p := build.Phase(store.PhaseBuild)
	if len(p.Commands) != 2 || p.Commands[1].Text != `basename "$(pwd)"` || p.Commands[1].End.IsZero() {
		t.Errorf("commands %+v", p.Commands)
	}
	lines, _, err := b.store.Lines(build.ID, p.Commands[1].Line, 1)
	if err != nil || string(lines[0].Text) != "shop" {
		t.Errorf("the output of the second command begins with %v, %v", lines, err)
	}
	if a := build.Artifacts; a == nil || a.Files != 1 || a.First[0].Name != "README.md" || a.Name != "shop" {
		t.Errorf("artifacts %+v", build.Artifacts)
	}
	for _, want := range []string{"Running on buildsmith", "CODEBUILD_SRC_DIR=/codebuild/output/src1/src/ci.example.org/shop", "YAML location is buildspec.yml",
		"Phases found in YAML: 1", " BUILD: 2 commands", "Phase complete: DOWNLOAD_SOURCE State: SUCCEEDED", "Entering phase BUILD",
		"Phase complete: BUILD State: SUCCEEDED", "Found 1 file(s)"} {
		if !strings.Contains(b.log(build.ID), want+"\n") {
			t.Errorf("the log lacks %q", want)
		}
	}
	var spec []byte
	if err := b.store.View(func(tx *store.Tx) error { spec = tx.Spec(build.ID); return nil }); err != nil || !strings.HasPrefix(string(spec), "version: 0.2") {
		t.Errorf("the buildspec kept is %q, %v", spec, err)
	}
	b.leftNothing()
}

// leftNothing fails the test if a sandbox or a directory of one is there a moment after the last build.
func (b *bench) leftNothing() {
	b.t.Helper()
	for range 100 {
		ids, _ := b.sandbox.List(b.t.Context())
		entries, _ := os.ReadDir(b.config.Dir)
		if len(ids)+len(entries) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ids, _ := b.sandbox.List(b.t.Context())
	entries, _ := os.ReadDir(b.config.Dir)
	b.t.Errorf("left behind: sandboxes %v, directories %v", ids, entries)
}

func TestFailure(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	build := b.run("version: 0.2\nphases: {build: {commands: ['for i in $(seq 1 70); do echo line $i; done; printf end; exit 3']}}")
	f := build.Failure
	if build.Status != store.Failed || f == nil || f.Exit != 3 || f.Phase != store.PhaseBuild || len(f.Tail) != 50 || f.Tail[0] != "line 22" || f.Tail[49] != "end" {
		t.Fatalf("%s %+v", build.Status, f)
	}
	h := build.Headline()
	if h.Type != store.PhaseBuild || h.Code != "COMMAND_EXECUTION_ERROR" || !strings.HasSuffix(h.Message, ". Reason: exit status 3") {
		t.Errorf("%+v", h)
	}
	lines, _, err := b.store.Lines(build.ID, f.Line, 1)
	if err != nil || string(lines[0].Text) != "line 1" {
		t.Errorf("%v %v", lines, err)
	}
}

// TestBeginsThatFail are builds whose commands never run.
func TestBeginsThatFail(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	for _, tt := range []struct {
		name   string
		change func(*store.Build)
		file   string
		text   string
		phase  string
		code   string
		want   string
	}{
		{"no buildspec", nil, "other", "", store.PhaseDownloadSource, "YAML_FILE_ERROR", "YAML file does not exist"},
		{"wrong name", nil, "buildspec.yaml", "", store.PhaseDownloadSource, "YAML_FILE_ERROR",
			"YAML file does not exist: buildspec.yaml is there, but the name is buildspec.yml"},
		{"path of the project", func(b *store.Build) { b.Settings.Buildspec = "ci/build.yml" }, "other", "", store.PhaseDownloadSource, "YAML_FILE_ERROR",
			"stat /codebuild/output/src1/src/ci.example.org/shop/ci/build.yml: no such file or directory"},
		{"path that climbs", func(b *store.Build) { b.Settings.Buildspec = "../../../etc/passwd" }, "other", "", store.PhaseDownloadSource, "YAML_FILE_ERROR",
			"The buildspec ../../../etc/passwd cannot be read: openat ../../../etc/passwd: path escapes from parent"},
		{"directory", nil, "buildspec.yml/file", "", store.PhaseDownloadSource, "YAML_FILE_ERROR", "The buildspec buildspec.yml cannot be read: buildspec.yml is no regular file"},
		{"problems", nil, "buildspec.yml", "version: 0.9\nphases: {build: {commands: [{a: b}]}}\n", store.PhaseDownloadSource, "YAML_FILE_ERROR",
			`buildspec.yml:1:10: version: "0.9" at line 1 is no version of the format; write 0.2 (and 1 more error)`},
		{"no such image", func(b *store.Build) { b.Settings.Image = runnertest.NoSuchImage }, "buildspec.yml", "version: 0.2\nphases: {build: {commands: [a]}}\n",
			store.PhaseProvisioning, "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", "image " + runnertest.NoSuchImage + ": unusable image"},
		{"batch alone", nil, "buildspec.yml", "version: 0.2\nbatch: {build-list: [{identifier: a, buildspec: a.yml}]}\n", store.PhaseDownloadSource, "CLIENT_ERROR",
			"phases: missing; this file carries a batch only, and this is a plain build"},
		{"parameter", nil, "buildspec.yml", "version: 0.2\nenv: {parameter-store: {A: /a}}\nphases: {build: {commands: [a]}}\n", store.PhaseDownloadSource, "CLIENT_ERROR",
			"env.parameter-store.A: Parameter does not exist: \"/a\" is not there, or this build may not read it"},
		{"secret", nil, "buildspec.yml", "version: 0.2\nenv: {secrets-manager: {A: a}}\nphases: {build: {commands: [a]}}\n", store.PhaseDownloadSource, "CLIENT_ERROR",
			"env.secrets-manager.A: Secret does not exist: \"a\" is not there, or this build may not read it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			if err := errors.Join(os.RemoveAll(b.dir), os.Mkdir(b.dir, 0o755)); err != nil {
				t.Fatal(err)
			}
			b.write(tt.file, tt.text)
			build := b.done(b.submit(tt.change).ID)
			h := build.Headline()
			if build.Status != store.Failed || h == nil || h.Type != tt.phase || h.Code != tt.code || h.Message != tt.want {
				t.Errorf("%s %+v\nwant %s", build.Status, h, tt.want)
			}
			if !strings.Contains(b.log(build.ID), "Phase context status code: "+tt.code+" Message: "+tt.want+"\n") {
				t.Errorf("the log lacks the reason:\n%s", b.log(build.ID))
			}
			if tt.name == "problems" && (len(build.Problems) != 2 || build.Problems[1].Line != 2 || build.Spec != "buildspec.yml") {
				t.Errorf("problems %+v of %s", build.Problems, build.Spec)
			}
			if tt.phase == store.PhaseProvisioning && build.Phase(store.PhaseDownloadSource) != nil {
				t.Errorf("phases %s", phasesOf(&build))
			}
		})
	}
	b.t = t
	b.leftNothing()
}

// TestInlineBuildspec runs a text of the project instead of a file.
func TestInlineBuildspec(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	build := b.done(b.submit(func(b *store.Build) {
		b.Settings.Buildspec = "version: 0.2\nphases:\n  build:\n    commands: [echo inline]\n"
	}).ID)
	if got := b.printed(build.ID); got != "inline\n" || build.Status != store.Succeeded {
		t.Errorf("%s %q", build.Status, got)
	}
}

// TestRelyRerunHasItsBuildspec repeats a build whose file has changed since.
func TestRelyRerunHasItsBuildspec(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	first := b.run("version: 0.2\nphases: {build: {commands: [echo first]}}")
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [echo second]}}")
	again := b.done(b.submit(func(b *store.Build) { b.RerunOf = first.ID }).ID)
	if got := b.printed(again.ID); got != "first\n" {
		t.Errorf("printed %q", got)
	}
}

func (b *bench) requestStop(id string) {
	b.t.Helper()
	if err := b.store.Update(func(tx *store.Tx) error { _, err := tx.RequestStop(id, "octocat"); return err }); err != nil {
		b.t.Fatal(err)
	}
}

func TestStop(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [sleep 1000]}}")
	build := b.submit(nil)
	b.until(build.ID, func(b *store.Build) bool { return b.Phase(store.PhaseBuild) != nil })
	b.requestStop(build.ID)
	build = b.done(build.ID)
	p := build.Phase(store.PhaseBuild)
	if build.Status != store.Stopped || p.Status != store.Stopped || p.Message != "Stopped by octocat." || build.Phase(store.PhaseFinalizing) != nil {
		t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
	}
	b.leftNothing()
}

// slowSource takes its time.
type slowSource struct{ runner.Source }

func (s slowSource) Open(ctx context.Context, b *store.Build) (runner.Tree, error) {
	tree, err := s.Source.Open(ctx, b)
	return slowTree{tree}, err
}

type slowTree struct{ runner.Tree }

func (slowTree) Checkout(ctx context.Context, dir string) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// TestEndBeforeTheJob stops builds, or lets them time out, whose source is still under way.
func TestEndBeforeTheJob(t *testing.T) {
	b := newBench(t, nil)
	b.config.Source = slowSource{b.config.Source}
	b.start()
	stopped, late := b.submit(nil), b.submit(func(b *store.Build) { b.Settings.Timeout = time.Second })
	b.until(stopped.ID, func(b *store.Build) bool { return b.Phase(store.PhaseDownloadSource) != nil })
	b.requestStop(stopped.ID)
	stopped, late = b.done(stopped.ID), b.done(late.ID)
	if h := stopped.Headline(); stopped.Status != store.Stopped || h.Message != "Stopped by octocat." {
		t.Errorf("%s %+v", stopped.Status, h)
	}
	if h := late.Headline(); late.Status != store.TimedOut || h.Message != "Build has timed out." || h.Code != "BUILD_TIMED_OUT" {
		t.Errorf("%s %+v", late.Status, h)
	}
	b.leftNothing()
}

func TestTimeout(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [sleep 1000]}}")
	build := b.done(b.submit(func(b *store.Build) { b.Settings.Timeout = 2 * time.Second }).ID)
	if p := build.Phase(store.PhaseBuild); build.Status != store.TimedOut || p.Status != store.TimedOut || p.Message != "Build has timed out." {
		t.Errorf("%s %s", build.Status, phasesOf(&build))
	}
}

// brokenSource fails as a forge does that is down.
type brokenSource struct {
	runner.Source
	err error
}

func (s brokenSource) Open(ctx context.Context, b *store.Build) (runner.Tree, error) {
	tree, err := s.Source.Open(ctx, b)
	return brokenTree{tree, s.err}, err
}

type brokenTree struct {
	runner.Tree
	err error
}

func (t brokenTree) Checkout(context.Context, string) error { return t.err }

// TestFaultIsRepeatedOnce has the forge be down for two builds: the one that was asked for and the one that repeats it.
func TestFaultIsRepeatedOnce(t *testing.T) {
	b := newBench(t, nil)
	b.config.Source = brokenSource{b.config.Source, errors.New("git fetch: the forge answers 503")}
	b.start()
	first := b.done(b.submit(nil).ID)
	if first.Status != store.Fault || first.RerunBy == "" || first.Headline().Code != "INTERNAL_ERROR" || first.Headline().Message != "git fetch: the forge answers 503" {
		t.Fatalf("%s %+v", first.Status, first.Headline())
	}
	second := b.done(first.RerunBy)
	if second.Status != store.Fault || second.RerunOf != first.ID || second.RerunBy != "" || second.Number != 2 {
		t.Errorf("%+v", second)
	}
	b.leftNothing()
}

// TestCommitIsGone is the author's failure, which nothing repeats.
func TestCommitIsGone(t *testing.T) {
	b := newBench(t, nil)
	b.config.Source = brokenSource{b.config.Source, fmt.Errorf("commit abc: %w", source.ErrGone)}
	b.start()
	build := b.done(b.submit(nil).ID)
	if build.Status != store.Failed || build.RerunBy != "" || build.Headline().Message != "The source cannot be checked out: commit abc: gone" {
		t.Errorf("%s %+v", build.Status, build.Headline())
	}
}

// TestContainerIsGone removes a sandbox under a build: that is a fault of ours, and repeated.
func TestContainerIsGone(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['[ $CODEBUILD_BUILD_NUMBER = 2 ] || sleep 1000']}}")
	build := b.submit(nil)
	build = b.until(build.ID, func(b *store.Build) bool { return b.Phase(store.PhaseBuild) != nil })
	if err := b.sandbox.Remove(t.Context(), build.Sandbox.ID); err != nil {
		t.Fatal(err)
	}
	build = b.done(build.ID)
	if build.Status != store.Fault || !strings.HasPrefix(build.Phase(store.PhaseBuild).Message, "The build's container ") {
		t.Errorf("%s %+v", build.Status, build.Phase(store.PhaseBuild))
	}
	if again := b.done(build.RerunBy); again.Status != store.Succeeded {
		t.Errorf("the repeated build ended %s", again.Status)
	}
}

// TestDamagedStory has the root user of a sandbox write events of its own.
func TestDamagedStory(t *testing.T) {
	for name, command := range map[string]string{
		"garbage":  "echo garbage >> /buildsmith/exchange/events; sleep 1000",
		"cut":      ": > /buildsmith/exchange/events; sleep 1000",
		"long":     "head -c 100000 /dev/zero >> /buildsmith/exchange/events; sleep 1000",
		"replaced": "mv /buildsmith/exchange/events /buildsmith/exchange/before; ln -s /etc/passwd /buildsmith/exchange/events; sleep 1000",
		"removed":  "rm /buildsmith/exchange/events; sleep 1000",
		"order":    `echo '{"n":5,"k":"done","s":"SUCCEEDED"}' >> /buildsmith/exchange/events; sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.start()
			b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [\""+strings.ReplaceAll(command, `"`, `\"`)+"\"]}}")
			build := b.done(b.submit(nil).ID)
			// The phase is the one that had been read of when the damage was seen.
			if p := build.Headline(); build.Status != store.Failed || p == nil || !strings.HasPrefix(p.Message, "event log damaged by the build") {
				t.Errorf("%s %s", build.Status, phasesOf(&build))
			}
			b.leftNothing()
		})
	}
}

// TestDamagedArchive has a build put something else where the agent packs.
func TestDamagedArchive(t *testing.T) {
	for name, command := range map[string]string{
		"FIFO":      "rm artifacts.tar; mkfifo artifacts.tar",
		"link":      "rm artifacts.tar; ln -s /etc/passwd artifacts.tar",
		"hard link": "ln artifacts.tar second",
		"directory": "rm artifacts.tar; mkdir artifacts.tar",
		"device":    "rm artifacts.tar; mknod artifacts.tar c 1 3",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.start()
			build := b.run("version: 0.2\nphases: {build: {commands: ['cd /buildsmith/exchange; " + command + "']}}\nartifacts: {files: [buildspec.yml]}")
			p := build.Phase(store.PhaseUploadArtifacts)
			if build.Status != store.Failed || !strings.Contains(p.Message, "artifact archive damaged by the build: ") || build.Artifacts != nil {
				t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
			}
		})
	}
}

func TestDiskLimit(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['head -c 30000000 /dev/zero > big; sleep 1000']}}")
	build := b.done(b.submit(func(b *store.Build) { b.Settings.Disk = 10 << 20 }).ID)
	if p := build.Phase(store.PhaseBuild); build.Status != store.Failed || !strings.Contains(p.Message, " of disk; its limit is 10 MiB.") {
		t.Errorf("%s %s", build.Status, phasesOf(&build))
	}
	b.leftNothing()
}

func TestLogLimit(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [yes | head -c 1000000, echo still runs > done, cat done; test -e done]}}")
	build := b.done(b.submit(func(b *store.Build) { b.Settings.LogLimit = 100_000 }).ID)
	log := b.log(build.ID)
	if build.Status != store.Succeeded || len(log) > 110_000 || !strings.Contains(log, "The log reached its limit of 100000 bytes; 9000") {
		t.Errorf("%s, %d bytes of log", build.Status, len(log))
	}
}

func TestSlots(t *testing.T) {
	b := newBench(t, nil)
	b.config.Slots = 1
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [sleep 0.3]}}")
	var ids []string
	for range 3 {
		ids = append(ids, b.submit(nil).ID)
	}
	var before store.Build
	for i, id := range ids {
		build := b.done(id)
		if i > 0 && build.Claimed.Before(before.Ended) {
			t.Errorf("build %d began before build %d ended", i+1, i)
		}
		before = build
	}
}

// TestRelyRestartLosesNoBuild ends the runner while a build runs, and starts another one: nothing is lost or done twice.
func TestRelyRestartLosesNoBuild(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['for i in $(seq 1 40); do echo tick $i; sleep 0.1; done']}}\nartifacts: {files: [buildspec.yml]}")
	build := b.submit(nil)
	for range 4 {
		b.until(build.ID, func(b *store.Build) bool { return b.Phase(store.PhaseBuild) != nil })
		time.Sleep(300 * time.Millisecond)
		b.stop()
		b.start()
	}
	build = b.done(build.ID)
	var want strings.Builder
	for i := 1; i <= 40; i++ {
		fmt.Fprintf(&want, "tick %d\n", i)
	}
	if got := b.printed(build.ID); got != want.String() || build.Status != store.Succeeded || build.Artifacts == nil {
		t.Errorf("%s printed %q", build.Status, got)
	}
	if b.sandbox.Starts != 1 {
		t.Errorf("%d sandboxes were started", b.sandbox.Starts)
	}
	b.leftNothing()
}

// TestLeftovers begins with what belongs to nothing.
func TestLeftovers(t *testing.T) {
	b := newBench(t, nil)
	spec := runner.Spec{ID: "0123456789abcdef", Image: "none", Exchange: t.TempDir(), Source: t.TempDir(), Objects: t.TempDir()}
	if err := b.sandbox.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(b.config.Dir, "fedcba9876543210")
	if err := os.MkdirAll(filepath.Join(old, "source", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	os.Chtimes(old, past, past)
	b.start()
	b.leftNothing()
}

func TestWarmSandboxes(t *testing.T) {
	b := newBench(t, nil)
	b.config.Warm = 1
	b.start()
	waiting := func() (list []store.WaitingSandbox) {
		if err := b.store.View(func(tx *store.Tx) (err error) { list, err = tx.WaitingSandboxes(); return err }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	waits := func() store.WaitingSandbox {
		t.Helper()
		for range 200 {
			if list := waiting(); len(list) == 1 {
				return list[0]
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("waiting: %v", waiting())
		panic("")
	}
	spec := "version: 0.2\nphases: {build: {commands: [cat file, touch made]}}\nartifacts: {files: [made]}"
	b.write("file", "1\n")
	if build := b.run(spec); build.Status != store.Succeeded {
		t.Fatal(b.log(build.ID))
	}
	first := waits()
	b.write("file", "2\n")
	build := b.run(spec)
	if build.Status != store.Succeeded || build.Sandbox.ID != first.ID || b.printed(build.ID) != "2\n" {
		t.Errorf("%s in sandbox %s, %s waited; printed %q", build.Status, build.Sandbox.ID, first.ID, b.printed(build.ID))
	}
	second := waits()
	if second.ID == first.ID {
		t.Error("a sandbox waits that has served")
	}
	// One that died while it waited is replaced.
	if err := b.sandbox.Remove(t.Context(), second.ID); err != nil {
		t.Fatal(err)
	}
	build = b.run(spec)
	if build.Status != store.Succeeded || build.Sandbox.ID == second.ID {
		t.Errorf("%s in sandbox %s\n%s", build.Status, build.Sandbox.ID, b.log(build.ID))
	}
	// Another image wants another sandbox.
	third := waits()
	build = b.done(b.submit(func(b *store.Build) { b.Settings.Image = "other" }).ID)
	if build.Status != store.Succeeded || build.Sandbox.ID == third.ID {
		t.Errorf("%s in sandbox %s", build.Status, build.Sandbox.ID)
	}
	b.stop()
	if list := waiting(); len(list) > 0 {
		t.Errorf("after the end there wait %v", list)
	}
	b.leftNothing()
}

// TestObstacle has no sandbox ready for a while.
func TestObstacle(t *testing.T) {
	b := newBench(t, nil)
	var ready atomic.Bool
	b.config.Sandbox = &unready{Processes: b.sandbox, ready: &ready}
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: [true]}}")
	build := b.submit(nil)
	obstacle := func() (text string) {
		b.store.View(func(tx *store.Tx) error { text = tx.Obstacle(); return nil })
		return text
	}
	for range 100 {
		if obstacle() != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := obstacle(); got != "No sandbox can be started: the engine is down" {
		t.Errorf("obstacle %q", got)
	}
	ready.Store(true)
	if build = b.done(build.ID); build.Status != store.Succeeded || obstacle() != "" {
		t.Errorf("%s, obstacle %q", build.Status, obstacle())
	}
}

type unready struct {
	*runnertest.Processes
	ready *atomic.Bool
}

func (u *unready) Ready(context.Context) error {
	if !u.ready.Load() {
		return errors.New("the engine is down")
	}
	return nil
}
