package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how Git reaches the outside; the zero value is fit for use.
type Options struct {
	CABundle string   // file of further certificate authorities
	Proxy    []string // environment of Git's: HTTPS_PROXY=..., NO_PROXY=...
	Plain    bool     // http is allowed beside https: for a forge on this machine

	Memory uint64 // most bytes of one git process; 0 for 4 GiB, and never more than half of the machine's

	At func(point string) // told where a checkout passes a point, for tests; may be nil
}

// A git runs the git program so that neither the machine's configuration nor a repository can make it do anything but
// its work.
type git struct {
	home    string // an empty directory
	options Options
	plain   atomic.Bool // as Options.Plain, once more is known
}

// gitError is a git command that failed.
type gitError struct {
	command string
	stderr  string
	err     error
}

func (e *gitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("git %s: %v", e.command, e.err)
	}
	return fmt.Sprintf("git %s: %s", e.command, e.stderr)
}

func (e *gitError) Unwrap() error { return e.err }

// base is what every command begins with.
func (g *git) base() []string {
	args := []string{
		"-c", "protocol.allow=never", "-c", "protocol.https.allow=always",
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.askPass=",
		"-c", "credential.helper=", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
		"-c", "http.followRedirects=false", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
		"-c", "submodule.recurse=false", "-c", "fetch.unpackLimit=1", "-c", "advice.detachedHead=false",
		"-c", "checkout.workers=8", "-c", "checkout.thresholdForParallelism=100",
	}
	if g.options.Plain || g.plain.Load() {
		args = append(args, "-c", "protocol.http.allow=always")
	}
	return args
}

// run runs a command in dir. The environment is made of nothing but what is listed here and env.
func (g *git) run(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	var stdout bytes.Buffer
	if err := g.runTo(ctx, &stdout, dir, env, args...); err != nil {
		return nil, err
	}
	return stdout.Bytes(), nil
}

// runTo is run with what git prints written to out. Git ends when out takes no more.
func (g *git) runTo(ctx context.Context, out io.Writer, dir string, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append(g.base(), args...)...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.home, "XDG_CONFIG_HOME=" + g.home, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0",
	}, env...)
	if g.options.CABundle != "" {
		cmd.Env = append(cmd.Env, "GIT_SSL_CAINFO="+g.options.CABundle)
	}
	cmd.Env = append(cmd.Env, g.options.Proxy...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = out, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Start()
	if err == nil {
		g.limitMemory(cmd.Process.Pid)
		err = cmd.Wait()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return &gitError{command: args[0], stderr: lastLines(stderr.String()), err: err}
	}
	return nil
}

// maxMemory is the standard bound of a git process.
const maxMemory = 4 << 30

// limitMemory bounds the memory of a git process, packs that it maps apart: a tree of a few kilobytes can name a hundred
// million files.
func (g *git) limitMemory(pid int) {
	limit := g.options.Memory
	if limit == 0 {
		limit = maxMemory
	}
	var machine syscall.Sysinfo_t
	if err := syscall.Sysinfo(&machine); err == nil {
		limit = min(limit, uint64(machine.Totalram)*uint64(machine.Unit)/2)
	}
	_ = unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: limit, Max: limit}, nil) // it may have ended
}

// lastLines is the end of what git said, which others may have had a hand in.
func lastLines(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "?")
	if len(text) > 1000 {
		text = strings.ToValidUTF8(text[len(text)-1000:], "")
	}
	return text
}

// ErrGone says that the forge has the wanted commit or ref no longer: the author's failure.
var ErrGone = errors.New("gone")

// ErrNoFile says that a name leads to no regular file, or can lead to none: the author's failure.
var ErrNoFile = errors.New("no regular file")

// ErrTooLarge says that a commit has more than can be checked out, or longer names: the author's failure.
var ErrTooLarge = errors.New("too large")

var tooLarge = regexp.MustCompile(`(?i)out of memory|file name too long`)

// isTooLarge reports whether git failed because it got no more memory, or a name that no file can have.
func isTooLarge(err error) bool {
	var failed *gitError
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ProcessState != nil {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGSEGV {
			return true // its stack was too small for so many directories in one another
		}
	}
	return errors.As(err, &failed) && tooLarge.MatchString(failed.stderr)
}

// trouble is how git and libcurl tell of a forge or a network that may be better in a moment.
var trouble = regexp.MustCompile(`returned error: (5\d\d|429)|Could not resolve host|Connection (refused|reset|timed out)|Failed to connect|Empty reply from server|` +
	`unexpected disconnect|early EOF|RPC failed|hung up unexpectedly|transfer closed|Recv failure|recv error`)

// mayPass reports whether a fetch that failed may succeed when it is tried again.
func mayPass(err error) bool {
	var failed *gitError
	return errors.As(err, &failed) && trouble.MatchString(failed.stderr) && !isGone(err)
}

// closed is what git says of a repository that is not there, or not for us.
var closed = regexp.MustCompile(`repository '[^']*' not found|Authentication failed|could not read Username|returned error: 40[134]|no longer exists|[Aa]ccess denied`)

// isClosed reports whether git failed because there is no such repository, or because it is not for us.
func isClosed(err error) bool {
	var failed *gitError
	return errors.As(err, &failed) && closed.MatchString(failed.stderr)
}

var gone = regexp.MustCompile(`not our ref|couldn't find remote ref|no such remote ref|unadvertised object|remote error: upload-pack: not our ref`)

// isGone reports whether git failed because the other side lacks what was asked for.
func isGone(err error) bool {
	var failed *gitError
	return errors.As(err, &failed) && gone.MatchString(failed.stderr)
}
