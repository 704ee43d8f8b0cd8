package store

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Retention says how long things are kept after they are over. A zero duration keeps them for ever.
type Retention struct {
	Builds    time.Duration // records, logs and artifacts
	Logs      time.Duration
	Artifacts time.Duration
}

// How long deliveries are kept: bodies after they were handled; the rest, which is what a replay is known by, after they
// came.
const (
	keepBodies     = 7 * 24 * time.Hour
	keepDeliveries = 30 * 24 * time.Hour
)

// Swept is what a sweep removed.
type Swept struct {
	Builds, Logs, Artifacts, Deliveries, Bodies, Orphans int
}

// sweepBatch is how many records one update of a sweep touches, so that others need not wait for long.
const sweepBatch = 100

// Sweep removes what is older than it may be. The newest build of each project stays, and so does what is not over. Files
// that belong to nothing go once they are an hour old.
func (s *Store) Sweep(keep Retention) (Swept, error) {
	var n Swept
	err := errors.Join(s.sweepBuilds(keep, &n), s.sweepNotices(keep), s.sweepReplies(), s.sweepPulls(keep), s.sweepLooks(), s.sweepComments(), s.sweepDeliveries(&n), s.sweepOrphans(&n))
	return n, err
}

func (s *Store) sweepBuilds(keep Retention, n *Swept) error {
	now := s.Now()
	old := func(b *Build, most time.Duration) bool { return most > 0 && b.Done() && now.Sub(b.Ended) > most }
	var gone, artifacts []Build
	var logs []string
	err := s.View(func(tx *Tx) error {
		newest := map[string]bool{}
		return tx.backwards(bucketOrder, 0, func(_, id []byte) (bool, error) {
			b, err := tx.Build(string(id))
			if err != nil {
				return false, err
			}
			last := !newest[b.ProjectKey]
			newest[b.ProjectKey] = true
			switch {
			case !last && old(&b, keep.Builds):
				gone = append(gone, b)
			default:
				if old(&b, keep.Logs) {
					logs = append(logs, b.ID)
				}
				if len(b.artifactIDs()) > 0 && old(&b, keep.Artifacts) {
					artifacts = append(artifacts, b)
				}
			}
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(gone, sweepBatch) {
		if err := s.Update(func(tx *Tx) error {
			for _, b := range batch {
				if err := tx.forgetBuild(&b); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		for _, b := range batch {
			n.Builds++
			logs, artifacts = append(logs, b.ID), append(artifacts, b)
		}
	}
	for _, id := range logs {
		n.Logs += removed(s.logPath(id))
	}
	for _, b := range artifacts {
		for _, id := range b.artifactIDs() {
			n.Artifacts += removed(s.artifactsPath(b.ID, id))
			removed(s.manifestPath(b.ID, id))
		}
	}
	for _, b := range gone {
		for i := range b.Reports {
			removed(s.reportPath(b.ID, i))
		}
	}
	return nil
}

func removed(path string) int {
	if os.Remove(path) != nil {
		return 0
	}
	return 1
}

func (tx *Tx) forgetBuild(b *Build) error {
	id := []byte(b.ID)
	return errors.Join(
		tx.bucket(bucketOrder).Delete(number(b.Seq)),
		tx.bucket(bucketBuilds).Delete(id),
		tx.bucket(bucketSpecs).Delete(id),
		tx.bucket(bucketReported).Delete(append(reportedKey(b.ProjectKey, b.Trigger.HeadRef), number(b.Seq)...)),
		tx.forgetLatest(b),
		tx.forgetSubject(b.ID, b.Repo, b.Trigger.Commit),
	)
}

// forgetSubject removes what a build and a notice have alike.
func (tx *Tx) forgetSubject(id string, r Repo, commit string) error {
	if err := tx.bucket(bucketUnsaid).Delete([]byte(id)); err != nil {
		return err
	}
	for _, in := range []struct {
		bucket, prefix []byte
		of             func(key, value []byte) bool
	}{
		{bucketTold, toldKey(id, ""), func(_, _ []byte) bool { return true }},
		{bucketCommits, commitKey(r, commit), func(_, value []byte) bool { return string(value) == id }},
	} {
		var keys [][]byte
		c := tx.bucket(in.bucket).Cursor()
		for key, value := c.Seek(in.prefix); bytes.HasPrefix(key, in.prefix); key, value = c.Next() {
			if in.of(key, value) {
				keys = append(keys, bytes.Clone(key))
			}
		}
		for _, key := range keys {
			if err := tx.bucket(in.bucket).Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) sweepNotices(keep Retention) error {
	if keep.Builds <= 0 {
		return nil
	}
	before := s.Now().Add(-keep.Builds)
	return s.Update(func(tx *Tx) error {
		var gone []Notice
		err := tx.bucket(bucketNotices).ForEach(func(id, _ []byte) error {
			n, _, err := tx.Notice(string(id))
			if err == nil && n.Created.Before(before) && len(gone) < sweepBatch {
				gone = append(gone, n)
			}
			return err
		})
		for _, n := range gone {
			err = errors.Join(err, tx.bucket(bucketNotices).Delete([]byte(n.ID)), tx.forgetSubject(n.ID, n.Repo, n.Trigger.Commit))
		}
		return err
	})
}

// keepReplies is how long replies are kept: longer than anybody tries to send one.
const keepReplies = 48 * time.Hour

func (s *Store) sweepReplies() error {
	before := s.Now().Add(-keepReplies)
	return s.Update(func(tx *Tx) error {
		var gone []Reply
		err := tx.bucket(bucketReplies).ForEach(func(id, _ []byte) error {
			r, _, err := tx.Reply(string(id))
			if err == nil && r.Created.Before(before) && len(gone) < sweepBatch {
				gone = append(gone, r)
			}
			return err
		})
		for _, r := range gone {
			err = errors.Join(err, tx.bucket(bucketReplies).Delete([]byte(r.ID)), tx.forgetSubject(r.ID, r.Repo, ""))
		}
		return err
	})
}

func (s *Store) sweepDeliveries(n *Swept) error {
	now := s.Now()
	for {
		var files []string
		var more bool
		var bodies, deliveries int
		err := s.Update(func(tx *Tx) error {
			files, more, bodies, deliveries = nil, false, 0, 0
			var old []Delivery
			c := tx.bucket(bucketDeliveries).Cursor()
			for key, _ := c.First(); key != nil; key, _ = c.Next() {
				d, _, err := get[Delivery](tx, bucketDeliveries, key)
				if err != nil {
					return err
				}
				if now.Sub(d.Received) <= keepBodies {
					break // they lie in the order in which they came
				}
				if d.Pending() || now.Sub(d.Handled) <= keepBodies {
					continue
				}
				kept := d.File != "" || tx.bucket(bucketBodies).Get(key) != nil
				if !kept && now.Sub(d.Received) <= keepDeliveries {
					continue
				}
				if more = len(old) == sweepBatch; more {
					break
				}
				old = append(old, d)
			}
			for _, d := range old {
				if d.File != "" {
					files = append(files, d.File)
				}
				bodies++
				err := tx.bucket(bucketBodies).Delete(number(d.Seq))
				if now.Sub(d.Received) > keepDeliveries {
					deliveries++
					ids := tx.bucket(bucketDeliveryIDs)
					err = errors.Join(err, tx.bucket(bucketDeliveries).Delete(number(d.Seq)), ids.Delete(deliveryID(&d)))
					if bytes.Equal(ids.Get(deliveryDigest(&d)), number(d.Seq)) {
						err = errors.Join(err, ids.Delete(deliveryDigest(&d)))
					}
				} else if d.File != "" {
					d.File = ""
					err = errors.Join(err, put(tx, bucketDeliveries, number(d.Seq), &d))
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, name := range files {
			removed(filepath.Join(s.dir, "bodies", name))
		}
		n.Bodies += bodies
		n.Deliveries += deliveries
		if !more {
			return nil
		}
	}
}

// orphanAge is how old a file must be that belongs to nothing: younger ones may be about to belong to something.
const orphanAge = time.Hour

func (s *Store) sweepOrphans(n *Swept) error {
	known := map[string]bool{} // names of files, and ids of builds that are not over
	err := s.View(func(tx *Tx) error {
		if err := tx.bucket(bucketBuilds).ForEach(func(id, _ []byte) error {
			b, err := tx.Build(string(id))
			if err != nil {
				return err
			}
			known[b.ID+".log"] = true
			for i := range b.Reports {
				known[filepath.Base(s.reportPath(b.ID, i))] = true
			}
			for _, a := range b.artifactIDs() {
				known[filepath.Base(s.artifactsPath(b.ID, a))], known[filepath.Base(s.manifestPath(b.ID, a))] = true, true
			}
			if !b.Done() {
				known[b.ID] = true
			}
			return nil
		}); err != nil {
			return err
		}
		return tx.bucket(bucketDeliveries).ForEach(func(key, _ []byte) error {
			d, _, err := get[Delivery](tx, bucketDeliveries, key)
			known[d.File] = true
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, dir := range fileDirs {
		entries, err := os.ReadDir(filepath.Join(s.dir, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			build, _, _ := strings.Cut(e.Name(), ".")
			if known[build] || known[e.Name()] {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if time.Since(info.ModTime()) > orphanAge {
				n.Orphans += removed(filepath.Join(s.dir, dir, e.Name()))
			}
		}
	}
	return nil
}
