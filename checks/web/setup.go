package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// A Setup makes the App at a forge. It is for whoever has its token, or is the administrator, until there is an App; from then
// on nobody can set up another.
//
// The token works once, for one browser, which gets a cookie for it. Each try has a state, which the forge gives back with its
// code: it is random, works once, for an hour, and only in the browser that began the try.
type Setup struct {
	Token string      // one-time
	Done  func() bool // there is an App
	Name  string      // of the App, to begin with
	Fetch bool        // whether deliveries are better fetched: nobody outside reaches this server
	// Manifest gives what the forge makes the App from, and where to send it, for a try with a state.
	Manifest func(SetupChoice, string) (SetupForm, error)
	// Finish makes the App of the forge's code the server's own and gives the page where it is installed.
	Finish func(ctx context.Context, choice SetupChoice, code string) (install string, err error)
	// Installed looks at an installation that the forge's page named and gives its account.
	Installed func(ctx context.Context, id int64) (account string, err error)
}

// A SetupChoice is what people choose of an App.
type SetupChoice struct {
	Name         string
	Organization string // empty for their own account
	URL          string // of the forge
	Fetch        bool   // deliveries are fetched
	OldServer    bool   // an Enterprise Server that refused the first manifest
}

// A SetupForm is what a page sends to the forge.
type SetupForm struct {
	Action   string
	Manifest string
}

// A SetupError says what is wrong with a choice, or why there is no App, to whoever sets up.
type SetupError struct{ Text string }

func (e SetupError) Error() string { return e.Text }

// setup is how set-up stands.
type setup struct {
	mu      sync.Mutex
	spent   bool                    // the token was used
	browser string                  // what the cookie of whoever used it holds
	pending map[string]pendingSetup // by state
}

// A pendingSetup is a try that waits for the forge.
type pendingSetup struct {
	browser string
	choice  SetupChoice
	begun   time.Time
}

const (
	setupCookie = "buildsmith_setup"
	// setupTime is how long a try may take; the forge's code lives no longer either.
	setupTime  = time.Hour
	maxPending = 100
)

// random is a text that nobody guesses.
func random() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

var (
	errSetupOver = problem{http.StatusNotFound, "Set-up is over",
		"This server has its App. Log in to see how it stands."}
	errSetupToken = problem{http.StatusForbidden, "This link cannot set up anything",
		"It was used before, or it is of an earlier start of the server, or it was copied in part. The server prints a new one each time it starts; or log in with the admin token and open /setup."}
	errSetupState = problem{http.StatusForbidden, "Nothing was set up",
		"The forge’s answer does not belong to a set-up that this browser began within the last hour, or it came twice. Begin again from /setup."}
)

// setupBrowser is the value of the request's cookie of set-up.
func setupBrowser(c echo.Context) string {
	cookie, err := c.Cookie(setupCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// setSetupCookie gives the browser a cookie that it sends when the forge leads it back, too.
func (w *Web) setSetupCookie(c echo.Context, value string) {
	c.SetCookie(&http.Cookie{Name: setupCookie, Value: value, Path: "/setup", MaxAge: int(setupTime.Seconds()),
		HttpOnly: true, Secure: w.secure(c), SameSite: http.SameSiteLaxMode})
}

// maySetUp reports whether a visit may set up, as the administrator or as whoever used the token.
func (w *Web) maySetUp(c echo.Context, v *visit) bool {
	if v.admin {
		return true
	}
	w.setup.mu.Lock()
	defer w.setup.mu.Unlock()
	cookie := setupBrowser(c)
	return cookie != "" && subtle.ConstantTimeCompare([]byte(cookie), []byte(w.setup.browser)) == 1
}

// spend exchanges the token for a cookie.
func (w *Web) spend(c echo.Context, token string) error {
	from, now := address(c.Request()), w.access.now()
	w.setup.mu.Lock()
	defer w.setup.mu.Unlock()
	if w.setup.spent || w.Setup.Token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(w.Setup.Token)) != 1 {
		if w.access.fails.tooMany(from, now) {
			c.Response().Header().Set("Retry-After", "60")
			return problem{http.StatusTooManyRequests, "Too many tries", "Links of set-up were wrong too often. Wait a minute and try again."}
		}
		w.access.fails.add(from, now)
		w.Log.Warn("somebody came with a wrong link of set-up", "address", from)
		return errSetupToken
	}
	w.setup.spent, w.setup.browser = true, random()
	w.setSetupCookie(c, w.setup.browser)
	return c.Redirect(http.StatusSeeOther, "/setup")
}

// setupData is what the page setup shows.
type setupData struct {
	SetupChoice
	CSRF  string
	Wrong string
	Web   string // where browsers reach this server
}

func (w *Web) setupCSRF(c echo.Context, v *visit) string {
	if v.admin {
		return v.csrf
	}
	return w.access.mac("setup", setupBrowser(c))
}

// setupOpen gives the reason why nobody can set up: there is no set-up, or it is over.
func (w *Web) setupOpen() error {
	if w.Setup == nil || w.Setup.Done() {
		return errSetupOver
	}
	return nil
}

func (w *Web) setupPage(c echo.Context, v *visit) error {
	if err := w.setupOpen(); err != nil {
		if v.admin {
			return c.Redirect(http.StatusSeeOther, "/forges")
		}
		return err
	}
	if token := c.QueryParam("token"); token != "" && c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK) // whoever only looks at the address does not use it up
	} else if token != "" {
		return w.spend(c, token)
	}
	if !w.maySetUp(c, v) {
		return c.Redirect(http.StatusSeeOther, "/login?return_to=%2Fsetup")
	}
	choice := SetupChoice{Name: w.Setup.Name, URL: "https://github.com", Fetch: w.Setup.Fetch}
	return w.render(c, http.StatusOK, v, "setup", "Set up GitHub", setupData{choice, w.setupCSRF(c, v), "", w.base(c)})
}

// manifestData is what the page manifest shows.
type manifestData struct {
	SetupForm
	SetupChoice
	Host string
	CSRF string
	Old  bool // an Enterprise Server, which may need the form for old ones
}

// setupManifest takes the choice and gives the form that goes to the forge.
func (w *Web) setupManifest(c echo.Context, v *visit) error {
	if err := w.setupOpen(); err != nil {
		return err
	}
	if !w.maySetUp(c, v) || !equal(c.FormValue("csrf"), w.setupCSRF(c, v)) || http.NewCrossOriginProtection().Check(c.Request()) != nil {
		return errForm
	}
	choice := SetupChoice{Name: strings.TrimSpace(c.FormValue("name")), URL: strings.TrimSuffix(strings.TrimSpace(c.FormValue("url")), "/"),
		Fetch: c.FormValue("deliveries") == "poll", OldServer: c.FormValue("old") == "1"}
	if c.FormValue("owner") == "organization" {
		if choice.Organization = strings.TrimSpace(c.FormValue("organization")); choice.Organization == "" {
			return w.render(c, http.StatusBadRequest, v, "setup", "Set up GitHub", setupData{choice, w.setupCSRF(c, v), "Name the organisation.", w.base(c)})
		}
	}
	state, browser := random(), setupBrowser(c)
	if browser == "" { // the administrator's own cookie does not come back from another site
		browser = random()
		w.setup.mu.Lock()
		w.setup.browser = browser
		w.setup.mu.Unlock()
	}
	form, err := w.Setup.Manifest(choice, state)
	var wrong SetupError
	if errors.As(err, &wrong) {
		return w.render(c, http.StatusBadRequest, v, "setup", "Set up GitHub", setupData{choice, w.setupCSRF(c, v), wrong.Text, w.base(c)})
	}
	if err != nil {
		return err
	}
	target, err := url.Parse(form.Action)
	if err != nil {
		return err
	}
	w.begin(state, pendingSetup{browser, choice, w.Store.Now()})
	w.setSetupCookie(c, browser)
	h := c.Response().Header()
	h.Set("Content-Security-Policy", strings.Replace(h.Get("Content-Security-Policy"), "form-action 'self'", "form-action 'self' "+target.Scheme+"://"+target.Host, 1))
	h.Set("Referrer-Policy", "strict-origin") // the forge may want to know that the form is from a site, and nothing more
	return w.render(c, http.StatusOK, v, "manifest", "Set up GitHub", manifestData{form, choice, target.Host, w.setupCSRF(c, v),
		target.Host != "github.com" && !choice.OldServer})
}

// begin remembers a try, and forgets those that took too long.
func (w *Web) begin(state string, p pendingSetup) {
	w.setup.mu.Lock()
	defer w.setup.mu.Unlock()
	for old, other := range w.setup.pending {
		if w.Store.Now().Sub(other.begun) > setupTime {
			delete(w.setup.pending, old)
		}
	}
	if len(w.setup.pending) >= maxPending {
		clear(w.setup.pending)
	}
	w.setup.pending[state] = p
}

// take gives the choice of a try, which ends it: a state works once.
func (w *Web) take(state, browser string) (SetupChoice, error) {
	w.setup.mu.Lock()
	defer w.setup.mu.Unlock()
	p, ok := w.setup.pending[state]
	if !ok || browser == "" || subtle.ConstantTimeCompare([]byte(p.browser), []byte(browser)) != 1 {
		return SetupChoice{}, errSetupState
	}
	delete(w.setup.pending, state)
	if age := w.Store.Now().Sub(p.begun); age < 0 || age > setupTime {
		return SetupChoice{}, errSetupState
	}
	return p.choice, nil
}

// setupCallback is where the forge leads the browser when it has made the App.
func (w *Web) setupCallback(c echo.Context, _ *visit) error {
	if err := w.setupOpen(); err != nil {
		return err
	}
	choice, err := w.take(c.QueryParam("state"), setupBrowser(c))
	if err != nil {
		w.Log.Warn("an answer of set-up that nobody waits for", "address", address(c.Request()))
		return err
	}
	install, err := w.Setup.Finish(c.Request().Context(), choice, c.QueryParam("code"))
	var wrong SetupError
	if errors.As(err, &wrong) {
		return problem{http.StatusBadGateway, "The App was not set up", wrong.Text}
	}
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, install)
}

// installedData is what the page installed shows.
type installedData struct {
	Account string // empty if nobody looked
}

// setupInstalled is where the forge leads browsers after an installation. What it says of it can come from anybody: only for
// whoever set up, or the administrator, it is looked at, and it is the forge that is asked.
func (w *Web) setupInstalled(c echo.Context, v *visit) error {
	id, err := strconv.ParseInt(c.QueryParam("installation_id"), 10, 64)
	known := v.admin || w.knownBrowser(setupBrowser(c))
	if err != nil || id <= 0 || !known || w.Setup == nil || w.Setup.Installed == nil {
		return w.render(c, http.StatusOK, v, "installed", "Installed", installedData{})
	}
	account, err := w.Setup.Installed(c.Request().Context(), id)
	if err != nil {
		w.Log.Warn("looking at an installation", "installation", id, "err", err)
		return problem{http.StatusNotFound, "There is no such installation", "The forge knows no installation of this App with that number."}
	}
	return w.render(c, http.StatusOK, v, "installed", "Installed", installedData{account})
}

// knownBrowser reports whether a cookie is of the browser that set up.
func (w *Web) knownBrowser(cookie string) bool {
	w.setup.mu.Lock()
	defer w.setup.mu.Unlock()
	return cookie != "" && subtle.ConstantTimeCompare([]byte(cookie), []byte(w.setup.browser)) == 1
}
