package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestHelpNamesAll checks that the help names each action and each thing that there is, and none besides.
func TestHelpNamesAll(t *testing.T) {
	address, _, _ := start(t, t.TempDir())
	_, rest, _ := strings.Cut(help, "The actions, with their keys")
	actions, things, _ := strings.Cut(rest, "\nThe things:\n")
	word := regexp.MustCompile(`"([a-z-]+)"`)
	line := regexp.MustCompile(`(?m)^  ([a-z-]+)`)
	for method, text := range map[string]string{"do": actions, "get": things} {
		// Asked for what there is not, it names all that there is.
		_, names, _ := strings.Cut(strings.ReplaceAll(call(t, 1, method, "-at", address, "nonsense"), `\"`, `"`), "there are [")
		there := map[string]bool{}
		for _, m := range word.FindAllStringSubmatch(names, -1) {
			there[m[1]] = true
		}
		if len(there) < 10 {
			t.Fatalf("%s: %q", method, names)
		}
		for _, m := range line.FindAllStringSubmatch(text, -1) {
			if !there[m[1]] {
				t.Errorf("the help names %s %s, which is not there", method, m[1])
			}
			delete(there, m[1])
		}
		for name := range there {
			t.Errorf("the help does not name %s %s", method, name)
		}
	}
}
