package forgetest

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

// ZeroHash stands for a ref that is not there.
const ZeroHash = "0000000000000000000000000000000000000000"

// A Host is how a forge keeps its repositories.
type Host struct {
	Name, Email string // of what the forge commits by itself, such as merges
	Hidden      string // the refs that cannot be pushed, such as refs/pull
}

// Git runs git in a bare repository, apart from all configuration of the machine.
func (h Host) Git(dir string, stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=" + h.Name, "GIT_AUTHOR_EMAIL=" + h.Email, "GIT_COMMITTER_NAME=" + h.Name,
		"GIT_COMMITTER_EMAIL=" + h.Email}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// config is how repositories behave at a forge: any commit can be fetched by its hash, with a filter too, and the refs of
// pull requests cannot be pushed.
func (h Host) config() string {
	return `[http]
	receivepack = true
[uploadpack]
	allowAnySHA1InWant = true
	allowFilter = true
[receive]
	hideRefs = ` + h.Hidden + `
[gc]
	auto = 0
`
}

// Init makes a bare repository, unless there is one.
func (h Host) Init(dir, branch string) error {
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if _, err := h.Git(dir, nil, "init", "--quiet", "--bare", "--template=", "--initial-branch="+branch); err != nil {
		return err
	}
	return h.addConfig(dir)
}

// Clone makes a bare repository with all that another one has.
func (h Host) Clone(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if _, err := h.Git(filepath.Dir(to), nil, "clone", "--quiet", "--bare", "--template=", from, to); err != nil {
		return err
	}
	return h.addConfig(to)
}

func (h Host) addConfig(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(h.config())
	return errors.Join(err, f.Close())
}

// A Change is what a commit does.
type Change struct {
	Message string            `json:"message"` // "Change"
	Files   map[string]string `json:"files"`   // path => content
	Remove  []string          `json:"remove"`
	Author  string            `json:"author"` // its name at the forge

	// Parent is the commit to build on; empty for the tip of the branch or, if that is new, of the default branch. With
	// another parent than the tip the branch is moved there, as a forced push does.
	Parent string `json:"parent"`
}

// Commit makes a commit on a branch, as if it had been pushed, and returns its hash. Without a parent a new branch starts at
// the tip of the branch otherwise, if there is that. The author is named by his address, as in "Mona <mona@example.org>".
func (h Host) Commit(dir, branch, otherwise string, c Change, who string, at time.Time) (string, error) {
	ref := "refs/heads/" + branch
	parent, ok := c.Parent, c.Parent != ""
	if !ok {
		if parent, ok = Resolve(dir, ref); !ok {
			parent, ok = Resolve(dir, "refs/heads/"+otherwise)
		}
	}
	if c.Message == "" {
		c.Message = "Change"
	}
	who = fmt.Sprintf("%s %d +0000", who, at.Unix())
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
	out, err := h.Git(dir, []byte(in.String()), "fast-import", "--quiet", "--force")
	if err != nil {
		return "", fmt.Errorf("committing to %s: %w", branch, err)
	}
	return strings.TrimSpace(out), nil
}
