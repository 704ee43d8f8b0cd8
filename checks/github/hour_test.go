package github_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/github"
	"buildsmith/checks/github/githubtest"
	"buildsmith/store"
)

// A fastClock runs faster than time.
type fastClock struct {
	begin time.Time
	times time.Duration
}

func (c fastClock) now() time.Time                { return c.at(time.Now()) }
func (c fastClock) at(real time.Time) time.Time   { return c.begin.Add(real.Sub(c.begin) * c.times) }
func (c fastClock) passed() (since time.Duration) { return c.now().Sub(c.begin) }
func (c fastClock) sleep(d time.Duration)         { time.Sleep(d / c.times) }

// TestRelyRateLimitStopsNothing has 200 builds of five installations begin and end while GitHub refuses with 403 and 429, is down with 502 and
// cuts connections. In the end every check is as its build is, each is there once at most, that of the last build is the newest, and nothing was asked of an installation before
// its time.
func TestRelyRateLimitStopsNothing(t *testing.T) {
	const builds, owners, refused = 200, 5, 2 * time.Minute
	clock := fastClock{time.Now(), 300}
	hub := githubtest.New(t, githubtest.Options{})
	s, err := store.Open(t.TempDir(), store.Options{Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	app, err := github.New(github.Config{AppID: hub.AppID(), Key: hub.PEM(), API: hub.URL() + "/api/v3", Web: hub.URL(), Log: slog.New(slog.DiscardHandler), Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	var repos []store.Repo
	commits := map[string]string{}
	for i := range owners {
		name := fmt.Sprintf("org%d/shop", i)
		id, err := hub.AddRepo(name, githubtest.RepoOptions{Private: true})
		if err != nil {
			t.Fatal(err)
		}
		if commits[name], err = hub.Commit(name, "main", githubtest.Change{Message: "Begin", Files: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		repos = append(repos, store.Repo{Forge: "github", Host: "github.example.org", ID: strconv.FormatInt(id, 10), Name: name, Installation: hub.Installation(fmt.Sprintf("org%d", i))})
	}
	options := checks.Options{Phases: true, URL: func(id string, _ store.Repo) string { return "https://ci.example.org/builds/" + id }}
	reporter := checks.New(checks.Config{Store: s, Publishers: map[string]checks.Publisher{"github": app}, Options: options, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { reporter.Run(ctx) })

	var resets []time.Time // of refusals with 403, in the order in which they meet requests
	trouble := func(i int) {
		t.Helper()
		var f githubtest.Fault
		switch i % 5 {
		case 0:
			reset := clock.now().Add(4 * time.Minute).Truncate(time.Second)
			resets = append(resets, reset)
			f = githubtest.PrimaryLimit(reset)
		case 1:
			f = githubtest.SecondaryLimit(429, refused)
		case 2:
			f = githubtest.Fault{Status: 502}.For(4)
		case 3, 4:
			f = githubtest.Fault{Lost: true}
		}
		if err := hub.Inject(f.At("", "/check-runs")); err != nil {
			t.Fatal(err)
		}
	}
	ids := make([]string, builds)
	change := func(i int, fn func(*store.Build)) {
		t.Helper()
		if _, err := s.ChangeBuild(ids[i], func(b *store.Build) error { fn(b); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	const interval = 15 * time.Second
	stage, troubles := make([]int, builds), 0
	for clock.passed() < time.Hour {
		for i := range builds {
			due := clock.passed() - time.Duration(i)*interval
			switch {
			case stage[i] == 0 && due >= 0:
				if err := s.Update(func(tx *store.Tx) error {
					repo := repos[i%owners]
					p, err := tx.Project(repo, "")
					if err != nil {
						return err
					}
					b, err := tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: commits[repo.Name]}})
					ids[i] = b.ID
					return err
				}); err != nil {
					t.Fatal(err)
				}
			case stage[i] == 1 && due >= 30*time.Second:
				change(i, func(b *store.Build) {
					b.Claimed, b.Skeleton = clock.now(), []string{store.PhaseBuild}
					b.Enter(store.PhaseBuild, b.Claimed)
				})
			case stage[i] == 2 && due >= 90*time.Second:
				change(i, func(b *store.Build) {
					b.Leave(store.PhaseBuild, clock.now(), store.Succeeded, "", "")
					b.End([]store.Status{store.Succeeded, store.Failed, store.TimedOut}[i%3], clock.now())
				})
			default:
				continue
			}
			stage[i]++
		}
		for time.Duration(troubles)*30*time.Second < clock.passed() {
			trouble(troubles)
			troubles++
		}
		clock.sleep(4 * time.Second)
	}
	// The storm is over; what is left of it may still meet somebody.
	deadline := time.Now().Add(5 * time.Minute)
	for {
		var left []store.Subject
		if err := s.Update(func(tx *store.Tx) (err error) { left, err = tx.Unsaid(); return err }); err != nil { // which wakes the reporter
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d builds are not told", len(left))
		}
		clock.sleep(30 * time.Second)
	}

	// Every check is true, and there once.
	runs := map[string][]githubtest.CheckRun{}
	for _, r := range repos {
		for _, run := range hub.CheckRuns(r.Name, "") {
			runs[run.ExternalID] = append(runs[run.ExternalID], run)
		}
	}
	for _, id := range ids {
		b, err := s.Build(id)
		if err != nil || !b.Done() {
			t.Fatalf("%s: %+v %v", id, b.Status, err)
		}
		for _, want := range checks.Render(&b, options) {
			got := runs[want.ExternalID]
			if len(got) == 0 {
				var told store.Told
				if err := s.View(func(tx *store.Tx) (err error) { told, err = tx.Told(id, want.Key()); return err }); err != nil || !told.GivenUp {
					t.Errorf("%s is not there: %+v %v", want.ExternalID, told, err)
				}
				if !want.Phase && told.Problem != "a later build or notice has this check already" && !strings.HasSuffix(told.Problem, ": a later build or notice has this check already") {
					t.Errorf("%s is not there: %s", want.ExternalID, told.Problem)
				}
				continue // there were too many requests, or a later build of the commit was told of first
			}
			if len(got) != 1 || got[0].Name != want.Name || got[0].Status != want.Status || got[0].Conclusion != want.Conclusion || got[0].Title != want.Title || got[0].Summary != want.Summary {
				t.Errorf("%s: %+v, want %s %s", want.ExternalID, got, want.Status, want.Conclusion)
			}
			delete(runs, want.ExternalID)
		}
	}
	if len(runs) > 0 {
		t.Errorf("%d checks belong to no build", len(runs))
	}
	// What branch protection looks at, the newest of a name, is the last build's.
	for i, r := range repos {
		var newest githubtest.CheckRun
		for _, run := range hub.CheckRuns(r.Name, "") {
			if run.Name == "buildsmith" && run.ID > newest.ID {
				newest = run
			}
		}
		if last := ids[builds-owners+i]; newest.ExternalID != last {
			t.Errorf("the newest check of %s is that of %s, want %s", r.Name, newest.ExternalID, last)
		}
	}

	// Nothing was asked before its time.
	until := map[string]time.Time{}
	var met [600]int
	for _, r := range hub.Requests() {
		parts := strings.Split(r.Path, "/")
		if len(parts) < 3 || parts[1] != "repos" {
			continue
		}
		at := clock.at(r.At)
		if wait := until[parts[2]]; at.Before(wait) {
			t.Errorf("%s %s was asked %v before its time", r.Method, r.Path, wait.Sub(at))
		}
		met[r.Status]++
		switch r.Status {
		case 403:
			until[parts[2]], resets = resets[0], resets[1:]
		case 429:
			until[parts[2]] = at.Add(refused)
		}
	}
	if met[403] < 10 || met[429] < 10 || met[502] < 40 || met[0] < 20 {
		t.Errorf("too little trouble: %d 403, %d 429, %d 502, %d lost", met[403], met[429], met[502], met[0])
	}
}
