package githubtest

import (
	"net/http"
	"slices"
	"time"

	"buildsmith/checks/forgetest"
)

// A Comment is a comment on an issue or a pull request.
type Comment struct {
	ID         int64     `json:"id"`
	Repository string    `json:"repository"`
	Number     int       `json:"number"`
	User       string    `json:"user"`
	Body       string    `json:"body"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`

	repo int64
}

// A Reaction is a reaction to a comment.
type Reaction struct {
	ID      int64     `json:"id"`
	Comment int64     `json:"comment"`
	User    string    `json:"user"`
	Content string    `json:"content"`
	Created time.Time `json:"created"`
}

// issueOfCall returns the issue of a call whose path has an issue_number, and checks that the token may touch it: a pull
// request asks for the permission on pull requests, anything else for that on issues.
func (s *Server) issueOfCall(c *call, number int, level string) (*issue, *answer) {
	i := c.repo.issue(number)
	if i == nil {
		return nil, problem(http.StatusNotFound, "Not Found")
	}
	permission := "issues:" + level
	if i.pull != nil {
		permission = "pull_requests:" + level
	}
	if !c.token.may(permission) {
		return nil, problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	return i, nil
}

// listComments is GET /repos/{owner}/{repo}/issues/{issue_number}/comments.
func (s *Server) listComments(c *call) *answer {
	i, refused := s.issueOfCall(c, int(c.number("issue_number")), "read")
	if refused != nil {
		return refused
	}
	since, _ := time.Parse(time.RFC3339, c.r.URL.Query().Get("since"))
	list := []object{}
	for _, comment := range s.comments {
		if comment.repo == c.repo.id && comment.Number == i.number && !comment.Updated.Before(since) {
			list = append(list, s.commentJSON(c.repo, i, comment))
		}
	}
	return pageOf(s, c, list, "")
}

// createComment is POST /repos/{owner}/{repo}/issues/{issue_number}/comments.
func (s *Server) createComment(c *call) *answer {
	i, refused := s.issueOfCall(c, int(c.number("issue_number")), "write")
	if refused != nil {
		return refused
	}
	var in struct {
		Body string `json:"body"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	comment := s.addCommentLocked(c.repo, i, s.botName(), in.Body)
	s.echoLocked("issue_comment", "created", c.repo, func() object { return s.commentPayload(c.repo, i, comment, "created", s.botName()) })
	body := s.commentJSON(c.repo, i, comment)
	return &answer{status: http.StatusCreated, body: body, header: map[string]string{"Location": body["url"].(string)}}
}

func (s *Server) addCommentLocked(r *repo, i *issue, login, body string) *Comment {
	now := s.now().UTC().Truncate(time.Second)
	comment := &Comment{ID: s.nextIDLocked("comment"), Repository: r.fullName(), repo: r.id, Number: i.number, User: s.userLocked(login).login, Body: body,
		Created: now, Updated: now}
	s.comments = append(s.comments, comment)
	return comment
}

// commentOfCall returns the comment of a call whose path has a comment_id, and the issue that it is on.
func (s *Server) commentOfCall(c *call, level string) (*Comment, *issue, *answer) {
	for _, comment := range s.comments {
		if comment.repo == c.repo.id && comment.ID == c.number("comment_id") {
			i, refused := s.issueOfCall(c, comment.Number, level)
			return comment, i, refused
		}
	}
	return nil, nil, problem(http.StatusNotFound, "Not Found")
}

// getComment is GET /repos/{owner}/{repo}/issues/comments/{comment_id}.
func (s *Server) getComment(c *call) *answer {
	comment, i, refused := s.commentOfCall(c, "read")
	if refused != nil {
		return refused
	}
	return ok(s.commentJSON(c.repo, i, comment))
}

// updateComment is PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}. The app may change its own comments only.
func (s *Server) updateComment(c *call) *answer {
	comment, i, refused := s.commentOfCall(c, "write")
	if refused != nil {
		return refused
	}
	if comment.User != s.botName() {
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	var in struct {
		Body string `json:"body"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	comment.Body, comment.Updated = in.Body, s.now().UTC().Truncate(time.Second)
	return ok(s.commentJSON(c.repo, i, comment))
}

// reactionWords are the contents of reactions.
var reactionWords = []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}

// listReactions is GET /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions.
func (s *Server) listReactions(c *call) *answer {
	comment, _, refused := s.commentOfCall(c, "read")
	if refused != nil {
		return refused
	}
	content := c.r.URL.Query().Get("content")
	list := []object{}
	for _, x := range s.reactions {
		if x.Comment == comment.ID && (content == "" || x.Content == content) {
			list = append(list, s.reactionJSON(x))
		}
	}
	return pageOf(s, c, list, "")
}

// createReaction is POST /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions: 200 if the app has reacted so
// before, else 201.
func (s *Server) createReaction(c *call) *answer {
	comment, _, refused := s.commentOfCall(c, "write")
	if refused != nil {
		return refused
	}
	var in struct {
		Content string `json:"content"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	for _, x := range s.reactions {
		if x.Comment == comment.ID && x.User == s.botName() && x.Content == in.Content {
			return ok(s.reactionJSON(x))
		}
	}
	x := &Reaction{ID: s.nextIDLocked("reaction"), Comment: comment.ID, User: s.botName(), Content: in.Content, Created: s.now().UTC().Truncate(time.Second)}
	s.reactions = append(s.reactions, x)
	return &answer{status: http.StatusCreated, body: s.reactionJSON(x)}
}

func (s *Server) reactionJSON(x *Reaction) object {
	return object{"id": x.ID, "node_id": nodeID("REA", x.ID), "user": s.userJSON(x.User), "content": x.Content, "created_at": stamp(x.Created)}
}

// commentJSON is a comment as payloads have it.
func (s *Server) commentJSON(r *repo, i *issue, comment *Comment) object {
	url := s.api("/repos/%s/issues/comments/%d", r.fullName(), comment.ID)
	counts := object{"url": url + "/reactions", "total_count": 0}
	for _, word := range reactionWords {
		counts[word] = 0
	}
	for _, x := range s.reactions {
		if x.Comment == comment.ID {
			counts[x.Content] = counts[x.Content].(int) + 1
			counts["total_count"] = counts["total_count"].(int) + 1
		}
	}
	return object{"id": comment.ID, "node_id": nodeID("IC", comment.ID), "url": url,
		"html_url":  s.issueURL(r, i) + "#issuecomment-" + lastPart(url),
		"issue_url": s.api("/repos/%s/issues/%d", r.fullName(), i.number), "user": s.userJSON(comment.User), "created_at": stamp(comment.Created),
		"updated_at": stamp(comment.Updated), "author_association": s.associationLocked(r, comment.User), "body": comment.Body,
		"reactions": counts, "performed_via_github_app": s.viaLocked(comment.User)}
}

// A CommitStatus is a status of a commit: what there was before check runs.
type CommitStatus struct {
	ID          int64     `json:"id"`
	SHA         string    `json:"sha"`
	State       string    `json:"state"`
	Context     string    `json:"context"`
	Description string    `json:"description"`
	TargetURL   string    `json:"target_url"`
	Created     time.Time `json:"created"`

	repo int64
}

// mostStatuses is how many statuses a commit has of one context at most.
const mostStatuses = 1000

// createStatus is POST /repos/{owner}/{repo}/statuses/{sha}.
func (s *Server) createStatus(c *call) *answer {
	var in struct {
		State       string `json:"state"`
		Context     string `json:"context"`
		Description string `json:"description"`
		TargetURL   string `json:"target_url"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	sha := c.params["sha"]
	if !forgetest.IsHash(sha) || !s.hasCommit(c.repo, sha) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	if in.Context == "" {
		in.Context = "default"
	}
	same := 0
	for _, x := range s.statuses {
		if x.repo == c.repo.id && x.SHA == sha && x.Context == in.Context {
			same++
		}
	}
	if same >= mostStatuses {
		s.violateLocked(c.r, c.r.URL.Path, "commit %s has %d statuses of %q, as many as it may have", sha, same, in.Context)
		return problem(http.StatusUnprocessableEntity, "This SHA and context has reached the maximum number of statuses.")
	}
	x := &CommitStatus{ID: s.nextIDLocked("status"), repo: c.repo.id, SHA: sha, State: in.State, Context: in.Context, Description: in.Description,
		TargetURL: in.TargetURL, Created: s.now().UTC().Truncate(time.Second)}
	s.statuses = append(s.statuses, x)
	body := s.statusJSON(c.repo, x)
	return &answer{status: http.StatusCreated, body: body, header: map[string]string{"Location": body["url"].(string)}}
}

// listStatuses is GET /repos/{owner}/{repo}/commits/{ref}/statuses, the newest first.
func (s *Server) listStatuses(c *call) *answer {
	sha, found := forgetest.Resolve(s.repoDir(c.repo), c.params["ref"])
	if !found {
		return problem(http.StatusNotFound, "Not Found")
	}
	list := []object{}
	for _, x := range slices.Backward(s.statuses) {
		if x.repo == c.repo.id && x.SHA == sha {
			list = append(list, s.statusJSON(c.repo, x))
		}
	}
	return pageOf(s, c, list, "")
}

func (s *Server) statusJSON(r *repo, x *CommitStatus) object {
	creator := s.userJSON(s.botName())
	return object{"url": s.api("/repos/%s/statuses/%s", r.fullName(), x.SHA), "avatar_url": creator["avatar_url"], "id": x.ID,
		"node_id": nodeID("SC", x.ID), "state": x.State, "description": orNull(x.Description), "target_url": orNull(x.TargetURL), "context": x.Context,
		"created_at": stamp(x.Created), "updated_at": stamp(x.Created), "creator": creator}
}
