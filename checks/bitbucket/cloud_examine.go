package bitbucket

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"buildsmith/store"
)

// A cloudNeed is a right that a credential of Cloud needs, by its name for access tokens and consumers, and for API tokens.
type cloudNeed struct {
	scope, granular string
	path            string // below the repository: what is asked to find out; empty for what cannot be without changing something
	lost            string // what does not work without it
	optional        bool
}

// cloudNeeds are in the order in which they are asked for.
var cloudNeeds = []cloudNeed{
	{"repository", "read:repository:bitbucket", "/refs?pagelen=1&fields=size", "nothing is built", false},
	{"repository:write", "write:repository:bitbucket", "", "some results may not be told", true},
	{"pullrequest", "read:pullrequest:bitbucket", "/pullrequests?pagelen=1&fields=size", "pull requests are not built, and commands in comments are not heard", false},
	{"pullrequest:write", "write:pullrequest:bitbucket", "", "comments may not be answered", true},
	{"webhook", "read:webhook:bitbucket", "/hooks?pagelen=1&fields=size", "webhooks must be made by hand", true},
	{"repository:admin", "admin:repository:bitbucket", "permission", "what people may do is not asked: only those under people can give commands", true},
}

// implied are the scopes that others include.
// https://developer.atlassian.com/cloud/bitbucket/rest/intro/#scopes
var implied = map[string][]string{
	"repository:write": {"repository"}, "pullrequest": {"repository"}, "pullrequest:write": {"pullrequest", "repository", "repository:write"},
}

// examine implements api: what a token may do is asked for. What would change something is not; whether it may be done is in a header of
// answers, where there is one.
func (a cloud) examine(ctx context.Context, c *credential, r store.Repo) (list []Finding) {
	if r.ID == "" {
		return nil
	}
	find := func(f Finding) {
		f.Installation, f.About = c.number, c.title()
		list = append(list, f)
	}
	var scopes []string
	answers := make([]error, len(cloudNeeds))
	for n := range cloudNeeds {
		got, err := a.probe(ctx, c, r, &cloudNeeds[n])
		if answers[n] = err; got != nil && len(scopes) == 0 {
			scopes = scopesOf(got.header)
		}
	}
	if len(scopes) > 0 {
		find(Finding{Text: "its scopes are " + strings.Join(scopes, ", ")})
	}
	for i, n := range cloudNeeds {
		right := "the scope " + n.scope
		if c.Email != "" {
			right = "the scope " + n.granular
		}
		switch err := answers[i]; {
		case err != nil && unaskable(err):
			find(Finding{Problem: !n.optional, Note: n.optional, Text: fmt.Sprintf("%s is missing (%v); without it %s", right, notMissing(err), n.lost)})
		case err != nil:
			find(Finding{Problem: true, Text: fmt.Sprintf("whether %s is there nobody can tell: %v", right, err)})
		case n.path == "" && len(scopes) > 0 && !slices.Contains(scopes, n.scope) && !slices.Contains(scopes, n.granular):
			// Nothing refused it, since nothing was changed.
			find(Finding{Note: true, Text: fmt.Sprintf("%s is missing; without it %s", right, n.lost)})
		}
	}
	return list
}

// probe asks for something that takes a right. Nothing is asked that would change something.
func (a cloud) probe(ctx context.Context, c *credential, r store.Repo, n *cloudNeed) (*answer, error) {
	path := "/repositories/" + a.path(r) + n.path
	switch n.path {
	case "":
		return nil, nil
	case "permission":
		owner, repo, _ := strings.Cut(a.path(r), "/")
		path = "/workspaces/" + owner + "/permissions/repositories/" + repo + "?pagelen=1&fields=size"
	}
	return a.send(ctx, c, request{method: http.MethodGet, path: path, quiet: true}, nil)
}

// scopesOf are the scopes that an answer says the token has, with those that they include.
func scopesOf(header http.Header) []string {
	var scopes []string
	for _, value := range header.Values("X-Oauth-Scopes") {
		for scope := range strings.SplitSeq(value, ",") {
			if scope = strings.TrimSpace(scope); scopeName.MatchString(scope) {
				scopes = append(scopes, scope)
				scopes = append(scopes, implied[scope]...)
			}
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}
