package web

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"buildsmith/store"
)

// keep gives a build artifacts.
func (s *site) keep(b *store.Build, files map[string]string) {
	s.Helper()
	var archive bytes.Buffer
	t := tar.NewWriter(&archive)
	for name, text := range files {
		t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text)), Mode: 0o644})
		t.Write([]byte(text))
	}
	t.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "a.html"})
	t.Close()
	artifacts, err := s.store.TakeArtifacts(b.ID, "", "../na\"me\r\n", &archive, 1<<20)
	if err != nil {
		s.Fatal(err)
	}
	s.change(b.ID, func(b *store.Build) { b.Artifacts = artifacts })
}

func TestArtifacts(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	files := map[string]string{"a.html": "<script>alert(1)</script>", "dir/b c+d%2F?#&.txt": "b", "dir/\"q\"\n.bin": "q", "ü/…": "u", "-rf": "r"}
	s.keep(&b, files)
	s.change(b.ID, end(store.Succeeded))
	key := s.key(b)
	page := s.ask(request{path: "/builds/" + b.ID + "?k=" + key})
	links := regexp.MustCompile(`href="(/builds/[^"]*/artifacts/[^"]*)"`).FindAllStringSubmatch(page.body, -1)
	if len(links) != len(files) {
		t.Fatalf("the page has links %q", links)
	}
	found := map[string]bool{}
	for _, l := range links {
		got := s.ask(request{path: html.UnescapeString(l[1])})
		if got.StatusCode != http.StatusOK {
			t.Errorf("GET %s: status %d", l[1], got.StatusCode)
			continue
		}
		for name, text := range files {
			if got.body == text {
				found[name] = true
			}
		}
		for name, want := range map[string]string{"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"} {
			if got.Header.Get(name) != want {
				t.Errorf("GET %s: %s is %q", l[1], name, got.Header.Get(name))
			}
		}
		if d := got.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || strings.ContainsAny(d, "\r\n/") {
			t.Errorf("GET %s: disposition %q", l[1], d)
		}
	}
	if len(found) != len(files) {
		t.Errorf("found %v", found)
	}
	for _, name := range []string{"link", "missing", "", "../" + b.ID + ".json", "%2e%2e/x"} {
		if got := s.ask(request{path: "/builds/" + b.ID + "/artifacts/" + name + "?k=" + key}); got.StatusCode != http.StatusNotFound {
			t.Errorf("artifact %q: status %d", name, got.StatusCode)
		}
	}
	all := s.ask(request{path: "/builds/" + b.ID + "/artifacts.zip?k=" + key})
	z, err := zip.NewReader(strings.NewReader(all.body), int64(len(all.body)))
	if err != nil || len(z.File) != len(files)+1 {
		t.Errorf("the archive: %v", err)
	}
	if d := all.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || strings.ContainsAny(d, "\r\n/") || all.Header.Get("Content-Security-Policy") != "sandbox" {
		t.Errorf("the archive: %v", all.Header)
	}
	part := s.ask(request{path: "/builds/" + b.ID + "/artifacts.zip?k=" + key, header: map[string]string{"Range": "bytes=0-3"}})
	if part.StatusCode != http.StatusPartialContent || part.body != "PK\x03\x04" {
		t.Errorf("a part of the archive: status %d, %q", part.StatusCode, part.body)
	}
	list := s.ask(request{path: "/builds/" + b.ID + "/artifacts?k=" + key})
	if list.StatusCode != http.StatusOK || !strings.Contains(list.body, "link → a.html") || !strings.Contains(list.body, s.build(b.ID).Artifacts.SHA256) {
		t.Errorf("the list: status %d", list.StatusCode)
	}
	none := s.submit(privateRepo, end(store.Succeeded))
	for _, path := range []string{"artifacts", "artifacts.zip", "artifacts/x"} {
		if got := s.get("/builds/" + none.ID + "/" + path); got.StatusCode != http.StatusNotFound || !strings.Contains(got.body, "no longer kept") {
			t.Errorf("%s of a build without artifacts: status %d", path, got.StatusCode)
		}
	}
}

func TestManyArtifacts(t *testing.T) {
	s := newSite(t)
	b := s.submit(publicRepo, claim)
	files := map[string]string{}
	for range 1200 {
		files["f"+strings.Repeat("x", len(files)%200)+string(rune('a'+len(files)/200))+".txt"] = "x"
	}
	s.keep(&b, files)
	s.change(b.ID, end(store.Succeeded))
	n, pages := 0, 0
	for path := "/builds/" + b.ID + "/artifacts"; path != ""; pages++ {
		page := s.ask(request{path: path})
		n += strings.Count(page.body, "/artifacts/f")
		next := regexp.MustCompile(`href="([^"]+after=\d+)"`).FindStringSubmatch(page.body)
		if path = ""; next != nil {
			path = strings.ReplaceAll(next[1], "&amp;", "&")
		}
	}
	if n != len(files) || pages != 3 {
		t.Errorf("%d of %d files on %d pages", n, len(files), pages)
	}
}

func TestRawLog(t *testing.T) {
	s := newSite(t)
	b := s.submit(privateRepo, claim)
	s.print(b.ID, "0123456789\n")
	path := "/builds/" + b.ID + "/log.txt?k=" + s.key(b)
	if got := s.ask(request{path: path, header: map[string]string{"Range": "bytes=2-4"}}); got.StatusCode != http.StatusOK || got.body != "0123456789\n" {
		t.Errorf("a range of a running build: status %d, %q", got.StatusCode, got.body)
	}
	s.change(b.ID, end(store.Succeeded))
	for _, test := range []struct {
		query, bytes string
		status       int
		want         string
	}{
		{"", "", 200, "0123456789\n"},
		{"", "bytes=2-4", 206, "234"},
		{"", "bytes=-3", 206, "89\n"},
		{"", "bytes=99-", 416, "invalid range: failed to overlap\n"},
		{"&from=7", "", 200, "789\n"},
		{"&from=11", "", 200, ""},
		{"&from=9999999999999999999", "", 200, ""},
		{"&follow=1", "", 200, "0123456789\n"},
		{"&follow=1&from=5", "", 200, "56789\n"},
		{"&follow=1&from=99", "", 200, ""},
		{"&follow=0", "bytes=0-0", 206, "0"},
	} {
		header := map[string]string{}
		if test.bytes != "" {
			header["Range"] = test.bytes
		}
		if got := s.ask(request{path: path + test.query, header: header}); got.StatusCode != test.status || got.body != test.want {
			t.Errorf("log.txt%s %s: status %d, %q, want %d, %q", test.query, test.bytes, got.StatusCode, got.body, test.status, test.want)
		}
	}
	if got := s.ask(request{path: path + "&from=x"}); got.StatusCode != http.StatusBadRequest {
		t.Errorf("from=x: status %d", got.StatusCode)
	}
	if got := s.ask(request{method: http.MethodHead, path: path}); got.StatusCode != 200 || got.ContentLength != 11 {
		t.Errorf("HEAD: status %d, %d bytes", got.StatusCode, got.ContentLength)
	}
	empty := s.submit(privateRepo, end(store.Failed))
	if got := s.get("/builds/" + empty.ID + "/log.txt"); got.StatusCode != 200 || got.body != "" {
		t.Errorf("an empty log: status %d, %q", got.StatusCode, got.body)
	}
}
