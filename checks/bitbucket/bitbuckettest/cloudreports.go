package bitbuckettest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"buildsmith/checks/forgetest"
)

func cloudReportOperations() []operation {
	report := inCommit + "/reports/{reportId}"
	return []operation{
		{method: "POST", path: inCommit + "/statuses/build", scope: "repository", run: (*Server).cloudAddStatus, rule: statusRule},
		{method: "GET", path: inCommit + "/statuses/build/{key}", scope: "repository", run: (*Server).cloudStatus},
		{method: "PUT", path: inCommit + "/statuses/build/{key}", scope: "repository", run: (*Server).cloudEditStatus, rule: statusRule},
		{method: "GET", path: inCommit + "/statuses", scope: "repository", run: (*Server).cloudStatuses},
		{method: "PUT", path: report, scope: "repository", run: (*Server).cloudSetReport, rule: reportRule},
		{method: "GET", path: report, scope: "repository", run: (*Server).cloudReport},
		{method: "DELETE", path: report, scope: "repository", run: (*Server).cloudDeleteReport},
		{method: "POST", path: report + "/annotations", scope: "repository", run: (*Server).cloudAnnotate, rule: annotationRule},
		{method: "GET", path: report + "/annotations", scope: "repository", run: (*Server).cloudAnnotations},
	}
}

// template is what Cloud replaces in the address of a status: {repository.full_name} and {commit...}. A brace that is meant
// has to be percent-encoded.
var template = regexp.MustCompile(`[{}]`)

// statusRule wants an address that is one, and braces in it encoded.
func statusRule(body any) []string {
	o, _ := body.(object)
	address, given := o["url"].(string)
	switch {
	case !given:
		return nil // which the description refuses where it is required
	case template.MatchString(address):
		return []string{fmt.Sprintf("url has braces, which Bitbucket takes for a template: %q", address)}
	case !absolute(address):
		return []string{fmt.Sprintf("url is no absolute address: %q", address)}
	}
	return nil
}

// reportRule wants addresses that are some, and values of the types that are said.
func reportRule(body any) []string {
	o, _ := body.(object)
	wrong := addressRule(o, "link", "logo_url")
	data, _ := o["data"].([]any)
	for i, one := range data {
		field, _ := one.(object)
		kind, _ := field["type"].(string)
		if !dataFits(kind, field["value"]) {
			wrong = append(wrong, fmt.Sprintf("data %d: %v is not of the type %s", i, field["value"], kind))
		}
	}
	return wrong
}

// dataFits reports whether a value is of a type of data.
func dataFits(kind string, value any) bool {
	switch kind {
	case "BOOLEAN":
		_, ok := value.(bool)
		return ok
	case "TEXT":
		_, ok := value.(string)
		return ok
	case "LINK":
		o, _ := value.(object)
		href, _ := o["href"].(string)
		return absolute(href)
	case "DATE", "DURATION", "NUMBER", "PERCENTAGE":
		n, ok := value.(float64)
		return ok && (kind != "PERCENTAGE" || n >= 0 && n <= 100)
	}
	return value != nil
}

func addressRule(o object, keys ...string) (wrong []string) {
	for _, key := range keys {
		if text, given := o[key].(string); given && !absolute(text) {
			wrong = append(wrong, fmt.Sprintf("%s is no absolute address: %q", key, text))
		}
	}
	return wrong
}

// annotationRule wants each external_id once in a request, and paths in the repository.
func annotationRule(body any) (wrong []string) {
	list, _ := body.([]any)
	seen := map[string]bool{}
	for i, one := range list {
		o, _ := one.(object)
		id, _ := o["external_id"].(string)
		if seen[id] {
			wrong = append(wrong, fmt.Sprintf("annotation %d: the external_id %q comes twice", i, id))
		}
		seen[id] = true
		path, given := o["path"].(string)
		if given && (path == "" || strings.HasPrefix(path, "/") || slices.Contains(strings.Split(path, "/"), "..")) {
			wrong = append(wrong, fmt.Sprintf("annotation %d: %q is no path in the repository", i, path))
		}
		for _, what := range addressRule(o, "link") {
			wrong = append(wrong, fmt.Sprintf("annotation %d: %s", i, what))
		}
	}
	return wrong
}

// A cloudStatusBody is what is sent for a build status.
type cloudStatusBody struct {
	Key, State, Name, Description, URL, RefName *string
}

// theCommit finds the commit that a path names.
func (s *Server) theCommit(c *call) (string, *answer) {
	if _, sha, found := s.cloudResolve(c.repo, c.params["commit"]); found {
		return sha, nil
	}
	return "", notFound("Commit not found: %s", c.params["commit"])
}

// cloudAddStatus is POST of a status, which replaces one with the same key.
func (s *Server) cloudAddStatus(c *call) *answer {
	sha, missing := s.theCommit(c)
	if missing != nil {
		return missing
	}
	var in cloudStatusBody
	if err := c.decode(&in); err != nil {
		return cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	st := Status{SHA: sha, User: c.user.Name}
	in.into(&st)
	kept, _ := s.setStatusLocked(c.repo, st)
	return made(s.cloudStatusJSON(kept))
}

// into changes what is given.
func (in cloudStatusBody) into(st *Status) {
	for to, from := range map[*string]*string{&st.Key: in.Key, &st.State: in.State, &st.Name: in.Name, &st.Description: in.Description, &st.URL: in.URL, &st.Ref: in.RefName} {
		if from != nil {
			*to = *from
		}
	}
}

func (s *Server) theStatus(c *call) (*Status, *answer) {
	sha, missing := s.theCommit(c)
	if missing != nil {
		return nil, missing
	}
	if st := s.statusLocked(c.repo, sha, c.params["key"]); st != nil {
		return st, nil
	}
	return nil, notFound("Build status %s not found", c.params["key"])
}

func (s *Server) cloudStatus(c *call) *answer {
	st, missing := s.theStatus(c)
	if missing != nil {
		return missing
	}
	return ok(s.cloudStatusJSON(st))
}

// cloudEditStatus is PUT of a status, whose key stays.
func (s *Server) cloudEditStatus(c *call) *answer {
	st, missing := s.theStatus(c)
	if missing != nil {
		return missing
	}
	var in cloudStatusBody
	if err := c.decode(&in); err != nil {
		return cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	if in.Key != nil && *in.Key != st.Key {
		s.violateLocked(c.r, c.r.URL.Path, "the key of a build status cannot be changed")
		return cloud{}.refusal(http.StatusBadRequest, "The key of a build status cannot be changed.")
	}
	changed := *st
	in.into(&changed)
	kept, _ := s.setStatusLocked(c.repo, changed)
	return ok(s.cloudStatusJSON(kept))
}

// cloudStatuses is GET of all statuses of a commit.
func (s *Server) cloudStatuses(c *call) *answer {
	sha, missing := s.theCommit(c)
	if missing != nil {
		return missing
	}
	var list []*Status
	for _, st := range s.statuses {
		if st.repo == c.repo && st.SHA == sha {
			list = append(list, st)
		}
	}
	return cloudPage(s, c, 100, list, s.cloudStatusJSON)
}

// A cloudReportBody is what is sent for a report.
type cloudReportBody struct {
	Title, Details, Reporter, Link, Result string
	ReportType                             string `json:"report_type"`
	LogoURL                                string `json:"logo_url"`
	Data                                   []any
}

// cloudSetReport is PUT of a report, which replaces one with the same id.
func (s *Server) cloudSetReport(c *call) *answer {
	sha, missing := s.theCommit(c)
	if missing != nil {
		return missing
	}
	var in cloudReportBody
	if err := c.decode(&in); err != nil {
		return cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	kept := s.setReportLocked(c.repo, Report{SHA: sha, ID: c.params["reportId"], UUID: forgetest.NewGUID(), Title: in.Title, Details: in.Details, Type: in.ReportType,
		Reporter: in.Reporter, Link: in.Link, LogoURL: in.LogoURL, Result: in.Result, Data: in.Data})
	return ok(s.cloudReportJSON(kept))
}

func (s *Server) theReport(c *call) (*Report, *answer) {
	sha, missing := s.theCommit(c)
	if missing != nil {
		return nil, missing
	}
	if p := s.reportLocked(c.repo, sha, c.params["reportId"]); p != nil {
		return p, nil
	}
	return nil, notFound("Report %s not found", c.params["reportId"])
}

func (s *Server) cloudReport(c *call) *answer {
	p, missing := s.theReport(c)
	if missing != nil {
		return missing
	}
	return ok(s.cloudReportJSON(p))
}

// cloudDeleteReport is DELETE of a report, with its annotations. One that is not there is deleted as well.
func (s *Server) cloudDeleteReport(c *call) *answer {
	sha, missing := s.theCommit(c)
	if missing != nil {
		return missing
	}
	s.deleteReportLocked(s.reportLocked(c.repo, sha, c.params["reportId"]))
	return nothing()
}

// mostAnnotations is how many a report can have.
const mostAnnotations = 1000

// cloudAnnotate is POST of annotations; one with an external_id that there is replaces that.
func (s *Server) cloudAnnotate(c *call) *answer {
	p, missing := s.theReport(c)
	if missing != nil {
		return missing
	}
	var in []struct {
		ExternalID                                     string `json:"external_id"`
		AnnotationType                                 string `json:"annotation_type"`
		Summary, Details, Path, Severity, Result, Link string
		Line                                           int
	}
	if err := c.decode(&in); err != nil {
		return cloud{}.refusal(http.StatusBadRequest, err.Error())
	}
	list := slices.Clone(p.Annotations)
	answers := []object{}
	for _, one := range in {
		a := Annotation{ExternalID: one.ExternalID, UUID: forgetest.NewGUID(), Type: one.AnnotationType, Summary: one.Summary, Details: one.Details, Path: one.Path,
			Line: one.Line, Severity: one.Severity, Result: one.Result, Link: one.Link, Created: s.now(), Updated: s.now()}
		if i := slices.IndexFunc(list, func(old Annotation) bool { return old.ExternalID == a.ExternalID }); i >= 0 {
			a.UUID, a.Created = list[i].UUID, list[i].Created
			list[i] = a
		} else {
			list = append(list, a)
		}
		answers = append(answers, cloudAnnotationJSON(a))
	}
	if len(list) > mostAnnotations {
		s.violateLocked(c.r, c.r.URL.Path, "the report would have %d annotations, not %d at most", len(list), mostAnnotations)
		return cloud{}.refusal(http.StatusBadRequest, fmt.Sprintf("A report can have at most %d annotations.", mostAnnotations))
	}
	p.Annotations = list
	s.wakeLocked()
	return ok(answers)
}

func (s *Server) cloudAnnotations(c *call) *answer {
	p, missing := s.theReport(c)
	if missing != nil {
		return missing
	}
	return cloudPage(s, c, 100, p.Annotations, cloudAnnotationJSON)
}
