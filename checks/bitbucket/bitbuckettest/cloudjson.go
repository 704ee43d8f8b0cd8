package bitbuckettest

import (
	"time"
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
	o["project"] = object{"type": "project", "key": p.key, "name": p.key, "uuid": braced(p.uuid), "links": object{"self": link(s.cloudAPI("/workspaces/" + r.workspace + "/projects/" + p.key))}}
	o["parent"] = nil
	if r.parent != nil {
		o["parent"] = s.cloudRepoBrief(r.parent)
	}
	links := o["links"].(object)
	links["clone"] = []object{{"name": "https", "href": s.url + "/" + r.name() + ".git"}, {"name": "ssh", "href": "git@bitbucket.org:" + r.name() + ".git"}}
	for _, name := range []string{"hooks", "pullrequests", "commits", "branches", "tags", "source", "forks"} {
		links[name] = link(s.cloudAPI("/repositories/" + r.name() + "/" + name))
	}
	return o
}

func (s *Server) cloudWorkspace(r *repo) object {
	return object{"type": "workspace", "slug": r.workspace, "name": r.workspace, "uuid": braced(s.ownerLocked(r).UUID),
		"links": object{"self": link(s.cloudAPI("/workspaces/" + r.workspace)), "html": link(s.url + "/" + r.workspace + "/"), "avatar": link(s.url + "/avatar/" + r.workspace)}}
}
