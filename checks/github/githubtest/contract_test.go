package githubtest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// installed copies what names the versions into a directory of the test, without the packages.
func installed(t *testing.T) string {
	t.Helper()
	Require(t)
	dir, err := contractsDir()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	if err := os.WriteFile(filepath.Join(copied, "package.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestNotInstalled(t *testing.T) {
	_, err := readCut(installed(t), operations())
	if !errors.Is(err, ErrNotInstalled) {
		t.Fatalf("without the packages: %v", err)
	}
	for _, want := range []string{"make test", "npm ci --prefix testdata/contracts", "@octokit/openapi"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestOtherVersion(t *testing.T) {
	dir := installed(t)
	root := filepath.Join(dir, "node_modules", "@octokit", "openapi")
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, root, "package.json", `{"version": "1.0.0"}`)
	if _, err := readCut(dir, operations()); !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), `"1.0.0"`) {
		t.Errorf("with another version: %v", err)
	}
}

// TestCut lets many cut a small description at the same time, as test binaries do.
func TestCut(t *testing.T) {
	dir := installed(t)
	version, err := pinned(dir, apiPackage)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "node_modules", "@octokit", "openapi")
	if err := os.MkdirAll(filepath.Join(root, "generated"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, root, "package.json", `{"version": "`+version+`"}`)
	writeFile(t, root, "generated/api.github.com.json", `{"openapi": "3.0.3", "info": {"title": "T", "version": "1"},
		"paths": {
			"/a": {"get": {"responses": {"200": {"description": "d", "content": {"application/json": {
				"schema": {"$ref": "#/components/schemas/one"}, "examples": {"x": {"$ref": "#/components/examples/x"}}}}}}}, "put": {}},
			"/b": {"get": {}}},
		"components": {
			"schemas": {
				"one": {"type": "object", "example": 1, "properties": {"example": {"type": "string"}, "again": {"$ref": "#/components/schemas/one"},
					"two": {"$ref": "#/components/schemas/two"}}},
				"two": {"type": "string"}, "three": {"type": "string"}},
			"examples": {"x": {"value": 1}}}}`)
	want := `{"components":{"schemas":{"one":{"properties":{"again":{"$ref":"#/components/schemas/one"},"example":{"type":"string"},` +
		`"two":{"$ref":"#/components/schemas/two"}},"type":"object"},"two":{"type":"string"}}},"info":{"title":"T","version":"1"},"openapi":"3.0.3",` +
		`"paths":{"/a":{"get":{"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/one"}}},"description":"d"}}}}}}`
	only := []operation{{method: "GET", path: "/a"}}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			got, err := readCut(dir, only)
			if err != nil || string(got) != want {
				t.Errorf("cut to\n%s\n%v, want\n%s", got, err, want)
			}
		})
	}
	wait.Wait()
	files, err := os.ReadDir(filepath.Join(dir, "cache"))
	if err != nil || len(files) != 1 {
		t.Errorf("the cache holds %v, %v", files, err)
	}
	if _, err := cut([]byte(`{"paths": {}}`), only); err == nil {
		t.Error("an operation was cut that there is not")
	}
}

// BenchmarkLoad loads the contract from its cut, which every test binary does.
func BenchmarkLoad(b *testing.B) {
	Require(b)
	dir, err := contractsDir()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		data, err := readCut(dir, operations())
		if err != nil {
			b.Fatal(err)
		}
		doc, err := openapi3.NewLoader().LoadFromData(data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := newContract(doc, operations()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRoutes(t *testing.T) {
	Require(t)
	c, err := LoadContract()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ method, path, operation, param, value string }{
		{"GET", "/repos/o/r", "/repos/{owner}/{repo}", "repo", "r"},
		{"GET", "/repos/o/r/contents/a/b%20c/d%2Fe", "/repos/{owner}/{repo}/contents/{path}", "path", "a/b c/d/e"},
		{"GET", "/repos/o/r/contents/", "/repos/{owner}/{repo}/contents/{path}", "path", ""},
		{"GET", "/repos/o/r/commits/feature/x", "/repos/{owner}/{repo}/commits/{ref}", "ref", "feature/x"},
		{"GET", "/repos/o/r/commits/feature/x/check-runs", "/repos/{owner}/{repo}/commits/{ref}/check-runs", "ref", "feature/x"},
		{"GET", "/repos/o/r/issues/7/comments", "/repos/{owner}/{repo}/issues/{issue_number}/comments", "issue_number", "7"},
		{"GET", "/repos/o/r/issues/comments/7", "/repos/{owner}/{repo}/issues/comments/{comment_id}", "comment_id", "7"},
		{"PUT", "/repos/o/r/contents/a", "", "", ""},
		{"GET", "/repos/o//commits", "", "", ""},
		{"GET", "/repos/o/r/commits/", "", "", ""},
		{"GET", "/user", "", "", ""},
		{"GET", "/repos/o/%zz", "", "", ""},
	} {
		found, params := c.find(test.method, test.path)
		if found == nil {
			if test.operation != "" {
				t.Errorf("%s %s is nothing", test.method, test.path)
			}
			continue
		}
		if found.path != test.operation || params[test.param] != test.value {
			t.Errorf("%s %s is %s with %q", test.method, test.path, found.path, params)
		}
	}
}

func TestExamples(t *testing.T) {
	Require(t)
	events, err := ExampleEvents()
	if err != nil || len(events) < 50 {
		t.Errorf("%d events, %v", len(events), err)
	}
	for event, least := range map[string]int{"push": 5, "pull_request": 20, "check_run": 5, "installation": 5, "nonsense": 0} {
		list, err := Examples(event)
		if err != nil || len(list) < least || event == "nonsense" && len(list) > 0 {
			t.Errorf("%d examples of %s, %v", len(list), event, err)
		}
		for _, payload := range list {
			if !bytes.HasPrefix(payload, []byte("{")) {
				t.Errorf("an example of %s is %.20s", event, payload)
			}
		}
	}
}
