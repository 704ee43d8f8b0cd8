package runnertest

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func TestProcesses(t *testing.T) {
	TestSandbox(t, NewProcesses(t.TempDir()), t.TempDir(), "none")
}
