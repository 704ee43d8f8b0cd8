package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"buildsmith/store"
)

// aBucket gives a Bitbucket of a kind that nobody asks anything.
func aBucket(t *testing.T, kind string) *bucket {
	t.Helper()
	c, _, err := load(t, "url: https://ci.example.org\nforges: {bitbucket: [{url: https://git.example.org/ctx, kind: "+kind+", credentials: [{repositories: [acme/shop], token: {file: DIR/secret}}]}]}\n")
	if err != nil {
		t.Fatal(err)
	}
	list, err := openBuckets(c, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// TestBucketFetches says where the commits of pull requests come from: a fork's from the fork at Cloud, and from the repository itself at a
// Data Center, or where the fork cannot be read.
func TestBucketFetches(t *testing.T) {
	repo := store.Repo{Forge: "bitbucket", Host: "git.example.org", ID: "7", Name: "acme/shop"}
	for _, tt := range []struct {
		kind    string
		trigger store.Trigger
		refs    []string
		from    string
	}{
		{kindCloud, store.Trigger{}, nil, ""},
		{kindCloud, store.Trigger{PullRequest: 3, HeadRef: "refs/heads/topic"}, nil, ""},
		{kindCloud, store.Trigger{PullRequest: 3, HeadRef: "refs/heads/topic", HeadName: "acme/shop"}, nil, ""},
		{kindCloud, store.Trigger{PullRequest: 3, HeadRef: "refs/heads/topic", HeadName: "eve/shop"}, []string{"refs/heads/topic"}, "https://git.example.org/ctx/eve/shop.git"},
		{kindDataCenter, store.Trigger{}, nil, ""},
		{kindDataCenter, store.Trigger{PullRequest: 3, HeadRef: "refs/heads/topic"}, []string{"refs/pull-requests/3/from"}, ""},
	} {
		tt.trigger.Commit = strings.Repeat("a", 40)
		remote, want := aBucket(t, tt.kind).where(repo, &tt.trigger)
		from := ""
		if want.From != nil {
			from = want.From.URL
		}
		if want.Commit != tt.trigger.Commit || !reflect.DeepEqual(want.Refs, tt.refs) || from != tt.from || !strings.HasSuffix(remote.URL, "/acme/shop.git") {
			t.Errorf("%s %+v: %s, %+v from %q", tt.kind, tt.trigger, remote.URL, want, from)
		}
	}
}

// TestBucketGivesBuildsNothing has no credential of a Bitbucket reach a build.
func TestBucketGivesBuildsNothing(t *testing.T) {
	for _, kind := range []string{kindCloud, kindDataCenter} {
		c, revoke, err := aBucket(t, kind).credential(t.Context(), store.Repo{Forge: "bitbucket", ID: "7", Name: "acme/shop"})
		if c != nil || revoke != nil || err != nil {
			t.Errorf("%s: %+v, %v", kind, c, err)
		}
	}
}

// TestCredentialsOfOtherRepositories configures another repository beside the one that a credential is for, which makes it another credential:
// what was built by the former is told by this one. A credential for something else takes nothing over.
func TestCredentialsOfOtherRepositories(t *testing.T) {
	b := aBucket(t, kindCloud)
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var repos []store.Repo
	for n, name := range []string{"acme/shop", "labs/shop"} {
		repos = append(repos, store.Repo{Forge: "bitbucket", Host: "git.example.org", ID: string(rune('1' + n)), Name: name, Installation: 7})
	}
	repos = append(repos, store.Repo{Forge: "another", Host: "git.example.org", ID: "3", Name: "acme/shop", Installation: 7})
	if err := s.Update(func(tx *store.Tx) error {
		for _, r := range repos {
			if _, err := tx.Repo(r); err != nil {
				return err
			}
			if _, err := tx.Project(r, ""); err != nil {
				return err
			}
		}
		if err := tx.ChangeInstallation("bitbucket", "git.example.org", 7, func(i *store.Installation) { i.Account = "acme/shop" }); err != nil {
			return err
		}
		return b.keepCredentials(tx)
	}); err != nil {
		t.Fatal(err)
	}
	now := b.host.Installation("acme/shop")
	for n, want := range []int64{now, 7, 7} {
		if err := s.View(func(tx *store.Tx) error {
			state, err := tx.RepoState(repos[n].Key())
			if err != nil {
				return err
			}
			projects, err := tx.ProjectsOf(repos[n], 10)
			if state.Repo.Installation != want || len(projects) != 1 || projects[0].Repo.Installation != want {
				t.Errorf("%s at %s is reached by %d, want %d; projects %+v", repos[n].Name, repos[n].Forge, state.Repo.Installation, want, projects)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.View(func(tx *store.Tx) error {
		former, _, err := tx.Installation("bitbucket", "git.example.org", 7)
		there, ok, thereErr := tx.Installation("bitbucket", "git.example.org", now)
		if !former.Removed || !ok || there.Removed {
			t.Errorf("%+v, %+v", former, there)
		}
		return errors.Join(err, thereErr)
	}); err != nil {
		t.Fatal(err)
	}
}
