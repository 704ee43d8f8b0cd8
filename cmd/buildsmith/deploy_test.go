package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/runnertest"
)

const deployDir = "../../deploy"

// compose gives the words that run docker compose, of either generation.
func compose(t *testing.T) []string {
	if exec.Command("docker", "compose", "version").Run() == nil {
		return []string{"docker", "compose"}
	}
	if _, err := exec.LookPath("docker-compose"); err != nil {
		runnertest.Missing(t, "docker compose")
	}
	return []string{"docker-compose"}
}

// mustRun runs a command and gives what it printed.
func mustRun(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestCompose builds the image as the Dockerfile says on a base made here, runs it as the compose file says, and pushes to it.
func TestCompose(t *testing.T) {
	runnertest.NeedDocker(t, runnertest.DebianImage)
	words := compose(t)
	bin := buildPrograms(t)
	root, data, etc := t.TempDir(), t.TempDir(), t.TempDir()
	for to, from := range map[string]string{
		"Dockerfile": "../../Dockerfile", ".dockerignore": "../../.dockerignore",
		"deploy/compose.yml": filepath.Join(deployDir, "compose.yml"), "bin/buildsmith": filepath.Join(bin, "buildsmith-static"),
	} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Join(root, filepath.Dir(to)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, to), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port
	config := fmt.Sprintf("listen: 127.0.0.1:%s\ndata: %s\nwarm: 0\nreserve: 1MiB\n", port, data)
	if err := os.WriteFile(filepath.Join(etc, "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"BUILDSMITH_BASE=" + runnertest.DebianImage, "BUILDSMITH_IMAGE=localhost/buildsmith-test-server", "BUILDSMITH_DATA=" + data, "BUILDSMITH_ETC=" + etc,
		"BUILDSMITH_CONFIG=/etc/buildsmith/config.yml", "BUILDSMITH_HEALTH=" + url, "DOCKER_BUILDKIT=0",
	}
	do := func(args ...string) string {
		t.Helper()
		args = append(append(words[1:len(words):len(words)], "--project-name", "buildsmith-test", "-f", filepath.Join(root, "deploy/compose.yml")), args...)
		return mustRun(t, env, words[0], args...)
	}
	do("config", "--quiet")
	t.Cleanup(func() {
		do("down", "--volumes")
		mustRun(t, nil, "docker", "image", "rm", "localhost/buildsmith-test-server")
	})
	do("up", "-d", "--build")
	logs := func() string { return do("logs", "--no-color") }
	until(t, logs, "the server answers", func() bool {
		answer, err := http.Get(url + "/healthz")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK
	})
	// The rules that keep builds from this machine are in force: they need capabilities that the file has to name.
	reached := make(chan struct{}, 100)
	host := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	host.Listener.Close()
	if host.Listener, err = net.Listen("tcp", "0.0.0.0:0"); err != nil {
		t.Fatal(err)
	}
	host.Start()
	defer host.Close()
	_, hostPort, _ := net.SplitHostPort(host.Listener.Addr().String())
	work := t.TempDir()
	spec := fmt.Sprintf("version: 0.2\nphases: {build: {commands: [\"! curl -s -m 2 http://$(hostname -I | cut -d. -f1-3).1:%s\", echo from a container]}}\n", hostPort)
	if err := os.WriteFile(filepath.Join(work, "buildspec.yml"), []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "Begin"}} {
		mustRun(t, nil, "git", append([]string{"-C", work}, args...)...)
	}
	mustRun(t, nil, "git", "-C", work, "push", "-q", url+"/git/hello.git", "HEAD:main")
	ask := []string{"--server", url, "--data", data}
	out := mustRun(t, nil, filepath.Join(bin, "buildsmith-static"), append([]string{"log", "hello#1", "--follow"}, ask...)...)
	out += mustRun(t, nil, filepath.Join(bin, "buildsmith-static"), append([]string{"show", "hello#1"}, ask...)...)
	if !strings.Contains(out, "\nfrom a container\n") || !strings.Contains(out, "SUCCEEDED") {
		t.Errorf("%s\n%s", out, logs())
	}
	if out := logs(); len(reached) > 0 || strings.Contains(out, "not guarded") {
		t.Errorf("builds reach this machine:\n%s", out)
	}
	id := strings.TrimSpace(do("ps", "-q"))
	until(t, logs, "the container is healthy", func() bool {
		return strings.TrimSpace(mustRun(t, nil, "docker", "inspect", "-f", "{{.State.Health.Status}}", id)) == "healthy"
	})
}

// until waits for something to hold, or fails with the logs.
func until(t *testing.T, logs func() string, what string, holds func() bool) {
	t.Helper()
	for range 600 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("not so after a minute: %s\n%s", what, logs())
}

// TestUnit has systemd look at the unit, with the program where the unit expects it.
func TestUnit(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		runnertest.Missing(t, "systemd-analyze")
	}
	text, err := os.ReadFile(filepath.Join(deployDir, "buildsmith.service"))
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/buildsmith"
	if !strings.Contains(string(text), "ExecStart="+installed+" serve\n") {
		t.Fatal("the unit starts something else")
	}
	unit := filepath.Join(t.TempDir(), "buildsmith.service")
	here := strings.Replace(string(text), installed, filepath.Join(buildPrograms(t), "buildsmith-static"), 1)
	if err := os.WriteFile(unit, []byte(here), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, nil, "systemd-analyze", "verify", "--man=no", unit); strings.TrimSpace(out) != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	// The mistakes that systemd would tell of are told.
	if err := os.WriteFile(unit, []byte(here+"\n[Service]\nNoSuchKey=yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); !strings.Contains(string(out), "NoSuchKey") {
		t.Errorf("a wrong unit passes: %s", out)
	}
}
