package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// How much of what a build may have many of its page shows.
const (
	shownCommands  = 40 // of a phase
	shownProblems  = 50
	shownArtifacts = 20
	shownChecks    = 25
	shownQueue     = 200
	tailSpans      = 4 // of a line
)

// A buildData is what the page of a build shows.
type buildData struct {
	row
	visit   *visit
	Phases  []phaseView
	Failure *failureView
	Reason  string // why the build ended as it did, if no command of the author's failed

	Problems     []problemView
	MoreProblems int
	Warnings     bool // all problems are

	Artifacts     *artifactsView
	Secondary     []*artifactsView
	MoreSecondary int
	Exported      []exportedView
	MoreExported  int
	Reports       []reportRow
	RawReports    bool // the files that the reports were made from are kept
	Failing       []caseView
	Tests         int // of all reports
	TestsFailed   int
	Checks        []Check

	RerunOf, RerunBy *link
	Waits            string // why it is in the queue still
	Ended            stamp
	Log              logWindow
	LogGone          bool // it is no longer kept
	Share            string
}

// A link leads to another build.
type link struct {
	Name, URL string
	State     state
}

type phaseView struct {
	*store.Phase
	Name     string
	State    state
	Took     took
	X, Width int // of its bar, in thousandths of the whole time
	Commands []commandView
	More     int // commands that are not shown
}

type commandView struct {
	Text   string
	Failed bool
	Exit   int
	Line   int
	Took   took
}

type failureView struct {
	*store.Failure
	Tail template.HTML
}

type problemView struct {
	store.Problem
	URL string // of the line at the forge
}

// Admin and CSRF are for the forms of the page.
func (d *buildData) Admin() bool  { return d.visit.admin }
func (d *buildData) CSRF() string { return d.visit.csrf }

// Path is the address of a page of the build, and carries the visitor's k on.
func (d *buildData) Path(sub string, query ...any) string { return d.visit.path(sub, query...) }

func (v *visit) id() string {
	if v.notice != nil {
		return v.notice.ID
	}
	return v.build.ID
}

// path is the address of a page of the visited build; query has names and values by turns.
func (v *visit) path(sub string, query ...any) string {
	path := "/builds/" + v.id()
	if sub != "" {
		path += "/" + sub
	}
	values := url.Values{}
	if v.key != "" {
		values.Set("k", v.key)
	}
	for i := 0; i+1 < len(query); i += 2 {
		values.Set(fmt.Sprint(query[i]), fmt.Sprint(query[i+1]))
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// Key is the visitor's k, for forms.
func (d *buildData) Key() string { return d.visit.key }

// Line is the address of a line of the log.
func (d *buildData) Line(n int) string { return d.visit.path("", "line", n) + fmt.Sprintf("#L%d", n) }

// Folds are the folds of the log, for the script.
func (d *buildData) Folds() (string, error) {
	text, err := json.Marshal(folds(d.Build))
	return string(text), err
}

// Size is how long the log is.
func (d *buildData) Size() string { return bytesText(d.Build.Log.Size) }

// Following reports whether more is to come.
func (d *buildData) Following() bool { return !d.Done() }

// build shows a build, or a notice of that id.
func (w *Web) build(c echo.Context, v *visit) error {
	if v.notice != nil {
		return w.notice(c, v)
	}
	asked, _ := strconv.Atoi(c.QueryParam("line"))
	win, err := w.window(v, max(asked, 0))
	if err != nil {
		return err
	}
	d, err := w.buildData(c, v)
	if err != nil {
		return err
	}
	d.Log, d.LogGone = win, v.build.Done() && win.Total == 0 && v.build.Log.Size > 0
	return w.render(c, http.StatusOK, v, "build", d.Title(), d)
}

// Title is what a browser calls the page.
func (d *buildData) Title() string {
	return fmt.Sprintf("%s: %s #%d", d.State.Word, d.Build.Project, d.Number)
}

// buildData gathers what the page shows around the log.
func (w *Web) buildData(c echo.Context, v *visit) (*buildData, error) {
	b, now := v.build, w.Store.Now()
	d := &buildData{row: w.rowOf(b, now), visit: v, Ended: stamp{b.Ended, now}, Phases: phaseViews(b, now)}
	if f := b.Failure; f != nil {
		d.Failure = &failureView{f, tail(f.Tail)}
	}
	if p := b.Headline(); p != nil && b.Done() && (b.Failure == nil || b.Status != store.Failed) {
		d.Reason = p.Message
	}
	d.problems(b)
	if b.Artifacts != nil {
		d.Artifacts = w.artifactsView(v, b.Artifacts, shownArtifacts)
	}
	w.results(d)
	if w.Checks != nil {
		d.Checks = w.Checks(*b)
		d.Checks = d.Checks[:min(len(d.Checks), shownChecks)]
	}
	err := w.Store.View(func(tx *store.Tx) (err error) {
		if d.RerunOf, err = another(tx, b, b.RerunOf); err != nil {
			return err
		}
		if d.RerunBy, err = another(tx, b, b.RerunBy); err != nil {
			return err
		}
		if b.Queued() {
			if d.Position, d.Waits, err = waiting(tx, b); err != nil {
				return err
			}
		}
		if v.admin {
			key, err := tx.LinkKey(b.ID, b.Repo)
			d.Share = w.base(c) + "/builds/" + b.ID + "?k=" + key
			return err
		}
		return nil
	})
	return d, err
}

// another is a link to a build of the same commit. Whoever may see the one may see the other.
func another(tx *store.Tx, b *store.Build, id string) (*link, error) {
	if id == "" {
		return nil, nil
	}
	other, err := tx.Build(id)
	if err != nil || other.Repo.Key() != b.Repo.Key() || other.Trigger.Commit != b.Trigger.Commit {
		return nil, nil // removed because it was old
	}
	key, err := tx.LinkKey(id, other.Repo)
	return &link{fmt.Sprintf("#%d", other.Number), "/builds/" + id + "?k=" + key, buildState(&other)}, err
}

// phaseViews are the phases of a build with their bars. Those that the buildspec has and that have not begun come too.
func phaseViews(b *store.Build, now time.Time) []phaseView {
	start, end := b.Claimed, b.Ended
	if start.IsZero() {
		start = b.Created
	}
	if end.IsZero() {
		end = now
	}
	whole := max(end.Sub(start), time.Millisecond)
	share := func(d time.Duration) int { return int(min(max(1000*d/whole, 0), 1000)) }
	var list []phaseView
	for i := range b.Phases {
		p := &b.Phases[i]
		if p.Type == store.PhaseSubmitted || p.Type == store.PhaseCompleted {
			continue
		}
		v := phaseView{Phase: p, Name: p.Type, State: stateOf(p.Status), Took: took{p.Start, p.End, now}}
		if p.Type == store.PhaseQueued && p.End.IsZero() {
			v.State = state{"queued", "Waiting"}
		}
		if p.Type != store.PhaseQueued {
			v.X = share(p.Start.Sub(start))
			until := now
			if !p.End.IsZero() {
				until = p.End
			}
			v.Width = max(share(until.Sub(start))-v.X, 6)
			v.X = min(v.X, 1000-v.Width)
		}
		v.commands(p, now)
		list = append(list, v)
	}
	word := state{"pending", "Waiting"}
	if b.Done() {
		word.Word = "Not run"
	}
	for _, kind := range b.Skeleton {
		if b.Phase(kind) == nil {
			list = append(list, phaseView{Phase: &store.Phase{Type: kind}, Name: kind, State: word})
		}
	}
	slices.SortStableFunc(list, func(a, b phaseView) int { return order(a.Name) - order(b.Name) })
	return list
}

var phaseOrder = []string{store.PhaseQueued, store.PhaseProvisioning, store.PhaseDownloadSource, store.PhaseInstall, store.PhasePreBuild,
	store.PhaseBuild, store.PhasePostBuild, store.PhaseUploadArtifacts, store.PhaseFinalizing}

func order(kind string) int { return slices.Index(phaseOrder, kind) }

// commands takes the first commands of a phase, and those that failed.
func (v *phaseView) commands(p *store.Phase, now time.Time) {
	for i, c := range p.Commands {
		failed := c.Exit != 0
		if i >= shownCommands && (!failed || len(v.Commands) >= shownCommands+5) {
			v.More++
			continue
		}
		text, _, more := strings.Cut(strings.TrimSpace(c.Text), "\n")
		if more {
			text += " …"
		}
		if len(text) > 300 {
			text = strings.ToValidUTF8(text[:300], "") + "…"
		}
		v.Commands = append(v.Commands, commandView{text, failed, c.Exit, c.Line, took{c.Start, c.End, now}})
	}
}

// tail is the end of a failed command's output with its colours.
func tail(lines []string) template.HTML {
	var out strings.Builder
	var s style
	for _, line := range lines {
		text, _, _ := s.render([]byte(line), tailSpans)
		out.WriteString(text + "\n")
	}
	return template.HTML(out.String())
}

func (d *buildData) problems(b *store.Build) {
	page := ""
	if b.Spec != "" {
		page = d.links.file(b.Trigger.Commit, b.Spec)
	}
	d.Warnings = len(b.Problems) > 0
	for _, p := range b.Problems {
		d.Warnings = d.Warnings && p.Warning
		if len(d.Problems) == shownProblems {
			d.MoreProblems++
			continue
		}
		v := problemView{Problem: p}
		if page != "" {
			v.URL = fmt.Sprintf("%s#L%d", page, p.Line)
		}
		d.Problems = append(d.Problems, v)
	}
}

// noticeData is what the page of a notice shows.
type noticeData struct {
	*store.Notice
	Trigger trigger
	Made    stamp
	Waits   bool // for approval
	Admin   bool
	CSRF    string
}

func (w *Web) notice(c echo.Context, v *visit) error {
	n := v.notice
	d := noticeData{Notice: n, Trigger: triggerOf(w.links(n.Repo), n.Trigger, ""), Made: stamp{n.Created, w.Store.Now()},
		Waits: n.Conclusion == store.ActionRequired, Admin: v.admin, CSRF: v.csrf}
	return w.render(c, http.StatusOK, v, "notice", n.Title+": "+n.Project, d)
}
