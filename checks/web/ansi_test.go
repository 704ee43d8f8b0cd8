package web

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRenderLine(t *testing.T) {
	for _, test := range []struct{ name, line, want string }{
		{"plain", "hello, world", "hello, world"},
		{"nothing", "", ""},
		{"HTML", `<script>alert("1")</script> & <img src=x onerror='y'>`, "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; &amp; &lt;img src=x onerror=&#39;y&#39;&gt;"},
		{"HTML in colour", "\x1b[31m<b>&\"'/\x1b[0m", `<span class="term-fg31">&lt;b&gt;&amp;&quot;&#39;&#47;</span>`},
		{"colours", "\x1b[1;31mred\x1b[0m and \x1b[94;42mblue\x1b[m", `<span class="term-fg31 term-fg1">red</span> and <span class="term-fgi94 term-bg42">blue</span>`},
		{"256 colours", "\x1b[38;5;208mo\x1b[48;5;17mn\x1b[39;49m.", `<span class="term-fgx208">o</span><span class="term-fgx208 term-bgx17">n</span>.`},
		{"true colours", "\x1b[38;2;255;135;0mo\x1b[0m\x1b[48:2::0:0:95mb", `<span class="term-fgx208">o</span><span class="term-bgx17">b</span>`},
		{"four numbers of a colour", "\x1b[38;2;1;2;3;4mx", `<span class="term-fgx16 term-fg4">x</span>`},
		{"a colour cut short", "\x1b[38;2;1mx\x1b[38;5my\x1b[38mz", "xyz"},
		{"a number out of range", "\x1b[38;5;256mx\x1b[99999999999999999999my", "xy"},
		{"inverse", "\x1b[7mx\x1b[27my", `<span class="term-fg30 term-bg47">x</span>y`},
		{"concealed", "\x1b[8mseen\x1b[28m", "seen"},
		{"blinking", "\x1b[5mx", "x"},
		{"an empty style", "\x1b[31m\x1b[0mx", "x"},
		{"windows line end", "a\r", "a"},
		{"progress", "10%\r50%\r100%", "100%"},
		{"progress, shorter", "longer\rab", "abnger"},
		{"erase", "longer\r\x1b[Kab", "ab"},
		{"erase all", "longer\x1b[2K\rab", "ab"},
		{"spinner", "a spinner\x1b[2K\x1b[1Gdone", "done"},
		{"tab", "a\tb", "a\tb"},
		{"OSC 8", "\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07", "click"},
		{"OSC 8 with ST", "\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\", "click"},
		{"OSC 52", "a\x1b]52;c;ZXZpbA==\x07b", "ab"},
		{"OSC 1337", "a\x1b]1337;File=name=eC5wbmc=;inline=1:AAAA\x07b", "ab"},
		{"OSC 1338", "a\x1b]1338;url=http://evil.example/x.png;alt=x\x07b", "ab"},
		{"OSC 1339", "a\x1b]1339;url=javascript:alert(1);content=x\x07b", "ab"},
		{"OSC without end", "a\x1b]8;;http://evil.example/", "a"},
		{"OSC in C1", "a\u009d8;;http://evil.example/\u009cb", "ab"},
		{"APC", "a\x1b_bk;t=123\x07b\x1b_x\x1b\\c", "abc"},
		{"DCS, SOS, PM", "a\x1bPq#0\x1b\\b\x1bXx\x1b\\c\x1b^x\x1b\\d", "abcd"},
		{"CSI in C1", "\u009b31mred\u009b0m", `<span class="term-fg31">red</span>`},
		{"cursor", "a\x1b[5Ab\x1b[2;3Hc\x1b[10Dd\x1b[3Ge\x1b[Ef\x1b[sg\x1b[u", "abcdefg"},
		{"erase in display", "abc\x1b[2Jd\x1b[3Je", "abcde"},
		{"modes", "\x1b[?25la\x1b[?1049hb\x1b[>4;1mc\x1b[=1;1ud", "abcd"},
		{"SGR with intermediates", "\x1b[31 ma\x1b[1$mb", "ab"},
		{"charsets", "\x1b(0a\x1b)Bb\x1b%Gc\x1b#8d", "abcd"},
		{"two characters", "\x1bMa\x1b7b\x1b8c\x1bcd\x1b=e", "abcde"},
		{"C0", "a\x00b\x07c\x08d\x0be\x0cf\x0eg\x0fh\x7fi", "abcdefghi"},
		{"C1", "a\u0080b\u0085c\u008dd\u009ae", "abcde"},
		{"no UTF-8", "a\xffb\xc3(c\x9b31md\xed\xa0\x80e", "a\uFFFDb\uFFFD(c\uFFFD31md\uFFFD\uFFFD\uFFFDe"},
		{"escape at the end", "a\x1b", "a"},
		{"sequence at the end", "a\x1b[31", "a"},
		{"escape in a sequence", "a\x1b[3\x1b[31mb", `a<span class="term-fg31">b</span>`},
		{"escape in a string", "a\x1b]0;title\x1b[31mb", `a<span class="term-fg31">b</span>`},
		{"wide", "日本語 🎉", "日本語 🎉"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s style
			if got, _, _ := s.render([]byte(test.line), lineSpans); got != test.want {
				t.Errorf("render(%q) = %q, want %q", test.line, got, test.want)
			}
		})
	}
}

func TestStyleCarriesOver(t *testing.T) {
	var s style
	for _, line := range []struct{ text, want string }{
		{"a \x1b[32mb", `a <span class="term-fg32">b</span>`},
		{"c", `<span class="term-fg32">c</span>`},
		{"", ""},
		{"d\x1b[1m", `<span class="term-fg32">d</span>`},
		{"e\x1b[0mf", `<span class="term-fg32 term-fg1">e</span>f`},
		{"g", "g"},
	} {
		if got, _, _ := s.render([]byte(line.text), lineSpans); got != line.want {
			t.Errorf("%q became %q, want %q", line.text, got, line.want)
		}
	}
	var f style
	f.follow([]byte("x\x1b[32m\nplain\n\x1b]0;\x1b[31\nmore\x1b[1m\n\u009b4m"))
	if want := (style{fg: 3, bold: true, underline: true}); f != want {
		t.Errorf("follow gave %+v, want %+v", f, want)
	}
}

func TestLongLines(t *testing.T) {
	var s style
	text, spans, clipped := s.render([]byte(strings.Repeat("é", maxColumns)), lineSpans)
	if clipped || spans != 0 || utf8.RuneCountInString(text) != maxColumns {
		t.Errorf("a line of %d characters: %d, clipped %v", maxColumns, utf8.RuneCountInString(text), clipped)
	}
	text, _, clipped = s.render([]byte(strings.Repeat("x", 64<<10)+"\x1b[31m"), lineSpans)
	if !clipped || len(text) != maxColumns {
		t.Errorf("a line of 64 KiB: %d characters, clipped %v", len(text), clipped)
	}
	if s.fg != 2 {
		t.Errorf("the style behind the cut is lost")
	}
	// Many redraws are one line, and not a long one.
	text, _, clipped = (&style{}).render([]byte(strings.Repeat("\r[=====>    ] 50 %", 3000)), lineSpans)
	if clipped || text != "[=====&gt;    ] 50 %" {
		t.Errorf("progress: clipped %v, %.100q", clipped, text)
	}
	var many strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&many, "\x1b[%dmx", 31+i%6)
	}
	text, spans, _ = (&style{}).render([]byte(many.String()), lineSpans)
	if spans != 0 || text != strings.Repeat("x", 3000) {
		t.Errorf("3000 colours: %d spans in %.100q", spans, text)
	}
}

func TestNearest(t *testing.T) {
	for n := 16; n < 256; n++ {
		c := palette(n)
		if got := palette(int(nearest(c[0], c[1], c[2])) - 1); got != c {
			t.Errorf("nearest to %v is %v", c, got)
		}
		for _, ground := range []rgb{lightGround, darkGround} {
			if got := contrast(c.readable(ground), ground); got < 4.5 {
				t.Errorf("colour %d has contrast %.1f on %v", n, got, ground)
			}
		}
	}
	css := paletteCSS()
	for _, want := range []string{".term-fgx208{", ".term-bgx17{background:#00005f;color:#ffffff}", ".term-bgx231{background:#ffffff;color:#000000}"} {
		if !strings.Contains(css, want) {
			t.Errorf("the style sheet has no %s", want)
		}
	}
}

// harmless is what a rendered line may consist of.
var harmless = regexp.MustCompile(`^(?:[^<>"\x00-\x08\x0a-\x1f\x7f-\x{9f}]|<span class="term-[a-z0-9]+(?: term-[a-z0-9]+)*">|</span>)*$`)

func checkRendered(t *testing.T, line []byte) {
	t.Helper()
	var s style
	text, spans, _ := s.render(line, lineSpans)
	if !utf8.ValidString(text) || !harmless.MatchString(text) {
		t.Errorf("%q became %q", line, text)
	}
	if n := strings.Count(text, "<span"); n != spans || n > lineSpans || n != strings.Count(text, "</span>") {
		t.Errorf("%q became %d spans, said to be %d: %q", line, n, spans, text)
	}
	var f style
	f.follow(line)
	if f != s {
		t.Errorf("%q leaves the style %+v, or %+v if it is not shown", line, s, f)
	}
}

func FuzzANSI(f *testing.F) {
	for _, seed := range []string{"plain <b>", "\x1b[1;31mred\x1b[0m", "\x1b]8;;http://x\x07y\x1b]8;;\x07", "\x1b]1338;url=x;alt=y\x07", "\x1b_bk;t=1\x07",
		"\r\x1b[K\x1b[2K\x1b[1G", "\x1b[38;2;1;2;3;4m", "\u009b31m\u009d8;;\u009c", "\xff\xfe\x1b[", "\x1b(0\x1bM\x1b7\x1b8\x08", "\x1b[38:2::1:2:3mx\x1b[4:3my"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for part := range strings.SplitSeq(string(line), "\n") {
			checkRendered(t, []byte(part))
		}
	})
}

// TestANSIAtRandom puts hostile pieces together in many ways.
func TestANSIAtRandom(t *testing.T) {
	pieces := []string{"\x1b", "[", "]", "0;", "31", "m", ";", ":", "K", "\r", "\x07", "\\", "8;;http://x", "1338;url=x", "<", ">", "&", "\"", "'",
		"a", " ", "\t", "\u009b", "\u009d", "\u009c", "\xc2", "\x9b", "\xff", "_bk;t=5", "P", "G", "38;2;1;2;3", "48;5;9", "7", "1", "(", "\x18", "é", "🎉"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		var line strings.Builder
		for range r.IntN(30) {
			line.WriteString(pieces[r.IntN(len(pieces))])
		}
		checkRendered(t, []byte(line.String()))
	}
}

func BenchmarkRender(b *testing.B) {
	line := []byte("\x1b[32m  ✓\x1b[0m cart \x1b[2m›\x1b[0m adds an item to the cart and shows its price \x1b[90m(12 ms)\x1b[0m")
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		var s style
		s.render(line, lineSpans)
	}
}
