package github

import (
	"context"
	"net/http"

	"buildsmith/checks"
	"buildsmith/store"
)

// maxDescription is how many characters the description of a status or a deployment may have.
const maxDescription = 140

// createStatus makes a commit status: the newest of a context counts. GitHub takes a thousand of one context for a commit.
// https://docs.github.com/rest/commits/statuses#create-a-commit-status
func (a *App) createStatus(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	err := a.do(ctx, r, http.MethodPost, "/statuses/"+report.Commit, map[string]string{
		"state": statusState(report), "target_url": report.URL, "context": report.Name, "description": clip(report.Title, maxDescription),
	}, nil)
	return report.Name, refusedToo(err)
}

func statusState(report *checks.Report) string {
	if report.Status != checks.Completed {
		return "pending"
	}
	switch report.Conclusion {
	case checks.Success, checks.Skipped:
		return "success"
	case checks.ActionRequired:
		return "pending"
	case checks.Errored:
		return "error"
	}
	return "failure"
}

// clip shortens text to n characters.
func clip(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}
