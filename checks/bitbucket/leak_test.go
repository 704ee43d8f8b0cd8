package bitbucket

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestHide finds a token in every form in which a proxy may repeat what it was told, also where the text is cut.
func TestHide(t *testing.T) {
	c := &credential{Credential: Credential{Token: "ATCTT3x=F/a b", Email: "a@example.org"}}
	for _, form := range []string{c.Token, url.QueryEscape(c.Token), url.PathEscape(c.Token), base64.StdEncoding.EncodeToString([]byte(c.Email + ":" + c.Token))} {
		if got := c.hide("refused " + form + " here"); got != "refused … here" {
			t.Errorf("%q", got)
		}
	}
	h := &Host{Config: Config{API: "https://h/2.0"}}
	h.api = cloud{h}
	text := `{"error":{"message":"` + strings.Repeat("x", 290) + ` ` + strings.Repeat("secret", 5) + `"}}`
	c.Token = strings.Repeat("secret", 5)
	if err := h.tellApart(c, request{method: "GET", path: "/x"}, &http.Response{StatusCode: 400, Header: http.Header{}}, []byte(text)); strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// TestWithin lets no address out of that of the API, however it is written.
func TestWithin(t *testing.T) {
	base, err := url.Parse("https://git.example.org/bitbucket/rest")
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{base: base}
	for address, want := range map[string]bool{
		"https://git.example.org/bitbucket/rest/api/latest/x":      true,
		"https://git.example.org/bitbucket/rest/a%2Fb/..c":         true,
		"https://git.example.org/bitbucket/rest/../jira":           false,
		"https://git.example.org/bitbucket/rest/%2e%2E/jira":       false,
		"https://git.example.org/bitbucket/rest/.%2e/.%2e/jira":    false,
		"https://git.example.org/bitbucket/rest/..%2f..%2fjira":    false,
		"https://git.example.org/bitbucket/rest/..%5c..%5cjira":    false,
		"https://git.example.org/bitbucket/rest/x/..":              false,
		"https://git.example.org/bitbucket/restless":               false,
		"https://git.example.org:8443/bitbucket/rest/api/latest/x": false,
		"http://git.example.org/bitbucket/rest/api/latest/x":       false,
		"https://x@git.example.org/bitbucket/rest/api/latest/x":    false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.within(u); got != want {
			t.Errorf("within(%s) = %v", address, got)
		}
	}
}
