package store

import (
	"regexp"
	"strings"
)

var (
	fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	refName  = regexp.MustCompile(`^refs/[^\x00-\x20\x7f~^:?*\[\\]+$`)
)

// ValidHash reports whether text is the full hash of a commit.
func ValidHash(text string) bool { return fullHash.MatchString(text) }

// ValidRef reports whether text is the full name of a ref, by the rules of git check-ref-format.
func ValidRef(text string) bool {
	return refName.MatchString(text) && !strings.Contains(text, "..") && !strings.Contains(text, "@{") &&
		!strings.Contains(text, "//") && !strings.Contains(text, "/.") && !strings.HasSuffix(text, "/") &&
		!strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ".lock") && !strings.Contains(text, ".lock/") && len(text) < 1000
}
