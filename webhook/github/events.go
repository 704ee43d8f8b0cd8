package github

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"buildsmith/store"
	"buildsmith/webhook"
)

// repo is a repository as payloads have it. Addresses are made of the configuration and the name: a token must not go where a
// payload says.
func (c Config) repo(r *repository, installation int64) store.Repo {
	return store.Repo{
		Forge: Name, Host: c.Host, ID: strconv.FormatInt(r.ID, 10), Name: r.FullName,
		CloneURL: c.Web + "/" + r.FullName + ".git", WebURL: c.Web + "/" + r.FullName,
		DefaultBranch: r.DefaultBranch, Private: r.Private, Installation: installation,
	}
}

// maxFiles is how many changed files are taken from a payload.
const maxFiles = 3000

func push(p *payload, e *webhook.Event) (reason string) {
	e.Kind = webhook.Push
	e.At = p.Repository.PushedAt.Time
	e.Push = webhook.PushEvent{Ref: p.Ref, Before: p.Before, After: p.After}
	e.Summary = "push to " + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/")
	if p.After == "" {
		return "the payload names no commit"
	}
	if p.Deleted || strings.Trim(p.After, "0") == "" {
		e.Push.After = ""
		e.Summary = "deletion of " + strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/")
		return ""
	}
	if p.HeadCommit != nil {
		// An annotated tag's after is the tag; the commit stands here.
		e.Push.After, e.Push.Message = p.HeadCommit.ID, p.HeadCommit.Message
	}
	for _, c := range p.Commits {
		for _, files := range [][]string{c.Added, c.Modified, c.Removed} {
			if len(e.Push.Files)+len(files) > maxFiles {
				e.Push.Truncated = true
				return ""
			}
			e.Push.Files = append(e.Push.Files, files...)
		}
	}
	slices.Sort(e.Push.Files)
	e.Push.Files = slices.Compact(e.Push.Files)
	return ""
}

func pulled(p *payload, e *webhook.Event) (reason string) {
	events := map[string]string{
		"opened": store.EventPullRequestCreated, "synchronize": store.EventPullRequestUpdated, "reopened": store.EventPullRequestReopen,
		"ready_for_review": store.EventPullRequestUpdated, "edited": store.EventPullRequestUpdated, "closed": store.EventPullRequestClosed,
	}
	if p.PullRequest == nil {
		return "the payload names no pull request"
	}
	e.At = p.PullRequest.UpdatedAt.Time
	e.Summary = fmt.Sprintf("pull request %d %s", p.PullRequest.Number, p.Action)
	if e.Event = events[p.Action]; e.Event == "" {
		e.Unknown = !knownActions["pull_request"][p.Action]
		return fmt.Sprintf("a pull request that is %s starts nothing", p.Action)
	}
	switch {
	case p.Action == "closed" && p.PullRequest.Merged:
		e.Event = store.EventPullRequestMerged
	case p.Action == "edited" && p.Changes.Base == nil:
		return "a pull request whose title or text is edited starts nothing"
	}
	e.Kind, e.PullRequest = webhook.PullRequest, p.PullRequest.pullRequest()
	return ""
}

// knownActions are those of events of ours that start nothing, and are known to.
var knownActions = map[string]map[string]bool{
	"pull_request": words("assigned auto_merge_disabled auto_merge_enabled converted_to_draft demilestoned dequeued enqueued labeled locked milestoned " +
		"review_request_removed review_requested unassigned unlabeled unlocked"),
	"check_run":   words("created completed"),
	"check_suite": words("requested completed"),
	"repository":  words("created edited"),
	"release":     words("created deleted edited published unpublished"),
}

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

func commented(p *payload, e *webhook.Event) (reason string) {
	switch {
	case p.Issue == nil || p.Comment == nil:
		return "the payload names no comment"
	case p.Action != "created":
		return fmt.Sprintf("a comment that is %s starts nothing", p.Action)
	case p.Issue.PullRequest == nil:
		return "a comment on an issue starts nothing"
	}
	e.Summary = fmt.Sprintf("comment on pull request %d", p.Issue.Number)
	e.Kind = webhook.Comment
	e.Comment = store.Comment{ID: p.Comment.ID, PullRequest: p.Issue.Number, Body: p.Comment.Body, Author: p.Comment.User.account(),
		Created: p.Comment.CreatedAt.Time}
	e.Comment.Author.Bot = e.Comment.Author.Bot || p.Comment.App != nil
	return ""
}

func (c Config) checkRun(p *payload, e *webhook.Event) (reason string) {
	switch {
	case p.CheckRun == nil:
		return "the payload names no check run"
	case p.Action != "rerequested" && p.Action != "requested_action":
		e.Unknown = !knownActions["check_run"][p.Action]
		return fmt.Sprintf("a check run that is %s starts nothing", p.Action)
	case p.CheckRun.App.ID != c.AppID:
		return "the check run is another App's"
	case p.CheckRun.ExternalID == "":
		return "the check run is not one of ours"
	}
	e.Kind, e.ExternalID, e.Summary = webhook.RerunCheck, buildID(p.CheckRun.ExternalID), "re-run of a check"
	if p.Action == "requested_action" {
		e.Kind, e.Action, e.Commit = webhook.Button, p.RequestedAction.Identifier, p.CheckRun.HeadSHA
		e.Summary = fmt.Sprintf("button %.30q of a check", p.RequestedAction.Identifier)
	}
	return ""
}

// buildID is the build's part of a check run's external id, which names the phase behind a slash.
func buildID(externalID string) string {
	id, _, _ := strings.Cut(externalID, "/")
	return id
}

func (c Config) checkSuite(p *payload, e *webhook.Event) (reason string) {
	switch {
	case p.CheckSuite == nil:
		return "the payload names no check suite"
	case p.Action != "rerequested":
		e.Unknown = !knownActions["check_suite"][p.Action]
		return fmt.Sprintf("a check suite that is %s starts nothing", p.Action)
	case p.CheckSuite.App.ID != c.AppID:
		return "the check suite is another App's"
	case !store.ValidHash(p.CheckSuite.HeadSHA):
		return "the check suite names no commit"
	}
	e.Kind, e.Commit, e.Summary = webhook.RerunCommit, p.CheckSuite.HeadSHA, "re-run of all checks"
	return ""
}

func mergeGroup(p *payload, e *webhook.Event) (reason string) {
	if p.MergeGroup == nil {
		return "the payload names no merge group"
	}
	g := p.MergeGroup
	e.MergeGroup = webhook.MergeGroupEvent{Head: g.HeadSHA, HeadRef: g.HeadRef, Base: g.BaseSHA, BaseRef: g.BaseRef, Message: g.HeadCommit.Message}
	e.Summary = "merge group for " + strings.TrimPrefix(g.BaseRef, "refs/heads/")
	switch p.Action {
	case "checks_requested":
		e.Kind = webhook.MergeGroup
	case "destroyed":
		e.Kind, e.Reason = webhook.MergeGroupGone, p.Reason
		e.Summary += " is gone"
	default:
		e.Unknown = true
		return fmt.Sprintf("a merge group that is %s starts nothing", p.Action)
	}
	return ""
}

func released(p *payload, e *webhook.Event) (reason string) {
	events := map[string]string{"released": store.EventReleased, "prereleased": store.EventPrereleased}
	if p.Release == nil || p.Release.TagName == "" {
		return "the payload names no release"
	}
	e.Summary = fmt.Sprintf("release %.100s %s", p.Release.TagName, p.Action)
	if e.Event = events[p.Action]; e.Event == "" || p.Release.Draft {
		e.Unknown = e.Event == "" && !knownActions["release"][p.Action]
		return fmt.Sprintf("a release that is %s starts nothing", p.Action)
	}
	e.Kind, e.Release = webhook.Release, webhook.ReleaseEvent{Tag: p.Release.TagName, Name: p.Release.Name}
	return ""
}

func repositoryChanged(p *payload, e *webhook.Event) (reason string) {
	e.Summary = "repository " + p.Action
	switch p.Action {
	case webhook.RepoRenamed, webhook.RepoTransferred, webhook.RepoArchived, webhook.RepoUnarchived, webhook.RepoDeleted, webhook.RepoPrivatized, webhook.RepoPublicized:
		e.Kind, e.Change = webhook.RepoChanged, p.Action
		return ""
	}
	e.Unknown = !knownActions["repository"][p.Action]
	return fmt.Sprintf("a repository that is %s starts nothing", p.Action)
}

// installation reads the three events of installations.
func (c Config) installation(p *payload, e *webhook.Event) (reason string) {
	if p.Installation == nil || p.Installation.ID == 0 {
		return "the payload names no installation"
	}
	i := p.Installation
	account := i.Account.Login
	if p.Account.Login != "" { // installation_target has it beside the installation
		account = p.Account.Login
	}
	e.Installation = store.Installation{Forge: Name, Host: c.Host, ID: i.ID, Account: account, Selection: i.Selection, Granted: i.Permissions,
		Events: i.Events, Suspended: i.SuspendedAt != nil && !i.SuspendedAt.IsZero()}
	e.Summary = fmt.Sprintf("installation in %s: %s", account, p.Action)
	repos := func(list []repository) []store.Repo {
		var named []store.Repo
		for _, r := range list {
			if r.ID != 0 && fullName.MatchString(r.FullName) {
				named = append(named, c.repo(&r, i.ID))
			}
		}
		return named
	}
	switch p.Action {
	case webhook.InstallationCreated, webhook.InstallationDeleted, webhook.InstallationSuspended, webhook.InstallationUnsuspended,
		webhook.InstallationPermissions, webhook.InstallationAdded, webhook.InstallationRemoved, webhook.InstallationRenamed:
		e.Kind, e.Change = webhook.InstallationChanged, p.Action
		e.Added, e.Removed = repos(p.RepositoriesAdded), repos(p.RepositoriesRemoved)
		return ""
	}
	e.Unknown = true
	return fmt.Sprintf("an installation that is %s changes nothing here", p.Action)
}
