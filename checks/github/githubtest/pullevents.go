package githubtest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// aboutPull changes a pull request and tells the app what was done.
func (s *Server) aboutPull(fullName string, number int, login, action string, change func(*repo, *issue) (more object, err error)) (Delivery, error) {
	return s.deliver("pull_request", func() (*repo, object, error) {
		r, i, err := s.pullLocked(fullName, number)
		if err != nil {
			return nil, nil, err
		}
		more, err := change(r, i)
		if err != nil {
			return nil, nil, fmt.Errorf("pull request %d of %s: %w", number, fullName, err)
		}
		i.updated = s.now()
		if login == "" {
			login = i.user
		}
		payload, err := s.pullPayloadLocked(r, i, action, login, more)
		return r, payload, err
	})
}

// ChangeBase lets a pull request go into another branch and tells the app that it was edited.
func (s *Server) ChangeBase(fullName string, number int, base string) (Delivery, error) {
	return s.aboutPull(fullName, number, "", "edited", func(r *repo, i *issue) (object, error) {
		ref, sha := i.pull.baseRef, i.pull.baseSHA
		if !i.open || base == ref {
			return nil, errors.New("it is closed, or goes there already")
		}
		i.pull.baseRef = base
		if err := s.refreshPullLocked(r, i); err != nil {
			i.pull.baseRef = ref
			return nil, err
		}
		return object{"changes": object{"base": object{"ref": object{"from": ref}, "sha": object{"from": sha}}}}, nil
	})
}

// Retitle gives a pull request another title and tells the app that it was edited.
func (s *Server) Retitle(fullName string, number int, title string) (Delivery, error) {
	return s.aboutPull(fullName, number, "", "edited", func(_ *repo, i *issue) (object, error) {
		from := i.title
		i.title = title
		return object{"changes": object{"title": object{"from": from}}}, nil
	})
}

// Label puts a label on a pull request, as a user, and tells the app.
func (s *Server) Label(fullName string, number int, login, label string) (Delivery, error) {
	return s.aboutPull(fullName, number, login, "labeled", func(r *repo, i *issue) (object, error) {
		if label == "" || slices.Contains(i.labels, label) {
			return nil, fmt.Errorf("the label %q is there already, or is none", label)
		}
		i.labels = append(i.labels, label)
		return object{"label": s.labelJSON(r, label)}, nil
	})
}

// Unlabel takes a label from a pull request, as a user, and tells the app.
func (s *Server) Unlabel(fullName string, number int, login, label string) (Delivery, error) {
	return s.aboutPull(fullName, number, login, "unlabeled", func(r *repo, i *issue) (object, error) {
		at := slices.Index(i.labels, label)
		if at < 0 {
			return nil, fmt.Errorf("the label %q: %w", label, fs.ErrNotExist)
		}
		i.labels = slices.Delete(i.labels, at, at+1)
		return object{"label": s.labelJSON(r, label)}, nil
	})
}

func (s *Server) labelsJSON(r *repo, i *issue) []object {
	list := []object{}
	for _, label := range i.labels {
		list = append(list, s.labelJSON(r, label))
	}
	return list
}

func (s *Server) labelJSON(r *repo, label string) object {
	h := fnv.New32a()
	h.Write([]byte(label))
	id := 5_000_000_000 + int64(h.Sum32())
	return object{"id": id, "node_id": nodeID("LA", id), "url": s.api("/repos/%s/labels/%s", r.fullName(), escapePath(label)), "name": label,
		"color": "ededed", "default": false, "description": nil}
}

// SetDraft makes a pull request a draft, or says that it is ready for review, and tells the app.
func (s *Server) SetDraft(fullName string, number int, draft bool) (Delivery, error) {
	action := "ready_for_review"
	if draft {
		action = "converted_to_draft"
	}
	return s.aboutPull(fullName, number, "", action, func(_ *repo, i *issue) (object, error) {
		if !i.open || i.pull.draft == draft {
			return nil, fmt.Errorf("it is closed, or a draft already: %t", draft)
		}
		i.pull.draft = draft
		return nil, nil
	})
}

// aboutComment tells the app what was done with a comment.
func (s *Server) aboutComment(id int64, login, action string, change func(*Comment) (more object)) (Delivery, error) {
	return s.deliver("issue_comment", func() (*repo, object, error) {
		at := slices.IndexFunc(s.comments, func(c *Comment) bool { return c.ID == id })
		if at < 0 || s.repos[s.comments[at].repo] == nil {
			return nil, nil, fmt.Errorf("comment %d: %w", id, fs.ErrNotExist)
		}
		c := s.comments[at]
		r := s.repos[c.repo]
		more := change(c)
		if action == "deleted" {
			s.comments = slices.Delete(s.comments, at, at+1)
		}
		return r, with(s.commentPayload(r, r.issue(c.Number), c, action, login), more), nil
	})
}

// EditComment changes the text of a comment, as a user, and tells the app.
func (s *Server) EditComment(id int64, login, body string) (Delivery, error) {
	return s.aboutComment(id, login, "edited", func(c *Comment) object {
		from := c.Body
		c.Body, c.Updated = body, s.now().UTC().Truncate(time.Second)
		return object{"changes": object{"body": object{"from": from}}}
	})
}

// DeleteComment deletes a comment, as a user, and tells the app.
func (s *Server) DeleteComment(id int64, login string) (Delivery, error) {
	return s.aboutComment(id, login, "deleted", func(*Comment) object { return nil })
}

// viaLocked is the app that wrote a comment, or null: the users that apps act as end in [bot].
func (s *Server) viaLocked(login string) any {
	slug, isApp := strings.CutSuffix(login, "[bot]")
	switch {
	case login == s.botName():
		return s.appJSON(s.appID)
	case isApp:
		return with(s.appJSON(otherApp), object{"slug": slug, "name": slug})
	}
	return nil
}

// otherApp is the number of an app that is not the one under test: that of GitHub Actions.
const otherApp = 15368
