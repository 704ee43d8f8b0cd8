package checks

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Limits is what a forge has said of when it takes requests, by the number of what shares a limit there, such as an installation or a credential.
// It may be used at the same time from everywhere.
type Limits struct {
	Of  string           // what an error says: GitHub limits the requests of installation
	Now func() time.Time // time.Now if it is nil

	mu   sync.Mutex
	said map[int64]limited
}

// limited is what a forge has said of one.
type limited struct {
	until time.Time // nothing is taken before
	vague int       // refusals in a row that did not say until when
}

// vaguePause is how long to wait where a forge does not say; twice as long after each further refusal.
const vaguePause = time.Minute

// LimitedUntil is when a forge takes requests again by the headers of an answer, and whether they say so.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func LimitedUntil(h http.Header, now time.Time) (until time.Time, said bool) {
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

func (l *Limits) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// RetryAt is when a refused request may be made again, by the headers of the refusal.
func (l *Limits) RetryAt(h http.Header) time.Time {
	now := l.now()
	if until, said := LimitedUntil(h, now); said {
		return until
	}
	return now.Add(vaguePause)
}

// Check gives the *WaitError of a request that is not to be made yet, nil if it may be made.
func (l *Limits) Check(number int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	until := l.said[number].until
	if remaining(until, l.now(), longestPause) == 0 {
		return nil
	}
	return &WaitError{Until: until, Err: fmt.Errorf("%s %d", l.Of, number)}
}

// All gives those of which the forge takes no requests now, with the time when it will.
func (l *Limits) All() map[int64]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, list := l.now(), map[int64]time.Time{}
	for number, said := range l.said {
		if remaining(said.until, now, longestPause) > 0 {
			list[number] = said.until
		}
	}
	return list
}

// Note remembers what an answer says of further requests: its headers, and its error, which is a *WaitError if it is a refusal for
// now. It gives the error, with the time that is waited.
func (l *Limits) Note(number int64, h http.Header, err error) error {
	var wait *WaitError
	refused := errors.As(err, &wait)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	until, told := LimitedUntil(h, now)
	said := l.said[number]
	switch {
	case refused && !told && h != nil:
		wait.Until = now.Add(max(wait.Until.Sub(now), vaguePause<<min(said.vague, 5)))
		said.until, said.vague = wait.Until, said.vague+1
	case refused:
		said.until = wait.Until
	case err == nil:
		said.vague = 0
		if told {
			said.until = until
		}
	}
	if latest := now.Add(longestPause); said.until.After(latest) {
		said.until = latest
	}
	if l.said == nil {
		l.said = map[int64]limited{}
	}
	l.said[number] = said
	return err
}
