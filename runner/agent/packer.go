package agent

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"buildsmith/runner/glob"
)

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
