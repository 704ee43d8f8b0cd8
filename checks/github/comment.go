package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"buildsmith/checks"
	"buildsmith/store"
)

const (
	// maxComment is how many characters of a comment are sent. GitHub takes 65,536 with the mark.
	maxComment = 65_000
	// maxCommentPages is how many pages of comments are looked through, a hundred comments each.
	maxCommentPages = 50
)

// mark is what a comment of ours is known by. People do not see it. Only our own comments are looked at, and only where the mark
// belongs: nobody else can set one.
func mark(report *checks.Report) string {
	if report.Name == checks.SummaryName {
		return "<!-- buildsmith:summary -->"
	}
	return "<!-- buildsmith:" + report.Name + " " + report.ExternalID + " -->"
}

func commentBody(report *checks.Report) map[string]string {
	return map[string]string{"body": clip(report.Summary, maxComment) + "\n\n" + mark(report)}
}

type comment struct {
	ID   int64
	Body string
	User user
	Via  *struct{ ID int64 } `json:"performed_via_github_app"`
}

// createComment implements Create for comments.
// https://docs.github.com/rest/issues/comments#create-an-issue-comment
func (a *App) createComment(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	var made comment
	if err := a.do(ctx, r, http.MethodPost, fmt.Sprintf("/issues/%d/comments", report.PullRequest), commentBody(report), &made); err != nil {
		return "", refusedToo(err)
	}
	return strconv.FormatInt(made.ID, 10), nil
}

// updateComment implements Update for comments. A reply is as it should be once it is there.
func (a *App) updateComment(ctx context.Context, r store.Repo, remote string, report *checks.Report) error {
	if report.Name == checks.ReplyName {
		return nil
	}
	err := a.do(ctx, r, http.MethodPatch, "/issues/comments/"+remote, commentBody(report), nil)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", checks.ErrGone, err)
	}
	return refusedToo(err)
}

// findComment implements Find for comments: the oldest of ours that has the mark at its end.
func (a *App) findComment(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	const perPage = 100
	for page := 1; page <= maxCommentPages; page++ {
		var list []comment
		path := fmt.Sprintf("/issues/%d/comments?per_page=%d&page=%d", report.PullRequest, perPage, page)
		if err := a.do(ctx, r, http.MethodGet, path, nil, &list); err != nil {
			return "", refusedToo(err)
		}
		for _, c := range list {
			if !strings.HasSuffix(strings.TrimSpace(c.Body), mark(report)) {
				continue
			}
			if own, err := a.wrote(ctx, &c); err != nil {
				return "", err
			} else if own {
				return strconv.FormatInt(c.ID, 10), nil
			}
		}
		if len(list) < perPage {
			return "", nil
		}
	}
	return "", nil
}

// wrote reports whether a comment is the App's own. Only a bot's login has brackets, and that of an App's bot is the App's name
// in addresses with [bot] behind it.
func (a *App) wrote(ctx context.Context, c *comment) (bool, error) {
	if c.User.Type != "Bot" || c.Via != nil && c.Via.ID != a.AppID {
		return false, nil
	}
	slug, err := a.ownSlug(ctx)
	return err == nil && strings.EqualFold(c.User.Login, slug+"[bot]"), err
}

// ownSlug is the App's name in addresses.
func (a *App) ownSlug(ctx context.Context) (string, error) {
	a.mu.Lock()
	slug := a.slug
	a.mu.Unlock()
	if slug != "" {
		return slug, nil
	}
	t, err := a.asApp(0)
	if err != nil {
		return "", err
	}
	client := a.newClient(t)
	request, err := client.NewRequest(http.MethodGet, "app", nil)
	if err != nil {
		return "", err
	}
	var app struct{ Slug string }
	if _, err := client.Do(ctx, request, &app); err != nil {
		return "", fmt.Errorf("asking for the App's name: %w", a.tellApart(err))
	}
	if app.Slug == "" {
		return "", errors.New("GitHub does not tell the App's name")
	}
	a.mu.Lock()
	a.slug = app.Slug
	a.mu.Unlock()
	return app.Slug, nil
}
