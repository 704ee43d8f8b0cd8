// Package local is the built-in forge: bare repositories below one directory, served over smart HTTP by git's own
// http-backend, in which a push is a delivery like any other.
//
// A repository is made by the first push to /git/<name>.git that is authorised. What was pushed is found by comparing a
// repository's refs with those that have been delivered, in one transaction with the deliveries: after each push, when the
// hook calls, at the server's start, and every minute after that. So a push counts exactly once, whoever dies when.
//
// The post-receive hook is this program. It runs inside the push and prints what the server tells it, so that whoever pushes
// reads the address of the build. It reaches the server through a socket in the data directory, with a token that lives as
// long as the server's process and reaches the hook through git's environment.
package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"

	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/google/uuid"
)

// Name is the forge's name in the store.
const Name = "local"

// eventPush is the event of its deliveries.
const eventPush = "push"

// Config is what the forge works with.
type Config struct {
	Store *store.Store
	Dir   string // of the repositories: <Dir>/<name>.git
	// Program is this program, which the hook runs.
	Program string
	// Token is the password of pushes and clones that do not come from this machine.
	Token string
	// URL gives the server's address, as people type it; Page that of a build's page.
	URL     func() string
	Page    func(b *store.Build) string
	MaxPush int64 // bytes of one push
	Log     *slog.Logger
}

// Forge serves repositories.
type Forge struct {
	Config
	home   string // an empty directory
	hooks  string
	socket string
	token  string // of the hook

	mu    sync.Mutex
	locks map[string]*sync.Mutex // by repository, held while it is made and its refs are compared
	seen  map[string]*sight      // by repository
	wake  chan struct{}          // a comparison failed, and Run is to look when to try again
}

// New gives the forge, whose directories are made.
func New(c Config) (*Forge, error) {
	var token [24]byte
	if _, err := rand.Read(token[:]); err != nil {
		return nil, err
	}
	dir := filepath.Dir(c.Dir)
	f := &Forge{Config: c, home: filepath.Join(dir, "git-home"), hooks: filepath.Join(dir, "git-hooks"), socket: filepath.Join(dir, "hook.sock"),
		token: hex.EncodeToString(token[:]), locks: map[string]*sync.Mutex{}, seen: map[string]*sight{}, wake: make(chan struct{}, 1)}
	if len(f.socket) > maxSocketPath {
		f.socket = "@buildsmith-" + f.token[:16] // in no directory; the token guards it all the same
	}
	for _, d := range []string{c.Dir, f.home, f.hooks} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("opening the built-in forge: %w", err)
		}
	}
	if err := f.tidy(); err != nil {
		c.Log.Error("removing what broken pushes left", "err", err)
	}
	script := "#!/bin/sh\nexec " + quote(c.Program) + " hook\n"
	if err := os.WriteFile(filepath.Join(f.hooks, "post-receive"), []byte(script), 0o700); err != nil {
		return nil, fmt.Errorf("opening the built-in forge: %w", err)
	}
	return f, nil
}

// maxSocketPath is what the kernel takes for the path of a socket.
const maxSocketPath = 100

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Source is what intake knows of the forge. The forge is what may be asked of it.
func (f *Forge) Source(forge webhook.Forge) webhook.Source {
	return webhook.Source{Name: Name, Host: Name, Decode: f.decode, Forge: forge}
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// Names of repositories: lower case, digits and . _ -, 64 at most, none that ends as Git's own files do.
func valid(name string) bool {
	return validName.MatchString(name) && !strings.HasSuffix(name, ".git") && !strings.HasSuffix(name, ".lock") && !strings.Contains(name, "..")
}

func (f *Forge) path(name string) string { return filepath.Join(f.Dir, name+".git") }

func (f *Forge) lock(name string) *sync.Mutex {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.locks[name]
	if l == nil {
		l = &sync.Mutex{}
		f.locks[name] = l
	}
	return l
}

// make makes a repository unless it is there.
func (f *Forge) make(ctx context.Context, name string) error {
	l := f.lock(name)
	l.Lock()
	defer l.Unlock()
	if _, err := os.Stat(filepath.Join(f.path(name), "HEAD")); err == nil {
		return nil
	}
	_, err := f.git(ctx, f.Dir, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--", f.path(name))
	return err
}

// environment is that of git, made of nothing.
func (f *Forge) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + f.home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
}

// maxOutput is the most that git may print.
const maxOutput = 64 << 20

func (f *Forge) git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	out, cut, err := f.gitHead(ctx, dir, maxOutput, args...)
	if err == nil && cut {
		err = fmt.Errorf("git %s: it prints more than %d bytes", args[0], maxOutput)
	}
	return out, err
}

// gitHead runs git and gives the beginning of what it prints; cut tells that there was more.
func (f *Forge) gitHead(ctx context.Context, dir string, most int, args ...string) (out []byte, cut bool, err error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Dir = dir
	cmd.Env = f.environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	printed, stderr := head{most: most}, head{most: 500}
	cmd.Stdout, cmd.Stderr = &printed, &stderr
	if err := cmd.Run(); err != nil {
		return nil, false, fmt.Errorf("git %s: %w: %s", args[0], err, stderr.text)
	}
	return printed.text, printed.cut, nil
}

// A head keeps the beginning of what is written to it.
type head struct {
	text []byte
	most int
	cut  bool
}

func (h *head) Write(p []byte) (int, error) {
	room := min(len(p), h.most-len(h.text))
	h.text, h.cut = append(h.text, p[:room]...), h.cut || room < len(p)
	return len(p), nil
}

// maxMessage is how much of a commit's message is kept.
const maxMessage = 10_000

// A pushed is the body of a delivery: a ref that changed.
type pushed struct {
	Name    string // of the repository
	Ref     string
	Before  string // zeros for a new ref
	After   string // the commit, empty if the ref was deleted
	Message string // of the commit
	Pusher  string
	Default string // the default branch
}

// refs gives the refs of a repository with the commits they name. A tag of something else than a commit is left out, and so
// is, with a remark for people, a ref whose name is not one that builds can have: Git allows any bytes and any length.
func (f *Forge) refs(ctx context.Context, name string) (refs map[string]string, remarks []string, err error) {
	out, err := f.git(ctx, f.path(name), "for-each-ref", "--format=%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, nil, err
	}
	refs = map[string]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if ref := fields[0]; !store.ValidRef(ref) || !utf8.ValidString(ref) {
			remarks = append(remarks, fmt.Sprintf("%.200q is passed over: builds need a name of UTF-8, shorter than 1000 bytes", ref))
			continue
		}
		switch {
		case len(fields) >= 3 && fields[1] == "commit":
			refs[fields[0]] = fields[2]
		case len(fields) >= 5 && fields[3] == "commit":
			refs[fields[0]] = fields[4]
		}
	}
	return refs, remarks, nil
}

// Reconcile makes a delivery of each ref of a repository that differs from what was delivered, and returns their numbers. If
// it fails, Run does it later.
func (f *Forge) Reconcile(ctx context.Context, name, pusher string) ([]uint64, error) {
	numbers, _, err := f.reconcile(ctx, name, pusher)
	return numbers, err
}

// reconcile is Reconcile, with remarks for whoever pushes.
func (f *Forge) reconcile(ctx context.Context, name, pusher string) (numbers []uint64, remarks []string, err error) {
	l := f.lock(name)
	l.Lock()
	defer l.Unlock()
	mark := f.mark(name) // before the refs are read: what changes meanwhile is looked at again
	numbers, remarks, err = f.compare(ctx, name, pusher)
	f.saw(name, mark, err)
	return numbers, remarks, err
}

// compare does the work of Reconcile. The repository is locked.
func (f *Forge) compare(ctx context.Context, name, pusher string) (numbers []uint64, remarks []string, err error) {
	now, remarks, err := f.refs(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	var before map[string]string
	if err := f.Store.View(func(tx *store.Tx) (err error) { before, err = tx.Refs(name); return err }); err != nil {
		return nil, nil, err
	}
	if maps.Equal(now, before) {
		return nil, remarks, nil
	}
	head := f.settleHead(ctx, name, now)
	var changes []pushed
	for _, ref := range slices.Sorted(maps.Keys(now)) {
		if before[ref] == now[ref] {
			continue
		}
		// The map of mail addresses is a file of the commit, of any size.
		message, _, err := f.gitHead(ctx, f.path(name), maxMessage, "-c", "log.mailmap=false", "log", "-1", "--format=%B", "--end-of-options", now[ref])
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, pushed{Name: name, Ref: ref, Before: orZeros(before[ref], now[ref]), After: now[ref],
			Message: strings.ToValidUTF8(string(message), "\uFFFD"), Pusher: pusher, Default: head})
	}
	for _, ref := range slices.Sorted(maps.Keys(before)) {
		if _, there := now[ref]; !there {
			changes = append(changes, pushed{Name: name, Ref: ref, Before: before[ref], Pusher: pusher, Default: head})
		}
	}
	err = f.Store.Update(func(tx *store.Tx) error {
		numbers = nil
		for _, change := range changes {
			body, err := change.encode()
			if err != nil {
				return err
			}
			d := store.Delivery{Forge: Name, Host: Name, ID: uuid.NewString(), Event: eventPush, UserAgent: "buildsmith-git"}
			if err := tx.Accept(&d, body); err != nil {
				return err
			}
			numbers = append(numbers, d.Seq)
		}
		return tx.SetRefs(name, now)
	})
	if err == nil {
		f.Store.At("delivery stored")
	}
	return numbers, remarks, err
}

// maxBody is how long the body of a delivery gets: half of what a transaction takes.
const maxBody = 32 << 10

// encode gives the body of a delivery. A message that makes it too long is clipped.
func (p pushed) encode() ([]byte, error) {
	for {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(p); err != nil || b.Len() <= maxBody || p.Message == "" {
			return b.Bytes(), err
		}
		p.Message = strings.ToValidUTF8(p.Message[:len(p.Message)/2], "")
	}
}

func orZeros(hash, like string) string {
	if hash == "" {
		return strings.Repeat("0", len(like))
	}
	return hash
}

// settleHead makes HEAD name a branch that there is, and gives its short name.
func (f *Forge) settleHead(ctx context.Context, name string, refs map[string]string) string {
	out, err := f.git(ctx, f.path(name), "symbolic-ref", "HEAD")
	head := strings.TrimSpace(string(out))
	if _, there := refs[head]; err == nil && there {
		return strings.TrimPrefix(head, "refs/heads/")
	}
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		if !strings.HasPrefix(ref, "refs/heads/") {
			continue
		}
		if _, err := f.git(ctx, f.path(name), "symbolic-ref", "HEAD", ref); err != nil {
			f.Log.Warn("setting the default branch", "repo", name, "err", err)
		}
		return strings.TrimPrefix(ref, "refs/heads/")
	}
	return strings.TrimPrefix(head, "refs/heads/")
}

// ReconcileAll compares every repository that has changed since it was compared, or could not be: what was pushed while no
// server could take it becomes deliveries.
func (f *Forge) ReconcileAll(ctx context.Context) error {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".git")
		if !ok || !valid(name) {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if _, missing := os.Stat(filepath.Join(f.path(name), "HEAD")); errors.Is(missing, fs.ErrNotExist) {
			continue // its first push did not get far
		}
		there[name] = true
		if !f.due(name) {
			continue
		}
		if _, failed := f.Reconcile(ctx, name, "unknown"); failed != nil {
			err = errors.Join(err, fmt.Errorf("repository %s: %w", name, failed))
		}
	}
	f.forget(there)
	return err
}

// decode says what a delivery of ours means.
func (f *Forge) decode(event string, body []byte) (webhook.Event, error) {
	var p pushed
	if err := json.Unmarshal(body, &p); err != nil {
		return webhook.Event{}, fmt.Errorf("the delivery is not what the built-in forge writes: %w", err)
	}
	if event != eventPush || !valid(p.Name) {
		return webhook.Event{}, fmt.Errorf("the built-in forge has no event %q of %q", event, p.Name)
	}
	e := webhook.Event{
		Kind: webhook.Push, Sender: store.Account{ID: p.Pusher, Login: p.Pusher},
		Repo: store.Repo{Forge: Name, Host: Name, ID: p.Name, Name: p.Name, CloneURL: f.URL() + "/git/" + p.Name + ".git",
			DefaultBranch: p.Default, Private: true},
		Push:    webhook.PushEvent{Ref: p.Ref, Before: p.Before, After: p.After, Message: p.Message},
		Summary: "push to " + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/"),
	}
	if p.After == "" {
		e.Summary = "deletion of " + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/")
	}
	return e, nil
}
