package store

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
)

// deflateLevel is the standard one of zip programs.
const deflateLevel = 6

// deflaters are writers that were used before: making one takes longer than packing a small file.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, deflateLevel)
	if err != nil {
		panic(err) // the level is one
	}
	return w
}}

// deflater is a compressor for package zip.
func deflater(w io.Writer) (io.WriteCloser, error) {
	d := deflaters.Get().(*flate.Writer)
	d.Reset(w)
	return pooled{d}, nil
}

type pooled struct{ *flate.Writer }

func (p pooled) Close() error {
	err := p.Writer.Close()
	deflaters.Put(p.Writer)
	return err
}

// A zipper writes files into a zip archive in the order in which they are added, and compresses several at a time.
type zipper struct {
	zip   *zip.Writer
	queue chan *zipped
	slots chan struct{} // held while a file is compressed
	ended chan struct{} // closed when everything has been written

	list []Artifact // what was written; for use after finish
	err  error      // why writing ended early; for use after finish
}

// smallFile is the most bytes of a file that is kept in memory. Larger ones are compressed as they are read.
const smallFile = 1 << 20

// queuedFiles is how many files wait to be written at most.
const queuedFiles = 16

func newZipper(out io.Writer) *zipper {
	z := &zipper{zip: zip.NewWriter(out), queue: make(chan *zipped, queuedFiles), slots: make(chan struct{}, runtime.GOMAXPROCS(0)), ended: make(chan struct{})}
	z.zip.RegisterCompressor(zip.Deflate, deflater)
	go z.write()
	return z
}

// A zipped is a file on its way into the archive.
type zipped struct {
	header   *zip.FileHeader
	artifact Artifact
	content  []byte        // of a small file
	stream   io.Reader     // of a large one
	ready    chan struct{} // closed when a small file is compressed
	read     chan error    // told when a large file has been read, with what reading failed of
}

// add queues a file of the given content. An error is one of reading content; those of writing are told by finish.
func (z *zipper) add(header *zip.FileHeader, a Artifact, content io.Reader) error {
	f := &zipped{header: header, artifact: a}
	if a.Size > smallFile {
		f.stream, f.read = content, make(chan error, 1)
		z.queue <- f
		return <-f.read
	}
	f.content, f.ready = make([]byte, a.Size), make(chan struct{})
	if _, err := io.ReadFull(content, f.content); err != nil {
		return err
	}
	z.slots <- struct{}{}
	go func() {
		f.compress()
		close(f.ready)
		<-z.slots
	}()
	z.queue <- f
	return nil
}

// finish waits until everything is written and ends the archive.
func (z *zipper) finish() error {
	close(z.queue)
	<-z.ended
	if z.err != nil {
		return z.err
	}
	return z.zip.Close()
}

// compress packs a small file and computes its sums.
func (f *zipped) compress() {
	h := f.header
	h.CRC32, h.UncompressedSize64 = crc32.ChecksumIEEE(f.content), uint64(len(f.content))
	if f.artifact.Link == "" {
		sum := sha256.Sum256(f.content)
		f.artifact.SHA256 = hex.EncodeToString(sum[:])
	}
	var packed bytes.Buffer
	w, _ := deflater(&packed)
	_, err := w.Write(f.content)
	if closed := w.Close(); err == nil && closed == nil && packed.Len() < len(f.content) {
		f.content = packed.Bytes()
	} else {
		h.Method = zip.Store
	}
	h.CompressedSize64 = uint64(len(f.content))
	// What zip.Writer.CreateHeader does for a name and a time.
	const version, utf8Name, timestamp = 20, 0x800, 0x5455
	h.CreatorVersion, h.ReaderVersion = h.CreatorVersion&0xff00|version, version
	if utf8.ValidString(h.Name) && strings.ContainsFunc(h.Name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		h.Flags |= utf8Name
	}
	h.ModifiedDate, h.ModifiedTime = uint16(h.Modified.Day())+uint16(h.Modified.Month())<<5+uint16(h.Modified.Year()-1980)<<9, 0
	h.Extra = binary.LittleEndian.AppendUint16(h.Extra, timestamp)
	h.Extra = append(h.Extra, 5, 0, 1) // its size; the time of modification alone
	h.Extra = binary.LittleEndian.AppendUint32(h.Extra, uint32(h.Modified.Unix()))
}

// write writes what is queued. After an error it goes on taking, and writes nothing.
func (z *zipper) write() {
	defer close(z.ended)
	for f := range z.queue {
		if f.stream != nil {
			f.read <- z.writeStream(f)
			continue
		}
		<-f.ready
		if z.err != nil {
			continue
		}
		w, err := z.zip.CreateRaw(f.header)
		if err == nil {
			_, err = w.Write(f.content)
		}
		z.err = err
		z.list = append(z.list, f.artifact)
	}
}

// writeStream compresses a large file into the archive. What it returns is a failure to read.
func (z *zipper) writeStream(f *zipped) error {
	source := &readErrors{Reader: f.stream}
	sum := sha256.New()
	var out io.Writer = io.Discard
	if z.err == nil {
		w, err := z.zip.CreateHeader(f.header)
		if err != nil {
			z.err = err
		} else {
			out = w
		}
	}
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(source, f.artifact.Size))
	switch {
	case source.err != nil:
		return source.err
	case err != nil:
		if z.err == nil {
			z.err = err
		}
		return nil
	case n < f.artifact.Size:
		return io.ErrUnexpectedEOF
	}
	f.artifact.SHA256 = hex.EncodeToString(sum.Sum(nil))
	z.list = append(z.list, f.artifact)
	return nil
}

// damaged is an error of reading an archive that a build wrote.
func damaged(err error) error { return fmt.Errorf("%w: %v", ErrDamagedArchive, err) }
