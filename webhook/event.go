package webhook

import "buildsmith/store"

// A Kind is what an Event means.
type Kind int

// The kinds, with the fields of Event that each has beside Repo and Sender.
const (
	Nothing     Kind = iota // Reason
	Ping                    // none
	Push                    // Push
	PullRequest             // PullRequest, Event
	Comment                 // Comment, which is on a pull request
	RerunCheck              // ExternalID
	RerunCommit             // Commit
	Start                   // Request
	Retry                   // Request
)

// An Event is what a delivery means.
type Event struct {
	Kind    Kind
	Repo    store.Repo
	Sender  store.Account
	Summary string // for people, a few words

	Reason      string            // of Nothing: why it means nothing
	Push        PushEvent         // of Push
	Event       string            // of PullRequest: CODEBUILD_WEBHOOK_EVENT
	PullRequest store.PullRequest // of PullRequest
	Comment     store.Comment     // of Comment
	ExternalID  string            // of RerunCheck: id of the build or notice whose check it was
	Commit      string            // of RerunCommit
	Request     store.Request     // of Start and Retry
}

// A PushEvent is a change of one ref.
type PushEvent struct {
	Ref     string // refs/heads/... or refs/tags/...
	Before  string // zeros for a new ref
	After   string // the commit to build; empty if the ref was deleted
	Message string // of the commit
}
