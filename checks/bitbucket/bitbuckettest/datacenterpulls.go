package bitbuckettest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
)

// stateDeleted is a pull request that nobody sees any more. Its number is not given out again.
const stateDeleted = "DELETED"

// DeletePullRequest deletes a pull request, which only Data Center lets people do, and tells the hooks.
func (s *Server) DeletePullRequest(name string, number int) (Delivery, error) {
	return s.changePull(name, number, pullDeleted, func(r *repo, p *pull, e *event) error {
		if s.name != DataCenter {
			return errNotCloud
		}
		e.actor = s.ownerLocked(r)
		p.state = stateDeleted
		return nil
	})
}

// moved keeps refs/pull-requests/N/from in the repository that a pull request goes into, wherever it comes from.
func (d *dataCenter) moved(s *Server, p *pull) error {
	d.sources[p] = p.source
	_, err := d.host().Git(p.repo.dir, nil, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", p.source.dir,
		fmt.Sprintf("+%s:refs/pull-requests/%d/from", p.sourceSHA, p.id))
	return err
}

// pullOf returns the pull request that the path of a call names.
func (d *dataCenter) pullOf(c *call) (*pull, *answer) {
	number := int(c.param("pull"))
	if p := c.repo.pull(number); p != nil && p.state != stateDeleted {
		return p, nil
	}
	return nil, dcProblem(http.StatusNotFound, "pull.NoSuchPullRequestException", "Pull request %d does not exist in %s.", number, d.fullName(c.repo))
}

// pulls is GET .../pull-requests: those into the repository or a branch of it, or those from there.
func (d *dataCenter) pulls(s *Server, c *call) *answer {
	query := c.r.URL.Query()
	state, at := cmp.Or(query.Get("state"), stateOpen), query.Get("at")
	var pulls []*pull
	for _, r := range s.repos {
		for _, p := range r.pulls {
			mine, branch := r == c.repo, p.base
			if query.Get("direction") == "OUTGOING" {
				mine, branch = p.source == c.repo, p.sourceBranch
			}
			if mine && p.state != stateDeleted && (state == "ALL" || state == p.state) && (at == "" || at == "refs/heads/"+branch) {
				pulls = append(pulls, p)
			}
		}
	}
	slices.SortStableFunc(pulls, func(a, b *pull) int {
		if query.Get("order") == "OLDEST" {
			a, b = b, a
		}
		return cmp.Or(b.created.Compare(a.created), b.id-a.id)
	})
	list := []object{}
	for _, p := range pulls {
		list = append(list, d.pullJSON(s, p))
	}
	return dcPageOf(c, list)
}

// getPull is GET .../pull-requests/{pull}.
func (d *dataCenter) getPull(s *Server, c *call) *answer {
	p, refused := d.pullOf(c)
	if refused != nil {
		return refused
	}
	return ok(d.pullJSON(s, p))
}

// activities is GET .../pull-requests/{pull}/activities, the newest first. It is the only list of the comments that are on no
// file; replies are in the comments that they answer.
func (d *dataCenter) activities(s *Server, c *call) *answer {
	p, refused := d.pullOf(c)
	if refused != nil {
		return refused
	}
	// The numbers of activities leave room for those of the comments between the first of a pull request and its last.
	first := int64(p.id) * 1_000_000
	list := []object{}
	if p.state != stateOpen {
		o := object{"id": first + 999_999, "createdDate": dcTime(p.updated), "user": d.userJSON(s, s.ownerLocked(p.repo)), "action": p.state}
		if p.merge != "" {
			commit, refused := d.commitOf(c, p.merge)
			if refused != nil {
				return refused
			}
			o["commit"] = d.commitJSON(s, commit)
		}
		list = append(list, o)
	}
	for _, comment := range slices.Backward(s.comments) {
		if comment.pull != p || comment.Parent != 0 || comment.Deleted {
			continue
		}
		list = append(list, object{"id": first + comment.ID, "createdDate": dcTime(comment.Created), "user": d.userJSON(s, s.userLocked(comment.User)),
			"action": "COMMENTED", "commentAction": "ADDED", "comment": d.commentJSON(s, comment, c.token)})
	}
	list = append(list, object{"id": first, "createdDate": dcTime(p.created), "user": d.userJSON(s, p.author), "action": "OPENED"})
	return dcPageOf(c, list)
}
