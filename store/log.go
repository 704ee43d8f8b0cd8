package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// logs wakes those who follow a log, and remembers where the lines of recently read logs begin.
type logs struct {
	mu        sync.Mutex
	followers map[string]*broadcast
	indexes   map[string]*lineIndex
}

func (s *Store) logPath(build string) string { return filepath.Join(s.dir, "logs", build+".log") }

// A LogWriter appends to the log of a build. One goroutine uses it.
type LogWriter struct {
	store *Store
	build string
	file  *os.File
	size  int64
	lines int
	mid   bool // the last line has no end yet
}

// AppendLog opens the log of a build for writing at size, which is where what is known of it ends: what lies beyond is cut
// off. A log that is shorter, because the host lost power, goes on where it ends, with a line that says so.
func (s *Store) AppendLog(build string, size int64) (*LogWriter, error) {
	f, err := os.OpenFile(s.logPath(build), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	w := &LogWriter{store: s, build: build, file: f}
	if err := w.position(size); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the log of build %s: %w", build, err)
	}
	return w, nil
}

func (w *LogWriter) position(size int64) error {
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > size {
		if err := w.file.Truncate(size); err != nil {
			return err
		}
	}
	r := bufio.NewReaderSize(w.file, 1<<20)
	for {
		chunk, err := r.ReadSlice('\n')
		w.size += int64(len(chunk))
		if len(chunk) > 0 {
			if w.mid = chunk[len(chunk)-1] != '\n'; !w.mid {
				w.lines++
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	if w.size < size {
		lost := fmt.Sprintf("[%d bytes of the log were lost when the machine stopped]\n", size-w.size)
		if w.mid {
			lost = "\n" + lost
		}
		_, err = w.Write([]byte(lost))
	}
	return err
}

// Restart cuts the log off at its beginning.
func (w *LogWriter) Restart() error {
	if err := w.file.Truncate(0); err != nil {
		return err
	}
	_, err := w.file.Seek(0, io.SeekStart)
	w.size, w.lines, w.mid = 0, 0, false
	return err
}

// Write appends to the log and wakes those who follow it.
func (w *LogWriter) Write(text []byte) (int, error) {
	n, err := w.file.Write(text)
	w.size += int64(n)
	w.lines += bytes.Count(text[:n], []byte{'\n'})
	if n > 0 {
		w.mid = text[n-1] != '\n'
	}
	w.store.logs.wake(w.build)
	return n, err
}

// Size is how many bytes the log has.
func (w *LogWriter) Size() int64 { return w.size }

// Line is the number of the line that the next byte belongs to, from 1.
func (w *LogWriter) Line() int { return w.lines + 1 }

// MidLine reports whether the last line has no end yet.
func (w *LogWriter) MidLine() bool { return w.mid }

// Sync makes what was written durable.
func (w *LogWriter) Sync() error { return w.file.Sync() }

// Close closes the log and does not sync it.
func (w *LogWriter) Close() error { return w.file.Close() }

// OpenLog opens the log of a build for reading. A build that has printed nothing has an empty log. The caller closes it.
func (s *Store) OpenLog(build string) (io.ReadSeekCloser, error) {
	f, err := os.Open(s.logPath(build))
	if errors.Is(err, fs.ErrNotExist) {
		return emptyLog{bytes.NewReader(nil)}, nil
	}
	return f, err
}

type emptyLog struct{ *bytes.Reader }

func (emptyLog) Close() error { return nil }

// WatchLog returns a channel that has something to receive when the log of a build has grown since the last receive.
func (s *Store) WatchLog(build string) (news <-chan struct{}, stop func()) {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	if s.logs.followers == nil {
		s.logs.followers = map[string]*broadcast{}
	}
	b := s.logs.followers[build]
	if b == nil {
		b = &broadcast{}
		s.logs.followers[build] = b
	}
	news, leave := b.watch()
	return news, func() {
		leave()
		s.logs.mu.Lock()
		defer s.logs.mu.Unlock()
		if b.empty() && s.logs.followers[build] == b {
			delete(s.logs.followers, build)
		}
	}
}

func (b *broadcast) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watchers) == 0
}

func (l *logs) wake(build string) {
	l.mu.Lock()
	b := l.followers[build]
	l.mu.Unlock()
	if b != nil {
		b.wake()
	}
}

// A lineIndex knows where every indexStep-th line of a log begins. It grows with the log.
type lineIndex struct {
	mu      sync.Mutex
	starts  []int64 // of lines 0, indexStep, 2*indexStep, ...
	lines   int     // line ends seen
	scanned int64   // bytes seen
	used    int     // when it was last used, in calls
}

const (
	indexStep  = 500
	maxIndexes = 64
)

// index gives the line index of a log.
func (l *logs) index(build string) *lineIndex {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.indexes == nil {
		l.indexes = map[string]*lineIndex{}
	}
	x := l.indexes[build]
	if x == nil {
		if len(l.indexes) >= maxIndexes {
			oldest := ""
			for id, other := range l.indexes {
				if oldest == "" || other.used < l.indexes[oldest].used {
					oldest = id
				}
			}
			delete(l.indexes, oldest)
		}
		x = &lineIndex{starts: []int64{0}}
		l.indexes[build] = x
	}
	for _, other := range l.indexes {
		x.used = max(x.used, other.used+1)
	}
	return x
}

// extend looks at what the log has gained. A log that was cut is looked at anew.
func (x *lineIndex) extend(f io.ReadSeeker) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size < x.scanned {
		x.starts, x.lines, x.scanned = []int64{0}, 0, 0
	}
	if _, err := f.Seek(x.scanned, io.SeekStart); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for x.scanned < size {
		n, err := f.Read(buf[:min(int64(len(buf)), size-x.scanned)])
		if n == 0 {
			return err
		}
		for at := 0; at < n; {
			end := bytes.IndexByte(buf[at:n], '\n')
			if end < 0 {
				break
			}
			at += end + 1
			if x.lines++; x.lines%indexStep == 0 {
				x.starts = append(x.starts, x.scanned+int64(at))
			}
		}
		x.scanned += int64(n)
	}
	return nil
}

// A Line is one line of a log without its end.
type Line struct {
	Number int // from 1
	Text   []byte
}

// maxLine is how much of a line Lines gives.
const maxLine = 64 << 10

// Lines gives at most max lines of a build's log from the given number on, and how many lines the log has: a last line
// without an end is one too. A line that is very long is cut.
func (s *Store) Lines(build string, from, max int) (lines []Line, total int, err error) {
	f, err := s.OpenLog(build)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	x := s.logs.index(build)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.extend(f); err != nil {
		return nil, 0, err
	}
	total = x.lines
	if x.scanned > 0 && !x.endsLine(f) {
		total++
	}
	from = min(from, total+1)
	if from < 1 {
		from = 1
	}
	at := (from - 1) / indexStep
	if _, err := f.Seek(x.starts[at], io.SeekStart); err != nil {
		return nil, 0, err
	}
	r := bufio.NewReaderSize(io.LimitReader(f, x.scanned-x.starts[at]), 256<<10)
	for n := at*indexStep + 1; n <= total && len(lines) < max; n++ {
		text, err := readLine(r, n >= from)
		if err != nil {
			return nil, 0, err
		}
		if n >= from {
			lines = append(lines, Line{n, text})
		}
	}
	return lines, total, nil
}

func (x *lineIndex) endsLine(f io.ReadSeeker) bool {
	var last [1]byte
	if _, err := f.Seek(x.scanned-1, io.SeekStart); err != nil {
		return false
	}
	_, err := io.ReadFull(f, last[:])
	return err == nil && last[0] == '\n'
}

// readLine reads one line, and keeps at most maxLine bytes of it if it keeps any.
func readLine(r *bufio.Reader, keep bool) ([]byte, error) {
	var text []byte
	for {
		chunk, err := r.ReadSlice('\n')
		if keep && len(text) < maxLine {
			text = append(text, chunk[:min(len(chunk), maxLine-len(text))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return bytes.TrimSuffix(text, []byte{'\n'}), nil
	}
}
