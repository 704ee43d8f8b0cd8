package store

import (
	"bytes"
	"fmt"
	"strings"
)

// PullLine is the line of a pull request's builds: see OpenBuilds.
func PullLine(number int) string { return fmt.Sprintf("pr/%d", number) }

// lines are what newer builds may make a build worthless by: its pull request, and its branch or tag in the repository itself.
func (b *Build) lines() (lines []string) {
	t := &b.Trigger
	if t.PullRequest > 0 {
		lines = append(lines, PullLine(t.PullRequest))
	}
	if !t.Fork && strings.HasPrefix(t.HeadRef, "refs/") {
		lines = append(lines, t.HeadRef)
	}
	return lines
}

func lineKey(r Repo, line string) []byte { return []byte(r.Key() + "\x00" + line + "\x00") }

// setOpen puts a build that is not over where those of its lines are found, and takes out one that is.
func (tx *Tx) setOpen(b *Build) error {
	for _, line := range b.lines() {
		key := append(lineKey(b.Repo, line), number(b.Seq)...)
		var err error
		if b.Done() {
			err = tx.bucket(bucketOpen).Delete(key)
		} else {
			err = tx.bucket(bucketOpen).Put(key, []byte(b.ID))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenBuilds are the builds of a repository that are not over, of one line, oldest first: those of a pull request (PullLine), or those
// of a branch or tag of the repository itself, by the full name of the ref.
func (tx *Tx) OpenBuilds(r Repo, line string) (list []Build, err error) {
	prefix := lineKey(r, line)
	c := tx.bucket(bucketOpen).Cursor()
	for key, id := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, id = c.Next() {
		b, err := tx.Build(string(id))
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}
