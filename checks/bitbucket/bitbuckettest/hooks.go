package bitbuckettest

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A Hook is an address that is told of events.
type Hook struct {
	ID         int64     `json:"id"`         // Data Center's
	UUID       string    `json:"uuid"`       // Cloud's, without braces
	Repository string    `json:"repository"` // empty for one of a project
	Project    string    `json:"project"`    // of Data Center: for all repositories of it
	Name       string    `json:"name"`       // the description of Cloud
	URL        string    `json:"url"`
	Secret     string    `json:"secret"` // without one deliveries are not signed
	Active     bool      `json:"active"`
	Events     []string  `json:"events"` // in words of the flavour
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`

	// Authorization is the header of its deliveries on Data Center, if it has a user and a password.
	Authorization string `json:"authorization"`

	// VerifySSL is what Data Center calls sslVerificationRequired; the address of a test has no certificate.
	VerifySSL bool `json:"verify_ssl"`

	repo *repo
}

// A Delivery is an attempt to deliver an event to a hook, and what came of it. The zero value stands for an event that no
// hook was told of.
type Delivery struct {
	GUID         string        `json:"guid"` // X-Request-UUID of Cloud, X-Request-Id of Data Center
	Event        string        `json:"event"`
	Hook         string        `json:"hook"`    // its address
	Attempt      int           `json:"attempt"` // 1 for the first
	Repository   string        `json:"repository"`
	At           time.Time     `json:"at"`
	Duration     time.Duration `json:"duration"`
	StatusCode   int           `json:"status_code"` // 0 if there was no answer
	Status       string        `json:"status"`      // OK, lost, too large, timed out, dropped, failed to connect, ...
	Header       http.Header   `json:"-"`
	Payload      []byte        `json:"-"`
	AnswerHeader http.Header   `json:"-"`
	AnswerBody   string        `json:"answer"`
}

// Succeeded reports whether the delivery was answered with a status below 300.
func (d *Delivery) Succeeded() bool { return d.StatusCode >= 200 && d.StatusCode < 300 }

// AddHook registers a hook of a repository, as its administrator, or of a project if Hook.Project is given and repo is not.
func (s *Server) AddHook(repo string, h Hook) (Hook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if repo == "" && h.Project != "" {
		return *s.addHookLocked(nil, h), nil
	}
	r, err := s.namedRepoLocked(repo)
	if err != nil {
		return Hook{}, err
	}
	return *s.addHookLocked(r, h), nil
}

func (s *Server) addHookLocked(r *repo, h Hook) *Hook {
	h.ID, h.UUID, h.repo, h.Created, h.Updated = s.nextIDLocked("hook"), forgetest.NewGUID(), r, s.now(), s.now()
	h.Events = slices.Clone(h.Events)
	if r != nil {
		h.Repository, h.Project = s.flavor.fullName(r), ""
	}
	s.hooks = append(s.hooks, &h)
	s.wakeLocked()
	return &h
}

// removeHookLocked forgets a hook.
func (s *Server) removeHookLocked(gone *Hook) {
	s.hooks = slices.DeleteFunc(s.hooks, func(h *Hook) bool { return h == gone })
}

// Hooks returns the hooks of a repository, with those of its project.
func (s *Server) Hooks(repo string) []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repoLocked(repo)
	var list []Hook
	for _, h := range s.hooks {
		if r != nil && h.of(r) {
			list = append(list, *h)
		}
	}
	return list
}

// of reports whether a hook is told of what happens in a repository.
func (h *Hook) of(r *repo) bool {
	return h.repo == r || h.repo == nil && strings.EqualFold(h.Project, r.project)
}

// SetHook lets what all hooks are told go to another address from now on; the hooks are still what they are registered as.
func (s *Server) SetHook(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		h.URL = address
	}
}

// Lose lets the next n deliveries not arrive. They are in the log as lost.
func (s *Server) Lose(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = n
}

// A letter is a delivery and the hook that it goes to.
type letter struct {
	hook Hook
	Delivery
}

// tell changes something and delivers the events of it to all hooks that want them. It returns how the first hook answered the
// first event.
func (s *Server) tell(change func() ([]event, error)) (Delivery, error) {
	letters, err := s.write(change)
	if err != nil {
		return Delivery{}, err
	}
	var first Delivery
	for i, l := range letters {
		if d := s.sendIn(l); i == 0 {
			first = d
		}
	}
	return first, nil
}

// tellLater delivers events that an answer must not wait for.
func (s *Server) tellLater(events ...event) {
	s.later(func() { s.tell(func() ([]event, error) { return events, nil }) })
}

// write changes something and writes the letters of its events.
func (s *Server) write(change func() ([]event, error)) (letters []letter, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, err := change()
	if err != nil {
		return nil, err
	}
	s.wakeLocked()
	for _, e := range events {
		e.at = s.now()
		key, payload, err := s.flavor.event(s, e)
		if err != nil {
			return nil, fmt.Errorf("telling of a %s: %w", e.kind, err)
		}
		if key == "" {
			continue
		}
		if s.checkAnswers {
			s.checkPayloadLocked(key, payload)
		}
		body, err := forgetest.Payload(payload)
		if err != nil {
			return nil, err
		}
		for _, h := range s.hooks {
			if h.of(e.repo) && h.Active && slices.Contains(h.Events, key) {
				letters = append(letters, letter{*h, Delivery{Event: key, Repository: s.flavor.fullName(e.repo), Payload: body}})
			}
		}
		if e.kind == repoDeleted {
			s.hooks = slices.DeleteFunc(s.hooks, func(h *Hook) bool { return h.repo == e.repo })
		}
	}
	return letters, nil
}

// DeliverOptions make a delivery a special one; the zero value is an honest one.
type DeliverOptions struct {
	GUID      string            `json:"guid"`      // of an earlier delivery, to replay it; a new one if empty
	Unsigned  bool              `json:"unsigned"`  // without a signature
	Signature string            `json:"signature"` // instead of the right X-Hub-Signature
	Secret    string            `json:"secret"`    // to sign with, instead of the hook's
	Header    map[string]string `json:"header"`    // replaces what would be sent; an empty value leaves a header out
}

// Deliver sends any payload, a []byte or json.RawMessage as it is and anything else as JSON, to the first hook of a
// repository, or the first of all if none is named.
func (s *Server) Deliver(repo, eventKey string, payload any, o DeliverOptions) (Delivery, error) {
	body, err := forgetest.Payload(payload)
	if err != nil {
		return Delivery{}, err
	}
	s.mu.Lock()
	r := s.repoLocked(repo)
	i := slices.IndexFunc(s.hooks, func(h *Hook) bool { return repo == "" || r != nil && h.of(r) })
	var hook Hook
	if i >= 0 {
		hook = *s.hooks[i]
	}
	s.mu.Unlock()
	if i < 0 {
		return Delivery{}, errors.New("there is no hook to deliver to")
	}
	hook.Secret = cmp.Or(o.Secret, hook.Secret)
	header := map[string]string{}
	if o.Unsigned {
		header["X-Hub-Signature"] = ""
	}
	if o.Signature != "" {
		header["X-Hub-Signature"] = o.Signature
	}
	for name, value := range o.Header {
		header[http.CanonicalHeaderKey(name)] = value
	}
	return s.sendTimes(letter{hook, Delivery{GUID: o.GUID, Event: eventKey, Repository: hook.Repository, Payload: body}}, header, 1), nil
}

// Ping sends the event of the button that tests a hook to the first hook of a repository. Only Data Center has one.
func (s *Server) Ping(repo string) (Delivery, error) {
	s.mu.Lock()
	key, payload, err := s.flavor.event(s, event{kind: diagnosticsPing, at: s.now()})
	s.mu.Unlock()
	if err == nil && key == "" {
		err = errors.New("Bitbucket Cloud has no button that tests a hook")
	}
	if err != nil {
		return Delivery{}, err
	}
	return s.Deliver(repo, key, payload, DeliverOptions{Unsigned: true})
}

// sendIn sends a letter as the weather, what is to be lost and its size let it.
func (s *Server) sendIn(l letter) Delivery {
	l.GUID = cmp.Or(l.GUID, forgetest.NewGUID())
	s.mu.Lock()
	lost := s.lose > 0
	if lost {
		s.lose--
	}
	s.mu.Unlock()
	if lost {
		return s.log(l.Delivery, l.hook, "lost")
	}
	if s.breaker.skips(l.hook.ID, s.now()) {
		return s.log(l.Delivery, l.hook, "skipped")
	}
	if most := s.flavor.largest(); most > 0 && len(l.Payload) > most {
		return s.log(l.Delivery, l.hook, "too large")
	}
	var sent *Delivery
	switch s.weather.Deliver(l.Event+" "+l.GUID, func() {
		if now := s.sendTimes(l, nil, s.flavor.attempts()); sent == nil {
			sent = &now
		}
	}) {
	case forgetest.Dropped:
		return s.log(l.Delivery, l.hook, "dropped")
	case forgetest.Held:
		held := l.Delivery // which is still to be sent as it is
		held.Status = "held back"
		return held
	}
	return *sent
}

// log keeps a delivery that nobody has got.
func (s *Server) log(d Delivery, h Hook, status string) Delivery {
	d.At, d.Hook, d.Status = s.now(), h.URL, status
	s.keep(d)
	return d
}

func (s *Server) keep(d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, &d)
	s.wakeLocked()
	if s.delivered != nil {
		s.delivered(d)
	}
}

// sendTimes sends a letter until it is answered well, a number of times at most, and returns the last attempt.
func (s *Server) sendTimes(l letter, header map[string]string, most int) Delivery {
	l.GUID = cmp.Or(l.GUID, forgetest.NewGUID())
	for attempt := 1; ; attempt++ {
		d := l.Delivery
		d.Attempt, d.At, d.Hook = attempt, s.now(), l.hook.URL
		d.Header = http.Header{"Accept": {"*/*"}, "Content-Type": {"application/json; charset=utf-8"}}
		all := s.flavor.hookHeaders(l.hook, d)
		if l.hook.Secret != "" {
			all["X-Hub-Signature"] = Sign(l.hook.Secret, d.Payload)
		}
		for _, from := range []map[string]string{all, header} {
			for name, value := range from {
				d.Header.Del(name)
				if value != "" {
					d.Header.Set(name, value)
				}
			}
		}
		begin := time.Now()
		s.post(l.hook.URL, &d)
		d.Duration = time.Since(begin)
		s.keep(d)
		s.breaker.note(l.hook.ID, d.Succeeded(), s.now())
		if d.Succeeded() || attempt >= most || s.ctx.Err() != nil {
			return d
		}
		select {
		case <-time.After(s.retryAfter):
		case <-s.ctx.Done():
		}
	}
}

// Sign is the signature of a payload, as both flavours send it in X-Hub-Signature.
func Sign(secret string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// post makes the request of a delivery and notes the outcome in it.
func (s *Server) post(address string, d *Delivery) {
	a, err := forgetest.Post(s.ctx, s.client, s.hookTimeout, address, d.Header, d.Payload)
	d.StatusCode, d.AnswerHeader, d.AnswerBody = a.StatusCode, a.Header, a.Body
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		d.Status = "timed out"
	case err != nil:
		d.Status = "failed to connect"
	case d.Succeeded():
		d.Status = "OK"
	default:
		d.Status = fmt.Sprintf("%d %s", a.StatusCode, http.StatusText(a.StatusCode))
	}
}
