package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// The key file holds age's X25519 identities, one a line, as age-keygen writes them; empty lines and those that begin with #
// are passed over. Values are encrypted to the first and decrypted with any, so that a key can be replaced while the server
// may die at any instant:
//
//  1. the new key is put before the others           the file has both; all values are the old one's
//  2. all values are encrypted anew, in one transaction   the file has both; all values are the new one's
//  3. the old keys are taken from the file
//
// The file is replaced as a whole, by a rename.

// errSealed says that a value cannot be opened.
var errSealed = errors.New("the value was encrypted with a key that is not in the key file")

// OpenSecrets opens the secrets with the keys of a file, <data>/secrets.key if path is empty. A file that is missing is
// made, unless there are values already.
func (s *Store) OpenSecrets(path string) (*Secrets, error) {
	secrets := &Secrets{store: s, path: cmp.Or(path, filepath.Join(s.dir, "secrets.key"))}
	if err := s.Update(func(tx *Tx) error {
		for _, name := range [][]byte{bucketSecrets, bucketSecretValues} {
			if _, err := tx.tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("opening the secrets: %w", err)
	}
	if err := secrets.readKeys(); err != nil {
		return nil, fmt.Errorf("the key of the secrets: %w", err)
	}
	return secrets, nil
}

// readKeys reads the key file, or makes it. One that is empty is filled with a new key: that is how somebody says that the
// one before is lost.
func (s *Secrets) readKeys() error {
	os.Remove(s.path + ".tmp") // of a process that was killed; what stays is in the way of the next rotation, which says so
	info, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if n, err := s.count(); err != nil || n > 0 {
			return errors.Join(err, fmt.Errorf("%s is missing, and %d values were encrypted with what it held: put it back; if it is lost, so are they: make an empty file there, readable by the server's user alone, to begin with a new key", s.path, n))
		}
		return s.makeKey(os.Link)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", s.path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s can be read by others (mode %04o): chmod 600 %s", s.path, info.Mode().Perm(), s.path)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return s.makeKey(os.Rename)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := age.ParseX25519Identity(line)
		if err != nil { // its text may hold some of the key
			return fmt.Errorf("%s:%d: this is no key of age: one begins with AGE-SECRET-KEY-1", s.path, i+1)
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		return fmt.Errorf("%s holds no key: one begins with AGE-SECRET-KEY-1", s.path)
	}
	return nil
}

// makeKey makes a key and puts its file in place: by a link where there must be none yet, by a rename over an empty one.
func (s *Secrets) makeKey(place func(from, to string) error) error {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	if err := s.writeKeys([]*age.X25519Identity{key}, place); err != nil {
		return err
	}
	s.keys = []*age.X25519Identity{key}
	return nil
}

// writeKeys writes the key file anew. Whoever looks sees the one before or all of the new one.
func (s *Secrets) writeKeys(keys []*age.X25519Identity, place func(from, to string) error) (err error) {
	path := s.path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	temporary := path + ".tmp"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	for _, key := range keys {
		_, err = fmt.Fprintf(f, "# public key: %s\n%s\n", key.Recipient(), key)
		if err != nil {
			break
		}
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := place(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// count is how many values there are.
func (s *Secrets) count() (n int, err error) {
	err = s.store.View(func(tx *Tx) error {
		n = tx.bucket(bucketSecretValues).Stats().KeyN
		return nil
	})
	return n, err
}

// Unreadable names the secrets of which a version cannot be opened, for a key that is missing.
func (s *Secrets) Unreadable() ([]string, error) {
	var names []string
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := s.each(func(name, id string, sealed []byte) error {
		_, err := s.open(name, id, sealed)
		if err != nil && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// each calls fn with every version of every secret, as they are at one instant.
func (s *Secrets) each(fn func(name, id string, sealed []byte) error) error {
	return s.store.View(func(tx *Tx) error {
		return tx.bucket(bucketSecrets).ForEach(func(name, _ []byte) error {
			secret, _, err := get[Secret](tx, bucketSecrets, name)
			if err != nil {
				return err
			}
			for _, v := range secret.Versions {
				if err := fn(secret.Name, v.ID, tx.bucket(bucketSecretValues).Get([]byte(v.ID))); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// RotateKey makes a new key, encrypts all values to it and forgets the keys before. If it fails, or the process dies, every
// value can be read as before, and it can be called again. It returns how many values there are.
func (s *Secrets) RotateKey() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fail := func(err error) (int, error) { return 0, fmt.Errorf("replacing the key of the secrets: %w", err) }
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fail(err)
	}
	// Encrypted before the transaction: while that runs, nobody else can write.
	next := &Secrets{keys: []*age.X25519Identity{key}}
	sealed := map[string][]byte{}
	if err := s.each(func(name, id string, before []byte) error {
		value, err := s.open(name, id, before)
		if err != nil {
			return fmt.Errorf("%s: %w; put the key back, or set or remove the secret", name, err)
		}
		sealed[id], err = next.seal(name, id, value)
		return err
	}); err != nil {
		return fail(err)
	}
	both := append([]*age.X25519Identity{key}, s.keys...)
	if err := s.writeKeys(both, os.Rename); err != nil {
		return fail(err)
	}
	s.keys = both
	s.store.at("secret-key-added")
	if err := s.store.Update(func(tx *Tx) error {
		for id, text := range sealed {
			if err := tx.bucket(bucketSecretValues).Put([]byte(id), text); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return fail(err)
	}
	s.store.at("secrets-sealed")
	if err := s.writeKeys(next.keys, os.Rename); err != nil {
		return fail(fmt.Errorf("all values have the new key, but the one before is still in %s: %w", s.path, err))
	}
	s.keys = next.keys
	s.store.at("secret-key-replaced")
	return len(sealed), nil
}

// seal encrypts a value.
func (s *Secrets) seal(name, id, value string) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, s.keys[0].Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypting a secret: %w", err)
	}
	_, err = io.WriteString(w, name+"\x00"+id+"\x00"+value)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("encrypting a secret: %w", err)
	}
	return out.Bytes(), nil
}

// open decrypts a value.
func (s *Secrets) open(name, id string, sealed []byte) (string, error) {
	identities := make([]age.Identity, len(s.keys))
	for i, key := range s.keys {
		identities[i] = key
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identities...)
	var foreign *age.NoIdentityMatchError
	if errors.As(err, &foreign) {
		return "", fmt.Errorf("%w %s", errSealed, s.path)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(r)
	}
	if err != nil {
		return "", fmt.Errorf("decrypting: %w", err)
	}
	value, ok := strings.CutPrefix(string(text), name+"\x00"+id+"\x00")
	if !ok {
		return "", errors.New("what is stored as its value is that of another secret or version")
	}
	return value, nil
}
