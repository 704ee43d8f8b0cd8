package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/google/go-github/v60/github"
)

// maxAnnotations is how many annotations one request may carry.
const maxAnnotations = 50

// checkRun is the body of a request that creates or updates a check run. go-github's has no start for updates, and sends
// times finer than seconds.
// https://docs.github.com/rest/checks/runs
type checkRun struct {
	Name        string  `json:"name"`
	HeadSHA     string  `json:"head_sha,omitempty"` // of a create
	DetailsURL  string  `json:"details_url,omitempty"`
	ExternalID  string  `json:"external_id,omitempty"`
	Status      string  `json:"status"`
	StartedAt   string  `json:"started_at,omitempty"`
	Conclusion  string  `json:"conclusion,omitempty"`
	CompletedAt string  `json:"completed_at,omitempty"`
	Output      *output `json:"output,omitempty"`
}

type output struct {
	Title       string       `json:"title"`
	Summary     string       `json:"summary"`
	Annotations []annotation `json:"annotations,omitempty"`
}

type annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn int    `json:"start_column,omitempty"`
	EndColumn   int    `json:"end_column,omitempty"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title,omitempty"`
}

// body makes a request of a report, with the annotations that are given.
func body(r *checks.Report, list []checks.Annotation) checkRun {
	run := checkRun{
		Name: r.Name, DetailsURL: r.URL, ExternalID: r.ExternalID, Status: r.Status, Conclusion: r.Conclusion,
		StartedAt: seconds(r.Started), CompletedAt: seconds(r.Completed),
		Output: &output{Title: r.Title, Summary: r.Summary},
	}
	for _, a := range list {
		level := "warning"
		if a.Failure {
			level = "failure"
		}
		run.Output.Annotations = append(run.Output.Annotations, annotation{
			Path: a.Path, StartLine: a.Line, EndLine: a.Line, StartColumn: a.Column, EndColumn: a.Column, Level: level, Message: a.Message, Title: a.Title,
		})
	}
	return run
}

func seconds(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// Create implements checks.Publisher.
func (a *App) Create(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	first := report.Annotations[:min(len(report.Annotations), maxAnnotations)]
	run := body(report, first)
	run.HeadSHA = report.Commit
	var made struct{ ID int64 }
	if err := a.do(ctx, r, http.MethodPost, "/check-runs", run, &made); err != nil {
		return "", refused(err)
	}
	remote := strconv.FormatInt(made.ID, 10)
	return remote, a.rest(ctx, r, remote, report, report.Annotations[len(first):])
}

// Update implements checks.Publisher. GitHub adds annotations to those it has, so that each is sent once.
func (a *App) Update(ctx context.Context, r store.Repo, remote string, report, told *checks.Report) error {
	news := report.Annotations
	if told != nil && len(told.Annotations) <= len(news) {
		news = news[len(told.Annotations):]
	}
	first := news[:min(len(news), maxAnnotations)]
	if err := a.do(ctx, r, http.MethodPatch, "/check-runs/"+remote, body(report, first), nil); err != nil {
		return refused(err)
	}
	return a.rest(ctx, r, remote, report, news[len(first):])
}

// rest sends the annotations that did not fit into the first request.
func (a *App) rest(ctx context.Context, r store.Repo, remote string, report *checks.Report, list []checks.Annotation) error {
	for len(list) > 0 {
		some := list[:min(len(list), maxAnnotations)]
		if err := a.do(ctx, r, http.MethodPatch, "/check-runs/"+remote, body(report, some), nil); err != nil {
			return refused(err)
		}
		list = list[len(some):]
	}
	return nil
}

// refused marks what GitHub will never take: the repository, the App's installation or the commit is gone, or the report
// breaks a rule.
func refused(err error) error {
	var failed *github.ErrorResponse
	if errors.Is(err, store.ErrNotFound) || errors.As(err, &failed) && failed.Response.StatusCode == http.StatusUnprocessableEntity {
		return fmt.Errorf("%w: %w", checks.ErrRefused, err)
	}
	return err
}

// Find implements checks.Publisher.
func (a *App) Find(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	const perPage = 100
	for page := 1; ; page++ {
		query := url.Values{"check_name": {report.Name}, "filter": {"all"}, "app_id": {strconv.FormatInt(a.AppID, 10)},
			"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(page)}}
		var list struct {
			Runs []struct {
				ID         int64
				ExternalID string `json:"external_id"`
			} `json:"check_runs"`
		}
		if err := a.do(ctx, r, http.MethodGet, "/commits/"+report.Commit+"/check-runs?"+query.Encode(), nil, &list); err != nil {
			return "", refused(err)
		}
		for _, run := range list.Runs {
			if run.ExternalID == report.ExternalID {
				return strconv.FormatInt(run.ID, 10), nil
			}
		}
		if len(list.Runs) < perPage {
			return "", nil
		}
	}
}

// Account implements checks.Publisher.
func (a *App) Account(r store.Repo) string { return strconv.FormatInt(r.Installation, 10) }

// Pace implements checks.Publisher. GitHub asks for a second between requests that write.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
func (a *App) Pace() (time.Duration, int) { return time.Second, 5 }
