package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"go.etcd.io/bbolt"
)

// TestSecretAtRest looks for values in everything below the data directory, and in a backup.
func TestSecretAtRest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	secrets := openSecrets(t, s)
	const value = "correct horse battery staple"
	must[Secret](t)(secrets.Put("x", value, SecretPut{Projects: everybody}))
	must[Secret](t)(secrets.Put("x", value+"2", SecretPut{}))
	key := string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "secrets.key"))))
	_, key, _ = strings.Cut(strings.TrimSpace(key), "\n")
	if info := must[fs.FileInfo](t)(os.Stat(filepath.Join(dir, "secrets.key"))); info.Mode() != 0o600 || !strings.HasPrefix(key, "AGE-SECRET-KEY-1") {
		t.Errorf("the key file has mode %v", info.Mode())
	}
	var backup bytes.Buffer
	if err := s.Backup(&backup, "admin.token", "git"); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if err := Restore(restored, &backup); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{dir, restored} {
		if err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte(value)) {
				t.Errorf("the value lies in %s", path)
			}
			if bytes.Contains(text, []byte(key)) && filepath.Base(path) != "secrets.key" || e.Name() == "secrets.key" && root == restored {
				t.Errorf("the key lies in %s", path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	// What was restored needs the key that was kept apart.
	r := open(t, restored, Options{})
	path := filepath.Join(restored, "secrets.key")
	if _, err := r.OpenSecrets(""); err == nil || err.Error() != "the key of the secrets: "+path+" is missing, and 2 values were encrypted with what it held: put it back; if it is lost, so are they: make an empty file there, readable by the server's user alone, to begin with a new key" {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("# kept\n\n"+key), 0o400); err != nil {
		t.Fatal(err)
	}
	again := openSecrets(t, r)
	if got, _, _, err := again.Value("x", SecretPick{}); got != value+"2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSecretKeyFile(t *testing.T) {
	key := must[*age.X25519Identity](t)(age.GenerateX25519Identity()).String()
	for name, tt := range map[string]struct {
		make func(path string) error
		want string // after the path
	}{
		"others may read it": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(key), 0o600), os.Chmod(path, 0o644))
		}, " can be read by others (mode 0644): chmod 600 PATH"},
		"the group may read it": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(key), 0o600), os.Chmod(path, 0o640))
		}, " can be read by others (mode 0640): chmod 600 PATH"},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o700) }, " is no file"},
		"no key":      {func(path string) error { return os.WriteFile(path, []byte("# nothing\n"), 0o600) }, " holds no key: one begins with AGE-SECRET-KEY-1"},
		"another kind of key": {func(path string) error { return os.WriteFile(path, []byte("# key\nssh-ed25519 hunter2\n"), 0o600) },
			":2: this is no key of age: one begins with AGE-SECRET-KEY-1"},
		"half a key": {func(path string) error { return os.WriteFile(path, []byte(key+"\n"+key[:40]), 0o600) },
			":2: this is no key of age: one begins with AGE-SECRET-KEY-1"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newStore(t)
			path := filepath.Join(s.Dir(), "secrets.key")
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := s.OpenSecrets("")
			if want := "the key of the secrets: " + path + strings.ReplaceAll(tt.want, "PATH", path); err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
	// Somewhere else, in a directory that there is not, and behind a link.
	s, _ := newStore(t)
	none := filepath.Join(s.Dir(), "none", "key")
	if _, err := s.OpenSecrets(none); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "the key of the secrets: open "+none) {
		t.Error(err)
	}
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(s.Dir(), "link")
	if err := errors.Join(os.WriteFile(target, []byte(key), 0o600), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	secrets := must[*Secrets](t)(s.OpenSecrets(link))
	must[Secret](t)(secrets.Put("x", "v", SecretPut{Projects: everybody}))
	must[int](t)(secrets.RotateKey())
	if text := must[[]byte](t)(os.ReadFile(target)); strings.Contains(string(text), key) {
		t.Error("the key behind the link is still the one before")
	}
	if got := must[string](t)(os.Readlink(link)); got != target {
		t.Errorf("the link leads to %s", got)
	}
}

// TestSecretKeyLost begins with an empty key file: what was encrypted with the one before is named, and can be set anew.
func TestSecretKeyLost(t *testing.T) {
	s, _ := newStore(t)
	path := filepath.Join(s.Dir(), "secrets.key")
	secrets := openSecrets(t, s)
	before := must[[]byte](t)(os.ReadFile(path))
	for _, name := range []string{"a", "b"} {
		must[Secret](t)(secrets.Put(name, "v1", SecretPut{Projects: everybody}))
		must[Secret](t)(secrets.Put(name, "v2", SecretPut{}))
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	secrets = openSecrets(t, s)
	if names, err := secrets.Unreadable(); !slices.Equal(names, []string{"a", "b"}) || err != nil {
		t.Error(names, err)
	}
	if _, _, _, err := secrets.Value("a", SecretPick{}); err == nil || err.Error() != "a, version 2: the value was encrypted with a key that is not in the key file "+path {
		t.Error(err)
	}
	after := must[[]byte](t)(os.ReadFile(path))
	if _, err := secrets.RotateKey(); err == nil || err.Error() != "replacing the key of the secrets: a: the value was encrypted with a key that is not in the key file "+path+"; put the key back, or set or remove the secret" {
		t.Error(err)
	}
	if !bytes.Equal(after, must[[]byte](t)(os.ReadFile(path))) {
		t.Error("a rotation that was refused has changed the key file")
	}
	must[Secret](t)(secrets.Put("a", "v3", SecretPut{}))
	if got, _, _, err := secrets.Value("a", SecretPick{}); got != "v3" || err != nil {
		t.Error(got, err)
	}
	// With the old key behind the new one, everything can be read.
	if err := os.WriteFile(path, slices.Concat(after, []byte("\n"), before), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets = openSecrets(t, s)
	if got, _, _, err := secrets.Value("b", SecretPick{}); got != "v2" || err != nil {
		t.Error(got, err)
	}
	if names, err := secrets.Unreadable(); names != nil || err != nil {
		t.Error(names, err)
	}
}

// TestSecretValuesMixedUp exchanges values in the database, and damages one.
func TestSecretValuesMixedUp(t *testing.T) {
	s, _ := newStore(t)
	secrets := openSecrets(t, s)
	a := must[Secret](t)(secrets.Put("a", "for all", SecretPut{Projects: everybody})).Versions[0].ID
	b := must[Secret](t)(secrets.Put("b", "for few", SecretPut{Projects: everybody})).Versions[0].ID
	update(t, s, func(tx *Tx) error {
		values := tx.bucket(bucketSecretValues)
		return errors.Join(values.Put([]byte(a), bytes.Clone(values.Get([]byte(b)))), values.Put([]byte(b), values.Get([]byte(b))[:200]))
	})
	if got, _, _, err := secrets.Value("a", SecretPick{}); got != "" || err == nil || err.Error() != "a, version 1: what is stored as its value is that of another secret or version" {
		t.Error(got, err)
	}
	if got, _, _, err := secrets.Value("b", SecretPick{}); got != "" || err == nil || !strings.HasPrefix(err.Error(), "b, version 1: decrypting: ") {
		t.Error(got, err)
	}
	update(t, s, func(tx *Tx) error { return tx.bucket(bucketSecretValues).Delete([]byte(b)) })
	if got, _, _, err := secrets.Value("b", SecretPick{}); got != "" || err == nil || !strings.HasPrefix(err.Error(), "b, version 1: decrypting: ") {
		t.Error(got, err)
	}
}

// TestSecretKeyRotationDies copies the data directory at each point of a rotation, as it would be found after a kill, and
// goes on from there: all values are readable, and a rotation that is run again ends.
func TestSecretKeyRotationDies(t *testing.T) {
	dir := t.TempDir()
	copies := map[string]string{}
	var s *Store
	at := func(point string) {
		if !strings.HasPrefix(point, "secret") {
			return
		}
		to := t.TempDir()
		copies[point] = to
		for _, name := range []string{"secrets.key", "buildsmith.db"} {
			out := must[*os.File](t)(os.OpenFile(filepath.Join(to, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600))
			if name == "secrets.key" {
				must[int](t)(out.Write(must[[]byte](t)(os.ReadFile(filepath.Join(dir, name)))))
			} else if err := s.db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(out); return err }); err != nil {
				t.Fatal(err)
			}
			out.Close()
		}
	}
	s = open(t, dir, Options{At: at})
	secrets := openSecrets(t, s)
	want := map[string]string{}
	for i := range 5 {
		name := fmt.Sprint("s", i)
		for _, value := range []string{"before " + name, "now " + name} {
			must[Secret](t)(secrets.Put(name, value, SecretPut{Projects: everybody}))
			want[name] = value
		}
	}
	before := strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(dir, "secrets.key")))))
	if n := must[int](t)(secrets.RotateKey()); n != 10 {
		t.Errorf("%d values", n)
	}
	check := func(t *testing.T, secrets *Secrets) {
		t.Helper()
		for name, value := range want {
			if got, _, _, err := secrets.Value(name, SecretPick{}); got != value || err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			if got, _, _, err := secrets.Value(name, SecretPick{Stage: StagePrevious}); got != "before "+name || err != nil {
				t.Errorf("%s before: %q, %v", name, got, err)
			}
		}
	}
	check(t, secrets)
	for point, keys := range map[string]int{"secret-key-added": 2, "secrets-sealed": 2, "secret-key-replaced": 1} {
		t.Run(point, func(t *testing.T) {
			dir := copies[point]
			if dir == "" {
				t.Fatal("not passed")
			}
			path := filepath.Join(dir, "secrets.key")
			// What a kill amid the next writing of the file leaves.
			if err := os.WriteFile(path+".tmp", []byte("# public"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir, Options{})
			secrets := openSecrets(t, s)
			if _, err := os.Stat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what a kill left: %v", err)
			}
			if len(secrets.keys) != keys {
				t.Errorf("the file has %d keys", len(secrets.keys))
			}
			check(t, secrets)
			must[Secret](t)(secrets.Put("new", "of then", SecretPut{Projects: everybody}))
			if n := must[int](t)(secrets.RotateKey()); n != 11 {
				t.Errorf("%d values", n)
			}
			secrets = openSecrets(t, s)
			check(t, secrets)
			text := string(must[[]byte](t)(os.ReadFile(path)))
			if len(secrets.keys) != 1 || strings.Contains(text, before) || strings.Count(text, "AGE-SECRET-KEY-1") != 1 {
				t.Errorf("the file has %d keys", len(secrets.keys))
			}
			if entries := must[[]os.DirEntry](t)(os.ReadDir(dir)); slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".tmp") }) {
				t.Errorf("a temporary file is left: %v", entries)
			}
		})
	}
}

// TestSecretKeyRotationFails cannot write the key file, then not the database: everything stays readable.
func TestSecretKeyRotationFails(t *testing.T) {
	s, _ := newStore(t)
	path := filepath.Join(s.Dir(), "secrets.key")
	secrets := openSecrets(t, s)
	must[Secret](t)(secrets.Put("x", "v", SecretPut{Projects: everybody}))
	before := must[[]byte](t)(os.ReadFile(path))
	if err := os.MkdirAll(filepath.Join(path+".tmp", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.RotateKey(); err == nil || !strings.HasPrefix(err.Error(), "replacing the key of the secrets: ") || !strings.Contains(err.Error(), "secrets.key.tmp: directory not empty") {
		t.Error(err)
	}
	if !bytes.Equal(before, must[[]byte](t)(os.ReadFile(path))) || len(secrets.keys) != 1 {
		t.Error("the key file has changed")
	}
	// The file cannot be written any more after the values have the new key.
	s.at = func(point string) {
		if point == "secrets-sealed" {
			if err := os.MkdirAll(filepath.Join(path+".tmp", "full"), 0o700); err != nil {
				t.Error(err)
			}
		}
	}
	if err := os.RemoveAll(path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.RotateKey(); err == nil || !strings.HasPrefix(err.Error(), "replacing the key of the secrets: all values have the new key, but the one before is still in "+path+": ") {
		t.Error(err)
	}
	for _, secrets := range []*Secrets{secrets, openSecrets(t, s)} {
		if got, _, _, err := secrets.Value("x", SecretPick{}); got != "v" || err != nil || len(secrets.keys) != 2 {
			t.Error(got, err)
		}
	}
	s.Close()
	if _, err := secrets.RotateKey(); err == nil {
		t.Error("rotated in a closed store")
	}
}
