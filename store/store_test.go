package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// A clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func open(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newStore(t *testing.T) (*Store, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	return open(t, t.TempDir(), Options{Now: c.Now}), c
}

var repo = Repo{Forge: "github", Host: "github.com", ID: "7", Name: "octo/shop", CloneURL: "https://github.com/octo/shop.git"}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func update(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func submit(t *testing.T, s *Store, commit string) (b Build) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		p, err := tx.Project(repo, "")
		if err != nil {
			return err
		}
		b, err = tx.Submit(p, Build{Check: "buildsmith", Trigger: Trigger{Commit: commit, Automatic: true}, Settings: Settings{QueueTimeout: time.Hour}})
		return err
	})
	return b
}

func TestAcceptTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	for _, size := range []int{0, 100, smallBody, smallBody + 1, 1 << 20} {
		body := bytes.Repeat([]byte("ab"), (size+1)/2)[:size]
		d := Delivery{Forge: "github", Host: "github.com", ID: fmt.Sprint("id-", size), Event: "push"}
		if accepted := must[bool](t)(s.Accept(&d, body)); !accepted {
			t.Errorf("%d bytes: refused", size)
		}
		again := Delivery{Forge: "github", Host: "github.com", ID: d.ID, Event: "push"}
		if accepted := must[bool](t)(s.Accept(&again, []byte("other"))); accepted || again.Seq != d.Seq {
			t.Errorf("%d bytes: accepted again as %d, first was %d", size, again.Seq, d.Seq)
		}
		other := Delivery{Forge: "github", Host: "ghe.example.org", ID: d.ID}
		if accepted := must[bool](t)(s.Accept(&other, body)); !accepted {
			t.Errorf("%d bytes: the same id of another host was refused", size)
		}
		if got := must[[]byte](t)(s.Body(&d)); !bytes.Equal(got, body) {
			t.Errorf("%d bytes: the body came back with %d", size, len(got))
		}
	}
	s.Close()
	s = open(t, dir, Options{})
	view(t, s, func(tx *Tx) error {
		pending := must[[]Delivery](t)(tx.PendingDeliveries(0, 100))
		if len(pending) != 10 {
			t.Errorf("%d deliveries are pending after a restart, want 10", len(pending))
		}
		for i, d := range pending {
			if d.Seq != uint64(i+1) {
				t.Errorf("delivery %d stands at place %d", d.Seq, i+1)
			}
		}
		newest := must[[]Delivery](t)(tx.Deliveries(0, 3))
		if len(newest) != 3 || newest[0].Seq != 10 || newest[2].Seq != 8 {
			t.Errorf("newest: %v", newest)
		}
		before := must[[]Delivery](t)(tx.Deliveries(8, 100))
		if len(before) != 7 || before[0].Seq != 7 {
			t.Errorf("before 8: %v", before)
		}
		return nil
	})
}

func TestHandledDeliveriesAreNotPending(t *testing.T) {
	s, _ := newStore(t)
	d := Delivery{Forge: "github", ID: "1"}
	must[bool](t)(s.Accept(&d, nil))
	update(t, s, func(tx *Tx) error {
		d, ok, err := tx.Delivery(d.Seq)
		if err != nil || !ok {
			return fmt.Errorf("no delivery: %v", err)
		}
		d.Handled, d.Reason = s.Now(), "nothing to build"
		return tx.SetDelivery(&d)
	})
	view(t, s, func(tx *Tx) error {
		if pending := must[[]Delivery](t)(tx.PendingDeliveries(0, 9)); len(pending) != 0 {
			t.Errorf("pending: %v", pending)
		}
		d, _, _ := tx.Delivery(d.Seq)
		if d.Reason != "nothing to build" || d.Pending() {
			t.Errorf("%+v", d)
		}
		return nil
	})
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	s, _ := newStore(t)
	wrong := errors.New("wrong")
	for name, fn := range map[string]func(tx *Tx) error{
		"an error": func(tx *Tx) error { return wrong },
		"a panic":  func(tx *Tx) error { panic(wrong) },
	} {
		err := s.Update(func(tx *Tx) error {
			if _, err := tx.Project(repo, ""); err != nil {
				return err
			}
			return fn(tx)
		})
		if err == nil || !strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: Update = %v", name, err)
		}
	}
	view(t, s, func(tx *Tx) error {
		if list := must[[]Project](t)(tx.Projects()); len(list) != 0 {
			t.Errorf("projects %v are left of an update that failed", list)
		}
		return nil
	})
}

// TestUpdatesShareCommits runs updates of which every tenth fails: the others must all hold.
func TestUpdatesShareCommits(t *testing.T) {
	s, _ := newStore(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := s.Update(func(tx *Tx) error {
				r := repo
				r.ID = fmt.Sprint(i)
				if _, err := tx.Repo(r); err != nil {
					return err
				}
				if i%10 == 0 {
					return errors.New("wrong")
				}
				return nil
			})
			if (err != nil) != (i%10 == 0) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	view(t, s, func(tx *Tx) error {
		for i := range 200 {
			r := repo
			r.ID = fmt.Sprint(i)
			state, err := tx.RepoState(r.Key())
			if err != nil || (state.Repo.ID == "") != (i%10 == 0) {
				t.Errorf("repository %d: %v %v", i, state, err)
			}
		}
		return nil
	})
}

func TestOpenTwice(t *testing.T) {
	s, _ := newStore(t)
	if _, err := Open(s.Dir(), Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "the data directory is in use by another buildsmith server") {
		t.Errorf("Open = %v", err)
	}
	if info, err := os.Stat(s.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
}

func TestOpenUnknownFormat(t *testing.T) {
	dir := t.TempDir()
	db := must[*bbolt.DB](t)(bbolt.Open(filepath.Join(dir, "buildsmith.db"), 0o600, nil))
	if err := db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("meta"))
		if err != nil {
			return err
		}
		return b.Put([]byte("version"), []byte("99"))
	}); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "the database has format 99, this program knows 1: use the release that wrote it, or a newer one") {
		t.Errorf("Open = %v", err)
	}
}

func TestUpdateAfterClose(t *testing.T) {
	s, _ := newStore(t)
	s.Close()
	if err := s.Update(func(*Tx) error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Update = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	s, _ := newStore(t)
	news, stop := s.Watch()
	defer stop()
	submit(t, s, "a")
	submit(t, s, "b")
	<-news
	select {
	case <-news:
		t.Error("two updates before a look are one piece of news")
	default:
	}
	if err := s.Update(func(*Tx) error { return errors.New("no") }); err == nil {
		t.Fatal("no error")
	}
	select {
	case <-news:
		t.Error("an update that failed is news")
	default:
	}
}

func TestProjects(t *testing.T) {
	s, _ := newStore(t)
	other := repo
	other.ID, other.Name = "8", "octo-shop"
	update(t, s, func(tx *Tx) error {
		for _, tt := range []struct {
			repo Repo
			name string
			want string
		}{{repo, "", "octo-shop"}, {repo, "", "octo-shop"}, {other, "", "octo-shop-2"}, {repo, "deploy", "deploy"}} {
			if p := must[Project](t)(tx.Project(tt.repo, tt.name)); p.Name != tt.want || p.Configured != (tt.name != "") {
				t.Errorf("Project(%s, %q) = %+v, want %s", tt.repo.Name, tt.name, p, tt.want)
			}
		}
		renamed := repo
		renamed.Name = "octo/store"
		if p := must[Project](t)(tx.Project(renamed, "")); p.Name != "octo-shop" || p.Repo.Name != "octo/store" {
			t.Errorf("after a rename: %+v", p)
		}
		return nil
	})
	view(t, s, func(tx *Tx) error {
		if p, ok, err := tx.ProjectByName("octo-shop-2"); !ok || err != nil || p.Repo.ID != "8" {
			t.Errorf("%+v %v %v", p, ok, err)
		}
		if _, ok, _ := tx.ProjectByName("nothing"); ok {
			t.Error("found a project that there is not")
		}
		return nil
	})
	for in, want := range map[string]string{"a": "project-a", "äb/c.d": "-b-c-d", strings.Repeat("x", 200): strings.Repeat("x", 140)} {
		if got := ProjectName(in); got != want {
			t.Errorf("ProjectName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLinksLoseTheirWorth(t *testing.T) {
	s, _ := newStore(t)
	b := submit(t, s, "a")
	key := func() string { return must[string](t)(s.LinkKey(b.ID, repo)) }
	first := key()
	if len(first) < 20 || first == must[string](t)(s.LinkKey("other", repo)) {
		t.Errorf("key %q", first)
	}
	update(t, s, func(tx *Tx) error { _, err := tx.Repo(repo); return err })
	if key() != first {
		t.Error("a repository that was seen again changed its links")
	}
	private := repo
	private.Private = true
	update(t, s, func(tx *Tx) error { _, err := tx.Repo(private); return err })
	second := key()
	if second == first {
		t.Error("a repository became private and its links still work")
	}
	update(t, s, func(tx *Tx) error { return tx.RevokeLinks(repo.Key()) })
	if key() == second {
		t.Error("revoked links still work")
	}
	if err := s.Update(func(tx *Tx) error { return tx.RevokeLinks("github/x/y") }); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestAdminToken(t *testing.T) {
	dir := t.TempDir()
	token := must[string](t)(AdminToken(dir))
	if again := must[string](t)(AdminToken(dir)); again != token || len(token) < 32 {
		t.Errorf("token %q, then %q", token, again)
	}
	path := filepath.Join(dir, "admin.token")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.WriteFile(path, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := AdminToken(dir); err == nil || !strings.Contains(err.Error(), "has fewer than 16 characters; remove the file to have one made") {
		t.Errorf("AdminToken = %v", err)
	}
}

func TestDisk(t *testing.T) {
	s, _ := newStore(t)
	d := must[Disk](t)(s.Disk())
	if d.Free <= 0 || d.Total < d.Free || d.Reserve < DefaultReserve {
		t.Errorf("%+v", d)
	}
	full := open(t, t.TempDir(), Options{Reserve: 1 << 60})
	if d := must[Disk](t)(full.Disk()); !d.Low() {
		t.Errorf("%+v is not low", d)
	}
}

func TestUnsaid(t *testing.T) {
	s, _ := newStore(t)
	b := submit(t, s, "a")
	var n Notice
	update(t, s, func(tx *Tx) error {
		p := must[Project](t)(tx.Project(repo, ""))
		var err error
		n, err = tx.AddNotice(p, Notice{Conclusion: SkippedNotice, Trigger: Trigger{Commit: "c"}})
		return err
	})
	unsaid := func() (list []Subject) {
		view(t, s, func(tx *Tx) (err error) { list, err = tx.Unsaid(); return err })
		return list
	}
	list := unsaid()
	if len(list) != 2 {
		t.Fatalf("unsaid: %v", list)
	}
	if _, err := s.ChangeBuild(b.ID, func(b *Build) error { b.Spec = "x"; return nil }); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		for _, u := range list {
			if err := tx.Said(u); err != nil {
				return err
			}
		}
		return nil
	})
	if list = unsaid(); len(list) != 1 || list[0].ID() != b.ID {
		t.Errorf("the build changed after it was read, but unsaid is %v", list)
	}
	update(t, s, func(tx *Tx) error { return tx.Unsay(n.ID) })
	if list = unsaid(); len(list) != 2 {
		t.Errorf("unsaid: %v", list)
	}
	told := Told{Remote: "12", Digest: "d", At: s.Now()}
	update(t, s, func(tx *Tx) error { return tx.SetTold(b.ID, "buildsmith / build", told) })
	view(t, s, func(tx *Tx) error {
		if diff := cmp.Diff(map[string]Told{"buildsmith / build": told}, must[map[string]Told](t)(tx.AllTold(b.ID))); diff != "" {
			t.Error(diff)
		}
		return nil
	})
}

// TestKillLosesNothing kills a process that accepts deliveries: whatever it was told is stored is there afterwards.
func TestKillLosesNothing(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_DIR"); dir != "" {
		s, err := Open(dir, Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for i := range 1_000_000 {
			d := Delivery{Forge: "f", ID: fmt.Sprint(i)}
			if _, err := s.Accept(&d, bytes.Repeat([]byte{'x'}, i%3*40_000)); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(i)
		}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillLosesNothing$")
	cmd.Env = append(os.Environ(), "STORE_TEST_DIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []byte
	buf := make([]byte, 4096)
	for bytes.Count(said, []byte{'\n'}) < 200 {
		n, err := out.Read(buf)
		said = append(said, buf[:n]...)
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	stored := bytes.Count(said, []byte{'\n'})
	s := open(t, dir, Options{})
	view(t, s, func(tx *Tx) error {
		pending := must[[]Delivery](t)(tx.PendingDeliveries(0, 1_000_000))
		if len(pending) < stored {
			t.Errorf("%d deliveries were said to be stored, %d are", stored, len(pending))
		}
		for i, d := range pending[:stored] {
			body, err := s.Body(&d)
			if err != nil || len(body) != i%3*40_000 {
				t.Errorf("delivery %d: %d bytes, %v", i, len(body), err)
			}
		}
		return nil
	})
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			b.SetParallelism(max(writers/2, 1))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Update(func(tx *Tx) error { return tx.Unsay("x") }); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// TestEarlierBuilds finds the builds whose reports others are compared with: of the same project and ref, over, neither of a pull
// request nor another repository's commit.
func TestEarlierBuilds(t *testing.T) {
	s, _ := newStore(t)
	make := func(ref string, change func(*Build)) Build {
		t.Helper()
		var b Build
		if err := s.Update(func(tx *Tx) error {
			p, err := tx.Project(Repo{Forge: "local", Host: "h", ID: "1", Name: "shop"}, "")
			if err == nil {
				b, err = tx.Submit(p, Build{Trigger: Trigger{HeadRef: ref}, Reports: []ReportSummary{{Group: "unit"}}})
			}
			if err == nil && change != nil {
				b, err = tx.ChangeBuild(b.ID, func(b *Build) error { change(b); return nil })
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return b
	}
	over := func(b *Build) { b.End(Succeeded, s.Now()) }
	first := make("refs/heads/main", over)
	make("refs/heads/main", nil)
	make("refs/heads/mainly", over)
	make("refs/heads/main", func(b *Build) { b.Trigger.PullRequest = 1; over(b) })
	make("refs/heads/main", func(b *Build) { b.Trigger.Fork = true; over(b) })
	make("refs/heads/main", func(b *Build) { b.Reports = nil; over(b) })
	second := make("refs/heads/main", over)
	last := make("refs/heads/feature", nil)
	make("refs/heads/main", over) // made later
	for max, want := range map[int][]string{5: {second.ID, first.ID}, 1: {second.ID}} {
		var got []string
		if err := s.View(func(tx *Tx) error {
			list, err := tx.EarlierBuilds(&last, "refs/heads/main", max)
			for _, b := range list {
				got = append(got, b.ID)
			}
			return err
		}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	last.Seq += 1000 // nothing was made later
	if err := s.View(func(tx *Tx) error {
		list, err := tx.EarlierBuilds(&last, "refs/heads/main", 5)
		if len(list) != 3 || list[1].ID != second.ID || list[2].ID != first.ID {
			t.Errorf("%+v", list)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	last.Seq -= 1000
	if err := s.Update(func(tx *Tx) error { return tx.forgetBuild(&second) }); err != nil {
		t.Fatal(err)
	}
	if err := s.View(func(tx *Tx) error {
		list, err := tx.EarlierBuilds(&last, "refs/heads/main", 5)
		if len(list) != 1 || list[0].ID != first.ID {
			t.Errorf("after one is gone: %+v", list)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
