package agent

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A reaper owns every wait of the container's first process: for the commands it starts and for whatever they leave
// behind.
type reaper struct {
	mu      sync.Mutex // held from a fork until its process is in running
	running map[int]chan syscall.WaitStatus
}

// newReaper starts the loop, which lasts as long as the process.
func newReaper() *reaper {
	r := &reaper{running: map[int]chan syscall.WaitStatus{}}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go func() {
		for range children {
			r.reap()
		}
	}()
	return r
}

func (r *reaper) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		r.mu.Lock()
		if done, ours := r.running[pid]; ours {
			done <- status
			delete(r.running, pid)
		}
		r.mu.Unlock()
	}
}

// start starts a process and returns where its end will be told.
func (r *reaper) start(program string, argv []string, attr *syscall.ProcAttr) (<-chan syscall.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(program, argv, attr)
	if err != nil {
		return nil, err
	}
	done := make(chan syscall.WaitStatus, 1)
	r.running[pid] = done
	// When memory runs out, the kernel shall end a command and not the agent.
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
	return done, nil
}

// grace is how long processes have between TERM and KILL.
const grace = 10 * time.Second

// killInterval is how often killAll looks whether anybody is left.
const killInterval = 20 * time.Millisecond

// killAll ends every process of the container but this one: TERM, then KILL to those that are left after the grace time.
func killAll() {
	_ = syscall.Kill(-1, syscall.SIGTERM)
	for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(killInterval) {
		if errors.Is(syscall.Kill(-1, 0), syscall.ESRCH) {
			return
		}
	}
	_ = syscall.Kill(-1, syscall.SIGKILL)
}

// oomKills is how many processes of the container the kernel has ended for want of memory, 0 where it does not tell.
func oomKills() int {
	for _, name := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		var key string
		var n int
		for line := range strings.SplitSeq(string(text), "\n") {
			if _, err := fmt.Sscan(line, &key, &n); err == nil && key == "oom_kill" {
				return n
			}
		}
	}
	return 0
}

// exitStatus is a process's status as a shell tells it.
func exitStatus(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
