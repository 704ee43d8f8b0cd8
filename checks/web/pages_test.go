package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// says checks that a page says what it should, and does not say what it should not.
func says(t *testing.T, page answer, want []string, not ...string) {
	t.Helper()
	if page.StatusCode != http.StatusOK {
		t.Errorf("GET %s: status %d", page.Request.URL, page.StatusCode)
	}
	for _, text := range want {
		if !strings.Contains(page.body, text) {
			t.Errorf("GET %s does not say %q", page.Request.URL, text)
		}
	}
	for _, text := range not {
		if strings.Contains(page.body, text) {
			t.Errorf("GET %s says %q", page.Request.URL, text)
		}
	}
}

func TestBuildList(t *testing.T) {
	s := newSite(t)
	says(t, s.get("/"), []string{"No builds yet", "buildspec.yml"}, "Earlier builds", "<select")
	d := newDemo(s)
	says(t, s.get("/"), []string{`<b>1</b> running, <b>2</b> queued`, "octo-shop <b>#4</b>", `<span class="state failed">Failed</span>`,
		`<span class="state fault">Fault</span>`, `<span class="state timedout">Timed out</span>`, `<span class="state running">Running</span>`,
		"Round prices of carts up", "a1b2c3d4", "into main", "alice", `<span class="phase-name">PROVISIONING</span>`, "data-since="}, "No build can begin")
	says(t, s.get("/builds?project=octo-docs"), []string{"<h1>octo-docs</h1>", "Explain the queue", `<option selected>octo-docs</option>`}, "Round prices")
	s.update(func(tx *store.Tx) error { return tx.SetObstacle("The disk has 1 GB free of <100> GB.") })
	says(t, s.get("/builds"), []string{"<b>No build can begin.</b> The disk has 1 GB free of &lt;100&gt; GB."})
	says(t, s.get("/queue"), []string{"<b>No build can begin.</b>", "The disk has 1 GB free"}, "a free slot")
	says(t, s.get("/builds/"+d.queued.ID), []string{"<b>Waits for The disk has 1 GB free of &lt;100&gt; GB"})
	for i := range 120 {
		s.submit(publicRepo, func(b *store.Build) { b.Trigger.Title = fmt.Sprint("build ", i) })
	}
	says(t, s.get("/"), []string{"build 119<", "build 70<", "Earlier builds"}, "build 69<", "Newest")
	newest := s.get("/")
	before := strings.SplitAfter(newest.body, "before=")[1]
	before, _, _ = strings.Cut(before, `"`)
	says(t, s.get("/builds?before="+before), []string{"build 69<", "build 20<", "Newest", "Earlier builds"}, "build 70<", "build 19<")
	if got := s.get("/?before=x"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("before=x: status %d", got.StatusCode)
	}
}

func TestQueuePage(t *testing.T) {
	s := newSite(t)
	says(t, s.get("/queue"), []string{"No build runs now.", "No build waits."})
	d := newDemo(s)
	says(t, s.get("/queue"), []string{"a free slot: 1 build runs now", `<span class="sr">Position </span>1</span>`, "Explain the queue", "Show the weight of parcels"})
	says(t, s.ask(request{path: "/builds/" + d.queued.ID}), []string{"<b>Waits for a free slot: 1 build runs now.</b> It is number 1 in the queue.", "Nothing was printed yet."})
	for range shownQueue + 10 {
		s.submit(publicRepo)
	}
	says(t, s.get("/queue"), []string{"12 more wait behind these."})
	last := s.submit(publicRepo)
	says(t, s.get("/builds/"+last.ID), []string{"Waits for a free slot", "It is number 213 in the queue."})
}

func TestDeliveryPages(t *testing.T) {
	s := newSite(t)
	says(t, s.get("/deliveries"), []string{"No deliveries yet"})
	d := newDemo(s)
	says(t, s.get("/deliveries"), []string{"there is no buildspec.yml in commit 1234567890ab", "Tried 3 times: asking what mallory may do: 502 Bad Gateway.", "Next try", "in 3",
		`>octo-shop #4</a>`, "Not decided on yet."})
	page := s.get(fmt.Sprint("/deliveries/", d.delivery))
	says(t, page, []string{"&#34;full_name&#34;: &#34;octo/shop&#34;", "&lt;script&gt;alert(1)&lt;/script&gt;", "72d3162e-cc78-11e3-81ab-4c9367dc0958"}, "<script>alert")
	body := s.get(fmt.Sprint("/deliveries/", d.delivery, "/body"))
	if body.StatusCode != 200 || !strings.HasPrefix(body.body, `{"ref"`) || !strings.HasPrefix(body.Header.Get("Content-Disposition"), "attachment") || body.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("the body: status %d, %v", body.StatusCode, body.Header)
	}
	for _, path := range []string{"/deliveries/999", "/deliveries/x", "/deliveries/-1", "/deliveries/999/body"} {
		if got := s.get(path); got.StatusCode != 404 || !strings.Contains(got.body, "There is no such delivery") {
			t.Errorf("GET %s: status %d", path, got.StatusCode)
		}
	}
	big := store.Delivery{Forge: "github", ID: "big", Event: "push"}
	if _, err := s.store.Accept(&big, []byte("no JSON\x1b[31m\x00"+strings.Repeat("y", 1<<20)+"the end")); err != nil {
		t.Fatal(err)
	}
	says(t, s.get(fmt.Sprint("/deliveries/", big.Seq)), []string{"no JSON\uFFFD[31m\uFFFDyyy", "This is its beginning; download it to see the rest."}, "the end")
}

func TestBuildPage(t *testing.T) {
	s := newSite(t, func(c *Config) { c.URL = "https://ci.example.org" })
	d := newDemo(s)
	failed := s.get("/builds/" + d.failed.ID)
	says(t, failed, []string{"<title>Failed: octo-shop #4 · buildsmith</title>", "BUILD failed", "exit status 1", "<code>npm test</code>", "price.test.js",
		`href="https://github.com/octo/shop/pull/31"`, `href="https://github.com/octo/shop/commit/` + commit, "Not run", "Retry", "<rect x=",
		"https://ci.example.org/builds/" + d.failed.ID + "?k=" + s.key(d.failed), "Revoke all links of octo/shop"}, ">Stop<", "fault of the server")
	says(t, s.ask(request{path: "/builds/" + d.failed.ID + "?k=" + s.key(d.failed)}), []string{"BUILD failed"}, "Retry", "Revoke", `name="csrf"`, "1.2.3")
	says(t, s.get("/builds/"+d.running.ID), []string{"Running", ">Stop<", "data-live", "running for"}, ">Retry<")
	s.post("/builds/"+d.running.ID+"/stop", nil)
	says(t, s.get("/builds/"+d.running.ID), []string{"<b>Stopping.</b> Asked for by an administrator."}, ">Stop<", ">Retry<")
	says(t, s.get("/builds/"+d.fault.ID), []string{"This is a fault of the server or of what it depends on, not of the commit.", "503 Service Unavailable", "The build was repeated by itself as", "#3</a>"})
	says(t, s.get("/builds/"+d.invalid.ID), []string{"Problems in buildspec.yml", `blob/` + commit + `/buildspec.yml#L4" rel="noreferrer">4:3</a>`, "did you mean build?", "Warning: artifact is not known"})
	says(t, s.get("/builds/"+d.timedOut.ID), []string{`<div class="note timedout"><b>Timed out.</b> Build has timed out.`})
	says(t, s.get("/builds/"+d.succeeded.ID), []string{"All as zip", "dist/index.html", "SHA-256 ", "latest → dist", `class="ref tag"`})

	asked := s.submit(privateRepo, func(b *store.Build) {
		b.AskedBy = "an administrator"
		b.Trigger.HeadRef = ""
		b.Trigger.SourceVersion = "v1"
	})
	says(t, s.get("/builds/"+asked.ID), []string{`<span class="who">an administrator</span>`, "v1"})
	gone := s.submit(privateRepo, claim, func(b *store.Build) {
		b.Artifacts = &store.Artifacts{Name: "x", Files: 3}
		b.Log.Size = 1000
	}, end(store.Succeeded))
	says(t, s.get("/builds/"+gone.ID), []string{"They are no longer kept.", "The log is no longer kept."}, "artifacts.zip")
}

// much is a build that has much of everything that a page shows, with colours everywhere.
func (s *site) much() store.Build {
	s.Helper()
	b := s.submit(privateRepo, func(b *store.Build) {
		play(b, true, 100)
		for _, kind := range store.CommandPhases {
			p := b.Enter(kind, b.Claimed)
			for i := range store.MaxCommands {
				p.Commands = append(p.Commands, store.Command{Text: strings.Repeat("word ", 200), Line: i + 1, Start: b.Claimed, Exit: i / 150})
			}
		}
		for i := range 300 {
			b.Problems = append(b.Problems, store.Problem{Line: i, Message: strings.Repeat("problem ", 50)})
		}
		b.Failure.Tail = nil
		for range 50 {
			b.Failure.Tail = append(b.Failure.Tail, strings.Repeat("\x1b[31mx\x1b[32my", 60))
		}
		b.Artifacts = &store.Artifacts{Files: 1000}
		for range 100 {
			b.Artifacts.First = append(b.Artifacts.First, store.Artifact{Name: strings.Repeat("a/", 100)})
		}
		for i := range store.MaxReports {
			r := store.ReportSummary{Group: strings.Repeat("group ", 50), Type: store.ReportTest, Status: store.ReportFailed, Problems: []string{"gone"}, Counts: store.CaseCounts{Total: 900, Failed: 500},
				Change: &store.ReportChange{Number: i, Ref: "main", NewlyFailing: []string{"test"}, NewlyFailingCount: 100, FixedCount: 3}}
			for range 10 {
				r.Failing = append(r.Failing, store.TestCase{Name: "test", Status: store.CaseFailed, Message: strings.Repeat("message\n", 50), File: "a.go", Line: 3})
			}
			b.Reports = append(b.Reports, r)
			b.Secondary = append(b.Secondary, *b.Artifacts)
			b.Secondary[i].ID = fmt.Sprint("more", i)
		}
		for i := range 1000 {
			b.Exported = append(b.Exported, store.Variable{Name: fmt.Sprint("NAME", i), Value: strings.Repeat("value ", 200)})
		}
	}, end(store.Failed))
	var log strings.Builder
	for range 1000 {
		log.WriteString(strings.Repeat("\x1b[31mx\x1b[32my", 100) + "\n")
	}
	s.print(b.ID, log.String())
	return b
}

func muchReports(store.Build) []Check { return make([]Check, 100) }

func TestMuchOfEverything(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Checks = muchReports })
	b := s.much()
	page := s.get("/builds/" + b.ID)
	says(t, page, []string{"250 more are not shown; mend these first.", "more are in the log.", "25000 of 45000 tests failed", "24995 more: see the reports.", "38 more secondary artifacts are not shown.", "960 more are not shown."})
	n := strings.Count(page.body, "<") - strings.Count(page.body, "</")
	if n > 4500 {
		t.Errorf("the page has %d elements", n)
	}
	t.Logf("a page with much of everything: %d elements, %d bytes", n, len(page.body))
}

func TestNoticePage(t *testing.T) {
	s := newSite(t)
	waits, skipped := s.notice(privateRepo, store.ActionRequired), s.notice(publicRepo, store.SkippedNotice)
	says(t, s.get("/builds/"+waits.ID), []string{"Waits for approval", "it comes from another repository", "can approve it on this page", "Approve and build", "fork"})
	key, err := s.store.LinkKey(waits.ID, waits.Repo)
	if err != nil {
		t.Fatal(err)
	}
	says(t, s.ask(request{path: "/builds/" + waits.ID + "?k=" + key}), []string{"Waits for approval"}, "Approve and build", "csrf")
	says(t, s.ask(request{path: "/builds/" + skipped.ID}), []string{"Not built", "re-run the check at the forge"})
	if got := s.ask(request{path: "/builds/" + waits.ID}); got.StatusCode != 404 {
		t.Errorf("a notice of a private repository: status %d", got.StatusCode)
	}
	for _, sub := range []string{"/events", "/lines?chunks=0", "/log.txt", "/search?q=x", "/artifacts", "/artifacts.zip", "/artifacts/x"} {
		if got := s.get("/builds/" + waits.ID + sub); got.StatusCode != 404 {
			t.Errorf("GET %s of a notice: status %d", sub, got.StatusCode)
		}
	}
	if got := s.post("/builds/"+waits.ID+"/stop", nil); got.StatusCode != 404 {
		t.Errorf("stopping a notice: status %d", got.StatusCode)
	}
	if got := s.post("/builds/"+waits.ID+"/revoke", nil); got.StatusCode != 303 || got.Header.Get("Location") != "/builds/"+waits.ID {
		t.Errorf("revoking: status %d", got.StatusCode)
	}
}

func TestTimes(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Minute: "in 1 min 0 s", -time.Second: "just now", 0: "just now", 12 * time.Second: "12 s ago", 90 * time.Second: "1 min ago",
		3 * time.Hour: "3 h ago", 47 * time.Hour: "47 h ago", 50 * time.Hour: "2 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 1234 * time.Millisecond: "1.2 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", 3*time.Hour + 5*time.Minute: "3 h 5 min", 50 * time.Hour: "50 h 0 min",
	} {
		if got := length(d); got != want {
			t.Errorf("length(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9960: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB", 5_300_000_000: "5.3 GB", 7_000_000_000_000_000: "7000 TB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}
