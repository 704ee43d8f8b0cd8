package checks

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	var r Refusals
	for n, tt := range []struct {
		number int64
		text   string
		news   bool
	}{{1, "no", true}, {1, "no", false}, {2, "no", true}, {1, "never", true}, {1, "no", true}, {2, "no", false}} {
		if got := r.News(tt.number, tt.text); got != tt.news {
			t.Errorf("%d: %+v: %v", n, tt, got)
		}
	}
	r.last[2] = refusal{"no", time.Now().Add(-refusedAgain)}
	if !r.News(2, "no") {
		t.Error("it is not told again")
	}
}

func TestClock(t *testing.T) {
	var c Clock
	c.Note(http.Header{"Date": {"yesterday"}})
	if _, ok := c.Skew(); ok {
		t.Error("nobody has told the time")
	}
	late := http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}}
	c.Note(late)
	if skew, ok := c.Skew(); !ok || (skew-time.Hour).Abs() > 5*time.Second {
		t.Errorf("%v %v", skew, ok)
	}
	if got := ClockSkew(late); !strings.HasPrefix(got, "this machine's clock is 1h0m") || !strings.HasSuffix(got, "s off") {
		t.Error(got)
	}
	if got := ClockSkew(http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}); got != "" {
		t.Error(got)
	}
}
