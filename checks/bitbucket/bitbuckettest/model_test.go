package bitbuckettest

import (
	"testing"
)

func TestHostileNames(t *testing.T) {
	s := New(t, Options{})
	for _, name := range []string{"", "octo", "octo/", "/shop", "octo/a/b", "octo/..", "octo/a b", "octo/{x}"} {
		if _, err := s.AddRepo(name, RepoOptions{}); err == nil {
			t.Errorf("AddRepo(%q) made one", name)
		}
	}
	if _, err := s.AddRepo("octo/shop", RepoOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddRepo("Octo/Shop", RepoOptions{}); err == nil {
		t.Error("there are two of the same name")
	}
}
