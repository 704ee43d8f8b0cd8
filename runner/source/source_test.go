package source

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A forge serves one bare repository over HTTP by git's own program.
type forge struct {
	t       *testing.T
	dir     string // the bare repository
	work    string // a clone to commit in
	url     string
	handler http.Handler
	fetches atomic.Int32
	auth    atomic.Value // the Authorization header of the last fetch
	broken  atomic.Int32 // status to answer with
}

func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main",
		"-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func newForge(t *testing.T) *forge {
	t.Helper()
	backend := filepath.Join(gitIn(t, ".", "--exec-path"), "git-http-backend")
	root := t.TempDir()
	f := &forge{t: t, dir: filepath.Join(root, "shop.git"), work: filepath.Join(root, "work")}
	gitIn(t, root, "init", "--quiet", "--bare", f.dir)
	gitIn(t, f.dir, "config", "http.receivepack", "true")
	gitIn(t, root, "clone", "--quiet", f.dir, f.work)
	handler := &cgi.Handler{Path: backend, Root: "/", Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=t"}}
	f.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := f.broken.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		if strings.HasSuffix(r.URL.Path, "/git-upload-pack") && r.Method == http.MethodPost {
			f.auth.Store(r.Header.Get("Authorization"))
		}
		if r.URL.Path == "/shop.git/info/refs" {
			f.fetches.Add(1)
		}
		handler.ServeHTTP(w, r)
	})
	server := httptest.NewServer(f.handler)
	t.Cleanup(server.Close)
	f.url = server.URL + "/shop.git"
	return f
}

// commit makes a commit with files and pushes it to a ref.
func (f *forge) commit(ref string, files map[string]string) string {
	f.t.Helper()
	for name, text := range files {
		path := filepath.Join(f.work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			f.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			f.t.Fatal(err)
		}
	}
	gitIn(f.t, f.work, "add", "--all", "--force")
	gitIn(f.t, f.work, "commit", "--quiet", "--allow-empty", "--message=change")
	gitIn(f.t, f.work, "push", "--quiet", "--force", "origin", "HEAD:"+ref)
	return gitIn(f.t, f.work, "rev-parse", "HEAD")
}

func (f *forge) remote() Remote { return Remote{Key: "test/localhost/1", URL: f.url} }

func newMirrors(t *testing.T) *Mirrors {
	t.Helper()
	m, err := New(t.TempDir(), Options{Plain: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func lease(t *testing.T, m *Mirrors, r Remote) *Lease {
	t.Helper()
	l, err := m.Lease(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

// checkout checks a commit out so that its objects are found, as they are in a sandbox.
func checkout(t *testing.T, l *Lease, want Want) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "src", "localhost", "octo", "shop")
	if err := l.Checkout(t.Context(), want, dir, l.Objects); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckout(t *testing.T) {
	f := newForge(t)
	first := f.commit("refs/heads/main", map[string]string{"README.md": "one", "dir/file": "x"})
	gitIn(t, f.work, "tag", "v1")
	gitIn(t, f.work, "push", "--quiet", "origin", "v1")
	second := f.commit("refs/heads/dev", map[string]string{"README.md": "two"})
	l := lease(t, newMirrors(t), f.remote())
	for commit, text := range map[string]string{first: "one", second: "two"} {
		dir := checkout(t, l, Want{Commit: commit})
		if got, err := os.ReadFile(filepath.Join(dir, "README.md")); string(got) != text {
			t.Errorf("README.md holds %q, %v", got, err)
		}
		for command, want := range map[string]string{
			"status --porcelain":           "",
			"rev-parse HEAD":               commit,
			"rev-parse --abbrev-ref HEAD":  "HEAD",
			"rev-parse origin/main":        first,
			"rev-parse origin/dev":         second,
			"describe --tags origin/main":  "v1",
			"config remote.origin.url":     f.url,
			"count-objects":                "0 objects, 0 kilobytes",
			"rev-list --count origin/main": "1",
		} {
			if got := gitIn(t, dir, strings.Fields(command)...); got != want {
				t.Errorf("git %s: %q, want %q", command, got, want)
			}
		}
	}
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches for two commits that came with the first", n)
	}
}

// TestNothingIsShared changes every file of a work tree, which must not reach the mirror.
func TestNothingIsShared(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	l := lease(t, newMirrors(t), f.remote())
	dir := checkout(t, l, Want{Commit: commit})
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.WriteFile(path, []byte("overwritten"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(checkout(t, l, Want{Commit: commit}), "a")); string(got) != "1" {
		t.Errorf("the next tree holds %q", got)
	}
}

func TestCredentialsReachOnlyAFetch(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	m := newMirrors(t)
	r := f.remote()
	var asked, revoked int
	r.Header = func(context.Context) (string, func(), error) {
		asked++
		return "Authorization: Basic c2VjcmV0", func() { revoked++ }, nil
	}
	l := lease(t, m, r)
	for range 2 {
		dir := checkout(t, l, Want{Commit: commit})
		for _, root := range []string{dir, m.dir} {
			err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() {
					return err
				}
				text, err := os.ReadFile(path)
				if strings.Contains(string(text), "c2VjcmV0") {
					t.Errorf("%s holds the token", path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if asked != 1 || revoked != 1 || f.auth.Load() != "Basic c2VjcmV0" {
		t.Errorf("asked %d times, revoked %d times, sent %v", asked, revoked, f.auth.Load())
	}
	wrong := errors.New("no installation")
	r.Key, r.Header = "test/localhost/2", func(context.Context) (string, func(), error) { return "", nil, wrong }
	err := lease(t, m, r).Checkout(t.Context(), Want{Commit: commit}, filepath.Join(t.TempDir(), "x"), "/o")
	if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "getting credentials for "+f.url) {
		t.Error(err)
	}
}

func TestOneFetchServesMany(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	m := newMirrors(t)
	var wg sync.WaitGroup
	for i := range 8 {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		wg.Go(func() {
			l, err := m.Lease(t.Context(), f.remote())
			if err == nil {
				defer l.Release()
				err = l.Checkout(t.Context(), Want{Commit: commit}, dir, "/o")
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.fetches.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

func TestPullRequestRef(t *testing.T) {
	f := newForge(t)
	f.commit("refs/heads/main", map[string]string{"a": "1"})
	head := f.commit("refs/pull/12/head", map[string]string{"a": "2"})
	l := lease(t, newMirrors(t), f.remote())
	checkout(t, l, Want{Commit: head, Refs: []string{"refs/pull/12/head"}})
	// A ref that is gone does not keep a commit from being built that is there all the same.
	commit := f.commit("refs/heads/main", map[string]string{"a": "3"})
	checkout(t, l, Want{Commit: commit, Refs: []string{"refs/pull/13/head"}})
}

// TestForcePush builds a commit that its branch has left: forges still give it by its hash.
func TestForcePush(t *testing.T) {
	f := newForge(t)
	gitIn(t, f.dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	left := f.commit("refs/heads/main", map[string]string{"a": "1"})
	gitIn(t, f.work, "checkout", "--quiet", "--orphan", "other")
	f.commit("refs/heads/main", map[string]string{"a": "2"})
	checkout(t, lease(t, newMirrors(t), f.remote()), Want{Commit: left})
}

// TestBranchBecomesDirectory has a branch go whose name another one needs.
func TestBranchBecomesDirectory(t *testing.T) {
	f := newForge(t)
	l := lease(t, newMirrors(t), f.remote())
	checkout(t, l, Want{Commit: f.commit("refs/heads/a", map[string]string{"a": "1"})})
	gitIn(t, f.work, "push", "--quiet", "origin", ":refs/heads/a")
	checkout(t, l, Want{Commit: f.commit("refs/heads/a/b", map[string]string{"a": "2"})})
}

func TestGone(t *testing.T) {
	f := newForge(t)
	f.commit("refs/heads/main", map[string]string{"a": "1"})
	m := newMirrors(t)
	missing := strings.Repeat("1", 40)
	local := Remote{Key: "local", Path: f.dir, URL: f.url}
	for _, r := range []Remote{f.remote(), local} {
		err := lease(t, m, r).Checkout(t.Context(), Want{Commit: missing}, filepath.Join(t.TempDir(), "x"), "/o")
		if !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "commit "+missing+": gone") {
			t.Errorf("%s: %v", r.Key, err)
		}
	}
}

func TestForgeIsDown(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	f.broken.Store(503)
	l := lease(t, newMirrors(t), f.remote())
	err := l.Checkout(t.Context(), Want{Commit: commit}, filepath.Join(t.TempDir(), "x"), "/o")
	if err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "503") {
		t.Errorf("%v", err)
	}
	f.broken.Store(0)
	checkout(t, l, Want{Commit: commit})
}

// TestABadMoment has a forge come back while a fetch is tried again.
func TestABadMoment(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	f.broken.Store(503)
	before := fetchPauses
	fetchPauses = []time.Duration{10 * time.Millisecond, 700 * time.Millisecond}
	defer func() { fetchPauses = before }()
	back := time.AfterFunc(300*time.Millisecond, func() { f.broken.Store(0) })
	defer back.Stop()
	checkout(t, lease(t, newMirrors(t), f.remote()), Want{Commit: commit})
}

func TestRepositoryOnThisMachine(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	l := lease(t, newMirrors(t), Remote{Key: "local/here/shop", URL: f.url, Path: f.dir})
	dir := checkout(t, l, Want{Commit: commit})
	if l.Objects != filepath.Join(f.dir, "objects") || f.fetches.Load() != 0 {
		t.Errorf("objects at %s, %d fetches", l.Objects, f.fetches.Load())
	}
	if got := gitIn(t, dir, "log", "--format=%H"); got != commit {
		t.Errorf("log %q", got)
	}
	if _, err := newMirrors(t).Lease(t.Context(), Remote{Key: "x", Path: "/nowhere.git"}); err == nil {
		t.Error("leased a repository that there is not")
	}
}

// TestHostileTree checks out what would make git run programs or write outside, were it allowed to.
func TestHostileTree(t *testing.T) {
	f := newForge(t)
	witness := filepath.Join(t.TempDir(), "witness")
	gitIn(t, f.work, "config", "filter.x.clean", "cat")
	f.commit("refs/heads/main", map[string]string{"a": "1"})
	if err := os.Symlink("/etc", filepath.Join(f.work, "etc")); err != nil {
		t.Fatal(err)
	}
	commit := f.commit("refs/heads/main", map[string]string{
		".gitattributes": "* filter=x diff=x\n", "file": "text",
		".gitmodules": "[submodule \"s\"]\n\tpath = s\n\turl = ext::sh -c touch% " + witness + "\n\tupdate = !touch " + witness + "\n",
		".gitconfig":  "[filter \"x\"]\n\tsmudge = touch " + witness + "\n",
	})
	gitIn(t, f.work, "update-index", "--add", "--cacheinfo", "160000,"+commit+",s")
	gitIn(t, f.work, "commit", "--quiet", "--message=submodule")
	gitIn(t, f.work, "push", "--quiet", "origin", "HEAD:refs/heads/main")
	commit = gitIn(t, f.work, "rev-parse", "HEAD")
	dir := checkout(t, lease(t, newMirrors(t), f.remote()), Want{Commit: commit})
	if _, err := os.Lstat(witness); err == nil {
		t.Error("a program of the tree ran")
	}
	if link, err := os.Readlink(filepath.Join(dir, "etc")); err != nil || link != "/etc" {
		t.Errorf("%q %v", link, err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "s")); err != nil || len(entries) > 0 {
		t.Errorf("submodule: %v %v", entries, err)
	}
}

func TestProtocols(t *testing.T) {
	witness := filepath.Join(t.TempDir(), "witness")
	m := newMirrors(t)
	for i, url := range []string{"ext::sh -c 'touch " + witness + "'", "/etc", "file:///etc", "ssh://localhost/x", "--upload-pack=touch " + witness} {
		l := lease(t, m, Remote{Key: fmt.Sprint(i), URL: url})
		if err := l.Checkout(t.Context(), Want{Commit: strings.Repeat("1", 40)}, filepath.Join(t.TempDir(), "x"), "/o"); err == nil {
			t.Errorf("%s was fetched", url)
		}
	}
	if _, err := os.Lstat(witness); err == nil {
		t.Error("a URL ran a program")
	}
}

func TestBadNames(t *testing.T) {
	l := lease(t, newMirrors(t), Remote{Key: "x", URL: "http://127.0.0.1:1/x"})
	if err := l.Checkout(t.Context(), Want{Commit: "main"}, t.TempDir(), "/o"); err == nil || !strings.Contains(err.Error(), `"main" is no full hash of a commit`) {
		t.Error(err)
	}
	if err := l.Checkout(t.Context(), Want{Commit: strings.Repeat("1", 40), Refs: []string{"--x"}}, t.TempDir(), "/o"); err == nil || !strings.Contains(err.Error(), `ref "--x" is no name of a ref`) {
		t.Error(err)
	}
}

// TestDiedInTheMiddle begins with what a server leaves that was killed while it fetched.
func TestDiedInTheMiddle(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "1"})
	m := newMirrors(t)
	l := lease(t, m, f.remote())
	checkout(t, l, Want{Commit: commit})
	for _, name := range []string{"packed-refs.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x"} {
		if err := os.WriteFile(filepath.Join(l.mirror.path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commit = f.commit("refs/heads/main", map[string]string{"a": "2"})
	again, err := New(m.dir, m.git.options, m.log)
	if err != nil {
		t.Fatal(err)
	}
	checkout(t, lease(t, again, f.remote()), Want{Commit: commit})
}

func TestCancelledFetch(t *testing.T) {
	hang := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	defer hang.CloseClientConnections()
	cause := errors.New("stopped by somebody")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(cause) })
	l := lease(t, newMirrors(t), Remote{Key: "x", URL: hang.URL + "/x.git"})
	start := time.Now()
	if err := l.Checkout(ctx, Want{Commit: strings.Repeat("1", 40)}, t.TempDir(), "/o"); !errors.Is(err, cause) {
		t.Error(err)
	}
	if time.Since(start) > 10*time.Second {
		t.Error("cancelling took too long")
	}
}

func TestSweep(t *testing.T) {
	f := newForge(t)
	m := newMirrors(t)
	l := lease(t, m, f.remote())
	for i := range maxPacks + 2 {
		commit := f.commit("refs/heads/main", map[string]string{"a": fmt.Sprint(i)})
		if err := l.fetch(t.Context(), Want{Commit: commit}); err != nil {
			t.Fatal(err)
		}
	}
	packs := func() int {
		list, _ := filepath.Glob(filepath.Join(l.Objects, "pack", "*.pack"))
		return len(list)
	}
	before := packs()
	if n, err := m.Sweep(t.Context(), time.Hour); n != 0 || err != nil || packs() != before {
		t.Errorf("a mirror in use was swept: %d %v, %d packs of %d", n, err, packs(), before)
	}
	l.Release()
	if n, err := m.Sweep(t.Context(), time.Hour); n != 0 || err != nil || packs() != 1 {
		t.Errorf("%d %v, %d packs of %d", n, err, packs(), before)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(filepath.Join(l.mirror.path, usedName), old, old); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Sweep(t.Context(), time.Hour); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	commit := gitIn(t, f.work, "rev-parse", "HEAD")
	checkout(t, lease(t, m, f.remote()), Want{Commit: commit})
}

// TestTreeBomb checks out a tree of a few kilobytes that names a million files, with little memory for it.
func TestTreeBomb(t *testing.T) {
	f := newForge(t)
	f.commit("refs/heads/main", map[string]string{"a": "x"})
	entry := "100644 blob " + gitIn(t, f.work, "rev-parse", "HEAD:a")
	for range 6 {
		var list strings.Builder
		for i := range 10 {
			fmt.Fprintf(&list, "%s\t%d\n", entry, i)
		}
		cmd := exec.Command("git", "mktree")
		cmd.Dir, cmd.Stdin = f.work, strings.NewReader(list.String())
		tree, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		entry = "040000 tree " + strings.TrimSpace(string(tree))
	}
	commit := gitIn(t, f.work, "commit-tree", "-m", "bomb", strings.TrimPrefix(entry, "040000 tree "))
	gitIn(t, f.work, "push", "--quiet", "origin", commit+":refs/heads/bomb")
	m, err := New(t.TempDir(), Options{Plain: true, Memory: 64 << 20}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l := lease(t, m, f.remote())
	err = l.Checkout(t.Context(), Want{Commit: commit}, filepath.Join(t.TempDir(), "tree"), "/objects")
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("Checkout = %v", err)
	}
}

// TestCABundle fetches from a forge whose certificate an authority of our own signed, by way of a proxy too.
func TestCABundle(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "x"})
	server := httptest.NewTLSServer(f.handler)
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.Host)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer proxy.Close()
	for _, tt := range []struct {
		options Options
		want    string
	}{
		{Options{CABundle: bundle}, ""},
		{Options{}, "certificate"},
		{Options{CABundle: bundle, Proxy: []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY="}}, "502"},
	} {
		m, err := New(t.TempDir(), tt.options, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		l := lease(t, m, Remote{Key: "test/localhost/1", URL: server.URL + "/shop.git"})
		err = l.Checkout(t.Context(), Want{Commit: commit}, filepath.Join(t.TempDir(), "tree"), "/objects")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v", tt.options, err)
		}
	}
	if got := asked.Load(); got != "CONNECT "+strings.TrimPrefix(server.URL, "https://") {
		t.Errorf("the proxy was asked %v", got)
	}
}

// TestNoGit asks for a commit when git cannot be run: that is no answer, and not the author's failure.
func TestNoGit(t *testing.T) {
	f := newForge(t)
	commit := f.commit("refs/heads/main", map[string]string{"a": "x"})
	m := newMirrors(t)
	l := lease(t, m, f.remote())
	t.Setenv("PATH", t.TempDir())
	err := l.Checkout(t.Context(), Want{Commit: commit}, filepath.Join(t.TempDir(), "tree"), "/objects")
	if err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("Checkout = %v", err)
	}
}

// TestLongName checks out a file whose name no file system takes.
func TestLongName(t *testing.T) {
	f := newForge(t)
	f.commit("refs/heads/main", map[string]string{"a": "x"})
	cmd := exec.Command("git", "mktree")
	cmd.Dir, cmd.Stdin = f.work, strings.NewReader("100644 blob "+gitIn(t, f.work, "rev-parse", "HEAD:a")+"\t"+strings.Repeat("n", 300)+"\n")
	tree, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	commit := gitIn(t, f.work, "commit-tree", "-m", "long", strings.TrimSpace(string(tree)))
	gitIn(t, f.work, "push", "--quiet", "origin", commit+":refs/heads/long")
	err = lease(t, newMirrors(t), f.remote()).Checkout(t.Context(), Want{Commit: commit}, filepath.Join(t.TempDir(), "tree"), "/objects")
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "File name too long") {
		t.Errorf("Checkout = %v", err)
	}
}

// TestDeepCommit checks out directories in one another, so many that git itself fails of them.
func TestDeepCommit(t *testing.T) {
	f := newForge(t)
	f.commit("refs/heads/main", map[string]string{"a": "x"})
	var input strings.Builder
	input.WriteString("commit refs/heads/deep\ncommitter T <t@example.org> 1700000000 +0000\ndata 1\nm\nM 100644 inline " + strings.Repeat("d/", 6000) + "f\ndata 1\nx\n")
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = f.dir, strings.NewReader(input.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err := lease(t, newMirrors(t), f.remote()).Checkout(t.Context(), Want{Commit: gitIn(t, f.dir, "rev-parse", "deep")}, filepath.Join(t.TempDir(), "tree"), "/objects")
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("Checkout = %v", err)
	}
}

// TestFiles lists the files of a commit, and refuses to list more than memory should hold.
func TestFiles(t *testing.T) {
	f := newForge(t)
	hash := f.commit("refs/heads/main", map[string]string{"a.go": "1", "dir/ü \"x\".go": "2"})
	l := lease(t, newMirrors(t), f.remote())
	if names, err := l.Files(t.Context(), hash); err == nil {
		t.Errorf("%q of a commit that was not fetched", names)
	}
	checkout(t, l, Want{Commit: hash})
	names, err := l.Files(t.Context(), hash)
	if want := []string{"a.go", "dir/ü \"x\".go"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q %v, want %q", names, err, want)
	}
	if _, err := l.Files(t.Context(), "main"); err == nil || err.Error() != `"main" is no full hash of a commit` {
		t.Error(err)
	}
	// A tree of a few kilobytes names a hundred million files.
	blob := gitIn(t, l.mirror.path, "rev-parse", hash+":a.go")
	tree := "100644 blob " + blob
	for range 8 {
		var list strings.Builder
		for i := range 10 {
			fmt.Fprintf(&list, "%s\t%d\n", tree, i)
		}
		cmd := exec.Command("git", "mktree")
		cmd.Dir, cmd.Stdin = l.mirror.path, strings.NewReader(list.String())
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		tree = "040000 tree " + strings.TrimSpace(string(out))
	}
	bomb := gitIn(t, l.mirror.path, "commit-tree", "-m", "bomb", strings.TrimPrefix(tree, "040000 tree "))
	if names, err := l.Files(t.Context(), bomb); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d names, %v", len(names), err)
	}
}
