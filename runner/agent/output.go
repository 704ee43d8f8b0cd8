package agent

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf8"
)

// appendOutput appends the line of an output event. The text has at most maxText bytes.
func appendOutput(line []byte, n, at int64, text []byte) []byte {
	line = append(line, `{"n":`...)
	line = strconv.AppendInt(line, n, 10)
	line = append(line, `,"t":`...)
	line = strconv.AppendInt(line, at, 10)
	line = append(line, `,"k":"out",`...)
	if !utf8.Valid(text) {
		line = append(line, `"b":"`...)
		line = base64.StdEncoding.AppendEncode(line, text)
		return append(line, "\"}\n"...)
	}
	line = append(line, `"o":"`...)
	const hex = "0123456789abcdef"
	start := 0
	for i, c := range text {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		line = append(line, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			line = append(line, '\\', c)
		case '\n':
			line = append(line, '\\', 'n')
		case '\t':
			line = append(line, '\\', 't')
		case '\r':
			line = append(line, '\\', 'r')
		default:
			line = append(line, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	line = append(line, text[start:]...)
	return append(line, "\"}\n"...)
}

// decodeOutput decodes an output event of just the form that appendOutput gives it to text: most of a story is of these, and
// encoding/json is four times as slow. ok is false, and e empty, for whatever else a line may be.
func decodeOutput(line []byte) (e Event, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"n":`))
	if !ok {
		return Event{}, false
	}
	n, rest, ok := decodeNumber(rest)
	if !ok {
		return Event{}, false
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`,"t":`))
	if !ok {
		return Event{}, false
	}
	at, rest, ok := decodeNumber(rest)
	if !ok {
		return Event{}, false
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`,"k":"out","o":"`))
	if !ok {
		return Event{}, false
	}
	rest, ok = bytes.CutSuffix(rest, []byte(`"}`))
	if !ok || !utf8.Valid(rest) {
		return Event{}, false
	}
	text, ok := unquote(rest)
	if !ok {
		return Event{}, false
	}
	return Event{N: n, Time: at, Kind: Output, Text: string(text)}, true
}

// unquote undoes what appendOutput does to text.
func unquote(quoted []byte) (text []byte, ok bool) {
	text = make([]byte, 0, len(quoted))
	for {
		plain, escape, more := bytes.Cut(quoted, []byte{'\\'})
		for _, c := range plain {
			if c < 0x20 || c == '"' {
				return nil, false
			}
		}
		text = append(text, plain...)
		if !more {
			return text, true
		}
		if len(escape) == 0 {
			return nil, false
		}
		c, length := escape[0], 1
		switch c {
		case '"', '\\':
		case 'n':
			c = '\n'
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		default: // \u00XX
			if len(escape) < 5 || string(escape[:3]) != "u00" {
				return nil, false
			}
			code, err := strconv.ParseUint(string(escape[3:5]), 16, 7)
			if err != nil {
				return nil, false
			}
			c, length = byte(code), 5
		}
		text = append(text, c)
		quoted = escape[length:]
	}
}

// decodeNumber takes a number from the front of text.
func decodeNumber(text []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(text) && i < 18 && text[i] >= '0' && text[i] <= '9' {
		n = n*10 + int64(text[i]-'0')
		i++
	}
	return n, text[i:], i > 0 && (i == 1 || text[0] != '0')
}
