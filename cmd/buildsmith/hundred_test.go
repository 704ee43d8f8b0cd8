package main

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/checks/web"
	"buildsmith/runner/runnertest"
)

// The builds of TestNothingLeftBehind: those of each branch end as it says.
var hundredSpecs = map[string]string{
	"SUCCEEDED": "version: 0.2\nphases: {build: {commands: [echo well, mkdir out, echo $CODEBUILD_BUILD_NUMBER > out/number]}}\nartifacts: {files: [out/*]}\n",
	"FAILED":    "version: 0.2\nphases: {build: {commands: ['(sleep 1000 &)', 'echo badly; exit 3']}}\n",
	"STOPPED":   "version: 0.2\nphases: {build: {commands: ['echo slowly; sleep 1000 & sleep 1000']}}\n",
}

// TestNothingLeftBehind runs a hundred builds on an engine of its own: a third succeed, a third fail, a third are stopped,
// half of them while they wait. After the last one there is what there was before the first, and the records of a hundred
// builds.
func TestNothingLeftBehind(t *testing.T) {
	const count = 100
	e := startEngine(t, runnertest.DebianImage)
	bin, data := buildPrograms(t), t.TempDir()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "listen: 127.0.0.1:%s\ndata: %s\nslots: 4\nwarm: 0\n", port, data), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "buildsmith"), "serve", "--config", config)
	cmd.Env = append(os.Environ(), "BUILDSMITH_AGENT="+filepath.Join(bin, "buildsmith-static"), "GORACE=halt_on_error=1 atexit_sleep_ms=0")
	server, err := startProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer server.end(syscall.SIGKILL)
	c := &client{server: "http://127.0.0.1:" + port, data: data}
	soon := func(what string, most time.Duration, holds func() bool) {
		t.Helper()
		for limit := time.Now().Add(most); !holds(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(limit) || !server.alive() {
				t.Fatalf("%s\n%s", what, server.output)
			}
		}
	}
	soon("the server does not answer", time.Minute, func() bool {
		answer, err := http.Get(c.server + "/healthz")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	before, handles := engineHas(t), handlesOf(t, c)

	// A push of each branch is its first build; the others are asked for.
	kinds := slices.Sorted(maps.Keys(hundredSpecs))
	repo, commits := t.TempDir(), map[string]string{}
	git := func(args ...string) string {
		return strings.TrimSpace(mustRun(t, nil, "git", append([]string{"-C", repo, "-c", "user.name=T", "-c", "user.email=t@example.org"}, args...)...))
	}
	git("init", "--quiet")
	for _, kind := range kinds {
		if err := os.WriteFile(filepath.Join(repo, "buildspec.yml"), []byte(hundredSpecs[kind]), 0o600); err != nil {
			t.Fatal(err)
		}
		git("checkout", "--quiet", "-b", kind)
		git("add", "buildspec.yml")
		git("commit", "--quiet", "--message", kind)
		commits[kind] = git("rev-parse", "HEAD")
		git("push", "--quiet", c.server+"/git/many.git", kind)
	}
	begun := time.Now()
	stop := func(id string) {
		if err := c.do(t.Context(), http.MethodPost, buildPath(id)+"/stop", nil, new(web.Build)); err != nil {
			t.Error(err)
		}
	}
	for i := len(kinds); i < count; i++ {
		var started web.Started
		if err := c.do(t.Context(), http.MethodPost, "/api/builds", web.StartRequest{Project: "many", Version: kinds[i%3]}, &started); err != nil {
			t.Fatal(err)
		}
		if kinds[i%3] == "STOPPED" && i%2 == 0 {
			stop(started.Builds[0])
		}
	}
	var list web.BuildList // newest first
	stopping := map[string]bool{}
	soon("not all builds end", 3*time.Minute, func() bool {
		list = web.BuildList{}
		if err := c.get(t.Context(), "/api/builds?limit=100", &list); err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, b := range list.Builds {
			if b.Done {
				done++
			} else if b.Source.Commit == commits["STOPPED"] && b.Phase == "BUILD" && !stopping[b.ID] {
				stopping[b.ID] = true
				stop(b.ID)
			}
		}
		return done == count
	})
	t.Logf("%d builds took %v", count, time.Since(begun).Round(time.Second))

	// Each has one end, and its log.
	var queued, running int
	files := map[string]bool{}
	for i, b := range list.Builds {
		b = web.Build{ID: b.ID}
		if err := c.get(t.Context(), buildPath(b.ID), &b); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(data, "logs", b.ID+".log"))
		ends := strings.Count(string(text), " State: "+b.Status+"\n")
		if b.Status == "SUCCEEDED" {
			ends = strings.Count(string(text), "Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED\n")
		}
		ended := 0
		for _, p := range b.Phases {
			if p.Type == "COMPLETED" {
				ended++
			}
			if p.Type != "COMPLETED" && p.Ended.IsZero() {
				t.Errorf("#%d %s: phase %s has no end", b.Number, b.Status, p.Type)
			}
		}
		switch {
		case b.Number != count-i || b.RerunOf+b.RerunBy != "" || ended != 1 || b.Source.Commit != commits[b.Status]:
			t.Errorf("build %d of %d: %+v", i, count, b)
		case b.Started.IsZero(): // it was stopped in the queue
			queued++
			if b.Status != "STOPPED" || len(text) != 0 {
				t.Errorf("#%d %s in the queue, its log: %s", b.Number, b.Status, text)
			}
		case err != nil || int64(len(text)) != b.LogBytes || ends != 1:
			t.Errorf("#%d %s: %d ends in the log of %d bytes, %d recorded, %v", b.Number, b.Status, ends, len(text), b.LogBytes, err)
		case b.Status == "STOPPED":
			running++
		}
		if (b.Artifacts != nil) != (b.Status == "SUCCEEDED") {
			t.Errorf("#%d %s: artifacts %+v", b.Number, b.Status, b.Artifacts)
		}
		files["logs/"+b.ID+".log"] = !b.Started.IsZero()
		files["artifacts/"+b.ID+".zip"] = b.Artifacts != nil
		files["artifacts/"+b.ID+".json"] = b.Artifacts != nil
	}
	t.Logf("stopped: %d in the queue, %d running", queued, running)
	if queued < 5 || running < 5 {
		t.Errorf("stopped: %d in the queue, %d running", queued, running)
	}

	// Nothing else is left.
	soon("directories of sandboxes are left", 20*time.Second, func() bool {
		dirs, _ := os.ReadDir(filepath.Join(data, "run"))
		return len(dirs) == 0
	})
	if after := engineHas(t); after != before {
		t.Errorf("the engine had\n%s\nand now has\n%s", before, after)
	}
	soon("goroutines or open files are left", 20*time.Second, func() bool { return handlesOf(t, c) < handles+count/3 })
	for _, p := range processes(t) {
		if p.parent == server.cmd.Process.Pid || strings.Contains(p.command, "containerd-shim") && strings.Contains(p.command, e.dir) {
			t.Errorf("left: %+v", p)
		}
	}
	server.end(syscall.SIGTERM)
	if !server.cmd.ProcessState.Success() {
		t.Errorf("the server ended with %v:\n%s", server.cmd.ProcessState, server.output)
	}
	if err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(data, path)
		if err != nil || entry.IsDir() {
			return err
		}
		if wanted, known := files[name]; known && wanted {
			delete(files, name)
		} else if !stays.MatchString(name) {
			t.Errorf("left: %s", name)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for name, wanted := range files {
		if wanted {
			t.Errorf("missing: %s", name)
		}
	}
}

// stays matches what a data directory has beside the files of builds.
var stays = regexp.MustCompile(`^(buildsmith\.db|admin\.token|secrets\.key|git-hooks/post-receive|agent/[0-9a-f]{64}|(git|mirrors)/[^/]+(/[^/]+)?\.git/(HEAD|config|description|packed-refs|hooks/[a-z-]+|info/[a-z]+|refs/.+|objects/([0-9a-f]{2}/[0-9a-f]{38}|pack/pack-[0-9a-f]{40}\.[a-z]+|info/[a-z]+)))$`)

// engineHas lists what the engine keeps.
func engineHas(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, args := range []string{"container ls --all --quiet", "network ls --quiet", "volume ls --quiet", "image ls --all --quiet"} {
		lines := strings.Fields(mustRun(t, nil, "docker", strings.Fields(args)...))
		slices.Sort(lines)
		fmt.Fprintf(&all, "%s: %s\n", args, strings.Join(lines, " "))
	}
	return all.String()
}

// handlesOf is how many goroutines and open files the server has.
func handlesOf(t *testing.T, c *client) (sum int) {
	t.Helper()
	in, err := c.open(t.Context(), http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	found := regexp.MustCompile(`(?m)^(?:go_goroutines|process_open_fds) (\d+)$`).FindAllSubmatch(text, -1)
	if err != nil || len(found) != 2 {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, m := range found {
		n, _ := strconv.Atoi(string(m[1]))
		sum += n
	}
	return sum
}

type machineProcess struct {
	pid, parent int
	command     string
}

// processes lists those of the machine.
func processes(t *testing.T) (list []machineProcess) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range entries {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if err != nil || len(fields) < 2 {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		parent, _ := strconv.Atoi(fields[1])
		list = append(list, machineProcess{pid, parent, strings.ReplaceAll(string(command), "\x00", " ")})
	}
	return list
}
