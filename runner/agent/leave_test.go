package agent_test

import (
	"archive/tar"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/cache"
)

// archived gives the names of the files in each archive that was told, by its id, with the content of small ones.
func (s *sandbox) archived(events []agent.Event) map[string][]string {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.exchange, agent.ArtifactsName))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	found := map[string][]string{}
	for _, e := range events {
		if e.Kind != agent.Packed {
			continue
		}
		found[e.ID] = []string{}
		r := tar.NewReader(io.NewSectionReader(f, e.Offset, e.Length))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				s.t.Fatalf("archive %q: %v", e.ID, err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				s.t.Fatal(err)
			}
			found[e.ID] = append(found[e.ID], h.Name+"="+strings.TrimSpace(string(text)))
		}
	}
	return found
}

func TestSecondaryArtifacts(t *testing.T) {
	s := newSandbox(t)
	s.start()
	job := build("mkdir docs; echo a > app; echo d > docs/index.html; V=2", "cd /tmp")
	job.Uploads = []agent.Artifacts{
		{Files: []string{"app"}, Name: "app-$V", Prefix: "pre/$V"},
		{ID: "docs", Files: []string{"**/*"}, BaseDirectory: "docs", Name: "docs.zip"},
	}
	s.hand(job)
	events := s.until(agent.Done, "")
	got := s.archived(events)
	if !slices.Equal(got[""], []string{"app=a"}) || !slices.Equal(got["docs"], []string{"index.html=d"}) {
		t.Errorf("%v\n%s", got, output(events))
	}
	if e := last(events, agent.Packed); e.ID != "docs" || e.Message != "docs.zip" {
		t.Errorf("%+v", e)
	}
	for _, e := range events {
		if e.Kind == agent.Packed && e.ID == "" && (e.Message != "app-2" || e.Detail != "pre/2") {
			t.Errorf("%+v", e)
		}
	}
}

// TestPrimaryArtifactsComeFirst has a secondary artifact fail after the primary ones are packed.
func TestPrimaryArtifactsComeFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		secondary agent.Artifacts
		message   string
	}{
		"unknown": {agent.Artifacts{ID: "nope", Files: []string{"app"}, Unknown: true}, `the project has no secondary artifact "nope"; name it in its secondary-artifacts`},
		"missing": {agent.Artifacts{ID: "docs", Files: []string{"none"}}, "no matching artifact paths found for the secondary artifact docs"},
		"prefix":  {agent.Artifacts{ID: "docs", Files: []string{"app"}, Prefix: "/x"}, `the artifact's s3-prefix is "/x"; it must be relative and have no ..`},
		"exclude": {agent.Artifacts{ID: "docs", Files: []string{"app"}, Exclude: []string{"["}}, `artifacts.secondary-artifacts.docs.exclude-paths: pattern "["`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t)
			s.start()
			job := build("echo a > app")
			job.Uploads = []agent.Artifacts{{Files: []string{"app"}}, tt.secondary}
			s.hand(job)
			events := s.until(agent.Done, "")
			if e := last(events, agent.Leave); e.Result != agent.Failed || !strings.HasPrefix(e.Message, tt.message) {
				t.Errorf("%+v", e)
			}
			if got := s.archived(events); len(got) != 1 || !slices.Equal(got[""], []string{"app=a"}) {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestReportFiles(t *testing.T) {
	s := newSandbox(t)
	s.start()
	job := build("mkdir -p out/a out/b; echo '<one>sesame</one>' > out/a/one.xml; echo two > out/b/one.xml; mkfifo out/a/pipe.xml; G=unit")
	job.Phases[0].Commands = append(job.Phases[0].Commands, `printf '\377\376<\0a\0>\0s\0e\0s\0a\0m\0e\0' > wide.xml; echo '<a m="A&lt;&amp;B"/>' > escaped.xml
printf '<\0a\0>\0s\0e\0s\0a\0m\0e\0' > bare.xml; printf '<?xml version="1.0" encoding="ISO-8859-1"?><a>s\351same</a>' > latin.xml; printf '<a>se\033[7msa&#27;[0mme</a>' > coloured.xml`)
	job.Secrets = []string{"sesame", "A<&B", "s\u00e9same"}
	job.Reports = []agent.Reports{
		{Group: "$G-tests", Format: "JUNITXML", Files: []string{"*.xml", "none.xml"}, BaseDirectory: "out/*"},
		{Group: "wide", Format: "JUNITXML", Files: []string{"wide.xml", "escaped.xml", "bare.xml", "latin.xml", "coloured.xml"}},
		{Group: "$NONE", Format: "LCOV", Files: []string{"lcov.info"}},
		{Group: "gone", Format: "LCOV", Files: []string{"lcov.info"}},
		{Group: "base", Format: "LCOV", Files: []string{"lcov.info"}, BaseDirectory: "nowhere"},
	}
	s.hand(job)
	events := s.until(agent.Done, "")
	if last(events, agent.Done).Result != agent.Succeeded {
		t.Fatal(output(events))
	}
	if got := s.archived(events)[agent.ReportFiles]; !slices.Equal(got, []string{"0/one.xml=<one>***</one>", "0/one.xml~2=two", "1/wide.xml=<a>***", `1/escaped.xml=<a m="***"/>`, "1/bare.xml=<a>***",
		`1/latin.xml=<?xml version="1.0" encoding="UTF-8"?><a>***</a>`, "1/coloured.xml=<a>***</a>"}) {
		t.Errorf("%q", got)
	}
	var told []string
	for _, e := range events {
		if e.Kind == agent.Report {
			told = append(told, fmt.Sprintf("%d %s %s %d %s", e.Index, e.Message, e.Code, e.Files, e.Detail))
		}
	}
	if want := []string{
		"0 unit-tests JUNITXML 2 pipe.xml: it is no regular file",
		"1 wide JUNITXML 5 ",
		"2 $NONE LCOV 0 no file matches lcov.info",
		"3 gone LCOV 0 no file matches lcov.info",
		"4 base LCOV 0 no matching base directory path found for nowhere",
	}; !slices.Equal(told, want) {
		t.Errorf("%q", told)
	}
	if !strings.Contains(output(events), "no file matches none.xml") {
		t.Error(output(events))
	}
}

func TestExportedVariables(t *testing.T) {
	job := build("A=1; B='two\nlines'; export C=sesame", "cd /; D=; E=$(head -c 5000 /dev/zero | tr '\\0' x)")
	job.Exported, job.Secrets = []string{"A", "B", "C", "D", "E", "NONE"}, []string{"sesame"}
	events := run(t, job)
	var got []string
	for _, e := range events {
		if e.Kind == agent.Export {
			got = append(got, e.ID+"="+e.Message)
		}
	}
	if want := []string{"A=1", "B=two\nlines", "C=***", "D="}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q\n%s", got, want, output(events))
	}
	for _, want := range []string{"Exported variable NONE is not set", "Exported variable E is passed over: its value has more than 4096 bytes"} {
		if !strings.Contains(output(events), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// TestSecretsAreMasked looks for a secret in everything that the agent wrote.
func TestSecretsAreMasked(t *testing.T) {
	const secret = "s3cr3t!-of-the-build"
	job := build(
		`echo "plain $P"`, `printf %s "$P" | cut -c1-8 | tr -d '\n'; sleep 0.1; printf '%s\n' "$P" | cut -c9-`, `echo "$P" | base64`, `printf %s "$P" >&2`,
		"echo "+secret+" in the text", `touch "$P" && false`)
	job.Env, job.Secrets = []string{"P=" + secret}, []string{secret}
	s := newSandbox(t)
	s.start()
	s.hand(job)
	events := s.until(agent.Done, "")
	text, err := os.ReadFile(filepath.Join(s.exchange, "events"))
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{secret, "the-build", base64.StdEncoding.EncodeToString([]byte(secret))[:12]} {
		if strings.Contains(string(text), form) {
			t.Errorf("the story holds %q:\n%s", form, text)
		}
	}
	if got := printed(events); !strings.HasPrefix(got, "plain ***\n***\n***\n***") {
		t.Errorf("%q", got)
	}
}

func TestRetry(t *testing.T) {
	for name, tt := range map[string]struct {
		pattern, command string
		again            bool
		phases           string
	}{
		"any":     {"", "false", true, "BUILD FAILED"},
		"message": {"exit status 9$", "exit 9", true, "BUILD FAILED"},
		"output":  {"timed out", "echo connection timed out; false", true, "BUILD FAILED"},
		"no":      {"timed out", "exit 9", false, "BUILD FAILED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED"},
		"success": {"", "true", false, "BUILD SUCCEEDED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED"},
		"long":    {"^needle$", "echo needle; head -c 200000 /dev/zero | tr '\\0' x; false", false, "BUILD FAILED, POST_BUILD SUCCEEDED, UPLOAD_ARTIFACTS SUCCEEDED"},
	} {
		t.Run(name, func(t *testing.T) {
			events := run(t, agent.Job{Phases: []agent.Phase{
				{Name: "BUILD", OnFailure: "RETRY", Retry: tt.pattern, Commands: []string{tt.command}, Finally: []string{"echo timed out finally"}},
				{Name: "POST_BUILD", Commands: []string{"true"}},
			}})
			if got := last(events, agent.Done); got.Again != tt.again {
				t.Errorf("again %v", got.Again)
			}
			if got := phases(events); got != tt.phases {
				t.Errorf("%s, want %s\n%s", got, tt.phases, output(events))
			}
		})
	}
}

// TestTools runs the programs that CodeBuild gives to builds.
func TestTools(t *testing.T) {
	events := run(t, build(
		"mkdir -p a/b; echo 1 > a/x.txt; echo 2 > a/b/y.txt",
		"codebuild-glob-search 'a/**/*.txt' a/x.txt | sort | tr '\\n' ' '; echo",
		"codebuild-hash-files 'a/**/*' | tr -d '\\n' | wc -c | tr -d ' '",
		"test \"$(codebuild-hash-files a/x.txt)\" != \"$(codebuild-hash-files a/b/y.txt)\" && echo differ",
		"codebuild-breakpoint 2>&1; codebuild-resume && echo resumed",
		"cd / && codebuild-hash-files 2>/dev/null; echo $?",
		"codebuild-hash-files 'no/such' >/dev/null",
		"codebuild-glob-search 2>/dev/null; echo $?",
	))
	want := "a/b/y.txt a/x.txt \n64\ndiffer\ncodebuild-breakpoint: session debugging is off; going on\nresumed\n2\ncodebuild-hash-files: no file matches no/such\n2\n"
	if got := printed(events); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestGitCredential has real git ask for a credential in several ways.
func TestGitCredential(t *testing.T) {
	ask := func(url string) string {
		return "GIT_TERMINAL_PROMPT=0 git credential fill <<END | grep -E '^(username|password)=' || echo none\nurl=" + url + "\n\nEND"
	}
	job := build(ask("https://github.com/octo/hello.git"), ask("https://github.com/octo/hello"), ask("https://github.com/octo/other.git"),
		ask("https://example.org/octo/hello.git"), "ls -A "+agent.StateDir+" | grep -v '^[a-z]*\\.[a-z]*$' || echo no more files")
	job.Credential = &agent.Credential{URL: "https://github.com/octo/hello.git", Username: "x-access-token", Password: "ghs_token", Expires: time.Now().Add(time.Hour)}
	got := strings.ReplaceAll(printed(run(t, job)), "\n", "|")
	if !strings.HasPrefix(got, "username=x-access-token|password=ghs_token|username=x-access-token|password=ghs_token|") || strings.Count(got, "ghs_token") != 2 || strings.Count(got, "none") != 2 {
		t.Errorf("%q", got)
	}
	job.Credential.Expires = time.Now().Add(-time.Second)
	if got := printed(run(t, job)); strings.Contains(got, "ghs_token") {
		t.Errorf("expired: %q", got)
	}
}

// TestCacheIsCarriedOver saves a cache in one build and restores it in others.
func TestCacheIsCarriedOver(t *testing.T) {
	kept := &cache.Store{Dir: t.TempDir()}
	caches, err := kept.Mount("shop", cache.Default)
	if err != nil {
		t.Fatal(err)
	}
	do := func(c agent.Cache, commands ...string) ([]agent.Event, *sandbox) {
		t.Helper()
		s := newSandbox(t)
		s.cache = caches
		if err := os.WriteFile(filepath.Join(s.source, "lock"), []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		s.start()
		job := build(commands...)
		job.Cache, job.Secrets = &c, []string{"sesame"}
		s.hand(job)
		return s.until(agent.Done, ""), s
	}
	paths := []string{"deps/**/*", "/opt/kept/**/*"}
	key := agent.Cache{Paths: paths, Key: "deps-$(codebuild-hash-files lock)", Fallback: []string{"deps-"}, Restore: true, Save: true}
	events, s := do(key, "mkdir -p deps/sub /opt/kept; echo one > deps/sub/file; echo two > /opt/kept/file; ln -s sub/file deps/link")
	told := last(events, agent.Caching)
	if told.Files == 0 || !strings.HasPrefix(told.Message, "deps-") || told.Detail != cache.Version(paths) {
		t.Fatalf("%+v\n%s", told, output(events))
	}
	if _, err := kept.Keep("shop", cache.Default, filepath.Join(s.exchange, agent.CacheName), cache.Meta{Key: told.Message, Version: told.Detail, Files: told.Files, Bytes: told.Size}, 1<<30); err != nil {
		t.Fatal(err)
	}
	events, _ = do(key, "cat deps/link /opt/kept/file")
	if got := printed(events); got != "one\ntwo\n" || last(events, agent.Caching).Kind != "" {
		t.Errorf("%q\n%s", got, output(events))
	}
	if !strings.Contains(output(events), "Cache: restored deps-") || !strings.Contains(output(events), "Cache: there is one of the key deps-") {
		t.Error(output(events))
	}
	// Another key finds it by the prefix, and saves one of its own. A build that fails saves nothing.
	other := key
	other.Key = "deps-other"
	if events, _ = do(other, "cat deps/link"); printed(events) != "one\n" || last(events, agent.Caching).Message != "deps-other" {
		t.Error(output(events))
	}
	if events, _ = do(other, "cat deps/link; false"); last(events, agent.Caching).Kind != "" {
		t.Error("a failed build saved a cache")
	}
	other.Save = false
	if events, _ = do(other, "true"); last(events, agent.Caching).Kind != "" {
		t.Error("saved what was to be restored only")
	}
	for _, expanded := range []string{"$(unclosed", "$(false)", "k-sesame"} { // no key is not the same as the one cache without a key
		odd := agent.Cache{Paths: paths, Key: expanded, Restore: true, Save: true}
		events, _ := do(odd, "mkdir deps; echo x > deps/x")
		if last(events, agent.Caching).Kind != "" || !strings.Contains(output(events), "Unable to initialize cache download: ") {
			t.Errorf("%s: %s", expanded, output(events))
		}
	}
	other.Save, other.Restore = true, false
	if events, _ = do(other, "test ! -e deps && mkdir deps && echo new > deps/file"); last(events, agent.Caching).Message != "deps-other" {
		t.Error(output(events))
	}
	// One that is damaged is told and passed over.
	packed, err := filepath.Glob(filepath.Join(caches, "*.tar.zst"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("%q %v", packed, err)
	}
	archive, err := os.ReadFile(packed[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := len(archive) / 2; i < len(archive)/2+8; i++ {
		archive[i] ^= 0xff
	}
	if err := os.WriteFile(packed[0], archive, 0o600); err != nil {
		t.Fatal(err)
	}
	events, _ = do(key, "test ! -e deps && test ! -e /opt/kept/file && echo without")
	if got := printed(events); got != "without\n" || last(events, agent.Broken).ID == "" || !strings.Contains(output(events), "Unable to download cache: ") {
		t.Errorf("%q\n%s", got, output(events))
	}
}

// TestHintOfBash has commands fail in a shell that is not the one they were written for.
func TestHintOfBash(t *testing.T) {
	for command, hint := range map[string]string{
		"[[ -d /tmp ]] && echo yes": "[[ may be what failed: it is bash's, and the shell is /bin/sh. Write `env: {shell: bash}` if the image has bash",
		"a=(1 2); echo $a":          "a=( may be what failed",
		"source ./env; true":        "",
		"source ./env":              "source may be what failed",
		"set -o pipefail":           "pipefail may be what failed",
		"cat <(echo 1)":             "<( may be what failed",
		"nosuchcommand":             "",
		"echo '[[ x'; exit 1":       "",
	} {
		text := output(run(t, build(command)))
		if got := strings.Contains(text, "may be what failed"); got != (hint != "") || !strings.Contains(text, hint) {
			t.Errorf("%s: want %q\n%s", command, hint, text)
		}
	}
	job := build("[[ -d /tmp ]] && nosuchcommand")
	job.Shell = "bash"
	if text := output(run(t, job)); strings.Contains(text, "may be what failed") {
		t.Error(text)
	}
}

// TestDirectoriesOfCommands has builds move, remove and link the directories they work in.
func TestDirectoriesOfCommands(t *testing.T) {
	for _, shell := range []string{"sh", "bash"} {
		for name, tt := range map[string]struct {
			job  agent.Job
			want string
		}{
			"by a link": {build("mkdir -p /go/src; ln -s $PWD /go/src/app; cd /go/src/app; pwd", "pwd; echo $PWD; cd ..; pwd", "pwd"), "/go/src/app\n/go/src/app\n/go/src/app\n/go/src\n/go/src\n"},
			"moved":     {build("mkdir -p /go/src; mv $PWD/sub /go/src/app; touch /go/src/app/x; cd /go/src/app", "ls"), "x\n"},
			"removed":   {build("mkdir -p /tmp/a/b; cd /tmp/a/b", "rm -r /tmp/a", "pwd"), "/codebuild/output/src1\n"},
			"not to be entered": {agent.Job{Phases: []agent.Phase{
				{Name: "INSTALL", Commands: []string{"mkdir -m 700 /closed; cd /closed; pwd"}},
				{Name: "BUILD", RunAs: "nobody", Commands: []string{"pwd; id -un"}},
			}}, "/closed\n/codebuild/output/src1\nnobody\n"},
		} {
			t.Run(shell+" "+name, func(t *testing.T) {
				s := newSandbox(t)
				if err := os.Mkdir(filepath.Join(s.source, "sub"), 0o755); err != nil {
					t.Fatal(err)
				}
				s.start()
				tt.job.Shell = shell
				s.hand(tt.job)
				events := s.until(agent.Done, "")
				if got := printed(events); got != tt.want || last(events, agent.Done).Result != agent.Succeeded {
					t.Errorf("%q, want %q\n%s", got, tt.want, output(events))
				}
			})
		}
	}
}
