package githubtest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

func (s *shop) inject(f Fault) {
	s.t.Helper()
	if err := s.Inject(f); err != nil {
		s.t.Fatal(err)
	}
}

func TestInjectLimits(t *testing.T) {
	s := newShop(t, Options{})
	get := func() error {
		_, inst, _ := s.clients(s.Installation("octo")) // go-github remembers limits
		_, _, err := inst.Repositories.Get(t.Context(), "octo", "shop")
		return err
	}
	reset := time.Now().Add(time.Minute).Truncate(time.Second)
	s.inject(PrimaryLimit(reset).At("GET", "^/repos/octo/shop$").For(2))
	for range 2 {
		var limited *github.RateLimitError
		if err := get(); !errors.As(err, &limited) || !limited.Rate.Reset.Time.Equal(reset) {
			t.Errorf("the primary limit: %v", err)
		}
	}
	s.inject(SecondaryLimit(403, 7*time.Second).At("", "shop"))
	var abused *github.AbuseRateLimitError
	if err := get(); !errors.As(err, &abused) || abused.GetRetryAfter() != 7*time.Second {
		t.Errorf("the secondary limit: %v", err)
	}
	s.inject(SecondaryLimit(429, time.Second).At("", "shop"))
	if err := get(); status(err) != 429 {
		t.Errorf("429: %v", err)
	}
	s.inject(Fault{Path: "access_tokens", Status: 502, Body: "<html>bad gateway"})
	if err := get(); status(err) != 502 {
		t.Errorf("502: %v", err)
	}
	if err := get(); err != nil {
		t.Errorf("after all that: %v", err)
	}
	s.inject(Fault{Path: "shop", Status: 500, Times: -1, Skip: 1})
	for i, want := range []int{0, 500, 500, 500} {
		if got := status(get()); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	if n := s.ClearFaults(); n != 1 {
		t.Errorf("%d faults were left", n)
	}
	if err := get(); err != nil {
		t.Errorf("without faults: %v", err)
	}
	if err := s.Inject(Fault{Path: "("}); err == nil {
		t.Error("a pattern that is none")
	}
}

// TestLostAnswer checks the case that a bot must be most careful with: what it asked for was done, and it does not know.
func TestLostAnswer(t *testing.T) {
	s := newShop(t, Options{})
	s.inject(Fault{Method: "POST", Path: "/check-runs$", Lost: true})
	_, _, err := s.inst.Checks.CreateCheckRun(t.Context(), "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.sha, ExternalID: str("b1")})
	if !errors.Is(err, io.EOF) {
		t.Errorf("the answer is lost: %v", err)
	}
	if runs := s.CheckRuns(shopRepo, s.sha); len(runs) != 1 || runs[0].ExternalID != "b1" {
		t.Errorf("the check runs are %+v", runs)
	}
	if n := s.Count("POST", "/repos/{owner}/{repo}/check-runs"); n != 1 {
		t.Errorf("%d requests", n)
	}
	requests := s.Requests()
	if last := requests[len(requests)-1]; !last.Lost || last.Status != 0 || !strings.Contains(last.Body, "b1") || !strings.HasPrefix(last.Token, "ghs_") {
		t.Errorf("the log has %+v", last)
	}
}

func TestDelay(t *testing.T) {
	s := newShop(t, Options{})
	s.inject(Fault{Path: "/app$", Delay: 60 * time.Millisecond})
	s.inject(Fault{Path: "/app$", Delay: 60 * time.Millisecond, Status: 503})
	begin := time.Now()
	if got, _ := s.do(s.app.Client(), "GET", "/app", ""); got != 503 || time.Since(begin) < 120*time.Millisecond {
		t.Errorf("%d after %v", got, time.Since(begin))
	}
	s.inject(Fault{Path: "/app$", Delay: time.Hour})
	client := *s.app.Client()
	client.Timeout = 20 * time.Millisecond
	if _, err := client.Get(s.URL() + "/api/v3/app"); err == nil {
		t.Error("an answer after an hour")
	}
}

func TestInjectGit(t *testing.T) {
	s := newShop(t, Options{})
	token, _ := s.token(nil)
	address := s.address(shopRepo, "x-access-token", token.GetToken())
	s.inject(Fault{Path: `^/octo/shop\.git/info/refs`, Status: 503})
	if out, err := gitIn(t, ".", "ls-remote", address); err == nil {
		t.Errorf("503: %s", out)
	}
	s.inject(Fault{Path: `\.git/`, Lost: true})
	if out, err := gitIn(t, ".", "ls-remote", address); err == nil {
		t.Errorf("cut: %s", out)
	}
	mustGit(t, ".", "ls-remote", address)
}

// TestConcurrent does everything at once, for the race detector.
func TestConcurrent(t *testing.T) {
	s, b := newShop(t, Options{Echo: true}), newBot(t)
	s.SetHook(b.url)
	var refused atomic.Int32
	s.inject(Fault{Method: "POST", Path: "/check-runs$", Status: 502, Times: 5})
	var wait sync.WaitGroup
	for i := range 6 {
		wait.Go(func() {
			for range 4 {
				_, resp, err := s.inst.Checks.CreateCheckRun(t.Context(), "octo", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.sha})
				if resp != nil && resp.StatusCode == http.StatusBadGateway {
					refused.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			}
		})
		wait.Go(func() {
			branch := string(rune('a' + i))
			if _, err := s.Commit(shopRepo, branch, Change{Files: map[string]string{branch: "1"}}); err != nil {
				t.Error(err)
			}
			if _, err := s.Push(shopRepo, branch); err != nil {
				t.Error(err)
			}
			s.CheckRuns(shopRepo, "")
			s.Deliveries()
			s.Requests()
		})
	}
	wait.Wait()
	if n := refused.Load(); n != 5 {
		t.Errorf("%d requests were refused", n)
	}
	if runs := s.CheckRuns(shopRepo, s.sha); len(runs) != 19 {
		t.Errorf("%d check runs", len(runs))
	}
}
