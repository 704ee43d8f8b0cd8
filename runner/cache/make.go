package cache

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A place is a name in a directory. While the archive is read, top is one of the tops and name a path below it.
type place struct {
	top  *node
	name string
}

func (p place) show() string { return p.top.show() + "/" + p.name }

// A job is a file or a symbolic link to make. It holds its directories.
type job struct {
	attributes
	places  []place // the names of the file
	target  string  // of a symbolic link
	content []byte  // of a file
}

func (j *job) release() {
	for _, p := range j.places {
		p.top.users.Add(-1)
	}
}

const (
	batchJobs  = 32
	batchBytes = largeFile
)

// A batch is small files that one maker makes, one after the other.
type batch struct {
	jobs    []job
	content []byte
}

// fits reports whether there is room for one more file.
func (b *batch) fits(size int64) bool {
	return len(b.jobs) < batchJobs && int64(cap(b.content)-len(b.content)) >= size
}

// add reads the content of a file and adds it. The batch releases the job from now on.
func (b *batch) add(j job, content io.Reader, size int64) error {
	begin := len(b.content)
	b.content = b.content[:begin+int(size)]
	j.content = b.content[begin:]
	if j.target == "" {
		if _, err := io.ReadFull(content, j.content); err != nil {
			j.release()
			return err
		}
	}
	b.jobs = append(b.jobs, j)
	return nil
}

// makers make files while the archive is read.
type makers struct {
	self   maker // of the goroutine that reads
	others []*maker
	work   chan *batch
	free   chan *batch
	failed atomic.Bool // a maker has an error
	wait   sync.WaitGroup
}

// newMakers starts makers. After close none is left.
func newMakers() *makers {
	n := workers()
	m := &makers{work: make(chan *batch, n+8), free: make(chan *batch, n+8)}
	for range cap(m.free) {
		m.free <- nil
	}
	m.self.failed = &m.failed
	for range n {
		other := &maker{failed: &m.failed}
		m.others = append(m.others, other)
		m.wait.Go(func() {
			for b := range m.work {
				other.all(b)
				m.free <- b
			}
		})
	}
	return m
}

func (m *makers) everyone() []*maker { return append([]*maker{&m.self}, m.others...) }

// batch returns an empty batch, when there is one.
func (m *makers) batch() *batch {
	b := <-m.free
	if b == nil {
		b = &batch{content: make([]byte, 0, batchBytes)}
	}
	b.jobs, b.content = b.jobs[:0], b.content[:0]
	return b
}

// send gives a batch to a maker; nil is none.
func (m *makers) send(b *batch) error {
	if b != nil {
		m.work <- b
	}
	if m.failed.Load() {
		return errors.New("a file could not be made") // close knows more
	}
	return nil
}

// close waits for the makers and returns what stopped one of them.
func (m *makers) close() error {
	close(m.work)
	m.wait.Wait()
	for _, other := range m.others {
		if other.err != nil {
			return other.err
		}
	}
	return nil
}

// A maker makes files, and remembers them.
type maker struct {
	failed *atomic.Bool
	err    error
	made   []place
	bytes  int64
	kept   int
	buffer []byte
}

// all makes the files of a batch, as long as nobody has an error.
func (m *maker) all(b *batch) {
	for i := range b.jobs {
		j := &b.jobs[i]
		if !m.failed.Load() {
			if m.err = m.make(j, nil, 0); m.err != nil {
				m.failed.Store(true)
			}
		}
		j.release()
	}
	clear(b.jobs)
}

// make makes a file or a link. Its content is that of the job, or size bytes of a reader.
func (m *maker) make(j *job, content io.Reader, size int64) error {
	if j.target != "" {
		return m.symlink(j)
	}
	for i, p := range j.places {
		fd, err := again(func() (int, error) {
			return unix.Openat(p.top.fd, p.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, j.mode&0o777)
		})
		if errors.Is(err, unix.EEXIST) {
			m.kept++
			continue
		}
		if err != nil {
			return fmt.Errorf("making %s: %w", p.show(), err)
		}
		m.made = append(m.made, p)
		err = m.fill(fd, p, j, content, size)
		if e := unix.Close(fd); err == nil && e != nil {
			err = fmt.Errorf("writing %s: %w", p.show(), e)
		}
		if err != nil {
			return err
		}
		return m.hardlinks(j, p, j.places[i+1:])
	}
	return nil
}

// fill writes a file that was made and gives it its attributes.
func (m *maker) fill(fd int, p place, j *job, content io.Reader, size int64) error {
	err := m.write(fd, j.content)
	for err == nil && size > 0 {
		if m.buffer == nil {
			m.buffer = make([]byte, 256<<10)
		}
		n, e := content.Read(m.buffer[:min(size, int64(len(m.buffer)))])
		size -= int64(n)
		if err = m.write(fd, m.buffer[:n]); err != nil {
			break
		}
		if e != nil && size > 0 {
			if e == io.EOF {
				e = io.ErrUnexpectedEOF
			}
			return readError(e)
		}
		if m.failed.Load() {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", p.show(), err)
	}
	if err := j.date(p.top.fd, p.name); err != nil {
		return fmt.Errorf("changing the time of %s: %w", p.show(), err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		err = j.own(&st,
			func(uid, gid int) error { return unix.Fchown(fd, uid, gid) },
			func(mode uint32) error { return unix.Fchmod(fd, mode) })
	}
	if err != nil {
		return fmt.Errorf("changing the mode of %s: %w", p.show(), err)
	}
	return nil
}

func (m *maker) write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := again(func() (int, error) { return unix.Write(fd, b) })
		if err != nil {
			return err
		}
		b = b[n:]
		m.bytes += int64(n)
	}
	return nil
}

// hardlinks gives the file that was made at first its further names.
func (m *maker) hardlinks(j *job, first place, more []place) error {
	for _, p := range more {
		err := unix.Linkat(first.top.fd, first.name, p.top.fd, p.name, 0)
		switch {
		case err == nil:
			m.made = append(m.made, p)
		case errors.Is(err, unix.EEXIST):
			m.kept++
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EMLINK), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP):
			// Here they cannot be one file.
			if err := m.copy(j, first, p); err != nil {
				return err
			}
		default:
			return fmt.Errorf("linking %s: %w", p.show(), err)
		}
	}
	return nil
}

// copy makes a copy of a file that was made.
func (m *maker) copy(j *job, first, p place) error {
	fd, err := again(func() (int, error) {
		return unix.Openat(first.top.fd, first.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return fmt.Errorf("copying %s: %w", first.show(), err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("copying %s: %w", first.show(), err)
	}
	return m.make(&job{attributes: j.attributes, places: []place{p}}, file(fd), st.Size)
}

// file is a descriptor as a reader.
type file int

func (f file) Read(b []byte) (int, error) {
	n, err := again(func() (int, error) { return unix.Read(int(f), b) })
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func (m *maker) symlink(j *job) error {
	p := j.places[0]
	err := unix.Symlinkat(j.target, p.top.fd, p.name)
	if errors.Is(err, unix.EEXIST) {
		m.kept++
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the link %s: %w", p.show(), err)
	}
	m.made = append(m.made, p)
	if err := j.date(p.top.fd, p.name); err != nil {
		return fmt.Errorf("changing the time of %s: %w", p.show(), err)
	}
	if unix.Geteuid() == 0 {
		unix.Fchownat(p.top.fd, p.name, j.uid, j.gid, unix.AT_SYMLINK_NOFOLLOW) // where root cannot, it stays root's
	}
	return nil
}
