package bitbucket_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"buildsmith/checks/bitbucket"
)

// TestAdvice says what to look at where a Bitbucket is not what the configuration says.
func TestAdvice(t *testing.T) {
	nothing := httptest.NewServer(http.NotFoundHandler())
	defer nothing.Close()
	for name, tt := range map[string]struct {
		change func(*bitbucket.Config)
		want   string
	}{
		"a wrong name":    {func(c *bitbucket.Config) { c.Credentials[0].Repositories = []string{"otco/shop"} }, "look at its name, at what the token is for, and at url and kind"},
		"the wrong kind":  {func(c *bitbucket.Config) { c.DataCenter, c.API = true, nothing.URL+"/rest" }, "look at url, with the path below which Bitbucket lies, and at kind"},
		"nobody is there": {func(c *bitbucket.Config) { c.API = "http://127.0.0.1:1/2.0" }, "look at url, DNS, firewall and proxy"},
	} {
		b := newBench(t, func(_ *bench, c *bitbucket.Config) { tt.change(c) })
		if said := fmt.Sprint(b.host.Examine(t.Context())); !strings.Contains(said, tt.want) {
			t.Errorf("%s: %s", name, said)
		}
	}
}
