package bitbuckettest

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// A Comment is one on a pull request.
type Comment struct {
	ID         int64      `json:"id"`
	Repository string     `json:"repository"`
	Number     int        `json:"number"` // of the pull request
	User       string     `json:"user"`
	Body       string     `json:"body"`
	Parent     int64      `json:"parent"` // of a reply
	Path       string     `json:"path"`   // of one on a line
	Line       int        `json:"line"`
	Deleted    bool       `json:"deleted"`
	Version    int        `json:"version"`
	Created    time.Time  `json:"created"`
	Updated    time.Time  `json:"updated"`
	Reactions  []Reaction `json:"reactions"` // on Data Center

	pull *pull
}

// A Reaction is what somebody thinks of a comment.
type Reaction struct {
	User     string `json:"user"`
	Emoticon string `json:"emoticon"`
}

// Comment writes a comment on a pull request, as a person does, and tells the hooks.
func (s *Server) Comment(repo string, number int, user, body string) (Comment, Delivery, error) {
	return s.ReplyTo(repo, number, 0, user, body)
}

// ReplyTo writes an answer to a comment of a pull request, as a person does, and tells the hooks.
func (s *Server) ReplyTo(repo string, number int, parent int64, user, body string) (comment Comment, d Delivery, err error) {
	d, err = s.tell(func() ([]event, error) {
		_, p, err := s.pullLocked(repo, number)
		if err != nil {
			return nil, err
		}
		c, e, err := s.addCommentLocked(p, s.userLocked(user), Comment{Body: body, Parent: parent})
		if err != nil {
			return nil, err
		}
		comment = *c
		return []event{e}, nil
	})
	return comment, d, err
}

// addCommentLocked keeps a comment, and returns the event of it.
func (s *Server) addCommentLocked(p *pull, user *User, c Comment) (*Comment, event, error) {
	if c.Parent != 0 && s.commentLocked(p, c.Parent) == nil {
		return nil, event{}, fmt.Errorf("the comment %d that is answered: %w", c.Parent, fs.ErrNotExist)
	}
	c.ID, c.pull, c.Repository, c.Number, c.User = s.nextIDLocked("comment"), p, s.flavor.fullName(p.repo), p.id, user.Name
	c.Created, c.Updated = s.now(), s.now()
	p.updated = c.Created
	s.comments = append(s.comments, &c)
	s.wakeLocked()
	return &c, event{kind: commentAdded, repo: p.repo, actor: user, pull: p, comment: &c}, nil
}

// commentLocked returns a comment of a pull request that is not deleted, or of any if p is nil.
func (s *Server) commentLocked(p *pull, id int64) *Comment {
	for _, c := range s.comments {
		if c.ID == id && !c.Deleted && (p == nil || c.pull == p) {
			return c
		}
	}
	return nil
}

// EditComment gives a comment another text, as its author or somebody else, and tells the hooks.
func (s *Server) EditComment(id int64, user, body string) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		c := s.commentLocked(nil, id)
		if c == nil {
			return nil, fmt.Errorf("the comment %d: %w", id, fs.ErrNotExist)
		}
		return []event{s.editLocked(c, s.userLocked(user), body)}, nil
	})
}

func (s *Server) editLocked(c *Comment, user *User, body string) event {
	e := event{kind: commentEdited, repo: c.pull.repo, actor: user, pull: c.pull, comment: c, oldText: c.Body}
	c.Body, c.Updated = body, s.now()
	c.Version++
	s.wakeLocked()
	return e
}

// DeleteComment deletes a comment, and tells the hooks.
func (s *Server) DeleteComment(id int64, user string) (Delivery, error) {
	return s.tell(func() ([]event, error) {
		c := s.commentLocked(nil, id)
		if c == nil {
			return nil, fmt.Errorf("the comment %d: %w", id, fs.ErrNotExist)
		}
		c.Deleted = true
		return []event{{kind: commentDeleted, repo: c.pull.repo, actor: s.userLocked(user), pull: c.pull, comment: c}}, nil
	})
}

// Comments returns the comments of a pull request that are not deleted, the oldest first.
func (s *Server) Comments(repo string, number int) []Comment {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, p, err := s.pullLocked(repo, number)
	if err != nil {
		return nil
	}
	var list []Comment
	for _, c := range s.comments {
		if c.pull == p && !c.Deleted {
			one := *c
			one.Reactions = slices.Clone(c.Reactions)
			list = append(list, one)
		}
	}
	return list
}

// reactLocked adds a reaction, or takes it away; there is each at most once.
func (s *Server) reactLocked(c *Comment, user, emoticon string, add bool) error {
	if emoticon = strings.Trim(emoticon, ":"); emoticon == "" {
		return errors.New("the reaction has no name")
	}
	r := Reaction{User: user, Emoticon: emoticon}
	c.Reactions = slices.DeleteFunc(c.Reactions, func(other Reaction) bool { return other == r })
	if add {
		c.Reactions = append(c.Reactions, r)
	}
	s.wakeLocked()
	return nil
}
