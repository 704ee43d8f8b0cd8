package githubtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"buildsmith/checks/forgetest"
)

// A Request is an API request that the server has seen.
type Request = forgetest.Request

// A call is a request on its way through a handler.
type call struct {
	r      *http.Request
	params map[string]string
	body   []byte
	token  *Token
	repo   *repo // that the path names
}

// An answer is what a handler says. The body is written as JSON unless there is a raw one.
type answer struct {
	status      int
	header      map[string]string
	body        any
	raw         []byte
	contentType string
}

func ok(body any) *answer { return &answer{status: http.StatusOK, body: body} }

// problem is a refusal in GitHub's form.
func problem(status int, message string) *answer {
	return &answer{status: status, body: object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)}}
}

// broken says that the server itself is at fault.
func broken(err error) *answer { return problem(http.StatusInternalServerError, err.Error()) }

// number returns a parameter of the path that is a number; the description makes sure that it is one.
func (c *call) number(name string) int64 {
	n, _ := strconv.ParseInt(c.params[name], 10, 64)
	return n
}

func (c *call) queryNumber(name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(c.r.URL.Query().Get(name), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// decode reads the body, which may be missing where the description lets it.
func (c *call) decode(v any) *answer {
	if len(c.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return problem(http.StatusBadRequest, "Problems parsing JSON")
	}
	return nil
}

// pageOf answers with the page of a list that the query asks for: as it is, or below a key beside the count of all.
func pageOf(s *Server, c *call, list []object, key string) *answer {
	perPage := min(100, max(1, int(c.queryNumber("per_page", 30))))
	page := max(1, int(c.queryNumber("page", 1)))
	last := max(1, (len(list)+perPage-1)/perPage)
	from := min(len(list), (page-1)*perPage)
	part := list[from:min(len(list), from+perPage)]
	a := ok(part)
	if key != "" {
		a.body = object{"total_count": len(list), key: part}
	}
	link := func(page int, rel string) string {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(page))
		return fmt.Sprintf(`<%s%s?%s>; rel="%s"`, s.url, c.r.URL.EscapedPath(), q.Encode(), rel)
	}
	var links []string
	if page < last {
		links = append(links, link(page+1, "next"), link(last, "last"))
	}
	if page > 1 {
		links = append(links, link(1, "first"), link(page-1, "prev"))
	}
	if links != nil {
		a.header = map[string]string{"Link": strings.Join(links, ", ")}
	}
	return a
}

// largestBody is the size of the largest request that is read.
const largestBody = 8 << 20

// serveAPI answers an API request: log it, apply what tests inject, check it, do it.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestBody))
	if err != nil {
		http.Error(w, "the body cannot be read", http.StatusRequestEntityTooLarge)
		return
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), apiBase)
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	entry := Request{At: s.now(), Method: r.Method, Path: path, Token: credential, Body: string(body)}
	if r.URL.RawQuery != "" {
		entry.Path += "?" + r.URL.RawQuery
	}
	fault := s.faultFor(r.Context(), r.Method, path)
	var a *answer
	if fault.Status != 0 {
		a = &answer{status: fault.Status, header: fault.Header, raw: []byte(fault.Body), contentType: "application/json; charset=utf-8"}
	}
	if fault.Cut {
		a = &answer{} // which nobody gets
	}
	s.mu.Lock()
	found, params := s.contract.find(r.Method, s.withNamesLocked(path))
	if found != nil {
		entry.Operation = found.path
	}
	wrong := s.checkRequestLocked(r, path, body, found, params)
	if a == nil {
		a = s.answerLocked(r, path, body, found, params, wrong)
	}
	entry.Status, entry.Lost = a.status, fault.Lost
	if fault.Lost {
		entry.Status = 0
	}
	s.requests = append(s.requests, entry)
	s.wakeLocked()
	s.mu.Unlock()
	if fault.Lost || fault.Cut {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	s.write(w, r, a)
}

// answerLocked finds out who asks and whether they may, and lets the operation run.
func (s *Server) answerLocked(r *http.Request, path string, body []byte, found *route, params map[string]string, wrong []string) *answer {
	if found == nil {
		return problem(http.StatusNotFound, "Not Found")
	}
	token, refused := s.authenticateLocked(r, &found.operation)
	if refused != nil {
		return refused
	}
	limit := s.limitLocked(token)
	if found.path != "/rate_limit" && !limit.count(s.now()) {
		a := problem(http.StatusForbidden, "API rate limit exceeded for installation.")
		a.header = limit.header()
		return a
	}
	c := &call{r: r, params: params, body: body, token: token}
	if params["repo"] != "" {
		full := params["owner"] + "/" + params["repo"]
		if c.repo = s.repoLocked(full); c.repo == nil {
			if moved := s.repos[s.renamed[strings.ToLower(full)]]; moved != nil {
				return s.redirect(r, path, moved)
			}
			return problem(http.StatusNotFound, "Not Found")
		}
		if token != nil {
			if refused := s.authorizeLocked(token, c.repo, found.permission); refused != nil {
				return refused
			}
		}
		if c.repo.archived && r.Method != http.MethodGet {
			return problem(http.StatusForbidden, "Repository was archived so is read-only.")
		}
	} else if token != nil && !token.may(found.permission) {
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	if len(wrong) > 0 {
		return problem(http.StatusUnprocessableEntity, "Invalid request.\n\n"+strings.Join(wrong, "\n"))
	}
	a := found.run(s, c)
	if a.header == nil {
		a.header = map[string]string{}
	}
	maps.Copy(a.header, limit.header())
	if s.checkAnswers {
		s.checkAnswerLocked(r, found, params, a)
	}
	return a
}

// redirect sends a request for a renamed repository to where it is by its number, which never changes.
func (s *Server) redirect(r *http.Request, path string, moved *repo) *answer {
	rest := strings.Join(strings.Split(path, "/")[4:], "/")
	to := s.api("/repositories/%d", moved.id)
	if rest != "" {
		to += "/" + rest
	}
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	status := http.StatusMovedPermanently
	if s.temporary307 && r.Method != http.MethodGet {
		status = http.StatusTemporaryRedirect
	}
	return &answer{status: status, body: object{"message": "Moved Permanently", "url": to, "documentation_url": "https://docs.github.com/rest"},
		header: map[string]string{"Location": to}}
}

// withNamesLocked writes a path below /repositories/{id}, which the description leaves out, as the one below
// /repos/{owner}/{repo} that means the same.
func (s *Server) withNamesLocked(path string) string {
	rest, found := strings.CutPrefix(path, "/repositories/")
	if !found {
		return path
	}
	number, rest, more := strings.Cut(rest, "/")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return path
	}
	name := "-/-" // not found, and no path that GitHub does not know
	if r := s.repos[id]; r != nil {
		name = url.PathEscape(r.owner) + "/" + url.PathEscape(r.name)
	}
	if more {
		name += "/" + rest
	}
	return "/repos/" + name
}

// write sends an answer. A reader that says which version it has gets 304 if that is still the right one.
func (s *Server) write(w http.ResponseWriter, r *http.Request, a *answer) {
	body, contentType := a.raw, a.contentType
	if body == nil && a.body != nil {
		var buf bytes.Buffer
		encoder := json.NewEncoder(&buf)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(a.body); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		body, contentType = buf.Bytes(), "application/json; charset=utf-8"
	}
	h := w.Header()
	h.Set("X-Github-Request-Id", strings.ToUpper(forgetest.RandomHex(8)))
	h.Set("X-Github-Media-Type", "github.v3; format=json")
	h.Set("X-Github-Enterprise-Version", "3.19.0")
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	for name, value := range a.header {
		h.Set(name, value)
	}
	if r.Method == http.MethodGet && a.status == http.StatusOK {
		etag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(body))
		h.Set("Etag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.WriteHeader(a.status)
	w.Write(body) // the reader may have gone
}
