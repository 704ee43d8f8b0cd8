package bitbuckettest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

func cloudPullOperations() []operation {
	comments := inPull + "/comments"
	return []operation{
		{method: "GET", path: inRepo + "/pullrequests", scope: "pullrequest", run: (*Server).cloudPulls},
		{method: "GET", path: inPull, scope: "pullrequest", run: (*Server).cloudPull},
		{method: "GET", path: comments, scope: "pullrequest", run: (*Server).cloudComments},
		{method: "POST", path: comments, scope: "pullrequest:answer", run: (*Server).cloudAddComment},
		{method: "GET", path: comments + "/{comment_id}", scope: "pullrequest", run: (*Server).cloudComment},
		{method: "PUT", path: comments + "/{comment_id}", scope: "pullrequest:answer", run: (*Server).cloudEditComment},
		{method: "DELETE", path: comments + "/{comment_id}", scope: "pullrequest:answer", run: (*Server).cloudDeleteComment},
	}
}

// cloudPulls is GET of the pull requests in some states, the open ones if none is named, the newest first.
func (s *Server) cloudPulls(c *call) *answer {
	states := c.r.URL.Query()["state"]
	if len(states) == 0 {
		states = []string{stateOpen}
	}
	var list []*pull
	for _, p := range slices.Backward(c.repo.pulls) {
		if slices.Contains(states, p.state) {
			list = append(list, p)
		}
	}
	return cloudPage(s, c, 50, list, s.cloudPullJSON)
}

// thePull finds the pull request that a path names.
func (c *call) thePull() (*pull, *answer) {
	if p := c.repo.pull(int(c.param("pull_request_id"))); p != nil {
		return p, nil
	}
	return nil, notFound("Pull request %s not found", c.params["pull_request_id"])
}

func (s *Server) cloudPull(c *call) *answer {
	p, missing := c.thePull()
	if missing != nil {
		return missing
	}
	return ok(s.cloudPullJSON(p))
}

// cloudComments is GET of all comments of a pull request, the deleted ones too, which have no text any more.
func (s *Server) cloudComments(c *call) *answer {
	p, missing := c.thePull()
	if missing != nil {
		return missing
	}
	var since time.Time
	if q, ok := strings.CutPrefix(c.query("q"), "created_on>="); ok {
		since, _ = time.Parse(time.RFC3339Nano, q) // the description has seen to it
	}
	var list []*Comment
	for _, comment := range s.comments {
		if comment.pull == p && !comment.Created.Before(since) {
			list = append(list, comment)
		}
	}
	return cloudPage(s, c, 100, list, s.cloudCommentJSON)
}

// A cloudCommentBody is what is sent for a comment.
type cloudCommentBody struct {
	Content struct {
		Raw string `json:"raw"`
	} `json:"content"`
	Parent struct {
		ID int64 `json:"id"`
	} `json:"parent"`
	Inline struct {
		Path string `json:"path"`
		To   int    `json:"to"`
	} `json:"inline"`
}

func (s *Server) cloudAddComment(c *call) *answer {
	p, missing := c.thePull()
	if missing != nil {
		return missing
	}
	var in cloudCommentBody
	if err := c.decode(&in); err != nil {
		return cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	comment, e, err := s.addCommentLocked(p, c.user, Comment{Body: in.Content.Raw, Parent: in.Parent.ID, Path: in.Inline.Path, Line: in.Inline.To})
	if err != nil {
		return notFound("%v", err)
	}
	s.tellLater(e)
	return made(s.cloudCommentJSON(comment))
}

// theComment finds the comment that a path names.
func (s *Server) theComment(c *call) (*Comment, *answer) {
	p, missing := c.thePull()
	if missing != nil {
		return nil, missing
	}
	if comment := s.commentLocked(p, c.param("comment_id")); comment != nil {
		return comment, nil
	}
	return nil, notFound("Comment %s not found", c.params["comment_id"])
}

func (s *Server) cloudComment(c *call) *answer {
	comment, missing := s.theComment(c)
	if missing != nil {
		return missing
	}
	return ok(s.cloudCommentJSON(comment))
}

// cloudEditComment is PUT of a comment, which only its author may.
func (s *Server) cloudEditComment(c *call) *answer {
	comment, refused := s.theComment(c)
	if refused != nil {
		return refused
	}
	if comment.User != c.user.Name {
		return cloud{}.refusal(http.StatusForbidden, "You can only edit comments that you have written.")
	}
	var in cloudCommentBody
	if err := c.decode(&in); err != nil {
		return cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	s.tellLater(s.editLocked(comment, c.user, in.Content.Raw))
	return ok(s.cloudCommentJSON(comment))
}

func (s *Server) cloudDeleteComment(c *call) *answer {
	comment, refused := s.theComment(c)
	if refused != nil {
		return refused
	}
	if comment.User != c.user.Name && !atLeast(s.tokenRoleLocked(c.token, c.repo), "admin") {
		return cloud{}.refusal(http.StatusForbidden, "You can only delete comments that you have written.")
	}
	comment.Deleted = true
	s.tellLater(event{kind: commentDeleted, repo: c.repo, actor: c.user, pull: comment.pull, comment: comment})
	return nothing()
}
