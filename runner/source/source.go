// Package source brings commits into work trees.
//
// Each repository has a bare mirror on this machine, which is fetched into only when a commit is missing; builds that wait
// for the same mirror share a fetch. A work tree has a .git of its own that holds no objects: it refers to the mirror's,
// which the sandbox mounts read-only at a fixed path (alternates). Nothing is hard-linked, so a build cannot reach the mirror.
//
// Git runs on the host before any of the author's code does, and never in a tree that a container could write to. Tokens
// reach it through its environment, never through a URL, an argument or a file.
package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"buildsmith/store"
)

// A Remote is where a repository's commits come from.
type Remote struct {
	Key string // names the repository for ever
	URL string // to clone from, without credentials; shown to the build as origin
	// Path is the repository's own bare directory if it lies on this machine. It is then used as the mirror, and nothing
	// is fetched.
	Path string
	// Header gives an HTTP header that authorises a fetch, and a func that ends its validity; called only if something
	// must be fetched. It may be nil.
	Header func(ctx context.Context) (header string, revoke func(), err error)
}

// A Want is the commit to check out.
type Want struct {
	Commit string   // its full hash
	Refs   []string // refs that may hold it beside branches and tags, such as refs/pull/12/head
	// From is the repository that has it, with Refs, if that is another one: a fork at a forge that has no ref for it. It is nil otherwise.
	From *Remote
}

// Mirrors are the mirrors below one directory.
type Mirrors struct {
	dir string
	git git
	log *slog.Logger

	mu   sync.Mutex
	open map[string]*mirror
}

// A mirror is the state of one bare repository in this process.
type mirror struct {
	path  string
	fetch sync.Mutex // held while it is made or fetched into
	uses  int        // leases given out; guarded by Mirrors.mu
}

// AllowPlain allows http beside https from now on: see Options.Plain.
func (m *Mirrors) AllowPlain() { m.git.plain.Store(true) }

// New gives the mirrors below dir, which is made if missing. What an earlier process left half done there is removed: no
// git of its lives on, since they die with their parent.
func New(dir string, o Options, log *slog.Logger) (*Mirrors, error) {
	home := filepath.Join(dir, "home")
	if o.At == nil {
		o.At = func(string) {}
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("opening mirrors: %w", err)
	}
	m := &Mirrors{dir: dir, git: git{home: home, options: o}, log: log, open: map[string]*mirror{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.Type().IsRegular() && (strings.HasSuffix(name, ".lock") || strings.HasPrefix(name, "tmp_")) {
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("opening mirrors: %w", err)
	}
	return m, nil
}

// A Lease keeps a mirror's objects where they are.
type Lease struct {
	Objects string // directory to mount read-only at the path that Checkout is given

	mirrors *Mirrors
	mirror  *mirror
	remote  Remote
	once    sync.Once
}

// Lease gives the mirror of a remote, whose objects stay until Release. It is made empty if there is none.
func (m *Mirrors) Lease(ctx context.Context, r Remote) (*Lease, error) {
	path := r.Path
	if path == "" {
		sum := sha256.Sum256([]byte(r.Key))
		path = filepath.Join(m.dir, hex.EncodeToString(sum[:12])+".git")
	}
	m.mu.Lock()
	one := m.open[path]
	if one == nil {
		one = &mirror{path: path}
		m.open[path] = one
	}
	one.uses++
	m.mu.Unlock()
	l := &Lease{Objects: filepath.Join(path, "objects"), mirrors: m, mirror: one, remote: r}
	if err := l.prepare(ctx); err != nil {
		l.Release()
		return nil, fmt.Errorf("opening the mirror of %s: %w", r.Key, err)
	}
	return l, nil
}

// Release ends the lease. More than once is once.
func (l *Lease) Release() {
	l.once.Do(func() {
		l.mirrors.mu.Lock()
		defer l.mirrors.mu.Unlock()
		if l.mirror.uses--; l.mirror.uses == 0 {
			delete(l.mirrors.open, l.mirror.path)
		}
	})
}

func (l *Lease) prepare(ctx context.Context) error {
	l.mirror.fetch.Lock()
	defer l.mirror.fetch.Unlock()
	_, head := os.Stat(filepath.Join(l.mirror.path, "HEAD"))
	_, objects := os.Stat(l.Objects)
	if err := errors.Join(head, objects); l.remote.Path != "" {
		return err
	} else if err != nil {
		if err := l.make(ctx); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(l.mirror.path, usedName), nil, 0o600)
}

// make makes an empty mirror. It has its name only when it is whole: git can be killed at any moment.
func (l *Lease) make(ctx context.Context) error {
	dir := filepath.Join(l.mirrors.dir, "new-"+filepath.Base(l.mirror.path))
	if err := errors.Join(os.RemoveAll(dir), os.RemoveAll(l.mirror.path)); err != nil {
		return err
	}
	if _, err := l.mirrors.git.run(ctx, l.mirrors.dir, nil, "init", "--quiet", "--bare", "--template=", "--", dir); err != nil {
		return err
	}
	return os.Rename(dir, l.mirror.path)
}

// usedName is a file in a mirror whose time tells when it was last leased.
const usedName = "used"

// fetch brings a commit into the mirror, if it is not there yet.
func (l *Lease) fetch(ctx context.Context, want Want) error {
	l.mirror.fetch.Lock()
	defer l.mirror.fetch.Unlock()
	if there, err := l.has(ctx, want.Commit); there || err != nil {
		return err
	}
	if l.remote.Path != "" {
		return fmt.Errorf("commit %s: %w", want.Commit, ErrGone)
	}
	var err error
	for try := 0; ; try++ {
		if err = l.fetchOnce(ctx, want); !mayPass(err) || try == len(fetchPauses) {
			return err
		}
		l.mirrors.log.Info("fetching again", "repo", l.remote.Key, "err", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(fetchPauses[try]):
		}
	}
}

// fetchPauses are how long to wait before a fetch that failed is tried again: a forge has bad moments.
var fetchPauses = []time.Duration{500 * time.Millisecond, 2 * time.Second}

// fetchOnce brings a commit into the mirror.
func (l *Lease) fetchOnce(ctx context.Context, want Want) error {
	remote := l.remote
	if want.From != nil {
		remote = *want.From
	}
	var env []string
	if remote.Header != nil {
		header, revoke, err := remote.Header(ctx)
		if err != nil {
			return fmt.Errorf("getting credentials for %s: %w", remote.URL, err)
		}
		if revoke != nil {
			defer revoke()
		}
		if header != "" {
			env = []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http." + remote.URL + ".extraHeader", "GIT_CONFIG_VALUE_0=" + header}
		}
	}
	fetch := func(specs ...string) error {
		args := append([]string{"fetch", "--quiet", "--force", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
			"--end-of-options", remote.URL}, specs...)
		_, err := l.mirrors.git.run(ctx, l.mirror.path, env, args...)
		return err
	}
	start := time.Now()
	specs, further, err := want.specs()
	if err != nil {
		return err
	}
	err = nil
	if len(specs)+len(further) > 0 {
		err = fetch(append(specs, further...)...)
	}
	if isGone(err) && len(further) > 0 {
		err = nil
		if len(specs) > 0 {
			err = fetch(specs...)
		}
	}
	if want.From != nil && isClosed(err) {
		return fmt.Errorf("commit %s: the fork %s is gone or cannot be read; let this server read it, or push the branch to the repository itself: %w", want.Commit, remote.URL, ErrGone)
	}
	if err != nil {
		return err
	}
	there, err := l.has(ctx, want.Commit)
	if err == nil && !there {
		// Not at the end of a branch any more. Forges give a commit by its hash as long as they have it.
		if err = fetch(want.Commit); err == nil {
			there, err = l.has(ctx, want.Commit)
		}
		if isGone(err) || err == nil && !there {
			return fmt.Errorf("commit %s: %w", want.Commit, ErrGone)
		}
	}
	if err != nil {
		return err
	}
	l.mirrors.log.Debug("fetched", "repo", l.remote.Key, "commit", want.Commit, "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// specs are what to fetch for a commit: all branches and tags of the repository, and further refs, which may be gone. Of another
// repository it is those refs alone, which have names of their own here.
func (w *Want) specs() (specs, further []string, err error) {
	if w.From == nil {
		specs = []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}
	}
	for n, ref := range w.Refs {
		switch {
		case !store.ValidRef(ref):
			return nil, nil, fmt.Errorf("ref %q is no name of a ref", ref)
		case w.From != nil:
			further = append(further, fmt.Sprintf("+%s:refs/forks/%s/%d", ref, w.Commit, n))
		case !strings.HasPrefix(ref, "refs/heads/") && !strings.HasPrefix(ref, "refs/tags/"):
			further = append(further, "+"+ref+":"+ref)
		}
	}
	return specs, further, nil
}

// has reports whether a commit is in the mirror. That git could not be asked is no answer.
func (l *Lease) has(ctx context.Context, commit string) (bool, error) {
	_, err := l.mirrors.git.run(ctx, l.mirror.path, nil, "cat-file", "-e", commit+"^{commit}")
	if exited := (*exec.ExitError)(nil); errors.As(err, &exited) && exited.Exited() && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// Checkout puts the files of a commit into dir, with a .git that finds its objects at the path objectsAt, where the sandbox
// mounts them. dir is made; it must be missing or empty. HEAD is detached; branches are at refs/remotes/origin. An error
// that wraps ErrGone or ErrTooLarge is the author's failure.
func (l *Lease) Checkout(ctx context.Context, want Want, dir, objectsAt string) error {
	if !store.ValidHash(want.Commit) {
		return fmt.Errorf("%q is no full hash of a commit", want.Commit)
	}
	if err := l.fetch(ctx, want); err != nil {
		return err
	}
	if err := l.makeGitDir(ctx, want, dir); err != nil {
		return fmt.Errorf("checking out %s: %w", want.Commit, err)
	}
	l.mirrors.git.options.At("half a checkout")
	_, err := l.mirrors.git.run(ctx, dir, []string{"GIT_ALTERNATE_OBJECT_DIRECTORIES=" + l.Objects},
		"checkout", "--quiet", "--force", "--detach", want.Commit)
	if isTooLarge(err) {
		err = fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if err != nil {
		return fmt.Errorf("checking out %s: %w", want.Commit, err)
	}
	// Written last: on the host, the path leads nowhere.
	return os.WriteFile(filepath.Join(dir, ".git", "objects", "info", "alternates"), []byte(objectsAt+"\n"), 0o644)
}

// maxFileNames is how many bytes of names Files takes.
const maxFileNames = 32 << 20

// Files are the names of the files of a commit, relative and slash-separated, as the mirror has them. The error wraps
// ErrTooLarge if there are too many to list.
func (l *Lease) Files(ctx context.Context, commit string) ([]string, error) {
	if !store.ValidHash(commit) {
		return nil, fmt.Errorf("%q is no full hash of a commit", commit)
	}
	names := &bounded{room: maxFileNames}
	if err := l.mirrors.git.runTo(ctx, names, l.mirror.path, nil, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit); err != nil {
		if names.full {
			err = ErrTooLarge
		}
		return nil, fmt.Errorf("listing the files of %s: %w", commit, err)
	}
	return strings.FieldsFunc(string(names.text), func(r rune) bool { return r == 0 }), nil
}

// A bounded takes so many bytes and no more.
type bounded struct {
	text []byte
	room int
	full bool // there was more
}

func (b *bounded) Write(text []byte) (int, error) {
	if len(text) > b.room {
		b.text, b.room, b.full = append(b.text, text[:b.room]...), 0, true
		return 0, io.ErrShortWrite
	}
	b.room -= len(text)
	b.text = append(b.text, text...)
	return len(text), nil
}

// makeGitDir makes the .git of a work tree.
func (l *Lease) makeGitDir(ctx context.Context, want Want, dir string) error {
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "info"} {
		if err := os.MkdirAll(filepath.Join(dir, ".git", d), 0o755); err != nil {
			return err
		}
	}
	refs, err := l.mirrors.git.run(ctx, l.mirror.path, nil, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
	if err != nil {
		return err
	}
	packed := bytes.NewBufferString("# pack-refs with: sorted \n")
	var tags []string
	for line := range strings.Lines(string(refs)) {
		name, ref, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			fmt.Fprintf(packed, "%s refs/remotes/origin/%s\n", name, branch)
		} else {
			tags = append(tags, line)
		}
	}
	packed.WriteString(strings.Join(tags, ""))
	config := "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
	if len(want.Commit) == 64 {
		config = strings.Replace(config, "= 0", "= 1", 1) + "[extensions]\n\tobjectFormat = sha256\n"
	}
	config += "[remote \"origin\"]\n\turl = " + strconv.Quote(l.remote.URL) + "\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
	for name, text := range map[string]string{"HEAD": "ref: refs/heads/none\n", "config": config, "packed-refs": packed.String()} {
		if err := os.WriteFile(filepath.Join(dir, ".git", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// errBusy says that a mirror is leased.
var errBusy = errors.New("in use")

// Sweep removes mirrors that nobody has leased for longer than unused, and packs those that gathered many packs. It
// returns how many it removed.
func (m *Mirrors) Sweep(ctx context.Context, unused time.Duration) (removed int, err error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		path := filepath.Join(m.dir, e.Name())
		if !strings.HasSuffix(e.Name(), ".git") {
			continue
		}
		gone, swept := m.sweepOne(ctx, path, unused)
		if swept != nil && !errors.Is(swept, errBusy) {
			err = errors.Join(err, fmt.Errorf("sweeping %s: %w", path, swept))
		}
		if gone {
			removed++
		}
	}
	return removed, err
}

// maxPacks is how many packs a mirror may gather.
const maxPacks = 40

func (m *Mirrors) sweepOne(ctx context.Context, path string, unused time.Duration) (removed bool, err error) {
	m.mu.Lock()
	if m.open[path] != nil {
		m.mu.Unlock()
		return false, errBusy
	}
	one := &mirror{path: path, uses: 1}
	one.fetch.Lock() // whoever leases it meanwhile waits
	m.open[path] = one
	m.mu.Unlock()
	l := &Lease{mirrors: m, mirror: one}
	defer l.Release()
	defer one.fetch.Unlock()
	info, err := os.Stat(filepath.Join(path, usedName))
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Stat(path)
	}
	if err != nil {
		return false, err
	}
	if unused > 0 && time.Since(info.ModTime()) > unused {
		return true, os.RemoveAll(path)
	}
	packs, err := filepath.Glob(filepath.Join(path, "objects", "pack", "*.pack"))
	if err != nil || len(packs) <= maxPacks {
		return false, err
	}
	_, err = m.git.run(ctx, path, nil, "repack", "--quiet", "-a", "-d", "--keep-unreachable")
	return false, err
}
