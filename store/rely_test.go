package store

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

// TestRelyQueueSurvivesRestarts opens a store again and again while builds run, wait and end, and has an update break off in between: as
// many builds have a slot as there are slots, never more, and each of them gets one.
func TestRelyQueueSurvivesRestarts(t *testing.T) {
	const slots, builds = 3, 20
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for n := range builds {
		submit(t, s, fmt.Sprint(n))
	}
	ended := 0
	for round := 0; ended < builds; round++ {
		if round > 3*builds {
			t.Fatalf("%d of %d builds had a slot", ended, builds)
		}
		claimed := claim(t, s, slots)
		if err := s.Update(func(tx *Tx) error { // what breaks off counts for nothing
			if _, err := tx.Submit(must[Project](t)(tx.Project(repo, "")), Build{Check: "buildsmith", Trigger: Trigger{Commit: "x"}}); err != nil {
				return err
			}
			return fs.ErrInvalid
		}); !errors.Is(err, fs.ErrInvalid) {
			t.Fatal(err)
		}
		var running []Build
		view(t, s, func(tx *Tx) error {
			queued, n := tx.QueueLength()
			if running = must[[]Build](t)(tx.RunningBuilds()); len(running) != n || n > slots || n < min(slots, builds-ended) || queued+n+ended != builds {
				t.Errorf("round %d: %d run, %d wait, %d ended; %d were claimed", round, n, queued, ended, len(claimed))
			}
			return nil
		})
		must[Build](t)(s.ChangeBuild(running[round%len(running)].ID, func(b *Build) error { b.End([]Status{Succeeded, Failed, Fault}[round%3], s.Now()); return nil }))
		ended++
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir, Options{})
	}
}

// TestRelySecretsAreBoundToBranches has somebody who may push put a changed buildspec on a branch of their own: the secret of the
// release branches is not there, and neither is it for a pull request or a commit of a fork.
func TestRelySecretsAreBoundToBranches(t *testing.T) {
	s, _ := newStore(t)
	secrets := openSecrets(t, s)
	must[Secret](t)(secrets.Put("deploy", "sesame", SecretPut{Projects: []string{"octo/shop"}, Refs: []string{"refs/heads/main", "refs/heads/release/*", "refs/tags/v*"}}))
	for name, tt := range map[string]struct {
		change func(*Build)
		may    bool
	}{
		"main":            {func(b *Build) { b.Trigger.HeadRef = "refs/heads/main" }, true},
		"a release":       {func(b *Build) { b.Trigger.HeadRef = "refs/heads/release/2" }, true},
		"a version":       {func(b *Build) { b.Trigger.HeadRef = "refs/tags/v2" }, true},
		"a scratch":       {func(b *Build) { b.Trigger.HeadRef = "refs/heads/scratch" }, false},
		"like main":       {func(b *Build) { b.Trigger.HeadRef = "refs/heads/main2" }, false},
		"below main":      {func(b *Build) { b.Trigger.HeadRef = "refs/heads/main/x" }, false},
		"ends in main":    {func(b *Build) { b.Trigger.HeadRef = "refs/heads/x/refs/heads/main" }, false},
		"a tag of a name": {func(b *Build) { b.Trigger.HeadRef = "refs/tags/main" }, false},
		"no ref":          {func(b *Build) {}, false},
		"a fork's main":   {func(b *Build) { b.Trigger.HeadRef, b.Trigger.Fork = "refs/heads/main", true }, false},
		"a pull request into main": {func(b *Build) {
			b.Trigger.HeadRef, b.Trigger.BaseRef, b.Trigger.PullRequest = "refs/heads/scratch", "refs/heads/main", 7
		}, false},
		"another repository":      {func(b *Build) { b.Trigger.HeadRef, b.Repo.Name = "refs/heads/main", "evil-octo/shop" }, false},
		"another of the owner":    {func(b *Build) { b.Trigger.HeadRef, b.Repo.Name = "refs/heads/main", "octo/shop-2" }, false},
		"another of a longer one": {func(b *Build) { b.Trigger.HeadRef, b.Repo.Name = "refs/heads/main", "octo/my-shop" }, false},
	} {
		b := &Build{Repo: repo, ProjectKey: repo.Key(), Created: time.Now()}
		tt.change(b)
		value, _, err := secrets.ValueFor(b, "deploy", SecretPick{})
		if tt.may && (value != "sesame" || err != nil) || !tt.may && (value != "" || !errors.Is(err, fs.ErrPermission)) {
			t.Errorf("%s: %q %v", name, value, err)
		}
	}
}
