package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"buildsmith/store"
)

// A Directory has a file for each secret, as Docker and Kubernetes mount them. The secret a/b is the file a/b, a.b or a_b
// below it, whichever is there first; a line break at the end is no part of it. A link is followed while it stays below
// the directory, as those of Kubernetes do. There is one version of each, the current one.
type Directory struct {
	Path  string
	Rules store.SecretRules
}

func (d Directory) String() string { return "the directory " + d.Path }

func (d Directory) value(_ context.Context, b *store.Build, src source, name string) (string, error) {
	plain, err := store.SecretName(name)
	if err != nil || slices.ContainsFunc(strings.Split(plain, "/"), func(part string) bool { return strings.HasPrefix(part, ".") }) {
		return "", errElsewhere // no files that are hidden, such as Kubernetes' ..data
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for _, name := range []string{plain, strings.ReplaceAll(plain, "/", "."), strings.ReplaceAll(plain, "/", "_")} {
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO is not waited for
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) || errors.Is(err, syscall.ENXIO) {
			continue
		}
		if err != nil {
			if !d.Rules.Allow(b) {
				return "", errDenied
			}
			return "", err
		}
		defer f.Close()
		info, err := f.Stat()
		switch {
		case err != nil:
			return "", err
		case !info.Mode().IsRegular():
			continue
		case !d.Rules.Allow(b):
			return "", errDenied
		case src.stage != "" || src.version != "":
			return "", errVersion
		}
		return readSecret(f)
	}
	return "", errElsewhere
}

// readSecret reads a file of a directory. Its errors are the operator's business.
func readSecret(f *os.File) (string, error) {
	text, err := io.ReadAll(io.LimitReader(f, store.MaxSecret+1))
	value := string(text)
	switch {
	case err != nil:
		return "", err
	case len(text) > store.MaxSecret:
		return "", fmt.Errorf("the file has more than %d bytes, the most that a secret may have", store.MaxSecret)
	case !utf8.Valid(text) || strings.ContainsRune(value, 0):
		return "", errors.New("the file is no text in UTF-8 without NUL bytes")
	}
	if cut, ok := strings.CutSuffix(value, "\n"); ok {
		value = strings.TrimSuffix(cut, "\r")
	}
	if value == "" {
		return "", errors.New("the file is empty")
	}
	return value, nil
}
