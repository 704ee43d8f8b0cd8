package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// Bounds of what a request for a badge may ask for.
const (
	maxLabel        = 64 // characters
	maxBadgeProject = 50 // projects of a repository that are looked at
)

// A standing is how a branch or tag stands, as a badge tells it.
type standing struct{ Word, Colour string }

// The standings, from the one that beats all others when a repository has several projects.
var (
	failing   = standing{"failing", "#e05d44"}
	running   = standing{"running", "#007ec6"}
	cancelled = standing{"cancelled", "#9f9f9f"}
	unknown   = standing{"unknown", "#9f9f9f"}
	passing   = standing{"passing", "#3fb911"}

	standings = []standing{failing, running, cancelled, unknown, passing}
)

// standingOf is how a build leaves its branch. A fault is ours, and says nothing of the commit.
func standingOf(b *store.Build) standing {
	switch {
	case !b.Done():
		return running
	case b.Status == store.Succeeded:
		return passing
	case b.Status == store.Failed, b.Status == store.TimedOut:
		return failing
	case b.Status == store.Stopped:
		return cancelled
	}
	return unknown
}

// badge serves a picture that tells how a branch or tag stands:
//
//	GET /badge/<forge>/<repository>.svg?branch=&tag=&project=&label=&k=
//
// Without branch and tag it is the default branch, without project all projects of the repository. A private repository, and
// any of the built-in forge, needs the right k; without it nobody can tell it from one that there is not.
func (w *Web) badge(c echo.Context, _ *visit) error {
	shown := unknown
	if name, ok := strings.CutSuffix(restOf(c), ".svg"); ok {
		if err := w.Store.View(func(tx *store.Tx) (err error) {
			shown, err = w.standing(tx, c, name)
			return err
		}); err != nil {
			return err
		}
	}
	svg := badgeSVG(labelOf(c.QueryParam("label")), shown)
	sum := sha256.Sum256(svg)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	h := c.Response().Header()
	h.Set("Cache-Control", "no-cache, max-age=0")
	h.Set("ETag", tag)
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	for has := range strings.SplitSeq(c.Request().Header.Get("If-None-Match"), ",") {
		if has = strings.TrimPrefix(strings.TrimSpace(has), "W/"); has == tag || has == "*" {
			return c.NoContent(http.StatusNotModified)
		}
	}
	return c.Blob(http.StatusOK, "image/svg+xml", svg)
}

// restOf is the rest of an address, which echo leaves as it was escaped.
func restOf(c echo.Context) string {
	rest := c.Param("*")
	if c.Request().URL.RawPath == "" {
		return rest
	}
	if plain, err := url.PathUnescape(rest); err == nil {
		return plain
	}
	return rest
}

// standing finds out what a badge is to tell.
func (w *Web) standing(tx *store.Tx, c echo.Context, name string) (standing, error) {
	state, ok, err := tx.RepoByName(c.Param("forge"), name)
	if err != nil || !ok {
		return unknown, err
	}
	if r := state.Repo; !public(r, r) {
		right, err := tx.BadgeKey(r)
		if err != nil || !equal(c.QueryParam("k"), right) {
			return unknown, err
		}
	}
	ref := "refs/heads/" + state.Repo.DefaultBranch
	if tag, branch := c.QueryParam("tag"), c.QueryParam("branch"); tag != "" {
		ref = "refs/tags/" + tag
	} else if branch != "" {
		ref = "refs/heads/" + branch
	}
	if !store.ValidRef(ref) {
		return unknown, nil
	}
	builds, err := latestBuilds(tx, state.Repo, c.QueryParam("project"), ref)
	if err != nil || len(builds) == 0 {
		return unknown, err
	}
	for _, s := range standings {
		for i := range builds {
			if standingOf(&builds[i]) == s {
				return s, nil
			}
		}
	}
	return unknown, nil
}

// latestBuilds are the newest builds of a ref: of the named project, or one of each project of the repository.
func latestBuilds(tx *store.Tx, r store.Repo, project, ref string) ([]store.Build, error) {
	projects, err := tx.ProjectsOf(r, maxBadgeProject)
	if err != nil {
		return nil, err
	}
	var own *store.Build
	var list []store.Build
	newest := uint64(0)
	for _, p := range projects {
		if project != "" && p.Name != project {
			continue
		}
		b, ok, err := tx.Latest(p.Key, ref)
		if err != nil {
			return nil, err
		}
		switch {
		case !ok:
		case !p.Configured:
			own = &b
		default:
			list, newest = append(list, b), max(newest, b.Seq)
		}
	}
	// A repository is a project by itself, or has those that are configured: what it was before tells nothing any more.
	if own != nil && own.Seq > newest {
		return []store.Build{*own}, nil
	}
	return list, nil
}

// badgePath is the path of the badge of a project's default branch, with the key that a private one needs.
func badgePath(tx *store.Tx, p store.Project) (string, error) {
	query := url.Values{}
	if p.Configured {
		query.Set("project", p.Name)
	}
	if state, err := tx.RepoState(p.Repo.Key()); err != nil {
		return "", err
	} else if !public(p.Repo, state.Repo) {
		key, err := tx.BadgeKey(p.Repo)
		if err != nil {
			return "", err
		}
		query.Set("k", key)
	}
	address := url.URL{Path: path.Join("/badge", p.Repo.Forge, p.Repo.Name) + ".svg", RawQuery: query.Encode()}
	return address.String(), nil
}

// labelOf is the text on the left of a badge.
func labelOf(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	if label := []rune(strings.TrimSpace(text)); len(label) > maxLabel {
		text = string(label[:maxLabel])
	}
	if text = strings.TrimSpace(text); text == "" {
		return "build"
	}
	return text
}

// badgeSVG draws a badge, 20 pixels high and flat. Texts have their length written to them, so that the picture is the same
// whichever font there is.
func badgeSVG(label string, s standing) []byte {
	left, right := textWidth(label)+100, textWidth(s.Word)+100 // tenths of a pixel
	var b strings.Builder
	name := escapeXML(label) + ": " + s.Word
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="20" role="img" aria-label="%s"><title>%s</title>`, pixels(left+right), name, name)
	b.WriteString(`<linearGradient id="s" x2="0" y2="100%"><stop offset="0" stop-color="#bbb" stop-opacity=".1"/><stop offset="1" stop-opacity=".1"/></linearGradient>`)
	// Named by its width, because a page that has several badges in it has each name once.
	fmt.Fprintf(&b, `<clipPath id="r%d"><rect width="%s" height="20" rx="3" fill="#fff"/></clipPath>`, left+right, pixels(left+right))
	fmt.Fprintf(&b, `<g clip-path="url(#r%d)"><rect width="%s" height="20" fill="#555"/><rect x="%s" width="%s" height="20" fill="%s"/><rect width="%s" height="20" fill="url(#s)"/></g>`,
		left+right, pixels(left), pixels(left), pixels(right), s.Colour, pixels(left+right))
	b.WriteString(`<g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" text-rendering="geometricPrecision" font-size="110">`)
	for _, t := range []struct {
		text           string
		middle, length int
	}{{escapeXML(label), left / 2, left - 100}, {s.Word, left + right/2, right - 100}} {
		fmt.Fprintf(&b, `<text aria-hidden="true" x="%d" y="150" fill="#010101" fill-opacity=".3" transform="scale(.1)" textLength="%d">%s</text>`, t.middle, t.length, t.text)
		fmt.Fprintf(&b, `<text x="%d" y="140" transform="scale(.1)" textLength="%d">%s</text>`, t.middle, t.length, t.text)
	}
	b.WriteString(`</g></svg>`)
	return []byte(b.String())
}

func pixels(tenths int) string {
	if tenths%10 == 0 {
		return fmt.Sprint(tenths / 10)
	}
	return fmt.Sprintf("%d.%d", tenths/10, tenths%10)
}

func escapeXML(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// textWidth is about how wide a text is in Verdana of 11 pixels, in tenths of a pixel.
func textWidth(text string) (width int) {
	for _, r := range text {
		switch {
		case strings.ContainsRune("ijl|!'.,:;I", r):
			width += 36
		case strings.ContainsRune(" ftr()[]/\\-\"", r):
			width += 45
		case strings.ContainsRune("cksvxyzJ?_$", r):
			width += 61
		case strings.ContainsRune("mwMW@%&", r):
			width += 105
		case r < 0x80 && unicode.IsUpper(r), strings.ContainsRune("+<>=^~#", r):
			width += 80
		case r < 0x1100:
			width += 68
		default:
			width += 110
		}
	}
	return width
}
