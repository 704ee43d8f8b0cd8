package runner

import (
	"context"
	"errors"
)

// A Sandbox runs agents, each in a place of its own that it cannot leave. Ids are the caller's. Its methods may be called
// at the same time, for the same id too, and wait out an outage of what is behind it until ctx is done, where that does
// not lose time for others.
type Sandbox interface {
	// Ready fails if nothing could be started now.
	Ready(ctx context.Context) error

	// Pull makes sure that the image is there; pulled tells whether it had to be fetched. The error wraps ErrImage if there
	// is no such image: that is the author's failure.
	Pull(ctx context.Context, image string) (pulled bool, err error)

	// Start starts the agent. A sandbox of that id that was made and not started is started; one that runs is left as it
	// is. The error wraps ErrImage if the image is not there or cannot hold a sandbox.
	Start(ctx context.Context, s Spec) error

	// Stop asks the agent to end its build. A sandbox that has ended, or never was, needs nothing.
	Stop(ctx context.Context, id string) error

	// Wait returns when the sandbox has ended: at once if it has, or if there is none of that id.
	Wait(ctx context.Context, id string) (Exit, error)

	// Remove ends whatever runs in a sandbox and removes it. One that is gone needs nothing.
	Remove(ctx context.Context, id string) error

	// List gives the ids of all sandboxes there are.
	List(ctx context.Context) ([]string, error)

	// Usage is how many bytes the sandbox's own file system holds, its directories here apart.
	Usage(ctx context.Context, id string) (int64, error)

	// RemoveDir removes a directory that a sandbox wrote to, whoever owns what it holds.
	RemoveDir(ctx context.Context, dir string) error
}

// ErrImage says that an image does not exist or cannot be used.
var ErrImage = errors.New("unusable image")

// A Spec is what a sandbox is started with.
type Spec struct {
	ID    string
	Image string

	Exchange string // directories of this machine, absolute: at agent.ExchangeDir, writable
	Source   string // at agent.SourceDir, writable
	Objects  string // at agent.ObjectsDir, read-only
	Cache    string // at agent.CacheDir/default, read-only; empty for none
	OwnCache string // at agent.CacheDir/own, read-only; empty for none
	Tree     string // at agent.SourceDir/src, writable: a directory of the caller's in place of a checkout; empty for none

	Memory    int64   // bytes
	CPUs      float64 // cores
	Processes int64
	Network   string // store.NetworkFull or store.NetworkNone
	Sudo      bool   // programs may gain privileges
	Fork      bool   // it runs another repository's commit: no network unless this machine is guarded from it
}

// An Exit is how a sandbox ended.
type Exit struct {
	Status      int
	OutOfMemory bool   // something in it was ended for want of memory
	Gone        bool   // there is no such sandbox any more: nobody knows how it ended
	Detail      string // what else is known, for the operator
}
