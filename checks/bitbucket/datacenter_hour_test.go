package bitbucket_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// TestRelyCenterTrouble has builds begin and end for half an hour while Bitbucket limits requests, is down, cuts connections and
// loses answers. In the end every status and report is as its build is, there is nothing else, and nothing was asked before its time.
func TestRelyCenterTrouble(t *testing.T) {
	t.Parallel()
	const builds, refused, lasts = 40, 45 * time.Second, 30 * time.Minute
	clock := fastClock{time.Now(), 200}
	setup := centerSetup{now: clock.now}
	ofProject(&setup)
	c := newCenter(t, setup)
	commits := make([]string, builds)
	for n := range commits {
		commits[n] = c.push(centerRepo, "main", map[string]string{"n": fmt.Sprint(n)})
	}
	s, err := store.Open(t.TempDir(), store.Options{Now: clock.now})
	c.must(err)
	defer s.Close()
	c.repo.Host = "bitbucket.example.org"
	options := checks.Options{Phases: true, Figures: true, URL: func(id string, _ store.Repo) string { return "https://ci.example.org/builds/" + id }}
	reporter := checks.New(checks.Config{Store: s, Publishers: map[string]checks.Publisher{"bitbucket": c.Host}, Options: options, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { reporter.Run(ctx) })

	trouble := func(n int) {
		t.Helper()
		path := []string{"/builds", "/reports/"}[n/5%2]
		switch n % 5 {
		case 0:
			c.must(c.hub.Inject(bitbuckettest.Fault{Path: path, Status: 429, Header: map[string]string{"Retry-After": fmt.Sprint(int(refused.Seconds()))}}))
		case 1:
			c.must(c.hub.Inject(bitbuckettest.Fault{Path: path, Status: 502, Times: 4}))
		case 2, 3:
			c.must(c.hub.Inject(bitbuckettest.Fault{Path: path, Lost: true}))
		case 4:
			c.must(c.hub.Inject(bitbuckettest.Fault{Path: path, Cut: true}))
		}
		if n%40 == 20 { // before something is told, it is asked whose name it is
			c.must(c.hub.Inject(bitbuckettest.Fault{Path: "/repos/hello$", Status: 503}))
		}
	}
	ids, stage, troubles := make([]string, builds), make([]int, builds), 0
	change := func(n int, fn func(*store.Build)) {
		t.Helper()
		_, err := s.ChangeBuild(ids[n], func(b *store.Build) error { fn(b); return nil })
		c.must(err)
	}
	for clock.passed() < lasts {
		for n := range builds {
			due := clock.passed() - time.Duration(n)*lasts/builds
			switch {
			case stage[n] == 0 && due >= 0:
				c.must(s.Update(func(tx *store.Tx) error {
					p, err := tx.Project(c.repo, "")
					if err != nil {
						return err
					}
					b, err := tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: commits[n]}})
					ids[n] = b.ID
					return err
				}))
			case stage[n] == 1 && due >= 20*time.Second:
				change(n, func(b *store.Build) {
					b.Claimed, b.Skeleton = clock.now(), []string{store.PhaseBuild}
					b.Enter(store.PhaseBuild, b.Claimed)
				})
			case stage[n] == 2 && due >= 60*time.Second:
				change(n, func(b *store.Build) {
					b.Leave(store.PhaseBuild, clock.now(), store.Succeeded, "", "")
					b.End([]store.Status{store.Succeeded, store.Failed, store.Stopped}[n%3], clock.now())
				})
			default:
				continue
			}
			stage[n]++
		}
		for time.Duration(troubles)*15*time.Second < clock.passed() {
			trouble(troubles)
			troubles++
		}
		clock.sleep(4 * time.Second)
	}
	c.hub.ClearFaults()
	for n := range builds { // those that were to end after the trouble
		if stage[n] == 1 {
			change(n, func(b *store.Build) { b.Claimed = clock.now() })
		}
		if stage[n] < 3 {
			change(n, func(b *store.Build) { b.End(store.Succeeded, clock.now()) })
		}
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var left []store.Subject
		c.must(s.Update(func(tx *store.Tx) (err error) { left, err = tx.Unsaid(); return err })) // which wakes the reporter
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d builds are not told", len(left))
		}
		clock.sleep(20 * time.Second)
	}

	states := map[string]string{checks.Success: "SUCCESSFUL", checks.Failure: "FAILED", checks.Cancelled: "CANCELLED"}
	for n, id := range ids {
		b, err := s.Build(id)
		c.must(err)
		told := map[string]bitbuckettest.Status{}
		for _, one := range c.hub.Statuses(centerRepo, commits[n]) {
			told[one.Name] = one
		}
		results := c.hub.Reports(centerRepo, commits[n])
		for _, want := range checks.Render(&b, options) {
			if want.Kind == checks.KindReport {
				if len(results) != 1 || results[0].Title != want.Title || results[0].Link != want.URL {
					t.Errorf("build %d: reports %+v, want %s", n, results, want.Title)
				}
				continue
			}
			got, ok := told[want.Name]
			if !ok || got.State != states[want.Conclusion] || got.Description != want.Title || got.URL != want.URL {
				t.Errorf("build %d: status %+v, want %s %s", n, got, want.Conclusion, want.Title)
			}
			delete(told, want.Name)
		}
		if len(told) > 0 {
			t.Errorf("build %d: statuses of nothing: %+v", n, told)
		}
	}
	var until time.Time
	var met [600]int
	for _, r := range c.hub.Requests() {
		at := clock.at(r.At)
		// What two loops ask at once may be under way when the first is refused: a second of this clock is some milliseconds.
		if at.Before(until) && until.Sub(at) < refused-time.Second {
			t.Errorf("%s %s was asked %v before its time", r.Method, r.Path, until.Sub(at))
		}
		if r.Lost {
			met[1]++
		}
		if met[r.Status]++; r.Status == 429 {
			until = at.Add(refused)
		}
	}
	if met[429] < 3 || met[502] < 10 || met[1] < 3 {
		t.Errorf("too little trouble: %d 429, %d 502, %d lost", met[429], met[502], met[1])
	}
}
