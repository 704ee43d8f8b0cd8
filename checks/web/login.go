package web

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

// loginData is what the page login shows.
type loginData struct {
	ReturnTo string
	Wrong    bool
}

func (w *Web) loginForm(c echo.Context, v *visit) error {
	to := localPath(c.QueryParam("return_to"))
	if v.admin {
		return c.Redirect(http.StatusSeeOther, to)
	}
	return w.render(c, http.StatusOK, v, "login", "Log in", loginData{ReturnTo: to})
}

func (w *Web) login(c echo.Context, v *visit) error {
	to := localPath(c.FormValue("return_to"))
	if !w.access.isToken(strings.TrimSpace(c.FormValue("token"))) { // the right one is never turned away for others' wrong ones
		from, now := address(c.Request()), w.access.now()
		if w.access.fails.tooMany(from, now) {
			c.Response().Header().Set("Retry-After", "60")
			return errTries
		}
		w.access.fails.add(from, now)
		w.Log.Warn("somebody tried to log in with a wrong admin token", "address", from)
		return w.render(c, http.StatusUnauthorized, v, "login", "Log in", loginData{to, true})
	}
	c.SetCookie(w.cookie(c, w.access.newSession(), sessionTime))
	return c.Redirect(http.StatusSeeOther, to)
}

func (w *Web) logout(c echo.Context, _ *visit) error {
	c.SetCookie(w.cookie(c, "", -time.Second))
	return c.Redirect(http.StatusSeeOther, "/login")
}

func (w *Web) cookie(c echo.Context, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, Secure: w.secure(c), SameSite: http.SameSiteStrictMode}
}

// localPath is where to go after logging in: a path of this server, whatever was asked for.
func localPath(to string) string {
	u, err := url.Parse(to)
	switch {
	case err != nil, u.Scheme != "", u.Host != "", u.User != nil, u.Opaque != "", !strings.HasPrefix(to, "/"),
		strings.HasPrefix(to, "//"), strings.Contains(to, "\\"), strings.ContainsFunc(to, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "/"
	}
	return to
}
