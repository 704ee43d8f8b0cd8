package web

import (
	"bytes"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	terminal "github.com/buildkite/terminal-to-html/v3"
)

// What a build prints is hostile. terminal-to-html makes links and images of sequences of its own, moves a cursor over a
// screen, and v3.17.0 panics on a colour of four numbers (38;2;1;2;3;4). So a line goes through a filter first, and what
// the library sees is printable characters, tabs, carriage returns, "erase the line" and the few SGR sequences that
// style.sequence writes.

// A style is what SGR sequences have set. It carries over from line to line.
type style struct {
	fg, bg                                          color
	bold, faint, italic, underline, strike, inverse bool
}

// A color is 0 for none, or one more than its number in the palette of 256.
type color int16

// sequence sets a style, whatever was set before.
func (s style) sequence() string {
	fg, bg := s.fg, s.bg
	if s.inverse {
		if fg, bg = bg, fg; fg == 0 {
			fg = 1
		}
		if bg == 0 {
			bg = 8
		}
	}
	text := "\x1b[0"
	for _, flag := range []struct {
		on   bool
		code string
	}{{s.bold, ";1"}, {s.faint && !s.bold, ";2"}, {s.italic, ";3"}, {s.underline, ";4"}, {s.strike, ";9"}} {
		if flag.on {
			text += flag.code
		}
	}
	return text + fg.codes(30, 90, "38") + bg.codes(40, 100, "48") + "m"
}

func (c color) codes(plain, bright int, wide string) string {
	switch n := int(c) - 1; {
	case n < 0:
		return ""
	case n < 8:
		return ";" + strconv.Itoa(plain+n)
	case n < 16:
		return ";" + strconv.Itoa(bright+n-8)
	default:
		return ";" + wide + ";5;" + strconv.Itoa(n)
	}
}

// set applies the parameters of an SGR sequence.
func (s *style) set(params []byte) {
	fields := bytes.Split(params, []byte{';'})
	for i := 0; i < len(fields); i++ {
		parts := bytes.Split(fields[i], []byte{':'})
		code := parameter(parts[0])
		if code == 38 || code == 48 {
			var c color
			if len(parts) > 1 {
				if len(parts) > 5 {
					parts = slices.Delete(parts, 2, 3) // the number of a colour space
				}
				c, _ = pick(parts[1:])
			} else {
				var used int
				c, used = pick(fields[i+1:])
				i += used
			}
			if c != 0 && code == 38 {
				s.fg = c
			} else if c != 0 {
				s.bg = c
			}
			continue
		}
		s.setOne(code, len(parts) > 1 && parameter(parts[1]) == 0)
	}
}

func (s *style) setOne(code int, off bool) {
	switch {
	case code == 0:
		*s = style{}
	case code == 1:
		s.bold = true
	case code == 2:
		s.faint = true
	case code == 3:
		s.italic = true
	case code == 4:
		s.underline = !off // 4:0 ends it
	case code == 7:
		s.inverse = true
	case code == 9:
		s.strike = true
	case code == 21, code == 22:
		s.bold, s.faint = false, false
	case code == 23:
		s.italic = false
	case code == 24:
		s.underline = false
	case code == 27:
		s.inverse = false
	case code == 29:
		s.strike = false
	case code >= 30 && code <= 37:
		s.fg = color(code - 30 + 1)
	case code == 39:
		s.fg = 0
	case code >= 40 && code <= 47:
		s.bg = color(code - 40 + 1)
	case code == 49:
		s.bg = 0
	case code >= 90 && code <= 97:
		s.fg = color(code - 90 + 9)
	case code >= 100 && code <= 107:
		s.bg = color(code - 100 + 9)
	}
}

// pick reads what follows 38 or 48: 5;n or 2;r;g;b. It returns how many fields that took.
func pick(fields [][]byte) (c color, used int) {
	if len(fields) == 0 {
		return 0, 0
	}
	switch parameter(fields[0]) {
	case 5:
		if len(fields) < 2 {
			return 0, 1
		}
		if n := parameter(fields[1]); n <= 255 {
			c = color(n + 1)
		}
		return c, 2
	case 2:
		if len(fields) < 4 {
			return 0, len(fields)
		}
		return nearest(parameter(fields[1]), parameter(fields[2]), parameter(fields[3])), 4
	}
	return 0, 1
}

// parameter reads a number; nothing is 0, and what is too large for any meaning is 999.
func parameter(text []byte) int {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || n > 255 {
			return 999
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// Tokens that scan finds in a line.
type token int

const (
	tokenText   token = iota // a character
	tokenSGR                 // the parameters of an SGR sequence
	tokenReturn              // back to the first column
	tokenErase               // the parameter of "erase in line"
)

// scan calls visit for what is left of a line: characters, SGR sequences, carriage returns and erasures. Everything else is
// dropped: other escape sequences with their contents, control characters of C0 and C1. A sequence ends with its line.
func scan(line []byte, visit func(t token, char rune, params []byte)) {
	for len(line) > 0 {
		if c := line[0]; c >= ' ' && c < 0x7f { // most of all
			visit(tokenText, rune(c), nil)
			line = line[1:]
			continue
		}
		char, size := utf8.DecodeRune(line)
		line = line[size:]
		switch {
		case char == 0x1b:
			line = escape(line, visit)
		case char == 0x9b:
			line = control(line, visit)
		case char == 0x90, char == 0x98, char >= 0x9d && char <= 0x9f:
			line = skipString(line)
		case char == '\r':
			visit(tokenReturn, 0, nil)
		case char == '\t':
			visit(tokenText, char, nil)
		case char < ' ', char >= 0x7f && char <= 0x9f:
		default:
			visit(tokenText, char, nil) // U+FFFD for what is not UTF-8
		}
	}
}

// escape reads what follows ESC, and returns what follows the sequence.
func escape(line []byte, visit func(token, rune, []byte)) []byte {
	if len(line) == 0 {
		return line
	}
	switch c := line[0]; {
	case c == '[':
		return control(line[1:], visit)
	case c == ']', c == 'P', c == 'X', c == '^', c == '_':
		return skipString(line[1:])
	case c >= 0x20 && c <= 0x2f:
		for len(line) > 0 && line[0] >= 0x20 && line[0] <= 0x2f {
			line = line[1:]
		}
		if len(line) > 0 && line[0] >= 0x30 && line[0] <= 0x7e {
			return line[1:]
		}
		return line
	case c >= 0x30 && c <= 0x7e:
		return line[1:]
	}
	return line
}

// control reads what follows CSI: parameters, intermediates and the final byte that gives the meaning.
func control(line []byte, visit func(token, rune, []byte)) []byte {
	n := 0
	for n < len(line) && line[n] >= 0x30 && line[n] <= 0x3f {
		n++
	}
	params := line[:n]
	line = line[n:]
	plain := true
	for len(line) > 0 && line[0] >= 0x20 && line[0] <= 0x2f {
		line, plain = line[1:], false
	}
	if len(line) == 0 || line[0] < 0x40 || line[0] > 0x7e {
		return line
	}
	plain = plain && (len(params) == 0 || params[0] < '<') // '<' to '?' mark private sequences
	switch final := line[0]; {
	case !plain:
	case final == 'm':
		visit(tokenSGR, 0, params)
	case final == 'K' && (len(params) == 0 || len(params) == 1 && params[0] <= '2'):
		visit(tokenErase, 0, params)
	case final == 'G' && (len(params) == 0 || len(params) == 1 && params[0] <= '1'):
		visit(tokenReturn, 0, nil) // to column 1, as spinners write it
	}
	return line[1:]
}

// skipString returns what follows a string of OSC, DCS, SOS, PM or APC. It ends with BEL, ST, CAN or SUB; another escape
// sequence breaks it off.
func skipString(line []byte) []byte {
	for i, c := range line {
		switch {
		case c == 0x07, c == 0x18, c == 0x1a:
			return line[i+1:]
		case c == 0x9c && i > 0 && line[i-1] == 0xc2:
			return line[i+1:]
		case c == 0x1b && i+1 < len(line) && line[i+1] == '\\':
			return line[i+2:]
		case c == 0x1b:
			return line[i:]
		}
	}
	return nil
}

// follow applies what lines do to the style.
func (s *style) follow(text []byte) {
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		if !bytes.Contains(line, []byte{0x1b}) && !bytes.Contains(line, []byte("\u009b")) {
			continue
		}
		scan(line, func(t token, _ rune, params []byte) {
			if t == tokenSGR {
				s.set(params)
			}
		})
	}
}

// maxColumns is how much of a line the page shows.
const maxColumns = 4000

// render gives a line as HTML with at most maxSpans elements, all of them spans with a class, and reports whether it was
// too long to show as a whole. The style becomes what it is after the line.
func (s *style) render(line []byte, maxSpans int) (text string, spans int, clipped bool) {
	safe, styled, clipped := s.filter(line, maxSpans > 0)
	if !styled {
		return html.EscapeString(safe), 0, clipped
	}
	text = toHTML(safe)
	if spans = strings.Count(text, "<span "); spans > maxSpans {
		var start style
		safe, _, _ = start.filter(line, false)
		return toHTML(safe), 0, clipped
	}
	return text, spans, clipped
}

// filter gives what the library may see of a line. Styled is false if that is characters alone.
func (s *style) filter(line []byte, colors bool) (safe string, styled, clipped bool) {
	var out strings.Builder
	out.Grow(min(len(line), maxColumns) + 32)
	var set style // what the text so far has set
	column := 0
	pending := false // a carriage return that ends the line does nothing
	scan(line, func(t token, char rune, params []byte) {
		switch t {
		case tokenSGR:
			s.set(params)
		case tokenReturn:
			column, pending = 0, true
		case tokenErase:
			if pending {
				out.WriteByte('\r')
			}
			out.WriteString("\x1b[" + string(params) + "K")
			pending, styled = false, true
		case tokenText:
			if column++; column > maxColumns {
				clipped = true
				return
			}
			if pending {
				out.WriteByte('\r')
				pending, styled = false, true
			}
			if colors && set != *s {
				out.WriteString(s.sequence())
				set, styled = *s, true
			}
			out.WriteRune(char)
		}
	})
	return out.String(), styled, clipped
}

// toHTML renders what filter gave.
func toHTML(safe string) string {
	screen, err := terminal.NewScreen(terminal.WithSize(min(len(safe)+1, maxColumns+1), 1)) // wide enough that nothing wraps
	if err != nil {
		return html.EscapeString(strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' {
				return -1
			}
			return r
		}, safe))
	}
	screen.Write([]byte(safe))
	text := screen.AsHTMLWithTimestamps(false)
	if text == "&nbsp;" {
		return ""
	}
	return text
}

// plain is a line without its colours: what a search looks at.
func plain(into []byte, line []byte) []byte {
	scan(line, func(t token, char rune, _ []byte) {
		if t == tokenText {
			into = utf8.AppendRune(into, char)
		}
	})
	return into
}
