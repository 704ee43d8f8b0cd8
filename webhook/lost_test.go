package webhook

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"buildsmith/store"
)

// A lossy model is a repository as its forge has it, whose deliveries come in any order, late, or never.
type lossy struct {
	d        *desk
	s        *showing
	r        *rand.Rand
	timed    bool // the forge tells when a push happened
	commits  int
	refs     map[string]string
	pulls    map[int]store.PullRequest
	ends     map[int]bool // numbers that have been closed once: their builds are stopped
	waiting  []late
	comments []int // their pull requests
	lost     int
}

// A late delivery comes after so many steps.
type late struct {
	event Event
	after int
}

func (m *lossy) now() time.Time { return m.d.clock.Now() }

// say has the forge try to deliver.
func (m *lossy) say(e Event) {
	e.Summary = fmt.Sprint("event ", m.now()) // a body of its own
	switch n := m.r.IntN(10); {
	case n < 3:
		m.lost++
	case n < 6:
		m.waiting = append(m.waiting, late{e, 1 + m.r.IntN(25)})
	default:
		m.waiting = append(m.waiting, late{e, 0})
	}
}

// deliver has those come whose time it is.
func (m *lossy) deliver(all bool) {
	var left []late
	for n := range m.waiting {
		if m.waiting[n].after--; m.waiting[n].after > 0 && !all {
			left = append(left, m.waiting[n])
			continue
		}
		m.d.deliver(m.waiting[n].event)
	}
	m.waiting = left
}

// show has the forge show how it stands now.
func (m *lossy) show() {
	standing := Standing{Refs: maps.Clone(m.refs)}
	for _, pr := range m.pulls {
		if pr.Open {
			standing.Pulls = append(standing.Pulls, pr)
		}
	}
	m.s.at(standing)
	m.d.forge.mu.Lock()
	defer m.d.forge.mu.Unlock()
	m.d.forge.pulls = maps.Clone(m.pulls)
}

func (m *lossy) push(ref, hash string) {
	e := push(ref, hash, "x")
	if before := m.refs[ref]; before != "" {
		e.Push.Before = before
	}
	if m.timed {
		e.At = m.now()
	}
	m.refs[ref] = hash
	if hash == "" {
		delete(m.refs, ref)
	}
	m.say(e)
}

func (m *lossy) pull(pr store.PullRequest, event string) {
	pr.Updated = m.now()
	m.pulls[pr.Number] = pr
	e := pullEvent(pr)
	e.Event, e.At, e.Vague = event, pr.Updated, event == store.EventPullRequestUpdated
	m.say(e)
}

// step changes something.
func (m *lossy) step() {
	m.d.clock.advance(time.Second)
	number := 1 + m.r.IntN(3)
	ref := fmt.Sprint("refs/heads/b", number)
	pr, there := m.pulls[number]
	switch m.r.IntN(10) {
	case 0, 1, 2, 3:
		m.commits++
		hash := fmt.Sprintf("%040x", m.commits)
		m.push(ref, hash)
		if there && pr.Open {
			pr.Head = hash
			m.pull(pr, store.EventPullRequestUpdated)
		}
	case 4:
		m.commits++
		m.push(fmt.Sprint("refs/tags/v", m.commits), fmt.Sprintf("%040x", m.commits))
	case 5:
		if m.refs[ref] != "" && !there {
			m.push(ref, "")
		}
	case 6:
		if m.refs[ref] != "" && !there {
			pr = pulled(number, m.refs[ref], alice, repo.ID)
			pr.HeadRef = ref
			m.pull(pr, store.EventPullRequestCreated)
		}
	case 7:
		if there && pr.Open && m.r.IntN(3) == 0 {
			pr.Open = false
			m.ends[number] = true
			m.pull(pr, store.EventPullRequestClosed)
		} else if there && !pr.Open && m.refs[ref] == pr.Head {
			pr.Open = true
			m.pull(pr, store.EventPullRequestReopen)
		}
	default:
		if there && pr.Open {
			m.comments = append(m.comments, number)
			e := comment("/status", alice)
			e.Comment.ID, e.Comment.PullRequest, e.Comment.Created = int64(len(m.comments)), number, m.now()
			m.s.mu.Lock()
			m.s.comments[number] = append(m.s.comments[number], e.Comment)
			m.s.mu.Unlock()
			pr.Updated = m.now()
			m.pulls[number] = pr
			m.say(e)
		}
	}
	m.show()
	m.deliver(false)
}

// check compares what was built with what there is.
func (m *lossy) check(t *testing.T) {
	pushes, pulls, running := map[string]int{}, map[string]int{}, map[string]bool{}
	for _, b := range m.d.builds() {
		tr := b.Trigger
		running[tr.Commit] = running[tr.Commit] || b.Stop == nil
		if outdated(&b) { // what stood for a ref that moved on
			continue
		}
		if tr.PullRequest == 0 {
			pushes[tr.HeadRef+" "+tr.Commit]++
		} else {
			pulls[fmt.Sprint(tr.PullRequest, " ", tr.Commit)]++
		}
	}
	for what, n := range pushes {
		if n > 1 {
			t.Errorf("the push of %s was built %d times", what, n)
		}
	}
	for ref, hash := range m.refs {
		ofPull := slices.ContainsFunc(slices.Collect(maps.Values(m.pulls)), func(pr store.PullRequest) bool {
			return pulls[fmt.Sprint(pr.Number, " ", hash)] > 0 && pr.HeadRef == ref
		})
		if pushes[ref+" "+hash] == 0 && !ofPull {
			t.Errorf("%s is at %s, which was not built", ref, hash)
		}
		if !running[hash] && !m.ended(hash) {
			t.Errorf("the build of %s, where %s is, was stopped", hash, ref)
		}
	}
	for what, n := range pulls {
		var number int
		if fmt.Sscan(what, &number); n > 1 && !m.ends[number] {
			t.Errorf("pull request and head %s were built %d times", what, n)
		}
	}
	for _, pr := range m.pulls {
		if pr.Open && !running[pr.Head] {
			t.Errorf("pull request %d is at %s, which was not built", pr.Number, pr.Head)
		}
	}
	replies := map[int64]int{}
	for _, r := range m.d.replies() {
		replies[r.Comment]++
	}
	for n, number := range m.comments {
		// What was said of a pull request that was closed before anybody looked is not read.
		if obeyed := replies[int64(n+1)]; obeyed > 1 || obeyed == 0 && !m.ends[number] {
			t.Errorf("comment %d was obeyed %d times", n+1, obeyed)
		}
	}
}

// ended reports whether a commit is that of a pull request that was closed.
func (m *lossy) ended(hash string) bool {
	for _, pr := range m.pulls {
		if pr.Head == hash && m.ends[pr.Number] {
			return true
		}
	}
	return false
}

// TestLostDeliveries has deliveries lost, late and in the wrong order, and looks in between. In the end the newest commit of each ref and
// pull request was built once, each comment was obeyed once, and nothing is different any more.
func TestLostDeliveries(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d, s := newShowing(t)
			m := &lossy{d: d, s: s, r: rand.New(rand.NewPCG(seed, 11)), timed: seed%2 == 0, refs: map[string]string{}, pulls: map[int]store.PullRequest{},
				ends: map[int]bool{}}
			d.look()
			for range 60 {
				if m.step(); m.r.IntN(8) == 0 {
					if swept := d.look(); swept.Err != nil {
						t.Fatal(swept.Err)
					}
				}
			}
			m.deliver(true)
			looks := 0
			for d.look().Missed > 0 {
				if looks++; looks > 5 {
					t.Fatal("something is different for ever")
				}
			}
			if m.check(t); m.lost == 0 {
				t.Error("nothing was lost")
			}
		})
	}
}

// TestCrashesOfLooks takes the state as it is on the disk at every point of a look and of what comes of it, and goes on from there: nothing
// is lost, and nothing is built twice.
func TestCrashesOfLooks(t *testing.T) {
	d, s := newShowing(t)
	var images []bytes.Buffer
	var names []string
	pr := pulled(12, hash('c'), alice, repo.ID)
	pr.HeadRef = topic
	s.at(Standing{Refs: map[string]string{mainRef: hash('a')}})
	d.look()
	pr.Updated = d.store.Now().Add(time.Second)
	s.comments[12] = []store.Comment{{ID: 9, Body: "/status", Author: alice, Created: d.store.Now().Add(time.Second)}}
	s.at(Standing{Refs: map[string]string{mainRef: hash('b'), "refs/tags/v1": hash('b'), "refs/heads/other": hash('d')}, Pulls: []store.PullRequest{pr}})
	var first bytes.Buffer
	if err := d.store.Backup(&first); err != nil {
		t.Fatal(err)
	}
	// onto opens a copy of what is on the disk.
	onto := func(image *bytes.Buffer, at func(string)) {
		t.Helper()
		dir := t.TempDir()
		if err := store.Restore(dir, bytes.NewReader(image.Bytes())); err != nil {
			t.Fatal(err)
		}
		opened, err := store.Open(dir, store.Options{Now: d.clock.Now, At: at, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { opened.Close() })
		config := d.intake.Config
		config.Store = opened
		source := *d.intake.source("test")
		d.store, d.intake = opened, New(config)
		d.intake.AddSource(source)
	}
	onto(&first, func(point string) {
		var image bytes.Buffer
		if err := d.store.Backup(&image); err != nil {
			t.Error(err)
		}
		images, names = append(images, image), append(names, point)
	})
	swept := d.intake.SweepNow(t.Context(), "test")
	for seq := uint64(1); seq <= d.newest(); seq++ { // one after another, so that the points are in order
		d.settle(seq)
	}
	if swept.Err != nil || swept.Fetched != 5 {
		t.Fatalf("%+v", swept)
	}
	for _, point := range []string{"looked", "delivery stored", "look remembered", "decoded", "looked up", "decided", "comment acknowledged"} {
		if !slices.Contains(names, point) {
			t.Errorf("the point %q was not passed: %q", point, names)
		}
	}
	for n := range images {
		onto(&images[n], nil)
		d.drain()
		for range 3 {
			d.look()
		}
		var got []string
		for _, b := range d.builds() {
			got = append(got, b.Trigger.HeadRef+" "+b.Trigger.Commit[:1])
		}
		slices.Sort(got)
		if want := "refs/heads/main b, refs/heads/other d, refs/heads/topic c, refs/tags/v1 b"; strings.Join(got, ", ") != want || len(d.replies()) != 1 {
			t.Errorf("after %d, %q: builds %q, %d replies", n, names[n], got, len(d.replies()))
		}
		if swept := d.look(); swept.Missed != 0 || swept.Err != nil {
			t.Errorf("after %q: %+v", names[n], swept)
		}
	}
}
