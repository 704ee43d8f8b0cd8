// Package local is what we say to and ask of the built-in forge: bare repositories on this machine.
//
// It keeps no reports of its own: what a forge was told is in the store, and the pages show it. Whoever may push there may
// do everything, so that everybody it knows of has write access.
package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"buildsmith/checks"
	"buildsmith/store"
)

// Name is the forge's name in the store.
const Name = "local"

// Forge asks the repositories below Dir.
type Forge struct {
	Dir string // of bare repositories: <Dir>/<name>.git
}

var _ checks.Publisher = Publisher{}

// Path is where a repository lies.
func (f Forge) Path(r store.Repo) string { return filepath.Join(f.Dir, r.ID+".git") }

// PullRequest implements webhook.Forge: there are none here.
func (f Forge) PullRequest(_ context.Context, r store.Repo, number int) (store.PullRequest, error) {
	return store.PullRequest{}, fmt.Errorf("pull request %d of %s: %w", number, r.Name, store.ErrNotFound)
}

// Permission implements webhook.Forge.
func (f Forge) Permission(context.Context, store.Repo, store.Account) (store.Permission, error) {
	return store.PermissionAdmin, nil
}

// Owns implements webhook.Forge: there are no forks here.
func (f Forge) Owns(context.Context, store.Repo, string, string) (bool, error) { return true, nil }

// Acknowledge implements webhook.Forge: there are no comments here.
func (f Forge) Acknowledge(context.Context, store.Repo, store.Comment, store.Reaction) error {
	return nil
}

// Commit implements webhook.Forge.
func (f Forge) Commit(ctx context.Context, r store.Repo, version string) (store.Commit, error) {
	for _, name := range candidates(version) {
		out, err := f.git(ctx, r, "rev-parse", "--quiet", "--verify", "--end-of-options", name+"^{commit}")
		hash := strings.TrimSpace(string(out))
		if err != nil && !f.absent(ctx, r, err) {
			return store.Commit{}, err
		}
		if err != nil || !store.ValidHash(hash) {
			continue
		}
		message, err := f.git(ctx, r, "log", "-1", "--format=%B", "--end-of-options", hash)
		if err != nil {
			return store.Commit{}, err
		}
		return store.Commit{Hash: hash, Message: strings.ToValidUTF8(string(message), "\uFFFD")}, nil
	}
	if _, err := os.Stat(f.Path(r)); err != nil {
		return store.Commit{}, fmt.Errorf("repository %s: %w", r.Name, store.ErrNotFound)
	}
	return store.Commit{}, fmt.Errorf("%q in %s: %w", version, r.Name, store.ErrNotFound)
}

// candidates are the names that a version may stand for, the likeliest first. Nothing but refs and hashes is among them.
func candidates(version string) []string {
	switch {
	case version == "":
		return []string{"HEAD"}
	case strings.HasPrefix(version, "refs/"):
		if store.ValidRef(version) {
			return []string{version}
		}
		return nil
	}
	var names []string
	for _, ref := range []string{"refs/heads/" + version, "refs/tags/" + version} {
		if store.ValidRef(ref) {
			names = append(names, ref)
		}
	}
	if len(version) >= 7 && len(version) <= 64 && strings.Trim(version, "0123456789abcdef") == "" {
		names = append(names, version)
	}
	return names
}

// FileID implements webhook.Forge.
func (f Forge) FileID(ctx context.Context, r store.Repo, commit, path string) (string, error) {
	if !store.ValidHash(commit) {
		return "", fmt.Errorf("%q is no full hash of a commit", commit)
	}
	if _, err := f.git(ctx, r, "cat-file", "-e", commit+"^{commit}"); err != nil && f.absent(ctx, r, err) {
		return "", fmt.Errorf("commit %s of %s: %w", commit, r.Name, store.ErrNotFound)
	} else if err != nil {
		return "", err
	}
	id, err := f.git(ctx, r, "rev-parse", "--quiet", "--verify", "--end-of-options", commit+":"+path)
	if err != nil && f.absent(ctx, r, err) {
		return "", nil
	}
	return strings.TrimSpace(string(id)), err
}

// absent reports whether an error of git's is git's word that something is not there: the statuses that it has for that, or
// a repository that is gone. A git that could not be started, was killed or had no more time has said nothing.
func (f Forge) absent(ctx context.Context, r store.Repo, err error) bool {
	if _, err := os.Stat(f.Path(r)); errors.Is(err, fs.ErrNotExist) {
		return true
	}
	var exit *exec.ExitError
	return ctx.Err() == nil && errors.As(err, &exit) && (exit.ExitCode() == 1 || exit.ExitCode() == 128)
}

func (f Forge) git(ctx context.Context, r store.Repo, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Dir = f.Path(r)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_DIR=" + f.Path(r)}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s in %s: %w: %.300s", args[0], r.Name, err, stderr.String())
	}
	return out, nil
}

// Publisher tells nobody: what the reporter records is what the pages show.
type Publisher struct{}

// Create implements checks.Publisher.
func (Publisher) Create(_ context.Context, _ store.Repo, report *checks.Report) (string, error) {
	return report.ExternalID, nil
}

// Update implements checks.Publisher.
func (Publisher) Update(context.Context, store.Repo, string, *checks.Report, *checks.Report) error {
	return nil
}

// Find implements checks.Publisher.
func (Publisher) Find(_ context.Context, _ store.Repo, report *checks.Report) (string, error) {
	return report.ExternalID, nil
}

// Has implements checks.Publisher: there is no place for anything but checks.
func (Publisher) Has(kind checks.Kind) bool { return kind == checks.KindCheck }

// Account implements checks.Publisher.
func (Publisher) Account(r store.Repo) string { return r.ID }

// Habits implements checks.Publisher: nobody minds.
func (Publisher) Habits() checks.Habits { return checks.Habits{} }
