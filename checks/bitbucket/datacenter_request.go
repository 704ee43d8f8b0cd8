package bitbucket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"buildsmith/store"
)

// A dcRequest is a request about a repository.
type dcRequest struct {
	method string              // GET if it is empty
	where  func(*place) string // the path of what is asked
	query  url.Values
	body   any
	quiet  bool // see request
}

// inRepo is something of a repository, at one of Data Center's services: api, insights and others.
func inRepo(service, rest string) func(*place) string {
	return func(p *place) string {
		_, slug, _ := strings.Cut(p.name, "/")
		return inProject(service, "/repos/"+url.PathEscape(slug)+rest)(p)
	}
}

// inProject is something of a repository's project.
func inProject(service, rest string) func(*place) string {
	return func(p *place) string {
		key, _, _ := strings.Cut(p.name, "/")
		return "/" + service + "/latest/projects/" + url.PathEscape(key) + rest
	}
}

// anywhere is something of no repository.
func anywhere(path string) func(*place) string { return func(*place) string { return path } }

// ask makes a request with the credential of a repository, at the place where it is now, and decodes the answer into v. If there is no
// such thing, it is made sure once more where that is.
func (d *dataCenter) ask(ctx context.Context, r store.Repo, q dcRequest, v any) error {
	_, err := d.answer(ctx, r, q, v)
	return err
}

func (d *dataCenter) answer(ctx context.Context, r store.Repo, q dcRequest, v any) (*answer, error) {
	c, err := d.h.of(r)
	if err != nil {
		return nil, err
	}
	for {
		p, err := d.identify(ctx, r)
		if err != nil {
			return nil, err
		}
		path := q.where(&p)
		if len(q.query) > 0 {
			path += "?" + q.query.Encode()
		}
		a, err := d.h.send(ctx, c, request{method: cmp.Or(q.method, http.MethodGet), path: path, body: q.body, quiet: q.quiet}, v)
		if errors.Is(err, store.ErrNotFound) && d.doubt(r) {
			if now, moved := d.identify(ctx, r); moved != nil {
				return nil, moved
			} else if now.name != p.name {
				continue
			}
		}
		return a, err
	}
}

// get asks something of a repository.
func (d *dataCenter) get(ctx context.Context, r store.Repo, rest string, query url.Values, v any) error {
	return d.ask(ctx, r, dcRequest{where: inRepo("api", rest), query: query}, v)
}

// A dcPage is a page of a list.
type dcPage[T any] struct {
	Values []T
	Last   bool `json:"isLastPage"`
	Next   int  `json:"nextPageStart"`
}

// Sizes of pages. Those of small things are the longest that Data Center gives.
const (
	dcManyThings = 1000 // names and hashes
	dcFewThings  = 50   // with texts of people's
)

// errPages says that a list has more pages than are read.
var errPages = fmt.Errorf("the list has more than %d pages, which is more than are read", maxPages)

// pages reads a list page by page until each has enough. A page that is too long is asked for in smaller ones; a thing that is too
// long alone is left out.
func pages[T any](ctx context.Context, ask func(ctx context.Context, query string, v any) error, query url.Values, limit int, each func(T) bool) error {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	start := 0
	for range maxPages {
		query.Set("start", strconv.Itoa(start))
		query.Set("limit", strconv.Itoa(limit))
		var page dcPage[T]
		err := ask(ctx, query.Encode(), &page)
		switch {
		case errors.Is(err, errTooLarge) && limit == 1:
			start++
			continue
		case errors.Is(err, errTooLarge):
			limit = max(1, limit/10)
			continue
		case err != nil:
			return err
		}
		for _, v := range page.Values {
			if !each(v) {
				return nil
			}
		}
		if page.Last || page.Next <= start {
			return nil
		}
		start = page.Next
	}
	return errPages
}

// walk reads a list with the credential of a repository.
func walk[T any](ctx context.Context, d *dataCenter, r store.Repo, q dcRequest, limit int, each func(T) bool) error {
	return pages(ctx, func(ctx context.Context, query string, v any) error {
		paged := q
		paged.query, _ = url.ParseQuery(query)
		return d.ask(ctx, r, paged, v)
	}, q.query, limit, each)
}

// denied reports whether an error says that a right is missing.
func denied(err error) bool { return statusOf(err) == http.StatusForbidden }

// dcErrors is an answer that is no success.
type dcErrors struct {
	Errors []struct{ Message, ExceptionName string }
}

// words names no rights: what Data Center says of them is in its words.
func (d *dataCenter) words(body []byte) (text string, rights []string) {
	var said dcErrors
	if json.Unmarshal(body, &said) != nil {
		return "", nil
	}
	var texts []string
	for _, e := range said.Errors {
		if message := strings.Join(strings.Fields(e.Message), " "); message != "" {
			texts = append(texts, message)
		}
	}
	return strings.Join(texts, "; "), nil
}

// meant implements translator. Many versions say that nobody is authorised to somebody whom they know, but who lacks a right.
func (d *dataCenter) meant(status int, body []byte) int {
	var said dcErrors
	if status != http.StatusUnauthorized || json.Unmarshal(body, &said) != nil {
		return status
	}
	for _, e := range said.Errors {
		if strings.HasSuffix(e.ExceptionName, ".AuthorisationException") {
			return http.StatusForbidden
		}
	}
	return status
}
