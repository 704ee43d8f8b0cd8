package web

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"buildsmith/store"

	"github.com/google/go-cmp/cmp"
)

func TestAPIReports(t *testing.T) {
	s := newSite(t, func(c *Config) { c.URL = "https://ci.example.org" })
	r := s.reported()
	page := "https://ci.example.org/builds/" + r.ID
	key := "?k=" + s.key(r)
	var b Build
	s.api("GET", "/api/builds/"+r.ID, "").decode(t, &b)
	if len(b.Reports) != 3 {
		t.Fatalf("%d reports", len(b.Reports))
	}
	tests := b.Reports[0]
	if len(tests.Failing) != 3 || tests.Failing[0].File != "test/price.test.js" || tests.Failing[0].Line != 42 || tests.Failing[1].Status != "ERROR" || tests.Failing[1].Duration != 2_300_000_000 {
		t.Errorf("failing tests %+v", tests.Failing)
	}
	tests.Failing = nil
	want := Report{Index: 0, URL: page + "/reports/0" + key, Group: "octo-shop-unit", Type: "TEST", Format: "JUNITXML", Status: "FAILED",
		Tests:  &TestSummary{64, map[string]int{"SUCCEEDED": 59, "FAILED": 2, "ERROR": 1, "SKIPPED": 1, "UNKNOWN": 1}, int64(r.Reports[0].Duration)},
		Change: &ReportChange{Build: r.Reports[0].Change.Build, Number: 1, Ref: "main", NewlyFailing: []string{"prices.Rounding.rounds up"}, NewlyFailingCount: 1, Fixed: []string{"cart.adds item 3", "cart.adds item 4"}, FixedCount: 2, Slower: []string{"cart.adds item 61"}, SlowerCount: 1, Added: 3}}
	if !cmp.Equal(tests, want) {
		t.Error(cmp.Diff(want, tests))
	}
	if c := b.Reports[1]; c.Type != "CODE_COVERAGE" || c.Tests != nil || c.Coverage.Files != 7 || fmt.Sprintf("%.1f %.1f", *c.Coverage.LinePercent, *c.Coverage.BranchPercent) != "89.3 93.4" || *c.Change.LinesBefore != 84.1 {
		t.Errorf("%+v %+v", c, c.Coverage)
	}
	if c := b.Reports[2]; c.Status != "INCOMPLETE" || len(c.Problems) != 2 || c.Change != nil || c.Tests.Total != 0 {
		t.Errorf("%+v", c)
	}
	if want := []ExportedVariable{{"VERSION", "2.4.1-rc.3"}, {"IMAGE", r.Exported[1].Value}, {"NOTES", "two\nlines"}}; !cmp.Equal(b.Exported, want) {
		t.Error(cmp.Diff(want, b.Exported))
	}
	docs := r.ArtifactsOf("docs")
	if want := (Artifacts{Name: "manual", Files: 2, Size: docs.Size, SHA256: docs.SHA256, URL: page + "/secondary/docs/artifacts.zip" + key, ID: "docs"}); len(b.Secondary) != 2 || !cmp.Equal(b.Secondary[0], want) {
		t.Error(cmp.Diff(want, b.Secondary[0]))
	}

	// The names are CodeBuild's where it has any.
	var names map[string]any
	s.api("GET", "/api/builds/"+r.ID, "").decode(t, &names)
	for _, path := range []string{"reports.0.testSummary.statusCounts.SKIPPED", "reports.0.testSummary.durationInNanoSeconds", "reports.0.failing.0.name", "reports.0.change.newlyFailing.0",
		"reports.1.codeCoverageSummary.lineCoveragePercentage", "reports.1.change.lineCoveragePercentageBefore", "secondaryArtifacts.0.artifactIdentifier", "exportedEnvironmentVariables.2.value"} {
		if lookUp(names, path) == nil {
			t.Errorf("the build has no %s", path)
		}
	}
	var list struct{ Builds []map[string]any }
	s.api("GET", "/api/builds", "").decode(t, &list)
	for _, name := range []string{"reports", "exportedEnvironmentVariables"} {
		if v := list.Builds[0][name]; v != nil {
			t.Errorf("a list of builds has %s: %v", name, v)
		}
	}
	if got := s.api("GET", "/api/builds/"+r.ID+"/reports.zip", ""); got.StatusCode != 200 || !strings.HasPrefix(got.body, "PK") {
		t.Errorf("the raw files: status %d", got.StatusCode)
	}
	var files []Artifact
	s.api("GET", "/api/builds/"+r.ID+"/secondary/docs/artifacts", "").decode(t, &files)
	if len(files) != 2 || !strings.HasPrefix(files[1].URL, page+"/secondary/docs/artifacts/img/a%20b.png?k=") {
		t.Fatalf("files %+v", files)
	}
	u := must(url.Parse(files[1].URL))
	if got := s.ask(request{path: u.RequestURI()}); got.body != "png" {
		t.Errorf("GET %s: status %d, %q", u, got.StatusCode, got.body)
	}
	if got := s.api("GET", "/api/builds/"+r.ID+"/secondary/docs/artifacts.zip", ""); got.StatusCode != 200 || !strings.HasPrefix(got.body, "PK") {
		t.Errorf("the archive: status %d", got.StatusCode)
	}
}

// lookUp finds what JSON has at a path.
func lookUp(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			var i int
			if json.Unmarshal([]byte(name), &i) != nil || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

func TestAPIReportDetails(t *testing.T) {
	s := newSite(t)
	b := s.large(5000)
	path := "/api/builds/" + b.ID + "/reports/0"
	var all []TestCase
	for offset, n := 0, 0; ; n++ {
		var d ReportDetails
		s.api("GET", fmt.Sprintf("%s?limit=1000&offset=%d", path, offset), "").decode(t, &d)
		all = append(all, d.Cases...)
		if d.Total != 5000 || d.Dropped != 7 || d.Group != "large" || d.Coverage != nil || d.Failing != nil || n > 5 {
			t.Fatalf("total %d, dropped %d", d.Total, d.Dropped)
		}
		if offset = d.Next; offset == 0 {
			break
		}
	}
	if len(all) != 5000 || all[4999].Name != "test 4999" || !strings.HasPrefix(all[0].Message, "it failed\nat org") || all[5].File != "src/Class.java" || all[5].Line != 6 || all[7].Prefix != "org.example.package7.Class7" {
		t.Errorf("%d tests", len(all))
	}
	for query, want := range map[string]string{
		"": "200 of 5000, next 200", "limit=3": "3 of 5000, next 3", "limit=0&offset=4999": "1 of 5000, next 0", "offset=9999999999": "0 of 5000, next 0",
		"status=failing": "200 of 1000, next 200", "status=succeeded&offset=3990": "10 of 4000, next 0", "status=new": "50 of 50, next 0", "status=skipped": "0 of 0, next 0",
	} {
		var d ReportDetails
		s.api("GET", path+"?"+query, "").decode(t, &d)
		if got := fmt.Sprintf("%d of %d, next %d", len(d.Cases), d.Total, d.Next); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	var d ReportDetails
	s.api("GET", "/api/builds/"+b.ID+"/reports/1?offset=98", "").decode(t, &d)
	if len(d.Coverage) != 2 || d.Coverage[1].Path != "src/000099.go" || *d.Coverage[1].LinePercent != 50 || d.Total != 100 {
		t.Errorf("%+v", d)
	}
	gone := s.submit(privateRepo, func(b *store.Build) { b.Reports = []store.ReportSummary{{Group: "x"}} }, end(store.Failed))
	for path, want := range map[string]string{
		"/api/builds/" + b.ID + "/reports/2":                "404 the build has 2 reports, numbered from 0; there is no report \"2\"",
		"/api/builds/" + b.ID + "/reports/x":                "404 the build has 2 reports",
		"/api/builds/" + b.ID + "/reports/0?limit=1001":     "400 limit=1001 is too many: ask for at most 1000 at a time and go on with offset",
		"/api/builds/" + b.ID + "/reports/0?offset=-1":      "400 offset=\"-1\" is not a number",
		"/api/builds/" + b.ID + "/reports/0?status=x":       "400 status=\"x\" is not known; leave it out or give one of failing, new, fixed, slower, skipped, unknown, succeeded",
		"/api/builds/" + gone.ID + "/reports/0":             "404 the report is no longer kept",
		"/api/builds/" + gone.ID + "/reports.zip":           "404 The build left none of that name",
		"/api/builds/" + gone.ID + "/secondary/x/artifacts": "404 The build left none of that name",
	} {
		got := s.api("GET", path, "")
		var answer struct{ Error string }
		if got.decode(t, &answer); !strings.HasPrefix(fmt.Sprintf("%d %s", got.StatusCode, answer.Error), want) {
			t.Errorf("GET %s: status %d: %s", path, got.StatusCode, answer.Error)
		}
	}
}

// TestAPILongMessages keeps what many clients poll small.
func TestAPILongMessages(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	s.report(b.ID, []store.Report{{Group: "x", Cases: []store.TestCase{{Name: "long", Status: store.CaseFailed, Message: strings.Repeat("ü", 50_000)}}}})
	var got Build
	s.api("GET", "/api/builds/"+b.ID, "").decode(t, &got)
	if m := got.Reports[0].Failing[0].Message; m != strings.Repeat("ü", toldMessage) {
		t.Errorf("%d bytes", len(m))
	}
	var d ReportDetails
	s.api("GET", "/api/builds/"+b.ID+"/reports/0", "").decode(t, &d)
	if len(d.Cases[0].Message) != 100_000 {
		t.Errorf("%d bytes", len(d.Cases[0].Message))
	}
}
