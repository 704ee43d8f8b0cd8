package store

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"go.etcd.io/bbolt"
)

// backupMark is the first entry of a backup, and its content the version of the format.
const backupMark = "buildsmith-backup"

// Backup writes the state to w while the store is in use: a tar archive, packed by zstd, of a consistent database, the
// logs, artifacts and deliveries it speaks of, and the further files and directories of the data directory that the
// caller names, in that order. What is removed meanwhile is left out.
func (s *Store) Backup(w io.Writer, further ...string) error {
	z, err := zstd.NewWriter(w)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	if err := addText(t, backupMark, version); err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	err = s.db.View(func(tx *bbolt.Tx) error {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "buildsmith.db", Mode: 0o600, Size: tx.Size(), ModTime: s.Now()}); err != nil {
			return err
		}
		_, err := tx.WriteTo(t)
		return err
	})
	for _, name := range slices.Concat(fileDirs, further) {
		if err == nil {
			err = s.addTree(t, name)
		}
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		return fmt.Errorf("backing up: %w", err)
	}
	return nil
}

func addText(t *tar.Writer, name, text string) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := io.WriteString(t, text)
	return err
}

// addTree adds the files below a path of the data directory, without those that are being written and without locks, which
// nobody would hold where the backup is restored. Of Git repositories it adds what names objects before the
// objects, so that every name it kept finds its objects, whatever is pushed meanwhile.
func (s *Store) addTree(t *tar.Writer, name string) error {
	var dirs, files []string
	err := filepath.WalkDir(filepath.Join(s.dir, name), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			dirs = append(dirs, path)
		case e.Type().IsRegular() && !strings.HasSuffix(path, ".tmp") && !strings.HasSuffix(path, ".lock"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	objects := func(path string) int {
		if strings.Contains(path, "/objects/") {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(files, func(a, b string) int { return objects(a) - objects(b) })
	for _, path := range dirs { // Git does not know a repository without its empty directories
		name, err := filepath.Rel(s.dir, path)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700}); err != nil {
			return err
		}
	}
	for _, path := range files {
		if err := s.addFile(t, path); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addFile(t *tar.Writer, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	name, err := filepath.Rel(s.dir, path)
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.CopyN(t, f, info.Size())
	return err
}

// Restore unpacks a backup into a data directory, which must be empty or missing. If it fails, the directory is empty again.
func Restore(dir string, backup io.Reader) (err error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("restoring: %s is not empty; name a new directory", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restoring: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	defer root.Close()
	defer func() {
		if err == nil {
			return
		}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}()
	z, err := zstd.NewReader(backup)
	if err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	defer z.Close()
	t := tar.NewReader(z)
	h, err := t.Next()
	switch {
	case err == nil && h.Name != backupMark, errors.Is(err, io.EOF), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, tar.ErrHeader):
		return errors.New("restoring: this is no backup of buildsmith")
	case err != nil:
		return fmt.Errorf("restoring: the backup is damaged: %w", err)
	}
	if v, err := io.ReadAll(io.LimitReader(t, 100)); err != nil || string(v) != version {
		return fmt.Errorf("restoring: the backup has format %q, this program knows %s", v, version)
	}
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = restoreFile(root, h, t)
		}
		if err != nil {
			return fmt.Errorf("restoring: the backup is damaged: %w", err)
		}
	}
}

func restoreFile(root *os.Root, h *tar.Header, content io.Reader) error {
	if !filepath.IsLocal(h.Name) || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		return fmt.Errorf("entry %.100q", h.Name)
	}
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(strings.TrimSuffix(h.Name, "/"), 0o700)
	}
	if err := root.MkdirAll(filepath.Dir(h.Name), 0o700); err != nil {
		return err
	}
	f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode)&0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close(), root.Chtimes(h.Name, h.ModTime, h.ModTime))
}
