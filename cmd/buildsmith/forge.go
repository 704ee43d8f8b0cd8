package main

import (
	"context"
	"fmt"

	"buildsmith/checks/local"
	"buildsmith/runner/agent"
	"buildsmith/runner/source"
	"buildsmith/store"
)

// An origin is where the commits of a forge's repositories come from.
type origin interface {
	// where gives where a repository's commits come from, and how that of a trigger is wanted there.
	where(r store.Repo, t *store.Trigger) (source.Remote, source.Want)
	// credential is what lets git in a build read the build's repository, and a func that ends its validity; nil where there is none
	// that may be given to builds.
	credential(ctx context.Context, r store.Repo) (*agent.Credential, func(), error)
}

// origin is where repositories of a forge come from; nil if it is not configured any longer.
func (s *server) origin(forge string) origin {
	if forge == local.Name && s.local != nil {
		return localOrigin{s.localForge()}
	}
	if m := s.member(forge); m != nil {
		return m
	}
	return nil
}

// where is origin.where of the repository's forge.
func (s *server) where(r store.Repo, t *store.Trigger) (source.Remote, source.Want, error) {
	from := s.origin(r.Forge)
	if from == nil {
		return source.Remote{}, source.Want{}, fmt.Errorf("forge %s is no longer configured", r.Forge)
	}
	remote, want := from.where(r, t)
	return remote, want, nil
}

// credential is origin.credential of the repository's forge.
func (s *server) credential(ctx context.Context, r store.Repo) (*agent.Credential, func(), error) {
	if from := s.origin(r.Forge); from != nil {
		return from.credential(ctx, r)
	}
	return nil, nil, nil
}

// where implements origin.
func (h *hub) where(r store.Repo, t *store.Trigger) (source.Remote, source.Want) {
	want := source.Want{Commit: t.Commit}
	if t.PullRequest > 0 {
		want.Refs = []string{fmt.Sprintf("refs/pull/%d/head", t.PullRequest)}
	}
	return source.Remote{Key: r.Key(), URL: h.web + "/" + r.Name + ".git",
		Header: func(ctx context.Context) (string, func(), error) { return h.app.CloneHeader(ctx, r) }}, want
}

// credential implements origin.
func (h *hub) credential(ctx context.Context, r store.Repo) (c *agent.Credential, revoke func(), err error) {
	token, expires, err := h.app.CloneToken(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	c = &agent.Credential{URL: h.web + "/" + r.Name + ".git", Username: "x-access-token", Password: token, Expires: expires}
	return c, func() { h.app.Revoke(ctx, r, token) }, nil
}

// localOrigin is the built-in forge: its repositories are their own mirrors.
type localOrigin struct{ forge local.Forge }

// where implements origin.
func (o localOrigin) where(r store.Repo, t *store.Trigger) (source.Remote, source.Want) {
	return source.Remote{Key: r.Key(), URL: r.CloneURL, Path: o.forge.Path(r)}, source.Want{Commit: t.Commit}
}

// credential implements origin.
func (localOrigin) credential(context.Context, store.Repo) (*agent.Credential, func(), error) {
	return nil, nil, nil
}
