package agent

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// Options are where an agent finds its directories; the zero value is a container of ours.
type Options struct {
	Exchange  string        // ExchangeDir
	State     string        // StateDir
	GitConfig string        // /etc/gitconfig
	Wait      time.Duration // how long to wait for a job: ten minutes
}

// Main is the first process of a sandbox: it does one job and returns the exit status, 0 whatever became of the job. Since
// it ends every process it can see, it refuses to run as anything but process 1.
func Main(o Options) int {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "buildsmith agent: this runs inside a sandbox, as its process 1")
		return 2
	}
	o.Exchange, o.State = or(o.Exchange, ExchangeDir), or(o.State, StateDir)
	o.GitConfig = or(o.GitConfig, "/etc/gitconfig")
	if o.Wait == 0 {
		o.Wait = 10 * time.Minute
	}
	// Nobody in the container shall read the job out of this process.
	const setDumpable = 4 // PR_SET_DUMPABLE
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setDumpable, 0, 0)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	// The kernel keeps from process 1 what it does not handle, but Go handles everything, and dies of most. These are only
	// taken, not ignored: commands would inherit that.
	signal.Notify(make(chan os.Signal, 1), fatal...)
	file, err := os.OpenFile(filepath.Join(o.Exchange, eventsName), os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "buildsmith agent:", err)
		return 2
	}
	log := &writer{file: file}
	log.event(Event{Kind: Hello, Version: Version})
	job, ok, err := await(o, stop)
	if err == nil && !ok {
		return 0
	}
	if err == nil {
		log.event(Event{Kind: GotJob})
		log.limit, log.mask = job.LogLimit, newMasker(job.Secrets)
		err = do(job, o, log, stop)
	}
	if err == nil {
		err = log.err
	}
	if err != nil {
		log.event(Event{Kind: Fault, Message: err.Error()})
		return 1
	}
	return 0
}

// fatal are the signals that would end the agent if a build sent them to it.
var fatal = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE,
	syscall.SIGSEGV, syscall.SIGSTKFLT, syscall.SIGSYS, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGXCPU,
	syscall.SIGXFSZ, syscall.SIGVTALRM, syscall.SIGIO, syscall.SIGPWR,
}

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// await waits for the job; ok is false if none came in time or the sandbox is not needed.
func await(o Options, stop <-chan os.Signal) (job Job, ok bool, err error) {
	type received struct {
		job Job
		err error
	}
	c := make(chan received, 1)
	go func() {
		job, err := receive(o.Exchange)
		c <- received{job, err}
	}()
	select {
	case r := <-c:
		return r.job, r.err == nil, r.err
	case <-stop:
	case <-time.After(o.Wait):
	}
	return Job{}, false, nil
}

// do does the job and tells its result.
func do(job Job, o Options, log *writer, stop <-chan os.Signal) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if info, err := os.Stat(job.Dir); err != nil || !info.IsDir() {
		return fmt.Errorf("the source directory %s is missing", job.Dir)
	}
	if err := trustDirectories(o.GitConfig); err != nil {
		log.Logf("Git may refuse the source directory to other users than root: %v", err)
	}
	env, err := installTools(environment(os.Environ(), nil))
	if err != nil {
		log.Logf("The programs of CodeBuild are missing: %v", err)
	}
	shell, err := newShell(job.Dir, o.State, environment(env, job.Env), newReaper(), log)
	if err != nil {
		return err
	}
	if c := job.Credential; c != nil {
		if err := serveCredential(c, o.State, o.GitConfig); err != nil {
			log.Logf("git gets no credential: %v", err)
		}
	}
	b := &build{job: job, dir: o.Exchange, log: log, shell: shell, ok: true, cut: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		b.watch(ctx, stop)
	}()
	result, err := b.run()
	if err != nil {
		return err
	}
	if b.isCut() {
		<-watched
		result = b.cutBy
	}
	log.closeLog()
	log.event(Event{Kind: Done, Result: result, Again: b.again})
	return nil
}

// environment is the image's variables with the job's over them.
func environment(image, job []string) []string {
	at := map[string]int{}
	var env []string
	for _, v := range append(append([]string{}, image...), job...) {
		name, _, _ := strings.Cut(v, "=")
		if i, twice := at[name]; twice {
			env[i] = v
			continue
		}
		at[name] = len(env)
		env = append(env, v)
	}
	return env
}

// trustDirectories lets every user of the container use git in the source, whoever owns it.
func trustDirectories(gitConfig string) error {
	f, err := os.OpenFile(gitConfig, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("\n[safe]\n\tdirectory = *\n")
	return err
}

// Run runs what follows the word agent on a command line and returns the exit status: nothing for Main, and the chores
// that a server has done in a container of its own:
//
//	--check FILE TEXT   status 0 if the file holds the text
//	--remove DIR        removes a directory and what is in it
func Run(args []string) int {
	switch {
	case len(args) == 0:
		return Main(Options{})
	case len(args) == 3 && args[0] == "--check":
		if text, err := os.ReadFile(args[1]); err != nil || string(text) != args[2] {
			return 3
		}
		return 0
	case len(args) == 2 && args[0] == "--remove":
		if err := RemoveTree(args[1]); err != nil {
			return 3
		}
		return 0
	}
	fmt.Fprintln(os.Stderr, "buildsmith agent: this is for sandboxes; there is nothing to run by hand")
	return 2
}
