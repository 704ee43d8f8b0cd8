package agent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"
)

// plainMask does what a masker does, by trying every pattern at every place. It also returns the pieces of text that are
// not hidden.
func plainMask(list []pattern, text []byte) (masked []byte, shown [][]byte) {
	hidden := make([]bool, len(text))
	for _, p := range list {
		if len(p.text) < minSecret {
			continue
		}
		for from := 0; from+len(p.text) <= len(text); from++ {
			if !bytes.HasPrefix(text[from:], p.text) {
				continue
			}
			to := from + len(p.text)
			for i := from; i < to; i++ {
				hidden[i] = true
			}
			if p.left && from > 0 && isBase64(text[from-1]) {
				hidden[from-1] = true
			}
			if p.right && to < len(text) && isBase64(text[to]) {
				hidden[to] = true
			}
		}
	}
	for i := 0; i < len(text); {
		from := i
		for i < len(text) && hidden[i] == hidden[from] {
			i++
		}
		if hidden[from] {
			masked = append(masked, mask...)
			continue
		}
		masked = append(masked, text[from:i]...)
		shown = append(shown, text[from:i])
	}
	return masked, shown
}

// texts are what patterns look for.
func texts(list []pattern) (texts [][]byte) {
	for _, p := range list {
		texts = append(texts, p.text)
	}
	return texts
}

func isBase64(c byte) bool {
	return strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_", c) >= 0
}

// maskStream writes the pieces of text that end at cuts, and the rest, to m's stream.
func maskStream(m *masker, text []byte, cuts ...int) []byte {
	var out []byte
	from := 0
	piece := make([]byte, 0, 64) // used again and again, as a reader does
	for _, to := range append(cuts, len(text)) {
		piece = append(piece[:0], text[from:to]...)
		out = append(out, m.write(piece)...)
		from = to
	}
	return append(out, m.flush()...)
}

// checkHeld checks that what m holds back may belong to a match: the beginning of a pattern, or a pattern after which a
// character may be hidden, or nothing, each after one character that may be hidden before a match.
func checkHeld(t *testing.T, m *masker) {
	t.Helper()
	for skip := range min(2, len(m.held)+1) {
		held := m.held[skip:]
		if skip == 1 && !isBase64(m.held[0]) {
			break
		}
		if len(held) == 0 {
			return
		}
		for _, p := range m.list {
			if bytes.HasPrefix(p.text, held) && (p.right || len(held) < len(p.text)) {
				return
			}
		}
	}
	t.Errorf("%q is held back without need", m.held)
}

// everyByte cuts text into bytes.
func everyByte(text []byte) (cuts []int) {
	for i := range text {
		cuts = append(cuts, i)
	}
	return cuts
}

// checkMasked compares with want what becomes of text as a file, as one write, byte by byte, and in two writes cut anywhere.
func checkMasked(t *testing.T, secrets []string, text, want string) {
	t.Helper()
	m := newMasker(secrets)
	in := []byte(text)
	if got := m.text(text); got != want {
		t.Errorf("secrets %.200q: %.300q is masked as %.300q, want %.300q", secrets, text, got, want)
		return
	}
	if got := maskStream(m, in); string(got) != want {
		t.Errorf("secrets %.200q: %.300q in one write is masked as %.300q, want %.300q", secrets, text, got, want)
	}
	if got := maskStream(m, in, everyByte(in)...); string(got) != want {
		t.Errorf("secrets %.200q: %.300q byte by byte is masked as %.300q, want %.300q", secrets, text, got, want)
	}
	for i := 0; i <= len(in); i += 1 + len(in)/200 {
		if got := maskStream(m, in, i); string(got) != want {
			t.Errorf("secrets %.200q: %.300q cut at %d is masked as %.300q, want %.300q", secrets, text, i, got, want)
		}
	}
}

func TestMaskText(t *testing.T) {
	pem := "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\nBKc=\nab\n-----END PRIVATE KEY-----\n"
	for _, c := range []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"no secret", []string{"s3cr3t!"}, "nothing here\n", "nothing here\n"},
		{"empty", []string{"s3cr3t!"}, "", ""},
		{"value", []string{"s3cr3t!"}, "a s3cr3t! b s3cr3t!\n", "a *** b ***\n"},
		{"only the value", []string{"s3cr3t!"}, "s3cr3t!", "***"},
		{"beginnings of the value", []string{"s3cr3t!"}, "s3cr3t s3cr3 s3s3cr3t! s3c", "s3cr3t s3cr3 s3*** s3c"},
		{"twice without a gap", []string{"s3cr3t!"}, "<s3cr3t!s3cr3t!>", "<***>"},
		{"one beside another", []string{"first", "second"}, "<firstsecond>", "<***>"},
		{"one in another", []string{"word", "password!"}, "word password! passwords", "*** *** pass***s"},
		{"one begins another", []string{"pass", "password"}, "passwor password pass", "***wor *** ***"},
		{"one ends another", []string{"word", "password"}, "password sword", "*** s***"},
		{"one over the end of another", []string{"abcdef", "defghi"}, "<abcdefghi> <abcdefgh> <bcdefghi>", "<***> <***gh> <bc***>"},
		{"one over two others", []string{"abcd", "efgh", "cdef"}, "<abcdefgh>", "<***>"},
		{"a long one that does not come", []string{"abcd", "bcdefghij"}, "<abcdefghi>", "<***efghi>"},
		{"over itself", []string{"aaaa"}, "aaaaaa aaa aaaaaaaaaaaa", "*** aaa ***"},
		{"over itself with a period", []string{"ababa"}, "xabababab", "x***b"},
		{"under 4 bytes", []string{"abc", "", "\n", "é\n"}, "abc é\n\n", "abc é\n\n"},
		{"blanks", []string{"     ", "\t ab \n\n"}, "a      \t ab \n\n", "a      \t ab \n\n"},
		{"4 bytes", []string{"ab c", "éé"}, "ab c éé é", "*** *** é"},
		{"the mask", []string{"a***b"}, "a***b ***b a***", "*** ***b a***"},
		{"the mask alone", []string{"****"}, "*** **** *****", "*** *** ***"},
		{"what the mask makes", []string{"secret", "a***b"}, "asecretb", "a***b"},
		{"UTF-8", []string{"pässwörd€😀"}, "é pässwörd€😀é pässwörd€\xf0", "é ***é pässwörd€\xf0"},
		{"half a character", []string{"abc\xc3"}, "abcé", "***\xa9"},
		{"not UTF-8", []string{"\xff\xfe\x00\x80"}, "\xff\xff\xfe\x00\x80\x80", "\xff***\x80"},

		{"line feed after the value", []string{"s3cr3t!\n"}, "s3cr3t!\nnext", "***\nnext"},
		{"line breaks around the value", []string{"\r\n\ns3cr3t!\r\n\n"}, "\ns3cr3t!\nnext", "\n***\nnext"},
		{"blanks around the value", []string{"  s3cr3t! "}, "a   s3cr3t! b s3cr3t!.", "a ***b ***."},
		{"lines", []string{"one1\n  two two\t\r\nab\n\ntrue"}, "one1 two two ab true\n", "*** *** ab ***\n"},
		{"value of several lines", []string{"one1\nab\ntrue"}, "one1\nab\ntrue\n", "***\n"},
		{"lines unquoted", []string{"one1\nab\ntrue"}, "one1 ab true\n", "*** ab ***\n"},
		{"PEM", []string{pem}, "x\n" + pem + "y", "x\n***\ny"},
		{"PEM with CRLF", []string{pem}, strings.ReplaceAll(pem, "\n", "\r\n"),
			"-----BEGIN PRIVATE KEY-----\r\n***\r\n***\r\n***\r\nab\r\n-----END PRIVATE KEY-----\r\n"},
		{"PEM indented", []string{pem}, strings.ReplaceAll(pem, "\n", "\n  "),
			"-----BEGIN PRIVATE KEY-----\n  ***\n  ***\n  ***\n  ab\n  -----END PRIVATE KEY-----\n  "},
		{"PEM kept with CRLF", []string{strings.ReplaceAll(pem, "\n", "\r\n")}, pem,
			"-----BEGIN PRIVATE KEY-----\n***\n***\n***\nab\n-----END PRIVATE KEY-----\n"},
		{"PEM kept on one line", []string{strings.ReplaceAll(pem, "\n", `\n`)}, pem,
			"-----BEGIN PRIVATE KEY-----\n***\n***\n***\nab\n-----END PRIVATE KEY-----\n"},
		{"PEM kept in JSON", []string{`{"id":"x","key":"` + strings.ReplaceAll(pem, "\n", `\r\n`) + `","b":1}`}, pem,
			"-----BEGIN PRIVATE KEY-----\n***\n***\n***\nab\n-----END PRIVATE KEY-----\n"},
		{"PEM with blanks for line breaks", []string{"-----BEGIN KEY----- abcdef -----END KEY-----"},
			"-----BEGIN KEY----- abcdef -----END KEY-----", "***"},
		{"somebody else's PEM", []string{pem}, "-----BEGIN PRIVATE KEY-----\nMIIEother\n-----END PRIVATE KEY-----\n",
			"-----BEGIN PRIVATE KEY-----\nMIIEother\n-----END PRIVATE KEY-----\n"},
		{"lines that are like armour", []string{"-----BEGIN secret-----\n-----BEGIN A----- x -----END A-----"},
			"-----BEGIN secret----- -----BEGIN A----- x -----END A-----", "*** ***"},

		// E03: echo "$P" | base64
		{"base64 of echo", []string{"s3cr3t!"}, "czNjcjN0IQo=\n", "***=\n"},
		{"base64 of printf", []string{"s3cr3t!"}, "czNjcjN0IQ==\n", "***==\n"},

		{"percent-encoding", []string{"a b&c/d~é'"}, "?q=a+b%26c%2Fd~%C3%A9%27&x", "?q=***&x"},
		{"JSON", []string{"a\"b\\c\n<é>\x01"}, `{"x":"a\"b\\c\n<é>\u0001"}`, `{"x":"***"}`},
		{"JSON for HTML", []string{"a\"b<&>\u2028"}, `"a\"b\u003c\u0026\u003e\u2028"`, `"***"`},
		{"JSON in ASCII", []string{"a<é/😀\x7f\b"}, `"a<\u00e9/\ud83d\ude00` + "\x7f" + `\b"`, `"***"`},
		{"JSON from PHP", []string{"a<é/b"}, `"a<\u00e9\/b"`, `"***"`},
		{"JSON that is not UTF-8", []string{"ab\xffcd\n\uFFFD"}, "\"ab\xffcd\\n\uFFFD\"", `"***"`},
		{"bash's trace", []string{"it's me"}, `+ echo 'it'\''s me'`, `+ echo '***'`},
		{"dash's export", []string{"it's me"}, `export A='it'"'"'s me'`, `export A='***'`},
		{"bash's declare", []string{"a\"b$c`d\\"}, "declare -x A=\"a\\\"b\\$c\\`d\\\\\"", `declare -x A="***"`},
		{"bash's trace of lines", []string{"l1\nit's\x1b\x7f\tl3\\"}, `+ echo $'l1\nit\'s\E\177\tl3\\'`, `+ echo $'***'`},
	} {
		t.Run(c.name, func(t *testing.T) { checkMasked(t, c.secrets, c.text, c.want) })
	}
}

// TestMaskNothing masks without secrets.
func TestMaskNothing(t *testing.T) {
	for _, secrets := range [][]string{nil, {}, {"", "abc", "  \n"}} {
		if m := newMasker(secrets); m != nil {
			t.Errorf("newMasker(%q) masks %q", secrets, texts(m.list))
		}
	}
	var m *masker
	in := []byte("text")
	if out := m.write(in); &out[0] != &in[0] || len(out) != len(in) {
		t.Errorf("write gives %q, want the text itself", out)
	}
	if out := m.bytes(in); &out[0] != &in[0] || len(out) != len(in) {
		t.Errorf("bytes gives %q, want the text itself", out)
	}
	if out := m.flush(); len(out) != 0 {
		t.Errorf("flush gives %q, want nothing", out)
	}
	if out := m.text("text"); out != "text" {
		t.Errorf("text gives %q", out)
	}
}

// TestMaskHolds checks what write shows at once.
func TestMaskHolds(t *testing.T) {
	m := newMasker([]string{"pa$$word", "pa$$"})
	for _, step := range []struct{ in, want string }{
		{"hello\n", "hello\n"},
		{"hello", "hell"}, // base64 of a secret may follow, and the o belong to it
		{" pa", "o "},
		{"$", ""},
		{"$", ""},
		{"wor", ""},
		{"d", "***"},
		{"", ""},
		{"pa$$w", ""}, // joins the mask before it, and may be more
		{"!", "w!"},
		{"p", ""},
	} {
		if got := m.write([]byte(step.in)); string(got) != step.want {
			t.Errorf("write(%q) = %q, want %q", step.in, got, step.want)
		}
	}
	if got := m.text("p"); got != "p" {
		t.Errorf("text gives %q within a stream, want its own alone", got)
	}
	if got := m.flush(); string(got) != "p" {
		t.Errorf("flush gives %q, want what was held back", got)
	}
	if got := m.flush(); len(got) != 0 {
		t.Errorf("a second flush gives %q", got)
	}
	if got := string(m.write([]byte("a$$\n"))); got != "a$$\n" {
		t.Errorf("after a flush write gives %q: a secret does not go over one", got)
	}
	// The end of a line is shown at once, so that a quiet command does not hide what it said last.
	m = newMasker([]string{"\nfirst\nsecond\n\n"})
	if got := string(m.write([]byte("a line\n"))); got != "a line\n" {
		t.Errorf("write gives %q, want the whole line", got)
	}
}

// TestMaskResult checks that what write returned stays until the next call, whatever becomes of the text it was given.
func TestMaskResult(t *testing.T) {
	m := newMasker([]string{"s3cr3t!"})
	m.write([]byte("one s3cr"))
	got := m.write([]byte("3t! two thre"))
	if want := "*** two thr"; string(got) != want {
		t.Errorf("write gives %q, want %q", got, want)
	}
	file := []byte("a s3cr3t! b")
	if got := m.bytes(file); string(got) != "a *** b" || string(file) != "a s3cr3t! b" {
		t.Errorf("bytes gives %q and leaves %q", got, file)
	}
	if got := m.flush(); string(got) != "e" {
		t.Errorf("flush gives %q", got)
	}
}

// TestMaskBase64 encodes secrets in the middle of other text.
func TestMaskBase64(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, secret := range []string{"abcd", "s3cr3t!", "???>>>~~~", "\xff\xfe\xfd\xfc\xfb", "pässword", "a value of some more length"} {
		m := newMasker([]string{secret})
		for before := range 10 {
			for after := range 10 {
				for _, end := range []string{"", "\n"} {
					text := make([]byte, before+after)
					for i := range text {
						text[i] = byte(random.Uint32()) | 0x80 // nothing like a line feed
					}
					plain := string(text[:before]) + secret + end + string(text[before:])
					for _, code := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
						in := code.EncodeToString([]byte(plain))
						// Every character that has a bit of the secret is hidden, and no other but those of the line feed.
						from, to := before*8/6, (before+len(secret))*8
						if end != "" {
							to += 8
						}
						to = (to + 5) / 6
						want := in[:from] + mask + in[to:]
						if got := m.text(in); got != want {
							t.Errorf("%q, %d bytes before it and %d after it: %q is masked as %q, want %q", secret, before, after, in, got, want)
						}
						if got := maskStream(m, []byte(in), everyByte([]byte(in))...); string(got) != want {
							t.Errorf("byte by byte: %q is masked as %q, want %q", in, got, want)
						}
					}
				}
			}
		}
	}
}

// TestMaskBrokenBase64 encodes long secrets as tools do that break lines.
func TestMaskBrokenBase64(t *testing.T) {
	for length := 40; length < 400; length += 7 {
		secret := strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz!?", 11)[:length]
		m := newMasker([]string{secret})
		for _, width := range []int{64, 76, 1 << 20} {
			for _, end := range []string{"", "\n"} {
				var broken strings.Builder
				for code := base64.StdEncoding.EncodeToString([]byte(secret + end)); code != ""; {
					n := min(width, len(code))
					broken.WriteString(code[:n] + "\n")
					code = code[n:]
				}
				for line := range strings.Lines(m.text(broken.String())) {
					if left := strings.Trim(line, "*=\n"); len(left) >= 8 {
						t.Errorf("%d bytes in lines of %d characters: %q is shown", length, width, left)
					}
				}
			}
		}
	}
}

// TestMaskEncoders compares with encoders of the standard library, and with what others give, by example.
func TestMaskEncoders(t *testing.T) {
	const secret = "a b+c/d?e&f=g:h@i;j,k$l!m'n(o)p*q~r-s_t.u<v>w\"x\\y%z#é€😀[\n]"
	m := newMasker([]string{"0" + secret + "0"})
	quoted, err := json.Marshal("0" + secret + "0")
	if err != nil {
		t.Fatal(err)
	}
	var xmlText bytes.Buffer
	if err := xml.EscapeText(&xmlText, []byte("0"+secret+"0")); err != nil {
		t.Fatal(err)
	}
	forms := []string{
		string(quoted[1 : len(quoted)-1]),
		url.QueryEscape("0" + secret + "0"),
		url.PathEscape("0" + secret + "0"),
		url.User("0" + secret + "0").String(),
		// Python: quote, quote(safe=""), quote_plus
		"0a%20b%2Bc/d%3Fe%26f%3Dg%3Ah%40i%3Bj%2Ck%24l%21m%27n%28o%29p%2Aq~r-s_t.u%3Cv%3Ew%22x%5Cy%25z%23%C3%A9%E2%82%AC%F0%9F%98%80%5B%0A%5D0",
		"0a%20b%2Bc%2Fd%3Fe%26f%3Dg%3Ah%40i%3Bj%2Ck%24l%21m%27n%28o%29p%2Aq~r-s_t.u%3Cv%3Ew%22x%5Cy%25z%23%C3%A9%E2%82%AC%F0%9F%98%80%5B%0A%5D0",
		"0a+b%2Bc%2Fd%3Fe%26f%3Dg%3Ah%40i%3Bj%2Ck%24l%21m%27n%28o%29p%2Aq~r-s_t.u%3Cv%3Ew%22x%5Cy%25z%23%C3%A9%E2%82%AC%F0%9F%98%80%5B%0A%5D0",
		// JavaScript: encodeURIComponent, encodeURI
		"0a%20b%2Bc%2Fd%3Fe%26f%3Dg%3Ah%40i%3Bj%2Ck%24l!m'n(o)p*q~r-s_t.u%3Cv%3Ew%22x%5Cy%25z%23%C3%A9%E2%82%AC%F0%9F%98%80%5B%0A%5D0",
		"0a%20b+c/d?e&f=g:h@i;j,k$l!m'n(o)p*q~r-s_t.u%3Cv%3Ew%22x%5Cy%25z#%C3%A9%E2%82%AC%F0%9F%98%80%5B%0A%5D0",
		// a form
		"0a+b%2Bc%2Fd%3Fe%26f%3Dg%3Ah%40i%3Bj%2Ck%24l%21m%27n%28o%29p*q%7Er-s_t.u%3Cv%3Ew%22x%5Cy%25z%23%C3%A9%E2%82%AC%F0%9F%98%80%5B%0A%5D0",
		// XML: Go, Python's escape, attributes of pytest and of Java
		xmlText.String(),
		html.EscapeString("0" + secret + "0"),
		"0a b+c/d?e&amp;f=g:h@i;j,k$l!m'n(o)p*q~r-s_t.u&lt;v&gt;w\"x\\y%z#é€😀[\n]0",
		"0a b+c/d?e&amp;f=g:h@i;j,k$l!m'n(o)p*q~r-s_t.u&lt;v&gt;w&quot;x\\y%z#é€😀[&#10;]0",
		"0a b+c/d?e&amp;f=g:h@i;j,k$l!m&apos;n(o)p*q~r-s_t.u&lt;v&gt;w&quot;x\\y%z#é€😀[\n]0",
		// Python: json.dumps
		`0a b+c/d?e&f=g:h@i;j,k$l!m'n(o)p*q~r-s_t.u<v>w\"x\\y%z#\u00e9\u20ac\ud83d\ude00[\n]0`,
	}
	for _, form := range forms {
		for _, form := range []string{form, lowerHex(form)} {
			if got := m.text("<" + form + ">"); got != "<***>" {
				t.Errorf("%s is masked as %s", form, got)
			}
		}
	}
}

// lowerHex makes the digits of percent-encoding lower case.
func lowerHex(text string) string {
	b := []byte(text)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' && strings.Contains("0123456789ABCDEF", string(b[i+2])) {
			copy(b[i:i+3], bytes.ToLower(b[i:i+3]))
		}
	}
	return string(b)
}

// TestMaskShort checks that no pattern of less than four bytes is made, which would hide half of a log.
func TestMaskShort(t *testing.T) {
	for _, secret := range []string{"abcd", "ab\ncd", "a\nb\nc\nd", "\n\n\nabcd", "a\tbc\t", "é€", "    abcd", "-----BEGIN A-----\nab\n-----END A-----"} {
		for _, p := range newMasker([]string{secret}).list {
			if len(p.text) < minSecret || strings.TrimSpace(string(p.text)) == "" || isArmour(string(p.text)) {
				t.Errorf("%q has the pattern %q", secret, p.text)
			}
		}
	}
}

// TestMaskLong prints secrets of 64 KiB.
func TestMaskLong(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	raw := make([]byte, 48<<10)
	for i := range raw {
		raw[i] = byte(random.Uint32())
	}
	secret := base64.StdEncoding.EncodeToString(raw) // 64 KiB without a blank
	lines := "-----BEGIN KEY-----\n"
	for i := 0; i < len(secret); i += 64 {
		lines += secret[i:i+64] + "\n"
	}
	m := newMasker([]string{secret + "/", lines})
	for _, c := range []struct{ name, text, want string }{
		{"whole", "<" + secret + "/>", "<***>"},
		{"base64", "<" + base64.StdEncoding.EncodeToString([]byte(secret+"/")) + ">", "<***=>"},
		{"percent", "<" + url.QueryEscape(secret+"/") + ">", "<***>"},
		{"lines", lines, "***\n"},
		{"cut short", "<" + secret[1:] + ">", "<" + plainLines(secret) + ">"},
	} {
		for _, size := range []int{1 << 20, 4096, 97} {
			var cuts []int
			for i := size; i < len(c.text); i += size {
				cuts = append(cuts, i)
			}
			if got := maskStream(m, []byte(c.text), cuts...); string(got) != c.want {
				t.Errorf("%s, %d bytes a write: %.200q, want %.200q", c.name, size, got, c.want)
			}
		}
	}
	text := []byte("<" + secret + "/>")
	if got := maskStream(m, text, everyByte(text)...); string(got) != "<***>" {
		t.Errorf("byte by byte: %.200q", got)
	}
}

// plainLines is what is left of a long secret's text without its first character: its lines of 64 are secrets, too.
func plainLines(secret string) string { return secret[1:64] + mask }

// TestMaskRandom compares with plainMask: few letters, so that patterns begin, end, hold and overlap each other, with the
// characters after and before them hidden or not, in text made of pieces of them, cut at random.
func TestMaskRandom(t *testing.T) {
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	for seed := range uint64(rounds) {
		random := rand.New(rand.NewPCG(seed, 1))
		letters := []string{"ab", "ab*", "aé\n ", "ABCDEFGHabcdefgh+/-_=\n", "\x00\xff\xc3\xa9"}[random.IntN(5)]
		word := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = letters[random.IntN(len(letters))]
			}
			return b
		}
		var list []pattern
		if random.IntN(2) == 0 {
			for range 1 + random.IntN(4) {
				list = derivePatterns(list, string(word(4+random.IntN(8))))
			}
		} else {
			for range 1 + random.IntN(6) {
				list = append(list, pattern{text: word(3 + random.IntN(10)), left: random.IntN(3) == 0, right: random.IntN(3) == 0})
			}
		}
		list = append(list, pattern{text: word(4)})
		var text []byte
		for range random.IntN(12) {
			switch p := list[random.IntN(len(list))].text; random.IntN(4) {
			case 0:
				text = append(text, word(random.IntN(6))...)
			case 1:
				text = append(text, p[:random.IntN(len(p)+1)]...)
			case 2:
				text = append(text, p[random.IntN(len(p)+1):]...)
			default:
				text = append(text, p...)
			}
		}
		want, _ := plainMask(list, text)
		m := &masker{patterns: compilePatterns(append([]pattern(nil), list...))}
		if got := m.bytes(text); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %q is masked as %q, want %q\n%q", seed, text, got, want, texts(list))
		}
		var cuts []int
		for i := range text {
			if random.IntN(3) == 0 {
				cuts = append(cuts, i)
			}
		}
		m.write(text)
		checkHeld(t, m)
		m.flush()
		if got := maskStream(m, text, cuts...); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %q cut at %v is masked as %q, want %q\n%q", seed, text, cuts, got, want, texts(list))
		}
		if got := maskStream(m, text, everyByte(text)...); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %q byte by byte is masked as %q, want %q\n%q", seed, text, got, want, texts(list))
		}
	}
}

// FuzzMask checks of any secrets, one a piece between NULs, any text, in which \x01 and a number stand for a pattern, and
// any cuts:
//
//   - the outcome is that of plainMask;
//   - what is shown is the text's pieces outside the masks, and no pattern is in one of them: a pattern in the outcome has
//     a byte of a mask in it, and comes of what the mask stands beside, not of a secret;
//   - the cuts make no difference, and after flush nothing is left.
func FuzzMask(f *testing.F) {
	for _, seed := range []struct{ secrets, text, cuts string }{
		{"s3cr3t!", "a s3cr3t! czNjcjN0IQo= b", "\x03\x01\x04"},
		{"abcd\x00cdef\x00bcdefghij", "abcdefghi", "\x01"},
		{"aaaa\x00aaaab", "aaaaaaaaaaaac", "\x02\x05"},
		{"one1\ntwo2\r\n", "one1\r\ntwo2\n", "\x06"},
		{"a***b\x00secret", "asecretba***b", "\x01\x02\x03"},
		{"\xff\xfe\xfd\xfc", "\xff\xff\xfe\xfd\xfc//79/A==", "\x01"},
		{"abcdabcd\x00dabc", "a\x01\x00\x01\x03b\x01\x10c", "\x02\x09"},
		{"é<\"'& /", "é<\\\"'& / %C3%A9%3C", "\x01"},
	} {
		f.Add([]byte(seed.secrets), []byte(seed.text), []byte(seed.cuts))
	}
	f.Fuzz(func(t *testing.T, secrets, text, cuts []byte) {
		if len(secrets) > 200 || len(text) > 200 || len(cuts) > 200 {
			return // plainMask is slow
		}
		var list []pattern
		var values []string
		for value := range strings.SplitSeq(string(secrets), "\x00") {
			list = derivePatterns(list, value)
			values = append(values, value)
		}
		text = withPatterns(text, list)
		want, shown := plainMask(list, text)
		m := newMasker(values)
		if m != nil {
			m.write(text)
			checkHeld(t, m)
			m.flush()
		}
		got := maskStream(m, text)
		if !bytes.Equal(got, want) {
			t.Fatalf("%q is masked as %q, want %q", text, got, want)
		}
		for _, piece := range shown {
			for _, p := range list {
				if len(p.text) >= minSecret && bytes.Contains(piece, p.text) {
					t.Errorf("%q shows %q, which has %q in it", got, piece, p.text)
				}
			}
		}
		var at []int
		to := 0
		for _, n := range cuts {
			if to += int(n); to > len(text) {
				break
			}
			at = append(at, to)
		}
		if got := maskStream(m, text, at...); !bytes.Equal(got, want) {
			t.Errorf("%q cut at %v is masked as %q, want %q", text, at, got, want)
		}
		if got := m.flush(); len(got) > 0 {
			t.Errorf("a second flush gives %q", got)
		}
		if got := m.bytes(text); !bytes.Equal(got, want) {
			t.Errorf("%q as a file is masked as %q, want %q", text, got, want)
		}
	})
}

// withPatterns puts patterns where text has \x01 and a number.
func withPatterns(text []byte, list []pattern) (with []byte) {
	for len(text) > 0 {
		if text[0] == 1 && len(text) > 1 && len(list) > 0 {
			with = append(with, list[int(text[1])%len(list)].text...)
			text = text[2:]
			continue
		}
		with = append(with, text[0])
		text = text[1:]
	}
	return with
}

// BenchmarkMask masks the log of a compilation, in the pieces that a pipe gives. It measures the ratio to copying the log
// as well.
func BenchmarkMask(b *testing.B) {
	log := benchmarkLog(8 << 20)
	for _, c := range []struct {
		name    string
		secrets []string
	}{
		{"none", nil},
		{"1", benchmarkSecrets(1, 32)},
		{"50", benchmarkSecrets(50, 32)},
		{"50 of 64 KiB", benchmarkSecrets(50, 64<<10)},
		{"50 in the log", append(benchmarkSecrets(49, 32), "github.com")},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := newMasker(c.secrets)
			to := make([]byte, len(log))
			start := time.Now()
			const copies = 20
			for range copies {
				copy(to, log)
			}
			copying := time.Since(start) / copies
			b.SetBytes(int64(len(log)))
			n := 0
			for b.Loop() {
				for rest := log; len(rest) > 0; {
					piece := rest[:min(len(rest), 64<<10)]
					n += copy(to, m.write(piece))
					rest = rest[len(piece):]
				}
				n += copy(to, m.flush())
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(copying), "copies")
			if m != nil {
				b.ReportMetric(float64(len(m.list)), "patterns")
			}
			if n == 0 {
				b.Error("nothing is shown")
			}
		})
	}
}

// BenchmarkNewMasker makes a masker of 50 secrets.
func BenchmarkNewMasker(b *testing.B) {
	for _, length := range []int{32, 64 << 10} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			secrets := benchmarkSecrets(50, length)
			for b.Loop() {
				newMasker(secrets)
			}
			b.ReportAllocs()
		})
	}
}

// benchmarkSecrets are passwords and tokens, two of three with characters to encode, one of ten of several lines.
func benchmarkSecrets(n, length int) []string {
	random := rand.New(rand.NewPCG(5, 6))
	var secrets []string
	for i := range n {
		letters := []string{"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "abcdefghijABCDEFGHIJ0123456789+/=", "abcXYZ789!\"$ %&/'<>\\"}[i%3]
		var s strings.Builder
		for j := range length {
			if i%10 == 9 && j%64 == 63 {
				s.WriteByte('\n')
				continue
			}
			s.WriteByte(letters[random.IntN(len(letters))])
		}
		secrets = append(secrets, s.String())
	}
	return secrets
}

// benchmarkLog is text as compilers and package managers print it.
func benchmarkLog(size int) []byte {
	random := rand.New(rand.NewPCG(7, 8))
	words := strings.Fields("Compiling Downloading Installing github.com/owner/repository src/main/java/Service.java node_modules/.bin warning: error: " +
		"unused variable expected found in at line from package version resolved dependency ok PASS FAIL --- === RUN TestServer INFO DEBUG done")
	var b bytes.Buffer
	for b.Len() < size {
		switch random.IntN(6) {
		case 0:
			fmt.Fprintf(&b, "2024-05-06T07:08:%02d.%06dZ ", random.IntN(60), random.IntN(1e6))
		case 1:
			fmt.Fprintf(&b, "sha256:%016x%016x ", random.Uint64(), random.Uint64())
		case 2:
			fmt.Fprintf(&b, "https://registry.example.com/%s/-/%d.%d.%d.tgz ", words[random.IntN(len(words))], random.IntN(9), random.IntN(20), random.IntN(30))
		}
		for range 3 + random.IntN(10) {
			b.WriteString(words[random.IntN(len(words))])
			b.WriteByte(' ')
		}
		b.WriteByte('\n')
	}
	return b.Bytes()[:size]
}
