package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/agent"
	"buildsmith/runner/runnertest"
	"buildsmith/store"
)

func TestMain(m *testing.M) {
	status := m.Run()
	runnertest.RemoveProgram()
	os.Exit(status)
}

func newDocker(t *testing.T, change func(*Config)) *Docker {
	t.Helper()
	runnertest.NeedDocker(t, runnertest.BusyboxImage)
	c := Config{Data: t.TempDir(), Program: runnertest.Program(t), Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestContract(t *testing.T) {
	d := newDocker(t, func(c *Config) { c.Pull = PullNever })
	runnertest.TestSandbox(t, d, filepath.Join(d.Data, "run"), runnertest.BusyboxImage)
	if ids, err := d.List(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("left behind: %v %v", ids, err)
	}
}

// A built is what became of a command in a sandbox.
type built struct {
	output string
	result string
	exit   runner.Exit
}

// build runs one command in a sandbox of its own and removes it.
func build(t *testing.T, d *Docker, change func(*runner.Spec), command string) built {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id := fmt.Sprintf("test%d", time.Now().UnixNano())
	base := filepath.Join(d.Data, "run", id)
	s := runner.Spec{ID: id, Image: runnertest.BusyboxImage, Exchange: base + "/exchange", Source: base + "/source", Objects: base + "/objects",
		Memory: 256 << 20, CPUs: 1, Processes: 64, Network: store.NetworkFull}
	if change != nil {
		change(&s)
	}
	inode, err := agent.Prepare(s.Exchange)
	if err := errors.Join(err, os.MkdirAll(s.Source, 0o755), os.MkdirAll(s.Objects, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(ctx, s); err != nil {
		t.Fatal(err)
	}
	defer d.Remove(context.WithoutCancel(ctx), id)
	job := agent.Job{Build: id, Dir: agent.SourceDir, Phases: []agent.Phase{{Name: "BUILD", Commands: []string{command}}}}
	if err := agent.Hand(ctx, s.Exchange, job); err != nil {
		t.Fatal(err)
	}
	story, err := agent.Open(s.Exchange, inode, agent.Mark{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer story.Close()
	var b built
	var output strings.Builder
	if b.exit, err = d.Wait(ctx, id); err != nil {
		t.Fatal(err)
	}
	for {
		events, err := story.Available()
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			b.output = output.String()
			return b
		}
		for _, e := range events {
			output.WriteString(e.Text)
			if e.Kind == agent.Done {
				b.result = e.Result
			}
		}
	}
}

func TestCapabilities(t *testing.T) {
	d := newDocker(t, nil)
	got := build(t, d, nil, "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status")
	// CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, SETPCAP 8, NET_BIND_SERVICE 10
	for _, want := range []string{"CapEff:\t00000000000005fb", "CapBnd:\t00000000000005fb", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(got.output, want) {
			t.Errorf("%q is not in %s", want, got.output)
		}
	}
	got = build(t, d, func(s *runner.Spec) { s.Sudo = true }, "grep NoNewPrivs /proc/self/status")
	if !strings.Contains(got.output, "NoNewPrivs:\t0") {
		t.Errorf("sudo is not possible: %s", got.output)
	}
}

func TestNoDeviceCanBeMade(t *testing.T) {
	got := build(t, newDocker(t, nil), nil, "mknod /tmp/disk b 8 0 && echo made")
	if got.result != agent.Failed || strings.Contains(got.output, "\nmade\n") {
		t.Errorf("%s\n%s", got.result, got.output)
	}
}

func TestForkBomb(t *testing.T) {
	d := newDocker(t, nil)
	begun := time.Now()
	got := build(t, d, nil, "bomb() { bomb | bomb & }; bomb; sleep 3; exit 7")
	if got.result != agent.Failed {
		t.Errorf("%s\n%.2000s", got.result, got.output)
	}
	if time.Since(begun) > time.Minute {
		t.Errorf("ended after %v", time.Since(begun))
	}
}

// TestMemoryLimit has a command take more than there is: it dies, and the agent tells why.
func TestMemoryLimit(t *testing.T) {
	got := build(t, newDocker(t, nil), func(s *runner.Spec) { s.Memory = 64 << 20 }, "tail /dev/zero")
	if got.result != agent.Failed || !strings.Contains(got.output, "Reason: exit status 137 (killed, out of memory)") {
		t.Errorf("%s\n%s", got.result, got.output)
	}
}

func TestProcessorLimit(t *testing.T) {
	got := build(t, newDocker(t, nil), func(s *runner.Spec) { s.CPUs = 0.5 },
		"cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cat /sys/fs/cgroup/cpu.max")
	if !strings.Contains(got.output, "\n50000") {
		t.Error(got.output)
	}
}

// TestHostIsOutOfReach looks for the host's files, its engine and the server's data from inside.
func TestHostIsOutOfReach(t *testing.T) {
	d := newDocker(t, nil)
	if err := os.WriteFile(filepath.Join(d.Data, "secret"), []byte("secret of the server"), 0o644); err != nil {
		t.Fatal(err)
	}
	neighbour := filepath.Join(d.Data, "run", "neighbour", "exchange")
	if err := os.MkdirAll(neighbour, 0o777); err != nil {
		t.Fatal(err)
	}
	got := build(t, d, nil, strings.NewReplacer("DATA", d.Data).Replace(`
ls /var/run/docker.sock /run/docker.sock DATA DATA/run/neighbour 2>&1
ls /buildsmith
echo x > /buildsmith/agent; echo x > /buildsmith/objects/x
cat /proc/1/environ; cat /proc/1/mem > /dev/null
mount -t tmpfs none /mnt; chroot /proc/1/root true
echo 1 > /proc/sys/kernel/panic; echo b > /proc/sysrq-trigger
grep -c secret -r / --include=secret 2>/dev/null | head -1
ls -A /dev; true`))
	if strings.Contains(got.output, "secret of the server") || strings.Contains(got.output, "\nneighbour\n") {
		t.Errorf("the server's data are in reach:\n%s", got.output)
	}
	for _, want := range []string{"agent\nexchange\nobjects\n", "can't create /buildsmith/agent: Read-only file system", "can't create /buildsmith/objects/x: Read-only file system"} {
		if !strings.Contains(got.output, want) {
			t.Errorf("%q is not in\n%s", want, got.output)
		}
	}
	for _, device := range []string{"sda", "vda", "mem", "kmsg", "loop0"} {
		if strings.Contains(got.output, "\n"+device+"\n") {
			t.Errorf("device %s is there", device)
		}
	}
}

// TestNetwork attacks the host, a neighbour and the metadata addresses from a build, which reaches the outside all the same.
func TestNetwork(t *testing.T) {
	d := newDocker(t, nil)
	if err := d.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Guarded(); err != nil {
		runnertest.Missing(t, "the right to set rules of the network: "+err.Error())
	}
	// Something on every address of the host that a build could want to reach.
	var reached atomic.Int32
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		io.WriteString(w, "host reached")
	}))
	port := listener.Addr().(*net.TCPAddr).Port
	var own []string
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && ip.To4() != nil && !ip.IsLoopback() {
			own = append(own, ip.String())
		}
	}
	if len(own) < 2 {
		t.Fatalf("the host has the addresses %v only", own)
	}
	got := build(t, d, nil, fmt.Sprintf("for a in %s; do timeout 2 wget -q -O - http://$a:%d/ || echo closed $a; done", strings.Join(own, " "), port))
	if reached.Load() > 0 || strings.Count(got.output, "\nclosed ") != len(own) {
		t.Errorf("the host was reached %d times:\n%s", reached.Load(), got.output)
	}

	// A neighbour on the same network.
	neighbour, err := exec.Command("docker", "run", "-d", "--rm", "--network", networkName, runnertest.BusyboxImage, "/bin/sh", "-c",
		"echo neighbour reached > /tmp/index.html; httpd -f -p 8000 -h /tmp").Output()
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(string(neighbour))
	defer exec.Command("docker", "rm", "-f", id).Run()
	address, err := exec.Command("docker", "inspect", "-f", "{{.NetworkSettings.Networks."+networkName+".IPAddress}}", id).Output()
	if err != nil {
		t.Fatal(err)
	}
	got = build(t, d, nil, "timeout 2 wget -q -O - http://"+strings.TrimSpace(string(address))+":8000/ || echo closed")
	if strings.Contains(got.output, "neighbour reached") || !strings.Contains(got.output, "\nclosed\n") {
		t.Errorf("a neighbour is in reach:\n%s", got.output)
	}

	for _, command := range [][]string{{"iptables", "-S", "DOCKER-USER"}, {"iptables", "-S", "INPUT"}} {
		rules, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, rules)
		}
		if command[2] == "INPUT" {
			if !strings.Contains(string(rules), "-A INPUT -i buildsmith0 -j DROP") {
				t.Errorf("rules:\n%s", rules)
			}
			continue
		}
		for _, address := range metadata {
			if want := "-A DOCKER-USER -d " + address + " -i buildsmith0 -j DROP"; !strings.Contains(string(rules), want) {
				t.Errorf("%q is not in\n%s", want, rules)
			}
		}
	}
	// The rule is what keeps a build from the metadata address, not that this machine has none: the counter tells.
	if out, err := exec.Command("iptables", "-Z", "DOCKER-USER").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	got = build(t, d, nil, "timeout 2 wget -q -O - http://169.254.169.254/latest/meta-data/ || echo closed")
	if !strings.Contains(got.output, "\nclosed\n") {
		t.Errorf("the metadata address answers:\n%s", got.output)
	}
	counted, err := exec.Command("iptables", "-nvxL", "DOCKER-USER").Output()
	if err != nil {
		t.Fatal(err)
	}
	dropped := false
	for line := range strings.Lines(string(counted)) {
		if strings.Contains(line, "169.254.0.0/16") {
			dropped = !strings.HasPrefix(strings.TrimSpace(line), "0 ")
		}
	}
	if !dropped {
		t.Errorf("no packet was dropped:\n%s", counted)
	}

	got = build(t, d, func(s *runner.Spec) { s.Network = store.NetworkNone }, "ls /sys/class/net")
	if !strings.HasSuffix(strings.Split(got.output, "[Container]")[len(strings.Split(got.output, "[Container]"))-1], "") || strings.Contains(got.output, "eth0") {
		t.Errorf("network none has interfaces:\n%s", got.output)
	}
}

// TestUnguardedFork gives another repository's commit no network where no rules keep it from this machine.
func TestUnguardedFork(t *testing.T) {
	d := newDocker(t, nil)
	if err := d.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.unguard, d.checked = errors.New("no right to set rules"), time.Now()
	for _, fork := range []bool{true, false} {
		got := build(t, d, func(s *runner.Spec) { s.Fork = fork }, "ls /sys/class/net")
		if strings.Contains(got.output, "eth0") == fork {
			t.Errorf("fork %v:\n%s", fork, got.output)
		}
	}
}

// TestRuntime has the engine use the runtime that is named.
func TestRuntime(t *testing.T) {
	d := newDocker(t, func(c *Config) { c.Runtime = "no-such-runtime" })
	err := d.Start(t.Context(), runner.Spec{ID: "runtime", Image: runnertest.BusyboxImage, Exchange: t.TempDir(), Source: t.TempDir(), Objects: t.TempDir(), Network: store.NetworkNone})
	if err == nil || errors.Is(err, runner.ErrImage) || !strings.Contains(err.Error(), "no-such-runtime") {
		t.Errorf("Start = %v", err)
	}
	if err := d.Remove(t.Context(), "runtime"); err != nil {
		t.Error(err)
	}
}

// TestStands looks for rules as iptables lists them.
func TestStands(t *testing.T) {
	list := "-P INPUT ACCEPT\n-A INPUT -i buildsmith0 -j DROP\n-A DOCKER-USER -d 169.254.0.0/16 -i buildsmith0 -j DROP\n-A DOCKER-USER -j RETURN\n"
	for rule, want := range map[string]bool{
		"INPUT -i buildsmith0 -j DROP":                         true,
		"DOCKER-USER -i buildsmith0 -d 169.254.0.0/16 -j DROP": true,
		"DOCKER-USER -i buildsmith0 -d 169.254.0.0/17 -j DROP": false,
		"DOCKER-USER -i buildsmith0 -j DROP":                   false,
		"INPUT -i buildsmith0 -j ACCEPT":                       false,
		"INPUT -i buildsmith -j DROP":                          false,
	} {
		if got := stands(list, strings.Fields(rule)); got != want {
			t.Errorf("%s: %v", rule, got)
		}
	}
	d := newDocker(t, nil)
	if err := errors.Join(d.Ready(t.Context()), d.Guarded()); err != nil {
		runnertest.Missing(t, "the right to set rules of the network: "+err.Error())
	}
	out, err := exec.Command("iptables", "-S", "DOCKER-USER").Output()
	if err != nil || !stands(string(out), []string{"DOCKER-USER", "-i", bridgeName, "-d", metadata[0], "-j", "DROP"}) {
		t.Errorf("%v: what this release lists is not known:\n%s", err, out)
	}
}

func TestForeignNetwork(t *testing.T) {
	// The engine is a stand-in here: the network of another program under our name is nothing to make for a test.
	server := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/networks/buildsmith") {
			json.NewEncoder(w).Encode(map[string]any{"Name": "buildsmith", "Options": map[string]string{}})
			return
		}
		w.WriteHeader(http.StatusOK)
	})
	d, err := New(Config{Host: server, Data: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "it was not made by buildsmith; remove it with docker network rm buildsmith") {
		t.Errorf("Ready = %v", err)
	}
}

// newEngine answers on a socket like an engine.
func newEngine(t *testing.T, handler http.HandlerFunc) (host string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return "unix://" + path
}

func TestOtherHosts(t *testing.T) {
	for _, host := range []string{"tcp://127.0.0.1:2375", "ssh://build@example.org"} {
		if _, err := New(Config{Host: host}); err == nil {
			t.Errorf("%s was taken", host)
		} else if !strings.Contains(err.Error(), "only an engine on this machine can be used") && !strings.Contains(err.Error(), "unable to parse") && !strings.Contains(err.Error(), "ssh") {
			t.Errorf("%s: %v", host, err)
		}
	}
	d, err := New(Config{Host: "unix:///nowhere/docker.sock"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "Docker does not answer at unix:///nowhere/docker.sock") {
		t.Errorf("Ready = %v", err)
	}
}

func TestProbe(t *testing.T) {
	d := newDocker(t, nil)
	if err := d.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A server in a container whose data directory the engine knows as another one.
	elsewhere := newDocker(t, nil)
	data := filepath.Join(elsewhere.Data, "moved")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	elsewhere.Data = data
	elsewhere.At = nil
	if err := os.MkdirAll(filepath.Join(data, "probe"), 0o700); err != nil {
		t.Fatal(err)
	}
	status, err := elsewhere.chore(t.Context(), filepath.Join(data, "probe"), true, "agent", "--check", choreDir+"/nonce", "text")
	if err != nil || status == 0 {
		t.Errorf("a directory without the nonce passes: %d %v", status, err)
	}
	elsewhere.Program = filepath.Join(data, "no", "program")
	err = elsewhere.Probe(t.Context())
	if want := fmt.Sprintf("mount the directory at the same path on both sides, as in -v %s:%s", data, data); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Probe = %v, want %q", err, want)
	}
}

// TestRemoveDir removes what a user without rights could not.
func TestRemoveDir(t *testing.T) {
	d := newDocker(t, nil)
	dir := filepath.Join(d.Data, "run", "x")
	if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveDir(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestPull pulls from stand-ins for an engine whose registry answers this or that.
func TestPull(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		here         bool
		answer       string // of the pull: a status and a body
		pulled       bool
		image        bool // the error is the author's
		want         string
	}{
		{"here", PullMissing, true, "", false, false, ""},
		{"missing", PullMissing, false, `200 {"status":"done"}`, true, false, ""},
		{"always", PullAlways, true, `200 {"status":"done"}`, true, false, ""},
		{"always, registry down", PullAlways, true, `500 {"message":"dial tcp: connection refused"}`, false, false, ""},
		{"never", PullNever, false, "", false, true, "it is not on this machine, and the server pulls none"},
		{"none of that name", PullMissing, false, `404 {"message":"manifest for x not found: manifest unknown"}`, false, true, "manifest unknown"},
		{"private", PullMissing, false, `500 {"message":"pull access denied for x, repository does not exist"}`, false, true, "pull access denied"},
		{"registry down", PullMissing, false, `500 {"message":"dial tcp: connection refused"}`, false, false, "connection refused"},
		{"breaks off", PullMissing, false, `200 {"error":"unexpected EOF"}`, false, false, "unexpected EOF"},
		{"no such platform", PullMissing, false, `200 {"error":"no matching manifest for linux/amd64"}`, false, true, "no matching manifest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var auth string
			host := newEngine(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/json"):
					if !tt.here {
						w.WriteHeader(http.StatusNotFound)
						io.WriteString(w, `{"message":"no such image"}`)
						return
					}
					io.WriteString(w, `{}`)
				case strings.HasSuffix(r.URL.Path, "/images/create"):
					auth = r.Header.Get("X-Registry-Auth")
					status, body, _ := strings.Cut(tt.answer, " ")
					var code int
					fmt.Sscan(status, &code)
					w.WriteHeader(code)
					io.WriteString(w, body)
				}
			})
			d, err := New(Config{Host: host, Pull: tt.policy, Log: slog.New(slog.DiscardHandler),
				Auth: map[string]Credentials{"registry.example.org": {"bot", func() (string, error) { return "pass", nil }}}})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			pulled, err := d.Pull(t.Context(), "registry.example.org/team/x:1")
			if pulled != tt.pulled || errors.Is(err, runner.ErrImage) != tt.image || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want %v, %q", pulled, err, tt.pulled, tt.want)
			}
			if tt.answer != "" && auth == "" {
				t.Error("no credentials were sent")
			}
		})
	}
	host := newEngine(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) })
	d, err := New(Config{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Pull(t.Context(), "localhost/made-here:1"); !errors.Is(err, runner.ErrImage) || !strings.Contains(err.Error(), "`make image` makes it, or name another image") {
		t.Errorf("Pull = %v", err)
	}
	if _, err := d.Pull(t.Context(), "Not An Image"); !errors.Is(err, runner.ErrImage) {
		t.Errorf("Pull = %v", err)
	}
}
