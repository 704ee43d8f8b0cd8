package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"buildsmith/store"
)

// TestRelyLogNeedsNoConsole follows the link of a check as somebody who has no account here: what is of a public repository is public, what
// is of a private one opens by the link that its check has, and by nothing else.
func TestRelyLogNeedsNoConsole(t *testing.T) {
	s := newSite(t)
	public, private := s.submit(publicRepo, end(store.Failed)), s.submit(privateRepo, end(store.Failed))
	for _, b := range []store.Build{public, private} {
		s.print(b.ID, "--- FAIL: TestPrices\n")
	}
	for _, tt := range []struct {
		name, query string
		of          store.Build
		want        int
	}{
		{"public", "", public, http.StatusOK}, {"private, by its link", "?k=" + s.key(private), private, http.StatusOK},
		{"private, without", "", private, http.StatusNotFound}, {"private, by another link", "?k=" + s.key(public), private, http.StatusNotFound},
	} {
		for _, path := range []string{"", "/log.txt"} {
			got := s.ask(request{path: "/builds/" + tt.of.ID + path + tt.query})
			if got.StatusCode != tt.want || strings.Contains(got.body, "FAIL: TestPrices") != (tt.want == http.StatusOK) {
				t.Errorf("%s%s: status %d", tt.name, path, got.StatusCode)
			}
		}
	}
}

// TestRelyHistoryIsKept repeats a build: every attempt keeps its page and its log, the later one leads to the one that it repeats, and the
// list of the project, to which they lead the administrator, has them all.
func TestRelyHistoryIsKept(t *testing.T) {
	s := newSite(t)
	first := s.submit(publicRepo, end(store.Failed))
	s.print(first.ID, "the first attempt\n")
	second := s.submit(publicRepo, func(b *store.Build) { b.RerunOf = first.ID }, end(store.Succeeded))
	s.print(second.ID, "the second attempt\n")
	for _, tt := range []struct {
		of               store.Build
		text, not, other string
	}{{first, "the first attempt", "the second attempt", first.ID}, {second, "the second attempt", "the first attempt", first.ID}} {
		page := s.ask(request{path: "/builds/" + tt.of.ID})
		if page.StatusCode != http.StatusOK || !strings.Contains(page.body, tt.text) || strings.Contains(page.body, tt.not) || !strings.Contains(page.body, "/builds/"+tt.other) {
			t.Errorf("the page of build %d: status %d", tt.of.Number, page.StatusCode)
		}
	}
	list := s.get("/builds?project=" + first.Project)
	for _, b := range []store.Build{first, second} {
		if !strings.Contains(list.body, "/builds/"+b.ID) {
			t.Errorf("the list lacks build %d", b.Number)
		}
	}
	link := `href="/builds?project=` + first.Project + `"`
	if page := s.get("/builds/" + first.ID); !strings.Contains(page.body, link) {
		t.Errorf("the page of a build lacks %s", link)
	}
	if page := s.ask(request{path: "/builds/" + first.ID}); strings.Contains(page.body, link) {
		t.Error("a visitor is led to a list that only the administrator sees")
	}
}

// TestAttackOpenRedirect logs in by links that would lead away.
func TestAttackOpenRedirect(t *testing.T) {
	s := newSite(t)
	for _, to := range []string{"https://evil.example.org/", "//evil.example.org", `/\evil.example.org`, `\\evil.example.org`, "/\t/evil.example.org", "javascript:alert(1)", "http:evil.example.org",
		"/%09/evil.example.org", "///evil.example.org", "evil.example.org", "/\r\nLocation: https://evil.example.org"} {
		got := s.ask(request{method: http.MethodPost, path: "/login", form: url.Values{"token": {adminToken}, "return_to": {to}}})
		location, err := got.Location()
		if got.StatusCode != http.StatusSeeOther || err != nil || location.Scheme+"://"+location.Host != s.url || len(got.Header.Values("Location")) != 1 {
			t.Errorf("%q leads to %q: status %d", to, got.Header.Get("Location"), got.StatusCode)
		}
		page := s.ask(request{path: "/login?return_to=" + url.QueryEscape(to)})
		if m := regexp.MustCompile(`(?:href|action|content)="[^"]*evil[^"]*"`).FindString(page.body); m != "" {
			t.Errorf("%q: the page has %s", to, m)
		}
	}
}
