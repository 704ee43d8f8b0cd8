package store

import (
	"slices"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for ref, want := range map[string]bool{
		"refs/heads/main": true, "refs/heads/feature/ä-1": true, "refs/tags/v1.0": true, "refs/pull/1/head": true, "main": false,
		"refs/heads/a..b": false, "refs/heads/a b": false, "refs/heads/-x": true, "refs/heads/a.lock": false, "refs/heads/a~1": false,
		"refs/heads/": false, "refs/heads//a": false, "refs/heads/.a": false, "refs/heads/a@{1}": false, "refs/heads/a\n": false, "refs/heads/*": false,
		"refs/heads/" + strings.Repeat("a", 1000): false, "refs/heads/a.": false, "refs/heads/x.lock/y": false,
	} {
		if ValidRef(ref) != want {
			t.Errorf("ValidRef(%.50q) = %v", ref, !want)
		}
	}
	for hash, want := range map[string]bool{strings.Repeat("a", 40): true, strings.Repeat("0", 64): true, strings.Repeat("a", 41): false,
		"--upload-pack=x": false, "main": false, strings.Repeat("A", 40): false, strings.Repeat("a", 40) + "\n": false} {
		if ValidHash(hash) != want {
			t.Errorf("ValidHash(%q) = %v", hash, !want)
		}
	}
}

func TestNamedRefs(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef01234567"
	for version, want := range map[string][]string{
		"":                nil,
		"main":            {"heads/main", "tags/main"},
		"a/b":             {"heads/a/b", "tags/a/b"},
		"heads/main":      {"heads/main"},
		"refs/heads/main": {"heads/main"},
		"refs/tags/v1":    {"tags/v1"},
		"0123456":         nil, // the commit itself
		hash:              nil,
		"ABC":             {"heads/ABC", "tags/ABC"},
		"a..b":            nil,
	} {
		if got := NamedRefs(version, hash); !slices.Equal(got, want) {
			t.Errorf("NamedRefs(%q) = %q, want %q", version, got, want)
		}
	}
}
