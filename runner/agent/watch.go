package agent

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// A watch tells when a file has been written to, through the kernel's inotify, which sees writes from other mount
// namespaces too.
type watch struct {
	file *os.File
}

func newWatch(path string) (*watch, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_MODIFY); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("inotify_add_watch", err)
	}
	return &watch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// Wait returns nil when the file has been written to since the last call, and after at most the given time; else ctx's cause.
func (w *watch) Wait(ctx context.Context, most time.Duration) error {
	w.file.SetReadDeadline(time.Now().Add(most))
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Now()) })
	defer stop()
	var buf [4096]byte
	_, err := w.file.Read(buf[:])
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (w *watch) Close() error { return w.file.Close() }
