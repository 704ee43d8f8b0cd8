package bitbucket_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/checks"
	"buildsmith/checks/bitbucket"
	"buildsmith/checks/bitbucket/bitbuckettest"
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

// TestAnHourOfTrouble has builds of three repositories begin and end, and comments answered, while Bitbucket refuses with 429, saying when and
// not, is down with 502, cuts connections, and does what it was asked without answering. In the end every status and report is as its build
// is, every reply is there once, and nothing was asked with a credential before its time.
func TestAnHourOfTrouble(t *testing.T) {
	const builds, refused = 36, 2 * time.Minute
	clock := fastClock{time.Now(), 400}
	var repos []store.Repo
	var tokens []string
	number := 0
	b := newBench(t, func(b *bench, c *bitbucket.Config) {
		c.Now = clock.now
		for _, name := range []string{"octo/one", "octo/two"} {
			_, err := b.hub.AddRepo(name, bitbuckettest.RepoOptions{Private: true})
			b.must(err)
			token, err := b.hub.AddToken(bitbuckettest.TokenOptions{Kind: bitbuckettest.RepositoryToken, Repo: name})
			b.must(err)
			c.Credentials = append(c.Credentials, bitbucket.Credential{Repositories: []string{name}, Token: token.Value})
		}
		number = b.pull()
	})
	repos, err := b.host.Repositories(t.Context())
	b.must(err)
	for _, r := range repos {
		header, _, err := b.host.CloneHeader(t.Context(), r)
		b.must(err)
		tokens = append(tokens, header)
	}
	if len(repos) != 3 || tokens[0] == tokens[1] {
		t.Fatalf("%+v", repos)
	}
	shop := repos[1]
	s, err := store.Open(t.TempDir(), store.Options{Now: clock.now})
	b.must(err)
	defer s.Close()
	options := checks.Options{Figures: true, URL: func(id string, _ store.Repo) string { return "https://ci.example.org/builds/" + id }}
	reporter := checks.New(checks.Config{Store: s, Publishers: map[string]checks.Publisher{"bitbucket": b.host}, Options: options, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { reporter.Run(ctx) })

	ids, stage := make([]string, builds), make([]int, builds)
	commits := make([]string, builds)
	change := func(i int, fn func(*store.Build)) {
		t.Helper()
		if _, err := s.ChangeBuild(ids[i], func(b *store.Build) error { fn(b); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	troubles := 0
	for clock.passed() < time.Hour {
		for i := range builds {
			due := clock.passed() - time.Duration(i)*time.Minute
			switch {
			case stage[i] == 0 && due >= 0:
				repo := repos[i%3]
				commits[i] = b.commit(repo.Name, "main", fmt.Sprint("Commit ", i), map[string]string{"f": fmt.Sprint(i)})
				b.must(s.Update(func(tx *store.Tx) error {
					p, err := tx.Project(repo, "")
					if err != nil {
						return err
					}
					made, err := tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: commits[i]}})
					if ids[i] = made.ID; err == nil && i%6 == 0 {
						_, err = tx.AddReply(store.Reply{Repo: shop, PullRequest: number, Body: fmt.Sprint("reply ", i)})
					}
					return err
				}))
			case stage[i] == 1 && due >= 30*time.Second:
				change(i, func(b *store.Build) {
					b.Claimed, b.Skeleton = clock.now(), []string{store.PhaseBuild}
					b.Enter(store.PhaseBuild, b.Claimed)
				})
			case stage[i] == 2 && due >= 90*time.Second:
				change(i, func(b *store.Build) {
					b.Leave(store.PhaseBuild, clock.now(), store.Succeeded, "", "")
					b.End([]store.Status{store.Succeeded, store.Failed, store.Stopped}[i%3], clock.now())
				})
			default:
				continue
			}
			stage[i]++
		}
		for time.Duration(troubles)*40*time.Second < clock.passed() {
			f := []bitbuckettest.Fault{bitbuckettest.RateLimit(refused), bitbuckettest.RateLimit(0), bitbuckettest.Fault{Status: 502}.For(2), {Lost: true}, {Cut: true}}[troubles%5]
			b.must(b.hub.Inject(f.At("", "/(statuses|reports|comments)")))
			troubles++
		}
		clock.sleep(4 * time.Second)
	}
	b.hub.ClearFaults() // the storm is over
	deadline := time.Now().Add(2 * time.Minute)
	for {
		var left []store.Subject
		b.must(s.Update(func(tx *store.Tx) (err error) { left, err = tx.Unsaid(); return err })) // which wakes the reporter
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d builds and replies are not told", len(left))
		}
		clock.sleep(30 * time.Second)
	}

	for i, id := range ids {
		build, err := s.Build(id)
		if err != nil || !build.Done() {
			t.Fatalf("%s: %+v %v", id, build.Status, err)
		}
		repo := repos[i%3]
		list, reports := b.hub.Statuses(repo.Name, commits[i]), b.hub.Reports(repo.Name, commits[i])
		want := []string{"SUCCESSFUL", "FAILED", "STOPPED"}[i%3]
		if len(list) != 1 || list[0].State != want || list[0].URL != "https://ci.example.org/builds/"+id {
			t.Errorf("build %d: %+v, want %s", i, list, want)
		}
		if len(reports) != 1 || reports[0].Link != "https://ci.example.org/builds/"+id || (reports[0].Result == "PASSED") != (i%3 == 0) {
			t.Errorf("build %d: %+v", i, reports)
		}
	}
	replies := map[string]int{}
	for _, c := range b.hub.Comments(shop.Name, number) {
		text, _, _ := strings.Cut(c.Body, "\n")
		replies[text]++
	}
	for i := 0; i < builds; i += 6 {
		if text := fmt.Sprint("reply ", i); replies[text] != 1 {
			t.Errorf("%s is there %d times", text, replies[text])
		}
	}

	// Nothing was asked before its time.
	until := map[string]time.Time{}
	var met [600]int
	for _, r := range b.hub.Requests() {
		at := clock.at(r.At)
		if wait := until[r.Token]; at.Before(wait) {
			t.Errorf("%s %s was asked %v before its time", r.Method, r.Path, wait.Sub(at))
		}
		met[r.Status]++
		if r.Status == http.StatusTooManyRequests {
			until[r.Token] = at.Add(time.Minute) // at least: Bitbucket says two minutes, or nothing
		}
	}
	if met[429] < 5 || met[502] < 5 || met[0] < 5 {
		t.Errorf("too little trouble: %d 429, %d 502, %d lost", met[429], met[502], met[0])
	}
}
