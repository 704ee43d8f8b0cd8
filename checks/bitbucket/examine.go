package bitbucket

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"buildsmith/store"
)

// largeSkew is how far clocks may be apart before it is worth knowing.
const largeSkew = 30 * time.Second

// Examine asks what each credential may do, for people to read: whether Bitbucket is there, which kind of token it is, and what does not
// work for want of a right. How the webhooks stand is told as EnsureHooks found them, or asked for if
// it was not called.
func (h *Host) Examine(ctx context.Context) []Finding {
	if len(h.credentials) == 0 {
		return []Finding{{About: h.host(), Text: "no credential is configured: nothing of this Bitbucket is built", Problem: true}}
	}
	repos, err := h.Repositories(ctx)
	if ctx.Err() != nil {
		return []Finding{{About: h.host(), Text: "the look was broken off", Problem: true}}
	}
	var list []Finding
	if _, ok := h.Skew(); !ok {
		return []Finding{{About: h.host(), Text: fmt.Sprintf("%s does not answer: %v", h.API, err), Problem: true}}
	}
	unread := h.Unread()
	for _, c := range h.credentials {
		list = append(list, h.examineOne(ctx, c, repos, unread)...)
	}
	hooked := h.Hooked()
	for _, name := range slices.Sorted(maps.Keys(hooked)) {
		if err := hooked[name]; err != nil {
			list = append(list, Finding{Installation: h.Installation(name), About: name, Text: err.Error(), Problem: true})
		}
	}
	if h.Hook != "" && len(hooked) == 0 {
		list = append(list, h.findHooks(ctx, repos)...)
	}
	if skew, _ := h.Skew(); skew.Abs() > largeSkew {
		word := "ahead of"
		if skew < 0 {
			word = "behind"
		}
		list = append(list, Finding{About: h.host(), Note: true, Text: fmt.Sprintf("this machine's clock is %v %s Bitbucket's", skew.Abs().Round(time.Second), word)})
	}
	return list
}

// examineOne asks what one credential may do, of the first repository that it reaches.
func (h *Host) examineOne(ctx context.Context, c *credential, repos []store.Repo, unread map[string]error) (list []Finding) {
	var first store.Repo
	count := 0
	for _, r := range repos {
		if r.Installation == c.number {
			if count++; first.ID == "" {
				first = r
			}
		}
	}
	kind := "an access token"
	switch {
	case c.Consumer.Key != "":
		kind = "an OAuth consumer"
	case c.Email != "":
		kind = "an API token of " + c.Email
	case h.DataCenter && c.Username != "":
		kind = "an HTTP access token of " + c.Username
	case h.DataCenter:
		kind = "an HTTP access token"
	}
	list = append(list, Finding{Installation: c.number, About: c.title(), Text: fmt.Sprintf("%s; repositories: %d", kind, count)})
	for _, name := range slices.Sorted(maps.Keys(unread)) {
		if slices.ContainsFunc(c.Repositories, func(of string) bool { return strings.EqualFold(of, name) }) {
			list = append(list, Finding{Installation: c.number, About: name, Text: fmt.Sprintf("it cannot be read: %v", unread[name]), Problem: true})
		}
	}
	return append(list, h.api.examine(ctx, c, first)...)
}
