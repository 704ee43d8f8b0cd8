package githubtest

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A Delivery is an attempt to deliver an event, and what came of it. The zero value stands for an event that was not
// delivered because the app is not installed in the repository.
type Delivery struct {
	ID           int64         `json:"id"`
	GUID         string        `json:"guid"`
	Event        string        `json:"event"`
	Action       string        `json:"action"`
	Installation int64         `json:"installation"`
	Repository   int64         `json:"repository"`
	Redelivery   bool          `json:"redelivery"`
	At           time.Time     `json:"at"`
	Duration     time.Duration `json:"duration"`
	StatusCode   int           `json:"status_code"` // 0 if there was no answer
	Status       string        `json:"status"`      // in GitHub's words: OK, failed to connect to host, ...
	Header       http.Header   `json:"-"`
	Payload      []byte        `json:"-"`
	AnswerHeader http.Header   `json:"-"`
	AnswerBody   string        `json:"answer"`
}

// Succeeded reports whether the delivery was answered with a status below 300.
func (d *Delivery) Succeeded() bool { return d.StatusCode >= 200 && d.StatusCode < 300 }

// DeliverOptions make a delivery a special one; the zero value is an honest one.
type DeliverOptions struct {
	GUID      string            `json:"guid"`      // of an earlier delivery, to replay it; a new one if empty
	Unsigned  bool              `json:"unsigned"`  // without a signature
	Signature string            `json:"signature"` // instead of the right X-Hub-Signature-256
	Secret    string            `json:"secret"`    // to sign with, instead of the app's
	Header    map[string]string `json:"header"`    // replaces what would be sent; an empty value leaves a header out
}

// SetHook lets deliveries go to an address. With an empty one they fail, and can be found in the log of deliveries.
func (s *Server) SetHook(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = address
}

// Deliver sends any payload: a []byte or json.RawMessage as it is, anything else as JSON.
func (s *Server) Deliver(event string, payload any, o DeliverOptions) (Delivery, error) {
	body, err := forgetest.Payload(payload)
	if err != nil {
		return Delivery{}, err
	}
	d := Delivery{GUID: o.GUID, Event: event, Payload: body}
	var shape struct {
		Action       string             `json:"action"`
		Installation struct{ ID int64 } `json:"installation"`
		Repository   struct{ ID int64 } `json:"repository"`
	}
	if json.Unmarshal(body, &shape) == nil {
		d.Action, d.Installation, d.Repository = shape.Action, shape.Installation.ID, shape.Repository.ID
	}
	header := s.sign(body)
	if o.Secret != "" {
		header = signatures(o.Secret, body)
	}
	if o.Unsigned {
		header = map[string]string{"X-Hub-Signature": "", "X-Hub-Signature-256": ""}
	}
	if o.Signature != "" {
		header["X-Hub-Signature-256"] = o.Signature
	}
	maps.Copy(header, o.Header)
	return s.sendIn(d, header), nil
}

func (s *Server) sign(body []byte) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return signatures(s.secret, body)
}

func signatures(secret string, body []byte) map[string]string {
	mac := func(h func() hash.Hash) string {
		m := hmac.New(h, []byte(secret))
		m.Write(body)
		return hex.EncodeToString(m.Sum(nil))
	}
	return map[string]string{"X-Hub-Signature": "sha1=" + mac(sha1.New), "X-Hub-Signature-256": "sha256=" + mac(sha256.New)}
}

// send posts a delivery to the bot and keeps it in the log. Whatever goes wrong is in the delivery.
func (s *Server) send(d Delivery, header map[string]string, again bool) Delivery {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	return s.sendTo(hook, d, header, again)
}

func (s *Server) sendTo(hook string, d Delivery, header map[string]string, again bool) Delivery {
	s.mu.Lock()
	d.ID, d.At, d.Redelivery = s.nextIDLocked("delivery"), s.now(), again
	if d.GUID == "" {
		d.GUID = forgetest.NewGUID()
	}
	host := s.url
	s.mu.Unlock()
	d.StatusCode, d.Status, d.AnswerHeader, d.AnswerBody = 0, "", nil, ""
	d.Header = http.Header{}
	for name, value := range map[string]string{
		"Accept": "*/*", "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/0123456",
		"X-Github-Event": d.Event, "X-Github-Delivery": d.GUID, "X-Github-Hook-Id": strconv.Itoa(hookID),
		"X-Github-Hook-Installation-Target-Type": "integration", "X-Github-Hook-Installation-Target-Id": strconv.FormatInt(s.appID, 10),
		"X-Github-Enterprise-Host": hostOf(host), "X-Github-Enterprise-Version": "3.19.0",
	} {
		d.Header.Set(name, value)
	}
	for name, value := range header {
		d.Header.Del(name)
		if value != "" {
			d.Header.Set(name, value)
		}
	}
	begin := time.Now()
	s.post(hook, &d)
	d.Duration = time.Since(begin)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, &d)
	s.wakeLocked()
	if s.delivered != nil {
		s.delivered(d)
	}
	return d
}

// post makes the request of a delivery and notes the outcome in it.
func (s *Server) post(hook string, d *Delivery) {
	if hook == "" || strings.HasSuffix(hostOf(hook), ".invalid") { // which nobody has
		d.Status = "failed to connect to host"
		return
	}
	a, err := forgetest.Post(s.ctx, s.client, s.hookTimeout, hook, d.Header, d.Payload)
	d.StatusCode, d.AnswerHeader, d.AnswerBody = a.StatusCode, a.Header, a.Body
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.Status = "timed out"
	case err != nil:
		d.Status = "failed to connect to host"
	case d.Succeeded():
		d.Status = "OK"
	default:
		d.Status = fmt.Sprintf("Invalid HTTP Response: %d", d.StatusCode)
	}
}

// json is a delivery as the log of deliveries has it.
func (d *Delivery) json() object {
	o := object{"id": d.ID, "guid": d.GUID, "delivered_at": stamp(d.At), "redelivery": d.Redelivery, "duration": d.Duration.Seconds(),
		"status": d.Status, "status_code": d.StatusCode, "event": d.Event, "action": orNull(d.Action), "installation_id": nil, "repository_id": nil,
		"throttled_at": nil}
	if d.Installation != 0 {
		o["installation_id"] = d.Installation
	}
	if d.Repository != 0 {
		o["repository_id"] = d.Repository
	}
	return o
}

// flat writes headers as an object of texts.
func flat(h http.Header) object {
	o := object{}
	for name := range h {
		o[name] = h.Get(name)
	}
	return o
}

func jsonOf(payload []byte) any {
	var v any
	if json.Unmarshal(payload, &v) != nil {
		return nil
	}
	return v
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}
