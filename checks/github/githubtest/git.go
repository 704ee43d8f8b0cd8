package githubtest

import (
	"fmt"
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

// host is how GitHub keeps repositories.
var host = forgetest.Host{Name: "GitHub", Email: "noreply@github.com", Hidden: "refs/pull"}

// git runs git in a bare repository, apart from all configuration of the machine.
func git(dir string, stdin []byte, args ...string) (string, error) {
	return host.Git(dir, stdin, args...)
}

// rememberRefsLocked takes the refs of a repository as known to the app.
func (s *Server) rememberRefsLocked(r *repo) (err error) {
	r.refs, err = forgetest.Refs(s.repoDir(r))
	return err
}

// A Change is what a commit does.
type Change = forgetest.Change

// Commit makes a commit on a branch, as if it had been pushed, and returns its hash. Nobody is told: Push does that.
func (s *Server) Commit(fullName, branch string, c Change) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return "", err
	}
	if c.Author == "" {
		c.Author = r.owner
	}
	sha, err := host.Commit(s.repoDir(r), branch, r.defaultBranch, c, fmt.Sprintf("%s <%s>", c.Author, email(s.userLocked(c.Author))), s.now())
	if err != nil {
		return "", fmt.Errorf("in %s: %w", fullName, err)
	}
	return sha, nil
}

// SetRef lets a branch or a tag point to a commit or a tag object; an empty hash removes it. Nobody is told: Push does
// that.
func (s *Server) SetRef(fullName, ref, hash string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return err
	}
	if hash == "" {
		_, err = git(s.repoDir(r), nil, "update-ref", "-d", ref)
	} else {
		_, err = git(s.repoDir(r), nil, "update-ref", ref, hash)
	}
	return err
}

// A fileDiff is what changed in one file.
type fileDiff struct {
	path, previous       string
	status               string // in GitHub's words
	blob                 string
	additions, deletions int
}

// readDiff compares two trees. An empty base stands for the empty tree.
func readDiff(dir, base, head string) ([]fileDiff, error) {
	if base == "" {
		base = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	}
	out, err := git(dir, nil, "diff", "--raw", "--numstat", "-z", "-M", "--no-abbrev", base, head)
	if err != nil {
		return nil, err
	}
	// Raw entries, ":modes hashes status NUL path NUL" with a second path after a rename, are followed by as many entries
	// "added TAB deleted TAB path NUL", where a rename has no path but "NUL old NUL new NUL".
	words := map[byte]string{'A': "added", 'D': "removed", 'M': "modified", 'R': "renamed", 'C': "copied", 'T': "changed"}
	f := strings.Split(out, "\x00")
	var files []fileDiff
	for len(f) > 1 && strings.HasPrefix(f[0], ":") {
		raw := strings.Fields(f[0])
		d := fileDiff{status: words[raw[4][0]], blob: raw[3], path: f[1]}
		if d.status == "removed" {
			d.blob = raw[2]
		}
		f = f[2:]
		if d.status == "renamed" || d.status == "copied" {
			d.previous, d.path, f = d.path, f[0], f[1:]
		}
		files = append(files, d)
	}
	for i := range files {
		counts := strings.SplitN(f[0], "\t", 3)
		files[i].additions, _ = strconv.Atoi(counts[0]) // "-" for a binary file
		files[i].deletions, _ = strconv.Atoi(counts[1])
		f = f[1:]
		if files[i].previous != "" {
			f = f[2:]
		}
	}
	return files, nil
}
