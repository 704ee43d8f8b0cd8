package bitbuckettest

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

// Where the operations of Cloud lie.
const (
	inWorkspace = "/repositories/{workspace}"
	inRepo      = "/repositories/{workspace}/{repo_slug}"
	inCommit    = inRepo + "/commit/{commit}"
	inPull      = inRepo + "/pullrequests/{pull_request_id}"
)

func (cloud) operations() []operation {
	return slices.Concat([]operation{
		{method: "GET", path: "/user", scope: "account", run: (*Server).cloudSelf},
		{method: "GET", path: inWorkspace, scope: "repository", run: (*Server).cloudRepos},
		{method: "GET", path: inRepo, scope: "repository", run: (*Server).cloudRepo},
		{method: "GET", path: inRepo + "/refs", scope: "repository", run: refsOf("refs/heads/", "refs/tags/")},
		{method: "GET", path: inRepo + "/refs/branches", scope: "repository", run: refsOf("refs/heads/")},
		{method: "GET", path: inRepo + "/refs/tags", scope: "repository", run: refsOf("refs/tags/")},
		{method: "GET", path: inRepo + "/refs/branches/{name}", scope: "repository", run: refOf("refs/heads/")},
		{method: "GET", path: inRepo + "/refs/tags/{name}", scope: "repository", run: refOf("refs/tags/")},
		{method: "GET", path: inCommit, scope: "repository", run: (*Server).cloudCommit},
		{method: "GET", path: inRepo + "/src/{commit}/{path}", scope: "repository", run: (*Server).cloudSource},
		{method: "GET", path: inRepo + "/merge-base/{spec}", scope: "repository", run: (*Server).cloudMergeBase},
		{method: "GET", path: inRepo + "/diffstat/{spec}", scope: "repository", run: (*Server).cloudDiffstat},
		{method: "GET", path: "/workspaces/{workspace}/permissions/repositories/{repo_slug}", scope: "repository:admin", run: (*Server).cloudPermissions},
		{method: "GET", path: inRepo + "/permissions-config/users/{selected_user_id}", scope: "repository:admin", run: (*Server).cloudPermission},
		{method: "GET", path: "/repositories", run: (*Server).cloudGone},
		{method: "GET", path: "/workspaces", run: (*Server).cloudGone},
		{method: "GET", path: "/user/permissions/repositories", run: (*Server).cloudGone},
		{method: "GET", path: "/user/permissions/workspaces", run: (*Server).cloudGone},
	}, cloudPullOperations(), cloudReportOperations(), cloudHookOperations())
}

// notFound is the refusal of what is not there.
func notFound(format string, args ...any) *answer {
	return cloud{}.refusal(http.StatusNotFound, fmt.Sprintf(format, args...))
}

// cloudGone is what has been removed; asking for it is a violation.
func (s *Server) cloudGone(c *call) *answer {
	s.violateLocked(c.r, c.r.URL.Path, "this was removed by CHANGE-2770")
	return cloud{}.refusal(http.StatusGone, "This endpoint has been removed. See CHANGE-2770.")
}

// cloudSelf is GET /user, which is not for access tokens: they stand for no user.
func (s *Server) cloudSelf(c *call) *answer {
	if c.token.Kind != UserToken && c.token.Kind != oauthAccess {
		return cloud{}.refusal(http.StatusForbidden, "This API is not accessible with access tokens of repositories, projects and workspaces.")
	}
	return ok(s.cloudUser(c.user))
}

// cloudPage answers with the page of a list that the query asks for. Only the values of the page are made.
func cloudPage[T any](s *Server, c *call, most int, list []T, value func(T) object) *answer {
	length, page := c.number("pagelen", 10, 1, most), c.number("page", 1, 1, 1<<20)
	from := min(len(list), (page-1)*length)
	to := min(len(list), from+length)
	values := []object{}
	for _, one := range list[from:to] {
		values = append(values, value(one))
	}
	o := object{"pagelen": length, "size": len(list), "page": page, "values": values}
	address := func(page int) string {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(page))
		return s.url + c.r.URL.EscapedPath() + "?" + q.Encode()
	}
	if to < len(list) {
		o["next"] = address(page + 1)
	}
	if page > 1 {
		o["previous"] = address(page - 1)
	}
	return ok(o)
}

// cloudRepos is GET /repositories/{workspace}: those that the token reaches.
func (s *Server) cloudRepos(c *call) *answer {
	project := ""
	if q := c.query("q"); q != "" {
		project = regexp.MustCompile(`^project\.key="([^"]*)"$`).FindStringSubmatch(q)[1] // the description has seen to it
	}
	var list []*repo
	for _, r := range s.repos {
		if strings.EqualFold(r.workspace, c.params["workspace"]) && (project == "" || r.project == project) && s.reachesLocked(c.token, r) {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *repo) int { return strings.Compare(a.slug, b.slug) })
	return cloudPage(s, c, 100, list, s.cloudRepoJSON)
}

// cloudRepo is GET of a repository.
func (s *Server) cloudRepo(c *call) *answer { return ok(s.cloudRepoJSON(c.repo)) }

// refsOf is GET of the refs with some prefixes, sorted by their names or by the dates of their commits.
func refsOf(prefixes ...string) func(*Server, *call) *answer {
	return func(s *Server, c *call) *answer {
		refs, err := forgetest.Refs(c.repo.dir)
		if err != nil {
			return cloud{}.refusal(http.StatusInternalServerError, err.Error())
		}
		var list []object
		for _, ref := range forgetest.ChangedRefs(nil, refs) {
			if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(ref, p) }) {
				continue
			}
			if o, err := s.cloudRefJSON(c.repo, ref, refs[ref]); err == nil {
				list = append(list, o)
			}
		}
		if by, down := strings.CutPrefix(c.query("sort"), "-"); by != "" {
			slices.SortStableFunc(list, func(a, b object) int {
				n := strings.Compare(a["name"].(string), b["name"].(string))
				if by == "target.date" {
					n = strings.Compare(a["target"].(object)["date"].(string), b["target"].(object)["date"].(string))
				}
				if down {
					return -n
				}
				return n
			})
		}
		return cloudPage(s, c, 100, list, func(o object) object { return o })
	}
}

// refOf is GET of one ref.
func refOf(prefix string) func(*Server, *call) *answer {
	return func(s *Server, c *call) *answer {
		refs, err := forgetest.Refs(c.repo.dir)
		ref := prefix + c.params["name"]
		if err != nil || refs[ref] == "" {
			return notFound("Ref %s not found", c.params["name"])
		}
		o, err := s.cloudRefJSON(c.repo, ref, refs[ref])
		if err != nil {
			return notFound("Ref %s not found", c.params["name"])
		}
		return ok(o)
	}
}

// cloudResolve finds a commit that a path names, in the repository or a fork with a pull request.
func (s *Server) cloudResolve(r *repo, name string) (dir, sha string, found bool) {
	if dir, found = s.dirOfLocked(r, name); !found {
		return "", "", false
	}
	sha, found = forgetest.Resolve(dir, name)
	return dir, sha, found
}

// cloudCommit is GET of a commit, by a hash that may be short, or by a branch.
func (s *Server) cloudCommit(c *call) *answer {
	dir, sha, found := s.cloudResolve(c.repo, c.params["commit"])
	if !found {
		return notFound("Commit not found: %s", c.params["commit"])
	}
	one, err := forgetest.ReadCommit(dir, sha)
	if err != nil {
		return cloud{}.refusal(http.StatusInternalServerError, err.Error())
	}
	o := s.cloudCommitJSON(c.repo, one)
	o["repository"] = s.cloudRepoBrief(c.repo)
	return ok(o)
}

// cloudSource is GET of a file as it is, of what is known about it, or of the entries of a directory.
func (s *Server) cloudSource(c *call) *answer {
	dir, sha, found := s.cloudResolve(c.repo, c.params["commit"])
	if !found {
		return notFound("Commit not found: %s", c.params["commit"])
	}
	path := strings.Trim(c.params["path"], "/")
	missing := notFound("No such file or directory: %s", path)
	if strings.ContainsAny(path, "\x00\n:") || slices.Contains(strings.Split(path, "/"), "..") {
		return missing
	}
	git := s.flavor.host().Git
	kind, err := git(dir, nil, "cat-file", "-t", sha+":"+path)
	if err != nil {
		return missing
	}
	if strings.TrimSpace(kind) == "tree" {
		out, err := git(dir, nil, "ls-tree", "-z", "--long", sha+":"+path)
		if err != nil {
			return missing
		}
		var list []object
		for entry := range strings.SplitSeq(strings.Trim(out, "\x00"), "\x00") {
			about, name, found := strings.Cut(entry, "\t")
			f := strings.Fields(about) // mode, kind, hash, size
			if !found || len(f) != 4 {
				continue
			}
			if path != "" {
				name = path + "/" + name
			}
			list = append(list, s.cloudEntry(c.repo, sha, name, f[1] == "tree", f[3]))
		}
		return cloudPage(s, c, 100, list, func(o object) object { return o })
	}
	if c.query("format") == "meta" {
		size, err := git(dir, nil, "cat-file", "-s", sha+":"+path)
		if err != nil {
			return missing
		}
		return ok(s.cloudEntry(c.repo, sha, path, false, strings.TrimSpace(size)))
	}
	text, err := git(dir, nil, "cat-file", "blob", sha+":"+path)
	if err != nil {
		return missing
	}
	return &answer{status: http.StatusOK, raw: append([]byte{}, text...), contentType: "text/plain; charset=utf-8"}
}

// cloudEntry is a file or a directory of a commit.
func (s *Server) cloudEntry(r *repo, sha, path string, directory bool, size string) object {
	o := object{"type": "commit_file", "path": path, "commit": object{"type": "commit", "hash": sha}, "attributes": []string{}, "escaped_path": path,
		"links": object{"self": link(s.cloudAPI("/repositories/" + r.name() + "/src/" + sha + "/" + (&url.URL{Path: path}).EscapedPath()))}}
	if directory {
		o["type"] = "commit_directory"
	} else {
		o["size"], _ = strconv.Atoi(size)
	}
	return o
}

// cloudMergeBase is GET /merge-base/{spec}, of two commits with two dots between.
func (s *Server) cloudMergeBase(c *call) *answer {
	a, b, _ := strings.Cut(c.params["spec"], "..")
	dir, found := s.dirOfLocked(c.repo, a, b)
	if !found {
		return notFound("Commit not found: %s", c.params["spec"])
	}
	a, _ = forgetest.Resolve(dir, a)
	b, _ = forgetest.Resolve(dir, b)
	base, err := s.flavor.host().Git(dir, nil, "merge-base", a, b)
	if err != nil {
		return notFound("No common ancestor: %s", c.params["spec"])
	}
	one, err := forgetest.ReadCommit(dir, strings.TrimSpace(base))
	if err != nil {
		return cloud{}.refusal(http.StatusInternalServerError, err.Error())
	}
	return ok(s.cloudCommitJSON(c.repo, one))
}

// cloudDiffstat is GET /diffstat/{spec}: the files that differ between two commits, the newer before the dots. Unless topic is
// false, only what has happened since their last common ancestor counts. One commit is compared with its first parent.
func (s *Server) cloudDiffstat(c *call) *answer {
	head, base, two := strings.Cut(c.params["spec"], "..")
	dir, found := s.dirOfLocked(c.repo, head, cmp.Or(base, head))
	if !found {
		return notFound("Commit not found: %s", c.params["spec"])
	}
	head, _ = forgetest.Resolve(dir, head)
	args := []string{"diff-tree", "-r", "-z", "-M", "--root", "--no-commit-id", "--name-status"}
	if two {
		base, _ = forgetest.Resolve(dir, base)
		if c.query("topic") != "false" {
			fork, err := s.flavor.host().Git(dir, nil, "merge-base", base, head)
			if err != nil {
				return notFound("No common ancestor: %s", c.params["spec"])
			}
			base = strings.TrimSpace(fork)
		}
		args = append(args, base)
	}
	out, err := s.flavor.host().Git(dir, nil, append(args, head)...)
	if err != nil {
		return cloud{}.refusal(http.StatusInternalServerError, err.Error())
	}
	var list []object
	words := map[byte]string{'A': "added", 'D': "removed", 'M': "modified", 'R': "renamed", 'T': "modified"}
	file := func(path string) object { return object{"type": "commit_file", "path": path, "escaped_path": path} }
	for f := strings.Split(out, "\x00"); len(f) > 1; f = f[2:] {
		o := object{"type": "diffstat", "status": words[f[0][0]], "lines_added": 0, "lines_removed": 0, "old": file(f[1]), "new": file(f[1])}
		switch f[0][0] {
		case 'A':
			o["old"] = nil
		case 'D':
			o["new"] = nil
		case 'R':
			o["new"] = file(f[2])
			f = f[1:]
		}
		list = append(list, o)
	}
	return cloudPage(s, c, 5000, list, func(o object) object { return o })
}

// askedUser is the user that a query for permissions asks for.
var askedUser = regexp.MustCompile(`^user\.(?:account_id|uuid)="([^"\\]+)"$`)

// cloudPermissions is GET /workspaces/{workspace}/permissions/repositories/{repo_slug}: who has what role, whatever it is by.
func (s *Server) cloudPermissions(c *call) *answer {
	var list []*User
	var only *User
	if q := askedUser.FindStringSubmatch(c.query("q")); q != nil {
		if only = s.findUserLocked(q[1]); only == nil {
			return cloudPage(s, c, 100, nil, func(*User) object { return nil })
		}
	}
	for _, u := range s.users {
		if (only == nil || u == only) && s.roleLocked(c.repo, u.Name) != "none" {
			list = append(list, u)
		}
	}
	slices.SortFunc(list, func(a, b *User) int { return strings.Compare(a.Name, b.Name) })
	return cloudPage(s, c, 100, list, func(u *User) object {
		return object{"type": "repository_permission", "permission": s.roleLocked(c.repo, u.Name), "user": s.cloudUser(u), "repository": s.cloudRepoBrief(c.repo)}
	})
}

// cloudPermission is GET /permissions-config/users/{selected_user_id}: the role that was given to a user as such.
func (s *Server) cloudPermission(c *call) *answer {
	u := s.findUserLocked(c.params["selected_user_id"])
	if u == nil {
		return notFound("%s does not exist", c.params["selected_user_id"])
	}
	role := c.repo.permissions.users[strings.ToLower(u.Name)]
	if role == "" {
		return notFound("Explicit permission was not found for the specified user.")
	}
	return ok(object{"type": "repository_user_permission", "permission": role, "user": s.cloudUser(u),
		"links": object{"self": link(s.url + c.r.URL.EscapedPath())}})
}
