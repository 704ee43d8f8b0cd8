package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/google/go-github/v60/github"
)

// Limits of annotations. GitHub takes nothing of a request that breaks one.
const (
	maxAnnotations = 50       // in a request
	maxMessage     = 64 << 10 // bytes
	maxTitle       = 255      // characters
)

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

	Actions []action `json:"actions,omitempty"`
}

type action struct {
	Label       string `json:"label"`
	Description string `json:"description"`
	Identifier  string `json:"identifier"`
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
	for _, a := range r.Actions {
		run.Actions = append(run.Actions, action(a))
	}
	for _, a := range list {
		run.Output.Annotations = append(run.Output.Annotations, annotation{
			Path: a.Path, StartLine: a.Line, EndLine: a.Line, StartColumn: a.Column, EndColumn: a.Column, Level: a.Level,
			Message: strings.ToValidUTF8(a.Message[:min(len(a.Message), maxMessage)], ""), Title: fmt.Sprintf("%.*s", maxTitle, a.Title),
		})
	}
	return run
}

// tell makes a request that creates or updates a check run, once more without annotations if GitHub refuses it: what a build
// wrote of its tests must not keep the check from ending. It reports whether the annotations were taken.
func (a *App) tell(ctx context.Context, r store.Repo, method, path string, run checkRun, v any) (annotated bool, err error) {
	err = a.do(ctx, r, method, path, run, v)
	if err == nil || len(run.Output.Annotations) == 0 || !unprocessable(err) {
		return err == nil, err
	}
	a.Log.Warn("GitHub refuses a check with its annotations; it is sent without", "repo", r.Name, "check", run.Name, "err", err)
	run.Output.Annotations = nil
	return false, a.do(ctx, r, method, path, run, v)
}

func seconds(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// Create implements checks.Publisher.
func (a *App) Create(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	switch report.Kind {
	case checks.KindStatus:
		return a.createStatus(ctx, r, report)
	case checks.KindComment:
		return a.createComment(ctx, r, report)
	case checks.KindDeployment:
		return a.createDeployment(ctx, r, report)
	}
	first := report.Annotations[:min(len(report.Annotations), maxAnnotations)]
	run := body(report, first)
	run.HeadSHA = report.Commit
	var made struct{ ID int64 }
	annotated, err := a.tell(ctx, r, http.MethodPost, "/check-runs", run, &made)
	if err != nil {
		return "", refused(err)
	}
	remote := strconv.FormatInt(made.ID, 10)
	if !annotated {
		return remote, nil
	}
	return remote, a.rest(ctx, r, remote, report, report.Annotations[len(first):])
}

// Update implements checks.Publisher. GitHub adds annotations to those it has, so that each is sent once: it is asked how many
// it has, since the answer to an earlier request may have been lost.
func (a *App) Update(ctx context.Context, r store.Repo, remote string, report, told *checks.Report) error {
	switch report.Kind {
	case checks.KindStatus:
		_, err := a.createStatus(ctx, r, report)
		return err
	case checks.KindComment:
		return a.updateComment(ctx, r, remote, report)
	case checks.KindDeployment:
		return a.tellDeployment(ctx, r, remote, report)
	}
	news := report.Annotations
	if told != nil && len(told.Annotations) <= len(news) {
		news = news[len(told.Annotations):]
	}
	if len(news) > 0 {
		var has struct {
			Output struct {
				Count int `json:"annotations_count"`
			}
		}
		if err := a.do(ctx, r, http.MethodGet, "/check-runs/"+remote, nil, &has); err != nil {
			return refused(err)
		}
		news = report.Annotations[min(max(has.Output.Count, 0), len(report.Annotations)):]
	}
	first := news[:min(len(news), maxAnnotations)]
	annotated, err := a.tell(ctx, r, http.MethodPatch, "/check-runs/"+remote, body(report, first), nil)
	if err != nil || !annotated {
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

// unprocessable reports whether GitHub says that a request breaks a rule.
func unprocessable(err error) bool {
	var failed *github.ErrorResponse
	return errors.As(err, &failed) && failed.Response.StatusCode == http.StatusUnprocessableEntity
}

// refused marks what GitHub will never take: the repository, the App's installation or the commit is gone, or the report
// breaks a rule.
func refused(err error) error {
	if errors.Is(err, store.ErrNotFound) || unprocessable(err) {
		return fmt.Errorf("%w: %w", checks.ErrRefused, err)
	}
	return err
}

// refusedToo is refused for what an App may do without: what its permissions do not include, or somebody forbids, is refused
// as well.
func refusedToo(err error) error {
	var failed *github.ErrorResponse
	if errors.As(err, &failed) && !errors.As(err, new(*checks.WaitError)) {
		switch failed.Response.StatusCode {
		case http.StatusForbidden, http.StatusConflict:
			return fmt.Errorf("%w: %w", checks.ErrRefused, err)
		}
	}
	return refused(err)
}

// Find implements checks.Publisher.
func (a *App) Find(ctx context.Context, r store.Repo, report *checks.Report) (string, error) {
	switch report.Kind {
	case checks.KindStatus:
		return "", nil // one more of the same says the same
	case checks.KindComment:
		return a.findComment(ctx, r, report)
	case checks.KindDeployment:
		return a.findDeployment(ctx, r, report)
	}
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

// Unfinished implements checks.Lister.
func (a *App) Unfinished(ctx context.Context, r store.Repo, commit string) (list []checks.Unfinished, err error) {
	query := url.Values{"filter": {"all"}, "app_id": {strconv.FormatInt(a.AppID, 10)}, "per_page": {"100"}}
	var answer struct {
		Runs []struct {
			ID         int64
			Name       string
			Status     string
			ExternalID string    `json:"external_id"`
			Started    time.Time `json:"started_at"`
		} `json:"check_runs"`
	}
	if err := a.ofCommit(ctx, r, "/commits/"+commit+"/check-runs?"+query.Encode(), &answer); err != nil {
		return nil, err
	}
	for _, run := range answer.Runs {
		if run.Status != checks.Completed && run.ExternalID != "" {
			list = append(list, checks.Unfinished{Remote: strconv.FormatInt(run.ID, 10), Name: run.Name, ExternalID: run.ExternalID, Started: run.Started})
		}
	}
	return list, nil
}

// Has implements checks.Publisher. A check says all that a report could.
func (a *App) Has(kind checks.Kind) bool { return kind != checks.KindReport }

// Account implements checks.Publisher.
func (a *App) Account(r store.Repo) string { return strconv.FormatInt(r.Installation, 10) }

// Habits implements checks.Publisher. GitHub asks for a second between requests that write, and takes 500 in an hour.
// https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
func (a *App) Habits() checks.Habits {
	return checks.Habits{Interval: time.Second, Burst: 5, Hourly: 400, Phases: 300, Annotations: maxAnnotations}
}
