package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/checks/web"
	"buildsmith/runner/secret"
	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// TestSecretCommands looks at what each command asks for and prints.
func TestSecretCommands(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"line": "hunter2\n", "dos": "hunter2\r\n", "lines": "one\ntwo\n", "plain": "hunter2", "break": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const versions = `"created":"2026-01-02T03:04:05Z","changed":"2026-01-02T03:04:05Z","versions":[{"id":"abc","number":3,"stages":["AWSCURRENT","new"]},{"id":"abb","number":2},{"id":"aba","number":1,"stages":["AWSPREVIOUS"]}]`
	one := `{"name":"ci/x","projects":["octo/shop","store"],"refs":["refs/heads/main"],` + versions + `}`
	set := `{"name":"ci/x","projects":["*"],` + versions + `,"unmatched":["octo/none"]}`
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Local().Format("2006-01-02 15:04")
	const told = "ci/x: version 3 (abc) is AWSCURRENT, new\nci/x: builds of * may read it\n"
	const note = "buildsmith: note: no project is called octo/none yet\n"
	for _, tt := range []struct {
		args     string
		in       string
		asked    string // method, path and body
		answer   string
		out, err string
	}{
		{"set /ci/x --project octo/* --project store", "hunter2\n", `PUT /api/secrets/ci/x {"value":"hunter2","projects":["octo/*","store"],"refs":null}`, set, told, note},
		{"set ci/x --ref refs/heads/main --stage new", "hunter2", `PUT /api/secrets/ci/x {"value":"hunter2","stage":"new","refs":["refs/heads/main"]}`, one, "ci/x: version 3 (abc) is AWSCURRENT, new\nci/x: builds of refs/heads/main of octo/shop, store may read it\n", ""},
		{"set ci/x --ref=", "one\ntwo\n", `PUT /api/secrets/ci/x {"value":"one\ntwo\n","refs":[]}`, set, told, note},
		{"set ci/x --file DIR/line", "not this", `PUT /api/secrets/ci/x {"value":"hunter2","refs":null}`, set, told, note},
		{"set ci/x -f DIR/dos", "", `PUT /api/secrets/ci/x {"value":"hunter2","refs":null}`, set, told, note},
		{"set ci/x -f DIR/lines", "", `PUT /api/secrets/ci/x {"value":"one\ntwo\n","refs":null}`, set, told, note},
		{"set ci/x -f DIR/plain", "", `PUT /api/secrets/ci/x {"value":"hunter2","refs":null}`, set, told, note},
		{"set ci/x -f DIR/break", "", `PUT /api/secrets/ci/x {"value":"","refs":null}`, set, told, note},
		{"set ci/x -f -", "hunter2", `PUT /api/secrets/ci/x {"value":"hunter2","refs":null}`, set, told, note},
		{"set ci/x --keep --project store", "not read", `PUT /api/secrets/ci/x {"projects":["store"],"refs":null}`, one, "ci/x: builds of refs/heads/main of octo/shop, store may read it\n", ""},
		{"set a?b/c#d", "v", `PUT /api/secrets/a?b/c#d {"value":"v","refs":null}`, one, "ci/x: version 3 (abc) is AWSCURRENT, new\nci/x: builds of refs/heads/main of octo/shop, store may read it\n", ""},
		{"get ci/x", "", "GET /api/secrets/ci/x ", `{"name":"ci/x","value":"hunter2\u001b[31m"}`, "hunter2\x1b[31m", ""},
		{"get ci/x --version 3 --stage new", "", "GET /api/secrets/ci/x?stage=new&version=3 ", `{"value":"a\n"}`, "a\n", ""},
		{"list", "", "GET /api/secrets ", "[" + one + `,{"name":"b","projects":["*"],"changed":"2026-01-02T03:04:05Z","versions":[{"id":"x","number":1,"stages":["AWSCURRENT"]}]}]`,
			"ci/x  3 AWSCURRENT, 3 new, 1 AWSPREVIOUS  " + when + "  octo/shop store  refs/heads/main\nb     1 AWSCURRENT                        " + when + "  *\n", ""},
		{"list", "", "GET /api/secrets ", "[]", "", "There are no secrets.\n"},
		{"list --format json", "", "GET /api/secrets ", "[]", "[]\n", ""},
		{"rm /ci/x", "", "DELETE /api/secrets/ci/x ", "{}", "ci/x was removed\n", ""},
		{"rotate-key", "", "POST /api/secrets-key ", `{"values":3}`, "The key was replaced; 3 values were encrypted to the new one. Keep a copy of the key file apart from backups.\n", ""},
	} {
		var asked string
		out, messages, err := commandIn(t, tt.in, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked = r.Method + " " + r.URL.Path
			if r.URL.RawQuery != "" {
				asked += "?" + r.URL.RawQuery
			}
			asked += " " + string(body)
			fmt.Fprint(w, tt.answer)
		}, append([]string{"secret"}, strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))...)...)
		if err != nil || asked != tt.asked || out != tt.out || messages != tt.err {
			t.Errorf("secret %s: %v\nasked %s, want %s\nout %q, want %q\nmessages %q, want %q", tt.args, err, asked, tt.asked, out, tt.out, messages, tt.err)
		}
	}
}

// commandIn runs a command line with a standard input: see command.
func commandIn(t *testing.T, in string, handler http.HandlerFunc, args ...string) (out, messages string, err error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.WriteString(w, in); err != nil {
		t.Fatal(err)
	}
	w.Close()
	before := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = before }()
	return command(t, handler, args...)
}

func TestSecretCommandErrors(t *testing.T) {
	refuse := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":"there is no such secret"}`)
	}
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"set x --keep --file y --project z", exitUsage, "--keep keeps the value: leave out --file and --stage"},
		{"set x --keep --stage y --project z", exitUsage, "--keep keeps the value: leave out --file and --stage"},
		{"set x --keep", exitUsage, "--keep changes who may read the secret: name --project or --ref"},
		{"set x --file /none/x", exitUsage, "open /none/x: no such file or directory"},
		{"set x --file /", exitUsage, "reading the value: read /: is a directory"},
		{"set x", exitFault, "there is no such secret"},
		{"get x", exitFault, "there is no such secret"},
		{"list", exitFault, "there is no such secret"},
		{"list --format xml", exitUsage, "--format xml is none of text, json"},
		{"rm x", exitFault, "there is no such secret"},
		{"rotate-key", exitFault, "there is no such secret"},
	} {
		out, _, err := commandIn(t, "hunter2", refuse, append([]string{"secret"}, strings.Fields(tt.args)...)...)
		var with *statusError
		if !errors.As(err, &with) || with.status != tt.status || with.silent || err.Error() != tt.want || out != "" {
			t.Errorf("secret %s: %v, want %s", tt.args, err, tt.want)
		}
	}
	// A value never stands on the command line, where others can see it.
	if _, _, err := commandIn(t, "", refuse, "secret", "set", "x", "hunter2"); err == nil || err.Error() != "accepts 1 arg(s), received 2" {
		t.Error(err)
	}
	root := rootCommand()
	var help bytes.Buffer
	root.SetOut(&help)
	root.SetArgs([]string{"secret"})
	if err := root.Execute(); err != nil || !strings.Contains(help.String(), "rotate-key") {
		t.Errorf("%v\n%s", err, help.String())
	}
	// More than a secret may have is sent as far as the server needs to see that.
	var sent web.SecretRequest
	if _, _, err := commandFile(t, strings.Repeat("x", 1<<20), func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		refuse(w, r)
	}); err == nil || len(*sent.Value) != store.MaxSecret+3 {
		t.Errorf("%v, %d bytes", err, len(*sent.Value))
	}
}

// commandFile sets a secret to the text of a file.
func commandFile(t *testing.T, text string, handler http.HandlerFunc) (out, messages string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return commandIn(t, "", handler, "secret", "set", "x", "--file", path)
}

// terminal makes a pseudo terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// echoes reports whether a terminal shows what is typed.
func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitSilence waits until a terminal does not show what is typed.
func awaitSilence(t *testing.T, f *os.File) {
	t.Helper()
	for range 500 {
		if !echoes(t, f) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the terminal shows what is typed")
}

// TestSecretIsAskedFor types a value at a terminal, which does not show it and shows again what is typed afterwards.
func TestSecretIsAskedFor(t *testing.T) {
	person, program := terminal(t)
	cmd := &cobra.Command{}
	var messages bytes.Buffer
	cmd.SetIn(program)
	cmd.SetErr(&messages)
	cmd.SetContext(t.Context())
	go func() {
		awaitSilence(t, program)
		io.WriteString(person, "hunter2 \n")
	}()
	value, err := secretValue(cmd, "ci/x", "")
	if value != "hunter2 " || err != nil || messages.String() != "Value of ci/x: \n" || !echoes(t, program) {
		t.Errorf("%q, %v, %q", value, err, messages.String())
	}
	// Ctrl-C reaches the program as a signal, and ends the asking at once.
	ctx, cancel := context.WithCancel(t.Context())
	cmd.SetContext(ctx)
	go func() {
		awaitSilence(t, program)
		cancel()
	}()
	_, err = secretValue(cmd, "ci/x", "")
	var with *statusError
	if !errors.As(err, &with) || with.status != exitInterrupted || !with.silent || !echoes(t, program) {
		t.Error(err)
	}
	// The end of the input (Ctrl-D) is the end of the value.
	cmd.SetContext(t.Context())
	go func() {
		awaitSilence(t, program)
		io.WriteString(person, "\x04")
	}()
	if value, err := secretValue(cmd, "ci/x", ""); value != "" || err != nil {
		t.Errorf("%q, %v", value, err)
	}
	if isTerminal(&messages) || isTerminal(person) != isTerminal(program) {
		t.Error("what is no terminal is one")
	}
	if _, err := readSilently(t.Context(), os.NewFile(1<<20, "closed")); err == nil || err.Error() != "asking at the terminal: bad file descriptor" {
		t.Error(err)
	}
}

func TestSecretConfig(t *testing.T) {
	dir := t.TempDir()
	c, _, err := load(t, "secrets:\n  key: /etc/buildsmith/secrets.key\n  directories:\n    - {path: "+dir+", projects: [octo/*], refs: [refs/heads/main]}\n"+
		"  aws: {region: eu-west-1, profile: ci, endpoint: 'http://127.0.0.1:4566', projects: ['*'], refs: []}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := SecretSettings{"/etc/buildsmith/secrets.key", []SecretDirectory{{dir, []string{"octo/*"}, []string{"refs/heads/main"}}},
		&AWSSettings{"eu-west-1", "ci", "http://127.0.0.1:4566", []string{"*"}, []string{}}}
	if !cmp.Equal(c.Secrets, want) {
		t.Error(cmp.Diff(want, c.Secrets))
	}
	for text, want := range map[string]string{
		"key: relative":                                                     `secrets.key: "relative" is no absolute path`,
		"directories: [{path: " + dir + "}]":                                "secrets.directories[0]: no project may read it: name one, such as owner/repo, or * for every project",
		"directories: [{path: relative, projects: ['*']}]":                  `secrets.directories[0].path: "relative" is no absolute path`,
		"directories: [{path: /none/such, projects: ['*']}]":                "secrets.directories[0].path: stat /none/such: no such file or directory",
		"directories: [{path: /dev/null, projects: ['*']}]":                 "secrets.directories[0].path: /dev/null is no directory",
		"directories: [{path: " + dir + ", projects: ['*'], refs: [main]}]": `secrets.directories[0]: "main" is no pattern of refs: write full names, such as refs/heads/main, refs/tags/v* or refs/heads/release/**`,
		"aws: {region: eu-west-1}":                                          "secrets.aws: no project may read it: name one, such as owner/repo, or * for every project",
		"aws: {projects: ['[']}":                                            `secrets.aws: "[" is no pattern of projects: write one such as owner/repo, owner/* or github:owner/repo, or * for every project`,
		"aws: {projects: ['*'], endpoint: 'localhost:4566'}":                `secrets.aws.endpoint: "localhost:4566" is no address; write https:// and a host`,
		"aws: {regio: x}":                                                   `unknown key "regio"; known here: region, profile, endpoint, projects, refs`,
		"directories: [{project: x}]":                                       `unknown key "project"; known here: path, projects, refs`,
		"keys: x":                                                           `unknown key "keys"; known here: key, directories, aws`,
		"directories: {path: x}":                                            "is a block of keys where a list belongs",
	} {
		if _, _, err := load(t, "secrets:\n  "+text+"\n"); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", text, err, want)
		}
	}
}

// TestOpenSecrets wires what gives builds their secrets.
func TestOpenSecrets(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_PROFILE", "")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mounted"), []byte("m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.TempDir(), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var log bytes.Buffer
	s := &server{store: st, config: &Config{}, log: slog.New(slog.NewTextHandler(&log, nil))}
	s.config.Secrets = SecretSettings{Directories: []SecretDirectory{{dir, []string{"octo/*"}, []string{"refs/heads/main"}}}, AWS: &AWSSettings{Region: "eu-west-1", Projects: []string{"nobody"}}}
	if err := s.openSecrets(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.secrets.Own.Put("own", "o", store.SecretPut{Projects: []string{"octo/shop"}}); err != nil {
		t.Fatal(err)
	}
	b := &store.Build{Repo: store.Repo{Name: "octo/shop"}, Trigger: store.Trigger{HeadRef: "refs/heads/main"}}
	got := s.secrets.ResolveAll(t.Context(), b, []secret.Wanted{{Kind: store.ParameterStore, Reference: "own"}, {Kind: store.ParameterStore, Reference: "mounted"}, {Kind: store.ParameterStore, Reference: "none"}})
	if got[0] != (secret.Answer{Value: "o"}) || got[1] != (secret.Answer{Value: "m"}) || !secret.Authors(got[2].Err) || log.Len() == 0 {
		t.Errorf("%+v", got)
	}
	// Another key: the server begins, and says what it cannot read.
	log.Reset()
	key := filepath.Join(t.TempDir(), "other.key")
	s.config.Secrets.Key = key
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.openSecrets(t.Context()); err != nil || !strings.Contains(log.String(), `level=WARN msg="secrets cannot be read: they were encrypted with a key that is not in the key file; put it back, or set or remove them" secrets=[own]`) {
		t.Errorf("%v\n%s", err, log.String())
	}
	s.config.Secrets = SecretSettings{AWS: &AWSSettings{Profile: "none", Projects: []string{"*"}}}
	if err := s.openSecrets(t.Context()); err == nil || err.Error() != "secrets: AWS: failed to get shared config profile, none" {
		t.Error(err)
	}
	s.config.CABundle = "/none/ca.pem"
	if err := s.openSecrets(t.Context()); err == nil || err.Error() != "ca-bundle: open /none/ca.pem: no such file or directory" {
		t.Error(err)
	}
	s.config.Secrets.Key = "/none/key"
	if err := s.openSecrets(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "the key of the secrets: /none/key is missing, and 1 values were encrypted with what it held: put it back; ") {
		t.Error(err)
	}
	st.Close()
	if err := s.openSecrets(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "opening the secrets: ") {
		t.Error(err)
	}
}
