package main

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/runner/docker"
	"buildsmith/store"

	"github.com/spf13/cobra"
)

// runOptions are the flags of run.
type runOptions struct {
	dir       string
	buildspec string
	image     string
	artifacts string
	env       []string
	envFile   string
	timeout   time.Duration
	memory    string
	network   string
	sudo      bool
	pull      string
}

func runCommand() *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "run [DIR]",
		Short: "Run the buildspec of a directory in a sandbox",
		Long: `Run the buildspec of a directory (the current one, if none is named) in a container, exactly as
the server would. The build works on a copy: everything in the directory is there, .git and what
is not committed included, and nothing in it changes.

Output appears as it comes; phases and durations follow at the end. Ctrl-C stops the build and
cleans up; once more, it does not wait for the commands to end.

Exit status: 0 succeeded, 1 failed or timed out, 2 invalid buildspec or usage, 3 a fault of the
machine, 130 stopped by Ctrl-C.`,
		Example: `  buildsmith run
  buildsmith run --artifacts out ~/src/shop
  buildsmith run --buildspec ci/release.yml --env VERSION=1.2 --image golang:1.26`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.dir = "."; len(args) > 0 {
				o.dir = args[0]
			}
			return runDirectory(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.buildspec, "buildspec", "b", "", "buildspec, relative to DIR (default buildspec.yml)")
	f.StringVarP(&o.image, "image", "i", defaultImage, "build image")
	f.StringVarP(&o.artifacts, "artifacts", "a", "", "directory for the artifacts")
	f.StringArrayVarP(&o.env, "env", "e", nil, "variable NAME=value; a NAME alone takes the value it has here (repeatable)")
	f.StringVar(&o.envFile, "env-file", "", "file of variables, NAME=value a line, # begins a comment")
	f.DurationVar(&o.timeout, "timeout", time.Hour, "time limit")
	f.StringVar(&o.memory, "memory", "", "memory limit, such as 4GiB (default half of the machine's)")
	f.StringVar(&o.network, "network", store.NetworkFull, "full or none")
	f.BoolVar(&o.sudo, "sudo", false, "let programs gain privileges, as sudo does")
	f.StringVar(&o.pull, "pull", docker.PullMissing, "pull the image: missing, always or never")
	return cmd
}

// runDirectory runs the buildspec of a directory. The same code as the server's does it, with a store that lasts as long as
// the build.
func runDirectory(ctx context.Context, o *runOptions, out, messages io.Writer) error {
	build, spec, err := o.build()
	if err != nil {
		return usage(err)
	}
	for _, p := range spec {
		fmt.Fprintf(messages, "%s:%s\n", build.Spec, p)
	}
	if buildspec.Errors(spec) > 0 {
		return exit(exitUsage)
	}
	if o.artifacts != "" {
		if err := os.MkdirAll(o.artifacts, 0o755); err != nil {
			return usage(err)
		}
	}
	scratch, err := scratchDir()
	if err != nil {
		return fault(err)
	}
	log := slog.New(slog.NewTextHandler(messages, &slog.HandlerOptions{Level: slog.LevelError}))
	program, err := ownProgram()
	if err != nil {
		return fault(err)
	}
	engine, err := docker.New(docker.Config{Data: scratch, Program: program, Pull: o.pull, Log: log, At: atPoint})
	if err != nil {
		return fault(err)
	}
	defer engine.Close()
	defer func() {
		if err := agent.RemoveTree(scratch); err != nil {
			err = engine.RemoveDir(context.WithoutCancel(ctx), scratch)
			if err != nil {
				fmt.Fprintln(messages, "buildsmith:", err)
			}
		}
	}()
	if err := engine.Ready(ctx); err != nil {
		return fault(fmt.Errorf("%w; `buildsmith doctor` tells what is missing", err))
	}
	if err := engine.Guarded(); err != nil && o.network == store.NetworkFull {
		fmt.Fprintf(messages, "Warning: the build can reach this machine and the metadata addresses of clouds, since the rules against it cannot be set (%v); --network none keeps it from any network\n", err)
	}
	s, err := store.Open(scratch, store.Options{NoSync: true, Reserve: 1})
	if err != nil {
		return fault(err)
	}
	defer s.Close()
	ended, err := o.follow(ctx, s, engine, build, log, out, messages)
	if err != nil {
		return fault(err)
	}
	summarize(messages, ended)
	if ended.Artifacts != nil && o.artifacts != "" {
		n, err := unpack(s, ended.ID, o.artifacts)
		if err != nil {
			return fault(fmt.Errorf("unpacking the artifacts: %w", err))
		}
		fmt.Fprintf(messages, "Artifacts: %d files in %s\n", n, o.artifacts)
	}
	switch {
	case ended.Status == store.Succeeded:
		return nil
	case ended.Status == store.Fault:
		return exit(exitFault)
	case ended.Status == store.Stopped:
		return exit(exitInterrupted)
	case ended.Headline() != nil && ended.Headline().Code == "YAML_FILE_ERROR":
		return exit(exitUsage)
	}
	return exit(exitFailed)
}

// scratchDir makes a directory that the Docker engine sees too.
func scratchDir() (string, error) {
	base := os.TempDir()
	if cache, err := os.UserCacheDir(); err == nil && os.Getuid() != 0 {
		base = filepath.Join(cache, "buildsmith")
		if err := os.MkdirAll(base, 0o700); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(base, "buildsmith-run-")
}

// build gives the build that the flags ask for, and what its buildspec's parser says.
func (o *runOptions) build() (b store.Build, list []buildspec.Problem, err error) {
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return b, nil, err
	}
	if info, err := os.Stat(o.dir); err != nil {
		return b, nil, err
	} else if !info.IsDir() {
		return b, nil, fmt.Errorf("%s is no directory", o.dir)
	}
	b.Spec = o.buildspec
	if b.Spec == "" {
		b.Spec = "buildspec.yml"
	}
	text, err := os.ReadFile(filepath.Join(o.dir, b.Spec))
	if err != nil {
		return b, nil, err
	}
	_, list = buildspec.Parse(text)
	b.Settings = store.Settings{
		Image: o.image, Buildspec: b.Spec, Required: true, Timeout: o.timeout, Memory: totalMemory() / 2, Processes: 4096, Disk: 20 << 30,
		LogLimit: 1 << 30, Network: o.network, Sudo: o.sudo,
	}
	if o.network != store.NetworkFull && o.network != store.NetworkNone {
		return b, nil, fmt.Errorf("--network %s is none of full, none", o.network)
	}
	if !slices.Contains([]string{docker.PullMissing, docker.PullAlways, docker.PullNever}, o.pull) {
		return b, nil, fmt.Errorf("--pull %s is none of missing, always, never", o.pull)
	}
	if o.timeout < minTimeout {
		return b, nil, fmt.Errorf("--timeout %v is less than a second", o.timeout)
	}
	if o.memory != "" {
		if b.Settings.Memory, err = parseSize(o.memory); err != nil || b.Settings.Memory < minMemory {
			return b, nil, fmt.Errorf("--memory %s is no size of 16MiB or more; write one such as 4GiB", o.memory)
		}
	}
	if b.Settings.Variables, err = o.variables(); err != nil {
		return b, nil, err
	}
	b.Check = "buildsmith"
	b.Trigger = store.Trigger{SourceVersion: "working tree", Initiator: "local"}
	if hash, err := exec.Command("git", "-C", o.dir, "rev-parse", "--verify", "--quiet", "HEAD").Output(); err == nil {
		if commit := strings.TrimSpace(string(hash)); store.ValidHash(commit) {
			b.Trigger.Commit = commit
		}
	}
	return b, list, nil
}

// variables are those of --env-file and --env, in this order.
func (o *runOptions) variables() ([]store.Variable, error) {
	var list []store.Variable
	add := func(where, text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return fmt.Errorf("%s: %s has no value, and none here", where, name)
			}
		}
		if !variableName.MatchString(name) || strings.HasPrefix(name, "CODEBUILD_") {
			return fmt.Errorf("%s: %q is no name of a variable, or is reserved", where, name)
		}
		list = append(list, store.Variable{Name: name, Value: value})
		return nil
	}
	if o.envFile != "" {
		f, err := os.Open(o.envFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			line := strings.TrimSpace(lines.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if err := add(fmt.Sprintf("%s:%d", o.envFile, n), line); err != nil {
				return nil, err
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", o.envFile, err)
		}
	}
	for _, text := range o.env {
		if err := add("--env", text); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// localRepo is what stands for a repository.
var localRepo = store.Repo{Forge: "run", ID: "local", Name: "local", Private: true}

// follow runs the build to its end and prints its log as it grows. When ctx is done first, the build is stopped.
func (o *runOptions) follow(ctx context.Context, s *store.Store, engine *docker.Docker, build store.Build, log *slog.Logger, out, messages io.Writer) (store.Build, error) {
	if err := s.Update(func(tx *store.Tx) error {
		p, err := tx.Project(localRepo, "")
		if err == nil {
			spec := build.Spec
			build, err = tx.Submit(p, build)
			build.Spec = spec
		}
		return err
	}); err != nil {
		return build, err
	}
	r := runner.New(runner.Config{
		Store: s, Sandbox: engine, Source: runner.DirSource{Dir: o.dir, Scratch: s.Dir()},
		Place: runner.Place{URL: func(*store.Build) string { return "" },
			Extra: func(*store.Build) []string { return []string{"CODEBUILD_LOCAL_BUILD=true", "CODEBUILD_CI=false"} }},
		Log: log, Dir: filepath.Join(s.Dir(), "run"), Slots: 1,
	})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var failed error
	var runs sync.WaitGroup
	runs.Go(func() { failed = r.Run(running) })
	defer runs.Wait()
	defer stop()
	stopped := make(chan struct{})
	unasked := context.AfterFunc(ctx, func() {
		defer close(stopped)
		fmt.Fprintln(messages, "Stopping the build: its commands have ten seconds to end. Ctrl-C once more does not wait for them.")
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		if err := s.Update(func(tx *store.Tx) error { _, err := tx.RequestStop(build.ID, "Ctrl-C"); return err }); err != nil && running.Err() == nil {
			fmt.Fprintln(messages, "buildsmith: stopping the build:", err)
		}
		select {
		case <-again:
			if b, err := s.Build(build.ID); err == nil && b.Sandbox.ID != "" {
				if err := engine.Remove(running, b.Sandbox.ID); err != nil && running.Err() == nil {
					fmt.Fprintln(messages, "buildsmith: ending the build:", err)
				}
			}
		case <-running.Done():
		}
	})
	ended, err := printLog(s, build.ID, out)
	stop()
	if !unasked() {
		<-stopped
	}
	runs.Wait()
	return ended, errors.Join(err, failed)
}

// printLog prints the log of a build until the build is over.
func printLog(s *store.Store, id string, out io.Writer) (store.Build, error) {
	changes, unwatch := s.Watch()
	defer unwatch()
	growth, leave := s.WatchLog(id)
	defer leave()
	log, err := waitForLog(s, id, changes)
	if err != nil {
		return store.Build{}, err
	}
	defer log.Close()
	for {
		b, err := s.Build(id)
		if err != nil {
			return b, err
		}
		if _, err := io.Copy(out, log); err != nil {
			return b, err
		}
		if b.Done() {
			return b, nil
		}
		select {
		case <-growth:
		case <-changes:
		}
	}
}

// waitForLog opens the log of a build once it has been claimed: before that there is no file.
func waitForLog(s *store.Store, id string, changes <-chan struct{}) (io.ReadCloser, error) {
	for {
		b, err := s.Build(id)
		if err != nil {
			return nil, err
		}
		if b.Done() || b.Sandbox.ID != "" {
			return s.OpenLog(id)
		}
		<-changes
	}
}

// summarize prints what became of a build.
func summarize(out io.Writer, b store.Build) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range b.Phases {
		if p.Type == store.PhaseSubmitted || p.Type == store.PhaseQueued || p.Type == store.PhaseCompleted {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f s\n", p.Type, p.Status, p.End.Sub(p.Start).Seconds())
	}
	w.Flush()
	fmt.Fprintf(out, "%s in %.1f s\n", b.Status, b.Ended.Sub(b.Created).Seconds())
	if h := b.Headline(); h != nil && h.Message != "" {
		fmt.Fprintf(out, "%s: %s\n", h.Type, h.Message)
	}
}

// unpack writes the artifacts of a build below dir, as files of the caller's. What is there already is replaced; no link is
// followed out of dir.
func unpack(s *store.Store, id, dir string) (int, error) {
	archive, err := s.OpenArtifacts(id, "")
	if err != nil {
		return 0, err
	}
	defer archive.Close()
	info, err := archive.Stat()
	if err != nil {
		return 0, err
	}
	z, err := zip.NewReader(archive, info.Size())
	if err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	for _, entry := range z.File {
		if err := unpackOne(root, entry); err != nil {
			return 0, err
		}
	}
	return len(z.File), nil
}

func unpackOne(root *os.Root, entry *zip.File) error {
	if parent := filepath.Dir(entry.Name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	if err := root.Remove(entry.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	in, err := entry.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if entry.Mode().Type() == os.ModeSymlink {
		target, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return root.Symlink(string(target), entry.Name)
	}
	out, err := root.OpenFile(entry.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, entry.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
