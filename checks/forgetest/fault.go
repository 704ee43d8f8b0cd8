package forgetest

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// A Fault is something that goes wrong with requests to come. Several can wait at the same time: a request gets the delays
// of all that match it, up to the first that refuses or loses it.
type Fault struct {
	Method string `json:"method"` // empty for all
	Path   string `json:"path"`   // a regular expression; matched with the path of the request
	Times  int    `json:"times"`  // how many requests it meets: 0 means one, a negative number all
	Skip   int    `json:"skip"`   // how many requests it lets pass before

	Delay  time.Duration     `json:"delay"`  // to wait before anything else
	Status int               `json:"status"` // to answer with, without doing anything; 0 to do what was asked
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Cut    bool              `json:"cut"`  // cut the connection without doing anything
	Lost   bool              `json:"lost"` // do what was asked, and cut the connection; Go's client may repeat a GET by itself then
}

// At returns the fault for requests with a method and a path only.
func (f Fault) At(method, path string) Fault {
	f.Method, f.Path = method, path
	return f
}

// For returns the fault for a number of requests.
func (f Fault) For(times int) Fault {
	f.Times = times
	return f
}

// A fault is a Fault that waits.
type fault struct {
	Fault
	pattern *regexp.Regexp
	skip    int
	left    int // negative: without end
}

// Fails reports whether a request does not get an answer to what it asks for.
func (f Fault) Fails() bool { return f.Status != 0 || f.Cut || f.Lost }

// Refuse answers a request as the fault says, or cuts its connection. It reports whether it did.
func (f Fault) Refuse(w http.ResponseWriter) bool {
	if f.Cut || f.Lost {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	if f.Status == 0 {
		return false
	}
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	http.Error(w, f.Body, f.Status)
	return true
}

// Faults are those that wait. The zero value has none.
type Faults struct {
	mu   sync.Mutex // guards all below
	list []*fault
}

// Inject adds one.
func (all *Faults) Inject(f Fault) error {
	pattern, err := regexp.Compile(f.Path)
	if err != nil {
		return fmt.Errorf("reading the path of a fault: %w", err)
	}
	left := f.Times
	if left == 0 {
		left = 1
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.list = append(all.list, &fault{Fault: f, pattern: pattern, skip: f.Skip, left: left})
	return nil
}

// Clear forgets the faults that have not met their requests yet, and returns how many there were.
func (all *Faults) Clear() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := len(all.list)
	all.list = nil
	return n
}

// For returns what goes wrong with a request, after its delays: what waits for it, or else what the weather does.
func (all *Faults) For(ctx context.Context, w *Weather, method, path string) Fault {
	hit, delay := all.match(method, path)
	if !hit.Fails() {
		hit = w.request(method, path)
	}
	w.pause(ctx, delay, nil)
	return hit
}

func (all *Faults) match(method, path string) (hit Fault, delay time.Duration) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, f := range all.list {
		if f.left == 0 || f.Method != "" && f.Method != method || !f.pattern.MatchString(path) {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		if f.left > 0 {
			f.left--
		}
		delay += f.Delay
		if f.Fails() {
			hit = f.Fault
			break
		}
	}
	all.list = slices.DeleteFunc(all.list, func(f *fault) bool { return f.left == 0 })
	return hit, delay
}
