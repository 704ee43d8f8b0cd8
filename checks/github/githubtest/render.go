package githubtest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// An object is a JSON object.
type object = map[string]any

// stamp writes a time as GitHub does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// stampOrNull writes null for the zero time.
func stampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// orNull writes null for an empty text.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// orEmpty writes [] rather than null.
func orEmpty(list []string) []string { return append([]string{}, list...) }

// nodeID makes up one of GitHub's identifiers for GraphQL.
func nodeID(prefix string, id int64) string {
	return prefix + "_" + base64.RawURLEncoding.EncodeToString(fmt.Append(nil, id))
}

// with returns a copy of an object with more in it.
func with(o object, more object) object {
	o = maps.Clone(o)
	maps.Copy(o, more)
	return o
}

func (s *Server) api(format string, args ...any) string {
	return s.url + apiBase + fmt.Sprintf(format, args...)
}

func email(u *user) string { return fmt.Sprintf("%d+%s@users.noreply.github.com", u.id, u.login) }

func (s *Server) userJSON(login string) object {
	u := s.userLocked(login)
	api := s.api("/users/%s", u.login)
	return object{
		"login": u.login, "id": u.id, "node_id": nodeID("U", u.id), "avatar_url": fmt.Sprintf("%s/avatars/u/%d?v=4", s.url, u.id), "gravatar_id": "",
		"url": api, "html_url": s.url + "/" + u.login, "followers_url": api + "/followers", "following_url": api + "/following{/other_user}",
		"gists_url": api + "/gists{/gist_id}", "starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions",
		"organizations_url": api + "/orgs", "repos_url": api + "/repos", "events_url": api + "/events{/privacy}",
		"received_events_url": api + "/received_events", "type": u.kind, "site_admin": false,
	}
}

func (s *Server) organizationJSON(login string) object {
	u := s.userLocked(login)
	api := s.api("/orgs/%s", u.login)
	return object{
		"login": u.login, "id": u.id, "node_id": nodeID("O", u.id), "url": api, "repos_url": api + "/repos", "events_url": api + "/events",
		"hooks_url": api + "/hooks", "issues_url": api + "/issues", "members_url": api + "/members{/member}",
		"public_members_url": api + "/public_members{/member}", "avatar_url": fmt.Sprintf("%s/avatars/u/%d?v=4", s.url, u.id), "description": nil,
	}
}

// repoURLs are the addresses in a repository, relative to its own.
var repoURLs = map[string]string{
	"forks_url": "/forks", "keys_url": "/keys{/key_id}", "collaborators_url": "/collaborators{/collaborator}", "teams_url": "/teams",
	"hooks_url": "/hooks", "issue_events_url": "/issues/events{/number}", "events_url": "/events", "assignees_url": "/assignees{/user}",
	"branches_url": "/branches{/branch}", "tags_url": "/tags", "blobs_url": "/git/blobs{/sha}", "git_tags_url": "/git/tags{/sha}",
	"git_refs_url": "/git/refs{/sha}", "trees_url": "/git/trees{/sha}", "statuses_url": "/statuses/{sha}", "languages_url": "/languages",
	"stargazers_url": "/stargazers", "contributors_url": "/contributors", "subscribers_url": "/subscribers", "subscription_url": "/subscription",
	"commits_url": "/commits{/sha}", "git_commits_url": "/git/commits{/sha}", "comments_url": "/comments{/number}",
	"issue_comment_url": "/issues/comments{/number}", "contents_url": "/contents/{+path}", "compare_url": "/compare/{base}...{head}",
	"merges_url": "/merges", "archive_url": "/{archive_format}{/ref}", "downloads_url": "/downloads", "issues_url": "/issues{/number}",
	"pulls_url": "/pulls{/number}", "milestones_url": "/milestones{/number}", "notifications_url": "/notifications{?since,all,participating}",
	"labels_url": "/labels{/name}", "releases_url": "/releases{/id}", "deployments_url": "/deployments",
}

// repoJSON is a repository as it is in payloads and in most answers.
func (s *Server) repoJSON(r *repo) object {
	full := r.fullName()
	open := 0
	for _, i := range r.issues {
		if i.open {
			open++
		}
	}
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	forks := 0
	for _, other := range s.repos {
		if other.parent == r.id {
			forks++
		}
	}
	properties := r.properties
	if properties == nil {
		properties = object{}
	}
	host := s.url[strings.Index(s.url, "://")+3:]
	o := object{
		"id": r.id, "node_id": nodeID("R", r.id), "name": r.name, "full_name": full, "private": r.private, "owner": s.userJSON(r.owner),
		"html_url": s.url + "/" + full, "description": nil, "fork": r.parent != 0, "url": s.api("/repos/%s", full),
		"created_at": stamp(r.created), "updated_at": stamp(r.created), "pushed_at": stamp(s.pushedLocked(r)),
		"git_url": "git://" + host + "/" + full + ".git", "ssh_url": "git@" + host + ":" + full + ".git",
		"clone_url": s.CloneURL(full), "svn_url": s.url + "/" + full, "homepage": nil, "size": 0, "stargazers_count": 0,
		"watchers_count": 0, "language": nil, "has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": true,
		"has_pages": false, "has_discussions": false, "forks_count": forks, "mirror_url": nil, "archived": r.archived, "disabled": false,
		"open_issues_count": open, "license": nil, "allow_forking": true, "is_template": false, "web_commit_signoff_required": false,
		"topics": []string{}, "visibility": visibility, "forks": forks, "open_issues": open, "watchers": 0,
		"default_branch": r.defaultBranch, "custom_properties": properties,
	}
	for key, path := range repoURLs {
		o[key] = s.api("/repos/%s", full) + path
	}
	return o
}

func (s *Server) pushedLocked(r *repo) time.Time {
	if r.pushed.IsZero() {
		return r.created
	}
	return r.pushed
}

// commitJSON is a commit as the API for commits gives it.
func (s *Server) commitJSON(r *repo, c forgetest.Commit) object {
	url := s.api("/repos/%s/commits/%s", r.fullName(), c.SHA)
	html := s.url + "/" + r.fullName() + "/commit/"
	parents := []object{}
	for _, p := range c.Parents {
		parents = append(parents, object{"sha": p, "url": s.api("/repos/%s/commits/%s", r.fullName(), p), "html_url": html + p})
	}
	who := func(g forgetest.Signature) object {
		return object{"name": g.Name, "email": g.Email, "date": stamp(g.At)}
	}
	return object{
		"sha": c.SHA, "node_id": "C_" + c.SHA[:12], "url": url, "html_url": html + c.SHA, "comments_url": url + "/comments",
		"commit": object{
			"author": who(c.Author), "committer": who(c.Committer), "message": c.Message, "comment_count": 0,
			"tree":         object{"sha": c.Tree, "url": s.api("/repos/%s/git/trees/%s", r.fullName(), c.Tree)},
			"url":          s.api("/repos/%s/git/commits/%s", r.fullName(), c.SHA),
			"verification": object{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil},
		},
		"author": s.knownUser(c.Author), "committer": s.knownUser(c.Committer), "parents": parents,
	}
}

// knownUser is the user behind a signature, or null.
func (s *Server) knownUser(g forgetest.Signature) any {
	if u := s.findUserLocked(g.Name); u != nil && email(u) == g.Email {
		return s.userJSON(u.login)
	}
	return nil
}

func (s *Server) diffJSON(r *repo, sha string, d fileDiff) object {
	o := object{
		"sha": d.blob, "filename": d.path, "status": d.status, "additions": d.additions, "deletions": d.deletions, "changes": d.additions + d.deletions,
		"blob_url":     s.url + "/" + r.fullName() + "/blob/" + sha + "/" + escapePath(d.path),
		"raw_url":      s.url + "/" + r.fullName() + "/raw/" + sha + "/" + escapePath(d.path),
		"contents_url": s.api("/repos/%s/contents/%s?ref=%s", r.fullName(), escapePath(d.path), sha),
	}
	if d.previous != "" {
		o["previous_filename"] = d.previous
	}
	return o
}

// appJSON is the app as it is in payloads and check runs.
func (s *Server) appJSON(id int64) object {
	slug, events, permissions := "other-app", []string{}, map[string]string{}
	if id == s.appID {
		slug, events, permissions = s.slug, subscribed, s.permissions
	}
	return object{
		"id": id, "slug": slug, "node_id": nodeID("A", id), "owner": s.userJSON("octo-apps"), "name": slug, "description": nil,
		"external_url": "https://ci.example.org", "html_url": s.url + "/github-apps/" + slug, "created_at": stamp(s.started),
		"updated_at": stamp(s.started), "permissions": permissions, "events": slices.Clone(events),
	}
}

func (s *Server) clientID() string { return fmt.Sprintf("Iv1.%016x", s.appID) }

// botName is the login of the user that the app acts as.
func (s *Server) botName() string { return s.slug + "[bot]" }

func (s *Server) installationJSON(inst *installation) object {
	var suspendedBy any
	if !inst.suspended.IsZero() {
		suspendedBy = s.userJSON(inst.account)
	}
	account := s.userLocked(inst.account)
	return object{
		"id": inst.id, "account": s.userJSON(inst.account), "repository_selection": "selected", "app_id": s.appID, "app_slug": s.slug,
		"client_id": s.clientID(), "target_id": account.id, "target_type": account.kind, "permissions": s.permissions, "events": slices.Clone(subscribed),
		"access_tokens_url": s.api("/app/installations/%d/access_tokens", inst.id), "repositories_url": s.api("/installation/repositories"),
		"html_url": fmt.Sprintf("%s/settings/installations/%d", s.url, inst.id), "created_at": stamp(inst.created), "updated_at": stamp(inst.created),
		"single_file_name": nil, "has_multiple_single_files": false, "single_file_paths": []string{},
		"suspended_by": suspendedBy, "suspended_at": stampOrNull(inst.suspended),
	}
}
