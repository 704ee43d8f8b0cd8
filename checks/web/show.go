package web

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// A state is a status as pages show it. The class gives the colour: FAILED and FAULT never share one.
type state struct{ Class, Word string }

func stateOf(status store.Status) state {
	switch status {
	case store.Succeeded:
		return state{"succeeded", "Succeeded"}
	case store.Failed:
		return state{"failed", "Failed"}
	case store.Fault:
		return state{"fault", "Fault"}
	case store.TimedOut:
		return state{"timedout", "Timed out"}
	case store.Stopped:
		return state{"stopped", "Stopped"}
	}
	return state{"running", "Running"}
}

func buildState(b *store.Build) state {
	switch {
	case b.Queued():
		return state{"queued", "Queued"}
	case !b.Done() && b.Stop != nil:
		return state{"running", "Stopping"}
	}
	return stateOf(b.Status)
}

// A trigger is why there is a build, as pages show it.
type trigger struct {
	store.Trigger
	Kind      string // branch, tag, pull request or version
	Ref       string
	RefURL    string // at the forge, empty if it has no page
	Base      string
	Short     string // the commit
	CommitURL string
	Who       string
}

func triggerOf(l Links, t store.Trigger, askedBy string) trigger {
	v := trigger{Trigger: t, Kind: "version", Ref: t.SourceVersion, Short: fmt.Sprintf("%.8s", t.Commit), Who: t.Actor.Login}
	if askedBy != "" {
		v.Who = askedBy
	}
	v.CommitURL = l.commit(t.Commit)
	switch {
	case t.PullRequest > 0:
		v.Kind, v.Ref = "pull request", fmt.Sprintf("#%d", t.PullRequest)
		v.Base = strings.TrimPrefix(t.BaseRef, "refs/heads/")
		v.RefURL = l.pull(t.PullRequest)
	case strings.HasPrefix(t.HeadRef, "refs/tags/"):
		v.Kind, v.Ref = "tag", strings.TrimPrefix(t.HeadRef, "refs/tags/")
	case strings.HasPrefix(t.HeadRef, "refs/heads/"):
		v.Kind, v.Ref = "branch", strings.TrimPrefix(t.HeadRef, "refs/heads/")
	case t.SourceVersion == t.Commit:
		v.Ref = ""
	}
	return v
}

// A row is a build in a list.
type row struct {
	*store.Build
	links    Links
	State    state
	Trigger  trigger
	Now      string // the phase under way, or the first that did not succeed
	Queued   stamp
	Took     took   // since it got its slot
	Position int    // in the queue
	For      string // what it waits for
}

func (w *Web) rowOf(b *store.Build, now time.Time) row {
	l := w.links(b.Repo)
	r := row{Build: b, links: l, State: buildState(b), Trigger: triggerOf(l, b.Trigger, b.AskedBy), Queued: stamp{b.Created, now}}
	if !b.Claimed.IsZero() {
		r.Took = took{b.Claimed, b.Ended, now}
	}
	if p := current(b); p != nil && !b.Queued() {
		r.Now = p.Type
	}
	return r
}

// current is the phase that a build is in, or the first that did not succeed.
func current(b *store.Build) *store.Phase {
	if p := b.Headline(); p != nil || b.Done() {
		return p
	}
	for i := len(b.Phases) - 1; i >= 0; i-- {
		if b.Phases[i].End.IsZero() {
			return &b.Phases[i]
		}
	}
	return nil
}

func (w *Web) rows(list []store.Build, now time.Time) []row {
	all := make([]row, len(list))
	for i := range list {
		all[i] = w.rowOf(&list[i], now)
	}
	return all
}

// listed is how many builds or deliveries a page lists.
const listed = 50

// buildsData is what the page builds shows.
type buildsData struct {
	Rows             []row
	Project          string
	Projects         []store.Project
	Before, Next     uint64
	Waiting, Running int
	Obstacle         string
	Badge            string // path of the project's; empty without a project
	Markdown         string // that shows it
}

func (w *Web) buildList(c echo.Context, v *visit) error {
	before, err := number(c, "before")
	if err != nil {
		return err
	}
	d := buildsData{Project: c.QueryParam("project"), Before: before}
	err = w.Store.View(func(tx *store.Tx) error {
		d.Waiting, d.Running = tx.QueueLength()
		d.Obstacle = tx.Obstacle()
		if d.Projects, err = tx.Projects(); err != nil {
			return err
		}
		if p, ok, err := tx.ProjectByName(d.Project); err != nil {
			return err
		} else if ok {
			if d.Badge, err = badgePath(tx, p); err != nil {
				return err
			}
			d.Markdown = "![build](" + w.base(c) + d.Badge + ")"
		}
		list, err := tx.Builds(d.Project, before, listed+1)
		if len(list) > listed {
			list = list[:listed]
			d.Next = list[listed-1].Seq
		}
		d.Rows = w.rows(list, w.Store.Now())
		return err
	})
	if err != nil {
		return err
	}
	title := "Builds"
	if d.Project != "" {
		title = "Builds of " + d.Project
	}
	return w.render(c, http.StatusOK, v, "builds", title, d)
}

// queueData is what the page queue shows.
type queueData struct {
	Waiting, Running []row
	More             int // that wait, and are not shown
	Obstacle         string
}

func (w *Web) queue(c echo.Context, v *visit) error {
	var d queueData
	now := w.Store.Now()
	err := w.Store.View(func(tx *store.Tx) error {
		d.Obstacle = tx.Obstacle()
		waiting, err := tx.Waiting(shownQueue)
		if err != nil {
			return err
		}
		running, err := tx.RunningBuilds()
		if err != nil {
			return err
		}
		all, _ := tx.QueueLength()
		d.Running, d.More = w.rows(running, now), all-len(waiting)
		for i := range waiting {
			r := w.rowOf(&waiting[i].Build, now)
			r.Position, r.For = waiting[i].Position, waitsFor(&waiting[i], d.Obstacle, len(running))
			d.Waiting = append(d.Waiting, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.render(c, http.StatusOK, v, "queue", "Queue", d)
}

// number reads a query parameter that is a number; 0 if it is missing.
func number(c echo.Context, name string) (uint64, error) {
	text := c.QueryParam(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, problem{http.StatusBadRequest, "That is no number", fmt.Sprintf("%s=%.40q is not a number; leave it out or give one", name, text)}
	}
	return n, nil
}
