package bitbuckettest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

// properties is GET /api/latest/application-properties, which needs no credential.
func (d *dataCenter) properties(s *Server, c *call) *answer {
	return ok(object{"version": d.options.Version, "buildNumber": d.build(), "buildDate": "1732147200000", "displayName": "Bitbucket"})
}

// repositories is GET /api/latest/projects/{project}/repos: those that the token may read, by name.
func (d *dataCenter) repositories(s *Server, c *call) *answer {
	if s.projects[strings.ToLower(c.params["project"])] == nil {
		return dcNoProject(c)
	}
	list := []object{}
	for _, r := range slices.SortedFunc(slices.Values(s.repos), func(a, b *repo) int { return strings.Compare(a.slug, b.slug) }) {
		if strings.EqualFold(r.workspace, c.params["project"]) && d.may(s, c.token, r, "REPO_READ") {
			list = append(list, d.repoJSON(s, r))
		}
	}
	return dcPageOf(c, list)
}

func dcNoProject(c *call) *answer {
	return dcProblem(http.StatusNotFound, "project.NoSuchProjectException", "Project %s does not exist.", c.params["project"])
}

// repository is GET /api/latest/projects/{project}/repos/{repo}.
func (d *dataCenter) repository(s *Server, c *call) *answer { return ok(d.repoJSON(s, c.repo)) }

// dcNoCommit says that there is no such commit.
func dcNoCommit(c *call, name string) *answer {
	return dcProblem(http.StatusNotFound, "commit.NoSuchCommitException", "Commit '%s' does not exist in repository '%s'.", name, c.repo.slug)
}

// commitOf reads the commit that a hash, in full or the beginning of it, a branch or a tag names.
func (d *dataCenter) commitOf(c *call, name string) (forgetest.Commit, *answer) {
	sha, found := forgetest.Resolve(c.repo.dir, name)
	if !found {
		return forgetest.Commit{}, dcNoCommit(c, name)
	}
	commit, err := forgetest.ReadCommit(c.repo.dir, sha)
	if err != nil {
		return forgetest.Commit{}, d.broken(err)
	}
	return commit, nil
}

// getCommit is GET .../commits/{commit}.
func (d *dataCenter) getCommit(s *Server, c *call) *answer {
	commit, refused := d.commitOf(c, c.params["commit"])
	if refused != nil {
		return refused
	}
	return ok(d.commitJSON(s, commit))
}

// dcMostCommits is how many commits are read for a list of them, which is more than a bot may want.
const dcMostCommits = "5000"

// commits is GET .../commits: what leads to until, or to the default branch, without what leads to since.
func (d *dataCenter) commits(s *Server, c *call) *answer {
	until, refused := d.commitOf(c, cmp.Or(c.query("until"), "refs/heads/"+c.repo.branch))
	if refused != nil {
		return refused
	}
	args := []string{"--max-count=" + dcMostCommits, until.SHA}
	if name := c.query("since"); name != "" {
		since, refused := d.commitOf(c, name)
		if refused != nil {
			return refused
		}
		args = append(args, "--not", since.SHA)
	}
	commits, err := forgetest.Log(c.repo.dir, args...)
	if err != nil {
		return d.broken(err)
	}
	list := []object{}
	for _, commit := range commits {
		list = append(list, d.commitJSON(s, commit))
	}
	return dcPageOf(c, list)
}

// A dcTip is a branch or a tag, and the commit that it leads to.
type dcTip struct {
	ref    string
	hash   string // what the ref holds: a commit, or the object of an annotated tag
	commit string
}

// tips returns the refs below a prefix whose names hold a text, in the order that is asked for: by name, or the newest first.
func (d *dataCenter) tips(c *call, prefix string) ([]dcTip, error) {
	args := []string{"for-each-ref", "--format=%(refname) %(objectname) %(objecttype) %(*objectname) %(*objecttype)", "--sort=refname"}
	if c.query("orderBy") != "ALPHABETICAL" {
		args = append(args, "--sort=-creatordate")
	}
	out, err := d.host().Git(c.repo.dir, nil, append(args, prefix)...)
	if err != nil {
		return nil, err
	}
	filter := strings.ToLower(c.query("filterText"))
	var tips []dcTip
	for line := range strings.Lines(out) {
		f := strings.Fields(line) // the last two are those of what an annotated tag is of
		if !strings.Contains(strings.ToLower(strings.TrimPrefix(f[0], prefix)), filter) || f[len(f)-1] != "commit" {
			continue
		}
		tips = append(tips, dcTip{ref: f[0], hash: f[1], commit: f[len(f)-2]})
	}
	return tips, nil
}

// branches is GET .../branches. Details are the newest commit of each.
func (d *dataCenter) branches(s *Server, c *call) *answer {
	tips, err := d.tips(c, "refs/heads/")
	if err != nil {
		return d.broken(err)
	}
	list := []object{}
	for _, tip := range tips {
		list = append(list, dcBranchJSON(c.repo, tip))
	}
	page := dcPageOf(c, list)
	if c.query("details") != "true" {
		return page
	}
	for _, o := range page.body.(object)["values"].([]object) {
		commit, refused := d.commitOf(c, o["latestCommit"].(string))
		if refused != nil {
			return refused
		}
		o["metadata"] = object{"com.atlassian.bitbucket.server.bitbucket-branch:latest-commit-metadata": d.commitJSON(s, commit)}
	}
	return page
}

func dcBranchJSON(r *repo, tip dcTip) object {
	return with(dcRef(tip.ref), object{"latestCommit": tip.commit, "latestChangeset": tip.commit, "isDefault": tip.ref == "refs/heads/"+r.branch})
}

// dcNoDefault says that the default branch of a repository is not there, as in an empty one.
func dcNoDefault(c *call) *answer {
	return dcProblem(http.StatusNotFound, "repository.NoDefaultBranchException", "The default branch 'refs/heads/%s' of repository '%s' does not exist.",
		c.repo.branch, c.repo.slug)
}

// oldDefaultBranch is GET .../branches/default.
func (d *dataCenter) oldDefaultBranch(s *Server, c *call) *answer {
	ref := "refs/heads/" + c.repo.branch
	sha, found := forgetest.Resolve(c.repo.dir, ref)
	if !found {
		return dcNoDefault(c)
	}
	return ok(dcBranchJSON(c.repo, dcTip{ref: ref, commit: sha}))
}

// defaultBranch is GET .../default-branch.
func (d *dataCenter) defaultBranch(s *Server, c *call) *answer {
	ref := "refs/heads/" + c.repo.branch
	if _, found := forgetest.Resolve(c.repo.dir, ref); !found {
		return dcNoDefault(c)
	}
	return ok(dcRef(ref))
}

// tags is GET .../tags.
func (d *dataCenter) tags(s *Server, c *call) *answer {
	tips, err := d.tips(c, "refs/tags/")
	if err != nil {
		return d.broken(err)
	}
	list := []object{}
	for _, tip := range tips {
		list = append(list, dcTagJSON(tip))
	}
	return dcPageOf(c, list)
}

func dcTagJSON(tip dcTip) object {
	o := with(dcRef(tip.ref), object{"latestCommit": tip.commit, "latestChangeset": tip.commit, "hash": nil})
	if tip.hash != tip.commit {
		o["hash"] = tip.hash
	}
	return o
}

// tag is GET .../tags/{tag}.
func (d *dataCenter) tag(s *Server, c *call) *answer {
	tips, err := d.tips(c, "refs/tags/")
	if err != nil {
		return d.broken(err)
	}
	for _, tip := range tips {
		if tip.ref == "refs/tags/"+c.params["name"] {
			return ok(dcTagJSON(tip))
		}
	}
	return dcProblem(http.StatusNotFound, "repository.NoSuchTagException", "Tag '%s' does not exist in repository '%s'.", c.params["name"], c.repo.slug)
}

// raw is GET .../raw/{path}: the file as it is, at a commit, a branch or a tag, or else at the default branch.
func (d *dataCenter) raw(s *Server, c *call) *answer {
	commit, refused := d.commitOf(c, cmp.Or(c.query("at"), "refs/heads/"+c.repo.branch))
	if refused != nil {
		return refused
	}
	path := c.params["path"]
	content, err := d.host().Git(c.repo.dir, nil, "cat-file", "blob", commit.SHA+":"+path)
	if err != nil {
		return dcProblem(http.StatusNotFound, "content.NoSuchPathException", "The path \"%s\" does not exist at revision \"%s\"", path, commit.SHA)
	}
	return &answer{status: http.StatusOK, raw: []byte(content), contentType: "text/plain;charset=UTF-8"}
}

// branchesOf is GET /branch-utils/.../branches/info/{commit}: the branches that hold a commit.
func (d *dataCenter) branchesOf(s *Server, c *call) *answer {
	commit, refused := d.commitOf(c, c.params["commit"])
	if refused != nil {
		return refused
	}
	list := []object{}
	for _, branch := range branchesOf(c.repo.dir, commit.SHA) {
		list = append(list, dcRef("refs/heads/"+branch))
	}
	return dcPageOf(c, list)
}
