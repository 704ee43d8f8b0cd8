package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"buildsmith/store"
)

// dcComment is a comment on a pull request, with its answers.
type dcComment struct {
	ID       int64
	Version  int
	Text     string
	Author   dcUser
	Created  int64 `json:"createdDate"`
	Comments []dcComment
}

func (c *dcComment) comment(number int) comment {
	return comment{store.Comment{ID: c.ID, PullRequest: number, Body: c.Text, Author: c.Author.account(), Created: time.UnixMilli(c.Created)}, c.Version}
}

// comments reads all that happened to a pull request: an answer stands with the comment that it answers, however old that is.
func (d *dataCenter) comments(ctx context.Context, r store.Repo, number int, since time.Time) (found []comment, err error) {
	type activity struct {
		Action  string
		Comment *dcComment
	}
	seen := map[int64]bool{}
	var collect func(c *dcComment)
	collect = func(c *dcComment) {
		if one := c.comment(number); c.ID > 0 && !seen[c.ID] && !one.Created.Before(since) {
			seen[c.ID] = true
			found = append(found, one)
		}
		for i := range c.Comments {
			collect(&c.Comments[i])
		}
	}
	q := dcRequest{where: inRepo("api", fmt.Sprintf("/pull-requests/%d/activities", number))}
	err = walk(ctx, d, r, q, dcFewThings, func(a activity) bool {
		if a.Action == "COMMENTED" && a.Comment != nil {
			collect(a.Comment)
		}
		return true
	})
	if errors.Is(err, errPages) { // the newest are there
		d.h.Log.Warn("a pull request has more comments than are read", "repo", r.Name, "pull request", number)
		err = nil
	}
	slices.SortFunc(found, func(a, b comment) int { // ids follow time more closely than clocks do
		return int(min(max(a.ID-b.ID, -1), 1))
	})
	return found, err
}

func commentPath(number int, id int64) string {
	path := fmt.Sprintf("/pull-requests/%d/comments", number)
	if id != 0 {
		path += "/" + strconv.FormatInt(id, 10)
	}
	return path
}

func (d *dataCenter) createComment(ctx context.Context, r store.Repo, number int, parent int64, body string) (comment, error) {
	text := map[string]any{"text": body}
	if parent != 0 {
		text["parent"] = map[string]int64{"id": parent}
	}
	var made dcComment
	err := d.ask(ctx, r, dcRequest{method: http.MethodPost, where: inRepo("api", commentPath(number, 0)), body: text}, &made)
	return made.comment(number), err
}

// updateComment changes the version that there is. If somebody was faster, that is the next one.
func (d *dataCenter) updateComment(ctx context.Context, r store.Repo, number int, id int64, body string) (comment, error) {
	where := inRepo("api", commentPath(number, id))
	for again := true; ; again = false {
		var now, changed dcComment
		if err := d.ask(ctx, r, dcRequest{where: where}, &now); err != nil {
			return comment{}, err
		}
		if now.Text == body {
			return now.comment(number), nil
		}
		err := d.ask(ctx, r, dcRequest{method: http.MethodPut, where: where, body: map[string]any{"text": body, "version": now.Version}}, &changed)
		if again && statusOf(err) == http.StatusConflict {
			continue
		}
		return changed.comment(number), err
	}
}

// self is the user that answers name. Where they do not tell the id as well, it is looked for.
func (d *dataCenter) self(ctx context.Context, c *credential) (id string, err error) {
	_, who, err := d.properties(ctx, c)
	if err != nil || who.ID != "" || who.Login == "" {
		return who.ID, err
	}
	ask := func(ctx context.Context, query string, v any) error {
		_, err := d.h.send(ctx, c, request{method: http.MethodGet, path: usersPath + "?" + query, quiet: true}, v)
		return err
	}
	err = pages(ctx, ask, url.Values{"filter": {who.Login}}, dcManyThings, func(u dcUser) bool {
		if u.Name == who.Login {
			id = u.account().ID
		}
		return id == ""
	})
	if denied(err) || errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return id, err
}

// Emoticons for reactions. Data Center has no confused one.
var dcEmoticons = map[store.Reaction]string{store.ReactionAccepted: "eyes", store.ReactionRefused: "thumbsdown"}

// acknowledge leaves out what older versions do not have.
func (d *dataCenter) acknowledge(ctx context.Context, r store.Repo, c store.Comment, with store.Reaction) error {
	emoticon, ok := dcEmoticons[with]
	if !ok {
		return fmt.Errorf("Bitbucket has no reaction %q", with)
	}
	where := inRepo("comment-likes", commentPath(c.PullRequest, c.ID)+"/reactions/"+emoticon)
	err := d.ask(ctx, r, dcRequest{method: http.MethodPut, where: where, quiet: true}, nil)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
