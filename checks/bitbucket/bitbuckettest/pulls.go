package bitbuckettest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A pull is a pull request.
type pull struct {
	id               int
	repo             *repo // that it is to be merged into
	source           *repo // that it comes from; nil once that is gone
	sourceBranch     string
	sourceSHA        string // as hooks know it
	base             string // the branch that it is to be merged into
	baseSHA          string
	title, body      string
	author           *User
	draft            bool
	state            string // OPEN, MERGED or DECLINED
	merge            string // the commit that merged it
	version          int    // grows with each change
	created, updated time.Time
}

// The states of pull requests.
const (
	stateOpen     = "OPEN"
	stateMerged   = "MERGED"
	stateDeclined = "DECLINED"
)

// PullRequest is what a new pull request is to be.
type PullRequest struct {
	Head  string `json:"head"` // a branch, or owner:branch of the fork in the workspace owner
	Base  string `json:"base"` // a branch; the default branch
	User  string `json:"user"` // the author; the owner of the repository or the fork
	Title string `json:"title"`
	Body  string `json:"body"`
	Draft bool   `json:"draft"`
}

// pullLocked finds a pull request.
func (s *Server) pullLocked(name string, number int) (*repo, *pull, error) {
	r, err := s.namedRepoLocked(name)
	if err != nil {
		return nil, nil, err
	}
	if p := r.pull(number); p != nil {
		return r, p, nil
	}
	return nil, nil, fmt.Errorf("pull request %d of %s: %w", number, name, fs.ErrNotExist)
}

func (r *repo) pull(number int) *pull {
	if number < 1 || number > len(r.pulls) {
		return nil
	}
	return r.pulls[number-1]
}

// OpenPullRequest opens a pull request, tells the hooks, and returns its number.
func (s *Server) OpenPullRequest(name string, in PullRequest) (number int, d Delivery, err error) {
	d, err = s.tell(func() ([]event, error) {
		r, err := s.namedRepoLocked(name)
		if err != nil {
			return nil, err
		}
		p := &pull{id: len(r.pulls) + 1, repo: r, source: r, sourceBranch: in.Head, base: cmp.Or(in.Base, r.branch), title: cmp.Or(in.Title, in.Head), body: in.Body,
			draft: in.Draft, state: stateOpen, created: s.now(), updated: s.now()}
		if owner, branch, isFork := strings.Cut(in.Head, ":"); isFork {
			p.sourceBranch = branch
			if p.source, err = s.namedRepoLocked(owner + "/" + r.slug); err != nil {
				return nil, err
			}
		}
		p.author = s.userLocked(cmp.Or(in.User, s.ownerLocked(p.source).Name))
		var found bool
		if p.sourceSHA, found = forgetest.Resolve(p.source.dir, "refs/heads/"+p.sourceBranch); !found {
			return nil, fmt.Errorf("the branch %s of %s: %w", p.sourceBranch, p.source.name(), fs.ErrNotExist)
		}
		if p.baseSHA, found = forgetest.Resolve(r.dir, "refs/heads/"+p.base); !found {
			return nil, fmt.Errorf("the branch %s of %s: %w", p.base, name, fs.ErrNotExist)
		}
		r.pulls = append(r.pulls, p)
		number = p.id
		return []event{{kind: pullOpened, repo: r, actor: p.author, pull: p}}, s.flavor.moved(s, p)
	})
	return number, d, err
}

// changePull changes an open pull request as its author, and tells the hooks.
func (s *Server) changePull(name string, number int, kind eventKind, change func(r *repo, p *pull, e *event) error) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		r, p, err := s.pullLocked(name, number)
		if err != nil {
			return nil, err
		}
		if kind != pullReopened && p.state != stateOpen {
			return nil, fmt.Errorf("pull request %d of %s is %s", number, name, p.state)
		}
		e := event{kind: kind, repo: r, actor: p.author, pull: p, oldHead: p.sourceSHA, oldTitle: p.title, oldBase: p.base, oldBaseSHA: p.baseSHA, oldDraft: p.draft}
		if err := change(r, p, &e); err != nil {
			return nil, fmt.Errorf("pull request %d of %s: %w", number, name, err)
		}
		p.version++
		p.updated = s.now()
		return []event{e}, nil
	})
}

// SynchronizePullRequest gives a pull request the commit that its branch has now, and tells the hooks.
func (s *Server) SynchronizePullRequest(name string, number int) (Delivery, error) {
	return s.changePull(name, number, pullMoved, func(r *repo, p *pull, _ *event) error {
		if p.source == nil {
			return errors.New("its repository is gone")
		}
		head, found := forgetest.Resolve(p.source.dir, "refs/heads/"+p.sourceBranch)
		if !found {
			return fmt.Errorf("the branch %s: %w", p.sourceBranch, fs.ErrNotExist)
		}
		if head == p.sourceSHA {
			return fmt.Errorf("it has the head %s already", head)
		}
		p.sourceSHA = head
		return s.flavor.moved(s, p)
	})
}

// ClosePullRequest merges or declines a pull request, and tells the hooks; of the push of a merge they are told by Push.
func (s *Server) ClosePullRequest(name string, number int, merge bool) (Delivery, error) {
	kind := pullDeclined
	if merge {
		kind = pullMerged
	}
	return s.changePull(name, number, kind, func(r *repo, p *pull, e *event) error {
		e.actor = s.ownerLocked(r)
		if !merge {
			p.state = stateDeclined
			return nil
		}
		sha, err := s.mergeLocked(r, p)
		if err != nil {
			return err
		}
		p.merge, p.state = sha, stateMerged
		return nil
	})
}

// mergeLocked merges a pull request into its base branch.
func (s *Server) mergeLocked(r *repo, p *pull) (string, error) {
	host := s.flavor.host()
	if p.source != nil && p.source != r {
		if _, err := host.Git(r.dir, nil, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", p.source.dir, p.sourceSHA); err != nil {
			return "", err
		}
	}
	base, found := forgetest.Resolve(r.dir, "refs/heads/"+p.base)
	if !found {
		return "", fmt.Errorf("the branch %s: %w", p.base, fs.ErrNotExist)
	}
	tree, err := host.Git(r.dir, nil, "merge-tree", "--write-tree", "--allow-unrelated-histories", base, p.sourceSHA)
	if err != nil {
		return "", errors.New("it has conflicts")
	}
	sha, err := host.Git(r.dir, nil, "commit-tree", "-p", base, "-p", p.sourceSHA, "-m", fmt.Sprintf("Merged in %s (pull request #%d)\n\n%s", p.sourceBranch, p.id, p.title),
		strings.TrimSpace(tree))
	if err != nil {
		return "", err
	}
	sha = strings.TrimSpace(sha)
	_, err = host.Git(r.dir, nil, "update-ref", "refs/heads/"+p.base, sha, base)
	return sha, err
}

// ReopenPullRequest reopens a pull request that was declined, and tells the hooks. Cloud does not reopen any.
func (s *Server) ReopenPullRequest(name string, number int) (Delivery, error) {
	return s.changePull(name, number, pullReopened, func(_ *repo, p *pull, _ *event) error {
		if !s.flavor.reopens() || p.state != stateDeclined {
			return fmt.Errorf("%s: it cannot be reopened", p.state)
		}
		p.state = stateOpen
		return nil
	})
}

// ChangeBase lets a pull request be merged into another branch, and tells the hooks.
func (s *Server) ChangeBase(name string, number int, base string) (Delivery, error) {
	return s.changePull(name, number, pullEdited, func(r *repo, p *pull, _ *event) error {
		sha, found := forgetest.Resolve(r.dir, "refs/heads/"+base)
		if !found {
			return fmt.Errorf("the branch %s: %w", base, fs.ErrNotExist)
		}
		p.base, p.baseSHA = base, sha
		return nil
	})
}

// Retitle gives a pull request another title, and tells the hooks.
func (s *Server) Retitle(name string, number int, title string) (Delivery, error) {
	return s.changePull(name, number, pullEdited, func(_ *repo, p *pull, _ *event) error {
		p.title = title
		return nil
	})
}

// SetDraft makes a pull request a draft, or ready, and tells the hooks.
func (s *Server) SetDraft(name string, number int, draft bool) (Delivery, error) {
	return s.changePull(name, number, pullEdited, func(_ *repo, p *pull, _ *event) error {
		if p.draft == draft {
			return errors.New("it is already")
		}
		p.draft = draft
		return nil
	})
}
