package forgetest

import (
	"context"
	"sync"
)

// News wakes those who wait for something to happen. The zero value is ready.
type News struct {
	mu   sync.Mutex
	next chan struct{} // closed when something happens; nil if nobody waits
}

// Wake wakes all who wait.
func (n *News) Wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next != nil {
		close(n.next)
		n.next = nil
	}
}

// Await waits until something is true, which it asks for at first and whenever it is woken, or the context ends.
func (n *News) Await(ctx context.Context, holds func() bool) error {
	for {
		n.mu.Lock()
		if n.next == nil {
			n.next = make(chan struct{})
		}
		next := n.next
		n.mu.Unlock()
		if holds() {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
