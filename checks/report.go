// Package checks is what people see of a build: reports at forges and, below it, pages.
//
// What a forge should show is a function of the build: Render gives the reports of a build as it is now. The Reporter
// compares them with what the forge was last told and tells it what differs. It tells states, not events: whatever was lost
// or came too late, the next comparison makes good.
package checks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"buildsmith/store"
)

// Statuses of a report, GitHub's words.
const (
	Queued     = "queued"
	InProgress = "in_progress"
	Completed  = "completed"
)

// Conclusions of a completed report, GitHub's words.
const (
	Success        = "success"
	Failure        = "failure"
	Cancelled      = "cancelled"
	TimedOut       = "timed_out"
	Skipped        = "skipped"
	ActionRequired = "action_required"

	Errored = "error" // of a status or deployment: not the author's failure
)

// A Kind is what a report is at a forge.
type Kind string

// The kinds.
const (
	KindCheck      Kind = ""           // a check, or what a forge has instead
	KindStatus     Kind = "status"     // a commit status: Name is its context, Title its description
	KindComment    Kind = "comment"    // a comment on PullRequest: Summary is its text
	KindDeployment Kind = "deployment" // a deployment of Commit to Environment
	KindReport     Kind = "report"     // what came of a build, with Figures and Annotations, where checks have no room for them
)

// An Action is a button of a completed check.
type Action struct {
	Label       string // at most 20 characters
	Description string // at most 40
	Identifier  string // at most 20; comes back when it is pressed
}

// A Report is one check of a commit, as a forge should show it, or one of the other kinds.
type Report struct {
	Kind       Kind   `json:",omitempty"`
	Name       string // what branch protection knows it by
	ExternalID string // ours; comes back with re-runs
	Commit     string
	URL        string // of the page behind it
	Status     string
	Conclusion string `json:",omitempty"`
	Started    time.Time
	Completed  time.Time
	Title      string
	Summary    string // Markdown

	Annotations []Annotation `json:",omitempty"`
	Actions     []Action     `json:",omitempty"`

	PullRequest int                `json:",omitempty"` // of a comment
	InReplyTo   int64              `json:",omitempty"` // of a comment: the comment that it answers
	Figures     []Figure           `json:",omitempty"` // of a report, the most important first
	Ref         string             `json:",omitempty"` // of a deployment: refs/heads/...
	Environment *store.Environment `json:",omitempty"` // of a deployment

	Phase bool `json:"-"` // it is the check of a phase
}

// A Figure is something that can be said of a build in a word or a number. One of Text, Duration, Percent and URL is set.
type Figure struct {
	Title    string
	Text     string        `json:",omitempty"`
	Duration time.Duration `json:",omitempty"`
	Percent  *float64      `json:",omitempty"` // 0 to 100
	URL      string        `json:",omitempty"` // with Text as its words
}

// An Annotation is a remark on a line of a file.
type Annotation struct {
	Path    string
	Line    int
	Column  int // 0 if not known
	Level   string
	Title   string
	Message string
}

// Levels of an annotation, GitHub's words.
const (
	LevelFailure = "failure"
	LevelWarning = "warning"
	LevelNotice  = "notice"
)

// Names of comments. One with the name SummaryName is changed as the builds go on; a pull request has one at most. A reply is
// sent once.
const (
	SummaryName = "summary"
	ReplyName   = "reply"
)

// Key tells the reports of a subject apart: a status may have the name of a check.
func (r *Report) Key() string {
	if r.Kind == KindCheck {
		return r.Name
	}
	return string(r.Kind) + "\x00" + r.Name
}

// Digest changes when a report does.
func (r *Report) Digest() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // a Report has nothing that cannot be encoded
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// Options are how reports are rendered.
type Options struct {
	Phases         bool   // one check for each phase that has commands, beside that of the build
	Figures        bool   // a report of a build that is over, beside its check
	Statuses       string // StatusesOff, StatusesBeside or StatusesInstead
	StatusContext  string // ContextCodeBuild, or a text with ContextVariables; empty for the name of the check
	Region         string // of contexts in CodeBuild's form
	SummaryComment bool   // a pull request has one comment that says how its builds stand
	// URL gives the address of the page of a build or notice.
	URL func(id string, r store.Repo) string
}

// Render gives the reports of a build: the build's own first, then those of its phases in their order, its commit status if
// there are any, and the deployment that it is.
func Render(b *store.Build, o Options) []Report {
	url := o.URL(b.ID, b.Repo)
	own := Report{Name: checkName(b.Check), ExternalID: b.ID, Commit: b.Trigger.Commit, URL: url}
	own.Status, own.Conclusion = buildState(b)
	own.Started = b.Created
	if own.Status == Completed {
		own.Completed = b.Ended
	}
	list, more := annotations(b)
	own.Annotations, own.Title, own.Summary = list, title(b), summary(b, o, more)
	if b.Done() {
		if b.Status != store.Succeeded {
			own.Actions = append(own.Actions, Action{"Re-run failed", "Repeat this build", store.ButtonRerun})
		}
		own.Actions = append(own.Actions, Action{"Re-run clean", "Repeat this build without its caches", store.ButtonClean})
	}
	reports := []Report{own}
	if o.Phases {
		for _, phase := range b.Skeleton {
			reports = append(reports, phaseReport(b, phase, url))
		}
	}
	if o.Statuses != StatusesOff {
		reports = append(reports, buildStatus(b, o))
	}
	if d, ok := deployment(b, o); ok {
		reports = append(reports, d)
	}
	if o.Figures && b.Done() {
		reports = append(reports, figures(b, own))
	}
	return reports
}

// maxName is how many characters the name of a check has at most.
const maxName = 100

// checkName is a name that is not too long. One that is ends in what tells it from others that begin alike, so that it is the
// same for every build.
func checkName(name string) string {
	runes := []rune(name)
	if len(runes) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	mark := "~" + hex.EncodeToString(sum[:4])
	return string(runes[:maxName-len(mark)]) + mark
}

// RenderNotice gives the report of a notice.
func RenderNotice(n *store.Notice, o Options) Report {
	r := Report{
		Name: checkName(n.Check), ExternalID: n.ID, Commit: n.Trigger.Commit, URL: o.URL(n.ID, n.Repo), Status: Completed, Conclusion: n.Conclusion,
		Started: n.Created, Completed: n.Created, Title: Plain(n.Title), Summary: text(cut(Plain(n.Reason), shownReason)),
	}
	if n.Conclusion == store.ActionRequired && n.Trigger.PullRequest != 0 {
		r.Actions = []Action{{"Approve and build", "Build this commit of the pull request", store.ButtonApprove}}
	}
	return r
}

// RenderReply gives the report of a reply.
func RenderReply(r *store.Reply) Report {
	return Report{Kind: KindComment, Name: ReplyName, ExternalID: r.ID, Status: Completed, Conclusion: Success, Started: r.Created, Completed: r.Created,
		PullRequest: r.PullRequest, InReplyTo: r.Comment, Summary: r.Body}
}

func buildState(b *store.Build) (status, conclusion string) {
	if !b.Done() {
		if b.Queued() {
			return Queued, ""
		}
		return InProgress, ""
	}
	return Completed, conclusionOf(b.Status)
}

func conclusionOf(s store.Status) string {
	switch s {
	case store.Succeeded:
		return Success
	case store.Stopped:
		return Cancelled
	case store.TimedOut:
		return TimedOut
	}
	return Failure
}

// phaseReport is the check of a phase. One that was never reached ends cancelled.
func phaseReport(b *store.Build, phase, url string) Report {
	r := Report{Phase: true, Name: checkName(b.Check + " / " + phaseWord(phase)), ExternalID: b.ID + "/" + phase, Commit: b.Trigger.Commit, URL: url, Started: b.Created}
	p := b.Phase(phase)
	switch {
	case p == nil && b.Done():
		r.Status, r.Conclusion, r.Completed = Completed, Cancelled, b.Ended
		r.Title = "Not run"
		r.Summary = "The build ended before this phase: " + text(cut(headline(b), shownReason))
	case p == nil:
		r.Status, r.Title, r.Summary = Queued, "Waiting", "The phases before it come first."
	case p.End.IsZero():
		r.Status, r.Started, r.Title = InProgress, p.Start, "Running"
		r.Summary = "Running since " + clock(p.Start) + "."
	default:
		r.Status, r.Conclusion, r.Started, r.Completed = Completed, conclusionOf(p.Status), p.Start, p.End
		r.Title = statusWord(p.Status) + " in " + duration(p.End.Sub(p.Start))
		r.Summary = commandTable(p)
		if p.Message != "" {
			r.Summary = text(cut(p.Message, shownReason)) + "\n\n" + r.Summary
		}
		if f := b.Failure; f != nil && f.Phase == phase {
			r.Summary += failure(f)
		}
	}
	r.Summary = limit(r.Summary)
	return r
}
