package github_test

import (
	"net/http"
	"slices"
	"testing"

	"buildsmith/webhook/webhooktest"
)

// TestMatched tells which secret signed, and nothing of what nobody signed.
func TestMatched(t *testing.T) {
	var matched []int
	c := config
	c.Matched = func(n int) { matched = append(matched, n) }
	for _, secret := range []string{"It's a Secret to Everybody", "new secret", "another", "new secret"} {
		h := http.Header{}
		h.Set("X-Hub-Signature-256", webhooktest.Sign(secret, "text"))
		signed, err := c.Verify(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := signed([]byte("text")); (err == nil) != (secret != "another") {
			t.Error(err)
		}
	}
	if !slices.Equal(matched, []int{1, 0, 0}) {
		t.Errorf("%v", matched)
	}
}
