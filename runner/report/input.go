package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// window is the size of the part of a file that is in memory.
const window = 64 << 10

var errTooLarge = &problem{text: fmt.Sprintf("is larger than %d MiB", MaxFile>>20)}

// capped reads at most MaxFile bytes and fails at the next.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		return int(c.left), errTooLarge
	}
	c.left -= int64(n)
	return n, err
}

// An input is the text of a file, as a window that moves over it. The text is UTF-8 if the file was in a known encoding
// or as it is otherwise: what is made of it goes through tidy.
type input struct {
	r        io.Reader
	buf      []byte
	pos, end int
	line     int   // of the byte at pos, from 1
	err      error // why there is nothing after end, io.EOF at the end of the file
}

// newInput begins to read. It tells the encoding of the file by its byte order mark, by the zeros of UTF-16, and, for
// XML, by the declaration.
func newInput(r io.Reader, xml bool) (*input, error) {
	raw := bufio.NewReaderSize(&capped{r: r, left: MaxFile}, 4<<10) // reads into a window go past its buffer
	in := &input{r: raw, buf: make([]byte, window), line: 1}
	head, err := raw.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		raw.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		raw.Discard(2)
		in.r = &recoder{r: raw, next: utf16Reader(0, 1)}
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		raw.Discard(2)
		in.r = &recoder{r: raw, next: utf16Reader(1, 0)}
	case len(head) >= 2 && head[0] != 0 && head[1] == 0:
		in.r = &recoder{r: raw, next: utf16Reader(0, 1)}
	case len(head) >= 2 && head[0] == 0 && head[1] != 0:
		in.r = &recoder{r: raw, next: utf16Reader(1, 0)}
	case xml:
		if in.r, err = declared(raw); err != nil {
			return nil, err
		}
	}
	in.space()
	if in.ended() {
		if !errors.Is(in.err, io.EOF) {
			return nil, in.err
		}
		return nil, &problem{text: "is empty"}
	}
	return in, nil
}

var declaration = regexp.MustCompile(`^\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([^"'>]*)["']`)

// declared is the reader of a file in the encoding that its XML declaration names. Without a declaration it is UTF-8.
func declared(raw *bufio.Reader) (io.Reader, error) {
	head, _ := raw.Peek(1024)
	found := declaration.FindSubmatch(head)
	if found == nil {
		return raw, nil
	}
	switch name := strings.ToLower(string(found[1])); name {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return raw, nil
	case "utf-16", "utf-16le", "utf-16be", "unicode":
		// The declaration was read as bytes, so that it is wrong: .NET writes it for every text that was made in memory.
		return raw, nil
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "windows-1252", "cp1252", "ansi":
		return &recoder{r: raw, next: byteReader(windows1252)}, nil
	case "iso-8859-15", "iso8859-15", "iso_8859-15", "latin-9", "latin9":
		return &recoder{r: raw, next: byteReader(latin9)}, nil
	}
	return nil, &problem{text: fmt.Sprintf("is encoded in %q; UTF-8, UTF-16, ISO-8859-1 and windows-1252 can be read",
		short(string(found[1])))}
}

// A recoder reads text of another encoding as UTF-8.
type recoder struct {
	r    *bufio.Reader
	next func(*bufio.Reader) (rune, error)
}

func (c *recoder) Read(p []byte) (n int, err error) {
	for len(p)-n >= utf8.UTFMax {
		r, err := c.next(c.r)
		if err != nil {
			return n, err
		}
		n += utf8.EncodeRune(p[n:], r)
	}
	return n, nil
}

// windows1252 has the characters of the bytes 0x80 to 0x9f, which are the only ones where it differs from ISO-8859-1;
// there that has control characters, which nobody means.
func windows1252(b byte) rune {
	const high = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"
	if b < 0x80 || b > 0x9f {
		return rune(b)
	}
	n := 0
	for _, r := range high {
		if n == int(b-0x80) {
			return r
		}
		n++
	}
	return utf8.RuneError
}

// latin9 is ISO-8859-15.
func latin9(b byte) rune {
	switch b {
	case 0xa4:
		return '€'
	case 0xa6:
		return 'Š'
	case 0xa8:
		return 'š'
	case 0xb4:
		return 'Ž'
	case 0xb8:
		return 'ž'
	case 0xbc:
		return 'Œ'
	case 0xbd:
		return 'œ'
	case 0xbe:
		return 'Ÿ'
	}
	return windows1252(b)
}

func byteReader(decode func(byte) rune) func(*bufio.Reader) (rune, error) {
	var table [256]rune
	for b := range table {
		table[b] = decode(byte(b))
	}
	return func(r *bufio.Reader) (rune, error) {
		b, err := r.ReadByte()
		return table[b], err
	}
}

// utf16Reader reads UTF-16 whose units have their low and high byte at the given places. An odd byte at the end and
// halves of pairs are U+FFFD.
func utf16Reader(low, high int) func(*bufio.Reader) (rune, error) {
	unit := func(r *bufio.Reader) (rune, error) {
		two, err := r.Peek(2)
		if len(two) == 0 {
			return 0, err
		}
		if len(two) == 1 {
			if !errors.Is(err, io.EOF) {
				return 0, err
			}
			r.Discard(1)
			return utf8.RuneError, nil
		}
		u := rune(two[low]) | rune(two[high])<<8
		r.Discard(2)
		return u, nil
	}
	kept := rune(-1) // a unit that was read ahead
	return func(r *bufio.Reader) (rune, error) {
		first := kept
		kept = -1
		if first < 0 {
			var err error
			if first, err = unit(r); err != nil {
				return 0, err
			}
		}
		if !utf16.IsSurrogate(first) {
			return first, nil
		}
		second, err := unit(r)
		if err != nil {
			return utf8.RuneError, nil
		}
		if both := utf16.DecodeRune(first, second); both != utf8.RuneError {
			return both, nil
		}
		kept = second
		return utf8.RuneError, nil
	}
}

// fill reads more behind what is left of the window.
func (in *input) fill() {
	if in.err != nil {
		return
	}
	if in.pos > 0 {
		in.end = copy(in.buf, in.buf[in.pos:in.end])
		in.pos = 0
	}
	for range 100 {
		n, err := in.r.Read(in.buf[in.end:])
		in.end += n
		if err != nil {
			in.err = err
			return
		}
		if n > 0 {
			return
		}
	}
	in.err = io.ErrNoProgress
}

// rest is the part of the text that is in memory, empty only if there is no more.
func (in *input) rest() []byte {
	if in.pos == in.end {
		in.fill()
	}
	return in.buf[in.pos:in.end]
}

// ended reports whether there is no more text.
func (in *input) ended() bool { return len(in.rest()) == 0 }

// peek is the next n bytes, fewer at the end of the text.
func (in *input) peek(n int) []byte {
	for in.end-in.pos < n && in.err == nil {
		in.fill()
	}
	return in.buf[in.pos:min(in.pos+n, in.end)]
}

// take goes past n bytes of rest or peek.
func (in *input) take(n int) {
	in.line += bytes.Count(in.buf[in.pos:in.pos+n], []byte{'\n'})
	in.pos += n
}

// space goes past spaces and line ends.
func (in *input) space() {
	for {
		w := in.rest()
		n := 0
		for n < len(w) && isSpace(w[n]) {
			n++
		}
		in.take(n)
		if n < len(w) || n == 0 {
			return
		}
	}
}

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

// through goes past the next occurrence of mark and appends what is before it to dst, up to a length of limit; the rest
// is not kept. It reports false if the text ends without the mark.
func (in *input) through(mark string, dst []byte, limit int) ([]byte, bool) {
	for {
		w := in.peek(len(mark))
		if len(w) < len(mark) {
			return dst, false
		}
		w = in.rest()
		i := bytes.Index(w, []byte(mark))
		n, past := i, i+len(mark)
		if i < 0 {
			n = len(w) - (len(mark) - 1)
			past = n
		}
		dst = appendUpTo(dst, w[:n], limit)
		in.take(past)
		if i >= 0 {
			return dst, true
		}
	}
}

func appendUpTo(dst, src []byte, limit int) []byte {
	return append(dst, src[:max(0, min(len(src), limit-len(dst)))]...)
}

// An interner gives equal strings of few different ones the same memory.
type interner map[string]string

func (t interner) string(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(t) < 1000 {
		t[s] = s
	}
	return s
}
