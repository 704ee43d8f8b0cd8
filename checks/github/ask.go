package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

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
		Base           struct{ Ref, SHA string }
		Draft, Merged  bool
		MergeCommitSHA string    `json:"merge_commit_sha"`
		UpdatedAt      time.Time `json:"updated_at"`
	}
	if err := a.do(ctx, r, http.MethodGet, fmt.Sprintf("/pulls/%d", number), nil, &p); err != nil {
		return store.PullRequest{}, err
	}
	pr := store.PullRequest{
		Number: p.Number, Open: p.State == "open", Title: p.Title, Author: p.User.account(),
		Head: p.Head.SHA, HeadRef: "refs/heads/" + p.Head.Ref, BaseRef: "refs/heads/" + p.Base.Ref, Base: p.Base.SHA, Draft: p.Draft,
		Updated: p.UpdatedAt,
	}
	if p.Merged {
		pr.Merged = p.MergeCommitSHA
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
		Role       string `json:"role_name"`
		User       *user
	}
	err := a.do(ctx, r, http.MethodGet, "/collaborators/"+url.PathEscape(who.Login)+"/permission", nil, &p)
	if errors.Is(err, store.ErrNotFound) {
		return store.PermissionNone, nil
	}
	if err != nil {
		return store.PermissionNone, err
	}
	if p.User == nil || p.User.account().ID != who.ID {
		return store.PermissionNone, nil
	}
	// The role tells maintain and triage apart, which the permission calls write and read; a role of an organisation's own has
	// any name, and then the permission counts.
	switch {
	case p.Permission == "admin":
		return store.PermissionAdmin, nil
	case p.Permission == "maintain", p.Permission == "write" && p.Role == "maintain":
		return store.PermissionMaintain, nil
	case p.Permission == "write":
		return store.PermissionWrite, nil
	case p.Permission == "triage", p.Permission == "read" && p.Role == "triage":
		return store.PermissionTriage, nil
	case p.Permission == "read":
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
	return a.commit(ctx, r, strings.TrimPrefix(version, "refs/"))
}

// commit gives what GitHub calls a ref: a hash, a branch, a tag, heads/<branch>, tags/<tag>.
func (a *App) commit(ctx context.Context, r store.Repo, ref string) (store.Commit, error) {
	var c struct {
		SHA    string
		Commit struct{ Message string }
	}
	err := a.ofCommit(ctx, r, "/commits/"+escape(ref), &c)
	if err == nil && !store.ValidHash(c.SHA) {
		err = fmt.Errorf("GitHub names no commit for %q", ref)
	}
	return store.Commit{Hash: c.SHA, Message: c.Commit.Message}, err
}

// ofCommit asks something of a commit. GitHub has two more ways to say that there is no such thing.
func (a *App) ofCommit(ctx context.Context, r store.Repo, path string, v any) error {
	err := a.do(ctx, r, http.MethodGet, path, nil, v)
	var failed *github.ErrorResponse
	if errors.As(err, &failed) && (failed.Response.StatusCode == http.StatusUnprocessableEntity || failed.Response.StatusCode == http.StatusConflict) {
		return fmt.Errorf("%w: %w", store.ErrNotFound, err)
	}
	return err
}

// Owns implements webhook.Forge. GitHub gives every commit of the network of forks below each of its repositories. Those of
// the repository itself are what the branch or tag of that name holds, the heads of its branches, and what its default
// branch leads to; whether another branch leads to a commit, GitHub does not tell in a few questions.
func (a *App) Owns(ctx context.Context, r store.Repo, version, commit string) (bool, error) {
	if !store.ValidHash(commit) {
		return false, fmt.Errorf("%q is no full hash of a commit", commit)
	}
	for _, ref := range store.NamedRefs(version, commit) {
		c, err := a.commit(ctx, r, ref)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if c.Hash == commit {
			return true, nil
		}
	}
	var heads []struct{ Name string }
	if err := a.ofCommit(ctx, r, "/commits/"+commit+"/branches-where-head", &heads); err != nil || len(heads) > 0 {
		return err == nil, err
	}
	var compared struct{ Status string }
	base := cmp.Or(r.DefaultBranch, "HEAD")
	// One commit a page: they are not what is asked for.
	err := a.ofCommit(ctx, r, "/compare/"+escape(base+"..."+commit)+"?per_page=1", &compared)
	if errors.Is(err, store.ErrNotFound) { // they have nothing in common
		return false, nil
	}
	return compared.Status == "identical" || compared.Status == "behind", err
}

// FileID implements webhook.Forge.
func (a *App) FileID(ctx context.Context, r store.Repo, commit, path string) (string, error) {
	var answer json.RawMessage
	err := a.do(ctx, r, http.MethodGet, "/contents/"+escape(path)+"?ref="+url.QueryEscape(commit), nil, &answer)
	if errors.Is(err, store.ErrNotFound) || err == nil && bytes.HasPrefix(answer, []byte("[")) { // a list is that of a directory
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var file struct{ SHA string }
	err = json.Unmarshal(answer, &file)
	return file.SHA, err
}

// Acknowledge implements webhook.Forge.
func (a *App) Acknowledge(ctx context.Context, r store.Repo, c store.Comment, with store.Reaction) error {
	return again(ctx, func() error {
		return a.do(ctx, r, http.MethodPost, fmt.Sprintf("/issues/comments/%d/reactions", c.ID), map[string]string{"content": string(with)}, nil)
	})
}
