package bitbuckettest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// web is the address of a page.
func (d *dataCenter) web(s *Server, path string, args ...any) string {
	return s.url + d.context + fmt.Sprintf(path, args...)
}

func dcSelf(address string) object { return object{"self": []object{{"href": address}}} }

var dcNoSlug = regexp.MustCompile(`[^a-z0-9._-]+`)

// dcSlug is the name of a user as addresses have it: without what they cannot hold.
func dcSlug(name string) string { return dcNoSlug.ReplaceAllString(strings.ToLower(name), "_") }

// userJSON is a user as it is in payloads and answers. The user behind the token of a project or a repository is a service,
// which has no mail.
func (d *dataCenter) userJSON(s *Server, u *User) object {
	o := object{"name": u.Name, "id": u.ID, "displayName": u.DisplayName, "active": true, "slug": dcSlug(u.Name)}
	if u.Bot {
		return with(o, object{"type": "SERVICE", "links": dcSelf(d.web(s, "/bots/%s", dcSlug(u.Name)))})
	}
	return with(o, object{"type": "NORMAL", "emailAddress": u.Email, "links": dcSelf(d.web(s, "/users/%s", dcSlug(u.Name)))})
}

// with returns an object with more in it.
func with(o, more object) object {
	for key, value := range more {
		o[key] = value
	}
	return o
}

// dcKey is the key of the project of a repository, which is in capitals wherever Data Center writes it itself.
func dcKey(r *repo) string { return strings.ToUpper(r.workspace) }

// dcOwner is the user whose own project a repository is in, if it is in one.
func dcOwner(s *Server, r *repo) *User {
	if owner, personal := strings.CutPrefix(r.workspace, "~"); personal {
		return s.userLocked(owner)
	}
	return nil
}

// projectJSON is the project that a repository is in.
func (d *dataCenter) projectJSON(s *Server, r *repo) object {
	o := object{"key": dcKey(r), "id": s.projectLocked(r.workspace).id}
	if owner := dcOwner(s, r); owner != nil {
		u := d.userJSON(s, owner)
		return with(o, object{"name": owner.DisplayName, "type": "PERSONAL", "owner": u, "links": u["links"]})
	}
	return with(o, object{"name": r.workspace, "type": "NORMAL", "public": false, "links": dcSelf(d.web(s, "/projects/%s", dcKey(r)))})
}

// page is where people look at a repository.
func (d *dataCenter) page(s *Server, r *repo) string {
	if owner := dcOwner(s, r); owner != nil {
		return d.web(s, "/users/%s/repos/%s", dcSlug(owner.Name), r.slug)
	}
	return d.web(s, "/projects/%s/repos/%s", dcKey(r), r.slug)
}

// repoJSON is a repository as it is in payloads and answers.
func (d *dataCenter) repoJSON(s *Server, r *repo) object {
	first := r // of a family of forks
	for first.parent != nil {
		first = first.parent
	}
	o := object{"slug": r.slug, "id": r.id, "name": r.slug, "hierarchyId": fmt.Sprintf("%020x", first.id), "scmId": "git", "state": "AVAILABLE",
		"statusMessage": "Available", "forkable": true, "project": d.projectJSON(s, r), "public": !r.private, "archived": false,
		"links": object{"self": []object{{"href": d.page(s, r) + "/browse"}},
			"clone": []object{{"href": s.url + d.clonePath(r), "name": "http"},
				{"href": "ssh://git@" + d.sshHost(s) + strings.TrimPrefix(d.clonePath(r), d.context+"/scm"), "name": "ssh"}}}}
	if r.parent != nil {
		o["origin"] = d.repoJSON(s, r.parent)
	}
	return o
}

// sshHost is where git would go by SSH, which nobody listens to.
func (d *dataCenter) sshHost(s *Server) string {
	_, host, _ := strings.Cut(s.url, "://")
	name, _, _ := strings.Cut(host, ":")
	return name + ":7999"
}

// personJSON is who made a commit: the user of the address, if there is one.
func (d *dataCenter) personJSON(s *Server, g forgetest.Signature) object {
	for _, u := range s.users {
		if u.Email == g.Email && !u.Bot {
			return d.userJSON(s, u)
		}
	}
	return object{"name": g.Name, "emailAddress": g.Email}
}

func dcCommitName(sha string) object { return object{"id": sha, "displayId": dcShort(sha)} }

// commitJSON is a commit as it is in payloads and answers.
func (d *dataCenter) commitJSON(s *Server, c forgetest.Commit) object {
	parents := []object{}
	for _, parent := range c.Parents {
		parents = append(parents, dcCommitName(parent))
	}
	return object{"id": c.SHA, "displayId": dcShort(c.SHA), "author": d.personJSON(s, c.Author), "authorTimestamp": dcTime(c.Author.At),
		"committer": d.personJSON(s, c.Committer), "committerTimestamp": dcTime(c.Committer.At), "message": c.Message, "parents": parents}
}

// pullJSON is a pull request as it is in payloads and answers. Its target is where that branch is, as long as it is open. One
// whose fork is gone still says where that was.
func (d *dataCenter) pullJSON(s *Server, p *pull) object {
	end := func(r *repo, branch, sha string) object {
		return with(dcRef("refs/heads/"+branch), object{"latestCommit": sha, "repository": d.repoJSON(s, r)})
	}
	state := p.state
	if state == stateDeleted {
		state = stateOpen // only these are deleted, and there is no word for it
	}
	base := p.baseSHA
	if now, found := forgetest.Resolve(p.repo.dir, "refs/heads/"+p.base); found && state == stateOpen {
		base = now
	}
	o := object{"id": p.id, "version": p.version, "title": p.title, "state": state, "open": state == stateOpen, "closed": state != stateOpen,
		"createdDate": dcTime(p.created), "updatedDate": dcTime(p.updated), "locked": false,
		"fromRef": end(d.sources[p], p.sourceBranch, p.sourceSHA), "toRef": end(p.repo, p.base, base),
		"author":    object{"user": d.userJSON(s, p.author), "role": "AUTHOR", "approved": false, "status": "UNAPPROVED"},
		"reviewers": []object{}, "participants": []object{}, "links": dcSelf(fmt.Sprintf("%s/pull-requests/%d", d.page(s, p.repo), p.id))}
	if p.body != "" {
		o["description"] = p.body
	}
	if d.atLeast(8, 18) {
		o["draft"] = p.draft
	}
	if state != stateOpen {
		o["closedDate"] = dcTime(p.updated)
	}
	if p.merge != "" {
		o["properties"] = object{"mergeCommit": dcCommitName(p.merge)}
	}
	return o
}

// commentJSON is a comment as it is in payloads and answers, with its replies. The token is that of the reader, nil for a
// hook.
func (d *dataCenter) commentJSON(s *Server, c *Comment, t *Token) object {
	replies := []object{}
	for _, other := range s.comments {
		if other.Parent == c.ID && !other.Deleted {
			replies = append(replies, d.commentJSON(s, other, t))
		}
	}
	properties := object{"repositoryId": c.pull.repo.id}
	if reactions := d.reactionsJSON(s, c); len(reactions) > 0 {
		properties["reactions"] = reactions
	}
	o := object{"id": c.ID, "version": c.Version, "text": c.Body, "author": d.userJSON(s, s.userLocked(c.User)), "createdDate": dcTime(c.Created),
		"updatedDate": dcTime(c.Updated), "comments": replies, "tasks": []object{}, "severity": "NORMAL", "state": "OPEN", "properties": properties}
	if t != nil {
		mine := c.User == t.User
		o["permittedOperations"] = object{"editable": mine, "deletable": mine && len(replies) == 0, "transitionable": true}
	}
	return o
}

// reactionsJSON are the reactions to a comment: who has given each emoticon.
func (d *dataCenter) reactionsJSON(s *Server, c *Comment) []object {
	var list []object
	for _, r := range c.Reactions {
		user := d.userJSON(s, s.userLocked(r.User))
		i := slices.IndexFunc(list, func(o object) bool { return o["emoticon"].(object)["shortcut"] == r.Emoticon })
		if i >= 0 {
			list[i]["users"] = append(list[i]["users"].([]object), user)
			continue
		}
		list = append(list, object{"emoticon": d.emoticonJSON(s, r.Emoticon), "users": []object{user}})
	}
	return list
}
