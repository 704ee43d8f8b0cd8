package agent

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

// A writer appends events to the story. Its methods may be called at the same time.
type writer struct {
	mu      sync.Mutex
	file    *os.File
	err     error // the first failure to write; nothing is written after it
	n       int64
	line    []byte
	rest    []byte // the beginning of a character whose end has not been read yet
	midLine bool   // the last byte of output was no line feed

	mask    *masker // nil without secrets
	tail    []byte  // the end of the output since the last keepTail
	keep    bool    // tail is kept
	limit   int64   // of output, 0 for none
	written int64
	dropped int64
}

// event appends an event. The number and the time are set here.
func (w *writer) event(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	e.Message, e.Detail = w.mask.text(e.Message), w.mask.text(e.Detail)
	e.N, e.Time = w.n, time.Now().UnixMilli()
	w.n++
	w.writeLocked(appendEvent(w.line[:0], e))
}

// fullPause is how long to wait before a full disk is written to again.
const fullPause = 200 * time.Millisecond

// writeLocked writes whole lines. When the disk is full it waits: the commands wait with it, and nothing they print is lost.
func (w *writer) writeLocked(lines []byte) {
	w.line = lines
	for w.err == nil && len(lines) > 0 {
		n, err := w.file.Write(lines)
		lines = lines[n:]
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			time.Sleep(fullPause)
			continue
		}
		w.err = err
	}
}

// Write appends what commands printed. It keeps a character whole that ends in the next call, and never fails.
func (w *writer) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := len(text)
	w.takeLocked(w.mask.write(text))
	return all, nil
}

// takeLocked takes output in which nothing is to be masked any more.
func (w *writer) takeLocked(text []byte) {
	if w.keep {
		w.tail = append(w.tail, text...)
		if len(w.tail) > 2*maxTail {
			w.tail = append(w.tail[:0], w.tail[len(w.tail)-maxTail:]...)
		}
	}
	if w.limit > 0 {
		if room := w.limit - w.written; int64(len(text)) > room {
			w.dropped += int64(len(text)) - max(room, 0)
			text = text[:max(room, 0)]
		}
		w.written += int64(len(text))
	}
	if len(w.rest) > 0 {
		text = append(w.rest, text...)
		w.rest = nil
	}
	whole := len(text) - unfinished(text)
	if whole < len(text) {
		w.rest = append([]byte(nil), text[whole:]...)
	}
	w.outputLocked(text[:whole])
}

// maxTail is how much of a command's output on-failure: RETRY-<regex> looks at.
const maxTail = 64 << 10

// keepTail begins to keep the end of the output, for outputTail.
func (w *writer) keepTail() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep, w.tail = true, w.tail[:0]
}

// endTail ends it: what comes is not kept.
func (w *writer) endTail() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	w.keep = false
}

// outputTail is the end of the output between keepTail and endTail, at most maxTail bytes.
func (w *writer) outputTail() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	return append([]byte(nil), w.tail[max(0, len(w.tail)-maxTail):]...)
}

// unfinished is how many bytes at the end of text begin a character without ending it.
func unfinished(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if c := text[len(text)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(text[len(text)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

func (w *writer) flushLocked() {
	w.takeLocked(w.mask.flush())
	if len(w.rest) > 0 {
		rest := w.rest
		w.rest = nil
		w.outputLocked(rest)
	}
}

// outputLocked appends text as one or more events.
func (w *writer) outputLocked(text []byte) {
	if len(text) == 0 {
		return
	}
	w.midLine = text[len(text)-1] != '\n'
	now := time.Now().UnixMilli()
	lines := w.line[:0]
	for len(text) > 0 {
		n := min(len(text), maxText)
		if n < len(text) {
			if cut := unfinished(text[:n]); cut < n {
				n -= cut
			}
		}
		lines = appendOutput(lines, w.n, now, text[:n])
		w.n++
		text = text[n:]
	}
	w.writeLocked(lines)
}

// Logf prints a line of the agent's own among the output. The limit does not hold for it.
func (w *writer) Logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	line := LogLine(time.Now(), w.mask.text(fmt.Sprintf(format, args...)))
	if w.midLine {
		line = "\n" + line
	}
	w.outputLocked([]byte(line))
}

// LogLine is a line as CodeBuild's agent prints it into the log, with its end.
func LogLine(at time.Time, text string) string {
	return at.UTC().Format("[Container] 2006/01/02 15:04:05.000000 ") + text + "\n"
}

// closeLog marks what the limit dropped.
func (w *writer) closeLog() {
	w.mu.Lock()
	dropped, limit := w.dropped, w.limit
	w.mu.Unlock()
	if dropped > 0 {
		w.Logf("The log reached its limit of %d bytes; %d bytes of output were dropped", limit, dropped)
	}
}
