package store

import (
	"regexp"
	"strings"
)

var (
	fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	refName  = regexp.MustCompile(`^refs/[^\x00-\x20\x7f~^:?*\[\\]+$`)
)

var identifier = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// ValidVariable reports whether text is the name of an environment variable that is nobody's: CodeBuild reserves those that begin
// with CODEBUILD_.
func ValidVariable(text string) bool {
	return identifier.MatchString(text) && (text[0] < '0' || text[0] > '9') && !strings.HasPrefix(text, "CODEBUILD_")
}

// ValidIdentifier reports whether text can identify a source or an artifact: letters, digits and _, fewer than 128.
// https://docs.aws.amazon.com/codebuild/latest/APIReference/API_ProjectArtifacts.html
func ValidIdentifier(text string) bool { return identifier.MatchString(text) && len(text) < 128 }

// ValidHash reports whether text is the full hash of a commit.
func ValidHash(text string) bool { return fullHash.MatchString(text) }

// ValidRef reports whether text is the full name of a ref, by the rules of git check-ref-format.
func ValidRef(text string) bool {
	return refName.MatchString(text) && !strings.Contains(text, "..") && !strings.Contains(text, "@{") &&
		!strings.Contains(text, "//") && !strings.Contains(text, "/.") && !strings.HasSuffix(text, "/") &&
		!strings.HasSuffix(text, ".") && !strings.HasSuffix(text, ".lock") && !strings.Contains(text, ".lock/") && len(text) < 1000
}

// NamedRefs are the branch and the tag that a version may name, beside a commit by its hash: heads/<branch>, tags/<tag>.
func NamedRefs(version, commit string) []string {
	version = strings.TrimPrefix(version, "refs/")
	switch {
	case version == "" || !ValidRef("refs/heads/"+version) || strings.HasPrefix(commit, strings.ToLower(version)):
		return nil
	case strings.HasPrefix(version, "heads/"), strings.HasPrefix(version, "tags/"):
		return []string{version}
	}
	return []string{"heads/" + version, "tags/" + version}
}
