package web

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"

	"buildsmith/store"
)

// archive makes a tar archive of files, whose names and contents stand by turns.
func archive(files ...string) *bytes.Buffer {
	var out bytes.Buffer
	t := tar.NewWriter(&out)
	for i := 0; i+1 < len(files); i += 2 {
		t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644})
		t.Write([]byte(files[i+1]))
	}
	t.Close()
	return &out
}

// take gives a build artifacts of an id.
func (s *site) take(build, id, name string, files ...string) *store.Artifacts {
	s.Helper()
	a, err := s.store.TakeArtifacts(build, id, name, archive(files...), 1<<30)
	if err != nil {
		s.Fatal(err)
	}
	return a
}

// summaryOf is what a build keeps of a report.
func summaryOf(r *store.Report) store.ReportSummary {
	v := store.ReportSummary{Group: r.Group, Type: r.Type, Format: r.Format, Status: r.Status, Problems: r.Problems}
	for _, c := range r.Cases {
		v.Counts.Total++
		v.Duration += c.Duration
		switch c.Status {
		case store.CaseSucceeded:
			v.Counts.Succeeded++
		case store.CaseFailed:
			v.Counts.Failed++
		case store.CaseError:
			v.Counts.Error++
		case store.CaseSkipped:
			v.Counts.Skipped++
		default:
			v.Counts.Unknown++
		}
		if c.Failed() && len(v.Failing) < store.MaxFailing {
			v.Failing = append(v.Failing, c)
		}
	}
	for _, f := range r.Coverage {
		v.Files++
		v.Coverage.LinesCovered += f.LinesCovered
		v.Coverage.LinesMissed += f.LinesMissed
		v.Coverage.BranchesCovered += f.BranchesCovered
		v.Coverage.BranchesMissed += f.BranchesMissed
	}
	return v
}

// report gives a build reports. Changes are those of the reports, in their order.
func (s *site) report(build string, reports []store.Report, changes ...*store.ReportChange) {
	s.Helper()
	for i := range reports {
		if err := s.store.KeepReport(build, i, &reports[i]); err != nil {
			s.Fatal(err)
		}
	}
	s.change(build, func(b *store.Build) {
		b.Reports = nil
		for i := range reports {
			v := summaryOf(&reports[i])
			if i < len(changes) {
				v.Change = changes[i]
			}
			b.Reports = append(b.Reports, v)
		}
	})
}

// demoTests are tests of a shop, and how much of it they run.
func demoTests() []store.Report {
	unit := store.Report{Group: "octo-shop-unit", Type: store.ReportTest, Format: "JUNITXML", Status: store.ReportFailed,
		Files: []string{"reports/junit-cart.xml", "reports/junit-prices.xml"}}
	for i := range 61 {
		unit.Cases = append(unit.Cases, store.TestCase{Prefix: "cart", Name: fmt.Sprintf("adds item %d", i+1), Status: store.CaseSucceeded, Duration: time.Duration(i*i*300) * time.Microsecond})
	}
	unit.Cases[7].Status, unit.Cases[7].Message = store.CaseSkipped, "not on Tuesdays"
	unit.Cases[12].Status = "PENDING"
	unit.Cases = append(unit.Cases,
		store.TestCase{Prefix: "prices.Rounding", Name: "rounds up", Status: store.CaseFailed, Duration: 12 * time.Millisecond, File: "test/price.test.js", Line: 42,
			Message: "expected 12.34 to be 12.35\n\n    Expected: 12.35\n    Received: 12.34\n\n      at Object.<anonymous> (test/price.test.js:42:24)"},
		store.TestCase{Prefix: "prices.Rounding", Name: "knows <b>every</b> currency of the world, even those that have not been in use for a very long time, such as the 🜚 ducat", Status: store.CaseError,
			Duration: 2300 * time.Millisecond, File: "/usr/lib/money.js", Line: 7, Message: "TypeError: undefined is not a function"},
		store.TestCase{Prefix: "prices", Name: "adds taxes", Status: store.CaseFailed, Duration: time.Millisecond, File: "test/tax.test.js", Line: 9})
	cover := store.Report{Group: "octo-shop-coverage", Type: store.ReportCoverage, Format: "COBERTURAXML", Status: store.ReportSucceeded, Files: []string{"coverage.xml"}}
	for i, name := range []string{"src/api/handlers.js", "src/cart/cart.js", "src/cart/empty.js", "src/cart/lines.js", "src/index.js", "src/prices/a-file-with-a-very-long-name-that-somebody-chose-for-it/rounding.js", "src/prices/taxes.js"} {
		cover.Coverage = append(cover.Coverage, store.FileCoverage{Path: name, Coverage: store.Coverage{LinesCovered: 40 + i*i*12, LinesMissed: (i * 37) % 61, BranchesCovered: i * 3, BranchesMissed: i % 3}})
	}
	cover.Coverage[2].Coverage = store.Coverage{}
	e2e := store.Report{Group: "octo-shop-e2e", Type: store.ReportTest, Format: "CUCUMBERJSON", Status: store.ReportIncomplete,
		Problems: []string{"no file matches e2e/*.json", "e2e/old.json: line 3: it ends too early"}}
	return []store.Report{unit, cover, e2e}
}

// withReports gives the failed build of a demo reports, secondary artifacts and exported variables, before it ends.
func (d *demo) withReports() { d.leave(d.failed.ID, d.succeeded) }

// leave gives a build that runs reports, compared with another's, secondary artifacts and exported variables.
func (s *site) leave(build string, before store.Build) {
	s.Helper()
	change := &store.ReportChange{Build: before.ID, Number: before.Number, Ref: "main", NewlyFailing: []string{"prices.Rounding.rounds up"}, NewlyFailingCount: 1,
		Fixed: []string{"cart.adds item 3", "cart.adds item 4"}, FixedCount: 2, Slower: []string{"cart.adds item 61"}, SlowerCount: 1, Added: 3}
	cover := &store.ReportChange{Build: before.ID, Number: before.Number, Ref: "main", LinesBefore: 84.1, LinesKnown: true}
	s.report(build, demoTests(), change, cover)
	raw := s.take(build, store.ReportFiles, "", "0/reports/junit-cart.xml", "<testsuite/>", "1/coverage.xml", "<coverage/>")
	docs := s.take(build, "docs", "manual", "index.html", "<h1>Manual</h1>", "img/a b.png", "png")
	maps := s.take(build, "source_maps", "maps", "app.js.map", strings.Repeat("x", 40_000))
	s.change(build, func(b *store.Build) {
		b.ReportFiles, b.Secondary = raw, []store.Artifacts{*docs, *maps}
		b.Exported = []store.Variable{{Name: "VERSION", Value: "2.4.1-rc.3"}, {Name: "IMAGE", Value: "registry.example.org/octo/shop@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"}, {Name: "NOTES", Value: "two\nlines"}}
	})
}

// reported is a private build that is over and left reports, secondary artifacts and exported variables.
func (s *site) reported() store.Build {
	s.Helper()
	before, b := s.submit(privateRepo, end(store.Succeeded)), s.submit(privateRepo, claim)
	s.leave(b.ID, before)
	s.change(b.ID, end(store.Failed))
	return s.build(b.ID)
}
