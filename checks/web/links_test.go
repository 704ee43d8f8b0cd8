package web

import (
	"testing"

	"buildsmith/store"
)

// links are those of a forge that shows what it has below the address of a repository.
func links(r store.Repo) Links {
	if r.WebURL == "" {
		return Links{}
	}
	return Links{Commit: r.WebURL + "/commit/{commit}", Pull: r.WebURL + "/pull/{number}", File: r.WebURL + "/blob/{commit}/{path}", Line: "#L{line}"}
}

func TestLinks(t *testing.T) {
	l := links(publicRepo)
	for got, want := range map[string]string{
		l.commit("abc"):                    "https://github.com/octo/docs/commit/abc",
		l.pull(12):                         "https://github.com/octo/docs/pull/12",
		l.file("abc", "./a b/{x}"):         "https://github.com/octo/docs/blob/abc/a%20b/%7Bx%7D",
		l.line("abc", "a/b", 7):            "https://github.com/octo/docs/blob/abc/a/b#L7",
		links(localRepo).commit("a"):       "",
		links(localRepo).line("a", "b", 1): "",
		(Links{Commit: "javascript:{commit}"}).commit("alert(1)"): "",
		(Links{Commit: "http://forge/{commit}"}).commit("a"):      "",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
