package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Names in the exchange directory.
const (
	eventsName    = "events"
	jobName       = "job"
	ArtifactsName = "artifacts.tar"
	CacheName     = "cache.tar.zst"
)

// Prepare makes the files of a new exchange directory and returns the inode number of events, which Open asks for.
// Calling it again for a directory that is complete changes nothing.
func Prepare(dir string) (inode uint64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	if err := syscall.Mkfifo(filepath.Join(dir, jobName), 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return 0, fmt.Errorf("making %s: %w", filepath.Join(dir, jobName), err)
	}
	for _, name := range []string{ArtifactsName, eventsName} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err != nil {
			return 0, err
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return 0, err
		}
		inode = info.Sys().(*syscall.Stat_t).Ino
	}
	return inode, nil
}

// handInterval is how often Hand looks whether the agent is there to read.
const handInterval = 5 * time.Millisecond

// Hand gives the job to the agent that waits at the exchange directory, which it will do as soon as the sandbox has
// started. It returns nil once the job is in the pipe with a reader at its other end; whether the agent has all of it is
// told by its event GotJob. A job may be handed again: an agent takes the first and no more.
func Hand(ctx context.Context, dir string, job Job) error {
	text, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("encoding the job: %w", err)
	}
	// The line feed before ends what a server wrote that died in the middle.
	text = append(append([]byte{'\n'}, text...), '\n')
	for {
		// An agent that has just seen the end of what somebody else wrote closes the pipe, and opens it again.
		if err := write(ctx, filepath.Join(dir, jobName), text); err == nil {
			return nil
		} else if !errors.Is(err, syscall.EPIPE) || ctx.Err() != nil {
			return fmt.Errorf("handing over the job: %w", err)
		}
	}
}

// write writes to a FIFO as soon as somebody reads it.
func write(ctx context.Context, name string, text []byte) error {
	fifo, err := openFIFO(ctx, name)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { fifo.SetWriteDeadline(time.Now()) })
	defer stop()
	if _, err = fifo.Write(text); err != nil {
		err = errors.Join(err, ctx.Err())
	}
	if closed := fifo.Close(); err == nil {
		err = closed
	}
	return err
}

// openFIFO opens a FIFO for writing as soon as somebody reads it.
func openFIFO(ctx context.Context, name string) (*os.File, error) {
	timer := time.NewTicker(handInterval)
	defer timer.Stop()
	for {
		f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err == nil {
			info, err := f.Stat()
			if err == nil && info.Mode().Type() != os.ModeNamedPipe {
				err = fmt.Errorf("%s is no FIFO", name)
			}
			if err != nil {
				f.Close()
				return nil, err
			}
			return f, nil
		}
		if !errors.Is(err, syscall.ENXIO) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
	}
}

// receive waits for the job.
func receive(dir string) (Job, error) {
	name := filepath.Join(dir, jobName)
	for {
		f, err := os.Open(name) // blocks until there is a writer
		if err != nil {
			return Job{}, err
		}
		text, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			return Job{}, fmt.Errorf("reading the job: %w", err)
		}
		for line := range bytes.Lines(text) {
			var job Job
			if json.Unmarshal(line, &job) == nil && job.Build != "" {
				return job, nil
			}
		}
	}
}
