package bitbuckettest

import (
	"sync"
	"time"
)

// A breaker skips hooks that fail, each for longer and longer, so that an address that is gone costs nothing. What is skipped
// is not delivered later. The nil breaker skips nothing.
type breaker struct {
	most int

	mu    sync.Mutex // guards hooks
	hooks map[int64]*failing
}

// failing is a hook that has failed.
type failing struct {
	times int
	until time.Time // when it is tried again
}

// The times for which a hook is skipped: after the first failures, and at most.
const (
	shortestBreak = 10 * time.Second
	longestBreak  = 10 * time.Hour
)

// newBreaker returns one that skips hooks after a number of failures in a row; nil for 0.
func newBreaker(most int) *breaker {
	if most <= 0 {
		return nil
	}
	return &breaker{most: most, hooks: map[int64]*failing{}}
}

// skips reports whether a hook is not to be told now.
func (b *breaker) skips(hook int64, now time.Time) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.hooks[hook]
	return f != nil && now.Before(f.until)
}

// note counts the failures of a hook. A success ends the count.
func (b *breaker) note(hook int64, succeeded bool, now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if succeeded {
		delete(b.hooks, hook)
		return
	}
	f := b.hooks[hook]
	if f == nil {
		f = &failing{}
		b.hooks[hook] = f
	}
	f.times++
	if more := f.times - b.most; more >= 0 {
		f.until = now.Add(min(longestBreak, shortestBreak<<min(more, 16)))
	}
}
