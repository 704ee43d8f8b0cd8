package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"buildsmith/runner/source"
	"buildsmith/store"
)

// baseSpec reads the buildspec of a pull request from the commit that its branch is to go to, so that whoever opens a pull
// request does not say what is run. A re-run reads the same commit again.
func (w *work) baseSpec(ctx context.Context, name string) (specText, *ending) {
	const phase, code = store.PhaseDownloadSource, "YAML_FILE_ERROR"
	if name == "" {
		name = "buildspec.yml"
	}
	t := &w.b.Trigger
	if t.BaseCommit == "" {
		return specText{}, failed(phase, code, "The buildspec is to be read from the base of pull request %d, and which commit that is, is not known: "+
			"push to the pull request, and the forge tells it.", t.PullRequest)
	}
	text, err := w.tree.File(ctx, t.BaseCommit, name, maxSpecSize-1)
	switch {
	case err == nil:
		note := fmt.Sprintf("The buildspec %s is that of the base %.12s, not of pull request %d.", name, t.BaseCommit, t.PullRequest)
		return specText{name: name, text: text, note: note}, nil
	case errors.Is(err, fs.ErrNotExist):
		return specText{}, failed(phase, code, "The base %.12s of pull request %d has no buildspec %s: this project builds pull requests by the buildspec "+
			"of the branch that they go to, so it has to be there first.", t.BaseCommit, t.PullRequest, name)
	case errors.Is(err, source.ErrGone):
		return specText{}, failed(phase, code, "The buildspec is to be read from %.12s, the base of pull request %d, and the repository has that commit no longer.",
			t.BaseCommit, t.PullRequest)
	case errors.Is(err, source.ErrTooLarge):
		return specText{}, failed(phase, code, "The buildspec %s of the base %.12s has more than 1 MiB.", name, t.BaseCommit)
	case ctx.Err() == nil && errors.Is(err, source.ErrNoFile):
		return specText{}, failed(phase, code, "The buildspec cannot be read from the base of pull request %d: %v", t.PullRequest, err)
	}
	return specText{}, fault(phase, err)
}

// addNote adds what people should know of a build, once; nothing if it is empty.
func addNote(b *store.Build, note string) {
	if note != "" && !slices.Contains(b.Notes, note) {
		b.Notes = append(b.Notes, note)
	}
}
