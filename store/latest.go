package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"

	"go.etcd.io/bbolt"
)

func latestKey(project, ref string) []byte { return []byte(project + "\x00" + ref) }

// ofRef reports whether a build tells how its ref stands: it built the ref itself, no pull request of it and no other
// repository's commit.
func (b *Build) ofRef() bool {
	t := &b.Trigger
	return t.HeadRef != "" && t.PullRequest == 0 && !t.Fork
}

// setLatest remembers the newest build of a ref.
func (tx *Tx) setLatest(b *Build) error {
	if !b.ofRef() {
		return nil
	}
	key := latestKey(b.ProjectKey, b.Trigger.HeadRef)
	if now := tx.bucket(bucketLatest).Get(key); len(now) > 8 && decodeNumber(now) >= b.Seq {
		return nil
	}
	return tx.bucket(bucketLatest).Put(key, append(number(b.Seq), b.ID...))
}

// forgetLatest forgets a build that is about to be removed.
func (tx *Tx) forgetLatest(b *Build) error {
	key := latestKey(b.ProjectKey, b.Trigger.HeadRef)
	if now := tx.bucket(bucketLatest).Get(key); !bytes.Equal(now, append(number(b.Seq), b.ID...)) {
		return nil
	}
	return tx.bucket(bucketLatest).Delete(key)
}

// Latest is the newest build of a project's ref; ok is false if there is none, or it is kept no longer. Builds of pull requests
// and of other repositories' commits do not count.
func (tx *Tx) Latest(projectKey, ref string) (b Build, ok bool, err error) {
	at := tx.bucket(bucketLatest).Get(latestKey(projectKey, ref))
	if len(at) <= 8 {
		return b, false, nil
	}
	b, err = tx.Build(string(at[8:]))
	if errors.Is(err, ErrNotFound) {
		return b, false, nil
	}
	return b, err == nil, err
}

func repoNameKey(forge, name string) []byte { return []byte(forge + "\x00" + strings.ToLower(name)) }

// nameRepo makes a repository known by its name.
func (tx *Tx) nameRepo(r Repo) error {
	if r.Name == "" || len(r.Name) > maxRepoName {
		return nil
	}
	return tx.bucket(bucketRepoNames).Put(repoNameKey(r.Forge, r.Name), []byte(r.Key()))
}

// tookName gives the key of another repository that had a repository's name before and is there still, under another name; empty
// if there is none. What is given to the name is not meant for whoever takes it.
func (tx *Tx) tookName(r Repo) (string, error) {
	if len(r.Name) > maxRepoName {
		return "", nil
	}
	before := string(tx.bucket(bucketRepoNames).Get(repoNameKey(r.Forge, r.Name)))
	if before == "" || before == r.Key() {
		return "", nil
	}
	other, ok, err := get[RepoState](tx, bucketRepos, []byte(before))
	if err != nil || !ok || other.Gone || other.Took == r.Key() || other.Repo.Host != r.Host {
		return "", err
	}
	return before, nil
}

// TookName gives the repository that had a repository's name before, and is there still under another; the zero Repo if none has.
func (tx *Tx) TookName(r Repo) (Repo, error) {
	state, err := tx.RepoState(r.Key())
	if err != nil || state.Took == "" {
		return Repo{}, err
	}
	other, err := tx.RepoState(state.Took)
	if err != nil || other.Gone {
		return Repo{}, err
	}
	return other.Repo, nil
}

// maxRepoName is how long a name may be that a repository is found by. No forge has longer ones.
const maxRepoName = 500

// RepoByName is what is known of the repository that has a name now; ok is false if there is none. Case does not matter.
func (tx *Tx) RepoByName(forge, name string) (state RepoState, ok bool, err error) {
	if len(name) > maxRepoName {
		return state, false, nil
	}
	key := tx.bucket(bucketRepoNames).Get(repoNameKey(forge, name))
	if key == nil {
		return state, false, nil
	}
	state, ok, err = get[RepoState](tx, bucketRepos, key)
	return state, ok && strings.EqualFold(state.Repo.Name, name) && !state.Gone, err // it may have got another name since
}

// ProjectsOf are the projects of a repository, the one that it has by itself first; at most max.
func (tx *Tx) ProjectsOf(r Repo, max int) ([]Project, error) {
	var list []Project
	own, ok, err := get[Project](tx, bucketProjects, []byte(r.Key()))
	if err != nil {
		return nil, err
	}
	if ok {
		list = append(list, own)
	}
	prefix := []byte(r.Key() + "/")
	c := tx.bucket(bucketProjects).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix) && len(list) < max; key, _ = c.Next() {
		p, _, err := get[Project](tx, bucketProjects, key)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// BadgeKey is the k of a repository's badges: whoever has it sees how its branches stand and nothing else, until the epoch of
// the repository is raised.
func (tx *Tx) BadgeKey(r Repo) (string, error) {
	state, err := tx.RepoState(r.Key())
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, tx.bucket(bucketMeta).Get([]byte("link-key")))
	mac.Write([]byte("badge\x00" + r.Key() + "\x00"))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(state.Epoch)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]), nil
}

// fillLatest finds the newest build of each ref, those that are not over, and the names of repositories, in a database of an older release.
func (s *Store) fillLatest(btx *bbolt.Tx) error {
	tx := &Tx{btx, s}
	if err := tx.bucket(bucketRepos).ForEach(func(key, _ []byte) error {
		state, _, err := get[RepoState](tx, bucketRepos, key)
		if err != nil {
			return err
		}
		return tx.nameRepo(state.Repo)
	}); err != nil {
		return err
	}
	return tx.bucket(bucketBuilds).ForEach(func(id, _ []byte) error {
		b, err := tx.Build(string(id))
		if err != nil {
			return err
		}
		return errors.Join(tx.setLatest(&b), tx.setOpen(&b))
	})
}
