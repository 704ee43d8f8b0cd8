// Package cache saves what the cache block of a buildspec names, and brings it back for later builds.
//
// The agent in the container packs (Pack) and restores (Restore); the server on the host keeps what was packed (Store), and unpacks
// nothing. The caches of a project lie in
//
//	<data>/caches/<project>/default/    saved by builds of the default branch
//	<data>/caches/<project>/ref-<ref>/  saved by builds of another branch, tag or pull request that are trusted
//
// where <project> and <ref> are hashes. A sandbox sees the default scope and that of its own ref, as default and own, read-only: so what a branch saved
// never reaches a build of the default branch, nor one of a branch or tag whose secrets it may not have. Choose reads what a
// sandbox sees.
//
// A cache is two files, <id>.tar.zst and <id>.json, and exists when its json does: that is written last and removed first. Its
// modification time is when the cache was last used.
//
// The archive is a tar stream cut into zstd frames of a few MiB, each with a checksum and each after a skippable frame that holds its
// length, as pzstd writes them: so all processors pack and unpack, and zstd and tar can read it. Names begin with src/, relative
// to the source directory, or abs/, relative to the root directory. Directories come first, then everything else by name; a hard
// link comes before the file it names. The last entry is called end and holds the number of the others.
package cache

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Default is the scope of a project's caches that builds of the default branch saved.
const Default = "default"

// ScopeOf is the scope of what builds of another ref saved.
func ScopeOf(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return "ref-" + hex.EncodeToString(sum[:8])
}

// validScope reports whether a name is that of a scope.
func validScope(name string) bool {
	ref, ok := strings.CutPrefix(name, "ref-")
	return name == Default || ok && len(ref) == 16 && isHex(ref)
}

// Meta is what <id>.json holds.
type Meta struct {
	Key     string    `json:"key"`     // empty for a rolling cache, of which a scope has one for each version
	Version string    `json:"version"` // of the paths
	Created time.Time `json:"created"`
	Size    int64     `json:"size"`  // of the archive
	Files   int       `json:"files"` // that are no directories
	Bytes   int64     `json:"bytes"` // of the files' content
}

// An Entry is a cache that exists.
type Entry struct {
	Meta
	Dir   string // where its files lie
	Scope string // its subdirectory of what Choose looked at; empty for that itself
	ID    string
}

const (
	archiveSuffix = ".tar.zst"
	metaSuffix    = ".json"
	maxMeta       = 16 << 10
	maxKey        = 512
)

func (e Entry) archive() string { return filepath.Join(e.Dir, e.ID+archiveSuffix) }
func (e Entry) meta() string    { return filepath.Join(e.Dir, e.ID+metaSuffix) }

// format is part of every version, so that no archive is taken by a program that would not understand it.
const format = "1"

// Version is a hash of cache.paths: caches of other paths are other caches, whatever their key. The order of the paths and
// how often one is named do not matter.
func Version(paths []string) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(paths)))
	text, err := json.Marshal(append([]string{format}, sorted...))
	if err != nil {
		panic(err) // strings can be encoded
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// CheckKey says what is wrong with a key, in a sentence for the author of the buildspec.
func CheckKey(key string) error {
	switch {
	case len(key) > maxKey:
		return fmt.Errorf("the cache key has %d bytes; it may have %d", len(key), maxKey)
	case !utf8.ValidString(key), strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("the cache key %.100q has characters that cannot be printed", key)
	case strings.TrimSpace(key) != key:
		return fmt.Errorf("the cache key %.100q begins or ends with a space", key)
	}
	return nil
}

func (m Meta) check() error {
	if err := CheckKey(m.Key); err != nil {
		return err
	}
	if len(m.Version) != 16 || !isHex(m.Version) {
		return fmt.Errorf("the version of the cache's paths is %.40q; it has 16 hexadecimal digits", m.Version)
	}
	if m.Files < 0 || m.Bytes < 0 || m.Size < 0 {
		return errors.New("a count of the cache is negative")
	}
	return nil
}

func isHex(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// validID reports whether a name can be that of a cache: a hash of the version and the key, and for a rolling cache a dash and a
// part of its own.
func validID(id string) bool {
	hash, own, rolling := strings.Cut(id, "-")
	return len(hash) == 32 && isHex(hash) && (!rolling || len(own) == 16 && isHex(own))
}

func hashID(version, key string) string {
	sum := sha256.Sum256([]byte(version + "\x00" + key))
	return hex.EncodeToString(sum[:16])
}

// Choose finds the cache to restore among those below dir, in dir itself and in its scopes. With a key that is the cache of
// just that key, the default scope's first; else, for the first fallback that begins the key of any, the newest of those. An empty
// fallback begins none. Without a key it is the newest rolling cache. What cannot be read is passed over.
func Choose(dir, version, key string, fallback []string) (Entry, bool) {
	entries, _ := list(dir, "")
	for _, scope := range scopes(dir) {
		more, _ := list(filepath.Join(dir, scope), scope)
		entries = append(entries, more...)
	}
	newest := func(match func(Entry) bool) (found Entry, ok bool) {
		for _, e := range entries {
			// Of caches that are equally old the first scope's wins.
			if e.Version == version && match(e) && (!ok || e.Created.After(found.Created)) {
				found, ok = e, true
			}
		}
		return found, ok
	}
	if key == "" {
		return newest(func(e Entry) bool { return e.Key == "" })
	}
	for _, e := range entries {
		if e.Version == version && e.Key == key {
			return e, true
		}
	}
	for _, prefix := range fallback {
		if prefix == "" {
			continue
		}
		if e, ok := newest(func(e Entry) bool { return strings.HasPrefix(e.Key, prefix) }); ok {
			return e, true
		}
	}
	return Entry{}, false
}

// scopes are the subdirectories of dir, the default scope first.
func scopes(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(rank(a), rank(b))
	})
	return names
}

func rank(scope string) int {
	if scope == Default {
		return 0
	}
	return 1
}

// list reads the caches in one directory, sorted by id, and the names of the files in it that are part of none. A directory that
// cannot be read has none.
func list(dir, scope string) (entries []Entry, rest []string) {
	files, _ := os.ReadDir(dir)
	part := map[string]bool{}
	for _, f := range files {
		id, isMeta := strings.CutSuffix(f.Name(), metaSuffix)
		if !isMeta || !validID(id) {
			continue
		}
		e, err := readEntry(dir, scope, id)
		if err == nil {
			entries = append(entries, e)
		}
		// What cannot be read now may be whole.
		if err == nil || errors.As(err, new(*fs.PathError)) && !errors.Is(err, fs.ErrNotExist) {
			part[id+metaSuffix], part[id+archiveSuffix] = true, true
		}
	}
	for _, f := range files {
		if !f.IsDir() && !part[f.Name()] {
			rest = append(rest, f.Name())
		}
	}
	return entries, rest
}

// readEntry reads one entry. It fails for one that does not exist or is not whole.
func readEntry(dir, scope, id string) (Entry, error) {
	e := Entry{Dir: dir, Scope: scope, ID: id}
	if !validID(id) {
		return e, fmt.Errorf("%.80q is no cache: %w", id, fs.ErrNotExist)
	}
	var err error
	if e.Meta, err = readMeta(e.meta()); err != nil {
		return e, err
	}
	info, err := os.Lstat(e.archive())
	if err != nil {
		return e, err
	}
	if !info.Mode().IsRegular() || info.Size() != e.Size {
		return e, fmt.Errorf("the archive of the cache %s has %d bytes instead of %d", id, info.Size(), e.Size)
	}
	return e, nil
}

func readMeta(path string) (Meta, error) {
	var m Meta
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return m, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return m, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxMeta {
		return m, fmt.Errorf("%s is no description of a cache", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxMeta))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is no description of a cache: %w", path, err)
	}
	return m, m.check()
}

// Stats is what Pack and Restore did.
type Stats struct {
	Files  int           // files, hard and symbolic links
	Bytes  int64         // of their content
	Packed int64         // bytes of the archive
	Kept   int           // what Restore left as it was, since it was there already
	Took   time.Duration // from the first look to the last byte
}

// ErrDamaged says that an archive is not what Pack wrote. A server may drop it.
var ErrDamaged = errors.New("the cache is damaged")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// cause is an error without the operation and the path.
func cause(err error) error {
	var in *fs.PathError
	if errors.As(err, &in) {
		return in.Err
	}
	return err
}

// maxNotes is how many lines about single files are logged.
const maxNotes = 20

// notes logs lines about single files, up to a number of them. It is used by one goroutine at a time.
type notes struct {
	logf func(format string, args ...any)
	n    int
}

func (n *notes) add(format string, args ...any) {
	if n.n++; n.n <= maxNotes && n.logf != nil {
		n.logf(format, args...)
	}
}

// end says how much was left out.
func (n *notes) end() {
	if n.n > maxNotes && n.logf != nil {
		n.logf("%d more were passed over", n.n-maxNotes)
	}
}
