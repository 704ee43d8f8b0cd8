package cache

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Limits are what a store may hold; 0 is any.
type Limits struct {
	Size        int64         // bytes of all caches
	ProjectSize int64         // bytes of the caches of one project
	Age         time.Duration // since a cache was used last
}

// Swept is what Sweep removed.
type Swept struct {
	Entries int   // caches
	Files   int   // what was no part of any
	Bytes   int64 // of both
}

// leftover is how old a file must be that is no part of a cache, or a directory that is empty, before Sweep removes it: somebody
// may be about to make a cache of it.
const leftover = time.Hour

// A kept is an entry with what decides whether it stays.
type kept struct {
	Entry
	project string
	used    time.Time
	bytes   int64
	gone    bool
}

// Sweep removes the caches that were not used for longer than the age, then of each project and last of all the ones that were used
// longest ago, until what is left is within the limits. It removes what a crash left behind, too. Who reads a cache that is removed
// reads on. Sweep does what it can and returns the first errors.
func (s *Store) Sweep(l Limits) (Swept, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var swept Swept
	var errs []error
	now := s.now()
	all, rest, err := s.list()
	if err != nil {
		return swept, err
	}
	remove := func(k *kept) int64 {
		if err := k.remove(); err != nil {
			errs = append(errs, err)
			return 0
		}
		k.gone = true
		swept.Entries++
		swept.Bytes += k.bytes
		return k.bytes
	}
	for _, name := range rest {
		info, err := os.Lstat(name)
		if err != nil || now.Sub(info.ModTime()) <= leftover {
			continue
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing what is no cache: %w", err))
			continue
		}
		swept.Files++
		swept.Bytes += info.Size()
	}
	slices.SortFunc(all, func(a, b *kept) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.ID, b.ID)) })
	projects := map[string]int64{}
	var total int64
	for _, k := range all {
		if l.Age > 0 && now.Sub(k.used) > l.Age {
			remove(k)
		}
		if !k.gone {
			projects[k.project] += k.bytes
			total += k.bytes
		}
	}
	for _, k := range all {
		if !k.gone && l.ProjectSize > 0 && projects[k.project] > l.ProjectSize {
			n := remove(k)
			projects[k.project] -= n
			total -= n
		}
	}
	for _, k := range all {
		if !k.gone && l.Size > 0 && total > l.Size {
			total -= remove(k)
		}
	}
	s.prune(now)
	return swept, errors.Join(errs[:min(len(errs), 3)]...)
}

// list returns all caches, and the paths of the files that are part of none.
func (s *Store) list() (all []*kept, rest []string, err error) {
	err = s.walk(func(project, scope string) {
		dir := filepath.Join(s.Dir, project, scope)
		entries, others := list(dir, scope)
		for _, name := range others {
			rest = append(rest, filepath.Join(dir, name))
		}
		for _, e := range entries {
			info, err := os.Lstat(e.meta())
			if err != nil {
				continue // Drop was quicker
			}
			all = append(all, &kept{Entry: e, project: project, used: info.ModTime(), bytes: e.Size + info.Size()})
		}
	})
	return all, rest, err
}

// walk calls f for every scope.
func (s *Store) walk(f func(project, scope string)) error {
	projects, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing caches: %w", err)
	}
	for _, p := range projects {
		if !p.IsDir() || !isHex(p.Name()) {
			continue
		}
		for _, scope := range scopes(filepath.Join(s.Dir, p.Name())) {
			f(p.Name(), scope)
		}
	}
	return nil
}

// prune removes empty directories.
func (s *Store) prune(now time.Time) {
	prune := func(dir string) {
		if info, err := os.Lstat(dir); err == nil && now.Sub(info.ModTime()) > leftover {
			os.Remove(dir) // it stays if something is in it
		}
	}
	s.walk(func(project, scope string) { prune(filepath.Join(s.Dir, project, scope)) })
	entries, _ := os.ReadDir(s.Dir)
	for _, p := range entries {
		if p.IsDir() && isHex(p.Name()) {
			prune(filepath.Join(s.Dir, p.Name()))
		}
	}
}

// Size is how many bytes the store holds, and how many caches.
func (s *Store) Size() (bytes int64, entries int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, rest, err := s.list()
	for _, k := range all {
		bytes += k.bytes
	}
	for _, name := range rest {
		if info, err := os.Lstat(name); err == nil {
			bytes += info.Size()
		}
	}
	return bytes, len(all), err
}
