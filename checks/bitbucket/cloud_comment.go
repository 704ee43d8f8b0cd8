package bitbucket

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"buildsmith/store"
)

// commentFields are what is asked for of a comment.
const commentFields = "id,content.raw,user.type,user.account_id,user.nickname,user.display_name,created_on,deleted,pending"

// A cloudComment is a comment as Cloud sends it.
type cloudComment struct {
	ID      int64
	Content struct{ Raw string }
	User    *cloudUser
	Created time.Time `json:"created_on"`
	Deleted bool
	Pending bool // of a review that is not sent
}

func (c *cloudComment) comment(number int) comment {
	return comment{Comment: store.Comment{ID: c.ID, PullRequest: number, Body: c.Content.Raw, Author: c.User.account(), Created: c.Created}}
}

// A newComment is a comment to be made or changed.
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/
type newComment struct {
	Type    string         `json:"type"`
	Content commentContent `json:"content"`
	Parent  *commentParent `json:"parent,omitempty"`
}

type commentContent struct {
	Raw string `json:"raw"`
}

type commentParent struct {
	ID int64 `json:"id"`
}

// comments implements api.
func (a cloud) comments(ctx context.Context, r store.Repo, number int, since time.Time) (list []comment, err error) {
	c, err := a.of(r)
	if err != nil {
		return nil, err
	}
	since = since.Truncate(time.Microsecond) // finer than that Cloud tells no time
	query := url.Values{"sort": {"created_on"}, "fields": {"next," + prefixed("values.", commentFields)}}
	if !since.IsZero() {
		query.Set("q", "created_on>="+since.UTC().Format("2006-01-02T15:04:05.000000-07:00"))
	}
	found, part, err := each[cloudComment](ctx, a.Host, c, fmt.Sprintf("/repositories/%s/pullrequests/%d/comments", a.path(r), number), query, 100, maxPages)
	if err != nil {
		return nil, err
	}
	if part {
		a.Log.Warn("a pull request has more comments than are read", "repo", r.Name, "pull", number)
	}
	for n := range found {
		if one := &found[n]; !one.Deleted && !one.Pending && !one.Created.Before(since) {
			list = append(list, one.comment(number))
		}
	}
	slices.SortStableFunc(list, func(a, b comment) int { return a.Created.Compare(b.Created) })
	return list, nil
}

// createComment implements api.
func (a cloud) createComment(ctx context.Context, r store.Repo, number int, parent int64, body string) (comment, error) {
	made := newComment{Type: "pullrequest_comment", Content: commentContent{body}}
	if parent != 0 {
		made.Parent = &commentParent{parent}
	}
	return a.writeComment(ctx, r, http.MethodPost, number, "", made)
}

// updateComment implements api.
func (a cloud) updateComment(ctx context.Context, r store.Repo, number int, id int64, body string) (comment, error) {
	return a.writeComment(ctx, r, http.MethodPut, number, fmt.Sprintf("/%d", id), newComment{Type: "pullrequest_comment", Content: commentContent{body}})
}

func (a cloud) writeComment(ctx context.Context, r store.Repo, method string, number int, path string, made newComment) (comment, error) {
	var got cloudComment
	if err := a.do(ctx, r, method, fmt.Sprintf("/pullrequests/%d/comments%s?fields=%s", number, path, commentFields), made, &got); err != nil {
		return comment{}, err
	}
	return got.comment(number), nil
}
