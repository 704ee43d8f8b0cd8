package githubtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"buildsmith/checks/forgetest"
)

// createSuite is POST /repos/{owner}/{repo}/check-suites.
func (s *Server) createSuite(c *call) *answer {
	var in struct {
		HeadSHA string `json:"head_sha"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	if !forgetest.IsHash(in.HeadSHA) || !s.hasCommit(c.repo, in.HeadSHA) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+in.HeadSHA)
	}
	count := len(s.suites)
	x := s.suiteLocked(c.repo, s.appID, in.HeadSHA)
	status := http.StatusOK
	if len(s.suites) > count {
		status = http.StatusCreated
	}
	return s.suiteAnswer(c, x, status)
}

// getSuite is GET /repos/{owner}/{repo}/check-suites/{check_suite_id}.
func (s *Server) getSuite(c *call) *answer {
	x := s.suites[c.number("check_suite_id")]
	if x == nil || x.repo != c.repo.id {
		return problem(http.StatusNotFound, "Not Found")
	}
	return s.suiteAnswer(c, x, http.StatusOK)
}

func (s *Server) suiteAnswer(c *call, x *suite, status int) *answer {
	body, err := s.suiteJSON(c.repo, x)
	if err != nil {
		return broken(err)
	}
	return &answer{status: status, body: with(body, object{"repository": s.repoJSON(c.repo)})}
}

// listSuites is GET /repos/{owner}/{repo}/commits/{ref}/check-suites.
func (s *Server) listSuites(c *call) *answer {
	sha, found := forgetest.Resolve(s.repoDir(c.repo), c.params["ref"])
	if !found {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["ref"])
	}
	name := c.r.URL.Query().Get("check_name")
	list := []object{}
	for _, id := range slices.Sorted(maps.Keys(s.suites)) {
		x := s.suites[id]
		named := slices.ContainsFunc(s.suiteRunsLocked(x), func(run *CheckRun) bool { return run.Name == name })
		if x.repo != c.repo.id || x.sha != sha || x.app != c.queryNumber("app_id", x.app) || name != "" && !named {
			continue
		}
		body, err := s.suiteJSON(c.repo, x)
		if err != nil {
			return broken(err)
		}
		list = append(list, with(body, object{"repository": s.repoJSON(c.repo)}))
	}
	return pageOf(s, c, list, "check_suites")
}

// rerequestSuite is POST /repos/{owner}/{repo}/check-suites/{check_suite_id}/rerequest.
func (s *Server) rerequestSuite(c *call) *answer {
	x := s.suites[c.number("check_suite_id")]
	if x == nil || x.repo != c.repo.id {
		return problem(http.StatusNotFound, "Not Found")
	}
	s.later(func() { s.RerequestSuite(x.id, s.botName()) })
	return &answer{status: http.StatusCreated, body: object{}}
}

// rerequestRun is POST /repos/{owner}/{repo}/check-runs/{check_run_id}/rerequest.
func (s *Server) rerequestRun(c *call) *answer {
	run := s.runLocked(c.repo, c.number("check_run_id"))
	switch {
	case run == nil:
		return problem(http.StatusNotFound, "Not Found")
	case run.AppID != s.appID:
		return problem(http.StatusForbidden, "Forbidden")
	case run.Status != "completed":
		return problem(http.StatusUnprocessableEntity, "This check run is not rerequestable")
	}
	id := run.ID
	s.later(func() { s.Rerequest(id, s.botName()) })
	return &answer{status: http.StatusCreated, body: object{}}
}

// suiteJSON is a suite as payloads have it; answers have the repository too.
func (s *Server) suiteJSON(r *repo, x *suite) (object, error) {
	head, err := forgetest.ReadCommit(s.repoDir(r), x.sha)
	if err != nil {
		return nil, fmt.Errorf("reading the commit of suite %d: %w", x.id, err)
	}
	runs := s.suiteRunsLocked(x)
	status, conclusion := suiteState(runs)
	url := s.api("/repos/%s/check-suites/%d", r.fullName(), x.id)
	who := func(g forgetest.Signature) object { return object{"name": g.Name, "email": g.Email} }
	var before any
	if len(head.Parents) > 0 {
		before = head.Parents[0]
	}
	return object{
		"id": x.id, "node_id": nodeID("CS", x.id), "head_branch": orNull(x.headBranch), "head_sha": x.sha, "status": status,
		"conclusion": orNull(conclusion), "url": url, "before": before, "after": x.sha, "pull_requests": s.pullsOfLocked(r, x.sha),
		"app": s.appJSON(x.app), "created_at": stamp(x.created), "updated_at": stamp(x.created),
		"latest_check_runs_count": len(latest(runs)), "check_runs_url": url + "/check-runs",
		"head_commit": object{"id": head.SHA, "tree_id": head.Tree, "message": head.Message, "timestamp": stamp(head.Committer.At),
			"author": who(head.Author), "committer": who(head.Committer)},
	}, nil
}
