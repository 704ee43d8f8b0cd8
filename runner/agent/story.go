package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrDamaged says that events holds what no agent wrote: the build itself tampered with it.
var ErrDamaged = errors.New("event log damaged by the build")

// A Story reads the events of an exchange directory from the outside. It trusts nothing it finds there.
type Story struct {
	file   *os.File
	watch  *watch
	offset int64 // where the next event begins
	n      int64 // the number it must have
	limit  int64 // of the file's size
	inode  uint64
	path   string
	buf    []byte
	seen   int64 // the file's size when last looked at
}

// Mark is a place between two events. The zero value is the beginning.
type Mark struct {
	Offset int64 // in events
	N      int64 // number of the next event
}

// Open opens the story at a mark. The inode is what Prepare returned; limit is how many bytes events may have in all,
// which no agent reaches that keeps its limit of output. The caller closes the story.
func Open(dir string, inode uint64, from Mark, limit int64) (*Story, error) {
	path := filepath.Join(dir, eventsName)
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(dir); gone == nil {
			return nil, fmt.Errorf("%w: events was replaced", ErrDamaged)
		}
	}
	if err != nil {
		return nil, err
	}
	s := &Story{file: file, offset: from.Offset, n: from.N, limit: limit, inode: inode, path: path, buf: make([]byte, 0, 1<<20)}
	if err := s.check(); err != nil {
		file.Close()
		return nil, err
	}
	s.watch, err = newWatch(path)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	return s, nil
}

// Close frees what the story holds.
func (s *Story) Close() error {
	return errors.Join(s.watch.Close(), s.file.Close())
}

// Mark is the place after the events that Next returned.
func (s *Story) Mark() Mark { return Mark{s.offset, s.n} }

// check refuses a file that is not the one the server made, or not as long as it has been.
func (s *Story) check() error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	stat := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular() || stat.Ino != s.inode || s.replaced(info):
		return fmt.Errorf("%w: events was replaced", ErrDamaged)
	case stat.Nlink > 1:
		return fmt.Errorf("%w: events has another name", ErrDamaged)
	case info.Size() < s.offset || info.Size() < s.seen:
		return fmt.Errorf("%w: events was cut", ErrDamaged)
	case s.limit > 0 && info.Size() > s.limit:
		return fmt.Errorf("%w: events has more than %d bytes", ErrDamaged, s.limit)
	}
	s.seen = info.Size()
	return nil
}

// replaced reports whether the name belongs to another file now, or to none: a server that starts again could not read on.
func (s *Story) replaced(file fs.FileInfo) bool {
	named, err := os.Lstat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Stat(filepath.Dir(s.path))
		return err == nil
	}
	return err == nil && !os.SameFile(named, file)
}

// idleInterval is how often Next looks at a file that does not grow: an agent that is well writes when it has something
// to say, and the kernel tells of it at once.
const idleInterval = time.Second

// Next returns the events that have come since, at least one, as many as one read gives. With nothing new it waits until
// ctx is done; it then returns ctx's cause. An error that wraps ErrDamaged is the build's doing.
func (s *Story) Next(ctx context.Context) ([]Event, error) {
	for {
		events, err := s.Available()
		if len(events) > 0 || err != nil {
			return events, err
		}
		if err := s.watch.Wait(ctx, idleInterval); err != nil {
			return nil, err
		}
	}
}

// Available returns the events that have come since, none if there are none.
func (s *Story) Available() ([]Event, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	n, err := s.file.ReadAt(s.buf[:cap(s.buf)], s.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s.parse(s.buf[:n])
}

// parse takes the whole lines of text. What stands before damage is good: the damage is told by the next call.
func (s *Story) parse(text []byte) ([]Event, error) {
	var events []Event
	for {
		end := bytes.IndexByte(text, '\n')
		if end < 0 && len(text) < MaxLine {
			return events, nil
		}
		e, err := Event{}, fmt.Errorf("%w: a line is longer than %d bytes", ErrDamaged, MaxLine)
		if end >= 0 && end < MaxLine {
			e, err = s.decode(text[:end])
		}
		if err != nil && len(events) > 0 {
			return events, nil
		}
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		s.n++
		s.offset += int64(end) + 1
		text = text[end+1:]
	}
}

func (s *Story) decode(line []byte) (Event, error) {
	e, ok := decodeOutput(line)
	if !ok {
		if err := json.Unmarshal(line, &e); err != nil {
			return e, fmt.Errorf("%w: line %d is no event", ErrDamaged, s.n)
		}
	}
	switch {
	case e.N != s.n:
		return e, fmt.Errorf("%w: event %d stands where %d is due", ErrDamaged, e.N, s.n)
	case e.N == 0 && e.Kind != Hello:
		return e, fmt.Errorf("%w: the first event is no %s", ErrDamaged, Hello)
	case e.Kind == Hello && (e.N != 0 || e.Version < 1 || e.Version > Version):
		return e, fmt.Errorf("%w: version %d of the format is unknown", ErrDamaged, e.Version)
	case e.Time < 0 || e.Time > maxTime:
		return e, fmt.Errorf("%w: event %d has no time", ErrDamaged, e.N)
	}
	return e, nil
}

// SawJob reports whether the agent at the exchange directory has its job already.
func (s *Story) SawJob() (bool, error) {
	again := *s
	again.offset, again.n = 0, 0
	for {
		events, err := again.Available()
		if err != nil || len(events) == 0 {
			return false, err
		}
		for _, e := range events {
			if e.Kind == GotJob {
				return true, nil
			}
		}
	}
}
