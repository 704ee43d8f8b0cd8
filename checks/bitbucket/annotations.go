package bitbucket

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"buildsmith/checks"
)

// maxAnnotated is how many annotations a report has at most, and unspoken what one says that says nothing.
const (
	maxAnnotated = 1000
	unspoken     = "See the page behind this report"
)

// annotationIDs gives annotations ids of their own: the same for the same ones, and no two alike.
func annotationIDs(list []checks.Annotation) []string {
	ids := make([]string, len(list))
	seen := map[string]int{}
	for n, a := range list {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s", a.Path, a.Line, a.Title, a.Message))
		id := hex.EncodeToString(sum[:12])
		seen[id]++
		ids[n] = fmt.Sprintf("%s-%d", id, seen[id])
	}
	return ids
}

// gravity is what Bitbucket calls an annotation of a level: its type, and its severity.
func gravity(level string) (kind, severity string) {
	switch level {
	case checks.LevelFailure:
		return "BUG", "HIGH"
	case checks.LevelWarning:
		return "CODE_SMELL", "MEDIUM"
	}
	return "CODE_SMELL", "LOW"
}
