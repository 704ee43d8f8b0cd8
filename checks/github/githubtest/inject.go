package githubtest

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"buildsmith/checks/forgetest"
)

// A Fault is something that goes wrong with requests to come.
type Fault = forgetest.Fault

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

// Inject lets requests to come fail. The path of a fault is matched with the path of the request without the base path of
// the API, such as /repos/octo/shop/check-runs, or with the path of a git request, such as /octo/shop.git/info/refs.
func (s *Server) Inject(f Fault) error { return s.faults.Inject(f) }

// ClearFaults forgets the faults that have not met their requests yet, and returns how many there were.
func (s *Server) ClearFaults() int { return s.faults.Clear() }

// faultFor returns what goes wrong with a request, after its delays.
func (s *Server) faultFor(ctx context.Context, method, path string) Fault {
	return s.faults.For(ctx, s.weather, method, path)
}
