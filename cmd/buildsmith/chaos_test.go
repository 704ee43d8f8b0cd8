package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildsmith/checks/web"
	"buildsmith/runner/runnertest"

	"github.com/google/go-cmp/cmp"
)

// chaosSweep is how often the servers look for what was not delivered.
const chaosSweep = 3 * time.Second

// chaosPath matches the requests that fail. Tokens are spared: a build without one to clone with is a fault of ours and repeated
// once, so that chance would decide how many builds there are.
const chaosPath = "^/(repos|repositories|installation)/"

// chaosSpecs are the buildspecs of the commits. What each commit's build ends as depends on nothing else.
var chaosSpecs = []struct{ status, text string }{
	{"SUCCEEDED", "version: 0.2\nphases: {build: {commands: [echo well]}}\n"},
	{"FAILED", "version: 0.2\nphases: {build: {commands: ['echo badly; exit 3']}}\n"},
	{"SUCCEEDED", "version: 0.2\nphases: {install: {commands: ['sleep 0.5']}, build: {commands: ['echo x > out.txt']}}\nartifacts: {files: [out.txt]}\n"},
	{"FAILED", "version: 0.2\nphases: {build: {commands: [}}\n"},
}

// TestChaos runs two servers, each with a data directory and a GitHub of its own. Both get the same deliveries, of which some
// are lost, late, repeated or in another order, from a forge that fails one request in five. One of the two is killed every
// few seconds. In the end both have the same builds, and their forges show the same checks.
func TestChaos(t *testing.T) {
	runnertest.NeedDocker(t, runnertest.BusyboxImage)
	seconds := 40
	if text := os.Getenv("BUILDSMITH_TEST_CHAOS"); text != "" {
		var err error
		if seconds, err = strconv.Atoi(text); err != nil || seconds < 10 {
			t.Fatalf("BUILDSMITH_TEST_CHAOS is %q, not a number of seconds from 10 on", text)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("BUILDSMITH_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("BUILDSMITH_TEST_SEED=%d", seed)
	count := min(200, 5*seconds/3) // deliveries
	plan := chaosPlan(count)
	bin := buildPrograms(t)
	sides := []*chaosSide{newChaosSide(t, bin, "calm"), newChaosSide(t, bin, "killed")}
	begun := time.Now()
	end := begun.Add(time.Duration(seconds) * time.Second)
	var working sync.WaitGroup
	for _, side := range sides {
		working.Go(func() {
			side.do("chaos", map[string]any{"seed": seed, "requests": 5, "path": chaosPath, "drop": 12, "delay": 10, "repeat": 6, "reorder": 10,
				"most": "300ms", "hold": "1s"})
			pause := time.Until(end) * 2 / 3 / time.Duration(count)
			for _, step := range plan {
				side.take(step)
				time.Sleep(pause)
			}
		})
	}
	working.Go(func() { sides[1].killOften(rand.New(rand.NewPCG(seed, 3)), end) })
	working.Wait()
	for _, side := range sides {
		side.calm() // both at once, for what was lost takes a while
	}
	for _, side := range sides {
		side.settle()
		side.do("chaos", map[string]any{"seed": seed, "requests": 5, "path": chaosPath})
		side.rerun()
	}
	for _, side := range sides {
		side.settle()
		t.Logf("%s: %d deliveries, %d kills, %v after %v", side.name, len(plan), side.kills, side.happened(), time.Since(begun).Round(time.Second))
	}
	if sides[1].kills < 2 {
		t.Errorf("the server was killed %d times", sides[1].kills)
	}
	calm, killed := sides[0], sides[1]
	if diff := cmp.Diff(calm.builds(), killed.builds()); diff != "" {
		t.Errorf("the builds differ (-calm +killed)\n%s", diff)
	}
	if diff := cmp.Diff(calm.checks(), killed.checks()); diff != "" {
		t.Errorf("the checks differ (-calm +killed)\n%s", diff)
	}
	for _, side := range sides {
		side.expected(plan)
		if wrong := strings.TrimSpace(string(side.get("violations"))); wrong != "[]" {
			t.Errorf("%s: requests that GitHub would not take:\n%s", side.name, wrong)
		}
		side.server.end(syscall.SIGTERM)
		if !side.server.cmd.ProcessState.Success() || strings.Contains(side.server.output.String(), "DATA RACE") {
			t.Errorf("%s: the server ended with %v:\n%s", side.name, side.server.cmd.ProcessState, side.server.output)
		}
	}
}

// A chaosStep is what somebody does at GitHub: a commit, perhaps, and a delivery.
type chaosStep struct {
	repo   string
	commit string // what to call the commit, which is its message; empty for none
	branch string
	spec   int
	act    string // push, pull-request, synchronize, comment
	number int
	status string // of the build that the commit has in the end
}

// chaosPlan is what is done in both worlds: so many deliveries, such that the order in which they arrive does not matter. A
// comment is on a pull request whose head stays, and no two builds of one commit differ.
func chaosPlan(count int) (plan []chaosStep) {
	for n := 0; len(plan) < count; n++ {
		repo := fmt.Sprintf("owner%d/shop", n)
		label := func(k int) string { return fmt.Sprintf("%s %d", repo, k) }
		spec := func(k int) (int, string) { i := (n + k) % len(chaosSpecs); return i, chaosSpecs[i].status }
		step := func(k int, branch, act string, number int) {
			s := chaosStep{repo: repo, branch: branch, act: act, number: number}
			if k > 0 {
				s.commit = label(k)
				s.spec, s.status = spec(k)
			}
			plan = append(plan, s)
		}
		step(1, "main", "push", 0)
		step(2, "feature", "push", 0)
		step(0, "feature", "pull-request", 1)
		step(3, "feature", "push", 0)
		step(0, "feature", "synchronize", 1)
		step(4, "steady", "push", 0)
		step(0, "steady", "pull-request", 2)
		step(0, "", "comment", 2)
		step(5, "main", "push", 0)
		step(6, "other", "push", 0)
	}
	return plan[:count]
}

// A chaosSide is a server and its GitHub.
type chaosSide struct {
	t                      *testing.T
	name, bin, dir, config string
	secret                 string
	address                string // of the fake GitHub
	client                 *client
	server                 *process
	kills                  int
	commits                map[string]string // hash => what the plan calls it
	made                   map[string]bool   // repositories
}

func newChaosSide(t *testing.T, bin, name string) *chaosSide {
	t.Helper()
	dir := t.TempDir()
	s := &chaosSide{t: t, name: name, bin: bin, dir: dir, config: filepath.Join(dir, "config.yml"), commits: map[string]string{}, made: map[string]bool{}}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s.client = &client{server: "http://127.0.0.1:" + port, data: filepath.Join(dir, "data")}
	addressFile := filepath.Join(dir, "address")
	hub, err := startProcess(exec.Command(filepath.Join(bin, "fakegithub"), "-listen", "127.0.0.1:0", "-data", filepath.Join(dir, "github"),
		"-hook", s.client.server+"/webhook/github", "-address-file", addressFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hub.end(syscall.SIGTERM) })
	s.soon("the fake GitHub does not begin", 20*time.Second, func() bool {
		text, err := os.ReadFile(addressFile)
		s.address = strings.TrimSpace(string(text))
		return err == nil
	})
	var app struct {
		AppID      int64  `json:"app_id"`
		Secret     string `json:"webhook_secret"`
		PrivateKey string `json:"private_key"`
	}
	key := filepath.Join(dir, "key.pem")
	if err := json.Unmarshal(s.get("app"), &app); err != nil {
		t.Fatal(err)
	}
	s.secret = app.Secret
	for path, text := range map[string]string{key: app.PrivateKey, s.config: fmt.Sprintf("listen: 127.0.0.1:%s\ndata: %s\nslots: 3\nwarm: 0\nchecks: build\nsupersede: off\nbuilds: {image: %q}\n"+
		"github:\n  app-id: %d\n  url: %s\n  private-key: {file: %s}\n  webhook-secrets: [{env: GITHUB_SECRET}]\n",
		port, s.client.data, runnertest.BusyboxImage, app.AppID, s.address, key)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	t.Cleanup(func() {
		s.server.end(syscall.SIGTERM)
		removeContainers(s.client.data)
	})
	s.answers()
	return s
}

// start starts the server.
func (s *chaosSide) start() {
	cmd := exec.Command(filepath.Join(s.bin, "buildsmith"), "serve", "--config", s.config)
	cmd.Env = append(os.Environ(), "BUILDSMITH_AGENT="+filepath.Join(s.bin, "buildsmith-static"), "GORACE=halt_on_error=1 atexit_sleep_ms=0", "GITHUB_SECRET="+s.secret,
		fmt.Sprint("BUILDSMITH_SWEEP_EVERY=", chaosSweep))
	var err error
	if s.server, err = startProcess(cmd); err != nil {
		s.t.Error(err)
	}
}

func (s *chaosSide) answers() {
	s.soon("the server does not answer", time.Minute, func() bool {
		if !s.server.alive() {
			s.t.Fatalf("%s: the server ended:\n%s", s.name, s.server.output)
		}
		answer, err := http.Get(s.client.server + "/healthz")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
}

// killOften kills the server every few seconds, wherever it is, and starts it again.
func (s *chaosSide) killOften(random *rand.Rand, end time.Time) {
	for {
		time.Sleep(2*time.Second + time.Duration(random.Int64N(int64(4*time.Second))))
		if time.Now().After(end) {
			return
		}
		s.server.end(syscall.SIGKILL)
		if strings.Contains(s.server.output.String(), "DATA RACE") {
			s.t.Errorf("the server that was killed said\n%s", s.server.output)
		}
		s.kills++
		s.start()
	}
}

func (s *chaosSide) soon(what string, most time.Duration, holds func() bool) {
	s.t.Helper()
	for limit := time.Now().Add(most); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(limit) {
			said := ""
			if s.server != nil {
				said = s.server.output.String()
			}
			s.t.Fatalf("%s: %s\n%s", s.name, what, said[max(0, len(said)-8000):])
		}
	}
}

// get reads a thing of the fake GitHub.
func (s *chaosSide) get(thing string) []byte {
	answer, err := http.Get(s.address + "/_control/" + thing)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %s: %s %s %v", s.name, thing, answer.Status, text, err)
	}
	return text
}

// do has the fake GitHub do something, and gives what it says.
func (s *chaosSide) do(act string, in map[string]any) (out map[string]any) {
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Error(err)
	}
	answer, err := http.Post(s.address+"/_control/"+act, "application/json", bytes.NewReader(body))
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil || answer.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %s %s: %s %v %v", s.name, act, body, answer.Status, out, err)
	}
	return out
}

// take takes a step of the plan.
func (s *chaosSide) take(step chaosStep) {
	if !s.made[step.repo] {
		s.made[step.repo] = true
		s.do("repo", map[string]any{"repo": step.repo})
	}
	if step.commit != "" {
		out := s.do("commit", map[string]any{"repo": step.repo, "branch": step.branch, "message": step.commit,
			"files": map[string]string{"buildspec.yml": chaosSpecs[step.spec].text, "which": step.commit}})
		sha, _ := out["sha"].(string)
		s.commits[sha] = step.commit
	}
	owner, _, _ := strings.Cut(step.repo, "/")
	in := map[string]any{"repo": step.repo}
	switch step.act {
	case "push":
		in["ref"] = step.branch
	case "pull-request":
		in["head"], in["user"] = step.branch, owner
	case "synchronize":
		in["number"] = step.number
	case "comment":
		in["number"], in["user"], in["body"] = step.number, owner, "/test"
	}
	s.do(step.act, in)
}

// calm ends the bad day: what was held back comes now, and what was lost is left to the server.
func (s *chaosSide) calm() {
	s.t.Helper()
	s.answers()
	s.do("chaos", map[string]any{})
}

// missing counts the deliveries that the server does not have, though GitHub tried to send them.
func (s *chaosSide) missing() int {
	var sent []struct{ GUID string }
	if err := json.Unmarshal(s.get("deliveries"), &sent); err != nil {
		s.t.Error(err)
	}
	lacks := map[string]bool{}
	for _, d := range sent {
		lacks[d.GUID] = true
	}
	for before := uint64(0); ; {
		path := "/api/deliveries?limit=100"
		if before > 0 {
			path += fmt.Sprintf("&before=%d", before)
		}
		var page web.DeliveryList
		if err := s.client.get(s.t.Context(), path, &page); err != nil {
			return len(lacks)
		}
		for _, d := range page.Deliveries {
			delete(lacks, d.ID)
		}
		if before = page.Next; before == 0 {
			return len(lacks)
		}
	}
}

// settle waits until all deliveries have arrived and all that follows of them is done and told.
func (s *chaosSide) settle() {
	s.t.Helper()
	quiet := 0
	s.soon("it does not come to rest", 8*time.Minute, func() bool {
		in, err := s.client.open(s.t.Context(), http.MethodGet, "/metrics", nil)
		if err != nil {
			return false
		}
		defer in.Close()
		text, err := io.ReadAll(in)
		if err != nil {
			return false
		}
		still := s.missing() > 0 || slices.ContainsFunc(s.all(), func(b web.Build) bool { return !b.Done })
		for _, name := range []string{"deliveries_pending", "reports_pending"} {
			still = still || !strings.Contains(string(text), "\nbuildsmith_"+name+" 0\n")
		}
		if quiet++; still {
			quiet = 0
		}
		return quiet >= 5
	})
}

// all are all builds of the server.
func (s *chaosSide) all() (list []web.Build) {
	for before := uint64(0); ; {
		path := "/api/builds?limit=100"
		if before > 0 {
			path += fmt.Sprintf("&before=%d", before)
		}
		var page web.BuildList
		if err := s.client.get(s.t.Context(), path, &page); err != nil {
			s.t.Error(err)
			return list
		}
		list = append(list, page.Builds...)
		if before = page.Next; before == 0 {
			return list
		}
	}
}

// named is what the plan calls a commit.
func (s *chaosSide) named(hash string) string {
	if name := s.commits[hash]; name != "" {
		return name
	}
	return hash
}

// builds are the builds as one line each, without what is different from world to world: ids, hashes, times. A commit that was
// pushed and is a pull request's has one build by itself, for whichever of the two was decided on first.
func (s *chaosSide) builds() (lines []string) {
	for _, b := range s.all() {
		why := "by itself"
		if b.RerunOf != "" {
			why = "re-run"
		} else if b.Source.Event == "" || b.Source.AskedBy != "" {
			why = "asked for"
		}
		lines = append(lines, fmt.Sprintf("%s: %s, %s, %s", b.Repository, s.named(b.Source.Commit), why, b.Status))
	}
	slices.Sort(lines)
	return lines
}

// A chaosCheck is a check run at the fake GitHub.
type chaosCheck struct {
	ID                               int64
	Name, Conclusion, Status, Commit string
	HeadSHA                          string `json:"head_sha"`
	ExternalID                       string `json:"external_id"`
}

func (s *chaosSide) checksOf(repo string) (list []chaosCheck) {
	if err := json.Unmarshal(s.get("check-runs?repo="+repo), &list); err != nil {
		s.t.Error(err)
	}
	return list
}

// checks are the checks that people see: the newest of each name and commit. No check was made twice.
func (s *chaosSide) checks() (lines []string) {
	for repo := range s.made {
		newest, made := map[string]string{}, map[string]bool{}
		for _, c := range s.checksOf(repo) { // the oldest first
			if key := c.Name + " " + c.ExternalID; c.ExternalID == "" || made[key] {
				s.t.Errorf("%s: the check %s of %s was made twice", s.name, c.Name, c.ExternalID)
			} else {
				made[key] = true
			}
			newest[fmt.Sprintf("%s: %s: %s", repo, s.named(c.HeadSHA), c.Name)] = c.Status + " " + c.Conclusion
		}
		for key, state := range newest {
			lines = append(lines, key+" "+state)
		}
	}
	slices.Sort(lines)
	return lines
}

// rerun presses the button Re-run of one check of each repository.
func (s *chaosSide) rerun() {
	for _, repo := range slices.Sorted(maps.Keys(s.made)) {
		list := s.checksOf(repo)
		slices.SortFunc(list, func(a, b chaosCheck) int { return strings.Compare(s.commits[a.HeadSHA], s.commits[b.HeadSHA]) })
		if len(list) == 0 {
			s.t.Errorf("%s: %s has no checks", s.name, repo)
			continue
		}
		owner, _, _ := strings.Cut(repo, "/")
		s.do("rerequest", map[string]any{"check_run": list[0].ID, "user": owner})
	}
}

// expected holds the builds against the plan: each commit has one, which ended as its buildspec says.
func (s *chaosSide) expected(plan []chaosStep) {
	got := map[string]string{}
	for _, b := range s.all() {
		label := s.commits[b.Source.Commit]
		if before := got[label]; before != "" && before != b.Status {
			s.t.Errorf("%s: the builds of %s ended as %s and %s", s.name, label, before, b.Status)
		}
		got[label] = b.Status
	}
	for _, step := range plan {
		if step.commit != "" && got[step.commit] != step.status {
			s.t.Errorf("%s: the build of %s ended as %q, want %s", s.name, step.commit, got[step.commit], step.status)
		}
	}
}

// happened counts the mishaps by what they were.
func (s *chaosSide) happened() map[string]int {
	var list []struct{ What string }
	if err := json.Unmarshal(s.get("mishaps"), &list); err != nil {
		s.t.Error(err)
	}
	count := map[string]int{}
	for _, m := range list {
		word, _, _ := strings.Cut(m.What, " by ")
		count[word]++
	}
	return count
}
