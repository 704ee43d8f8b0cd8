package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"

	"buildsmith/runner"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/errdefs"
)

// Pull implements runner.Sandbox. One pull of an image serves all that wait for it.
func (d *Docker) Pull(ctx context.Context, name string) (pulled bool, err error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false, fmt.Errorf("image %q: %w: %v", name, runner.ErrImage, err)
	}
	lock, _ := d.pulls.LoadOrStore(name, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	if d.Config.Pull != PullAlways {
		_, err := d.api.ImageInspect(ctx, name)
		if err == nil {
			return false, nil
		}
		if !errdefs.IsNotFound(err) {
			return false, fmt.Errorf("looking for the image: %w", err)
		}
		if reference.Domain(ref) == "localhost" {
			return false, fmt.Errorf("image %s: %w: it is made on this machine, not pulled; `make image` makes it, or name another image", name, runner.ErrImage)
		}
		if d.Config.Pull == PullNever {
			return false, fmt.Errorf("image %s: %w: it is not on this machine, and the server pulls none", name, runner.ErrImage)
		}
	}
	d.At("pulling")
	if err := d.pull(ctx, reference.TagNameOnly(ref)); err != nil {
		// An engine that cannot reach the registry still has what it had.
		if _, here := d.api.ImageInspect(ctx, name); here == nil && !errors.Is(err, runner.ErrImage) {
			d.Log.Warn("pulling an image that is here already", "image", name, "err", err)
			return false, nil
		}
		return false, fmt.Errorf("image %s: %w", name, err)
	}
	return true, nil
}

func (d *Docker) pull(ctx context.Context, ref reference.Named) error {
	options := image.PullOptions{}
	if c, ok := d.Auth[reference.Domain(ref)]; ok {
		password, err := c.Password()
		if err != nil {
			return fmt.Errorf("credentials of %s: %w", reference.Domain(ref), err)
		}
		if options.RegistryAuth, err = registry.EncodeAuthConfig(registry.AuthConfig{Username: c.Username, Password: password, ServerAddress: reference.Domain(ref)}); err != nil {
			return err
		}
	}
	stream, err := d.api.ImagePull(ctx, ref.String(), options)
	if err != nil {
		return classify(err)
	}
	defer stream.Close()
	messages := json.NewDecoder(stream)
	for {
		var m struct {
			Error string `json:"error"`
		}
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if m.Error != "" {
			return classify(errors.New(m.Error))
		}
	}
}

var noSuchImage = regexp.MustCompile(`(?i)manifest unknown|manifest for .* not found|repository does not exist|pull access denied|name unknown|no matching manifest|invalid reference`)

// classify tells an image that there is not, the author's failure, from a registry that cannot be reached, ours.
func classify(err error) error {
	if errdefs.IsNotFound(err) || noSuchImage.MatchString(err.Error()) {
		return fmt.Errorf("%w: %v", runner.ErrImage, err)
	}
	return err
}

// emptyImage holds nothing: for containers that run the agent's program for the server.
const emptyImage = "buildsmith-empty:1"

// makeEmptyImage makes the empty image unless it is there.
func (d *Docker) makeEmptyImage(ctx context.Context) error {
	if _, err := d.api.ImageInspect(ctx, emptyImage); err == nil || !errdefs.IsNotFound(err) {
		return err
	}
	nothing := bytes.NewReader(make([]byte, 1024)) // a tar archive without entries
	answer, err := d.api.ImageImport(ctx, image.ImportSource{Source: nothing, SourceName: "-"}, emptyImage, image.ImportOptions{})
	if err != nil {
		return fmt.Errorf("making the image %s: %w", emptyImage, err)
	}
	defer answer.Close()
	_, err = io.Copy(io.Discard, answer)
	return err
}

// RemoveImage removes an image that no container uses. One that is gone, or in use, needs nothing.
func (d *Docker) RemoveImage(ctx context.Context, name string) error {
	_, err := d.api.ImageRemove(ctx, name, image.RemoveOptions{})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return err
}
