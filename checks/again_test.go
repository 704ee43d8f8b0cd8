package checks

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
)

// TestAddPublisher adds a forge to a reporter that runs: what it should know it is told.
func TestAddPublisher(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := New(Config{Store: o.store, Options: options, Log: slog.New(slog.DiscardHandler)})
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	o.stop = func() { cancel(); running.Wait(); o.stop = func() {} }
	b := o.submit("c")
	time.Sleep(20 * time.Millisecond)
	r.AddPublisher("test", o.board)
	o.shows(map[string]string{b.ID: "queued"})
}

// TestAgain has a forge told at once what was put off.
func TestAgain(t *testing.T) {
	o := newOffice(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := New(Config{Store: o.store, Publishers: map[string]Publisher{"test": o.board}, Options: options, Log: slog.New(slog.DiscardHandler)})
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	o.stop = func() { cancel(); running.Wait(); o.stop = func() {} }
	o.board.mu.Lock()
	o.board.fail = func(string, *Report) error {
		return &WaitError{Until: begin.Add(time.Hour), Err: errors.New("limited")}
	}
	o.board.mu.Unlock()
	b := o.submit("c")
	o.spoke(1)
	for range 400 { // until the pause is recorded
		var told map[string]store.Told
		if err := o.store.View(func(tx *store.Tx) (err error) { told, err = tx.AllTold(b.ID); return err }); err != nil {
			t.Fatal(err)
		}
		if told["buildsmith"].Problem != "" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	o.board.mu.Lock()
	o.board.fail = nil
	o.board.mu.Unlock()
	if said := o.board.said(); len(said) != 1 {
		t.Fatalf("%v", said)
	}
	if err := r.Again(); err != nil {
		t.Fatal(err)
	}
	o.shows(map[string]string{b.ID: "queued"})
	var later interface{ RetryAt() time.Time }
	if err := error(&WaitError{Until: begin}); !errors.As(err, &later) || !later.RetryAt().Equal(begin) {
		t.Error("a WaitError does not tell until when")
	}
}
