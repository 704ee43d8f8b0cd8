package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Approval lets one commit of a stranger's pull request be built. It is bound to the full hash: what is pushed later needs
// another one.
type Approval struct {
	PullRequest int
	Commit      string
	By          Account
	Comment     int64 `json:",omitempty"` // id of the comment; 0 for a button
	At          time.Time
}

func approvalKey(r Repo, pull int, commit string) []byte {
	return fmt.Appendf(nil, "%s\x00%d\x00%s", r.Key(), pull, commit)
}

// Approve records an approval. The first of a commit stays.
func (tx *Tx) Approve(r Repo, a Approval) error {
	key := approvalKey(r, a.PullRequest, a.Commit)
	if tx.bucket(bucketApprovals).Get(key) != nil {
		return nil
	}
	return put(tx, bucketApprovals, key, a)
}

// Approval is that of a commit of a pull request, nil if there is none.
func (tx *Tx) Approval(r Repo, pull int, commit string) (*Approval, error) {
	a, ok, err := get[Approval](tx, bucketApprovals, approvalKey(r, pull, commit))
	if err != nil || !ok {
		return nil, err
	}
	return &a, nil
}

// RevokeApprovals removes the approvals of a pull request whose commits begin with the given text, and gives those commits.
func (tx *Tx) RevokeApprovals(r Repo, pull int, commit string) (commits []string, err error) {
	prefix := approvalKey(r, pull, "")
	var keys [][]byte
	c := tx.bucket(bucketApprovals).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		if hash := string(key[len(prefix):]); strings.HasPrefix(hash, commit) {
			keys, commits = append(keys, bytes.Clone(key)), append(commits, hash)
		}
	}
	for _, key := range keys {
		if err := tx.bucket(bucketApprovals).Delete(key); err != nil {
			return nil, err
		}
	}
	return commits, nil
}

// A Pull is what the store remembers of a pull request.
type Pull struct {
	Number  int
	Head    string
	Seen    time.Time // when the head was first seen here: dates of Git can be forged
	HeadRef string    // refs/heads/...
	BaseRef string    `json:",omitempty"`
	Draft   bool      `json:",omitempty"`
	Fork    bool
	Open    bool
	Updated time.Time // by the forge's clock; zero if it does not tell

	Decided PullState `json:",omitzero"` // how it was when an event of it was last decided on; zero if none was
}

// A PullState is what matters of a pull request to what is built of it.
type PullState struct {
	Head    string // as the event had it: a forge may shorten it
	BaseRef string
	Draft   bool
	Open    bool
}

// State is that of a pull request.
func (pr *PullRequest) State() PullState {
	return PullState{Head: pr.Head, BaseRef: pr.BaseRef, Draft: pr.Draft, Open: pr.Open}
}

// Same reports whether a state is that of another, whose hash is a full one.
func (s PullState) Same(full PullState) bool {
	if s.Head != "" && strings.HasPrefix(full.Head, s.Head) {
		s.Head = full.Head
	}
	return s == full
}

func pullKey(r Repo, number int) []byte { return fmt.Appendf(nil, "%s\x00%d", r.Key(), number) }

// Pull is what is remembered of a pull request; ok is false if it was never seen.
func (tx *Tx) Pull(r Repo, number int) (p Pull, ok bool, err error) {
	return get[Pull](tx, bucketPulls, pullKey(r, number))
}

// SeePull records a pull request as the forge had it at the time of Updated, and gives what is known of it then: what is known of
// a later time stays, for deliveries may come late.
func (tx *Tx) SeePull(r Repo, pr *PullRequest) (Pull, error) {
	key := pullKey(r, pr.Number)
	before, _, err := get[Pull](tx, bucketPulls, key)
	if err != nil || pr.Updated.Before(before.Updated) && !pr.Updated.IsZero() {
		return before, err
	}
	p := Pull{Number: pr.Number, Head: pr.Head, Seen: before.Seen, HeadRef: pr.HeadRef, BaseRef: pr.BaseRef, Draft: pr.Draft, Fork: pr.HeadRepo != r.ID, Open: pr.Open, Updated: pr.Updated,
		Decided: before.Decided}
	if p.Updated.IsZero() {
		p.Updated = before.Updated
	}
	if before.Head != p.Head {
		p.Seen = tx.store.Now()
	}
	if p == before {
		return p, nil
	}
	return p, put(tx, bucketPulls, key, p)
}

// DecidePull records that an event of a pull request is decided on, unless a later one was.
func (tx *Tx) DecidePull(r Repo, pr *PullRequest) error {
	p, _, err := tx.Pull(r, pr.Number)
	if err != nil || pr.Updated.Before(p.Updated) && !pr.Updated.IsZero() || p.Decided == pr.State() {
		return err
	}
	p.Number, p.Decided = pr.Number, pr.State()
	return put(tx, bucketPulls, pullKey(r, pr.Number), p)
}

// OpenPulls are the pull requests of a repository that are open as far as is known here, by their numbers.
func (tx *Tx) OpenPulls(r Repo) (list []Pull, err error) {
	prefix := []byte(r.Key() + "\x00")
	c := tx.bucket(bucketPulls).Cursor()
	for key, value := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, value = c.Next() {
		if !bytes.Contains(value, []byte(`"Open":true`)) { // decoding all of them takes long
			continue
		}
		p, _, err := get[Pull](tx, bucketPulls, key)
		if err != nil {
			return nil, err
		}
		if p.Open {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b Pull) int { return a.Number - b.Number })
	return list, nil
}

// OfOpenPull reports whether a branch of a repository is known to be the head of an open pull request of it.
func (tx *Tx) OfOpenPull(r Repo, headRef string) (bool, error) {
	open, err := tx.OpenPulls(r)
	return slices.ContainsFunc(open, func(p Pull) bool { return !p.Fork && p.HeadRef == headRef }), err
}
