// Package web is the pages behind the links: builds with their live logs, artifacts and reports; and the JSON API.
//
// # Who may see what
//
// The pages of a build, which is everything below /builds/<id>, may be read by whoever has a link with the right k
// (store.LinkKey), by everybody if the repository is public and not one of the built-in forge, and by the administrator.
// A badge shows no more than how a branch stands; that of a repository that is not public asks for a k of its own
// (store.BadgeKey). Lists and actions ask for the administrator: on pages by a cookie that logging in with the admin token sets, and a CSRF
// token in each form; in the API by the admin token itself. See access.go. Set-up is for whoever has its one-time token
// too: see setup.go.
//
// # The log
//
// A log is shown in chunks of 50 lines, numbered from 0, and a chunk always looks the same, whichever way it comes into
// the page: with the page itself, as JSON (lines), or live (events). The page never holds more than 5,000 elements: a
// chunk has a budget, and the script keeps only the chunks around what is in sight. What a build printed is hostile: see
// ansi.go for what is left of it.
//
// Events of /builds/<id>/events are "state" (what changed in the page around the log), "log" (lines that are new or have
// grown; its id is the number of lines, so that a browser that connects again goes on from there) and "end".
//
// # The API
//
// Requests carry "Authorization: Bearer <admin token>". Answers are JSON, and so are errors: {"error": "what to do"}. An
// <id> is a build's UUID, the first 6 or more characters of it, project:UUID, or project#number (%23 in an address).
//
//	GET  /api/builds?project=&before=&limit=   BuildList, newest first; before is the Next of the list before
//	GET  /api/builds/<id>                      Build
//	GET  /api/builds/<id>/log?from=&follow=1   text/plain from a byte on; follow ends when the build does
//	GET  /api/builds/<id>/artifacts            []Artifact
//	GET  /api/builds/<id>/artifacts.zip        the archive
//	GET  /api/builds/<id>/secondary/<identifier>/artifacts, .../artifacts.zip
//	                                           the same of secondary artifacts
//	GET  /api/builds/<id>/reports/<n>?offset=&limit=&status=
//	                                           ReportDetails: the tests or files of a report, numbered from 0
//	GET  /api/builds/<id>/reports.zip          the files that the reports were made from
//	GET  /api/builds/<id>/checks               []Check: what the forge was told
//	POST /api/builds/<id>/stop                 Build
//	POST /api/builds/<id>/retry                Started; the id of a notice will do too
//	POST /api/builds                           StartRequest; Started
//	GET  /api/projects                         []Project
//	GET  /api/deliveries?before=&limit=        DeliveryList
//	GET  /api/queue                            Queue
//	GET  /api/forges                           []Forge: the Apps at forges, and what they lack
//	POST /api/forges/resync                    []Forge: reads all anew, and looks for deliveries that were missed
//	GET  /api/backup                           a backup of the state, as it is streamed by buildsmith backup
//	GET  /api/secrets                          []Secret, without values
//	PUT  /api/secrets/<name>                   SecretRequest; SecretSet
//	GET  /api/secrets/<name>?version=&stage=   SecretValue; a version is its id or number
//	DELETE /api/secrets/<name>                 removes it with all its versions
//	POST /api/secrets-key                      SecretKey: replaces the key that the values are encrypted with
//
// A start and a retry are answered when they have been decided on: 201 with the builds, or 409 with the reason why there
// are none. 202 says that the decision takes longer; the delivery's number is in the answer.
package web

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// A Check is what a forge was told of one check of a build.
type Check struct {
	Name       string `json:"name"`
	Status     string `json:"status"`               // queued, in_progress or completed
	Conclusion string `json:"conclusion,omitempty"` // success, failure, ...
	Title      string `json:"title,omitempty"`
	Summary    string `json:"summary,omitempty"`
}

// Config is what the pages need.
type Config struct {
	Store      *store.Store
	AdminToken string // whoever has it is the administrator; nobody is if it is empty
	URL        string // where browsers reach the server, such as https://ci.example.org; empty for where a request came
	Version    string // of this program; shown to the administrator only
	Log        *slog.Logger

	Secrets *store.Secrets // nil if there are none

	Schema []byte // the JSON Schema of buildspecs; nil if there is none

	Backup func(io.Writer) error     // writes a backup of the state; nil if there is none
	Checks func(store.Build) []Check // what the forge was told; nil if it cannot be shown

	// Links gives where a forge shows what a repository has; nil if no forge shows anything.
	Links func(store.Repo) Links

	Forges *Forges // how the Apps at forges stand; nil if there can be none
	Setup  *Setup  // makes an App; nil if there can be none
}

// Web serves the pages and the API.
type Web struct {
	Config
	url     atomic.Pointer[string]
	access  access
	setup   setup
	views   *views
	assets  assets
	streams atomic.Int32  // answers under way that follow a build
	search  chan struct{} // a place for each search under way
	reports chan struct{} // a place for each report that is being read
	closed  chan struct{}
	close   sync.Once
}

// How many answers may be under way at a time.
const (
	maxStreams  = 300
	maxSearches = 4
)

// New makes the pages.
func New(c Config) *Web {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Web{Config: c, search: make(chan struct{}, maxSearches), reports: make(chan struct{}, maxReports), closed: make(chan struct{})}
	w.SetURL(c.URL)
	w.access = newAccess(c.AdminToken, c.Store.Now)
	w.setup.pending = map[string]pendingSetup{}
	w.assets = newAssets()
	w.views = newViews(w.assets)
	return w
}

// SetURL says where browsers reach the server, once that is known: see Config.
func (w *Web) SetURL(url string) {
	url = strings.TrimRight(url, "/")
	w.url.Store(&url)
}

// Close ends the answers that follow a build. A server that shuts down calls it, for those would not end before the build
// does.
func (w *Web) Close() { w.close.Do(func() { close(w.closed) }) }

// Register mounts the pages and the API.
func (w *Web) Register(e *echo.Echo) {
	get := []string{http.MethodGet, http.MethodHead}
	post := []string{http.MethodPost}
	for _, r := range []struct {
		methods []string
		path    string
		handler echo.HandlerFunc
	}{
		{get, "/", w.admin(w.buildList)},
		{get, "/builds", w.admin(w.buildList)},
		{get, "/queue", w.admin(w.queue)},
		{get, "/deliveries", w.admin(w.deliveries)},
		{get, "/deliveries/:seq", w.admin(w.delivery)},
		{get, "/deliveries/:seq/body", w.admin(w.deliveryBody)},

		{get, "/forges", w.admin(w.forges)},
		{post, "/forges/resync", w.action(w.resync)},
		{post, "/forges/rotate", w.action(w.rotate)},
		{get, "/setup", w.everybody(w.setupPage)},
		{post, "/setup", w.everybody(w.setupManifest)},
		{get, "/setup/github/callback", w.everybody(w.setupCallback)},
		{get, "/setup/github/installed", w.everybody(w.setupInstalled)},

		{get, "/login", w.everybody(w.loginForm)},
		{post, "/login", w.everybody(w.login)},
		{post, "/logout", w.action(w.logout)},
		{get, "/assets/:name", w.everybody(w.asset)},
		{get, "/buildspec.schema.json", w.everybody(w.schema)},
		{get, "/badge/:forge/*", w.everybody(w.badge)},

		{get, "/builds/:id", w.reader(w.build)},
		{get, "/builds/:id/events", w.reader(w.events)},
		{get, "/builds/:id/lines", w.reader(w.lines)},
		{get, "/builds/:id/search", w.reader(w.searchLog)},
		{get, "/builds/:id/log.txt", w.reader(w.rawLog)},
		{get, "/builds/:id/artifacts", w.reader(w.artifactList)},
		{get, "/builds/:id/artifacts.zip", w.reader(w.artifactZip)},
		{get, "/builds/:id/artifacts/*", w.reader(w.artifact)},
		{get, "/builds/:id/secondary/:aid/artifacts", w.reader(w.artifactList)},
		{get, "/builds/:id/secondary/:aid/artifacts.zip", w.reader(w.artifactZip)},
		{get, "/builds/:id/secondary/:aid/artifacts/*", w.reader(w.artifact)},
		{get, "/builds/:id/reports/:n", w.reader(w.report)},
		{get, "/builds/:id/reports.zip", w.reader(w.reportZip)},
		{post, "/builds/:id/stop", w.action(w.stop)},
		{post, "/builds/:id/retry", w.action(w.retry)},
		{post, "/builds/:id/revoke", w.action(w.revoke)},

		{get, "/api/builds", w.api(w.apiBuilds)},
		{post, "/api/builds", w.api(w.apiStart)},
		{get, "/api/builds/:id", w.apiBuild(w.apiShow)},
		{get, "/api/builds/:id/log", w.apiBuild(w.apiLog)},
		{get, "/api/builds/:id/artifacts", w.apiBuild(w.apiArtifacts)},
		{get, "/api/builds/:id/artifacts.zip", w.apiBuild(w.apiArtifactZip)},
		{get, "/api/builds/:id/secondary/:aid/artifacts", w.apiBuild(w.apiArtifacts)},
		{get, "/api/builds/:id/secondary/:aid/artifacts.zip", w.apiBuild(w.apiArtifactZip)},
		{get, "/api/builds/:id/checks", w.apiBuild(w.apiChecks)},
		{get, "/api/builds/:id/reports/:n", w.apiBuild(w.apiReport)},
		{get, "/api/builds/:id/reports.zip", w.apiBuild(w.apiReportZip)},
		{post, "/api/builds/:id/stop", w.apiBuild(w.apiStop)},
		{post, "/api/builds/:id/retry", w.api(w.apiRetry)},
		{get, "/api/projects", w.api(w.apiProjects)},
		{get, "/api/deliveries", w.api(w.apiDeliveries)},
		{get, "/api/queue", w.api(w.apiQueue)},
		{get, "/api/forges", w.api(w.apiForges)},
		{post, "/api/forges/resync", w.api(w.apiResync)},
		{get, "/api/backup", w.api(w.apiBackup)},
		{get, "/api/secrets", w.keepsSecrets(w.apiSecrets)},
		{[]string{http.MethodPut}, "/api/secrets/*", w.keepsSecrets(w.apiSetSecret)},
		{[]string{http.MethodGet}, "/api/secrets/*", w.keepsSecrets(w.apiSecret)},
		{[]string{http.MethodDelete}, "/api/secrets/*", w.keepsSecrets(w.apiRemoveSecret)},
		{post, "/api/secrets-key", w.keepsSecrets(w.apiRotateSecretKey)},
	} {
		e.Match(r.methods, r.path, r.handler)
	}
	e.RouteNotFound("/api/*", w.api(func(echo.Context) error {
		return problem{http.StatusNotFound, "", "there is no such address in the API; the documentation lists those that there are"}
	}))
}

// base is where browsers reach the server: as configured, or where this request came.
func (w *Web) base(c echo.Context) string {
	if url := *w.url.Load(); url != "" {
		return url
	}
	return c.Scheme() + "://" + c.Request().Host
}

// secure reports whether browsers reach the server by https.
func (w *Web) secure(c echo.Context) bool { return strings.HasPrefix(w.base(c), "https://") }
