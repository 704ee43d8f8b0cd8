package store

import (
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func ofRef(ref string) func(*Build) { return func(b *Build) { b.Trigger.HeadRef = ref } }

// latest is the number of the newest build of a ref of the project shop; 0 for none.
func latest(t *testing.T, s *Store, ref string) (number int) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		b, ok, err := tx.Latest(repo.Key()+"/shop", ref)
		if err != nil {
			t.Error(err)
		}
		if ok {
			number = b.Number
		}
		return nil
	})
	return number
}

func TestLatest(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	s := open(t, dir, Options{Now: c.Now})
	first := inProject(t, s, "shop", ofRef("refs/heads/main"))
	second := inProject(t, s, "shop", ofRef("refs/heads/main"))
	inProject(t, s, "shop", ofRef("refs/tags/main"))
	inProject(t, s, "shop", func(b *Build) { b.Trigger.HeadRef, b.Trigger.PullRequest = "refs/heads/main", 7 })
	inProject(t, s, "shop", func(b *Build) { b.Trigger.HeadRef, b.Trigger.Fork = "refs/heads/main", true })
	inProject(t, s, "shop", nil)
	inProject(t, s, "other", ofRef("refs/heads/main"))
	endBuild(t, s, second.ID)
	endBuild(t, s, first.ID) // which does not make it the newest
	check := func(when string) {
		t.Helper()
		for ref, want := range map[string]int{"refs/heads/main": 2, "refs/tags/main": 3, "refs/heads/dev": 0, "": 0} {
			if got := latest(t, s, ref); got != want {
				t.Errorf("%s: the newest build of %q is %d, want %d", when, ref, got, want)
			}
		}
	}
	check("at first")
	s.Close()
	// An older release had no such record.
	db, err := bbolt.Open(dir+"/buildsmith.db", 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketRepoNames); err != nil {
			return err
		}
		return tx.DeleteBucket(bucketLatest)
	}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	s = open(t, dir, Options{Now: c.Now})
	check("of an older release")
	view(t, s, func(tx *Tx) error {
		if state, ok, err := tx.RepoByName("github", "octo/shop"); !ok || err != nil || state.Repo != repo {
			t.Errorf("of an older release: %+v, %v, %v", state, ok, err)
		}
		return nil
	})
	c.advance(48 * time.Hour)
	must[Swept](t)(s.Sweep(Retention{Builds: time.Hour}))
	if got := latest(t, s, "refs/heads/main"); got != 0 {
		t.Errorf("build %d was removed and is the newest still", got)
	}
	if got := latest(t, s, "refs/tags/main"); got != 3 {
		t.Errorf("a build that is not over was forgotten: %d", got)
	}
}

func TestRepoByName(t *testing.T) {
	s, _ := newStore(t)
	known := func(name string) (id string) {
		view(t, s, func(tx *Tx) error {
			state, ok, err := tx.RepoByName("github", name)
			if ok {
				id = state.Repo.ID
			}
			return err
		})
		return id
	}
	remember := func(r Repo) {
		update(t, s, func(tx *Tx) error { _, err := tx.Repo(r); return err })
	}
	remember(repo)
	if known("octo/shop") != "7" || known("Octo/SHOP") != "7" || known("octo/other") != "" || known("") != "" {
		t.Error("a repository is not known by its name")
	}
	moved := repo
	moved.Name = "octo/store"
	remember(moved)
	if known("octo/shop") != "" || known("octo/store") != "7" {
		t.Error("a repository is known by the name that it had")
	}
	remember(Repo{Forge: "github", Host: "github.com", ID: "9", Name: "octo/shop"})
	if known("octo/shop") != "9" {
		t.Error("the name went to another repository")
	}
	update(t, s, func(tx *Tx) error { return tx.ChangeRepo(moved.Key(), func(state *RepoState) { state.Gone = true }) })
	if known("octo/store") != "" {
		t.Error("a repository that is gone is known by its name")
	}
}

func TestProjectsOf(t *testing.T) {
	s, _ := newStore(t)
	near := repo
	near.ID, near.Name = "77", "octo/near"
	update(t, s, func(tx *Tx) error {
		for _, p := range []struct {
			repo Repo
			name string
		}{{near, ""}, {near, "near"}, {repo, "deploy"}, {repo, ""}, {repo, "check"}} {
			if _, err := tx.Project(p.repo, p.name); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(tx *Tx) error {
		list := must[[]Project](t)(tx.ProjectsOf(repo, 10))
		if len(list) != 3 || list[0].Name != "octo-shop" || list[1].Name != "check" || list[2].Name != "deploy" {
			t.Errorf("%+v", list)
		}
		if list := must[[]Project](t)(tx.ProjectsOf(repo, 2)); len(list) != 2 {
			t.Errorf("%d projects where 2 were asked for", len(list))
		}
		return nil
	})
}

func TestBadgeKey(t *testing.T) {
	s, _ := newStore(t)
	update(t, s, func(tx *Tx) error { _, err := tx.Repo(repo); return err })
	key := func(r Repo) (k string) {
		view(t, s, func(tx *Tx) (err error) { k, err = tx.BadgeKey(r); return err })
		return k
	}
	first, other := key(repo), repo
	other.ID = "8"
	if len(first) != 24 || first == key(other) || first == must[string](t)(s.LinkKey(repo.Key(), repo)) {
		t.Errorf("the key %q is another's as well", first)
	}
	update(t, s, func(tx *Tx) error { return tx.RevokeLinks(repo.Key()) })
	if key(repo) == first {
		t.Error("a key that was revoked is worth something")
	}
}
