package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/runnertest"
)

// An engine is a Docker daemon that belongs to a test. It has a network namespace to itself, so that its bridges and rules do
// not meet those of the machine's own daemon. Like a service it is started again when it has died, after a while.
type engine struct {
	dir   string
	ended chan struct{} // closed when it is not started again

	mu      sync.Mutex
	flags   []string
	process *process
	closing bool
}

// outage is how long a daemon that has died stays away.
const outage = 3 * time.Second

// startEngine starts a daemon that has the images, and makes it the one that docker and the server use in this test.
func startEngine(t *testing.T, images ...string) *engine {
	t.Helper()
	if os.Getuid() != 0 {
		runnertest.Missing(t, "root")
	}
	for _, program := range []string{"dockerd", "nsenter", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			runnertest.Missing(t, program)
		}
	}
	for _, image := range images {
		runnertest.NeedDocker(t, image)
	}
	dir, err := os.MkdirTemp("", "engine-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{dir: dir, ended: make(chan struct{})}
	t.Cleanup(func() {
		unmountBelow(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(e.path("net"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, nil, "unshare", "--net="+e.path("net"), "true")
	go e.run()
	t.Cleanup(func() { e.close(t) })
	e.await(t)
	mustRun(t, nil, "sh", "-c", fmt.Sprintf("docker save %s | docker --host %s load", strings.Join(images, " "), e.host()))
	t.Setenv("DOCKER_HOST", e.host())
	return e
}

func (e *engine) path(name string) string { return filepath.Join(e.dir, name) }
func (e *engine) host() string            { return "unix://" + e.path("s") }

// run runs the daemon until close.
func (e *engine) run() {
	defer close(e.ended)
	for {
		// Where nobody reaps orphans yet, a daemon takes what it left for processes that live.
		os.Remove(e.path("pid"))
		os.Remove(e.path("exec/containerd/containerd.pid"))
		e.mu.Lock()
		if e.closing {
			e.mu.Unlock()
			return
		}
		cmd := exec.Command("nsenter", append([]string{"--net=" + e.path("net"), "dockerd", "--host", e.host(), "--pidfile", e.path("pid"),
			"--data-root", e.path("data"), "--exec-root", e.path("exec")}, e.flags...)...)
		p, err := startProcess(cmd)
		e.process = p
		e.mu.Unlock()
		if err != nil {
			return
		}
		<-p.ended
		time.Sleep(outage)
	}
}

// await waits until the daemon answers.
func (e *engine) await(t *testing.T) {
	t.Helper()
	for range 300 {
		if exec.Command("docker", "--host", e.host(), "version").Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Fatalf("the Docker daemon does not answer:\n%s", e.process.output)
}

// restart ends the daemon; it comes again with other flags.
func (e *engine) restart(t *testing.T, flags ...string) {
	t.Helper()
	e.mu.Lock()
	e.flags = flags
	p := e.process
	e.mu.Unlock()
	p.end(syscall.SIGTERM)
	e.await(t)
}

// close ends the daemon and whatever it still runs.
func (e *engine) close(t *testing.T) {
	e.await(t)
	exec.Command("sh", "-c", "docker --host "+e.host()+" ps -aq | xargs -r docker --host "+e.host()+" rm -f").Run()
	e.mu.Lock()
	e.closing = true
	e.mu.Unlock()
	e.process.end(syscall.SIGTERM)
	<-e.ended
}

// unmountBelow unmounts everything below a directory.
func unmountBelow(t *testing.T, dir string) {
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if fields := strings.Fields(lines[i]); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				t.Errorf("unmounting %s: %v", fields[1], err)
			}
		}
	}
}

// dockerKilled begins a build, and kills the daemon while it runs.
const dockerKilled = `github
serve github
gh do commit repo=octo/hello branch=main message=Begin 'files:={"buildspec.yml": SPEC}'
gh do push repo=octo/hello ref=refs/heads/main
running octo-hello
exec sh -c 'KILL'
`

// dockerGoesOn finds the build as if nothing had happened.
var dockerGoesOn = strings.TrimPrefix(crashAgain, "serve github MORE\n")

// dockerRepeats finds the build a fault of ours, and repeated once by itself.
const dockerRepeats = `build octo-hello 2
stdout '^octo-hello#2 SUCCEEDED$'
logtext $BUILD
cmp stdout log
checks $SHA
stdout '^buildsmith: completed success'
stdout '^buildsmith: completed failure \| Internal error in BUILD$'
! stdout 'in_progress|queued'
exec buildsmith show --data $DATA 'octo-hello#1'
stdout '^FAULT after'
stdout '^Repeated by '
exec buildsmith log --data $DATA 'octo-hello#1'
stdout '^tick 1$'
stdout 'Phase context status code: INTERNAL_ERROR Message: REASON'
count octo-hello
stdout '^2$'
exec curl -sf -H @admin $URL/api/queue
! stdout octo-hello
right
nothing-left
term

-- log --
LOG`

// slowly completes a script of the crash tests. Its build pauses for so many seconds after each line that it prints.
func slowly(script, pause string) string {
	log := strings.NewReplacer("HOST", "127.0.0.1/octo/hello", "0.2", pause).Replace(crashLog)
	return strings.NewReplacer("SPEC", strings.Replace(crashSpec, "0.2;", pause+";", 1), "CHECKS", crashChecks, "LOG", log).Replace(script)
}

// TestDockerKilled kills a Docker daemon with SIGKILL in the middle of a build. It comes again a few seconds later.
func TestDockerKilled(t *testing.T) {
	e := startEngine(t, runnertest.DebianImage)
	daemon := "kill -KILL $(cat " + e.path("pid") + ")"
	both := "pid=$(docker inspect --format {{.State.Pid}} $(docker ps -q)); " + daemon + "; kill -KILL $pid"
	for _, row := range []struct {
		name, flag, script, pause, kill, reason string
	}{
		// Containers live on without the daemon, and it takes them up again.
		{"the build outlasts it", "--live-restore", dockerGoesOn, "1.6", daemon, ""},
		{"the build ends meanwhile", "--live-restore", dockerGoesOn, "0.3", daemon, ""},
		// A daemon without that option stops them when it comes again.
		{"the containers are stopped", "", dockerRepeats, "1.6", daemon, "The build.s container was stopped"},
		{"the containers are killed", "", dockerRepeats, "1.6", both, "The build.s container ended without a result"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e.restart(t, strings.Fields(row.flag)...)
			text := strings.NewReplacer("KILL'", row.kill+"'", "REASON", row.reason).Replace(dockerKilled + row.script)
			text, dir := slowly(text, row.pause), t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "killed.txtar"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			runScripts(t, dir)
		})
	}
	if left := mustRun(t, nil, "docker", "ps", "-aq"); left != "" {
		t.Errorf("containers are left: %s", left)
	}
}
