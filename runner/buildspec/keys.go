package buildspec

import (
	"fmt"
	"slices"
	"strings"
)

// The keys of each block. What is not in its block's list is unknown.
var (
	topKeys   = []string{"version", "run-as", "env", "proxy", "batch", "phases", "reports", "artifacts", "cache"}
	envKeys   = []string{"shell", "variables", "parameter-store", "secrets-manager", "exported-variables", "git-credential-helper"}
	proxyKeys = []string{"upload-artifacts", "logs"}
	phaseKeys = []string{"run-as", "on-failure", "commands", "finally"}

	artifactKeys = []string{"files", "name", "discard-paths", "base-directory", "exclude-paths", "enable-symlinks", "s3-prefix",
		"secondary-artifacts", "type"}
	reportKeys = []string{"files", "file-format", "base-directory", "discard-paths"}
	cacheKeys  = []string{"paths", "key", "fallback-keys", "action"}
)

// phaseNames maps the names of a file to those of a build, in the order in which phases run.
var phaseNames = []struct{ key, phase string }{
	{"install", Install}, {"pre_build", PreBuild}, {"build", Build}, {"post_build", PostBuild},
}

// reportFormats are the formats of test and coverage reports. LCOV is an extension: AWS's coverage page names it, its
// list of values does not.
var reportFormats = []string{"JUNITXML", "CUCUMBERJSON", "NUNITXML", "NUNIT3XML", "TESTNGXML", "VISUALSTUDIOTRX",
	"CLOVERXML", "COBERTURAXML", "JACOCOXML", "SIMPLECOV", "LCOV", "LCOVINFO"}

var shells = []string{"sh", "/bin/sh", "bash", "/bin/bash"}

// unknown says that key is none of known, and which it may stand for.
func unknown(key string, known []string) string {
	if near := nearest(key, known); near != "" {
		return fmt.Sprintf("unknown key, ignored; did you mean %s?", near)
	}
	return fmt.Sprintf("unknown key, ignored; known here: %s", strings.Join(known, ", "))
}

// nearest is the known word that key was most likely meant to be, or empty if none is near.
func nearest(key string, known []string) string {
	plain := func(s string) string {
		return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
	}
	best, least := "", 3
	for _, word := range known {
		d := distance(plain(key), plain(word))
		if d < least && d < len(word)-1 {
			best, least = word, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of neighbours between a and b.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	older := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		older, before, row = before, row, older
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// validName reports whether name can be that of an environment variable.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) && (name[0] < '0' || name[0] > '9')
}

func isPhase(key string) bool {
	return slices.ContainsFunc(phaseNames, func(n struct{ key, phase string }) bool { return n.key == key })
}
