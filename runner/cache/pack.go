package cache

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// PackOptions may be left empty.
type PackOptions struct {
	Limit   int64    // bytes that all files may have; 0 for any
	Entries int      // how many files and directories there may be; 0 for any
	Except  []string // directories that are never saved, beside those of the kernel
	// Logf is told what is passed over, a line each and not too many. It may be nil.
	Logf func(format string, args ...any)
}

// ErrNothing says that the patterns match nothing.
var ErrNothing = errors.New("cache.paths: nothing there to save")

// Pack writes an archive of what the patterns of cache.paths match, relative to root or absolute. Links stay links, and
// empty directories are kept. What is no file, directory or link is passed over, and so is what cannot be read or is gone before
// its turn; a file that becomes shorter meanwhile ends in zeros. The same files make the same archive, whatever order they are
// found in. After an error a part of an archive was written.
func Pack(ctx context.Context, w io.Writer, root string, patterns []string, o PackOptions) (Stats, error) {
	began := time.Now()
	n := &notes{logf: o.Logf}
	defer n.end()
	items, err := collect(ctx, root, patterns, o, n)
	if err != nil {
		return Stats{}, err
	}
	if len(items) == 0 {
		return Stats{}, ErrNothing
	}
	// Some more chunks than workers: one that is slow keeps the others waiting less.
	p := &packer{limit: o.Limit, order: make(chan *chunk, workers()+6)}
	p.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(workers()), zstd.WithEncoderLevel(level), zstd.WithLowerEncoderMem(false))
	if err != nil {
		return Stats{}, err
	}
	defer p.encoder.Close()
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.wait.Go(func() { p.cut(items) })
	s, err := p.write(w, n)
	p.cancel()
	for c := range p.order { // what is still under way ends first
		<-c.done
	}
	p.wait.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	s.Took = time.Since(began)
	return s, err
}

const level = zstd.SpeedFastest

// A packer cuts items into chunks, packs several of them at once, and writes them in order.
type packer struct {
	ctx     context.Context
	cancel  context.CancelFunc
	limit   int64
	encoder *zstd.Encoder
	order   chan *chunk
	wait    sync.WaitGroup
}

// A chunk is what is packed at once: some items, or a piece of a large file.
type chunk struct {
	items []*item
	large *large
	piece int64

	done    chan struct{} // closed when the rest is set
	packed  *[]byte
	entries int
	files   int
	bytes   int64
	notes   []string
}

// A large is a file of several pieces. Its size is fixed when it is opened.
type large struct {
	*item
	file   *os.File
	size   int64
	head   chunk // its headers, as if they were a chunk
	raw    sink
	pieces atomic.Int64 // that are not read yet
	cut    atomic.Bool  // it became shorter
}

// cut is the goroutine that makes the chunks. It closes order.
func (p *packer) cut(items []*item) {
	var packing sync.WaitGroup
	defer packing.Wait()
	defer close(p.order)
	send := func(c *chunk) bool {
		c.done = make(chan struct{})
		select {
		case p.order <- c:
		case <-p.ctx.Done():
			return false
		}
		packing.Go(func() {
			defer close(c.done)
			p.pack(c)
		})
		return true
	}
	next, size := &chunk{}, int64(0)
	flush := func() bool {
		if len(next.items) == 0 && len(next.notes) == 0 {
			return true
		}
		c := next
		next, size = &chunk{}, 0
		return send(c)
	}
	for _, i := range items {
		if p.ctx.Err() != nil {
			return
		}
		if i.is(unix.S_IFREG) && i.stat.Size >= largeFile {
			l := next.open(i)
			if l == nil {
				continue
			}
			if !flush() {
				l.file.Close()
				return
			}
			pieces := max((l.size+chunkSize-1)/chunkSize, 1)
			l.pieces.Store(pieces)
			for n := range pieces {
				if !send(&chunk{large: l, piece: n}) {
					if l.pieces.Add(n-pieces) == 0 { // those that were not sent
						l.file.Close()
					}
					return
				}
			}
			continue
		}
		next.items = append(next.items, i)
		if i.is(unix.S_IFREG) {
			size += i.stat.Size
		}
		if size += 1536; size >= chunkSize {
			if !flush() {
				return
			}
		}
	}
	flush()
}

// open opens a large file and makes its headers. It is nil, with a note in c, for one that cannot be packed.
func (c *chunk) open(i *item) *large {
	skip := func(why error) *large {
		c.notes = append(c.notes, fmt.Sprintf("Skipping %s: %v", i.path, why))
		return nil
	}
	f, err := os.OpenFile(i.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return skip(cause(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return skip(err)
	}
	l := &large{item: i, file: f, size: info.Size()}
	st := i.stat
	st.Size = l.size
	var ok bool
	if l.raw, ok = l.head.headers(nil, i, &st); !ok {
		f.Close()
		c.notes = append(c.notes, l.head.notes...)
		return nil
	}
	return l
}

var errChanged = errors.New("it changed while it was saved")

// write writes the chunks, and last the entry that ends the archive.
func (p *packer) write(w io.Writer, n *notes) (Stats, error) {
	var s Stats
	entries := 0
	put := func(packed []byte) error {
		n, err := w.Write(packed)
		s.Packed += int64(n)
		if err != nil {
			return fmt.Errorf("writing the cache: %w", err)
		}
		return nil
	}
	for c := range p.order {
		<-c.done
		for _, text := range c.notes {
			n.add("%s", text)
		}
		entries += c.entries
		s.Files += c.files
		s.Bytes += c.bytes
		if p.limit > 0 && s.Bytes > p.limit { // files have grown
			return s, errTooLarge(p.limit)
		}
		if err := put(*c.packed); err != nil {
			return s, err
		}
		buffers.Put(c.packed)
	}
	var end sink
	t := tar.NewWriter(&end)
	h := &tar.Header{Name: endName, Typeflag: tar.TypeReg, PAXRecords: map[string]string{endRecord: strconv.Itoa(entries)}}
	err := t.WriteHeader(h)
	if err := errors.Join(err, t.Close()); err != nil {
		return s, err
	}
	return s, put(appendFrames(nil, p.encoder, end))
}

// endRecord is the PAX record of the last entry that holds the number of the others. It is one that every tar knows.
const endRecord = "comment"

// sink is a writer that appends.
type sink []byte

func (s *sink) Write(b []byte) (int, error) {
	*s = append(*s, b...)
	return len(b), nil
}

// pack reads and packs a chunk.
func (p *packer) pack(c *chunk) {
	raw := buffers.Get().(*[]byte)
	out := sink(grown((*raw)[:0], chunkSize+chunkSize/4))
	if c.large != nil {
		out = c.readPiece(out)
	}
	for _, i := range c.items {
		if p.ctx.Err() != nil {
			break
		}
		if i.is(unix.S_IFREG) {
			out = c.readFile(out, i)
		} else if whole, ok := c.header(out, i, "", &i.stat); ok {
			out = whole
			if !i.is(unix.S_IFDIR) {
				c.files++
			}
		}
	}
	*raw = out
	c.packed = buffers.Get().(*[]byte)
	*c.packed = appendFrames((*c.packed)[:0], p.encoder, out)
	buffers.Put(raw)
}

// header appends the header of an item under its own or another name. It leaves out an item that has no header.
func (c *chunk) header(out sink, i *item, link string, st *unix.Stat_t) (sink, bool) {
	h := tar.Header{Name: i.name, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid)}
	putTime(&h, st.Mtim)
	switch {
	case link != "":
		h.Typeflag, h.Name, h.Linkname = tar.TypeLink, link, i.name
	case i.is(unix.S_IFDIR):
		h.Typeflag = tar.TypeDir
	case i.is(unix.S_IFLNK):
		h.Typeflag, h.Linkname = tar.TypeSymlink, i.target
	default:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	}
	before := len(out)
	if err := tar.NewWriter(&out).WriteHeader(&h); err != nil {
		c.notes = append(c.notes, fmt.Sprintf("Skipping %s: %v", i.path, err))
		return out[:before], false
	}
	c.entries++
	return out, true
}

// putTime and getTime keep the nanoseconds of a time in the device numbers, which mean nothing for what is no device. Where tar
// keeps them itself, every entry has a second header, and reading and writing headers takes twice as long.
func putTime(h *tar.Header, t unix.Timespec) {
	h.ModTime = time.Unix(t.Sec, 0)
	h.Devmajor, h.Devminor = t.Nsec>>20, t.Nsec&(1<<20-1)
}

func getTime(h *tar.Header) (t unix.Timespec, ok bool) {
	t, err := unix.TimeToTimespec(h.ModTime)
	t.Nsec = h.Devmajor<<20 | h.Devminor
	return t, err == nil && h.Devmajor >= 0 && h.Devmajor < 1<<10 && h.Devminor >= 0 && h.Devminor < 1<<20 && t.Nsec < 1e9
}

// headers appends the headers of a file: its further names, then its own.
func (c *chunk) headers(out sink, i *item, st *unix.Stat_t) (sink, bool) {
	before, entries := len(out), c.entries
	for _, link := range append(i.links, "") {
		var ok bool
		if out, ok = c.header(out, i, link, st); !ok {
			c.entries = entries
			return out[:before], false
		}
	}
	c.files += 1 + len(i.links)
	c.bytes += st.Size
	return out, true
}

// readFile appends a file.
func (c *chunk) readFile(out sink, i *item) sink {
	skip := func(why error) sink {
		c.notes = append(c.notes, fmt.Sprintf("Skipping %s: %v", i.path, why))
		return out
	}
	fd, err := again(func() (int, error) {
		return unix.Open(i.path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return skip(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return skip(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > i.stat.Size+largeFile {
		return skip(errChanged)
	}
	whole, ok := c.headers(out, i, &st)
	if !ok {
		return out
	}
	begin, size := len(whole), int(st.Size)
	whole = grown(whole, size+blockSize)[:begin+size]
	for n := 0; n < size; {
		m, err := again(func() (int, error) { return unix.Read(fd, whole[begin+n:]) })
		if err != nil || m == 0 {
			c.short(i, err)
			clear(whole[begin+n:])
			break
		}
		n += m
	}
	return pad(whole, int64(size))
}

const blockSize = 512 // of tar

// pad appends zeros after the content of a file.
func pad(out sink, size int64) sink {
	var zeros [blockSize]byte
	return append(out, zeros[:-size&(blockSize-1)]...)
}

// short notes that a file could not be read to its end.
func (c *chunk) short(i *item, err error) {
	if err != nil {
		c.notes = append(c.notes, fmt.Sprintf("%s could not be read to its end, which is filled with zeros: %v", i.path, err))
		return
	}
	c.notes = append(c.notes, fmt.Sprintf("%s became shorter while it was read; its end is filled with zeros", i.path))
}

// readPiece appends one piece of a large file, with its headers before the first one.
func (c *chunk) readPiece(out sink) sink {
	l := c.large
	defer func() {
		if l.pieces.Add(-1) == 0 {
			l.file.Close()
		}
	}()
	if c.piece == 0 {
		out = append(out, l.raw...)
		c.entries, c.files, c.bytes = l.head.entries, l.head.files, l.head.bytes
	}
	offset := c.piece * chunkSize
	size := min(chunkSize, l.size-offset)
	begin := len(out)
	out = grown(out, int(size)+blockSize)[:begin+int(size)]
	if n, err := l.file.ReadAt(out[begin:], offset); n < int(size) {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if !l.cut.Swap(true) {
			c.short(l.item, cause(err))
		}
		clear(out[begin+n:])
	}
	if offset+size == l.size {
		out = pad(out, l.size)
	}
	return out
}

// again calls f until no signal interrupts it.
func again(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}
