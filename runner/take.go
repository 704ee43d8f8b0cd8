package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

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

// takeFiles keeps what the agent packed, and ends the build with end unless something is wrong with it. It is safe to repeat.
func (f *follower) takeFiles(ctx context.Context, end *ending) (*ending, error) {
	if err := f.end(ctx, removePatience); err != nil { // no process of it is left from here on
		return fault(store.PhaseUploadArtifacts, err), nil
	}
	archives := f.outcome.Archives
	if f.outcome.Packed { // an agent of an earlier release packed one archive and no more
		archives = []store.PackedArchive{{Name: f.outcome.Name}}
	}
	if len(archives) > 0 {
		damaged, err := f.takeArchives(archives)
		if damaged != nil || err != nil {
			return damaged, err
		}
	}
	if f.b.ReportFiles != nil {
		if err := f.makeReports(ctx); err != nil {
			return nil, err
		}
	}
	f.keepCache()
	return end, nil
}

// takeArchives keeps the archives of the build's artifacts and report files. The ending is nil if nothing is wrong with them.
func (f *follower) takeArchives(archives []store.PackedArchive) (*ending, error) {
	const phase = store.PhaseUploadArtifacts
	packed, err := openPlain(filepath.Join(f.r.exchangeDir(f.b.Sandbox.ID), agent.ArtifactsName), 2*(1+int64(len(archives)))*f.b.Settings.Disk)
	if err != nil {
		return failed(phase, agent.CodeClient, "artifact archive damaged by the build: %v", err), nil
	}
	defer packed.Close()
	var primary, reports *store.Artifacts
	var secondary []store.Artifacts
	for _, a := range archives {
		taken, err := f.takeArchive(packed, a)
		switch {
		case errors.Is(err, store.ErrDamagedArchive):
			return failed(phase, agent.CodeClient, "%v", err), nil
		case err != nil:
			return nil, err
		}
		switch taken.Prefix = a.Prefix; a.ID {
		case "":
			primary = taken
		case store.ReportFiles:
			reports = taken
		default:
			secondary = append(secondary, *taken)
		}
	}
	if err := f.change(func(b *store.Build) { b.Artifacts, b.Secondary, b.ReportFiles = primary, secondary, reports }); err != nil {
		return nil, err
	}
	f.r.Store.At("artifacts taken")
	return nil, nil
}

// takeArchive keeps one of the archives that lie one after another in a file.
func (f *follower) takeArchive(packed io.ReaderAt, a store.PackedArchive) (*store.Artifacts, error) {
	if a.Offset < 0 || a.Size < 0 || len(a.Prefix) > 1000 || a.Prefix != "" && !filepath.IsLocal(a.Prefix) {
		return nil, fmt.Errorf("%w: an archive at %d with %d bytes", store.ErrDamagedArchive, a.Offset, a.Size)
	}
	size := a.Size
	if size == 0 {
		size = 1<<62 - a.Offset
	}
	name := a.Name
	if name == "" || !filepath.IsLocal(name) || len(name) > 255 {
		name = f.b.Project
		if a.ID != "" {
			name += "-" + a.ID
		}
	}
	return f.r.Store.TakeArtifacts(f.b.ID, a.ID, name, io.NewSectionReader(packed, a.Offset, size), f.b.Settings.Disk)
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
