package docker

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// Safe is the first version of the engine whose copying of files out of containers does not run what a container brought.
const Safe = "29.5.1"

// Version is the engine's.
func (d *Docker) Version(ctx context.Context) (string, error) {
	v, err := d.api.ServerVersion(ctx)
	if err != nil {
		return "", fmt.Errorf("asking Docker for its version: %w", err)
	}
	return v.Version, nil
}

var versionForm = regexp.MustCompile(`^v?(\d+)\.(\d+)(?:\.(\d+))?`)

// Older reports whether a version is older than another. One that cannot be read is not.
func Older(version, than string) bool {
	a, b := versionForm.FindStringSubmatch(version), versionForm.FindStringSubmatch(than)
	if a == nil || b == nil {
		return false
	}
	for n := 1; n < 4; n++ {
		x, _ := strconv.Atoi(a[n]) // digits, or nothing
		y, _ := strconv.Atoi(b[n])
		if x != y {
			return x < y
		}
	}
	return false
}
