package web

import (
	"path"
	"strconv"
	"strings"

	"buildsmith/store"
)

// Links are addresses at a forge, with {commit}, {number} and {path} where those of a commit, a pull request and a file belong; Line is
// what leads to a line of a file behind its address, with {line}. What does not begin with https is no link.
type Links struct{ Commit, Pull, File, Line string }

// links are those of a repository.
func (w *Web) links(r store.Repo) Links {
	if w.Links == nil {
		return Links{}
	}
	return w.Links(r)
}

func (l Links) commit(hash string) string { return fill(l.Commit, "{commit}", hash) }

func (l Links) pull(number int) string { return fill(l.Pull, "{number}", strconv.Itoa(number)) }

func (l Links) file(hash, name string) string {
	return fill(l.File, "{commit}", hash, "{path}", escapePath(path.Clean(name)))
}

func (l Links) line(hash, name string, line int) string {
	file := l.file(hash, name)
	if file == "" {
		return ""
	}
	return file + strings.ReplaceAll(l.Line, "{line}", strconv.Itoa(line))
}

func fill(address string, values ...string) string {
	if !strings.HasPrefix(address, "https://") {
		return ""
	}
	return strings.NewReplacer(values...).Replace(address)
}
