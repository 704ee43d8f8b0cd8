package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

// somebody is who asked, as builds remember it: whoever has the admin token.
const somebody = "an administrator"

// How long an answer waits for a decision.
const (
	pageWait = 10 * time.Second
	apiWait  = 30 * time.Second
)

// request stores what somebody asks for as a delivery, and waits for the decision. The delivery is pending still if that
// takes longer than wait.
func (w *Web) request(ctx context.Context, event string, r store.Request, wait time.Duration) (d store.Delivery, err error) {
	r.By = somebody
	body, err := json.Marshal(r)
	if err != nil {
		return d, err
	}
	news, stop := w.Store.Watch()
	defer stop()
	d = store.Delivery{Forge: store.ForgeAPI, ID: rand.Text(), Event: event}
	if _, err := w.Store.Accept(&d, body); err != nil {
		return d, err
	}
	enough := time.NewTimer(wait)
	defer enough.Stop()
	for {
		if err := w.Store.View(func(tx *store.Tx) error {
			now, ok, err := tx.Delivery(d.Seq)
			if ok {
				d = now
			}
			return err
		}); err != nil || !d.Pending() {
			return d, err
		}
		select {
		case <-news:
		case <-enough.C:
			return d, nil
		case <-w.closed:
			return d, nil
		case <-ctx.Done():
			return d, nil // it is stored, whoever waits
		}
	}
}

// stop ends the visited build.
func (w *Web) stop(c echo.Context, v *visit) error {
	if v.build == nil {
		return errGone
	}
	err := w.requestStop(v.build.ID)
	if err != nil && !errors.Is(err, store.ErrDone) { // it has ended: that is what was asked for
		return err
	}
	return c.Redirect(http.StatusSeeOther, v.path(""))
}

func (w *Web) requestStop(id string) error {
	return w.Store.Update(func(tx *store.Tx) error {
		_, err := tx.RequestStop(id, somebody)
		return err
	})
}

// retry repeats the visited build, or builds what a notice says was not built, and leads to the new one.
func (w *Web) retry(c echo.Context, v *visit) error {
	if v.build != nil && !v.build.Done() {
		return problem{http.StatusConflict, "Nothing was done", "The build is not over yet. Stop it first, or wait for its end."}
	}
	unhurried(c, pageWait+patience)
	d, err := w.request(c.Request().Context(), store.RequestRetry, store.Request{Build: v.id()}, pageWait)
	switch {
	case err != nil:
		return err
	case len(d.Builds) > 0:
		return c.Redirect(http.StatusSeeOther, "/builds/"+d.Builds[0])
	case d.Pending():
		return c.Redirect(http.StatusSeeOther, fmt.Sprintf("/deliveries/%d", d.Seq))
	}
	return problem{http.StatusConflict, "No build was started", reasonOf(d)}
}

func reasonOf(d store.Delivery) string {
	if d.Reason == "" {
		return "the server gave no reason"
	}
	return d.Reason
}

// revoke makes all links to pages of the visited build's repository worthless.
func (w *Web) revoke(c echo.Context, v *visit) error {
	repo := store.Repo{}
	if v.build != nil {
		repo = v.build.Repo
	} else {
		repo = v.notice.Repo
	}
	err := w.Store.Update(func(tx *store.Tx) error {
		err := tx.RevokeLinks(repo.Key())
		if errors.Is(err, store.ErrNotFound) { // nothing is known of it but its builds
			if _, err := tx.Repo(repo); err != nil {
				return err
			}
			return tx.RevokeLinks(repo.Key())
		}
		return err
	})
	if err != nil {
		return err
	}
	v.key = ""
	return c.Redirect(http.StatusSeeOther, v.path(""))
}
