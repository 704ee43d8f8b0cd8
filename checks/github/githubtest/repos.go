package githubtest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

// getRepo is GET /repos/{owner}/{repo}.
func (s *Server) getRepo(c *call) *answer {
	o := with(s.repoJSON(c.repo), object{"subscribers_count": 0, "network_count": 0, "temp_clone_token": nil,
		"permissions": object{"admin": false, "maintain": false, "push": false, "triage": false, "pull": true}})
	if parent := s.repos[c.repo.parent]; parent != nil {
		o["parent"], o["source"] = s.repoJSON(parent), s.repoJSON(parent)
	}
	return ok(o)
}

// getPermission is GET /repos/{owner}/{repo}/collaborators/{username}/permission.
func (s *Server) getPermission(c *call) *answer {
	u := s.findUserLocked(c.params["username"])
	if u == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	name := s.roleLocked(c.repo, u.login)
	role := s.baseRole(name)
	permission := roles[role]
	return ok(object{"permission": permission, "role_name": name, "user": with(s.userJSON(u.login), object{"role_name": name,
		"permissions": object{"admin": role == "admin", "maintain": role == "admin" || role == "maintain", "push": allows(permission, "write") || role == "admin",
			"triage": role != "read" && role != "none", "pull": role != "none"}})})
}

// getMember is GET /orgs/{org}/members/{username}.
func (s *Server) getMember(c *call) *answer {
	org := s.findUserLocked(c.params["org"])
	if org == nil || !slices.Contains(org.members, c.params["username"]) {
		return problem(http.StatusNotFound, "Not Found")
	}
	return &answer{status: http.StatusNoContent}
}

// hasCommit reports whether a repository knows a commit, be it the head of a fork's pull request.
func (s *Server) hasCommit(r *repo, sha string) bool {
	_, found := forgetest.Resolve(s.repoDir(r), sha)
	return found
}

// getCommit is GET /repos/{owner}/{repo}/commits/{ref}.
func (s *Server) getCommit(c *call) *answer {
	dir := s.repoDir(c.repo)
	sha, found := forgetest.Resolve(dir, c.params["ref"])
	if !found {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["ref"])
	}
	if strings.Contains(c.r.Header.Get("Accept"), "application/vnd.github.sha") {
		return &answer{status: http.StatusOK, raw: []byte(sha), contentType: "application/vnd.github.sha; charset=utf-8"}
	}
	one, err := forgetest.ReadCommit(dir, sha)
	if err != nil {
		return broken(err)
	}
	parent := ""
	if len(one.Parents) > 0 {
		parent = one.Parents[0]
	}
	diffs, err := readDiff(dir, parent, sha)
	if err != nil {
		return broken(err)
	}
	files, added, deleted := s.diffsJSON(c.repo, sha, diffs)
	return ok(with(s.commitJSON(c.repo, one), object{"files": files, "stats": object{"additions": added, "deletions": deleted, "total": added + deleted}}))
}

// listHeads is GET /repos/{owner}/{repo}/commits/{commit_sha}/branches-where-head.
func (s *Server) listHeads(c *call) *answer {
	sha := c.params["commit_sha"]
	if !forgetest.IsHash(sha) || !s.hasCommit(c.repo, sha) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	refs, err := forgetest.Refs(s.repoDir(c.repo))
	if err != nil {
		return broken(err)
	}
	list := []object{}
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok && refs[ref] == sha {
			list = append(list, object{"name": branch, "protected": false,
				"commit": object{"sha": sha, "url": s.api("/repos/%s/commits/%s", c.repo.fullName(), sha)}})
		}
	}
	return ok(list)
}

func (s *Server) diffsJSON(r *repo, sha string, diffs []fileDiff) (files []object, added, deleted int) {
	files = []object{}
	for _, d := range diffs {
		files = append(files, s.diffJSON(r, sha, d))
		added += d.additions
		deleted += d.deletions
	}
	return files, added, deleted
}

// compare is GET /repos/{owner}/{repo}/compare/{basehead}.
func (s *Server) compare(c *call) *answer {
	dir := s.repoDir(c.repo)
	from, to, _ := strings.Cut(c.params["basehead"], "...")
	base, ok1 := forgetest.Resolve(dir, from)
	head, ok2 := forgetest.Resolve(dir, to)
	if !ok1 || !ok2 {
		return problem(http.StatusNotFound, "Not Found")
	}
	fork, err := git(dir, nil, "merge-base", base, head)
	if err != nil {
		return problem(http.StatusNotFound, "No common ancestor between "+from+" and "+to+".")
	}
	fork = strings.TrimSpace(fork)
	ahead, err := forgetest.Log(dir, "--reverse", "--topo-order", base+".."+head)
	if err != nil {
		return broken(err)
	}
	behind, err := git(dir, nil, "rev-list", "--count", head+".."+base)
	if err != nil {
		return broken(err)
	}
	behindBy, _ := strconv.Atoi(strings.TrimSpace(behind))
	diffs, err := readDiff(dir, fork, head)
	if err != nil {
		return broken(err)
	}
	status := "identical"
	switch {
	case len(ahead) > 0 && behindBy > 0:
		status = "diverged"
	case len(ahead) > 0:
		status = "ahead"
	case behindBy > 0:
		status = "behind"
	}
	baseCommit, err := forgetest.ReadCommit(dir, base)
	if err != nil {
		return broken(err)
	}
	forkCommit, err := forgetest.ReadCommit(dir, fork)
	if err != nil {
		return broken(err)
	}
	commits := []object{}
	for _, one := range ahead {
		commits = append(commits, s.commitJSON(c.repo, one))
	}
	files, _, _ := s.diffsJSON(c.repo, head, diffs)
	html := s.url + "/" + c.repo.fullName() + "/compare/" + base + "..." + head
	return ok(object{
		"url": s.api("/repos/%s/compare/%s...%s", c.repo.fullName(), base, head), "html_url": html, "permalink_url": html, "diff_url": html + ".diff",
		"patch_url": html + ".patch", "base_commit": s.commitJSON(c.repo, baseCommit), "merge_base_commit": s.commitJSON(c.repo, forkCommit), "status": status,
		"ahead_by": len(ahead), "behind_by": behindBy, "total_commits": len(ahead), "commits": commits, "files": files,
	})
}

// getContents is GET /repos/{owner}/{repo}/contents/{path}, for files, directories, symbolic links and submodules.
func (s *Server) getContents(c *call) *answer {
	dir := s.repoDir(c.repo)
	ref := c.r.URL.Query().Get("ref")
	if ref == "" {
		ref = c.repo.defaultBranch
	}
	sha, found := forgetest.Resolve(dir, ref)
	if !found {
		return problem(http.StatusNotFound, "No commit found for the ref "+ref)
	}
	file := strings.Trim(c.params["path"], "/")
	accept := c.r.Header.Get("Accept")
	if file != "" {
		entries, err := s.treeEntries(dir, sha, file, false)
		if err != nil || len(entries) != 1 {
			return problem(http.StatusNotFound, "Not Found")
		}
		if entries[0].kind != "tree" {
			return s.fileAnswer(c, sha, ref, entries[0], strings.Contains(accept, ".raw"))
		}
		file += "/"
	}
	entries, err := s.treeEntries(dir, sha, file, true)
	if err != nil {
		return broken(err)
	}
	list := []object{}
	for _, e := range entries {
		list = append(list, s.entryJSON(c.repo, ref, e))
	}
	return ok(list)
}

// A treeEntry is a line of git ls-tree.
type treeEntry struct {
	mode, kind, hash, path string
	size                   int
}

// treeEntries lists one entry of a tree, or what is below a directory.
func (s *Server) treeEntries(dir, sha, file string, below bool) ([]treeEntry, error) {
	args := []string{"--literal-pathspecs", "ls-tree", "-l", "-z", "--full-tree", sha}
	if file != "" || !below {
		args = append(args, "--", file)
	}
	out, err := git(dir, nil, args...)
	if err != nil {
		return nil, err
	}
	var entries []treeEntry
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		head, name, found := strings.Cut(line, "\t")
		f := strings.Fields(head)
		if !found || len(f) != 4 {
			continue
		}
		size, _ := strconv.Atoi(f[3]) // "-" for a directory
		entries = append(entries, treeEntry{mode: f[0], kind: f[1], hash: f[2], path: name, size: size})
	}
	return entries, nil
}

// contentType is what GitHub calls an entry.
func (e treeEntry) contentType() string {
	switch {
	case e.kind == "tree":
		return "dir"
	case e.kind == "commit":
		return "submodule"
	case e.mode == "120000":
		return "symlink"
	}
	return "file"
}

func (s *Server) entryJSON(r *repo, ref string, e treeEntry) object {
	full := r.fullName()
	self := s.api("/repos/%s/contents/%s?ref=%s", full, escapePath(e.path), url.QueryEscape(ref))
	kind, word := "blobs", "blob"
	if e.kind == "tree" {
		kind, word = "trees", "tree"
	}
	gitURL := s.api("/repos/%s/git/%s/%s", full, kind, e.hash)
	html := fmt.Sprintf("%s/%s/%s/%s/%s", s.url, full, word, ref, escapePath(e.path))
	o := object{"type": e.contentType(), "size": e.size, "name": path.Base(e.path), "path": e.path, "sha": e.hash, "url": self, "git_url": gitURL,
		"html_url": html, "download_url": nil, "_links": object{"self": self, "git": gitURL, "html": html}}
	if e.kind == "blob" {
		o["download_url"] = fmt.Sprintf("%s/%s/raw/%s/%s", s.url, full, ref, escapePath(e.path))
	}
	return o
}

// largestContent is the size up to which the JSON of a file holds its text.
const largestContent = 1 << 20

// fileAnswer is the content of what is no directory.
func (s *Server) fileAnswer(c *call, sha, ref string, e treeEntry, raw bool) *answer {
	o := s.entryJSON(c.repo, ref, e)
	if e.kind == "commit" {
		o["submodule_git_url"] = ""
		return ok(o)
	}
	text, err := git(s.repoDir(c.repo), nil, "cat-file", "blob", e.hash)
	if err != nil {
		return broken(err)
	}
	if raw {
		return &answer{status: http.StatusOK, raw: []byte(text), contentType: "application/vnd.github.raw; charset=utf-8"}
	}
	if e.contentType() == "symlink" {
		o["target"] = text
		return ok(o)
	}
	if e.size > largestContent {
		o["encoding"], o["content"] = "none", ""
		return ok(o)
	}
	// Lines of 60 characters, each ended, as GitHub sends them.
	var lines strings.Builder
	for chunk := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString([]byte(text))), 60) {
		lines.Write(chunk)
		lines.WriteByte('\n')
	}
	o["encoding"], o["content"] = "base64", lines.String()
	return ok(o)
}

// escapePath escapes a path for an address and keeps its slashes.
func escapePath(p string) string { return (&url.URL{Path: p}).EscapedPath() }
