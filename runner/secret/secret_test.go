package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A locked buffer is what a logger writes to.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take gives what was written since, without times.
func (l *locked) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

func logger(to *locked) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

var all = store.SecretRules{Projects: []string{"*"}}

// shop is a build of octo/shop.
func shop(change ...func(*store.Build)) *store.Build {
	repo := store.Repo{Forge: "github", Host: "github.com", ID: "7", Name: "octo/shop"}
	b := &store.Build{ID: "0b1d", Project: "octo-shop", ProjectKey: repo.Key(), Repo: repo, Trigger: store.Trigger{HeadRef: "refs/heads/main"}}
	for _, c := range change {
		c(b)
	}
	return b
}

func other(b *store.Build)  { b.Repo.Name = "octo/other" }
func fork(b *store.Build)   { b.Trigger.Fork = true }
func branch(b *store.Build) { b.Trigger.HeadRef = "refs/heads/feature" }

// newOwn makes secrets of one's own: name and value, by turns.
func newOwn(t *testing.T, rules store.SecretRules, pairs ...string) *store.Secrets {
	t.Helper()
	s := must[*store.Store](t)(store.Open(t.TempDir(), store.Options{NoSync: true}))
	t.Cleanup(func() { s.Close() })
	own := must[*store.Secrets](t)(s.OpenSecrets(""))
	for i := 0; i < len(pairs); i += 2 {
		must[store.Secret](t)(own.Put(pairs[i], pairs[i+1], store.SecretPut{Projects: rules.Projects, Refs: rules.Refs}))
	}
	return own
}

func newSecrets(t *testing.T, c Config) (*Secrets, *locked) {
	t.Helper()
	log := &locked{}
	c.Log = logger(log)
	return must[*Secrets](t)(New(t.Context(), c)), log
}

func parameter(reference string) Wanted { return Wanted{store.ParameterStore, reference} }
func secretOf(reference string) Wanted  { return Wanted{store.SecretsManager, reference} }

// TestOwnSecrets reads the server's own secrets in every way.
func TestOwnSecrets(t *testing.T) {
	own := newOwn(t, all, "ci/user", "first", "db", `{"user": "admin", "password":"s3cr3t!","port":5432, "big": 12345678901234567890.10, "none":null, "tags": [ "a", {"b": "<&>"} ], "on":true, "empty":"", "":"nameless", "é":"\u00e9"}`)
	must[store.Secret](t)(own.Put("ci/user", "second", store.SecretPut{}))
	must[store.Secret](t)(own.Put("ci/user", "third", store.SecretPut{Stage: "stable"}))
	id := must[[]store.Secret](t)(own.List())[0].Versions[2].ID
	s, _ := newSecrets(t, Config{Own: own})
	for _, tt := range []struct {
		wanted Wanted
		want   string
	}{
		{parameter("ci/user"), "second"},
		{parameter("/ci/user"), "second"},
		{parameter("/ci/user:1"), "first"},
		{parameter("/ci/user:3"), "third"},
		{parameter("/ci/user:003"), "third"},
		{parameter("/ci/user:stable"), "third"},
		{parameter("/ci/user:AWSPREVIOUS"), "first"},
		{parameter("arn:aws:ssm:eu-west-1:111122223333:parameter/ci/user"), "second"},
		{parameter("arn:aws:ssm:eu-west-1:111122223333:parameter/ci/user:1"), "first"},
		{secretOf("ci/user"), "second"},
		{secretOf("ci/user::AWSCURRENT"), "second"},
		{secretOf("ci/user::AWSPREVIOUS"), "first"},
		{secretOf("ci/user:::" + id), "first"},
		{secretOf("db:user"), "admin"},
		{secretOf("db:password:AWSCURRENT"), "s3cr3t!"},
		{secretOf("db:port"), "5432"},
		{secretOf("db:big"), "12345678901234567890.10"},
		{secretOf("db:none"), "null"},
		{secretOf("db:tags"), `["a",{"b":"<&>"}]`},
		{secretOf("db:on"), "true"},
		{secretOf("db:empty"), ""},
		{secretOf("db:é"), "é"},
		{secretOf("arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbCdEf:user"), "admin"},
		{secretOf("arn:aws:secretsmanager:eu-west-1:111122223333:secret:db:user"), "admin"},
	} {
		if got, err := s.Resolve(t.Context(), shop(), tt.wanted.Kind, tt.wanted.Reference); got != tt.want || err != nil {
			t.Errorf("%v: %q, %v, want %q", tt.wanted, got, err, tt.want)
		}
	}
}

// TestFailures reads every message to an author; none of them holds a value.
func TestFailures(t *testing.T) {
	own := newOwn(t, store.SecretRules{Projects: []string{"octo/shop"}, Refs: []string{"refs/heads/main"}},
		"ci/user", "hunter2", "db", `{"user":"hunter2"}`, "broken", `{"user":"hunter2"`, "list", `["hunter2"]`, "nothing", "null", "nul", `{"a":"hunter2\u0000"}`)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mounted"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, log := newSecrets(t, Config{Own: own, Directories: []Directory{{dir, store.SecretRules{Projects: []string{"octo/shop"}}}}})
	const set = " is not there, or this build may not read it; `buildsmith secret set "
	for _, tt := range []struct {
		build  *store.Build
		wanted Wanted
		kind   error
		want   string
		log    string
	}{
		{shop(), parameter("/ci/none"), fs.ErrNotExist, `Parameter does not exist: "/ci/none"` + set + "ci/none --project octo/shop` gives it one", `level=WARN msg="a build asked for a secret that is not there" build=0b1d repo=octo/shop secret=/ci/none`},
		{shop(), secretOf("none:user"), fs.ErrNotExist, `Secret does not exist: "none"` + set + "none --project octo/shop` gives it one", `secret=none`},
		{shop(), parameter("a b"), fs.ErrNotExist, `Parameter does not exist: "a b" is not there, or this build may not read it; it is no name that a secret can have`, ""},
		{shop(), secretOf("arn:aws:secretsmanager:r:1:secret:none-AbCdEf"), fs.ErrNotExist, `Secret does not exist: "arn:aws:secretsmanager:r:1:secret:none-AbCdEf"` + set + "none-AbCdEf --project octo/shop` gives it one", ""},
		{shop(other), parameter("/ci/user"), fs.ErrPermission, `Parameter does not exist: "/ci/user"` + set + "ci/user --project octo/other` gives it one", `level=WARN msg="a build asked for a secret that it may not read" build=0b1d repo=octo/other secret=/ci/user from="the server's own secrets" ref=refs/heads/main`},
		{shop(other), parameter("/ci/user:9"), fs.ErrPermission, `Parameter does not exist: "/ci/user"` + set + "ci/user --project octo/other` gives it one", ""},
		{shop(other), secretOf("db:none"), fs.ErrPermission, `Secret does not exist: "db"` + set + "db --project octo/other` gives it one", ""},
		{shop(branch), secretOf("db"), fs.ErrPermission, `Secret does not exist: "db"` + set + "db --project octo/shop` gives it one", "ref=refs/heads/feature"},
		{shop(other), parameter("mounted"), fs.ErrPermission, `Parameter does not exist: "mounted"` + set + "mounted --project octo/other` gives it one", "from=\"the directory "},
		{shop(fork), parameter("/ci/user"), fs.ErrPermission, "Parameter does not exist: the commit comes from another repository, whose builds get no secrets", `level=WARN msg="a commit of another repository asked for a secret" build=0b1d repo=octo/shop secret=/ci/user`},
		{shop(fork), secretOf("none"), fs.ErrPermission, "Secret does not exist: the commit comes from another repository, whose builds get no secrets", ""},
		{shop(), parameter("/ci/user:9"), fs.ErrNotExist, `Parameter does not exist: "/ci/user" has no version "9"`, ""},
		{shop(), parameter("/ci/user:0"), fs.ErrNotExist, `Parameter does not exist: "/ci/user" has no version "0"`, ""},
		{shop(), parameter("/ci/user:99999999999999999999"), fs.ErrNotExist, `Parameter does not exist: "/ci/user" has no version "99999999999999999999"`, ""},
		{shop(), parameter("/ci/user:blue"), fs.ErrNotExist, `Parameter does not exist: "/ci/user" has no version with the stage "blue"`, ""},
		{shop(), secretOf("ci/user::AWSPREVIOUS"), fs.ErrNotExist, `Secret does not exist: "ci/user" has no version with the stage "AWSPREVIOUS"`, ""},
		{shop(), secretOf("ci/user:::3f2a"), fs.ErrNotExist, `Secret does not exist: "ci/user" has no version "3f2a"`, ""},
		{shop(), parameter("mounted:1"), fs.ErrNotExist, `Parameter does not exist: "mounted" has no version "1"`, ""},
		{shop(), secretOf("db:none"), fs.ErrNotExist, `the secret "db" has no key "none"`, ""},
		{shop(), secretOf("db:User"), fs.ErrNotExist, `the secret "db" has no key "User"`, ""},
		{shop(), secretOf("ci/user:user"), fs.ErrNotExist, `the secret "ci/user" is no JSON object, so it has no key "user": leave the key out for the whole text`, ""},
		{shop(), secretOf("broken:user"), fs.ErrNotExist, `the secret "broken" is no JSON object, so it has no key "user": leave the key out for the whole text`, ""},
		{shop(), secretOf("list:0"), fs.ErrNotExist, `the secret "list" is no JSON object, so it has no key "0": leave the key out for the whole text`, ""},
		{shop(), secretOf("nothing:x"), fs.ErrNotExist, `the secret "nothing" is no JSON object, so it has no key "x": leave the key out for the whole text`, ""},
		{shop(), secretOf("nul:a"), ErrReference, `the value of "nul" holds a NUL byte, which no variable can`, ""},
		{shop(), secretOf("db:a:b:c"), ErrReference, `"db:a:b:c" gives both a version's stage (b) and its id (c): keep one`, ""},
		{shop(), parameter("a:b:c"), ErrReference, `"a:b:c" is no name of a parameter: one colon may stand in it, with a version's number or a label behind it`, ""},
		{shop(), Wanted{"PLAINTEXT", "x"}, ErrReference, `"PLAINTEXT" is no kind of secret`, ""},
	} {
		got, err := s.Resolve(t.Context(), tt.build, tt.wanted.Kind, tt.wanted.Reference)
		if got != "" || !errors.Is(err, tt.kind) || !Authors(err) || err.Error() != tt.want {
			t.Errorf("%v: %q, %v\nwant %s", tt.wanted, got, err, tt.want)
		}
		for _, kind := range []error{fs.ErrNotExist, fs.ErrPermission, ErrReference} {
			if errors.Is(err, kind) != (kind == tt.kind) {
				t.Errorf("%v: the error is %v", tt.wanted, kind)
			}
		}
		said := log.take()
		if !strings.Contains(said, tt.log) || strings.Contains(said+err.Error(), "hunter2") {
			t.Errorf("%v: the log has %s\nwant %s", tt.wanted, said, tt.log)
		}
	}
	// Nobody can tell what is there from what is not.
	_, there := s.Resolve(t.Context(), shop(other), store.SecretsManager, "db")
	_, gone := s.Resolve(t.Context(), shop(other), store.SecretsManager, "dc")
	if strings.ReplaceAll(there.Error(), "db", "dc") != gone.Error() {
		t.Errorf("%v\n%v", there, gone)
	}
}

// TestNoProviders has no secrets at all.
func TestNoProviders(t *testing.T) {
	s := must[*Secrets](t)(New(t.Context(), Config{}))
	if _, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "x"); !errors.Is(err, fs.ErrNotExist) || err.Error() != `Parameter does not exist: "x" is not there, or this build may not read it` {
		t.Error(err)
	}
	s = must[*Secrets](t)(New(t.Context(), Config{Directories: []Directory{{"/", all}}}))
	if _, err := s.Resolve(t.Context(), shop(), store.SecretsManager, "no/such/file"); !errors.Is(err, fs.ErrNotExist) || err.Error() != `Secret does not exist: "no/such/file" is not there, or this build may not read it; write it into the file no/such/file below /` {
		t.Error(err)
	}
}

// TestOwnFault is no failure of the author's.
func TestOwnFault(t *testing.T) {
	st := must[*store.Store](t)(store.Open(t.TempDir(), store.Options{NoSync: true}))
	own := must[*store.Secrets](t)(st.OpenSecrets(""))
	s, _ := newSecrets(t, Config{Own: own})
	st.Close()
	if _, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "x"); err == nil || Authors(err) || err.Error() != `reading the secret "x" from the server's own secrets: database not open` {
		t.Error(err)
	}
}

// TestResolveAll gives every answer in its place, whatever becomes of the others.
func TestResolveAll(t *testing.T) {
	s, log := newSecrets(t, Config{Own: newOwn(t, all, "db", `{"user":"admin","password":"s3cr3t!"}`, "x", "v")})
	got := s.ResolveAll(t.Context(), shop(), []Wanted{secretOf("db:user"), secretOf("db:none"), secretOf("db:password:AWSCURRENT"), parameter("none"), parameter("x"), secretOf("db"), parameter("a:"), parameter("none")})
	var lines []string
	for _, a := range got {
		lines = append(lines, fmt.Sprintf("%s %v", a.Value, a.Err != nil))
	}
	if want := []string{"admin false", " true", "s3cr3t! false", " true", "v false", `{"user":"admin","password":"s3cr3t!"} false`, " true", " true"}; !cmp.Equal(lines, want) {
		t.Error(cmp.Diff(want, lines))
	}
	said := log.take()
	for line, times := range map[string]int{
		`level=INFO msg="a build was given a secret" build=0b1d repo=octo/shop secret=db from="the server's own secrets"` + "\n": 1,
		`secret=x `: 1, `secret=none` + "\n": 1, "admin": 0, "s3cr3t!": 0,
	} {
		if strings.Count(said, line) != times {
			t.Errorf("%q stands %d times in the log, want %d:\n%s", line, strings.Count(said, line), times, said)
		}
	}
	if got := s.ResolveAll(t.Context(), shop(), nil); len(got) != 0 {
		t.Error(got)
	}
}

// TestFirstProviderDecides has a name in several places.
func TestFirstProviderDecides(t *testing.T) {
	few := store.SecretRules{Projects: []string{"octo/few"}}
	one, two := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(one, "a"): "a of one", filepath.Join(one, "b"): "b of one", filepath.Join(one, "c"): "c of one",
		filepath.Join(two, "b"): "b of two", filepath.Join(two, "c"): "c of two", filepath.Join(two, "d"): "d of two",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := newOwn(t, all, "a", "a of our own")
	must[store.Secret](t)(own.Put("d", "d for few", store.SecretPut{Projects: few.Projects}))
	fake := newFakeAWS(t, func(c call) reply {
		return ok(map[string]any{"Parameter": map[string]any{"Name": c.Input["Name"], "Value": fmt.Sprint(c.Input["Name"], " of AWS")}})
	})
	s, _ := newSecrets(t, Config{Own: own, Directories: []Directory{{one, all}, {two, all}}, AWS: &AWS{Region: "eu-west-1", Endpoint: fake.URL, Rules: all}})
	for name, want := range map[string]string{"a": "a of our own", "b": "b of one", "c": "c of one", "e": "e of AWS"} {
		if got, err := s.Resolve(t.Context(), shop(), store.ParameterStore, name); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// A name that the build may not read is not looked for elsewhere: it means one thing.
	if got, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "d"); got != "" || !errors.Is(err, fs.ErrPermission) {
		t.Error(got, err)
	}
	// An ARN is one of AWS's.
	if got, err := s.Resolve(t.Context(), shop(), store.ParameterStore, "arn:aws:ssm:eu-west-1:1:parameter/a"); got != "arn:aws:ssm:eu-west-1:1:parameter/a of AWS" || err != nil {
		t.Error(got, err)
	}
}

// TestCancelled asks for nothing more once nobody waits.
func TestCancelled(t *testing.T) {
	fake := newFakeAWS(t, func(call) reply { return reply{} })
	s, _ := newSecrets(t, Config{AWS: &AWS{Region: "eu-west-1", Endpoint: fake.URL, Rules: all}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Resolve(ctx, shop(), store.ParameterStore, "x"); err == nil || Authors(err) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(fake.asked()); n > 0 {
		t.Errorf("AWS was asked %d times", n)
	}
}
