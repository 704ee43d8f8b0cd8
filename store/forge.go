package store

import "time"

// A PullRequest is a pull request as a forge has it now.
type PullRequest struct {
	Number   int
	Open     bool
	Title    string
	Author   Account
	Head     string // full hash of its newest commit
	HeadRef  string // refs/heads/..., in the repository it comes from
	HeadRepo string // id of that repository, empty if it is gone
	HeadName string // full name of that repository, where a forge must be asked for its commits there; empty elsewhere
	BaseRef  string // refs/heads/...
	Base     string // full hash of the base branch, as the pull request has it
	Draft    bool
	Merged   string    // the commit it was merged as; empty if it was not
	Updated  time.Time // when it changed last, by the forge's clock; zero if it does not tell
}

// A Standing is how a repository stands at its forge.
type Standing struct {
	Refs  map[string]string // full name, such as refs/heads/main, to the hash of the commit
	Pulls []PullRequest     // the open ones
	// Part says that there are more refs or pull requests than were asked for: those that are missing need not be gone.
	Part bool
	// Unread are the numbers of further pull requests that are open, of which no more is known: their commits cannot be read now.
	Unread []int
}

// A Commit is a commit as a forge has it.
type Commit struct {
	Hash    string
	Message string
}

// A Permission is what a person may do in a repository.
type Permission int

// The permissions, each of which includes those before it.
const (
	PermissionNone Permission = iota
	PermissionRead
	PermissionTriage
	PermissionWrite
	PermissionMaintain
	PermissionAdmin
)

// A Comment is a comment on a pull request.
type Comment struct {
	ID          int64
	PullRequest int
	Body        string
	Author      Account
	Created     time.Time
}

// A Reaction is how a comment is answered without words.
type Reaction string

// The reactions, GitHub's words.
const (
	ReactionAccepted Reaction = "eyes"
	ReactionRefused  Reaction = "confused"
)

// CommentMark is in every comment of ours at a forge that shows HTML comments: people do not see a reference that nobody refers to.
const CommentMark = "[//]: # (buildsmith:"

// Identifiers of the buttons of a check: what a forge is told with one comes back when it is pressed. At most 20 characters.
const (
	ButtonRerun   = "rerun_failed"
	ButtonClean   = "rerun_clean" // without caches
	ButtonApprove = "approve"
)
