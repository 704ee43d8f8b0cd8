package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"buildsmith/checks"
	"buildsmith/store"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v60/github"
)

const (
	// maxRedirects is how often one request is sent on. A repository that was renamed takes one.
	maxRedirects = 3
	// maxAnswer is the most bytes of an answer that are read.
	maxAnswer = 32 << 20
	// suspendedPause is how long nothing is asked of an installation that somebody has suspended.
	suspendedPause = 10 * time.Minute
)

// errSuspended says that somebody has suspended an installation. It may be let in again at any time: requests are made all the
// same, and whoever makes them waits in between.
var errSuspended = errors.New("the installation is suspended")

// do makes a request below a repository and decodes the answer into v. A 401 is tried once more with a new token, a question that
// was not answered a few times more. An answer that there is no such thing wraps store.ErrNotFound; that GitHub takes nothing of the
// installation for a while is a *checks.WaitError, and no request is made before its time.
func (a *App) do(ctx context.Context, r store.Repo, method, path string, body, v any) error {
	if method != http.MethodGet {
		return a.authorized(ctx, r, method, path, body, v)
	}
	return again(ctx, func() error { return a.authorized(ctx, r, method, path, body, v) })
}

// again does something that may be done twice, a few times if GitHub does not answer.
func again(ctx context.Context, do func() error) error { return checks.AskAgain(ctx, unanswered, do) }

// errToken says that GitHub gave no token, which it may another time.
var errToken = errors.New("GitHub gives no token for the installation")

// unanswered reports whether an error may pass soon: no answer came, or one that says that GitHub is in trouble.
func unanswered(err error) bool {
	var wait *checks.WaitError
	var failed *github.ErrorResponse
	switch {
	case err == nil, errors.As(err, &wait), errors.Is(err, store.ErrNotFound):
		return false
	case errors.As(err, &failed):
		return failed.Response.StatusCode >= http.StatusInternalServerError
	}
	return errors.Is(err, errToken) || checks.BrokenOff(err)
}

func (a *App) authorized(ctx context.Context, r store.Repo, method, path string, body, v any) error {
	err := a.once(ctx, r, method, path, body, v)
	var failed *github.ErrorResponse
	if errors.As(err, &failed) && failed.Response.StatusCode == http.StatusUnauthorized {
		a.forget(r.Installation)
		err = a.once(ctx, r, method, path, body, v)
		if errors.As(err, &failed) && failed.Response.StatusCode == http.StatusUnauthorized {
			if skew := checks.ClockSkew(failed.Response.Header); skew != "" {
				err = fmt.Errorf("%w (%s)", err, skew)
			}
		}
	}
	return err
}

func (a *App) once(ctx context.Context, r store.Repo, method, path string, body, v any) error {
	if wait := a.limits.Check(r.Installation); wait != nil {
		a.HeldBack.Add(1)
		return wait
	}
	c, err := a.client(r.Installation)
	if err != nil {
		return err
	}
	request, err := c.NewRequest(method, "repos/"+r.Name+path, body)
	if err != nil {
		return err
	}
	key := fmt.Sprint(r.Installation, " ", request.URL)
	known, conditional := a.answers.get(key)
	if conditional = conditional && method == http.MethodGet; conditional {
		request.Header.Set("If-None-Match", known.etag)
	}
	answer, err := a.exchange(c.Client(), request.WithContext(ctx))
	if err != nil {
		return a.noteLimit(r.Installation, nil, a.tellApart(err))
	}
	defer answer.Body.Close()
	if conditional && answer.StatusCode == http.StatusNotModified {
		a.Unchanged.Add(1)
		a.noteLimit(r.Installation, answer.Header, nil)
		return decode(known.body, v)
	}
	if err := github.CheckResponse(answer); err != nil {
		var accepted *github.AcceptedError
		if !errors.As(err, &accepted) {
			err = a.tellApart(err)
			return a.noteLimit(r.Installation, answer.Header, err)
		}
	}
	a.noteLimit(r.Installation, answer.Header, nil)
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading GitHub's answer to %s %s: %w", method, request.URL.Path, err)
	}
	if etag := answer.Header.Get("Etag"); method == http.MethodGet && etag != "" {
		a.answers.put(key, known200{etag: etag, body: text})
	}
	return decode(text, v)
}

func decode(text []byte, v any) error {
	if v == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decoding GitHub's answer: %w", err)
	}
	return nil
}

// exchange makes a request, and makes it again, with its method and body, where GitHub sends it on: a repository that was
// renamed or moved has another address. Nothing goes to another host.
func (a *App) exchange(client *http.Client, request *http.Request) (*http.Response, error) {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for hops := 0; ; hops++ {
		answer, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		switch answer.StatusCode {
		default:
			return answer, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		}
		answer.Body.Close()
		to, err := answer.Location()
		switch {
		case err != nil:
			return nil, fmt.Errorf("GitHub redirects %s %s: %w", request.Method, request.URL.Path, err)
		case to.Host != a.base.Host || to.Scheme != a.base.Scheme:
			// The transport adds the token to whatever it sends.
			return nil, fmt.Errorf("GitHub redirects to %s, which gets no token", to.Host)
		case hops == maxRedirects:
			return nil, fmt.Errorf("GitHub redirects %s %s more than %d times", request.Method, request.URL.Path, maxRedirects)
		}
		next := request.Clone(request.Context())
		next.URL = to
		if request.GetBody != nil {
			if next.Body, err = request.GetBody(); err != nil {
				return nil, err
			}
		}
		request = next
	}
}

// noteLimit is checks.Limits.Note. That an installation is suspended is no limit.
func (a *App) noteLimit(installation int64, h http.Header, err error) error {
	if errors.Is(err, errSuspended) {
		return err
	}
	return a.limits.Note(installation, h, err)
}

// tellApart gives an error what the program must know of it: that something is not there, or when to try again.
func (a *App) tellApart(err error) error {
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	var failed *github.ErrorResponse
	var token *ghinstallation.HTTPError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &primary):
		return &checks.WaitError{Until: a.limits.RetryAt(primary.Response.Header), Err: err}
	case errors.As(err, &secondary):
		return &checks.WaitError{Until: a.limits.RetryAt(secondary.Response.Header), Err: err}
	case errors.As(err, &failed):
		switch status := failed.Response.StatusCode; {
		case status == http.StatusTooManyRequests, status == http.StatusForbidden && failed.Response.Header.Get("Retry-After") != "":
			return &checks.WaitError{Until: a.limits.RetryAt(failed.Response.Header), Err: err}
		case status == http.StatusForbidden && strings.Contains(failed.Message, "suspended"):
			return &checks.WaitError{Until: a.Now().Add(suspendedPause), Err: fmt.Errorf("%w: %w", errSuspended, err)}
		case status == http.StatusNotFound, status == http.StatusGone:
			return fmt.Errorf("%w: %w", store.ErrNotFound, err)
		}
	case errors.As(err, &token):
		// The error leaves the body open, and its text can hold more than a log should.
		if token.Response != nil {
			token.Response.Body.Close()
			status, header := token.Response.StatusCode, token.Response.Header
			none := fmt.Errorf("%w: status %d", errToken, status)
			switch {
			case status == http.StatusNotFound:
				return fmt.Errorf("%w: the App is no longer installed there", store.ErrNotFound)
			case status == http.StatusTooManyRequests, status == http.StatusForbidden && (header.Get("Retry-After") != "" || header.Get("X-Ratelimit-Remaining") == "0"):
				return &checks.WaitError{Until: a.limits.RetryAt(header), Err: none}
			case status == http.StatusForbidden:
				return &checks.WaitError{Until: a.Now().Add(suspendedPause), Err: fmt.Errorf("%w: %w", errSuspended, none)}
			}
			return none
		}
	}
	return err
}
