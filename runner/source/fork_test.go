package source

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFork has a commit that lies in another repository: it is fetched from there alone, with that one's credentials, and compared with
// what the repository itself has.
func TestFork(t *testing.T) {
	target, fork := newForge(t), newForge(t)
	base := target.commit("refs/heads/main", map[string]string{"a": "1"})
	gitIn(t, fork.work, "pull", "--quiet", target.dir, "main")
	head := fork.commit("refs/heads/main", map[string]string{"b": "1"})
	fork.commit("refs/heads/secret", map[string]string{"c": "1"})
	from := fork.remote()
	from.Header = func(context.Context) (string, func(), error) { return "Authorization: Basic Zm9yaw==", nil, nil }
	l := lease(t, newMirrors(t), target.remote())
	want := Want{Commit: head, Refs: []string{"refs/heads/main"}, From: &from}
	if names, err := l.ChangedFiles(t.Context(), want, base); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Fatalf("%q, %v", names, err)
	}
	if fork.auth.Load() != "Basic Zm9yaw==" {
		t.Errorf("the fork was asked with %v", fork.auth.Load())
	}
	if text, err := os.ReadFile(filepath.Join(checkout(t, l, want), "b")); err != nil || string(text) != "1" {
		t.Errorf("%q, %v", text, err)
	}
	refs := gitIn(t, l.mirror.path, "for-each-ref", "--format=%(refname)")
	if refs != "refs/forks/"+head+"/0" {
		t.Errorf("the mirror has\n%s", refs)
	}
	// What the branch held before is found by its hash, and a branch that is gone does not matter then.
	gitIn(t, fork.dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	gitIn(t, fork.work, "commit", "--quiet", "--amend", "--message=other")
	amended := gitIn(t, fork.work, "rev-parse", "HEAD")
	gitIn(t, fork.work, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
	gone := Want{Commit: amended, Refs: []string{"refs/heads/gone"}, From: &from}
	if names, err := l.ChangedFiles(t.Context(), gone, base); err != nil || len(names) == 0 {
		t.Errorf("%q, %v", names, err)
	}
	missing := gone
	missing.Commit = "1111111111111111111111111111111111111111"
	if _, err := l.ChangedFiles(t.Context(), missing, base); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	bad := want
	bad.Commit, bad.Refs = missing.Commit, []string{"refs/heads/../x"}
	if _, err := l.ChangedFiles(t.Context(), bad, base); err == nil || err.Error() != `ref "refs/heads/../x" is no name of a ref` {
		t.Error(err)
	}
}

// TestForkThatIsClosed has a fork that is gone, or not for us: that is the author's failure, who is told what to do.
func TestForkThatIsClosed(t *testing.T) {
	target := newForge(t)
	head := target.commit("refs/heads/main", map[string]string{"a": "1"})
	for name, answer := range map[string]int{"gone": http.StatusNotFound, "not for us": http.StatusForbidden} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(answer) }))
		from := target.remote()
		from.URL = server.URL + "/mallory/hello.git"
		want := Want{Commit: strings.Repeat("1", 40), Refs: []string{"refs/heads/main"}, From: &from}
		_, err := lease(t, newMirrors(t), target.remote()).ChangedFiles(t.Context(), want, head)
		if !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "the fork "+from.URL+" is gone or cannot be read; let this server read it, or push the branch to the repository itself") {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}
