package web

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
)

// How much one search does before it gives what it has found; the reader may have it go on.
const (
	maxMatches  = 100
	maxSearched = 128 << 20 // bytes
	maxSearch   = 2 * time.Second
	maxQuery    = 200      // bytes
	maxSought   = 64 << 10 // bytes of a line
	excerptSide = 60       // characters on each side of a match
)

// A match is a line of a log that has what was searched for.
type match struct {
	Line                 int
	Before, Found, After string
	URL                  string
}

// searchData is what the page search shows.
type searchData struct {
	Query   string
	Matches []match
	Next    string // the address where the search goes on; empty if it has come to the end
	Lines   int    // where the search stopped
	Whole   bool   // it began at the beginning and came to the end
	Path    string // of this page
	Back    string // of the build
	Key     string
	Name    string
}

// searchLog looks for a text in the whole log: ?q=. Upper and lower case of ASCII letters are the same to it. It answers
// with a page, or with the list alone (?part=1).
func (w *Web) searchLog(c echo.Context, v *visit) error {
	if v.build == nil {
		return errLink
	}
	query := c.QueryParam("q")
	offset, err := number(c, "from")
	if err != nil {
		return err
	}
	line, err := number(c, "line")
	if err != nil {
		return err
	}
	d := searchData{Query: query, Path: v.path("search"), Back: v.path(""), Key: v.key, Name: fmt.Sprintf("%s #%d", v.build.Project, v.build.Number)}
	switch {
	case len(query) > maxQuery:
		return problem{http.StatusBadRequest, "That is too long", fmt.Sprintf("Search for at most %d characters.", maxQuery)}
	case query != "":
		select {
		case w.search <- struct{}{}:
			defer func() { <-w.search }()
		default:
			return problem{http.StatusServiceUnavailable, "Too many searches", "Others search in logs just now. Try again in a moment."}
		}
		s := searcher{query: lower([]byte(query)), line: int(min(line, 1<<40)), offset: int64(min(offset, 1<<50)), ends: time.Now().Add(maxSearch)}
		f, err := w.Store.OpenLog(v.build.ID)
		if err != nil {
			return err
		}
		defer f.Close()
		more, err := s.run(f)
		if err != nil {
			return err
		}
		d.Matches, d.Lines, d.Whole = s.matches, s.line, !more && offset == 0
		for i := range d.Matches {
			m := &d.Matches[i]
			m.URL = v.path("", "line", m.Line) + "#L" + strconv.Itoa(m.Line)
		}
		if more {
			d.Next = v.path("search", "q", query, "from", s.offset, "line", s.line)
		}
	}
	if c.QueryParam("part") != "" {
		part, err := w.fragment("search", "results", d)
		if err != nil {
			return err
		}
		return c.HTML(http.StatusOK, string(part))
	}
	return w.render(c, http.StatusOK, v, "search", "Search: "+d.Name, d)
}

// A searcher looks through a log from a line on.
type searcher struct {
	query   []byte // in lower case
	offset  int64  // where the next line begins
	line    int    // lines before it
	ends    time.Time
	matches []match
	text    []byte
	small   []byte
}

// run searches until it has found or seen enough, and reports whether there is more to search.
func (s *searcher) run(f io.ReadSeeker) (more bool, err error) {
	if _, err := f.Seek(s.offset, io.SeekStart); err != nil {
		return false, err
	}
	r := bufio.NewReaderSize(f, maxSought)
	begun := s.offset
	for {
		chunk, err := r.ReadSlice('\n')
		if len(chunk) == 0 && errors.Is(err, io.EOF) {
			return false, nil
		}
		s.line++
		s.look(bytes.TrimSuffix(chunk, []byte{'\n'}))
		s.offset += int64(len(chunk))
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line is passed over
			chunk, err = r.ReadSlice('\n')
			s.offset += int64(len(chunk))
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if len(s.matches) >= maxMatches || s.offset-begun > maxSearched || s.line%1000 == 0 && time.Now().After(s.ends) {
			return true, nil
		}
	}
}

func (s *searcher) look(line []byte) {
	if bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r <= 0x9f || r == utf8.RuneError }) {
		s.text = plain(s.text[:0], line)
		line = s.text
	}
	s.small = append(s.small[:0], line...)
	at := bytes.Index(lower(s.small), s.query)
	if at < 0 {
		return
	}
	end := at + len(s.query)
	s.matches = append(s.matches, match{Line: s.line, Before: lastPart(line[:at]), Found: string(line[at:end]), After: firstPart(line[end:])})
}

// lower makes the ASCII letters of text small, in place.
func lower(text []byte) []byte {
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return text
}

func lastPart(text []byte) string {
	n := 0
	for at := len(text); at > 0; n++ {
		if n == excerptSide {
			return "…" + string(text[at:])
		}
		_, size := utf8.DecodeLastRune(text[:at])
		at -= size
	}
	return string(text)
}

func firstPart(text []byte) string {
	n := 0
	for at := range string(text) {
		if n++; n > excerptSide {
			return string(text[:at]) + "…"
		}
	}
	return string(text)
}
