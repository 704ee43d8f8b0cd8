package web

import (
	"strings"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestBrowserReport reads a report as somebody does who has switched scripts off, and who has a key and no cookie.
func TestBrowserReport(t *testing.T) {
	s := newSite(t)
	b := s.large(25_000)
	ctx := browser(t)
	command(t, ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	start := time.Now()
	do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID+"?k="+s.key(b)), chromedp.Click(chromedp.CSS(".results a[href*='/reports/0']")), chromedp.WaitReady(chromedp.CSS("main.report")))
	t.Logf("two pages: %v", time.Since(start))
	has := func(want string) {
		t.Helper()
		if text := run(t, ctx, chromedp.Text(chromedp.CSS("body"))); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q: %.2000s", want, text)
		}
	}
	few := func() {
		t.Helper()
		if n := most(t, ctx, "a report"); n > 4000 {
			t.Errorf("the page has %d elements", n)
		}
	}
	has("1–200 of 25000")
	has("it failed")
	few()
	if text := run(t, ctx, chromedp.Text(chromedp.CSS(".case"))); strings.Contains(text, "at org.example") {
		t.Errorf("a message is not folded: %s", text)
	}
	do(t, ctx, chromedp.Click(chromedp.CSS(".case summary")), chromedp.WaitVisible(chromedp.CSS(".case pre")))
	do(t, ctx, chromedp.Click(chromedp.CSS(".filters a[href*='status=succeeded']")), chromedp.WaitReady(chromedp.CSS(".filters a[href*='status=succeeded'][aria-current]")))
	has("1–200 of 20000")
	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#q"), "test 2499\r"), chromedp.WaitReady(chromedp.CSS("#q[value='test 2499']")))
	has("1–9 of 9 with “test 2499”")
	do(t, ctx, chromedp.Click(chromedp.CSS(".order a[href*='slowest']")), chromedp.WaitReady(chromedp.CSS(".order [aria-current][href*='slowest']")))
	has("test 24999")
	few()
	do(t, ctx, chromedp.Click(chromedp.CSS(".crumb a")), chromedp.WaitReady(chromedp.CSS("main.build")))
	do(t, ctx, chromedp.Click(chromedp.CSS(".results a[href*='/reports/1']")), chromedp.WaitReady(chromedp.CSS(".coverage")))
	few()
	do(t, ctx, chromedp.Click(chromedp.CSS(".pager a")), chromedp.WaitReady(chromedp.CSS(".pager a[href*='after=400']")))
	has("201–400 of 500")
}

// TestBrowserHostileReport holds what builds write to leave its place on the page, or to run. The console says what breaks the
// policy of the pages.
func TestBrowserHostileReport(t *testing.T) {
	s := newSite(t)
	tests := store.Report{Group: strings.Repeat("group", 200), Type: store.ReportTest, Format: "JUNITXML", Status: store.ReportFailed, Problems: []string{strings.Repeat("x", 3000)}}
	cover := store.Report{Group: "files", Type: store.ReportCoverage, Status: store.ReportSucceeded}
	for _, text := range append(hostile, strings.Repeat("wide ", 1000), strings.Repeat("W", 5000)) {
		tests.Cases = append(tests.Cases, store.TestCase{Name: text, Prefix: text, Status: store.CaseFailed, Message: text + "\n" + text, File: text, Line: 1, Duration: 100 * time.Hour})
		cover.Coverage = append(cover.Coverage, store.FileCoverage{Path: text, Coverage: store.Coverage{LinesCovered: 1 << 40, LinesMissed: 1 << 30}})
	}
	b := s.submit(publicRepo, claim)
	s.report(b.ID, []store.Report{tests, cover})
	s.change(b.ID, func(b *store.Build) {
		for _, text := range hostile {
			b.Exported = append(b.Exported, store.Variable{Name: text, Value: text})
		}
	}, end(store.Failed))
	ctx := browser(t)
	for _, width := range []int64{1280, 390, 320} {
		do(t, ctx, chromedp.EmulateViewport(width, 800))
		for _, path := range []string{"", "/reports/0", "/reports/0?q=x", "/reports/1"} {
			do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID+path))
			value[bool](t, ctx, `(document.querySelectorAll("details").forEach((d) => { d.open = true; }), true)`)
			if over := value[int](t, ctx, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				t.Errorf("%q at a width of %d is %d pixels too wide", path, width, over)
			}
			if n := value[int](t, ctx, `document.querySelectorAll("main img, main script, main style, main iframe").length`); n > 0 {
				t.Errorf("%q has %d elements that it must not have", path, n)
			}
		}
	}
}
