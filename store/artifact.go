package store

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrDamagedArchive says that an archive of artifacts holds what the agent would not have packed: the build's doing.
var ErrDamagedArchive = errors.New("artifact archive damaged by the build")

const (
	maxArtifacts   = 200_000
	firstArtifacts = 20
	maxNameLength  = 4096
	maxNames       = 16 << 20 // bytes of all names and targets of links, as the manifest writes them
)

// ReportFiles is the id under which the files that a build's reports were made from are kept, beside its artifacts.
const ReportFiles = "-reports"

func (s *Store) artifactsPath(build, id string) string { return s.archivePath(build, id) + ".zip" }
func (s *Store) manifestPath(build, id string) string  { return s.archivePath(build, id) + ".json" }

func (s *Store) archivePath(build, id string) string {
	if id != "" {
		build += "." + id
	}
	return filepath.Join(s.dir, "artifacts", build)
}

// artifactIDs are the ids of the archives that a build left.
func (b *Build) artifactIDs() []string {
	var ids []string
	if b.Artifacts != nil {
		ids = append(ids, "")
	}
	for _, a := range b.Secondary {
		ids = append(ids, a.ID)
	}
	if b.ReportFiles != nil {
		ids = append(ids, ReportFiles)
	}
	return ids
}

// ArtifactsOf are the artifacts of an id, empty for the primary ones; nil if the build left none of that id.
func (b *Build) ArtifactsOf(id string) *Artifacts {
	switch id {
	case "":
		return b.Artifacts
	case ReportFiles:
		return b.ReportFiles
	}
	for i := range b.Secondary {
		if b.Secondary[i].ID == id {
			return &b.Secondary[i]
		}
	}
	return nil
}

// validArchiveID reports whether an id can stand in the name of a file.
func validArchiveID(id string) bool {
	return len(id) < 128 && !strings.ContainsFunc(id, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// TakeArtifacts keeps the files of a tar archive as the artifacts of a build: the primary ones for an empty id, those of a
// secondary artifact, or ReportFiles. The archive comes from a container and is
// trusted in nothing: its entries are files and relative links that stay inside, wherever else links lead, with relative
// names, each once, and at most limit bytes together; else the error wraps ErrDamagedArchive. Nothing is unpacked. Taking
// again replaces what was taken before.
func (s *Store) TakeArtifacts(build, id, name string, archive io.Reader, limit int64) (*Artifacts, error) {
	if !validArchiveID(id) {
		return nil, fmt.Errorf("keeping artifacts: %w: the identifier %.150q", ErrDamagedArchive, id)
	}
	path := s.artifactsPath(build, id)
	out, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("keeping artifacts: %w", err)
	}
	defer os.Remove(path + ".tmp")
	defer out.Close()
	sum := sha256.New()
	buffer := bufio.NewWriterSize(io.MultiWriter(out, sum), 1<<20)
	k := &keeper{zip: newZipper(buffer), limit: limit, seen: map[string]bool{}}
	err = k.all(tar.NewReader(bufio.NewReaderSize(archive, 1<<20)))
	finished := k.zip.finish()
	if err == nil {
		err = errors.Join(finished, buffer.Flush(), out.Sync())
	}
	if err != nil {
		return nil, fmt.Errorf("keeping artifacts: %w", err)
	}
	list := k.zip.list
	info, err := out.Stat()
	if err != nil {
		return nil, fmt.Errorf("keeping artifacts: %w", err)
	}
	manifest, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	s.At("artifacts partly taken")
	if err := errors.Join(writeDurable(s.manifestPath(build, id), manifest), os.Rename(path+".tmp", path), syncDir(filepath.Dir(path))); err != nil {
		return nil, fmt.Errorf("keeping artifacts: %w", err)
	}
	return &Artifacts{
		ID: id, Name: name, Files: len(list), Size: info.Size(), Content: k.size, SHA256: hex.EncodeToString(sum.Sum(nil)),
		First: list[:min(len(list), firstArtifacts)],
	}, nil
}

// A keeper turns a tar archive into a zip archive and a manifest.
type keeper struct {
	zip   *zipper
	limit int64
	size  int64
	names int // bytes of all names

	seen  map[string]bool
	links []string // names of links
}

// packTime is the time of every file in an archive, so that equal files make equal archives.
var packTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func (k *keeper) all(r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return k.linksAreLeaves()
		}
		if err != nil {
			return damaged(err)
		}
		if err := k.one(h, r); err != nil {
			return err
		}
	}
}

// linksAreLeaves fails if an entry lies below a link.
func (k *keeper) linksAreLeaves() error {
	names := slices.Sorted(maps.Keys(k.seen))
	for _, link := range k.links {
		below := link + "/"
		if i, _ := slices.BinarySearch(names, below); i < len(names) && strings.HasPrefix(names[i], below) {
			return fmt.Errorf("%w: %.100q lies below a link", ErrDamagedArchive, names[i])
		}
	}
	return nil
}

func (k *keeper) one(h *tar.Header, content io.Reader) error {
	switch {
	case len(h.Name) > maxNameLength || !filepath.IsLocal(h.Name) || filepath.Clean(h.Name) != h.Name || climbs(h.Name):
		return fmt.Errorf("%w: the name %.100q", ErrDamagedArchive, h.Name)
	case k.seen[h.Name]:
		return fmt.Errorf("%w: %q stands twice", ErrDamagedArchive, h.Name)
	case len(k.seen) >= maxArtifacts:
		return fmt.Errorf("%w: more than %d files", ErrDamagedArchive, maxArtifacts)
	case h.Size < 0 || k.limit > 0 && h.Size > k.limit-k.size:
		return fmt.Errorf("%w: more than %d bytes", ErrDamagedArchive, k.limit)
	}
	if k.names += written(h.Name) + written(h.Linkname); k.names > maxNames {
		return fmt.Errorf("%w: the names have more than %d bytes", ErrDamagedArchive, maxNames)
	}
	k.seen[h.Name] = true
	k.size += h.Size
	header := &zip.FileHeader{Name: h.Name, Method: zip.Deflate, Modified: packTime}
	a := Artifact{Name: h.Name, Size: h.Size, Mode: uint32(h.Mode) & 0o777}
	switch h.Typeflag {
	case tar.TypeReg:
		header.SetMode(fs.FileMode(a.Mode))
	case tar.TypeSymlink:
		if len(h.Linkname) > maxNameLength || !staysInside(h.Name, h.Linkname) {
			return fmt.Errorf("%w: %q links to %.100q", ErrDamagedArchive, h.Name, h.Linkname)
		}
		a.Link, a.Mode, a.Size = h.Linkname, 0o777, int64(len(h.Linkname))
		header.SetMode(fs.ModeSymlink | 0o777)
		k.links = append(k.links, h.Name)
		content = strings.NewReader(a.Link)
	default:
		return fmt.Errorf("%w: %q is neither a file nor a link", ErrDamagedArchive, h.Name)
	}
	if err := k.zip.add(header, a, content); err != nil {
		return damaged(err)
	}
	return nil
}

// written is how many bytes JSON makes of a name at most.
func written(name string) int {
	n, valid := len(name), utf8.ValidString(name)
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c >= 0x80 && !valid {
			n += 5
		}
	}
	return n
}

// climbs reports whether a name leads up where a backslash separates directories too.
func climbs(name string) bool {
	return slices.Contains(strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }), "..")
}

// staysInside reports whether a link leads nowhere but to what lies beside it, whatever further links are on the way: it
// climbs at its beginning only, and not too far.
func staysInside(name, target string) bool {
	rest := target
	for strings.HasPrefix(rest, "../") {
		rest = strings.TrimPrefix(rest, "../")
	}
	return target != "" && !filepath.IsAbs(target) && filepath.IsLocal(filepath.Join(filepath.Dir(name), target)) && (rest == ".." || !climbs(rest))
}

// readErrors remembers that reading failed, to tell it from a failure to write.
type readErrors struct {
	io.Reader
	err error
}

func (r *readErrors) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// DropArtifacts removes artifacts that were taken for a build and are not to be kept.
func (s *Store) DropArtifacts(build string, ids ...string) {
	for _, id := range ids {
		removed(s.artifactsPath(build, id))
		removed(s.manifestPath(build, id))
	}
}

// OpenArtifacts opens the artifacts of a build that have an id: a zip archive. The error wraps ErrNotFound if there are none, or no
// longer. The caller closes the file.
func (s *Store) OpenArtifacts(build, id string) (*os.File, error) {
	f, err := os.Open(s.artifactsPath(build, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("artifacts of build %s: %w", build, ErrNotFound)
	}
	return f, err
}

// Manifest lists the artifacts of a build that have an id, in the order of their names. The error wraps ErrNotFound if there are none, or
// no longer.
func (s *Store) Manifest(build, id string) ([]Artifact, error) {
	text, err := os.ReadFile(s.manifestPath(build, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("artifacts of build %s: %w", build, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	var list []Artifact
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading the manifest of build %s: %w", build, err)
	}
	return list, nil
}

// OpenArtifact opens one file of a build's artifacts. The error wraps ErrNotFound if there is none of that name, and for a
// symbolic link. The caller closes the reader.
func (s *Store) OpenArtifact(build, id, name string) (io.ReadCloser, int64, error) {
	f, err := s.OpenArtifacts(build, id)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("reading artifacts of build %s: %w", build, err)
	}
	for _, entry := range z.File {
		if entry.Name != name || !entry.Mode().IsRegular() {
			continue
		}
		r, err := entry.Open()
		if err != nil {
			f.Close()
			return nil, 0, err
		}
		return closers{r, f}, int64(entry.UncompressedSize64), nil
	}
	f.Close()
	return nil, 0, fmt.Errorf("artifact %q of build %s: %w", name, build, ErrNotFound)
}

type closers struct {
	io.ReadCloser
	file *os.File
}

func (c closers) Close() error { return errors.Join(c.ReadCloser.Close(), c.file.Close()) }
