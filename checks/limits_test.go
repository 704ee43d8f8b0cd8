package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

func TestLimitedUntil(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		header map[string]string
		want   time.Duration // 0: nothing is said
	}{
		"nothing":         {nil, 0},
		"seconds":         {map[string]string{"Retry-After": "7"}, 7 * time.Second},
		"a date":          {map[string]string{"Retry-After": now.Add(time.Minute).Format(http.TimeFormat)}, time.Minute},
		"no number":       {map[string]string{"Retry-After": "soon"}, 0},
		"negative":        {map[string]string{"Retry-After": "-5"}, 0},
		"none left":       {map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": fmt.Sprint(now.Add(time.Hour).Unix())}, time.Hour},
		"some left":       {map[string]string{"X-Ratelimit-Remaining": "1", "X-Ratelimit-Reset": fmt.Sprint(now.Add(time.Hour).Unix())}, 0},
		"a reset is over": {map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": fmt.Sprint(now.Add(-time.Hour).Unix())}, 0},
	} {
		h := http.Header{}
		for k, v := range tt.header {
			h.Set(k, v)
		}
		if until, said := LimitedUntil(h, now); said != (tt.want != 0) || said && until.Sub(now) != tt.want {
			t.Errorf("%s: %v %v", name, until, said)
		}
	}
}

// TestLimits has a forge refuse, say when, not say when, and take requests again.
func TestLimits(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	l := Limits{Of: "X limits the requests of", Now: func() time.Time { return now }}
	refusal := func() error { return &WaitError{Until: l.RetryAt(http.Header{}), Err: errors.New("too many")} }
	if l.Check(1) != nil {
		t.Error("limited before anything was said")
	}
	// A refusal that does not say when: one minute, then two, then four.
	for n, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		var wait *WaitError
		if err := l.Note(1, http.Header{}, refusal()); !errors.As(err, &wait) || wait.Until.Sub(now) != want {
			t.Errorf("refusal %d: %v", n, err)
		}
		if err := l.Check(1); !errors.As(err, &wait) || err.Error() != "X limits the requests of 1; not before "+now.Add(want).Format(time.RFC3339) || len(l.All()) != 1 {
			t.Errorf("refusal %d: %v", n, err)
		}
		if l.Check(2) != nil {
			t.Error("another is limited")
		}
		now = now.Add(want)
		if l.Check(1) != nil || len(l.All()) != 0 {
			t.Error("still limited when the time is over")
		}
	}
	l.Note(1, http.Header{}, nil)
	var wait *WaitError
	if err := l.Note(1, http.Header{}, refusal()); !errors.As(err, &wait) || wait.Until.Sub(now) != time.Minute {
		t.Errorf("after a success: %v", err)
	}
	// What is said too far ahead is cut; an answer may say that it was the last for now.
	l.Note(1, http.Header{"Retry-After": {"864000"}}, nil)
	if until := l.All()[1]; until.Sub(now) != longestPause {
		t.Errorf("until %v", until)
	}
	// A clock that is set back does not make it longer.
	now = now.Add(-24 * time.Hour)
	if l.Check(1) != nil {
		t.Error("limited by a clock that was set back")
	}
}

// TestAskAgain asks again what was not answered, twice at most, and nothing else.
func TestAskAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		errs []error
		want int
	}{
		"at once":     {nil, 1},
		"second":      {[]error{io.EOF}, 2},
		"third":       {[]error{io.EOF, io.ErrUnexpectedEOF}, 3},
		"never":       {[]error{io.EOF, io.EOF, io.EOF, io.EOF}, 3},
		"not that":    {[]error{context.DeadlineExceeded}, 1},
		"nor a limit": {[]error{&WaitError{Err: errors.New("x")}}, 1},
	} {
		n := 0
		AskAgain(t.Context(), BrokenOff, func() error {
			if n++; n <= len(tt.errs) {
				return tt.errs[n-1]
			}
			return nil
		})
		if n != tt.want {
			t.Errorf("%s: asked %d times, want %d", name, n, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	if err := AskAgain(ctx, BrokenOff, func() error { n++; return io.EOF }); err != io.EOF || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}
