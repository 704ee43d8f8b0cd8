package bitbucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"
)

const (
	// maxRedirects is how often one request is sent on. A repository that was renamed takes one.
	maxRedirects = 3
	// maxAnswer is the most bytes of an answer that are read.
	maxAnswer = 1 << 20
	// maxPages is how many pages of a list are read.
	maxPages = 100
	// userAgent is what Bitbucket sees of us.
	userAgent = "buildsmith"
)

// errTooLarge says that an answer is more than is read.
var errTooLarge = fmt.Errorf("the answer has more than %d bytes, which is more than is read", maxAnswer)

// A translator is an api of a Bitbucket whose statuses do not all mean what they say elsewhere.
type translator interface {
	// meant gives the status that an answer would have elsewhere.
	meant(status int, body []byte) int
}

// A failure is an answer that is no success.
type failure struct {
	status       int
	method, path string   // the path without what changes from request to request
	text         string   // Bitbucket's words
	rights       []string // the scopes that it names
}

func (f *failure) Error() string {
	text := fmt.Sprintf("%s %s: status %d", f.method, f.path, f.status)
	if f.text != "" {
		text += ", " + f.text
	}
	if len(f.rights) > 0 {
		text += "; it takes " + strings.Join(f.rights, ", ")
	}
	return text
}

// statusOf is the status of an answer that is no success, 0 of any other error.
func statusOf(err error) int {
	var failed *failure
	if errors.As(err, &failed) {
		return failed.status
	}
	return 0
}

// A request is one below Config.API.
type request struct {
	method string
	path   string // escaped, with its query
	body   any    // becomes JSON; nil for none
	header http.Header
	quiet  bool // Config.Refused is not told: whoever asks goes on without, or tells it in its own words
}

// An answer is one that says that something was done.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes a request with a credential and decodes the answer into v. One without authority is tried once more with a new token, a
// question that was not answered a few times more. An answer that there is no such thing wraps store.ErrNotFound; that Bitbucket takes
// nothing for a while is a *checks.WaitError, and no request is made with the credential before its time; any other that is no success is a
// *failure.
func (h *Host) do(ctx context.Context, c *credential, method, path string, body, v any) error {
	_, err := h.send(ctx, c, request{method: method, path: path, body: body}, v)
	return err
}

// send is do of a request with more to it, and gives the answer.
func (h *Host) send(ctx context.Context, c *credential, q request, v any) (a *answer, err error) {
	if q.method != http.MethodGet {
		a, err = h.authorized(ctx, c, q)
	} else {
		err = checks.AskAgain(ctx, unanswered, func() (err error) {
			a, err = h.authorized(ctx, c, q)
			return err
		})
	}
	if err != nil || v == nil || len(a.body) == 0 {
		return a, err
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		return a, fmt.Errorf("%s %s: the answer is not what Bitbucket describes: %w", q.method, pattern(q.path), err)
	}
	return a, nil
}

// unanswered reports whether an error may pass soon: no answer came, or one that says that Bitbucket is in trouble.
func unanswered(err error) bool {
	var wait *checks.WaitError
	switch {
	case errors.As(err, &wait):
		return false
	case statusOf(err) != 0:
		return statusOf(err) >= http.StatusInternalServerError
	}
	return errors.Is(err, errToken) || checks.BrokenOff(err)
}

func (h *Host) authorized(ctx context.Context, c *credential, q request) (*answer, error) {
	if err := h.limits.Check(c.account); err != nil {
		h.HeldBack.Add(1)
		return nil, err
	}
	token, err := c.token(ctx)
	if err != nil {
		return nil, h.limits.Note(c.account, nil, err)
	}
	a, err := h.once(ctx, c, q, token)
	if statusOf(err) == http.StatusUnauthorized && c.forget(token) {
		if token, err = c.token(ctx); err != nil {
			return nil, h.limits.Note(c.account, nil, err)
		}
		a, err = h.once(ctx, c, q, token)
	}
	return a, err
}

func (h *Host) once(ctx context.Context, c *credential, q request, token string) (*answer, error) {
	var body []byte
	if q.body != nil {
		var err error
		if body, err = json.Marshal(q.body); err != nil {
			return nil, err
		}
	}
	u, err := url.Parse(h.API + q.path)
	if err != nil || !h.within(u) {
		return nil, fmt.Errorf("%s is no path below Bitbucket's API", pattern(q.path))
	}
	got, err := h.exchange(ctx, c, q, u, body, token)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading Bitbucket's answer to %s %s: %w", q.method, pattern(q.path), err)
	case got.StatusCode >= 200 && got.StatusCode < 300 && len(text) > maxAnswer:
		return nil, fmt.Errorf("%s %s: %w", q.method, pattern(q.path), errTooLarge)
	case got.StatusCode >= 200 && got.StatusCode < 300:
		h.limits.Note(c.account, got.Header, nil)
		return &answer{got.StatusCode, got.Header, text}, nil
	}
	return &answer{got.StatusCode, got.Header, text}, h.limits.Note(c.account, got.Header, h.tellApart(c, q, got, text))
}

// within reports whether an address is below that of the API: others get no token.
func (h *Host) within(u *url.URL) bool {
	path := u.EscapedPath()
	return u.Scheme == h.base.Scheme && u.Host == h.base.Host && u.User == nil && strings.HasPrefix(path, h.base.EscapedPath()+"/") &&
		!slices.ContainsFunc(strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' || r == '\\' }), func(part string) bool { return part == ".." })
}

// below is the path of an address that an answer names, as a request has it. An error says that it leads elsewhere.
func (h *Host) below(address string) (path string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("Bitbucket names an address that is none")
	}
	if u = h.base.ResolveReference(u); !h.within(u) {
		return "", fmt.Errorf("Bitbucket leads to %s, which gets no token", clip(u.Scheme+"://"+u.Host, 200))
	}
	path = strings.TrimPrefix(u.EscapedPath(), h.base.EscapedPath())
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path, nil
}

// exchange makes a request, and makes it again, with its method and body, where Bitbucket sends it on: a repository that was renamed or
// moved has another address. Nothing goes to another host.
func (h *Host) exchange(ctx context.Context, c *credential, q request, u *url.URL, body []byte, token string) (*http.Response, error) {
	for hops := 0; ; hops++ {
		r, err := http.NewRequestWithContext(ctx, q.method, u.String(), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set("User-Agent", userAgent)
		r.Header.Set("Accept", "application/json")
		if q.body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		for name, values := range q.header {
			r.Header[name] = values
		}
		if user := h.api.basic(c); user != "" {
			r.SetBasicAuth(user, token)
		} else {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		h.Requests.Add(1)
		if q.method != http.MethodGet {
			h.Writes.Add(1)
		}
		got, err := h.client.Do(r)
		if err != nil {
			h.Failures.Add(1)
			return nil, unaddressed(q, err)
		}
		h.notice(c, got)
		switch got.StatusCode {
		default:
			if got.StatusCode >= 400 {
				h.Failures.Add(1)
			}
			return got, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		}
		got.Body.Close()
		to, err := got.Location()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s %s: Bitbucket sends the request on to nowhere", q.method, pattern(q.path))
		case !h.within(to):
			return nil, fmt.Errorf("%s %s: Bitbucket sends the request on to %s, which gets no token", q.method, pattern(q.path), clip(to.Scheme+"://"+to.Host, 200))
		case hops == maxRedirects:
			return nil, fmt.Errorf("%s %s: Bitbucket sends the request on more than %d times", q.method, pattern(q.path), maxRedirects)
		}
		u = to
	}
}

// unaddressed is an error of a request without its address, in which people's ids and names of files may be.
func unaddressed(q request, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("%s %s: %w", q.method, pattern(q.path), err)
}

var changing = regexp.MustCompile(`/((?i:%7b)[^/]*(?i:%7d)|\{[^/]*\}|[0-9a-f]{7,64}|[0-9]+|bs-[^/]*)(/|$)`)

// pattern is a path without what changes from request to request: ids, hashes, keys and the query.
func pattern(path string) string {
	path, _, _ = strings.Cut(path, "?")
	for range 2 { // what stands side by side shares a slash
		path = changing.ReplaceAllString(path, "/…$2")
	}
	return clip(path, 300)
}

// tellApart makes an error of an answer that is no success.
func (h *Host) tellApart(c *credential, q request, got *http.Response, body []byte) error {
	text, rights := h.api.words(body)
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	status := got.StatusCode
	if t, ok := h.api.(translator); ok {
		status = t.meant(status, body)
	}
	failed := &failure{status: status, method: q.method, path: pattern(q.path), text: clip(c.hide(checks.Plain(text)), 300), rights: rights}
	switch status {
	case http.StatusTooManyRequests:
		return &checks.WaitError{Until: h.limits.RetryAt(got.Header), Err: failed}
	case http.StatusNotFound, http.StatusGone:
		if status == http.StatusGone {
			h.tellRefused(c, q, failed)
		}
		return fmt.Errorf("%w: %w", store.ErrNotFound, failed)
	case http.StatusForbidden:
		h.tellRefused(c, q, failed)
	case http.StatusUnauthorized:
		if skew := checks.ClockSkew(got.Header); skew != "" {
			failed.text += " (" + skew + ")"
		}
		if c.Token != "" {
			failed.text = strings.TrimPrefix(failed.text+"; the token has expired, was revoked, or is of another kind", "; ")
			h.tellRefused(c, q, failed)
		}
	}
	return failed
}

// Skew is how far this machine's clock was ahead of Bitbucket's when it last answered; ok is false before it has.
func (h *Host) Skew() (skew time.Duration, ok bool) { return h.clock.Skew() }

// notice takes from an answer what people should know of it.
func (h *Host) notice(c *credential, got *http.Response) {
	h.clock.Note(got.Header)
	if left, err := strconv.Atoi(got.Header.Get("X-Ratelimit-Remaining")); err == nil {
		h.remaining.Store(c.number, left)
	}
}

// tellRefused tells Config.Refused that Bitbucket did not let us do something.
func (h *Host) tellRefused(c *credential, q request, failed *failure) {
	if !q.quiet {
		h.refused(c, failed.Error())
	}
}

// refused tells Config.Refused a text, at most once in a while of the same.
func (h *Host) refused(c *credential, text string) {
	if h.Refused != nil && h.refusals.News(c.number, text) {
		h.Refused(c.number, text)
	}
}
