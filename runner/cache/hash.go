package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"buildsmith/runner/glob"
)

// HashFiles is a hash, in hexadecimal digits, of the content of the files that patterns match, relative to root or absolute, and
// how many those are. It is the SHA-256 of the SHA-256 of each, in the order of their paths. A file that several patterns match
// counts once; links to files count as files, and what else is matched does not count. Without any file it is the hash of nothing.
func HashFiles(root string, patterns []string) (sum string, files int, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return "", 0, err
	}
	var paths []string
	for _, text := range patterns {
		p, err := glob.Compile(text)
		if err != nil {
			return "", 0, err
		}
		for _, f := range p.Files(root) {
			paths = append(paths, f.Path)
		}
	}
	slices.Sort(paths)
	whole := sha256.New()
	for _, path := range slices.Compact(paths) {
		one, err := hashFile(path)
		if err != nil {
			return "", 0, fmt.Errorf("hashing %s: %w", path, cause(err))
		}
		if one != nil {
			whole.Write(one)
			files++
		}
	}
	return hex.EncodeToString(whole.Sum(nil)), files, nil
}

// hashFile returns nil for what is no regular file, or gone.
func hashFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}
