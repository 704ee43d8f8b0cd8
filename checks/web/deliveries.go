package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// A deliveryRow is a delivery as pages show it.
type deliveryRow struct {
	store.Delivery
	State    state
	Received stamp
	Decided  stamp
	Retry    stamp // when it is tried again
	Started  []row // its builds, without those that are gone
}

func (w *Web) deliveryOf(tx *store.Tx, d store.Delivery, now time.Time) (deliveryRow, error) {
	r := deliveryRow{Delivery: d, Received: stamp{d.Received, now}, Decided: stamp{d.Handled, now}, Retry: stamp{d.Next, now}}
	switch {
	case d.Pending() && d.Tries > 0:
		r.State = state{"timedout", "Waiting"}
	case d.Pending():
		r.State = state{"queued", "New"}
	case len(d.Builds) > 0:
		r.State = state{"succeeded", "Builds"}
	default:
		r.State = state{"stopped", "No build"}
	}
	for _, id := range d.Builds {
		b, err := tx.Build(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return r, err
		}
		r.Started = append(r.Started, w.rowOf(&b, now))
	}
	return r, nil
}

// deliveriesData is what the page deliveries shows.
type deliveriesData struct {
	Rows         []deliveryRow
	Before, Next uint64
}

func (w *Web) deliveries(c echo.Context, v *visit) error {
	before, err := number(c, "before")
	if err != nil {
		return err
	}
	d := deliveriesData{Before: before}
	err = w.Store.View(func(tx *store.Tx) error {
		list, err := tx.Deliveries(before, listed+1)
		if len(list) > listed {
			list = list[:listed]
			d.Next = list[listed-1].Seq
		}
		for i := 0; i < len(list) && err == nil; i++ {
			var r deliveryRow
			r, err = w.deliveryOf(tx, list[i], w.Store.Now())
			d.Rows = append(d.Rows, r)
		}
		return err
	})
	if err != nil {
		return err
	}
	return w.render(c, http.StatusOK, v, "deliveries", "Deliveries", d)
}

// deliveryData is what the page delivery shows.
type deliveryData struct {
	deliveryRow
	Body    string
	Gone    bool // the body is no longer kept
	Clipped bool // more of it than the page shows
}

// maxBodyShown is how much of a delivery's body its page shows.
const maxBodyShown = 256 << 10

func (w *Web) delivery(c echo.Context, v *visit) error {
	d, body, err := w.findDelivery(c)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	data := &deliveryData{Gone: err != nil}
	if err := w.Store.View(func(tx *store.Tx) (err error) {
		data.deliveryRow, err = w.deliveryOf(tx, d, w.Store.Now())
		return err
	}); err != nil {
		return err
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, body, "", "  ") == nil {
		body = pretty.Bytes()
	}
	if data.Clipped = len(body) > maxBodyShown; data.Clipped {
		body = body[:maxBodyShown]
	}
	data.Body = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(string(body), "\uFFFD"))
	return w.render(c, http.StatusOK, v, "delivery", "Delivery "+strconv.FormatUint(d.Seq, 10), data)
}

// deliveryBody gives the body as it came, as a file to keep.
func (w *Web) deliveryBody(c echo.Context, _ *visit) error {
	d, body, err := w.findDelivery(c)
	if errors.Is(err, fs.ErrNotExist) {
		return problem{http.StatusNotFound, "The body is gone", "Bodies are kept for a week after the decision."}
	}
	if err != nil {
		return err
	}
	download(c, "delivery-"+strconv.FormatUint(d.Seq, 10)+".json")
	return c.Blob(http.StatusOK, echo.MIMEOctetStream, body)
}

// findDelivery gives the delivery of a request and its body. The error wraps fs.ErrNotExist if the body alone is gone.
func (w *Web) findDelivery(c echo.Context) (d store.Delivery, body []byte, err error) {
	none := problem{http.StatusNotFound, "There is no such delivery", "Deliveries are kept for thirty days."}
	seq, err := strconv.ParseUint(c.Param("seq"), 10, 64)
	if err != nil {
		return d, nil, none
	}
	if err := w.Store.View(func(tx *store.Tx) error {
		var ok bool
		if d, ok, err = tx.Delivery(seq); err == nil && !ok {
			err = none
		}
		return err
	}); err != nil {
		return d, nil, err
	}
	body, err = w.Store.Body(&d)
	return d, body, err
}
