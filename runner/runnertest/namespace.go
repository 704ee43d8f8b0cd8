// Package runnertest holds a sandbox without containers and the contract test that every sandbox must pass. It is for
// test binaries: its sandbox keeps processes apart, not files or networks.
package runnertest

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"buildsmith/runner/agent"
)

// marker is set in the environment of a test binary that is to be an agent.
const marker = "BUILDSMITH_RUNNERTEST_AGENT"

// Main is to be the first call of TestMain: in a process that AgentCommand made it becomes the agent and does not return.
func Main() {
	if os.Getenv(marker) == "" {
		return
	}
	os.Unsetenv(marker)
	// The agent finds its processes in /proc, which must be that of its own namespace.
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "making mounts private:", err)
		os.Exit(3)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		fmt.Fprintln(os.Stderr, "mounting /proc:", err)
		os.Exit(3)
	}
	options := agent.Options{Exchange: os.Args[1], State: os.Args[2], GitConfig: os.Args[2] + ".gitconfig"}
	os.Args = os.Args[:1]
	os.Exit(agent.Main(options))
}

// AgentCommand is a command that runs this test binary as the agent of an exchange directory, as process 1 of a process
// namespace of its own.
func AgentCommand(exchange, state string, env []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", exchange, state)
	cmd.Env = append(append([]string{}, env...), marker+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}
