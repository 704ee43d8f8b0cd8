package main

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/runnertest"

	"github.com/rogpeppe/go-internal/testscript"
)

// A pitch is a forge that the scripts below testdata/forges run at.
type pitch struct {
	name       string
	repository string // octo/hello, as the server calls it
	project    string // of it
	fake       string // the program; empty for the built-in forge
	flags      []string
	// is are the conditions that hold, beside the name: pulls, hooks.
	is []string
}

// pitches are all forges. What is the same at all of them is said once, by the scripts.
var pitches = []pitch{
	{name: "github", repository: "octo/hello", project: "octo-hello", fake: "fakegithub", is: []string{"pulls"}},
	{name: "bitbucket", repository: "octo/hello", project: "octo-hello", fake: "fakebitbucket", flags: []string{"-flavor", "cloud"}, is: []string{"pulls", "buckets"}},
	{name: "data-center", repository: "OCTO/hello", project: "OCTO-hello", fake: "fakebitbucket", flags: []string{"-flavor", "data-center"}, is: []string{"pulls", "buckets"}},
	{name: "local", repository: "octo-hello", project: "octo-hello"},
}

// TestForges runs the scripts below testdata/forges at every forge: the real program, real git, real Docker, and the fakes. Commands beside
// those of TestScripts:
//
//	forge                starts the forge, whose deliveries come to the server
//	serve forge [FILE]   starts the server for it; FORGE and REPOSITORY in the file are its name and what octo/hello is called there. A
//	                     file with forges of its own says how a Bitbucket is reached; BUCKET there is its name, kind and address, and
//	                     REACHED what the credential is for
//	at do|get ...        drives it, with the words of fakegithub; at the built-in forge there are do commit, ref, push and delete-branch
//	push REF...          what has happened to refs: in one delivery, where the forge tells of several at once
//	states SHA [REPO]    waits until nothing of a commit is under way and prints the newest state of each check: SUCCESSFUL, FAILED,
//	                     STOPPED (skipped, cancelled, and what waits for approval), and its title
//	right                fails if the fake forge has seen a request that the forge would not take
//
// The variables PROJECT, NAME and REPOSITORY are the project of octo/hello, the forge's name, and what octo/hello is called there; CLONE
// is where git gets it. Conditions: the names of the forges, pulls (it has pull requests), and buckets (Bitbucket of either kind).
func TestForges(t *testing.T) {
	for _, s := range pitches {
		t.Run(s.name, func(t *testing.T) { runForge(t, s) })
	}
}

type pitchKey struct{}

func pitchOf(ts *testscript.TestScript) pitch { return ts.Value(pitchKey{}).(pitch) }

func runForge(t *testing.T, s pitch) {
	runnertest.NeedDocker(t, runnertest.DebianImage)
	bin := buildPrograms(t)
	commands := scriptCommands()
	commands["forge"], commands["at"], commands["push"], commands["states"] = forgeScript, atScript, pushScript, statesScript
	commands["serve"], commands["await"] = serveForgeScript, awaitForgeScript
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("..", "..", "testdata", "forges"),
		Setup: func(env *testscript.Env) error {
			env.Values[pitchKey{}] = s
			env.Setenv("PROJECT", s.project)
			env.Setenv("NAME", s.name)
			env.Setenv("REPOSITORY", s.repository)
			return setUp(env, bin)
		},
		Condition: func(name string) (bool, error) {
			if slices.Contains([]string{"pulls", "buckets"}, name) {
				return slices.Contains(s.is, name), nil
			}
			if slices.ContainsFunc(pitches, func(s pitch) bool { return s.name == name }) {
				return s.name == name, nil
			}
			return false, fmt.Errorf("there is no condition %s", name)
		},
		Cmds: commands,
	})
}

// forgeScript starts a forge. The built-in one is there when the server is.
func forgeScript(ts *testscript.TestScript, neg bool, args []string) {
	s := pitchOf(ts)
	if s.fake == "" {
		return
	}
	flags := s.flags
	if s.name == "github" { // elsewhere the server makes the webhook
		flags = []string{"-hook", ts.Getenv("URL") + "/webhook/github"}
	}
	startFake(ts, s.fake, append(slices.Clone(flags), args...)...)
	var app struct {
		AppID      int64  `json:"app_id"`
		Secret     string `json:"webhook_secret"`
		PrivateKey string `json:"private_key"`
		Token      string `json:"token"`
	}
	ts.Check(json.Unmarshal(ghOutput(ts, "get", "app"), &app))
	key := ts.MkAbs("forge.key")
	ts.Check(os.WriteFile(key, []byte(app.PrivateKey), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("forge.token"), []byte(app.Token), 0o600))
	ts.Setenv("GITHUB_KEY", key)
	ts.Setenv("GITHUB_APP", fmt.Sprint(app.AppID))
	ts.Setenv("GITHUB_SECRET", app.Secret)
	below := "/octo/hello.git"
	if s.name == "data-center" {
		below = "/scm" + below
	}
	ts.Setenv("CLONE", ts.Getenv("FORGE")+below)
}

// serveForgeScript starts the server for a forge.
func serveForgeScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || args[0] != "forge" {
		ts.Fatalf("usage: serve forge [file]")
	}
	s := pitchOf(ts)
	kind := "cloud"
	if s.name == "data-center" {
		kind = "data-center"
	}
	owner, _, _ := strings.Cut(s.repository, "/")
	bucket := fmt.Sprintf("{name: %s, kind: %s, url: %q", s.name, kind, ts.Getenv("FORGE"))
	text := ""
	if len(args) > 1 {
		text = strings.NewReplacer("FORGE", s.name, "REPOSITORY", s.repository, "BUCKET", bucket, "REACHED", fmt.Sprintf("[%q]", owner+"/*")).Replace(ts.ReadFile(args[1]))
	}
	made := slices.Contains(s.is, "buckets") && !strings.Contains(text, "forges:")
	if made {
		text += fmt.Sprintf("\nforges:\n  bitbucket:\n  - %s, deliveries: webhook, credentials: [{repositories: [%q], token: {file: forge.token}}]}\n", bucket, owner+"/*")
	}
	ts.Check(os.WriteFile(ts.MkAbs("forge.config"), []byte(text), 0o600))
	serveScript(ts, neg, []string{s.name, "forge.config"})
	for range 200 { // until the server has made its webhook
		if !made || !stageOf(ts).server.alive() || strings.Contains(string(ghOutput(ts, "get", "hooks", "repo=octo/hello")), "/webhook/"+s.name) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the server makes no webhook:\n%s", serverSaid(ts))
}

// atScript drives the forge.
func atScript(ts *testscript.TestScript, neg bool, args []string) {
	if pitchOf(ts).fake == "" {
		atLocal(ts, args)
		return
	}
	ghScript(ts, neg, args)
}

// pushScript tells of refs.
func pushScript(ts *testscript.TestScript, neg bool, args []string) {
	s := pitchOf(ts)
	if slices.Contains(s.is, "buckets") && len(args) > 1 {
		refs, err := json.Marshal(args)
		ts.Check(err)
		atScript(ts, neg, []string{"do", "push", "repo=octo/hello", "refs:=" + string(refs)})
		return
	}
	for _, ref := range args {
		atScript(ts, neg, []string{"do", "push", "repo=octo/hello", "ref=" + ref})
	}
}

// A shownState is a check as all forges show it.
type shownState struct {
	Name, State, Title string
}

// statesOf are the newest states of a commit's checks.
func statesOf(ts *testscript.TestScript, repo, sha string) (list []shownState) {
	switch s := pitchOf(ts); s.name {
	case "github":
		var runs []struct {
			ID         int64
			Name       string
			Status     string
			Conclusion string
			Title      string
		}
		ts.Check(json.Unmarshal(ghOutput(ts, "get", "check-runs", "repo="+repo, "sha="+sha), &runs))
		newest := map[string]shownState{}
		for _, r := range runs {
			newest[r.Name] = shownState{r.Name, neutralState(r.Status, r.Conclusion), r.Title}
		}
		for _, r := range newest {
			list = append(list, r)
		}
	case "local":
		var builds struct{ Builds []scriptBuild }
		if !api(ts, "/api/builds?limit=100", &builds) {
			ts.Fatalf("the server does not tell of its builds")
		}
		for _, b := range builds.Builds {
			if b.Source.Commit == sha {
				return toldOnPage(ts, b.URL)
			}
		}
	default:
		ts.Check(json.Unmarshal(ghOutput(ts, "get", "states", "repo="+repo, "sha="+sha), &list))
	}
	return list
}

// toldCheck is a check on the page of a build, as the built-in forge was told it.
var toldCheck = regexp.MustCompile(`<li><div><b>([^<]*)</b> <span class="word">([^<]*)</span></div>(?:<p>([^<]*)</p>)?`)

// toldOnPage are the checks that the page of a build shows.
func toldOnPage(ts *testscript.TestScript, address string) (list []shownState) {
	answer, err := http.Get(address)
	ts.Check(err)
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	ts.Check(err)
	for _, m := range toldCheck.FindAllStringSubmatch(string(page), -1) {
		status := "completed"
		if m[2] == "queued" || m[2] == "in_progress" {
			status = m[2]
		}
		list = append(list, shownState{m[1], neutralState(status, m[2]), html.UnescapeString(m[3])})
	}
	return list
}

// neutralState is what Bitbucket would call it.
func neutralState(status, conclusion string) string {
	switch {
	case status != "completed":
		return "INPROGRESS"
	case conclusion == "success":
		return "SUCCESSFUL"
	case conclusion == "cancelled", conclusion == "skipped", conclusion == "action_required":
		return "STOPPED"
	}
	return "FAILED"
}

func statesScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 && len(args) != 2 {
		ts.Fatalf("usage: states sha [repository]")
	}
	repo := "octo/hello"
	if len(args) > 1 {
		repo = args[1]
	}
	var lines []string
	before, stable := "", 0
	for range 600 {
		list := statesOf(ts, repo, args[0])
		lines = lines[:0]
		done := len(list) > 0
		for _, s := range list {
			lines = append(lines, fmt.Sprintf("%s: %s | %s", s.Name, s.State, timeless(s.Title)))
			done = done && s.State != "INPROGRESS"
		}
		slices.Sort(lines)
		text := strings.Join(lines, "\n")
		if stable++; !done || before != text {
			stable = 0
		}
		if stable == 60 || stable >= 3 && strings.Contains(metricsOf(ts), "\nbuildsmith_reports_pending 0\n") {
			break
		}
		before = text
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Fprintln(ts.Stdout(), strings.Join(lines, "\n"))
}

// awaitForgeScript is await for any forge: at is gh.
func awaitForgeScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 1 && args[1] == "at" {
		args = append([]string{args[0], "gh"}, args[2:]...)
	}
	awaitScript(ts, neg, args)
}

// atLocal is what people do at the built-in forge: they commit in a clone of their own, and push.
func atLocal(ts *testscript.TestScript, args []string) {
	values := map[string]string{}
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		values[strings.TrimSuffix(key, ":")] = value
	}
	dir := ts.MkAbs("local.clone")
	git := func(args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil && !(args[0] == "push" && ts.Getenv("DIE") != "") { // a push to a server that dies is not answered
			ts.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if _, err := os.Stat(dir); err != nil {
		ts.Check(os.MkdirAll(dir, 0o755))
		git("init", "--quiet", "--initial-branch=main")
	}
	address := ts.Getenv("URL") + "/git/octo-hello.git"
	switch args[1] {
	case "user", "permission": // whoever may push may do everything
	case "commit":
		branch := values["branch"]
		if exec.Command("git", "-C", dir, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch).Run() == nil {
			git("checkout", "--quiet", branch)
		} else {
			git("checkout", "--quiet", "-b", branch)
		}
		files := map[string]string{}
		if values["files"] != "" {
			ts.Check(json.Unmarshal([]byte(values["files"]), &files))
		}
		for name, text := range files {
			path := filepath.Join(dir, name)
			ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
			ts.Check(os.WriteFile(path, []byte(text), 0o644))
		}
		git("add", "--all")
		git("commit", "--quiet", "--allow-empty", "--message", values["message"])
		ts.Setenv("SHA", git("rev-parse", "HEAD"))
	case "ref":
		git("update-ref", values["ref"], values["sha"])
	case "push":
		git("push", "--quiet", "--force", address, values["ref"])
	case "delete-branch":
		git("push", "--quiet", address, ":refs/heads/"+values["branch"])
	default:
		ts.Fatalf("the built-in forge has no %s", args[1])
	}
}
