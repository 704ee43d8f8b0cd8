package web

import (
	"fmt"

	"buildsmith/store"
)

// waiting says what a build in the queue waits for, and its place there; 0 if it is not there any more.
func waiting(tx *store.Tx, b *store.Build) (position int, why string, err error) {
	w, err := tx.Awaits(b)
	if err != nil {
		return 0, "", err
	}
	_, running := tx.QueueLength()
	return w.Position, waitsFor(&w, tx.Obstacle(), running), nil
}

// waitsFor is what a build that waits waits for. What holds it up alone comes first: it would wait as well if nothing held up
// the others.
func waitsFor(w *store.Waiting, obstacle string, running int) string {
	switch {
	case w.Suspended && w.Account != "":
		return w.Account + " to end the suspension of the GitHub App"
	case w.Suspended:
		return "the end of the suspension of the GitHub App"
	case obstacle != "":
		return obstacle
	case w.Limit == 1:
		return "a build of its project that runs: one may run at a time"
	case w.Limit > 1:
		return fmt.Sprintf("a build of its project that runs: %d may run at a time", w.Limit)
	case running == 1:
		return "a free slot: 1 build runs now"
	}
	return fmt.Sprintf("a free slot: %d builds run now", running)
}
