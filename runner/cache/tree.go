package cache

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A forest is the directories below which Restore makes things: those below the source directory and those below the root
// directory. It never goes through a symbolic link: each directory is opened from the one above by its name. One goroutine uses
// it; others may use the descriptor of a node they hold.
type forest struct {
	open []*node // nodes whose descriptor may be closed when too many are, the oldest first

	last, under *node // the node looked up last, and its top
	path        string
}

// A node is a directory that something is made in.
type node struct {
	parent *node
	name   string // its path, for a node without parent
	below  map[string]*node
	fd     int          // -1 while it is closed
	users  atomic.Int32 // who holds fd
	made   bool         // by this restore
	stop   string       // why nothing can be made below; there is no descriptor then
	was    [2]unix.Timespec
	attributes
}

// maxOpen is how many descriptors of directories that nobody uses stay open.
const maxOpen = 100

// top opens a directory that is there and may be reached through links.
func (f *forest) top(path string) (*node, error) {
	fd, err := again(func() (int, error) { return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	n := &node{name: path, fd: fd}
	return n, n.remember()
}

// remember notes when a directory was last changed, as it was there before.
func (n *node) remember() error {
	var st unix.Stat_t
	if err := unix.Fstat(n.fd, &st); err != nil {
		return fmt.Errorf("looking at %s: %w", n.show(), err)
	}
	n.was = [2]unix.Timespec{st.Atim, st.Mtim}
	return nil
}

// find returns the directory of a path below a top, and makes what is missing of it.
func (f *forest) find(top *node, path string) (*node, error) {
	if f.last != nil && f.under == top && f.path == path {
		return f.last, nil
	}
	n, whole := top, path
	for path != "" && n.stop == "" {
		name, rest, _ := strings.Cut(path, "/")
		next := n.below[name]
		if next == nil {
			var err error
			if next, err = f.child(n, name, attributes{mode: 0o755, implied: true}); err != nil {
				return nil, err
			}
		}
		n, path = next, rest
	}
	f.last, f.under, f.path = n, top, whole
	return n, nil
}

// child makes the directory name in n, or enters it if it is there.
func (f *forest) child(n *node, name string, a attributes) (*node, error) {
	fd, err := f.fd(n)
	if err != nil {
		return nil, err
	}
	c := &node{parent: n, name: name, fd: -1, attributes: a}
	_, err = again(func() (int, error) { return 0, unix.Mkdirat(fd, name, a.mode&0o777|0o700) })
	switch {
	case err == nil:
		c.made = true
	case errors.Is(err, unix.EEXIST):
		switch _, err := f.fd(c); {
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			c.stop = c.show() + " is no directory"
		case err != nil:
			return nil, err
		default:
			if err := c.remember(); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("making the directory %s: %w", c.show(), err)
	}
	if n.below == nil {
		n.below = map[string]*node{}
	}
	n.below[name] = c
	return c, nil
}

// fd returns the descriptor of a directory. It stays open while the node has users, and else until others have been opened.
func (f *forest) fd(n *node) (int, error) {
	if n.fd >= 0 {
		return n.fd, nil
	}
	var way []*node // from n up to the first open one
	up := n
	for ; up.fd < 0; up = up.parent {
		way = append(way, up)
	}
	fd := up.fd
	for i := len(way) - 1; i >= 0; i-- {
		next := way[i]
		opened, err := again(func() (int, error) {
			return unix.Openat(fd, next.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		if err != nil {
			return -1, fmt.Errorf("opening %s: %w", next.show(), err)
		}
		next.fd, fd = opened, opened
		f.open = append(f.open, next)
		if len(f.open) > 2*maxOpen {
			f.close(next)
		}
	}
	return fd, nil
}

// close closes the oldest descriptors that have no users, but that of keep.
func (f *forest) close(keep *node) {
	left := f.open[:0]
	for i, n := range f.open {
		if n != keep && n.users.Load() == 0 && len(left)+len(f.open)-i > maxOpen {
			unix.Close(n.fd)
			n.fd = -1
			continue
		}
		left = append(left, n)
	}
	clear(f.open[len(left):])
	f.open = left
}

// end closes all descriptors. Nobody may use them any more.
func (f *forest) end(tops ...*node) {
	for _, n := range append(f.open, tops...) {
		if n != nil && n.fd >= 0 {
			unix.Close(n.fd)
			n.fd = -1
		}
	}
	f.open = nil
}

// show is the path of a directory as people see it.
func (n *node) show() string {
	if n.parent == nil {
		return strings.TrimSuffix(n.name, "/")
	}
	return n.parent.show() + "/" + n.name
}

// dress gives the directories that were made their attributes, from the bottom up: what is made in one changes its time.
func (f *forest) dress(n *node) error {
	for _, c := range n.below {
		if err := f.dress(c); err != nil {
			return err
		}
	}
	if !n.made {
		return nil
	}
	fd, err := f.fd(n.parent)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, n.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("looking at %s: %w", n.show(), err)
	}
	if !n.implied {
		if err := n.date(fd, n.name); err != nil {
			return fmt.Errorf("changing the time of %s: %w", n.show(), err)
		}
	}
	chown := func(uid, gid int) error { return unix.Fchownat(fd, n.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW) }
	// A directory that this restore has made is no link: nobody else is there.
	chmod := func(mode uint32) error { return unix.Fchmodat(fd, n.name, mode, 0) }
	if err := n.own(&st, chown, chmod); err != nil {
		return fmt.Errorf("changing the mode of %s: %w", n.show(), err)
	}
	return nil
}

// undress makes the directories that were made writable again. Without it, only root could remove what is in them.
func (f *forest) undress(n *node) {
	if n.made {
		if fd, err := f.fd(n.parent); err == nil {
			unix.Fchmodat(fd, n.name, 0o700, 0)
		}
	}
	for _, c := range n.below {
		f.undress(c)
	}
}

// strip removes the directories that were made and puts back the times of those that were there. What else was made is gone
// already. It tells note its errors.
func (f *forest) strip(n *node, note func(error)) {
	for _, c := range n.below {
		f.strip(c, note)
	}
	switch {
	case n.stop != "":
	case n.made:
		fd, err := f.fd(n.parent)
		if err == nil {
			_, err = again(func() (int, error) { return 0, unix.Unlinkat(fd, n.name, unix.AT_REMOVEDIR) })
		}
		if err != nil {
			note(fmt.Errorf("removing %s: %w", n.show(), err))
		}
	case n.parent == nil:
		unix.UtimesNanoAt(unix.AT_FDCWD, n.name, n.was[:], 0)
	default:
		if fd, err := f.fd(n.parent); err == nil {
			unix.UtimesNanoAt(fd, n.name, n.was[:], unix.AT_SYMLINK_NOFOLLOW)
		}
	}
}

// attributes are what a thing has beside its name and content.
type attributes struct {
	mode     uint32
	uid, gid int
	mtime    unix.Timespec
	implied  bool // the archive says nothing of it
}

// own gives a thing that was made, and has the attributes st, its owner and its mode. Only root can give things away, and where it
// cannot either, they stay its own. Nothing runs with the rights of an owner that it was not saved with.
func (a *attributes) own(st *unix.Stat_t, chown func(uid, gid int) error, chmod func(mode uint32) error) error {
	uid, gid, mode := int(st.Uid), int(st.Gid), st.Mode&0o7777
	if a.implied {
		return nil
	}
	if unix.Geteuid() == 0 && (uid != a.uid || gid != a.gid) && chown(a.uid, a.gid) == nil {
		uid, gid, mode = a.uid, a.gid, ^uint32(0) // the kernel may have taken bits from it
	}
	want := a.mode & 0o7777
	if uid != a.uid {
		want &^= unix.S_ISUID
	}
	if gid != a.gid {
		want &^= unix.S_ISGID
	}
	if want == mode {
		return nil
	}
	return chmod(want)
}

// date gives a thing its time.
func (a *attributes) date(fd int, name string) error {
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, a.mtime}
	return unix.UtimesNanoAt(fd, name, times[:], unix.AT_SYMLINK_NOFOLLOW)
}
