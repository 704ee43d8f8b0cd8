package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ErrNotFound says that there is no such thing, or no longer.
var ErrNotFound = errors.New("not found")

// ErrForbidden says that a forge does not let us ask, which no later time changes: a right is missing, and the error's text names it.
var ErrForbidden = errors.New("not allowed to ask")

// Submit makes a build of a project: the caller has set what is to be built and how; the rest is set here.
func (tx *Tx) Submit(p Project, b Build) (Build, error) {
	p.Builds++
	if err := put(tx, bucketProjects, []byte(p.Key), p); err != nil {
		return b, err
	}
	seq, err := tx.bucket(bucketOrder).NextSequence()
	if err != nil {
		return b, err
	}
	now := tx.store.Now()
	b.ID, b.Seq = uuid.NewString(), seq
	b.Project, b.ProjectKey, b.Number, b.Repo = p.Name, p.Key, p.Builds, p.Repo
	b.Status, b.Created = InProgress, now
	b.Phases = nil
	b.Leave(PhaseSubmitted, now, Succeeded, "", "")
	b.Enter(PhaseQueued, now)
	if err := tx.bucket(bucketOrder).Put(number(seq), []byte(b.ID)); err != nil {
		return b, err
	}
	if err := tx.indexCommit(b.Repo, b.Trigger.Commit, b.ID); err != nil {
		return b, err
	}
	if err := tx.addCheck(p, b.Check); err != nil {
		return b, err
	}
	took, err := tx.TookName(b.Repo)
	if err != nil {
		return b, err
	}
	b.TookName = took.ID != ""
	return b, tx.setBuild(&b)
}

func (tx *Tx) indexCommit(r Repo, commit, id string) error {
	n, err := tx.bucket(bucketCommits).NextSequence()
	if err != nil {
		return err
	}
	return tx.bucket(bucketCommits).Put(append(commitKey(r, commit), number(n)...), []byte(id))
}

func commitKey(r Repo, commit string) []byte { return []byte(r.Key() + "\x00" + commit + "\x00") }

// setBuild writes a build and puts it where builds of its state are found.
func (tx *Tx) setBuild(b *Build) error {
	key := number(b.Seq)
	for _, place := range []struct {
		bucket []byte
		here   bool
	}{{bucketQueued, b.Queued()}, {bucketRunning, !b.Queued() && !b.Done()}} {
		var err error
		if place.here {
			err = tx.bucket(place.bucket).Put(key, []byte(b.ID))
		} else {
			err = tx.bucket(place.bucket).Delete(key)
		}
		if err != nil {
			return err
		}
	}
	if err := tx.setOpen(b); err != nil {
		return err
	}
	if err := tx.setTurn(b); err != nil {
		return err
	}
	if err := tx.bucket(bucketUnsaid).Put([]byte(b.ID), nil); err != nil {
		return err
	}
	if err := tx.setLatest(b); err != nil {
		return err
	}
	if b.comparable() {
		if err := tx.bucket(bucketReported).Put(append(reportedKey(b.ProjectKey, b.Trigger.HeadRef), key...), []byte(b.ID)); err != nil {
			return err
		}
	}
	return put(tx, bucketBuilds, []byte(b.ID), b)
}

// Build is a build; the error wraps ErrNotFound if there is none.
func (tx *Tx) Build(id string) (Build, error) {
	b, ok, err := get[Build](tx, bucketBuilds, []byte(id))
	if err == nil && !ok {
		err = fmt.Errorf("build %s: %w", id, ErrNotFound)
	}
	return b, err
}

// Build is a build; the error wraps ErrNotFound if there is none.
func (s *Store) Build(id string) (b Build, err error) {
	err = s.View(func(tx *Tx) error {
		b, err = tx.Build(id)
		return err
	})
	return b, err
}

// ErrDone says that a build is over and cannot change.
var ErrDone = errors.New("the build is over")

// ChangeBuild lets fn change a build that is not over, and gives what it became. The error wraps ErrDone if it is over.
// fn must do the same when it runs again.
func (s *Store) ChangeBuild(id string, fn func(*Build) error) (b Build, err error) {
	err = s.Update(func(tx *Tx) error {
		b, err = tx.ChangeBuild(id, fn)
		return err
	})
	return b, err
}

// ChangeBuild lets fn change a build that is not over: see Store.ChangeBuild.
func (tx *Tx) ChangeBuild(id string, fn func(*Build) error) (Build, error) {
	b, err := tx.Build(id)
	if err != nil {
		return b, err
	}
	if b.Done() {
		return b, fmt.Errorf("build %s: %w", id, ErrDone)
	}
	if err := fn(&b); err != nil {
		return b, err
	}
	return b, tx.setBuild(&b)
}

// End records a build's end, and COMPLETED begins. Phases that were under way end with the build; if it succeeded or
// failed, they were broken off.
func (b *Build) End(status Status, at time.Time) {
	broken := status
	if status == Succeeded || status == Failed {
		broken = Stopped
	}
	for i := range b.Phases {
		if p := &b.Phases[i]; p.End.IsZero() {
			p.End, p.Status = at, broken
		}
		for j := range b.Phases[i].Commands {
			if c := &b.Phases[i].Commands[j]; c.End.IsZero() {
				c.End, c.Exit = at, -1
			}
		}
	}
	b.Phases = append(b.Phases, Phase{Type: PhaseCompleted, Start: at})
	b.Status, b.Ended = status, at
}

// RequestStop asks for a build's end. One that waits in the queue ends at once; asking again changes nothing. The error
// wraps ErrDone if it is over.
func (tx *Tx) RequestStop(id, by string) (Build, error) {
	now := tx.store.Now()
	return tx.ChangeBuild(id, func(b *Build) error {
		if b.Stop == nil {
			b.Stop = &Stop{By: by, At: now}
		}
		if b.Queued() {
			b.Leave(PhaseQueued, now, Stopped, "", "Stopped by "+b.Stop.By+".")
			b.End(Stopped, now)
		}
		return nil
	})
}

// QueuedBuilds are the builds that wait for a slot, oldest first, at most max.
func (tx *Tx) QueuedBuilds(max int) ([]Build, error) { return tx.listed(bucketQueued, max) }

// RunningBuilds are the builds that have a slot and are not over, oldest first.
func (tx *Tx) RunningBuilds() ([]Build, error) { return tx.listed(bucketRunning, -1) }

func (tx *Tx) listed(bucket []byte, max int) ([]Build, error) {
	var list []Build
	c := tx.bucket(bucket).Cursor()
	for key, id := c.First(); key != nil && len(list) != max; key, id = c.Next() {
		b, err := tx.Build(string(id))
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	return list, nil
}

// QueueLength is how many builds wait for a slot, and how many have one.
func (tx *Tx) QueueLength() (queued, running int) {
	return tx.bucket(bucketQueued).Stats().KeyN, tx.bucket(bucketRunning).Stats().KeyN
}

// Builds are the newest builds before the given number, at most max; 0 for the newest of all. An empty project stands for
// every project.
func (tx *Tx) Builds(project string, before uint64, max int) ([]Build, error) {
	var list []Build
	err := tx.backwards(bucketOrder, before, func(_, id []byte) (bool, error) {
		b, err := tx.Build(string(id))
		if err == nil && (project == "" || b.Project == project) {
			list = append(list, b)
		}
		return len(list) < max, err
	})
	return list, err
}

// OfCommit are the builds and notices of a commit, oldest first.
func (tx *Tx) OfCommit(r Repo, commit string) (builds []Build, notices []Notice, err error) {
	prefix := commitKey(r, commit)
	c := tx.bucket(bucketCommits).Cursor()
	for key, id := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, id = c.Next() {
		if n, ok, err := tx.Notice(string(id)); err != nil {
			return nil, nil, err
		} else if ok {
			notices = append(notices, n)
			continue
		}
		b, err := tx.Build(string(id))
		if errors.Is(err, ErrNotFound) {
			continue // swept
		}
		if err != nil {
			return nil, nil, err
		}
		builds = append(builds, b)
	}
	return builds, notices, nil
}

// CommitsLike are the commits of a repository with builds or notices whose hashes begin with a text, at most max.
func (tx *Tx) CommitsLike(r Repo, prefix string, max int) (commits []string) {
	repo := r.Key() + "\x00"
	begin := []byte(repo + prefix)
	c := tx.bucket(bucketCommits).Cursor()
	for key, _ := c.Seek(begin); bytes.HasPrefix(key, begin) && len(commits) < max; {
		commit, _, _ := strings.Cut(string(key[len(repo):]), "\x00")
		commits = append(commits, commit)
		key, _ = c.Seek(append(commitKey(r, commit), 0xff)) // behind the others of this commit
	}
	return commits
}

// Spec is the text of a build's buildspec, nil if it is not known.
func (tx *Tx) Spec(id string) []byte { return slices.Clone(tx.bucket(bucketSpecs).Get([]byte(id))) }

// SetSpec keeps the text of a build's buildspec.
func (tx *Tx) SetSpec(id string, text []byte) error {
	return tx.bucket(bucketSpecs).Put([]byte(id), text)
}

// AddNotice makes a notice: the caller has set what it says; the rest is set here.
func (tx *Tx) AddNotice(p Project, n Notice) (Notice, error) {
	n.ID, n.Created = uuid.NewString(), tx.store.Now()
	n.Project, n.ProjectKey, n.Repo = p.Name, p.Key, p.Repo
	if err := tx.indexCommit(n.Repo, n.Trigger.Commit, n.ID); err != nil {
		return n, err
	}
	if err := tx.bucket(bucketUnsaid).Put([]byte(n.ID), nil); err != nil {
		return n, err
	}
	return n, put(tx, bucketNotices, []byte(n.ID), n)
}

// Notice is a notice; ok is false if there is none of that id.
func (tx *Tx) Notice(id string) (n Notice, ok bool, err error) {
	return get[Notice](tx, bucketNotices, []byte(id))
}

// SetRerunBy records which build repeated one that is over.
func (tx *Tx) SetRerunBy(id, by string) error {
	b, err := tx.Build(id)
	if err != nil {
		return err
	}
	b.RerunBy = by
	return tx.setBuild(&b)
}

// IDsSince are the ids of the builds made after the one of the given number, and the number of the last build.
func (tx *Tx) IDsSince(seq uint64) (ids []string, last uint64) {
	c := tx.bucket(bucketOrder).Cursor()
	last = seq
	for key, id := c.Seek(number(seq + 1)); key != nil; key, id = c.Next() {
		ids, last = append(ids, string(id)), decodeNumber(key)
	}
	return ids, last
}

// Backlog is how many deliveries nobody has decided on, and of how many builds and notices a forge may have to be told.
func (tx *Tx) Backlog() (deliveries, subjects int) {
	return tx.bucket(bucketPending).Stats().KeyN, tx.bucket(bucketUnsaid).Stats().KeyN
}
