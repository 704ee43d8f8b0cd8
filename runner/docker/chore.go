package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"buildsmith/runner/agent"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
)

// Places of a chore's container.
const (
	choreDir = "/buildsmith/chore"
)

// Probe makes sure that the engine sees the data directory at the path at which the server sees it: a container reads what
// the server has just written.
func (d *Docker) Probe(ctx context.Context) error {
	dir := filepath.Join(d.Data, "probe")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return err
	}
	text := hex.EncodeToString(nonce[:])
	file := filepath.Join(dir, "nonce")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	status, err := d.chore(ctx, dir, true, "agent", "--check", choreDir+"/nonce", text)
	if err != nil || status != 0 {
		detail := fmt.Sprintf("status %d", status)
		if err != nil {
			detail = err.Error()
		}
		return fmt.Errorf("the Docker engine does not see the data directory %s as this server does (%s): if the server runs in a container, mount the directory at the same path on both sides, as in -v %s:%s", d.Data, detail, d.Data, d.Data)
	}
	return nil
}

// RemoveDir implements runner.Sandbox: a container removes what root in another container left and this server's user may
// not touch.
func (d *Docker) RemoveDir(ctx context.Context, dir string) error {
	status, err := d.chore(ctx, filepath.Dir(dir), false, "agent", "--remove", choreDir+"/"+filepath.Base(dir))
	if err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	if status != 0 {
		return fmt.Errorf("removing %s: the container that was to do it ended with status %d", dir, status)
	}
	return nil
}

// chore runs the agent's program for the server in an empty container that sees dir.
func (d *Docker) chore(ctx context.Context, dir string, readOnly bool, args ...string) (status int, err error) {
	if err := d.makeEmptyImage(ctx); err != nil {
		return 0, err
	}
	made, err := d.api.ContainerCreate(ctx, &container.Config{
		Image:           emptyImage,
		Entrypoint:      append([]string{agent.ProgramPath}, args...),
		User:            "0:0",
		Labels:          map[string]string{labelOwner: d.owner},
		NetworkDisabled: true,
	}, &container.HostConfig{
		NetworkMode: "none",
		LogConfig:   container.LogConfig{Type: "none"},
		CapDrop:     []string{"ALL"},
		CapAdd:      []string{"DAC_OVERRIDE", "FOWNER"},
		SecurityOpt: []string{"no-new-privileges"},
		Runtime:     d.Runtime,
		Mounts: []mount.Mount{
			{Type: mount.TypeBind, Source: d.Program, Target: agent.ProgramPath, ReadOnly: true},
			{Type: mount.TypeBind, Source: dir, Target: choreDir, ReadOnly: readOnly},
		},
	}, nil, nil, "")
	if err != nil {
		return 0, err
	}
	defer func() {
		removed := d.api.ContainerRemove(context.WithoutCancel(ctx), made.ID, container.RemoveOptions{Force: true})
		err = errors.Join(err, removed)
	}()
	ended, failed := d.api.ContainerWait(ctx, made.ID, container.WaitConditionNextExit)
	if err := d.api.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return 0, errors.New(strings.TrimSpace(err.Error()))
	}
	select {
	case e := <-ended:
		return int(e.StatusCode), nil
	case err := <-failed:
		return 0, err
	}
}
