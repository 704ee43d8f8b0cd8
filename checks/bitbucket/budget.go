package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// Cloud takes a thousand requests in an hour of one account, questions and all. A server where nothing happens is to make less than a third
// of them: looks at repositories are counted, and what is asked of each repository by itself, which one it is and how its webhooks stand, is
// asked the less often the more repositories there are. A Data Center limits what it likes to by itself.
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/
const (
	looksPerHour       = 80  // of an account. A look is two requests, or a few more
	lonelyLooksPerHour = 120 // where no webhooks have to be looked at
	// fewHooks is how many repositories of an account have their webhooks looked at whenever EnsureHooks is called.
	fewHooks = 10
)

// LooksPerHour implements webhook.Looker.
func (h *Host) LooksPerHour() int {
	if h.DataCenter {
		return 0
	}
	shared := 1
	for _, c := range h.credentials {
		shared = max(shared, c.shared)
	}
	if h.Hook == "" {
		return max(1, lonelyLooksPerHour/shared)
	}
	return max(1, looksPerHour/shared)
}

// share has credentials of one account, as far as that is known, share what Bitbucket says of its limits.
func (h *Host) share() {
	first := map[string]int64{}
	count := map[int64]int{}
	for _, c := range h.credentials {
		account := "token " + c.Token
		switch {
		case c.Email != "":
			account = "email " + strings.ToLower(c.Email)
		case c.Consumer.Key != "":
			account = "consumer " + c.Consumer.Key
		}
		if first[account] == 0 {
			first[account] = c.number
		}
		c.account = first[account]
		count[c.account]++
	}
	for _, c := range h.credentials {
		c.shared = count[c.account]
	}
}

// Limited gives the numbers of the credentials with which Bitbucket takes no requests now, with the time when it will.
func (h *Host) Limited() map[int64]time.Time {
	all, list := h.limits.All(), map[int64]time.Time{}
	for _, c := range h.credentials {
		if until, ok := all[c.account]; ok {
			list[c.number] = until
		}
	}
	return list
}

// asked is what was asked of each repository by itself, and when.
type asked struct {
	mu     sync.Mutex
	names  map[string]askedName // by number of the credential and name
	hooks  map[string]time.Time // by the repository's key
	forgot time.Time            // when AskAnew was called last
}

// An askedName is the answer to what repository has a name.
type askedName struct {
	repo store.Repo
	err  error
	at   time.Time
}

// age is how old an answer may be of which there is one for each of n things of a credential: they take no more than sixty requests of an
// hour. Up to few of them are always asked for.
func (c *credential) age(n, few int) time.Duration {
	if n *= c.shared; c.h.DataCenter || n <= few {
		return 0
	}
	return time.Duration(n) * time.Minute
}

// repository gives the repository of a name, as it is or as it was a while ago.
func (h *Host) repository(ctx context.Context, c *credential, name string) (store.Repo, error) {
	key := fmt.Sprint(c.number, " ", strings.ToLower(name))
	h.asked.mu.Lock()
	last, ok := h.asked.names[key]
	h.asked.mu.Unlock()
	if ok && h.Now().Sub(last.at).Abs() < c.age(len(c.Repositories), 1) {
		return last.repo, last.err
	}
	r, err := h.api.repository(ctx, c, name)
	if err == nil || lasting(err) {
		h.asked.mu.Lock()
		defer h.asked.mu.Unlock()
		if h.asked.names == nil {
			h.asked.names = map[string]askedName{}
		}
		h.asked.names[key] = askedName{r, err, h.Now()}
	}
	return r, err
}

// lasting reports whether an answer that is no success is one that will be the same for a while.
func lasting(err error) bool {
	status := statusOf(err)
	return status >= 400 && status < 500 && !errors.As(err, new(*checks.WaitError))
}

// hookDue reports whether the webhooks of a repository are to be looked at again; of is how many repositories its credential has.
func (h *Host) hookDue(r store.Repo, of int) bool {
	c, err := h.of(r)
	if err != nil {
		return true
	}
	h.asked.mu.Lock()
	defer h.asked.mu.Unlock()
	at, ok := h.asked.hooks[r.Key()]
	return !ok || h.Now().Sub(at).Abs() >= c.age(of, fewHooks)
}

// hookAsked remembers that the webhooks of a repository were looked at.
func (h *Host) hookAsked(r store.Repo) {
	h.asked.mu.Lock()
	defer h.asked.mu.Unlock()
	if h.asked.hooks == nil {
		h.asked.hooks = map[string]time.Time{}
	}
	h.asked.hooks[r.Key()] = h.Now()
}

// AskAnew has everything asked for again that is remembered for a while, because a person wants it; not so often that it takes too many
// requests.
func (h *Host) AskAnew() {
	h.asked.mu.Lock()
	defer h.asked.mu.Unlock()
	now := h.Now()
	pause := time.Duration(len(h.asked.names)+len(h.asked.hooks)) * 10 * time.Second
	if now.Sub(h.asked.forgot).Abs() < pause {
		return
	}
	h.asked.names, h.asked.hooks, h.asked.forgot = nil, nil, now
}
