package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"buildsmith/runner/docker"
	"buildsmith/store"

	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is missing or wrong on this machine and at the forge",
		Long: `Look at what builds need on this machine: Git, Docker, the build image, the network's rules,
the disk, the configuration; and at the forges: the App or the tokens, webhooks, permissions.
Each line says what is well, what is wrong, and what to do.

Exit status: 0 if nothing is wrong, 1 otherwise.`,
		Example: `  buildsmith doctor
  buildsmith doctor --config /etc/buildsmith/config.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			d := &doctor{out: cmd.OutOrStdout()}
			d.look(ctx, config)
			if d.wrong > 0 {
				return exit(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", os.Getenv("BUILDSMITH_CONFIG"), "configuration file (YAML)")
	return cmd
}

// A doctor prints a line for each thing it looked at.
type doctor struct {
	out   io.Writer
	wrong int
}

func (d *doctor) well(what, format string, args ...any) {
	fmt.Fprintf(d.out, "ok     %-14s %s\n", what, fmt.Sprintf(format, args...))
}

func (d *doctor) note(what, format string, args ...any) {
	fmt.Fprintf(d.out, "note   %-14s %s\n", what, fmt.Sprintf(format, args...))
}

func (d *doctor) bad(what, format string, args ...any) {
	d.wrong++
	fmt.Fprintf(d.out, "wrong  %-14s %s\n", what, fmt.Sprintf(format, args...))
}

func (d *doctor) look(ctx context.Context, path string) {
	c, err := loadConfig(path)
	var list problems
	switch {
	case errors.As(err, &list):
		for _, p := range list {
			d.bad("configuration", "%s", p)
		}
		c = &Config{}
		c.fill()
	case path == "":
		d.well("configuration", "none; the defaults hold")
	default:
		d.well("configuration", "%s", path)
		for _, text := range c.filterWarnings() {
			d.note("filters", "%s", text)
		}
	}
	d.git(ctx)
	d.program()
	d.data(c)
	d.docker(ctx, c)
	d.forges(ctx, c)
}

var gitVersion = regexp.MustCompile(`^git version (\d+)\.(\d+)`)

// Git 2.31 reads its configuration from the environment, which is how credentials reach it.
const gitMajor, gitMinor = 2, 31

func (d *doctor) git(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		d.bad("git", "cannot be run (%v); install it: apt-get install git", err)
		return
	}
	text := strings.TrimSpace(string(out))
	if m := gitVersion.FindStringSubmatch(text); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		if major < gitMajor || major == gitMajor && minor < gitMinor {
			d.bad("git", "%s is too old; 2.31 or newer is needed", text)
			return
		}
	}
	if _, err := exec.CommandContext(ctx, "git", "http-backend").Output(); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) || strings.Contains(string(ended.Stderr), "is not a git command") {
			d.bad("git", "git http-backend is missing, which the built-in forge serves repositories by")
			return
		}
	}
	d.well("git", "%s", text)
}

func (d *doctor) program() {
	path, err := ownProgram()
	if err != nil {
		d.bad("program", "%v", err)
		return
	}
	d.well("program", "%s is static and runs in any image", path)
}

func (d *doctor) data(c *Config) {
	info, err := os.Stat(c.Data)
	if err != nil {
		d.note("data", "%s is not there yet; the server makes it", c.Data)
		return
	}
	if info.Mode().Perm()&0o077 != 0 {
		d.note("data", "%s can be read by others (mode %04o); the server closes it when it starts", c.Data, info.Mode().Perm())
	}
	disk, err := store.DiskOf(c.Data, int64(c.Reserve))
	switch {
	case err != nil:
		d.bad("disk", "%v", err)
	case disk.Low():
		d.bad("disk", "%d MiB are free below %s, and %d MiB are kept free: no build begins; make room, or set reserve", disk.Free>>20, c.Data, disk.Reserve>>20)
	default:
		d.well("disk", "%d MiB are free below %s, %d MiB are kept free", disk.Free>>20, c.Data, disk.Reserve>>20)
	}
}

func (d *doctor) docker(ctx context.Context, c *Config) {
	program, err := ownProgram()
	if err != nil {
		return // said already
	}
	dir, err := scratchDir()
	if err != nil {
		d.bad("docker", "%v", err)
		return
	}
	defer os.RemoveAll(dir)
	engine, err := docker.New(docker.Config{Host: c.Docker.Host, Data: dir, Program: program, Pull: c.Pull, Runtime: c.Docker.Runtime, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.bad("docker", "%v", err)
		return
	}
	defer engine.Close()
	if err := engine.Ready(ctx); err != nil {
		d.bad("docker", "%v; install and start it: apt-get install docker.io, systemctl start docker; this user must be allowed to use its socket", err)
		return
	}
	about, err := engine.About(ctx)
	if err != nil {
		d.bad("docker", "%v", err)
		return
	}
	d.well("docker", "%s", about)
	if version, err := engine.Version(ctx); err == nil {
		d.engineVersion(version)
	}
	if err := engine.Guarded(); err != nil {
		d.bad("network", "builds can reach this host and the metadata addresses: %v; run the server as root with CAP_NET_ADMIN, or set network: none", err)
	} else {
		d.well("network", "builds reach neither this host nor the metadata addresses")
	}
	if err := engine.Probe(ctx); err != nil {
		d.bad("mounts", "%v", err)
	} else {
		d.well("mounts", "the engine sees this machine's directories")
	}
	if pulled, err := engine.Pull(ctx, c.Builds.Image); err != nil {
		d.bad("image", "%v", err)
	} else if pulled {
		d.well("image", "%s was pulled", c.Builds.Image)
	} else {
		d.well("image", "%s is here", c.Builds.Image)
	}
}
