package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

const (
	// pace is the least time between two events: what happens meanwhile comes as one.
	pace = 250 * time.Millisecond

	// heartbeat is how often a stream with no news shows that it is alive.
	heartbeat = 15 * time.Second

	// patience is how long one write to a browser may take.
	patience = 30 * time.Second

	// maxPushed is how many chunks of new lines an event carries. A browser that wants those before asks for them.
	maxPushed = 3
)

var errBusy = problem{http.StatusServiceUnavailable, "Too many followers", "Too many pages follow builds just now. Reload the page to see how the build stands."}

// A stateEvent is what has changed around the log.
type stateEvent struct {
	Title   string        `json:"title"`
	Summary template.HTML `json:"summary"`
	Folds   []fold        `json:"folds"`
	Running bool          `json:"running"`
}

// A logEvent is lines that are new or have grown.
type logEvent struct {
	Total int             `json:"total"`
	From  int             `json:"from"` // number of the first line
	Lines []template.HTML `json:"lines"`
}

// A stream sends events about a build to one browser.
type stream struct {
	*Web
	c     echo.Context
	visit *visit
	key   string // as the request had it
	rc    *http.ResponseController

	state []byte // last sent
	lines int    // of the log, as last sent
	size  int64  // of the log, as last sent
}

// events sends what changes in the page of a build, until the build is over and all was sent.
func (w *Web) events(c echo.Context, v *visit) error {
	if v.build == nil {
		return errLink
	}
	if w.streams.Add(1) > maxStreams {
		w.streams.Add(-1)
		c.Response().Header().Set("Retry-After", "10")
		return errBusy
	}
	defer w.streams.Add(-1)
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	s := &stream{Web: w, c: c, visit: v, key: c.QueryParam("k"), rc: unhurried(c, patience), size: -1}
	last := c.Request().Header.Get("Last-Event-ID")
	if last == "" {
		last = c.QueryParam("from")
	}
	s.lines, _ = strconv.Atoi(last)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	defer s.rc.SetWriteDeadline(time.Time{})
	if err := s.run(c.Request().Context()); err != nil && c.Request().Context().Err() == nil {
		w.Log.Debug("a stream of events was broken off", "build", v.build.ID, "err", err)
	}
	return nil // the answer has begun; a browser that misses its end connects again
}

func (s *stream) run(ctx context.Context) error {
	id := s.visit.build.ID
	grown, stopLog := s.Store.WatchLog(id)
	defer stopLog()
	news, stop := s.Store.Watch()
	defer stop()
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	if err := s.write("retry: 2000\n\n"); err != nil {
		return err
	}
	for {
		over, err := s.send()
		if err != nil {
			return err
		}
		if over {
			return s.write("event: end\ndata: {}\n\n")
		}
		if err := s.wait(ctx, grown, news, alive.C); err != nil {
			return err
		}
	}
}

// wait returns when there may be news, and some time after the last.
func (s *stream) wait(ctx context.Context, grown, news <-chan struct{}, alive <-chan time.Time) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return errors.New("the server is shutting down")
		case <-alive:
			if err := s.write(": alive\n\n"); err != nil {
				return err
			}
			continue
		case <-grown:
		case <-news:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return errors.New("the server is shutting down")
		case <-time.After(pace):
			return nil
		}
	}
}

// send sends what has changed, and reports whether the build was over before. Whoever may no longer see the build is sent
// nothing.
func (s *stream) send() (over bool, err error) {
	if err := s.subject(s.visit, s.visit.build.ID, s.key); err != nil {
		return false, err
	}
	over = s.visit.build.Done() // read before the log is, so that its end is not missed
	d, err := s.buildData(s.c, s.visit)
	if err != nil {
		return false, err
	}
	if err := s.sendState(d); err != nil {
		return false, err
	}
	return over, s.sendLog()
}

func (s *stream) sendState(d *buildData) error {
	// What only grows older is no news: the script counts on by itself. Neither is how far the log has been read.
	b := *d.Build
	b.Log = store.Log{}
	mark, err := json.Marshal([]any{b, d.Position, d.Waits, d.Checks, d.RerunOf, d.RerunBy})
	if err != nil {
		return err
	}
	if bytes.Equal(mark, s.state) {
		return nil
	}
	summary, err := s.fragment("build", "summary", d)
	if err != nil {
		return err
	}
	s.state = mark
	return s.event("state", "", stateEvent{d.Title(), summary, folds(d.Build), !d.Done()})
}

func (s *stream) sendLog() error {
	f, err := s.Store.OpenLog(s.visit.build.ID)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	f.Close()
	if err != nil || size == s.size {
		return err
	}
	l := s.logView(s.visit)
	_, total, err := s.Store.Lines(l.build, 1, 0)
	if err != nil {
		return err
	}
	e := logEvent{Total: total, From: max(1, min(s.lines, total), (chunkOf(max(total, 1))-maxPushed+1)*chunkLines+1), Lines: []template.HTML{}}
	for n := chunkOf(e.From); n*chunkLines < total; n++ {
		c, _, err := l.chunk(n)
		if err != nil {
			return err
		}
		e.Lines = append(e.Lines, c.Lines[min(max(e.From-c.First(), 0), len(c.Lines)):]...)
	}
	e.Total = max(total, e.From+len(e.Lines)-1)
	s.lines, s.size = e.Total, size
	return s.event("log", strconv.Itoa(s.lines), e)
}

func (s *stream) event(name, id string, data any) error {
	var text bytes.Buffer
	if id != "" {
		fmt.Fprintf(&text, "id: %s\n", id)
	}
	fmt.Fprintf(&text, "event: %s\ndata: ", name)
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(data); err != nil { // ends with a line feed and has none within
		return err
	}
	text.WriteByte('\n')
	return s.write(text.String())
}

func (s *stream) write(text string) error {
	s.rc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := s.c.Response().Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}
