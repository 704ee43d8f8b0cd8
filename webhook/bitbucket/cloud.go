package bitbucket

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"buildsmith/store"
	"buildsmith/webhook"
)

// cloudPayload is what is read of any event of Cloud.
type cloudPayload struct {
	Actor       *cloudUser
	Repository  *cloudRepository
	Push        struct{ Changes []cloudChange }
	Changes     cloudEdits  // repo:updated
	PullRequest *cloudPull  `json:"pullrequest"`
	Comment     *cloudWords // pullrequest:comment_created
}

type cloudRepository struct {
	UUID       string
	FullName   string `json:"full_name"`
	Private    *bool  `json:"is_private"`
	MainBranch struct{ Name string }
}

type cloudUser struct {
	AccountID   string `json:"account_id"`
	Nickname    string
	DisplayName string `json:"display_name"`
	Type        string
}

// account is a user as the store has him. Whoever is not said to be a person, or one of the old accounts of a team, is a program.
func (u *cloudUser) account() store.Account {
	if u == nil {
		return store.Account{}
	}
	a := store.Account{Login: cmp.Or(loginOf(u.Nickname), loginOf(u.DisplayName)), Bot: u.Type != "" && u.Type != "user" && u.Type != "team"}
	if accountID.MatchString(u.AccountID) {
		a.ID = u.AccountID
	}
	return a
}

// cloudChange is a change of one ref.
type cloudChange struct {
	New, Old                   *cloudRef // nil for a ref that is gone, or is new
	Created, Closed, Truncated bool
}

type cloudRef struct {
	Type   string
	Name   string
	Target struct{ Hash, Message string } // the commit, of an annotated tag too
}

// push gives a change as a push; false if it is neither of a branch nor of a tag.
func (c *cloudChange) push() (p webhook.PushEvent, ok bool) {
	gone := c.New == nil || c.Closed
	ref := c.New
	if gone {
		ref = c.Old
	}
	if ref == nil {
		return p, false
	}
	p = webhook.PushEvent{Ref: "refs/tags/" + ref.Name, Before: zeros}
	switch ref.Type {
	case "branch":
		p.Ref = "refs/heads/" + ref.Name
	case "tag", "annotated_tag":
	default:
		return p, false
	}
	if c.Old != nil && !c.Created {
		p.Before = c.Old.Target.Hash
	}
	if !gone {
		p.After, p.Message, p.Truncated = c.New.Target.Hash, c.New.Target.Message, c.Truncated
	}
	return p, store.ValidRef(p.Ref) && store.ValidHash(p.Before) && (gone || store.ValidHash(p.After) && !noCommit(p.After))
}

// cloudEdits is what was changed of a repository.
type cloudEdits struct {
	Name     *cloudEdit
	FullName *cloudEdit `json:"full_name"`
	Private  *cloudEdit `json:"is_private"`
}

type cloudEdit struct{ New, Old json.RawMessage }

// real reports whether something was changed.
func (c *cloudEdit) real() bool { return c != nil && !bytes.Equal(c.New, c.Old) }

// change is the word for what happened to the repository; empty for what concerns no builds.
func (c *cloudEdits) change() string {
	workspace := func(text json.RawMessage) string {
		var name string
		_ = json.Unmarshal(text, &name) // what is no name has no workspace
		of, _, _ := strings.Cut(name, "/")
		return of
	}
	switch {
	case c.FullName.real() && workspace(c.FullName.New) != workspace(c.FullName.Old):
		return webhook.RepoTransferred
	case c.FullName.real() || c.Name.real():
		return webhook.RepoRenamed
	case c.Private.real() && string(c.Private.New) == "false":
		return webhook.RepoPublicized
	case c.Private.real():
		return webhook.RepoPrivatized
	}
	return ""
}

type cloudPull struct {
	ID                  int
	State               string // OPEN, MERGED, DECLINED, SUPERSEDED
	Title               string
	Draft               bool
	Author              *cloudUser
	Source, Destination cloudEnd
	MergeCommit         struct{ Hash string } `json:"merge_commit"`
	UpdatedOn           stamp                 `json:"updated_on"`
}

// cloudEnd is where a pull request comes from or goes to.
type cloudEnd struct {
	Branch     struct{ Name string }
	Commit     struct{ Hash string } // 12 characters of it
	Repository *cloudRepository      // nil if it is gone
}

func (p *cloudPull) pullRequest() store.PullRequest {
	pr := store.PullRequest{
		Number: p.ID, Open: p.State == "OPEN", Title: p.Title, Author: p.Author.account(), Draft: p.Draft, Updated: p.UpdatedOn.Time,
		Head: hashOf(p.Source.Commit.Hash), HeadRef: refOf("refs/heads/" + p.Source.Branch.Name),
		Base: hashOf(p.Destination.Commit.Hash), BaseRef: refOf("refs/heads/" + p.Destination.Branch.Name), Merged: hashOf(p.MergeCommit.Hash),
	}
	if from := p.Source.Repository; from != nil {
		if pr.HeadRepo = uuidOf(from.UUID); len(from.FullName) <= maxName && cloudName.MatchString(from.FullName) {
			pr.HeadName = from.FullName
		}
	}
	return pr
}

// cloudWords is a comment on a pull request, or in its diff.
type cloudWords struct {
	ID        int64
	Content   struct{ Raw string }
	User      *cloudUser
	Deleted   bool
	CreatedOn stamp `json:"created_on"`
}

// cloudPulls are the events of pull requests, with CodeBuild's word and the one for people.
var cloudPulls = map[string][2]string{
	"pullrequest:created": {store.EventPullRequestCreated, "opened"}, "pullrequest:updated": {store.EventPullRequestUpdated, "updated"},
	"pullrequest:fulfilled": {store.EventPullRequestMerged, "merged"}, "pullrequest:rejected": {store.EventPullRequestClosed, "declined"},
}

// cloudQuiet are events that are known to mean nothing here, and why; empty for a reason like any other.
var cloudQuiet = map[string]string{
	"repo:fork": "", "repo:imported": "", "repo:created": "", "repo:commit_comment_created": "", "repo:commit_status_created": "",
	"repo:commit_status_updated": "", "project:updated": "", "issue:created": "", "issue:updated": "", "issue:comment_created": "",
	"pullrequest:approved": "", "pullrequest:unapproved": "", "pullrequest:changes_request_created": "", "pullrequest:changes_request_removed": "",
	"pullrequest:comment_updated": commentEdited, "pullrequest:comment_deleted": commentDeleted,
	"pullrequest:comment_resolved": "", "pullrequest:comment_reopened": "",
}

// cloud decodes a delivery of Cloud: to an event, or to why it means nothing.
func (c Config) cloud(event string, body []byte) (e webhook.Event, reason string, err error) {
	decode := map[string]func(*cloudPayload, *webhook.Event) string{
		"repo:push": cloudPushed, "repo:updated": func(p *cloudPayload, e *webhook.Event) string { return changed(p.Changes.change(), e) },
		"repo:transfer":               func(_ *cloudPayload, e *webhook.Event) string { return changed(webhook.RepoTransferred, e) },
		"repo:deleted":                func(_ *cloudPayload, e *webhook.Event) string { return changed(webhook.RepoDeleted, e) },
		"pullrequest:comment_created": cloudCommented,
	}[event]
	if words, ok := cloudPulls[event]; ok {
		decode = func(p *cloudPayload, e *webhook.Event) string { return cloudPulled(p, words[0], words[1], e) }
	}
	var p cloudPayload
	if err := read(body, &p, decode != nil); err != nil {
		return e, "", err
	}
	e.Sender = p.Actor.account()
	if p.Repository != nil && p.Repository.UUID != "" {
		if e.Repo, err = c.cloudRepo(p.Repository); err != nil {
			return e, "", err
		}
		e.Organization = c.Organization(e.Repo)
	}
	switch {
	case decode == nil:
		reason = startsNothing(event, cloudQuiet, &e)
	case e.Repo.ID == "":
		reason = noRepository
	default:
		reason = decode(&p, &e)
	}
	return e, reason, nil
}

// cloudRepo is a repository as payloads have it.
func (c Config) cloudRepo(r *cloudRepository) (store.Repo, error) {
	id := uuidOf(r.UUID)
	switch {
	case id == "":
		return store.Repo{}, fmt.Errorf("names a repository by %.100q, which is no UUID", r.UUID)
	case len(r.FullName) > maxName || !cloudName.MatchString(r.FullName):
		return store.Repo{}, fmt.Errorf("names the repository %.100q", r.FullName)
	}
	return store.Repo{
		Forge: c.Name, Host: c.Host, ID: id, Name: r.FullName, CloneURL: c.Web + "/" + r.FullName + ".git", WebURL: c.Web + "/" + r.FullName,
		DefaultBranch: strings.TrimPrefix(refOf("refs/heads/"+r.MainBranch.Name), "refs/heads/"), Private: r.Private == nil || *r.Private,
		Installation: c.installation(r.FullName),
	}, nil
}

func cloudPushed(p *cloudPayload, e *webhook.Event) (reason string) {
	var list []webhook.PushEvent
	for n := range p.Push.Changes {
		if push, ok := p.Push.Changes[n].push(); ok {
			list = append(list, push)
		}
	}
	return pushed(list, e)
}

func cloudPulled(p *cloudPayload, event, done string, e *webhook.Event) (reason string) {
	if p.PullRequest == nil {
		return noPullRequest
	}
	if to := p.PullRequest.Destination.Repository; to != nil && uuidOf(to.UUID) != e.Repo.ID {
		return "the pull request is another repository's"
	}
	e.At = p.PullRequest.UpdatedOn.Time
	vague := event == store.EventPullRequestUpdated // a title that is edited comes so too
	return pulled(event, done, vague, p.PullRequest.pullRequest(), e)
}

func cloudCommented(p *cloudPayload, e *webhook.Event) (reason string) {
	switch {
	case p.Comment == nil:
		return "the payload names no comment"
	case p.PullRequest == nil:
		return noPullRequest
	case p.Comment.Deleted:
		return commentDeleted
	}
	author := p.Comment.User
	if author == nil {
		author = p.Actor
	}
	return commented(store.Comment{ID: p.Comment.ID, PullRequest: p.PullRequest.ID, Body: p.Comment.Content.Raw, Author: author.account(),
		Created: p.Comment.CreatedOn.Time}, e)
}
