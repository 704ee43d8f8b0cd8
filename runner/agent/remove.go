package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// RemoveTree removes a directory and what is in it, however deep and however much: os.RemoveAll holds a descriptor for each
// level, and a build can make more levels than a server has descriptors. Nothing may write there any more. A directory that
// is missing needs nothing.
func RemoveTree(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return os.Remove(dir)
	}
	r := remover{top: dir}
	return r.remove(dir)
}

// longPath is how long a path may become before what is below it is moved up.
const longPath = 2000

type remover struct {
	top   string
	moved int
}

// moveUp moves a directory to the top, under a name that nothing there has: a build may have made any.
func (r *remover) moveUp(path string) error {
	for {
		r.moved++
		err := os.Rename(path, filepath.Join(r.top, fmt.Sprintf(".moved-%d", r.moved)))
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
}

// remove removes a directory. What it moves up is below top, and so removed too when top is.
func (r *remover) remove(dir string) error {
	for {
		empty, err := r.empty(dir)
		if err != nil {
			return err
		}
		err = os.Remove(dir)
		// Some file systems pass over names while others are removed, and below top there may be what was moved up.
		if empty || !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
			return err
		}
	}
}

// empty removes what is in a directory. It reports whether it saw nothing there.
func (r *remover) empty(dir string) (empty bool, err error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	var subdirectories []string
	empty = true
	for err == nil {
		var entries []fs.DirEntry
		entries, err = f.ReadDir(1000)
		for _, e := range entries {
			empty = false
			path := filepath.Join(dir, e.Name())
			if e.IsDir() {
				subdirectories = append(subdirectories, path)
			} else if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = gone
				break
			}
		}
	}
	f.Close() // before it goes deeper
	if !errors.Is(err, io.EOF) {
		return false, err
	}
	for _, path := range subdirectories {
		if len(path) > longPath {
			err = r.moveUp(path)
		} else {
			err = r.remove(path)
		}
		if err != nil {
			return false, err
		}
	}
	return empty, nil
}
