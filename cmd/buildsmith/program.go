package main

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ownProgram is the program that runs, or the one that stands for it in sandboxes.
func ownProgram() (string, error) {
	path := os.Getenv("BUILDSMITH_AGENT")
	if path == "" {
		var err error
		if path, err = os.Executable(); err != nil {
			return "", fmt.Errorf("finding this program: %w", err)
		}
	}
	return path, isStatic(path)
}

// isStatic fails for a program that needs libraries: it could not start in an image that lacks them.
func isStatic(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not a static program, which sandboxes need: build it with CGO_ENABLED=0, or name one in BUILDSMITH_AGENT", path)
		}
	}
	return nil
}

// keepProgram copies the agent's program to <data>/agent/<sha256>, from where sandboxes mount it: an upgrade of the server
// does not change a build that runs.
func keepProgram(data string) (string, error) {
	from, err := ownProgram()
	if err != nil {
		return "", err
	}
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return "", err
	}
	dir := filepath.Join(data, "agent")
	path := filepath.Join(dir, hex.EncodeToString(sum.Sum(nil)))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name())
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Chmod(0o755), out.Sync(), out.Close()); err != nil {
		return "", fmt.Errorf("keeping the agent's program: %w", err)
	}
	return path, os.Rename(out.Name(), path)
}
