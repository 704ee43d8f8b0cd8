package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// download makes browsers keep an answer as a file, whatever it holds, and never show it.
func download(c echo.Context, name string) {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, echo.MIMEOctetStream)
	h.Set("Content-Security-Policy", "sandbox")
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(name)})
	if disposition == "" {
		disposition = "attachment"
	}
	h.Set(echo.HeaderContentDisposition, disposition)
}

// A patientWriter gives each write some time, so that neither a large answer is cut off by the server's limit nor a reader
// who has gone away keeps it for ever.
type patientWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func patiently(c echo.Context) patientWriter {
	return patientWriter{c.Response(), unhurried(c, patience)}
}

// unhurried lets an answer begin later than the server's limit for others allows.
func unhurried(c echo.Context, within time.Duration) *http.ResponseController {
	rc := http.NewResponseController(c.Response())
	rc.SetWriteDeadline(time.Now().Add(within))
	return rc
}

func (w patientWriter) Write(text []byte) (int, error) {
	w.rc.SetWriteDeadline(time.Now().Add(patience))
	return w.ResponseWriter.Write(text)
}

// end lifts the limit for the next answer on the connection.
func (w patientWriter) end() { w.rc.SetWriteDeadline(time.Time{}) }

// rawLog serves the log as the build printed it.
func (w *Web) rawLog(c echo.Context, v *visit) error {
	if v.build == nil {
		return errLink
	}
	return w.serveLog(c, v.build)
}

// serveLog serves a log: whole, from a byte on (?from=), or until the build ends (?follow=1). The whole log of a build
// that is over may be asked for in ranges.
func (w *Web) serveLog(c echo.Context, b *store.Build) error {
	from, err := number(c, "from")
	if err != nil {
		return err
	}
	f, err := w.Store.OpenLog(b.ID)
	if err != nil {
		return err
	}
	defer f.Close()
	c.Response().Header().Set(echo.HeaderContentType, "text/plain; charset=utf-8")
	out := patiently(c)
	defer out.end()
	if follow := c.QueryParam("follow"); follow != "" && follow != "0" {
		return w.followLog(c, out, b, int64(min(from, 1<<60)))
	}
	if from == 0 && b.Done() {
		http.ServeContent(out, c.Request(), "", b.Ended, f)
		return nil
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start := min(int64(min(from, 1<<60)), size)
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentLength, strconv.FormatInt(size-start, 10))
	c.Response().WriteHeader(http.StatusOK)
	_, err = io.CopyN(out, f, size-start)
	return err
}

// followLog sends what the log has from a byte on and what it gains, until the build is over.
func (w *Web) followLog(c echo.Context, out patientWriter, b *store.Build, offset int64) error {
	if w.streams.Add(1) > maxStreams {
		w.streams.Add(-1)
		return errBusy
	}
	defer w.streams.Add(-1)
	grown, stopLog := w.Store.WatchLog(b.ID)
	defer stopLog()
	news, stop := w.Store.Watch()
	defer stop()
	c.Response().WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	ctx := c.Request().Context()
	for {
		now, err := w.Store.Build(b.ID) // before the log is read, so that its end is not missed
		if err != nil {
			return err
		}
		f, err := w.Store.OpenLog(b.ID)
		if err != nil {
			return err
		}
		var n int64
		if _, err = f.Seek(offset, io.SeekStart); err == nil {
			n, err = io.Copy(out, f)
		}
		f.Close()
		offset += n
		if err == nil {
			out.rc.SetWriteDeadline(time.Now().Add(patience))
			err = out.rc.Flush()
		}
		if err != nil || now.Done() {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.closed:
			return errors.New("the server is shutting down")
		case <-grown:
		case <-news:
		}
	}
}

var errNoArtifacts = problem{http.StatusNotFound, "There are no such artifacts", "The build left none of that name, or they are no longer kept."}

// artifactsOf gives the artifacts of the visited build that the address names: the primary ones, or those of a secondary
// artifact.
func (w *Web) artifactsOf(c echo.Context, v *visit) (*store.Artifacts, error) {
	if v.build == nil {
		return nil, errLink
	}
	if a := namedArtifacts(c, v.build); a != nil {
		return a, nil
	}
	return nil, errNoArtifacts
}

// namedArtifacts gives the artifacts that an address names, nil if there are none.
func namedArtifacts(c echo.Context, b *store.Build) *store.Artifacts {
	if !slices.Contains(c.ParamNames(), "aid") {
		return b.Artifacts
	}
	if id := c.Param("aid"); id != "" && id != store.ReportFiles {
		return b.ArtifactsOf(id)
	}
	return nil
}

func (w *Web) artifactZip(c echo.Context, v *visit) error {
	a, err := w.artifactsOf(c, v)
	if err != nil {
		return err
	}
	return w.serveZip(c, v.build, a.ID)
}

// reportZip serves the files that a build's reports were made from. Those of a report lie below its index.
func (w *Web) reportZip(c echo.Context, v *visit) error {
	if v.build == nil {
		return errLink
	}
	return w.serveZip(c, v.build, store.ReportFiles)
}

// serveZip serves the archive of the artifacts of an id.
func (w *Web) serveZip(c echo.Context, b *store.Build, id string) error {
	a := b.ArtifactsOf(id)
	if a == nil {
		return errNoArtifacts
	}
	f, err := w.Store.OpenArtifacts(b.ID, id)
	if errors.Is(err, store.ErrNotFound) {
		return errNoArtifacts
	}
	if err != nil {
		return err
	}
	defer f.Close()
	name := a.Name
	if id == store.ReportFiles {
		name = "reports"
	}
	download(c, name+".zip")
	c.Response().Header().Set("ETag", `"`+a.SHA256+`"`)
	out := patiently(c)
	defer out.end()
	http.ServeContent(out, c.Request(), "", time.Time{}, f)
	return nil
}

// artifact serves one file of the artifacts.
func (w *Web) artifact(c echo.Context, v *visit) error {
	a, err := w.artifactsOf(c, v)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(c.Request().URL.Path, "/builds/"+v.build.ID+"/"+artifactsPath(a.ID)+"artifacts/")
	f, size, err := w.Store.OpenArtifact(v.build.ID, a.ID, name)
	if errors.Is(err, store.ErrNotFound) {
		return errNoArtifacts
	}
	if err != nil {
		return err
	}
	defer f.Close()
	download(c, name)
	c.Response().Header().Set(echo.HeaderContentLength, strconv.FormatInt(size, 10))
	c.Response().WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	out := patiently(c)
	defer out.end()
	_, err = io.Copy(out, f)
	return err
}

// shownFiles is how many artifacts a page of the list has.
const shownFiles = 500

// An artifactsData is what the page artifacts shows.
type artifactsData struct {
	row
	visit     *visit
	Artifacts *artifactsView
}

// Path is the address of a page of the build, and carries the visitor's k on.
func (d *artifactsData) Path(sub string, query ...any) string { return d.visit.path(sub, query...) }

// artifactList lists the artifacts of a build with their sums, from the given one on (?after=).
func (w *Web) artifactList(c echo.Context, v *visit) error {
	a, err := w.artifactsOf(c, v)
	if err != nil {
		return err
	}
	after, err := number(c, "after")
	if err != nil {
		return err
	}
	list, err := w.Store.Manifest(v.build.ID, a.ID)
	if errors.Is(err, store.ErrNotFound) {
		return errNoArtifacts
	}
	if err != nil {
		return err
	}
	start := int(min(after, uint64(len(list))))
	end := min(start+shownFiles, len(list))
	view := &artifactsView{Artifacts: a, visit: v, List: list[start:end], More: len(list) - end}
	if view.More > 0 {
		view.Next = end
	}
	d := &artifactsData{row: w.rowOf(v.build, w.Store.Now()), visit: v, Artifacts: view}
	return w.render(c, http.StatusOK, v, "artifacts", "Artifacts of "+d.Build.Project+" #"+strconv.Itoa(d.Number), d)
}
