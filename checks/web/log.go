package web

import (
	"cmp"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"buildsmith/store"

	"github.com/labstack/echo/v4"
)

const (
	chunkLines = 50

	// Elements that the colours of a line and of a chunk may take.
	lineSpans  = 40
	chunkSpans = 600

	// What a page has of the log when it is first painted.
	firstChunks   = 6
	firstElements = 2600

	// How much a request for chunks gets; the script asks again for those it did not get.
	maxChunksAsked = 40
	maxBytesAsked  = 4 << 20
	lookBack       = 64 << 10 // bytes before a chunk in which its first colour is looked for
)

// chunkOf is the number of the chunk that has a line.
func chunkOf(line int) int { return (line - 1) / chunkLines }

// A chunk is some lines of a log as HTML.
type chunk struct {
	N        int             `json:"n"`
	Lines    []template.HTML `json:"lines"`
	elements int
	bytes    int // of the log
}

// First is the number of the first line.
func (c chunk) First() int { return c.N*chunkLines + 1 }

// A logView renders the log of one build for one visit.
type logView struct {
	store *store.Store
	build string
	query string // what the links of lines carry: k, or nothing
	hit   int    // the line that the page was asked for
}

func (w *Web) logView(v *visit) logView {
	l := logView{store: w.Store, build: v.build.ID}
	if v.key != "" {
		l.query = "k=" + url.QueryEscape(v.key) + "&amp;"
	}
	return l
}

// chunk renders a chunk, and tells how many lines the log has. One behind the end of the log has no lines.
func (l logView) chunk(n int) (chunk, int, error) {
	c := chunk{N: n, Lines: []template.HTML{}}
	lines, total, err := l.store.Lines(l.build, c.First(), chunkLines)
	if err != nil || total < c.First() {
		return c, total, err
	}
	var s style
	if err := l.styleBefore(&s, c.First()); err != nil {
		return c, total, err
	}
	spans := chunkSpans
	var out strings.Builder
	for _, line := range lines {
		text, used, clipped := s.render(line.Text, min(lineSpans, spans))
		spans -= used
		c.bytes += len(line.Text)
		c.elements += used + 2
		out.Reset()
		class := "l"
		if line.Number == l.hit {
			class = "l hit"
		}
		fmt.Fprintf(&out, `<div class="%s" id="L%d"><a href="?%sline=%[2]d#L%[2]d">%[2]d</a>%[4]s`, class, line.Number, l.query, text)
		if clipped {
			offset, err := l.store.LineOffset(l.build, line.Number)
			if err != nil {
				return c, total, err
			}
			c.elements++
			fmt.Fprintf(&out, ` <a class="more" href="/builds/%s/log.txt?%sfrom=%d">… this line is longer: see the raw log</a>`, l.build, l.query, offset)
		}
		out.WriteString("</div>")
		c.Lines = append(c.Lines, template.HTML(out.String()))
	}
	return c, total, nil
}

// styleBefore sets the style that the lines before one leave, as far as it can be seen a little before it.
func (l logView) styleBefore(s *style, line int) error {
	if line == 1 {
		return nil
	}
	end, err := l.store.LineOffset(l.build, line)
	if err != nil {
		return err
	}
	f, err := l.store.OpenLog(l.build)
	if err != nil {
		return err
	}
	defer f.Close()
	start := max(0, end-lookBack)
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return err
	}
	text := make([]byte, end-start)
	if _, err := io.ReadFull(f, text); err != nil {
		return nil // the log was cut meanwhile
	}
	s.follow(text)
	return nil
}

// A logWindow is the part of a log that a page is sent with.
type logWindow struct {
	Chunks []chunk
	Total  int // lines of the log
	From   int // the first line here, 0 if there is none
	To     int
	Anchor int  // the line to be seen first
	Asked  bool // the page was asked for that line
	Size   int  // lines of a chunk
}

// Earlier and Later are lines to ask for to see what stands before and behind the window; 0 if there is nothing.
func (l logWindow) Earlier() int {
	if l.From <= 1 {
		return 0
	}
	return max(1, l.From-firstChunks*chunkLines/2)
}

func (l logWindow) Later() int {
	if l.To >= l.Total {
		return 0
	}
	return min(l.Total, l.To+firstChunks*chunkLines/2)
}

// window renders what is to be seen first: the chunks around the line that was asked for, or up to the end of what failed,
// or up to the end of the log.
func (w *Web) window(v *visit, asked int) (logWindow, error) {
	l := w.logView(v)
	_, total, err := w.Store.Lines(v.build.ID, 1, 0)
	if err != nil {
		return logWindow{}, err
	}
	win := logWindow{Total: total, Size: chunkLines, Anchor: min(asked, total), Asked: asked > 0}
	before := firstChunks - 1 // chunks before the anchor's
	switch {
	case asked > 0:
		l.hit, before = win.Anchor, firstChunks/2
	case v.build.Done():
		win.Anchor = failureEnd(v.build, total)
		before--
	default:
		win.Anchor = total
	}
	first := max(0, chunkOf(max(win.Anchor, 1))-before)
	elements := 0
	for n := first; n < first+firstChunks && n*chunkLines < total; n++ {
		c, _, err := l.chunk(n)
		if err != nil {
			return win, err
		}
		win.Chunks = append(win.Chunks, c)
		elements += c.elements
	}
	// What is far from the anchor goes if the colours take too many elements.
	for elements > firstElements && len(win.Chunks) > 1 {
		at := len(win.Chunks) - 1
		if chunkOf(win.Anchor)-win.Chunks[0].N >= win.Chunks[at].N-chunkOf(win.Anchor) {
			at = 0
		}
		elements -= win.Chunks[at].elements
		win.Chunks = slices.Delete(win.Chunks, at, at+1)
	}
	if n := len(win.Chunks); n > 0 {
		last := win.Chunks[n-1]
		win.From, win.To = win.Chunks[0].First(), last.First()+len(last.Lines)-1
	}
	return win, nil
}

// failureEnd is the line of the log where the output of the first failed command ends; the last line if no command failed.
func failureEnd(b *store.Build, total int) int {
	f := b.Failure
	if f == nil || f.Line == 0 {
		return total
	}
	for _, fold := range folds(b) {
		if fold.First == f.Line && fold.Command {
			return min(cmp.Or(fold.Last, total), total)
		}
	}
	return min(f.Line, total)
}

// A fold is a part of the log below a headline that may be hidden: what a phase or a command printed.
type fold struct {
	Head    int  `json:"head"` // the line that stays
	First   int  `json:"first"`
	Last    int  `json:"last"` // 0 for the end of the log
	Command bool `json:"command,omitempty"`
}

// folds are the folds of a build's log.
func folds(b *store.Build) []fold {
	list := []fold{}
	var open []int // indexes of folds that the next headline of their kind ends
	end := func(line int) {
		for _, i := range open {
			list[i].Last = line
		}
		open = nil
	}
	for _, p := range b.Phases {
		if p.Line == 0 {
			continue
		}
		end(p.Line - 1)
		open = append(open, len(list))
		list = append(list, fold{Head: p.Line, First: p.Line + 1})
		for _, c := range p.Commands {
			head := c.Line - 1
			if !strings.HasSuffix(c.Text, "…") { // the whole text stands in the log
				head -= strings.Count(c.Text, "\n")
			}
			if head <= p.Line {
				continue
			}
			if len(open) > 1 {
				list[open[1]].Last = head - 1
				open = open[:1]
			}
			open = append(open, len(list))
			list = append(list, fold{Head: head, First: c.Line, Command: true})
		}
	}
	return slices.DeleteFunc(list, func(f fold) bool { return f.Last != 0 && f.Last < f.First })
}

// lines serves chunks of a log for the script: ?chunks=3,4.
func (w *Web) lines(c echo.Context, v *visit) error {
	if v.build == nil {
		return errLink
	}
	asked := strings.Split(c.QueryParam("chunks"), ",")
	if len(asked) > maxChunksAsked {
		return problem{http.StatusBadRequest, "Too much at once", fmt.Sprintf("ask for at most %d chunks at a time", maxChunksAsked)}
	}
	answer := struct {
		Total  int     `json:"total"`
		Chunks []chunk `json:"chunks"`
	}{}
	l, bytes := w.logView(v), 0
	for _, text := range asked {
		if bytes > maxBytesAsked {
			break
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 1<<40 {
			return problem{http.StatusBadRequest, "No such chunk", fmt.Sprintf("%.20q is not the number of a chunk", text)}
		}
		part, total, err := l.chunk(n)
		if err != nil {
			return err
		}
		answer.Total = total
		bytes += part.bytes
		answer.Chunks = append(answer.Chunks, part)
	}
	return writeJSON(c, http.StatusOK, answer)
}
