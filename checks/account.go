package checks

import (
	"slices"
	"time"
)

// An account shares a budget of requests. One goroutine at a time tells its forge.
type account struct {
	busy   bool
	tokens float64
	filled time.Time
	until  time.Time // the forge takes nothing before

	writes []time.Time // requests that change something, of the last hour, oldest first
	many   time.Time   // when they were last too many for checks of phases
}

// wrote counts n requests. More than phases within an hour are too many for checks of phases.
func (a *account) wrote(now time.Time, n, phases int) {
	a.age(now)
	for range n {
		a.writes = append(a.writes, now)
	}
	if len(a.writes) > phases {
		a.many = now
	}
}

// age forgets requests of more than an hour ago, and those of a clock that was set back since.
func (a *account) age(now time.Time) {
	a.writes = slices.DeleteFunc(a.writes, func(at time.Time) bool { return now.Sub(at) >= time.Hour || at.After(now) })
}

// full is how long what is not final has to wait for the hour's budget, 0 if there is none.
func (a *account) full(now time.Time, budget int) time.Duration {
	a.age(now)
	if budget == 0 || len(a.writes) < budget {
		return 0
	}
	return a.writes[len(a.writes)-budget].Add(time.Hour).Sub(now)
}

// single reports whether new builds get one check each: there was no hour yet with few enough requests.
func (a *account) single(now time.Time) bool {
	return !a.many.IsZero() && remaining(a.many.Add(time.Hour), now, time.Hour) > 0
}

// take gives how long to wait for the next request; zero if it may go now, which it then does. One that must not wait may
// borrow as much as the budget holds at most: what comes later waits longer for it.
func (a *account) take(now time.Time, interval time.Duration, burst int, borrow bool) time.Duration {
	if wait := remaining(a.until, now, longestPause); wait > 0 {
		return wait
	}
	if interval <= 0 {
		return 0
	}
	if a.filled.IsZero() {
		a.tokens = float64(burst)
	} else {
		a.tokens = min(float64(burst), a.tokens+float64(max(0, now.Sub(a.filled)))/float64(interval))
	}
	a.filled = now
	needed := 1.0
	if borrow {
		needed -= float64(burst)
	}
	if a.tokens < needed {
		return time.Duration((needed - a.tokens) * float64(interval))
	}
	a.tokens--
	return 0
}
