package store

import (
	"encoding/json"
	"time"
)

// A Sent is one attempt of a forge to deliver, as the forge remembers it.
type Sent struct {
	Attempt   int64  // the forge's number of the attempt
	ID        string // of the delivery: the same for all attempts
	Event     string
	At        time.Time
	Delivered bool // it was answered with success
}

// Seen reports whether a delivery with the forge's id came before, whatever became of it.
func (tx *Tx) Seen(forge, host, id string) bool {
	return tx.bucket(bucketDeliveryIDs).Get(deliveryID(&Delivery{Forge: forge, Host: host, ID: id})) != nil
}

// A HookState is what is known of a forge's webhook.
type HookState struct {
	Ping time.Time // when the forge last tried it out
	// Looked is when the forge's log of deliveries was last read to its end, or its repositories were last looked at.
	Looked time.Time
	// Secret says which of the configured secrets signed the last delivery, by its place among them from 0, and Used when.
	Secret int
	Used   time.Time
	Former time.Time // when another one than the first last signed
}

func hookKey(forge, host string) []byte { return []byte("hook/" + forge + "/" + host) }

// Hook is what is known of a forge's webhook; nothing, if nothing is.
func (tx *Tx) Hook(forge, host string) (h HookState, err error) {
	text := tx.bucket(bucketMeta).Get(hookKey(forge, host))
	if text == nil {
		return h, nil
	}
	err = json.Unmarshal(text, &h)
	return h, err
}

// ChangeHook lets fn change what is known of a forge's webhook.
func (tx *Tx) ChangeHook(forge, host string, fn func(*HookState)) error {
	h, err := tx.Hook(forge, host)
	if err != nil {
		return err
	}
	fn(&h)
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return tx.bucket(bucketMeta).Put(hookKey(forge, host), text)
}
