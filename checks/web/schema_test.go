package web

import (
	"net/http"
	"testing"
)

// TestSchema asks for the schema as nobody in particular.
func TestSchema(t *testing.T) {
	const text = `{"$schema": "http://json-schema.org/draft-07/schema#"}`
	s := newSite(t, func(c *Config) { c.Schema = []byte(text) })
	got := s.ask(request{path: "/buildspec.schema.json"})
	if got.StatusCode != http.StatusOK || got.body != text {
		t.Errorf("%s: %s", got.Status, got.body)
	}
	for name, want := range map[string]string{"Content-Type": "application/schema+json", "Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	again := s.ask(request{path: "/buildspec.schema.json", header: map[string]string{"If-None-Match": got.Header.Get("ETag")}})
	if again.StatusCode != http.StatusNotModified || again.body != "" {
		t.Errorf("again: %s: %s", again.Status, again.body)
	}
	if head := s.ask(request{method: http.MethodHead, path: "/buildspec.schema.json"}); head.StatusCode != http.StatusOK || head.body != "" {
		t.Errorf("HEAD: %s: %s", head.Status, head.body)
	}
	if post := s.ask(request{method: http.MethodPost, path: "/buildspec.schema.json"}); post.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", post.Status)
	}
}

// TestNoSchema has a server without one.
func TestNoSchema(t *testing.T) {
	if got := newSite(t).ask(request{path: "/buildspec.schema.json"}); got.StatusCode != http.StatusNotFound {
		t.Errorf("%s: %s", got.Status, got.body)
	}
}
