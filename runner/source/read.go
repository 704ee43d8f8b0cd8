package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"buildsmith/store"
)

// File is the text of a file of a commit, which is fetched if the mirror lacks it. Links are not followed. The error wraps
// ErrGone if the forge has the commit no longer, fs.ErrNotExist if the commit has no such file, ErrNoFile
// if it is none that can be read, and ErrTooLarge if it has more than max bytes.
func (l *Lease) File(ctx context.Context, want Want, name string, max int) ([]byte, error) {
	if !store.ValidHash(want.Commit) {
		return nil, fmt.Errorf("%q is no full hash of a commit", want.Commit)
	}
	name = path.Clean(name)
	if !filepath.IsLocal(name) || strings.Contains(name, "\x00") {
		return nil, fmt.Errorf("%q leads out of the source: %w", name, ErrNoFile)
	}
	if err := l.fetch(ctx, want); err != nil {
		return nil, err
	}
	out, err := l.mirrors.git.run(ctx, l.mirror.path, []string{"GIT_LITERAL_PATHSPECS=1"}, "ls-tree", "-z", "--full-tree", want.Commit, "--", name)
	if err != nil {
		return nil, fmt.Errorf("looking for %s in %s: %w", name, want.Commit, err)
	}
	entry, _, _ := strings.Cut(string(out), "\x00")
	about, _, _ := strings.Cut(entry, "\t")
	fields := strings.Fields(about) // mode, type, hash
	switch {
	case len(fields) != 3:
		return nil, fmt.Errorf("%s in %s: %w", name, want.Commit, fs.ErrNotExist)
	case fields[1] != "blob" || fields[0] == "120000":
		return nil, fmt.Errorf("%s in %s: %w", name, want.Commit, ErrNoFile)
	}
	text := &bounded{room: max}
	if err := l.mirrors.git.runTo(ctx, text, l.mirror.path, nil, "cat-file", "blob", fields[2]); err != nil {
		if text.full {
			err = ErrTooLarge
		}
		return nil, fmt.Errorf("reading %s in %s: %w", name, want.Commit, err)
	}
	return text.text, nil
}

// ChangedFiles are the names of the files that differ between the commit that base and the wanted one have in common, and the
// wanted one: both names of a file that was renamed. Commits that have none in common are compared with each other. Without a
// base, which zeros stand for as well, or if the forge has it no longer, it is the wanted commit's first parent; of a commit that
// has none, all files are new.
//
// The error wraps ErrGone if the forge has the wanted commit no longer, and ErrTooLarge if there are too many names: those that
// have room come with it.
func (l *Lease) ChangedFiles(ctx context.Context, want Want, base string) ([]string, error) {
	if !store.ValidHash(want.Commit) {
		return nil, fmt.Errorf("%q is no full hash of a commit", want.Commit)
	}
	if strings.Trim(base, "0") == "" {
		base = ""
	}
	if base != "" && !store.ValidHash(base) {
		return nil, fmt.Errorf("%q is no full hash of a commit", base)
	}
	if err := l.fetch(ctx, want); err != nil {
		return nil, err
	}
	if base != "" {
		switch err := l.fetch(ctx, Want{Commit: base}); {
		case errors.Is(err, ErrGone):
			base = ""
		case err != nil:
			return nil, err
		}
	}
	from, err := l.common(ctx, base, want.Commit)
	if err != nil {
		return nil, fmt.Errorf("comparing %s with %s: %w", want.Commit, base, err)
	}
	args := []string{"diff-tree", "-r", "-z", "--name-only", "--no-renames", "--end-of-options", from, want.Commit}
	if from == "" {
		args = []string{"ls-tree", "-r", "-z", "--name-only", "--full-tree", want.Commit}
	}
	names := &bounded{room: maxFileNames}
	err = l.mirrors.git.runTo(ctx, names, l.mirror.path, nil, args...)
	if names.full {
		err = ErrTooLarge
		names.text = names.text[:strings.LastIndexByte(string(names.text), 0)+1]
	}
	list := strings.FieldsFunc(string(names.text), func(r rune) bool { return r == 0 })
	if err != nil {
		return list, fmt.Errorf("comparing %s with %s: %w", want.Commit, from, err)
	}
	return list, nil
}

// common is the commit that two have in common, or base itself if they have none; without a base the head's first parent, empty
// if it has none.
func (l *Lease) common(ctx context.Context, base, head string) (string, error) {
	if base == "" {
		out, err := l.mirrors.git.run(ctx, l.mirror.path, nil, "rev-list", "--parents", "--max-count=1", "--end-of-options", head)
		if fields := strings.Fields(string(out)); err == nil && len(fields) > 1 {
			return fields[1], nil
		}
		return "", err
	}
	out, err := l.mirrors.git.run(ctx, l.mirror.path, nil, "merge-base", base, head)
	if exited := (*exec.ExitError)(nil); errors.As(err, &exited) && exited.ExitCode() == 1 && ctx.Err() == nil {
		return base, nil
	}
	return strings.TrimSpace(string(out)), err
}
