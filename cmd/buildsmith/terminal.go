package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether somebody sits at the other end.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// lookAgain is how often whoever waits for a line looks whether it is to stop.
const lookAgain = 100 * time.Millisecond

// readSilently reads a line from a terminal, which does not show it. It ends when ctx does.
func readSilently(ctx context.Context, f *os.File) (line string, err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("asking at the terminal: %w", err)
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG // by lines, and Ctrl-C is a signal
	silent.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &silent); err != nil {
		return "", fmt.Errorf("asking at the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(fd, unix.TCSETSF, before)) }()
	var text strings.Builder
	buffer := make([]byte, 4096) // the longest line of a terminal
	for {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(lookAgain.Milliseconds()))
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case errors.Is(err, unix.EINTR) || err == nil && ready == 0:
			continue
		case err != nil:
			return "", fmt.Errorf("asking at the terminal: %w", err)
		}
		n, err := f.Read(buffer)
		text.Write(buffer[:n])
		switch {
		case errors.Is(err, io.EOF):
			return text.String(), nil
		case err != nil:
			return "", fmt.Errorf("asking at the terminal: %w", err)
		case strings.HasSuffix(text.String(), "\n"):
			return strings.TrimSuffix(text.String(), "\n"), nil
		}
	}
}
