package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noAnchor   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchorsOf are what the headings of a document can be linked by.
func anchorsOf(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, m := range docHeading.FindAllStringSubmatch(text, -1) {
		anchors[strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return anchors
}

// TestDocsLinks follows every link of the documents to another file of the tree, or to a heading.
func TestDocsLinks(t *testing.T) {
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	followed := 0
	for _, file := range append(paths, "../../README.md") {
		name := strings.TrimPrefix(filepath.ToSlash(file), "../../")
		for _, m := range docLink.FindAllStringSubmatch(document(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to, anchor, _ := strings.Cut(m[1], "#")
			if to == "" {
				to = path.Base(name)
			}
			to = path.Join(path.Dir(name), to)
			if _, err := os.Stat("../../" + to); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			} else if anchor != "" && !anchorsOf(document(t, to))[anchor] {
				t.Errorf("%s links to %s, and %s has no such heading", name, m[1], to)
			}
			followed++
		}
	}
	if followed < 30 {
		t.Errorf("%d links", followed)
	}
}
