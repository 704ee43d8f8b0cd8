package bitbucket

import (
	"fmt"
	"strings"

	"buildsmith/store"
	"buildsmith/webhook"
)

// serverPayload is what is read of any event of a Data Center.
type serverPayload struct {
	Date       stamp
	Actor      *serverUser
	Repository *serverRepository
	Old, New   *serverRepository // repo:modified

	// repo:refs_changed. Newer versions tell of commits.
	Changes  []serverChange
	ToCommit *serverCommit
	Commits  []serverCommit

	PullRequest    *serverPull
	PreviousTarget *struct{ ID string } // pr:modified
	Comment        *serverComment
}

type serverRepository struct {
	ID       int64
	Slug     string
	Name     string
	Public   bool
	Archived bool
	Project  struct{ Key string }
}

type serverUser struct {
	ID   int64
	Name string
	Type string // NORMAL, SERVICE
}

func (u *serverUser) account() store.Account {
	if u == nil {
		return store.Account{}
	}
	return store.Account{ID: idOf(u.ID), Login: loginOf(u.Name), Bot: u.Type != "" && u.Type != "NORMAL"}
}

type serverCommit struct{ ID, Message string }

// serverChange is a change of one ref.
type serverChange struct {
	Ref              struct{ ID string }
	RefID            string
	FromHash, ToHash string
	Type             string // ADD, UPDATE, DELETE
}

// push gives a change as a push; false if it is neither of a branch nor of a tag.
func (c *serverChange) push() (p webhook.PushEvent, ok bool) {
	p = webhook.PushEvent{Ref: c.Ref.ID, Before: c.FromHash, After: c.ToHash}
	if p.Ref == "" {
		p.Ref = c.RefID
	}
	if c.Type == "ADD" {
		p.Before = zeros
	}
	gone := c.Type == "DELETE" || noCommit(c.ToHash)
	if gone {
		p.After = ""
	}
	ours := strings.HasPrefix(p.Ref, "refs/heads/") || strings.HasPrefix(p.Ref, "refs/tags/")
	return p, ours && store.ValidRef(p.Ref) && store.ValidHash(p.Before) && (gone || store.ValidHash(p.After))
}

type serverPull struct {
	ID             int
	State          string // OPEN, MERGED, DECLINED
	Title          string
	Draft          bool
	Author         struct{ User *serverUser }
	FromRef, ToRef serverEnd
	UpdatedDate    stamp
	Properties     struct{ MergeCommit struct{ ID string } }
}

// serverEnd is where a pull request comes from or goes to.
type serverEnd struct {
	ID           string // refs/heads/...
	LatestCommit string
	Repository   *serverRepository
}

func (p *serverPull) pullRequest() store.PullRequest {
	pr := store.PullRequest{
		Number: p.ID, Open: p.State == "OPEN", Title: p.Title, Author: p.Author.User.account(), Draft: p.Draft, Updated: p.UpdatedDate.Time,
		Head: hashOf(p.FromRef.LatestCommit), HeadRef: refOf(p.FromRef.ID), Base: hashOf(p.ToRef.LatestCommit), BaseRef: refOf(p.ToRef.ID),
		Merged: hashOf(p.Properties.MergeCommit.ID),
	}
	if from := p.FromRef.Repository; from != nil {
		pr.HeadRepo = idOf(from.ID)
	}
	return pr
}

type serverComment struct {
	ID          int64
	Text        string
	Author      *serverUser
	CreatedDate stamp
}

const eventPing = "diagnostics:ping"

// serverPulls are the events of pull requests, with CodeBuild's word and the one for people.
var serverPulls = map[string][2]string{
	"pr:opened": {store.EventPullRequestCreated, "opened"}, "pr:from_ref_updated": {store.EventPullRequestUpdated, "updated"},
	"pr:modified": {store.EventPullRequestUpdated, "edited"}, "pr:reopened": {store.EventPullRequestReopen, "reopened"},
	"pr:merged": {store.EventPullRequestMerged, "merged"}, "pr:declined": {store.EventPullRequestClosed, "declined"},
	"pr:deleted": {store.EventPullRequestClosed, "deleted"},
}

// serverQuiet are events that are known to mean nothing here, and why; empty for a reason like any other. A target branch that moves
// changes nothing of what its pull requests bring.
var serverQuiet = map[string]string{
	"pr:to_ref_updated": "", "pr:reviewer:updated": "", "pr:reviewer:approved": "", "pr:reviewer:unapproved": "", "pr:reviewer:needs_work": "",
	"pr:reviewer:changes_requested": "", "pr:comment:edited": commentEdited, "pr:comment:deleted": commentDeleted,
	"repo:forked": "", "repo:comment:added": "", "repo:comment:edited": "", "repo:comment:deleted": "", "repo:secret_detected": "",
	"mirror:repo_synchronized": "", "project:modified": "",
}

// dataCenter decodes a delivery of a Data Center: to an event, or to why it means nothing.
func (c Config) dataCenter(event string, body []byte) (e webhook.Event, reason string, err error) {
	decode := map[string]func(*serverPayload, *webhook.Event) string{
		"repo:refs_changed": serverPushed, "pr:comment:added": serverCommented,
		"repo:modified": func(p *serverPayload, e *webhook.Event) string { return changed(serverEdit(p.Old, p.New), e) },
	}[event]
	if words, ok := serverPulls[event]; ok {
		decode = func(p *serverPayload, e *webhook.Event) string { return serverPulled(p, event, words[0], words[1], e) }
	}
	var p serverPayload
	if err := read(body, &p, decode != nil); err != nil {
		return e, "", err
	}
	e.Sender = p.Actor.account()
	if event == eventPing {
		e.Kind, e.Summary = webhook.Ping, "ping"
		return e, "", nil
	}
	r := p.Repository
	switch {
	case p.PullRequest != nil:
		r = p.PullRequest.ToRef.Repository
	case event == "repo:modified":
		r = p.New
	}
	if r != nil && r.ID != 0 && r.Slug != "" { // a project has none
		if e.Repo, err = c.serverRepo(r); err != nil {
			return e, "", err
		}
		e.Organization = c.Organization(e.Repo)
	}
	switch {
	case decode == nil:
		reason = startsNothing(event, serverQuiet, &e)
	case e.Repo.ID == "":
		reason = noRepository
	default:
		reason = decode(&p, &e)
	}
	return e, reason, nil
}

// serverRepo is a repository as payloads have it. Bitbucket writes a project's key in small letters where it is cloned from.
func (c Config) serverRepo(r *serverRepository) (store.Repo, error) {
	key := r.Project.Key
	switch {
	case r.ID < 0:
		return store.Repo{}, fmt.Errorf("names a repository by %d, which is no id", r.ID)
	case len(key)+len(r.Slug) >= maxName || !projectKey.MatchString(key) || !serverSlug.MatchString(r.Slug):
		return store.Repo{}, fmt.Errorf("names the repository %.100q of the project %.100q", r.Slug, key)
	}
	small := strings.ToLower(key)
	web := c.Web + "/projects/" + key
	if user, personal := strings.CutPrefix(small, "~"); personal {
		key, web = small, c.Web+"/users/"+user
	}
	name := key + "/" + r.Slug
	return store.Repo{
		Forge: c.Name, Host: c.Host, ID: idOf(r.ID), Name: name, CloneURL: c.Web + "/scm/" + small + "/" + r.Slug + ".git",
		WebURL: web + "/repos/" + r.Slug, Private: !r.Public, Installation: c.installation(name),
	}, nil
}

func serverPushed(p *serverPayload, e *webhook.Event) (reason string) {
	e.At = p.Date.Time
	messages := map[string]string{}
	for _, commit := range p.Commits {
		messages[commit.ID] = commit.Message
	}
	if p.ToCommit != nil {
		messages[p.ToCommit.ID] = p.ToCommit.Message
	}
	var list []webhook.PushEvent
	for n := range p.Changes {
		push, ok := p.Changes[n].push()
		if !ok {
			continue
		}
		if to := p.ToCommit; to != nil && len(p.Changes) == 1 && push.After != "" && strings.HasPrefix(push.Ref, "refs/tags/") && store.ValidHash(to.ID) && !noCommit(to.ID) {
			push.After = to.ID // the hash of an annotated tag is its own
		}
		push.Message = messages[push.After]
		list = append(list, push)
	}
	return pushed(list, e)
}

func serverPulled(p *serverPayload, event, meaning, done string, e *webhook.Event) (reason string) {
	if p.PullRequest == nil {
		return noPullRequest
	}
	e.At = p.Date.Time
	vague := event == "pr:modified" && (p.PreviousTarget == nil || p.PreviousTarget.ID == p.PullRequest.ToRef.ID)
	return pulled(meaning, done, vague, p.PullRequest.pullRequest(), e)
}

func serverCommented(p *serverPayload, e *webhook.Event) (reason string) {
	switch {
	case p.Comment == nil:
		return "the payload names no comment"
	case p.PullRequest == nil:
		return noPullRequest
	}
	author := p.Comment.Author
	if author == nil {
		author = p.Actor
	}
	return commented(store.Comment{ID: p.Comment.ID, PullRequest: p.PullRequest.ID, Body: p.Comment.Text, Author: author.account(),
		Created: p.Comment.CreatedDate.Time}, e)
}

// serverEdit is the word for what happened to a repository; empty for what concerns no builds.
func serverEdit(before, now *serverRepository) string {
	switch {
	case before == nil:
		return ""
	case now.Archived != before.Archived && now.Archived:
		return webhook.RepoArchived
	case now.Archived != before.Archived:
		return webhook.RepoUnarchived
	case !strings.EqualFold(now.Project.Key, before.Project.Key):
		return webhook.RepoTransferred
	case now.Slug != before.Slug || now.Name != before.Name:
		return webhook.RepoRenamed
	case now.Public != before.Public && now.Public:
		return webhook.RepoPublicized
	case now.Public != before.Public:
		return webhook.RepoPrivatized
	}
	return ""
}
