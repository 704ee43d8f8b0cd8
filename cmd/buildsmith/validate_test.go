package main

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"buildsmith/runner/buildspec"
)

// findings are those of a text, which stands in a file of that name.
func findings(t *testing.T, name, text string) []finding {
	t.Helper()
	v := &validation{in: strings.NewReader(text), errors: os.Stderr, strict: true}
	if name != "-" {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v.check(name)
	return v.found
}

const mistakes = "version: 0.2\nphases:\n  build:\n    commands:\n      - sudo make\n      - 'é': {}\nx: y\n"

// TestSARIF reads what is printed as any reader of SARIF 2.1.0 would, and looks for all that the format requires.
func TestSARIF(t *testing.T) {
	t.Chdir(t.TempDir())
	found := append(findings(t, "-", mistakes), findings(t, "a b/c:d.yml", mistakes)...)
	found = append(found, findings(t, filepath.Join(t.TempDir(), "é.yml"), "version: 0.2\n")...)
	var out bytes.Buffer
	if err := printSARIF(&out, found); err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	decoder := json.NewDecoder(bytes.NewReader(out.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&log); err != nil {
		t.Fatal(err)
	}
	if log.Version != "2.1.0" || len(log.Runs) != 1 || !strings.Contains(log.Schema, "sarif-2.1.0") {
		t.Fatalf("version %s of %s, %d runs", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	if run.Tool.Driver.Name != "buildsmith" || run.Tool.Driver.Version == "" || len(run.Tool.Driver.Rules) != len(buildspec.Rules()) {
		t.Errorf("driver %s %s with %d rules", run.Tool.Driver.Name, run.Tool.Driver.Version, len(run.Tool.Driver.Rules))
	}
	for _, r := range run.Tool.Driver.Rules {
		if want := map[bool]string{true: formatPage}[slices.Contains(onFormatPage, r.ID)]; r.HelpURI != want {
			t.Errorf("rule %s has the help %q, want %q", r.ID, r.HelpURI, want)
		}
		if r.Short.Text == "" || r.Full.Text == "" || !strings.Contains(r.Help.Text, r.ID) {
			t.Errorf("rule %+v", r)
		}
		if level := r.Default.Level; level != "error" && level != "warning" {
			t.Errorf("rule %s is of level %q", r.ID, level)
		}
	}
	if len(run.Results) != len(found) || len(found) < 5 {
		t.Fatalf("%d results of %d findings", len(run.Results), len(found))
	}
	if text := out.String(); strings.Contains(text, `"helpUri": ""`) {
		t.Error("a rule has an empty helpUri")
	}
	files := map[string]bool{}
	for i, r := range run.Results {
		if r.RuleID != run.Tool.Driver.Rules[r.RuleIndex].ID || r.Message.Text != found[i].Message || r.Level != "error" || len(r.Locations) != 1 {
			t.Errorf("result %+v of %+v", r, found[i])
			continue
		}
		at := r.Locations[0].Physical
		if at.Region.StartLine != found[i].Line || at.Region.StartColumn != found[i].Column || at.Region.StartLine < 1 || at.Region.StartColumn < 1 {
			t.Errorf("region %+v of %+v", at.Region, found[i])
		}
		if _, err := url.Parse(at.Artifact.URI); err != nil {
			t.Error(err)
		}
		files[at.Artifact.URI] = true
	}
	for _, want := range []string{"standard%20input", "a%20b/c:d.yml"} {
		if !files[want] {
			t.Errorf("no result of %s: %v", want, files)
		}
	}
	for uri := range files {
		if strings.HasSuffix(uri, "%C3%A9.yml") && !strings.HasPrefix(uri, "file:///") {
			t.Errorf("the address of an absolute name is %s", uri)
		}
	}
	if len(files) != 3 {
		t.Errorf("files %v", files)
	}
}

// TestSARIFOfNothing has no results, but the list of them.
func TestSARIFOfNothing(t *testing.T) {
	var out bytes.Buffer
	if err := printSARIF(&out, nil); err != nil || !strings.Contains(out.String(), `"results": []`) {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestFileURI(t *testing.T) {
	for name, want := range map[string]string{"buildspec.yml": "buildspec.yml", "./a//b.yml": "a/b.yml", "/a/b c.yml": "file:///a/b%20c.yml", "a:b.yml": "./a:b.yml", "a#b?.yml": "a%23b%3F.yml"} {
		if got := fileURI(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// TestCodesOfLevels prints each rule's code behind what a comment can silence, and nowhere else.
func TestCodesOfLevels(t *testing.T) {
	for _, r := range buildspec.Rules() {
		var out bytes.Buffer
		if err := printText(&out, []finding{{File: "f", Line: 1, Column: 2, Level: "error", Code: r.Code, Message: "m"}}); err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), map[bool]string{true: "f:1:2: m\n", false: "f:1:2: m [" + r.Code + "]\n"}[r.Level() == "error"]; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !isErrorCode("none") {
		t.Error("an unknown code can be silenced")
	}
}
