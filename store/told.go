package store

import (
	"bytes"
	"slices"
	"time"
)

// Told is what a forge was last told of one check of a build or notice.
type Told struct {
	Remote   string    `json:",omitempty"` // the forge's id of the check, once it is known
	Digest   string    `json:",omitempty"` // of the report that the forge has acknowledged
	Status   string    `json:",omitempty"` // of that report
	At       time.Time // when it was acknowledged, or refused
	Creating bool      `json:",omitempty"` // a create is on its way, or its answer was lost
	Tries    int       `json:",omitempty"` // failures since
	Next     time.Time // not to be tried before
	Problem  string    `json:",omitempty"` // the last failure
	Refused  string    `json:",omitempty"` // digest of the report that the forge did not take, if that was the last
	GivenUp  bool      `json:",omitempty"` // the forge will never take it

	Recreated bool `json:",omitempty"` // it was deleted at the forge, and made once more

	Report []byte `json:",omitempty"` // for a forge that keeps its reports here: the report as it was told
}

// A Subject is what a forge may have to be told of: a build, a notice or a reply.
type Subject struct {
	Build  *Build
	Notice *Notice
	Reply  *Reply
	raw    []byte // as it was read
}

// ID is that of what it is.
func (u Subject) ID() string {
	switch {
	case u.Notice != nil:
		return u.Notice.ID
	case u.Reply != nil:
		return u.Reply.ID
	}
	return u.Build.ID
}

// Unsaid are the builds, notices and replies whose forge may have to be told something, in no order.
func (tx *Tx) Unsaid() ([]Subject, error) {
	var list []Subject
	c := tx.bucket(bucketUnsaid).Cursor()
	for id, _ := c.First(); id != nil; id, _ = c.Next() {
		if raw := tx.bucket(bucketNotices).Get(id); raw != nil {
			n, _, err := tx.Notice(string(id))
			if err != nil {
				return nil, err
			}
			list = append(list, Subject{Notice: &n, raw: slices.Clone(raw)})
			continue
		}
		if raw := tx.bucket(bucketReplies).Get(id); raw != nil {
			r, _, err := tx.Reply(string(id))
			if err != nil {
				return nil, err
			}
			list = append(list, Subject{Reply: &r, raw: slices.Clone(raw)})
			continue
		}
		raw := tx.bucket(bucketBuilds).Get(id)
		if raw == nil {
			continue // swept
		}
		b, err := tx.Build(string(id))
		if err != nil {
			return nil, err
		}
		list = append(list, Subject{Build: &b, raw: slices.Clone(raw)})
	}
	return list, nil
}

// Said takes a subject from the unsaid ones, unless it has changed since it was read.
func (tx *Tx) Said(u Subject) error {
	id := []byte(u.ID())
	bucket := bucketBuilds
	switch {
	case u.Notice != nil:
		bucket = bucketNotices
	case u.Reply != nil:
		bucket = bucketReplies
	}
	if !bytes.Equal(tx.bucket(bucket).Get(id), u.raw) {
		return nil
	}
	return tx.bucket(bucketUnsaid).Delete(id)
}

// Withdraw takes a notice back of which no forge has been told yet. One that is being told stays.
func (tx *Tx) Withdraw(n Notice) error {
	told, err := tx.AllTold(n.ID)
	if err != nil || len(told) > 0 {
		return err
	}
	return tx.bucket(bucketUnsaid).Delete([]byte(n.ID))
}

// Unsay makes the reporter look at a build or notice again.
func (tx *Tx) Unsay(id string) error { return tx.bucket(bucketUnsaid).Put([]byte(id), nil) }

func toldKey(id, name string) []byte { return []byte(id + "\x00" + name) }

// Told is what was told of a check; the zero Told if nothing was.
func (tx *Tx) Told(id, check string) (Told, error) {
	t, _, err := get[Told](tx, bucketTold, toldKey(id, check))
	return t, err
}

// SetTold records what was told of a check.
func (tx *Tx) SetTold(id, check string, t Told) error {
	return put(tx, bucketTold, toldKey(id, check), t)
}

// AllTold is what was told of a build or notice, by check.
func (tx *Tx) AllTold(id string) (map[string]Told, error) {
	all := map[string]Told{}
	prefix := toldKey(id, "")
	c := tx.bucket(bucketTold).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		t, _, err := get[Told](tx, bucketTold, key)
		if err != nil {
			return nil, err
		}
		all[string(key[len(prefix):])] = t
	}
	return all, nil
}
