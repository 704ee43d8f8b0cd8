package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"buildsmith/store"

	"github.com/google/go-github/v60/github"
)

// attempt is one as GitHub lists it, with what is needed of it.
// https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook
type attempt struct {
	ID          int64
	GUID        string
	DeliveredAt time.Time `json:"delivered_at"`
	Status      string
	StatusCode  int `json:"status_code"`
	Event       string
}

func (d *attempt) delivered() bool {
	return d.Status == "OK" || d.StatusCode >= 200 && d.StatusCode < 300
}

// firstPage remembers the newest attempts, so that GitHub can say that there are none that are newer. That costs nothing.
type firstPage struct {
	mu   sync.Mutex
	tag  string
	list []attempt
	next string
}

// maxPages bounds a look at the log: a hundred attempts each.
const maxPages = 500

// Deliveries implements webhook.DeliveryLog. What GitHub held back for a while, which throttled_at says, is told like the
// rest: it may come yet, and then it comes under the same id.
func (a *App) Deliveries(ctx context.Context, since time.Time) ([]store.Sent, error) {
	var all []store.Sent
	cursor := ""
	for range maxPages {
		list, next, err := a.deliveries(ctx, cursor)
		if err != nil {
			return nil, fmt.Errorf("asking GitHub what it delivered: %w", err)
		}
		for _, d := range list {
			if d.DeliveredAt.Before(since) {
				return all, nil
			}
			if d.GUID != "" && d.ID > 0 {
				all = append(all, store.Sent{Attempt: d.ID, ID: d.GUID, Event: d.Event, At: d.DeliveredAt, Delivered: d.delivered()})
			}
		}
		if next == "" || next == cursor {
			return all, nil
		}
		cursor = next
	}
	return all, nil
}

// deliveries asks for a page of the log.
func (a *App) deliveries(ctx context.Context, cursor string) (list []attempt, next string, err error) {
	path, header := "app/hook/deliveries?per_page=100", map[string]string{}
	if cursor == "" {
		a.log.mu.Lock()
		defer a.log.mu.Unlock()
		if a.log.tag != "" {
			header["If-None-Match"] = a.log.tag
		}
	} else {
		path += "&cursor=" + url.QueryEscape(cursor)
	}
	answer, err := a.ask(ctx, http.MethodGet, path, header, nil, &list)
	if answer != nil && answer.StatusCode == http.StatusNotModified && cursor == "" {
		return a.log.list, a.log.next, nil
	}
	if err != nil {
		return nil, "", err
	}
	next = nextCursor(answer.Header)
	if cursor == "" {
		a.log.tag, a.log.list, a.log.next = answer.Header.Get("Etag"), list, next
	}
	return list, next, nil
}

// nextCursor is the cursor of the page that follows, empty if there is none. Nothing else of the address is believed.
func nextCursor(h http.Header) string {
	for _, link := range strings.Split(strings.Join(h.Values("Link"), ","), ",") {
		address, kind, _ := strings.Cut(link, ";")
		if !strings.Contains(kind, `rel="next"`) {
			continue
		}
		if u, err := url.Parse(strings.Trim(strings.TrimSpace(address), "<>")); err == nil {
			return u.Query().Get("cursor")
		}
	}
	return ""
}

// Redeliver implements webhook.DeliveryLog.
func (a *App) Redeliver(ctx context.Context, s store.Sent) error {
	_, err := a.ask(ctx, http.MethodPost, fmt.Sprintf("app/hook/deliveries/%d/attempts", s.Attempt), nil, nil, nil)
	var accepted *github.AcceptedError // how go-github tells of the status that says yes
	if err != nil && !errors.As(err, &accepted) {
		return fmt.Errorf("asking GitHub to deliver %s again: %w", s.ID, err)
	}
	return nil
}

// Fetch implements webhook.DeliveryLog. The body means what was sent; its bytes may be others.
func (a *App) Fetch(ctx context.Context, s store.Sent) (http.Header, []byte, error) {
	var d struct {
		GUID    string
		Event   string
		Request struct {
			Headers map[string]any
			Payload json.RawMessage
		}
	}
	if _, err := a.ask(ctx, http.MethodGet, "app/hook/deliveries/"+strconv.FormatInt(s.Attempt, 10), nil, nil, &d); err != nil {
		return nil, nil, fmt.Errorf("fetching delivery %s: %w", s.ID, err)
	}
	if d.GUID != s.ID || len(d.Request.Payload) == 0 || string(d.Request.Payload) == "null" {
		return nil, nil, fmt.Errorf("fetching delivery %s: GitHub does not have what it sent: %w", s.ID, store.ErrNotFound)
	}
	header := http.Header{}
	for name, value := range d.Request.Headers {
		if text, ok := value.(string); ok {
			header.Set(name, text)
		}
	}
	return header, d.Request.Payload, nil
}
