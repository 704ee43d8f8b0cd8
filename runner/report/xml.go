package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of one tag. A longer name is an error; further attributes are passed over.
const (
	maxTagName    = 256
	maxAttributes = 64
)

// An xmlReader reads XML as a stream of the beginnings and ends of its elements. It keeps to the structure strictly, so
// that a file that is cut off or mixed up is told: tags close in order, values are quoted, there is one root. It is
// lenient with characters, which test tools often do not care for: control characters, references to them, bytes that
// are no UTF-8, and a & that means itself do not make a file unreadable.
//
// The first error stays: after it next reports false.
type xmlReader struct {
	in  *input
	err error

	name  string // of the element that began or ended last, without the prefix of its namespace
	ended bool

	open    []element
	closing bool // the element that began last ended with its tag
	rooted  bool

	attrs  []attribute // of the element that began last, until the next call of next
	values []byte      // of attrs, as they are written
	word   []byte      // scratch
	names  interner

	collecting bool
	text       []byte // of the element that textOf reads
}

type element struct {
	name string // as it is written
	line int
}

type attribute struct {
	name       string
	start, end int // of values
}

func newXMLReader(in *input) *xmlReader {
	return &xmlReader{in: in, names: make(interner)}
}

// fail keeps the first error.
func (x *xmlReader) fail(format string, args ...any) {
	if x.err == nil {
		x.err = &problem{line: x.in.line, text: fmt.Sprintf(format, args...)}
	}
}

// cutOff fails because the text ended within something.
func (x *xmlReader) cutOff() bool {
	switch n := len(x.open); {
	case x.err != nil:
	case !errors.Is(x.in.err, io.EOF):
		x.err = x.in.err
	case n > 0:
		x.fail("ends in the middle: <%s> of line %d is not closed", short(x.open[n-1].name), x.open[n-1].line)
	default:
		x.fail("ends in the middle")
	}
	return false
}

// depth is how many elements are open, the one that began last included.
func (x *xmlReader) depth() int { return len(x.open) }

// next goes to the next beginning or end of an element; ended tells which. It reports false at the end of the file and
// for an error.
func (x *xmlReader) next() bool {
	if x.err != nil {
		return false
	}
	x.attrs, x.values = x.attrs[:0], x.values[:0]
	if x.closing {
		x.closing = false
		x.pop()
		return true
	}
	for x.charData() {
		head := x.in.peek(len("<![CDATA["))
		ok := true
		switch {
		case bytes.HasPrefix(head, []byte("<!--")):
			x.in.take(len("<!--"))
			_, ok = x.in.through("-->", nil, 0)
		case bytes.HasPrefix(head, []byte("<?")):
			_, ok = x.in.through("?>", nil, 0)
		case bytes.HasPrefix(head, []byte("<![CDATA[")):
			ok = x.cdata()
		case bytes.HasPrefix(head, []byte("<!DOCTYPE")):
			ok = x.doctype()
		case bytes.HasPrefix(head, []byte("<!")):
			if len(head) < len("<![CDATA[") {
				return x.cutOff() // <!x> is no file's end either
			}
			x.fail("has a <! that begins neither a comment nor CDATA")
		case bytes.HasPrefix(head, []byte("</")):
			return x.endTag()
		default:
			return x.startTag()
		}
		if x.err != nil {
			return false
		}
		if !ok {
			return x.cutOff()
		}
	}
	return false
}

// charData goes to the next <. It reports false at the end of the file.
func (x *xmlReader) charData() bool {
	begin := len(x.text)
	for {
		w := x.in.rest()
		if len(w) == 0 {
			if !x.rooted || len(x.open) > 0 || !errors.Is(x.in.err, io.EOF) {
				return x.cutOff()
			}
			return false
		}
		i := bytes.IndexByte(w, '<')
		chunk := w
		if i >= 0 {
			chunk = w[:i]
		}
		if len(x.open) == 0 {
			if stray := bytes.TrimLeft(chunk, " \t\r\n"); len(stray) > 0 {
				x.in.take(len(chunk) - len(stray))
				if x.rooted {
					x.fail("has text after the end of its root element: %q", short(string(stray)))
				} else {
					x.fail("is no XML: it has %q before the first element", short(string(stray)))
				}
				return false
			}
		} else if x.collecting {
			x.text = appendUpTo(x.text, chunk, maxValue)
		}
		x.in.take(len(chunk))
		if i >= 0 {
			if x.collecting && bytes.IndexByte(x.text[begin:], '&') >= 0 {
				x.text = append(x.text[:begin], unescape(x.text[begin:])...)
			}
			return true
		}
	}
}

// cdata reads a CDATA section.
func (x *xmlReader) cdata() bool {
	if len(x.open) == 0 {
		x.fail("has text outside its root element")
		return false
	}
	x.in.take(len("<![CDATA["))
	limit := 0
	if x.collecting {
		limit = maxValue
	}
	var ok bool
	x.text, ok = x.in.through("]]>", x.text, limit)
	return ok
}

// doctype goes past a document type declaration that names where the definition is, as those of JaCoCo and Cobertura do;
// it is not looked for. A definition within the file is refused: there is no honest use of one in a report.
func (x *xmlReader) doctype() bool {
	if x.rooted {
		x.fail("has a document type declaration after its root element began")
		return false
	}
	x.in.take(len("<!DOCTYPE"))
	quote := byte(0)
	for {
		w := x.in.rest()
		if len(w) == 0 {
			return false
		}
		b := w[0]
		x.in.take(1)
		switch {
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '"' || b == '\'':
			quote = b
		case b == '[':
			x.fail("has a document type definition, which is refused")
			return false
		case b == '>':
			return true
		}
	}
}

// tagName reads a name, "" if there is none. The result is valid until the next one is read.
func (x *xmlReader) tagName() []byte {
	x.word = x.word[:0]
	for {
		w := x.in.rest()
		if len(w) == 0 {
			x.cutOff()
			return nil
		}
		n := 0
		for n < len(w) && !isSpace(w[n]) && strings.IndexByte(`/>=<"'`, w[n]) < 0 {
			n++
		}
		x.word = appendUpTo(x.word, w[:n], maxTagName+1)
		x.in.take(n)
		if len(x.word) > maxTagName {
			x.fail("has a name of more than %d bytes in a tag", maxTagName)
			return nil
		}
		if n < len(w) {
			return x.word
		}
	}
}

func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

func (x *xmlReader) startTag() bool {
	line := x.in.line
	x.in.take(1)
	name := x.names.string(x.tagName())
	if x.err != nil {
		return false
	}
	if name == "" {
		x.fail("has a < that no name follows")
		return false
	}
	if len(x.open) == 0 && x.rooted {
		x.fail("has a second root element, <%s>", short(name))
		return false
	}
	if len(x.open) == maxDepth {
		x.fail("has more than %d elements within each other", maxDepth)
		return false
	}
	x.open = append(x.open, element{name, line})
	x.rooted = true
	x.name, x.ended = local(name), false
	return x.attributes()
}

// attributes reads the rest of a start tag.
func (x *xmlReader) attributes() bool {
	for {
		x.in.space()
		head := x.in.peek(2)
		switch {
		case len(head) == 0:
			return x.cutOff()
		case head[0] == '>':
			x.in.take(1)
			return true
		case head[0] == '/' && len(head) == 2 && head[1] == '>':
			x.in.take(2)
			x.closing = true
			return true
		}
		name := x.tagName()
		if x.err != nil {
			return false
		}
		if len(name) == 0 {
			if len(head) < 2 {
				return x.cutOff()
			}
			x.fail("has %q within the tag <%s>", head[:1], short(x.name))
			return false
		}
		if !x.value(x.names.string(name)) {
			return false
		}
	}
}

// value reads the value of an attribute.
func (x *xmlReader) value(name string) bool {
	x.in.space()
	if w := x.in.rest(); len(w) > 0 && w[0] == '=' {
		x.in.take(1)
		x.in.space()
	} else if len(w) > 0 {
		x.fail("has the attribute %q without a value in <%s>", short(name), short(x.name))
		return false
	}
	w := x.in.rest()
	if len(w) == 0 {
		return x.cutOff()
	}
	quote := w[0]
	if quote != '"' && quote != '\'' {
		x.fail("has the attribute %q without quotes in <%s>", short(name), short(x.name))
		return false
	}
	x.in.take(1)
	start := len(x.values)
	limit := start
	if len(x.attrs) < maxAttributes {
		limit += maxValue
	}
	var ok bool
	if x.values, ok = x.in.through(string(quote), x.values, limit); !ok {
		return x.cutOff()
	}
	if len(x.attrs) < maxAttributes {
		x.attrs = append(x.attrs, attribute{name, start, len(x.values)})
	}
	return true
}

func (x *xmlReader) endTag() bool {
	x.in.take(len("</"))
	name := x.tagName()
	if x.err != nil {
		return false
	}
	n := len(x.open)
	if n == 0 {
		x.fail("has </%s> without a beginning", short(string(name)))
		return false
	}
	if last := x.open[n-1]; string(name) != last.name {
		x.fail("has </%s> where </%s> should close line %d", short(string(name)), short(last.name), last.line)
		return false
	}
	x.in.space()
	w := x.in.rest()
	if len(w) == 0 {
		return x.cutOff()
	}
	if w[0] != '>' {
		x.fail("has %q within the tag </%s>", w[:1], short(string(name)))
		return false
	}
	x.in.take(1)
	x.pop()
	return true
}

func (x *xmlReader) pop() {
	n := len(x.open)
	x.name, x.ended = local(x.open[n-1].name), true
	x.open = x.open[:n-1]
}

// attr is an attribute of the element that began last, "" if it has none of that name. It is valid to ask only before
// the next call of next, each or textOf.
func (x *xmlReader) attr(name string) string {
	for _, a := range x.attrs {
		if a.name == name {
			raw := x.values[a.start:a.end]
			if bytes.IndexByte(raw, '&') >= 0 {
				raw = unescape(raw)
			}
			return string(raw)
		}
	}
	return ""
}

// each calls f for every element that lies directly in the one that began last, up to its end. f may read the element
// with attr and then each or textOf, once; what it leaves is passed over.
func (x *xmlReader) each(f func(name string)) {
	depth := x.depth()
	for x.next() && x.depth() >= depth {
		f(x.name)
		for x.depth() > depth && x.next() {
			// What f left of the element.
		}
	}
}

// textOf is the text of the element that began last, that of elements in it included, up to maxValue bytes. It reads to
// the end of the element.
func (x *xmlReader) textOf() string {
	depth := x.depth()
	x.text, x.collecting = x.text[:0], true
	for x.next() && x.depth() >= depth {
		// The text is collected on the way.
	}
	x.collecting = false
	return string(x.text)
}

// unescape resolves the references that XML knows without a definition. What is none of them means itself; a character
// that there is not is U+FFFD. The result is in other memory than raw.
func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for {
		i := bytes.IndexByte(raw, '&')
		if i < 0 {
			return append(out, raw...)
		}
		out = append(out, raw[:i]...)
		raw = raw[i:]
		end := bytes.IndexByte(raw[:min(len(raw), 14)], ';')
		if end < 0 {
			out = append(out, '&')
			raw = raw[1:]
			continue
		}
		name := string(raw[1:end])
		raw = raw[end+1:]
		switch name {
		case "lt":
			out = append(out, '<')
		case "gt":
			out = append(out, '>')
		case "amp":
			out = append(out, '&')
		case "quot":
			out = append(out, '"')
		case "apos":
			out = append(out, '\'')
		default:
			r, ok := charReference(name)
			if !ok {
				out = append(out, '&')
				out = append(out, name...)
				out = append(out, ';')
				continue
			}
			out = utf8.AppendRune(out, r)
		}
	}
}

func charReference(name string) (rune, bool) {
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil {
		return utf8.RuneError, errors.Is(err, strconv.ErrRange)
	}
	if n > utf8.MaxRune {
		return utf8.RuneError, true
	}
	return rune(n), true // AppendRune makes U+FFFD of halves of pairs.
}
