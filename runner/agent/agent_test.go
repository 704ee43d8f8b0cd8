package agent_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/runnertest"
)

func TestMain(m *testing.M) {
	runnertest.Main()
	os.Exit(m.Run())
}

// A sandbox is an agent under test.
type sandbox struct {
	t        *testing.T
	exchange string
	source   string
	scratch  string
	cache    string
	inode    uint64
	cmd      *exec.Cmd
	story    *agent.Story
}

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	dir := t.TempDir()
	s := &sandbox{t: t, exchange: filepath.Join(dir, "exchange"), source: filepath.Join(dir, "source"), scratch: filepath.Join(dir, "scratch")}
	if err := errors.Join(os.Mkdir(s.source, 0o755), os.Mkdir(s.scratch, 0o755)); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.inode, err = agent.Prepare(s.exchange); err != nil {
		t.Fatal(err)
	}
	return s
}

// start starts the agent and opens its story.
func (s *sandbox) start() {
	s.t.Helper()
	s.cmd = runnertest.AgentCommand(s.scratch, s.exchange, s.source, s.source, s.cache, "", []string{"PATH=/usr/local/bin:/usr/bin:/bin", "FROM_IMAGE=yes"})
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	s.open(agent.Mark{})
}

func (s *sandbox) open(from agent.Mark) {
	s.t.Helper()
	story, err := agent.Open(s.exchange, s.inode, from, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { story.Close() })
	s.story = story
}

func (s *sandbox) hand(job agent.Job) {
	s.t.Helper()
	if job.Build == "" {
		job.Build = "b1"
	}
	job.Dir = agent.SourceDir
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	if err := agent.Hand(ctx, s.exchange, job); err != nil {
		s.t.Fatal(err)
	}
}

// until reads events up to one of a kind, whose output contains text.
func (s *sandbox) until(kind, text string) []agent.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	var all []agent.Event
	for {
		events, err := s.story.Next(ctx)
		if err != nil {
			s.t.Fatalf("waiting for %s %q: %v; so far:\n%s", kind, text, err, output(all))
		}
		all = append(all, events...)
		for _, e := range events {
			if e.Kind == agent.Fault {
				s.t.Fatalf("fault: %s", e.Message)
			}
			if e.Kind == kind && strings.Contains(e.Text, text) {
				return all
			}
		}
	}
}

// run does a whole job.
func run(t *testing.T, job agent.Job) []agent.Event {
	t.Helper()
	s := newSandbox(t)
	s.start()
	s.hand(job)
	return s.until(agent.Done, "")
}

// output is what the commands and the agent printed.
func output(events []agent.Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.Text)
		b.Write(e.Bytes)
	}
	return b.String()
}

// printed is what the commands alone printed.
func printed(events []agent.Event) string {
	text := output(events)
	for _, e := range events {
		if e.Kind == agent.Command && strings.Contains(e.Message, "\n") { // such lines of the agent's have no mark
			text = strings.ReplaceAll(text, e.Message, "…")
		}
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "[Container] ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// phases is each phase with its result.
func phases(events []agent.Event) string {
	var s []string
	for _, e := range events {
		if e.Kind == agent.Leave {
			s = append(s, e.Phase+" "+e.Result)
		}
	}
	return strings.Join(s, ", ")
}

func last(events []agent.Event, kind string) agent.Event {
	for _, e := range slices.Backward(events) {
		if e.Kind == kind {
			return e
		}
	}
	return agent.Event{}
}

func build(commands ...string) agent.Job {
	return agent.Job{Phases: []agent.Phase{{Name: "BUILD", Commands: commands}}}
}

func TestStateIsCarriedOver(t *testing.T) {
	for _, shell := range []string{"sh", "bash"} {
		t.Run(shell, func(t *testing.T) {
			events := run(t, agent.Job{
				Shell: shell,
				Env:   []string{"GIVEN=it's", "GONE=1", "odd.name=x", "LINES=a\nb"},
				Phases: []agent.Phase{
					{Name: "INSTALL", Commands: []string{"mkdir sub && cd sub", "A=1", "export B=2", "unset GONE", "f() { echo f; }", "set -e", "umask 077"}},
					{Name: "BUILD", Commands: []string{
						`basename "$PWD"; pwd | grep -c /sub$`,
						`echo "$A $B ${GONE-unset} $GIVEN $FROM_IMAGE"`,
						`sh -c 'echo "child $A"'`,
						`echo "$LINES" | wc -l | tr -d ' '`,
						"f 2>/dev/null; echo $?",
						"false\necho reached",
						"umask | tail -c 4",
						`N="it's
two"`,
						`echo "$N"`,
						"exit 0; A=lost",
						`echo "$A after"`,
						"PATH=/nowhere",
						`echo "$PATH"`,
					}},
				},
			})
			want := "sub\n1\n1 2 unset it's yes\nchild 1\n2\n127\nreached\n022\nit's\ntwo\n1 after\n/nowhere\n"
			if got := printed(events); got != want {
				t.Errorf("printed %q, want %q", got, want)
			}
			if got := last(events, agent.Done).Result; got != agent.Succeeded {
				t.Errorf("result %s\n%s", got, output(events))
			}
		})
	}
}

func TestTextBeginsOnLine4(t *testing.T) {
	events := run(t, build("\n\nnosuchcommand"))
	if got := printed(events); !strings.Contains(got, "script.sh: 6: nosuchcommand: not found") {
		t.Errorf("printed %q", got)
	}
}

func TestFreshCommands(t *testing.T) {
	job := build("mkdir sub; cd sub", "X=5", `echo "[$X] $GIVEN"; basename "$PWD"`)
	job.Fresh, job.Env = true, []string{"GIVEN=1"}
	if got, want := printed(run(t, job)), "[] 1\nsrc1\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestFailingCommands(t *testing.T) {
	for _, tt := range []struct {
		command, shown string
		status         int
	}{
		{"false", "false", 1},
		{"exit 3", "exit 3", 3},
		{"nosuchcommand", "nosuchcommand", 127},
		{"kill -9 $$", "kill -9 $$", 137},
		{"echo 'oops", "echo 'oops", 2},
		{"true\nfalse\n", "true\nfalse", 1},
	} {
		events := run(t, build(tt.command, "echo not reached"))
		exit, end := last(events, agent.Exit), last(events, agent.Leave)
		if exit.Status != tt.status {
			t.Errorf("%q: status %d, want %d", tt.command, exit.Status, tt.status)
		}
		found := false
		for _, e := range events {
			if e.Kind == agent.Leave && e.Phase == "BUILD" {
				found = true
				want := fmt.Sprintf("Error while executing command: %s. Reason: exit status %d", tt.shown, tt.status)
				if e.Result != agent.Failed || e.Code != agent.CodeCommand || e.Message != want {
					t.Errorf("%q: ended %s %s %q, want %q", tt.command, e.Result, e.Code, e.Message, want)
				}
			}
		}
		if !found || end.Phase != agent.UploadArtifacts || strings.Contains(printed(events), "not reached") {
			t.Errorf("%q: phases %s", tt.command, phases(events))
		}
		if want := fmt.Sprintf("Command did not exit successfully %s exit status %d\n", tt.shown, tt.status); !strings.Contains(output(events), want) {
			t.Errorf("%q: the log lacks %q", tt.command, want)
		}
	}
}

// TestTransitions is the table of buildspec.yml's phase transitions.
func TestTransitions(t *testing.T) {
	names := []string{"INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"}
	for _, tt := range []struct{ fails, onFailure, want string }{
		{"", "", "INSTALL SUCCEEDED, PRE_BUILD SUCCEEDED, BUILD SUCCEEDED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED"},
		{"INSTALL", "", "INSTALL FAILED"},
		{"INSTALL", "ABORT", "INSTALL FAILED"},
		{"INSTALL", "CONTINUE", "INSTALL FAILED, PRE_BUILD SUCCEEDED, BUILD SUCCEEDED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED"},
		{"PRE_BUILD", "", "INSTALL SUCCEEDED, PRE_BUILD FAILED"},
		{"BUILD", "", "INSTALL SUCCEEDED, PRE_BUILD SUCCEEDED, BUILD FAILED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED"},
		{"BUILD", "ABORT", "INSTALL SUCCEEDED, PRE_BUILD SUCCEEDED, BUILD FAILED"},
		{"POST_BUILD", "", "INSTALL SUCCEEDED, PRE_BUILD SUCCEEDED, BUILD SUCCEEDED, POST_BUILD FAILED, UPLOAD_ARTIFACTS SUCCEEDED"},
		{"POST_BUILD", "ABORT", "INSTALL SUCCEEDED, PRE_BUILD SUCCEEDED, BUILD SUCCEEDED, POST_BUILD FAILED"},
	} {
		var job agent.Job
		for _, name := range names {
			p := agent.Phase{Name: name, Commands: []string{`echo "$CODEBUILD_BUILD_SUCCEEDING"`}, Finally: []string{`echo "f$CODEBUILD_BUILD_SUCCEEDING"`}}
			if name == tt.fails {
				p.OnFailure, p.Commands = tt.onFailure, []string{"false"}
			}
			job.Phases = append(job.Phases, p)
		}
		events := run(t, job)
		if got := phases(events); got != tt.want {
			t.Errorf("%s fails with %q: %s, want %s", tt.fails, tt.onFailure, got, tt.want)
		}
		result := agent.Failed
		if tt.fails == "" {
			result = agent.Succeeded
		}
		if got := last(events, agent.Done).Result; got != result {
			t.Errorf("%s fails: result %s", tt.fails, got)
		}
		if tt.fails == "BUILD" && tt.onFailure == "" {
			if got := printed(events); got != "1\nf1\n1\nf1\nf0\n0\nf0\n" {
				t.Errorf("CODEBUILD_BUILD_SUCCEEDING: %q", got)
			}
		}
	}
}

func TestFinally(t *testing.T) {
	events := run(t, agent.Job{Phases: []agent.Phase{
		{Name: "BUILD", Commands: []string{"mkdir sub", "cd sub && false"}, Finally: []string{`basename "$PWD"`, "exit 4", "echo skipped"}},
		{Name: "POST_BUILD", Finally: []string{"exit 5"}},
	}})
	if got := printed(events); got != "sub\n" { // a command that fails but reaches its end keeps what it changed
		t.Errorf("printed %q", got)
	}
	if got, want := phases(events), "BUILD FAILED, POST_BUILD FAILED, UPLOAD_ARTIFACTS SUCCEEDED"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, e := range events {
		if e.Kind == agent.Leave && e.Phase == "BUILD" && !strings.HasSuffix(e.Message, "cd sub && false. Reason: exit status 1") {
			t.Errorf("the message tells the last failure, not the first: %s", e.Message)
		}
	}
}

func TestBackgroundProcessDoesNotHoldACommand(t *testing.T) {
	start := time.Now()
	events := run(t, build("(sleep 1; echo late; sleep 100) & echo first", "echo second", "sleep 2"))
	if got, want := printed(events), "first\nsecond\nlate\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if time.Since(start) > 30*time.Second {
		t.Error("waited for the process in the background")
	}
}

// TestChattyBackgroundProcess has a process that never stops printing while commands come and go.
func TestChattyBackgroundProcess(t *testing.T) {
	job := build("yes noise & echo", "true", "true")
	job.LogLimit = 1 << 20
	if got := last(run(t, job), agent.Done).Result; got != agent.Succeeded {
		t.Error(got)
	}
}

func TestStop(t *testing.T) {
	s := newSandbox(t)
	s.start()
	s.hand(agent.Job{Phases: []agent.Phase{
		{Name: "BUILD", Commands: []string{"trap 'echo asked; exit 1' TERM; echo ready; while :; do sleep 0.1; done"}, Finally: []string{"echo no"}},
		{Name: "POST_BUILD", Commands: []string{"echo no"}},
	}})
	events := s.until(agent.Output, "ready\n")
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	events = append(events, s.until(agent.Done, "")...)
	if got := printed(events); !strings.HasPrefix(got, "ready\n") || !strings.HasSuffix(got, "asked\n") {
		t.Errorf("printed %q", got)
	}
	if got := phases(events); got != "BUILD STOPPED" {
		t.Errorf("phases %s", got)
	}
	if got := last(events, agent.Done).Result; got != agent.Stopped {
		t.Errorf("result %s", got)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the agent: %v", err)
	}
}

func TestStopEndsWhatIgnoresIt(t *testing.T) {
	s := newSandbox(t)
	s.start()
	s.hand(build("trap '' TERM; echo ready; sleep 1000 & wait; sleep 1000"))
	s.until(agent.Output, "ready\n")
	start := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if got := last(s.until(agent.Done, ""), agent.Done).Result; got != agent.Stopped {
		t.Errorf("result %s", got)
	}
	if d := time.Since(start); d < 9*time.Second || d > 20*time.Second {
		t.Errorf("ended after %v, want the grace time of 10 s", d)
	}
}

func TestStopWithoutAJob(t *testing.T) {
	s := newSandbox(t)
	s.start()
	s.until(agent.Hello, "")
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDeadline(t *testing.T) {
	job := build("echo begun", "sleep 1000", "echo no")
	job.Phases[0].Finally = []string{"echo no"}
	job.Deadline = time.Now().Add(2 * time.Second)
	events := run(t, job)
	if got := printed(events); got != "begun\n" {
		t.Errorf("printed %q", got)
	}
	end := last(events, agent.Leave)
	if end.Result != agent.TimedOut || end.Code != agent.CodeTimedOut || end.Message != "Build has timed out." {
		t.Errorf("%+v", end)
	}
	if got := last(events, agent.Done).Result; got != agent.TimedOut {
		t.Errorf("result %s", got)
	}
}

func TestMissingShell(t *testing.T) {
	for shell, want := range map[string]string{
		"/bin/nosuch": "the image has no shell: /bin/nosuch is missing; choose an image that has it",
		"zsh-of-none": "env.shell is zsh-of-none, but the image has none; install it in the image or leave env.shell out",
	} {
		job := agent.Job{Shell: shell, Phases: []agent.Phase{{Name: "INSTALL"}, {Name: "BUILD"}}}
		events := run(t, job)
		if got := phases(events); got != "INSTALL FAILED" {
			t.Errorf("phases %s", got)
		}
		if got := last(events, agent.Leave).Message; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRunAs(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become another user")
	}
	events := run(t, agent.Job{Phases: []agent.Phase{
		{Name: "INSTALL", Commands: []string{"id -un; A=1; mkdir -m 777 open; cd open"}},
		{Name: "BUILD", RunAs: "nobody", Commands: []string{
			`id -un; echo "$A $HOME"; echo out > /dev/stdout; echo err > /dev/stderr`,
			`touch mine; basename "$PWD"; A=2; touch ../not-mine 2>/dev/null || echo refused`}},
		{Name: "POST_BUILD", Commands: []string{`id -un; echo "$A"`, "ls"}},
	}, Env: []string{"HOME=/root"}})
	want := "root\nnobody\n1 /root\nout\nerr\nopen\nrefused\nroot\n2\nmine\n"
	if got := printed(events); got != want {
		t.Errorf("printed %q, want %q\n%s", got, want, output(events))
	}
	events = run(t, agent.Job{Phases: []agent.Phase{{Name: "BUILD", RunAs: "nosuchuser", Commands: []string{"true"}}}})
	for _, e := range events {
		if want := `Error while executing phase: user "nosuchuser" does not exist in the image`; e.Kind == agent.Leave && e.Phase == "BUILD" && e.Message != want {
			t.Errorf("%q, want %q", e.Message, want)
		}
	}
}

func TestEveryByteArrives(t *testing.T) {
	events := run(t, build(
		`printf 'caf\303\251 \377\376 \000 \033[31mred\033[0m "q" \\ \t'`,
		`printf '\303'; sleep 0.1; printf '\251'`,
		"printf no-newline",
	))
	got := output(events)
	for _, want := range []string{"caf\303\251 \377\376 \000 \033[31mred\033[0m \"q\" \\ \t\n[Container]", "\n\303\251\n[Container]", "\nno-newline\n[Container]"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func TestManyBytesArrive(t *testing.T) {
	s := newSandbox(t)
	s.start()
	s.hand(build("head -c 30000000 /dev/urandom > data; cat data"))
	got := []byte(output(s.until(agent.Done, "")))
	want, err := os.ReadFile(filepath.Join(s.source, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got, want) {
		t.Errorf("%d bytes of output do not contain the %d bytes that were printed", len(got), len(want))
	}
}

func TestLogLimit(t *testing.T) {
	job := build("head -c 5000 /dev/zero | tr '\\0' x; echo; echo more", "echo still")
	job.LogLimit = 1000
	events := run(t, job)
	got := printed(events)
	if n := strings.Count(got, "x"); n != 1000 || strings.Contains(got, "still") {
		t.Errorf("%d bytes kept of 1000: %.100q", n, got)
	}
	if want := "The log reached its limit of 1000 bytes; 4012 bytes of output were dropped\n"; !strings.Contains(output(events), want) {
		t.Errorf("the log lacks %q:\n%s", want, output(events))
	}
}

func TestWorkingDirectoryIsGone(t *testing.T) {
	events := run(t, build("mkdir sub; cd sub", "rmdir ../sub", `basename "$PWD"`))
	if got := printed(events); got != "src1\n" {
		t.Errorf("printed %q", got)
	}
	if !strings.Contains(output(events), "/src1/sub cannot be entered; moving to ") {
		t.Error(output(events))
	}
}

// readTar gives the entries of artifacts.tar as name: content, links as name -> target.
func (s *sandbox) readTar() map[string]string {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.exchange, agent.ArtifactsName))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	files := map[string]string{}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if h.Typeflag == tar.TypeSymlink {
			files[h.Name] = "-> " + h.Linkname
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			s.t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}

func TestArtifacts(t *testing.T) {
	tree := `mkdir -p dist/css dist-docs; echo app > dist/app.js; echo map > dist/app.js.map; echo css > dist/css/site.css
echo docs > dist-docs/index.html; echo hidden > .hidden; echo read > README.md; ln -s app.js dist/link.js; ln -s /etc/hostname dist/out.txt
ln -s css dist/dirlink; mkfifo dist/fifo; ln dist/app.js dist/hard.js; ln -s nowhere dist/dangling; chmod 755 dist/app.js; echo win > 'dist/..\x'; ln -s css/../app.js dist/around`
	for _, tt := range []struct {
		name   string
		upload agent.Artifacts
		want   string // the names, or the message
	}{
		{"one file", agent.Artifacts{Files: []string{"README.md"}}, "README.md"},
		{"nothing matches", agent.Artifacts{Files: []string{"target/*.jar"}}, "no matching artifact paths found"},
		{"some match", agent.Artifacts{Files: []string{"target/*.jar", "README.md"}}, "README.md"},
		{"a directory", agent.Artifacts{Files: []string{"dist"}}, "no matching artifact paths found"},
		{"base directory", agent.Artifacts{Files: []string{"*/site.css"}, BaseDirectory: "dist"}, "css/site.css"},
		{"wildcard base", agent.Artifacts{Files: []string{"**/*.html", "**/*.css", "*.js"}, BaseDirectory: "dist*", DiscardPaths: true},
			"app.js hard.js index.html link.js site.css"},
		{"missing base", agent.Artifacts{Files: []string{"**/*"}, BaseDirectory: "out"}, "no matching base directory path found for out"},
		{"variable in base", agent.Artifacts{Files: []string{"*.map"}, BaseDirectory: "$WHERE"}, "app.js.map"},
		{"excluded", agent.Artifacts{Files: []string{"**/*"}, Exclude: []string{"dist/**/*", "**/.*"}}, "README.md dist-docs/index.html"},
		{"everything", agent.Artifacts{Files: []string{"**/*"}, BaseDirectory: "dist"},
			"app.js app.js.map around css/site.css hard.js link.js out.txt"},
		{"below a link", agent.Artifacts{Files: []string{"dirlink", "dirlink/*"}, BaseDirectory: "dist", EnableSymlinks: true}, "dirlink"},
		{"links", agent.Artifacts{Files: []string{"*"}, BaseDirectory: "dist", EnableSymlinks: true},
			"app.js app.js.map around dangling dirlink hard.js link.js out.txt"},
		{"limit", agent.Artifacts{Files: []string{"**/*"}, Limit: 20}, "the artifacts have more than 20 bytes, which is the limit"},
		{"name that climbs", agent.Artifacts{Files: []string{"README.md"}, Name: "../x"}, `the artifact's name is "../x"; it must be relative and have no ..`},
		{"bad name", agent.Artifacts{Files: []string{"README.md"}, Name: "$(exit 3"}, `artifacts.name: expanding "$(exit 3" ended with status 2`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSandbox(t)
			s.start()
			job := build(tree, "WHERE=dist", "cd dist/css")
			job.Uploads = []agent.Artifacts{tt.upload}
			s.hand(job)
			events := s.until(agent.Done, "")
			end := last(events, agent.Leave)
			if end.Phase != agent.UploadArtifacts {
				t.Fatalf("%+v\n%s", end, output(events))
			}
			if end.Result != agent.Succeeded {
				if end.Message != tt.want || end.Code != agent.CodeClient {
					t.Errorf("%s %q, want %q", end.Code, end.Message, tt.want)
				}
				return
			}
			files := s.readTar()
			var names []string
			for name := range files {
				names = append(names, name)
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("files %q, want %q\n%s", got, tt.want, output(events))
			}
			if packed := last(events, agent.Packed); packed.Files != len(files) {
				t.Errorf("%d files told, %d packed", packed.Files, len(files))
			}
			if tt.name == "links" && (files["link.js"] != "-> app.js" || files["dirlink"] != "-> css" || files["out.txt"] == "-> /etc/hostname") {
				t.Errorf("%q", files)
			}
			if tt.name == "links" && (strings.HasPrefix(files["around"], "->") || !strings.Contains(output(events), `Skipping ..\x: where a backslash separates directories, its name leads out of the archive`)) {
				t.Errorf("%q\n%s", files, output(events))
			}
			if tt.name == "everything" && !strings.Contains(output(events), "Skipping fifo: it is no regular file\n") {
				t.Error(output(events))
			}
		})
	}
}

func TestArtifactName(t *testing.T) {
	for name, want := range map[string]string{
		"plain":                     "plain",
		"$APP-$(echo 1.2).zip":      "shop-1.2.zip",
		`a"b'c $APP`:                `a"b'c shop`,
		"dir/${APP}_`echo two`":     "dir/shop_two",
		`$(echo "quoted" 'single')`: "quoted single",
	} {
		job := build("APP=shop; touch f")
		job.Uploads = []agent.Artifacts{{Files: []string{"f"}, Name: name}}
		if got := last(run(t, job), agent.Packed).Message; got != want {
			t.Errorf("%s expands to %q, want %q", name, got, want)
		}
	}
}

func TestGitTrustsTheSource(t *testing.T) {
	if got := printed(run(t, build("cat /etc/gitconfig"))); !strings.Contains(got, "directory = *\n") {
		t.Errorf("/etc/gitconfig holds %q", got)
	}
}

func TestAgentIsProcess1(t *testing.T) {
	if status := agent.Main(agent.Options{}); status != 2 {
		t.Errorf("status %d outside of a sandbox", status)
	}
}
