package store

import (
	"time"

	"github.com/google/uuid"
)

// A Reply is a comment that a pull request is to get: the answer to a command. The reporter sends it, once.
type Reply struct {
	ID          string // a UUID
	Repo        Repo
	PullRequest int
	To          Account // who asked
	Comment     int64   `json:",omitempty"` // the comment that it answers
	Body        string  // Markdown
	Refusal     bool    `json:",omitempty"`
	Created     time.Time
}

// AddReply makes a reply: the caller has set what it says and where; the rest is set here.
func (tx *Tx) AddReply(r Reply) (Reply, error) {
	r.ID, r.Created = uuid.NewString(), tx.store.Now()
	if err := tx.bucket(bucketUnsaid).Put([]byte(r.ID), nil); err != nil {
		return r, err
	}
	return r, put(tx, bucketReplies, []byte(r.ID), r)
}

// Reply is a reply; ok is false if there is none of that id.
func (tx *Tx) Reply(id string) (r Reply, ok bool, err error) {
	return get[Reply](tx, bucketReplies, []byte(id))
}

// RepliesSince counts the replies that somebody has got in a pull request since a time, and how many of them are refusals.
func (tx *Tx) RepliesSince(r Repo, number int, who Account, since time.Time) (replies, refusals int, err error) {
	err = tx.bucket(bucketReplies).ForEach(func(key, _ []byte) error {
		reply, _, err := get[Reply](tx, bucketReplies, key)
		if err != nil || reply.Repo.Key() != r.Key() || reply.PullRequest != number || reply.To.ID != who.ID || !reply.Created.After(since) {
			return err
		}
		if replies++; reply.Refusal {
			refusals++
		}
		return nil
	})
	return replies, refusals, err
}
