package agent

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// derivePatterns appends the patterns of a secret. Some are too short to be used, and some are the same.
func derivePatterns(list []pattern, secret string) []pattern {
	value := strings.Trim(secret, "\r\n")
	bare := strings.Trim(secret, blanks)
	if len(bare) < minSecret {
		return list
	}
	list = deriveForms(list, value)
	if bare != value {
		list = deriveForms(list, bare)
	}
	list = deriveLines(list, strings.Split(value, "\n"))
	if strings.Contains(value, "-----BEGIN ") {
		// Keys are kept on one line like this, and tools print them as several.
		list = deriveLines(list, strings.Split(strings.ReplaceAll(value, `\r\n`, `\n`), `\n`))
	}
	return list
}

// blanks are what lines and values are trimmed of.
const blanks = " \t\r\n"

// deriveLines appends the lines of a value, if there are several.
func deriveLines(list []pattern, lines []string) []pattern {
	if len(lines) == 1 {
		return list
	}
	for _, line := range lines {
		if line = strings.Trim(line, blanks); len(line) >= minSecret && !isArmour(line) {
			list = append(list, pattern{text: []byte(line)})
		}
	}
	return list
}

// isArmour reports whether a line is one of those that enclose PEM.
func isArmour(line string) bool {
	label, begins := strings.CutPrefix(line, "-----BEGIN ")
	if !begins {
		label, begins = strings.CutPrefix(line, "-----END ")
	}
	label, ends := strings.CutSuffix(label, "-----")
	return begins && ends && strings.Trim(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ") == ""
}

// deriveForms appends a value and its encodings.
func deriveForms(list []pattern, value string) []pattern {
	first := len(list)
	add := func(text string) {
		if !slices.ContainsFunc(list[first:], func(p pattern) bool { return string(p.text) == text }) {
			list = append(list, pattern{text: []byte(text)})
		}
	}
	add(value)
	for _, hex := range []string{"0123456789ABCDEF", "0123456789abcdef"} {
		for _, e := range percentEncoders {
			add(percentEncode(value, e.keep, e.blank, hex))
		}
	}
	for _, e := range jsonEncoders {
		add(jsonEncode(value, e.ascii, e.also))
	}
	for _, e := range xmlEncoders {
		add(e.Replace(value))
	}
	add(strings.ReplaceAll(value, `'`, `'\''`))  // bash, dash's trace
	add(strings.ReplaceAll(value, `'`, `'"'"'`)) // dash, Python
	add(doubleQuoted.Replace(value))
	add(dollarQuote(value))
	return deriveBase64(list, value)
}

// deriveBase64 appends the base64 of a value and of the value with a line feed after it.
func deriveBase64(list []pattern, value string) []pattern {
	for before := range 3 {
		code := base64.RawStdEncoding.AppendEncode(nil, []byte(strings.Repeat("\x00", before)+value+"\n"))
		url := bytes.ReplaceAll(bytes.ReplaceAll(code, []byte{'+'}, []byte{'-'}), []byte{'/'}, []byte{'_'})
		from := (before*8 + 5) / 6
		for after := range 2 {
			n := (before + len(value) + after) * 8
			p := pattern{left: before > 0, right: n%6 > 0}
			p.text = code[from : n/6]
			list = append(list, p)
			if before == 0 {
				list = deriveBroken(list, p, 64) // openssl
				list = deriveBroken(list, p, 76) // coreutils, MIME
			}
			if p.text = url[from : n/6]; !bytes.Equal(url, code) {
				list = append(list, p)
			}
		}
	}
	return list
}

// deriveBroken appends the lines of base64 that is broken at a width. A last line of less than 8 characters tells nearly
// nothing of so long a value and is left out.
func deriveBroken(list []pattern, p pattern, width int) []pattern {
	if len(p.text) <= width {
		return list
	}
	for text := p.text; len(text) >= 8; {
		n := min(len(text), width)
		list = append(list, pattern{text: text[:n], right: p.right && n == len(text)})
		text = text[n:]
	}
	return list
}

// inBase64 tells the characters of both alphabets.
var inBase64 = func() (in [256]bool) {
	for c := range in {
		in[c] = isAlphanumeric(byte(c)) || strings.IndexByte("+/-_", byte(c)) >= 0
	}
	return in
}()

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// percentEncoders are what the common encoders of percent-encoding keep as it is, letters and digits aside, and what they
// make of a blank.
var percentEncoders = []struct{ keep, blank string }{
	{"-_.~", "%20"},                 // RFC 3986, curl, jq
	{"-_.~", "+"},                   // url.QueryEscape, Python's quote_plus
	{"-_.*", "+"},                   // forms, Java
	{"-_.~$&+:=@", "%20"},           // url.PathEscape
	{"-_.~$&+,;=", "%20"},           // url.UserPassword
	{"-_.~/", "%20"},                // Python's quote
	{"-_.~!'()*", "%20"},            // encodeURIComponent
	{"-_.~!'()*;,/?:@&=+$#", "%20"}, // encodeURI
}

func percentEncode(value, keep, blank, hex string) string {
	var b strings.Builder
	b.Grow(3 * len(value))
	for i := range len(value) {
		switch c := value[i]; {
		case isAlphanumeric(c) || strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteString(blank)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// jsonEncoders are how encoders of JSON differ: whether they escape what is no ASCII, and what else that they need not.
var jsonEncoders = []struct {
	ascii bool
	also  string
}{
	{false, ""},                // JavaScript, jq
	{false, "<>&\u2028\u2029"}, // encoding/json
	{true, ""},                 // Python
	{true, "/"},                // PHP
}

// jsonEncode is what stands between the quotes. A byte that is no UTF-8 is kept, other than in ASCII.
func jsonEncode(value string, ascii bool, also string) string {
	var b strings.Builder
	for i, size := 0, 0; i < len(value); i += size {
		var c rune
		c, size = utf8.DecodeRuneInString(value[i:])
		switch short := strings.IndexRune("\"\\\n\r\t\b\f", c); {
		case short >= 0 && c != utf8.RuneError:
			b.Write([]byte{'\\', `"\nrtbf`[short]})
		case c == '/' && also == "/":
			b.WriteString(`\/`)
		case c < ' ' || ascii && c >= utf8.RuneSelf || c != utf8.RuneError && strings.ContainsRune(also, c):
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteString(value[i : i+size])
		}
	}
	return b.String()
}

// doubleQuoted gives what stands between the double quotes, as bash's declare -p prints it.
var doubleQuoted = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")

// dollarQuote gives what stands between $' and ', as bash prints values with control characters.
func dollarQuote(value string) string {
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		if short := strings.IndexByte("\\'\a\b\x1b\f\n\r\t\v", c); short >= 0 {
			b.Write([]byte{'\\', `\'abEfnrtv`[short]})
		} else if c < ' ' || c == 0x7f {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// xmlEncoders are those of XML and HTML, of which the files of test reports are: text, attributes, and Go's and Python's ways.
var xmlEncoders = []*strings.Replacer{
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#x27;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;"),
	strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\t", "&#9;", "\n", "&#10;", "\r", "&#13;"),
}
