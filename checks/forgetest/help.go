package forgetest

import (
	"regexp"
	"strings"
	"testing"
)

// CheckHelp fails a test of a command whose help does not name each action and each thing that there is, or names others. Ask
// does or gets, by its argument, what there is not, of which the answer names all that there is.
func CheckHelp(t *testing.T, help string, ask func(method string) string) {
	t.Helper()
	_, rest, _ := strings.Cut(help, "The actions, with their keys")
	actions, things, _ := strings.Cut(rest, "\nThe things:\n")
	word := regexp.MustCompile(`"([a-z-]+)"`)
	line := regexp.MustCompile(`(?m)^  ([a-z-]+)`)
	for method, text := range map[string]string{"do": actions, "get": things} {
		_, names, _ := strings.Cut(strings.ReplaceAll(ask(method), `\"`, `"`), "there are [")
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
