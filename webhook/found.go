package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"buildsmith/store"
)

// Events of deliveries that nobody delivered: what they tell was found by looking at the forge. The body is a finding.
const (
	foundPush        = foundPrefix + "push"
	foundPullRequest = foundPrefix + "pull_request"
	foundComment     = foundPrefix + "comment"

	foundPrefix = "found:"
)

// A finding is what was found by looking at a repository. It has a Ref, a PullRequest or a Comment.
type finding struct {
	Repo store.Repo
	At   time.Time // of the look

	Ref    string `json:",omitempty"`
	Before string `json:",omitempty"` // the commit of the ref that is remembered; empty if it was not there
	After  string `json:",omitempty"` // the one that it has now; empty if it is gone

	PullRequest *store.PullRequest `json:",omitempty"`
	Event       string             `json:",omitempty"` // of a pull request: CODEBUILD_WEBHOOK_EVENT

	Comment *store.Comment `json:",omitempty"`

	decided store.PullState // of a pull request: how it was when it was last decided on
}

// event is the event of the finding's delivery.
func (f *finding) event() string {
	switch {
	case f.Comment != nil:
		return foundComment
	case f.PullRequest != nil:
		return foundPullRequest
	}
	return foundPush
}

// subject is the beginning of the id of the finding's delivery: that of every one that tells the same.
func (f *finding) subject() string {
	what := fmt.Sprintf("%s/%.12s-%.12s", f.Ref, f.Before, f.After)
	switch {
	case f.Comment != nil:
		what = fmt.Sprintf("comment/%d", f.Comment.ID)
	case f.PullRequest != nil:
		what = fmt.Sprintf("pull/%d/%s/%.12s-%.12s", f.PullRequest.Number, f.Event, f.decided.Head, f.PullRequest.Head)
	}
	return fmt.Sprintf("%s%s/%s/", foundPrefix, f.Repo.ID, what)
}

// id is that of the finding's delivery.
func (f *finding) id() string { return f.subject() + f.At.Format("20060102T150405.000Z") }

// still reports whether nothing has come meanwhile that tells what was found.
func (f *finding) still(tx *store.Tx) (bool, error) {
	switch {
	case f.Comment != nil:
		return !tx.SeenComment(f.Repo, f.Comment.ID), nil
	case f.PullRequest != nil:
		known, _, err := tx.Pull(f.Repo, f.PullRequest.Number)
		return known.Decided == f.decided, err
	}
	known, err := tx.Ref(f.Repo, f.Ref)
	return known.Hash == f.Before, err
}

// decodeFinding says what was found.
func decodeFinding(d store.Delivery, body []byte) (Event, error) {
	var f finding
	if err := json.Unmarshal(body, &f); err != nil {
		return Event{}, fmt.Errorf("what was found is not what the server writes: %w", err)
	}
	e := Event{Repo: f.Repo, Found: true}
	switch {
	case f.Repo.Forge != d.Forge || f.event() != d.Event:
		return Event{}, errors.New("what was found is not what its delivery says")
	case f.Comment != nil:
		e.Kind, e.Comment, e.Sender = Comment, *f.Comment, f.Comment.Author
		e.Summary = fmt.Sprintf("comment on pull request %d", f.Comment.PullRequest)
	case f.PullRequest != nil:
		e.Kind, e.PullRequest, e.Event, e.At = PullRequest, *f.PullRequest, f.Event, f.PullRequest.Updated
		_, word, _ := strings.Cut(f.Event, "PULL_REQUEST_")
		e.Summary = fmt.Sprintf("pull request %d %s", f.PullRequest.Number, strings.ToLower(word))
	default:
		e.Kind, e.Push = Push, PushEvent{Ref: f.Ref, Before: f.Before, After: f.After}
		if e.Summary = "push to " + shortRef(f.Ref); f.After == "" {
			e.Summary = "deletion of " + shortRef(f.Ref)
		}
		if f.Before == "" {
			e.Push.Before = strings.Repeat("0", len(f.After))
		}
	}
	e.Summary += ", found by looking"
	return e, nil
}

// looksAt reports whether a forge is one that is looked at.
func (i *Intake) looksAt(forge string) bool {
	source := i.source(forge)
	if source == nil {
		return false
	}
	_, ok := source.Forge.(Looker)
	return ok
}

// memorable reports whether a push is of a ref that is looked at.
func memorable(e *PushEvent) bool {
	branchOrTag := strings.HasPrefix(e.Ref, "refs/heads/") || strings.HasPrefix(e.Ref, "refs/tags/")
	return branchOrTag && store.ValidRef(e.Ref) && (e.After == "" || store.ValidHash(e.After))
}

// askMessage gives a push the message of its commit, and the commit itself where the forge named a tag. It reports whether the commit
// is gone.
func (i *Intake) askMessage(ctx context.Context, e *Event) (gone bool, err error) {
	forge, err := i.forge(e.Repo)
	if err != nil {
		return false, err
	}
	commit, err := forge.Commit(ctx, e.Repo, e.Push.After)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at commit %s: %w", e.Push.After, err)
	}
	if e.Push.Message = commit.Message; store.ValidHash(commit.Hash) {
		e.Push.After = commit.Hash
	}
	return false, nil
}

// noting makes a decision on a push one that remembers the ref. What was found and delivered too is decided on once, whichever came
// first.
func (i *Intake) noting(p *pending, decide decision) decision {
	r, push := p.event.Repo, p.event.Push
	before, after := strings.TrimLeft(push.Before, "0"), push.After
	if before != "" {
		before = push.Before
	}
	return func(tx *store.Tx) (v verdict, err error) {
		known, err := tx.Ref(r, push.Ref)
		if err != nil {
			return v, err
		}
		decide := decide
		switch {
		case p.event.Found && known.Hash == after:
			return verdict{reason: fmt.Sprintf("a delivery told of %s meanwhile", shortRef(push.Ref))}, nil
		case p.event.Found && known.Hash != before:
			return verdict{reason: fmt.Sprintf("%s has moved since the repository was looked at", shortRef(push.Ref))}, nil
		case p.event.Found && after != "":
			builds, answered, err := ofPush(tx, r, push.Ref, after)
			if err != nil {
				return v, err
			}
			if answered {
				v = verdict{reason: fmt.Sprintf("commit %.12s of %s was decided on before", after, shortRef(push.Ref)), builds: builds}
				decide = func(*store.Tx) (verdict, error) { return v, nil }
				break
			}
			known.Found = append(known.Found, store.FoundRef{Hash: after, At: i.Store.Now()})
		case after != "" && known.Late(after, p.delivery.Received):
			builds, _, err := ofPush(tx, r, push.Ref, after)
			if err != nil {
				return v, err
			}
			v = verdict{reason: "found before, when the repository was looked at", builds: builds}
			decide = func(*store.Tx) (verdict, error) { return v, nil }
		}
		known.Move(before, after)
		p.late = known.Hash != after
		if err := tx.SetRef(r, push.Ref, known); err != nil {
			return v, err
		}
		if after == "" && p.late {
			return verdict{reason: fmt.Sprintf("%s was deleted before it came to be at %.12s", shortRef(push.Ref), known.Hash)}, nil
		}
		return decide(tx)
	}
}

// ofPush gives the automatic builds of a commit that pushes of a ref made, and reports whether there are some, or notices. One that was
// stopped because the ref seemed to have moved on does not count: here it is again.
func ofPush(tx *store.Tx, r store.Repo, ref, commit string) (ids []string, answered bool, err error) {
	builds, notices, err := tx.OfCommit(r, commit)
	own := func(t *store.Trigger) bool {
		return t.Automatic && t.Event == store.EventPush && t.HeadRef == ref && !t.MergeGroup && t.PullRequest == 0
	}
	for n := range builds {
		if b := &builds[n]; own(&b.Trigger) && !outdated(b) {
			ids = append(ids, builds[n].ID)
		}
	}
	for n := range notices {
		answered = answered || own(&notices[n].Trigger)
	}
	return ids, answered || len(ids) > 0, err
}
