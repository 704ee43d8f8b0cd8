package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// An event is one that came over a stream.
type event struct{ name, id, data string }

// listen follows a build from a page's point of view. The channel is closed when the stream ends.
func (s *site) listen(ctx context.Context, path string, header map[string]string) <-chan event {
	s.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	for name, value := range header {
		q.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(q)
	if err != nil {
		s.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		s.Fatalf("GET %s: status %d, %s", path, response.StatusCode, response.Header.Get("Content-Type"))
	}
	events := make(chan event, 1000)
	go func() {
		defer close(events)
		defer response.Body.Close()
		var e event
		r := bufio.NewReader(response.Body)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			switch name {
			case "event":
				e.name = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				if e.name != "" || value != "" {
					if e.name == "" {
						e.name = ": " + value
					}
					events <- e
				}
				e = event{}
			}
		}
	}()
	return events
}

func (s *site) next(events <-chan event) event {
	s.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			s.Fatal("the stream ended")
		}
		return e
	case <-time.After(10 * time.Second):
		s.Fatal("no event came")
	}
	return event{}
}

func (s *site) logEvent(e event) (l struct {
	Total, From int
	Lines       []string
}) {
	s.Helper()
	if e.name != "log" {
		s.Fatalf("the event is %+v, want log", e)
	}
	if err := json.Unmarshal([]byte(e.data), &l); err != nil {
		s.Fatal(err)
	}
	if e.id != strconv.Itoa(l.Total) || l.From+len(l.Lines)-1 != l.Total {
		s.Errorf("event %s of %d lines from %d, total %d", e.id, len(l.Lines), l.From, l.Total)
	}
	return l
}

func TestEventsOfAGrowingLog(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	s.print(b.ID, "one\ntw")
	path := "/builds/" + b.ID + "/events?k=" + s.key(b)
	ctx, cancel := context.WithCancel(t.Context())
	events := s.listen(ctx, path, nil)
	if e := s.next(events); e.name != "state" || !strings.Contains(e.data, "PROVISIONING") {
		t.Errorf("the first event is %+v", e)
	}
	if l := s.logEvent(s.next(events)); l.Total != 2 || l.From != 1 || !strings.HasSuffix(l.Lines[1], "</a>tw</div>") {
		t.Errorf("the log is %+v", l)
	}
	s.print(b.ID, "o\nthree\n")
	if l := s.logEvent(s.next(events)); l.Total != 3 || l.From != 2 || !strings.HasSuffix(l.Lines[0], "</a>two</div>") || !strings.HasSuffix(l.Lines[1], "</a>three</div>") {
		t.Errorf("then the log is %+v", l)
	}
	s.change(b.ID, func(b *store.Build) { b.Enter(store.PhaseBuild, s.store.Now()).Line = 3 })
	if e := s.next(events); e.name != "state" || !strings.Contains(e.data, "BUILD") || !strings.Contains(e.data, `"folds":[{"head":3`) {
		t.Errorf("after a phase has begun: %+v", e)
	}
	// How far the log has been read is no news.
	s.change(b.ID, func(b *store.Build) { b.Log.Size = 99 })
	cancel()
	for range events {
	}

	// A browser that connects again goes on from the last line it has.
	s.print(b.ID, "four\n")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	events = s.listen(ctx, path+"&from=1", map[string]string{"Last-Event-ID": "3"})
	if e := s.next(events); e.name != "state" {
		t.Errorf("the first event after connecting again is %+v", e)
	}
	if l := s.logEvent(s.next(events)); l.From != 3 || l.Total != 4 {
		t.Errorf("after connecting again: %+v", l)
	}
	s.print(b.ID, "five\n")
	s.change(b.ID, end(store.Succeeded))
	var last []string
	for e := range events {
		last = append(last, e.name)
		if e.name == "state" && !strings.Contains(e.data, "Succeeded") {
			t.Errorf("the last state is %+v", e)
		}
	}
	if got := strings.Join(last, " "); got != "state log end" && got != "log state end" {
		t.Errorf("the last events are %s", got)
	}
	if s.web.streams.Load() != 0 {
		t.Errorf("%d streams are left", s.web.streams.Load())
	}
}

func TestEventsSkipWhatNobodyCanRead(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, claim)
	s.print(b.ID, lines(100_000, "line %d"))
	events := s.listen(t.Context(), "/builds/"+b.ID+"/events", nil)
	s.next(events)
	if l := s.logEvent(s.next(events)); l.Total != 100_000 || l.From != 99_851 {
		t.Errorf("%d lines from %d of %d", len(l.Lines), l.From, l.Total)
	}
}

func TestEventsEndWithTheLink(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	events := s.listen(t.Context(), "/builds/"+b.ID+"/events?k="+s.key(b), nil)
	s.next(events)
	s.next(events)
	s.update(func(tx *store.Tx) error { return tx.RevokeLinks(b.Repo.Key()) })
	s.print(b.ID, "secret\n")
	for e := range events {
		if strings.Contains(e.data, "secret") {
			t.Errorf("after the link was revoked: %+v", e)
		}
	}
}

func TestStreamsLeaveNothing(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, claim)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var streams []<-chan event
	for range 5 {
		streams = append(streams, s.listen(ctx, "/builds/"+b.ID+"/events", nil))
	}
	for _, e := range streams {
		s.next(e)
	}
	cancel()
	for _, e := range streams {
		for range e {
		}
	}
	open := s.listen(t.Context(), "/builds/"+b.ID+"/events", nil)
	s.next(open)
	s.web.Close()
	for range open {
	}
	http.DefaultClient.CloseIdleConnections()
	for until := time.Now().Add(10 * time.Second); s.web.streams.Load() != 0 || runtime.NumGoroutine() > before+1; {
		if time.Now().After(until) {
			t.Fatalf("%d streams are left, and %d goroutines of %d", s.web.streams.Load(), runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestTooManyStreams(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, claim)
	s.web.streams.Store(maxStreams)
	for _, path := range []string{"/builds/" + b.ID + "/events", "/builds/" + b.ID + "/log.txt?follow=1"} {
		if got := s.ask(request{path: path}); got.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("GET %s: status %d", path, got.StatusCode)
		}
	}
	if n := s.web.streams.Load(); n != maxStreams {
		t.Errorf("%d streams are counted", n)
	}
}

// TestStreamsOutliveTheTimeouts follows a build for longer than the server lets a request take.
func TestStreamsOutliveTheTimeouts(t *testing.T) {
	s := newSite(t)
	e := echo.New()
	s.web.Register(e)
	server := httptest.NewUnstartedServer(e)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	defer server.Close()
	defer s.web.Close()
	b := s.submit(publicRepo, claim)
	for _, path := range []string{"/builds/" + b.ID + "/events", "/builds/" + b.ID + "/log.txt?follow=1"} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond)
		s.print(b.ID, "late\n")
		found := make(chan bool)
		go func() {
			r := bufio.NewScanner(response.Body)
			r.Buffer(nil, 1<<20)
			for r.Scan() {
				if strings.Contains(r.Text(), "late") {
					found <- true
					return
				}
			}
			found <- false
		}()
		select {
		case ok := <-found:
			if !ok {
				t.Errorf("GET %s was cut off", path)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("GET %s: nothing came", path)
		}
		response.Body.Close()
	}
}

func TestFollowTheRawLog(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	s.print(b.ID, "one\ntwo\n")
	for _, r := range []*http.Request{
		must(http.NewRequest("GET", s.url+"/builds/"+b.ID+"/log.txt?follow=1&from=4&k="+s.key(b), nil)),
		must(http.NewRequest("GET", s.url+"/api/builds/"+b.ID+"/log?follow=1&from=4", nil)),
	} {
		r.Header.Set("Authorization", "Bearer "+adminToken)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(response.Body)
		if line, err := in.ReadString('\n'); line != "two\n" || err != nil {
			t.Errorf("the first line is %q, %v", line, err)
		}
		s.print(b.ID, "more\n")
		if line, err := in.ReadString('\n'); line != "more\n" || err != nil {
			t.Errorf("the next line is %q, %v", line, err)
		}
		defer func() {
			if rest, err := io.ReadAll(in); !strings.HasSuffix(string(rest), "end\n") || err != nil {
				t.Errorf("the rest is %q, %v", rest, err)
			}
			response.Body.Close()
		}()
	}
	s.print(b.ID, "end\n")
	s.change(b.ID, end(store.Succeeded))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
