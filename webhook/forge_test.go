package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"buildsmith/store"
)

// shortening is a forge whose deliveries name commits by shortened hashes.
type shortening struct {
	*forge
	full map[string]string // by the shortened one
	down error
	n    int
}

func (s *shortening) Complete(_ context.Context, _ store.Repo, pr *store.PullRequest) error {
	s.n++
	if s.down != nil {
		return s.down
	}
	full, ok := s.full[pr.Head]
	if !ok {
		return fmt.Errorf("commit %s: %w", pr.Head, store.ErrNotFound)
	}
	pr.Head = full
	return nil
}

// use gives the desk's source another forge.
func (d *desk) use(f Forge) {
	source := *d.intake.source("test")
	source.Forge = f
	d.intake.AddSource(source)
}

func newShortening(t *testing.T) (*desk, *shortening) {
	t.Helper()
	d := newDesk(t)
	s := &shortening{forge: d.forge, full: map[string]string{hash('a')[:12]: hash('a'), hash('b')[:12]: hash('b')}}
	d.use(s)
	return d, s
}

// TestShortenedHashes are made full before anything is decided.
func TestShortenedHashes(t *testing.T) {
	d, s := newShortening(t)
	pr := pulled(12, hash('a')[:12], alice, repo.ID)
	if got := d.deliver(pullEvent(pr)); len(got.Builds) != 1 || d.builds()[0].Trigger.Commit != hash('a') {
		t.Errorf("%+v", got)
	}
	pr = pulled(13, hash('f')[:12], alice, repo.ID)
	if got := d.deliver(pullEvent(pr)); got.Reason != "the newest commit of pull request 13 is gone, or lies in a repository that cannot be read from here" {
		t.Errorf("%+v", got)
	}
	s.down = errors.New("502")
	pr = pulled(14, hash('b')[:12], alice, repo.ID)
	if got := d.deliver(pullEvent(pr)); !got.Pending() || got.Problem != "looking for the commits of pull request 14: 502" {
		t.Errorf("%+v", got)
	}
	s.down = nil
	d.clock.advance(firstRetry)
	if d.drain(); fmt.Sprint(d.commits()) != "[a b]" {
		t.Errorf("builds %v", d.commits())
	}
}

// TestVagueChanges decides on a pull request of which the forge says only that something changed, if that matters to what is built.
func TestVagueChanges(t *testing.T) {
	vague := func(fn func(*store.PullRequest)) Event {
		pr := pulled(12, hash('a')[:12], alice, repo.ID)
		fn(&pr)
		e := pullEvent(pr)
		e.Event, e.Vague = store.EventPullRequestUpdated, true
		return e
	}
	const same = "nothing changed of pull request 12 that is built"
	for name, tt := range map[string]struct {
		event  Event
		before func(d *desk)
		reason string
		builds string
	}{
		"the title":      {vague(func(pr *store.PullRequest) { pr.Title = "another" }), nil, same, "[a]"},
		"the head":       {vague(func(pr *store.PullRequest) { pr.Head = hash('b')[:12] }), nil, "", "[a b]"},
		"no head at all": {vague(func(pr *store.PullRequest) { pr.Head = "" }), nil, "the newest commit of pull request 12 is gone, or lies in a repository that cannot be read from here", "[a]"},
		"the base":       {vague(func(pr *store.PullRequest) { pr.BaseRef = "refs/heads/next" }), nil, "", "[a a]"},
		"a draft":        {vague(func(pr *store.PullRequest) { pr.Draft = true }), nil, "Commit aaaaaaaaaaaa has an automatic build already, number 1.", "[a]"},
		"a head that a comment saw first": {vague(func(pr *store.PullRequest) { pr.Head = hash('b')[:12] }), func(d *desk) {
			d.forge.pulls[12] = pulled(12, hash('b'), alice, repo.ID)
			d.says(alice, "/status")
		}, "", "[a b]"},
		"what was not decided on before": {vague(func(*store.PullRequest) {}), func(d *desk) {
			closed := pulled(12, hash('a')[:12], alice, repo.ID)
			closed.Open = false
			e := pullEvent(closed)
			e.Event = store.EventPullRequestClosed
			d.deliver(e)
		}, "", "[a a]"},
	} {
		t.Run(name, func(t *testing.T) {
			d, s := newShortening(t)
			d.intake.Rules.Supersede = SupersedeOff
			d.deliver(pullEvent(pulled(12, hash('a')[:12], alice, repo.ID)))
			if tt.before != nil {
				tt.before(d)
			}
			asked := s.n
			if got := d.deliver(tt.event); got.Reason != tt.reason || fmt.Sprint(d.commits()) != tt.builds {
				t.Errorf("%q, builds %v", got.Reason, d.commits())
			}
			if (s.n == asked) != (tt.reason == same) {
				t.Errorf("asked for the full hash %d times", s.n-asked)
			}
		})
	}
}

// TestSeveralRefs decides on each ref that one delivery tells of.
func TestSeveralRefs(t *testing.T) {
	d := newDesk(t)
	d.forge.noSpec[hash('c')] = true
	e := push(mainRef, hash('a'), "one [skip ci]")
	e.Also = []PushEvent{{Ref: topic, After: hash('b'), Message: "two"}, {Ref: "refs/tags/v1", After: hash('b')}, {Ref: "refs/heads/bare", After: hash('c')}, {Ref: "refs/heads/old", Before: hash('d')}}
	got := d.deliver(e)
	want := "branch main: The message of commit aaaaaaaaaaaa says [skip ci]; branch bare: there is no buildspec.yml in commit cccccccccccc; " +
		"branch old: branch old was deleted; builds stopped in the queue: 0"
	if got.Reason != want || len(got.Builds) != 2 {
		t.Errorf("%+v", got)
	}
	var refs []string
	for _, b := range d.builds() {
		refs = append(refs, b.Trigger.HeadRef+" "+b.Trigger.Commit[:1]+" "+b.Trigger.Title)
	}
	if want := []string{topic + " b two", "refs/tags/v1 b "}; !slices.Equal(refs, want) {
		t.Errorf("%q, want %q", refs, want)
	}
	// All of them or none: what cannot be looked up is looked up again.
	d.forge.down = errors.New("502")
	e.Also, e.Push.After = []PushEvent{{Ref: topic, After: hash('e')}}, hash('d')
	got = d.deliver(e)
	if !got.Pending() || got.Problem != "branch main: looking for buildspec.yml: 502" || len(d.builds()) != 2 {
		t.Errorf("%+v", got)
	}
	d.forge.mu.Lock()
	d.forge.down = nil
	d.forge.mu.Unlock()
	d.clock.advance(firstRetry)
	if d.drain(); len(d.builds()) != 3 {
		t.Errorf("%v", d.commits())
	}
	// A delivery of very many refs has a reason that fits.
	e.Push = PushEvent{Ref: mainRef, After: ""}
	for n := range 200 {
		e.Also = append(e.Also, PushEvent{Ref: fmt.Sprint("refs/heads/gone", n)})
	}
	if got := d.deliver(e); len(got.Reason) > maxReason || !strings.HasPrefix(got.Reason, "branch main: ") {
		t.Errorf("%d bytes", len(got.Reason))
	}
}

// TestSeveralRefsAreRemembered remembers each ref that one delivery tells of, at a forge that is looked at.
func TestSeveralRefsAreRemembered(t *testing.T) {
	d, s := newShowing(t)
	s.at(Standing{Refs: map[string]string{mainRef: hash('1')}})
	d.look()
	e := push(mainRef, hash('a'), "")
	e.Push.Before = hash('1')
	e.Also = []PushEvent{{Ref: topic, After: hash('b')}, {Ref: "refs/notes/x", After: hash('c')}}
	d.deliver(e)
	s.at(Standing{Refs: map[string]string{mainRef: hash('a'), topic: hash('b')}})
	if list := d.found(); len(list) != 0 || len(d.refs()) != 2 {
		t.Errorf("%+v %v", list, d.refs())
	}
}

// discreet is a forge that does not tell us what people may do.
type discreet struct{ *forge }

func (discreet) Permission(context.Context, store.Repo, store.Account) (store.Permission, error) {
	return 0, fmt.Errorf("%w: the token has no scope project:admin", store.ErrForbidden)
}

// TestPermissionCannotBeAsked builds what lies in the repository itself, where only those who may write put it, and nothing of others;
// whoever asks for more is told why he gets nothing.
func TestPermissionCannotBeAsked(t *testing.T) {
	d := newDesk(t)
	d.use(discreet{d.forge})
	if got := d.pull(pulled(12, hash('a'), eve, repo.ID), store.EventPullRequestCreated); len(got.Builds) != 1 || d.builds()[0].Trigger.Fork {
		t.Errorf("%+v", got)
	}
	if got := d.pull(pulled(13, hash('b'), alice, fork), store.EventPullRequestCreated); got.Reason != "Pull request 13 was not built: it comes from another repository." {
		t.Errorf("%+v", got)
	}
	d.end(d.builds()[0].ID, store.Failed)
	want := "`test` needs read access to this repository, and what `alice` may do cannot be asked: not allowed to ask: the token has no scope project:admin."
	if got, reply := d.says(alice, "/test"); reply != want || got.Pending() || len(d.builds()) != 1 {
		t.Errorf("%q, want %q", reply, want)
	}
	id := d.builds()[0].ID
	if got := d.deliver(Event{Kind: RerunCheck, Repo: repo, Sender: alice, ExternalID: id}); got.Reason != "alice has no write access, which a re-run needs" || got.Pending() {
		t.Errorf("%+v", got)
	}
}

// TestPullByCommit has CODEBUILD_SOURCE_VERSION of a pull request's build be what it is at the forge.
func TestPullByCommit(t *testing.T) {
	for byCommit, want := range map[bool]string{false: "pr/12", true: hash('a')} {
		d := newDesk(t)
		source := *d.intake.source("test")
		source.PullByCommit = byCommit
		d.intake.AddSource(source)
		d.pull(pulled(12, hash('a'), alice, repo.ID), store.EventPullRequestCreated)
		d.says(alice, "/test")
		for _, b := range d.builds() {
			if b.Trigger.SourceVersion != want || b.Trigger.PullRequest != 12 {
				t.Errorf("by commit %v: %+v, want %s", byCommit, b.Trigger, want)
			}
		}
		if n := len(d.builds()); n != 2 {
			t.Errorf("%d builds", n)
		}
	}
}

// located notes where a forge is asked.
type located struct {
	*forge
	at []string
}

func (l *located) Commit(ctx context.Context, r store.Repo, version string) (store.Commit, error) {
	l.at = append(l.at, r.ID+" "+r.Name)
	return l.forge.Commit(ctx, r, version)
}

func (l *located) FileID(ctx context.Context, r store.Repo, commit, path string) (string, error) {
	if commit == hash('a') {
		l.at = append(l.at, r.ID+" "+r.Name)
	}
	return l.forge.FileID(ctx, r, commit, path)
}

// TestForksAreAsked asks a fork for its commits where the forge wants that, and else the repository itself.
func TestForksAreAsked(t *testing.T) {
	for name, want := range map[string]string{"": "7 octo/shop", "eve/shop": fork + " eve/shop"} {
		d := newDesk(t)
		l := &located{forge: d.forge}
		d.use(l)
		pr := pulled(12, hash('a'), eve, fork)
		pr.HeadName, pr.Base = name, hash('1')
		d.pull(pr, store.EventPullRequestCreated)
		d.says(alice, "/approve "+hash('a'))
		if slices.Sort(l.at); len(l.at) < 3 || l.at[0] != want || l.at[len(l.at)-1] != want {
			t.Errorf("%q: asked at %q, want %q", name, l.at, want)
		}
		if b := d.builds(); len(b) != 1 || b[0].Trigger.HeadName != name {
			t.Errorf("%+v", b)
		}
	}
}

// TestOwnPullIsNoForks keeps no name of the repository that a pull request comes from if it is the one that it goes to: a repository that
// takes that name later has nothing to do with it.
func TestOwnPullIsNoForks(t *testing.T) {
	d := newDesk(t)
	pr := pulled(12, hash('a'), alice, repo.ID)
	pr.HeadName = repo.Name
	d.pull(pr, store.EventPullRequestCreated)
	if b := d.builds(); len(b) != 1 || b[0].Trigger.HeadName != "" || b[0].Trigger.Fork {
		t.Errorf("%+v", b)
	}
}

// TestApprovalOfAForkThatIsGone is refused where hashes are shortened: what was hidden may begin like what was looked at. A whole hash at
// another forge says which commit it is, whatever became of the fork.
func TestApprovalOfAForkThatIsGone(t *testing.T) {
	for _, shortens := range []bool{true, false} {
		d := strange(t)
		if shortens {
			d.use(&shortening{forge: d.forge})
		}
		pr := d.forge.pulls[12]
		pr.HeadRepo = ""
		d.forge.pulls[12] = pr
		_, reply := d.says(alice, "/approve "+hash('a'))
		if refused := strings.HasPrefix(reply, "The repository that this pull request comes from is gone, and its commits can be mistaken for others."); refused != shortens || len(d.builds()) == 0 != shortens {
			t.Errorf("shortens %v: %q, %d builds", shortens, reply, len(d.builds()))
		}
	}
}
