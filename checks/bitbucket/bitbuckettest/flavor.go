package bitbuckettest

import (
	"fmt"
	"net/http"
	"time"

	"buildsmith/checks/forgetest"
)

// A flavor is what Cloud and Data Center do each in its own way. Methods are called with Server.mu held unless it is said
// otherwise.
type flavor interface {
	// host is how repositories are kept. It is always the same.
	host() forgetest.Host

	// base is where the API lies, such as /2.0. It is always the same.
	base() string

	// description is the OpenAPI description of the API, in YAML or JSON, with paths below base. It is always the same.
	description() []byte

	// operations are what there is of it; each is in the description. They are always the same.
	operations() []operation

	// published is the name of the file with the published description in the directory of contracts, and empty if there is
	// none; it is always the same.
	published() string

	// outside answers what is neither below base nor git, and reports whether it did. It is called without the lock.
	outside(s *Server, w http.ResponseWriter, r *http.Request) bool

	// canonical writes the escaped path of a request, without the base, as the description has it; empty if it has no such
	// path whatever it is. It is called without the lock.
	canonical(escaped string) string

	// gitPath takes the path of a request of git apart: the name of the repository, as in octo/shop, and what follows it. It
	// is called without the lock.
	gitPath(path string) (name, action string, ok bool)

	// clonePath is the path that git is told for a repository.
	clonePath(r *repo) string

	// fullName is the name of a repository in this flavour's writing: octo/shop or OCTO/shop.
	fullName(r *repo) string

	// repoName returns the repository that the parameters of a path name; it is empty if they name none.
	repoName(params map[string]string) string

	// authenticate finds the token of a request. Both are nil for a request without one.
	authenticate(s *Server, r *http.Request) (*Token, *answer)

	// gitToken finds the token that git was given, by the user name and the password. The user of a bearer has no name.
	gitToken(s *Server, user, password string) *Token

	// authorize refuses what a token, nil for none, may not do; r is nil if the path names no repository.
	authorize(s *Server, t *Token, o *operation, r *repo) *answer

	// unreachable refuses what is about a repository that a token, nil for none, does not reach, or that is not there: nil.
	unreachable(t *Token, r *repo, name string) *answer

	// mayGit reports whether a token has the scope to fetch or to push.
	mayGit(t *Token, push bool) bool

	// limited are the paths below base that count against the limit of requests.
	limited(path string) bool

	// refusal is a refusal in the words of the API.
	refusal(status int, message string) *answer

	// event is the key and the payload of an event; without a key there is none of that kind.
	event(s *Server, e event) (key string, payload object, err error)

	// moved is called with a pull request that was opened or has another head than before.
	moved(s *Server, p *pull) error

	// reopens reports whether declined pull requests can be reopened. It is always the same.
	reopens() bool

	// hookHeaders are those of a delivery, but for the signature. They are called without the lock.
	hookHeaders(h Hook, d Delivery) map[string]string

	// attempts is how often a delivery is sent at most, and largest the size of the largest payload, 0 for any. They are
	// always the same.
	attempts() int
	largest() int
}

func newFlavor(name Flavor, o Options) (flavor, error) {
	switch name {
	case Cloud:
		return cloud{}, nil
	case DataCenter:
		return newDataCenter(o)
	}
	return nil, fmt.Errorf("there is no flavour %q of Bitbucket", name)
}

// The kinds of events, in words of neither flavour.
type eventKind string

const (
	pushed          eventKind = "push"
	repoRenamed     eventKind = "repository renamed"
	repoVisibility  eventKind = "repository made private or public"
	repoDeleted     eventKind = "repository deleted"
	pullOpened      eventKind = "pull request opened"
	pullMoved       eventKind = "pull request has another head"
	pullEdited      eventKind = "title, draft or base of a pull request changed"
	pullMerged      eventKind = "pull request merged"
	pullDeclined    eventKind = "pull request declined"
	pullReopened    eventKind = "pull request reopened"
	pullDeleted     eventKind = "pull request deleted"
	commentAdded    eventKind = "comment added"
	commentEdited   eventKind = "comment edited"
	commentDeleted  eventKind = "comment deleted"
	diagnosticsPing eventKind = "ping"
)

// An event is something that hooks of a repository are told of.
type event struct {
	kind    eventKind
	repo    *repo
	actor   *User
	at      time.Time
	changes []refChange // of a push
	pull    *pull
	comment *Comment

	// What was before: the head of a pull request, its title, its base branch and the commit of that, the name of a
	// repository, the text of a comment.
	oldHead, oldTitle, oldBase, oldBaseSHA, oldName, oldText string
	oldDraft                                                 bool
}

// A refChange is what happened to a branch or a tag.
type refChange struct {
	ref           string // refs/heads/main
	before, after string // empty if there was none or is none
}
