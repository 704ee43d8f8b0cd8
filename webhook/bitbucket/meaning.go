package bitbucket

import (
	"fmt"
	"strings"

	"buildsmith/store"
	"buildsmith/webhook"
)

// Organization is whose a repository is: the workspace at Cloud, the project at a Data Center. A person's own is nobody's.
func (c Config) Organization(r store.Repo) string {
	owner, _, _ := strings.Cut(r.Name, "/")
	if c.DataCenter && strings.HasPrefix(owner, "~") {
		return ""
	}
	return owner
}

// maxChanges is how many changes of one push are looked at.
const maxChanges = 1000

// pushed makes a push of its changes, of which others, that are neither of a branch nor of a tag, have been left out.
func pushed(list []webhook.PushEvent, e *webhook.Event) (reason string) {
	e.Summary = "push"
	if len(list) == 0 {
		return "the payload names no branch or tag that changed"
	}
	e.Summary = "push to "
	if list[0].After == "" {
		e.Summary = "deletion of "
	}
	e.Summary += strings.TrimPrefix(strings.TrimPrefix(list[0].Ref, "refs/heads/"), "refs/")
	if len(list) > 1 {
		e.Summary += fmt.Sprintf(", and %d more", len(list)-1)
	}
	if len(list) > maxChanges {
		e.Summary += fmt.Sprintf(", of which the last %d are left out", len(list)-maxChanges)
		list = list[:maxChanges]
	}
	e.Kind, e.Push = webhook.Push, list[0]
	if len(list) > 1 {
		e.Also = list[1:]
	}
	return ""
}

// pulled makes an event of a pull request, with the word that people read of what was done with it.
func pulled(event, done string, vague bool, pr store.PullRequest, e *webhook.Event) (reason string) {
	if pr.Number <= 0 {
		return noPullRequest
	}
	e.Summary = fmt.Sprintf("pull request %d %s", pr.Number, done)
	switch event {
	case store.EventPullRequestMerged:
		pr.Open = false
	case store.EventPullRequestClosed:
		pr.Open, pr.Merged = false, "" // one that was deleted may be said to be open
	default:
		pr.Merged = ""
	}
	e.Kind, e.Event, e.PullRequest, e.Vague = webhook.PullRequest, event, pr, vague
	return ""
}

// commented makes an event of a comment on a pull request.
func commented(c store.Comment, e *webhook.Event) (reason string) {
	switch {
	case c.PullRequest <= 0:
		return noPullRequest
	case c.ID <= 0:
		return "the payload names no comment"
	}
	e.Summary = fmt.Sprintf("comment on pull request %d", c.PullRequest)
	if strings.TrimSpace(c.Body) == "" {
		return "a comment without text starts nothing"
	}
	c.Author.Bot = c.Author.Bot || strings.Contains(c.Body, store.CommentMark)
	e.Kind, e.Comment = webhook.Comment, c
	return ""
}

// changed makes an event of what happened to a repository; nothing that concerns builds, if it is empty.
func changed(change string, e *webhook.Event) (reason string) {
	if change == "" {
		e.Summary = "repository edited"
		return "a repository that is edited starts nothing"
	}
	e.Kind, e.Change, e.Summary = webhook.RepoChanged, change, "repository "+change
	return ""
}
