package main

import (
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
