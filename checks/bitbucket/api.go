package bitbucket

import (
	"context"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// An api is what Cloud and Data Center do differently. What a method has in common with one of webhook.Forge, webhook.Looker or
// checks.Publisher has its contract there. Errors are those of Host.do, some of them with a remark in front.
type api interface {
	// repository asks for a repository by its name.
	repository(ctx context.Context, c *credential, name string) (store.Repo, error)
	// within asks for the repositories of a workspace or project that a credential reaches; for those of one project alone if the
	// credential says so.
	within(ctx context.Context, c *credential, owner string) ([]store.Repo, error)

	pullRequest(ctx context.Context, r store.Repo, number int) (store.PullRequest, error)
	complete(ctx context.Context, r store.Repo, pr *store.PullRequest) error
	// permission is asked only for people whom the configuration does not name.
	permission(ctx context.Context, r store.Repo, who store.Account) (store.Permission, error)
	commit(ctx context.Context, r store.Repo, version string) (store.Commit, error)
	fileID(ctx context.Context, r store.Repo, commit, path string) (string, error)
	owns(ctx context.Context, r store.Repo, version, commit string) (bool, error)
	acknowledge(ctx context.Context, r store.Repo, c store.Comment, with store.Reaction) error
	look(ctx context.Context, r store.Repo) (store.Standing, error)

	// tellStatus makes the build status of a report's commit that has a key, or changes it.
	tellStatus(ctx context.Context, r store.Repo, key string, report *checks.Report) error
	// tellReport makes the Code Insights report of a report's commit that has a key, or replaces it, with its annotations.
	tellReport(ctx context.Context, r store.Repo, key string, report *checks.Report) error
	unfinished(ctx context.Context, r store.Repo, commit string) ([]checks.Unfinished, error)
	habits() checks.Habits

	// comments gives the comments of anybody on a pull request, also ours, that were made since a time, oldest first; all if it is zero.
	comments(ctx context.Context, r store.Repo, number int, since time.Time) ([]comment, error)
	// createComment writes a comment, as an answer to another unless parent is 0.
	createComment(ctx context.Context, r store.Repo, number int, parent int64, body string) (comment, error)
	updateComment(ctx context.Context, r store.Repo, number int, id int64, body string) (comment, error)
	// self gives the id of the account that a credential acts as; empty if Bitbucket does not tell.
	self(ctx context.Context, c *credential) (string, error)

	hooks(ctx context.Context, r store.Repo) ([]hook, error)
	makeHook(ctx context.Context, r store.Repo, made hook) error
	changeHook(ctx context.Context, r store.Repo, changed hook) error
	removeHook(ctx context.Context, r store.Repo, id string) error
	events() []string // those that a webhook of ours has

	// examine says what a credential may do, and what not. r is a repository that it is for, with an empty ID if there is none.
	examine(ctx context.Context, c *credential, r store.Repo) []Finding

	cloneURL(name string) string
	links(name string) (commit, pull string)
	// cloneUser is the name that git gives with the credential's token; empty for a Bearer token.
	cloneUser(c *credential) string
	// basic is the name that requests give with the credential's token; empty for a Bearer token.
	basic(c *credential) string
	// words gives what an answer that is no success says, and the rights that it names.
	words(body []byte) (text string, rights []string)
}

// newAPI gives the api of a Host.
func newAPI(h *Host) api {
	if h.DataCenter {
		return newDataCenter(h)
	}
	return cloud{h}
}

// A comment is one on a pull request.
type comment struct {
	store.Comment
	Version int // of Data Center, which is told when it is changed
}

// A hook is a webhook of a repository.
type hook struct {
	ID     string
	Name   string // what people know it by
	URL    string
	Active bool
	Secret string // of one that is to be made or changed
	Signed bool   // of one that is there: it has a secret, nobody knows which
	Events []string
	Strict bool // certificates are checked
}

// A Finding is something that a look at what credentials may do has found.
type Finding struct {
	Installation int64  // the credential's number, 0 if it is about all
	About        string // what the credential is for, or the host
	Text         string
	Problem      bool // something does not work
	Note         bool // worth knowing
}
