package store

import "time"

// A WaitingSandbox was started for a build to come. No sandbox serves two.
type WaitingSandbox struct {
	Sandbox
	Profile string // builds of an equal profile may take it
	Made    time.Time
}

// OfferSandbox makes a sandbox known that waits for a build.
func (tx *Tx) OfferSandbox(w WaitingSandbox) error {
	return put(tx, bucketSandboxes, []byte(w.ID), w)
}

// WaitingSandboxes are the sandboxes that wait for a build.
func (tx *Tx) WaitingSandboxes() ([]WaitingSandbox, error) {
	var list []WaitingSandbox
	err := tx.bucket(bucketSandboxes).ForEach(func(id, _ []byte) error {
		w, _, err := get[WaitingSandbox](tx, bucketSandboxes, id)
		list = append(list, w)
		return err
	})
	return list, err
}

// WithdrawSandbox makes sure that no build will take a waiting sandbox; false if one has.
func (tx *Tx) WithdrawSandbox(id string) (bool, error) {
	if tx.bucket(bucketSandboxes).Get([]byte(id)) == nil {
		return false, nil
	}
	return true, tx.bucket(bucketSandboxes).Delete([]byte(id))
}

// takeSandbox gives the oldest sandbox that waits with the profile, or the zero Sandbox.
func (tx *Tx) takeSandbox(profile string) (sandbox Sandbox, warm bool, err error) {
	waiting, err := tx.WaitingSandboxes()
	if err != nil {
		return sandbox, false, err
	}
	var best *WaitingSandbox
	for i, w := range waiting {
		if w.Profile == profile && (best == nil || w.Made.Before(best.Made)) {
			best = &waiting[i]
		}
	}
	if best == nil || profile == "" {
		return sandbox, false, nil
	}
	return best.Sandbox, true, tx.bucket(bucketSandboxes).Delete([]byte(best.ID))
}

// SetObstacle records why no build can begin, for people to read; empty if nothing keeps them from it.
func (tx *Tx) SetObstacle(text string) error {
	return tx.bucket(bucketMeta).Put([]byte("obstacle"), []byte(text))
}

// Obstacle is why no build can begin, empty if nothing keeps them from it.
func (tx *Tx) Obstacle() string { return string(tx.bucket(bucketMeta).Get([]byte("obstacle"))) }
