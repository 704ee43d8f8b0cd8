package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// largeJUnit is a file of about 20 MB as surefire writes it, one case in fifty of which failed.
func largeJUnit() string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n")
	for suite := 0; b.Len() < 20_000_000; suite++ {
		fmt.Fprintf(&b, "<testsuite name=\"com.example.Test%d\" tests=\"50\" time=\"1.5\">\n<properties>\n", suite)
		for i := range 40 {
			fmt.Fprintf(&b, "    <property name=\"java.property.number%d\" value=\"/usr/lib/jvm/java-21/lib &amp; more\"/>\n", i)
		}
		b.WriteString("</properties>\n")
		for i := range 50 {
			fmt.Fprintf(&b, "  <testcase name=\"testNumber%d\" classname=\"com.example.Test%d\" time=\"0.0%d\"", i, suite, i)
			if i > 0 {
				b.WriteString("/>\n")
				continue
			}
			b.WriteString(">\n    <failure message=\"expected: &lt;1&gt; but was: &lt;2&gt;\" type=\"java.lang.AssertionError\"><![CDATA[java.lang.AssertionError\n")
			for frame := range 30 {
				fmt.Fprintf(&b, "\tat com.example.Test%d.method%d(Test%d.java:%d)\n", suite, frame, suite, frame+1)
			}
			b.WriteString("]]></failure>\n  </testcase>\n")
		}
		b.WriteString("<system-out><![CDATA[" + strings.Repeat("12:30:45 INFO a line of a log\n", 200) + "]]></system-out>\n</testsuite>\n")
	}
	b.WriteString("</testsuites>\n")
	return b.String()
}

func BenchmarkJUnit(b *testing.B) {
	text := largeJUnit()
	src := NewSource([]string{root}, tree)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := Parse("JUNITXML", "x", strings.NewReader(text), src)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(c.Cases)), "cases")
	}
}

// BenchmarkStandardXML reads the same file with encoding/xml, to compare.
func BenchmarkStandardXML(b *testing.B) {
	text := largeJUnit()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkLCOV(b *testing.B) {
	var text strings.Builder
	for f := 0; text.Len() < 20_000_000; f++ {
		fmt.Fprintf(&text, "TN:\nSF:%s/src/file%d.js\n", root, f)
		for i := range 500 {
			fmt.Fprintf(&text, "DA:%d,%d\n", i+1, i%3)
		}
		text.WriteString("end_of_record\n")
	}
	src := NewSource([]string{root}, nil)
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("LCOV", "x", strings.NewReader(text.String()), src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSimpleCov(b *testing.B) {
	text := `{"a": {"coverage": {"f": {"lines": [` + strings.Repeat("null, 0, 12, 1, ", 1_250_000) + `1]}}}}`
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("SIMPLECOV", "x", strings.NewReader(text), nil); err != nil {
			b.Fatal(err)
		}
	}
}
