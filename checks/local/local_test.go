package local

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"buildsmith/store"
)

func TestForge(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "work")
	git("-C", "work", "commit", "--quiet", "--allow-empty", "--message", "Begin\n\nbody")
	first := git("-C", "work", "rev-parse", "HEAD")
	git("-C", "work", "tag", "--annotate", "--message=x", "v1")
	if err := exec.Command("sh", "-c", "echo x > "+filepath.Join(dir, "work", "buildspec.yml")).Run(); err != nil {
		t.Fatal(err)
	}
	git("-C", "work", "add", "--all")
	git("-C", "work", "commit", "--quiet", "--message", "More")
	second := git("-C", "work", "rev-parse", "HEAD")
	git("clone", "--quiet", "--bare", "work", "shop.git")

	f := Forge{Dir: dir}
	shop := store.Repo{Forge: Name, ID: "shop", Name: "shop"}
	for version, want := range map[string]string{"": second, "main": second, "refs/heads/main": second, "v1": first, "refs/tags/v1": first, first: first, second[:8]: second} {
		if c, err := f.Commit(t.Context(), shop, version); c.Hash != want || err != nil {
			t.Errorf("Commit(%q) = %+v, %v", version, c, err)
		}
	}
	if c, err := f.Commit(t.Context(), shop, "v1"); err != nil || strings.TrimSpace(c.Message) != "Begin\n\nbody" {
		t.Errorf("%q %v", c.Message, err)
	}
	for _, version := range []string{"none", "HEAD~1", "@{-1}", "--all", "refs/heads/*", "a..b", second[:5], strings.Repeat("1", 40), "main^{tree}", "refs/notes/../x"} {
		if c, err := f.Commit(t.Context(), shop, version); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Commit(%q) = %+v, %v", version, c, err)
		}
	}
	gone := store.Repo{Forge: Name, ID: "gone", Name: "gone"}
	if _, err := f.Commit(t.Context(), gone, "main"); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "repository gone") {
		t.Error(err)
	}
	for commit, want := range map[string]bool{first: false, second: true} {
		if id, err := f.FileID(t.Context(), shop, commit, "buildspec.yml"); (id != "") != want || err != nil {
			t.Errorf("FileID(%.8s) = %q, %v", commit, id, err)
		}
	}
	if _, err := f.FileID(t.Context(), shop, strings.Repeat("1", 40), "x"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if _, err := f.FileID(t.Context(), shop, "--x", "x"); err == nil || !strings.Contains(err.Error(), "is no full hash") {
		t.Error(err)
	}
	if _, err := f.PullRequest(t.Context(), shop, 1); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if p, err := f.Permission(t.Context(), shop, store.Account{}); p != store.PermissionAdmin || err != nil {
		t.Errorf("%v %v", p, err)
	}
}

// TestGitFails has git killed, missing or out of time: that says nothing of what is there.
func TestGitFails(t *testing.T) {
	dir, hash := t.TempDir(), strings.Repeat("a", 40)
	if out, err := exec.Command("git", "init", "--quiet", "--bare", filepath.Join(dir, "shop.git")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, shop, path := Forge{Dir: dir}, store.Repo{Forge: Name, ID: "shop", Name: "shop"}, os.Getenv("PATH")
	killed, missing := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(killed, "git"), []byte("#!/bin/sh\nkill -9 $$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		ctx  context.Context
		path string
		gone bool
	}{
		"works":       {t.Context(), path, true},
		"killed":      {t.Context(), killed + ":" + path, false},
		"missing":     {t.Context(), missing, false},
		"out of time": {late, path, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			if id, err := f.FileID(tt.ctx, shop, hash, "buildspec.yml"); id != "" || err == nil || errors.Is(err, store.ErrNotFound) != tt.gone {
				t.Errorf("FileID = %q, %v", id, err)
			}
			if c, err := f.Commit(tt.ctx, shop, "main"); err == nil || errors.Is(err, store.ErrNotFound) != tt.gone {
				t.Errorf("Commit = %v, %v", c, err)
			}
		})
	}
}
