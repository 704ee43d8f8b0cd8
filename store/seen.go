package store

import (
	"bytes"
	"fmt"
	"time"
)

// keepComments is how long it is remembered that a comment was obeyed: longer than any is read again.
const keepComments = 30 * 24 * time.Hour

func commentKey(r Repo, id int64) []byte { return fmt.Appendf(nil, "%s\x00%d", r.Key(), id) }

// SeenComment reports whether a comment was obeyed.
func (tx *Tx) SeenComment(r Repo, id int64) bool {
	return tx.bucket(bucketComments).Get(commentKey(r, id)) != nil
}

// SeeComment remembers that a comment is obeyed, and reports whether it was before. One without an id is never known.
func (tx *Tx) SeeComment(r Repo, id int64) (seen bool, err error) {
	if id == 0 || tx.SeenComment(r, id) {
		return id != 0, nil
	}
	return false, put(tx, bucketComments, commentKey(r, id), tx.store.Now())
}

// sweepComments forgets which comments were obeyed long ago.
func (s *Store) sweepComments() error {
	before := s.Now().Add(-keepComments)
	return s.Update(func(tx *Tx) error {
		var gone [][]byte
		c := tx.bucket(bucketComments).Cursor()
		for key, _ := c.First(); key != nil && len(gone) < sweepBatch; key, _ = c.Next() {
			at, _, err := get[time.Time](tx, bucketComments, key)
			if err != nil {
				return err
			}
			if at.Before(before) {
				gone = append(gone, bytes.Clone(key))
			}
		}
		for _, key := range gone {
			if err := tx.bucket(bucketComments).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}
