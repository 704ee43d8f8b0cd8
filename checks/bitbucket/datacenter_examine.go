package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"buildsmith/store"
)

// usualGroup is a group that every server has had at first.
const usualGroup = "stash-users"

// A dcNeed is a right that a credential should have, with a question that takes it.
type dcNeed struct {
	where func(*place) string
	query url.Values
	right string
	why   string // what does not work without it
	note  bool   // much works without it
}

// needs are the rights that a credential should have. What it writes, build statuses, reports and comments, takes the first alone.
func (d *dataCenter) needs() []dcNeed {
	one := url.Values{"limit": {"1"}}
	people := "what people may do is not known where %s: name them under people in the configuration"
	return []dcNeed{
		{inRepo("api", "/pull-requests"), one, "REPO_READ", "nothing is built", false},
		{inRepo("api", "/webhooks"), one, repoAdmin, "webhooks must be made by hand", true},
		{inRepo("api", "/permissions/users"), one, repoAdmin, fmt.Sprintf(people, "the repository gives it"), true},
		{inProject("api", "/permissions/users"), one, projectAdmin, fmt.Sprintf(people, "the project gives it"), true},
		{anywhere(membersPath), url.Values{"context": {usualGroup}, "limit": {"1"}}, licensedUser, fmt.Sprintf(people, "a group gives it"), true},
	}
}

func (d *dataCenter) examine(ctx context.Context, c *credential, r store.Repo) (found []Finding) {
	say := func(problem, note bool, format string, args ...any) {
		found = append(found, Finding{Installation: c.number, About: c.title(), Text: fmt.Sprintf(format, args...), Problem: problem, Note: note})
	}
	v, who, err := d.properties(ctx, c)
	if errors.Is(err, store.ErrNotFound) {
		say(true, false, "no Data Center is at %s (%v): look at url, with the path below which Bitbucket lies, and at kind", d.h.Web, err)
		return found
	}
	if err != nil {
		say(true, false, "%v", err)
		return found
	}
	if v.before(firstTried) {
		say(false, true, "Data Center %s is older than %s, the oldest that was tried", v, firstTried)
	}
	if who.Login == "" {
		say(true, false, "Bitbucket does not know whose the token is: it has expired, was revoked, or is of another kind")
		return found
	}
	if c.Username != "" && !strings.EqualFold(c.Username, who.Login) {
		say(true, false, "the username is %s in the configuration, and the token is that of %s: git needs the one that it is of", c.Username, who.Login)
	}
	if r.ID == "" { // that it can read none is told already
		return found
	}
	lacks := false
	for _, need := range d.needs() {
		err := d.ask(ctx, r, dcRequest{where: need.where, query: need.query, quiet: true}, nil)
		switch p := (&place{name: r.Name}); {
		case err == nil, errors.Is(err, store.ErrNotFound) && need.right == licensedUser: // there is no such group
		case denied(err), errors.Is(err, store.ErrNotFound):
			lacks = true
			say(!need.note, need.note, "%s lacks %s, which GET %s takes in %s; without it %s", who.Login, need.right, pattern(need.where(p)), r.Name, need.why)
		default:
			lacks = true
			say(true, false, "%v", err)
		}
	}
	if !lacks {
		say(false, false, "Data Center %s, as %s, with every right that is needed", v, who.Login)
	}
	return found
}
