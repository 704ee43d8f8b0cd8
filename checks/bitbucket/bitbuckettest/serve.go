package bitbuckettest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"buildsmith/checks/forgetest"
)

// A Request is an API request that the server has seen.
type Request = forgetest.Request

// An operation is an address of the API and what it does.
type operation struct {
	method, path string
	scope        string // what a token must have, in words of the flavour; empty for nothing
	run          func(s *Server, c *call) *answer

	// rule says what is wrong with a body, decoded from JSON, beyond what the description says. It may be nil.
	rule func(body any) []string

	pattern forgetest.Pattern // made of path
}

// A call is a request on its way through an operation, which runs with Server.mu held.
type call struct {
	r      *http.Request
	params map[string]string
	body   []byte
	token  *Token // nil if there is none
	user   *User  // of the token; nil if there is none
	repo   *repo  // that the path names
}

// An answer is what an operation says. The body is written as JSON unless there is a raw one.
type answer struct {
	status      int
	header      map[string]string
	body        any
	raw         []byte
	contentType string
}

func ok(body any) *answer { return &answer{status: http.StatusOK, body: body} }

func made(body any) *answer { return &answer{status: http.StatusCreated, body: body} }

func nothing() *answer { return &answer{status: http.StatusNoContent} }

// query returns a parameter of the query.
func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

// number returns a number of the query, not below least nor above most, or another one if there is none.
func (c *call) number(name string, otherwise, least, most int) int {
	n, err := strconv.Atoi(c.query(name))
	if err != nil {
		return otherwise
	}
	return min(most, max(least, n))
}

// param returns a number of the path, 0 if it is none.
func (c *call) param(name string) int64 {
	n, err := strconv.ParseInt(c.params[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// decode reads the body; the description has made sure that it is right.
func (c *call) decode(v any) error { return json.Unmarshal(c.body, v) }

// requestMishaps are the ways in which chaos fails a request.
var requestMishaps = []forgetest.RequestMishap{
	{What: "500", Fault: Fault{Status: http.StatusInternalServerError, Body: `{"type": "error", "error": {"message": "Something went wrong"}}`}},
	{What: "502", Fault: Fault{Status: http.StatusBadGateway, Body: "<html>Bad gateway</html>"}},
	{What: "503", Fault: Fault{Status: http.StatusServiceUnavailable, Body: "<html>Bitbucket is temporarily unavailable</html>"}},
	{What: "429", Fault: RateLimit(time.Second)},
	{What: "cut before", Fault: Fault{Cut: true}},
	{What: "answer lost", Fault: Fault{Lost: true}},
}

// A Fault is something that goes wrong with requests to come.
type Fault = forgetest.Fault

// Chaos is a Bitbucket on a bad day.
type Chaos = forgetest.Chaos

// A Mishap is something that Chaos did.
type Mishap = forgetest.Mishap

// RateLimit is the refusal of a request that is one too many. Without a time it does not say when to come back, as Cloud
// often does.
func RateLimit(retryAfter time.Duration) Fault {
	f := Fault{Status: http.StatusTooManyRequests, Body: `{"type": "error", "error": {"message": "Rate limit for this resource has been exceeded"}}`}
	if retryAfter > 0 {
		f.Header = map[string]string{"Retry-After": strconv.Itoa(int(retryAfter.Seconds()))}
	}
	return f
}

// Inject lets requests to come fail. The path of a fault is matched with the path of the request without the base path of
// the API, such as /repositories/octo/shop/hooks, or with the path of a git request, such as /octo/shop.git/info/refs.
func (s *Server) Inject(f Fault) error { return s.faults.Inject(f) }

// ClearFaults forgets the faults that have not met their requests yet, and returns how many there were.
func (s *Server) ClearFaults() int { return s.faults.Clear() }

// SetChaos begins a bad day, or ends it with the zero value. The mishaps so far stay.
func (s *Server) SetChaos(c Chaos) error { return s.weather.Set(c) }

// Mishaps returns what chaos did so far, the oldest first.
func (s *Server) Mishaps() []Mishap { return s.weather.Mishaps() }

// ServeHTTP serves the API, git, and the control addresses if they are open.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, s.flavor.base()+"/"):
		s.serveAPI(w, r)
	case s.control && strings.HasPrefix(r.URL.Path, forgetest.ControlBase):
		forgetest.Control[*Server]{Acts: controlActs(), Reads: controlReads}.Serve(s, w, r)
	case !s.flavor.outside(s, w, r):
		s.serveGit(w, r)
	}
}

// nothingHere answers a request for neither the API nor git. It is a violation unless it is a person's who follows a link.
func (s *Server) nothingHere(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		s.mu.Lock()
		s.violateLocked(r, r.URL.Path, "there is nothing but what is below %s and repositories of git", s.flavor.base())
		s.wakeLocked()
		s.mu.Unlock()
	}
	http.NotFound(w, r)
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
	path := strings.TrimPrefix(r.URL.EscapedPath(), s.flavor.base())
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	entry := Request{At: s.now(), Method: r.Method, Path: path, Token: credential, Body: string(body)}
	if r.URL.RawQuery != "" {
		entry.Path += "?" + r.URL.RawQuery
	}
	fault := s.faults.For(r.Context(), s.weather, r.Method, path)
	var a *answer
	if fault.Status != 0 {
		a = &answer{status: fault.Status, header: fault.Header, raw: []byte(fault.Body), contentType: "application/json; charset=utf-8"}
	}
	if fault.Cut {
		a = &answer{} // which nobody gets
	}
	s.mu.Lock()
	found, params := s.contract.find(r.Method, s.flavor.canonical(path))
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
	write(w, a)
}

// answerLocked finds out who asks and whether they may, and lets the operation run.
func (s *Server) answerLocked(r *http.Request, path string, body []byte, found *operation, params map[string]string, wrong []string) *answer {
	token, refused := s.flavor.authenticate(s, r)
	if refused != nil {
		return refused
	}
	if !s.countLocked(token, path) {
		return s.flavor.refusal(http.StatusTooManyRequests, "Rate limit for this resource has been exceeded")
	}
	if found == nil {
		return s.flavor.refusal(http.StatusNotFound, "Resource not found")
	}
	c := &call{r: r, params: params, body: body, token: token}
	if token != nil {
		token.Used++
		c.user = s.userLocked(token.User)
	}
	name := s.flavor.repoName(params)
	if name != "" {
		c.repo = s.repoLocked(name)
		if c.repo == nil || !s.reachesLocked(token, c.repo) {
			return s.flavor.unreachable(token, c.repo, name)
		}
	}
	if refused := s.flavor.authorize(s, token, found, c.repo); refused != nil {
		return refused
	}
	if len(wrong) > 0 {
		return s.flavor.refusal(http.StatusBadRequest, strings.Join(wrong, "\n"))
	}
	a := found.run(s, c)
	if s.checkAnswers {
		s.checkAnswerLocked(r, found, params, a)
	}
	if f, ok := s.flavor.(partial); ok {
		a = f.pick(a, c.query("fields"))
	}
	return a
}

// countLocked counts a request against the limit of an hour, and reports whether there was room for it.
func (s *Server) countLocked(t *Token, path string) bool {
	if !s.flavor.limited(path) {
		return true
	}
	who, most := "", min(60, s.limit) // without a token
	if t != nil {
		who, most = t.User, s.limit
	}
	ago := s.now().Add(-time.Hour)
	times := s.used[who]
	for len(times) > 0 && times[0].Before(ago) {
		times = times[1:]
	}
	s.used[who] = times
	if len(times) >= most {
		return false
	}
	s.used[who] = append(times, s.now())
	return true
}

// write sends an answer.
func write(w http.ResponseWriter, a *answer) {
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
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
	w.Write(body) // the reader may have gone
}

// absolute reports whether a text is an address of the web.
func absolute(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
