package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/checks/github/githubtest"
	"buildsmith/runner/runnertest"
)

// The tests whose names begin with TestMeasure compare the program, as it is shipped, with doing the same by hand on the
// same machine: `make bench` runs them. What is compared runs in turn, and which goes first changes from pair to pair. What
// counts is the median of the ratios of the pairs, since times of different machines, or of another minute, say little. They
// fail if something is wrong or missing in what came out, and never because something took long.

// measurePairs is how many pairs each comparison has. One more goes before, which does not count.
const measurePairs = 10

// measured builds the program as it is shipped, and gives its path.
func measured(t *testing.T) string {
	t.Helper()
	if os.Getenv("BUILDSMITH_BENCH") == "" {
		t.Skip("BUILDSMITH_BENCH is not set; `make bench` sets it")
	}
	runnertest.NeedDocker(t, runnertest.DebianImage)
	program := filepath.Join(t.TempDir(), "buildsmith")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "buildsmith/cmd/buildsmith")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

// comparePairs measures ours and theirs in turn. Both give what they measured.
func comparePairs(ours, theirs func(warmUp bool) float64) (a, b []float64) {
	for pair := range measurePairs + 1 {
		var x, y float64
		if pair%2 == 0 {
			x = ours(pair == 0)
			y = theirs(pair == 0)
		} else {
			y = theirs(false)
			x = ours(false)
		}
		if pair > 0 {
			a, b = append(a, x), append(b, y)
		}
	}
	return a, b
}

// compared prints what pairs show: ours over theirs.
func compared(t *testing.T, what, unit string, ours, theirs []float64, goal string) {
	t.Helper()
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, ours[i]/theirs[i])
	}
	t.Logf("%s: ratio %.2f (%.2f to %.2f), goal %s; medians of %d pairs: %s against %s %s", what,
		median(ratios), slices.Min(ratios), slices.Max(ratios), goal, len(ratios), figure(median(ours)), figure(median(theirs)), unit)
}

// spread prints figures that there is nothing to compare with.
func spread(list []float64, unit string) string {
	return fmt.Sprintf("%s (%s to %s) %s", figure(median(list)), figure(slices.Min(list)), figure(slices.Max(list)), unit)
}

func figure(x float64) string {
	if math.Abs(x) >= 10 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

func median(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// timed runs a program and gives how long it took, from start to exit, in milliseconds.
func timed(t *testing.T, out io.Writer, program string, args ...string) float64 {
	t.Helper()
	cmd := exec.Command(program, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	begun := time.Now()
	err := cmd.Run()
	took := time.Since(begun)
	if err != nil {
		t.Fatalf("%s %.100q: %v\n%s", filepath.Base(program), args, err, &stderr)
	}
	return milliseconds(took)
}

// What trivial builds run, and how it is written by hand.
const (
	echoSpec = "version: 0.2\nphases:\n  install: {commands: [echo install]}\n  pre_build: {commands: [echo pre_build]}\n" +
		"  build: {commands: [echo build]}\n  post_build: {commands: [echo post_build]}\n"
	echoScript = "echo install; echo pre_build; echo build; echo post_build"
	echoOutput = "install\npre_build\nbuild\npost_build\n"
)

// ownOutput is what commands printed of a log: all but the agent's own lines.
func ownOutput(log string) string {
	var text strings.Builder
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "[Container] ") {
			text.WriteString(line)
		}
	}
	return text.String()
}

// TestMeasureRun compares `buildsmith run` of four phases with `docker run` of the same commands as one script.
func TestMeasureRun(t *testing.T) {
	program := measured(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "buildspec.yml"), []byte(echoSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(bool) float64 {
		var out bytes.Buffer
		took := timed(t, &out, program, "run", dir)
		if got := ownOutput(out.String()); got != echoOutput {
			t.Errorf("buildsmith run printed %q, want %q", got, echoOutput)
		}
		return took
	}
	raw := func(network string) func(bool) float64 {
		return func(bool) float64 {
			var out bytes.Buffer
			took := timed(t, &out, "docker", "run", "--rm", "--network", network, runnertest.DebianImage, "sh", "-c", echoScript)
			if out.String() != echoOutput {
				t.Errorf("docker run printed %q, want %q", out.String(), echoOutput)
			}
			return took
		}
	}
	ours, theirs := comparePairs(run, raw("bridge"))
	compared(t, "buildsmith run / docker run --rm", "ms", ours, theirs, "1.3 at most")
	ours, theirs = comparePairs(run, raw("buildsmith"))
	compared(t, "buildsmith run / docker run --rm --network buildsmith", "ms", ours, theirs, "none; the network that builds are on has a resolver, which takes Docker time")
}

// A measuredServer is `buildsmith serve`.
type measuredServer struct {
	*process
	url, data string
}

// serveMeasured starts the server. Without warm sandboxes no container is there but those of builds.
func serveMeasured(t *testing.T, program, data, config string, env ...string) *measuredServer {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &measuredServer{url: "http://127.0.0.1:" + port, data: data}
	path := filepath.Join(t.TempDir(), "config.yml")
	config = fmt.Sprintf("listen: 127.0.0.1:%s\ndata: %s\n", port, data) + config
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--config", path)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "DOCKER_HOST=" + os.Getenv("DOCKER_HOST")}, env...)
	if s.process, err = startProcess(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.end(syscall.SIGTERM)
		removeContainers(data)
	})
	for range 600 {
		if answer, err := http.Get(s.url + "/healthz"); err == nil {
			answer.Body.Close()
			return s
		}
		if !s.alive() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the server does not answer:\n%s", s.output)
	return nil
}

// get asks the server's API.
func (s *measuredServer) get(t *testing.T, path string, v any) {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(s.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.output)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %.200s %v", path, answer.Status, text, err)
	}
}

type measuredBuild struct {
	ID                      string
	Number                  int
	Status                  string
	Done                    bool
	Created, Started, Ended time.Time
	Phases                  []struct {
		Type           string
		Started, Ended time.Time
	}
}

// await waits until the server's only project has ended as many builds, and gives the last, which must have succeeded.
func (s *measuredServer) await(t *testing.T, number int) (b measuredBuild) {
	t.Helper()
	var list struct{ Builds []measuredBuild }
	for range 3000 {
		s.get(t, "/api/builds?limit=1", &list)
		if len(list.Builds) > 0 && list.Builds[0].Done && list.Builds[0].Number >= number {
			s.get(t, "/api/builds/"+list.Builds[0].ID, &b)
			if b.Status != "SUCCEEDED" {
				t.Fatalf("build %d: %s\n%s", number, b.Status, s.output)
			}
			return b
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("build %d does not end: %+v\n%s", number, list, s.output)
	return b
}

// log is what is stored of a build's log.
func (s *measuredServer) log(id string) string { return filepath.Join(s.data, "logs", id+".log") }

// status is a line of a process's /proc/<pid>/status, in MiB.
func (s *measuredServer) status(t *testing.T, name string) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); key == name {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatalf("there is no %s in\n%s", name, text)
	return 0
}

// memory describes the memory of the server.
func (s *measuredServer) memory(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("resident %.1f MiB, of which %.1f are its own and %.1f of files; at most %.1f so far",
		s.status(t, "VmRSS"), s.status(t, "RssAnon"), s.status(t, "RssFile"), s.status(t, "VmHWM"))
}

// gitIn runs git without the machine's configuration.
func gitIn(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// fakeGitHub gives what a server must be told of a fake GitHub: lines of its configuration and its environment.
func fakeGitHub(t *testing.T, hub *githubtest.Server) (config string, env []string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, hub.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("github:\n  app-id: %d\n  url: %s\n  private-key: {file: %s}\n  webhook-secrets: [{env: GITHUB_SECRET}]\n",
		hub.AppID(), hub.URL(), key), []string{"GITHUB_SECRET=" + hub.WebhookSecret()}
}

// TestMeasureWebhook compares a server, from the moment at which GitHub sends a push to the moment at which it has the final
// report, with a clone and a `docker run` by hand.
func TestMeasureWebhook(t *testing.T) {
	program := measured(t)
	t.Log("By hand is `git clone --depth 1` over HTTP, without a token, and `docker run --rm` of the four commands as one script, with the clone" +
		" mounted, on the network that builds are on and with their limits. The server does more: it stores the delivery, asks GitHub for two tokens" +
		" and whether there is a buildspec, makes five check runs, and runs each command as a process of its own. It does less in that it has a mirror," +
		" into which it fetches the commit. The fake GitHub answers without the delay of a network and checks each request against GitHub's description," +
		" on the same processors. Between builds there are pauses, since one check run a second is all that the server tells an installation for long." +
		" A warm sandbox is started before its push, which by hand nobody does: its ratio says what waiting people gain, not what the machine does.")
	for _, c := range []struct{ name, config, goal string }{
		{"cold", "warm: 0\n", "1.15 at most"},
		{"warm: 1, as configured by default", "warm: 1\n", "1.15 at most (0.6 if a sandbox waits)"},
		{"cold, one check a build", "warm: 0\nchecks: build\n", "none"},
	} {
		measureWebhook(t, program, c.name, c.config, c.goal)
	}
}

func measureWebhook(t *testing.T, program, name, config, goal string) {
	const repo = "octo/hello"
	type change struct {
		at  time.Time
		run githubtest.CheckRun
	}
	changes := make(chan change, 1000)
	hub := githubtest.New(t, githubtest.Options{Changed: func(c githubtest.CheckRun) { changes <- change{time.Now(), c} }})
	if _, err := hub.AddRepo(repo, githubtest.RepoOptions{}); err != nil {
		t.Fatal(err)
	}
	more, env := fakeGitHub(t, hub)
	s := serveMeasured(t, program, t.TempDir(), more+config, env...)
	hub.SetHook(s.url + "/webhook/github")
	var last time.Time
	// rest waits until the forge has not been told anything for a while: it knows all, and its budget of requests is full again.
	rest := func() {
		for pause := time.Duration(1); pause > 0; pause = time.Until(last.Add(7 * time.Second)) {
			select {
			case c := <-changes:
				last = c.at
			case <-time.After(pause):
			}
		}
	}
	// final waits for the report of a commit's end.
	final := func(sha string) time.Time {
		for timeout := time.After(time.Minute); ; {
			select {
			case c := <-changes:
				last = c.at
				if c.run.HeadSHA == sha && c.run.Name == "buildsmith" && c.run.Status == "completed" {
					if c.run.Conclusion != "success" {
						t.Errorf("the check of %s is %s: %s", sha, c.run.Conclusion, c.run.Title)
					}
					return c.at
				}
			case <-timeout:
				t.Fatalf("there is no final report of %s\n%s", sha, s.output)
			}
		}
	}
	commits := 0
	commit := func() string {
		commits++
		sha, err := hub.Commit(repo, "main", githubtest.Change{Files: map[string]string{"buildspec.yml": echoSpec, "file": fmt.Sprint(commits)}})
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	var steps stepTimes
	var waited []string // sandboxes that waited when a push came
	ours := func(warmUp bool) float64 {
		rest()
		waiting := containers(s.data)
		sha := commit()
		d, err := hub.Push(repo, "main")
		if err != nil || d.StatusCode != http.StatusAccepted {
			t.Fatalf("the push was answered %d: %v", d.StatusCode, err)
		}
		at := final(sha)
		b := s.await(t, 1)
		text, err := os.ReadFile(s.log(b.ID))
		if err != nil {
			t.Fatal(err)
		}
		if got := ownOutput(string(text)); got != echoOutput {
			t.Errorf("the build printed %q, want %q", got, echoOutput)
		}
		if !warmUp {
			steps.add(d, b, at)
			waited = append(waited, waiting...)
		}
		return milliseconds(at.Sub(d.At))
	}
	dir := t.TempDir()
	theirs := func(bool) float64 {
		rest()
		commit()
		defer os.RemoveAll(filepath.Join(dir, "clone"))
		var out bytes.Buffer
		begun := time.Now()
		gitIn(t, dir, "clone", "--quiet", "--depth", "1", hub.CloneURL(repo), "clone")
		timed(t, &out, "docker", "run", "--rm", "--network", "buildsmith", "--memory", "2g", "--cpus", "2", "--pids-limit", "4096",
			"--volume", filepath.Join(dir, "clone")+":/src", "--workdir", "/src", runnertest.DebianImage, "sh", "-c", echoScript)
		took := time.Since(begun)
		if out.String() != echoOutput {
			t.Errorf("docker run printed %q, want %q", out.String(), echoOutput)
		}
		return milliseconds(took)
	}
	a, b := comparePairs(ours, theirs)
	compared(t, "webhook to final report / clone and docker run, "+name, "ms", a, b, goal)
	t.Logf("  of which, medians: %s", steps.String())
	if strings.Contains(config, "warm: 1") {
		rest()
		left := containers(s.data)
		waited = slices.DeleteFunc(waited, func(id string) bool { return slices.Contains(left, id) })
		t.Logf("  %d of %d builds took the sandbox that waited", len(waited), len(a))
	}
	t.Logf("  afterwards the server is %s", s.memory(t))
}

// stepTimes says where the time of builds goes, in milliseconds.
type stepTimes struct {
	names []string
	times map[string][]float64
}

func (s *stepTimes) add(d githubtest.Delivery, b measuredBuild, told time.Time) {
	put := func(name string, from, to time.Time) {
		if s.times == nil {
			s.times = map[string][]float64{}
		}
		if s.times[name] == nil {
			s.names = append(s.names, name)
		}
		s.times[name] = append(s.times[name], milliseconds(to.Sub(from)))
	}
	put("delivery answered", d.At, d.At.Add(d.Duration))
	put("build made", d.At, b.Created)
	put("claimed", b.Created, b.Started)
	var begin, end time.Time
	for _, p := range b.Phases {
		switch p.Type {
		case "DOWNLOAD_SOURCE":
			put("source (beside the container)", p.Started, p.Ended)
		case "PROVISIONING":
			put("container", p.Started, p.Ended)
		case "INSTALL":
			begin = p.Started
			put("claimed to first phase", b.Started, begin)
		case "POST_BUILD":
			end = p.Ended
		}
	}
	put("phases", begin, end)
	put("end recorded", end, b.Ended)
	put("end reported", b.Ended, told)
}

func (s *stepTimes) String() string {
	var list []string
	for _, name := range s.names {
		list = append(list, fmt.Sprintf("%s %s", name, figure(median(s.times[name]))))
	}
	return strings.Join(list, ", ") + " ms"
}

// TestMeasureIdle looks at the memory of a server that does nothing: after its start, and after ten builds.
func TestMeasureIdle(t *testing.T) {
	program := measured(t)
	var fresh []float64
	for range measurePairs {
		s := serveMeasured(t, program, t.TempDir(), "")
		time.Sleep(2 * time.Second)
		fresh = append(fresh, s.status(t, "VmRSS"))
		s.end(syscall.SIGTERM)
	}
	t.Logf("idle after the start: %s; goal 40 at most", spread(fresh, "MiB resident"))
	s := serveMeasured(t, program, t.TempDir(), "")
	time.Sleep(2 * time.Second)
	t.Logf("idle after the start: %s", s.memory(t))
	dir := t.TempDir()
	gitIn(t, dir, "init", "--quiet")
	if err := os.WriteFile(filepath.Join(dir, "buildspec.yml"), []byte(echoSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	gitIn(t, dir, "add", "--all")
	for number := range 10 {
		gitIn(t, dir, "commit", "--quiet", "--allow-empty", "--message", fmt.Sprint("Build ", number+1))
		gitIn(t, dir, "push", "--quiet", s.url+"/git/hello.git", "HEAD:main")
		b := s.await(t, number+1)
		if text, err := os.ReadFile(s.log(b.ID)); err != nil || ownOutput(string(text)) != echoOutput {
			t.Errorf("build %d printed %q, %v", number+1, text, err)
		}
	}
	t.Logf("after ten builds: %s", s.memory(t))
	time.Sleep(45 * time.Second)
	t.Logf("after 45 s more of doing nothing: %s; goal 40 at most", s.memory(t))
}
