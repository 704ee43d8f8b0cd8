package store

import (
	"bytes"
	"fmt"
	"strconv"
)

// PullID is what is told of a pull request as a whole, such as its comment, is recorded below: see Told.
func PullID(r Repo, number int) string { return fmt.Sprintf("%s%s/%d", pullPrefix, r.Key(), number) }

const pullPrefix = "pull/"

// PullHead is the newest commit of a pull request, as it was seen last; empty if it was never seen.
func (tx *Tx) PullHead(r Repo, number int) (commit string, err error) {
	p, _, err := get[Pull](tx, bucketPulls, pullKey(r, number))
	return p.Head, err
}

// PullsAt are the pull requests of a repository whose newest commit is this one, as far as they were seen.
func (tx *Tx) PullsAt(r Repo, commit string) (numbers []int, err error) {
	prefix := []byte(r.Key() + "\x00")
	c := tx.bucket(bucketPulls).Cursor()
	for key, value := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, value = c.Next() {
		if !bytes.Contains(value, []byte(commit)) { // decoding all of them takes long
			continue
		}
		number, err := strconv.Atoi(string(key[len(prefix):]))
		if err != nil {
			return nil, fmt.Errorf("pull request %q: %w", key, err)
		}
		if head, err := tx.PullHead(r, number); err != nil {
			return nil, err
		} else if head == commit {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// OpenAt are the pull requests of a repository that are open and whose newest commit is this one, as far as they were seen.
func (tx *Tx) OpenAt(r Repo, commit string) (list []Pull, err error) {
	numbers, err := tx.PullsAt(r, commit)
	for _, number := range numbers {
		p, _, err := get[Pull](tx, bucketPulls, pullKey(r, number))
		if err != nil {
			return nil, err
		}
		if p.Open {
			list = append(list, p)
		}
	}
	return list, err
}

// sweepPulls forgets what was told of pull requests that nobody has told anything of for as long as builds are kept, and the pull
// requests that are closed and whose newest commit was seen longer ago.
func (s *Store) sweepPulls(keep Retention) error {
	if keep.Builds <= 0 {
		return nil
	}
	before := s.Now().Add(-keep.Builds)
	return s.Update(func(tx *Tx) error {
		var gone [][]byte
		c := tx.bucket(bucketTold).Cursor()
		for key, _ := c.Seek([]byte(pullPrefix)); bytes.HasPrefix(key, []byte(pullPrefix)) && len(gone) < sweepBatch; key, _ = c.Next() {
			t, _, err := get[Told](tx, bucketTold, key)
			if err != nil {
				return err
			}
			if last := t.At; !last.IsZero() && last.Before(before) {
				gone = append(gone, bytes.Clone(key))
			}
		}
		for _, key := range gone {
			if err := tx.bucket(bucketTold).Delete(key); err != nil {
				return err
			}
		}
		gone = gone[:0]
		c = tx.bucket(bucketPulls).Cursor()
		for key, _ := c.First(); key != nil && len(gone) < sweepBatch; key, _ = c.Next() {
			p, _, err := get[Pull](tx, bucketPulls, key)
			if err != nil {
				return err
			}
			if !p.Open && p.Seen.Before(before) {
				gone = append(gone, bytes.Clone(key))
			}
		}
		for _, key := range gone {
			if err := tx.bucket(bucketPulls).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}
