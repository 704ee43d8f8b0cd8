package web

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// Forges is where the pages learn how the forges stand.
type Forges struct {
	List   func() []Forge
	Resync func(context.Context) // reads all anew, looks for deliveries that were missed, and tells forges what they do not know
	// Rotate gives the webhook of the App a new secret. The text of its error is shown.
	Rotate func(context.Context) error
}

// A Forge is how a forge stands: as an App there, or by credentials, which are Installations then.
type Forge struct {
	Kind       string    `json:"kind"` // GitHub, Bitbucket Cloud
	Name       string    `json:"name"` // github
	Host       string    `json:"host"`
	AppID      int64     `json:"app_id,omitempty"`
	App        string    `json:"app,omitempty"`     // its name
	URL        string    `json:"url,omitempty"`     // of its page
	Install    string    `json:"install,omitempty"` // of the page where it is installed
	Deliveries string    `json:"deliveries"`        // webhook or poll
	HookURL    string    `json:"hook_url,omitempty"`
	Secret     string    `json:"secret,omitempty"` // which of the webhook's secrets is in use
	Rotates    bool      `json:"-"`                // the server can give the webhook another
	LastPing   time.Time `json:"last_ping"`
	Skew       float64   `json:"clock_skew_seconds"` // how far this machine's clock is ahead
	Sweep      Sweep     `json:"sweep"`
	Read       time.Time `json:"read"`               // when the forge last told all this
	Problems   []Lack    `json:"problems,omitempty"` // of the App or the forge as a whole

	Installations []Installation `json:"installations"`

	now time.Time
}

// A Lack is something that is wrong, or could be better.
type Lack struct {
	Text string `json:"text"`
	Note bool   `json:"note,omitempty"` // builds go on all the same
}

// A Sweep is what came of the last look for deliveries that were missed.
type Sweep struct {
	At      time.Time `json:"at"`
	Missed  int       `json:"missed"`
	Asked   int       `json:"asked_again"`
	Fetched int       `json:"fetched"`
	Gone    int       `json:"gone,omitempty"`
	Left    int       `json:"left,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// An Installation is the App in one account, or a credential.
type Installation struct {
	ID           int64     `json:"id"`
	Account      string    `json:"account"`                // of a credential: what it is for
	Selection    string    `json:"repositories,omitempty"` // all or selected
	Suspended    bool      `json:"suspended,omitempty"`
	Removed      bool      `json:"removed,omitempty"`
	Problems     []Lack    `json:"problems,omitempty"`
	LastDelivery time.Time `json:"last_delivery"`
	LastError    string    `json:"last_error,omitempty"`
	LastErrorAt  time.Time `json:"last_error_at"`
	Remaining    *int      `json:"requests_remaining,omitempty"` // in this hour, where the forge told
	Updated      time.Time `json:"updated"`

	now time.Time
}

// Bad reports whether something keeps builds from going on.
func (i Installation) Bad() bool {
	for _, p := range i.Problems {
		if !p.Note {
			return true
		}
	}
	return i.Suspended
}

// State is how the installation stands, as pages show it.
func (i Installation) State() state {
	switch {
	case i.Removed:
		return state{"stopped", "Removed"}
	case i.Suspended:
		return state{"failed", "Suspended"}
	case i.Bad():
		return state{"failed", "Lacks rights"}
	case len(i.Problems) > 0:
		return state{"timedout", "Some missing"}
	}
	return state{"succeeded", "Complete"}
}

// Delivered and Failed are the times as pages show them.
func (i Installation) Delivered() stamp { return stamp{i.LastDelivery, i.now} }
func (i Installation) Failed() stamp    { return stamp{i.LastErrorAt, i.now} }

// Pinged, Swept and ReadAt are the times as pages show them.
func (f Forge) Pinged() stamp { return stamp{f.LastPing, f.now} }
func (f Forge) Swept() stamp  { return stamp{f.Sweep.At, f.now} }
func (f Forge) ReadAt() stamp { return stamp{f.Read, f.now} }

// forgesData is what the page forges shows.
type forgesData struct {
	CSRF   string
	Forges []Forge
	Setup  bool // there is none yet, and one can be made
}

func (w *Web) forgeList() []Forge {
	list := []Forge{}
	if w.Forges != nil {
		list = append(list, w.Forges.List()...)
	}
	now := w.Store.Now()
	for n := range list {
		f := &list[n]
		f.now = now
		for m := range f.Installations {
			f.Installations[m].now = now
		}
	}
	return list
}

func (w *Web) forges(c echo.Context, v *visit) error {
	list := w.forgeList()
	return w.render(c, http.StatusOK, v, "forges", "Forges", forgesData{v.csrf, list, w.Setup != nil && !w.Setup.Done()})
}

// resyncTime is how long a resync may take.
const resyncTime = 50 * time.Second

func (w *Web) resyncNow(c echo.Context) {
	if w.Forges == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), resyncTime)
	defer cancel()
	w.Forges.Resync(ctx)
}

func (w *Web) resync(c echo.Context, _ *visit) error {
	w.resyncNow(c)
	return c.Redirect(http.StatusSeeOther, "/forges")
}

func (w *Web) rotate(c echo.Context, _ *visit) error {
	if w.Forges == nil {
		return problem{http.StatusNotFound, "There is no App", "The webhook of an App has a secret."}
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), resyncTime)
	defer cancel()
	if err := w.Forges.Rotate(ctx); err != nil {
		w.Log.Error("giving the webhook a new secret", "err", err)
		return problem{http.StatusBadGateway, "The webhook has no new secret", err.Error()}
	}
	return c.Redirect(http.StatusSeeOther, "/forges")
}

func (w *Web) apiForges(c echo.Context) error { return writeJSON(c, http.StatusOK, w.forgeList()) }

func (w *Web) apiResync(c echo.Context) error {
	w.resyncNow(c)
	return w.apiForges(c)
}
