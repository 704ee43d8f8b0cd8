package cache

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// chunkSize is about how much of the tar stream is packed at once. Larger ones compress a little better, smaller ones keep more
	// processors busy and less memory.
	chunkSize = 2 << 20
	// largeFile is the size from which a file is cut in pieces of its own.
	largeFile = 1 << 20
	// maxFrame is how many bytes a frame may have, packed or not. Pack makes none of more than half of it.
	maxFrame = 8 << 20
)

// magic begins each frame's prefix: a skippable frame of four bytes, which are the length of the frame behind it.
const (
	magic      = "\x50\x2a\x4d\x18\x04\x00\x00\x00"
	prefixSize = len(magic) + 4
)

// workers is how many goroutines share the work.
func workers() int { return min(max(runtime.GOMAXPROCS(0), 2), 8) }

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// A frames reads an archive as the tar stream in it. Several frames are unpacked at once.
type frames struct {
	order  chan *frame // in the order of the archive
	cancel context.CancelFunc
	wait   sync.WaitGroup
	now    *frame
	rest   []byte // of now
	err    error
}

type frame struct {
	packed, raw *[]byte
	done        chan struct{}
	err         error
}

// newFrames begins to read and unpack. Close ends it.
func newFrames(ctx context.Context, r io.Reader) (*frames, error) {
	n := workers()
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(n), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &frames{order: make(chan *frame, n), cancel: cancel}
	f.wait.Go(func() {
		defer decoder.Close()
		var unpacking sync.WaitGroup
		defer unpacking.Wait()
		defer close(f.order)
		for {
			next := &frame{done: make(chan struct{})}
			next.packed, next.err = readFrame(r)
			if next.err == io.EOF {
				return
			}
			select {
			case f.order <- next:
			case <-ctx.Done():
				return
			}
			if next.err != nil {
				close(next.done)
				return
			}
			unpacking.Go(func() {
				defer close(next.done)
				next.raw = buffers.Get().(*[]byte)
				*next.raw, next.err = decoder.DecodeAll(*next.packed, (*next.raw)[:0])
				if next.err != nil {
					next.err = damaged("%v", next.err)
				}
				buffers.Put(next.packed)
			})
		}
	})
	return f, nil
}

// readFrame reads a frame and its prefix. The error is io.EOF between frames only.
func readFrame(r io.Reader) (*[]byte, error) {
	var prefix [prefixSize]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, short(err)
	}
	n := int(binary.LittleEndian.Uint32(prefix[len(magic):]))
	if string(prefix[:len(magic)]) != magic || n < 5 || n > maxFrame {
		return nil, damaged("it holds something that is no frame")
	}
	packed := buffers.Get().(*[]byte)
	*packed = grown((*packed)[:0], n)[:n]
	if _, err := io.ReadFull(r, *packed); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, short(err)
	}
	const checksum = 1 << 2 // RFC 8878, 3.1.1.1.1
	if (*packed)[4]&checksum == 0 {
		return nil, damaged("a frame has no checksum")
	}
	return packed, nil
}

func short(err error) error {
	if err == io.ErrUnexpectedEOF {
		return damaged("it ends too early")
	}
	return err
}

// grown returns b with room for n more bytes.
func grown(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return append(make([]byte, 0, len(b)+n), b...)
}

func (f *frames) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		if f.now != nil {
			buffers.Put(f.now.raw)
			f.now = nil
		}
		next, ok := <-f.order
		if !ok {
			f.err = io.EOF
			continue
		}
		<-next.done
		if next.err != nil {
			f.err = next.err
			continue
		}
		f.now, f.rest = next, *next.raw
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Close returns when nothing that newFrames started is left.
func (f *frames) Close() {
	f.cancel()
	f.wait.Wait()
}

// appendFrames packs a part of the tar stream.
func appendFrames(out []byte, encoder *zstd.Encoder, raw []byte) []byte {
	for len(raw) > 0 {
		n := min(len(raw), maxFrame/2) // what cannot be packed becomes a little longer
		begin := len(out)
		out = encoder.EncodeAll(raw[:n], append(out, magic+"\x00\x00\x00\x00"...))
		binary.LittleEndian.PutUint32(out[begin+len(magic):], uint32(len(out)-begin-prefixSize))
		raw = raw[n:]
	}
	return out
}
