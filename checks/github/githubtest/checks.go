package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"buildsmith/checks/forgetest"
)

// A CheckRun is a check run as it is now, and how it came there.
type CheckRun struct {
	ID          int64        `json:"id"`
	Repository  string       `json:"repository"`
	SuiteID     int64        `json:"suite_id"`
	AppID       int64        `json:"app_id"`
	Name        string       `json:"name"`
	HeadSHA     string       `json:"head_sha"`
	ExternalID  string       `json:"external_id"`
	DetailsURL  string       `json:"details_url"`
	Status      string       `json:"status"`
	Conclusion  string       `json:"conclusion"`
	StartedAt   time.Time    `json:"started_at"`
	CompletedAt time.Time    `json:"completed_at"` // zero while it runs
	Title       string       `json:"title"`
	Summary     string       `json:"summary"`
	Text        string       `json:"text"`
	Annotations []Annotation `json:"annotations"`
	Images      []Image      `json:"images"`
	Actions     []Action     `json:"actions"`
	History     []Step       `json:"history"` // what it was created as, and each update
}

// A Step is what a check run showed after a request.
type Step struct {
	At         time.Time `json:"at"`
	Status     string    `json:"status"`
	Conclusion string    `json:"conclusion"`
	Title      string    `json:"title"`
}

// Path returns the statuses and conclusions that the check run went through, such as "queued in_progress success", each
// once for as long as it lasted.
func (c CheckRun) Path() string {
	var path []string
	for _, step := range c.History {
		word := step.Status
		if step.Conclusion != "" {
			word = step.Conclusion
		}
		if len(path) == 0 || path[len(path)-1] != word {
			path = append(path, word)
		}
	}
	return strings.Join(path, " ")
}

// An Annotation is a remark on lines of a file.
type Annotation struct {
	Path        string `json:"path"`
	StartLine   int    `json:"start_line"`
	EndLine     int    `json:"end_line"`
	StartColumn int    `json:"start_column,omitempty"`
	EndColumn   int    `json:"end_column,omitempty"`
	Level       string `json:"annotation_level"`
	Message     string `json:"message"`
	Title       string `json:"title,omitempty"`
	RawDetails  string `json:"raw_details,omitempty"`
}

// An Image is shown below the summary of a check run.
type Image struct {
	Alt     string `json:"alt"`
	URL     string `json:"image_url"`
	Caption string `json:"caption,omitempty"`
}

// An Action is a button of a check run.
type Action struct {
	Label       string `json:"label"`
	Description string `json:"description"`
	Identifier  string `json:"identifier"`
}

// A suite holds the check runs of an app on a commit. Its status is derived from them.
type suite struct {
	id         int64
	repo       int64
	app        int64
	sha        string
	headBranch string
	created    time.Time
}

// checkRunInput is the body of a request that creates or updates a check run.
type checkRunInput struct {
	Name        *string    `json:"name"`
	HeadSHA     *string    `json:"head_sha"`
	DetailsURL  *string    `json:"details_url"`
	ExternalID  *string    `json:"external_id"`
	Status      *string    `json:"status"`
	Conclusion  *string    `json:"conclusion"`
	StartedAt   *time.Time `json:"started_at"`
	CompletedAt *time.Time `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     *string      `json:"summary"`
		Text        *string      `json:"text"`
		Annotations []Annotation `json:"annotations"`
		Images      []Image      `json:"images"`
	} `json:"output"`
	Actions []Action `json:"actions"`
}

// createCheckRun is POST /repos/{owner}/{repo}/check-runs.
func (s *Server) createCheckRun(c *call) *answer {
	var in checkRunInput
	if a := c.decode(&in); a != nil {
		return a
	}
	if !forgetest.IsHash(*in.HeadSHA) || !s.hasCommit(c.repo, *in.HeadSHA) {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+*in.HeadSHA)
	}
	run := s.newCheckRunLocked(c.repo, s.appID, *in.HeadSHA)
	s.applyLocked(run, in)
	s.echoLocked("check_run", "created", c.repo, func() object { return s.checkRunPayload(c.repo, run, "created") })
	return &answer{status: http.StatusCreated, body: s.checkRunJSON(c.repo, run)}
}

// updateCheckRun is PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}.
func (s *Server) updateCheckRun(c *call) *answer {
	var in checkRunInput
	if a := c.decode(&in); a != nil {
		return a
	}
	run := s.runLocked(c.repo, c.number("check_run_id"))
	if run == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	if run.AppID != s.appID {
		return problem(http.StatusForbidden, "Invalid app_id: a check run can only be modified by the GitHub App that created it")
	}
	before := run.Status
	s.applyLocked(run, in)
	if before != "completed" && run.Status == "completed" {
		s.echoLocked("check_run", "completed", c.repo, func() object { return s.checkRunPayload(c.repo, run, "completed") })
	}
	return &answer{status: http.StatusOK, body: s.checkRunJSON(c.repo, run)}
}

func (s *Server) newCheckRunLocked(r *repo, app int64, sha string) *CheckRun {
	run := &CheckRun{ID: s.nextIDLocked("run"), Repository: r.fullName(), AppID: app, HeadSHA: sha, Status: "queued"}
	run.SuiteID = s.suiteLocked(r, app, sha).id
	s.runs = append(s.runs, run)
	return run
}

// applyLocked changes a check run as a request asks. Annotations are added to those that there are; everything else is
// replaced by what the request holds.
func (s *Server) applyLocked(run *CheckRun, in checkRunInput) {
	now := s.now().UTC().Truncate(time.Second)
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&run.Name, in.Name)
	set(&run.DetailsURL, in.DetailsURL)
	set(&run.ExternalID, in.ExternalID)
	if in.StartedAt != nil {
		run.StartedAt = in.StartedAt.UTC()
	}
	if run.StartedAt.IsZero() {
		run.StartedAt = now
	}
	if in.Status != nil {
		run.Status, run.Conclusion, run.CompletedAt = *in.Status, "", time.Time{}
	}
	if in.Conclusion != nil {
		run.Status, run.Conclusion = "completed", *in.Conclusion
		run.CompletedAt = now
		if in.CompletedAt != nil {
			run.CompletedAt = in.CompletedAt.UTC()
		}
	}
	if in.Output != nil {
		set(&run.Title, in.Output.Title)
		set(&run.Summary, in.Output.Summary)
		set(&run.Text, in.Output.Text)
		run.Annotations = append(run.Annotations, in.Output.Annotations...)
		if in.Output.Images != nil {
			run.Images = in.Output.Images
		}
	}
	if in.Actions != nil {
		run.Actions = in.Actions
	}
	run.History = append(run.History, Step{At: s.now(), Status: run.Status, Conclusion: run.Conclusion, Title: run.Title})
	s.changedLocked(run)
}

func (s *Server) runLocked(r *repo, id int64) *CheckRun {
	for _, run := range s.runs {
		if run.ID == id && run.SuiteID != 0 && s.suites[run.SuiteID].repo == r.id {
			return run
		}
	}
	return nil
}

// suiteLocked returns the suite of an app on a commit and makes it if it is new.
func (s *Server) suiteLocked(r *repo, app int64, sha string) *suite {
	for _, x := range s.suites {
		if x.repo == r.id && x.app == app && x.sha == sha {
			return x
		}
	}
	x := &suite{id: s.nextIDLocked("suite"), repo: r.id, app: app, sha: sha, created: s.now()}
	refs, _ := forgetest.Refs(s.repoDir(r))
	for ref, hash := range refs {
		// The head of a fork is on no branch of this repository, and then GitHub names none.
		if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok && hash == sha && (x.headBranch == "" || branch < x.headBranch) {
			x.headBranch = branch
		}
	}
	s.suites[x.id] = x
	return x
}

func (s *Server) suiteRunsLocked(x *suite) []*CheckRun {
	var runs []*CheckRun
	for _, run := range s.runs {
		if run.SuiteID == x.id {
			runs = append(runs, run)
		}
	}
	return runs
}

// severity orders conclusions; the worst of its runs is a suite's.
var severity = []string{"skipped", "neutral", "success", "cancelled", "stale", "action_required", "timed_out", "failure"}

// suiteState derives status and conclusion of a suite from the latest runs of each name.
func suiteState(runs []*CheckRun) (status, conclusion string) {
	runs = latest(runs)
	if len(runs) == 0 {
		return "queued", ""
	}
	worst, open, begun := -1, false, false
	for _, run := range runs {
		worst = max(worst, slices.Index(severity, run.Conclusion))
		open = open || run.Status != "completed"
		begun = begun || run.Status != "queued"
	}
	switch {
	case !open:
		return "completed", severity[worst]
	case begun:
		return "in_progress", ""
	}
	return "queued", ""
}

// latest leaves the newest run of each name and app.
func latest(runs []*CheckRun) []*CheckRun {
	type key struct {
		name string
		app  int64
	}
	newest := map[key]int64{}
	for _, run := range runs {
		k := key{run.Name, run.AppID}
		newest[k] = max(newest[k], run.ID)
	}
	return slices.DeleteFunc(slices.Clone(runs), func(run *CheckRun) bool { return newest[key{run.Name, run.AppID}] != run.ID })
}

// getCheckRun is GET /repos/{owner}/{repo}/check-runs/{check_run_id}.
func (s *Server) getCheckRun(c *call) *answer {
	run := s.runLocked(c.repo, c.number("check_run_id"))
	if run == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	return ok(s.checkRunJSON(c.repo, run))
}

// listAnnotations is GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations.
func (s *Server) listAnnotations(c *call) *answer {
	run := s.runLocked(c.repo, c.number("check_run_id"))
	if run == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	number := func(n int) any {
		if n == 0 {
			return nil
		}
		return n
	}
	list := []object{}
	for _, a := range run.Annotations {
		list = append(list, object{"path": a.Path, "start_line": a.StartLine, "end_line": a.EndLine, "start_column": number(a.StartColumn),
			"end_column": number(a.EndColumn), "annotation_level": a.Level, "message": a.Message, "title": orNull(a.Title), "raw_details": orNull(a.RawDetails),
			"blob_href": s.url + "/" + c.repo.fullName() + "/blob/" + run.HeadSHA + "/" + escapePath(a.Path)})
	}
	return pageOf(s, c, list, "")
}

// listCommitRuns is GET /repos/{owner}/{repo}/commits/{ref}/check-runs.
func (s *Server) listCommitRuns(c *call) *answer {
	sha, found := forgetest.Resolve(s.repoDir(c.repo), c.params["ref"])
	if !found {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["ref"])
	}
	var runs []*CheckRun
	for _, run := range s.runs {
		if run.HeadSHA == sha && s.suites[run.SuiteID].repo == c.repo.id {
			runs = append(runs, run)
		}
	}
	return s.listRuns(c, runs)
}

// listSuiteRuns is GET /repos/{owner}/{repo}/check-suites/{check_suite_id}/check-runs.
func (s *Server) listSuiteRuns(c *call) *answer {
	x := s.suites[c.number("check_suite_id")]
	if x == nil || x.repo != c.repo.id {
		return problem(http.StatusNotFound, "Not Found")
	}
	return s.listRuns(c, s.suiteRunsLocked(x))
}

// listRuns answers with those of the runs that the query asks for.
func (s *Server) listRuns(c *call, runs []*CheckRun) *answer {
	q := c.r.URL.Query()
	runs = slices.DeleteFunc(runs, func(run *CheckRun) bool {
		return q.Has("check_name") && run.Name != q.Get("check_name") || q.Has("status") && run.Status != q.Get("status") ||
			q.Has("app_id") && run.AppID != c.queryNumber("app_id", 0)
	})
	if q.Get("filter") != "all" {
		runs = latest(runs)
	}
	slices.Reverse(runs) // the newest first
	list := []object{}
	for _, run := range runs {
		list = append(list, s.checkRunJSON(c.repo, run))
	}
	return pageOf(s, c, list, "check_runs")
}

func (s *Server) checkRunJSON(r *repo, run *CheckRun) object {
	details := run.DetailsURL
	if details == "" {
		details = "https://ci.example.org"
	}
	url := s.api("/repos/%s/check-runs/%d", r.fullName(), run.ID)
	return object{
		"id": run.ID, "node_id": nodeID("CR", run.ID), "name": run.Name, "head_sha": run.HeadSHA, "external_id": run.ExternalID,
		"url": url, "html_url": s.url + "/" + r.fullName() + "/runs/" + lastPart(url), "details_url": details,
		"status": run.Status, "conclusion": orNull(run.Conclusion), "started_at": stamp(run.StartedAt), "completed_at": stampOrNull(run.CompletedAt),
		"output": object{"title": orNull(run.Title), "summary": orNull(run.Summary), "text": orNull(run.Text),
			"annotations_count": len(run.Annotations), "annotations_url": url + "/annotations"},
		"check_suite": object{"id": run.SuiteID}, "app": s.appJSON(run.AppID), "pull_requests": s.pullsOfLocked(r, run.HeadSHA),
	}
}

// pullsOfLocked lists the open pull requests that a commit is the head of, as check runs name them: those from forks are
// not among them.
func (s *Server) pullsOfLocked(r *repo, sha string) []object {
	list := []object{}
	ref := func(name, sha string) object {
		return object{"ref": name, "sha": sha, "repo": object{"id": r.id, "url": s.api("/repos/%s", r.fullName()), "name": r.name}}
	}
	for _, i := range r.issues {
		if p := i.pull; p != nil && i.open && p.headSHA == sha && p.headRepo == r.id {
			list = append(list, object{"id": p.id, "number": i.number, "url": s.api("/repos/%s/pulls/%d", r.fullName(), i.number),
				"head": ref(p.headRef, p.headSHA), "base": ref(p.baseRef, p.baseSHA)})
		}
	}
	return list
}

// runeCount counts what GitHub's limits on texts count.
func runeCount(s string) int { return utf8.RuneCountInString(s) }

func lastPart(url string) string { return url[strings.LastIndex(url, "/")+1:] }
