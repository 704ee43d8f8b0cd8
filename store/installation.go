package store

import (
	"errors"
	"slices"
	"time"
)

// An Installation is what repositories of a forge are reached by, as the forge last told of it: the App's presence in an account, or
// a credential.
type Installation struct {
	Forge     string
	Host      string
	ID        int64
	Account   string            // login of the person or organisation
	Selection string            `json:",omitempty"` // all or selected: the repositories it is for
	Granted   map[string]string `json:",omitempty"` // permissions: checks => write
	Events    []string          `json:",omitempty"` // subscribed to
	Suspended bool              `json:",omitempty"`
	Removed   bool              `json:",omitempty"`
	Updated   time.Time         // when the forge told

	LastDelivery time.Time // when the last delivery of it came
	LastError    string    `json:",omitempty"` // the last refusal of a request of ours
	LastErrorAt  time.Time
}

func installationKey(forge, host string, id int64) []byte {
	return append([]byte(forge+"/"+host+"/"), number(uint64(id))...)
}

// Installation is what is known of an installation; ok is false if nothing is.
func (tx *Tx) Installation(forge, host string, id int64) (i Installation, ok bool, err error) {
	return get[Installation](tx, bucketInstallations, installationKey(forge, host, id))
}

// ChangeInstallation lets fn change what is known of an installation, which is made if it is new.
func (tx *Tx) ChangeInstallation(forge, host string, id int64, fn func(*Installation)) error {
	i, _, err := tx.Installation(forge, host, id)
	if err != nil {
		return err
	}
	i.Forge, i.Host, i.ID = forge, host, id
	fn(&i)
	return put(tx, bucketInstallations, installationKey(forge, host, id), i)
}

// Installations are all that are known, by account.
func (tx *Tx) Installations() ([]Installation, error) {
	var list []Installation
	err := tx.bucket(bucketInstallations).ForEach(func(key, _ []byte) error {
		i, _, err := get[Installation](tx, bucketInstallations, key)
		list = append(list, i)
		return err
	})
	slices.SortStableFunc(list, func(a, b Installation) int {
		if a.Account < b.Account {
			return -1
		}
		return 1
	})
	return list, err
}

// Reassign has every known repository of a forge reached by what of gives for it, unless that is 0: another one, if what a forge is reached
// by was configured otherwise.
func (tx *Tx) Reassign(forge, host string, of func(Repo) int64) error {
	var list []Repo
	err := tx.bucket(bucketRepos).ForEach(func(key, _ []byte) error {
		state, _, err := get[RepoState](tx, bucketRepos, key)
		r := state.Repo
		if r.Forge != forge || r.Host != host || r.ID == "" {
			return err
		}
		if id := of(r); id != 0 && id != r.Installation {
			r.Installation = id
			list = append(list, r)
		}
		return err
	})
	for _, r := range list {
		_, kept := tx.Repo(r)
		err = errors.Join(err, kept)
	}
	return err
}
