// Package forgetest is what the fakes of all forges are made of, so that each has to add only what its forge does in its
// own way: repositories that git itself keeps and serves, requests that fail on demand or at random, deliveries that are
// lost, late or repeated, the description of an API that requests are checked against, and the addresses and the command
// line by which other programs drive a fake.
//
// Nothing of it is for anything but loopback addresses.
package forgetest

import (
	"crypto/rand"
	"encoding/hex"
)

// RandomHex returns n random bytes in hexadecimal digits.
func RandomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// NewGUID returns a random identifier in the usual form.
func NewGUID() string {
	h := RandomHex(16)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
}

// ListOf makes an empty list of none, so that JSON says [] and not null.
func ListOf[T any](list []T) []T { return append([]T{}, list...) }
