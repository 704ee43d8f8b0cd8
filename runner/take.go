package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/store"
)

// leavesFiles reports whether there is something to take out of the exchange directory. A build that was broken off leaves
// nothing.
func (f *follower) leavesFiles() bool {
	o := f.outcome
	s := store.Status(o.Result)
	return (o.Packed || len(o.Archives) > 0 || o.Cache != nil) && s != store.Stopped && s != store.TimedOut
}

// fullPatience is how long a build waits for room on a full disk to keep what it leaves.
const fullPatience = 5 * time.Minute

// takeFiles keeps what the agent packed, and ends the build with end unless something is wrong with it. It is safe to repeat, and
// breaks off when ctx is done or the server ends the build.
func (f *follower) takeFiles(ctx context.Context, end *ending) (*ending, error) {
	if err := f.end(ctx, removePatience); err != nil { // no process of it is left from here on
		return fault(store.PhaseUploadArtifacts, err), nil
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if !f.breakable(stop) {
		return f.judged(), nil
	}
	for begun := time.Now(); ; {
		wrong, err := f.takeOnce(ctx)
		switch {
		case f.judged() != nil:
			return f.judged(), nil
		case wrong != nil:
			return wrong, nil
		case err == nil:
			return end, nil
		case ctx.Err() != nil || !errors.Is(err, syscall.ENOSPC):
			return nil, err
		case time.Since(begun) > fullPatience:
			return fault(store.PhaseUploadArtifacts, fmt.Errorf("what the build leaves could not be kept: %w", err)), nil
		}
		f.log.Warn("the disk is full, what a build leaves waits for room", "err", err)
		sleep(ctx, retryStore)
	}
}

// takeOnce keeps what the agent packed. The ending says what is wrong with it, nil for nothing; then nothing of it is kept.
func (f *follower) takeOnce(ctx context.Context) (*ending, error) {
	archives, err := f.archives()
	var taken []store.Artifacts
	if err == nil && len(archives) > 0 {
		taken, err = f.takeArchives(ctx, archives)
	}
	if err == nil && f.b.ReportFiles != nil {
		err = f.makeReports(ctx)
	}
	if err == nil {
		f.keepCache()
		return nil, nil
	}
	for _, a := range taken {
		f.r.Store.DropArtifacts(f.b.ID, a.ID)
	}
	if len(taken) > 0 {
		if changed := f.change(func(b *store.Build) { b.Artifacts, b.Secondary, b.ReportFiles = nil, nil, nil }); changed != nil {
			return nil, changed
		}
	}
	if errors.Is(err, store.ErrDamagedArchive) && ctx.Err() == nil {
		return failed(store.PhaseUploadArtifacts, agent.CodeClient, "%v", err), nil
	}
	return nil, err
}

// archives are those that the agent told of, if they are what the job allows: each once, one after another.
func (f *follower) archives() ([]store.PackedArchive, error) {
	if f.outcome.Packed { // a server of an earlier release has read of it
		return []store.PackedArchive{{Name: f.outcome.Name}}, nil
	}
	planned := f.b.Planned
	if planned == nil {
		if list := f.outcome.Archives; len(list) == 1 && list[0].ID == "" && list[0].Offset == 0 && list[0].Size == 0 {
			return list, nil // an agent of an earlier release packed one archive and no more
		}
		planned = &store.Planned{}
	}
	var end int64
	seen := map[string]bool{}
	for _, a := range f.outcome.Archives {
		known := slices.Contains(planned.Artifacts, a.ID) || a.ID == store.ReportFiles && planned.Reports > 0
		if !known || seen[a.ID] || a.Offset < end || a.Size <= 0 || a.Size > 1<<62-a.Offset {
			return nil, fmt.Errorf("%w: an archive %.150q of %d bytes at %d", store.ErrDamagedArchive, a.ID, a.Size, a.Offset)
		}
		if len(a.Prefix) > 1000 || a.Prefix != "" && !filepath.IsLocal(a.Prefix) {
			return nil, fmt.Errorf("%w: the prefix %.150q", store.ErrDamagedArchive, a.Prefix)
		}
		seen[a.ID], end = true, a.Offset+a.Size
	}
	return f.outcome.Archives, nil
}

// Limits of the files of reports. An agent keeps lower ones.
const maxReportFiles = 256 << 20

// takeArchives keeps archives and records them. All of them together, those of reports apart, may hold as much as the build's limit
// of disk. With an error it gives those that were kept.
func (f *follower) takeArchives(ctx context.Context, archives []store.PackedArchive) (taken []store.Artifacts, err error) {
	room := f.b.Settings.Disk
	most := 2*room + maxReportFiles
	if room <= 0 {
		most = 0
	}
	packed, err := openPlain(filepath.Join(f.r.exchangeDir(f.b.Sandbox.ID), agent.ArtifactsName), most)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", store.ErrDamagedArchive, err)
	}
	defer packed.Close()
	var primary, reports *store.Artifacts
	var secondary []store.Artifacts
	for _, a := range archives {
		limit := room
		if a.ID == store.ReportFiles {
			limit = maxReportFiles
		}
		size := a.Size
		if size == 0 {
			size = 1 << 62
		}
		one, err := f.r.Store.TakeArtifacts(f.b.ID, a.ID, f.nameOf(a), contextReader{ctx, io.NewSectionReader(packed, a.Offset, size)}, limit)
		if ctx.Err() != nil {
			err = context.Cause(ctx) // which the store took for damage
		}
		if err != nil {
			return taken, err
		}
		taken = append(taken, *one)
		switch one.Prefix = a.Prefix; a.ID {
		case "":
			primary = one
		case store.ReportFiles:
			reports = one
		default:
			secondary = append(secondary, *one)
		}
		if a.ID != store.ReportFiles && room > 0 {
			room = max(1, room-one.Content)
		}
	}
	if err := f.change(func(b *store.Build) { b.Artifacts, b.Secondary, b.ReportFiles = primary, secondary, reports }); err != nil {
		return taken, err
	}
	f.r.Store.At("artifacts taken")
	return taken, nil
}

// nameOf is what an archive is called: what the agent told if that is a name.
func (f *follower) nameOf(a store.PackedArchive) string {
	if a.Name != "" && filepath.IsLocal(a.Name) && len(a.Name) <= 255 {
		return a.Name
	}
	if a.ID != "" {
		return f.b.Project + "-" + a.ID
	}
	return f.b.Project
}

// A contextReader reads until ctx is done.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}

// openPlain opens a file that a container could write to, and refuses what is not a plain file with one name.
func openPlain(name string, most int64) (*os.File, error) {
	f, err := openNoFollow(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file")
	case info.Sys().(*syscall.Stat_t).Nlink != 1:
		err = errors.New("it has another name")
	case most > 0 && info.Size() > most+1<<20:
		err = errors.New("it is larger than its limit")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
