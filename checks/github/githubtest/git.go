package githubtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const zeroHash = "0000000000000000000000000000000000000000"

// git runs git in a bare repository, apart from all configuration of the machine.
func git(dir string, stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=GitHub", "GIT_AUTHOR_EMAIL=noreply@github.com", "GIT_COMMITTER_NAME=GitHub",
		"GIT_COMMITTER_EMAIL=noreply@github.com"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// hostConfig is how repositories behave at GitHub: any commit can be fetched by its hash, with a filter too, and the refs of
// pull requests cannot be pushed.
const hostConfig = `[http]
	receivepack = true
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
[receive]
	hideRefs = refs/pull
[gc]
	auto = 0
`

// initBare makes a bare repository, unless there is one.
func initBare(dir, branch string) error {
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := git(dir, nil, "init", "--quiet", "--bare", "--template=", "--initial-branch="+branch); err != nil {
		return err
	}
	return addConfig(dir)
}

func cloneBare(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if _, err := git(filepath.Dir(to), nil, "clone", "--quiet", "--bare", "--template=", from, to); err != nil {
		return err
	}
	return addConfig(to)
}

func addConfig(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(hostConfig)
	return errors.Join(err, f.Close())
}

// listRefs returns the branches and tags, and the hash each holds.
func listRefs(dir string) (map[string]string, error) {
	out, err := git(dir, nil, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		ref, hash, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[ref] = hash
	}
	return refs, nil
}

// rememberRefsLocked takes the refs of a repository as known to the app.
func (s *Server) rememberRefsLocked(r *repo) (err error) {
	r.refs, err = listRefs(s.repoDir(r))
	return err
}

// resolve returns the commit that a branch, a tag or a hash names, in any of the forms that GitHub takes.
func resolve(dir, ref string) (string, bool) {
	if ref == "" || strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, ":^~ \x00\n\\*?[") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") {
		return "", false
	}
	out, err := git(dir, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	return strings.TrimSpace(out), err == nil
}

func isHash(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

// A Change is what a commit does.
type Change struct {
	Message string            `json:"message"` // "Change"
	Files   map[string]string `json:"files"`   // path => content
	Remove  []string          `json:"remove"`
	Author  string            `json:"author"` // a login

	// Parent is the commit to build on; empty for the tip of the branch or, if that is new, of the default branch. With
	// another parent than the tip the branch is moved there, as a forced push does.
	Parent string `json:"parent"`
}

// Commit makes a commit on a branch, as if it had been pushed, and returns its hash. Nobody is told: Push does that.
func (s *Server) Commit(fullName, branch string, c Change) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return "", err
	}
	dir := s.repoDir(r)
	ref := "refs/heads/" + branch
	parent, ok := c.Parent, c.Parent != ""
	if !ok {
		if parent, ok = resolve(dir, ref); !ok {
			parent, ok = resolve(dir, "refs/heads/"+r.defaultBranch)
		}
	}
	if c.Message == "" {
		c.Message = "Change"
	}
	if c.Author == "" {
		c.Author = r.owner
	}
	who := fmt.Sprintf("%s <%s> %d +0000", c.Author, email(s.userLocked(c.Author)), s.now().Unix())
	var in strings.Builder
	fmt.Fprintf(&in, "commit %s\nmark :1\nauthor %s\ncommitter %s\ndata %d\n%s\n", ref, who, who, len(c.Message), c.Message)
	if ok {
		fmt.Fprintf(&in, "from %s\n", parent)
	}
	for _, path := range c.Remove {
		fmt.Fprintf(&in, "D %s\n", strconv.Quote(path))
	}
	for _, path := range slices.Sorted(maps.Keys(c.Files)) {
		fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", strconv.Quote(path), len(c.Files[path]), c.Files[path])
	}
	in.WriteString("\nget-mark :1\n")
	out, err := git(dir, []byte(in.String()), "fast-import", "--quiet", "--force")
	if err != nil {
		return "", fmt.Errorf("committing to %s of %s: %w", branch, fullName, err)
	}
	return strings.TrimSpace(out), nil
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

// A commit is what git knows about one.
type commit struct {
	sha, tree                string
	parents                  []string
	author, committer        signature
	message                  string
	added, modified, removed []string
}

type signature struct {
	name, email string
	at          time.Time
}

// logFormat starts each commit with a byte that names and messages do not hold, and ends each field with NUL.
const logFormat = "--format=%x1e%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00"

// readLog returns commits, with the files each changed against its first parent, in the order of git log.
func readLog(dir string, args ...string) ([]commit, error) {
	base := []string{"log", logFormat, "-z", "--name-status", "--no-renames", "--root", "--diff-merges=first-parent"}
	out, err := git(dir, nil, append(base, args...)...)
	if err != nil {
		return nil, err
	}
	var commits []commit
	for text := range strings.SplitSeq(out, "\x1e") {
		f := strings.Split(text, "\x00")
		if len(f) < 11 {
			continue
		}
		c := commit{sha: f[0], tree: f[1], parents: strings.Fields(f[2]), author: readSignature(f[3:6]), committer: readSignature(f[6:9]),
			message: strings.TrimRight(f[9], "\n")}
		for files := f[10:]; len(files) > 1; files = files[1:] {
			// What stands between the message and the files, and after a commit without any, is empty.
			status := strings.TrimSpace(files[0])
			if status == "" {
				continue
			}
			files = files[1:]
			switch status {
			case "A":
				c.added = append(c.added, files[0])
			case "D":
				c.removed = append(c.removed, files[0])
			default:
				c.modified = append(c.modified, files[0])
			}
		}
		commits = append(commits, c)
	}
	return commits, nil
}

func readSignature(f []string) signature {
	at, _ := time.Parse(time.RFC3339, f[2])
	return signature{name: f[0], email: f[1], at: at}
}

func readCommit(dir, sha string) (commit, error) {
	commits, err := readLog(dir, "-1", sha)
	if err != nil {
		return commit{}, err
	}
	if len(commits) != 1 {
		return commit{}, fmt.Errorf("git log of %s gave %d commits", sha, len(commits))
	}
	return commits[0], nil
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
