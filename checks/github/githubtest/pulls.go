package githubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A PullRequest is what opening one needs.
type PullRequest struct {
	User  string `json:"user"` // who opens it; the owner of the head repository if empty
	Title string `json:"title"`
	Body  string `json:"body"`
	Draft bool   `json:"draft"`
	Head  string `json:"head"` // a branch, or "owner:branch" of a fork
	Base  string `json:"base"` // a branch; the default branch if empty
}

// newPullLocked makes a pull request whose head is fetched into the base repository, as GitHub does.
func (s *Server) newPullLocked(r *repo, in PullRequest) (*issue, error) {
	headRepo, branch := r, in.Head
	if owner, b, ok := strings.Cut(in.Head, ":"); ok {
		branch = b
		if headRepo = s.relativeLocked(r, owner); headRepo == nil {
			return nil, fmt.Errorf("%s has no fork of %s: %w", owner, r.fullName(), fs.ErrNotExist)
		}
	}
	if in.Base == "" {
		in.Base = r.defaultBranch
	}
	if in.User == "" {
		in.User = headRepo.owner
	}
	if in.Title == "" {
		in.Title = "Changes of " + branch
	}
	i := s.newIssueLocked(r, in.User, in.Title, in.Body)
	i.pull = &pull{id: s.nextIDLocked("pull"), headOwner: headRepo.owner, headRepo: headRepo.id, headRef: branch, baseRef: in.Base, draft: in.Draft}
	if err := s.refreshPullLocked(r, i); err != nil {
		r.issues = slices.DeleteFunc(r.issues, func(other *issue) bool { return other == i })
		return nil, err
	}
	return i, nil
}

func (s *Server) newIssueLocked(r *repo, login, title, body string) *issue {
	now := s.now()
	i := &issue{id: s.nextIDLocked("issue"), number: len(r.issues) + 1, user: s.userLocked(login).login, title: title, body: body, open: true,
		created: now, updated: now}
	r.issues = append(r.issues, i)
	return i
}

// relativeLocked returns the repository of an owner in the same network of forks.
func (s *Server) relativeLocked(r *repo, owner string) *repo {
	for _, other := range s.repos {
		if strings.EqualFold(other.owner, owner) && (other.id == r.id || other.parent == r.id || r.parent != 0 && other.id == r.parent) {
			return other
		}
	}
	return nil
}

// refreshPullLocked brings head, base and the refs below refs/pull up to date.
func (s *Server) refreshPullLocked(r *repo, i *issue) error {
	p, dir := i.pull, s.repoDir(r)
	headRepo := s.repos[p.headRepo]
	if headRepo == nil {
		return errors.New("the head repository is deleted")
	}
	head, ok := forgetest.Resolve(s.repoDir(headRepo), "refs/heads/"+p.headRef)
	if !ok {
		return fmt.Errorf("the branch %s of %s: %w", p.headRef, headRepo.fullName(), fs.ErrNotExist)
	}
	base, ok := forgetest.Resolve(dir, "refs/heads/"+p.baseRef)
	if !ok {
		return fmt.Errorf("the branch %s of %s: %w", p.baseRef, r.fullName(), fs.ErrNotExist)
	}
	ref := fmt.Sprintf("refs/pull/%d/", i.number)
	if _, err := git(dir, nil, "-c", "protocol.file.allow=always", "fetch", "--quiet", "--no-tags", s.repoDir(headRepo), "+"+head+":"+ref+"head"); err != nil {
		return err
	}
	p.headSHA, p.baseSHA, p.mergeSHA = head, base, ""
	i.updated = s.now()
	tree, err := git(dir, nil, "merge-tree", "--write-tree", "--allow-unrelated-histories", base, head)
	if err != nil { // conflicts: there is no test merge
		_, err = git(dir, nil, "update-ref", "-d", ref+"merge")
		return err
	}
	merge, err := git(dir, nil, "commit-tree", "-p", base, "-p", head, "-m", "Merge "+head+" into "+base, strings.TrimSpace(tree))
	if err != nil {
		return err
	}
	p.mergeSHA = strings.TrimSpace(merge)
	_, err = git(dir, nil, "update-ref", ref+"merge", p.mergeSHA)
	return err
}

// OpenIssue makes an issue that is no pull request and returns its number. Nobody is told.
func (s *Server) OpenIssue(fullName, login, title string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.namedRepoLocked(fullName)
	if err != nil {
		return 0, err
	}
	return s.newIssueLocked(r, login, title, "").number, nil
}

// listPulls is GET /repos/{owner}/{repo}/pulls.
func (s *Server) listPulls(c *call) *answer {
	q := c.r.URL.Query()
	state := q.Get("state")
	if state == "" {
		state = "open"
	}
	list := []object{}
	for _, i := range slices.Backward(c.repo.issues) {
		p := i.pull
		if p == nil || state != "all" && i.open != (state == "open") || q.Has("base") && q.Get("base") != p.baseRef ||
			q.Has("head") && q.Get("head") != p.headOwner+":"+p.headRef {
			continue
		}
		list = append(list, s.pullJSON(c.repo, i))
	}
	return pageOf(s, c, list, "")
}

// listCommitPulls is GET /repos/{owner}/{repo}/commits/{commit_sha}/pulls: the pull requests that hold a commit.
func (s *Server) listCommitPulls(c *call) *answer {
	sha := c.params["commit_sha"]
	if !forgetest.IsHash(sha) || !s.hasCommit(c.repo, sha) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	list := []object{}
	for _, i := range c.repo.issues {
		if i.pull == nil {
			continue
		}
		out, err := git(s.repoDir(c.repo), nil, "rev-list", i.pull.headSHA, "^"+i.pull.baseSHA)
		if err != nil {
			return broken(err)
		}
		if strings.Contains(out, sha) {
			list = append(list, s.pullJSON(c.repo, i))
		}
	}
	return pageOf(s, c, list, "")
}

// getPull is GET /repos/{owner}/{repo}/pulls/{pull_number}.
func (s *Server) getPull(c *call) *answer {
	i := c.repo.issue(int(c.number("pull_number")))
	if i == nil || i.pull == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	o, err := s.fullPullJSON(c.repo, i)
	if err != nil {
		return broken(err)
	}
	return ok(o)
}

// listPullFiles is GET /repos/{owner}/{repo}/pulls/{pull_number}/files.
func (s *Server) listPullFiles(c *call) *answer {
	i := c.repo.issue(int(c.number("pull_number")))
	if i == nil || i.pull == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	diffs, err := s.pullDiff(c.repo, i.pull)
	if err != nil {
		return broken(err)
	}
	files, _, _ := s.diffsJSON(c.repo, i.pull.headSHA, diffs)
	return pageOf(s, c, files, "")
}

// pullDiff compares the head with where it left the base.
func (s *Server) pullDiff(r *repo, p *pull) ([]fileDiff, error) {
	fork, err := git(s.repoDir(r), nil, "merge-base", p.baseSHA, p.headSHA)
	if err != nil {
		fork = p.baseSHA // unrelated histories
	}
	return readDiff(s.repoDir(r), strings.TrimSpace(fork), p.headSHA)
}

func (s *Server) issueURL(r *repo, i *issue) string {
	kind := "issues"
	if i.pull != nil {
		kind = "pull"
	}
	return fmt.Sprintf("%s/%s/%s/%d", s.url, r.fullName(), kind, i.number)
}

func (i *issue) state() string {
	if i.open {
		return "open"
	}
	return "closed"
}

// pullJSON is a pull request as lists have it.
func (s *Server) pullJSON(r *repo, i *issue) object {
	p := i.pull
	base := s.api("/repos/%s", r.fullName())
	url, issueURL := fmt.Sprintf("%s/pulls/%d", base, i.number), fmt.Sprintf("%s/issues/%d", base, i.number)
	html := s.issueURL(r, i)
	link := func(to string) object { return object{"href": to} }
	var headRepo any // null when it is deleted
	if h := s.repos[p.headRepo]; h != nil {
		headRepo = s.repoJSON(h)
	}
	return object{
		"id": p.id, "node_id": nodeID("PR", p.id), "number": i.number, "url": url, "html_url": html, "diff_url": html + ".diff",
		"patch_url": html + ".patch", "issue_url": issueURL, "commits_url": url + "/commits", "review_comments_url": url + "/comments",
		"review_comment_url": base + "/pulls/comments{/number}", "comments_url": issueURL + "/comments", "statuses_url": base + "/statuses/" + p.headSHA,
		"state": i.state(), "locked": false, "title": i.title, "user": s.userJSON(i.user), "body": orNull(i.body),
		"created_at": stamp(i.created), "updated_at": stamp(i.updated), "closed_at": stampOrNull(i.closed), "merged_at": stampOrNull(p.merged),
		"merge_commit_sha": orNull(p.mergeSHA), "assignee": nil, "assignees": []object{}, "requested_reviewers": []object{}, "requested_teams": []object{},
		"labels": s.labelsJSON(r, i), "milestone": nil, "draft": p.draft, "author_association": s.associationLocked(r, i.user), "auto_merge": nil,
		"active_lock_reason": nil,
		"head":               object{"label": p.headOwner + ":" + p.headRef, "ref": p.headRef, "sha": p.headSHA, "user": s.userJSON(p.headOwner), "repo": headRepo},
		"base":               object{"label": r.owner + ":" + p.baseRef, "ref": p.baseRef, "sha": p.baseSHA, "user": s.userJSON(r.owner), "repo": s.repoJSON(r)},
		"_links": object{"self": link(url), "html": link(html), "issue": link(issueURL), "comments": link(issueURL + "/comments"),
			"review_comments": link(url + "/comments"), "review_comment": link(base + "/pulls/comments{/number}"), "commits": link(url + "/commits"),
			"statuses": link(base + "/statuses/" + p.headSHA)},
	}
}

// fullPullJSON is a pull request as it is alone and in payloads.
func (s *Server) fullPullJSON(r *repo, i *issue) (object, error) {
	p := i.pull
	diffs, err := s.pullDiff(r, p)
	if err != nil {
		return nil, err
	}
	_, added, deleted := s.diffsJSON(r, p.headSHA, diffs)
	count, err := git(s.repoDir(r), nil, "rev-list", "--count", p.headSHA, "^"+p.baseSHA)
	if err != nil {
		return nil, err
	}
	commits, _ := strconv.Atoi(strings.TrimSpace(count))
	comments := 0
	for _, c := range s.comments {
		if c.repo == r.id && c.Number == i.number {
			comments++
		}
	}
	var mergedBy any
	if p.mergedBy != "" {
		mergedBy = s.userJSON(p.mergedBy)
	}
	state := "clean"
	if p.mergeSHA == "" {
		state = "dirty"
	}
	return with(s.pullJSON(r, i), object{
		"merged": !p.merged.IsZero(), "mergeable": p.mergeSHA != "", "rebaseable": p.mergeSHA != "", "mergeable_state": state, "merged_by": mergedBy,
		"comments": comments, "review_comments": 0, "maintainer_can_modify": false, "commits": commits, "additions": added, "deletions": deleted,
		"changed_files": len(diffs),
	}), nil
}

// issueJSON is an issue, or the issue side of a pull request, as payloads have it.
func (s *Server) issueJSON(r *repo, i *issue) object {
	url := s.api("/repos/%s/issues/%d", r.fullName(), i.number)
	comments := 0
	for _, c := range s.comments {
		if c.repo == r.id && c.Number == i.number {
			comments++
		}
	}
	counts := object{"url": url + "/reactions", "total_count": 0}
	for _, word := range reactionWords {
		counts[word] = 0
	}
	o := object{
		"id": i.id, "node_id": nodeID("I", i.id), "number": i.number, "url": url, "html_url": s.issueURL(r, i),
		"repository_url": s.api("/repos/%s", r.fullName()), "labels_url": url + "/labels{/name}", "comments_url": url + "/comments",
		"events_url": url + "/events", "timeline_url": url + "/timeline", "title": i.title, "user": s.userJSON(i.user), "labels": s.labelsJSON(r, i),
		"state": i.state(), "locked": false, "assignee": nil, "assignees": []object{}, "milestone": nil, "comments": comments,
		"created_at": stamp(i.created), "updated_at": stamp(i.updated), "closed_at": stampOrNull(i.closed), "state_reason": nil,
		"author_association": s.associationLocked(r, i.user), "active_lock_reason": nil, "body": orNull(i.body), "reactions": counts,
		"performed_via_github_app": nil,
	}
	if i.pull != nil {
		html := s.issueURL(r, i)
		o["draft"] = i.pull.draft
		o["pull_request"] = object{"url": s.api("/repos/%s/pulls/%d", r.fullName(), i.number), "html_url": html, "diff_url": html + ".diff",
			"patch_url": html + ".patch", "merged_at": stampOrNull(i.pull.merged)}
	}
	return o
}

// closePullLocked closes a pull request, or merges it: the base branch is moved to the test merge.
func (s *Server) closePullLocked(r *repo, i *issue, login string, merge bool) error {
	if !i.open {
		return fmt.Errorf("pull request %d is closed already", i.number)
	}
	now := s.now().Truncate(time.Second)
	if merge {
		if i.pull.mergeSHA == "" {
			return fmt.Errorf("pull request %d has conflicts", i.number)
		}
		if _, err := git(s.repoDir(r), nil, "update-ref", "refs/heads/"+i.pull.baseRef, i.pull.mergeSHA); err != nil {
			return err
		}
		i.pull.merged, i.pull.mergedBy = now, login
	}
	i.open, i.closed, i.updated = false, now, now
	return nil
}
