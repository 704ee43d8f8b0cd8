package githubtest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Chaos is a GitHub on a bad day: requests fail and deliveries go astray, at random, but from the same seed in the same way
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

// The ways in which chaos fails a request.
var requestMishaps = []struct {
	what  string
	fault Fault
}{
	{"500", Fault{Status: http.StatusInternalServerError, Body: `{"message": "Server Error"}`}},
	{"502", Fault{Status: http.StatusBadGateway, Body: "<html>Unicorn!</html>"}},
	{"503", Fault{Status: http.StatusServiceUnavailable, Body: `{"message": "Service Unavailable"}`}},
	{"403 secondary limit", SecondaryLimit(http.StatusForbidden, time.Second)},
	{"429 secondary limit", SecondaryLimit(http.StatusTooManyRequests, time.Second)},
	{"cut before", Fault{Cut: true}},
	{"answer lost", Fault{Lost: true}},
}

// anyPath matches all.
var anyPath = regexp.MustCompile("")

// A storm is Chaos at work.
type storm struct {
	Chaos
	path *regexp.Regexp

	mu         sync.Mutex // guards all below
	requests   *rand.Rand // each kind has its own, so that neither depends on how many of the other there were
	deliveries *rand.Rand
	mishaps    []Mishap
	held       chan struct{} // closed to let the delivery go that waits for the next one; nil if none does
}

// SetChaos begins a bad day, or ends it with the zero value. The mishaps so far stay.
func (s *Server) SetChaos(c Chaos) error {
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
	s.mu.Lock()
	before := s.storm
	next := &storm{Chaos: c, path: path, requests: rand.New(rand.NewPCG(c.Seed, 1)), deliveries: rand.New(rand.NewPCG(c.Seed, 2))}
	s.storm = next
	s.mu.Unlock()
	before.mu.Lock()
	defer before.mu.Unlock()
	next.mu.Lock()
	defer next.mu.Unlock()
	next.mishaps = before.mishaps
	before.letGoLocked()
	return nil
}

// Mishaps returns what chaos did so far, the oldest first.
func (s *Server) Mishaps() []Mishap {
	w := s.weather()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.mishaps)
}

func (s *Server) weather() *storm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.storm
}

func hits(random *rand.Rand, rate int) bool { return rate > 0 && random.IntN(rate) == 0 }

func (w *storm) noteLocked(now time.Time, what, on string) {
	w.mishaps = append(w.mishaps, Mishap{At: now, What: what, On: on})
}

// letGoLocked lets the delivery go that was held.
func (w *storm) letGoLocked() {
	if w.held != nil {
		close(w.held)
		w.held = nil
	}
}

// request gives what goes wrong with a request; the zero value if nothing does.
func (w *storm) request(now time.Time, method, path string) Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.path.MatchString(path) || !hits(w.requests, w.Requests) {
		return Fault{}
	}
	m := requestMishaps[w.requests.IntN(len(requestMishaps))]
	w.noteLocked(now, m.what, method+" "+path)
	return m.fault
}

// A fate is what becomes of a delivery.
type fate struct {
	dropped, repeated bool
	delay             time.Duration
	hold              chan struct{} // it waits until this is closed
	after             chan struct{} // to be closed when it was sent; nil if none waits
}

// delivery decides what becomes of a delivery.
func (w *storm) delivery(now time.Time, on string) (f fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	note := func(what string) { w.noteLocked(now, what, on) }
	f.after, w.held = w.held, nil
	switch {
	case hits(w.deliveries, w.Drop):
		note("dropped")
		f.dropped = true
		return f
	case f.after == nil && hits(w.deliveries, w.Reorder):
		note("held back until the next")
		w.held = make(chan struct{})
		f.hold = w.held
	case hits(w.deliveries, w.Delay):
		f.delay = time.Duration(w.deliveries.Int64N(int64(w.Most)))
		note("delayed by " + f.delay.Round(time.Millisecond).String())
	}
	if hits(w.deliveries, w.Repeat) {
		note("repeated")
		f.repeated = true
	}
	return f
}

// sendIn sends a delivery as the weather lets it. One that is held back is sent later by itself; what is returned then has no
// status yet.
func (s *Server) sendIn(d Delivery, header map[string]string) Delivery {
	if d.GUID == "" {
		d.GUID = newGUID()
	}
	w := s.weather()
	f := w.delivery(s.now(), d.Event+" "+d.GUID)
	if f.after != nil {
		defer close(f.after)
	}
	if f.dropped {
		return s.sendTo("", d, header, false)
	}
	if f.hold != nil {
		d.Status = "held back"
		s.later(func() {
			s.pause(w.Hold, f.hold)
			w.mu.Lock()
			if w.held == f.hold {
				w.held = nil
			}
			w.mu.Unlock()
			s.send(d, header, false)
			if f.repeated {
				s.send(d, header, false)
			}
		})
		return d
	}
	s.pause(f.delay, nil)
	sent := s.send(d, header, false)
	if f.repeated {
		s.send(d, header, false)
	}
	return sent
}

// pause waits for a time, and no longer than until a channel is closed or the server is.
func (s *Server) pause(d time.Duration, until <-chan struct{}) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-until:
	case <-s.ctx.Done():
	}
}

// chaosActs are for whoever wants a bad day.
func chaosActs() map[string]func(*Server, []byte) (any, error) {
	return map[string]func(*Server, []byte) (any, error){
		"chaos": act(func(s *Server, in struct {
			Chaos
			Most string `json:"most"` // such as 200ms
			Hold string `json:"hold"`
		}) (any, error) {
			for to, text := range map[*time.Duration]string{&in.Chaos.Most: in.Most, &in.Chaos.Hold: in.Hold} {
				if text == "" {
					continue
				}
				d, err := time.ParseDuration(text)
				if err != nil {
					return nil, err
				}
				*to = d
			}
			return object{}, s.SetChaos(in.Chaos)
		}),
		"redeliver": act(func(s *Server, _ object) (any, error) { return object{"redelivered": s.RedeliverFailed()}, nil }),
	}
}

// RedeliverFailed sends again what was never delivered, as the button Redeliver does: each delivery of which no attempt
// succeeded, the oldest first. It returns how many there were.
func (s *Server) RedeliverFailed() int {
	var order []string
	last, done := map[string]Delivery{}, map[string]bool{}
	for _, d := range s.Deliveries() {
		if _, seen := last[d.GUID]; !seen {
			order = append(order, d.GUID)
		}
		last[d.GUID] = d
		done[d.GUID] = done[d.GUID] || d.Succeeded()
	}
	n := 0
	for _, guid := range order {
		if !done[guid] {
			again := last[guid]
			s.send(again, s.sign(again.Payload), true)
			n++
		}
	}
	return n
}
