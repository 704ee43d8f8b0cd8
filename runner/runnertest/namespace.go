// Package runnertest holds a sandbox without containers and the contract test that every sandbox must pass. It is for
// test binaries: its sandbox keeps processes and files apart, and limits nothing.
package runnertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"buildsmith/runner/agent"
)

// marker is set in the environment of a test binary that is to be an agent.
const marker = "BUILDSMITH_RUNNERTEST_AGENT"

// Main is to be the first call of TestMain: in a process that AgentCommand made it becomes the agent and does not return.
func Main() {
	if status, ok := agent.Tool(os.Args); ok { // a program of a build, called by its link to this one
		os.Exit(status)
	}
	dirs := os.Getenv(marker)
	if dirs == "" {
		return
	}
	os.Unsetenv(marker)
	if err := enter(strings.Split(dirs, ":")); err != nil {
		fmt.Fprintln(os.Stderr, "entering the sandbox:", err)
		os.Exit(3)
	}
	os.Args = os.Args[:1]
	os.Exit(agent.Main(agent.Options{}))
}

// enter makes the machine's files the lower layer of this process's, and puts a sandbox's directories where they belong.
func enter(dirs []string) error {
	scratch, exchange, source, objects, shared, own := dirs[0], dirs[1], dirs[2], dirs[3], dirs[4], dirs[5]
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := syscall.Mount("tmpfs", scratch, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	upper, work, root := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work"), filepath.Join(scratch, "root")
	if err := errors.Join(os.Mkdir(upper, 0o755), os.Mkdir(work, 0o755), os.Mkdir(root, 0o755)); err != nil {
		return err
	}
	if err := syscall.Mount("overlay", root, "overlay", 0, "lowerdir=/,upperdir="+upper+",workdir="+work); err != nil {
		return fmt.Errorf("mounting an overlay: %w", err)
	}
	bind := func(from, to string, flags uintptr) error {
		if from == "" {
			return nil
		}
		to = filepath.Join(root, to)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(from, to, "", syscall.MS_BIND|flags, ""); err != nil {
			return fmt.Errorf("binding %s: %w", from, err)
		}
		return nil
	}
	bindProgram := func() error {
		program, err := os.Executable()
		if err != nil {
			return err
		}
		to := filepath.Join(root, agent.ProgramPath)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, nil, 0o755)); err != nil {
			return err
		}
		return syscall.Mount(program, to, "", syscall.MS_BIND, "")
	}
	state := filepath.Join(root, agent.StateDir)
	if err := errors.Join(
		bind("/dev", "/dev", syscall.MS_REC),
		bind("/sys", "/sys", syscall.MS_REC),
		bind(exchange, agent.ExchangeDir, 0),
		bind(source, agent.SourceDir, 0),
		bind(objects, agent.ObjectsDir, 0),
		bind(shared, filepath.Join(agent.CacheDir, agent.DefaultCache), 0),
		bind(own, filepath.Join(agent.CacheDir, agent.OwnCache), 0),
		bindProgram(),
		os.MkdirAll(state, 0o711),
		syscall.Mount("tmpfs", state, "tmpfs", 0, "mode=0711"),
		os.MkdirAll(filepath.Join(root, "tmp"), 0o777),
		syscall.Mount("tmpfs", filepath.Join(root, "tmp"), "tmpfs", 0, "mode=1777"),
		syscall.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""),
		syscall.Chroot(root),
	); err != nil {
		return err
	}
	return os.Chdir("/")
}

// AgentCommand is a command that runs this test binary as the agent of the given directories, as process 1 of a process
// namespace of its own. The directories must be on file systems that it can see: scratch is covered by a tmpfs. The caches,
// the shared one and its own, may be empty.
func AgentCommand(scratch, exchange, source, objects, shared, own string, env []string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append([]string{}, env...), marker+"="+strings.Join([]string{scratch, exchange, source, objects, shared, own}, ":"))
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
