package githubtest

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A Fault is something that goes wrong with requests to come. Several can wait at the same time: a request gets the delays
// of all that match it, up to the first that refuses or loses it.
type Fault struct {
	Method string `json:"method"` // empty for all
	Path   string `json:"path"`   // a regular expression; see Inject
	Times  int    `json:"times"`  // how many requests it meets: 0 means one, a negative number all
	Skip   int    `json:"skip"`   // how many requests it lets pass before

	Delay  time.Duration     `json:"delay"`  // to wait before anything else
	Status int               `json:"status"` // to answer with, without doing anything; 0 to do what was asked
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Cut    bool              `json:"cut"`  // cut the connection without doing anything
	Lost   bool              `json:"lost"` // do what was asked, and cut the connection; Go's client may repeat a GET by itself then
}

// PrimaryLimit is the refusal of a request that is one too many in an hour.
func PrimaryLimit(reset time.Time) Fault {
	return Fault{Status: http.StatusForbidden, Body: `{"message": "API rate limit exceeded for installation."}`, Header: map[string]string{
		"X-Ratelimit-Limit": strconv.Itoa(requestsPerHour), "X-Ratelimit-Remaining": "0", "X-Ratelimit-Used": strconv.Itoa(requestsPerHour),
		"X-Ratelimit-Reset": strconv.FormatInt(reset.Unix(), 10), "X-Ratelimit-Resource": "core"}}
}

// SecondaryLimit is the refusal of a request that came too soon, with status 403 or 429.
func SecondaryLimit(status int, retryAfter time.Duration) Fault {
	return Fault{Status: status, Header: map[string]string{"Retry-After": strconv.Itoa(int(retryAfter.Seconds()))},
		Body: `{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",` +
			` "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`}
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

// Inject lets requests to come fail. The path of a fault is matched with the path of the request without the base path of
// the API, such as /repos/octo/shop/check-runs, or with the path of a git request, such as /octo/shop.git/info/refs.
func (s *Server) Inject(f Fault) error {
	pattern, err := regexp.Compile(f.Path)
	if err != nil {
		return fmt.Errorf("reading the path of a fault: %w", err)
	}
	left := f.Times
	if left == 0 {
		left = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{Fault: f, pattern: pattern, skip: f.Skip, left: left})
	return nil
}

// ClearFaults forgets the faults that have not met their requests yet, and returns how many there were.
func (s *Server) ClearFaults() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.faults)
	s.faults = nil
	return n
}

// faultFor returns what goes wrong with a request, after its delays.
func (s *Server) faultFor(ctx context.Context, method, path string) Fault {
	s.mu.Lock()
	var hit Fault
	var delay time.Duration
	for _, f := range s.faults {
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
		if f.Status != 0 || f.Cut || f.Lost {
			hit = f.Fault
			break
		}
	}
	s.faults = slices.DeleteFunc(s.faults, func(f *fault) bool { return f.left == 0 })
	weather := s.storm
	s.mu.Unlock()
	if hit.Status == 0 && !hit.Cut && !hit.Lost {
		hit = weather.request(s.now(), method, path)
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
	}
	return hit
}
