package runnertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/agent"
	"buildsmith/store"
)

// TestSandbox is the contract of runner.Sandbox: what every one must do. dir is where directories are made for sandboxes,
// image one that has a shell.
func TestSandbox(t *testing.T, s runner.Sandbox, dir, image string) {
	c := contract{s, dir, image}
	for name, test := range map[string]func(*testing.T, contract){
		"a job is done":              testJob,
		"starting twice is once":     testStartTwice,
		"stopping ends a build":      testStop,
		"removing ends everything":   testRemove,
		"none of that id":            testUnknown,
		"no such image":              testNoImage,
		"what it leaves can be gone": testRemoveDir,
		"waiting can be cancelled":   testWaitCancelled,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

type contract struct {
	runner.Sandbox
	dir, image string
}

// spec makes the directories of a sandbox and says how to start it.
func (c contract) spec(t *testing.T, id string) (runner.Spec, uint64) {
	t.Helper()
	base := filepath.Join(c.dir, id)
	s := runner.Spec{
		ID: id, Image: c.image,
		Exchange: filepath.Join(base, "exchange"), Source: filepath.Join(base, "source"), Objects: filepath.Join(base, "objects"),
		Memory: 512 << 20, CPUs: 1, Processes: 256, Network: store.NetworkNone,
	}
	for _, dir := range []string{s.Source, s.Objects} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inode, err := agent.Prepare(s.Exchange)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Remove(context.Background(), id); err != nil {
			t.Errorf("Remove: %v", err)
		}
	})
	return s, inode
}

func (c contract) start(t *testing.T, id, command string) *agent.Story {
	t.Helper()
	s, inode := c.spec(t, id)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Start(ctx, s); err != nil {
		t.Fatalf("Start: %v", err)
	}
	job := agent.Job{Build: id, Dir: agent.SourceDir, Phases: []agent.Phase{{Name: "BUILD", Commands: []string{command}}}}
	if err := agent.Hand(ctx, s.Exchange, job); err != nil {
		t.Fatal(err)
	}
	story, err := agent.Open(s.Exchange, inode, agent.Mark{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { story.Close() })
	return story
}

// until reads up to the event of a kind whose output holds text, and gives all output.
func until(t *testing.T, story *agent.Story, kind, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var output strings.Builder
	for {
		events, err := story.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s %q: %v\n%s", kind, text, err, output.String())
		}
		for _, e := range events {
			output.WriteString(e.Text)
			if e.Kind == kind && strings.Contains(e.Text, text) {
				return output.String()
			}
		}
	}
}

func (c contract) wait(t *testing.T, id string) runner.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	exit, err := c.Wait(ctx, id)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return exit
}

func testJob(t *testing.T, c contract) {
	if err := c.Ready(t.Context()); err != nil {
		t.Fatalf("Ready: %v", err)
	}
	if _, err := c.Pull(t.Context(), c.image); err != nil {
		t.Fatalf("Pull: %v", err)
	}
	story := c.start(t, "contract-job", `echo "here: $(pwd)"; echo text > file; id -u`)
	output := until(t, story, agent.Done, "")
	if !strings.Contains(output, "here: "+agent.SourceDir+"\n") || !strings.Contains(output, "\n0\n") {
		t.Errorf("output %q", output)
	}
	if exit := c.wait(t, "contract-job"); exit.Status != 0 || exit.Gone || exit.OutOfMemory {
		t.Errorf("exit %+v", exit)
	}
	if text, err := os.ReadFile(filepath.Join(c.dir, "contract-job", "source", "file")); string(text) != "text\n" {
		t.Errorf("the source directory holds %q, %v", text, err)
	}
	if exit := c.wait(t, "contract-job"); exit.Gone {
		t.Error("a sandbox that has ended is gone before it was removed")
	}
}

func testStartTwice(t *testing.T, c contract) {
	s, inode := c.spec(t, "contract-twice")
	for range 2 {
		if err := c.Start(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	story, err := agent.Open(s.Exchange, inode, agent.Mark{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer story.Close()
	until(t, story, agent.Hello, "")
	ids, err := c.List(t.Context())
	if err != nil || !slices.Contains(ids, s.ID) {
		t.Errorf("List = %v, %v", ids, err)
	}
	if _, err := c.Usage(t.Context(), s.ID); err != nil {
		t.Errorf("Usage: %v", err)
	}
}

func testStop(t *testing.T, c contract) {
	story := c.start(t, "contract-stop", "echo ready; sleep 1000")
	until(t, story, agent.Output, "ready\n")
	for range 2 {
		if err := c.Stop(t.Context(), "contract-stop"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, story, agent.Done, "")
	c.wait(t, "contract-stop")
	if err := c.Stop(t.Context(), "contract-stop"); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
}

func testRemove(t *testing.T, c contract) {
	story := c.start(t, "contract-remove", "trap '' TERM; echo ready; sleep 1000")
	until(t, story, agent.Output, "ready\n")
	ended := make(chan error, 1)
	go func() {
		_, err := c.Wait(context.WithoutCancel(t.Context()), "contract-remove")
		ended <- err
	}()
	if err := c.Remove(t.Context(), "contract-remove"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Wait: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("Wait does not return after Remove")
	}
	if ids, err := c.List(t.Context()); err != nil || slices.Contains(ids, "contract-remove") {
		t.Errorf("List = %v, %v", ids, err)
	}
	if exit := c.wait(t, "contract-remove"); !exit.Gone {
		t.Errorf("exit %+v of a sandbox that was removed", exit)
	}
}

func testUnknown(t *testing.T, c contract) {
	if exit := c.wait(t, "contract-unknown"); !exit.Gone {
		t.Errorf("exit %+v", exit)
	}
	if err := errors.Join(c.Stop(t.Context(), "contract-unknown"), c.Remove(t.Context(), "contract-unknown")); err != nil {
		t.Error(err)
	}
}

func testNoImage(t *testing.T, c contract) {
	if _, err := c.Pull(t.Context(), NoSuchImage); !errors.Is(err, runner.ErrImage) {
		t.Errorf("Pull = %v", err)
	}
	s, _ := c.spec(t, "contract-image")
	s.Image = NoSuchImage
	if err := c.Start(t.Context(), s); !errors.Is(err, runner.ErrImage) {
		t.Errorf("Start = %v", err)
	}
}

func testRemoveDir(t *testing.T, c contract) {
	dir := filepath.Join(c.dir, "contract-dir")
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is still there")
	}
}

func testWaitCancelled(t *testing.T, c contract) {
	s, _ := c.spec(t, "contract-wait")
	if err := c.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, s.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait = %v", err)
	}
}
