package report

import (
	"fmt"
	"strings"
	"testing"
)

// TestXMLAsStandard reads documents as encoding/xml does.
func TestXMLAsStandard(t *testing.T) {
	for _, text := range []string{
		"<a/>",
		"<a></a >",
		"<?xml version='1.0'?>\n<!-- - x --><a/>\n<!----><?pi x?>",
		"<a b='1' c = \"2\"\n\td='\"'>x</a>",
		"<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x1F511;</a>",
		"<a b='&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x1F511;'/>",
		"<a>x<![CDATA[<b>&amp;]]]]><![CDATA[>]]>y</a>",
		"<a>x<b>y</b>z<!-- no -->!<c/></a>",
		"<n:a xmlns:n='u' n:b='1'><n:b/></n:a>",
		"<größe ß='é'>ü</größe>",
		strings.Repeat("<a>", maxDepth) + strings.Repeat("</a>", maxDepth),
		"<a>" + strings.Repeat("x&amp;", 10_000) + "</a>",
	} {
		if _, ok := standardXML([]byte(text)); !ok {
			t.Errorf("encoding/xml refuses %.80q", text)
		}
		compareXML(t, []byte(text))
	}
}

// TestXMLLenient reads what encoding/xml refuses and test tools write.
func TestXMLLenient(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a & b", "a & b"},
		{"a&b;c", "a&b;c"},
		{"a&;b", "a&;b"},
		{"&nbsp;&eacute;", "&nbsp;&eacute;"},
		{"&#27;[31mx&#x1b;[0m", "x"},
		{"\x1b[31mx\x1b[0m\x08", "x\ufffd"},
		{"&#xd800;&#x110000;&#99999999999;&#x;&#;", "\ufffd\ufffd\ufffd&#x;&#;"},
		{"a\xff\xfeb", "a\ufffd\ufffdb"},
		{"a > b ]]> c", "a > b ]]> c"},
		{"&verylongname;", "&verylongname;"},
	} {
		c := mustParse(t, "JUNITXML", fmt.Sprintf(`<testsuite><testcase name="a"><failure>%s</failure></testcase></testsuite>`, tt.text), nil)
		if got := c.Cases[0].Message; got != tt.want {
			t.Errorf("the text %q reads as %q, want %q", tt.text, got, tt.want)
		}
		c = mustParse(t, "JUNITXML", fmt.Sprintf(`<testsuite><testcase name="a"><failure message="%s"/></testcase></testsuite>`, tt.text), nil)
		if got := c.Cases[0].Message; got != tt.want {
			t.Errorf("the attribute %q reads as %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestXMLBounds reads as much as is looked at and not more.
func TestXMLBounds(t *testing.T) {
	in, err := newInput(strings.NewReader("<a b='"+strings.Repeat("x", maxValue+1)+"' "+strings.Repeat("c='1' ", maxAttributes)+"d='2'>"+
		strings.Repeat("y", maxValue+1)+"<b/>z</a>"), true)
	if err != nil {
		t.Fatal(err)
	}
	x := newXMLReader(in)
	if !x.next() || len(x.attr("b")) != maxValue || x.attr("c") != "1" || x.attr("d") != "" || x.attr("e") != "" {
		t.Errorf("the attributes are %d bytes, %q, %q, %q", len(x.attr("b")), x.attr("c"), x.attr("d"), x.attr("e"))
	}
	if text := x.textOf(); text != strings.Repeat("y", maxValue) || x.next() || x.err != nil {
		t.Errorf("the text has %d bytes, then %v", len(text), x.err)
	}
}

func TestEach(t *testing.T) {
	in, err := newInput(strings.NewReader("<a><b><x/></b><c>1<y/>2</c><d/><e><f/><g><h/></g></e></a>"), true)
	if err != nil {
		t.Fatal(err)
	}
	x := newXMLReader(in)
	x.next()
	var got []string
	x.each(func(name string) {
		switch name {
		case "c":
			name += "=" + x.textOf()
		case "e":
			x.each(func(below string) { name += "/" + below })
		}
		got = append(got, name)
	})
	if want := "b c=12 d e/f/g"; strings.Join(got, " ") != want || x.next() || x.err != nil {
		t.Errorf("each gives %q, then %v; want %s", got, x.err, want)
	}
}
