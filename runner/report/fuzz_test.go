package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var xmlFormats = []string{"JUNITXML", "NUNITXML", "NUNIT3XML", "TESTNGXML", "VISUALSTUDIOTRX", "CLOVERXML", "COBERTURAXML", "JACOCOXML"}

// promises reads a file in every way that may differ, and checks what holds for any file.
func promises(t *testing.T, format string, text []byte) {
	for _, src := range []*Source{nil, NewSource([]string{root}, nil), NewSource([]string{root}, tree)} {
		c, err := Parse(format, "x", bytes.NewReader(text), src)
		check(t, c)
		if err != nil {
			if s := err.Error(); !utf8.ValidString(s) || len(s) > 5*MaxName || strings.Contains(s, "\n") {
				t.Errorf("the error is %q", s)
			}
		}
		// Nothing is made of nothing.
		size := 0
		for i := range c.Cases {
			size += textSize(&c.Cases[i])
		}
		if size > 100*len(text)+1000 {
			t.Errorf("%d bytes are read from %d", size, len(text))
		}
		r := Make("g", format, []File{{"x", c}, {"y", c}}, nil)
		check(t, Content{Cases: r.Cases, Coverage: r.Coverage})
		Summarize(&r)
		if change := Compare(&r, &r); change.NewlyFailingCount+change.FixedCount+change.SlowerCount+change.Added+change.Removed > 0 {
			t.Errorf("a report differs from itself: %+v", change)
		}
	}
}

func FuzzXML(f *testing.F) {
	for _, s := range samples {
		if i := slices.Index(xmlFormats, s.format); i >= 0 {
			f.Add(byte(i), sample(f, s.file))
		}
	}
	f.Add(byte(0), []byte("\xff\xfe<\x00t\x00e\x00s\x00t\x00s\x00u\x00i\x00t\x00e\x00/\x00>\x00"))
	f.Add(byte(0), []byte(`<!DOCTYPE a [<!ENTITY b "c">]><testsuite><testcase name="&b;"/></testsuite>`))
	f.Add(byte(0), []byte(`<a:testsuite><testcase name='&#x41;&#xd800;&lt;&nbsp;&'><failure><![CDATA[a.go:1]]>x<b/>&amp;</failure></testcase></a:testsuite>`))
	f.Fuzz(func(t *testing.T, which byte, text []byte) {
		promises(t, xmlFormats[int(which)%len(xmlFormats)], text)
		compareXML(t, text)
	})
}

// compareXML reads a document with encoding/xml and with xmlReader. What the first takes, and is not refused on purpose,
// the other must take, with the same elements, attributes and text.
func compareXML(t *testing.T, text []byte) {
	if bytes.Contains(text, []byte("<!D")) || bytes.ContainsAny(text, "\r\x00") || len(text) < 4 {
		return // declarations are refused, line ends are left, and zeros look like UTF-16
	}
	want, ok := standardXML(text)
	if !ok {
		return
	}
	in, err := newInput(bytes.NewReader(text), true)
	if err != nil {
		return // an encoding, or an empty file
	}
	x := newXMLReader(in)
	x.collecting = true
	var got []string
	for {
		depth := x.depth()
		more := x.next()
		if depth > 0 && len(x.text) > 0 {
			got = append(got, "text "+string(x.text))
		}
		x.text = x.text[:0]
		if !more {
			break
		}
		if x.ended {
			got = append(got, "end "+x.name)
			continue
		}
		begin := "begin " + x.name
		for _, a := range x.attrs {
			begin += fmt.Sprintf(" %s=%q", local(a.name), x.attr(a.name))
		}
		got = append(got, begin)
	}
	if x.err != nil {
		t.Fatalf("encoding/xml takes %q, xmlReader: %v", text, x.err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("of %q xmlReader reads\n%q\nencoding/xml\n%q", text, got, want)
	}
}

// standardXML is what encoding/xml reads; it is not ok if that takes the document only because it does not look closely.
func standardXML(text []byte) (events []string, ok bool) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("no UTF-8") }
	depth, roots := 0, 0
	var open []xml.Name
	held := ""
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return events, depth == 0 && roots == 1
		}
		if err != nil {
			return nil, false
		}
		if data, isData := token.(xml.CharData); isData {
			if depth == 0 && strings.TrimSpace(string(data)) != "" || bytes.ContainsRune(data, 0xfeff) && depth == 0 {
				return nil, false
			}
			if depth > 0 {
				held += string(data)
			}
			continue
		}
		switch token := token.(type) {
		case xml.StartElement:
			if held != "" {
				events, held = append(events, "text "+held), ""
			}
			if depth == 0 {
				roots++
			}
			if depth++; depth > maxDepth || roots > 1 || len(token.Attr) > maxAttributes {
				return nil, false
			}
			begin := "begin " + token.Name.Local
			names := map[string]bool{}
			for _, a := range token.Attr {
				full := a.Name.Space + ":" + a.Name.Local
				if names[full] || strings.Contains(a.Name.Local, ":") || len(full) > maxTagName {
					return nil, false
				}
				names[full] = true
				begin += fmt.Sprintf(" %s=%q", a.Name.Local, a.Value)
			}
			if strings.Contains(token.Name.Local, ":") || len(token.Name.Space)+len(token.Name.Local) >= maxTagName {
				return nil, false
			}
			events = append(events, begin)
			open = append(open, token.Name)
		case xml.EndElement:
			if held != "" {
				events, held = append(events, "text "+held), ""
			}
			if depth--; depth < 0 || open[depth] != token.Name {
				return nil, false
			}
			open = open[:depth]
			events = append(events, "end "+token.Name.Local)
		case xml.Directive:
			return nil, false
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range samples {
		switch s.format {
		case "CUCUMBERJSON":
			f.Add(byte(0), sample(f, s.file))
		case "SIMPLECOV":
			f.Add(byte(1), sample(f, s.file))
		}
	}
	f.Add(byte(0), []byte(`["\ud83d\udd11\ud800\u0000\/", -1.5e-7, true, false, null, {}, []]`))
	f.Fuzz(func(t *testing.T, which byte, text []byte) {
		promises(t, []string{"CUCUMBERJSON", "SIMPLECOV"}[which%2], text)
		compareJSON(t, text)
	})
}

// compareJSON reads a value with encoding/json and with jsonReader. What the first takes the other must take, with the
// same value; what the other takes although the first does not may differ only in control characters and numbers.
func compareJSON(t *testing.T, text []byte) {
	in, err := newInput(bytes.NewReader(text), false)
	if err != nil || bytes.ContainsRune(text, 0) || bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) || len(text) > maxValue {
		return
	}
	j := newJSONReader(in)
	got := anyJSON(j)
	j.finish()
	var want any
	err = json.Unmarshal(text, &want)
	if deep := (*problem)(nil); errors.As(j.err, &deep) && strings.Contains(deep.text, "within each other") {
		return
	}
	if err == nil && j.err != nil {
		t.Fatalf("encoding/json takes %q, jsonReader: %v", text, j.err)
	}
	if err == nil {
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) {
			t.Fatalf("of %q jsonReader reads %s, encoding/json %s", text, a, b)
		}
	}
	if err != nil && j.err == nil && !strings.Contains(err.Error(), "in string literal") && !strings.Contains(err.Error(), "numeric literal") &&
		!strings.Contains(err.Error(), "cannot unmarshal number") && !numbers(err) {
		t.Fatalf("jsonReader takes %q, encoding/json: %v", text, err)
	}
}

// numbers reports whether an error of encoding/json is about what follows a number: 01, 1.e5.
func numbers(err error) bool {
	s := err.Error()
	return strings.Contains(s, "decimal point") || strings.Contains(s, "in exponent") || strings.Contains(s, "after array element") ||
		strings.Contains(s, "after object key:value pair") || strings.Contains(s, "after top-level value")
}

// anyJSON is the next value as encoding/json gives it.
func anyJSON(j *jsonReader) any {
	switch j.kind() {
	case '{':
		m := map[string]any{}
		j.object(func(key string) { m[string([]rune(key))] = anyJSON(j) })
		return m
	case '[':
		l := []any{}
		j.array(func() { l = append(l, anyJSON(j)) })
		return l
	case '"':
		return string([]rune(j.text()))
	case '0':
		return j.number()
	}
	w := string(j.in.peek(1))
	j.skip()
	switch w {
	case "t":
		return true
	case "f":
		return false
	}
	return nil
}

func FuzzLCOV(f *testing.F) {
	for _, s := range samples {
		if s.format == "LCOV" || s.format == "LCOVINFO" {
			f.Add(sample(f, s.file))
		}
	}
	f.Add([]byte("SF:\nDA:-1,x\nBRDA:1,2\nLF:9\nLH:10\nend_of_record"))
	f.Fuzz(func(t *testing.T, text []byte) { promises(t, "LCOV", text) })
}
