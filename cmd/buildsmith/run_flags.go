package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"buildsmith/runner/buildspec"
	"buildsmith/runner/docker"
	"buildsmith/runner/secret"
	"buildsmith/store"
)

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
	text, inline, err := o.readSpec(&b)
	if err != nil {
		return b, nil, err
	}
	_, list = buildspec.Parse(text)
	b.Settings = store.Settings{
		Image: o.image, Buildspec: b.Spec, Required: true, Timeout: o.timeout, Memory: totalMemory() / 2, Processes: 4096, Disk: 20 << 30,
		LogLimit: 1 << 30, Network: o.network, Sudo: o.sudo,
	}
	if inline {
		b.Settings.Buildspec = string(text) + "\n"
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
	b.Trigger = store.Trigger{SourceVersion: workingTree, Initiator: "local"}
	if hash, err := exec.Command("git", "-C", o.dir, "rev-parse", "--verify", "--quiet", "HEAD").Output(); err == nil {
		if commit := strings.TrimSpace(string(hash)); store.ValidHash(commit) {
			b.Trigger.Commit = commit
		}
	}
	return b, list, nil
}

// setSources reads the argument and --source: one primary source and any number of secondary ones.
func (o *runOptions) setSources(args []string) error {
	o.dir, o.secondary = "", map[string]string{}
	if len(args) > 0 {
		o.dir = args[0]
	}
	for _, text := range o.sources {
		id, dir, secondary := strings.Cut(text, ":")
		switch {
		case !secondary && o.dir != "":
			return fmt.Errorf("--source %s: the source is %s already; write ID:DIR for a secondary one", text, o.dir)
		case !secondary:
			o.dir = text
			continue
		case !store.ValidIdentifier(id):
			return fmt.Errorf("--source %s: %q is no identifier of a source; use letters, digits and _", text, id)
		case o.secondary[id] != "":
			return fmt.Errorf("--source %s: the identifier %s stands twice", text, id)
		}
		if info, err := os.Stat(dir); err != nil {
			return fmt.Errorf("--source %s: %w", text, err)
		} else if !info.IsDir() {
			return fmt.Errorf("--source %s: %s is no directory", text, dir)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		o.secondary[id] = abs
	}
	if o.dir == "" {
		o.dir = "."
	}
	return nil
}

// readSpec reads the buildspec: a file of the directory or, if it has none of that name, another one, whose text is used.
func (o *runOptions) readSpec(b *store.Build) (text []byte, inline bool, err error) {
	if b.Spec = o.buildspec; b.Spec == "" {
		b.Spec = "buildspec.yml"
	}
	if filepath.IsLocal(b.Spec) {
		text, err = os.ReadFile(filepath.Join(o.dir, b.Spec))
		if _, near := os.Stat(filepath.Join(o.dir, "buildspec.yaml")); errors.Is(err, fs.ErrNotExist) && o.buildspec == "" && near == nil {
			err = fmt.Errorf("%w: buildspec.yaml is there, but the name is buildspec.yml", err)
		}
		if err == nil || o.buildspec == "" {
			return text, false, err
		}
	}
	if other, otherErr := os.ReadFile(b.Spec); otherErr == nil {
		return other, true, nil
	} else if err == nil {
		err = otherErr
	}
	return nil, false, err
}

// openSecrets opens where the build's secrets come from, and gives it AWS's credentials if that is asked for.
func (o *runOptions) openSecrets(ctx context.Context, b *store.Build) (*secret.Secrets, error) {
	c := secret.Config{}
	all := store.SecretRules{Projects: []string{"*"}}
	if o.secrets != "" {
		dir, err := filepath.Abs(o.secrets)
		if err == nil {
			_, err = os.ReadDir(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("--secrets: %w", err)
		}
		c.Directories = []secret.Directory{{Path: dir, Rules: all}}
	}
	if o.aws || o.profile != "" {
		variables, region, err := secret.LocalCredentials(ctx, o.profile)
		if err != nil {
			return nil, fmt.Errorf("--aws-config: %w", err)
		}
		if region != "" {
			c.AWS = &secret.AWS{Region: region, Profile: o.profile, Rules: all}
		}
		b.Settings.Variables = append(variables, b.Settings.Variables...)
	}
	return secret.New(ctx, c)
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
		if !store.ValidVariable(name) {
			return fmt.Errorf("%s: %q is no name of a variable, or is reserved", where, name)
		}
		list = append(list, store.Variable{Name: name, Value: value})
		return nil
	}
	addFile := func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			line := strings.TrimSpace(lines.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if err := add(fmt.Sprintf("%s:%d", path, n), line); err != nil {
				return err
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	if o.envFile != "" {
		if err := addFile(o.envFile); err != nil {
			return nil, err
		}
	}
	for _, text := range o.env {
		if info, err := os.Stat(text); err == nil && info.Mode().IsRegular() && !strings.Contains(text, "=") {
			if err := addFile(text); err != nil { // as AWS's local agent has it
				return nil, err
			}
			continue
		}
		if err := add("--env", text); err != nil {
			return nil, err
		}
	}
	return list, nil
}
