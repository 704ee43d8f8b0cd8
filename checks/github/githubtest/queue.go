package githubtest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// A MergeGroup is pull requests that a merge queue is about to merge together: a commit on a branch of its own, on which the
// required checks have to succeed first.
type MergeGroup struct {
	Ref     string `json:"ref"`      // refs/heads/gh-readonly-queue/<base>/pr-<number>-<base's commit>
	HeadSHA string `json:"head_sha"` // the base with the pull requests merged into it
	BaseRef string `json:"base_ref"` // refs/heads/main
	BaseSHA string `json:"base_sha"`
	Pulls   []int  `json:"pulls"`

	repo int64
}

// MergeGroup puts open pull requests into the merge queue of their base branch, all in one group, and tells the app: of the
// push of the group's branch, and that checks are requested on it.
func (s *Server) MergeGroup(fullName, branch string, pulls ...int) (MergeGroup, []Delivery, error) {
	s.mu.Lock()
	g, err := s.newGroupLocked(fullName, branch, pulls)
	s.mu.Unlock()
	if err != nil {
		return MergeGroup{}, nil, fmt.Errorf("queueing the pull requests %v of %s: %w", pulls, fullName, err)
	}
	pushed, err := s.Push(fullName, g.Ref)
	if err != nil {
		return g, nil, err
	}
	requested, err := s.aboutGroup(g, object{"action": "checks_requested"})
	return g, []Delivery{pushed, requested}, err
}

// newGroupLocked makes the commit and the branch of a group.
func (s *Server) newGroupLocked(fullName, branch string, pulls []int) (MergeGroup, error) {
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return MergeGroup{}, err
	}
	dir := s.repoDir(r)
	base, found := forgetest.Resolve(dir, "refs/heads/"+branch)
	if !found {
		return MergeGroup{}, fmt.Errorf("the branch %s: %w", branch, fs.ErrNotExist)
	}
	if len(pulls) == 0 {
		return MergeGroup{}, errors.New("there are none")
	}
	head := base
	for _, number := range pulls {
		i := r.issue(number)
		if i == nil || i.pull == nil || !i.open || i.pull.baseRef != branch || i.pull.draft {
			return MergeGroup{}, fmt.Errorf("number %d is no open pull request into %s that is ready", number, branch)
		}
		tree, err := git(dir, nil, "merge-tree", "--write-tree", "--allow-unrelated-histories", head, i.pull.headSHA)
		if err != nil {
			return MergeGroup{}, fmt.Errorf("pull request %d has conflicts", number)
		}
		merge, err := git(dir, nil, "commit-tree", "-p", head, "-p", i.pull.headSHA, "-m",
			fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s", number, i.pull.headOwner, i.pull.headRef, i.title), strings.TrimSpace(tree))
		if err != nil {
			return MergeGroup{}, err
		}
		head = strings.TrimSpace(merge)
	}
	g := MergeGroup{Ref: fmt.Sprintf("refs/heads/gh-readonly-queue/%s/pr-%d-%s", branch, pulls[len(pulls)-1], base), HeadSHA: head,
		BaseRef: "refs/heads/" + branch, BaseSHA: base, Pulls: slices.Clone(pulls), repo: r.id}
	if _, err := git(dir, nil, "update-ref", g.Ref, head); err != nil {
		return MergeGroup{}, err
	}
	s.groups = append(s.groups, g)
	return g, nil
}

// aboutGroup tells the app of a group.
func (s *Server) aboutGroup(g MergeGroup, more object) (Delivery, error) {
	return s.deliver("merge_group", func() (*repo, object, error) {
		r := s.repos[g.repo]
		if r == nil {
			return nil, nil, fmt.Errorf("the repository of %s: %w", g.Ref, fs.ErrNotExist)
		}
		head, err := forgetest.ReadCommit(s.repoDir(r), g.HeadSHA)
		if err != nil {
			return nil, nil, err
		}
		who := func(w forgetest.Signature) object { return object{"name": w.Name, "email": w.Email} }
		return r, s.payloadLocked(r, r.owner, with(object{"merge_group": object{"head_sha": g.HeadSHA, "head_ref": g.Ref, "base_sha": g.BaseSHA,
			"base_ref": g.BaseRef, "head_commit": object{"id": head.SHA, "tree_id": head.Tree, "message": head.Message,
				"timestamp": stamp(head.Committer.At), "author": who(head.Author), "committer": who(head.Committer)}}}, more)), nil
	})
}

// DestroyMergeGroup takes a group out of its queue and tells the app why: it was merged, invalidated, or dequeued. Its branch
// goes; merging it moves the base branch there and closes its pull requests, of all of which the app is told too.
func (s *Server) DestroyMergeGroup(fullName, ref, reason string) ([]Delivery, error) {
	if !slices.Contains([]string{"merged", "invalidated", "dequeued"}, reason) {
		return nil, fmt.Errorf("%q is no reason to destroy a merge group", reason)
	}
	s.mu.Lock()
	g, err := s.takeGroupLocked(fullName, ref, reason == "merged")
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("destroying %s of %s: %w", ref, fullName, err)
	}
	var all []Delivery
	also := func(d Delivery, failed error) {
		err = cmp.Or(err, failed)
		all = append(all, d)
	}
	also(s.aboutGroup(g, object{"action": "destroyed", "reason": reason}))
	if reason == "merged" {
		also(s.Push(fullName, g.BaseRef))
		for _, number := range g.Pulls {
			also(s.deliver("pull_request", func() (*repo, object, error) {
				r, i, err := s.pullLocked(fullName, number)
				if err != nil {
					return nil, nil, err
				}
				payload, err := s.pullPayloadLocked(r, i, "closed", r.owner, nil)
				return r, payload, err
			}))
		}
	}
	also(s.Push(fullName, g.Ref))
	return all, err
}

// takeGroupLocked forgets a group and removes its branch, and merges it if that is asked for.
func (s *Server) takeGroupLocked(fullName, ref string, merge bool) (MergeGroup, error) {
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return MergeGroup{}, err
	}
	at := slices.IndexFunc(s.groups, func(g MergeGroup) bool { return g.repo == r.id && g.Ref == ref })
	if at < 0 {
		return MergeGroup{}, fs.ErrNotExist
	}
	g := s.groups[at]
	dir := s.repoDir(r)
	if merge {
		if _, err := git(dir, nil, "update-ref", g.BaseRef, g.HeadSHA, g.BaseSHA); err != nil {
			return g, fmt.Errorf("the base branch has moved: %w", err)
		}
		now := s.now()
		for _, number := range g.Pulls {
			i := r.issue(number)
			i.open, i.closed, i.updated = false, now, now
			i.pull.merged, i.pull.mergedBy, i.pull.mergeSHA = now, r.owner, g.HeadSHA
		}
	}
	s.groups = slices.Delete(s.groups, at, at+1)
	_, err = git(dir, nil, "update-ref", "-d", g.Ref)
	return g, err
}
