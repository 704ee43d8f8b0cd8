package webhook

import "testing"

// TestDefaultBranchIsKnown has a forge that tells the default branch once, and not with the pushes that follow.
func TestDefaultBranchIsKnown(t *testing.T) {
	d := newDesk(t)
	e := push("refs/heads/main", hash('a'), "x")
	e.Repo.DefaultBranch = "trunk"
	d.deliver(e)
	e = push("refs/heads/main", hash('b'), "x")
	e.Repo.DefaultBranch = ""
	d.deliver(e)
	builds := d.builds()
	if len(builds) != 2 {
		t.Fatalf("%d builds", len(builds))
	}
	for _, b := range builds {
		if b.Repo.DefaultBranch != "trunk" {
			t.Errorf("build %d is of a repository with the default branch %q", b.Number, b.Repo.DefaultBranch)
		}
	}
}
