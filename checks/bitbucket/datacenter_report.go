package bitbucket

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"buildsmith/checks"
	"buildsmith/store"
)

// Limits of Code Insights. Of annotations too many, or one that breaks a rule, have all of them refused.
// https://developer.atlassian.com/server/bitbucket/how-tos/code-insights/
const (
	dcMaxData    = 6
	dcMaxTitle   = 450  // characters of a title, also of a datum
	dcMaxDetails = 2000 // characters, and of what an annotation says
)

type dcReport struct {
	Title    string    `json:"title"`
	Details  string    `json:"details,omitempty"`
	Result   string    `json:"result,omitempty"` // PASS or FAIL
	Reporter string    `json:"reporter"`
	Link     string    `json:"link,omitempty"`
	Data     []dcDatum `json:"data,omitempty"`
}

type dcDatum struct {
	Title string `json:"title"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

type dcAnnotation struct {
	ID       string `json:"externalId"`
	Message  string `json:"message"`
	Severity string `json:"severity"`
	Type     string `json:"type"`
	Path     string `json:"path,omitempty"`
	Line     int    `json:"line"` // 0 is that of the file
}

// tellReport replaces the report, and then its annotations: Bitbucket adds annotations to those that it has, also those of an earlier
// build.
func (d *dataCenter) tellReport(ctx context.Context, r store.Repo, key string, report *checks.Report) error {
	made := dcReport{Title: cmp.Or(clipUnits(line(report.Title), dcMaxTitle), key), Details: clipUnits(checks.Plain(report.Summary), dcMaxDetails), Reporter: hookName,
		Link: d.h.pageURL(report)}
	switch report.Conclusion {
	case checks.Success:
		made.Result = "PASS"
	case checks.Cancelled, checks.Skipped, checks.ActionRequired: // neither
	default:
		made.Result = "FAIL"
	}
	for _, f := range report.Figures[:min(len(report.Figures), dcMaxData)] {
		made.Data = append(made.Data, dcFigure(f))
	}
	rest := "/commits/" + url.PathEscape(report.Commit) + "/reports/" + url.PathEscape(key)
	if err := d.ask(ctx, r, dcRequest{method: http.MethodPut, where: inRepo("insights", rest), body: made}, nil); err != nil {
		return err
	}
	err := d.ask(ctx, r, dcRequest{method: http.MethodDelete, where: inRepo("insights", rest+"/annotations")}, nil)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if len(report.Annotations) == 0 {
		return nil
	}
	body := map[string]any{"annotations": dcAnnotations(report.Annotations)}
	err = d.ask(ctx, r, dcRequest{method: http.MethodPost, where: inRepo("insights", rest+"/annotations"), body: body}, nil)
	if statusOf(err) == http.StatusBadRequest {
		// What a build wrote of its tests must not keep the report from being there.
		d.h.Log.Warn("Bitbucket refuses the annotations of a report; it has none", "repo", r.Name, "check", report.Name, "err", err)
		return nil
	}
	return err
}

func dcFigure(f checks.Figure) dcDatum {
	made := dcDatum{Title: clipUnits(line(f.Title), dcMaxTitle), Type: "TEXT", Value: clipUnits(line(f.Text), dcMaxTitle)}
	switch {
	case f.URL != "":
		made.Type, made.Value = "LINK", map[string]string{"href": braces.Replace(f.URL), "linktext": clipUnits(line(f.Text), dcMaxTitle)}
	case f.Percent != nil:
		made.Type, made.Value = "PERCENTAGE", min(max(*f.Percent, 0), 100)
	case f.Text == "":
		made.Type, made.Value = "DURATION", max(0, f.Duration.Milliseconds())
	}
	return made
}

// dcAnnotations are annotations as Data Center takes them.
func dcAnnotations(list []checks.Annotation) []dcAnnotation {
	list = list[:min(len(list), maxAnnotated)]
	made := make([]dcAnnotation, 0, len(list))
	ids := annotationIDs(list)
	for n, a := range list {
		one := dcAnnotation{ID: ids[n], Path: a.Path, Message: clipUnits(cmp.Or(titled(&a), unspoken), dcMaxDetails)}
		one.Type, one.Severity = gravity(a.Level)
		if a.Path != "" {
			one.Line = max(0, a.Line)
		}
		made = append(made, one)
	}
	return made
}

// titled is what an annotation says, its title in front.
func titled(a *checks.Annotation) string {
	title, message := line(a.Title), strings.TrimSpace(checks.Plain(a.Message))
	if title == "" || message == "" {
		return title + message
	}
	return title + ": " + message
}

// clipUnits shortens text to n characters as Data Center counts them: one beyond the first 65,536 of Unicode counts twice.
func clipUnits(s string, n int) string {
	units, cut := 0, 0
	for at := 0; at < len(s); {
		r, width := utf8.DecodeRuneInString(s[at:])
		size := max(1, utf16.RuneLen(r))
		at += width
		if units += size; units > n {
			return s[:cut] + "…"
		}
		if units < n {
			cut = at
		}
	}
	return s
}
