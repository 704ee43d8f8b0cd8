package runner

import (
	"context"
	"io"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/finding"
	"buildsmith/store"
)

// Findings are read when everybody waits for the result, so that what they may cost is bounded: reading as much takes a fifth
// of a second.
const (
	findingsPart = 8 << 20 // bytes at the beginning and at the end of a log that are read
	findingsTime = 15 * time.Second
)

// findings are what compilers and linters said in the log of a build that is about to end. What cannot be read is left out: no
// build ends otherwise for that.
func (w *work) findings(ctx context.Context) []store.Finding {
	if !w.b.Settings.Findings || !w.b.Sandbox.Job {
		return nil
	}
	log, err := w.r.Store.OpenLog(w.b.ID)
	if err != nil {
		w.log.Warn("reading a log for findings", "err", err)
		return nil
	}
	defer log.Close()
	size := w.out.Size()
	r := finding.New(agent.SourceDir + "/" + sourcePath(w.b.Repo))
	err = r.Read(io.LimitReader(log, min(size, findingsPart)))
	if err == nil && size > findingsPart {
		if _, err = log.Seek(max(findingsPart, size-findingsPart), io.SeekStart); err == nil {
			err = r.Read(io.LimitReader(log, findingsPart))
		}
	}
	if err != nil {
		w.log.Warn("reading a log for findings", "err", err)
	}
	if r.Empty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), findingsTime)
	defer cancel()
	files, err := w.tree.Files(ctx)
	if err != nil {
		w.log.Warn("listing the files that a log speaks of", "err", err) // it is taken at its word
		files = nil
	}
	var list []store.Finding
	for _, f := range r.Findings(files) {
		list = append(list, store.Finding(f))
	}
	return list
}
