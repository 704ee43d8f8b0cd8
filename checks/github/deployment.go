package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"buildsmith/checks"
	"buildsmith/store"
)

// payload is what a deployment of ours is known by.
type payload struct {
	Build string `json:"buildsmith_build"`
}

// createDeployment implements Create for deployments, with its first state. Nothing is merged, and nothing is waited for: the
// build has been begun.
// https://docs.github.com/rest/deployments/deployments#create-a-deployment
func (a *App) createDeployment(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	var made struct{ ID int64 }
	err := a.do(ctx, r, http.MethodPost, "/deployments", map[string]any{
		"ref": report.Commit, "environment": report.Environment.Name, "description": clip(report.Title, maxDescription),
		"auto_merge": false, "required_contexts": []string{}, "payload": payload{report.ExternalID},
	}, &made)
	if err != nil {
		return "", refusedToo(err)
	}
	if made.ID == 0 {
		return "", fmt.Errorf("%w: GitHub made no deployment of %s", checks.ErrRefused, report.Commit)
	}
	remote := strconv.FormatInt(made.ID, 10)
	return remote, a.tellDeployment(ctx, r, remote, report)
}

// tellDeployment says how a deployment stands.
// https://docs.github.com/rest/deployments/statuses#create-a-deployment-status
func (a *App) tellDeployment(ctx context.Context, r store.Repo, remote string, report *checks.Report) error {
	body := map[string]any{"state": deploymentState(report), "log_url": report.URL, "description": clip(report.Title, maxDescription)}
	if report.Environment.URL != "" {
		body["environment_url"] = report.Environment.URL
	}
	return refusedToo(a.do(ctx, r, http.MethodPost, "/deployments/"+remote+"/statuses", body, nil))
}

func deploymentState(report *checks.Report) string {
	switch {
	case report.Status != checks.Completed:
		return "in_progress"
	case report.Conclusion == checks.Success, report.Conclusion == checks.Errored:
		return report.Conclusion
	}
	return "failure"
}

// findDeployment implements Find for deployments.
func (a *App) findDeployment(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	const perPage, maxPages = 100, 10
	for page := 1; page <= maxPages; page++ {
		query := url.Values{"sha": {report.Commit}, "environment": {report.Environment.Name}, "per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(page)}}
		var list []struct {
			ID      int64
			Payload json.RawMessage // an object, or any text
		}
		if err := a.do(ctx, r, http.MethodGet, "/deployments?"+query.Encode(), nil, &list); err != nil {
			return "", refusedToo(err)
		}
		for _, d := range list {
			var p payload
			if json.Unmarshal(d.Payload, &p) == nil && p.Build == report.ExternalID {
				return strconv.FormatInt(d.ID, 10), nil
			}
		}
		if len(list) < perPage {
			break
		}
	}
	return "", nil
}
