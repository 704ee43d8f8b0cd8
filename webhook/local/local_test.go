package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"buildsmith/store"
	"buildsmith/webhook"

	"github.com/labstack/echo/v4"
)

const token = "0123456789abcdef0123456789abcdef"

// A hub is a forge under test, at an address, with the loop that decides on its deliveries.
type hub struct {
	t     *testing.T
	store *store.Store
	forge *Forge
	url   string
	work  string // a clone to commit in
}

// TestMain is the hook too: the program that a push runs is this test binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "hook" {
		Hook(os.Stdout)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newHub(t *testing.T) *hub {
	t.Helper()
	data := t.TempDir()
	s, err := store.Open(data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &hub{t: t, store: s, work: t.TempDir()}
	h.forge, err = New(Config{Store: s, Dir: filepath.Join(data, "git"), Program: os.Args[0], Token: token, MaxPush: 1 << 20,
		Log: slog.New(slog.DiscardHandler), URL: func() string { return h.url },
		Page: func(b *store.Build) string { return "http://ci.example.org/builds/" + b.ID }})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	h.forge.Register(e)
	server := httptest.NewUnstartedServer(e)
	h.url = "http://" + server.Listener.Addr().String()
	server.Start()
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() {
		if err := h.forge.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	intake := webhook.New(webhook.Config{Store: s, Sources: []webhook.Source{h.forge.Source(everything{})},
		Projects: func(store.Repo) []webhook.Project { return nil }, Log: slog.New(slog.DiscardHandler)})
	loops.Go(func() { intake.Run(ctx) })
	t.Cleanup(func() { cancel(); loops.Wait() })
	for range 200 { // the hook must find its socket
		if c, err := net.Dial("unix", h.forge.socket); err == nil {
			c.Close()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return h
}

// everything is a forge whose every commit has a buildspec.
type everything struct{ webhook.Forge }

func (everything) FileID(context.Context, store.Repo, string, string) (string, error) {
	return "there", nil
}

// git runs git in a directory and gives what it printed.
func (h *hub) git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (h *hub) must(dir string, args ...string) string {
	h.t.Helper()
	out, err := h.git(dir, args...)
	if err != nil {
		h.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// commit makes a commit and gives its hash.
func (h *hub) commit(message string) string {
	h.t.Helper()
	if _, err := os.Stat(filepath.Join(h.work, ".git")); err != nil {
		h.must(h.work, "init", "--quiet")
	}
	h.must(h.work, "commit", "--quiet", "--allow-empty", "--message", message)
	return h.must(h.work, "rev-parse", "HEAD")
}

func (h *hub) push(name string, args ...string) string {
	h.t.Helper()
	return h.must(h.work, append([]string{"push", h.url + "/git/" + name + ".git"}, args...)...)
}

func (h *hub) deliveries() (list []store.Delivery) {
	h.t.Helper()
	if err := h.store.View(func(tx *store.Tx) (err error) { list, err = tx.Deliveries(0, 1000); return err }); err != nil {
		h.t.Fatal(err)
	}
	return list
}

func (h *hub) pushed(d store.Delivery) (p pushed) {
	h.t.Helper()
	body, err := h.store.Body(&d)
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func TestPushIsADelivery(t *testing.T) {
	h := newHub(t)
	first := h.commit("Begin\n\nbody")
	out := h.push("shop", "HEAD:main")
	if !strings.Contains(out, "remote: buildsmith: push to main: http://ci.example.org/builds/") {
		t.Errorf("the push printed %s", out)
	}
	list := h.deliveries()
	if len(list) != 1 {
		t.Fatalf("%d deliveries", len(list))
	}
	if p := h.pushed(list[0]); p.Ref != "refs/heads/main" || p.After != first || strings.Trim(p.Before, "0") != "" || len(p.Before) != 40 || p.Message != "Begin\n\nbody\n\n" && p.Message != "Begin\n\nbody\n" || p.Pusher != "local" || p.Default != "main" {
		t.Errorf("%+v", p)
	}
	second := h.commit("More")
	h.must(h.work, "tag", "--annotate", "--message=x", "v1")
	out = h.push("shop", "HEAD:main", "HEAD:dev/x", "v1")
	if strings.Count(out, "remote: buildsmith: ") != 3 {
		t.Errorf("the push printed %s", out)
	}
	var got []string
	for _, d := range h.deliveries()[:3] {
		p := h.pushed(d)
		if p.After != second {
			t.Errorf("%+v", p)
		}
		got = append(got, p.Ref)
	}
	if want := "refs/tags/v1 refs/heads/main refs/heads/dev/x"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	out = h.push("shop", ":dev/x")
	if p := h.pushed(h.deliveries()[0]); p.Ref != "refs/heads/dev/x" || p.After != "" || p.Before != second {
		t.Errorf("%+v\n%s", p, out)
	}
	n := len(h.deliveries())
	h.push("shop", "HEAD:main")
	if len(h.deliveries()) != n {
		t.Error("a push of nothing is a delivery")
	}
	clone := filepath.Join(t.TempDir(), "clone")
	h.must(".", "clone", "--quiet", h.url+"/git/shop.git", clone)
	if got := h.must(clone, "rev-parse", "HEAD"); got != second {
		t.Errorf("the clone is at %s", got)
	}
}

// TestDefaultBranch begins with a branch of another name.
func TestDefaultBranch(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:trunk")
	if p := h.pushed(h.deliveries()[0]); p.Default != "trunk" {
		t.Errorf("%+v", p)
	}
	if head, err := os.ReadFile(filepath.Join(h.forge.path("shop"), "HEAD")); string(head) != "ref: refs/heads/trunk\n" {
		t.Errorf("HEAD %q %v", head, err)
	}
}

// TestRefsMovedUnseen moves refs behind the server's back, as a push does whose server dies.
func TestRefsMovedUnseen(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:main")
	second := h.commit("y")
	h.must(h.work, "push", "--quiet", h.forge.path("shop"), "HEAD:main")
	n := len(h.deliveries())
	for range 2 {
		if err := h.forge.ReconcileAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	list := h.deliveries()
	if len(list) != n+1 || h.pushed(list[0]).After != second || h.pushed(list[0]).Pusher != "unknown" {
		t.Errorf("%d deliveries after %d", len(list), n)
	}
}

func TestManyPushesAtATime(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:main")
	var pushes sync.WaitGroup
	for i := range 6 {
		pushes.Go(func() {
			if out, err := h.git(h.work, "push", h.url+"/git/shop.git", fmt.Sprintf("HEAD:branch-%d", i)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	pushes.Wait()
	seen := map[string]int{}
	for _, d := range h.deliveries() {
		seen[h.pushed(d).Ref]++
	}
	if len(seen) != 7 {
		t.Errorf("%v", seen)
	}
	for ref, n := range seen {
		if n != 1 {
			t.Errorf("%s was delivered %d times", ref, n)
		}
	}
}

func TestLargePush(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	for _, size := range []int{600_000, 3 << 20} {
		ok := size < 1<<20
		noise := make([]byte, size)
		f, err := os.Open("/dev/urandom")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(f, noise); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := os.WriteFile(filepath.Join(h.work, fmt.Sprint("noise", size)), noise, 0o644); err != nil {
			t.Fatal(err)
		}
		h.must(h.work, "add", "--all")
		h.commit("noise")
		// A small buffer makes git send a body whose length nobody knows.
		out, err := h.git(h.work, "-c", "http.postBuffer=65536", "push", h.url+"/git/large.git", fmt.Sprintf("HEAD:size-%d", size))
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v\n%s", size, err, out)
		}
	}
}

// TestBrokenObjects pushes an object that git would trip over: it is refused where it arrives.
func TestBrokenObjects(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	blob := h.must(h.work, "hash-object", "-w", "--stdin")
	cmd := exec.Command("git", "-C", h.work, "mktree")
	cmd.Stdin = strings.NewReader("100644 blob " + blob + "\t.git\n")
	tree, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	commit := h.must(h.work, "commit-tree", "-m", "evil", strings.TrimSpace(string(tree)))
	out, err := h.git(h.work, "push", h.url+"/git/evil.git", commit+":refs/heads/main")
	if err == nil || !strings.Contains(out, "hasDotgit") {
		t.Errorf("%v\n%s", err, out)
	}
}

// request asks with headers, as a peer at the given address, by the given name of the host.
func (h *hub) request(peer, host, path string, headers ...string) *http.Response {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr, r.Host = peer, host
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "" {
			r.Proto, r.ProtoMinor = headers[i+1], 0
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	e := echo.New()
	h.forge.Register(e)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result()
}

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// TestAccess lets in who sits at this machine or has the token, and nobody else.
func TestAccess(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:main")
	server := h.forge.URL
	defer func() { h.forge.URL = server }()
	const here, there, refs = "127.0.0.1:5000", "192.0.2.7:5000", "/git/shop.git/info/refs?service=git-upload-pack"
	for _, tt := range []struct {
		name, peer, host string
		headers          []string
		status           int
		url              string // of the server; that of a test server if empty
	}{
		{"this machine", here, "127.0.0.1:8080", nil, 200, ""},
		{"this machine by name", here, "localhost:8080", nil, 200, ""},
		{"this machine, IPv6", "[::1]:5000", "[::1]:8080", nil, 200, ""},
		{"another machine", there, "ci.example.org", nil, 401, ""},
		{"another machine that names this one", there, "localhost", nil, 401, ""},
		{"this machine by another name", here, "ci.example.org", nil, 401, ""}, // a page that rebinds its name
		{"through a proxy", here, "localhost", []string{"X-Forwarded-For", "203.0.113.5"}, 401, ""},
		{"through another proxy", here, "localhost", []string{"Forwarded", "for=203.0.113.5"}, 401, ""},
		{"the token", there, "ci.example.org", []string{"Authorization", basic("octocat", token)}, 200, ""},
		{"the token as a bearer", there, "ci.example.org", []string{"Authorization", "Bearer " + token}, 200, ""},
		{"another token", there, "ci.example.org", []string{"Authorization", basic("octocat", "wrong")}, 401, ""},
		{"another token here", here, "localhost", []string{"Authorization", basic("octocat", "wrong")}, 401, ""},
		{"an empty token", there, "ci.example.org", []string{"Authorization", basic("octocat", "")}, 401, ""},
		{"an empty bearer", there, "ci.example.org", []string{"Authorization", "Bearer "}, 401, ""},
		{"through a proxy that tells nothing", here, "localhost", nil, 401, "https://ci.example.org"},
		{"by another site's page", here, "localhost", []string{"Sec-Fetch-Site", "cross-site"}, 401, ""},
		{"through one that speaks HTTP/1.0", here, "localhost", []string{"", "HTTP/1.0"}, 401, ""},
		{"the token, through a proxy that tells nothing", here, "localhost", []string{"Authorization", basic("octocat", token)}, 200, "https://ci.example.org"},
		{"this machine, whose server has a name for it", here, "127.0.0.1:8080", nil, 200, "http://localhost:8080"},
		{"this machine, whose server has an IPv6 address for it", here, "127.0.0.1:8080", nil, 200, "https://[::1]:8080"},
		{"this machine, whose server's name begins like it", here, "127.0.0.1:8080", nil, 401, "http://localhost.example.org"},
	} {
		h.forge.URL = server
		if tt.url != "" {
			h.forge.URL = func() string { return tt.url }
		}
		answer := h.request(tt.peer, tt.host, refs, tt.headers...)
		if answer.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, answer.StatusCode, tt.status)
		}
		if tt.status == 401 && !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: git is not asked for a password", tt.name)
		}
	}
}

func TestAddresses(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:main")
	const here = "127.0.0.1:5000"
	for path, status := range map[string]int{
		"/git/shop.git/info/refs?service=git-upload-pack":                             200,
		"/git/shop.git/info/refs":                                                     403,
		"/git/shop.git/info/refs?service=git-upload-archive":                          403,
		"/git/none.git/info/refs?service=git-upload-pack":                             404,
		"/git/shop/info/refs?service=git-upload-pack":                                 404,
		"/git/UPPER.git/info/refs?service=git-receive-pack":                           404,
		"/git/.git/info/refs?service=git-receive-pack":                                404,
		"/git/..git/info/refs?service=git-receive-pack":                               404,
		"/git/a..b.git/info/refs?service=git-receive-pack":                            404,
		"/git/-x.git/info/refs?service=git-receive-pack":                              404,
		"/git/x.git.git/info/refs?service=git-receive-pack":                           404,
		"/git/x.lock.git/info/refs?service=git-receive-pack":                          404,
		"/git/%2e%2e%2fx.git/info/refs?service=git-receive-pack":                      404,
		"/git/shop.git/HEAD":                                                          404,
		"/git/shop.git/objects/info/packs":                                            404,
		"/git/" + strings.Repeat("x", 65) + ".git/info/refs?service=git-receive-pack": 404,
	} {
		if answer := h.request(here, "localhost", path); answer.StatusCode != status {
			text, _ := io.ReadAll(answer.Body)
			t.Errorf("%s: %d, want %d: %s", path, answer.StatusCode, status, text)
		}
	}
	if entries, err := os.ReadDir(h.forge.Dir); err != nil || len(entries) != 1 {
		t.Errorf("repositories %v %v", entries, err)
	}
}

// TestHookNeedsItsToken has somebody else on the machine find the hook's socket.
func TestHookNeedsItsToken(t *testing.T) {
	h := newHub(t)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", h.forge.socket)
	}}}
	for token, want := range map[string]int{"": 401, "Bearer wrong": 401, "Bearer " + h.forge.token: 400} {
		request, err := http.NewRequest(http.MethodPost, "http://x/hook", strings.NewReader(`{"Repo": "../x"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", token)
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%q: %d, want %d", token, answer.StatusCode, want)
		}
	}
}

// TestPushWithoutTheServer has the hook find nobody: the push holds, and says so.
func TestPushWithoutTheServer(t *testing.T) {
	h := newHub(t)
	if err := os.Remove(h.forge.socket); err != nil {
		t.Fatal(err)
	}
	h.commit("x")
	out := h.push("shop", "HEAD:main")
	if !strings.Contains(out, "remote: buildsmith: the server does not answer; it will look at this push when it does") {
		t.Errorf("the push printed %s", out)
	}
	for range 200 { // the server compares refs itself when git is done
		if len(h.deliveries()) == 1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d deliveries", len(h.deliveries()))
}

func TestDecode(t *testing.T) {
	h := newHub(t)
	e, err := h.forge.decode("push", []byte(`{"Name":"shop","Ref":"refs/heads/main","Before":"b","After":"a","Message":"m","Pusher":"p","Default":"main"}`))
	if err != nil || e.Kind != webhook.Push || e.Repo.Key() != "local/local/shop" || !e.Repo.Private || e.Repo.CloneURL != h.url+"/git/shop.git" || e.Sender.Login != "p" || e.Push.Message != "m" {
		t.Errorf("%+v %v", e, err)
	}
	for body, want := range map[string]string{
		"x":                 "the delivery is not what the built-in forge writes",
		`{"Name":"../etc"}`: `the built-in forge has no event "push" of "../etc"`,
	} {
		if _, err := h.forge.decode("push", []byte(body)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestLongDataDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 25))
	f, err := New(Config{Dir: filepath.Join(dir, "git"), Program: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatalf("a socket of %d bytes: %v", len(f.socket), err)
	}
	l.Close()
}

// TestLongMessage pushes a commit whose message takes six times its room as JSON, on branches with odd but good names.
func TestLongMessage(t *testing.T) {
	h := newHub(t)
	const odd = "refs/heads/<a>&\u00a0b\u3000c\"" // spaces, but not Git's
	for _, message := range []string{strings.Repeat("<", 12_000), strings.Repeat("\x01", 12_000), strings.Repeat("\u2028", 4000)} {
		hash := h.commit(message)
		h.push("shop", "HEAD:"+odd)
		if p := h.pushed(h.deliveries()[0]); p.After != hash || p.Ref != odd || len(p.Message) < 2000 || p.Message[:999] != message[:999] {
			t.Errorf("%d bytes of %.20q: %.20q %d %s", len(message), message, p.Message, len(p.Message), p.Ref)
		}
	}
}

// TestOddRefs pushes refs with names that builds cannot have: the push holds and says so, once and for each further push, and
// what else is pushed is built.
func TestOddRefs(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	out := h.push("shop", "HEAD:refs/heads/not-\xff-text", "HEAD:refs/tags/"+strings.Repeat(strings.Repeat("x", 200)+"/", 5)+"x", "HEAD:main")
	for _, want := range []string{`remote: buildsmith: "refs/heads/not-\xff-text" is passed over: builds need a name of UTF-8, shorter than 1000 bytes`,
		`xxx" is passed over`, "remote: buildsmith: push to main: http://ci.example.org/builds/"} {
		if !strings.Contains(out, want) {
			t.Errorf("the push printed %s\nwant %s", out, want)
		}
	}
	if err := h.forge.ReconcileAll(t.Context()); err != nil || len(h.deliveries()) != 1 {
		t.Errorf("%d deliveries, %v", len(h.deliveries()), err)
	}
	if _, err := h.forge.Reconcile(t.Context(), "shop", "x"); err != nil || len(h.deliveries()) != 1 {
		t.Errorf("%d deliveries, %v", len(h.deliveries()), err)
	}
}

// TestLookAgain has the comparison fail in a push: it is done later, without a further push.
func TestLookAgain(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:main")
	second := h.commit("y")
	h.must(h.work, "push", "--quiet", h.forge.path("shop"), "HEAD:main")
	objects := filepath.Join(h.forge.path("shop"), "objects")
	if err := os.Rename(objects, objects+".away"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.forge.Reconcile(t.Context(), "shop", "x"); err == nil {
		t.Fatal("a repository without objects was compared")
	}
	if h.forge.due("shop") {
		t.Error("it is compared again at once")
	}
	if err := os.Rename(objects+".away", objects); err != nil {
		t.Fatal(err)
	}
	for range 1000 { // a firstPause is five seconds
		if list := h.deliveries(); len(list) == 2 {
			if p := h.pushed(list[0]); p.After != second || p.Pusher != "unknown" {
				t.Errorf("%+v", p)
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("nobody looked again")
}

// TestLookIsCheap compares only the repositories whose refs have changed, and none that is being pushed to.
func TestLookIsCheap(t *testing.T) {
	h := newHub(t)
	h.commit("x")
	h.push("shop", "HEAD:main")
	due := func(want bool, when string) {
		t.Helper()
		for range 200 { // the push compares once more after it was answered
			if h.forge.due("shop") == want {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("due: %v %s", !want, when)
	}
	due(false, "after a push")
	for _, args := range [][]string{{"update-ref", "refs/heads/new", "refs/heads/main"}, {"pack-refs", "--all"}, {"update-ref", "-d", "refs/heads/new"}} {
		h.must(h.forge.path("shop"), args...)
		due(true, fmt.Sprint("after ", args))
		h.forge.pushing("shop", 1)
		due(false, fmt.Sprint("while somebody pushes, after ", args))
		h.forge.pushing("shop", -1)
		if err := h.forge.ReconcileAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		due(false, fmt.Sprint("once compared, after ", args))
	}
	if err := os.RemoveAll(h.forge.path("shop")); err != nil {
		t.Fatal(err)
	}
	if err := h.forge.ReconcileAll(t.Context()); err != nil || len(h.forge.seen) != 0 {
		t.Errorf("%v of a repository that is gone, %v", h.forge.seen, err)
	}
}

// TestBrokenOffPush hangs up in the middle of a push: nothing is left of it.
func TestBrokenOffPush(t *testing.T) {
	h := newHub(t)
	h.forge.MaxPush = 1 << 30
	h.commit("x")
	h.push("shop", "HEAD:main")
	addr := strings.TrimPrefix(h.url, "http://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/x\x00 report-status"
	// 200 objects, of which the first is a blob of 60 MB, uncompressed.
	pack := "PACK\x00\x00\x00\x02\x00\x00\x00\xc8\xb0\xf0\xe1\xe4\x01\x78\x01"
	fmt.Fprintf(c, "POST /git/shop.git/git-receive-pack HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-git-receive-pack-request\r\n"+
		"Content-Length: 100000000\r\n\r\n%04x%s0000%s", addr, len(line)+4, line, pack)
	block := append([]byte{0, 0xff, 0xff, 0, 0}, make([]byte, 65535)...)
	for range 100 {
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (list []string) {
		list, err := filepath.Glob(filepath.Join(h.forge.path("shop"), "objects", "tmp_*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for range 400 {
		if len(left()) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(left()) == 0 {
		t.Fatal("git keeps what comes somewhere else")
	}
	c.Close()
	for range 400 {
		if len(left()) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("left: %v", left())
}

// TestTidy removes, at the start, what a push left whose server was killed, and nothing else.
func TestTidy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "git")
	kept := []string{"shop.git/HEAD", "shop.git/refs/heads/main", "shop.git/refs/heads/lock", "shop.git/objects/pack/pack-1.pack", "shop.git/objects/aa/bb", "other/HEAD.lock"}
	stale := []string{"shop.git/HEAD.lock", "shop.git/packed-refs.lock", "shop.git/refs/heads/a/b.lock", "shop.git/objects/tmp_objdir-incoming-x1/pack/tmp_pack_1"}
	for _, name := range append(stale, kept...) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(Config{Dir: dir, Program: "/x", Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range kept {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range append(stale, "shop.git/objects/tmp_objdir-incoming-x1") {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestHead(t *testing.T) {
	h := head{most: 5}
	for _, text := range []string{"abc", "defg", "h"} {
		if n, err := h.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	if string(h.text) != "abcde" || !h.cut {
		t.Errorf("%+v", h)
	}
}
