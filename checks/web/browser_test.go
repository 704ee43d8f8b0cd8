package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buildsmith/store"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser starts a browser of its own for a test. Without Chromium the test is skipped, unless BUILDSMITH_TEST_ALL is set.
func browser(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes long")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("BUILDSMITH_TEST_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.WindowSize(1280, 900))...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithErrorf(t.Logf))
	t.Cleanup(cancel)
	do(t, ctx) // the browser lives as long as the first context it is used with
	console, done := chromedp.Console(ctx), make(chan struct{})
	go func() { // what breaks the policy of the pages is told there too
		defer close(done)
		for m, err := range console {
			if err == nil && m.Source != "network" {
				t.Errorf("the console says: %v", m)
			}
		}
	}()
	t.Cleanup(func() { <-done })
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func run[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// command sends a command of the protocol.
func command[P, R any](t *testing.T, ctx context.Context, c cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(ctx, c, params); err != nil {
		t.Fatal(err)
	}
}

// value evaluates an expression in the page.
func value[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	return run(t, ctx, chromedp.Evaluate[T](expression))
}

// eventually waits until an expression is true in the page.
func eventually(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	until := time.Now().Add(15 * time.Second)
	for !value[bool](t, ctx, "!!("+expression+")") {
		if time.Now().After(until) {
			t.Fatalf("it did not become true: %s", expression)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *site) logIn(ctx context.Context) {
	s.Helper()
	command(s.T, ctx, network.SetCookie, network.SetCookieParams{Name: cookieName, Value: s.web.access.newSession(), URL: s.url})
}

// TestScreenshots makes pictures of every page in the directory BUILDSMITH_SCREENSHOTS, for people to look at.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("BUILDSMITH_SCREENSHOTS")
	if dir == "" {
		t.Skip("BUILDSMITH_SCREENSHOTS names no directory")
	}
	d := newDemo(newSite(t, func(c *Config) {
		c.Checks, c.Forges = demoReports, &Forges{List: func() []Forge { return demoForges(time.Now().Add(-5 * time.Minute)) }}
	}))
	ctx := browser(t)
	pages := []struct{ name, path string }{
		{"builds", "/"}, {"queue", "/queue"}, {"forges", "/forges"}, {"deliveries", "/deliveries"}, {"delivery", fmt.Sprintf("/deliveries/%d", d.delivery)},
		{"failed", "/builds/" + d.failed.ID}, {"running", "/builds/" + d.running.ID}, {"succeeded", "/builds/" + d.succeeded.ID},
		{"fault", "/builds/" + d.fault.ID}, {"queued", "/builds/" + d.queued.ID}, {"invalid", "/builds/" + d.invalid.ID},
		{"notice", "/builds/" + d.notice.ID}, {"search", "/builds/" + d.failed.ID + "/search?q=module_00042"},
		{"artifacts", "/builds/" + d.succeeded.ID + "/artifacts"}, {"missing", "/builds/00000000-0000-0000-0000-000000000000"},
		{"line", "/builds/" + d.failed.ID + "?line=500#L500"},
		{"report", "/builds/" + d.failed.ID + "/reports/0"}, {"report-failing", "/builds/" + d.failed.ID + "/reports/0?status=failing&q=r"},
		{"report-coverage", "/builds/" + d.failed.ID + "/reports/1"}, {"report-incomplete", "/builds/" + d.failed.ID + "/reports/2"},
		{"secondary", "/builds/" + d.failed.ID + "/secondary/docs/artifacts"},
	}
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"desktop", 1280, 900}, {"phone", 390, 844}} {
		for _, scheme := range []string{"light", "dark"} {
			do(t, ctx, chromedp.EmulateViewport(size.width, size.height))
			command(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			shoot := func(name, path string) {
				do(t, ctx, chromedp.Navigate(d.url+path), chromedp.Sleep(300*time.Millisecond))
				picture := run(t, ctx, chromedp.FullScreenshot(100))
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-%s.png", name, size.name, scheme)), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			command(t, ctx, network.ClearBrowserCookies, cdp.Empty{})
			shoot("login", "/login?return_to=/queue")
			d.logIn(ctx)
			for _, p := range pages {
				shoot(p.name, p.path)
			}
			command(t, ctx, network.ClearBrowserCookies, cdp.Empty{})
			shoot("reader", "/builds/"+d.succeeded.ID+"?k="+d.key(d.succeeded))
		}
	}
}

const elements = `document.getElementsByTagName("*").length`

// most fails if the page has more elements than it may have, and returns how many it has.
func most(t *testing.T, ctx context.Context, when string) int {
	t.Helper()
	n := value[int](t, ctx, elements)
	if n > 5000 {
		t.Errorf("%s the page has %d elements", when, n)
	}
	return n
}

// long prints a log of very many lines, some of them in many colours.
func (s *site) long(id string, n int) {
	s.Helper()
	var text strings.Builder
	for i := range n {
		if i%3 == 0 {
			fmt.Fprintf(&text, "\x1b[32m✓\x1b[0m test %d \x1b[2m›\x1b[0m \x1b[1mgoes\x1b[0m through its \x1b[36mpaces\x1b[0m \x1b[90m(%d ms)\x1b[0m\n", i+1, i%40)
		} else {
			fmt.Fprintf(&text, "line %d: nothing of note has happened here <b>at all</b>\n", i+1)
		}
	}
	s.print(id, text.String())
}

func TestBrowserLongLog(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, end(store.Failed))
	s.long(b.ID, 100_000)
	ctx := browser(t)
	page := s.url + "/builds/" + b.ID + "?k=" + s.key(b)
	do(t, ctx, chromedp.Navigate(s.url+"/login")) // the browser itself has started
	paint := `(performance.getEntriesByType("paint").find((e) => e.name === "first-contentful-paint")?.startTime ?? 0)`
	for _, when := range []string{"cold", "warm"} {
		do(t, ctx, chromedp.Navigate(page))
		eventually(t, ctx, paint+" > 0")
		ms := value[float64](t, ctx, paint)
		t.Logf("first paint of 100,000 lines, %s: %.0f ms, %d elements", when, ms, most(t, ctx, "at first"))
		if ms > 1000 {
			t.Errorf("first paint took %.0f ms", ms)
		}
	}
	eventually(t, ctx, `document.querySelector(".pane").scrollHeight > 100000`) // the script has begun
	seen := `(() => { const p = document.querySelector(".pane").getBoundingClientRect();
		return [...document.querySelectorAll(".l")].filter((e) => { const r = e.getBoundingClientRect(); return r.top >= p.top && r.bottom <= p.bottom; }).map((e) => Number(e.id.slice(1))); })()`
	if lines := value[[]int](t, ctx, seen); len(lines) == 0 || lines[len(lines)-1] != 100_000 {
		t.Errorf("at first lines %v are in sight", lines)
	}
	height := value[float64](t, ctx, `document.querySelector(".pane").scrollHeight`)
	largest := 0
	for i := range 40 {
		at := int(height) * ((i * 17) % 40) / 40
		do(t, ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void (document.querySelector(".pane").scrollTop = %d)`, at)))
		eventually(t, ctx, seen+`.length > 10`)
		largest = max(largest, most(t, ctx, "after scrolling"))
		lines := value[[]int](t, ctx, seen)
		for k := range lines[1:] {
			if lines[k+1] != lines[k]+1 {
				t.Fatalf("after scrolling lines %v are in sight", lines)
			}
		}
		if near := at / 20; lines[0] < near-3000 || lines[0] > near+3000 {
			t.Errorf("at %d of %.0f pixels line %d is in sight", at, height, lines[0])
		}
	}
	t.Logf("while scrolling at most %d elements", largest)

	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#line"), "50000\r"))
	eventually(t, ctx, seen+`.includes(50000) && document.querySelector("#L50000.hit") !== null`)
	if at := value[string](t, ctx, "location.search + location.hash"); at != "?k="+s.key(b)+"&line=50000#L50000" {
		t.Errorf("the address of the line is %s", at)
	}
	do(t, ctx, chromedp.Reload())
	eventually(t, ctx, seen+`.includes(50000) && document.querySelector("#L50000.hit") !== null`)

	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#q"), "line 77777:\r"))
	eventually(t, ctx, `document.querySelector(".results mark") !== null`)
	do(t, ctx, chromedp.Click(chromedp.CSS(".results li a")))
	eventually(t, ctx, seen+`.includes(77777) && document.querySelector("#L77777.hit") !== null`)
	most(t, ctx, "after a search")
}

func TestBrowserHostileColours(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Checks = muchReports })
	b := s.much()
	var text strings.Builder
	for i := range 3000 {
		for k := range 39 {
			fmt.Fprintf(&text, "\x1b[%dm%d", 31+(i+k)%6, k%10)
		}
		text.WriteString("\n")
	}
	s.print(b.ID, text.String())
	ctx := browser(t)
	do(t, ctx, chromedp.EmulateViewport(1200, 4000)) // a window with very many lines
	s.logIn(ctx)
	do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID))
	most(t, ctx, "at first")
	eventually(t, ctx, `document.querySelector(".pane").scrollHeight > 50000`)
	largest := 0
	for i := range 10 {
		do(t, ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void (document.querySelector(".pane").scrollTop = %d)`, i*6000)))
		time.Sleep(200 * time.Millisecond)
		largest = max(largest, most(t, ctx, "full of colours"))
	}
	t.Logf("full of colours at most %d elements, %d of them in the pane", largest, value[int](t, ctx, `document.querySelectorAll(".pane *").length`))
}

func TestBrowserLiveLog(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim, func(b *store.Build) { b.Enter(store.PhaseBuild, s.store.Now()).Line = 1 })
	s.print(b.ID, "first\nhalf a li")
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID+"?k="+s.key(b)))
	eventually(t, ctx, `document.querySelector("#L2")?.textContent === "2half a li"`)
	s.print(b.ID, "ne\nthird\n")
	eventually(t, ctx, `document.querySelector("#L2")?.textContent === "2half a line" && document.querySelector("#L3")?.textContent === "3third"`)

	// Much comes, and the end of it stays in sight.
	bottom := `(() => { const p = document.querySelector(".pane"); return p.scrollHeight - p.scrollTop - p.clientHeight < 5; })()`
	largest, n := 0, 3
	for range 30 {
		s.long(b.ID, 2000)
		n += 2000
		largest = max(largest, most(t, ctx, "while the log grows"))
	}
	eventually(t, ctx, fmt.Sprintf(`document.querySelector("#L%d") !== null && %s`, n, bottom))
	t.Logf("while a log grows at most %d elements", max(largest, most(t, ctx, "when the log has grown")))

	// Whoever scrolls up is left in peace, until he wants to follow again.
	do(t, ctx, chromedp.Evaluate[chromedp.Void](`void (document.querySelector(".pane").scrollTop = 5000)`))
	eventually(t, ctx, `document.querySelector(".follow").ariaPressed === "false" && document.querySelector("#L255") !== null`)
	at := value[float64](t, ctx, `document.querySelector("#L255").getBoundingClientRect().top`)
	s.long(b.ID, 500)
	time.Sleep(time.Second)
	if now := value[float64](t, ctx, `document.querySelector("#L255").getBoundingClientRect().top`); now != at {
		t.Errorf("a line moved from %v to %v while the log grew", at, now)
	}
	do(t, ctx, chromedp.Click(chromedp.CSS(".follow")))
	n += 500
	eventually(t, ctx, fmt.Sprintf(`document.querySelector("#L%d") !== null && %s`, n, bottom))

	s.change(b.ID, func(b *store.Build) {
		b.Leave(store.PhaseBuild, s.store.Now(), store.Failed, "COMMAND_EXECUTION_ERROR", "it did not work")
	})
	eventually(t, ctx, `document.querySelector("#summary .phase.failed .message")?.textContent === "it did not work"`)
	s.print(b.ID, "the end\n")
	s.change(b.ID, end(store.Failed))
	eventually(t, ctx, fmt.Sprintf(`document.querySelector("#L%d")?.textContent.endsWith("the end") && document.title.startsWith("Failed") && document.querySelector(".follow").hidden`, n+1))
	most(t, ctx, "in the end")
}

func TestBrowserFolds(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, func(b *store.Build) {
		claim(b)
		p := b.Enter(store.PhaseBuild, b.Claimed)
		p.Line = 1
		for i := range 100 {
			p.Commands = append(p.Commands, store.Command{Text: fmt.Sprint("command ", i), Line: i*1000 + 3})
		}
	}, end(store.Succeeded))
	var text strings.Builder
	text.WriteString("Entering phase BUILD\n")
	for i := range 100 {
		fmt.Fprintf(&text, "Running command %d\n%s", i, lines(999, "output %d"))
	}
	s.print(b.ID, text.String())
	ctx := browser(t)
	do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID+"?line=50003#L50003"))
	eventually(t, ctx, `document.querySelector("#L50003") !== null && document.querySelector("#L50002 .fold") !== null`)
	do(t, ctx, chromedp.Click(chromedp.CSS("#L50002 .fold")))
	eventually(t, ctx, `document.querySelector("#L50003") === null && document.querySelector("#L50002").nextSibling === null && document.querySelector("#L51002") !== null`)
	do(t, ctx, chromedp.Click(chromedp.CSS(".fold-all")))
	eventually(t, ctx, `document.querySelectorAll(".l").length === 101 || document.querySelector("#L50002")?.parentNode.nextSibling?.firstChild?.id === "L51002"`)
	most(t, ctx, "with commands folded")
	eventually(t, ctx, `document.querySelector(".pane").scrollHeight < 2200`)
	do(t, ctx, chromedp.Click(chromedp.CSS("#commands-BUILD summary")), chromedp.Click(chromedp.CSS("#commands-BUILD li:nth-child(8) a")))
	eventually(t, ctx, `document.querySelector("#L7003.hit") !== null`)
	most(t, ctx, "after a jump into a fold")
}

// TestBrowserWithoutScript uses a page as somebody does who has switched scripts off.
func TestBrowserWithoutScript(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, end(store.Failed))
	s.long(b.ID, 2000)
	ctx := browser(t)
	command(t, ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID+"?k="+s.key(b)))
	has := func(want string) {
		t.Helper()
		if text := run(t, ctx, chromedp.Text(chromedp.CSS("body"))); !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	has("line 2000: nothing of note")
	has("Earlier lines")
	do(t, ctx, chromedp.Click(chromedp.CSS("a[href*='line=1801']")), chromedp.WaitReady(chromedp.CSS("#L1801")))
	do(t, ctx, chromedp.Click(chromedp.CSS(".more-lines a:nth-child(2)")))
	do(t, ctx, chromedp.WaitReady(chromedp.CSS("#L1501")))
	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#line"), "77\r"), chromedp.WaitReady(chromedp.CSS("#L77.hit")))
	do(t, ctx, chromedp.SendKeys(chromedp.CSS("#q"), "line 1001:\r"), chromedp.WaitReady(chromedp.CSS("mark")))
	do(t, ctx, chromedp.Click(chromedp.CSS(".matches a")), chromedp.WaitReady(chromedp.CSS("#L1001:target")))
	do(t, ctx, chromedp.Navigate(s.url+"/login"), chromedp.SendKeys(chromedp.CSS("#token"), adminToken+"\r"), chromedp.WaitReady(chromedp.CSS("main.builds")))
	do(t, ctx, chromedp.Click(chromedp.CSS(".row a.name")), chromedp.WaitReady(chromedp.CSS("main.build")))
	has("Retry")
}

// TestBrowserVeryLongLog scrolls through more lines than a scroll bar can tell apart.
func TestBrowserVeryLongLog(t *testing.T) {
	ctx := browser(t)
	s := newSite(t)
	b := s.submit(publicRepo, end(store.Failed))
	for range 5 {
		s.print(b.ID, lines(100_000, "line %d of a hundred thousand"))
	}
	do(t, ctx, chromedp.Navigate(s.url+"/builds/"+b.ID))
	top := `(() => { const p = document.querySelector(".pane").getBoundingClientRect();
		return Number([...document.querySelectorAll(".l")].find((e) => e.getBoundingClientRect().bottom > p.top + 7)?.id.slice(1) ?? 0); })()`
	eventually(t, ctx, `document.querySelector(".pane").scrollHeight > 100000 && `+top+` > 499900`)
	for _, line := range []int{1, 250_000, 123_456, 499_999, 200_001} {
		do(t, ctx, chromedp.Evaluate[chromedp.Void](`void (document.querySelector("#line").value = "")`), chromedp.SendKeys(chromedp.CSS("#line"), fmt.Sprintf("%d\r", line)))
		eventually(t, ctx, fmt.Sprintf(`document.querySelector("#L%d.hit") !== null && Math.abs(%s - %d) < 50`, line, top, line))
	}
	at := value[int](t, ctx, top)
	for range 20 {
		do(t, ctx, chromedp.Evaluate[chromedp.Void](`void (document.querySelector(".pane").scrollTop += 200000)`))
		eventually(t, ctx, fmt.Sprintf(`%s > %d`, top, min(at+5000, 499_900)))
		now := value[int](t, ctx, top)
		if now > at+10_100 {
			t.Errorf("scrolling by 10,000 lines went from line %d to line %d", at, now)
		}
		at = now
	}
	most(t, ctx, "after much scrolling")
}
