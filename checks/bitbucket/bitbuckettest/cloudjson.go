package bitbuckettest

import (
	"html"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

func braced(uuid string) string { return "{" + uuid + "}" }

// cloudTime is how Cloud writes times.
func cloudTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000+00:00") }

func link(address string) object { return object{"href": address} }

func (s *Server) cloudAPI(path string) string { return s.url + "/2.0" + path }

// cloudUser is a user, who has no name that is unique.
func (s *Server) cloudUser(u *User) any {
	if u == nil {
		return nil
	}
	kind := "user"
	if u.Bot {
		kind = "app_user"
	}
	self := s.cloudAPI("/users/" + "%7B" + u.UUID + "%7D")
	return object{"type": kind, "display_name": u.DisplayName, "nickname": u.Name, "uuid": braced(u.UUID), "account_id": u.AccountID,
		"links": object{"self": link(self), "html": link(s.url + "/%7B" + u.UUID + "%7D/"), "avatar": link(s.url + "/avatar/" + u.UUID)}}
}

// cloudRepoBrief is a repository as other things refer to it.
func (s *Server) cloudRepoBrief(r *repo) object {
	return object{"type": "repository", "full_name": r.name(), "name": r.slug, "uuid": braced(r.uuid), "links": object{
		"self": link(s.cloudAPI("/repositories/" + r.name())), "html": link(s.url + "/" + r.name()), "avatar": link(s.url + "/avatar/" + r.uuid)}}
}

// cloudRepoJSON is a repository.
func (s *Server) cloudRepoJSON(r *repo) object {
	p := s.projectLocked(r.project)
	o := s.cloudRepoBrief(r)
	o["slug"], o["scm"], o["is_private"], o["website"], o["description"], o["language"] = r.slug, "git", r.private, "", "", ""
	o["has_issues"], o["has_wiki"], o["fork_policy"], o["size"] = false, false, "allow_forks", 1000
	o["created_on"], o["updated_on"] = cloudTime(r.created), cloudTime(r.created)
	o["mainbranch"] = object{"type": "branch", "name": r.branch}
	o["workspace"] = s.cloudWorkspace(r)
	o["owner"] = object{"type": "team", "display_name": r.workspace, "uuid": braced(s.ownerLocked(r).UUID), "links": object{}}
	o["project"] = object{"type": "project", "key": p.key, "name": p.key, "uuid": braced(p.uuid), "links": object{"html": link(s.url + "/" + r.workspace + "/workspace/projects/" + p.key)}}
	o["parent"] = nil
	if r.parent != nil {
		o["parent"] = s.cloudRepoBrief(r.parent)
	}
	links := o["links"].(object)
	links["clone"] = []object{{"name": "https", "href": s.url + "/" + r.name() + ".git"}, {"name": "ssh", "href": "git@bitbucket.org:" + r.name() + ".git"}}
	for _, name := range []string{"hooks", "pullrequests", "commits", "forks"} {
		links[name] = link(s.cloudAPI("/repositories/" + r.name() + "/" + name))
	}
	return o
}

func (s *Server) cloudWorkspace(r *repo) object {
	return object{"type": "workspace", "slug": r.workspace, "name": r.workspace, "uuid": braced(s.ownerLocked(r).UUID),
		"links": object{"self": link(s.cloudAPI("/workspaces/" + r.workspace)), "html": link(s.url + "/" + r.workspace + "/"), "avatar": link(s.url + "/avatar/" + r.workspace)}}
}

// cloudCommitJSON is a commit, with its whole hash.
func (s *Server) cloudCommitJSON(r *repo, one forgetest.Commit) object {
	in := s.cloudAPI("/repositories/" + r.name() + "/commit/")
	parents := []object{}
	for _, p := range one.Parents {
		parents = append(parents, object{"type": "commit", "hash": p, "links": object{"self": link(in + p), "html": link(s.url + "/" + r.name() + "/commits/" + p)}})
	}
	author := object{"type": "author", "raw": one.Author.Name + " <" + one.Author.Email + ">"}
	for _, u := range s.users {
		if u.Email == one.Author.Email {
			author["user"] = s.cloudUser(u)
		}
	}
	message := one.Message + "\n"
	return object{"type": "commit", "hash": one.SHA, "date": one.Committer.At.UTC().Format("2006-01-02T15:04:05+00:00"), "message": message, "author": author, "parents": parents,
		"summary": rendered(message), "links": object{"self": link(in + one.SHA), "html": link(s.url + "/" + r.name() + "/commits/" + one.SHA)}}
}

// rendered is a text as Bitbucket shows it.
func rendered(text string) object {
	return object{"type": "rendered", "raw": text, "markup": "markdown", "html": "<p>" + html.EscapeString(text) + "</p>"}
}

// cloudRefJSON is a branch or a tag; hash is what it holds, of an annotated tag the tag itself.
func (s *Server) cloudRefJSON(r *repo, ref, hash string) (object, error) {
	one, err := forgetest.ReadCommit(r.dir, hash)
	if err != nil {
		return nil, err
	}
	name, isBranch := strings.CutPrefix(ref, "refs/heads/")
	kind, plural, shown := "branch", "branches", "branch"
	if !isBranch {
		name, kind, plural, shown = strings.TrimPrefix(ref, "refs/tags/"), "tag", "tags", "commits/tag"
	}
	o := object{"type": kind, "name": name, "target": s.cloudCommitJSON(r, one), "links": object{
		"self":    link(s.cloudAPI("/repositories/" + r.name() + "/refs/" + plural + "/" + url.PathEscape(name))),
		"html":    link(s.url + "/" + r.name() + "/" + shown + "/" + url.PathEscape(name)),
		"commits": link(s.cloudAPI("/repositories/" + r.name() + "/commits/" + url.PathEscape(name)))}}
	if isBranch {
		o["merge_strategies"], o["default_merge_strategy"] = []string{"merge_commit", "squash", "fast_forward"}, "merge_commit"
		return o, nil
	}
	o["message"], o["date"], o["tagger"] = nil, nil, nil
	if hash != one.SHA {
		text, err := s.flavor.host().Git(r.dir, nil, "for-each-ref", "--format=%(contents)", ref)
		if err != nil {
			return nil, err
		}
		o["type"], o["message"] = "annotated_tag", text
	}
	return o, nil
}

// short is a commit's hash as pull requests have it.
func short(sha string) string { return sha[:min(len(sha), 12)] }

// cloudPullJSON is a pull request, whose commits are named by short hashes.
func (s *Server) cloudPullJSON(p *pull) object {
	self := "/repositories/" + p.repo.name() + "/pullrequests/" + strconv.Itoa(p.id)
	end := func(r *repo, branch, sha string) object {
		o := object{"branch": object{"name": branch, "links": object{}}, "commit": nil, "repository": nil}
		in := p.repo
		if r != nil {
			o["repository"], in = s.cloudRepoBrief(r), r
		}
		o["commit"] = object{"type": "commit", "hash": short(sha), "links": object{"self": link(s.cloudAPI("/repositories/" + in.name() + "/commit/" + short(sha))),
			"html": link(s.url + "/" + in.name() + "/commits/" + short(sha))}}
		return o
	}
	comments := 0
	for _, c := range s.comments {
		if c.pull == p && !c.Deleted {
			comments++
		}
	}
	o := object{"type": "pullrequest", "id": p.id, "title": p.title, "description": p.body, "state": p.state, "draft": p.draft, "queued": false,
		"author": s.cloudUser(p.author), "source": end(p.source, p.sourceBranch, p.sourceSHA), "destination": end(p.repo, p.base, p.baseSHA),
		"merge_commit": nil, "closed_by": nil, "reason": "", "close_source_branch": false, "comment_count": comments, "task_count": 0,
		"created_on": cloudTime(p.created), "updated_on": cloudTime(p.updated), "reviewers": []object{}, "participants": []object{},
		"summary": rendered(p.body), "rendered": object{"title": rendered(p.title), "description": rendered(p.body), "reason": rendered("")},
		"links": object{"self": link(s.cloudAPI(self)), "html": link(s.url + "/" + p.repo.name() + "/pull-requests/" + strconv.Itoa(p.id)),
			"comments": link(s.cloudAPI(self + "/comments")), "statuses": link(s.cloudAPI(self + "/statuses"))}}
	if p.state != stateOpen {
		o["closed_by"] = s.cloudUser(s.ownerLocked(p.repo))
	}
	if p.merge != "" {
		o["merge_commit"] = object{"type": "commit", "hash": short(p.merge), "links": object{"self": link(s.cloudAPI("/repositories/" + p.repo.name() + "/commit/" + short(p.merge)))}}
	}
	return o
}

// cloudCommentJSON is a comment; of a deleted one the text is gone.
func (s *Server) cloudCommentJSON(c *Comment) object {
	in := "/repositories/" + c.pull.repo.name() + "/pullrequests/" + strconv.Itoa(c.pull.id)
	page := s.url + "/" + c.pull.repo.name() + "/pull-requests/" + strconv.Itoa(c.pull.id)
	id := strconv.FormatInt(c.ID, 10)
	text := c.Body
	if c.Deleted {
		text = ""
	}
	o := object{"type": "pullrequest_comment", "id": c.ID, "created_on": cloudTime(c.Created), "updated_on": cloudTime(c.Updated), "content": rendered(text),
		"user": s.cloudUser(s.userLocked(c.User)), "deleted": c.Deleted, "pending": false,
		"pullrequest": object{"type": "pullrequest", "id": c.pull.id, "title": c.pull.title, "draft": c.pull.draft, "links": object{"self": link(s.cloudAPI(in)), "html": link(page)}},
		"links":       object{"self": link(s.cloudAPI(in + "/comments/" + id)), "html": link(page + "/_/diff#comment-" + id)}}
	if c.Parent != 0 {
		parent := strconv.FormatInt(c.Parent, 10)
		o["parent"] = object{"id": c.Parent, "links": object{"self": link(s.cloudAPI(in + "/comments/" + parent)), "html": link(page + "/_/diff#comment-" + parent)}}
	}
	if c.Path != "" {
		o["inline"] = object{"path": c.Path, "from": nil, "to": orNull(c.Line)}
	}
	return o
}

// orNull makes null of zero values.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func (s *Server) cloudStatusJSON(st *Status) object {
	commit := s.cloudAPI("/repositories/" + st.repo.name() + "/commit/" + st.SHA)
	return object{"type": "build", "key": st.Key, "state": st.State, "name": st.Name, "description": st.Description, "url": st.URL, "refname": orNull(st.Ref),
		"created_on": cloudTime(st.Created), "updated_on": cloudTime(st.Updated), "repository": s.cloudRepoBrief(st.repo), "commit": object{"type": "commit", "hash": st.SHA,
			"links": object{"self": link(commit), "html": link(s.url + "/" + st.repo.name() + "/commits/" + st.SHA)}},
		"links": object{"self": link(commit + "/statuses/build/" + url.PathEscape(st.Key)), "commit": link(commit)}}
}

func (s *Server) cloudReportJSON(p *Report) object {
	data := append([]any{}, p.Data...)
	o := object{"type": "report", "uuid": braced(p.UUID), "external_id": p.ID, "title": p.Title, "details": p.Details, "data": data, "remote_link_enabled": false,
		"created_on": cloudTime(p.Created), "updated_on": cloudTime(p.Updated)}
	for key, value := range map[string]string{"report_type": p.Type, "reporter": p.Reporter, "link": p.Link, "logo_url": p.LogoURL, "result": p.Result} {
		if value != "" {
			o[key] = value
		}
	}
	return o
}

func cloudAnnotationJSON(a Annotation) object {
	o := object{"type": "report_annotation", "uuid": braced(a.UUID), "external_id": a.ExternalID, "annotation_type": a.Type, "summary": a.Summary,
		"created_on": cloudTime(a.Created), "updated_on": cloudTime(a.Updated)}
	for key, value := range map[string]string{"details": a.Details, "path": a.Path, "severity": a.Severity, "result": a.Result, "link": a.Link} {
		if value != "" {
			o[key] = value
		}
	}
	if a.Line != 0 {
		o["line"] = a.Line
	}
	return o
}

// cloudHookJSON is a hook, without its secret.
func (s *Server) cloudHookJSON(h *Hook) object {
	return object{"type": "webhook_subscription", "uuid": braced(h.UUID), "url": h.URL, "description": h.Name, "subject_type": "repository",
		"subject": s.cloudRepoBrief(h.repo), "active": h.Active, "created_at": cloudTime(h.Created), "events": h.Events, "secret_set": h.Secret != "",
		"source": nil, "read_only": false, "history_enabled": false, "skip_cert_verification": false,
		"links": object{"self": link(s.cloudAPI("/repositories/" + h.repo.name() + "/hooks/" + url.PathEscape(braced(h.UUID))))}}
}
