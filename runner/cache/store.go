package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Store is all caches of a server. Its methods may be called at the same time, but by one process only: a store has no lock
// on the disk. Its zero values but Dir may be left.
type Store struct {
	Dir string           // <data>/caches
	Now func() time.Time // time.Now if nil

	// mu guards what is an entry in any scope. Archives are moved in and read without it.
	mu sync.Mutex
	// at is told the steps of Keep; tests stop there. It may be nil.
	at func(step string)
}

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Store) step(name string) {
	if s.at != nil {
		s.at(name)
	}
}

func (s *Store) project(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.Dir, hex.EncodeToString(sum[:16]))
}

func (s *Store) scope(project, scope string) (string, error) {
	if !validScope(scope) {
		return "", fmt.Errorf("%q is no scope of caches", scope)
	}
	return filepath.Join(s.project(project), scope), nil
}

// Mount returns the directory of a scope, to show it to a sandbox, and makes it if it is missing. Its content may change at any
// time; the caches in it do not.
func (s *Store) Mount(project, scope string) (string, error) {
	dir, err := s.scope(project, scope)
	if err != nil {
		return "", err
	}
	if err := s.mkdir(dir); err != nil {
		return "", fmt.Errorf("making the directory of caches: %w", err)
	}
	return dir, nil
}

// mkdir makes a directory that stays there for a while: Sweep removes those that are empty and old.
func (s *Store) mkdir(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Mkdir(s.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	now := s.now()
	return os.Chtimes(dir, now, now)
}

// ErrExists says that there is a cache of this key and these paths in the scope already. It stays as it is.
var ErrExists = errors.New("there is a cache with this key already, and it is not overwritten")

// errRefused is for archives that the agent did not write. The text is for the author of the build.
func errRefused(format string, args ...any) error {
	return fmt.Errorf("the archive of the cache was damaged by the build: %s", fmt.Sprintf(format, args...))
}

// Keep takes an archive, which must be in a directory that is ours, as a cache of a scope. Of the meta it takes the key, the
// version and the counts. A container wrote both and is trusted in neither; it must have ended. The archive may have at most
// limit bytes, 0 for any. It is moved, or copied and removed where it cannot be moved.
//
// A cache with a key is never overwritten: the error is ErrExists then. One without takes the place of the one of the same version.
// Whether the archive stays after an error is not promised. When Keep returns a cache, it is on the disk; dying on the way leaves
// either the old state or the new one, and files that Sweep removes.
func (s *Store) Keep(project, scope, archive string, m Meta, limit int64) (Entry, error) {
	dir, err := s.scope(project, scope)
	if err != nil {
		return Entry{}, err
	}
	if err := m.check(); err != nil {
		return Entry{}, err
	}
	e := Entry{Meta: m, Dir: dir, Scope: scope, ID: hashID(m.Version, m.Key)}
	if m.Key == "" {
		e.ID += "-" + random()
	} else if _, err := readEntry(dir, scope, e.ID); err == nil {
		return Entry{}, ErrExists
	}
	f, err := openArchive(archive, limit)
	if err != nil {
		return Entry{}, err
	}
	defer func() { f.Close() }()
	if err := s.mkdir(dir); err != nil {
		return Entry{}, fmt.Errorf("keeping a cache: %w", err)
	}
	// Until it has the name of an entry nobody looks at it, and it takes as long as it takes.
	part := filepath.Join(dir, e.ID+"."+random()+".part")
	if f, err = move(f, archive, part); err != nil {
		return Entry{}, fmt.Errorf("keeping a cache: %w", err)
	}
	defer os.Remove(part)
	info, err := f.Stat()
	if err == nil {
		e.Size = info.Size()
		now := s.now()
		err = errors.Join(os.Chtimes(part, now, now), f.Sync())
	}
	if err != nil {
		return Entry{}, fmt.Errorf("keeping a cache: %w", err)
	}
	s.step("moved")
	switch err := s.enter(&e, part); {
	case errors.Is(err, ErrExists):
		return Entry{}, ErrExists
	case err != nil:
		return Entry{}, fmt.Errorf("keeping a cache: %w", err)
	}
	return e, nil
}

// enter makes an entry of a file.
func (s *Store) enter(e *Entry, part string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := readEntry(e.Dir, e.Scope, e.ID); err == nil {
		return ErrExists
	}
	now := s.now()
	e.Created = now.UTC().Round(0)
	text, err := json.Marshal(e.Meta)
	if err != nil {
		return err
	}
	// What is left of an entry that was never whole must not become whole with another archive.
	if err := os.Remove(e.meta()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(part, e.archive()); err != nil {
		return err
	}
	// The directories may be new, too.
	for _, dir := range []string{e.Dir, filepath.Dir(e.Dir), s.Dir} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	s.step("named")
	if err := s.describe(*e, text, now); err != nil {
		return err
	}
	s.step("described")
	if e.Key != "" {
		return nil
	}
	// Should one stay, it is not the newest, and Keep or Sweep will come again.
	others, _ := list(e.Dir, e.Scope)
	for _, o := range others {
		if o.Key == "" && o.Version == e.Version && o.ID != e.ID {
			o.remove()
		}
	}
	return nil
}

// describe writes the meta of an entry, whole or not at all.
func (s *Store) describe(e Entry, text []byte, now time.Time) error {
	name := e.meta() + ".part"
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := errors.Join(os.Chtimes(name, now, now), os.Rename(name, e.meta())); err != nil {
		return err
	}
	return syncDir(e.Dir)
}

// openArchive opens what a container left, if it can be an archive.
func openArchive(name string, limit int64) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errRefused("%v", cause(err))
	}
	if err := checkArchive(f, limit); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func checkArchive(f *os.File, limit int64) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening the archive of a cache: %w", err)
	}
	if !info.Mode().IsRegular() {
		return errRefused("it is no regular file")
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Nlink != 1 {
		return errRefused("it has another name")
	}
	if limit > 0 && info.Size() > limit {
		return fmt.Errorf("the cache has %d bytes, packed; it may have %d", info.Size(), limit)
	}
	var begin [len(magic)]byte
	if n, err := f.ReadAt(begin[:], 0); err != nil && err != io.EOF {
		return fmt.Errorf("reading the archive of a cache: %w", err)
	} else if string(begin[:n]) != magic {
		return errRefused("it does not begin as one")
	}
	return nil
}

// move moves an archive that is open to a new name, and makes it ours. It returns the file, open.
func move(f *os.File, from, to string) (*os.File, error) {
	here, err := f.Stat()
	if err != nil {
		return f, err
	}
	if st, ok := here.Sys().(*syscall.Stat_t); !ok || unix.Geteuid() != 0 && int(st.Uid) != unix.Geteuid() {
		return replicate(f, from, to) // who does not own a file cannot make it his
	}
	err = os.Rename(from, to)
	if errors.Is(err, syscall.EXDEV) {
		return replicate(f, from, to)
	}
	if err != nil {
		return f, err
	}
	there, err := os.Lstat(to)
	if err == nil && !os.SameFile(here, there) {
		err = errRefused("another file took its place")
	}
	if err == nil {
		err = errors.Join(f.Chown(unix.Geteuid(), unix.Getegid()), f.Chmod(0o600))
	}
	if err != nil {
		os.Remove(to)
	}
	return f, err
}

// replicate is move by way of a copy.
func replicate(f *os.File, from, to string) (*os.File, error) {
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return f, err
	}
	info, err := f.Stat()
	if err == nil {
		// No more than was looked at, whoever writes there.
		_, err = io.CopyN(out, io.NewSectionReader(f, 0, info.Size()), info.Size())
	}
	if err == nil {
		err = os.Remove(from)
	}
	if err != nil {
		out.Close()
		os.Remove(to)
		return f, err
	}
	f.Close()
	return out, nil
}

// remove removes an entry. Who reads it reads on.
func (e Entry) remove() error {
	for _, name := range []string{e.meta(), e.archive()} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a cache: %w", err)
		}
	}
	return nil
}

// Drop removes a cache that was reported to be broken. One that is not there needs nothing.
func (s *Store) Drop(project, scope, id string) error {
	dir, err := s.scope(project, scope)
	if err != nil {
		return err
	}
	if !validID(id) {
		return fmt.Errorf("%.80q is no cache", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Entry{Dir: dir, ID: id}.remove()
}

// Use notes that a cache was used now. One that is not there needs nothing.
func (s *Store) Use(project, scope, id string) error {
	dir, err := s.scope(project, scope)
	if err != nil {
		return err
	}
	if !validID(id) {
		return fmt.Errorf("%.80q is no cache", id)
	}
	now := s.now()
	if err := os.Chtimes(Entry{Dir: dir, ID: id}.meta(), now, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("noting the use of a cache: %w", err)
	}
	return nil
}

func random() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
