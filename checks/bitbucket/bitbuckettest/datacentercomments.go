package bitbuckettest

import (
	"net/http"
	"slices"
)

// commentOf returns the comment that the path of a call names.
func (d *dataCenter) commentOf(s *Server, c *call) (*Comment, *answer) {
	p, refused := d.pullOf(c)
	if refused != nil {
		return nil, refused
	}
	id := c.param("comment")
	if comment := s.commentLocked(p, id); comment != nil {
		return comment, nil
	}
	return nil, dcNoComment(id)
}

func dcNoComment(id int64) *answer {
	return dcProblem(http.StatusNotFound, "comment.NoSuchCommentException", "Comment %d does not exist.", id)
}

// addComment is POST .../pull-requests/{pull}/comments.
func (d *dataCenter) addComment(s *Server, c *call) *answer {
	p, refused := d.pullOf(c)
	if refused != nil {
		return refused
	}
	var in struct {
		Text   string `json:"text"`
		Parent struct {
			ID int64 `json:"id"`
		} `json:"parent"`
	}
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	comment, e, err := s.addCommentLocked(p, s.userLocked(c.token.User), Comment{Body: in.Text, Parent: in.Parent.ID})
	if err != nil {
		return dcNoComment(in.Parent.ID)
	}
	s.tellLater(e)
	return &answer{status: http.StatusCreated, body: d.commentJSON(s, comment, c.token)}
}

// getComment is GET .../pull-requests/{pull}/comments/{comment}.
func (d *dataCenter) getComment(s *Server, c *call) *answer {
	comment, refused := d.commentOf(s, c)
	if refused != nil {
		return refused
	}
	return ok(d.commentJSON(s, comment, c.token))
}

// dcOutOfDate says that somebody has changed a comment since it was read.
func dcOutOfDate(c *Comment, version int) *answer {
	return dcProblem(http.StatusConflict, "comment.CommentOutOfDateException",
		"You are attempting to modify a comment based on out-of-date information: it has version %d, not %d.", c.Version, version)
}

// editComment is PUT .../pull-requests/{pull}/comments/{comment}. Only its author may give a comment another text.
func (d *dataCenter) editComment(s *Server, c *call) *answer {
	comment, refused := d.commentOf(s, c)
	if refused != nil {
		return refused
	}
	var in struct {
		Text    string `json:"text"`
		Version int    `json:"version"`
	}
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	if comment.User != c.token.User {
		return d.denied("to be the author of the comment")
	}
	if in.Version > comment.Version {
		s.violateLocked(c.r, c.r.URL.Path, "comment %d has version %d, and never had version %d", comment.ID, comment.Version, in.Version)
	}
	if in.Version != comment.Version {
		return dcOutOfDate(comment, in.Version)
	}
	s.tellLater(s.editLocked(comment, s.userLocked(c.token.User), in.Text))
	return ok(d.commentJSON(s, comment, c.token))
}

// deleteComment is DELETE .../pull-requests/{pull}/comments/{comment}. A comment that was answered stays.
func (d *dataCenter) deleteComment(s *Server, c *call) *answer {
	comment, refused := d.commentOf(s, c)
	if refused != nil {
		return refused
	}
	if comment.User != c.token.User && !d.may(s, c.token, c.repo, "REPO_ADMIN") {
		return d.denied("REPO_ADMIN")
	}
	if version := c.number("version", -1, 0, 1<<30); version != comment.Version {
		return dcOutOfDate(comment, version)
	}
	if slices.ContainsFunc(s.comments, func(other *Comment) bool { return other.Parent == comment.ID && !other.Deleted }) {
		return dcProblem(http.StatusConflict, "comment.CommentDeletionException", "Comment %d has replies and cannot be deleted.", comment.ID)
	}
	comment.Deleted = true
	s.tellLater(event{kind: commentDeleted, repo: c.repo, actor: s.userLocked(c.token.User), pull: comment.pull, comment: comment})
	return &answer{status: http.StatusNoContent}
}

// dcEmoticons are the shortcuts that reactions are given by, with what they show.
var dcEmoticons = map[string]string{
	"thumbsup": "👍", "thumbsdown": "👎", "eyes": "👀", "heart": "❤️", "laughing": "😆", "tada": "🎉", "rocket": "🚀", "confused": "😕",
	"thinking_face": "🤔",
}

func (d *dataCenter) emoticonJSON(s *Server, shortcut string) object {
	return object{"shortcut": shortcut, "value": dcEmoticons[shortcut], "url": d.web(s, "/emoticons/%s.svg", shortcut)}
}

// react is PUT .../comments/{comment}/reactions/{emoticon}. Who gives the same twice gives it once.
func (d *dataCenter) react(s *Server, c *call) *answer {
	comment, refused := d.commentOf(s, c)
	if refused != nil {
		return refused
	}
	if err := s.reactLocked(comment, c.token.User, c.params["emoticon"], true); err != nil {
		return d.broken(err)
	}
	return ok(object{"comment": d.commentJSON(s, comment, c.token), "emoticon": d.emoticonJSON(s, c.params["emoticon"]), "user": d.userJSON(s, s.userLocked(c.token.User))})
}

// takeBack is DELETE .../comments/{comment}/reactions/{emoticon}.
func (d *dataCenter) takeBack(s *Server, c *call) *answer {
	comment, refused := d.commentOf(s, c)
	if refused != nil {
		return refused
	}
	if err := s.reactLocked(comment, c.token.User, c.params["emoticon"], false); err != nil {
		return d.broken(err)
	}
	return &answer{status: http.StatusNoContent}
}
