package cache

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// RestoreOptions may be left empty.
type RestoreOptions struct {
	Limit   int64    // bytes that all files may have; 0 for any
	Entries int      // how many files and directories there may be; 0 for any
	Except  []string // directories that nothing is restored to, beside those of the kernel
	Root    string   // what abs/ means; empty for /
	// Logf is told what is passed over, a line each and not too many. It may be nil.
	Logf func(format string, args ...any)
}

// Restore makes what the archive of an entry holds, below root and below the root directory. What is there already stays as it
// is: directories are merged, and where there is anything else nothing is made, nor below a link or a file that stands where the
// archive has a directory. Nothing is made through a link. Only root restores owners.
//
// Restore is whole or not at all: after an error, everything it made is removed again. An archive that is not what Pack
// wrote is ErrDamaged; one that is gone, since a newer one took its place, is fs.ErrNotExist. Nobody else may change the
// directories meanwhile.
func Restore(ctx context.Context, e Entry, root string, o RestoreOptions) (Stats, error) {
	began := time.Now()
	f, err := os.OpenFile(e.archive(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return Stats{}, fmt.Errorf("opening the cache: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Stats{}, fmt.Errorf("opening the cache: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != e.Size {
		return Stats{}, damaged("its file has %d bytes instead of %d", info.Size(), e.Size)
	}
	s, err := unpack(ctx, f, root, o)
	s.Packed, s.Took = info.Size(), time.Since(began)
	return s, err
}

// unpack is Restore of an archive that is open.
func unpack(ctx context.Context, archive io.Reader, root string, o RestoreOptions) (Stats, error) {
	if o.Root == "" {
		o.Root = "/"
	}
	r := &restorer{ctx: ctx, options: o, notes: notes{logf: o.Logf}, except: slices.Concat(never, o.Except)}
	r.waiting, r.stopped = map[string][]place{}, map[*node]bool{}
	defer r.notes.end()
	defer func() { r.forest.end(r.src, r.abs) }()
	var err error
	if r.src, err = r.forest.top(root); err != nil {
		return Stats{}, err
	}
	if r.abs, err = r.forest.top(o.Root); err != nil {
		return Stats{}, err
	}
	frames, err := newFrames(ctx, archive)
	if err != nil {
		return Stats{}, err
	}
	defer frames.Close()
	r.makers = newMakers()
	err = r.all(frames)
	if first := r.makers.close(); first != nil {
		err = first
	}
	for _, top := range []*node{r.src, r.abs} {
		if err == nil {
			r.dressed = true
			err = r.forest.dress(top)
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		return r.stats(), nil
	}
	if undo := r.undo(); undo != nil {
		err = fmt.Errorf("%w; removing what was restored before: %w", err, undo)
	}
	return Stats{}, err
}

// A restorer reads the tar stream. It makes directories and large files itself and leaves the rest to its makers.
type restorer struct {
	ctx      context.Context
	options  RestoreOptions
	notes    notes
	except   []string // that nothing may be made below
	forest   forest
	src, abs *node
	makers   *makers
	batch    *batch
	waiting  map[string][]place // further names of the files to come
	links    int                // in waiting
	stopped  map[*node]bool     // that were noted
	entries  int
	bytes    int64
	kept     int
	dressed  bool // directories may have their attributes
}

// all reads all entries. It returns when the makers have all of them.
func (r *restorer) all(frames io.Reader) error {
	counted := &counter{r: frames, left: -1}
	if r.options.Limit > 0 && r.options.Entries > 0 {
		counted.left = r.options.Limit + int64(r.options.Entries)*(2*maxName+4*blockSize) + 1<<20
	}
	t := tar.NewReader(counted)
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		h, err := t.Next()
		if err == io.EOF {
			return damaged("it ends too early")
		}
		if err != nil {
			return readError(err)
		}
		if h.Name == endName {
			return r.end(h, counted)
		}
		if err := r.entry(h, t); err != nil {
			return err
		}
	}
}

// readError is an error of the tar reader or what is below it.
func readError(err error) error {
	switch {
	case errors.Is(err, ErrDamaged), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong), err == io.ErrUnexpectedEOF:
		return damaged("%v", err)
	}
	return fmt.Errorf("reading the cache: %w", err)
}

// end checks that the last entry is the last, and that nothing is missing.
func (r *restorer) end(h *tar.Header, rest io.Reader) error {
	if n, err := strconv.Atoi(h.PAXRecords[endRecord]); err != nil || n != r.entries || h.Size != 0 {
		return damaged("entries of it are missing")
	}
	if r.links > 0 {
		return damaged("the file of a hard link is missing")
	}
	var zeros [2*blockSize + 1]byte
	n, err := io.ReadFull(rest, zeros[:])
	if err != io.ErrUnexpectedEOF && err != nil {
		return readError(err)
	}
	if n != 2*blockSize || zeros != [2*blockSize + 1]byte{} {
		return damaged("something is behind its end")
	}
	return r.flush()
}

// entry makes one entry, or gives it to a maker.
func (r *restorer) entry(h *tar.Header, content io.Reader) error {
	if r.entries++; r.options.Entries > 0 && r.entries > r.options.Entries {
		return fmt.Errorf("the cache has more than %d files and directories, which is the limit", r.options.Entries)
	}
	a := attributes{mode: uint32(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid}
	var ok bool
	if a.mtime, ok = getTime(h); !ok {
		return damaged("%.200q has no time", h.Name)
	}
	top, name, err := r.split(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg && h.Size != 0 || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
		return damaged("%.200q is nothing that Pack writes", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return r.directory(top, name, a)
	case tar.TypeLink:
		return r.link(h, top, name)
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxName {
			return damaged("the link %.200q leads nowhere", h.Name)
		}
		return r.file(h, []place{{top: top, name: name}}, a, content)
	case tar.TypeReg:
		return r.file(h, append([]place{{top: top, name: name}}, r.take(h.Name)...), a, content)
	}
	return damaged("%.200q is nothing that Pack writes", h.Name)
}

// split checks a name and says below which top it lies.
func (r *restorer) split(name string) (top *node, rest string, err error) {
	top = r.src
	rest, ok := strings.CutPrefix(name, below)
	if !ok {
		top = r.abs
		rest, ok = strings.CutPrefix(name, absolute)
	}
	if !ok || rest == "." || len(name) > maxName || !filepath.IsLocal(rest) || path.Clean(rest) != rest || strings.ContainsRune(rest, 0) {
		return nil, "", damaged("the name %.200q is none that Pack writes", name)
	}
	return top, rest, nil
}

// excepted reports whether nothing may be made at a path, and notes it.
func (r *restorer) excepted(top *node, name string) bool {
	if top != r.abs {
		return false
	}
	name = "/" + name
	for _, dir := range r.except {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			r.notes.add("Skipping %s: nothing is restored there", name)
			return true
		}
	}
	return false
}

// node finds the directory that a place lies in. It is nil where nothing can be made.
func (r *restorer) node(top *node, name string) (*node, string, error) {
	if r.excepted(top, name) {
		return nil, "", nil
	}
	dir, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	n, err := r.forest.find(top, dir)
	if err != nil {
		return nil, "", err
	}
	if n.stop != "" {
		if !r.stopped[n] {
			r.stopped[n] = true
			r.notes.add("%s; what the cache has below it is passed over", n.stop)
		}
		return nil, "", nil
	}
	return n, base, nil
}

func (r *restorer) directory(top *node, name string, a attributes) error {
	n, base, err := r.node(top, name)
	if err != nil {
		return err
	}
	if n == nil {
		r.kept++
		return nil
	}
	if n.below[base] == nil {
		_, err = r.forest.child(n, base, a)
	}
	return err
}

// link notes a further name of a file to come.
func (r *restorer) link(h *tar.Header, top *node, name string) error {
	if _, _, err := r.split(h.Linkname); err != nil {
		return err
	}
	r.waiting[h.Linkname] = append(r.waiting[h.Linkname], place{top: top, name: name})
	r.links++
	return nil
}

func (r *restorer) take(name string) []place {
	if r.links == 0 {
		return nil
	}
	links := r.waiting[name]
	delete(r.waiting, name)
	r.links -= len(links)
	return links
}

// file makes a file under all its names, or a symbolic link.
func (r *restorer) file(h *tar.Header, places []place, a attributes, content io.Reader) error {
	if r.bytes += h.Size; h.Size < 0 || r.options.Limit > 0 && r.bytes > r.options.Limit {
		return fmt.Errorf("the cache has more than %d bytes, which is the limit", r.options.Limit)
	}
	j := job{attributes: a, target: h.Linkname}
	for _, p := range places {
		n, base, err := r.node(p.top, p.name)
		if err == nil && n != nil {
			_, err = r.forest.fd(n)
		}
		if err != nil {
			j.release()
			return err
		}
		if n == nil {
			r.kept++
			continue
		}
		n.users.Add(1)
		j.places = append(j.places, place{top: n, name: base})
	}
	if len(j.places) == 0 {
		return nil // the tar reader passes over the content
	}
	if h.Typeflag == tar.TypeReg {
		j.target = ""
	}
	if h.Size >= largeFile {
		defer j.release()
		return r.makers.self.make(&j, content, h.Size)
	}
	if r.batch != nil && !r.batch.fits(h.Size) {
		if err := r.flush(); err != nil {
			j.release()
			return err
		}
	}
	if r.batch == nil {
		r.batch = r.makers.batch()
	}
	if err := r.batch.add(j, content, h.Size); err != nil {
		return readError(err)
	}
	return nil
}

// flush gives the batch to a maker. It returns the error of any maker.
func (r *restorer) flush() error {
	b := r.batch
	r.batch = nil
	return r.makers.send(b)
}

func (r *restorer) stats() Stats {
	s := Stats{Kept: r.kept}
	for _, m := range r.makers.everyone() {
		s.Files += len(m.made)
		s.Bytes += m.bytes
		s.Kept += m.kept
	}
	return s
}

// undo removes everything that was made, as far as it can, and returns the first error. The makers have ended.
func (r *restorer) undo() error {
	if r.dressed {
		r.forest.undress(r.src)
		r.forest.undress(r.abs)
	}
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, m := range r.makers.everyone() {
		for _, p := range m.made {
			fd, err := r.forest.fd(p.top)
			if err == nil {
				_, err = again(func() (int, error) { return 0, unix.Unlinkat(fd, p.name, 0) })
			}
			if err != nil {
				note(fmt.Errorf("removing %s: %w", p.show(), err))
			}
		}
	}
	r.forest.strip(r.src, note)
	r.forest.strip(r.abs, note)
	return first
}

// A counter reads up to a number of bytes; below zero there is no bound.
type counter struct {
	r    io.Reader
	left int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, damaged("it becomes too large")
	}
	if c.left > 0 && int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	if c.left > 0 {
		c.left -= int64(n)
	}
	return n, err
}
