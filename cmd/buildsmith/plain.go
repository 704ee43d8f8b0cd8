package main

import (
	"io"

	"buildsmith/checks"
)

// plainWriter keeps from a terminal what could steer it or deceive its reader: titles, messages and the output of commands
// come from whoever may push.
type plainWriter struct{ io.Writer }

func (w plainWriter) Write(text []byte) (int, error) {
	if _, err := io.WriteString(w.Writer, checks.Plain(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}
