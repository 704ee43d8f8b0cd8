package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

// view gives the log of a build as its page shows it.
func (s *site) view(b *store.Build) logView { return s.web.logView(&visit{build: b}) }

func (s *site) chunk(b *store.Build, n int) chunk {
	s.Helper()
	c, _, err := s.view(b).chunk(n)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func TestChunksAreAlwaysTheSame(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, claim)
	s.print(b.ID, "\x1b[33m\n"+lines(400, "line %d"))
	var before []chunk
	for n := range 8 {
		before = append(before, s.chunk(&b, n))
	}
	for n, c := range before {
		if len(c.Lines) != chunkLines || !strings.Contains(string(c.Lines[20]), fmt.Sprintf(`<span class="term-fg33">line %d</span>`, n*chunkLines+20)) {
			t.Errorf("chunk %d: %q", n, c.Lines[20])
		}
	}
	s.print(b.ID, "more\n")
	for n, c := range before {
		if diff := cmp.Diff(c.Lines, s.chunk(&b, n).Lines); diff != "" {
			t.Errorf("chunk %d changed: %s", n, diff)
		}
	}
	if c, total, err := s.view(&b).chunk(1000); err != nil || total != 402 || len(c.Lines) != 0 {
		t.Errorf("behind the end: %d lines of %d, %v", len(c.Lines), total, err)
	}
}

func TestElementBudget(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, claim)
	var text strings.Builder
	for i := range 1000 {
		for k := range 100 {
			fmt.Fprintf(&text, "\x1b[%dm%d", 31+(i+k)%6, k)
		}
		text.WriteString(strings.Repeat("y", i%10/9*5000) + "\x1b[0m\n")
	}
	s.print(b.ID, text.String())
	for n := range 3 {
		c := s.chunk(&b, n)
		got := 0
		for _, line := range c.Lines {
			got += strings.Count(string(line), "<") - strings.Count(string(line), "</")
		}
		if got != c.elements || got > chunkSpans+3*chunkLines {
			t.Errorf("chunk %d has %d elements, said to be %d", n, got, c.elements)
		}
	}
	for _, query := range []string{"", "?line=500", "?line=1"} {
		page := s.ask(request{path: "/builds/" + b.ID + query})
		if n := len(regexp.MustCompile(`<[a-z]`).FindAllString(page.body, -1)); n > 4000 {
			t.Errorf("the page%s has %d elements", query, n)
		}
	}
}

func TestClippedLineLeadsToTheRawLog(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, end(store.Succeeded))
	s.print(b.ID, "one\n"+strings.Repeat("x", 70<<10)+"\nthree\n")
	page := s.ask(request{path: "/builds/" + b.ID + "?k=" + s.key(b)})
	link := regexp.MustCompile(`<a class="more" href="([^"]+)"`).FindStringSubmatch(page.body)
	if link == nil {
		t.Fatal("a line of 70 KiB has no link to the raw log")
	}
	raw := s.ask(request{path: strings.ReplaceAll(link[1], "&amp;", "&")})
	if raw.StatusCode != http.StatusOK || len(raw.body) != 70<<10+1+len("three\n") || raw.body[0] != 'x' {
		t.Errorf("the link gives status %d and %d bytes", raw.StatusCode, len(raw.body))
	}
}

func TestWindow(t *testing.T) {
	s := newSite(t)
	running := s.submit(publicRepo, claim)
	s.print(running.ID, lines(1000, "line %d"))
	failed := s.submit(publicRepo, claim, func(b *store.Build) {
		p := b.Enter(store.PhaseBuild, b.Claimed)
		p.Line = 10
		p.Commands = []store.Command{{Text: "one", Line: 12, Exit: 3}, {Text: "two", Line: 502, Finally: true}}
		b.Failure = &store.Failure{Phase: store.PhaseBuild, Command: "one", Exit: 3, Line: 12}
	}, end(store.Failed))
	s.print(failed.ID, lines(1000, "line %d"))
	empty := s.submit(publicRepo, claim)
	short := s.submit(publicRepo, end(store.Succeeded))
	s.print(short.ID, lines(3, "line %d")+"no end")
	for _, test := range []struct {
		name                    string
		build                   store.Build
		asked                   int
		from, to, anchor, total int
		earlier, later          int
	}{
		{"running", running, 0, 701, 1000, 1000, 1000, 551, 0},
		{"asked", running, 500, 301, 600, 500, 1000, 151, 750},
		{"the first", running, 1, 1, 300, 1, 1000, 0, 450},
		{"far behind the end", running, 99999, 801, 1000, 1000, 1000, 651, 0},
		{"failed", failed, 0, 251, 550, 500, 1000, 101, 700},
		{"empty", empty, 0, 0, 0, 0, 0, 0, 0},
		{"empty, asked", empty, 5, 0, 0, 0, 0, 0, 0},
		{"short", short, 0, 1, 4, 4, 4, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := s.web.window(&visit{build: &test.build}, test.asked)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := []int{w.From, w.To, w.Anchor, w.Total}, []int{test.from, test.to, test.anchor, test.total}; !cmp.Equal(got, want) {
				t.Errorf("from, to, anchor, total = %v, want %v", got, want)
			}
			if w.Earlier() != test.earlier || w.Later() != test.later {
				t.Errorf("earlier %d, later %d, want %d, %d", w.Earlier(), w.Later(), test.earlier, test.later)
			}
			if got := s.ask(request{path: "/builds/" + test.build.ID + "?line=" + strconv.Itoa(test.asked)}); got.StatusCode != http.StatusOK {
				t.Errorf("the page has status %d", got.StatusCode)
			}
		})
	}
	page := s.ask(request{path: "/builds/" + running.ID + "?line=500"})
	if !strings.Contains(page.body, `<div class="l hit" id="L500"><a href="?line=500#L500">500</a>line 500</div>`) {
		t.Errorf("the line asked for is not marked")
	}
}

func TestFolds(t *testing.T) {
	b := &store.Build{Phases: []store.Phase{
		{Type: store.PhaseProvisioning},
		{Type: store.PhaseInstall, Line: 2, Commands: []store.Command{{Text: "a", Line: 4}, {Text: "b\nc\nd", Line: 10}, {Text: "silent", Line: 12}}},
		{Type: store.PhasePreBuild, Line: 14},
		{Type: store.PhaseBuild, Line: 16, Commands: []store.Command{{Text: "e", Line: 18}}},
	}}
	want := []fold{
		{Head: 2, First: 3, Last: 13}, {Head: 3, First: 4, Last: 6, Command: true}, {Head: 7, First: 10, Last: 10, Command: true},
		{Head: 11, First: 12, Last: 13, Command: true}, {Head: 14, First: 15, Last: 15},
		{Head: 16, First: 17}, {Head: 17, First: 18, Command: true},
	}
	if diff := cmp.Diff(want, folds(b)); diff != "" {
		t.Error(diff)
	}
}

func TestLines(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	s.print(b.ID, lines(120, "line <%d>"))
	path := "/builds/" + b.ID + "/lines?k=" + s.key(b) + "&chunks="
	got := s.ask(request{path: path + "2,0,9"})
	var answer struct {
		Total  int
		Chunks []struct {
			N     int
			Lines []string
		}
	}
	got.decode(t, &answer)
	if answer.Total != 120 || len(answer.Chunks) != 3 || answer.Chunks[0].N != 2 || len(answer.Chunks[0].Lines) != 20 || len(answer.Chunks[1].Lines) != 50 || len(answer.Chunks[2].Lines) != 0 {
		t.Errorf("%.300s", got.body)
	}
	want := fmt.Sprintf(`<div class="l" id="L101"><a href="?k=%s&amp;line=101#L101">101</a>line &lt;101&gt;</div>`, s.key(b))
	if answer.Chunks[0].Lines[0] != want {
		t.Errorf("line 101 is %s, want %s", answer.Chunks[0].Lines[0], want)
	}
	for _, bad := range []string{"", "x", "-1", "1,,2", "99999999999999999999", strings.Repeat("1,", maxChunksAsked) + "1"} {
		if got := s.ask(request{path: path + bad}); got.StatusCode != http.StatusBadRequest {
			t.Errorf("chunks=%.20s: status %d", bad, got.StatusCode)
		}
	}
	s.print(b.ID, strings.Repeat(strings.Repeat("x", 64<<10)+"\n", 500))
	s.ask(request{path: path + "0,3,4,5,6,7,8,9,10,11"}).decode(t, &answer)
	if len(answer.Chunks) < 2 || len(answer.Chunks) > 4 {
		t.Errorf("of ten chunks of 3 MB %d came at once", len(answer.Chunks))
	}
}

func TestSearch(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, end(store.Failed))
	s.print(b.ID, "a \x1b[31mNee\x1b[0mdle & <b>\nhay\n"+strings.Repeat("h", 100<<10)+"needle\nÄrger\r\nlast nEEDLE without end")
	path := "/builds/" + b.ID + "/search?k=" + s.key(b) + "&q="
	page := s.ask(request{path: path + "needle"})
	for _, want := range []string{`line=1#L1"><b>1</b> <span>a <mark>Needle</mark> &amp; &lt;b&gt;</span>`, `<b>5</b> <span>last <mark>nEEDLE</mark> without end`, "2 lines of 5."} {
		if !strings.Contains(page.body, want) {
			t.Errorf("no %q in %s", want, page.body)
		}
	}
	if got := s.ask(request{path: path + "Ärger"}); !strings.Contains(got.body, "<mark>Ärger</mark>") {
		t.Errorf("a text that is not ASCII is not found")
	}
	if got := s.ask(request{path: path + url.QueryEscape(`"><script>`)}); !strings.Contains(got.body, "No line of the log has “&#34;&gt;&lt;script&gt;”.") || strings.Contains(got.body, `"><script>`) {
		t.Errorf("nothing found: %s", got.body)
	}
	if got := s.ask(request{path: path + "needle&part=1"}); strings.Contains(got.body, "<html") || !strings.Contains(got.body, "<mark>") {
		t.Errorf("the part alone is %s", got.body)
	}
	if got := s.ask(request{path: path}); got.StatusCode != http.StatusOK || strings.Contains(got.body, "found") {
		t.Errorf("an empty search: status %d", got.StatusCode)
	}
	for _, bad := range []string{strings.Repeat("x", maxQuery+1), "x&from=y", "x&line=-1"} {
		if got := s.ask(request{path: path + bad}); got.StatusCode != http.StatusBadRequest {
			t.Errorf("q=%.20s: status %d", bad, got.StatusCode)
		}
	}
	for range maxSearches {
		s.web.search <- struct{}{}
	}
	if got := s.ask(request{path: path + "x"}); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("too many searches: status %d", got.StatusCode)
	}
}

func TestSearchGoesOn(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, end(store.Failed))
	s.print(b.ID, lines(5000, "match %d"))
	path := "/builds/" + b.ID + "/search?q=match"
	seen := map[string]bool{}
	pages := 0
	for ; path != "" && pages < 100; pages++ {
		page := s.ask(request{path: path})
		for _, m := range regexp.MustCompile(`<b>(\d+)</b> <span><mark>match</mark> (\d+)`).FindAllStringSubmatch(page.body, -1) {
			if m[1] != m[2] || seen[m[1]] {
				t.Fatalf("line %s has %q", m[1], m[0])
			}
			seen[m[1]] = true
		}
		next := regexp.MustCompile(`class="next" href="([^"]+)"`).FindStringSubmatch(page.body)
		if path = ""; next != nil {
			path = strings.ReplaceAll(next[1], "&amp;", "&")
		}
	}
	if len(seen) != 5000 || pages != 51 {
		t.Errorf("%d lines found on %d pages", len(seen), pages)
	}
	q := searcher{query: []byte("nothing"), ends: time.Now().Add(-time.Second)}
	f, err := s.store.OpenLog(b.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if more, err := q.run(f); err != nil || !more || q.line != 1000 {
		t.Errorf("a search that takes too long: more %v at line %d, %v", more, q.line, err)
	}
}

func TestHostileLogInThePage(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, func(b *store.Build) {
		play(b, true, 3)
		b.Failure.Command = "</code><script>alert(1)</script>"
		b.Failure.Tail = []string{"\x1b]8;;javascript:alert(2)\x07x\x1b]8;;\x07", "<img src=x onerror=alert(3)>", "\x1b]1338;url=http://evil.example;alt=x\x07"}
		b.Trigger.Title = "<script>alert(4)</script>"
		b.Trigger.HeadRef = "refs/heads/<script>alert(5)</script>"
		b.Trigger.Actor.Login = "<script>alert(6)</script>"
		b.Problems = []store.Problem{{Line: 1, Column: 1, Message: "<script>alert(7)</script>"}}
		b.Phase(store.PhaseBuild).Message = "<script>alert(8)</script>"
		b.Phase(store.PhaseBuild).Commands[0].Text = "<script>alert(9)</script>"
		b.Repo.WebURL = "javascript:alert(10)"
		b.Spec = "../../javascript:x"
	}, end(store.Failed))
	hostile := []string{
		"<script>alert(11)</script>", "\x1b]8;;javascript:alert(12)\x07click\x1b]8;;\x07", "\x1b]52;c;ZXZpbA==\x07",
		"\x1b]1338;url=http://evil.example/x.png;alt=x\x07", "\x1b]1339;url=javascript:alert(13);content=x\x07", "\x1b_bk;t=1\x07", "\x1b[2J\x1b[H\x1b[5A",
		"\u009d8;;http://evil.example\u009c", "\xff\xfe\x9b31m", "\x1b[31m\" onmouseover=\"alert(14)", "'><svg onload=alert(15)>",
	}
	s.print(b.ID, strings.Join(hostile, "\n")+"\n")
	events := s.ask(request{path: "/builds/" + b.ID + "/events"})
	parts := []string{s.get("/builds/" + b.ID).body, s.ask(request{path: "/builds/" + b.ID + "/search?q=alert"}).body, s.get("/").body, s.get("/queue").body}
	for line := range strings.SplitSeq(events.body, "\n") {
		var data map[string]any
		if text, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(text), &data) == nil {
			parts = append(parts, fmt.Sprint(data["summary"]), fmt.Sprint(data["lines"]))
		}
	}
	if len(parts) < 8 {
		t.Fatalf("the events are %s", events.body)
	}
	bad := regexp.MustCompile(`(?i)<script>|<img|<svg onload|[\x1b\x07\x00]|href="\s*javascript|href="http|src="http|<[^>]*\son[a-z]+=|<time datetime="1970`)
	for i, part := range parts {
		if found := bad.FindString(part); found != "" {
			t.Errorf("part %d has %q", i, found)
		}
		if strings.ContainsRune(part, '\u009d') || strings.ContainsRune(part, '\u009b') {
			t.Errorf("part %d has control characters of C1", i)
		}
	}
	if !strings.Contains(parts[0], "\uFFFD\uFFFD\uFFFD31m") {
		t.Errorf("what is no UTF-8 is not marked")
	}
}
