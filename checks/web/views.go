package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"buildsmith/checks"

	"github.com/labstack/echo/v4"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets/style.css
var styleSheet string

//go:embed assets/page.js
var pageScript string

//go:embed assets/log.js
var logScript string

// assets are the files that pages refer to. Their names change with their content, so that browsers keep them for ever.
type assets struct {
	style, script string // names
	content       map[string][]byte
}

func newAssets() assets {
	a := assets{content: map[string][]byte{}}
	add := func(name, ending, text string) string {
		sum := sha256.Sum256([]byte(text))
		name += "-" + hex.EncodeToString(sum[:8]) + ending
		a.content[name] = []byte(text)
		return name
	}
	a.style = add("style", ".css", styleSheet+paletteCSS())
	a.script = add("script", ".js", pageScript+logScript)
	return a
}

func (w *Web) asset(c echo.Context, _ *visit) error {
	name := c.Param("name")
	content, ok := w.assets.content[name]
	if !ok {
		return problem{http.StatusNotFound, "There is no such file", "The page that asked for it is of another release: reload it."}
	}
	kind := "text/css; charset=utf-8"
	if name == w.assets.script {
		kind = "text/javascript; charset=utf-8"
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	return c.Blob(http.StatusOK, kind, content)
}

// views are the templates of the pages.
type views struct {
	assets assets
	pages  map[string]*template.Template
}

func newViews(a assets) *views {
	v := &views{a, map[string]*template.Template{}}
	shared := template.Must(template.New("").Funcs(template.FuncMap{"bytes": bytesText, "plain": checks.Plain}).ParseFS(pageFiles, "pages/layout.html", "pages/parts.html"))
	for _, name := range []string{"builds", "queue", "deliveries", "delivery", "login", "problem", "build", "notice", "search", "artifacts", "report", "forges", "setup", "manifest", "installed"} {
		page := template.Must(shared.Clone())
		v.pages[name] = template.Must(page.ParseFS(pageFiles, "pages/"+name+".html"))
	}
	return v
}

// A frame is what layout.html puts around a page.
type frame struct {
	Name, Title   string
	Admin         bool
	CSRF          string
	Version       string
	Path          string // of this page, to come back after logging in
	Style, Script string
	Data          any
}

// render answers with a page.
func (w *Web) render(c echo.Context, status int, v *visit, name, title string, data any) error {
	f := frame{Name: name, Title: title, Admin: v.admin, CSRF: v.csrf, Path: c.Request().URL.RequestURI(),
		Style: w.assets.style, Script: w.assets.script, Data: data}
	if v.admin {
		f.Version = w.Version
	}
	var page bytes.Buffer
	if err := w.views.pages[name].ExecuteTemplate(&page, "layout", f); err != nil {
		return fmt.Errorf("the page %s: %w", name, err)
	}
	return c.HTMLBlob(status, page.Bytes())
}

// fragment renders a part of a page.
func (w *Web) fragment(page, name string, data any) (template.HTML, error) {
	var text bytes.Buffer
	err := w.views.pages[page].ExecuteTemplate(&text, name, data)
	return template.HTML(text.String()), err
}

// writeJSON answers with JSON that is not blown up by escapes that only matter within HTML.
func writeJSON(c echo.Context, status int, value any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	return c.Blob(status, echo.MIMEApplicationJSON, text.Bytes())
}

// A stamp is a time as pages show it.
type stamp struct{ At, now time.Time }

// ISO is the time for programs, Full for people who want to know it exactly, Ago for those who do not.
func (s stamp) ISO() string  { return s.At.UTC().Format(time.RFC3339) }
func (s stamp) Full() string { return s.At.UTC().Format("2006-01-02 15:04:05 UTC") }
func (s stamp) Ago() string  { return ago(s.now.Sub(s.At)) }

// IsZero reports whether there is no time.
func (s stamp) IsZero() bool { return s.At.IsZero() }

// ago is page.js's too.
func ago(d time.Duration) string {
	switch {
	case d < -5*time.Second:
		return "in " + length(-d)
	case d < 10*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// length is a duration as pages show it; page.js's too.
func length(d time.Duration) string {
	switch s := int(d.Seconds()); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(d, 0).Seconds())
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// A took is how long something took, or has taken so far.
type took struct{ start, end, now time.Time }

// Live reports whether it goes on.
func (t took) Live() bool { return !t.start.IsZero() && t.end.IsZero() }

// Since is the start for the script, in milliseconds.
func (t took) Since() int64 { return t.start.UnixMilli() }

func (t took) String() string {
	switch {
	case t.start.IsZero():
		return ""
	case t.end.IsZero():
		return length(t.now.Sub(t.start))
	}
	return length(t.end.Sub(t.start))
}

// bytesText is a number of bytes as pages show it.
func bytesText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), ""
	for _, unit = range []string{"kB", "MB", "GB", "TB"} {
		if value /= 1000; value < 999.5 {
			break
		}
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, unit)
	}
	return fmt.Sprintf("%.0f %s", value, unit)
}
