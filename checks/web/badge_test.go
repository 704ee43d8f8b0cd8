package web

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// reads is what a badge says: its two texts. It fails the test if the picture is no XML.
func reads(t *testing.T, a answer) (label, word string) {
	t.Helper()
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "image/svg+xml" {
		t.Fatalf("status %d, %s: %s", a.StatusCode, a.Header.Get("Content-Type"), a.body)
	}
	d := xml.NewDecoder(strings.NewReader(a.body))
	var texts []string
	for in := ""; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, a.body)
		}
		switch token := token.(type) {
		case xml.StartElement:
			in = token.Name.Local
			if in == "script" || in == "a" || in == "image" {
				t.Errorf("the badge has an element %s", in)
			}
		case xml.CharData:
			if in == "text" {
				texts = append(texts, string(token))
			}
		case xml.EndElement:
			in = ""
		}
	}
	if len(texts) != 4 || texts[0] != texts[1] || texts[2] != texts[3] {
		t.Fatalf("the badge has the texts %q", texts)
	}
	return texts[0], texts[2]
}

// word is what a badge says of the branch.
func (s *site) word(path string) string {
	s.Helper()
	_, word := reads(s.T, s.ask(request{path: path}))
	return word
}

func (s *site) badgeKey(r store.Repo) (key string) {
	s.Helper()
	if err := s.store.View(func(tx *store.Tx) (err error) { key, err = tx.BadgeKey(r); return err }); err != nil {
		s.Fatal(err)
	}
	return key
}

func onRef(ref string) func(*store.Build) {
	return func(b *store.Build) { b.Trigger.HeadRef = ref }
}

// TestBadgeStandings has each state of a build tell its word.
func TestBadgeStandings(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*store.Build)
		want   string
	}{
		"waits":     {func(*store.Build) {}, "running"},
		"runs":      {claim, "running"},
		"succeeded": {end(store.Succeeded), "passing"},
		"failed":    {end(store.Failed), "failing"},
		"timed out": {end(store.TimedOut), "failing"},
		"stopped":   {end(store.Stopped), "cancelled"},
		"fault":     {end(store.Fault), "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.submit(publicRepo, tt.change)
			if got := s.word("/badge/github/octo/docs.svg"); got != tt.want {
				t.Errorf("the badge says %s, want %s", got, tt.want)
			}
		})
	}
}

// TestBadgeOfARef takes the newest build of what is asked for.
func TestBadgeOfARef(t *testing.T) {
	s := newSite(t)
	s.submit(publicRepo, end(store.Succeeded))
	submit := func(ref string, change ...func(*store.Build)) {
		s.update(func(tx *store.Tx) error {
			p, err := tx.Project(publicRepo, "")
			if err != nil {
				return err
			}
			b := store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: commit, HeadRef: ref}}
			for _, fn := range change {
				fn(&b)
			}
			_, err = tx.Submit(p, b)
			return err
		})
	}
	submit("refs/heads/feature/a")
	submit("refs/tags/v1.0")
	submit("refs/heads/main", func(b *store.Build) { b.Trigger.PullRequest = 7 })
	submit("refs/heads/main", func(b *store.Build) { b.Trigger.Fork = true })
	for path, want := range map[string]string{
		"/badge/github/octo/docs.svg":                           "passing",
		"/badge/github/Octo/Docs.svg":                           "passing",
		"/badge/github/octo%2Fdocs.svg":                         "passing",
		"/badge/github/octo/docs.svg?branch=main":               "passing",
		"/badge/github/octo/docs.svg?branch=feature/a":          "running",
		"/badge/github/octo/docs.svg?branch=feature%2Fa":        "running",
		"/badge/github/octo/docs.svg?tag=v1.0":                  "running",
		"/badge/github/octo/docs.svg?branch=main&tag=v1.0":      "running",
		"/badge/github/octo/docs.svg?branch=v1.0":               "unknown",
		"/badge/github/octo/docs.svg?branch=none":               "unknown",
		"/badge/github/octo/docs.svg?branch=..%2F..%2Fx":        "unknown",
		"/badge/github/octo/docs.svg?branch=main%00":            "unknown",
		"/badge/github/octo/docs.svg?project=octo-docs":         "passing",
		"/badge/github/octo/docs.svg?project=octo-shop":         "unknown",
		"/badge/github/octo/none.svg":                           "unknown",
		"/badge/github/octo/docs":                               "unknown",
		"/badge/github/" + strings.Repeat("x", 5000) + "/y.svg": "unknown",
		"/badge/bitbucket/octo/docs.svg":                        "unknown",
		"/badge/github/.svg":                                    "unknown",
	} {
		if got := s.word(path); got != want {
			t.Errorf("%.80s says %s, want %s", path, got, want)
		}
	}
}

// TestBadgeOfProjects tells the worst of a repository's configured projects, and passes over what it was before they were.
func TestBadgeOfProjects(t *testing.T) {
	s := newSite(t)
	s.submit(publicRepo, end(store.Failed))
	submit := func(name string, status store.Status) {
		var b store.Build
		s.update(func(tx *store.Tx) error {
			p, err := tx.Project(publicRepo, name)
			if err == nil {
				b, err = tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{Commit: commit, HeadRef: "refs/heads/main"}})
			}
			return err
		})
		s.change(b.ID, end(status))
	}
	submit("check", store.Succeeded)
	if got := s.word("/badge/github/octo/docs.svg"); got != "passing" {
		t.Errorf("one project that passes: %s", got)
	}
	submit("deploy", store.Stopped)
	for query, want := range map[string]string{"": "cancelled", "?project=check": "passing", "?project=deploy": "cancelled", "?project=octo-docs": "failing"} {
		if got := s.word("/badge/github/octo/docs.svg" + query); got != want {
			t.Errorf("%q says %s, want %s", query, got, want)
		}
	}
	submit("deploy", store.Failed)
	if got := s.word("/badge/github/octo/docs.svg"); got != "failing" {
		t.Errorf("one of two that fails: %s", got)
	}
	s.submit(publicRepo, end(store.Succeeded)) // they are configured no longer
	if got := s.word("/badge/github/octo/docs.svg"); got != "passing" {
		t.Errorf("a project by itself again: %s", got)
	}
}

// TestBadgeOfAPrivateRepository is the same answer for whoever has no key as that for a repository that there is not.
func TestBadgeOfAPrivateRepository(t *testing.T) {
	s := newSite(t)
	s.submit(privateRepo, end(store.Succeeded))
	tools := localRepo
	tools.DefaultBranch = "main"
	b := s.submit(tools, end(store.Failed))
	none := s.ask(request{path: "/badge/github/octo/none.svg?k=x"})
	for _, r := range []struct {
		path, want string
		repo       store.Repo
	}{{"/badge/github/octo/shop.svg", "passing", privateRepo}, {"/badge/local/tools.svg", "failing", tools}} {
		key := s.badgeKey(r.repo)
		if got := s.word(r.path + "?k=" + key); got != r.want {
			t.Errorf("%s with its key says %s, want %s", r.path, got, r.want)
		}
		for _, query := range []string{"", "?k=", "?k=" + key[1:], "?k=" + s.badgeKey(publicRepo), "?k=" + s.key(b), "?branch=main", "?project=octo-shop"} {
			got := s.ask(request{path: r.path + query})
			got.Header.Del("Date")
			none.Header.Del("Date")
			if got.body != none.body || len(got.Header) != len(none.Header) || got.Header.Get("ETag") != none.Header.Get("ETag") {
				t.Errorf("%s%s differs from a repository that there is not: %v\n%s", r.path, query, got.Header, got.body)
			}
		}
		s.update(func(tx *store.Tx) error { return tx.RevokeLinks(r.repo.Key()) })
		if got := s.word(r.path + "?k=" + key); got != "unknown" {
			t.Errorf("%s with a key that was revoked says %s", r.path, got)
		}
	}
}

func TestBadgeIsAskedForAgain(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo)
	const path = "/badge/github/octo/docs.svg"
	first := s.ask(request{path: path})
	tag := first.Header.Get("ETag")
	if first.Header.Get("Cache-Control") != "no-cache, max-age=0" || len(tag) < 10 || first.Header.Get("Cross-Origin-Resource-Policy") != "cross-origin" ||
		!strings.HasPrefix(first.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("headers %v", first.Header)
	}
	for _, has := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		got := s.ask(request{path: path, header: map[string]string{"If-None-Match": has}})
		if got.StatusCode != http.StatusNotModified || got.body != "" || got.Header.Get("ETag") != tag || got.Header.Get("Cache-Control") != "no-cache, max-age=0" {
			t.Errorf("If-None-Match: %s: status %d, %v", has, got.StatusCode, got.Header)
		}
	}
	if got := s.ask(request{method: http.MethodHead, path: path}); got.StatusCode != http.StatusOK || got.Header.Get("ETag") != tag {
		t.Errorf("HEAD: status %d, %v", got.StatusCode, got.Header)
	}
	s.change(b.ID, end(store.Succeeded))
	if got := s.ask(request{path: path, header: map[string]string{"If-None-Match": tag}}); got.StatusCode != http.StatusOK || got.Header.Get("ETag") == tag {
		t.Errorf("after the build's end: status %d", got.StatusCode)
	}
}

func TestBadgeLabel(t *testing.T) {
	s := newSite(t)
	for in, want := range map[string]string{
		"":                            "build",
		"  ":                          "build",
		"my tests":                    "my tests",
		`</text><script>"x"&'y'`:      `</text><script>"x"&'y'`,
		"a\x00b\nc\u202ed\xff":        "abcd",
		"Übersicht":                   "Übersicht",
		strings.Repeat("é", 70) + "x": strings.Repeat("é", 64),
	} {
		a := s.ask(request{path: "/badge/github/octo/none.svg?label=" + url.QueryEscape(in)})
		if got, word := reads(t, a); got != want || word != "unknown" {
			t.Errorf("label %q reads %q", in, got)
		}
	}
}

// TestBadgeIsShown offers the badge where a project's builds are listed.
func TestBadgeIsShown(t *testing.T) {
	s := newSite(t)
	s.submit(publicRepo, end(store.Succeeded))
	s.submit(privateRepo, end(store.Succeeded))
	says(t, s.get("/builds?project=octo-docs"), []string{`<img src="/badge/github/octo/docs.svg"`, "![build](" + s.url + "/badge/github/octo/docs.svg)"})
	says(t, s.get("/builds?project=octo-shop"), []string{"/badge/github/octo/shop.svg?k=" + s.badgeKey(privateRepo)})
	says(t, s.get("/builds"), nil, "/badge/")
	says(t, s.get("/builds?project=none"), nil, "/badge/")
}

// TestBadgeAmongMany answers as fast in a large store: nothing is searched for.
func TestBadgeAmongMany(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo)
	s.change(b.ID, end(store.Succeeded))
	s.update(func(tx *store.Tx) error {
		p, err := tx.Project(privateRepo, "")
		if err != nil {
			return err
		}
		for range 5_000 {
			if _, err := tx.Submit(p, store.Build{Check: "buildsmith", Trigger: store.Trigger{HeadRef: "refs/heads/main"}}); err != nil {
				return err
			}
		}
		return nil
	})
	start := time.Now()
	for range 50 {
		if got := s.word("/badge/github/octo/docs.svg"); got != "passing" {
			t.Fatalf("the badge says %s", got)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("50 badges took %v", took)
	}
}
