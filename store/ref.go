package store

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// A Ref is what is remembered of a branch or tag of a repository whose forge is looked at: what it was last known to be at, whether a
// delivery told of it or a look. Hashes are full; an empty one stands for the ref not being there.
type Ref struct {
	Hash  string
	Past  []string   `json:",omitempty"` // what it was at before, oldest first, at most maxPast
	Found []FoundRef `json:",omitempty"` // what was found by looking, and whose own delivery may come late
	At    time.Time  // when this was written
}

// A FoundRef is a commit that a ref was found at.
type FoundRef struct {
	Hash string
	At   time.Time
}

const (
	// maxPast is how many commits are remembered that a ref was at.
	maxPast = 20
	// LateTime is how long a delivery may be under way whose push was found meanwhile. One that comes later tells of another push.
	LateTime = 24 * time.Hour
	// keepLooks is how long it is remembered how a repository stood that is looked at no longer.
	keepLooks = 30 * 24 * time.Hour
)

// Move notes a change of the ref. One that seems to have happened before what is known, for deliveries come in any order, leaves the
// hash as it is. That may be wrong: the next look will tell.
func (f *Ref) Move(before, after string) {
	late := slices.Contains(f.Past, before) || after != "" && slices.Contains(f.Past, after) ||
		after == "" && before != "" && f.Hash != "" // what was deleted was something else
	switch {
	case f.Hash == after:
	case f.Hash != before && late:
		f.pass(after)
	default:
		f.pass(f.Hash)
		f.Hash = after
	}
	f.pass(before)
}

// pass notes what the ref was at before.
func (f *Ref) pass(hash string) {
	if slices.Contains(f.Past, hash) {
		return
	}
	f.Past = append(f.Past, hash)
	f.Past = f.Past[max(0, len(f.Past)-maxPast):]
}

// Late reports whether what a delivery tells, which came at a time, was found before, and forgets that: the next one tells of a push
// that made the ref what it once was.
func (f *Ref) Late(hash string, came time.Time) bool {
	n := slices.IndexFunc(f.Found, func(o FoundRef) bool { return o.Hash == hash && came.Sub(o.At) < LateTime })
	if n < 0 {
		return false
	}
	f.Found = slices.Delete(f.Found, n, n+1)
	return true
}

func refKey(r Repo, name string) []byte { return []byte(r.Key() + "\x00" + name) }

// Ref is what is remembered of a ref; the zero Ref if nothing is.
func (tx *Tx) Ref(r Repo, name string) (Ref, error) {
	f, _, err := get[Ref](tx, bucketForgeRefs, refKey(r, name))
	return f, err
}

// SetRef remembers a ref. One that is gone, and was not found at anything that a late delivery may tell of, is removed.
func (tx *Tx) SetRef(r Repo, name string, f Ref) error {
	f.At = tx.store.Now()
	f.Found = slices.DeleteFunc(slices.Clone(f.Found), func(o FoundRef) bool { return f.At.Sub(o.At) >= LateTime })
	if f.Hash == "" && len(f.Found) == 0 {
		return tx.bucket(bucketForgeRefs).Delete(refKey(r, name))
	}
	return put(tx, bucketForgeRefs, refKey(r, name), f)
}

// RefsOf are the refs of a repository that are not gone, with their hashes.
func (tx *Tx) RefsOf(r Repo) (map[string]string, error) {
	refs := map[string]string{}
	prefix := refKey(r, "")
	c := tx.bucket(bucketForgeRefs).Cursor()
	for key, _ := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		f, _, err := get[Ref](tx, bucketForgeRefs, key)
		if err != nil {
			return nil, err
		}
		if f.Hash != "" {
			refs[string(key[len(prefix):])] = f.Hash
		}
	}
	return refs, nil
}

// A Look is what is remembered of the looks at a repository.
type Look struct {
	First   time.Time // when it was first seen how it stood, of which nothing is built
	Last    time.Time // when all that had come to be different was last seen to
	Tried   time.Time // when it was last asked how it stands, whatever came of that
	Problem string    `json:",omitempty"` // why it could not be seen then
	// Pulls are the open pull requests by their numbers.
	Pulls map[int]PullLook `json:",omitempty"`
}

// A PullLook is when the comments on a pull request were last read.
type PullLook struct {
	Updated time.Time // when the pull request had changed last, by the forge's clock
	At      time.Time
}

// Look is what is remembered of the looks at a repository; the zero Look if there was none.
func (tx *Tx) Look(r Repo) (Look, error) {
	l, _, err := get[Look](tx, bucketLooks, []byte(r.Key()))
	return l, err
}

// SetLook remembers a look at a repository.
func (tx *Tx) SetLook(r Repo, l Look) error { return put(tx, bucketLooks, []byte(r.Key()), l) }

// sweepLooks forgets how repositories stood that nobody has looked at or told of for keepLooks: should one be looked at again, what
// happened meanwhile is not built. It forgets refs that are gone, once no delivery of them can come late.
func (s *Store) sweepLooks() error {
	now := s.Now()
	return s.Update(func(tx *Tx) error {
		last := map[string]time.Time{} // by key of the repository
		if err := tx.bucket(bucketLooks).ForEach(func(key, _ []byte) error {
			l, _, err := get[Look](tx, bucketLooks, key)
			last[string(key)] = l.Tried
			return err
		}); err != nil {
			return err
		}
		refs := map[string][]string{}
		if err := tx.bucket(bucketForgeRefs).ForEach(func(key, _ []byte) error {
			f, _, err := get[Ref](tx, bucketForgeRefs, key)
			repo, _, _ := strings.Cut(string(key), "\x00")
			if f.At.After(last[repo]) {
				last[repo] = f.At
			}
			if f.Hash == "" && now.Sub(f.At) >= LateTime {
				repo = ""
			}
			refs[repo] = append(refs[repo], string(key))
			return err
		}); err != nil {
			return err
		}
		gone := refs[""]
		for repo, at := range last {
			if now.Sub(at) <= keepLooks {
				continue
			}
			gone = append(gone, refs[repo]...)
			if err := tx.bucket(bucketLooks).Delete([]byte(repo)); err != nil {
				return err
			}
		}
		for _, key := range gone {
			if err := tx.bucket(bucketForgeRefs).Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
}
