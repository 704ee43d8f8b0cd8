package bitbucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"buildsmith/checks"
	"buildsmith/store"
)

// maxComment is how many characters a comment has at most, with the mark. Data Center takes 32,768.
const maxComment = 30_000

// mark is what a comment of ours is known by. People do not see it. Only our own comments are looked at, and only where the mark
// belongs: nobody else can set one.
func mark(report *checks.Report) string {
	if report.Name == checks.SummaryName {
		return store.CommentMark + "summary)"
	}
	return store.CommentMark + report.Name + " " + report.ExternalID + ")"
}

func commentBody(report *checks.Report) string {
	end := "\n\n" + mark(report)
	return clip(report.Summary, maxComment-utf8.RuneCountInString(end)) + end
}

// createComment implements Create for comments. Whoever wrote it is who we are.
func (h *Host) createComment(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	c, err := h.of(r)
	if err != nil {
		return "", err
	}
	made, err := h.api.createComment(ctx, r, report.PullRequest, report.InReplyTo, commentBody(report))
	if report.InReplyTo != 0 && (errors.Is(err, store.ErrNotFound) || statusOf(err) == http.StatusBadRequest) {
		// Somebody has deleted the comment that it answers. It can be read all the same.
		made, err = h.api.createComment(ctx, r, report.PullRequest, 0, commentBody(report))
	}
	if err != nil {
		return "", refusedToo(err)
	}
	c.learn(made.Author.ID)
	return strconv.FormatInt(made.ID, 10), nil
}

// updateComment implements Update for comments. A reply is as it should be once it is there. Only who wrote a comment may change it:
// one that we may not is not ours, and another is made.
func (h *Host) updateComment(ctx context.Context, r store.Repo, remote string, report *checks.Report) error {
	if report.Name == checks.ReplyName {
		return nil
	}
	c, err := h.of(r)
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(remote, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %w: %q is no id of a comment", checks.ErrRefused, checks.ErrGone, remote)
	}
	changed, err := h.api.updateComment(ctx, r, report.PullRequest, id, commentBody(report))
	switch {
	case err == nil:
		c.learn(changed.Author.ID)
	case statusOf(err) == http.StatusForbidden:
		h.known.notOurs(c, id)
		err = fmt.Errorf("%w: %w", checks.ErrGone, err)
	case errors.Is(err, store.ErrNotFound):
		err = fmt.Errorf("%w: %w", checks.ErrGone, err)
	}
	return refusedToo(err)
}

// findComment implements Find for comments: the oldest of ours that has the mark at its end. Where nobody knows who we are, that is the
// oldest one that we were not kept from changing.
func (h *Host) findComment(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	c, err := h.of(r)
	if err != nil {
		return "", err
	}
	own := c.self()
	if own == "" {
		if own, err = h.api.self(ctx, c); err != nil {
			return "", fmt.Errorf("asking who we are: %w", err)
		}
		c.learn(own)
	}
	list, err := h.api.comments(ctx, r, report.PullRequest, time.Time{})
	if err != nil {
		return "", refusedToo(err)
	}
	for _, one := range list {
		if !strings.HasSuffix(strings.TrimSpace(one.Body), mark(report)) {
			continue
		}
		if own == "" && !h.known.isNotOurs(c, one.ID) || own != "" && one.Author.ID == own {
			return strconv.FormatInt(one.ID, 10), nil
		}
	}
	return "", nil
}
