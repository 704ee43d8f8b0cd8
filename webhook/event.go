package webhook

import (
	"time"

	"buildsmith/store"
)

// A Kind is what an Event means.
type Kind int

// The kinds, with the fields of Event that each has beside Repo and Sender. Numbers are not kept anywhere.
const (
	Nothing             Kind = iota // Reason
	Ping                            // none
	Push                            // Push
	PullRequest                     // PullRequest, Event
	Comment                         // Comment, which is on a pull request
	RerunCheck                      // ExternalID
	RerunCommit                     // Commit
	Start                           // Request
	Retry                           // Request
	MergeGroup                      // MergeGroup
	MergeGroupGone                  // MergeGroup, Reason
	Release                         // Release, Event
	Button                          // ExternalID, Commit, Action
	RepoChanged                     // Change
	InstallationChanged             // Installation, Change, Added, Removed
)

// An Event is what a delivery means.
type Event struct {
	Kind         Kind
	Repo         store.Repo
	Sender       store.Account
	Summary      string    // for people, a few words
	Organization string    // login of the repository's organisation, empty for a person's
	At           time.Time // of Push and PullRequest: when it happened, by the forge's clock; zero if it does not tell
	Found        bool      // of Push, PullRequest and Comment: no delivery told of it, it was found by looking

	Reason      string            // of Nothing: why it means nothing
	Unknown     bool              // of Nothing: an event or action that this program does not know
	Push        PushEvent         // of Push
	Also        []PushEvent       // of Push: what the same delivery tells of other refs
	Event       string            // of PullRequest and Release: CODEBUILD_WEBHOOK_EVENT
	PullRequest store.PullRequest // of PullRequest: its hashes may be shortened, see Completer
	Vague       bool              // of PullRequest: the forge tells that something of it changed, not what
	Comment     store.Comment     // of Comment
	ExternalID  string            // of RerunCheck and Button: id of the build or notice whose check it was
	Commit      string            // of RerunCommit and Button
	Action      string            // of Button: identifier of the button
	Request     store.Request     // of Start and Retry
	MergeGroup  MergeGroupEvent   // of MergeGroup and MergeGroupGone
	Release     ReleaseEvent      // of Release

	Change       string             // of RepoChanged and InstallationChanged: what happened, the forge's word
	Installation store.Installation // of InstallationChanged
	Added        []store.Repo       // of InstallationChanged: repositories that the App may see now
	Removed      []store.Repo       // of InstallationChanged: repositories that it may see no longer
}

// What may happen to a repository: GitHub's words, for every forge.
const (
	RepoRenamed     = "renamed"
	RepoTransferred = "transferred"
	RepoArchived    = "archived"
	RepoUnarchived  = "unarchived"
	RepoDeleted     = "deleted"
	RepoPrivatized  = "privatized"
	RepoPublicized  = "publicized"
)

// What may happen to an installation of GitHub's App: GitHub's words.
const (
	InstallationCreated     = "created"
	InstallationDeleted     = "deleted"
	InstallationSuspended   = "suspend"
	InstallationUnsuspended = "unsuspend"
	InstallationPermissions = "new_permissions_accepted"
	InstallationAdded       = "added"   // repositories
	InstallationRemoved     = "removed" // repositories
	InstallationRenamed     = "renamed" // its account
)

// A PushEvent is a change of one ref.
type PushEvent struct {
	Ref     string // refs/heads/... or refs/tags/...
	Before  string // zeros for a new ref
	After   string // the commit to build; empty if the ref was deleted
	Message string // of the commit
	// Files are the files that its commits changed. Truncated says that there may be more.
	Files     []string
	Truncated bool
}

// A MergeGroupEvent is what a merge queue wants to have checked.
type MergeGroupEvent struct {
	Head    string // hash
	HeadRef string // refs/heads/gh-readonly-queue/...
	Base    string // hash
	BaseRef string // refs/heads/...
	Message string // of the head commit
}

// A ReleaseEvent is a release that was published.
type ReleaseEvent struct {
	Tag  string // its tag, without refs/tags/
	Name string // title
}
