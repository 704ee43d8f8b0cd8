package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/runner/source"
	"buildsmith/store"
)

// begin brings the build to the point where the agent has its job. The ending is nil if it has.
func (w *work) begin(ctx context.Context) (*ending, error) {
	var err error
	if w.tree, err = w.r.Source.Open(ctx, &w.b); err != nil {
		return fault(store.PhaseDownloadSource, err), nil
	}
	switch {
	case w.b.Sandbox.ID == "":
		if err := w.assign(); err != nil {
			return nil, err
		}
	case w.b.Sandbox.Job && w.b.Log.Next > 1: // what the agent did with it has been read
		return nil, nil
	case w.b.Sandbox.Job:
		saw, err := w.sawJob()
		if err != nil {
			return w.broken(err), nil
		}
		if saw {
			return nil, nil
		}
		// That it has no job is what the story says, and a build can write there. This machine never touches a tree that a
		// build may have had: a new sandbox gets one of its own.
		if end, err := w.another(ctx); end != nil || err != nil {
			return end, err
		}
	}
	for {
		end, err := w.beginIn(ctx)
		if end != warmGone {
			return end, err
		}
		w.log.Info("the waiting sandbox is gone, taking a new one", "sandbox", w.b.Sandbox.ID)
		if end, err := w.another(ctx); end != nil || err != nil {
			return end, err
		}
	}
}

// another gives the build a new sandbox for the one that it has.
func (w *work) another(ctx context.Context) (*ending, error) {
	if err := w.r.removeSandbox(ctx, w.b.Sandbox.ID); err != nil {
		return fault(store.PhaseProvisioning, err), nil
	}
	w.warm = false
	return nil, w.assign()
}

// warmGone is the ending of an attempt whose sandbox had waited and was gone when the job came. Nothing had been done in it.
var warmGone = &ending{status: store.Fault, message: "the waiting sandbox is gone"}

// assign makes a sandbox for the build and records it.
func (w *work) assign() error {
	sandbox, err := w.r.newSandbox()
	if err != nil {
		return err
	}
	now := w.r.Store.Now()
	return w.change(func(b *store.Build) {
		b.Sandbox = sandbox
		b.Log.Events, b.Log.Next = 0, 0
		b.Enter(store.PhaseDownloadSource, now)
	})
}

func (w *work) sawJob() (bool, error) {
	story, err := w.open(agent.Mark{})
	if err != nil {
		return false, err
	}
	defer story.Close()
	return story.SawJob()
}

// eventRoom is how many bytes events may have beside output, each of whose bytes can become six.
const eventRoom = 64 << 20

func (w *work) open(from agent.Mark) (*agent.Story, error) {
	var limit int64
	if w.b.Settings.LogLimit > 0 {
		limit = 6*w.b.Settings.LogLimit + eventRoom
	}
	return agent.Open(w.r.exchangeDir(w.b.Sandbox.ID), w.b.Sandbox.Inode, from, limit)
}

// broken is the ending for a story that cannot be read.
func (w *work) broken(err error) *ending {
	if errors.Is(err, agent.ErrDamaged) {
		return failed("", agent.CodeClient, "%v", err)
	}
	return fault("", err)
}

// Why one half of the beginning breaks the other off.
var (
	errProvision = errors.New("the sandbox could not be started")
	errSource    = errors.New("the source is of no use")
)

// beginIn starts the sandbox and checks the source out, side by side, and hands the job over.
func (w *work) beginIn(ctx context.Context) (*ending, error) {
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begunAt := w.r.Store.Now()
	// The log begins here. What an attempt that did not hand over its job wrote goes.
	if err := errors.Join(w.out.Restart(), w.logf("Running on buildsmith"), w.logf("Waiting for agent ping")); err != nil {
		return nil, err
	}
	var provisioned *ending
	var provisionedAt time.Time
	var side sync.WaitGroup
	side.Go(func() {
		if provisioned = w.provision(both); provisioned != nil {
			cancel(errProvision)
		}
		provisionedAt = w.r.Store.Now()
	})
	job, text, skeleton, lines, end := w.source(both)
	sourceAt := w.r.Store.Now()
	if end != nil {
		cancel(errSource)
	}
	side.Wait()
	switch context.Cause(both) {
	case nil:
	case errProvision:
		return provisioned, nil
	default: // the source, or the build as a whole
		return end, w.tell(lines, text)
	}
	lines = append([]string{"Waiting for DOWNLOAD_SOURCE", "Phase is DOWNLOAD_SOURCE"}, lines...)
	lines = append(lines, "Phase complete: DOWNLOAD_SOURCE State: SUCCEEDED", "Phase context status code:  Message: ")
	for _, line := range lines {
		if err := w.logf("%s", line); err != nil {
			return nil, err
		}
	}
	if err := w.r.Store.Update(func(tx *store.Tx) error { return tx.SetSpec(w.b.ID, text.text) }); err != nil {
		return nil, err
	}
	if err := w.change(func(b *store.Build) {
		b.Leave(store.PhaseProvisioning, provisionedAt, store.Succeeded, "", "")
		b.Enter(store.PhaseDownloadSource, begunAt) // a sandbox that waited was given without
		b.Leave(store.PhaseDownloadSource, sourceAt, store.Succeeded, "", "")
		b.Spec, b.Skeleton, b.Problems = text.name, skeleton, text.problems
		b.Planned, b.Exported = text.planned, nil
		addNote(b, text.note)
		b.Sandbox.Job = true
	}); err != nil {
		return nil, err
	}
	w.r.Store.At("source ready")
	return w.hand(ctx, job), nil
}

// tell records what is wrong with the buildspec.
func (w *work) tell(lines []string, text specText) error {
	for _, line := range lines {
		if err := w.logf("%s", line); err != nil {
			return err
		}
	}
	if len(text.problems) == 0 {
		return nil
	}
	return w.change(func(b *store.Build) {
		b.Spec, b.Problems = text.name, text.problems
		addNote(b, text.note)
	})
}

// provision starts the sandbox.
func (w *work) provision(ctx context.Context) *ending {
	if w.warm {
		return nil
	}
	at := func(err error) *ending {
		if errors.Is(err, ErrImage) {
			return failed(store.PhaseProvisioning, "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE", "%v", err)
		}
		return fault(store.PhaseProvisioning, err)
	}
	w.r.Store.At("before pull")
	begun := time.Now()
	pulled, err := w.r.Sandbox.Pull(ctx, w.b.Settings.Image)
	if err != nil {
		return at(err)
	}
	if err := w.r.Store.UseImage(w.b.Settings.Image, pulled); err != nil {
		return fault(store.PhaseProvisioning, err)
	}
	if pulled {
		if err := w.logf("Pulled the image %s in %v", w.b.Settings.Image, time.Since(begun).Round(time.Millisecond)); err != nil {
			return fault(store.PhaseProvisioning, err)
		}
	}
	sandbox := w.r.spec(&w.b, w.b.Sandbox.ID, w.tree.Objects())
	sandbox.Tree = w.tree.Mounted()
	if err := w.r.Sandbox.Start(ctx, sandbox); err != nil {
		return at(err)
	}
	w.r.Store.At("sandbox started")
	return nil
}

// specText is a buildspec and where it was found.
type specText struct {
	name     string
	text     []byte
	problems []store.Problem
	planned  *store.Planned
	note     string // what people should know of where it was found
}

// source checks the source out and turns the buildspec into a job.
func (w *work) source(ctx context.Context) (job agent.Job, spec specText, skeleton, lines []string, end *ending) {
	const phase = store.PhaseDownloadSource
	dir, err := w.makeSource()
	if err != nil {
		return job, spec, nil, nil, fault(phase, err)
	}
	w.r.Store.At("checkout begins")
	switch err := w.checkout(ctx, dir); {
	case errors.Is(err, source.ErrGone) || errors.Is(err, source.ErrTooLarge):
		return job, spec, nil, nil, failed(phase, agent.CodeClient, "The source cannot be checked out: %v", err)
	case err != nil:
		return job, spec, nil, nil, fault(phase, err)
	}
	if mounted := w.tree.Mounted(); mounted != "" {
		dir = mounted
	}
	spec, end = w.findSpec(ctx, dir)
	if end != nil {
		return job, spec, nil, nil, end
	}
	if spec.note != "" {
		lines = append(lines, spec.note)
	}
	parsed, problems := buildspec.Parse(spec.text)
	for _, p := range problems {
		spec.problems = append(spec.problems, store.Problem{Line: p.Line, Column: p.Column, Message: p.Message, Warning: p.Warning})
		lines = append(lines, spec.name+":"+p.String())
	}
	if parsed == nil {
		first := problems[0]
		for _, p := range problems {
			if !p.Warning {
				first = p
				break
			}
		}
		return job, spec, nil, lines, failed(phase, "YAML_FILE_ERROR", "%s:%s%s", spec.name, first.String(), andMore(buildspec.Errors(problems)-1))
	}
	if text := unsupported(parsed); text != "" {
		return job, spec, nil, lines, failed(phase, agent.CodeClient, "%s", text)
	}
	values, end := w.secrets(ctx, parsed)
	if end != nil {
		return job, spec, nil, lines, end
	}
	job, planned, skeleton := plan(parsed, &w.b, w.r.Place, spec.name, values)
	lines = append(lines, planned...)
	if parsed.Env.GitCredentialHelper {
		warning, end := w.credential(ctx, &job)
		if end != nil {
			return job, spec, nil, lines, end
		}
		if warning != "" {
			lines = append(lines, "Warning: env.git-credential-helper: "+warning)
		}
	}
	spec.planned = allowed(parsed, &job)
	return job, spec, skeleton, lines, nil
}

// makeSource makes the directory that the source is checked out into. What an earlier attempt left half done goes first. No
// container has had a job here.
func (w *work) makeSource() (string, error) {
	base := w.r.sourceDir(w.b.Sandbox.ID)
	dir := filepath.Join(base, sourcePath(w.b.Repo))
	if w.tree.Mounted() != "" { // the engine mounts over it, and may have begun to
		return dir, os.MkdirAll(dir, 0o755)
	}
	if err := agent.RemoveTree(filepath.Join(base, "src")); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// checkoutInterval is how often the size of a checkout under way is looked at.
const checkoutInterval = 500 * time.Millisecond

// checkout checks the source out, within the build's limit of disk.
func (w *work) checkout(ctx context.Context, dir string) error {
	ctx, tooLarge := context.WithCancelCause(ctx)
	limit := w.b.Settings.Disk
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for sleep(ctx, checkoutInterval) {
			switch used, err := treeSize(ctx, dir); {
			case errors.Is(err, errTooDeep):
				tooLarge(fmt.Errorf("it has more than %d directories in one another: %w", maxDepth, source.ErrTooLarge))
			case limit > 0 && used > limit:
				tooLarge(fmt.Errorf("it has more than %s of files: %w", size(limit), source.ErrTooLarge))
			}
		}
	})
	err := w.tree.Checkout(ctx, dir)
	tooLarge(nil)
	watcher.Wait()
	return err
}

func andMore(n int) string {
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return " (and 1 more error)"
	}
	return fmt.Sprintf(" (and %d more errors)", n)
}

// findSpec finds the buildspec: the text of the build that this one repeats, a text of the project, or a file of the
// source; for a pull request of a project that trusts no other, a file of its base.
func (w *work) findSpec(ctx context.Context, dir string) (specText, *ending) {
	const phase = store.PhaseDownloadSource
	trusted := w.b.Settings.BaseSpec && w.b.Trigger.PullRequest > 0
	if w.b.RerunOf != "" && !trusted { // of what may have been read elsewhere nothing is taken over
		var text []byte
		var name string
		if err := w.r.Store.View(func(tx *store.Tx) error {
			text = tx.Spec(w.b.RerunOf)
			before, err := tx.Build(w.b.RerunOf)
			if errors.Is(err, store.ErrNotFound) { // it is kept no longer
				return nil
			}
			name = before.Spec
			return err
		}); err != nil {
			return specText{}, fault(phase, err) // another text would be another build
		}
		if text != nil && name != "" {
			return specText{name: name, text: text}, nil
		}
	}
	name := w.b.Settings.Buildspec
	if inline(name) {
		return specText{name: inlineName, text: []byte(name)}, nil
	}
	if strings.HasPrefix(name, "arn:") {
		return specText{}, failed(phase, "YAML_FILE_ERROR", "the buildspec is %s: buildspecs in S3 are not supported; name a file of the source, or write the text", name)
	}
	if trusted {
		return w.baseSpec(ctx, name)
	}
	standard := name == ""
	if standard {
		name = "buildspec.yml"
	}
	text, err := readSpec(dir, name)
	switch {
	case err == nil:
		return specText{name: name, text: text}, nil
	case errors.Is(err, fs.ErrNotExist) && standard:
		hint := ""
		if _, err := os.Lstat(filepath.Join(dir, "buildspec.yaml")); err == nil {
			hint = ": buildspec.yaml is there, but the name is buildspec.yml"
		}
		return specText{}, failed(phase, "YAML_FILE_ERROR", "YAML file does not exist%s", hint)
	case errors.Is(err, fs.ErrNotExist):
		return specText{}, failed(phase, "YAML_FILE_ERROR", "stat %s/%s: no such file or directory", agent.SourceDir+"/"+sourcePath(w.b.Repo), name)
	}
	return specText{}, failed(phase, "YAML_FILE_ERROR", "The buildspec %s cannot be read: %v", name, err)
}

// inlineName is what CodeBuild's log calls a buildspec that is no file of the source.
const inlineName = "/codebuild/readonly/buildspec.yml"

// inline reports whether a project's buildspec is its text, and not the name of a file.
func inline(spec string) bool {
	return strings.Contains(spec, "\n") || strings.HasPrefix(spec, "version") || strings.HasPrefix(spec, "{") || strings.HasPrefix(spec, "---")
}

// hand gives the agent its job, unless its sandbox ends first.
func (w *work) hand(ctx context.Context, job agent.Job) *ending {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel(nil)
	ended := errors.New("the sandbox ended before it had the job")
	watcher.Go(func() {
		exit, err := w.r.Sandbox.Wait(ctx, w.b.Sandbox.ID)
		if err == nil {
			w.log.Info("a sandbox ended before it had its job", "sandbox", w.b.Sandbox.ID, "status", exit.Status, "detail", exit.Detail)
			how := strings.TrimSpace(exit.Detail)
			if exit.Gone {
				how = "it is gone"
			} else if how == "" {
				how = fmt.Sprintf("status %d", exit.Status)
			}
			cancel(fmt.Errorf("%w: %s", ended, how))
		}
	})
	err := agent.Hand(ctx, w.r.exchangeDir(w.b.Sandbox.ID), job)
	switch {
	case err == nil:
		return nil
	case w.warm && errors.Is(context.Cause(ctx), ended):
		return warmGone
	}
	return fault(store.PhaseProvisioning, err)
}
