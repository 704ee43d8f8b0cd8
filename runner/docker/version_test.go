package docker

import "testing"

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		version, than string
		want          bool
	}{
		{"20.10.24+dfsg1", Safe, true}, {"29.5.0", Safe, true}, {"29.5", Safe, true}, {"29.5.1", Safe, false}, {"29.10.0", Safe, false},
		{"v30.0.0-rc.1", Safe, false}, {"9.9.9", Safe, true}, {"", Safe, false}, {"dev", Safe, false},
	} {
		if got := Older(tt.version, tt.than); got != tt.want {
			t.Errorf("Older(%q, %q) = %v", tt.version, tt.than, got)
		}
	}
}
