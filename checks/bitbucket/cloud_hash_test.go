package bitbucket_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"buildsmith/checks/bitbucket/bitbuckettest"
	"buildsmith/store"
)

// Two commits whose hashes begin with the same twelve digits: what anybody can make within seconds.
const (
	twinOne   = "43c6879a8641fac16c3e15d0233738be26eade88"
	twinOther = "43c6879a8641969f95f34ca8b233c518c5ee49df"
	twins     = "43c6879a8641"
)

// put puts some of the two commits into a repository, where no ref leads to them.
func (b *bench) put(repo string, commits ...string) {
	b.Helper()
	dir, err := b.hub.RepoDir(repo)
	b.must(err)
	write := func(kind, text string) string {
		cmd := exec.Command("git", "hash-object", "-w", "-t", kind, "--stdin")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(text)
		out, err := cmd.Output()
		b.must(err)
		return strings.TrimSpace(string(out))
	}
	tree := write("tree", "")
	const by = "S <s@example.org> 1700000000 +0000"
	for _, commit := range commits {
		nonce := map[string]int{twinOne: 17677146, twinOther: 18055481}[commit]
		if got := write("commit", fmt.Sprintf("tree %s\nauthor %s\ncommitter %s\n\ntwin %d\n", tree, by, by, nonce)); got != commit {
			b.Fatalf("commit %d is %s", nonce, got)
		}
	}
}

// TestCloudTwinOfFork has a stranger show one commit, and then another whose hash begins alike: what is approved is what the pull request
// has.
func TestCloudTwinOfFork(t *testing.T) {
	b := newBench(t, nil)
	fork := b.fork()
	b.put(fork, twinOne, twinOther)
	b.must(b.hub.SetRef(fork, "refs/heads/evil", twinOne))
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "stranger:evil", Base: "main", Title: "T", User: "stranger"})
	b.must(err)
	head := func(want string) {
		t.Helper()
		if pr, err := b.host.PullRequest(t.Context(), b.repo, number); err != nil || pr.Head != want || pr.HeadName != fork {
			t.Errorf("%+v %v, want the head %s", pr, err, want)
		}
	}
	head(twinOne)
	if _, err := b.host.Look(t.Context(), b.repo); err != nil {
		t.Error(err)
	}
	b.must(b.hub.SetRef(fork, "refs/heads/evil", twinOther))
	_, err = b.hub.SynchronizePullRequest("octo/shop", number)
	b.must(err)
	head(twinOther)
}

// TestCloudTwinOfOurs has a stranger's commit whose hash begins like one that is said to be the repository's own, of which the repository
// knows nothing any more: it is not taken for that.
func TestCloudTwinOfOurs(t *testing.T) {
	b := newBench(t, nil)
	fork := b.fork()
	b.put(fork, twinOther)
	b.must(b.hub.SetRef(fork, "refs/heads/evil", twinOther))
	_, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "stranger:evil", Base: "main", Title: "T", User: "stranger"})
	b.must(err)
	for _, ref := range []string{"refs/heads/main", "refs/heads/gone", ""} {
		pr := store.PullRequest{Number: 9, Head: twins, HeadRef: ref, HeadRepo: b.repo.ID}
		if err := b.host.Complete(t.Context(), b.repo, &pr); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), "no branch or tag of octo/shop is known to lead to commit "+twinOther) {
			t.Errorf("the head, of %q: %+v %v", ref, pr, err)
		}
		pr = store.PullRequest{Number: 9, Head: b.sha[:12], HeadRef: "refs/heads/main", HeadRepo: b.repo.ID, Base: twins, BaseRef: ref, Merged: twins}
		if err := b.host.Complete(t.Context(), b.repo, &pr); err != nil || pr.Head != b.sha || pr.Base != "" || pr.Merged != "" {
			t.Errorf("the base and the merge, of %q: %+v %v", ref, pr, err)
		}
	}
	// What was merged without a merge commit is the repository's own now, and the branch says which of the two it is.
	b.put("octo/shop", twinOne)
	b.must(b.hub.SetRef("octo/shop", "refs/heads/main", twinOne))
	pr := store.PullRequest{Number: 9, Head: b.sha, HeadRepo: b.repo.ID, BaseRef: "refs/heads/main", Merged: twins}
	if err := b.host.Complete(t.Context(), b.repo, &pr); err != nil || pr.Merged != twinOne {
		t.Errorf("%+v %v", pr, err)
	}
}

// TestCloudMergedBranchIsGone has a pull request that was merged as another commit, and its branch deleted: what it was merged as is known
// all the same.
func TestCloudMergedBranchIsGone(t *testing.T) {
	b := newBench(t, nil)
	head := b.commit("octo/shop", "feature", "Feature", map[string]string{"f": "1"})
	number, _, err := b.hub.OpenPullRequest("octo/shop", bitbuckettest.PullRequest{Head: "feature", Base: "main", Title: "T", User: "dev"})
	b.must(err)
	squashed := b.commit("octo/shop", "squashed", "Squashed", map[string]string{"f": "1"})
	_, err = b.hub.ClosePullRequest("octo/shop", number, true)
	b.must(err)
	b.must(b.hub.SetRef("octo/shop", "refs/heads/main", squashed))
	b.must(b.hub.SetRef("octo/shop", "refs/heads/feature", ""))
	pr := store.PullRequest{Number: number, Head: head[:12], HeadRef: "refs/heads/feature", HeadRepo: b.repo.ID, BaseRef: "refs/heads/main", Base: b.sha[:12], Merged: squashed[:12]}
	if err := b.host.Complete(t.Context(), b.repo, &pr); !errors.Is(err, store.ErrNotFound) || pr.Merged != squashed || pr.Base != b.sha {
		t.Errorf("%+v %v", pr, err)
	}
	if got, err := b.host.PullRequest(t.Context(), b.repo, number); err != nil || got.Open || got.Head != "" {
		t.Errorf("%+v %v", got, err)
	}
}
