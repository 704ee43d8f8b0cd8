package runner_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"buildsmith/runner"
	"buildsmith/store"
)

// A watchedSource tells of each checkout, and may do something in its place.
type watchedSource struct {
	runner.Source
	checkout func(ctx context.Context, tree runner.Tree, dir string) error
}

type watchedTree struct {
	runner.Tree
	source *watchedSource
}

func (s *watchedSource) Open(ctx context.Context, b *store.Build) (runner.Tree, error) {
	tree, err := s.Source.Open(ctx, b)
	return watchedTree{tree, s}, err
}

func (t watchedTree) Checkout(ctx context.Context, dir string) error {
	return t.source.checkout(ctx, t.Tree, dir)
}

// TestTreeOfABuildIsNotTouched has a build deny that it got its job, and the server start again: it must not work in a tree
// that a container writes to, but give the build a new one.
func TestTreeOfABuildIsNotTouched(t *testing.T) {
	const deny = `f=/buildsmith/exchange/events; o=$(grep -bo '\"k\":\"job\"' $f | head -n 1 | cut -d: -f1); ` +
		`printf '\"k\":\"jox\"' | dd of=$f bs=1 seek=$o conv=notrunc 2>/dev/null; echo denied; `
	for name, tt := range map[string]struct {
		recorded  bool // the server had read on before it stopped
		checkouts int32
	}{"story read on": {true, 1}, "story not read": {false, 2}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			var checkouts atomic.Int32
			var dirs []string
			b.config.Source = &watchedSource{b.config.Source, func(ctx context.Context, tree runner.Tree, dir string) error {
				checkouts.Add(1)
				dirs = append(dirs, dir)
				return tree.Checkout(ctx, dir)
			}}
			b.start()
			b.write("buildspec.yml", `{version: 0.2, phases: {build: {commands: ["`+deny+` test -e /tmp/never || sleep 4"]}}}`)
			build := b.submit(nil)
			build = b.until(build.ID, func(x *store.Build) bool { return x.Phase(store.PhaseBuild) != nil })
			for !strings.Contains(b.log(build.ID), "\ndenied") {
				time.Sleep(20 * time.Millisecond)
			}
			b.stop()
			if !tt.recorded { // as if it had died before it recorded what it read
				if _, err := b.store.ChangeBuild(build.ID, func(b *store.Build) error { b.Log.Events, b.Log.Next = 0, 0; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			b.start()
			if build = b.done(build.ID); build.Status != store.Succeeded || checkouts.Load() != tt.checkouts {
				t.Errorf("%s after %d checkouts", build.Status, checkouts.Load())
			}
			if len(dirs) == 2 && dirs[0] == dirs[1] {
				t.Errorf("checked out twice in %s", dirs[0])
			}
			b.leftNothing()
		})
	}
}

// TestImpossibleTime has a build write an event whose time no record can hold.
func TestImpossibleTime(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	build := b.run(`{version: 0.2, phases: {build: {commands: ["f=/buildsmith/exchange/events; n=$(tail -n 1 $f | sed 's/^{\"n\":\\([0-9]*\\),.*/\\1/'); ` +
		`echo '{\"n\":'$((n+1))',\"t\":900000000000000000,\"k\":\"phase\",\"p\":\"POST_BUILD\"}' >> $f; sleep 1000"]}}}`)
	if p := build.Phase(store.PhaseBuild); build.Status != store.Failed || !strings.Contains(p.Message, "event log damaged by the build: event") {
		t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
	}
}

// TestForgedTime has a build tell times at which it did not run, and more than an agent would.
func TestForgedTime(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	build := b.run(`{version: 0.2, phases: {build: {commands: ["f=/buildsmith/exchange/events; n=$(tail -n 1 $f | sed 's/^{\"n\":\\([0-9]*\\),.*/\\1/'); ` +
		`for t in 5 200000000000000; do n=$((n+1)); echo '{\"n\":'$n',\"t\":'$t',\"k\":\"phase\",\"p\":\"POST_BUILD\"}' >> $f; done; ` +
		`m=$(head -c 40000 /dev/zero | tr '\\0' x); echo '{\"n\":'$((n+1))',\"t\":6,\"k\":\"end\",\"p\":\"POST_BUILD\",\"s\":\"FAILED\",\"m\":\"'$m'\"}' >> $f; sleep 0.5"]}}}`)
	p := build.Phase(store.PhasePostBuild)
	if p == nil || p.Start.Before(build.Claimed) || p.Start.After(time.Now()) || p.End.Before(p.Start) || len(p.Message) != 4096 {
		t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
	}
}

// A busySandbox does not remove at once.
type busySandbox struct {
	runner.Sandbox
	remove func(ctx context.Context) error
}

func (s busySandbox) Remove(ctx context.Context, id string) error {
	if err := s.remove(ctx); err != nil {
		return err
	}
	return s.Sandbox.Remove(ctx, id)
}

// TestStopWhileArtifactsAreTaken stops the server when a build that succeeded is about to deliver: the next one goes on.
func TestStopWhileArtifactsAreTaken(t *testing.T) {
	b := newBench(t, nil)
	removing := make(chan struct{}, 100)
	b.config.Sandbox = busySandbox{b.sandbox, func(ctx context.Context) error {
		removing <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['true']}}\nartifacts: {files: [buildspec.yml]}")
	build := b.submit(nil)
	<-removing
	b.stop()
	if got, err := b.store.Build(build.ID); err != nil || got.Done() {
		t.Fatalf("%+v, %v", got, err)
	}
	b.config.Sandbox = b.sandbox
	b.start()
	if build = b.done(build.ID); build.Status != store.Succeeded || build.RerunBy != "" || build.Artifacts == nil {
		t.Errorf("%s %s", build.Status, phasesOf(&build))
	}
}

// TestKillIsRepeated has the engine fail when a build is to be ended: it is ended when the engine is back, and its own word
// does not count.
func TestKillIsRepeated(t *testing.T) {
	b := newBench(t, nil)
	var failures atomic.Int32
	b.config.Sandbox = busySandbox{b.sandbox, func(context.Context) error {
		if failures.Add(1) <= 2 {
			return errors.New("no engine")
		}
		return nil
	}}
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['head -c 30000000 /dev/zero > big; sleep 3']}}\nartifacts: {files: [buildspec.yml]}")
	build := b.done(b.submit(func(b *store.Build) { b.Settings.Disk = 10 << 20 }).ID)
	if p := build.Headline(); build.Status != store.Failed || build.Artifacts != nil || p == nil || !strings.Contains(p.Message, " of disk; its limit is 10 MiB.") {
		t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
	}
	b.config.Sandbox = b.sandbox
	b.leftNothing()
}

// TestSourceTooLarge bounds what a checkout writes.
func TestSourceTooLarge(t *testing.T) {
	b := newBench(t, nil)
	b.config.Source = &watchedSource{b.config.Source, func(ctx context.Context, _ runner.Tree, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 30<<20), 0o600); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	b.start()
	b.write("buildspec.yml", "version: 0.2\nphases: {build: {commands: ['true']}}")
	build := b.done(b.submit(func(b *store.Build) { b.Settings.Disk = 10 << 20 }).ID)
	want := "The source cannot be checked out: it has more than 10 MiB of files: too large"
	if p := build.Phase(store.PhaseDownloadSource); build.Status != store.Failed || p == nil || p.Message != want {
		t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
	}
	b.leftNothing()
}

// TestDeepTree has a build make directories until no path leads to the last, and more than a server has descriptors.
func TestDeepTree(t *testing.T) {
	b := newBench(t, nil)
	b.start()
	build := b.run("version: 0.2\nphases: {build: {commands: ['i=0; while [ $i -lt 5000 ]; do mkdir d && cd -P d; i=$((i+1)); done 2>/dev/null; sleep 30']}}")
	if p := build.Phase(store.PhaseBuild); build.Status != store.Failed || p.Message != "The build made more than 1000 directories in one another." {
		t.Errorf("%s %s %+v", build.Status, phasesOf(&build), p)
	}
	b.leftNothing()
}
