package buildspec

import (
	"fmt"
	"strings"
)

// unknown says that key is none of known, and which it may stand for.
func unknown(key string, known []string) string {
	if near := nearest(key, known); near != "" && !strings.HasPrefix(key, "x-") { // which people write on purpose
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
		if len(key) > 2*len(word) {
			continue
		}
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

// shorten is a text of the file as a message can show it.
func shorten(text string) string {
	if r := []rune(text); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return text
}

// validName reports whether name can be that of an environment variable.
func validName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) && (name[0] < '0' || name[0] > '9')
}
