package agent

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"buildsmith/runner/glob"
)

// UploadArtifacts is the phase in which the artifacts are packed.
const UploadArtifacts = "UPLOAD_ARTIFACTS"

// upload packs the artifacts of the job, if it has any.
func (b *build) upload() error {
	b.log.event(Event{Kind: Enter, Phase: UploadArtifacts})
	b.log.Logf("Entering phase %s", UploadArtifacts)
	_, err := b.leave(UploadArtifacts, b.pack())
	return err
}

// packTime is the time of every file in an archive, so that equal files make equal archives.
var packTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func (b *build) pack() error {
	a := b.job.Upload
	if a == nil {
		return nil
	}
	if b.shell.program == "" { // no phase had a shell to find
		if err := b.shell.find(b.job.Shell); err != nil {
			return &failure{CodeClient, err.Error()}
		}
	}
	name, err := b.expand("name", a.Name)
	if err != nil {
		return err
	}
	if name != "" && !filepath.IsLocal(name) {
		return &failure{CodeClient, fmt.Sprintf("the artifact's name is %q; a name is relative and has no ..", name)}
	}
	files, err := b.collect(a)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(b.dir, ArtifactsName), os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &failure{CodeClient, fmt.Sprintf("artifact archive damaged by the build: %v", cause(err))}
	}
	defer out.Close()
	buffer := bufio.NewWriterSize(out, 1<<20)
	p := &packer{tar: tar.NewWriter(buffer), log: b.log, limit: a.Limit, links: a.EnableSymlinks, cut: b.isCut,
		linked: map[string]bool{}, directories: map[string]bool{}}
	for _, f := range files {
		if err := p.add(f); err != nil {
			return err
		}
	}
	if p.files == 0 {
		return errNothingMatches
	}
	if err := errors.Join(p.tar.Close(), buffer.Flush(), out.Close()); err != nil {
		return err
	}
	b.log.event(Event{Kind: Packed, Message: name, Files: p.files, Size: p.size})
	return nil
}

var errNothingMatches = &failure{CodeClient, "no matching artifact paths found"}

// expand lets the build's shell expand a value of the artifacts block, as the user of the last phase.
func (b *build) expand(key, text string) (string, error) {
	cred := b.last
	if cred == nil {
		var err error
		if cred, err = b.shell.as(""); err != nil {
			return "", err
		}
	}
	value, err := b.shell.expand(text, cred)
	if err != nil {
		return "", &failure{CodeClient, fmt.Sprintf("artifacts.%s: %v", key, err)}
	}
	if b.isCut() {
		return "", errCut
	}
	return value, nil
}

// collect finds the files of the block: matched, without the excluded ones, each name once, sorted.
func (b *build) collect(a *Artifacts) ([]glob.File, error) {
	base, err := b.expand("base-directory", a.BaseDirectory)
	if err != nil {
		return nil, err
	}
	shown := base
	if base == "" {
		base, shown = ".", "."
	}
	b.log.Logf("Expanding base directory path: %s", shown)
	pattern, err := glob.Compile(base)
	if err != nil {
		return nil, &failure{CodeClient, "artifacts.base-directory: " + err.Error()}
	}
	roots := pattern.Dirs(b.job.Dir)
	if len(roots) == 0 {
		return nil, &failure{CodeClient, "no matching base directory path found for " + shown}
	}
	b.log.Logf("Assembling file list")
	exclude, err := compile(a.Exclude)
	if err != nil {
		return nil, err
	}
	found := map[string]glob.File{}
	for _, text := range a.Files {
		pattern, err := glob.Compile(text)
		if err != nil {
			return nil, &failure{CodeClient, "artifacts.files: " + err.Error()}
		}
		n := 0
		for _, root := range roots {
			for _, f := range pattern.Files(root) {
				n++
				if slices.ContainsFunc(exclude, func(p glob.Pattern) bool { return p.Match(f.Name) }) {
					continue
				}
				found[f.Name] = f
			}
		}
		if n == 0 {
			b.log.Logf("Skipping invalid file path %s", text)
		}
	}
	b.log.Logf("Expanding file paths for base directory %s", shown)
	files := make([]glob.File, 0, len(found))
	for _, f := range found {
		files = append(files, f)
	}
	byName := func(a, b glob.File) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(files, byName)
	if a.DiscardPaths {
		flat := map[string]glob.File{}
		for _, f := range files {
			name := path.Base(f.Name)
			if other, twice := flat[name]; twice {
				b.log.Logf("%s takes the place of %s, since discard-paths gives both one name", f.Name, other.Name)
			}
			flat[name] = f
		}
		files = files[:0]
		for name, f := range flat {
			files = append(files, glob.File{Name: name, Path: f.Path})
		}
		slices.SortFunc(files, byName)
	}
	b.log.Logf("Found %d file(s)", len(files))
	return files, nil
}

func compile(texts []string) ([]glob.Pattern, error) {
	var patterns []glob.Pattern
	for _, text := range texts {
		p, err := glob.Compile(text)
		if err != nil {
			return nil, &failure{CodeClient, "artifacts.exclude-paths: " + err.Error()}
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// A packer writes files into an archive, up to a limit of bytes.
type packer struct {
	tar   *tar.Writer
	log   *writer
	links bool // keep links that stay inside
	cut   func() bool
	limit int64
	files int
	size  int64
	names int // bytes of all names

	linked      map[string]bool // names of links that were packed
	directories map[string]bool // names that have entries below them
}

// add packs one file. What is no regular file, or cannot be read, is passed over with a line in the log.
func (p *packer) add(f glob.File) error {
	if p.cut() {
		return errCut
	}
	info, err := os.Lstat(f.Path)
	if err != nil {
		p.log.Logf("Skipping %s: %v", f.Name, cause(err))
		return nil
	}
	header := &tar.Header{Name: f.Name, Mode: int64(info.Mode().Perm()), ModTime: packTime}
	if info.Mode().Type() == os.ModeSymlink && p.links && !p.directories[f.Name] {
		target, err := os.Readlink(f.Path)
		if err == nil && staysInside(f.Name, target) {
			header.Typeflag, header.Linkname = tar.TypeSymlink, target
		}
	}
	if why := p.name(header); why != "" {
		p.log.Logf("Skipping %s: %s", f.Name, why)
		return nil
	}
	if p.names > maxNames {
		return &failure{CodeClient, fmt.Sprintf("the names of the artifacts have more than %d bytes, which is the limit", maxNames)}
	}
	if header.Typeflag == tar.TypeSymlink {
		p.files++
		return p.tar.WriteHeader(header)
	}
	// A link is followed here, inside the container: what it reaches is the build's own. Opening must not block on a FIFO.
	file, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		p.log.Logf("Skipping %s: %v", f.Name, cause(err))
		return nil
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil || !info.Mode().IsRegular() {
		p.log.Logf("Skipping %s: it is no regular file", f.Name)
		return nil
	}
	header.Typeflag, header.Size, header.Mode = tar.TypeReg, info.Size(), int64(info.Mode().Perm())
	if p.size += info.Size(); p.limit > 0 && p.size > p.limit {
		return &failure{CodeClient, fmt.Sprintf("the artifacts have more than %d bytes, which is the limit", p.limit)}
	}
	if err := p.tar.WriteHeader(header); err != nil {
		p.log.Logf("Skipping %s: %v", f.Name, err)
		p.size -= info.Size()
		return nil
	}
	n, err := io.CopyN(p.tar, file, header.Size)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n < header.Size {
		p.log.Logf("%s became shorter while it was read; its end is filled with zeros", f.Name)
		if _, err := io.CopyN(p.tar, zeros{}, header.Size-n); err != nil {
			return err
		}
	}
	p.files++
	return nil
}

// maxNames is how many bytes the names of all artifacts may have. The server's limit is somewhat higher, since it counts them as
// its manifest writes them.
const maxNames = 12 << 20

// name notes the name of an entry, and says why it cannot be one: the server takes no archive in which it is.
func (p *packer) name(h *tar.Header) (why string) {
	if climbs(h.Name) {
		return "where a backslash separates directories, its name leads out of the archive"
	}
	for dir := filepath.Dir(h.Name); dir != "."; dir = filepath.Dir(dir) {
		if p.linked[dir] {
			return "it lies below a link that is packed as a link"
		}
	}
	for dir := filepath.Dir(h.Name); dir != "." && !p.directories[dir]; dir = filepath.Dir(dir) {
		p.directories[dir] = true
	}
	if h.Typeflag == tar.TypeSymlink {
		p.linked[h.Name] = true
	}
	p.names += len(h.Name) + len(h.Linkname)
	return ""
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

// cause is an error without the operation and the path.
func cause(err error) error {
	var in *os.PathError
	if errors.As(err, &in) {
		return in.Err
	}
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
