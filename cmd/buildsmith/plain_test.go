package main

import (
	"strings"
	"testing"
)

func TestPlainWriter(t *testing.T) {
	var out strings.Builder
	text := "\x1b[31mred\x1b[0m \x1b]0;title\x07a\u202eb\x9b\x07\tc é\n"
	if n, err := (plainWriter{&out}).Write([]byte(text)); n != len(text) || err != nil || out.String() != "red ab\tc é\n" {
		t.Errorf("%d, %v: %q", n, err, out.String())
	}
}
