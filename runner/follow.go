package runner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/store"
)

// How much of the story may be read again after a restart.
const (
	saveEvery     = time.Second
	saveEveryByte = 8 << 20
)

// follow reads the agent's story into the store until it ends. The ending is nil if ctx is done first: the server stops.
func (w *work) follow(ctx context.Context) (*ending, error) {
	story, err := w.open(agent.Mark{Offset: w.b.Log.Events, N: w.b.Log.Next})
	if err != nil {
		return w.broken(err), nil
	}
	defer story.Close()
	reading, ended := context.WithCancelCause(ctx)
	defer ended(nil)
	exited := make(chan agentExit, 1)
	w.watchers.Go(func() {
		exit, err := w.r.Sandbox.Wait(ctx, w.sandbox)
		exited <- agentExit{exit, err}
		ended(errEnded)
	})
	f := &follower{work: w, story: story, saved: time.Now(), savedSize: w.out.Size(), current: underWay(&w.b), failed: w.b.Failure != nil}
	if f.outcome = w.b.Outcome; f.told() {
		return f.afterDone(ctx, exited)
	}
	for {
		events, err := story.Next(reading)
		switch {
		case ctx.Err() != nil:
			return nil, f.save()
		case errors.Is(err, errEnded):
			exit := <-exited
			if exit.err != nil {
				return fault("", exit.err), nil
			}
			return f.afterExit(ctx, exit.Exit)
		case err != nil:
			w.kill(ctx, w.broken(err))
			return w.judged(), f.save()
		}
		if err := f.take(events); err != nil {
			return nil, err
		}
		if end := f.judged(); end != nil && time.Since(f.judgedAt()) > lastWords {
			return end, f.save()
		}
		if f.told() {
			w.r.Store.At("done read")
			if err := f.save(); err != nil {
				return nil, err
			}
			return f.afterDone(ctx, exited)
		}
	}
}

type agentExit struct {
	Exit
	err error
}

var errEnded = errors.New("the sandbox has ended")

// lastWords is how long the story of a sandbox that the server ended is still read.
const lastWords = 10 * time.Second

// A follower turns events into changes of the build.
type follower struct {
	*work
	story     *agent.Story
	changes   []func(*store.Build) // not written yet
	saved     time.Time
	savedSize int64

	current store.Command // the command under way
	failed  bool          // a command has failed: the first is kept

	cacheEvents int // how many were taken

	outcome *store.Outcome // what the agent told of the end so far
	fault   string         // the agent's own
}

// told reports whether the agent has told the end.
func (f *follower) told() bool { return f.outcome != nil && f.outcome.Result != "" }

// take applies events. A change of phases is written at once, together with how far the log had come; output alone after a
// while.
func (f *follower) take(events []agent.Event) error {
	for _, e := range events {
		if err := f.apply(e); err != nil {
			return err
		}
	}
	if len(f.changes) > 0 || time.Since(f.saved) > saveEvery || f.out.Size()-f.savedSize > saveEveryByte {
		return f.save()
	}
	return nil
}

func (f *follower) save() error {
	changes, mark := f.changes, f.story.Mark()
	err := f.change(func(b *store.Build) {
		for _, change := range changes {
			change(b)
		}
		b.Log.Events, b.Log.Next = mark.Offset, mark.N
	})
	if err != nil {
		return err
	}
	f.changes, f.saved, f.savedSize = nil, time.Now(), f.out.Size()
	f.r.Store.At("followed")
	return nil
}

func (f *follower) add(change func(*store.Build)) { f.changes = append(f.changes, change) }

// apply takes one event. What an agent would not say is passed over: it is a build's lie about itself.
func (f *follower) apply(e agent.Event) error {
	at := f.within(e.At().UTC())
	switch e.Kind {
	case agent.Output:
		if err := f.output(e); err != nil {
			return err
		}
	case agent.Enter:
		if known(e.Phase) {
			line := f.out.Line()
			f.add(func(b *store.Build) { b.Enter(e.Phase, at).Line = line })
		}
	case agent.Leave:
		if known(e.Phase) {
			f.add(func(b *store.Build) { b.Leave(e.Phase, at, status(e.Result), e.Code, clean(e.Message)) })
		}
	case agent.Command:
		command := store.Command{Text: short(clean(e.Message)), Finally: e.Finally, Start: at, Line: f.out.Line()}
		f.current = command
		f.add(func(b *store.Build) {
			if p := b.Phase(e.Phase); p != nil && len(p.Commands) < store.MaxCommands {
				p.Commands = append(p.Commands, command)
			}
		})
	case agent.Exit:
		f.exit(e, at)
	case agent.Packed:
		f.tell(func(o *store.Outcome) {
			if len(o.Archives) < maxArchives {
				o.Archives = append(o.Archives, store.PackedArchive{
					ID: clean(e.ID), Name: clean(e.Message), Prefix: clean(e.Detail), Offset: e.Offset, Size: e.Length})
			}
		})
	case agent.Report:
		f.tell(func(o *store.Outcome) {
			if e.Index == len(o.Reports) && e.Index < store.MaxReports {
				o.Reports = append(o.Reports, store.PackedReport{Group: clean(e.Message), Format: clean(e.Code), Problem: clean(e.Detail)})
			}
		})
	case agent.Export:
		f.add(func(b *store.Build) {
			if len(b.Exported) < maxExported {
				b.Exported = append(b.Exported, store.Variable{Name: clean(e.ID), Value: clean(e.Message)})
			}
		})
	case agent.Caching:
		f.tell(func(o *store.Outcome) {
			o.Cache = &store.PackedCache{Key: clean(e.Message), Version: clean(e.Detail), Files: e.Files, Size: e.Size}
		})
	case agent.Broken:
		f.dropCache(clean(e.Detail), clean(e.ID))
	case agent.Restored:
		f.useCache(clean(e.Detail), clean(e.ID))
	case agent.Done:
		f.tell(func(o *store.Outcome) { o.Result, o.Retry = string(status(e.Result)), e.Again })
	case agent.Fault:
		f.fault = clean(e.Message)
	}
	return nil
}

// How much an agent may tell of what a build leaves.
const (
	maxArchives = 14 // the primary artifacts, twelve secondary ones, the files of the reports
	maxExported = 100
)

// tell keeps what the agent told of the end. It is recorded with the place in the story that it stands at: a server that
// dies after that does not read it again.
func (f *follower) tell(change func(*store.Outcome)) {
	var o store.Outcome
	if f.outcome != nil {
		o = *f.outcome
		o.Archives, o.Reports = slices.Clone(o.Archives), slices.Clone(o.Reports)
	}
	change(&o)
	f.outcome = &o
	f.add(func(b *store.Build) { b.Outcome = &o })
}

// output appends to the log. An agent keeps the limit; what goes beyond it comes from somebody else.
func (f *follower) output(e agent.Event) error {
	text := e.Bytes
	if len(text) == 0 {
		text = []byte(e.Text)
	}
	if limit := f.b.Settings.LogLimit; limit > 0 && f.out.Size() > limit+eventRoom {
		return nil
	}
	_, err := f.out.Write(text)
	return err
}

// exit records the end of a command. The first that fails is kept with the end of its output.
func (f *follower) exit(e agent.Event, at time.Time) {
	var failure *store.Failure
	if c := f.current; e.Status != 0 && c.Line > 0 && !f.failed {
		f.failed = true
		end := f.out.Line()
		if f.out.MidLine() {
			end++
		}
		failure = &store.Failure{Phase: e.Phase, Command: c.Text, Exit: e.Status, Line: c.Line, Tail: f.tail(c.Line, end)}
	}
	f.current = store.Command{}
	f.add(func(b *store.Build) {
		if p := b.Phase(e.Phase); p != nil && len(p.Commands) > 0 {
			if c := &p.Commands[len(p.Commands)-1]; c.End.IsZero() {
				c.End, c.Exit = at, e.Status
			}
		}
		if failure != nil {
			b.Failure = failure
		}
	})
}

// underWay is the command that a build ran when it was last written; the zero command if none.
func underWay(b *store.Build) store.Command {
	for _, p := range b.Phases {
		if n := len(p.Commands); n > 0 && p.Commands[n-1].End.IsZero() {
			return p.Commands[n-1]
		}
	}
	return store.Command{}
}

// maxTail is how many lines of a failed command's output are kept with the build.
const maxTail = 50

// tail is the last lines of the log from line up to end, without it.
func (f *follower) tail(line, end int) []string {
	from := max(line, end-maxTail)
	lines, _, err := f.r.Store.Lines(f.b.ID, from, end-from)
	if err != nil {
		f.log.Warn("reading the log", "err", err)
	}
	var tail []string
	for _, l := range lines {
		tail = append(tail, strings.ToValidUTF8(string(l.Text[:min(len(l.Text), maxTailLine)]), "\uFFFD"))
	}
	return tail
}

const maxTailLine = 500

func known(phase string) bool {
	switch phase {
	case store.PhaseInstall, store.PhasePreBuild, store.PhaseBuild, store.PhasePostBuild, store.PhaseUploadArtifacts:
		return true
	}
	return false
}

// status turns an agent's word into the store's; whatever it does not know is a failure.
func status(result string) store.Status {
	switch s := store.Status(result); s {
	case store.Succeeded, store.TimedOut, store.Stopped:
		return s
	}
	return store.Failed
}

// within is a time that the agent told, or the nearest at which the build ran.
func (f *follower) within(at time.Time) time.Time {
	if now := f.r.Store.Now().UTC(); at.After(now) {
		at = now
	}
	if at.Before(f.b.Claimed) {
		at = f.b.Claimed.UTC()
	}
	return at
}

// maxMessage is how much of a message or name of the agent's is taken. An agent tells no more.
const maxMessage = 4 << 10

func clean(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxMessage)], "\uFFFD")
}

// maxCommandText is how much of a command's text its record keeps.
const maxCommandText = 1000

func short(text string) string {
	if len(text) <= maxCommandText {
		return text
	}
	return clean(text[:maxCommandText]) + "…"
}

// afterExit reads what is left of the story of a sandbox that has ended, and judges.
func (f *follower) afterExit(ctx context.Context, exit Exit) (*ending, error) {
	for {
		events, err := f.story.Available()
		if err != nil {
			if end := f.judged(); end != nil {
				return end, f.save()
			}
			return f.broken(err), f.save()
		}
		if len(events) == 0 {
			break
		}
		if err := f.take(events); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, f.save()
		}
		if end := f.judged(); end != nil && time.Since(f.judgedAt()) > lastWords {
			return end, f.save()
		}
	}
	if err := f.save(); err != nil {
		return nil, err
	}
	if f.told() && f.judged() == nil {
		return f.conclude(ctx)
	}
	return f.judge(exit), nil
}

// judge says how a build ended whose agent did not.
func (f *follower) judge(exit Exit) *ending {
	b, err := f.r.Store.Build(f.b.ID)
	switch {
	case f.judged() != nil:
		return f.judged()
	case err == nil && b.Stop != nil:
		return f.stopped()
	case !f.until.IsZero() && !f.r.Store.Now().Before(f.until):
		return timedOut()
	case exit.OutOfMemory:
		return failed("", agent.CodeClient, "The build ran out of memory: its limit is %s.", size(f.b.Settings.Memory))
	case f.fault != "":
		return fault("", errors.New("the agent failed: "+f.fault))
	case exit.Gone:
		return fault("", errors.New("The build's container is gone: the host was restarted, or somebody removed it."))
	}
	return fault("", errors.New(strings.TrimSpace("The build's container ended without a result. "+exit.Detail)))
}

// result is the ending that the agent told. An agent stops when its process is told to, whoever does that: an engine or a
// host that is shut down does, and that is no stop that anybody asked for.
func (f *follower) result() *ending {
	switch store.Status(f.outcome.Result) {
	case store.Stopped:
		if b, err := f.r.Store.Build(f.id); err == nil && b.Stop == nil {
			return fault(f.phaseIn(store.Stopped), errors.New("The build's container was stopped: the host or its container engine was shut down."))
		}
		return f.stopped()
	case store.TimedOut:
		return timedOut()
	case store.Succeeded:
		return &ending{status: store.Succeeded}
	}
	return &ending{status: store.Failed}
}

// phaseIn is the first phase with a status, empty if there is none.
func (f *follower) phaseIn(status store.Status) string {
	for _, p := range f.b.Phases {
		if p.Status == status {
			return p.Type
		}
	}
	return ""
}

// afterDone takes the result that the agent told.
func (f *follower) afterDone(ctx context.Context, exited <-chan agentExit) (*ending, error) {
	if f.leavesFiles() { // which are taken when nothing writes to them any more
		select {
		case <-exited:
		case <-ctx.Done():
			return nil, nil
		case <-time.After(killGrace):
		}
	}
	return f.conclude(ctx)
}

// removePatience is how long an engine may fail to answer before a build that is over ends in a fault.
const removePatience = 10 * time.Minute

// conclude gives the ending that the agent told, once its artifacts are taken; unless the server has judged.
func (f *follower) conclude(ctx context.Context) (*ending, error) {
	if end := f.judged(); end != nil {
		return end, nil
	}
	if f.leavesFiles() {
		return f.takeFiles(ctx, f.result())
	}
	return f.result(), nil
}
