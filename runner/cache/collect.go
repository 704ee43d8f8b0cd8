package cache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"buildsmith/runner/glob"
)

// An item is one thing to pack.
type item struct {
	name   string // in the archive
	path   string // where it lies
	stat   unix.Stat_t
	target string   // of a symbolic link
	links  []string // further names of a file, in the archive
}

func (i *item) is(kind uint32) bool { return i.stat.Mode&unix.S_IFMT == kind }

// Prefixes of the names in an archive.
const (
	below    = "src/" // below the source directory
	absolute = "abs/" // below the root directory
	endName  = "end"
)

// maxName is how long a name in an archive may be. No path that programs use is longer.
const maxName = 4096

// never are the directories that are no files of anybody.
var never = []string{"/proc", "/sys", "/dev"}

// A collector finds what to pack.
type collector struct {
	ctx    context.Context
	root   string // without links
	except map[string]bool
	notes  *notes
	items  map[string]*item // by name
	bytes  int64
	limit  int64
	most   int
}

// collect finds what patterns match. The items come in the order of the archive; items of one file are one item.
//
// A pattern that matches a directory with its last, literal component, and one that ends in ** or **/*, means all that is below.
// The others mean what glob says, and the directories on the way. Names are those without symbolic links on the way, so that
// unpacking need not follow any; links that are matched stay links.
func collect(ctx context.Context, root string, patterns []string, o PackOptions, n *notes) ([]*item, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("looking for what to save: %w", err)
	}
	c := &collector{ctx: ctx, root: real, notes: n, limit: o.Limit, most: o.Entries, except: map[string]bool{}, items: map[string]*item{}}
	for _, dir := range slices.Concat(never, o.Except) {
		if dir, err := filepath.EvalSymlinks(dir); err == nil {
			c.except[dir] = true
		}
	}
	for _, text := range patterns {
		before := len(c.items)
		if err := c.pattern(root, text); err != nil {
			return nil, err
		}
		if len(c.items) == before {
			n.add("cache.paths: %s adds nothing", text)
		}
	}
	items := c.sorted()
	if c.limit > 0 && c.bytes > c.limit {
		return nil, errTooLarge(c.limit)
	}
	return items, nil
}

func (c *collector) pattern(root, text string) error {
	p, err := glob.Compile(text)
	if err != nil {
		return fmt.Errorf("cache.paths: %w", err)
	}
	if trunk, whole := strip(text); whole {
		dirs, err := glob.Compile(trunk)
		if err != nil {
			return fmt.Errorf("cache.paths: %w", err)
		}
		return c.trees(dirs.Dirs(root), trunk)
	}
	for _, f := range p.Files(root) {
		if err := c.file(f.Path); err != nil {
			return err
		}
	}
	if parts := strings.Split(strings.TrimRight(text, "/"), "/"); special(parts[len(parts)-1]) {
		return nil
	}
	return c.trees(p.Dirs(root), text)
}

// strip takes from a pattern the end that means everything below, and reports whether it had one.
func strip(text string) (trunk string, whole bool) {
	parts := strings.Split(text, "/")
	for len(parts) > 0 {
		n := len(parts)
		switch last := parts[n-1]; {
		case last == "" && n > 1, last == ".":
			parts = parts[:n-1]
		case last == "**":
			parts, whole = parts[:n-1], true
		case last == "*" && n > 1 && parts[n-2] == "**":
			parts, whole = parts[:n-2], true
		default:
			return strings.Join(parts, "/"), whole
		}
		if len(parts) == 1 && parts[0] == "" {
			return "/", whole
		}
	}
	return ".", whole
}

func special(part string) bool { return strings.ContainsAny(part, `*?[\`) }

// trees adds directories with all that is below. A link is followed only where the pattern names it.
func (c *collector) trees(dirs []string, text string) error {
	for _, dir := range dirs {
		if special(text) {
			if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
				continue
			}
		}
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			c.notes.add("Skipping %s: %v", dir, cause(err))
			continue
		}
		if c.excepted(real) {
			c.notes.add("Skipping %s: it is never saved", dir)
			continue
		}
		if err := c.parents(real); err != nil {
			return err
		}
		if err := c.walk(real); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) excepted(path string) bool {
	for ; ; path = filepath.Dir(path) {
		if c.except[path] {
			return true
		}
		if path == "/" {
			return false
		}
	}
}

// file adds what glob found, which is no directory.
func (c *collector) file(path string) error {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil || c.excepted(dir) {
		return nil
	}
	if err := c.parents(dir); err != nil {
		return err
	}
	path = filepath.Join(dir, filepath.Base(path))
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		c.notes.add("Skipping %s: %v", path, err)
		return nil
	}
	return c.add(path, c.name(path), &st)
}

// parents adds a directory and those it lies in.
func (c *collector) parents(dir string) error {
	for ; dir != "/" && dir != c.root; dir = filepath.Dir(dir) {
		name := c.name(dir)
		if c.items[name] != nil {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return nil
		}
		if err := c.add(dir, name, &st); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) name(path string) string {
	if path == c.root {
		return below
	}
	if c.root == "/" {
		return below + path[1:]
	}
	if rest, ok := strings.CutPrefix(path, c.root+"/"); ok {
		return below + rest
	}
	return absolute + strings.TrimPrefix(path, "/")
}

// walk adds what is below a directory.
func (c *collector) walk(dir string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	f, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		c.notes.add("Skipping %s: %v", dir, cause(err))
		return nil
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		c.notes.add("Skipping a part of %s: %v", dir, cause(err))
	}
	var deeper []string
	base := strings.TrimSuffix(dir, "/") + "/"
	prefix := c.name(dir)
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue // it is gone
		}
		path, inArchive := base+name, prefix+name
		if path == c.root { // the names of what is below change
			inArchive = below
		}
		isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if isDir && c.except[path] {
			continue
		}
		if inArchive != below {
			if err := c.add(path, inArchive, &st); err != nil {
				f.Close()
				return err
			}
		}
		if isDir {
			deeper = append(deeper, path)
		}
	}
	f.Close() // before it goes deeper
	for _, path := range deeper {
		if err := c.walk(path); err != nil {
			return err
		}
	}
	return nil
}

// add adds one item, once.
func (c *collector) add(path, name string, st *unix.Stat_t) error {
	if c.items[name] != nil {
		return nil
	}
	i := &item{name: name, path: path, stat: *st}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		c.bytes += st.Size
	case unix.S_IFDIR:
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			c.notes.add("Skipping %s: %v", path, cause(err))
			return nil
		}
		i.target = target
	default:
		c.notes.add("Skipping %s: it is no file, directory or link", path)
		return nil
	}
	if len(name) > maxName || len(i.target) > maxName {
		c.notes.add("Skipping %.200s…: its name is too long", path)
		return nil
	}
	c.items[name] = i
	if c.most > 0 && len(c.items) > c.most {
		return fmt.Errorf("cache.paths: they match more than %d files and directories, which is the limit", c.most)
	}
	return nil
}

// errTooLarge says that what was found has more bytes than the limit.
func errTooLarge(limit int64) error {
	return fmt.Errorf("cache.paths: they match more than %d bytes, which is the limit", limit)
}

// sorted returns the items in the order of the archive: directories, so that what comes later has a place, then the rest, which
// lies in one directory after the other. Names of one file are one item.
func (c *collector) sorted() []*item {
	var dirs, rest []*item
	for _, i := range c.items {
		if i.is(unix.S_IFDIR) {
			dirs = append(dirs, i)
		} else {
			rest = append(rest, i)
		}
	}
	byName := func(a, b *item) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(dirs, byName)
	slices.SortFunc(rest, byName)
	type inode struct{ dev, ino uint64 }
	first := map[inode]*item{}
	rest = slices.DeleteFunc(rest, func(i *item) bool {
		if i.stat.Nlink < 2 || !i.is(unix.S_IFREG) {
			return false
		}
		id := inode{uint64(i.stat.Dev), i.stat.Ino}
		if f := first[id]; f != nil {
			f.links = append(f.links, i.name)
			c.bytes -= i.stat.Size
			return true
		}
		first[id] = i
		return false
	})
	return append(dirs, rest...)
}
