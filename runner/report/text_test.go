package report

import (
	"strings"
	"testing"
	"time"
)

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0.123":              123 * time.Millisecond,
		" 12 ":               12 * time.Second,
		"0.":                 0,
		".5":                 time.Second / 2,
		"1,234.5":            1234*time.Second + time.Second/2,
		"1,234":              1234 * time.Second,
		"1,234,567.25":       1234567*time.Second + time.Second/4,
		"1.234,5":            1234*time.Second + time.Second/2,
		"0,123":              123 * time.Millisecond,
		",5":                 time.Second / 2,
		"1,5":                1500 * time.Millisecond,
		"0.5s":               time.Second / 2,
		"1.5E-3":             1500 * time.Microsecond,
		"0.0000000004":       0,
		"":                   0,
		"-1":                 0,
		"NaN":                0,
		"soon":               0,
		"1e300":              maxDuration,
		"1e999":              maxDuration,
		"Inf":                maxDuration,
		"-Inf":               0,
		"9223372036854775.8": maxDuration,
	} {
		if got := seconds(text); got != want {
			t.Errorf("seconds(%q) = %v, want %v", text, got, want)
		}
	}
	if got := seconds(strings.Repeat("9", 1000)); got != 0 {
		t.Errorf("seconds of a very long number = %v", got)
	}
}

func TestClock(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"00:00:01.2345678": 1234567800 * time.Nanosecond,
		"01:02:03":         time.Hour + 2*time.Minute + 3*time.Second,
		"1.00:00:00.5":     24*time.Hour + time.Second/2,
		"00:00:00":         0,
		"-00:00:01":        time.Second,
		"-1:00:00":         0,
		"99999999:00:00":   maxDuration,
		"1.5":              1500 * time.Millisecond,
		"a:b:c":            0,
		"":                 0,
	} {
		if got := clock(text); got != want {
			t.Errorf("clock(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for text, want := range map[string]int{
		"12": 12, " 3 ": 3, "0": 0, "-4": 0, "": 0, "x": 0, "NaN": 0, "2.0": 2, "99999999999999999999": 1<<31 - 1, "3000000000": 1<<31 - 1,
	} {
		if got := count(text); got != want {
			t.Errorf("count(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestTidy(t *testing.T) {
	for _, tt := range []struct {
		text  string
		lines bool
		want  string
	}{
		{"TestX", false, "TestX"},
		{"  a\tb\nc  ", false, "a b c"},
		{"a\x00b\x1bc\x7fd\u0085e\u202ef\u2066g", false, "a\ufffdb\ufffdc\ufffdd e\ufffdf\ufffdg"},
		{"a\xffb", false, "a\ufffdb"},
		{"größe 🔑", false, "größe 🔑"},
		{"#x1B[31mred", false, "#x1B[31mred"},

		{"one\r\ntwo\rthree\n", true, "one\ntwo\nthree"},
		{"\n\n  one\n    two\n\n", true, "  one\n    two"},
		{"   alone  ", true, "alone"},
		{"\x1b[1;31mred\x1b[0m and \x1b[K", true, "red and "},
		{"#x1B[31mred#x1B[0m", true, "red"},
		{"a\x1b[" + strings.Repeat("1", 50), true, "a\ufffd[" + strings.Repeat("1", 50)},
		{"a\tb\x08c", true, "a\tb\ufffdc"},
		{"\n\n", true, ""},
	} {
		got := tidyName(tt.text)
		if tt.lines {
			got = tidyMessage(tt.text)
		}
		if got != tt.want {
			t.Errorf("tidy(%q, lines %v) = %q, want %q", tt.text, tt.lines, got, tt.want)
		}
	}
	for _, letter := range []string{"a", "é", "🔑"} {
		full := strings.Repeat(letter, MaxName)
		if got := tidyName(full); got != full {
			t.Errorf("a name of %d characters is cut", MaxName)
		}
		if got, want := tidyName(full+letter), strings.Repeat(letter, MaxName-1)+"…"; got != want {
			t.Errorf("a longer name of %q is cut to ...%q", letter, got[len(got)-10:])
		}
		if got, want := tidyMessage(strings.Repeat(letter, 3*MaxMessage)), strings.Repeat(letter, MaxMessage-1)+"…"; got != want {
			t.Errorf("a long message of %q is cut to ...%q", letter, got[len(got)-10:])
		}
	}
}
