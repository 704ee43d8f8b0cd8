package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"buildsmith/runner/runnertest"
)

func TestMain(m *testing.M) {
	status := m.Run()
	runnertest.RemoveProgram()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(status)
}

// programs are what end-to-end tests run: the real program with the race detector and the points where it can be made to
// die, the same as it is shipped for sandboxes, and the fake forges.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

// buildPrograms builds them once and gives the directory that they are in.
func buildPrograms(t testing.TB) string {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "buildsmith-e2e-"); programs.err != nil {
			return
		}
		build := func(name, pkg string, env []string, flags ...string) error {
			cmd := exec.Command("go", append(append([]string{"build", "-o", filepath.Join(programs.dir, name)}, flags...), pkg)...)
			cmd.Env = append(os.Environ(), env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("building %s: %w\n%s", name, err, out)
			}
			return nil
		}
		programs.err = errors.Join(
			build("buildsmith", "buildsmith/cmd/buildsmith", nil, "-race", "-tags", "faults"),
			build("buildsmith-static", "buildsmith/cmd/buildsmith", []string{"CGO_ENABLED=0"}),
			build("fakegithub", "buildsmith/checks/github/githubtest/fakegithub", nil),
			build("fakebitbucket", "buildsmith/checks/bitbucket/bitbuckettest/fakebitbucket", nil))
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return programs.dir
}
