package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A jsonReader reads JSON as a stream: the caller says what it expects, and passes over the rest. A value of another kind
// than is asked for is passed over as well. Control characters in strings are taken as they are.
//
// The first error stays; after it there are no more values.
type jsonReader struct {
	in    *input
	err   error
	depth int
	due   bool // the value at hand is not read yet
	buf   []byte
	names interner
}

func newJSONReader(in *input) *jsonReader {
	return &jsonReader{in: in, due: true, names: make(interner)}
}

// fail keeps the first error.
func (j *jsonReader) fail(format string, args ...any) {
	if j.err == nil {
		j.err = &problem{line: j.in.line, text: fmt.Sprintf(format, args...)}
	}
}

// unexpected fails at the next byte.
func (j *jsonReader) unexpected() {
	w := j.in.rest()
	switch {
	case j.err != nil:
	case len(w) > 0:
		j.fail("is no JSON: %q is not expected here", short(string(w[:min(len(w), 20)])))
	case !errors.Is(j.in.err, io.EOF):
		j.err = j.in.err
	default:
		j.fail("ends in the middle")
	}
}

// kind is the first byte of the next value, '0' for all numbers, and 0 at the end and for an error.
func (j *jsonReader) kind() byte {
	if j.err != nil {
		return 0
	}
	j.in.space()
	w := j.in.rest()
	if len(w) == 0 {
		return 0
	}
	if isDigit(w[0]) || w[0] == '-' {
		return '0'
	}
	return w[0]
}

// enter begins an object or list and reports whether there is anything to read in it.
func (j *jsonReader) enter() bool {
	if j.depth == maxDepth {
		j.fail("has more than %d objects and lists within each other", maxDepth)
		return false
	}
	j.depth++
	j.due = false
	j.in.take(1)
	return true
}

// more goes past what stands between two values: a comma, or the bracket at the end, which ends the object or list.
func (j *jsonReader) more(end byte, first bool) bool {
	switch c := j.kind(); {
	case j.err != nil:
		return false
	case c == end && c != 0:
		j.in.take(1)
		j.depth--
		return false
	case first:
		return true
	case c == ',':
		j.in.take(1)
		return true
	}
	j.unexpected()
	return false
}

// object calls f for every key of the next value; f may read the value of the key.
func (j *jsonReader) object(f func(key string)) {
	if j.kind() != '{' {
		j.skip()
		return
	}
	if !j.enter() {
		return
	}
	for first := true; j.more('}', first); first = false {
		if j.kind() != '"' {
			j.unexpected()
			return
		}
		key := j.names.string(j.string())
		if j.kind() != ':' {
			j.unexpected()
			return
		}
		j.in.take(1)
		j.due = true
		if f(key); j.due {
			j.skip()
		}
	}
	j.due = false
}

// array calls f for every element of the next value; f may read it.
func (j *jsonReader) array(f func()) {
	if j.kind() != '[' {
		j.skip()
		return
	}
	if !j.enter() {
		return
	}
	for first := true; j.more(']', first); first = false {
		j.due = true
		if f(); j.due {
			j.skip()
		}
	}
	j.due = false
}

// text is the next value if it is a string, else "". Only maxValue bytes of it are kept.
func (j *jsonReader) text() string {
	if j.kind() != '"' {
		j.skip()
		return ""
	}
	j.due = false
	return string(j.string())
}

// string reads a string up to its closing quote. The result is valid until the next string or number is read.
func (j *jsonReader) string() []byte {
	j.buf = j.buf[:0]
	j.in.take(1)
	for {
		w := j.in.rest()
		if len(w) == 0 {
			j.unexpected()
			return nil
		}
		i := bytes.IndexByte(w, '"')
		if i < 0 {
			i = len(w)
		}
		if back := bytes.IndexByte(w[:i], '\\'); back >= 0 {
			i = back
		}
		j.buf = appendUpTo(j.buf, w[:i], maxValue)
		if i == len(w) {
			j.in.take(i)
			continue
		}
		quote := w[i] == '"'
		j.in.take(i)
		if quote {
			j.in.take(1)
			return j.buf
		}
		if !j.escape() {
			return nil
		}
	}
}

// escape reads an escaped character.
func (j *jsonReader) escape() bool {
	two := j.in.peek(2)
	if len(two) < 2 {
		j.in.take(len(two))
		j.unexpected()
		return false
	}
	var r rune
	switch two[1] {
	case '"', '\\', '/':
		r = rune(two[1])
	case 'b':
		r = '\b'
	case 'f':
		r = '\f'
	case 'n':
		r = '\n'
	case 'r':
		r = '\r'
	case 't':
		r = '\t'
	case 'u':
		r = codeUnit(j.in.peek(6))
		if r < 0 {
			j.unexpected()
			return false
		}
		j.in.take(4) // and the two below
		if utf16.IsSurrogate(r) {
			// The unit behind is the other half of the pair, or else stands for itself and is read again.
			pair := j.in.peek(8)
			if other := codeUnit(pair[2:]); other >= 0 && utf16.DecodeRune(r, other) != utf8.RuneError {
				r = utf16.DecodeRune(r, other)
				j.in.take(6)
			}
		}
	default:
		j.unexpected()
		return false
	}
	j.in.take(2)
	var enc [utf8.UTFMax]byte
	j.buf = appendUpTo(j.buf, enc[:utf8.EncodeRune(enc[:], r)], maxValue)
	return true
}

// codeUnit is the code unit of \u1234, -1 if b does not begin with one.
func codeUnit(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var u rune
	for _, c := range b[2:6] {
		switch {
		case isDigit(c):
			u = u<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			u = u<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			u = u<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return u
}

// number is the next value if it is a number, else 0. One too large is infinite.
func (j *jsonReader) number() float64 {
	if j.kind() != '0' {
		j.skip()
		return 0
	}
	j.due = false
	j.buf = j.buf[:0]
	for {
		w := j.in.rest()
		n := 0
		for n < len(w) && (isDigit(w[n]) || bytes.IndexByte([]byte("+-.eE"), w[n]) >= 0) {
			n++
		}
		j.buf = appendUpTo(j.buf, w[:n], maxValue)
		j.in.take(n)
		if n < len(w) || n == 0 {
			break
		}
	}
	if len(j.buf) < 10 {
		// Coverage is mostly small counts.
		if n := digits(string(j.buf)); n > 0 && j.buf[0] != '0' && len(strconv.Itoa(n)) == len(j.buf) {
			return float64(n)
		}
	}
	x, err := strconv.ParseFloat(string(j.buf), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		j.fail("is no JSON: %q is no number", short(string(j.buf)))
		return 0
	}
	return x
}

// skip goes past the next value.
func (j *jsonReader) skip() {
	j.due = false
	switch c := j.kind(); c {
	case '{':
		j.object(func(string) {})
	case '[':
		j.array(func() {})
	case '"':
		j.string()
	case '0':
		j.number()
	default:
		for _, word := range []string{"true", "false", "null"} {
			if word[0] == c && string(j.in.peek(len(word))) == word {
				j.in.take(len(word))
				return
			}
		}
		j.unexpected()
	}
}

// finish reads the rest of the file, in which nothing may be but the value that was begun.
func (j *jsonReader) finish() {
	if j.err == nil && j.due {
		j.skip()
	}
	if j.kind(); j.err == nil && !j.in.ended() {
		w := j.in.rest()
		j.fail("has text after the end of its JSON: %q", short(string(w[:min(len(w), 100)])))
	}
	if j.err == nil && !errors.Is(j.in.err, io.EOF) {
		j.err = j.in.err
	}
}
