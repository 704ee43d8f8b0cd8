package github

import (
	"container/list"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"buildsmith/checks"
)

// A limit is what GitHub has said of the requests of an installation.
type limit struct {
	until time.Time // nothing is taken before
	vague int       // refusals in a row that did not say until when
}

const (
	// vaguePause is how long to wait where GitHub does not say; twice as long after each further refusal.
	vaguePause = time.Minute
	// longestPause is how long GitHub can have us wait. Its limits end within an hour.
	longestPause = 2 * time.Hour
)

// told is when GitHub takes requests again by the headers of an answer, and whether they say so.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func told(h http.Header, now time.Time) (until time.Time, said bool) {
	after := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil && seconds >= 0 {
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	if at, err := http.ParseTime(after); err == nil {
		return at, true
	}
	if reset, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil && h.Get("X-Ratelimit-Remaining") == "0" && time.Unix(reset, 0).After(now) {
		return time.Unix(reset, 0), true
	}
	return time.Time{}, false
}

// retryAt is when a refused request may be made again, by the headers of the refusal.
func (a *App) retryAt(h http.Header) time.Time {
	if until, said := told(h, a.Now()); said {
		return until
	}
	return a.Now().Add(vaguePause)
}

// limited gives the error of a request that is not to be made yet, nil if it may be made.
func (a *App) limited(installation int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.limits[installation]
	if wait := l.until.Sub(a.Now()); wait <= 0 || wait > longestPause { // further ahead: somebody set the clock back
		return nil
	}
	return &checks.WaitError{Until: l.until, Err: fmt.Errorf("GitHub limits the requests of installation %d", installation)}
}

// Limited gives the installations of which GitHub takes no requests now, with the time when it will.
func (a *App) Limited() map[int64]time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, list := a.Now(), map[int64]time.Time{}
	for installation, l := range a.limits {
		if wait := l.until.Sub(now); wait > 0 && wait <= longestPause {
			list[installation] = l.until
		}
	}
	return list
}

// noteLimit remembers what an answer says of further requests: its headers, and its error if it is a refusal. It gives the
// error, with the time that is waited.
func (a *App) noteLimit(installation int64, h http.Header, err error) error {
	var wait *checks.WaitError
	refused := errors.As(err, &wait) && !errors.Is(err, errSuspended)
	now := a.Now()
	until, said := told(h, now)
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.limits[installation]
	switch {
	case refused && !said && h != nil:
		wait.Until = now.Add(max(wait.Until.Sub(now), vaguePause<<min(l.vague, 5)))
		l.until, l.vague = wait.Until, l.vague+1
	case refused:
		l.until = wait.Until
	case err == nil:
		l.vague = 0
		if said {
			l.until = until
		}
	}
	if latest := now.Add(longestPause); l.until.After(latest) {
		l.until = latest
	}
	a.limits[installation] = l
	return err
}

// known200 is an answer that holds for as long as GitHub says so when asked by its tag. Asking costs nothing then.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
type known200 struct {
	key, etag string
	body      []byte
}

const (
	maxAnswers     = 512
	maxAnswerBytes = 256 << 10 // of one answer
	maxAllAnswers  = 16 << 20
)

// answers keeps the answers that were used last. The zero value is empty.
type answers struct {
	mu    sync.Mutex
	byKey map[string]*list.Element
	used  list.List // of *known200, the last used first
	size  int
}

func (s *answers) get(key string) (known200, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil {
		return known200{}, false
	}
	s.used.MoveToFront(e)
	return *e.Value.(*known200), true
}

func (s *answers) put(key string, k known200) {
	k.key = key
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey == nil {
		s.byKey = map[string]*list.Element{}
	}
	if e := s.byKey[key]; e != nil {
		s.removeLocked(e)
	}
	if len(k.body) > maxAnswerBytes {
		return
	}
	s.byKey[key] = s.used.PushFront(&k)
	for s.size += len(k.body); len(s.byKey) > maxAnswers || s.size > maxAllAnswers; {
		s.removeLocked(s.used.Back())
	}
}

func (s *answers) removeLocked(e *list.Element) {
	k := s.used.Remove(e).(*known200)
	delete(s.byKey, k.key)
	s.size -= len(k.body)
}
