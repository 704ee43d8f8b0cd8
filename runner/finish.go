package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"buildsmith/store"
)

func openNoFollow(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// maxFaults is how often a build is repeated by itself after a fault of ours.
const maxFaults = 1

// finish records the build's end. From there on everybody knows; what is left of it only needs room.
func (w *work) finish(ctx context.Context, end *ending) error {
	now := w.r.Store.Now()
	phase := w.phaseOf(end)
	if phase != "" {
		if err := errors.Join(
			w.logf("Phase complete: %s State: %s", phase, end.status),
			w.logf("Phase context status code: %s Message: %s", end.code, end.message)); err != nil {
			return err
		}
	}
	if err := w.out.Sync(); err != nil {
		return err
	}
	w.r.Store.At("before the end")
	size := w.out.Size()
	findings := w.findings(ctx)
	var next store.Build
	var repeated bool
	err := w.r.Store.Update(func(tx *store.Tx) error {
		repeated = false
		b, err := tx.ChangeBuild(w.b.ID, func(b *store.Build) error {
			b.Log.Size, b.Findings = size, findings
			if phase != "" {
				b.Leave(phase, now, end.status, end.code, end.message)
			}
			for i := range b.Phases { // the agent tells that it was cut off; by whom is known here
				if p := &b.Phases[i]; p.Status == end.status && p.Message == "" {
					p.Message = end.message
				}
			}
			switch p := b.Phase(store.PhaseProvisioning); {
			case phase == store.PhaseProvisioning: // what ran beside it does not count
				b.Phases = slices.DeleteFunc(b.Phases, func(p store.Phase) bool { return p.Type == store.PhaseDownloadSource })
			case phase == store.PhaseDownloadSource && p != nil && p.End.IsZero(): // it was not needed any more
				b.Leave(store.PhaseProvisioning, now, store.Succeeded, "", "")
			}
			if phase != store.PhaseProvisioning && phase != store.PhaseFinalizing && end.status != store.Stopped {
				b.Leave(store.PhaseFinalizing, now, store.Succeeded, "", "")
			}
			b.End(end.status, now)
			return nil
		})
		if err != nil {
			return err
		}
		w.b = b
		next, repeated, err = w.repeat(tx, b)
		return err
	})
	if err != nil {
		return err
	}
	w.r.Store.At("ended")
	w.log.Info("a build ended", "project", w.b.Project, "number", w.b.Number, "status", w.b.Status, "took", w.b.Ended.Sub(w.b.Created).Round(1e6), "reason", end.message)
	if repeated {
		w.log.Info("repeating a build", "next", next.ID, "after", w.b.Status)
	}
	return nil
}

// phaseOf is the phase that an ending with a message ends: the one it names, or the one under way; empty if the agent has
// ended it so already.
func (w *work) phaseOf(end *ending) string {
	if end.phase != "" || end.message == "" {
		return end.phase
	}
	for _, p := range w.b.Phases {
		if p.End.IsZero() {
			return p.Type
		}
	}
	for _, p := range w.b.Phases {
		if p.Status == end.status {
			return ""
		}
	}
	return store.PhaseFinalizing
}

// repeat makes the build that repeats one of ours that failed us, or one whose on-failure asks for it.
func (w *work) repeat(tx *store.Tx, b store.Build) (store.Build, bool, error) {
	attempts, retries := b.Attempts, b.Retries
	switch {
	case b.Stop != nil:
		return store.Build{}, false, nil
	case b.Status == store.Fault && attempts < maxFaults:
		attempts++
	case b.Status == store.Failed && b.Outcome != nil && b.Outcome.Retry && b.Planned != nil && retries < b.Planned.Retries:
		retries++
	default:
		return store.Build{}, false, nil
	}
	p, ok, err := tx.ProjectByName(b.Project)
	if err != nil || !ok {
		return store.Build{}, false, err
	}
	next, err := tx.Submit(p, store.Build{
		Check: b.Check, Trigger: b.Trigger, Settings: b.Settings, RerunOf: b.ID, Attempts: attempts, Retries: retries,
	})
	if err != nil {
		return next, false, fmt.Errorf("repeating build %s: %w", b.ID, err)
	}
	return next, true, tx.SetRerunBy(b.ID, next.ID)
}
