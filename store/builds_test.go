package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func claim(t *testing.T, s *Store, slots int) []Claim {
	t.Helper()
	return must[[]Claim](t)(s.Claim(slots, func(*Build) string { return "p" }))
}

func TestLifeOfABuild(t *testing.T) {
	s, c := newStore(t)
	b := submit(t, s, "abc")
	if !b.Queued() || b.Done() || b.Number != 1 || b.Status != InProgress || b.CodeBuildID() != "octo-shop:"+b.ID {
		t.Fatalf("%+v", b)
	}
	c.advance(time.Second)
	claims := claim(t, s, 1)
	if len(claims) != 1 || claims[0].Build.ID != b.ID || claims[0].Warm || claims[0].Build.Queued() {
		t.Fatalf("%+v", claims)
	}
	c.advance(time.Second)
	b = must[Build](t)(s.ChangeBuild(b.ID, func(b *Build) error {
		b.Leave(PhaseProvisioning, s.Now(), Succeeded, "", "")
		b.Enter(PhaseBuild, s.Now()).Commands = []Command{{Text: "false", Start: s.Now()}}
		return nil
	}))
	c.advance(time.Second)
	b = must[Build](t)(s.ChangeBuild(b.ID, func(b *Build) error {
		b.Leave(PhaseBuild, s.Now(), Failed, "COMMAND_EXECUTION_ERROR", "it failed")
		b.Enter(PhaseUploadArtifacts, s.Now())
		b.End(Failed, s.Now())
		return nil
	}))
	var got []string
	for _, p := range b.Phases {
		got = append(got, fmt.Sprintf("%s %s %v", p.Type, p.Status, p.End.Sub(p.Start).Truncate(time.Second)))
	}
	if want := "SUBMITTED SUCCEEDED 0s, QUEUED SUCCEEDED 1s, PROVISIONING SUCCEEDED 1s, BUILD FAILED 1s, UPLOAD_ARTIFACTS STOPPED 0s"; !strings.HasPrefix(strings.Join(got, ", "), want) {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
	if h := b.Headline(); h == nil || h.Type != PhaseBuild || h.Message != "it failed" {
		t.Errorf("headline %+v", h)
	}
	if last := b.Phases[len(b.Phases)-1]; last.Type != PhaseCompleted || !last.End.IsZero() || last.Status != "" {
		t.Errorf("%+v", last)
	}
	if b.Phase(PhaseBuild).Commands[0].End.IsZero() {
		t.Error("a command runs on in a build that is over")
	}
	if _, err := s.ChangeBuild(b.ID, func(*Build) error { return nil }); !errors.Is(err, ErrDone) {
		t.Errorf("changing a build that is over: %v", err)
	}
	if _, err := s.ChangeBuild("none", func(*Build) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("changing no build: %v", err)
	}
	view(t, s, func(tx *Tx) error {
		if queued, running := tx.QueueLength(); queued != 0 || running != 0 {
			t.Errorf("%d queued, %d running", queued, running)
		}
		return nil
	})
}

func TestClaimKeepsToTheSlots(t *testing.T) {
	s, _ := newStore(t)
	var ids []string
	for i := range 5 {
		ids = append(ids, submit(t, s, fmt.Sprint(i)).ID)
	}
	first := claim(t, s, 2)
	if len(first) != 2 || first[0].Build.ID != ids[0] || first[1].Build.ID != ids[1] {
		t.Fatalf("%+v", first)
	}
	if more := claim(t, s, 2); len(more) != 0 {
		t.Errorf("claimed %d builds beyond the slots", len(more))
	}
	must[Build](t)(s.ChangeBuild(ids[0], func(b *Build) error { b.End(Succeeded, s.Now()); return nil }))
	if more := claim(t, s, 2); len(more) != 1 || more[0].Build.ID != ids[2] {
		t.Errorf("%+v", more)
	}
	if more := claim(t, s, 0); len(more) != 0 {
		t.Errorf("%+v", more)
	}
	view(t, s, func(tx *Tx) error {
		if queued, running := tx.QueueLength(); queued != 2 || running != 2 {
			t.Errorf("%d queued, %d running", queued, running)
		}
		if list := must[[]Build](t)(tx.RunningBuilds()); len(list) != 2 || list[0].ID != ids[1] {
			t.Errorf("%v", list)
		}
		if list := must[[]Build](t)(tx.Builds("", 0, 2)); len(list) != 2 || list[0].ID != ids[4] || list[0].Number != 5 {
			t.Errorf("%v", list)
		}
		if list := must[[]Build](t)(tx.Builds("octo-shop", 4, 9)); len(list) != 3 || list[0].ID != ids[2] {
			t.Errorf("%v", list)
		}
		if list := must[[]Build](t)(tx.Builds("other", 0, 9)); len(list) != 0 {
			t.Errorf("%v", list)
		}
		return nil
	})
}

func TestWaitingSandboxServesOnce(t *testing.T) {
	s, c := newStore(t)
	for _, id := range []string{"s1", "s2", "s3"} {
		profile := "p"
		if id == "s1" {
			profile = "other"
		}
		update(t, s, func(tx *Tx) error {
			return tx.OfferSandbox(WaitingSandbox{Sandbox{ID: id, Inode: 5}, profile, s.Now()})
		})
		c.advance(time.Second)
	}
	for range 3 {
		submit(t, s, "a")
	}
	var got []string
	for _, c := range claim(t, s, 3) {
		got = append(got, fmt.Sprint(c.Build.Sandbox.ID, c.Warm))
	}
	if want := "s2true s3true false"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	update(t, s, func(tx *Tx) error {
		if ok := must[bool](t)(tx.WithdrawSandbox("s2")); ok {
			t.Error("withdrew a sandbox that serves")
		}
		if ok := must[bool](t)(tx.WithdrawSandbox("s1")); !ok {
			t.Error("could not withdraw a sandbox that waits")
		}
		return nil
	})
}

func TestQueueTimeout(t *testing.T) {
	s, c := newStore(t)
	b := submit(t, s, "a")
	c.advance(30 * time.Minute)
	later := submit(t, s, "b")
	if next := must[time.Time](t)(s.ExpireQueued()); !next.Equal(b.Created.Add(time.Hour)) {
		t.Errorf("next at %v", next)
	}
	c.advance(30 * time.Minute)
	if next := must[time.Time](t)(s.ExpireQueued()); !next.Equal(later.Created.Add(time.Hour)) {
		t.Errorf("next at %v", next)
	}
	b = must[Build](t)(s.Build(b.ID))
	if b.Status != TimedOut || !b.Done() || b.Headline().Type != PhaseQueued ||
		b.Headline().Message != "Build has timed out: it waited in the queue for 1h0m0s, which is its limit." {
		t.Errorf("%s %+v", b.Status, b.Headline())
	}
}

func TestRequestStop(t *testing.T) {
	s, _ := newStore(t)
	queued, running := submit(t, s, "a"), submit(t, s, "b")
	stop := func(id, by string) (b Build, err error) {
		err = s.Update(func(tx *Tx) error { b, err = tx.RequestStop(id, by); return err })
		return b, err
	}
	b, err := stop(queued.ID, "octocat")
	if err != nil || b.Status != Stopped || b.Headline().Message != "Stopped by octocat." {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := stop(queued.ID, "octocat"); !errors.Is(err, ErrDone) {
		t.Error(err)
	}
	claim(t, s, 1)
	if b, err = stop(running.ID, "one"); err != nil || b.Done() || b.Stop.By != "one" {
		t.Errorf("%+v %v", b, err)
	}
	if b, err = stop(running.ID, "two"); err != nil || b.Stop.By != "one" {
		t.Errorf("%+v %v", b.Stop, err)
	}
}

func TestOfCommit(t *testing.T) {
	s, _ := newStore(t)
	a := submit(t, s, "aa")
	submit(t, s, "aaa")
	again := submit(t, s, "aa")
	update(t, s, func(tx *Tx) error {
		p := must[Project](t)(tx.Project(repo, ""))
		_, err := tx.AddNotice(p, Notice{Trigger: Trigger{Commit: "aa"}, Conclusion: ActionRequired})
		return err
	})
	view(t, s, func(tx *Tx) error {
		builds, notices, err := tx.OfCommit(repo, "aa")
		if err != nil || len(builds) != 2 || builds[0].ID != a.ID || builds[1].ID != again.ID || len(notices) != 1 {
			t.Errorf("%v %v %v", builds, notices, err)
		}
		return nil
	})
}

func TestSpec(t *testing.T) {
	s, _ := newStore(t)
	update(t, s, func(tx *Tx) error { return tx.SetSpec("b", []byte("version: 0.2")) })
	view(t, s, func(tx *Tx) error {
		if got := string(tx.Spec("b")); got != "version: 0.2" || tx.Spec("c") != nil {
			t.Errorf("%q", got)
		}
		return nil
	})
}

// TestOpenBuilds finds builds that are not over by their pull request and their ref.
func TestOpenBuilds(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := Repo{Forge: "test", Host: "h", ID: "7", Name: "octo/shop"}
	var ids []string
	for _, trigger := range []Trigger{
		{HeadRef: "refs/heads/x"}, {HeadRef: "refs/heads/x", PullRequest: 1}, {HeadRef: "refs/heads/x", PullRequest: 12, Fork: true}, {HeadRef: "refs/heads/xy"}, {},
	} {
		if err := s.Update(func(tx *Tx) error {
			p, err := tx.Project(r, "")
			if err != nil {
				return err
			}
			b, err := tx.Submit(p, Build{Trigger: trigger})
			ids = append(ids, b.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	open := func(line string) (numbers []int) {
		t.Helper()
		if err := s.View(func(tx *Tx) error {
			list, err := tx.OpenBuilds(r, line)
			for _, b := range list {
				numbers = append(numbers, b.Number)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return numbers
	}
	for line, want := range map[string][]int{"refs/heads/x": {1, 2}, PullLine(1): {2}, PullLine(12): {3}, "refs/heads/xy": {4}, "refs/heads/": nil, "": nil} {
		if got := open(line); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
	if _, err := s.ChangeBuild(ids[1], func(b *Build) error { b.End(Failed, s.Now()); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := open("refs/heads/x"); !slices.Equal(got, []int{1}) || len(open(PullLine(1))) != 0 {
		t.Errorf("%v after the end of one", got)
	}
}

// TestCommitsLike finds commits by the beginning of their hashes, each once, in their own repository alone.
func TestCommitsLike(t *testing.T) {
	s, _ := newStore(t)
	one, other := Repo{Forge: "github", ID: "1"}, Repo{Forge: "github", ID: "11"}
	update(t, s, func(tx *Tx) error {
		for _, n := range []struct {
			repo   Repo
			commit string
		}{{one, "aab"}, {one, "aab"}, {one, "aac"}, {one, "ab"}, {other, "aad"}} {
			if _, err := tx.AddNotice(Project{Repo: n.repo}, Notice{Trigger: Trigger{Commit: n.commit}}); err != nil {
				return err
			}
		}
		for _, tt := range []struct {
			prefix string
			max    int
			want   []string
		}{{"aa", 9, []string{"aab", "aac"}}, {"aa", 1, []string{"aab"}}, {"aab", 9, []string{"aab"}}, {"b", 9, nil}} {
			if got := tx.CommitsLike(one, tt.prefix, tt.max); !slices.Equal(got, tt.want) {
				t.Errorf("CommitsLike(%q, %d) = %v, want %v", tt.prefix, tt.max, got, tt.want)
			}
		}
		return nil
	})
}
