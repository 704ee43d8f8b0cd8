package web

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"

	"buildsmith/store"
)

// A demo is a site with builds of all kinds, for looking at.
type demo struct {
	*site
	failed, running, succeeded, fault, queued, invalid, timedOut store.Build
	notice                                                       store.Notice
	delivery                                                     uint64
}

// logged appends a line as the container's agent prints it.
func logged(text *strings.Builder, at time.Time, format string, args ...any) {
	fmt.Fprintf(text, "[Container] %s %s\n", at.UTC().Format("2006/01/02 15:04:05.000000"), fmt.Sprintf(format, args...))
}

// script plays a build: phases with commands and what they print. It returns the log.
func play(b *store.Build, failing bool, long int) string {
	at := b.Created.Add(2 * time.Second)
	b.Claimed = at
	b.Leave(store.PhaseQueued, at, store.Succeeded, "", "")
	b.Enter(store.PhaseProvisioning, at)
	var text strings.Builder
	line := func() int { return strings.Count(text.String(), "\n") + 1 }
	logged(&text, at, "Running on buildsmith")
	at = at.Add(1400 * time.Millisecond)
	b.Leave(store.PhaseProvisioning, at, store.Succeeded, "", "")
	b.Enter(store.PhaseDownloadSource, at)
	at = at.Add(900 * time.Millisecond)
	b.Leave(store.PhaseDownloadSource, at, store.Succeeded, "", "")
	phase := func(kind string, commands ...[2]string) bool {
		p := b.Enter(kind, at)
		p.Line = line()
		logged(&text, at, "Entering phase %s", kind)
		for _, c := range commands {
			logged(&text, at, "Running command %s", c[0])
			p = b.Phase(kind)
			p.Commands = append(p.Commands, store.Command{Text: c[0], Start: at, Line: line()})
			text.WriteString(c[1])
			at = at.Add(time.Duration(1+len(c[1])/40) * 120 * time.Millisecond)
			cmd := &p.Commands[len(p.Commands)-1]
			cmd.End = at
			if strings.Contains(c[1], "FAIL") {
				cmd.Exit = 1
				out := strings.Split(strings.TrimSpace(c[1]), "\n")
				b.Failure = &store.Failure{Phase: kind, Command: c[0], Exit: 1, Line: cmd.Line, Tail: out[max(0, len(out)-30):]}
				logged(&text, at, "Command did not exit successfully %s exit status 1", c[0])
				logged(&text, at, "Phase complete: %s State: FAILED", kind)
				b.Leave(kind, at, store.Failed, "COMMAND_EXECUTION_ERROR", "Error while executing command: "+c[0]+". Reason: exit status 1")
				return false
			}
		}
		logged(&text, at, "Phase complete: %s State: SUCCEEDED", kind)
		b.Leave(kind, at, store.Succeeded, "", "")
		return true
	}
	b.Skeleton = []string{store.PhaseInstall, store.PhasePreBuild, store.PhaseBuild, store.PhasePostBuild}
	var tests strings.Builder
	for i := range 60 {
		fmt.Fprintf(&tests, "\x1b[32m  ✓\x1b[0m cart \x1b[2m›\x1b[0m adds item %d \x1b[90m(%d ms)\x1b[0m\n", i+1, i%17+1)
	}
	if failing {
		tests.WriteString("\x1b[41;97m FAIL \x1b[0m \x1b[1mtest/price.test.js\x1b[0m\n  \x1b[31m● prices › round up\x1b[0m\n\n    expect(\x1b[31mreceived\x1b[39m).toBe(\x1b[32mexpected\x1b[39m)\n\n    Expected: \x1b[32m12.35\x1b[39m\n    Received: \x1b[31m12.34\x1b[39m\n\n      41 |   const cart = new Cart()\n    \x1b[31m>\x1b[39m 42 |   expect(cart.total()).toBe(12.35)\n         |                        \x1b[31m^\x1b[39m\n\n\x1b[1mTests:\x1b[22m       \x1b[31m1 failed\x1b[39m, \x1b[32m60 passed\x1b[39m, 61 total\n\x1b[1mTime:\x1b[22m        4.012 s\n")
	}
	phase(store.PhaseInstall, [2]string{"npm ci --no-audit", "npm \x1b[33mwarn\x1b[0m deprecated inflight@1.0.6\n\rfetching 10%\rfetching 55%\r\x1b[Kadded 412 packages in 9s\n"}, [2]string{"node --version", "v22.4.1\n"})
	phase(store.PhasePreBuild, [2]string{"npm run lint", lines(long, "checked src/module_%06d.js: fine")})
	if phase(store.PhaseBuild, [2]string{"npm test", tests.String()}, [2]string{"npm run build", lines(40, "dist/assets/chunk-%04d.js   12.3 kB │ gzip: 4.1 kB")}) {
		phase(store.PhasePostBuild, [2]string{"./ci/size.sh", "bundle: 412 kB, budget: 500 kB\n"})
		b.Enter(store.PhaseUploadArtifacts, at)
		at = at.Add(time.Second)
		b.Leave(store.PhaseUploadArtifacts, at, store.Succeeded, "", "")
	}
	return text.String()
}

func newDemo(s *site) *demo {
	d := &demo{site: s}
	age := func(minutes int) func(*store.Build) {
		return func(b *store.Build) {
			b.Created = b.Created.Add(-time.Duration(minutes) * time.Minute)
			b.Phases = nil
			b.Leave(store.PhaseSubmitted, b.Created, store.Succeeded, "", "")
			b.Enter(store.PhaseQueued, b.Created)
		}
	}
	finish := func(status store.Status) func(*store.Build) {
		return func(b *store.Build) {
			at := b.Claimed
			for _, p := range b.Phases {
				if p.End.After(at) {
					at = p.End
				}
			}
			b.Leave(store.PhaseFinalizing, at, store.Succeeded, "", "")
			b.End(status, at)
			_ = b.Log
		}
	}
	title := func(text, who, ref string) func(*store.Build) {
		return func(b *store.Build) { b.Trigger.Title, b.Trigger.Actor.Login, b.Trigger.HeadRef = text, who, ref }
	}
	log := ""
	d.timedOut = s.submit(localRepo, age(300), title("Wait for the moon", "carol", "refs/heads/night"), claim, func(b *store.Build) {
		b.Leave(store.PhaseProvisioning, b.Claimed.Add(time.Second), store.Succeeded, "", "")
		b.Leave(store.PhaseBuild, b.Claimed.Add(time.Hour), store.TimedOut, "BUILD_TIMED_OUT", "Build has timed out.")
	}, finish(store.TimedOut))
	s.submit(publicRepo, age(200), title("Mend a link", "bob", "refs/heads/main"), claim, finish(store.Stopped))
	d.succeeded = s.submit(privateRepo, age(95), title("Release 2.4.0", "alice", "refs/tags/v2.4.0"), func(b *store.Build) { log = play(b, false, 120) })
	s.print(d.succeeded.ID, log)
	var archive bytes.Buffer
	t := tar.NewWriter(&archive)
	for _, f := range []struct {
		name string
		size int
	}{{"dist/index.html", 1311}, {"dist/assets/app.js", 412_000}, {"dist/assets/app.css", 31_000}, {"dist/déjà vu.txt", 12}, {"report.xml", 5000}} {
		t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(f.size), Mode: 0o644})
		t.Write(bytes.Repeat([]byte("x"), f.size))
	}
	t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "latest", Linkname: "dist"})
	t.Close()
	artifacts, err := s.store.TakeArtifacts(d.succeeded.ID, "", "shop-2.4.0", &archive, 1<<20)
	if err != nil {
		s.Fatal(err)
	}
	s.report(d.succeeded.ID, demoTests()[1:2])
	s.change(d.succeeded.ID, func(b *store.Build) { b.Artifacts = artifacts }, finish(store.Succeeded))
	d.fault = s.submit(privateRepo, age(60), title("Tidy the cellar", "dave", "refs/heads/cellar"), claim, func(b *store.Build) {
		b.Leave(store.PhaseProvisioning, b.Claimed.Add(12*time.Second), store.Fault, "INTERNAL_ERROR", "Pulling the image node:22: the registry answered 503 Service Unavailable.")
	}, finish(store.Fault))
	again := s.submit(privateRepo, age(59), title("Tidy the cellar", "dave", "refs/heads/cellar"), func(b *store.Build) { b.RerunOf = d.fault.ID; b.Attempts = 1; log = play(b, false, 20) }, finish(store.Succeeded))
	s.print(again.ID, log)
	s.update(func(tx *store.Tx) error { return tx.SetRerunBy(d.fault.ID, again.ID) })
	d.invalid = s.submit(publicRepo, age(40), title("Use two phases, and a title that goes on and on so that one can see what becomes of a title that is far too long for its line", "erin", "refs/heads/feature/a-branch-with-a-rather-long-name-that-somebody-chose"), claim, func(b *store.Build) {
		b.Spec = "buildspec.yml"
		b.Problems = []store.Problem{{Line: 4, Column: 3, Message: "phases.biuld: there is no such phase; did you mean build?"},
			{Line: 9, Column: 7, Message: "phases.build.commands is a map; it must be a list of commands"},
			{Line: 12, Column: 1, Message: "artifact is not known; did you mean artifacts?", Warning: true}}
		b.Leave(store.PhaseProvisioning, b.Claimed.Add(time.Second), store.Succeeded, "", "")
		b.Leave(store.PhaseDownloadSource, b.Claimed.Add(2*time.Second), store.Failed, "YAML_FILE_ERROR", "buildspec.yml has 2 errors: line 4, column 3: phases.biuld: there is no such phase; did you mean build?")
	}, finish(store.Failed))
	d.failed = s.submit(privateRepo, age(14), func(b *store.Build) {
		b.Trigger.PullRequest, b.Trigger.BaseRef, b.Trigger.Title = 31, "refs/heads/main", "Round prices of carts up"
		log = play(b, true, 900)
	})
	d.withReports()
	s.change(d.failed.ID, finish(store.Failed))
	s.print(d.failed.ID, log)
	d.running = s.submit(privateRepo, age(1), title("Show the weight of parcels", "frank", "refs/heads/weight"), func(b *store.Build) {
		log = play(b, false, 300)
		for _, kind := range []string{store.PhaseUploadArtifacts, store.PhasePostBuild} {
			b.Phases = b.Phases[:len(b.Phases)-1]
			_ = kind
		}
		p := b.Phase(store.PhaseBuild)
		p.Status, p.End = store.InProgress, time.Time{}
		p.Commands = p.Commands[:1]
		p.Commands[0].End = time.Time{}
		log = log[:strings.Index(log, "[Container] "+p.Commands[0].Start.UTC().Format("2006/01/02 15:04:05.000000")+" Running command npm test")+2000]
	})
	s.print(d.running.ID, log)
	d.queued = s.submit(publicRepo, title("Explain the queue", "bob", "refs/heads/main"))
	s.submit(localRepo, title("Try something", "carol", "refs/heads/try"))
	d.notice = s.notice(privateRepo, store.ActionRequired)
	deliver := func(del store.Delivery, body string, change func(*store.Delivery)) uint64 {
		if _, err := s.store.Accept(&del, []byte(body)); err != nil {
			s.Fatal(err)
		}
		change(&del)
		s.update(func(tx *store.Tx) error { return tx.SetDelivery(&del) })
		return del.Seq
	}
	now := s.store.Now()
	deliver(store.Delivery{Forge: "github", Host: "github.com", ID: "1", Event: "push"}, "{}", func(d2 *store.Delivery) {
		d2.Repo, d2.Summary, d2.Handled, d2.Reason = "octo/empty", "push of main by alice", now, "there is no buildspec.yml in commit 1234567890ab"
	})
	deliver(store.Delivery{Forge: "github", Host: "github.com", ID: "2", Event: "pull_request"}, "{}", func(d2 *store.Delivery) {
		d2.Repo, d2.Summary, d2.Tries, d2.Problem, d2.Next = "octo/shop", "pull request 33 opened by mallory", 3, "asking what mallory may do: 502 Bad Gateway.", now.Add(40*time.Second)
	})
	d.delivery = deliver(store.Delivery{Forge: "github", Host: "github.com", ID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Event: "push"}, `{"ref":"refs/heads/main","after":"`+commit+`","repository":{"id":7,"full_name":"octo/shop","html_url":"https://github.com/octo/shop"},"sender":{"login":"alice","note":"<script>alert(1)</script>"}}`, func(d2 *store.Delivery) {
		d2.Repo, d2.Summary, d2.Handled, d2.Builds = "octo/shop", "push of main by alice", now, []string{d.failed.ID}
	})
	deliver(store.Delivery{Forge: store.ForgeAPI, ID: "3", Event: store.RequestRetry}, "{}", func(*store.Delivery) {})
	return d
}

// demoReports are what a forge was told of a demo's builds.
func demoReports(b store.Build) []Check {
	if b.Repo.Forge == "local" || !b.Done() {
		return nil
	}
	return []Check{{Name: "buildsmith", Status: "completed", Conclusion: "failure", Title: "BUILD failed: npm test", Summary: "exit status 1\n\n```\n<b>npm test</b>\n```"},
		{Name: "buildsmith / build", Status: "completed", Conclusion: "failure", Title: "npm test: exit status 1"},
		{Name: "buildsmith / post_build", Status: "completed", Conclusion: "cancelled"}}
}
