package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestVerifySignature(t *testing.T) {
	const body = "Hello World!"
	sign := func(secret string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	for _, tt := range []struct {
		sent, want string
		matched    int
	}{
		{sign("new"), "", 0},
		{sign("old"), "", 1},
		{"sha256=" + strings.ToUpper(strings.TrimPrefix(sign("old"), "sha256=")), "", 1},
		{sign("another"), "the signature is wrong", -1},
		{sign(""), "the signature is wrong", -1},
		{"", "the delivery is not signed", -1},
		{"sha1=aabb", "the delivery is not signed", -1},
		{strings.TrimPrefix(sign("new"), "sha256="), "the delivery is not signed", -1},
		{"sha256=", "the signature is wrong", -1},
		{"sha256=aabb", "the signature is wrong", -1},
		{sign("new") + "00", "the signature is wrong", -1},
		{"sha256=zz", "the signature is no hexadecimal number", -1},
	} {
		matched, got := -1, ""
		signed, err := VerifySignature(tt.sent, []string{"new", "old"}, func(n int) { matched = n })
		if err == nil {
			err = signed([]byte(body))
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || matched != tt.matched {
			t.Errorf("%q: %q by secret %d, want %q by %d", tt.sent, got, matched, tt.want, tt.matched)
		}
	}
	signed, err := VerifySignature(sign("new"), []string{"new"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(signed([]byte(body)), signed([]byte(body))); err != nil {
		t.Errorf("without anybody to tell: %v", err)
	}
	if err := signed([]byte(body + " ")); err == nil {
		t.Error("another body is taken")
	}
	if _, err := VerifySignature(sign("new"), nil, nil); !errors.Is(err, ErrNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}
