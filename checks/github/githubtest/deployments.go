package githubtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A Deployment is a deployment of a commit to an environment.
type Deployment struct {
	ID          int64              `json:"id"`
	SHA         string             `json:"sha"`
	Ref         string             `json:"ref"`
	Environment string             `json:"environment"`
	Description string             `json:"description"`
	Payload     json.RawMessage    `json:"payload"`
	Statuses    []DeploymentStatus `json:"statuses"` // the oldest first
	Created     time.Time          `json:"created"`

	repo int64
}

// A DeploymentStatus says how a deployment stood.
type DeploymentStatus struct {
	ID             int64  `json:"id"`
	State          string `json:"state"`
	Description    string `json:"description"`
	LogURL         string `json:"log_url"`
	EnvironmentURL string `json:"environment_url"`
}

// Deployments returns the deployments of a repository, the oldest first.
func (s *Server) Deployments(fullName string) []Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Deployment
	for _, d := range s.deployments {
		if r := s.repos[d.repo]; r != nil && strings.EqualFold(r.fullName(), fullName) {
			clone := *d
			clone.Statuses = slices.Clone(d.Statuses)
			list = append(list, clone)
		}
	}
	return list
}

// createDeployment is POST /repos/{owner}/{repo}/deployments. Only what needs neither a merge nor the statuses of the commit is
// made: an app that leaves these to their defaults is told what GitHub says when they hold it up.
func (s *Server) createDeployment(c *call) *answer {
	var in struct {
		Ref         string          `json:"ref"`
		AutoMerge   *bool           `json:"auto_merge"`
		Contexts    *[]string       `json:"required_contexts"`
		Payload     json.RawMessage `json:"payload"`
		Environment string          `json:"environment"`
		Description string          `json:"description"`
	}
	if a := c.decode(&in); a != nil {
		return a
	}
	sha, found := forgetest.Resolve(s.repoDir(c.repo), in.Ref)
	switch {
	case !found:
		return problem(http.StatusUnprocessableEntity, "No ref found for: "+in.Ref)
	case in.AutoMerge == nil || *in.AutoMerge, in.Contexts == nil || len(*in.Contexts) > 0:
		return problem(http.StatusConflict, "Conflict: Commit status checks failed for "+in.Ref+".")
	case len([]rune(in.Description)) > 140:
		return problem(http.StatusUnprocessableEntity, "Validation Failed: description is too long")
	}
	if in.Environment == "" {
		in.Environment = "production"
	}
	d := &Deployment{ID: s.nextIDLocked("deployment"), repo: c.repo.id, SHA: sha, Ref: in.Ref, Environment: in.Environment, Description: in.Description,
		Payload: in.Payload, Created: s.now().UTC().Truncate(time.Second)}
	s.deployments = append(s.deployments, d)
	return &answer{status: http.StatusCreated, body: s.deploymentJSON(c.repo, d)}
}

// listDeployments is GET /repos/{owner}/{repo}/deployments, the newest first.
func (s *Server) listDeployments(c *call) *answer {
	q := c.r.URL.Query()
	list := []object{}
	for _, d := range slices.Backward(s.deployments) {
		if d.repo == c.repo.id && (!q.Has("sha") || q.Get("sha") == d.SHA) && (!q.Has("environment") || q.Get("environment") == d.Environment) &&
			(!q.Has("ref") || q.Get("ref") == d.Ref) {
			list = append(list, s.deploymentJSON(c.repo, d))
		}
	}
	return pageOf(s, c, list, "")
}

func (s *Server) deploymentOfCall(c *call) *Deployment {
	for _, d := range s.deployments {
		if d.repo == c.repo.id && d.ID == c.number("deployment_id") {
			return d
		}
	}
	return nil
}

// createDeploymentStatus is POST /repos/{owner}/{repo}/deployments/{deployment_id}/statuses.
func (s *Server) createDeploymentStatus(c *call) *answer {
	d := s.deploymentOfCall(c)
	if d == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	var in DeploymentStatus
	if a := c.decode(&in); a != nil {
		return a
	}
	if len([]rune(in.Description)) > 140 {
		return problem(http.StatusUnprocessableEntity, "Validation Failed: description is too long")
	}
	in.ID = s.nextIDLocked("deployment")
	d.Statuses = append(d.Statuses, in)
	return &answer{status: http.StatusCreated, body: s.deploymentStatusJSON(c.repo, d, in)}
}

// listDeploymentStatuses is GET /repos/{owner}/{repo}/deployments/{deployment_id}/statuses, the newest first.
func (s *Server) listDeploymentStatuses(c *call) *answer {
	d := s.deploymentOfCall(c)
	if d == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	list := []object{}
	for _, x := range slices.Backward(d.Statuses) {
		list = append(list, s.deploymentStatusJSON(c.repo, d, x))
	}
	return pageOf(s, c, list, "")
}

func (s *Server) deploymentJSON(r *repo, d *Deployment) object {
	url := s.api("/repos/%s/deployments/%d", r.fullName(), d.ID)
	payload := any(d.Payload)
	if len(d.Payload) == 0 {
		payload = ""
	}
	return object{"url": url, "id": d.ID, "node_id": nodeID("DE", d.ID), "sha": d.SHA, "ref": d.Ref, "task": "deploy", "payload": payload,
		"original_environment": d.Environment, "environment": d.Environment, "description": d.Description, "creator": s.userJSON(s.botName()),
		"created_at": stamp(d.Created), "updated_at": stamp(d.Created), "statuses_url": url + "/statuses", "repository_url": s.api("/repos/%s", r.fullName()),
		"transient_environment": false, "production_environment": d.Environment == "production", "performed_via_github_app": s.appJSON(s.appID)}
}

func (s *Server) deploymentStatusJSON(r *repo, d *Deployment, x DeploymentStatus) object {
	url := s.api("/repos/%s/deployments/%d", r.fullName(), d.ID)
	return object{"url": url + "/statuses/" + strconv.FormatInt(x.ID, 10), "id": x.ID, "node_id": nodeID("DES", x.ID), "state": x.State,
		"creator": s.userJSON(s.botName()), "description": x.Description, "environment": d.Environment, "target_url": x.LogURL, "log_url": x.LogURL,
		"environment_url": x.EnvironmentURL, "created_at": stamp(d.Created), "updated_at": stamp(d.Created), "deployment_url": url,
		"repository_url": s.api("/repos/%s", r.fullName()), "performed_via_github_app": s.appJSON(s.appID)}
}
