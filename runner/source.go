package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"buildsmith/runner/agent"
	"buildsmith/runner/source"
	"buildsmith/store"
)

// A Source brings what is to be built into sandboxes.
type Source interface {
	// Open is called before the sandbox is started.
	Open(ctx context.Context, b *store.Build) (Tree, error)
}

// A Tree is the source of one build.
type Tree interface {
	// Objects is a directory to mount at agent.ObjectsDir. It stays until Close.
	Objects() string
	// Mounted is a directory that stands in place of a checkout; empty for none. What the build writes stays there.
	Mounted() string
	// Checkout fills dir, which is missing or empty. An error that wraps source.ErrGone is the author's failure.
	Checkout(ctx context.Context, dir string) error
	// Files are the names of the files of the source, relative and slash-separated; nil if they cannot be told.
	Files(ctx context.Context) ([]string, error)
	// File is the text of a file of another commit of the repository. The error wraps source.ErrGone if there is no such
	// commit, fs.ErrNotExist if it has no such file, source.ErrNoFile if that is
	// none that can be read, and source.ErrTooLarge if it has more than max bytes.
	File(ctx context.Context, commit, name string, max int) ([]byte, error)
	Close()
}

// GitSource checks commits out by way of mirrors.
type GitSource struct {
	Mirrors *source.Mirrors
	// Where gives where a repository's commits come from, and how the commit of a trigger is wanted there.
	Where func(store.Repo, *store.Trigger) (source.Remote, source.Want, error)
}

// Open implements Source.
func (g GitSource) Open(ctx context.Context, b *store.Build) (Tree, error) {
	lease, want, err := g.lease(ctx, b.Repo, &b.Trigger)
	if err != nil {
		return nil, err
	}
	return gitTree{lease, want}, nil
}

func (g GitSource) lease(ctx context.Context, r store.Repo, t *store.Trigger) (*source.Lease, source.Want, error) {
	remote, want, err := g.Where(r, t)
	if err != nil {
		return nil, want, err
	}
	lease, err := g.Mirrors.Lease(ctx, remote)
	return lease, want, err
}

// ChangedFiles are the names of the files that the commit of a trigger changes: see source.Lease.ChangedFiles.
func (g GitSource) ChangedFiles(ctx context.Context, r store.Repo, t *store.Trigger, base string) ([]string, error) {
	lease, want, err := g.lease(ctx, r, t)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	return lease.ChangedFiles(ctx, want, base)
}

type gitTree struct {
	lease *source.Lease
	want  source.Want
}

func (t gitTree) Objects() string { return t.lease.Objects }

func (t gitTree) Checkout(ctx context.Context, dir string) error {
	return t.lease.Checkout(ctx, t.want, dir, agent.ObjectsDir)
}

func (t gitTree) Files(ctx context.Context) ([]string, error) {
	return t.lease.Files(ctx, t.want.Commit)
}

func (t gitTree) File(ctx context.Context, commit, name string, max int) ([]byte, error) {
	return t.lease.File(ctx, source.Want{Commit: commit}, name, max)
}

func (t gitTree) Close()          { t.lease.Release() }
func (t gitTree) Mounted() string { return "" }

// DirSource copies a directory, with its .git and whatever else lies in it.
type DirSource struct {
	Dir       string
	Secondary map[string]string // further directories by the identifiers of their sources, copied to SecondaryDir
	Mount     bool              // builds work in Dir itself
	Scratch   string            // where an empty directory can be made
}

// SecondaryDir is where a build finds a secondary source.
func SecondaryDir(id string) string { return path.Join(agent.SourceDir, "src_"+id) }

// Open implements Source.
func (d DirSource) Open(context.Context, *store.Build) (Tree, error) {
	empty := filepath.Join(d.Scratch, "empty")
	return dirTree{d, empty}, os.MkdirAll(empty, 0o755)
}

type dirTree struct {
	DirSource
	empty string
}

func (t dirTree) Objects() string { return t.empty }
func (t dirTree) Close()          {}

// File knows of one commit only, which has no hash.
func (t dirTree) File(_ context.Context, commit, _ string, _ int) ([]byte, error) {
	return nil, fmt.Errorf("commit %s: a directory has no other commits: %w", commit, source.ErrGone)
}

func (t dirTree) Mounted() string {
	if t.Mount {
		return t.Dir
	}
	return ""
}

func (t dirTree) Files(ctx context.Context) ([]string, error) {
	var names []string
	err := filepath.WalkDir(t.Dir, func(name string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil || len(names) > maxListed {
			return fs.SkipAll
		}
		if err == nil && e.Name() == ".git" && e.IsDir() {
			return fs.SkipDir
		}
		if err == nil && e.Type().IsRegular() {
			if rel, err := filepath.Rel(t.Dir, name); err == nil {
				names = append(names, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	if len(names) > maxListed {
		return nil, err
	}
	return names, err
}

// maxListed is how many files of a directory are listed.
const maxListed = 200_000

func (t dirTree) Checkout(ctx context.Context, dir string) error {
	for id, from := range t.Secondary {
		to := filepath.Join(filepath.Dir(dir), path.Base(SecondaryDir(id)))
		if err := errors.Join(agent.RemoveTree(to), copyTree(ctx, from, to)); err != nil {
			return err
		}
	}
	if t.Mount {
		return nil
	}
	return copyTree(ctx, t.Dir, dir)
}

// copyTree copies files, directories and links with their modes; what is neither is left out.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		switch info.Mode().Type() {
		case fs.ModeDir:
			return os.MkdirAll(target, info.Mode().Perm()|0o700)
		case fs.ModeSymlink:
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case 0:
			return copyFile(name, target, info)
		}
		return nil
	})
}

func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

// sourcePath is where the source of a build lies below agent.SourceDir: src/<host>/<owner>/<repo>, as in CodeBuild.
func sourcePath(r store.Repo) string {
	host, _, _ := strings.Cut(r.Host, ":")
	if rel := path.Join("src", host, r.Name); host != "" && filepath.IsLocal(rel) && plainPath.MatchString(rel) {
		return rel
	}
	return "src"
}

// plainPath is a path that no program of a build has trouble with.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)

// maxSpecSize is a byte more than a buildspec may have, so that one that is too large is seen to be.
const maxSpecSize = 1<<20 + 1

// readSpec reads a file of a source tree that no container has written to. Links are followed inside the tree only.
func readSpec(tree, name string) ([]byte, error) {
	root, err := os.OpenRoot(tree)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	return io.ReadAll(io.LimitReader(f, maxSpecSize))
}
