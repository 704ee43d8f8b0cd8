package web

import (
	"archive/zip"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

var testNames = regexp.MustCompile(`<span class="test">(?:<span>[^<]*</span>)?<b>([^<]*)</b>`)

// namesOn are the names of the tests on a page.
func namesOn(page answer) []string {
	var names []string
	for _, m := range testNames.FindAllStringSubmatch(page.body, -1) {
		names = append(names, html.UnescapeString(m[1]))
	}
	return names
}

func TestReportsOnBuildPage(t *testing.T) {
	s := newSite(t)
	b := s.reported()
	page := s.ask(request{path: "/builds/" + b.ID + "?k=" + s.key(b)})
	says(t, page, []string{"3 of 64 tests failed</h2>", `<span class="tagged failed">newly failing</span>`, "<summary>expected 12.34 to be 12.35</summary>",
		`href="https://github.com/octo/shop/blob/` + commit + `/test/price.test.js#L42" rel="noreferrer">test/price.test.js:42</a>`,
		`<span class="place">/usr/lib/money.js:7</span>`, "knows &lt;b&gt;every&lt;/b&gt; currency", "1 newly failing, 2 fixed, 1 slower, 3 added versus #1 of main",
		`<span class="word succeeded">89.2 %</span>`, "&#43;5.2 versus #1 of main", `<span class="word timedout">0 tests</span>`, "<p>Incomplete</p>",
		"/builds/" + b.ID + "/reports/2?k=" + s.key(b), "Raw files", "Artifacts: docs", "Artifacts: source_maps", "img/a b.png", "zip (",
		"<dt>VERSION</dt><dd>2.4.1-rc.3</dd>", "<dd>two\nlines</dd>"}, "more: see the reports", "They are no longer kept")
	if names := namesOn(page); len(names) != 3 || names[0] != "rounds up" || names[2] != "adds taxes" {
		t.Errorf("failing tests %q", names)
	}
	plain := s.get("/builds/" + s.submit(privateRepo, end(store.Succeeded)).ID)
	says(t, plain, nil, "Reports", "Exported variables", "tests failed", "Artifacts")
}

func TestReportPage(t *testing.T) {
	s := newSite(t)
	b := s.reported()
	key := s.key(b)
	path := "/builds/" + b.ID + "/reports/0?k=" + key
	page := s.ask(request{path: path})
	says(t, page, []string{"<title>Failed: octo-shop-unit of octo-shop #2 · buildsmith</title>", "<h1>octo-shop-unit</h1>", "JUNITXML", "3 of 64 failed", "took 24 s",
		"1 newly failing, 2 fixed, 1 slower, 3 added versus #1 of main", "Failing <span class=\"count\">3</span>", "Unknown <span class=\"count\">1</span>",
		"Succeeded <span class=\"count\">59</span>", "1–64 of 64", "reports/junit-cart.xml", "Made from 2 files", "<summary>expected 12.34 to be 12.35</summary>",
		"Expected: 12.35\n    Received: 12.34", `<p class="why">TypeError: undefined is not a function</p>`, "12 ms", "2.3 s", "&lt;1 ms"}, "Earlier", "Later")
	if names := namesOn(page); len(names) != 64 || !slices.Equal(names[:2], []string{"rounds up", "knows <b>every</b> currency of the world, even those that have not been in use for a very long time, such as the 🜚 ducat"}) ||
		!slices.Equal(names[2:6], []string{"adds taxes", "adds item 13", "adds item 8", "adds item 1"}) {
		t.Errorf("tests %q", names)
	}
	// Whoever has the k of a build has that of no other.
	if strings.Contains(page.body, s.build(b.Reports[0].Change.Build).ID) {
		t.Error("the page leads a reader to another build")
	}
	says(t, s.get("/builds/"+b.ID+"/reports/0"), []string{`versus <a href="/builds/` + b.Reports[0].Change.Build + `">#1 of main</a>`})
	links := regexp.MustCompile(`href="(/builds/[^"]*)"`).FindAllStringSubmatch(page.body, -1)
	for _, l := range links {
		if got := s.ask(request{path: html.UnescapeString(l[1])}); got.StatusCode != http.StatusOK {
			t.Errorf("GET %s: status %d", l[1], got.StatusCode)
		}
	}
	for _, test := range []struct {
		query string
		n     int
		first string
	}{
		{"&status=failing", 3, "rounds up"}, {"&status=new", 1, "rounds up"}, {"&status=fixed", 2, "adds item 3"}, {"&status=slower", 1, "adds item 61"},
		{"&status=skipped", 1, "adds item 8"}, {"&status=unknown", 1, "adds item 13"}, {"&status=succeeded", 59, "adds item 1"},
		{"&q=ROUNDING.", 2, "rounds up"}, {"&q=rounding&status=succeeded", 0, ""}, {"&q=nothing", 0, ""}, {"&q=+", 64, "rounds up"},
		{"&sort=slowest", 64, "knows <b>every</b> currency of the world, even those that have not been in use for a very long time, such as the 🜚 ducat"},
		{"&sort=files", 64, "adds item 1"}, {"&sort=slowest&status=failing&after=1", 2, "rounds up"}, {"&sort=whatever", 64, "rounds up"}, {"&after=63", 1, "adds item 61"}, {"&after=9999999999", 0, ""},
	} {
		page := s.ask(request{path: path + test.query})
		names := namesOn(page)
		if page.StatusCode != http.StatusOK || len(names) != test.n || test.n > 0 && names[0] != test.first {
			t.Errorf("%s: status %d, tests %q", test.query, page.StatusCode, names)
		}
	}
	says(t, s.ask(request{path: path + "&q=rounding&status=failing&sort=slowest"}), []string{`<a href="/builds/` + b.ID + `/reports/0?k=` + key + `&amp;q=rounding&amp;sort=slowest&amp;status=failing"`,
		`<input type="hidden" name="status" value="failing">`, `<input type="hidden" name="sort" value="slowest">`, `<input type="hidden" name="k" value="` + key + `">`, `1–2 of 2 with “rounding”`, "Show all"})
	for query, status := range map[string]int{"status=nothing": 400, "after=x": 400, "q=" + strings.Repeat("x", 300): 400} {
		if got := s.ask(request{path: path + "&" + query}); got.StatusCode != status {
			t.Errorf("%s: status %d", query, got.StatusCode)
		}
	}
	for _, n := range []string{"3", "-1", "x", "0x", "99999999999999999999", ""} {
		if got := s.ask(request{path: "/builds/" + b.ID + "/reports/" + n + "?k=" + key}); got.StatusCode != http.StatusNotFound {
			t.Errorf("report %q: status %d", n, got.StatusCode)
		}
	}
	incomplete := s.ask(request{path: "/builds/" + b.ID + "/reports/2?k=" + key})
	says(t, incomplete, []string{"The report is incomplete.", "<li>no file matches e2e/*.json</li>", "Incomplete"}, "Search by name")
}

func TestCoveragePage(t *testing.T) {
	s := newSite(t)
	b := s.reported()
	path := "/builds/" + b.ID + "/reports/1?k=" + s.key(b)
	page := s.ask(request{path: path})
	says(t, page, []string{"<b>89.2 %</b> of the lines covered", "93.4 % of the branches", "7 files", "&#43;5.2 versus", "no lines",
		`<a href="https://github.com/octo/shop/blob/` + commit + `/src/cart/lines.js" rel="noreferrer">src/cart/lines.js</a></td><td>74.7 %</td>`, `<td>50</td><td>100.0 %</td>`})
	order := func(page answer) string {
		var names []string
		for _, m := range regexp.MustCompile(`/src/([a-z/]+)\.js"`).FindAllStringSubmatch(page.body, -1) {
			names = append(names, m[1])
		}
		return strings.Join(names, " ")
	}
	if got := order(page); got != "cart/lines prices/taxes cart/cart index api/handlers cart/empty" {
		t.Errorf("files %s", got)
	}
	if got := order(s.ask(request{path: path + "&sort=name&q=CART"})); got != "cart/cart cart/empty cart/lines" {
		t.Errorf("files %s", got)
	}
}

// TestReportNoLongerKept shows what the build remembers.
func TestReportNoLongerKept(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	reports := demoTests()
	s.change(b.ID, func(b *store.Build) {
		b.Reports = []store.ReportSummary{summaryOf(&reports[0]), summaryOf(&reports[1])}
		b.Reports[0].Change = &store.ReportChange{Build: "gone", Number: 5, Ref: "main", NewlyFailing: []string{"x"}, NewlyFailingCount: 73}
		b.ReportFiles = &store.Artifacts{ID: store.ReportFiles}
		b.Secondary = []store.Artifacts{{ID: "docs", Name: "docs", Files: 3}}
	}, end(store.Failed))
	page := s.get("/builds/" + b.ID + "/reports/0")
	says(t, page, []string{"The report is no longer kept.", "rounds up", "3 of 64 failed", "versus #5 of main"}, "Raw files", "gone\"")
	if names := namesOn(page); len(names) != 3 {
		t.Errorf("tests %q", names)
	}
	says(t, s.get("/builds/"+b.ID+"/reports/0?status=new"), []string{"73 more are known by number only."})
	says(t, s.get("/builds/"+b.ID+"/reports/1"), []string{"The report is no longer kept.", "89.2 %"})
	says(t, s.get("/builds/"+b.ID), []string{"Artifacts: docs", "They are no longer kept."}, "Raw files", "artifacts.zip")
	for _, path := range []string{"/reports.zip", "/secondary/docs/artifacts.zip", "/secondary/docs/artifacts", "/secondary/docs/artifacts/x"} {
		if got := s.get("/builds/" + b.ID + path); got.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d", path, got.StatusCode)
		}
	}
}

func TestSecondaryArtifacts(t *testing.T) {
	s := newSite(t)
	before, b := s.submit(privateRepo, end(store.Succeeded)), s.submit(privateRepo, claim)
	s.leave(b.ID, before)
	own := s.take(b.ID, "", "own", "secondary/docs/artifacts/index.html", "mine", "index.html", "own")
	s.change(b.ID, func(b *store.Build) { b.Artifacts = own; b.Secondary[0].Prefix = "to/<b>here" }, end(store.Succeeded))
	get := func(path string) answer { return s.ask(request{path: "/builds/" + b.ID + path + "?k=" + s.key(b)}) }
	for path, want := range map[string]string{
		"/artifacts/index.html": "own", "/artifacts/secondary/docs/artifacts/index.html": "mine", "/secondary/docs/artifacts/index.html": "<h1>Manual</h1>",
		"/secondary/docs/artifacts/img/a%20b.png": "png",
	} {
		got := get(path)
		if got.StatusCode != http.StatusOK || got.body != want || got.Header.Get("Content-Security-Policy") != "sandbox" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") ||
			got.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("GET %s: status %d, %q, %v", path, got.StatusCode, got.body, got.Header)
		}
	}
	for _, path := range []string{"/secondary/docs/artifacts/none", "/secondary/none/artifacts", "/secondary/none/artifacts.zip", "/secondary/none/artifacts/index.html", "/secondary/-reports/artifacts.zip",
		"/secondary//artifacts.zip", "/secondary/docs%2F..%2F../artifacts.zip", "/secondary/source_maps/artifacts/index.html"} {
		if got := get(path); got.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: status %d", path, got.StatusCode)
		}
	}
	says(t, get("/secondary/docs/artifacts"), []string{"<h1>Artifacts: docs</h1>", "/builds/" + b.ID + "/secondary/docs/artifacts/index.html?k=", "to/&lt;b&gt;here", b.CodeBuildID()[:4]})
	for path, name := range map[string]string{"/secondary/docs/artifacts.zip": "manual.zip", "/reports.zip": "reports.zip", "/artifacts.zip": "own.zip"} {
		got := get(path)
		z, err := zip.NewReader(strings.NewReader(got.body), int64(len(got.body)))
		if err != nil || len(z.File) != 2 || got.Header.Get("Content-Disposition") != "attachment; filename="+name || got.Header.Get("Content-Security-Policy") != "sandbox" {
			t.Errorf("GET %s: status %d, %v", path, got.StatusCode, got.Header)
		}
	}
	none := s.submit(privateRepo, end(store.Succeeded))
	for _, path := range []string{"/reports.zip", "/reports/0", "/secondary/docs/artifacts"} {
		if got := s.get("/builds/" + none.ID + path); got.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s of a build without: status %d", path, got.StatusCode)
		}
	}
}

// large gives a build a report of very many tests, every fifth of which failed, and one of very many files.
func (s *site) large(tests int) store.Build {
	s.Helper()
	r := store.Report{Group: "large", Type: store.ReportTest, Format: "JUNITXML", Status: store.ReportFailed, Dropped: 7}
	for i := range tests {
		c := store.TestCase{Prefix: fmt.Sprintf("org.example.package%d.Class%d", i%100, i%1000), Name: fmt.Sprintf("test %d", i), Status: store.CaseSucceeded, Duration: time.Duration(i) * time.Microsecond}
		if i%5 == 0 {
			c.Status, c.Message, c.File, c.Line = store.CaseFailed, "it failed\n"+strings.Repeat("at org.example.Class.method(Class.java:7)\n", 5), "src/Class.java", i+1
		}
		r.Cases = append(r.Cases, c)
	}
	cover := store.Report{Group: "files", Type: store.ReportCoverage, Status: store.ReportSucceeded}
	for i := range tests / 50 {
		cover.Coverage = append(cover.Coverage, store.FileCoverage{Path: fmt.Sprintf("src/%06d.go", i), Coverage: store.Coverage{LinesCovered: i, LinesMissed: i % 977, BranchesCovered: 1}})
	}
	b := s.submit(privateRepo, claim)
	all := &store.ReportChange{Build: b.ID, Number: 1, Ref: "main"}
	for i := range store.MaxChanged {
		all.NewlyFailing = append(all.NewlyFailing, r.Cases[i*5].FullName())
		all.Slower = append(all.Slower, r.Cases[i*5].FullName())
		all.Fixed = append(all.Fixed, r.Cases[i].FullName())
	}
	s.report(b.ID, []store.Report{r, cover}, all)
	s.change(b.ID, end(store.Failed))
	return s.build(b.ID)
}

func TestLargeReport(t *testing.T) {
	s := newSite(t)
	const tests = 100_000
	b := s.large(tests)
	most := func(page answer) {
		t.Helper()
		if n := strings.Count(page.body, "<") - strings.Count(page.body, "</"); n > 4000 {
			t.Errorf("GET %s: %d elements", page.Request.URL, n)
		}
	}
	start := time.Now()
	page := s.get("/builds/" + b.ID + "/reports/0")
	t.Logf("a page of %d tests: %v, %d elements, %d bytes", tests, time.Since(start), strings.Count(page.body, "<")-strings.Count(page.body, "</"), len(page.body))
	most(page)
	says(t, page, []string{"1–200 of 100000", "20000 of 100000 failed", "7 more tests were read and not kept", "after=200\">Later"}, "Earlier")
	for _, query := range []string{"status=failing&after=19800", "sort=slowest&q=test+9999", "status=new"} {
		page := s.get("/builds/" + b.ID + "/reports/0?" + query)
		most(page)
		if names := namesOn(page); len(names) == 0 {
			t.Errorf("%s: no tests", query)
		}
	}
	seen := map[string]bool{}
	pages := 0
	for path := "/builds/" + b.ID + "/reports/1?sort=name"; path != ""; pages++ {
		page := s.get(path)
		most(page)
		for _, m := range regexp.MustCompile(`>src/(\d+)\.go<`).FindAllStringSubmatch(page.body, -1) {
			seen[m[1]] = true
		}
		next := regexp.MustCompile(`href="([^"]+)">Later`).FindStringSubmatch(page.body)
		if path = ""; next != nil {
			path = html.UnescapeString(next[1])
		}
	}
	if len(seen) != tests/50 || pages != tests/50/listedCases {
		t.Errorf("%d files on %d pages", len(seen), pages)
	}
	most(s.get("/builds/" + b.ID))
}

// TestReportsAreReadFewAtATime holds many readers to bring the server down.
func TestReportsAreReadFewAtATime(t *testing.T) {
	s := newSite(t)
	b := s.reported()
	for range maxReports {
		s.web.reports <- struct{}{}
	}
	done := make(chan int)
	go func() { done <- s.get("/builds/" + b.ID + "/reports/0").StatusCode }()
	select {
	case status := <-done:
		t.Errorf("status %d while others read reports", status)
	case <-time.After(100 * time.Millisecond):
	}
	<-s.web.reports
	if status := <-done; status != http.StatusOK {
		t.Errorf("status %d", status)
	}
}

// hostile are texts that want to do something where they are shown.
var hostile = []string{
	`</title></script><script>alert(1)</script><img src=x onerror=alert(1)>`, `"onmouseover="alert(1)`, `' onfocus='alert(1)`, "javascript:alert(1)", "{{.Path}}", "\u202egpj.exe\u2066",
	"\x1b]8;;http://evil\x07x\x1b[31m\x00", "a\nb\r\nc", strings.Repeat("ü", 5000), strings.Repeat("<", 5000), "\xff\xfe", "", "../../etc/passwd", "%00%2e%2e", "*[x](http://evil)*",
}

func TestHostileReport(t *testing.T) {
	s := newSite(t)
	for _, text := range hostile {
		b := s.submit(publicRepo, claim)
		tests := store.Report{Group: text, Type: store.ReportTest, Format: text, Status: store.ReportFailed, Files: []string{text}, Problems: []string{text}}
		for _, status := range []string{store.CaseFailed, text} {
			tests.Cases = append(tests.Cases, store.TestCase{Name: text, Prefix: text, Status: status, Message: text + "\n" + text, File: text, Line: 3})
		}
		cover := store.Report{Group: text, Type: store.ReportCoverage, Status: text, Coverage: []store.FileCoverage{{Path: text, Coverage: store.Coverage{LinesCovered: 1}}}}
		s.report(b.ID, []store.Report{tests, cover}, &store.ReportChange{Ref: text, NewlyFailing: []string{text + "." + text}, NewlyFailingCount: 1})
		s.change(b.ID, func(b *store.Build) { b.Exported = []store.Variable{{Name: text, Value: text}} }, end(store.Failed))
		for _, path := range []string{"", "/reports/0", "/reports/1", "/reports/0?status=new"} {
			page := s.ask(request{path: "/builds/" + b.ID + path})
			says(t, page, nil, "<script>alert", "<img", "\x1b", "\x00", "\u202e", "\u2066", `href="javascript`)
			bare := regexp.MustCompile(`"[^"<>]*"`).ReplaceAllString(page.body, `""`) // without the values of attributes
			if m := regexp.MustCompile(`(?i)<[a-z]+[^>]*\son[a-z]+=`).FindString(bare); m != "" {
				t.Errorf("%.20q: GET %s says %q", text, path, m)
			}
			for _, l := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(page.body, -1) {
				if !regexp.MustCompile(`^(/|https://github\.com/octo/docs|#main|data:image/svg)`).MatchString(l[1]) {
					t.Errorf("%.20q: GET %s has the link %.200s", text, path, l[1])
				}
			}
		}
		for _, path := range []string{"", "/reports/0", "/reports/1"} {
			if got := s.api("GET", "/api/builds/"+b.ID+path, ""); got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
				t.Errorf("%.20q: the API's %s: status %d", text, path, got.StatusCode)
			}
		}
	}
}
