package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

const (
	cookieName  = "buildsmith"
	sessionTime = 30 * 24 * time.Hour

	// Who fails to name the admin token this often within a minute has to wait for the next.
	maxFailures   = 10
	failureWindow = time.Minute
)

// access knows the administrator. A session's cookie is its end and an HMAC of it, under a key that is made from the admin
// token: it is worth nothing without the server, and nothing once the token has changed.
type access struct {
	token string
	key   []byte
	now   func() time.Time
	fails *failures
}

func newAccess(token string, now func() time.Time) access {
	key := sha256.Sum256([]byte("buildsmith session\x00" + token))
	return access{token, key[:], now, &failures{seen: map[string]failure{}}}
}

func (a *access) mac(kind, text string) string {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(kind + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// isToken reports whether text is the admin token.
func (a *access) isToken(text string) bool {
	got, want := sha256.Sum256([]byte(text)), sha256.Sum256([]byte(a.token)) // of one length, whatever was sent
	return a.token != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// newSession is the value of a cookie that makes its bearer the administrator.
func (a *access) newSession() string {
	end := strconv.FormatInt(a.now().Add(sessionTime).Unix(), 10)
	return end + "." + a.mac("session", end)
}

func (a *access) validSession(value string) bool {
	end, mac, _ := strings.Cut(value, ".")
	if a.token == "" || !equal(mac, a.mac("session", end)) {
		return false
	}
	seconds, err := strconv.ParseInt(end, 10, 64)
	return err == nil && a.now().Unix() < seconds
}

// csrf is what the forms of a session's pages carry.
func (a *access) csrf(session string) string { return a.mac("form", session) }

// failures counts who failed to name the admin token. Behind a proxy everybody has one address: then they wait together.
type failures struct {
	mu   sync.Mutex
	seen map[string]failure
}

type failure struct {
	count int
	since time.Time
}

const maxAddresses = 10_000

func (f *failures) add(address string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seen) >= maxAddresses {
		clear(f.seen)
	}
	seen := f.seen[address]
	if now.Sub(seen.since) > failureWindow {
		seen = failure{since: now}
	}
	seen.count++
	f.seen[address] = seen
}

func (f *failures) tooMany(address string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen[address]
	return seen.count >= maxFailures && now.Sub(seen.since) <= failureWindow
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// A visit is one request for a page, and what its sender may do.
type visit struct {
	admin  bool
	csrf   string // for the forms of the page; empty unless it is the administrator's
	key    string // the right k, if the request has it: links on the page carry it on
	build  *store.Build
	notice *store.Notice
}

// session looks at the cookie of a request.
func (w *Web) session(c echo.Context) *visit {
	cookie, err := c.Cookie(cookieName)
	if err != nil || !w.access.validSession(cookie.Value) {
		return &visit{}
	}
	return &visit{admin: true, csrf: w.access.csrf(cookie.Value)}
}

// A problem is an error that its text tells to whoever made the request.
type problem struct {
	Status int
	Title  string
	Text   string
}

func (p problem) Error() string { return p.Text }

var (
	errLink = problem{http.StatusNotFound, "This link is not valid",
		"It may have been copied in part, it may have been revoked, or what it led to was removed because it was old. " +
			"The check on the commit or pull request has a link that is valid: follow its details to come here again."}
	errGone = problem{http.StatusNotFound, "There is no such build",
		"It may have been removed because it was old. The list of builds has those that there are."}
	errForm = problem{http.StatusForbidden, "Nothing was done",
		"The form was not from a page of this server as you see it now. Go back, reload the page and try again."}
	errToken = problem{http.StatusUnauthorized, "",
		"send the admin token: \"Authorization: Bearer <token>\"; it is in the file admin.token of the server's data directory"}
	errTries = problem{http.StatusTooManyRequests, "Too many tries",
		"The admin token was wrong too often. Wait a minute and try again."}
)

// subject finds the build or notice of an id, and checks that the visit may see it.
func (w *Web) subject(v *visit, id, key string) error {
	return w.Store.View(func(tx *store.Tx) error {
		var repo store.Repo
		b, err := tx.Build(id)
		switch {
		case err == nil:
			v.build, v.notice, repo = &b, nil, b.Repo
		case !errors.Is(err, store.ErrNotFound):
			return err
		default:
			n, ok, err := tx.Notice(id)
			if err != nil {
				return err
			}
			if !ok && v.admin {
				return errGone
			}
			if !ok {
				return errLink
			}
			v.build, v.notice, repo = nil, &n, n.Repo
		}
		right, err := tx.LinkKey(id, repo)
		if err != nil {
			return err
		}
		if v.key = ""; equal(key, right) {
			v.key = key
		}
		if v.admin || v.key != "" {
			return nil
		}
		now, err := tx.RepoState(repo.Key())
		if err == nil && !public(repo, now.Repo) {
			err = errLink
		}
		return err
	})
}

// public reports whether everybody may see the pages of a repository: one that is public now, and was when it was built.
// Those of the built-in forge never are.
func public(then, now store.Repo) bool { return then.Forge != "local" && !then.Private && !now.Private }

// reader serves the pages of a build or notice to whoever may see them.
func (w *Web) reader(h func(echo.Context, *visit) error) echo.HandlerFunc {
	return w.page(func(c echo.Context, v *visit) error {
		if err := w.subject(v, c.Param("id"), c.QueryParam("k")); err != nil {
			return err
		}
		return h(c, v)
	})
}

// admin serves pages to the administrator, and sends others to log in.
func (w *Web) admin(h func(echo.Context, *visit) error) echo.HandlerFunc {
	return w.page(func(c echo.Context, v *visit) error {
		if !v.admin {
			return c.Redirect(http.StatusSeeOther, "/login?return_to="+url.QueryEscape(c.Request().URL.RequestURI()))
		}
		return h(c, v)
	})
}

// action does what a form of the administrator's asks for.
func (w *Web) action(h func(echo.Context, *visit) error) echo.HandlerFunc {
	foreign := http.NewCrossOriginProtection()
	return w.page(func(c echo.Context, v *visit) error {
		if !v.admin || !equal(c.FormValue("csrf"), v.csrf) || foreign.Check(c.Request()) != nil {
			return errForm
		}
		if id := c.Param("id"); id != "" {
			if err := w.subject(v, id, ""); err != nil {
				return err
			}
		}
		return h(c, v)
	})
}

// everybody serves pages to everybody.
func (w *Web) everybody(h func(echo.Context, *visit) error) echo.HandlerFunc { return w.page(h) }

// maxForm bounds the body of a request: forms and small JSON.
const maxForm = 64 << 10

// page serves a page, or the page of the error that its handler gives.
func (w *Web) page(h func(echo.Context, *visit) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		prepare(c)
		v := w.session(c)
		err := h(c, v)
		if err == nil {
			return nil
		}
		p := w.judge(c, err)
		return w.render(c, p.Status, v, "problem", p.Title, p)
	}
}

// api serves the API to whoever sends the admin token.
func (w *Web) api(h func(echo.Context) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		prepare(c)
		err := w.bearer(c)
		if err == nil {
			err = h(c)
		}
		if err == nil {
			return nil
		}
		p := w.judge(c, err)
		return c.JSON(p.Status, apiError{p.Text})
	}
}

func (w *Web) bearer(c echo.Context) error {
	kind, token, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
	if strings.EqualFold(kind, "Bearer") && w.access.isToken(strings.TrimSpace(token)) {
		return nil
	}
	from, now := address(c.Request()), w.access.now()
	if w.access.fails.tooMany(from, now) {
		return errTries
	}
	w.access.fails.add(from, now)
	c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Bearer")
	return errToken
}

// prepare bounds a request, and sets the headers that every answer has.
func prepare(c echo.Context) {
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, maxForm)
	h := c.Response().Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
}

// judge turns a handler's error into what its caller is told. Once an answer has begun, all that is left is to break it
// off, so that nobody takes it for complete.
func (w *Web) judge(c echo.Context, err error) problem {
	var p problem
	known := errors.As(err, &p)
	if !known && c.Request().Context().Err() == nil {
		w.Log.Error("answering a request", "path", c.Request().URL.Path, "err", err)
	}
	if c.Response().Committed {
		panic(http.ErrAbortHandler)
	}
	if !known {
		return problem{http.StatusInternalServerError, "Something went wrong here",
			"the server could not answer; its log says why"}
	}
	return p
}
