package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// A Delivery is what a forge sent, or somebody asked for through the API. Its body lies apart.
type Delivery struct {
	Seq       uint64
	Forge     string
	Host      string
	ID        string // the forge's, unique for its host
	Event     string // the forge's name for what happened
	UserAgent string `json:",omitempty"`
	Received  time.Time
	Size      int    // of the body, bytes
	Digest    string `json:",omitempty"` // SHA-256 of the body, of a delivery that a forge sent
	File      string `json:",omitempty"` // the body's name in bodies, if it is not in the database

	Repo    string    `json:",omitempty"` // name, once decoded
	RepoKey string    `json:",omitempty"`
	Summary string    `json:",omitempty"` // what happened, in a few words, once decoded
	Tries   int       `json:",omitempty"` // how often a look-up at the forge failed
	Next    time.Time // not to be tried before
	Problem string    `json:",omitempty"` // why the last try failed

	Handled time.Time // zero while nobody has decided
	Reason  string    `json:",omitempty"` // why there is no build, or what was done besides
	Builds  []string  `json:",omitempty"`
}

// Pending reports whether nobody has decided on the delivery yet.
func (d *Delivery) Pending() bool { return d.Handled.IsZero() }

// smallBody is the size up to which a body lies in the database.
const smallBody = 64 << 10

// maxBody bounds what a stored body may unfold to.
const maxBody = 32 << 20

// Accept stores a delivery durably. It reports false, and changes nothing, for one whose forge, host and id have been
// seen; the delivery's Seq is then that of the first.
func (s *Store) Accept(d *Delivery, body []byte) (accepted bool, err error) {
	packed, err := s.bodies.pack(body)
	if err != nil {
		return false, fmt.Errorf("packing a delivery: %w", err)
	}
	sum := sha256.Sum256(body)
	d.Size, d.Received = len(body), s.Now()
	if d.Forge != ForgeAPI { // the same may be asked for twice
		d.Digest = hex.EncodeToString(sum[:])
	}
	if len(body) > smallBody {
		name := sha256.Sum256(append(deliveryID(d), sum[:]...))
		d.File = hex.EncodeToString(name[:16]) + ".zst"
		if err := s.writeBody(d.File, packed); err != nil {
			return false, fmt.Errorf("storing a delivery: %w", err)
		}
	}
	err = s.Update(func(tx *Tx) error {
		accepted = false
		if seen := tx.bucket(bucketDeliveryIDs).Get(deliveryID(d)); seen != nil {
			d.Seq = decodeNumber(seen)
			return nil
		}
		accepted = true
		return tx.accept(d, packed)
	})
	if err != nil {
		return false, fmt.Errorf("storing a delivery: %w", err)
	}
	return accepted, nil
}

// Accept stores a delivery with a small body as part of a larger change.
func (tx *Tx) Accept(d *Delivery, body []byte) error {
	if len(body) > smallBody {
		return fmt.Errorf("a delivery of %d bytes does not fit into a transaction", len(body))
	}
	packed, err := tx.store.bodies.pack(body)
	if err != nil {
		return err
	}
	d.Size, d.Received = len(body), tx.store.Now()
	return tx.accept(d, packed)
}

func (tx *Tx) accept(d *Delivery, packed []byte) error {
	seq, err := tx.bucket(bucketDeliveries).NextSequence()
	if err != nil {
		return err
	}
	d.Seq = seq
	if err := put(tx, bucketDeliveries, number(seq), d); err != nil {
		return err
	}
	if err := tx.bucket(bucketDeliveryIDs).Put(deliveryID(d), number(seq)); err != nil {
		return err
	}
	if err := tx.bucket(bucketPending).Put(number(seq), nil); err != nil {
		return err
	}
	if d.File != "" {
		return nil
	}
	return tx.bucket(bucketBodies).Put(number(seq), packed)
}

func deliveryID(d *Delivery) []byte { return []byte(d.Forge + "/" + d.Host + "/" + d.ID) }

// deliveryDigest is the key of what was decided last on a body. No id makes it: a header has no zero byte.
func deliveryDigest(d *Delivery) []byte {
	return []byte(d.Forge + "/" + d.Host + "/\x00" + d.Digest)
}

// SameBody is the delivery handled last that came with the same body under another id; ok is false if there is none. A
// forge signs the body alone, so whoever gets hold of one can send it again under as many ids as he likes.
func (tx *Tx) SameBody(d *Delivery) (same Delivery, ok bool, err error) {
	seq := tx.bucket(bucketDeliveryIDs).Get(deliveryDigest(d))
	if seq == nil || d.Digest == "" || decodeNumber(seq) == d.Seq {
		return Delivery{}, false, nil
	}
	return get[Delivery](tx, bucketDeliveries, seq)
}

func (s *Store) writeBody(name string, packed []byte) error {
	// Beside it first: the same delivery may be there, and be read just now.
	path := filepath.Join(s.dir, "bodies", name)
	beside := path + "." + strconv.FormatInt(s.beside.Add(1), 10)
	if err := writeDurable(beside, packed); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	return errors.Join(os.Rename(beside, path), syncDir(filepath.Dir(path)))
}

// writeDurable writes a file that is on the disk when the call returns.
func writeDurable(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Body is the body of a delivery, as it came.
func (s *Store) Body(d *Delivery) ([]byte, error) {
	var packed []byte
	if d.File != "" {
		var err error
		if packed, err = os.ReadFile(filepath.Join(s.dir, "bodies", d.File)); err != nil {
			return nil, fmt.Errorf("reading delivery %d: %w", d.Seq, err)
		}
	} else if err := s.View(func(tx *Tx) error {
		packed = slices.Clone(tx.bucket(bucketBodies).Get(number(d.Seq)))
		return nil
	}); err != nil {
		return nil, err
	}
	if packed == nil {
		return nil, fmt.Errorf("delivery %d: the body is no longer kept: %w", d.Seq, os.ErrNotExist)
	}
	body, err := s.bodies.unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("reading delivery %d: %w", d.Seq, err)
	}
	return body, nil
}

// Delivery is the delivery of a number; ok is false if there is none, or no longer.
func (tx *Tx) Delivery(seq uint64) (d Delivery, ok bool, err error) {
	return get[Delivery](tx, bucketDeliveries, number(seq))
}

// SetDelivery writes a delivery that Delivery gave. One that has been handled is pending no longer.
func (tx *Tx) SetDelivery(d *Delivery) error {
	if !d.Pending() {
		if err := tx.bucket(bucketPending).Delete(number(d.Seq)); err != nil {
			return err
		}
		if d.Digest != "" {
			if err := tx.bucket(bucketDeliveryIDs).Put(deliveryDigest(d), number(d.Seq)); err != nil {
				return err
			}
		}
	}
	return put(tx, bucketDeliveries, number(d.Seq), d)
}

// PendingDeliveries are those nobody has decided on, oldest first, after the given number, at most max.
func (tx *Tx) PendingDeliveries(after uint64, max int) ([]Delivery, error) {
	var pending []Delivery
	c := tx.bucket(bucketPending).Cursor()
	for key, _ := c.Seek(number(after + 1)); key != nil && len(pending) < max; key, _ = c.Next() {
		d, ok, err := get[Delivery](tx, bucketDeliveries, key)
		if err != nil {
			return nil, err
		}
		if ok {
			pending = append(pending, d)
		}
	}
	return pending, nil
}

// Deliveries are the newest before the given number, at most max; 0 for the newest of all.
func (tx *Tx) Deliveries(before uint64, max int) ([]Delivery, error) {
	var list []Delivery
	err := tx.backwards(bucketDeliveries, before, func(key, _ []byte) (bool, error) {
		d, ok, err := get[Delivery](tx, bucketDeliveries, key)
		if ok {
			list = append(list, d)
		}
		return len(list) < max, err
	})
	return list, err
}

// backwards calls visit for the keys of a bucket of numbers below the given one, largest first, until it says no.
func (tx *Tx) backwards(bucket []byte, before uint64, visit func(key, value []byte) (bool, error)) error {
	c := tx.bucket(bucket).Cursor()
	var key, value []byte
	if before == 0 {
		key, value = c.Last()
	} else if key, _ = c.Seek(number(before)); key == nil {
		key, value = c.Last()
	} else {
		key, value = c.Prev()
	}
	for ; key != nil; key, value = c.Prev() {
		more, err := visit(key, value)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// A codec packs bodies. The zero value is ready.
type codec struct {
	once    sync.Once
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	err     error
}

func (c *codec) init() error {
	c.once.Do(func() {
		c.encoder, c.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(256<<10))
		if c.err == nil {
			c.decoder, c.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBody))
		}
	})
	return c.err
}

func (c *codec) pack(body []byte) ([]byte, error) {
	if err := c.init(); err != nil {
		return nil, err
	}
	return c.encoder.EncodeAll(body, nil), nil
}

func (c *codec) unpack(packed []byte) ([]byte, error) {
	if err := c.init(); err != nil {
		return nil, err
	}
	body, err := c.decoder.DecodeAll(packed, nil)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the stored body is damaged")
	}
	return body, err
}
