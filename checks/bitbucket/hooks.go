package bitbucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// hookName is what people know a webhook of ours by.
const hookName = "buildsmith"

// Between two repositories whose webhooks are looked at there is a pause, a longer one if they are many, so that there are requests left
// for other things.
const (
	hookPause     = 200 * time.Millisecond
	longHookPause = 2 * time.Second
	manyHooks     = 30
)

// hooked is how the webhooks stand.
type hooked struct {
	busy sync.Mutex // held during a look

	mu     sync.Mutex
	errs   map[string]error    // by the name of the repository, nil where all is well
	signed map[string][32]byte // digests of what webhooks were told, by the repository's key
}

// Hooked gives how the webhooks of the repositories stood when EnsureHooks looked last: nil for those that are as they should be.
func (h *Host) Hooked() map[string]error {
	h.hooked.mu.Lock()
	defer h.hooked.mu.Unlock()
	return maps.Clone(h.hooked.errs)
}

// EnsureHooks has every repository deliver to Config.Hook: a webhook is made where there is none, and mended where it is not as it
// should be; others of ours are removed. A secret cannot be read, so that it is told once after each start. What one repository refuses
// keeps none of the others; errors name the repository and what is missing.
func (h *Host) EnsureHooks(ctx context.Context) error {
	if h.Hook == "" {
		return nil
	}
	h.hooked.busy.Lock()
	defer h.hooked.busy.Unlock()
	repos, failed := h.Repositories(ctx)
	if failed == nil {
		for name, err := range h.Unread() {
			failed = errors.Join(failed, fmt.Errorf("the webhook of %s: %w", name, err))
		}
	}
	between := hookPause
	if len(repos) > manyHooks {
		between = longHookPause
	}
	waits := map[int64]error{}
	for n, r := range repos {
		err := waits[r.Installation]
		if err == nil {
			if n > 0 && !pause(ctx, between) {
				return errors.Join(failed, ctx.Err())
			}
			err = h.ensureHook(ctx, r)
		}
		if ctx.Err() != nil {
			return errors.Join(failed, ctx.Err())
		}
		if wait := (*checks.WaitError)(nil); errors.As(err, &wait) {
			waits[r.Installation] = wait // the others of the credential would wait as well
		}
		if err != nil {
			err = fmt.Errorf("the webhook of %s: %w", r.Name, err)
			failed = errors.Join(failed, err)
		}
		h.hooked.mu.Lock()
		if h.hooked.errs == nil {
			h.hooked.errs = map[string]error{}
		}
		h.hooked.errs[r.Name] = err
		h.hooked.mu.Unlock()
	}
	h.hooked.mu.Lock()
	maps.DeleteFunc(h.hooked.errs, func(name string, _ error) bool {
		return !slices.ContainsFunc(repos, func(r store.Repo) bool { return r.Name == name })
	})
	h.hooked.mu.Unlock()
	return failed
}

// pause waits, and reports whether it did to the end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// ensureHook has one repository deliver.
func (h *Host) ensureHook(ctx context.Context, r store.Repo) error {
	list, err := h.api.hooks(ctx, r)
	if err != nil {
		return h.hookError(r, err)
	}
	want := hook{Name: hookName, URL: h.Hook, Active: true, Secret: h.HookSecret, Signed: h.HookSecret != "", Events: h.api.events(), Strict: true}
	digest := sha256.Sum256([]byte(h.Hook + "\n" + h.HookSecret))
	var own *hook
	var superfluous []hook
	for n := range list {
		switch one := &list[n]; {
		case !h.ours(one):
		case own == nil:
			own = one
		case own.URL != h.Hook && one.URL == h.Hook:
			own, superfluous = one, append(superfluous, *own)
		default:
			superfluous = append(superfluous, *one)
		}
	}
	h.hooked.mu.Lock()
	told := h.hooked.signed[r.Key()] == digest
	h.hooked.mu.Unlock()
	switch {
	case own == nil:
		err = h.api.makeHook(ctx, r, want)
	case !told || !same(own, &want):
		want.ID = own.ID
		err = h.api.changeHook(ctx, r, want)
	}
	if err != nil {
		return h.hookError(r, err)
	}
	h.hooked.mu.Lock()
	if h.hooked.signed == nil {
		h.hooked.signed = map[string][32]byte{}
	}
	h.hooked.signed[r.Key()] = digest
	h.hooked.mu.Unlock()
	for _, one := range superfluous {
		if err := h.api.removeHook(ctx, r, one.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return h.hookError(r, fmt.Errorf("one too many: %w", err))
		}
	}
	return nil
}

// maxHooksSeen is of how many repositories of a credential findHooks looks at the webhooks.
const maxHooksSeen = 10

// findHooks says of repositories whether they deliver to Config.Hook, without changing anything: for who has not called EnsureHooks.
func (h *Host) findHooks(ctx context.Context, repos []store.Repo) (list []Finding) {
	seen := map[int64]int{}
	for _, r := range repos {
		if seen[r.Installation]++; seen[r.Installation] > maxHooksSeen {
			continue
		}
		f := Finding{Installation: r.Installation, About: r.Name}
		found, err := h.api.hooks(ctx, r)
		at := slices.IndexFunc(found, func(one hook) bool { return one.URL == h.Hook })
		switch {
		case err != nil:
			f.Problem, f.Text = true, fmt.Sprintf("its webhooks cannot be seen: %v", h.hookError(r, err))
		case at < 0:
			f.Note, f.Text = true, fmt.Sprintf("no webhook delivers to %s; the server makes it when it starts", h.Hook)
		case !found[at].Active:
			f.Note, f.Text = true, fmt.Sprintf("the webhook to %s is switched off; the server switches it on when it starts", h.Hook)
		case !found[at].Signed:
			f.Note, f.Text = true, fmt.Sprintf("the webhook to %s has no secret; the server gives it one when it starts", h.Hook)
		default:
			continue
		}
		list = append(list, f)
	}
	return list
}

// ours reports whether a webhook is one that this server made: it delivers to the server's address, or has our name and delivers to what
// was that address before: the same host. Another server's of the same name delivers to another host.
func (h *Host) ours(one *hook) bool {
	if one.URL == h.Hook {
		return true
	}
	theirs, err := url.Parse(one.URL)
	if err != nil || one.Name != hookName {
		return false
	}
	mine, err := url.Parse(h.Hook)
	return err == nil && theirs.Hostname() == mine.Hostname()
}

// same reports whether a webhook is as it should be, as far as it can be seen.
func same(a, b *hook) bool {
	return a.Name == b.Name && a.URL == b.URL && a.Active == b.Active && a.Signed == b.Signed && a.Strict == b.Strict &&
		slices.Equal(slices.Sorted(slices.Values(a.Events)), slices.Sorted(slices.Values(b.Events)))
}

// hookError says what to do about an error of a request for webhooks.
func (h *Host) hookError(r store.Repo, err error) error {
	switch statusOf(err) {
	case http.StatusForbidden, http.StatusNotFound:
		right := "the scope webhook, and the scopes of its events: repository and pullrequest"
		if h.DataCenter {
			right = "the permission REPO_ADMIN"
		}
		return fmt.Errorf("%w; give the credential %s, or make the webhook by hand, to %s", err, right, h.Hook)
	}
	return err
}
