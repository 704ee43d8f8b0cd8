// Package docker runs sandboxes as containers of a Docker engine on this machine.
//
// A container holds one agent as its process 1. It gets what `apt-get install` needs and no more: the capabilities below,
// Docker's standard seccomp profile, no new privileges unless a project asks for them, limits on memory, processors and
// processes, and one network on which containers do not reach each other, the host or the metadata addresses of clouds.
// Nothing of the host is mounted but the agent's program and the mirror's objects, both read-only, and the directories of
// this sandbox. Docker keeps no log.
package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"buildsmith/runner"
	"buildsmith/runner/agent"
	"buildsmith/store"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/docker/errdefs"
)

// capabilities are those that package managers need as root, and nothing that reaches beyond the container: no MKNOD, no
// NET_RAW, no SYS_*.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE"}

// Config is what a Docker works with.
type Config struct {
	Host    string                 // of the engine, unix:///...; empty for the environment's DOCKER_HOST or the standard socket
	Data    string                 // the data directory: its path names the containers of this server
	Program string                 // the agent's program, a static binary, at a path that the engine sees
	Pull    string                 // PullMissing, PullAlways or PullNever; empty for PullMissing
	Auth    map[string]Credentials // by registry host
	Log     *slog.Logger
	At      func(point string) // told where a sandbox passes a point, for tests; may be nil
	Runtime string             // another OCI runtime than the engine's standard one
}

// Credentials are those of a registry. The password is asked for when it is needed.
type Credentials struct {
	Username string
	Password func() (string, error)
}

// When images are pulled.
const (
	PullMissing = "missing"
	PullAlways  = "always"
	PullNever   = "never"
)

// A Docker is a runner.Sandbox.
type Docker struct {
	Config
	api    *client.Client
	owner  string // label of our containers
	starts chan struct{}

	pulls sync.Map // image => *sync.Mutex, held while it is pulled

	mu      sync.Mutex
	checked time.Time // when the network was last found well
	unguard error     // why the rules of the network could not be set; nil if they are
}

// Labels of our containers.
const (
	labelOwner   = "buildsmith.data"
	labelSandbox = "buildsmith.sandbox"
)

// maxStarts is how many containers are started at a time: more takes longer for each and no less for all.
const maxStarts = 2

// New connects to the engine, which need not answer yet. Only an engine on this machine will do.
func New(c Config) (*Docker, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if c.Host != "" {
		options = append(options, client.WithHost(c.Host))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to Docker: %w", err)
	}
	if host := api.DaemonHost(); !strings.HasPrefix(host, "unix://") {
		api.Close()
		return nil, fmt.Errorf("connecting to Docker: DOCKER_HOST is %s; only an engine on this machine can be used, since builds share directories with the server: unset DOCKER_HOST, or name a socket as unix:///path", host)
	}
	if c.Pull == "" {
		c.Pull = PullMissing
	}
	if c.At == nil {
		c.At = func(string) {}
	}
	sum := sha256.Sum256([]byte(filepath.Clean(c.Data)))
	return &Docker{Config: c, api: api, owner: hex.EncodeToString(sum[:8]), starts: make(chan struct{}, maxStarts)}, nil
}

// Close ends the connection. Containers run on.
func (d *Docker) Close() error { return d.api.Close() }

func name(id string) string { return "buildsmith-" + id }

// Ready implements runner.Sandbox: the engine answers, and the network is there with its rules.
func (d *Docker) Ready(ctx context.Context) error {
	if _, err := d.api.Ping(ctx); err != nil {
		return fmt.Errorf("Docker does not answer at %s: %w", d.api.DaemonHost(), err)
	}
	return d.network(ctx)
}

// About describes the engine in a line.
func (d *Docker) About(ctx context.Context) (string, error) {
	info, err := d.api.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("asking Docker about itself: %w", err)
	}
	return fmt.Sprintf("engine %s at %s, storage %s, cgroup v%s", info.ServerVersion, d.api.DaemonHost(), info.Driver, info.CgroupVersion), nil
}

// Start implements runner.Sandbox.
func (d *Docker) Start(ctx context.Context, s runner.Spec) error {
	d.starts <- struct{}{}
	defer func() { <-d.starts }()
	if s.Network != store.NetworkNone {
		if err := d.network(ctx); err != nil {
			return err
		}
		if s.Fork && d.Guarded() != nil {
			d.Log.Warn("a build of another repository's commit gets no network, since the network is not guarded", "sandbox", s.ID)
			s.Network = store.NetworkNone
		}
	}
	err := d.create(ctx, s)
	switch {
	case errdefs.IsConflict(err):
		// Made before the server was restarted, started or not.
		info, err := d.api.ContainerInspect(ctx, name(s.ID))
		if err != nil {
			return fmt.Errorf("looking at the container: %w", err)
		}
		if info.State.Status != container.StateCreated {
			return nil
		}
	case errdefs.IsNotFound(err):
		return fmt.Errorf("image %s: %w: there is none of that name here", s.Image, runner.ErrImage)
	case err != nil:
		return fmt.Errorf("making the container: %w", err)
	}
	d.At("container created")
	if err := d.api.ContainerStart(ctx, name(s.ID), container.StartOptions{}); err != nil {
		return fmt.Errorf("starting the container: %w", err)
	}
	d.At("container started")
	return nil
}

func (d *Docker) create(ctx context.Context, s runner.Spec) error {
	config := &container.Config{
		Image:      s.Image,
		Entrypoint: []string{agent.ProgramPath, "agent"},
		User:       "0:0",
		WorkingDir: "/",
		Labels:     map[string]string{labelOwner: d.owner, labelSandbox: s.ID},
		// An image's own health check would run beside the build.
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	network := container.NetworkMode(networkName)
	if s.Network == store.NetworkNone {
		network = "none"
	}
	host := &container.HostConfig{
		NetworkMode: network,
		IpcMode:     container.IPCModePrivate,
		LogConfig:   container.LogConfig{Type: "none"},
		CapDrop:     []string{"ALL"},
		CapAdd:      capabilities,
		Runtime:     d.Runtime,
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: d.Program, Target: agent.ProgramPath, ReadOnly: true},
			{Type: mount.TypeBind, Source: s.Exchange, Target: agent.ExchangeDir},
			{Type: mount.TypeBind, Source: s.Source, Target: agent.SourceDir},
			{Type: mount.TypeBind, Source: s.Objects, Target: agent.ObjectsDir, ReadOnly: true},
		},
		Tmpfs: map[string]string{agent.StateDir: "mode=0711,size=64m,nosuid,nodev"},
		Resources: container.Resources{
			Memory: s.Memory, MemorySwap: s.Memory, NanoCPUs: int64(s.CPUs * 1e9),
		},
	}
	for name, dir := range map[string]string{agent.DefaultCache: s.Cache, agent.OwnCache: s.OwnCache} {
		if dir != "" {
			host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: dir, Target: path.Join(agent.CacheDir, name), ReadOnly: true})
		}
	}
	if s.Tree != "" {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: s.Tree, Target: path.Join(agent.SourceDir, "src")})
	}
	if s.Processes > 0 {
		host.PidsLimit = &s.Processes
	}
	if !s.Sudo {
		host.SecurityOpt = []string{"no-new-privileges"}
	}
	// The engine may do what it was asked for when nobody waits for the answer any more, and after Remove has found nothing:
	// so the answer is waited for.
	making, done := context.WithTimeout(context.WithoutCancel(ctx), createTime)
	defer done()
	if _, err := d.api.ContainerCreate(making, config, host, nil, nil, name(s.ID)); err != nil {
		return err
	}
	return ctx.Err()
}

// createTime is how long the engine may take to make a container.
const createTime = time.Minute

// Stop implements runner.Sandbox.
func (d *Docker) Stop(ctx context.Context, id string) error {
	err := d.api.ContainerKill(ctx, name(id), "SIGTERM")
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // conflict: it does not run
		return nil
	}
	return err
}

// outageInterval is how long to wait before the engine is asked again that did not answer.
const outageInterval = time.Second

// Wait implements runner.Sandbox. While the engine does not answer it goes on asking.
func (d *Docker) Wait(ctx context.Context, id string) (runner.Exit, error) {
	for {
		exit, err := d.wait(ctx, id)
		if err == nil || ctx.Err() != nil {
			return exit, errors.Join(err, ctx.Err())
		}
		d.Log.Warn("waiting for a container", "sandbox", id, "err", err)
		select {
		case <-ctx.Done():
			return exit, ctx.Err()
		case <-time.After(outageInterval):
		}
	}
}

func (d *Docker) wait(ctx context.Context, id string) (runner.Exit, error) {
	ended, failed := d.api.ContainerWait(ctx, name(id), container.WaitConditionNotRunning)
	var exit runner.Exit
	select {
	case e := <-ended:
		exit.Status = int(e.StatusCode)
	case err := <-failed:
		if errdefs.IsNotFound(err) {
			return runner.Exit{Gone: true}, nil
		}
		return exit, err
	}
	info, err := d.api.ContainerInspect(ctx, name(id))
	if errdefs.IsNotFound(err) {
		return runner.Exit{Gone: true}, nil
	}
	if err != nil {
		return exit, err
	}
	if info.State.Status == container.StateCreated {
		// Not started yet, which is no end; the caller that starts it is on its way.
		return exit, errors.New("the container has not been started")
	}
	exit.Status, exit.OutOfMemory = info.State.ExitCode, info.State.OOMKilled
	exit.Detail = fmt.Sprintf("The container ended with status %d. %s", info.State.ExitCode, info.State.Error)
	return exit, nil
}

// Remove implements runner.Sandbox.
func (d *Docker) Remove(ctx context.Context, id string) error {
	for {
		err := d.api.ContainerRemove(ctx, name(id), container.RemoveOptions{Force: true, RemoveVolumes: true})
		if err == nil || errdefs.IsNotFound(err) {
			return nil
		}
		if !errdefs.IsConflict(err) {
			return err
		}
		// Somebody else is removing it.
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// List implements runner.Sandbox.
func (d *Docker) List(ctx context.Context) ([]string, error) {
	list, err := d.api.ContainerList(ctx, container.ListOptions{All: true,
		Filters: filters.NewArgs(filters.Arg("label", labelOwner+"="+d.owner), filters.Arg("label", labelSandbox))})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, c := range list {
		ids = append(ids, c.Labels[labelSandbox])
	}
	return ids, nil
}

// Usage implements runner.Sandbox: the size of the container's own layer.
func (d *Docker) Usage(ctx context.Context, id string) (int64, error) {
	info, _, err := d.api.ContainerInspectWithRaw(ctx, name(id), true)
	if err != nil {
		return 0, err
	}
	if info.SizeRw == nil {
		return 0, nil
	}
	return *info.SizeRw, nil
}
