package forgetest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          map[string]string
	}{
		{"/repos/{owner}/{repo}", "/repos/octo/shop", map[string]string{"owner": "octo", "repo": "shop"}},
		{"/repos/{owner}/{repo}", "/repos/octo/a%2Fb", map[string]string{"owner": "octo", "repo": "a/b"}},
		{"/repos/{owner}/{repo}", "/repos/octo", nil},
		{"/repos/{owner}/{repo}", "/repos/octo/", nil},
		{"/repos/{owner}/{repo}", "/other/octo/shop", nil},
		{"/src/{commit}/{path}", "/src/main/a/b%20c", map[string]string{"commit": "main", "path": "a/b c"}},
		{"/src/{commit}/{path}", "/src/main/", map[string]string{"commit": "main", "path": ""}},
		{"/refs/{name}/runs", "/refs/a/b/runs", nil},
	} {
		parts, ok := Segments(test.path)
		params, matched := NewPattern(test.pattern, func(name string) bool { return name == "path" }).Match(parts)
		if !ok || matched != (test.want != nil) {
			t.Errorf("%s takes %s: %v", test.pattern, test.path, matched)
			continue
		}
		for name, value := range test.want {
			if params[name] != value {
				t.Errorf("%s takes %s with %s %q, want %q", test.pattern, test.path, name, params[name], value)
			}
		}
	}
	if _, ok := Segments("/a%zz"); ok {
		t.Error("a path that is escaped wrongly was taken apart")
	}
	if n := NewPattern("/a/{b}/c", func(string) bool { return false }).Literals(); n != 2 {
		t.Errorf("%d literals", n)
	}
}

func TestService(t *testing.T) {
	for _, test := range []struct {
		method, query, action, want string
		discovery                   bool
	}{
		{"GET", "service=git-upload-pack", "info/refs", "git-upload-pack", true},
		{"POST", "", "git-receive-pack", "git-receive-pack", false},
		{"GET", "", "git-receive-pack", "", false},
		{"POST", "service=git-upload-pack", "info/refs", "", false},
		{"GET", "service=git-shell", "info/refs", "", false},
		{"GET", "", "HEAD", "", false},
	} {
		got, discovery := Service(httptest.NewRequest(test.method, "/x?"+test.query, nil), test.action)
		if got != test.want || discovery != test.discovery {
			t.Errorf("%+v: %q, %v", test, got, discovery)
		}
	}
}

func TestNews(t *testing.T) {
	var n News
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := n.Await(ctx, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting in vain: %v", err)
	}
	asked := make(chan struct{})
	done := make(chan error)
	times := 0
	go func() {
		done <- n.Await(t.Context(), func() bool {
			times++
			if times == 1 {
				close(asked)
			}
			return times == 2
		})
	}()
	<-asked
	n.Wake()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRefs(t *testing.T) {
	h := Host{Name: "Forge", Email: "forge@example.org", Hidden: "refs/pull"}
	dir := filepath.Join(t.TempDir(), "a.git")
	if err := h.Init(dir, "main"); err != nil {
		t.Fatal(err)
	}
	if isNew, err := IsNew(dir); err != nil || !isNew {
		t.Errorf("an empty repository: %v, %v", isNew, err)
	}
	at := time.Unix(1700000000, 0)
	first, err := h.Commit(dir, "main", "main", Change{Files: map[string]string{"a": "1", "b": "2"}}, "Mona <mona@example.org>", at)
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.Commit(dir, "topic", "main", Change{Message: "two", Remove: []string{"a"}}, "Mona <mona@example.org>", at)
	if err != nil {
		t.Fatal(err)
	}
	one, err := ReadCommit(dir, second)
	if err != nil || one.Message != "two" || one.Parents[0] != first || one.Removed[0] != "a" || one.Author.Name != "Mona" || !one.Author.At.Equal(at) {
		t.Errorf("the commit is %+v, %v", one, err)
	}
	before, err := Refs(dir)
	if err != nil || len(before) != 2 || before["refs/heads/topic"] != second {
		t.Errorf("the refs are %v, %v", before, err)
	}
	after := map[string]string{"refs/heads/main": first, "refs/tags/v1": first}
	if got := strings.Join(ChangedRefs(before, after), " "); got != "refs/heads/topic refs/tags/v1" {
		t.Errorf("changed are %s", got)
	}
	for name, want := range map[string]string{"main": first, first[:10]: first, "": "", "--all": "", "main~1": "", "a..b": "", "none": ""} {
		if got, _ := Resolve(dir, name); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", name, got, want)
		}
	}
	if _, err := h.Commit(dir, "main", "main", Change{Parent: "none"}, "Mona <mona@example.org>", at); err == nil || !strings.Contains(err.Error(), "committing to main") {
		t.Errorf("a commit on nothing: %v", err)
	}
}

func TestLoadSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	made, err := LoadSecret(file)
	if err != nil || len(made) != 40 {
		t.Fatalf("LoadSecret made %q, %v", made, err)
	}
	if again, err := LoadSecret(file); err != nil || again != made {
		t.Errorf("LoadSecret = %q, %v, want %q", again, err, made)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the secret: %v, %v", info, err)
	}
}

func TestControl(t *testing.T) {
	type fake struct{ said string }
	c := Control[*fake]{
		Acts: map[string]func(*fake, []byte) (any, error){"say": Act(func(f *fake, in struct {
			Word string `json:"word"`
		}) (any, error) {
			f.said = in.Word
			return in, nil
		})},
		Reads: map[string]func(*fake, context.Context, url.Values) (any, error){
			"said": func(f *fake, _ context.Context, _ url.Values) (any, error) { return f.said, nil },
			"late": func(*fake, context.Context, url.Values) (any, error) { return nil, context.DeadlineExceeded },
		},
	}
	f := &fake{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.Serve(f, w, r) }))
	defer server.Close()
	for _, test := range []struct {
		method, name, kind, body, want string
		status                         int
	}{
		{"POST", "say", "application/json", `{"word": "yes"}`, `"word": "yes"`, 200},
		{"GET", "said", "", "", `"yes"`, 200},
		{"POST", "say", "text/plain", `{"word": "no"}`, "the content type is not application/json", 400},
		{"POST", "say", "application/json", `{"worte": "no"}`, `unknown field \"worte\"`, 400},
		{"POST", "sing", "application/json", "", "there are", 404},
		{"GET", "sung", "", "", "there are", 404},
		{"GET", "late", "", "", "deadline", 504},
		{"PUT", "say", "application/json", "", "there are", 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+ControlBase+test.name, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", test.kind)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.status || !strings.Contains(string(text), test.want) {
			t.Errorf("%s %s %s: %d %s, %v", test.method, test.name, test.body, resp.StatusCode, text, err)
		}
	}
	if _, err := (FaultAct{Delay: "soon"}).Read(); err == nil {
		t.Error("a delay that is none was read")
	}
	if c, err := (ChaosAct{Hold: "3s"}).Read(); err != nil || c.Hold != 3*time.Second {
		t.Errorf("the chaos is %+v, %v", c, err)
	}
}
