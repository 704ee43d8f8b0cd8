// Package store is what a build is, and every build there ever was. State is the interface between the parts of the
// server: each reads and writes builds here, and none calls another.
//
// The state lies in a bbolt database and in files beside it, below one data directory:
//
//	buildsmith.db           the database
//	bodies/<name>           bodies of deliveries over 64 KiB, zstd
//	logs/<build>.log        logs, as the build printed them
//	artifacts/<build>.zip   artifacts, and <build>.json their manifest; secondary ones are <build>.<id>.zip and .json
//	reports/<build>.<n>.json.zst   test and coverage reports, in the order of Build.Reports
//
// Buckets of the database; numbers in keys are 8 bytes, big end first; values are JSON unless said otherwise:
//
//	meta           version: format of the database; link-key: 32 random bytes behind links; obstacle: why no build begins;
//	               hook/<forge>/<host>: HookState
//	deliveries     seq => Delivery
//	delivery-ids   forge/host/id => seq; kept longer than the delivery, so that a replay changes nothing;
//	               forge/host/NUL digest => seq of the one with this body that was decided on last
//	pending        seq => empty: deliveries that nobody has decided on
//	bodies         seq => zstd of the body, if it is small
//	repos          repo key => RepoState
//	projects       project key => Project
//	project-names  name => project key
//	builds         build id => Build
//	order          seq => build id
//	queued         seq => build id: builds that wait for a slot
//	turns          seq => turn of a build that waits for a slot: see claim.go
//	running        seq => build id: builds that have a slot and are not over
//	open           repo key NUL line NUL seq => build id: builds that are not over, by pull request and ref
//	commits        repo key NUL commit NUL seq => build or notice id
//	specs          build id => text of the buildspec
//	notices        notice id => Notice
//	unsaid         build, notice or reply id => empty: the forge may have to be told something
//	told           build, notice, reply or pull request id NUL key of the report => Told
//	sandboxes      sandbox id => WaitingSandbox: started for a build to come
//	images         image name => when a build last used an image that was pulled for one
//	secrets, secret-values   see secret.go
//	installations  forge/host/id => Installation
//	approvals      repo key NUL pull request NUL commit => Approval
//	pulls          repo key NUL pull request => Pull
//	replies        reply id => Reply; kept for a day after it was made
//	reported       project key NUL ref NUL seq => build id: builds whose reports others are compared with
//	latest         project key NUL ref => seq and build id: the newest build of the ref, of no pull request
//	repo-names     forge NUL name in lower case => repo key
//	refs           repository name => map of ref to hash: what the built-in forge has delivered
//	forge-refs     repo key NUL ref => Ref, of forges that are looked at
//	looks          repo key => Look
//	comments       repo key NUL comment id => when the comment was obeyed; kept for a month
//
// An update is on the disk when it returns (fsync); many at a time share one. Whoever waits for news watches: every update
// wakes all watchers, and they look for themselves.
package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
)

// version is the format of the database.
const version = "1"

// Names of the buckets.
var (
	bucketMeta         = []byte("meta")
	bucketDeliveries   = []byte("deliveries")
	bucketDeliveryIDs  = []byte("delivery-ids")
	bucketPending      = []byte("pending")
	bucketBodies       = []byte("bodies")
	bucketRepos        = []byte("repos")
	bucketProjects     = []byte("projects")
	bucketProjectNames = []byte("project-names")
	bucketBuilds       = []byte("builds")
	bucketOrder        = []byte("order")
	bucketQueued       = []byte("queued")
	bucketRunning      = []byte("running")
	bucketTurns        = []byte("turns")
	bucketCommits      = []byte("commits")
	bucketSpecs        = []byte("specs")
	bucketNotices      = []byte("notices")
	bucketUnsaid       = []byte("unsaid")
	bucketTold         = []byte("told")
	bucketSandboxes    = []byte("sandboxes")
	bucketRefs         = []byte("refs")
	bucketImages       = []byte("images")
	bucketReported     = []byte("reported")
	bucketLatest       = []byte("latest")
	bucketRepoNames    = []byte("repo-names")
	bucketOpen         = []byte("open")

	bucketInstallations = []byte("installations")
	bucketApprovals     = []byte("approvals")
	bucketPulls         = []byte("pulls")
	bucketReplies       = []byte("replies")
	bucketForgeRefs     = []byte("forge-refs")
	bucketLooks         = []byte("looks")
	bucketComments      = []byte("comments")

	allBuckets = [][]byte{bucketMeta, bucketDeliveries, bucketDeliveryIDs, bucketPending, bucketBodies, bucketRepos,
		bucketProjects, bucketProjectNames, bucketBuilds, bucketOrder, bucketQueued, bucketTurns, bucketRunning, bucketCommits, bucketSpecs, bucketNotices,
		bucketUnsaid, bucketTold, bucketSandboxes, bucketRefs, bucketImages, bucketReported, bucketLatest, bucketRepoNames, bucketOpen,
		bucketInstallations, bucketApprovals, bucketPulls, bucketReplies, bucketForgeRefs, bucketLooks, bucketComments}
)

// fileDirs are the directories of the files beside the database.
var fileDirs = []string{"bodies", "logs", "artifacts", "reports"}

// ErrLocked says that another process has the database open.
var ErrLocked = errors.New("the data directory is in use by another buildsmith server")

// Options of a Store; the zero value is fit for use.
type Options struct {
	Now func() time.Time // time.Now

	// At is called where the flow of a build passes a named point, right after something was made durable. It exists for
	// tests that end the process there.
	At func(point string)

	// Reserve is how many bytes of the disk are kept free; 0 for DefaultReserve.
	Reserve int64

	// NoSync leaves out fsync: for a store that does not outlive its process.
	NoSync bool
}

// A Store is an open data directory. Its methods may be called at the same time.
type Store struct {
	dir   string
	db    *bbolt.DB
	now   func() time.Time
	at    func(string)
	queue chan request
	done  chan struct{} // closed when the committer has ended

	reserve int64

	closing sync.RWMutex // held for reading by whoever sends to queue
	closed  bool

	watchers broadcast
	logs     logs
	bodies   codec
	beside   atomic.Int64 // numbers names of files that are not complete
}

// Open opens the data directory, making what is missing. It fails with ErrLocked if another process has it open.
func Open(dir string, o Options) (*Store, error) {
	for _, d := range append([]string{""}, fileDirs...) {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("opening the store: %w", err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	path := filepath.Join(dir, "buildsmith.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 100 * time.Millisecond, NoSync: o.NoSync, NoGrowSync: o.NoSync, FreelistType: bbolt.FreelistMapType, InitialMmapSize: mapSize})
	if errors.Is(err, bbolt.ErrTimeout) {
		return nil, fmt.Errorf("opening %s: %w", path, ErrLocked)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	s := &Store{dir: dir, db: db, now: o.Now, at: o.At, reserve: o.Reserve, queue: make(chan request), done: make(chan struct{})}
	if s.now == nil {
		s.now = time.Now
	}
	if s.at == nil {
		s.at = func(string) {}
	}
	if err := s.initialize(); err != nil {
		db.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	go s.commit()
	return s, nil
}

// mapSize is how much address space the database begins with. While the database is smaller, no update waits for a view
// that takes long.
const mapSize = 1 << 30

func (s *Store) initialize() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		older := tx.Bucket(bucketBuilds) != nil && tx.Bucket(bucketLatest) == nil
		for _, name := range allBuckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		switch v := string(meta.Get([]byte("version"))); v {
		case version:
			if older {
				return s.fillLatest(tx)
			}
			return nil
		case "":
		default:
			return fmt.Errorf("the database has format %s, this program knows %s: use the release that wrote it, or a newer one", v, version)
		}
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return err
		}
		if err := meta.Put([]byte("link-key"), key); err != nil {
			return err
		}
		return meta.Put([]byte("version"), []byte(version))
	})
}

// Close ends the store once the updates under way are done.
func (s *Store) Close() error {
	s.closing.Lock()
	if s.closed {
		s.closing.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.closing.Unlock()
	<-s.done
	return s.db.Close()
}

// Dir is the data directory.
func (s *Store) Dir() string { return s.dir }

// Now is the time, for everything that the store's users write into it.
func (s *Store) Now() time.Time { return s.now().UTC().Round(0) }

// At tells the store's observer that the flow has passed a named point: see Options.
func (s *Store) At(point string) { s.at(point) }

// A Tx is a transaction: one consistent view of the state and, in Update, one change of it.
type Tx struct {
	tx    *bbolt.Tx
	store *Store
}

// View runs fn on the state as it is now. fn must use its Tx and no method of the Store that makes another one: a view
// within a view can wait for ever.
func (s *Store) View(fn func(*Tx) error) error {
	return s.db.View(func(tx *bbolt.Tx) error { return fn(&Tx{tx, s}) })
}

type request struct {
	fn   func(*Tx) error
	done chan error
}

// errClosed is what an update after Close gives.
var errClosed = fmt.Errorf("the store is closed: %w", fs.ErrClosed)

// Update runs fn in a transaction. When it returns nil, the change is on the disk; when fn fails, nothing has changed. fn
// may run more than once, and must set what it gives to its caller anew each time; it must not wait for anything.
func (s *Store) Update(fn func(*Tx) error) error {
	r := request{fn, make(chan error, 1)}
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		return errClosed
	}
	s.queue <- r
	s.closing.RUnlock()
	return <-r.done
}

// maxBatch is how many updates share one fsync at most.
const maxBatch = 256

// commit is the only writer. It takes whatever updates wait, without waiting for more: a lone update costs one fsync, and
// while one runs the next ones gather.
func (s *Store) commit() {
	defer close(s.done)
	for first := range s.queue {
		batch := []request{first}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case r, ok := <-s.queue:
				if more = ok; ok {
					batch = append(batch, r)
				}
			default:
				more = false
			}
		}
		s.commitBatch(batch)
	}
}

// commitBatch runs updates in one transaction. One that fails is left out and the others run again.
func (s *Store) commitBatch(batch []request) {
	for len(batch) > 0 {
		failed := -1
		err := s.db.Update(func(tx *bbolt.Tx) error {
			for i, r := range batch {
				if err := call(r.fn, &Tx{tx, s}); err != nil {
					failed = i
					return err
				}
			}
			return nil
		})
		if failed < 0 {
			if err == nil {
				s.watchers.wake()
			}
			for _, r := range batch {
				r.done <- err
			}
			return
		}
		batch[failed].done <- err
		batch = append(batch[:failed:failed], batch[failed+1:]...)
	}
}

// call turns a panic of fn into an error, so that one caller's bug does not end everybody's store.
func call(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in an update: %v", p)
		}
	}()
	return fn(tx)
}

// Watch returns a channel that has something to receive after each update since the last receive. The caller calls stop
// when it is done.
func (s *Store) Watch() (news <-chan struct{}, stop func()) { return s.watchers.watch() }

// A broadcast wakes whoever watches. The zero value is ready.
type broadcast struct {
	mu       sync.Mutex
	watchers map[chan struct{}]struct{}
}

func (b *broadcast) watch() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watchers == nil {
		b.watchers = map[chan struct{}]struct{}{}
	}
	b.watchers[c] = struct{}{}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, c)
	}
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.watchers {
		select {
		case c <- struct{}{}:
		default: // it has news already
		}
	}
}

func (tx *Tx) bucket(name []byte) *bbolt.Bucket { return tx.tx.Bucket(name) }

// get reads a value; ok is false if there is none.
func get[T any](tx *Tx, bucket []byte, key []byte) (value T, ok bool, err error) {
	text := tx.bucket(bucket).Get(key)
	if text == nil {
		return value, false, nil
	}
	if err := json.Unmarshal(text, &value); err != nil {
		return value, false, fmt.Errorf("reading %s %q: %w", bucket, key, err)
	}
	return value, true, nil
}

func put(tx *Tx, bucket []byte, key []byte, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing %s %q: %w", bucket, key, err)
	}
	return tx.bucket(bucket).Put(key, text)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeNumber(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
