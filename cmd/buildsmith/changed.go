package main

import (
	"context"
	"errors"
	"fmt"

	"buildsmith/runner"
	"buildsmith/runner/source"
	"buildsmith/store"
)

// changedFiles are the files that a commit changes, as the mirror of its repository has them: see webhook.Config. Of very many
// it gives as many as have room.
func (s *server) changedFiles(ctx context.Context, r store.Repo, t *store.Trigger, base string) ([]string, error) {
	names, err := runner.GitSource{Mirrors: s.mirrors, Where: s.where}.ChangedFiles(ctx, r, t, base)
	switch {
	case errors.Is(err, source.ErrTooLarge):
		s.log.Warn("a commit changes too many files to list them all", "repo", r.Name, "listed", len(names), "err", err)
		return names, nil
	case errors.Is(err, source.ErrGone):
		return nil, fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return names, err
}
