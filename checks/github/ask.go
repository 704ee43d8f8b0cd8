package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"buildsmith/store"

	"github.com/google/go-github/v60/github"
)

type user struct {
	ID    int64
	Login string
	Type  string
}

func (u user) account() store.Account {
	return store.Account{ID: strconv.FormatInt(u.ID, 10), Login: u.Login, Bot: u.Type == "Bot"}
}

// PullRequest implements webhook.Forge.
func (a *App) PullRequest(ctx context.Context, r store.Repo, number int) (store.PullRequest, error) {
	var p struct {
		Number int
		State  string
		Title  string
		User   user
		Head   struct {
			Ref, SHA string
			Repo     *struct{ ID int64 }
		}
		Base struct{ Ref string }
	}
	if err := a.do(ctx, r, http.MethodGet, fmt.Sprintf("/pulls/%d", number), nil, &p); err != nil {
		return store.PullRequest{}, err
	}
	pr := store.PullRequest{
		Number: p.Number, Open: p.State == "open", Title: p.Title, Author: p.User.account(),
		Head: p.Head.SHA, HeadRef: "refs/heads/" + p.Head.Ref, BaseRef: "refs/heads/" + p.Base.Ref,
	}
	if p.Head.Repo != nil {
		pr.HeadRepo = strconv.FormatInt(p.Head.Repo.ID, 10)
	}
	return pr, nil
}

// Permission implements webhook.Forge. The answer must be about the account that was asked for, not about another one that
// has its name now.
func (a *App) Permission(ctx context.Context, r store.Repo, who store.Account) (store.Permission, error) {
	if who.Login == "" {
		return store.PermissionNone, nil
	}
	var p struct {
		Permission string
		User       *user
	}
	err := a.do(ctx, r, http.MethodGet, "/collaborators/"+url.PathEscape(who.Login)+"/permission", nil, &p)
	if errors.Is(err, store.ErrNotFound) {
		return store.PermissionNone, nil
	}
	if err != nil {
		return store.PermissionNone, err
	}
	if p.User != nil && p.User.account().ID != who.ID {
		return store.PermissionNone, nil
	}
	switch p.Permission {
	case "admin":
		return store.PermissionAdmin, nil
	case "write", "maintain":
		return store.PermissionWrite, nil
	case "read", "triage":
		return store.PermissionRead, nil
	}
	return store.PermissionNone, nil
}

// Commit implements webhook.Forge.
func (a *App) Commit(ctx context.Context, r store.Repo, version string) (store.Commit, error) {
	if number, ok := strings.CutPrefix(version, "pr/"); ok {
		if n, err := strconv.Atoi(number); err == nil {
			pr, err := a.PullRequest(ctx, r, n)
			if err != nil {
				return store.Commit{}, err
			}
			version = pr.Head
		}
	}
	if version == "" {
		version = "HEAD"
	} else if !store.ValidRef("refs/heads/" + version) {
		return store.Commit{}, fmt.Errorf("%q: %w", version, store.ErrNotFound)
	}
	var c struct {
		SHA    string
		Commit struct{ Message string }
	}
	err := a.do(ctx, r, http.MethodGet, "/commits/"+escape(strings.TrimPrefix(version, "refs/")), nil, &c)
	var failed *github.ErrorResponse
	if errors.As(err, &failed) && (failed.Response.StatusCode == http.StatusUnprocessableEntity || failed.Response.StatusCode == http.StatusConflict) {
		return store.Commit{}, fmt.Errorf("%q: %w: %w", version, store.ErrNotFound, err)
	}
	if err == nil && !store.ValidHash(c.SHA) {
		err = fmt.Errorf("GitHub names no commit for %q", version)
	}
	return store.Commit{Hash: c.SHA, Message: c.Commit.Message}, err
}

// HasFile implements webhook.Forge.
func (a *App) HasFile(ctx context.Context, r store.Repo, commit, path string) (bool, error) {
	err := a.do(ctx, r, http.MethodGet, "/contents/"+escape(path)+"?ref="+url.QueryEscape(commit), nil, io.Discard)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Acknowledge implements webhook.Forge.
func (a *App) Acknowledge(ctx context.Context, r store.Repo, c store.Comment, with store.Reaction) error {
	return a.do(ctx, r, http.MethodPost, fmt.Sprintf("/issues/comments/%d/reactions", c.ID), map[string]string{"content": string(with)}, nil)
}
