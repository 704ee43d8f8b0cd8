package agent

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// An outputPipe is what all commands of a build write to, both outputs alike, so that what they print keeps its order.
type outputPipe struct {
	write *os.File
	read  *os.File // never blocks

	mu  sync.Mutex // held while something is between the pipe and to
	to  io.Writer
	buf []byte
}

// pipeSize is what the kernel allows anybody.
const pipeSize = 1 << 20

func newOutputPipe(to io.Writer) (*outputPipe, error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ; a smaller pipe is slower and no worse
	_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[0]), setPipeSize, pipeSize)
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &outputPipe{
		write: os.NewFile(uintptr(fds[1]), "output"),
		read:  os.NewFile(uintptr(fds[0]), "output"),
		to:    to,
		buf:   make([]byte, 256<<10),
	}
	go p.pump()
	return p, nil
}

// pump passes output on as long as the process lasts: the write end stays open here.
func (p *outputPipe) pump() {
	conn, err := p.read.SyscallConn()
	if err != nil {
		return
	}
	for {
		var n int
		err := conn.Read(func(fd uintptr) bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			n, err = p.passLocked(int(fd), len(p.buf))
			return !errors.Is(err, syscall.EAGAIN)
		})
		if err != nil || n == 0 {
			return
		}
	}
}

// passLocked reads once, at most the given number of bytes, and passes on what it got.
func (p *outputPipe) passLocked(fd, most int) (int, error) {
	for {
		n, err := syscall.Read(fd, p.buf[:min(most, len(p.buf))])
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if n > 0 {
			_, _ = p.to.Write(p.buf[:n])
		}
		return n, err
	}
}

// drain returns when all that was in the pipe at the call has been passed on. What a process left behind writes from
// then on is not waited for.
func (p *outputPipe) drain() {
	conn, err := p.read.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		p.mu.Lock()
		defer p.mu.Unlock()
		var waiting int32
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&waiting))); errno != 0 {
			return
		}
		for left := int(waiting); left > 0; {
			n, err := p.passLocked(int(fd), left)
			if err != nil || n == 0 {
				return
			}
			left -= n
		}
	})
}
