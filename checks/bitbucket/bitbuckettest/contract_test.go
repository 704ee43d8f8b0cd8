package bitbuckettest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPublished checks that a published description counts where it is present, and that its faults are excused.
func TestPublished(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(contractsVariable, dir)
	published := `{"swagger": "2.0", "info": {"title": "x", "version": "1"}, "basePath": "/2.0", "paths": {
		"/repositories/{workspace}/{repo_slug}/commit/{commit}/statuses/build": {"post": {"consumes": ["application/json"], "responses": {"201": {"description": "made"}},
			"parameters": [{"name": "_body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/status"}}]}},
		"/repositories/{workspace}/{repo_slug}/commit/{commit}/reports/{reportId}": {"put": {"consumes": ["application/json"], "responses": {"200": {"description": "done"}},
			"parameters": [{"name": "_body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/report"}}]}}},
		"definitions": {"status": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
			"report": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"},
				"data": {"type": "array", "items": {"type": "object", "properties": {"value": {"type": "object"}}}}}}}}`
	file := filepath.Join(dir, cloud{}.published())
	if err := os.WriteFile(file, []byte(published), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShop(t, Options{})
	status := `{"type": "build", "key": "k", "state": "FAILED", "url": "https://ci.example.org"}`
	s.wantViolation(400, `the published description: name: property "name" is missing`, "POST", shopPath+"/commit/"+s.sha+"/statuses/build", status)
	s.want(201, "POST", shopPath+"/commit/"+s.sha+"/statuses/build", strings.Replace(status, "{", `{"name": "n", `, 1))
	s.want(200, "PUT", shopPath+"/commit/"+s.sha+"/reports/r", `{"title": "t", "details": "d", "report_type": "TEST", "data": [{"title": "n", "type": "NUMBER", "value": 1}]}`)

	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(Options{URL: "http://127.0.0.1:1", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "reading the description of Bitbucket's API: reading "+file[len(dir)+1:]) {
		t.Errorf("a description that is none: %v", err)
	}
	t.Setenv(contractsVariable, t.TempDir())
	newShop(t, Options{}) // which has only our own
}

func TestNewServer(t *testing.T) {
	for want, o := range map[string]Options{"the address of the server is not given": {}, `there is no flavour "server" of Bitbucket`: {URL: "http://127.0.0.1:1", Flavor: "server"}} {
		if _, err := NewServer(o); err == nil || err.Error() != want {
			t.Errorf("NewServer(%+v): %v, want %s", o, err, want)
		}
	}
}
