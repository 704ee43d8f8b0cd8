package forgetest

import (
	"fmt"
	"strings"
	"time"
)

// A Commit is what git knows about one, with the files that it changed against its first parent.
type Commit struct {
	SHA, Tree                string
	Parents                  []string
	Author, Committer        Signature
	Message                  string
	Added, Modified, Removed []string
}

// A Signature is who did something, and when.
type Signature struct {
	Name, Email string
	At          time.Time
}

// logFormat starts each commit with a byte that names and messages do not hold, and ends each field with NUL.
const logFormat = "--format=%x1e%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00"

// Log returns commits in the order of git log, which takes the arguments.
func Log(dir string, args ...string) ([]Commit, error) {
	base := []string{"log", logFormat, "-z", "--name-status", "--no-renames", "--root", "--diff-merges=first-parent"}
	out, err := Host{}.Git(dir, nil, append(base, args...)...)
	if err != nil {
		return nil, err
	}
	var commits []Commit
	for text := range strings.SplitSeq(out, "\x1e") {
		f := strings.Split(text, "\x00")
		if len(f) < 11 {
			continue
		}
		c := Commit{SHA: f[0], Tree: f[1], Parents: strings.Fields(f[2]), Author: readSignature(f[3:6]), Committer: readSignature(f[6:9]),
			Message: strings.TrimRight(f[9], "\n")}
		for files := f[10:]; len(files) > 1; files = files[1:] {
			// What stands between the message and the files, and after a commit without any, is empty.
			status := strings.TrimSpace(files[0])
			if status == "" {
				continue
			}
			files = files[1:]
			switch status {
			case "A":
				c.Added = append(c.Added, files[0])
			case "D":
				c.Removed = append(c.Removed, files[0])
			default:
				c.Modified = append(c.Modified, files[0])
			}
		}
		commits = append(commits, c)
	}
	return commits, nil
}

func readSignature(f []string) Signature {
	at, _ := time.Parse(time.RFC3339, f[2])
	return Signature{Name: f[0], Email: f[1], At: at}
}

// ReadCommit returns one commit.
func ReadCommit(dir, sha string) (Commit, error) {
	commits, err := Log(dir, "-1", sha)
	if err != nil {
		return Commit{}, err
	}
	if len(commits) != 1 {
		return Commit{}, fmt.Errorf("git log of %s gave %d commits", sha, len(commits))
	}
	return commits[0], nil
}
