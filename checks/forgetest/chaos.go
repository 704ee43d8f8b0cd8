package forgetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Chaos is a forge on a bad day: requests fail and deliveries go astray, at random, but from the same seed in the same way
// for the same order of requests. A rate of n means one in n; 0 is never. All that happens is in Mishaps.
type Chaos struct {
	Seed uint64 `json:"seed"`

	// Requests is the rate at which requests fail: with 500, 502 or 503, as one too many with 403 or 429, or with a
	// connection that is cut before anything was done or after all of it was.
	Requests int    `json:"requests"`
	Path     string `json:"path"` // a regular expression, as that of a Fault; empty for all, git's too

	Drop    int `json:"drop"`    // the rate of deliveries that do not arrive, and are in the log as failed
	Delay   int `json:"delay"`   // of those that arrive late
	Repeat  int `json:"repeat"`  // of those that arrive twice, under the same GUID
	Reorder int `json:"reorder"` // of those that arrive after the next one, or after Hold if there is none

	Most time.Duration `json:"most"` // the longest delay; 500 ms
	Hold time.Duration `json:"hold"` // 2 s
}

// A Mishap is something that Chaos did.
type Mishap struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
	On   string    `json:"on"` // the method and path of a request, or the event and GUID of a delivery
}

// A RequestMishap is a way in which chaos fails a request.
type RequestMishap struct {
	What  string
	Fault Fault
}

// A Weather is Chaos at work.
type Weather struct {
	ways  []RequestMishap
	clock func() time.Time
	later func(func())
	over  <-chan struct{}

	mu         sync.Mutex // guards all below
	now        Chaos
	path       *regexp.Regexp
	requests   *rand.Rand // each kind has its own, so that neither depends on how many of the other there were
	deliveries *rand.Rand
	mishaps    []Mishap
	held       chan struct{} // closed to let the delivery go that waits for the next one; nil if none does
}

// NewWeather returns one without chaos. Requests will fail in the given ways. What is held back is sent by later, which runs a
// function by itself; nothing waits any longer once over is closed.
func NewWeather(ways []RequestMishap, clock func() time.Time, later func(func()), over <-chan struct{}) *Weather {
	return &Weather{ways: ways, clock: clock, later: later, over: over, path: regexp.MustCompile("")}
}

// Set begins a bad day, or ends it with the zero value. The mishaps so far stay.
func (w *Weather) Set(c Chaos) error {
	path, err := regexp.Compile(c.Path)
	if err != nil {
		return fmt.Errorf("reading the path of the chaos: %w", err)
	}
	for what, n := range map[string]int{"requests": c.Requests, "drop": c.Drop, "delay": c.Delay, "repeat": c.Repeat, "reorder": c.Reorder} {
		if n < 0 {
			return fmt.Errorf("%s is %d, and a rate is one in n", what, n)
		}
	}
	if c.Most == 0 {
		c.Most = 500 * time.Millisecond
	}
	if c.Hold == 0 {
		c.Hold = 2 * time.Second
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.path = c, path
	w.requests, w.deliveries = rand.New(rand.NewPCG(c.Seed, 1)), rand.New(rand.NewPCG(c.Seed, 2))
	if w.held != nil { // let it go
		close(w.held)
		w.held = nil
	}
	return nil
}

// Mishaps returns what chaos did so far, the oldest first.
func (w *Weather) Mishaps() []Mishap {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.mishaps)
}

func hits(random *rand.Rand, rate int) bool { return rate > 0 && random.IntN(rate) == 0 }

func (w *Weather) noteLocked(what, on string) {
	w.mishaps = append(w.mishaps, Mishap{At: w.clock(), What: what, On: on})
}

// request gives what goes wrong with a request; the zero value if nothing does.
func (w *Weather) request(method, path string) Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.path.MatchString(path) || !hits(w.requests, w.now.Requests) {
		return Fault{}
	}
	m := w.ways[w.requests.IntN(len(w.ways))]
	w.noteLocked(m.What, method+" "+path)
	return m.Fault
}

// A fate is what becomes of a delivery.
type fate struct {
	dropped, repeated bool
	delay             time.Duration
	hold              chan struct{} // it waits until this is closed
	after             chan struct{} // to be closed when it was sent; nil if none waits
}

// delivery decides what becomes of a delivery.
func (w *Weather) delivery(on string) (f fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	note := func(what string) { w.noteLocked(what, on) }
	f.after, w.held = w.held, nil
	switch {
	case hits(w.deliveries, w.now.Drop):
		note("dropped")
		f.dropped = true
		return f
	case f.after == nil && hits(w.deliveries, w.now.Reorder):
		note("held back until the next")
		w.held = make(chan struct{})
		f.hold = w.held
	case hits(w.deliveries, w.now.Delay):
		f.delay = time.Duration(w.deliveries.Int64N(int64(w.now.Most)))
		note("delayed by " + f.delay.Round(time.Millisecond).String())
	}
	if hits(w.deliveries, w.now.Repeat) {
		note("repeated")
		f.repeated = true
	}
	return f
}

// An Outcome is what became of a delivery that was given to Deliver.
type Outcome int

// The outcomes.
const (
	Sent    Outcome = iota
	Dropped         // never to be sent
	Held            // to be sent by itself after the next one
)

// Deliver sends a delivery as the weather lets it: not at all, late, twice, or later by itself. On is what it is called among
// the mishaps.
func (w *Weather) Deliver(on string, send func()) Outcome {
	f := w.delivery(on)
	if f.after != nil {
		defer close(f.after)
	}
	if f.dropped {
		return Dropped
	}
	twice := func() {
		send()
		if f.repeated {
			send()
		}
	}
	if f.hold != nil {
		w.mu.Lock()
		longest := w.now.Hold
		w.mu.Unlock()
		w.later(func() {
			w.pause(context.Background(), longest, f.hold)
			w.mu.Lock()
			if w.held == f.hold {
				w.held = nil
			}
			w.mu.Unlock()
			twice()
		})
		return Held
	}
	w.pause(context.Background(), f.delay, nil)
	twice()
	return Sent
}

// pause waits for a time, and no longer than until a channel is closed, the context ends or all is over.
func (w *Weather) pause(ctx context.Context, d time.Duration, until <-chan struct{}) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-until:
	case <-ctx.Done():
	case <-w.over:
	}
}
