package bitbucket

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

// Limits of what Cloud takes, in characters unless it is said otherwise.
const (
	maxName        = 255  // of a status, and its description
	maxTitle       = 450  // of a report, and of an annotation
	maxDetails     = 2000 // likewise
	maxFigures     = 10
	maxAnnotations = 100 // in a request
)

// habits implements api: Cloud takes a thousand requests of a user in an hour, questions and all.
// https://support.atlassian.com/bitbucket-cloud/docs/api-request-limits/
func (cloud) habits() checks.Habits {
	return checks.Habits{Interval: time.Second, Burst: 10, Hourly: 400, Phases: 200, Annotations: maxAnnotations, ByName: true}
}

// A cloudStatus is a build status. One of the same key takes the place of another.
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
type cloudStatus struct {
	Type        string `json:"type"`
	Key         string `json:"key"`
	State       string `json:"state"`
	Name        string `json:"name"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Ref         string `json:"refname,omitempty"`
}

// tellStatus implements api.
func (a cloud) tellStatus(ctx context.Context, r store.Repo, key string, report *checks.Report) error {
	ref, ok := strings.CutPrefix(report.Ref, "refs/heads/")
	if !ok {
		ref = strings.TrimPrefix(report.Ref, "refs/tags/")
	}
	return a.do(ctx, r, http.MethodPost, "/commit/"+url.PathEscape(report.Commit)+"/statuses/build", cloudStatus{
		Type: "build", Key: key, State: cloudState(report), Name: clip(line(report.Name), maxName), Description: clip(line(report.Title), maxName),
		URL: a.pageURL(report), Ref: ref,
	}, nil)
}

// line is text in one line.
func line(text string) string { return strings.Join(strings.Fields(checks.Plain(text)), " ") }

// cloudState is the state of a status. What was not built, and what waits for a person, is neither well nor failed.
func cloudState(report *checks.Report) string {
	if report.Status != checks.Completed {
		return "INPROGRESS"
	}
	switch report.Conclusion {
	case checks.Success:
		return "SUCCESSFUL"
	case checks.Skipped, checks.ActionRequired, checks.Cancelled:
		return "STOPPED"
	}
	return "FAILED"
}

// unfinished implements api.
func (a cloud) unfinished(ctx context.Context, r store.Repo, commit string) (list []checks.Unfinished, err error) {
	var page struct {
		Values []struct {
			Key, State, Name, URL string
			Created               time.Time `json:"created_on"`
		}
	}
	query := url.Values{"pagelen": {"100"}, "fields": {"values.key,values.state,values.name,values.url,values.created_on"}}
	if err := a.do(ctx, r, http.MethodGet, "/commit/"+url.PathEscape(commit)+"/statuses?"+query.Encode(), nil, &page); err != nil {
		return nil, err
	}
	for _, s := range page.Values {
		if id := a.buildOf(s.URL); s.State == "INPROGRESS" && id != "" {
			list = append(list, checks.Unfinished{Remote: s.Key, Name: s.Name, ExternalID: id, Started: s.Created})
		}
	}
	return list, nil
}

// A cloudReport is a report of Code Insights.
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-reports/
type cloudReport struct {
	Type       string        `json:"type"`
	Title      string        `json:"title"`
	Details    string        `json:"details"`
	ReportType string        `json:"report_type"`
	Reporter   string        `json:"reporter"`
	Link       string        `json:"link,omitempty"`
	Result     string        `json:"result"`
	Data       []cloudFigure `json:"data"`
}

type cloudFigure struct {
	Title string `json:"title"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type cloudLink struct {
	Text string `json:"text"`
	Href string `json:"href"`
}

type cloudAnnotation struct {
	Type       string `json:"type"`
	ExternalID string `json:"external_id"`
	Kind       string `json:"annotation_type"`
	Summary    string `json:"summary"`
	Details    string `json:"details,omitempty"`
	Path       string `json:"path,omitempty"`
	Line       int    `json:"line,omitempty"`
	Severity   string `json:"severity"`
	Result     string `json:"result"`
}

// tellReport implements api. A report keeps the annotations that it has, so that one that has any is removed first: they may be those of
// an earlier build. Annotations that are refused are left out: what a build wrote of its tests must not keep the report from being there.
func (a cloud) tellReport(ctx context.Context, r store.Repo, key string, report *checks.Report) error {
	path := "/commit/" + url.PathEscape(report.Commit) + "/reports/" + url.PathEscape(key)
	var has struct{ Values []struct{ UUID string } }
	err := a.do(ctx, r, http.MethodGet, path+"/annotations?pagelen=1&fields=values.uuid", nil, &has)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if len(has.Values) > 0 {
		if err := a.do(ctx, r, http.MethodDelete, path, nil, nil); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	if err := a.do(ctx, r, http.MethodPut, path, a.report(report), nil); err != nil {
		return err
	}
	all := cloudAnnotations(report.Annotations)
	for len(all) > 0 {
		some := all[:min(len(all), maxAnnotations)]
		all = all[len(some):]
		err := a.do(ctx, r, http.MethodPost, path+"/annotations", some, nil)
		if statusOf(err) == http.StatusBadRequest {
			a.Log.Warn("Bitbucket refuses annotations; the report is there without them", "repo", r.Name, "check", report.Name, "annotations", len(some), "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a cloud) report(report *checks.Report) cloudReport {
	made := cloudReport{Type: "report", Title: clip(line(report.Title), maxTitle), Details: clip(checks.Plain(report.Summary), maxDetails), ReportType: "TEST", Reporter: hookName,
		Link: a.pageURL(report), Result: "FAILED", Data: []cloudFigure{}}
	if made.Details == "" { // which Cloud refuses
		made.Details = made.Title
	}
	switch {
	case report.Status != checks.Completed:
		made.Result = "PENDING"
	case report.Conclusion == checks.Success:
		made.Result = "PASSED"
	}
	for _, f := range report.Figures[:min(len(report.Figures), maxFigures)] {
		figure := cloudFigure{Title: clip(line(f.Title), maxTitle), Type: "TEXT", Value: clip(line(f.Text), maxTitle)}
		switch {
		case f.URL != "":
			figure.Type, figure.Value = "LINK", cloudLink{clip(line(f.Text), maxTitle), braces.Replace(f.URL)}
		case f.Percent != nil:
			figure.Type, figure.Value = "PERCENTAGE", *f.Percent
		case f.Duration != 0:
			figure.Type, figure.Value = "DURATION", f.Duration.Milliseconds()
		}
		made.Data = append(made.Data, figure)
	}
	return made
}

// cloudAnnotations are annotations as Cloud takes them.
func cloudAnnotations(list []checks.Annotation) []cloudAnnotation {
	list = list[:min(len(list), maxAnnotated)]
	made := make([]cloudAnnotation, 0, len(list))
	ids := annotationIDs(list)
	for n, one := range list {
		c := cloudAnnotation{Type: "report_annotation", ExternalID: ids[n], Result: "FAILED",
			Summary: clip(line(one.Title), maxTitle), Details: clip(checks.Plain(one.Message), maxDetails), Path: one.Path, Line: max(one.Line, 0)}
		c.Kind, c.Severity = gravity(one.Level)
		if c.Summary == "" {
			c.Summary = clip(line(one.Message), maxTitle)
		}
		if c.Summary == "" {
			c.Summary = unspoken
		}
		made = append(made, c)
	}
	return made
}
