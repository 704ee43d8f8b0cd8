package checks

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Clock is how far this machine's clock is from a forge's, by the answers that the forge gave. The zero value knows nothing. It may be used
// at the same time from everywhere.
type Clock struct {
	skew  atomic.Int64 // how far this machine's is ahead
	dated atomic.Bool
}

// Note takes the time of an answer.
func (c *Clock) Note(answer http.Header) {
	if theirs, err := http.ParseTime(answer.Get("Date")); err == nil {
		c.skew.Store(int64(time.Since(theirs.Add(time.Second / 2)))) // it is in whole seconds: half of one is as good as nothing
		c.dated.Store(true)
	}
}

// Skew is how far this machine's clock was ahead when the forge last answered; ok is false before it has.
func (c *Clock) Skew() (skew time.Duration, ok bool) {
	return time.Duration(c.skew.Load()), c.dated.Load()
}

// ClockSkew says how far the clock of this machine is from that of an answer, empty if not far.
func ClockSkew(answer http.Header) string {
	theirs, err := http.ParseTime(answer.Get("Date"))
	if err != nil {
		return ""
	}
	if skew := time.Since(theirs); skew.Abs() > 30*time.Second {
		return fmt.Sprintf("this machine's clock is %v off", skew.Round(time.Second))
	}
	return ""
}

// refusedAgain is how long a refusal that has been told is not told again.
const refusedAgain = time.Minute

// Refusals are what a forge refused last, by the number of what was refused it, such as an installation or a credential. The zero value
// has none. It may be used at the same time from everywhere.
type Refusals struct {
	mu   sync.Mutex
	last map[int64]refusal
}

type refusal struct {
	text string
	at   time.Time
}

// News reports whether a refusal has not been told within the last minute, and takes it as told.
func (r *Refusals) News(number int64, text string) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.last[number]; last.text == text && now.Sub(last.at) < refusedAgain {
		return false
	}
	if r.last == nil {
		r.last = map[int64]refusal{}
	}
	r.last[number] = refusal{text, now}
	return true
}
