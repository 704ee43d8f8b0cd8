package report

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxDuration bounds one duration; no build takes as long.
const maxDuration = 365 * 24 * time.Hour

// tidyName makes a name of s: one line of at most MaxName characters.
func tidyName(s string) string { return tidy(s, MaxName, false) }

// short makes a part of a sentence of something that a file holds.
func short(s string) string { return tidy(s, 60, false) }

// tidyMessage makes a message of s: lines of at most MaxMessage characters together, without the colours of a terminal.
func tidyMessage(s string) string { return tidy(s, MaxMessage, true) }

// tidy cuts s to max characters, the last of which is … then, and makes valid UTF-8 of it. Control characters and those
// that change the direction of text become U+FFFD; tabs and line ends stay where there may be lines, and are spaces
// elsewhere.
func tidy(s string, most int, lines bool) string {
	if lines {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
		for {
			first, rest, ok := strings.Cut(s, "\n")
			if !ok || strings.TrimSpace(first) != "" {
				break
			}
			s = rest
		}
		if strings.IndexByte(s, '\n') < 0 {
			s = strings.TrimSpace(s)
		}
	} else {
		s = strings.TrimSpace(s)
	}
	if len(s) <= most && plain(s) {
		return s
	}
	var b strings.Builder
	n, last := 0, 0 // characters in b, and where the last one begins
	for len(s) > 0 {
		if skip := colour(s); lines && skip > 0 {
			s = s[skip:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		switch {
		case r == '\r' && lines:
			if strings.HasPrefix(s, "\n") {
				continue
			}
			r = '\n'
		case lines && (r == '\n' || r == '\t'):
		case unicode.IsSpace(r):
			r = ' '
		case unicode.IsControl(r), directs(r):
			r = utf8.RuneError
		}
		if n == most {
			return b.String()[:last] + "…"
		}
		last = b.Len()
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return !strings.Contains(s, "#x1B[")
}

// directs reports whether r changes the direction of the text behind it, so that it does not read as it is written.
func directs(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f
}

// colour is the length of the control sequence of a terminal that s begins with, 0 if it begins with none. pytest
// writes the escape character as #x1B.
func colour(s string) int {
	rest, ok := strings.CutPrefix(s, "\x1b[")
	if !ok {
		if rest, ok = strings.CutPrefix(s, "#x1B["); !ok {
			return 0
		}
	}
	for i := range min(len(rest), 32) {
		if c := rest[i]; c >= 0x40 && c <= 0x7e {
			return len(s) - len(rest) + i + 1
		}
	}
	return 0
}

// decimal reads a number as tools of any locale write it: 1234.5, 1,234.5, 1.234,5 and 1234,5. What is none is 0.
func decimal(s string) float64 {
	s = strings.TrimSuffix(strings.TrimSpace(s), "s")
	if len(s) > 64 {
		return 0
	}
	if comma := strings.LastIndexByte(s, ','); comma >= 0 {
		dot := strings.LastIndexByte(s, '.')
		fraction := dot < 0 && strings.Count(s, ",") == 1 && (len(s)-comma != 4 || strings.Trim(s[:comma], "0") == "")
		switch {
		case fraction:
			s = strings.Replace(s, ",", ".", 1)
		case comma > dot && dot >= 0:
			s = strings.Replace(strings.ReplaceAll(s, ".", ""), ",", ".", 1)
		default:
			s = strings.ReplaceAll(s, ",", "")
		}
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return x
}

// spent is x units of time, 0 if that is negative or no number and at most maxDuration.
func spent(x float64, unit time.Duration) time.Duration {
	if !(x > 0) {
		return 0
	}
	d := math.Round(x * float64(unit))
	if d >= float64(maxDuration) {
		return maxDuration
	}
	return time.Duration(d)
}

func seconds(s string) time.Duration { return spent(decimal(s), time.Second) }

// clock reads hh:mm:ss.fffffff, with days before it or not: d.hh:mm:ss.
func clock(s string) time.Duration {
	parts := strings.Split(strings.TrimSpace(s), ":")
	if len(parts) != 3 {
		return seconds(s)
	}
	days, hours, ok := strings.Cut(parts[0], ".")
	if !ok {
		days, hours = "0", days
	}
	var x float64
	for _, part := range []struct {
		text string
		unit float64
	}{{days, 24 * 3600}, {hours, 3600}, {parts[1], 60}, {parts[2], 1}} {
		n := decimal(part.text)
		if !(n >= 0) {
			return 0
		}
		x += n * part.unit
	}
	return spent(x, time.Second)
}

// count reads a number of something: 0 if it is negative or none, and at most 2,147,483,647.
func count(s string) int {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return clampCount(decimal(s))
	}
	return int(max(0, min(n, math.MaxInt32)))
}

func clampCount(x float64) int {
	if !(x > 0) {
		return 0
	}
	return int(min(x, math.MaxInt32))
}

// lineNumber reads the number of a line of source, 0 if it can be none.
func lineNumber(s string) int {
	if n := count(s); n <= maxLineNumber {
		return n
	}
	return 0
}

// maxLineNumber bounds the lines of one source file.
const maxLineNumber = 1 << 30
