package checks

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	gtext "github.com/yuin/goldmark/text"
)

// hostiles are texts that would like to be Markdown.
var hostiles = []string{
	"[x](http://evil.example.org)", "![x](http://evil.example.org)", "<img src=x onerror=alert(1)>", "<!-- buildsmith:summary -->", "<https://evil.example.org>",
	"see https://evil.example.org or www.evil.example.org or WWW.evil.example.org or ftp://evil.example.org/x", "a@example.org mailto:a@example.org", "@octocat &#64;octocat",
	"#1 octo/shop#1 GH-1 &#35;1", "# heading", "heading\n===", "- item", "+ item", "* item", "1. item", "2) item", "> quote", "---", "***", "    indented", "\tindented",
	"| a | b |\n|---|---|\n| c | d |", "a|b", "```\ncode\n```", "~~~\ncode\n~~~", "`code`", "``", "*em* **strong** _em_ ~~gone~~", "[ref]: http://evil.example.org", "[x][ref]",
	"- [ ] task", "[^1]", "\\", "\\\\`", "x\\", "$x$ $$y$$", "&lt;b&gt;", "a\r\nb", "\x1b]8;;http://evil\x07x", "</details>", "`` ` ```", "\u2028# x", "\f# x", "\v- x", " ", "",
}

var (
	markdown = goldmark.New(goldmark.WithExtensions(extension.GFM))
	mention  = regexp.MustCompile(`@\w|#\d|(?i)\bgh-\d`)
)

// kindsOf are the kinds of nodes that Markdown is, but for those that only hold text.
func kindsOf(source string) map[ast.NodeKind]int {
	kinds := map[ast.NodeKind]int{}
	_ = ast.Walk(markdown.Parser().Parse(gtext.NewReader([]byte(source))), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering {
			kinds[n.Kind()]++
		}
		return ast.WalkContinue, nil
	})
	delete(kinds, ast.KindDocument)
	delete(kinds, ast.KindText)
	delete(kinds, ast.KindString)
	delete(kinds, ast.KindTextBlock)
	return kinds
}

// holdMarkdown holds what text, code and block make of a text to be text, code and a block, and nothing else.
func holdMarkdown(t *testing.T, s string) {
	t.Helper()
	source := text(s)
	for kind, n := range kindsOf(source) {
		if kind != ast.KindParagraph || n > 1 {
			t.Errorf("text(%q) = %q is %d %v", s, source, n, kind)
		}
	}
	if m := mention.FindString(shownText(source)); m != "" {
		t.Errorf("text(%q) shows %q", s, m)
	}
	source = "before\n\n" + code(s) + "\n\nafter\n"
	if kinds := kindsOf(source); kinds[ast.KindCodeSpan] != 1 || kinds[ast.KindParagraph] != 3 || len(kinds) != 2 {
		t.Errorf("code(%q) is %v", s, kinds)
	}
	source = "| a | b |\n|---|---|\n| " + text(s) + " | " + code(s) + " |\n"
	if kinds := kindsOf(source); kinds[east.KindTableRow] != 1 || kinds[east.KindTableCell] != 4 || kinds[ast.KindCodeSpan] != 1 || len(kinds) != 5 {
		t.Errorf("a table of %q is %v:\n%s", s, kinds, source)
	}
	source = "before\n\n" + block(strings.Split(s, "\n")) + "\nafter\n"
	if kinds := kindsOf(source); kinds[ast.KindFencedCodeBlock] != 1 || kinds[ast.KindParagraph] != 2 || len(kinds) != 2 {
		t.Errorf("block(%q) is %v", s, kinds)
	}
}

// shownText is the text of a Markdown source as people see it.
func shownText(source string) string {
	var html strings.Builder
	if err := markdown.Convert([]byte(source), &html); err != nil {
		return err.Error()
	}
	plain := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(html.String(), "")
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&amp;", "&").Replace(plain)
}

func TestMarkdownCannotBeBroken(t *testing.T) {
	for _, s := range hostiles {
		holdMarkdown(t, s)
		for _, other := range hostiles {
			holdMarkdown(t, s+other)
			holdMarkdown(t, s+"\n"+other)
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range hostiles {
		f.Add(s)
	}
	f.Fuzz(holdMarkdown)
}

// TestLimitBreaksNothing cuts a summary at every place of its end: no block of code is left open, and nothing of the author's gets
// out of one.
func TestLimitBreaksNothing(t *testing.T) {
	end := "\n" + block([]string{"``` <b>@octocat</b>", "[x](http://evil.example.org)", "| a | b |"}) + "\n| " + code("`` x") + " | " + text("<!-- [x](y)") + " |\n\n"
	end += block(strings.Split(strings.Repeat("https://evil.example.org\n", 5), "\n"))
	for n := range len(end) + 10 {
		start := strings.Repeat("x\n", (maxSummary-len(end)-60+n)/2) + strings.Repeat("y", n%2)
		s := limit(start + end + strings.Repeat("z\n", 200))
		if c := utf8.RuneCountInString(s); c > maxSummary || !strings.HasSuffix(s, "… cut: the page behind this check has all of it.") {
			t.Fatalf("%d: %d characters, %q", n, c, s[len(s)-100:])
		}
		tail := s[strings.LastIndex(s, "x\nx\n")+4:]
		kinds := kindsOf(tail)
		if kinds[ast.KindLink]+kinds[ast.KindAutoLink]+kinds[ast.KindRawHTML]+kinds[ast.KindHTMLBlock] > 0 || openFence(s) != "" {
			t.Fatalf("%d: %v\n%s", n, kinds, tail)
		}
	}
	if s := limit(strings.Repeat("x", maxSummary+1)); s != "\n… cut: the page behind this check has all of it." {
		t.Errorf("one long line: %.100q", s)
	}
}
