package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFile(t *testing.T) {
	f := newForge(t)
	f.commit("refs/heads/main", map[string]string{"ci/build.yml": "old", "*.yml": "a star"})
	old := gitIn(t, f.work, "rev-parse", "HEAD")
	if err := os.Symlink("ci/build.yml", filepath.Join(f.work, "link.yml")); err != nil {
		t.Fatal(err)
	}
	head := f.commit("refs/pull/7/head", map[string]string{"ci/build.yml": "new", "large": strings.Repeat("x", 101)})
	l := lease(t, newMirrors(t), f.remote())
	for _, tt := range []struct {
		commit, name, want string
		err                error
		message            string
	}{
		{commit: old, name: "ci/build.yml", want: "old"},
		{commit: old, name: "./ci//build.yml", want: "old"},
		{commit: head, name: "ci/build.yml", want: "new"},
		{commit: old, name: "*.yml", want: "a star"},
		{commit: old, name: "c*/build.yml", err: fs.ErrNotExist},
		{commit: old, name: ":(glob)**/build.yml", err: fs.ErrNotExist},
		{commit: old, name: "ci", err: ErrNoFile},
		{commit: head, name: "link.yml", err: ErrNoFile},
		{commit: head, name: "large", err: ErrTooLarge},
		{commit: old, name: "../x", message: "leads out of the source: no regular file"},
		{commit: old, name: "/etc/passwd", message: "leads out of the source: no regular file"},
		{commit: strings.Repeat("1", 40), name: "x", err: ErrGone},
		{commit: "main", name: "x", message: "is no full hash of a commit"},
	} {
		got, err := l.File(t.Context(), Want{Commit: tt.commit, Refs: []string{"refs/pull/7/head"}}, tt.name, 100)
		if string(got) != tt.want || tt.err != nil && !errors.Is(err, tt.err) || tt.message != "" && (err == nil || !strings.Contains(err.Error(), tt.message)) ||
			(err != nil) != (tt.err != nil || tt.message != "") {
			t.Errorf("%s in %.7s: %q, %v", tt.name, tt.commit, got, err)
		}
	}
}

func TestChangedFiles(t *testing.T) {
	f := newForge(t)
	remove := func(name string) { gitIn(t, f.work, "rm", "--quiet", name) }
	root := f.commit("refs/heads/main", map[string]string{"a": "1", "dir/b": "1", "old": strings.Repeat("text\n", 50)})
	main := f.commit("refs/heads/main", map[string]string{"a": "2"})
	gitIn(t, f.work, "checkout", "--quiet", "--detach", root)
	remove("old")
	f.commit("refs/heads/dev", map[string]string{"new": strings.Repeat("text\n", 50), "dir/b": "2"})
	head := f.commit("refs/heads/dev", map[string]string{"line\nbreak \xff \"quoted\"": "x", "-x": "x"})
	pull := f.commit("refs/pull/7/head", map[string]string{"c": "1"})
	gitIn(t, f.work, "checkout", "--quiet", "--orphan", "other")
	gitIn(t, f.work, "rm", "--quiet", "-f", "dir/b")
	other := f.commit("refs/heads/other", map[string]string{"a": "1"})
	gitIn(t, f.work, "checkout", "--quiet", "--detach", head)
	gitIn(t, f.work, "merge", "--quiet", "--no-edit", main)
	merge := gitIn(t, f.work, "rev-parse", "HEAD")
	gitIn(t, f.work, "push", "--quiet", "origin", "HEAD:refs/heads/merged")
	l := lease(t, newMirrors(t), f.remote())
	hostile := "line\nbreak \xff \"quoted\""
	for _, tt := range []struct {
		name, base, head string
		want             []string
	}{
		{"a branch and another", main, head, []string{"-x", "dir/b", hostile, "new", "old"}},
		{"a push", root, main, []string{"a"}},
		{"no base", "", main, []string{"a"}},
		{"a new ref", strings.Repeat("0", 40), main, []string{"a"}},
		{"a base that is gone", strings.Repeat("1", 40), main, []string{"a"}},
		{"a root", "", root, []string{"a", "dir/b", "old"}},
		{"the same", head, head, nil},
		{"a step back", main, root, nil},
		{"a pull request", main, pull, []string{"-x", "c", "dir/b", hostile, "new", "old"}},
		{"nothing in common", root, other, nil},
		{"a merge", "", merge, []string{"a"}},
	} {
		got, err := l.ChangedFiles(t.Context(), Want{Commit: tt.head, Refs: []string{"refs/pull/7/head"}}, tt.base)
		if tt.name == "nothing in common" {
			if err != nil || !slices.Contains(got, "dir/b") || slices.Contains(got, "a") {
				t.Errorf("%s: %q, %v", tt.name, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	if _, err := l.ChangedFiles(t.Context(), Want{Commit: strings.Repeat("1", 40)}, main); !errors.Is(err, ErrGone) {
		t.Errorf("a head that is gone: %v", err)
	}
	for _, bad := range [][2]string{{"--all", main}, {main, "main"}} {
		if _, err := l.ChangedFiles(t.Context(), Want{Commit: bad[0]}, bad[1]); err == nil || !strings.Contains(err.Error(), "is no full hash of a commit") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestTooManyChangedFiles has more names than are listed: those that have room are given, each whole.
func TestTooManyChangedFiles(t *testing.T) {
	f := newForge(t)
	tree := func(entries []string) string {
		list := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(list, []byte(strings.Join(entries, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return gitIn(t, f.dir, "-c", "alias.make-tree=!git mktree <"+list, "make-tree")
	}
	blob := gitIn(t, f.dir, "hash-object", "-w", "--stdin")
	var files, dirs []string
	for i := range 500 {
		files = append(files, fmt.Sprintf("100644 blob %s\t%s%04d\n", blob, strings.Repeat("n", 200), i))
	}
	below := tree(files)
	for i := range 400 {
		dirs = append(dirs, fmt.Sprintf("040000 tree %s\td%04d\n", below, i))
	}
	commit := gitIn(t, f.dir, "commit-tree", "-m", "many", tree(dirs))
	gitIn(t, f.dir, "update-ref", "refs/heads/many", commit)
	l := lease(t, newMirrors(t), f.remote())
	got, err := l.ChangedFiles(t.Context(), Want{Commit: commit}, "")
	if !errors.Is(err, ErrTooLarge) || len(got) < 100_000 || len(got[len(got)-1]) < 201 {
		t.Errorf("%d names, %v", len(got), err)
	}
}
