package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"buildsmith/store"
)

// TestDirectory lays files out as Docker and Kubernetes do, and as somebody who wants to get out.
func TestDirectory(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "secrets")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(base, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		path := filepath.Join(base, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(target, path)); err != nil {
			t.Fatal(err)
		}
	}
	write("secrets/token", "plain\n")
	write("secrets/ci/registry/user", "by path")
	write("secrets/ci.registry.password", "by dots\r\n")
	write("secrets/ci_registry_host", "by low lines\n\n")
	write("secrets/both/x", "the path is first")
	write("secrets/both.x", "the dots are second")
	write("secrets/lines", "one\ntwo\n")
	write("secrets/..2026/mounted", "of Kubernetes\n")
	link("..2026", "secrets/..data")
	link("..data/mounted", "secrets/mounted")
	link("../token", "secrets/inside/link")
	write("outside", "hunter2")
	link("../outside", "secrets/up")
	link(filepath.Join(base, "outside"), "secrets/absolute")
	link(filepath.Join(dir, "token"), "secrets/absolute-inside")
	link("..", "secrets/parent")
	link("loop", "secrets/loop")
	link("nowhere", "secrets/dangling")
	write("secrets/.hidden", "hunter2")
	write("secrets/large", strings.Repeat("x", 64<<10+1))
	write("secrets/largest", strings.Repeat("x", 64<<10))
	write("secrets/binary", "hunter2\xff")
	write("secrets/nul", "hunter2\x00")
	write("secrets/empty", "")
	write("secrets/newline", "\n")
	write("secrets/json", `{"user":"admin"}`)
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600), os.Mkdir(filepath.Join(dir, "directory"), 0o700)); err != nil {
		t.Fatal(err)
	}
	s, _ := newSecrets(t, Config{Directories: []Directory{{dir, store.SecretRules{Projects: []string{"octo/shop"}, Refs: []string{"refs/heads/main"}}}}})
	for reference, want := range map[string]string{
		"token": "plain", "/token": "plain", "ci/registry/user": "by path", "/ci/registry/password": "by dots", "ci/registry/host": "by low lines\n",
		"both/x": "the path is first", "lines": "one\ntwo", "mounted": "of Kubernetes", "inside/link": "plain", "largest": strings.Repeat("x", 64<<10),
		"json:user": "admin", "token::AWSCURRENT": "plain", "ci.registry.password": "by dots",
		"arn:aws:secretsmanager:eu-west-1:1:secret:token-AbCdEf": "plain",
	} {
		if got, err := s.Resolve(t.Context(), shop(), store.SecretsManager, reference); got != want || err != nil {
			t.Errorf("%s: %.50q, %v, want %.50q", reference, got, err, want)
		}
	}
	for _, name := range []string{"none", "../outside", "a/../token", ".hidden", "..2026/mounted", "..data/mounted", "fifo", "directory", "dangling", "token/x", strings.Repeat("x", 300)} {
		if got, err := s.Resolve(t.Context(), shop(), store.SecretsManager, name); got != "" || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.50s: %q, %v", name, got, err)
		}
	}
	// What is wrong in the directory is the operator's business.
	for name, want := range map[string]string{
		"up": "openat up: path escapes from parent", "absolute": "openat absolute: path escapes from parent", "absolute-inside": "openat absolute-inside: path escapes from parent",
		"parent/outside": "openat parent/outside: path escapes from parent", "loop": "openat loop: too many levels of symbolic links",
		"large":  "the file has more than 65536 bytes, the most that a secret may have",
		"binary": "the file is no text in UTF-8 without NUL bytes", "nul": "the file is no text in UTF-8 without NUL bytes",
		"empty": "the file is empty", "newline": "the file is empty",
	} {
		got, err := s.Resolve(t.Context(), shop(), store.SecretsManager, name)
		if full := `reading the secret "` + name + `" from the directory ` + dir + ": " + want; got != "" || err == nil || Authors(err) || err.Error() != full {
			t.Errorf("%s: %q, %v, want %s", name, got, err, full)
		}
		if got, err := s.Resolve(t.Context(), shop(other), store.SecretsManager, name); got != "" || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: another project reads %q, %v", name, got, err)
		}
	}
	for _, b := range []*store.Build{shop(other), shop(branch), shop(fork)} {
		if got, err := s.Resolve(t.Context(), b, store.SecretsManager, "token"); got != "" || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "token"), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Resolve(t.Context(), shop(), store.SecretsManager, "token"); err == nil || Authors(err) {
			t.Error(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(t.Context(), shop(), store.SecretsManager, "token"); err == nil || Authors(err) || err.Error() != `reading the secret "token" from the directory `+dir+": open "+dir+": no such file or directory" {
		t.Error(err)
	}
}
