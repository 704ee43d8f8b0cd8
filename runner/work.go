package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/store"
)

// prepare makes an exchange directory.
func prepare(dir string) (uint64, error) { return agent.Prepare(dir) }

// work is one build in its goroutine.
type work struct {
	r    *Runner
	b    store.Build // as it was when it was last written here
	log  *slog.Logger
	warm bool
	out  *store.LogWriter
	tree Tree

	revoke func() // makes the build's credential for git worthless; nil without one

	watchers sync.WaitGroup // everything that was started for the build; it reads what is below and nothing above

	id      string    // the build's
	until   time.Time // when the build has timed out; zero for never
	sandbox string    // the id of its sandbox; written before handed is closed
	handed  chan struct{}

	mu        sync.Mutex
	verdict   *ending   // why the server ended the sandbox; nil if it did not
	verdictAt time.Time // when it did
	breakOff  func()    // breaks off what is done for the build after its end; nil if that cannot be
}

// An ending is how a build ends.
type ending struct {
	status  store.Status
	phase   string // the phase that this ends; empty for the one under way
	code    string
	message string
}

// failed is an ending by the author's failure.
func failed(phase, code, format string, args ...any) *ending {
	return &ending{store.Failed, phase, code, fmt.Sprintf(format, args...)}
}

// fault is an ending by ours.
func fault(phase string, err error) *ending {
	return &ending{store.Fault, phase, agent.CodeInternal, err.Error()}
}

// What ends a build from outside.
var (
	errStopped  = errors.New("stopped")
	errTimedOut = errors.New("timed out")
)

// killGrace is how long after the deadline or a stop the server waits for the agent to do what it must.
const killGrace = 30 * time.Second

// do takes the build from where it is to its end. An error is the store's: the build is as it was, to be begun again.
func (w *work) do(ctx context.Context) error {
	var err error
	if w.out, err = w.r.Store.AppendLog(w.b.ID, w.b.Log.Size); err != nil {
		return err
	}
	defer w.out.Close()
	end, err := w.toTheEnd(ctx)
	if w.tree != nil {
		defer w.tree.Close()
	}
	if err != nil || end == nil {
		return err
	}
	if err := w.finish(ctx, end); err != nil {
		return err
	}
	if w.revoke != nil {
		w.revoke()
	}
	if w.b.Sandbox.ID != "" {
		if err := w.r.removeSandbox(ctx, w.b.Sandbox.ID); err != nil {
			w.log.Warn("cleaning up after a build", "err", err)
		}
	}
	w.r.warm.wanted(w.b)
	return nil
}

// toTheEnd gives the build's ending, nil if the server stops first.
func (w *work) toTheEnd(ctx context.Context) (*ending, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer w.watchers.Wait()
	defer cancel()
	// begun is the part that a stop or the deadline simply breaks off; once the agent has the job, it is asked.
	begun, breakOff := context.WithCancelCause(ctx)
	defer breakOff(nil)
	w.id, w.handed = w.b.ID, make(chan struct{})
	if t := w.b.Settings.Timeout; t > 0 {
		w.until = w.b.Claimed.Add(t)
	}
	w.watchers.Go(func() { w.watchStop(ctx, breakOff) })

	end, err := w.begin(begun)
	if ctx.Err() != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if end != nil {
		switch context.Cause(begun) {
		case errStopped:
			end = w.stopped()
		case errTimedOut:
			end = timedOut()
		}
		return end, nil
	}
	w.sandbox = w.b.Sandbox.ID
	close(w.handed)
	w.r.Store.At("handed")
	limit := w.b.Settings.Disk
	w.watchers.Go(func() { w.watchDisk(ctx, limit) })
	end, err = w.follow(ctx)
	if ctx.Err() != nil && end != nil && end.status == store.Fault {
		return nil, nil // what stopped with the server is no fault: the next one takes it up
	}
	return end, err
}

// stopped is the ending that somebody asked for.
func (w *work) stopped() *ending {
	by := "somebody"
	if b, err := w.r.Store.Build(w.id); err == nil && b.Stop != nil {
		by = b.Stop.By
	}
	return &ending{status: store.Stopped, message: "Stopped by " + by + "."}
}

func timedOut() *ending {
	return &ending{status: store.TimedOut, code: agent.CodeTimedOut, message: "Build has timed out."}
}

// watchStop waits for somebody to ask for the build's end and for its deadline. Before the agent has the job, it breaks
// the beginning off; after that it asks the agent, which watches the deadline itself, and ends the sandbox if that does not
// help.
func (w *work) watchStop(ctx context.Context, breakOff context.CancelCauseFunc) {
	news, unwatch := w.r.Store.Watch()
	defer unwatch()
	var late <-chan time.Time
	if !w.until.IsZero() {
		timer := time.NewTimer(time.Until(w.until))
		defer timer.Stop()
		late = timer.C
	}
	cause := errStopped
	for asked := false; !asked; {
		b, err := w.r.Store.Build(w.id)
		if asked = err == nil && b.Stop != nil; asked {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-late:
			cause, asked = errTimedOut, true
		case <-news:
		}
	}
	breakOff(cause)
	select {
	case <-w.handed:
	case <-ctx.Done():
		return
	}
	if cause == errStopped {
		w.r.Store.At("stop seen")
		if err := w.r.Sandbox.Stop(ctx, w.sandbox); err != nil && ctx.Err() == nil {
			w.log.Warn("asking the agent to stop", "err", err)
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(killGrace):
		end := timedOut()
		if cause == errStopped {
			end = w.stopped()
		}
		w.kill(ctx, end)
	}
}

// kill ends the sandbox, and the build with a verdict that the agent can say nothing against.
func (w *work) kill(ctx context.Context, end *ending) {
	w.mu.Lock()
	if w.verdict == nil {
		w.verdict, w.verdictAt = end, time.Now()
	}
	if w.breakOff != nil {
		w.breakOff()
	}
	w.mu.Unlock()
	if err := w.end(ctx, forever); err != nil && ctx.Err() == nil {
		w.log.Error("ending a sandbox", "err", err)
	}
}

const forever = time.Duration(math.MaxInt64)

// removePause is how long to wait before a sandbox is tried to be removed again.
const removePause = time.Second

// end ends the sandbox of the build. While its engine does not answer it tries again, for at most patience.
func (w *work) end(ctx context.Context, patience time.Duration) error {
	for begun := time.Now(); ; {
		err := w.r.Sandbox.Remove(ctx, w.sandbox)
		if err == nil || ctx.Err() != nil || time.Since(begun) > patience {
			return err
		}
		w.log.Warn("ending a sandbox", "err", err)
		if !sleep(ctx, removePause) {
			return err
		}
	}
}

// breakable has stop called when the server ends the build, unless it has.
func (w *work) breakable(stop func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breakOff = stop
	return w.verdict == nil
}

func (w *work) judgedAt() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.verdictAt
}

func (w *work) judged() *ending {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.verdict
}

// change writes a change of the build, together with how far the log has come.
func (w *work) change(fn func(*store.Build)) error {
	size := w.out.Size()
	b, err := w.r.Store.ChangeBuild(w.b.ID, func(b *store.Build) error {
		b.Log.Size = size
		fn(b)
		return nil
	})
	if err != nil {
		return err
	}
	w.b = b
	return nil
}

// logf prints a line of the server's into the log.
func (w *work) logf(format string, args ...any) error {
	line := agent.LogLine(w.r.Store.Now(), fmt.Sprintf(format, args...))
	if w.out.MidLine() {
		line = "\n" + line
	}
	_, err := w.out.Write([]byte(line))
	return err
}
