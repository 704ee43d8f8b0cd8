package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"buildsmith/store"
)

// PullRequest implements webhook.Forge.
func (h *Host) PullRequest(ctx context.Context, r store.Repo, number int) (store.PullRequest, error) {
	return h.api.pullRequest(ctx, r, number)
}

// Complete implements webhook.Completer.
func (h *Host) Complete(ctx context.Context, r store.Repo, pr *store.PullRequest) error {
	return h.api.complete(ctx, r, pr)
}

// Permission implements webhook.Forge. People whom the configuration names are not asked for.
func (h *Host) Permission(ctx context.Context, r store.Repo, who store.Account) (store.Permission, error) {
	if who.ID == "" {
		return store.PermissionNone, nil
	}
	if permission, ok := h.People[who.ID]; ok {
		return permission, nil
	}
	return h.api.permission(ctx, r, who)
}

// Commit implements webhook.Forge.
func (h *Host) Commit(ctx context.Context, r store.Repo, version string) (store.Commit, error) {
	return h.api.commit(ctx, r, version)
}

// FileID implements webhook.Forge. A file that is too large to be read is another one in each commit: whoever can put one there must not
// keep what is asked for it from ever being answered.
func (h *Host) FileID(ctx context.Context, r store.Repo, commit, path string) (string, error) {
	id, err := h.api.fileID(ctx, r, commit, path)
	if errors.Is(err, errTooLarge) {
		h.Log.Warn("a file is too large to be compared", "repo", r.Name, "commit", commit, "file", path, "err", err)
		return "large in " + r.ID + " " + commit, nil
	}
	return id, err
}

// Owns implements webhook.Forge.
func (h *Host) Owns(ctx context.Context, r store.Repo, version, commit string) (bool, error) {
	if !store.ValidHash(commit) {
		return false, fmt.Errorf("%q is no full hash of a commit", commit)
	}
	return h.api.owns(ctx, r, version, commit)
}

// Acknowledge implements webhook.Forge.
func (h *Host) Acknowledge(ctx context.Context, r store.Repo, c store.Comment, with store.Reaction) error {
	return h.api.acknowledge(ctx, r, c, with)
}

// Look implements webhook.Looker.
func (h *Host) Look(ctx context.Context, r store.Repo) (store.Standing, error) {
	return h.api.look(ctx, r)
}

// Comments implements webhook.Looker. Ours are those that have a mark of ours, or are by the account that we act as. Where somebody wrote so
// much that it cannot be read, there are none: he must not keep others' pull requests from being looked at.
func (h *Host) Comments(ctx context.Context, r store.Repo, number int, since time.Time) ([]store.Comment, error) {
	c, err := h.of(r)
	if err != nil {
		return nil, err
	}
	list, err := h.api.comments(ctx, r, number, since)
	if errors.Is(err, errTooLarge) {
		h.Log.Warn("the comments on a pull request are too long to be read; commands among them that were not delivered are not obeyed", "repo", r.Name, "pull", number, "err", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var others []store.Comment
	for _, one := range list {
		if own := c.self(); strings.Contains(one.Body, store.CommentMark) || own != "" && one.Author.ID == own {
			continue
		}
		others = append(others, one.Comment)
	}
	return others, nil
}

// Repositories implements webhook.Looker. What one credential cannot read is logged, and told by Unread; it is an error only if
// nothing can be read.
func (h *Host) Repositories(ctx context.Context) ([]store.Repo, error) {
	var list []store.Repo
	var failed error
	seen, byName, unread := map[string]bool{}, map[string]bool{}, map[string]error{}
	for _, c := range h.credentials {
		for _, name := range c.Repositories {
			if byName[strings.ToLower(name)] {
				continue // of a credential before
			}
			some, err := h.named(ctx, c, name)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
				unread[name] = err
				h.Log.Warn("looking for repositories", "forge", h.Name, "repo", name, "err", err)
			}
			for _, r := range some {
				if seen[r.ID] {
					continue
				}
				seen[r.ID], byName[strings.ToLower(r.Name)] = true, true
				list = append(list, r)
				h.known.reached(r)
			}
		}
	}
	h.known.failed(unread)
	if len(list) > 0 {
		failed = nil
	}
	slices.SortFunc(list, func(a, b store.Repo) int { return strings.Compare(a.Name, b.Name) })
	return list, failed
}

// named gives the repositories of a credential that one name stands for. Of those that it can read, with an error too.
func (h *Host) named(ctx context.Context, c *credential, name string) ([]store.Repo, error) {
	if owner, ok := strings.CutSuffix(name, "/*"); ok {
		return h.api.within(ctx, c, owner)
	}
	r, err := h.repository(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return []store.Repo{r}, nil
}

// Unread gives what could not be read when Repositories looked last, by the name in the configuration.
func (h *Host) Unread() map[string]error {
	h.known.mu.Lock()
	defer h.known.mu.Unlock()
	return h.known.unread
}

// known is what is known of repositories beside what the store has.
type known struct {
	mu     sync.Mutex
	byName map[string]int64  // number of the credential that a repository was reached by, by its name in small letters
	mains  map[string]string // default branches, likewise
	unread map[string]error
	others map[string]bool      // comments, by number of the credential that may not change them
	gone   map[string]time.Time // when a shortened hash was none last, likewise
	hashes map[string]string    // full, by where it is and the shortened one
}

// reached remembers by which credential a repository was reached.
func (k *known) reached(r store.Repo) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byName == nil {
		k.byName, k.mains = map[string]int64{}, map[string]string{}
	}
	k.byName[strings.ToLower(r.Name)], k.mains[strings.ToLower(r.Name)] = r.Installation, r.DefaultBranch
}

// DefaultBranch gives that of a repository by its name, as Repositories found it last; empty if it did not. No delivery tells it.
func (h *Host) DefaultBranch(repo string) string {
	h.known.mu.Lock()
	defer h.known.mu.Unlock()
	return h.known.mains[strings.ToLower(repo)]
}

func (k *known) failed(unread map[string]error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unread = unread
}

func (k *known) owner(name string) (number int64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	number, ok = k.byName[strings.ToLower(name)]
	return number, ok
}

// maxHashes bounds how many shortened hashes are remembered.
const maxHashes = 10_000

// full gives the full hash that a shortened one was found to be in a repository, by its id.
func (k *known) full(repo, short string) (hash string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	hash, ok = k.hashes[repo+" "+short]
	return hash, ok
}

// resolved remembers what a shortened hash is in a repository: a hash stands for one commit for ever.
func (k *known) resolved(repo, short, hash string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hashes == nil || len(k.hashes) >= maxHashes {
		k.hashes = map[string]string{}
	}
	k.hashes[repo+" "+short] = hash
}

// missed remembers that a shortened hash is none in a repository.
func (k *known) missed(repo, short string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone == nil || len(k.gone) >= maxHashes {
		k.gone = map[string]time.Time{}
	}
	k.gone[repo+" "+short] = now
}

// lately reports whether a shortened hash was none in a repository a while ago.
func (k *known) lately(repo, short string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.gone[repo+" "+short]
	return ok && now.Sub(at).Abs() < missedFor
}

// notOurs remembers a comment that a credential may not change.
func (k *known) notOurs(c *credential, comment int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.others == nil || len(k.others) >= maxHashes {
		k.others = map[string]bool{}
	}
	k.others[fmt.Sprint(c.number, " ", comment)] = true
}

func (k *known) isNotOurs(c *credential, comment int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.others[fmt.Sprint(c.number, " ", comment)]
}
