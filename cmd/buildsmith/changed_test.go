package main

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildsmith/checks/local"
	"buildsmith/runner/source"
	"buildsmith/store"
	fromlocal "buildsmith/webhook/local"
)

func TestChangedFiles(t *testing.T) {
	data, work := t.TempDir(), t.TempDir()
	r := store.Repo{Forge: local.Name, Host: "localhost", ID: "shop", Name: "shop"}
	bare := local.Forge{Dir: filepath.Join(data, "git")}.Path(r)
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org"}, args...)...)
		cmd.Dir = work
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--bare", bare)
	git("init", "--quiet")
	var commits []string
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(work, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		git("add", name)
		git("commit", "--quiet", "-m", name)
		commits = append(commits, git("rev-parse", "HEAD"))
	}
	git("push", "--quiet", bare, "HEAD:refs/heads/main")
	mirrors, err := source.New(filepath.Join(data, "mirrors"), source.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{config: &Config{Data: data}, log: slog.New(slog.DiscardHandler), mirrors: mirrors, local: &fromlocal.Forge{}}
	if got, err := s.changedFiles(t.Context(), r, &store.Trigger{Commit: commits[1]}, commits[0]); err != nil || !slices.Equal(got, []string{"b"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := s.changedFiles(t.Context(), r, &store.Trigger{Commit: commits[0], PullRequest: 3}, ""); err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("a root: %q, %v", got, err)
	}
	if _, err := s.changedFiles(t.Context(), r, &store.Trigger{Commit: strings.Repeat("1", 40)}, ""); !errors.Is(err, store.ErrNotFound) || !errors.Is(err, source.ErrGone) {
		t.Errorf("a commit that is gone: %v", err)
	}
	r.Forge = "gone"
	if _, err := s.changedFiles(t.Context(), r, &store.Trigger{Commit: commits[0]}, ""); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a forge that is off: %v", err)
	}
}
