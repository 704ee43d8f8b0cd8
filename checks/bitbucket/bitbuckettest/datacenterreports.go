package bitbuckettest

import (
	"net/http"
	"slices"

	"buildsmith/checks/forgetest"
)

// dcBuild is a build status as it is sent.
type dcBuild struct {
	Key         string         `json:"key"`
	State       string         `json:"state"`
	URL         string         `json:"url"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	BuildNumber string         `json:"buildNumber"`
	Duration    int64          `json:"duration"`
	Parent      string         `json:"parent"`
	Ref         string         `json:"ref"`
	TestResults map[string]int `json:"testResults"`
}

func (b dcBuild) status(sha, user string) Status {
	return Status{SHA: sha, Key: b.Key, State: b.State, Name: b.Name, Description: b.Description, URL: b.URL, Ref: b.Ref, Parent: b.Parent, BuildNumber: b.BuildNumber,
		Duration: b.Duration, Tests: b.TestResults, User: user}
}

// setBuild is POST .../commits/{commit}/builds. The same key is the same build.
func (d *dataCenter) setBuild(s *Server, c *call) *answer {
	commit, refused := d.commitOf(c, c.params["commit"])
	if refused != nil {
		return refused
	}
	var in dcBuild
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	s.setStatusLocked(c.repo, in.status(commit.SHA, c.user.Name))
	return nothing()
}

// getBuild is GET .../commits/{commit}/builds?key=.
func (d *dataCenter) getBuild(s *Server, c *call) *answer {
	x := s.statusLocked(c.repo, c.params["commit"], c.query("key"))
	if x == nil {
		return dcNoBuild(c)
	}
	o := object{"key": x.Key, "state": x.State, "url": x.URL, "createdDate": dcTime(x.Created), "updatedDate": dcTime(x.Updated)}
	addTexts(o, map[string]string{"name": x.Name, "description": x.Description, "buildNumber": x.BuildNumber, "parent": x.Parent, "ref": x.Ref})
	if x.Duration != 0 {
		o["duration"] = x.Duration
	}
	if x.Tests != nil {
		o["testResults"] = x.Tests
	}
	return ok(o)
}

// addTexts adds the texts that are not empty.
func addTexts(o object, texts map[string]string) {
	for key, text := range texts {
		if text != "" {
			o[key] = text
		}
	}
}

// deleteBuild is DELETE .../commits/{commit}/builds?key=.
func (d *dataCenter) deleteBuild(s *Server, c *call) *answer {
	gone := s.statusLocked(c.repo, c.params["commit"], c.query("key"))
	if gone == nil {
		return dcNoBuild(c)
	}
	s.statuses = slices.DeleteFunc(s.statuses, func(x *Status) bool { return x == gone })
	return nothing()
}

func dcNoBuild(c *call) *answer {
	return dcProblem(http.StatusNotFound, "build.NoSuchBuildStatusException", "There is no build status with the key %s of commit %s.", c.query("key"), c.params["commit"])
}

// dcLegacyBuild is where build statuses were before they were those of a repository.
const dcLegacyBuild = "/build-status/latest/commits/{commit}"

// setLegacyBuild is POST /build-status/1.0/commits/{commit}: the status of a commit wherever it is. Data Center takes one of a
// commit that is nowhere too, but no bot has a reason to send that.
func (d *dataCenter) setLegacyBuild(s *Server, c *call) *answer {
	var in dcBuild
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	sha, found := c.params["commit"], false
	for _, r := range s.repos {
		if _, has := forgetest.Resolve(r.dir, sha); has {
			s.setStatusLocked(r, in.status(sha, c.user.Name))
			found = true
		}
	}
	if !found {
		s.violateLocked(c.r, c.r.URL.Path, "commit %s is in no repository", sha)
	}
	return nothing()
}

// legacyBuilds is GET /build-status/1.0/commits/{commit}, the newest first.
func (d *dataCenter) legacyBuilds(s *Server, c *call) *answer {
	list, known := []object{}, map[string]bool{}
	for _, x := range slices.Backward(s.statuses) {
		if x.SHA != c.params["commit"] || known[x.Key] {
			continue
		}
		known[x.Key] = true
		state := x.State
		if state == "CANCELLED" || state == "UNKNOWN" {
			state = "FAILED" // for which it has no word
		}
		o := object{"key": x.Key, "state": state, "url": x.URL, "dateAdded": dcTime(x.Updated)}
		addTexts(o, map[string]string{"name": x.Name, "description": x.Description})
		list = append(list, o)
	}
	return dcPageOf(c, list)
}

// reportOf returns the report that the path of a call names.
func (d *dataCenter) reportOf(s *Server, c *call) (*Report, *answer) {
	if _, refused := d.commitOf(c, c.params["commit"]); refused != nil {
		return nil, refused
	}
	if p := s.reportLocked(c.repo, c.params["commit"], c.params["report"]); p != nil {
		return p, nil
	}
	return nil, dcProblem(http.StatusNotFound, "codeinsights.NoSuchReportException", "There is no report with the key %s of commit %s.", c.params["report"], c.params["commit"])
}

func dcReportJSON(p *Report) object {
	o := object{"key": p.ID, "title": p.Title, "createdDate": dcTime(p.Created), "data": append([]any{}, p.Data...)}
	addTexts(o, map[string]string{"details": p.Details, "result": p.Result, "reporter": p.Reporter, "link": p.Link, "logoUrl": p.LogoURL})
	return o
}

// setReport is PUT .../reports/{report}. A report that is there is replaced; its annotations stay.
func (d *dataCenter) setReport(s *Server, c *call) *answer {
	if _, refused := d.commitOf(c, c.params["commit"]); refused != nil {
		return refused
	}
	var in struct {
		Title    string `json:"title"`
		Details  string `json:"details"`
		Result   string `json:"result"`
		Reporter string `json:"reporter"`
		Link     string `json:"link"`
		LogoURL  string `json:"logoUrl"`
		Data     []any  `json:"data"`
	}
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	return ok(dcReportJSON(s.setReportLocked(c.repo, Report{SHA: c.params["commit"], ID: c.params["report"], Title: in.Title, Details: in.Details, Result: in.Result,
		Reporter: in.Reporter, Link: in.Link, LogoURL: in.LogoURL, Data: in.Data})))
}

// getReport is GET .../reports/{report}.
func (d *dataCenter) getReport(s *Server, c *call) *answer {
	p, refused := d.reportOf(s, c)
	if refused != nil {
		return refused
	}
	return ok(dcReportJSON(p))
}

// deleteReport is DELETE .../reports/{report}. To delete what is not there is no mistake.
func (d *dataCenter) deleteReport(s *Server, c *call) *answer {
	if p := s.reportLocked(c.repo, c.params["commit"], c.params["report"]); p != nil {
		s.deleteReportLocked(p)
	}
	return nothing()
}

// dcMostAnnotations is how many annotations a report has at most.
const dcMostAnnotations = 1000

// addAnnotations is POST .../reports/{report}/annotations. What is sent again is there twice. If all would be too many, none
// is taken.
func (d *dataCenter) addAnnotations(s *Server, c *call) *answer {
	p, refused := d.reportOf(s, c)
	if refused != nil {
		return refused
	}
	var in struct {
		Annotations []struct {
			ExternalID string `json:"externalId"`
			Message    string `json:"message"`
			Severity   string `json:"severity"`
			Type       string `json:"type"`
			Path       string `json:"path"`
			Line       int    `json:"line"`
			Link       string `json:"link"`
		} `json:"annotations"`
	}
	if err := c.decode(&in); err != nil {
		return d.unreadable(err)
	}
	if len(p.Annotations)+len(in.Annotations) > dcMostAnnotations {
		s.violateLocked(c.r, c.r.URL.Path, "report %s has %d annotations, and %d more are over %d", p.ID, len(p.Annotations), len(in.Annotations), dcMostAnnotations)
		return d.refusal(http.StatusBadRequest, "The maximum number of annotations of a report is 1000.")
	}
	for _, a := range in.Annotations {
		p.Annotations = append(p.Annotations, Annotation{ExternalID: a.ExternalID, Summary: a.Message, Severity: a.Severity, Type: a.Type, Path: a.Path, Line: a.Line,
			Link: a.Link, Created: s.now(), Updated: s.now()})
	}
	return nothing()
}

// annotations is GET .../reports/{report}/annotations: all of them, without pages.
func (d *dataCenter) annotations(s *Server, c *call) *answer {
	p, refused := d.reportOf(s, c)
	if refused != nil {
		return refused
	}
	list := []object{}
	for _, a := range p.Annotations {
		o := object{"reportKey": p.ID, "message": a.Summary, "severity": a.Severity, "line": a.Line}
		addTexts(o, map[string]string{"externalId": a.ExternalID, "type": a.Type, "path": a.Path, "link": a.Link})
		list = append(list, o)
	}
	return ok(object{"totalCount": len(list), "annotations": list})
}

// deleteAnnotations is DELETE .../reports/{report}/annotations: all, or those with an external id.
func (d *dataCenter) deleteAnnotations(s *Server, c *call) *answer {
	p, refused := d.reportOf(s, c)
	if refused != nil {
		return refused
	}
	id := c.query("externalId")
	p.Annotations = slices.DeleteFunc(p.Annotations, func(a Annotation) bool { return id == "" || a.ExternalID == id })
	return nothing()
}
