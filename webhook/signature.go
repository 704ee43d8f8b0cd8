package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// VerifySignature authenticates a delivery by what a header says of its body: sha256= and the HMAC-SHA256 of the raw bytes by one of
// the secrets, in hexadecimal digits. A header that cannot be one is refused before there is a body; the error is ErrNoSecret if there
// is no secret. The func that it gives is for the body, and tells matched, which may be nil, which of the secrets it was.
func VerifySignature(sent string, secrets []string, matched func(secret int)) (signed func(body []byte) error, err error) {
	if len(secrets) == 0 {
		return nil, ErrNoSecret
	}
	digits, ok := strings.CutPrefix(sent, "sha256=")
	if !ok {
		return nil, errors.New("the delivery is not signed")
	}
	signature, err := hex.DecodeString(digits)
	if err != nil {
		return nil, errors.New("the signature is no hexadecimal number")
	}
	if len(signature) != sha256.Size {
		return nil, errors.New("the signature is wrong")
	}
	return func(body []byte) error {
		found := -1
		for n, secret := range secrets {
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write(body)
			if hmac.Equal(mac.Sum(nil), signature) && found < 0 {
				found = n
			}
		}
		if found < 0 {
			return errors.New("the signature is wrong")
		}
		if matched != nil {
			matched(found)
		}
		return nil
	}, nil
}
