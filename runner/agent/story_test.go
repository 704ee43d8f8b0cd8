package agent_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/runnertest"
)

// exchange makes an exchange directory whose events hold text.
func exchange(t *testing.T, text string) (dir string, inode uint64) {
	t.Helper()
	dir = t.TempDir()
	inode, err := agent.Prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "events"), []byte(text), 0); err != nil {
		t.Fatal(err)
	}
	return dir, inode
}

// read reads a whole story.
func read(t *testing.T, dir string, inode uint64, from agent.Mark, limit int64) ([]agent.Event, agent.Mark, error) {
	t.Helper()
	story, err := agent.Open(dir, inode, from, limit)
	if err != nil {
		return nil, from, err
	}
	defer story.Close()
	var all []agent.Event
	for {
		events, err := story.Available()
		if err != nil || len(events) == 0 {
			return all, story.Mark(), err
		}
		all = append(all, events...)
	}
}

// TestRecordedStory reads a stream of version 1 as an agent wrote it, which servers of the next release must read too.
func TestRecordedStory(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "events-v1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	dir, inode := exchange(t, string(text))
	events, mark, err := read(t, dir, inode, agent.Mark{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		if e.Kind != agent.Output {
			kinds = append(kinds, e.Kind)
		}
	}
	want := strings.Fields("hello job phase command exit end phase command exit end phase artifacts end done")
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds %q, want %q", kinds, want)
	}
	if got := printed(events); got != "caf\303\251\n\377\n" {
		t.Errorf("printed %q", got)
	}
	if mark.Offset != int64(len(text)) || mark.N != int64(len(events)) {
		t.Errorf("mark %+v", mark)
	}
	rest, _, err := read(t, dir, inode, agent.Mark{Offset: int64(strings.Index(string(text), "\n") + 1), N: 1}, 0)
	if err != nil || len(rest) != len(events)-1 {
		t.Errorf("from the second event: %d events, %v", len(rest), err)
	}
}

const hello = `{"n":0,"t":1,"k":"hello","v":1}` + "\n"

// TestDamagedStories holds what no agent writes.
func TestDamagedStories(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"garbage\n", "line 0 is no event"},
		{hello + "[1]\n", "line 1 is no event"},
		{hello + `{"n":2,"k":"job"}` + "\n", "event 2 stands where 1 is due"},
		{hello + `{"n":0,"k":"hello","v":1}` + "\n", "event 0 stands where 1 is due"},
		{hello + `{"n":1,"k":"hello","v":1}` + "\n", "version 1 of the format is unknown"},
		{`{"n":0,"k":"job"}` + "\n", "the first event is no hello"},
		{`{"n":0,"k":"hello","v":99}` + "\n", "version 99 of the format is unknown"},
		{`{"n":0,"k":"hello"}` + "\n", "version 0 of the format is unknown"},
		{hello + strings.Repeat("x", agent.MaxLine) + "\n", "a line is longer than 65536 bytes"},
		{hello + strings.Repeat("x", agent.MaxLine+1), "a line is longer than 65536 bytes"},
		{hello + strings.Repeat(" ", 3<<20), "a line is longer than 65536 bytes"},
	} {
		dir, inode := exchange(t, tt.text)
		_, _, err := read(t, dir, inode, agent.Mark{}, 0)
		if !errors.Is(err, agent.ErrDamaged) || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestTamperedFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		tamper func(events string) error
		want   string
	}{
		"replaced": {func(events string) error {
			return errors.Join(os.WriteFile(events+"2", []byte(hello), 0o600), os.Rename(events+"2", events))
		}, "events was replaced"},
		"removed":   {os.Remove, "events was replaced"},
		"link":      {func(events string) error { return errors.Join(os.Remove(events), os.Symlink("/etc/passwd", events)) }, "events was replaced"},
		"FIFO":      {func(events string) error { return errors.Join(os.Remove(events), syscall.Mkfifo(events, 0o600)) }, "events was replaced"},
		"directory": {func(events string) error { return errors.Join(os.Remove(events), os.Mkdir(events, 0o700)) }, "events was replaced"},
		"hard link": {func(events string) error { return os.Link(events, events+"2") }, "events has another name"},
		"cut":       {func(events string) error { return os.Truncate(events, 3) }, "events was cut"},
		"too long":  {func(events string) error { return os.Truncate(events, 5000) }, "events has more than 4000 bytes"},
	} {
		dir, inode := exchange(t, hello)
		if err := tt.tamper(filepath.Join(dir, "events")); err != nil {
			t.Fatal(err)
		}
		_, _, err := read(t, dir, inode, agent.Mark{Offset: int64(len(hello)), N: 1}, 4000)
		if !errors.Is(err, agent.ErrDamaged) || !strings.HasSuffix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestCutWhileOpen cuts and refills the file between two looks at it.
func TestCutWhileOpen(t *testing.T) {
	dir, inode := exchange(t, hello)
	story, err := agent.Open(dir, inode, agent.Mark{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer story.Close()
	if _, err := story.Available(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "events"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := story.Available(); !errors.Is(err, agent.ErrDamaged) {
		t.Error(err)
	}
}

func TestNextWaits(t *testing.T) {
	dir, inode := exchange(t, hello)
	story, err := agent.Open(dir, inode, agent.Mark{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer story.Close()
	if events, err := story.Next(t.Context()); err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	cause := errors.New("the test says so")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	if _, err := story.Next(ctx); !errors.Is(err, cause) {
		t.Errorf("Next = %v, want the context's cause", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "events"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprint(f, `{"n":1,"k"`) // half an event is none
	if events, err := story.Available(); err != nil || len(events) != 0 {
		t.Fatal(events, err)
	}
	time.AfterFunc(50*time.Millisecond, func() { fmt.Fprintln(f, `:"job"}`) })
	start := time.Now()
	if events, err := story.Next(t.Context()); err != nil || len(events) != 1 || events[0].Kind != agent.GotJob {
		t.Fatal(events, err)
	}
	if d := time.Since(start); d > 900*time.Millisecond {
		t.Errorf("heard of an event after %v", d)
	}
}

// TestHandTwice hands a job to an agent whose server died: once in the middle of the job, once after it.
func TestHandTwice(t *testing.T) {
	s := newSandbox(t)
	s.start()
	s.until(agent.Hello, "")
	fifo, err := os.OpenFile(filepath.Join(s.exchange, "job"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(fifo, "\n"+`{"Build":"b1","Dir":"/","Pha`)
	fifo.Close()
	if saw, err := s.story.SawJob(); saw || err != nil {
		t.Fatal(saw, err)
	}
	s.hand(build("echo once"))
	s.until(agent.Done, "")
	if saw, err := s.story.SawJob(); !saw || err != nil {
		t.Fatal(saw, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := agent.Hand(ctx, s.exchange, build("echo twice")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("handing a job to nobody: %v", err)
	}
}

// TestHandRefusesAFile has a build replace the FIFO by a file, which must not get the job.
func TestHandRefusesAFile(t *testing.T) {
	dir, _ := exchange(t, "")
	job := filepath.Join(dir, "job")
	if err := errors.Join(os.Remove(job), os.WriteFile(job, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := agent.Hand(t.Context(), dir, build("true")); err == nil || !strings.Contains(err.Error(), "is no FIFO") {
		t.Errorf("Hand = %v", err)
	}
}

// TestPrepareTwice keeps what is there.
func TestPrepareTwice(t *testing.T) {
	dir, inode := exchange(t, hello)
	again, err := agent.Prepare(dir)
	if err != nil || again != inode {
		t.Errorf("inode %d, then %d: %v", inode, again, err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "events")); string(text) != hello {
		t.Errorf("events holds %q", text)
	}
}

func FuzzStory(f *testing.F) {
	recorded, err := os.ReadFile(filepath.Join("testdata", "events-v1.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(recorded)
	f.Add([]byte(hello + "{}\n"))
	dir := f.TempDir()
	inode, err := agent.Prepare(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, "events"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		events, mark, err := read(t, dir, inode, agent.Mark{}, 0)
		if err != nil && !errors.Is(err, agent.ErrDamaged) {
			t.Fatal(err)
		}
		if mark.Offset > int64(len(text)) || err == nil && mark.N != int64(len(events)) {
			t.Errorf("mark %+v after %d events in %d bytes", mark, len(events), len(text))
		}
	})
}

// BenchmarkOutput is how fast output gets from a command to a reader of its story.
func BenchmarkOutput(b *testing.B) {
	const size = 50 << 20
	line := strings.Repeat("0123456789abcdef", 5)[:79]
	for b.Loop() {
		dir := b.TempDir()
		exchangeDir, source := filepath.Join(dir, "exchange"), filepath.Join(dir, "source")
		inode, err := agent.Prepare(exchangeDir)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.Mkdir(source, 0o755); err != nil {
			b.Fatal(err)
		}
		cmd := runnertest.AgentCommand(b.TempDir(), exchangeDir, source, source, "", "", []string{"PATH=/usr/bin:/bin"})
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		job := build(fmt.Sprintf("yes %s | head -c %d", line, size))
		job.Build, job.Dir = "b1", agent.SourceDir
		if err := agent.Hand(b.Context(), exchangeDir, job); err != nil {
			b.Fatal(err)
		}
		story, err := agent.Open(exchangeDir, inode, agent.Mark{}, 0)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for done := false; !done; {
			events, err := story.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for _, e := range events {
				n += len(e.Text)
				done = done || e.Kind == agent.Done
			}
		}
		if n < size {
			b.Fatalf("%d bytes of %d", n, size)
		}
		story.Close()
		cmd.Wait()
	}
	b.SetBytes(size)
}
