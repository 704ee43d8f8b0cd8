package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/runner/cache"
	"buildsmith/runner/docker"
	"buildsmith/runner/secret"
	"buildsmith/store"

	"github.com/spf13/cobra"
)

// runOptions are the flags of run.
type runOptions struct {
	dir       string            // the source: the primary one
	secondary map[string]string // further sources by their identifiers
	sources   []string          // --source
	mount     bool
	buildspec string
	image     string
	artifacts string
	reports   string
	env       []string
	envFile   string
	secrets   string
	aws       bool
	profile   string
	noCache   bool
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

What the buildspec's cache block keeps lies in the user's cache directory, apart for each DIR.
Secrets (parameter-store, secrets-manager) come from the files of --secrets, one each, and with
--aws-config from AWS.

The flags -i -a -b -s -e -m -r -c -p are those of AWS's local CodeBuild agent.

Exit status: 0 succeeded, 1 failed or timed out, 2 invalid buildspec or usage, 3 a fault of the
machine, 130 stopped by Ctrl-C.`,
		Example: `  buildsmith run
  buildsmith run --artifacts out ~/src/shop
  buildsmith run --buildspec ci/release.yml --env VERSION=1.2 --image golang:1.26
  buildsmith run -i golang:1.26 -a out -s . -s docs:../docs -e vars.env -r reports`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.setSources(args); err != nil {
				return usage(err)
			}
			return runDirectory(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.buildspec, "buildspec", "b", "", "buildspec: a file of DIR, or another one (default buildspec.yml)")
	f.StringVarP(&o.image, "image", "i", defaultImage, "build image")
	f.StringVarP(&o.artifacts, "artifacts", "a", "", "directory for the artifacts")
	f.StringVarP(&o.reports, "reports", "r", "", "directory for the files of the reports")
	f.StringArrayVarP(&o.sources, "source", "s", nil, "DIR in place of the argument, or ID:DIR for a secondary source (repeatable)")
	f.BoolVarP(&o.mount, "mount", "m", false, "work in DIR itself instead of a copy: what the build writes stays there, as root's")
	f.StringArrayVarP(&o.env, "env", "e", nil, "variable NAME=value; a NAME alone takes the value it has here; or a file like that of --env-file (repeatable)")
	f.StringVar(&o.envFile, "env-file", "", "file of variables, NAME=value a line, # begins a comment")
	f.StringVar(&o.secrets, "secrets", "", "directory of secrets, a file each")
	f.BoolVarP(&o.aws, "aws-config", "c", false, "give the build the AWS credentials of this machine, and read secrets from AWS with them")
	f.StringVarP(&o.profile, "profile", "p", "", "profile of the AWS configuration (implies --aws-config)")
	f.BoolVar(&o.noCache, "no-cache", false, "neither restore nor save caches")
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
	for _, dir := range []string{o.artifacts, o.reports} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return usage(err)
		}
	}
	secrets, err := o.openSecrets(ctx, &build)
	if err != nil {
		return usage(err)
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
	ended, err := o.follow(ctx, s, engine, secrets, build, log, out, messages)
	if err != nil {
		return fault(err)
	}
	summarize(messages, ended)
	if err := o.unpackAll(s, &ended, messages); err != nil {
		return fault(err)
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

// workingTree is what is built here, in place of a branch or a commit.
const workingTree = "working tree"

// localRepo is what stands for a repository: the directory, so that each has caches of its own.
func localRepo(dir string) store.Repo {
	sum := sha256.Sum256([]byte(dir))
	return store.Repo{Forge: "run", ID: hex.EncodeToString(sum[:8]), Name: "local", CloneURL: "file://" + dir, Private: true}
}

// follow runs the build to its end and prints its log as it grows. When ctx is done first, the build is stopped.
func (o *runOptions) follow(ctx context.Context, s *store.Store, engine *docker.Docker, secrets *secret.Secrets, build store.Build, log *slog.Logger, out, messages io.Writer) (store.Build, error) {
	if err := s.Update(func(tx *store.Tx) error {
		p, err := tx.Project(localRepo(o.dir), "")
		if err == nil {
			spec := build.Spec
			build, err = tx.Submit(p, build)
			build.Spec = spec
		}
		return err
	}); err != nil {
		return build, err
	}
	extra := []store.Variable{{Name: "CODEBUILD_LOCAL_BUILD", Value: "true"}, {Name: "CODEBUILD_CI", Value: "false"}}
	for id, dir := range o.secondary {
		extra = append(extra, store.Variable{Name: "CODEBUILD_SRC_DIR_" + id, Value: runner.SecondaryDir(id)},
			store.Variable{Name: "CODEBUILD_SOURCE_REPO_URL_" + id, Value: "file://" + dir},
			store.Variable{Name: "CODEBUILD_SOURCE_VERSION_" + id, Value: workingTree})
	}
	c := runner.Config{
		Store: s, Sandbox: engine, Source: runner.DirSource{Dir: o.dir, Secondary: o.secondary, Mount: o.mount, Scratch: s.Dir()},
		Place:   runner.Place{URL: func(*store.Build) string { return "" }, Extra: extra},
		Secrets: secrets, Log: log, Dir: filepath.Join(s.Dir(), "run"), Slots: 1,
	}
	if !o.noCache {
		if dir, err := os.UserCacheDir(); err == nil {
			c.Caches, c.CacheLimits = filepath.Join(dir, "buildsmith", "caches"), cache.Limits{Size: 10 << 30, Age: 30 * 24 * time.Hour}
		}
	}
	r := runner.New(c)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var failed error
	var runs sync.WaitGroup
	runs.Go(func() {
		if failed = r.Run(running); failed != nil { // it did not begin; else the build would be waited for for ever
			failed = errors.Join(failed, s.Update(func(tx *store.Tx) error { _, err := tx.RequestStop(build.ID, "a fault"); return err }))
		}
	})
	defer runs.Wait()
	defer stop()
	var id atomic.Pointer[string] // of the build under way
	id.Store(&build.ID)
	current := func() string { return *id.Load() }
	requestStop := func() {
		if err := s.Update(func(tx *store.Tx) error { _, err := tx.RequestStop(current(), "Ctrl-C"); return err }); err != nil && running.Err() == nil {
			fmt.Fprintln(messages, "buildsmith: stopping the build:", err)
		}
	}
	stopped := make(chan struct{})
	unasked := context.AfterFunc(ctx, func() {
		defer close(stopped)
		fmt.Fprintln(messages, "Stopping the build: its commands have ten seconds to end. Ctrl-C once more does not wait for them.")
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		requestStop()
		select {
		case <-again:
			if b, err := s.Build(current()); err == nil && b.Sandbox.ID != "" {
				if err := engine.Remove(running, b.Sandbox.ID); err != nil && running.Err() == nil {
					fmt.Fprintln(messages, "buildsmith: ending the build:", err)
				}
			}
		case <-running.Done():
		}
	})
	ended, err := printLog(s, build.ID, out)
	for err == nil && ended.Status == store.Failed && ended.RerunBy != "" { // on-failure: RETRY
		next := ended.RerunBy
		fmt.Fprintln(messages, "\nThe build failed and is repeated, as on-failure asks.")
		id.Store(&next)
		if ctx.Err() != nil { // Ctrl-C met the build before
			requestStop()
		}
		ended, err = printLog(s, next, out)
	}
	stop()
	if !unasked() {
		<-stopped
	}
	runs.Wait()
	return ended, errors.Join(err, failed)
}
