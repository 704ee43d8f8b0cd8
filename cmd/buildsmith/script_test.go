package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/runnertest"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the scripts below testdata/script: the real program, real git, real Docker, the fake GitHub and the
// built-in forge. Commands beside testscript's own:
//
//	serve FORGE [FILE]   starts the server for the forge local or github, with the file added to its configuration; ends it if
//	                     it runs. The environment variable DIE makes it die at a point: see faults.go.
//	sigkill              kills the server with SIGKILL
//	term                 ends the server with SIGTERM
//	died                 waits until the server has died by itself
//	github               starts the fake GitHub, whose webhook is the server's
//	gh do|get ...        drives it
//	checks SHA           waits until all checks of a commit are completed and prints them
//	right                fails if the fake GitHub has seen a request that GitHub would not take
//	commit DIR [TEXT]    commits all files of a directory, and puts the hash into the variable SHA
//	build NAME [N]       waits until the newest build of a project, the N-th at least, is over, and prints its status and phases;
//	                     BUILD is its id
//	logtext BUILD        prints the log of a build without times
//	count NAME           prints how many builds a project has
//	running NAME [N]     waits until the newest build of a project, the N-th at least, runs commands; BUILD is its id
//	said                 prints what the server has printed since it was started
//	await RE gh ...      repeats gh until its output matches, and prints it
//	await RE reason      likewise for what the newest delivery says of itself
//	nothing-left         fails if a container, or a directory of a sandbox, is there a while after the last build
func TestScripts(t *testing.T) {
	runScripts(t, filepath.Join("..", "..", "testdata", "script"))
}

// runScripts runs the scripts of a directory.
func runScripts(t *testing.T, dir string) {
	runnertest.NeedDocker(t, runnertest.DebianImage)
	bin := buildPrograms(t)
	testscript.Run(t, testscript.Params{
		Dir:           dir,
		Setup:         func(env *testscript.Env) error { return setUp(env, bin) },
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds:          scriptCommands(),
	})
}

func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"serve": serveScript, "sigkill": signalScript(syscall.SIGKILL), "term": signalScript(syscall.SIGTERM), "died": diedScript,
		"github": githubScript, "gh": ghScript, "checks": checksScript, "right": rightScript, "commit": commitScript,
		"build": buildScript, "running": runningScript, "nothing-left": nothingLeftScript,
		"logtext": logTextScript, "count": countScript, "said": saidScript, "await": awaitScript,
	}
}

// A stage is what a script has running.
type stage struct {
	server *process
	fake   *process // forge
	driver string   // the program that drives it
}

type process struct {
	cmd    *exec.Cmd
	output *output
	ended  chan struct{}
}

// output is what a process prints; it can be read meanwhile.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, output: &output{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		cmd.Wait()
	}()
	return p, nil
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// end ends a process, and kills it if it does not within a while.
func (p *process) end(with syscall.Signal) {
	if p == nil {
		return
	}
	p.cmd.Process.Signal(with)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

type stageKey struct{}

func stageOf(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

// freePort is a port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func setUp(env *testscript.Env, bin string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	data := filepath.Join(env.WorkDir, "data")
	s := &stage{}
	env.Values[stageKey{}] = s
	env.Defer(func() {
		s.server.end(syscall.SIGTERM)
		s.fake.end(syscall.SIGTERM)
		removeContainers(data)
	})
	for _, v := range []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "BIN=" + bin, "DATA=" + data, "URL=http://127.0.0.1:" + port, "LISTEN=127.0.0.1:" + port,
		"BUILDSMITH_SERVER=http://127.0.0.1:" + port, "BUILDSMITH_AGENT=" + filepath.Join(bin, "buildsmith-static"),
		"BUILDSMITH_CONFIG=", "BUILDSMITH_TOKEN=", "IMAGE=" + runnertest.DebianImage, "GORACE=halt_on_error=1 atexit_sleep_ms=0", "XDG_STATE_HOME=" + env.WorkDir,
		"GIT_AUTHOR_NAME=T", "GIT_AUTHOR_EMAIL=t@example.org", "GIT_COMMITTER_NAME=T", "GIT_COMMITTER_EMAIL=t@example.org",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", fmt.Sprint("UID=", os.Getuid()), fmt.Sprint("GID=", os.Getgid()), "DOCKER_HOST=" + os.Getenv("DOCKER_HOST"),
	} {
		name, value, _ := strings.Cut(v, "=")
		env.Setenv(name, value)
	}
	return nil
}

// ownLabel is the label of the containers of a data directory.
func ownLabel(data string) string {
	sum := sha256.Sum256([]byte(data))
	return "buildsmith.data=" + hex.EncodeToString(sum[:8])
}

func containers(data string) []string {
	out, _ := exec.Command("docker", "ps", "-aq", "--filter", "label="+ownLabel(data)).Output()
	return strings.Fields(string(out))
}

func removeContainers(data string) {
	if ids := containers(data); len(ids) > 0 {
		exec.Command("docker", append([]string{"rm", "-f"}, ids...)...).Run()
	}
}

func serveScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: serve local|github [file]")
	}
	s := stageOf(ts)
	s.server.end(syscall.SIGTERM)
	config := fmt.Sprintf("listen: %s\ndata: %s\nwarm: 0\n", ts.Getenv("LISTEN"), ts.Getenv("DATA"))
	if args[0] == "github" {
		config += fmt.Sprintf("github:\n  app-id: %s\n  url: %s\n  private-key: {file: %s}\n  webhook-secrets: [{env: GITHUB_SECRET}]\n",
			ts.Getenv("GITHUB_APP"), ts.Getenv("FORGE"), ts.Getenv("GITHUB_KEY"))
	}
	if len(args) > 1 {
		more := ts.ReadFile(args[1])
		if strings.Contains(more, "warm:") {
			config = strings.Replace(config, "warm: 0\n", "", 1)
		}
		config += more
	}
	path := ts.MkAbs("config.yml")
	ts.Check(os.WriteFile(path, []byte(config), 0o600))
	cmd := exec.Command(filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], "buildsmith"), "serve", "--config", path)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = []string{"BUILDSMITH_DIE_AT=" + ts.Getenv("DIE"), "BUILDSMITH_PAUSE_AT=" + ts.Getenv("PAUSE"), "BUILDSMITH_SWEEP_EVERY=" + ts.Getenv("SWEEP"), "GITHUB_SECRET=" + ts.Getenv("GITHUB_SECRET")}
	for _, name := range []string{"PATH", "HOME", "BUILDSMITH_AGENT", "GORACE", "DOCKER_HOST"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	p, err := startProcess(cmd)
	ts.Check(err)
	s.server = p
	ts.Defer(func() {
		if ts.Getenv("SHOW") != "" || strings.Contains(p.output.String(), "DATA RACE") {
			ts.Logf("[server]\n%s", p.output)
		}
	})
	for range 600 {
		answer, err := http.Get(ts.Getenv("URL") + "/healthz")
		if err == nil {
			answer.Body.Close()
			token, err := os.ReadFile(filepath.Join(ts.Getenv("DATA"), "admin.token"))
			ts.Check(err)
			// For curl -H @admin.
			ts.Check(os.WriteFile(ts.MkAbs("admin"), []byte("Authorization: Bearer "+string(token)), 0o600))
			return
		}
		if !p.alive() {
			if ts.Getenv("DIE") != "" {
				return // it was to die, and died early
			}
			ts.Fatalf("the server ended:\n%s", p.output)
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the server does not answer:\n%s", p.output)
}

func signalScript(with syscall.Signal) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		s := stageOf(ts)
		s.server.end(with)
		if with == syscall.SIGTERM && s.server.cmd.ProcessState.ExitCode() != 0 {
			ts.Fatalf("the server ended with %v:\n%s", s.server.cmd.ProcessState, s.server.output)
		}
		s.server = nil
	}
}

func diedScript(ts *testscript.TestScript, neg bool, args []string) {
	s := stageOf(ts)
	select {
	case <-s.server.ended:
	case <-time.After(60 * time.Second):
		ts.Fatalf("the server lives:\n%s", s.server.output)
	}
	if status, ok := s.server.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		ts.Fatalf("the server ended with %v:\n%s", s.server.cmd.ProcessState, s.server.output)
	}
	s.server = nil
	ts.Setenv("DIE", "")
}

// startFake starts a fake forge; its address is in the variable FORGE.
func startFake(ts *testscript.TestScript, program string, args ...string) {
	s := stageOf(ts)
	address := ts.MkAbs("forge.address")
	bin := strings.Split(ts.Getenv("PATH"), ":")[0]
	p, err := startProcess(exec.Command(filepath.Join(bin, program), append([]string{"-listen", "127.0.0.1:0", "-data", ts.MkAbs("forge"),
		"-address-file", address}, args...)...))
	ts.Check(err)
	s.fake, s.driver = p, program
	for range 400 {
		if text, err := os.ReadFile(address); err == nil {
			ts.Setenv("FORGE", strings.TrimSpace(string(text)))
			return
		}
		if !p.alive() {
			ts.Fatalf("the fake forge ended:\n%s", p.output)
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the fake forge does not start:\n%s", p.output)
}

func githubScript(ts *testscript.TestScript, neg bool, args []string) {
	startFake(ts, "fakegithub", append([]string{"-hook", ts.Getenv("URL") + "/webhook/github"}, args...)...)
	ts.Setenv("GITHUB", ts.Getenv("FORGE"))
	var app struct {
		AppID      int64  `json:"app_id"`
		Secret     string `json:"webhook_secret"`
		PrivateKey string `json:"private_key"`
	}
	ts.Check(json.Unmarshal(ghOutput(ts, "get", "app"), &app))
	key := ts.MkAbs("github.key")
	ts.Check(os.WriteFile(key, []byte(app.PrivateKey), 0o600))
	ts.Setenv("GITHUB_KEY", key)
	ts.Setenv("GITHUB_APP", fmt.Sprint(app.AppID))
	ts.Setenv("GITHUB_SECRET", app.Secret)
}

func ghOutput(ts *testscript.TestScript, args ...string) []byte {
	bin := strings.Split(ts.Getenv("PATH"), ":")[0]
	s := stageOf(ts)
	cmd := exec.Command(filepath.Join(bin, s.driver), append([]string{args[0], "-at", ts.Getenv("FORGE")}, args[1:]...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		ts.Fatalf("%s %v: %v\n%s", s.driver, args, err, out)
	}
	return out
}

func ghScript(ts *testscript.TestScript, neg bool, args []string) {
	out := ghOutput(ts, args...)
	fmt.Fprint(ts.Stdout(), string(out))
	var answer map[string]any
	if json.Unmarshal(out, &answer) == nil {
		if d, ok := answer["delivery"].(map[string]any); ok {
			ts.Setenv("GUID", fmt.Sprint(d["guid"]))
		}
		if sha, ok := answer["sha"].(string); ok {
			ts.Setenv("SHA", sha)
		}
		if token, ok := answer["token"].(string); ok {
			ts.Setenv("TOKEN", token)
		}
	}
}

func commitScript(ts *testscript.TestScript, neg bool, args []string) {
	dir, message := ts.MkAbs(args[0]), "change"
	if len(args) > 1 {
		message = args[1]
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		git("init", "--quiet")
	}
	git("add", "--all")
	git("commit", "--quiet", "--allow-empty", "--message", message)
	ts.Setenv("SHA", git("rev-parse", "HEAD"))
}

// api asks the server's API.
func api(ts *testscript.TestScript, path string, v any) bool {
	token, err := os.ReadFile(filepath.Join(ts.Getenv("DATA"), "admin.token"))
	ts.Check(err)
	request, err := http.NewRequest(http.MethodGet, ts.Getenv("URL")+path, nil)
	ts.Check(err)
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK && json.NewDecoder(answer.Body).Decode(v) == nil
}

type scriptBuild struct {
	ID     string
	Number int
	Status string
	Done   bool
	Phase  string
	Phases []struct{ Type, Status, Message string }
	Source struct{ Commit string }
	URL    string
}

// newest gives the newest build of a project.
func newest(ts *testscript.TestScript, project string) (b scriptBuild, ok bool) {
	var list struct{ Builds []scriptBuild }
	if !api(ts, "/api/builds?limit=1&project="+project, &list) || len(list.Builds) == 0 {
		return b, false
	}
	return b, api(ts, "/api/builds/"+list.Builds[0].ID, &b)
}

func awaitBuild(ts *testscript.TestScript, project string, is func(scriptBuild) bool) scriptBuild {
	var b scriptBuild
	for range 1200 {
		var ok bool
		if b, ok = newest(ts, project); ok && is(b) {
			ts.Setenv("BUILD", b.ID)
			return b
		}
		time.Sleep(50 * time.Millisecond)
	}
	s := stageOf(ts)
	ts.Fatalf("the newest build of %s is %+v\n%s", project, b, s.server.output)
	return b
}

func buildScript(ts *testscript.TestScript, neg bool, args []string) {
	least := 1
	if len(args) > 1 {
		var err error
		least, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	b := awaitBuild(ts, args[0], func(b scriptBuild) bool { return b.Done && b.Number >= least })
	fmt.Fprintf(ts.Stdout(), "%s#%d %s\n", args[0], b.Number, b.Status)
	for _, p := range b.Phases {
		fmt.Fprintln(ts.Stdout(), strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Type, p.Status, p.Message)))
	}
}

func runningScript(ts *testscript.TestScript, neg bool, args []string) {
	least := 1
	if len(args) > 1 {
		var err error
		least, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	awaitBuild(ts, args[0], func(b scriptBuild) bool {
		return b.Number >= least && slices.ContainsFunc(b.Phases, func(p struct{ Type, Status, Message string }) bool {
			return p.Type == "BUILD" && p.Status == "IN_PROGRESS"
		})
	})
}

func nothingLeftScript(ts *testscript.TestScript, neg bool, args []string) {
	data := ts.Getenv("DATA")
	var ids []string
	var dirs []os.DirEntry
	for range 100 {
		ids = containers(data)
		dirs, _ = os.ReadDir(filepath.Join(data, "run"))
		if len(ids)+len(dirs) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	told, _ := exec.Command("docker", "ps", "-a", "--filter", "label="+ownLabel(data), "--format", "{{.ID}} {{.CreatedAt}} {{.Status}} {{.Labels}}").CombinedOutput()
	said := ""
	if s := stageOf(ts); s.server != nil {
		said = s.server.output.String()
	}
	ts.Fatalf("left behind: containers %v, directories %v\n%s\n%s", ids, dirs, told, said)
}

var logTime = regexp.MustCompile(`(?m)^\[Container\] \S+ \S+ `)

func logTextScript(ts *testscript.TestScript, neg bool, args []string) {
	text, err := os.ReadFile(filepath.Join(ts.Getenv("DATA"), "logs", args[0]+".log"))
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), logTime.ReplaceAllString(string(text), ""))
}

func countScript(ts *testscript.TestScript, neg bool, args []string) {
	var list struct{ Builds []scriptBuild }
	if !api(ts, "/api/builds?limit=100&project="+args[0], &list) {
		ts.Fatalf("the server does not tell")
	}
	fmt.Fprintln(ts.Stdout(), len(list.Builds))
}

func saidScript(ts *testscript.TestScript, neg bool, args []string) {
	fmt.Fprint(ts.Stdout(), stageOf(ts).server.output)
}
