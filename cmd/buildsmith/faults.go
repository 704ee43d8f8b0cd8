//go:build faults

package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A program built with the tag faults dies at a point that the environment names: BUILDSMITH_DIE_AT=point, or point:n for
// the n-th time. BUILDSMITH_PAUSE_AT=point makes it wait there for half a second, so that others can be faster.
// BUILDSMITH_SWEEP_EVERY=2s makes it look for missed deliveries so often, however few looks the forge allows.
func init() {
	if every, err := time.ParseDuration(os.Getenv("BUILDSMITH_SWEEP_EVERY")); err == nil {
		lookForMissed, looksPerHour = every, 100*int(time.Hour/every)
	}
	die, pause := os.Getenv("BUILDSMITH_DIE_AT"), os.Getenv("BUILDSMITH_PAUSE_AT")
	name, count, _ := strings.Cut(die, ":")
	left, err := strconv.Atoi(count)
	if err != nil {
		left = 1
	}
	var mu sync.Mutex
	atPoint = func(point string) {
		if point == pause {
			time.Sleep(500 * time.Millisecond)
		}
		if die == "" || point != name {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing happens after it
		}
	}
}
